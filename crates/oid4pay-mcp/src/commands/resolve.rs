//! `oid4pay-mcp resolve`: says what became of a purchase that may have been paid.

use std::io::{BufRead as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use serde_json::json;
use spend_guard::{Intent, Ledger, LedgerError, ResolutionVerdict, ResolvedBy};

use oid4pay::agents::{Agent, ledger};
use oid4pay::approvals::{self, time};
use oid4pay::records;
use oid4pay::resolve::{self, MAX_REASON};

use super::approvals::in_lines;
use super::terminal;
use crate::config::Settings;

#[derive(Debug, Args)]
pub(crate) struct ResolveArgs {
    /// The intent, as `history` lists it, or the mandate's own id; without one, what may have been paid is listed
    id: Option<String>,
    /// It was paid; asks for your passphrase
    #[arg(long, requires = "id", conflicts_with = "not_paid")]
    paid: bool,
    /// How much was paid, in major units, if it was not the amount of the purchase
    #[arg(long, value_name = "MAJOR", requires = "paid")]
    amount: Option<String>,
    /// It was not paid; ends its mandate, and asks for your passphrase
    #[arg(long, requires = "id")]
    not_paid: bool,
    /// How you know; kept in the ledger's journal [default: you are asked]
    #[arg(long, value_name = "TEXT", requires = "id")]
    reason: Option<String>,
    /// Print JSON
    #[arg(long, conflicts_with_all = ["paid", "not_paid"])]
    json: bool,
}

pub(crate) async fn run(settings: Settings, args: ResolveArgs) -> anyhow::Result<ExitCode> {
    let ledger = ledger(&settings.core);
    let Some(id) = &args.id else { return list(&settings, &ledger, args.json).map(|()| ExitCode::SUCCESS) };
    let by_person = args.paid || args.not_paid;
    if by_person {
        terminal::require_terminal("saying what became of a payment")?;
    } else if args.reason.is_some() {
        bail!("--reason is for --paid or --not-paid");
    }
    let intent = records::find(&ledger, id)?;
    if !resolve::is_open(&intent) {
        return Err(LedgerError::NothingToResolve { id: intent.id, state: intent.state }.into());
    }
    match by_person {
        true => by_hand(&settings, &ledger, intent, &args).await.map(|()| ExitCode::SUCCESS),
        false => by_chain(&settings, &ledger, &intent, args.json).await,
    }
}

/// Lists what may have been paid.
fn list(settings: &Settings, ledger: &Ledger, as_json: bool) -> anyhow::Result<()> {
    let open = resolve::open(ledger)?;
    let mut out = std::io::stdout().lock();
    if as_json {
        let rows: Vec<_> = open.iter().map(records::row).collect();
        return Ok(writeln!(out, "{}", json!({"may_have_been_paid": rows}))?);
    }
    if open.is_empty() {
        return Ok(writeln!(out, "What became of every payment is known.")?);
    }
    let now = ledger.now()?;
    for intent in &open {
        writeln!(out, "{}", in_lines(intent, &resolve::lines(intent, now)))?;
        writeln!(out, "  {}\n", settings.resolve_command(intent))?;
    }
    Ok(writeln!(
        out,
        "`resolve ID` asks your audit chain. If you know it from your bank or the merchant: `resolve ID --paid` or \
         `resolve ID --not-paid`."
    )?)
}

/// Asks the audit chain. It needs no passphrase: what the authorization server signed decides, and no person.
async fn by_chain(settings: &Settings, ledger: &Ledger, intent: &Intent, as_json: bool) -> anyhow::Result<ExitCode> {
    let agent = Agent::for_person(settings.core.clone());
    let client = agent.registered_client(&intent.issuer)?;
    let resolved = resolve::by_chain(ledger, &client, intent, FOR_A_PERSON).await;
    let now = ledger.now()?;
    let mut out = std::io::stdout().lock();
    if as_json {
        let (intent, why) = match &resolved {
            Ok(resolved) => (resolved, None),
            Err(why) => (intent, Some(why.to_string())),
        };
        writeln!(out, "{}", json!({"resolved": why.is_none(), "why_not": why, "payment": records::row(intent)}))?;
    } else {
        match &resolved {
            Ok(resolved) => writeln!(out, "{}", told(resolved))?,
            Err(why) => {
                writeln!(out, "{}", in_lines(intent, &resolve::lines(intent, now)))?;
                let command = settings.resolve_command(intent);
                writeln!(out, "It stays as it is: {why}.")?;
                writeln!(
                    out,
                    "If you know what became of it, run one of these:\n  {command} --paid\n  {command} --not-paid"
                )?;
            }
        }
    }
    Ok(if resolved.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Takes the person's word: shows what it is about, asks why, and for the passphrase.
async fn by_hand(settings: &Settings, ledger: &Ledger, intent: Intent, args: &ResolveArgs) -> anyhow::Result<()> {
    let now = ledger.now()?;
    say(&in_lines(&intent, &resolve::lines(&intent, now)))?;
    let verdict = match args.paid {
        true => {
            let amount_minor = args.amount.as_deref().map(|amount| charged(&intent, amount)).transpose()?;
            ResolutionVerdict::Paid { amount_minor, payment_intent_id: None }
        }
        false => ResolutionVerdict::NotPaid,
    };
    let agent = Agent::for_person(settings.core.clone());
    if resolve::may_read_chain(agent.settings(), &intent.issuer)
        && let Ok(client) = agent.registered_client(&intent.issuer)
        && let Ok((by_chain, _)) = resolve::ask_chain(&client, &intent, FOR_A_PERSON).await
    {
        let command = settings.resolve_command(&intent);
        match (by_chain, args.paid) {
            // It would give back to the budgets what was spent.
            (ResolutionVerdict::Paid { .. }, false) => {
                bail!("your audit chain says that it was paid; nothing was changed. To take its word, run: {command}")
            }
            (ResolutionVerdict::NotPaid, true) => say("Your audit chain says that it was not paid.")?,
            _ => say(&format!("Your audit chain says the same: `{command}` records it with that proof."))?,
        }
    }
    let reason = match &args.reason {
        Some(reason) => reason.clone(),
        None => ask("How do you know? It is kept in the journal: ")?,
    };
    let reason = oid4ac_client::clean(reason.trim(), MAX_REASON);
    if reason.is_empty() {
        bail!("a reason is needed, for those who read the journal later; nothing was changed");
    }
    let human = terminal::require(&agent.settings().data_dir, "Saying what became of this payment")?;
    let intent = end_mandate(&agent, ledger, intent, &verdict, now).await?;
    let by = ResolvedBy::Person { name: account(), reason };
    let resolved = approvals::resolve(&human, ledger, &intent.id, &verdict, by)?;
    say(&told(&resolved))
}

/// Ends the mandate of a purchase that is resolved, so that nothing more is charged under it. Where the budgets get money
/// back, its end must be certain.
async fn end_mandate(
    agent: &Agent,
    ledger: &Ledger,
    intent: Intent,
    verdict: &ResolutionVerdict,
    now: i64,
) -> anyhow::Result<Intent> {
    if !intent.mandate_lives(now) {
        return Ok(intent);
    }
    let intent = match agent.registered_client(&intent.issuer) {
        Ok(client) => resolve::end_grant(ledger, &client, intent).await,
        Err(refusal) => {
            say(&format!("Its mandate could not be revoked: {}.", refusal))?;
            intent
        }
    };
    let until = intent.mandate.as_ref().map(|mandate| mandate.expires_at).filter(|_| intent.mandate_lives(now));
    let Some(until) = until else {
        say("The authorization server confirmed that its mandate is revoked. Merchants notice within a few minutes.")?;
        return Ok(intent);
    };
    let most = intent.currency.format(intent.at_stake_minor());
    let warning = format!(
        "the authorization server did not confirm that its mandate is revoked: the merchant can still charge up to {most} \
         until {}",
        time(until)
    );
    match resolve::gives_back_what_can_be_charged(&intent, verdict, now) {
        true => bail!(
            "{warning}. It stays as it is, and counts. Run this again after that, or once the authorization server can be \
             reached"
        ),
        false => say(&format!("Warning: {warning}.")).map(|()| intent),
    }
}

/// An amount that the person says was charged: no more than the mandate allowed.
fn charged(intent: &Intent, amount: &str) -> anyhow::Result<u64> {
    let minor = intent.currency.parse_major(amount).filter(|minor| *minor > 0);
    let minor = minor.ok_or_else(|| anyhow!("--amount: an amount in {} is wanted, like 12.50", intent.currency))?;
    let most = intent.at_stake_minor();
    if minor > most {
        bail!(
            "--amount: the mandate allowed {} at most. Record that much as paid, and dispute the rest with your bank: no \
             approval of yours covers it",
            intent.currency.format(most)
        );
    }
    Ok(minor)
}

/// What was recorded, in a sentence.
fn told(intent: &Intent) -> String {
    let how = intent.resolution.as_ref().map(resolve::resolution).unwrap_or_default();
    let what = match intent.resolution.as_ref().is_some_and(|resolution| resolution.paid) {
        true => format!("{} count as spent.", intent.currency.format(intent.amount_minor)),
        false => "Nothing counts as spent for it any more.".to_owned(),
    };
    format!("{} is recorded as {how}. {what}", intent.id)
}

fn say(line: &str) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

/// Asks the person at the terminal.
fn ask(question: &str) -> anyhow::Result<String> {
    let mut terminal = std::io::stderr();
    write!(terminal, "{question}")?;
    terminal.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).context("the terminal cannot be read")?;
    Ok(answer)
}

/// The name of the account that runs this.
fn account() -> String {
    let named = || ["USER", "LOGNAME", "USERNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    account_of_process().or_else(named).unwrap_or_else(|| "unknown".to_owned())
}

/// Not from the environment, which anybody can set: the owner of a file that was just made, by its name in the system's list.
#[cfg(unix)]
fn account_of_process() -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;
    let uid = tempfile::tempfile().and_then(|file| file.metadata()).ok()?.uid().to_string();
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1) == Some(&uid)).then(|| name.to_owned())
    });
    name.or(Some(format!("uid {uid}")))
}

#[cfg(not(unix))]
fn account_of_process() -> Option<String> {
    None
}

/// How long a person waits for the audit chain.
const FOR_A_PERSON: Duration = Duration::from_secs(60);
