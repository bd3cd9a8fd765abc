//! Dynamic client registration (RFC 7591) with a one-shot setup token.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State as Extract};
use axum::response::{IntoResponse as _, Response};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use jose::{Alg, InvalidJwk, Jwk, UnixSeconds, json};
use serde::Serialize;
use serde_json::{Map, Value};
use url::{Host, Url};

use super::AuthorizationServer;
use super::body::{MAX_BODY, created};
use super::client::{Agent, Client};
use super::secret_hash::secret_hash;
use super::state::{CAPACITY, SetupToken, State};
use crate::clock::random_hex;
use crate::error::Refusal;
use crate::form::has_media_type;
use crate::rules::Rule;
use crate::scope::Scope;
use crate::server::read_body;

/// `POST /oauth/register` (RFC 7591 §3).
pub(super) async fn register(Extract(server): Extract<Arc<AuthorizationServer>>, request: Request) -> Response {
    let answer = async {
        let (parts, body) = request.into_parts();
        let body = read_body(body, MAX_BODY).await?;
        if !has_media_type(&parts.headers, "application/json") {
            return Err(Refusal::invalid_request("the body must be application/json"));
        }
        let metadata = json::parse_object(&body).map_err(|error| metadata_error(format!("the body: {error}")))?;
        server.register(&parts.headers, &metadata)
    };
    answer.await.unwrap_or_else(Refusal::into_response)
}

impl AuthorizationServer {
    /// Makes a setup token for a principal, good for one registration within a day.
    pub(crate) fn mint_setup_token(&self, principal_id: &str) -> Result<String, Refusal> {
        let now = self.clock.now();
        let token = format!("setup_{}", random_hex::<16>(self.rng.as_ref()));
        let entry = SetupToken { principal_id: principal_id.to_owned(), used: false };
        self.state()
            .setup_tokens
            .insert(now, secret_hash(&token), now + SETUP_TOKEN_SECONDS, entry)
            .map_err(|_| Refusal::unavailable("temporarily_unavailable", "too many setup tokens are open"))?;
        Ok(token)
    }

    fn register(&self, headers: &HeaderMap, metadata: &Map<String, Value>) -> Result<Response, Refusal> {
        let now = self.clock.now();
        let token = setup_token(headers, metadata)?;
        let principal_id = {
            let state = self.state();
            self.check_setup_token(&state, now, token)?;
            let token = state.setup_tokens.get(now, &secret_hash(token));
            token.map_or_else(|| self.principals[0].id.clone(), |token| token.principal_id.clone())
        };
        let asked = self.read_metadata(metadata)?;

        let client_id = format!("agent_{}", random_hex::<8>(self.rng.as_ref()));
        let client = Arc::new(Client {
            client_id: client_id.clone(),
            principal_id: principal_id.clone(),
            client_name: asked.client_name.map(str::to_owned),
            purpose: asked.purpose.map(str::to_owned),
            registered_at: now,
            redirect_uris: asked.redirect_uris.iter().map(|&uri| uri.to_owned()).collect(),
            scope: asked.scope.clone(),
            may_refresh: asked.grant_types.contains(&"refresh_token"),
            may_send_details: asked.authorization_details_types.contains(&"oid4ac_mandate"),
            assertion_key: asked.assertion_key.clone(),
            dpop_key: asked.dpop_key.key().clone(),
        });
        {
            let mut state = self.state();
            // Looked at again under the same lock that spends it: of two registrations with one token, one succeeds.
            self.check_setup_token(&state, now, token)?;
            if state.agents.len() >= CAPACITY {
                return Err(Refusal::unavailable("temporarily_unavailable", "too many clients are registered"));
            }
            if let Some(token) = state.setup_tokens.get_mut(now, &secret_hash(token)) {
                token.used = true;
            }
            state.agents.insert(client_id.clone(), Agent { client, last_used_at: None, revoked_at: None });
        }
        Ok(created(&Registered {
            client_id: &client_id,
            client_id_issued_at: now,
            principal_id: &principal_id,
            client_name: asked.client_name,
            purpose: asked.purpose,
            redirect_uris: &asked.redirect_uris,
            grant_types: &asked.grant_types,
            response_types: ["code"],
            scope: asked.scope.to_string(),
            token_endpoint_auth_method: "private_key_jwt",
            token_endpoint_auth_signing_alg: "EdDSA",
            dpop_bound_access_tokens: true,
            require_pushed_authorization_requests: true,
            authorization_details_types: &asked.authorization_details_types,
            jwks: jose::JwkSet::new(vec![asked.assertion_key.clone()]),
            private_key_jwt_jwk: &asked.assertion_key,
            dpop_jwk: &asked.dpop_key,
        }))
    }

    fn check_setup_token(&self, state: &State, now: UnixSeconds, token: &str) -> Result<(), Refusal> {
        let refuse = |why: &'static str| Refusal::bad_request("invalid_software_statement", why);
        let used = state.setup_tokens.get(now, &secret_hash(token)).map(|token| token.used);
        self.rules
            .require(Rule::SetupTokenKnown, used.is_some(), || refuse("the setup token is unknown or expired"))?;
        self.rules.require(Rule::SetupTokenOnce, used != Some(true), || refuse("the setup token was used before"))
    }

    /// Checks every member that means something here; others are dropped (RFC 7591 §2).
    fn read_metadata<'a>(&self, metadata: &'a Map<String, Value>) -> Result<Asked<'a>, Refusal> {
        let redirect_uris = strings(metadata, "redirect_uris")?.unwrap_or_default();
        if !(1..=MAX_REDIRECT_URIS).contains(&redirect_uris.len()) {
            return Err(Refusal::bad_request("invalid_redirect_uri", "redirect_uris must have 1 to 10 elements"));
        }
        redirect_uris.iter().try_for_each(|uri| self.check_redirect_uri(uri))?;

        let method = string(metadata, "token_endpoint_auth_method", 64)?;
        self.rules.require(Rule::AuthMethod, method == Some("private_key_jwt"), || {
            metadata_error("token_endpoint_auth_method must be private_key_jwt")
        })?;
        let alg = string(metadata, "token_endpoint_auth_signing_alg", 64)?;
        if !alg.is_none_or(|alg| Alg::from_name(alg) == Ok(Alg::EdDsa)) {
            return Err(metadata_error("token_endpoint_auth_signing_alg must be EdDSA"));
        }
        // RFC 7591 §2: left out, they are `authorization_code` and `code`.
        let grant_types = strings(metadata, "grant_types")?.unwrap_or_else(|| vec!["authorization_code"]);
        let known = ["authorization_code", "refresh_token"];
        if !grant_types.contains(&known[0]) || !grant_types.iter().all(|grant| known.contains(grant)) {
            return Err(metadata_error("grant_types must be authorization_code, with or without refresh_token"));
        }
        if strings(metadata, "response_types")?.is_some_and(|types| types != ["code"]) {
            return Err(metadata_error("response_types must be code"));
        }
        for name in ["dpop_bound_access_tokens", "require_pushed_authorization_requests"] {
            if metadata.get(name).is_some_and(|value| *value != Value::Bool(true)) {
                return Err(metadata_error(format!("{name} must be true")));
            }
        }
        let authorization_details_types = strings(metadata, "authorization_details_types")?.unwrap_or_default();
        if authorization_details_types.iter().any(|kind| *kind != "oid4ac_mandate") {
            return Err(metadata_error("authorization_details_types must be oid4ac_mandate"));
        }
        let scope = match string(metadata, "scope", 1024)? {
            None => Scope::all(),
            Some(text) => Scope::parse(text).ok_or_else(|| metadata_error("scope is malformed"))?,
        };
        self.rules.require(Rule::RegisteredScopeKnown, scope.is_supported(), || {
            metadata_error("scope has a value that this server does not know")
        })?;
        let client_name = label(metadata, "client_name", 128)?;
        let purpose = label(metadata, "purpose", 512)?;
        let (assertion_key, dpop_key) = self.read_keys(metadata)?;
        Ok(Asked {
            redirect_uris,
            grant_types,
            authorization_details_types,
            scope,
            client_name,
            purpose,
            assertion_key,
            dpop_key,
        })
    }

    /// `https` anywhere, `http` on this machine; no fragment (RFC 6749 §3.1.2), no user information.
    fn check_redirect_uri(&self, text: &str) -> Result<(), Refusal> {
        let refuse = |why: &'static str| Refusal::bad_request("invalid_redirect_uri", why);
        let uri = Url::parse(text).map_err(|_| refuse("a redirect URI is not an absolute URI"))?;
        let good_scheme = uri.scheme() == "https" || (uri.scheme() == "http" && is_loopback(&uri));
        self.rules.require(Rule::RedirectUriScheme, good_scheme, || {
            refuse("a redirect URI must be https, or http on a loopback host")
        })?;
        let good_form = text.len() <= MAX_REDIRECT_URI
            && uri.fragment().is_none()
            && uri.username().is_empty()
            && uri.password().is_none()
            && text.bytes().all(|b| b.is_ascii_graphic());
        self.rules.require(Rule::RedirectUriForm, good_form, || {
            refuse("a redirect URI has a fragment, user information, a character to be escaped, or is too long")
        })
    }

    fn read_keys(&self, metadata: &Map<String, Value>) -> Result<(Jwk, Jwk), Refusal> {
        if metadata.contains_key("jwks_uri") {
            return Err(metadata_error("jwks_uri is not supported; send jwks"));
        }
        let Some(Value::Array(keys)) = metadata.get("jwks").and_then(|set| set.get("keys")) else {
            return Err(metadata_error("jwks must be a JWK set"));
        };
        self.rules.require(Rule::OneAssertionKey, keys.len() == 1, || {
            metadata_error("jwks must hold the key of private_key_jwt and no other")
        })?;
        let assertion_key = public_key(keys.first(), "jwks")?;
        if assertion_key.key().alg() != Alg::EdDsa {
            return Err(metadata_error("jwks: the key of private_key_jwt must be Ed25519"));
        }
        if metadata.contains_key("private_key_jwt_jwk") {
            let same = public_key(metadata.get("private_key_jwt_jwk"), "private_key_jwt_jwk")?;
            if same.key() != assertion_key.key() {
                return Err(metadata_error("private_key_jwt_jwk is not the key in jwks"));
            }
        }
        let dpop_key = public_key(metadata.get("dpop_jwk"), "dpop_jwk")?;
        self.rules.require(Rule::KeysDiffer, dpop_key.key() != assertion_key.key(), || {
            metadata_error("dpop_jwk must be another key than that of private_key_jwt")
        })?;
        Ok((assertion_key, dpop_key))
    }
}

/// What a registration asks for, checked.
struct Asked<'a> {
    redirect_uris: Vec<&'a str>,
    grant_types: Vec<&'a str>,
    authorization_details_types: Vec<&'a str>,
    scope: Scope,
    client_name: Option<&'a str>,
    purpose: Option<&'a str>,
    assertion_key: Jwk,
    dpop_key: Jwk,
}

/// The reply (RFC 7591 §3.2.1). The setup token is not echoed.
#[derive(Serialize)]
struct Registered<'a> {
    client_id: &'a str,
    client_id_issued_at: UnixSeconds,
    principal_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    purpose: Option<&'a str>,
    redirect_uris: &'a [&'a str],
    grant_types: &'a [&'a str],
    response_types: [&'a str; 1],
    scope: String,
    token_endpoint_auth_method: &'a str,
    token_endpoint_auth_signing_alg: &'a str,
    dpop_bound_access_tokens: bool,
    require_pushed_authorization_requests: bool,
    authorization_details_types: &'a [&'a str],
    jwks: jose::JwkSet,
    private_key_jwt_jwk: &'a Jwk,
    dpop_jwk: &'a Jwk,
}

/// The setup token: as `software_statement`, or as initial access token (RFC 7591 §3).
fn setup_token<'a>(headers: &'a HeaderMap, metadata: &'a Map<String, Value>) -> Result<&'a str, Refusal> {
    let refuse = |why: &'static str| Refusal::bad_request("invalid_software_statement", why);
    let bearer = match headers.get(AUTHORIZATION) {
        None => None,
        Some(value) => {
            let value = value.to_str().ok().and_then(|value| value.split_once(' '));
            let (scheme, token) = value.ok_or_else(|| refuse("the Authorization header is malformed"))?;
            if !scheme.eq_ignore_ascii_case("bearer") {
                return Err(refuse("the Authorization header must be Bearer"));
            }
            Some(token.trim())
        }
    };
    match (metadata.get("software_statement"), bearer) {
        (Some(Value::String(token)), None) => Ok(token),
        (None, Some(token)) => Ok(token),
        (Some(Value::String(token)), Some(same)) if token == same => Ok(token),
        (None, None) => Err(refuse("a setup token is required")),
        _ => Err(refuse("the setup token is malformed, or there are two")),
    }
}

fn is_loopback(uri: &Url) -> bool {
    match uri.host() {
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn public_key(value: Option<&Value>, name: &'static str) -> Result<Jwk, Refusal> {
    let Some(Value::Object(members)) = value else { return Err(metadata_error(format!("{name}: the key is missing"))) };
    Jwk::from_members(members.clone()).map_err(|error: InvalidJwk| metadata_error(format!("{name}: {error}")))
}

fn strings<'a>(metadata: &'a Map<String, Value>, name: &'static str) -> Result<Option<Vec<&'a str>>, Refusal> {
    let malformed = || match name {
        "redirect_uris" => Refusal::bad_request("invalid_redirect_uri", "redirect_uris must be an array of strings"),
        _ => metadata_error(format!("{name} must be an array of strings")),
    };
    match metadata.get(name) {
        None => Ok(None),
        Some(Value::Array(list)) if list.len() <= MAX_LIST => {
            list.iter().map(|value| value.as_str().ok_or_else(malformed)).collect::<Result<_, _>>().map(Some)
        }
        Some(_) => Err(malformed()),
    }
}

fn string<'a>(
    metadata: &'a Map<String, Value>,
    name: &'static str,
    longest: usize,
) -> Result<Option<&'a str>, Refusal> {
    match metadata.get(name) {
        None => Ok(None),
        Some(Value::String(text)) if text.len() <= longest => Ok(Some(text)),
        Some(_) => Err(metadata_error(format!("{name} must be a string of at most {longest} octets"))),
    }
}

/// A text that people will be shown: it says something, and nothing that would disturb a page or a terminal.
fn label<'a>(metadata: &'a Map<String, Value>, name: &'static str, longest: usize) -> Result<Option<&'a str>, Refusal> {
    let text = string(metadata, name, longest)?;
    match text {
        Some(text) if text.trim().is_empty() || text.chars().any(char::is_control) => {
            Err(metadata_error(format!("{name} is empty or has control characters")))
        }
        text => Ok(text),
    }
}

fn metadata_error(why: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::bad_request("invalid_client_metadata", why)
}

const SETUP_TOKEN_SECONDS: UnixSeconds = 86_400;
const MAX_REDIRECT_URIS: usize = 10;
const MAX_REDIRECT_URI: usize = 2048;
const MAX_LIST: usize = 32;
