//! A sandbox that lies: answers changed on their way out, and signed by a key that the merchants publish beside their own.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::Response;
use http_sig::{Component, ContentDigest, DigestAlg, Message, SignatureBuilder};
use jose::{Alg, PrivateKey, Signer as _};
use oid4ac_client::SystemRng;
use sandbox::{LoggedRequest, SandboxConfig};
use serde_json::{Value, json};

use super::World;

pub const CATALOG: &str = "/.well-known/oid4ac-catalog";
pub const JSON: &str = "application/json";
pub const ALWAYS: usize = usize::MAX;

/// A sandbox that answers so, as often as told, where it would have granted what was asked for at this path.
pub fn lying(
    path: &'static str,
    times: usize,
    status: u16,
    content_type: &'static str,
    body: &'static str,
) -> SandboxConfig {
    let told = Arc::new(AtomicUsize::new(0));
    SandboxConfig::new().changing_answers(move |request: &LoggedRequest, answer: Response<Bytes>| {
        if request.path != path || !answer.status().is_success() || told.fetch_add(1, Ordering::Relaxed) >= times {
            return answer;
        }
        plain(status, content_type, body)
    })
}

pub fn plain(status: u16, content_type: &str, body: &str) -> Response<Bytes> {
    let body = Bytes::copy_from_slice(body.as_bytes());
    Response::builder().status(status).header("content-type", content_type).body(body).unwrap()
}

/// `answer` with its JSON body changed.
pub fn with_json(answer: Response<Bytes>, change: impl FnOnce(&mut Value)) -> Response<Bytes> {
    let (mut head, body) = answer.into_parts();
    let Ok(mut value) = serde_json::from_slice(&body) else { return Response::from_parts(head, body) };
    change(&mut value);
    head.headers.remove("content-length");
    Response::from_parts(head, Bytes::from(serde_json::to_vec(&value).unwrap()))
}

/// A merchant's answer, changed and signed again.
#[derive(Clone, Copy)]
pub struct Signed {
    pub components: &'static [&'static str],
    /// Seconds from now.
    pub created: i64,
    /// Seconds from now.
    pub expires: i64,
    pub nonce: Option<&'static str>,
    /// Where the answer pretends to come from, if not from where it was asked for.
    pub method: &'static str,
    /// Made before the last change of the body.
    pub stale_digest: bool,
    pub change: fn(&mut Value),
}

pub const COMPONENTS: &[&str] = &["@method", "@target-uri", "@authority", "content-type", "content-digest"];

impl Signed {
    /// As a merchant would.
    pub const WELL: Self = Self {
        components: COMPONENTS,
        created: 0,
        expires: 300,
        nonce: Some("AAAAAAAAAAAAAAAAAAAAAA"),
        method: "GET",
        stale_digest: false,
        change: |_| {},
    };
}

/// What signs for the first merchant, besides its own key.
#[derive(Clone)]
pub struct Forger {
    key: Arc<PrivateKey>,
    kid: String,
    /// Whether it signs what it does not change, too.
    is_named: bool,
    /// Known once the sandbox runs.
    origin: Arc<OnceLock<String>>,
}

impl Forger {
    pub fn new() -> Self {
        let key = Arc::new(PrivateKey::generate(Alg::EdDsa, &SystemRng));
        let kid = key.public_key().thumbprint().as_str().to_owned();
        Self { key, kid, is_named: false, origin: Arc::default() }
    }

    /// A world in which the answers whose path begins so are changed and signed again.
    pub async fn world(signed: Signed, path: &'static str) -> World {
        let forger = Self::new();
        let lies = forger.clone();
        let config = SandboxConfig::new().changing_answers(move |request, answer| {
            lies.publish(request, lies.resign(request, answer, path, &signed))
        });
        forger.started(config).await
    }

    /// A world in which the first merchant's catalog is this, page after page.
    pub async fn catalog(page: impl Fn(usize) -> Value + Send + Sync + 'static) -> World {
        Self::changing(Signed::WELL, page, |_, answer| answer).await
    }

    /// The same, signed so, and where other answers are changed too.
    pub async fn changing(
        signed: Signed,
        page: impl Fn(usize) -> Value + Send + Sync + 'static,
        change: impl Fn(&LoggedRequest, Response<Bytes>) -> Response<Bytes> + Send + Sync + 'static,
    ) -> World {
        let forger = Self::new();
        let (lies, served) = (forger.clone(), AtomicUsize::new(0));
        let config = SandboxConfig::new().changing_answers(move |request, answer| {
            if request.path != CATALOG {
                return lies.publish(request, change(request, answer));
            }
            let number = served.fetch_add(1, Ordering::Relaxed);
            let target = format!("{CATALOG}{}", if number == 0 { String::new() } else { format!("?page={number}") });
            let body = page(number).to_string();
            lies.sign(&target, plain(200, JSON, &body), &signed)
        });
        forger.started(config).await
    }

    /// A world in which the first merchant's catalog has these articles, and its signed offer for a SKU is what `offer`
    /// makes of it, where it makes one.
    pub async fn store(items: Vec<Value>, offer: impl Fn(&str) -> Option<Offered> + Send + Sync + 'static) -> World {
        let forger = Self::new();
        let lies = forger.clone();
        let page = json!({"items": items, "next": null});
        let config = SandboxConfig::new().changing_answers(move |request, answer| {
            if request.path == CATALOG {
                return lies.sign(CATALOG, plain(200, JSON, &page.to_string()), &Signed::WELL);
            }
            let sku = request.path.strip_prefix("/oid4ac/offer/").or(request.path.strip_prefix("/products/"));
            match sku.and_then(&offer) {
                None => lies.publish(request, answer),
                Some(Offered::Plain(status)) => plain(status, "text/plain", ""),
                Some(Offered::Signed(offer)) => {
                    lies.sign(&request.path, plain(200, JSON, &offer.to_string()), &Signed::WELL)
                }
                Some(Offered::Badly(offer)) => {
                    let how = Signed { method: "POST", ..Signed::WELL };
                    lies.sign(&request.path, plain(200, JSON, &offer.to_string()), &how)
                }
            }
        });
        forger.started(config).await
    }

    /// A world in which any answer may be changed. One of the first merchant's that was signed is signed again, by a key of this name.
    pub async fn telling(
        config: SandboxConfig,
        kid: Option<&str>,
        change: impl Fn(&LoggedRequest, Response<Bytes>) -> Response<Bytes> + Send + Sync + 'static,
    ) -> World {
        let mut forger = Self::new();
        if let Some(kid) = kid {
            kid.clone_into(&mut forger.kid);
            forger.is_named = true;
        }
        let lies = forger.clone();
        let config = config.changing_answers(move |request, answer| {
            let is_signed = answer.headers().contains_key("signature") && answer.status().is_success();
            let is_ours = lies.origin.get() == Some(&request.origin);
            let before = answer.body().clone();
            let answer = change(request, answer);
            let is_changed = lies.is_named || *answer.body() != before;
            let answer = match is_signed && is_ours && is_changed && answer.status().is_success() {
                true => lies.sign(&request.path, answer, &Signed::WELL),
                false => answer,
            };
            lies.publish(request, answer)
        });
        forger.started(config).await
    }

    async fn started(&self, config: SandboxConfig) -> World {
        let world = World::with(config).await;
        self.origin.set(world.alpacanica().origin.clone()).unwrap();
        world
    }

    /// Puts the key into the merchants' sets.
    fn publish(&self, request: &LoggedRequest, answer: Response<Bytes>) -> Response<Bytes> {
        if request.path != "/.well-known/jwks.json" {
            return answer;
        }
        let jwk = self.key.public_key().to_jwk().with_kid(&self.kid);
        with_json(answer, |set| {
            if let Some(keys) = set.get_mut("keys").and_then(Value::as_array_mut) {
                keys.push(serde_json::to_value(jwk).unwrap());
            }
        })
    }

    fn resign(&self, request: &LoggedRequest, answer: Response<Bytes>, path: &str, how: &Signed) -> Response<Bytes> {
        match request.path.starts_with(path) && answer.status().is_success() {
            true => self.sign(&request.path, answer, how),
            false => answer,
        }
    }

    fn sign(&self, target: &str, answer: Response<Bytes>, how: &Signed) -> Response<Bytes> {
        let before = ContentDigest::field_value(answer.body(), &[DigestAlg::Sha256]);
        let mut answer = with_json(answer, how.change);
        let after = ContentDigest::field_value(answer.body(), &[DigestAlg::Sha256]);
        let digest = if how.stale_digest { before } else { after };
        answer.headers_mut().insert("content-digest", digest.parse().unwrap());
        let none = http::HeaderMap::new();
        let url = format!("{}{target}", self.origin.get().map_or("http://127.0.0.1", String::as_str));
        let request = Message::request(how.method, &url, &none).unwrap();
        let body = answer.body().clone();
        let message = Message::response(200, answer.headers()).unwrap().in_reply_to(&request);
        let message = message.danger_allow_missing_req().with_body(&body);
        let mut builder = SignatureBuilder::new("sig1").unwrap();
        for name in how.components {
            builder = builder.component(Component::parse(name).unwrap());
        }
        let now = jose::Clock::now(&oid4ac_client::SystemClock);
        builder = builder.created(now + how.created).expires(now + how.expires);
        if let Some(nonce) = how.nonce {
            builder = builder.nonce(nonce).unwrap();
        }
        let signed = builder.keyid(&self.kid).unwrap().alg().sign(&message, self.key.as_ref()).unwrap();
        let (input, signature) = (signed.signature_input().parse().unwrap(), signed.signature().parse().unwrap());
        answer.headers_mut().insert("signature-input", input);
        answer.headers_mut().insert("signature", signature);
        answer
    }
}

/// What a merchant answers where its offer should be.
pub enum Offered {
    Signed(Value),
    /// Signed as an answer to another request.
    Badly(Value),
    /// This status, and nothing signed.
    Plain(u16),
}

/// A forged offer of one piece.
pub fn offer(sku: &str, price: u64) -> Value {
    json!({
        "@context": "https://schema.org", "@type": "Offer", "sku": sku, "name": "an article", "amount_minor": price,
        "currency": "EUR", "in_stock": true,
    })
}

/// An article of a forged catalog.
pub fn article(sku: &str, price: u64) -> Value {
    json!({
        "sku": sku, "title": "an article", "unit_price_minor": price, "currency": "EUR", "in_stock": true,
        "category": "apparel", "ships_to": ["NL"],
    })
}
