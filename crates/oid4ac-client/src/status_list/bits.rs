//! The bits of a status list.

use std::io::Read as _;

use flate2::bufread::GzDecoder;
use jose::base64url;

/// A decoded status list: a string of bits, bit 0 being the most significant bit of the first octet.
#[derive(Clone, PartialEq, Eq)]
pub struct StatusList {
    octets: Vec<u8>,
}

impl StatusList {
    /// Decodes an `encodedList`: base64url or base64, padded or not, with or without the multibase prefix `u`, of exactly
    /// one gzip member (RFC 1952). At most 2 MiB (16,777,216 entries) are decompressed.
    ///
    /// # Errors
    ///
    /// - [`InvalidStatusList`] for anything else: zlib, raw deflate, a wrong checksum, trailing data, too much.
    ///
    /// # Examples
    ///
    /// ```
    /// use oid4ac_client::StatusList;
    /// // W3C StatusList2021: 131,072 entries, none set.
    /// let list = StatusList::decode("H4sIAAAAAAAAA-3BMQEAAADCoPVPbQwfoAAAAAAAAAAAAAAAAAAAAIC3AYbSVKsAQAAA").unwrap();
    /// assert_eq!(list.len(), 131_072);
    /// assert_eq!(list.bit(42), Some(false));
    /// assert!(StatusList::decode("AAAA").is_err());
    /// ```
    pub fn decode(encoded: &str) -> Result<Self, InvalidStatusList> {
        // A gzip member begins with 1f 8b, so its base64 never begins with `u`.
        let text = encoded.strip_prefix('u').unwrap_or(encoded);
        let unpadded = text.trim_end_matches('=');
        let padding = text.len() - unpadded.len();
        if padding > 0 && (padding > 2 || !text.len().is_multiple_of(4)) {
            return Err(InvalidStatusList);
        }
        let unpadded: String = unpadded
            .chars()
            .map(|c| match c {
                '+' => '-',
                '/' => '_',
                other => other,
            })
            .collect();
        let compressed = base64url::decode(&unpadded).map_err(|_| InvalidStatusList)?;
        let mut rest = compressed.as_slice();
        let mut octets = Vec::new();
        let mut member = GzDecoder::new(&mut rest).take(MAX_OCTETS + 1);
        member.read_to_end(&mut octets).map_err(|_| InvalidStatusList)?;
        let too_much = octets.len() as u64 > MAX_OCTETS;
        match rest.is_empty() && !too_much && !octets.is_empty() {
            true => Ok(Self { octets }),
            false => Err(InvalidStatusList),
        }
    }

    /// The entry at `index`, or `None` beyond the end.
    #[must_use]
    pub fn bit(&self, index: u64) -> Option<bool> {
        let octet = self.octets.get(usize::try_from(index / 8).ok()?)?;
        Some(octet & (0x80 >> (index % 8)) != 0)
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.octets.len() as u64 * 8
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }
}

impl core::fmt::Debug for StatusList {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "StatusList({} entries)", self.len())
    }
}

/// The text is no encoded status list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the encoded status list is malformed")]
#[non_exhaustive]
pub struct InvalidStatusList;

const MAX_OCTETS: u64 = 2 * 1024 * 1024;
