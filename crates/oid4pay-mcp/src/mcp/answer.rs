//! What every tool's result is made of.

use oid4pay::pay::Signatures;
use rmcp::model::{CallToolResult, ContentBlock, MetaObject};
use serde_json::{Value, json};

/// Structured content, the same as text, and one sentence for a person.
pub(crate) fn success(structured: Value, sentence: String, signatures: Option<&Signatures>) -> CallToolResult {
    let mut result = CallToolResult::structured(structured).with_meta(signatures.map(signatures_meta));
    result.content.push(ContentBlock::text(sentence));
    result
}

/// `1 agent`, `2 agents`.
pub(crate) fn counted(count: impl TryInto<u64>, one: &str, more: &str) -> String {
    match count.try_into().unwrap_or(u64::MAX) {
        1 => format!("1 {one}"),
        count => format!("{count} {more}"),
    }
}

/// What was verified by which key, for a client that wants to show it.
pub(crate) fn signatures_meta(signatures: &Signatures) -> MetaObject {
    let mut meta = MetaObject::new();
    meta.0.insert("oid4pay/signatures".to_owned(), json!(signatures));
    meta
}
