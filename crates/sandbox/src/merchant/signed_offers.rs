//! The memory of what was signed: a mandate names its offer by digest.

use std::collections::{HashMap, VecDeque};

use serde::Serialize;

use super::profile::Item;
use crate::audit::jcs_sha256;

/// An offer, as the merchant signs it (schema.org JSON-LD).
#[derive(Clone, PartialEq, Serialize)]
pub(super) struct Offer {
    #[serde(rename = "@context")]
    context: &'static str,
    #[serde(rename = "@type")]
    kind: &'static str,
    sku: &'static str,
    name: &'static str,
    pub(super) amount_minor: u64,
    pub(super) currency: &'static str,
    pub(super) in_stock: bool,
}

impl Offer {
    pub(super) fn of(item: &Item) -> Self {
        Self {
            context: "https://schema.org",
            kind: "Offer",
            sku: item.sku,
            name: item.title,
            amount_minor: item.unit_price_minor,
            currency: item.currency,
            in_stock: item.in_stock,
        }
    }
}

/// Every offer that was signed, by SKU, the newest last.
pub(super) struct SignedOffers(HashMap<&'static str, VecDeque<Offer>>);

impl SignedOffers {
    pub(super) fn new() -> Self {
        Self(HashMap::new())
    }

    pub(super) fn record(&mut self, offer: Offer) {
        let versions = self.0.entry(offer.sku).or_default();
        versions.retain(|earlier| *earlier != offer);
        if versions.len() == MAX_VERSIONS {
            versions.pop_front();
        }
        versions.push_back(offer);
    }

    /// The offers that `digest` is of, one per line where the line has one. `None` if this merchant never signed them.
    ///
    /// The digest of one line is over its offer, that of several over the array of them, with `null` for a line that has
    /// none.
    pub(super) fn find(&self, digest: &str, skus: &[&str]) -> Option<Vec<Option<Offer>>> {
        let versions: Vec<Vec<Option<&Offer>>> = skus
            .iter()
            .map(|sku| match self.0.get(sku) {
                Some(versions) => versions.iter().rev().map(Some).collect(),
                None => vec![None],
            })
            .collect();
        let combinations = versions.iter().try_fold(1_usize, |n, line| n.checked_mul(line.len()))?;
        (0..combinations.min(MAX_COMBINATIONS)).find_map(|mut number| {
            let chosen: Vec<Option<&Offer>> = versions
                .iter()
                .map(|line| {
                    let offer = line[number % line.len()];
                    number /= line.len();
                    offer
                })
                .collect();
            let computed = match chosen.as_slice() {
                [Some(one)] => jcs_sha256(one),
                [None] => return None,
                several => jcs_sha256(&several),
            };
            (computed == digest).then(|| chosen.into_iter().map(|offer| offer.cloned()).collect())
        })
    }
}

/// Price and stock of one item change this often before the oldest offer is forgotten.
const MAX_VERSIONS: usize = 16;
const MAX_COMBINATIONS: usize = 4096;

#[cfg(test)]
mod tests {
    use super::super::ALPACANICA;
    use super::*;

    #[test]
    fn finds_older_versions_and_several_lines_and_nothing_unsigned() {
        let (a, b) = (&ALPACANICA.items[0], &ALPACANICA.items[1]);
        let mut offers = SignedOffers::new();
        let old = Offer::of(a);
        offers.record(old.clone());
        offers.record(Offer { amount_minor: 1, ..old.clone() });
        offers.record(Offer::of(b));
        assert_eq!(
            offers.find(&jcs_sha256(&old), &[a.sku]).unwrap()[0].as_ref().unwrap().amount_minor,
            old.amount_minor
        );
        let several = jcs_sha256(&[Some(old.clone()), Some(Offer::of(b)), None]);
        assert_eq!(offers.find(&several, &[a.sku, b.sku, "made-to-order"]).unwrap().len(), 3);
        assert!(offers.find(&several, &[b.sku, a.sku, "made-to-order"]).is_none(), "the order of lines counts");
        let unsigned = Offer { amount_minor: 2, ..old };
        assert!(offers.find(&jcs_sha256(&unsigned), &[a.sku]).is_none());
    }
}
