//! Dynamic client registration (RFC 7591).

use std::sync::Arc;

use http::StatusCode;
use http::header::AUTHORIZATION;
use jose::{Alg, JwkSet, Signer as _};
use serde::{Deserialize, Serialize};

use crate::client::{RegisteredKeys, SetupTokenAs};
use crate::lenient;
use crate::metadata::MANDATE_TYPE;
use crate::metadata::document::{AlgNames, Metadata};
use crate::nonce::Role;
use crate::secret::{SecretText, SetupToken};
use crate::send::{Call, sensitive};
use crate::store::RegistrationAccess;
use crate::{
    Artefact, Client, Endpoint, Error, Incompatibility, KeyPair, Misbehaviour, Misuse, Registration, Stage, Why,
    untrusted,
};

/// What an agent registers with.
#[derive(Clone, Debug)]
pub struct RegisterRequest {
    setup_token: SetupToken,
    redirect_uris: Vec<String>,
    client_name: Option<String>,
    purpose: Option<String>,
    scope: Option<String>,
}

impl RegisterRequest {
    /// With a one-shot setup token from the wallet portal, and the redirect URIs to be used.
    #[must_use]
    pub fn new<S: Into<String>>(setup_token: SetupToken, redirect_uris: impl IntoIterator<Item = S>) -> Self {
        Self {
            setup_token,
            redirect_uris: redirect_uris.into_iter().map(Into::into).collect(),
            client_name: None,
            purpose: None,
            scope: None,
        }
    }

    /// The name that the principal will see.
    #[must_use]
    pub fn with_client_name(mut self, name: impl Into<String>) -> Self {
        self.client_name = Some(name.into());
        self
    }

    /// The purpose that the principal will see.
    #[must_use]
    pub fn with_purpose(mut self, purpose: impl Into<String>) -> Self {
        self.purpose = Some(purpose.into());
        self
    }

    /// The scope to register. Without one the server decides.
    #[must_use]
    pub fn with_scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// Whether `registration` gives all that is asked for here, so that the setup token need not be spent.
    #[must_use]
    pub fn is_covered_by(&self, registration: &Registration) -> bool {
        let same = |asked: &Option<String>, has: &Option<String>| asked.is_none() || asked == has;
        let registered: Vec<_> = registration.scope.as_deref().unwrap_or_default().split(' ').collect();
        registration.revoked_at.is_none()
            && self.redirect_uris.iter().all(|uri| registration.redirect_uris.contains(uri))
            && same(&self.client_name, &registration.client_name)
            && same(&self.purpose, &registration.purpose)
            && self.scope.as_deref().unwrap_or_default().split(' ').all(|s| s.is_empty() || registered.contains(&s))
    }
}

/// A registration that the store now holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Registered {
    /// The one that was there covers the request. The setup token was not sent.
    Before(Registration),
    /// Made just now; the setup token is spent.
    Now(Registration),
}

impl Registered {
    /// The registration.
    #[must_use]
    pub fn registration(&self) -> &Registration {
        match self {
            Self::Before(registration) | Self::Now(registration) => registration,
        }
    }
}

impl Client {
    /// Registers the agent, unless the store has a registration that covers the request. Keys are generated if there are
    /// none, and are on disk before they are registered.
    ///
    /// # Errors
    ///
    /// - [`Error::Server`] with `invalid_software_statement`, `invalid_redirect_uri`, `invalid_client_metadata`, … from the
    ///   authorization server.
    /// - [`Error::PeerIncompatible`] if it has no registration endpoint.
    /// - [`Error::Local`] if keys or registration could not be kept; an earlier registration is untouched then. A folder that
    ///   cannot be written, or has no room, is found before the setup token is sent.
    /// - [`Error::Transport`]; after [`may_have_arrived`](crate::TransportError::may_have_arrived) the token may be spent.
    pub async fn register(&self, request: &RegisterRequest) -> Result<Registered, Error> {
        if let Some(registration) = self.covering(request)? {
            return Ok(Registered::Before(registration));
        }
        // Two at once would register two pairs of keys, and keep one's keys with the other's client id.
        let _alone = self.lock_session().await?;
        if let Some(registration) = self.covering(request)? {
            return Ok(Registered::Before(registration));
        }
        let metadata = self.metadata().await?;
        let endpoint = registration_endpoint(&metadata)?;
        let keys = match self.inner.store.keys()? {
            Some(keys) => keys,
            None => {
                let keys = Arc::new(KeyPair::generate(self.inner.rng.as_ref()));
                self.inner.store.save_keys(&keys)?;
                keys
            }
        };
        self.inner.store.check_writable()?;
        let (registration, access) = self.send_registration(request, &metadata, endpoint, &keys).await?;
        // They are the old agent's, and perhaps another principal's. The token is spent: what else fails, the registration
        // is kept.
        let ended = match self.inner.store.registration() {
            Ok(Some(_)) => self.end_sessions().await.map(drop),
            Ok(None) => Ok(()),
            Err(error) => Err(error.into()),
        };
        self.inner.store.save_registration(&registration, access)?;
        ended?;
        Ok(Registered::Now(registration))
    }

    /// Registers again with new keys and what the agent is registered with, and puts both in place of the old ones, which
    /// are kept as backups. Whatever fails, there is one registration with its own keys in the store. Wallet sessions end;
    /// the old registration stays at the server, until the principal revokes it.
    ///
    /// A mandate that is held is bound to the old keys: the caller sees to it that no payment is open.
    ///
    /// # Errors
    ///
    /// - [`Error::Misuse`] if the agent is not registered.
    /// - otherwise as for [`Client::register`].
    pub async fn rotate_keys(&self, setup_token: SetupToken) -> Result<Registration, Error> {
        let _alone = self.lock_session().await?;
        let old = self.inner.store.registration()?.ok_or(Misuse::NotRegistered)?;
        let request = RegisterRequest {
            setup_token,
            redirect_uris: old.redirect_uris,
            client_name: old.client_name,
            purpose: old.purpose,
            scope: old.scope,
        };
        let metadata = self.metadata().await?;
        let endpoint = registration_endpoint(&metadata)?;
        let keys = Arc::new(KeyPair::generate(self.inner.rng.as_ref()));
        self.inner.store.check_writable()?;
        let (registration, access) = self.send_registration(&request, &metadata, endpoint, &keys).await?;
        let ended = self.end_sessions().await;
        self.inner.store.replace(&keys, &registration, access)?;
        ended?;
        Ok(registration)
    }

    async fn send_registration(
        &self,
        request: &RegisterRequest,
        metadata: &Metadata,
        endpoint: &Endpoint,
        keys: &KeyPair,
    ) -> Result<(Registration, Option<RegistrationAccess>), Error> {
        let mut call = Call::post(Stage::Register, endpoint, Role::AuthorizationServer);
        let mut statement = Some(request.setup_token.expose());
        if self.inner.compatibility.setup_token == SetupTokenAs::InitialAccessToken {
            call = call.header(AUTHORIZATION, sensitive(&format!("Bearer {}", request.setup_token.expose()))?);
            statement = None;
        }
        let body = serde_json::to_vec(&self.client_metadata(request, metadata, keys, statement))
            .map_err(|_| Misbehaviour::new(Artefact::Registration, Why::Member("jwks")))?;
        let answer = self.send(call.json(body)).await?;
        if answer.status() != StatusCode::CREATED && answer.status() != StatusCode::OK {
            return Err(answer.server_error().into());
        }
        let reply: Reply = answer.json(Artefact::Registration)?;
        if !untrusted::is_identifier(&reply.client_id) {
            return Err(Misbehaviour::new(Artefact::Registration, Why::Member("client_id")).into());
        }
        let access = match (reply.registration_access_token, reply.registration_client_uri) {
            (Some(token), Some(uri)) => Some(RegistrationAccess { token: SecretText::new(token), uri }),
            _ => None,
        };
        let shown = |text: Option<String>| text.map(|text| untrusted::clean(&text, MAX_TEXT));
        let registration = Registration {
            client_id: reply.client_id,
            as_url: self.issuer().to_owned(),
            redirect_uris: request.redirect_uris.clone(),
            // What we asked for, in our own words, whatever the server made of it.
            client_name: request.client_name.clone().or_else(|| shown(reply.client_name)),
            purpose: request.purpose.clone().or_else(|| shown(reply.purpose)),
            scope: reply.scope.map(|scope| untrusted::scope(&scope)).or_else(|| request.scope.clone()),
            principal_id: reply.principal_id.filter(|id| untrusted::is_identifier(id)),
            revoked_at: None,
        };
        Ok((registration, access))
    }

    /// The registration that the store has, if it gives all that is asked for.
    fn covering(&self, request: &RegisterRequest) -> Result<Option<Registration>, Error> {
        let store = &self.inner.store;
        let registration = store.registration()?.filter(|registration| request.is_covered_by(registration));
        Ok(if registration.is_some() && store.keys()?.is_some() { registration } else { None })
    }

    fn client_metadata<'a>(
        &self,
        request: &'a RegisterRequest,
        metadata: &Metadata,
        keys: &KeyPair,
        software_statement: Option<&'a str>,
    ) -> ClientMetadata<'a> {
        let public = |key: &jose::PrivateKey| {
            let key = key.public_key();
            key.to_jwk().with_kid(key.thumbprint().as_str())
        };
        let (assertion, dpop) = (public(keys.private_key_jwt()), public(keys.dpop()));
        let registered = match self.inner.compatibility.registered_keys {
            RegisteredKeys::AssertionKey => vec![assertion.clone()],
            RegisteredKeys::Both => vec![assertion.clone(), dpop.clone()],
        };
        ClientMetadata {
            client_name: request.client_name.as_deref(),
            purpose: request.purpose.as_deref(),
            redirect_uris: &request.redirect_uris,
            grant_types: ["authorization_code", "refresh_token"],
            response_types: ["code"],
            scope: request.scope.as_deref(),
            token_endpoint_auth_method: "private_key_jwt",
            application_type: request.redirect_uris.iter().all(|uri| is_http(uri)).then_some("native"),
            token_endpoint_auth_signing_alg: match metadata.assertion_names {
                AlgNames::Usual => Alg::EdDsa.name(),
                AlgNames::FullySpecified => Alg::EdDsa.fully_specified_name(),
            },
            dpop_bound_access_tokens: true,
            require_pushed_authorization_requests: true,
            authorization_details_types: [MANDATE_TYPE],
            jwks: JwkSet::new(registered),
            private_key_jwt_jwk: assertion,
            dpop_jwk: dpop,
            software_statement,
        }
    }
}

fn registration_endpoint(metadata: &Metadata) -> Result<&Endpoint, Incompatibility> {
    metadata.registration_endpoint.as_ref().ok_or(Incompatibility::MissingMember("registration_endpoint"))
}

/// Only a loopback redirect URI can be `http`.
fn is_http(redirect_uri: &str) -> bool {
    Endpoint::parse(redirect_uri).is_ok_and(|endpoint| endpoint.url().scheme() == "http")
}

/// RFC 7591 §2, RFC 9126 §6, RFC 9396 §10, RFC 9449 §5.2; the last members but one are OID4AC's.
#[derive(Serialize)]
struct ClientMetadata<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    client_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    purpose: Option<&'a str>,
    redirect_uris: &'a [String],
    grant_types: [&'static str; 2],
    response_types: [&'static str; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
    /// OpenID Connect Registration §2: what lets the port of a loopback redirect URI be any, and `http` its scheme.
    #[serde(skip_serializing_if = "Option::is_none")]
    application_type: Option<&'static str>,
    token_endpoint_auth_method: &'static str,
    token_endpoint_auth_signing_alg: &'static str,
    dpop_bound_access_tokens: bool,
    require_pushed_authorization_requests: bool,
    authorization_details_types: [&'static str; 1],
    jwks: JwkSet,
    private_key_jwt_jwk: jose::Jwk,
    dpop_jwk: jose::Jwk,
    #[serde(skip_serializing_if = "Option::is_none")]
    software_statement: Option<&'a str>,
}

/// The setup token is spent, so only what cannot be done without has to be right.
#[derive(Deserialize)]
struct Reply {
    client_id: String,
    #[serde(default, deserialize_with = "lenient::text")]
    client_name: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    purpose: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    scope: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    principal_id: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    registration_access_token: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    registration_client_uri: Option<String>,
}

const MAX_TEXT: usize = 200;
