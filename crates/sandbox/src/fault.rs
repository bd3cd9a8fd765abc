//! Faults by name and by step of a payment, to test how a client copes with them.

use core::fmt;
use core::str::FromStr;
use std::sync::{Mutex, PoisonError};

use http::Method;

use crate::request_log::{LoggedRequest, Party};

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The request is handled three seconds late.
    Delay,
    /// The answer is 503 and the request is not handled.
    Http5xx,
    /// The connection is reset and the request is not handled.
    ResetBefore,
    /// The request is handled and the connection is reset in place of the answer.
    ResetAfter,
    /// The request is handled and no answer ever comes.
    AnswerLost,
    /// Every nonce that the server gave out is forgotten, just before the request is handled.
    StaleNonce,
    /// The server signs with a new key from now on; the old ones stay in its JWKS.
    RotatedKeys,
    /// The server's clock is two minutes ahead while it handles the request.
    ClockSkew,
    /// Every mandate is revoked, and the merchants know, just before the request is handled.
    Revoked,
    /// The answer is sent twice on the same connection.
    DuplicateAnswer,
}

/// A step of a payment: which request a fault is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// `POST /oauth/register`.
    Register,
    /// A merchant's signed offer.
    Offer,
    /// `POST /oauth/par`.
    Par,
    /// `GET /oauth/authorize`.
    Authorize,
    /// `POST /oauth/token`.
    Token,
    /// `POST /verify-mandate`.
    Verify,
}

impl Fault {
    /// All faults.
    pub const ALL: &'static [Self] = &[
        Self::Delay,
        Self::Http5xx,
        Self::ResetBefore,
        Self::ResetAfter,
        Self::AnswerLost,
        Self::StaleNonce,
        Self::RotatedKeys,
        Self::ClockSkew,
        Self::Revoked,
        Self::DuplicateAnswer,
    ];

    /// The name in `NAME@STEP`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Delay => "delay",
            Self::Http5xx => "http_5xx",
            Self::ResetBefore => "reset_before",
            Self::ResetAfter => "reset_after",
            Self::AnswerLost => "answer_lost",
            Self::StaleNonce => "stale_nonce",
            Self::RotatedKeys => "rotated_keys",
            Self::ClockSkew => "clock_skew",
            Self::Revoked => "revoked",
            Self::DuplicateAnswer => "duplicate_answer",
        }
    }
}

impl Step {
    /// All steps, in the order of a payment.
    pub const ALL: &'static [Self] =
        &[Self::Register, Self::Offer, Self::Par, Self::Authorize, Self::Token, Self::Verify];

    /// The name in `NAME@STEP`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Offer => "offer",
            Self::Par => "par",
            Self::Authorize => "authorize",
            Self::Token => "token",
            Self::Verify => "verify",
        }
    }

    /// The step that a request is, if it is one.
    pub(crate) fn of(request: &LoggedRequest) -> Option<Self> {
        let is_merchant = matches!(request.party, Party::Merchant(_));
        match (&request.method, request.path.as_str()) {
            (&Method::POST, "/oauth/register") => Some(Self::Register),
            (&Method::POST, "/oauth/par") => Some(Self::Par),
            (&Method::GET, "/oauth/authorize") => Some(Self::Authorize),
            (&Method::POST, "/oauth/token") => Some(Self::Token),
            (&Method::POST, "/verify-mandate") => Some(Self::Verify),
            (&Method::GET, path) if is_merchant => {
                let is_offer = path.starts_with("/oid4ac/offer/") || path.starts_with("/products/");
                is_offer.then_some(Self::Offer)
            }
            _ => None,
        }
    }
}

/// A fault at a step, written `NAME@STEP`: `answer_lost@verify`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "what goes wrong and where is all there is to say")]
pub struct PlannedFault {
    /// What goes wrong.
    pub fault: Fault,
    /// Where.
    pub step: Step,
}

impl FromStr for PlannedFault {
    type Err = UnknownFault;

    /// Reads `NAME@STEP`.
    fn from_str(text: &str) -> Result<Self, UnknownFault> {
        let (fault, step) = text.split_once('@').ok_or(UnknownFault)?;
        let fault = Fault::ALL.iter().find(|known| known.name() == fault).ok_or(UnknownFault)?;
        let step = Step::ALL.iter().find(|known| known.name() == step).ok_or(UnknownFault)?;
        Ok(Self { fault: *fault, step: *step })
    }
}

impl fmt::Display for PlannedFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.fault.name(), self.step.name())
    }
}

/// The text is not `NAME@STEP` with a known name and step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnknownFault;

impl fmt::Display for UnknownFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |list: Vec<&str>| list.join(", ");
        let faults = names(Fault::ALL.iter().map(|fault| fault.name()).collect());
        let steps = names(Step::ALL.iter().map(|step| step.name()).collect());
        write!(f, "a fault is NAME@STEP; names: {faults}; steps: {steps}")
    }
}

impl std::error::Error for UnknownFault {}

/// The faults that are still to happen. Each happens once, to the first request of its step.
pub(crate) struct Faults(Mutex<Vec<PlannedFault>>);

impl Faults {
    pub(crate) fn of(planned: Vec<PlannedFault>) -> Self {
        Self(Mutex::new(planned))
    }

    pub(crate) fn plan(&self, planned: PlannedFault) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(planned);
    }

    /// Takes the oldest fault planned for this step.
    pub(crate) fn take(&self, step: Step) -> Option<Fault> {
        let mut planned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = planned.iter().position(|planned| planned.step == step)?;
        Some(planned.remove(at).fault)
    }
}

/// A party that can have faults of its own.
pub(crate) trait Befallen: Send + Sync {
    /// Lets the fault happen: [`Fault::StaleNonce`], [`Fault::RotatedKeys`], [`Fault::ClockSkew`], [`Fault::Revoked`].
    fn befall(&self, fault: Fault);

    /// Ends what does not outlast the request: [`Fault::ClockSkew`].
    fn recover(&self);
}

/// How far [`Fault::ClockSkew`] sets a clock ahead.
pub(crate) const SKEW_SECONDS: i64 = 120;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_at_every_step_is_read_back_from_its_name() {
        for &fault in Fault::ALL {
            for &step in Step::ALL {
                let planned = PlannedFault { fault, step };
                assert_eq!(planned.to_string().parse(), Ok(planned));
            }
        }
        for text in ["", "delay", "delay@", "@par", "delay@par@par", "Delay@par", "meteor@par", "delay@lunch"] {
            assert_eq!(text.parse::<PlannedFault>(), Err(UnknownFault), "{text}");
        }
    }
}
