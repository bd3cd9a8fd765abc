//! A merchant's own state, and what the sandbox does to it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dpop::{Htu, MemoryReplayStore};
use jose::{PrivateKey, Rng};

use super::challenge::Challenges;
use super::issuer::Issuer;
use super::ledger::Ledger;
use super::profile::{Item, Profile};
use super::signed_offers::SignedOffers;
use super::status::StatusLists;
use crate::authorization_server::AuthorizationServer;
use crate::clock::PartyClock;
use crate::config::SandboxConfig;
use crate::fault::{Befallen, Fault, SKEW_SECONDS};
use crate::keys::SigningKeys;
use crate::nonce::NonceRing;
use crate::rules::Rules;

/// A merchant at work.
pub(crate) struct Merchant {
    pub(super) profile: &'static Profile,
    pub(super) origin: String,
    pub(super) verify_htu: Htu,
    pub(super) keys: SigningKeys,
    /// Where mandates come from, over HTTP.
    pub(super) issuer: Issuer,
    pub(super) status_lists: StatusLists,
    /// Where settlements are reported, for the audit chain.
    pub(super) authorization_server: Arc<AuthorizationServer>,
    pub(super) clock: PartyClock,
    pub(super) rng: Arc<dyn Rng>,
    pub(super) rules: Rules,
    pub(super) proofs: MemoryReplayStore,
    pub(super) state: Mutex<State>,
}

pub(super) struct State {
    /// By SKU; the catalog's order is the profile's.
    pub(super) stock: HashMap<&'static str, Item>,
    pub(super) offers: SignedOffers,
    pub(super) challenges: Challenges,
    pub(super) dpop_nonces: NonceRing,
    pub(super) ledger: Ledger,
}

impl Merchant {
    /// The merchant of this profile at `origin`. `None` if that is not an HTTP origin.
    pub(crate) fn new(
        profile: &'static Profile,
        origin: &str,
        authorization_server: Arc<AuthorizationServer>,
        config: &SandboxConfig,
    ) -> Option<Self> {
        let state = State {
            stock: profile.items.iter().map(|item| (item.sku, item.clone())).collect(),
            offers: SignedOffers::new(),
            challenges: Challenges::new(),
            dpop_nonces: NonceRing::default(),
            ledger: Ledger::new(),
        };
        Some(Self {
            profile,
            origin: origin.to_owned(),
            verify_htu: Htu::parse(&format!("{origin}{VERIFY_PATH}")).ok()?,
            keys: SigningKeys::new(profile.alg, config.rng.as_ref(), numbered(profile)),
            issuer: Issuer::new(&authorization_server.endpoints().issuer),
            status_lists: StatusLists::new(),
            authorization_server,
            clock: PartyClock::new(Arc::clone(&config.clock)),
            rng: Arc::clone(&config.rng),
            rules: config.rules.clone(),
            proofs: MemoryReplayStore::new(MAX_PROOFS),
            state: Mutex::new(state),
        })
    }

    /// Changes today's price of an item; what was signed before stays signed. Says whether there is such an item.
    pub(crate) fn set_price(&self, sku: &str, unit_price_minor: u64) -> bool {
        self.state().stock.get_mut(sku).map(|item| item.unit_price_minor = unit_price_minor).is_some()
    }

    /// How many payments are in the books.
    pub(crate) fn settlement_count(&self) -> usize {
        self.state().ledger.settlement_count()
    }

    /// Says whether an item is in stock from now on.
    pub(crate) fn set_in_stock(&self, sku: &str, in_stock: bool) -> bool {
        self.state().stock.get_mut(sku).map(|item| item.in_stock = in_stock).is_some()
    }

    pub(crate) fn profile(&self) -> &'static Profile {
        self.profile
    }

    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    /// Nothing under this lock panics between two changes that belong together, so poison is no reason to stop.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Befallen for Merchant {
    fn befall(&self, fault: Fault) {
        match fault {
            Fault::StaleNonce => {
                let mut state = self.state();
                state.dpop_nonces = NonceRing::default();
                state.challenges.forget_nonces();
            }
            Fault::RotatedKeys => self.keys.rotate(self.rng.as_ref(), numbered(self.profile)),
            Fault::ClockSkew => self.clock.set_ahead(SKEW_SECONDS),
            Fault::Revoked => {
                self.authorization_server.revoke_all_mandates();
                self.status_lists.forget();
            }
            _ => {}
        }
    }

    fn recover(&self) {
        self.clock.set_ahead(0);
    }
}

/// Keys are named after the merchant and counted.
fn numbered(profile: &'static Profile) -> impl Fn(&PrivateKey, usize) -> String {
    move |_, number| format!("{}_{number}", profile.id)
}

pub(crate) const VERIFY_PATH: &str = "/verify-mandate";
pub(crate) const SETTLEMENTS_PATH: &str = "/settlements";
const MAX_PROOFS: usize = 100_000;
