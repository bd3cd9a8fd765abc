//! A principal's agents, payments and audit entries, and the tokens that they can make.

use std::sync::Arc;

use axum::extract::{Path, Request, State as Extract};
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::html::{escape, form, money, page, refusal_page, table};
use super::visitor::{Visitor, see_other};
use crate::audit::Entry;
use crate::authorization_server::AuthorizationServer;
use crate::authorization_server::wallet::ListedAgent;
use crate::config::{ConsentMode, StandingApproval};
use crate::error::Refusal;

/// `GET /portal`.
pub(super) async fn agents(Extract(server): Extract<Arc<AuthorizationServer>>, headers: HeaderMap) -> Response {
    let (visitor, principal) = match server.signed_in(&headers, AGENTS) {
        Ok(signed_in) => signed_in,
        Err(sign_in) => return *sign_in,
    };
    let rows: String = server.agents_of(&principal.id).iter().map(|agent| agent_row(&visitor, agent)).collect();
    let list = match rows.is_empty() {
        true => "<p class=\"card\">You have no agents yet. <a href=\"/portal/connect\">Connect one</a>.</p>".to_owned(),
        false => table("Agents that act for you", &["Agent", "May", "Last used", "Status"], &rows),
    };
    let body = format!("<p class=\"note\">{}</p>{list}", server.approval_in_words());
    page(StatusCode::OK, Some(&visitor), AGENTS, "Your agents", &body)
}

/// `POST /portal/agents/{agent_client_id}/revoke`.
pub(super) async fn revoke(
    Extract(server): Extract<Arc<AuthorizationServer>>,
    Path(agent_client_id): Path<String>,
    request: Request,
) -> Response {
    match server.posted_by_principal(request).await {
        Err(response) => response,
        Ok((_, principal, _)) => match server.revoke_agent(&principal.id, &agent_client_id) {
            Ok(_) => see_other(AGENTS, None),
            Err(refusal) => refusal_page(&refusal),
        },
    }
}

/// `GET /portal/payments`.
pub(super) async fn payments(Extract(server): Extract<Arc<AuthorizationServer>>, headers: HeaderMap) -> Response {
    let (visitor, principal) = match server.signed_in(&headers, PAYMENTS) {
        Ok(signed_in) => signed_in,
        Err(sign_in) => return *sign_in,
    };
    let about_money = |entry: &Entry| entry.event.starts_with("oid4ac.payment.");
    let own = |entry: &Entry| entry.actor.principal_id == principal.id && about_money(entry);
    let (entries, has_more) = server.audit.select(SHOWN, own);
    let rows: String = entries.iter().map(|entry| server.payment_row(entry)).collect();
    let body =
        listed(&rows, has_more, "Newest first", &["When", "Merchant", "Amount", "What"], "No payment was made yet.");
    page(StatusCode::OK, Some(&visitor), PAYMENTS, "Payments", &body)
}

/// `GET /portal/audit`.
pub(super) async fn audit(Extract(server): Extract<Arc<AuthorizationServer>>, headers: HeaderMap) -> Response {
    let (visitor, principal) = match server.signed_in(&headers, AUDIT) {
        Ok(signed_in) => signed_in,
        Err(sign_in) => return *sign_in,
    };
    let (entries, has_more) = server.audit.select(SHOWN, |entry| entry.actor.principal_id == principal.id);
    let row = |entry: &Entry| {
        let agent = escape(entry.actor.agent_client_id.as_deref().unwrap_or("you"));
        let (seq, ts, event, hash) = (entry.seq, &entry.ts, entry.event, entry.entry_hash());
        format!(
            "<tr><td>{seq}</td><td><time>{ts}</time></td><td>{event}<br><code>{agent}</code></td>\
             <td><code>{hash}</code></td></tr>"
        )
    };
    let rows: String = entries.iter().map(row).collect();
    let columns = ["No.", "When", "Event, agent", "Hash"];
    let list = listed(&rows, has_more, "Your entries, newest first", &columns, "Nothing happened yet.");
    let body = format!(
        "<p>Each entry contains the hash of the one before it, so none can be changed or taken out unseen. Numbers that are \
         missing here are other people's entries.</p>{list}"
    );
    page(StatusCode::OK, Some(&visitor), AUDIT, "Audit chain", &body)
}

/// `GET /portal/connect`.
pub(super) async fn connect(Extract(server): Extract<Arc<AuthorizationServer>>, headers: HeaderMap) -> Response {
    let visitor = match server.signed_in(&headers, CONNECT) {
        Ok((visitor, _)) => visitor,
        Err(sign_in) => return *sign_in,
    };
    let checkbox = |(scope, text): &(&str, &str)| {
        format!("<label><input type=\"checkbox\" name=\"{scope}\" value=\"yes\"> {text} (<code>{scope}</code>)</label>")
    };
    let scopes: String = SCOPES.iter().map(checkbox).collect();
    let body = format!(
        "<section class=\"card\"><h2>A new agent</h2><p>A setup token lets one agent register as yours, once, within a \
         day.</p>{}<div class=\"actions\"><button class=\"primary\">Make a setup token</button></div></form></section>\
         <section class=\"card\"><h2>A token of your own</h2><p>Whoever holds it can do what you choose here, for an \
         hour.</p>{}<fieldset><legend>It allows to</legend>{scopes}</fieldset>\
         <div class=\"actions\"><button>Make a token</button></div></form></section>",
        form(&visitor, "/portal/setup-token"),
        form(&visitor, "/portal/principal-token")
    );
    page(StatusCode::OK, Some(&visitor), CONNECT, "Connect", &body)
}

/// `POST /portal/setup-token`.
pub(super) async fn setup_token(Extract(server): Extract<Arc<AuthorizationServer>>, request: Request) -> Response {
    match server.posted_by_principal(request).await {
        Err(response) => response,
        Ok((visitor, principal, _)) => match server.mint_setup_token(&principal.id) {
            Ok(token) => {
                shown_once(&visitor, "Your setup token", &token, "One agent can register with it, within a day.")
            }
            Err(refusal) => refusal_page(&refusal),
        },
    }
}

/// `POST /portal/principal-token`.
pub(super) async fn principal_token(Extract(server): Extract<Arc<AuthorizationServer>>, request: Request) -> Response {
    let (visitor, principal, form) = match server.posted_by_principal(request).await {
        Ok(posted) => posted,
        Err(response) => return response,
    };
    let chosen = SCOPES.iter().map(|(scope, _)| *scope).filter(|scope| form.get(scope).is_some());
    let scope = chosen.collect::<Vec<_>>().join(" ");
    if scope.is_empty() {
        return refusal_page(&Refusal::invalid_request("choose at least one thing that the token allows"));
    }
    match server.mint_portal_token(&principal.id, &scope) {
        Ok(token) => shown_once(&visitor, "Your token", &token, "It is good for an hour."),
        Err(_) => refusal_page(&Refusal::unavailable("temporarily_unavailable", "too many tokens are open")),
    }
}

impl AuthorizationServer {
    fn approval_in_words(&self) -> String {
        if self.consent_mode != ConsentMode::Auto {
            return "You are asked before each payment, and before an agent may see your wallet.".to_owned();
        }
        match self.standing_approval {
            StandingApproval::AnyAmount => {
                "You have approved in advance what your agents pay, whatever the amount.".to_owned()
            }
            StandingApproval::UpToMinor(cap) => {
                format!("You have approved in advance what your agents pay, up to {cap} minor units for each payment.")
            }
            StandingApproval::None => "You have approved nothing in advance: every payment is declined.".to_owned(),
        }
    }

    fn payment_row(&self, entry: &Entry) -> String {
        let text = |name: &str| entry.payload[name].as_str().unwrap_or_default();
        let origin = text("merchant_audience");
        let known = self.merchants.iter().find(|known| known.origin == origin);
        let merchant = escape(known.map_or(origin, |known| known.profile.business_name));
        let amount = money(entry.payload["amount_minor"].as_u64().unwrap_or_default(), text("currency"));
        let what = match entry.payload.get("dispute_status").and_then(Value::as_str) {
            None => "Paid".to_owned(),
            Some(status) => format!("Dispute {}", escape(status)),
        };
        let (ts, id) = (&entry.ts, escape(text("payment_intent_id")));
        format!(
            "<tr><td><time>{ts}</time></td><td>{merchant}<br><code>{id}</code></td><td>{amount}</td><td>{what}</td></tr>"
        )
    }
}

fn agent_row(visitor: &Visitor, agent: &ListedAgent) -> String {
    let name = escape(agent.client_name.as_deref().unwrap_or("No name"));
    let purpose = agent.purpose.as_deref().map(|text| format!("<br><bdi>{}</bdi>", escape(text))).unwrap_or_default();
    let id = &agent.client_id;
    let status = match agent.status {
        "active" => format!(
            "{}<button class=\"danger\" aria-label=\"Revoke {name}, {id}\">Revoke</button></form>",
            form(visitor, &format!("/portal/agents/{id}/revoke"))
        ),
        other => escape(other),
    };
    let used = agent.last_used_at.as_ref().map_or_else(|| "never".to_owned(), |at| format!("<time>{at}</time>"));
    format!(
        "<tr><td><strong><bdi>{name}</bdi></strong>{purpose}<br><code>{id}</code></td><td>{}</td>\
         <td>{used}</td><td>{status}</td></tr>",
        escape(&agent.scope)
    )
}

fn listed(rows: &str, has_more: bool, caption: &str, columns: &[&str], none: &str) -> String {
    let more = if has_more { "<p class=\"soft\">Older ones are not shown.</p>" } else { "" };
    match rows.is_empty() {
        true => format!("<p class=\"card\">{none}</p>"),
        false => format!("{}{more}", table(caption, columns, rows)),
    }
}

fn shown_once(visitor: &Visitor, title: &str, token: &str, what: &str) -> Response {
    let body = format!(
        "<div class=\"card\"><p>{what} Copy it now: it is not shown again. Treat it like a password.</p>\
         <code class=\"token\">{token}</code></div><p><a href=\"{CONNECT}\">Back</a></p>"
    );
    page(StatusCode::OK, Some(visitor), CONNECT, title, &body)
}

const AGENTS: &str = "/portal";
const PAYMENTS: &str = "/portal/payments";
const AUDIT: &str = "/portal/audit";
const CONNECT: &str = "/portal/connect";
const SHOWN: usize = 100;
const SCOPES: [(&str, &str); 4] = [
    ("wallet:read", "see your agents"),
    ("wallet:write", "revoke your agents"),
    ("audit:read", "read what your agents did and paid"),
    ("privacy:dsar", "ask for a copy of your data"),
];
