//! What the person sees when their browser is back: plain pages without scripts, and without anything of the request.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{Response, StatusCode};

/// A page; which text it has depends on nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    Approved,
    Declined,
    /// It came to nothing; the caller knows why.
    Failed,
    Over,
    TooOften,
    NotOurs,
    NotFound,
}

impl Page {
    fn status(self) -> StatusCode {
        match self {
            Self::Approved | Self::Declined => StatusCode::OK,
            Self::Failed => StatusCode::BAD_GATEWAY,
            Self::Over => StatusCode::GONE,
            Self::TooOften => StatusCode::TOO_MANY_REQUESTS,
            Self::NotOurs => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
        }
    }

    /// Heading and sentence.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Approved => (
                "Your approval was passed on",
                "You can close this page. Your agent goes on from here and tells you what came of it.",
            ),
            // The answer is the same where the server refused by itself.
            Self::Declined => (
                "Access was not granted",
                "Your authorization server answers that access was denied, by you or by its own rules. You can close this \
                 page. Nothing was paid, and your agent knows.",
            ),
            Self::Failed => {
                ("This did not work", "Go back to your agent: it was told what is wrong. Nothing was paid.")
            }
            Self::Over => ("This is over", "It was decided or canceled before. You can close this page."),
            Self::TooOften => ("Opened too often", "Go back to your agent and start again."),
            Self::NotOurs => {
                ("This answer belongs to nothing here", "Go back to your agent and open its address again.")
            }
            Self::NotFound => ("There is nothing here", "Go back to your agent and open its address again."),
        }
    }
}

pub(super) fn respond(page: Page) -> Response<String> {
    let (heading, sentence) = page.words();
    let mut response = empty(page.status());
    *response.body_mut() = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{heading}</title>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<style>{STYLE}</style>\n</head>\n\
         <body>\n<main>\n<h1>{heading}</h1>\n<p>{sentence}</p>\n</main>\n</body>\n</html>\n"
    );
    response
}

/// No answer is kept by anybody, framed, read from another origin, or tells where it came from.
pub(super) fn empty(status: StatusCode) -> Response<String> {
    let mut response = Response::new(String::new());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (http::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (http::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(policy) = HeaderValue::from_str(&POLICY) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}

static POLICY: LazyLock<String> = LazyLock::new(|| {
    let style = STANDARD.encode(jose::sha256(STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
});

const STYLE: &str = "body{font:1.125rem/1.5 system-ui,sans-serif;margin:0}main{max-width:36rem;margin:15vh auto 0;padding:0 1.5rem}\
h1{font-size:1.5rem;line-height:1.25}";
