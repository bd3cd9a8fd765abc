//! Secrets are remembered as hashes only.

use jose::sha256;

/// SHA-256 of a setup token, portal token, request URI, code or refresh token.
pub(super) type SecretHash = [u8; 32];

pub(super) fn secret_hash(secret: &str) -> SecretHash {
    sha256(secret.as_bytes())
}
