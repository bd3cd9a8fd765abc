//! `spend_status`.

use crate::mcp::answer::{counted, success};
use crate::mcp::host::Host;
use crate::mcp::name::{Name, Offered};
use oid4ac_client::{FileStore, Misuse, Store as _};
use oid4pay::approvals;
use oid4pay::person::Waiting;
use oid4pay::policy;
use oid4pay::refusal::{Code, Refusal};
use oid4pay::resolve;
use rmcp::model::CallToolResult;
use serde_json::json;
use spend_guard::Filter;

use super::policy::Nothing;

/// Registered, frozen, open, waiting, and which tools there are: one look before anything is done.
pub(in crate::mcp::tools) async fn get(
    Host { agent, settings: host_settings }: &Host,
    _: Nothing,
    _: Waiting,
) -> Result<CallToolResult, Refusal> {
    let settings = agent.settings();
    let offered = Offered::of(host_settings);
    let issuer = settings.issuer()?;
    let (registration, scopes) = match &issuer {
        None => (None, Vec::new()),
        Some(issuer) => {
            let registration = agent.client(issuer)?.registration()?;
            let store = FileStore::for_issuer(&settings.data_dir, issuer);
            (registration, store.session_scopes()?)
        }
    };
    let ledger = agent.ledger();
    let open = Filter { open: Some(true), limit: Filter::MOST, ..Filter::default() };
    let open = ledger.list(&open)?.intents;
    let waiting: Vec<_> = open.iter().filter(|intent| approvals::waits(intent)).collect();
    let unclear = resolve::open(ledger)?;
    let (frozen, standing) = policy::look(agent.policy_source(), ledger)?;
    let (policy_problem, confirmed) = match standing {
        Ok(standing) => (None, standing.is_confirmed()),
        Err(_) => (Some(Code::PolicyUnusable.as_str()), false),
    };
    let can_pay = registration.is_some() && !frozen && confirmed && policy_problem.is_none();
    let tools: Vec<_> = Name::ALL
        .iter()
        .map(|tool| {
            let why_not = offered.check(*tool).err().map(|refusal| refusal.code().as_str());
            json!({"name": tool.as_str(), "available": why_not.is_none(), "why_not": why_not})
        })
        .collect();
    let not_registered = Misuse::NotRegistered.to_string();
    let sentence = match (&registration, frozen, &policy_problem, confirmed) {
        (None, ..) => format!("Nothing can be paid: {not_registered}."),
        (_, true, ..) => "Nothing can be paid: all payments are frozen until the person ends it.".to_owned(),
        (_, _, Some(code), _) => format!("Nothing can be paid: {code}, the person has to correct the policy."),
        (_, _, _, false) => {
            "Nothing can be paid: the person has to confirm the policy, which became looser.".to_owned()
        }
        (Some(registration), ..) => format!(
            "Registered at {}; {} purchases are open, {} of them wait for the person.",
            registration.as_url,
            open.len(),
            waiting.len()
        ),
    };
    let sentence = match unclear.len() {
        0 => sentence,
        count => format!(
            "{sentence} {}, and until the person resolves that with `{}`, counts as spent.",
            counted(count, "purchase may have been paid", "purchases may have been paid"),
            host_settings.command("resolve")
        ),
    };
    let output = json!({
        "can_pay": can_pay,
        "registered": registration.is_some(),
        "client_id": registration.as_ref().map(|registration| registration.client_id.as_str()),
        "as_url": issuer,
        "frozen": frozen,
        "policy_confirmed": confirmed,
        "policy_problem": policy_problem,
        "session_scopes": scopes,
        "open_intents": open.len(),
        "awaiting_approval": waiting.iter().map(|intent| json!({
            "intent_id": intent.id,
            "expires_at": approvals::decide_until(intent).map(approvals::time),
            "waits": approvals::where_it_waits(intent),
            "consent_url": approvals::at_wallet(intent).map(|consent| &consent.url),
        })).collect::<Vec<_>>(),
        "may_have_been_paid": unclear.iter().take(LISTED).map(|intent| json!({
            "intent_id": intent.id,
            "state": intent.state,
            "merchant": intent.merchant,
            "amount_minor": intent.amount_minor,
            "currency": intent.currency,
            "counts_minor": resolve::counts_minor(intent),
            "presented_at": intent.presented_at.map(approvals::time),
            "resolve_command": host_settings.resolve_command(intent),
        })).collect::<Vec<_>>(),
        "read_only": host_settings.read_only,
        "tools": tools,
    });
    Ok(success(output, sentence, None))
}

/// How many purchases that may have been paid are listed.
const LISTED: usize = 20;
