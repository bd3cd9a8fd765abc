//! `spend_intent_create`, `_get`, `_list`, `_cancel`, `_request_approval`, `_status`.

use crate::config::Settings;
use crate::mcp::advice::Advice;
use crate::mcp::answer::success;
use crate::mcp::host::Host;
use oid4ac_client::clean;
use oid4pay::approvals;
use oid4pay::approvals::time;
use oid4pay::pay::{rejected, with_agent};
use oid4pay::person::Waiting;
use oid4pay::records;
use oid4pay::refusal::{Refusal, ledger_failed, stopped};
use oid4pay::resolve;
use rmcp::model::CallToolResult;
use serde::Deserialize;
use serde_json::{Value, json};
use spend_guard::{Approval, DeclarationTerms, Declared, Filter, Intent, IntentId, LedgerError, State};

use super::{Amount, Bounded, amount_of, approval_status, order};
use crate::mcp::tools::args::{self, Integer, LineItem, MAX_MINOR, PurchaseRef, Uri};
use crate::mcp::tools::payment;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::mcp::tools) struct CreateArguments {
    merchant_url: Uri,
    amount: Amount,
    #[serde(deserialize_with = "args::at_least_one")]
    line_items: Vec<LineItem>,
    purchase_ref: PurchaseRef,
    summary: Bounded<MAX_SUMMARY>,
    #[serde(default, deserialize_with = "args::present")]
    tolerance_minor: Option<Integer<0, MAX_MINOR>>,
    #[serde(default, deserialize_with = "args::present")]
    tolerance_percent: Option<Integer<0, 100>>,
    #[serde(default, deserialize_with = "args::present")]
    ttl_minutes: Option<Integer<1, MAX_TTL_MINUTES>>,
}

/// `spend_intent_create`.
pub(in crate::mcp::tools) async fn create(
    Host { agent, settings }: &Host,
    arguments: CreateArguments,
    _: Waiting,
) -> Result<CallToolResult, Refusal> {
    let issuer = agent.issuer()?;
    let client = agent.client(&issuer)?;
    let order = order(&arguments.merchant_url, &arguments.amount, arguments.line_items)?;
    let purchase = payment::as_purchase(&issuer, &order, Some(arguments.purchase_ref.as_str().to_owned()))?;
    let purchase = with_agent(purchase, &client);
    let minutes = arguments.ttl_minutes.map_or(DEFAULT_TTL_MINUTES, |minutes| minutes.value());
    let terms = DeclarationTerms {
        purchase,
        summary: clean(&arguments.summary.0, MAX_SUMMARY),
        tolerance_minor: arguments.tolerance_minor.map(|minor| minor.value()),
        tolerance_percent: arguments.tolerance_percent.and_then(|percent| u8::try_from(percent.value()).ok()),
        ttl_seconds: u32::try_from(minutes.saturating_mul(60)).unwrap_or(u32::MAX),
    };
    let policy = agent.policy()?;
    match agent.ledger().declare(&terms, Some(&policy))? {
        Declared::New(intent, _) => Ok(told(settings, &intent, "declared", "Declared")),
        Declared::Known(intent) => Ok(told(settings, &intent, "known", "Known already, and not declared again")),
        Declared::Rejected(intent) => Err(rejected(&intent)),
        Declared::Denied(evaluation) => Err(stopped(&evaluation)),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::mcp::tools) struct About {
    intent_id: IntentId,
}

/// `spend_intent_get`.
pub(in crate::mcp::tools) async fn get(
    Host { agent, settings }: &Host,
    about: About,
    _: Waiting,
) -> Result<CallToolResult, Refusal> {
    let intent = agent.ledger().intent(&about.intent_id)?;
    Ok(told(settings, &intent, "found", "Found"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::mcp::tools) struct ListArguments {
    #[serde(default, deserialize_with = "args::present")]
    state: Option<State>,
    #[serde(default, deserialize_with = "args::present")]
    open: Option<bool>,
    #[serde(default, deserialize_with = "args::present")]
    limit: Option<Integer<1, 100>>,
    #[serde(default, deserialize_with = "args::present")]
    before: Option<IntentId>,
}

/// `spend_intent_list`.
pub(in crate::mcp::tools) async fn list(
    Host { agent, settings }: &Host,
    arguments: ListArguments,
    _: Waiting,
) -> Result<CallToolResult, Refusal> {
    let filter = Filter {
        state: arguments.state,
        open: arguments.open,
        before: arguments.before,
        limit: records::page_size(arguments.limit.map(|limit| limit.value())),
        ..Filter::default()
    };
    let page = agent.ledger().list(&filter)?;
    let intents: Vec<_> = page.intents.iter().map(|intent| output(settings, intent)).collect();
    let more = if page.next.is_some() { ", and there are older ones" } else { "" };
    let sentence = format!("{} intents, newest first{more}.", intents.len());
    let output = json!({
        "intents": intents, "next": page.next,
        "untrusted_fields": ["intents[].summary", "intents[].next_call.arguments"],
    });
    Ok(success(output, sentence, None))
}

/// `spend_intent_cancel`.
pub(in crate::mcp::tools) async fn cancel(
    Host { agent, settings }: &Host,
    about: About,
    _: Waiting,
) -> Result<CallToolResult, Refusal> {
    let ledger = agent.ledger();
    let intent = ledger.cancel(&about.intent_id).or_else(|error| match error {
        // Called off twice is the same as once.
        LedgerError::IllegalStep { from: State::Canceled, .. } => ledger.intent(&about.intent_id),
        error => Err(error),
    });
    let intent = intent.map_err(|error| match ledger.intent(&about.intent_id) {
        Ok(intent) if intent.state.is_in_flight() => {
            ledger_failed(&error).with("next_step", crate::mcp::advice::in_flight(&intent))
        }
        _ => ledger_failed(&error),
    })?;
    let intent = match agent.client(&intent.issuer) {
        Ok(client) => resolve::end_grant(ledger, &client, intent).await,
        Err(_) => intent,
    };
    let words = match resolve::grant_revoked(&intent) {
        None => "Canceled, and nothing was paid",
        Some(true) => "Canceled, and nothing was paid; its mandate was revoked",
        Some(false) => {
            "Canceled, and nothing was paid; that its mandate was revoked is not confirmed, but it was presented to no merchant"
        }
    };
    Ok(told(settings, &intent, "canceled", words))
}

/// `spend_intent_request_approval`.
pub(in crate::mcp::tools) async fn request_approval(
    Host { agent, settings }: &Host,
    about: About,
    _: Waiting,
) -> Result<CallToolResult, Refusal> {
    let (ledger, policy) = (agent.ledger(), agent.policy()?);
    let intent = ledger.intent(&about.intent_id)?;
    if matches!(intent.approval, Approval::NotNeeded | Approval::Given { .. }) && !intent.state.is_final() {
        let words = match approvals::at_wallet(&intent) {
            Some(_) => "Nobody has to be asked here: the person decides in their wallet",
            None => "Nobody has to be asked",
        };
        return Ok(told(settings, &intent, "not_asked", words));
    }
    let intent = ledger.request_approval(&about.intent_id, shown(&intent), Some(&policy))?;
    Ok(told(settings, &intent, "asked", "The person is asked"))
}

/// `spend_intent_status`.
pub(in crate::mcp::tools) async fn status(
    Host { agent, settings }: &Host,
    about: About,
    _: Waiting,
) -> Result<CallToolResult, Refusal> {
    let ledger = agent.ledger();
    ledger.expire()?;
    let intent = ledger.intent(&about.intent_id)?;
    let answer = match (&intent.approval, intent.state) {
        (_, State::Expired) => "Nobody decided in time",
        (approval, _) if approvals::at_wallet(&intent).is_some() && !matches!(approval, Approval::Refused { .. }) => {
            "The person has not decided yet, in their wallet"
        }
        (Approval::Refused { .. }, _) => "The person said no",
        (Approval::Given { .. }, _) => "The person said yes",
        (Approval::Requested { .. }, _) => "The person has not decided yet",
        (Approval::Needed { .. }, _) => "A person has to agree, and was not asked yet",
        _ => "Nobody has to be asked",
    };
    Ok(told(settings, &intent, "found", answer))
}

/// What the person sees beside merchant and amount. What the agent says of the purchase is no part of it.
fn shown(intent: &Intent) -> Vec<(String, String)> {
    let items = intent
        .line_items
        .iter()
        .map(|line| ("Item".to_owned(), format!("{} × {}", line.qty, approvals::plain(&line.sku))));
    let mut shown: Vec<_> = items.collect();
    let basis = match intent.offer_verified {
        Some(true) => "item and price are in an offer that the merchant signed",
        _ => {
            "NOT signed by the merchant yet: item and amount are what the agent announced. A payment within it is held to the merchant's signed price"
        }
    };
    shown.push(("Basis".to_owned(), basis.to_owned()));
    shown
}

fn told(settings: &Settings, intent: &Intent, status: &str, words: &str) -> CallToolResult {
    let mut output = output(settings, intent);
    output["status"] = json!(status);
    output["untrusted_fields"] = json!(["summary", "next_call.arguments"]);
    let next = output["next_step"].as_str().unwrap_or_default();
    let sentence = format!("{words}: {} at {} is {}. {next}", amount_of(intent), intent.merchant, intent.state);
    success(output, sentence, None)
}

fn output(settings: &Settings, intent: &Intent) -> Value {
    let mut output = records::row(intent);
    let terms = approvals::terms(intent);
    let asked = intent.state == State::AwaitingApproval;
    let Advice { next_step, next_call, consent_url } = Advice::about(intent, settings);
    let more = json!({
        "expires_at": time(intent.expires_at),
        "approval": approval_status(intent),
        "approval_expires_at": terms.map(|terms| time(terms.expires_at)),
        "approve_command": asked.then(|| settings.command(&format!("approve {}", intent.id))),
        "summary": intent.declaration.as_ref().map(|declaration| clean(&declaration.summary, MAX_SUMMARY)),
        "tolerance_minor": intent.declaration.as_ref().map(|declaration| declaration.tolerance_minor),
        "consent_url": consent_url,
        "next_step": next_step,
        "next_call": next_call,
    });
    if let (Value::Object(output), Value::Object(more)) = (&mut output, more) {
        output.extend(more);
    }
    output
}

const MAX_SUMMARY: usize = 500;
const DEFAULT_TTL_MINUTES: u64 = 60;
const MAX_TTL_MINUTES: u64 = 7 * 24 * 60;
