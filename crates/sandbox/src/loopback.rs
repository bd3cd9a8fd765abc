//! The few GET requests that the sandbox's parties make to each other, over real HTTP on the loopback interface.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, HOST, IF_NONE_MATCH, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// What came back.
pub(crate) struct Fetched {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// The other party could not be reached, broke off, took too long or sent too much.
#[derive(Debug)]
pub(crate) struct FetchFailed;

/// GETs `path` (path and query) at `origin`, which must be `http://` and a loopback address. Redirects are not followed.
/// With the `ETag` of a copy at hand the answer may be 304.
pub(crate) async fn get(origin: &str, path: &str, etag: Option<&HeaderValue>) -> Result<Fetched, FetchFailed> {
    tokio::time::timeout(TIMEOUT, exchange(origin, path, etag)).await.map_err(|_| FetchFailed)?
}

async fn exchange(origin: &str, path: &str, etag: Option<&HeaderValue>) -> Result<Fetched, FetchFailed> {
    let authority = origin.strip_prefix("http://").ok_or(FetchFailed)?;
    let address: SocketAddr = authority.parse().map_err(|_| FetchFailed)?;
    if !address.ip().is_loopback() {
        return Err(FetchFailed);
    }
    let stream = TcpStream::connect(address).await.map_err(|_| FetchFailed)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|_| FetchFailed)?;
    let mut request = Request::get(path)
        .header(HOST, authority)
        .header(USER_AGENT, SANDBOX_AGENT)
        .header(ACCEPT, "application/json")
        .body(Empty::<Bytes>::new())
        .map_err(|_| FetchFailed)?;
    if let Some(etag) = etag {
        request.headers_mut().insert(IF_NONE_MATCH, etag.clone());
    }
    // Owns `sender`: once the answer is read it is dropped, which ends the connection. Driving both here, and not the
    // connection in a task of its own, lets nothing outlive the caller.
    let answer = async move {
        let response = sender.send_request(request).await.map_err(|_| FetchFailed)?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await.map_err(|_| FetchFailed)?.to_bytes();
        Ok(Fetched { status: parts.status, headers: parts.headers, body })
    };
    tokio::join!(answer, connection).0
}

/// How the sandbox's parties name themselves; the request log leaves them out.
pub(crate) const SANDBOX_AGENT: &str = "oid4ac-sandbox";
const TIMEOUT: Duration = Duration::from_secs(5);
const MAX_BODY: usize = 2 * 1024 * 1024;
