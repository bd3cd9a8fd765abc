//! What the issuer writes and what the holder makes of it.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeSet;

use common::{AUD, NONCE, NOW, TYP, TestRng, cnf, digest, holder_key, issuer_key, object, tuple, verify};
use jose::{SignError, Signer as _, TokenHeader, base64url};
use sd_jwt::{
    ClaimPath, HeldSdJwt, Issuance, IssueError, KeyBinder, MAX_DEPTH, MAX_DISCLOSURES, UnverifiedSdJwt, VerifyError,
};
use serde_json::{Map, Value, json};

fn issue(issuance: Issuance, seed: u64) -> Result<String, IssueError> {
    issuance.sign(&issuer_key(), &TokenHeader::new(TYP), &TestRng::new(seed))
}

fn part(token: &str, index: usize) -> Map<String, Value> {
    let text = token.split(['.', '~']).nth(index).unwrap();
    object(serde_json::from_slice(&base64url::decode(text).unwrap()).unwrap())
}

fn disclosures(token: &str) -> Vec<Value> {
    let parts = token.trim_end_matches('~').split('~').skip(1);
    parts.map(|text| serde_json::from_slice(&base64url::decode(text).unwrap()).unwrap()).collect()
}

fn mandate() -> Map<String, Value> {
    object(json!({
        "iss": "https://as.example",
        "vct": "https://schema.example/mandate",
        "exp": NOW + 900,
        "cnf": cnf(),
        "principal_email": "erika@example.org",
        "principal_country": "DE",
        "consent_evidence": { "ip": "192.0.2.1", "user_agent": "ua", "at": 1 },
    }))
}

fn mandate_issuance() -> Issuance {
    Issuance::new(mandate())
        .disclosable("principal_email")
        .disclosable("principal_country")
        .disclosable(["consent_evidence", "ip"])
        .disclosable(["consent_evidence", "user_agent"])
}

#[test]
fn writes_digests_where_the_claims_were() {
    let token = issue(mandate_issuance(), 1).unwrap();
    assert_eq!(Value::Object(part(&token, 0)), json!({ "alg": "EdDSA", "typ": TYP }));
    let payload = part(&token, 1);
    assert_eq!(payload["_sd_alg"], "sha-256");
    assert_eq!(payload["_sd"].as_array().unwrap().len(), 2);
    assert_eq!(payload["consent_evidence"]["_sd"].as_array().unwrap().len(), 2);
    assert_eq!(payload["consent_evidence"]["at"], 1);
    assert_eq!(payload.get("principal_email"), None);
    assert_eq!(verify(&token).unwrap().into_claims(), mandate());
    let first = token.split('~').nth(1).unwrap();
    assert!(payload["_sd"].as_array().unwrap().contains(&digest(first).into()));
}

#[test]
fn salts_are_128_bits_and_never_repeat() {
    let mut salts = BTreeSet::new();
    for seed in 0..50 {
        for tuple in disclosures(&issue(mandate_issuance(), seed).unwrap()) {
            let salt = tuple[0].as_str().unwrap().to_owned();
            assert_eq!(base64url::decode(&salt).unwrap().len(), 16);
            assert!(salts.insert(salt));
        }
    }
    assert_eq!(salts.len(), 200);
}

#[test]
fn the_order_of_digests_says_nothing_about_that_of_claims() {
    let mut first_is_email = 0;
    for seed in 0..64 {
        let token = issue(mandate_issuance(), seed).unwrap();
        let payload = part(&token, 1);
        let digests: Vec<_> = payload["_sd"].as_array().unwrap().iter().map(|d| d.as_str().unwrap()).collect();
        assert!(digests.is_sorted());
        first_is_email += usize::from(digests[0] == digest(token.split('~').nth(1).unwrap()));
    }
    assert!((16..=48).contains(&first_is_email), "{first_is_email} of 64");
}

#[test]
fn decoys_look_like_digests_and_vanish() {
    let claims = object(json!({ "a": { "b": 1 }, "n": ["DE", "FR"], "open": 1 }));
    let issuance = Issuance::new(claims.clone())
        .disclosable("a")
        .disclosable(["a", "b"])
        .disclosable(ClaimPath::from("n").element(0))
        .decoys(ClaimPath::root(), 4)
        .decoys("a", 2)
        .decoys("n", 5);
    let mut places = BTreeSet::new();
    for seed in 0..20 {
        let token = issue(issuance.clone(), seed).unwrap();
        assert_eq!(verify(&token).unwrap().into_claims(), claims);
        let payload = part(&token, 1);
        let digests = payload["_sd"].as_array().unwrap();
        assert_eq!(digests.len(), 5);
        assert!(digests.iter().all(|d| base64url::decode(d.as_str().unwrap()).unwrap().len() == 32));
        assert_eq!(disclosures(&token)[0][2]["_sd"].as_array().unwrap().len(), 3);
        let elements = payload["n"].as_array().unwrap();
        assert_eq!(elements.len(), 7);
        places.insert(elements.iter().position(|element| element == "FR").unwrap());
        let held = HeldSdJwt::parse(token).unwrap();
        assert_eq!(held.disclosable().nth(2), Some(&ClaimPath::from("n").element(0)));
    }
    assert!(places.len() > 3, "decoys stand in the same places: {places:?}");
}

#[test]
fn refuses_claims_that_use_reserved_names() {
    for (claims, path) in [
        (json!({ "_sd": [] }), ClaimPath::root()),
        (json!({ "_sd_alg": "sha-256" }), ClaimPath::root()),
        (json!({ "a": [1, { "...": 1 }] }), ClaimPath::from("a").element(1)),
        (json!({ "a": { "b": { "_sd": 1 } } }), ["a", "b"].into()),
    ] {
        assert_eq!(issue(Issuance::new(object(claims)), 1), Err(IssueError::ReservedClaimName { path }));
    }
}

#[test]
fn refuses_paths_that_do_not_fit() {
    let issuance = || Issuance::new(object(json!({ "a": { "b": [1] }, "s": "x", "iss": "i", "cnf": {} })));
    let missing: [ClaimPath; 6] = [
        "c".into(),
        ["a", "c"].into(),
        ["s", "x"].into(),
        ClaimPath::from("a").element(0),
        ClaimPath::from(["a", "b"]).element(1),
        ClaimPath::root(),
    ];
    for path in missing {
        let result = issue(issuance().disclosable(path.clone()), 1);
        assert_eq!(result, Err(IssueError::NoSuchClaim { path }));
    }
    let twice = issue(issuance().disclosable("a").disclosable("s").disclosable("a"), 1);
    assert_eq!(twice, Err(IssueError::RepeatedPath { path: "a".into() }));
    for name in ["iss", "cnf"] {
        let result = issue(issuance().disclosable(name), 1);
        assert_eq!(result, Err(IssueError::NotSelectivelyDisclosable { path: name.into() }));
    }
    let claims = object(json!({ "cnf": { "jkt": "x" }, "aud": ["a", "b"] }));
    let within_cnf = issue(Issuance::new(claims.clone()).disclosable(["cnf", "jkt"]), 1);
    assert_eq!(within_cnf, Err(IssueError::NotSelectivelyDisclosable { path: ["cnf", "jkt"].into() }));
    assert!(issue(Issuance::new(claims).disclosable(ClaimPath::from("aud").element(1)), 1).is_ok());
    for path in [ClaimPath::from("s"), "c".into()] {
        let result = issue(issuance().decoys(path.clone(), 1), 1);
        assert_eq!(result, Err(IssueError::NoContainer { path }));
    }
}

#[test]
fn refuses_to_issue_what_it_would_not_verify() {
    let nested = (0..MAX_DEPTH + 2).fold(json!(1), |value, _| json!({ "a": value }));
    assert_eq!(issue(Issuance::new(object(nested)), 1), Err(IssueError::LimitExceeded));
    let many: Map<_, _> = (0..=MAX_DISCLOSURES).map(|n| (n.to_string(), json!(n))).collect();
    let issuance = many.keys().fold(Issuance::new(many.clone()), |issuance, name| issuance.disclosable(name.as_str()));
    assert_eq!(issue(issuance, 1), Err(IssueError::LimitExceeded));
    let large = object(json!({ "a": "x".repeat(200 * 1024) }));
    assert_eq!(issue(Issuance::new(large), 1), Err(IssueError::LimitExceeded));
}

#[test]
fn passes_a_signers_failure_on() {
    struct Broken(jose::PrivateKey);
    impl jose::Signer for Broken {
        fn public_key(&self) -> &jose::PublicKey {
            self.0.public_key()
        }
        fn sign(&self, _: &[u8]) -> Result<[u8; 64], SignError> {
            Err(SignError::new())
        }
    }
    let broken = Broken(issuer_key());
    let result = mandate_issuance().sign(&broken, &TokenHeader::new(TYP), &TestRng::new(1));
    assert_eq!(result, Err(IssueError::Sign(SignError::new())));
    let held = HeldSdJwt::parse(issue(mandate_issuance(), 1).unwrap()).unwrap();
    assert_eq!(KeyBinder::new(&broken).bind(held.select_all(), AUD, NONCE, NOW), Err(SignError::new()));
}

#[test]
fn selects_claims_and_what_lies_around_them_in_the_order_of_issue() {
    let claims = object(json!({ "a": { "b": [{ "c": 1, "d": 2 }] }, "e": 3 }));
    let element = ClaimPath::from(["a", "b"]).element(0);
    let inner = element.clone().member("c");
    let issuance = Issuance::new(claims)
        .disclosable(inner.clone())
        .disclosable(element.clone().member("d"))
        .disclosable(element)
        .disclosable("a")
        .disclosable("e");
    let held = HeldSdJwt::parse(issue(issuance, 1).unwrap()).unwrap();
    let shown = |paths: &[ClaimPath]| {
        let selection = held.select(paths).unwrap();
        let verified = verify(selection.as_str()).unwrap();
        let shown = verified.disclosed().len();
        (shown, Value::Object(verified.into_claims()))
    };
    assert_eq!(shown(&[]), (0, json!({})));
    assert_eq!(shown(&["e".into()]), (1, json!({ "e": 3 })));
    assert_eq!(shown(&["a".into()]), (1, json!({ "a": { "b": [] } })));
    assert_eq!(shown(std::slice::from_ref(&inner)), (3, json!({ "a": { "b": [{ "c": 1 }] } })));
    assert_eq!(
        shown(&["e".into(), inner.clone(), inner, "a".into()]),
        (4, json!({ "a": { "b": [{ "c": 1 }] }, "e": 3 }))
    );
    let all: Vec<_> = held.disclosable().cloned().collect();
    assert_eq!(held.select(&all).unwrap(), held.select_all());
    assert_eq!(held.select_all().as_str(), held.as_str());
}

#[test]
fn refuses_to_select_what_is_no_disclosure() {
    let held = HeldSdJwt::parse(issue(mandate_issuance(), 1).unwrap()).unwrap();
    for path in [ClaimPath::from("iss"), "nothing".into(), "consent_evidence".into(), ClaimPath::root()] {
        let error = held.select(&["principal_email".into(), path.clone()]).unwrap_err();
        assert_eq!(error.path(), &path);
    }
}

#[test]
fn a_holder_refuses_an_sd_jwt_with_bad_disclosures() {
    let stray = tuple(json!(["s", "n", 1]));
    let text = format!("{}{stray}~", issue(mandate_issuance(), 1).unwrap());
    assert_eq!(HeldSdJwt::parse(text).unwrap_err(), VerifyError::UnreferencedDisclosure { index: 4 });
    assert_eq!(HeldSdJwt::parse(String::new()).unwrap_err(), VerifyError::NoTilde);
}

#[test]
fn prints_neither_tokens_nor_the_values_of_claims() {
    let holder = holder_key();
    let token = issue(mandate_issuance(), 1).unwrap();
    let held = HeldSdJwt::parse(token.clone()).unwrap();
    let binder = KeyBinder::carrying_key(&holder);
    let bound = binder.bind(held.select_all(), AUD, NONCE, NOW).unwrap();
    let unverified = UnverifiedSdJwt::parse(&bound).unwrap();
    let unbound = unverified.verify_presentation(issuer_key().public_key(), &common::policy()).unwrap();
    let verified = unbound.clone().verify_key_binding(&common::binding_policy()).unwrap();
    let printed = format!(
        "{held:?} {:?} {binder:?} {unverified:?} {unbound:?} {verified:?} {:?}",
        held.select_all(),
        mandate_issuance()
    );
    for part in bound.split(['~', '.']).filter(|part| !part.is_empty()) {
        assert!(!printed.contains(part));
    }
    assert!(!printed.contains("erika"));
    assert!(printed.contains("principal_email"));
}
