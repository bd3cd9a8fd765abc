//! `oid4pay-mcp config`: what starts this server, in the words of each MCP client.

mod json;
mod toml;

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use clap::ValueEnum;
use serde_json::{Value, json};

use super::told::in_words;
use crate::config::{Options, Repeated, Settings};

/// What `config` takes.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ConfigArgs {
    /// Which client
    #[arg(value_enum)]
    client: McpClient,
    /// Put it into the client's own file; what else is there stays, and the old file is kept beside it
    #[arg(long)]
    write: bool,
}

/// An MCP client whose configuration is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum McpClient {
    ClaudeDesktop,
    ClaudeCode,
    #[value(name = "vscode")]
    VsCode,
    Cursor,
    Cline,
    Continue,
    Codex,
}

/// How this server is started.
struct Launch {
    command: String,
    args: Vec<String>,
    env: Vec<(String, String)>,
}

pub(crate) fn run(options: &Options, args: &ConfigArgs) -> anyhow::Result<()> {
    // What a client would start must be able to start.
    if Settings::resolve(options.clone())?.core.as_origin.is_none() {
        writeln!(
            std::io::stderr(),
            "Warning: no authorization server is set, so the agent could register at any that it is told of. Give \
             --as-origin https://…, and --discovery-url https://… to find merchants.\n"
        )?;
    }
    let binary = std::env::current_exe().context("the path of this program")?;
    let command = binary.to_str().context("the path of this program is not Unicode")?.to_owned();
    let Repeated { arguments, environment } = options.to_repeat()?;
    let env = environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let launch = Launch { command, args: arguments, env };
    let mut out = std::io::stdout().lock();
    if !args.write {
        return Ok(write!(out, "{}", args.client.fragment(&launch))?);
    }
    let path = args.client.file()?;
    let old = match fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error).with_context(|| path.display().to_string()),
    };
    let merged = args.client.merge(old.as_deref().unwrap_or_default(), &launch);
    let merged = merged.map_err(|error| {
        let (reason, fragment) = (in_words(&error), args.client.fragment(&launch));
        anyhow!("{} was left as it is, since {reason}. Put this into it yourself:\n\n{fragment}", path.display())
    })?;
    if old.as_deref() == Some(merged.as_str()) {
        return Ok(writeln!(out, "{} has it already.", path.display())?);
    }
    if let Some(old) = &old {
        let backup = back_up(&path, old)?;
        writeln!(out, "The old file is kept as {}.", backup.display())?;
    }
    replace(&path, &merged)?;
    Ok(writeln!(out, "Wrote {}. Restart the client to use it.", path.display())?)
}

impl McpClient {
    /// Where the client keeps what holds for all of the person's projects.
    fn file(self) -> anyhow::Result<PathBuf> {
        let dirs = directories::BaseDirs::new().context("there is no home directory")?;
        let (home, config) = (dirs.home_dir(), dirs.config_dir());
        Ok(match self {
            Self::ClaudeDesktop => config.join("Claude/claude_desktop_config.json"),
            Self::ClaudeCode => home.join(".claude.json"),
            Self::VsCode => config.join("Code/User/mcp.json"),
            Self::Cursor => home.join(".cursor/mcp.json"),
            Self::Cline => {
                config.join("Code/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json")
            }
            // A file of our own: Continue reads every one in this folder.
            Self::Continue => home.join(".continue/mcpServers/oid4pay.yaml"),
            Self::Codex => match std::env::var_os("CODEX_HOME").filter(|dir| !dir.is_empty()) {
                Some(dir) => PathBuf::from(dir).join("config.toml"),
                None => home.join(".codex/config.toml"),
            },
        })
    }

    /// What stands in the file for this server alone.
    fn fragment(self, launch: &Launch) -> String {
        match self {
            Self::Continue => yaml(launch),
            Self::Codex => toml::section(launch),
            _ => format!("{:#}\n", json!({ self.member(): { NAME: self.entry(launch) } })),
        }
    }

    /// The file with this server in it, and everything else as it was.
    fn merge(self, old: &str, launch: &Launch) -> anyhow::Result<String> {
        match self {
            Self::Continue => match yaml(launch) {
                ours if old.trim().is_empty() || old == ours => Ok(ours),
                _ => bail!("it says something else, which may be yours"),
            },
            Self::Codex => toml::merge(old, launch),
            _ => json::merge(old, self.member(), &self.entry(launch)),
        }
    }

    fn member(self) -> &'static str {
        if self == Self::VsCode { "servers" } else { "mcpServers" }
    }

    fn entry(self, launch: &Launch) -> Value {
        let mut entry = json!({"command": launch.command, "args": launch.args});
        if !launch.env.is_empty() {
            entry["env"] = launch.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        }
        match self {
            Self::ClaudeCode | Self::VsCode => entry["type"] = json!("stdio"),
            Self::Cline => {
                entry["disabled"] = json!(false);
                // No tool that can pay is approved ahead of time.
                entry["autoApprove"] = json!([]);
            }
            _ => {}
        }
        entry
    }
}

/// A block of Continue's. A JSON string is a YAML one too.
fn yaml(launch: &Launch) -> String {
    let quoted = |text: &str| json!(text).to_string();
    let mut text = format!(
        "name: {NAME}\nversion: {}\nschema: v1\nmcpServers:\n  - name: {NAME}\n    command: {}\n",
        env!("CARGO_PKG_VERSION"),
        quoted(&launch.command),
    );
    if !launch.args.is_empty() {
        text.push_str("    args:\n");
        launch.args.iter().for_each(|arg| text.push_str(&format!("      - {}\n", quoted(arg))));
    }
    if !launch.env.is_empty() {
        text.push_str("    env:\n");
        launch.env.iter().for_each(|(name, value)| text.push_str(&format!("      {name}: {}\n", quoted(value))));
    }
    text
}

/// Keeps the old content under the first free name.
fn back_up(path: &Path, content: &str) -> anyhow::Result<PathBuf> {
    let name = path.file_name().and_then(|name| name.to_str()).context("a file without a name")?;
    for number in 0..1000 {
        let suffix = if number == 0 { String::new() } else { format!(".{number}") };
        let backup = path.with_file_name(format!("{name}.bak{suffix}"));
        match fs::OpenOptions::new().write(true).create_new(true).open(&backup) {
            Ok(mut file) => {
                // Other servers' secrets may stand in it.
                file.set_permissions(fs::metadata(path)?.permissions())?;
                file.write_all(content.as_bytes()).and_then(|()| file.sync_all())?;
                return Ok(backup);
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| backup.display().to_string()),
        }
    }
    bail!("there are a thousand backups of {} already", path.display())
}

/// Replaces the file whole. One that is a link is replaced where it leads.
fn replace(path: &Path, content: &str) -> anyhow::Result<()> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let dir = path.parent().context("a file without a folder")?;
    let write = || {
        fs::create_dir_all(dir)?;
        let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(dir)?;
        file.write_all(content.as_bytes())?;
        if let Ok(metadata) = fs::metadata(&path) {
            file.as_file().set_permissions(metadata.permissions())?;
        }
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|error| error.error).map(drop)
    };
    write().with_context(|| path.display().to_string())
}

const NAME: &str = "oid4pay";
