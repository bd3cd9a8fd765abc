//! Settings: a flag beats the environment, the environment beats the default.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use jose::PrivateKey;
use oid4ac_client::{Endpoint, KeyPair, Origin};

/// The options that every command takes.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Issuer of the authorization server; calls that name another are refused [default: the one registered at]
    #[arg(long, global = true, value_name = "URL", env = "OID4PAY_AS_ORIGIN", hide_env_values = true)]
    as_origin: Option<String>,
    /// Origin of the merchant directory; set by you, it may be reached wherever it is
    #[arg(long, global = true, value_name = "URL", env = "OID4PAY_DISCOVERY_URL", hide_env_values = true)]
    discovery_url: Option<String>,
    /// Folder for keys, registration and ledger [default: oid4pay-mcp in the XDG data directory]
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// How long a call waits for a person's decision before it answers approval_required
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(0..=300))]
    consent_wait: u64,
    /// How log lines on standard error look
    #[arg(long, global = true, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What a server or command works with. Nothing of it has been read from disk.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) as_origin: Option<String>,
    pub(crate) directory: Option<Origin>,
    pub(crate) data_dir: PathBuf,
    pub(crate) consent_wait: Duration,
    pub(crate) log: LogFormat,
}

impl Settings {
    pub(crate) fn resolve(options: Options) -> anyhow::Result<Self> {
        let as_origin = options.as_origin.filter(|url| !url.is_empty());
        if let Some(url) = &as_origin {
            Endpoint::parse(url).context("--as-origin (OID4PAY_AS_ORIGIN)")?;
        }
        let directory = match options.discovery_url.filter(|url| !url.is_empty()) {
            Some(url) => Some(Origin::of(&url).context("--discovery-url (OID4PAY_DISCOVERY_URL)")?),
            None => None,
        };
        let data_dir = match options.data_dir {
            Some(dir) => dir,
            None => directories::ProjectDirs::from("", "", "oid4pay-mcp")
                .context("there is no home directory to keep keys in: set HOME, XDG_DATA_HOME or --data-dir")?
                .data_dir()
                .to_owned(),
        };
        Ok(Self {
            as_origin,
            directory,
            data_dir,
            consent_wait: Duration::from_secs(options.consent_wait),
            log: options.log,
        })
    }
}

/// The registration that an operator gave through the environment, in place of files.
pub(crate) struct Provided {
    pub(crate) client_id: Option<String>,
    pub(crate) keys: Option<Arc<KeyPair>>,
}

impl Provided {
    /// Reads `OID4PAY_CLIENT_ID`, `OID4PAY_DPOP_PRIVATE_JWK` and `OID4PAY_PKJ_PRIVATE_JWK`. They are no flags, because a
    /// command line is visible to others.
    ///
    /// # Errors
    ///
    /// If only one key is given, or one that is not usable. The message holds nothing of a key.
    pub(crate) fn from_env() -> anyhow::Result<Self> {
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
        Ok(Self { client_id: variable("OID4PAY_CLIENT_ID"), keys })
    }
}

const DPOP_JWK: &str = "OID4PAY_DPOP_PRIVATE_JWK";
const ASSERTION_JWK: &str = "OID4PAY_PKJ_PRIVATE_JWK";
