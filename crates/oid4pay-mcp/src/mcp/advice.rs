//! What to do next about a purchase: said here, for every tool.
//!
//! A purchase is gone on with by the call that began it. Another tool, or the same one with other arguments, would make a
//! second purchase of it, so both are named as they were.

use serde_json::{Value, json};
use spend_guard::{Approval, Intent, PurchaseKind, State};

use oid4pay::approvals;
use oid4pay::resolve;

use super::name::{Name, Offered};
use crate::config::Settings;

/// What to do next about a purchase.
pub(crate) struct Advice {
    /// In our words alone.
    pub(crate) next_step: String,
    /// The call that goes on with it, where one does: `tool`, and `arguments` as the agent gave them, which strangers wrote
    /// parts of.
    pub(crate) next_call: Option<Value>,
    /// Where the person decides, while they are asked in their wallet.
    pub(crate) consent_url: Option<String>,
}

impl Advice {
    /// For a purchase as it stands.
    pub(crate) fn about(intent: &Intent, settings: &Settings) -> Self {
        let consent = approvals::at_wallet(intent);
        let goes_on =
            matches!(intent.state, State::Created | State::AwaitingApproval | State::Approved | State::Authorized)
                || intent.state.is_in_flight();
        let call = Repeat::of(intent);
        let words = call.in_words(settings);
        let next_step = match (intent.state, &intent.approval) {
            (State::Created, Approval::Needed { .. }) => "Call spend_intent_request_approval.".to_owned(),
            (State::Created | State::Approved | State::Authorized, _) if consent.is_some() => {
                format!("Show the person consent_url: they decide in their wallet. Then {words}: it is this purchase.")
            }
            (State::Created | State::Approved | State::Authorized, _) => {
                format!("{}: it is this purchase.", capitalized(&words))
            }
            (State::AwaitingApproval, _) => {
                "Show the person approve_command, then ask for spend_intent_status.".to_owned()
            }
            (state, _) if state.is_in_flight() => format!(
                "{}, and change none of them: this purchase is presented under the same idempotency_key, which the \
                 merchant settles at most once.",
                capitalized(&words)
            ),
            (State::Settled, _) if intent.resolution.is_some() => {
                "It was recorded as paid, by the person or their audit chain, and there is no receipt. The same call only \
                 repeats that; a deliberate new attempt needs a new purchase_ref."
                    .to_owned()
            }
            (State::Settled, _) => "It is paid: spend_receipt_get has what proves it.".to_owned(),
            (State::Rejected, _) => "Do not ask again unless the person wants it.".to_owned(),
            (State::Unresolved | State::Failed, _) if resolve::is_open(intent) => {
                let how = match intent.state {
                    State::Failed => "the merchant refused it after its mandate had been presented, which is only its word",
                    _ => "its mandate was presented, and ended without an answer",
                };
                let command = settings.resolve_command(intent);
                format!(
                    "It may have been paid: {how}. It counts as spent, and the same call only repeats this. Only the person, \
                     or their audit chain, can resolve it: ask them to run `{command}`. A deliberate new attempt needs a new \
                     purchase_ref."
                )
            }
            (State::Failed, _) if intent.was_presented() => {
                "It was found not to have been paid. The same call only repeats that; a deliberate new attempt needs a new \
                 purchase_ref."
                    .to_owned()
            }
            (State::Failed | State::Expired | State::Canceled, _) => {
                "It is over and nothing was paid; the same purchase can be made again.".to_owned()
            }
            _ => "Ask the person what became of it before you buy it again.".to_owned(),
        };
        Self {
            next_step,
            next_call: goes_on.then(|| json!({"tool": call.tool.as_str(), "arguments": call.arguments})),
            consent_url: consent.map(|consent| consent.url.clone()),
        }
    }
}

/// The call that began a purchase, or makes it where it was only declared.
struct Repeat {
    tool: Name,
    arguments: Option<Value>,
    /// What `arguments` lacks.
    lacks: Option<&'static str>,
}

impl Repeat {
    fn of(intent: &Intent) -> Self {
        let kept = intent.called_with.clone();
        let (tool, arguments, lacks) = match (intent.kind, kept) {
            (PurchaseKind::Verify, kept) => (Name::VerifyMandate, kept, Some("the same presentation")),
            (PurchaseKind::Cheapest, kept) => (Name::BuyCheapest, kept, None),
            (_, Some(kept)) => (Name::PaymentInitiate, Some(kept), None),
            (_, None) => (Name::PaymentInitiate, Some(payment(intent)), Some("merchant_verify_url and redirect_uri")),
        };
        Self { tool, arguments, lacks }
    }

    /// `call agent_payment_initiate with next_call.arguments`.
    fn in_words(&self, settings: &Settings) -> String {
        let tool = self.tool.as_str();
        let with = match (&self.arguments, self.lacks) {
            (Some(_), None) => "next_call.arguments".to_owned(),
            (Some(_), Some(lacks)) => format!("next_call.arguments and {lacks}"),
            (None, _) => "the arguments that it was called with first".to_owned(),
        };
        match Offered::of(settings).check(self.tool) {
            Ok(()) => format!("call {tool} with {with}"),
            Err(_) => format!("have {tool}, which is not offered here, called with {with}"),
        }
    }
}

/// What another tool than the paying one says of money that is in flight.
pub(crate) fn in_flight(intent: &Intent) -> String {
    format!(
        "Call {} with the arguments that it was called with first, and change none of them: this purchase is presented \
         under the same idempotency_key, which the merchant settles at most once.",
        tool(intent)
    )
}

/// How an open purchase is brought to its end.
pub(super) fn to_end(intent: &Intent) -> String {
    format!("Repeat the {} call that began it, until it is settled or refused.", tool(intent))
}

/// The tool whose call goes on with a purchase.
fn tool(intent: &Intent) -> &'static str {
    Repeat::of(intent).tool.as_str()
}

/// The arguments of a payment, as far as the purchase itself tells them.
fn payment(intent: &Intent) -> Value {
    let lines: Vec<_> = intent
        .line_items
        .iter()
        .map(|line| match line.unit_price_minor {
            Some(price) => json!({"sku": line.sku, "qty": line.qty, "unit_price_minor": price}),
            None => json!({"sku": line.sku, "qty": line.qty}),
        })
        .collect();
    let mut arguments = json!({
        "merchant_url": intent.merchant,
        "amount": {"currency": intent.currency, "amount_minor": intent.amount_minor},
        "line_items": lines,
    });
    if let Some(reference) = &intent.purchase_ref {
        arguments["purchase_ref"] = json!(reference);
    }
    arguments
}

fn capitalized(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
