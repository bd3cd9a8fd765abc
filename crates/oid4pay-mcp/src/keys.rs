//! `oid4pay-mcp keys`.

use std::io::Write as _;

use anyhow::Context as _;
use jose::Signer as _;
use oid4ac_client::{FileStore, Store as _};

use crate::config::Settings;
use crate::provided::Provided;

/// Prints the public keys, their thumbprints and the registration.
pub(crate) fn show(settings: &Settings) -> anyhow::Result<()> {
    let issuer = match &settings.as_origin {
        Some(issuer) => Some(issuer.clone()),
        None => FileStore::registered_issuer(&settings.data_dir)?,
    };
    let issuer = issuer.context("agent is not registered yet; call agent_register first, or give --as-origin")?;
    let store = FileStore::for_issuer(&settings.data_dir, &issuer);
    let provided = Provided::from_env()?;
    let (keys, place) = match provided.keys {
        Some(keys) => (Some(keys), "the environment".to_owned()),
        None => (store.keys()?, settings.data_dir.display().to_string()),
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
