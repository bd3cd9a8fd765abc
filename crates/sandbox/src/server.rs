//! One loopback listener per party, which ends all of its connections when it is told to.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, USER_AGENT};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::Service as _;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::config::ChangeAnswer;
use crate::error::Refusal;
use crate::loopback::SANDBOX_AGENT;
use crate::request_log::{LoggedRequest, Party, RequestLog};

/// A bound listener that does not answer yet: every origin is known before the first party is built.
pub(crate) struct Bound {
    listener: TcpListener,
    origin: String,
}

impl Bound {
    /// Binds 127.0.0.1, the only address that anything here listens on. Port 0 takes any free one.
    pub(crate) async fn bind(port: u16) -> std::io::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
        let origin = format!("http://{}", listener.local_addr()?);
        Ok(Self { listener, origin })
    }

    /// `http://127.0.0.1:{port}`.
    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    /// Answers requests until `stop` changes or its sender is gone, then gives open connections a second to finish.
    pub(crate) async fn serve(self, party: Party, router: Router, outside: Outside, mut stop: watch::Receiver<()>) {
        let authority = self.origin.trim_start_matches("http://").to_owned();
        let handler = Arc::new(Handler { authority, party, router: TowerToHyperService::new(router), outside });
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                _ = stop.changed() => break,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(converse(stream, Arc::clone(&handler), stop.clone()));
                    }
                    // Out of file descriptors, most likely: let some connections end first.
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                },
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
            }
            if connections.len() >= MAX_CONNECTIONS {
                connections.join_next().await;
            }
        }
        let _ = tokio::time::timeout(GRACE, async { while connections.join_next().await.is_some() {} }).await;
        // Dropping the set aborts whatever is left.
    }
}

struct Handler {
    authority: String,
    party: Party,
    router: TowerToHyperService<Router>,
    outside: Outside,
}

/// What happens to requests from outside, and only to them.
#[derive(Clone)]
pub(crate) struct Outside {
    pub(crate) log: Arc<RequestLog>,
    pub(crate) change: Option<Arc<ChangeAnswer>>,
}

impl Handler {
    async fn answer(&self, request: Request<Incoming>) -> Response {
        let from_outside = request.headers().get(USER_AGENT).is_none_or(|agent| agent != SANDBOX_AGENT);
        let asked = from_outside.then(|| LoggedRequest::of(&self.party, request.method(), request.uri().path()));
        if let Some(asked) = &asked {
            self.outside.log.record(asked.clone());
        }
        // A page elsewhere that has its name resolved to 127.0.0.1 would name its own host here.
        let is_host = request.headers().get(HOST).is_some_and(|host| host.as_bytes() == self.authority.as_bytes());
        if !is_host {
            let why = "the Host header must be this server's address and port";
            return Refusal::new(StatusCode::MISDIRECTED_REQUEST, "misdirected_request", why).into_response();
        }
        let response = match self.router.call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        match (&self.outside.change, &asked) {
            (Some(change), Some(asked)) => changed(change.as_ref(), asked, response).await,
            _ => response,
        }
    }
}

async fn changed(change: &ChangeAnswer, asked: &LoggedRequest, response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let Ok(body) = body.collect().await else { return Refusal::server_error().into_response() };
    parts.headers.remove(CONTENT_LENGTH);
    change(asked, Response::from_parts(parts, body.to_bytes())).map(axum::body::Body::from)
}

async fn converse(stream: TcpStream, handler: Arc<Handler>, mut stop: watch::Receiver<()>) {
    let _ = stream.set_nodelay(true);
    let service = hyper::service::service_fn(move |request| {
        let handler = Arc::clone(&handler);
        async move { Ok::<_, Infallible>(handler.answer(request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stop.changed() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

/// Reads a request's body, at most `limit` octets of it.
pub(crate) async fn read_body(body: axum::body::Body, limit: usize) -> Result<Bytes, Refusal> {
    let read = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, limit).collect()).await;
    match read {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request", "the body is too large"))
        }
        Ok(Err(_)) => Err(Refusal::invalid_request("the body broke off")),
        Err(_) => Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "invalid_request", "the body took too long")),
    }
}

/// What an unknown path gets.
pub(crate) async fn no_such_path() -> Response {
    Refusal::not_found().into_response()
}

/// What a known path gets under a method that it does not have.
pub(crate) async fn no_such_method() -> Response {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path has no such method").into_response()
}

const GRACE: Duration = Duration::from_secs(1);
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_HEADER: usize = 64 * 1024;
const MAX_CONNECTIONS: usize = 512;
