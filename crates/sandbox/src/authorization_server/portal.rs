//! The wallet portal: where a principal signs in, decides, and sees what their agents did. Pages without scripts.

mod agents;
mod connect;
mod consent_page;
mod history;
pub(super) mod html;
pub(super) mod session;
mod visitor;
mod words;

use std::sync::Arc;

use axum::Router;
use axum::extract::State as Extract;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use http::HeaderMap;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};

use super::AuthorizationServer;
use crate::error::Refusal;

/// The portal's routes.
pub(super) fn routes() -> Router<Arc<AuthorizationServer>> {
    Router::new()
        .route("/portal", get(agents::list))
        .route("/portal/style.css", get(|| asset("text/css; charset=utf-8", STYLE)))
        .route("/portal/icon.svg", get(|| asset("image/svg+xml", ICON)))
        .route("/portal/sign-in", post(visitor::sign_in))
        .route("/portal/sign-out", post(visitor::sign_out))
        .route("/portal/agents/{agent_client_id}/revoke", post(agents::revoke))
        .route("/portal/payments", get(history::payments))
        .route("/portal/audit", get(history::audit))
        .route("/portal/connect", get(connect::show))
        .route("/portal/setup-token", get(connect::back).post(connect::setup_token))
        .route("/portal/principal-token", get(connect::back).post(connect::principal_token))
        .route("/portal/consent/{page_id}", get(consent_page::show).post(consent_page::decide))
        .route("/portal/{*elsewhere}", get(nothing))
}

async fn asset(media_type: &'static str, content: &'static str) -> Response {
    let headers = [(CONTENT_TYPE, media_type), (CACHE_CONTROL, "max-age=300"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (headers, content).into_response()
}

async fn nothing(Extract(server): Extract<Arc<AuthorizationServer>>, headers: HeaderMap) -> Response {
    html::refused(server.known_visitor(&headers).as_ref(), &Refusal::not_found())
}

const STYLE: &str = include_str!("portal/style.css");
const ICON: &str = include_str!("portal/icon.svg");
