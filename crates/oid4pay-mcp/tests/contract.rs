//! One test for each row of the error tables of the contract's tools: the message is provoked at the sandbox and compared to
//! the letter, from the compiled binary. The tables of the six tools here, row by row:
//!
//! | message | test |
//! |---|---|
//! | `agent_register failed: invalid_client_metadata` | `register_invalid_client_metadata` |
//! | `agent_register failed: invalid_redirect_uri` | `register_invalid_redirect_uri` |
//! | `agent_register failed: invalid_software_statement` | `register_invalid_software_statement` |
//! | `agent_payment_initiate failed: PAR failed: 400` | `pay_par_400` |
//! | `agent_payment_initiate failed: token failed: 400 invalid_grant` | `pay_token_invalid_grant` |
//! | `agent_payment_initiate failed: token failed: 400 invalid_target` | `pay_token_invalid_target` |
//! | `agent_payment_initiate failed: verify-mandate failed: 422` | `pay_verify_422` |
//! | `agent_payment_initiate failed: verify-mandate failed: 502` | `pay_verify_502` |
//! | `agent_payment_initiate failed: declined: no mandate issued` | `pay_declined` |
//! | `agent_verify_mandate failed: verify-mandate failed: 422 mandate_audience_mismatch` | `verify_audience_mismatch` |
//! | `agent_verify_mandate failed: verify-mandate failed: 422 mandate_kb_nonce_mismatch` | `verify_kb_nonce_mismatch` |
//! | `agent_verify_mandate failed: verify-mandate failed: 422 mandate_status_revoked` | `verify_status_revoked` |
//! | `agent_verify_mandate failed: verify-mandate failed: 422 mandate_expired` | `verify_expired` |
//! | `discovery_list_merchants failed: 400 invalid_filter` | `list_invalid_filter` |
//! | `discovery_list_merchants failed: 500 server_error` | `list_server_error` |
//! | `discovery_list_merchants failed: fetch failed` | `list_fetch_failed` |
//! | `agent_browse_merchant rejected upstream catalog (missing signed field "signature")` | `browse_missing_signed_field` |
//! | `agent_browse_merchant failed: 404 not_found` | `browse_not_found` |
//! | `agent_browse_merchant failed: 429 rate_limited` | `browse_rate_limited` |
//! | `agent_browse_merchant failed: 502 bad_gateway` | `browse_bad_gateway` |
//! | `agent_browse_merchant failed: invalid_merchant_id` | `browse_invalid_merchant_id` |
//! | `agent_buy_cheapest_from_store: no in-stock matching items under the cap` | `buy_no_matching_item` |
//! | `agent_buy_cheapest_from_store failed: catalog 404` | `buy_catalog_404` |
//! | `agent_buy_cheapest_from_store failed: catalog 502` | `buy_catalog_502` |
//! | `agent_buy_cheapest_from_store failed: PAR failed: 400` | `buy_par_400` |
//! | `agent_buy_cheapest_from_store failed: verify-mandate failed: 502` | `buy_verify_502` |
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod support;

use sandbox::{PlannedFault, SandboxConfig, StandingApproval};
use serde_json::{Value, json};
use support::liar::{ALWAYS, CATALOG, JSON, lying, with_json};
use support::{Answer, CALLBACK, Server, World, with};

const LIST: &str = "discovery_list_merchants";
const BROWSE: &str = "agent_browse_merchant";
const BUY: &str = "agent_buy_cheapest_from_store";
const PAY: &str = "agent_payment_initiate";
const REGISTER: &str = "agent_register";
const VERIFY: &str = "agent_verify_mandate";

async fn world(config: SandboxConfig) -> (World, Server) {
    let world = World::with(config).await;
    let server = world.registered().await;
    (world, server)
}

fn fault(name: &str) -> PlannedFault {
    name.parse().unwrap()
}

fn cheapest(world: &World) -> Value {
    json!({
        "store_url": world.alpacanica().origin, "merchant_verify_url": world.alpacanica().verify_url,
        "max_amount_minor": 2500, "redirect_uri": CALLBACK,
    })
}

fn told(answer: &Answer, message: &str) {
    assert_eq!(answer.text(0), message);
    assert_eq!(answer.error()["message"], message);
}

/// Nothing was paid, and where there is an intent it is closed.
async fn unpaid(world: &World, answer: &Answer) {
    assert!(world.settlements(world.alpacanica()).await.is_empty());
    let state = &answer.error()["context"]["intent_state"];
    assert!(state.is_null() || state == "failed", "{state}");
}

#[tokio::test]
async fn register_invalid_client_metadata() {
    let world = World::new().await;
    let mut server = world.server().await;
    let answer = server.call(REGISTER, with(world.registration(), "/client_name", json!(""))).await;
    told(&answer, "agent_register failed: invalid_client_metadata");
}

#[tokio::test]
async fn register_invalid_redirect_uri() {
    let world = World::new().await;
    let mut server = world.server().await;
    for uri in ["ftp://agent.example/callback", "javascript:alert(1)", "http://agent.example/callback"] {
        let answer = server.call(REGISTER, with(world.registration(), "/redirect_uris", json!([uri]))).await;
        told(&answer, "agent_register failed: invalid_redirect_uri");
    }
}

#[tokio::test]
async fn register_invalid_software_statement() {
    let world = World::new().await;
    let (mut first, other) = (world.server().await, World::new().await);
    let spent = world.registration();
    first.call(REGISTER, spent.clone()).await.output();
    let elsewhere = other.registration()["setup_token"].clone();
    let mut server = world.server().await;
    for token in [spent["setup_token"].clone(), elsewhere, json!("setup_0000000000000000")] {
        let new = with(with(spent.clone(), "/setup_token", token), "/client_name", json!("another"));
        told(&server.call(REGISTER, new).await, "agent_register failed: invalid_software_statement");
    }
}

#[tokio::test]
async fn pay_par_400() {
    let (world, mut server) = world(SandboxConfig::new()).await;
    let answer = server.call(PAY, with(world.socks(), "/scope", json!("openid unheard:of"))).await;
    told(&answer, "agent_payment_initiate failed: PAR failed: 400");
    assert_eq!(answer.code(), "invalid_scope");
    unpaid(&world, &answer).await;
}

#[tokio::test]
async fn pay_token_invalid_grant() {
    let (world, mut server) = world(lying("/oauth/token", ALWAYS, 400, JSON, r#"{"error":"invalid_grant"}"#)).await;
    let answer = server.call(PAY, world.socks()).await;
    told(&answer, "agent_payment_initiate failed: token failed: 400 invalid_grant");
    unpaid(&world, &answer).await;
}

#[tokio::test]
async fn pay_token_invalid_target() {
    let (world, mut server) = world(lying("/oauth/token", ALWAYS, 400, JSON, r#"{"error":"invalid_target"}"#)).await;
    let answer = server.call(PAY, world.socks()).await;
    told(&answer, "agent_payment_initiate failed: token failed: 400 invalid_target");
    unpaid(&world, &answer).await;
}

#[tokio::test]
async fn pay_verify_422() {
    let (world, mut server) = world(SandboxConfig::new().fault(fault("revoked@verify"))).await;
    let answer = server.call(PAY, world.socks()).await;
    told(&answer, "agent_payment_initiate failed: verify-mandate failed: 422");
    assert_eq!(answer.code(), "mandate_status_revoked");
    unpaid(&world, &answer).await;
}

#[tokio::test]
async fn pay_verify_502() {
    let (world, mut server) = world(lying("/verify-mandate", 3, 502, "text/html", "bad gateway")).await;
    let answer = server.call(PAY, world.socks()).await;
    told(&answer, "agent_payment_initiate failed: verify-mandate failed: 502");
    let context = &answer.error()["context"];
    assert_eq!(context["intent_state"], "unknown");
    for member in ["mandate_id", "idempotency_key", "intent_id", "next_step"] {
        assert!(context[member].is_string(), "{member}");
    }
    assert_eq!(answer.error()["retryable"], true);
    assert_eq!(server.call(PAY, world.socks()).await.output()["status"], "settled");
    assert_eq!(world.settlements(world.alpacanica()).await.len(), 1);
}

#[tokio::test]
async fn pay_declined() {
    let (world, mut server) = world(SandboxConfig::new().standing_approval(StandingApproval::None)).await;
    let answer = server.call(PAY, world.socks()).await;
    told(&answer, "agent_payment_initiate failed: declined: no mandate issued");
    unpaid(&world, &answer).await;
}

/// A mandate that never reached the merchant, as its presentation.
async fn unpresented(world: &World, server: &mut Server) -> Value {
    for _ in 0..3 {
        world.sandbox.plan_fault(fault("reset_before@verify"));
    }
    let lost = server.call(PAY, world.socks()).await;
    assert_eq!(lost.output()["status"], "unknown");
    assert!(world.settlements(world.alpacanica()).await.is_empty());
    json!({
        "merchant_verify_url": world.alpacanica().verify_url,
        "presentation": world.presentation(&lost),
        "line_items": [{"sku": "alpaca-sock-blue-43", "qty": 1}],
    })
}

#[tokio::test]
async fn verify_audience_mismatch() {
    let (world, mut server) = world(SandboxConfig::new()).await;
    let present = unpresented(&world, &mut server).await;
    world.sandbox.clear_requests();
    let elsewhere = with(present, "/merchant_verify_url", json!(world.sandbox.merchants()[1].verify_url));
    let answer = server.call(VERIFY, elsewhere).await;
    told(&answer, "agent_verify_mandate failed: verify-mandate failed: 422 mandate_audience_mismatch");
    assert!(world.sandbox.requests().is_empty(), "refused unsent");
}

/// A presentation that was spent already, by an agent that cannot make it again: the mandate is bound to another's key.
#[tokio::test]
async fn verify_kb_nonce_mismatch() {
    let (world, mut server) = world(SandboxConfig::new()).await;
    let paid = server.call(PAY, world.socks()).await;
    let other = world.home.path().join("other agent");
    let arguments = ["--as-origin", world.sandbox.as_origin(), "--data-dir", other.to_str().unwrap()];
    let mut stranger = Server::start(&arguments, world.home.path()).await;
    world.register(&mut stranger).await;
    let present = json!({
        "merchant_verify_url": world.alpacanica().verify_url,
        "presentation": paid.output()["presentation"],
        "line_items": [{"sku": "alpaca-sock-blue-43", "qty": 1}],
    });
    let answer = stranger.call(VERIFY, present).await;
    told(&answer, "agent_verify_mandate failed: verify-mandate failed: 422 mandate_kb_nonce_mismatch");
    assert_eq!(world.settlements(world.alpacanica()).await.len(), 1);
}

#[tokio::test]
async fn verify_status_revoked() {
    let (world, mut server) = world(SandboxConfig::new()).await;
    let present = unpresented(&world, &mut server).await;
    world.sandbox.plan_fault(fault("revoked@verify"));
    let answer = server.call(VERIFY, present).await;
    told(&answer, "agent_verify_mandate failed: verify-mandate failed: 422 mandate_status_revoked");
    unpaid(&world, &answer).await;
}

#[tokio::test]
async fn verify_expired() {
    let (world, mut server) = world(SandboxConfig::new().mandate_ttl_seconds(8)).await;
    let present = unpresented(&world, &mut server).await;
    tokio::time::sleep(std::time::Duration::from_secs(9)).await;
    let answer = server.call(VERIFY, present).await;
    told(&answer, "agent_verify_mandate failed: verify-mandate failed: 422 mandate_expired");
    unpaid(&world, &answer).await;
}

#[tokio::test]
async fn list_invalid_filter() {
    let world = World::new().await;
    let mut server = world.server().await;
    for filter in [json!({"country": "XX"}), json!({"currency": "ZZZ"})] {
        told(&server.call(LIST, filter).await, "discovery_list_merchants failed: 400 invalid_filter");
    }
    assert!(world.sandbox.requests().is_empty(), "not sent");
    // A rail can be of a form that only the directory knows to be wrong.
    let answer = server.call(LIST, json!({"rail": "NOT A RAIL"})).await;
    told(&answer, "discovery_list_merchants failed: 400 invalid_filter");
    assert_eq!(answer.error()["context"]["http_status"], 400);
}

#[tokio::test]
async fn list_server_error() {
    for body in [r#"{"error":"server_error"}"#, "<h1>oops</h1>", ""] {
        let world = World::with(lying("/merchants", ALWAYS, 500, JSON, body)).await;
        let answer = world.server().await.call(LIST, json!({})).await;
        told(&answer, "discovery_list_merchants failed: 500 server_error");
        assert_eq!(answer.error()["retryable"], true);
    }
}

#[tokio::test]
async fn list_fetch_failed() {
    let world = World::new().await;
    let data_dir = world.data_dir();
    // A port on which nobody listens: it was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = format!("http://{free}");
    for url in [&*nobody, "https://no-such-host.invalid"] {
        let arguments = ["--discovery-url", url, "--data-dir", data_dir.to_str().unwrap()];
        let mut server = Server::start(&arguments, world.home.path()).await;
        let answer = server.call(LIST, json!({})).await;
        told(&answer, "discovery_list_merchants failed: fetch failed");
        assert_eq!(answer.error()["retryable"], true);
    }
}

#[tokio::test]
async fn browse_missing_signed_field() {
    for field in ["signature", "signature_input", "content_digest"] {
        for empty in [Value::Null, json!("")] {
            let config = SandboxConfig::new().changing_answers(move |request, answer| {
                match request.path.ends_with("/catalog-preview") {
                    true => with_json(answer, |preview| preview[field] = empty.clone()),
                    false => answer,
                }
            });
            let world = World::with(config).await;
            let answer = world.server().await.call(BROWSE, json!({"merchant_id": "merch_alpacanica"})).await;
            let message = format!("agent_browse_merchant rejected upstream catalog (missing signed field \"{field}\")");
            told(&answer, &message);
            assert!(!answer.result.to_string().contains("sock"), "no item leaves");
        }
    }
}

async fn browsed(config: SandboxConfig) -> Answer {
    let world = World::with(config).await;
    world.server().await.call(BROWSE, json!({"merchant_id": "merch_alpacanica"})).await
}

const PREVIEW: &str = "/merchants/merch_alpacanica/catalog-preview";

#[tokio::test]
async fn browse_not_found() {
    let world = World::new().await;
    let answer = world.server().await.call(BROWSE, json!({"merchant_id": "merch_nobody"})).await;
    told(&answer, "agent_browse_merchant failed: 404 not_found");
    told(&browsed(lying(PREVIEW, ALWAYS, 404, "text/html", "?")).await, "agent_browse_merchant failed: 404 not_found");
}

#[tokio::test]
async fn browse_rate_limited() {
    let answer = browsed(lying(PREVIEW, ALWAYS, 429, JSON, r#"{"error":"rate_limited"}"#)).await;
    told(&answer, "agent_browse_merchant failed: 429 rate_limited");
    assert_eq!(answer.error()["retryable"], true);
}

#[tokio::test]
async fn browse_bad_gateway() {
    let answer = browsed(lying(PREVIEW, ALWAYS, 502, "text/html", "<h1>Bad gateway</h1>")).await;
    told(&answer, "agent_browse_merchant failed: 502 bad_gateway");
    // The merchant's own catalog, asked for because the preview cannot be verified by itself.
    let config = SandboxConfig::new().changing_answers(|request, answer| match request.path.as_str() {
        PREVIEW => with_json(answer, |preview| drop(preview.as_object_mut().unwrap().remove("signed_body"))),
        CATALOG => support::liar::plain(503, "text/plain", "later"),
        _ => answer,
    });
    told(&browsed(config).await, "agent_browse_merchant failed: 502 bad_gateway");
}

#[tokio::test]
async fn browse_invalid_merchant_id() {
    let world = World::new().await;
    let answer = world.server().await.call(BROWSE, json!({"merchant_id": "../../oauth/jwks.json"})).await;
    told(&answer, "agent_browse_merchant failed: invalid_merchant_id");
    assert!(world.sandbox.requests().is_empty(), "not sent");
}

#[tokio::test]
async fn buy_no_matching_item() {
    let (world, mut server) = world(SandboxConfig::new()).await;
    let rows = [
        ("/max_amount_minor", json!(524)),
        ("/category", json!("spaceships")),
        ("/ships_to_country", json!("AQ")),
        ("/currency", json!("GBP")),
    ];
    for (member, value) in rows {
        let answer = server.call(BUY, with(cheapest(&world), member, value)).await;
        told(&answer, "agent_buy_cheapest_from_store: no in-stock matching items under the cap");
        unpaid(&world, &answer).await;
    }
    // What is sold out doesn't match.
    world.sandbox.set_stock("merch_alpacanica", "shoe-lace-waxed-120", sandbox::Stock::Gone).unwrap();
    let capped = with(cheapest(&world), "/max_amount_minor", json!(600));
    let answer = server.call(BUY, capped).await;
    told(&answer, "agent_buy_cheapest_from_store: no in-stock matching items under the cap");
}

#[tokio::test]
async fn buy_catalog_404() {
    let (world, mut server) = world(lying(CATALOG, ALWAYS, 404, "text/html", "nothing here")).await;
    let answer = server.call(BUY, cheapest(&world)).await;
    told(&answer, "agent_buy_cheapest_from_store failed: catalog 404");
    let hint = answer.error()["hint"].clone();
    assert!(hint.as_str().unwrap().starts_with("There is no catalog at store_url"), "{hint}");
    unpaid(&world, &answer).await;
}

#[tokio::test]
async fn buy_catalog_502() {
    let (world, mut server) = world(lying(CATALOG, ALWAYS, 502, "text/html", "bad gateway")).await;
    let answer = server.call(BUY, cheapest(&world)).await;
    told(&answer, "agent_buy_cheapest_from_store failed: catalog 502");
    unpaid(&world, &answer).await;
    // A store that cannot be reached at all.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = with(cheapest(&world), "/store_url", json!(format!("http://{free}")));
    let nobody = with(nobody, "/merchant_verify_url", json!(format!("http://{free}/verify-mandate")));
    told(&server.call(BUY, nobody).await, "agent_buy_cheapest_from_store failed: catalog 502");
}

#[tokio::test]
async fn buy_par_400() {
    let (world, mut server) = world(lying("/oauth/par", ALWAYS, 400, JSON, r#"{"error":"invalid_request"}"#)).await;
    let answer = server.call(BUY, cheapest(&world)).await;
    told(&answer, "agent_buy_cheapest_from_store failed: PAR failed: 400");
    unpaid(&world, &answer).await;
}

#[tokio::test]
async fn buy_verify_502() {
    let (world, mut server) = world(lying("/verify-mandate", 3, 502, "text/html", "bad gateway")).await;
    let answer = server.call(BUY, cheapest(&world)).await;
    told(&answer, "agent_buy_cheapest_from_store failed: verify-mandate failed: 502");
    assert_eq!(answer.error()["context"]["intent_state"], "unknown");
    let settled = server.call(BUY, cheapest(&world)).await;
    assert_eq!(settled.output()["idempotency_key"], answer.error()["context"]["idempotency_key"]);
    assert_eq!(world.settlements(world.alpacanica()).await.len(), 1);
}
