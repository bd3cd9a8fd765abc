//! `spend_history`, `spend_receipt_get`, `spend_evidence_list`, `spend_receipt_attach`.

use crate::mcp::answer::success;
use crate::mcp::host::Host;
use jose::Clock as _;
use oid4ac_client::{CheckResult, EvidenceVerdict, SystemClock};
use oid4pay::approvals::time;
use oid4pay::person::Waiting;
use oid4pay::records;
use oid4pay::records::evidence::{EvidenceFile, NoEvidence, pinned_keys};
use oid4pay::refusal::{Code, Refusal, ledger_failed};
use oid4pay::resolve;
use rmcp::model::CallToolResult;
use serde::Deserialize;
use serde_json::{Value, json};
use spend_guard::{Artefact, Filter, IntentId, State};

use super::{Bounded, amount_of, currency_of};
use crate::mcp::tools::args::{self, CurrencyCode, Integer, Uri};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::mcp::tools) struct HistoryArguments {
    #[serde(default, deserialize_with = "args::present")]
    state: Option<State>,
    #[serde(default, deserialize_with = "args::present")]
    merchant_url: Option<Uri>,
    #[serde(default, deserialize_with = "args::present")]
    currency: Option<CurrencyCode>,
    #[serde(default, deserialize_with = "args::present")]
    since: Option<Time>,
    #[serde(default, deserialize_with = "args::present")]
    until: Option<Time>,
    #[serde(default, deserialize_with = "args::present")]
    limit: Option<Integer<1, 100>>,
    #[serde(default, deserialize_with = "args::present")]
    before: Option<IntentId>,
}

/// RFC 3339, as seconds since the epoch.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Time(i64);

impl TryFrom<String> for Time {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let time = text.parse::<jiff::Timestamp>().map_err(|_| "must be a time as in RFC 3339")?;
        Ok(Self(time.as_second()))
    }
}

/// `spend_history`.
pub(in crate::mcp::tools) async fn history(
    Host { agent, settings: _ }: &Host,
    arguments: HistoryArguments,
    _: Waiting,
) -> Result<CallToolResult, Refusal> {
    let merchant = arguments.merchant_url.map(|url| super::merchants::origin(url.as_str())).transpose()?;
    let filter = Filter {
        state: arguments.state,
        merchant: merchant.map(|origin| origin.as_str().to_owned()),
        currency: arguments.currency.as_ref().map(currency_of).transpose()?,
        since: arguments.since.map(|Time(at)| at),
        until: arguments.until.map(|Time(at)| at),
        before: arguments.before,
        limit: records::page_size(arguments.limit.map(|limit| limit.value())),
        ..Filter::default()
    };
    let page = agent.ledger().list(&filter)?;
    let payments: Vec<_> = page.intents.iter().map(records::row).collect();
    let settled = page.intents.iter().filter(|intent| intent.state == State::Settled).count();
    let more = if page.next.is_some() { " There are older ones." } else { "" };
    let unclear = match page.intents.iter().filter(|intent| resolve::is_open(intent)).count() {
        0 => String::new(),
        count => format!(", {count} may have been paid"),
    };
    let sentence = format!("{} purchases, newest first, {settled} of them paid{unclear}.{more}", payments.len());
    Ok(success(json!({"payments": payments, "next": page.next}), sentence, None))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::mcp::tools) struct About {
    intent_id: IntentId,
}

/// `spend_receipt_get`: verified again, now.
pub(in crate::mcp::tools) async fn receipt_get(
    Host { agent, settings: _ }: &Host,
    about: About,
    _: Waiting,
) -> Result<CallToolResult, Refusal> {
    let file = EvidenceFile::collect(agent.ledger(), &about.intent_id, None, SystemClock.now());
    let file = file.map_err(|error| match &error {
        NoEvidence::Ledger(error) => ledger_failed(error),
        NoEvidence::NeverPresented(id, state) => Refusal::new(Code::NoPaymentToProve, &error.to_string())
            .with("intent_id", id.as_str())
            .with("intent_state", state.as_str()),
        _ => Refusal::new(Code::LedgerFailed, &error.to_string()),
    })?;
    let intent = file.intent();
    let trusted = pinned_keys(&agent.settings().trusted_keys, intent);
    let findings = file.verify(&trusted.map_err(|reason| Refusal::new(Code::TrustedKeysUnusable, &reason))?);
    let checks = &findings.checks;
    let fails: Vec<_> =
        checks.iter().filter(|check| check.result == CheckResult::Fails).map(|c| c.name.as_str()).collect();
    let sentence = match (fails.as_slice(), findings.paid_minor) {
        ([], Some(paid)) if findings.verdict() == EvidenceVerdict::Proven => format!(
            "{} paid to {}: the merchant's receipt and everything it rests on hold, under the keys that the person trusts.",
            intent.currency.format(paid),
            intent.merchant
        ),
        ([], Some(_)) => format!(
            "{} at {} is recorded as {}: the merchant's receipt and everything it rests on hold, by the keys that were \
             recorded with them.",
            amount_of(intent),
            intent.merchant,
            intent.state
        ),
        ([], _) if resolve::is_open(intent) => format!(
            "{} at {} may have been paid: it is recorded as {}, and there is no receipt. Only the person, or their audit \
             chain, can resolve it.",
            amount_of(intent),
            intent.merchant,
            intent.state
        ),
        ([], _) => format!(
            "{} at {}: nothing is wrong, and there is no receipt that proves it paid.",
            amount_of(intent),
            intent.merchant
        ),
        (fails, _) => format!("{} at {}: {} does not hold.", amount_of(intent), intent.merchant, fails.join(", ")),
    };
    let mut output = records::row(intent);
    output["receipt_jws"] = json!(intent.settlement.as_ref().and_then(|settlement| settlement.receipt_jws.as_ref()));
    output["holds"] = json!(fails.is_empty());
    output["verdict"] = json!(findings.verdict());
    output["checks"] = json!(checks);
    Ok(success(output, sentence, None))
}

/// `spend_evidence_list`: which artefacts are kept, not what is in them.
pub(in crate::mcp::tools) async fn evidence_list(
    Host { agent, settings }: &Host,
    about: About,
    _: Waiting,
) -> Result<CallToolResult, Refusal> {
    let id = &about.intent_id;
    let intent = agent.ledger().intent(id)?;
    let entries = agent.ledger().journal(id)?;
    let artefacts: Vec<_> = entries
        .iter()
        .filter(|entry| entry.event == "artefact" && entry.detail["name"] != Artefact::Step.as_str())
        .map(|entry| json!({"name": entry.detail["name"], "recorded_at": time(entry.at), "sha256": entry.detail["hash"]}))
        .collect();
    let is_provable = artefacts.iter().any(|artefact| artefact["name"] == Artefact::Presentation.as_str());
    let command = is_provable.then(|| settings.command(&format!("export --evidence {id} --output evidence.json")));
    let sentence = format!("{} artefacts are kept of {} at {}.", artefacts.len(), amount_of(&intent), intent.merchant);
    let output = json!({
        "intent_id": id,
        "state": intent.state,
        "artefacts": artefacts,
        "export_command": command,
    });
    Ok(success(output, sentence, None))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::mcp::tools) struct AttachArguments {
    intent_id: IntentId,
    kind: AttachmentKind,
    text: Bounded<8192>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum AttachmentKind {
    Note,
    Invoice,
    OrderConfirmation,
    Delivery,
    Other,
}

/// `spend_receipt_attach`: kept beside what was signed, as the agent's word.
pub(in crate::mcp::tools) async fn attach(
    Host { agent, settings: _ }: &Host,
    arguments: AttachArguments,
    _: Waiting,
) -> Result<CallToolResult, Refusal> {
    let AttachArguments { intent_id: id, kind, text } = arguments;
    let kind = match kind {
        AttachmentKind::Note => "note",
        AttachmentKind::Invoice => "invoice",
        AttachmentKind::OrderConfirmation => "order_confirmation",
        AttachmentKind::Delivery => "delivery",
        AttachmentKind::Other => "other",
    };
    let content = Value::to_string(&json!({"kind": kind, "text": text.0}));
    let intent = agent.ledger().intent(&id)?;
    let before = agent.ledger().artefacts(&id, Artefact::Attachment)?;
    let is_known = before.contains(&content);
    if !is_known && before.len() >= MAX_ATTACHMENTS {
        return Err(Refusal::new(Code::TooManyAttachments, "an intent keeps at most 20 attachments")
            .with("intent_id", id.as_str()));
    }
    if !is_known {
        agent.ledger().attach(&id, Artefact::Attachment, &content)?;
    }
    let count = before.len() + usize::from(!is_known);
    let verb = if is_known { "was there already" } else { "is kept" };
    let sentence = format!(
        "The {kind} {verb} with {} at {}. It is your word, not the merchant's.",
        amount_of(&intent),
        intent.merchant
    );
    let output = json!({"intent_id": id, "attached": !is_known, "attachments": count, "state": intent.state});
    Ok(success(output, sentence, None))
}

const MAX_ATTACHMENTS: usize = 20;
