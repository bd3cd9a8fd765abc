use core::hint::black_box;

use oid4ac_client::ChainReport;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::{Job, encode};

/// Proves the hashes and links of a page of audit entries. Floor: the hashing alone.
pub struct AuditChain {
    page: Vec<u8>,
    canonical: Vec<Vec<u8>>,
}

impl AuditChain {
    /// Prepares a chain of so many entries, each of 504 octets in canonical form.
    #[must_use]
    pub fn new(entries: u64) -> Self {
        let mut prev_hash = encode(&[0; 32]);
        let mut canonical = Vec::new();
        let mut chain: Vec<_> = (1..=entries)
            .map(|seq| {
                let mut entry = entry(seq, &prev_hash);
                // `Map` sorts by octets, which for these names is canonical order.
                let form = serde_json::to_vec(&entry).expect("JSON");
                prev_hash = encode(&Sha256::digest(&form));
                entry.insert("entry_hash".to_owned(), prev_hash.clone().into());
                canonical.push(form);
                entry
            })
            .collect();
        chain.reverse();
        let page = json!({"entries": chain, "has_more": false}).to_string().into_bytes();
        Self { page, canonical }
    }
}

impl Job for AuditChain {
    fn floor(&self) {
        for entry in &self.canonical {
            black_box(Sha256::digest(entry));
        }
    }

    fn ours(&self) {
        let report = ChainReport::of_page(black_box(&self.page)).expect("a page");
        assert!(report.is_intact() && report.hashes_verified == self.canonical.len() as u64, "{report:?}");
    }
}

fn entry(seq: u64, prev_hash: &str) -> Map<String, Value> {
    let entry = json!({
        "v": 1, "seq": 1_000_000 + seq, "prev_hash": prev_hash, "ts": "2026-05-15T05:21:28Z",
        "ts_monotonic_ns": "123456789012345", "tenant_id": "tenant_oid4pay_prod",
        "actor": {"principal_id": "principal_8a2c1d8b9e3f70a4", "agent_client_id": "agent_3ff8a1d2b9c4e7f0"},
        "event": "oid4ac.payment.succeeded", "retention_class": "financial",
        "payload": {
            "mandate_id": "mandate_7b2c4d6e8f0a1b3c", "payment_intent_id": "pi_3OQ8Z2L8KZ4f5G2c1AbCdE",
            "amount_minor": 1299, "currency": "EUR", "merchant_audience": "https://shop.alpacanica.com",
        },
    });
    match entry {
        Value::Object(entry) => entry,
        _ => Map::new(),
    }
}
