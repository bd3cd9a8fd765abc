//! `agent_dsar_initiate`, `agent_audit_chain_query`, `agent_payment_history`: the person's own data, by their token.

use crate::mcp::answer::{counted, success};
use crate::mcp::host::Host;
use crate::mcp::name::Name;
use oid4ac_client::{
    AuditPage, AuditQuery, ChainReport, Client, Disputes, DsarAnswer, DsarRight, HeadVerdict, Payments, PaymentsQuery,
    PrincipalToken, is_identifier,
};
use oid4pay::agents::Agent;
use oid4pay::person::Waiting;
use oid4pay::refusal::Refusal;
use rmcp::model::{CallToolResponse, CallToolResult};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::args::{self, Cursor, DateTime, Integer, Text};
use super::granted::granted;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DsarArguments {
    right: Right,
    principal_token: Text,
    #[serde(default)]
    delivery_preference: Delivery,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Right {
    Access,
    Portability,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Delivery {
    #[default]
    Email,
    SynchronousJson,
}

pub(super) async fn dsar(
    Host { agent, .. }: &Host,
    arguments: DsarArguments,
    waiting: Waiting,
) -> Result<CallToolResponse, Refusal> {
    let tool = Name::DsarInitiate;
    let (client, token) = as_principal(agent, arguments.principal_token)?;
    let right = match arguments.right {
        Right::Access => DsarRight::Access,
        Right::Portability => DsarRight::Portability,
    };
    let delivery = match arguments.delivery_preference {
        Delivery::Email => "email",
        Delivery::SynchronousJson => "synchronous_json",
    };
    granted(
        tool,
        &waiting,
        || client.dsar(right, delivery, &token),
        |answer| match answer {
            DsarAnswer::Queued(queued) => {
                let sentence = format!("The request {} is taken; the copy goes to the person.", queued.request_id);
                success(json!(queued), sentence, None)
            }
            DsarAnswer::Data(data) => success(portability(data), "This is the person's data.".to_owned(), None),
            _ => success(json!({}), "The request was taken.".to_owned(), None),
        },
    )
    .await
}

/// The contract's members where they have its shape; whatever else the server gave goes beside them. What
/// stands in them are the person's words, and strangers'.
fn portability(data: Map<String, Value>) -> Value {
    let (mut output, mut other) = (Map::new(), Map::new());
    for (name, value) in data {
        let fits = match name.as_str() {
            "schema_version" => value.as_str().is_some_and(is_identifier),
            "principal" => value.is_object(),
            "agents" | "mandates" | "payments" | "audit_chain" => {
                value.as_array().is_some_and(|list| list.iter().all(Value::is_object))
            }
            _ => false,
        };
        if fits { &mut output } else { &mut other }.insert(name, value);
    }
    if !other.is_empty() {
        output.insert("other_data".to_owned(), Value::Object(other));
    }
    let untrusted: Vec<_> = output.keys().filter(|name| *name != "schema_version").cloned().collect();
    output.insert("untrusted_fields".to_owned(), json!(untrusted));
    Value::Object(output)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AuditArguments {
    principal_token: Text,
    #[serde(default, deserialize_with = "args::present")]
    from_iso: Option<DateTime>,
    #[serde(default, deserialize_with = "args::present")]
    to_iso: Option<DateTime>,
    #[serde(default)]
    event_types: Vec<EventType>,
    #[serde(default, deserialize_with = "args::present")]
    limit: Option<Integer<1, 200>>,
    #[serde(default, deserialize_with = "args::present")]
    cursor: Option<Cursor>,
}

#[derive(Clone, Copy, Deserialize)]
enum EventType {
    #[serde(rename = "oid4ac.mandate.issued")]
    MandateIssued,
    #[serde(rename = "oid4ac.payment.succeeded")]
    PaymentSucceeded,
    #[serde(rename = "oid4ac.payment.failed")]
    PaymentFailed,
    #[serde(rename = "oid4ac.payment.disputed")]
    PaymentDisputed,
    #[serde(rename = "oid4ac.token.revoked")]
    TokenRevoked,
    #[serde(rename = "oid4ac.privacy.access")]
    PrivacyAccess,
    #[serde(rename = "oid4ac.privacy.erasure")]
    PrivacyErasure,
}

impl EventType {
    fn as_str(self) -> &'static str {
        match self {
            Self::MandateIssued => "oid4ac.mandate.issued",
            Self::PaymentSucceeded => "oid4ac.payment.succeeded",
            Self::PaymentFailed => "oid4ac.payment.failed",
            Self::PaymentDisputed => "oid4ac.payment.disputed",
            Self::TokenRevoked => "oid4ac.token.revoked",
            Self::PrivacyAccess => "oid4ac.privacy.access",
            Self::PrivacyErasure => "oid4ac.privacy.erasure",
        }
    }
}

pub(super) async fn audit_chain_query(
    Host { agent, .. }: &Host,
    arguments: AuditArguments,
    waiting: Waiting,
) -> Result<CallToolResponse, Refusal> {
    let tool = Name::AuditChainQuery;
    let (client, token) = as_principal(agent, arguments.principal_token)?;
    let mut query = AuditQuery::default();
    query.from = arguments.from_iso.map(DateTime::into_string);
    query.to = arguments.to_iso.map(DateTime::into_string);
    query.event_types = arguments.event_types.into_iter().map(|event| event.as_str().to_owned()).collect();
    query.limit = Some(limit(arguments.limit));
    query.cursor = arguments.cursor.map(Cursor::into_client);
    granted(tool, &waiting, || client.audit_entries(&query, &token), |page| audit_page(&page)).await
}

fn audit_page(page: &AuditPage) -> CallToolResult {
    let report = report(&page.chain);
    let mut output = json!({
        "entries": page.entries,
        "has_more": page.has_more,
        "chain": report,
        "untrusted_fields": ["entries[].actor", "entries[].payload"],
    });
    if let Some(next) = &page.next {
        output["next_cursor"] = json!(next);
    }
    let mut sentence = in_words(page.entries.len(), &page.chain);
    if let Some(at) = &page.skipped_at {
        output["skipped_at"] = json!(at);
        sentence.push_str(SKIPPED);
    }
    success(output, sentence, None)
}

/// What the hashes prove, as data.
fn report(chain: &ChainReport) -> Value {
    let gaps: Vec<_> = chain.gaps.iter().map(|(from, to)| json!({"from_seq": from, "to_seq": to})).collect();
    let mut report = json!({
        "intact": chain.is_intact(),
        "hashes_verified": chain.hashes_verified,
        "hashes_broken": chain.hashes_broken,
        "not_checkable": chain.not_checkable,
        "links_verified": chain.links_verified,
        "links_broken": chain.links_broken,
        "gaps": gaps,
        "head": "absent",
    });
    match &chain.head {
        HeadVerdict::Verified { head_seq, signed_at, compared } => {
            report["head"] = json!("verified");
            report["head_seq"] = json!(head_seq);
            report["head_compared"] = json!(compared);
            if let Ok(signed_at) = jiff::Timestamp::from_second(*signed_at) {
                report["head_signed_at"] = json!(signed_at.to_string());
            }
        }
        HeadVerdict::Invalid { reason } => {
            report["head"] = json!("invalid");
            report["head_problem"] = json!(reason);
        }
        _ => {}
    }
    report
}

/// What was proved, and what was not.
fn in_words(entries: usize, chain: &ChainReport) -> String {
    let mut sentence = format!(
        "{}; {} and {} verified.",
        counted(entries, "entry", "entries"),
        counted(chain.hashes_verified, "hash", "hashes"),
        counted(chain.links_verified, "link", "links")
    );
    if !chain.is_intact() {
        sentence.push_str(NOT_INTACT);
    }
    if !chain.not_checkable.is_empty() {
        sentence.push_str(&format!(" Entries that cannot be checked: {}.", chain.not_checkable.len()));
    }
    if !chain.gaps.is_empty() {
        sentence.push_str(&format!(" {}, in which nothing is proved.", counted(chain.gaps.len(), "gap", "gaps")));
    }
    sentence.push_str(match &chain.head {
        HeadVerdict::Verified { compared: true, .. } => " The signed head agrees with the entry that it names.",
        HeadVerdict::Verified { .. } => " The head is signed; the entry that it names is not among these.",
        HeadVerdict::Absent => " There is no signed head, so the newest entries may be missing.",
        _ => "",
    });
    sentence
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HistoryArguments {
    principal_token: Text,
    #[serde(default, deserialize_with = "args::present")]
    from_iso: Option<DateTime>,
    #[serde(default, deserialize_with = "args::present")]
    to_iso: Option<DateTime>,
    #[serde(default = "yes")]
    include_disputed: bool,
    #[serde(default, deserialize_with = "args::present")]
    limit: Option<Integer<1, 100>>,
    #[serde(default, deserialize_with = "args::present")]
    cursor: Option<Cursor>,
}

fn yes() -> bool {
    true
}

pub(super) async fn payment_history(
    Host { agent, .. }: &Host,
    arguments: HistoryArguments,
    waiting: Waiting,
) -> Result<CallToolResponse, Refusal> {
    let tool = Name::PaymentHistory;
    let (client, token) = as_principal(agent, arguments.principal_token)?;
    let query = PaymentsQuery {
        from: arguments.from_iso.map(DateTime::into_string),
        to: arguments.to_iso.map(DateTime::into_string),
        cursor: arguments.cursor.map(Cursor::into_client),
        disputes: if arguments.include_disputed { Disputes::Included } else { Disputes::LeftOut },
        limit: usize::try_from(limit(arguments.limit)).unwrap_or(usize::MAX),
    };
    granted(tool, &waiting, || client.payments(&query, &token), |payments| payments_page(&payments)).await
}

fn payments_page(payments: &Payments) -> CallToolResult {
    let more = if payments.has_more { ", and there are older ones" } else { "" };
    let mut sentence = format!("{}{more}.", counted(payments.total_count, "payment", "payments"));
    if !payments.chain.is_intact() {
        sentence.push_str(NOT_INTACT);
    }
    if !payments.changed_payments.is_empty() {
        let changed = counted(payments.changed_payments.len(), "payment", "payments");
        sentence.push_str(&format!(" {changed} here rest on an entry that was changed."));
    }
    if !payments.left_out.is_empty() {
        let left_out = counted(payments.left_out.len(), "entry", "entries");
        sentence
            .push_str(&format!(" Left out: {left_out} that a payment was made, without its id, amount or currency."));
    }
    if payments.disputes_incomplete {
        sentence.push_str(" There are more disputes than could be read: a payment may be disputed and read succeeded.");
    }
    if payments.skipped_at.is_some() {
        sentence.push_str(SKIPPED);
    }
    let mut output = json!(payments);
    output["chain"] = report(&payments.chain);
    success(output, sentence, None)
}

fn limit<const MAX: u64>(limit: Option<Integer<1, MAX>>) -> u32 {
    limit.and_then(|limit| u32::try_from(limit.value()).ok()).unwrap_or(50)
}

/// The client, and whose word it goes by: a token that was given, or for the handle `wallet-session` one that the client
/// gets itself.
fn as_principal(agent: &Agent, token: Text) -> Result<(Client, PrincipalToken), Refusal> {
    let client = agent.registered_client(&agent.issuer()?)?;
    if token.as_str() != WALLET_SESSION {
        return Ok((client, PrincipalToken::given(token.into_string())));
    }
    let redirect_uri = agent.redirect_uri(&client)?;
    Ok((client, PrincipalToken::WalletSession { redirect_uri }))
}

const WALLET_SESSION: &str = "wallet-session";
const NOT_INTACT: &str = " The chain does not hold: what the server says was changed, or its head is not good.";
const SKIPPED: &str = " More entries have one time than the server gives at once; some of them are not here.";
