//! Client authentication, DPoP and the pushed request: every rule broken once, by itself.

#![allow(clippy::unwrap_used, reason = "clippy takes only #[test] functions for tests")]

mod support;

use dpop::{Htu, ProofRequest};
use jose::{Alg, PrivateKey, Signer as _, TokenHeader, base64url, sign_compact};
use sandbox::StandingApproval;
use serde_json::{Value, json};
use support::{Agent, Form, SKU, SystemRng, World, get, post_form, post_json, set, set_owned};

const PAR: &str = "/oauth/par";

/// A form that would be accepted, with a live nonce at hand.
async fn good_form(agent: &Agent<'_>) -> Form {
    let offer = agent.offer(0, SKU).await;
    let form = agent.par_form(&agent.purchase_of(0, &offer, 1));
    assert_eq!(agent.post(PAR, &form).await.status, 201);
    form
}

#[tokio::test]
async fn answers_exactly_request_uri_and_expires_in() {
    let world = World::start().await;
    let agent = world.agent().await;
    let form = good_form(&agent).await;
    let answer = agent.post(PAR, &form).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(answer.header("dpop-nonce").is_some());
    let reply = answer.json();
    let members: Vec<_> = reply.as_object().unwrap().keys().collect();
    assert_eq!(members, ["expires_in", "request_uri"]);
    assert_eq!(reply["expires_in"], 60);
    assert!(reply["request_uri"].as_str().unwrap().starts_with("urn:ietf:params:oauth:request_uri:"));
}

#[tokio::test]
async fn refuses_assertions_that_break_a_rule() {
    let world = World::start().await;
    let agent = world.agent().await;
    let form = good_form(&agent).await;
    let now = world.clock.now();
    let (issuer, par) = (world.sandbox.as_origin().to_owned(), world.url(PAR));
    let refused: Vec<(&str, Value)> = vec![
        ("iss", json!("agent_other")),
        ("sub", json!("agent_other")),
        ("iss", Value::Null),
        ("sub", Value::Null),
        ("aud", Value::Null),
        ("aud", json!("https://elsewhere.example/oauth/token")),
        ("aud", json!([par])),
        ("aud", json!([issuer, par])),
        ("aud", json!(format!("{issuer}/"))),
        ("aud", json!(world.url("/oauth/revoke"))),
        ("exp", Value::Null),
        ("exp", json!(now)),
        ("exp", json!(now - 1)),
        ("exp", json!(now + 301)),
        ("exp", json!("soon")),
        ("iat", Value::Null),
        ("iat", json!(now + 61)),
        ("nbf", json!(now + 61)),
        ("jti", Value::Null),
        ("jti", json!("")),
        ("jti", json!("x".repeat(257))),
    ];
    for (name, value) in refused {
        let mut claims = agent.assertion_claims();
        match &value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
        let mut form = form.clone();
        agent.authenticate(&mut form);
        set_owned(&mut form, "client_assertion", Some(agent.sign_assertion(&claims)));
        let answer = post_form(&par, &[("dpop", &agent.proof(&par, None))], &form).await;
        assert_eq!(answer.refusal(), (401, "invalid_client".to_owned()), "{name}: {value}");
    }
    let mut from_the_future = agent.assertion_claims();
    from_the_future["iat"] = (now + 61).into();
    from_the_future["exp"] = (now + 120).into();
    let mut future = form.clone();
    agent.authenticate(&mut future);
    set_owned(&mut future, "client_assertion", Some(agent.sign_assertion(&from_the_future)));
    let answer = post_form(&par, &[("dpop", &agent.proof(&par, None))], &future).await;
    assert_eq!(answer.refusal(), (401, "invalid_client".to_owned()));
    for aud in [issuer, par.clone(), world.url("/oauth/token")] {
        let mut claims = agent.assertion_claims();
        claims["aud"] = aud.as_str().into();
        claims["exp"] = (now + 300).into();
        let mut form = form.clone();
        agent.authenticate(&mut form);
        set_owned(&mut form, "client_assertion", Some(agent.sign_assertion(&claims)));
        assert_eq!(post_form(&par, &[("dpop", &agent.proof(&par, None))], &form).await.status, 201, "{aud}");
    }
}

#[tokio::test]
async fn refuses_assertions_by_another_key_alg_or_typ() {
    let world = World::start().await;
    let agent = world.agent().await;
    let form = good_form(&agent).await;
    let par = world.url(PAR);
    let claims = || agent.assertion_claims().to_string();
    let sign = |key: &PrivateKey, header: TokenHeader<'_>| sign_compact(key, &header, claims().as_bytes()).unwrap();
    let stranger = PrivateKey::generate(Alg::EdDsa, &SystemRng);
    let p256 = PrivateKey::generate(Alg::Es256, &SystemRng);
    let registered = agent.assertion_key.public_key().thumbprint().as_str();
    let dpop_kid = agent.dpop_key.public_key().thumbprint().as_str();
    let unsigned = |alg: &str| {
        let header = format!(r#"{{"alg":"{alg}","typ":"JWT"}}"#);
        format!("{}.{}.", base64url::encode(header.as_bytes()), base64url::encode(claims().as_bytes()))
    };
    let refused = [
        ("stranger's key", sign(&stranger, TokenHeader::new("JWT"))),
        ("stranger's key under our kid", sign(&stranger, TokenHeader::new("JWT").kid(registered))),
        ("the DPoP key", sign(&agent.dpop_key, TokenHeader::new("JWT").kid(dpop_kid))),
        ("the DPoP key without kid", sign(&agent.dpop_key, TokenHeader::new("JWT"))),
        ("ES256", sign(&p256, TokenHeader::new("JWT"))),
        ("another kid", sign(&agent.assertion_key, TokenHeader::new("JWT").kid("other"))),
        ("another typ", sign(&agent.assertion_key, TokenHeader::new("dpop+jwt"))),
        ("an embedded key", sign(&agent.assertion_key, TokenHeader::new("JWT").jwk(agent.assertion_key.public_key()))),
        ("alg none", unsigned("none")),
        ("alg HS256", unsigned("HS256")),
        ("alg RS256", unsigned("RS256")),
        ("no JWT", "what?".to_owned()),
    ];
    for (what, assertion) in refused {
        let mut form = form.clone();
        agent.authenticate(&mut form);
        set_owned(&mut form, "client_assertion", Some(assertion));
        let answer = post_form(&par, &[("dpop", &agent.proof(&par, None))], &form).await;
        assert_eq!(answer.refusal(), (401, "invalid_client".to_owned()), "{what}");
    }
    let mut form = form.clone();
    agent.authenticate(&mut form);
    set_owned(&mut form, "client_assertion", Some(sign(&agent.assertion_key, TokenHeader::untyped())));
    assert_eq!(post_form(&par, &[("dpop", &agent.proof(&par, None))], &form).await.status, 201, "typ may be absent");
}

#[tokio::test]
async fn refuses_other_ways_to_authenticate_and_unknown_clients() {
    let world = World::start().await;
    let agent = world.agent().await;
    let form = good_form(&agent).await;
    let par = world.url(PAR);
    let changes: [(&str, Option<&'static str>); 5] = [
        ("client_assertion", None),
        ("client_assertion_type", None),
        ("client_assertion_type", Some("urn:ietf:params:oauth:client-assertion-type:saml2-bearer")),
        ("client_id", Some("agent_unknown")),
        ("client_secret", Some("secret")),
    ];
    for (name, value) in changes {
        let mut form = form.clone();
        agent.authenticate(&mut form);
        set(&mut form, name, value);
        let answer = post_form(&par, &[("dpop", &agent.proof(&par, None))], &form).await;
        assert_eq!(answer.refusal(), (401, "invalid_client".to_owned()), "{name}");
    }
    let mut form = form.clone();
    agent.authenticate(&mut form);
    let basic = [("authorization", "Basic YTpi"), ("dpop", &agent.proof(&par, None))];
    let answer = post_form(&par, &basic, &form).await;
    assert_eq!(answer.refusal(), (401, "invalid_client".to_owned()));
    assert_eq!(answer.header("www-authenticate"), Some("Basic"));
}

#[tokio::test]
async fn client_authentication_comes_first_and_spends_the_assertion_even_when_the_nonce_is_missing() {
    let world = World::start().await;
    let agent = world.agent().await;
    let offer = agent.offer(0, SKU).await;
    let mut form = agent.par_form(&agent.purchase_of(0, &offer, 1));
    let par = world.url(PAR);
    agent.authenticate(&mut form);
    let answer = post_form(&par, &[("dpop", &agent.proof(&par, None))], &form).await;
    assert_eq!(answer.refusal(), (400, "use_dpop_nonce".to_owned()));
    agent.note_nonce(&par, &answer);
    let answer = post_form(&par, &[("dpop", &agent.proof(&par, None))], &form).await;
    assert_eq!(answer.refusal(), (401, "invalid_client".to_owned()), "the assertion was used before");
    agent.authenticate(&mut form);
    assert_eq!(post_form(&par, &[("dpop", &agent.proof(&par, None))], &form).await.status, 201);

    // No good proof helps a client that is not authenticated: it does not even learn about its proof.
    set(&mut form, "client_assertion", None);
    assert_eq!(post_form(&par, &[], &form).await.refusal(), (401, "invalid_client".to_owned()));
}

#[tokio::test]
async fn refuses_proofs_that_break_a_rule() {
    let world = World::start().await;
    let agent = world.agent().await;
    let form = good_form(&agent).await;
    let par = world.url(PAR);
    let now = world.clock.now();
    let nonce = dpop::Nonce::parse(&agent.nonce(&par).unwrap()).unwrap();
    let mint = |method: &str, url: &str, iat: i64| {
        let htu = Htu::parse(url).unwrap();
        agent.minter.mint(&ProofRequest::new(method, &htu, iat).nonce(&nonce), &SystemRng).unwrap().expose().to_owned()
    };
    let stranger = Agent::new(&world);
    stranger.note_nonce(&par, &agent.post(PAR, &form).await);
    let other_port = par.replace(&format!(":{}", url::Url::parse(&par).unwrap().port().unwrap()), ":1");
    let used = mint("POST", &par, now);
    let spend = {
        let mut form = form.clone();
        agent.authenticate(&mut form);
        post_form(&par, &[("dpop", &used)], &form).await
    };
    assert_eq!(spend.status, 201);
    let htu = Htu::parse(&par).unwrap();
    let plain = ProofRequest::new("POST", &htu, now);
    let without_nonce = agent.minter.mint(&plain, &SystemRng).unwrap().expose().to_owned();
    let made_up = dpop::Nonce::generate(&SystemRng);
    let other_nonce = agent.minter.mint(&plain.nonce(&made_up), &SystemRng).unwrap().expose().to_owned();
    let hmac = {
        let header = r#"{"alg":"HS256","typ":"dpop+jwt","jwk":{"kty":"oct","k":"AAAA"}}"#;
        format!("{}.{}.AAAA", base64url::encode(header.as_bytes()), base64url::encode(b"{}"))
    };
    let refused = [
        ("GET for POST", mint("GET", &par, now), "invalid_dpop_proof"),
        ("another path", mint("POST", &world.url("/oauth/token"), now), "invalid_dpop_proof"),
        ("another port", mint("POST", &other_port, now), "invalid_dpop_proof"),
        ("61 s old", mint("POST", &par, now - 61), "invalid_dpop_proof"),
        ("61 s ahead", mint("POST", &par, now + 61), "invalid_dpop_proof"),
        ("used before", used, "invalid_dpop_proof"),
        ("a key that is not registered", stranger.proof(&par, None), "invalid_dpop_proof"),
        ("HMAC", hmac, "invalid_dpop_proof"),
        ("no JWT", "what?".to_owned(), "invalid_dpop_proof"),
        ("no nonce", without_nonce, "use_dpop_nonce"),
        ("another nonce", other_nonce, "use_dpop_nonce"),
    ];
    for (what, proof, error) in refused {
        let mut form = form.clone();
        agent.authenticate(&mut form);
        let answer = post_form(&par, &[("dpop", &proof)], &form).await;
        assert_eq!(answer.refusal(), (400, error.to_owned()), "{what}");
        assert!(answer.header("dpop-nonce").is_some());
    }
    for proofs in [vec![], vec![("dpop", mint("POST", &par, now)), ("dpop", mint("POST", &par, now))]] {
        let mut form = form.clone();
        agent.authenticate(&mut form);
        let headers: Vec<(&str, &str)> = proofs.iter().map(|(name, proof)| (*name, proof.as_str())).collect();
        let answer = post_form(&par, &headers, &form).await;
        assert_eq!(answer.refusal(), (400, "invalid_dpop_proof".to_owned()), "{} proofs", headers.len());
    }
    for iat in [now - 60, now + 60] {
        let mut form = form.clone();
        agent.authenticate(&mut form);
        assert_eq!(post_form(&par, &[("dpop", &mint("POST", &par, iat))], &form).await.status, 201);
    }
}

#[tokio::test]
async fn a_nonce_lives_ninety_seconds_and_is_not_a_merchants() {
    let world = World::start().await;
    let agent = world.agent().await;
    let form = good_form(&agent).await;
    let par = world.url(PAR);
    let try_now = async || {
        let mut form = form.clone();
        agent.authenticate(&mut form);
        post_form(&par, &[("dpop", &agent.proof(&par, None))], &form).await
    };
    world.clock.advance(89);
    let answer = try_now().await;
    assert_eq!(answer.status, 201);
    world.clock.advance(1);
    let answer = try_now().await;
    assert_eq!(answer.refusal(), (400, "use_dpop_nonce".to_owned()));
    agent.note_nonce(&par, &answer);
    assert_eq!(try_now().await.status, 201);

    let shop = &world.merchant(0).verify_url;
    let answer = post_json(shop, &[], &json!({})).await;
    let foreign = answer.header("dpop-nonce").unwrap().to_owned();
    assert_ne!(Some(&foreign), agent.nonce(&par).as_ref());
    let htu = Htu::parse(&par).unwrap();
    let foreign = dpop::Nonce::parse(&foreign).unwrap();
    let request = ProofRequest::new("POST", &htu, world.clock.now()).nonce(&foreign);
    let proof = agent.minter.mint(&request, &SystemRng).unwrap();
    let mut form = form.clone();
    agent.authenticate(&mut form);
    let answer = post_form(&par, &[("dpop", proof.expose())], &form).await;
    assert_eq!(answer.refusal(), (400, "use_dpop_nonce".to_owned()));
}

#[tokio::test]
async fn refuses_parameters_that_break_a_rule() {
    let world = World::start().await;
    let agent = world.agent().await;
    let form = good_form(&agent).await;
    let own_origin: &'static str = world.sandbox.as_origin().to_owned().leak();
    let slash: &'static str = format!("{}/", world.merchant(0).origin).leak();
    let other_key: &'static str =
        PrivateKey::generate(Alg::EdDsa, &SystemRng).public_key().thumbprint().as_str().to_owned().leak();
    let request = "invalid_request";
    let cases: Vec<(&str, Option<&'static str>, &str)> = vec![
        ("response_type", None, request),
        ("response_type", Some("token"), "unsupported_response_type"),
        ("response_mode", Some("fragment"), request),
        ("request_uri", Some("urn:x"), request),
        ("request", Some("e30.e30."), request),
        ("redirect_uri", None, request),
        ("redirect_uri", Some("https://my-agent.example.com/other"), request),
        ("redirect_uri", Some("https://my-agent.example.com/callback"), request),
        ("state", None, request),
        ("state", Some("short"), request),
        ("code_challenge", None, request),
        ("code_challenge", Some("tooshort"), request),
        ("code_challenge_method", None, request),
        ("code_challenge_method", Some("plain"), request),
        ("dpop_jkt", Some(other_key), "invalid_dpop_proof"),
        ("consent_mode_hint", Some("telepathy"), request),
        ("scope", None, "invalid_scope"),
        ("scope", Some("openid everything"), "invalid_scope"),
        ("scope", Some("openid"), "invalid_scope"),
        ("scope", Some("openid  payment:initiate"), "invalid_scope"),
        ("resource", None, "invalid_target"),
        ("resource", Some("https://shop.example"), "invalid_target"),
        ("resource", Some(slash), "invalid_target"),
        ("resource", Some(own_origin), "invalid_scope"),
        ("authorization_details", None, "invalid_authorization_details"),
    ];
    for (name, value, error) in cases {
        let mut form = form.clone();
        set(&mut form, name, value);
        assert_eq!(agent.post(PAR, &form).await.refusal(), (400, error.to_owned()), "{name}: {value:?}");
    }
    for (name, value) in [
        ("consent_mode_hint", Some("auto")),
        ("consent_mode_hint", Some("scan")),
        ("dpop_jkt", None),
        ("scope", Some("oid4ac:payment")),
    ] {
        let mut form = form.clone();
        set(&mut form, name, value);
        assert_eq!(agent.post(PAR, &form).await.status, 201, "{name}: {value:?}");
    }
    let mut anonymous = form.clone();
    agent.authenticate(&mut anonymous);
    set(&mut anonymous, "client_id", None);
    let answer = post_form(&world.url(PAR), &[("dpop", &agent.proof(&world.url(PAR), None))], &anonymous).await;
    assert_eq!(answer.refusal(), (400, request.to_owned()), "authenticated by its assertion, but not named");
    // The port of a loopback redirect URI is the client's to choose.
    let mut loopback = form.clone();
    set(&mut loopback, "redirect_uri", "http://127.0.0.1:49152/cb");
    assert_eq!(agent.post(PAR, &loopback).await.status, 201);

    let mut wallet = form.clone();
    set(&mut wallet, "resource", own_origin);
    set(&mut wallet, "scope", "openid wallet:read");
    let with_details = agent.post(PAR, &wallet).await;
    assert_eq!(with_details.refusal(), (400, "invalid_authorization_details".to_owned()));
    set(&mut wallet, "authorization_details", None);
    assert_eq!(agent.post(PAR, &wallet).await.status, 201);
}

#[tokio::test]
async fn refuses_authorization_details_that_break_a_rule() {
    let world = World::start().await;
    let agent = world.agent().await;
    let offer = agent.offer(0, SKU).await;
    let purchase = agent.purchase_of(0, &offer, 1);
    let form = agent.par_form(&purchase);
    let good = agent.details(&purchase);
    let line = |extra: Value| {
        let mut line = json!({ "sku": SKU, "qty": 1 });
        line.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        line
    };
    let cases: Vec<(&str, Value)> = vec![
        ("type", json!("payment_initiation")),
        ("type", Value::Null),
        ("amount_minor", Value::Null),
        ("amount_minor", json!(0)),
        ("amount_minor", json!(-1)),
        ("amount_minor", json!(12.99)),
        ("amount_minor", json!("1299")),
        ("amount_minor", json!(1_u64 << 53)),
        ("currency", Value::Null),
        ("currency", json!("eur")),
        ("currency", json!("EURO")),
        ("currency", json!("ZZZ")),
        ("merchant", Value::Null),
        ("merchant", json!(world.merchant(1).origin)),
        ("merchant", json!("https://shop.example")),
        ("line_items", Value::Null),
        ("line_items", json!([])),
        ("line_items", json!({ "sku": SKU, "qty": 1 })),
        ("line_items", json!([{ "qty": 1 }])),
        ("line_items", json!([{ "sku": "", "qty": 1 }])),
        ("line_items", json!([{ "sku": SKU }])),
        ("line_items", json!([line(json!({ "qty": 0 }))])),
        ("line_items", json!([line(json!({ "qty": 1.5 }))])),
        ("line_items", json!([line(json!({})), line(json!({}))])),
        ("line_items", json!([line(json!({ "unit_price_minor": 1298 }))])),
        ("line_items", json!([line(json!({ "unit_price_minor": -1 }))])),
        ("line_items", json!([line(json!({ "unit_price_minor": u64::MAX, "qty": 2 }))])),
        ("line_items", json!([line(json!({ "unit_price_minor": 9_007_199_254_740_991_u64, "qty": 9000 }))])),
        ("line_items", json!([line(json!({ "unit_price_minor": 1300 })), { "sku": "other", "qty": 1 }])),
        ("line_items", json!([line(json!({ "currency": "USD" }))])),
        ("line_items", json!([line(json!({ "colour": "blue" }))])),
        ("line_items", json!(vec![line(json!({})); 101])),
        ("offer_digest", json!("short")),
        ("offer_digest", json!("=".repeat(43))),
        ("offer_digest", json!("A".repeat(44))),
        ("offer_digest", json!(7)),
        ("offer_id", json!("")),
        ("surprise", json!(true)),
    ];
    let push = async |details: String| {
        let mut form = form.clone();
        set_owned(&mut form, "authorization_details", Some(details));
        agent.post(PAR, &form).await
    };
    for (name, value) in cases {
        let mut details = good.clone();
        match &value {
            Value::Null => drop(details.as_object_mut().unwrap().remove(name)),
            value => details[name] = value.clone(),
        }
        let answer = push(json!([details]).to_string()).await;
        assert_eq!(answer.refusal(), (400, "invalid_authorization_details".to_owned()), "{name}: {value}");
    }
    let twice = good.to_string().replacen('{', r#"{"amount_minor":1,"#, 1);
    for details in [
        "".to_owned(),
        "{".to_owned(),
        "[]".to_owned(),
        "[1]".to_owned(),
        good.to_string(),
        json!([good, good]).to_string(),
        format!("[{twice}]"),
    ] {
        let answer = push(details.clone()).await;
        assert_eq!(answer.refusal(), (400, "invalid_authorization_details".to_owned()), "{details}");
    }
    assert_eq!(push(json!([good]).to_string()).await.status, 201);
}

#[tokio::test]
async fn refuses_forms_that_are_not_forms_or_repeat_a_parameter() {
    let world = World::start().await;
    let agent = world.agent().await;
    let mut form = good_form(&agent).await;
    form.push(("scope".to_owned(), "openid".to_owned()));
    assert_eq!(agent.post(PAR, &form).await.refusal(), (400, "invalid_request".to_owned()));

    let par = world.url(PAR);
    let answer = post_json(&par, &[], &json!({ "client_id": agent.client_id })).await;
    assert_eq!(answer.refusal(), (400, "invalid_request".to_owned()));
    let long: Form = vec![("state".to_owned(), "x".repeat(70_000))];
    assert_eq!(post_form(&par, &[], &long).await.refusal(), (413, "invalid_request".to_owned()));
    assert_eq!(get(&par).await.refusal(), (405, "method_not_allowed".to_owned()));
}

#[tokio::test]
async fn a_client_pays_only_when_registered_for_it() {
    let world = World::start().await;
    let register = async |agent: &mut Agent<'_>, change: (&str, Value)| {
        let mut metadata = agent.registration(&world.sandbox.setup_token().unwrap());
        metadata[change.0] = change.1;
        let reply = post_json(&world.url("/oauth/register"), &[], &metadata).await.json();
        agent.client_id = reply["client_id"].as_str().unwrap().to_owned();
    };
    let push = async |agent: &Agent<'_>| {
        let offer = agent.offer(0, SKU).await;
        agent.post(PAR, &agent.par_form(&agent.purchase_of(0, &offer, 1))).await.refusal()
    };
    let mut plain = Agent::new(&world);
    register(&mut plain, ("authorization_details_types", json!([]))).await;
    assert_eq!(push(&plain).await, (400, "invalid_authorization_details".to_owned()));
    let mut narrow = Agent::new(&world);
    register(&mut narrow, ("scope", json!("openid wallet:read"))).await;
    assert_eq!(push(&narrow).await, (400, "invalid_scope".to_owned()));
    let mut p256 = Agent::with_dpop_alg(&world, Alg::Es256);
    register(&mut p256, ("client_name", json!("p256"))).await;
    assert_eq!(push(&p256).await, (400, "unauthorized_client".to_owned()));
}

#[tokio::test]
async fn consent_is_given_only_within_the_standing_approval() {
    for (approval, granted) in [
        (StandingApproval::UpToMinor(1299), true),
        (StandingApproval::UpToMinor(1298), false),
        (StandingApproval::None, false),
    ] {
        let world = World::start_with(|config| config.standing_approval(approval)).await;
        let agent = world.agent().await;
        let offer = agent.offer(0, SKU).await;
        let purchase = agent.purchase_of(0, &offer, 1);
        let answer = agent.authorize(&agent.push(&purchase).await).await;
        assert_eq!(answer.status, 302);
        assert_eq!(answer.location_param("code").is_some(), granted, "{approval:?}");
        let error = answer.location_param("error");
        assert_eq!(error.as_deref(), (!granted).then_some("access_denied"), "{approval:?}");
        assert_eq!(answer.location_param("state").as_ref(), Some(&purchase.state));
        assert_eq!(answer.location_param("iss").as_deref(), Some(world.sandbox.as_origin()));
        assert_eq!(answer.location_param("keep").as_deref(), Some("1"));
    }
}
