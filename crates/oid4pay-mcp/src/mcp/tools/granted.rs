//! Calls that the person has to allow in their wallet, as answers of tools.

use oid4ac_client::{Consent, Error, Granted};
use oid4pay::person::Waiting;
use oid4pay::refusal::Refusal;
use oid4pay::wallet::{self, Allowed};
use rmcp::model::{CallToolResponse, CallToolResult};
use serde_json::json;

use crate::mcp::answer::success;
use crate::mcp::name::Name;
use crate::mcp::person::input_required;

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
    Ok(match wallet::granted(waiting, asked_for(tool), call).await? {
        Allowed::Done(value) => done(value).into(),
        Allowed::Undecided(consent) => approval_required(&consent).into(),
        Allowed::Ask(to_ask) => input_required(to_ask).into(),
    })
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
