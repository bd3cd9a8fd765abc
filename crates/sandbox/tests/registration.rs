//! Dynamic client registration: what is granted, and every reason to be refused.

#![allow(clippy::unwrap_used, reason = "clippy takes only #[test] functions for tests")]

mod support;

use http::StatusCode;
use jose::{Alg, PrivateKey};
use serde_json::{Value, json};
use support::{Agent, REDIRECT_URI, SystemRng, World, post_json, public_jwk, send};

#[tokio::test]
async fn grants_what_was_asked_for_and_echoes_no_secret() {
    let world = World::start().await;
    let token = world.sandbox.setup_token().unwrap();
    let agent = Agent::new(&world);
    let mut metadata = agent.registration(&token);
    metadata["purpose"] = "Find and book research papers.".into();
    metadata["scope"] = "wallet:read wallet:write openid payment:initiate".into();
    metadata["logo_uri"] = "https://unknown.members/are-dropped".into();
    let answer = post_json(&world.url("/oauth/register"), &[], &metadata).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    assert!(!text.contains(&token));
    let reply = answer.json();
    assert!(reply["client_id"].as_str().unwrap().starts_with("agent_"));
    assert!(reply["principal_id"].as_str().unwrap().starts_with("principal_"));
    assert_eq!(reply["client_name"], "acme-research-agent");
    assert_eq!(reply["purpose"], "Find and book research papers.");
    assert_eq!(reply["scope"], "wallet:read wallet:write openid payment:initiate");
    assert_eq!(reply.get("logo_uri"), None);
    assert_eq!(reply.get("software_statement"), None);
}

#[tokio::test]
async fn grants_every_scope_where_none_is_asked_for() {
    let world = World::start().await;
    let agent = Agent::new(&world);
    let metadata = agent.registration(&world.sandbox.setup_token().unwrap());
    let reply = post_json(&world.url("/oauth/register"), &[], &metadata).await.json();
    let all = "openid payment:initiate oid4ac:payment wallet:read wallet:write audit:read privacy:dsar";
    assert_eq!(reply["scope"], all);
}

#[tokio::test]
async fn takes_the_setup_token_as_bearer_and_once() {
    let world = World::start().await;
    let token = world.sandbox.setup_token().unwrap();
    let mut metadata = Agent::new(&world).registration("");
    metadata.as_object_mut().unwrap().remove("software_statement");
    let bearer = format!("Bearer {token}");
    let url = world.url("/oauth/register");
    assert_eq!(post_json(&url, &[("authorization", &bearer)], &metadata).await.status, 201);
    let again = post_json(&url, &[("authorization", &bearer)], &metadata).await;
    assert_eq!(again.refusal(), (400, "invalid_software_statement".to_owned()));
    metadata["software_statement"] = token.into();
    let again = post_json(&url, &[], &metadata).await;
    assert_eq!(again.refusal(), (400, "invalid_software_statement".to_owned()));
}

#[tokio::test]
async fn of_registrations_with_one_token_at_once_one_succeeds() {
    let world = World::start().await;
    let metadata = Agent::new(&world).registration(&world.sandbox.setup_token().unwrap());
    let url = world.url("/oauth/register");
    let (a, b, c) =
        tokio::join!(post_json(&url, &[], &metadata), post_json(&url, &[], &metadata), post_json(&url, &[], &metadata));
    let mut statuses = [a.status.as_u16(), b.status.as_u16(), c.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 400, 400]);
}

#[tokio::test]
async fn a_setup_token_is_good_for_a_day_and_a_refused_registration_does_not_spend_it() {
    let world = World::start().await;
    let url = world.url("/oauth/register");
    let token = world.sandbox.setup_token().unwrap();
    let mut metadata = Agent::new(&world).registration(&token);
    metadata["redirect_uris"] = json!(["ftp://my-agent.example.com/"]);
    assert_eq!(post_json(&url, &[], &metadata).await.refusal(), (400, "invalid_redirect_uri".to_owned()));
    metadata["redirect_uris"] = json!([REDIRECT_URI]);
    world.clock.advance(86_399);
    assert_eq!(post_json(&url, &[], &metadata).await.status, 201);

    let late = Agent::new(&world).registration(&world.sandbox.setup_token().unwrap());
    world.clock.advance(86_400);
    assert_eq!(post_json(&url, &[], &late).await.refusal(), (400, "invalid_software_statement".to_owned()));
}

#[tokio::test]
async fn refuses_metadata_that_breaks_a_rule() {
    let world = World::start().await;
    let agent = Agent::new(&world);
    let url = world.url("/oauth/register");
    let private: Value = serde_json::from_str(&agent.assertion_key.to_jwk()).unwrap();
    let private_dpop: Value = serde_json::from_str(&agent.dpop_key.to_jwk()).unwrap();
    let p256 = public_jwk(&PrivateKey::generate(Alg::Es256, &SystemRng));
    let other = public_jwk(&PrivateKey::generate(Alg::EdDsa, &SystemRng));
    let own = public_jwk(&agent.assertion_key);
    let dpop = public_jwk(&agent.dpop_key);
    let uri = "invalid_redirect_uri";
    let client = "invalid_client_metadata";
    let statement = "invalid_software_statement";
    let cases: Vec<(&str, Value, &str)> = vec![
        ("redirect_uris", Value::Null, uri),
        ("redirect_uris", json!([]), uri),
        ("redirect_uris", json!("https://a.example/"), uri),
        ("redirect_uris", json!([1]), uri),
        ("redirect_uris", json!(["http://my-agent.example.com/cb"]), uri),
        ("redirect_uris", json!(["http://127.0.0.1.example.com/cb"]), uri),
        ("redirect_uris", json!(["myapp://cb"]), uri),
        ("redirect_uris", json!(["javascript:alert(1)"]), uri),
        ("redirect_uris", json!(["/cb"]), uri),
        ("redirect_uris", json!(["https://a.example/#fragment"]), uri),
        ("redirect_uris", json!(["https://user@a.example/"]), uri),
        ("redirect_uris", json!([REDIRECT_URI, "ftp://a.example/"]), uri),
        ("jwks", Value::Null, client),
        ("jwks", json!({ "keys": [] }), client),
        ("jwks", json!({ "keys": [own, dpop] }), client),
        ("jwks", json!({ "keys": [private] }), client),
        ("jwks", json!({ "keys": [p256] }), client),
        ("jwks", json!({ "keys": [{ "kty": "oct", "k": "AAAA" }] }), client),
        ("jwks_uri", json!("https://a.example/jwks.json"), client),
        ("private_key_jwt_jwk", other, client),
        ("private_key_jwt_jwk", private.clone(), client),
        ("dpop_jwk", Value::Null, client),
        ("dpop_jwk", private_dpop, client),
        ("dpop_jwk", own, client),
        ("dpop_jwk", json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB" }), client),
        ("token_endpoint_auth_method", Value::Null, client),
        ("token_endpoint_auth_method", json!("client_secret_basic"), client),
        ("token_endpoint_auth_method", json!("none"), client),
        ("token_endpoint_auth_signing_alg", json!("RS256"), client),
        ("token_endpoint_auth_signing_alg", json!("ES256"), client),
        ("grant_types", json!(["client_credentials"]), client),
        ("grant_types", json!(["authorization_code", "implicit"]), client),
        ("response_types", json!(["token"]), client),
        ("dpop_bound_access_tokens", json!(false), client),
        ("require_pushed_authorization_requests", json!(false), client),
        ("authorization_details_types", json!(["something_else"]), client),
        ("scope", json!("openid everything"), client),
        ("scope", json!(""), client),
        ("scope", json!(7), client),
        ("client_name", json!(""), client),
        ("client_name", json!("  "), client),
        ("client_name", json!("two\nlines"), client),
        ("client_name", json!("x".repeat(129)), client),
        ("purpose", json!(""), client),
        ("software_statement", Value::Null, statement),
        ("software_statement", json!("setup_00000000000000000000000000000000"), statement),
        ("software_statement", json!(7), statement),
    ];
    let token = world.sandbox.setup_token().unwrap();
    for (name, value, error) in cases {
        let mut metadata = agent.registration(&token);
        match value {
            Value::Null => drop(metadata.as_object_mut().unwrap().remove(name)),
            value => metadata[name] = value,
        }
        let answer = post_json(&url, &[], &metadata).await;
        assert_eq!(answer.refusal(), (400, error.to_owned()), "{name}: {}", metadata[name]);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    // None of it spent the token.
    assert_eq!(post_json(&url, &[], &agent.registration(&token)).await.status, 201);
}

#[tokio::test]
async fn takes_https_and_loopback_redirect_uris_and_an_es256_dpop_key() {
    let world = World::start().await;
    let agent = Agent::with_dpop_alg(&world, Alg::Es256);
    let mut metadata = agent.registration(&world.sandbox.setup_token().unwrap());
    metadata["redirect_uris"] = json!(["https://a.example:8443/cb?x=1", "http://[::1]/cb", "http://localhost:9/cb"]);
    assert_eq!(post_json(&world.url("/oauth/register"), &[], &metadata).await.status, 201);
}

#[tokio::test]
async fn refuses_bodies_that_are_no_json_object_of_bounded_size() {
    let world = World::start().await;
    let url = world.url("/oauth/register");
    let post = async |content_type: &str, body: String| {
        let request = http::Request::post("/").header("content-type", content_type);
        send(&url, request.body(http_body_util::Full::from(body)).unwrap()).await.refusal()
    };
    let twice = r#"{"client_name":"a","client_name":"b"}"#.to_owned();
    assert_eq!(post("text/plain", "{}".to_owned()).await, (400, "invalid_request".to_owned()));
    assert_eq!(post("application/json", "[]".to_owned()).await, (400, "invalid_client_metadata".to_owned()));
    assert_eq!(post("application/json", twice).await, (400, "invalid_client_metadata".to_owned()));
    let long = format!(r#"{{"client_name":"{}"}}"#, "x".repeat(70_000));
    assert_eq!(post("application/json", long).await, (413, "invalid_request".to_owned()));
}
