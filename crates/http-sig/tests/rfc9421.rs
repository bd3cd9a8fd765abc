//! The signed examples of RFC 9421 with Ed25519 and P-256: §2.4 and Appendix B.2 to B.4.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::BTreeMap;

use http_sig::{Component, LabelError, SignatureBuilder, Verifier, VerifyError};
use jose::{Alg, Jwk, PrivateKey, Signer as _};
use serde::Deserialize;
use serde_json::Value;
use support::Described;

#[derive(Deserialize)]
struct Vectors {
    keys: BTreeMap<String, Value>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    section: String,
    name: String,
    must_fail: bool,
    label: String,
    message: Described,
    request: Option<Described>,
    base: Option<String>,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("vectors/rfc9421.json")).unwrap()
}

/// The examples' private keys, as public ones.
fn public_keys(keys: &BTreeMap<String, Value>) -> BTreeMap<&str, Jwk> {
    let public = |jwk: &Value| {
        let mut members = jwk.as_object().unwrap().clone();
        members.remove("d");
        Jwk::from_members(members).unwrap()
    };
    keys.iter().map(|(name, jwk)| (name.as_str(), public(jwk))).collect()
}

#[test]
fn verifies_the_signed_examples_and_refuses_the_broken_ones() {
    let vectors = vectors();
    let keys = public_keys(&vectors.keys);
    assert_eq!(vectors.cases.len(), 11);
    for case in &vectors.cases {
        let (headers, request_headers);
        let request = match &case.request {
            Some(request) => {
                request_headers = request.pairs();
                Some(request.message(&request_headers))
            }
            None => None,
        };
        headers = case.message.pairs();
        let mut message = case.message.message(&headers);
        if let Some(request) = &request {
            message = message.in_reply_to(request);
        }
        let verifier = Verifier::new().label(&case.label);
        let verified = verifier.verify(&message, 1_618_884_480, |keyid| keys.get(keyid).map(Jwk::key));
        match verified {
            Ok(verified) => {
                assert!(!case.must_fail, "{} {}", case.section, case.name);
                assert_eq!(verified.label(), case.label);
                assert_eq!(Some(verified.base()), case.base.as_deref(), "{} {}", case.section, case.name);
            }
            Err(VerifyError::Refused(refusals)) => {
                assert!(case.must_fail, "{} {}: {refusals:?}", case.section, case.name);
                assert_eq!(refusals[0].reason, LabelError::BadSignature);
            }
            Err(error) => panic!("{} {}: {error}", case.section, case.name),
        }
    }
}

/// Ed25519 is deterministic, so the RFC's own signatures come out.
#[test]
fn makes_the_ed25519_signatures_of_the_examples() {
    let vectors = vectors();
    let key = PrivateKey::from_jwk(vectors.keys["test-key-ed25519"].to_string().as_bytes()).unwrap();
    let mut made = 0;
    for case in vectors.cases.iter().filter(|case| !case.must_fail) {
        let headers = case.message.pairs();
        let message = case.message.message(&headers);
        let Ok(verified) = Verifier::new().verify(&message, 1_618_884_480, |_| Some(key.public_key())) else {
            continue;
        };
        let builder = SignatureBuilder::new(&case.label).unwrap();
        let signed = builder
            .components(verified.components().iter().cloned())
            .created(verified.params().created().unwrap())
            .keyid(verified.keyid())
            .unwrap()
            .sign(&message, &key)
            .unwrap();
        let field = |name: &str| case.message.headers.iter().find(|(other, _)| other == name).unwrap().1.as_str();
        assert_eq!(signed.signature_input(), field("Signature-Input"));
        assert_eq!(signed.signature(), field("Signature"));
        made += 1;
    }
    assert_eq!(made, 5);
}

#[test]
fn an_example_verified_as_required_tells_what_it_covers() {
    let vectors = vectors();
    let keys = public_keys(&vectors.keys);
    let case = vectors.cases.iter().find(|case| case.section == "B.2.6").unwrap();
    let headers = case.message.pairs();
    let verifier = Verifier::new().require(Component::parse("content-length").unwrap()).algs(&[Alg::EdDsa]);
    let verified =
        verifier.verify(&case.message.message(&headers), 1_618_884_480, |keyid| keys.get(keyid).map(Jwk::key)).unwrap();
    assert_eq!(verified.keyid(), "test-key-ed25519");
    assert_eq!(verified.alg(), Alg::EdDsa);
    assert_eq!(verified.params().created(), Some(1_618_884_473));
    assert_eq!(verified.params().expires(), None);
    let names: Vec<_> = verified.components().iter().map(Component::name).collect();
    assert_eq!(names, ["date", "@method", "@path", "@authority", "content-type", "content-length"]);
}

/// The shared vectors must be the ones typed in above.
#[test]
fn agrees_with_the_shared_vectors_where_they_are() {
    #[derive(Deserialize)]
    struct Shared {
        cases: Vec<SharedCase>,
    }
    #[derive(Deserialize)]
    struct SharedCase {
        name: String,
        keyid: String,
        label: String,
        message: SharedMessage,
        expected_base: String,
        expect: String,
    }
    #[derive(Deserialize)]
    struct SharedMessage {
        #[serde(flatten)]
        described: Described,
        target: Option<String>,
        scheme: Option<String>,
        authority: Option<String>,
    }

    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors/rfc9421/appendix-b.json");
    let Ok(text) = std::fs::read_to_string(path) else {
        assert!(std::env::var_os("VECTORS_REQUIRED").is_none(), "{path} is missing");
        println!("skipped: {path} is not there");
        return;
    };
    let shared: Shared = serde_json::from_str(&text).unwrap();
    let vectors = vectors();
    let keys = public_keys(&vectors.keys);
    assert!(!shared.cases.is_empty());
    for case in shared.cases {
        let SharedMessage { mut described, target, scheme, authority } = case.message;
        if let (Some(target), Some(scheme), Some(authority)) = (target, scheme, authority) {
            described.url = Some(format!("{scheme}://{authority}{target}"));
        }
        let headers = described.pairs();
        let verified =
            Verifier::new().label(&case.label).verify(&described.message(&headers), 1_618_884_480, |keyid| {
                (keyid == case.keyid).then(|| keys.get(keyid).map(Jwk::key)).flatten()
            });
        match case.expect.as_str() {
            "valid" => assert_eq!(verified.unwrap().base(), case.expected_base, "{}", case.name),
            _ => assert!(matches!(verified, Err(VerifyError::Refused(_))), "{}", case.name),
        }
    }
}
