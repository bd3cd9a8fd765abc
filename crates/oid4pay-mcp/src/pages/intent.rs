//! One purchase: the question, while it waits for the human; afterwards what became of it, and its receipt.

use axum::http::StatusCode;
use axum::response::Response;
use jose::{base64url, sha256};
use oid4pay::approvals;
use oid4pay::approvals::NotHuman;
use oid4pay::resolve;
use oid4pay::shown;
use serde_json::Value;
use spend_guard::{
    ApprovalTerms, Artefact, Consent, Entry, Intent, IntentId, LedgerError, ReceiptVerdict, Settlement, State,
};

use super::answer::{problem_of, see_other};
use super::dashboard::Dashboard;
use super::html::{LONGEST, Layout, Problem, badge, capitalized, escape, form, moment, page, passphrase_field};
use super::posted::Posted;

/// `GET /intents/{id}`.
pub(super) fn show(dashboard: &Dashboard, csrf: &str, id: &IntentId) -> Result<Response, LedgerError> {
    let intent = dashboard.ledger.intent(id)?;
    match (intent.state, approvals::terms(&intent)) {
        (State::AwaitingApproval, Some(terms)) => Ok(question(csrf, &intent, terms, None)),
        _ => Ok(page(StatusCode::OK, Layout::Single, "Payment", &story(dashboard, &intent)?)),
    }
}

/// `POST /intents/{id}`: the human's answer to what they were shown, and the intent where they rejected it.
pub(super) fn decide(
    dashboard: &Dashboard,
    csrf: &str,
    id: &IntentId,
    posted: Posted,
) -> Result<(Response, Option<Intent>), Problem> {
    let intent = dashboard.ledger.intent(id).map_err(problem_of)?;
    let Some(terms) = approvals::terms(&intent) else {
        return Err(Problem::new(StatusCode::CONFLICT, "Nothing to decide", "Nobody is asked about this payment."));
    };
    if posted.shown != fingerprint(terms) {
        let why = "What is asked is not what the page showed. Nothing was decided: look at it again.";
        return Err(Problem::new(StatusCode::CONFLICT, "Something changed", why));
    }
    let yes = match posted.decision.as_str() {
        "approve" => true,
        "reject" => false,
        _ => return Err(Problem::new(StatusCode::BAD_REQUEST, "Neither yes nor no", "Nothing was decided.")),
    };
    let human = match approvals::verify(&dashboard.settings.core.data_dir, &posted.passphrase) {
        Ok(human) => human,
        Err(error @ (NotHuman::Wrong | NotHuman::TooMany { .. })) if intent.state == State::AwaitingApproval => {
            return Ok((question(csrf, &intent, terms, Some(&error)), None));
        }
        Err(error) => return Err(not_human(&error)),
    };
    let answered = match yes {
        true => approvals::approve(&human, &dashboard.ledger, id, terms),
        false => approvals::reject(&human, &dashboard.ledger, id),
    };
    let answered = answered.map_err(problem_of)?;
    Ok((see_other(&format!("/intents/{id}")), (!yes).then_some(answered)))
}

/// What a proof that failed is answered.
pub(super) fn not_human(error: &NotHuman) -> Problem {
    Problem::new(status_of(error), "Nothing was changed", format!("{}.", sentence(error)))
}

fn status_of(error: &NotHuman) -> StatusCode {
    match error {
        NotHuman::Wrong => StatusCode::FORBIDDEN,
        NotHuman::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
        NotHuman::NoPassphrase => StatusCode::CONFLICT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn sentence(error: &NotHuman) -> String {
    capitalized(&error.to_string())
}

/// The question, with what is wrong with the last answer.
fn question(csrf: &str, intent: &Intent, terms: &ApprovalTerms, wrong: Option<&NotHuman>) -> Response {
    let amount = terms.currency.format(terms.amount_minor);
    let line = |(label, value): &(String, String)| format!("<dt>{}</dt><dd>{}</dd>", escape(label), escape(value));
    let lines: String = approvals::lines(terms).iter().map(line).collect();
    let alert = wrong.map(|error| format!("<p class=\"wrong\" role=\"alert\">{}.</p>", escape(&sentence(error))));
    let body = format!(
        "<section class=\"card\" aria-labelledby=\"pay\"><h2 id=\"pay\" class=\"pay\"><span class=\"amount\">{amount}</span>\
         <span>to <strong>{}</strong></span></h2><dl>{lines}</dl></section>\
         {}{}<input type=\"hidden\" name=\"shown\" value=\"{}\">{}\
         <div class=\"actions\"><button class=\"primary\" name=\"decision\" value=\"approve\">Approve {amount}</button>\
         <button name=\"decision\" value=\"reject\">Reject</button></div></form>\
         <p class=\"soft\">Your answer counts once, for exactly this. After it, your wallet may still ask you.</p>\
         <p><a href=\"/\">Back to the overview</a></p>",
        escape(&terms.merchant),
        alert.unwrap_or_default(),
        form(csrf, &format!("/intents/{}", intent.id)),
        fingerprint(terms),
        passphrase_field("passphrase"),
    );
    page(wrong.map_or(StatusCode::OK, status_of), Layout::Single, "Approve this payment?", &body)
}

/// Names what the human was shown, so that they answer that and nothing else.
fn fingerprint(terms: &ApprovalTerms) -> String {
    base64url::encode(&sha256(&serde_json::to_vec(terms).unwrap_or_default()))
}

/// What became of a purchase.
fn story(dashboard: &Dashboard, intent: &Intent) -> Result<String, LedgerError> {
    let line = |label: &str, value: &str| format!("<dt>{label}</dt><dd>{value}</dd>");
    let mut facts = String::new();
    for item in &intent.line_items {
        let price = item.unit_price_minor.map(|price| format!(", {} each", intent.currency.format(price)));
        let (sku, qty) = (escape(&item.sku), item.qty);
        facts += &line("Item", &format!("{qty} × <code>{sku}</code>{}", price.unwrap_or_default()));
    }
    facts += &line(
        "Offer",
        match intent.offer_verified {
            Some(true) => "Signed by the merchant, and verified",
            Some(false) => "Not signed by the merchant",
            None => "Not looked at",
        },
    );
    if let Some(cap) = approvals::cap_minor(intent) {
        facts += &line("At most", &format!("{} by its mandate", intent.currency.format(cap)));
    }
    if let Some(consent) = approvals::at_wallet(intent) {
        facts += &line("Waits for you", &in_wallet(consent));
    }
    facts += &line("Begun", &moment(intent.created_at));
    if let Some(at) = intent.settled_at {
        facts += &line("Paid", &moment(at));
    }
    if let Some(at) = intent.presented_at {
        facts += &line("Presented", &moment(at));
    }
    if resolve::is_open(intent) {
        let counts = intent.currency.format(resolve::counts_minor(intent));
        let command = escape(&dashboard.settings.resolve_command(intent));
        facts += &line("May have been paid", &format!("{counts} count as spent. <code>{command}</code>"));
    }
    if let Some(revoked) = resolve::grant_revoked(intent) {
        facts += &line("Grant", if revoked { "Revoked" } else { "Not confirmed to be revoked" });
    }
    if let Some(resolution) = &intent.resolution {
        facts += &line("Resolved", &escape(&resolve::resolution(resolution)));
    }
    if let Some(failure) = &intent.failure {
        facts += &line(
            "Why",
            &format!("{} <code>{}</code>", escape(&shown::failure_message(failure)), shown::failure_code(failure)),
        );
    }
    if let Some(agent) = &intent.agent {
        facts += &line("Agent", &escape(agent));
    }
    if let Some(mandate) = &intent.mandate {
        facts += &line(
            "Mandate",
            &format!("<code>{}</code>", escape(shown::identifier(&mandate.mandate_id).unwrap_or("?"))),
        );
    }
    facts += &line("Authorized by", &escape(&intent.issuer));
    facts += &line("Intent", &format!("<code>{}</code>", intent.id));
    let receipt = intent.settlement.as_ref().map(receipt).unwrap_or_default();
    let journal: String = dashboard.ledger.journal(&intent.id)?.iter().filter_map(step).collect();
    let presentations = dashboard.ledger.artefacts(&intent.id, Artefact::Presentation)?.len();
    let sent = match presentations {
        0 => String::new(),
        1 => "<p class=\"soft\">Presented to the merchant once.</p>".to_owned(),
        more => {
            format!("<p class=\"soft\">Presented to the merchant {more} times, under one key: it settles once.</p>")
        }
    };
    Ok(format!(
        "<section class=\"card\" aria-labelledby=\"pay\"><div class=\"row\"><h2 id=\"pay\" class=\"pay\">\
         <span class=\"amount\">{}</span><span>to <strong>{}</strong></span></h2>{}</div><dl>{facts}</dl></section>{receipt}\
         <section class=\"card\"><h2>What happened</h2><ol class=\"lines\">{journal}</ol>{sent}</section>\
         <p><a href=\"/\">Back to the overview</a></p>",
        intent.currency.format(intent.amount_minor),
        escape(&intent.merchant),
        badge(intent.state)
    ))
}

/// The way to the consent page. An address that does not fit here whole would lead elsewhere.
fn in_wallet(consent: &Consent) -> String {
    let until = moment(consent.expires_at);
    let is_web = consent.url.starts_with("https://") || consent.url.starts_with("http://");
    match is_web && consent.url.len() <= LONGEST {
        true => {
            let url = escape(&consent.url);
            format!("<a href=\"{url}\" rel=\"noreferrer\">Decide in your wallet</a> until {until}")
        }
        false => format!("In your wallet, until {until}: your agent knows the page"),
    }
}

/// The merchant's answer, and its receipt as it was signed.
fn receipt(settlement: &Settlement) -> String {
    let (class, verdict) = match &settlement.receipt {
        ReceiptVerdict::Verified => ("good", "Verified".to_owned()),
        ReceiptVerdict::Absent => ("", "None".to_owned()),
        ReceiptVerdict::Invalid { field } => ("bad", format!("Does not hold: {}", escape(field))),
    };
    let signed = settlement.receipt_jws.as_deref().map(|jws| {
        format!(
            "<details><summary>The receipt as signed, in the merchant's words</summary><pre>{}</pre></details>",
            claims(jws).unwrap_or_else(|| "It cannot be read.".to_owned())
        )
    });
    format!(
        "<section class=\"card\"><div class=\"row\"><h2>Receipt</h2><span class=\"badge {class}\">{verdict}</span></div><dl>\
         <dt>Payment</dt><dd><code>{}</code></dd><dt>Settled</dt><dd>{}</dd></dl>{}</section>",
        escape(shown::identifier(&settlement.payment_intent_id).unwrap_or("?")),
        escape(shown::time(&settlement.settled_at).unwrap_or("?")),
        signed.unwrap_or_default()
    )
}

/// The payload of a compact JWS, member by member.
fn claims(jws: &str) -> Option<String> {
    let payload = base64url::decode(jws.split('.').nth(1)?).ok()?;
    let Value::Object(members) = serde_json::from_slice(&payload).ok()? else { return None };
    Some(members.iter().map(|(name, value)| format!("{}: {}\n", escape(name), escape(&value.to_string()))).collect())
}

/// One step, for a person; what was kept as a proof on the way is none.
fn step(entry: &Entry) -> Option<String> {
    let words = match entry.event.as_str() {
        "begin" => "Begun, and its money held back",
        "denied" => "Denied by the policy",
        "offers_verified" => "Offers checked",
        "item_picked" => "Item picked",
        "declaration_used" => "Matched with what was declared",
        "approval_requested" => "You were asked",
        "approve" => "Approved by you",
        "reject" => "Rejected by you",
        "rejection_told" => "The agent was told of your no",
        "consent_pending" => "Waited for consent in the wallet",
        "mandate_held" => "Mandate received and verified",
        "presenting" => "Mandate presented to the merchant",
        "settle" => "Settled by the merchant",
        "refuse" => "Refused",
        "give_up" => "The mandate ended without an answer",
        "resolve_paid" => "Resolved: it was paid",
        "resolve_not_paid" => "Resolved: it was not paid",
        "grant_revoked" => match entry.detail["confirmed"].as_bool() {
            Some(true) => "Mandate revoked at the authorization server",
            _ => "Revoking the mandate was not confirmed",
        },
        "cap_released" => "What was left of the mandate is given back",
        "resume" => "Gone on with",
        "lose_answer" => "No answer came: outcome unknown",
        "expire" => "Expired",
        "cancel" => "Canceled",
        "artefact" => return None,
        "alert" => "An alert was raised",
        other => other,
    };
    Some(format!(
        "<li class=\"row\"><span>{}</span><span class=\"soft\">{}</span></li>",
        escape(words),
        moment(entry.at)
    ))
}
