//! A ledger in a directory of its own, under a clock that stands still.
#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, reason = "a test helper that fails must fail loudly")]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use jose::{Clock, UnixSeconds};
use spend_guard::{
    Begun, Claim, Currency, DeclarationTerms, Intent, Ledger, LineItem, Mandate, Offers, Policy, Purchase, Settlement,
};

pub(crate) const ISSUER: &str = "https://as.example";
pub(crate) const SHOP: &str = "https://shop.example";
pub(crate) const START: UnixSeconds = 1_790_000_000;

#[derive(Clone)]
pub(crate) struct StillClock(Arc<AtomicI64>);

impl StillClock {
    pub(crate) fn at(now: UnixSeconds) -> Self {
        Self(Arc::new(AtomicI64::new(now)))
    }

    pub(crate) fn set(&self, now: UnixSeconds) {
        self.0.store(now, Ordering::SeqCst);
    }

    pub(crate) fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for StillClock {
    fn now(&self) -> UnixSeconds {
        self.0.load(Ordering::SeqCst)
    }
}

pub(crate) struct Bench {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) clock: StillClock,
    pub(crate) ledger: Ledger,
}

pub(crate) fn bench() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let clock = StillClock::at(START);
    let ledger = Ledger::new(dir.path().join("data"), Arc::new(clock.clone()));
    Bench { dir, clock, ledger }
}

impl Bench {
    /// The same files, as another process would open them.
    pub(crate) fn reopened(&self) -> Ledger {
        Ledger::new(self.dir.path().join("data"), Arc::new(self.clock.clone()))
    }

    pub(crate) fn file(&self) -> std::path::PathBuf {
        self.dir.path().join("data/ledger.sqlite3")
    }

    /// Pays `purchase` from beginning to end.
    pub(crate) fn pay(&self, purchase: &Purchase, policy: Option<&Policy>) -> Intent {
        settle(claim(self.ledger.begin(purchase, policy).unwrap()))
    }
}

pub(crate) fn eur() -> Currency {
    Currency::parse("EUR").unwrap()
}

pub(crate) fn key() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("key-{:032}", NEXT.fetch_add(1, Ordering::SeqCst))
}

pub(crate) fn socks(qty: u64) -> LineItem {
    LineItem { sku: "sock".into(), qty, unit_price_minor: None }
}

/// A purchase of socks, the same one for the same amount and reference.
pub(crate) fn purchase(amount_minor: u64, reference: &str) -> Purchase {
    purchase_in("EUR", amount_minor, reference)
}

pub(crate) fn purchase_in(currency: &str, amount_minor: u64, reference: &str) -> Purchase {
    let currency = Currency::parse(currency).unwrap();
    Purchase::payment(ISSUER, SHOP, vec![socks(1)], amount_minor, currency, Some(reference.to_owned()), key()).unwrap()
}

pub(crate) fn claim(begun: Begun) -> Claim {
    match begun {
        Begun::New(claim) | Begun::Resume(claim) => claim,
        other => panic!("no claim: {other:?}"),
    }
}

pub(crate) fn mandate(id: &str) -> Mandate {
    Mandate { mandate_id: id.to_owned(), cap_minor: 1, expires_at: START + 900 }
}

pub(crate) fn authorize(claim: &mut Claim) {
    claim.offers_verified(Offers::Verified { digest: "digest" }).unwrap();
    let id = format!("mandate_{}", claim.intent().id);
    let (cap_minor, expires_at) = (claim.intent().amount_minor, claim.intent().updated_at + 900);
    let mandate = Mandate { mandate_id: id, cap_minor, expires_at };
    assert_eq!(claim.mandate_held(mandate, "jwt~disclosure~", None).unwrap(), spend_guard::Next::Go);
}

pub(crate) fn settlement() -> Settlement {
    Settlement {
        payment_intent_id: "pi_1".into(),
        settled_at: "2026-09-21T00:00:00Z".into(),
        receipt_jws: Some("a.b.c".into()),
        ..Settlement::default()
    }
}

pub(crate) fn settle(mut claim: Claim) -> Intent {
    authorize(&mut claim);
    claim.presenting("jwt~disclosure~kb").unwrap();
    claim.settled(&settlement()).unwrap();
    claim.intent().clone()
}

/// A purchase told in advance, which may differ by `minor` units or `percent`.
pub(crate) fn declaration(amount: u64, reference: &str, minor: Option<u64>, percent: Option<u8>) -> DeclarationTerms {
    DeclarationTerms {
        purchase: purchase(amount, reference),
        summary: "socks for the winter".into(),
        tolerance_minor: minor,
        tolerance_percent: percent,
        ttl_seconds: 1800,
    }
}
