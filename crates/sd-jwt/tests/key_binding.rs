//! The KB-JWT (RFC 9901 §4.3, §7.3), and what a profile builds on it.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::cell::Cell;

use common::{
    AUD, BOTH, NONCE, NOW, TestRng, binding_policy, bound_payload, cnf, digest, holder_key, issuer_key, kb_claims,
    kb_jwt, object, policy, token, tuple, verify_bound,
};
use jose::{Alg, InvalidJwk, JwsError, PrivateKey, PublicKey, Signer as _, TokenHeader, base64url, sha256};
use sd_jwt::{
    Expected, HeldSdJwt, KeyBinder, KeyBindingError, KeyBindingPolicy, Policy, UnverifiedSdJwt, Validity, VerifyError,
};
use serde_json::{Value, json};

const HEADER: &str = "kb+jwt";

fn presented() -> String {
    let (payload, email) = bound_payload();
    token(&payload, &[&email])
}

/// The error, if any, of a KB-JWT with these claims.
fn check(claims: &Value) -> Result<(), KeyBindingError> {
    let presented = presented();
    let token = format!("{presented}{}", kb_jwt(&holder_key(), &TokenHeader::new(HEADER), claims));
    verify_bound(&token, &binding_policy()).map(drop)
}

/// The error, if any, of a good KB-JWT for a payload with this `cnf`, its header carrying the key or not.
fn check_cnf(
    cnf: Option<Value>,
    carried: Option<&PublicKey>,
    known: Option<&PublicKey>,
) -> Result<(), KeyBindingError> {
    let payload = cnf.map_or(json!({}), |cnf| json!({ "cnf": cnf }));
    let presented = token(&payload, &[]);
    let mut header = TokenHeader::new(HEADER);
    if let Some(key) = carried {
        header = header.jwk(key);
    }
    let token = format!("{presented}{}", kb_jwt(&holder_key(), &header, &kb_claims(&presented)));
    let mut policy = binding_policy();
    if let Some(key) = known {
        policy = policy.holder_key(key);
    }
    verify_bound(&token, &policy).map(drop)
}

fn jkt(key: &PrivateKey) -> Value {
    json!({ "jkt": key.public_key().thumbprint() })
}

#[test]
fn accepts_what_the_holder_bound() {
    let (holder, presented) = (holder_key(), presented());
    let held = HeldSdJwt::parse(presented.clone()).unwrap();
    let token = KeyBinder::new(&holder).bind(held.select_all(), AUD, "nonce \"with\" ünusual\n text", NOW).unwrap();
    assert!(token.starts_with(&presented));
    let policy = KeyBindingPolicy::new(&[Alg::EdDsa], AUD, "nonce \"with\" ünusual\n text", NOW);
    let verified = verify_bound(&token, &policy).unwrap();
    assert_eq!(verified.claims()["email"], "erika@example.org");
    assert_eq!(verified.sd_jwt().disclosed().len(), 1);
    let binding = verified.key_binding();
    assert_eq!(binding.key(), holder.public_key());
    assert_eq!((binding.aud(), binding.nonce()), (AUD, "nonce \"with\" ünusual\n text"));
    assert_eq!(binding.claims()["iat"], NOW);
    assert_eq!(Value::Object(binding.header().clone()), json!({ "alg": "EdDSA", "typ": "kb+jwt" }));
}

#[test]
fn the_caller_chooses_whether_a_kb_jwt_is_wanted() {
    let presented = presented();
    let bound = format!("{presented}{}", kb_jwt(&holder_key(), &TokenHeader::new(HEADER), &kb_claims(&presented)));
    let issuer = issuer_key();
    let with = UnverifiedSdJwt::parse(&bound).unwrap();
    let without = UnverifiedSdJwt::parse(&presented).unwrap();
    assert!(with.has_key_binding() && !without.has_key_binding());
    assert_eq!(with.verify(issuer.public_key(), &policy()), Err(VerifyError::UnexpectedKeyBinding));
    let missing = without.verify_presentation(issuer.public_key(), &policy()).unwrap_err();
    assert_eq!(missing, VerifyError::MissingKeyBinding);
    assert_eq!(HeldSdJwt::parse(bound).unwrap_err(), VerifyError::UnexpectedKeyBinding);
}

#[test]
fn rejects_each_claim_that_is_missing_or_of_another_type() {
    for name in ["iat", "aud", "nonce", "sd_hash"] {
        let mut claims = object(kb_claims(&presented()));
        claims.remove(name);
        assert_eq!(check(&Value::Object(claims.clone())), Err(KeyBindingError::Claim(name)));
        for bad in [json!(null), json!([AUD]), json!({}), json!(true)] {
            claims.insert(name.to_owned(), bad);
            assert_eq!(check(&Value::Object(claims.clone())), Err(KeyBindingError::Claim(name)));
        }
    }
}

#[test]
fn rejects_each_claim_that_differs() {
    let with = |name: &str, value: Value| {
        let mut claims = object(kb_claims(&presented()));
        claims.insert(name.to_owned(), value);
        check(&Value::Object(claims))
    };
    assert_eq!(with("aud", json!("https://verifier.example/")), Err(KeyBindingError::AudienceMismatch));
    assert_eq!(with("nonce", json!("")), Err(KeyBindingError::NonceMismatch));
    let padded = digest(&presented()) + "=";
    for bad in ["", padded.as_str(), &digest("x")] {
        assert_eq!(with("sd_hash", json!(bad)), Err(KeyBindingError::SdHashMismatch));
    }
    let outside = Err(KeyBindingError::IatOutsideWindow { now: NOW });
    assert_eq!(with("iat", json!(NOW - 300)), Ok(()));
    assert_eq!(with("iat", json!(NOW - 301)), outside);
    assert_eq!(with("iat", json!(NOW as f64 - 300.5)), outside);
    assert_eq!(with("iat", json!(NOW + 60)), Ok(()));
    assert_eq!(with("iat", json!(NOW + 61)), outside);
    assert_eq!(with("iat", json!(1e300)), outside);
    assert_eq!(with("iat", json!(i64::MIN)), outside);
    assert_eq!(with("exp", json!(NOW)), Err(KeyBindingError::Expired { now: NOW }));
    assert_eq!(with("exp", json!(NOW + 1)), Ok(()));
    assert_eq!(with("exp", json!(null)), Err(KeyBindingError::Claim("exp")));
    assert_eq!(with("nbf", json!(NOW + 61)), Err(KeyBindingError::NotYetValid { now: NOW }));
    assert_eq!(with("nbf", json!(NOW + 60)), Ok(()));
}

#[test]
fn finds_the_first_fault_in_the_documented_order() {
    let mut claims = object(json!({ "iat": 0, "aud": "x", "nonce": "x", "sd_hash": "x", "exp": 0 }));
    let good = object(kb_claims(&presented()));
    for (name, error) in [
        ("aud", KeyBindingError::AudienceMismatch),
        ("nonce", KeyBindingError::NonceMismatch),
        ("sd_hash", KeyBindingError::SdHashMismatch),
        ("iat", KeyBindingError::IatOutsideWindow { now: NOW }),
    ] {
        assert_eq!(check(&Value::Object(claims.clone())), Err(error));
        claims.insert(name.to_owned(), good[name].clone());
    }
    assert_eq!(check(&Value::Object(claims)), Err(KeyBindingError::Expired { now: NOW }));
}

#[test]
fn rejects_other_headers_and_signers() {
    let presented = presented();
    let claims = kb_claims(&presented);
    let verify = |kb: &str, policy: &KeyBindingPolicy<'_>| verify_bound(&format!("{presented}{kb}"), policy).map(drop);
    let jws = |error| Err(KeyBindingError::Jws(error));
    let holder = holder_key();

    for header in [TokenHeader::new("JWT"), TokenHeader::new("dc+sd-jwt"), TokenHeader::untyped()] {
        assert_eq!(verify(&kb_jwt(&holder, &header, &claims), &binding_policy()), jws(JwsError::TypMismatch));
    }
    let thief = PrivateKey::generate(Alg::EdDsa, &TestRng::new(5));
    let stolen = kb_jwt(&thief, &TokenHeader::new(HEADER), &claims);
    assert_eq!(verify(&stolen, &binding_policy()), jws(JwsError::BadSignature));
    let brought = kb_jwt(&thief, &TokenHeader::new(HEADER).jwk(thief.public_key()), &claims);
    assert_eq!(verify(&brought, &binding_policy()), jws(JwsError::EmbeddedKey("jwk")));
    let good = kb_jwt(&holder, &TokenHeader::new(HEADER), &claims);
    let only_es256 = KeyBindingPolicy::new(&[Alg::Es256], AUD, NONCE, NOW);
    assert_eq!(verify(&good, &only_es256), jws(JwsError::AlgNotAllowed("EdDSA".to_owned())));
    let none = format!("{}.e30.", base64url::encode(br#"{"alg":"none","typ":"kb+jwt"}"#));
    assert_eq!(verify(&none, &binding_policy()), jws(JwsError::AlgNotAllowed("none".to_owned())));
    assert_eq!(verify("garbage", &binding_policy()), jws(JwsError::NotCompact));
    assert_eq!(verify(&format!("{good} "), &binding_policy()), jws(JwsError::Base64Url("signature")));
}

#[test]
fn rejects_a_kb_jwt_that_is_moved_to_another_presentation() {
    let one = tuple(json!(["s", "a", 1]));
    let two = tuple(json!(["s", "b", 1]));
    let payload = json!({ "cnf": cnf(), "_sd": [digest(&one), digest(&two)] });
    let both = token(&payload, &[&one, &two]);
    let kb = kb_jwt(&holder_key(), &TokenHeader::new(HEADER), &kb_claims(&both));
    assert!(verify_bound(&format!("{both}{kb}"), &binding_policy()).is_ok());
    for other in [token(&payload, &[&two, &one]), token(&payload, &[&one]), token(&payload, &[])] {
        let moved = verify_bound(&format!("{other}{kb}"), &binding_policy());
        assert_eq!(moved, Err(KeyBindingError::SdHashMismatch));
    }
    // The hash covers the last `~`.
    let short = kb_claims(both.trim_end_matches('~'));
    let kb = kb_jwt(&holder_key(), &TokenHeader::new(HEADER), &short);
    assert_eq!(verify_bound(&format!("{both}{kb}"), &binding_policy()), Err(KeyBindingError::SdHashMismatch));
}

#[test]
fn takes_the_holder_key_from_where_the_issuer_put_it() {
    let holder = holder_key();
    let (key, jwk) = (holder.public_key(), holder.public_key().to_jwk());
    let stranger = PrivateKey::generate(Alg::EdDsa, &TestRng::new(5));
    let other = stranger.public_key();

    assert_eq!(check_cnf(Some(json!({ "jwk": jwk })), None, None), Ok(()));
    assert_eq!(check_cnf(Some(json!({ "jwk": jwk, "kid": "x", "more": [1] })), None, None), Ok(()));
    assert_eq!(check_cnf(Some(json!({ "jwk": jwk, "jkt": key.thumbprint() })), Some(key), Some(key)), Ok(()));
    assert_eq!(check_cnf(Some(jkt(&holder)), Some(key), None), Ok(()));
    assert_eq!(check_cnf(Some(jkt(&holder)), None, Some(key)), Ok(()));
    assert_eq!(check_cnf(Some(jkt(&holder)), Some(key), Some(key)), Ok(()));
    assert_eq!(check_cnf(Some(json!({ "kid": "x" })), None, Some(key)), Ok(()));
    assert_eq!(check_cnf(None, None, Some(key)), Ok(()));

    let not_it = Err(KeyBindingError::NotTheHolderKey);
    assert_eq!(check_cnf(Some(jkt(&stranger)), Some(key), None), not_it);
    assert_eq!(check_cnf(Some(jkt(&stranger)), None, Some(key)), not_it);
    assert_eq!(check_cnf(Some(jkt(&holder)), Some(key), Some(other)), not_it);
    assert_eq!(check_cnf(Some(json!({ "jwk": jwk })), None, Some(other)), not_it);
    assert_eq!(check_cnf(Some(json!({ "jwk": jwk, "jkt": other.thumbprint() })), None, None), not_it);

    let nobody = Err(KeyBindingError::NoHolderKey);
    assert_eq!(check_cnf(None, None, None), nobody);
    assert_eq!(check_cnf(None, Some(key), None), nobody, "a key that came along proves nothing by itself");
    assert_eq!(check_cnf(Some(json!({})), Some(key), None), nobody);
    assert_eq!(check_cnf(Some(jkt(&holder)), None, None), nobody);
}

#[test]
fn rejects_a_malformed_cnf() {
    let malformed = Err(KeyBindingError::MalformedCnf);
    let key = holder_key();
    for bad in [json!(null), json!("x"), json!([]), json!({ "jwk": "x" }), json!({ "jwk": null }), json!({ "jkt": 1 })]
    {
        assert_eq!(check_cnf(Some(bad), None, Some(key.public_key())), malformed);
    }
    assert_eq!(check_cnf(Some(json!({ "jkt": "too-short" })), Some(key.public_key()), None), malformed);
    let rsa = check_cnf(Some(json!({ "jwk": { "kty": "RSA", "n": "AQAB", "e": "AQAB" } })), None, None);
    assert_eq!(rsa, Err(KeyBindingError::HolderKey(InvalidJwk::Unsupported)));
}

#[test]
fn rejects_private_members_in_either_jwk() {
    let holder = holder_key();
    let private: Value = serde_json::from_str(&holder.to_jwk()).unwrap();
    let in_cnf = check_cnf(Some(json!({ "jwk": private })), None, None);
    assert_eq!(in_cnf, Err(KeyBindingError::HolderKey(InvalidJwk::PrivateMember)));

    let presented = token(&json!({ "cnf": jkt(&holder) }), &[]);
    let header = json!({ "alg": "EdDSA", "typ": HEADER, "jwk": private }).to_string();
    let claims = kb_claims(&presented).to_string();
    let input = format!("{}.{}", base64url::encode(header.as_bytes()), base64url::encode(claims.as_bytes()));
    let signature = base64url::encode(&holder.sign(input.as_bytes()).unwrap());
    let result = verify_bound(&format!("{presented}{input}.{signature}"), &binding_policy());
    assert_eq!(result, Err(KeyBindingError::Jws(JwsError::EmbeddedKeyInvalid(InvalidJwk::PrivateMember))));
}

#[test]
fn a_verifier_can_judge_the_nonce_itself_once_it_knows_the_issuers_part() {
    // The order that a merchant needs: issuer's part without its times, key binding under a nonce it looks up, times.
    let holder = holder_key();
    let payload = json!({ "exp": NOW - 1, "cnf": jkt(&holder), "mandate_id": "m-1" });
    let held = HeldSdJwt::parse(token(&payload, &[])).unwrap();
    let binder = KeyBinder::carrying_key(&holder);
    let token = binder.bind(held.select(&[]).unwrap(), AUD, "live", NOW).unwrap();

    let unverified = UnverifiedSdJwt::parse(&token).unwrap();
    let later = Policy::new(BOTH, &[common::TYP], Validity::CheckedLater);
    let unbound = unverified.verify_presentation(issuer_key().public_key(), &later).unwrap();
    assert_eq!(unbound.unbound().claims()["mandate_id"], "m-1");
    assert_eq!(unbound.unbound().holder_thumbprint().as_ref(), Some(holder.public_key().thumbprint()));
    let kb = &token[token.rfind('~').unwrap() + 1..];
    assert_eq!(unbound.key_binding_sha256(), sha256(kb.as_bytes()));

    let asked = Cell::new(0);
    let live = |nonce: &str| {
        asked.set(asked.get() + 1);
        nonce == "live"
    };
    let binding = KeyBindingPolicy::new(&[Alg::EdDsa], AUD, Expected::Satisfying(&live), NOW);
    let verified = unbound.clone().verify_key_binding(&binding).unwrap();
    assert_eq!(asked.get(), 1);
    assert_eq!(verified.key_binding().header()["jwk"], json!(holder.public_key().to_jwk()));
    assert_eq!(verified.sd_jwt().check_times(NOW, 0), Err(VerifyError::Expired { now: NOW }));

    let dead = |_: &str| false;
    let binding = KeyBindingPolicy::new(&[Alg::EdDsa], AUD, Expected::Satisfying(&dead), NOW);
    assert_eq!(unbound.clone().verify_key_binding(&binding), Err(KeyBindingError::NonceMismatch));
    let anything = KeyBindingPolicy::new(&[Alg::EdDsa], Expected::Anything, Expected::Anything, NOW);
    assert_eq!(unbound.verify_key_binding(&anything).unwrap().key_binding().nonce(), "live");
}

#[test]
fn the_window_is_the_callers() {
    let presented = presented();
    let token = format!("{presented}{}", kb_jwt(&holder_key(), &TokenHeader::new(HEADER), &kb_claims(&presented)));
    let at = |now| KeyBindingPolicy::new(BOTH, AUD, NONCE, now).max_age_seconds(10).skew_seconds(0);
    assert!(verify_bound(&token, &at(NOW + 10)).is_ok());
    assert_eq!(verify_bound(&token, &at(NOW + 11)), Err(KeyBindingError::IatOutsideWindow { now: NOW + 11 }));
    assert_eq!(verify_bound(&token, &at(NOW - 1)), Err(KeyBindingError::IatOutsideWindow { now: NOW - 1 }));
}

#[test]
fn works_with_es256_on_both_sides() {
    let rng = TestRng::new(3);
    let holder = PrivateKey::generate(Alg::Es256, &rng);
    let held = HeldSdJwt::parse(token(&json!({ "cnf": { "jwk": holder.public_key().to_jwk() } }), &[])).unwrap();
    let token = KeyBinder::new(&holder).bind(held.select_all(), AUD, NONCE, NOW).unwrap();
    assert!(verify_bound(&token, &binding_policy()).is_ok());
}
