//! The status list (W3C StatusList2021): one bit per mandate, set when it is revoked.

mod bits;

use std::io::Write as _;
use std::sync::Arc;

use axum::extract::{Path, State as Extract};
use axum::response::{IntoResponse as _, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, StatusCode};
use jose::{TokenHeader, UnixSeconds, base64url, sha256, sign_compact};
use serde_json::json;

use super::AuthorizationServer;
use crate::clock::rfc3339;
use crate::error::{JSON, Refusal};

use bits::Published;
pub(super) use bits::StatusList;

/// `GET /oauth/status-list/{list_id}`.
pub(super) async fn status_list(
    Extract(server): Extract<Arc<AuthorizationServer>>,
    Path(list_id): Path<String>,
    headers: HeaderMap,
) -> Response {
    if list_id != LIST_ID {
        return Refusal::not_found().into_response();
    }
    let Some(published) = server.published_status_list() else { return Refusal::server_error().into_response() };
    let validators = [(ETAG, published.etag.clone()), (CACHE_CONTROL, HeaderValue::from_static("max-age=60"))];
    let unchanged = headers.get_all(IF_NONE_MATCH).iter().any(|value| {
        value.to_str().is_ok_and(|list| {
            list.split(',').any(|tag| tag.trim() == "*" || tag.trim().trim_start_matches("W/") == published.etag)
        })
    });
    match unchanged {
        true => (StatusCode::NOT_MODIFIED, validators).into_response(),
        false => (validators, [(CONTENT_TYPE, JSON)], published.body).into_response(),
    }
}

impl AuthorizationServer {
    /// The credential, which is signed again once a minute and after each revocation.
    fn published_status_list(&self) -> Option<Published> {
        let now = self.clock.now();
        let mut state = self.state();
        if let Some(published) = &state.status_list.published
            && (0..REGENERATED_SECONDS).contains(&(now - published.at))
        {
            return Some(published.clone());
        }
        let body = self.sign_status_list(&state.status_list.revoked, now)?;
        let etag = format!("\"{}\"", base64url::encode(&sha256(&body)[..16]));
        let published = Published { at: now, etag: HeaderValue::from_str(&etag).ok()?, body: body.into() };
        state.status_list.published = Some(published.clone());
        Some(published)
    }

    fn sign_status_list(&self, bits: &[u8], now: UnixSeconds) -> Option<Vec<u8>> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(bits).ok()?;
        let encoded_list = base64url::encode(&gzip.finish().ok()?);
        let id = &self.endpoints.status_list;
        let mut credential = json!({
            "@context": ["https://www.w3.org/2018/credentials/v1", "https://w3id.org/vc/status-list/2021/v1"],
            "id": id,
            "type": ["VerifiableCredential", "StatusList2021Credential"],
            "issuer": self.issuer(),
            "issuanceDate": rfc3339(now),
            "credentialSubject": {
                "id": format!("{id}#list"),
                "type": "StatusList2021",
                "statusPurpose": "revocation",
                "encodedList": encoded_list,
            },
        });
        // Detached content (RFC 7515 appendix F): the payload, which is what is left of the credential without `proof`,
        // is taken out of the middle.
        let payload = serde_json_canonicalizer::to_vec(&credential).ok()?;
        let signer = self.keys.current();
        let jws = sign_compact(&signer.key, &TokenHeader::untyped().kid(&signer.kid), &payload).ok()?;
        let (header, rest) = jws.split_once('.')?;
        let (_, signature) = rest.split_once('.')?;
        credential["proof"] = json!({
            "type": "JsonWebSignature2020",
            "created": rfc3339(now),
            "proofPurpose": "assertionMethod",
            "verificationMethod": format!("{}#{}", self.endpoints.jwks, signer.kid),
            "jws": format!("{header}..{signature}"),
        });
        serde_json::to_vec(&credential).ok()
    }
}

const LIST_ID: &str = "1";
const REGENERATED_SECONDS: UnixSeconds = 60;
