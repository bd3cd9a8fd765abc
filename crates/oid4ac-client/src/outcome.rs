use jose::PublicKey;
use serde::{Deserialize, Serialize};

use crate::{Error, IdempotencyKey, untrusted};

/// How a payment stands when [`crate::Client::pay`] returns. A human's decision is a value here, not an error.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// The merchant settled.
    Settled(Box<Payment>),
    /// A human has to decide. Show them the URL, then call `pay` again with the same order and journal.
    Consent(Consent),
    /// The human or the server said no, or a mandate was not issued: [`Evidence::NotIssued`](crate::Evidence::NotIssued) has
    /// what is known of it. No money moved.
    Declined,
    /// Nobody decided in time. No money moved.
    ConsentExpired,
    /// The journal stopped it, for now or for good, and knows why. Nothing was presented.
    Stopped,
    /// It cannot be told whether the merchant settled. Call `pay` again with the same order and journal: the same
    /// purchase is presented under the same idempotency key, and settles at most once.
    Unknown(Box<InFlight>),
}

/// A settled payment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Payment {
    /// The offers it was made for. `None` for a mandate that came from elsewhere.
    pub offers: Option<CheckedOffers>,
    /// The mandate it was made under.
    pub mandate: HeldMandate,
    /// The presentation that the merchant accepted; it is spent.
    pub presentation: String,
    /// What the merchant answered.
    pub settlement: Settlement,
}

/// What the mandate will be bound to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CheckedOffers {
    /// b64url of SHA-256 over the offers in canonical form, or none where the merchant signs none.
    pub digest: Option<String>,
    /// The nonce in the signature of the first line's offer. The merchant takes it in place of a challenge, once per
    /// mandate and while the offer lives.
    pub nonce: Option<String>,
    /// How the offers were verified.
    pub verdict: Verdict,
    /// Lines for which the merchant signs none: their price is the caller's word.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unsigned_skus: Vec<String>,
}

impl CheckedOffers {
    /// No offer at all.
    pub(crate) const NONE: Self =
        Self { digest: None, nonce: None, verdict: Verdict::Absent, unsigned_skus: Vec::new() };

    /// Whether the merchant's signature stands behind every line.
    #[must_use]
    pub fn are_verified(&self) -> bool {
        self.verdict.is_verified() && self.unsigned_skus.is_empty()
    }
}

/// A mandate that was issued to this agent and verified.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HeldMandate {
    /// Its identifier.
    pub mandate_id: String,
    /// The SD-JWT with all its disclosures, ending in `~`. Disclosures are the principal's: keep it where only they can read.
    pub sd_jwt: String,
    /// The most that can be charged under it, in minor units.
    pub cap_minor: u64,
    /// When it expires, in seconds since the epoch.
    pub expires_at: i64,
    /// The digest of the offers that it carries.
    pub offer_digest: Option<String>,
    /// The offer id that it was asked for. Every presentation repeats it, whatever a later call says: the merchant knows the
    /// purchase under the idempotency key by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer_id: Option<String>,
    /// The thumbprint of the key it is bound to; ours, where the mandate was issued to this agent.
    pub jkt: Option<String>,
    /// How the access token was verified.
    pub access_token: Verdict,
    /// How the mandate was verified.
    pub mandate: Verdict,
}

impl HeldMandate {
    /// The issuer-signed JWT alone, without any disclosure.
    #[must_use]
    pub fn mandate_jwt(&self) -> &str {
        self.sd_jwt.split('~').next().unwrap_or_default()
    }
}

/// What a merchant answered when it settled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Settlement {
    /// The mandate charged.
    pub mandate_id: String,
    /// When the merchant verified it (RFC 3339).
    pub verified_at: Option<String>,
    /// The principal, as the merchant knows them.
    pub verifier_principal_id: Option<String>,
    /// What is left of the mandate's cap, in minor units.
    pub spend_cap_remaining_minor: Option<u64>,
    /// The merchant's name for the payment.
    pub payment_intent_id: String,
    /// The payment provider's name for it.
    pub payment_provider_ref: Option<String>,
    /// When it was settled (RFC 3339).
    pub settled_at: String,
    /// Where a receipt can be seen.
    pub receipt_url: Option<String>,
    /// The merchant's signed receipt.
    pub receipt_jws: Option<String>,
    /// How the receipt was verified. Not being so does not unsettle the payment.
    pub receipt: Verdict,
    /// How our own KB-JWT verifies, by the key that the mandate is bound to.
    pub key_binding: Verdict,
}

/// What came of checking a signed artefact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verdict {
    /// Signature and content hold.
    Verified {
        /// The `kid`, or the thumbprint where the artefact names none or one that is no identifier.
        kid: String,
        /// The algorithm.
        alg: String,
    },
    /// There was nothing to check: no offer, no receipt, an opaque token.
    Absent,
    /// It could not be checked now: the keys could not be had.
    Unchecked {
        /// What was in the way.
        reason: String,
    },
    /// It does not hold.
    Invalid {
        /// Which rule it breaks.
        reason: String,
    },
}

impl Verdict {
    pub(crate) fn by(kid: Option<&str>, key: &PublicKey) -> Self {
        Self::Verified { kid: untrusted::kid(kid, key), alg: key.alg().name().to_owned() }
    }

    /// Of an HTTP message signature, whose algorithms have names of their own.
    pub(crate) fn by_signature(verified: &http_sig::Verified, key: &PublicKey) -> Self {
        let alg = http_sig::alg_name(verified.alg()).to_owned();
        Self::Verified { kid: untrusted::kid(Some(verified.keyid()), key), alg }
    }

    pub(crate) fn invalid(reason: impl ToString) -> Self {
        Self::Invalid { reason: reason.to_string() }
    }

    /// Whether signature and content hold.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        matches!(self, Self::Verified { .. })
    }
}

/// A human has to decide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Consent {
    /// The page to show them, on the authorization server or its portal; for `loopback`, on this machine.
    pub url: String,
    /// `dashboard`, `scan` where the URL is meant to be shown as a QR code, or `loopback` where only a browser on this
    /// machine can open it, and only while this process runs.
    pub mode: String,
    /// Until when they can decide, in seconds since the epoch.
    pub expires_at: i64,
    /// How many seconds to wait before `pay` is called again.
    pub interval_seconds: u64,
}

/// A purchase whose outcome is not known.
#[derive(Debug)]
#[non_exhaustive]
pub struct InFlight {
    /// The mandate that was presented; still valid until its `exp`.
    pub mandate: HeldMandate,
    /// The key under which it was presented.
    pub idempotency_key: IdempotencyKey,
    /// What was seen last.
    pub last: Error,
}
