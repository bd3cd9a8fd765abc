//! A merchant: signs offers and a catalog, verifies mandates, settles once, gives a receipt.

mod access_token;
mod catalog;
mod challenge;
mod issuer;
mod ledger;
mod mandate;
mod offer;
mod presentation;
mod profile;
mod receipt;
mod settlement;
mod shop;
mod signed_offers;
mod signing;
mod status;
mod verify_mandate;

use std::sync::Arc;

use axum::Router;
use axum::extract::State as Extract;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use http::header::CACHE_CONTROL;
use http::{HeaderValue, StatusCode};
use jose::JwkSet;

use crate::error::json;
use crate::server::{no_such_method, no_such_path};

pub(crate) use profile::{ALPACANICA, BRISTLE_AND_SLATE, Item, Profile, RequestComponents};
pub(crate) use shop::{Merchant, SETTLEMENTS_PATH, VERIFY_PATH};

impl Merchant {
    /// Its routes.
    pub(crate) fn router(self: Arc<Self>) -> Router {
        Router::new()
            .route("/.well-known/jwks.json", get(jwks))
            .route("/.well-known/oid4ac-catalog", get(catalog::catalog))
            .route("/oid4ac/offer/{sku}", get(offer::offer))
            .route("/products/{sku}", get(offer::offer))
            .route(VERIFY_PATH, post(verify_mandate::verify_mandate))
            .route("/receipts/{file}", get(receipt::receipt))
            .route(SETTLEMENTS_PATH, get(settlement::settlements))
            .method_not_allowed_fallback(no_such_method)
            .fallback(no_such_path)
            .with_state(self)
    }
}

/// `GET /.well-known/jwks.json`: keys for offers, catalogs and receipts.
async fn jwks(Extract(merchant): Extract<Arc<Merchant>>) -> Response {
    let mut response = json(StatusCode::OK, &JwkSet::new(merchant.keys.to_jwks()));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
    response.into_response()
}
