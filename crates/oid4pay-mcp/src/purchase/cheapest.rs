//! A purchase whose item is chosen by us: the cheapest that fits, fixed in the intent once it is picked.

use oid4ac_client::{
    CatalogItem, Client, Currency, Error, IdempotencyKey, JournalError, LineItem, Misuse, Money, Order, Origin, Wanted,
};
use spend_guard::{Artefact, Begun, Claim, Intent, Ledger, Policy};

use super::{Call, about, denied, ledger_failed, let_go};
use crate::errors::Refusal;
use crate::tools::Name;

/// What is looked for at which store, and how it is ordered.
pub(crate) struct Cheapest {
    pub(crate) store: Origin,
    pub(crate) currency: Currency,
    pub(crate) cap_minor: u64,
    pub(crate) wanted: Wanted,
    pub(crate) order: Box<OrderFor>,
}

/// Makes the order for one line at a price.
pub(crate) type OrderFor = dyn Fn(IdempotencyKey, LineItem, Money) -> Result<Order, Error> + Send + Sync;

impl Cheapest {
    /// The cheapest item that fits by the store's verified catalog. Its price is that of its verified offer, which is the
    /// one that counts and has to be under the cap too.
    pub(crate) async fn find(&self, client: &Client, tool: Name) -> Result<CatalogItem, Refusal> {
        let refused = |error: Error| Refusal::from_client(tool, &error);
        let item = client.cheapest(&self.store, &self.wanted).await.map_err(refused)?;
        let Some(mut item) = item else {
            return Err(Refusal::told("no_matching_item", ": no in-stock matching items under the cap"));
        };
        let price = client.quote(&self.store, self.currency, &item).await.map_err(refused)?;
        if price.amount_minor() > self.cap_minor {
            let sentence = "by its signed offer the cheapest item costs more than max_amount_minor";
            return Err(Refusal::new("offer_above_cap", sentence)
                .with("offer_amount_minor", price.amount_minor())
                .with("max_amount_minor", self.cap_minor));
        }
        item.unit_price_minor = price.amount_minor();
        Ok(item)
    }

    /// Fixes the item of the claimed intent, unless it has one.
    pub(super) async fn pick(&self, call: &Call<'_>, mut claim: Claim, policy: &Policy) -> Result<Claim, Refusal> {
        if !claim.intent().line_items.is_empty() {
            return Ok(claim);
        }
        let found = tokio::select! {
            biased;
            found = self.find(call.client, call.tool) => found,
            why = call.waiting.stop().wait() => {
                let intent = claim.intent().clone();
                drop(claim);
                return Err(about(why.refusal(), &let_go(call, intent, why)));
            }
        };
        let item = match found {
            Ok(item) => item,
            Err(refusal) => {
                if let Err(error) = claim.refused(refusal.code(), "no item was picked") {
                    tracing::warn!(intent = %claim.intent().id, %error, "the intent could not be closed");
                }
                return Err(about(refusal, claim.intent()));
            }
        };
        let text = serde_json::to_string(&item).map_err(|error| Refusal::new("ledger_failed", &error.to_string()))?;
        claim.keep_with_next_step(Artefact::Item, text);
        let price = item.unit_price_minor;
        let line = spend_guard::LineItem { sku: item.sku, qty: 1, unit_price_minor: Some(price) };
        match claim.item_picked(vec![line], price, item.category, Some(policy)) {
            Ok(Begun::New(claim)) => Ok(claim),
            Ok(Begun::Denied(denial)) => Err(denied(&denial)),
            Ok(_) => Err(Refusal::new("ledger_failed", "the ledger did not go on with the intent it had given out")),
            Err(error) => Err(ledger_failed(&error)),
        }
    }

    /// The order for the item that the intent holds.
    pub(super) fn order(&self, ledger: &Ledger, intent: &Intent, key: &IdempotencyKey) -> Result<Order, Error> {
        let missing = || JournalError::new("the intent has no item", "no item");
        let item = chosen(ledger, intent)?.ok_or_else(missing)?;
        let price = Money::new(item.unit_price_minor, self.currency).map_err(Misuse::Money)?;
        (self.order)(key.clone(), LineItem::of(&item), price)
    }
}

/// The item that was picked for an intent, where one was. Its price is that of its signed offer.
pub(crate) fn chosen(ledger: &Ledger, intent: &Intent) -> Result<Option<CatalogItem>, JournalError> {
    let failed = |error| JournalError::new("the ledger cannot be read", error);
    let text = ledger.artefact(&intent.id, Artefact::Item).map_err(failed)?;
    let damaged = |error| JournalError::new("the intent's item is damaged", error);
    text.map(|text| serde_json::from_str(&text).map_err(damaged)).transpose()
}
