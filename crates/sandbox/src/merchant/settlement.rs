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

/// `GET /settlements`: for whoever counts; on this machine only, as everything here.
pub(super) async fn settlements(Extract(merchant): Extract<Arc<Merchant>>) -> Response {
    #[derive(Serialize)]
    struct List<'a> {
        settlements: &'a VecDeque<Settlement>,
    }
    json(StatusCode::OK, &List { settlements: &merchant.state().ledger.settlements })
}
