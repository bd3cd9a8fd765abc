//! The compiled binary as an MCP server, a sandbox for it to pay at, and what every test checks of both.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part of the support")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot be set up has failed")]

pub mod books;
pub mod liar;
pub mod person;
pub mod schema;
pub mod unspent;
pub mod wire;

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bytes::Bytes;
use oid4ac_client::{Endpoint, HttpClient as _, Limits, Origin, ReqwestClient};
use sandbox::{MerchantInfo, Sandbox, SandboxConfig};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;

use self::person::Person;

pub const CALLBACK: &str = "https://agent.example/callback";
pub const BINARY: &str = env!("CARGO_BIN_EXE_oid4pay-mcp");

/// A running server.
pub struct Server {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
    errors: JoinHandle<Vec<u8>>,
    next_id: u64,
    /// What each request of ours asked for, by id.
    asked: Vec<String>,
    lifecycle: Lifecycle,
    person: Option<Person>,
    /// Every line of standard output.
    pub lines: Vec<String>,
}

/// How client and server come to an understanding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifecycle {
    /// `initialize` with this version.
    Handshake(&'static str),
    /// Per-request metadata, 2026-07-28.
    Inline,
}

/// What a tool answered.
#[derive(Clone, Debug)]
pub struct Answer {
    pub result: Value,
}

impl Answer {
    pub fn text(&self, at: usize) -> &str {
        self.result["content"][at]["text"].as_str().unwrap_or_default()
    }

    pub fn is_error(&self) -> bool {
        self.result["isError"] == true
    }

    pub fn output(&self) -> &Value {
        assert!(!self.is_error(), "{}", self.text(0));
        &self.result["structuredContent"]
    }

    /// The error object of a refusal.
    pub fn error(&self) -> Value {
        assert!(self.is_error(), "{}", self.result);
        let object: Value = serde_json::from_str(self.text(1)).unwrap();
        object["error"].clone()
    }

    pub fn code(&self) -> String {
        self.error()["code"].as_str().unwrap().to_owned()
    }
}

/// What is left of a server that has ended.
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Server {
    pub async fn start(arguments: &[&str], home: &Path) -> Self {
        Self::start_with(arguments, home, &[], Lifecycle::Handshake("2025-11-25")).await
    }

    /// Starts it for a client whose person answers questions.
    pub async fn start_for(
        person: Person,
        arguments: &[&str],
        home: &Path,
        environment: &[(&str, &str)],
        lifecycle: Lifecycle,
    ) -> Self {
        let mut server = Self::spawn(arguments, home, environment, lifecycle);
        server.person = Some(person);
        server.shake_hands().await;
        server
    }

    pub async fn start_with(
        arguments: &[&str],
        home: &Path,
        environment: &[(&str, &str)],
        lifecycle: Lifecycle,
    ) -> Self {
        let mut server = Self::spawn(arguments, home, environment, lifecycle);
        server.shake_hands().await;
        server
    }

    async fn shake_hands(&mut self) {
        let Lifecycle::Handshake(version) = self.lifecycle else { return };
        let hello = json!({
            "protocolVersion": version, "capabilities": self.capabilities(),
            "clientInfo": {"name": "test", "version": "1"},
        });
        let result = self.request("initialize", hello).await.unwrap();
        assert_eq!(result["protocolVersion"], version);
        self.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
    }

    fn capabilities(&self) -> Value {
        self.person.as_ref().map_or_else(|| json!({}), |person| json!({"elicitation": person.can}))
    }

    /// Starts it and says nothing yet.
    pub fn spawn(arguments: &[&str], home: &Path, environment: &[(&str, &str)], lifecycle: Lifecycle) -> Self {
        let mut command = Command::new(BINARY);
        command.args(arguments).env_clear().env("HOME", home).envs(environment.iter().copied()).current_dir(home);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let errors = tokio::spawn(async move {
            let mut all = Vec::new();
            stderr.read_to_end(&mut all).await.unwrap();
            all
        });
        Self {
            input: child.stdin.take(),
            output: BufReader::new(child.stdout.take().unwrap()).lines(),
            child,
            errors,
            next_id: 0,
            asked: vec![String::new()],
            lifecycle,
            person: None,
            lines: Vec::new(),
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    pub async fn send(&mut self, message: &Value) {
        self.send_raw(&format!("{message}\n")).await;
    }

    pub async fn send_raw(&mut self, text: &str) {
        let input = self.input.as_mut().unwrap();
        input.write_all(text.as_bytes()).await.unwrap();
        input.flush().await.unwrap();
    }

    /// Sends a request and does not wait for the answer.
    pub async fn ask(&mut self, method: &str, mut params: Value) -> u64 {
        self.next_id += 1;
        self.asked.push(method.to_owned());
        if self.lifecycle == Lifecycle::Inline {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
                "io.modelcontextprotocol/clientCapabilities": self.capabilities(),
            });
        }
        let id = self.next_id;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})).await;
        id
    }

    pub async fn answer_to(&mut self, id: u64) -> Result<Value, Value> {
        self.answers_to(&[id]).await.remove(0)
    }

    /// The answers to several requests, in their order, in whatever order they come.
    pub async fn answers_to(&mut self, ids: &[u64]) -> Vec<Result<Value, Value>> {
        let mut answers: Vec<Option<Result<Value, Value>>> = vec![None; ids.len()];
        while answers.iter().any(Option::is_none) {
            let line = tokio::time::timeout(Duration::from_secs(60), self.output.next_line()).await;
            let line = line.expect("an answer in time").unwrap().expect("the server is still there");
            let mut message: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line}"));
            assert_eq!(message["jsonrpc"], "2.0", "{line}");
            self.lines.push(line);
            if message.get("method").is_some() && message.get("id").is_some() {
                schema::check_line(self.lifecycle, None, &message);
                let person = self.person.as_mut().unwrap_or_else(|| panic!("nobody can answer {message}"));
                if let Some(answer) = person.answer(&message) {
                    self.send(&json!({"jsonrpc": "2.0", "id": message["id"], "result": answer})).await;
                }
                continue;
            }
            let asked = message["id"].as_u64().and_then(|id| self.asked.get(usize::try_from(id).unwrap()));
            schema::check_line(self.lifecycle, asked.map(String::as_str), &message);
            if let Some(at) = ids.iter().position(|id| message["id"] == *id) {
                answers[at] = Some(match message["error"].take() {
                    Value::Null => Ok(message["result"].take()),
                    error => Err(error),
                });
            }
        }
        answers.into_iter().flatten().collect()
    }

    pub async fn request(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        let id = self.ask(method, params).await;
        self.answer_to(id).await
    }

    /// Calls a tool, and holds the answer against its output schema and the codes that are documented.
    pub async fn call(&mut self, tool: &str, arguments: Value) -> Answer {
        let result = self.request("tools/call", json!({"name": tool, "arguments": arguments})).await;
        let answer = Answer { result: result.unwrap_or_else(|error| panic!("{tool}: {error}")) };
        schema::check_result(tool, &answer);
        answer
    }

    /// Calls a tool with arguments that its schema refuses.
    pub async fn call_badly(&mut self, tool: &str, arguments: Value) -> Value {
        let result = self.request("tools/call", json!({"name": tool, "arguments": arguments.clone()})).await;
        let error = result.expect_err(&format!("{tool} took {arguments}"));
        assert_eq!(error["code"], -32602, "{error}");
        error
    }

    /// Ends its input and waits for its end.
    pub async fn end(mut self) -> Ended {
        drop(self.input.take());
        self.ended().await
    }

    /// Waits for its end.
    pub async fn ended(mut self) -> Ended {
        let status = tokio::time::timeout(Duration::from_secs(15), self.child.wait()).await.unwrap().unwrap();
        while let Ok(Some(line)) = self.output.next_line().await {
            self.lines.push(line);
        }
        let stderr = String::from_utf8(self.errors.await.unwrap()).unwrap();
        Ended { status, stdout: self.lines.join("\n"), stderr }
    }

    /// Kills it where it stands.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

/// A sandbox, a data directory, and what is needed to pay.
pub struct World {
    pub sandbox: Sandbox,
    pub home: TempDir,
    http: ReqwestClient,
}

impl World {
    pub async fn new() -> Self {
        Self::with(SandboxConfig::new()).await
    }

    pub async fn with(config: SandboxConfig) -> Self {
        let sandbox = Sandbox::start(config).await.unwrap();
        let http = ReqwestClient::for_issuer(&Origin::of(sandbox.as_origin()).unwrap(), []);
        Self { sandbox, home: TempDir::new().unwrap(), http }
    }

    /// The last presentation of the intent that an answer is about, from the ledger: a tool's answer has it only when it
    /// is spent.
    pub fn presentation(&self, answer: &Answer) -> String {
        let id = answer.output()["intent_id"].as_str().unwrap().parse().unwrap();
        self.ledger().artefact(&id, spend_guard::Artefact::Presentation).unwrap().unwrap()
    }

    pub fn data_dir(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// Lets the agent spend more than any test does: the policy's file, confirmed as its owner would.
    pub fn spend_freely(&self) {
        self.set_policy("[currency.EUR]\nper_transaction = 1000\napproval_above = 1000\nhour = 100000\nday = 100000");
    }

    /// Puts a policy in force.
    pub fn set_policy(&self, text: &str) {
        let folder = self.home.path().join(".config/oid4pay-mcp");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("policy.toml"), text).unwrap();
        self.ledger().confirm(&spend_guard::Policy::parse(text, "policy.toml").unwrap()).unwrap();
    }

    pub async fn server(&self) -> Server {
        self.server_with(Lifecycle::Handshake("2025-11-25")).await
    }

    pub async fn server_with(&self, lifecycle: Lifecycle) -> Server {
        let data_dir = self.data_dir();
        let (origin, directory) = (self.sandbox.as_origin(), self.sandbox.discovery_url());
        let arguments = ["--as-origin", origin, "--discovery-url", directory, "--data-dir", data_dir.to_str().unwrap()];
        Server::start_with(&arguments, self.home.path(), &[], lifecycle).await
    }

    /// A server for a client whose person answers questions.
    pub async fn server_for(&self, person: Person, lifecycle: Lifecycle) -> Server {
        let (origin, data_dir) = (self.sandbox.as_origin(), self.data_dir());
        let arguments = ["--as-origin", origin, "--data-dir", data_dir.to_str().unwrap()];
        Server::start_for(person, &arguments, self.home.path(), &[], lifecycle).await
    }

    /// A server that waits for no person in a call.
    pub async fn server_without_waiting(&self) -> Server {
        let data_dir = self.data_dir();
        let (origin, data_dir) = (self.sandbox.as_origin(), data_dir.to_str().unwrap());
        let arguments = ["--as-origin", origin, "--data-dir", data_dir, "--consent-wait", "0"];
        Server::start_with(&arguments, self.home.path(), &[], Lifecycle::Handshake("2025-11-25")).await
    }

    /// A server whose agent is registered.
    pub async fn registered(&self) -> Server {
        let mut server = self.server().await;
        self.register(&mut server).await;
        server
    }

    pub async fn register(&self, server: &mut Server) {
        let answer = server.call("agent_register", self.registration()).await;
        assert_eq!(answer.output()["ok"], true);
    }

    pub fn registration(&self) -> Value {
        json!({
            "setup_token": self.sandbox.setup_token().unwrap(), "as_url": self.sandbox.as_origin(),
            "redirect_uris": [CALLBACK],
        })
    }

    pub fn alpacanica(&self) -> &MerchantInfo {
        &self.sandbox.merchants()[0]
    }

    /// One pair of socks for 12.99 EUR.
    pub fn socks(&self) -> Value {
        purchase(self.alpacanica(), "alpaca-sock-blue-43", 1299)
    }

    /// How often a merchant has settled, by its own books.
    pub async fn settlements(&self, merchant: &MerchantInfo) -> Vec<Value> {
        self.get(&merchant.settlements_url).await["settlements"].as_array().unwrap().clone()
    }

    /// What the sandbox has at this URL.
    pub async fn get(&self, url: &str) -> Value {
        let endpoint = Endpoint::parse(url).unwrap();
        let request = http::Request::builder().header("connection", "close").body(Bytes::new()).unwrap();
        let answer = self.http.send(&endpoint, request, Limits::ANSWER).await.unwrap();
        serde_json::from_slice(answer.body()).unwrap()
    }
}

pub fn purchase(merchant: &MerchantInfo, sku: &str, amount_minor: u64) -> Value {
    json!({
        "merchant_url": merchant.origin,
        "merchant_verify_url": merchant.verify_url,
        "amount": {"currency": "EUR", "amount_minor": amount_minor},
        "line_items": [{"sku": sku, "qty": 1}],
        "redirect_uri": CALLBACK,
    })
}

/// `value` with `member` changed; a path in JSON pointer form. `null` removes it.
pub fn with(mut value: Value, pointer: &str, member: Value) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = value.pointer_mut(parent).unwrap();
    match (parent, member) {
        (Value::Object(members), Value::Null) => drop(members.remove(name)),
        (Value::Object(members), member) => drop(members.insert(name.to_owned(), member)),
        (Value::Array(items), member) => items[name.parse::<usize>().unwrap()] = member,
        (other, _) => panic!("{other} has no member {name}"),
    }
    value
}
