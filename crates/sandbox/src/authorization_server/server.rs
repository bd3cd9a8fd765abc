//! The server's own state, and what its endpoints and the other parties ask of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::response::{IntoResponse as _, Response};
use dpop::{Htu, MemoryReplayStore};
use http::HeaderValue;
use jose::{Alg, Jwk, PrivateKey, Rng, Signer as _, UnixSeconds};

use super::endpoints::Endpoints;
use super::state::State;
use crate::audit::{Actor, AuditChain};
use crate::clock::PartyClock;
use crate::config::{ConsentMode, SandboxConfig, StandingApproval};
use crate::error::Refusal;
use crate::fault::{Befallen, Fault, SKEW_SECONDS};
use crate::header::DPOP_NONCE;
use crate::keys::{NamedKey, SigningKeys};
use crate::merchant::Profile;
use crate::nonce::NonceRing;
use crate::principal::Principal;
use crate::rules::Rules;

/// The authorization server.
pub(crate) struct AuthorizationServer {
    pub(super) endpoints: Endpoints,
    pub(super) par_htu: Htu,
    pub(super) token_htu: Htu,
    pub(super) keys: SigningKeys,
    /// The public key of audit heads: marked as such, used for nothing else.
    pub(super) audit_head_jwk: Jwk,
    pub(super) clock: PartyClock,
    pub(super) rng: Arc<dyn Rng>,
    pub(super) rules: Rules,
    pub(super) consent_mode: ConsentMode,
    pub(super) standing_approval: StandingApproval,
    pub(super) mandate_ttl_seconds: UnixSeconds,
    pub(super) mandate_cap_minor: Option<u64>,
    /// The merchants it issues mandates for.
    pub(super) merchants: Vec<KnownMerchant>,
    pub(super) principals: [Principal; 2],
    pub(super) started_at: UnixSeconds,
    pub(super) audit: AuditChain,
    pub(super) proofs: MemoryReplayStore,
    pub(super) state: Mutex<State>,
}

impl AuthorizationServer {
    /// A server at `origin` for these merchants. `None` if `origin` is not an HTTP origin.
    pub(crate) fn new(origin: &str, merchants: Vec<KnownMerchant>, config: &SandboxConfig) -> Option<Self> {
        let endpoints = Endpoints::at(origin);
        let rng = Arc::clone(&config.rng);
        let audit_head_key = PrivateKey::generate(Alg::EdDsa, rng.as_ref());
        let audit_head_key = NamedKey { kid: by_thumbprint(&audit_head_key, 1), key: audit_head_key };
        let audit_head_jwk = audit_head_key.to_jwk().with_member("oid4ac_use", "audit-head");
        let audit = AuditChain::new(TENANT_ID, audit_head_key, Arc::clone(&config.clock));
        Some(Self {
            par_htu: Htu::parse(&endpoints.par).ok()?,
            token_htu: Htu::parse(&endpoints.token).ok()?,
            keys: SigningKeys::new(Alg::EdDsa, rng.as_ref(), by_thumbprint),
            audit_head_jwk,
            clock: PartyClock::new(Arc::clone(&config.clock)),
            rules: config.rules.clone(),
            consent_mode: config.consent_mode,
            standing_approval: config.standing_approval,
            mandate_ttl_seconds: config.mandate_ttl_seconds,
            mandate_cap_minor: config.mandate_cap_minor,
            merchants,
            principals: Principal::demo(rng.as_ref()),
            started_at: config.clock.now(),
            audit,
            proofs: MemoryReplayStore::new(MAX_PROOFS),
            state: Mutex::new(State::new()),
            endpoints,
            rng,
        })
    }

    /// The principals; the first is the one of every demonstration.
    pub(crate) fn principals(&self) -> &[Principal] {
        &self.principals
    }

    /// The principal of this id.
    pub(crate) fn principal(&self, id: &str) -> Option<&Principal> {
        self.principals.iter().find(|principal| principal.id == id)
    }

    /// A merchant's word that a payment was settled, for the audit chain of the principal who paid.
    pub(crate) fn record_settlement(&self, settlement: &SettlementReport<'_>) {
        let agent_client_id = self.state().mandate_holder(settlement.mandate_id);
        self.audit.append(
            "oid4ac.payment.succeeded",
            Actor { principal_id: settlement.principal_id.to_owned(), agent_client_id },
            serde_json::json!({
                "mandate_id": settlement.mandate_id,
                "payment_intent_id": settlement.payment_intent_id,
                "amount_minor": settlement.amount_minor,
                "currency": settlement.currency,
                "merchant_audience": settlement.merchant_audience,
                "receipt_url": settlement.receipt_url,
            }),
        );
    }

    /// Revokes every mandate that was issued.
    pub(crate) fn revoke_all_mandates(&self) {
        let now = self.clock.now();
        let mut state = self.state();
        let State { mandates, status_list, .. } = &mut *state;
        for (_, mandate) in mandates.newest_first(now) {
            status_list.revoke(mandate.status_index);
        }
    }

    pub(crate) fn audit(&self) -> &AuditChain {
        &self.audit
    }

    pub(crate) fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Nothing under this lock panics between two changes that belong together, so poison is no reason to stop.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn issuer(&self) -> &str {
        &self.endpoints.issuer
    }

    pub(super) fn is_merchant(&self, origin: &str) -> bool {
        self.merchants.iter().any(|merchant| merchant.origin == origin)
    }

    /// The response to a request that takes a DPoP proof: it always brings the nonce for the next one (RFC 9449 §8.2).
    pub(super) fn with_nonce(&self, result: Result<Response, Refusal>) -> Response {
        self.with_nonce_of(|state| &mut state.nonces, result)
    }

    pub(super) fn with_nonce_of(
        &self,
        ring: fn(&mut State) -> &mut NonceRing,
        result: Result<Response, Refusal>,
    ) -> Response {
        let mut response = result.unwrap_or_else(Refusal::into_response);
        let nonce = ring(&mut self.state()).current(self.clock.now(), self.rng.as_ref());
        if let Ok(value) = HeaderValue::from_str(nonce.as_str()) {
            response.headers_mut().insert(DPOP_NONCE, value);
        }
        response
    }
}

impl Befallen for AuthorizationServer {
    fn befall(&self, fault: Fault) {
        match fault {
            Fault::StaleNonce => {
                let mut state = self.state();
                (state.nonces, state.resource_nonces) = (NonceRing::default(), NonceRing::default());
            }
            Fault::RotatedKeys => self.keys.rotate(self.rng.as_ref(), by_thumbprint),
            Fault::ClockSkew => self.clock.set_ahead(SKEW_SECONDS),
            Fault::Revoked => self.revoke_all_mandates(),
            _ => {}
        }
    }

    fn recover(&self) {
        self.clock.set_ahead(0);
    }
}

/// A merchant that this server issues mandates for.
pub(crate) struct KnownMerchant {
    pub(crate) origin: String,
    pub(crate) profile: &'static Profile,
}

/// What a merchant reports when it has settled.
pub(crate) struct SettlementReport<'a> {
    pub(crate) principal_id: &'a str,
    pub(crate) mandate_id: &'a str,
    pub(crate) payment_intent_id: &'a str,
    pub(crate) amount_minor: u64,
    pub(crate) currency: &'a str,
    pub(crate) merchant_audience: &'a str,
    pub(crate) receipt_url: &'a str,
}

/// A key's name is its thumbprint (RFC 7638).
fn by_thumbprint(key: &PrivateKey, _number: usize) -> String {
    key.public_key().thumbprint().to_string()
}

const TENANT_ID: &str = "tenant_oid4pay_sandbox";
const MAX_PROOFS: usize = 100_000;
