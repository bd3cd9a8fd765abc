//! Asking a person through their MCP client.
//!
//! A question goes out by elicitation where the client can (up to protocol 2025-11-25), and as an input-required result with
//! single-use state from 2026-07-28 on. A client that does not answer, or cannot ask, approves nothing.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use oid4pay::person::{Action, Form, Input, Later, Person, Question, Said, ToAsk, Way};
use rmcp::model::{
    BooleanSchema, ClientCapabilities, ElicitRequest, ElicitRequestParams, ElicitResult, ElicitationAction,
    ElicitationSchema, InputRequest, InputRequiredResult, InputResponses, PrimitiveSchemaDefinition,
    ProgressNotificationParam, ProtocolVersion,
};
use rmcp::service::{RequestContext, RoleServer};

/// The person behind one call of an MCP client.
pub(crate) struct McpPerson {
    context: RequestContext<RoleServer>,
    input: Mutex<Option<Input>>,
}

impl McpPerson {
    /// For a call, with what the client brought back with it.
    pub(crate) fn new(
        context: RequestContext<RoleServer>,
        state: Option<String>,
        responses: Option<InputResponses>,
    ) -> Self {
        let responses = responses.unwrap_or_default();
        let answer = |name| {
            let answer: ElicitResult = serde_json::from_value(responses.get(name)?.clone()).ok()?;
            Some(said(answer))
        };
        let input = state.map(|state| Input { state, approval: answer(APPROVAL), page: answer(CONSENT) });
        Self { context, input: Mutex::new(input) }
    }
}

impl Person for McpPerson {
    fn way(&self, form: Form) -> Option<Way> {
        let ClientCapabilities { elicitation, .. } = self.context.client_capabilities()?;
        let elicitation = elicitation?;
        let can = match form {
            Form::Page => elicitation.url.is_some(),
            // An empty capability is the older form of the one for forms.
            Form::Approval => elicitation.form.is_some() || elicitation.url.is_none(),
        };
        let is_inline = self.context.protocol_version().is_some_and(|version| version >= ProtocolVersion::V_2026_07_28);
        can.then_some(if is_inline { Way::ByRepeating } else { Way::WithinCall })
    }

    fn ask(&self, question: Question, time: Duration) -> Later<'_, Option<Said>> {
        Box::pin(async move {
            let asked = self.context.peer.create_elicitation_with_timeout(in_words(question), Some(time)).await;
            asked.inspect_err(|error| tracing::info!(%error, "no answer to a question")).ok().map(said)
        })
    }

    fn tell(&self, message: String, waited: Duration, limit: Duration) -> Later<'_, ()> {
        Box::pin(async move {
            let Some(token) = self.context.meta.get_progress_token() else { return };
            let param = ProgressNotificationParam::new(token, waited.as_secs_f64())
                .with_total(limit.as_secs_f64())
                .with_message(message);
            // A client that cannot be told is still owed the answer.
            let _ = self.context.peer.notify_progress(param).await;
        })
    }

    fn take_input(&self) -> Option<Input> {
        self.input.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A question for the client to put, as the answer to a call.
pub(crate) fn input_required(to_ask: ToAsk) -> InputRequiredResult {
    let name = match &to_ask.question {
        Question::Approval(_) => APPROVAL,
        Question::Page { .. } => CONSENT,
    };
    let request = InputRequest::Elicitation(ElicitRequest::new(in_words(to_ask.question)));
    InputRequiredResult::new(Some(BTreeMap::from([(name.to_owned(), request)])), Some(to_ask.state))
}

/// A question as clients show it.
fn in_words(question: Question) -> ElicitRequestParams {
    match question {
        Question::Approval(lines) => {
            let mut message = "Your agent wants to pay. Do you approve this payment?\n".to_owned();
            for (label, value) in lines {
                message.push_str(&format!("\n{label}: {value}"));
            }
            let approve =
                BooleanSchema::new().title("Approve this payment").description("Only a tick here approves it.");
            let properties = BTreeMap::from([(APPROVE.to_owned(), PrimitiveSchemaDefinition::Boolean(approve))]);
            let requested_schema = ElicitationSchema::new(properties).with_required(vec![APPROVE.to_owned()]);
            ElicitRequestParams::FormElicitationParams { meta: None, message, requested_schema }
        }
        Question::Page { message, url, id } => {
            ElicitRequestParams::UrlElicitationParams { meta: None, message, url, elicitation_id: id }
        }
    }
}

fn said(answer: ElicitResult) -> Said {
    let action = match answer.action {
        ElicitationAction::Accept => Action::Accept,
        ElicitationAction::Decline => Action::Decline,
        _ => Action::Cancel,
    };
    Said { action, approve: answer.content.as_ref().and_then(|content| content.get(APPROVE)?.as_bool()) }
}

const APPROVAL: &str = "approval";
const CONSENT: &str = "consent";
const APPROVE: &str = "approve";

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn only_a_field_that_is_ticked_approves() {
        let approves = |content: Value| {
            let answer = ElicitResult::new(ElicitationAction::Accept);
            said(if content.is_null() { answer } else { answer.with_content(content) }).approve
        };
        for (content, expected) in [
            (json!({"approve": true}), Some(true)),
            (json!({"approve": false}), Some(false)),
            (json!({"approve": "true"}), None),
            (json!({}), None),
            (Value::Null, None),
        ] {
            assert_eq!(approves(content.clone()), expected, "{content}");
        }
    }
}
