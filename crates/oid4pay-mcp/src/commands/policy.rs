//! `oid4pay-mcp policy`.

use oid4pay::agents::ledger;
use oid4pay::approvals;
use oid4pay::policy::{PolicySource, Standing, in_words, text_of};
use std::fs::{DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use oid4ac_client::Origin;
use serde_json::json;
use spend_guard::{Currency, LineItem, Policy, Purchase, Verdict};

use super::args::Output;
use super::terminal;
use crate::config::Settings;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum PolicyCommand {
    /// Show the rules in use, and whether they are in force
    Show(Output),
    /// Choose a passphrase, and write a policy file to edit where there is none
    Init,
    /// Say whether a policy file can be used, and what it would allow that is not allowed now
    Check {
        /// The file
        file: PathBuf,
        #[command(flatten)]
        output: Output,
    },
    /// Say what would happen to a payment, and name every rule that speaks; nothing is reserved
    Simulate(Simulated),
    /// Put a policy in force that allows more than the one before
    Confirm,
}

/// A payment that is not made.
#[derive(Debug, clap::Args)]
pub(crate) struct Simulated {
    /// The merchant's origin, as in https://shop.example
    #[arg(long, value_name = "ORIGIN")]
    merchant: String,
    /// The amount in major units, as in 12.50
    #[arg(long)]
    amount: String,
    /// ISO 4217 code
    #[arg(long, default_value = "EUR")]
    currency: Currency,
    /// Category of the goods
    #[arg(long)]
    category: Option<String>,
    /// Merchant category code (ISO 18245); no real payment has one, so a rule that names codes asks you
    #[arg(long)]
    mcc: Option<String>,
    /// Agent
    #[arg(long)]
    agent: Option<String>,
    /// Judge by this file instead of the policy in use
    #[arg(long)]
    file: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

pub(crate) fn run(settings: &Settings, command: PolicyCommand) -> anyhow::Result<()> {
    match command {
        PolicyCommand::Show(output) => show(settings, output),
        PolicyCommand::Init => init(settings),
        PolicyCommand::Check { file, output } => check(settings, &file, output),
        PolicyCommand::Simulate(simulated) => simulate(settings, &simulated),
        PolicyCommand::Confirm => confirm(settings),
    }
}

fn show(settings: &Settings, output: Output) -> anyhow::Result<()> {
    let standing = Standing::of(&PolicySource::new(&settings.core), &ledger(&settings.core))?;
    let is_new = standing.is_new();
    let Standing { policy, before, looser, frozen } = standing;
    let file = settings.core.policy_file.as_deref().filter(|file| file.exists());
    let mut out = std::io::stdout().lock();
    if output.json {
        let shown = json!({
            "file": file, "hash": policy.hash(), "in_force": looser.is_empty(), "looser": looser, "frozen": frozen,
            "rules": policy.rules(), "is_new": is_new, "rules_before": is_new.then_some(&before),
        });
        return Ok(writeln!(out, "{shown}")?);
    }
    match (file, &settings.core.policy_file) {
        (Some(file), _) => writeln!(out, "From {}", file.display())?,
        (None, Some(file)) => writeln!(out, "The defaults; there is no {}", file.display())?,
        (None, None) => writeln!(out, "The defaults")?,
    }
    if frozen {
        writeln!(out, "All payments are frozen; `unfreeze` ends it.")?;
    }
    if !looser.is_empty() {
        writeln!(out, "NOT in force, and payments are stopped, until you run `policy confirm`. It allows more:")?;
        print_list(&mut out, &looser)?;
        writeln!(out, "It says:")?;
    } else if is_new {
        writeln!(out, "Nowhere looser than the policy before; the next payment puts it in force for good. It says:")?;
    }
    print_list(&mut out, &in_words(policy.rules()))?;
    if is_new {
        writeln!(out, "The policy before says:")?;
        print_list(&mut out, &in_words(&before))?;
    }
    Ok(())
}

fn init(settings: &Settings) -> anyhow::Result<()> {
    terminal::choose(&settings.core.data_dir)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "The passphrase is set. Approving, rejecting and loosening anything asks for it.")?;
    let file = settings.core.policy_file.as_deref().context("there is no home directory for a policy: set HOME")?;
    match write_default(file) {
        Ok(()) => writeln!(out, "Wrote {}, which says what holds without it.", file.display())?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            writeln!(out, "{} is there already and was left as it is.", file.display())?;
        }
        Err(error) => return Err(anyhow!(error).context(format!("{}", file.display()))),
    }
    Ok(())
}

fn write_default(file: &Path) -> std::io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(file.parent().unwrap_or(file))?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut written = options.open(file)?;
    written.write_all(DEFAULT.as_bytes())?;
    written.sync_all()
}

fn check(settings: &Settings, file: &Path, output: Output) -> anyhow::Result<()> {
    let policy = parse(file)?;
    let looser = policy.looser_than(&ledger(&settings.core).rules_in_force()?);
    let mut out = std::io::stdout().lock();
    if output.json {
        let read: Vec<_> = policy
            .readings()
            .iter()
            .map(|read| json!({"line": read.line, "written": read.written, "read_as": read.read_as}))
            .collect();
        let checked = json!({"valid": true, "hash": policy.hash(), "looser": looser, "readings": read});
        return Ok(writeln!(out, "{checked}")?);
    }
    writeln!(out, "{} can be used:", file.display())?;
    print_list(&mut out, &in_words(policy.rules()))?;
    if !policy.readings().is_empty() {
        writeln!(out, "Some of it is read in another spelling:")?;
        let read = policy.readings().iter();
        let read = read.map(|read| format!("line {}: \"{}\" is read as {}", read.line, read.written, read.read_as));
        print_list(&mut out, &read.collect::<Vec<_>>())?;
    }
    if !looser.is_empty() {
        writeln!(out, "It allows more than the policy in force, and would have to be confirmed:")?;
        print_list(&mut out, &looser)?;
    }
    Ok(())
}

fn simulate(settings: &Settings, simulated: &Simulated) -> anyhow::Result<()> {
    let policy = match &simulated.file {
        Some(file) => parse(file)?,
        None => PolicySource::new(&settings.core).read()?.as_ref().clone(),
    };
    let currency = simulated.currency;
    let amount = currency
        .parse_major(&simulated.amount)
        .with_context(|| format!("--amount: decimal digits in {currency} are wanted, as in 12.50"))?;
    // Rules look at merchant, amount and what is named below; for which article, and at which server, is nothing to them.
    let line = LineItem { sku: "simulated".to_owned(), qty: 1, unit_price_minor: None };
    let key = "a simulation has no key of its own";
    let merchant = Origin::of(simulated.merchant.trim()).map_err(|why| anyhow!("--merchant: {why}"))?;
    let mut purchase = Purchase::payment("", merchant.as_str(), vec![line], amount, currency, None, key)?;
    if let Some(category) = &simulated.category {
        purchase = purchase.category(category);
    }
    if let Some(mcc) = &simulated.mcc {
        purchase = purchase.mcc(mcc);
    }
    if let Some(agent) = &simulated.agent {
        purchase = purchase.agent(agent);
    }
    let evaluation = ledger(&settings.core).simulate(&purchase, &policy)?;
    let mut out = std::io::stdout().lock();
    if simulated.output.json {
        return Ok(writeln!(out, "{}", json!(evaluation))?);
    }
    let verdict = match evaluation.verdict {
        Verdict::Allow => "would be allowed",
        Verdict::Approve => "would wait for your approval",
        Verdict::Deny => "would be refused",
    };
    writeln!(out, "{} to {} {verdict}.", currency.format(amount), merchant)?;
    for finding in &evaluation.findings {
        writeln!(out, "  {}: {} ({})", finding.rule, finding.message, finding.code)?;
    }
    for alert in &evaluation.alerts {
        writeln!(out, "  alert: {} ({})", alert.message, alert.code)?;
    }
    Ok(())
}

fn confirm(settings: &Settings) -> anyhow::Result<()> {
    terminal::require_terminal("confirming a policy")?;
    let ledger = ledger(&settings.core);
    let source = PolicySource::new(&settings.core);
    let Standing { policy, looser, .. } = Standing::of(&source, &ledger)?;
    let mut out = std::io::stdout().lock();
    if looser.is_empty() {
        return Ok(writeln!(
            out,
            "The policy allows nothing that is not allowed already: there is nothing to confirm."
        )?);
    }
    writeln!(out, "The policy allows more than the one in force:")?;
    print_list(&mut out, &looser)?;
    let human = terminal::require(&settings.core.data_dir, "Putting it in force")?;
    // What was shown is what is confirmed: a file that changed meanwhile is another policy.
    if source.read()?.hash() != policy.hash() {
        bail!("the policy changed while you were asked; nothing was confirmed");
    }
    approvals::confirm(&human, &ledger, &policy)?;
    Ok(writeln!(out, "In force.")?)
}

fn parse(file: &Path) -> anyhow::Result<Policy> {
    let name = file.display().to_string();
    let text = text_of(file)?.with_context(|| format!("{name}: no such file"))?;
    Ok(Policy::parse(&text, &name)?)
}

fn print_list(out: &mut impl std::io::Write, lines: &[String]) -> anyhow::Result<()> {
    for line in lines {
        writeln!(out, "  {line}")?;
    }
    Ok(())
}

const DEFAULT: &str = include_str!("policy/default.toml");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_that_init_writes_says_what_holds_without_it() {
        assert_eq!(Policy::parse(DEFAULT, "policy.toml"), Ok(Policy::default()));
        // What it has as comments can be used too.
        let uncommented = DEFAULT.replace("# [", "[").replace("# allow", "allow").replace("# deny", "deny");
        let lines = uncommented.lines().map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.contains(" = ") => rest,
            _ => line,
        });
        let all = lines.collect::<Vec<_>>().join("\n");
        let policy = Policy::parse(&all, "policy.toml").unwrap();
        assert_eq!((policy.rules().rules.len(), policy.rules().currencies.len()), (2, 4), "{all}");
    }
}
