//! A registered agent beside a sandbox, and a transport that lies on the way.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part of the kit")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use jose::{Alg, PrivateKey, Signer as _, TokenHeader};
use oid4ac_client::{
    Client, Currency, Endpoint, HttpClient, IdempotencyKey, Limits, LineItem, MemoryStore, Money, Order, Origin,
    RegisterRequest, ReqwestClient, Sending, SetupToken, SystemRng, TransportError,
};
use sandbox::{MerchantInfo, Sandbox, SandboxConfig};
use serde_json::{Map, Value, json};

pub const CALLBACK: &str = "https://agent.example/callback";
pub const SOCK: &str = "alpaca-sock-blue-43";

/// What a transport does with one request.
pub enum Act {
    /// Sends it and hands the answer on.
    Pass,
    /// Sends it and hands on what this makes of the answer.
    Change(Box<dyn FnOnce(http::Response<Bytes>) -> http::Response<Bytes> + Send>),
    /// Answers without sending.
    Answer(http::Response<Bytes>),
    /// Sends it and loses the answer.
    LoseAnswer,
    /// Fails without sending.
    Fail(TransportError),
    /// Never answers.
    Hang,
}

type Lie = dyn Fn(&Endpoint, &http::Request<Bytes>) -> Act + Send + Sync;

/// A transport that counts, and lies where it is told to.
pub struct Hostile {
    real: ReqwestClient,
    lie: Mutex<Arc<Lie>>,
    sent: Mutex<Vec<String>>,
}

impl Hostile {
    /// Tells another lie from now on.
    pub fn lie(&self, lie: impl Fn(&Endpoint, &http::Request<Bytes>) -> Act + Send + Sync + 'static) {
        *self.lie.lock().unwrap() = Arc::new(lie);
    }

    pub fn be_honest(&self) {
        self.lie(|_, _| Act::Pass);
    }

    /// `METHOD /path` of everything the client asked to be sent since the last call.
    pub fn take_sent(&self) -> Vec<String> {
        std::mem::take(&mut *self.sent.lock().unwrap())
    }
}

impl HttpClient for Hostile {
    fn send<'a>(&'a self, endpoint: &'a Endpoint, request: http::Request<Bytes>, limits: Limits) -> Sending<'a> {
        self.sent.lock().unwrap().push(format!("{} {}", request.method(), endpoint.url().path()));
        let lie = Arc::clone(&*self.lie.lock().unwrap());
        let act = lie(endpoint, &request);
        Box::pin(async move {
            match act {
                Act::Answer(answer) => Ok(answer),
                Act::Fail(error) => Err(error),
                Act::Hang => std::future::pending().await,
                Act::Pass => self.real.send(endpoint, request, limits).await,
                Act::Change(change) => Ok(change(self.real.send(endpoint, request, limits).await?)),
                Act::LoseAnswer => {
                    self.real.send(endpoint, request, limits).await?;
                    Err(TransportError::Lost)
                }
            }
        })
    }
}

pub struct Kit {
    pub sandbox: Sandbox,
    pub client: Client,
    pub net: Arc<Hostile>,
}

impl Kit {
    pub async fn new() -> Self {
        Self::with(SandboxConfig::new()).await
    }

    pub async fn with(config: SandboxConfig) -> Self {
        let kit = Self::unregistered(config).await;
        let token = SetupToken::new(kit.sandbox.setup_token().unwrap());
        kit.client.register(&RegisterRequest::new(token, [CALLBACK])).await.unwrap();
        kit.net.take_sent();
        kit
    }

    pub async fn unregistered(config: SandboxConfig) -> Self {
        let sandbox = Sandbox::start(config).await.unwrap();
        let issuer = Origin::of(sandbox.as_origin()).unwrap();
        let net = Arc::new(Hostile {
            real: ReqwestClient::for_issuer(&issuer, []),
            lie: Mutex::new(Arc::new(|_, _| Act::Pass)),
            sent: Mutex::default(),
        });
        let client = Client::builder(sandbox.as_origin())
            .unwrap()
            .store(Arc::new(MemoryStore::default()))
            .http(Arc::clone(&net) as Arc<dyn HttpClient>)
            .directory(Endpoint::parse(sandbox.discovery_url()).unwrap())
            .build();
        Self { sandbox, client, net }
    }

    /// The merchant with Ed25519 keys, or the one with P-256 keys.
    pub fn merchant(&self, alg: Alg) -> MerchantInfo {
        let id = if alg == Alg::EdDsa { "merch_alpacanica" } else { "merch_bristleandslate" };
        self.sandbox.merchants().iter().find(|merchant| merchant.id == id).unwrap().clone()
    }

    /// One pair of socks at Alpacanica.
    pub fn socks(&self) -> Order {
        self.order(&self.merchant(Alg::EdDsa), 1299, vec![LineItem::new(SOCK, 1)])
    }

    pub fn order(&self, merchant: &MerchantInfo, amount_minor: u64, lines: Vec<LineItem>) -> Order {
        let amount = Money::new(amount_minor, Currency::parse("EUR").unwrap()).unwrap();
        let key = IdempotencyKey::generate(&SystemRng);
        Order::new(&merchant.origin, &merchant.verify_url, amount, lines, CALLBACK, key).unwrap()
    }

    /// What the merchant says it settled.
    pub async fn settlements(&self, merchant: &MerchantInfo) -> Vec<Value> {
        let endpoint = Endpoint::parse(&merchant.settlements_url).unwrap();
        let request = http::Request::new(Bytes::new());
        let answer = self.net.real.send(&endpoint, request, Limits::ANSWER).await.unwrap();
        let body: Value = serde_json::from_slice(answer.body()).unwrap();
        body["settlements"].as_array().unwrap().clone()
    }
}

/// Changes the JSON of an answer whose path ends so.
pub fn edit_json(
    path: &'static str,
    edit: fn(&mut Map<String, Value>),
) -> impl Fn(&Endpoint, &http::Request<Bytes>) -> Act {
    move |endpoint, _| match endpoint.url().path().ends_with(path) {
        true => Act::Change(Box::new(move |answer| with_json(answer, edit))),
        false => Act::Pass,
    }
}

pub fn with_json(answer: http::Response<Bytes>, edit: impl FnOnce(&mut Map<String, Value>)) -> http::Response<Bytes> {
    let (parts, body) = answer.into_parts();
    let mut json: Map<String, Value> = serde_json::from_slice(&body).unwrap();
    edit(&mut json);
    http::Response::from_parts(parts, Bytes::from(serde_json::to_vec(&json).unwrap()))
}

pub fn answer(status: u16, content_type: &str, body: impl Into<Bytes>) -> http::Response<Bytes> {
    http::Response::builder().status(status).header("content-type", content_type).body(body.into()).unwrap()
}

/// A peer's key that the liar made: publishes it as the peer's only one and signs what it likes.
#[derive(Clone)]
pub struct Forger {
    key: Arc<PrivateKey>,
    kid: String,
}

impl Forger {
    pub fn new(alg: Alg) -> Self {
        let key = Arc::new(PrivateKey::generate(alg, &SystemRng));
        let kid = key.public_key().thumbprint().as_str().to_owned();
        Self { key, kid }
    }

    pub fn kid(&self) -> &str {
        &self.kid
    }

    pub fn key(&self) -> &PrivateKey {
        &self.key
    }

    pub fn jwks(&self) -> http::Response<Bytes> {
        let jwk = self.key.public_key().to_jwk().with_kid(&self.kid);
        answer(200, "application/json", serde_json::to_vec(&json!({ "keys": [jwk] })).unwrap())
    }

    /// Signs these claims under this `typ`.
    pub fn sign(&self, typ: &str, claims: &Map<String, Value>) -> String {
        let header = TokenHeader::new(typ).kid(&self.kid);
        jose::sign_compact(self.key.as_ref(), &header, &serde_json::to_vec(claims).unwrap()).unwrap()
    }
}

/// Header and claims of a JWS, unverified: a liar does not care.
pub fn take_apart(token: &str) -> (Map<String, Value>, Map<String, Value>) {
    let mut parts = token.split('.');
    let mut part = || serde_json::from_slice(&jose::base64url::decode(parts.next().unwrap()).unwrap()).unwrap();
    (part(), part())
}

impl Kit {
    /// SKU and price of an item in stock, from the merchant's catalog.
    pub async fn cheap_item(&self, merchant: &MerchantInfo) -> (String, u64) {
        let endpoint = Endpoint::parse(&format!("{}/.well-known/oid4ac-catalog", merchant.origin)).unwrap();
        let answer = self.net.real.send(&endpoint, http::Request::new(Bytes::new()), Limits::ANSWER).await.unwrap();
        let catalog: Value = serde_json::from_slice(answer.body()).unwrap();
        let fits = |item: &&Value| item["in_stock"] == true && item["currency"] == "EUR";
        let item = catalog["items"].as_array().unwrap().iter().find(fits).unwrap().clone();
        (item["sku"].as_str().unwrap().to_owned(), item["unit_price_minor"].as_u64().unwrap())
    }
}

impl Kit {
    /// Another client on the same wire, with nothing in its store.
    pub fn stranger(&self) -> Client {
        Client::builder(self.sandbox.as_origin()).unwrap().http(Arc::clone(&self.net) as Arc<dyn HttpClient>).build()
    }

    /// A registered client of its own, with this clock.
    pub async fn client_with_clock(&self, clock: Arc<dyn jose::Clock>) -> Client {
        let http = Arc::clone(&self.net) as Arc<dyn HttpClient>;
        let client = Client::builder(self.sandbox.as_origin()).unwrap().http(http).clock(clock).build();
        let token = SetupToken::new(self.sandbox.setup_token().unwrap());
        client.register(&RegisterRequest::new(token, [CALLBACK])).await.unwrap();
        client
    }
}
