//! A mandate that was issued to the registered agent and never presented.

use std::sync::{Arc, Mutex};

use oid4ac_client::{
    Client, Currency, Error, FileStore, IdempotencyKey, Journal, JournalError, LineItem, LocalError, Money, Order,
    Proceed, Progress, Step, SystemRng,
};

use super::{CALLBACK, World};

/// A journal that lets nothing be presented, and keeps what was about to be.
#[derive(Default)]
struct Unsent(Mutex<Option<String>>);

impl Journal for Unsent {
    fn progress(&self) -> Result<Progress, JournalError> {
        Ok(Progress::default())
    }

    fn record(&self, step: Step) -> Result<Proceed, JournalError> {
        let Step::Presenting { presentation } = step else { return Ok(Proceed::On) };
        *self.0.lock().unwrap() = Some(presentation);
        Err(JournalError::new("not to be presented", "by this test"))
    }
}

impl World {
    /// A presentation of a new mandate for one `sku` of the first merchant, by the keys in the data directory. No ledger
    /// knows of it.
    pub async fn unspent_presentation(&self, sku: &str, amount_minor: u64) -> String {
        let issuer = self.sandbox.as_origin();
        let store = Arc::new(FileStore::for_issuer(&self.data_dir(), issuer));
        let client = Client::builder(issuer).unwrap().store(store).build();
        let merchant = self.alpacanica();
        let amount = Money::new(amount_minor, Currency::parse("EUR").unwrap()).unwrap();
        let (lines, key) = (vec![LineItem::new(sku, 1)], IdempotencyKey::generate(&SystemRng));
        let order = Order::new(&merchant.origin, &merchant.verify_url, amount, lines, CALLBACK, key).unwrap();
        let journal = Unsent::default();
        let stopped = client.pay(&order, &journal).await;
        assert!(matches!(stopped, Err(Error::Local(LocalError::Journal(_)))), "{stopped:?}");
        journal.0.into_inner().unwrap().unwrap()
    }
}
