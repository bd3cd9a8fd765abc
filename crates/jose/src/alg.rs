use core::fmt;

/// A signature algorithm this project signs and verifies with (RFC 7518 §3.1, RFC 8037 §3.1, RFC 9864).
///
/// The list is closed on purpose: what is not in it (`none`, HMAC, RSA, `ES256K`, …) cannot be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(clippy::exhaustive_enums, reason = "a third algorithm has to be met by every match on this")]
pub enum Alg {
    /// EdDSA with an Ed25519 key; also named `Ed25519` (RFC 9864 §2.2).
    EdDsa,
    /// ECDSA with P-256 and SHA-256, the signature being `r ‖ s` (RFC 7518 §3.4).
    Es256,
}

impl Alg {
    /// Reads a JWS `alg` value. Case matters (RFC 7515 §4.1.1).
    ///
    /// # Errors
    ///
    /// - [`UnknownAlg`] for any name but `EdDSA`, `Ed25519` and `ES256`.
    ///
    /// # Examples
    ///
    /// ```
    /// use jose::Alg;
    /// assert_eq!(Alg::from_name("Ed25519"), Ok(Alg::EdDsa));
    /// assert!(Alg::from_name("none").is_err());
    /// assert!(Alg::from_name("eddsa").is_err());
    /// ```
    pub fn from_name(name: &str) -> Result<Self, UnknownAlg> {
        match name {
            "EdDSA" | "Ed25519" => Ok(Self::EdDsa),
            "ES256" => Ok(Self::Es256),
            _ => Err(UnknownAlg::new(name)),
        }
    }

    /// The name written into `alg`: `EdDSA` or `ES256`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
        }
    }

    /// The name that says the curve too (RFC 9864 §2): `Ed25519` or `ES256`. For a peer that lists no other.
    #[must_use]
    pub fn fully_specified_name(self) -> &'static str {
        match self {
            Self::EdDsa => "Ed25519",
            Self::Es256 => "ES256",
        }
    }
}

impl fmt::Display for Alg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The name of an algorithm outside [`Alg`], safe to print: at most 24 printable ASCII characters of it are kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?}")]
pub struct UnknownAlg(String);

impl UnknownAlg {
    pub(crate) fn new(name: &str) -> Self {
        Self(name.chars().filter(char::is_ascii_graphic).take(24).collect())
    }

    /// What is left of the name after unprintable characters and the excess are dropped.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }
}
