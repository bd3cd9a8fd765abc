//! Consent through the person's browser, from the compiled binary: at a sandbox whose metadata says nothing of consent modes.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod support;

use bytes::Bytes;
use http::{Method, Response};
use oid4ac_client::{Endpoint, HttpClient as _, Limits, Origin, ReqwestClient};
use sandbox::{LoggedRequest, Party, SandboxConfig, StandingApproval};
use serde_json::{Value, json};
use support::liar::with_json;
use support::{Answer, Server, World, with};

const CALLBACK: &str = "http://127.0.0.1/callback";

/// A server that approves or declines at once, and leaves the asking to a browser.
fn ordinary(config: SandboxConfig) -> SandboxConfig {
    config.changing_answers(|request: &LoggedRequest, answer: Response<Bytes>| {
        match request.path.starts_with("/.well-known/oauth-authorization-server") {
            true => with_json(answer, |metadata| drop(metadata.as_object_mut().unwrap().remove(MODES))),
            false => answer,
        }
    })
}

const MODES: &str = "oid4ac_consent_modes_supported";

async fn registered(world: &World) -> Server {
    let mut server = world.server_without_waiting().await;
    let registration = with(world.registration(), "/redirect_uris", json!([CALLBACK]));
    assert_eq!(server.call("agent_register", registration).await.output()["ok"], true);
    server
}

fn socks(world: &World) -> Value {
    with(world.socks(), "/redirect_uri", json!(CALLBACK))
}

/// The page that the person is to open.
fn page(asked: &Answer) -> String {
    let output = asked.output();
    assert_eq!(output["status"], "approval_required", "{output}");
    assert_eq!(output["consent_mode"], "loopback");
    output["consent_url"].as_str().unwrap().to_owned()
}

/// What a browser sees at the end of the way from `url`; `None` if nobody listens.
async fn browse(world: &World, url: &str) -> Option<(u16, String)> {
    let browser = ReqwestClient::for_issuer(&Origin::of(world.sandbox.as_origin()).unwrap(), []);
    let mut url = url.to_owned();
    loop {
        let request = http::Request::builder().header("connection", "close").body(Bytes::new()).unwrap();
        let answer = browser.send(&Endpoint::parse(&url).unwrap(), request, Limits::ANSWER).await.ok()?;
        match answer.headers().get("location") {
            Some(location) => url = location.to_str().unwrap().to_owned(),
            None => return Some((answer.status().as_u16(), String::from_utf8(answer.body().to_vec()).unwrap())),
        }
    }
}

fn pushed(world: &World) -> usize {
    world.sandbox.request_count(&Party::AuthorizationServer, &Method::POST, "/oauth/par")
}

#[tokio::test]
async fn pays_once_the_person_has_been_at_the_page() {
    let world = World::with(ordinary(SandboxConfig::new())).await;
    let mut server = registered(&world).await;
    let asked = server.call("agent_payment_initiate", socks(&world)).await;
    let url = page(&asked);
    assert_eq!(pushed(&world), 0);
    let again = server.call("agent_payment_initiate", socks(&world)).await;
    assert_eq!(page(&again), url);
    let (status, text) = browse(&world, &url).await.unwrap();
    assert_eq!(status, 200);
    assert!(text.contains("Your approval was passed on"), "{text}");
    let paid = server.call("agent_payment_initiate", socks(&world)).await;
    assert_eq!(paid.output()["status"], "settled");
    let replayed = server.call("agent_payment_initiate", socks(&world)).await;
    assert_eq!(replayed.output()["replayed"], true);
    assert_eq!(world.settlements(world.alpacanica()).await.len(), 1);
    assert!(browse(&world, &url).await.is_none(), "the page is closed");
}

#[tokio::test]
async fn an_access_that_is_denied_there_pays_nothing_and_is_not_told_as_the_persons_no() {
    let config = SandboxConfig::new().standing_approval(StandingApproval::None);
    let world = World::with(ordinary(config)).await;
    let mut server = registered(&world).await;
    let url = page(&server.call("agent_payment_initiate", socks(&world)).await);
    let (status, text) = browse(&world, &url).await.unwrap();
    assert_eq!(status, 200);
    assert!(text.contains("Access was not granted") && !text.contains("You said no"), "{text}");
    let declined = server.call("agent_payment_initiate", socks(&world)).await;
    assert_eq!(declined.text(0), "agent_payment_initiate failed: declined: no mandate issued");
    // The sandbox's standing rules refused here, and a person's no would have come in the same words.
    assert_eq!(declined.error()["context"]["declined_by"], "not_known");
    assert!(declined.error()["hint"].as_str().unwrap().contains("it is not known which"), "{}", declined.error());
    assert!(world.settlements(world.alpacanica()).await.is_empty());
}

#[tokio::test]
async fn an_authorization_server_that_issues_no_mandate_is_not_told_as_the_persons_no() {
    let world = World::with(SandboxConfig::new().changing_answers(|request, answer| {
        match request.path.starts_with("/.well-known/oauth-authorization-server") {
            true => with_json(answer, |metadata| drop(metadata.as_object_mut().unwrap().remove(MODES))),
            false if request.path == "/oauth/token" => {
                with_json(answer, |reply| drop(reply.as_object_mut().unwrap().remove("mandate_jwt")))
            }
            false => answer,
        }
    }))
    .await;
    let mut server = registered(&world).await;
    let url = page(&server.call("agent_payment_initiate", socks(&world)).await);
    let (_, text) = browse(&world, &url).await.unwrap();
    assert!(text.contains("Your approval was passed on"), "{text}");
    let declined = server.call("agent_payment_initiate", socks(&world)).await;
    assert_eq!(declined.text(0), "agent_payment_initiate failed: declined: no mandate issued");
    assert_eq!(declined.error()["context"]["declined_by"], "authorization_server");
    assert!(declined.error()["hint"].as_str().unwrap().contains("issued no mandate"), "{}", declined.error());
}

#[tokio::test]
async fn two_processes_with_two_pages_that_are_both_approved_pay_once() {
    let world = World::with(ordinary(SandboxConfig::new())).await;
    let mut one = registered(&world).await;
    let mut two = world.server_without_waiting().await;
    let first = page(&one.call("agent_payment_initiate", socks(&world)).await);
    let second = page(&two.call("agent_payment_initiate", socks(&world)).await);
    assert_ne!(first, second);
    for url in [&first, &second] {
        assert_eq!(browse(&world, url).await.unwrap().0, 200);
    }
    let paid = one.call("agent_payment_initiate", socks(&world)).await;
    assert_eq!(paid.output()["status"], "settled");
    let other = two.call("agent_payment_initiate", socks(&world)).await;
    assert_eq!(other.output()["replayed"], true);
    assert_eq!(other.output()["payment_intent_id"], paid.output()["payment_intent_id"]);
    assert_eq!(world.settlements(world.alpacanica()).await.len(), 1);
    let redeemed = world.sandbox.request_count(&Party::AuthorizationServer, &Method::POST, "/oauth/token");
    assert!(redeemed <= 2, "one code, and perhaps a nonce: {redeemed}");
}

#[tokio::test]
async fn a_process_that_dies_with_the_answer_leaves_nothing_that_could_be_redeemed() {
    let world = World::with(ordinary(SandboxConfig::new())).await;
    let mut server = registered(&world).await;
    let old = page(&server.call("agent_payment_initiate", socks(&world)).await);
    assert_eq!(browse(&world, &old).await.unwrap().0, 200);
    server.kill().await;
    let mut server = world.server_without_waiting().await;
    let new = page(&server.call("agent_payment_initiate", socks(&world)).await);
    assert_ne!(old, new);
    assert!(browse(&world, &old).await.is_none());
    assert_eq!(browse(&world, &new).await.unwrap().0, 200);
    let paid = server.call("agent_payment_initiate", socks(&world)).await;
    assert_eq!(paid.output()["status"], "settled");
    assert_eq!(world.settlements(world.alpacanica()).await.len(), 1);
}

#[tokio::test]
async fn a_redirect_uri_that_no_browser_comes_back_to_is_refused_before_par() {
    let world = World::with(ordinary(SandboxConfig::new())).await;
    let mut server = registered(&world).await;
    let refused = server.call("agent_payment_initiate", world.socks()).await;
    assert_eq!(refused.code(), "redirect_uri_not_loopback");
    assert_eq!(
        refused.text(0),
        "agent_payment_initiate failed: redirect_uri_not_loopback: this authorization server asks the person in their \
         browser, which needs a redirect_uri of the form http://127.0.0.1/callback: nothing was sent"
    );
    assert_eq!(pushed(&world), 0);
    let accepted = server.call("agent_payment_initiate", socks(&world)).await;
    page(&accepted);
}

#[tokio::test]
async fn the_wallet_is_asked_for_in_the_same_way() {
    let world = World::with(ordinary(SandboxConfig::new())).await;
    let mut server = registered(&world).await;
    let origin = world.sandbox.as_origin();
    let list = json!({"as_url": origin, "resource": origin, "redirect_uri": CALLBACK});
    let url = page(&server.call("agent_wallet_list_agents", list.clone()).await);
    assert_eq!(browse(&world, &url).await.unwrap().0, 200);
    let listed = server.call("agent_wallet_list_agents", list).await;
    assert_eq!(listed.output()["agents"].as_array().unwrap().len(), 1);
}
