//! Where guard and client meet: every payment by any tool is one [`run`].
//!
//! The guard's ledger knows whether a purchase is new, under way or paid; the client knows the protocol. Between them
//! stands a [`Journal`](oid4ac_client::Journal) that writes each step into the ledger before the next octet leaves.

mod cheapest;
mod journal;
mod signatures;

use std::time::Duration;

use oid4ac_client::{
    Client, Consent, Error, IdempotencyKey, InFlight, LineItem, LocalError, Order, Outcome, Payment, PresentedMandate,
};
use spend_guard::{Begun, Denial, Intent, Ledger, LedgerError, Purchase, State, Verdict};

pub(crate) use self::cheapest::{Cheapest, chosen};
use self::journal::IntentJournal;
pub(crate) use self::signatures::Signatures;
use crate::errors::Refusal;
use crate::tools::Name;
use crate::waiting::Waiting;

/// How a purchase stands when the call is answered.
pub(crate) enum Answer {
    /// Paid, now or before.
    Settled { intent: Intent, payment: Box<Payment>, replayed: bool },
    /// A human has to decide; the call did not wait longer.
    ApprovalRequired { intent: Intent, consent: Option<Consent> },
    /// It could not be told whether the merchant settled.
    Unknown { intent: Intent, in_flight: Box<InFlight> },
}

impl Answer {
    /// The purchase.
    pub(crate) fn intent(&self) -> &Intent {
        match self {
            Self::Settled { intent, .. } | Self::ApprovalRequired { intent, .. } | Self::Unknown { intent, .. } => {
                intent
            }
        }
    }
}

/// What is to be done under an intent.
pub(crate) enum Work {
    /// Pay for an order. The order's own idempotency key gives way to the intent's.
    Order(Box<dyn Fn(IdempotencyKey) -> Result<Order, Error> + Send + Sync>),
    /// Pay for the cheapest item that fits.
    Cheapest(Box<Cheapest>),
    /// Present a mandate that is there.
    Presentation { presented: Box<PresentedMandate>, line_items: Vec<LineItem>, offer_id: Option<String> },
}

/// One call of a paying tool.
pub(crate) struct Call<'a> {
    pub(crate) tool: Name,
    pub(crate) client: &'a Client,
    pub(crate) ledger: &'a Ledger,
    pub(crate) purchase: Purchase,
    pub(crate) work: Work,
    pub(crate) waiting: Waiting,
}

/// Makes the purchase, goes on with it, or answers what came of it.
pub(crate) async fn run(call: Call<'_>) -> Result<Answer, Refusal> {
    let (journal, replayed) = match begin(&call).await? {
        Begun::New(claim) | Begun::Resume(claim) => {
            let claim = match &call.work {
                Work::Cheapest(cheapest) => cheapest.pick(&call, claim).await?,
                _ => claim,
            };
            (IntentJournal::driving(call.ledger, claim), false)
        }
        Begun::Replay(intent) => (IntentJournal::settled(call.ledger, intent), true),
        Begun::InProgress(intent) => return Err(in_progress(&intent)),
        Begun::AwaitingApproval(intent) => return Ok(Answer::ApprovalRequired { intent, consent: None }),
        Begun::Denied(denial) => return Err(denied(&denial)),
    };
    let was_in_flight = journal.intent().state.is_in_flight();
    let Some(key) = journal.idempotency_key() else {
        return Err(with_intent(Refusal::new("ledger_failed", "the intent's idempotency key is damaged"), &journal));
    };
    match drive(&call, &key, &journal).await {
        Ok(Outcome::Settled(payment)) => Ok(Answer::Settled { intent: journal.intent(), payment, replayed }),
        Ok(Outcome::Consent(consent)) => {
            Ok(Answer::ApprovalRequired { intent: journal.intent(), consent: Some(consent) })
        }
        Ok(Outcome::Declined) => Err(with_intent(Refusal::declined(), &journal)),
        Ok(Outcome::ConsentExpired) => {
            let refusal = Refusal::new("consent_expired", "nobody decided in time; no money moved");
            journal.close(refusal.code(), "nobody decided in time");
            Err(with_intent(refusal, &journal))
        }
        Ok(Outcome::Unknown(in_flight)) => unknown(&call, &journal, in_flight),
        Ok(_) => {
            Err(with_intent(Refusal::new("unexpected_outcome", "the client gave an outcome not known here"), &journal))
        }
        Err(error) => {
            if !was_in_flight && !is_worth_resuming(&error, &journal) {
                journal.close(error.code(), &error.to_string());
            }
            let refusal = Refusal::from_client(call.tool, &error).signatures(journal.signatures(Some(&error)));
            Err(with_intent(refusal, &journal))
        }
    }
}

/// Asks the ledger, and waits a while where another process is at the same purchase: it will soon be settled.
async fn begin(call: &Call<'_>) -> Result<Begun, Refusal> {
    let mut waited = Duration::ZERO;
    loop {
        let begun = call.ledger.begin(&call.purchase, None).map_err(|error| ledger_failed(&error))?;
        match begun {
            Begun::InProgress(_) if waited < OTHERS && call.waiting.pause(OTHERS_POLL).await => waited += OTHERS_POLL,
            begun => return Ok(begun),
        }
    }
}

/// Does the work, and does it again as long as a human may still decide within the time a call may take.
async fn drive(call: &Call<'_>, key: &IdempotencyKey, journal: &IntentJournal<'_>) -> Result<Outcome, Error> {
    let mut waited = Duration::ZERO;
    loop {
        let outcome = match &call.work {
            Work::Order(order) => call.client.pay(&order(key.clone())?, journal).await?,
            Work::Cheapest(cheapest) => {
                let order = cheapest.order(call.ledger, &journal.intent(), key)?;
                call.client.pay(&order, journal).await?
            }
            Work::Presentation { presented, line_items, offer_id } => {
                call.client.verify_mandate(presented, line_items, offer_id.as_deref(), key, journal).await?
            }
        };
        let Outcome::Consent(consent) = &outcome else { return Ok(outcome) };
        let interval = Duration::from_secs(consent.interval_seconds.max(1));
        call.waiting.tell_consent(consent, waited).await;
        if waited + interval > call.waiting.limit() || !call.waiting.pause(interval).await {
            return Ok(outcome);
        }
        waited += interval;
    }
}

/// An answer that was lost: what the merchant said last decides how it is told, not how it is treated.
fn unknown(call: &Call<'_>, journal: &IntentJournal<'_>, in_flight: Box<InFlight>) -> Result<Answer, Refusal> {
    if let Error::Server(_) = in_flight.last {
        let refusal = Refusal::from_client(call.tool, &in_flight.last).retryable(true);
        let refusal = refusal.signatures(journal.signatures(Some(&in_flight.last)));
        return Err(with_intent(refusal, journal));
    }
    Ok(Answer::Unknown { intent: journal.intent(), in_flight })
}

/// Whether the intent stays open after an error: because its record could not be written, or because a human has been asked
/// or a mandate is held, and only the way on failed.
fn is_worth_resuming(error: &Error, journal: &IntentJournal<'_>) -> bool {
    let intent = journal.intent();
    let has_begun = intent.consent.is_some() || intent.state == State::Authorized;
    match error {
        Error::Local(LocalError::Journal(_)) => true,
        Error::Local(_) => has_begun,
        error => has_begun && error.is_retryable(),
    }
}

/// The first rule that denies gives code and sentence.
fn denied(denial: &Denial) -> Refusal {
    let finding = denial.evaluation.findings.iter().find(|finding| finding.verdict == Verdict::Deny);
    let refusal = match finding {
        Some(finding) => Refusal::new(&finding.code, &finding.message),
        None => Refusal::new("payments_stopped", "payments are stopped on this machine"),
    };
    about(refusal, &denial.intent)
}

fn in_progress(intent: &Intent) -> Refusal {
    let refusal =
        Refusal::new("intent_in_progress", "this purchase is being made by another call; it is not made twice");
    about(refusal.retryable(true), intent)
}

fn with_intent(refusal: Refusal, journal: &IntentJournal<'_>) -> Refusal {
    about(refusal, &journal.intent())
}

/// Which intent it was, and what to do where money may be in flight.
fn about(refusal: Refusal, intent: &Intent) -> Refusal {
    let mut refusal = refusal
        .with("intent_id", intent.id.as_str())
        .with("intent_state", intent.state.as_str())
        .with("idempotency_key", intent.idempotency_key.as_str());
    if let Some(mandate) = &intent.mandate {
        refusal = refusal.with("mandate_id", mandate.mandate_id.as_str());
    }
    if intent.state.is_in_flight() {
        refusal = refusal.with("next_step", NEXT_IN_FLIGHT);
    }
    refusal
}

pub(crate) fn ledger_failed(error: &LedgerError) -> Refusal {
    let code = match error {
        LedgerError::Invalid(_) => "invalid_arguments",
        LedgerError::OtherKey { .. } => "idempotency_conflict",
        LedgerError::Busy { .. } => "ledger_busy",
        _ => "ledger_failed",
    };
    Refusal::new(code, &error.to_string()).retryable(matches!(error, LedgerError::Busy { .. }))
}

pub(crate) const NEXT_IN_FLIGHT: &str = "Call again with the same arguments, and change none of them: the same purchase is \
presented under the same idempotency_key, which the merchant settles at most once.";

const OTHERS: Duration = Duration::from_secs(15);
const OTHERS_POLL: Duration = Duration::from_millis(100);
