//! Planned faults: each happens once, does what its name says, and leaves the books as they should be.

#![allow(clippy::unwrap_used, reason = "clippy takes only #[test] functions for tests")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use sandbox::{Fault, PlannedFault, SandboxConfig, Step};
use support::{Agent, Offer, Purchase, SKU, Tokens, World, get, try_send};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

fn planned(text: &str) -> PlannedFault {
    text.parse().unwrap()
}

struct Ready<'w> {
    agent: Agent<'w>,
    offer: Offer,
    purchase: Purchase,
    tokens: Tokens,
}

impl<'w> Ready<'w> {
    async fn new(world: &'w World) -> Self {
        let agent = world.agent().await;
        let (offer, purchase, tokens) = agent.ready_to_pay(0, SKU).await;
        Self { agent, offer, purchase, tokens }
    }

    fn request(&self, merchant_nonce: &str) -> Request<Full<Bytes>> {
        let body = self.agent.body(&self.purchase, &self.tokens.mandate, merchant_nonce, "key");
        let request = Request::post("/").header("content-type", "application/json");
        request.body(Full::from(body.to_string())).unwrap()
    }
}

#[tokio::test]
async fn a_connection_is_reset_before_or_after_settling_and_presenting_again_settles_once() {
    for (fault, settled) in [("reset_before@verify", 0), ("reset_after@verify", 1)] {
        let world = World::start().await;
        let ready = Ready::new(&world).await;
        world.sandbox.plan_fault(planned(fault));
        let url = &world.merchant(0).verify_url;
        assert!(try_send(url, ready.request(&ready.offer.nonce)).await.is_err(), "{fault}");
        assert_eq!(world.settlements(0).await.len(), settled, "{fault}");

        let challenge = ready.agent.challenge(&ready.purchase, &ready.tokens.mandate).await;
        let answer = try_send(url, ready.request(&challenge)).await.unwrap();
        assert_eq!(answer.status, 200, "{fault}: {:?}", answer.body);
        assert_eq!(world.settlements(0).await.len(), 1, "{fault}");
    }
}

#[tokio::test]
async fn a_reset_is_a_reset_and_not_an_end() {
    let world = World::start_with(|config| config.fault(planned("reset_before@register"))).await;
    let origin = world.sandbox.as_origin().strip_prefix("http://").unwrap().to_owned();
    let mut stream = TcpStream::connect(&origin).await.unwrap();
    let head = format!("POST /oauth/register HTTP/1.1\r\nhost: {origin}\r\ncontent-length: 0\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let error = stream.read_to_end(&mut Vec::new()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_lost_answer_never_comes_though_the_payment_was_settled() {
    let world = World::start().await;
    let ready = Ready::new(&world).await;
    world.sandbox.plan_fault(planned("answer_lost@verify"));
    let url = &world.merchant(0).verify_url;
    let waiting = try_send(url, ready.request(&ready.offer.nonce));
    assert!(tokio::time::timeout(Duration::from_millis(300), waiting).await.is_err());
    assert_eq!(world.settlements(0).await.len(), 1);
    // A connection that waits for nothing does not keep the sandbox from stopping.
    tokio::time::timeout(Duration::from_secs(2), world.sandbox.shutdown()).await.unwrap();
}

#[tokio::test]
async fn a_server_error_handles_nothing_and_happens_once() {
    let world = World::start_with(|config: SandboxConfig| config.fault(planned("http_5xx@token"))).await;
    let agent = world.agent().await;
    let offer = agent.offer(0, SKU).await;
    let purchase = agent.purchase_of(0, &offer, 1);
    let code = agent.code(&purchase).await;
    let answer = agent.post("/oauth/token", &agent.token_form(&purchase, &code)).await;
    assert_eq!(answer.refusal(), (503, "temporarily_unavailable".to_owned()));
    agent.redeem(&purchase, &code).await;
}

#[tokio::test]
async fn faults_of_one_step_happen_one_after_the_other_and_leave_other_steps_alone() {
    let world =
        World::start_with(|config| config.fault(planned("http_5xx@offer")).fault(planned("reset_before@offer"))).await;
    let url = format!("{}/oid4ac/offer/{SKU}", world.merchant(0).origin);
    assert_eq!(get(&world.url("/oauth/jwks.json")).await.status, 200);
    assert_eq!(get(&url).await.status, 503);
    assert!(try_send(&url, Request::new(Full::default())).await.is_err());
    assert_eq!(get(&url).await.status, 200);
}

#[tokio::test]
async fn a_delay_is_three_seconds() {
    let world = World::start_with(|config| config.fault(planned("delay@offer"))).await;
    let url = format!("{}/products/{SKU}", world.merchant(0).origin);
    assert!(tokio::time::timeout(Duration::from_millis(2_500), get(&url)).await.is_err());
    world.sandbox.plan_fault(planned("delay@offer"));
    let answer = tokio::time::timeout(Duration::from_secs(6), get(&url)).await.unwrap();
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn stale_nonces_are_asked_for_anew() {
    let world = World::start().await;
    let ready = Ready::new(&world).await;
    world.sandbox.plan_fault(planned("stale_nonce@verify"));
    let url = &world.merchant(0).verify_url;
    let answer = try_send(url, ready.request(&ready.offer.nonce)).await.unwrap();
    assert_eq!(answer.refusal(), (422, "mandate_kb_nonce_mismatch".to_owned()));
    let challenge = answer.header("mandate-nonce").unwrap();
    assert_eq!(try_send(url, ready.request(challenge)).await.unwrap().status, 200);

    world.sandbox.plan_fault(planned("stale_nonce@par"));
    world.sandbox.clear_requests();
    ready.agent.push(&ready.purchase).await;
    assert_eq!(world.sandbox.requests().len(), 2, "the nonce dance");
}

#[tokio::test]
async fn rotated_keys_sign_what_comes_next_and_old_signatures_still_count() {
    let world = World::start().await;
    let ready = Ready::new(&world).await;
    let keys = async |url: &str| get(url).await.json()["keys"].as_array().unwrap().len();
    let (as_jwks, shop_jwks) =
        (world.url("/oauth/jwks.json"), format!("{}/.well-known/jwks.json", world.merchant(0).origin));
    let kid = |token: &str| jose::UnverifiedJws::parse(token).unwrap().unverified_kid().unwrap().to_owned();

    world.sandbox.plan_fault(planned("rotated_keys@token"));
    let next = ready.agent.tokens(&ready.purchase).await;
    assert_ne!(kid(&next.access_token), kid(&ready.tokens.access_token));
    assert_eq!(keys(&as_jwks).await, 3);
    for (key, tokens) in [("old", &ready.tokens), ("new", &next)] {
        let challenge = ready.agent.challenge(&ready.purchase, &tokens.mandate).await;
        let answer = ready.agent.present(&ready.purchase, &tokens.mandate, &challenge, key).await;
        assert_eq!(answer.status, 200, "{key}: {:?}", answer.body);
    }
    world.sandbox.plan_fault(planned("rotated_keys@offer"));
    let url = format!("{}/oid4ac/offer/{SKU}", world.merchant(0).origin);
    let rotated = get(&url).await;
    assert!(rotated.header("signature-input").unwrap().contains("keyid=\"merch_alpacanica_2\""));
    assert_eq!(keys(&shop_jwks).await, 2);
}

#[tokio::test]
async fn a_skewed_clock_is_two_minutes_ahead_for_one_request() {
    let world = World::start_with(|config| config.fault(planned("clock_skew@offer"))).await;
    let url = format!("{}/oid4ac/offer/{SKU}", world.merchant(0).origin);
    let created = |answer: &support::Answer| {
        let input = answer.header("signature-input").unwrap();
        input.split("created=").nth(1).unwrap().split(';').next().unwrap().parse::<i64>().unwrap()
    };
    assert_eq!(created(&get(&url).await), world.clock.now() + 120);
    assert_eq!(created(&get(&url).await), world.clock.now());
}

#[tokio::test]
async fn a_mandate_revoked_before_presentation_is_refused_even_by_a_merchant_with_a_fresh_list() {
    let world = World::start().await;
    let ready = Ready::new(&world).await;
    let answer = ready.agent.present(&ready.purchase, &ready.tokens.mandate, &ready.offer.nonce, "key").await;
    assert_eq!(answer.status, 200, "the merchant has a list now");
    let (offer, purchase, tokens) = ready.agent.ready_to_pay(0, SKU).await;
    world.sandbox.plan_fault(PlannedFault { fault: Fault::Revoked, step: Step::Verify });
    let answer = ready.agent.present(&purchase, &tokens.mandate, &offer.nonce, "another").await;
    assert_eq!(answer.refusal(), (422, "mandate_status_revoked".to_owned()));
    assert_eq!(world.settlements(0).await.len(), 1);
}

#[tokio::test]
async fn a_duplicate_answer_comes_twice_on_one_connection() {
    let world = World::start_with(|config| config.fault(planned("duplicate_answer@offer"))).await;
    let origin = world.merchant(0).origin.strip_prefix("http://").unwrap().to_owned();
    let mut stream = TcpStream::connect(&origin).await.unwrap();
    let head = format!("GET /oid4ac/offer/{SKU} HTTP/1.1\r\nhost: {origin}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (once, twice) = text.split_at(text.len() / 2);
    assert!(once.starts_with("HTTP/1.1 200 OK\r\n"));
    assert_eq!(once, twice);
    // A client that reads one answer to one request sees nothing unusual.
    world.sandbox.plan_fault(planned("duplicate_answer@offer"));
    let answer = get(&format!("http://{origin}/oid4ac/offer/{SKU}")).await;
    assert_eq!(answer.json()["sku"], SKU);
}
