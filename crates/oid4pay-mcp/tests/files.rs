//! Files that are damaged, too open or cut short: a clear refusal, and nothing lost.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;
use support::{BINARY, Server, World, with};

#[tokio::test]
async fn files_have_modes_that_keep_others_out() {
    let world = World::new().await;
    let mut server = world.registered().await;
    server.call("agent_payment_initiate", world.socks()).await.output();
    server.call("agent_audit_chain_query", json!({"principal_token": "wallet-session"})).await.output();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&world.data_dir()), 0o700);
    let mut names = Vec::new();
    for entry in fs::read_dir(world.data_dir()).unwrap() {
        let path = entry.unwrap().path();
        names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
        assert_eq!(mode(&path), if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
    }
    for name in ["keys.json", "client.json", "session.json", "ledger.sqlite3"] {
        assert!(names.iter().any(|known| known == name), "{name} is not among {names:?}");
    }
}

#[tokio::test]
async fn keys_that_cannot_be_used_are_named_and_left_as_they_are() {
    let world = World::new().await;
    drop(world.registered().await);
    let path = world.data_dir().join("keys.json");
    let good = fs::read_to_string(&path).unwrap();
    let half = &good[..good.len() / 2];
    let mut same: serde_json::Value = serde_json::from_str(&good).unwrap();
    same["dpop"] = same["private_key_jwt"].clone();
    let mut foreign: serde_json::Value = serde_json::from_str(&good).unwrap();
    foreign["rsa"] = json!({});
    let rows = [
        ("", "keys.json"),
        (half, "keys.json"),
        ("{}", "dpop"),
        ("[1, 2]", "keys.json"),
        (&same.to_string(), "the same key"),
        (&foreign.to_string(), "rsa"),
    ];
    for (content, named) in rows {
        fs::write(&path, content).unwrap();
        let mut server = world.server().await;
        let answer = server.call("agent_payment_initiate", world.socks()).await;
        assert_eq!(answer.code(), "store_failed", "{content}");
        assert!(answer.text(0).contains(named) && answer.text(0).contains("keys.json"), "{}", answer.text(0));
        // Registering does not replace what may still be fixed.
        let again = with(world.registration(), "/redirect_uris", json!(["https://other.example/cb"]));
        assert_eq!(server.call("agent_register", again).await.code(), "store_failed", "{content}");
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
        let ended = server.end().await;
        let secret = good.split('"').find(|part| part.len() == 43).unwrap();
        assert!(!ended.stdout.contains(secret) && !ended.stderr.contains(secret));
    }
    fs::write(&path, &good).unwrap();
    for mode in [0o644, 0o660, 0o604] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let mut server = world.server().await;
        let answer = server.call("agent_payment_initiate", world.socks()).await;
        assert_eq!(answer.code(), "store_failed");
        assert!(answer.text(0).contains("chmod 600"), "{}", answer.text(0));
    }
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    assert!(world.settlements(world.alpacanica()).await.is_empty());
    let mut server = world.server().await;
    assert_eq!(server.call("agent_payment_initiate", world.socks()).await.output()["status"], "settled");
}

#[tokio::test]
async fn a_damaged_ledger_stops_payments() {
    let world = World::new().await;
    let mut server = world.registered().await;
    server.call("agent_payment_initiate", world.socks()).await.output();
    server.end().await;
    for suffix in ["-wal", "-shm"] {
        let _ = fs::remove_file(world.data_dir().join(format!("ledger.sqlite3{suffix}")));
    }
    fs::write(world.data_dir().join("ledger.sqlite3"), "this is no database, whatever it is").unwrap();
    let mut server = world.server().await;
    let answer = server.call("agent_payment_initiate", world.socks()).await;
    assert_eq!(answer.code(), "ledger_failed");
    assert_eq!(world.settlements(world.alpacanica()).await.len(), 1);
}

#[tokio::test]
async fn keys_and_client_id_can_come_from_the_environment() {
    let world = World::new().await;
    drop(world.registered().await);
    let read = |name: &str| -> serde_json::Value {
        serde_json::from_str(&fs::read_to_string(world.data_dir().join(name)).unwrap()).unwrap()
    };
    let (keys, client) = (read("keys.json"), read("client.json"));
    let (dpop, assertion) = (keys["dpop"].to_string(), keys["private_key_jwt"].to_string());
    let client_id = client["client_id"].as_str().unwrap();
    let empty = world.home.path().join("empty");
    let arguments = ["--as-origin", world.sandbox.as_origin(), "--data-dir", empty.to_str().unwrap()];
    let lifecycle = support::Lifecycle::Handshake("2025-11-25");
    let whole = [
        ("OID4PAY_CLIENT_ID", client_id),
        ("OID4PAY_DPOP_PRIVATE_JWK", dpop.as_str()),
        ("OID4PAY_PKJ_PRIVATE_JWK", assertion.as_str()),
    ];
    let mut server = Server::start_with(&arguments, world.home.path(), &whole, lifecycle).await;
    assert_eq!(server.call("agent_payment_initiate", world.socks()).await.output()["status"], "settled");
    assert!(!empty.join("keys.json").exists(), "they are not copied to disk");
    assert_eq!(server.call("agent_register", world.registration()).await.code(), "registration_configured");

    // A client id alone leads nowhere: no key of it is anywhere, and registering would make another.
    let mut server = Server::start_with(&arguments, world.home.path(), &whole[..1], lifecycle).await;
    for (tool, arguments) in [("agent_payment_initiate", world.socks()), ("agent_register", world.registration())] {
        let answer = server.call(tool, arguments).await;
        assert_eq!(answer.code(), "keys_unusable", "{tool}");
        for variable in ["OID4PAY_DPOP_PRIVATE_JWK", "OID4PAY_PKJ_PRIVATE_JWK"] {
            assert!(answer.text(0).contains(variable), "{}", answer.text(0));
        }
    }

    let bad_key = [whole[0], ("OID4PAY_DPOP_PRIVATE_JWK", "{\"kty\":\"OKP\"}"), whole[2]];
    for environment in [&whole[..2], &bad_key] {
        let mut server = Server::start_with(&arguments, world.home.path(), environment, lifecycle).await;
        let answer = server.call("agent_payment_initiate", world.socks()).await;
        assert_eq!(answer.code(), "keys_unusable");
        assert!(answer.text(0).contains("OID4PAY_"), "{}", answer.text(0));
    }
}

#[tokio::test]
async fn keys_show_prints_public_parts_alone() {
    let world = World::new().await;
    drop(world.registered().await);
    let output = std::process::Command::new(BINARY)
        .args(["keys", "show", "--data-dir", world.data_dir().to_str().unwrap()])
        .env_clear()
        .env("HOME", world.home.path())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let keys: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(world.data_dir().join("keys.json")).unwrap()).unwrap();
    for name in ["dpop", "private_key_jwt"] {
        assert!(text.contains(keys[name]["x"].as_str().unwrap()), "{text}");
        assert!(!text.contains(keys[name]["d"].as_str().unwrap()));
    }
}
