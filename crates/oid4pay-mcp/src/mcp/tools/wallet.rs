//! `agent_wallet_register`, `agent_wallet_list_agents`, `agent_wallet_revoke_agent`.

use crate::mcp::answer::{counted, success};
use crate::mcp::host::Host;
use crate::mcp::name::Name;
use oid4ac_client::{Client, Origin, RegisterRequest, Registered, SetupToken};
use oid4pay::agents::Agent;
use oid4pay::person::Waiting;
use oid4pay::refusal::{Code, Refusal};
use rmcp::model::{CallToolResponse, CallToolResult};
use serde::Deserialize;
use serde_json::{Value, json};

use super::args::{self, Text, Uri};
use super::granted::granted;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RegisterArguments {
    setup_token: Text,
    as_url: Uri,
    #[serde(deserialize_with = "args::at_least_one")]
    redirect_uris: Vec<Uri>,
    client_name: String,
    purpose: String,
    #[serde(default = "wallet_scopes")]
    scope: String,
}

fn wallet_scopes() -> String {
    "wallet:read wallet:write".to_owned()
}

pub(super) async fn register(
    Host { agent, .. }: &Host,
    arguments: RegisterArguments,
    _: Waiting,
) -> Result<CallToolResult, Refusal> {
    // The contract has words for this, and a setup token is too good to be spent on it.
    for (member, text) in [("client_name", &arguments.client_name), ("purpose", &arguments.purpose)] {
        if text.is_empty() {
            let refusal = Refusal::new(Code::InvalidClientMetadata, "");
            return Err(refusal.with("member", member).with("sent", false));
        }
    }
    let client = agent.client(&agent.issuer_named(arguments.as_url.as_str())?)?;
    let scope = arguments.scope.as_str();
    let base = agent.settings().authorization_server.registration_scope.as_deref().unwrap_or(PAYING);
    let setup_token = SetupToken::new(arguments.setup_token.into_string());
    let request = RegisterRequest::new(setup_token, arguments.redirect_uris.into_iter().map(Uri::into_string))
        .with_client_name(&arguments.client_name)
        .with_purpose(&arguments.purpose)
        .with_scope(union(base, scope));
    agent.check_may_register(&client, &request)?;
    let registered = client.register(&request).await?;
    let registration = registered.registration();
    let granted: Vec<_> = registration.scope.as_deref().unwrap_or_default().split(' ').collect();
    let scope: Vec<_> = scope.split(' ').filter(|scope| granted.contains(scope)).collect();
    let sentence = match &registered {
        Registered::Before(_) => format!(
            "Already registered at {} as {}; the setup token was not used.",
            registration.as_url, registration.client_id
        ),
        _ => format!("Registered at {} as {}.", registration.as_url, registration.client_id),
    };
    let output = json!({
        "ok": true,
        "client_id": registration.client_id,
        "principal_id": registration.principal_id,
        "client_name": registration.client_name.as_ref().unwrap_or(&arguments.client_name),
        "purpose": registration.purpose.as_ref().unwrap_or(&arguments.purpose),
        "scope": scope.join(" "),
        "as_url": registration.as_url,
    });
    Ok(success(output, sentence, None))
}

/// Each scope of both once, in the order given.
fn union(one: &str, other: &str) -> String {
    let mut scopes: Vec<&str> = Vec::new();
    for scope in one.split(' ').chain(other.split(' ')) {
        if !scope.is_empty() && !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    scopes.join(" ")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListArguments {
    as_url: Uri,
    resource: Uri,
    redirect_uri: Uri,
}

pub(super) async fn list_agents(
    Host { agent, .. }: &Host,
    arguments: ListArguments,
    waiting: Waiting,
) -> Result<CallToolResponse, Refusal> {
    let tool = Name::WalletListAgents;
    let client = client(agent, &arguments.as_url, &arguments.resource)?;
    let redirect_uri = arguments.redirect_uri.as_str();
    granted(
        tool,
        &waiting,
        || client.wallet_agents(redirect_uri),
        |list| {
            let active = list.agents.iter().filter(|agent| agent.status == "active").count();
            let mut sentence =
                format!("The person has {}, {active} of them active.", counted(list.agents.len(), "agent", "agents"));
            if list.agents_omitted > 0 {
                sentence.push_str(&format!(" {} more have no usable client_id and are left out.", list.agents_omitted));
            }
            let mut output = json!(list);
            output["untrusted_fields"] = json!(["agents[].client_name", "agents[].purpose", "agents[].scope"]);
            success(output, sentence, None)
        },
    )
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RevokeArguments {
    as_url: Uri,
    agent_client_id: Text,
    resource: Uri,
    redirect_uri: Uri,
}

pub(super) async fn revoke_agent(
    Host { agent, .. }: &Host,
    arguments: RevokeArguments,
    waiting: Waiting,
) -> Result<CallToolResponse, Refusal> {
    let tool = Name::WalletRevokeAgent;
    let client = client(agent, &arguments.as_url, &arguments.resource)?;
    let (revoked, redirect_uri) = (arguments.agent_client_id.as_str(), arguments.redirect_uri.as_str());
    let own = client.registration()?;
    let is_itself = own.is_some_and(|own| own.client_id == revoked);
    granted(
        tool,
        &waiting,
        || client.revoke_agent(revoked, redirect_uri),
        |revocation| {
            let mandates = revocation.cascade.mandates_revoked;
            let mut sentence = format!("The agent is revoked; mandates revoked with it: {mandates}.");
            if is_itself {
                sentence.push_str(" It is this agent itself: it can do nothing more until it is registered again.");
            }
            let mut output = json!(revocation);
            output["ok"] = Value::Bool(true);
            success(output, sentence, None)
        },
    )
    .await
}

/// The client for a call on the wallet. Its tokens are for the authorization server alone.
fn client(agent: &Agent, as_url: &Uri, resource: &Uri) -> Result<Client, Refusal> {
    let issuer = agent.issuer_named(as_url.as_str())?;
    let client = agent.registered_client(&issuer)?;
    let origin = Origin::of(&issuer).ok();
    let resource = resource.as_str();
    match origin.is_some_and(|origin| resource.strip_suffix('/').unwrap_or(resource) == origin.as_str()) {
        true => Ok(client),
        false => Err(Refusal::new(Code::InvalidResource, "resource must be the authorization server's origin")),
    }
}

/// What every agent registers for.
const PAYING: &str = "openid payment:initiate";
