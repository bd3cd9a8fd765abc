//! The directory: filters, pages, and previews that can be verified by themselves.

#![allow(clippy::unwrap_used, reason = "clippy takes only #[test] functions for tests")]

mod support;

use base64::Engine as _;
use http::HeaderMap;
use http_sig::{DigestAlg, Message, Verifier};
use jose::JwkSet;
use serde_json::json;
use support::{World, get};

#[tokio::test]
async fn lists_both_merchants_as_they_are() {
    let world = World::start().await;
    let reply = get(&format!("{}/merchants", world.sandbox.discovery_url())).await.json();
    assert_eq!((&reply["page"], &reply["page_size"], &reply["total"]), (&json!(1), &json!(20), &json!(2)));
    assert_eq!(
        reply["merchants"][0],
        json!({
            "id": "merch_alpacanica",
            "audience": world.merchant(0).origin,
            "business_name": "Alpacanica Outfitters",
            "country": "NL",
            "accepted_currencies": ["EUR", "USD"],
            "accepted_rails": ["card", "ideal", "sepa_debit"],
            "verified_at": "2026-04-01T00:00:00Z",
        })
    );
    assert_eq!(reply["merchants"][1]["id"], "merch_bristleandslate");
}

#[tokio::test]
async fn filters_and_pages() {
    let world = World::start().await;
    for (query, total, shown) in [
        ("country=NL", 2, 2),
        ("country=DE", 0, 0),
        ("currency=EUR", 2, 2),
        ("currency=USD", 1, 1),
        ("rail=sepa_debit", 1, 1),
        ("rail=barter", 0, 0),
        ("q=slate", 1, 1),
        ("q=OUTFIT", 1, 1),
        ("country=NL&currency=EUR&rail=ideal&q=bristle", 1, 1),
        ("page_size=1", 2, 1),
        ("page_size=1&page=2", 2, 1),
        ("page=3", 2, 0),
        ("page_size=100", 2, 2),
        ("unknown=ignored", 2, 2),
    ] {
        let reply = get(&format!("{}/merchants?{query}", world.sandbox.discovery_url())).await.json();
        let counted = (reply["total"].as_u64(), reply["merchants"].as_array().map(Vec::len));
        assert_eq!(counted, (Some(total), Some(shown)), "{query}");
    }
}

#[tokio::test]
async fn refuses_filters_that_mean_nothing() {
    let world = World::start().await;
    for query in [
        "country=XX",
        "country=nl",
        "country=NLD",
        "currency=EURO",
        "currency=eur",
        "rail=CARD",
        "rail=a%20b",
        "page=0",
        "page=-1",
        "page=one",
        "page_size=0",
        "page_size=101",
        "country=NL&country=DE",
        "q=%ff",
    ] {
        let answer = get(&format!("{}/merchants?{query}", world.sandbox.discovery_url())).await;
        assert_eq!(answer.refusal(), (400, "invalid_filter".to_owned()), "{query}");
    }
}

#[tokio::test]
async fn a_preview_carries_the_merchants_signature_over_the_exact_octets() {
    let world = World::start().await;
    for (index, id) in ["merch_alpacanica", "merch_bristleandslate"].into_iter().enumerate() {
        let reply = get(&format!("{}/merchants/{id}/catalog-preview", world.sandbox.discovery_url())).await.json();
        let origin = &world.merchant(index).origin;
        assert_eq!((&reply["merchant_id"], &reply["audience"]), (&json!(id), &json!(origin)));
        let body = base64::engine::general_purpose::STANDARD.decode(reply["signed_body"].as_str().unwrap()).unwrap();
        let signed: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(signed["items"], reply["items"]);

        let mut headers = HeaderMap::new();
        for (name, member) in [
            ("content-type", "signed_content_type"),
            ("content-digest", "content_digest"),
            ("signature", "signature"),
            ("signature-input", "signature_input"),
        ] {
            headers.insert(name, reply[member].as_str().unwrap().parse().unwrap());
        }
        let url = format!("{origin}/.well-known/oid4ac-catalog");
        let none = HeaderMap::new();
        let request = Message::request("GET", &url, &none).unwrap();
        let response = Message::response(200, &headers).unwrap().in_reply_to(&request).danger_allow_missing_req();
        let keys = JwkSet::parse(&get(&format!("{origin}/.well-known/jwks.json")).await.body).unwrap();
        let verifier = Verifier::new().max_lifetime(600).require_content_digest(&[DigestAlg::Sha256]);
        let find = |keyid: &str| keys.keys().iter().find(|jwk| jwk.kid() == Some(keyid)).map(|jwk| jwk.key());
        verifier.verify(&response.with_body(&body), world.clock.now(), find).unwrap();
    }
}

#[tokio::test]
async fn knows_no_other_merchant_and_no_other_path() {
    let world = World::start().await;
    for path in ["/merchants/merch_other/catalog-preview", "/merchants/..%2f/catalog-preview", "/merchants/x", "/"] {
        let answer = get(&format!("{}{path}", world.sandbox.discovery_url())).await;
        assert_eq!(answer.refusal(), (404, "not_found".to_owned()), "{path}");
    }
}
