//! The authorization server, which is strict: what `oid4ac` says a server checks, it checks.

mod audit_query;
mod authorization_details;
mod authorize;
mod body;
mod client;
mod client_auth;
mod consent;
mod endpoints;
mod grant;
mod introspect;
mod mandate;
mod metadata;
mod par;
mod portal;
mod privacy;
mod rate_limit;
mod registration;
mod resource;
mod revoke;
mod secret_hash;
mod server;
mod state;
mod status_list;
mod token;
mod wallet;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use crate::server::{no_such_method, no_such_path};

pub(crate) use endpoints::PORTAL_PATH;
pub(crate) use server::{AuthorizationServer, KnownMerchant, SettlementReport};

impl AuthorizationServer {
    /// Its routes.
    pub(crate) fn router(self: Arc<Self>) -> Router {
        Router::new()
            .route("/.well-known/oauth-authorization-server", get(metadata::metadata))
            .route("/oauth/jwks.json", get(metadata::jwks))
            .route("/oauth/register", post(registration::register))
            .route("/oauth/par", post(par::par))
            .route("/oauth/authorize", get(authorize::authorize))
            .route("/oauth/token", post(token::token))
            .route("/oauth/introspect", post(introspect::introspect))
            .route("/oauth/revoke", post(revoke::revoke))
            .route("/wallet/agents", get(wallet::agents))
            .route("/wallet/agents/{agent_client_id}/revoke", post(wallet::revoke))
            .route("/audit/principal/range", get(audit_query::range))
            .route("/privacy/dsar", post(privacy::dsar))
            .route("/oauth/consent/{poll_id}", get(consent::poll))
            .merge(portal::routes())
            .route("/oauth/status-list/{list_id}", get(status_list::status_list))
            .method_not_allowed_fallback(no_such_method)
            .fallback(no_such_path)
            .with_state(self)
    }
}
