//! The command line.

use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

use crate::commands::args::{About, Output};
use crate::commands::ledger::{self, LedgerCommand};
use crate::commands::policy::{self, PolicyCommand};
use crate::commands::{approvals, client_config, doctor, keys, login, quietly, records, resolve};
#[cfg(feature = "sandbox")]
use crate::commands::{demo, sandbox};
use crate::config::{LogFormat, Options, Settings};
use crate::{mcp, pages};

/// Lets an agent pay merchants for its human, within what the human approved. Without a command it is an MCP server on
/// standard input and output.
#[derive(Debug, Parser)]
#[command(name = "oid4pay-mcp", version, about)]
pub struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[cfg(feature = "sandbox")]
    /// Tell the whole story against a sandbox of its own: register, pay at two merchants, show what was verified
    Demo(demo::DemoArgs),
    #[cfg(feature = "sandbox")]
    /// Run an authorization server, a directory and two merchants on this machine until interrupted
    Sandbox(sandbox::SandboxArgs),
    /// List the payments that wait for you
    Approvals(Output),
    /// Approve a payment; asks for your passphrase
    Approve(About),
    /// Show what is spent, held back and left
    Budget(Output),
    /// Serve a page on this machine: what agents spend, and the payments that wait for your approval
    Dashboard(pages::DashboardArgs),
    /// Stop all payments
    Freeze,
    /// What was spent, newest first; or, with --verify, a proof that the ledger is whole
    History(records::HistoryArgs),
    /// Verify one payment again and print what proves it
    Receipt(records::ReceiptArgs),
    /// Write the history as a table or as data, or what proves one payment
    Export(records::ExportArgs),
    /// Judge a payment by its evidence file, on any machine: exit status 0 if it is proven, 3 if unproven, 1 if contradicted
    VerifyEvidence(records::VerifyEvidenceArgs),
    /// Print the configuration with which an MCP client starts this server, or write it to the client's own file
    Config(client_config::ConfigArgs),
    /// Check everything that this program needs, and say how to fix what is wrong
    Doctor(Output),
    /// The keys of this agent
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Bring a ledger back into use that is older than it was, or whose time ran ahead; asks for your passphrase
    #[command(subcommand)]
    Ledger(LedgerCommand),
    /// Allow this agent to read your wallet; asks for your passphrase
    Login(login::LoginArgs),
    /// End what you allowed with login
    Logout,
    /// The spending policy
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Refuse a payment; asks for your passphrase
    Reject(About),
    /// Say what became of a payment that may have been made, or ask your audit chain; alone, list them
    Resolve(resolve::ResolveArgs),
    /// Let payments go on after a freeze; asks for your passphrase
    Unfreeze,
    /// Print a shell's completion script
    Completions {
        /// Which shell
        shell: Shell,
    },
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Make new keys, and register them with a new setup token
    Rotate,
    /// Print the public parts, and where the private ones are
    Show,
}

impl Cli {
    /// Does what the command line says.
    ///
    /// # Errors
    ///
    /// Whatever could not be done, in words for a person.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let done = |()| ExitCode::SUCCESS;
        match self.command {
            None => serve(self.options).map(done),
            #[cfg(feature = "sandbox")]
            Some(Command::Demo(args)) => block_on(demo::run(args)),
            #[cfg(feature = "sandbox")]
            Some(Command::Sandbox(args)) => block_on(sandbox::run(args)).map(done),
            Some(Command::Approvals(output)) => {
                approvals::approvals(&Settings::resolve(self.options)?, output).map(done)
            }
            Some(Command::Approve(about)) => approvals::approve(&Settings::resolve(self.options)?, &about).map(done),
            Some(Command::Budget(output)) => approvals::budget(&Settings::resolve(self.options)?, output).map(done),
            Some(Command::Freeze) => approvals::freeze(&Settings::resolve(self.options)?).map(done),
            Some(Command::Policy(command)) => policy::run(&Settings::resolve(self.options)?, command).map(done),
            Some(Command::Reject(about)) => {
                block_on(approvals::reject(&Settings::resolve(self.options)?, &about)).map(done)
            }
            Some(Command::Resolve(args)) => block_on(resolve::run(Settings::resolve(self.options)?, args)),
            Some(Command::Unfreeze) => approvals::unfreeze(&Settings::resolve(self.options)?).map(done),
            Some(Command::Dashboard(args)) => {
                let settings = Settings::resolve(self.options)?;
                block_on(pages::run(settings, args)).map(done)
            }
            Some(Command::History(args)) => quietly(records::history(&Settings::resolve(self.options)?, args)),
            Some(Command::Receipt(args)) => quietly(records::receipt(&Settings::resolve(self.options)?, &args)),
            Some(Command::Export(args)) => quietly(block_on(records::export(Settings::resolve(self.options)?, args))),
            Some(Command::VerifyEvidence(args)) => {
                quietly(self.options.trusted_keys().and_then(|pinned| records::verify_evidence(&args, &pinned)))
            }
            Some(Command::Config(args)) => client_config::run(&self.options, &args).map(done),
            Some(Command::Doctor(output)) => block_on(doctor::run(self.options, output)),
            Some(Command::Ledger(command)) => ledger::run(&Settings::resolve(self.options)?, command).map(done),
            Some(Command::Login(args)) => block_on(login::login(Settings::resolve(self.options)?, args)).map(done),
            Some(Command::Logout) => block_on(login::logout(Settings::resolve(self.options)?)).map(done),
            Some(Command::Keys(KeysCommand::Rotate)) => {
                block_on(keys::rotate(Settings::resolve(self.options)?)).map(done)
            }
            Some(Command::Keys(KeysCommand::Show)) => keys::show(&Settings::resolve(self.options)?).map(done),
            Some(Command::Completions { shell }) => completions(shell).map(done),
        }
    }
}

fn serve(options: Options) -> anyhow::Result<()> {
    let settings = Settings::resolve(options)?;
    log_to_stderr(settings.log);
    block_on(mcp::serve(settings))
}

fn completions(shell: Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "oid4pay-mcp", &mut script);
    Ok(std::io::stdout().write_all(&script)?)
}

fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// Standard output belongs to the protocol. Only what this project's crates say is logged, and nothing below a warning:
/// other crates print what they send and receive, secrets included, when asked for more.
fn log_to_stderr(format: LogFormat) {
    use tracing_subscriber::filter::{LevelFilter, Targets};
    use tracing_subscriber::layer::SubscriberExt as _;
    use tracing_subscriber::util::SubscriberInitExt as _;

    let ours = ["oid4pay_mcp", "oid4pay", "oid4ac_client", "spend_guard"].map(|target| (target, LevelFilter::INFO));
    let registry = tracing_subscriber::registry().with(Targets::new().with_targets(ours));
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    match format {
        LogFormat::Text => registry.with(layer).init(),
        LogFormat::Json => registry.with(layer.json()).init(),
    }
}
