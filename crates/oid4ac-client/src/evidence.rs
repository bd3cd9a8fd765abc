//! What proves a payment to somebody who was not there: the signed artefacts as received, and the keys they were verified
//! by. Keys change and offers expire, so a journal that wants it later keeps it when it is made.

mod not_issued;
mod verify;

use http::HeaderMap;
use http_sig::Verified;
use jose::{Jwk, UnixSeconds, base64url};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::not_issued::NotIssued;
pub use self::verify::{AgreedAmount, Check, CheckResult, EvidenceVerdict, Findings, PaymentEvidence, TrustedKeys};
use crate::signed::Signed;

/// One piece of evidence, handed to [`Journal::keep`](crate::Journal::keep) before the step that it belongs to.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Evidence {
    /// The merchant's offers, in the order of the lines; `None` where it signs none.
    Offers(Vec<Option<SignedOffer>>),
    /// The claims of the access token, without the header and signature that would make it usable.
    AccessTokenClaims(Map<String, Value>),
    /// The authorization server's key that the mandate was verified by.
    IssuerKey(KeyUsed),
    /// The merchant's challenge, or the offer's nonce, that went into the KB-JWT about to be sent.
    MerchantNonce(String),
    /// The merchant's key that the receipt was verified by.
    ReceiptKey(KeyUsed),
    /// What is known of who declined, before [`Step::Declined`](crate::Step::Declined).
    NotIssued(NotIssued),
}

/// A public key, and when something was verified by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct KeyUsed {
    /// The public JWK, as its owner published it.
    pub jwk: Map<String, Value>,
    /// When it was used, in seconds since the epoch.
    pub verified_at: UnixSeconds,
}

/// A signed offer as it was received (RFC 9421).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SignedOffer {
    /// The URL it was fetched from by GET; the signature covers it.
    pub url: String,
    /// `Signature-Input`, `Signature`, `Content-Digest` and the other fields that the signature covers.
    pub fields: Vec<(String, String)>,
    /// The exact octets of the body, in base64url.
    pub body: String,
    /// The merchant's public JWK that verified it.
    pub jwk: Map<String, Value>,
    /// When it was verified, in seconds since the epoch.
    pub verified_at: UnixSeconds,
}

impl KeyUsed {
    pub(crate) fn new(jwk: &Jwk, verified_at: UnixSeconds) -> Self {
        Self { jwk: jwk.to_members(), verified_at }
    }
}

impl SignedOffer {
    pub(crate) fn new(signed: &Signed<'_>, verified: &Verified, jwk: &Jwk, verified_at: UnixSeconds) -> Self {
        let covered = verified.components().iter().filter(|part| !part.is_req()).map(|part| part.name());
        let mut names: Vec<_> =
            SIGNATURE_FIELDS.into_iter().chain(covered.filter(|name| !name.starts_with('@'))).collect();
        names.sort_unstable();
        names.dedup();
        Self {
            url: signed.place.as_str().to_owned(),
            fields: names.into_iter().flat_map(|name| fields(signed.headers, name)).collect(),
            body: base64url::encode(signed.body),
            jwk: jwk.to_members(),
            verified_at,
        }
    }
}

fn fields<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = (String, String)> + 'a {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.map(|value| (name.to_owned(), value.to_owned()))
}

const SIGNATURE_FIELDS: [&str; 3] = ["content-digest", "signature", "signature-input"];
