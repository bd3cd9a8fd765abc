//! How a caller's person can be asked, and for how long a call may wait and run.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use oid4ac_client::Consent;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::refusal::{Code, Refusal};

/// The person behind a caller, as the caller's face can reach them: through an MCP client, a terminal, a page, or not at all
/// ([`Nobody`]).
pub trait Person: Send + Sync {
    /// How a question of this form can be put; `None` if it cannot.
    fn way(&self, form: Form) -> Option<Way>;

    /// Puts a question and waits for the answer, for at most `time`. `None` if no answer came.
    fn ask(&self, question: Question, time: Duration) -> Later<'_, Option<Said>>;

    /// Tells the caller what is waited for, where it can be told. `waited` of `limit` have passed.
    fn tell(&self, message: String, waited: Duration, limit: Duration) -> Later<'_, ()>;

    /// What the caller brought back from a question that an earlier answer asked; once.
    fn take_input(&self) -> Option<Input>;
}

/// What comes later.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// No person can be asked.
#[derive(Clone, Copy, Debug)]
pub struct Nobody;

impl Person for Nobody {
    fn way(&self, _: Form) -> Option<Way> {
        None
    }

    fn ask(&self, _: Question, _: Duration) -> Later<'_, Option<Said>> {
        Box::pin(std::future::ready(None))
    }

    fn tell(&self, _: String, _: Duration, _: Duration) -> Later<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    fn take_input(&self) -> Option<Input> {
        None
    }
}

/// How a question reaches the person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A request of ours, answered while the call waits.
    WithinCall,
    /// An answer of ours, after which the call is repeated with the person's answer.
    ByRepeating,
}

/// The form of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Yes or no.
    Approval,
    /// A page that the person opens.
    Page,
}

/// A question to the person, built from verified data alone.
#[derive(Clone, Debug)]
pub enum Question {
    /// Whether they approve a payment: what is shown, line by line, as label and value.
    Approval(Vec<(String, String)>),
    /// To open a page and decide there.
    Page {
        /// What it is about.
        message: String,
        /// The page.
        url: String,
        /// What tells this question from others.
        id: String,
    },
}

/// A question that the caller has to put, and to call again with the answer and this state.
#[derive(Clone, Debug)]
pub struct ToAsk {
    /// The question.
    pub question: Question,
    /// To be brought back as it is.
    pub state: String,
}

/// What the person answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// What they did with the question.
    pub action: Action,
    /// Whether they ticked the approval, where it was answered.
    pub approve: Option<bool>,
}

/// What a person did with a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// They answered it.
    Accept,
    /// They said no to it.
    Decline,
    /// They closed it.
    Cancel,
}

/// What a caller brings back from a question that an earlier answer of ours asked.
#[derive(Clone, Debug)]
pub struct Input {
    /// The state, as it came.
    pub state: String,
    /// The answer to a question for an approval.
    pub approval: Option<Said>,
    /// The answer to a question about a page.
    pub page: Option<Said>,
}

/// One call: its person, how long it may wait for them, and when it has to stop.
pub struct Waiting {
    person: Box<dyn Person>,
    limit: Duration,
    began: Instant,
    stop: Stop,
}

/// When a call has to stop.
#[derive(Clone)]
pub struct Stop {
    cancelled: CancellationToken,
    ending: EndWatch,
    deadline: Instant,
    /// How long the call may take.
    allowed: Duration,
}

/// Why a call has to stop. Nothing that it was about to send has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    /// The caller gave up, or has gone, or the process is to end.
    #[error("the call was cancelled; it presented nothing and paid nothing")]
    Cancelled,
    /// It took too long.
    #[error("the call took longer than {} seconds, which is the most; it presented nothing and paid nothing", .0.as_secs())]
    Deadline(Duration),
}

impl Stopped {
    /// The same as a refusal.
    #[must_use]
    pub fn refusal(self) -> Refusal {
        let code = match self {
            Self::Cancelled => Code::CallCancelled,
            Self::Deadline(_) => Code::DeadlineExceeded,
        };
        Refusal::new(code, &self.to_string()).retryable(true)
    }
}

impl Stop {
    /// Whether the call has to stop now.
    #[must_use]
    pub fn now(&self) -> Option<Stopped> {
        if self.cancelled.is_cancelled() || self.ending.has_begun() {
            return Some(Stopped::Cancelled);
        }
        (Instant::now() >= self.deadline).then_some(Stopped::Deadline(self.allowed))
    }

    /// Waits until it has to stop.
    pub async fn wait(&self) -> Stopped {
        tokio::select! {
            () = self.cancelled.cancelled() => Stopped::Cancelled,
            _ = self.ending.begun() => Stopped::Cancelled,
            () = sleep_until(self.deadline) => Stopped::Deadline(self.allowed),
        }
    }

    /// Waits until not even a payment that was sent can be waited for. That its caller gave up is no reason.
    pub async fn no_time_left(&self) {
        tokio::select! {
            () = sleep_until(self.deadline) => {}
            () = async { sleep_until(self.ending.begun().await).await } => {}
        }
    }

    /// Does `work`, which may be dropped at any time, unless the call has to stop before it is done.
    ///
    /// # Errors
    ///
    /// - The error of `work`, or the reason to stop.
    pub async fn unless_stopped<T>(&self, work: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
        tokio::select! {
            biased;
            done = work => done,
            why = self.wait() => Err(why.refusal()),
        }
    }
}

impl Waiting {
    /// For a call that may wait for its person for `limit`, and take `allowed` in all.
    #[must_use]
    pub fn new(
        person: Box<dyn Person>,
        limit: Duration,
        allowed: Duration,
        cancelled: CancellationToken,
        ending: EndWatch,
    ) -> Self {
        let began = Instant::now();
        let stop = Stop { cancelled, ending, deadline: began + allowed, allowed };
        Self { person, limit: limit.min(allowed.saturating_sub(TO_ANSWER)), began, stop }
    }

    /// When the call has to stop.
    #[must_use]
    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// What the caller brought back, once.
    #[must_use]
    pub fn take_input(&self) -> Option<Input> {
        self.person.take_input()
    }

    /// How long the call may still wait for its person.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.limit.saturating_sub(self.began.elapsed())
    }

    /// Waits; `false` if the call has to stop meanwhile.
    pub async fn pause(&self, time: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(time) => true,
            _ = self.stop.wait() => false,
        }
    }

    /// How such a question can be put to the person now; `None` if it cannot.
    #[must_use]
    pub fn way(&self, form: Form) -> Option<Way> {
        self.person.way(form).filter(|way| *way == Way::ByRepeating || !self.left().is_zero())
    }

    /// Puts a question to the person, for as long as the call may wait. `None` if no answer came.
    pub async fn ask(&self, question: Question) -> Option<Said> {
        tokio::select! {
            answer = self.person.ask(question, self.left()) => answer,
            _ = self.stop.wait() => None,
        }
    }

    /// Tells a caller that asked for progress that a human is deciding on a page.
    pub async fn tell_consent(&self, consent: &Consent) {
        self.tell(format!("Waiting for the person's decision at {}", consent.url)).await;
    }

    /// Tells a caller that asked for progress what is waited for.
    pub async fn tell(&self, message: String) {
        self.person.tell(message, self.began.elapsed(), self.limit).await;
    }
}

/// The end of the process. A clone is the same end.
#[derive(Clone, Debug)]
pub struct Ending(Arc<watch::Sender<Option<Instant>>>);

/// What a call sees of it. The process waits until no call has one any more.
#[derive(Clone, Debug)]
pub struct EndWatch(watch::Receiver<Option<Instant>>);

impl Default for Ending {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl Ending {
    /// Tells every call that the process is about to end.
    pub fn begin(&self) {
        self.0.send_if_modified(|since| {
            let is_first = since.is_none();
            since.get_or_insert_with(Instant::now);
            is_first
        });
    }

    /// For a call.
    #[must_use]
    pub fn watch(&self) -> EndWatch {
        EndWatch(self.0.subscribe())
    }

    /// Waits until the calls that run have ended, for as long as one may take to finish a payment.
    pub async fn calls_ended(&self) {
        if tokio::time::timeout(GRACE + Duration::from_secs(1), self.0.closed()).await.is_err() {
            tracing::warn!("the process ends while a call is still running");
        }
    }
}

impl EndWatch {
    /// Whether the process is about to end.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Waits until the end begins, and gives when no more time is left to finish anything.
    pub async fn begun(&self) -> Instant {
        let mut watched = self.0.clone();
        // Without a sender the process is past its end.
        let since = watched.wait_for(Option::is_some).await.ok().and_then(|since| *since);
        since.map_or_else(Instant::now, |since| since + GRACE)
    }
}

/// What is left of a call's time, once it has waited for a human for as long as it may, to say so.
const TO_ANSWER: Duration = Duration::from_secs(1);

/// How long a payment that was sent may take to be recorded once the process is to end. Supervisors kill soon after.
const GRACE: Duration = Duration::from_secs(10);
