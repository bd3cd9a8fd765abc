//! Properties: what is issued comes back, and no input makes anything panic.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{AUD, NONCE, NOW, TYP, TestRng, cnf, holder_key, issuer_key, policy, token_of_text, verify, verify_bound};
use jose::{Signer as _, TokenHeader};
use proptest::prelude::*;
use sd_jwt::{ClaimPath, HeldSdJwt, Issuance, KeyBinder, KeyBindingPolicy, UnverifiedSdJwt, complete};
use serde_json::{Map, Value};

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        // Eighths, which every parser reads back exactly.
        any::<i32>().prop_map(|eighths| Value::from(f64::from(eighths) / 8.0)),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[a-zé名~/\"\\\\.]{0,4}", inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().filter(|(name, _)| name != "...").collect())),
        ]
    })
}

fn claims() -> impl Strategy<Value = Map<String, Value>> {
    let members = prop::collection::btree_map("[A-Z名\"]{0,3}", value(), 0..6);
    members.prop_map(|members| members.into_iter().collect())
}

/// Every path in `value`, containers and all.
fn paths(value: &Value, here: &ClaimPath, out: &mut Vec<ClaimPath>) {
    let below: Vec<_> = match value {
        Value::Object(map) => map.iter().map(|(name, value)| (here.clone().member(name), value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(at, item)| (here.clone().element(at), item)).collect(),
        _ => return,
    };
    for (path, value) in below {
        out.push(path.clone());
        paths(value, &path, out);
    }
}

fn chosen(all: Vec<ClaimPath>, mask: &[bool]) -> Vec<ClaimPath> {
    all.into_iter().zip(mask.iter().cycle()).filter(|(_, chosen)| **chosen).map(|(path, _)| path).collect()
}

/// `value` without the claims that are disclosable and not shown. Written down apart from the crate on purpose.
fn visible(value: &Value, here: &ClaimPath, hidden: &dyn Fn(&ClaimPath) -> bool) -> Value {
    match value {
        Value::Object(map) => {
            let members = map.iter().map(|(name, value)| (name, here.clone().member(name), value));
            let members = members.filter(|(_, path, _)| !hidden(path));
            Value::Object(members.map(|(name, path, value)| (name.clone(), visible(value, &path, hidden))).collect())
        }
        Value::Array(items) => {
            let items = items.iter().enumerate().map(|(at, item)| (here.clone().element(at), item));
            let items = items.filter(|(path, _)| !hidden(path));
            Value::Array(items.map(|(path, item)| visible(item, &path, hidden)).collect())
        }
        other => other.clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn issued_presented_and_verified_claims_are_those_selected(
        claims in claims(),
        disclosable in prop::collection::vec(any::<bool>(), 1..12),
        shown in prop::collection::vec(any::<bool>(), 1..12),
        decoys in 0..4_usize,
        seed in any::<u32>(),
    ) {
        let mut claims = claims;
        claims.insert("cnf".to_owned(), cnf());
        let whole = Value::Object(claims.clone());
        let mut all = Vec::new();
        paths(&whole, &ClaimPath::root(), &mut all);
        all.retain(|path| !path.to_string().starts_with("/cnf"));
        let disclosable = chosen(all, &disclosable);
        let shown = chosen(disclosable.clone(), &shown);

        let issuance = Issuance::new(claims).decoys(ClaimPath::root(), decoys);
        let issuance = disclosable.iter().cloned().fold(issuance, Issuance::disclosable);
        let issued = issuance.sign(&issuer_key(), &TokenHeader::new(TYP), &TestRng::new(u64::from(seed))).unwrap();
        prop_assert_eq!(&Value::Object(verify(&issued).unwrap().into_claims()), &whole);

        let held = HeldSdJwt::parse(issued).unwrap();
        let holder = holder_key();
        let bound = KeyBinder::carrying_key(&holder).bind(held.select(&shown).unwrap(), AUD, NONCE, NOW).unwrap();
        let verified = verify_bound(&bound, &common::binding_policy()).unwrap();
        // What lies around a shown claim is shown.
        let around = |path: &ClaimPath| shown.iter().any(|shown| shown.segments().starts_with(path.segments()));
        let hidden = |path: &ClaimPath| disclosable.contains(path) && !around(path);
        prop_assert_eq!(Value::Object(verified.claims().clone()), visible(&whole, &ClaimPath::root(), &hidden));
        for path in verified.sd_jwt().disclosed() {
            prop_assert!(path.find(verified.claims()).is_some());
        }
    }

    #[test]
    fn no_text_makes_the_parsers_panic(text in "[A-Za-z0-9_.~=-]{0,80}|\\PC{0,40}") {
        let text = complete(&text);
        if let Ok(unverified) = UnverifiedSdJwt::parse(&text) {
            let _ = unverified.verify(issuer_key().public_key(), &policy());
        }
        let _ = HeldSdJwt::parse(text.into_owned());
    }

    #[test]
    fn no_signed_payload_or_disclosure_makes_the_verifier_panic(
        payload in prop_oneof![
            value().prop_map(|value| value.to_string()),
            "(\\{|\\[|\"_sd\":|\"\\.\\.\\.\":|\"x\"|,|\\]|\\}|1){0,20}",
        ],
        disclosures in prop::collection::vec(prop_oneof![
            "[A-Za-z0-9_-]{0,40}",
            "\\[\"s\",(\"_sd\"|\"n\"|1),(\\{\\}|\\[\\]|1)\\]".prop_map(|json| jose::base64url::encode(json.as_bytes())),
        ], 0..4),
        at in any::<prop::sample::Index>(),
        octet in any::<char>(),
    ) {
        let disclosures: Vec<_> = disclosures.iter().map(String::as_str).collect();
        let mut token = token_of_text(&payload, &disclosures);
        let _ = verify(&token);
        let _ = HeldSdJwt::parse(token.clone());
        token.insert(at.index(token.len()), octet);
        let _ = verify(&token);
    }

    #[test]
    fn no_kb_jwt_makes_the_verifier_panic(kb in "[A-Za-z0-9_.-]{1,60}", claims in value()) {
        let holder = holder_key();
        let presented = token_of_text(&serde_json::json!({ "cnf": cnf() }).to_string(), &[]);
        let signed = common::kb_jwt(&holder, &TokenHeader::new("kb+jwt"), &claims);
        let anything = KeyBindingPolicy::new(common::BOTH, AUD, NONCE, i64::MAX).max_age_seconds(u32::MAX);
        for kb in [kb, signed] {
            let refused = verify_bound(&(presented.clone() + &kb), &anything).is_err();
            prop_assert!(refused);
        }
    }
}
