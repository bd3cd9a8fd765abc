//! Tokens that a principal makes: one that connects an agent, one of their own.

use std::sync::Arc;

use axum::extract::{Request, State as Extract};
use axum::response::Response;
use http::{HeaderMap, StatusCode};

use super::html::{form, page, qr_code, refused};
use super::session::Visitor;
use super::visitor::see_other;
use super::words::WALLET_SCOPES;
use crate::authorization_server::AuthorizationServer;
use crate::error::Refusal;

/// `GET /portal/connect`.
pub(super) async fn show(Extract(server): Extract<Arc<AuthorizationServer>>, headers: HeaderMap) -> Response {
    let visitor = match server.signed_in(&headers, CONNECT) {
        Ok((visitor, _)) => visitor,
        Err(sign_in) => return *sign_in,
    };
    let checkbox = |(scope, words): &(&str, &str)| {
        format!(
            "<label><input type=\"checkbox\" name=\"{scope}\" value=\"yes\"><span>{words} <code>{scope}</code></span></label>"
        )
    };
    let scopes: String = WALLET_SCOPES.iter().map(checkbox).collect();
    let body = format!(
        "<section class=\"card\"><h2>A new agent</h2><p>A setup token lets one agent register as yours, once, within a \
         day. Give it to the agent when it asks for one.</p>\
         {}<div class=\"actions\"><button class=\"primary\">Make a setup token</button></div></form></section>\
         <section class=\"card\"><h2>A token of your own</h2><p>Anyone who has it can do what you choose here, for an \
         hour. It pays for nothing.</p>{}<fieldset><legend>It allows to</legend>{scopes}</fieldset>\
         <div class=\"actions\"><button>Make a token</button></div></form></section>",
        form(&visitor, "/portal/setup-token"),
        form(&visitor, "/portal/principal-token")
    );
    page(StatusCode::OK, Some(&visitor), CONNECT, "Connect", &body)
}

/// `GET` where only a form goes: a page with a secret that is asked for again.
pub(super) async fn back() -> Response {
    see_other(CONNECT, None)
}

/// `POST /portal/setup-token`.
pub(super) async fn setup_token(Extract(server): Extract<Arc<AuthorizationServer>>, request: Request) -> Response {
    match server.posted_by_principal(request).await {
        Err(response) => response,
        Ok((visitor, principal, _)) => match server.mint_setup_token(&principal.id) {
            Ok(token) => {
                let qr = qr_code(&token, "The setup token as a QR code").unwrap_or_default();
                shown_once(&visitor, "Your setup token", &token, "One agent can register with it, within a day.", &qr)
            }
            Err(refusal) => refused(Some(&visitor), &refusal),
        },
    }
}

/// `POST /portal/principal-token`.
pub(super) async fn principal_token(Extract(server): Extract<Arc<AuthorizationServer>>, request: Request) -> Response {
    let (visitor, principal, form) = match server.posted_by_principal(request).await {
        Ok(posted) => posted,
        Err(response) => return response,
    };
    let chosen = WALLET_SCOPES.iter().map(|(scope, _)| *scope).filter(|scope| form.get(scope).is_some());
    let scope = chosen.collect::<Vec<_>>().join(" ");
    if scope.is_empty() {
        let refusal = Refusal::invalid_request("choose at least one thing that the token allows");
        return refused(Some(&visitor), &refusal);
    }
    match server.mint_portal_token(&principal.id, &scope) {
        Ok(token) => shown_once(&visitor, "Your token", &token, "It is good for an hour.", ""),
        Err(_) => {
            let refusal = Refusal::unavailable("temporarily_unavailable", "too many tokens are open");
            refused(Some(&visitor), &refusal)
        }
    }
}

/// The page with a secret, which is made for it and not kept.
fn shown_once(visitor: &Visitor, title: &str, token: &str, what: &str, picture: &str) -> Response {
    let body = format!(
        "<div class=\"card\"><p>{what} <strong>Copy it now: it is not shown again.</strong> Treat it like a password.</p>\
         <code class=\"token\">{token}</code>{picture}</div><p><a href=\"{CONNECT}\">Back</a></p>"
    );
    page(StatusCode::OK, Some(visitor), CONNECT, title, &body)
}

const CONNECT: &str = "/portal/connect";
