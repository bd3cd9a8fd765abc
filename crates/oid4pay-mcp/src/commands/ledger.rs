//! `oid4pay-mcp ledger`: a person's way on where the ledger lets no payment through, or holds on to a wrong time.

use oid4pay::agents::ledger;
use std::io::Write as _;

use spend_guard::LedgerError;

use super::terminal;
use crate::config::Settings;
use oid4pay::approvals::{self, time};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum LedgerCommand {
    /// Go on with a ledger that is older than it was, or was rewritten; asks for your passphrase
    Accept,
    /// Bring the ledger's time back to the clock's, after a clock that was ahead; asks for your passphrase
    ResetTime,
}

pub(crate) fn run(settings: &Settings, command: LedgerCommand) -> anyhow::Result<()> {
    match command {
        LedgerCommand::Accept => accept(settings),
        LedgerCommand::ResetTime => reset_time(settings),
    }
}

/// Shows what is missing, and takes the ledger as it is.
fn accept(settings: &Settings) -> anyhow::Result<()> {
    terminal::require_terminal("accepting the ledger as it is")?;
    let ledger = ledger(&settings.core);
    let mut out = std::io::stdout().lock();
    match ledger.kept_head() {
        Ok(None | Some((_, true))) => {
            return Ok(writeln!(out, "The ledger is the one that was written last: there is nothing to accept.")?);
        }
        Ok(Some((kept, false))) => {
            let found = ledger.head()?.seq;
            writeln!(
                out,
                "Entry {} was written to this ledger. It ends with entry {found}, or was rewritten.",
                kept.seq
            )?;
        }
        Err(error @ LedgerError::HeadUnusable { .. }) => writeln!(out, "{error}.")?,
        Err(error) => return Err(error.into()),
    }
    writeln!(
        out,
        "What it does not have counts in no budget, and is paid again if it is asked for again. Look at your payments at \
         your authorization server or bank first; `oid4pay-mcp freeze` stops payments meanwhile."
    )?;
    let human = terminal::require(&settings.core.data_dir, "Accepting the ledger as it is")?;
    approvals::accept(&human, &ledger)?;
    Ok(writeln!(out, "Accepted, and noted in its journal. Payments can be made again.")?)
}

/// Shows both times, and brings the ledger's back.
fn reset_time(settings: &Settings) -> anyhow::Result<()> {
    terminal::require_terminal("bringing the ledger's time back")?;
    let ledger = ledger(&settings.core);
    let (now, ahead) = (ledger.now()?, ledger.ahead_of_clock()?);
    let mut out = std::io::stdout().lock();
    if ahead == 0 {
        return Ok(writeln!(out, "The ledger is not ahead of this machine's clock: there is nothing to bring back.")?);
    }
    writeln!(out, "The ledger's time is      {}", time(now))?;
    writeln!(out, "This machine's clock says {}", time(now.saturating_sub(ahead)))?;
    writeln!(
        out,
        "Make sure that the clock is right. What was counted later than that then counts as of now, in full, until each \
         window has passed."
    )?;
    let human = terminal::require(&settings.core.data_dir, "Bringing the ledger's time back")?;
    match approvals::reset_time(&human, &ledger)? {
        Some(reset) => Ok(writeln!(
            out,
            "The ledger's time is {} again, and that is noted in its journal. Purchases changed: {}.",
            time(reset.to),
            reset.intents
        )?),
        None => Ok(writeln!(out, "The clock has caught up meanwhile: nothing was changed.")?),
    }
}
