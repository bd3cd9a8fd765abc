//! Signed offers.

use std::sync::Arc;

use axum::extract::{Path, State as Extract};
use axum::response::{IntoResponse as _, Response};
use http::{Method, Uri};
use jose::{UnixSeconds, random_token};

use super::Merchant;
use super::signed_offers::Offer;
use super::signing::SignedContent;
use crate::error::Refusal;

/// `GET /oid4ac/offer/{sku}` and `GET /products/{sku}`.
pub(super) async fn offer(
    Extract(merchant): Extract<Arc<Merchant>>,
    Path(sku): Path<String>,
    method: Method,
    uri: Uri,
) -> Response {
    merchant.sign_offer(&sku, &method, &uri).unwrap_or_else(Refusal::into_response)
}

impl Merchant {
    fn sign_offer(&self, sku: &str, method: &Method, uri: &Uri) -> Result<Response, Refusal> {
        let nonce = random_token::<16>(self.rng.as_ref());
        let offer = {
            let mut state = self.state();
            // What is made to order has no offer to sign.
            let item = state.stock.get(sku).filter(|item| item.is_listed).ok_or_else(Refusal::not_found)?;
            let (sku, offer) = (item.sku, Offer::of(item));
            let now = self.clock.now();
            state.challenges.remember_offer(now, &nonce, sku, now + LIFETIME_SECONDS);
            state.offers.record(offer.clone());
            offer
        };
        self.sign_response(SignedContent {
            method: method.as_str(),
            path_and_query: uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str),
            body: serde_json::to_vec(&offer).map_err(|_| Refusal::server_error())?,
            lifetime_seconds: LIFETIME_SECONDS,
            nonce: &nonce,
            cache_control: "no-cache",
        })
    }
}

const LIFETIME_SECONDS: UnixSeconds = 300;
