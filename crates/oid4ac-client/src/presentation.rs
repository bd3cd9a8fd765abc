//! Presenting a mandate to its merchant, and what is made of the answer.

use std::ops::RangeInclusive;
use std::sync::PoisonError;
use std::time::Duration;

use http::StatusCode;
use http::header::RETRY_AFTER;
use jose::{Alg, Jwk, JwsError, PublicKey, SignError, Signer as _, base64url, sha256};
use sd_jwt::{ClaimPath, HeldSdJwt, KeyBinder};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::agent::Agent;
use crate::nonce::Role;
use crate::offer::is_challenge;
use crate::remote::is_refusal;
use crate::secret::AccessToken;
use crate::send::{Answer, Call};
use crate::signed::merchant_jwks;
use crate::{
    Artefact, CheckedOffers, Client, Currency, Endpoint, Error, Evidence, HeldMandate, IdempotencyKey, InFlight,
    Journal, KeyUsed, LineItem, Misbehaviour, Misuse, Origin, Outcome, Payment, Settlement, Stage, Step,
    TransportError, Verdict, Why, profile, untrusted,
};

/// A mandate on its way to a merchant.
pub(crate) struct Presentment<'a> {
    pub(crate) merchant: &'a Origin,
    pub(crate) verify_url: &'a Endpoint,
    pub(crate) currency: Currency,
    /// What was asked for; not known of a mandate that came from elsewhere.
    pub(crate) amount_minor: Option<u64>,
    pub(crate) line_items: &'a [LineItem],
    pub(crate) idempotency_key: &'a IdempotencyKey,
    pub(crate) mandate: &'a HeldMandate,
    pub(crate) offers: Option<&'a CheckedOffers>,
    /// Fresh from the token endpoint, with when it ends.
    pub(crate) access_token: Option<(&'a AccessToken, i64)>,
    /// A presentation made by somebody else, to be sent as it is first.
    pub(crate) as_given: Option<&'a str>,
    /// Whether an earlier presentation may have settled.
    pub(crate) earlier: Earlier,
}

/// Whether it is known that no earlier presentation of this purchase settled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Earlier {
    NoneSent,
    MayHaveSettled,
}

/// What a merchant's answer means for the purchase.
enum Reading {
    Settled(Box<Settlement>, Option<KeyUsed>),
    /// The merchant says no, in a way that the protocol has for it.
    Refused,
    /// This presentation was not taken, which is no verdict on the purchase: present again with the challenge that came.
    Challenge,
    /// The access token or its proof was not taken: present again without, for no merchant requires them.
    TokenRefused,
    /// Still being worked on: ask again after so many seconds.
    InProgress(u64),
    /// It cannot be told.
    Unclear,
}

/// What is said by an error with this status and code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    No,
    Challenge,
    NotThisToken,
    NotYet,
    Nothing,
}

impl Said {
    fn by(status: StatusCode, code: &str, earlier: Earlier, is_on_record: bool) -> Self {
        if !status.is_client_error() || SAID_BY_GATEWAYS.contains(&status.as_u16()) {
            return Self::Nothing;
        }
        match code {
            "mandate_nonce_required" | "mandate_kb_nonce_mismatch" => Self::Challenge,
            "use_dpop_nonce" | "invalid_dpop_proof" | "invalid_token" => Self::NotThisToken,
            "idempotency_in_progress" => Self::NotYet,
            code if earlier == Earlier::NoneSent && is_refusal(code) => Self::No,
            code if is_on_record && DECIDED_AFTER_THE_RECORD.contains(&code) => Self::No,
            _ => Self::Nothing,
        }
    }
}

impl Client {
    /// Presents the mandate, and ends the grant behind it where something could still be charged that should not be: after
    /// a refusal, and after a settlement that leaves a part of the cap.
    pub(crate) async fn present(
        &self,
        agent: Option<&Agent>,
        of: &Presentment<'_>,
        journal: &dyn Journal,
    ) -> Result<Outcome, Error> {
        let outcome = self.present_until_known(agent, of, journal).await;
        match &outcome {
            Ok(Outcome::Settled(_)) if of.amount_minor == Some(of.mandate.cap_minor) => {
                self.forget_grant(of.idempotency_key);
            }
            Ok(Outcome::Settled(_)) | Err(Error::Server(_)) => self.end_grant(of.idempotency_key, journal).await,
            _ => {}
        }
        outcome
    }

    /// Presents until the outcome is known or the attempts are used up; always under the one idempotency key.
    ///
    /// Once a request may have arrived, nothing but a merchant's settlement or final refusal ends the purchase: whatever
    /// else goes wrong leaves it [`Outcome::Unknown`].
    async fn present_until_known(
        &self,
        agent: Option<&Agent>,
        of: &Presentment<'_>,
        journal: &dyn Journal,
    ) -> Result<Outcome, Error> {
        let mut earlier = of.earlier;
        let mut rounds = Rounds::default();
        let mut as_given = of.as_given;
        let mut access_token = of.access_token;
        // Whatever comes of it is looked at before each attempt.
        let _ahead = self.compare_clocks().await;
        let last = loop {
            let made = self.check_clock().and_then(|()| match as_given {
                Some(given) => Ok(Made { text: given.to_owned(), merchant_nonce: None, key_binding: Verdict::Absent }),
                None => self.make(agent, of, earlier),
            });
            let made = match made {
                Ok(made) => made,
                Err(error) if earlier == Earlier::MayHaveSettled => break error,
                Err(error) => return Err(error),
            };
            if let Some(nonce) = &made.merchant_nonce {
                journal.keep(Evidence::MerchantNonce(nonce.clone()))?;
            }
            // From the moment this is on disk, a crash leaves the purchase as one that may have been paid.
            journal.record(Step::Presenting { presentation: made.text.clone() })?;
            let answer = match self.send_presentation(agent, of, &made, access_token).await {
                Ok(answer) => answer,
                Err(error @ Error::Transport { .. }) => {
                    earlier = Earlier::MayHaveSettled;
                    if !rounds.next_attempt() {
                        break error;
                    }
                    tokio::time::sleep(rounds.backoff()).await;
                    continue;
                }
                Err(error) if earlier == Earlier::MayHaveSettled => break error,
                Err(error) => return Err(error),
            };
            self.keep_challenge(of.merchant, &answer);
            let pause = match self.judge(of, &answer, earlier).await {
                Reading::Settled(mut settlement, receipt_key) => {
                    // The settlement matters more than what proves it.
                    if let Some(Err(error)) = receipt_key.map(|key| journal.keep(Evidence::ReceiptKey(key))) {
                        tracing::warn!(%error, "the receipt's key was not kept");
                    }
                    settlement.key_binding = made.key_binding;
                    return settled(of, made.text, *settlement, journal);
                }
                Reading::Refused => {
                    let error = answer.server_error();
                    let code = error.code().to_owned();
                    journal.record(Step::Refused { status: error.status(), code })?;
                    return Err(error.into());
                }
                Reading::Challenge if may_rebind(agent, of) && rounds.next_challenge() => {
                    as_given = None;
                    continue;
                }
                Reading::TokenRefused if access_token.take().is_some() => continue,
                // A refused proof is not a refused purchase.
                Reading::Challenge | Reading::TokenRefused => break unclear(&answer),
                Reading::InProgress(seconds) if rounds.next_wait(seconds) => Duration::from_secs(seconds),
                Reading::InProgress(_) => break unclear(&answer),
                Reading::Unclear if rounds.next_attempt() => rounds.backoff(),
                Reading::Unclear => break unclear(&answer),
            };
            earlier = Earlier::MayHaveSettled;
            tokio::time::sleep(pause).await;
        };
        journal.record(Step::Unknown { reason: last.code().to_owned() })?;
        Ok(Outcome::Unknown(Box::new(InFlight {
            mandate: of.mandate.clone(),
            idempotency_key: of.idempotency_key.clone(),
            last,
        })))
    }

    /// A presentation of our own, for the newest challenge, checked as a merchant would check it.
    fn make(&self, agent: Option<&Agent>, of: &Presentment<'_>, earlier: Earlier) -> Result<Made, Error> {
        let agent = agent.ok_or(Misuse::NotRegistered)?;
        let merchant_nonce = self.merchant_nonce(of, earlier);
        let text = self.bind(agent, of, &merchant_nonce)?;
        // A damaged key file must not show for the first time at the merchant.
        let key = check_key_binding(agent, of, &text).ok_or(SignError::new())?;
        let key_binding = Verdict::by(None, key);
        Ok(Made { text, merchant_nonce: Some(merchant_nonce), key_binding })
    }

    /// The mandate with what the operator lets this merchant see, and a KB-JWT for this merchant and challenge.
    fn bind(&self, agent: &Agent, of: &Presentment<'_>, merchant_nonce: &str) -> Result<String, Error> {
        let held =
            HeldSdJwt::parse(of.mandate.sd_jwt.clone()).map_err(|why| Misbehaviour::new(Artefact::Mandate, why))?;
        let shown = held.select(&self.disclosed_to(of.merchant, &held));
        let shown = shown.map_err(|_| Misbehaviour::new(Artefact::Mandate, Why::Member("_sd")))?;
        let nonce = key_binding_nonce(merchant_nonce, of.mandate.offer_digest.as_deref());
        let binder = KeyBinder::carrying_key(agent.keys.dpop().as_ref());
        Ok(binder.bind(shown, of.merchant.as_str(), &nonce, self.now())?)
    }

    fn disclosed_to(&self, merchant: &Origin, held: &HeldSdJwt) -> Vec<ClaimPath> {
        let Some(claims) = self.inner.disclosures.get(merchant) else { return Vec::new() };
        let path = |claim: &String| claim.split('.').fold(ClaimPath::root(), ClaimPath::member);
        let named: Vec<_> = claims.iter().map(path).collect();
        held.disclosable().filter(|path| named.contains(path)).cloned().collect()
    }

    async fn send_presentation(
        &self,
        agent: Option<&Agent>,
        of: &Presentment<'_>,
        made: &Made,
        access_token: Option<(&AccessToken, i64)>,
    ) -> Result<Answer, Error> {
        let body = Body {
            presentation: &made.text,
            line_items: of.line_items,
            merchant_nonce: made.merchant_nonce.as_deref(),
            offer_id: of.mandate.offer_id.as_deref(),
            idempotency_key: of.idempotency_key.as_str(),
        };
        let body =
            serde_json::to_vec(&body).map_err(|_| Misbehaviour::new(Artefact::Mandate, Why::Member("sd_jwt")))?;
        let mut call = Call::post(Stage::VerifyMandate, of.verify_url, Role::ResourceServer);
        let fresh = access_token.filter(|(_, expires_at)| *expires_at - self.now() > TOKEN_MARGIN_SECONDS);
        if let (Some((token, _)), Some(agent)) = (fresh, agent) {
            call = call.proof(&agent.minter).token(token);
        }
        self.send(call.json(body)).await
    }

    async fn judge(&self, of: &Presentment<'_>, answer: &Answer, earlier: Earlier) -> Reading {
        let status = answer.status();
        if status == StatusCode::OK {
            return match self.read_settlement(of, answer).await {
                Some((settlement, key)) => Reading::Settled(Box::new(settlement), key),
                None => Reading::Unclear,
            };
        }
        let error = answer.server_error();
        let code = error.error().unwrap_or_default();
        match Said::by(status, code, earlier, self.is_on_record(of)) {
            Said::No => Reading::Refused,
            Said::Challenge => Reading::Challenge,
            Said::NotThisToken => Reading::TokenRefused,
            Said::NotYet => Reading::InProgress(retry_after(answer)),
            Said::Nothing => Reading::Unclear,
        }
    }

    /// Whether the merchant still has the record of a settlement under this mandate, had there been one. Only then does
    /// its finding none mean that there was none.
    fn is_on_record(&self, of: &Presentment<'_>) -> bool {
        let issued_at = of.mandate.expires_at - profile::MANDATE_MAX_LIFE_SECONDS;
        self.now() < issued_at + RECORDS_LIVE_SECONDS
    }

    /// A 200 settles only with `payment_intent_id` and `settled_at`, and for the mandate that was presented. A member that
    /// is no identifier, time or URL where it should be one counts as absent: it leads back here, and would be shown.
    async fn read_settlement(&self, of: &Presentment<'_>, answer: &Answer) -> Option<(Settlement, Option<KeyUsed>)> {
        let wire: Map<String, Value> = serde_json::from_slice(answer.json_text()).ok()?;
        let text = |name: &str| wire.get(name).and_then(Value::as_str);
        if text("mandate_id") != Some(of.mandate.mandate_id.as_str()) {
            return None;
        }
        let id = |name: &str| text(name).and_then(untrusted::identifier).map(str::to_owned);
        let time = |name: &str| text(name).and_then(untrusted::time).map(str::to_owned);
        let receipt_url = text("receipt_url").and_then(|url| untrusted::url_at(of.merchant, url));
        let receipt_jws = text("receipt_jws").filter(|jws| jws.len() <= MAX_RECEIPT);
        let mut settlement = Settlement {
            mandate_id: of.mandate.mandate_id.clone(),
            verified_at: time("verified_at"),
            verifier_principal_id: id("verifier_principal_id"),
            // More than the mandate's cap leaves contradicts the mandate.
            spend_cap_remaining_minor: wire
                .get("spend_cap_remaining_minor")
                .and_then(Value::as_u64)
                .filter(|left| *left <= of.mandate.cap_minor.saturating_sub(of.amount_minor.unwrap_or(1))),
            payment_intent_id: id("payment_intent_id")?,
            payment_provider_ref: id("payment_provider_ref"),
            settled_at: time("settled_at")?,
            receipt_url: receipt_url.map(str::to_owned),
            receipt_jws: receipt_jws.and_then(untrusted::compact_jws).map(str::to_owned),
            receipt: Verdict::Absent,
            key_binding: Verdict::Absent,
        };
        let mut receipt_key = None;
        if receipt_jws.is_some() && settlement.receipt_jws.is_none() {
            let not_compact = Misbehaviour::new(Artefact::Receipt, JwsError::NotCompact);
            settlement.receipt = Verdict::invalid(not_compact);
        }
        if let Some(jws) = settlement.receipt_jws.clone() {
            // The settlement is not recorded yet, and a call that is ended by now has seconds left for it.
            let timed_out = Error::Transport { stage: Stage::Jwks, error: TransportError::TimedOut };
            let checked = tokio::time::timeout(FOR_RECEIPT_KEYS, self.check_receipt(of, &settlement, &jws)).await;
            settlement.receipt = match checked.unwrap_or(Err(timed_out)) {
                Ok((jwk, charged_minor)) => {
                    settlement.note_charged(of, charged_minor);
                    match of.amount_minor.is_some_and(|asked| asked != charged_minor) {
                        true => Verdict::invalid(Misbehaviour::new(Artefact::Receipt, Why::Mismatch("amount_minor"))),
                        false => {
                            receipt_key = Some(KeyUsed::new(&jwk, self.now()));
                            Verdict::by(jwk.kid(), jwk.key())
                        }
                    }
                }
                Err(error @ Error::PeerMisbehaved(_)) => Verdict::invalid(error),
                // The keys could not be had: that says nothing of the receipt.
                Err(error) => Verdict::Unchecked { reason: error.to_string() },
            };
        }
        Some((settlement, receipt_key))
    }

    /// The key that the receipt verifies by, and what it says was charged: what was asked for, or more of the cap.
    async fn check_receipt(&self, of: &Presentment<'_>, settled: &Settlement, jws: &str) -> Result<(Jwk, u64), Error> {
        let refused = |why: Why| Misbehaviour::new(Artefact::Receipt, why);
        let unverified = jose::UnverifiedJws::parse(jws).map_err(|why| refused(why.into()))?;
        let keys = merchant_jwks(of.merchant)?;
        let alg: Alg = unverified.unverified_alg();
        let jwk = self.key(&keys, unverified.unverified_kid(), alg, Artefact::Receipt).await?;
        let verified =
            unverified.verify(jwk.key(), profile::RECEIPTS, profile::RECEIPT_TYP).map_err(|why| refused(why.into()))?;
        let claims = verified.claims().map_err(|why| refused(why.into()))?;
        let expected = ExpectedReceipt {
            merchant: of.merchant.as_str(),
            mandate_id: &settled.mandate_id,
            idempotency_key: of.idempotency_key.as_str(),
            payment_intent_id: &settled.payment_intent_id,
            currency: of.currency.code(),
            settled_at: &settled.settled_at,
            offer_digest: of.mandate.offer_digest.as_deref(),
            amount_minor: of.amount_minor.unwrap_or(1)..=of.mandate.cap_minor,
        };
        let charged_minor = expected.check(&claims).map_err(refused)?;
        Ok((jwk, charged_minor))
    }

    /// The last unused challenge, else the nonce of the first line's offer, else nothing, which a merchant answers with a
    /// challenge.
    fn merchant_nonce(&self, of: &Presentment<'_>, earlier: Earlier) -> String {
        let mut challenges = self.inner.challenges.lock().unwrap_or_else(PoisonError::into_inner);
        let offer_nonce = || match earlier {
            Earlier::NoneSent => of.offers.and_then(|offers| offers.nonce.clone()),
            // Accepted once per mandate, which may have happened.
            Earlier::MayHaveSettled => None,
        };
        challenges.remove(of.merchant).or_else(offer_nonce).unwrap_or_default()
    }

    fn keep_challenge(&self, merchant: &Origin, answer: &Answer) {
        if answer.status() == StatusCode::OK {
            return;
        }
        let in_body = || serde_json::from_slice::<ChallengeBody>(answer.json_text()).ok()?.challenge_nonce;
        let challenge = answer.header("mandate-nonce").map(str::to_owned).or_else(in_body);
        if let Some(challenge) = challenge.filter(|text| is_challenge(text)) {
            let mut challenges = self.inner.challenges.lock().unwrap_or_else(PoisonError::into_inner);
            if challenges.len() >= MAX_CHALLENGES {
                challenges.clear();
            }
            challenges.insert(merchant.clone(), challenge);
        }
    }
}

/// What a receipt has to say.
pub(crate) struct ExpectedReceipt<'a> {
    pub(crate) merchant: &'a str,
    pub(crate) mandate_id: &'a str,
    pub(crate) idempotency_key: &'a str,
    pub(crate) payment_intent_id: &'a str,
    pub(crate) currency: &'a str,
    pub(crate) settled_at: &'a str,
    pub(crate) offer_digest: Option<&'a str>,
    pub(crate) amount_minor: RangeInclusive<u64>,
}

impl ExpectedReceipt<'_> {
    /// Compares the claims of a receipt whose signature holds, and answers what it says was charged.
    pub(crate) fn check(&self, claims: &Map<String, Value>) -> Result<u64, Why> {
        let expected = [
            ("iss", Some(self.merchant)),
            ("mandate_id", Some(self.mandate_id)),
            ("idempotency_key", Some(self.idempotency_key)),
            ("payment_intent_id", Some(self.payment_intent_id)),
            ("currency", Some(self.currency)),
            ("settled_at", Some(self.settled_at)),
            ("offer_digest", self.offer_digest),
        ];
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        if let Some((name, _)) = expected.into_iter().find(|(name, value)| text(name) != *value) {
            return Err(Why::Mismatch(name));
        }
        let charged = claims.get("amount_minor").and_then(Value::as_u64);
        let charged = charged.filter(|charged| self.amount_minor.contains(charged));
        let charged = charged.ok_or(Why::Mismatch("amount_minor"))?;
        match claims.get("iat").is_some_and(Value::is_i64) {
            true => Ok(charged),
            false => Err(Why::Member("iat")),
        }
    }
}

impl Settlement {
    /// Notes what the merchant's signed receipt says was charged. That outweighs what the answer around it says is left of
    /// the cap, wherever it was not asked for exactly so much.
    fn note_charged(&mut self, of: &Presentment<'_>, charged_minor: u64) {
        let left_minor = of.mandate.cap_minor.saturating_sub(charged_minor);
        match self.spend_cap_remaining_minor {
            None if of.amount_minor == Some(charged_minor) => {}
            _ => self.spend_cap_remaining_minor = Some(left_minor),
        }
    }
}

/// A presentation about to be sent.
struct Made {
    text: String,
    /// In the clear for the merchant to look up; not known for one that was made elsewhere.
    merchant_nonce: Option<String>,
    key_binding: Verdict,
}

fn settled(
    of: &Presentment<'_>,
    presentation: String,
    settlement: Settlement,
    journal: &dyn Journal,
) -> Result<Outcome, Error> {
    journal.record(Step::Settled(Box::new(settlement.clone())))?;
    Ok(Outcome::Settled(Box::new(Payment {
        offers: of.offers.cloned(),
        mandate: of.mandate.clone(),
        presentation,
        settlement,
    })))
}

/// A mandate bound to another key can only be presented as its holder made it.
fn may_rebind(agent: Option<&Agent>, of: &Presentment<'_>) -> bool {
    agent.is_some_and(|agent| agent.holds(of.mandate))
}

/// The key that the KB-JWT verifies by, if all of it is as this merchant will want it.
fn check_key_binding<'a>(agent: &'a Agent, of: &Presentment<'_>, presentation: &str) -> Option<&'a PublicKey> {
    let key = agent.keys.dpop().public_key();
    let kb_jwt = presentation.rsplit('~').next()?;
    let jws = jose::UnverifiedJws::parse(kb_jwt).ok()?;
    let claims = jws.verify_carrying_key(key, profile::KEY_BINDING, &["kb+jwt"]).ok()?.claims().ok()?;
    let presented = &presentation.as_bytes()[..presentation.len() - kb_jwt.len()];
    let same = |name: &str, value: &str| claims.get(name).and_then(Value::as_str) == Some(value);
    (same("aud", of.merchant.as_str()) && same("sd_hash", &base64url::encode(&sha256(presented)))).then_some(key)
}

/// `nonce` = b64url(SHA-256(merchant nonce ‖ offer digest)), the digest being empty where the mandate has none.
pub(crate) fn key_binding_nonce(merchant_nonce: &str, offer_digest: Option<&str>) -> String {
    base64url::encode(&sha256(format!("{merchant_nonce}{}", offer_digest.unwrap_or_default()).as_bytes()))
}

fn unclear(answer: &Answer) -> Error {
    match answer.status() {
        StatusCode::OK => Misbehaviour::new(Artefact::Settlement, Why::Member("payment_intent_id")).into(),
        _ => answer.server_error().into(),
    }
}

fn retry_after(answer: &Answer) -> u64 {
    answer.header(RETRY_AFTER.as_str()).and_then(|seconds| seconds.parse().ok()).unwrap_or(1).clamp(1, 5)
}

/// How often a presentation is repeated, and why.
#[derive(Default)]
struct Rounds {
    attempts: u32,
    challenges: u32,
    waited_seconds: u64,
}

impl Rounds {
    fn next_attempt(&mut self) -> bool {
        self.attempts += 1;
        self.attempts < MAX_ATTEMPTS
    }

    /// One is normal; more only where answers were lost and challenges with them.
    fn next_challenge(&mut self) -> bool {
        self.challenges += 1;
        self.challenges <= 1 + self.attempts
    }

    fn next_wait(&mut self, seconds: u64) -> bool {
        self.waited_seconds += seconds;
        self.waited_seconds <= MAX_WAIT_SECONDS
    }

    fn backoff(&self) -> Duration {
        Duration::from_millis(200 * 4_u64.pow(self.attempts.min(4) - 1))
    }
}

#[derive(Serialize)]
struct Body<'a> {
    presentation: &'a str,
    line_items: &'a [LineItem],
    #[serde(skip_serializing_if = "Option::is_none")]
    merchant_nonce: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offer_id: Option<&'a str>,
    idempotency_key: &'a str,
}

#[derive(Deserialize)]
struct ChallengeBody {
    challenge_nonce: Option<String>,
}

/// How long the keys that a receipt is verified by are waited for.
const FOR_RECEIPT_KEYS: Duration = Duration::from_secs(5);

/// What is said of a server that may still be at work.
const SAID_BY_GATEWAYS: [u16; 4] = [408, 425, 429, 499];

/// What a merchant looks at only when it has found no settlement under the idempotency key, and what stays true of a
/// request that is still on its way. That the cap is used up is not among them: the mandate covers the amount, so somebody
/// has used it.
const DECIDED_AFTER_THE_RECORD: [&str; 2] = ["mandate_expired", "mandate_status_revoked"];

/// Merchants keep records for 7 days at least; an hour is left for clocks that differ.
const RECORDS_LIVE_SECONDS: i64 = 7 * 86_400 - 3_600;
const MAX_ATTEMPTS: u32 = 3;
const MAX_WAIT_SECONDS: u64 = 10;
const TOKEN_MARGIN_SECONDS: i64 = 30;
const MAX_RECEIPT: usize = 16 * 1024;
const MAX_CHALLENGES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::REFUSALS;

    /// Codes about the presentation alone: never a verdict on the purchase.
    const OF_THE_PROOF: [(&str, Said); 6] = [
        ("mandate_nonce_required", Said::Challenge),
        ("mandate_kb_nonce_mismatch", Said::Challenge),
        ("use_dpop_nonce", Said::NotThisToken),
        ("invalid_dpop_proof", Said::NotThisToken),
        ("invalid_token", Said::NotThisToken),
        ("idempotency_in_progress", Said::NotYet),
    ];

    /// Codes that are no refusal with any status: of other endpoints, of other layers, of ours, nearly listed, none at all.
    const NOT_LISTED: [&str; 22] = [
        "",
        "idempotency_conflict",
        "mandate_status_unavailable",
        "invalid_client",
        "invalid_grant",
        "access_denied",
        "unauthorized_client",
        "forbidden",
        "not_found",
        "server_error",
        "temporarily_unavailable",
        "payment_declined",
        "card_declined",
        "policy_unconfirmed",
        "not_registered",
        "approval_required",
        "frozen",
        "offer_out_of_stock ",
        "OFFER_OUT_OF_STOCK",
        "offer_out_of_stock_",
        "mandate_expired\u{0}",
        "mandate",
    ];

    fn statuses() -> impl Iterator<Item = StatusCode> {
        (100..=999).filter_map(|status| StatusCode::from_u16(status).ok())
    }

    fn may_refuse(status: StatusCode) -> bool {
        (400..500).contains(&status.as_u16()) && ![408, 425, 429, 499].contains(&status.as_u16())
    }

    #[test]
    fn only_a_listed_code_with_a_status_of_the_merchants_is_a_refusal() {
        for status in statuses() {
            for code in REFUSALS {
                let wanted = if may_refuse(status) { Said::No } else { Said::Nothing };
                for is_on_record in [true, false] {
                    assert_eq!(Said::by(status, code, Earlier::NoneSent, is_on_record), wanted, "{status} {code}");
                }
            }
            for code in NOT_LISTED {
                for earlier in [Earlier::NoneSent, Earlier::MayHaveSettled] {
                    assert_eq!(Said::by(status, code, earlier, true), Said::Nothing, "{status} {code}");
                }
            }
        }
    }

    #[test]
    fn a_refused_proof_is_never_a_refused_purchase() {
        for status in statuses() {
            for (code, said) in OF_THE_PROOF {
                for earlier in [Earlier::NoneSent, Earlier::MayHaveSettled] {
                    let wanted = if may_refuse(status) { said } else { Said::Nothing };
                    assert_eq!(Said::by(status, code, earlier, true), wanted, "{status} {code}");
                }
            }
        }
    }

    #[test]
    fn what_may_have_settled_is_refused_only_by_what_a_merchant_finds_after_its_record() {
        for status in statuses() {
            for code in REFUSALS {
                let is_after = ["mandate_expired", "mandate_status_revoked"].contains(&code);
                let wanted = if may_refuse(status) && is_after { Said::No } else { Said::Nothing };
                assert_eq!(Said::by(status, code, Earlier::MayHaveSettled, true), wanted, "{status} {code}");
                // Once the record may be gone, that it finds none means nothing.
                assert_eq!(Said::by(status, code, Earlier::MayHaveSettled, false), Said::Nothing, "{status} {code}");
            }
        }
    }

    #[test]
    fn the_list_of_refusals_is_the_protocols_less_what_is_about_the_presentation() {
        for (code, _) in OF_THE_PROOF {
            assert!(!REFUSALS.contains(&code), "{code}");
        }
        assert!(DECIDED_AFTER_THE_RECORD.iter().all(|code| REFUSALS.contains(code)));
    }
}
