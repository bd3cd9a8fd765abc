//! `application/x-www-form-urlencoded` parameters, each at most once (RFC 6749 §3.1, §3.2).

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;

use crate::error::Refusal;

/// The parameters of a body or a query. No `Debug`: among them are codes, tokens and assertions.
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    /// Reads a request body. RFC 6749 §3.2: "Request and response parameters MUST NOT be included more than once."
    pub(crate) fn from_body(headers: &HeaderMap, body: &Bytes) -> Result<Self, Refusal> {
        if !has_media_type(headers, "application/x-www-form-urlencoded") {
            return Err(Refusal::invalid_request("the body must be application/x-www-form-urlencoded"));
        }
        Self::parse(body)
    }

    /// Reads a query.
    pub(crate) fn from_query(query: Option<&str>) -> Result<Self, Refusal> {
        Self::parse(query.unwrap_or_default().as_bytes())
    }

    fn parse(octets: &[u8]) -> Result<Self, Refusal> {
        let mut parameters: Vec<(String, String)> = Vec::new();
        for (name, value) in url::form_urlencoded::parse(octets) {
            // The decoder replaces what is not UTF-8; nothing that is meant here contains the replacement character.
            if name.contains('\u{fffd}') || value.contains('\u{fffd}') {
                return Err(Refusal::invalid_request("a parameter is not UTF-8"));
            }
            if parameters.len() == MAX_PARAMETERS {
                return Err(Refusal::invalid_request("too many parameters"));
            }
            if parameters.iter().any(|(earlier, _)| *earlier == name) {
                return Err(Refusal::invalid_request("a parameter is repeated"));
            }
            parameters.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(parameters))
    }

    /// The parameter's value. One without a value counts as not sent (RFC 6749 §3.1).
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    pub(crate) fn required(&self, name: &'static str) -> Result<&str, Refusal> {
        self.get(name).ok_or_else(|| Refusal::invalid_request(format!("the parameter `{name}` is missing")))
    }
}

/// Whether the one `Content-Type` names this media type, whatever its parameters (RFC 9110 §8.3.1).
pub(crate) fn has_media_type(headers: &HeaderMap, wanted: &str) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let Ok(value) = value.to_str() else { return false };
    value.split(';').next().is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case(wanted))
}

/// The header's value if it is there once; an error if it is there twice or is not text.
pub(crate) fn only_header<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, ()> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| ()),
        (Some(_), Some(_)) => Err(()),
    }
}

const MAX_PARAMETERS: usize = 64;
