use jose::Alg;

/// The name of a key's algorithm in the HTTP Signature Algorithms registry (RFC 9421 §6.2.2).
#[must_use]
pub fn alg_name(alg: Alg) -> &'static str {
    match alg {
        Alg::EdDsa => "ed25519",
        Alg::Es256 => "ecdsa-p256-sha256",
    }
}

/// The algorithm of that name. HMAC and RSA have none: they cannot be asked for.
pub(crate) fn alg_from_name(name: &str) -> Option<Alg> {
    [Alg::EdDsa, Alg::Es256].into_iter().find(|alg| alg_name(*alg) == name)
}
