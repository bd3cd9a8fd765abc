//! The person's agents, data, audit chain and payments, over MCP from the compiled binary.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response};
use jose::base64url;
use sandbox::{ConsentDecision, ConsentMode, DisputeStatus, Party, SandboxConfig};
use serde_json::{Value, json};
use support::person::Person;
use support::{Answer, CALLBACK, Lifecycle, Server, World, with};

/// Every row of the contract's error tables for these six tools, and the test that provokes it.
const ROWS: [(&str, &str); 24] = [
    ("agent_wallet_register failed: invalid_client_metadata", "registers_with_name_and_purpose_or_says_why_not"),
    ("agent_wallet_register failed: invalid_software_statement", "registers_with_name_and_purpose_or_says_why_not"),
    ("agent_wallet_register failed: invalid_redirect_uri", "registers_with_name_and_purpose_or_says_why_not"),
    ("agent_wallet_list_agents: insufficient_scope (need wallet:read); ...", "a_scope_that_is_missing_is_named"),
    ("agent_wallet_list_agents failed (401 invalid_token): ...", "lists_the_persons_agents_and_no_others"),
    ("agent_wallet_list_agents failed (403 forbidden): ...", "an_agent_that_changed_hands_reads_nothing"),
    ("agent_wallet_revoke_agent: insufficient_scope (need wallet:write); ...", "a_scope_that_is_missing_is_named"),
    ("agent_wallet_revoke_agent failed (404 not_found): ...", "revokes_an_agent_with_all_it_has"),
    ("agent_wallet_revoke_agent failed (409 conflict): ...", "revokes_an_agent_with_all_it_has"),
    ("agent_wallet_revoke_agent failed (503 server_error): ...", "a_revocation_that_failed_can_be_repeated"),
    (
        "agent_dsar_initiate failed: DSAR requires a wallet-session JWT-AT; agent-only tokens are refused",
        "a_principal_token_goes_where_it_belongs_or_nowhere",
    ),
    (
        "agent_dsar_initiate failed: rate limited; DSAR caps at 10/day per principal per endpoint",
        "the_data_can_be_asked_for_ten_times_a_day",
    ),
    ("agent_dsar_initiate failed: insufficient_scope (need privacy:dsar); ...", "a_scope_that_is_missing_is_named"),
    (
        "agent_dsar_initiate failed: agent is not registered yet; call agent_register first",
        "without_a_registration_nothing_is_sent",
    ),
    (
        "agent_audit_chain_query failed: audit chain query requires a wallet-session JWT-AT",
        "a_principal_token_goes_where_it_belongs_or_nowhere",
    ),
    ("agent_audit_chain_query failed: principal_id mismatch", "an_agent_that_changed_hands_reads_nothing"),
    (
        "agent_audit_chain_query failed: rate limited; audit chain caps at 30/min per principal",
        "the_chain_can_be_read_thirty_times_a_minute",
    ),
    ("agent_audit_chain_query failed: insufficient_scope (need audit:read); ...", "a_scope_that_is_missing_is_named"),
    (
        "agent_audit_chain_query failed: agent is not registered yet; call agent_register first",
        "without_a_registration_nothing_is_sent",
    ),
    (
        "agent_payment_history failed: payment history query requires a wallet-session JWT-AT",
        "a_principal_token_goes_where_it_belongs_or_nowhere",
    ),
    ("agent_payment_history failed: principal_id mismatch", "an_agent_that_changed_hands_reads_nothing"),
    (
        "agent_payment_history failed: rate limited; payment history caps at 30/min per principal",
        "the_chain_can_be_read_thirty_times_a_minute",
    ),
    ("agent_payment_history failed: insufficient_scope (need audit:read); ...", "a_scope_that_is_missing_is_named"),
    (
        "agent_payment_history failed: agent is not registered yet; call agent_register first",
        "without_a_registration_nothing_is_sent",
    ),
];

/// Whether the message is that of a row: to the letter, up to `...` where the row has it.
fn says(answer: &Answer, row: &str) {
    assert!(ROWS.iter().any(|(known, _)| *known == row), "{row} is no row");
    match row.strip_suffix("...") {
        Some(start) => {
            let rest = answer.text(0).strip_prefix(start).unwrap_or_else(|| panic!("{row}\n{}", answer.text(0)));
            assert!(!rest.is_empty(), "{row}");
        }
        None => assert_eq!(answer.text(0), row),
    }
}

#[test]
fn each_row_of_the_contract_has_its_test() {
    let source = include_str!("wallet.rs");
    for (row, test) in ROWS {
        let (_, body) = source.split_once(&format!("async fn {test}(")).unwrap_or_else(|| panic!("no test {test}"));
        let body = body.split("\n}\n").next().unwrap();
        let (tool, rest) = row.split_at(row.find([' ', ':']).unwrap());
        // Some tests say what follows the tool's name for several tools at once.
        assert!(body.contains(row) || (body.contains(tool) && body.contains(rest)), "{test} does not say {row}");
    }
}

fn wallet_arguments(world: &World) -> Value {
    let origin = world.sandbox.as_origin();
    json!({"as_url": origin, "resource": origin, "redirect_uri": CALLBACK})
}

fn revoke(world: &World, client_id: &str) -> Value {
    with(wallet_arguments(world), "/agent_client_id", json!(client_id))
}

fn wallet_registration(world: &World) -> Value {
    with(with(world.registration(), "/client_name", json!("acme-research-agent")), "/purpose", json!("Socks."))
}

fn session() -> Value {
    json!({"principal_token": "wallet-session"})
}

fn dsar(right: &str, token: &str) -> Value {
    json!({"right": right, "principal_token": token})
}

fn principal_token(world: &World, principal: usize, scope: &str) -> String {
    world.sandbox.principal_token(&world.sandbox.principals()[principal].id, scope).unwrap()
}

fn file(world: &World, name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(world.data_dir().join(name)).unwrap()).unwrap()
}

fn client_id(world: &World) -> String {
    file(world, "client.json")["client_id"].as_str().unwrap().to_owned()
}

fn posts(world: &World, path: &str) -> usize {
    world.sandbox.request_count(&Party::AuthorizationServer, &Method::POST, path)
}

/// An agent of the n-th principal's, with a home of its own.
async fn other_agent(world: &World, principal: usize) -> (tempfile::TempDir, Server, String) {
    let home = tempfile::tempdir().unwrap();
    let data_dir = home.path().join("data");
    let arguments = ["--as-origin", world.sandbox.as_origin(), "--data-dir", data_dir.to_str().unwrap()];
    let mut server = Server::start(&arguments, home.path()).await;
    let token = world.sandbox.setup_token_for(&world.sandbox.principals()[principal].id).unwrap();
    let answer = server.call("agent_register", with(world.registration(), "/setup_token", json!(token))).await;
    let client_id = answer.output()["client_id"].as_str().unwrap().to_owned();
    (home, server, client_id)
}

/// A sandbox whose answers at paths that begin so are these.
fn answering(path: &'static str, status: u16, body: &'static str) -> SandboxConfig {
    SandboxConfig::new().changing_answers(move |request, answer| match request.path.starts_with(path) {
        true => Response::builder().status(status).body(Bytes::from_static(body.as_bytes())).unwrap(),
        false => answer,
    })
}

/// A sandbox whose time stands still, so that no window slides away under a slow test.
fn at_one_moment() -> SandboxConfig {
    let now = jiff::Timestamp::now().as_second();
    SandboxConfig::new().clock(Arc::new(move || now))
}

#[tokio::test]
async fn registers_with_name_and_purpose_or_says_why_not() {
    let world = World::new().await;
    let mut server = world.server().await;
    let tool = "agent_wallet_register";
    let refused = [
        (with(wallet_registration(&world), "/client_name", json!("")), "invalid_client_metadata"),
        (with(wallet_registration(&world), "/client_name", json!("x".repeat(1000))), "invalid_client_metadata"),
        (with(wallet_registration(&world), "/purpose", json!("")), "invalid_client_metadata"),
        (with(wallet_registration(&world), "/setup_token", json!("setup_unknown")), "invalid_software_statement"),
        (with(wallet_registration(&world), "/redirect_uris", json!(["ftp://a.example/cb"])), "invalid_redirect_uri"),
    ];
    for (arguments, code) in refused {
        let answer = server.call(tool, arguments).await;
        says(&answer, &format!("agent_wallet_register failed: {code}"));
        assert_eq!(answer.code(), code);
    }
    // These are the rows: agent_wallet_register failed: invalid_client_metadata, agent_wallet_register failed:
    // invalid_software_statement, agent_wallet_register failed: invalid_redirect_uri.
    let answer = server.call(tool, wallet_registration(&world)).await;
    let expected = json!({
        "ok": true, "client_id": client_id(&world), "principal_id": world.sandbox.principals()[0].id,
        "client_name": "acme-research-agent", "purpose": "Socks.", "scope": "wallet:read wallet:write",
        "as_url": world.sandbox.as_origin(),
    });
    assert_eq!(*answer.output(), expected);
    assert_eq!(file(&world, "client.json")["scope"], "openid payment:initiate wallet:read wallet:write");
    let token = wallet_registration(&world);
    let again = server.call(tool, token.clone()).await;
    assert_eq!(*again.output(), expected);
    assert!(again.text(1).contains("was not used"));
    // What asks for more replaces it, and then the token is spent.
    let more = with(token, "/scope", json!("wallet:read audit:read"));
    let replaced = server.call(tool, more.clone()).await;
    assert_eq!(replaced.output()["scope"], "wallet:read audit:read");
    assert_ne!(replaced.output()["client_id"], expected["client_id"]);
    let spent = with(more, "/purpose", json!("Other socks."));
    says(&server.call(tool, spent).await, "agent_wallet_register failed: invalid_software_statement");
    let elsewhere = with(wallet_registration(&world), "/as_url", json!("https://as.example"));
    assert_eq!(server.call(tool, elsewhere).await.code(), "as_url_not_configured");
    for member in ["setup_token", "as_url", "redirect_uris", "client_name", "purpose"] {
        let error =
            server.call_badly(tool, with(wallet_registration(&world), &format!("/{member}"), Value::Null)).await;
        assert!(error["message"].as_str().unwrap().contains(member), "{error}");
    }
}

#[tokio::test]
async fn lists_the_persons_agents_and_no_others() {
    let world = World::new().await;
    let mut server = world.server().await;
    server.call("agent_wallet_register", wallet_registration(&world)).await.output();
    let (_own_home, _own, sibling) = other_agent(&world, 0).await;
    let (_home, _foreign, foreign) = other_agent(&world, 1).await;
    let answer = server.call("agent_wallet_list_agents", wallet_arguments(&world)).await;
    let agents = answer.output()["agents"].as_array().unwrap();
    let ids: BTreeSet<_> = agents.iter().map(|agent| agent["client_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, BTreeSet::from([client_id(&world), sibling]));
    assert!(!ids.contains(&foreign));
    let own = agents.iter().find(|agent| agent["client_id"] == client_id(&world)).unwrap();
    assert_eq!((&own["client_name"], &own["purpose"]), (&json!("acme-research-agent"), &json!("Socks.")));
    assert_eq!((&own["status"], own["registered_at"].is_string()), (&json!("active"), true));

    let slash = format!("{}/", world.sandbox.as_origin());
    server.call("agent_wallet_list_agents", with(wallet_arguments(&world), "/resource", json!(slash))).await.output();
    let shop = with(wallet_arguments(&world), "/resource", json!(world.alpacanica().origin));
    assert_eq!(server.call("agent_wallet_list_agents", shop).await.code(), "invalid_resource");
    assert_eq!(posts(&world, "/oauth/par"), 1 + usize::from(posts(&world, "/oauth/par") > 1), "the token was kept");

    let refusing = World::with(answering("/wallet/agents", 401, r#"{"error": "invalid_token"}"#)).await;
    let mut server = refusing.registered().await;
    let answer = server.call("agent_wallet_list_agents", wallet_arguments(&refusing)).await;
    says(&answer, "agent_wallet_list_agents failed (401 invalid_token): ...");
    assert_eq!(answer.code(), "invalid_token");
}

#[tokio::test]
async fn a_scope_that_is_missing_is_named() {
    let world = World::new().await;
    let mut server = world.server().await;
    let narrow = with(wallet_registration(&world), "/scope", json!(""));
    server.call("agent_wallet_register", narrow).await.output();
    let rows = [
        ("agent_wallet_list_agents", wallet_arguments(&world), ": insufficient_scope (need wallet:read); ..."),
        ("agent_wallet_revoke_agent", revoke(&world, "agent_x"), ": insufficient_scope (need wallet:write); ..."),
        (
            "agent_dsar_initiate",
            dsar("access", "wallet-session"),
            " failed: insufficient_scope (need privacy:dsar); ...",
        ),
        ("agent_audit_chain_query", session(), " failed: insufficient_scope (need audit:read); ..."),
        ("agent_payment_history", session(), " failed: insufficient_scope (need audit:read); ..."),
    ];
    for (tool, arguments, row) in rows {
        let answer = server.call(tool, arguments).await;
        says(&answer, &format!("{tool}{row}"));
        assert_eq!(answer.code(), "insufficient_scope");
    }
    // The same where the authorization server says so, of a token for something else.
    let token = principal_token(&world, 0, "wallet:read");
    let rows = [
        ("agent_dsar_initiate", dsar("access", &token), "privacy:dsar"),
        ("agent_audit_chain_query", json!({"principal_token": token}), "audit:read"),
        ("agent_payment_history", json!({"principal_token": token}), "audit:read"),
    ];
    for (tool, arguments, scope) in rows {
        says(&server.call(tool, arguments).await, &format!("{tool} failed: insufficient_scope (need {scope}); ..."));
    }
}

#[tokio::test]
async fn an_agent_that_changed_hands_reads_nothing() {
    let world = World::new().await;
    let mut server = world.registered().await;
    server.call("agent_wallet_list_agents", wallet_arguments(&world)).await.output();
    server.call("agent_audit_chain_query", session()).await.output();
    world.sandbox.transfer_agent(&client_id(&world), &world.sandbox.principals()[1].id).unwrap();
    let answer = server.call("agent_wallet_list_agents", wallet_arguments(&world)).await;
    says(&answer, "agent_wallet_list_agents failed (403 forbidden): ...");
    says(
        &server.call("agent_audit_chain_query", session()).await,
        "agent_audit_chain_query failed: principal_id mismatch",
    );
    says(&server.call("agent_payment_history", session()).await, "agent_payment_history failed: principal_id mismatch");
}

#[tokio::test]
async fn revokes_an_agent_with_all_it_has() {
    let world = World::new().await;
    let mut server = world.registered().await;
    let (_home, mut other, id) = other_agent(&world, 0).await;
    let (_foreign_home, _foreign, foreign) = other_agent(&world, 1).await;
    assert_eq!(other.call("agent_payment_initiate", world.socks()).await.output()["status"], "settled");
    let answer = server.call("agent_wallet_revoke_agent", revoke(&world, &id)).await;
    let output = answer.output();
    assert_eq!((&output["ok"], &output["agent_client_id"]), (&json!(true), &json!(id)));
    assert!(output["revoked_at"].is_string());
    let cascade = json!({"mandates_revoked": 1, "refresh_tokens_revoked": 1, "access_tokens_revoked": 1});
    assert_eq!(output["cascade"], cascade);
    // The token that can change something is not kept.
    assert!(file(&world, "session.json")["tokens"].get("wallet:write").is_none());

    let again = server.call("agent_wallet_revoke_agent", revoke(&world, &id)).await;
    says(&again, "agent_wallet_revoke_agent failed (409 conflict): ...");
    for unknown in ["agent_nobody", "../agents", &foreign] {
        let answer = server.call("agent_wallet_revoke_agent", revoke(&world, unknown)).await;
        says(&answer, "agent_wallet_revoke_agent failed (404 not_found): ...");
        assert_eq!(answer.error()["hint"], "Take a client_id from agent_wallet_list_agents.");
    }
    let long = server.call("agent_wallet_revoke_agent", revoke(&world, &"x".repeat(300))).await;
    assert_eq!(long.code(), "invalid_agent_client_id");
    assert!(other.call("agent_payment_initiate", with(world.socks(), "/purchase_ref", json!("2"))).await.is_error());
}

#[tokio::test]
async fn a_revocation_that_failed_can_be_repeated() {
    let failures = Arc::new(AtomicUsize::new(0));
    let left = Arc::clone(&failures);
    let config = SandboxConfig::new().changing_answers(move |request, answer| {
        let fails = request.path.ends_with("/revoke") && request.path.starts_with("/wallet");
        match fails && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            true => Response::builder().status(503).body(Bytes::from_static(b"<html>busy</html>")).unwrap(),
            false => answer,
        }
    });
    let world = World::with(config).await;
    let mut server = world.registered().await;
    let (_home, _other, id) = other_agent(&world, 0).await;
    // The nonce of the resource server is not known yet: the first answer asks for it.
    server.call("agent_wallet_list_agents", wallet_arguments(&world)).await.output();
    failures.store(1, Ordering::SeqCst);
    let answer = server.call("agent_wallet_revoke_agent", revoke(&world, &id)).await;
    says(&answer, "agent_wallet_revoke_agent failed (503 server_error): ...");
    assert_eq!(answer.error()["retryable"], true);
    // The request was carried out and its answer lost, so the server says how it stands.
    let again = server.call("agent_wallet_revoke_agent", revoke(&world, &id)).await;
    says(&again, "agent_wallet_revoke_agent failed (409 conflict): ...");
}

#[tokio::test]
async fn an_agent_that_revokes_itself_can_only_register_anew() {
    let world = World::new().await;
    let mut server = world.registered().await;
    server.call("agent_audit_chain_query", session()).await.output();
    let old = client_id(&world);
    let answer = server.call("agent_wallet_revoke_agent", revoke(&world, &old)).await;
    assert!(answer.text(1).contains("this agent itself"), "{}", answer.text(1));
    assert_eq!(answer.output()["cascade"]["refresh_tokens_revoked"], 2);
    let refused = server.call("agent_payment_initiate", world.socks()).await;
    assert_eq!(refused.code(), "invalid_client");
    assert!(server.call("agent_audit_chain_query", session()).await.is_error(), "nothing is kept to read with");
    // The same arguments as before: it is the registration that is no good any more.
    world.register(&mut server).await;
    assert_ne!(client_id(&world), old);
    assert_eq!(server.call("agent_payment_initiate", world.socks()).await.output()["status"], "settled");
    assert_eq!(world.settlements(world.alpacanica()).await.len(), 1);
}

#[tokio::test]
async fn without_a_registration_nothing_is_sent() {
    let world = World::new().await;
    let mut server = world.server().await;
    for (tool, arguments) in [
        ("agent_dsar_initiate", dsar("access", "wallet-session")),
        ("agent_dsar_initiate", dsar("access", "a-token")),
        ("agent_audit_chain_query", session()),
        ("agent_payment_history", session()),
        ("agent_wallet_list_agents", wallet_arguments(&world)),
        ("agent_wallet_revoke_agent", revoke(&world, "agent_x")),
    ] {
        let answer = server.call(tool, arguments).await;
        assert_eq!(answer.text(0), format!("{tool} failed: agent is not registered yet; call agent_register first"));
        assert_eq!(answer.code(), "not_registered");
    }
    assert_eq!(world.sandbox.requests(), []);
}

#[tokio::test]
async fn asks_for_the_persons_data_in_both_forms() {
    let world = World::new().await;
    let mut server = world.registered().await;
    let paid = server.call("agent_payment_initiate", world.socks()).await.output()["payment_intent_id"].clone();
    for delivery in ["email", "synchronous_json"] {
        let arguments = with(dsar("access", "wallet-session"), "/delivery_preference", json!(delivery));
        let answer = server.call("agent_dsar_initiate", arguments).await;
        let output = answer.output();
        assert!(
            output["request_id"].as_str().unwrap().starts_with("dsar_") && output["estimated_delivery"].is_string()
        );
        assert_eq!((&output["status"], &output["right"]), (&json!("queued"), &json!("access")));
        assert_eq!(output["delivery_channel"], "email");
    }
    world.sandbox.clear_requests();
    let answer = server.call("agent_dsar_initiate", dsar("portability", "wallet-session")).await;
    let output = answer.output();
    assert_eq!(output["schema_version"], "oid4pay.dsar.portability.v1");
    assert_eq!(output["principal"]["principal_id"], world.sandbox.principals()[0].id);
    assert_eq!(output["payments"][0]["payment_intent_id"], paid);
    for list in ["agents", "mandates", "audit_chain"] {
        assert!(!output[list].as_array().unwrap().is_empty(), "{list}");
    }
    // Asked for again each time, and given up after.
    assert!(posts(&world, "/oauth/par") >= 1 && posts(&world, "/oauth/revoke") >= 1);
    assert!(file(&world, "session.json").get("tokens").is_none());
    for bad in [json!("erasure"), json!(1)] {
        server.call_badly("agent_dsar_initiate", with(dsar("access", "x"), "/right", bad)).await;
    }
}

#[tokio::test]
async fn the_data_can_be_asked_for_ten_times_a_day() {
    let world = World::with(at_one_moment()).await;
    let mut server = world.registered().await;
    let token = principal_token(&world, 0, "privacy:dsar");
    for _ in 0..10 {
        server.call("agent_dsar_initiate", dsar("access", &token)).await.output();
    }
    let answer = server.call("agent_dsar_initiate", dsar("portability", &token)).await;
    says(&answer, "agent_dsar_initiate failed: rate limited; DSAR caps at 10/day per principal per endpoint");
    assert_eq!(answer.error()["retryable"], true);
    // Another person's limit is their own.
    let other = principal_token(&world, 1, "privacy:dsar");
    server.call("agent_dsar_initiate", dsar("access", &other)).await.output();
}

#[tokio::test]
async fn the_chain_can_be_read_thirty_times_a_minute() {
    let world = World::with(at_one_moment()).await;
    let mut server = world.registered().await;
    let arguments = json!({"principal_token": principal_token(&world, 0, "audit:read")});
    for _ in 0..30 {
        server.call("agent_audit_chain_query", arguments.clone()).await.output();
    }
    for (tool, what) in [("agent_audit_chain_query", "audit chain"), ("agent_payment_history", "payment history")] {
        let answer = server.call(tool, arguments.clone()).await;
        // The rows: agent_audit_chain_query failed: rate limited; audit chain caps at 30/min per principal, and
        // agent_payment_history failed: rate limited; payment history caps at 30/min per principal.
        says(&answer, &format!("{tool} failed: rate limited; {what} caps at 30/min per principal"));
        assert_eq!(answer.code(), "rate_limited");
    }
}

/// A token as an authorization server makes them, but for the signature, which is not this side's to check.
fn forged(claims: &Value) -> String {
    let part = |value: &Value| base64url::encode(value.to_string().as_bytes());
    format!("{}.{}.{}", part(&json!({"alg": "EdDSA", "typ": "at+jwt"})), part(claims), base64url::encode(&[7; 64]))
}

#[tokio::test]
async fn a_principal_token_goes_where_it_belongs_or_nowhere() {
    let world = World::new().await;
    let mut server = world.registered().await;
    server.call("agent_payment_initiate", world.socks()).await.output();
    let tools = ["agent_dsar_initiate", "agent_audit_chain_query", "agent_payment_history"];
    let arguments = |tool: &str, token: &str| match tool {
        "agent_dsar_initiate" => dsar("access", token),
        _ => json!({"principal_token": token}),
    };
    // One of the session's own, bound to this agent's key, is sent with a proof.
    server.call("agent_audit_chain_query", session()).await.output();
    let own = file(&world, "session.json")["tokens"]["audit:read"]["access_token"].as_str().unwrap().to_owned();
    assert!(!server.call("agent_audit_chain_query", arguments("", &own)).await.output()["entries"][0].is_null());
    // An opaque one goes as a bearer's. One that nobody knows is refused by the server, in the contract's words.
    for tool in tools {
        let scope = if tool == "agent_dsar_initiate" { "privacy:dsar" } else { "audit:read" };
        server.call(tool, arguments(tool, &principal_token(&world, 0, scope))).await.output();
    }
    let row = |tool: &str| match tool {
        "agent_dsar_initiate" => {
            "agent_dsar_initiate failed: DSAR requires a wallet-session JWT-AT; agent-only tokens are refused"
        }
        "agent_audit_chain_query" => {
            "agent_audit_chain_query failed: audit chain query requires a wallet-session JWT-AT"
        }
        _ => "agent_payment_history failed: payment history query requires a wallet-session JWT-AT",
    };
    for tool in tools {
        says(&server.call(tool, arguments(tool, "nobody-knows-this-one")).await, row(tool));
    }

    let (_home, mut other, _) = other_agent(&world, 1).await;
    other.call("agent_audit_chain_query", session()).await.output();
    let foreign: Value =
        serde_json::from_slice(&std::fs::read(_home.path().join("data/session.json")).unwrap()).unwrap();
    let other_key = foreign["tokens"]["audit:read"]["access_token"].as_str().unwrap().to_owned();
    let claims: Value = serde_json::from_slice(&base64url::decode(own.split('.').nth(1).unwrap()).unwrap()).unwrap();
    let changed = |member: &str, value: Value| forged(&with(claims.clone(), &format!("/{member}"), value));
    let unsent = [
        (other_key, "principal_token_other_key"),
        (changed("exp", json!(1_000_000_000)), "principal_token_expired"),
        (changed("aud", json!(world.alpacanica().origin)), "principal_token_audience"),
        (changed("iss", json!("https://as.example")), "principal_token_issuer"),
        ("two\nlines".to_owned(), "principal_token_malformed"),
    ];
    world.sandbox.clear_requests();
    for tool in tools {
        for (token, code) in &unsent {
            let answer = server.call(tool, arguments(tool, token)).await;
            assert_eq!(answer.code(), *code, "{tool}");
            assert_eq!(answer.error()["context"]["sent"], false);
        }
        let agent_only = changed("sub", json!(client_id(&world)));
        let answer = server.call(tool, arguments(tool, &agent_only)).await;
        says(&answer, row(tool));
        assert_eq!(answer.error()["context"]["sent"], false);
    }
    assert_eq!(world.sandbox.requests(), [], "none of them was sent");
    let ended = server.end().await;
    for (token, _) in &unsent[..4] {
        assert!(!ended.stdout.contains(token.as_str()) && !ended.stderr.contains(token.as_str()), "a token was echoed");
    }
}

#[tokio::test]
async fn proves_of_the_chain_what_can_be_proved() {
    let world = World::new().await;
    let mut server = world.registered().await;
    let (_home, mut other, _) = other_agent(&world, 1).await;
    server.call("agent_payment_initiate", world.socks()).await.output();
    other.call("agent_payment_initiate", world.socks()).await.output();
    server.call("agent_payment_initiate", with(world.socks(), "/purchase_ref", json!("2"))).await.output();
    let answer = server.call("agent_audit_chain_query", session()).await;
    let output = answer.output();
    let entries = output["entries"].as_array().unwrap();
    assert_eq!(entries.iter().map(|entry| &entry["seq"]).collect::<Vec<_>>(), [6, 5, 2, 1]);
    let principal = json!(world.sandbox.principals()[0].id);
    assert!(entries.iter().all(|entry| entry["actor"]["principal_id"] == principal));
    let chain = &output["chain"];
    assert_eq!(chain["gaps"], json!([{"from_seq": 3, "to_seq": 4}]), "the other person's entries");
    assert_eq!(
        (&chain["intact"], &chain["hashes_verified"], &chain["links_verified"]),
        (&json!(true), &json!(4), &json!(3))
    );
    assert_eq!(
        (&chain["head"], &chain["head_seq"], &chain["head_compared"]),
        (&json!("verified"), &json!(6), &json!(true))
    );
    assert!(answer.text(1).contains("1 gap, in which nothing is proved"), "{}", answer.text(1));

    let arguments =
        json!({"principal_token": "wallet-session", "event_types": ["oid4ac.payment.succeeded"], "limit": 1});
    let page = server.call("agent_audit_chain_query", arguments.clone()).await;
    assert_eq!(page.output()["entries"].as_array().unwrap().len(), 1);
    assert_eq!((&page.output()["has_more"], &page.output()["chain"]["links_verified"]), (&json!(true), &json!(0)));
    for (member, bad) in
        [("from_iso", json!("yesterday")), ("limit", json!(201)), ("limit", json!(0)), ("event_types", json!(["x"]))]
    {
        let error =
            server.call_badly("agent_audit_chain_query", with(arguments.clone(), &format!("/{member}"), bad)).await;
        assert!(error["message"].as_str().unwrap().contains(member), "{error}");
    }
}

#[tokio::test]
async fn a_chain_that_was_changed_is_shown_as_one() {
    let config = SandboxConfig::new().changing_answers(|request, answer| {
        if request.path != "/audit/principal/range" || answer.status() != 200 {
            return answer;
        }
        let (parts, body) = answer.into_parts();
        let mut page: Value = serde_json::from_slice(&body).unwrap();
        page["entries"][0]["payload"]["amount_minor"] = json!(1);
        page["chain_head"] = json!("e30.e30.e30");
        Response::from_parts(parts, page.to_string().into())
    });
    let world = World::with(config).await;
    let mut server = world.registered().await;
    server.call("agent_payment_initiate", world.socks()).await.output();
    let answer = server.call("agent_audit_chain_query", session()).await;
    let chain = &answer.output()["chain"];
    assert_eq!(
        (&chain["intact"], &chain["hashes_broken"], &chain["head"]),
        (&json!(false), &json!([2]), &json!("invalid"))
    );
    assert!(answer.text(1).contains("does not hold"), "{}", answer.text(1));
}

#[tokio::test]
async fn shows_payments_with_disputes_in_every_state() {
    let world = World::new().await;
    let mut server = world.registered().await;
    let mut paid = Vec::new();
    for reference in 0..4 {
        let arguments = with(world.socks(), "/purchase_ref", json!(reference.to_string()));
        let answer = server.call("agent_payment_initiate", arguments).await;
        paid.push(answer.output()["payment_intent_id"].as_str().unwrap().to_owned());
    }
    for (at, status) in [
        (0, DisputeStatus::Pending),
        (1, DisputeStatus::Pending),
        (2, DisputeStatus::Pending),
        (0, DisputeStatus::Won),
        (1, DisputeStatus::Lost),
    ] {
        world.sandbox.dispute(&paid[at], status).unwrap();
    }
    let (_home, mut other, _) = other_agent(&world, 1).await;
    other.call("agent_payment_initiate", world.socks()).await.output();
    let answer = server.call("agent_payment_history", session()).await;
    let output = answer.output();
    assert_eq!((&output["total_count"], &output["has_more"]), (&json!(4), &json!(false)));
    let status = |id: &str| {
        let rows = output["payments"].as_array().unwrap();
        rows.iter().find(|row| row["payment_intent_id"] == id).unwrap()["status"].clone()
    };
    let expected = ["disputed_won", "disputed_lost", "disputed_pending", "succeeded"];
    assert_eq!(paid.iter().map(|id| status(id)).collect::<Vec<_>>(), expected);
    let row = &output["payments"][0];
    assert_eq!((&row["amount_minor"], &row["currency"]), (&json!(1299), &json!("EUR")));
    assert_eq!(
        (&row["merchant_audience"], &row["agent_client_id"]),
        (&json!(world.alpacanica().origin), &json!(client_id(&world)))
    );

    let some = json!({"principal_token": "wallet-session", "include_disputed": false, "limit": 2});
    let answer = server.call("agent_payment_history", some).await;
    assert_eq!((&answer.output()["total_count"], &answer.output()["has_more"]), (&json!(2), &json!(true)));
    assert!(answer.output()["payments"].as_array().unwrap().iter().all(|row| row["status"] == "succeeded"));
    let future = json!({"principal_token": "wallet-session", "from_iso": "2999-01-01T00:00:00+01:00"});
    assert_eq!(server.call("agent_payment_history", future).await.output()["payments"], json!([]));
}

#[tokio::test]
async fn a_cursor_leads_through_all_payments_and_all_entries_of_one_second() {
    let world = World::with(at_one_moment()).await;
    let mut server = world.registered().await;
    let mut paid = Vec::new();
    for reference in 0..5 {
        let arguments = with(world.socks(), "/purchase_ref", json!(reference.to_string()));
        let answer = server.call("agent_payment_initiate", arguments).await;
        paid.push(answer.output()["payment_intent_id"].as_str().unwrap().to_owned());
    }
    world.sandbox.dispute(&paid[0], DisputeStatus::Pending).unwrap();
    let token = principal_token(&world, 0, "audit:read");
    for (tool, member, name) in
        [("agent_payment_history", "payments", "payment_intent_id"), ("agent_audit_chain_query", "entries", "seq")]
    {
        let whole = server.call(tool, json!({"principal_token": token})).await.output()[member].clone();
        let mut arguments = json!({"principal_token": token, "limit": 2});
        let mut seen = Vec::new();
        loop {
            let answer = server.call(tool, arguments.clone()).await;
            let output = answer.output();
            assert_eq!(output["chain"]["intact"], true, "{output}");
            seen.extend(output[member].as_array().unwrap().clone());
            assert_eq!(output["has_more"], output.get("next_cursor").is_some());
            let Some(next) = output.get("next_cursor") else { break };
            assert_ne!(arguments.get("cursor"), Some(next));
            arguments["cursor"] = next.clone();
        }
        assert_eq!(json!(seen), whole, "{tool}");
        assert!(seen.len() >= 5 && seen.iter().all(|row| !row[name].is_null()));
        server.call_badly(tool, json!({"principal_token": token, "cursor": "nonsense"})).await;
        server.call_badly(tool, json!({"principal_token": token, "cursor": null})).await;
    }
}

#[tokio::test]
async fn history_invents_no_amount_and_says_that_the_chain_was_changed() {
    let config = SandboxConfig::new().changing_answers(|request, answer| {
        if request.path != "/audit/principal/range" {
            return answer;
        }
        let (parts, body) = answer.into_parts();
        let mut page: Value = serde_json::from_slice(&body).unwrap();
        let entries = page["entries"].as_array_mut().into_iter().flatten();
        let paid = entries.filter(|entry| entry["event"] == "oid4ac.payment.succeeded");
        let removed: [fn(&mut Value); 5] = [
            |payload| drop(payload.as_object_mut().unwrap().remove("amount_minor")),
            |payload| drop(payload.as_object_mut().unwrap().remove("currency")),
            |payload| payload["amount_minor"] = json!("1299"),
            |payload| payload["currency"] = json!(""),
            |payload| payload["amount_minor"] = json!(1),
        ];
        paid.zip(removed).for_each(|(entry, edit)| edit(&mut entry["payload"]));
        Response::from_parts(parts, page.to_string().into())
    });
    let world = World::with(config).await;
    let mut server = world.registered().await;
    for reference in 0..6 {
        let arguments = with(world.socks(), "/purchase_ref", json!(reference.to_string()));
        server.call("agent_payment_initiate", arguments).await.output();
    }
    let answer = server.call("agent_payment_history", session()).await;
    let output = answer.output();
    let rows = output["payments"].as_array().unwrap();
    assert_eq!((rows.len(), &output["total_count"]), (2, &json!(2)));
    assert_eq!((&rows[0]["amount_minor"], &rows[1]["amount_minor"]), (&json!(1), &json!(1299)));
    assert_eq!(output["left_out"].as_array().unwrap().len(), 4);
    assert_eq!(output["chain"]["intact"], false);
    assert_eq!(output["chain"]["hashes_broken"].as_array().unwrap().len(), 5);
    assert_eq!(output["changed_payments"], json!([rows[0]["payment_intent_id"]]));
    let text = answer.text(1);
    assert!(text.contains("does not hold") && text.contains("Left out: 4 entries"), "{text}");
}

/// What waits for the person is answered at once, with where they decide.
fn consent_url(answer: &Answer) -> String {
    let output = answer.output();
    assert_eq!(output["status"], "approval_required");
    assert!(output["consent_expires_at"].is_string() && output["next_step"].is_string());
    output["consent_url"].as_str().unwrap().to_owned()
}

fn decide(world: &World, consent_url: &str, decision: ConsentDecision) -> Result<(), sandbox::WalletError> {
    world.sandbox.decide(consent_url, &world.sandbox.principals()[0].id, decision)
}

/// Each of the tools, with what it answers when it was carried out.
fn calls(world: &World, other_agent: &str) -> [(&'static str, Value, &'static str); 5] {
    [
        ("agent_wallet_list_agents", wallet_arguments(world), "agents"),
        ("agent_wallet_revoke_agent", revoke(world, other_agent), "cascade"),
        ("agent_dsar_initiate", dsar("access", "wallet-session"), "request_id"),
        ("agent_audit_chain_query", session(), "entries"),
        ("agent_payment_history", session(), "payments"),
    ]
}

#[tokio::test]
async fn a_person_is_asked_and_a_repeated_call_goes_on_in_a_new_process_too() {
    for mode in [ConsentMode::Dashboard, ConsentMode::Scan] {
        let world = World::with(SandboxConfig::new().consent_mode(mode)).await;
        drop(world.registered().await);
        let (_home, _other, id) = other_agent(&world, 0).await;
        for (tool, arguments, member) in calls(&world, &id) {
            let mut server = world.server_without_waiting().await;
            if tool == "agent_payment_history" {
                // The session for audit:read is there already.
                server.call(tool, arguments).await.output();
                continue;
            }
            let url = consent_url(&server.call(tool, arguments.clone()).await);
            assert_eq!(consent_url(&server.call(tool, arguments.clone()).await), url, "asked once");
            // The caller has given up, and so has its process.
            server.end().await;
            decide(&world, &url, ConsentDecision::Approve).unwrap();
            assert_eq!(decide(&world, &url, ConsentDecision::Approve), Err(sandbox::WalletError::Decided));
            let mut server = world.server().await;
            let answer = server.call(tool, arguments).await;
            assert!(!answer.output()[member].is_null(), "{tool}: {}", answer.result);
        }
    }
}

#[tokio::test]
async fn a_person_who_says_no_is_not_asked_again_by_the_same_question() {
    let world = World::with(SandboxConfig::new().consent_mode(ConsentMode::Dashboard)).await;
    drop(world.registered().await);
    let mut server = world.server_without_waiting().await;
    let (_home, _other, id) = other_agent(&world, 0).await;
    for (tool, arguments, _) in calls(&world, &id) {
        let url = consent_url(&server.call(tool, arguments.clone()).await);
        decide(&world, &url, ConsentDecision::Decline).unwrap();
        let answer = server.call(tool, arguments.clone()).await;
        assert_eq!(answer.code(), "insufficient_scope", "{tool}");
        assert_ne!(consent_url(&server.call(tool, arguments).await), url, "a new call is a new question");
    }
}

#[tokio::test]
async fn a_question_that_nobody_answers_ends() {
    let config = SandboxConfig::new().consent_mode(ConsentMode::Dashboard);
    let world =
        World::with(config.changing_answers(|request, answer| match request.path.starts_with("/oauth/consent/") {
            true => Response::new(Bytes::from_static(br#"{"status": "expired"}"#)),
            false => answer,
        }))
        .await;
    drop(world.registered().await);
    let mut server = world.server_without_waiting().await;
    let url = consent_url(&server.call("agent_audit_chain_query", session()).await);
    let answer = server.call("agent_audit_chain_query", session()).await;
    assert_eq!(answer.code(), "consent_expired");
    assert_ne!(consent_url(&server.call("agent_audit_chain_query", session()).await), url);
}

#[tokio::test]
async fn a_call_that_was_canceled_leaves_the_question_to_be_answered() {
    let world = World::with(SandboxConfig::new().consent_mode(ConsentMode::Dashboard)).await;
    let mut server = world.registered().await;
    let call = json!({"name": "agent_audit_chain_query", "arguments": session()});
    let id = server.ask("tools/call", call).await;
    while posts(&world, "/oauth/par") < 1
        || world.sandbox.requests().iter().all(|r| !r.path.starts_with("/oauth/consent/"))
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}})).await;
    server.end().await;
    let mut server = world.server_without_waiting().await;
    let url = consent_url(&server.call("agent_audit_chain_query", session()).await);
    decide(&world, &url, ConsentDecision::Approve).unwrap();
    // The server wants its interval kept between two polls.
    let mut patient = world.server().await;
    patient.call("agent_audit_chain_query", session()).await.output();
    assert_eq!(decide(&world, &url, ConsentDecision::Decline), Err(sandbox::WalletError::Decided));
}

#[tokio::test]
async fn the_question_goes_out_through_the_client_where_it_can() {
    let world = World::with(SandboxConfig::new().consent_mode(ConsentMode::Dashboard)).await;
    drop(world.registered().await);
    let person = Person::who_answers([Some(json!({"action": "accept"})), Some(json!({"action": "decline"}))]);
    let asked = person.asked();
    let mut server = world.server_for(person, Lifecycle::Handshake("2025-11-25")).await;
    let id = server.ask("tools/call", json!({"name": "agent_audit_chain_query", "arguments": session()})).await;
    let approve = async {
        loop {
            let page = asked.lock().unwrap().first().map(|question| question["url"].as_str().unwrap().to_owned());
            if let Some(page) = page {
                return decide(&world, &page, ConsentDecision::Approve).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let (answer, ()) = tokio::join!(server.answer_to(id), approve);
    assert!(answer.unwrap()["structuredContent"]["entries"].is_array());
    let declined = server.call("agent_wallet_list_agents", wallet_arguments(&world)).await;
    assert_eq!(declined.code(), "declined");

    // Without a handshake, as an answer that wants one.
    let mut server = world.server_for(Person::who_answers([]), Lifecycle::Inline).await;
    let call = json!({"name": "agent_dsar_initiate", "arguments": dsar("access", "wallet-session")});
    let question = server.request("tools/call", call.clone()).await.unwrap();
    let page = question["inputRequests"]["consent"]["params"]["url"].as_str().unwrap();
    decide(&world, page, ConsentDecision::Approve).unwrap();
    let mut again = with(call, "/requestState", question["requestState"].clone());
    again["inputResponses"] = json!({"consent": {"action": "accept"}});
    let answer = server.request("tools/call", again).await.unwrap();
    assert_eq!(answer["structuredContent"]["status"], "queued", "{answer}");
}

#[tokio::test]
async fn two_processes_that_refresh_at_once_spend_one_refresh_token() {
    let refreshed = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&refreshed);
    let world = World::with(SandboxConfig::new().changing_answers(move |request, answer| {
        seen.fetch_add(usize::from(request.path == "/oauth/token" && answer.status() == 200), Ordering::SeqCst);
        answer
    }))
    .await;
    let mut one = world.registered().await;
    one.call("agent_audit_chain_query", session()).await.output();
    let mut two = world.server().await;
    for round in 0..3 {
        let path = world.data_dir().join("session.json");
        let aged = with(file(&world, "session.json"), "/tokens/audit:read/expires_at", json!(0));
        std::fs::write(&path, aged.to_string()).unwrap();
        refreshed.store(0, Ordering::SeqCst);
        world.sandbox.clear_requests();
        let call = json!({"name": "agent_audit_chain_query", "arguments": session()});
        let (asked_one, asked_two) = tokio::join!(one.ask("tools/call", call.clone()), two.ask("tools/call", call));
        let (answer_one, answer_two) = tokio::join!(one.answer_to(asked_one), two.answer_to(asked_two));
        for answer in [answer_one.unwrap(), answer_two.unwrap()] {
            assert_ne!(answer["isError"], true, "round {round}: {answer}");
        }
        assert_eq!(refreshed.load(Ordering::SeqCst), 1, "round {round}: the loser adopts what the winner got");
        assert_eq!(posts(&world, "/oauth/par"), 0, "nobody is asked again");
    }
    let revoked = world.sandbox.audit_chain().0.iter().any(|entry| entry["event"] == "oid4ac.token.revoked");
    assert!(!revoked, "no refresh token was used twice");
}

#[tokio::test]
async fn a_new_registration_ends_the_sessions_of_the_old_one() {
    let world = World::new().await;
    let mut server = world.registered().await;
    server.call("agent_audit_chain_query", session()).await.output();
    let other = world.sandbox.setup_token_for(&world.sandbox.principals()[1].id).unwrap();
    let again = with(wallet_registration(&world), "/setup_token", json!(other));
    let again = with(again, "/scope", json!("audit:read"));
    server.call("agent_wallet_register", again).await.output();
    assert!(file(&world, "session.json").get("tokens").is_none());
    server.call("agent_payment_initiate", world.socks()).await.output();
    let answer = server.call("agent_audit_chain_query", session()).await;
    let theirs = json!(world.sandbox.principals()[1].id);
    let entries = answer.output()["entries"].as_array().unwrap();
    assert!(!entries.is_empty() && entries.iter().all(|entry| entry["actor"]["principal_id"] == theirs));
}

#[tokio::test]
async fn serves_without_a_handshake_too() {
    let world = World::new().await;
    let mut server = world.server_with(Lifecycle::Inline).await;
    world.register(&mut server).await;
    server.call("agent_wallet_list_agents", wallet_arguments(&world)).await.output();
}
