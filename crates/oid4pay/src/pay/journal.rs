//! A payment's journal, kept in the ledger's intent.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use oid4ac_client::{
    Error, Evidence, IdempotencyKey, Journal, JournalError, NotIssued, Payment, Proceed, Progress, Step, Verdict,
};
use spend_guard::{
    Artefact, Claim, Intent, Ledger, LedgerError, Mandate, Next, Offers, Policy, ReceiptVerdict, Settlement,
};

use super::signatures::Signatures;
use crate::person::{Stop, Stopped};
use crate::shown::SAID_BY_MERCHANT;

/// The journal of one intent.
///
/// What the client has to know again is kept as it wrote it; what the guard counts by goes through the [`Claim`].
pub(super) struct IntentJournal<'a> {
    ledger: &'a Ledger,
    /// Asked again once the cap of the mandate is known.
    policy: &'a Policy,
    intent: Mutex<Held>,
    /// When the call that drives it has to stop.
    stop: Option<Stop>,
    not_issued: OnceLock<NotIssued>,
}

enum Held {
    /// This call drives it.
    Claim(Box<Claim>),
    /// It is settled and only read.
    Settled(Box<Intent>),
}

impl<'a> IntentJournal<'a> {
    pub(super) fn driving(ledger: &'a Ledger, policy: &'a Policy, claim: Claim, stop: Stop) -> Self {
        Self {
            ledger,
            policy,
            intent: Mutex::new(Held::Claim(Box::new(claim))),
            stop: Some(stop),
            not_issued: OnceLock::new(),
        }
    }

    pub(super) fn settled(ledger: &'a Ledger, policy: &'a Policy, intent: Intent) -> Self {
        Self {
            ledger,
            policy,
            intent: Mutex::new(Held::Settled(Box::new(intent))),
            stop: None,
            not_issued: OnceLock::new(),
        }
    }

    pub(super) fn intent(&self) -> Intent {
        match &*self.lock() {
            Held::Claim(claim) => claim.intent().clone(),
            Held::Settled(intent) => intent.as_ref().clone(),
        }
    }

    /// The payment, if it is recorded as settled.
    pub(super) fn recorded(&self) -> Option<Payment> {
        let progress = self.progress().inspect_err(|error| tracing::warn!(%error, "the payment could not be read"));
        progress.ok()?.payment()
    }

    /// Why there is no mandate, where this call was told.
    pub(super) fn not_issued(&self) -> Option<NotIssued> {
        self.not_issued.get().copied()
    }

    /// Gives the intent back, where this call drives it.
    pub(super) fn into_claim(self) -> Option<Claim> {
        match self.intent.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Held::Claim(claim) => Some(*claim),
            Held::Settled(_) => None,
        }
    }

    /// The key made with the intent; `None` if it is damaged.
    pub(super) fn idempotency_key(&self) -> Option<IdempotencyKey> {
        IdempotencyKey::parse(&self.intent().idempotency_key)
    }

    /// Ends the intent without a payment, and gives its reservation back. Where that cannot be written, the next call for
    /// the same purchase goes on with it.
    pub(super) fn close(&self, code: &str, message: &str) {
        if let Held::Claim(claim) = &mut *self.lock()
            && !claim.intent().state.is_final()
            && let Err(error) = claim.refused(code, message)
        {
            tracing::warn!(intent = %claim.intent().id, %error, "the intent could not be closed");
        }
    }

    /// Records that the merchant's answer is not waited for any longer. Where that cannot be written, the intent is as much in
    /// flight as before.
    pub(super) fn lose(&self, reason: &str) {
        if let Err(error) = self.record(Step::Unknown { reason: reason.to_owned() }) {
            tracing::warn!(intent = %self.intent().id, %error, "that the answer was lost could not be recorded");
        }
    }

    /// Whether the call stops rather than take this step: before it asks the authorization server, and before it presents
    /// for the first time. What the server gave by then is recorded, so that it is not lost. A purchase in flight is always
    /// gone on with.
    fn stops_before(&self, claim: &Claim, step: &Step) -> Option<Stopped> {
        let leads_on = matches!(step, Step::OffersVerified(_) | Step::Presenting { .. });
        let stop = self.stop.as_ref().filter(|_| leads_on && !claim.intent().state.is_in_flight());
        stop.and_then(Stop::now)
    }

    /// What was verified so far, and what `error` says was not.
    pub(super) fn signatures(&self, error: Option<&Error>) -> Signatures {
        let progress = self.progress().unwrap_or_default();
        Signatures::of(&progress, error)
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.intent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(claim: &mut Claim, policy: &Policy, step: &Step) -> Result<Proceed, JournalError> {
        let failed = |error: LedgerError| JournalError::new("the ledger cannot be written", error);
        if is_kept(step) {
            let text = serde_json::to_string(step).map_err(|error| JournalError::new("a step is no JSON", error))?;
            claim.keep_with_next_step(Artefact::Step, text);
        }
        match step {
            Step::OffersVerified(offers) => {
                let offers = match &offers.digest {
                    Some(digest) if offers.are_verified() => Offers::Verified { digest },
                    digest => Offers::Missing { digest: digest.as_deref() },
                };
                return claim.offers_verified(offers).map(proceed).map_err(failed);
            }
            Step::ConsentPending(consent) => claim.consent_pending(&consent.url, consent.expires_at).map_err(failed),
            Step::Declined => claim.refused("declined", "no mandate was issued").map_err(failed),
            Step::MandateHeld(held) => {
                let mandate = Mandate {
                    mandate_id: held.mandate_id.clone(),
                    cap_minor: held.cap_minor,
                    expires_at: held.expires_at,
                };
                return claim.mandate_held(mandate, &held.sd_jwt, Some(policy)).map(proceed).map_err(failed);
            }
            Step::Presenting { presentation } => claim.presenting(presentation).map_err(failed),
            Step::Settled(settlement) => claim.settled(&guards(settlement)).map_err(failed),
            Step::Refused { status, code } => {
                let message = format!("{SAID_BY_MERCHANT}{status} {code}");
                claim.refused_by_merchant(*status, code, &message).map_err(failed)
            }
            Step::GrantRevoked { confirmed } => claim.grant_revoked(*confirmed).map_err(failed),
            Step::Unknown { reason } => claim.unknown(reason, "the merchant's answer was not received").map_err(failed),
            _ => Err(JournalError::new("a step of this kind is not known", "unknown step")),
        }?;
        Ok(Proceed::On)
    }
}

fn proceed(next: Next) -> Proceed {
    match next {
        Next::Go => Proceed::On,
        Next::AskHuman => Proceed::Wait,
        Next::Refused => Proceed::Stop,
    }
}

impl Journal for IntentJournal<'_> {
    fn progress(&self) -> Result<Progress, JournalError> {
        let failed = |error: LedgerError| JournalError::new("the ledger cannot be read", error);
        let id = self.intent().id;
        let mut progress = Progress::default();
        for text in self.ledger.artefacts(&id, Artefact::Step).map_err(failed)? {
            let step = serde_json::from_str(&text).map_err(|error| JournalError::new("a step is damaged", error))?;
            progress.apply(step);
        }
        if let Some(presentation) = self.ledger.artefact(&id, Artefact::Presentation).map_err(failed)? {
            progress.apply(Step::Presenting { presentation });
        }
        Ok(progress)
    }

    fn record(&self, step: Step) -> Result<Proceed, JournalError> {
        match (&mut *self.lock(), step) {
            (Held::Claim(claim), step) => match self.stops_before(claim, &step) {
                Some(why) => Err(JournalError::new("the call had to stop", why)),
                None => Self::write(claim, self.policy, &step),
            },
            (Held::Settled(intent), Step::GrantRevoked { confirmed }) => {
                let revoked = self.ledger.grant_revoked(&intent.id, confirmed);
                **intent = revoked.map_err(|error| JournalError::new("the ledger cannot be written", error))?;
                Ok(Proceed::On)
            }
            (Held::Settled(_), _) => Err(JournalError::new("the intent is settled", "settled")),
        }
    }

    fn keep(&self, evidence: Evidence) -> Result<(), JournalError> {
        if let Evidence::NotIssued(why) = evidence {
            let _first = self.not_issued.set(why);
            return Ok(());
        }
        let Held::Claim(claim) = &mut *self.lock() else { return Ok(()) };
        // In the form that is hashed again from an evidence file, however that is laid out.
        fn canonical(value: &impl serde::Serialize) -> Result<String, serde_json::Error> {
            serde_json_canonicalizer::to_string(value)
        }
        let (kind, content) = match evidence {
            Evidence::Offers(offers) => (Artefact::Offers, canonical(&offers)),
            Evidence::AccessTokenClaims(claims) => (Artefact::AccessTokenClaims, canonical(&claims)),
            Evidence::IssuerKey(key) => (Artefact::IssuerKey, canonical(&key)),
            Evidence::MerchantNonce(nonce) => (Artefact::MerchantNonce, Ok(nonce)),
            Evidence::ReceiptKey(key) => (Artefact::ReceiptKey, canonical(&key)),
            _ => return Ok(()),
        };
        let content = content.map_err(|error| JournalError::new("evidence is no JSON", error))?;
        claim.keep_with_next_step(kind, content);
        Ok(())
    }
}

/// What the client reads back. A presentation is an artefact of its own, and an intent that failed is never gone on with.
fn is_kept(step: &Step) -> bool {
    matches!(step, Step::OffersVerified(_) | Step::ConsentPending(_) | Step::MandateHeld(_) | Step::Settled(_))
}

fn guards(settlement: &oid4ac_client::Settlement) -> Settlement {
    let receipt = match &settlement.receipt {
        Verdict::Verified { .. } => ReceiptVerdict::Verified,
        Verdict::Invalid { reason } => ReceiptVerdict::Invalid { field: reason.clone() },
        _ => ReceiptVerdict::Absent,
    };
    Settlement {
        payment_intent_id: settlement.payment_intent_id.clone(),
        payment_provider_ref: settlement.payment_provider_ref.clone(),
        settled_at: settlement.settled_at.clone(),
        receipt_url: settlement.receipt_url.clone(),
        receipt_jws: settlement.receipt_jws.clone(),
        receipt,
        verified_at: settlement.verified_at.clone(),
        verifier_principal_id: settlement.verifier_principal_id.clone(),
        spend_cap_remaining_minor: settlement.spend_cap_remaining_minor,
    }
}
