//! `agent_payment_initiate`.

use crate::mcp::answer::success;
use crate::mcp::host::Host;
use crate::mcp::person::input_required;
use oid4ac_client::{
    Client, Currency, Error, IdempotencyKey, LineItem, Misuse, Money, Order, SystemRng, UnsignedOffers,
};
use oid4pay::pay;
use oid4pay::pay::{Call, Ran, Work};
use oid4pay::person::Waiting;
use oid4pay::refusal::{Code, Refusal};
use rmcp::model::{CallToolResponse, CallToolResult};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use spend_guard::Purchase;

use super::args::{self, CurrencyCode, Integer, MAX_MINOR, PurchaseRef, Uri};
use super::output;

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Arguments {
    merchant_url: Uri,
    merchant_verify_url: Uri,
    amount: Amount,
    #[serde(deserialize_with = "args::at_least_one")]
    line_items: Vec<args::LineItem>,
    #[serde(default, deserialize_with = "args::present", skip_serializing_if = "Option::is_none")]
    offer_id: Option<String>,
    #[serde(default, deserialize_with = "args::present", skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    redirect_uri: Uri,
    #[serde(default, deserialize_with = "args::present", skip_serializing_if = "Option::is_none")]
    consent_mode_hint: Option<ConsentMode>,
    #[serde(default, deserialize_with = "args::present", skip_serializing_if = "Option::is_none")]
    purchase_ref: Option<PurchaseRef>,
    #[serde(default, skip_serializing)]
    dry_run: bool,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Amount {
    currency: CurrencyCode,
    amount_minor: Integer<1, MAX_MINOR>,
}

#[derive(Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum ConsentMode {
    Auto,
    Dashboard,
    Scan,
}

impl ConsentMode {
    fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Dashboard => "dashboard",
            Self::Scan => "scan",
        }
    }
}

pub(super) async fn pay(
    Host { agent, settings }: &Host,
    arguments: Arguments,
    waiting: Waiting,
) -> Result<CallToolResponse, Refusal> {
    let issuer = agent.issuer()?;
    let client = agent.client(&issuer)?;
    let (dry_run, purchase_ref) = (arguments.dry_run, arguments.purchase_ref.as_ref().map(|r| r.as_str().to_owned()));
    let to_repeat = args::to_repeat(&arguments);
    let terms = Terms::new(arguments)?;
    let order = terms.order(IdempotencyKey::generate(&SystemRng))?;
    agent.check_registered(&client)?;
    let purchase = as_purchase(&issuer, &order, purchase_ref)?.called_with(to_repeat);
    if dry_run {
        let guard = pay::simulate(agent, &client, purchase)?;
        let simulated = async { simulated(&client, &order, guard).await.map_err(Refusal::from) };
        return waiting.stop().unless_stopped(simulated).await.map(CallToolResponse::from);
    }
    let work = Work::Order(Box::new(move |key| terms.order(key)));
    let call = Call { agent, client: &client, purchase, work, waiting };
    let answer = match pay::run(call).await? {
        Ran::Answered(answer) => answer,
        Ran::AskClient(question) => return Ok(input_required(question).into()),
    };
    let told = output::told(
        &answer,
        settings,
        |payment| json!({"mandate_jwt": payment.mandate.mandate_jwt(), "presentation": payment.presentation}),
    );
    Ok(told.into_result().into())
}

/// What `dry_run` does: everything that can be known without asking anybody for anything.
async fn simulated(client: &Client, order: &Order, guard: Value) -> Result<CallToolResult, Error> {
    let offers = client.check_offers(order).await?;
    let amount = order.amount();
    let basis = match offers.are_verified() {
        true => "its signed offers make that",
        false => "it signs no offer for all of that, so the person would have to approve it on this machine",
    };
    let sentence = format!(
        "{} would be asked {amount}; {basis}. {} Nothing was paid.",
        order.merchant(),
        output::guards_word(&guard)
    );
    let output = json!({
        "status": "dry_run",
        "next_step": output::next_after(&guard, "Call again without dry_run to pay."),
        "guard": guard,
        "offer_verified": offers.are_verified(),
        "amount_minor": amount.amount_minor(),
        "currency": amount.currency().code(),
    });
    Ok(success(output, sentence, None))
}

/// The arguments, checked one by one; together they make an [`Order`].
struct Terms {
    arguments: Arguments,
    amount: Money,
    line_items: Vec<LineItem>,
}

impl Terms {
    fn new(mut arguments: Arguments) -> Result<Self, Error> {
        let currency = Currency::parse(arguments.amount.currency.as_str()).map_err(Misuse::Money)?;
        let amount = Money::new(arguments.amount.amount_minor.value(), currency).map_err(Misuse::Money)?;
        let line_items = std::mem::take(&mut arguments.line_items);
        let line_items = line_items.into_iter().map(args::LineItem::into_client).collect();
        Ok(Self { arguments, amount, line_items })
    }

    fn order(&self, key: IdempotencyKey) -> Result<Order, Error> {
        let arguments = &self.arguments;
        let (merchant, verify) = (arguments.merchant_url.as_str(), arguments.merchant_verify_url.as_str());
        let redirect_uri = arguments.redirect_uri.as_str();
        let order = Order::new(merchant, verify, self.amount, self.line_items.clone(), redirect_uri, key)?;
        // The guard lets none of them pass that a human has not approved on this machine.
        let mut order = order.with_unsigned_offers(UnsignedOffers::HumanApproved);
        if let Some(offer_id) = &arguments.offer_id {
            order = order.with_offer_id(offer_id);
        }
        if let Some(scope) = &arguments.scope {
            order = order.with_scope(scope);
        }
        if let Some(mode) = arguments.consent_mode_hint {
            order = order.with_consent_mode_hint(mode.as_str());
        }
        Ok(order)
    }
}

pub(super) fn as_purchase(issuer: &str, order: &Order, purchase_ref: Option<String>) -> Result<Purchase, Refusal> {
    let lines = order.line_items().iter().map(|line| spend_guard::LineItem {
        sku: line.sku().to_owned(),
        qty: u64::from(line.qty()),
        unit_price_minor: line.unit_price_minor(),
    });
    let currency = spend_guard::Currency::parse(order.amount().currency().code())
        .map_err(|_| Refusal::new(Code::InvalidCurrency, "the currency is not an ISO 4217 code with a minor unit"))?;
    let (merchant, amount) = (order.merchant().as_str(), order.amount().amount_minor());
    let key = order.idempotency_key().as_str();
    Purchase::payment(issuer, merchant, lines.collect(), amount, currency, purchase_ref, key)
        .map_err(|error| Refusal::new(Code::InvalidArguments, &error.to_string()))
}
