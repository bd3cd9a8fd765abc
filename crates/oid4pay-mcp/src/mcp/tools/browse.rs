//! `agent_browse_merchant`.

use crate::mcp::answer::success;
use crate::mcp::host::Host;
use oid4pay::agents::Agent;
use oid4pay::pay::Signatures;
use oid4pay::person::Waiting;
use oid4pay::refusal::Refusal;
use rmcp::model::CallToolResult;
use serde::Deserialize;
use serde_json::{Value, json};

/// An id of other characters has a message of its own in the contract.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Arguments {
    merchant_id: String,
}

pub(super) async fn browse(
    Host { agent, .. }: &Host,
    arguments: Arguments,
    _: Waiting,
) -> Result<CallToolResult, Refusal> {
    let (output, signatures) = catalog(agent, &arguments.merchant_id).await?;
    let count = output["items"].as_array().map_or(0, Vec::len);
    let mut sentence = format!(
        "{count} articles of {}, from a catalog that the merchant signed and whose signature holds. Titles and categories \
         are the merchant's words.",
        arguments.merchant_id,
    );
    if let Some(omitted) = output.get("items_omitted") {
        sentence.push_str(&format!(" {omitted} more are on its first page."));
    }
    Ok(success(output, sentence, Some(&signatures)))
}

/// The verified first page of a merchant's catalog, and how it was verified.
pub(in crate::mcp) async fn catalog(agent: &Agent, merchant_id: &str) -> Result<(Value, Signatures), Refusal> {
    let client = agent.directory_client()?;
    let catalog = client.catalog_preview(merchant_id).await?;
    let (items, omitted) = catalog.items.split_at(catalog.items.len().min(MAX_ITEMS));
    let mut output = json!({
        "merchant_id": merchant_id,
        "audience": catalog.audience,
        "signature": catalog.signature,
        "signature_input": catalog.signature_input,
        "content_digest": catalog.content_digest,
        "items": items,
        "untrusted_fields": [
            "signature", "signature_input", "content_digest", "items[].sku", "items[].title", "items[].category",
        ],
    });
    if !omitted.is_empty() {
        output["items_omitted"] = json!(omitted.len());
    }
    Ok((output, Signatures::of_catalog(catalog.verdict)))
}

/// A page that is longer is cut: nobody reads it, and it would fill a model's memory.
const MAX_ITEMS: usize = 200;
