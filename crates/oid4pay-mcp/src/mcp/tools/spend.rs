//! Toolset `spend`: what the guard would say, what is left, what was spent and what proves it. No tool changes a limit,
//! approves, rejects, freezes or unfreezes: that is the person's, in a terminal.

pub(super) mod intents;
pub(super) mod mcc;
pub(super) mod merchants;
pub(super) mod policy;
pub(super) mod records;
pub(super) mod status;

use oid4ac_client::{Currency, Error, IdempotencyKey, Misuse, Money, Order, SystemRng};
use oid4pay::refusal::{Code, Refusal};
use serde::Deserialize;
use spend_guard::{Approval, Intent};

use super::args::{self, CurrencyCode, Integer, LineItem, MAX_MINOR, Uri};

/// An amount as the paying tools take it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Amount {
    currency: CurrencyCode,
    amount_minor: Integer<1, MAX_MINOR>,
}

/// A purchase that is only talked about: never sent, it needs neither the merchant's endpoint nor a redirect URI.
fn order(merchant_url: &Uri, amount: &Amount, line_items: Vec<LineItem>) -> Result<Order, Error> {
    let currency = Currency::parse(amount.currency.as_str()).map_err(Misuse::Money)?;
    let money = Money::new(amount.amount_minor.value(), currency).map_err(Misuse::Money)?;
    let lines = line_items.into_iter().map(args::LineItem::into_client).collect();
    let merchant = merchant_url.as_str();
    Order::new(merchant, merchant, money, lines, merchant, IdempotencyKey::generate(&SystemRng))
}

/// A text of 1 to `MAX` characters.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Bounded<const MAX: usize>(String);

impl<const MAX: usize> TryFrom<String> for Bounded<MAX> {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match (1..=MAX).contains(&text.chars().count()) {
            true => Ok(Self(text)),
            false => Err(format!("must have 1 to {MAX} characters")),
        }
    }
}

/// The guard's currency, from an argument.
fn currency_of(code: &CurrencyCode) -> Result<spend_guard::Currency, Refusal> {
    spend_guard::Currency::parse(code.as_str())
        .map_err(|_| Refusal::new(Code::InvalidCurrency, "the currency is not an ISO 4217 code with a minor unit"))
}

fn amount_of(intent: &Intent) -> String {
    intent.currency.format(intent.amount_minor)
}

/// Where the person's part stands, in a word.
fn approval_status(intent: &Intent) -> &'static str {
    match &intent.approval {
        Approval::Needed { .. } => "needed",
        Approval::Requested { .. } => "requested",
        Approval::Given { .. } => "given",
        Approval::Refused { .. } => "refused",
        _ => "not_needed",
    }
}
