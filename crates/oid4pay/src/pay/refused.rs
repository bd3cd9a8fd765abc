//! The answers that are no, by what is recorded of the purchase.

use oid4ac_client::{Error, ServerError};
use spend_guard::{Denial, Failure, Intent};

use crate::refusal::{Code, Refusal, stopped};
use crate::shown;

/// Why the policy or a freeze stops it.
pub(super) fn denied(denial: &Denial) -> Refusal {
    stopped(&denial.evaluation).about(&denial.intent)
}

/// The human said no here.
pub fn rejected(intent: &Intent) -> Refusal {
    Refusal::new(Code::ApprovalRejected, "the person said no to this purchase; no money moved").about(intent)
}

pub(super) fn in_progress(intent: &Intent) -> Refusal {
    let refusal =
        Refusal::new(Code::IntentInProgress, "this purchase is being made by another call; it is not made twice");
    refusal.retryable(true).about(intent)
}

/// `intent` has this mandate under another idempotency key, or this key with another mandate.
pub fn other_key(intent: &Intent) -> Refusal {
    let sentence = "a mandate keeps the idempotency_key that it was first presented under, and the payment in context has \
                    this mandate or this key already; nothing was sent";
    Refusal::new(Code::IdempotencyConflict, sentence).with("sent", false).about(intent)
}

/// What is recorded of a purchase that is over, however that is known.
pub(super) fn resolved(intent: &Intent) -> Refusal {
    let refusal = match (&intent.resolution, &intent.failure) {
        (Some(resolution), _) if resolution.paid => {
            Refusal::new(Code::ResolvedAsPaid, "it was recorded that this purchase was paid; it is not made again")
        }
        (Some(_), _) => Refusal::new(Code::ResolvedAsNotPaid, "it was recorded that this purchase was not paid"),
        (None, Some(Failure { status: Some(status), code, .. })) => {
            Refusal::from(Error::from(ServerError::recorded_refusal(*status, code))).retryable(false)
        }
        _ => failed(intent),
    };
    refusal.about(intent)
}

/// An intent that failed, in the words that were recorded.
pub(super) fn failed(intent: &Intent) -> Refusal {
    let refusal = match &intent.failure {
        Some(failure) => Refusal::new(shown::failure_code(failure), &shown::failure_message(failure)),
        None => Refusal::new(Code::NotPaid, "the purchase failed"),
    };
    refusal.about(intent)
}
