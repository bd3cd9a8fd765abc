//! A small MCP client: starts a server and talks JSON-RPC to it over its pipes, as any client would.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// A running server. It is killed when this is dropped.
pub(crate) struct McpServer {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    next_id: u64,
    /// What the person at this client does when they are asked.
    pub(crate) person: Person,
    asked: Option<String>,
}

/// Who answers the server's questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Person {
    /// Nobody: the question is left open.
    Away,
    /// Somebody who ticks the box.
    Approves,
}

/// What a tool answered.
#[derive(Clone, Debug)]
pub(crate) struct ToolAnswer {
    /// The structured content; `Null` if there is none.
    pub(crate) structured: Value,
    /// The first text.
    pub(crate) text: String,
    /// The error object of a refusal; `Null` if it is none.
    pub(crate) error: Value,
    /// What was checked, and by which key.
    pub(crate) signatures: Value,
    /// What the person was asked meanwhile.
    pub(crate) asked: Option<String>,
}

impl McpServer {
    /// Starts `binary` with `arguments` and nothing of this process's environment, and shakes hands (protocol 2025-11-25).
    pub(crate) async fn start(binary: &Path, arguments: &[&str], home: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(binary);
        command.args(arguments).env_clear().env("HOME", home).current_dir(home);
        // What it logs is not part of the story.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("cannot start {}", binary.display()))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("the server has no pipes");
        };
        let mut server = Self {
            child,
            input,
            output: BufReader::new(output).lines(),
            next_id: 0,
            person: Person::Away,
            asked: None,
        };
        let hello = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {"elicitation": {"form": {}}},
            "clientInfo": {"name": "oid4pay-mcp demo", "version": env!("CARGO_PKG_VERSION")},
        });
        server.request("initialize", hello).await?;
        server.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await?;
        Ok(server)
    }

    /// The names of the server's tools.
    pub(crate) async fn tool_names(&mut self) -> anyhow::Result<Vec<String>> {
        let result = self.request("tools/list", json!({})).await?;
        let tools = result.get("tools").and_then(Value::as_array).context("tools/list has no tools")?;
        Ok(tools.iter().filter_map(|tool| tool.get("name")?.as_str().map(str::to_owned)).collect())
    }

    /// Calls a tool.
    pub(crate) async fn call(&mut self, tool: &str, arguments: Value) -> anyhow::Result<ToolAnswer> {
        let mut result = self.request("tools/call", json!({"name": tool, "arguments": arguments})).await?;
        let text = |at: usize| result.pointer(&format!("/content/{at}/text")).and_then(Value::as_str);
        let is_error = result.get("isError") == Some(&Value::Bool(true));
        let error = match text(1).filter(|_| is_error) {
            Some(object) => serde_json::from_str::<Value>(object).context("the error object")?["error"].take(),
            None => Value::Null,
        };
        let text = text(0).unwrap_or_default().to_owned();
        let signatures = result.pointer_mut("/_meta/oid4pay~1signatures").map_or(Value::Null, Value::take);
        let asked = self.asked.take();
        Ok(ToolAnswer { structured: result["structuredContent"].take(), text, error, signatures, asked })
    }

    /// Ends the server as a client does: its input ends, and it is given time to finish.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        drop(self.input);
        let ended = tokio::time::timeout(STOP, self.child.wait()).await;
        let status = ended.context("the server did not end with its input")??;
        if status.success() { Ok(()) } else { Err(anyhow!("the server ended with {status}")) }
    }

    async fn request(&mut self, method: &str, params: Value) -> anyhow::Result<Value> {
        self.next_id += 1;
        let id = self.next_id;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})).await?;
        let answer = tokio::time::timeout(ANSWER, self.answer_to(id)).await;
        answer.with_context(|| format!("no answer to {method} in time"))?.with_context(|| method.to_owned())
    }

    async fn send(&mut self, message: &Value) -> anyhow::Result<()> {
        let mut line = message.to_string();
        line.push('\n');
        self.input.write_all(line.as_bytes()).await?;
        Ok(self.input.flush().await?)
    }

    async fn answer_to(&mut self, id: u64) -> anyhow::Result<Value> {
        while let Some(line) = self.output.next_line().await? {
            let mut message: Value = serde_json::from_str(&line).context("standard output has other than JSON-RPC")?;
            if message["method"] == "elicitation/create" {
                self.ask(&message).await?;
                continue;
            }
            if message["id"] != id {
                continue;
            }
            return match message["error"].take() {
                Value::Null => Ok(message["result"].take()),
                error => Err(anyhow!("the server answered {error}")),
            };
        }
        bail!("the server ended")
    }

    /// Puts the server's question to the person, and takes their answer back.
    async fn ask(&mut self, question: &Value) -> anyhow::Result<()> {
        self.asked = question.pointer("/params/message").and_then(Value::as_str).map(str::to_owned);
        let answer = match self.person {
            Person::Approves => json!({"action": "accept", "content": {"approve": true}}),
            Person::Away => json!({"action": "cancel"}),
        };
        self.send(&json!({"jsonrpc": "2.0", "id": question["id"], "result": answer})).await
    }
}

const ANSWER: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(8);
