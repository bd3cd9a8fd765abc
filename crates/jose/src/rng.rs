use crate::base64url;

/// Where random octets come from. An implementation must be a cryptographically secure generator; it aborts the
/// process rather than return predictable octets.
pub trait Rng: Send + Sync {
    /// Overwrites all of `out`.
    fn fill(&self, out: &mut [u8]);
}

/// `N` random octets as base64url: 16 give the 128 bits that `jti`, `state` and the like ask for.
#[must_use]
pub fn random_token<const N: usize>(rng: &dyn Rng) -> String {
    let mut octets = [0; N];
    rng.fill(&mut octets);
    base64url::encode(&octets)
}
