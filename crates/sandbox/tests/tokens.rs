//! Request URIs, codes, tokens: used once, in time, by the right client, or refused; and what a refusal takes along.

#![allow(clippy::unwrap_used, reason = "clippy takes only #[test] functions for tests")]

mod support;

use std::io::Read as _;

use jose::{Alg, JwkSet, Typ, UnverifiedJws, base64url};
use serde_json::{Value, json};
use support::{Agent, Form, Purchase, SKU, Tokens, World, form, get, post_form, post_json, set, set_owned};

const TOKEN: &str = "/oauth/token";

fn invalid_grant() -> (u16, String) {
    (400, "invalid_grant".to_owned())
}

async fn purchase(agent: &Agent<'_>) -> Purchase {
    let offer = agent.offer(0, SKU).await;
    agent.purchase_of(0, &offer, 1)
}

async fn refresh(agent: &Agent<'_>, token: &str, extra: &[(&str, &str)]) -> support::Answer {
    let mut form = form(&[("grant_type", "refresh_token"), ("refresh_token", token)]);
    form.extend(support::form(extra));
    agent.post(TOKEN, &form).await
}

/// Whether the merchant takes the mandate, under an idempotency key of this purchase's own.
async fn present(agent: &Agent<'_>, purchase: &Purchase, tokens: &Tokens) -> support::Answer {
    let challenge = agent.challenge(purchase, &tokens.mandate).await;
    agent.present(purchase, &tokens.mandate, &challenge, &purchase.state).await
}

#[tokio::test]
async fn metadata_says_what_the_server_does() {
    let world = World::start().await;
    let answer = get(&world.url("/.well-known/oauth-authorization-server")).await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("max-age=300"));
    let metadata = answer.json();
    assert_eq!(metadata["issuer"], world.sandbox.as_origin());
    for (name, path) in [
        ("authorization_endpoint", "/oauth/authorize"),
        ("pushed_authorization_request_endpoint", "/oauth/par"),
        ("token_endpoint", TOKEN),
        ("introspection_endpoint", "/oauth/introspect"),
        ("revocation_endpoint", "/oauth/revoke"),
        ("registration_endpoint", "/oauth/register"),
        ("jwks_uri", "/oauth/jwks.json"),
    ] {
        assert_eq!(metadata[name], world.url(path), "{name}");
    }
    for name in [
        "require_pushed_authorization_requests",
        "authorization_response_iss_parameter_supported",
        "resource_indicators_supported",
    ] {
        assert_eq!(metadata[name], true, "{name}");
    }
    for (name, values) in [
        ("response_types_supported", json!(["code"])),
        ("grant_types_supported", json!(["authorization_code", "refresh_token"])),
        ("code_challenge_methods_supported", json!(["S256"])),
        ("token_endpoint_auth_methods_supported", json!(["private_key_jwt"])),
        ("token_endpoint_auth_signing_alg_values_supported", json!(["EdDSA"])),
        ("dpop_signing_alg_values_supported", json!(["EdDSA", "ES256"])),
        ("authorization_details_types_supported", json!(["oid4ac_mandate"])),
        ("oid4ac_consent_modes_supported", json!(["auto", "dashboard", "scan"])),
        ("resources_supported", json!([world.merchant(0).origin, world.merchant(1).origin, world.sandbox.as_origin()])),
    ] {
        assert_eq!(metadata[name], values, "{name}");
    }
    let keys = get(&world.url("/oauth/jwks.json")).await.json();
    let uses: Vec<&Value> = keys["keys"].as_array().unwrap().iter().map(|key| &key["oid4ac_use"]).collect();
    assert_eq!(uses, [&Value::Null, &json!("audit-head")]);
    assert!(keys["keys"].as_array().unwrap().iter().all(|key| key.get("d").is_none()));
}

#[tokio::test]
async fn a_request_uri_works_once_for_its_client_within_sixty_seconds() {
    let world = World::start().await;
    let (agent, other) = (world.agent().await, world.agent().await);
    let purchase = purchase(&agent).await;

    let request_uri = agent.push(&purchase).await;
    let stolen = other.authorize(&request_uri).await;
    assert_eq!((stolen.status.as_u16(), stolen.header("location")), (400, None));
    assert_eq!(stolen.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(agent.authorize(&request_uri).await.status, 302, "the attempt did not use it up");
    assert_eq!(agent.authorize(&request_uri).await.status, 400);

    let request_uri = agent.push(&purchase).await;
    world.clock.advance(59);
    assert_eq!(agent.authorize(&request_uri).await.status, 302);
    let request_uri = agent.push(&purchase).await;
    world.clock.advance(60);
    assert_eq!(agent.authorize(&request_uri).await.status, 400);
}

#[tokio::test]
async fn authorize_shows_a_page_when_there_is_nobody_to_redirect_to() {
    let world = World::start().await;
    let agent = world.agent().await;
    let id = &agent.client_id;
    let made_up = "urn:ietf:params:oauth:request_uri:x";
    for query in [
        String::new(),
        format!("?client_id={id}"),
        format!("?request_uri={made_up}"),
        format!("?client_id={id}&request_uri={made_up}"),
        format!("?client_id=agent_unknown&request_uri={made_up}"),
        format!("?client_id={id}&response_type=code&redirect_uri=https://evil.example/&state=0123456789abcdef"),
        format!("?client_id={id}&client_id={id}&request_uri={made_up}"),
    ] {
        let answer = get(&world.url(&format!("/oauth/authorize{query}"))).await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (400, None), "{query}");
        assert!(answer.header("content-security-policy").is_some());
    }
}

#[tokio::test]
async fn refuses_token_requests_that_break_a_rule_and_the_code_stays_good() {
    let world = World::start().await;
    let (agent, other) = (world.agent().await, world.agent().await);
    let purchase = purchase(&agent).await;
    let code = agent.code(&purchase).await;
    let good = agent.token_form(&purchase, &code);
    let merchant_2: &'static str = world.merchant(1).origin.clone().leak();
    let wrong_verifier: &'static str = "a".repeat(43).leak();
    let cases: Vec<(&str, Option<&'static str>, &str)> = vec![
        ("grant_type", None, "invalid_request"),
        ("grant_type", Some("client_credentials"), "unsupported_grant_type"),
        ("code", None, "invalid_request"),
        ("code", Some("made-up"), "invalid_grant"),
        ("code_verifier", None, "invalid_grant"),
        ("code_verifier", Some(wrong_verifier), "invalid_grant"),
        ("code_verifier", Some("short"), "invalid_grant"),
        ("redirect_uri", None, "invalid_grant"),
        ("redirect_uri", Some("http://127.0.0.1/cb"), "invalid_grant"),
        ("resource", None, "invalid_target"),
        ("resource", Some(merchant_2), "invalid_target"),
    ];
    for (name, value, error) in cases {
        let mut form = good.clone();
        set(&mut form, name, value);
        let answer = agent.post(TOKEN, &form).await;
        assert_eq!(answer.refusal(), (400, error.to_owned()), "{name}: {value:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    assert_eq!(other.post(TOKEN, &good).await.refusal(), invalid_grant(), "another client's");
    let answer = agent.post(TOKEN, &good).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let reply = answer.json();
    assert_eq!(reply["token_type"], "DPoP");
    assert_eq!(reply["expires_in"], 300);
    assert_eq!(reply["scope"], "openid payment:initiate");
    assert_eq!(reply["authorization_details"], json!([agent.details(&purchase)]));
}

#[tokio::test]
async fn a_missing_nonce_does_not_spend_the_code() {
    let world = World::start().await;
    let agent = world.agent().await;
    let purchase = purchase(&agent).await;
    let code = agent.code(&purchase).await;
    world.clock.advance(59);
    let fresh = Agent::new(&world);
    let url = world.url(TOKEN);
    let mut form = agent.token_form(&purchase, &code);
    agent.authenticate(&mut form);
    let htu = dpop::Htu::parse(&url).unwrap();
    let request = dpop::ProofRequest::new("POST", &htu, world.clock.now());
    let proof = agent.minter.mint(&request, &support::SystemRng).unwrap();
    let answer = post_form(&url, &[("dpop", proof.expose())], &form).await;
    assert_eq!(answer.refusal(), (400, "use_dpop_nonce".to_owned()));
    agent.authenticate(&mut form);
    let strangers = fresh.proof(&url, None);
    let answer = post_form(&url, &[("dpop", &strangers)], &form).await;
    assert_eq!(answer.refusal(), (400, "invalid_dpop_proof".to_owned()));
    agent.redeem(&purchase, &code).await;
}

#[tokio::test]
async fn a_code_lives_sixty_seconds() {
    let world = World::start().await;
    let agent = world.agent().await;
    let purchase = purchase(&agent).await;
    let code = agent.code(&purchase).await;
    world.clock.advance(60);
    assert_eq!(agent.post(TOKEN, &agent.token_form(&purchase, &code)).await.refusal(), invalid_grant());
}

#[tokio::test]
async fn a_code_used_twice_revokes_token_refresh_token_and_mandate() {
    let world = World::start().await;
    let agent = world.agent().await;
    let purchase = purchase(&agent).await;
    let code = agent.code(&purchase).await;
    let tokens = agent.redeem(&purchase, &code).await;
    assert_eq!(introspect(&agent, &tokens.access_token).await["active"], true);

    // A wrong verifier does not keep the thief from setting off the alarm.
    let mut form = agent.token_form(&purchase, &code);
    set(&mut form, "code_verifier", None);
    assert_eq!(agent.post(TOKEN, &form).await.refusal(), invalid_grant());
    assert_eq!(introspect(&agent, &tokens.access_token).await, json!({ "active": false }));
    assert_eq!(refresh(&agent, &tokens.refresh_token, &[]).await.refusal(), invalid_grant());
    let answer = present(&agent, &purchase, &tokens).await;
    assert_eq!(answer.refusal(), (422, "mandate_status_revoked".to_owned()));
    assert!(world.settlements(0).await.is_empty());
}

#[tokio::test]
async fn of_two_redemptions_at_once_one_succeeds() {
    let world = World::start().await;
    let agent = world.agent().await;
    let purchase = purchase(&agent).await;
    let code = agent.code(&purchase).await;
    let form = agent.token_form(&purchase, &code);
    let (a, b) = tokio::join!(agent.post(TOKEN, &form), agent.post(TOKEN, &form));
    let mut statuses = [a.status.as_u16(), b.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 400]);
}

#[tokio::test]
async fn a_refresh_token_rotates_and_narrows_and_an_old_one_revokes_the_family() {
    let world = World::start().await;
    let (agent, other) = (world.agent().await, world.agent().await);
    let purchase = purchase(&agent).await;
    let first = agent.tokens(&purchase).await;

    let second = refresh(&agent, &first.refresh_token, &[("scope", "payment:initiate")]).await.json();
    assert_eq!(second["scope"], "payment:initiate");
    assert_eq!(second.get("mandate_jwt"), None);
    let refreshed = second["refresh_token"].as_str().unwrap();
    assert_ne!(refreshed, first.refresh_token);
    assert_eq!(
        introspect(&agent, &first.access_token).await["mandate_id"],
        introspect(&agent, second["access_token"].as_str().unwrap()).await["mandate_id"],
    );
    let wider = refresh(&agent, refreshed, &[("scope", "openid wallet:write")]).await;
    assert_eq!(wider.refusal(), (400, "invalid_scope".to_owned()));
    let elsewhere = refresh(&agent, refreshed, &[("resource", &world.merchant(1).origin)]).await;
    assert_eq!(elsewhere.refusal(), (400, "invalid_target".to_owned()));
    assert_eq!(refresh(&other, refreshed, &[]).await.refusal(), invalid_grant());

    assert_eq!(refresh(&agent, &first.refresh_token, &[]).await.refusal(), invalid_grant(), "rotated away");
    assert_eq!(refresh(&agent, refreshed, &[]).await.refusal(), invalid_grant(), "and with it the family");
    let answer = present(&agent, &purchase, &first).await;
    assert_eq!(answer.refusal(), (422, "mandate_status_revoked".to_owned()));
}

#[tokio::test]
async fn a_refresh_token_lives_a_day_from_each_rotation_and_a_family_thirty() {
    let world = World::start().await;
    let agent = world.agent().await;
    let purchase = purchase(&agent).await;
    let mut token = agent.tokens(&purchase).await.refresh_token;
    for _ in 0..30 {
        world.clock.advance(86_399);
        let answer = refresh(&agent, &token, &[]).await;
        assert_eq!(answer.status, 200);
        token = answer.json()["refresh_token"].as_str().unwrap().to_owned();
    }
    world.clock.advance(30);
    assert_eq!(refresh(&agent, &token, &[]).await.refusal(), invalid_grant(), "thirty days are over");

    let token = agent.tokens(&purchase).await.refresh_token;
    world.clock.advance(86_400);
    assert_eq!(refresh(&agent, &token, &[]).await.refusal(), invalid_grant());
}

#[tokio::test]
async fn revoking_takes_a_family_along_or_an_access_token_alone() {
    let world = World::start().await;
    let (agent, other) = (world.agent().await, world.agent().await);
    let (purchase_a, purchase_b) = (purchase(&agent).await, purchase(&agent).await);
    let (a, b) = (agent.tokens(&purchase_a).await, agent.tokens(&purchase_b).await);

    for token in [&a.access_token, &a.refresh_token] {
        assert_eq!(revoke(&other, token).await.refusal(), invalid_grant());
    }
    let answer = revoke(&agent, "what token?").await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0));

    assert_eq!(revoke(&agent, &a.access_token).await.status, 200);
    assert_eq!(introspect(&agent, &a.access_token).await, json!({ "active": false }));
    assert_eq!(introspect(&agent, &a.refresh_token).await["active"], true);
    assert_eq!(present(&agent, &purchase_a, &a).await.status, 200);

    assert_eq!(revoke(&agent, &b.refresh_token).await.status, 200);
    assert_eq!(introspect(&agent, &b.refresh_token).await, json!({ "active": false }));
    assert_eq!(introspect(&agent, &b.access_token).await, json!({ "active": false }));
    // The merchant's copy of the list is younger than a minute: it may rely on it that long.
    world.clock.advance(61);
    let answer = present(&agent, &purchase_b, &b).await;
    assert_eq!(answer.refusal(), (422, "mandate_status_revoked".to_owned()));
}

#[tokio::test]
async fn introspection_tells_the_owner_and_nobody_else() {
    let world = World::start().await;
    let (agent, other) = (world.agent().await, world.agent().await);
    let purchase = purchase(&agent).await;
    let tokens = agent.tokens(&purchase).await;
    let claims = introspect(&agent, &tokens.access_token).await;
    assert_eq!(claims["client_id"], agent.client_id.as_str());
    assert_eq!(claims["aud"], world.merchant(0).origin);
    assert_eq!(claims["token_type"], "DPoP");
    for token in [&tokens.access_token, &tokens.refresh_token] {
        assert_eq!(introspect(&other, token).await, json!({ "active": false }));
    }
    world.clock.advance(300);
    assert_eq!(introspect(&agent, &tokens.access_token).await, json!({ "active": false }));
    let url = world.url("/oauth/introspect");
    assert_eq!(post_form(&url, &[], &form(&[("token", "x")])).await.refusal(), (401, "invalid_client".to_owned()));
}

#[tokio::test]
async fn scope_openid_alone_speaks_for_the_agent_and_any_other_for_the_principal() {
    let world = World::start().await;
    let agent = world.agent().await;
    let origin = world.sandbox.as_origin().to_owned();
    for (scope, is_agent) in [("openid", true), ("openid wallet:read", false)] {
        let purchase = purchase(&agent).await;
        let mut par: Form = agent.par_form(&purchase);
        set(&mut par, "authorization_details", None);
        set_owned(&mut par, "resource", Some(origin.clone()));
        set_owned(&mut par, "scope", Some(scope.to_owned()));
        let pushed = agent.post("/oauth/par", &par).await.json();
        let code = agent.authorize(pushed["request_uri"].as_str().unwrap()).await.location_param("code").unwrap();
        let mut form = agent.token_form(&purchase, &code);
        set_owned(&mut form, "resource", Some(origin.clone()));
        let reply = agent.post(TOKEN, &form).await.json();
        assert_eq!(reply.get("mandate_jwt"), None);
        let claims = introspect(&agent, reply["access_token"].as_str().unwrap()).await;
        assert_eq!(claims["sub"] == agent.client_id.as_str(), is_agent, "{scope}");
        assert_eq!(claims.get("acr").is_none(), is_agent);
        assert_eq!(claims["aud"], origin);
    }
}

#[tokio::test]
async fn the_status_list_is_signed_dated_and_revalidated() {
    let world = World::start().await;
    let url = world.url("/oauth/status-list/1");
    let answer = get(&url).await;
    assert_eq!(answer.header("cache-control"), Some("max-age=60"));
    let etag = answer.header("etag").unwrap().to_owned();
    let mut credential = answer.json();
    assert_eq!(credential["id"], url);
    assert_eq!(credential["issuer"], world.sandbox.as_origin());
    assert_eq!(credential["credentialSubject"]["statusPurpose"], "revocation");
    let packed = base64url::decode(credential["credentialSubject"]["encodedList"].as_str().unwrap()).unwrap();
    let mut bits = Vec::new();
    flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut bits).unwrap();
    assert_eq!(bits, vec![0; 131_072 / 8]);

    let proof = credential.as_object_mut().unwrap().remove("proof").unwrap();
    let (header, signature) = proof["jws"].as_str().unwrap().split_once("..").unwrap();
    let payload = base64url::encode(&serde_json_canonicalizer::to_vec(&credential).unwrap());
    let jws = format!("{header}.{payload}.{signature}");
    let jws = UnverifiedJws::parse(&jws).unwrap();
    let keys = JwkSet::parse(&get(&world.url("/oauth/jwks.json")).await.body).unwrap();
    let key = keys.find(jws.unverified_kid(), Alg::EdDsa).unwrap().key();
    jws.verify(key, &[Alg::EdDsa], Typ::Absent).unwrap();

    let conditional = async |etag: &str| {
        let request = http::Request::get("/").header("if-none-match", etag);
        support::send(&url, request.body(http_body_util::Full::default()).unwrap()).await.status.as_u16()
    };
    world.clock.advance(59);
    assert_eq!(conditional(&etag).await, 304);
    world.clock.advance(1);
    assert_eq!(conditional(&etag).await, 200, "a minute later there is a new one");
    assert_eq!(get(&world.url("/oauth/status-list/2")).await.refusal(), (404, "not_found".to_owned()));
}

#[tokio::test]
async fn a_client_without_the_refresh_grant_gets_no_refresh_token() {
    let world = World::start().await;
    let mut agent = Agent::new(&world);
    let mut metadata = agent.registration(&world.sandbox.setup_token().unwrap());
    metadata["grant_types"] = json!(["authorization_code"]);
    let reply = post_json(&world.url("/oauth/register"), &[], &metadata).await.json();
    agent.client_id = reply["client_id"].as_str().unwrap().to_owned();
    let purchase = purchase(&agent).await;
    let code = agent.code(&purchase).await;
    let reply = agent.post(TOKEN, &agent.token_form(&purchase, &code)).await.json();
    assert_eq!(reply.get("refresh_token"), None);
}

async fn introspect(agent: &Agent<'_>, token: &str) -> Value {
    call(agent, "/oauth/introspect", token).await.json()
}

async fn revoke(agent: &Agent<'_>, token: &str) -> support::Answer {
    call(agent, "/oauth/revoke", token).await
}

async fn call(agent: &Agent<'_>, path: &str, token: &str) -> support::Answer {
    let mut form = form(&[("token", token)]);
    agent.authenticate(&mut form);
    post_form(&agent.world.url(path), &[], &form).await
}
