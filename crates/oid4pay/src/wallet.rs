//! Calls that the person has to allow in their wallet: waiting for their decision, and what is answered meanwhile.

use std::pin::Pin;
use std::time::Duration;

use jose::{base64url, sha256};
use oid4ac_client::{Consent, Error, Granted};

use crate::person::{Action, Form, Question, Said, ToAsk, Waiting, Way};
use crate::refusal::{Code, Refusal};

/// What came of a call that the person has to allow.
pub enum Allowed<T> {
    /// They did, now or before.
    Done(T),
    /// They have not decided within the time of the call: they can at this page, and the same call goes on.
    Undecided(Consent),
    /// The caller has to send them there, and to call again.
    Ask(ToAsk),
}

/// Makes a call, and makes it again as long as the person may still decide within the time a call may take. `about` says what
/// they decide about.
///
/// # Errors
///
/// - A [`Refusal`]: the client's error, a scope that is missing, a decision that came too late or was a no.
pub async fn granted<T, Answer>(
    waiting: &Waiting,
    about: &str,
    call: impl Fn() -> Answer,
) -> Result<Allowed<T>, Refusal>
where
    Answer: Future<Output = Result<Granted<T>, Error>>,
{
    let mut question = None;
    loop {
        let consent = match call().await? {
            Granted::Done(value) => return Ok(Allowed::Done(value)),
            Granted::Consent(consent) => consent,
            Granted::InsufficientScope(scope) => return Err(Refusal::insufficient_scope(scope)),
            Granted::ConsentExpired => {
                return Err(
                    Refusal::new(Code::ConsentExpired, "nobody decided in time; nothing was done").retryable(true)
                );
            }
            _ => return Err(Refusal::new(Code::UnexpectedOutcome, "the client gave an outcome not known here")),
        };
        waiting.tell_consent(&consent).await;
        let question = match &mut question {
            Some(question) => question,
            None => match Put::question(waiting, about, &consent) {
                Ok(put) => question.insert(put),
                Err(to_ask) => return Ok(Allowed::Ask(to_ask)),
            },
        };
        match question.wait(Duration::from_secs(consent.interval_seconds.max(1))).await {
            Next::Poll => {}
            Next::Answer => return Ok(Allowed::Undecided(consent)),
            Next::Refuse => {
                let sentence = "the person did not want to decide about this; nothing was done";
                return Err(Refusal::new(Code::Declined, sentence));
            }
        }
    }
}

/// Sending the person to the consent page through the caller, once in a call, where it can.
struct Put<'a> {
    waiting: &'a Waiting,
    asked: Option<Pin<Box<dyn Future<Output = Option<Said>> + Send + 'a>>>,
    /// What they said to it.
    said: Option<Action>,
}

/// What to do while the person has not decided.
enum Next {
    Poll,
    Answer,
    Refuse,
}

impl<'a> Put<'a> {
    /// Puts the question; or gives it back, where the caller has to.
    fn question(waiting: &'a Waiting, about: &str, consent: &Consent) -> Result<Self, ToAsk> {
        // It permits nothing: it only says that the caller has asked about this very consent.
        let state = format!("consent.{}", base64url::encode(&sha256(consent.url.as_bytes())));
        let page = || Question::Page {
            message: format!("Your wallet asks for your decision: {about}."),
            url: consent.url.clone(),
            id: state.clone(),
        };
        let said = waiting.take_input().filter(|input| input.state == state);
        let said = said.map(|input| input.page.map_or(Action::Cancel, |said| said.action));
        let asked = match waiting.way(Form::Page).filter(|_| said.is_none()) {
            Some(Way::WithinCall) => Some(Box::pin(waiting.ask(page())) as _),
            Some(Way::ByRepeating) => return Err(ToAsk { question: page(), state }),
            None => None,
        };
        Ok(Self { waiting, asked, said })
    }

    /// Waits for as long as the authorization server wants between two polls.
    async fn wait(&mut self, interval: Duration) -> Next {
        let pause = self.waiting.pause(interval);
        let mut pause = std::pin::pin!(pause);
        loop {
            match self.said {
                Some(Action::Decline) => return Next::Refuse,
                Some(Action::Cancel) => return Next::Answer,
                _ if interval > self.waiting.left() => return Next::Answer,
                _ => {}
            }
            let Some(asked) = &mut self.asked else {
                return if pause.await { Next::Poll } else { Next::Answer };
            };
            tokio::select! {
                answer = asked => {
                    self.asked = None;
                    self.said = answer.map(|answer| answer.action);
                }
                goes_on = &mut pause => return if goes_on { Next::Poll } else { Next::Answer },
            }
        }
    }
}
