//! Tools' results.

use oid4ac_client::{CheckedOffers, Consent, Payment, Verdict};
use rmcp::model::{CallToolResult, ContentBlock, MetaObject};
use serde_json::{Map, Value, json};
use spend_guard::Intent;

use crate::approval;
use crate::purchase::{Answer, NEXT_IN_FLIGHT, Place, Signatures};

/// Structured content, the same as text, and one sentence for a person.
pub(crate) fn success(structured: Value, sentence: String, signatures: Option<&Signatures>) -> CallToolResult {
    let mut result = CallToolResult::structured(structured).with_meta(signatures.map(signatures_meta));
    result.content.push(ContentBlock::text(sentence));
    result
}

/// `1 agent`, `2 agents`.
pub(super) fn counted(count: impl TryInto<u64>, one: &str, more: &str) -> String {
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
pub(super) fn told(answer: &Answer, settlement: impl Fn(&Payment) -> Value) -> Told {
    match answer {
        Answer::Settled { intent, payment, replayed } => settled(intent, payment, *replayed, settlement(payment)),
        Answer::ApprovalRequired { intent, place: Place::Here { command } } => approval_here(intent, command),
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
        "payment_intent_id": settlement.payment_intent_id,
        "payment_provider_ref": settlement.payment_provider_ref,
        "settled_at": settlement.settled_at,
        "receipt_url": settlement.receipt_url,
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

/// Nobody could be asked through the client, or they have not answered.
fn approval_here(intent: &Intent, command: &str) -> Told {
    let next_step =
        format!("Ask the person to run `{command}` in a terminal; then call again with the same arguments.");
    let mut output = json!({"status": "approval_required", "approve_command": command, "next_step": next_step});
    let mut sentence =
        format!("A person has to approve the payment of {} to {} on this machine", amount(intent), intent.merchant);
    if let Some(terms) = approval::terms(intent) {
        let deadline = approval::time(terms.expires_at);
        sentence.push_str(&format!(" until {deadline}"));
        output["approval_expires_at"] = json!(deadline);
    }
    Told { output: with_intent(output, intent), sentence: format!("{sentence}. {next_step}"), signatures: None }
}

fn approval_there(intent: &Intent, consent: &Consent) -> Told {
    let deadline = approval::time(consent.expires_at);
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

const NEXT_CONSENT: &str = "Show the person consent_url, then call again with the same arguments.";
