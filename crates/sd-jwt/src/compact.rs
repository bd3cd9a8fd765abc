use core::fmt;
use std::borrow::Cow;

use jose::{Alg, JwsError, PublicKey, UnverifiedJws, base64url, json};

use crate::process::{Processed, process};
use crate::{MAX_DISCLOSURES, MAX_OCTETS, Policy, UnboundPresentation, VerifiedSdJwt, VerifyError};

/// An SD-JWT, taken apart but not believed: only what choosing the issuer's key needs can be read.
///
/// **Shape** (RFC 9901 §4): `<issuer-signed JWT>~<disclosure>~…~`, and behind the last `~` nothing or a KB-JWT. All parts
/// are kept byte for byte.
#[derive(Clone)]
pub struct UnverifiedSdJwt<'a> {
    /// Up to and including the last `~`: what `sd_hash` is over.
    presented: &'a str,
    jws: UnverifiedJws<'a>,
    disclosures: Vec<&'a str>,
    key_binding: Option<&'a str>,
}

impl<'a> UnverifiedSdJwt<'a> {
    /// Takes `token` apart (RFC 9901 §7.1 step 1). Disclosures and KB-JWT are not looked into yet.
    ///
    /// # Errors
    ///
    /// - [`VerifyError::TooLarge`], [`VerifyError::TooManyDisclosures`] beyond [`MAX_OCTETS`], [`MAX_DISCLOSURES`].
    /// - [`VerifyError::NoTilde`] for a text without `~`.
    /// - [`VerifyError::Jws`] as [`UnverifiedJws::parse`] says for the issuer-signed JWT.
    pub fn parse(token: &'a str) -> Result<Self, VerifyError> {
        if token.len() > MAX_OCTETS {
            return Err(VerifyError::TooLarge);
        }
        let end = token.rfind('~').ok_or(VerifyError::NoTilde)? + 1;
        let (presented, key_binding) = token.split_at(end);
        let mut parts = presented[..end - 1].split('~');
        let jws = UnverifiedJws::parse(parts.next().unwrap_or_default())?;
        let disclosures: Vec<_> = parts.take(MAX_DISCLOSURES + 1).collect();
        if disclosures.len() > MAX_DISCLOSURES {
            return Err(VerifyError::TooManyDisclosures);
        }
        Ok(Self { presented, jws, disclosures, key_binding: Some(key_binding).filter(|text| !text.is_empty()) })
    }

    /// The issuer-signed JWT's `kid`, to look the issuer's key up with.
    #[must_use]
    pub fn unverified_kid(&self) -> Option<&str> {
        self.jws.unverified_kid()
    }

    /// The issuer-signed JWT's `alg`.
    #[must_use]
    pub fn unverified_alg(&self) -> Alg {
        self.jws.unverified_alg()
    }

    /// The issuer-signed JWT's `typ`, to tell kinds of token apart; verifying checks it.
    #[must_use]
    pub fn unverified_typ(&self) -> Option<&str> {
        self.jws.unverified_typ()
    }

    /// Whether a KB-JWT stands at the end.
    #[must_use]
    pub fn has_key_binding(&self) -> bool {
        self.key_binding.is_some()
    }

    /// Verifies an SD-JWT that must not have a KB-JWT (RFC 9901 §7.1): one just issued, or a presentation by any
    /// bearer.
    ///
    /// In this order: form, `alg`, `typ`, signature, `_sd_alg`, disclosures, digests, times, and the rules of SD-JWT VC
    /// where the policy requires them. `key` is the issuer's: the caller must know that it belongs to `iss`.
    ///
    /// # Errors
    ///
    /// - [`VerifyError::UnexpectedKeyBinding`] if there is a KB-JWT.
    /// - the other variants of [`VerifyError`], each for what it says.
    pub fn verify(&self, key: &PublicKey, policy: &Policy<'_>) -> Result<VerifiedSdJwt, VerifyError> {
        match self.key_binding {
            None => self.verify_issued(key, policy),
            Some(_) => Err(VerifyError::UnexpectedKeyBinding),
        }
    }

    /// Verifies the issuer's part of an SD-JWT that must have a KB-JWT (RFC 9901 §7.3 steps 1 to 4), in the order of
    /// [`UnverifiedSdJwt::verify`]. The KB-JWT comes next: [`UnboundPresentation::verify_key_binding`].
    ///
    /// # Errors
    ///
    /// - [`VerifyError::MissingKeyBinding`] if there is no KB-JWT.
    /// - the other variants of [`VerifyError`], each for what it says.
    pub fn verify_presentation(
        &self,
        key: &PublicKey,
        policy: &Policy<'_>,
    ) -> Result<UnboundPresentation<'a>, VerifyError> {
        let key_binding = self.key_binding.ok_or(VerifyError::MissingKeyBinding)?;
        Ok(UnboundPresentation::new(self.verify_issued(key, policy)?, self.presented, key_binding))
    }

    pub(crate) fn disclosures(&self) -> &[&'a str] {
        &self.disclosures
    }

    /// Puts the disclosures in place without a look at the signature: for the holder, who verified it on arrival.
    pub(crate) fn process_unverified(&self) -> Result<Processed, VerifyError> {
        let payload = self.presented.split('.').nth(1).unwrap_or_default();
        let payload = base64url::decode(payload).map_err(|_| JwsError::Base64Url("payload"))?;
        process(json::parse_object(&payload).map_err(JwsError::ClaimsJson)?, &self.disclosures)
    }

    fn verify_issued(&self, key: &PublicKey, policy: &Policy<'_>) -> Result<VerifiedSdJwt, VerifyError> {
        let jws = self.jws.verify(key, policy.algs, policy.typ())?;
        let processed = process(jws.claims()?, &self.disclosures)?;
        policy.check(&processed)?;
        Ok(VerifiedSdJwt::new(jws, processed))
    }
}

/// Shows how much there is, and nothing of it.
impl fmt::Debug for UnverifiedSdJwt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnverifiedSdJwt")
            .field("disclosures", &self.disclosures.len())
            .field("key_binding", &self.has_key_binding())
            .finish_non_exhaustive()
    }
}

/// Gives a bare JWT the `~` that makes it an SD-JWT without disclosures; any text with a `~` stays as it is.
///
/// RFC 9901 §4 knows no SD-JWT without one. It is for profiles that let an issuer leave it out where nothing is
/// disclosable; what is presented, and hashed into `sd_hash`, has it.
///
/// # Examples
///
/// ```
/// assert_eq!(sd_jwt::complete("e30.e30.AA"), "e30.e30.AA~");
/// assert_eq!(sd_jwt::complete("e30.e30.AA~WyJ4Il0~"), "e30.e30.AA~WyJ4Il0~");
/// ```
#[must_use]
pub fn complete(token: &str) -> Cow<'_, str> {
    match token.contains('~') {
        true => Cow::Borrowed(token),
        false => Cow::Owned(format!("{token}~")),
    }
}
