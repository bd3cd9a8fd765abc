//! `discovery_list_merchants`.

use crate::mcp::answer::success;
use crate::mcp::host::Host;
use oid4ac_client::MerchantFilter;
use oid4pay::person::Waiting;
use oid4pay::refusal::Refusal;
use rmcp::model::CallToolResult;
use serde::Deserialize;
use serde_json::json;

use super::args::{self, Integer};

/// A country or currency of the wrong form is a filter that cannot be right, for which the contract has a message.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Arguments {
    #[serde(default, deserialize_with = "args::present")]
    country: Option<String>,
    #[serde(default, deserialize_with = "args::present")]
    currency: Option<String>,
    #[serde(default, deserialize_with = "args::present")]
    rail: Option<String>,
    #[serde(default, deserialize_with = "args::present")]
    q: Option<String>,
    #[serde(default, deserialize_with = "args::present")]
    page: Option<Integer<1, MAX_PAGE>>,
    #[serde(default, deserialize_with = "args::present")]
    page_size: Option<Integer<1, 100>>,
}

pub(super) async fn list(
    Host { agent, .. }: &Host,
    arguments: Arguments,
    _: Waiting,
) -> Result<CallToolResult, Refusal> {
    let client = agent.directory_client()?;
    let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    let mut filter = MerchantFilter::default();
    filter.country = arguments.country;
    filter.currency = arguments.currency;
    filter.rail = arguments.rail;
    filter.q = arguments.q;
    filter.page = arguments.page.map(|page| number(page.value()));
    filter.page_size = arguments.page_size.map(|size| number(size.value()));
    let list = client.merchants(&filter).await?;
    let sentence = format!(
        "{} of the {} merchants that match, page {} at {} a page. Names are as the directory gives them.",
        list.merchants.len(),
        list.total,
        list.page,
        list.page_size
    );
    let output = json!({
        "merchants": list.merchants,
        "page": list.page,
        "page_size": list.page_size,
        "total": list.total,
        "untrusted_fields": ["merchants[].business_name"],
    });
    Ok(success(output, sentence, None))
}

const MAX_PAGE: u64 = 1_000_000;
