//! What waits, what is left, what was spent and what stood out; and the list of everything.

use jose::Clock as _;
use oid4ac_client::SystemClock;
use oid4pay::approvals;
use oid4pay::policy::{self, Standing};
use oid4pay::resolve;
use spend_guard::{Budget, Filter, Intent, IntentId, LedgerError, RaisedAlert, Severity, State};

use super::chart;
use super::dashboard::Dashboard;
use super::html::{badge, capitalized, escape, form, moment, passphrase_field};

/// The body of `/`.
pub(super) fn overview(dashboard: &Dashboard, csrf: &str) -> Result<String, LedgerError> {
    let ledger = &dashboard.ledger;
    let now = SystemClock.now();
    let since = now - chart::DAY * i64::try_from(chart::DAYS).unwrap_or_default();
    let settled = settled_since(dashboard, since)?;
    let spending = match chart::spending(&settled, now) {
        none if none.is_empty() => "<p class=\"soft\">No payment was confirmed in the last thirty days.</p>".to_owned(),
        charts => charts,
    };
    let alerts: String = ledger.alerts(ALERTS)?.iter().map(alert).collect();
    let alerts = match alerts.is_empty() {
        true => "<p class=\"soft\">Nothing stood out.</p>".to_owned(),
        false => format!("<ul class=\"lines\">{alerts}</ul>"),
    };
    let (is_frozen, standing) = policy::look(&dashboard.policy, ledger)?;
    let recent = ledger.list(&Filter { limit: RECENT, ..Filter::default() })?.intents;
    Ok(format!(
        "{}{}{}{}<section class=\"card\"><h2>Budgets</h2>{}</section>\
         <section class=\"card\"><h2>Spending</h2>{spending}</section>\
         <section class=\"card\"><h2>Alerts</h2>{alerts}</section>\
         <section><h2>Latest payments</h2>{}</section>{}",
        if is_frozen { frozen(csrf) } else { String::new() },
        standing.as_ref().map_or_else(|_| String::new(), |standing| unconfirmed(dashboard, standing)),
        pending(dashboard)?,
        unclear(dashboard)?,
        match &standing {
            Ok(standing) => budgets(&ledger.budgets(&standing.policy)?),
            Err(error) => format!("<p role=\"alert\">Payments are stopped: {}.</p>", escape(&error.to_string())),
        },
        list(&recent),
        if is_frozen { String::new() } else { freeze(csrf) },
    ))
}

/// The body of `/history`, from the intent before which it begins.
pub(super) fn history(dashboard: &Dashboard, before: Option<IntentId>) -> Result<String, LedgerError> {
    let page = dashboard.ledger.list(&Filter { before, limit: PER_PAGE, ..Filter::default() })?;
    let older = page.next.map(|id| format!("<p><a class=\"button\" href=\"/history?before={id}\">Older ones</a></p>"));
    Ok(format!(
        "<p class=\"lede\">Everything an agent began, newest first.</p>{}{}",
        list(&page.intents),
        older.unwrap_or_default()
    ))
}

fn pending(dashboard: &Dashboard) -> Result<String, LedgerError> {
    // A ledger that takes no payment closes none either; what is late is not listed in any case.
    let _closed = dashboard.ledger.expire();
    let waiting = approvals::pending(&dashboard.ledger)?;
    if waiting.is_empty() {
        return Ok("<p class=\"lede\">No payment waits for you.</p>".to_owned());
    }
    let item = |intent: &Intent| {
        let until = approvals::decide_until(intent).map(|until| format!("Answer until {}", moment(until)));
        let place = if approvals::at_wallet(intent).is_some() { ", in your wallet" } else { "" };
        format!(
            "<li><div><strong class=\"sum\">{}</strong><span>to {}</span><span class=\"soft\">{}{place}</span></div>\
             <div class=\"end\"><a class=\"button primary\" href=\"/intents/{}\">Decide<span class=\"unseen\"> on {} to {}</span>\
             </a></div></li>",
            intent.currency.format(intent.amount_minor),
            escape(&intent.merchant),
            until.unwrap_or_default(),
            intent.id,
            intent.currency.format(intent.amount_minor),
            escape(&intent.merchant),
        )
    };
    let items: String = waiting.iter().map(item).collect();
    Ok(format!("<section><h2>Waiting for you</h2><ul class=\"card ledger waiting\">{items}</ul></section>"))
}

/// What may have been paid, and the command that says what became of it.
fn unclear(dashboard: &Dashboard) -> Result<String, LedgerError> {
    let open = resolve::open(&dashboard.ledger)?;
    if open.is_empty() {
        return Ok(String::new());
    }
    let item = |intent: &Intent| {
        let presented = intent.presented_at.map(|at| format!("Presented {}", moment(at)));
        let cap =
            approvals::cap_minor(intent).map(|cap| format!(", at most {} by its mandate", intent.currency.format(cap)));
        format!(
            "<li><div><strong class=\"sum\"><a href=\"/intents/{}\">{}</a></strong><span>to {}{}</span>\
             <span class=\"soft\">{}</span><code>{}</code></div><div class=\"end\">{}</div></li>",
            intent.id,
            intent.currency.format(intent.amount_minor),
            escape(&intent.merchant),
            cap.unwrap_or_default(),
            presented.unwrap_or_default(),
            escape(&dashboard.settings.resolve_command(intent)),
            badge(intent.state),
        )
    };
    let items: String = open.iter().take(UNCLEAR).map(item).collect();
    let more = match open.len().saturating_sub(UNCLEAR) {
        0 => String::new(),
        more => format!(
            "<p class=\"soft\">And {more} more: <code>{}</code></p>",
            escape(&dashboard.settings.command("resolve"))
        ),
    };
    Ok(format!(
        "<section><h2>May have been paid</h2><p class=\"soft\">The mandate was presented, and the merchant's answer is missing or \
         only its word. It counts as spent until you, or your audit chain, say what became of it.</p>\
         <ul class=\"card ledger\">{items}</ul>{more}</section>"
    ))
}

fn budgets(budgets: &[Budget]) -> String {
    let is_used =
        |budget: &&Budget| budget.settled_minor > 0 || budget.reserved_minor > 0 || budget.unresolved_minor > 0;
    let (used, untouched): (Vec<_>, Vec<_>) = budgets.iter().partition(is_used);
    let bars = |budgets: Vec<&Budget>| {
        let bars: String = budgets.into_iter().map(chart::budget).collect();
        format!("<ul class=\"bars\">{bars}</ul>")
    };
    match (used.is_empty(), untouched.is_empty()) {
        (true, true) => "<p class=\"soft\">The policy has no budgets.</p>".to_owned(),
        (true, false) => bars(untouched),
        (false, true) => bars(used),
        (false, false) => {
            format!("{}<details><summary>Not used lately</summary>{}</details>", bars(used), bars(untouched))
        }
    }
}

/// The notice that payments are stopped, and the form that ends it.
fn frozen(csrf: &str) -> String {
    format!(
        "<section class=\"card stopped\" role=\"status\"><h2>All payments are frozen</h2><p>No agent can pay until you end \
         this.</p><details><summary>End the freeze</summary>{}{}<button>End the freeze</button></form></details></section>",
        form(csrf, "/unfreeze"),
        passphrase_field("unfreeze")
    )
}

/// The notice that payments are stopped by a policy that became looser. What it says is no limit of any payment yet.
fn unconfirmed(dashboard: &Dashboard, standing: &Standing) -> String {
    if standing.is_confirmed() {
        return String::new();
    }
    let looser: String = standing.looser.iter().map(|line| format!("<li>{}</li>", escape(line))).collect();
    format!(
        "<section class=\"card stopped\" role=\"status\"><h2>The policy is not in force</h2><p>It became looser, and payments are \
         stopped until you confirm it: <code>{}</code></p><ul>{looser}</ul></section>",
        escape(&dashboard.settings.command("policy confirm"))
    )
}

fn freeze(csrf: &str) -> String {
    format!(
        "<section class=\"card\"><h2>Stop everything</h2><p>Stops every payment of every agent on this machine at once. What \
         was sent already is not called back.</p>{}<button class=\"danger\">Freeze all payments</button></form></section>",
        form(csrf, "/freeze")
    )
}

fn list(intents: &[Intent]) -> String {
    let item = |intent: &Intent| {
        format!(
            "<li><div><strong><a href=\"/intents/{}\">{}</a></strong><span class=\"soft\">{}</span></div>\
             <div class=\"end\"><strong class=\"sum\">{}</strong>{}</div></li>",
            intent.id,
            escape(&intent.merchant),
            moment(intent.created_at),
            intent.currency.format(intent.amount_minor),
            badge(intent.state)
        )
    };
    let items: String = intents.iter().map(item).collect();
    match items.is_empty() {
        true => "<div class=\"card empty\"><p>No agent has begun a payment yet.</p></div>".to_owned(),
        false => format!("<ul class=\"card ledger\">{items}</ul>"),
    }
}

fn alert(raised: &RaisedAlert) -> String {
    let (class, severity) = match raised.alert.severity {
        Severity::Info => ("", "Info"),
        Severity::Warning => ("warn", "Warning"),
        Severity::Critical => ("bad", "Critical"),
    };
    let message = escape(&capitalized(&raised.alert.message));
    let message = match &raised.intent_id {
        Some(id) => format!("<a href=\"/intents/{id}\">{message}</a>"),
        None => message,
    };
    format!(
        "<li class=\"row\"><span><span class=\"badge {class}\">{severity}</span> {message}</span>\
         <span class=\"soft\">{}</span></li>",
        moment(raised.at)
    )
}

/// What was settled, of what was begun at `since` or later; the newest ten thousand at most.
fn settled_since(dashboard: &Dashboard, since: i64) -> Result<Vec<Intent>, LedgerError> {
    let filter = Filter { state: Some(State::Settled), since: Some(since), ..Filter::default() };
    dashboard.ledger.every(filter).take(10 * Filter::MOST).collect()
}

const ALERTS: usize = 10;
const UNCLEAR: usize = 20;
const RECENT: usize = 8;
const PER_PAGE: usize = 50;
