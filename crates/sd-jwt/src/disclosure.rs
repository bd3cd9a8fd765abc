//! One disclosure (RFC 9901 §4.2): base64url of `[salt, name, value]` for an object's member, `[salt, value]` for an
//! array's element. Its digest is over the base64url text, so that text is kept as received.

use jose::{Rng, base64url, json, random_token, sha256};
use serde_json::Value;

use crate::VerifyError;

/// What a disclosure puts back, salt dropped.
pub(crate) enum Disclosed {
    /// A member of an object.
    Member { name: String, value: Value },
    /// An element of an array.
    Element { value: Value },
}

/// Reads the disclosure that stands at `index` in its SD-JWT.
pub(crate) fn decode(index: usize, text: &str) -> Result<Disclosed, VerifyError> {
    if text.is_empty() {
        return Err(VerifyError::EmptyDisclosure { index });
    }
    let octets = base64url::decode(text).map_err(|_| VerifyError::DisclosureBase64Url { index })?;
    let tuple = json::parse(&octets).map_err(|source| VerifyError::DisclosureJson { index, source })?;
    let Value::Array(items) = tuple else { return Err(VerifyError::DisclosureNotTuple { index }) };
    let mut items = items.into_iter();
    let (salt, disclosed) = match (items.next(), items.next(), items.next(), items.next()) {
        (Some(salt), Some(value), None, None) => (salt, Disclosed::Element { value }),
        (Some(salt), Some(name), Some(value), None) => {
            let Value::String(name) = name else { return Err(VerifyError::DisclosureName { index }) };
            if is_reserved(&name) {
                return Err(VerifyError::ReservedClaimName { index });
            }
            (salt, Disclosed::Member { name, value })
        }
        _ => return Err(VerifyError::DisclosureNotTuple { index }),
    };
    if !salt.is_string() {
        return Err(VerifyError::DisclosureSalt { index });
    }
    Ok(disclosed)
}

/// Writes a disclosure with a fresh salt of 128 bits (RFC 9901 §9.3).
pub(crate) fn encode(disclosed: Disclosed, rng: &dyn Rng) -> String {
    let salt = Value::String(random_token::<16>(rng));
    let items = match disclosed {
        Disclosed::Member { name, value } => vec![salt, Value::String(name), value],
        Disclosed::Element { value } => vec![salt, value],
    };
    base64url::encode(Value::Array(items).to_string().as_bytes())
}

/// The digest of a disclosure (RFC 9901 §4.2.3) or of a presentation (§4.3.1): base64url of SHA-256 over the text.
pub(crate) fn digest(text: &str) -> String {
    base64url::encode(&sha256(text.as_bytes()))
}

/// Names that no claim may have (RFC 9901 §4.1, §4.1.1).
pub(crate) fn is_reserved(name: &str) -> bool {
    [SD, SD_ALG, ELLIPSIS].contains(&name)
}

pub(crate) const SD: &str = "_sd";
pub(crate) const SD_ALG: &str = "_sd_alg";
pub(crate) const ELLIPSIS: &str = "...";
pub(crate) const SHA_256: &str = "sha-256";
