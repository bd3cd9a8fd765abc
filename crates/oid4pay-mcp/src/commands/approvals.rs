//! The human's side of the guard: pending approvals, freeze, what is left.

use oid4pay::agents::ledger;
use oid4pay::approvals;
use oid4pay::policy::{PolicySource, Standing};
use oid4pay::resolve;
use std::io::Write as _;

use jose::Clock as _;
use oid4ac_client::SystemClock;
use serde_json::json;
use spend_guard::{Approval, ApprovalTerms, Filter, Intent, IntentId, Ledger, LedgerError, State, Step};

use super::args::{About, Output};
use super::terminal;
use crate::config::Settings;

/// Lists what waits for an answer.
pub(crate) fn approvals(settings: &Settings, output: Output) -> anyhow::Result<()> {
    let pending = approvals::pending(&ledger(&settings.core))?;
    let mut out = std::io::stdout().lock();
    if output.json {
        let list: Vec<_> = pending.iter().map(as_json).collect();
        return Ok(writeln!(out, "{}", json!({"approvals": list}))?);
    }
    if pending.is_empty() {
        writeln!(out, "Nothing waits for your approval.")?;
    }
    for intent in &pending {
        writeln!(out, "{}", in_lines(intent, &waiting(intent)))?;
        match approvals::at_wallet(intent) {
            Some(consent) => writeln!(out, "  in your wallet: {}", approvals::plain_url(&consent.url))?,
            None => writeln!(out, "  {}", settings.command(&format!("approve {}", intent.id)))?,
        }
        writeln!(out, "  {}\n", settings.command(&format!("reject {}", intent.id)))?;
    }
    Ok(())
}

/// What is known of a purchase that waits, here or in the wallet.
fn waiting(intent: &Intent) -> Vec<(String, String)> {
    match (approvals::at_wallet(intent), approvals::terms(intent)) {
        (None, Some(terms)) => approvals::lines(terms),
        (consent, _) => {
            let until = consent.map(|consent| ("Answer until".to_owned(), approvals::time(consent.expires_at)));
            approvals::unasked(intent).into_iter().chain(until).collect()
        }
    }
}

/// Shows what is asked, asks for the passphrase, and records the human's yes.
pub(crate) fn approve(settings: &Settings, about: &About) -> anyhow::Result<()> {
    terminal::require_terminal("approving a payment")?;
    let ledger = ledger(&settings.core);
    let (intent, terms) = question(&ledger, &about.id)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", in_lines(&intent, &approvals::lines(&terms)))?;
    let human = terminal::require(&settings.core.data_dir, "Approving this payment")?;
    approvals::approve(&human, &ledger, &about.id, &terms)?;
    Ok(writeln!(out, "Approved, for this payment alone. The agent's next call goes on with it.")?)
}

/// Shows what is asked, or was begun unasked, asks for the passphrase, and records the human's no.
pub(crate) async fn reject(settings: &Settings, about: &About) -> anyhow::Result<()> {
    terminal::require_terminal("rejecting a payment")?;
    let ledger = ledger(&settings.core);
    let intent = ledger.intent(&about.id)?;
    if intent.state.after(Step::Reject).is_none() {
        return Err(LedgerError::IllegalStep { id: intent.id, from: intent.state, step: Step::Reject }.into());
    }
    let lines = approvals::terms(&intent).map_or_else(|| approvals::unasked(&intent), approvals::lines);
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", in_lines(&intent, &lines))?;
    let human = terminal::require(&settings.core.data_dir, "Rejecting this payment")?;
    let intent = approvals::reject(&human, &ledger, &about.id)?;
    writeln!(out, "Rejected. Nothing was paid.")?;
    let intent = resolve::end_grant_for_person(&settings.core, &ledger, intent).await;
    if let Some(told) = resolve::grant_in_words(&intent) {
        writeln!(out, "{told}")?;
    }
    Ok(())
}

/// Stops all payments. Anybody may: it only makes things safer.
pub(crate) fn freeze(settings: &Settings) -> anyhow::Result<()> {
    ledger(&settings.core).freeze()?;
    let unfreeze = settings.command("unfreeze");
    Ok(writeln!(std::io::stdout(), "All payments are stopped until you run: {unfreeze}")?)
}

/// Lets payments go on.
pub(crate) fn unfreeze(settings: &Settings) -> anyhow::Result<()> {
    terminal::require_terminal("letting payments go on")?;
    let ledger = ledger(&settings.core);
    let mut out = std::io::stdout().lock();
    if !ledger.is_frozen()? {
        return Ok(writeln!(out, "Payments are not frozen.")?);
    }
    let human = terminal::require(&settings.core.data_dir, "Letting payments go on")?;
    approvals::unfreeze(&human, &ledger)?;
    Ok(writeln!(out, "Payments can be made again.")?)
}

/// Shows what is spent, held back and left of each limit.
pub(crate) fn budget(settings: &Settings, output: Output) -> anyhow::Result<()> {
    let ledger = ledger(&settings.core);
    let standing = Standing::of(&PolicySource::new(&settings.core), &ledger)?;
    let (in_force, frozen) = (standing.is_confirmed(), standing.frozen);
    let budgets = ledger.budgets(&standing.policy)?;
    let mut out = std::io::stdout().lock();
    if output.json {
        return Ok(writeln!(out, "{}", json!({"frozen": frozen, "in_force": in_force, "budgets": budgets}))?);
    }
    if frozen {
        writeln!(out, "All payments are frozen; `unfreeze` ends it.\n")?;
    }
    if !in_force {
        let confirm = settings.command("policy confirm");
        writeln!(out, "This policy is NOT in force, and payments are stopped, until you run: {confirm}\n")?;
    }
    let widest = budgets.iter().map(|budget| budget.rule.chars().count()).max().unwrap_or(0).max("limit".len());
    let row = |name: &str, [of, spent, unclear, held, left]: [&str; 5]| {
        format!("{name:widest$}  {of:>16}  {spent:>16}  {unclear:>18}  {held:>16}  {left:>16}")
    };
    writeln!(out, "{}", row("limit", ["of", "spent", "may have been paid", "held back", "left"]))?;
    for budget in &budgets {
        let money = |minor| budget.currency.format(minor);
        let (limit, spent) = (money(budget.limit_minor), money(budget.settled_minor));
        let (held, left) = (money(budget.reserved_minor), money(budget.left_minor));
        let unclear = money(budget.unresolved_minor);
        writeln!(out, "{}", row(&budget.rule, [&limit, &spent, &unclear, &held, &left]))?;
    }
    let now = ledger.now()?;
    for intent in capped(&ledger, now)? {
        let (cap, amount) =
            (intent.currency.format(intent.at_stake_minor()), intent.currency.format(intent.amount_minor));
        writeln!(
            out,
            "\n{} to {}: the mandate allows up to {cap}, and that counts.\n  {}",
            amount, intent.merchant, intent.id
        )?;
    }
    if !resolve::open(&ledger)?.is_empty() {
        writeln!(out, "\nWhat may have been paid counts until it is known: {}", settings.command("resolve"))?;
    }
    Ok(())
}

/// What counts with the cap of its mandate, where that is above its amount.
fn capped(ledger: &Ledger, now: jose::UnixSeconds) -> Result<Vec<Intent>, LedgerError> {
    let mut capped = Vec::new();
    for intent in ledger.every(Filter { open: Some(true), ..Filter::default() }) {
        let counts = |intent: &Intent| approvals::cap_minor(intent).is_some() && intent.mandate_lives(now);
        capped.extend(Some(intent?).filter(counts));
    }
    Ok(capped)
}

/// What an intent waits to be told, or by name why nothing can be said about it any more.
fn question(ledger: &Ledger, id: &IntentId) -> Result<(Intent, ApprovalTerms), LedgerError> {
    let intent = ledger.intent(id)?;
    let terms = match &intent.approval {
        Approval::Requested { terms } if intent.state == State::AwaitingApproval => terms.clone(),
        Approval::Given { .. } => return Err(LedgerError::AlreadyApproved(id.clone())),
        _ => return Err(LedgerError::IllegalStep { id: id.clone(), from: intent.state, step: Step::Approve }),
    };
    if terms.expires_at <= SystemClock.now() {
        return Err(LedgerError::ApprovalExpired(id.clone()));
    }
    Ok((intent, terms))
}

pub(crate) fn in_lines(intent: &Intent, lines: &[(String, String)]) -> String {
    let widest = lines.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
    let lines = lines.iter().map(|(label, value)| format!("\n  {label:widest$}  {value}"));
    format!("{}{}", intent.id, lines.collect::<String>())
}

fn as_json(intent: &Intent) -> serde_json::Value {
    let shown: Vec<_> =
        waiting(intent).into_iter().map(|(label, value)| json!({"label": label, "value": value})).collect();
    let consent = approvals::at_wallet(intent);
    let terms = approvals::terms(intent).filter(|_| consent.is_none());
    json!({
        "intent_id": intent.id,
        "merchant": terms.map_or(&intent.merchant, |terms| &terms.merchant),
        "amount_minor": terms.map_or(intent.amount_minor, |terms| terms.amount_minor),
        "currency": intent.currency,
        "created_at": intent.created_at,
        "expires_at": approvals::decide_until(intent),
        "waits": approvals::where_it_waits(intent),
        "consent_url": consent.map(|consent| &consent.url),
        "shown": shown,
    })
}
