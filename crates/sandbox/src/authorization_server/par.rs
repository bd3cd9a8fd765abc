//! Pushed authorization requests (RFC 9126): the only way in.

use std::sync::Arc;

use axum::extract::{Request, State as Extract};
use axum::response::Response;
use http::HeaderMap;
use jose::{Alg, Thumbprint, UnixSeconds, base64url, random_token};
use serde::Serialize;
use url::{Host, Url};

use super::AuthorizationServer;
use super::authorization_details::MandateRequest;
use super::body::{created, read_form};
use super::client::Client;
use super::grant::Pushed;
use super::secret_hash::secret_hash;
use crate::config::ConsentMode;
use crate::error::Refusal;
use crate::form::Form;
use crate::rules::Rule;
use crate::scope::Scope;

/// `POST /oauth/par`.
pub(super) async fn par(Extract(server): Extract<Arc<AuthorizationServer>>, request: Request) -> Response {
    let pushed = match read_form(request).await {
        Ok((headers, form)) => server.push(&headers, &form),
        Err(refusal) => Err(refusal),
    };
    server.with_nonce(pushed)
}

impl AuthorizationServer {
    fn push(&self, headers: &HeaderMap, form: &Form) -> Result<Response, Refusal> {
        let client = self.authenticate(headers, form, &self.endpoints.par)?;
        let jkt = self.check_proof(headers, &self.par_htu, &client)?;
        let pushed = self.read_request(form, &client, jkt)?;

        let now = self.clock.now();
        let request_uri = format!("urn:ietf:params:oauth:request_uri:{}", random_token::<32>(self.rng.as_ref()));
        self.state()
            .pushed
            .insert(now, secret_hash(&request_uri), now + REMEMBERED_SECONDS, pushed)
            .map_err(|_| Refusal::unavailable("temporarily_unavailable", "too many requests are pending"))?;

        #[derive(Serialize)]
        struct Reply<'a> {
            request_uri: &'a str,
            expires_in: UnixSeconds,
        }
        Ok(created(&Reply { request_uri: &request_uri, expires_in: LIFETIME_SECONDS }))
    }

    /// Every parameter, in the order of RFC 6749 §4.1.1, then those of the extensions.
    fn read_request(&self, form: &Form, client: &Client, jkt: Thumbprint) -> Result<Pushed, Refusal> {
        let require =
            |rule, holds, why: &'static str| self.rules.require(rule, holds, || Refusal::invalid_request(why));
        let is_client = form.get("client_id") == Some(&client.client_id);
        require(Rule::ParClientId, is_client, "client_id must be there and be the authenticated client")?;
        // RFC 9126 §2.1: "the request_uri parameter [...] MUST NOT be provided"
        let nested = form.get("request_uri").is_some() || form.get("request").is_some();
        require(Rule::ParNoRequestUri, !nested, "request and request_uri do not belong here")?;
        let is_code = form.required("response_type")? == "code";
        if self.rules.enforced(Rule::ParResponseType) && !is_code {
            return Err(Refusal::bad_request("unsupported_response_type", "response_type must be code"));
        }
        if form.get("response_mode").is_some_and(|mode| mode != "query") {
            return Err(Refusal::invalid_request("response_mode must be query"));
        }
        let redirect_uri = form.required("redirect_uri")?;
        let registered = client.redirect_uris.iter().any(|uri| same_redirect_uri(uri, redirect_uri));
        require(Rule::ParRedirectUri, registered, "redirect_uri is not a registered one")?;

        let state = form.get("state").unwrap_or_default();
        require(
            Rule::ParState,
            (MIN_STATE..=MAX_STATE).contains(&state.len()),
            "state must have 16 to 512 characters",
        )?;
        // RFC 7636 §4.2; S256 gives 43 characters.
        let code_challenge = form.get("code_challenge").unwrap_or_default();
        let is_challenge = base64url::decode_array::<32>(code_challenge).is_ok();
        require(Rule::ParCodeChallenge, is_challenge, "code_challenge must be there and have 43 characters")?;
        let is_s256 = form.get("code_challenge_method") == Some("S256");
        require(Rule::ParCodeChallengeMethod, is_s256, "code_challenge_method must be S256")?;
        if let Some(dpop_jkt) = form.get("dpop_jkt")
            && dpop_jkt != jkt.as_str()
            && self.rules.enforced(Rule::ParDpopJkt)
        {
            return Err(Refusal::bad_request("invalid_dpop_proof", "dpop_jkt is not the key of the DPoP proof"));
        }
        let mut consent_mode = self.consent_mode;
        if let Some(hint) = form.get("consent_mode_hint") {
            let asked = ConsentMode::parse(hint);
            let offered = asked.is_some_and(|mode| self.consent_mode.on_offer().contains(&mode));
            consent_mode = asked.unwrap_or(consent_mode);
            require(Rule::ParConsentModeHint, offered, "consent_mode_hint asks for a mode that is not on offer")?;
        }

        let scope = form
            .get("scope")
            .and_then(Scope::parse)
            .filter(|scope| client.scope.covers(scope) || !self.rules.enforced(Rule::ParScope));
        let scope = scope.ok_or_else(|| {
            Refusal::bad_request("invalid_scope", "scope is missing, malformed or outside the registration")
        })?;
        let resource = form.get("resource").unwrap_or_default();
        let is_merchant = self.is_merchant(resource);
        let known = is_merchant || resource == self.issuer();
        self.rules.require(Rule::ParResource, known, || {
            Refusal::bad_request("invalid_target", "resource must be the origin of a known merchant, or this server's")
        })?;
        self.rules.require(Rule::ParPaymentScope, scope.permits_payment() == is_merchant, || {
            Refusal::bad_request("invalid_scope", "a payment scope belongs to a merchant's resource, and to it alone")
        })?;
        let details = form.get("authorization_details");
        let mandate = self.read_details(details, resource, is_merchant, client)?;
        Ok(Pushed {
            client_id: client.client_id.clone(),
            redirect_uri: redirect_uri.to_owned(),
            state: state.to_owned(),
            code_challenge: code_challenge.to_owned(),
            scope,
            resource: resource.to_owned(),
            mandate,
            consent_mode,
            dpop_jkt: jkt,
            expires_at: self.clock.now() + LIFETIME_SECONDS,
            used: false,
        })
    }

    fn read_details(
        &self,
        details: Option<&str>,
        resource: &str,
        is_merchant: bool,
        client: &Client,
    ) -> Result<Option<MandateRequest>, Refusal> {
        let refuse = |why: &'static str| Refusal::bad_request("invalid_authorization_details", why);
        self.rules.require(Rule::ParDetailsFitResource, details.is_some() == is_merchant, || {
            refuse("authorization_details belong to a merchant's resource, and a merchant's resource needs them")
        })?;
        let Some(details) = details else { return Ok(None) };
        self.rules.require(Rule::ParDetailsRegistered, client.may_send_details, || {
            refuse("the client is not registered for oid4ac_mandate")
        })?;
        // The KB-JWT of a payment is EdDSA only, and it is made with this key.
        self.rules.require(Rule::ParPaymentKey, client.dpop_key.alg() == Alg::EdDsa, || {
            Refusal::bad_request("unauthorized_client", "a client that pays needs an Ed25519 DPoP key")
        })?;
        MandateRequest::parse(details, resource, &self.rules).map(Some)
    }
}

/// Whether a request's redirect URI is a registered one: equal, or, on a loopback address, equal but for the port, which
/// the operating system gives a native app a new one each time (RFC 8252 §7.3).
fn same_redirect_uri(registered: &str, asked: &str) -> bool {
    if registered == asked {
        return true;
    }
    let (Ok(mut registered), Ok(mut asked)) = (Url::parse(registered), Url::parse(asked)) else { return false };
    let is_loopback = |uri: &Url| match uri.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        _ => false,
    };
    registered.scheme() == "http"
        && is_loopback(&registered)
        && registered.set_port(None).is_ok()
        && asked.set_port(None).is_ok()
        && registered == asked
}

const LIFETIME_SECONDS: UnixSeconds = 60;
/// How long an expired request URI is distinguished from an unknown one.
const REMEMBERED_SECONDS: UnixSeconds = 600;
const MIN_STATE: usize = 16;
const MAX_STATE: usize = 512;

#[cfg(test)]
mod tests {
    use super::same_redirect_uri;

    #[test]
    fn ignores_the_port_on_a_loopback_address_and_nowhere_else() {
        let same = [("http://127.0.0.1/cb", "http://127.0.0.1:49152/cb"), ("http://[::1]:1/cb", "http://[::1]:2/cb")];
        for (registered, asked) in same {
            assert!(same_redirect_uri(registered, asked), "{registered} {asked}");
        }
        let different = [
            ("http://127.0.0.1/cb", "http://127.0.0.1:1/other"),
            ("http://127.0.0.1/cb", "https://127.0.0.1:1/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.2:1/cb"),
            ("https://a.example/cb", "https://a.example:444/cb"),
            ("http://localhost/cb", "http://localhost:1/cb"),
        ];
        for (registered, asked) in different {
            assert!(!same_redirect_uri(registered, asked), "{registered} {asked}");
        }
    }
}
