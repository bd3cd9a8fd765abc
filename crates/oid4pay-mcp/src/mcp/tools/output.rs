//! Tools' results.

use crate::config::Settings;
use crate::mcp::answer::success;
use crate::mcp::contract::{NEXT_AFTER_PRESENTED, NEXT_IN_FLIGHT};
use oid4ac_client::{CheckedOffers, Consent, Payment, Verdict, is_url_at};
use oid4pay::approvals;
use oid4pay::pay::{Answer, Place, Signatures};
use oid4pay::shown;
use rmcp::model::CallToolResult;
use serde_json::{Map, Value, json};
use spend_guard::Intent;

/// What a paying tool answers, before it is made a result.
pub(super) struct Told {
    pub(super) output: Value,
    sentence: String,
    signatures: Option<Signatures>,
}

impl Told {
    pub(super) fn into_result(self) -> CallToolResult {
        success(self.output, self.sentence, self.signatures.as_ref())
    }
}

/// What a paying tool answers; `settlement` gives the members of a settled payment that are the tool's own.
pub(super) fn told(answer: &Answer, settings: &Settings, settlement: impl Fn(&Payment) -> Value) -> Told {
    match answer {
        Answer::Settled { intent, payment, replayed } => settled(intent, payment, *replayed, settlement(payment)),
        Answer::ApprovalRequired { intent, place: Place::Here } => approval_here(settings, intent),
        Answer::ApprovalRequired { intent, place: Place::AuthorizationServer(consent) } => {
            approval_there(intent, consent)
        }
        // Without the presentation: it may not have been spent, and presenting it again is this tool's part.
        Answer::Unknown { intent, last } => {
            let output = json!({
                "status": "unknown",
                "mandate_id": intent.mandate.as_ref().map(|mandate| &mandate.mandate_id),
                "next_step": NEXT_IN_FLIGHT,
            });
            let sentence = format!(
                "It could not be told whether {} settled the payment of {} ({last}). {NEXT_IN_FLIGHT}",
                intent.merchant,
                amount(intent),
            );
            Told { output: with_intent(output, intent), sentence, signatures: None }
        }
        Answer::Unresolved { intent, replayed } => {
            let mandate_id = intent.mandate.as_ref().map(|mandate| mandate.mandate_id.as_str());
            let output = json!({
                "status": "unknown",
                "mandate_id": mandate_id,
                "replayed": replayed,
                "next_step": NEXT_AFTER_PRESENTED,
            });
            let sentence = format!(
                "The payment of {} to {} may have been made: its mandate was presented and ended without an answer. It counts \
                 as spent until a person or the audit chain says otherwise. {NEXT_AFTER_PRESENTED}",
                amount(intent),
                intent.merchant,
            );
            Told { output: with_intent(output, intent), sentence, signatures: None }
        }
    }
}

/// What the guard would say, in a sentence.
pub(super) fn guards_word(guard: &Value) -> String {
    let messages = guard["findings"].as_array().into_iter().flatten().filter_map(|finding| finding["message"].as_str());
    let messages = messages.collect::<Vec<_>>().join("; ");
    match guard["verdict"].as_str() {
        Some("deny") => format!("The policy on this machine would refuse it: {messages}."),
        Some("approve") => format!("The person would be asked on this machine first: {messages}."),
        _ => "The policy on this machine allows it.".to_owned(),
    }
}

/// What comes after a dry run: `go_on` where the guard would not refuse.
pub(super) fn next_after(guard: &Value, go_on: &str) -> String {
    match guard["verdict"].as_str() {
        Some("deny") => {
            "The call would be refused. Tell the person what guard.findings says: another purchase may fit, and \
                         only they can change the policy."
                .to_owned()
        }
        Some("approve") => format!("{go_on} The person will be asked to approve it."),
        _ => go_on.to_owned(),
    }
}

fn settled(intent: &Intent, payment: &Payment, replayed: bool, own: Value) -> Told {
    let settlement = &payment.settlement;
    let receipt_status = match settlement.receipt {
        Verdict::Verified { .. } => "verified",
        Verdict::Invalid { .. } => "invalid",
        _ => "absent",
    };
    let mut output = json!({
        "status": "settled",
        "mandate_id": settlement.mandate_id,
        "payment_intent_id": shown::identifier(&settlement.payment_intent_id).unwrap_or(UNNAMED),
        "payment_provider_ref": settlement.payment_provider_ref.as_deref().and_then(shown::identifier),
        "settled_at": shown::time(&settlement.settled_at).map_or_else(|| recorded_at(intent), str::to_owned),
        "receipt_url": settlement.receipt_url.as_deref().filter(|url| is_url_at(&intent.merchant, url)),
        "receipt_jws": settlement.receipt_jws,
        "receipt_status": receipt_status,
        "offer_verified": payment.offers.as_ref().is_some_and(CheckedOffers::are_verified),
        "replayed": replayed,
    });
    if let (Value::Object(output), Value::Object(own)) = (&mut output, own) {
        output.extend(own);
    }
    let mut sentence = format!("Paid {} to {}, receipt {receipt_status}.", amount(intent), intent.merchant);
    if replayed {
        sentence = format!(
            "This purchase was paid before: {} to {}. Nothing was charged now.",
            amount(intent),
            intent.merchant
        );
    }
    if let Verdict::Invalid { reason } = &settlement.receipt {
        sentence.push_str(&format!(" The payment stands, but its receipt does not hold: {reason}."));
    }
    Told { output: with_intent(output, intent), sentence, signatures: Some(Signatures::of_payment(payment)) }
}

/// When the ledger recorded the settlement.
fn recorded_at(intent: &Intent) -> String {
    approvals::time(intent.settled_at.unwrap_or(intent.created_at))
}

/// Nobody could be asked through the client, or they have not answered.
fn approval_here(settings: &Settings, intent: &Intent) -> Told {
    let command = settings.command(&format!("approve {}", intent.id));
    let next_step =
        format!("Ask the person to run `{command}` in a terminal; then call again with the same arguments.");
    let mut output = json!({"status": "approval_required", "approve_command": command, "next_step": next_step});
    let mut sentence =
        format!("A person has to approve the payment of {} to {} on this machine", amount(intent), intent.merchant);
    if let Some(cap) = approvals::cap_minor(intent) {
        let cap = intent.currency.format(cap);
        sentence.push_str(&format!(", for which the mandate lets up to {cap} be charged,"));
    }
    if let Some(terms) = approvals::terms(intent) {
        let deadline = approvals::time(terms.expires_at);
        sentence.push_str(&format!(" until {deadline}"));
        output["approval_expires_at"] = json!(deadline);
    }
    Told { output: with_intent(output, intent), sentence: format!("{sentence}. {next_step}"), signatures: None }
}

fn approval_there(intent: &Intent, consent: &Consent) -> Told {
    let deadline = approvals::time(consent.expires_at);
    let output = json!({
        "status": "approval_required",
        "consent_url": consent.url,
        "consent_mode": consent.mode,
        "consent_expires_at": deadline,
        "next_step": NEXT_CONSENT,
    });
    let sentence = format!(
        "A person has to approve the payment of {} to {} at {} until {deadline}. Then call again with the same arguments.",
        amount(intent),
        intent.merchant,
        consent.url,
    );
    Told { output: with_intent(output, intent), sentence, signatures: None }
}

/// Adds what every answer about an intent has.
fn with_intent(mut output: Value, intent: &Intent) -> Value {
    let members = json!({
        "intent_id": intent.id.as_str(),
        "idempotency_key": intent.idempotency_key,
        "amount_minor": intent.amount_minor,
        "currency": intent.currency.code(),
    });
    if let (Value::Object(output), Value::Object(members)) = (&mut output, members) {
        output.extend::<Map<String, Value>>(members);
    }
    output
}

/// `12.99 EUR`.
fn amount(intent: &Intent) -> String {
    intent.currency.format(intent.amount_minor)
}

/// A payment that an older version recorded under no identifier.
const UNNAMED: &str = "unnamed";
const NEXT_CONSENT: &str = "Show the person consent_url, then call again with the same arguments.";
