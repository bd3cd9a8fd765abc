//! Settings: a flag beats the environment, the environment beats the settings file, the file beats the default.

mod credentials;
mod file;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;
use oid4ac_client::{Endpoint, Origin};
use serde::Deserialize;
use spend_guard::{Intent, Tightening};

pub(crate) use self::credentials::{ASSERTION_JWK, DPOP_JWK};
use self::file::File;

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
    /// Settings file; flags and environment go before it [default: config.toml in the XDG configuration directory]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How long a call waits for a person's decision before it answers approval_required [default: 20]
    #[arg(long, global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(..=MAX_CONSENT_WAIT))]
    consent_wait: Option<u64>,
    /// How long a call may take in all; what it has presented by then is recorded, and it presents nothing later [default: 120]
    #[arg(long, global = true, value_name = "SECONDS", env = "OID4PAY_CALL_DEADLINE", hide_env_values = true,
          value_parser = clap::value_parser!(u64).range(CALL_DEADLINES))]
    call_deadline: Option<u64>,
    /// Which tools are offered [default: oid4ac]
    #[arg(long, global = true, value_name = "TOOLSET", value_enum)]
    toolset: Option<Toolset>,
    /// Offer only tools that change nothing and cannot pay
    #[arg(long, global = true)]
    read_only: bool,
    /// How log lines on standard error look [default: text]
    #[arg(long, global = true, value_name = "FORMAT", value_enum)]
    log: Option<LogFormat>,
}

/// Settings, to be given again.
pub(crate) struct Repeated {
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(&'static str, String)>,
}

impl Options {
    /// The pinned keys alone, on a machine that may have nothing else of this program.
    pub(crate) fn trusted_keys(&self) -> anyhow::Result<BTreeMap<Origin, PathBuf>> {
        Ok(File::read(self.config.as_deref())?.trusted_keys.0)
    }

    /// The same settings for a server that somebody else starts: arguments and environment, without what a file says.
    /// Folders are made absolute, since it may be started anywhere.
    pub(crate) fn to_repeat(&self) -> anyhow::Result<Repeated> {
        let mut arguments = Vec::new();
        let mut flag = |name: &str, value: Option<String>| {
            arguments.extend(value.into_iter().flat_map(|value| [name.to_owned(), value]));
        };
        let path = |path: &PathBuf| -> anyhow::Result<String> {
            let path = std::path::absolute(path)?;
            Ok(path.to_str().with_context(|| format!("{} is not Unicode", path.display()))?.to_owned())
        };
        let name_of =
            |value: &dyn Fn() -> Option<clap::builder::PossibleValue>| value().map(|v| v.get_name().to_owned());
        flag("--as-origin", self.as_origin.clone().filter(|url| !url.is_empty()));
        flag("--data-dir", self.data_dir.as_ref().map(path).transpose()?);
        flag("--config", self.config.as_ref().map(path).transpose()?);
        flag("--consent-wait", self.consent_wait.map(|seconds| seconds.to_string()));
        flag("--call-deadline", self.call_deadline.map(|seconds| seconds.to_string()));
        flag("--toolset", self.toolset.and_then(|toolset| name_of(&|| toolset.to_possible_value())));
        flag("--log", self.log.and_then(|log| name_of(&|| log.to_possible_value())));
        if self.read_only {
            arguments.push("--read-only".to_owned());
        }
        let directory = self.discovery_url.clone().filter(|url| !url.is_empty());
        Ok(Repeated {
            arguments,
            environment: directory.map(|url| ("OID4PAY_DISCOVERY_URL", url)).into_iter().collect(),
        })
    }
}

/// Which tools a server offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Toolset {
    /// Register, find merchants, pay, and what the person can see and do about it
    #[default]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What a server or command works with. Of all files, only the settings file has been read.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// What the application core works with.
    pub(crate) core: oid4pay::settings::Settings,
    pub(crate) consent_wait: Duration,
    /// How long a call may take in all.
    pub(crate) call_deadline: Duration,
    /// Which tools a server offers.
    pub(crate) toolset: Toolset,
    /// Without those that change anything.
    pub(crate) read_only: bool,
    pub(crate) log: LogFormat,
}

impl Settings {
    pub(crate) fn resolve(options: Options) -> anyhow::Result<Self> {
        let file = File::read(options.config.as_deref())?;
        let as_origin = match options.as_origin.filter(|url| !url.is_empty()) {
            Some(url) => {
                Endpoint::parse(&url).context("--as-origin (OID4PAY_AS_ORIGIN)")?;
                Some(url)
            }
            None => file.as_origin,
        };
        let directory = match options.discovery_url.filter(|url| !url.is_empty()) {
            Some(url) => Some(Endpoint::parse(&url).context("--discovery-url (OID4PAY_DISCOVERY_URL)")?),
            None => file.discovery_url,
        };
        let data_dir = match options.data_dir.or(file.data_dir) {
            Some(dir) => dir,
            None => project_dirs()
                .context("there is no home directory to keep keys in: set HOME, XDG_DATA_HOME or --data-dir")?
                .data_dir()
                .to_owned(),
        };
        let policy_file = project_dirs().map(|directories| directories.config_dir().join("policy.toml"));
        let core = oid4pay::settings::Settings {
            as_origin,
            directory,
            data_dir,
            head_dir: state_dir(),
            policy_file,
            tightening: tightening()?,
            authorization_server: file.authorization_server.into_core(),
            disclosures: file.disclose.0,
            trusted_keys: file.trusted_keys.0,
            provided: credentials::provided().map_err(|error| format!("{error:#}")),
        };
        Ok(Self {
            core,
            consent_wait: Duration::from_secs(options.consent_wait.or(file.consent_wait).unwrap_or(20)),
            call_deadline: Duration::from_secs(options.call_deadline.or(file.call_deadline).unwrap_or(120)),
            toolset: options.toolset.or(file.toolset).unwrap_or_default(),
            read_only: options.read_only || file.read_only,
            log: options.log.or(file.log).unwrap_or_default(),
        })
    }
}

/// This program's folders, where there is a home to have them in.
pub(crate) fn project_dirs() -> Option<directories::ProjectDirs> {
    directories::ProjectDirs::from("", "", "oid4pay-mcp")
}

/// This program's folder for state, which is never inside the one for data.
fn state_dir() -> Option<PathBuf> {
    let usual = project_dirs().and_then(|directories| directories.state_dir().map(ToOwned::to_owned));
    usual.or_else(|| Some(directories::BaseDirs::new()?.home_dir().join(".local/state/oid4pay-mcp")))
}

/// Seconds; clients give up long before.
const MAX_CONSENT_WAIT: u64 = 300;
/// Seconds.
const CALL_DEADLINES: RangeInclusive<u64> = 1..=3600;

impl Settings {
    /// What a person types for `arguments` to act on this very data directory.
    pub(crate) fn command(&self, arguments: &str) -> String {
        if project_dirs().is_some_and(|directories| directories.data_dir() == self.core.data_dir) {
            return format!("oid4pay-mcp {arguments}");
        }
        format!("oid4pay-mcp --data-dir '{}' {arguments}", self.core.data_dir.display())
    }

    /// The command that says what the audit chain, or the person, knows of a purchase.
    pub(crate) fn resolve_command(&self, intent: &Intent) -> String {
        self.command(&format!("resolve {}", intent.id))
    }
}

/// Limits that the environment sets. They are no flags and no part of a file: those are for the policy, which can be
/// confirmed.
fn tightening() -> anyhow::Result<Tightening> {
    let limit = |name: &'static str| match std::env::var(name) {
        Ok(value) if value.is_empty() => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(anyhow::anyhow!("{name} is not Unicode")),
    };
    Ok(Tightening {
        per_transaction: limit("OID4PAY_MAX_PER_TX")?,
        hour: limit("OID4PAY_MAX_HOURLY")?,
        day: limit("OID4PAY_MAX_DAILY")?,
        approval_above: limit("OID4PAY_APPROVAL_ABOVE")?,
    })
}
