//! The humans who pay.

use jose::Rng;

use crate::clock::random_hex;

/// What the wallet knows of a principal. The personal data goes into mandates as disclosures only.
#[derive(Clone)]
pub(crate) struct Principal {
    pub(crate) id: String,
    pub(crate) name: &'static str,
    pub(crate) email: &'static str,
    pub(crate) country: &'static str,
    pub(crate) phone: &'static str,
}

impl Principal {
    /// The person of every demonstration, and another who must never see the first one's data. The telephone numbers are
    /// of ranges kept free for stories.
    pub(crate) fn demo(rng: &dyn Rng) -> [Self; 2] {
        let id = || format!("principal_{}", random_hex::<8>(rng));
        [
            Self {
                id: id(),
                name: "Robin de Wit",
                email: "robin@example.com",
                country: "NL",
                phone: "+31 85 000 0000",
            },
            Self {
                id: id(),
                name: "Kim Lindqvist",
                email: "kim@example.com",
                country: "SE",
                phone: "+46 70 174 06 05",
            },
        ]
    }
}

/// What a principal answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "yes or no")]
pub enum ConsentDecision {
    /// Yes.
    Approve,
    /// No.
    Decline,
}

/// Why nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WalletError {
    /// No principal has this id.
    #[error("no such principal")]
    NoSuchPrincipal,
    /// No agent has this client id.
    #[error("no such agent")]
    NoSuchAgent,
    /// No payment with this id was settled.
    #[error("no such payment")]
    NoSuchPayment,
    /// Nothing waits at this consent URL, or no longer.
    #[error("no such consent")]
    NoSuchConsent,
    /// Another principal's decision is waited for.
    #[error("another principal decides on this")]
    NotYours,
    /// It was decided before.
    #[error("it was decided before")]
    Decided,
    /// A scope is malformed or unknown.
    #[error("no such scope")]
    NoSuchScope,
    /// A hundred thousand tokens are open.
    #[error("too many tokens are open")]
    TooMany,
}
