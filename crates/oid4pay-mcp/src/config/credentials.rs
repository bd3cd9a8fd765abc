//! Keys and registration that the operator gives through the environment. They are no flags, because a command line is visible
//! to others.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use jose::PrivateKey;
use oid4ac_client::KeyPair;
use oid4pay::settings::Provided;

/// Reads `OID4PAY_CLIENT_ID`, `OID4PAY_DPOP_PRIVATE_JWK` and `OID4PAY_PKJ_PRIVATE_JWK`.
///
/// # Errors
///
/// If only one key is given, or one that is not usable. The message holds nothing of a key.
pub(super) fn provided() -> anyhow::Result<Provided> {
    let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
    let key = |name: &'static str, jwk: String| {
        PrivateKey::from_jwk(jwk.as_bytes()).with_context(|| format!("{name} is not usable"))
    };
    let keys = match (variable(DPOP_JWK), variable(ASSERTION_JWK)) {
        (None, None) => None,
        (Some(dpop), Some(assertion)) => {
            let pair = KeyPair::new(key(DPOP_JWK, dpop)?, key(ASSERTION_JWK, assertion)?);
            Some(Arc::new(pair.with_context(|| format!("{DPOP_JWK}, {ASSERTION_JWK}"))?))
        }
        _ => bail!("{DPOP_JWK} and {ASSERTION_JWK} go together; only one is set"),
    };
    Ok(Provided { client_id: variable(CLIENT_ID), keys })
}

const CLIENT_ID: &str = "OID4PAY_CLIENT_ID";
pub(crate) const DPOP_JWK: &str = "OID4PAY_DPOP_PRIVATE_JWK";
pub(crate) const ASSERTION_JWK: &str = "OID4PAY_PKJ_PRIVATE_JWK";
