//! Every refusal of every party, and the one place where it becomes an HTTP response.

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

/// A request that is answered with an error: status, machine-readable code, a sentence for people, headers.
///
/// The sentence says what was wrong, never the value that was sent: values may be secrets.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    error: &'static str,
    description: Cow<'static, str>,
    headers: Vec<(HeaderName, HeaderValue)>,
    challenge_nonce: Option<String>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, error: &'static str, description: impl Into<Cow<'static, str>>) -> Self {
        Self { status, error, description: description.into(), headers: Vec::new(), challenge_nonce: None }
    }

    /// 400 (RFC 6749 §5.2, RFC 7591 §3.2.2, RFC 8707 §2, RFC 9396 §5).
    pub(crate) fn bad_request(error: &'static str, description: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error, description)
    }

    pub(crate) fn invalid_request(description: impl Into<Cow<'static, str>>) -> Self {
        Self::bad_request("invalid_request", description)
    }

    pub(crate) fn invalid_grant(description: impl Into<Cow<'static, str>>) -> Self {
        Self::bad_request("invalid_grant", description)
    }

    /// 401 for a client that could not be authenticated (RFC 6749 §5.2).
    pub(crate) fn invalid_client(description: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "invalid_client", description)
    }

    /// 422, the merchants' answer to a presentation that they could read and will not take.
    pub(crate) fn mandate(error: &'static str, description: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, error, description)
    }

    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "there is nothing here")
    }

    /// 503: a memory that must not forget is full, or a server that this one needs does not answer.
    pub(crate) fn unavailable(error: &'static str, description: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error, description).retry_after(1)
    }

    /// 500. No request should be able to cause it.
    pub(crate) fn server_error() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "the sandbox could not finish the request")
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(crate) fn retry_after(self, seconds: u32) -> Self {
        self.header(RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// Adds `WWW-Authenticate: DPoP` with this refusal's code (RFC 9449 §7.1).
    pub(crate) fn with_dpop_challenge(self) -> Self {
        let value = format!("DPoP error=\"{}\", algs=\"EdDSA ES256\"", self.error);
        match HeaderValue::from_str(&value) {
            Ok(value) => self.header(WWW_AUTHENTICATE, value),
            Err(_) => self,
        }
    }

    /// Adds the member `challenge_nonce`, a merchant's fresh challenge.
    pub(crate) fn challenge_nonce(mut self, nonce: String) -> Self {
        self.challenge_nonce = Some(nonce);
        self
    }

    pub(crate) fn error(&self) -> &'static str {
        self.error
    }

    pub(crate) fn description(&self) -> &str {
        &self.description
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Body<'a> {
            error: &'a str,
            error_description: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            challenge_nonce: Option<&'a str>,
        }
        let body = Body {
            error: self.error,
            error_description: &self.description,
            challenge_nonce: self.challenge_nonce.as_deref(),
        };
        let mut response = json(self.status, &body);
        for (name, value) in self.headers {
            response.headers_mut().append(name, value);
        }
        response
    }
}

/// A JSON response that no cache keeps.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(octets) => (status, [(CONTENT_TYPE, JSON), (CACHE_CONTROL, NO_STORE)], octets).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(crate) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
