//! Waiting within a call: for how long, until what, and what the client is told and asked meanwhile.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use oid4ac_client::Consent;
use rmcp::model::{
    ClientCapabilities, ElicitRequestParams, ElicitResult, InputResponses, ProgressNotificationParam, ProtocolVersion,
};
use rmcp::service::{RequestContext, RoleServer};
use tokio::time::{Instant, sleep_until};

use crate::errors::{Code, Refusal};
use crate::stop::EndWatch;

/// How long one call may wait for a human, and the ways in which it ends earlier.
pub(crate) struct Waiting {
    limit: Duration,
    began: Instant,
    stop: Stop,
    input: Mutex<Option<Input>>,
}

/// When a call has to stop.
#[derive(Clone)]
pub(crate) struct Stop {
    context: RequestContext<RoleServer>,
    ending: EndWatch,
    deadline: Instant,
    /// How long the call may take.
    allowed: Duration,
}

/// Why a call has to stop. Nothing that it was about to send has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stopped {
    /// The caller gave up, or has gone, or the process is to end.
    #[error("the call was cancelled; it presented nothing and paid nothing")]
    Cancelled,
    /// It took too long.
    #[error("the call took longer than {} seconds, which is the most; it presented nothing and paid nothing", .0.as_secs())]
    Deadline(Duration),
}

impl Stopped {
    /// What the caller is told.
    pub(crate) fn refusal(self) -> Refusal {
        let sentence = self.to_string();
        let refusal = match self {
            Self::Cancelled => Refusal::new(Code::CallCancelled, &sentence),
            Self::Deadline(_) => Refusal::new(Code::DeadlineExceeded, &sentence),
        };
        refusal.retryable(true)
    }
}

impl Stop {
    /// Whether the call has to stop now.
    pub(crate) fn now(&self) -> Option<Stopped> {
        if self.context.ct.is_cancelled() || self.ending.has_begun() {
            return Some(Stopped::Cancelled);
        }
        (Instant::now() >= self.deadline).then_some(Stopped::Deadline(self.allowed))
    }

    /// Waits until it has to stop.
    pub(crate) async fn wait(&self) -> Stopped {
        tokio::select! {
            () = self.context.ct.cancelled() => Stopped::Cancelled,
            _ = self.ending.begun() => Stopped::Cancelled,
            () = sleep_until(self.deadline) => Stopped::Deadline(self.allowed),
        }
    }

    /// Waits until not even a payment that was sent can be waited for. That its caller gave up is no reason.
    pub(crate) async fn no_time_left(&self) {
        tokio::select! {
            () = sleep_until(self.deadline) => {}
            () = async { sleep_until(self.ending.begun().await).await } => {}
        }
    }

    /// Does `work`, which may be dropped at any time, unless the call has to stop before it is done.
    pub(crate) async fn unless_stopped<T>(&self, work: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
        tokio::select! {
            biased;
            done = work => done,
            why = self.wait() => Err(why.refusal()),
        }
    }
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
    /// For a call that may wait for a human for `limit`, and take `allowed` in all.
    pub(crate) fn new(
        limit: Duration,
        allowed: Duration,
        ending: EndWatch,
        context: RequestContext<RoleServer>,
    ) -> Self {
        let began = Instant::now();
        let stop = Stop { context, ending, deadline: began + allowed, allowed };
        Self { limit: limit.min(allowed.saturating_sub(TO_ANSWER)), began, stop, input: Mutex::default() }
    }

    /// When the call has to stop.
    pub(crate) fn stop(&self) -> &Stop {
        &self.stop
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

    /// Waits; `false` if the call has to stop meanwhile.
    pub(crate) async fn pause(&self, time: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(time) => true,
            _ = self.stop.wait() => false,
        }
    }

    /// How this client can put such a question to its person; `None` if it cannot.
    pub(crate) fn way(&self, form: Form) -> Option<Way> {
        let ClientCapabilities { elicitation, .. } = self.stop.context.client_capabilities()?;
        let elicitation = elicitation?;
        let can = match form {
            Form::Url => elicitation.url.is_some(),
            // An empty capability is the older form of the one for forms.
            Form::Fields => elicitation.form.is_some() || elicitation.url.is_none(),
        };
        let is_inline =
            self.stop.context.protocol_version().is_some_and(|version| version >= ProtocolVersion::V_2026_07_28);
        match (can, is_inline) {
            (false, _) => None,
            (true, true) => Some(Way::InputRequired),
            (true, false) => (!self.left().is_zero()).then_some(Way::Elicit),
        }
    }

    /// Puts a question to the person, for as long as the call may wait. `None` if no answer came.
    pub(crate) async fn elicit(&self, question: ElicitRequestParams) -> Option<ElicitResult> {
        let asked = self.stop.context.peer.create_elicitation_with_timeout(question, Some(self.left()));
        tokio::select! {
            answer = asked => answer.inspect_err(|error| tracing::info!(%error, "no answer to a question")).ok(),
            _ = self.stop.wait() => None,
        }
    }

    /// Tells a caller that asked for progress that a human is deciding on a page.
    pub(crate) async fn tell_consent(&self, consent: &Consent) {
        self.tell(format!("Waiting for the person's decision at {}", consent.url)).await;
    }

    /// Tells a caller that asked for progress what is waited for.
    pub(crate) async fn tell(&self, message: String) {
        let Some(token) = self.stop.context.meta.get_progress_token() else { return };
        let param = ProgressNotificationParam::new(token, self.began.elapsed().as_secs_f64())
            .with_total(self.limit.as_secs_f64())
            .with_message(message);
        // A client that cannot be told is still owed the answer.
        let _ = self.stop.context.peer.notify_progress(param).await;
    }
}

/// What is left of a call's time, once it has waited for a human for as long as it may, to say so.
const TO_ANSWER: Duration = Duration::from_secs(1);
