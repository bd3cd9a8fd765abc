use core::hint::black_box;
use std::borrow::Cow;
use std::fmt;

use ed25519_dalek::{Signature, VerifyingKey};
use http::{HeaderMap, HeaderValue};
use http_sig::{Component, ContentDigest, DigestAlg, Message, SignatureBuilder, Verifier};
use jose::{PrivateKey, PublicKey, Signer as _};
use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::{Job, NOW, key};

/// Verifies a signed catalog and finds its cheapest item in stock. Floor: the body's hash, one signature over as many
/// octets, and the same parse.
pub struct Catalog {
    body: Vec<u8>,
    headers: HeaderMap,
    request_headers: HeaderMap,
    verifier: Verifier,
    key: PublicKey,
    raw_key: VerifyingKey,
    base: String,
    signature: Signature,
}

impl Catalog {
    /// Prepares a catalog of so many items, as a merchant signs it.
    #[must_use]
    pub fn new(items: usize) -> Self {
        let (key, raw) = key(4);
        let body = body(items);
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        headers.insert(ContentDigest::FIELD, value(&ContentDigest::field_value(&body, &[DigestAlg::Sha256])));
        let request_headers = HeaderMap::new();
        let signed = sign(&key, &headers, &request_headers);
        headers.insert("signature-input", value(signed.signature_input()));
        headers.insert("signature", value(signed.signature()));
        let verifier = COMPONENTS
            .iter()
            .fold(Verifier::new(), |verifier, name| verifier.require(Component::parse(name).expect("a component")));
        let signature = key.sign(signed.base().as_bytes()).expect("a key in memory signs");
        Self {
            body,
            headers,
            request_headers,
            verifier: verifier.require_content_digest(&[DigestAlg::Sha256]).max_lifetime(600),
            key: key.public_key().clone(),
            raw_key: raw.verifying_key(),
            base: signed.base().to_owned(),
            signature: Signature::from_bytes(&signature),
        }
    }

    /// Octets of the body.
    #[must_use]
    pub fn octets(&self) -> usize {
        self.body.len()
    }
}

impl Job for Catalog {
    fn floor(&self) {
        black_box(Sha256::digest(&self.body));
        self.raw_key.verify_strict(black_box(self.base.as_bytes()), &self.signature).expect("it verifies");
        black_box(cheapest(&self.body));
    }

    fn ours(&self) {
        let request = Message::request("GET", URI, &self.request_headers).expect("a request");
        let response = Message::response(200, &self.headers).expect("a response");
        let response = response.in_reply_to(&request).with_body(&self.body);
        let keys = |keyid: &str| (keyid == KEYID).then_some(&self.key);
        black_box(self.verifier.verify(&response, NOW, keys).expect("it verifies"));
        black_box(cheapest(&self.body));
    }
}

/// An item as a buyer reads it: borrowed, what is of no interest skipped.
#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow)]
    sku: Cow<'a, str>,
    unit_price_minor: u64,
    in_stock: bool,
}

/// Keeps the best item so far and no other.
struct Cheapest<'a>(Option<Item<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for Cheapest<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items;
        impl<'de> Visitor<'de> for Items {
            type Value = Cheapest<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("items")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Cheapest<'de>, A::Error> {
                let mut best: Option<Item<'de>> = None;
                while let Some(item) = seq.next_element::<Item<'de>>()? {
                    let cheaper = best.as_ref().is_none_or(|best| item.unit_price_minor < best.unit_price_minor);
                    if item.in_stock && cheaper {
                        best = Some(item);
                    }
                }
                Ok(Cheapest(best))
            }
        }
        deserializer.deserialize_seq(Items)
    }
}

fn cheapest(body: &[u8]) -> usize {
    #[derive(Deserialize)]
    struct Page<'a> {
        #[serde(borrow)]
        items: Cheapest<'a>,
    }
    let page: Page<'_> = serde_json::from_slice(body).expect("a catalog");
    page.items.0.expect("something is in stock").sku.len()
}

fn body(items: usize) -> Vec<u8> {
    let items: Vec<_> = (0..items)
        .map(|n| {
            json!({
                "sku": format!("alpaca-sock-blue-{n:05}"),
                "title": format!("Alpaca socks, blue, size {}, hand-knitted, pair no. {n}", 36 + n % 12),
                "unit_price_minor": 1299 + (n * 7919) % 5000,
                "currency": "EUR",
                "in_stock": n % 3 != 0,
                "category": "socks",
                "ships_to": ["DE", "FR", "NL"],
                "offer_url": format!("https://shop.example/oid4ac/offer/alpaca-sock-blue-{n:05}"),
            })
        })
        .collect();
    serde_json::to_vec(&json!({ "items": items, "next": null })).expect("JSON")
}

fn sign(key: &PrivateKey, headers: &HeaderMap, request_headers: &HeaderMap) -> http_sig::Signed {
    let request = Message::request("GET", URI, request_headers).expect("a request");
    let response = Message::response(200, headers).expect("a response").in_reply_to(&request);
    let covered = COMPONENTS.into_iter().chain(["content-type", "content-digest"]);
    let builder = covered.fold(SignatureBuilder::new("sig1").expect("a label"), |builder, name| {
        builder.component(Component::parse(name).expect("a component"))
    });
    let builder = builder.created(NOW).expires(NOW + 600).nonce("AAECAwQFBgcICQoLDA0ODw").expect("a nonce");
    builder.keyid(KEYID).expect("a keyid").alg().sign(&response, key).expect("all components are there")
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("visible ASCII")
}

const URI: &str = "https://shop.example/.well-known/oid4ac-catalog";
const KEYID: &str = "k1";
const COMPONENTS: [&str; 3] = ["@method;req", "@target-uri;req", "@authority;req"];
