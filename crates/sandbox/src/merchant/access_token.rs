//! The access token and DPoP proof that may come with a presentation (RFC 9068, RFC 9449 §7). Never required; checked
//! first when they are there.

use dpop::{ProofCheck, ReplayError, VerifiedProof, VerifyError};
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use jose::{Alg, PublicKey, UnverifiedJws};
use serde_json::{Map, Value};

use super::Merchant;
use super::issuer::NoKey;
use super::mandate::Mandate;
use crate::claims;
use crate::error::Refusal;
use crate::form::only_header;
use crate::header::DPOP;
use crate::rules::Rule;

/// What a request proved about its sender, apart from the presentation.
pub(super) struct Sender {
    key: PublicKey,
    token: Option<Map<String, Value>>,
}

impl Sender {
    /// The key of the proof.
    pub(super) fn key(&self) -> &PublicKey {
        &self.key
    }
}

impl Merchant {
    /// Checks token and proof where they are sent. `None` where neither is.
    pub(super) async fn check_sender(&self, headers: &HeaderMap) -> Result<Option<Sender>, Refusal> {
        let token =
            match only_header(headers, AUTHORIZATION.as_str()).map_err(|()| invalid_token("there are two tokens"))? {
                None => None,
                Some(value) => match value.split_once(' ') {
                    Some((scheme, token)) if scheme.eq_ignore_ascii_case("dpop") => Some(token.trim()),
                    _ => return Err(invalid_token("the access token must come under the DPoP scheme")),
                },
            };
        let proof = only_header(headers, DPOP.as_str()).map_err(|()| invalid_proof("there are two DPoP proofs"))?;
        let proof = match (proof, token) {
            (Some(proof), _) => proof,
            (None, None) => return Ok(None),
            (None, Some(_)) => return Err(invalid_proof("a DPoP access token needs a proof")),
        };
        let verified = match self.check_proof(proof, token) {
            Ok(verified) => verified,
            Err(refusal) => return Err(refusal),
        };
        let claims = match token {
            None => None,
            Some(token) => Some(self.check_token(token, &verified).await?),
        };
        match verified.spend(&self.proofs, self.clock.now()) {
            Err(ReplayError::Replayed) if self.rules.enforced(Rule::MerchantProof) => {
                Err(invalid_proof("the DPoP proof was used before"))
            }
            Err(ReplayError::Full | ReplayError::Unavailable) => {
                Err(Refusal::unavailable("temporarily_unavailable", "too many proofs are remembered"))
            }
            _ => Ok(Some(Sender { key: verified.key().clone(), token: claims })),
        }
    }

    /// The token, where there is one, was issued for this mandate and this key.
    pub(super) fn check_token_fits(&self, sender: Option<&Sender>, mandate: &Mandate) -> Result<(), Refusal> {
        let Some(claims) = sender.and_then(|sender| sender.token.as_ref()) else { return Ok(()) };
        let fits = claims::text(claims, "mandate_id") == Some(&mandate.id)
            && claims::confirmation(claims) == Some(mandate.jkt.as_str());
        self.rules.require(Rule::MerchantAccessToken, fits, || invalid_token("the access token is for another mandate"))
    }

    fn check_proof(&self, proof: &str, token: Option<&str>) -> Result<VerifiedProof, Refusal> {
        let now = self.clock.now();
        let nonces = self.state().dpop_nonces.accepted(now);
        let mut check = ProofCheck::new("POST", &self.verify_htu, now);
        if self.rules.enforced(Rule::MerchantProof) {
            check = check.nonces(&nonces);
        }
        if let Some(token) = token {
            check = check.access_token(token);
        }
        check.verify(proof).map_err(|error| match error {
            VerifyError::NonceMissing | VerifyError::NonceMismatch => {
                unauthorized("use_dpop_nonce", "the DPoP proof needs the nonce of the DPoP-Nonce header")
            }
            error => invalid_proof(error.to_string()),
        })
    }

    async fn check_token(&self, token: &str, proof: &VerifiedProof) -> Result<Map<String, Value>, Refusal> {
        let refuse = |error: jose::JwsError| invalid_token(format!("the access token: {error}"));
        let unverified = UnverifiedJws::parse(token).map_err(refuse)?;
        if unverified.unverified_alg() != Alg::EdDsa {
            return Err(invalid_token("the access token's algorithm is not allowed"));
        }
        let now = self.clock.now();
        let key = self.issuer.key(now, unverified.unverified_kid(), Alg::EdDsa).await.map_err(|error| match error {
            NoKey::Unknown => invalid_token("the access token's key is unknown"),
            NoKey::Unreachable => issuer_unreachable(),
        })?;
        let jws = unverified.verify(&key, &[Alg::EdDsa], &["at+jwt"]).map_err(refuse)?;
        let claims = jws.claims().map_err(refuse)?;

        let require =
            |holds, why: &'static str| self.rules.require(Rule::MerchantAccessToken, holds, || invalid_token(why));
        let is_text = |name, wanted: &str| claims::text(&claims, name) == Some(wanted);
        require(is_text("iss", self.issuer.origin()), "the access token is by another issuer")?;
        require(is_text("aud", &self.origin), "the access token is for another resource")?;
        let is_current = claims::seconds(&claims, "exp").is_some_and(|exp| now < exp)
            && claims::seconds(&claims, "nbf").is_none_or(|nbf| nbf <= now);
        require(is_current, "the access token is not valid now")?;
        let scope = claims::text(&claims, "scope").and_then(crate::scope::Scope::parse);
        if !scope.is_some_and(|scope| scope.permits_payment()) {
            return Err(Refusal::new(StatusCode::FORBIDDEN, "insufficient_scope", "a payment scope is needed")
                .with_dpop_challenge());
        }
        let is_bound = claims::confirmation(&claims) == Some(proof.jkt().as_str());
        require(is_bound, "the access token is bound to another key")?;
        Ok(claims)
    }
}

/// 502: the issuer's keys could not be fetched.
pub(super) fn issuer_unreachable() -> Refusal {
    Refusal::new(StatusCode::BAD_GATEWAY, "bad_gateway", "the issuer's keys cannot be fetched").retry_after(1)
}

fn invalid_token(why: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    unauthorized("invalid_token", why)
}

fn invalid_proof(why: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    unauthorized("invalid_dpop_proof", why)
}

fn unauthorized(error: &'static str, why: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, error, why).with_dpop_challenge()
}
