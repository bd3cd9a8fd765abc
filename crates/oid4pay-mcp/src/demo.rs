//! `oid4pay-mcp demo`: the whole story against a sandbox of its own, through this same binary as an MCP server.

mod mcp;
mod story;

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use sandbox::{MerchantInfo, Sandbox, SandboxConfig};
use serde_json::{Value, json};

pub use self::story::{Payment, Signatures, Step, Story};

use self::mcp::{McpServer, ToolAnswer};
use crate::sandbox_cmd::description;
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

/// Starts a sandbox with this configuration and `binary` as a server, registers, and pays once at each merchant.
///
/// What goes wrong on the way is part of the story. The server gets nothing of this process's environment and a data
/// directory of its own, which is removed.
///
/// # Errors
///
/// If the sandbox does not start or there is no place for temporary files.
pub async fn tell(config: SandboxConfig, binary: &Path) -> anyhow::Result<Story> {
    let sandbox = Sandbox::start(config).await?;
    let home = tempfile::Builder::new().prefix("oid4pay-demo-").tempdir().context("a temporary directory")?;
    let mut story = Story::begin(description(&sandbox));
    let told = play(&mut story, &sandbox, binary, home.path()).await;
    story.error = told.err().map(|error| format!("{error:#}"));
    story.requests = sandbox.requests().len();
    story.ok = story.error.is_none()
        && story.payments.len() == sandbox.merchants().len()
        && story.payments.iter().all(|payment| payment.signatures.all_verified());
    sandbox.shutdown().await;
    home.close().context("removing the temporary directory")?;
    Ok(story)
}

async fn play(story: &mut Story, sandbox: &Sandbox, binary: &Path, home: &Path) -> anyhow::Result<()> {
    let data_dir = home.join("data");
    let data_dir = data_dir.to_str().context("the temporary directory's name is not UTF-8")?;
    let stopwatch = Stopwatch::start();
    let mut server =
        McpServer::start(binary, &["--as-origin", sandbox.as_origin(), "--data-dir", data_dir], home).await?;
    let tools = server.tool_names().await?;
    story.step(
        "Start the MCP server and list its tools",
        stopwatch.elapsed(),
        vec![
            format!("authorization server  {}", sandbox.as_origin()),
            format!("tools                 {}", tools.join(", ")),
        ],
    );
    register(story, &mut server, sandbox).await?;
    for merchant in sandbox.merchants() {
        pay(story, &mut server, merchant).await?;
    }
    server.stop().await
}

async fn register(story: &mut Story, server: &mut McpServer, sandbox: &Sandbox) -> anyhow::Result<()> {
    let stopwatch = Stopwatch::start();
    let arguments = json!({
        "setup_token": sandbox.setup_token()?, "as_url": sandbox.as_origin(), "redirect_uris": [REDIRECT_URI],
        "client_name": "Demo agent",
    });
    let answer = server.call("agent_register", arguments).await?;
    if !answer.error.is_null() {
        bail!("{}", answer.text);
    }
    let client_id = answer.structured["client_id"].as_str().unwrap_or_default();
    story.step(
        "Register the agent with a one-shot setup token",
        stopwatch.elapsed(),
        vec![
            format!("POST {}/oauth/register", sandbox.as_origin()),
            format!("client_id  {client_id}; its two private keys never leave the data directory"),
        ],
    );
    Ok(())
}

async fn pay(story: &mut Story, server: &mut McpServer, merchant: &MerchantInfo) -> anyhow::Result<()> {
    let Some(item) = ITEMS.iter().find(|item| item.merchant == merchant.id) else {
        bail!("the story has nothing to buy at {}", merchant.id);
    };
    let stopwatch = Stopwatch::start();
    let arguments = json!({
        "merchant_url": merchant.origin,
        "merchant_verify_url": merchant.verify_url,
        "amount": {"currency": item.currency, "amount_minor": item.amount_minor},
        "line_items": [{"sku": item.sku, "qty": 1}],
        "redirect_uri": REDIRECT_URI,
    });
    let answer = server.call("agent_payment_initiate", arguments).await?;
    let signatures = Signatures::read(&answer.signatures);
    story.step(
        format!("Buy {} at {}", item.sku, merchant.id),
        stopwatch.elapsed(),
        told(&answer, item, merchant, &signatures),
    );
    let output = if answer.error.is_null() { answer.structured } else { answer.error };
    story.payments.push(Payment { merchant: merchant.id.clone(), signatures, output });
    Ok(())
}

/// The payment, request by request and signature by signature.
fn told(answer: &ToolAnswer, item: &Item, merchant: &MerchantInfo, signatures: &Signatures) -> Vec<String> {
    let by = |name: &str| {
        let of = |member: &str| answer.signatures.pointer(&format!("/{name}/{member}")).and_then(Value::as_str);
        format!("{} key {}", of("alg").unwrap_or("?"), of("kid").unwrap_or("?"))
    };
    let mut lines = vec![format!("GET  {}/oid4ac/offer/{}", merchant.origin, item.sku)];
    for (name, verdict) in signatures.all() {
        let what = match name {
            "offer" => "merchant's signed offer",
            "access_token" => "access token",
            "mandate" => "mandate",
            "key_binding" => "our key-binding JWT",
            _ => "merchant's receipt",
        };
        if name == "access_token" {
            lines.push("POST pushed authorization request, GET authorize, POST token".to_owned());
        } else if name == "key_binding" {
            lines.push(format!("POST {}", merchant.verify_url));
        }
        lines.push(match verdict == story::VERIFIED {
            true => format!("+ {what:<24}verified by {}", by(name)),
            false => format!("! {what:<24}{verdict}"),
        });
    }
    if !answer.error.is_null() {
        lines.push(format!("! {}", answer.text));
        return lines;
    }
    let member = |name: &str| answer.structured.get(name).and_then(Value::as_str).unwrap_or("none");
    for name in ["status", "mandate_id", "payment_intent_id", "settled_at", "receipt_url"] {
        lines.push(format!("{name:<18}  {}", member(name)));
    }
    lines
}

/// Time for people to read; nothing is decided by it.
struct Stopwatch(tokio::time::Instant);

impl Stopwatch {
    fn start() -> Self {
        Self(tokio::time::Instant::now())
    }

    fn elapsed(&self) -> std::time::Duration {
        self.0.elapsed()
    }
}

/// Something to buy at a merchant of the sandbox, at the price that its signed offer has.
struct Item {
    merchant: &'static str,
    sku: &'static str,
    amount_minor: u64,
    currency: &'static str,
}

const ITEMS: [Item; 2] = [
    Item { merchant: "merch_alpacanica", sku: "alpaca-sock-blue-43", amount_minor: 1299, currency: "EUR" },
    Item { merchant: "merch_bristleandslate", sku: "keyboard-brush", amount_minor: 1190, currency: "EUR" },
];

const REDIRECT_URI: &str = "https://agent.example/callback";
