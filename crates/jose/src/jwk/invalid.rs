use crate::json::InvalidJson;

/// Why a JWK or a set is refused. No value of a member is ever kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidJwk {
    /// Not a JSON object, or one with a duplicate member.
    #[error("the key is not a JSON object: {0}")]
    Json(#[from] InvalidJson),
    /// The member is missing, of the wrong type or of the wrong form.
    #[error("the key's member `{0}` is missing or malformed")]
    Member(&'static str),
    /// `kty` or `crv` names no key type that this crate knows.
    #[error("the key's type is not Ed25519 or P-256")]
    Unsupported,
    /// The coordinates are no usable point.
    #[error("the key is not a usable point on its curve")]
    NotOnCurve,
    /// A private member where none belongs, or one that does not fit the public half.
    #[error("the key has a private member that does not belong there")]
    PrivateMember,
    /// `use`, `key_ops` or `alg` excludes the use.
    #[error("the key's member `{0}` says it is for another use")]
    NotForThis(&'static str),
}
