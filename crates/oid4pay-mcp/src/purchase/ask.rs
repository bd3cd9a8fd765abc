//! Putting a question to the human, and taking their answer.
//!
//! A question goes out by elicitation where the client can (up to protocol 2025-11-25), as an input-required result with
//! single-use state (2026-07-28), and else as an answer that says where the human decides. A client that does not answer, or
//! cannot ask, approves nothing.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use rmcp::model::{
    BooleanSchema, ElicitRequest, ElicitRequestParams, ElicitResult, ElicitationAction, ElicitationSchema,
    InputRequest, InputRequiredResult, PrimitiveSchemaDefinition,
};
use spend_guard::{ApprovalTerms, Begun, Intent, IntentId, Ledger, LedgerError, Policy, State};

use super::{Call, ledger_failed};
use crate::approval;
use crate::errors::{Code, Refusal};
use crate::waiting::{Form, Waiting, Way};

/// Whether the human was asked just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// By this call.
    New,
    /// By an earlier one, so that somebody may know of it.
    AskedBefore,
}

/// What became of a question.
pub(super) enum Decision {
    Yes,
    No(Intent),
    /// Nobody has answered yet.
    Open(Intent),
    /// The client has to ask.
    AskClient(Box<InputRequiredResult>),
}

/// What the person answered to an earlier input-required result. Its state was redeemed, and works no second time.
pub(super) struct Reply {
    about: IntentId,
    approval: Option<ElicitResult>,
    consent: Option<ElicitResult>,
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
        return Err(Refusal::new(Code::RequestStateSpent, "the requestState is none of this server's"));
    };
    match call.agent.ledger().redeem_ticket(&about, ticket) {
        Ok(_) => {}
        // Which intents there are is not told to whoever invents one.
        Err(LedgerError::NoSuchIntent(id)) => return Err(ledger_failed(&LedgerError::TicketSpent(id))),
        Err(error) => return Err(ledger_failed(&error)),
    }
    let response = |name| input.responses.get(name).and_then(|value| serde_json::from_value(value.clone()).ok());
    Ok(Some(Reply { about, approval: response(APPROVAL), consent: response(CONSENT) }))
}

/// Asks about a purchase that the guard lets wait.
pub(super) async fn human(
    call: &Call<'_>,
    policy: &Policy,
    intent: Intent,
    question: Question,
    reply: Option<Reply>,
) -> Result<Decision, Refusal> {
    let ledger = call.agent.ledger();
    let Some(terms) = approval::terms(&intent).cloned() else { return Ok(Decision::Open(intent)) };
    let in_client = policy.rules().approval_in_client;
    let way = call.waiting.way(Form::Fields).filter(|_| in_client);
    match (way, reply.and_then(|reply| reply.approval)) {
        (Some(_), Some(answer)) => answered(ledger, &intent, &terms, Some(answer)),
        (Some(Way::InputRequired), None) => {
            let asked = input_required(ledger, &intent, APPROVAL, fields(&terms));
            asked.map(Decision::AskClient).map_err(|error| ledger_failed(&error))
        }
        (Some(Way::Elicit), None) => {
            let elicited = async {
                let answer = call.waiting.elicit(fields(&terms)).await;
                answered(ledger, &intent, &terms, answer)
            };
            tokio::select! {
                decision = elicited => decision,
                decision = elsewhere(&call.waiting, ledger, &intent) => decision,
            }
        }
        // Nobody can know yet: waiting would only keep them from being told.
        (None, _) if question == Question::New => Ok(Decision::Open(intent)),
        (None, _) => elsewhere(&call.waiting, ledger, &intent).await,
    }
}

/// Records what the person answered in the client.
fn answered(
    ledger: &Ledger,
    intent: &Intent,
    terms: &ApprovalTerms,
    answer: Option<ElicitResult>,
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
            ledger.intent(&intent.id).map(decided).map_err(|error| ledger_failed(&error))
        }
        Err(error) => Err(ledger_failed(&error)),
    }
}

/// A yes wants the field ticked as well: a client that accepts whatever it is asked has not asked anybody.
fn verdict(answer: Option<ElicitResult>) -> Option<bool> {
    let answer = answer?;
    match answer.action {
        ElicitationAction::Accept => answer.content?.get(APPROVE)?.as_bool(),
        ElicitationAction::Decline => Some(false),
        _ => None,
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
        let decision = ledger.intent(&intent.id).map(decided).map_err(|error| ledger_failed(&error))?;
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
    AskClient(Box<InputRequiredResult>),
    /// They do not want to go there.
    Refused,
    /// The call has taken as long as it may.
    Enough,
}

/// Sending the human to the consent page, once in a call.
pub(super) struct ConsentQuestion<'a> {
    call: &'a Call<'a>,
    answer: Option<ElicitationAction>,
    asked: Option<Pin<Box<dyn Future<Output = Option<ElicitResult>> + Send + 'a>>>,
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
            match waiting.way(Form::Url) {
                Some(Way::InputRequired) => {
                    match input_required(self.call.agent.ledger(), intent, CONSENT, page(consent, intent)) {
                        Ok(result) => return Consent::AskClient(result),
                        Err(error) => tracing::warn!(intent = %intent.id, %error, "the client could not be asked"),
                    }
                }
                Some(Way::Elicit) => self.asked = Some(Box::pin(waiting.elicit(page(consent, intent)))),
                None => {}
            }
        }
        let interval = Duration::from_secs(consent.interval_seconds.max(1));
        loop {
            match self.answer {
                Some(ElicitationAction::Decline) => return Consent::Refused,
                Some(ElicitationAction::Cancel) => return Consent::Enough,
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

/// The question as an answer to the call. Its state is a ticket of the ledger: drawn at random, bound to the intent, and
/// taken once, in whatever process.
fn input_required(
    ledger: &Ledger,
    intent: &Intent,
    name: &str,
    question: ElicitRequestParams,
) -> Result<Box<InputRequiredResult>, LedgerError> {
    let ticket = oid4ac_client::IdempotencyKey::generate(&oid4ac_client::SystemRng);
    ledger.issue_ticket(&intent.id, ticket.as_str())?;
    let requests = BTreeMap::from([(name.to_owned(), InputRequest::Elicitation(ElicitRequest::new(question)))]);
    let state = format!("{}.{}", intent.id, ticket.as_str());
    Ok(Box::new(InputRequiredResult::new(Some(requests), Some(state))))
}

/// Yes or no to a purchase.
fn fields(terms: &ApprovalTerms) -> ElicitRequestParams {
    let mut message = "Your agent wants to pay. Do you approve this payment?\n".to_owned();
    for (label, value) in approval::lines(terms) {
        message.push_str(&format!("\n{label}: {value}"));
    }
    let approve = BooleanSchema::new().title("Approve this payment").description("Only a tick here approves it.");
    let properties = BTreeMap::from([(APPROVE.to_owned(), PrimitiveSchemaDefinition::Boolean(approve))]);
    let requested_schema = ElicitationSchema::new(properties).with_required(vec![APPROVE.to_owned()]);
    ElicitRequestParams::FormElicitationParams { meta: None, message, requested_schema }
}

/// The way to the consent page.
fn page(consent: &oid4ac_client::Consent, intent: &Intent) -> ElicitRequestParams {
    let cap = match approval::cap_line(intent) {
        Some(_) => format!(" (at most {} by its mandate)", intent.currency.format(intent.at_stake_minor())),
        None => String::new(),
    };
    let message = format!(
        "Your wallet wants you to decide about a payment of {}{cap} to {}, until {}.",
        intent.currency.format(intent.amount_minor),
        intent.merchant,
        approval::time(consent.expires_at),
    );
    let elicitation_id = intent.id.to_string();
    ElicitRequestParams::UrlElicitationParams { meta: None, message, url: consent.url.clone(), elicitation_id }
}

const APPROVAL: &str = "approval";
const CONSENT: &str = "consent";
const APPROVE: &str = "approve";
const LOOK_AGAIN: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn only_an_accepted_form_with_the_field_ticked_is_a_yes() {
        let answer = |action, content: Value| {
            let answer = ElicitResult::new(action);
            verdict(Some(if content.is_null() { answer } else { answer.with_content(content) }))
        };
        use ElicitationAction::{Accept, Cancel, Decline};
        let rows = [
            (Accept, json!({"approve": true}), Some(true)),
            (Accept, json!({"approve": false}), Some(false)),
            (Accept, json!({"approve": "true"}), None),
            (Accept, json!({}), None),
            (Accept, Value::Null, None),
            (Decline, json!({"approve": true}), Some(false)),
            (Cancel, json!({"approve": true}), None),
        ];
        for (action, content, expected) in rows {
            assert_eq!(answer(action.clone(), content.clone()), expected, "{action:?} {content}");
        }
        assert_eq!(verdict(None), None);
    }
}
