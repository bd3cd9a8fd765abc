//! The ledger watching itself, from the compiled binary: older copies, times that have not come yet, clocks, and commands
//! that only look.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jose::Clock;
use sandbox::{Party, SandboxConfig};
use serde_json::{Value, json};
use spend_guard::{Ledger, State};
use support::person::at_a_terminal;
use support::{BINARY, Server, World, purchase};

const PAY: &str = "agent_payment_initiate";
const PASSPHRASE: &str = "correct horse battery";
const DAY: i64 = 86_400;

fn terminal(world: &World, arguments: &[&str], answers: &[&str]) -> (bool, String) {
    let data_dir = world.data_dir();
    let all: Vec<_> = ["--data-dir", data_dir.to_str().unwrap()].into_iter().chain(arguments.iter().copied()).collect();
    at_a_terminal(&all, world.home.path(), answers)
}

/// Runs a command without a terminal.
fn command(home: &Path, data_dir: &Path, arguments: &[&str]) -> (bool, String, String) {
    let mut command = Command::new(BINARY);
    command.arg("--data-dir").arg(data_dir).args(arguments).env_clear().env("HOME", home);
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

async fn settlements(world: &World) -> usize {
    world.settlements(world.alpacanica()).await.len()
}

/// Every file under `dir` with its content, without what SQLite rebuilds from its log.
fn content(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let (mut found, mut dirs) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(dir) = dirs.pop() {
        found.push((dir.clone(), Vec::new()));
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => dirs.push(path),
                false => found.push((path.clone(), std::fs::read(&path).unwrap())),
            }
        }
    }
    found.retain(|(path, _)| !path.to_string_lossy().ends_with("-shm"));
    found.sort();
    found
}

const LOOKING: [&[&str]; 12] = [
    &["policy", "show"],
    &["policy", "show", "--json"],
    &["policy", "simulate", "--merchant", "https://shop.example", "--amount", "5"],
    &["budget"],
    &["budget", "--json"],
    &["doctor"],
    &["doctor", "--json"],
    &["history"],
    &["history", "--verify"],
    &["approvals"],
    &["approvals", "--json"],
    &["export", "--format", "csv"],
];

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_look_change_no_file_and_make_none() {
    let world = World::new().await;
    let (home, data_dir) = (world.home.path(), world.data_dir());
    let check = |when: &str| {
        let before = content(home);
        for arguments in LOOKING {
            let (success, out, err) = command(home, &data_dir, arguments);
            assert!(success || arguments[0] == "doctor", "{when}: {arguments:?}: {out}{err}");
            for (now, before) in content(home).iter().zip(&before) {
                assert_eq!(now, before, "{when}: {arguments:?}");
            }
            assert_eq!(content(home).len(), before.len(), "{when}: {arguments:?}");
        }
    };
    check("without a data directory");
    let mut server = world.registered().await;
    check("without a ledger");
    assert_eq!(server.call(PAY, world.socks()).await.output()["status"], "settled");
    let asked = server.call(PAY, purchase(world.alpacanica(), "felt-slipper-41", 5450)).await;
    assert_eq!(asked.output()["status"], "approval_required");
    check("while a server has it open");
    let log = data_dir.join("ledger.sqlite3-wal");
    assert!(std::fs::metadata(&log).unwrap().len() > 0);
    server.kill().await;
    check("after the server was killed");
    let (success, proof, _) = command(home, &data_dir, &["history", "--verify"]);
    assert!(success && proof.contains("The ledger is whole"), "{proof}");
    // Another configuration directory with a stricter policy.
    let other = world.home.path().join("other");
    std::fs::create_dir_all(other.join("oid4pay-mcp")).unwrap();
    std::fs::write(other.join("oid4pay-mcp/policy.toml"), "[currency.EUR]\nper_transaction = 1\n").unwrap();
    let before = content(&data_dir);
    let mut show = Command::new(BINARY);
    show.arg("--data-dir").arg(&data_dir).args(["policy", "show"]).env_clear().env("HOME", home);
    let shown = show.env("XDG_CONFIG_HOME", &other).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("the next payment puts it in force") && shown.contains("1.00 EUR"), "{shown}");
    assert_eq!(content(&data_dir), before);
    let mut server = world.server().await;
    let socks = support::with(world.socks(), "/purchase_ref", json!("another pair"));
    assert_eq!(server.call(PAY, socks).await.output()["status"], "settled", "the policy is the one before");
    server.end().await;
    check("while no process has it open");
}

#[tokio::test(flavor = "multi_thread")]
async fn resources_are_read_without_making_a_ledger() {
    let world = World::new().await;
    let mut server = world.registered().await;
    let before = content(world.home.path());
    server.request("resources/list", json!({})).await.unwrap();
    server.request("resources/read", json!({"uri": "policy://current"})).await.unwrap();
    server.request("resources/read", json!({"uri": "receipt://none"})).await.unwrap_err();
    assert_eq!(content(world.home.path()), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_of_the_ledger_charges_nothing_until_a_person_accepts_it() {
    let world = World::new().await;
    let (home, data_dir) = (world.home.path(), world.data_dir());
    let (success, _) = terminal(&world, &["policy", "init"], &[PASSPHRASE, PASSPHRASE]);
    assert!(success);
    let mut server = world.registered().await;
    let first = purchase(world.alpacanica(), "wool-insole-42", 849);
    assert_eq!(server.call(PAY, first.clone()).await.output()["status"], "settled");
    server.end().await;
    let older = std::fs::read(data_dir.join("ledger.sqlite3")).unwrap();
    let mut server = world.server().await;
    assert_eq!(server.call(PAY, world.socks()).await.output()["status"], "settled");
    server.end().await;
    std::fs::write(data_dir.join("ledger.sqlite3"), older).unwrap();

    let mut server = world.server().await;
    for arguments in [world.socks(), first.clone()] {
        let refused = server.call(PAY, arguments).await;
        assert_eq!(refused.code(), "ledger_rolled_back");
        assert!(refused.error()["hint"].as_str().unwrap().contains("oid4pay-mcp ledger accept"));
    }
    assert_eq!(settlements(&world).await, 2);
    let (success, said, _) = command(home, &data_dir, &["history", "--verify"]);
    assert!(!success && said.contains("NOT whole"), "{said}");
    let (success, said, _) = command(home, &data_dir, &["doctor"]);
    assert!(!success && said.contains("ledger accept"), "{said}");
    assert!(command(home, &data_dir, &["freeze"]).0, "a freeze is always possible");
    let (success, _, refused) = command(home, &data_dir, &["ledger", "accept"]);
    assert!(!success && refused.contains("interactive terminal"), "{refused}");
    let (success, said) = terminal(&world, &["ledger", "accept"], &["not the passphrase", "nor this", "nor that"]);
    assert!(!success && said.contains("paid again"), "{said}");
    assert_eq!(server.call(PAY, first.clone()).await.code(), "ledger_rolled_back");

    std::thread::sleep(std::time::Duration::from_secs(2));
    let (success, said) = terminal(&world, &["ledger", "accept"], &[PASSPHRASE]);
    assert!(success && said.contains("Accepted"), "{said}");
    assert_eq!(server.call(PAY, world.socks()).await.code(), "frozen");
    assert!(terminal(&world, &["unfreeze"], &[PASSPHRASE]).0);
    assert_eq!(server.call(PAY, first).await.output()["replayed"], true);
    let (_, said) = terminal(&world, &["ledger", "accept"], &[]);
    assert!(said.contains("nothing to accept"), "{said}");
    assert!(command(home, &data_dir, &["history", "--verify"]).0);
    assert_eq!(settlements(&world).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_head_is_in_the_state_directory_and_another_machine_takes_the_ledger_as_it_is() {
    let world = World::new().await;
    let mut server = world.registered().await;
    assert_eq!(server.call(PAY, world.socks()).await.output()["status"], "settled");
    server.end().await;
    let state = world.home.path().join(".local/state/oid4pay-mcp");
    assert_eq!(std::fs::read_dir(&state).unwrap().count(), 1);
    std::fs::remove_dir_all(&state).unwrap();
    let mut server = world.server().await;
    assert_eq!(server.call(PAY, world.socks()).await.output()["replayed"], true);
    let more = support::with(world.socks(), "/purchase_ref", json!("another pair"));
    assert_eq!(server.call(PAY, more).await.output()["status"], "settled");
    assert_eq!(std::fs::read_dir(&state).unwrap().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planted_trigger_is_named_and_a_freeze_does_not_pretend() {
    let world = World::new().await;
    let (home, data_dir) = (world.home.path(), world.data_dir());
    let mut server = world.registered().await;
    assert_eq!(server.call(PAY, world.socks()).await.output()["status"], "settled");
    let sql = rusqlite::Connection::open(data_dir.join("ledger.sqlite3")).unwrap();
    let trigger =
        "CREATE TRIGGER quiet BEFORE INSERT ON journal WHEN NEW.event = 'freeze' BEGIN SELECT RAISE(IGNORE); END";
    sql.execute_batch(trigger).unwrap();
    let (success, out, err) = command(home, &data_dir, &["freeze"]);
    assert!(!success && out.is_empty() && err.contains("trigger quiet"), "{out}{err}");
    let (success, out, _) = command(home, &data_dir, &["history", "--verify", "--json"]);
    let out: Value = serde_json::from_str(&out).unwrap();
    assert!(!success && out["whole"] == false && out["broken"].as_str().unwrap().contains("trigger quiet"), "{out}");
    let more = support::with(world.socks(), "/purchase_ref", json!("another pair"));
    assert_eq!(server.call(PAY, more).await.code(), "ledger_altered");
    sql.execute_batch("DROP TRIGGER quiet").unwrap();
    assert!(command(home, &data_dir, &["freeze"]).0);
}

struct Ahead(i64);

impl Clock for Ahead {
    fn now(&self) -> i64 {
        oid4ac_client::SystemClock.now() + self.0
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_row_from_the_future_is_told_by_the_doctor_and_taken_back_by_a_person() {
    let world = World::new().await;
    let (home, data_dir) = (world.home.path(), world.data_dir());
    assert!(terminal(&world, &["policy", "init"], &[PASSPHRASE, PASSPHRASE]).0);
    let mut server = world.registered().await;
    assert_eq!(server.call(PAY, world.socks()).await.output()["status"], "settled");
    let (_, said) = terminal(&world, &["ledger", "reset-time"], &[]);
    assert!(said.contains("nothing to bring back"), "{said}");
    let future = Ledger::new(&data_dir, Arc::new(Ahead(400 * DAY)));
    future.freeze().unwrap();
    future.unfreeze().unwrap();
    let (success, said, _) = command(home, &data_dir, &["doctor"]);
    assert!(!success && said.contains("ahead of this machine's clock") && said.contains("ledger reset-time"), "{said}");
    let (success, _, refused) = command(home, &data_dir, &["ledger", "reset-time"]);
    assert!(!success && refused.contains("interactive terminal"), "{refused}");
    let (success, said) = terminal(&world, &["ledger", "reset-time"], &[PASSPHRASE]);
    assert!(success && said.contains("noted in its journal"), "{said}");
    let (_, said, _) = command(home, &data_dir, &["doctor"]);
    assert!(!said.contains("ahead of this machine's clock"), "{said}");
    assert_eq!(server.call(PAY, world.socks()).await.output()["replayed"], true);
    let (success, proof, _) = command(home, &data_dir, &["history", "--verify"]);
    assert!(success, "{proof}");
}

/// A world whose authorization server's clock is behind ours by what `behind` holds: ours is ahead.
async fn world_behind(behind: &Arc<AtomicI64>) -> World {
    let behind = Arc::clone(behind);
    let config = SandboxConfig::new().changing_answers(move |asked, mut answer| {
        let seconds = behind.load(Ordering::SeqCst);
        if asked.party == Party::AuthorizationServer && seconds != 0 {
            let at = jiff::Timestamp::from_second(oid4ac_client::SystemClock.now() - seconds).unwrap();
            let date = at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
            answer.headers_mut().insert("date", date.parse().unwrap());
        }
        answer
    });
    World::with(config).await
}

fn intents(world: &World) -> Vec<State> {
    let page = world.ledger().list(&spend_guard::Filter::default()).unwrap();
    page.intents.iter().map(|intent| intent.state).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_ahead_of_the_authorization_servers_reserves_nothing_and_presents_nothing() {
    let behind = Arc::new(AtomicI64::new(0));
    let world = world_behind(&behind).await;
    let mut server = world.registered().await;
    behind.store(400 * DAY, Ordering::SeqCst);
    // A server that knows of it, having been told just now, and one that has been told nothing yet.
    let mut fresh = world.server().await;
    for server in [&mut fresh, &mut server] {
        world.sandbox.clear_requests();
        let refused = server.call(PAY, world.socks()).await;
        if refused.is_error() {
            assert_eq!(refused.code(), "clock_ahead", "{}", refused.text(0));
            assert!(refused.error()["hint"].as_str().unwrap().contains("clock"), "{}", refused.text(0));
        }
        assert!(refused.is_error());
        assert!(!world.sandbox.requests().iter().any(|request| request.path == "/verify-mandate"));
    }
    assert_eq!(settlements(&world).await, 0);
    assert!(intents(&world).iter().all(|state| *state == State::Failed), "nothing is held back");
    let mut fresh_again = world.server().await;
    let known = intents(&world).len();
    assert_eq!(fresh_again.call(PAY, world.socks()).await.code(), "clock_ahead");
    assert_eq!(fresh_again.call(PAY, world.socks()).await.code(), "clock_ahead");
    assert_eq!(intents(&world).len(), known, "nothing was reserved");
    // The clock is corrected while the server runs.
    behind.store(0, Ordering::SeqCst);
    assert_eq!(fresh_again.call(PAY, world.socks()).await.output()["status"], "settled");
    assert_eq!(settlements(&world).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_a_little_ahead_or_far_behind_pays() {
    for seconds in [240, -400 * DAY] {
        let behind = Arc::new(AtomicI64::new(seconds));
        let world = world_behind(&behind).await;
        let mut server = world.registered().await;
        assert_eq!(server.call(PAY, world.socks()).await.output()["status"], "settled", "{seconds}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_paid_is_answered_and_what_is_refused_is_refused_without_asking_the_time() {
    let world = World::new().await;
    let mut server = world.registered().await;
    assert_eq!(server.call(PAY, world.socks()).await.output()["status"], "settled");
    let mut fresh: Server = world.server().await;
    world.sandbox.clear_requests();
    assert_eq!(fresh.call(PAY, world.socks()).await.output()["replayed"], true);
    let dear = purchase(world.alpacanica(), "alpaca-sweater-cable-m", 12_900);
    assert_eq!(fresh.call(PAY, dear).await.code(), "per_transaction_exceeded");
    assert!(world.sandbox.requests().is_empty());
}
