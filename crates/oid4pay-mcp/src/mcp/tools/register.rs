//! `agent_register`.

use crate::mcp::answer::success;
use crate::mcp::host::Host;
use oid4ac_client::{RegisterRequest, Registered, SetupToken};
use oid4pay::person::Waiting;
use oid4pay::refusal::Refusal;
use rmcp::model::CallToolResult;
use serde::Deserialize;
use serde_json::json;

use super::args::{self, Text, Uri};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Arguments {
    setup_token: Text,
    as_url: Uri,
    #[serde(deserialize_with = "args::at_least_one")]
    redirect_uris: Vec<Uri>,
    #[serde(default, deserialize_with = "args::present")]
    client_name: Option<String>,
}

pub(super) async fn register(
    Host { agent, .. }: &Host,
    arguments: Arguments,
    _: Waiting,
) -> Result<CallToolResult, Refusal> {
    let issuer = agent.issuer_named(arguments.as_url.as_str())?;
    let client = agent.client(&issuer)?;
    let setup_token = SetupToken::new(arguments.setup_token.into_string());
    let mut request = RegisterRequest::new(setup_token, arguments.redirect_uris.into_iter().map(Uri::into_string));
    if let Some(name) = arguments.client_name {
        request = request.with_client_name(name);
    }
    if let Some(scope) = &agent.settings().authorization_server.registration_scope {
        request = request.with_scope(scope);
    }
    agent.check_may_register(&client, &request)?;
    let registered = client.register(&request).await?;
    let registration = registered.registration();
    let sentence = match &registered {
        Registered::Before(_) => format!(
            "Already registered at {} as {}; the setup token was not used.",
            registration.as_url, registration.client_id
        ),
        _ => format!("Registered at {} as {}.", registration.as_url, registration.client_id),
    };
    let output = json!({"ok": true, "client_id": registration.client_id, "as_url": registration.as_url});
    Ok(success(output, sentence, None))
}
