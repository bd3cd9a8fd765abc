//! The nonces that a KB-JWT may answer, and the memory of those that were answered.

use jose::{Rng, UnixSeconds, random_token};

use crate::expiring::Expiring;

/// Challenges, offer nonces, and the KB-JWTs that were accepted.
pub(super) struct Challenges {
    /// Single-use challenges → the thumbprint they were given to, where it was known.
    open: Expiring<String, Option<String>>,
    /// The nonces of signed offers → their SKU. Public, so no challenges: good once per mandate.
    offers: Expiring<String, &'static str>,
    /// (`mandate_id`, offer nonce) pairs that were used.
    used_offers: Expiring<(String, String), ()>,
    /// (`mandate_id`, SHA-256 of the KB-JWT) → the idempotency key that it came with.
    spent: Expiring<(String, [u8; 32]), String>,
}

/// What a KB-JWT answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Nonce {
    Challenge(String),
    Offer(String),
}

impl Nonce {
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Challenge(text) | Self::Offer(text) => text,
        }
    }
}

impl Challenges {
    pub(super) fn new() -> Self {
        Self {
            open: Expiring::new(MAX_NONCES),
            offers: Expiring::new(MAX_NONCES),
            used_offers: Expiring::new(MAX_SPENT),
            spent: Expiring::new(MAX_SPENT),
        }
    }

    /// Forgets every nonce that could still be answered.
    pub(super) fn forget_nonces(&mut self) {
        self.open = Expiring::new(MAX_NONCES);
        self.offers = Expiring::new(MAX_NONCES);
    }

    /// A new challenge for the holder of that key.
    pub(super) fn issue(&mut self, now: UnixSeconds, rng: &dyn Rng, jkt: Option<String>) -> String {
        let challenge = random_token::<16>(rng);
        self.open.insert_evicting(now, challenge.clone(), now + CHALLENGE_SECONDS, jkt);
        challenge
    }

    /// Takes note of a signed offer's nonce.
    pub(super) fn remember_offer(&mut self, now: UnixSeconds, nonce: &str, sku: &'static str, expires: UnixSeconds) {
        self.offers.insert_evicting(now, nonce.to_owned(), expires, sku);
    }

    /// What `nonce` is to a mandate for these SKUs, if it is still good for it.
    pub(super) fn look_up(&self, now: UnixSeconds, nonce: &str, mandate_id: &str, skus: &[&str]) -> Option<Nonce> {
        if self.open.get(now, nonce).is_some() {
            return Some(Nonce::Challenge(nonce.to_owned()));
        }
        let sku = self.offers.get(now, nonce)?;
        let is_unused = self.used_offers.get(now, &(mandate_id.to_owned(), nonce.to_owned())).is_none();
        (is_unused && skus.contains(sku)).then(|| Nonce::Offer(nonce.to_owned()))
    }

    /// What a presentation that does not name its nonce might answer: the newest challenges given to its key, then the
    /// newest offers of its SKUs; 32 at most.
    pub(super) fn candidates(&self, now: UnixSeconds, jkt: &str, mandate_id: &str, skus: &[&str]) -> Vec<Nonce> {
        let own = self.open.newest_first(now).filter(|(_, given_to)| given_to.as_deref() == Some(jkt));
        let offers = self.offers.newest_first(now).filter(|(_, sku)| skus.contains(*sku));
        let nonces = own.map(|(nonce, _)| nonce).chain(offers.map(|(nonce, _)| nonce));
        nonces.filter_map(|nonce| self.look_up(now, nonce, mandate_id, skus)).take(MAX_CANDIDATES).collect()
    }

    /// Uses a nonce up. Says whether it was still good: of two that come at once, one wins.
    pub(super) fn consume(&mut self, now: UnixSeconds, nonce: &Nonce, mandate_id: &str) -> bool {
        match nonce {
            Nonce::Challenge(challenge) => self.open.remove(now, challenge).is_some(),
            Nonce::Offer(nonce) => {
                let pair = (mandate_id.to_owned(), nonce.clone());
                self.used_offers.get(now, &pair).is_none()
                    && self.offers.get(now, nonce).is_some()
                    && self.used_offers.insert(now, pair, now + OFFER_SECONDS, ()).is_ok()
            }
        }
    }

    /// The idempotency key with which this KB-JWT was accepted before.
    pub(super) fn spent_with(&self, now: UnixSeconds, kb_jwt: &(String, [u8; 32])) -> Option<&str> {
        self.spent.get(now, kb_jwt).map(String::as_str)
    }

    /// Remembers an accepted KB-JWT for as long as it could be accepted again. `false` if there is no room to.
    pub(super) fn spend(&mut self, now: UnixSeconds, kb_jwt: (String, [u8; 32]), idempotency_key: &str) -> bool {
        self.spent.insert(now, kb_jwt, now + ACCEPTANCE_SECONDS, idempotency_key.to_owned()).is_ok()
    }
}

const CHALLENGE_SECONDS: UnixSeconds = 300;
/// No offer lives longer.
const OFFER_SECONDS: UnixSeconds = 300;
/// `iat` may lie 60 s ahead, and 300 s back: 360 s later it is refused, in the 361st second nothing need be remembered.
const ACCEPTANCE_SECONDS: UnixSeconds = 361;
const MAX_NONCES: usize = 10_000;
const MAX_SPENT: usize = 100_000;
const MAX_CANDIDATES: usize = 32;
