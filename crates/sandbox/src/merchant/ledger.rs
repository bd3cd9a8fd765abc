//! Settling once: idempotency records, what is left of each mandate's cap, and the list of what was settled.

use std::collections::VecDeque;

use bytes::Bytes;
use http::StatusCode;
use jose::UnixSeconds;
use serde::Serialize;

use super::mandate::Mandate;
use super::signed_offers::Offer;
use crate::audit::jcs_sha256;
use crate::error::Refusal;
use crate::expiring::Expiring;
use crate::rules::{Rule, Rules};

/// What a merchant knows of its money.
pub(super) struct Ledger {
    records: Expiring<RecordKey, Record>,
    /// `mandate_id` → minor units spent under it.
    spent: Expiring<String, u64>,
    pub(super) settlements: VecDeque<Settlement>,
    pub(super) receipts: Expiring<String, Bytes>,
}

/// (`cnf.jkt`, `idempotency_key`).
pub(super) type RecordKey = (String, String);

struct Record {
    fingerprint: String,
    outcome: Outcome,
}

/// Only final outcomes are recorded; one that is being worked on only keeps others away.
enum Outcome {
    InProgress,
    /// The answer, octet for octet.
    Settled(Bytes),
}

/// What a presentation under an idempotency key may do.
pub(super) enum Claimed {
    /// It is the first, and has the key to itself until it settles or lets go.
    First,
    /// It was settled before: this is the answer.
    Settled(Bytes),
}

/// One settled payment, as `settlements_url` shows it.
#[derive(Clone, Serialize)]
pub(super) struct Settlement {
    pub(super) idempotency_key: String,
    pub(super) mandate_id: String,
    pub(super) payment_intent_id: String,
    pub(super) amount_minor: u64,
    pub(super) currency: String,
    pub(super) settled_at: String,
}

impl Ledger {
    pub(super) fn new() -> Self {
        Self {
            records: Expiring::new(CAPACITY),
            spent: Expiring::new(CAPACITY),
            settlements: VecDeque::new(),
            receipts: Expiring::new(CAPACITY),
        }
    }

    /// How many payments were settled and are still shown.
    pub(super) fn settlement_count(&self) -> usize {
        self.settlements.len()
    }

    /// Looks the key up and takes it if it is free.
    pub(super) fn claim(
        &mut self,
        now: UnixSeconds,
        key: &RecordKey,
        fingerprint: &str,
        mandate: &Mandate,
        rules: &Rules,
    ) -> Result<Claimed, Refusal> {
        let record = self.records.get(now, key).filter(|_| rules.enforced(Rule::Idempotency));
        match record {
            Some(record) if record.fingerprint != fingerprint => Err(Refusal::new(
                StatusCode::CONFLICT,
                "idempotency_conflict",
                "the idempotency key was used for another purchase",
            )),
            Some(Record { outcome: Outcome::Settled(answer), .. }) => Ok(Claimed::Settled(answer.clone())),
            Some(Record { outcome: Outcome::InProgress, .. }) => Err(Refusal::new(
                StatusCode::CONFLICT,
                "idempotency_in_progress",
                "the same purchase is being worked on",
            )
            .retry_after(1)),
            None => {
                let until = (now + RECORD_SECONDS).max(mandate.expires_at.saturating_add(86_400));
                let record = Record { fingerprint: fingerprint.to_owned(), outcome: Outcome::InProgress };
                self.records.insert(now, key.clone(), until, record).map_err(|_| full())?;
                Ok(Claimed::First)
            }
        }
    }

    /// Lets a key go that nothing was settled under.
    pub(super) fn release(&mut self, now: UnixSeconds, key: &RecordKey) {
        if let Some(Record { outcome: Outcome::InProgress, .. }) = self.records.get(now, key) {
            self.records.remove(now, key);
        }
    }

    /// What is left of the mandate's cap.
    pub(super) fn remaining(&self, now: UnixSeconds, mandate: &Mandate) -> u64 {
        mandate.details.amount_minor.saturating_sub(self.spent.get(now, &mandate.id).copied().unwrap_or(0))
    }

    /// Charges: takes the amount from the cap, records the settlement and the answer. One step under one lock.
    pub(super) fn settle(
        &mut self,
        now: UnixSeconds,
        key: &RecordKey,
        mandate: &Mandate,
        settlement: Settlement,
        answer: Bytes,
    ) -> Result<(), Refusal> {
        let spent = self.spent.get(now, &mandate.id).copied().unwrap_or(0).saturating_add(settlement.amount_minor);
        let until = now.max(mandate.expires_at).saturating_add(RECORD_SECONDS);
        self.spent.insert(now, mandate.id.clone(), until, spent).map_err(|_| full())?;
        if let Some(record) = self.records.get_mut(now, key) {
            record.outcome = Outcome::Settled(answer);
        }
        if self.settlements.len() == CAPACITY {
            self.settlements.pop_front();
        }
        self.settlements.push_back(settlement);
        Ok(())
    }
}

/// SHA-256 of JCS({`mandate_id`, `line_items` (`sku` and `qty`) sorted by SKU, `offer_id` if any}).
pub(super) fn fingerprint(mandate_id: &str, lines: &[(&str, u64)], offer_id: Option<&str>) -> String {
    #[derive(Serialize)]
    struct Purchase<'a> {
        mandate_id: &'a str,
        line_items: Vec<Line<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        offer_id: Option<&'a str>,
    }
    #[derive(Serialize)]
    struct Line<'a> {
        sku: &'a str,
        qty: u64,
    }
    let mut lines = lines.to_vec();
    lines.sort_unstable();
    let line_items = lines.into_iter().map(|(sku, qty)| Line { sku, qty }).collect();
    jcs_sha256(&Purchase { mandate_id, line_items, offer_id })
}

/// What a mandate costs: by its offers; without an offer, by its own prices; failing those, its amount. Never today's
/// price. `None` if it does not fit into 64 bits.
pub(super) fn amount_minor(mandate: &Mandate, offers: Option<&[Option<Offer>]>) -> Option<u64> {
    let lines = &mandate.details.line_items;
    let price = |at: usize| match offers {
        Some(offers) => match offers.get(at)? {
            Some(offer) => Some(offer.amount_minor),
            None => lines.get(at)?.unit_price_minor,
        },
        None => lines.get(at)?.unit_price_minor,
    };
    let prices: Option<Vec<u64>> = (0..lines.len()).map(price).collect();
    match prices {
        Some(prices) => {
            prices.iter().zip(lines).try_fold(0_u64, |sum, (price, line)| sum.checked_add(price.checked_mul(line.qty)?))
        }
        None => Some(mandate.details.amount_minor),
    }
}

fn full() -> Refusal {
    Refusal::unavailable("temporarily_unavailable", "too many payments are remembered")
}

const CAPACITY: usize = 100_000;
const RECORD_SECONDS: UnixSeconds = 7 * 86_400;
