//! What the tests share: keys, a reproducible source of octets, and tokens put together by hand.

#![allow(dead_code, reason = "every test file uses its own part of this")]
#![allow(clippy::unwrap_used, reason = "a test helper that fails must fail loudly")]

use std::sync::atomic::{AtomicU64, Ordering};

use jose::{Alg, PrivateKey, Rng, Signer, TokenHeader, base64url, sha256, sign_compact};
use sd_jwt::{
    KeyBindingError, KeyBindingPolicy, Policy, UnverifiedSdJwt, Validity, VerifiedPresentation, VerifiedSdJwt,
    VerifyError,
};
use serde_json::{Map, Value, json};

pub(crate) const NOW: i64 = 1_800_000_000;
pub(crate) const TYP: &str = "example+sd-jwt";
pub(crate) const AUD: &str = "https://verifier.example";
pub(crate) const NONCE: &str = "n-0S6_WzA2Mj";
pub(crate) const BOTH: &[Alg] = &[Alg::EdDsa, Alg::Es256];

/// Octets that look random and are the same in every run.
pub(crate) struct TestRng(AtomicU64);

impl TestRng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed << 32))
    }
}

impl Rng for TestRng {
    fn fill(&self, out: &mut [u8]) {
        for chunk in out.chunks_mut(32) {
            let block = sha256(&self.0.fetch_add(1, Ordering::Relaxed).to_le_bytes());
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
    }
}

pub(crate) fn issuer_key() -> PrivateKey {
    PrivateKey::generate(Alg::EdDsa, &TestRng::new(1))
}

pub(crate) fn holder_key() -> PrivateKey {
    PrivateKey::generate(Alg::EdDsa, &TestRng::new(2))
}

pub(crate) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("not an object: {other}"),
    }
}

pub(crate) fn digest(text: &str) -> String {
    base64url::encode(&sha256(text.as_bytes()))
}

/// A disclosure whose JSON text is exactly `json`.
pub(crate) fn disclosure(json: impl AsRef<[u8]>) -> String {
    base64url::encode(json.as_ref())
}

/// A disclosure of these items.
pub(crate) fn tuple(items: Value) -> String {
    disclosure(items.to_string())
}

/// Signs `payload` as it is and puts the disclosures behind it.
pub(crate) fn token(payload: &Value, disclosures: &[&str]) -> String {
    token_of_text(&payload.to_string(), disclosures)
}

pub(crate) fn token_of_text(payload: &str, disclosures: &[&str]) -> String {
    let mut token = sign_compact(&issuer_key(), &TokenHeader::new(TYP), payload.as_bytes()).unwrap();
    for part in disclosures {
        token.push('~');
        token.push_str(part);
    }
    token.push('~');
    token
}

/// The policy of most tests.
pub(crate) fn policy() -> Policy<'static> {
    Policy::new(BOTH, &[TYP], Validity::at(NOW))
}

pub(crate) fn verify(token: &str) -> Result<VerifiedSdJwt, VerifyError> {
    verify_as(token, &policy())
}

pub(crate) fn verify_as(token: &str, policy: &Policy<'_>) -> Result<VerifiedSdJwt, VerifyError> {
    UnverifiedSdJwt::parse(token)?.verify(issuer_key().public_key(), policy)
}

/// The processed claims, or the error, of a payload and its disclosures.
pub(crate) fn process(payload: Value, disclosures: &[&str]) -> Result<Value, VerifyError> {
    verify(&token(&payload, disclosures)).map(|verified| Value::Object(verified.into_claims()))
}

pub(crate) fn binding_policy() -> KeyBindingPolicy<'static> {
    KeyBindingPolicy::new(BOTH, AUD, NONCE, NOW)
}

/// Verifies both parts; the issuer's has to be good.
pub(crate) fn verify_bound(
    token: &str,
    policy: &KeyBindingPolicy<'_>,
) -> Result<VerifiedPresentation, KeyBindingError> {
    let unverified = UnverifiedSdJwt::parse(token).unwrap();
    let unbound = unverified.verify_presentation(issuer_key().public_key(), &self::policy()).unwrap();
    unbound.verify_key_binding(policy)
}

/// `cnf` with the test holder's key.
pub(crate) fn cnf() -> Value {
    json!({ "jwk": holder_key().public_key().to_jwk() })
}

/// A payload with `cnf`, one disclosable claim, and its disclosure.
pub(crate) fn bound_payload() -> (Value, String) {
    let email = tuple(json!(["salt-1", "email", "erika@example.org"]));
    (json!({ "iss": "https://issuer.example", "exp": NOW + 60, "cnf": cnf(), "_sd": [digest(&email)] }), email)
}

/// A KB-JWT by `key` with these claims, whatever they are.
pub(crate) fn kb_jwt(key: &PrivateKey, header: &TokenHeader<'_>, claims: &Value) -> String {
    sign_compact(key, header, claims.to_string().as_bytes()).unwrap()
}

/// The claims of a good KB-JWT for `presented`.
pub(crate) fn kb_claims(presented: &str) -> Value {
    json!({ "iat": NOW, "aud": AUD, "nonce": NONCE, "sd_hash": digest(presented) })
}
