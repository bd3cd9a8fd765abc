//! The wallet portal: where a principal signs in, decides, and sees what their agents did. Pages without scripts.

mod consent_page;
mod html;
mod overview;
mod visitor;

use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};

use super::AuthorizationServer;

pub(super) use html::refusal_page;
pub(super) use visitor::PortalSession;
use visitor::Visitor;

/// The portal's routes.
pub(super) fn routes() -> Router<Arc<AuthorizationServer>> {
    Router::new()
        .route("/portal", get(overview::agents))
        .route("/portal/style.css", get(style))
        .route("/portal/sign-in", post(visitor::sign_in))
        .route("/portal/sign-out", post(visitor::sign_out))
        .route("/portal/agents/{agent_client_id}/revoke", post(overview::revoke))
        .route("/portal/payments", get(overview::payments))
        .route("/portal/audit", get(overview::audit))
        .route("/portal/connect", get(overview::connect))
        .route("/portal/setup-token", post(overview::setup_token))
        .route("/portal/principal-token", post(overview::principal_token))
        .route("/portal/consent/{page_id}", get(consent_page::show).post(consent_page::decide))
}

async fn style() -> Response {
    ([(CONTENT_TYPE, "text/css; charset=utf-8"), (CACHE_CONTROL, "max-age=300")], STYLE).into_response()
}

const STYLE: &str = include_str!("portal/style.css");
