//! Fixed keys: the same input has the same outcome on every run.

use std::sync::LazyLock;

use jose::{Alg, PrivateKey, Rng, Signer, base64url};

/// What every signature here is made at, and checked at.
pub(crate) const NOW: i64 = 1_700_000_000;

/// Octets that are anything but random.
pub(crate) struct Fixed;

impl Rng for Fixed {
    fn fill(&self, out: &mut [u8]) {
        out.iter_mut().zip(1..).for_each(|(octet, value)| *octet = value);
    }
}

/// The Ed25519 key of all artefacts.
pub(crate) static ED25519: LazyLock<PrivateKey> = LazyLock::new(|| PrivateKey::generate(Alg::EdDsa, &Fixed));

/// The P-256 key of all artefacts.
pub(crate) static P256: LazyLock<PrivateKey> = LazyLock::new(|| PrivateKey::generate(Alg::Es256, &Fixed));

/// A compact JWS of these two parts exactly.
pub(crate) fn sign(key: &PrivateKey, header: &[u8], payload: &[u8]) -> String {
    let mut token = format!("{}.{}", base64url::encode(header), base64url::encode(payload));
    let signature = key.sign(token.as_bytes()).expect("a key in memory signs");
    token.push('.');
    token.push_str(&base64url::encode(&signature));
    token
}
