//! `oid4pay-mcp login` and `logout`: the person's wallet sessions.

use oid4pay::agents::Agent;
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use oid4ac_client::{Consent, Granted, WalletScope, clean};
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;

use super::terminal;
use crate::config::Settings;

/// What `login` takes.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct LoginArgs {
    /// What to allow; may be given several times [default: both]
    #[arg(long = "scope", value_name = "SCOPE", value_enum)]
    scopes: Vec<Kept>,
}

/// What can be allowed ahead of time. Revoking agents and asking for data is allowed again with each call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kept {
    /// List the person's agents
    #[value(name = "wallet:read")]
    WalletRead,
    /// Read the person's audit chain and payments
    #[value(name = "audit:read")]
    AuditRead,
}

impl From<Kept> for WalletScope {
    fn from(scope: Kept) -> Self {
        match scope {
            Kept::WalletRead => Self::WalletRead,
            Kept::AuditRead => Self::AuditRead,
        }
    }
}

/// Asks the person to allow each scope, and waits until they have decided.
pub(crate) async fn login(settings: Settings, args: LoginArgs) -> anyhow::Result<()> {
    terminal::require_terminal("logging in to your wallet")?;
    let agent = Agent::for_person(settings.core);
    let client = agent.registered_client(&agent.issuer()?)?;
    let redirect_uri = agent.redirect_uri(&client)?;
    // Nobody types a passphrase for a server that is not there.
    client.check_server().await?;
    terminal::require(&agent.settings().data_dir, "Logging in to your wallet")?;
    let scopes = if args.scopes.is_empty() { Kept::value_variants() } else { &args.scopes };
    for scope in scopes.iter().copied().map(WalletScope::from) {
        let mut shown = None;
        loop {
            match client.login(scope, &redirect_uri).await? {
                Granted::Done(()) => break,
                Granted::Consent(consent) => {
                    if shown.as_ref() != Some(&consent.url) {
                        show(scope, &consent)?;
                        shown = Some(consent.url.clone());
                    }
                    tokio::time::sleep(Duration::from_secs(consent.interval_seconds.max(1))).await;
                }
                Granted::InsufficientScope(scope) => {
                    bail!("insufficient_scope (need {scope}); the agent is not registered for it, or it was declined")
                }
                Granted::ConsentExpired => bail!("nobody decided about {scope} in time; run login again"),
                _ => bail!("the authorization server's answer about {scope} is not understood"),
            }
        }
        writeln!(std::io::stdout(), "{scope}: allowed. The agent can use it until you log out.")?;
    }
    Ok(())
}

/// Where to decide, on the terminal that the person is at.
fn show(scope: WalletScope, consent: &Consent) -> anyhow::Result<()> {
    let url = clean(&consent.url, MAX_URL);
    let mut terminal = std::io::stderr().lock();
    writeln!(terminal, "\nAllow {scope} at your wallet:\n\n  {url}\n")?;
    if consent.mode == "scan" {
        for line in qr(&url)?.lines() {
            writeln!(terminal, "  {line}")?;
        }
        writeln!(terminal)?;
    }
    writeln!(terminal, "Waiting for your decision; Ctrl-C to leave it for later.")?;
    Ok(())
}

/// A QR code in half blocks, dark on light whatever the colours of the terminal are.
fn qr(url: &str) -> anyhow::Result<String> {
    let code = QrCode::new(url).context("the consent URL does not fit in a QR code")?;
    let lines = code.render::<Dense1x2>().build();
    Ok(lines.lines().map(|line| format!("\x1b[30;107m{line}\x1b[0m\n")).collect())
}

/// Revokes and forgets the sessions.
pub(crate) async fn logout(settings: Settings) -> anyhow::Result<()> {
    let agent = Agent::for_person(settings.core);
    let client = agent.client(&agent.issuer()?)?;
    let ended = client.logout().await?;
    let mut out = std::io::stdout().lock();
    match (ended.revoked, ended.only_forgotten) {
        (0, 0) => writeln!(out, "There was no wallet session.")?,
        (revoked, 0) => writeln!(out, "Revoked and forgot {revoked} wallet sessions.")?,
        (revoked, forgotten) => writeln!(
            out,
            "Revoked {revoked} wallet sessions. {forgotten} were forgotten here, but the authorization server did not \
             confirm that they ended: revoke this agent in your wallet if that matters now.",
        )?,
    }
    Ok(())
}

const MAX_URL: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_qr_code_fits_a_terminal_and_has_its_colours_with_it() {
        let code = qr("https://sandbox.oid4pay.com/portal/consent/0123456789abcdefghijkl").unwrap();
        let widths: Vec<_> = code.lines().map(|line| line.chars().count()).collect();
        assert!(widths.iter().all(|width| *width == widths[0] && *width < 80), "{widths:?}");
        assert!(code.lines().all(|line| line.starts_with("\x1b[30;107m") && line.ends_with("\x1b[0m")));
    }
}
