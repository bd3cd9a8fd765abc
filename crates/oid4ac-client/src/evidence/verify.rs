//! Verifying a payment again from what was kept of it: offline, by anybody, as of the times recorded.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};
use jose::{Alg, Jwk, JwkSet, UnixSeconds, UnverifiedJws, base64url, json};
use sd_jwt::{Expected, KeyBindingPolicy, Policy, UnboundPresentation, UnverifiedSdJwt, Validity};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{KeyUsed, SignedOffer};
use crate::mandate::{MandateClaims, read_mandate, same_lines};
use crate::offer::{offer_digest, offer_verifier};
use crate::presentation::{ExpectedReceipt, key_binding_nonce};
use crate::signed::Signed;
use crate::{Currency, Endpoint, LineItem, Why, profile};

/// What was kept of one payment, beside the terms it was made for.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "the caller fills it from its records, and leaves nothing out unseen")]
pub struct PaymentEvidence<'a> {
    /// The issuer of the authorization server.
    pub issuer: &'a str,
    /// The merchant's origin.
    pub merchant: &'a str,
    /// What was bought.
    pub line_items: &'a [LineItem],
    /// The mandate's id, as the records have it; `None` if they do not.
    pub mandate_id: Option<&'a str>,
    /// What was to be paid, in minor units.
    pub amount: AgreedAmount,
    /// Its currency.
    pub currency: Currency,
    /// The key under which the merchant settles once.
    pub idempotency_key: &'a str,
    /// The merchant's name for the payment and its time of settlement; `None` if it is not known to be settled.
    pub settled: Option<(&'a str, &'a str)>,
    /// The offers by line; empty for a mandate that came from elsewhere.
    pub offers: &'a [Option<SignedOffer>],
    /// The access token's claims.
    pub access_token_claims: Option<&'a Map<String, Value>>,
    /// The authorization server's key.
    pub issuer_key: Option<&'a KeyUsed>,
    /// The mandate with what was disclosed of it, ending in `~`.
    pub mandate: &'a str,
    /// The key-binding JWT.
    pub key_binding_jwt: &'a str,
    /// What the KB-JWT answers.
    pub merchant_nonce: Option<&'a str>,
    /// The receipt.
    pub receipt_jws: Option<&'a str>,
    /// The merchant's key for it.
    pub receipt_key: Option<&'a KeyUsed>,
}

/// What was to be paid, in minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the payer names an amount, or whoever made the mandate did")]
pub enum AgreedAmount {
    /// Exactly this, of what the mandate allows.
    Exactly(u64),
    /// At most this, which is the cap of a mandate that came from elsewhere: the merchant named the amount.
    UpTo(u64),
}

/// What was found about a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Findings {
    /// Everything that was looked at.
    pub checks: Vec<Check>,
    /// What was paid, in minor units, where a receipt holds that says so.
    pub paid_minor: Option<u64>,
    /// The most that the mandate allows, in minor units, where the mandate holds.
    pub cap_minor: Option<u64>,
    /// Whether both parties' signatures are by keys that the verifier has from elsewhere. Without that, the one who wrote the
    /// evidence down may have made the keys too.
    pub keys_are_trusted: bool,
}

/// What a payment's evidence comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "yes, no, or not to be told from this")]
pub enum EvidenceVerdict {
    /// Keys that the verifier trusts signed that it was allowed and that it was paid.
    Proven,
    /// Nothing is wrong, and nothing shows that it is true.
    Unproven,
    /// Something does not hold.
    Contradicted,
}

/// Keys that the verifier has from elsewhere. Without them, those in the evidence are used as its author gave
/// them, the checks say so, and the payment is not proven.
#[derive(Clone, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "the two parties that sign")]
pub struct TrustedKeys {
    /// The authorization server's.
    pub issuer: Option<JwkSet>,
    /// The merchant's.
    pub merchant: Option<JwkSet>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Check {
    /// What: `offer`, `mandate`, `key_binding`, …
    pub name: String,
    /// What came of it.
    pub result: CheckResult,
    /// One sentence for a person.
    pub detail: String,
}

/// What came of a [`Check`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "yes, no, not to be told from this, or the payer's own word")]
pub enum CheckResult {
    /// It holds.
    Holds,
    /// It does not.
    Fails,
    /// It is only said, and nothing here proves it.
    Unproven,
    /// It is what the payer's records say: hashes fit, which have no key. That is no proof, under whatever keys.
    Recorded,
}

impl fmt::Display for CheckResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Holds => "holds",
            Self::Fails => "FAILS",
            Self::Unproven => "unproven",
            Self::Recorded => "recorded",
        })
    }
}

impl Check {
    /// A check and what came of it.
    #[must_use]
    pub fn new(name: impl Into<String>, result: CheckResult, detail: impl Into<String>) -> Self {
        Self { name: name.into(), result, detail: detail.into() }
    }

    /// [`CheckResult::Holds`] or [`CheckResult::Fails`], each with its sentence.
    #[must_use]
    pub fn of(name: impl Into<String>, outcome: Result<String, String>) -> Self {
        match outcome {
            Ok(detail) => Self::new(name, CheckResult::Holds, detail),
            Err(detail) => Self::new(name, CheckResult::Fails, detail),
        }
    }

    /// [`CheckResult::Recorded`] or [`CheckResult::Fails`], each with its sentence.
    #[must_use]
    pub fn of_records(name: impl Into<String>, outcome: Result<String, String>) -> Self {
        match outcome {
            Ok(detail) => Self::new(name, CheckResult::Recorded, detail),
            Err(detail) => Self::new(name, CheckResult::Fails, detail),
        }
    }
}

impl Findings {
    /// Of a payment that only this can be said of.
    #[must_use]
    pub fn of(check: Check) -> Self {
        Self { checks: vec![check], paid_minor: None, cap_minor: None, keys_are_trusted: false }
    }

    /// How many checks fail.
    #[must_use]
    pub fn fails(&self) -> usize {
        self.checks.iter().filter(|check| check.result == CheckResult::Fails).count()
    }

    /// What all of it comes to.
    #[must_use]
    pub fn verdict(&self) -> EvidenceVerdict {
        match (self.fails(), self.paid_minor, self.cap_minor) {
            (0, Some(_), Some(_)) if self.keys_are_trusted => EvidenceVerdict::Proven,
            (0, ..) => EvidenceVerdict::Unproven,
            _ => EvidenceVerdict::Contradicted,
        }
    }
}

impl PaymentEvidence<'_> {
    /// Verifies everything again, each artefact as of the time it was used.
    #[must_use]
    pub fn verify(&self, trusted: &TrustedKeys) -> Findings {
        let mut checks = self.check_keys(trusted);
        let holds = |name: &str| checks.iter().any(|check| check.name == name && check.result == CheckResult::Holds);
        let is_issuers = holds("issuer_key");
        // A receipt whose key was not kept is verified by the given ones.
        let is_merchants =
            trusted.merchant.is_some() && (holds("merchant_key") || self.merchant_jwks().next().is_none());
        let mandate = self.check_mandate();
        let claims = mandate.as_ref().ok().map(|(_, claims)| claims);
        checks.extend(self.check_offers(claims));
        checks
            .push(Check::of("mandate", mandate.as_ref().map(|_| self.mandate_holds(is_issuers)).map_err(Clone::clone)));
        checks.push(Check::of("mandate_terms", claims.ok_or_else(unread).and_then(|claims| self.check_terms(claims))));
        let presentation = format!("{}{}", self.mandate, self.key_binding_jwt);
        let binding = match &mandate {
            Ok((_, claims)) => self.check_key_binding(&presentation, claims),
            Err(_) => Err(unread()),
        };
        checks.push(Check::of(
            "key_binding",
            binding.as_ref().map(|_| KEY_BINDING_HOLDS.to_owned()).map_err(Clone::clone),
        ));
        checks.push(self.check_nonce(claims, binding.ok().as_deref()));
        checks.push(self.check_access_token(mandate.as_ref().ok().map(|(all, _)| all)));
        let (receipt, paid_minor) = self.check_receipt(claims, trusted.merchant.as_ref(), is_merchants);
        checks.push(receipt);
        let cap_minor = claims.map(|claims| claims.cap.amount_minor());
        Findings { checks, paid_minor, cap_minor, keys_are_trusted: is_issuers && is_merchants }
    }

    fn merchant_jwks(&self) -> impl Iterator<Item = &Map<String, Value>> {
        self.offers.iter().flatten().map(|offer| &offer.jwk).chain(self.receipt_key.map(|key| &key.jwk))
    }

    /// Whose keys they are.
    fn check_keys(&self, trusted: &TrustedKeys) -> Vec<Check> {
        [
            (
                "issuer_key",
                self.issuer_key.map(|key| &key.jwk).into_iter().collect(),
                trusted.issuer.as_ref(),
                self.issuer,
            ),
            ("merchant_key", self.merchant_jwks().collect::<Vec<_>>(), trusted.merchant.as_ref(), self.merchant),
        ]
        .into_iter()
        .map(|(name, jwks, trusted, owner)| match trusted {
            None => Check::new(
                name,
                CheckResult::Unproven,
                format!("that it belongs to {owner} is the file's word; give a key set to make sure"),
            ),
            Some(trusted) => Check::of(
                name,
                match jwks.iter().all(|jwk| is_among(jwk, trusted)) {
                    true if jwks.is_empty() => {
                        return Check::new(
                            name,
                            CheckResult::Unproven,
                            "there is no key to compare with the given ones",
                        );
                    }
                    true => Ok(format!("it is one of the keys given for {owner}")),
                    false => Err(format!("it is none of the keys given for {owner}")),
                },
            ),
        })
        .collect()
    }

    /// Each offer's signature, content and place; then what they come to, and that the mandate is bound to them.
    fn check_offers(&self, mandate: Option<&MandateClaims>) -> Vec<Check> {
        if self.offers.iter().all(Option::is_none) {
            let digest = mandate.and_then(|claims| claims.offer_digest.as_ref());
            return vec![match digest {
                None => Check::new(
                    "offer",
                    CheckResult::Unproven,
                    "there is no signed offer: the price is the payer's word",
                ),
                Some(_) if matches!(self.amount, AgreedAmount::UpTo(_)) => Check::new(
                    "offer",
                    CheckResult::Unproven,
                    "the mandate came from elsewhere, and the offers that it is bound to are not here",
                ),
                Some(_) => Check::of("offer", Err("the mandate is bound to offers that are not here".to_owned())),
            }];
        }
        let mut checks = Vec::new();
        let mut objects = Vec::new();
        let mut all_hold = self.offers.len() == self.line_items.len();
        let mut is_whole = true;
        for (offer, line) in self.offers.iter().zip(self.line_items) {
            let Some(offer) = offer else {
                is_whole = false;
                let detail = format!("no signed offer for {}: its price is the payer's word", shown(line.sku()));
                checks.push(Check::new("offer", CheckResult::Unproven, detail));
                objects.push(None);
                continue;
            };
            let outcome = self.check_offer(offer, line);
            all_hold &= outcome.is_ok();
            objects.push(outcome.as_ref().ok().cloned());
            let at = time(offer.verified_at);
            let holds = outcome.map(|_| format!("signed for {} at {}, verified {at}", shown(line.sku()), offer.url));
            checks.push(Check::of("offer", holds));
        }
        let total = self.line_items.iter().zip(&objects).try_fold(0_u64, |sum, (line, object)| {
            let signed = object.as_ref().and_then(|object| object.get("amount_minor")).and_then(Value::as_u64);
            let price = signed.or(line.unit_price_minor())?;
            sum.checked_add(price.checked_mul(u64::from(line.qty()))?)
        });
        let (result, detail) = match (all_hold, total.map(AgreedAmount::Exactly) == Some(self.amount)) {
            (true, true) if is_whole => (CheckResult::Holds, "the signed prices make the amount"),
            (true, true) => (CheckResult::Unproven, "prices make the amount of which some are the payer's word"),
            (true, false) => (CheckResult::Fails, "the prices do not make the amount"),
            (false, _) => (CheckResult::Fails, "not every line's offer holds"),
        };
        checks.push(Check::new("offer_price", result, detail));
        let digest = offer_digest(objects).ok().flatten();
        checks.push(Check::of(
            "offer_digest",
            match mandate.map(|claims| &claims.offer_digest) {
                None => Err(unread()),
                Some(bound) if all_hold && *bound == digest => {
                    Ok("the mandate is bound to exactly these offers".to_owned())
                }
                Some(_) => Err("the mandate is bound to other offers than these".to_owned()),
            },
        ));
        checks
    }

    fn check_offer(&self, offer: &SignedOffer, line: &LineItem) -> Result<Map<String, Value>, String> {
        let say = |why: Why| why.to_string();
        let place = Endpoint::parse(&offer.url).map_err(|_| "its URL is not usable".to_owned())?;
        if place.origin().as_str() != self.merchant {
            return Err("it is not from the merchant's origin".to_owned());
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &offer.fields {
            let name = HeaderName::try_from(name).map_err(|_| "a field's name is not usable".to_owned())?;
            headers.append(name, HeaderValue::try_from(value).map_err(|_| "a field's value is not usable".to_owned())?);
        }
        let body = base64url::decode(&offer.body).map_err(|_| "its body is not base64url".to_owned())?;
        let jwk = Jwk::from_members(offer.jwk.clone()).map_err(|why| format!("its key: {why}"))?;
        let signed = Signed { place: &place, status: 200, headers: &headers, body: &body };
        let verifier = offer_verifier().map_err(|error| error.to_string())?;
        signed.verify(&verifier, &JwkSet::new(vec![jwk]), offer.verified_at).map_err(say)?;
        let object = json::parse_object(crate::lenient::without_bom(&body)).map_err(|error| error.to_string())?;
        let text = |name: &str| object.get(name).and_then(Value::as_str);
        match (text("sku") == Some(line.sku()), text("currency") == Some(self.currency.code())) {
            (false, _) => Err(say(Why::Mismatch("sku"))),
            (_, false) => Err(say(Why::Currency)),
            _ => Ok(object),
        }
    }

    /// The issuer's signature over the mandate and what was disclosed of it, at the time it was presented.
    fn check_mandate(&self) -> Result<(Map<String, Value>, MandateClaims), String> {
        let key = self.issuer_key.ok_or("the authorization server's key is not here")?;
        let jwk = Jwk::from_members(key.jwk.clone()).map_err(|why| format!("the authorization server's key: {why}"))?;
        if jwk.member("oid4ac_use").is_some() {
            return Err("the authorization server keeps that key for something else".to_owned());
        }
        let issuer = Endpoint::parse(self.issuer).map_err(|_| "the issuer is no URL".to_owned())?;
        let presented_at = issued_at(self.key_binding_jwt).ok_or("the key-binding JWT has no time")?;
        let validity = Validity::At { now: presented_at, leeway_seconds: profile::CLOCK_LEEWAY_SECONDS };
        let policy = Policy::new(profile::AS_TOKENS, profile::MANDATE_TYP, validity).sd_jwt_vc();
        let verified = UnverifiedSdJwt::parse(self.mandate)
            .and_then(|unverified| unverified.verify(jwk.key(), &policy))
            .map_err(|error| error.to_string())?;
        let claims = read_mandate(&verified, &jwk, &issuer).map_err(|why| why.to_string())?;
        Ok((verified.claims().clone(), claims))
    }

    fn mandate_holds(&self, is_issuers: bool) -> String {
        let presented = issued_at(self.key_binding_jwt).map(time).unwrap_or_default();
        format!(
            "signed by {}, with every disclosure in place, and valid when it was presented, {presented}",
            signer(self.issuer, is_issuers)
        )
    }

    fn check_terms(&self, claims: &MandateClaims) -> Result<String, String> {
        let cap = claims.cap.amount_minor();
        let is_allowed = match self.amount {
            AgreedAmount::Exactly(amount) => amount <= cap,
            AgreedAmount::UpTo(most) => most == cap,
        };
        let matches = [
            ("mandate_id", self.mandate_id.is_none_or(|id| id == claims.mandate_id)),
            ("merchant", claims.merchant.as_str() == self.merchant),
            ("currency", claims.cap.currency() == self.currency),
            ("line_items", same_lines(claims, self.line_items)),
            ("amount_minor", is_allowed),
        ];
        match matches.into_iter().find(|(_, same)| !same) {
            Some((name, _)) => Err(format!("`{name}` is not what the mandate allows")),
            None => Ok(format!("it allows up to {} at {} for exactly these items", claims.cap, claims.merchant)),
        }
    }

    /// The holder's signature; answers its nonce.
    fn check_key_binding(&self, presentation: &str, claims: &MandateClaims) -> Result<String, String> {
        let key = self.issuer_key.ok_or_else(unread)?;
        let jwk = Jwk::from_members(key.jwk.clone()).map_err(|why| why.to_string())?;
        let now = issued_at(self.key_binding_jwt).ok_or("it has no time")?;
        let policy = Policy::new(profile::AS_TOKENS, profile::MANDATE_TYP, Validity::CheckedLater).sd_jwt_vc();
        let unverified = UnverifiedSdJwt::parse(presentation).map_err(|error| error.to_string())?;
        let unbound: UnboundPresentation<'_> =
            unverified.verify_presentation(jwk.key(), &policy).map_err(|error| error.to_string())?;
        let binding = KeyBindingPolicy::new(profile::KEY_BINDING, self.merchant, Expected::Anything, now);
        let verified = unbound.verify_key_binding(&binding).map_err(|error| error.to_string())?;
        match verified.key_binding().key().thumbprint().as_str() == claims.jkt {
            true => Ok(verified.key_binding().nonce().to_owned()),
            false => Err("it is by another key than the mandate's".to_owned()),
        }
    }

    /// `nonce` is the hash of the merchant's challenge and the offers' digest, so that it was made for this.
    fn check_nonce(&self, claims: Option<&MandateClaims>, nonce: Option<&str>) -> Check {
        let name = "key_binding_nonce";
        match (self.merchant_nonce, claims, nonce) {
            (None, ..) => Check::new(
                name,
                CheckResult::Unproven,
                "the presentation was made elsewhere, and the challenge that it answers is not here",
            ),
            (Some(challenge), Some(claims), Some(nonce)) => Check::of(
                name,
                match key_binding_nonce(challenge, claims.offer_digest.as_deref()) == nonce {
                    true => Ok("it is the hash of the merchant's challenge and the offers' digest".to_owned()),
                    false => Err("it is not the hash of the merchant's challenge and the offers' digest".to_owned()),
                },
            ),
            _ => Check::of(name, Err("the key-binding JWT does not hold".to_owned())),
        }
    }

    /// Without its signature the token proves nothing; its claims can only contradict what is proven.
    fn check_access_token(&self, mandate: Option<&Map<String, Value>>) -> Check {
        let name = "access_token_claims";
        let Some(claims) = self.access_token_claims else {
            let detail = "there are none: the token was opaque, or none was used";
            return Check::new(name, CheckResult::Unproven, detail);
        };
        let Some(mandate) = mandate else { return Check::of(name, Err(unread())) };
        let text = |of: &Map<String, Value>, name: &str| of.get(name).and_then(Value::as_str).map(str::to_owned);
        let jkt = |of: &Map<String, Value>| of.get("cnf")?.get("jkt")?.as_str().map(str::to_owned);
        let time = |name: &str| claims.get(name).and_then(Value::as_i64);
        let agrees = [
            ("iss", text(claims, "iss").as_deref() == Some(self.issuer)),
            ("aud", text(claims, "aud").as_deref() == Some(self.merchant)),
            ("sub", text(claims, "sub") == text(mandate, "sub")),
            ("cnf.jkt", jkt(claims) == jkt(mandate)),
            ("mandate_id", text(claims, "mandate_id").is_none_or(|id| Some(id) == text(mandate, "mandate_id"))),
            ("exp", time("iat").zip(time("exp")).is_none_or(|(iat, exp)| iat <= exp)),
        ];
        match agrees.into_iter().find(|(_, agrees)| !agrees) {
            Some((member, _)) => Check::of(name, Err(format!("`{member}` contradicts the mandate"))),
            None => Check::new(
                name,
                CheckResult::Recorded,
                "they agree with the mandate; the token itself is secret and not here, so that it said this is the payer's word",
            ),
        }
    }

    /// The merchant's word that it was paid, member by member; and how much, where it holds. One that could not be verified
    /// when it came is verified by the merchant's keys that the reader has.
    fn check_receipt(
        &self,
        mandate: Option<&MandateClaims>,
        trusted: Option<&JwkSet>,
        is_merchants: bool,
    ) -> (Check, Option<u64>) {
        let name = "receipt";
        let unproven = |detail: &str| (Check::new(name, CheckResult::Unproven, detail), None);
        let (Some(receipt), Some((payment_intent_id, settled_at))) = (self.receipt_jws, self.settled) else {
            let detail = match self.settled {
                Some(_) => "the merchant issued none: that it was paid is the payer's word",
                None => "the payment is not known to be settled",
            };
            return unproven(detail);
        };
        let Some(mandate) = mandate else { return (Check::of(name, Err(unread())), None) };
        if self.receipt_key.is_none() && trusted.is_none() {
            return unproven("it was not verified when it came; the merchant's key set is wanted to do it now");
        }
        let claims = UnverifiedJws::parse(receipt).map_err(|error| error.to_string()).and_then(|unverified| {
            let jwk = match (self.receipt_key, trusted) {
                (Some(key), _) => Jwk::from_members(key.jwk.clone()).map_err(|why| format!("its key: {why}"))?,
                (None, trusted) => {
                    let find = |alg: &Alg| trusted?.find(unverified.unverified_kid(), *alg).cloned();
                    let found = profile::RECEIPTS.iter().find_map(find);
                    found.ok_or("it is signed by none of the merchant's given keys")?
                }
            };
            let verified = unverified.verify(jwk.key(), profile::RECEIPTS, profile::RECEIPT_TYP);
            verified.and_then(|verified| verified.claims()).map_err(|error| error.to_string())
        });
        let expected = ExpectedReceipt {
            merchant: self.merchant,
            mandate_id: &mandate.mandate_id,
            idempotency_key: self.idempotency_key,
            payment_intent_id,
            currency: self.currency.code(),
            settled_at,
            offer_digest: mandate.offer_digest.as_deref(),
            amount_minor: match self.amount {
                AgreedAmount::Exactly(amount) => amount..=amount,
                AgreedAmount::UpTo(_) => 1..=mandate.cap.amount_minor(),
            },
        };
        let outcome = claims.and_then(|claims| expected.check(&claims).map_err(|why| why.to_string()));
        let paid_minor = outcome.as_ref().ok().copied();
        let holds =
            outcome.map(|_| format!("signed by {}, and every member agrees", signer(self.merchant, is_merchants)));
        (Check::of(name, holds), paid_minor)
    }
}

/// `iat` of a compact JWS whose signature is somebody else's to check.
fn issued_at(jws: &str) -> Option<UnixSeconds> {
    let payload = base64url::decode(jws.split('.').nth(1)?).ok()?;
    json::parse_object(&payload).ok()?.get("iat")?.as_i64()
}

/// Whether it is one of the given keys, and one that its owner signs such things with: what the file says of that may have
/// been left out of it.
fn is_among(members: &Map<String, Value>, trusted: &JwkSet) -> bool {
    let Ok(jwk) = Jwk::from_members(members.clone()) else { return false };
    let same = |known: &&Jwk| known.key().thumbprint() == jwk.key().thumbprint();
    trusted.keys().iter().find(same).is_some_and(|known| known.member("oid4ac_use") == jwk.member("oid4ac_use"))
}

/// Who signed, as far as it is known.
fn signer(owner: &str, is_known: bool) -> String {
    if is_known { owner.to_owned() } else { format!("the key that the file has for {}", shown(owner)) }
}

fn unread() -> String {
    "the mandate does not hold, so there is nothing to compare with".to_owned()
}

fn shown(text: &str) -> String {
    crate::untrusted::clean(text, 80)
}

fn time(seconds: UnixSeconds) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

const KEY_BINDING_HOLDS: &str = "the holder of the mandate's key signed for this merchant, over exactly this mandate";
