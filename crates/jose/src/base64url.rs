//! base64url without padding (RFC 4648 §5, RFC 7515 §2), read strictly.
//!
//! Strict means one text per octet string: no padding, no white space, no bits set beyond the last octet. A decoder that
//! forgives these lets two different tokens carry one signature.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Encodes `octets`.
#[must_use]
pub fn encode(octets: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(octets)
}

/// Appends the encoding of `octets` to `out`.
pub fn encode_into(octets: &[u8], out: &mut String) {
    URL_SAFE_NO_PAD.encode_string(octets, out);
}

/// Decodes `text`.
///
/// # Errors
///
/// - [`InvalidBase64Url`] for padding, a character outside the alphabet, an impossible length or leftover bits.
///
/// # Examples
///
/// ```
/// use jose::base64url;
/// assert_eq!(base64url::decode("_-8").unwrap(), [0xff, 0xef]);
/// assert!(base64url::decode("_-8=").is_err());
/// assert!(base64url::decode("_-9").is_err(), "the last two bits are not zero");
/// ```
pub fn decode(text: &str) -> Result<Vec<u8>, InvalidBase64Url> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidBase64Url)
}

/// Decodes `text`, which must hold exactly `N` octets.
///
/// # Errors
///
/// - [`InvalidBase64Url`] as for [`decode`], or when the length differs.
pub fn decode_array<const N: usize>(text: &str) -> Result<[u8; N], InvalidBase64Url> {
    let mut out = [0; N];
    decode_exact(text, &mut out).map(|()| out)
}

/// Decodes `text` into `out`, all of which it must fill. Secrets are decoded in place, so that no copy is left behind.
pub(crate) fn decode_exact(text: &str, out: &mut [u8]) -> Result<(), InvalidBase64Url> {
    match URL_SAFE_NO_PAD.decode_slice(text, out) {
        Ok(written) if written == out.len() => Ok(()),
        _ => Err(InvalidBase64Url),
    }
}

/// The text is not strict, unpadded base64url of the length that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not unpadded base64url")]
#[non_exhaustive]
pub struct InvalidBase64Url;
