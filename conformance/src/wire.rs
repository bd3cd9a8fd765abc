//! One transport: requests as they are put together, answers as they come. Redirects are answers like any other.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::Value;
use url::Url;

use crate::outcome::{Outcome, Stop, broken, expect};

/// The connections to every server.
#[derive(Clone)]
pub(crate) struct Http(reqwest::Client);

impl Http {
    pub(crate) fn new() -> anyhow::Result<Self> {
        // Installing it a second time is refused, and the first is as good.
        let _already = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_secs(30))
            .pool_idle_timeout(Duration::from_secs(5))
            .tcp_nodelay(true)
            .build()?;
        Ok(Self(client))
    }

    pub(crate) async fn send(&self, call: Call) -> Result<Answer, Stop> {
        let Call { method, url, headers, body } = call;
        let Ok(url) = Url::parse(&url) else { return broken("an address of the server", "is no URL") };
        let step = format!("{method} {}", url.path());
        let mut request = self.0.request(method, url);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let Ok(mut response) = request.body(body).send().await else { return broken(&step, "no answer") };
        let (status, headers) = (response.status().as_u16(), std::mem::take(response.headers_mut()));
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() <= MAX_BODY => body.extend_from_slice(&chunk),
                Ok(Some(_)) => return broken(&step, "the answer is larger than 8 MiB"),
                Ok(None) => break,
                Err(_) => return broken(&step, "the answer broke off"),
            }
        }
        Ok(Answer { step, status, headers, body: body.into() })
    }

    pub(crate) async fn get(&self, url: &str) -> Result<Answer, Stop> {
        self.send(Call::get(url)).await
    }
}

/// A request.
pub(crate) struct Call {
    method: Method,
    url: String,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

impl Call {
    pub(crate) fn new(method: Method, url: &str) -> Self {
        Self { method, url: url.to_owned(), headers: Vec::new(), body: Bytes::new() }
    }

    pub(crate) fn get(url: &str) -> Self {
        Self::new(Method::GET, url)
    }

    pub(crate) fn post(url: &str) -> Self {
        Self::new(Method::POST, url)
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn form(self, form: &Form) -> Self {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&form.0).finish();
        self.text("application/x-www-form-urlencoded", body)
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.text("application/json", body.to_string())
    }

    pub(crate) fn text(mut self, content_type: &str, body: String) -> Self {
        self.body = body.into();
        self.header("content-type", content_type)
    }
}

/// The parameters of a form, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    pub(crate) fn of(pairs: &[(&str, &str)]) -> Self {
        Self(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    /// Sets a parameter, in place of any of its name.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.remove(name);
        self.add(name, value);
    }

    /// Adds a parameter, beside any of its name.
    pub(crate) fn add(&mut self, name: &str, value: impl Into<String>) {
        self.0.push((name.to_owned(), value.into()));
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.0.retain(|(n, _)| n != name);
    }
}

/// An answer, whatever its status.
pub(crate) struct Answer {
    step: String,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// An answer that was passed on.
    pub(crate) fn of(status: u16, headers: HeaderMap, body: Bytes) -> Self {
        Self { step: "what was handed on".to_owned(), status, headers, body }
    }

    /// The body as JSON; `null` where it is none, or has a member twice.
    pub(crate) fn json(&self) -> Value {
        jose::json::parse(&self.body).unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The error code, without anything that could be a secret or that a terminal should not see.
    pub(crate) fn error(&self) -> String {
        let json = self.json();
        let code = json["error"].as_str().unwrap_or("without an error code");
        code.chars().filter(|c| c.is_ascii_lowercase() || matches!(c, '_' | ' ')).take(64).collect()
    }

    /// Status and error code.
    pub(crate) fn summary(&self) -> String {
        match self.status {
            ..400 => self.status.to_string(),
            _ => format!("{} {}", self.status, self.error()),
        }
    }

    /// Whether this is that refusal.
    pub(crate) fn is(&self, status: u16, error: &str) -> bool {
        self.status == status && self.json()["error"] == error
    }

    /// The check's own question: whether this is that refusal.
    pub(crate) fn refused(&self, status: u16, error: &str) -> Outcome {
        expect(self.is(status, error), self.summary())
    }

    /// The check's own question: whether it was done.
    pub(crate) fn accepted(&self, status: u16) -> Outcome {
        expect(self.status == status, self.summary())
    }

    /// A preparatory step: if it fails, the check cannot go on.
    pub(crate) fn done(self, status: u16) -> Result<Self, Stop> {
        if self.status == status { Ok(self) } else { broken(&self.step, self.summary()) }
    }

    /// A parameter of the redirect.
    pub(crate) fn redirected_with(&self, name: &str) -> Option<String> {
        let location = Url::parse(self.header("location")?).ok()?;
        location.query_pairs().find(|(n, _)| n == name).map(|(_, value)| value.into_owned())
    }

    /// A text member of a step's answer.
    pub(crate) fn text(&self, name: &str) -> Result<String, Stop> {
        match self.json()[name].as_str() {
            Some(text) => Ok(text.to_owned()),
            None => broken(&self.step, format!("no `{name}`")),
        }
    }
}

const MAX_BODY: usize = 8 * 1024 * 1024;
