//! Answers that several pages give.

use axum::http::header::{CACHE_CONTROL, LOCATION};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use spend_guard::LedgerError;

use super::html::Problem;

/// What the ledger's refusal is on a page: its own sentence.
pub(super) fn problem_of(error: LedgerError) -> Problem {
    let (status, title) = match error {
        LedgerError::NoSuchIntent(_) => return Problem::not_found(),
        LedgerError::AlreadyApproved(_) | LedgerError::IllegalStep { .. } => {
            (StatusCode::CONFLICT, "That was decided before")
        }
        LedgerError::ApprovalExpired(_) => (StatusCode::CONFLICT, "Too late"),
        LedgerError::ApprovalMismatch { .. } => (StatusCode::CONFLICT, "Something changed"),
        LedgerError::Busy { .. } => (StatusCode::SERVICE_UNAVAILABLE, "Please try again"),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "The ledger cannot be used"),
    };
    Problem::new(status, title, format!("The ledger says: {error}."))
}

/// 303: the browser gets the page there, and reloading it sends no form twice.
pub(super) fn see_other(path: &str) -> Response {
    match HeaderValue::from_str(path) {
        Ok(location) => {
            let headers = [(LOCATION, location), (CACHE_CONTROL, HeaderValue::from_static("no-store"))];
            (StatusCode::SEE_OTHER, headers).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
