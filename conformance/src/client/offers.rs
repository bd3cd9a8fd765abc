//! Offers, catalogs and receipts that a merchant should not have sent, and a directory that misreports them.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use http_sig::{Component, ContentDigest, DigestAlg, Message, SignatureBuilder};
use jose::{Alg, Clock as _};
use oid4ac_client::SystemClock;
use sandbox::{LoggedRequest, Party};
use serde_json::json;

use crate::check::Check;
use crate::deception::{Deception, Kit, Verdict, attempt};
use crate::forger::{Edit, Forger, as_they_are, gives_receipts};
use crate::lie::{self, Lie};
use crate::outcome::Stop;

pub(super) fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    for (what, said, lie) in [
        ("unsigned", "offer refused: the message has no signature", header("signature")),
        ("no_signature_input", "offer refused: the message has no signature-input", header("signature-input")),
    ] {
        let deception = Deception::new(lie, attempt!(Kit::pay));
        checks.push(Check::client(format!("client.offer_{what}"), "OID4AC v1 §11", said, deception));
    }
    for Forgery { what, said, signature, edit } in FORGERIES {
        let deception = Deception::new(move || signs_offers(signature, edit), attempt!(Kit::pay));
        checks.push(Check::client(format!("client.offer_{what}"), "OID4AC v1 §11", said, deception));
    }
    for (what, said, edit) in RECEIPTS {
        let deception = Deception::new(move || gives_receipts("oid4ac-receipt+jwt", edit), attempt!(Kit::pay));
        let check = Check::client(
            format!("client.receipt_{what}"),
            "OID4AC v1 §13",
            format!("settled; receipt refused: {said}"),
            deception.after_settlement(),
        );
        checks.push(check);
    }
    checks.extend([
        Check::client(
            "client.offer_changed",
            "RFC 9530 §2",
            "offer refused: the content does not have its sha-256 digest",
            Deception::new(|| lie::set(OFFER, "/name", json!("Another name")), attempt!(Kit::pay)),
        ),
        Check::client(
            "client.receipt_missing",
            "OID4AC v1 §13",
            "settled; no receipt",
            Deception::new(|| lie::without("/verify-mandate", "receipt_jws"), attempt!(Kit::pay)).after_settlement(),
        ),
        Check::client(
            "client.preview_unsigned",
            "OID4AC v1 §12",
            "catalog refused: missing signed field \"signature\"",
            Deception::new(|| lie::without("/merchants/", "signature"), attempt!(preview)),
        ),
        Check::client(
            "client.preview_no_digest",
            "OID4AC v1 §12",
            "catalog refused: missing signed field \"content_digest\"",
            Deception::new(|| lie::without("/merchants/", "content_digest"), attempt!(preview)),
        ),
        Check::client(
            "client.preview_audience",
            "OID4AC v1 §12",
            "catalog refused: `audience` is not the one expected",
            Deception::new(|| lie::set("/merchants/", "/audience", json!("https://b.example")), attempt!(preview)),
        ),
        Check::client(
            "client.catalog_foreign_key",
            "OID4AC v1 §11",
            "catalog refused: no signature is acceptable: sig1: the key \"merch_alpacanica_1\" is not known",
            Deception::new(foreign_keys, attempt!(preview)),
        ),
    ]);
    checks
}

/// What is signed, and what for.
#[derive(Clone, Copy)]
struct Signature {
    components: &'static [&'static str],
    /// In seconds from now.
    created: i64,
    expires: i64,
    nonce: Option<&'static str>,
}

const GOOD: Signature = Signature { components: &ALL, created: 0, expires: 300, nonce: Some("AAAAAAAAAAAAAAAAAAAAAA") };
const ALL: [&str; 5] = ["@method", "@target-uri", "@authority", "content-type", "content-digest"];

struct Forgery {
    what: &'static str,
    said: &'static str,
    signature: Signature,
    edit: Edit,
}

const fn badly_signed(what: &'static str, said: &'static str, signature: Signature) -> Forgery {
    Forgery { what, said, signature, edit: as_they_are }
}

const fn well_signed(what: &'static str, said: &'static str, edit: Edit) -> Forgery {
    Forgery { what, said, signature: GOOD, edit }
}

const FORGERIES: [Forgery; 12] = [
    badly_signed(
        "without_method",
        "offer refused: no signature is acceptable: sig1: \"@method\" is not covered",
        Signature { components: &["@target-uri", "@authority", "content-type", "content-digest"], ..GOOD },
    ),
    badly_signed(
        "without_digest",
        "offer refused: no signature is acceptable: sig1: \"content-digest\" is not covered",
        Signature { components: &["@method", "@target-uri", "@authority", "content-type"], ..GOOD },
    ),
    badly_signed(
        "without_nonce",
        "offer refused: no signature is acceptable: sig1: the parameter `nonce` is missing",
        Signature { nonce: None, ..GOOD },
    ),
    badly_signed(
        "short_nonce",
        "offer refused: `nonce` is missing or malformed",
        Signature { nonce: Some("short"), ..GOOD },
    ),
    badly_signed(
        "expired",
        "offer refused: no signature is acceptable: sig1: expired at …, and it is …",
        Signature { created: -310, expires: -10, ..GOOD },
    ),
    badly_signed(
        "lives_too_long",
        "offer refused: no signature is acceptable: sig1: created at … and expiring at … is not an accepted lifetime",
        Signature { expires: 301, ..GOOD },
    ),
    well_signed(
        "dearer",
        "offer refused: the signed price makes 1300, the amount asked for is 1299 (minor units)",
        |o| {
            o["amount_minor"] = json!(1300);
        },
    ),
    well_signed(
        "cheaper",
        "offer refused: the signed price makes 1298, the amount asked for is 1299 (minor units)",
        |o| {
            o["amount_minor"] = json!(1298);
        },
    ),
    well_signed("currency", "offer refused: its currency is not the purchase's", |o| o["currency"] = json!("USD")),
    well_signed("sku", "offer refused: `sku` is not the one expected", |o| o["sku"] = json!("something-else")),
    well_signed("out_of_stock", "offer refused: the item is out of stock", |o| o["in_stock"] = json!(false)),
    well_signed("text_price", "offer refused: `amount_minor` is missing or malformed", |o| {
        o["amount_minor"] = json!("1299")
    }),
];

const RECEIPTS: [(&str, &str, Edit); 6] = [
    ("amount", "`amount_minor` is not the one expected", |c| c["amount_minor"] = json!(1300)),
    ("iss", "`iss` is not the one expected", |c| c["iss"] = json!("https://evil.example")),
    ("mandate", "`mandate_id` is not the one expected", |c| c["mandate_id"] = json!("another")),
    ("key", "`idempotency_key` is not the one expected", |c| c["idempotency_key"] = json!("another")),
    ("payment", "`payment_intent_id` is not the one expected", |c| c["payment_intent_id"] = json!("another")),
    ("offer", "`offer_digest` is not the one expected", |c| c["offer_digest"] = json!("another")),
];

/// The first merchant's answers without this header.
fn header(name: &'static str) -> impl Fn() -> Lie + Send + Sync + Clone {
    move || lie::header(OFFER, name, None)
}

/// Merchants whose keys are the liar's, though what they sign is not.
fn foreign_keys() -> Lie {
    let forger = Forger::new(Alg::EdDsa);
    Arc::new(move |request, answer| match request.path.as_str() {
        "/.well-known/jwks.json" => forger.jwks(),
        _ => answer,
    })
}

/// A merchant with the liar's key signs offers, changed so. It settles nothing.
fn signs_offers(signature: Signature, edit: Edit) -> Lie {
    let forger = Forger::new(Alg::EdDsa);
    Arc::new(move |request, answer| match (&request.party, request.path.as_str()) {
        (Party::Merchant(_), "/.well-known/jwks.json") => forger.jwks(),
        (Party::Merchant(_), path) if path.starts_with(OFFER) => {
            let answer = lie::edit_json(answer, &edit);
            let fallback = answer.clone();
            resign(&forger, signature, request, answer).unwrap_or(fallback)
        }
        _ => answer,
    })
}

/// Digests and signs an answer as the merchant would.
fn resign(
    forger: &Forger,
    signature: Signature,
    request: &LoggedRequest,
    mut answer: Response<Bytes>,
) -> Option<Response<Bytes>> {
    let digest = ContentDigest::field_value(answer.body(), &[DigestAlg::Sha256]);
    answer.headers_mut().insert("content-digest", HeaderValue::from_str(&digest).ok()?);
    let now = SystemClock.now();
    let none = HeaderMap::new();
    let url = format!("{}{}", request.origin, request.path);
    let asked = Message::request("GET", &url, &none).ok()?;
    let body = answer.body().clone();
    let message = Message::response(200, answer.headers()).ok()?.in_reply_to(&asked);
    let message = message.danger_allow_missing_req().with_body(&body);
    let mut builder = SignatureBuilder::new("sig1").ok()?;
    for name in signature.components {
        builder = builder.component(Component::parse(name).ok()?);
    }
    builder = builder.created(now + signature.created).expires(now + signature.expires);
    if let Some(nonce) = signature.nonce {
        builder = builder.nonce(nonce).ok()?;
    }
    let signed = builder.keyid(forger.kid()).ok()?.alg().sign(&message, forger.key()).ok()?;
    let input = HeaderValue::from_str(signed.signature_input()).ok()?;
    let value = HeaderValue::from_str(signed.signature()).ok()?;
    answer.headers_mut().insert("signature-input", input);
    answer.headers_mut().insert("signature", value);
    Some(answer)
}

/// Looks at the first merchant's catalog, as the directory hands it on.
async fn preview(kit: Kit) -> Result<Verdict, Stop> {
    let previewed = kit.client.catalog_preview(&kit.sandbox.merchants()[0].id).await;
    Ok(previewed.map(drop).map_err(|error| error.to_string()))
}

const OFFER: &str = "/oid4ac/offer/";
