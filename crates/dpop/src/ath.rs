use core::fmt;

use jose::{base64url, sha256};

/// The hash that ties a proof to an access token: base64url of its SHA-256, 43 characters (RFC 9449 §4.2).
#[derive(Clone, PartialEq, Eq)]
pub struct Ath(String);

impl Ath {
    /// The hash of `access_token`, exactly as in the `Authorization` header after the scheme.
    ///
    /// # Examples
    ///
    /// ```
    /// // RFC 9449 §7.1.
    /// let ath = dpop::Ath::of("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU");
    /// assert_eq!(ath.as_str(), "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo");
    /// ```
    #[must_use]
    pub fn of(access_token: &str) -> Self {
        Self(base64url::encode(&sha256(access_token.as_bytes())))
    }

    /// The 43 characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Ath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ath([redacted])")
    }
}
