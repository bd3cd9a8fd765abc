//! The issuer's signature, its header, the times and the SD-JWT VC rules.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{
    BOTH, NOW, TYP, TestRng, bound_payload, digest, issuer_key, object, policy, process, token, tuple, verify_as,
};
use jose::{Alg, JwsError, PrivateKey, Signer as _, TokenHeader, Typ, base64url, sign_compact};
use sd_jwt::{ClaimPath, Policy, UnverifiedSdJwt, VC_TYPES, Validity, VerifyError};
use serde_json::{Value, json};

fn signed_as(header: &TokenHeader<'_>, payload: &Value) -> String {
    sign_compact(&issuer_key(), header, payload.to_string().as_bytes()).unwrap() + "~"
}

#[test]
fn shows_before_verification_only_what_choosing_a_key_needs() {
    let token = signed_as(&TokenHeader::new(TYP).kid("k1"), &json!({}));
    let unverified = UnverifiedSdJwt::parse(&token).unwrap();
    assert_eq!(unverified.unverified_kid(), Some("k1"));
    assert_eq!(unverified.unverified_alg(), Alg::EdDsa);
    assert_eq!(unverified.unverified_typ(), Some(TYP));
    assert!(!unverified.has_key_binding());
}

#[test]
fn rejects_every_change_of_an_octet() {
    let (payload, email) = bound_payload();
    let good = token(&payload, &[&email]);
    assert!(verify_as(&good, &policy()).is_ok());
    for at in 0..good.len() {
        for replacement in [b'A', b'B', b'~', b'.'] {
            let mut bad = good.clone().into_bytes();
            if std::mem::replace(&mut bad[at], replacement) != replacement {
                assert!(verify_as(&String::from_utf8(bad).unwrap(), &policy()).is_err(), "octet {at}");
            }
        }
    }
}

#[test]
fn rejects_other_keys_algorithms_and_types() {
    let good = signed_as(&TokenHeader::new(TYP), &json!({}));
    let unverified = UnverifiedSdJwt::parse(&good).unwrap();
    let other = PrivateKey::generate(Alg::EdDsa, &TestRng::new(9));
    let es256 = PrivateKey::generate(Alg::Es256, &TestRng::new(9));
    let jws = |error| Err(VerifyError::Jws(error));
    assert_eq!(unverified.verify(other.public_key(), &policy()), jws(JwsError::BadSignature));
    let of_another = JwsError::AlgOfAnotherKey { token: Alg::EdDsa, key: Alg::Es256 };
    assert_eq!(unverified.verify(es256.public_key(), &policy()), jws(of_another));
    let only_es256 = Policy::new(&[Alg::Es256], &[TYP], Validity::at(NOW));
    assert_eq!(verify_as(&good, &only_es256), jws(JwsError::AlgNotAllowed("EdDSA".to_owned())));
    let other_typ = Policy::new(BOTH, &["other+sd-jwt"], Validity::at(NOW));
    assert_eq!(verify_as(&good, &other_typ), jws(JwsError::TypMismatch));
    let untyped = signed_as(&TokenHeader::untyped(), &json!({}));
    assert_eq!(verify_as(&untyped, &policy()), jws(JwsError::TypMismatch));
    assert!(verify_as(&untyped, &Policy::new(BOTH, Typ::Unchecked, Validity::at(NOW))).is_ok());
}

#[test]
fn rejects_none_before_anything_else() {
    for name in ["none", "None", "HS256", "RS256", "ES256K"] {
        let header = base64url::encode(json!({ "alg": name, "typ": TYP }).to_string().as_bytes());
        let token = format!("{header}.e30.~");
        let expected = VerifyError::Jws(JwsError::AlgNotAllowed(name.to_owned()));
        assert_eq!(UnverifiedSdJwt::parse(&token).unwrap_err(), expected);
    }
}

#[test]
fn rejects_a_key_in_the_header() {
    let key = issuer_key();
    let token = signed_as(&TokenHeader::new(TYP).jwk(key.public_key()), &json!({}));
    assert_eq!(verify_as(&token, &policy()), Err(VerifyError::Jws(JwsError::EmbeddedKey("jwk"))));
}

#[test]
fn checks_the_signature_before_the_disclosures() {
    let good = token(&json!({}), &["not a disclosure"]);
    let (head, tail) = good.split_once('~').unwrap();
    let (signing_input, _) = head.rsplit_once('.').unwrap();
    let forged = format!("{signing_input}.{}~{tail}", base64url::encode(&[7; 64]));
    assert_eq!(verify_as(&forged, &policy()), Err(VerifyError::Jws(JwsError::BadSignature)));
    assert_eq!(verify_as(&good, &policy()), Err(VerifyError::DisclosureBase64Url { index: 0 }));
}

#[test]
fn rejects_a_payload_that_is_no_object() {
    for payload in [json!([]), json!("x"), json!(null)] {
        let result = process(payload, &[]);
        assert!(matches!(result, Err(VerifyError::Jws(JwsError::ClaimsJson(_)))), "{result:?}");
    }
}

#[test]
fn holds_exp_and_nbf_against_the_given_time() {
    let at = |now, leeway_seconds| Policy::new(BOTH, &[TYP], Validity::At { now, leeway_seconds });
    let token = token(&json!({ "nbf": 100, "exp": 200, "iat": 150 }), &[]);
    for (now, leeway, expected) in [
        (99, 0, Err(VerifyError::NotYetValid { now: 99 })),
        (99, 1, Ok(())),
        (100, 0, Ok(())),
        (199, 0, Ok(())),
        (200, 0, Err(VerifyError::Expired { now: 200 })),
        (204, 5, Ok(())),
        (205, 5, Err(VerifyError::Expired { now: 205 })),
        (i64::MIN, u32::MAX, Err(VerifyError::NotYetValid { now: i64::MIN })),
        (i64::MAX, u32::MAX, Err(VerifyError::Expired { now: i64::MAX })),
    ] {
        assert_eq!(verify_as(&token, &at(now, leeway)).map(drop), expected, "{now} {leeway}");
    }
    let refusing = at(149, 0).refuse_future_iat();
    assert_eq!(verify_as(&token, &refusing), Err(VerifyError::IssuedInFuture { now: 149 }));
    assert!(verify_as(&token, &at(149, 1).refuse_future_iat()).is_ok());
    assert!(verify_as(&token, &at(150, 0).refuse_future_iat()).is_ok());
}

#[test]
fn takes_numeric_dates_with_a_fraction_and_nothing_but_numbers() {
    assert!(process(json!({ "exp": NOW as f64 + 0.5, "nbf": NOW as f64 - 0.5, "iat": 1.0 }), &[]).is_ok());
    assert_eq!(process(json!({ "exp": NOW as f64 - 0.5 }), &[]), Err(VerifyError::Expired { now: NOW }));
    assert_eq!(process(json!({ "nbf": NOW as f64 + 0.5 }), &[]), Err(VerifyError::NotYetValid { now: NOW }));
    for name in ["exp", "nbf", "iat"] {
        for bad in [json!(null), json!("9999999999"), json!([9_999_999_999_u64]), json!(true)] {
            assert_eq!(process(json!({ name: bad }), &[]), Err(VerifyError::MalformedClaim(name)));
        }
    }
}

#[test]
fn holds_a_disclosed_exp_against_the_time_as_well() {
    let exp = tuple(json!(["s", "exp", NOW - 1]));
    assert_eq!(process(json!({ "_sd": [digest(&exp)] }), &[&exp]), Err(VerifyError::Expired { now: NOW }));
}

#[test]
fn puts_the_times_off_where_the_policy_says_so() {
    let token = token(&json!({ "exp": NOW }), &[]);
    let verified = verify_as(&token, &Policy::new(BOTH, &[TYP], Validity::CheckedLater)).unwrap();
    assert_eq!(verified.check_times(NOW, 0), Err(VerifyError::Expired { now: NOW }));
    assert_eq!(verified.check_times(NOW, 1), Ok(()));
}

fn vc(typ: &str, payload: &Value, disclosures: &[&str]) -> Result<Value, VerifyError> {
    let mut token = signed_as(&TokenHeader::new(typ), payload);
    for part in disclosures {
        token += part;
        token.push('~');
    }
    let policy = Policy::new(BOTH, Typ::Unchecked, Validity::at(NOW)).sd_jwt_vc();
    verify_as(&token, &policy).map(|verified| Value::Object(verified.into_claims()))
}

#[test]
fn an_sd_jwt_vc_has_its_typ_and_a_vct() {
    for typ in VC_TYPES {
        assert!(vc(typ, &json!({ "vct": "urn:x" }), &[]).is_ok());
    }
    assert_eq!(vc("JWT", &json!({ "vct": "urn:x" }), &[]), Err(VerifyError::Jws(JwsError::TypMismatch)));
    assert_eq!(vc("dc+sd-jwt", &json!({}), &[]), Err(VerifyError::MissingClaim("vct")));
    for bad in [json!(null), json!(1), json!(["urn:x"])] {
        assert_eq!(vc("dc+sd-jwt", &json!({ "vct": bad }), &[]), Err(VerifyError::MalformedClaim("vct")));
    }
    // A profile's own list of types stands.
    let token = signed_as(&TokenHeader::new(TYP), &json!({ "vct": "urn:x" }));
    assert!(verify_as(&token, &policy().sd_jwt_vc()).is_ok());
}

#[test]
fn an_sd_jwt_vc_discloses_no_claim_that_validity_depends_on() {
    let values = [
        ("iss", json!("i")),
        ("nbf", json!(1)),
        ("exp", json!(NOW + 1)),
        ("cnf", json!({ "jkt": "x" })),
        ("vct", json!("urn:x")),
        ("vct#integrity", json!("sha256-x")),
        ("status", json!({})),
    ];
    for (name, value) in values {
        let shown = tuple(json!(["s", name, value]));
        let mut payload = object(json!({ "vct": "urn:x", "_sd": [digest(&shown)] }));
        if name == "vct" {
            payload.remove("vct");
        }
        let expected = VerifyError::NotSelectivelyDisclosable { path: name.into() };
        assert_eq!(vc("dc+sd-jwt", &Value::Object(payload.clone()), &[&shown]), Err(expected));
        // Only there: RFC 9901 itself leaves it to the issuer.
        assert!(process(Value::Object(payload), &[&shown]).is_ok());
    }
    let part = tuple(json!(["s", "jkt", "x"]));
    let payload = json!({ "vct": "urn:x", "cnf": { "_sd": [digest(&part)] } });
    let expected = VerifyError::NotSelectivelyDisclosable { path: ClaimPath::from(["cnf", "jkt"]) };
    assert_eq!(vc("dc+sd-jwt", &payload, &[&part]), Err(expected));
    for name in ["iat", "sub", "given_name"] {
        let shown = tuple(json!(["s", name, 1]));
        let payload = json!({ "vct": "urn:x", "_sd": [digest(&shown)] });
        assert_eq!(vc("dc+sd-jwt", &payload, &[&shown]), Ok(json!({ "vct": "urn:x", name: 1 })));
    }
}
