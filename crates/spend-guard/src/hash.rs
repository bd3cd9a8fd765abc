//! The hash by which policies, entries and artefacts are known.

/// base64url(SHA-256(`octets`)).
pub(crate) fn hash(octets: &[u8]) -> String {
    jose::base64url::encode(&jose::sha256(octets))
}
