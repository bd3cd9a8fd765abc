//! `oid4pay-mcp keys`.

use oid4pay::agents::Agent;
use oid4pay::refusal::Refusal;
use std::io::{BufRead as _, IsTerminal as _, Read as _, Write as _};

use anyhow::{Context as _, bail};
use jose::Signer as _;
use oid4ac_client::{FileStore, SetupToken, Store as _};

use crate::config::Settings;

/// Prints the public keys, their thumbprints and the registration.
pub(crate) fn show(settings: &Settings) -> anyhow::Result<()> {
    let issuer = settings.core.issuer()?;
    let issuer = issuer.context("agent is not registered yet; call agent_register first, or give --as-origin")?;
    let store = FileStore::for_issuer(&settings.core.data_dir, &issuer);
    let provided = settings.core.provided.clone().map_err(anyhow::Error::msg)?;
    let (keys, place) = match provided.keys {
        Some(keys) => (Some(keys), "the environment".to_owned()),
        None => (store.keys()?, settings.core.data_dir.display().to_string()),
    };
    let keys = keys.with_context(|| format!("there are no keys for {issuer} yet; agent_register makes them"))?;
    let client_id = match provided.client_id {
        Some(client_id) => Some(client_id),
        None => store.registration()?.map(|registration| registration.client_id),
    };
    let mut out = std::io::stdout().lock();
    writeln!(out, "authorization server  {issuer}")?;
    writeln!(out, "client_id             {}", client_id.as_deref().unwrap_or("none yet"))?;
    writeln!(out, "private keys          in {place}")?;
    for (name, key) in [("dpop", keys.dpop()), ("private_key_jwt", keys.private_key_jwt())] {
        writeln!(
            out,
            "\n{name}\n  thumbprint (RFC 7638)  {}\n  {}",
            key.public_key().thumbprint(),
            key.public_key().members_json()
        )?;
    }
    Ok(())
}

/// Makes new keys and registers them with a new setup token, which is asked for or read from standard input: a command
/// line is visible to others.
pub(crate) async fn rotate(settings: Settings) -> anyhow::Result<()> {
    let command = |arguments: &str| settings.command(arguments);
    let agent = Agent::for_person(settings.core.clone());
    let client = agent.registered_client(&agent.issuer()?)?;
    let may_rotate = || agent.check_may_rotate().map_err(|refusal| with_command(&refusal, &command));
    may_rotate()?;
    let old = client.registration()?.context("there is no registration")?;
    let setup_token = setup_token()?;
    // Somebody may have taken their time to get one.
    may_rotate()?;
    let new = client.rotate_keys(setup_token).await?;
    let backup = FileStore::for_issuer(&agent.settings().data_dir, &new.as_url).old_keys()?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "This agent now is {} at {}, with new keys.", new.client_id, new.as_url)?;
    writeln!(
        out,
        "The old private keys are kept in {}, the old registration in client.json.bak beside it. Once a payment with the \
         new keys has settled, nothing needs them: delete both.",
        backup.display()
    )?;
    if old.revoked_at.is_none() {
        writeln!(
            out,
            "{} still stands there: revoke it in your wallet portal if its keys may be known.",
            old.client_id
        )?;
    }
    if new.principal_id != old.principal_id {
        writeln!(out, "It is now bound to another person: the one who issued the setup token.")?;
    }
    Ok(())
}

fn setup_token() -> anyhow::Result<SetupToken> {
    let stdin = std::io::stdin();
    let typed = match stdin.is_terminal() {
        true => rpassword::prompt_password("A new setup token, from your wallet portal: ")?,
        false => {
            let mut line = String::new();
            stdin.lock().take(MAX_TOKEN).read_line(&mut line).context("standard input")?;
            line
        }
    };
    let token = typed.trim();
    if token.is_empty() {
        bail!("a new setup token is needed: make one in your wallet portal, and give it on standard input");
    }
    Ok(SetupToken::new(token))
}

const MAX_TOKEN: u64 = 4096;

/// Why the keys cannot be replaced now, with what ends a payment that was not presented.
fn with_command(refusal: &Refusal, command: &dyn Fn(&str) -> String) -> anyhow::Error {
    match refusal.intent().filter(|intent| !intent.state.is_in_flight()) {
        Some(intent) => anyhow::anyhow!("{refusal}; to reject it, run: {}", command(&format!("reject {}", intent.id))),
        None => anyhow::anyhow!("{refusal}"),
    }
}
