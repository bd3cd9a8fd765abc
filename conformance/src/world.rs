//! What is checked: a sandbox of the check's own, or servers elsewhere that all checks share.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_sig::{Component, DigestAlg, Message, Verifier};
use jose::{Clock, JwkSet, UnixSeconds, base64url, sha256};
use oid4ac_client::SystemClock;
use sandbox::{PrincipalInfo, Rule, Sandbox, SandboxConfig};
use serde_json::Value;
use tokio::sync::OnceCell;
use url::Url;

use crate::identity::Identity;
use crate::lie::Lie;
use crate::outcome::{Stop, broken, failed, skipped};
use crate::setup::Setup;
use crate::wire::{Answer, Http};

/// Servers elsewhere, and what their operator allows.
#[derive(Debug)]
pub(crate) struct Elsewhere {
    /// The issuer, without a trailing slash unless it is part of the name.
    pub(crate) issuer: Option<String>,
    pub(crate) directory: Option<String>,
    pub(crate) merchants: Vec<String>,
    pub(crate) setup_tokens: Mutex<Vec<String>>,
    pub(crate) payments: Payments,
    pub(crate) patience: Patience,
}

/// Whether something may be bought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Payments {
    Allowed,
    Forbidden,
}

/// Whether a check may wait for minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    Minutes,
    None,
}

/// The servers of one check.
pub(crate) struct World {
    pub(crate) http: Http,
    place: Place,
    metadata: OnceCell<Value>,
    /// Agents that were registered, at most one of each part.
    pub(crate) agents: [OnceCell<Arc<Identity>>; PARTS],
}

enum Place {
    Sandbox { sandbox: Box<Sandbox>, clock: MovableClock },
    Elsewhere(Elsewhere),
}

/// A clock that stands until it is moved.
#[derive(Clone)]
struct MovableClock(Arc<AtomicI64>);

impl Clock for MovableClock {
    fn now(&self) -> UnixSeconds {
        self.0.load(Ordering::SeqCst)
    }
}

/// Which agent: each has keys and a registration of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    /// The one that everything is about.
    Own,
    /// Another of the same principal's.
    Sibling,
    /// Another principal's.
    Foreign,
}

const PARTS: usize = 3;

/// What a check has to know about a merchant.
#[derive(Clone, Debug)]
pub(crate) struct Shop {
    pub(crate) origin: String,
    pub(crate) verify_url: String,
}

/// A signed offer, fetched and verified.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    pub(crate) body: Value,
    pub(crate) digest: String,
    pub(crate) nonce: String,
}

impl World {
    /// A sandbox of its own, without `rule` and telling `lie`.
    pub(crate) async fn sandbox(http: Http, setup: Setup, rule: Option<Rule>, lie: Option<Lie>) -> Result<Self, Stop> {
        let clock = MovableClock(Arc::new(AtomicI64::new(SystemClock.now())));
        let mut config = SandboxConfig::new()
            .clock(Arc::new(clock.clone()))
            .consent_mode(setup.consent_mode)
            .standing_approval(setup.standing_approval);
        if let Some(rule) = rule {
            config = config.without_rule(rule);
        }
        if let Some(lie) = lie {
            config = config.changing_answers(move |request, answer| lie(request, answer));
        }
        match Sandbox::start(config).await {
            Ok(sandbox) => Ok(Self::at(http, Place::Sandbox { sandbox: Box::new(sandbox), clock })),
            Err(error) => broken("starting a sandbox", error),
        }
    }

    pub(crate) fn elsewhere(http: Http, elsewhere: Elsewhere) -> Self {
        Self::at(http, Place::Elsewhere(elsewhere))
    }

    fn at(http: Http, place: Place) -> Self {
        Self { http, place, metadata: OnceCell::new(), agents: Default::default() }
    }

    /// The rules that could have made a difference so far.
    pub(crate) fn decisive_rules(&self) -> Vec<Rule> {
        match &self.place {
            Place::Sandbox { sandbox, .. } => sandbox.decisive_rules().into_iter().collect(),
            Place::Elsewhere(_) => Vec::new(),
        }
    }

    pub(crate) fn now(&self) -> UnixSeconds {
        match &self.place {
            Place::Sandbox { clock, .. } => clock.now(),
            Place::Elsewhere(_) => SystemClock.now(),
        }
    }

    /// Lets time pass.
    pub(crate) async fn wait(&self, seconds: u32) -> Result<(), Stop> {
        match &self.place {
            Place::Sandbox { clock, .. } => {
                clock.0.fetch_add(seconds.into(), Ordering::SeqCst);
                Ok(())
            }
            Place::Elsewhere(Elsewhere { patience: Patience::Minutes, .. }) if seconds <= MAX_WAIT_SECONDS => {
                tokio::time::sleep(Duration::from_secs(seconds.into())).await;
                Ok(())
            }
            Place::Elsewhere(_) if seconds <= MAX_WAIT_SECONDS => {
                skipped(format!("needs {seconds} s to pass: give --slow"))
            }
            Place::Elsewhere(_) => skipped(format!("needs {seconds} s to pass, and this server's clock is its own")),
        }
    }

    /// Turns every clock of the sandbox back, which is not possible elsewhere.
    pub(crate) fn turn_back(&self, seconds: u32) -> Result<(), Stop> {
        match &self.place {
            Place::Sandbox { clock, .. } => {
                clock.0.fetch_sub(seconds.into(), Ordering::SeqCst);
                Ok(())
            }
            Place::Elsewhere(_) => skipped("needs clocks that can be turned back"),
        }
    }

    /// How many payments were settled, if this is known.
    pub(crate) fn settlements(&self) -> Option<usize> {
        match &self.place {
            Place::Sandbox { sandbox, .. } => {
                let entries = sandbox.audit_chain().0;
                Some(entries.iter().filter(|entry| entry["event"] == "oid4ac.payment.succeeded").count())
            }
            Place::Elsewhere(_) => None,
        }
    }

    /// The sandbox itself, for what a principal or an operator would have to do elsewhere.
    pub(crate) fn needs_sandbox(&self, what: &str) -> Result<&Sandbox, Stop> {
        match &self.place {
            Place::Sandbox { sandbox, .. } => Ok(sandbox),
            Place::Elsewhere(_) => skipped(format!("needs {what}, which only the sandbox can be told to do")),
        }
    }

    /// Says that something may be bought.
    pub(crate) fn may_pay(&self) -> Result<(), Stop> {
        match &self.place {
            Place::Elsewhere(Elsewhere { payments: Payments::Forbidden, .. }) => {
                skipped("could buy something: give --allow-payments")
            }
            _ => Ok(()),
        }
    }

    /// What a 429 means: in a sandbox of the check's own it is an answer like any other.
    pub(crate) fn was_too_busy(&self) -> Result<(), Stop> {
        match &self.place {
            Place::Sandbox { .. } => Ok(()),
            Place::Elsewhere(_) => skipped("the server says 429 after all the checks before: run this one by itself"),
        }
    }

    pub(crate) fn issuer(&self) -> Result<&str, Stop> {
        match &self.place {
            Place::Sandbox { sandbox, .. } => Ok(sandbox.as_origin()),
            Place::Elsewhere(elsewhere) => match &elsewhere.issuer {
                Some(issuer) => Ok(issuer),
                None => skipped("needs an authorization server: give --as-origin"),
            },
        }
    }

    /// The origin of the authorization server, which is the `resource` of calls on the principal's own data.
    pub(crate) fn as_origin(&self) -> Result<String, Stop> {
        let issuer = self.issuer()?;
        match Url::parse(issuer) {
            Ok(url) => Ok(url.origin().ascii_serialization()),
            Err(_) => broken("the issuer", "is no URL"),
        }
    }

    pub(crate) fn directory(&self) -> Result<&str, Stop> {
        match &self.place {
            Place::Sandbox { sandbox, .. } => Ok(sandbox.discovery_url()),
            Place::Elsewhere(elsewhere) => match &elsewhere.directory {
                Some(url) => Ok(url),
                None => skipped("needs a directory: give --discovery-url"),
            },
        }
    }

    /// The n-th merchant.
    pub(crate) fn shop(&self, index: usize) -> Result<Shop, Stop> {
        let shop = match &self.place {
            Place::Sandbox { sandbox, .. } => sandbox
                .merchants()
                .get(index)
                .map(|shop| Shop { origin: shop.origin.clone(), verify_url: shop.verify_url.clone() }),
            Place::Elsewhere(elsewhere) => elsewhere
                .merchants
                .get(index)
                .map(|origin| Shop { origin: origin.clone(), verify_url: format!("{origin}/verify-mandate") }),
        };
        match (shop, index) {
            (Some(shop), _) => Ok(shop),
            (None, 0) => skipped("needs a merchant: give --merchant"),
            (None, _) => skipped("needs another merchant: give --merchant again"),
        }
    }

    /// A setup token that is spent by what is done with it.
    pub(crate) fn setup_token(&self, part: Part) -> Result<String, Stop> {
        match &self.place {
            Place::Sandbox { sandbox, .. } => {
                let principal = Self::principal(sandbox, part)?;
                sandbox.setup_token_for(&principal.id).or_else(|error| broken("making a setup token", error))
            }
            Place::Elsewhere(_) if matches!(part, Part::Foreign) => skipped("needs another principal's setup token"),
            Place::Elsewhere(elsewhere) => {
                let mut tokens = elsewhere.setup_tokens.lock().unwrap_or_else(PoisonError::into_inner);
                match tokens.pop() {
                    Some(token) => Ok(token),
                    None => skipped("needs another setup token: give --setup-token once more"),
                }
            }
        }
    }

    /// A setup token for a registration that has to be refused, and so does not spend it.
    pub(crate) fn kept_setup_token(&self) -> Result<String, Stop> {
        match &self.place {
            Place::Sandbox { .. } => self.setup_token(Part::Own),
            Place::Elsewhere(elsewhere) => {
                let tokens = elsewhere.setup_tokens.lock().unwrap_or_else(PoisonError::into_inner);
                match tokens.last() {
                    Some(token) => Ok(token.clone()),
                    None => skipped("needs another setup token: give --setup-token once more"),
                }
            }
        }
    }

    fn principal(sandbox: &Sandbox, part: Part) -> Result<PrincipalInfo, Stop> {
        let index = usize::from(matches!(part, Part::Foreign));
        match sandbox.principals().into_iter().nth(index) {
            Some(principal) => Ok(principal),
            None => broken("choosing a principal", "the sandbox has too few"),
        }
    }

    /// Where the authorization server's metadata is (RFC 8414 §3.1).
    pub(crate) fn metadata_url(&self) -> Result<String, Stop> {
        let issuer = self.issuer()?;
        let Ok(url) = Url::parse(issuer) else { return broken("the issuer", "is no URL") };
        let path = url.path().trim_end_matches('/');
        Ok(format!("{}/.well-known/oauth-authorization-server{path}", url.origin().ascii_serialization()))
    }

    /// The authorization server's metadata, fetched once.
    pub(crate) async fn metadata(&self) -> Result<&Value, Stop> {
        let fetch = async || Ok(self.http.get(&self.metadata_url()?).await?.done(200)?.json());
        self.metadata.get_or_try_init(fetch).await
    }

    /// An endpoint of the authorization server, by its metadata member.
    pub(crate) async fn endpoint(&self, member: &str) -> Result<String, Stop> {
        match self.metadata().await?[member].as_str() {
            Some(url) => Ok(url.to_owned()),
            None => broken("metadata", format!("no `{member}`")),
        }
    }

    /// An endpoint that has a default place under the authorization server's origin.
    pub(crate) async fn endpoint_or(&self, member: &str, path: &str) -> Result<String, Stop> {
        match self.metadata().await?[member].as_str() {
            Some(url) => Ok(url.to_owned()),
            None => Ok(format!("{}{path}", self.as_origin()?)),
        }
    }

    /// The authorization server's keys.
    pub(crate) async fn as_keys(&self) -> Result<JwkSet, Stop> {
        self.keys(&self.endpoint("jwks_uri").await?).await
    }

    /// A merchant's keys.
    pub(crate) async fn shop_keys(&self, shop: &Shop) -> Result<JwkSet, Stop> {
        self.keys(&format!("{}/.well-known/jwks.json", shop.origin)).await
    }

    async fn keys(&self, url: &str) -> Result<JwkSet, Stop> {
        let answer = self.http.get(url).await?.done(200)?;
        JwkSet::parse(&answer.body).or_else(|error| broken("a JWK set", error))
    }

    /// SKUs of a merchant's that are in stock and have an offer, in the order of its catalog.
    pub(crate) async fn skus(&self, shop: &Shop) -> Result<Vec<String>, Stop> {
        let catalog = self.http.get(&format!("{}/.well-known/oid4ac-catalog", shop.origin)).await?.done(200)?.json();
        let items = catalog["items"].as_array().cloned().unwrap_or_default();
        let on_sale = items.iter().filter(|item| item["in_stock"] == true);
        let skus: Vec<_> = on_sale.filter_map(|item| item["sku"].as_str().map(str::to_owned)).collect();
        if skus.is_empty() { skipped("needs a merchant with something in stock") } else { Ok(skus) }
    }

    /// Fetches a signed offer.
    pub(crate) async fn offer(&self, shop: &Shop, sku: &str) -> Result<Offer, Stop> {
        let answer = self.http.get(&format!("{}/oid4ac/offer/{sku}", shop.origin)).await?.done(200)?;
        let nonce =
            answer.header("signature-input").and_then(|input| input.split("nonce=\"").nth(1)?.split('"').next());
        let Some(nonce) = nonce.map(str::to_owned) else { return broken("the offer's signature", "no nonce") };
        let body = answer.json();
        Ok(Offer { digest: digest_of(&body)?, body, nonce })
    }

    /// Verifies a signed answer of a merchant's, as every relying party has to.
    pub(crate) async fn verify_signed(
        &self,
        shop: &Shop,
        url: &str,
        answer: &Answer,
        required: &[&str],
        max_lifetime: u32,
    ) -> Result<http_sig::Verified, Stop> {
        let keys = self.shop_keys(shop).await?;
        let none = http::HeaderMap::new();
        let Ok(request) = Message::request("GET", url, &none) else { return broken("the request", "has no URL") };
        let Ok(response) = Message::response(answer.status, &answer.headers) else {
            return broken("the answer", "has no status");
        };
        let response = response.in_reply_to(&request).danger_allow_missing_req().with_body(&answer.body);
        let is_req = answer.header("signature-input").is_some_and(|input| input.contains("\"@method\";req"));
        let mut verifier = Verifier::new().max_lifetime(max_lifetime).require_content_digest(&[DigestAlg::Sha256]);
        for name in required {
            let req = if is_req && name.starts_with('@') { ";req" } else { "" };
            let Ok(component) = Component::parse(&format!("{name}{req}")) else {
                return broken("a component", "has no name");
            };
            verifier = verifier.require(component);
        }
        let find = |keyid: &str| keys.keys().iter().find(|jwk| jwk.kid() == Some(keyid)).map(jose::Jwk::key);
        verifier.verify(&response, self.now(), find).or_else(|error| failed(error.to_string()))
    }
}

/// base64url(SHA-256(JCS(x))) (RFC 8785).
pub(crate) fn digest_of(value: &Value) -> Result<String, Stop> {
    match serde_json_canonicalizer::to_vec(value) {
        Ok(canonical) => Ok(base64url::encode(&sha256(&canonical))),
        Err(_) => broken("canonical JSON", "not possible"),
    }
}

const MAX_WAIT_SECONDS: u32 = 310;
