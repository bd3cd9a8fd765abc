//! The settings file: what it says counts, what goes before it, and what is wrong with it.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod support;

use std::fs;
use std::path::Path;
use std::process::Output;

use http::Method;
use sandbox::Party;
use serde_json::json;
use support::{BINARY, Lifecycle, Server, World};

/// `keys show`, which says where it looks.
fn keys_show(home: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = std::process::Command::new(BINARY);
    command.args(arguments).args(["keys", "show"]).env_clear().env("HOME", home).envs(environment.iter().copied());
    command.output().unwrap()
}

fn said(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

fn usual_place(home: &Path) -> std::path::PathBuf {
    let folder = home.join(".config/oid4pay-mcp");
    fs::create_dir_all(&folder).unwrap();
    folder.join("config.toml")
}

#[test]
fn a_flag_goes_before_the_environment_and_that_before_the_file() {
    let home = tempfile::tempdir().unwrap();
    fs::write(usual_place(home.path()), "as_origin = \"https://file.example\"\n").unwrap();
    let rows = [
        (Some("https://flag.example"), Some("https://environment.example"), "https://flag.example"),
        (None, Some("https://environment.example"), "https://environment.example"),
        (None, Some(""), "https://file.example"),
        (None, None, "https://file.example"),
    ];
    for (flag, variable, issuer) in rows {
        let arguments: Vec<_> = flag.into_iter().flat_map(|url| ["--as-origin", url]).collect();
        let environment: Vec<_> = variable.into_iter().map(|url| ("OID4PAY_AS_ORIGIN", url)).collect();
        let output = keys_show(home.path(), &arguments, &environment);
        assert!(said(&output).contains(issuer), "{flag:?} {variable:?}: {}", said(&output));
    }
}

#[test]
fn a_file_that_was_named_must_be_there_and_the_usual_one_need_not() {
    let home = tempfile::tempdir().unwrap();
    let output = keys_show(home.path(), &["--config", "nowhere.toml"], &[]);
    assert!(!output.status.success());
    assert!(said(&output).contains("the settings file nowhere.toml"), "{}", said(&output));
    assert!(said(&keys_show(home.path(), &[], &[])).contains("agent_register"));
}

#[test]
fn an_unknown_key_is_named_with_file_and_line() {
    let home = tempfile::tempdir().unwrap();
    let path = usual_place(home.path());
    fs::write(&path, "log = \"text\"\n\nas_orgin = \"https://as.example\"\n").unwrap();
    for arguments in [&["keys", "show"][..], &[]] {
        let mut command = std::process::Command::new(BINARY);
        let output = command.args(arguments).env_clear().env("HOME", home.path()).output().unwrap();
        assert!(!output.status.success() && output.stdout.is_empty());
        let expected = format!("oid4pay-mcp: {}, line 3: unknown key `as_orgin`, expected one of ", path.display());
        assert!(said(&output).starts_with(&expected), "{}", said(&output));
    }
}

/// What an ordinary authorization server needs, seen in what arrives at one.
#[tokio::test]
async fn the_file_says_how_the_agent_registers() {
    let world = World::new().await;
    let path = world.home.path().join("settings.toml");
    let text = format!(
        "as_origin = {:?}\ndata_dir = {:?}\n\n[authorization_server]\nsetup_token = \"initial_access_token\"\n\
         assertion_audience = \"issuer\"\nregistration_scope = \"openid payment:initiate\"\n",
        world.sandbox.as_origin(),
        world.data_dir(),
    );
    fs::write(&path, text).unwrap();
    let arguments = ["--config", path.to_str().unwrap()];
    let mut server = Server::start_with(&arguments, world.home.path(), &[], Lifecycle::Handshake("2025-11-25")).await;
    let answer = server.call("agent_register", world.registration()).await;
    assert_eq!(answer.output()["as_url"], world.sandbox.as_origin());
    let registration: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(world.data_dir().join("client.json")).unwrap()).unwrap();
    assert_eq!(registration["scope"], "openid payment:initiate");
    // The assertion with the issuer as audience is taken at PAR and at the token endpoint.
    assert_eq!(server.call("agent_payment_initiate", world.socks()).await.output()["status"], "settled");
    let registered = world.sandbox.request_count(&Party::AuthorizationServer, &Method::POST, "/oauth/register");
    assert_eq!(registered, 1);
}

/// A client id and keys from the environment, with the redirect URI that the file names.
#[tokio::test]
async fn a_provided_registration_can_ask_for_a_wallet_session() {
    let world = World::new().await;
    drop(world.registered().await);
    let read = |name: &str| -> serde_json::Value {
        serde_json::from_str(&fs::read_to_string(world.data_dir().join(name)).unwrap()).unwrap()
    };
    let (registration, keys) = (read("client.json"), read("keys.json"));
    let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let provided = [
        ("OID4PAY_CLIENT_ID", text(&registration["client_id"])),
        ("OID4PAY_DPOP_PRIVATE_JWK", text(&keys["dpop"])),
        ("OID4PAY_PKJ_PRIVATE_JWK", text(&keys["private_key_jwt"])),
    ];
    let environment = provided.each_ref().map(|(name, value)| (*name, value.as_str()));
    let path = world.home.path().join("settings.toml");
    let session = json!({"principal_token": "wallet-session"});
    for (at, uris) in [json!([]), registration["redirect_uris"].clone()].iter().enumerate() {
        let text = format!(
            "as_origin = {:?}\ndata_dir = {:?}\n\n[authorization_server]\nredirect_uris = {uris}\n",
            world.sandbox.as_origin(),
            world.home.path().join(format!("other-{at}")),
        );
        fs::write(&path, text).unwrap();
        let arguments = ["--config", path.to_str().unwrap()];
        let lifecycle = Lifecycle::Handshake("2025-11-25");
        let mut server = Server::start_with(&arguments, world.home.path(), &environment, lifecycle).await;
        let answer = server.call("agent_audit_chain_query", session.clone()).await;
        match at {
            0 => assert_eq!(answer.code(), "no_redirect_uri"),
            _ => drop(answer.output()),
        }
    }
}

#[tokio::test]
async fn a_merchant_is_shown_the_claims_that_the_file_names_and_no_other() {
    let world = World::new().await;
    drop(world.registered().await);
    let [one, other] = [0, 1].map(|at| world.sandbox.merchants()[at].clone());
    let text = format!("[disclose]\n{:?} = [\"principal_country\", \"consent_evidence.ip\"]\n", one.origin);
    fs::write(usual_place(world.home.path()), text).unwrap();
    let mut server = world.server().await;
    for (merchant, sku, amount, names) in [
        (&one, "alpaca-sock-blue-43", 1299, json!(["ip", "principal_country"])),
        (&other, "keyboard-brush", 1190, json!([])),
    ] {
        let answer = server.call("agent_payment_initiate", support::purchase(merchant, sku, amount)).await;
        let presentation = answer.output()["presentation"].as_str().unwrap();
        let parts: Vec<_> = presentation.split('~').collect();
        let mut shown: Vec<_> = parts[1..parts.len() - 1]
            .iter()
            .map(|part| {
                let part: serde_json::Value = serde_json::from_slice(&jose::base64url::decode(part).unwrap()).unwrap();
                part[1].as_str().unwrap().to_owned()
            })
            .collect();
        shown.sort();
        assert_eq!(json!(shown), names, "{}", merchant.origin);
    }
}
