//! The conformance run as its users see it: against the sandbox in its own process, against servers elsewhere, against
//! nothing.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::process::{Command, Output};

use sandbox::{Rule, Sandbox, SandboxConfig};
use serde_json::Value;

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_conformance")).args(arguments).output().unwrap()
}

fn text(octets: &[u8]) -> &str {
    std::str::from_utf8(octets).unwrap()
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)))
}

/// The ids of the checks with this verdict.
fn ids(report: &Value, verdict: &str) -> Vec<String> {
    let checks = report["checks"].as_array().unwrap().iter().filter(|check| check["verdict"] == verdict);
    checks.map(|check| check["id"].as_str().unwrap().to_owned()).collect()
}

/// Runs the binary against a sandbox of this process, with so many setup tokens.
async fn run_against(sandbox: &Sandbox, tokens: usize, more: &[&str]) -> (Output, Vec<String>) {
    let tokens: Vec<String> = (0..tokens).map(|_| sandbox.setup_token().unwrap()).collect();
    let mut arguments = vec!["--as-origin", sandbox.as_origin(), "--discovery-url", sandbox.discovery_url()];
    for merchant in sandbox.merchants() {
        arguments.extend(["--merchant", &merchant.origin]);
    }
    for token in &tokens {
        arguments.extend(["--setup-token", token]);
    }
    arguments.extend(more);
    let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
    let output = tokio::task::spawn_blocking(move || {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        run(&arguments)
    });
    (output.await.unwrap(), tokens)
}

/// Whether every element is closed where it has to be and no character stands there raw that may not.
fn assert_well_formed(xml: &str) {
    let mut open = Vec::new();
    let mut rest = xml.strip_prefix("<?xml version=\"1.0\" encoding=\"UTF-8\"?>").unwrap();
    while let Some((between, tag)) = rest.split_once('<') {
        assert!(!between.contains('>'), "{between}");
        let (tag, after) = tag.split_once('>').unwrap();
        let quotes = tag.matches('"').count();
        assert!(quotes % 2 == 0 && !tag.contains('\''), "{tag}");
        for piece in format!("{between}{tag}").split('&').skip(1) {
            let name = piece.split(';').next().unwrap();
            assert!(["amp", "lt", "gt", "quot", "apos"].contains(&name), "{piece}");
        }
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap().to_owned();
        match (tag.starts_with('/'), tag.ends_with('/')) {
            (true, _) => assert_eq!(open.pop(), Some(name)),
            (false, false) => open.push(name),
            (false, true) => {}
        }
        rest = after;
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn every_check_passes_against_the_sandbox_and_each_report_says_the_same() {
    let folder = std::env::temp_dir().join(format!("conformance-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (json, junit) = (folder.join("report.json"), folder.join("report.xml"));
    let output = run(&["--json", json.to_str().unwrap(), "--junit", junit.to_str().unwrap()]);
    let printed = text(&output.stdout);
    assert!(output.status.success(), "{printed}");
    let report: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    let passed = report["passed"].as_u64().unwrap();
    assert!(passed >= 150, "{passed}");
    assert_eq!((&report["failed"], &report["skipped"]), (&0.into(), &0.into()));
    assert_eq!(printed.lines().last(), Some(format!("{passed} passed, 0 failed, 0 skipped").as_str()));
    let xml = std::fs::read_to_string(junit).unwrap();
    assert_well_formed(&xml);
    assert_eq!(xml.matches("<testcase ").count() as u64, passed);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn every_check_has_an_id_of_its_own_and_a_section() {
    let output = run(&["--list"]);
    let listed = text(&output.stdout);
    let mut ids: Vec<&str> = listed.lines().filter(|line| line.contains('.') && !line.starts_with(' ')).collect();
    let count = ids.len();
    assert_eq!(listed.lines().last(), Some(format!("{count} checks").as_str()));
    for id in &ids {
        let is_good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '@');
        assert!(id.chars().all(is_good), "{id}");
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count);
    let sections = listed.lines().filter(|line| line.starts_with("    "));
    assert!(sections.clone().all(|line| line.contains("§") || line.contains("appendix")));
    assert_eq!(sections.count(), count);
}

#[test]
fn only_what_was_chosen_is_run() {
    let output = run(&["--only", "authorize.request_uri", "--only", "client.receipt_iss", "--format", "json"]);
    assert!(output.status.success());
    let expected = [
        "authorize.request_uri_once",
        "authorize.request_uri_expiry",
        "authorize.request_uri_client",
        "client.receipt_iss",
    ];
    assert_eq!(ids(&report(&output), "passed"), expected);
    let output = run(&["--only", "lunch"]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), ""));
    assert!(text(&output.stderr).contains("no check's id begins with \"lunch\""));
}

#[test]
fn what_cannot_be_run_says_why() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", taken.local_addr().unwrap());
    drop(taken);
    for (arguments, said) in [
        (vec!["--as-origin", &nobody], format!("nothing answers at {nobody}")),
        (vec!["--merchant", "http://shop.example"], "--merchant: must be https, or http on a loopback host".to_owned()),
        (vec!["--discovery-url", "shop"], "--discovery-url: not a URL".to_owned()),
        (vec!["--setup-token", "secret"], "--setup-token is of no use without --as-origin".to_owned()),
    ] {
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(&said), "{}", text(&output.stderr));
        assert!(!text(&output.stderr).contains("secret"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_elsewhere_is_checked_and_nothing_is_bought_that_was_not_allowed() {
    let sandbox = Sandbox::start(SandboxConfig::new()).await.unwrap();
    let (output, tokens) = run_against(&sandbox, 3, &["--format", "json"]).await;
    let report = report(&output);
    assert_eq!(ids(&report, "failed"), [""; 0], "{report:#}");
    assert!(output.status.success());
    let skipped = report["checks"].as_array().unwrap().iter().filter(|check| check["verdict"] == "skipped");
    let reasons: Vec<&str> = skipped.map(|check| check["seen"].as_str().unwrap()).collect();
    for reason in ["--allow-payments", "--slow", "--setup-token", "which only the sandbox can be told to do"] {
        assert!(reasons.iter().any(|said| said.contains(reason)), "{reason}");
    }
    assert!(ids(&report, "passed").len() >= 150);
    let settled = sandbox.audit_chain().0.iter().any(|entry| entry["event"] == "oid4ac.payment.succeeded");
    assert!(!settled, "something was bought");
    for secret in &tokens {
        assert!(!text(&output.stdout).contains(secret) && !text(&output.stderr).contains(secret));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_are_checked_elsewhere_where_they_are_allowed() {
    let sandbox = Sandbox::start(SandboxConfig::new()).await.unwrap();
    let only = ["--only", "settle", "--only", "idempotency", "--only", "receipt", "--only", "kb", "--format", "json"];
    let (output, _) = run_against(&sandbox, 2, &[&["--allow-payments"], &only[..]].concat()).await;
    let report = report(&output);
    assert_eq!(ids(&report, "failed"), [""; 0], "{report:#}");
    assert!(ids(&report, "passed").contains(&"idempotency.same_octets".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lacks_a_rule_fails_by_the_checks_id() {
    let sandbox = Sandbox::start(SandboxConfig::new().without_rule(Rule::RequestUriOnce)).await.unwrap();
    let (output, _) = run_against(&sandbox, 2, &["--only", "authorize", "--format", "json"]).await;
    assert_eq!(output.status.code(), Some(1));
    let report = report(&output);
    assert_eq!(ids(&report, "failed"), ["authorize.request_uri_once"]);
    let row = report["checks"].as_array().unwrap().iter().find(|check| check["verdict"] == "failed").unwrap().clone();
    assert_eq!(row["section"], "RFC 9126 §7.3");
    assert_eq!(row["seen"], "302, with a redirect");
}

#[test]
fn a_rule_that_no_check_watches_is_an_error() {
    let output = run(&["--mutants", "--only", "authorize.request_uri_once"]);
    assert_eq!(output.status.code(), Some(1));
    let printed = text(&output.stdout);
    assert!(printed.contains("authorize.request_uri_once → authorize.request_uri_once\n"), "{printed}");
    assert!(printed.contains("error: token.code_once can be switched off and no check fails\n"));
    assert!(!printed.contains("fails under no mutant"), "{printed}");
}
