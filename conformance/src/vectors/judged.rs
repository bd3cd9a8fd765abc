//! What a case is read into and judged as.

use serde_json::Value;
use serde_json::value::RawValue;

/// The value of an accepted case, or the name of the rule that another breaks.
pub(super) type Judged = Result<Value, String>;

/// A key as its text stands in the line: only so are duplicate members still to be seen.
pub(super) type JwkText = RawValue;
