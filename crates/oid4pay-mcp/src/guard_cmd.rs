//! The human's side of the guard: pending approvals, freeze, what is left.

use std::io::Write as _;
use std::sync::Arc;

use jose::Clock as _;
use oid4ac_client::SystemClock;
use serde_json::json;
use spend_guard::{Approval, ApprovalTerms, Filter, Intent, IntentId, Ledger, LedgerError, State, Step};

use crate::config::Settings;
use crate::policy::PolicySource;
use crate::{approval, human, resolve};

/// Whether output is for people or for programs.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Output {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which intent a command is about.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct About {
    /// The intent, as `approvals` lists it
    pub(crate) id: IntentId,
}

pub(crate) fn ledger(settings: &Settings) -> Ledger {
    let ledger = Ledger::new(&settings.data_dir, Arc::new(SystemClock));
    match &settings.head_dir {
        Some(dir) => ledger.with_head_in(dir),
        None => ledger,
    }
}

/// Lists what waits for an answer.
pub(crate) fn approvals(settings: &Settings, output: Output) -> anyhow::Result<()> {
    let pending = approval::pending(&ledger(settings))?;
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
        match approval::at_wallet(intent) {
            Some(consent) => writeln!(out, "  in your wallet: {}", approval::plain_url(&consent.url))?,
            None => writeln!(out, "  {}", settings.command(&format!("approve {}", intent.id)))?,
        }
        writeln!(out, "  {}\n", settings.command(&format!("reject {}", intent.id)))?;
    }
    Ok(())
}

/// What is known of a purchase that waits, here or in the wallet.
fn waiting(intent: &Intent) -> Vec<(String, String)> {
    match (approval::at_wallet(intent), approval::terms(intent)) {
        (None, Some(terms)) => approval::lines(terms),
        (consent, _) => {
            let until = consent.map(|consent| ("Answer until".to_owned(), approval::time(consent.expires_at)));
            approval::unasked(intent).into_iter().chain(until).collect()
        }
    }
}

/// Shows what is asked, asks for the passphrase, and records the human's yes.
pub(crate) fn approve(settings: &Settings, about: &About) -> anyhow::Result<()> {
    human::require_terminal("approving a payment")?;
    let ledger = ledger(settings);
    let (intent, terms) = question(&ledger, &about.id)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", in_lines(&intent, &approval::lines(&terms)))?;
    let human = human::require(settings, "Approving this payment")?;
    approval::approve(&human, &ledger, &about.id, &terms)?;
    Ok(writeln!(out, "Approved, for this payment alone. The agent's next call goes on with it.")?)
}

/// Stops all payments. Anybody may: it only makes things safer.
pub(crate) fn freeze(settings: &Settings) -> anyhow::Result<()> {
    ledger(settings).freeze()?;
    let unfreeze = settings.command("unfreeze");
    Ok(writeln!(std::io::stdout(), "All payments are stopped until you run: {unfreeze}")?)
}

/// Lets payments go on.
pub(crate) fn unfreeze(settings: &Settings) -> anyhow::Result<()> {
    human::require_terminal("letting payments go on")?;
    let ledger = ledger(settings);
    let mut out = std::io::stdout().lock();
    if !ledger.is_frozen()? {
        return Ok(writeln!(out, "Payments are not frozen.")?);
    }
    let human = human::require(settings, "Letting payments go on")?;
    approval::unfreeze(&human, &ledger)?;
    Ok(writeln!(out, "Payments can be made again.")?)
}

/// Shows what is spent, held back and left of each limit.
pub(crate) fn budget(settings: &Settings, output: Output) -> anyhow::Result<()> {
    let policy = PolicySource::new(settings).read()?;
    let ledger = ledger(settings);
    let in_force = policy.looser_than(&ledger.rules_in_force()?).is_empty();
    let budgets = ledger.budgets(&policy)?;
    let frozen = ledger.is_frozen()?;
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
    let mut filter = Filter { open: Some(true), limit: Filter::MOST, ..Filter::default() };
    let mut capped = Vec::new();
    loop {
        let page = ledger.list(&filter)?;
        let counts = |intent: &Intent| intent.at_stake_minor() > intent.amount_minor && intent.mandate_lives(now);
        capped.extend(page.intents.into_iter().filter(counts));
        match page.next {
            Some(next) => filter.before = Some(next),
            None => return Ok(capped),
        }
    }
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
    let consent = approval::at_wallet(intent);
    let terms = approval::terms(intent).filter(|_| consent.is_none());
    json!({
        "intent_id": intent.id,
        "merchant": terms.map_or(&intent.merchant, |terms| &terms.merchant),
        "amount_minor": terms.map_or(intent.amount_minor, |terms| terms.amount_minor),
        "currency": intent.currency,
        "created_at": intent.created_at,
        "expires_at": approval::decide_until(intent),
        "waits": approval::where_it_waits(intent),
        "consent_url": consent.map(|consent| &consent.url),
        "shown": shown,
    })
}
