//! Consent on a page of the portal: the request waits, the agent polls, the principal decides.

pub(super) mod record;

use std::sync::Arc;

use axum::extract::{Path, State as Extract};
use axum::response::Response;
use dpop::{Htu, ProofCheck, ReplayError, VerifyError};
use http::header::LOCATION;
use http::{HeaderMap, HeaderValue, StatusCode};
use jose::{Thumbprint, UnixSeconds, random_token};
use serde::Serialize;

use super::AuthorizationServer;
use super::client::Client;
use super::endpoints::PORTAL_PATH;
use super::grant::{Code, Pushed, Subject};
use super::secret_hash::secret_hash;
use crate::error::{Refusal, json};
use crate::form::only_header;
use crate::header::DPOP;
use crate::principal::{ConsentDecision, WalletError};
use crate::rules::Rule;
use record::Consent;

/// What a poll is answered.
#[derive(Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
enum Standing<'a> {
    Pending { interval: UnixSeconds },
    Approved { code: String, state: String, iss: &'a str },
    Declined,
    Expired,
}

/// `GET /oauth/consent/{poll_id}`.
pub(super) async fn poll(
    Extract(server): Extract<Arc<AuthorizationServer>>,
    Path(poll_id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let answer = server.check_poll_proof(&headers, &poll_id).and_then(|jkt| server.standing(&poll_id, &jkt));
    server.with_nonce(answer)
}

impl AuthorizationServer {
    /// 302 to the page where the principal decides, and in its body what the agent needs to wait.
    pub(super) fn begin_consent(&self, client: Arc<Client>, pushed: Pushed) -> Result<Response, Refusal> {
        let now = self.clock.now();
        // Two names, neither of which tells the other: who sees the page's URL cannot collect the code.
        let (page_id, poll_id) = (random_token::<16>(self.rng.as_ref()), random_token::<32>(self.rng.as_ref()));
        let consent_mode = pushed.consent_mode.name();
        let consent = Consent {
            client,
            pushed,
            expires_at: now + CONSENT_SECONDS,
            decided: None,
            interval: INTERVAL_SECONDS,
            polled_at: None,
            code: None,
        };
        let full = |_| Refusal::unavailable("temporarily_unavailable", "too many requests wait for consent");
        let (poll_hash, until) = (secret_hash(&poll_id), now + CONSENT_SECONDS + REMEMBERED_SECONDS);
        {
            let mut state = self.state();
            state.consents.insert(now, poll_hash, until, consent).map_err(full)?;
            state.consent_pages.insert(now, secret_hash(&page_id), until, poll_hash).map_err(full)?;
        }
        #[derive(Serialize)]
        struct Waiting<'a> {
            consent_url: &'a str,
            consent_mode: &'a str,
            poll_uri: String,
            interval: UnixSeconds,
            expires_in: UnixSeconds,
        }
        let consent_url = format!("{}{PORTAL_PATH}/consent/{page_id}", self.issuer());
        let location = HeaderValue::from_str(&consent_url).map_err(|_| Refusal::server_error())?;
        let waiting = Waiting {
            consent_url: &consent_url,
            consent_mode,
            poll_uri: self.poll_uri(&poll_id),
            interval: INTERVAL_SECONDS,
            expires_in: CONSENT_SECONDS,
        };
        let mut response = json(StatusCode::FOUND, &waiting);
        response.headers_mut().insert(LOCATION, location);
        Ok(response)
    }

    /// Decides. Only the principal for whom the client was registered can.
    pub(crate) fn decide_consent(
        &self,
        page_id: &str,
        principal_id: &str,
        decision: ConsentDecision,
    ) -> Result<(), WalletError> {
        let now = self.clock.now();
        let mut state = self.state();
        let poll_hash = *state.consent_pages.get(now, &secret_hash(page_id)).ok_or(WalletError::NoSuchConsent)?;
        let consent = state.consents.get_mut(now, &poll_hash).ok_or(WalletError::NoSuchConsent)?;
        let is_theirs = consent.client.principal_id == principal_id;
        self.rules.require(Rule::ConsentPrincipal, is_theirs, || WalletError::NotYours)?;
        self.rules.require(Rule::ConsentOnce, consent.decided.is_none(), || WalletError::Decided)?;
        self.rules.require(Rule::ConsentExpiry, now < consent.expires_at, || WalletError::NoSuchConsent)?;
        consent.decided = Some((decision, now));
        Ok(())
    }

    fn poll_uri(&self, poll_id: &str) -> String {
        format!("{}/oauth/consent/{poll_id}", self.issuer())
    }

    fn check_poll_proof(&self, headers: &HeaderMap, poll_id: &str) -> Result<Thumbprint, Refusal> {
        let refuse = |why: String| Refusal::bad_request("invalid_dpop_proof", why);
        let proof = only_header(headers, DPOP.as_str()).ok().flatten();
        let proof = proof.ok_or_else(|| refuse("exactly one DPoP header is required".to_owned()))?;
        let htu = Htu::parse(&self.poll_uri(poll_id)).map_err(|_| Refusal::not_found())?;
        let now = self.clock.now();
        let nonces = self.state().nonces.accepted(now);
        let mut check = ProofCheck::new("GET", &htu, now);
        if self.rules.enforced(Rule::ProofNonce) {
            check = check.nonces(&nonces);
        }
        let verified = check.verify(proof).map_err(|error| match error {
            VerifyError::NonceMissing | VerifyError::NonceMismatch => {
                Refusal::bad_request("use_dpop_nonce", "the DPoP proof needs the nonce of the DPoP-Nonce header")
            }
            error => refuse(error.to_string()),
        })?;
        match verified.spend(&self.proofs, now) {
            Err(ReplayError::Replayed) if self.rules.enforced(Rule::ProofReplay) => {
                Err(refuse("the DPoP proof was used before".to_owned()))
            }
            Err(ReplayError::Full | ReplayError::Unavailable) => {
                Err(Refusal::unavailable("temporarily_unavailable", "too many proofs are remembered"))
            }
            _ => Ok(verified.jkt().clone()),
        }
    }

    /// How a consent stands, for the key that pushed the request. For any other there is nothing here.
    fn standing(&self, poll_id: &str, jkt: &Thumbprint) -> Result<Response, Refusal> {
        let now = self.clock.now();
        let hash = secret_hash(poll_id);
        let mut state = self.state();
        let consent = state.consents.get_mut(now, &hash);
        let consent = consent.ok_or_else(Refusal::not_found)?;
        self.rules.require(Rule::PollKey, consent.pushed.dpop_jkt == *jkt, Refusal::not_found)?;
        let standing = match consent.decided {
            Some((ConsentDecision::Decline, _)) => Standing::Declined,
            _ if now >= consent.expires_at && self.rules.enforced(Rule::ConsentExpiry) => Standing::Expired,
            None => {
                let too_fast = consent.polled_at.is_some_and(|at| now - at < consent.interval);
                consent.polled_at = Some(now);
                if too_fast && self.rules.enforced(Rule::PollRate) {
                    // RFC 8628 §3.5: "the interval MUST be increased by 5 seconds for this and all subsequent requests".
                    consent.interval = (consent.interval + 5).min(MAX_INTERVAL_SECONDS);
                    let status = StatusCode::TOO_MANY_REQUESTS;
                    return Err(Refusal::new(status, "slow_down", "the polls come faster than the interval"));
                }
                Standing::Pending { interval: consent.interval }
            }
            Some((ConsentDecision::Approve, at)) => {
                let (pushed, client) = (consent.pushed.clone(), Arc::clone(&consent.client));
                let kept = consent.code.clone();
                let redeemed = kept.as_ref().and_then(|(code, _)| state.codes.get(now, &secret_hash(code)));
                if redeemed.is_some_and(|code| code.redeemed_as.is_some()) || state.client(&client.client_id).is_none()
                {
                    // One approval, one grant.
                    return Ok(json(StatusCode::OK, &Standing::Expired));
                }
                let code = match kept {
                    Some((code, ends_at)) if now < ends_at => code,
                    _ => {
                        let grant = Self::grant(&pushed, Subject::Principal(client.principal_id.clone()), at);
                        let code = self.issue_code_in(&mut state, &pushed, grant)?;
                        if let Some(consent) = state.consents.get_mut(now, &hash) {
                            consent.code = Some((code.clone(), now + Code::LIFETIME_SECONDS));
                        }
                        code
                    }
                };
                Standing::Approved { code, state: pushed.state, iss: self.issuer() }
            }
        };
        Ok(json(StatusCode::OK, &standing))
    }
}

/// How long a principal can take.
const CONSENT_SECONDS: UnixSeconds = 900;
/// How long an expired consent is distinguished from an unknown one.
const REMEMBERED_SECONDS: UnixSeconds = 3600;
const INTERVAL_SECONDS: UnixSeconds = 2;
const MAX_INTERVAL_SECONDS: UnixSeconds = 60;
