//! The authorization endpoint (RFC 6749 §4.1, RFC 9126 §4, RFC 9207) and who decides.

use std::sync::Arc;

use axum::extract::{RawQuery, State as Extract};
use axum::response::{IntoResponse as _, Response};
use http::header::{CACHE_CONTROL, LOCATION, REFERRER_POLICY};
use http::{HeaderValue, StatusCode};
use jose::{UnixSeconds, random_token};
use url::Url;

use super::AuthorizationServer;
use super::client::Client;
use super::grant::{Code, Family, Grant, Pushed, Subject};
use super::portal::html::refusal_page;
use super::secret_hash::secret_hash;
use super::state::State;
use crate::config::ConsentMode;
use crate::error::{NO_STORE, Refusal};
use crate::form::Form;
use crate::rules::Rule;

/// `GET /oauth/authorize?client_id&request_uri`.
pub(super) async fn authorize(
    Extract(server): Extract<Arc<AuthorizationServer>>,
    RawQuery(query): RawQuery,
) -> Response {
    match server.take_pushed(query.as_deref()) {
        // RFC 6749 §4.1.2.1: without a client and a redirect URI that belong together there is no redirect.
        Err(refusal) => refusal_page(&refusal),
        Ok((client, pushed)) if server.asks_the_principal(&pushed) => {
            server.begin_consent(client, pushed).unwrap_or_else(|refusal| refusal_page(&refusal))
        }
        Ok((client, pushed)) => {
            let outcome = match server.decide(&client, &pushed) {
                Decision::Granted(grant) => server.issue_code(&pushed, grant).map(|code| ("code", code)),
                Decision::Declined => Ok(("error", "access_denied".to_owned())),
            };
            outcome
                .and_then(|(name, value)| server.redirect(&pushed, name, &value))
                .unwrap_or_else(|e| refusal_page(&e))
        }
    }
}

/// How a request is answered.
enum Decision {
    /// The principal approved, now or in advance; or there was nothing to approve.
    Granted(Arc<Grant>),
    /// The principal did not approve.
    Declined,
}

impl AuthorizationServer {
    /// Finds the pushed request and uses its request URI up (RFC 9126 §4).
    fn take_pushed(&self, query: Option<&str>) -> Result<(Arc<Client>, Pushed), Refusal> {
        let form = Form::from_query(query)?;
        let client_id = form.required("client_id")?;
        let request_uri = form.required("request_uri")?;
        let now = self.clock.now();
        let mut state = self.state();
        let client = state.client(client_id);
        let client = client.ok_or_else(|| Refusal::invalid_request("the client is unknown or was revoked"))?;
        let pushed = state
            .pushed
            .get_mut(now, &secret_hash(request_uri))
            .ok_or_else(|| Refusal::invalid_request("request_uri is unknown"))?;
        let require =
            |rule, holds, why: &'static str| self.rules.require(rule, holds, || Refusal::invalid_request(why));
        // Another client's attempt does not use it up.
        require(Rule::RequestUriClient, pushed.client_id == client_id, "request_uri belongs to another client")?;
        require(Rule::RequestUriExpiry, now < pushed.expires_at, "request_uri has expired")?;
        require(Rule::RequestUriOnce, !pushed.used, "request_uri was used before")?;
        pushed.used = true;
        Ok((client, pushed.clone()))
    }

    /// Decides in mode `auto`: under a standing approval that the principal gave for this agent, this merchant and at
    /// least this amount, or not at all.
    fn decide(&self, client: &Client, pushed: &Pushed) -> Decision {
        let subject = match pushed.scope.is_agent_only() {
            true => Subject::Agent,
            false => Subject::Principal(client.principal_id.clone()),
        };
        let approved = match &pushed.mandate {
            Some(mandate) => self.standing_approval.covers(mandate.amount_minor),
            None => true,
        };
        if !approved && self.rules.enforced(Rule::StandingApproval) {
            return Decision::Declined;
        }
        // The standing approval was given when the sandbox started.
        Decision::Granted(Self::grant(pushed, subject, self.started_at))
    }

    /// Whether a person decides on a page: not where there is nothing to decide, which is what `openid` alone asks for.
    fn asks_the_principal(&self, pushed: &Pushed) -> bool {
        pushed.consent_mode != ConsentMode::Auto && !pushed.scope.is_agent_only()
    }

    /// What was asked for, granted.
    pub(super) fn grant(pushed: &Pushed, subject: Subject, auth_time: UnixSeconds) -> Arc<Grant> {
        Arc::new(Grant {
            client_id: pushed.client_id.clone(),
            subject,
            scope: pushed.scope.clone(),
            resource: pushed.resource.clone(),
            mandate: pushed.mandate.clone(),
            dpop_jkt: pushed.dpop_jkt.clone(),
            auth_time,
        })
    }

    fn issue_code(&self, pushed: &Pushed, grant: Arc<Grant>) -> Result<String, Refusal> {
        self.issue_code_in(&mut self.state(), pushed, grant)
    }

    pub(super) fn issue_code_in(
        &self,
        state: &mut State,
        pushed: &Pushed,
        grant: Arc<Grant>,
    ) -> Result<String, Refusal> {
        let now = self.clock.now();
        let code = random_token::<32>(self.rng.as_ref());
        let entry = Code {
            grant,
            redirect_uri: pushed.redirect_uri.clone(),
            code_challenge: pushed.code_challenge.clone(),
            expires_at: now + Code::LIFETIME_SECONDS,
            redeemed_as: None,
        };
        // Kept as long as anything that grows out of it: a second use revokes that.
        state
            .codes
            .insert(now, secret_hash(&code), now + Family::LIFETIME_SECONDS, entry)
            .map_err(|_| Refusal::unavailable("temporarily_unavailable", "too many codes are remembered"))?;
        Ok(code)
    }

    /// 302 to the redirect URI with `name=value`, `state` and `iss` (RFC 9207 §2, in errors too).
    fn redirect(&self, pushed: &Pushed, name: &str, value: &str) -> Result<Response, Refusal> {
        let mut location = Url::parse(&pushed.redirect_uri).map_err(|_| Refusal::server_error())?;
        location
            .query_pairs_mut()
            .append_pair(name, value)
            .append_pair("state", &pushed.state)
            .append_pair("iss", self.issuer());
        let location = HeaderValue::from_str(location.as_str()).map_err(|_| Refusal::server_error())?;
        let headers = [
            (LOCATION, location),
            (CACHE_CONTROL, NO_STORE),
            (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        ];
        Ok((StatusCode::FOUND, headers).into_response())
    }
}
