//! Reading the members of a verified token.

use jose::UnixSeconds;
use serde_json::{Map, Value};

/// The claim as text.
pub(crate) fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    claims.get(name)?.as_str()
}

/// The claim as a NumericDate (RFC 7519 §2); a fraction is dropped.
pub(crate) fn seconds(claims: &Map<String, Value>, name: &str) -> Option<UnixSeconds> {
    let value = claims.get(name)?;
    value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds.floor() as UnixSeconds))
}

/// `cnf.jkt` (RFC 9449 §6.1).
pub(crate) fn confirmation(claims: &Map<String, Value>) -> Option<&str> {
    claims.get("cnf")?.get("jkt")?.as_str()
}
