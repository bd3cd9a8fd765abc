//! Properties that hold for every input.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use jose::{Jwk, JwkSet, PrivateKey, Signer, Thumbprint, TokenHeader, UnverifiedJws, base64url, json};
use proptest::prelude::*;
use serde_json::{Map, Number, Value};
use support::{BOTH, Pattern, ed25519, p256};

/// JSON values that both parsers can hold.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| Number::from_f64(number).map_or(Value::Null, Value::Number)),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(".*", inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Text made of what JWS and JWK are made of, so that some of it gets past the first check.
fn token_like() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        "[A-Za-z0-9_-]{0,40}",
        Just(base64url::encode(br#"{"alg":"EdDSA"}"#)),
        Just(base64url::encode(br#"{"alg":"ES256","jwk":{"kty":"EC"}}"#)),
        value().prop_map(|value| base64url::encode(value.to_string().as_bytes())),
        Just(base64url::encode(&[0; 64])),
        ".{0,8}",
    ];
    prop::collection::vec(part, 0..5).prop_map(|parts| parts.join("."))
}

fn jwk_like() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["kty", "crv", "x", "y", "d", "kid", "use", "key_ops", "alg", "keys"]);
    let text = prop::sample::select(vec!["OKP", "EC", "Ed25519", "P-256", "sig", "verify", "sign", "EdDSA", "ES256"]);
    let member = prop_oneof![
        text.prop_map(Value::from),
        prop::collection::vec(any::<u8>(), 32).prop_map(|octets| Value::from(base64url::encode(&octets))),
        value(),
    ];
    prop::collection::btree_map(name, member, 0..10).prop_map(|members| {
        Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()).to_string()
    })
}

proptest! {
    #[test]
    fn base64url_round_trips(octets in prop::collection::vec(any::<u8>(), 0..200)) {
        let text = base64url::encode(&octets);
        prop_assert!(text.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_'));
        prop_assert_eq!(base64url::decode(&text).unwrap(), octets);
    }

    /// One text per octet string: whatever decodes is what encoding gives.
    #[test]
    fn base64url_has_one_spelling(text in prop_oneof!["[A-Za-z0-9_-]{0,50}", "[A-Za-z0-9_=+/ -]{0,12}", ".*"]) {
        if let Ok(octets) = base64url::decode(&text) {
            prop_assert_eq!(base64url::encode(&octets), text);
        }
    }

    #[test]
    fn fixed_lengths_agree_with_the_general_decoder(text in "[A-Za-z0-9_-]{40,46}") {
        let general = base64url::decode(&text).ok().filter(|octets| octets.len() == 32);
        prop_assert_eq!(base64url::decode_array::<32>(&text).ok().map(Vec::from), general.clone());
        prop_assert_eq!(Thumbprint::parse(&text).is_some(), general.is_some());
    }

    #[test]
    fn signing_then_verifying_gives_the_payload_back(
        payload in prop::collection::vec(any::<u8>(), 0..300),
        typ in "[ -~]{1,20}",
        kid in ".{0,20}",
        p256_key in any::<bool>(),
    ) {
        let key = if p256_key { p256() } else { ed25519() };
        let token = jose::sign_compact(&key, &TokenHeader::new(&typ).kid(&kid), &payload).unwrap();
        let unverified = UnverifiedJws::parse(&token).unwrap();
        prop_assert_eq!(unverified.unverified_kid(), Some(&*kid));
        let jws = unverified.verify(key.public_key(), &BOTH, &[&*typ]).unwrap();
        prop_assert_eq!(jws.payload(), payload);
    }

    /// Changing any one character of a token, wherever, makes it refused.
    #[test]
    fn a_token_changed_in_one_character_is_refused(at in any::<prop::sample::Index>(), with in any::<char>()) {
        let key = ed25519();
        let token = jose::sign_compact(&key, &TokenHeader::new("t").kid("k"), br#"{"iss":"me"}"#).unwrap();
        let mut characters: Vec<char> = token.chars().collect();
        let at = at.index(characters.len());
        prop_assume!(characters[at] != with);
        characters[at] = with;
        let changed: String = characters.into_iter().collect();
        prop_assert!(support::verify(&changed, key.public_key(), &["t"]).is_err());
    }

    #[test]
    fn parsing_a_token_never_panics(token in prop_oneof![token_like(), ".*"]) {
        if let Ok(jws) = UnverifiedJws::parse(&token) {
            let _ = (jws.unverified_jwk(), format!("{jws:?}"));
            prop_assert!(jws.verify_carrying_key(ed25519().public_key(), &BOTH, jose::Typ::Unchecked).is_err());
        }
    }

    #[test]
    fn parsing_a_key_never_panics(text in prop_oneof![jwk_like(), ".*", value().prop_map(|value| value.to_string())]) {
        let set = format!(r#"{{"keys":[{text}]}}"#);
        let _ = (PrivateKey::from_jwk(text.as_bytes()), JwkSet::parse(text.as_bytes()), JwkSet::parse(set.as_bytes()));
        if let Ok(jwk) = Jwk::parse(text.as_bytes()) {
            let again = Jwk::from_members(jwk.to_members()).unwrap();
            prop_assert_eq!(again, jwk);
        }
    }

    #[test]
    fn generated_keys_round_trip(seed in any::<u8>(), p256_key in any::<bool>()) {
        let alg = if p256_key { jose::Alg::Es256 } else { jose::Alg::EdDsa };
        let key = PrivateKey::generate(alg, &Pattern(seed));
        let read = PrivateKey::from_jwk(key.to_jwk().as_bytes()).unwrap();
        prop_assert_eq!(read.public_key(), key.public_key());
        let public = Jwk::parse(key.public_key().members_json().as_bytes()).unwrap();
        prop_assert_eq!(public.key(), key.public_key());
        prop_assert_eq!(public.key().thumbprint(), key.public_key().thumbprint());
    }

    /// Written by serde_json, read by both: the values are the same.
    #[test]
    fn json_without_duplicates_reads_as_serde_json_reads_it(value in value()) {
        let text = value.to_string();
        prop_assert_eq!(json::parse(text.as_bytes()).ok(), serde_json::from_str::<Value>(&text).ok());
    }

    /// On any octets: what we take, serde_json takes with the same value; what serde_json takes and we do not has a
    /// duplicate member.
    #[test]
    fn json_differs_from_serde_json_in_duplicates_alone(
        text in prop_oneof![r#"[{}\[\]:,"ab0-9.eE \\-]{0,24}"#, r#"\{("[ab]":[0-9]{1,3},){0,3}"[ab]":(\[\]|\{\})\}"#, ".*"],
    ) {
        match (json::parse(text.as_bytes()), serde_json::from_str::<Value>(&text)) {
            (Ok(ours), Ok(theirs)) => prop_assert_eq!(ours, theirs),
            (Err(_), Err(_)) => {}
            (Err(reason), Ok(_)) => prop_assert!(reason.is_duplicate_member()),
            (Ok(_), Err(theirs)) => prop_assert!(false, "serde_json refuses: {theirs}"),
        }
    }

    #[test]
    fn json_never_panics_on_octets(octets in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = json::parse(&octets);
    }
}
