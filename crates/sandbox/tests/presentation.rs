//! `/verify-mandate`: each rule broken once, by itself; what is spent by it and what is not; one settlement per purchase.

#![allow(clippy::unwrap_used, reason = "clippy takes only #[test] functions for tests")]

mod support;

use jose::{Alg, PrivateKey, Signer as _, TokenHeader, base64url, sha256, sign_compact};
use sandbox::Stock;
use sd_jwt::{HeldSdJwt, KeyBinder};
use serde_json::{Value, json};
use support::{Agent, Purchase, SKU, SystemRng, Tokens, World, post_json, set_owned};

const SIGNATURE_INVALID: &str = "mandate_signature_invalid";
const NONCE_MISMATCH: &str = "mandate_kb_nonce_mismatch";

fn refusal(status: u16, error: &str) -> (u16, String) {
    (status, error.to_owned())
}

/// Everything for one payment at Alpacanica, and a challenge to answer.
struct Ready<'w> {
    agent: Agent<'w>,
    purchase: Purchase,
    tokens: Tokens,
    challenge: String,
}

impl<'w> Ready<'w> {
    async fn new(world: &'w World) -> Self {
        let agent = world.agent().await;
        let (_, purchase, tokens) = agent.ready_to_pay(0, SKU).await;
        let challenge = agent.challenge(&purchase, &tokens.mandate).await;
        Self { agent, purchase, tokens, challenge }
    }

    fn body(&self, key: &str) -> Value {
        self.agent.body(&self.purchase, &self.tokens.mandate, &self.challenge, key)
    }

    async fn post(&self, body: &Value) -> support::Answer {
        post_json(&self.agent.world.merchant(0).verify_url, &[], body).await
    }

    fn kb_claims(&self) -> Value {
        let world = self.agent.world;
        json!({
            "iat": world.clock.now(),
            "aud": world.merchant(0).origin,
            "nonce": Agent::kb_nonce(&self.challenge, self.purchase.offer_digest.as_deref()),
            "sd_hash": base64url::encode(&sha256(self.sd_jwt().as_bytes())),
        })
    }

    /// The issuer-signed JWT and its last tilde, no disclosure.
    fn sd_jwt(&self) -> String {
        format!("{}~", self.tokens.mandate.split('~').next().unwrap())
    }

    fn with_kb(&self, claims: &Value, key: &PrivateKey, header: TokenHeader<'_>) -> Value {
        let kb_jwt = sign_compact(key, &header, claims.to_string().as_bytes()).unwrap();
        let mut body = self.body("key");
        body["presentation"] = format!("{}{kb_jwt}", self.sd_jwt()).into();
        body
    }
}

#[tokio::test]
async fn refuses_bodies_that_are_malformed() {
    let world = World::start().await;
    let ready = Ready::new(&world).await;
    let cases: Vec<(&str, Value)> = vec![
        ("presentation", Value::Null),
        ("presentation", json!(7)),
        ("line_items", Value::Null),
        ("line_items", json!([])),
        ("line_items", json!([{ "sku": SKU }])),
        ("line_items", json!([{ "sku": SKU, "qty": 0 }])),
        ("line_items", json!([{ "sku": SKU, "qty": -1 }])),
        ("line_items", json!([{ "sku": SKU, "qty": 1.5 }])),
        ("line_items", json!([{ "qty": 1 }])),
        ("merchant_nonce", json!(7)),
        ("offer_id", json!(7)),
        ("idempotency_key", Value::Null),
        ("idempotency_key", json!("")),
        ("idempotency_key", json!("x".repeat(129))),
    ];
    for (name, value) in cases {
        let mut body = ready.body("key");
        match &value {
            Value::Null => drop(body.as_object_mut().unwrap().remove(name)),
            value => body[name] = value.clone(),
        }
        let answer = ready.post(&body).await;
        assert_eq!(answer.refusal(), refusal(400, "invalid_request"), "{name}: {value}");
        assert!(answer.header("mandate-nonce").is_some(), "every answer but 200 carries a challenge");
    }
    let url = &world.merchant(0).verify_url;
    for body in ["", "{", "[]", r#"{"presentation":"a","presentation":"b"}"#] {
        let request = http::Request::post("/").header("content-type", "application/json");
        let request = request.body(http_body_util::Full::from(body)).unwrap();
        assert_eq!(support::send(url, request).await.refusal(), refusal(400, "invalid_request"), "{body}");
    }
    let request = http::Request::post("/").header("content-type", "text/plain");
    let request = request.body(http_body_util::Full::from(ready.body("key").to_string())).unwrap();
    assert_eq!(support::send(url, request).await.refusal(), refusal(400, "invalid_request"));
    // None of it used up the challenge.
    assert_eq!(ready.post(&ready.body("key")).await.status, 200);
}

#[tokio::test]
async fn refuses_kb_jwts_that_break_a_rule_and_the_challenge_stays_good() {
    let world = World::start().await;
    let ready = Ready::new(&world).await;
    let key = ready.agent.dpop_key.as_ref();
    let own = || TokenHeader::new("kb+jwt").jwk(key.public_key());
    let stranger = PrivateKey::generate(Alg::EdDsa, &SystemRng);
    let p256 = PrivateKey::generate(Alg::Es256, &SystemRng);
    let now = world.clock.now();

    let claim_cases: Vec<(&str, Value, &str)> = vec![
        ("aud", Value::Null, SIGNATURE_INVALID),
        ("aud", json!(world.merchant(1).origin), "mandate_kb_audience_mismatch"),
        ("aud", json!([world.merchant(0).origin]), SIGNATURE_INVALID),
        ("nonce", Value::Null, SIGNATURE_INVALID),
        ("nonce", json!(ready.challenge), NONCE_MISMATCH),
        ("nonce", json!(Agent::kb_nonce(&ready.challenge, None)), NONCE_MISMATCH),
        ("sd_hash", Value::Null, SIGNATURE_INVALID),
        ("sd_hash", json!(base64url::encode(&sha256(b"another"))), SIGNATURE_INVALID),
        ("iat", Value::Null, SIGNATURE_INVALID),
        ("iat", json!(now - 301), NONCE_MISMATCH),
        ("iat", json!(now + 61), NONCE_MISMATCH),
        ("exp", json!(now), NONCE_MISMATCH),
    ];
    for (name, value, error) in claim_cases {
        let mut claims = ready.kb_claims();
        match &value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
        let answer = ready.post(&ready.with_kb(&claims, key, own())).await;
        assert_eq!(answer.refusal(), refusal(422, error), "{name}: {value}");
        assert_eq!(answer.json()["challenge_nonce"], answer.header("mandate-nonce").unwrap());
    }
    let claims = ready.kb_claims();
    let header_cases = [
        ("stranger", ready.with_kb(&claims, &stranger, TokenHeader::new("kb+jwt").jwk(stranger.public_key()))),
        ("stranger under our jwk", ready.with_kb(&claims, &stranger, own())),
        ("no key at all", ready.with_kb(&claims, key, TokenHeader::new("kb+jwt"))),
        ("ES256", ready.with_kb(&claims, &p256, TokenHeader::new("kb+jwt").jwk(p256.public_key()))),
        ("another typ", ready.with_kb(&claims, key, TokenHeader::new("dpop+jwt").jwk(key.public_key()))),
    ];
    for (what, body) in header_cases {
        assert_eq!(ready.post(&body).await.refusal(), refusal(422, SIGNATURE_INVALID), "{what}");
    }
    let mut without = ready.body("key");
    without["presentation"] = ready.sd_jwt().into();
    assert_eq!(ready.post(&without).await.refusal(), refusal(422, SIGNATURE_INVALID), "no KB-JWT");

    assert!(world.settlements(0).await.is_empty());
    assert_eq!(ready.post(&ready.with_kb(&claims, key, own())).await.status, 200);
}

#[tokio::test]
async fn refuses_mandates_that_are_not_the_issuers_or_not_for_this_merchant() {
    let world = World::start().await;
    let ready = Ready::new(&world).await;
    let issuer_jwt = ready.tokens.mandate.split('~').next().unwrap().to_owned();
    let parts: Vec<&str> = issuer_jwt.split('.').collect();
    let claims: Value = serde_json::from_slice(&base64url::decode(parts[1]).unwrap()).unwrap();
    let header: Value = serde_json::from_slice(&base64url::decode(parts[0]).unwrap()).unwrap();
    let forged = |header: &Value, claims: &Value| {
        let (header, claims) = (header.to_string(), claims.to_string());
        format!("{}.{}.{}", base64url::encode(header.as_bytes()), base64url::encode(claims.as_bytes()), parts[2])
    };
    let mut dearer = claims.clone();
    dearer["authorization_details"][0]["amount_minor"] = 1.into();
    let with_header = |name: &str, value: &str| {
        let mut header = header.clone();
        header[name] = value.into();
        header
    };
    let stranger = PrivateKey::generate(Alg::EdDsa, &SystemRng);
    let kid = header["kid"].as_str().unwrap();
    let by_stranger =
        sign_compact(&stranger, &TokenHeader::new("vc+sd-jwt").kid(kid), claims.to_string().as_bytes()).unwrap();
    let cases = [
        ("another amount", forged(&header, &dearer)),
        ("alg none", forged(&with_header("alg", "none"), &claims)),
        ("alg HS256", forged(&with_header("alg", "HS256"), &claims)),
        ("alg ES256", forged(&with_header("alg", "ES256"), &claims)),
        ("another typ", forged(&with_header("typ", "at+jwt"), &claims)),
        ("an unknown kid", forged(&with_header("kid", "unknown"), &claims)),
        ("a stranger's signature", by_stranger),
        ("an access token", ready.tokens.access_token.clone()),
        ("no JWT", "what?".to_owned()),
    ];
    for (what, jwt) in cases {
        let presented = format!("{jwt}~");
        let mut kb_claims = ready.kb_claims();
        kb_claims["sd_hash"] = base64url::encode(&sha256(presented.as_bytes())).into();
        let key = ready.agent.dpop_key.as_ref();
        let header = TokenHeader::new("kb+jwt").jwk(key.public_key());
        let kb_jwt = sign_compact(key, &header, kb_claims.to_string().as_bytes()).unwrap();
        let mut body = ready.body("key");
        body["presentation"] = format!("{presented}{kb_jwt}").into();
        assert_eq!(ready.post(&body).await.refusal(), refusal(422, SIGNATURE_INVALID), "{what}");
    }
    // A disclosure without a signed digest.
    let stray = base64url::encode(br#"["c2FsdA","admin",true]"#);
    let presented = format!("{issuer_jwt}~{stray}~");
    let mut kb_claims = ready.kb_claims();
    kb_claims["sd_hash"] = base64url::encode(&sha256(presented.as_bytes())).into();
    let key = ready.agent.dpop_key.as_ref();
    let header = TokenHeader::new("kb+jwt").jwk(key.public_key());
    let kb_jwt = sign_compact(key, &header, kb_claims.to_string().as_bytes()).unwrap();
    let mut body = ready.body("key");
    body["presentation"] = format!("{presented}{kb_jwt}").into();
    assert_eq!(ready.post(&body).await.refusal(), refusal(422, SIGNATURE_INVALID));

    let answer = post_json(&world.merchant(1).verify_url, &[], &ready.body("key")).await;
    assert_eq!(answer.refusal(), refusal(422, "mandate_audience_mismatch"));
    assert!(world.settlements(0).await.is_empty() && world.settlements(1).await.is_empty());
}

#[tokio::test]
async fn takes_disclosures_that_the_holder_chose() {
    let world = World::start().await;
    let ready = Ready::new(&world).await;
    let held = HeldSdJwt::parse(ready.tokens.mandate.clone()).unwrap();
    let chosen = held.select(&["principal_country".into(), ["consent_evidence", "ip"].into()]).unwrap();
    let nonce = Agent::kb_nonce(&ready.challenge, ready.purchase.offer_digest.as_deref());
    let presentation = KeyBinder::carrying_key(ready.agent.dpop_key.as_ref())
        .bind(chosen, &world.merchant(0).origin, &nonce, world.clock.now())
        .unwrap();
    let mut body = ready.body("key");
    body["presentation"] = presentation.into();
    assert_eq!(ready.post(&body).await.status, 200);
}

#[tokio::test]
async fn a_challenge_works_once_within_five_minutes() {
    let world = World::start().await;
    let ready = Ready::new(&world).await;
    assert_eq!(ready.post(&ready.body("key")).await.status, 200);
    world.clock.advance(1);
    let answer = ready.post(&ready.body("key")).await;
    assert_eq!(answer.refusal(), refusal(422, NONCE_MISMATCH), "the same challenge, another KB-JWT");

    let late = Ready::new(&world).await;
    world.clock.advance(299);
    assert_eq!(late.post(&late.body("key")).await.status, 200);
    let late = Ready::new(&world).await;
    world.clock.advance(300);
    assert_eq!(late.post(&late.body("key")).await.refusal(), refusal(422, NONCE_MISMATCH));
    let made_up = late.agent.present(&late.purchase, &late.tokens.mandate, "AAAAAAAAAAAAAAAAAAAAAA", "key").await;
    assert_eq!(made_up.refusal(), refusal(422, NONCE_MISMATCH));
}

#[tokio::test]
async fn an_offers_nonce_is_good_for_its_sku_once_per_mandate_until_it_expires() {
    let world = World::start().await;
    let agent = world.agent().await;
    let other_sku = agent.offer(0, "darning-kit").await;
    let (offer, purchase, tokens) = agent.ready_to_pay(0, SKU).await;
    let answer = agent.present(&purchase, &tokens.mandate, &other_sku.nonce, "key").await;
    assert_eq!(answer.refusal(), refusal(422, NONCE_MISMATCH), "another item's offer");
    assert_eq!(agent.present(&purchase, &tokens.mandate, &offer.nonce, "key").await.status, 200);
    world.clock.advance(1);
    let answer = agent.present(&purchase, &tokens.mandate, &offer.nonce, "key").await;
    assert_eq!(answer.refusal(), refusal(422, NONCE_MISMATCH), "once per mandate");
    let second = agent.tokens(&purchase).await;
    assert_eq!(agent.present(&purchase, &second.mandate, &offer.nonce, "another").await.status, 200, "it is public");
    let third = agent.tokens(&purchase).await;
    world.clock.advance(299);
    let answer = agent.present(&purchase, &third.mandate, &offer.nonce, "third").await;
    assert_eq!(answer.refusal(), refusal(422, NONCE_MISMATCH), "expired with its offer");
}

#[tokio::test]
async fn a_replay_gets_the_same_answer_and_settles_once() {
    let world = World::start().await;
    let ready = Ready::new(&world).await;
    let body = ready.body("key");
    let first = ready.post(&body).await;
    assert_eq!(first.status, 200);

    // The very same octets again, the KB-JWT with them.
    let again = ready.post(&body).await;
    assert_eq!((again.status, &again.body), (first.status, &first.body));

    // A fresh KB-JWT under the same key: after the mandate has been revoked, used up and has expired.
    let mut revoke = support::form(&[("token", &ready.tokens.refresh_token)]);
    ready.agent.authenticate(&mut revoke);
    assert_eq!(support::post_form(&world.url("/oauth/revoke"), &[], &revoke).await.status, 200);
    for advance in [61, 900, 6 * 86_400] {
        world.clock.advance(advance);
        let challenge = ready.agent.challenge(&ready.purchase, &ready.tokens.mandate).await;
        let answer = ready.agent.present(&ready.purchase, &ready.tokens.mandate, &challenge, "key").await;
        assert_eq!((answer.status, &answer.body), (first.status, &first.body), "after {advance} s");
    }
    assert_eq!(world.settlements(0).await.len(), 1);
}

#[tokio::test]
async fn presentations_of_one_purchase_at_once_settle_once() {
    let world = World::start().await;
    let ready = Ready::new(&world).await;
    let mut bodies = vec![ready.body("key")];
    for _ in 0..7 {
        let challenge = ready.agent.challenge(&ready.purchase, &ready.tokens.mandate).await;
        bodies.push(ready.agent.body(&ready.purchase, &ready.tokens.mandate, &challenge, "key"));
    }
    let url = &world.merchant(0).verify_url;
    let mut tasks = tokio::task::JoinSet::new();
    for body in bodies {
        let url = url.clone();
        tasks.spawn(async move { post_json(&url, &[], &body).await });
    }
    let mut settled = 0;
    while let Some(answer) = tasks.join_next().await {
        let answer = answer.unwrap();
        match answer.status.as_u16() {
            200 => settled += 1,
            409 => {
                assert_eq!(answer.refusal().1, "idempotency_in_progress");
                assert!(answer.header("retry-after").is_some());
            }
            other => panic!("{other} {:?}", answer.body),
        }
    }
    assert!(settled >= 1);
    assert_eq!(world.settlements(0).await.len(), 1);
}

#[tokio::test]
async fn one_idempotency_key_is_one_purchase() {
    let world = World::start().await;
    let ready = Ready::new(&world).await;
    assert_eq!(ready.post(&ready.body("key")).await.status, 200);

    let challenge = ready.agent.challenge(&ready.purchase, &ready.tokens.mandate).await;
    let mut body = ready.agent.body(&ready.purchase, &ready.tokens.mandate, &challenge, "key");
    body["line_items"][0]["qty"] = 2.into();
    assert_eq!(ready.post(&body).await.refusal(), refusal(409, "idempotency_conflict"));

    let (offer, purchase, tokens) = ready.agent.ready_to_pay(0, SKU).await;
    let answer = ready.agent.present(&purchase, &tokens.mandate, &offer.nonce, "key").await;
    assert_eq!(answer.refusal(), refusal(409, "idempotency_conflict"), "another mandate");

    // Keys are per holder: the same key of another holder is another one.
    let stranger = world.agent().await;
    let (offer, purchase, tokens) = stranger.ready_to_pay(0, SKU).await;
    assert_eq!(stranger.present(&purchase, &tokens.mandate, &offer.nonce, "key").await.status, 200);
    assert_eq!(world.settlements(0).await.len(), 2);
}

#[tokio::test]
async fn a_spent_kb_jwt_is_no_good_under_another_key_or_when_nothing_came_of_it() {
    let world = World::start().await;
    let ready = Ready::new(&world).await;
    let mut body = ready.body("key");
    assert_eq!(ready.post(&body).await.status, 200);
    body["idempotency_key"] = "other".into();
    assert_eq!(ready.post(&body).await.refusal(), refusal(422, NONCE_MISMATCH));

    let ready = Ready::new(&world).await;
    world.sandbox.set_stock("merch_alpacanica", SKU, Stock::Gone).unwrap();
    let body = ready.body("key");
    assert_eq!(ready.post(&body).await.refusal(), refusal(422, "offer_out_of_stock"));
    world.sandbox.set_stock("merch_alpacanica", SKU, Stock::There).unwrap();
    let answer = ready.post(&body).await;
    assert_eq!(answer.refusal(), refusal(422, NONCE_MISMATCH), "accepted once, and nothing recorded");
    let challenge = answer.header("mandate-nonce").unwrap();
    let answer = ready.agent.present(&ready.purchase, &ready.tokens.mandate, challenge, "key").await;
    assert_eq!(answer.status, 200, "the refusal was not recorded either");
}

#[tokio::test]
async fn refuses_a_mandate_that_has_expired_or_was_never_in_time() {
    let world = World::start_with(|config| config.mandate_ttl_seconds(120)).await;
    let ready = Ready::new(&world).await;
    world.clock.advance(120);
    assert_eq!(ready.post(&ready.body("key")).await.refusal(), refusal(422, "mandate_expired"));

    let ready = Ready::new(&world).await;
    world.clock.advance(-61);
    assert_eq!(ready.post(&ready.body("key")).await.refusal(), refusal(422, "mandate_not_yet_valid"));
}

#[tokio::test]
async fn refuses_to_sell_what_the_mandate_does_not_cover() {
    let world = World::start().await;
    let agent = world.agent().await;
    let offer = agent.offer(0, SKU).await;
    let digest_of_nothing = Some(base64url::encode(&sha256(b"nothing")));
    let good = agent.purchase_of(0, &offer, 1);
    let lines = |lines: Value| Purchase { line_items: lines, ..good.clone() };
    // Each of these is a mandate that the authorization server issues: it knows no prices.
    let cases = [
        ("a cent short", Purchase { amount_minor: 1298, ..good.clone() }, "offer_amount_exceeds_mandate"),
        ("two for one", lines(json!([{ "sku": SKU, "qty": 2 }])), "offer_amount_exceeds_mandate"),
        (
            "beyond 64 bits",
            lines(json!([{ "sku": SKU, "qty": 9_007_199_254_740_991_u64 }])),
            "offer_amount_exceeds_mandate",
        ),
        ("another currency", Purchase { currency: "USD".into(), ..good.clone() }, "offer_amount_exceeds_mandate"),
        ("a currency not taken", Purchase { currency: "JPY".into(), ..good.clone() }, "offer_amount_exceeds_mandate"),
        ("no offer", Purchase { offer_digest: None, ..good.clone() }, "mandate_offer_unknown"),
        (
            "an offer never signed",
            Purchase { offer_digest: digest_of_nothing, ..good.clone() },
            "mandate_offer_unknown",
        ),
        ("another item's offer", lines(json!([{ "sku": "darning-kit", "qty": 1 }])), "mandate_offer_unknown"),
        (
            "more lines than the offer",
            lines(json!([{ "sku": SKU, "qty": 1 }, { "sku": "x", "qty": 1 }])),
            "mandate_offer_unknown",
        ),
    ];
    for (what, purchase, error) in cases {
        let tokens = agent.tokens(&purchase).await;
        let challenge = agent.challenge(&purchase, &tokens.mandate).await;
        let answer = agent.present(&purchase, &tokens.mandate, &challenge, "key").await;
        assert_eq!(answer.refusal(), refusal(422, error), "{what}");
    }
    let unknown = Purchase { line_items: json!([{ "sku": "no-such-thing", "qty": 1 }]), offer_digest: None, ..good };
    let tokens = agent.tokens(&unknown).await;
    let challenge = agent.challenge(&unknown, &tokens.mandate).await;
    let answer = agent.present(&unknown, &tokens.mandate, &challenge, "key").await;
    assert_eq!(answer.refusal(), refusal(422, "offer_out_of_stock"));
    assert!(world.settlements(0).await.is_empty());
}

#[tokio::test]
async fn a_mandate_is_used_up_by_what_it_paid() {
    let world = World::start().await;
    let ready = Ready::new(&world).await;
    assert_eq!(ready.post(&ready.body("key")).await.status, 200);
    let challenge = ready.agent.challenge(&ready.purchase, &ready.tokens.mandate).await;
    let answer = ready.agent.present(&ready.purchase, &ready.tokens.mandate, &challenge, "another-key").await;
    assert_eq!(answer.refusal(), refusal(422, "offer_amount_exceeds_mandate"));
    assert_eq!(world.settlements(0).await.len(), 1);
}

#[tokio::test]
async fn line_items_and_offer_id_are_the_mandates() {
    let world = World::start().await;
    let agent = world.agent().await;
    let offer = agent.offer(0, SKU).await;
    let purchase = agent.purchase_of(0, &offer, 1);
    let mut par = agent.par_form(&purchase);
    let mut details = agent.details(&purchase);
    details["offer_id"] = "offer-7".into();
    set_owned(&mut par, "authorization_details", Some(json!([details]).to_string()));
    let pushed = agent.post("/oauth/par", &par).await.json();
    let code = agent.authorize(pushed["request_uri"].as_str().unwrap()).await.location_param("code").unwrap();
    let tokens = agent.redeem(&purchase, &code).await;

    let mismatch = "mandate_line_items_mismatch";
    let own = json!({ "sku": SKU, "qty": 1 });
    let cases = [
        (json!([{ "sku": SKU, "qty": 2 }]), Some("offer-7"), mismatch),
        (json!([{ "sku": "darning-kit", "qty": 1 }]), Some("offer-7"), mismatch),
        (json!([own, { "sku": "darning-kit", "qty": 1 }]), Some("offer-7"), mismatch),
        (json!([own, own]), Some("offer-7"), mismatch),
        (json!([own]), None, "mandate_offer_unknown"),
        (json!([own]), Some("offer-8"), "mandate_offer_unknown"),
    ];
    for (line_items, offer_id, error) in cases {
        let challenge = agent.challenge(&purchase, &tokens.mandate).await;
        let mut body = agent.body(&purchase, &tokens.mandate, &challenge, "key");
        body["line_items"] = line_items.clone();
        if let Some(id) = offer_id {
            body["offer_id"] = id.into();
        }
        let answer = post_json(&world.merchant(0).verify_url, &[], &body).await;
        assert_eq!(answer.refusal(), refusal(422, error), "{line_items} {offer_id:?}");
    }
    let challenge = agent.challenge(&purchase, &tokens.mandate).await;
    let mut body = agent.body(&purchase, &tokens.mandate, &challenge, "key");
    body["offer_id"] = "offer-7".into();
    assert_eq!(post_json(&world.merchant(0).verify_url, &[], &body).await.status, 200);
}

#[tokio::test]
async fn a_token_and_proof_that_are_sent_are_checked_before_anything_is_spent() {
    let world = World::start().await;
    let ready = Ready::new(&world).await;
    let agent = &ready.agent;
    let url = world.merchant(0).verify_url.as_str();
    let body = ready.body("key");
    let token = &ready.tokens.access_token;
    let dpop = format!("DPoP {token}");
    let first = post_json(url, &[("authorization", &dpop), ("dpop", &agent.proof(url, Some(token)))], &body).await;
    assert_eq!(first.refusal(), refusal(401, "use_dpop_nonce"));
    assert!(first.header("www-authenticate").unwrap().starts_with("DPoP error=\"use_dpop_nonce\""));
    agent.note_nonce(url, &first);

    let other_mandate = agent.tokens(&ready.purchase).await.access_token;
    let elsewhere = agent.ready_to_pay(1, "slate-coaster-4").await.2.access_token;
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{}{}", if signature.starts_with('A') { 'B' } else { 'A' }, &signature[1..]);
    let stranger = world.agent().await;
    stranger.note_nonce(url, &first);
    let used = agent.proof(url, Some(token));
    let spent_by = json!({ "presentation": "x~y", "line_items": [{ "sku": SKU, "qty": 1 }], "idempotency_key": "k" });
    let answer = post_json(url, &[("authorization", &dpop), ("dpop", &used)], &spent_by).await;
    assert_eq!(answer.refusal(), refusal(422, SIGNATURE_INVALID));

    let proof = |token: &str| agent.proof(url, Some(token));
    let cases = [
        ("no proof", dpop.clone(), None, "invalid_dpop_proof"),
        ("proof used before", dpop.clone(), Some(used), "invalid_dpop_proof"),
        (
            "proof for another path",
            dpop.clone(),
            Some(agent.proof(&world.url("/x"), Some(token))),
            "invalid_dpop_proof",
        ),
        ("proof without ath", dpop.clone(), Some(agent.proof(url, None)), "invalid_dpop_proof"),
        ("proof for another token", dpop.clone(), Some(proof(&other_mandate)), "invalid_dpop_proof"),
        ("stranger's proof", dpop.clone(), Some(stranger.proof(url, Some(token))), "invalid_token"),
        ("Bearer", format!("Bearer {token}"), Some(proof(token)), "invalid_token"),
        ("another mandate's token", format!("DPoP {other_mandate}"), Some(proof(&other_mandate)), "invalid_token"),
        ("another merchant's token", format!("DPoP {elsewhere}"), Some(proof(&elsewhere)), "invalid_token"),
        ("a forged token", format!("DPoP {forged}"), Some(proof(&forged)), "invalid_token"),
        ("a mandate as token", format!("DPoP {}", ready.sd_jwt()), Some(proof(&ready.sd_jwt())), "invalid_token"),
    ];
    for (what, authorization, proof, error) in cases {
        let mut headers = vec![("authorization", authorization.as_str())];
        headers.extend(proof.as_deref().map(|proof| ("dpop", proof)));
        let answer = post_json(url, &headers, &body).await;
        assert_eq!(answer.refusal(), refusal(401, error), "{what}");
        assert!(answer.header("www-authenticate").unwrap().contains(error), "{what}");
    }
    let answer = post_json(url, &[("authorization", &dpop), ("dpop", &proof(token))], &body).await;
    assert_eq!(answer.status, 200, "{:?}: the challenge and the KB-JWT are still unspent", answer.body);
    world.clock.advance(300);
    agent.note_nonce(url, &post_json(url, &[], &json!({})).await);
    let answer = post_json(url, &[("authorization", &dpop), ("dpop", &proof(token))], &body).await;
    assert_eq!(answer.refusal(), refusal(401, "invalid_token"), "expired");
}

#[tokio::test]
async fn asks_for_a_nonce_where_none_was_answered_and_says_that_it_is_no_dpop_nonce() {
    let world = World::start().await;
    let ready = Ready::new(&world).await;
    let answer = ready.agent.present(&ready.purchase, &ready.tokens.mandate, "", "key").await;
    assert_eq!(answer.refusal(), refusal(401, "mandate_nonce_required"));
    assert_eq!(answer.header("www-authenticate"), Some("DPoP"));
    let mut body = ready.agent.body(&ready.purchase, &ready.tokens.mandate, "", "key");
    body.as_object_mut().unwrap().remove("merchant_nonce");
    assert_eq!(ready.post(&body).await.refusal(), refusal(401, "mandate_nonce_required"));
}
