//! `merchant_resolve`, `merchant_allowlist_suggest`.

use crate::mcp::answer::success;
use crate::mcp::host::Host;
use oid4pay::approvals::time;
use oid4pay::person::Waiting;
use oid4pay::refusal::Refusal;
use oid4pay::shown;
use std::collections::BTreeMap;

use jose::Jwk;
use oid4ac_client::{Client, Error, Merchant, MerchantFilter, Misuse, Origin};
use rmcp::model::CallToolResult;
use serde::Deserialize;
use serde_json::{Value, json};
use spend_guard::{Filter, State};

use super::Bounded;
use crate::mcp::tools::args::{self, Uri};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::mcp::tools) struct ResolveArguments {
    query: Bounded<2048>,
}

/// `merchant_resolve`.
pub(in crate::mcp::tools) async fn resolve(
    Host { agent, .. }: &Host,
    arguments: ResolveArguments,
    _: Waiting,
) -> Result<CallToolResult, Refusal> {
    let query = arguments.query.0.as_str();
    let asked = query.contains("://").then(|| origin(query)).transpose()?;
    let matches = match (agent.directory_client(), &asked) {
        (Ok(client), Some(origin)) => Some(listed_at(&client, origin).await?),
        (Ok(client), None) => {
            let mut filter = MerchantFilter::default();
            filter.q = Some(query.to_owned());
            filter.page_size = Some(MAX_MATCHES);
            Some(client.merchants(&filter).await?.merchants)
        }
        // The merchant's own keys can be had without a directory.
        (Err(_), Some(_)) => None,
        (Err(refusal), None) => return Err(refusal),
    };
    let only = match matches.as_deref() {
        Some([merchant]) => Origin::of(&merchant.audience).ok(),
        _ => None,
    };
    let origin = asked.or(only);
    let keys = match &origin {
        None => None,
        Some(origin) => {
            let client = agent.directory_client().or_else(|_| agent.client(&agent.issuer()?))?;
            Some(client.merchant_keys(origin).await)
        }
    };
    let (keys, keys_error) = match keys {
        None => (None, None),
        Some(Ok(set)) => (Some(set.keys().iter().map(key).collect::<Vec<_>>()), None),
        Some(Err(error)) => (None, Some(error.code().to_owned())),
    };
    let found = matches.as_ref().map_or(0, Vec::len);
    let sentence = match (&origin, &keys, matches.is_some()) {
        (Some(origin), Some(keys), listed) => {
            let listed = match (listed, found) {
                (false, _) => "; no directory is configured",
                (true, 0) => "; the directory does not list it",
                (true, _) => "; the directory lists it",
            };
            format!("{origin} publishes {} keys{listed}.", keys.len())
        }
        (Some(origin), None, _) => format!("The keys of {origin} could not be had."),
        (None, ..) => format!("{found} merchants of the directory match. Names are as the directory gives them."),
    };
    let output = json!({
        "origin": origin,
        "in_directory": matches.as_ref().map(|matches| !matches.is_empty()),
        "matches": matches.unwrap_or_default(),
        "keys": keys.unwrap_or_default(),
        "keys_error": keys_error,
        "untrusted_fields": ["matches[].business_name"],
    });
    Ok(success(output, sentence, None))
}

/// The directory cannot be asked for an origin: its list is looked through, as far as that is reasonable.
async fn listed_at(client: &Client, origin: &Origin) -> Result<Vec<Merchant>, Error> {
    let mut filter = MerchantFilter::default();
    filter.page_size = Some(100);
    for page in 1..=MAX_PAGES {
        filter.page = Some(page);
        let list = client.merchants(&filter).await?;
        let is_last = list.merchants.is_empty() || u64::from(page).saturating_mul(100) >= list.total;
        let found: Vec<_> =
            list.merchants.into_iter().filter(|merchant| merchant.audience == origin.as_str()).collect();
        if is_last || !found.is_empty() {
            return Ok(found);
        }
    }
    Ok(Vec::new())
}

fn key(jwk: &Jwk) -> Value {
    json!({"kid": jwk.kid().and_then(shown::identifier), "alg": jwk.key().alg().name(), "thumbprint": jwk.key().thumbprint()})
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::mcp::tools) struct SuggestArguments {
    #[serde(default, deserialize_with = "args::present")]
    merchant_url: Option<Uri>,
}

/// `merchant_allowlist_suggest`: words for the person, who alone can put them into the policy.
pub(in crate::mcp::tools) async fn allowlist_suggest(
    Host { agent, .. }: &Host,
    arguments: SuggestArguments,
    _: Waiting,
) -> Result<CallToolResult, Refusal> {
    let asked = arguments.merchant_url.map(|url| origin(url.as_str())).transpose()?;
    let policy = agent.policy()?;
    let filter = Filter { state: Some(State::Settled), limit: Filter::MOST, ..Filter::default() };
    let page = agent.ledger().list(&filter)?;
    let mut paid: BTreeMap<String, (u64, Option<i64>)> = BTreeMap::new();
    for intent in &page.intents {
        let (count, last) = paid.entry(intent.merchant.clone()).or_default();
        *count += 1;
        *last = (*last).max(intent.settled_at);
    }
    if let Some(origin) = &asked {
        paid.entry(origin.as_str().to_owned()).or_default();
    }
    let merchants: Vec<_> = paid
        .iter()
        .map(|(origin, (count, last))| json!({"origin": origin, "payments": count, "last_paid_at": last.map(time)}))
        .collect();
    let list: Vec<_> = paid.keys().map(|origin| format!("{origin:?}")).collect();
    let rules = policy.rules();
    let sentence = match merchants.len() {
        0 => "No payment was confirmed yet, so there is no merchant to suggest.".to_owned(),
        count => format!(
            "{count} merchants for an allow list. Only the person can put it into the policy; nothing was changed."
        ),
    };
    let output = json!({
        "merchants": merchants,
        "suggestion_toml": format!("[merchants]\nallow = [{}]\n", list.join(", ")),
        "allowed_now": rules.allow_merchants,
        "denied_now": rules.deny_merchants,
        "policy_file": agent.settings().policy_file.as_ref().map(|file| file.display().to_string()),
    });
    Ok(success(output, sentence, None))
}

/// The origin that an argument names.
pub(super) fn origin(url: &str) -> Result<Origin, Misuse> {
    Origin::of(url).map_err(|why| Misuse::Url { what: "merchant_url", why })
}

const MAX_MATCHES: u32 = 20;
const MAX_PAGES: u32 = 5;
