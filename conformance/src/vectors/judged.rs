//! What a case is read into and judged as.

use serde_json::Value;
use serde_json::value::RawValue;

/// The value of an accepted case, or the name of the rule that another breaks.
pub(super) type Judged = Result<Value, String>;

/// A key as its text in the line: in a parsed one, duplicate members could no longer be seen.
pub(super) type JwkText = RawValue;
