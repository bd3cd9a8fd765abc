//! Consent that a person gives: the agent waits, the principal decides, and no one else.

#![allow(clippy::unwrap_used, reason = "clippy takes only #[test] functions for tests")]

mod support;

use sandbox::{ConsentDecision, ConsentMode, WalletError};
use serde_json::{Value, json};
use support::{Agent, Browser, Purchase, SKU, World, set};

async fn dashboard() -> World {
    World::start_with(|config| config.consent_mode(ConsentMode::Dashboard)).await
}

async fn purchase(agent: &Agent<'_>) -> Purchase {
    let offer = agent.offer(0, SKU).await;
    agent.purchase_of(0, &offer, 1)
}

/// What the agent waits with.
async fn ask(agent: &Agent<'_>, purchase: &Purchase) -> Value {
    let answer = agent.authorize(&agent.push(purchase).await).await;
    assert_eq!(answer.status, 302, "{:?}", answer.body);
    assert_eq!(answer.header("location"), answer.json()["consent_url"].as_str());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    answer.json()
}

fn text<'a>(waiting: &'a Value, name: &str) -> &'a str {
    waiting[name].as_str().unwrap()
}

fn path<'a>(world: &World, waiting: &'a Value) -> &'a str {
    text(waiting, "consent_url").strip_prefix(world.sandbox.as_origin()).unwrap()
}

fn decide(world: &World, waiting: &Value, decision: ConsentDecision) {
    world.sandbox.decide(text(waiting, "consent_url"), &world.sandbox.principals()[0].id, decision).unwrap();
}

#[tokio::test]
async fn the_agent_waits_is_approved_and_pays() {
    let world = dashboard().await;
    let agent = world.agent().await;
    let purchase = purchase(&agent).await;
    let waiting = ask(&agent, &purchase).await;
    assert_eq!((&waiting["consent_mode"], &waiting["expires_in"]), (&json!("dashboard"), &json!(900)));
    let poll_uri = text(&waiting, "poll_uri");
    assert!(poll_uri.starts_with(world.sandbox.as_origin()));

    let pending = agent.poll(poll_uri).await;
    assert_eq!(pending.json(), json!({ "status": "pending", "interval": 2 }));
    assert_eq!(pending.header("cache-control"), Some("no-store"));
    decide(&world, &waiting, ConsentDecision::Approve);
    let approved = agent.poll(poll_uri).await.json();
    assert_eq!(approved["status"], "approved");
    assert_eq!((text(&approved, "state"), text(&approved, "iss")), (&*purchase.state, world.sandbox.as_origin()));
    assert_eq!(agent.poll(poll_uri).await.json(), approved, "the same code until it is redeemed");
    let tokens = agent.redeem(&purchase, text(&approved, "code")).await;
    let challenge = agent.challenge(&purchase, &tokens.mandate).await;
    assert_eq!(agent.present(&purchase, &tokens.mandate, &challenge, "key").await.status, 200);
    world.clock.advance(61);
    assert_eq!(agent.poll(poll_uri).await.json(), json!({ "status": "expired" }), "one approval, one mandate");
}

#[tokio::test]
async fn a_code_is_made_when_it_is_collected_and_made_anew_when_it_has_aged() {
    let world = dashboard().await;
    let agent = world.agent().await;
    let purchase = purchase(&agent).await;
    let waiting = ask(&agent, &purchase).await;
    let poll_uri = text(&waiting, "poll_uri");
    decide(&world, &waiting, ConsentDecision::Approve);
    world.clock.advance(600);
    let first = agent.poll(poll_uri).await.json();
    world.clock.advance(61);
    let second = agent.poll(poll_uri).await.json();
    assert_ne!(first["code"], second["code"]);
    let refused = agent.post("/oauth/token", &agent.token_form(&purchase, text(&first, "code"))).await;
    assert_eq!(refused.refusal(), (400, "invalid_grant".to_owned()));
    agent.redeem(&purchase, text(&second, "code")).await;

    let waiting = ask(&agent, &purchase).await;
    decide(&world, &waiting, ConsentDecision::Approve);
    world.clock.advance(900);
    assert_eq!(agent.poll(text(&waiting, "poll_uri")).await.json(), json!({ "status": "expired" }));
}

#[tokio::test]
async fn declined_and_expired_are_told_apart() {
    let world = dashboard().await;
    let agent = world.agent().await;
    let purchase = purchase(&agent).await;
    let waiting = ask(&agent, &purchase).await;
    decide(&world, &waiting, ConsentDecision::Decline);
    assert_eq!(agent.poll(text(&waiting, "poll_uri")).await.json(), json!({ "status": "declined" }));
    let twice = world.sandbox.decide(
        text(&waiting, "consent_url"),
        &world.sandbox.principals()[0].id,
        ConsentDecision::Approve,
    );
    assert_eq!(twice, Err(WalletError::Decided));

    let waiting = ask(&agent, &purchase).await;
    world.clock.advance(899);
    assert_eq!(agent.poll(text(&waiting, "poll_uri")).await.json()["status"], "pending");
    world.clock.advance(1);
    assert_eq!(agent.poll(text(&waiting, "poll_uri")).await.json(), json!({ "status": "expired" }));
    let late = world.sandbox.decide(
        text(&waiting, "consent_url"),
        &world.sandbox.principals()[0].id,
        ConsentDecision::Approve,
    );
    assert_eq!(late, Err(WalletError::NoSuchConsent));
}

#[tokio::test]
async fn polling_too_fast_costs_five_seconds() {
    let world = dashboard().await;
    let agent = world.agent().await;
    let waiting = ask(&agent, &purchase(&agent).await).await;
    let poll_uri = text(&waiting, "poll_uri");
    assert_eq!(agent.poll(poll_uri).await.status, 200);
    world.clock.advance(1);
    assert_eq!(agent.poll(poll_uri).await.refusal(), (429, "slow_down".to_owned()));
    world.clock.advance(2);
    assert_eq!(agent.poll(poll_uri).await.refusal(), (429, "slow_down".to_owned()));
    world.clock.advance(12);
    assert_eq!(agent.poll(poll_uri).await.json(), json!({ "status": "pending", "interval": 12 }));
}

#[tokio::test]
async fn only_the_key_that_pushed_the_request_learns_how_it_stands() {
    let world = dashboard().await;
    let (agent, other) = (world.agent().await, world.agent().await);
    let waiting = ask(&agent, &purchase(&agent).await).await;
    let poll_uri = text(&waiting, "poll_uri");
    decide(&world, &waiting, ConsentDecision::Approve);
    assert_eq!(other.poll(poll_uri).await.refusal(), (404, "not_found".to_owned()));
    assert_eq!(agent.poll(&world.url("/oauth/consent/made-up")).await.refusal(), (404, "not_found".to_owned()));
    let page_id = path(&world, &waiting).rsplit('/').next().unwrap();
    let by_page = agent.poll(&world.url(&format!("/oauth/consent/{page_id}"))).await;
    assert_eq!(by_page.refusal(), (404, "not_found".to_owned()), "the page's name is not the poll's");
    assert_eq!(support::get(poll_uri).await.refusal(), (400, "invalid_dpop_proof".to_owned()));
    let proof = agent.proof_for("GET", poll_uri, None);
    assert_eq!(support::call("GET", poll_uri, &[("dpop", &proof)], None).await.status, 200);
    let replayed = support::call("GET", poll_uri, &[("dpop", &proof)], None).await;
    assert_eq!(replayed.refusal(), (400, "invalid_dpop_proof".to_owned()));
}

#[tokio::test]
async fn an_agent_revoked_while_it_waits_collects_nothing() {
    let world = dashboard().await;
    let agent = world.agent().await;
    let waiting = ask(&agent, &purchase(&agent).await).await;
    decide(&world, &waiting, ConsentDecision::Approve);
    let browser = Browser::new(&world);
    let page = browser.sign_in(&world, 0, "/portal").await;
    browser.submit_from(&page, &format!("/portal/agents/{}/revoke", agent.client_id), &[]).await;
    assert_eq!(agent.poll(text(&waiting, "poll_uri")).await.json(), json!({ "status": "expired" }));
}

#[tokio::test]
async fn a_hint_asks_for_more_of_the_human_and_never_for_less() {
    let world = World::start().await;
    let agent = world.agent().await;
    let purchase = purchase(&agent).await;
    for mode in ["dashboard", "scan"] {
        let mut form = agent.par_form(&purchase);
        set(&mut form, "consent_mode_hint", mode);
        let pushed = agent.post("/oauth/par", &form).await.json();
        let answer = agent.authorize(text(&pushed, "request_uri")).await;
        assert_eq!((answer.status.as_u16(), answer.json()["consent_mode"].as_str()), (302, Some(mode)));
    }
    for (mode, modes) in
        [(ConsentMode::Dashboard, json!(["dashboard", "scan"])), (ConsentMode::Scan, json!(["scan", "dashboard"]))]
    {
        let world = World::start_with(|config| config.consent_mode(mode)).await;
        let agent = world.agent().await;
        let metadata = support::get(&world.url("/.well-known/oauth-authorization-server")).await.json();
        assert_eq!(metadata["oid4ac_consent_modes_supported"], modes);
        let mut form = agent.par_form(&purchase_of(&agent).await);
        set(&mut form, "consent_mode_hint", "auto");
        assert_eq!(agent.post("/oauth/par", &form).await.refusal(), (400, "invalid_request".to_owned()));
    }
}

async fn purchase_of(agent: &Agent<'_>) -> Purchase {
    purchase(agent).await
}

#[tokio::test]
async fn the_page_shows_what_is_decided_and_takes_the_decision() {
    let world = dashboard().await;
    let agent = world.agent().await;
    for (decision, title, status) in [("approve", "Approved", "approved"), ("decline", "Declined", "declined")] {
        let waiting = ask(&agent, &purchase(&agent).await).await;
        let (browser, path) = (Browser::new(&world), path(&world, &waiting));
        let sign_in = browser.get(path).await;
        assert!(sign_in.text().contains("Sign in") && !sign_in.text().contains("12.99"), "nothing before the sign-in");
        let page = browser.sign_in(&world, 0, path).await;
        let html = page.text();
        for shown in [
            "acme-research-agent",
            "Alpacanica",
            &world.merchant(0).origin,
            SKU,
            "Alpaca wool sock",
            "12.99 EUR",
            "15 minutes",
            "value=\"approve\"",
            "value=\"decline\"",
        ] {
            assert!(html.contains(shown), "{shown} is missing: {html}");
        }
        let done = browser.submit_from(&page, path, &[("decision", decision)]).await;
        assert!(done.text().contains(&format!("<h1>{title}</h1>")), "{}", done.text());
        assert_eq!(agent.poll(text(&waiting, "poll_uri")).await.json()["status"], status);
        let again = browser.submit_from(&page, path, &[("decision", "approve")]).await;
        assert_eq!(again.status, 409, "decided twice");
    }
}

#[tokio::test]
async fn a_page_that_is_answered_too_late_says_so() {
    let world = dashboard().await;
    let agent = world.agent().await;
    let waiting = ask(&agent, &purchase(&agent).await).await;
    let (browser, path) = (Browser::new(&world), path(&world, &waiting));
    let page = browser.sign_in(&world, 0, path).await;
    world.clock.advance(900);
    let late = browser.submit_from(&page, path, &[("decision", "approve")]).await;
    assert_eq!(late.status, 404);
    let again = browser.get(path).await;
    assert!(again.text().contains("<h1>Too late</h1>") && !again.text().contains("value=\"approve\""));
    assert_eq!(agent.poll(text(&waiting, "poll_uri")).await.json(), json!({ "status": "expired" }));
}

#[tokio::test]
async fn the_page_shows_the_price_of_each_line_where_the_prices_make_the_amount() {
    let world = dashboard().await;
    let agent = world.agent().await;
    let lines = json!([{ "sku": SKU, "qty": 2 }, { "sku": "alpaca-sock-moss-39", "qty": 1 }]);
    for (amount, shown) in [(2 * 1299 + 1249, true), (3000, false)] {
        let mut form = agent.par_form(&purchase(&agent).await);
        let details = json!([{
            "type": "oid4ac_mandate", "amount_minor": amount, "currency": "EUR", "merchant": world.merchant(0).origin,
            "line_items": lines,
        }]);
        support::set_owned(&mut form, "authorization_details", Some(details.to_string()));
        let pushed = agent.post("/oauth/par", &form).await.json();
        let waiting = agent.authorize(text(&pushed, "request_uri")).await.json();
        let page = Browser::new(&world).sign_in(&world, 0, path(&world, &waiting)).await.text();
        let prices = page.contains("<td>2</td><td>12.99 EUR</td>") && page.contains("<td>1</td><td>12.49 EUR</td>");
        assert_eq!((prices, page.matches("in the total").count()), (shown, if shown { 0 } else { 2 }), "{page}");
    }
}

#[tokio::test]
async fn another_account_sees_an_error_and_the_request_stays_pending() {
    let world = dashboard().await;
    let agent = world.agent().await;
    let waiting = ask(&agent, &purchase(&agent).await).await;
    let (browser, path) = (Browser::new(&world), path(&world, &waiting));
    let page = browser.sign_in(&world, 1, path).await;
    assert_eq!(page.status, 403);
    assert!(!page.text().contains("12.99") && !page.text().contains("acme"));
    let home = browser.get("/portal").await;
    let decided = browser.submit_from(&home, path, &[("decision", "approve")]).await;
    assert_eq!(decided.status, 403);
    assert_eq!(agent.poll(text(&waiting, "poll_uri")).await.json()["status"], "pending");
}

#[tokio::test]
async fn a_wallet_session_is_asked_for_on_the_same_page() {
    let world = dashboard().await;
    let agent = world.agent().await;
    let mut form = agent.par_form(&purchase(&agent).await);
    set(&mut form, "authorization_details", None);
    set(&mut form, "scope", "wallet:read audit:read");
    support::set_owned(&mut form, "resource", Some(world.sandbox.as_origin().to_owned()));
    let pushed = agent.post("/oauth/par", &form).await.json();
    let waiting = agent.authorize(text(&pushed, "request_uri")).await.json();
    let page = Browser::new(&world).sign_in(&world, 0, path(&world, &waiting)).await.text();
    assert!(
        page.contains("Allow access to your wallet?") && page.contains("wallet:read") && page.contains("audit:read")
    );
    assert!(!page.contains("privacy:dsar"));
}
