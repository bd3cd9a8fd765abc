//! Finding and showing purchases, and the evidence of one. Nothing in here changes the ledger.

pub mod evidence;

use oid4ac_client::clean;
use serde_json::{Value, json};
use spend_guard::{Filter, Intent, IntentId, Ledger, LedgerError, ReceiptVerdict, ResolvedBy};

use crate::approvals::time;
use crate::resolve;
use crate::shown::{failure_code, identifier};

/// Why an id names no purchase.
#[derive(Debug, thiserror::Error)]
pub enum NotFound {
    /// No purchase has it.
    #[error("no intent, mandate or payment has the id {0:?}: `history` lists the intents")]
    Unknown(String),
    /// Several purchases have an id that begins so.
    #[error("{0:?} is the beginning of several ids: give more of it")]
    Ambiguous(String),
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// The purchase that `id` names: by the intent's id, the mandate's, or the merchant's for the payment, whole or by a beginning
/// of at least eight characters that no other id has. A whole id goes before a beginning, and the newest purchase before others
/// whose merchants gave them the same name.
///
/// # Errors
///
/// - [`NotFound`] if there is none, there are several, or the ledger cannot be read.
pub fn find(ledger: &Ledger, id: &str) -> Result<Intent, NotFound> {
    if let Ok(parsed) = IntentId::parse(id) {
        return match ledger.intent(&parsed) {
            Err(LedgerError::NoSuchIntent(_)) => Err(NotFound::Unknown(id.to_owned())),
            found => Ok(found?),
        };
    }
    let mut begins_so = None;
    let mut several = false;
    for intent in ledger.every(Filter::default()) {
        let intent = intent?;
        if is_named(&intent, id) {
            return Ok(intent);
        }
        if id.len() >= SHORTEST_PREFIX && names(&intent).any(|name| name.starts_with(id)) {
            several |= begins_so.replace(intent).is_some();
        }
    }
    match (begins_so, several) {
        (Some(intent), false) => Ok(intent),
        (Some(_), true) => Err(NotFound::Ambiguous(clean(id, 100))),
        (None, _) => Err(NotFound::Unknown(clean(id, 100))),
    }
}

/// Whether the mandate's or the merchant's name for the payment is `id`.
#[must_use]
pub fn is_named(intent: &Intent, id: &str) -> bool {
    names(intent).skip(1).any(|name| name == id)
}

/// The intent's id, the mandate's, and the merchant's for the payment.
fn names(intent: &Intent) -> impl Iterator<Item = &str> {
    let mandate = intent.mandate.as_ref().map(|mandate| mandate.mandate_id.as_str());
    let payment = intent.settlement.as_ref().map(|settlement| settlement.payment_intent_id.as_str());
    [Some(intent.id.as_str()), mandate, payment].into_iter().flatten()
}

/// An intent as data: what a person may want to see of it, and nothing that only the program needs. What a merchant calls a
/// payment is shown only if it is an identifier.
#[must_use]
pub fn row(intent: &Intent) -> Value {
    let settlement = intent.settlement.as_ref();
    let shown = |text: &String| clean(text, 200);
    json!({
        "intent_id": intent.id,
        "state": intent.state,
        "created_at": time(intent.created_at),
        "settled_at": intent.settled_at.map(time),
        "merchant": intent.merchant,
        "amount": decimal(intent),
        "amount_minor": intent.amount_minor,
        "currency": intent.currency,
        "line_items": intent.line_items.iter().map(|line| json!({"sku": clean(&line.sku, 200), "qty": line.qty})).collect::<Vec<_>>(),
        "purchase_ref": intent.purchase_ref.as_ref().map(shown),
        "agent": intent.agent,
        "idempotency_key": intent.idempotency_key,
        "may_have_been_paid": resolve::is_open(intent),
        "unresolved_minor": intent.unresolved_minor,
        "presented_at": intent.presented_at.map(time),
        "mandate_cap_minor": intent.mandate.as_ref().map(|mandate| mandate.cap_minor),
        "grant_revoked": resolve::grant_revoked(intent),
        "resolution": resolution(intent),
        "mandate_id": intent.mandate.as_ref().and_then(|mandate| identifier(&mandate.mandate_id)),
        "payment_intent_id": settlement.and_then(|settlement| identifier(&settlement.payment_intent_id)),
        "payment_provider_ref": settlement.and_then(|settlement| identifier(settlement.payment_provider_ref.as_deref()?)),
        "receipt_status": settlement.map(|settlement| receipt_status(&settlement.receipt)),
        "failure_code": intent.failure.as_ref().map(|failure| failure_code(failure).as_str()),
    })
}

/// Who said what became of it, as data. A person's name and reason are theirs: the dashboard and the evidence have them.
#[must_use]
pub fn resolution(intent: &Intent) -> Option<Value> {
    let resolution = intent.resolution.as_ref()?;
    let by = match &resolution.by {
        ResolvedBy::Person { .. } => "person",
        ResolvedBy::AuditChain { .. } => "audit_chain",
        _ => "other",
    };
    Some(json!({
        "paid": resolution.paid,
        "by": by,
        "at": time(resolution.at),
        "payment_intent_id": resolution.payment_intent_id.as_deref().and_then(identifier),
    }))
}

/// What checking the receipt gave, in one word.
#[must_use]
pub fn receipt_status(receipt: &ReceiptVerdict) -> &'static str {
    match receipt {
        ReceiptVerdict::Verified => "verified",
        ReceiptVerdict::Absent => "absent",
        ReceiptVerdict::Invalid { .. } => "invalid",
    }
}

/// What was bought, for a person.
#[must_use]
pub fn items(intent: &Intent) -> String {
    let lines = intent.line_items.iter().map(|line| format!("{} x {}", line.qty, clean(&line.sku, 200)));
    lines.collect::<Vec<_>>().join("; ")
}

/// The amount in major units, exactly, without its code: `12.99`.
fn decimal(intent: &Intent) -> String {
    let formatted = intent.currency.format(intent.amount_minor);
    formatted.split(' ').next().unwrap_or_default().to_owned()
}

/// How many intents a page has, where a caller may say.
#[must_use]
pub fn page_size(limit: Option<u64>) -> usize {
    limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or_else(|| Filter::default().limit)
}

/// Of an id that is given by its beginning.
const SHORTEST_PREFIX: usize = 8;
