//! The signed receipt, and the address where it can be read again.

use std::sync::Arc;

use axum::extract::{Path, State as Extract};
use axum::response::{IntoResponse as _, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use jose::{TokenHeader, UnixSeconds, sign_compact};
use serde::Serialize;

use super::Merchant;
use crate::error::{JSON, NO_STORE, Refusal};

/// The claims of `receipt_jws`.
#[derive(Serialize)]
pub(super) struct Receipt<'a> {
    pub(super) iss: &'a str,
    pub(super) iat: UnixSeconds,
    pub(super) mandate_id: &'a str,
    pub(super) idempotency_key: &'a str,
    pub(super) payment_intent_id: &'a str,
    pub(super) amount_minor: u64,
    pub(super) currency: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) offer_digest: Option<&'a str>,
    pub(super) settled_at: &'a str,
}

impl Merchant {
    /// Signs a receipt.
    pub(super) fn sign_receipt(&self, receipt: &Receipt<'_>) -> Result<String, Refusal> {
        let payload = serde_json::to_vec(receipt).map_err(|_| Refusal::server_error())?;
        let signer = self.keys.current();
        let header = TokenHeader::new("oid4ac-receipt+jwt").kid(&signer.kid);
        sign_compact(&signer.key, &header, &payload).map_err(|_| Refusal::server_error())
    }
}

/// `GET /receipts/{id}.json`. The id is unguessable.
pub(super) async fn receipt(Extract(merchant): Extract<Arc<Merchant>>, Path(file): Path<String>) -> Response {
    let id = file.strip_suffix(".json").unwrap_or_default();
    match merchant.state().ledger.receipts.get(merchant.clock.now(), id) {
        Some(body) => ([(CONTENT_TYPE, JSON), (CACHE_CONTROL, NO_STORE)], body.clone()).into_response(),
        None => Refusal::not_found().into_response(),
    }
}
