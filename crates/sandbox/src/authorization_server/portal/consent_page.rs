//! The page on which a principal decides.

use std::sync::Arc;

use axum::extract::{Path, Request, State as Extract};
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use jose::UnixSeconds;

use super::html::{Tone, escape, form, notice, page, refused};
use super::session::Visitor;
use super::visitor::see_other;
use super::words::{WALLET_SCOPES, duration, moment, money};
use crate::authorization_server::authorization_details::{LineItem, MandateRequest};
use crate::authorization_server::client::Client;
use crate::authorization_server::grant::Pushed;
use crate::authorization_server::secret_hash::secret_hash;
use crate::authorization_server::{AuthorizationServer, KnownMerchant};
use crate::clock::rfc3339;
use crate::error::Refusal;
use crate::principal::Principal;
use crate::principal::{ConsentDecision, WalletError};

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
    let (visitor, principal, form) = match server.posted_by_principal(request).await {
        Ok(posted) => posted,
        Err(response) => return response,
    };
    let decision = match form.get("decision") {
        Some("approve") => ConsentDecision::Approve,
        Some("decline") => ConsentDecision::Decline,
        _ => return refused(Some(&visitor), &Refusal::invalid_request("neither yes nor no was said")),
    };
    match server.decide_consent(&page_id, &principal.id, decision) {
        Ok(()) => see_other(&format!("/portal/consent/{page_id}"), None),
        Err(error) => refused(Some(&visitor), &refusal_of(error)),
    }
}

impl AuthorizationServer {
    fn consent_page(&self, visitor: &Visitor, principal: &Principal, page_id: &str) -> Response {
        let waiting = match self.waiting(page_id, principal) {
            Ok(waiting) => waiting,
            Err(error) => return refused(Some(visitor), &refusal_of(error)),
        };
        match waiting.decided {
            Some(ConsentDecision::Approve) => return notice(visitor, Tone::Good, "Approved", &self.approved(&waiting)),
            Some(ConsentDecision::Decline) => {
                let text = "<p>Nothing was allowed, and nothing will be charged.</p><p class=\"soft\">Your agent learns \
                            of this by itself. You can close this page.</p>";
                return notice(visitor, Tone::Neutral, "Declined", text);
            }
            None if self.clock.now() >= waiting.expires_at => {
                let text = "<p>This request has expired. Nothing was allowed, and nothing will be charged.</p>\
                            <p class=\"soft\">Your agent can ask again.</p>";
                return notice(visitor, Tone::Neutral, "Too late", text);
            }
            None => {}
        }
        let (title, wants, what, yes) = match &waiting.pushed.mandate {
            Some(mandate) => (
                "Approve this payment?",
                "wants to pay this for you",
                self.payment(mandate),
                format!("Approve {}", money(mandate.amount_minor, &mandate.currency)),
            ),
            None => {
                let what = access(&waiting.pushed);
                ("Allow access to your wallet?", "wants to see or change what is in it", what, "Approve".to_owned())
            }
        };
        let body = format!(
            "<p class=\"lede\"><strong><bdi>{}</bdi></strong> {wants}.</p>{what}{}{}\
             <div class=\"actions\"><button class=\"primary\" name=\"decision\" value=\"approve\">{yes}</button>\
             <button name=\"decision\" value=\"decline\">Decline</button></div></form>\
             <p class=\"soft\">Decide by {}. If you do not know this agent or did not ask for this, decline.</p>",
            agent_name(&waiting.client),
            agent(&waiting.client),
            form(visitor, &format!("/portal/consent/{}", escape(page_id))),
            moment(&rfc3339(waiting.expires_at))
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

    /// What was approved, said again.
    fn approved(&self, waiting: &Waiting) -> String {
        let agent = agent_name(&waiting.client);
        let what = match &waiting.pushed.mandate {
            Some(mandate) => format!(
                "may pay <strong>{}</strong> up to <strong>{}</strong>, for this purchase and no other",
                self.merchant_name(&mandate.merchant),
                money(mandate.amount_minor, &mandate.currency)
            ),
            None => "may do what you were shown, until you revoke it".to_owned(),
        };
        format!(
            "<p><bdi>{agent}</bdi> {what}.</p><p class=\"soft\">It learns of this by itself. You can close this page.</p>"
        )
    }

    fn payment(&self, mandate: &MandateRequest) -> String {
        let merchant = self.merchant_name(&mandate.merchant);
        let (total, origin) = (money(mandate.amount_minor, &mandate.currency), escape(&mandate.merchant));
        let prices = self.unit_prices(mandate);
        let row = |(line, price): (&LineItem, &Option<u64>)| {
            let price = price.map_or_else(|| "in the total".to_owned(), |price| money(price, &mandate.currency));
            let (name, sku, qty) = (self.item_name(mandate, line), escape(&line.sku), line.qty);
            format!("<tr><th scope=\"row\"><bdi>{name}</bdi><code>{sku}</code></th><td>{qty}</td><td>{price}</td></tr>")
        };
        let rows: String = mandate.line_items.iter().zip(&prices).map(row).collect();
        format!(
            "<section class=\"card\" aria-labelledby=\"pay\"><h2 id=\"pay\" class=\"pay\"><span class=\"amount\">{total}</span>\
             <span>to <strong>{merchant}</strong></span></h2>\
             <table><caption class=\"unseen\">What is bought</caption><thead><tr><th scope=\"col\">Item</th>\
             <th scope=\"col\">Quantity</th><th scope=\"col\">Price each</th></tr></thead><tbody>{rows}</tbody>\
             <tfoot><tr><th scope=\"row\" colspan=\"2\">Total</th><td>{total}</td></tr></tfoot></table></section>\
             <section class=\"card\"><h2>What you allow</h2><dl><dt>At most</dt><dd>{total}, once</dd>\
             <dt>Currency</dt><dd>{}</dd><dt>Merchant</dt><dd>{merchant} only<br><code>{origin}</code></dd>\
             <dt>Valid for</dt><dd>{}, once your agent has taken it up</dd></dl></section>",
            escape(&mandate.currency),
            duration(self.mandate_ttl_seconds),
        )
    }

    /// The price of one of each line: the one that was sent, or follows from the amount, or stands in the merchant's list
    /// where the list makes the amount.
    fn unit_prices(&self, mandate: &MandateRequest) -> Vec<Option<u64>> {
        let lines = &mandate.line_items;
        let makes_the_amount = |prices: &[Option<u64>]| {
            let sum = lines.iter().zip(prices).try_fold(0_u64, |sum, (line, price)| {
                (*price)?.checked_mul(line.qty).and_then(|line| sum.checked_add(line))
            });
            sum == Some(mandate.amount_minor)
        };
        let sent: Vec<_> = lines.iter().map(|line| line.unit_price_minor).collect();
        if makes_the_amount(&sent) {
            return sent;
        }
        if let [line] = &lines[..] {
            let sole = vec![mandate.amount_minor.checked_div(line.qty)];
            return if makes_the_amount(&sole) { sole } else { sent };
        }
        let merchant = self.merchant(&mandate.merchant);
        let listed = |line: &LineItem| merchant?.profile.items.iter().find(|item| item.sku == line.sku);
        let listed: Vec<_> = lines.iter().map(|line| listed(line).map(|item| item.unit_price_minor)).collect();
        if makes_the_amount(&listed) { listed } else { sent }
    }

    fn merchant(&self, origin: &str) -> Option<&KnownMerchant> {
        self.merchants.iter().find(|known| known.origin == origin)
    }

    /// The display name, escaped.
    pub(super) fn merchant_name(&self, origin: &str) -> String {
        escape(self.merchant(origin).map_or(origin, |known| known.profile.business_name))
    }

    /// What the merchant calls an item, escaped.
    fn item_name(&self, mandate: &MandateRequest, line: &LineItem) -> String {
        let merchant = self.merchant(&mandate.merchant);
        let item = merchant.and_then(|known| known.profile.items.iter().find(|item| item.sku == line.sku));
        item.map_or_else(|| "Not in the merchant’s list".to_owned(), |item| escape(item.title))
    }
}

/// What an agent calls itself, escaped.
fn agent_name(client: &Client) -> String {
    escape(client.client_name.as_deref().unwrap_or("An agent without a name"))
}

fn agent(client: &Client) -> String {
    let purpose = client.purpose.as_deref().map(|text| format!("<dt>Purpose</dt><dd><bdi>{}</bdi></dd>", escape(text)));
    format!(
        "<section class=\"card\"><h2>Who asks</h2><dl><dt>Agent</dt><dd><bdi>{}</bdi></dd>{}<dt>Client id</dt>\
         <dd><code>{}</code></dd><dt>Yours since</dt><dd>{}</dd></dl></section>",
        agent_name(client),
        purpose.unwrap_or_default(),
        client.client_id,
        moment(&rfc3339(client.registered_at))
    )
}

fn access(pushed: &Pushed) -> String {
    let asked = WALLET_SCOPES.iter().filter(|(scope, _)| pushed.scope.contains(scope));
    let list: String = asked.map(|(scope, words)| format!("<li>{words} <code>{scope}</code></li>")).collect();
    format!(
        "<section class=\"card\"><h2>What you allow</h2><ul>{list}</ul><p class=\"soft\">No payment is made with this.</p>\
         </section>"
    )
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
