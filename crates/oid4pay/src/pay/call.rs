//! One call that pays: what goes in, and what comes out.

use oid4ac_client::{Client, Consent, Error, IdempotencyKey, LineItem, Order, Payment, PresentedMandate};
use spend_guard::{Intent, Purchase};

use super::cheapest::Cheapest;
use crate::agents::Agent;
use crate::person::{ToAsk, Waiting};

/// How a purchase stands when the call is answered.
pub enum Answer {
    /// Paid, now or before.
    Settled {
        /// The purchase.
        intent: Intent,
        /// What was presented, and what the merchant answered.
        payment: Box<Payment>,
        /// Whether it was paid by an earlier call, and this one charged nothing.
        replayed: bool,
    },
    /// A human has to decide, here or, with a consent, at the authorization server; the call did not wait longer.
    ApprovalRequired {
        /// The purchase.
        intent: Intent,
        /// Where they decide.
        place: Place,
    },
    /// It could not be told whether the merchant settled.
    Unknown {
        /// The purchase.
        intent: Intent,
        /// What the last attempt came to, in our words.
        last: String,
    },
    /// It could not be told before its mandate ended: it may have been paid, and only a person or the audit chain can tell.
    Unresolved {
        /// The purchase.
        intent: Intent,
        /// Whether an earlier call came to this.
        replayed: bool,
    },
}

impl Answer {
    /// The purchase.
    pub fn intent(&self) -> &Intent {
        match self {
            Self::Settled { intent, .. }
            | Self::ApprovalRequired { intent, .. }
            | Self::Unknown { intent, .. }
            | Self::Unresolved { intent, .. } => intent,
        }
    }
}

/// What a call comes to.
pub enum Ran {
    /// An answer.
    Answered(Box<Answer>),
    /// The client has to put a question to its person, and call again with the answer.
    AskClient(ToAsk),
}

/// Where a human has to decide.
pub enum Place {
    /// On this machine.
    Here,
    /// At the authorization server.
    AuthorizationServer(Consent),
}

/// What is to be done under an intent.
pub enum Work {
    /// Pay for an order. The order's own idempotency key gives way to the intent's.
    Order(Box<dyn Fn(IdempotencyKey) -> Result<Order, Error> + Send + Sync>),
    /// Pay for the cheapest item that fits.
    Cheapest(Box<Cheapest>),
    /// Present a mandate that is there.
    Presentation {
        /// The mandate with its key binding.
        presented: Box<PresentedMandate>,
        /// What is bought with it.
        line_items: Vec<LineItem>,
        /// The merchant's offer, where the caller names one.
        offer_id: Option<String>,
    },
}

/// One call that pays.
pub struct Call<'a> {
    /// Who pays.
    pub agent: &'a Agent,
    /// Their client at the authorization server that the purchase is recorded under.
    pub client: &'a Client,
    /// What is bought, as the guard sees it.
    pub purchase: Purchase,
    /// How it is bought.
    pub work: Work,
    /// Whom to ask, for how long, and what ends the call.
    pub waiting: Waiting,
}
