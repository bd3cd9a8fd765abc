//! Bodies of requests and responses.

use axum::extract::Request;
use axum::response::Response;
use http::StatusCode;

use crate::error::{Refusal, json};
use crate::form::Form;
use crate::server::read_body;

/// Takes a form-encoded request apart.
pub(super) async fn read_form(request: Request) -> Result<(http::HeaderMap, Form), Refusal> {
    let (parts, body) = request.into_parts();
    let body = read_body(body, MAX_BODY).await?;
    let form = Form::from_body(&parts.headers, &body)?;
    Ok((parts.headers, form))
}

/// A 201 with this JSON.
pub(super) fn created(body: &impl serde::Serialize) -> Response {
    json(StatusCode::CREATED, body)
}

pub(super) const MAX_BODY: usize = 64 * 1024;
