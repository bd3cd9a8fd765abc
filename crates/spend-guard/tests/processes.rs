//! Several processes on one ledger, and processes that die. Every child is this test binary, started again to run
//! [`child`] alone.
#![allow(clippy::inconsistent_digit_grouping, reason = "major units _ cents")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]
#![cfg(unix)]

mod common;

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use common::{START, StillClock, authorize, purchase, settlement};
use spend_guard::{Artefact, Begun, Claim, Filter, Ledger, LedgerError, Policy, State};

const JOB: &str = "SPEND_GUARD_TEST_JOB";
const DIR: &str = "SPEND_GUARD_TEST_DIR";

fn ledger(dir: &Path) -> Ledger {
    Ledger::new(dir.join("data"), Arc::new(StillClock::at(START)))
}

fn start(program: &Path, job: &str, dir: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(["--exact", "child", "--nocapture", "--test-threads", "1"]);
    command.env(JOB, job).env(DIR, dir).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    command
}

fn spawn(job: &str, dir: &Path) -> Child {
    start(&std::env::current_exe().unwrap(), job, dir).spawn().unwrap()
}

/// What a child says about itself: the lines it marked.
fn said(child: Child) -> Vec<String> {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{:?}", output.status);
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| line.split_once("> ").map(|(_, said)| said.to_owned())).collect()
}

/// Runs in the children. As a test of its own it does nothing.
#[test]
fn child() {
    let (Ok(job), Ok(dir)) = (std::env::var(JOB), std::env::var(DIR)) else { return };
    let dir = Path::new(&dir);
    let (job, argument) = job.split_once(' ').unwrap_or((job.as_str(), ""));
    match job {
        "budget" => spend_from_one_budget(dir, argument),
        "same" => buy_the_same(dir),
        "stop" => stop_at(dir, argument),
        "forever" => pay_forever(dir),
        "once" => println!("> {}", begin_once(dir)),
        "first" => open_first(dir),
        other => panic!("no job {other}"),
    }
}

fn settle(mut claim: Claim) {
    authorize(&mut claim);
    claim.presenting("p").unwrap();
    claim.settled(&settlement()).unwrap();
}

/// Four threads, forty attempts each, of amounts that do not divide the budget; some are refused, some let go.
fn spend_from_one_budget(dir: &Path, name: &str) {
    let one = ledger(dir);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let ledger = if thread % 2 == 0 { one.clone() } else { ledger(dir) };
            scope.spawn(move || {
                for n in 0..40u64 {
                    let amount = 1_00 + (n * 37 + thread * 11) % 7_00;
                    let purchase = purchase(amount, &format!("{name} {thread} {n}"));
                    match ledger.begin(&purchase, Some(&Policy::default())).unwrap() {
                        Begun::New(mut claim) if n % 5 == 0 => claim.refused("declined", "no").unwrap(),
                        Begun::New(claim) if n % 7 == 0 => drop(claim),
                        Begun::New(claim) => {
                            settle(claim);
                            println!("> settled {amount}");
                        }
                        Begun::Denied(_) => println!("> denied {amount}"),
                        other => panic!("{other:?}"),
                    }
                }
            });
        }
    });
}

#[test]
fn eight_processes_never_overspend_one_budget() {
    let dir = tempfile::tempdir().unwrap();
    let children: Vec<_> = (0..8).map(|n| spawn(&format!("budget {n}"), dir.path())).collect();
    let said: Vec<_> = children.into_iter().flat_map(said).collect();
    let settled: u64 = said.iter().filter_map(|line| line.strip_prefix("settled ")?.parse::<u64>().ok()).sum();
    let denied = said.iter().filter(|line| line.starts_with("denied")).count();
    let ledger = ledger(dir.path());
    let hour = ledger.budgets(&Policy::default()).unwrap().into_iter().find(|b| b.rule == "currency.EUR.hour").unwrap();
    assert_eq!(hour.settled_minor, settled);
    assert!(hour.settled_minor + hour.reserved_minor <= 200_00, "{hour:?}");
    assert!(hour.left_minor < 8_00, "the budget was really contended for: {hour:?}");
    let proof = ledger.verify(None).unwrap().unwrap();
    assert_eq!(proof.intents, 8 * 4 * 40);
    println!(
        "attempts: {}, denied: {denied}, settled: {settled}, reserved: {}, overspends: 0",
        proof.intents, hour.reserved_minor
    );
}

const ROUNDS: &str = "SPEND_GUARD_TEST_ROUNDS";
const OPENERS: usize = 8;
const CONNECTIONS: usize = 3;

/// In each round, which a line of standard input starts, several threads open a ledger that does not exist yet, each with
/// a connection of its own, and begin a purchase.
fn open_first(dir: &Path) {
    println!("> ready");
    for round in std::io::stdin().lines() {
        let dir = dir.join(round.unwrap());
        std::thread::scope(|scope| {
            for n in 0..CONNECTIONS {
                let dir = &dir;
                scope.spawn(move || {
                    let name = format!("{} {n}", std::process::id());
                    match ledger(dir).begin(&purchase(1, &name), None) {
                        Ok(Begun::New(_)) => println!("> begun"),
                        other => println!("> {other:?}"),
                    }
                });
            }
        });
        println!("> done");
    }
}

#[test]
fn many_connections_of_many_processes_may_be_the_first_to_open_a_ledger() {
    let dir = tempfile::tempdir().unwrap();
    let rounds = std::env::var(ROUNDS).map_or(60, |rounds| rounds.parse().unwrap());
    let mut children: Vec<_> = (0..OPENERS)
        .map(|_| {
            let mut command = start(&std::env::current_exe().unwrap(), "first", dir.path());
            let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
            let lines = BufReader::new(child.stdout.take().unwrap()).lines();
            (child, lines)
        })
        .collect();
    // What each child says up to the line `end`.
    let until = |lines: &mut std::io::Lines<BufReader<std::process::ChildStdout>>, end: &str| {
        let said = lines.map(|line| line.unwrap()).filter_map(|line| Some(line.split_once("> ")?.1.to_owned()));
        said.take_while(|line| line != end).collect::<Vec<_>>()
    };
    for (_, lines) in &mut children {
        until(lines, "ready");
    }
    let mut failed = Vec::new();
    for round in 0..rounds {
        for (child, _) in &mut children {
            writeln!(child.stdin.as_ref().unwrap(), "{round}").unwrap();
        }
        for (_, lines) in &mut children {
            failed.extend(until(lines, "done").into_iter().filter(|line| line != "begun"));
        }
        let proof = ledger(&dir.path().join(round.to_string())).verify(None).unwrap().unwrap();
        if proof.intents != (OPENERS * CONNECTIONS) as u64 {
            failed.push(format!("round {round}: {} intents are there", proof.intents));
        }
    }
    for (mut child, _) in children {
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(failed, [""; 0]);
    println!("rounds: {rounds}, connections: {}, failed: 0, lost: 0", rounds * OPENERS * CONNECTIONS);
}

/// The merchant: it settles an idempotency key once and keeps count in a file of its own.
fn merchant(dir: &Path, key: &str) {
    let path = dir.join(format!("merchant-{key}"));
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(_) => println!("> charged {key}"),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists),
    }
}

/// Buys one and the same thing until it is told that it is bought.
fn buy_the_same(dir: &Path) {
    let ledger = ledger(dir);
    loop {
        match ledger.begin(&purchase(9_99, "the same"), Some(&Policy::default())).unwrap() {
            Begun::New(mut claim) | Begun::Resume(mut claim) => {
                let _alone = OpenOptions::new().write(true).create_new(true).open(dir.join("driving")).unwrap();
                if !claim.intent().state.is_in_flight() {
                    authorize(&mut claim);
                }
                claim.presenting("p").unwrap();
                merchant(dir, &claim.intent().idempotency_key);
                std::thread::sleep(Duration::from_millis(3));
                std::fs::remove_file(dir.join("driving")).unwrap();
                // The first attempts lose the answer.
                if claim.intent().attempts < 4 {
                    claim.unknown("timeout", "no answer").unwrap();
                } else {
                    claim.settled(&settlement()).unwrap();
                }
            }
            Begun::InProgress(_) => std::thread::sleep(Duration::from_millis(1)),
            Begun::Replay(intent) => return println!("> bought {}", intent.idempotency_key),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn eight_processes_buy_the_same_thing_once() {
    let dir = tempfile::tempdir().unwrap();
    let children: Vec<_> = (0..8).map(|_| spawn("same", dir.path())).collect();
    let said: Vec<_> = children.into_iter().flat_map(said).collect();
    let charged: Vec<_> = said.iter().filter(|line| line.starts_with("charged")).collect();
    let bought: std::collections::HashSet<_> = said.iter().filter(|line| line.starts_with("bought")).collect();
    assert_eq!((charged.len(), bought.len()), (1, 1), "{said:?}");
    assert_eq!(ledger(dir.path()).list(&Filter::default()).unwrap().intents.len(), 1);
    println!("processes: 8, charges: 1, double charges: 0");
}

const STOPS: [&str; 6] = ["begun", "offers", "consent", "mandate", "presenting", "charged"];

/// Goes through a payment and waits to be killed at `stop`.
fn stop_at(dir: &Path, stop: &str) {
    let ledger = ledger(dir);
    let at = |point: &str| {
        if point == stop {
            println!("> at {point}");
            std::io::stdout().flush().unwrap();
            loop {
                std::thread::park();
            }
        }
    };
    let Begun::New(mut claim) = ledger.begin(&purchase(9_99, "a"), Some(&Policy::default())).unwrap() else { panic!() };
    at("begun");
    claim.offers_verified(spend_guard::Offers::Verified { digest: "d" }).unwrap();
    at("offers");
    claim.consent_pending("https://wallet.example/consent", START + 900).unwrap();
    at("consent");
    authorize(&mut claim);
    at("mandate");
    claim.presenting("p").unwrap();
    at("presenting");
    merchant(dir, &claim.intent().idempotency_key);
    at("charged");
    panic!("not killed");
}

#[test]
fn a_process_killed_at_any_step_leaves_a_payment_that_goes_on() {
    for stop in STOPS {
        let dir = tempfile::tempdir().unwrap();
        let mut child = spawn(&format!("stop {stop}"), dir.path());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        while !lines.next().unwrap().unwrap().contains(&format!("> at {stop}")) {}
        let ledger = ledger(dir.path());
        assert!(
            matches!(ledger.begin(&purchase(9_99, "a"), None).unwrap(), Begun::InProgress(_)),
            "while it lives, nobody else drives its intent"
        );
        child.kill().unwrap();
        child.wait().unwrap();
        let Begun::Resume(mut claim) = ledger.begin(&purchase(9_99, "a"), Some(&Policy::default())).unwrap() else {
            panic!("{stop}")
        };
        let wanted = match stop {
            "mandate" => State::Authorized,
            "presenting" | "charged" => State::Charging,
            _ => State::Created,
        };
        assert_eq!(claim.intent().state, wanted, "{stop}");
        if wanted == State::Created {
            authorize(&mut claim);
        }
        assert_eq!(ledger.artefact(&claim.intent().id, Artefact::Mandate).unwrap().unwrap(), "jwt~disclosure~");
        claim.presenting("p2").unwrap();
        merchant(dir.path(), &claim.intent().idempotency_key);
        claim.settled(&settlement()).unwrap();
        let charges = std::fs::read_dir(dir.path())
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("merchant-"));
        assert_eq!(charges.count(), 1, "{stop}");
        assert!(ledger.budgets(&Policy::default()).unwrap().iter().all(|budget| budget.reserved_minor == 0));
        assert!(ledger.verify(None).unwrap().is_ok());
    }
    println!("kills: {}, double charges: 0, stuck reservations: 0", STOPS.len());
}

fn pay_forever(dir: &Path) {
    let ledger = ledger(dir);
    println!("> started");
    for n in 0.. {
        settle(match ledger.begin(&purchase(1, &format!("{} {n}", std::process::id())), None).unwrap() {
            Begun::New(claim) => claim,
            other => panic!("{other:?}"),
        });
        println!("> settled");
    }
}

#[test]
fn a_process_killed_at_any_moment_leaves_a_whole_ledger() {
    let dir = tempfile::tempdir().unwrap();
    let (mut kills, mut told) = (0, 0u64);
    for n in 0..24 {
        let mut child = spawn("forever", dir.path());
        let mut reader = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("> started") {
            line.clear();
            reader.read_line(&mut line).unwrap();
        }
        std::thread::sleep(Duration::from_micros(1_000 + n * 1_713));
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        told += reader.lines().map_while(Result::ok).filter(|line| line.contains("> settled")).count() as u64;
        let ledger = ledger(dir.path());
        assert!(ledger.verify(None).unwrap().is_ok(), "after kill {n}");
        let open = Filter { open: Some(true), limit: Filter::MOST, ..Filter::default() };
        for intent in ledger.list(&open).unwrap().intents {
            let Begun::Resume(mut claim) = ledger.resume(&intent.id, None).unwrap() else { panic!() };
            if intent.state == State::Created {
                authorize(&mut claim);
            }
            claim.presenting("p").unwrap();
            claim.settled(&settlement()).unwrap();
        }
    }
    let ledger = ledger(dir.path());
    let proof = ledger.verify(None).unwrap().unwrap();
    let day = ledger.budgets(&Policy::default()).unwrap().into_iter().find(|b| b.rule == "currency.EUR.day").unwrap();
    assert_eq!((day.settled_minor, day.reserved_minor), (proof.intents, 0));
    assert!(proof.intents >= told, "what was told as settled is settled");
    println!("kills: {kills}, payments: {}, told as settled: {told}, lost payments: 0", proof.intents);
}

/// One purchase, and how it went.
fn begin_once(dir: &Path) -> &'static str {
    match ledger(dir).begin(&purchase(1, &std::process::id().to_string()), None) {
        Ok(Begun::New(_)) => "new",
        Ok(_) => "other",
        Err(LedgerError::ReadOnly { .. }) => "read-only",
        Err(LedgerError::Full { .. }) => "full",
        Err(LedgerError::Corrupt { .. }) => "corrupt",
        Err(error) => panic!("{error:?}"),
    }
}

#[test]
fn a_directory_that_cannot_be_written_stops_payments() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
    use std::os::unix::process::CommandExt as _;
    const NOBODY: u32 = 65534;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let is_root = std::fs::metadata(path).unwrap().uid() == 0;
    // Root may write anywhere, so the child is somebody else, and gets a copy of this program that it may run.
    let program = path.join("program");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let run = || {
        let mut command = start(&program, "once", path);
        if is_root {
            command.uid(NOBODY).gid(NOBODY);
        }
        // A test beside this one may have forked while the copy was being written, and holds it open until it runs its own.
        let child = loop {
            match command.spawn() {
                Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => std::thread::yield_now(),
                child => break child.unwrap(),
            }
        };
        said(child)
    };
    let mode = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    let give = |path: &Path| {
        if is_root {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    };
    mode(&program, 0o755);
    give(path);
    mode(path, 0o500);
    assert_eq!(run(), ["read-only"], "the data directory cannot be made");
    mode(path, 0o700);
    assert_eq!(run(), ["new"]);
    let data = path.join("data");
    let without_log = || {
        for file in ["ledger.sqlite3-wal", "ledger.sqlite3-shm"] {
            let _ = std::fs::remove_file(data.join(file));
        }
    };
    without_log();
    mode(&data, 0o500);
    assert_eq!(run(), ["read-only"], "the log cannot be made");
    mode(&data, 0o700);
    mode(&data.join("ledger.sqlite3"), 0o400);
    assert_eq!(run(), ["read-only"], "the file cannot be written");
    without_log();
    mode(&data.join("ledger.sqlite3"), 0o600);
    assert_eq!(run(), ["new"]);
}

#[test]
fn a_limit_on_file_sizes_stops_payments_and_damages_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let program = std::env::current_exe().unwrap();
    let mut outcomes = Vec::new();
    for kib in [0, 1, 8, 40, 60, 64, 80, 100, 120, 160] {
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' XFSZ; ulimit -f $0; exec \"$1\" --exact child --nocapture --test-threads 1"]);
        // In units of 512 octets.
        command.arg((kib * 2).to_string()).arg(&program);
        command.env(JOB, "once").env(DIR, dir.path()).stdin(Stdio::null()).stdout(Stdio::piped());
        outcomes.extend(said(command.spawn().unwrap()));
    }
    assert!(outcomes.iter().all(|outcome| ["full", "new"].contains(&outcome.as_str())), "{outcomes:?}");
    assert!(
        outcomes.iter().any(|outcome| outcome == "full") && outcomes.iter().any(|outcome| outcome == "new"),
        "{outcomes:?}"
    );
    let proof = ledger(dir.path()).verify(None).unwrap().unwrap();
    assert_eq!(proof.intents, outcomes.iter().filter(|outcome| *outcome == "new").count() as u64);
    println!("limits: {}, refused: {}", outcomes.len(), outcomes.iter().filter(|outcome| *outcome == "full").count());
}
