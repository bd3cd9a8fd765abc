//! Canonical JSON.

use serde::Deserialize;

use super::judged::Judged;
use super::rule::Rule as _;

#[derive(Deserialize)]
pub(super) struct Case {
    input: String,
}

pub(super) fn judge(case: &Case) -> Judged {
    let value = jose::json::parse(case.input.as_bytes()).map_err(|error| error.rule())?;
    // A parsed JSON text has neither infinities nor names that are not strings, which are all that could fail here.
    let canonical = serde_json_canonicalizer::to_string(&value).map_err(|_| "NotCanonicalisable".to_owned())?;
    Ok(canonical.into())
}
