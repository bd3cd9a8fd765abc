//! What must not be seen is looked for, in everything that the binary writes.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod support;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use sandbox::SandboxConfig;
use serde_json::{Value, json};
use support::{Lifecycle, Server, World, with};

/// Strings of a JSON text that are secrets by their name.
fn secrets_of(value: &Value, found: &mut BTreeSet<String>) {
    const NAMES: [&str; 8] = [
        "access_token",
        "refresh_token",
        "code",
        "request_uri",
        "registration_access_token",
        "client_secret",
        "d",
        "software_statement",
    ];
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| match value {
            Value::String(text) if NAMES.contains(&name.as_str()) => drop(found.insert(text.clone())),
            other => secrets_of(other, found),
        }),
        Value::Array(items) => items.iter().for_each(|item| secrets_of(item, found)),
        _ => {}
    }
}

#[tokio::test]
async fn no_secret_is_on_either_stream_whatever_the_log_settings() {
    for log in ["text", "json"] {
        let secrets = Arc::new(Mutex::new(BTreeSet::new()));
        let seen = Arc::clone(&secrets);
        let config = SandboxConfig::new().changing_answers(move |_, answer| {
            let mut seen = seen.lock().unwrap();
            if let Ok(body) = serde_json::from_slice(answer.body()) {
                secrets_of(&body, &mut seen);
            }
            // The code is in the redirect, among `state` and `iss`.
            if let Some(location) = answer.headers().get("location").and_then(|value| value.to_str().ok()) {
                let query = location.split_once('?').unwrap().1;
                let parts = query.split('&').filter_map(|part| part.split_once('='));
                seen.extend(parts.filter(|(name, _)| *name != "iss").map(|(_, value)| value.to_owned()));
            }
            answer
        });
        let world = World::with(config).await;
        let data_dir = world.data_dir();
        let arguments =
            ["--as-origin", world.sandbox.as_origin(), "--data-dir", data_dir.to_str().unwrap(), "--log", log];
        // A variable that other programs read, and that would have other crates print what they send.
        let environment = [("RUST_LOG", "trace"), ("RUST_BACKTRACE", "full")];
        let lifecycle = Lifecycle::Handshake("2025-11-25");
        let mut server = Server::start_with(&arguments, world.home.path(), &environment, lifecycle).await;
        let registration = world.registration();
        secrets.lock().unwrap().insert(registration["setup_token"].as_str().unwrap().to_owned());
        server.call("agent_register", registration.clone()).await.output();
        server.call("agent_payment_initiate", world.socks()).await.output();
        server.call("agent_payment_initiate", world.socks()).await.output();
        // Wallet sessions: one that is kept, some that are given up, and a token that the person handed out.
        let session = json!({"principal_token": "wallet-session"});
        server.call("agent_audit_chain_query", session.clone()).await.output();
        server.call("agent_payment_history", session).await.output();
        let dsar = json!({"right": "portability", "principal_token": "wallet-session"});
        server.call("agent_dsar_initiate", dsar.clone()).await.output();
        let origin = world.sandbox.as_origin();
        let wallet = json!({"as_url": origin, "resource": origin, "redirect_uri": support::CALLBACK});
        server.call("agent_wallet_list_agents", wallet.clone()).await.output();
        server.call("agent_wallet_revoke_agent", with(wallet, "/agent_client_id", json!("agent_x"))).await.error();
        let given = world.sandbox.principal_token(&world.sandbox.principals()[0].id, "wallet:read").unwrap();
        server.call("agent_dsar_initiate", with(dsar, "/principal_token", json!(given))).await.error();
        secrets.lock().unwrap().insert(given);
        // Refusals too: a spent token, a price that is wrong, arguments that are none.
        let spent = with(registration, "/redirect_uris", json!(["https://other.example/cb"]));
        server.call("agent_register", spent).await.error();
        server.call("agent_payment_initiate", with(world.socks(), "/amount/amount_minor", json!(1))).await.error();
        server.call_badly("agent_payment_initiate", json!({})).await;
        let ended = server.end().await;

        for file in ["keys.json", "session.json"] {
            if let Ok(text) = std::fs::read(data_dir.join(file)) {
                secrets_of(&serde_json::from_slice(&text).unwrap(), &mut secrets.lock().unwrap());
            }
        }
        let secrets = secrets.lock().unwrap();
        // Two keys, the setup token, and per payment: request URI, code, state, access and refresh token.
        assert!(secrets.len() >= 8, "only {} secrets were seen", secrets.len());
        for secret in secrets.iter() {
            assert!(secret.len() >= 16, "{secret} is too short to be looked for");
            let prefix = &secret[..16.min(secret.len())];
            // Every JWS begins alike: look for its signature instead.
            let needle = if secret.starts_with("eyJ") { secret.rsplit('.').next().unwrap() } else { prefix };
            assert!(!ended.stdout.contains(needle), "{secret} is on standard output");
            assert!(!ended.stderr.contains(needle), "{secret} is on standard error");
        }
        // Nor in the ledger, which holds no token, code or verifier.
        for entry in std::fs::read_dir(&data_dir).unwrap() {
            let path = entry.unwrap().path();
            if !path.file_name().unwrap().to_str().unwrap().starts_with("ledger") || !path.is_file() {
                continue;
            }
            let content = std::fs::read(&path).unwrap();
            for secret in secrets.iter() {
                let found = content.windows(secret.len()).any(|window| window == secret.as_bytes());
                assert!(!found, "{secret} is in {}", path.display());
            }
        }
    }
}
