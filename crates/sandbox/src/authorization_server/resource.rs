//! Whose call it is: what the wallet, audit and privacy endpoints check before anything else (RFC 9068 §4, RFC 9449 §7).

use axum::response::Response;
use dpop::{Htu, ProofCheck, ReplayError, VerifiedProof, VerifyError};
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, StatusCode};

use super::AuthorizationServer;
use super::rate_limit::Limit;
use super::secret_hash::secret_hash;
use crate::claims;
use crate::error::Refusal;
use crate::form::only_header;
use crate::header::DPOP;
use crate::rules::Rule;
use crate::scope::Scope;

/// A principal's word, as a call brought it.
pub(super) struct Session {
    pub(super) principal_id: String,
    /// The agent that calls; `None` with a token of the portal's.
    pub(super) client_id: Option<String>,
    scope: Scope,
}

/// What an endpoint asks of a call.
pub(super) struct Wanted {
    pub(super) scope: &'static str,
    /// The error code for a token of another principal than the agent's.
    pub(super) mismatch: &'static str,
}

impl AuthorizationServer {
    /// Checks token, proof, scope and principal of a call.
    pub(super) fn check_session(&self, parts: &Parts, wanted: &Wanted) -> Result<Session, Refusal> {
        let header = only_header(&parts.headers, AUTHORIZATION.as_str());
        let header = header.map_err(|()| invalid_token("there are two tokens"))?;
        let (scheme, token) = header
            .and_then(|value| value.split_once(' '))
            .ok_or_else(|| invalid_token("a wallet-session access token is required"))?;
        let session = match scheme.to_ascii_lowercase().as_str() {
            "dpop" => self.bound_session(parts, token.trim())?,
            "bearer" => self.portal_session(token.trim())?,
            _ => return Err(invalid_token("the access token must come under the DPoP scheme")),
        };
        self.rules.require(Rule::ResourceScope, session.scope.contains(wanted.scope), || {
            let why = format!("the scope {} is needed", wanted.scope);
            Refusal::new(StatusCode::FORBIDDEN, "insufficient_scope", why).with_dpop_challenge()
        })?;
        if let Some(client_id) = &session.client_id {
            let now = self.clock.now();
            let mut state = self.state();
            let is_own = state.client(client_id).is_some_and(|client| client.principal_id == session.principal_id);
            self.rules.require(Rule::ResourcePrincipal, is_own, || {
                Refusal::new(
                    StatusCode::FORBIDDEN,
                    wanted.mismatch,
                    "the token is another principal's than the agent's",
                )
            })?;
            state.note_use(now, client_id);
        }
        Ok(session)
    }

    /// Counts a call against a limit.
    pub(super) fn count_call(&self, limit: &Limit, session: &Session) -> Result<(), Refusal> {
        let counted = self.state().calls.take(self.clock.now(), limit, &session.principal_id);
        counted.or_else(|refusal| if self.rules.enforced(Rule::ResourceRate) { Err(refusal) } else { Ok(()) })
    }

    /// The response of a resource server: it always brings the nonce for the next proof.
    pub(super) fn with_resource_nonce(&self, result: Result<Response, Refusal>) -> Response {
        self.with_nonce_of(|state| &mut state.resource_nonces, result)
    }

    /// A token that this server issued to an agent, bound to the agent's key.
    fn bound_session(&self, parts: &Parts, token: &str) -> Result<Session, Refusal> {
        let proof = self.check_resource_proof(parts, token)?;
        let now = self.clock.now();
        let refuse = |why: &'static str| invalid_token(why);
        let claims =
            self.own_access_token(token).ok_or_else(|| refuse("the access token is not one of this server's"))?;
        let require =
            |holds, why: &'static str| self.rules.require(Rule::ResourceAccessToken, holds, || invalid_token(why));
        require(claims::text(&claims, "iss") == Some(self.issuer()), "the access token is by another issuer")?;
        require(claims::text(&claims, "aud") == Some(self.issuer()), "the access token is for another resource")?;
        let is_current = claims::seconds(&claims, "exp").is_some_and(|exp| now < exp);
        require(is_current, "the access token has expired")?;
        let is_live =
            claims::text(&claims, "jti").is_some_and(|jti| self.state().access_tokens.get(now, jti).is_some());
        require(is_live, "the access token was revoked")?;
        let is_bound = claims::confirmation(&claims) == Some(proof.jkt().as_str());
        require(is_bound, "the access token is bound to another key")?;
        let text = |name| claims::text(&claims, name).unwrap_or_default().to_owned();
        let (principal_id, client_id) = (text("sub"), text("client_id"));
        require(principal_id != client_id, "an agent-only token does not speak for a principal")?;
        let scope = Scope::parse(&text("scope")).ok_or_else(|| refuse("the access token has no scope"))?;
        match proof.spend(&self.proofs, now) {
            Err(ReplayError::Replayed) if self.rules.enforced(Rule::ResourceProof) => {
                Err(invalid_proof("the DPoP proof was used before"))
            }
            Err(ReplayError::Full | ReplayError::Unavailable) => {
                Err(Refusal::unavailable("temporarily_unavailable", "too many proofs are remembered"))
            }
            _ => Ok(Session { principal_id, client_id: Some(client_id), scope }),
        }
    }

    /// A token that the portal gave to the principal. One that is bound to a key is never taken as a bearer's.
    fn portal_session(&self, token: &str) -> Result<Session, Refusal> {
        let state = self.state();
        let token = state.portal_tokens.get(self.clock.now(), &secret_hash(token));
        let token = token.ok_or_else(|| invalid_token("the token is none that the portal gave, or has expired"))?;
        Ok(Session { principal_id: token.principal_id.clone(), client_id: None, scope: token.scope.clone() })
    }

    fn check_resource_proof(&self, parts: &Parts, token: &str) -> Result<VerifiedProof, Refusal> {
        let proof = only_proof(&parts.headers)?;
        let htu = Htu::parse(&format!("{}{}", self.issuer(), parts.uri.path()))
            .map_err(|_| Refusal::invalid_request("the request's path is malformed"))?;
        let now = self.clock.now();
        let nonces = self.state().resource_nonces.accepted(now);
        let mut check = ProofCheck::new(parts.method.as_str(), &htu, now).access_token(token);
        if self.rules.enforced(Rule::ResourceProof) {
            check = check.nonces(&nonces);
        }
        check.verify(proof).map_err(|error| match error {
            VerifyError::NonceMissing | VerifyError::NonceMismatch => {
                unauthorized("use_dpop_nonce", "the DPoP proof needs the nonce of the DPoP-Nonce header")
            }
            error => invalid_proof(error.to_string()),
        })
    }
}

fn only_proof(headers: &HeaderMap) -> Result<&str, Refusal> {
    let proof = only_header(headers, DPOP.as_str()).map_err(|()| invalid_proof("there are two DPoP proofs"))?;
    proof.ok_or_else(|| invalid_proof("a DPoP access token needs a proof"))
}

fn invalid_token(why: &'static str) -> Refusal {
    unauthorized("invalid_token", why)
}

fn invalid_proof(why: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    unauthorized("invalid_dpop_proof", why)
}

fn unauthorized(error: &'static str, why: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, error, why).with_dpop_challenge()
}
