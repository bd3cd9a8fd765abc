//! The one way out. Every request of the client goes through [`Client::send`].

use std::io::Read as _;

use bytes::Bytes;
use dpop::{Htu, Minter, Nonce, ProofRequest};
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::agent::Agent;
use crate::lenient::{self, without_bom};
use crate::metadata::document::Metadata;
use crate::nonce::Role;
use crate::secret::AccessToken;
use crate::{Artefact, Client, Endpoint, Error, Limits, Misbehaviour, ServerError, Stage, TransportError, Why};

/// A request to be sent.
pub(crate) struct Call<'a> {
    stage: Stage,
    method: Method,
    endpoint: &'a Endpoint,
    role: Role,
    headers: HeaderMap,
    minter: Option<&'a Minter>,
    access_token: Option<&'a AccessToken>,
    body: Bytes,
    limits: Limits,
}

impl<'a> Call<'a> {
    pub(crate) fn get(stage: Stage, endpoint: &'a Endpoint) -> Self {
        Self::new(stage, Method::GET, endpoint, Role::ResourceServer)
    }

    pub(crate) fn post(stage: Stage, endpoint: &'a Endpoint, role: Role) -> Self {
        Self::new(stage, Method::POST, endpoint, role)
    }

    fn new(stage: Stage, method: Method, endpoint: &'a Endpoint, role: Role) -> Self {
        let headers = HeaderMap::from_iter([
            (ACCEPT, HeaderValue::from_static(JSON)),
            // A digest is over the content as it is coded on the wire (RFC 9530), and a small answer needs no coding.
            (ACCEPT_ENCODING, HeaderValue::from_static("identity")),
        ]);
        Self {
            stage,
            method,
            endpoint,
            role,
            headers,
            minter: None,
            access_token: None,
            body: Bytes::new(),
            limits: Limits::ANSWER,
        }
    }

    /// With JSON.
    pub(crate) fn json(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.content_type(JSON)
    }

    /// With a DPoP proof by this key.
    pub(crate) fn proof(mut self, minter: &'a Minter) -> Self {
        self.minter = Some(minter);
        self
    }

    /// With a DPoP-bound access token.
    pub(crate) fn token(mut self, token: &'a AccessToken) -> Self {
        self.access_token = Some(token);
        self
    }

    pub(crate) fn role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }

    pub(crate) fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    fn content_type(mut self, value: &'static str) -> Self {
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static(value));
        self
    }
}

impl Client {
    /// Sends a call as it is.
    pub(crate) async fn send(&self, call: Call<'_>) -> Result<Answer, Error> {
        let body = call.body.clone();
        self.exchange(call, || Ok(body.clone())).await
    }

    /// Sends a form to the authorization server, with the client's authentication and a DPoP proof. Both are made again for
    /// the second attempt: each may be used once.
    pub(crate) async fn send_form(
        &self,
        stage: Stage,
        endpoint: &Endpoint,
        agent: &Agent,
        metadata: &Metadata,
        fields: &[(&str, &str)],
    ) -> Result<Answer, Error> {
        let call = Call::post(stage, endpoint, Role::AuthorizationServer).proof(metadata.minter(agent));
        self.exchange(call.content_type(FORM), || {
            let mut form = url::form_urlencoded::Serializer::new(String::new());
            form.extend_pairs(self.authentication(agent, metadata)?).extend_pairs(fields);
            Ok(Bytes::from(form.finish()))
        })
        .await
    }

    /// Attaches the proof, sends, keeps the nonce that comes back; once more if, and only if, the server asked for a nonce
    /// and gave one (RFC 9449 §8, §9).
    async fn exchange(
        &self,
        call: Call<'_>,
        body: impl Fn() -> Result<Bytes, Error> + Send + Sync,
    ) -> Result<Answer, Error> {
        let origin = call.endpoint.origin();
        let mut may_retry = call.minter.is_some();
        loop {
            let mut request = http::Request::new(body()?);
            *request.method_mut() = call.method.clone();
            *request.headers_mut() = call.headers.clone();
            self.attach_proof(&call, request.headers_mut())?;
            let (stage, sent_at) = (call.stage, self.now());
            let sent = self.inner.http.send(call.endpoint, request, call.limits).await;
            let response = sent.map_err(|error| Error::Transport { stage, error })?;
            let answer = Answer { stage, response };
            self.see_clock(call.endpoint, sent_at, &answer);
            let given = answer.header("dpop-nonce").and_then(|value| Nonce::parse(once(value)).ok());
            let got_nonce = given.is_some();
            if let Some(nonce) = given {
                self.inner.nonces.keep(origin, call.role, nonce);
            }
            let may_retry_now = may_retry && got_nonce;
            // Where the header alone asks, the body need not be readable.
            if !(may_retry_now && answer.asks_for_nonce()) {
                let answer = answer.decoded(call.limits).map_err(|error| Error::Transport { stage, error })?;
                if !(may_retry_now && answer.asks_for_nonce()) {
                    return Ok(answer);
                }
            }
            may_retry = false;
        }
    }

    fn attach_proof(&self, call: &Call<'_>, headers: &mut HeaderMap) -> Result<(), Error> {
        let Some(minter) = call.minter else { return Ok(()) };
        let htu = Htu::from_url(call.endpoint.url()).map_err(|_| {
            let why = crate::InvalidUrl::NotAbsolute;
            crate::Misuse::Url { what: "the URL of a DPoP-protected endpoint", why }
        })?;
        let nonce = self.inner.nonces.newest(call.endpoint.origin(), call.role);
        let mut request = ProofRequest::new(call.method.as_str(), &htu, self.now());
        if let Some(nonce) = &nonce {
            request = request.nonce(nonce);
        }
        if let Some(token) = call.access_token {
            request = request.access_token(token.expose());
            headers.insert(AUTHORIZATION, sensitive(&format!("DPoP {}", token.expose()))?);
        }
        let proof = minter.mint(&request, self.inner.rng.as_ref())?;
        headers.insert(HeaderName::from_static("dpop"), sensitive(proof.expose())?);
        Ok(())
    }
}

/// A header value that is not shown, nor kept in HTTP/2's tables.
pub(crate) fn sensitive(text: &str) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| Misbehaviour::new(Artefact::TokenResponse, Why::Member("access_token")))?;
    value.set_sensitive(true);
    Ok(value)
}

/// What a server answered.
pub(crate) struct Answer {
    stage: Stage,
    response: http::Response<Bytes>,
}

impl Answer {
    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    pub(crate) fn body(&self) -> &Bytes {
        self.response.body()
    }

    /// The body as JSON text.
    pub(crate) fn json_text(&self) -> &[u8] {
        without_bom(self.body())
    }

    /// A header that is printable ASCII and stands there once, or says the same each time.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.response.headers().get_all(name).iter();
        let first = values.next()?;
        values.all(|other| other == first).then(|| first.to_str().ok()).flatten()
    }

    /// The body as JSON of this shape; `what` it is, for the error.
    pub(crate) fn json<T: DeserializeOwned>(&self, what: Artefact) -> Result<T, Error> {
        let mut reader = serde_json::Deserializer::from_slice(self.json_text());
        let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
            // Where the text is JSON, every name on the path is one that we look for.
            let at = match error.inner().is_data() {
                true => error.path().to_string(),
                false => format!("line {} column {}", error.inner().line(), error.inner().column()),
            };
            Misbehaviour::new(what, Why::Json(at))
        })?;
        reader.end().map_err(|_| Misbehaviour::new(what, Why::Json("end".to_owned())))?;
        Ok(value)
    }

    /// This answer as an error (RFC 6749 §5.2). A body that is not JSON gives the status alone.
    pub(crate) fn server_error(&self) -> ServerError {
        let body: OAuthError = serde_json::from_slice(self.json_text()).unwrap_or_default();
        let status = self.status().as_u16();
        ServerError::new(self.stage, status, body.error.as_deref(), body.error_description.as_deref())
    }

    fn asks_for_nonce(&self) -> bool {
        match self.status() {
            StatusCode::BAD_REQUEST => self.server_error().error() == Some(USE_DPOP_NONCE),
            StatusCode::UNAUTHORIZED => {
                let challenges = self.headers().get_all(WWW_AUTHENTICATE).iter().filter_map(|v| v.to_str().ok());
                challenges.into_iter().any(|challenge| has_error(challenge, USE_DPOP_NONCE))
                    || self.server_error().error() == Some(USE_DPOP_NONCE)
            }
            _ => false,
        }
    }
}

impl Answer {
    /// Undoes a content coding that was not asked for, within the limits, where the coded octets are not what is signed.
    ///
    /// What cannot be decoded is no answer, unless it is an error whose status is enough. An answer to a presentation that
    /// is no success is never read: a gateway that recodes what it passes on may have replaced it as well, and a refusal
    /// is worth nothing unless it is the merchant's.
    fn decoded(mut self, limits: Limits) -> Result<Self, TransportError> {
        let Some(coding) = self.coding().filter(|_| !self.body().is_empty()) else { return Ok(self) };
        let is_signed = matches!(self.stage, Stage::Offer | Stage::Catalog) && self.status() == StatusCode::OK;
        let is_no_settlement = self.stage == Stage::VerifyMandate && self.status() != StatusCode::OK;
        if is_signed || is_no_settlement {
            return Err(TransportError::Encoded);
        }
        let decoded = match coding {
            Coding::Gzip => gunzip(self.body(), limits.body_octets),
            Coding::Other => Err(TransportError::Encoded),
        };
        *self.response.body_mut() = match decoded {
            Err(_) if self.status().is_client_error() || self.status().is_server_error() => Bytes::new(),
            decoded => decoded?,
        };
        Ok(self)
    }

    /// The coding of the body (RFC 9110 §8.4), if it has one.
    fn coding(&self) -> Option<Coding> {
        let fields = self.headers().get_all(CONTENT_ENCODING).iter();
        let names = fields.flat_map(|field| field.as_bytes().split(|b| *b == b',')).map(<[u8]>::trim_ascii);
        let mut names = names.filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case(b"identity"));
        let first = names.next()?;
        let is_gzip = first.eq_ignore_ascii_case(b"gzip") || first.eq_ignore_ascii_case(b"x-gzip");
        Some(if is_gzip && names.next().is_none() { Coding::Gzip } else { Coding::Other })
    }
}

enum Coding {
    Gzip,
    /// Another, or several.
    Other,
}

/// Decodes one gzip member, with nothing behind it, to at most `limit` octets.
fn gunzip(mut coded: &[u8], limit: usize) -> Result<Bytes, TransportError> {
    let mut octets = Vec::new();
    let member = flate2::bufread::GzDecoder::new(&mut coded);
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    member.take(most).read_to_end(&mut octets).map_err(|_| TransportError::Encoded)?;
    if octets.len() > limit {
        return Err(TransportError::TooLarge { limit });
    }
    if coded.is_empty() { Ok(Bytes::from(octets)) } else { Err(TransportError::Encoded) }
}

/// The value of a field of which a proxy has joined several equal lines.
fn once(value: &str) -> &str {
    match value.split_once(',') {
        Some((first, rest)) if rest.split(',').all(|other| other.trim() == first.trim()) => first.trim(),
        _ => value,
    }
}

/// Whether a challenge (RFC 9110 §11.6.1) has the parameter `error` with this value, as a token or quoted.
fn has_error(challenge: &str, code: &str) -> bool {
    let is_space = |c: char| c == ' ' || c == '\t';
    let mut rest = challenge;
    while !rest.is_empty() {
        rest = rest.trim_start_matches(|c| is_space(c) || c == ',');
        let end = rest.find(|c| is_space(c) || matches!(c, ',' | '=' | '"')).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let after = after.trim_start_matches(is_space);
        let value = after.strip_prefix('=').map(|value| value.trim_start_matches(is_space));
        // Without `=` it is a scheme, or nothing that we know: only a quoted text has to be skipped as one.
        let (text, next) = match (value, value.unwrap_or(after).strip_prefix('"')) {
            (_, Some(quoted)) => split_quoted(quoted),
            (Some(value), None) => value.split_at(value.find(|c| is_space(c) || c == ',').unwrap_or(value.len())),
            (None, None) => ("", after),
        };
        if value.is_some() && name.eq_ignore_ascii_case("error") && text == code {
            return true;
        }
        rest = next;
    }
    false
}

/// What stands before the quotation mark that ends a quoted text, and what behind it.
fn split_quoted(quoted: &str) -> (&str, &str) {
    let mut escaped = false;
    for (at, c) in quoted.char_indices() {
        match c {
            '"' if !escaped => return (&quoted[..at], &quoted[at + 1..]),
            _ => escaped = c == '\\' && !escaped,
        }
    }
    (quoted, "")
}

/// A member of another type says nothing; one that stands there twice makes the whole unreadable.
#[derive(Default, Deserialize)]
struct OAuthError {
    #[serde(default, deserialize_with = "lenient::text")]
    error: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    error_description: Option<String>,
}

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const USE_DPOP_NONCE: &str = "use_dpop_nonce";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_of_a_challenge_is_found_however_it_is_written_and_nowhere_else() {
        for challenge in [
            r#"DPoP error="use_dpop_nonce""#,
            "DPoP error=use_dpop_nonce",
            r#"DPoP algs="ES256 EdDSA", error=use_dpop_nonce, error_description="a, \"b\" error=x""#,
            r#"DPoP realm="a", Error = "use_dpop_nonce""#,
            r#"Basic realm="error=x", DPoP error=use_dpop_nonce"#,
            "DPoP error\t=\tuse_dpop_nonce,algs=EdDSA",
        ] {
            assert!(has_error(challenge, USE_DPOP_NONCE), "{challenge}");
        }
        for challenge in [
            "",
            "DPoP",
            "DPoP error",
            "DPoP error=",
            "DPoP error=\"",
            r#"DPoP error="invalid_token""#,
            "DPoP error=use_dpop_nonce2",
            "DPoP xerror=use_dpop_nonce",
            "DPoP error_uri=use_dpop_nonce",
            r#"DPoP error_description="error=use_dpop_nonce""#,
            r#"DPoP error_description="x\" error=use_dpop_nonce, ""#,
            r#"DPoP "error=use_dpop_nonce""#,
            "DPoP use_dpop_nonce",
            "=,\",==\"",
        ] {
            assert!(!has_error(challenge, USE_DPOP_NONCE), "{challenge}");
        }
    }

    #[test]
    fn a_nonce_that_was_joined_with_itself_is_one_and_two_are_none() {
        assert_eq!(once("abc"), "abc");
        assert_eq!(once("abc, abc,abc"), "abc");
        assert_eq!(once("abc, abd"), "abc, abd");
    }
}
