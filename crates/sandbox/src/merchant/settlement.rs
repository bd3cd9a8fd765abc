//! What was settled, as one list.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::extract::State as Extract;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;

use super::Merchant;
use super::ledger::Settlement;
use crate::error::json;

/// `GET /settlements`: for tests that count payments. Like everything here, on this machine only.
pub(super) async fn settlements(Extract(merchant): Extract<Arc<Merchant>>) -> Response {
    #[derive(Serialize)]
    struct List<'a> {
        settlements: &'a VecDeque<Settlement>,
    }
    json(StatusCode::OK, &List { settlements: &merchant.state().ledger.settlements })
}
