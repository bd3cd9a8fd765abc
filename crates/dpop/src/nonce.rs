use jose::{Rng, random_token};

/// A nonce that a server requires in the next proofs (RFC 9449 §8).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Nonce(String);

impl Nonce {
    /// Parses the value of a `DPoP-Nonce` header (RFC 9449 §8.1).
    ///
    /// `value` is the raw field value: 1 to 512 octets, no surrounding white space, kept as received.
    ///
    /// # Errors
    ///
    /// - [`InvalidNonce`] if `value` is empty, longer than 512 octets (our limit), or has an octet outside `NQCHAR`
    ///   (RFC 6749 Appendix A).
    ///
    /// # Examples
    ///
    /// ```
    /// # use dpop::Nonce;
    /// assert_eq!(Nonce::parse("eyJ7S_zG.eyJH0-Z").unwrap().as_str(), "eyJ7S_zG.eyJH0-Z");
    /// assert!(Nonce::parse("two words").is_err());
    /// ```
    pub fn parse(value: &str) -> Result<Self, InvalidNonce> {
        let fits = (1..=MAX_OCTETS).contains(&value.len());
        match fits && value.bytes().all(is_nqchar) {
            true => Ok(Self(value.to_owned())),
            false => Err(InvalidNonce),
        }
    }

    /// A new nonce of 128 random bits, for a server to give out.
    #[must_use]
    pub fn generate(rng: &dyn Rng) -> Self {
        Self(random_token::<16>(rng))
    }

    /// The nonce as received.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The text cannot be a DPoP nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a DPoP nonce: expected 1 to 512 visible ASCII characters without quotes and backslashes")]
#[non_exhaustive]
pub struct InvalidNonce;

/// `NQCHAR = %x21 / %x23-5B / %x5D-7E`: visible ASCII that needs no escape inside a quoted string.
fn is_nqchar(octet: u8) -> bool {
    matches!(octet, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)
}

const MAX_OCTETS: usize = 512;
