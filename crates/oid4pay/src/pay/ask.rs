//! Putting a question to the human, and taking their answer.
//!
//! A question goes out while the call waits, or as an answer with single-use state after which the call is repeated, whichever
//! the [`Person`](crate::person::Person) offers; else the answer says where the human decides. A person who does not answer, or
//! cannot be asked, approves nothing.

use std::time::Duration;

use spend_guard::{ApprovalTerms, Begun, Intent, IntentId, Ledger, LedgerError, Policy, State};

use super::call::Call;
use crate::approvals;
use crate::person::{Action, Form, Later, Question, Said, ToAsk, Waiting, Way};
use crate::refusal::{Code, Refusal, ledger_failed};

/// Whether the human was asked just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// By this call.
    Now,
    /// By an earlier one, so that the person may know of it.
    Before,
}

/// What became of a question.
pub(super) enum Decision {
    Yes,
    No(Intent),
    /// Nobody has answered yet.
    Open(Intent),
    /// The client has to ask.
    AskClient(ToAsk),
}

/// What the person answered to a question of an earlier call. Its state was redeemed, and works no second time.
pub(super) struct Reply {
    about: IntentId,
    approval: Option<Said>,
    consent: Option<Said>,
}

impl Reply {
    /// Refuses an answer to the question of another purchase, and gives back what that would have held.
    pub(super) fn check_is_about(&self, begun: Begun) -> Result<Begun, Refusal> {
        let intent = match &begun {
            Begun::New(claim) | Begun::Resume(claim) => claim.intent(),
            Begun::Replay(intent)
            | Begun::Recorded(intent)
            | Begun::InProgress(intent)
            | Begun::AwaitingApproval(intent)
            | Begun::Rejected(intent) => intent,
            Begun::Denied(denial) => &denial.intent,
        };
        if intent.id == self.about {
            return Ok(begun);
        }
        let refusal = Refusal::new(Code::RequestStateSpent, "the requestState belongs to another purchase");
        if let Begun::New(mut claim) = begun
            && let Err(error) = claim.refused(refusal.code().as_str(), "it came with another purchase's requestState")
        {
            tracing::warn!(intent = %claim.intent().id, %error, "the intent could not be closed");
        }
        Err(refusal)
    }
}

/// What the client brought back with this call, its state redeemed.
pub(super) fn take_reply(call: &Call<'_>) -> Result<Option<Reply>, Refusal> {
    let Some(input) = call.waiting.take_input() else { return Ok(None) };
    let parsed = input.state.split_once('.').and_then(|(id, ticket)| Some((IntentId::parse(id).ok()?, ticket)));
    let Some((about, ticket)) = parsed else {
        return Err(Refusal::new(Code::RequestStateSpent, "requestState was not issued by this server"));
    };
    match call.agent.ledger().redeem_ticket(&about, ticket) {
        Ok(_) => {}
        // Which intents there are is not told to whoever invents one.
        Err(LedgerError::NoSuchIntent(id)) => return Err(ledger_failed(&LedgerError::TicketSpent(id))),
        Err(error) => return Err(ledger_failed(&error)),
    }
    Ok(Some(Reply { about, approval: input.approval, consent: input.page }))
}

/// Asks about a purchase that the guard lets wait.
pub(super) async fn human(
    call: &Call<'_>,
    policy: &Policy,
    intent: Intent,
    asked: Asked,
    reply: Option<Reply>,
) -> Result<Decision, Refusal> {
    let ledger = call.agent.ledger();
    let Some(terms) = approvals::terms(&intent).cloned() else { return Ok(Decision::Open(intent)) };
    let in_client = policy.rules().approval_in_client;
    let way = call.waiting.way(Form::Approval).filter(|_| in_client);
    match (way, reply.and_then(|reply| reply.approval)) {
        (Some(_), Some(answer)) => answered(ledger, &intent, &terms, Some(answer)),
        (Some(Way::ByRepeating), None) => {
            let asked = to_ask(ledger, &intent, Question::Approval(approvals::lines(&terms)));
            asked.map(Decision::AskClient).map_err(Refusal::from)
        }
        (Some(Way::WithinCall), None) => {
            let elicited = async {
                let answer = call.waiting.ask(Question::Approval(approvals::lines(&terms))).await;
                answered(ledger, &intent, &terms, answer)
            };
            tokio::select! {
                decision = elicited => decision,
                decision = elsewhere(&call.waiting, ledger, &intent) => decision,
            }
        }
        // Nobody can know yet: waiting would only keep them from being told.
        (None, _) if asked == Asked::Now => Ok(Decision::Open(intent)),
        (None, _) => elsewhere(&call.waiting, ledger, &intent).await,
    }
}

/// Records what the person answered in the client.
fn answered(
    ledger: &Ledger,
    intent: &Intent,
    terms: &ApprovalTerms,
    answer: Option<Said>,
) -> Result<Decision, Refusal> {
    let recorded = match verdict(answer) {
        Some(true) => ledger.approve(&intent.id, terms),
        Some(false) => ledger.reject(&intent.id),
        None => ledger.intent(&intent.id),
    };
    match recorded {
        Ok(intent) => Ok(decided(intent)),
        // Somebody decided elsewhere at the same time.
        Err(LedgerError::AlreadyApproved(_) | LedgerError::IllegalStep { .. }) => {
            ledger.intent(&intent.id).map(decided).map_err(Refusal::from)
        }
        Err(error) => Err(ledger_failed(&error)),
    }
}

/// A yes needs the field ticked as well: a client that accepts every question has asked nobody.
fn verdict(answer: Option<Said>) -> Option<bool> {
    let answer = answer?;
    match answer.action {
        Action::Accept => answer.approve,
        Action::Decline => Some(false),
        Action::Cancel => None,
    }
}

fn decided(intent: Intent) -> Decision {
    match intent.state {
        State::AwaitingApproval => Decision::Open(intent),
        State::Rejected => Decision::No(intent),
        // Approved, or whatever came of it since: the next look at the ledger tells.
        _ => Decision::Yes,
    }
}

/// Waits for a decision in a terminal or on the page.
async fn elsewhere(waiting: &Waiting, ledger: &Ledger, intent: &Intent) -> Result<Decision, Refusal> {
    waiting.tell(format!("Waiting for the person to decide about {}", intent.id)).await;
    loop {
        let decision = ledger.intent(&intent.id).map(decided)?;
        let left = waiting.left();
        if !matches!(decision, Decision::Open(_)) || left.is_zero() || !waiting.pause(left.min(LOOK_AGAIN)).await {
            return Ok(decision);
        }
    }
}

/// What to do while the authorization server waits for the human.
pub(super) enum Consent {
    /// Ask it again whether they have decided.
    Poll,
    /// The client has to send them there.
    AskClient(ToAsk),
    /// They do not want to go there.
    Refused,
    /// The call has taken as long as it may.
    Enough,
}

/// Sending the human to the consent page, once in a call.
pub(super) struct ConsentQuestion<'a> {
    call: &'a Call<'a>,
    answer: Option<Action>,
    asked: Option<Later<'a, Option<Said>>>,
    was_put: bool,
}

impl<'a> ConsentQuestion<'a> {
    pub(super) fn new(call: &'a Call<'a>, reply: Option<Reply>) -> Self {
        let answer = reply.and_then(|reply| reply.consent).map(|answer| answer.action);
        Self { call, was_put: answer.is_some(), answer, asked: None }
    }

    /// Puts the question, or waits for as long as the authorization server wants between two polls.
    pub(super) async fn put(&mut self, consent: &oid4ac_client::Consent, intent: &Intent) -> Consent {
        let waiting = &self.call.waiting;
        if !self.was_put {
            self.was_put = true;
            match waiting.way(Form::Page) {
                Some(Way::ByRepeating) => match to_ask(self.call.agent.ledger(), intent, page(consent, intent)) {
                    Ok(result) => return Consent::AskClient(result),
                    Err(error) => tracing::warn!(intent = %intent.id, %error, "the client could not be asked"),
                },
                Some(Way::WithinCall) => self.asked = Some(Box::pin(waiting.ask(page(consent, intent)))),
                None => {}
            }
        }
        let interval = Duration::from_secs(consent.interval_seconds.max(1));
        loop {
            match self.answer {
                Some(Action::Decline) => return Consent::Refused,
                Some(Action::Cancel) => return Consent::Enough,
                _ => {}
            }
            if interval > waiting.left() {
                return Consent::Enough;
            }
            let Some(asked) = &mut self.asked else {
                return if waiting.pause(interval).await { Consent::Poll } else { Consent::Enough };
            };
            tokio::select! {
                answer = asked => {
                    self.asked = None;
                    self.answer = answer.map(|answer| answer.action);
                }
                goes_on = waiting.pause(interval) => return if goes_on { Consent::Poll } else { Consent::Enough },
            }
        }
    }
}

/// The question for the caller to put. Its state is a ticket of the ledger: drawn at random, bound to the intent, and taken
/// once, in whatever process.
fn to_ask(ledger: &Ledger, intent: &Intent, question: Question) -> Result<ToAsk, LedgerError> {
    let ticket = oid4ac_client::IdempotencyKey::generate(&oid4ac_client::SystemRng);
    ledger.issue_ticket(&intent.id, ticket.as_str())?;
    Ok(ToAsk { question, state: format!("{}.{}", intent.id, ticket.as_str()) })
}

/// The way to the consent page.
fn page(consent: &oid4ac_client::Consent, intent: &Intent) -> Question {
    let cap = approvals::cap_minor(intent)
        .map_or_else(String::new, |cap| format!(" (at most {} by its mandate)", intent.currency.format(cap)));
    let message = format!(
        "Your wallet wants you to decide about a payment of {}{cap} to {}, until {}.",
        intent.currency.format(intent.amount_minor),
        intent.merchant,
        approvals::time(consent.expires_at),
    );
    Question::Page { message, url: consent.url.clone(), id: intent.id.to_string() }
}

const LOOK_AGAIN: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_accepted_question_with_the_approval_ticked_is_a_yes() {
        use Action::{Accept, Cancel, Decline};
        let rows = [
            (Accept, Some(true), Some(true)),
            (Accept, Some(false), Some(false)),
            (Accept, None, None),
            (Decline, Some(true), Some(false)),
            (Cancel, Some(true), None),
        ];
        for (action, approve, expected) in rows {
            assert_eq!(verdict(Some(Said { action, approve })), expected, "{action:?} {approve:?}");
        }
        assert_eq!(verdict(None), None);
    }
}
