//! Signed responses (RFC 9421, RFC 9530).

use axum::response::{IntoResponse as _, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_sig::{Component, ContentDigest, DigestAlg, Message, SignatureBuilder};
use jose::UnixSeconds;

use super::{Merchant, RequestComponents};
use crate::error::{JSON, Refusal};
use crate::header::{CONTENT_DIGEST, SIGNATURE, SIGNATURE_INPUT};

/// What a signed response answers and says.
pub(super) struct SignedContent<'a> {
    /// The request's method.
    pub(super) method: &'a str,
    /// The request's path and query, as received.
    pub(super) path_and_query: &'a str,
    /// The JSON.
    pub(super) body: Vec<u8>,
    /// How long the signature is good.
    pub(super) lifetime_seconds: UnixSeconds,
    /// The signature's nonce.
    pub(super) nonce: &'a str,
    pub(super) cache_control: &'static str,
}

impl Merchant {
    /// Signs a 200 that answers one request with one body. All five components are covered.
    pub(super) fn sign_response(&self, content: SignedContent<'_>) -> Result<Response, Refusal> {
        self.try_sign(content).ok_or_else(Refusal::server_error)
    }

    fn try_sign(&self, content: SignedContent<'_>) -> Option<Response> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, JSON);
        let digest = ContentDigest::field_value(&content.body, &[DigestAlg::Sha256]);
        headers.insert(CONTENT_DIGEST, HeaderValue::from_str(&digest).ok()?);

        let target_uri = format!("{}{}", self.origin, content.path_and_query);
        let none = HeaderMap::new();
        let request = Message::request(content.method, &target_uri, &none).ok()?;
        let mut response = Message::response(StatusCode::OK.as_u16(), &headers).ok()?.in_reply_to(&request);
        let req = match self.profile.request_components {
            RequestComponents::WithReq => ";req",
            RequestComponents::Bare => {
                response = response.danger_allow_missing_req();
                ""
            }
        };
        let now = self.clock.now();
        let signer = self.keys.current();
        let mut builder = SignatureBuilder::new("sig1").ok()?;
        for name in ["@method", "@target-uri", "@authority"] {
            builder = builder.component(Component::parse(&format!("{name}{req}")).ok()?);
        }
        for name in ["content-type", "content-digest"] {
            builder = builder.component(Component::parse(name).ok()?);
        }
        let signed = builder
            .created(now)
            .expires(now + content.lifetime_seconds)
            .nonce(content.nonce)
            .ok()?
            .keyid(&signer.kid)
            .ok()?
            .alg()
            .sign(&response, &signer.key)
            .ok()?;
        headers.insert(SIGNATURE_INPUT, HeaderValue::from_str(signed.signature_input()).ok()?);
        headers.insert(SIGNATURE, HeaderValue::from_str(signed.signature()).ok()?);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(content.cache_control));
        Some((StatusCode::OK, headers, content.body).into_response())
    }
}
