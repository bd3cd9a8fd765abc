//! The one way out. Every request of the client goes through [`Client::send`].

use bytes::Bytes;
use dpop::{Htu, Minter, Nonce, ProofRequest};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::client::Agent;
use crate::metadata::Metadata;
use crate::nonce::Role;
use crate::secret::AccessToken;
use crate::{Artefact, Client, Endpoint, Error, Limits, Misbehaviour, ServerError, Stage, Why};

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
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(JSON))]);
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

    /// Sends a form to the authorization server, with the client's authentication and a DPoP proof. Both are made anew for
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
            let given = answer.header("dpop-nonce").and_then(|value| Nonce::parse(value).ok());
            let got_nonce = given.is_some();
            if let Some(nonce) = given {
                self.inner.nonces.keep(origin, call.role, nonce);
            }
            if !(may_retry && got_nonce && answer.asks_for_nonce()) {
                return Ok(answer);
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

    /// A header that stands there once and is printable ASCII.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.response.headers().get_all(name).iter();
        let first = values.next()?;
        values.next().is_none().then(|| first.to_str().ok()).flatten()
    }

    /// The body as JSON of this shape; `what` it is, for the error.
    pub(crate) fn json<T: DeserializeOwned>(&self, what: Artefact) -> Result<T, Error> {
        let mut reader = serde_json::Deserializer::from_slice(self.body());
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
        let body: OAuthError = serde_json::from_slice(self.body()).unwrap_or_default();
        let status = self.status().as_u16();
        ServerError::new(self.stage, status, body.error.as_deref(), body.error_description.as_deref())
    }

    fn asks_for_nonce(&self) -> bool {
        match self.status() {
            StatusCode::BAD_REQUEST => self.server_error().error() == Some(USE_DPOP_NONCE),
            StatusCode::UNAUTHORIZED => {
                let challenges = self.headers().get_all(WWW_AUTHENTICATE).iter().filter_map(|v| v.to_str().ok());
                challenges.into_iter().any(|value| value.contains(r#"error="use_dpop_nonce""#))
                    || self.server_error().error() == Some(USE_DPOP_NONCE)
            }
            _ => false,
        }
    }
}

#[derive(Default, Deserialize)]
struct OAuthError {
    error: Option<String>,
    error_description: Option<String>,
}

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const USE_DPOP_NONCE: &str = "use_dpop_nonce";
