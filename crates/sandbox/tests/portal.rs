//! The wallet portal's pages, as a browser without scripts sees them.

#![allow(clippy::unwrap_used, reason = "clippy takes only #[test] functions for tests")]

mod support;

use sandbox::DisputeStatus;
use serde_json::json;
use support::{Agent, Browser, SKU, World, get, post_json};

#[tokio::test]
async fn every_page_forbids_scripts_frames_and_caches() {
    let world = World::start().await;
    let browser = Browser::new(&world);
    browser.sign_in(&world, 0, "/portal").await;
    for path in ["/portal", "/portal/payments", "/portal/audit", "/portal/connect", "/portal/consent/none"] {
        let page = browser.get(path).await;
        let policy = page.header("content-security-policy").unwrap();
        let wanted = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";
        assert_eq!(policy, wanted);
        assert_eq!(page.header("x-frame-options"), Some("DENY"));
        assert_eq!(page.header("cache-control"), Some("no-store"));
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
        let html = page.text();
        assert!(html.contains("<html lang=\"en\">") && html.contains("<main id=\"main\"><h1>"), "{path}");
        assert!(!html.contains("<script") && !html.contains("style=\""), "{path}");
    }
    let style = get(&world.url("/portal/style.css")).await;
    assert_eq!(style.header("content-type"), Some("text/css; charset=utf-8"));
    assert!(style.text().contains("prefers-color-scheme: dark"));
}

#[tokio::test]
async fn nothing_is_seen_before_signing_in_and_each_principal_sees_their_own() {
    let world = World::start().await;
    let (mine, foreign) = (world.agent().await, world.agent_of(1).await);
    let browser = Browser::new(&world);
    for path in ["/portal", "/portal/payments", "/portal/audit", "/portal/connect"] {
        let page = browser.get(path).await.text();
        assert!(page.contains("<h1>Sign in</h1>") && !page.contains(&mine.client_id), "{path}");
    }
    let page = browser.sign_in(&world, 0, "/portal").await.text();
    assert!(page.contains(&mine.client_id) && !page.contains(&foreign.client_id));
    let page = Browser::new(&world).sign_in(&world, 1, "/portal").await.text();
    assert!(page.contains(&foreign.client_id) && !page.contains(&mine.client_id));
    let home = browser.get("/portal").await;
    let out = browser.submit_from(&home, "/portal/sign-out", &[]).await;
    assert!(out.text().contains("<h1>Sign in</h1>"));
    world.clock.advance(1);
    assert!(browser.get("/portal").await.text().contains("<h1>Sign in</h1>"), "the session is gone at the server too");
}

#[tokio::test]
async fn a_form_from_elsewhere_is_refused() {
    let world = World::start().await;
    let agent = world.agent().await;
    let (browser, other) = (Browser::new(&world), Browser::new(&world));
    browser.sign_in(&world, 0, "/portal").await;
    let foreign_page = other.sign_in(&world, 0, "/portal").await;
    let revoke = format!("/portal/agents/{}/revoke", agent.client_id);
    for path in [revoke.as_str(), "/portal/setup-token", "/portal/principal-token", "/portal/sign-out"] {
        assert_eq!(browser.submit(path, &[]).await.status, 403, "{path}: no token");
        assert_eq!(browser.submit(path, &[("csrf", "")]).await.status, 403, "{path}: an empty one");
        assert_eq!(browser.submit_from(&foreign_page, path, &[]).await.status, 403, "{path}: another session's");
    }
    let id = world.sandbox.principals()[0].id.clone();
    let answer = Browser::new(&world).submit("/portal/sign-in", &[("principal", &id)]).await;
    assert_eq!(answer.status, 403, "another page cannot sign anyone in");
    assert!(browser.get("/portal").await.text().contains(">Revoke this agent<"), "the agent is as it was");
}

#[tokio::test]
async fn signing_in_leads_nowhere_but_to_the_portal_and_changes_the_session() {
    let world = World::start().await;
    let browser = Browser::new(&world);
    let page = browser.get("/portal").await;
    let before = Browser::csrf(&page);
    let id = world.sandbox.principals()[0].id.clone();
    let fields = [("principal", id.as_str()), ("next", "//evil.example/portal")];
    let landed = browser.submit_from(&page, "/portal/sign-in", &fields).await;
    assert!(landed.text().contains("<h1>Your agents</h1>"));
    assert_ne!(Browser::csrf(&landed), before);
    let nobody = browser.submit_from(&landed, "/portal/sign-in", &[("principal", "principal_x")]).await;
    assert_eq!(nobody.status, 400);
}

#[tokio::test]
async fn revokes_an_agent_and_never_anothers() {
    let world = World::start().await;
    let (mine, foreign) = (world.agent().await, world.agent_of(1).await);
    let browser = Browser::new(&world);
    let page = browser.sign_in(&world, 0, "/portal").await;
    let revoke = |agent: &Agent<'_>| format!("/portal/agents/{}/revoke", agent.client_id);
    assert_eq!(browser.submit_from(&page, &revoke(&foreign), &[]).await.status, 404);
    let after = browser.submit_from(&page, &revoke(&mine), &[]).await;
    let told = "The agent was revoked. With it ended: 0 mandates, 0 access tokens and 0 refresh tokens.";
    assert!(after.text().contains(told) && !after.text().contains(">Revoke this agent<"), "{}", after.text());
    assert!(!browser.get("/portal").await.text().contains(told), "said once");
    assert_eq!(browser.submit_from(&page, &revoke(&mine), &[]).await.status, 409);
    assert_eq!(foreign.session("wallet:read").await.refresh_token.len(), 43, "the other agent goes on");
}

#[tokio::test]
async fn shows_payments_disputes_and_the_chain() {
    let world = World::start().await;
    let agent = world.agent().await;
    let (offer, purchase, tokens) = agent.ready_to_pay(0, SKU).await;
    let paid = agent.present(&purchase, &tokens.mandate, &offer.nonce, "key").await.json();
    let id = paid["payment_intent_id"].as_str().unwrap();
    world.sandbox.dispute(id, DisputeStatus::Pending).unwrap();
    let browser = Browser::new(&world);
    let page = browser.sign_in(&world, 0, "/portal/payments").await.text();
    for shown in [id, "Alpacanica", "12.99 EUR", "Paid", "Dispute pending"] {
        assert!(page.contains(shown), "{shown}");
    }
    let page = browser.get("/portal/audit").await.text();
    for entry in world.sandbox.audit_chain().0 {
        assert!(page.contains(entry["entry_hash"].as_str().unwrap()));
    }
    let other = Browser::new(&world).sign_in(&world, 1, "/portal/payments").await.text();
    assert!(other.contains("No payment was made yet.") && !other.contains(id));
}

#[tokio::test]
async fn makes_tokens_that_work_and_shows_them_once() {
    let world = World::start().await;
    let browser = Browser::new(&world);
    let page = browser.sign_in(&world, 1, "/portal/connect").await;
    let token_on = |page: &support::Answer| {
        page.text().split("<code class=\"token\">").nth(1).unwrap().split('<').next().unwrap().to_owned()
    };
    let made = browser.submit_from(&page, "/portal/setup-token", &[]).await;
    let setup = token_on(&made);
    assert!(!browser.get("/portal/connect").await.text().contains(&setup));
    let agent = Agent::new(&world);
    let answer = post_json(&world.url("/oauth/register"), &[], &agent.registration(&setup)).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.json()["principal_id"], world.sandbox.principals()[1].id);

    let made = browser.submit_from(&page, "/portal/principal-token", &[("audit:read", "yes")]).await;
    let authorization = format!("Bearer {}", token_on(&made));
    let headers = [("authorization", authorization.as_str())];
    let answer = support::call("GET", &world.url("/audit/principal/range"), &headers, None).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["entries"]), (200, &json!([])));
    let answer = support::call("GET", &world.url("/wallet/agents"), &headers, None).await;
    assert_eq!(answer.refusal(), (403, "insufficient_scope".to_owned()));
    assert_eq!(browser.submit_from(&page, "/portal/principal-token", &[]).await.status, 400, "for nothing at all");
}

#[tokio::test]
async fn what_an_agent_calls_itself_is_text_and_nothing_more() {
    let world = World::start().await;
    let agent = Agent::new(&world);
    let mut registration = agent.registration(&world.sandbox.setup_token().unwrap());
    registration["client_name"] = json!("<script>alert(1)</script>\u{202e}gnp");
    registration["purpose"] = json!("\"><img src=x onerror=alert(1)>");
    assert_eq!(post_json(&world.url("/oauth/register"), &[], &registration).await.status, 201);
    let page = Browser::new(&world).sign_in(&world, 0, "/portal").await.text();
    assert!(page.contains("&lt;script&gt;") && !page.contains("<script>") && !page.contains("<img"));
    assert!(!page.contains('\u{202e}'));
}
