//! Keys and proofs for the tests. The keys are printed in RFCs, so anyone may repeat a test with other tools.
#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test helper that fails must fail loudly")]

use std::sync::atomic::{AtomicU64, Ordering};

use jose::{PrivateKey, Signer, base64url};
use serde_json::{Value, json};

pub(crate) const NOW: i64 = 1_700_000_000;
pub(crate) const URL: &str = "https://as.example/oauth/token";
pub(crate) const ACCESS_TOKEN: &str = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
pub(crate) const ATH: &str = "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo";

/// RFC 8037 Appendix A.1.
pub(crate) const ED25519_JWK: &str = r#"{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

pub(crate) fn ed25519() -> PrivateKey {
    PrivateKey::from_jwk(ED25519_JWK.as_bytes()).unwrap()
}

/// RFC 9421 Appendix B.1.4.
pub(crate) fn other_ed25519() -> PrivateKey {
    let jwk = r#"{"kty":"OKP","crv":"Ed25519","d":"n4Ni-HpISpVObnQMW0wOhCKROaIKqKtW_2ZYb2p9KcU","x":"JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs"}"#;
    PrivateKey::from_jwk(jwk.as_bytes()).unwrap()
}

/// RFC 7515 Appendix A.3.1.
pub(crate) fn p256() -> PrivateKey {
    let jwk = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;
    PrivateKey::from_jwk(jwk.as_bytes()).unwrap()
}

/// The public half of `key` as a header's `jwk`.
pub(crate) fn jwk(key: &PrivateKey) -> Value {
    serde_json::from_str(&key.public_key().members_json()).unwrap()
}

/// The header of a good proof by `key`.
pub(crate) fn header(key: &PrivateKey) -> Value {
    json!({ "typ": "dpop+jwt", "alg": key.public_key().alg().name(), "jwk": jwk(key) })
}

/// The claims of a good proof for `POST` to [`URL`] at [`NOW`].
pub(crate) fn claims() -> Value {
    json!({ "jti": "e1j3V_bKic8-LAEB", "htm": "POST", "htu": URL, "iat": NOW })
}

/// `object` with these members set; `null` takes a member away.
pub(crate) fn with(mut object: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(object.as_object_mut().unwrap().remove(name)),
            value => object[name] = value.clone(),
        }
    }
    object
}

/// A proof with exactly these octets, validly signed by `key`, whatever the header says.
pub(crate) fn signed(key: &PrivateKey, header: &str, claims: &str) -> String {
    let input = format!("{}.{}", base64url::encode(header.as_bytes()), base64url::encode(claims.as_bytes()));
    let signature = key.sign(input.as_bytes()).unwrap();
    format!("{input}.{}", base64url::encode(&signature))
}

/// A generator that never gives the same octets twice.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl jose::Rng for Counter {
    fn fill(&self, out: &mut [u8]) {
        let octets = self.0.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        for (octet, next) in out.iter_mut().zip(octets.iter().cycle()) {
            *octet = *next;
        }
    }
}
