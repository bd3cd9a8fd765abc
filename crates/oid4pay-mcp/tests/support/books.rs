//! The merchants' books against the ledger: what was charged, and what the agent knows of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use spend_guard::{Artefact, Filter, Intent, Ledger, Policy, State};

use super::World;

/// What a comparison found. Only the first two may be anything but 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Books {
    /// Purchases that were charged and are settled in the ledger, with their receipt.
    pub settled: usize,
    /// Their sum, in minor units.
    pub settled_minor: u64,
    /// Charges beyond the first of a purchase.
    pub double_charges: usize,
    /// Charges that the ledger does not know as settled, or without a receipt; settlements that no merchant knows.
    pub lost_payments: usize,
    /// Intents that are open, and sums of money that are held back for none.
    pub stuck_reservations: usize,
}

impl Books {
    /// Whether nothing is wrong.
    pub fn sound(&self) -> bool {
        (self.double_charges, self.lost_payments, self.stuck_reservations) == (0, 0, 0)
    }
}

/// The ledger of a data directory, as another process of the same user sees it.
pub fn ledger(data_dir: &Path) -> Ledger {
    Ledger::new(data_dir, Arc::new(oid4ac_client::SystemClock))
}

pub fn intents(ledger: &Ledger) -> Vec<Intent> {
    let mut all = Vec::new();
    let mut filter = Filter { limit: Filter::MOST, ..Filter::default() };
    loop {
        let page = ledger.list(&filter).unwrap();
        all.extend(page.intents);
        match page.next {
            Some(next) => filter.before = Some(next),
            None => return all,
        }
    }
}

impl World {
    pub fn ledger(&self) -> Ledger {
        ledger(&self.data_dir())
    }

    /// Everything that both merchants have settled.
    pub async fn all_settlements(&self) -> Vec<Value> {
        let mut all = Vec::new();
        for merchant in self.sandbox.merchants() {
            all.extend(self.settlements(merchant).await);
        }
        all
    }

    /// Compares both merchants' books with the ledger in the data directory.
    pub async fn books(&self) -> Books {
        self.books_of(&[self.data_dir().as_path()]).await
    }

    /// Compares both merchants' books with the ledgers of several data directories.
    pub async fn books_of(&self, data_dirs: &[&Path]) -> Books {
        let mut books = Books::default();
        let mut charged: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for settlement in self.all_settlements().await {
            let key = settlement["idempotency_key"].as_str().unwrap().to_owned();
            charged.entry(key).or_default().push(settlement);
        }
        let mut by_purchase: BTreeMap<String, usize> = BTreeMap::new();
        let mut by_mandate: BTreeMap<String, usize> = BTreeMap::new();
        for charge in charged.values().flatten() {
            *by_mandate.entry(charge["mandate_id"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        for dir in data_dirs {
            let ledger = ledger(dir);
            ledger.verify(None).unwrap().unwrap();
            for intent in intents(&ledger) {
                let charges = charged.remove(&intent.idempotency_key).unwrap_or_default();
                *by_purchase.entry(intent.identity.as_str().to_owned()).or_default() += charges.len();
                books.stuck_reservations += usize::from(!intent.state.is_final());
                match (intent.state == State::Settled, charges.as_slice()) {
                    (true, [charge, ..]) if agree(&ledger, &intent, charge) => {
                        books.settled += 1;
                        books.settled_minor += intent.amount_minor;
                    }
                    (false, []) => {}
                    _ => books.lost_payments += 1,
                }
            }
            let held = ledger.budgets(&Policy::default()).unwrap().iter().any(|budget| budget.reserved_minor > 0);
            let is_open = intents(&ledger).iter().any(|intent| !intent.state.is_final());
            books.stuck_reservations += usize::from(held && !is_open);
        }
        books.lost_payments += charged.len();
        let beyond_the_first = |charges: BTreeMap<String, usize>| charges.values().map(|n| n.saturating_sub(1)).sum();
        books.double_charges = std::cmp::max(beyond_the_first(by_purchase), beyond_the_first(by_mandate));
        books
    }
}

/// Whether a settled intent is what the merchant charged, and its receipt is there and holds.
fn agree(ledger: &Ledger, intent: &Intent, charge: &Value) -> bool {
    let Some(settlement) = &intent.settlement else { return false };
    let receipt = ledger.artefact(&intent.id, Artefact::Receipt).unwrap();
    charge["payment_intent_id"] == settlement.payment_intent_id.as_str()
        && charge["settled_at"] == settlement.settled_at.as_str()
        && charge["amount_minor"] == intent.amount_minor
        && charge["currency"] == intent.currency.code()
        && intent.mandate.as_ref().is_some_and(|mandate| charge["mandate_id"] == mandate.mandate_id.as_str())
        && settlement.receipt == spend_guard::ReceiptVerdict::Verified
        && receipt.is_some_and(|receipt| settlement.receipt_jws.as_ref() == Some(&receipt))
}
