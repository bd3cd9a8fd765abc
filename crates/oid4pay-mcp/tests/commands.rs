//! The commands around the server.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};

const BINARY: &str = env!("CARGO_BIN_EXE_oid4pay-mcp");

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(arguments).env_clear().stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

async fn output(arguments: &[&str]) -> (bool, String, String) {
    let output = command(arguments).env("RUST_BACKTRACE", "1").output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

/// A sandbox that is ready, and its ready line.
async fn sandbox(arguments: &[&str]) -> (Child, Value) {
    let mut child = command(arguments).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = tokio::time::timeout(Duration::from_secs(10), lines.next_line()).await.unwrap().unwrap().unwrap();
    (child, serde_json::from_str(&line).unwrap())
}

#[tokio::test]
async fn the_sandbox_says_first_where_everything_is() {
    let arguments = ["sandbox", "--json", "--setup-tokens", "3", "--fault", "delay@par", "--fault", "http_5xx@verify"];
    let (_child, ready) = sandbox(&arguments).await;
    for member in ["as_origin", "discovery_url", "portal_url"] {
        assert!(ready[member].as_str().unwrap().starts_with("http://127.0.0.1:"), "{member}: {ready}");
    }
    let tokens = ready["setup_tokens"].as_array().unwrap();
    assert_eq!(tokens.len(), 3);
    assert_ne!(tokens[0], tokens[1]);
    let merchants = ready["merchants"].as_array().unwrap();
    assert_eq!(merchants.len(), 2);
    for merchant in merchants {
        let origin = merchant["origin"].as_str().unwrap();
        assert!(merchant["id"].is_string());
        for member in ["verify_url", "settlements_url"] {
            assert!(merchant[member].as_str().unwrap().starts_with(origin), "{member}: {merchant}");
        }
    }
}

#[tokio::test]
async fn the_sandbox_ends_within_two_seconds_open_connections_included() {
    let (mut child, ready) = sandbox(&["sandbox", "--json"]).await;
    let authority = ready["as_origin"].as_str().unwrap().strip_prefix("http://").unwrap();
    // One that says nothing, and one that is in the middle of a request.
    let mut silent = tokio::net::TcpStream::connect(authority).await.unwrap();
    let mut talking = tokio::net::TcpStream::connect(authority).await.unwrap();
    talking.write_all(b"POST /oauth/token HTTP/1.1\r\nhost: x\r\ncontent-length: 99\r\n\r\nhalf").await.unwrap();
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    let ended = tokio::time::timeout(Duration::from_secs(2), child.wait()).await.unwrap().unwrap();
    assert!(ended.success());
    assert_eq!(silent.read(&mut [0; 8]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn the_sandbox_tells_people_how_to_use_it() {
    for (tokens, is_headed) in [("1", true), ("0", false)] {
        let text = ready_text(&["sandbox", "--setup-tokens", tokens]).await;
        let configuration: Value = serde_json::from_str(&text[text.find("\n{").unwrap()..]).unwrap();
        let server = &configuration["mcpServers"]["oid4pay"];
        assert!(server["command"].as_str().unwrap().ends_with("oid4pay-mcp"), "{server}");
        assert!(text.contains(server["args"][1].as_str().unwrap()));
        assert!(text.contains("\n  wallet portal         http://127.0.0.1:"), "{text}");
        assert_eq!(text.contains("Setup tokens"), is_headed, "{text}");
    }
}

/// What a sandbox tells people when it is ready.
async fn ready_text(arguments: &[&str]) -> String {
    let mut child = command(arguments).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut text = String::new();
    while !text.trim_end().ends_with("\n}") {
        let line = tokio::time::timeout(Duration::from_secs(10), lines.next_line()).await.unwrap().unwrap();
        text.push_str(&line.unwrap());
        text.push('\n');
    }
    text
}

#[tokio::test]
async fn an_error_tells_its_cause_once() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().min(65530).to_string();
    let (success, _, stderr) = output(&["sandbox", "--port", &port]).await;
    if !success {
        assert_eq!(stderr.matches("in use").count(), 1, "{stderr}");
    }
    let home = TempDir::new().unwrap();
    let folder = home.path().join(".config/oid4pay-mcp");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("policy.toml"), "colour = 1\n").unwrap();
    let ended = command(&["budget"]).env("HOME", home.path()).output().await.unwrap();
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert_eq!((ended.status.success(), stderr.matches("policy.toml").count()), (false, 1), "{stderr}");
}

#[tokio::test]
async fn what_is_not_there_is_refused_in_words() {
    let home = TempDir::new().unwrap();
    let data_dir = home.path().to_str().unwrap();
    let rows: [(&[&str], &str); 7] = [
        (&["sandbox", "--fault", "answer_lost@nowhere"], "--fault"),
        (&["sandbox", "--consent", "never"], "--consent"),
        (&["sandbox", "--port", "65535"], "port"),
        (&["--as-origin", "ftp://as.example", "keys", "show"], "--as-origin"),
        (&["--as-origin", "http://as.example"], "--as-origin"),
        (&["--data-dir", data_dir, "keys", "show"], "agent_register"),
        (&["pay"], "pay"),
    ];
    for (arguments, named) in rows {
        let (success, stdout, stderr) = output(arguments).await;
        assert!(!success && stdout.is_empty(), "{arguments:?}: {stdout}");
        assert!(stderr.contains(named) && !stderr.to_lowercase().contains("backtrace"), "{arguments:?}: {stderr}");
    }
}

#[tokio::test]
async fn prints_version_help_and_completions() {
    assert_eq!(output(&["--version"]).await.1, format!("oid4pay-mcp {}\n", env!("CARGO_PKG_VERSION")));
    let (success, help, _) = output(&["--help"]).await;
    assert!(success);
    for word in
        ["demo", "sandbox", "keys", "completions", "--as-origin", "OID4PAY_AS_ORIGIN", "--data-dir", "--consent-wait"]
    {
        assert!(help.contains(word), "{word}: {help}");
    }
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (success, script, _) = output(&["completions", shell]).await;
        assert!(success && script.contains("oid4pay-mcp"), "{shell}");
    }
}
