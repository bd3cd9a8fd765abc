//! One loopback listener per party, which can close all of its connections.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
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
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::config::{ChangeAnswer, Intercept};
use crate::error::Refusal;
use crate::fault::{Befallen, Fault, Faults, Step};
use crate::loopback::SANDBOX_AGENT;
use crate::request_log::{LoggedRequest, Party, RequestLog};

/// A bound listener that does not answer yet: every origin is known before the first party is built.
pub(crate) struct Bound {
    listener: TcpListener,
    origin: String,
}

/// What a listener serves.
pub(crate) struct Service {
    pub(crate) party: Party,
    pub(crate) router: Router,
    /// The party itself, where faults can befall it from within.
    pub(crate) befallen: Option<Arc<dyn Befallen>>,
}

/// What happens to requests from outside, and only to them.
#[derive(Clone)]
pub(crate) struct Outside {
    pub(crate) log: Arc<RequestLog>,
    pub(crate) faults: Arc<Faults>,
    pub(crate) change: Option<Arc<ChangeAnswer>>,
    pub(crate) intercept: Option<Arc<Intercept>>,
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
    pub(crate) async fn serve(self, service: Service, outside: Outside, mut stop: watch::Receiver<()>) {
        let authority = self.origin.trim_start_matches("http://").to_owned();
        let Service { party, router, befallen } = service;
        let router = TowerToHyperService::new(router);
        let handler = Arc::new(Handler { authority, party, router, befallen, outside });
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
    befallen: Option<Arc<dyn Befallen>>,
    outside: Outside,
}

/// How a connection ends that a fault cuts short.
#[derive(Debug)]
enum Ending {
    /// With a reset.
    Reset,
    /// Not at all, until the peer or the sandbox gives up.
    Silence,
    /// With these octets in place of the answer.
    Octets(Vec<u8>),
}

impl Handler {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response, Ending> {
        let from_outside = request.headers().get(USER_AGENT).is_none_or(|agent| agent != SANDBOX_AGENT);
        let Outside { log, faults, change, intercept } = &self.outside;
        let asked = LoggedRequest::of(&self.party, &self.authority, request.method(), request.uri().path());
        if from_outside {
            log.record(asked.clone());
        }
        // A page elsewhere that has its name resolved to 127.0.0.1 would name its own host here.
        let is_host = request.headers().get(HOST).is_some_and(|host| host.as_bytes() == self.authority.as_bytes());
        if !is_host {
            let why = "the Host header must be this server's address and port";
            return Ok(Refusal::new(StatusCode::MISDIRECTED_REQUEST, "misdirected_request", why).into_response());
        }
        if !from_outside {
            return Ok(self.handle(request).await);
        }
        if let Some(answer) = intercept.as_ref().and_then(|intercept| intercept(&asked)) {
            return Ok(answer.map(axum::body::Body::from));
        }
        let planned = Step::of(&asked).and_then(|step| faults.take(step));
        let response = match planned {
            None => self.handle(request).await,
            Some(fault) => self.fail(fault, request).await?,
        };
        match change {
            Some(change) => Ok(changed(change.as_ref(), &asked, response).await),
            None => Ok(response),
        }
    }

    async fn handle(&self, request: Request<Incoming>) -> Response {
        match self.router.call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    async fn fail(&self, fault: Fault, request: Request<Incoming>) -> Result<Response, Ending> {
        match fault {
            Fault::Delay => {
                tokio::time::sleep(DELAY).await;
                Ok(self.handle(request).await)
            }
            Fault::Http5xx => {
                Ok(Refusal::unavailable("temporarily_unavailable", "this is a planned fault").into_response())
            }
            Fault::ResetBefore => Err(Ending::Reset),
            Fault::ResetAfter => {
                self.handle(request).await;
                Err(Ending::Reset)
            }
            Fault::AnswerLost => {
                self.handle(request).await;
                Err(Ending::Silence)
            }
            Fault::DuplicateAnswer => {
                let octets = to_octets(self.handle(request).await).await;
                Err(Ending::Octets([octets.clone(), octets].concat()))
            }
            Fault::StaleNonce | Fault::RotatedKeys | Fault::ClockSkew | Fault::Revoked => {
                let _until_done = self.befallen.as_ref().map(|party| {
                    party.befall(fault);
                    Recovery(Arc::clone(party))
                });
                Ok(self.handle(request).await)
            }
        }
    }
}

/// Lets a party recover when the request is over, also when its peer has hung up.
struct Recovery(Arc<dyn Befallen>);

impl Drop for Recovery {
    fn drop(&mut self) {
        self.0.recover();
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
    let ending = Arc::new(Mutex::new(None));
    let service = hyper::service::service_fn({
        let ending = Arc::clone(&ending);
        move |request| {
            let (handler, ending) = (Arc::clone(&handler), Arc::clone(&ending));
            async move {
                handler.answer(request).await.map_err(|cut| {
                    *ending.lock().unwrap_or_else(PoisonError::into_inner) = Some(cut);
                    // hyper ends a connection without an answer when the service fails.
                    std::io::Error::from(std::io::ErrorKind::ConnectionAborted)
                })
            }
        }
    });
    let mut connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        _ = &mut connection => {
            let ending = ending.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(ending) = ending {
                end(connection.into_parts().io.into_inner(), ending, stop).await;
            }
            return;
        }
        _ = stop.changed() => {}
    }
    std::pin::Pin::new(&mut connection).graceful_shutdown();
    let _ = connection.await;
}

/// Ends a connection that hyper has let go of.
async fn end(mut stream: TcpStream, ending: Ending, mut stop: watch::Receiver<()>) {
    match ending {
        // With nothing to linger for, closing sends RST.
        Ending::Reset => drop(stream.set_zero_linger()),
        Ending::Silence => {
            let _ = tokio::time::timeout(SILENCE, stop.changed()).await;
        }
        Ending::Octets(octets) => {
            let _ = stream.write_all(&octets).await;
            let _ = stream.shutdown().await;
        }
    }
}

/// A response as it goes over the wire, its connection staying open as far as its headers say.
async fn to_octets(response: Response) -> Vec<u8> {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let mut octets = format!("HTTP/1.1 {}\r\ncontent-length: {}\r\n", parts.status, body.len()).into_bytes();
    for (name, value) in parts.headers.iter().filter(|(name, _)| *name != CONTENT_LENGTH) {
        octets.extend_from_slice(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    octets.extend_from_slice(b"\r\n");
    octets.extend_from_slice(&body);
    octets
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

/// The answer to an unknown path.
pub(crate) async fn no_such_path() -> Response {
    Refusal::not_found().into_response()
}

/// The answer to a known path with an unsupported method.
pub(crate) async fn no_such_method() -> Response {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path has no such method").into_response()
}

const GRACE: Duration = Duration::from_secs(1);
const DELAY: Duration = Duration::from_secs(3);
const SILENCE: Duration = Duration::from_secs(600);
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_HEADER: usize = 64 * 1024;
const MAX_CONNECTIONS: usize = 512;
