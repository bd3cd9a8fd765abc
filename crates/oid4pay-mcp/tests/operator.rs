//! The operator's commands: login, logout, keys rotate, doctor, config.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod support;

use std::fs;
use std::path::Path;
use std::process::Stdio;

use http::Method;
use oid4ac_client::SystemClock;
use sandbox::{ConsentDecision, ConsentMode, Party, SandboxConfig};
use serde_json::{Value, json};
use support::person::at_a_terminal;
use support::{BINARY, Lifecycle, Server, World, with};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// Where the binary really is: a build folder can be a link.
fn binary() -> String {
    fs::canonicalize(BINARY).unwrap().to_str().unwrap().to_owned()
}

/// How a command ended.
struct Ended {
    success: bool,
    stdout: String,
    stderr: String,
}

impl Ended {
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|_| panic!("{}{}", self.stdout, self.stderr))
    }
}

async fn command(home: &Path, arguments: &[&str], environment: &[(&str, &str)], input: &str) -> Ended {
    let mut command = Command::new(BINARY);
    command.args(arguments).env_clear().env("HOME", home).envs(environment.iter().copied()).current_dir(home);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A command that wants nothing may have ended already.
    let _ended = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    let text = |octets| String::from_utf8(octets).unwrap();
    Ended { success: output.status.success(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// A command about the world's agent.
async fn about(world: &World, arguments: &[&str], input: &str) -> Ended {
    let data_dir = world.data_dir();
    let (origin, directory) = (world.sandbox.as_origin(), world.sandbox.discovery_url());
    let own = ["--as-origin", origin, "--discovery-url", directory, "--data-dir", data_dir.to_str().unwrap()];
    command(world.home.path(), &[&own, arguments].concat(), &[], input).await
}

fn client_id(world: &World) -> String {
    let text = fs::read(world.data_dir().join("client.json")).unwrap();
    serde_json::from_slice::<Value>(&text).unwrap()["client_id"].as_str().unwrap().to_owned()
}

fn session() -> Value {
    json!({"principal_token": "wallet-session"})
}

#[tokio::test]
async fn login_wants_a_person_at_a_terminal() {
    let world = World::new().await;
    drop(world.registered().await);
    world.sandbox.clear_requests();
    let ended = about(&world, &["login", "--scope", "audit:read"], "correct horse\n").await;
    assert!(!ended.success && ended.stdout.is_empty());
    assert!(ended.stderr.contains("needs a person at an interactive terminal"), "{}", ended.stderr);
    assert_eq!(world.sandbox.requests(), []);
    // What is allowed again with each call cannot be allowed ahead of it.
    for scope in ["wallet:write", "privacy:dsar", "openid"] {
        let ended = about(&world, &["login", "--scope", scope], "").await;
        assert!(
            !ended.success && ended.stderr.contains("[possible values: wallet:read, audit:read]"),
            "{}",
            ended.stderr
        );
    }
}

#[tokio::test]
async fn login_shows_where_to_decide_and_waits() {
    const PASSPHRASE: &str = "correct horse";
    let world = World::with(SandboxConfig::new().consent_mode(ConsentMode::Scan)).await;
    drop(world.registered().await);
    let terminal = |arguments: &[&str], answers: &'static [&'static str]| {
        let (data_dir, home) = (world.data_dir(), world.home.path().to_owned());
        let own = ["--as-origin", world.sandbox.as_origin(), "--data-dir", data_dir.to_str().unwrap()];
        let all: Vec<_> = own.iter().chain(arguments).map(|argument| (*argument).to_owned()).collect();
        tokio::task::spawn_blocking(move || {
            let all: Vec<_> = all.iter().map(String::as_str).collect();
            at_a_terminal(&all, &home, answers)
        })
    };
    let (success, shown) = terminal(&["login"], &[]).await.unwrap();
    assert!(!success && shown.contains("policy init"), "{shown}");
    assert!(terminal(&["policy", "init"], &[PASSPHRASE, PASSPHRASE]).await.unwrap().0);
    let url = || {
        let text = fs::read(world.data_dir().join("session.json")).ok()?;
        let session: Value = serde_json::from_slice(&text).ok()?;
        Some(session["pending"]["session audit:read"]["consent"]["url"].as_str()?.to_owned())
    };
    let principal = world.sandbox.principals()[0].id.clone();
    for decision in [ConsentDecision::Decline, ConsentDecision::Approve] {
        let login = terminal(&["login", "--scope", "audit:read"], &[PASSPHRASE]);
        let page = loop {
            match url() {
                Some(url) => break url,
                None if login.is_finished() => panic!("{:?}", login.await),
                None => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            }
        };
        world.sandbox.decide(&page, &principal, decision).unwrap();
        let (success, shown) = login.await.unwrap();
        assert!(shown.contains(&page) && shown.contains('▀') && !shown.contains(PASSPHRASE), "{shown}");
        assert_eq!(success, decision == ConsentDecision::Approve, "{shown}");
        assert!(shown.contains(if success { "audit:read: allowed" } else { "insufficient_scope (need audit:read)" }));
    }
    // What a person allowed there needs no person in a call.
    let mut server = world.server_without_waiting().await;
    server.call("agent_audit_chain_query", session()).await.output();
}

#[tokio::test]
async fn logout_revokes_what_is_kept() {
    let world = World::new().await;
    let mut server = world.registered().await;
    server.call("agent_audit_chain_query", session()).await.output();
    let text = fs::read_to_string(world.data_dir().join("session.json")).unwrap();
    let kept: Value = serde_json::from_str(&text).unwrap();
    let token = kept["tokens"]["audit:read"]["access_token"].as_str().unwrap();
    let ended = about(&world, &["logout"], "").await;
    assert_eq!((ended.success, ended.stdout.as_str()), (true, "Revoked and forgot 1 wallet sessions.\n"));
    let answer = server.call("agent_audit_chain_query", json!({"principal_token": token})).await;
    assert_eq!(answer.code(), "invalid_token");
    assert_eq!(about(&world, &["logout"], "").await.stdout, "There was no wallet session.\n");
    // A server that is gone keeps nobody logged in here.
    server.call("agent_audit_chain_query", session()).await.output();
    let World { sandbox, home, .. } = world;
    let origin = sandbox.as_origin().to_owned();
    sandbox.shutdown().await;
    let data_dir = home.path().join("data");
    let arguments = ["--as-origin", &origin, "--data-dir", data_dir.to_str().unwrap(), "logout"];
    let ended = command(home.path(), &arguments, &[], "").await;
    assert!(ended.success && ended.stdout.contains("did not confirm"), "{}{}", ended.stdout, ended.stderr);
    assert!(!fs::read_to_string(data_dir.join("session.json")).unwrap().contains("access_token"));
}

/// Registered with --as-origin; the person's commands do without it.
#[tokio::test]
async fn a_person_needs_not_name_the_loopback_server_that_the_agent_is_registered_at() {
    let world = World::new().await;
    let mut server = world.registered().await;
    server.call("agent_audit_chain_query", session()).await.output();
    let data_dir = world.data_dir();
    let own = ["--data-dir", data_dir.to_str().unwrap()];
    let bare = async |arguments: &[&str], input: &str| {
        command(world.home.path(), &[&own, arguments].concat(), &[], input).await
    };
    let report = bare(&["doctor", "--json"], "").await.json();
    assert_eq!(verdicts(&report)["authorization server"], "ok", "{report:#}");
    assert_eq!(bare(&["logout"], "").await.stdout, "Revoked and forgot 1 wallet sessions.\n");
    let rotated = bare(&["keys", "rotate"], &world.sandbox.setup_token().unwrap()).await;
    assert!(rotated.success, "{}", rotated.stderr);
}

#[tokio::test]
async fn no_model_brings_a_loopback_server_into_the_registration() {
    let world = World::new().await;
    let data_dir = world.data_dir();
    let arguments = ["--data-dir", data_dir.to_str().unwrap()];
    let mut server = Server::start_with(&arguments, world.home.path(), &[], Lifecycle::Handshake("2025-11-25")).await;
    let refused = server.call("agent_register", world.registration()).await;
    assert_eq!(refused.code(), "forbidden_address");
    assert!(!data_dir.join("client.json").exists());
    assert_eq!(world.sandbox.requests(), []);
}

#[tokio::test]
async fn rotated_keys_are_new_registered_and_in_use() {
    let world = World::new().await;
    let mut server = world.registered().await;
    server.call("agent_payment_initiate", world.socks()).await.output();
    let (old, old_keys) = (client_id(&world), fs::read_to_string(world.data_dir().join("keys.json")).unwrap());
    let token = world.sandbox.setup_token().unwrap();
    for (input, named) in [("", "setup token is needed"), ("setup_unknown\n", "invalid_software_statement")] {
        let ended = about(&world, &["keys", "rotate"], input).await;
        assert!(!ended.success && ended.stderr.contains(named), "{}", ended.stderr);
        assert_eq!(fs::read_to_string(world.data_dir().join("keys.json")).unwrap(), old_keys);
    }
    let ended = about(&world, &["keys", "rotate"], &format!("{token}\n")).await;
    assert!(ended.success, "{}", ended.stderr);
    assert!(ended.stdout.contains(&client_id(&world)) && ended.stdout.contains(&old), "{}", ended.stdout);
    let backup = world.data_dir().join("keys.json.bak");
    assert!(ended.stdout.contains(&format!("kept in {}", backup.display())), "{}", ended.stdout);
    assert!(!ended.stdout.contains(&token) && !ended.stderr.contains(&token));
    assert_ne!(client_id(&world), old);
    assert_eq!(fs::read_to_string(backup).unwrap(), old_keys);
    // A server that has been running since before goes on with the new ones.
    let again = with(world.socks(), "/purchase_ref", json!("2"));
    assert_eq!(server.call("agent_payment_initiate", again).await.output()["status"], "settled");
}

#[tokio::test]
async fn a_purchase_that_was_only_declared_does_not_keep_the_keys() {
    let world = World::new().await;
    drop(world.registered().await);
    let data_dir = world.data_dir();
    let own =
        ["--toolset", "spend", "--as-origin", world.sandbox.as_origin(), "--data-dir", data_dir.to_str().unwrap()];
    let mut server = Server::start(&own, world.home.path()).await;
    let socks = world.socks();
    let declaration = json!({
        "merchant_url": socks["merchant_url"], "line_items": socks["line_items"], "amount": socks["amount"],
        "purchase_ref": "later", "summary": "socks",
    });
    server.call("spend_intent_create", declaration).await.output();
    let ended = about(&world, &["keys", "rotate"], &world.sandbox.setup_token().unwrap()).await;
    assert!(ended.success, "{}", ended.stderr);
}

#[tokio::test]
async fn keys_that_a_payment_needs_or_that_are_set_elsewhere_are_not_rotated() {
    let world = World::with(SandboxConfig::new().consent_mode(ConsentMode::Dashboard)).await;
    drop(world.registered().await);
    let mut server = world.server_without_waiting().await;
    let waiting = server.call("agent_payment_initiate", world.socks()).await;
    assert_eq!(waiting.output()["status"], "approval_required");
    let intent = waiting.output()["intent_id"].as_str().unwrap();
    let token = world.sandbox.setup_token().unwrap();
    let ended = about(&world, &["keys", "rotate"], &token).await;
    assert!(!ended.success && ended.stderr.contains("a payment is open"), "{}", ended.stderr);
    let end = format!("oid4pay-mcp --data-dir {} reject {intent}", world.data_dir().display());
    assert!(ended.stderr.contains(&end), "{}", ended.stderr);
    let registered = world.sandbox.request_count(&Party::AuthorizationServer, &Method::POST, "/oauth/register");
    assert_eq!(registered, 1, "the token was not spent");
    let data_dir = world.data_dir();
    let arguments =
        ["--as-origin", world.sandbox.as_origin(), "--data-dir", data_dir.to_str().unwrap(), "keys", "rotate"];
    let ended = command(world.home.path(), &arguments, &[("OID4PAY_CLIENT_ID", "agent_x")], &token).await;
    assert!(!ended.success && ended.stderr.contains("through the environment"), "{}", ended.stderr);
}

/// The verdicts of a report, by check; the worst where there are several.
fn verdicts(report: &Value) -> std::collections::BTreeMap<String, String> {
    let mut verdicts = std::collections::BTreeMap::new();
    for finding in report["findings"].as_array().unwrap() {
        let (check, verdict) = (finding["check"].as_str().unwrap(), finding["verdict"].as_str().unwrap());
        assert_eq!(finding["fix"].is_string(), verdict != "ok", "{finding}");
        let worst: &mut String = verdicts.entry(check.to_owned()).or_default();
        let rank = |verdict: &str| ["", "ok", "warning", "problem"].iter().position(|known| *known == verdict);
        if rank(worst) < rank(verdict) {
            verdict.clone_into(worst);
        }
    }
    verdicts
}

#[tokio::test]
async fn the_doctor_finds_a_working_agent_sound() {
    let world = World::new().await;
    let mut server = world.registered().await;
    server.call("agent_payment_initiate", world.socks()).await.output();
    let ended = about(&world, &["doctor", "--json"], "").await;
    let report = ended.json();
    assert!(ended.success && report["ok"] == true, "{report:#}");
    let mut verdicts = verdicts(&report);
    assert_eq!(verdicts.remove("passphrase").as_deref(), Some("warning"), "none was chosen");
    let checks = [
        "authorization server",
        "clock",
        "data directory",
        "directory",
        "keys",
        "ledger",
        "policy",
        "registration",
        "settings",
    ];
    assert_eq!(verdicts.keys().collect::<Vec<_>>(), checks);
    assert!(verdicts.values().all(|verdict| verdict == "ok"), "{report:#}");
    let ended = about(&world, &["doctor"], "").await;
    assert!(ended.success && ended.stdout.contains("ok       keys: two Ed25519 keys"), "{}", ended.stdout);
}

#[tokio::test]
async fn the_doctor_has_no_problem_with_a_machine_that_is_new() {
    let home = TempDir::new().unwrap();
    let ended = command(home.path(), &["doctor", "--json"], &[], "").await;
    assert!(ended.success, "{}", ended.stdout);
    assert_eq!(verdicts(&ended.json())["data directory"], "warning");
    assert!(!home.path().join(".local").exists(), "looking makes nothing");
}

#[cfg(unix)]
#[tokio::test]
async fn the_doctor_names_what_is_wrong_and_what_mends_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::new().await;
    drop(world.registered().await);
    let set_mode = |name: &str, mode| {
        let path = world.data_dir().join(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let keys = set_mode("keys.json", 0o644);
    let ended = about(&world, &["doctor"], "").await;
    assert!(!ended.success);
    assert!(ended.stdout.contains(&format!("Run: chmod 600 '{}'", keys.display())), "{}", ended.stdout);
    set_mode("keys.json", 0o600);

    let good = fs::read_to_string(&keys).unwrap();
    fs::write(&keys, &good[..50]).unwrap();
    let ended = about(&world, &["doctor", "--json"], "").await;
    assert!(!ended.success);
    assert_eq!(verdicts(&ended.json())["keys"], "problem");
    let secret = good.split('"').find(|part| part.len() == 43).unwrap();
    assert!(!ended.stdout.contains(secret));
    fs::write(&keys, good).unwrap();

    let folder = world.home.path().join(".config/oid4pay-mcp");
    fs::create_dir_all(&folder).unwrap();
    let policy = folder.join("policy.toml");
    fs::write(&policy, "[currency.EUR]\nper_transaktion = 1\n").unwrap();
    assert_eq!(verdicts(&about(&world, &["doctor", "--json"], "").await.json())["policy"], "problem");
    fs::write(&policy, "").unwrap();
    fs::set_permissions(&policy, fs::Permissions::from_mode(0o666)).unwrap();
    let ended = about(&world, &["doctor"], "").await;
    assert!(!ended.success && ended.stdout.contains("chmod go-w"), "{}", ended.stdout);
    fs::remove_file(&policy).unwrap();

    fs::write(folder.join("config.toml"), "colour = 1\n").unwrap();
    let ended = about(&world, &["doctor", "--json"], "").await;
    assert!(!ended.success && ended.json()["findings"][0]["detail"].as_str().unwrap().contains("`colour`"));
    fs::remove_file(folder.join("config.toml")).unwrap();

    // A ledger whose rows were edited.
    let ledger = spend_guard::Ledger::new(world.data_dir(), std::sync::Arc::new(SystemClock));
    ledger.freeze().unwrap();
    drop(ledger);
    assert!(about(&world, &["doctor"], "").await.stdout.contains("payments are frozen"));

    let data_dir = world.data_dir();
    let elsewhere = ["--as-origin", "http://127.0.0.1:9", "--data-dir", data_dir.to_str().unwrap(), "doctor", "--json"];
    let ended = command(world.home.path(), &elsewhere, &[], "").await;
    assert!(!ended.success);
    assert_eq!(verdicts(&ended.json())["authorization server"], "problem");
}

#[tokio::test]
async fn doctor_and_budget_tell_of_a_policy_that_waits_to_be_confirmed() {
    let world = World::new().await;
    let mut server = world.registered().await;
    server.call("agent_payment_initiate", world.socks()).await.output();
    let folder = world.home.path().join(".config/oid4pay-mcp");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("policy.toml"), "[currency.EUR]\nper_transaction = 900\n").unwrap();
    let again = with(world.socks(), "/purchase_ref", json!("2"));
    assert_eq!(server.call("agent_payment_initiate", again).await.code(), "policy_unconfirmed");
    let confirm = format!("oid4pay-mcp --data-dir {} policy confirm", world.data_dir().display());
    let ended = about(&world, &["doctor"], "").await;
    assert!(!ended.success && ended.stdout.contains(&format!("Run: {confirm}")), "{}", ended.stdout);
    assert_eq!(verdicts(&about(&world, &["doctor", "--json"], "").await.json())["policy"], "problem");
    let ended = about(&world, &["budget"], "").await;
    let first = format!("This policy is NOT in force, and payments are stopped, until you run: {confirm}\n");
    assert!(ended.success && ended.stdout.starts_with(&first), "{}", ended.stdout);
    assert_eq!(about(&world, &["budget", "--json"], "").await.json()["in_force"], false);
}

#[cfg(unix)]
#[tokio::test]
async fn the_doctor_tells_of_one_thing_once() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::new().await;
    let mut server = world.registered().await;
    server.call("agent_payment_initiate", world.socks()).await.output();
    let problems = |report: &Value| {
        let findings = report["findings"].as_array().unwrap().iter();
        findings.filter(|finding| finding["verdict"] == "problem").cloned().collect::<Vec<_>>()
    };
    fs::set_permissions(world.data_dir(), fs::Permissions::from_mode(0o755)).unwrap();
    let found = problems(&about(&world, &["doctor", "--json"], "").await.json());
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["fix"], format!("Run: chmod 700 '{}'", world.data_dir().display()));
    fs::set_permissions(world.data_dir(), fs::Permissions::from_mode(0o700)).unwrap();

    let arguments = ["--as-origin", world.sandbox.as_origin(), "doctor", "--json"];
    let rows = [("OID4PAY_DPOP_PRIVATE_JWK", "{}", "keys"), ("OID4PAY_CLIENT_ID", "agent_x", "registration")];
    for (variable, value, check) in rows {
        let found = problems(&command(world.home.path(), &arguments, &[(variable, value)], "").await.json());
        assert_eq!((found.len(), &found[0]["check"]), (1, &json!(check)), "{found:?}");
        let fix = found[0]["fix"].as_str().unwrap();
        assert!(fix.contains("OID4PAY_DPOP_PRIVATE_JWK and OID4PAY_PKJ_PRIVATE_JWK"), "{fix}");
    }
}

#[tokio::test]
async fn the_doctor_notices_a_clock_that_is_wrong() {
    let config = SandboxConfig::new().changing_answers(|_, mut answer| {
        answer.headers_mut().insert("date", "Tue, 01 Jan 2030 00:00:00 GMT".parse().unwrap());
        answer
    });
    let world = World::with(config).await;
    let ended = about(&world, &["doctor", "--json"], "").await;
    assert!(!ended.success);
    assert_eq!(verdicts(&ended.json())["clock"], "problem");
}

/// Where each client looks, and under which member its servers stand.
const CLIENTS: [(&str, &str, &str); 5] = [
    ("claude-desktop", ".config/Claude/claude_desktop_config.json", "mcpServers"),
    ("claude-code", ".claude.json", "mcpServers"),
    ("vscode", ".config/Code/User/mcp.json", "servers"),
    ("cursor", ".cursor/mcp.json", "mcpServers"),
    ("cline", ".config/Code/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json", "mcpServers"),
];

#[cfg(target_os = "linux")]
#[tokio::test]
async fn each_client_is_given_what_it_reads() {
    let home = TempDir::new().unwrap();
    let flags = ["--as-origin", "https://as.example", "--data-dir", "data", "--read-only"];
    let environment = [("OID4PAY_DISCOVERY_URL", "https://directory.example")];
    let data_dir = home.path().join("data").to_str().unwrap().to_owned();
    let args = json!(["--as-origin", "https://as.example", "--data-dir", data_dir, "--read-only"]);
    for (client, file, member) in CLIENTS {
        let path = home.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let old = format!("{{\n\t\"first\": 1,\n\t\"{member}\": {{\"other\": {{\"command\": \"x\"}}}}\n}}\n");
        fs::write(&path, &old).unwrap();
        let printed = command(home.path(), &[&flags[..], &["config", client]].concat(), &environment, "").await;
        let entry = printed.json()[member]["oid4pay"].clone();
        assert_eq!((entry["command"].as_str(), &entry["args"]), (Some(binary().as_str()), &args), "{client}");
        assert_eq!(entry["env"], json!({"OID4PAY_DISCOVERY_URL": "https://directory.example"}));
        assert_eq!(entry["type"] == "stdio", ["claude-code", "vscode"].contains(&client));
        assert_eq!(fs::read_to_string(&path).unwrap(), old, "printing changes nothing");

        let write = [&flags[..], &["config", client, "--write"]].concat();
        let ended = command(home.path(), &write, &environment, "").await;
        assert!(ended.success, "{}", ended.stderr);
        let new = fs::read_to_string(&path).unwrap();
        let value: Value = serde_json::from_str(&new).unwrap();
        assert_eq!(value[member]["oid4pay"], entry);
        assert_eq!((&value["first"], &value[member]["other"]["command"]), (&json!(1), &json!("x")));
        assert!(new.starts_with("{\n\t\"first\": 1,\n"), "{new}");
        let backup = path.with_file_name(format!("{}.bak", path.file_name().unwrap().to_str().unwrap()));
        assert_eq!(fs::read_to_string(&backup).unwrap(), old);
        let ended = command(home.path(), &write, &environment, "").await;
        assert!(ended.success && ended.stdout.contains("has it already"), "{}", ended.stdout);
        // What it cannot read it leaves alone, and says what to put in.
        fs::write(&path, "{ // mine\n}").unwrap();
        let ended = command(home.path(), &write, &environment, "").await;
        let start = format!("oid4pay-mcp: {} was left as it is, since it is not plain JSON (comments", path.display());
        assert!(!ended.success && ended.stderr.starts_with(&start), "{}", ended.stderr);
        assert!(ended.stderr.contains("Put this into it yourself:\n\n{"), "{}", ended.stderr);
        assert!(ended.stderr.contains("https://as.example"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "{ // mine\n}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn codex_and_continue_are_given_what_they_read() {
    let home = TempDir::new().unwrap();
    let flags = ["--as-origin", "https://as.example"];
    let codex = home.path().join(".codex/config.toml");
    fs::create_dir_all(codex.parent().unwrap()).unwrap();
    let old = "model = \"m\" # mine\n\n[mcp_servers.other]\ncommand = \"x\"\n";
    fs::write(&codex, old).unwrap();
    let ended = command(home.path(), &[&flags[..], &["config", "codex", "--write"]].concat(), &[], "").await;
    assert!(ended.success, "{}", ended.stderr);
    let new = fs::read_to_string(&codex).unwrap();
    assert!(new.starts_with(old), "{new}");
    let table: toml::Table = toml::from_str(&new).unwrap();
    let server = &table["mcp_servers"]["oid4pay"];
    assert_eq!(
        (server["command"].as_str(), server["args"][1].as_str()),
        (Some(binary().as_str()), Some("https://as.example"))
    );
    assert_eq!(fs::read_to_string(codex.with_file_name("config.toml.bak")).unwrap(), old);

    let printed = command(home.path(), &[&flags[..], &["config", "continue"]].concat(), &[], "").await.stdout;
    let expected = format!(
        "name: oid4pay\nversion: {}\nschema: v1\nmcpServers:\n  - name: oid4pay\n    command: \"{}\"\n    args:\n      \
         - \"--as-origin\"\n      - \"https://as.example\"\n",
        env!("CARGO_PKG_VERSION"),
        binary(),
    );
    assert_eq!(printed, expected);
    command(home.path(), &[&flags[..], &["config", "continue", "--write"]].concat(), &[], "").await;
    let written = fs::read_to_string(home.path().join(".continue/mcpServers/oid4pay.yaml")).unwrap();
    assert_eq!(written, expected);
    // A file that says something else is the person's.
    let other = ["--as-origin", "https://other.example", "config", "continue", "--write"];
    let ended = command(home.path(), &other, &[], "").await;
    assert!(!ended.success && ended.stderr.contains("was left as it is, since it says something else"));
    assert!(ended.stderr.contains("Put this into it yourself:\n\nname: oid4pay"), "{}", ended.stderr);
    assert_eq!(fs::read_to_string(home.path().join(".continue/mcpServers/oid4pay.yaml")).unwrap(), written);
}

/// What the readme says the command makes is what it makes.
#[tokio::test]
async fn the_command_in_the_readme_makes_the_configuration_in_the_readme() {
    let readme = include_str!("../../../README.md");
    let part = readme.split("## Put it into an MCP client").nth(1).unwrap();
    let block = |language: &str| {
        let rest = part.split(&format!("```{language}\n")).nth(1).unwrap();
        rest.split("```").next().unwrap().replace("\\\n", " ")
    };
    let line = block("sh").lines().find(|line| line.contains(" config ")).unwrap().to_owned();
    let arguments: Vec<_> = line.split_whitespace().skip(1).filter(|word| *word != "--write").collect();
    let home = TempDir::new().unwrap();
    let printed = command(home.path(), &arguments, &[], "").await;
    assert_eq!((printed.success, printed.stderr.as_str()), (true, ""));
    let shown = block("json");
    let expected = shown.replace("/home/robin/.cargo/bin/oid4pay-mcp", &binary());
    assert_eq!(printed.stdout, expected);
}

#[tokio::test]
async fn a_configuration_without_an_authorization_server_comes_with_a_warning() {
    let home = TempDir::new().unwrap();
    let printed = command(home.path(), &["config", "claude-desktop"], &[], "").await;
    assert!(printed.success && printed.json()["mcpServers"]["oid4pay"].is_object());
    assert!(printed.stderr.starts_with("Warning: no authorization server is set"), "{}", printed.stderr);
    let folder = home.path().join(".config/oid4pay-mcp");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("config.toml"), "as_origin = \"https://as.example\"\n").unwrap();
    assert_eq!(command(home.path(), &["config", "claude-desktop"], &[], "").await.stderr, "");
}

#[tokio::test]
async fn no_client_is_given_a_server_that_could_not_start() {
    let home = TempDir::new().unwrap();
    let ended = command(home.path(), &["--as-origin", "ftp://as.example", "config", "cursor"], &[], "").await;
    assert!(!ended.success && ended.stdout.is_empty() && ended.stderr.contains("--as-origin"));
}
