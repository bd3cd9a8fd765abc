//! Conformance of OID4AC's protocol crates, servers and clients.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;

use anyhow::{Context as _, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use url::Url;

use crate::check::Check;
use crate::outcome::Stop;
use crate::report::Tally;
use crate::runner::{Job, Mutant, Result};
use crate::wire::Http;
use crate::world::{Elsewhere, Patience, Payments, World};

mod agent;
mod check;
mod client;
mod deception;
mod forge;
mod forger;
mod identity;
mod lie;
mod mutants;
mod outcome;
mod report;
mod runner;
mod server;
mod setup;
mod sign;
mod vectors;
mod wire;
mod world;

/// Checks OID4AC implementations. Without a subcommand, every check is run against a sandbox in this process, or against
/// the servers that are named.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Run,
}

#[derive(Subcommand)]
enum Command {
    /// Reads cases from standard input, one JSON object a line, and prints a verdict for each.
    Vectors {
        /// What the cases are.
        kind: vectors::Kind,
    },
    /// Prints signed artefacts, made with fresh keys, as cases that `vectors` accepts: for others to verify.
    Sign {
        /// What to sign.
        kind: sign::Kind,
    },
}

#[derive(Args)]
struct Run {
    /// The issuer of an authorization server to check in place of the sandbox's.
    #[arg(long, value_name = "URL")]
    as_origin: Option<String>,
    /// A directory to check in place of the sandbox's.
    #[arg(long, value_name = "URL")]
    discovery_url: Option<String>,
    /// The origin of a merchant to check in place of the sandbox's. Several may be given.
    #[arg(long, value_name = "URL")]
    merchant: Vec<String>,
    /// A setup token. Two agents are registered with one each; some checks of registration take one more.
    #[arg(long, value_name = "TOKEN", env = "CONFORMANCE_SETUP_TOKENS", value_delimiter = ',', hide_env_values = true)]
    setup_token: Vec<String>,
    /// Lets checks buy things at the merchants that were named.
    #[arg(long)]
    allow_payments: bool,
    /// Lets checks wait for minutes where something has to expire.
    #[arg(long)]
    slow: bool,
    /// Runs only the checks whose id is this, or begins with it. Several may be given.
    #[arg(long, value_name = "ID")]
    only: Vec<String>,
    /// Prints what would be run.
    #[arg(long)]
    list: bool,
    /// Switches off the sandbox's rules one by one and prints which checks notice.
    #[arg(long, conflicts_with_all = ["as_origin", "discovery_url", "merchant", "list"])]
    mutants: bool,
    /// What to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Writes a report as JSON to this file as well.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes a report as JUnit XML to this file as well.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// A table.
    Text,
    /// One JSON object.
    Json,
    /// JUnit XML.
    Junit,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let ended = match cli.command {
        Some(Command::Vectors { kind }) => {
            vectors::run(kind, io::stdin().lock(), io::stdout().lock()).map(|()| ExitCode::SUCCESS).map_err(Into::into)
        }
        Some(Command::Sign { kind }) => sign::run(kind, io::stdout().lock()).map(|()| ExitCode::SUCCESS),
        None => run(cli.run),
    };
    ended.unwrap_or_else(|error| {
        let _ = writeln!(io::stderr(), "conformance: {error:#}");
        ExitCode::from(COULD_NOT_RUN)
    })
}

fn run(run: Run) -> anyhow::Result<ExitCode> {
    let checks = chosen(&run.only)?;
    let mut out = BufWriter::new(io::stdout().lock());
    if run.list {
        for Check { id, section, expected, .. } in &checks {
            writeln!(out, "{id}\n    {section}: {expected}")?;
        }
        writeln!(out, "\n{} checks", checks.len())?;
        out.flush()?;
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    let http = Http::new()?;
    if run.mutants {
        let findings = runtime.block_on(mutants::try_all(&http, &checks));
        findings.write_text(&mut out)?;
        out.flush()?;
        return Ok(if findings.is_green() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let results = runtime.block_on(results(&http, &run, &checks))?;
    for (path, write) in [(&run.json, Format::Json), (&run.junit, Format::Junit)] {
        if let Some(path) = path {
            save(path, &results, write).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    write_as(run.format, &results, &mut out)?;
    out.flush()?;
    Ok(if Tally::of(&results).failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The checks whose id begins with one of `only`, or all.
fn chosen(only: &[String]) -> anyhow::Result<Vec<Check>> {
    let all: Vec<Check> = server::checks().into_iter().chain(client::checks()).collect();
    for prefix in only {
        if !all.iter().any(|check| check.id.starts_with(prefix)) {
            bail!("no check's id begins with {prefix:?}; --list shows them");
        }
    }
    let is_chosen = |check: &Check| only.is_empty() || only.iter().any(|prefix| check.id.starts_with(prefix));
    Ok(all.into_iter().filter(is_chosen).collect())
}

async fn results(http: &Http, run: &Run, checks: &[Check]) -> anyhow::Result<Vec<Result>> {
    let Some(elsewhere) = elsewhere(run)? else {
        let jobs = checks.iter().enumerate();
        let jobs = jobs.map(|(index, check)| Job { index, check: check.clone(), mutant: Mutant::None }).collect();
        let done = runner::in_sandboxes(http, jobs).await;
        return Ok(done.into_iter().map(|done| Result::of(&checks[done.index], done.outcome, done.took)).collect());
    };
    reach(http, &elsewhere).await?;
    let world = World::elsewhere(http.clone(), elsewhere);
    Ok(runner::elsewhere(http, &world, checks).await)
}

/// The servers that were named, if any.
fn elsewhere(run: &Run) -> anyhow::Result<Option<Elsewhere>> {
    if run.as_origin.is_none() && run.discovery_url.is_none() && run.merchant.is_empty() {
        if !run.setup_token.is_empty() {
            bail!("--setup-token is of no use without --as-origin: the sandbox makes its own");
        }
        return Ok(None);
    }
    let named = [("--as-origin", &run.as_origin), ("--discovery-url", &run.discovery_url)];
    for (option, url) in named {
        if let Some(url) = url {
            check_url(option, url)?;
        }
    }
    let mut merchants = Vec::new();
    for merchant in &run.merchant {
        merchants.push(check_url("--merchant", merchant)?.origin().ascii_serialization());
    }
    let mut setup_tokens = run.setup_token.clone();
    // They are taken from the end.
    setup_tokens.reverse();
    Ok(Some(Elsewhere {
        issuer: run.as_origin.clone(),
        directory: run.discovery_url.as_ref().map(|url| url.trim_end_matches('/').to_owned()),
        merchants,
        setup_tokens: Mutex::new(setup_tokens),
        payments: if run.allow_payments { Payments::Allowed } else { Payments::Forbidden },
        patience: if run.slow { Patience::Minutes } else { Patience::None },
    }))
}

/// An absolute URL over TLS, or to this machine.
fn check_url(option: &str, text: &str) -> anyhow::Result<Url> {
    let url = Url::parse(text).with_context(|| format!("{option}: not a URL"))?;
    let is_loopback = match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => bail!("{option}: the URL has no host"),
    };
    if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback) {
        bail!("{option}: must be https, or http on a loopback host");
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        bail!("{option}: must have no user information, query or fragment");
    }
    Ok(url)
}

/// Asks each server once, so that a wrong address is one clear error and not a failure of every check.
async fn reach(http: &Http, elsewhere: &Elsewhere) -> anyhow::Result<()> {
    let servers = [&elsewhere.issuer, &elsewhere.directory].into_iter().flatten().chain(&elsewhere.merchants);
    for server in servers {
        if let Err(Stop::Broken(_)) = http.get(server).await {
            bail!("nothing answers at {server}");
        }
    }
    Ok(())
}

fn write_as(format: Format, results: &[Result], out: &mut dyn io::Write) -> io::Result<()> {
    match format {
        Format::Text => report::write_text(results, out),
        Format::Json => writeln!(out, "{:#}", report::json(results)),
        Format::Junit => report::write_junit(results, out),
    }
}

fn save(path: &Path, results: &[Result], format: Format) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    write_as(format, results, &mut file)?;
    file.flush()
}

const COULD_NOT_RUN: u8 = 2;
