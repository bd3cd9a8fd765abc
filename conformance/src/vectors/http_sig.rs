//! Signed requests and responses.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_sig::{Component, ContentDigest, Message, Verifier};
use jose::UnixSeconds;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::json;

use super::judged::{Judged, JwkText};
use super::jwk::verification_key;
use super::rule::Rule as _;

#[derive(Deserialize)]
pub(super) struct Case<'a> {
    message: Described,
    request: Option<Request>,
    #[serde(borrow)]
    keys: BTreeMap<String, &'a JwkText>,
    label: Option<String>,
    now: Option<UnixSeconds>,
    max_age: Option<u32>,
    require: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Described {
    Request(Request),
    Response(Response),
}

#[derive(Deserialize)]
struct Request {
    method: String,
    url: String,
    headers: Headers,
    #[serde(default, deserialize_with = "octets")]
    body_b64: Option<Vec<u8>>,
}

#[derive(Deserialize)]
struct Response {
    status: u16,
    headers: Headers,
    #[serde(default, deserialize_with = "octets")]
    body_b64: Option<Vec<u8>>,
}

type Headers = Vec<(String, String)>;

pub(super) fn judge(case: &Case<'_>) -> Judged {
    let mut verifier = Verifier::new();
    if let Some(label) = &case.label {
        verifier = verifier.label(label);
    }
    for component in case.require.iter().flatten() {
        verifier = verifier.require(Component::parse(component).map_err(|error| error.rule())?);
    }
    if let Some(seconds) = case.max_age {
        verifier = verifier.max_age(seconds);
    }
    if case.now.is_none() {
        verifier = verifier.danger_ignore_times();
    }
    // As in a JWKS, a key that cannot be used is as good as not there (RFC 7517 §5).
    let keys: BTreeMap<_, _> =
        case.keys.iter().filter_map(|(id, jwk)| Some((id.as_str(), verification_key(jwk).ok()?))).collect();

    let fields = case.request.as_ref().map(|request| fields(&request.headers));
    let request = match case.request.as_ref().zip(fields.as_deref()) {
        Some((request, fields)) => {
            check_content(request, fields)?;
            Some(Message::request(&request.method, &request.url, fields).map_err(|error| error.rule())?)
        }
        None => None,
    };
    let (headers, body) = match &case.message {
        Described::Request(request) => (&request.headers, &request.body_b64),
        Described::Response(response) => (&response.headers, &response.body_b64),
    };
    let fields = self::fields(headers);
    let message = match &case.message {
        Described::Request(request) => Message::request(&request.method, &request.url, &*fields),
        Described::Response(response) => Message::response(response.status, &*fields),
    };
    let mut message = message.map_err(|error| error.rule())?.with_body(body.as_deref().unwrap_or_default());
    if let Some(request) = &request {
        message = message.in_reply_to(request);
    }
    let verified = verifier
        .verify(&message, case.now.unwrap_or_default(), |keyid| keys.get(keyid))
        .map_err(|error| error.rule())?;
    Ok(json!({ "label": verified.label(), "base": verified.base() }))
}

fn fields(headers: &Headers) -> Vec<(&str, &[u8])> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect()
}

/// The request that a response answers is not what is verified, but where its content is given, that has to be its own.
fn check_content(request: &Request, fields: &[(&str, &[u8])]) -> Result<(), String> {
    let Some(body) = &request.body_b64 else { return Ok(()) };
    let digest = ContentDigest::from_fields(fields).map_err(|error| error.rule())?;
    digest.map_or(Ok(()), |digest| digest.verify(body).map_err(|error| error.rule()))
}

fn octets<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| STANDARD.decode(text).map_err(|_| D::Error::custom("not base64"))).transpose()
}
