//! Client authentication by `private_key_jwt` (RFC 7523 §3) and the DPoP proof that follows it (RFC 9449).

use std::sync::Arc;

use dpop::{Htu, ProofCheck, ReplayError, VerifyError};
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue};
use jose::{Alg, Thumbprint, Typ, UnverifiedJws, base64url, constant_time_eq, json};

use super::AuthorizationServer;
use super::client::Client;
use crate::claims;
use crate::error::Refusal;
use crate::form::Form;
use crate::header::DPOP;
use crate::rules::Rule;

impl AuthorizationServer {
    /// Authenticates the client that calls `endpoint`, and spends its assertion's `jti`, whatever happens afterwards.
    pub(super) fn authenticate(
        &self,
        headers: &HeaderMap,
        form: &Form,
        endpoint: &str,
    ) -> Result<Arc<Client>, Refusal> {
        let refuse = |why: &'static str| Err(Refusal::invalid_client(why));
        // RFC 6749 §2.3: "The client MUST NOT use more than one authentication method in each request."
        if headers.contains_key(AUTHORIZATION) {
            // RFC 6749 §5.2 requires the attempted scheme to be named; `Basic` is the only one there is for clients.
            return Err(Refusal::invalid_client("only private_key_jwt authenticates a client here")
                .header(WWW_AUTHENTICATE, HeaderValue::from_static("Basic")));
        }
        if form.get("client_secret").is_some() {
            return refuse("only private_key_jwt authenticates a client here");
        }
        if form.get("client_assertion_type") != Some(ASSERTION_TYPE) {
            return refuse("client_assertion_type is missing or another");
        }
        let Some(assertion) = form.get("client_assertion") else { return refuse("client_assertion is missing") };
        let Some(client_id) = form.get("client_id").map(str::to_owned).or_else(|| unverified_issuer(assertion)) else {
            return refuse("no client is named");
        };
        let Some(client) = self.state().client(&client_id) else {
            return refuse("the client is unknown or was revoked");
        };

        let unverified = UnverifiedJws::parse(assertion)
            .map_err(|error| Refusal::invalid_client(format!("client_assertion: {error}")))?;
        let key = client.assertion_key.key();
        let names_key = unverified
            .unverified_kid()
            .is_none_or(|kid| client.assertion_key.kid() == Some(kid) || key.thumbprint().as_str() == kid);
        if !names_key {
            return refuse("client_assertion: the kid is not that of the registered assertion key");
        }
        let claims = unverified
            .verify(key, &[Alg::EdDsa], Typ::AbsentOr("JWT"))
            .and_then(|jws| jws.claims())
            .map_err(|error| Refusal::invalid_client(format!("client_assertion: {error}")))?;

        let require = |rule, holds, why: &'static str| self.rules.require(rule, holds, || Refusal::invalid_client(why));
        let is_subject = ["iss", "sub"].iter().all(|name| claims::text(&claims, name) == Some(client_id.as_str()));
        require(Rule::AssertionSubject, is_subject, "client_assertion: iss and sub must both be the client_id")?;
        let audience = claims::text(&claims, "aud");
        let good = [self.issuer(), &self.endpoints.token, endpoint];
        let is_audience = audience.is_some_and(|aud| good.contains(&aud));
        require(
            Rule::AssertionAudience,
            is_audience,
            "client_assertion: aud must be one of this server's, as a string",
        )?;

        let now = self.clock.now();
        let (Some(iat), Some(exp)) = (claims::seconds(&claims, "iat"), claims::seconds(&claims, "exp")) else {
            return refuse("client_assertion: iat and exp are required");
        };
        require(Rule::AssertionExpiry, now < exp, "client_assertion: expired")?;
        require(Rule::AssertionIssuedAt, iat <= now + MAX_SKEW, "client_assertion: iat is in the future")?;
        let lifetime = exp.saturating_sub(iat);
        require(Rule::AssertionLifetime, (0..=MAX_LIFETIME).contains(&lifetime), "client_assertion: lives over 300 s")?;
        if claims.contains_key("nbf") && claims::seconds(&claims, "nbf").is_none_or(|nbf| nbf > now + MAX_SKEW) {
            return refuse("client_assertion: not yet valid");
        }
        let Some(jti) = claims::text(&claims, "jti").filter(|jti| (1..=MAX_JTI).contains(&jti.len())) else {
            return refuse("client_assertion: jti is missing or too long");
        };

        let mut state = self.state();
        let seen = (client_id, jti.to_owned());
        let is_fresh = state.assertions.get(now, &seen).is_none();
        require(Rule::AssertionReplay, is_fresh, "client_assertion: used before")?;
        state
            .assertions
            .insert(now, seen, exp.min(now + MAX_LIFETIME + MAX_SKEW), ())
            .map_err(|_| Refusal::unavailable("temporarily_unavailable", "too many assertions are remembered"))?;
        state.note_use(now, &client.client_id);
        Ok(client)
    }

    /// Checks the one DPoP proof of a request to `htu`. The nonce is looked at last: a proof refused for it was good
    /// otherwise, and nothing of the request has been spent but the assertion.
    pub(super) fn check_proof(&self, headers: &HeaderMap, htu: &Htu, client: &Client) -> Result<Thumbprint, Refusal> {
        let refuse = |why: String| Refusal::bad_request("invalid_dpop_proof", why);
        let mut values = headers.get_all(DPOP).iter();
        let (Some(proof), None) = (values.next(), values.next()) else {
            return Err(refuse("exactly one DPoP header is required".to_owned()));
        };
        let proof = proof.to_str().map_err(|_| refuse("the DPoP header is not ASCII".to_owned()))?;
        let now = self.clock.now();
        let nonces = self.state().nonces.accepted(now);
        let mut check = ProofCheck::new("POST", htu, now);
        if self.rules.enforced(Rule::ProofNonce) {
            check = check.nonces(&nonces);
        }
        if self.rules.enforced(Rule::ProofKey) {
            check = check.jkt(client.dpop_key.thumbprint());
        }
        let verified = check.verify(proof).map_err(|error| match error {
            VerifyError::NonceMissing | VerifyError::NonceMismatch => {
                Refusal::bad_request("use_dpop_nonce", "the DPoP proof needs the nonce of the DPoP-Nonce header")
            }
            error => refuse(error.to_string()),
        })?;
        match verified.spend(&self.proofs, now) {
            Err(ReplayError::Replayed) if !self.rules.enforced(Rule::ProofReplay) => {}
            Err(ReplayError::Replayed) => return Err(refuse("the DPoP proof was used before".to_owned())),
            Err(_) => return Err(Refusal::unavailable("temporarily_unavailable", "too many proofs are remembered")),
            Ok(()) => {}
        }
        Ok(verified.jkt().clone())
    }
}

/// Whether `verifier` is the preimage of an S256 `challenge` (RFC 7636 §4.6).
pub(super) fn fits_challenge(verifier: &str, challenge: &str) -> bool {
    let well_formed = (43..=128).contains(&verifier.len())
        && verifier.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~'));
    let computed = base64url::encode(&jose::sha256(verifier.as_bytes()));
    well_formed && constant_time_eq(computed.as_bytes(), challenge.as_bytes())
}

/// The `iss` of an assertion, to find the client whose key then has to verify it: RFC 7521 §4.2 lets `client_id` be left
/// out of the form.
fn unverified_issuer(assertion: &str) -> Option<String> {
    let payload = assertion.split('.').nth(1)?;
    let claims = json::parse_object(&base64url::decode(payload).ok()?).ok()?;
    claims::text(&claims, "iss").map(str::to_owned)
}

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const MAX_LIFETIME: i64 = 300;
const MAX_SKEW: i64 = 60;
const MAX_JTI: usize = 256;
