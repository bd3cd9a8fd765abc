//! `oid4pay-mcp reject`: the human's no, and the end of a mandate that is no use any more.

use std::io::Write as _;

use spend_guard::{Intent, Ledger, LedgerError, Step};

use crate::agent::Agent;
use crate::config::Settings;
use crate::guard_cmd::{About, in_lines, ledger};
use crate::tools::Name;
use crate::{approval, human, resolve};

/// Shows what is asked, or was begun unasked, asks for the passphrase, and records the human's no.
pub(crate) async fn reject(settings: Settings, about: &About) -> anyhow::Result<()> {
    let settings = &settings;
    human::require_terminal("rejecting a payment")?;
    let ledger = ledger(settings);
    let intent = ledger.intent(&about.id)?;
    if intent.state.after(Step::Reject).is_none() {
        return Err(LedgerError::IllegalStep { id: intent.id, from: intent.state, step: Step::Reject }.into());
    }
    let lines = approval::terms(&intent).map_or_else(|| approval::unasked(&intent), approval::lines);
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", in_lines(&intent, &lines))?;
    let human = human::require(settings, "Rejecting this payment")?;
    let intent = approval::reject(&human, &ledger, &about.id)?;
    writeln!(out, "Rejected. Nothing was paid.")?;
    let intent = end_grant(settings, &ledger, intent).await;
    if let Some(told) = resolve::grant_in_words(&intent) {
        writeln!(out, "{told}")?;
    }
    Ok(())
}

/// Ends the grant behind the mandate of a purchase that the person rejected.
pub(crate) async fn end_grant(settings: &Settings, ledger: &Ledger, intent: Intent) -> Intent {
    if intent.mandate.is_none() {
        return intent;
    }
    match Agent::for_person(settings.clone()).registered_client(Name::PaymentInitiate, &intent.issuer) {
        Ok(client) => resolve::end_grant(ledger, &client, intent).await,
        Err(_) => intent,
    }
}
