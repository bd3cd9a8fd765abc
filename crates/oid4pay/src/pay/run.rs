//! The one way in which a purchase is made, gone on with, or answered again.

use std::time::Duration;

use oid4ac_client::{Client, Error, IdempotencyKey, InFlight, LocalError, NotIssued, Outcome};
use serde_json::{Value, json};
use spend_guard::{
    Approval, Begun, Claim, Intent, LedgerError, MAX_AMOUNT_MINOR, Policy, Purchase, PurchaseKind, Severity, State,
};

use super::ask::{self, Asked, ConsentQuestion, Decision, Reply};
use super::call::{Answer, Call, Place, Ran, Work};
use super::clock;
use super::journal::IntentJournal;
use super::pick::{let_go, pick};
use super::refused::{denied, failed, in_progress, other_key, rejected, resolved};
use crate::agents::Agent;
use crate::approvals;
use crate::person::{Stopped, ToAsk};
use crate::refusal::{Code, Refusal, ledger_failed};
use crate::resolve;

/// Makes the purchase, goes on with it, or answers what came of it.
///
/// # Errors
///
/// - A [`Refusal`]: the guard's, the person's, a server's, or what failed on this machine. A purchase that was recorded stands in
///   it, and what may have been paid is never a refusal but [`Answer::Unknown`] or [`Answer::Unresolved`].
pub async fn run(mut call: Call<'_>) -> Result<Ran, Refusal> {
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
            Decision::No(intent) => {
                let intent = end_unused(&call, intent).await;
                // Report a rejection once. A caller that has gone did not see it; reporting twice is better than never.
                if call.waiting.stop().now() != Some(Stopped::Cancelled)
                    && let Err(error) = call.agent.ledger().rejection_told(&intent.id)
                {
                    tracing::warn!(intent = %intent.id, %error, "that the rejection was told could not be recorded");
                }
                return Err(rejected(&intent));
            }
            Decision::Open(intent) => {
                let answer = Answer::ApprovalRequired { intent, place: Place::Here };
                return Ok(Ran::Answered(Box::new(answer)));
            }
            Decision::AskClient(question) => return Ok(Ran::AskClient(question)),
        }
    }
}

/// What policy and ledger would say about `purchase` now, for a dry run. Nothing is stored or reserved.
///
/// # Errors
///
/// - If policy or ledger cannot be read.
pub fn simulate(agent: &Agent, client: &Client, purchase: Purchase) -> Result<Value, Refusal> {
    let policy = agent.policy()?;
    let purchase = with_agent(purchase, client);
    let evaluation = agent.ledger().simulate(&purchase, &policy)?;
    Ok(json!({"verdict": evaluation.verdict, "findings": evaluation.findings}))
}

/// Sets the agent that rules match: the client id at the authorization server, since the model can choose any name.
pub fn with_agent(purchase: Purchase, client: &Client) -> Purchase {
    match client.registration() {
        Ok(Some(registration)) => purchase.agent(registration.client_id),
        // Without a registration nothing is paid, and the next step reports a file that cannot be read.
        _ => purchase,
    }
}

/// How far one attempt got.
enum Attempt {
    Ran(Ran),
    /// A human has to agree first.
    AskHuman(Box<Intent>, Asked),
}

impl From<Answer> for Attempt {
    fn from(answer: Answer) -> Self {
        Self::Ran(Ran::Answered(Box::new(answer)))
    }
}

async fn attempt(call: &Call<'_>, policy: &Policy, reply: &mut Option<Reply>) -> Result<Attempt, Refusal> {
    let ledger = call.agent.ledger();
    if let Some(why) = call.waiting.stop().now() {
        return Err(why.refusal());
    }
    clock::check(call, policy).await?;
    let begun = begin(call, policy).await?;
    let begun = match reply.as_ref() {
        Some(reply) => reply.check_is_about(begun)?,
        None => begun,
    };
    let (journal, replayed) = match begun {
        Begun::New(claim) | Begun::Resume(claim) => {
            let claim = match &call.work {
                Work::Cheapest(cheapest) => pick(cheapest, call, claim, policy).await?,
                _ => claim,
            };
            raise_alerts(&claim);
            if wants_human_now(claim.intent()) {
                return put_question(claim, call, policy);
            }
            (IntentJournal::driving(ledger, policy, claim, call.waiting.stop().clone()), false)
        }
        Begun::Replay(intent) => (IntentJournal::settled(ledger, policy, intent), true),
        Begun::Recorded(intent) => return recorded(call, intent).await.map(Attempt::from),
        Begun::InProgress(intent) => return Err(in_progress(&intent)),
        Begun::AwaitingApproval(intent) => return Ok(Attempt::AskHuman(Box::new(intent), Asked::Before)),
        Begun::Rejected(intent) => return Err(rejected(&end_unused(call, intent).await)),
        Begun::Denied(mut denial) => {
            denial.intent = end_unused(call, denial.intent).await;
            return Err(denied(&denial));
        }
    };
    let Some(key) = journal.idempotency_key() else {
        let refusal = Refusal::new(Code::LedgerFailed, "the intent's idempotency key is damaged");
        return Err(refusal.about(&journal.intent()));
    };
    match drive(call, &key, &journal, reply.take()).await {
        Ok(Driven::AskClient(question)) => Ok(Attempt::Ran(Ran::AskClient(question))),
        Ok(Driven::Stopped(why)) => Err(cut_off(call, journal, why)),
        Ok(Driven::NoTimeLeft) => {
            if journal.intent().state.is_final() {
                return over(&journal, replayed).map(Attempt::from);
            }
            journal.lose("timed_out");
            let intent = journal.intent();
            if intent.state == State::Unresolved {
                return Ok(Answer::Unresolved { intent, replayed: false }.into());
            }
            let last = "the time of the call was over before the merchant answered".to_owned();
            Ok(Answer::Unknown { intent, last }.into())
        }
        Ok(Driven::Refused) => {
            journal.close("declined", "the person did not want to decide about it");
            Err(given_up(call, &journal, Refusal::declined(Some(NotIssued::ByPerson))).await)
        }
        Ok(Driven::To(Outcome::Settled(payment))) => {
            Ok(Answer::Settled { intent: journal.intent(), payment, replayed }.into())
        }
        Ok(Driven::To(Outcome::Consent(consent))) => {
            let place = Place::AuthorizationServer(consent);
            Ok(Answer::ApprovalRequired { intent: journal.intent(), place }.into())
        }
        Ok(Driven::To(Outcome::Declined)) => {
            Err(given_up(call, &journal, Refusal::declined(journal.not_issued())).await)
        }
        Ok(Driven::To(Outcome::ConsentExpired)) => {
            let refusal = Refusal::new(Code::ConsentExpired, "nobody decided in time; no money moved");
            journal.close(refusal.code().as_str(), "nobody decided in time");
            Err(given_up(call, &journal, refusal).await)
        }
        Ok(Driven::To(Outcome::Unknown(in_flight))) => match unknown(call, &journal, in_flight)? {
            Answer::Unresolved { intent, replayed } => {
                drop(journal);
                let intent = resolve::by_chain_if_allowed(call.agent, call.client, intent).await;
                as_recorded(intent, replayed).map(Attempt::from)
            }
            answer => Ok(answer.into()),
        },
        // Either the person has to agree first, or the cap of the mandate is not allowed.
        Ok(Driven::To(Outcome::Stopped)) => match journal.into_claim() {
            Some(claim) if !claim.intent().state.is_final() => put_question(claim, call, policy),
            Some(claim) => Err(failed(claim.intent())),
            None => Err(Refusal::new(Code::UnexpectedOutcome, "a settled payment was stopped")),
        },
        Ok(Driven::To(_)) => {
            let refusal = Refusal::new(Code::UnexpectedOutcome, "the client gave an outcome not known here");
            Err(refusal.about(&journal.intent()))
        }
        Err(error) => {
            if !journal.intent().was_presented() && !is_worth_resuming(&error, &journal) {
                journal.close(error.code(), &error.to_string());
            }
            let signatures = journal.signatures(Some(&error));
            let refusal = match said_by_journal::<LedgerError>(&error) {
                Some(error) => ledger_failed(error),
                None => Refusal::from(error),
            };
            // Whatever went wrong, the same call is what clears it up, but for a freeze that only a person ends.
            let clears_up = journal.intent().state.is_in_flight() && refusal.code() != Code::Frozen;
            let refusal = if clears_up { refusal.retryable(true) } else { refusal };
            Err(given_up(call, &journal, refusal.signatures(signatures)).await)
        }
    }
}

/// What is answered of a purchase that may be over. A mandate that it held and never presented is no use to anybody then, and
/// is ended.
async fn given_up(call: &Call<'_>, journal: &IntentJournal<'_>, refusal: Refusal) -> Refusal {
    refusal.about(&end_unused(call, journal.intent()).await)
}

/// Ends the grant of a purchase that is over and was never presented.
async fn end_unused(call: &Call<'_>, intent: Intent) -> Intent {
    match intent.state.is_final() && !intent.was_presented() {
        true => resolve::end_grant(call.agent.ledger(), call.client, intent).await,
        false => intent,
    }
}

/// Whether a human has to be asked before anything else is done: one must agree, and what to is known. What an offer says
/// is found out first.
fn wants_human_now(intent: &Intent) -> bool {
    let is_known = intent.kind == PurchaseKind::Verify || intent.offer_verified.is_some();
    let can_wait = matches!(intent.state, State::Created | State::Authorized);
    can_wait && is_known && matches!(intent.approval, Approval::Needed { .. })
}

/// Puts the intent on hold for the human. The next call, in this process or another, finds the question.
fn put_question(claim: Claim, call: &Call<'_>, policy: &Policy) -> Result<Attempt, Refusal> {
    let shown = approvals::shown(&claim, call.agent.ledger(), policy)?;
    let intent = claim.await_approval(shown)?;
    Ok(Attempt::AskHuman(Box::new(intent), Asked::Now))
}

/// Logs the policy's warnings, unless the person is asked anyway. The ledger keeps all of them.
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
    AskClient(ToAsk),
    /// The person declined in their client.
    Refused,
    /// The call had to stop before anything was presented.
    Stopped(Stopped),
    /// Something was presented, and the call cannot wait for the answer any longer.
    NoTimeLeft,
}

/// Does the work, and does it again as long as a human may still decide within the time a call may take.
async fn drive(
    call: &Call<'_>,
    key: &IdempotencyKey,
    journal: &IntentJournal<'_>,
    reply: Option<Reply>,
) -> Result<Driven, Error> {
    let mut question = ConsentQuestion::new(call, reply);
    let mut asked = None;
    loop {
        let outcome = match unless_stopped(call, journal, work(call, key, journal)).await? {
            Driven::To(outcome) => outcome,
            // Where the person decides is worth more than that there was no time to ask again whether they have.
            Driven::Stopped(Stopped::Deadline(_)) if let Some(consent) = asked => {
                return Ok(Driven::To(Outcome::Consent(consent)));
            }
            ended => return Ok(ended),
        };
        let Outcome::Consent(consent) = &outcome else { return Ok(Driven::To(outcome)) };
        asked = Some(consent.clone());
        call.waiting.tell_consent(consent).await;
        match question.put(consent, &journal.intent()).await {
            ask::Consent::Poll => {}
            ask::Consent::AskClient(result) => return Ok(Driven::AskClient(result)),
            ask::Consent::Refused => return Ok(Driven::Refused),
            ask::Consent::Enough => return Ok(Driven::To(outcome)),
        }
    }
}

async fn work(call: &Call<'_>, key: &IdempotencyKey, journal: &IntentJournal<'_>) -> Result<Outcome, Error> {
    match &call.work {
        // How far the cap may be above the amount is the policy's question, which the journal puts to it.
        Work::Order(order) => {
            call.client.pay(&order(key.clone())?.with_cap_up_to_minor(MAX_AMOUNT_MINOR), journal).await
        }
        Work::Cheapest(cheapest) => {
            let order = cheapest.order(call.agent.ledger(), &journal.intent(), key)?;
            call.client.pay(&order.with_cap_up_to_minor(MAX_AMOUNT_MINOR), journal).await
        }
        Work::Presentation { presented, line_items, offer_id } => {
            call.client.verify_mandate(presented, line_items, offer_id.as_deref(), key, journal).await
        }
    }
}

/// Does `work` until the call has to stop. What was not presented by then never is: the journal lets no first presentation
/// pass any more, and the work is dropped where it waits. What was presented is not called back, so the merchant's answer
/// is waited for and recorded, for as long as there is time.
async fn unless_stopped(
    call: &Call<'_>,
    journal: &IntentJournal<'_>,
    work: impl Future<Output = Result<Outcome, Error>>,
) -> Result<Driven, Error> {
    let stop = call.waiting.stop();
    let mut work = std::pin::pin!(work);
    let done = tokio::select! {
        biased;
        done = &mut work => Some(done),
        // Also where the outcome is known, and only the grant is being ended.
        why = stop.wait() => match journal.intent().was_presented() {
            true => None,
            false => return Ok(Driven::Stopped(why)),
        },
    };
    let done = match done {
        Some(done) => done,
        None => tokio::select! {
            biased;
            done = work => done,
            () = stop.no_time_left() => return Ok(Driven::NoTimeLeft),
        },
    };
    match done {
        Ok(outcome) => Ok(Driven::To(outcome)),
        Err(error) => match said_by_journal::<Stopped>(&error) {
            Some(why) => Ok(Driven::Stopped(*why)),
            None => Err(error),
        },
    }
}

/// Ends a call that had to stop before anything was presented. What a human or the authorization server was asked already
/// stays open, and so does a purchase that only took too long: the next call goes on with it. What its caller gave up
/// before is called off, so that it holds no money back.
fn cut_off(call: &Call<'_>, journal: IntentJournal<'_>, why: Stopped) -> Refusal {
    let intent = journal.intent();
    drop(journal);
    why.refusal().about(&let_go(call, intent, why))
}

/// The answer about a lost one. What the merchant said last decides how it is worded, not how it is treated, and only what
/// does not sound like a verdict is worded in the merchant's terms.
fn unknown(call: &Call<'_>, journal: &IntentJournal<'_>, in_flight: Box<InFlight>) -> Result<Answer, Refusal> {
    let intent = journal.intent();
    if intent.state == State::Unresolved {
        return Ok(Answer::Unresolved { intent, replayed: false });
    }
    // A merchant's server that failed is reported as such, and so is what it says of a presentation that the caller made.
    let is_reported = |status: u16| status >= 500 || matches!(call.work, Work::Presentation { .. });
    if let Error::Server(server) = &in_flight.last
        && is_reported(server.status())
        && !server.sounds_like_a_refusal()
    {
        let signatures = journal.signatures(Some(&in_flight.last));
        return Err(Refusal::from(in_flight.last).retryable(true).signatures(signatures).about(&intent));
    }
    Ok(Answer::Unknown { intent, last: in_flight.last.to_string() })
}

/// The outcome that was recorded before the time of the call was over. The next call ends the grant.
fn over(journal: &IntentJournal<'_>, replayed: bool) -> Result<Answer, Refusal> {
    let intent = journal.intent();
    match journal.recorded() {
        Some(payment) if intent.state == State::Settled => {
            Ok(Answer::Settled { intent, payment: Box::new(payment), replayed })
        }
        None if intent.state == State::Settled && intent.resolution.is_none() => {
            Err(Refusal::new(Code::LedgerFailed, "it was paid, but the record of it cannot be read").about(&intent))
        }
        _ => as_recorded(intent, replayed),
    }
}

/// What is recorded of a purchase that is over: a mandate was presented for it, and no second one is.
async fn recorded(call: &Call<'_>, intent: Intent) -> Result<Answer, Refusal> {
    let intent = resolve::end_grant(call.agent.ledger(), call.client, intent).await;
    let intent = resolve::by_chain_if_allowed(call.agent, call.client, intent).await;
    as_recorded(intent, true)
}

fn as_recorded(intent: Intent, replayed: bool) -> Result<Answer, Refusal> {
    if intent.state == State::Unresolved {
        return Ok(Answer::Unresolved { intent, replayed });
    }
    let refusal = resolved(&intent);
    Err(if replayed { refusal.with("replayed", true) } else { refusal })
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

const OTHERS: Duration = Duration::from_secs(15);
const OTHERS_POLL: Duration = Duration::from_millis(100);
