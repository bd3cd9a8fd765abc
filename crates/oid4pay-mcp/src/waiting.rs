//! Waiting within a call: for how long, until what, and what the client is told and asked meanwhile.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use oid4ac_client::Consent;
use rmcp::model::{
    ClientCapabilities, ElicitRequestParams, ElicitResult, InputResponses, ProgressNotificationParam, ProtocolVersion,
};
use rmcp::service::{RequestContext, RoleServer};
use tokio::time::Instant;

/// How long one call may wait for a human, and the ways in which it ends earlier.
pub(crate) struct Waiting {
    limit: Duration,
    began: Instant,
    context: RequestContext<RoleServer>,
    input: Mutex<Option<Input>>,
}

/// What a client brings back from a question that an earlier answer of ours asked.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    /// The state, as it came.
    pub(crate) state: String,
    /// What the person answered.
    pub(crate) responses: InputResponses,
}

/// How a question reaches the person through the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// A request of ours, answered while the call waits (up to 2025-11-25).
    Elicit,
    /// An answer of ours that asks for the call to be repeated with the person's answer (2026-07-28).
    InputRequired,
}

/// The form of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Yes or no, in the client.
    Fields,
    /// A page that the client opens.
    Url,
}

impl Waiting {
    pub(crate) fn new(limit: Duration, context: RequestContext<RoleServer>) -> Self {
        Self { limit, began: Instant::now(), context, input: Mutex::default() }
    }

    /// What the client brought back with this call.
    #[must_use]
    pub(crate) fn with_input(mut self, state: Option<String>, responses: Option<InputResponses>) -> Self {
        let input = state.map(|state| Input { state, responses: responses.unwrap_or_default() });
        self.input = Mutex::new(input);
        self
    }

    /// What the client brought back, once.
    pub(crate) fn take_input(&self) -> Option<Input> {
        self.input.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// How long the call may still wait for a human.
    pub(crate) fn left(&self) -> Duration {
        self.limit.saturating_sub(self.began.elapsed())
    }

    /// Waits; `false` if the caller gave up meanwhile.
    pub(crate) async fn pause(&self, time: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(time) => true,
            () = self.context.ct.cancelled() => false,
        }
    }

    /// How this client can put such a question to its person; `None` if it cannot.
    pub(crate) fn way(&self, form: Form) -> Option<Way> {
        let ClientCapabilities { elicitation, .. } = self.context.client_capabilities()?;
        let elicitation = elicitation?;
        let can = match form {
            Form::Url => elicitation.url.is_some(),
            // An empty capability is the older form of the one for forms.
            Form::Fields => elicitation.form.is_some() || elicitation.url.is_none(),
        };
        let is_inline = self.context.protocol_version().is_some_and(|version| version >= ProtocolVersion::V_2026_07_28);
        match (can, is_inline) {
            (false, _) => None,
            (true, true) => Some(Way::InputRequired),
            (true, false) => (!self.left().is_zero()).then_some(Way::Elicit),
        }
    }

    /// Puts a question to the person, for as long as the call may wait. `None` if no answer came.
    pub(crate) async fn elicit(&self, question: ElicitRequestParams) -> Option<ElicitResult> {
        let asked = self.context.peer.create_elicitation_with_timeout(question, Some(self.left()));
        tokio::select! {
            answer = asked => answer.inspect_err(|error| tracing::info!(%error, "no answer to a question")).ok(),
            () = self.context.ct.cancelled() => None,
        }
    }

    /// Tells a caller that asked for progress that a human is deciding on a page.
    pub(crate) async fn tell_consent(&self, consent: &Consent) {
        self.tell(format!("Waiting for the person's decision at {}", consent.url)).await;
    }

    /// Tells a caller that asked for progress what is waited for.
    pub(crate) async fn tell(&self, message: String) {
        let Some(token) = self.context.meta.get_progress_token() else { return };
        let param = ProgressNotificationParam::new(token, self.began.elapsed().as_secs_f64())
            .with_total(self.limit.as_secs_f64())
            .with_message(message);
        // A client that cannot be told is still owed the answer.
        let _ = self.context.peer.notify_progress(param).await;
    }
}
