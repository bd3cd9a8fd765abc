//! Calls that the person has to allow: waiting for their decision, and what is answered meanwhile.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use jose::{base64url, sha256};
use oid4ac_client::{Consent, Error, Granted, Misuse, PrincipalTokenError, ServerError, Stage, WalletScope};
use rmcp::model::{
    CallToolResponse, CallToolResult, ElicitRequest, ElicitRequestParams, ElicitResult, ElicitationAction,
    InputRequest, InputRequiredResult,
};
use serde_json::json;

use super::{Name, success};
use crate::errors::{Code, Refusal};
use crate::waiting::{Form, Waiting, Way};

/// Makes a call, and makes it again as long as the person may still decide within the time a call may take.
pub(super) async fn granted<T, Answer>(
    tool: Name,
    waiting: &Waiting,
    call: impl Fn() -> Answer,
    done: impl FnOnce(T) -> CallToolResult,
) -> Result<CallToolResponse, Refusal>
where
    Answer: Future<Output = Result<Granted<T>, Error>>,
{
    let mut question = None;
    loop {
        let consent = match call().await.map_err(|error| Refusal::from_client(tool, &error))? {
            Granted::Done(value) => return Ok(done(value).into()),
            Granted::Consent(consent) => consent,
            Granted::InsufficientScope(scope) => return Err(insufficient_scope(tool, scope)),
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
            None => match Question::put(waiting, tool, &consent) {
                Put::Question(put) => question.insert(put),
                Put::AskClient(result) => return Ok(result.into()),
            },
        };
        match question.wait(Duration::from_secs(consent.interval_seconds.max(1))).await {
            Next::Poll => {}
            Next::Answer => return Ok(approval_required(&consent).into()),
            Next::Refuse => {
                return Err(Refusal::new(
                    Code::Declined,
                    "the person did not want to decide about this; nothing was done",
                ));
            }
        }
    }
}

/// Sending the person to the consent page through the client, once in a call, where it can.
struct Question<'a> {
    waiting: &'a Waiting,
    asked: Option<Pin<Box<dyn Future<Output = Option<ElicitResult>> + Send + 'a>>>,
    /// What they said to it.
    said: Option<ElicitationAction>,
}

/// How a question goes out.
enum Put<'a> {
    Question(Question<'a>),
    /// The client has to ask, and to call again.
    AskClient(InputRequiredResult),
}

/// What to do while the person has not decided.
enum Next {
    Poll,
    Answer,
    Refuse,
}

impl<'a> Question<'a> {
    fn put(waiting: &'a Waiting, tool: Name, consent: &Consent) -> Put<'a> {
        // It permits nothing: it only says that the client has asked about this very consent.
        let state = format!("consent.{}", base64url::encode(&sha256(consent.url.as_bytes())));
        let page = || ElicitRequestParams::UrlElicitationParams {
            meta: None,
            message: format!("Your wallet asks for your decision: {}.", asked_for(tool)),
            url: consent.url.clone(),
            elicitation_id: state.clone(),
        };
        let said = waiting.take_input().filter(|input| input.state == state).map(|input| {
            let answer = input.responses.get(CONSENT).and_then(|value| serde_json::from_value(value.clone()).ok());
            answer.map_or(ElicitationAction::Cancel, |answer: ElicitResult| answer.action)
        });
        let asked = match waiting.way(Form::Url).filter(|_| said.is_none()) {
            Some(Way::Elicit) => Some(Box::pin(waiting.elicit(page())) as _),
            Some(Way::InputRequired) => {
                let request = InputRequest::Elicitation(ElicitRequest::new(page()));
                let requests = BTreeMap::from([(CONSENT.to_owned(), request)]);
                return Put::AskClient(InputRequiredResult::new(Some(requests), Some(state)));
            }
            None => None,
        };
        Put::Question(Self { waiting, asked, said })
    }

    /// Waits for as long as the authorization server wants between two polls.
    async fn wait(&mut self, interval: Duration) -> Next {
        let pause = self.waiting.pause(interval);
        let mut pause = std::pin::pin!(pause);
        loop {
            match self.said {
                Some(ElicitationAction::Decline) => return Next::Refuse,
                Some(ElicitationAction::Cancel) => return Next::Answer,
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

/// What the person decides about, in their words.
fn asked_for(tool: Name) -> &'static str {
    match tool {
        Name::WalletListAgents => "this agent wants to see which agents you have registered",
        Name::WalletRevokeAgent => "this agent wants to end an agent's access; its client_id stands in the call",
        Name::DsarInitiate => "this agent asks for a copy of the data that is held on you",
        Name::AuditChainQuery => "this agent wants to read the log of what was done for you",
        Name::PaymentHistory => "this agent wants to read your payments",
        _ => "this agent wants to act for you in your wallet",
    }
}

fn approval_required(consent: &Consent) -> CallToolResult {
    let mut output = json!({
        "status": "approval_required",
        "consent_url": consent.url,
        "consent_mode": consent.mode,
        "next_step": "Show the person consent_url, then call again with the same arguments.",
    });
    let mut sentence = format!("The person has to allow this at {}", consent.url);
    if let Ok(deadline) = jiff::Timestamp::from_second(consent.expires_at) {
        output["consent_expires_at"] = json!(deadline.to_string());
        sentence.push_str(&format!(" until {deadline}"));
    }
    sentence.push_str("; nothing was done yet. Then call again with the same arguments.");
    success(output, sentence, None)
}

/// In the contract, the tools that get their token themselves leave out `failed`.
fn insufficient_scope(tool: Name, scope: WalletScope) -> Refusal {
    let failed = match tool {
        Name::WalletListAgents | Name::WalletRevokeAgent => "",
        _ => " failed",
    };
    let told =
        format!("{failed}: insufficient_scope (need {scope}); it is not registered, or the person did not grant it");
    Refusal::told(Code::InsufficientScope, told).with("scope", scope.as_str())
}

/// What a refusal of the wallet, privacy or audit endpoints is told as, where the contract has the words.
pub(crate) fn refused(tool: Name, server: &ServerError, code: Code) -> Option<Refusal> {
    let status = server.status();
    let words = match (tool, server.stage(), status, code) {
        (_, Stage::WalletList | Stage::WalletRevoke, ..) => {
            let said = match code {
                Code::AuthorizationServerRefused => status.to_string(),
                code => format!("{status} {code}"),
            };
            return Some(Refusal::told(code, format!(" failed ({said}): {}", in_a_sentence(status))));
        }
        (_, Stage::Dsar | Stage::Audit, 401, Code::InvalidToken) => return wants_wallet_session(tool),
        (_, Stage::Audit, 403, Code::PrincipalMismatch) => "principal_id mismatch",
        (_, Stage::Dsar, 429, _) => "rate limited; DSAR caps at 10/day per principal per endpoint",
        (Name::PaymentHistory, Stage::Audit, 429, _) => "rate limited; payment history caps at 30/min per principal",
        (_, Stage::Audit, 429, _) => "rate limited; audit chain caps at 30/min per principal",
        _ => return None,
    };
    Some(Refusal::in_words(code, words))
}

fn in_a_sentence(status: u16) -> &'static str {
    match status {
        401 => "the authorization server does not take this agent's wallet session or its proof",
        403 => "the wallet session is not of the person that this agent is registered for",
        404 => "the person has no agent with this client_id",
        409 => "the agent was revoked before, and all its tokens with it",
        429 => "too many calls; try again later",
        500.. => "the authorization server failed; the same call can be made again without harm",
        _ => "the authorization server refused the call",
    }
}

/// What a principal token that may not be sent is told as.
pub(crate) fn unsent(tool: Name, why: PrincipalTokenError) -> Option<Refusal> {
    match why {
        PrincipalTokenError::AgentOnly => wants_wallet_session(tool).map(|refusal| refusal.with("sent", false)),
        why => {
            let error = Error::from(Misuse::PrincipalToken(why));
            Some(Refusal::new(Code::of(&error), &format!("{why}; it was not sent")).with("sent", false))
        }
    }
}

fn wants_wallet_session(tool: Name) -> Option<Refusal> {
    let words = match tool {
        Name::DsarInitiate => "DSAR requires a wallet-session JWT-AT; agent-only tokens are refused",
        Name::AuditChainQuery => "audit chain query requires a wallet-session JWT-AT",
        Name::PaymentHistory => "payment history query requires a wallet-session JWT-AT",
        _ => return None,
    };
    Some(Refusal::in_words(Code::InvalidToken, words))
}

const CONSENT: &str = "consent";
