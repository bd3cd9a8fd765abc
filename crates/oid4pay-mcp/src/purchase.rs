//! Where guard and client meet: every payment by any tool is one [`run`].
//!
//! The guard's ledger knows whether a purchase is new, under way or paid; the client knows the protocol. Between them
//! stands a [`Journal`](oid4ac_client::Journal) that writes each step into the ledger before the next octet leaves. Where the
//! guard or the authorization server wants a human, the question goes out as the caller's client can put it (`ask`).

mod ask;
mod cheapest;
mod journal;
mod signatures;

use std::time::Duration;

use oid4ac_client::{
    Client, Consent, Error, IdempotencyKey, InFlight, LineItem, LocalError, NotIssued, Order, Outcome, Payment,
    PresentedMandate,
};
use rmcp::model::InputRequiredResult;
use serde_json::{Value, json};
use spend_guard::{
    Approval, Begun, Claim, Denial, Evaluation, Intent, LedgerError, Policy, Purchase, PurchaseKind, Severity, State,
    Verdict,
};

use self::ask::{ConsentQuestion, Decision, Question, Reply};
pub(crate) use self::cheapest::{Cheapest, chosen};
use self::journal::{AskHuman, IntentJournal};
pub(crate) use self::signatures::Signatures;
use crate::agent::Agent;
use crate::approval;
use crate::errors::Refusal;
use crate::tools::Name;
use crate::waiting::Waiting;

/// How a purchase stands when the call is answered.
pub(crate) enum Answer {
    /// Paid, now or before.
    Settled { intent: Intent, payment: Box<Payment>, replayed: bool },
    /// A human has to decide, here or, with a consent, at the authorization server; the call did not wait longer.
    ApprovalRequired { intent: Intent, place: Place },
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

/// What a call comes to.
pub(crate) enum Ran {
    Answered(Box<Answer>),
    /// The client has to put a question to its person, and call again with the answer.
    AskClient(Box<InputRequiredResult>),
}

/// Where a human has to decide.
pub(crate) enum Place {
    /// On this machine, with this command.
    Here { command: String },
    /// At the authorization server.
    AuthorizationServer(Consent),
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
    pub(crate) agent: &'a Agent,
    pub(crate) client: &'a Client,
    pub(crate) purchase: Purchase,
    pub(crate) work: Work,
    pub(crate) waiting: Waiting,
}

/// Makes the purchase, goes on with it, or answers what came of it.
pub(crate) async fn run(mut call: Call<'_>) -> Result<Ran, Refusal> {
    let policy = call.agent.policy()?;
    call.purchase = with_agent(call.purchase, call.client);
    let mut reply = ask::take_reply(&call)?;
    loop {
        let (intent, question) = match attempt(&call, &policy, &mut reply).await? {
            Attempt::Ran(ran) => return Ok(ran),
            Attempt::AskHuman(intent, question) => (*intent, question),
        };
        match ask::human(&call, &policy, intent, question, reply.take()).await? {
            // The purchase goes on where it stood.
            Decision::Yes => {}
            Decision::No(intent) => return Err(rejected(&intent)),
            Decision::Open(intent) => {
                let command = call.agent.settings().command(&format!("approve {}", intent.id));
                let answer = Answer::ApprovalRequired { intent, place: Place::Here { command } };
                return Ok(Ran::Answered(Box::new(answer)));
            }
            Decision::AskClient(question) => return Ok(Ran::AskClient(question)),
        }
    }
}

/// What policy and ledger would say about `purchase` now, for a dry run. Nothing is stored or reserved.
pub(crate) fn simulate(agent: &Agent, client: &Client, purchase: Purchase) -> Result<Value, Refusal> {
    let policy = agent.policy()?;
    let purchase = with_agent(purchase, client);
    let evaluation = agent.ledger().simulate(&purchase, &policy).map_err(|error| ledger_failed(&error))?;
    Ok(json!({"verdict": evaluation.verdict, "findings": findings(&evaluation)}))
}

/// Names the agent to rules as the authorization server does: its own name is what the model wants it to be.
pub(crate) fn with_agent(purchase: Purchase, client: &Client) -> Purchase {
    match client.registration() {
        Ok(Some(registration)) => purchase.agent(registration.client_id),
        // Without a registration nothing is paid, and a file that cannot be read is told by whoever needs it next.
        _ => purchase,
    }
}

/// How far one attempt got.
enum Attempt {
    Ran(Ran),
    /// The guard wants a human to agree first.
    AskHuman(Box<Intent>, Question),
}

impl From<Answer> for Attempt {
    fn from(answer: Answer) -> Self {
        Self::Ran(Ran::Answered(Box::new(answer)))
    }
}

async fn attempt(call: &Call<'_>, policy: &Policy, reply: &mut Option<Reply>) -> Result<Attempt, Refusal> {
    let ledger = call.agent.ledger();
    let begun = begin(call, policy).await?;
    let begun = match reply.as_ref() {
        Some(reply) => reply.check_is_about(begun)?,
        None => begun,
    };
    let (journal, replayed) = match begun {
        Begun::New(claim) | Begun::Resume(claim) => {
            let claim = match &call.work {
                Work::Cheapest(cheapest) => cheapest.pick(call, claim, policy).await?,
                _ => claim,
            };
            raise_alerts(&claim);
            if wants_human_now(claim.intent()) {
                return put_question(claim, call, policy);
            }
            (IntentJournal::driving(ledger, claim), false)
        }
        Begun::Replay(intent) => (IntentJournal::settled(ledger, intent), true),
        Begun::InProgress(intent) => return Err(in_progress(&intent)),
        Begun::AwaitingApproval(intent) => return Ok(Attempt::AskHuman(Box::new(intent), Question::AskedBefore)),
        Begun::Denied(denial) => return Err(denied(&denial)),
    };
    let was_in_flight = journal.intent().state.is_in_flight();
    let Some(key) = journal.idempotency_key() else {
        return Err(with_intent(Refusal::new("ledger_failed", "the intent's idempotency key is damaged"), &journal));
    };
    match drive(call, &key, &journal, reply.take()).await {
        Ok(Driven::AskClient(question)) => Ok(Attempt::Ran(Ran::AskClient(question))),
        Ok(Driven::Refused) => {
            journal.close("declined", "the person did not want to decide about it");
            Err(with_intent(Refusal::declined(Some(NotIssued::ByPerson)), &journal))
        }
        Ok(Driven::To(Outcome::Settled(payment))) => {
            Ok(Answer::Settled { intent: journal.intent(), payment, replayed }.into())
        }
        Ok(Driven::To(Outcome::Consent(consent))) => {
            let place = Place::AuthorizationServer(consent);
            Ok(Answer::ApprovalRequired { intent: journal.intent(), place }.into())
        }
        Ok(Driven::To(Outcome::Declined)) => Err(with_intent(Refusal::declined(journal.not_issued()), &journal)),
        Ok(Driven::To(Outcome::ConsentExpired)) => {
            let refusal = Refusal::new("consent_expired", "nobody decided in time; no money moved");
            journal.close(refusal.code(), "nobody decided in time");
            Err(with_intent(refusal, &journal))
        }
        Ok(Driven::To(Outcome::Unknown(in_flight))) => unknown(call, &journal, in_flight).map(Attempt::from),
        Ok(Driven::To(_)) => {
            Err(with_intent(Refusal::new("unexpected_outcome", "the client gave an outcome not known here"), &journal))
        }
        Err(error) if said_by_journal::<AskHuman>(&error).is_some() => match journal.into_claim() {
            Some(claim) => put_question(claim, call, policy),
            None => Err(Refusal::from_client(call.tool, &error)),
        },
        Err(error) => {
            if !was_in_flight && !is_worth_resuming(&error, &journal) {
                journal.close(error.code(), &error.to_string());
            }
            let refusal = match said_by_journal::<LedgerError>(&error) {
                Some(error) => ledger_failed(error),
                None => Refusal::from_client(call.tool, &error),
            };
            Err(with_intent(refusal.signatures(journal.signatures(Some(&error))), &journal))
        }
    }
}

/// Whether a human has to be asked before anything else is done: one must agree, and what to is known. What an offer says
/// is found out first.
fn wants_human_now(intent: &Intent) -> bool {
    let is_known = intent.kind == PurchaseKind::Verify || intent.offer_verified.is_some();
    intent.state == State::Created && is_known && matches!(intent.approval, Approval::Needed { .. })
}

/// Lets the intent wait for the human; whoever comes next, in this process or another, finds the question.
fn put_question(claim: Claim, call: &Call<'_>, policy: &Policy) -> Result<Attempt, Refusal> {
    let failed = |error: LedgerError| ledger_failed(&error);
    let shown = approval::shown(&claim, call.agent.ledger(), policy).map_err(failed)?;
    let intent = claim.await_approval(shown).map_err(failed)?;
    Ok(Attempt::AskHuman(Box::new(intent), Question::New))
}

/// Tells whoever reads the log what the policy warns of, unless they are asked anyway; the ledger has it all.
fn raise_alerts(claim: &Claim) {
    if claim.intent().approval != Approval::NotNeeded {
        return;
    }
    for alert in claim.evaluation().alerts.iter().filter(|alert| alert.severity >= Severity::Warning) {
        tracing::warn!(intent = %claim.intent().id, code = alert.code, "{}", alert.message);
    }
}

/// What the journal gave as the reason of its refusal.
fn said_by_journal<E: std::error::Error + 'static>(error: &Error) -> Option<&E> {
    let Error::Local(LocalError::Journal(error)) = error else { return None };
    std::error::Error::source(error)?.downcast_ref()
}

/// Asks the ledger, and waits a while where another process is at the same purchase: it will soon be settled.
async fn begin(call: &Call<'_>, policy: &Policy) -> Result<Begun, Refusal> {
    let mut waited = Duration::ZERO;
    loop {
        let ledger = call.agent.ledger();
        let begun = ledger.begin(&call.purchase, Some(policy)).map_err(|error| match &error {
            LedgerError::OtherKey { id } => match ledger.intent(id) {
                Ok(intent) => other_key(&intent),
                Err(_) => ledger_failed(&error),
            },
            error => ledger_failed(error),
        })?;
        match begun {
            Begun::InProgress(_) if waited < OTHERS && call.waiting.pause(OTHERS_POLL).await => waited += OTHERS_POLL,
            begun => return Ok(begun),
        }
    }
}

/// What came of the work.
enum Driven {
    To(Outcome),
    /// The client has to ask its person.
    AskClient(Box<InputRequiredResult>),
    /// The person declined in their client.
    Refused,
}

/// Does the work, and does it again as long as a human may still decide within the time a call may take.
async fn drive(
    call: &Call<'_>,
    key: &IdempotencyKey,
    journal: &IntentJournal<'_>,
    reply: Option<Reply>,
) -> Result<Driven, Error> {
    let mut question = ConsentQuestion::new(call, reply);
    loop {
        let outcome = match &call.work {
            Work::Order(order) => call.client.pay(&order(key.clone())?, journal).await?,
            Work::Cheapest(cheapest) => {
                let order = cheapest.order(call.agent.ledger(), &journal.intent(), key)?;
                call.client.pay(&order, journal).await?
            }
            Work::Presentation { presented, line_items, offer_id } => {
                call.client.verify_mandate(presented, line_items, offer_id.as_deref(), key, journal).await?
            }
        };
        let Outcome::Consent(consent) = &outcome else { return Ok(Driven::To(outcome)) };
        call.waiting.tell_consent(consent).await;
        match question.put(consent, &journal.intent()).await {
            ask::Consent::Poll => {}
            ask::Consent::AskClient(result) => return Ok(Driven::AskClient(result)),
            ask::Consent::Refused => return Ok(Driven::Refused),
            ask::Consent::Enough => return Ok(Driven::To(outcome)),
        }
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
    about(stopped(&denial.evaluation), &denial.intent)
}

/// The first rule that denies gives code and sentence; all that spoke stand beside it.
pub(crate) fn stopped(evaluation: &Evaluation) -> Refusal {
    let finding = evaluation.findings.iter().find(|finding| finding.verdict == Verdict::Deny);
    let refusal = match finding {
        Some(finding) => Refusal::new(&finding.code, &finding.message),
        None => Refusal::new("payments_stopped", "payments are stopped on this machine"),
    };
    refusal.with("findings", findings(evaluation))
}

/// Every rule that spoke.
fn findings(evaluation: &Evaluation) -> Value {
    json!(evaluation.findings)
}

/// The human said no here.
fn rejected(intent: &Intent) -> Refusal {
    let refusal = Refusal::new("approval_rejected", "the person said no to this purchase; no money moved");
    about(refusal, intent)
}

fn in_progress(intent: &Intent) -> Refusal {
    let refusal =
        Refusal::new("intent_in_progress", "this purchase is being made by another call; it is not made twice");
    about(refusal.retryable(true), intent)
}

/// `intent` has this mandate under another idempotency key, or this key with another mandate.
pub(crate) fn other_key(intent: &Intent) -> Refusal {
    let sentence = "a mandate keeps the idempotency_key that it was first presented under, and the payment in context has \
                    this mandate or this key already; nothing was sent";
    let refusal = about(Refusal::new("idempotency_conflict", sentence), intent);
    let next_step = "Call again without idempotency_key: the one stored with the mandate is used.";
    refusal.with("sent", false).with("next_step", next_step)
}

fn with_intent(refusal: Refusal, journal: &IntentJournal<'_>) -> Refusal {
    about(refusal, &journal.intent())
}

/// Which intent it was, and what to do where money may be in flight.
pub(crate) fn about(refusal: Refusal, intent: &Intent) -> Refusal {
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
        LedgerError::Frozen(_) => "frozen",
        LedgerError::InProgress(_) => "intent_in_progress",
        LedgerError::NoSuchIntent(_) => "no_such_intent",
        LedgerError::IllegalStep { .. } => "illegal_step",
        LedgerError::ApprovalMissing(_) => "approval_missing",
        LedgerError::AlreadyApproved(_) => "already_approved",
        LedgerError::ApprovalExpired(_) => "approval_expired",
        LedgerError::ApprovalMismatch { .. } => "approval_mismatch",
        LedgerError::TicketSpent(_) => "request_state_spent",
        LedgerError::DeclarationMismatch { .. } => "declaration_mismatch",
        _ => "ledger_failed",
    };
    Refusal::new(code, &error.to_string()).retryable(matches!(error, LedgerError::Busy { .. }))
}

pub(crate) const NEXT_IN_FLIGHT: &str = "Call again with the same arguments, and change none of them: the same purchase is \
presented under the same idempotency_key, which the merchant settles at most once.";

const OTHERS: Duration = Duration::from_secs(15);
const OTHERS_POLL: Duration = Duration::from_millis(100);
