//! The page on which a principal decides.

use std::sync::Arc;

use axum::extract::{Path, Request, State as Extract};
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use jose::UnixSeconds;

use super::html::{escape, form, money, page, refusal_page, table};
use super::visitor::{Visitor, see_other};
use crate::authorization_server::AuthorizationServer;
use crate::authorization_server::authorization_details::{LineItem, MandateRequest};
use crate::authorization_server::grant::Pushed;
use crate::authorization_server::state::{Client, secret_hash};
use crate::clock::rfc3339;
use crate::error::Refusal;
use crate::principal::Principal;
use crate::wallet::{ConsentDecision, WalletError};

/// What waits at a consent URL.
struct Waiting {
    client: Arc<Client>,
    pushed: Pushed,
    expires_at: UnixSeconds,
    decided: Option<ConsentDecision>,
}

/// `GET /portal/consent/{page_id}`.
pub(super) async fn show(
    Extract(server): Extract<Arc<AuthorizationServer>>,
    Path(page_id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let path = format!("/portal/consent/{page_id}");
    match server.signed_in(&headers, &path) {
        Ok((visitor, principal)) => server.consent_page(&visitor, &principal, &page_id),
        Err(sign_in) => *sign_in,
    }
}

/// `POST /portal/consent/{page_id}`.
pub(super) async fn decide(
    Extract(server): Extract<Arc<AuthorizationServer>>,
    Path(page_id): Path<String>,
    request: Request,
) -> Response {
    let (_, principal, form) = match server.posted_by_principal(request).await {
        Ok(posted) => posted,
        Err(response) => return response,
    };
    let decision = match form.get("decision") {
        Some("approve") => ConsentDecision::Approve,
        Some("decline") => ConsentDecision::Decline,
        _ => return refusal_page(&Refusal::invalid_request("neither yes nor no was said")),
    };
    match server.decide_consent(&page_id, &principal.id, decision) {
        Ok(()) => see_other(&format!("/portal/consent/{page_id}"), None),
        Err(error) => refusal_page(&refusal_of(error)),
    }
}

impl AuthorizationServer {
    fn consent_page(&self, visitor: &Visitor, principal: &Principal, page_id: &str) -> Response {
        let waiting = match self.waiting(page_id, principal) {
            Ok(waiting) => waiting,
            Err(error) => return refusal_page(&refusal_of(error)),
        };
        let done =
            |title, text| page(StatusCode::OK, Some(visitor), "", title, &format!("<p class=\"note\">{text}</p>"));
        match waiting.decided {
            Some(ConsentDecision::Approve) => {
                return done("Approved", "Your agent has been told. You can close this page.");
            }
            Some(ConsentDecision::Decline) => {
                return done("Declined", "Nothing was allowed, and nothing will be charged. You can close this page.");
            }
            None if self.clock.now() >= waiting.expires_at => {
                return done("Too late", "This request has expired. Nothing was allowed. Your agent can ask again.");
            }
            None => {}
        }
        let (title, what) = match &waiting.pushed.mandate {
            Some(mandate) => ("Approve this payment?", self.payment(mandate)),
            None => ("Allow access to your wallet?", scopes(&waiting.pushed)),
        };
        let body = format!(
            "{what}{}{}<div class=\"actions\"><button class=\"primary\" name=\"decision\" value=\"approve\">Approve</button>\
             <button class=\"danger\" name=\"decision\" value=\"decline\">Decline</button></div></form>\
             <p class=\"soft\">Decide by <time>{}</time>. If you do not know this agent, decline.</p>",
            agent(&waiting.client),
            form(visitor, &format!("/portal/consent/{}", escape(page_id))),
            rfc3339(waiting.expires_at)
        );
        page(StatusCode::OK, Some(visitor), "", title, &body)
    }

    fn waiting(&self, page_id: &str, principal: &Principal) -> Result<Waiting, WalletError> {
        let now = self.clock.now();
        let state = self.state();
        let consent =
            state.consent_pages.get(now, &secret_hash(page_id)).and_then(|hash| state.consents.get(now, hash));
        let consent = consent.ok_or(WalletError::NoSuchConsent)?;
        if consent.client.principal_id != principal.id {
            return Err(WalletError::NotYours);
        }
        Ok(Waiting {
            client: Arc::clone(&consent.client),
            pushed: consent.pushed.clone(),
            expires_at: consent.expires_at,
            decided: consent.decided.map(|(decision, _)| decision),
        })
    }

    fn payment(&self, mandate: &MandateRequest) -> String {
        let profile = self.merchants.iter().find(|known| known.origin == mandate.merchant).map(|known| known.profile);
        let merchant = escape(profile.map_or(mandate.merchant.as_str(), |profile| profile.business_name));
        let total = money(mandate.amount_minor, &mandate.currency);
        let row = |line: &LineItem| {
            let item = profile.and_then(|profile| profile.items.iter().find(|item| item.sku == line.sku));
            let name = item.map_or_else(|| "Not in the merchant's list".to_owned(), |item| escape(item.title));
            // With one line the price follows from the amount, which is the cap.
            let sole = (mandate.line_items.len() == 1).then(|| mandate.amount_minor.checked_div(line.qty)).flatten();
            let sole = sole.filter(|price| price.checked_mul(line.qty) == Some(mandate.amount_minor));
            let price = line.unit_price_minor.or(sole).map(|price| money(price, &mandate.currency)).unwrap_or_default();
            let (sku, qty) = (escape(&line.sku), line.qty);
            format!("<tr><td>{name}<br><code>{sku}</code></td><td>{qty}</td><td>{price}</td></tr>")
        };
        let rows: String = mandate.line_items.iter().map(row).collect();
        let items = table("What is bought", &["Item", "Quantity", "Price each"], &rows);
        format!(
            "<div class=\"card\"><p class=\"amount\">{total}</p><p>to <strong>{merchant}</strong></p><dl>\
             <dt>At most</dt><dd>{total} in all, once approved</dd><dt>Currency</dt><dd>{}</dd>\
             <dt>Merchant</dt><dd>{merchant}, <code>{}</code>, and nobody else</dd>\
             <dt>Valid</dt><dd>{} from when your agent takes it up</dd></dl></div>{items}",
            escape(&mandate.currency),
            escape(&mandate.merchant),
            duration(self.mandate_ttl_seconds),
        )
    }
}

fn agent(client: &Client) -> String {
    let name = client.client_name.as_deref().unwrap_or("An agent that gave no name");
    let purpose = client.purpose.as_deref().map(|text| format!("<dt>Purpose</dt><dd><bdi>{}</bdi></dd>", escape(text)));
    format!(
        "<div class=\"card\"><h2>Asked for by</h2><dl><dt>Agent</dt><dd><bdi>{}</bdi></dd>{}<dt>Client id</dt>\
         <dd><code>{}</code></dd><dt>Yours since</dt><dd><time>{}</time></dd></dl></div>",
        escape(name),
        purpose.unwrap_or_default(),
        client.client_id,
        rfc3339(client.registered_at)
    )
}

fn scopes(pushed: &Pushed) -> String {
    let words = [
        ("wallet:read", "See your agents"),
        ("wallet:write", "Revoke your agents"),
        ("audit:read", "Read what your agents did and paid"),
        ("privacy:dsar", "Ask for a copy of your data"),
    ];
    let asked = words.iter().filter(|(scope, _)| pushed.scope.contains(scope));
    let list: String = asked.map(|(scope, text)| format!("<li>{text} (<code>{scope}</code>)</li>")).collect();
    format!("<div class=\"card\"><p>Your agent asks to:</p><ul>{list}</ul></div>")
}

fn duration(seconds: UnixSeconds) -> String {
    match seconds % 60 {
        0 => format!("{} minutes", seconds / 60),
        _ => format!("{seconds} seconds"),
    }
}

fn refusal_of(error: WalletError) -> Refusal {
    match error {
        WalletError::NotYours => Refusal::new(
            StatusCode::FORBIDDEN,
            "another_account",
            "this request is for another account; nothing was decided, and it still waits",
        ),
        WalletError::Decided => Refusal::new(StatusCode::CONFLICT, "decided", "this request was decided before"),
        _ => Refusal::new(StatusCode::NOT_FOUND, "not_found", "nothing waits here, or no longer"),
    }
}
