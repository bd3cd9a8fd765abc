//! Wallet sessions: tokens that the principal grants for their own data, and the calls that need one.

mod audit;
mod canonical;
mod outcome;
mod principal_token;
mod privacy;
mod session;

use http::StatusCode;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use crate::metadata::document::Metadata;
use crate::nonce::Role;
use crate::secret::SecretText;
use crate::send::{Answer, Call};
use crate::untrusted::{self, clean};
use crate::{Artefact, Client, Consent, Endpoint, Error, Limits, Misbehaviour, Misuse, Stage, Why};

pub use audit::{
    AuditCursor, AuditEntry, AuditPage, AuditQuery, ChainReport, Disputes, HeadVerdict, LeftOut, PaymentRow,
    PaymentStatus, Payments, PaymentsQuery,
};
pub use outcome::{MandateOutcome, PresentedTerms, Undecided};
pub use principal_token::PrincipalTokenError;
pub use privacy::{DsarAnswer, DsarRight, QueuedDsar};
pub use session::LoggedOut;

/// What came of a call that the principal has to allow.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Granted<T> {
    /// It was carried out.
    Done(T),
    /// The principal has to decide. Show them the URL, then make the same call again.
    Consent(Consent),
    /// The scope is not granted: not registered, declined, or refused by the server.
    InsufficientScope(WalletScope),
    /// Nobody decided in time.
    ConsentExpired,
}

impl<T> Granted<T> {
    /// What was done, else what stands in the way, as an answer about something else.
    fn done<U>(self) -> Result<T, Granted<U>> {
        match self {
            Self::Done(done) => Ok(done),
            Self::Consent(consent) => Err(Granted::Consent(consent)),
            Self::InsufficientScope(scope) => Err(Granted::InsufficientScope(scope)),
            Self::ConsentExpired => Err(Granted::ConsentExpired),
        }
    }

    fn try_map<U>(self, map: impl FnOnce(T) -> Result<U, Error>) -> Result<Granted<U>, Error> {
        match self.done() {
            Ok(done) => map(done).map(Granted::Done),
            Err(other) => Ok(other),
        }
    }
}

/// A permission on the principal's own data at the authorization server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WalletScope {
    /// `wallet:read`: list the principal's agents.
    WalletRead,
    /// `wallet:write`: revoke one of them.
    WalletWrite,
    /// `audit:read`: read the principal's audit chain.
    AuditRead,
    /// `privacy:dsar`: ask for the principal's data.
    PrivacyDsar,
}

impl WalletScope {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::WalletRead, Self::WalletWrite, Self::AuditRead, Self::PrivacyDsar];

    /// The scope value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WalletRead => "wallet:read",
            Self::WalletWrite => "wallet:write",
            Self::AuditRead => "audit:read",
            Self::PrivacyDsar => "privacy:dsar",
        }
    }

    /// Whether a token for it is kept and refreshed. One that can change something, or asks for everything, is not.
    fn is_kept(self) -> bool {
        matches!(self, Self::WalletRead | Self::AuditRead)
    }
}

impl core::fmt::Display for WalletScope {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// By whose token a call on the principal's data is made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PrincipalToken {
    /// A token that the caller was given. It is sent to the configured authorization server only.
    Given(GivenToken),
    /// The client asks for one itself, with this registered redirect URI.
    WalletSession {
        /// The redirect URI.
        redirect_uri: String,
    },
    /// The client's own, if it is kept and still good or can be refreshed. The principal is not asked for another:
    /// [`Granted::InsufficientScope`] is the answer then.
    KeptSession,
}

impl PrincipalToken {
    /// A token that the caller was given.
    #[must_use]
    pub fn given(token: impl Into<String>) -> Self {
        Self::Given(GivenToken(SecretText::new(token.into())))
    }
}

/// The text of a token that the caller was given.
#[derive(Clone, Debug)]
pub struct GivenToken(SecretText);

/// The principal's agents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WalletAgents {
    /// In the server's order.
    pub agents: Vec<WalletAgent>,
    /// How many more there are whose `client_id` is no identifier, so that nothing can be done with them here.
    #[serde(default, skip_serializing_if = "is_none")]
    pub agents_omitted: usize,
}

/// One of the principal's agents. `client_name` and `purpose` are strangers' texts, cut to 200 characters and without any
/// that deceive the eye; a time that is none is left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WalletAgent {
    /// The client identifier.
    pub client_id: String,
    /// The name it registered with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_name: Option<String>,
    /// The purpose it registered with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registered_at: Option<String>,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<String>,
    /// The scope registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// `active`, `revoked`, ….
    pub status: String,
}

/// An agent that was revoked, and what went with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AgentRevocation {
    /// The agent.
    pub agent_client_id: String,
    /// RFC 3339; where the server gives no time, when its answer came.
    pub revoked_at: String,
    /// What was revoked along with it.
    pub cascade: Cascade,
}

/// What an agent's revocation took along.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Cascade {
    /// Mandates.
    #[serde(deserialize_with = "crate::lenient::count")]
    pub mandates_revoked: u64,
    /// Refresh tokens.
    #[serde(deserialize_with = "crate::lenient::count")]
    pub refresh_tokens_revoked: u64,
    /// Access tokens.
    #[serde(deserialize_with = "crate::lenient::count")]
    pub access_tokens_revoked: u64,
}

impl Client {
    /// Lists the principal's agents (scope `wallet:read`).
    ///
    /// # Errors
    ///
    /// - [`Error::Server`] with stage [`Stage::WalletList`]: 401 `invalid_token`, 403 `forbidden`, ….
    /// - [`Error::Misuse`] if the agent is not registered.
    /// - as for [`Client::pay`] while a token is asked for.
    pub async fn wallet_agents(&self, redirect_uri: &str) -> Result<Granted<WalletAgents>, Error> {
        let scope = WalletScope::WalletRead;
        let metadata = self.metadata().await?;
        let call = || Call::get(Stage::WalletList, &metadata.wallet_agents_endpoint);
        let answer = self.with_session(scope, Some(redirect_uri), &metadata, call).await?;
        answer.try_map(|answer| {
            let mut list: WalletAgents = answer.json(Artefact::WalletAnswer)?;
            let count = list.agents.len();
            list.agents.retain_mut(WalletAgent::clean);
            list.agents.truncate(MAX_AGENTS);
            list.agents_omitted = count - list.agents.len();
            Ok(list)
        })
    }

    /// Revokes one of the principal's agents with all its tokens and mandates (scope `wallet:write`). Repeating it is
    /// harmless; the server says when it was done before.
    ///
    /// # Errors
    ///
    /// - [`Error::Server`] with stage [`Stage::WalletRevoke`]: 404 `not_found`, 409 `conflict`, 503 `server_error`, ….
    /// - otherwise as for [`Client::wallet_agents`].
    pub async fn revoke_agent(
        &self,
        agent_client_id: &str,
        redirect_uri: &str,
    ) -> Result<Granted<AgentRevocation>, Error> {
        if !(1..=MAX_CLIENT_ID).contains(&agent_client_id.len()) {
            return Err(Misuse::AgentClientId.into());
        }
        let scope = WalletScope::WalletWrite;
        let metadata = self.metadata().await?;
        let mut url: Url = metadata.wallet_agents_endpoint.url().clone();
        url.path_segments_mut().map_err(|()| Misuse::AgentClientId)?.pop_if_empty().extend([agent_client_id, "revoke"]);
        let endpoint = Endpoint::parse(url.as_str()).map_err(|_| Misuse::AgentClientId)?;
        let call = || Call::post(Stage::WalletRevoke, &endpoint, Role::ResourceServer);
        let answer = self.with_session(scope, Some(redirect_uri), &metadata, call).await?;
        answer.try_map(|answer| {
            let mut revocation: AgentRevocation = answer.json(Artefact::WalletAnswer)?;
            if revocation.agent_client_id != agent_client_id {
                return Err(Misbehaviour::new(Artefact::WalletAnswer, Why::Mismatch("agent_client_id")).into());
            }
            // It is done, whatever the server calls the time.
            if !untrusted::is_time(&revocation.revoked_at) {
                revocation.revoked_at = jiff::Timestamp::from_second(self.now()).unwrap_or_default().to_string();
            }
            self.note_own_revocation(agent_client_id, &revocation)?;
            Ok(revocation)
        })
    }

    /// An agent that has ended itself must register again with a new setup token; keys stay, since a payment whose outcome
    /// is not known can still be cleared up with the merchant.
    fn note_own_revocation(&self, agent_client_id: &str, revocation: &AgentRevocation) -> Result<(), Error> {
        let store = &self.inner.store;
        let Some(mut registration) = store.registration()?.filter(|own| own.client_id == agent_client_id) else {
            return Ok(());
        };
        for scope in store.session_scopes()? {
            store.set_session(&scope, None)?;
        }
        registration.revoked_at = Some(revocation.revoked_at.clone());
        Ok(store.save_registration(&registration, None)?)
    }

    /// Makes a call with a wallet-session token, asking for one first where there is none, if there is a redirect URI for
    /// that. A kept token that the server no longer takes is dropped, and another asked for, once.
    async fn with_session<'c>(
        &self,
        scope: WalletScope,
        redirect_uri: Option<&str>,
        metadata: &Metadata,
        call: impl Fn() -> Call<'c> + Send + Sync,
    ) -> Result<Granted<Answer>, Error> {
        let agent = self.agent()?;
        for attempt in 0..2 {
            let session = match self.session_token(&agent, metadata, scope, redirect_uri).await?.done() {
                Ok(session) => session,
                Err(other) => return Ok(other),
            };
            let token = &session.access_token;
            let call = call().limits(Limits::LARGE).proof(metadata.minter(&agent)).token(token);
            let sent = self.send(call).await;
            if !scope.is_kept() {
                self.give_up(&agent, metadata, scope, &session).await;
            }
            let answer = sent?;
            let stale = scope.is_kept() && attempt == 0 && answer.status() == StatusCode::UNAUTHORIZED;
            if stale && self.inner.store.session(scope.as_str())?.is_some_and(|kept| kept.access_token == *token) {
                self.inner.store.set_session(scope.as_str(), None)?;
                continue;
            }
            return judge(answer, scope);
        }
        Ok(Granted::InsufficientScope(scope))
    }
}

/// A 403 that means the scope is a value, any other error is one.
fn judge(answer: Answer, scope: WalletScope) -> Result<Granted<Answer>, Error> {
    let status = answer.status();
    if status.is_success() {
        return Ok(Granted::Done(answer));
    }
    let error = answer.server_error();
    match status == StatusCode::FORBIDDEN && error.error() == Some("insufficient_scope") {
        true => Ok(Granted::InsufficientScope(scope)),
        false => Err(error.into()),
    }
}

/// Text members of an answer that is shown, at any depth, made fit to be shown.
fn clean_values(value: &mut Value) {
    match value {
        Value::String(text) => *text = clean(text, MAX_VALUE_TEXT),
        Value::Array(list) => list.iter_mut().for_each(clean_values),
        Value::Object(members) => {
            for (name, mut value) in std::mem::take(members) {
                clean_values(&mut value);
                members.insert(clean(&name, MAX_TEXT), value);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

impl WalletAgent {
    /// Drops members that are malformed. Returns whether the agent can still be named.
    fn clean(&mut self) -> bool {
        for text in [&mut self.client_name, &mut self.purpose] {
            *text = text.take().map(|text| clean(&text, MAX_TEXT));
        }
        for time in [&mut self.registered_at, &mut self.last_used_at] {
            *time = time.take().filter(|text| untrusted::is_time(text));
        }
        self.scope = self.scope.take().map(|scope| untrusted::scope(&scope));
        if untrusted::code(&self.status).is_none() {
            self.status = "unknown".to_owned();
        }
        untrusted::is_identifier(&self.client_id)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_none(count: &usize) -> bool {
    *count == 0
}

fn parse<T: DeserializeOwned>(value: Value) -> Result<T, Error> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = clean(&error.path().to_string(), 80);
        Misbehaviour::new(Artefact::WalletAnswer, Why::Json(path)).into()
    })
}

const MAX_AGENTS: usize = 1000;
const MAX_CLIENT_ID: usize = 256;
const MAX_TEXT: usize = 200;
const MAX_VALUE_TEXT: usize = 4096;
