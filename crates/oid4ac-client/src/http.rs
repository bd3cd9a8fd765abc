//! The way out to the network: one object-safe trait and one implementation.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use url::Host;

use crate::{AddressPolicy, Endpoint, Origin};

/// What a transport gives back, or why not.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Result<http::Response<Bytes>, TransportError>> + Send + 'a>>;

/// Sends one HTTP request and collects the answer.
///
/// An implementation never follows a redirect, never repeats a request, sends nothing that the request does not have, and
/// keeps to [`Limits`]. It refuses to connect to addresses that the operator does not want to be reached.
pub trait HttpClient: Send + Sync {
    /// Sends `request` to `endpoint`; the URI inside `request` is not looked at.
    fn send<'a>(&'a self, endpoint: &'a Endpoint, request: http::Request<Bytes>, limits: Limits) -> Sending<'a>;
}

/// How much of an answer is read, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The body's size, in octets.
    pub body_octets: usize,
    /// From the first octet sent to the last received.
    pub time: Duration,
}

impl Limits {
    /// 256 KiB and 15 seconds: enough for every answer of the payment flow.
    pub const ANSWER: Self = Self { body_octets: 256 * 1024, time: Duration::from_secs(15) };
    /// 8 MiB and 30 seconds, for a catalog and for what a principal has a right to know.
    pub const LARGE: Self = Self { body_octets: 8 * 1024 * 1024, time: Duration::from_secs(30) };
}

/// Why there is no answer. No URL and no text of the peer is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The URL leads to an address that must not be reached.
    #[error("the host's address is not one that may be connected to")]
    ForbiddenAddress,
    /// No connection: refused, no such name, TLS. Nothing was sent.
    #[error("no connection to the server")]
    NotConnected,
    /// The connection broke after the request may have left.
    #[error("the connection was lost before the answer was complete")]
    Lost,
    /// The time was up after the request may have left.
    #[error("no complete answer in time")]
    TimedOut,
    /// The answer's body is in a content coding that was not asked for, and cannot be used so.
    #[error("the answer is in a content coding that was not asked for")]
    Encoded,
    /// The answer is larger than the limit.
    #[error("the answer is larger than {limit} octets")]
    TooLarge {
        /// The limit, in octets.
        limit: usize,
    },
}

impl TransportError {
    /// Whether the request may have reached the server.
    #[must_use]
    pub fn may_have_arrived(&self) -> bool {
        !matches!(self, Self::ForbiddenAddress | Self::NotConnected)
    }

    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::ForbiddenAddress => "forbidden_address",
            Self::NotConnected => "not_connected",
            Self::Lost => "connection_lost",
            Self::TimedOut => "timed_out",
            Self::Encoded => "answer_encoded",
            Self::TooLarge { .. } => "answer_too_large",
        }
    }
}

/// [`HttpClient`] over reqwest and rustls. Building it costs nothing; a connection pool is made at the first request.
pub struct ReqwestClient {
    policy: AddressPolicy,
    trusted: BTreeSet<Origin>,
    /// For trusted origins. A resolver sees a name and no port, so that the others need one of their own.
    unfiltered: OnceLock<Option<reqwest::Client>>,
    filtered: OnceLock<Option<reqwest::Client>>,
}

impl ReqwestClient {
    /// A client that reaches the addresses `policy` allows, and the `trusted` origins (those the operator set) wherever
    /// they are. Another port of a trusted host is another origin.
    #[must_use]
    pub fn new(policy: AddressPolicy, trusted: impl IntoIterator<Item = Origin>) -> Self {
        Self { policy, trusted: trusted.into_iter().collect(), unfiltered: OnceLock::new(), filtered: OnceLock::new() }
    }

    /// A client for an operator whose authorization server is `issuer`: loopback addresses only when that is a loopback
    /// one, else global addresses only.
    #[must_use]
    pub fn for_issuer(issuer: &Origin, trusted: impl IntoIterator<Item = Origin>) -> Self {
        let policy = if issuer.is_loopback() { AddressPolicy::LoopbackOnly } else { AddressPolicy::GlobalOnly };
        Self::new(policy, trusted.into_iter().chain([issuer.clone()]))
    }

    fn pool(&self, endpoint: &Endpoint) -> Result<&reqwest::Client, TransportError> {
        let (pool, policy) = match self.trusted.contains(endpoint.origin()) {
            true => (&self.unfiltered, None),
            false => (&self.filtered, Some(self.policy)),
        };
        pool.get_or_init(|| Self::build(policy).ok()).as_ref().ok_or(TransportError::NotConnected)
    }

    fn build(policy: Option<AddressPolicy>) -> reqwest::Result<reqwest::Client> {
        // Installing it a second time is refused, and the first is as good.
        let _already = rustls::crypto::ring::default_provider().install_default();
        let resolver = FilteringResolver { policy };
        reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_max_header_list_size(MAX_HEADER_OCTETS)
            .dns_resolver(Arc::new(resolver))
            .build()
    }

    /// A host written as an address never passes the resolver, so it is checked here.
    fn check_literal(&self, endpoint: &Endpoint) -> Result<(), TransportError> {
        let address = match endpoint.url().host() {
            Some(Host::Ipv4(v4)) => v4.into(),
            Some(Host::Ipv6(v6)) => v6.into(),
            _ => return Ok(()),
        };
        match self.policy.allows(address) || self.trusted.contains(endpoint.origin()) {
            true => Ok(()),
            false => Err(TransportError::ForbiddenAddress),
        }
    }

    async fn exchange(
        &self,
        endpoint: &Endpoint,
        request: http::Request<Bytes>,
        limits: Limits,
    ) -> Result<http::Response<Bytes>, TransportError> {
        self.check_literal(endpoint)?;
        let (parts, body) = request.into_parts();
        let sent = self
            .pool(endpoint)?
            .request(parts.method, endpoint.url().clone())
            .headers(parts.headers)
            .body(body)
            .timeout(limits.time)
            .send()
            .await;
        let mut answer = sent.map_err(|error| classify(&error))?;
        let mut response = http::Response::new(Bytes::new());
        *response.status_mut() = answer.status();
        *response.headers_mut() = std::mem::take(answer.headers_mut());
        let limit = limits.body_octets;
        if answer.content_length().is_some_and(|length| length > limit as u64) {
            return Err(TransportError::TooLarge { limit });
        }
        *response.body_mut() = collect(&mut answer, limit).await?;
        Ok(response)
    }
}

/// A body in one piece is handed on as it came.
async fn collect(answer: &mut reqwest::Response, limit: usize) -> Result<Bytes, TransportError> {
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| classify(&error))? {
        if first.len() + rest.len() + chunk.len() > limit {
            return Err(TransportError::TooLarge { limit });
        }
        if first.is_empty() {
            first = chunk;
        } else {
            rest.extend_from_slice(&chunk);
        }
    }
    if rest.is_empty() {
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(first.len() + rest.len());
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&rest);
    Ok(whole.freeze())
}

fn classify(error: &reqwest::Error) -> TransportError {
    if error.is_connect() {
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            if cause.is::<Forbidden>() {
                return TransportError::ForbiddenAddress;
            }
            source = cause.source();
        }
        TransportError::NotConnected
    } else if error.is_timeout() {
        TransportError::TimedOut
    } else {
        TransportError::Lost
    }
}

impl HttpClient for ReqwestClient {
    fn send<'a>(&'a self, endpoint: &'a Endpoint, request: http::Request<Bytes>, limits: Limits) -> Sending<'a> {
        Box::pin(self.exchange(endpoint, request, limits))
    }
}

/// Resolves a name and keeps the addresses that may be reached, so that the address which was checked is the one that is
/// connected to (a second look-up could answer otherwise).
struct FilteringResolver {
    /// `None` lets every address through.
    policy: Option<AddressPolicy>,
}

impl reqwest::dns::Resolve for FilteringResolver {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let policy = self.policy;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let kept: Vec<SocketAddr> =
                found.filter(|address| policy.is_none_or(|policy| policy.allows(address.ip()))).collect();
            match kept.is_empty() {
                true => Err(Forbidden.into()),
                false => Ok(Box::new(kept.into_iter()) as reqwest::dns::Addrs),
            }
        })
    }
}

/// Every address of a name is one that must not be reached.
#[derive(Debug, thiserror::Error)]
#[error("no address of the host may be connected to")]
struct Forbidden;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_HEADER_OCTETS: u32 = 64 * 1024;
