//! What a payment writes down before it goes on, so that a new process can take it up.

mod error;
mod file;

use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::{CheckedOffers, Consent, Evidence, HeldMandate, Settlement};

pub use error::JournalError;
pub use file::FileJournal;

/// The record of one purchase. [`crate::Client::pay`] reads it first, goes on from there, and records each step before
/// the next octet leaves.
///
/// No token, code or verifier is ever recorded: those are kept, if at all, in the [`crate::Store`].
pub trait Journal: Send + Sync {
    /// What is recorded so far. A journal with no record gives [`Progress::default`].
    ///
    /// # Errors
    ///
    /// - [`JournalError`] if the record cannot be read. Nothing is sent then.
    fn progress(&self) -> Result<Progress, JournalError>;

    /// Records `step`, and says whether the payment goes on. When this returns, the step outlives the process and the
    /// machine's power.
    ///
    /// A journal decides after [`Step::OffersVerified`], once the price is known, and after [`Step::MandateHeld`], once the
    /// cap is. Its answer to any other step is not looked at.
    ///
    /// # Errors
    ///
    /// - [`JournalError`] if the step is not durable. The step that was to follow is not taken.
    fn record(&self, step: Step) -> Result<Proceed, JournalError>;

    /// Keeps what proves the step that is recorded next to others. A payment goes on without it, so a journal may drop it, as
    /// this method does unless it is implemented.
    ///
    /// # Errors
    ///
    /// - [`JournalError`] as for [`Journal::record`].
    fn keep(&self, evidence: Evidence) -> Result<(), JournalError> {
        let _ = evidence;
        Ok(())
    }
}

/// Whether a payment goes on after a step. What stops it is a decision like any other, not an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a payment goes on, waits or ends")]
pub enum Proceed {
    /// Take the next step.
    On,
    /// Not now: a human has to agree first, say. What was granted is kept, and a later call goes on with it.
    Wait,
    /// No. What was granted is revoked, and nothing is presented.
    Stop,
}

/// One step of a payment. Each replaces what the steps before it said of the same thing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Step {
    /// The merchant's offers were verified, and found to make the amount.
    OffersVerified(CheckedOffers),
    /// A human has to decide.
    ConsentPending(Consent),
    /// The human, or the authorization server for them, said no.
    Declined,
    /// A mandate was issued to us and verified. Nothing has been presented.
    MandateHeld(HeldMandate),
    /// This presentation is about to be sent. From here on money may move.
    Presenting {
        /// The SD-JWT with its KB-JWT.
        presentation: String,
    },
    /// The merchant settled.
    Settled(Box<Settlement>),
    /// The merchant refused, with one of the codes that the protocol has for it. That is only its word.
    Refused {
        /// The HTTP status of the refusal.
        status: u16,
        /// The merchant's error code.
        code: String,
    },
    /// It cannot be told whether the merchant settled.
    Unknown {
        /// What was seen last: an HTTP status, or what happened to the connection.
        reason: String,
    },
    /// The authorization server was asked to end the grant behind the mandate, and with it the mandate (RFC 7009).
    GrantRevoked {
        /// Whether it confirmed that.
        confirmed: bool,
    },
}

/// The newest of each kind of step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Progress {
    /// The offers that the mandate is, or will be, bound to.
    pub offers: Option<CheckedOffers>,
    /// A human has been asked and has not answered.
    pub consent: Option<Consent>,
    /// The mandate that was issued.
    pub mandate: Option<HeldMandate>,
    /// The last presentation that was, or was about to be, sent.
    pub presentation: Option<String>,
    /// The settlement.
    pub settlement: Option<Box<Settlement>>,
    /// The merchant's final refusal.
    pub refused: Option<(u16, String)>,
    /// The human said no.
    pub declined: bool,
}

impl Progress {
    /// The progress after `step`.
    pub fn apply(&mut self, step: Step) {
        match step {
            Step::OffersVerified(offers) => self.offers = Some(offers),
            Step::Unknown { .. } | Step::GrantRevoked { .. } => {}
            Step::ConsentPending(consent) => self.consent = Some(consent),
            Step::Declined => {
                self.consent = None;
                self.declined = true;
            }
            Step::MandateHeld(mandate) => {
                self.consent = None;
                self.mandate = Some(mandate);
            }
            Step::Presenting { presentation } => self.presentation = Some(presentation),
            Step::Settled(settlement) => self.settlement = Some(settlement),
            Step::Refused { status, code } => self.refused = Some((status, code)),
        }
    }

    /// Whether money may have moved: something was presented and the merchant has not finally refused.
    #[must_use]
    pub fn may_have_settled(&self) -> bool {
        self.presentation.is_some() && self.refused.is_none()
    }
}

/// A journal in memory, for tests and for programs that may forget a payment when they end. A crash loses it, and with it
/// the knowledge of whether a payment was made.
#[derive(Debug, Default)]
pub struct MemoryJournal {
    steps: Mutex<Vec<Step>>,
}

impl MemoryJournal {
    /// All steps recorded, oldest first.
    #[must_use]
    pub fn steps(&self) -> Vec<Step> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Journal for MemoryJournal {
    fn progress(&self) -> Result<Progress, JournalError> {
        let mut progress = Progress::default();
        self.steps().into_iter().for_each(|step| progress.apply(step));
        Ok(progress)
    }

    fn record(&self, step: Step) -> Result<Proceed, JournalError> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).push(step);
        Ok(Proceed::On)
    }
}
