//! A merchant: signs offers and a catalog, verifies mandates, settles once, gives a receipt.

mod access_token;
mod catalog;
mod challenge;
mod issuer;
mod mandate;
mod offer;
mod presentation;
mod profile;
mod receipt;
mod settlement;
mod signing;
mod status;
mod verify_mandate;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::State as Extract;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use dpop::{Htu, MemoryReplayStore};
use http::header::CACHE_CONTROL;
use http::{HeaderValue, StatusCode};
use jose::{JwkSet, PrivateKey, Rng};

use crate::authorization_server::AuthorizationServer;
use crate::clock::PartyClock;
use crate::config::SandboxConfig;
use crate::error::json;
use crate::fault::{Befallen, Fault, SKEW_SECONDS};
use crate::keys::SigningKeys;
use crate::nonce::NonceRing;
use crate::rules::Rules;
use crate::server::{no_such_method, no_such_path};
use challenge::Challenges;
use issuer::Issuer;
use offer::SignedOffers;
use settlement::Ledger;
use status::StatusLists;

pub(crate) use profile::{ALPACANICA, BRISTLE_AND_SLATE, Item, Profile, RequestComponents};
pub(crate) use signing::{CONTENT_DIGEST, SIGNATURE, SIGNATURE_INPUT};

/// A merchant at work.
pub(crate) struct Merchant {
    profile: &'static Profile,
    origin: String,
    verify_htu: Htu,
    keys: SigningKeys,
    /// Where mandates come from, over HTTP.
    issuer: Issuer,
    status_lists: StatusLists,
    /// Where settlements are reported, for the audit chain.
    authorization_server: Arc<AuthorizationServer>,
    clock: PartyClock,
    rng: Arc<dyn Rng>,
    rules: Rules,
    proofs: MemoryReplayStore,
    state: Mutex<State>,
}

struct State {
    /// By SKU; the catalog's order is the profile's.
    stock: HashMap<&'static str, Item>,
    offers: SignedOffers,
    challenges: Challenges,
    dpop_nonces: NonceRing,
    ledger: Ledger,
}

impl Merchant {
    /// The merchant of this profile at `origin`. `None` if that is no HTTP origin.
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

    /// Its routes.
    pub(crate) fn router(self: Arc<Self>) -> Router {
        Router::new()
            .route("/.well-known/jwks.json", get(jwks))
            .route("/.well-known/oid4ac-catalog", get(catalog::catalog))
            .route("/oid4ac/offer/{sku}", get(offer::offer))
            .route("/products/{sku}", get(offer::offer))
            .route(VERIFY_PATH, post(verify_mandate::verify_mandate))
            .route("/receipts/{file}", get(receipt::receipt))
            .route(SETTLEMENTS_PATH, get(settlement::settlements))
            .method_not_allowed_fallback(no_such_method)
            .fallback(no_such_path)
            .with_state(self)
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
    fn state(&self) -> MutexGuard<'_, State> {
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

/// `GET /.well-known/jwks.json`: keys for offers, catalogs and receipts.
async fn jwks(Extract(merchant): Extract<Arc<Merchant>>) -> Response {
    let mut response = json(StatusCode::OK, &JwkSet::new(merchant.keys.to_jwks()));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
    response.into_response()
}

pub(crate) const VERIFY_PATH: &str = "/verify-mandate";
pub(crate) const SETTLEMENTS_PATH: &str = "/settlements";
const MAX_PROOFS: usize = 100_000;
