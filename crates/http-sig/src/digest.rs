use jose::constant_time_eq;
use sfv::{BareItem, Dictionary, ItemSerializer, ListEntry, Parser};
use sha2::{Digest as _, Sha256, Sha512};

use crate::field;
use crate::message::Fields;
use crate::unresolved::Unresolved;

/// A digest algorithm that RFC 9530 §5 calls active. The deprecated ones are as good as unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "another algorithm has to be met by every match on this")]
pub enum DigestAlg {
    /// `sha-256`
    Sha256,
    /// `sha-512`
    Sha512,
}

impl DigestAlg {
    /// The key in the dictionary.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha-256",
            Self::Sha512 => "sha-512",
        }
    }
}

/// The digests of a `Content-Digest` field (RFC 9530 §2) that can be checked.
///
/// # Examples
///
/// ```
/// use http_sig::{ContentDigest, DigestAlg, DigestError};
///
/// let body = br#"{"hello": "world"}"#;
/// let value = ContentDigest::field_value(body, &[DigestAlg::Sha256]);
/// assert_eq!(value, "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:");
///
/// let digest = ContentDigest::parse(&value)?;
/// assert_eq!(digest.verify(body), Ok(()));
/// assert_eq!(digest.verify(b"{}"), Err(DigestError::Mismatch(DigestAlg::Sha256)));
/// # Ok::<(), DigestError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentDigest {
    sha256: Option<[u8; 32]>,
    sha512: Option<[u8; 64]>,
}

impl ContentDigest {
    /// The field's name.
    pub const FIELD: &'static str = "content-digest";

    /// Parses the field's value: a dictionary of byte sequences. Algorithms that are not known are ignored, whatever
    /// stands there; of a repeated one the last counts (RFC 8941 §4.2.2).
    ///
    /// # Errors
    ///
    /// - [`DigestError::Malformed`] if it is no dictionary, or a known algorithm has no byte sequence of its length.
    /// - [`DigestError::NoKnownAlgorithm`] if nothing is left that could be checked.
    pub fn parse(value: &str) -> Result<Self, DigestError> {
        let members: Dictionary = Parser::new(value).parse().map_err(|_| DigestError::Malformed)?;
        let digest = Self { sha256: octets(&members, "sha-256")?, sha512: octets(&members, "sha-512")? };
        match digest {
            Self { sha256: None, sha512: None } => Err(DigestError::NoKnownAlgorithm),
            digest => Ok(digest),
        }
    }

    /// Reads the field from a header section. `None` if there is none.
    ///
    /// # Errors
    ///
    /// As for [`ContentDigest::parse`].
    pub fn from_fields<'a>(fields: impl Into<Fields<'a>>) -> Result<Option<Self>, DigestError> {
        let mut value = String::new();
        match field::write_combined(fields.into(), Self::FIELD, &mut value) {
            Ok(()) => Self::parse(&value).map(Some),
            Err(Unresolved::NoField) => Ok(None),
            Err(_) => Err(DigestError::Malformed),
        }
    }

    /// Whether there is a digest of that algorithm.
    #[must_use]
    pub fn has(&self, alg: DigestAlg) -> bool {
        match alg {
            DigestAlg::Sha256 => self.sha256.is_some(),
            DigestAlg::Sha512 => self.sha512.is_some(),
        }
    }

    /// Compares every known digest with `body`, the content as sent: after content coding, before transfer coding. Each
    /// algorithm present hashes the body once.
    ///
    /// # Errors
    ///
    /// - [`DigestError::Mismatch`] for the first that differs.
    pub fn verify(&self, body: &[u8]) -> Result<(), DigestError> {
        if self.sha256.is_some_and(|digest| !constant_time_eq(&digest, &Sha256::digest(body))) {
            return Err(DigestError::Mismatch(DigestAlg::Sha256));
        }
        if self.sha512.is_some_and(|digest| !constant_time_eq(&digest, &Sha512::digest(body))) {
            return Err(DigestError::Mismatch(DigestAlg::Sha512));
        }
        Ok(())
    }

    /// The field value for `body`, with these algorithms in this order.
    #[must_use]
    pub fn field_value(body: &[u8], algs: &[DigestAlg]) -> String {
        let mut value = String::new();
        for alg in algs {
            if !value.is_empty() {
                value.push_str(", ");
            }
            value.push_str(alg.name());
            value.push('=');
            let serializer = ItemSerializer::with_buffer(&mut value);
            let _ = match alg {
                DigestAlg::Sha256 => serializer.bare_item(&Sha256::digest(body)[..]).finish(),
                DigestAlg::Sha512 => serializer.bare_item(&Sha512::digest(body)[..]).finish(),
            };
        }
        value
    }
}

/// Why the content does not have the digest that it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DigestError {
    /// The field is required and not there.
    #[error("there is no Content-Digest")]
    Missing,
    /// Not a dictionary with byte sequences of the right lengths.
    #[error("Content-Digest is malformed")]
    Malformed,
    /// No algorithm in the field is known, so there is nothing to compare.
    #[error("Content-Digest has neither sha-256 nor sha-512")]
    NoKnownAlgorithm,
    /// This algorithm is required and not in the field.
    #[error("Content-Digest has no {}", .0.name())]
    NoAlgorithm(DigestAlg),
    /// The content is another.
    #[error("the content does not have its {} digest", .0.name())]
    Mismatch(DigestAlg),
    /// The message was given without its content.
    #[error("the content to compare with Content-Digest was not given")]
    NoBody,
}

fn octets<const N: usize>(members: &Dictionary, key: &str) -> Result<Option<[u8; N]>, DigestError> {
    match members.get(key) {
        None => Ok(None),
        Some(ListEntry::Item(sfv::Item { bare_item: BareItem::ByteSequence(octets), .. })) => {
            octets.as_slice().try_into().map(Some).map_err(|_| DigestError::Malformed)
        }
        Some(_) => Err(DigestError::Malformed),
    }
}
