//! The signed catalog, page by page.

use std::sync::Arc;

use axum::extract::State as Extract;
use axum::response::{IntoResponse as _, Response};
use http::{Method, Uri};
use jose::random_token;
use serde::Serialize;

use super::signing::SignedContent;
use super::{Item, Merchant};
use crate::error::Refusal;
use crate::form::Form;

/// `GET /.well-known/oid4ac-catalog?page`.
pub(super) async fn catalog(Extract(merchant): Extract<Arc<Merchant>>, method: Method, uri: Uri) -> Response {
    merchant.catalog_page(&method, &uri).unwrap_or_else(Refusal::into_response)
}

#[derive(Serialize)]
struct Page<'a> {
    items: Vec<Entry<'a>>,
    next: Option<String>,
}

#[derive(Serialize)]
struct Entry<'a> {
    sku: &'a str,
    title: &'a str,
    unit_price_minor: u64,
    currency: &'a str,
    in_stock: bool,
    category: &'a str,
    ships_to: &'a [&'a str],
    offer_url: String,
}

impl Merchant {
    fn catalog_page(&self, method: &Method, uri: &Uri) -> Result<Response, Refusal> {
        let form = Form::from_query(uri.query())?;
        let page = match form.get("page") {
            None => 1,
            Some(text) => text
                .parse::<usize>()
                .ok()
                .filter(|page| (1..=MAX_PAGE).contains(page))
                .ok_or_else(|| Refusal::invalid_request("page must be a number from 1"))?,
        };
        let start = (page - 1) * PAGE_SIZE;
        let listed = self.profile.items.iter().filter(|item| item.is_listed);
        let state = self.state();
        let items: Vec<Entry<'_>> = listed
            .clone()
            .skip(start)
            .take(PAGE_SIZE)
            .map(|item| {
                let today: &Item = state.stock.get(item.sku).unwrap_or(item);
                Entry {
                    sku: item.sku,
                    title: item.title,
                    unit_price_minor: today.unit_price_minor,
                    currency: item.currency,
                    in_stock: today.in_stock,
                    category: item.category,
                    ships_to: item.ships_to,
                    offer_url: format!("{}/oid4ac/offer/{}", self.origin, item.sku),
                }
            })
            .collect();
        let more = listed.count() > start + PAGE_SIZE;
        let next = more.then(|| format!("{}{}?page={}", self.origin, uri.path(), page + 1));
        let body = serde_json::to_vec(&Page { items, next }).map_err(|_| Refusal::server_error())?;
        drop(state);
        self.sign_response(SignedContent {
            method: method.as_str(),
            path_and_query: uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str),
            body,
            lifetime_seconds: 600,
            nonce: &random_token::<16>(self.rng.as_ref()),
            cache_control: "max-age=60",
        })
    }
}

const PAGE_SIZE: usize = 20;
const MAX_PAGE: usize = 1_000_000;
