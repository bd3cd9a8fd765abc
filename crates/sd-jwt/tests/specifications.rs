//! The claim specifications behind RFC 9901's examples, issued, presented and verified by this crate.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{AUD, BOTH, NONCE, NOW, TYP, TestRng, binding_policy, cnf, holder_key, object};
use jose::{Alg, PrivateKey, Signer as _, TokenHeader};
use sd_jwt::{ClaimPath, HeldSdJwt, Issuance, KeyBinder, PathSegment, Policy, UnverifiedSdJwt, Validity};
use serde_json::Value;

fn path(segments: &Value) -> ClaimPath {
    let segment = |segment: &Value| match segment {
        Value::String(name) => PathSegment::Member(name.clone()),
        other => PathSegment::Element(usize::try_from(other.as_u64().unwrap()).unwrap()),
    };
    segments.as_array().unwrap().iter().map(segment).collect()
}

fn paths(list: &Value) -> Vec<ClaimPath> {
    list.as_array().unwrap().iter().map(path).collect()
}

#[test]
fn every_specification_goes_round() {
    let document: Value = serde_json::from_str(include_str!("vectors/specifications.json")).unwrap();
    let specifications = document["specifications"].as_array().unwrap();
    assert_eq!(specifications.len(), 15);
    for alg in [Alg::EdDsa, Alg::Es256] {
        specifications.iter().for_each(|specification| goes_round(alg, specification));
    }
}

fn goes_round(alg: Alg, specification: &Value) {
    let name = specification["name"].as_str().unwrap();
    let bound = specification["key_binding"].as_bool().unwrap();
    let rng = TestRng::new(7);
    let issuer = PrivateKey::generate(alg, &rng);
    let mut claims = object(specification["claims"].clone());
    let mut expected = object(specification["processed"].clone());
    if bound {
        claims.insert("cnf".to_owned(), cnf());
        expected.insert("cnf".to_owned(), cnf());
    }

    let whole = claims.clone();
    let mut issuance = Issuance::new(claims);
    for path in paths(&specification["disclosable"]) {
        issuance = issuance.disclosable(path);
    }
    if specification["decoys"].as_bool().unwrap() {
        issuance = issuance.decoys(ClaimPath::root(), 3).decoys("address", 5);
    }
    let issued = issuance.sign(&issuer, &TokenHeader::new(TYP).kid("k1"), &rng).unwrap();
    let policy = Policy::new(BOTH, &[TYP], Validity::at(NOW));
    let verified = UnverifiedSdJwt::parse(&issued).unwrap().verify(issuer.public_key(), &policy).unwrap();
    assert_eq!(verified.claims(), &whole, "{name}: everything disclosed");

    let held = HeldSdJwt::parse(issued).unwrap();
    assert_eq!(held.disclosable().cloned().collect::<Vec<_>>(), paths(&specification["disclosable"]), "{name}");
    let selection = held.select(&paths(&specification["disclose"])).unwrap();
    let claims = if bound {
        let holder = holder_key();
        let presentation = KeyBinder::new(&holder).bind(selection, AUD, NONCE, NOW).unwrap();
        let unverified = UnverifiedSdJwt::parse(&presentation).unwrap();
        let unbound = unverified.verify_presentation(issuer.public_key(), &policy).unwrap();
        unbound.verify_key_binding(&binding_policy()).unwrap().into_parts().0.into_claims()
    } else {
        let unverified = UnverifiedSdJwt::parse(selection.as_str()).unwrap();
        unverified.verify(issuer.public_key(), &policy).unwrap().into_claims()
    };
    assert_eq!(claims, expected, "{name}");
}
