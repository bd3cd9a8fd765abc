//! The examples that RFC 9901 prints, byte for byte: `vectors/rfc9901.json` says which section each is from.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{TYP, digest, process, token};
use jose::{Alg, Jwk};
use sd_jwt::{HeldSdJwt, KeyBindingPolicy, Policy, UnverifiedSdJwt, Validity};
use serde_json::{Value, json};

fn vectors() -> Value {
    serde_json::from_str(include_str!("vectors/rfc9901.json")).unwrap()
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap()
}

fn issuer(vectors: &Value) -> Jwk {
    Jwk::from_members(vectors["issuer_jwk"].as_object().unwrap().clone()).unwrap()
}

/// Between `iat` and `exp` of all examples.
const THEN: i64 = 1_750_000_000;

#[test]
fn verifies_the_signed_examples_to_the_printed_payload() {
    let vectors = vectors();
    let issuer = issuer(&vectors);
    let mut bound = 0;
    for example in vectors["signed"].as_array().unwrap() {
        let section = text(example, "section");
        let (token, typ) = (text(example, "token"), [text(example, "typ")]);
        let policy = Policy::new(&[Alg::Es256], &typ, Validity::at(THEN));
        let unverified = UnverifiedSdJwt::parse(token).unwrap();
        let claims = if example["key_binding"].is_null() {
            unverified.verify(issuer.key(), &policy).unwrap().into_claims()
        } else {
            bound += 1;
            let iat = example["key_binding"]["iat"].as_i64().unwrap();
            let binding = KeyBindingPolicy::new(&[Alg::Es256], text(&vectors, "aud"), text(&vectors, "nonce"), iat);
            let unbound = unverified.verify_presentation(issuer.key(), &policy).unwrap();
            let verified = unbound.verify_key_binding(&binding).unwrap();
            let printed = text(&example["key_binding"], "sd_hash");
            assert_eq!(verified.key_binding().claims()["sd_hash"], printed, "{section}");
            assert_eq!(digest(&token[..=token.rfind('~').unwrap()]), printed, "{section}");
            verified.claims().clone()
        };
        assert_eq!(Value::Object(claims), example["processed"], "{section}");
    }
    assert_eq!((vectors["signed"].as_array().unwrap().len(), bound), (7, 3));
}

#[test]
fn processes_the_unsigned_examples_to_the_full_claims() {
    for example in vectors()["unsigned"].as_array().unwrap() {
        let disclosures: Vec<_> =
            example["disclosures"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
        let processed = process(example["payload"].clone(), &disclosures).unwrap();
        assert_eq!(processed, example["processed"], "{}", text(example, "section"));
    }
}

#[test]
fn every_spelling_of_section_4_2_1_discloses_the_same_claim() {
    let vectors = vectors();
    let spellings = vectors["spellings"]["disclosures"].as_array().unwrap();
    assert_eq!(spellings.len(), 4);
    for spelling in spellings {
        let spelling = spelling.as_str().unwrap();
        let processed = process(json!({ "_sd": [digest(spelling)] }), &[spelling]).unwrap();
        assert_eq!(processed, json!({ "family_name": "Möbius" }));
    }
}

#[test]
fn hashes_the_disclosure_of_section_4_2_3_to_the_printed_digest() {
    let disclosure = "WyJfMjZiYzRMVC1hYzZxMktJNmNCVzVlcyIsICJmYW1pbHlfbmFtZSIsICJNw7ZiaXVzIl0";
    let payload = json!({ "_sd": ["X9yH0Ajrdm1Oij4tWso9UzzKJvPoDxwmuEcO3XAdRC0"] });
    assert_eq!(process(payload, &[disclosure]), Ok(json!({ "family_name": "Möbius" })));
}

#[test]
fn selects_the_presentation_of_section_5_2_from_the_issuance_of_section_5_1() {
    let vectors = vectors();
    let held = HeldSdJwt::parse(text(&vectors["signed"][0], "token").to_owned()).unwrap();
    let paths: Vec<_> = held.disclosable().map(ToString::to_string).collect();
    let expected = [
        "/given_name",
        "/family_name",
        "/email",
        "/phone_number",
        "/phone_number_verified",
        "/address",
        "/birthdate",
        "/updated_at",
        "/nationalities/0",
        "/nationalities/1",
    ];
    assert_eq!(paths, expected);

    let printed = text(&vectors["signed"][1], "token");
    let mut printed: Vec<_> = printed[..printed.rfind('~').unwrap()].split('~').collect();
    let nationality = sd_jwt::ClaimPath::from("nationalities").element(0);
    let selection =
        held.select(&["given_name".into(), "family_name".into(), "address".into(), nationality]).unwrap().into_string();
    let mut selected: Vec<_> = selection.trim_end_matches('~').split('~').collect();
    assert_eq!(selected[0], printed[0]);
    // The RFC's holder shows them in another order than they were issued in.
    printed.sort_unstable();
    selected.sort_unstable();
    assert_eq!(selected, printed);
}

#[test]
fn selects_the_presentation_of_appendix_a_3_with_the_claim_around_the_selected_one() {
    let vectors = vectors();
    let held = HeldSdJwt::parse(text(&vectors["signed"][2], "token").to_owned()).unwrap();
    assert_eq!(held.disclosable().len(), 27);
    let selection = held.select(&["nationalities".into(), ["age_equal_or_over", "18"].into()]).unwrap();
    let policy = Policy::new(&[Alg::Es256], &["dc+sd-jwt"], Validity::at(THEN)).sd_jwt_vc();
    let verified = UnverifiedSdJwt::parse(selection.as_str()).unwrap().verify(issuer(&vectors).key(), &policy).unwrap();
    assert_eq!(verified.disclosed().len(), 3);
    assert_eq!(Value::Object(verified.into_claims()), vectors["signed"][3]["processed"]);
}

#[test]
fn keeps_the_issuer_signed_jwt_byte_for_byte() {
    let issued = token(&json!({ "a": 1 }), &[]);
    assert_eq!(HeldSdJwt::parse(issued.clone()).unwrap().select(&[]).unwrap().as_str(), issued);
    assert!(issued.starts_with("eyJ") && TYP.ends_with("sd-jwt"));
}
