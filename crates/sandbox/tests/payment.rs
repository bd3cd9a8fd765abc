//! The whole way to a settled payment, at both merchants.

#![allow(clippy::unwrap_used, reason = "clippy takes only #[test] functions for tests")]

mod support;

use http::Method;
use http_sig::{Component, DigestAlg, Message, Verifier};
use jose::{Alg, JwkSet, UnverifiedJws};
use sandbox::Party;
use sd_jwt::{Policy, UnverifiedSdJwt, Validity};
use serde_json::Value;
use support::{Agent, SKU, World, get};

const SKUS: [&str; 2] = [SKU, "slate-coaster-4"];

async fn jwks(url: &str) -> JwkSet {
    JwkSet::parse(&get(url).await.body).unwrap()
}

#[tokio::test]
async fn pays_at_both_merchants_and_every_signature_verifies() {
    let world = World::start().await;
    let agent = world.agent().await;
    for (merchant, sku) in SKUS.into_iter().enumerate() {
        let (offer, purchase, tokens) = agent.ready_to_pay(merchant, sku).await;
        let info = world.merchant(merchant);

        let as_keys = jwks(&world.url("/oauth/jwks.json")).await;
        let token = UnverifiedJws::parse(&tokens.access_token).unwrap();
        let key = as_keys.find(token.unverified_kid(), Alg::EdDsa).unwrap().key();
        let claims = token.verify(key, &[Alg::EdDsa], &["at+jwt"]).unwrap().claims().unwrap();
        assert_eq!(claims["aud"], info.origin.as_str());
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 300);
        assert_eq!(claims["cnf"]["jkt"], agent.minter.jkt().as_str());

        let mandate = UnverifiedSdJwt::parse(&tokens.mandate).unwrap();
        let policy = Policy::new(&[Alg::EdDsa], &["vc+sd-jwt"], Validity::at(world.clock.now())).sd_jwt_vc();
        let mandate = mandate.verify(key, &policy).unwrap();
        let all: Vec<String> = mandate.disclosed().map(ToString::to_string).collect();
        assert_eq!(all.len(), 5, "{all:?}");
        let mandate = mandate.claims();
        assert_eq!(mandate["aud"], info.origin.as_str());
        assert_eq!(mandate["authorization_details"][0]["offer_digest"], offer.digest.as_str());
        assert_eq!(mandate["exp"].as_i64().unwrap() - mandate["iat"].as_i64().unwrap(), 900);
        assert_eq!(mandate["mandate_id"], claims["mandate_id"]);
        assert_eq!(mandate["sub"], claims["sub"]);

        let answer = agent.present_with_token(&purchase, &tokens, &offer.nonce, "key-of-this-purchase").await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        assert_eq!(answer.header("mandate-nonce"), None);
        let answer = answer.json();
        assert_eq!(answer["spend_cap_remaining_minor"], 0);
        assert_eq!(answer["verifier_principal_id"], mandate["sub"]);

        let shop_keys = jwks(&format!("{}/.well-known/jwks.json", info.origin)).await;
        let receipt = UnverifiedJws::parse(answer["receipt_jws"].as_str().unwrap()).unwrap();
        let key = shop_keys.find(receipt.unverified_kid(), receipt.unverified_alg()).unwrap().key();
        let receipt = receipt.verify(key, &[Alg::EdDsa, Alg::Es256], &["oid4ac-receipt+jwt"]).unwrap();
        let receipt = receipt.claims().unwrap();
        assert_eq!(receipt["iss"], info.origin.as_str());
        assert_eq!(receipt["amount_minor"], offer.body["amount_minor"]);
        assert_eq!(receipt["idempotency_key"], "key-of-this-purchase");
        assert_eq!(receipt["offer_digest"], offer.digest.as_str());
        for name in ["mandate_id", "payment_intent_id", "settled_at"] {
            assert_eq!(receipt[name], answer[name]);
        }
        let again = get(answer["receipt_url"].as_str().unwrap()).await.json();
        assert_eq!(again["receipt_jws"], answer["receipt_jws"]);

        let settlements = world.settlements(merchant).await;
        assert_eq!(settlements.len(), 1);
        assert_eq!(settlements[0]["payment_intent_id"], answer["payment_intent_id"]);
        assert_eq!(settlements[0]["amount_minor"], offer.body["amount_minor"]);
    }
}

#[tokio::test]
async fn signs_offers_and_catalogs_in_each_form_of_request_components() {
    let world = World::start().await;
    for (merchant, (sku, req)) in SKUS.into_iter().zip(["", ";req"]).enumerate() {
        let info = world.merchant(merchant);
        let keys = jwks(&format!("{}/.well-known/jwks.json", info.origin)).await;
        let paths = [
            (format!("/oid4ac/offer/{sku}"), 300),
            (format!("/products/{sku}"), 300),
            ("/.well-known/oid4ac-catalog".to_owned(), 600),
            ("/.well-known/oid4ac-catalog?page=2".to_owned(), 600),
        ];
        for (path, lifetime) in paths {
            let url = format!("{}{path}", info.origin);
            let answer = get(&url).await;
            assert_eq!(answer.status, 200);
            let none = http::HeaderMap::new();
            let request = Message::request("GET", &url, &none).unwrap();
            let mut response = Message::response(200, &answer.headers).unwrap().in_reply_to(&request);
            response = response.with_body(&answer.body);
            if req.is_empty() {
                response = response.danger_allow_missing_req();
            }
            let mut verifier = Verifier::new()
                .max_lifetime(lifetime)
                .require_nonce()
                .require_content_digest(&[DigestAlg::Sha256])
                .require(Component::parse("content-type").unwrap());
            for name in ["@method", "@target-uri", "@authority"] {
                verifier = verifier.require(Component::parse(&format!("{name}{req}")).unwrap());
            }
            let find = |keyid: &str| {
                let alg = if req.is_empty() { Alg::EdDsa } else { Alg::Es256 };
                keys.find(Some(keyid), alg).map(|jwk| jwk.key())
            };
            verifier.verify(&response, world.clock.now(), find).unwrap_or_else(|error| panic!("{url}: {error:?}"));
            let spelled = answer.header("signature-input").unwrap().contains("\"@method\";req");
            assert_eq!(spelled, !req.is_empty());
        }
    }
}

#[tokio::test]
async fn catalog_pages_lead_to_every_item_and_offers_agree_with_them() {
    let world = World::start().await;
    for merchant in 0..2 {
        let origin = &world.merchant(merchant).origin;
        let mut url = format!("{origin}/.well-known/oid4ac-catalog");
        let mut items: Vec<Value> = Vec::new();
        let mut first_page_cheap = None;
        loop {
            let page = get(&url).await.json();
            items.extend(page["items"].as_array().unwrap().clone());
            let cheap = |i: &&Value| {
                i["in_stock"] == true && i["currency"] == "EUR" && i["unit_price_minor"].as_u64().unwrap() < 1500
            };
            first_page_cheap.get_or_insert(items.iter().filter(cheap).count());
            match page["next"].as_str() {
                Some(next) => url = next.to_owned(),
                None => break,
            }
        }
        assert!(first_page_cheap.unwrap() >= 10);
        assert!(items.len() >= 30);
        for item in items.iter().take(3) {
            let offer = get(item["offer_url"].as_str().unwrap()).await.json();
            assert_eq!(offer["@type"], "Offer");
            assert_eq!(offer["sku"], item["sku"]);
            assert_eq!(offer["amount_minor"], item["unit_price_minor"]);
        }
        assert_eq!(get(&format!("{origin}/oid4ac/offer/no-such-thing")).await.refusal(), (404, "not_found".to_owned()));
    }
}

#[tokio::test]
async fn a_warm_payment_costs_five_requests() {
    let world = World::start().await;
    let agent = world.agent().await;
    let pay = async |key: &'static str| {
        let (offer, purchase, tokens) = agent.ready_to_pay(0, SKU).await;
        let answer = agent.present_with_token(&purchase, &tokens, &offer.nonce, key).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
    };
    pay("first").await;
    world.sandbox.clear_requests();
    pay("second").await;
    let seen: Vec<_> = world.sandbox.requests().into_iter().map(|r| (r.party, r.method, r.path)).collect();
    let shop = Party::Merchant("merch_alpacanica".to_owned());
    let expected = [
        (shop.clone(), Method::GET, format!("/oid4ac/offer/{SKU}")),
        (Party::AuthorizationServer, Method::POST, "/oauth/par".to_owned()),
        (Party::AuthorizationServer, Method::GET, "/oauth/authorize".to_owned()),
        (Party::AuthorizationServer, Method::POST, "/oauth/token".to_owned()),
        (shop, Method::POST, "/verify-mandate".to_owned()),
    ];
    assert_eq!(seen, expected);
    assert_eq!(world.settlements(0).await.len(), 2);
}

#[tokio::test]
async fn takes_a_challenge_an_offer_nonce_and_a_presentation_that_names_neither() {
    let world = World::start().await;
    let agent = world.agent().await;
    let (_, purchase, tokens) = agent.ready_to_pay(0, SKU).await;
    let challenge = agent.challenge(&purchase, &tokens.mandate).await;
    let answer = agent.present(&purchase, &tokens.mandate, &challenge, "by-challenge").await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);

    for (key, by_challenge) in [("unnamed-offer", false), ("unnamed-challenge", true)] {
        let (offer, purchase, tokens) = agent.ready_to_pay(0, SKU).await;
        let nonce = match by_challenge {
            true => agent.challenge(&purchase, &tokens.mandate).await,
            false => offer.nonce,
        };
        let mut body = agent.body(&purchase, &tokens.mandate, &nonce, key);
        body.as_object_mut().unwrap().remove("merchant_nonce");
        let answer = support::post_json(&world.merchant(0).verify_url, &[], &body).await;
        assert_eq!(answer.status, 200, "{key}: {:?}", answer.body);
    }
}

#[tokio::test]
async fn sells_several_lines_and_what_is_made_to_order() {
    let world = World::start().await;
    let agent = world.agent().await;
    let (a, b) = (agent.offer(0, SKU).await, agent.offer(0, "darning-kit").await);
    let mut purchase = agent.purchase_of(0, &a, 1);
    purchase.line_items = serde_json::json!([
        { "sku": SKU, "qty": 2, "unit_price_minor": 1299, "currency": "EUR" },
        { "sku": "darning-kit", "qty": 1, "unit_price_minor": 1290 },
        { "sku": "sweater-made-to-measure", "qty": 1, "unit_price_minor": 9900 },
    ]);
    purchase.amount_minor = 2 * 1299 + 1290 + 9900;
    let lines = serde_json::json!([a.body, b.body, null]);
    let canonical = serde_json_canonicalizer::to_vec(&lines).unwrap();
    purchase.offer_digest = Some(jose::base64url::encode(&jose::sha256(&canonical)));
    let tokens = agent.tokens(&purchase).await;
    let answer = agent.present(&purchase, &tokens.mandate, &a.nonce, "several").await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    assert_eq!(world.settlements(0).await[0]["amount_minor"], 13_788);

    purchase.line_items = serde_json::json!([{ "sku": "sweater-made-to-measure", "qty": 1 }]);
    purchase.offer_digest = None;
    let tokens = agent.tokens(&purchase).await;
    let challenge = agent.challenge(&purchase, &tokens.mandate).await;
    let answer = agent.present(&purchase, &tokens.mandate, &challenge, "to-order").await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
}

#[tokio::test]
async fn charges_the_price_that_was_signed_and_not_todays() {
    let world = World::start().await;
    let agent = world.agent().await;
    let (offer, purchase, tokens) = agent.ready_to_pay(0, SKU).await;
    world.sandbox.set_price("merch_alpacanica", SKU, 9_999).unwrap();
    let answer = agent.present(&purchase, &tokens.mandate, &offer.nonce, "key").await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    assert_eq!(world.settlements(0).await[0]["amount_minor"], 1299);
}

#[tokio::test]
async fn takes_the_holder_key_from_the_proof_where_the_kb_jwt_has_none() {
    let world = World::start().await;
    let agent = world.agent().await;
    let (offer, purchase, tokens) = agent.ready_to_pay(0, SKU).await;
    let held = sd_jwt::HeldSdJwt::parse(tokens.mandate.clone()).unwrap();
    let nonce = Agent::kb_nonce(&offer.nonce, purchase.offer_digest.as_deref());
    let presentation = sd_jwt::KeyBinder::new(agent.dpop_key.as_ref())
        .bind(held.select(&[]).unwrap(), &world.merchant(0).origin, &nonce, world.clock.now())
        .unwrap();
    let mut body = agent.body(&purchase, &tokens.mandate, &offer.nonce, "key");
    body["presentation"] = presentation.into();
    let url = &world.merchant(0).verify_url;
    let answer = support::post_json(url, &[], &body).await;
    assert_eq!(answer.refusal(), (422, "mandate_signature_invalid".to_owned()));
    agent.note_nonce(url, &answer);
    let answer = support::post_json(url, &[("dpop", &agent.proof(url, None))], &body).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
}
