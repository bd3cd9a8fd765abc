//! The wallet API: a principal's agents, and what ends one.

use std::sync::Arc;

use axum::extract::{Path, Request, State as Extract};
use axum::response::Response;
use http::StatusCode;
use jose::{UnixSeconds, random_token};
use serde::Serialize;
use serde_json::json;

use super::AuthorizationServer;
use super::client::{Agent, Client};
use super::resource::Wanted;
use super::secret_hash::secret_hash;
use super::state::{Cascade, PortalToken};
use crate::audit::Actor;
use crate::clock::rfc3339;
use crate::error::{Refusal, json as json_response};
use crate::principal::WalletError;
use crate::scope::Scope;

/// `GET /wallet/agents`.
pub(super) async fn agents(Extract(server): Extract<Arc<AuthorizationServer>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let wanted = Wanted { scope: "wallet:read", mismatch: "forbidden" };
    let answer = server.check_session(&parts, &wanted).map(|session| {
        #[derive(Serialize)]
        struct List {
            agents: Vec<ListedAgent>,
        }
        json_response(StatusCode::OK, &List { agents: server.agents_of(&session.principal_id) })
    });
    server.with_resource_nonce(answer)
}

/// `POST /wallet/agents/{agent_client_id}/revoke`.
pub(super) async fn revoke(
    Extract(server): Extract<Arc<AuthorizationServer>>,
    Path(agent_client_id): Path<String>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    let wanted = Wanted { scope: "wallet:write", mismatch: "forbidden" };
    let answer = server.check_session(&parts, &wanted).and_then(|session| {
        let revocation = server.revoke_agent(&session.principal_id, &agent_client_id)?;
        Ok(json_response(StatusCode::OK, &revocation))
    });
    server.with_resource_nonce(answer)
}

/// An agent, as the principal is shown it.
#[derive(Serialize)]
pub(super) struct ListedAgent {
    pub(super) client_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) purpose: Option<String>,
    pub(super) registered_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_used_at: Option<String>,
    pub(super) scope: String,
    pub(super) status: &'static str,
}

/// What became of an agent.
#[derive(Serialize)]
pub(super) struct AgentRevocation {
    ok: bool,
    agent_client_id: String,
    revoked_at: String,
    pub(super) cascade: Cascade,
}

impl AuthorizationServer {
    /// The principal's agents, oldest first.
    pub(super) fn agents_of(&self, principal_id: &str) -> Vec<ListedAgent> {
        let state = self.state();
        let mut own: Vec<&Agent> =
            state.agents.values().filter(|agent| agent.client.principal_id == principal_id).collect();
        own.sort_by_key(|agent| (agent.client.registered_at, &agent.client.client_id));
        own.into_iter()
            .map(|Agent { client, last_used_at, revoked_at }| ListedAgent {
                client_id: client.client_id.clone(),
                client_name: client.client_name.clone(),
                purpose: client.purpose.clone(),
                registered_at: rfc3339(client.registered_at),
                last_used_at: last_used_at.map(rfc3339),
                scope: client.scope.to_string(),
                status: if revoked_at.is_some() { "revoked" } else { "active" },
            })
            .collect()
    }

    /// Revokes an agent with every family of tokens it has. Another principal's agent is as unknown as none.
    pub(super) fn revoke_agent(&self, principal_id: &str, client_id: &str) -> Result<AgentRevocation, Refusal> {
        let now = self.clock.now();
        let mut state = self.state();
        let agent = state.agents.get_mut(client_id).filter(|agent| agent.client.principal_id == principal_id);
        let agent = agent.ok_or_else(|| {
            Refusal::new(StatusCode::NOT_FOUND, "not_found", "the principal has no agent with that client_id")
        })?;
        if agent.revoked_at.is_some() {
            return Err(Refusal::new(StatusCode::CONFLICT, "conflict", "the agent was revoked before"));
        }
        agent.revoked_at = Some(now);
        let families: Vec<_> = state
            .families
            .newest_first(now)
            .filter(|(_, family)| family.grant.client_id == client_id && !family.revoked)
            .map(|(id, _)| *id)
            .collect();
        let mut cascade = Cascade::default();
        for family in families {
            cascade += self.revoke_family(&mut state, family, "agent_revoked");
        }
        self.audit.append(
            "oid4ac.token.revoked",
            Actor { principal_id: principal_id.to_owned(), agent_client_id: Some(client_id.to_owned()) },
            json!({ "reason": "agent_revoked", "agent_client_id": client_id, "cascade": cascade }),
        );
        let (agent_client_id, revoked_at) = (client_id.to_owned(), rfc3339(now));
        Ok(AgentRevocation { ok: true, agent_client_id, revoked_at, cascade })
    }

    /// A token of the portal's for one of its principals.
    pub(crate) fn mint_portal_token(&self, principal_id: &str, scope: &str) -> Result<String, WalletError> {
        let principal = self.principal(principal_id).ok_or(WalletError::NoSuchPrincipal)?;
        let scope = Scope::parse(scope).filter(Scope::is_supported).ok_or(WalletError::NoSuchScope)?;
        let token = format!("principal_token_{}", random_token::<32>(self.rng.as_ref()));
        let entry = PortalToken { principal_id: principal.id.clone(), scope };
        let now = self.clock.now();
        let minted = self.state().portal_tokens.insert(now, secret_hash(&token), now + PORTAL_TOKEN_SECONDS, entry);
        minted.map(|()| token).map_err(|_| WalletError::TooMany)
    }

    /// Gives an agent to another principal.
    pub(crate) fn transfer_agent(&self, client_id: &str, principal_id: &str) -> Result<(), WalletError> {
        let principal = self.principal(principal_id).ok_or(WalletError::NoSuchPrincipal)?;
        let mut state = self.state();
        let agent = state.agents.get_mut(client_id).ok_or(WalletError::NoSuchAgent)?;
        agent.client = Arc::new(Client { principal_id: principal.id.clone(), ..Client::clone(&agent.client) });
        Ok(())
    }
}

const PORTAL_TOKEN_SECONDS: UnixSeconds = 3600;
