//! An agent written straight on the protocol crates, not on the client that is checked elsewhere: each step by itself,
//! each part open to falsification.

use std::sync::{Arc, PoisonError};

use jose::{Alg, Signer as _, base64url, random_token, sha256};
use oid4ac_client::SystemRng;
use sd_jwt::{HeldSdJwt, KeyBinder};
use serde_json::{Value, json};
use url::Url;

use crate::forge;
use crate::identity::{Identity, REDIRECT_URI};
use crate::outcome::{Stop, broken, skipped};
use crate::wire::{Answer, Call, Form};
use crate::world::{Offer, Part, Shop, World};

impl Identity {
    pub(crate) async fn register(world: &World, part: Part) -> Result<Self, Stop> {
        let identity = Self::unregistered(Alg::EdDsa);
        let metadata = identity.registration(&world.setup_token(part)?);
        identity.registered_as(world, &metadata).await
    }

    /// Registers with this metadata.
    pub(crate) async fn registered_as(mut self, world: &World, metadata: &Value) -> Result<Self, Stop> {
        let url = world.endpoint("registration_endpoint").await?;
        let answer = world.http.send(Call::post(&url).json(metadata)).await?.done(201)?;
        self.client_id = answer.text("client_id")?;
        Ok(self)
    }
}

impl World {
    /// The agent that plays this part, registered when it is first asked for.
    pub(crate) async fn agent(&self, part: Part) -> Result<Agent<'_>, Stop> {
        let register = async || Identity::register(self, part).await.map(Arc::new);
        let identity = self.agents[part as usize].get_or_try_init(register).await?;
        Ok(Agent::new(self, Arc::clone(identity)))
    }
}

/// An agent at the servers of one check.
pub(crate) struct Agent<'w> {
    pub(crate) world: &'w World,
    pub(crate) identity: Arc<Identity>,
}

/// What one payment asks for.
#[derive(Clone)]
pub(crate) struct Purchase {
    pub(crate) shop: Shop,
    pub(crate) line_items: Value,
    pub(crate) amount_minor: u64,
    pub(crate) currency: String,
    pub(crate) offer_digest: Option<String>,
    pub(crate) offer_id: Option<String>,
    pub(crate) verifier: String,
    pub(crate) state: String,
}

/// What the token endpoint gave.
#[derive(Clone)]
pub(crate) struct Tokens {
    pub(crate) access_token: String,
    pub(crate) refresh_token: String,
    pub(crate) mandate: String,
}

/// Everything for one payment: the offer, what is asked for, and what was granted.
pub(crate) struct Ready {
    pub(crate) offer: Offer,
    pub(crate) purchase: Purchase,
    pub(crate) tokens: Tokens,
}

/// `N` random octets, encoded.
pub(crate) fn random<const N: usize>() -> String {
    random_token::<N>(&SystemRng)
}

impl<'w> Agent<'w> {
    pub(crate) fn new(world: &'w World, identity: Arc<Identity>) -> Self {
        Self { world, identity }
    }

    /// The claims of a client assertion, good for a minute.
    pub(crate) async fn assertion_claims(&self) -> Result<Value, Stop> {
        let now = self.world.now();
        let id = &self.identity.client_id;
        let aud = self.world.endpoint("token_endpoint").await?;
        Ok(json!({ "iss": id, "sub": id, "aud": aud, "iat": now, "exp": now + 60, "jti": random::<16>() }))
    }

    pub(crate) fn assertion_header(&self) -> Value {
        json!({ "alg": "EdDSA", "typ": "JWT", "kid": self.identity.assertion_key.public_key().thumbprint().as_str() })
    }

    pub(crate) fn sign_assertion(&self, claims: &Value) -> String {
        forge::sign(&self.assertion_header(), claims, &self.identity.assertion_key)
    }

    /// Adds client authentication.
    pub(crate) async fn authenticate(&self, form: &mut Form) -> Result<(), Stop> {
        let assertion = self.sign_assertion(&self.assertion_claims().await?);
        self.authenticate_with(form, assertion);
        Ok(())
    }

    /// Adds client authentication by this assertion.
    pub(crate) fn authenticate_with(&self, form: &mut Form, assertion: String) {
        form.set("client_assertion_type", ASSERTION_TYPE);
        form.set("client_assertion", assertion);
        form.set("client_id", self.identity.client_id.clone());
    }

    /// The newest nonce of a server.
    pub(crate) fn nonce(&self, url: &str) -> Option<String> {
        let nonces = self.identity.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        let scope = nonce_scope(url);
        nonces.iter().rev().find(|(known, _)| *known == scope).map(|(_, nonce)| nonce.clone())
    }

    pub(crate) fn note_nonce(&self, url: &str, answer: &Answer) {
        if let Some(nonce) = answer.header("dpop-nonce") {
            let mut nonces = self.identity.nonces.lock().unwrap_or_else(PoisonError::into_inner);
            nonces.push((nonce_scope(url), nonce.to_owned()));
        }
    }

    pub(crate) fn proof_header(&self) -> Value {
        let key = self.identity.dpop_key.public_key();
        json!({ "alg": key.alg().name(), "typ": "dpop+jwt", "jwk": key.to_jwk() })
    }

    /// The claims of a proof, with the newest nonce.
    pub(crate) fn proof_claims(&self, method: &str, url: &str, access_token: Option<&str>) -> Value {
        let htu = url.split(['?', '#']).next().unwrap_or_default();
        let mut claims = json!({ "jti": random::<16>(), "htm": method, "htu": htu, "iat": self.world.now() });
        if let Some(nonce) = self.nonce(url) {
            claims["nonce"] = nonce.into();
        }
        if let Some(token) = access_token {
            claims["ath"] = base64url::encode(&sha256(token.as_bytes())).into();
        }
        claims
    }

    pub(crate) fn sign_proof(&self, claims: &Value) -> String {
        forge::sign(&self.proof_header(), claims, &self.identity.dpop_key)
    }

    pub(crate) fn proof(&self, method: &str, url: &str, access_token: Option<&str>) -> String {
        self.sign_proof(&self.proof_claims(method, url, access_token))
    }

    /// Posts a form with client authentication and a proof, and dances once for the nonce.
    pub(crate) async fn post(&self, url: &str, form: &Form) -> Result<Answer, Stop> {
        let mut form = form.clone();
        let mut danced = false;
        loop {
            self.authenticate(&mut form).await?;
            let proof = self.proof("POST", url, None);
            let answer = self.world.http.send(Call::post(url).form(&form).header("dpop", proof)).await?;
            self.note_nonce(url, &answer);
            if danced || !answer.is(400, "use_dpop_nonce") {
                return Ok(answer);
            }
            danced = true;
        }
    }

    /// Posts a token with client authentication alone: revocation, introspection.
    pub(crate) async fn post_token(&self, endpoint: &str, token: &str) -> Result<Answer, Stop> {
        let mut form = Form::of(&[("token", token)]);
        self.authenticate(&mut form).await?;
        let url = self.world.endpoint(endpoint).await?;
        self.world.http.send(Call::post(&url).form(&form)).await
    }

    pub(crate) async fn introspect(&self, token: &str) -> Result<Value, Stop> {
        Ok(self.post_token("introspection_endpoint", token).await?.done(200)?.json())
    }

    pub(crate) async fn revoke(&self, token: &str) -> Result<Answer, Stop> {
        self.post_token("revocation_endpoint", token).await
    }

    /// One of the first thing that the first merchant has in stock.
    pub(crate) async fn purchase(&self) -> Result<(Offer, Purchase), Stop> {
        self.purchase_at(0).await
    }

    pub(crate) async fn purchase_at(&self, index: usize) -> Result<(Offer, Purchase), Stop> {
        let shop = self.world.shop(index)?;
        let skus = self.world.skus(&shop).await?;
        let offer = self.world.offer(&shop, &skus[0]).await?;
        let purchase = Purchase {
            line_items: json!([{ "sku": offer.body["sku"], "qty": 1 }]),
            amount_minor: offer.body["amount_minor"].as_u64().unwrap_or_default(),
            currency: offer.body["currency"].as_str().unwrap_or_default().to_owned(),
            offer_digest: Some(offer.digest.clone()),
            offer_id: None,
            verifier: random::<32>(),
            state: random::<16>(),
            shop,
        };
        Ok((offer, purchase))
    }

    pub(crate) fn details(purchase: &Purchase) -> Value {
        let mut details = json!({
            "type": "oid4ac_mandate",
            "amount_minor": purchase.amount_minor,
            "currency": purchase.currency,
            "merchant": purchase.shop.origin,
            "line_items": purchase.line_items,
        });
        for (name, value) in [("offer_digest", &purchase.offer_digest), ("offer_id", &purchase.offer_id)] {
            if let Some(value) = value {
                details[name] = value.as_str().into();
            }
        }
        details
    }

    pub(crate) fn par_form(&self, purchase: &Purchase) -> Form {
        Form::of(&[
            ("response_type", "code"),
            ("scope", "openid payment:initiate"),
            ("state", &purchase.state),
            ("code_challenge", &challenge_of(&purchase.verifier)),
            ("code_challenge_method", "S256"),
            ("redirect_uri", REDIRECT_URI),
            ("resource", &purchase.shop.origin),
            ("authorization_details", &json!([Self::details(purchase)]).to_string()),
            ("dpop_jkt", self.identity.dpop_key.public_key().thumbprint().as_str()),
        ])
    }

    /// A pushed request for calls on the principal's own data.
    pub(crate) fn session_form(&self, scope: &str, verifier: &str) -> Result<Form, Stop> {
        Ok(Form::of(&[
            ("response_type", "code"),
            ("scope", scope),
            ("state", &random::<16>()),
            ("code_challenge", &challenge_of(verifier)),
            ("code_challenge_method", "S256"),
            ("redirect_uri", REDIRECT_URI),
            ("resource", &self.world.as_origin()?),
        ]))
    }

    pub(crate) async fn par(&self, form: &Form) -> Result<Answer, Stop> {
        let url = self.world.endpoint(PAR).await?;
        self.post(&url, form).await
    }

    /// Pushes a request that has to be accepted.
    pub(crate) async fn push(&self, form: &Form) -> Result<String, Stop> {
        self.par(form).await?.done(201)?.text("request_uri")
    }

    pub(crate) async fn authorize(&self, request_uri: &str) -> Result<Answer, Stop> {
        let endpoint = self.world.endpoint("authorization_endpoint").await?;
        let Ok(mut url) = Url::parse(&endpoint) else { return broken("the authorization endpoint", "is no URL") };
        let client_id = &self.identity.client_id;
        url.query_pairs_mut().append_pair("client_id", client_id).append_pair("request_uri", request_uri);
        self.world.http.get(url.as_str()).await
    }

    /// A code, given under a standing approval.
    pub(crate) async fn code_for(&self, form: &Form) -> Result<String, Stop> {
        let modes = &self.world.metadata().await?["oid4ac_consent_modes_supported"];
        if !modes.as_array().is_some_and(|modes| modes.contains(&json!("auto"))) {
            return skipped("needs consent mode auto, which this server does not list");
        }
        let answer = self.authorize(&self.push(form).await?).await?.done(302)?;
        match answer.redirected_with("code") {
            Some(code) => Ok(code),
            None if answer.redirected_with("error").as_deref() == Some("access_denied") => {
                skipped("needs a standing approval for this agent, merchant and amount")
            }
            None => broken("authorize", "no code in the redirect"),
        }
    }

    pub(crate) fn token_form(purchase: &Purchase, code: &str) -> Form {
        Self::redemption(&purchase.shop.origin, &purchase.verifier, code)
    }

    pub(crate) fn redemption(resource: &str, verifier: &str, code: &str) -> Form {
        Form::of(&[
            ("grant_type", "authorization_code"),
            ("code", code),
            ("code_verifier", verifier),
            ("redirect_uri", REDIRECT_URI),
            ("resource", resource),
        ])
    }

    pub(crate) async fn token(&self, form: &Form) -> Result<Answer, Stop> {
        let url = self.world.endpoint("token_endpoint").await?;
        self.post(&url, form).await
    }

    pub(crate) async fn refresh(&self, refresh_token: &str, extra: &[(&str, &str)]) -> Result<Answer, Stop> {
        let mut form = Form::of(&[("grant_type", "refresh_token"), ("refresh_token", refresh_token)]);
        extra.iter().for_each(|(name, value)| form.set(name, *value));
        self.token(&form).await
    }

    pub(crate) async fn redeem(&self, form: &Form) -> Result<Tokens, Stop> {
        let answer = self.token(form).await?.done(200)?;
        let mandate = answer.json()["mandate_jwt"].as_str().unwrap_or_default().to_owned();
        let refresh_token = answer.text("refresh_token")?;
        Ok(Tokens { access_token: answer.text("access_token")?, refresh_token, mandate })
    }

    /// A mandate for this purchase, and its tokens.
    pub(crate) async fn tokens(&self, purchase: &Purchase) -> Result<Tokens, Stop> {
        let code = self.code_for(&self.par_form(purchase)).await?;
        let tokens = self.redeem(&Self::token_form(purchase, &code)).await?;
        if tokens.mandate.is_empty() { broken("token", "no `mandate_jwt`") } else { Ok(tokens) }
    }

    /// A token for the principal's own data.
    pub(crate) async fn session(&self, scope: &str) -> Result<Tokens, Stop> {
        let verifier = random::<32>();
        let code = self.code_for(&self.session_form(scope, &verifier)?).await?;
        self.redeem(&Self::redemption(&self.world.as_origin()?, &verifier, &code)).await
    }

    /// Everything for one payment at the first merchant.
    pub(crate) async fn ready(&self) -> Result<Ready, Stop> {
        self.ready_at(0).await
    }

    pub(crate) async fn ready_at(&self, index: usize) -> Result<Ready, Stop> {
        let (offer, purchase) = self.purchase_at(index).await?;
        let tokens = self.tokens(&purchase).await?;
        Ok(Ready { offer, purchase, tokens })
    }

    /// The presentation without any disclosure.
    pub(crate) fn bind(&self, mandate: &str, aud: &str, nonce: &str, iat: i64) -> Result<String, Stop> {
        let Ok(held) = HeldSdJwt::parse(mandate.to_owned()) else { return broken("the mandate", "is no SD-JWT") };
        let Ok(nothing) = held.select(&[]) else { return broken("the mandate", "cannot be presented") };
        let binder = KeyBinder::carrying_key(&self.identity.dpop_key);
        binder.bind(nothing, aud, nonce, iat).or_else(|error| broken("signing", error))
    }

    /// The body of a presentation that answers `merchant_nonce`.
    pub(crate) fn body(
        &self,
        purchase: &Purchase,
        mandate: &str,
        merchant_nonce: &str,
        key: &str,
    ) -> Result<Value, Stop> {
        let nonce = kb_nonce(merchant_nonce, purchase.offer_digest.as_deref());
        let mut body = json!({
            "presentation": self.bind(mandate, &purchase.shop.origin, &nonce, self.world.now())?,
            "line_items": purchase.line_items,
            "merchant_nonce": merchant_nonce,
            "idempotency_key": key,
        });
        if let Some(id) = &purchase.offer_id {
            body["offer_id"] = id.as_str().into();
        }
        Ok(body)
    }

    /// Posts a body to the merchant.
    pub(crate) async fn post_body(&self, shop: &Shop, body: &Value) -> Result<Answer, Stop> {
        self.world.may_pay()?;
        self.world.http.send(Call::post(&shop.verify_url).json(body)).await
    }

    /// Presents without a token.
    pub(crate) async fn present(
        &self,
        purchase: &Purchase,
        mandate: &str,
        merchant_nonce: &str,
        key: &str,
    ) -> Result<Answer, Stop> {
        let body = self.body(purchase, mandate, merchant_nonce, key)?;
        self.post_body(&purchase.shop, &body).await
    }

    /// A challenge for anyone: every answer of a merchant except 200 has one.
    pub(crate) async fn challenge(&self, shop: &Shop) -> Result<String, Stop> {
        let answer = self.world.http.send(Call::post(&shop.verify_url).json(&json!({}))).await?;
        challenge_in(&answer)
    }

    /// A challenge for this holder, asked for by presenting without any.
    pub(crate) async fn own_challenge(&self, purchase: &Purchase, mandate: &str) -> Result<String, Stop> {
        challenge_in(&self.present(purchase, mandate, "", "conformance").await?)
    }

    /// Presents with a fresh challenge.
    pub(crate) async fn pay(&self, purchase: &Purchase, mandate: &str, key: &str) -> Result<Answer, Stop> {
        let challenge = self.challenge(&purchase.shop).await?;
        self.present(purchase, mandate, &challenge, key).await
    }

    /// A call with a token under the DPoP scheme, and the dance for the nonce.
    pub(crate) async fn call(
        &self,
        method: http::Method,
        url: &str,
        token: &str,
        body: Option<&Value>,
    ) -> Result<Answer, Stop> {
        let mut danced = false;
        loop {
            let proof = self.proof(method.as_str(), url, Some(token));
            let mut call = Call::new(method.clone(), url);
            call = call.header("authorization", format!("DPoP {token}")).header("dpop", proof);
            if let Some(body) = body {
                call = call.json(body);
            }
            let answer = self.world.http.send(call).await?;
            self.note_nonce(url, &answer);
            if answer.status == 429 {
                self.world.was_too_busy()?;
            }
            if danced || !answer.is(401, "use_dpop_nonce") {
                return Ok(answer);
            }
            danced = true;
        }
    }
}

fn challenge_in(answer: &Answer) -> Result<String, Stop> {
    match answer.header("mandate-nonce") {
        Some(challenge) => Ok(challenge.to_owned()),
        None => broken("asking for a challenge", answer.summary()),
    }
}

/// PKCE's S256 (RFC 7636 §4.2).
pub(crate) fn challenge_of(verifier: &str) -> String {
    base64url::encode(&sha256(verifier.as_bytes()))
}

/// The nonce of a KB-JWT.
pub(crate) fn kb_nonce(merchant_nonce: &str, offer_digest: Option<&str>) -> String {
    base64url::encode(&sha256(format!("{merchant_nonce}{}", offer_digest.unwrap_or_default()).as_bytes()))
}

/// Authorization server and resource server keep different nonces, at one origin too.
fn nonce_scope(url: &str) -> String {
    let Ok(url) = Url::parse(url) else { return String::new() };
    let is_resource = ["/wallet/", "/privacy/", "/audit/"].iter().any(|path| url.path().starts_with(path));
    format!("{}{}", url.origin().ascii_serialization(), if is_resource { "#resource" } else { "" })
}

/// The PAR endpoint's metadata member.
pub(crate) const PAR: &str = "pushed_authorization_request_endpoint";
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
