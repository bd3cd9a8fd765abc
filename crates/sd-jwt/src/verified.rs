use core::fmt;

use jose::{Thumbprint, UnixSeconds, VerifiedJws, sha256};
use serde_json::{Map, Value};

use crate::key_binding::{self, KeyBindingPolicy, VerifiedKeyBinding};
use crate::policy::check_times;
use crate::process::{Place, Processed};
use crate::{ClaimPath, KeyBindingError, VerifyError};

/// An SD-JWT whose issuer's signature and disclosures were checked (RFC 9901 §7.1).
#[derive(Clone, PartialEq)]
pub struct VerifiedSdJwt {
    jws: VerifiedJws,
    claims: Map<String, Value>,
    places: Vec<Place>,
}

impl VerifiedSdJwt {
    pub(crate) fn new(jws: VerifiedJws, processed: Processed) -> Self {
        Self { jws, claims: processed.claims, places: processed.places }
    }

    /// The processed payload: disclosed claims in place; `_sd`, `_sd_alg` and `...` gone.
    #[must_use]
    pub fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// The same, to keep.
    #[must_use]
    pub fn into_claims(self) -> Map<String, Value> {
        self.claims
    }

    /// The issuer-signed JWT's protected header.
    #[must_use]
    pub fn header(&self) -> &Map<String, Value> {
        self.jws.header()
    }

    /// Where the disclosures went, in their order: the claims that the holder chose to show.
    pub fn disclosed(&self) -> impl ExactSizeIterator<Item = &ClaimPath> {
        self.places.iter().map(|place| &place.path)
    }

    /// `cnf.jkt`: the thumbprint of the holder's key, where the issuer gave it (RFC 9449 §6.1). `None` also if malformed.
    #[must_use]
    pub fn holder_thumbprint(&self) -> Option<Thumbprint> {
        Thumbprint::parse(self.claims.get("cnf")?.get("jkt")?.as_str()?)
    }

    /// Checks `exp` and `nbf`, for callers whose policy put that off ([`Validity::CheckedLater`](crate::Validity)).
    ///
    /// # Errors
    ///
    /// - [`VerifyError::Expired`], [`VerifyError::NotYetValid`] beyond the leeway.
    /// - [`VerifyError::MalformedClaim`] if `exp`, `nbf` or `iat` is there and not a number.
    pub fn check_times(&self, now: UnixSeconds, leeway_seconds: u32) -> Result<(), VerifyError> {
        check_times(&self.claims, now, leeway_seconds)
    }
}

/// Shows which claims were disclosed, and the value of none.
impl fmt::Debug for VerifiedSdJwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedSdJwt")
            .field("disclosed", &self.disclosed().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// A presentation whose issuer's part was verified, while its KB-JWT was not: anyone may have sent it.
#[derive(Clone)]
pub struct UnboundPresentation<'a> {
    sd_jwt: VerifiedSdJwt,
    presented: &'a str,
    key_binding: &'a str,
}

impl<'a> UnboundPresentation<'a> {
    pub(crate) fn new(sd_jwt: VerifiedSdJwt, presented: &'a str, key_binding: &'a str) -> Self {
        Self { sd_jwt, presented, key_binding }
    }

    /// What the issuer signed, to find out which nonce and key to expect. Who sent it is not known yet.
    #[must_use]
    pub fn unbound(&self) -> &VerifiedSdJwt {
        &self.sd_jwt
    }

    /// SHA-256 of the KB-JWT's text, by which a verifier remembers the ones that it accepted.
    #[must_use]
    pub fn key_binding_sha256(&self) -> [u8; 32] {
        sha256(self.key_binding.as_bytes())
    }

    /// Verifies the KB-JWT (RFC 9901 §7.3 step 5).
    ///
    /// In this order: whose key it is, `alg`, `typ`, signature, `aud`, `nonce`, `sd_hash`, `iat`, `exp` and `nbf`.
    /// The key is that of `cnf.jwk`; else the one in the KB-JWT's own header or the policy's, which `cnf.jkt` makes
    /// trustworthy; else, where the SD-JWT has neither, the policy's.
    ///
    /// # Errors
    ///
    /// - [`KeyBindingError`], each variant for what it says.
    pub fn verify_key_binding(self, policy: &KeyBindingPolicy<'_>) -> Result<VerifiedPresentation, KeyBindingError> {
        let key_binding = key_binding::verify(self.key_binding, self.presented, self.sd_jwt.claims(), policy)?;
        Ok(VerifiedPresentation { sd_jwt: self.sd_jwt, key_binding })
    }
}

/// As for the issuer's part.
impl fmt::Debug for UnboundPresentation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnboundPresentation").field("unbound", &self.sd_jwt).finish_non_exhaustive()
    }
}

/// A presentation of which both parts were verified: the issuer said this, and the key's holder showed it here and now.
#[derive(Clone, Debug, PartialEq)]
pub struct VerifiedPresentation {
    sd_jwt: VerifiedSdJwt,
    key_binding: VerifiedKeyBinding,
}

impl VerifiedPresentation {
    /// The processed payload: disclosed claims in place; `_sd`, `_sd_alg` and `...` gone.
    #[must_use]
    pub fn claims(&self) -> &Map<String, Value> {
        self.sd_jwt.claims()
    }

    /// The issuer's part.
    #[must_use]
    pub fn sd_jwt(&self) -> &VerifiedSdJwt {
        &self.sd_jwt
    }

    /// The holder's part.
    #[must_use]
    pub fn key_binding(&self) -> &VerifiedKeyBinding {
        &self.key_binding
    }

    /// Both parts, to keep.
    #[must_use]
    pub fn into_parts(self) -> (VerifiedSdJwt, VerifiedKeyBinding) {
        (self.sd_jwt, self.key_binding)
    }
}
