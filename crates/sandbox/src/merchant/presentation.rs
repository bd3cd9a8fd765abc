//! A presentation: mandate, disclosures and KB-JWT, verified in the order of the protocol (RFC 9901 §7.3).

use std::cell::RefCell;

use jose::{Alg, base64url, sha256};
use sd_jwt::{
    Expected, KeyBindingError, KeyBindingPolicy, Policy, UnboundPresentation, UnverifiedSdJwt, Validity, VerifyError,
};
use serde_json::{Map, Value};

use super::Merchant;
use super::access_token::{Sender, issuer_unreachable};
use super::challenge::Nonce;
use super::issuer::NoKey;
use super::mandate::Mandate;
use crate::claims;
use crate::error::Refusal;
use crate::rules::Rule;

/// A KB-JWT that was verified but not yet accepted: its nonce is not used up.
pub(super) struct KeyBinding {
    /// (`mandate_id`, SHA-256 of the KB-JWT).
    pub(super) id: (String, [u8; 32]),
    /// What it answers. `None` where it was accepted before, and so needs no live nonce.
    pub(super) nonce: Option<Nonce>,
}

impl Merchant {
    /// Verifies the issuer's part: form, `typ`, `alg`, signature, disclosures, `iss`, `vct`, `aud`. Times come later.
    pub(super) async fn verify_mandate_signature<'p>(
        &self,
        presentation: &'p str,
    ) -> Result<(Mandate, UnboundPresentation<'p>), Refusal> {
        let unverified = UnverifiedSdJwt::parse(presentation).map_err(refuse_mandate)?;
        if unverified.unverified_alg() != Alg::EdDsa {
            return Err(signature_invalid("the mandate's algorithm is not allowed"));
        }
        let now = self.clock.now();
        let key = self.issuer.key(now, unverified.unverified_kid(), Alg::EdDsa).await.map_err(|error| match error {
            NoKey::Unknown => signature_invalid("the mandate's key is unknown"),
            NoKey::Unreachable => issuer_unreachable(),
        })?;
        let policy = Policy::new(&[Alg::EdDsa], &MANDATE_TYPES, Validity::CheckedLater).sd_jwt_vc();
        let unbound = unverified.verify_presentation(&key, &policy).map_err(refuse_mandate)?;

        let claims = unbound.unbound().claims();
        let is_text = |name, wanted: &str| claims::text(claims, name) == Some(wanted);
        if !is_text("iss", self.issuer.origin()) || !is_text("vct", VCT) {
            return Err(signature_invalid("the mandate is by another issuer, or of another type"));
        }
        let mandate = Mandate::read(claims).ok_or_else(|| signature_invalid("the mandate lacks a claim"))?;
        let is_here = audience_is(claims, &self.origin) && mandate.details.merchant == self.origin;
        self.rules.require(Rule::MandateAudience, is_here, || {
            Refusal::mandate("mandate_audience_mismatch", "the mandate is for another merchant")
        })?;
        Ok((mandate, unbound))
    }

    /// Verifies the KB-JWT: key, signature, `aud`, `nonce`, `sd_hash`, `iat`.
    pub(super) fn verify_key_binding(
        &self,
        unbound: UnboundPresentation<'_>,
        mandate: &Mandate,
        merchant_nonce: Option<&str>,
        sender: Option<&Sender>,
    ) -> Result<KeyBinding, Refusal> {
        let now = self.clock.now();
        let id = (mandate.id.clone(), unbound.key_binding_sha256());
        let (was_accepted, candidates) = {
            let challenges = &self.state().challenges;
            let skus = mandate.skus();
            let candidates = match merchant_nonce {
                Some(nonce) => challenges.look_up(now, nonce, &mandate.id, &skus).into_iter().collect(),
                None => challenges.candidates(now, mandate.jkt.as_str(), &mandate.id, &skus),
            };
            (challenges.spent_with(now, &id).is_some(), candidates)
        };
        // What the KB-JWT turned out to answer; that it answered nothing at all, which is a question of its own.
        let (answered, answered_nothing) = (RefCell::new(None), RefCell::new(false));
        let judge = |kb_nonce: &str| {
            let fits = |nonce: &str| kb_nonce == bound_nonce(nonce, mandate.offer_digest());
            *answered_nothing.borrow_mut() = merchant_nonce.is_none_or(str::is_empty) && fits("");
            let found = candidates.iter().find(|candidate| fits(candidate.text()));
            *answered.borrow_mut() = found.cloned();
            found.is_some() || was_accepted || !self.rules.enforced(Rule::KeyBindingNonce)
        };
        let audience = match self.rules.enforced(Rule::KeyBindingAudience) {
            true => Expected::Exactly(&self.origin),
            false => Expected::Anything,
        };
        let mut policy = KeyBindingPolicy::new(&[Alg::EdDsa], audience, Expected::Satisfying(&judge), now);
        if let Some(sender) = sender {
            policy = policy.holder_key(sender.key());
        }
        match unbound.verify_key_binding(&policy) {
            Ok(_) => {}
            Err(KeyBindingError::AudienceMismatch) => {
                return Err(Refusal::mandate("mandate_kb_audience_mismatch", "the KB-JWT is for another merchant"));
            }
            Err(KeyBindingError::NonceMismatch) if answered_nothing.take() => return Err(nonce_required()),
            Err(KeyBindingError::NonceMismatch) => {
                return Err(nonce_mismatch("the KB-JWT does not answer a live nonce of this merchant"));
            }
            Err(KeyBindingError::SdHashMismatch) if !self.rules.enforced(Rule::KeyBindingHash) => {}
            Err(
                KeyBindingError::IatOutsideWindow { .. }
                | KeyBindingError::Expired { .. }
                | KeyBindingError::NotYetValid { .. },
            ) if !self.rules.enforced(Rule::KeyBindingIssuedAt) => {}
            Err(
                KeyBindingError::IatOutsideWindow { .. }
                | KeyBindingError::Expired { .. }
                | KeyBindingError::NotYetValid { .. },
            ) => return Err(nonce_mismatch("the KB-JWT is too old, or from the future")),
            Err(error) => return Err(signature_invalid(error.to_string())),
        }
        Ok(KeyBinding { id, nonce: answered.take() })
    }
}

/// base64url(SHA-256(ASCII(merchant_nonce) ‖ ASCII(offer_digest))).
fn bound_nonce(merchant_nonce: &str, offer_digest: &str) -> String {
    base64url::encode(&sha256(format!("{merchant_nonce}{offer_digest}").as_bytes()))
}

/// A string, or an array of exactly one: a cap that two merchants share would be none.
fn audience_is(claims: &Map<String, Value>, origin: &str) -> bool {
    match claims.get("aud") {
        Some(Value::String(aud)) => aud == origin,
        Some(Value::Array(list)) => matches!(list.as_slice(), [Value::String(aud)] if aud == origin),
        _ => false,
    }
}

pub(super) fn nonce_mismatch(why: &'static str) -> Refusal {
    Refusal::mandate("mandate_kb_nonce_mismatch", why)
}

fn nonce_required() -> Refusal {
    // No `error` parameter in the header: this is no DPoP nonce that is asked for (RFC 9449 §8).
    Refusal::new(http::StatusCode::UNAUTHORIZED, "mandate_nonce_required", "the KB-JWT must answer a challenge")
        .header(http::header::WWW_AUTHENTICATE, http::HeaderValue::from_static("DPoP"))
}

fn signature_invalid(why: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::mandate("mandate_signature_invalid", why)
}

fn refuse_mandate(error: VerifyError) -> Refusal {
    signature_invalid(error.to_string())
}

/// The type in use, its newer name, and the one in the protocol's first description.
const MANDATE_TYPES: [&str; 3] = ["vc+sd-jwt", "dc+sd-jwt", "sd-jwt-vc"];
const VCT: &str = "https://schema.oid4pay.com/oid4ac/mandate/v1";
