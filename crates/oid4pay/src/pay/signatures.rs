//! What checking each signed artefact of a payment gave, for whoever wants to see it.

use oid4ac_client::{Artefact, Error, Payment, Progress, Stage, Verdict};
use serde::Serialize;

/// One verdict per artefact; those that were not reached are left out.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Signatures {
    #[serde(skip_serializing_if = "Option::is_none")]
    catalog: Option<Verdict>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offer: Option<Verdict>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<Verdict>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mandate: Option<Verdict>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_binding: Option<Verdict>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<Verdict>,
}

impl Signatures {
    /// Of a catalog.
    pub fn of_catalog(verdict: Verdict) -> Self {
        Self { catalog: Some(verdict), ..Self::default() }
    }

    /// Of a payment that settled.
    pub fn of_payment(payment: &Payment) -> Self {
        Self {
            catalog: None,
            offer: Some(payment.offers.as_ref().map_or(Verdict::Absent, |offers| offers.verdict.clone())),
            access_token: Some(payment.mandate.access_token.clone()),
            mandate: Some(payment.mandate.mandate.clone()),
            key_binding: Some(payment.settlement.key_binding.clone()),
            receipt: Some(payment.settlement.receipt.clone()),
        }
    }

    /// Of one that got as far as `progress` and was ended by `error`.
    pub(super) fn of(progress: &Progress, error: Option<&Error>) -> Self {
        let mut signatures = Self {
            offer: progress.offers.as_ref().map(|offers| offers.verdict.clone()),
            access_token: progress.mandate.as_ref().map(|mandate| mandate.access_token.clone()),
            mandate: progress.mandate.as_ref().map(|mandate| mandate.mandate.clone()),
            ..Self::default()
        };
        let invalid = |reason: String| Some(Verdict::Invalid { reason });
        match error {
            Some(Error::PeerMisbehaved(misbehaviour)) => match misbehaviour.what() {
                Artefact::Offer => signatures.offer = invalid(misbehaviour.why().to_string()),
                Artefact::AccessToken => signatures.access_token = invalid(misbehaviour.why().to_string()),
                Artefact::Mandate => signatures.mandate = invalid(misbehaviour.why().to_string()),
                Artefact::Receipt => signatures.receipt = invalid(misbehaviour.why().to_string()),
                _ => {}
            },
            // A merchant says which of the two it refuses.
            Some(Error::Server(server)) if server.stage() == Stage::VerifyMandate => {
                let code = server.error().unwrap_or_default();
                let said = || invalid(format!("the merchant refused it: {} {code}", server.status()));
                match code {
                    "mandate_kb_audience_mismatch" | "mandate_kb_nonce_mismatch" => signatures.key_binding = said(),
                    _ if code.starts_with("mandate_") => signatures.mandate = said(),
                    _ => {}
                }
            }
            _ => {}
        }
        signatures
    }
}
