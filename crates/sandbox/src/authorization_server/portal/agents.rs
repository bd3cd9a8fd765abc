//! A principal's agents, and the end of one.

use std::sync::Arc;

use axum::extract::{Path, Request, State as Extract};
use axum::response::Response;
use http::{HeaderMap, StatusCode};

use super::html::{escape, form, page, refused};
use super::session::Visitor;
use super::visitor::see_other;
use super::words::{approval_in_advance, moment, permissions};
use crate::authorization_server::AuthorizationServer;
use crate::authorization_server::endpoints::PORTAL_PATH;
use crate::authorization_server::wallet::ListedAgent;
use crate::scope::Scope;

/// `GET /portal`.
pub(super) async fn list(Extract(server): Extract<Arc<AuthorizationServer>>, headers: HeaderMap) -> Response {
    let (visitor, principal) = match server.signed_in(&headers, PORTAL_PATH) {
        Ok(signed_in) => signed_in,
        Err(sign_in) => return *sign_in,
    };
    let agents: String = server.agents_of(&principal.id).iter().map(|agent| item(&visitor, agent)).collect();
    let list = match agents.is_empty() {
        true => "<div class=\"card empty\"><p>You have no agents yet.</p><p class=\"soft\">An agent that you connect can ask \
                 you for payments. It can never pay more than you approve.</p>\
                 <p><a class=\"button\" href=\"/portal/connect\">Connect an agent</a></p></div>"
            .to_owned(),
        false => format!("<ul class=\"plain-list\" aria-label=\"Agents that act for you\">{agents}</ul>"),
    };
    let notice = server.take_notice(&headers).map(|text| format!("<p class=\"note\" role=\"status\">{text}</p>"));
    let body = format!(
        "{}<p class=\"lede\">{}</p>{list}",
        notice.unwrap_or_default(),
        approval_in_advance(server.consent_mode, server.standing_approval)
    );
    page(StatusCode::OK, Some(&visitor), PORTAL_PATH, "Your agents", &body)
}

/// `POST /portal/agents/{agent_client_id}/revoke`.
pub(super) async fn revoke(
    Extract(server): Extract<Arc<AuthorizationServer>>,
    Path(agent_client_id): Path<String>,
    request: Request,
) -> Response {
    let headers = request.headers().clone();
    let (visitor, principal) = match server.posted_by_principal(request).await {
        Ok((visitor, principal, _)) => (visitor, principal),
        Err(response) => return response,
    };
    match server.revoke_agent(&principal.id, &agent_client_id) {
        Ok(revocation) => {
            let cascade = revocation.cascade;
            server.leave_notice(
                &headers,
                format!(
                    "The agent was revoked. With it ended: {}, {} and {}.",
                    counted(cascade.mandates_revoked, "mandate"),
                    counted(cascade.access_tokens_revoked, "access token"),
                    counted(cascade.refresh_tokens_revoked, "refresh token")
                ),
            );
            see_other(PORTAL_PATH, None)
        }
        Err(refusal) => refused(Some(&visitor), &refusal),
    }
}

fn item(visitor: &Visitor, agent: &ListedAgent) -> String {
    let name = escape(agent.client_name.as_deref().unwrap_or("An agent without a name"));
    let purpose = agent.purpose.as_deref().map(|text| format!("<p><bdi>{}</bdi></p>", escape(text)));
    let scope = Scope::parse(&agent.scope);
    let may: String = scope.iter().flat_map(permissions).map(|words| format!("<li>{words}</li>")).collect();
    let used = agent.last_used_at.as_deref().map_or_else(|| "Never".to_owned(), moment);
    let id = &agent.client_id;
    let (badge, end) = match agent.status {
        "active" => (
            "<span class=\"badge good\">Active</span>",
            format!(
                "<details><summary>Revoke<span class=\"unseen\"> {name}, {id}</span></summary>\
                 <p>Its mandates and tokens end at once, and it can no longer ask you for anything. What was paid stays paid. \
                 This cannot be undone: to use the agent again you would have to connect it again.</p>\
                 {}<button class=\"danger\">Revoke this agent</button></form></details>",
                form(visitor, &format!("/portal/agents/{id}/revoke"))
            ),
        ),
        _ => ("<span class=\"badge\">Revoked</span>", String::new()),
    };
    format!(
        "<li class=\"card\"><div class=\"row\"><h2><bdi>{name}</bdi></h2>{badge}</div>{}\
         <ul class=\"chips\" aria-label=\"It may\">{may}</ul>\
         <dl><dt>Connected</dt><dd>{}</dd><dt>Last used</dt><dd>{used}</dd><dt>Client id</dt><dd><code>{id}</code></dd></dl>\
         {end}</li>",
        purpose.unwrap_or_default(),
        moment(&agent.registered_at)
    )
}

fn counted(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
