//! `oid4pay-mcp sandbox`: the sandbox, kept running for others to pay at.

use std::io::Write as _;

use anyhow::Context as _;
use clap::ValueEnum;
use sandbox::{ConsentMode, PlannedFault, Sandbox, SandboxConfig};
use serde_json::{Value, json};

use crate::stop::StopSignal;

/// What `sandbox` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct SandboxArgs {
    /// Print one JSON line when ready, and nothing else
    #[arg(long)]
    json: bool,
    /// How many setup tokens to make
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(0..=1000))]
    setup_tokens: u16,
    /// How the principal is asked for consent
    #[arg(long, value_name = "MODE", value_enum, default_value_t = Consent::Auto)]
    consent: Consent,
    /// Go wrong once, at the first request of a step: answer_lost@verify, say; may be given several times
    #[arg(long = "fault", value_name = "NAME@STEP")]
    faults: Vec<PlannedFault>,
    /// First of the four ports taken; 0 takes any free ones
    #[arg(long, value_name = "N", default_value_t = 0)]
    port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Consent {
    Auto,
    Dashboard,
    Scan,
}

impl From<Consent> for ConsentMode {
    fn from(consent: Consent) -> Self {
        match consent {
            Consent::Auto => Self::Auto,
            Consent::Dashboard => Self::Dashboard,
            Consent::Scan => Self::Scan,
        }
    }
}

/// Runs the sandbox until the process is asked to end.
pub(crate) async fn run(args: SandboxArgs) -> anyhow::Result<()> {
    let config = SandboxConfig::new().port_base(args.port).consent_mode(args.consent.into());
    let config = args.faults.iter().copied().fold(config, SandboxConfig::fault);
    let mut stop = StopSignal::listen()?;
    let sandbox = Sandbox::start(config).await?;
    let tokens = (0..args.setup_tokens).map(|_| sandbox.setup_token()).collect::<Result<Vec<_>, _>>()?;
    let ready = if args.json { format!("{}\n", ready_line(&sandbox, &tokens)) } else { ready_text(&sandbox, &tokens)? };
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(ready.as_bytes()).and_then(|()| stdout.flush()).context("standard output")?;
    drop(stdout);
    stop.received().await;
    sandbox.shutdown().await;
    Ok(())
}

/// Where everything is, without the setup tokens.
pub(crate) fn description(sandbox: &Sandbox) -> Value {
    let merchants = sandbox.merchants().iter().map(|merchant| {
        json!({
            "id": merchant.id, "origin": merchant.origin, "verify_url": merchant.verify_url,
            "settlements_url": merchant.settlements_url,
        })
    });
    json!({
        "as_origin": sandbox.as_origin(),
        "discovery_url": sandbox.discovery_url(),
        "portal_url": sandbox.portal_url(),
        "merchants": merchants.collect::<Vec<_>>(),
    })
}

fn ready_line(sandbox: &Sandbox, tokens: &[String]) -> Value {
    let mut line = description(sandbox);
    line["setup_tokens"] = json!(tokens);
    line
}

fn ready_text(sandbox: &Sandbox, tokens: &[String]) -> anyhow::Result<String> {
    use std::fmt::Write as _;
    let mut text = String::new();
    let binary = std::env::current_exe().context("the path of this program")?;
    let client = json!({"mcpServers": {"oid4pay": {
        "command": binary,
        "args": ["--as-origin", sandbox.as_origin()],
        "env": {"OID4PAY_DISCOVERY_URL": sandbox.discovery_url()},
    }}});
    writeln!(text, "The sandbox is running on this machine alone. Ctrl-C ends it.\n")?;
    writeln!(text, "  authorization server  {}", sandbox.as_origin())?;
    writeln!(text, "  directory             {}", sandbox.discovery_url())?;
    writeln!(text, "  wallet portal         {}", sandbox.portal_url())?;
    for merchant in sandbox.merchants() {
        writeln!(
            text,
            "  merchant              {}  ({}, presents at {})",
            merchant.origin, merchant.id, merchant.verify_url
        )?;
    }
    if !tokens.is_empty() {
        writeln!(text, "\nSetup tokens, each good for one agent_register:\n")?;
        for token in tokens {
            writeln!(text, "  {token}")?;
        }
    }
    writeln!(text, "\nConfiguration for an MCP client:\n\n{client:#}")?;
    Ok(text)
}
