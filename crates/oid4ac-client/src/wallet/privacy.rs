//! Requests for the principal's data (GDPR Articles 15 and 20), and whose token they are made with.

use bytes::Bytes;
use dpop::Minter;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use jose::json;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{GivenToken, Granted, PrincipalToken, PrincipalTokenError, WalletScope, clean_values, judge, parse};
use crate::agent::Agent;
use crate::metadata::document::Metadata;
use crate::nonce::Role;
use crate::secret::AccessToken;
use crate::send::{Answer, Call};
use crate::{Artefact, Client, Endpoint, Error, Limits, Misbehaviour, Misuse, Stage, Why, untrusted};

/// Which right is exercised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the contract has these two")]
pub enum DsarRight {
    /// Article 15: a copy by mail, later.
    Access,
    /// Article 20: the data as JSON, at once.
    Portability,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum DsarAnswer {
    /// Access: it will be sent.
    Queued(QueuedDsar),
    /// Portability: the data. Its texts may be the principal's or a stranger's.
    Data(Map<String, Value>),
}

/// A request for access that was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QueuedDsar {
    /// The server's name for the request.
    pub request_id: String,
    /// `queued`.
    pub status: String,
    /// `access`.
    pub right: String,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_delivery: Option<String>,
    /// `email`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery_channel: Option<String>,
}

impl QueuedDsar {
    /// Refuses a request that cannot be named, and drops members that are malformed.
    fn checked(mut self) -> Result<Self, Error> {
        let members = [("request_id", &self.request_id), ("status", &self.status), ("right", &self.right)];
        if let Some((name, _)) = members.into_iter().find(|(_, text)| !untrusted::is_identifier(text)) {
            return Err(Misbehaviour::new(Artefact::WalletAnswer, Why::Member(name)).into());
        }
        self.estimated_delivery = self.estimated_delivery.filter(|text| untrusted::is_time(text));
        self.delivery_channel = self.delivery_channel.filter(|text| untrusted::code(text).is_some());
        Ok(self)
    }
}

/// How a given token goes out.
enum Scheme {
    Dpop,
    Bearer,
}

impl Client {
    /// Asks for the principal's data. `delivery_preference` (`email`, `synchronous_json`) is passed on and changes nothing:
    /// the right decides the form.
    ///
    /// # Errors
    ///
    /// - [`Error::Server`] with stage [`Stage::Dsar`]: 401 `invalid_token`, 429 `rate_limited`, ….
    /// - [`Misuse::PrincipalToken`] for a given token that may not be sent.
    /// - [`Error::Misuse`] if the agent is not registered.
    pub async fn dsar(
        &self,
        right: DsarRight,
        delivery_preference: &str,
        token: &PrincipalToken,
    ) -> Result<Granted<DsarAnswer>, Error> {
        let right_name = match right {
            DsarRight::Access => "access",
            DsarRight::Portability => "portability",
        };
        let body = serde_json::json!({ "right": right_name, "delivery_preference": delivery_preference });
        let metadata = self.metadata().await?;
        let endpoint = &metadata.dsar_endpoint;
        let body = Bytes::from(body.to_string());
        let scope = WalletScope::PrivacyDsar;
        let answer = self.call_as_principal(Stage::Dsar, &metadata, endpoint, Some(body), token, scope).await?;
        answer.try_map(|answer| {
            let mut data: Value = answer.json(Artefact::WalletAnswer)?;
            clean_values(&mut data);
            match (right, data) {
                (DsarRight::Portability, Value::Object(data)) => Ok(DsarAnswer::Data(data)),
                (_, data) => parse(data).and_then(QueuedDsar::checked).map(DsarAnswer::Queued),
            }
        })
    }

    /// One call with the principal's token, given or of a wallet session.
    pub(super) async fn call_as_principal(
        &self,
        stage: Stage,
        metadata: &Metadata,
        endpoint: &Endpoint,
        body: Option<Bytes>,
        token: &PrincipalToken,
        scope: WalletScope,
    ) -> Result<Granted<Answer>, Error> {
        match token {
            PrincipalToken::Given(given) => {
                let agent = self.agent()?;
                let scheme = self.check_given(&agent, given).map_err(Misuse::from)?;
                let call = principal_call(stage, endpoint, body).limits(Limits::LARGE);
                let answer = self.send_given(call, metadata.minter(&agent), given, scheme).await?;
                judge(answer, scope)
            }
            PrincipalToken::WalletSession { redirect_uri } => {
                let call = || principal_call(stage, endpoint, body.clone());
                self.with_session(scope, Some(redirect_uri), metadata, call).await
            }
            PrincipalToken::KeptSession => {
                let call = || principal_call(stage, endpoint, body.clone());
                self.with_session(scope, None, metadata, call).await
            }
        }
    }

    async fn send_given(
        &self,
        call: Call<'_>,
        minter: &Minter,
        given: &GivenToken,
        scheme: Scheme,
    ) -> Result<Answer, Error> {
        match scheme {
            Scheme::Dpop => {
                let token = AccessToken::new(given.0.expose());
                self.send(call.proof(minter).token(&token)).await
            }
            Scheme::Bearer => {
                let mut value = HeaderValue::from_str(&format!("Bearer {}", given.0.expose()))
                    .map_err(|_| Misuse::from(PrincipalTokenError::Malformed))?;
                value.set_sensitive(true);
                self.send(call.header(AUTHORIZATION, value)).await
            }
        }
    }

    /// What a JWT says of itself is read only to keep it from being sent where it does not belong.
    fn check_given(&self, agent: &Agent, given: &GivenToken) -> Result<Scheme, PrincipalTokenError> {
        let Some(claims) = jwt_claims(given.0.expose()) else { return Ok(Scheme::Bearer) };
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        if text("iss") != Some(self.issuer()) {
            return Err(PrincipalTokenError::Issuer);
        }
        if text("aud") != Some(self.inner.issuer.origin().as_str()) {
            return Err(PrincipalTokenError::Audience);
        }
        if claims.get("exp").and_then(Value::as_i64).is_none_or(|exp| exp <= self.now()) {
            return Err(PrincipalTokenError::Expired);
        }
        if text("sub") == Some(agent.client_id.as_str()) {
            return Err(PrincipalTokenError::AgentOnly);
        }
        match claims.get("cnf").map(|cnf| cnf.get("jkt").and_then(Value::as_str)) {
            None => Ok(Scheme::Bearer),
            Some(Some(jkt)) if jkt == agent.minter.jkt().as_str() => Ok(Scheme::Dpop),
            Some(_) => Err(PrincipalTokenError::OtherKey),
        }
    }
}

fn principal_call(stage: Stage, endpoint: &Endpoint, body: Option<Bytes>) -> Call<'_> {
    match body {
        Some(body) => Call::post(stage, endpoint, Role::ResourceServer).json(body),
        None => Call::get(stage, endpoint),
    }
}

/// The claims of a token that has a JWT's form.
fn jwt_claims(token: &str) -> Option<Map<String, Value>> {
    let mut parts = token.split('.');
    let (header, payload, _signature) = (parts.next()?, parts.next()?, parts.next()?);
    let object = |part| json::parse_object(&jose::base64url::decode(part).ok()?).ok();
    object(header).filter(|_| parts.next().is_none())?;
    object(payload)
}
