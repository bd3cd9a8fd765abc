//! Authorization server metadata (RFC 8414) and JWK sets.

pub(crate) mod document;

use std::sync::{Arc, PoisonError};

use http::StatusCode;
use jose::{Alg, Jwk, JwkSet};
use serde::Deserialize;

use crate::lenient;
use crate::nonce::Role;
use crate::send::{Answer, Call};
use crate::{Artefact, Client, Endpoint, Error, Incompatibility, Misbehaviour, Stage, Why};

use self::document::{AlgNames, Metadata};

/// A key set, and whether asking again could bring anything new.
pub(crate) struct KnownKeys {
    pub(crate) set: Arc<JwkSet>,
    pub(crate) just_fetched: bool,
}

#[derive(Deserialize)]
struct Wire {
    issuer: String,
    authorization_endpoint: Option<String>,
    pushed_authorization_request_endpoint: Option<String>,
    token_endpoint: Option<String>,
    registration_endpoint: Option<String>,
    revocation_endpoint: Option<String>,
    introspection_endpoint: Option<String>,
    jwks_uri: Option<String>,
    #[serde(default, deserialize_with = "lenient::names")]
    code_challenge_methods_supported: Vec<String>,
    #[serde(default, deserialize_with = "lenient::names")]
    token_endpoint_auth_methods_supported: Vec<String>,
    #[serde(default, deserialize_with = "lenient::names")]
    authorization_details_types_supported: Vec<String>,
    #[serde(default, deserialize_with = "lenient::flag")]
    authorization_response_iss_parameter_supported: bool,
    #[serde(default, deserialize_with = "lenient::names")]
    token_endpoint_auth_signing_alg_values_supported: Vec<String>,
    #[serde(default, deserialize_with = "lenient::names")]
    dpop_signing_alg_values_supported: Vec<String>,
    #[serde(default, deserialize_with = "lenient::optional_names")]
    oid4ac_consent_modes_supported: Option<Vec<String>>,
    wallet_agents_endpoint: Option<String>,
    dsar_endpoint: Option<String>,
    audit_endpoint: Option<String>,
}

/// What an authorization server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerSummary {
    /// How people are asked for consent; `None` at a server that knows nothing of OID4AC's modes.
    pub consent_modes: Option<Vec<String>>,
    /// Whether it lists mandates among what it issues.
    pub issues_mandates: bool,
    /// Whether agents can register there.
    pub takes_registrations: bool,
}

impl Client {
    /// Reads the server's metadata and keys, and says what they come to. It needs no registration.
    ///
    /// # Errors
    ///
    /// - [`Error::Transport`], [`Error::Server`] if they could not be had.
    /// - [`Error::PeerMisbehaved`], [`Error::PeerIncompatible`] if they do not hold, or lack what this protocol needs.
    pub async fn check_server(&self) -> Result<ServerSummary, Error> {
        let metadata = self.metadata().await?;
        self.jwks(&metadata.jwks_uri).await?;
        Ok(ServerSummary {
            consent_modes: metadata.consent_modes.clone(),
            issues_mandates: metadata.issues_mandates,
            takes_registrations: metadata.registration_endpoint.is_some(),
        })
    }

    /// The metadata, from the cache while it is fresh.
    pub(crate) async fn metadata(&self) -> Result<Arc<Metadata>, Error> {
        let now = self.now();
        if let Some(metadata) = self.inner.metadata.fresh(now) {
            return Ok(metadata);
        }
        let answer = self.fetch_metadata().await?;
        let metadata = self.check_metadata(answer.json(Artefact::Metadata)?)?;
        Ok(self.inner.metadata.keep(metadata, now, answer.headers()))
    }

    /// RFC 8414 §3.1 inserts the well-known path before the issuer's own; OpenID Connect Discovery appends it.
    pub(crate) async fn fetch_metadata(&self) -> Result<Answer, Error> {
        let issuer = &self.inner.issuer;
        let path = issuer.as_str().splitn(4, '/').nth(3).unwrap_or("").trim_end_matches('/');
        let slash = if path.is_empty() { "" } else { "/" };
        let first = format!("/.well-known/oauth-authorization-server{slash}{path}");
        let second = format!("{slash}{path}/.well-known/openid-configuration");
        let bad = |_| Misbehaviour::new(Artefact::Metadata, Why::Member("issuer"));
        for place in [first, second] {
            let endpoint = issuer.origin().join(&place).map_err(bad)?;
            let call = Call::get(Stage::Metadata, &endpoint).role(Role::AuthorizationServer);
            let answer = self.send(call).await?;
            match answer.status() {
                StatusCode::OK => return Ok(answer),
                StatusCode::NOT_FOUND => {}
                _ => return Err(answer.server_error().into()),
            }
        }
        Err(Misbehaviour::new(Artefact::Metadata, Why::Status(404)).into())
    }

    fn check_metadata(&self, wire: Wire) -> Result<Metadata, Error> {
        // RFC 8414 §3.3: "MUST be identical".
        if wire.issuer != self.inner.issuer.as_str() {
            return Err(Misbehaviour::new(Artefact::Metadata, Why::Mismatch("issuer")).into());
        }
        let needed = [
            (&wire.code_challenge_methods_supported, "code_challenge_methods_supported", "S256"),
            (&wire.token_endpoint_auth_methods_supported, "token_endpoint_auth_methods_supported", "private_key_jwt"),
        ];
        for (list, member, value) in needed {
            if !list.iter().any(|listed| listed == value) {
                return Err(Incompatibility::MissingValue { member, value }.into());
            }
        }
        let own = |text: Option<String>, member| self.own_endpoint(text, member);
        own(wire.introspection_endpoint, "introspection_endpoint")?;
        let api = |given: Option<String>, member, path| {
            own(Some(given.unwrap_or_else(|| format!("{}{path}", self.issuer().trim_end_matches('/')))), member)
                .and_then(|endpoint| required(endpoint, member))
        };
        Ok(Metadata {
            authorization_endpoint: required(
                any_endpoint(wire.authorization_endpoint, "authorization_endpoint")?,
                "authorization_endpoint",
            )?,
            par_endpoint: required(
                own(wire.pushed_authorization_request_endpoint, "pushed_authorization_request_endpoint")?,
                "pushed_authorization_request_endpoint",
            )?,
            token_endpoint: required(own(wire.token_endpoint, "token_endpoint")?, "token_endpoint")?,
            registration_endpoint: own(wire.registration_endpoint, "registration_endpoint")?,
            revocation_endpoint: own(wire.revocation_endpoint, "revocation_endpoint")?,
            jwks_uri: required(any_endpoint(wire.jwks_uri, "jwks_uri")?, "jwks_uri")?,
            sends_iss: wire.authorization_response_iss_parameter_supported,
            assertion_names: AlgNames::of(&wire.token_endpoint_auth_signing_alg_values_supported),
            proof_names: AlgNames::of(&wire.dpop_signing_alg_values_supported),
            consent_modes: wire.oid4ac_consent_modes_supported,
            wallet_agents_endpoint: api(wire.wallet_agents_endpoint, "wallet_agents_endpoint", "/wallet/agents")?,
            dsar_endpoint: api(wire.dsar_endpoint, "dsar_endpoint", "/privacy/dsar")?,
            audit_endpoint: api(wire.audit_endpoint, "audit_endpoint", "/audit/principal/range")?,
            issues_mandates: wire.authorization_details_types_supported.iter().any(|typ| typ == MANDATE_TYPE),
        })
    }

    /// An endpoint that gets credentials: on the issuer's origin, or on one that the operator listed.
    fn own_endpoint(&self, text: Option<String>, member: &'static str) -> Result<Option<Endpoint>, Error> {
        let endpoint = any_endpoint(text, member)?;
        let inner = &self.inner;
        let foreign =
            |e: &Endpoint| e.origin() != inner.issuer.origin() && !inner.endpoint_origins.contains(e.origin());
        match endpoint {
            Some(endpoint) if foreign(&endpoint) => {
                Err(Misbehaviour::new(Artefact::Metadata, Why::Origin(member)).into())
            }
            endpoint => Ok(endpoint),
        }
    }

    /// The key in the set at `uri` that signs under `kid`. An unknown `kid` fetches the set again, once.
    pub(crate) async fn key(&self, uri: &Endpoint, kid: Option<&str>, alg: Alg, of: Artefact) -> Result<Jwk, Error> {
        let known = self.jwks(uri).await?;
        let mut found = known.set.find(kid, alg).cloned();
        if found.is_none() && !known.just_fetched {
            found = self.fetch_jwks(uri).await?.find(kid, alg).cloned();
        }
        found.ok_or_else(|| Misbehaviour::new(of, Why::UnknownKey).into())
    }

    /// The set at `uri`, from the cache while it is fresh.
    pub(crate) async fn jwks(&self, uri: &Endpoint) -> Result<KnownKeys, Error> {
        match self.jwks_cache(uri).fresh(self.now()) {
            Some(set) => Ok(KnownKeys { set, just_fetched: false }),
            None => Ok(KnownKeys { set: self.fetch_jwks(uri).await?, just_fetched: true }),
        }
    }

    pub(crate) async fn fetch_jwks(&self, uri: &Endpoint) -> Result<Arc<JwkSet>, Error> {
        let answer = self.send(Call::get(Stage::Jwks, uri)).await?;
        if answer.status() != StatusCode::OK {
            return Err(answer.server_error().into());
        }
        let set = JwkSet::parse(answer.json_text()).map_err(|why| Misbehaviour::new(Artefact::Jwks, why))?;
        Ok(self.jwks_cache(uri).keep(set, self.now(), answer.headers()))
    }

    fn jwks_cache(&self, uri: &Endpoint) -> Arc<crate::cache::Cached<JwkSet>> {
        let mut sets = self.inner.jwks.lock().unwrap_or_else(PoisonError::into_inner);
        if sets.len() >= MAX_SETS && !sets.contains_key(uri.as_str()) {
            sets.clear();
        }
        Arc::clone(sets.entry(uri.as_str().to_owned()).or_default())
    }
}

fn any_endpoint(text: Option<String>, member: &'static str) -> Result<Option<Endpoint>, Error> {
    let parsed = text.map(|text| Endpoint::parse(&text)).transpose();
    parsed.map_err(|_| Misbehaviour::new(Artefact::Metadata, Why::Member(member)).into())
}

fn required(endpoint: Option<Endpoint>, member: &'static str) -> Result<Endpoint, Error> {
    endpoint.ok_or_else(|| Incompatibility::MissingMember(member).into())
}

pub(crate) const MANDATE_TYPE: &str = "oid4ac_mandate";
const MAX_SETS: usize = 64;
