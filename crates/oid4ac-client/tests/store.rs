//! The file store: what it writes, what it refuses, and that nothing is lost or shown.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use jose::Signer as _;
use oid4ac_client::{FileStore, KeyPair, Origin, Problem, Registration, Store, SystemRng};

fn store(folder: &Path, issuer: &str) -> FileStore {
    FileStore::new(folder, &Origin::of(issuer).unwrap())
}

fn saved(folder: &Path) -> Arc<KeyPair> {
    let keys = Arc::new(KeyPair::generate(&SystemRng));
    store(folder, "https://as.example").save_keys(&keys).unwrap();
    keys
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A folder of its own, not made yet: the store makes it.
fn folder() -> (tempfile::TempDir, std::path::PathBuf) {
    let outer = tempfile::tempdir().unwrap();
    let inner = outer.path().join("oid4pay-mcp");
    (outer, inner)
}

#[test]
fn keys_come_back_as_they_were_in_private_files() {
    let (_outer, folder) = folder();
    let keys = saved(&folder);
    let read = store(&folder, "https://as.example").keys().unwrap().unwrap();
    assert_eq!(read.dpop().public_key(), keys.dpop().public_key());
    assert_eq!(read.private_key_jwt().public_key(), keys.private_key_jwt().public_key());
    assert_eq!((mode(&folder), mode(&folder.join("keys.json"))), (0o700, 0o600));
    let json: serde_json::Value = serde_json::from_slice(&fs::read(folder.join("keys.json")).unwrap()).unwrap();
    let members: Vec<_> = json.as_object().unwrap().keys().collect();
    assert_eq!(members, ["dpop", "private_key_jwt"]);
}

#[test]
fn an_empty_folder_has_no_keys_and_stays_empty() {
    let (_outer, folder) = folder();
    let store = store(&folder, "https://as.example");
    assert!(store.keys().unwrap().is_none());
    assert!(store.registration().unwrap().is_none());
    assert!(!folder.exists());
}

#[test]
fn refuses_modes_that_let_others_in_and_says_what_mends_them() {
    let (_outer, folder) = folder();
    saved(&folder);
    let file = folder.join("keys.json");
    for (path, open, wanted) in
        [(&file, 0o640, "chmod 600"), (&file, 0o604, "chmod 600"), (&folder, 0o750, "chmod 700")]
    {
        let before = mode(path);
        set_mode(path, open);
        let error = store(&folder, "https://as.example").keys().unwrap_err();
        assert!(matches!(error.problem(), Problem::TooOpen { .. }), "{error}");
        assert!(error.to_string().contains(wanted), "{error}");
        set_mode(path, before);
    }
    assert!(store(&folder, "https://as.example").keys().unwrap().is_some());
}

#[test]
fn damaged_keys_are_refused_left_alone_and_never_shown() {
    let (_outer, folder) = folder();
    saved(&folder);
    let file = folder.join("keys.json");
    let good = fs::read_to_string(&file).unwrap();
    let json: serde_json::Value = serde_json::from_str(&good).unwrap();
    let secret = json["dpop"]["d"].as_str().unwrap().to_owned();
    let swapped = good.replacen(&secret, json["private_key_jwt"]["d"].as_str().unwrap(), 1);
    let same = format!("{{\"dpop\":{0},\"private_key_jwt\":{0}}}", json["dpop"]);
    for (damage, content) in [
        ("empty", String::new()),
        ("half-written", good[..good.len() / 2].to_owned()),
        ("not JSON", "hello".to_owned()),
        ("a member too many", good.replacen('{', "{\"extra\":1,", 1)),
        ("a member missing", format!("{{\"dpop\":{}}}", json["dpop"])),
        ("another key's secret", swapped),
        ("one key twice", same),
        ("duplicate members", good.replacen("\"dpop\"", "\"dpop\":{},\"dpop\"", 1)),
        ("a short secret", good.replacen(&secret, &secret[..40], 1)),
    ] {
        fs::write(&file, &content).unwrap();
        let error = store(&folder, "https://as.example").keys().unwrap_err();
        assert!(matches!(error.problem(), Problem::Corrupt(_)), "{damage}: {error}");
        assert!(error.to_string().contains("keys.json"), "{damage}: {error}");
        for shown in [error.to_string(), format!("{error:?}")] {
            assert!(!shown.contains(&secret[..12]), "{damage}: {shown}");
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), content, "{damage}: left as it was");
    }
    fs::write(&file, good).unwrap();
    assert!(store(&folder, "https://as.example").keys().unwrap().is_some());
}

#[test]
fn replacing_keys_keeps_the_old_ones_as_a_backup() {
    let (_outer, folder) = folder();
    saved(&folder);
    let old = fs::read(folder.join("keys.json")).unwrap();
    saved(&folder);
    assert_eq!(fs::read(folder.join("keys.json.bak")).unwrap(), old);
    assert_eq!(mode(&folder.join("keys.json.bak")), 0o600);
}

#[test]
fn two_issuers_share_no_keys_and_no_registration() {
    let (_outer, folder) = folder();
    saved(&folder);
    let first = store(&folder, "https://as.example");
    first.save_registration(&Registration::existing("one", "https://as.example"), None).unwrap();
    let second = store(&folder, "https://other.example");
    assert!(second.keys().unwrap().is_none());
    assert!(second.registration().unwrap().is_none());
    second.save_keys(&Arc::new(KeyPair::generate(&SystemRng))).unwrap();
    second.save_registration(&Registration::existing("two", "https://other.example"), None).unwrap();
    assert_ne!(first.keys().unwrap().unwrap().dpop().public_key(), second.keys().unwrap().unwrap().dpop().public_key());
    assert_eq!(first.registration().unwrap().unwrap().client_id, "one");
    assert_eq!(second.registration().unwrap().unwrap().client_id, "two");
    // A program that is told no issuer goes where the agent registered last.
    assert_eq!(FileStore::registered_issuer(&folder).unwrap().as_deref(), Some("https://other.example"));
}

#[test]
fn debug_of_stores_and_keys_shows_no_secret() {
    let (_outer, folder) = folder();
    let keys = saved(&folder);
    let store = store(&folder, "https://as.example");
    store.keys().unwrap();
    let secret: serde_json::Value = serde_json::from_str(&keys.dpop().to_jwk()).unwrap();
    let secret = secret["d"].as_str().unwrap();
    for shown in [format!("{keys:?}"), format!("{store:?}"), format!("{store:#?}")] {
        assert!(!shown.contains(&secret[..8]), "{shown}");
    }
}

#[test]
fn a_hundred_writers_leave_whole_files() {
    let (_outer, folder) = folder();
    saved(&folder);
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let folder = &folder;
            scope.spawn(move || {
                let store = store(folder, "https://as.example");
                for round in 0..25 {
                    let id = format!("client-{writer}-{round}");
                    store.save_registration(&Registration::existing(&id, "https://as.example"), None).unwrap();
                    assert!(store.registration().unwrap().unwrap().client_id.starts_with("client-"));
                }
            });
        }
    });
}

/// Files as the program wrote them before it kept grants.
#[test]
fn files_of_an_older_version_still_load() {
    let (_outer, folder) = folder();
    let keys = saved(&folder);
    let session = r#"{
        "issuer": "https://as.example",
        "last_registered_at": "https://as.example",
        "registration": {
            "registration_access_token": "rat_1",
            "registration_client_uri": "https://as.example/register/agent_1"
        },
        "pending": {"key-1": {
            "state": "s", "code_verifier": "v", "redirect_uri": "https://agent.example/callback",
            "poll_uri": "https://as.example/poll?x=1",
            "consent": {"mode": "dashboard", "url": "https://as.example/consent/1", "expires_at": 1790000900, "interval_seconds": 5}
        }},
        "tokens": {"audit:read": {
            "access_token": "a", "expires_at": 1790000900, "refresh_token": "r", "refreshing": false
        }}
    }"#;
    let client = r#"{"client_id": "agent_1", "as_url": "https://as.example", "redirect_uris": ["https://agent.example/callback"]}"#;
    for (name, text) in [("session.json", session), ("client.json", client)] {
        fs::write(folder.join(name), text).unwrap();
        set_mode(&folder.join(name), 0o600);
    }
    let store = store(&folder, "https://as.example");
    assert_eq!(store.keys().unwrap().unwrap().dpop().public_key(), keys.dpop().public_key());
    assert_eq!(store.registration().unwrap().unwrap().client_id, "agent_1");
    assert!(store.pending("key-1").unwrap().is_some());
    assert!(store.session("audit:read").unwrap().is_some());
    assert!(store.grant("key-1").unwrap().is_none());
    store.set_grant("key-1", None).unwrap();
    assert_eq!(fs::read_to_string(folder.join("session.json")).unwrap(), session, "nothing to forget, nothing written");
    store.set_pending("key-1", None).unwrap();
    assert!(store.session("audit:read").unwrap().is_some());
}
