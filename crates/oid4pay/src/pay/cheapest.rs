//! A purchase whose item is chosen by us: the cheapest that fits, fixed in the intent once it is picked.

use oid4ac_client::{
    Artefact as Sent, CatalogItem, Client, Currency, Error, IdempotencyKey, JournalError, LineItem, Misuse, Money,
    Order, Origin, Wanted, Why,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use spend_guard::{Artefact, Intent, Ledger};

use crate::refusal::{Code, Refusal};

/// What is looked for at which store, and how it is ordered.
pub struct Cheapest {
    /// The store.
    pub store: Origin,
    /// What it has to be priced in.
    pub currency: Currency,
    /// What fits.
    pub wanted: Wanted,
    /// Makes the order.
    pub order: Box<OrderFor>,
}

/// Makes the order for one line at a price.
pub type OrderFor = dyn Fn(IdempotencyKey, LineItem, Money) -> Result<Order, Error> + Send + Sync;

/// An article that was picked: what the catalog says of it, what its offer says it costs, and what was passed over for it.
#[derive(Serialize, Deserialize)]
pub struct Picked {
    /// The article, in the merchant's words.
    #[serde(flatten)]
    pub item: CatalogItem,
    /// At most the catalog's price. Older records have it as the item's own, and nowhere else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    offer_price_minor: Option<u64>,
    /// What was passed over for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disqualified: Vec<Disqualified>,
}

impl Picked {
    /// What one piece costs by its verified offer.
    pub fn price_minor(&self) -> u64 {
        self.offer_price_minor.unwrap_or(self.item.unit_price_minor)
    }
}

/// An article that would have been cheaper by the catalog, had the merchant's signed offer agreed.
#[derive(Serialize, Deserialize)]
pub struct Disqualified {
    sku: String,
    catalog_price_minor: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    offer_price_minor: Option<u64>,
    reason: Reason,
}

/// How an offer contradicts the catalog.
#[derive(Clone, Copy, Serialize, Deserialize)]
enum Reason {
    #[serde(rename = "offer_above_catalog_price")]
    AboveCatalogPrice,
    #[serde(rename = "offer_out_of_stock")]
    OutOfStock,
    #[serde(rename = "offer_in_other_currency")]
    OtherCurrency,
    #[serde(rename = "offer_without_price")]
    NoPrice,
}

impl Cheapest {
    /// The cheapest item that fits by the store's verified catalog, and is offered for no more than that.
    ///
    /// Only the merchant's own signed word disqualifies an item. An offer that cannot be had, or does not verify, says
    /// nothing about it: the search ends there, for a fault on the way must not make a dearer item the cheapest.
    ///
    /// # Errors
    ///
    /// - [`Code::NoMatchingItem`] or [`Code::AllItemsDisqualified`], or what kept catalog or offer from being had or verified.
    pub async fn find(&self, client: &Client) -> Result<Picked, Refusal> {
        let items = client.cheapest_first(&self.store, &self.wanted, MAX_TRIES).await?;
        if items.is_empty() {
            return Err(Refusal::new(Code::NoMatchingItem, "no in-stock matching items under the cap"));
        }
        let mut disqualified = Vec::new();
        for item in items {
            let catalog_price_minor = item.unit_price_minor;
            let (offer_price_minor, reason) = match client.quote(&self.store, self.currency, &item).await {
                Ok(price) if price.amount_minor() <= catalog_price_minor => {
                    return Ok(Picked { item, offer_price_minor: Some(price.amount_minor()), disqualified });
                }
                Ok(price) => (Some(price.amount_minor()), Reason::AboveCatalogPrice),
                Err(error) => match contradiction(&error) {
                    Some(reason) => (None, reason),
                    None => return Err(with_disqualified(Refusal::from(error), &disqualified)),
                },
            };
            disqualified.push(Disqualified { sku: item.sku, catalog_price_minor, offer_price_minor, reason });
        }
        let sentence = "by their signed offers, none of the cheapest items can be had for what the signed catalog says";
        Err(with_disqualified(Refusal::new(Code::AllItemsDisqualified, sentence), &disqualified))
    }

    /// The order for the item that the intent holds.
    pub(super) fn order(&self, ledger: &Ledger, intent: &Intent, key: &IdempotencyKey) -> Result<Order, Error> {
        let missing = || JournalError::new("the intent has no item", "no item");
        let picked = chosen(ledger, intent)?.ok_or_else(missing)?;
        let price = Money::new(picked.price_minor(), self.currency).map_err(Misuse::Money)?;
        (self.order)(key.clone(), LineItem::of(&picked.item), price)
    }
}

/// The reason to try the next item, where the error is the merchant's signed word that this one is not for sale as listed.
fn contradiction(error: &Error) -> Option<Reason> {
    match error {
        Error::PeerMisbehaved(offer) if offer.what() == Sent::Offer => match offer.why() {
            Why::OutOfStock => Some(Reason::OutOfStock),
            Why::Currency => Some(Reason::OtherCurrency),
            _ => None,
        },
        Error::Misuse(Misuse::Money(_)) => Some(Reason::NoPrice),
        _ => None,
    }
}

fn with_disqualified(refusal: Refusal, disqualified: &[Disqualified]) -> Refusal {
    match disqualified.is_empty() {
        true => refusal,
        false => refusal
            .with("disqualified", json!(disqualified))
            .with("untrusted_fields", json!(["context.disqualified[].sku"])),
    }
}

/// What was picked for an intent, where something was.
///
/// # Errors
///
/// - If the ledger cannot be read.
pub fn chosen(ledger: &Ledger, intent: &Intent) -> Result<Option<Picked>, JournalError> {
    let failed = |error| JournalError::new("the ledger cannot be read", error);
    let text = ledger.artefact(&intent.id, Artefact::Item).map_err(failed)?;
    let damaged = |error| JournalError::new("the intent's item is damaged", error);
    text.map(|text| serde_json::from_str(&text).map_err(damaged)).transpose()
}

/// Each costs a request or two. A merchant whose ten cheapest items are not what its catalog says is not to be bought from.
const MAX_TRIES: usize = 10;
