//! Starting, stopping, and what every listener does with a request from any client.

#![allow(clippy::unwrap_used, reason = "clippy takes only #[test] functions for tests")]

mod support;

use std::time::Duration;

use http::{Method, Request};
use http_body_util::Full;
use sandbox::{Party, Sandbox, SandboxConfig, StartError};
use support::{World, get, send};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

fn address(origin: &str) -> &str {
    origin.strip_prefix("http://").unwrap()
}

fn origins(sandbox: &Sandbox) -> Vec<String> {
    let mut all = vec![sandbox.as_origin().to_owned(), sandbox.discovery_url().to_owned()];
    all.extend(sandbox.merchants().iter().map(|merchant| merchant.origin.clone()));
    all
}

#[tokio::test]
async fn every_party_has_a_loopback_origin_of_its_own() {
    let world = World::start().await;
    let mut all = origins(&world.sandbox);
    for origin in &all {
        assert!(origin.starts_with("http://127.0.0.1:"));
        TcpStream::connect(address(origin)).await.unwrap();
    }
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 4);
}

#[tokio::test]
async fn an_intercepted_request_is_logged_and_never_arrives() {
    let world = World::start_with(|config| {
        config.intercepting_requests(|request| {
            let stopped = request.path == "/oauth/register";
            stopped.then(|| http::Response::builder().status(502).body(bytes::Bytes::from_static(b"gone")).unwrap())
        })
    })
    .await;
    let token = world.sandbox.setup_token().unwrap();
    let body = serde_json::json!({"software_statement": token}).to_string();
    let request = Request::post("/").header("content-type", "application/json").body(Full::from(body)).unwrap();
    let answer = send(&world.url("/oauth/register"), request).await;
    assert_eq!((answer.status.as_u16(), answer.body.as_ref()), (502, b"gone".as_slice()));
    assert_eq!(world.sandbox.request_count(&Party::AuthorizationServer, &Method::POST, "/oauth/register"), 1);
    assert_eq!(get(&world.url("/oauth/jwks.json")).await.status, 200);
}

#[tokio::test]
async fn shutdown_ends_open_connections_within_two_seconds() {
    let world = World::start().await;
    let all = origins(&world.sandbox);
    let mut open = Vec::new();
    for origin in &all {
        let mut idle = TcpStream::connect(address(origin)).await.unwrap();
        let mut halfway = TcpStream::connect(address(origin)).await.unwrap();
        halfway.write_all(b"POST /oauth/par HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12").await.unwrap();
        idle.write_all(b"GET").await.unwrap();
        open.extend([idle, halfway]);
    }
    tokio::time::timeout(Duration::from_secs(2), world.sandbox.shutdown()).await.unwrap();
    for mut stream in open {
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(Duration::from_millis(100), stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "a connection is still open");
    }
    for origin in all {
        assert!(TcpStream::connect(address(&origin)).await.is_err());
    }
}

#[tokio::test]
async fn dropping_it_stops_it() {
    let world = World::start().await;
    let origin = world.sandbox.as_origin().to_owned();
    drop(world);
    for _ in 0..100 {
        if TcpStream::connect(address(&origin)).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it still listens");
}

#[tokio::test]
async fn takes_a_base_port_and_says_when_one_is_taken() {
    // A port that was free a moment ago, with room above it.
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let refused = Sandbox::start(SandboxConfig::new().port_base(port)).await;
    assert!(matches!(refused, Err(StartError::Bind(_))));
    drop(taken);
    for base in (20_000..60_000).step_by(997) {
        match Sandbox::start(SandboxConfig::new().port_base(base)).await {
            Ok(sandbox) => {
                assert_eq!(sandbox.as_origin(), format!("http://127.0.0.1:{base}"));
                assert_eq!(sandbox.merchants()[1].origin, format!("http://127.0.0.1:{}", base + 3));
                return;
            }
            Err(StartError::Bind(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }
    panic!("no four ports in a row are free");
}

#[tokio::test]
async fn refuses_to_start_with_what_it_cannot_do() {
    let high = Sandbox::start(SandboxConfig::new().port_base(65_533)).await;
    assert!(matches!(high, Err(StartError::PortBase(65_533))));
}

#[tokio::test]
async fn refuses_requests_meant_for_another_host() {
    let world = World::start().await;
    let url = world.url("/.well-known/oauth-authorization-server");
    for host in ["rebound.example", "localhost", "127.0.0.1"] {
        let request = Request::get("/").header("host", host).body(Full::default()).unwrap();
        assert_eq!(send(&url, request).await.refusal(), (421, "misdirected_request".to_owned()), "{host}");
    }
    assert_eq!(get(&url).await.status, 200);
}

#[tokio::test]
async fn answers_unknown_paths_and_methods_with_json() {
    let world = World::start().await;
    for origin in origins(&world.sandbox) {
        assert_eq!(get(&format!("{origin}/no/such/path")).await.refusal(), (404, "not_found".to_owned()));
    }
    let request = Request::delete("/").body(Full::default()).unwrap();
    let refused = send(&world.url("/oauth/token"), request).await;
    assert_eq!(refused.refusal(), (405, "method_not_allowed".to_owned()));
}

#[tokio::test]
async fn the_log_counts_requests_from_outside_and_keeps_no_query() {
    let world = World::start().await;
    get(&format!("{}/merchants/merch_alpacanica/catalog-preview", world.sandbox.discovery_url())).await;
    get(&world.url("/oauth/authorize?request_uri=secret")).await;
    let requests = world.sandbox.requests();
    assert_eq!(requests.len(), 2, "what the directory asked the merchant is not counted: {requests:?}");
    assert!(!format!("{requests:?}").contains("secret"));
    let count = |party, path| world.sandbox.request_count(&party, &Method::GET, path);
    assert_eq!(count(Party::AuthorizationServer, "/oauth/authorize"), 1);
    assert_eq!(count(Party::Directory, "/oauth/authorize"), 0);
    world.sandbox.clear_requests();
    assert!(world.sandbox.requests().is_empty());
}

#[tokio::test]
async fn tells_which_rules_could_have_made_a_difference() {
    let world = World::start().await;
    get(&world.url("/.well-known/oauth-authorization-server")).await;
    assert!(world.sandbox.decisive_rules().is_empty());
    let refused = support::Agent::new(&world).registration("setup_00000000000000000000000000000000");
    support::post_json(&world.url("/oauth/register"), &[], &refused).await;
    assert_eq!(world.sandbox.decisive_rules(), [sandbox::Rule::SetupTokenKnown].into());
}
