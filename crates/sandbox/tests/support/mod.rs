//! An agent written straight on the protocol crates: each step by itself, each part open to falsification.

#![allow(dead_code, unreachable_pub, reason = "every test file uses a part of this")]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use dpop::{Htu, Minter, Nonce, ProofRequest};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use jose::{Alg, PrivateKey, Rng, Signer as _, TokenHeader, base64url, random_token, sha256, sign_compact};
use sandbox::{MerchantInfo, Rule, Sandbox, SandboxConfig};
use sd_jwt::{HeldSdJwt, KeyBinder};
use serde_json::{Value, json};

pub const NOW: i64 = 1_790_000_000;
pub const REDIRECT_URI: &str = "https://my-agent.example.com/callback?keep=1";
pub const SKU: &str = "alpaca-sock-blue-43";

pub struct SystemRng;

impl Rng for SystemRng {
    fn fill(&self, out: &mut [u8]) {
        getrandom::fill(out).unwrap();
    }
}

/// A clock that stands until it is moved.
#[derive(Clone)]
pub struct Clock(Arc<AtomicI64>);

impl Clock {
    pub fn now(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }

    pub fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl jose::Clock for Clock {
    fn now(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{} {:?}", self.status, self.body))
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Status and error code, to be compared in one go.
    pub fn refusal(&self) -> (u16, String) {
        let code = self.json()["error"].as_str().unwrap_or_default().to_owned();
        (self.status.as_u16(), code)
    }

    pub fn location_param(&self, name: &str) -> Option<String> {
        let location = url::Url::parse(self.header("location")?).unwrap();
        location.query_pairs().find(|(n, _)| n == name).map(|(_, value)| value.into_owned())
    }
}

/// One request on a connection of its own.
pub async fn send(url: &str, request: Request<Full<Bytes>>) -> Answer {
    try_send(url, request).await.unwrap()
}

/// The same, where the answer may fail to come.
pub async fn try_send(url: &str, mut request: Request<Full<Bytes>>) -> Result<Answer, hyper::Error> {
    let url = url::Url::parse(url).unwrap();
    let address: SocketAddr = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap()).parse().unwrap();
    let path = format!("{}{}", url.path(), url.query().map(|q| format!("?{q}")).unwrap_or_default());
    *request.uri_mut() = path.parse().unwrap();
    request.headers_mut().entry("host").or_insert(address.to_string().parse().unwrap());
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let (parts, body) = sender.send_request(request).await?.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(Answer { status: parts.status, headers: parts.headers, body })
}

pub async fn get(url: &str) -> Answer {
    send(url, Request::new(Full::default())).await
}

pub async fn post_json(url: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    let mut request = Request::post("/").header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(url, request.body(Full::from(body.to_string())).unwrap()).await
}

/// Any method, with a JSON body or without.
pub async fn call(method: &str, url: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Answer {
    let mut request = Request::builder().method(method).uri("/");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = match body {
        None => Full::default(),
        Some(body) => {
            request = request.header("content-type", "application/json");
            Full::from(body.to_string())
        }
    };
    send(url, request.body(body).unwrap()).await
}

pub type Form = Vec<(String, String)>;

pub fn form(pairs: &[(&str, &str)]) -> Form {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Replaces a parameter, or takes it away.
pub fn set(form: &mut Form, name: &str, value: impl Into<Option<&'static str>>) {
    set_owned(form, name, value.into().map(str::to_owned));
}

pub fn set_owned(form: &mut Form, name: &str, value: Option<String>) {
    form.retain(|(n, _)| n != name);
    if let Some(value) = value {
        form.push((name.to_owned(), value));
    }
}

pub async fn post_form(url: &str, headers: &[(&str, &str)], form: &Form) -> Answer {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let mut request = Request::post("/").header("content-type", "application/x-www-form-urlencoded");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(url, request.body(Full::from(body)).unwrap()).await
}

/// A browser, as far as cookies and forms go.
pub struct Browser {
    origin: String,
    cookie: Mutex<Option<String>>,
}

impl Browser {
    pub fn new(world: &World) -> Self {
        Self { origin: world.sandbox.as_origin().to_owned(), cookie: Mutex::default() }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask(Request::get("/"), path, Full::default()).await
    }

    /// Submits a form, and goes where a redirect leads.
    pub async fn submit(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = Request::post("/").header("content-type", "application/x-www-form-urlencoded");
        let answer = self.ask(request, path, Full::from(body)).await;
        match (answer.status.as_u16(), answer.header("location")) {
            (303, Some(to)) => self.get(to).await,
            _ => answer,
        }
    }

    /// Submits with the token of the page's forms.
    pub async fn submit_from(&self, page: &Answer, path: &str, fields: &[(&str, &str)]) -> Answer {
        let csrf = Self::csrf(page);
        let mut all = vec![("csrf", csrf.as_str())];
        all.extend(fields);
        self.submit(path, &all).await
    }

    /// Signs in as the n-th principal, and comes to `path`.
    pub async fn sign_in(&self, world: &World, principal: usize, path: &str) -> Answer {
        let page = self.get(path).await;
        let id = &world.sandbox.principals()[principal].id;
        self.submit_from(&page, "/portal/sign-in", &[("principal", id), ("next", path)]).await
    }

    pub fn csrf(page: &Answer) -> String {
        let html = String::from_utf8(page.body.to_vec()).unwrap();
        html.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
    }

    async fn ask(&self, mut request: http::request::Builder, path: &str, body: Full<Bytes>) -> Answer {
        if let Some(cookie) = &*self.cookie.lock().unwrap() {
            request = request.header("cookie", cookie);
        }
        let answer = send(&format!("{}{path}", self.origin), request.body(body).unwrap()).await;
        if let Some(cookie) = answer.header("set-cookie") {
            assert!(cookie.ends_with("; Path=/portal; HttpOnly; SameSite=Strict"), "{cookie}");
            *self.cookie.lock().unwrap() = Some(cookie.split(';').next().unwrap().to_owned());
        }
        answer
    }
}

/// A sandbox, and a clock that it and the agent share.
pub struct World {
    pub sandbox: Sandbox,
    pub clock: Clock,
}

impl World {
    pub async fn start() -> Self {
        Self::start_with(|config| config).await
    }

    pub async fn start_with(adapt: impl FnOnce(SandboxConfig) -> SandboxConfig) -> Self {
        let clock = Clock(Arc::new(AtomicI64::new(NOW)));
        let mut config = adapt(SandboxConfig::new().clock(Arc::new(clock.clone())));
        // For mutation runs: with a rule off, some test has to fail.
        if let Ok(name) = std::env::var("SANDBOX_WITHOUT_RULE") {
            config = config.without_rule(*Rule::ALL.iter().find(|rule| rule.name() == name).unwrap());
        }
        Self { sandbox: Sandbox::start(config).await.unwrap(), clock }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.sandbox.as_origin())
    }

    pub fn merchant(&self, index: usize) -> &MerchantInfo {
        &self.sandbox.merchants()[index]
    }

    pub async fn agent(&self) -> Agent<'_> {
        self.agent_of(0).await
    }

    /// An agent of the n-th principal's.
    pub async fn agent_of(&self, principal: usize) -> Agent<'_> {
        let mut agent = Agent::new(self);
        let token = self.sandbox.setup_token_for(&self.sandbox.principals()[principal].id).unwrap();
        let answer = post_json(&self.url("/oauth/register"), &[], &agent.registration(&token)).await;
        assert_eq!(answer.status, 201, "{:?}", answer.body);
        agent.client_id = answer.json()["client_id"].as_str().unwrap().to_owned();
        agent
    }

    pub async fn settlements(&self, merchant: usize) -> Vec<Value> {
        get(&self.merchant(merchant).settlements_url).await.json()["settlements"].as_array().unwrap().clone()
    }
}

pub fn public_jwk(key: &PrivateKey) -> Value {
    let mut jwk: Value = serde_json::from_str(&key.public_key().members_json()).unwrap();
    jwk["kid"] = key.public_key().thumbprint().as_str().into();
    jwk
}

pub struct Agent<'w> {
    pub world: &'w World,
    pub assertion_key: Arc<PrivateKey>,
    pub dpop_key: Arc<PrivateKey>,
    pub minter: Minter,
    pub client_id: String,
    /// The newest DPoP nonce per origin.
    nonces: Mutex<Vec<(String, String)>>,
}

/// A signed offer, as fetched.
pub struct Offer {
    pub body: Value,
    pub digest: String,
    pub nonce: String,
}

/// What one payment asks for.
#[derive(Clone)]
pub struct Purchase {
    pub merchant: usize,
    pub line_items: Value,
    pub amount_minor: u64,
    pub currency: String,
    pub offer_digest: Option<String>,
    pub verifier: String,
    pub state: String,
}

/// What the token endpoint gave.
#[derive(Clone, Debug)]
pub struct Tokens {
    pub access_token: String,
    pub refresh_token: String,
    pub mandate: String,
}

impl<'w> Agent<'w> {
    pub fn new(world: &'w World) -> Self {
        Self::with_dpop_alg(world, Alg::EdDsa)
    }

    pub fn with_dpop_alg(world: &'w World, alg: Alg) -> Self {
        let dpop_key = Arc::new(PrivateKey::generate(alg, &SystemRng));
        Self {
            world,
            assertion_key: Arc::new(PrivateKey::generate(Alg::EdDsa, &SystemRng)),
            minter: Minter::new(Arc::clone(&dpop_key) as Arc<dyn jose::Signer>),
            dpop_key,
            client_id: String::new(),
            nonces: Mutex::default(),
        }
    }

    pub fn registration(&self, setup_token: &str) -> Value {
        json!({
            "client_name": "acme-research-agent",
            "redirect_uris": [REDIRECT_URI, "http://127.0.0.1/cb"],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "private_key_jwt",
            "token_endpoint_auth_signing_alg": "EdDSA",
            "dpop_bound_access_tokens": true,
            "require_pushed_authorization_requests": true,
            "authorization_details_types": ["oid4ac_mandate"],
            "jwks": { "keys": [public_jwk(&self.assertion_key)] },
            "private_key_jwt_jwk": public_jwk(&self.assertion_key),
            "dpop_jwk": public_jwk(&self.dpop_key),
            "software_statement": setup_token,
        })
    }

    pub fn assertion_claims(&self) -> Value {
        let now = self.world.clock.now();
        json!({
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": self.world.url("/oauth/token"),
            "iat": now,
            "exp": now + 60,
            "jti": random_token::<16>(&SystemRng),
        })
    }

    pub fn sign_assertion(&self, claims: &Value) -> String {
        let key = &self.assertion_key;
        let header = TokenHeader::new("JWT").kid(key.public_key().thumbprint().as_str());
        sign_compact(key.as_ref(), &header, claims.to_string().as_bytes()).unwrap()
    }

    pub fn authenticate(&self, form: &mut Form) {
        set(form, "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
        set_owned(form, "client_assertion", Some(self.sign_assertion(&self.assertion_claims())));
        set_owned(form, "client_id", Some(self.client_id.clone()));
    }

    pub fn nonce(&self, url: &str) -> Option<String> {
        let nonces = self.nonces.lock().unwrap();
        nonces.iter().rev().find(|(origin, _)| url.starts_with(origin.as_str())).map(|(_, nonce)| nonce.clone())
    }

    pub fn note_nonce(&self, url: &str, answer: &Answer) {
        if let Some(nonce) = answer.header("dpop-nonce") {
            let url = url::Url::parse(url).unwrap();
            let origin = format!("http://{}:{}", url.host_str().unwrap(), url.port().unwrap());
            self.nonces.lock().unwrap().push((origin, nonce.to_owned()));
        }
    }

    pub fn proof(&self, url: &str, access_token: Option<&str>) -> String {
        self.proof_for("POST", url, access_token)
    }

    pub fn proof_for(&self, method: &str, url: &str, access_token: Option<&str>) -> String {
        let htu = Htu::parse(url).unwrap();
        let nonce = self.nonce(url).map(|nonce| Nonce::parse(&nonce).unwrap());
        let mut request = ProofRequest::new(method, &htu, self.world.clock.now());
        if let Some(nonce) = &nonce {
            request = request.nonce(nonce);
        }
        if let Some(token) = access_token {
            request = request.access_token(token);
        }
        self.minter.mint(&request, &SystemRng).unwrap().expose().to_owned()
    }

    /// Posts with client authentication and a proof, and dances once for the nonce.
    pub async fn post(&self, path: &str, parameters: &Form) -> Answer {
        let url = self.world.url(path);
        let mut form = parameters.clone();
        for _ in 0..2 {
            self.authenticate(&mut form);
            let answer = post_form(&url, &[("dpop", &self.proof(&url, None))], &form).await;
            self.note_nonce(&url, &answer);
            if answer.status != 400 || answer.json()["error"] != "use_dpop_nonce" {
                return answer;
            }
        }
        panic!("no nonce was good enough");
    }

    pub async fn offer(&self, merchant: usize, sku: &str) -> Offer {
        let answer = get(&format!("{}/oid4ac/offer/{sku}", self.world.merchant(merchant).origin)).await;
        assert_eq!(answer.status, 200);
        let canonical = serde_json_canonicalizer::to_vec(&answer.json()).unwrap();
        let input = answer.header("signature-input").unwrap();
        let nonce = input.split("nonce=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        Offer { body: answer.json(), digest: base64url::encode(&sha256(&canonical)), nonce }
    }

    pub fn purchase_of(&self, merchant: usize, offer: &Offer, qty: u64) -> Purchase {
        Purchase {
            merchant,
            line_items: json!([{ "sku": offer.body["sku"], "qty": qty }]),
            amount_minor: offer.body["amount_minor"].as_u64().unwrap() * qty,
            currency: offer.body["currency"].as_str().unwrap().to_owned(),
            offer_digest: Some(offer.digest.clone()),
            verifier: random_token::<32>(&SystemRng),
            state: random_token::<16>(&SystemRng),
        }
    }

    pub fn details(&self, purchase: &Purchase) -> Value {
        let mut details = json!({
            "type": "oid4ac_mandate",
            "amount_minor": purchase.amount_minor,
            "currency": purchase.currency,
            "merchant": self.world.merchant(purchase.merchant).origin,
            "line_items": purchase.line_items,
        });
        if let Some(digest) = &purchase.offer_digest {
            details["offer_digest"] = digest.as_str().into();
        }
        details
    }

    pub fn par_form(&self, purchase: &Purchase) -> Form {
        let challenge = base64url::encode(&sha256(purchase.verifier.as_bytes()));
        form(&[
            ("response_type", "code"),
            ("scope", "openid payment:initiate"),
            ("state", &purchase.state),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("redirect_uri", REDIRECT_URI),
            ("resource", &self.world.merchant(purchase.merchant).origin),
            ("authorization_details", &json!([self.details(purchase)]).to_string()),
            ("dpop_jkt", self.minter.jkt().as_str()),
        ])
    }

    pub async fn push(&self, purchase: &Purchase) -> String {
        let answer = self.post("/oauth/par", &self.par_form(purchase)).await;
        assert_eq!(answer.status, 201, "{:?}", answer.body);
        answer.json()["request_uri"].as_str().unwrap().to_owned()
    }

    pub async fn authorize(&self, request_uri: &str) -> Answer {
        let mut url = url::Url::parse(&self.world.url("/oauth/authorize")).unwrap();
        url.query_pairs_mut().append_pair("client_id", &self.client_id).append_pair("request_uri", request_uri);
        get(url.as_str()).await
    }

    pub async fn code(&self, purchase: &Purchase) -> String {
        let answer = self.authorize(&self.push(purchase).await).await;
        assert_eq!(answer.status, 302, "{:?}", answer.body);
        assert_eq!(answer.location_param("state").as_ref(), Some(&purchase.state));
        answer.location_param("code").unwrap()
    }

    pub fn token_form(&self, purchase: &Purchase, code: &str) -> Form {
        form(&[
            ("grant_type", "authorization_code"),
            ("code", code),
            ("code_verifier", &purchase.verifier),
            ("redirect_uri", REDIRECT_URI),
            ("resource", &self.world.merchant(purchase.merchant).origin),
        ])
    }

    pub async fn redeem(&self, purchase: &Purchase, code: &str) -> Tokens {
        let answer = self.post("/oauth/token", &self.token_form(purchase, code)).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        let text = |name: &str| answer.json()[name].as_str().unwrap_or_default().to_owned();
        Tokens {
            access_token: text("access_token"),
            refresh_token: text("refresh_token"),
            mandate: text("mandate_jwt"),
        }
    }

    pub async fn tokens(&self, purchase: &Purchase) -> Tokens {
        self.redeem(purchase, &self.code(purchase).await).await
    }

    pub fn kb_nonce(merchant_nonce: &str, offer_digest: Option<&str>) -> String {
        base64url::encode(&sha256(format!("{merchant_nonce}{}", offer_digest.unwrap_or_default()).as_bytes()))
    }

    /// The presentation without any disclosure.
    pub fn bind(&self, mandate: &str, aud: &str, nonce: &str, iat: i64) -> String {
        let held = HeldSdJwt::parse(mandate.to_owned()).unwrap();
        KeyBinder::carrying_key(self.dpop_key.as_ref()).bind(held.select(&[]).unwrap(), aud, nonce, iat).unwrap()
    }

    pub fn presentation(&self, purchase: &Purchase, mandate: &str, merchant_nonce: &str) -> String {
        let aud = &self.world.merchant(purchase.merchant).origin;
        let nonce = Self::kb_nonce(merchant_nonce, purchase.offer_digest.as_deref());
        self.bind(mandate, aud, &nonce, self.world.clock.now())
    }

    pub fn body(&self, purchase: &Purchase, mandate: &str, merchant_nonce: &str, key: &str) -> Value {
        json!({
            "presentation": self.presentation(purchase, mandate, merchant_nonce),
            "line_items": purchase.line_items,
            "merchant_nonce": merchant_nonce,
            "idempotency_key": key,
        })
    }

    /// Presents without a token.
    pub async fn present(&self, purchase: &Purchase, mandate: &str, merchant_nonce: &str, key: &str) -> Answer {
        let url = &self.world.merchant(purchase.merchant).verify_url;
        post_json(url, &[], &self.body(purchase, mandate, merchant_nonce, key)).await
    }

    /// Presents with token and proof, and dances once for the DPoP nonce.
    pub async fn present_with_token(&self, purchase: &Purchase, tokens: &Tokens, nonce: &str, key: &str) -> Answer {
        let url = &self.world.merchant(purchase.merchant).verify_url;
        let body = self.body(purchase, &tokens.mandate, nonce, key);
        let authorization = format!("DPoP {}", tokens.access_token);
        for _ in 0..2 {
            let proof = self.proof(url, Some(&tokens.access_token));
            let answer = post_json(url, &[("authorization", &authorization), ("dpop", &proof)], &body).await;
            self.note_nonce(url, &answer);
            if answer.status != 401 || answer.json()["error"] != "use_dpop_nonce" {
                return answer;
            }
        }
        panic!("no nonce was good enough");
    }

    /// A token for the principal's own data.
    pub async fn session(&self, scope: &str) -> Tokens {
        let verifier = random_token::<32>(&SystemRng);
        let challenge = base64url::encode(&sha256(verifier.as_bytes()));
        let resource = self.world.sandbox.as_origin();
        let pushed = form(&[
            ("response_type", "code"),
            ("scope", scope),
            ("state", &random_token::<16>(&SystemRng)),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("redirect_uri", REDIRECT_URI),
            ("resource", resource),
        ]);
        let pushed = self.post("/oauth/par", &pushed).await;
        assert_eq!(pushed.status, 201, "{:?}", pushed.body);
        let answer = self.authorize(pushed.json()["request_uri"].as_str().unwrap()).await;
        let code = answer.location_param("code").unwrap();
        let redeem = form(&[
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("code_verifier", &verifier),
            ("redirect_uri", REDIRECT_URI),
            ("resource", resource),
        ]);
        let answer = self.post("/oauth/token", &redeem).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        let text = |name: &str| answer.json()[name].as_str().unwrap_or_default().to_owned();
        Tokens { access_token: text("access_token"), refresh_token: text("refresh_token"), mandate: String::new() }
    }

    /// A call with a token under the DPoP scheme, and the dance for the nonce.
    pub async fn call(&self, method: &str, path: &str, token: &str, body: Option<&Value>) -> Answer {
        let url = self.world.url(path);
        for _ in 0..2 {
            let proof = self.proof_for(method, url.split('?').next().unwrap(), Some(token));
            let answer =
                call(method, &url, &[("authorization", &format!("DPoP {token}")), ("dpop", &proof)], body).await;
            self.note_nonce(&url, &answer);
            if answer.status != 401 || answer.json()["error"] != "use_dpop_nonce" {
                return answer;
            }
        }
        panic!("no nonce was good enough");
    }

    /// Asks how a consent stands, and dances for the nonce.
    pub async fn poll(&self, poll_uri: &str) -> Answer {
        for _ in 0..2 {
            let proof = self.proof_for("GET", poll_uri, None);
            let answer = call("GET", poll_uri, &[("dpop", &proof)], None).await;
            self.note_nonce(poll_uri, &answer);
            if answer.status != 400 || answer.json()["error"] != "use_dpop_nonce" {
                return answer;
            }
        }
        panic!("no nonce was good enough");
    }

    /// A challenge, asked for by presenting none.
    pub async fn challenge(&self, purchase: &Purchase, mandate: &str) -> String {
        let answer = self.present(purchase, mandate, "", "a-key").await;
        assert_eq!(answer.refusal(), (401, "mandate_nonce_required".to_owned()));
        answer.header("mandate-nonce").unwrap().to_owned()
    }

    /// An offer, a purchase of one of it, and the tokens to pay with.
    pub async fn ready_to_pay(&self, merchant: usize, sku: &str) -> (Offer, Purchase, Tokens) {
        let offer = self.offer(merchant, sku).await;
        let purchase = self.purchase_of(merchant, &offer, 1);
        let tokens = self.tokens(&purchase).await;
        (offer, purchase, tokens)
    }
}
