//! The listener: one port of 127.0.0.1, for one authorization.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HOST, LOCATION};
use http::{HeaderMap, Method, Request, StatusCode};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::page::{self, Page};
use super::sessions::LIFE_SECONDS;
use super::talk::{Shown, Talk};

/// Answers until the browser has come back, `stopped` says so, or the time is up; what is being answered then is finished.
pub(super) async fn serve(listener: TcpListener, talk: Arc<Talk>, mut stopped: oneshot::Receiver<()>) {
    let mut connections = JoinSet::new();
    let mut time_is_up = std::pin::pin!(tokio::time::sleep(Duration::from_secs(LIFE_SECONDS.unsigned_abs())));
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            () = &mut time_is_up => break,
            () = talk.ended.notified() => break,
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, _)) => drop(connections.spawn(converse(stream, Arc::clone(&talk)))),
                // Out of file descriptors, most likely.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    let _ = tokio::time::timeout(GRACE, async { while connections.join_next().await.is_some() {} }).await;
}

/// One request, one answer.
async fn converse(stream: TcpStream, talk: Arc<Talk>) {
    let service = service_fn(|request: Request<hyper::body::Incoming>| async {
        Ok::<_, Infallible>(respond(&request.into_parts().0, &talk).await)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(MAX_HEADER_OCTETS)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // A browser that goes away is no concern of ours.
    let _ = tokio::time::timeout(CONNECTION_TIME, connection).await;
}

async fn respond(request: &http::request::Parts, talk: &Talk) -> http::Response<String> {
    let uri = &request.uri;
    let hosts: Vec<_> = request.headers.get_all(HOST).iter().collect();
    let host = match hosts.as_slice() {
        [host] if uri.authority().is_none() => host.to_str().unwrap_or_default(),
        _ => "",
    };
    if request.method != Method::GET || !is_navigation(&request.headers) {
        return page::respond(Page::NotFound);
    }
    match talk.answer(host, uri.path(), uri.query()).await {
        Shown::Page(page) => page::respond(page),
        Shown::Redirect(location) => {
            let mut response = page::empty(StatusCode::SEE_OTHER);
            match location.parse() {
                Ok(location) => drop(response.headers_mut().insert(LOCATION, location)),
                Err(_) => return page::respond(Page::Failed),
            }
            response
        }
    }
}

/// Whether somebody goes there, as far as the browser says: fetching ahead, or for a frame, an image or a script, opens
/// nothing.
fn is_navigation(headers: &HeaderMap) -> bool {
    let is_for_a_page = headers.get("sec-fetch-dest").is_none_or(|destination| destination == "document");
    is_for_a_page && !headers.contains_key("sec-purpose") && !headers.contains_key("purpose")
}

const MAX_CONNECTIONS: usize = 16;
const HEADER_TIME: Duration = Duration::from_secs(10);
/// Longer than pushing a request may take.
const CONNECTION_TIME: Duration = Duration::from_secs(60);
const GRACE: Duration = Duration::from_secs(2);
const MAX_HEADER_OCTETS: usize = 64 * 1024;
