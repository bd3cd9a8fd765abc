//! Entries of a status list.

use oid4ac_client::StatusList;
use serde::Deserialize;
use serde_json::Number;

use super::judged::Judged;
use super::rule::Rule as _;

#[derive(Deserialize)]
pub(super) struct Case {
    encoded: String,
    index: Number,
}

pub(super) fn judge(case: &Case) -> Judged {
    let list = StatusList::decode(&case.encoded).map_err(|error| error.rule())?;
    let bit = case.index.as_u64().and_then(|index| list.bit(index));
    bit.map(|set| u8::from(set).into()).ok_or_else(|| "IndexOutOfRange".to_owned())
}
