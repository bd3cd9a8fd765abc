//! The examples of the RFCs, kept in `vectors/rfc.json` with source and section.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use jose::{Alg, InvalidJwk, Jwk, JwsError, PrivateKey, Signer, TokenHeader, Typ, UnverifiedJws, base64url, sha256};
use serde_json::Value;

fn records(kind: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("vectors/rfc.json")).unwrap();
    let records = all[kind].as_array().unwrap().clone();
    assert!(!records.is_empty());
    records
}

#[test]
fn computes_the_thumbprints_that_the_rfcs_print() {
    for record in records("thumbprints") {
        let at = format!("{} {}", record["source"], record["section"]);
        let jwk = Jwk::from_members(record["jwk"].as_object().unwrap().clone());
        let canonical = record["canonical"].as_str().unwrap();
        let thumbprint = record["thumbprint"].as_str().unwrap();

        assert_eq!(base64url::encode(&sha256(canonical.as_bytes())), thumbprint, "{at}");
        if record["must_fail"] == true {
            assert_eq!(jwk, Err(InvalidJwk::Unsupported), "{at}");
            continue;
        }
        let jwk = jwk.unwrap();
        assert_eq!(jwk.key().members_json(), canonical, "{at}");
        assert_eq!(jwk.key().thumbprint().as_str(), thumbprint, "{at}");
    }
}

#[test]
fn verifies_the_signatures_that_the_rfcs_print() {
    for record in records("signatures") {
        let at = format!("{} {}", record["source"], record["section"]);
        let key = PrivateKey::from_jwk(record["private_jwk"].to_string().as_bytes()).unwrap();
        let jws = record["jws"].as_str().unwrap();
        let payload = record["payload"].as_str().unwrap();

        let verified =
            UnverifiedJws::parse(jws).unwrap().verify(key.public_key(), &support::BOTH, Typ::Absent).expect(&at);
        assert_eq!(verified.payload(), payload.as_bytes(), "{at}");

        let ours = jose::sign_compact(&key, &TokenHeader::untyped(), payload.as_bytes()).unwrap();
        if record["deterministic"] == true {
            assert_eq!(ours, jws, "{at}");
        } else {
            assert_eq!(ours.rsplit_once('.').unwrap().0, jws.rsplit_once('.').unwrap().0, "{at}");
        }
    }
}

#[test]
fn refuses_the_examples_of_other_algorithms_by_name() {
    for record in records("refused") {
        let alg = record["alg"].as_str().unwrap().to_owned();
        let refused = UnverifiedJws::parse(record["jws"].as_str().unwrap()).map(|_| ());
        assert_eq!(refused, Err(JwsError::AlgNotAllowed(alg)), "{} {}", record["source"], record["section"]);
    }
}

/// RFC 8037 A.1 and A.2: the private and the public form are of one key.
#[test]
fn private_key_of_rfc_8037_has_the_public_key_printed_beside_it() {
    let key = support::ed25519();
    assert_eq!(key.public_key().alg(), Alg::EdDsa);
    assert_eq!(
        key.public_key().members_json(),
        r#"{"crv":"Ed25519","kty":"OKP","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#
    );
}

/// The same kinds of record in the folder of shared vectors, where that is present.
#[test]
fn agrees_with_the_shared_vectors() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors/jwk/rfc7638-8037.json");
    let Ok(text) = std::fs::read(path) else {
        assert!(std::env::var_os("VECTORS_REQUIRED").is_none(), "missing: {path}");
        println!("skipped: {path} is not there");
        return;
    };
    let all: Value = serde_json::from_slice(&text).unwrap();
    let mut compared = 0;
    for record in all["thumbprints"].as_array().unwrap() {
        match Jwk::from_members(record["jwk"].as_object().unwrap().clone()) {
            Ok(jwk) => assert_eq!(jwk.key().thumbprint().as_str(), record["thumbprint"]),
            Err(error) => assert_eq!((error, &record["jwk"]["kty"]), (InvalidJwk::Unsupported, &"RSA".into())),
        }
        compared += 1;
    }
    for record in all["jws"].as_array().unwrap() {
        let jwk = Jwk::from_members(record["jwk"].as_object().unwrap().clone()).unwrap();
        let jws = UnverifiedJws::parse(record["jws"].as_str().unwrap()).unwrap();
        assert!(jws.verify(jwk.key(), &support::BOTH, Typ::Absent).is_ok());
        compared += 1;
    }
    assert!(compared > 0);
}
