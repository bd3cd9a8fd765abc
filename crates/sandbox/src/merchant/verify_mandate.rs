//! `POST /verify-mandate`: the order of checks, and the one place where money moves.

use std::sync::Arc;

use axum::extract::{Request, State as Extract};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use jose::UnixSeconds;
use serde::{Deserialize, Serialize};

use super::Merchant;
use super::ledger::{Claimed, RecordKey, Settlement, amount_minor, fingerprint};
use super::mandate::{LineItem, Mandate};
use super::presentation::{KeyBinding, nonce_mismatch};
use super::receipt::Receipt;
use crate::authorization_server::SettlementReport;
use crate::clock::{random_hex, rfc3339};
use crate::error::{JSON, NO_STORE, Refusal};
use crate::form::has_media_type;
use crate::header::DPOP_NONCE;
use crate::rules::Rule;
use crate::server::read_body;

/// The request's body.
#[derive(Deserialize)]
struct Body {
    presentation: String,
    line_items: Vec<LineItem>,
    merchant_nonce: Option<String>,
    offer_id: Option<String>,
    idempotency_key: String,
}

/// The answer to a settled payment.
#[derive(Serialize)]
struct Answer<'a> {
    mandate_id: &'a str,
    verified_at: &'a str,
    verifier_principal_id: &'a str,
    spend_cap_remaining_minor: u64,
    payment_intent_id: &'a str,
    payment_provider_ref: &'a str,
    settled_at: &'a str,
    receipt_url: &'a str,
    receipt_jws: &'a str,
}

/// `POST /verify-mandate`.
pub(super) async fn verify_mandate(Extract(merchant): Extract<Arc<Merchant>>, request: Request) -> Response {
    // Whose key it is, once that is known: the next challenge goes to it.
    let mut jkt = None;
    let answer = merchant.present(request, &mut jkt).await;
    merchant.respond(answer, jkt)
}

impl Merchant {
    async fn present(&self, request: Request, jkt: &mut Option<String>) -> Result<Bytes, Refusal> {
        let (parts, body) = request.into_parts();
        let octets = read_body(body, MAX_BODY).await?;
        let body = read(&parts.headers, &octets)?;

        // Token and proof first, before any nonce or KB-JWT is spent; then everything the KB-JWT proves.
        let sender = self.check_sender(&parts.headers).await?;
        let (mandate, unbound) = self.verify_mandate_signature(&body.presentation).await?;
        *jkt = Some(mandate.jkt.to_string());
        self.check_token_fits(sender.as_ref(), &mandate)?;
        let binding = self.verify_key_binding(unbound, &mandate, body.merchant_nonce.as_deref(), sender.as_ref())?;

        // The idempotency record before anything that may have changed since: what is settled stays settled.
        let lines: Vec<_> = body.line_items.iter().map(|line| (line.sku.as_str(), line.qty)).collect();
        let fingerprint = fingerprint(&mandate.id, &lines, body.offer_id.as_deref());
        let key = (mandate.jkt.to_string(), body.idempotency_key.clone());
        if let Claimed::Settled(answer) = self.accept(binding, &key, &fingerprint, &mandate)? {
            return Ok(answer);
        }
        let claim = Claim { merchant: self, key: &key };
        self.check_times(&mandate)?;
        let status = self.status_lists.is_revoked(self.clock.now(), &self.issuer, &mandate.status).await;
        let revoked = status.map_err(|_| {
            Refusal::unavailable("mandate_status_unavailable", "the status list cannot be had; nothing was charged")
        })?;
        self.rules.require(Rule::MandateStatus, !revoked, || {
            Refusal::mandate("mandate_status_revoked", "the mandate was revoked")
        })?;
        self.settle(&body, &mandate, &claim)
    }

    /// Accepts the KB-JWT, which spends it and its nonce, and looks at the idempotency record. One critical section.
    fn accept(
        &self,
        binding: KeyBinding,
        key: &RecordKey,
        fingerprint: &str,
        mandate: &Mandate,
    ) -> Result<Claimed, Refusal> {
        let now = self.clock.now();
        let mut state = self.state();
        let state = &mut *state;
        let is_once = self.rules.enforced(Rule::KeyBindingOnce);
        let was_with = state.challenges.spent_with(now, &binding.id).filter(|_| is_once).map(str::to_owned);
        match &was_with {
            // "the same key gets the recorded answer; another key [...] is 422"
            Some(earlier) if *earlier != key.1 => return Err(nonce_mismatch("the KB-JWT was used before")),
            Some(_) => {}
            None => {
                let is_live = match &binding.nonce {
                    Some(nonce) => state.challenges.consume(now, nonce, &mandate.id) || !is_once,
                    None => !is_once || !self.rules.enforced(Rule::KeyBindingNonce),
                };
                if !is_live {
                    return Err(nonce_mismatch("the nonce was used before"));
                }
                if !state.challenges.spend(now, binding.id, &key.1) {
                    return Err(Refusal::unavailable("temporarily_unavailable", "too many KB-JWTs are remembered"));
                }
            }
        }
        match state.ledger.claim(now, key, fingerprint, mandate, &self.rules)? {
            Claimed::First if was_with.is_some() => {
                state.ledger.release(now, key);
                Err(nonce_mismatch("the KB-JWT was used before, and nothing came of it"))
            }
            claimed => Ok(claimed),
        }
    }

    fn check_times(&self, mandate: &Mandate) -> Result<(), Refusal> {
        let now = self.clock.now();
        self.rules.require(Rule::MandateTimes, now < mandate.expires_at, || {
            Refusal::mandate("mandate_expired", "the mandate has expired")
        })?;
        self.rules.require(Rule::MandateTimes, mandate.not_before <= now + MAX_SKEW, || {
            Refusal::mandate("mandate_not_yet_valid", "the mandate is not valid yet")
        })
    }

    /// Checks what is bought and what is left of the cap, charges, and makes the answer. One critical section.
    fn settle(&self, body: &Body, mandate: &Mandate, claim: &Claim<'_>) -> Result<Bytes, Refusal> {
        self.check_lines(body, mandate)?;
        let now = self.clock.now();
        let mut state = self.state();
        let state = &mut *state;
        // Fetching the status list took time.
        self.check_times(mandate)?;

        let skus = mandate.skus();
        let is_listed = |sku: &&str| state.stock.get(sku).is_some_and(|item| item.is_listed);
        let offers = match &mandate.details.offer_digest {
            Some(digest) => {
                let found = state.offers.find(digest, &skus);
                // A line without an offer is one that this merchant signs none for.
                let found =
                    found.filter(|f| f.iter().zip(&skus).all(|(offer, sku)| offer.is_some() || !is_listed(sku)));
                self.rules.require(Rule::OfferKnown, found.is_some(), || {
                    offer_unknown("this merchant never signed the offer")
                })?;
                found
            }
            None => {
                self.rules.require(Rule::OfferKnown, !skus.iter().any(is_listed), || {
                    offer_unknown("the mandate names no offer, and this merchant signs one")
                })?;
                None
            }
        };
        let amount = amount_minor(mandate, offers.as_deref());
        let currency = &mandate.details.currency;
        let same_currency = offers.iter().flatten().flatten().all(|offer| offer.currency == currency)
            && self.profile.accepted_currencies.contains(&currency.as_str());
        let remaining = state.ledger.remaining(now, mandate);
        let fits = same_currency && amount.is_some_and(|amount| amount <= remaining);
        self.rules.require(Rule::Cap, fits, || {
            Refusal::mandate("offer_amount_exceeds_mandate", "the offer is not within what is left of the mandate")
        })?;
        let in_stock = skus.iter().all(|sku| state.stock.get(sku).is_some_and(|item| item.in_stock))
            && offers.iter().flatten().flatten().all(|offer| offer.in_stock);
        self.rules
            .require(Rule::Stock, in_stock, || Refusal::mandate("offer_out_of_stock", "an item is not in stock"))?;

        let amount_minor = amount.unwrap_or(remaining);
        let settled_at = rfc3339(now);
        let payment_intent_id = format!("pi_{}", random_hex::<12>(self.rng.as_ref()));
        let receipt_id = format!("r_{}", random_hex::<16>(self.rng.as_ref()));
        let receipt_url = format!("{}/receipts/{receipt_id}.json", self.origin);
        let receipt_jws = self.sign_receipt(&Receipt {
            iss: &self.origin,
            iat: now,
            mandate_id: &mandate.id,
            idempotency_key: &body.idempotency_key,
            payment_intent_id: &payment_intent_id,
            amount_minor,
            currency,
            offer_digest: mandate.details.offer_digest.as_deref(),
            settled_at: &settled_at,
        })?;
        let answer = serde_json::to_vec(&Answer {
            mandate_id: &mandate.id,
            verified_at: &settled_at,
            verifier_principal_id: &mandate.principal_id,
            spend_cap_remaining_minor: remaining.saturating_sub(amount_minor),
            payment_intent_id: &payment_intent_id,
            payment_provider_ref: &format!("ch_{}", random_hex::<12>(self.rng.as_ref())),
            settled_at: &settled_at,
            receipt_url: &receipt_url,
            receipt_jws: &receipt_jws,
        });
        let answer = Bytes::from(answer.map_err(|_| Refusal::server_error())?);
        let settlement = Settlement {
            idempotency_key: body.idempotency_key.clone(),
            mandate_id: mandate.id.clone(),
            payment_intent_id: payment_intent_id.clone(),
            amount_minor,
            currency: currency.clone(),
            settled_at,
        };
        state.ledger.settle(now, claim.key, mandate, settlement, answer.clone())?;
        state.ledger.receipts.insert_evicting(now, receipt_id, now + RECEIPT_SECONDS, answer.clone());
        self.authorization_server.record_settlement(&SettlementReport {
            principal_id: &mandate.principal_id,
            mandate_id: &mandate.id,
            payment_intent_id: &payment_intent_id,
            amount_minor,
            currency,
            merchant_audience: &self.origin,
            receipt_url: &receipt_url,
        });
        Ok(answer)
    }

    /// The body's lines and offer id are the mandate's.
    fn check_lines(&self, body: &Body, mandate: &Mandate) -> Result<(), Refusal> {
        let sorted = |lines: &[LineItem]| {
            let mut lines: Vec<_> = lines.iter().map(|line| (line.sku.clone(), line.qty)).collect();
            lines.sort_unstable();
            lines
        };
        let (asked, granted) = (sorted(&body.line_items), sorted(&mandate.details.line_items));
        let distinct = granted.windows(2).all(|pair| pair[0].0 != pair[1].0);
        self.rules.require(Rule::LineItems, asked == granted && distinct, || {
            Refusal::mandate("mandate_line_items_mismatch", "the line items are not the mandate's")
        })?;
        let same_offer = mandate.details.offer_id.is_none() || mandate.details.offer_id == body.offer_id;
        self.rules.require(Rule::OfferId, same_offer, || offer_unknown("the offer id is not the mandate's"))
    }

    /// Every answer but 200 carries a new challenge; every answer carries the DPoP nonce for the next proof.
    fn respond(&self, answer: Result<Bytes, Refusal>, jkt: Option<String>) -> Response {
        let now = self.clock.now();
        let mut state = self.state();
        let dpop_nonce = state.dpop_nonces.current(now, self.rng.as_ref());
        let mut response = match answer {
            Ok(body) => (StatusCode::OK, [(CONTENT_TYPE, JSON), (CACHE_CONTROL, NO_STORE)], body).into_response(),
            Err(refusal) => {
                let challenge = state.challenges.issue(now, self.rng.as_ref(), jkt);
                let header = HeaderValue::from_str(&challenge);
                let mut response = refusal.challenge_nonce(challenge).into_response();
                if let Ok(value) = header {
                    response.headers_mut().insert(MANDATE_NONCE, value);
                }
                response
            }
        };
        if let Ok(value) = HeaderValue::from_str(dpop_nonce.as_str()) {
            response.headers_mut().insert(DPOP_NONCE, value);
        }
        response
    }
}

/// The right to an idempotency key. Dropped without a settlement, on a refusal or when the peer hangs up, it lets go.
struct Claim<'a> {
    merchant: &'a Merchant,
    key: &'a RecordKey,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let now: UnixSeconds = self.merchant.clock.now();
        self.merchant.state().ledger.release(now, self.key);
    }
}

fn read(headers: &HeaderMap, octets: &[u8]) -> Result<Body, Refusal> {
    if !has_media_type(headers, "application/json") {
        return Err(Refusal::invalid_request("the body must be application/json"));
    }
    let members = jose::json::parse(octets).map_err(|error| Refusal::invalid_request(format!("the body: {error}")))?;
    let body = Body::deserialize(members).map_err(|_| {
        Refusal::invalid_request("presentation, line_items (sku, qty) or idempotency_key is missing or malformed")
    })?;
    if !(1..=MAX_IDEMPOTENCY_KEY).contains(&body.idempotency_key.chars().count()) {
        return Err(Refusal::invalid_request("idempotency_key must have 1 to 128 characters"));
    }
    let lines_fit = !body.line_items.is_empty() && body.line_items.iter().all(|line| line.qty >= 1);
    if !lines_fit || body.line_items.len() > MAX_LINE_ITEMS {
        return Err(Refusal::invalid_request("line_items must have 1 to 100 elements with a qty of at least 1"));
    }
    Ok(body)
}

fn offer_unknown(why: &'static str) -> Refusal {
    Refusal::mandate("mandate_offer_unknown", why)
}

const MANDATE_NONCE: HeaderName = HeaderName::from_static("mandate-nonce");
const MAX_BODY: usize = 512 * 1024;
const MAX_LINE_ITEMS: usize = 100;
const MAX_IDEMPOTENCY_KEY: usize = 128;
const MAX_SKEW: UnixSeconds = 60;
const RECEIPT_SECONDS: UnixSeconds = 30 * 86_400;
