//! Authorization server metadata (RFC 8414) and the JWKS (RFC 7517).

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::HeaderValue;
use http::StatusCode;
use http::header::CACHE_CONTROL;
use jose::JwkSet;
use serde::Serialize;

use super::AuthorizationServer;
use crate::error::json;
use crate::scope;

/// `GET /.well-known/oauth-authorization-server` (RFC 8414 §3).
pub(super) async fn metadata(State(server): State<Arc<AuthorizationServer>>) -> Response {
    #[derive(Serialize)]
    struct Metadata<'a> {
        issuer: &'a str,
        authorization_endpoint: &'a str,
        pushed_authorization_request_endpoint: &'a str,
        require_pushed_authorization_requests: bool,
        token_endpoint: &'a str,
        introspection_endpoint: &'a str,
        revocation_endpoint: &'a str,
        registration_endpoint: &'a str,
        jwks_uri: &'a str,
        scopes_supported: [&'a str; 7],
        response_types_supported: [&'a str; 1],
        response_modes_supported: [&'a str; 1],
        grant_types_supported: [&'a str; 2],
        code_challenge_methods_supported: [&'a str; 1],
        token_endpoint_auth_methods_supported: [&'a str; 1],
        token_endpoint_auth_signing_alg_values_supported: [&'a str; 1],
        introspection_endpoint_auth_methods_supported: [&'a str; 1],
        introspection_endpoint_auth_signing_alg_values_supported: [&'a str; 1],
        revocation_endpoint_auth_methods_supported: [&'a str; 1],
        revocation_endpoint_auth_signing_alg_values_supported: [&'a str; 1],
        dpop_signing_alg_values_supported: [&'a str; 2],
        authorization_response_iss_parameter_supported: bool,
        resource_indicators_supported: bool,
        resources_supported: Vec<&'a str>,
        authorization_details_types_supported: [&'a str; 1],
        oid4ac_consent_modes_supported: Vec<&'a str>,
        wallet_agents_endpoint: &'a str,
        dsar_endpoint: &'a str,
        audit_endpoint: &'a str,
    }
    let endpoints = &server.endpoints;
    let mut resources: Vec<&str> = server.merchants.iter().map(|merchant| merchant.origin.as_str()).collect();
    resources.push(&endpoints.issuer);
    let metadata = Metadata {
        issuer: &endpoints.issuer,
        authorization_endpoint: &endpoints.authorization,
        pushed_authorization_request_endpoint: &endpoints.par,
        require_pushed_authorization_requests: true,
        token_endpoint: &endpoints.token,
        introspection_endpoint: &endpoints.introspection,
        revocation_endpoint: &endpoints.revocation,
        registration_endpoint: &endpoints.registration,
        jwks_uri: &endpoints.jwks,
        scopes_supported: scope::SUPPORTED,
        response_types_supported: ["code"],
        response_modes_supported: ["query"],
        grant_types_supported: ["authorization_code", "refresh_token"],
        code_challenge_methods_supported: ["S256"],
        token_endpoint_auth_methods_supported: ["private_key_jwt"],
        token_endpoint_auth_signing_alg_values_supported: ["EdDSA"],
        introspection_endpoint_auth_methods_supported: ["private_key_jwt"],
        introspection_endpoint_auth_signing_alg_values_supported: ["EdDSA"],
        revocation_endpoint_auth_methods_supported: ["private_key_jwt"],
        revocation_endpoint_auth_signing_alg_values_supported: ["EdDSA"],
        dpop_signing_alg_values_supported: ["EdDSA", "ES256"],
        authorization_response_iss_parameter_supported: true,
        resource_indicators_supported: true,
        resources_supported: resources,
        authorization_details_types_supported: ["oid4ac_mandate"],
        oid4ac_consent_modes_supported: server.consent_mode.on_offer().iter().map(|mode| mode.name()).collect(),
        wallet_agents_endpoint: &endpoints.wallet_agents,
        dsar_endpoint: &endpoints.dsar,
        audit_endpoint: &endpoints.audit,
    };
    cacheable(json(StatusCode::OK, &metadata))
}

/// `GET /oauth/jwks.json`.
pub(super) async fn jwks(State(server): State<Arc<AuthorizationServer>>) -> Response {
    let mut keys = server.keys.to_jwks();
    keys.push(server.audit_head_jwk.clone());
    cacheable(json(StatusCode::OK, &JwkSet::new(keys)))
}

fn cacheable(mut response: Response) -> Response {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
    response.into_response()
}
