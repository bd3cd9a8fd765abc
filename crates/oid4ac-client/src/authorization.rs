//! From pushed authorization request to authorization code (RFC 9126, RFC 9396, RFC 7636, RFC 9207).

pub(crate) mod status;

use http::StatusCode;
use http::header::LOCATION;
use jose::{base64url, random_token, sha256};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::agent::Agent;
use crate::lenient;
use crate::loopback::uri::LoopbackUri;
use crate::metadata::MANDATE_TYPE;
use crate::metadata::document::Metadata;
use crate::nonce::Role;
use crate::secret::{Code, CodeVerifier, SecretText, State};
use crate::send::{Answer, Call};
use crate::store::PendingAuthorization;
use crate::{
    Artefact, CheckedOffers, Client, Consent, Endpoint, Error, LineItem, Misbehaviour, Misuse, NotIssued, Order,
    ServerError, Stage, Why, untrusted,
};

use self::status::{Authorization, Grant, IssWanted, Pushed, Shown};

/// What an authorization is asked for. It may have to outlive the call, until a person opens a page.
pub(crate) struct AuthorizationRequest {
    /// Under which the store keeps what a consent waits with.
    pub(crate) key: String,
    pub(crate) scope: String,
    pub(crate) resource: String,
    pub(crate) redirect_uri: String,
    pub(crate) consent_mode_hint: Option<String>,
    /// `authorization_details` as JSON, for a payment.
    pub(crate) details: Option<String>,
}

impl AuthorizationRequest {
    /// For a payment.
    pub(crate) fn payment(order: &Order, offers: &CheckedOffers) -> Result<Self, Error> {
        let details = serde_json::to_string(&[Details::of(order, offers)])
            .map_err(|_| Misbehaviour::new(Artefact::PushedRequest, Why::Member("authorization_details")))?;
        Ok(Self {
            key: order.idempotency_key().as_str().to_owned(),
            scope: order.scope().to_owned(),
            resource: order.merchant().as_str().to_owned(),
            redirect_uri: order.redirect_uri().to_owned(),
            consent_mode_hint: order.consent_mode_hint().map(str::to_owned),
            details: Some(details),
        })
    }
}

impl Client {
    /// Refuses, before anything is sent, a consent mode that the server does not have, and a redirect URI at which the
    /// answer of a server that knows none could not be received.
    pub(crate) fn check_can_ask(metadata: &Metadata, hint: Option<&str>, redirect_uri: &str) -> Result<(), Misuse> {
        let modes = metadata.consent_modes.as_deref();
        if let Some(hint) = hint.filter(|hint| !modes.unwrap_or_default().iter().any(|mode| mode == hint)) {
            return Err(Misuse::ConsentMode(hint.to_owned()));
        }
        match modes.is_some() || LoopbackUri::parse(redirect_uri).is_some() {
            true => Ok(()),
            false => Err(Misuse::RedirectUriNotLoopback),
        }
    }

    /// Goes on with the authorization that was begun under this key, if one was: by this process or, where the server
    /// knows consent modes, by any.
    pub(crate) async fn go_on(
        &self,
        agent: &Agent,
        metadata: &Metadata,
        key: &str,
    ) -> Result<Option<Authorization>, Error> {
        match self.inner.store.pending(key)? {
            Some(pending) => self.poll(agent, metadata, pending).await.map(Some),
            None => self.loopback_answer(key).transpose(),
        }
    }

    /// Begins an authorization: pushes the request and asks the authorization endpoint, once. At a server that knows no
    /// consent modes the person's browser does so, when they open the page.
    pub(crate) async fn authorize(
        &self,
        agent: &Agent,
        metadata: &Metadata,
        request: AuthorizationRequest,
    ) -> Result<Authorization, Error> {
        if metadata.consent_modes.is_none() {
            return self.listen(request).await.map(Authorization::Pending);
        }
        let Pushed { endpoint, state, verifier } = self.push(agent, metadata, &request).await?;
        let answer = self.send(Call::get(Stage::Authorize, &endpoint).role(Role::AuthorizationServer)).await?;
        if !matches!(answer.status(), StatusCode::FOUND | StatusCode::SEE_OTHER) {
            return Err(answer.server_error().into());
        }
        let location = answer.header(LOCATION.as_str()).ok_or_else(|| refused(Why::Member("location")))?;
        match redirected_to(location, &request.redirect_uri) {
            Some(response) => self.read_response(response, IssWanted::Always, &state, verifier, &request.redirect_uri),
            None => self.begin_consent(&answer, location, request, state, verifier),
        }
    }

    /// Pushes the request, with a `state` and a verifier of its own.
    pub(crate) async fn push(
        &self,
        agent: &Agent,
        metadata: &Metadata,
        request: &AuthorizationRequest,
    ) -> Result<Pushed, Error> {
        let rng = self.inner.rng.as_ref();
        let state = State::new(random_token::<16>(rng));
        // RFC 7636 §4.1: 32 random octets make 43 characters.
        let verifier = CodeVerifier::new(random_token::<32>(rng));
        let challenge = base64url::encode(&sha256(verifier.expose().as_bytes()));
        let mut fields = vec![
            ("response_type", "code"),
            ("scope", &request.scope),
            ("state", state.expose()),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("redirect_uri", &request.redirect_uri),
            ("resource", &request.resource),
            ("dpop_jkt", agent.minter.jkt().as_str()),
        ];
        fields.extend(request.details.as_deref().map(|details| ("authorization_details", details)));
        fields.extend(request.consent_mode_hint.as_deref().map(|hint| ("consent_mode_hint", hint)));
        let answer = self.send_form(Stage::Par, &metadata.par_endpoint, agent, metadata, &fields).await?;
        if answer.status() != StatusCode::CREATED {
            return Err(answer.server_error().into());
        }
        let pushed: PushedReply = answer.json(Artefact::PushedRequest)?;
        if pushed.request_uri.is_empty() || pushed.request_uri.len() > MAX_REQUEST_URI {
            return Err(Misbehaviour::new(Artefact::PushedRequest, Why::Member("request_uri")).into());
        }
        let mut url = metadata.authorization_endpoint.url().clone();
        url.query_pairs_mut()
            .append_pair("client_id", &agent.client_id)
            .append_pair("request_uri", &pushed.request_uri);
        let endpoint = Endpoint::parse(url.as_str()).map_err(|_| refused(Why::Member("authorization_endpoint")))?;
        Ok(Pushed { endpoint, state, verifier })
    }

    /// RFC 6749 §4.1.2, RFC 9207 §2.4: `state` and `iss` are checked before code or error is looked at.
    pub(crate) fn read_response(
        &self,
        response: Response,
        iss_wanted: IssWanted,
        state: &State,
        verifier: CodeVerifier,
        redirect_uri: &str,
    ) -> Result<Authorization, Error> {
        check_state(response.state.as_ref(), state)?;
        if iss_wanted == IssWanted::Always || response.iss.is_some() {
            self.check_iss(response.iss.as_deref())?;
        }
        match (response.code, response.error.as_deref()) {
            (Some(code), None) => {
                let redirect_uri = redirect_uri.to_owned();
                Ok(Authorization::Granted(Grant { code, verifier, redirect_uri, shown: Shown::No }))
            }
            (None, Some("access_denied")) => Ok(Authorization::Declined(NotIssued::ByServer)),
            (None, Some(error)) => {
                Err(ServerError::new(Stage::Authorize, 302, Some(error), response.error_description.as_deref()).into())
            }
            _ => Err(refused(Why::Member("code")).into()),
        }
    }

    fn check_iss(&self, iss: Option<&str>) -> Result<(), Misbehaviour> {
        match iss == Some(self.issuer()) {
            true => Ok(()),
            false => Err(refused(Why::Mismatch("iss"))),
        }
    }

    /// The redirect leads to a consent page: keeps what redeeming takes, and hands the page on.
    fn begin_consent(
        &self,
        answer: &Answer,
        location: &str,
        request: AuthorizationRequest,
        state: State,
        verifier: CodeVerifier,
    ) -> Result<Authorization, Error> {
        let reply: ConsentReply = answer.json(Artefact::AuthorizationResponse)?;
        let page = untrusted::url(&reply.consent_url).ok_or_else(|| refused(Why::Member("consent_url")))?;
        let issuer = self.inner.issuer.origin();
        if page.origin() != issuer && self.inner.portal.as_ref() != Some(page.origin()) {
            return Err(refused(Why::Origin("consent_url")).into());
        }
        if reply.consent_url != location {
            return Err(refused(Why::Mismatch("consent_url")).into());
        }
        let poll = Endpoint::parse(&reply.poll_uri).map_err(|_| refused(Why::Member("poll_uri")))?;
        if poll.origin() != issuer {
            return Err(refused(Why::Origin("poll_uri")).into());
        }
        let consent = Consent {
            url: reply.consent_url,
            mode: MODES.iter().find(|mode| **mode == reply.consent_mode).map_or("other", |mode| mode).to_owned(),
            expires_at: self.now() + reply.expires_in.clamp(1, MAX_CONSENT_SECONDS),
            interval_seconds: interval_seconds(reply.interval.unwrap_or(DEFAULT_INTERVAL_SECONDS)),
        };
        let pending = PendingAuthorization {
            state,
            verifier,
            redirect_uri: request.redirect_uri,
            poll_uri: SecretText::new(reply.poll_uri),
            consent: consent.clone(),
        };
        self.inner.store.set_pending(&request.key, Some(&pending))?;
        Ok(Authorization::Pending(consent))
    }

    /// Asks once whether the human has decided.
    async fn poll(
        &self,
        agent: &Agent,
        metadata: &Metadata,
        pending: PendingAuthorization,
    ) -> Result<Authorization, Error> {
        let poll = Endpoint::parse(pending.poll_uri.expose()).map_err(|_| refused(Why::Member("poll_uri")))?;
        let call = Call::get(Stage::Poll, &poll).role(Role::AuthorizationServer).proof(metadata.minter(agent));
        let answer = self.send(call).await?;
        let consent = pending.consent.clone();
        let too_fast = answer.status() == StatusCode::TOO_MANY_REQUESTS;
        if too_fast {
            // RFC 8628 §3.5.
            let interval_seconds = (consent.interval_seconds + 5).min(MAX_INTERVAL_SECONDS);
            return Ok(Authorization::Pending(Consent { interval_seconds, ..consent }));
        }
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(Authorization::Expired);
        }
        if answer.status() != StatusCode::OK {
            return Err(answer.server_error().into());
        }
        match answer.json(Artefact::AuthorizationResponse)? {
            PollReply::Pending { .. } if self.now() >= consent.expires_at => Ok(Authorization::Expired),
            PollReply::Pending { interval } => {
                let interval = interval.map_or(consent.interval_seconds, interval_seconds);
                Ok(Authorization::Pending(Consent { interval_seconds: interval, ..consent }))
            }
            PollReply::Approved { code, state, iss } => {
                check_state(Some(&State::new(state)), &pending.state)?;
                self.check_iss(Some(&iss))?;
                let PendingAuthorization { verifier, redirect_uri, .. } = pending;
                Ok(Authorization::Granted(Grant { code: Code::new(code), verifier, redirect_uri, shown: Shown::Yes }))
            }
            PollReply::Declined => Ok(Authorization::Declined(NotIssued::ByPerson)),
            PollReply::Expired => Ok(Authorization::Expired),
        }
    }
}

/// One element of `authorization_details` (RFC 9396 §2).
#[derive(Serialize)]
struct Details<'a> {
    #[serde(rename = "type")]
    typ: &'static str,
    amount_minor: u64,
    currency: &'static str,
    merchant: &'a str,
    line_items: &'a [LineItem],
    #[serde(skip_serializing_if = "Option::is_none")]
    offer_digest: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offer_id: Option<&'a str>,
}

impl<'a> Details<'a> {
    fn of(order: &'a Order, offers: &'a CheckedOffers) -> Self {
        Self {
            typ: MANDATE_TYPE,
            amount_minor: order.amount().amount_minor(),
            currency: order.amount().currency().code(),
            merchant: order.merchant().as_str(),
            line_items: order.line_items(),
            offer_digest: offers.digest.as_deref(),
            offer_id: order.offer_id(),
        }
    }
}

#[derive(Deserialize)]
struct PushedReply {
    request_uri: String,
}

#[derive(Deserialize)]
struct ConsentReply {
    consent_url: String,
    consent_mode: String,
    poll_uri: String,
    #[serde(default, deserialize_with = "lenient::seconds")]
    interval: Option<i64>,
    #[serde(deserialize_with = "lenient::needed_seconds")]
    expires_in: i64,
}

#[derive(Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
enum PollReply {
    Pending {
        #[serde(default, deserialize_with = "lenient::seconds")]
        interval: Option<i64>,
    },
    Approved {
        code: String,
        state: String,
        iss: String,
    },
    Declined,
    Expired,
}

/// The query of an authorization response.
#[derive(Default)]
pub(crate) struct Response {
    code: Option<Code>,
    pub(crate) state: Option<State>,
    iss: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
}

impl Response {
    pub(crate) fn parse(query: &str) -> Self {
        let mut response = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let value = value.into_owned();
            // RFC 6749 §3.1: a parameter must not stand there twice, so neither counts.
            let again = match name.as_ref() {
                "code" => response.code.replace(Code::new(value)).is_some(),
                "state" => response.state.replace(State::new(value)).is_some(),
                "iss" => response.iss.replace(value).is_some(),
                "error" => response.error.replace(value).is_some(),
                "error_description" => response.error_description.replace(value).is_some(),
                _ => false,
            };
            if again {
                return Self::default();
            }
        }
        response
    }
}

/// Reads `location` as an authorization response, if it is the redirect URI with more in its query.
fn redirected_to(location: &str, redirect_uri: &str) -> Option<Response> {
    let rest = location.strip_prefix(redirect_uri)?;
    let query = rest.strip_prefix('?').or_else(|| rest.strip_prefix('&').filter(|_| redirect_uri.contains('?')))?;
    Url::parse(location).ok()?;
    query.split('#').next().map(Response::parse)
}

fn check_state(state: Option<&State>, expected: &State) -> Result<(), Misbehaviour> {
    match state == Some(expected) {
        true => Ok(()),
        false => Err(refused(Why::Mismatch("state"))),
    }
}

fn refused(why: Why) -> Misbehaviour {
    Misbehaviour::new(Artefact::AuthorizationResponse, why)
}

/// The ways of asking that there are.
const MODES: [&str; 3] = ["auto", "dashboard", "scan"];
const MAX_REQUEST_URI: usize = 2048;
const MAX_CONSENT_SECONDS: i64 = 3600;
/// A pause between polls that a person does not notice and a server can bear.
fn interval_seconds(asked: i64) -> u64 {
    u64::try_from(asked).unwrap_or(1).clamp(1, MAX_INTERVAL_SECONDS)
}

/// RFC 8628 §3.2.
const DEFAULT_INTERVAL_SECONDS: i64 = 5;
const MAX_INTERVAL_SECONDS: u64 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_response_only_from_the_redirect_uri_itself() {
        let read = |location| redirected_to(location, "https://a.example/cb").and_then(|r| r.code);
        assert_eq!(read("https://a.example/cb?code=c&state=s"), Some(Code::new("c")));
        for other in ["https://a.example/cbx?code=c", "https://a.example/cb/x?code=c", "https://b.example/cb?code=c"] {
            assert!(read(other).is_none(), "{other}");
        }
        assert_eq!(read("https://a.example/cb?code=c&code=d"), None);
        let with_query = redirected_to("https://a.example/cb?x=1&code=c", "https://a.example/cb?x=1");
        assert_eq!(with_query.and_then(|r| r.code), Some(Code::new("c")));
    }
}
