//! `oid4pay-mcp demo`: the whole story against a sandbox of its own, through this same binary as an MCP server.

mod mcp;
mod play;
mod story;

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use sandbox::{Sandbox, SandboxConfig};

use self::play::Play;
pub use self::story::{Payment, Signatures, Step, Story};
use super::sandbox::description;
use crate::stop::StopSignal;

/// What `demo` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Print one JSON document instead of the story
    #[arg(long)]
    json: bool,
}

/// Tells the story on standard output. Whatever it made is gone when it returns, also after an interruption.
pub(crate) async fn run(args: DemoArgs) -> anyhow::Result<ExitCode> {
    let mut stop = StopSignal::listen()?;
    let binary = std::env::current_exe().context("the path of this program")?;
    let story = tokio::select! {
        story = tell(SandboxConfig::new(), &binary) => story?,
        () = stop.received() => return Ok(ExitCode::from(130)),
    };
    let text = if args.json { format!("{}\n", serde_json::to_string(&story)?) } else { story.to_text() };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(if story.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Starts a sandbox with this configuration and `binary` as a server, and tells the story: register, find merchants, browse,
/// pay at each, repeat, be denied, have the human asked, buy the cheapest, revoke an agent, prove the audit chain.
///
/// What goes wrong on the way is part of the story. The servers get nothing of this process's environment and data
/// directories of their own, which are removed; so neither the user's configuration nor their policy has a say.
///
/// # Errors
///
/// If the sandbox does not start or there is no place for temporary files.
pub async fn tell(config: SandboxConfig, binary: &Path) -> anyhow::Result<Story> {
    let sandbox = Sandbox::start(config).await?;
    let home = tempfile::Builder::new().prefix("oid4pay-demo-").tempdir().context("a temporary directory")?;
    let mut story = Story::begin(description(&sandbox));
    let told = Play::new(&mut story, &sandbox, binary, home.path()).perform().await;
    story.end(told.err().map(|error| format!("{error:#}")), sandbox.requests().len(), sandbox.merchants().len());
    sandbox.shutdown().await;
    home.close().context("removing the temporary directory")?;
    Ok(story)
}
