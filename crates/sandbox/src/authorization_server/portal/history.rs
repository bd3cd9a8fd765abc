//! What a principal's agents paid and did.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::extract::State as Extract;
use axum::response::Response;
use http::{HeaderMap, StatusCode};

use super::html::{escape, page};
use super::words::{event, moment, money};
use crate::audit::Entry;
use crate::authorization_server::AuthorizationServer;

/// `GET /portal/payments`.
pub(super) async fn payments(Extract(server): Extract<Arc<AuthorizationServer>>, headers: HeaderMap) -> Response {
    let (visitor, principal) = match server.signed_in(&headers, PAYMENTS) {
        Ok(signed_in) => signed_in,
        Err(sign_in) => return *sign_in,
    };
    let about_money = |entry: &Entry| entry.event.starts_with("oid4ac.payment.");
    let own = |entry: &Entry| entry.actor.principal_id == principal.id && about_money(entry);
    let (entries, has_more) = server.audit.select(SHOWN, own);
    let payments = fold(&entries);
    let rows: String = payments.iter().map(|payment| server.payment_row(payment)).collect();
    let body = match rows.is_empty() {
        true => "<div class=\"card empty\"><p>No payment was made yet.</p>\
                 <p class=\"soft\">What your agents pay will be listed here, with the merchant and the time.</p></div>"
            .to_owned(),
        false => {
            let lede = format!("<p class=\"lede\">Paid in all: <strong>{}</strong>.</p>", sum(&payments));
            let lede = if has_more { OLDER } else { &lede };
            format!("{lede}<ul class=\"card ledger\" aria-label=\"Payments, newest first\">{rows}</ul>")
        }
    };
    page(StatusCode::OK, Some(&visitor), PAYMENTS, "Payments", &body)
}

/// `GET /portal/audit`.
pub(super) async fn audit(Extract(server): Extract<Arc<AuthorizationServer>>, headers: HeaderMap) -> Response {
    let (visitor, principal) = match server.signed_in(&headers, AUDIT) {
        Ok(signed_in) => signed_in,
        Err(sign_in) => return *sign_in,
    };
    let (entries, has_more) = server.audit.select(SHOWN, |entry| entry.actor.principal_id == principal.id);
    let rows: String = entries.iter().map(audit_entry).collect();
    let list = match rows.is_empty() {
        true => "<div class=\"card empty\"><p>Nothing happened yet.</p></div>".to_owned(),
        false => format!("<ul class=\"card ledger\" aria-label=\"Your entries, newest first\">{rows}</ul>"),
    };
    let head = server.audit.signed_head().map(|head| {
        format!(
            "<details class=\"card\"><summary>The signed end of the chain</summary><p class=\"soft\">Signed again every hour. \
             Kept somewhere else, it proves later that nothing before it was changed.</p>\
             <code class=\"token\">{head}</code></details>"
        )
    });
    let body = format!(
        "<p class=\"lede\">Each entry contains the hash of the one before it, so none can be changed or taken out unseen. \
         Numbers that are missing here are other people’s entries.</p>{}{list}{}",
        if has_more { OLDER } else { "" },
        head.unwrap_or_default()
    );
    page(StatusCode::OK, Some(&visitor), AUDIT, "Audit chain", &body)
}

/// One payment, from its entries.
struct Payment<'a> {
    entry: &'a Entry,
    dispute: Option<&'a str>,
}

/// One of each payment, the newest first; its newest dispute counts, and its settlement says when it was.
fn fold(entries: &[Entry]) -> Vec<Payment<'_>> {
    let mut payments: Vec<Payment<'_>> = Vec::new();
    let mut known = HashMap::new();
    for entry in entries {
        let dispute = text(entry, "dispute_status");
        match known.get(text(entry, "payment_intent_id")) {
            None => {
                known.insert(text(entry, "payment_intent_id"), payments.len());
                payments.push(Payment { entry, dispute: Some(dispute).filter(|status| !status.is_empty()) });
            }
            Some(&at) if dispute.is_empty() => {
                if let Some(payment) = payments.get_mut(at) {
                    payment.entry = entry;
                }
            }
            Some(_) => {}
        }
    }
    payments.sort_by_key(|payment| std::cmp::Reverse(payment.entry.seq));
    payments
}

/// What they come to, currency by currency.
fn sum(payments: &[Payment<'_>]) -> String {
    let mut sums = BTreeMap::new();
    for Payment { entry, .. } in payments {
        let sum: &mut u64 = sums.entry(text(entry, "currency")).or_default();
        *sum = sum.saturating_add(entry.payload["amount_minor"].as_u64().unwrap_or_default());
    }
    sums.into_iter().map(|(currency, sum)| money(sum, currency)).collect::<Vec<_>>().join(", ")
}

impl AuthorizationServer {
    fn payment_row(&self, Payment { entry, dispute }: &Payment<'_>) -> String {
        let merchant = self.merchant_name(text(entry, "merchant_audience"));
        let amount = money(entry.payload["amount_minor"].as_u64().unwrap_or_default(), text(entry, "currency"));
        let dispute = dispute.map(|status| format!(" <span class=\"badge warn\">Dispute {}</span>", escape(status)));
        format!(
            "<li><div><strong>{merchant}</strong><span class=\"soft\">{}</span><code>{}</code></div>\
             <div class=\"end\"><strong class=\"sum\">{amount}</strong><span><span class=\"badge good\">Paid</span>{}</span>\
             </div></li>",
            moment(&entry.ts),
            escape(text(entry, "payment_intent_id")),
            dispute.unwrap_or_default()
        )
    }
}

fn audit_entry(entry: &Entry) -> String {
    let by = entry.actor.agent_client_id.as_deref().unwrap_or("you");
    let contents = serde_json::to_string_pretty(&entry.payload).unwrap_or_default();
    format!(
        "<li><div><strong>{}</strong><span class=\"soft\">{} by <code>{}</code></span>\
         <code class=\"hash\">{}</code>\
         <details><summary>Contents<span class=\"unseen\"> of number {}</span></summary><p><code>{}</code></p>\
         <pre>{}</pre></details></div><div class=\"end soft\">No. {}</div></li>",
        escape(event(entry.event)),
        moment(&entry.ts),
        escape(by),
        entry.entry_hash(),
        entry.seq,
        entry.event,
        lines(&contents),
        entry.seq
    )
}

/// Escapes text of several lines, and leaves the lines.
fn lines(text: &str) -> String {
    text.lines().map(escape).collect::<Vec<_>>().join("\n")
}

fn text<'a>(entry: &'a Entry, name: &str) -> &'a str {
    entry.payload[name].as_str().unwrap_or_default()
}

const PAYMENTS: &str = "/portal/payments";
const AUDIT: &str = "/portal/audit";
const SHOWN: usize = 100;
const OLDER: &str = "<p class=\"lede\">The newest are shown; older ones are not.</p>";
