//! Settings: a flag beats the environment, the environment beats the default.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;
use oid4ac_client::Endpoint;

use crate::tools::Offered;

/// The options that every command takes.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Issuer of the authorization server; calls that name another are refused [default: the one registered at]
    #[arg(long, global = true, value_name = "URL", env = "OID4PAY_AS_ORIGIN", hide_env_values = true)]
    as_origin: Option<String>,
    /// URL of the merchant directory; set by you, it may be reached wherever it is
    #[arg(long, global = true, value_name = "URL", env = "OID4PAY_DISCOVERY_URL", hide_env_values = true)]
    discovery_url: Option<String>,
    /// Folder for keys, registration and ledger [default: oid4pay-mcp in the XDG data directory]
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// How long a call waits for a person's decision before it answers approval_required
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(0..=300))]
    consent_wait: u64,
    /// Which tools are offered
    #[arg(long, global = true, value_name = "TOOLSET", value_enum, default_value_t = Toolset::Oid4ac)]
    toolset: Toolset,
    /// Offer only tools that change nothing and cannot pay
    #[arg(long, global = true)]
    read_only: bool,
    /// How log lines on standard error look
    #[arg(long, global = true, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log: LogFormat,
}

/// Which tools a server offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Toolset {
    /// Register, find merchants, pay, and what the person can see and do about it
    Oid4ac,
    /// The spending guard: policy, budgets, intents, evidence
    Spend,
    /// Both
    All,
}

impl Toolset {
    pub(crate) fn includes(self, other: Self) -> bool {
        self == Self::All || self == other
    }
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
    pub(crate) directory: Option<Endpoint>,
    pub(crate) data_dir: PathBuf,
    pub(crate) consent_wait: Duration,
    pub(crate) offered: Offered,
    pub(crate) log: LogFormat,
}

impl Settings {
    pub(crate) fn resolve(options: Options) -> anyhow::Result<Self> {
        let as_origin = options.as_origin.filter(|url| !url.is_empty());
        if let Some(url) = &as_origin {
            Endpoint::parse(url).context("--as-origin (OID4PAY_AS_ORIGIN)")?;
        }
        let directory = match options.discovery_url.filter(|url| !url.is_empty()) {
            Some(url) => Some(Endpoint::parse(&url).context("--discovery-url (OID4PAY_DISCOVERY_URL)")?),
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
            offered: Offered { toolset: options.toolset, read_only: options.read_only },
            log: options.log,
        })
    }
}
