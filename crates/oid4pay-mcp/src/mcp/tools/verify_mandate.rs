//! `agent_verify_mandate`.

use crate::mcp::answer::success;
use crate::mcp::host::Host;
use crate::mcp::person::input_required;
use oid4ac_client::{IdempotencyKey, PresentedMandate};
use oid4pay::pay;
use oid4pay::pay::{Call, Ran, Work};
use oid4pay::person::Waiting;
use oid4pay::refusal::{Code, Refusal};
use rmcp::model::{CallToolResponse, CallToolResult};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use spend_guard::{Intent, Mandate, Purchase};

use super::args::{self, PurchaseRef, Text, Uri};
use super::output;

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Arguments {
    merchant_verify_url: Uri,
    /// Not for the ledger's rows: it is kept as an artefact, and in no other place.
    #[serde(skip_serializing)]
    presentation: Text,
    line_items: Vec<args::LineItem>,
    #[serde(default, deserialize_with = "args::present", skip_serializing_if = "Option::is_none")]
    offer_id: Option<String>,
    #[serde(default, deserialize_with = "args::present", skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<String>,
    /// The mandate already tells this purchase from every other.
    #[serde(
        default,
        deserialize_with = "args::present",
        rename = "purchase_ref",
        skip_serializing_if = "Option::is_none"
    )]
    _purchase_ref: Option<PurchaseRef>,
    #[serde(default, skip_serializing)]
    dry_run: bool,
}

pub(super) async fn verify(
    Host { agent, settings }: &Host,
    arguments: Arguments,
    waiting: Waiting,
) -> Result<CallToolResponse, Refusal> {
    let issuer = agent.issuer()?;
    let client = agent.client(&issuer)?;
    let to_repeat = args::to_repeat(&arguments);
    let presented = async {
        let read = client.read_presentation(arguments.presentation.as_str(), arguments.merchant_verify_url.as_str());
        read.await.map_err(Refusal::from)
    };
    let presented = waiting.stop().unless_stopped(presented).await?;
    let line_items: Vec<_> = arguments.line_items.into_iter().map(args::LineItem::into_client).collect();
    let known = agent.ledger().find_by_mandate(&issuer, presented.merchant().as_str(), presented.mandate_id());
    let known = known?;
    // Before anything is answered from the ledger: what was paid for is not what a caller says it was.
    presented.check_line_items(&line_items).map_err(|error| {
        let refusal = Refusal::from(error).with("sent", false);
        match &known {
            Some(intent) => refusal.about(intent),
            None => refusal.with("mandate_id", presented.mandate_id()),
        }
    })?;
    let key = idempotency_key(&presented, known.as_ref(), arguments.idempotency_key.as_deref())?;
    let purchase = as_purchase(&issuer, &presented, &key)?.called_with(to_repeat);
    if arguments.dry_run {
        let guard = pay::simulate(agent, &client, purchase)?;
        return Ok(simulated(&presented, &key, guard).into());
    }
    let work = Work::Presentation { presented: Box::new(presented), line_items, offer_id: arguments.offer_id };
    let call = Call { agent, client: &client, purchase, work, waiting };
    let answer = match pay::run(call).await? {
        Ran::Answered(answer) => answer,
        Ran::AskClient(question) => return Ok(input_required(question).into()),
    };
    let told = output::told(&answer, settings, |payment| {
        let settlement = &payment.settlement;
        json!({
            "verified_at": settlement.verified_at,
            "verifier_principal_id": settlement.verifier_principal_id,
            "spend_cap_remaining_minor": settlement.spend_cap_remaining_minor,
        })
    });
    Ok(told.into_result().into())
}

/// The caller's key, else the one stored with the mandate, else the one that follows from the mandate: never a new one, or
/// the merchant might settle twice.
fn idempotency_key(
    presented: &PresentedMandate,
    known: Option<&Intent>,
    given: Option<&str>,
) -> Result<IdempotencyKey, Refusal> {
    let invalid = || Refusal::new(Code::InvalidIdempotencyKey, "it must have 1 to 128 printable ASCII characters");
    if let Some(given) = given {
        let key = IdempotencyKey::parse(given).ok_or_else(invalid)?;
        return match known.filter(|intent| intent.idempotency_key != key.as_str()) {
            Some(intent) => Err(pay::other_key(intent)),
            None => Ok(key),
        };
    }
    let stored = known.and_then(|intent| IdempotencyKey::parse(&intent.idempotency_key));
    stored.or_else(|| presented.derived_idempotency_key()).ok_or_else(invalid)
}

fn as_purchase(issuer: &str, presented: &PresentedMandate, key: &IdempotencyKey) -> Result<Purchase, Refusal> {
    let lines = presented.line_items().iter().map(|(sku, qty)| spend_guard::LineItem {
        sku: sku.clone(),
        qty: *qty,
        unit_price_minor: None,
    });
    let currency = spend_guard::Currency::parse(presented.amount().currency().code()).map_err(|_| {
        Refusal::new(Code::InvalidCurrency, "the mandate's currency is not an ISO 4217 code with a minor unit")
    })?;
    let (merchant, cap) = (presented.merchant().as_str(), presented.amount().amount_minor());
    let mandate =
        Mandate { mandate_id: presented.mandate_id().to_owned(), cap_minor: cap, expires_at: presented.expires_at() };
    Purchase::verify(issuer, merchant, lines.collect(), cap, currency, mandate, key.as_str())
        .map_err(|error| Refusal::new(Code::InvalidArguments, &error.to_string()))
}

fn simulated(presented: &PresentedMandate, key: &IdempotencyKey, guard: Value) -> CallToolResult {
    let amount = presented.amount();
    let sentence = format!(
        "The mandate holds, for at most {amount} at {}. {} Nothing was sent to it.",
        presented.merchant(),
        output::guards_word(&guard),
    );
    let structured = json!({
        "status": "dry_run",
        "next_step": output::next_after(&guard, "Call again without dry_run to present it."),
        "guard": guard,
        "mandate_id": presented.mandate_id(),
        "idempotency_key": key.as_str(),
        "amount_minor": amount.amount_minor(),
        "currency": amount.currency().code(),
    });
    success(structured, sentence, None)
}
