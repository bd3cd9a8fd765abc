//! The head kept outside the ledger: an older copy or a rewritten ledger stops payments until a person accepts it.
#![allow(clippy::unwrap_used, reason = "tests")]
#![cfg(unix)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{Bench, bench, claim, purchase, settle};
use spend_guard::{Begun, Broken, Head, Ledger, LedgerError};

fn state(bench: &Bench) -> PathBuf {
    bench.dir.path().join("state/program")
}

/// The ledger as a process opens it that keeps heads.
fn open(bench: &Bench) -> Ledger {
    bench.reopened().with_head_in(state(bench))
}

fn pay(bench: &Bench, name: &str) {
    settle(claim(open(bench).begin(&purchase(1_00, name), None).unwrap()));
}

fn head_file(bench: &Bench) -> PathBuf {
    let files: Vec<_> = fs::read_dir(state(bench)).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}

fn kept(bench: &Bench) -> Head {
    serde_json::from_slice(&fs::read(head_file(bench)).unwrap()).unwrap()
}

fn copy(from: &Path, to: &Path) {
    fs::copy(from, to).unwrap();
}

#[test]
fn every_commit_keeps_its_head_in_a_private_file_elsewhere() {
    let bench = bench();
    pay(&bench, "a");
    assert_eq!(kept(&bench), open(&bench).head().unwrap());
    pay(&bench, "b");
    assert_eq!(kept(&bench), open(&bench).head().unwrap());
    assert_eq!(open(&bench).kept_head().unwrap(), Some((kept(&bench), true)));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&head_file(&bench)), mode(&state(&bench))), (0o600, 0o700));
}

#[test]
fn an_older_copy_stops_payments_until_it_is_accepted_and_may_be_frozen() {
    let bench = bench();
    pay(&bench, "a");
    let older = bench.dir.path().join("older");
    copy(&bench.file(), &older);
    pay(&bench, "b");
    let newest = kept(&bench);
    copy(&older, &bench.file());

    let found = open(&bench).head().unwrap().seq;
    for name in ["a", "b", "c"] {
        let refused = open(&bench).begin(&purchase(1_00, name), None).unwrap_err();
        assert!(
            matches!(refused, LedgerError::RolledBack { kept, found: is, .. } if (kept, is) == (newest.seq, found)),
            "{refused}"
        );
        let said = refused.to_string();
        assert!(said.contains(&newest.seq.to_string()) && said.contains(&found.to_string()), "{said}");
    }
    assert_eq!(open(&bench).verify(None).unwrap(), Err(Broken::Head { seq: newest.seq }));
    assert_eq!(open(&bench).kept_head().unwrap(), Some((newest.clone(), false)));
    assert_eq!(kept(&bench), newest, "nothing of this made it older");
    open(&bench).freeze().unwrap();
    assert!(open(&bench).is_frozen().unwrap());
    assert_eq!(kept(&bench), newest);

    open(&bench).accept().unwrap();
    open(&bench).unfreeze().unwrap();
    assert!(matches!(open(&bench).begin(&purchase(1_00, "a"), None).unwrap(), Begun::Replay(_)));
    pay(&bench, "c");
    assert_eq!(kept(&bench), open(&bench).head().unwrap());
    assert!(open(&bench).verify(None).unwrap().is_ok());
    let sql = rusqlite::Connection::open(bench.file()).unwrap();
    let entry: String =
        sql.query_row("SELECT entry FROM journal WHERE event = 'accept'", [], |row| row.get(0)).unwrap();
    assert!(entry.contains(&newest.entry_hash), "what was given up is recorded: {entry}");
}

#[test]
fn a_rewritten_ledger_of_the_same_length_or_longer_is_found() {
    let bench = bench();
    pay(&bench, "a");
    let newest = kept(&bench);
    let other = common::bench();
    for name in ["a", "b"] {
        common::settle(claim(other.ledger.begin(&purchase(1_00, name), None).unwrap()));
        copy_whole(&other, &bench);
        let refused = open(&bench).begin(&purchase(1_00, "c"), None).unwrap_err();
        assert!(matches!(refused, LedgerError::RolledBack { kept, .. } if kept == newest.seq), "{refused}");
    }
}

#[test]
fn a_freeze_makes_no_rewritten_ledger_the_kept_one() {
    let bench = bench();
    pay(&bench, "a");
    let newest = kept(&bench);
    let other = common::bench();
    for name in ["a", "b"] {
        common::settle(claim(other.ledger.begin(&purchase(1_00, name), None).unwrap()));
    }
    copy_whole(&other, &bench);
    open(&bench).freeze().unwrap();
    assert_eq!(kept(&bench), newest);
    let refused = open(&bench).begin(&purchase(1_00, "c"), None).unwrap_err();
    assert!(matches!(refused, LedgerError::RolledBack { kept, .. } if kept == newest.seq), "{refused}");
}

#[test]
fn a_copy_from_before_a_freeze_does_not_end_it() {
    let bench = bench();
    pay(&bench, "a");
    let older = bench.dir.path().join("older");
    copy(&bench.file(), &older);
    open(&bench).freeze().unwrap();
    assert_eq!(kept(&bench), open(&bench).head().unwrap());
    copy(&older, &bench.file());
    assert!(matches!(open(&bench).begin(&purchase(1_00, "b"), None), Err(LedgerError::RolledBack { .. })));
}

fn copy_whole(from: &Bench, to: &Bench) {
    let sql = rusqlite::Connection::open(from.file()).unwrap();
    sql.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    copy(&from.file(), &to.file());
}

#[test]
fn a_ledger_that_is_gone_is_an_older_one_too() {
    let bench = bench();
    pay(&bench, "a");
    fs::remove_dir_all(bench.dir.path().join("data")).unwrap();
    let refused = open(&bench).begin(&purchase(1_00, "a"), None).unwrap_err();
    assert!(matches!(refused, LedgerError::RolledBack { found: 0, .. }), "{refused}");
    assert!(matches!(open(&bench).verify(None).unwrap(), Err(Broken::Head { .. })));
    open(&bench).accept().unwrap();
    pay(&bench, "a");
}

#[test]
fn a_copy_elsewhere_is_taken_as_it_is_and_two_ledgers_never_mix() {
    let bench = bench();
    pay(&bench, "a");
    let moved = bench.dir.path().join("moved");
    fs::create_dir(&moved).unwrap();
    fs::set_permissions(&moved, fs::Permissions::from_mode(0o700)).unwrap();
    copy(&bench.file(), &moved.join("ledger.sqlite3"));
    pay(&bench, "b");
    let there = Ledger::new(&moved, Arc::new(bench.clock.clone())).with_head_in(state(&bench));
    settle(claim(there.begin(&purchase(1_00, "c"), None).unwrap()));
    pay(&bench, "d");
    settle(claim(there.begin(&purchase(1_00, "e"), None).unwrap()));
    assert_eq!(fs::read_dir(state(&bench)).unwrap().count(), 2);
}

#[test]
fn a_damaged_head_stops_payments_and_an_empty_one_is_none() {
    let bench = bench();
    pay(&bench, "a");
    fs::write(head_file(&bench), "{").unwrap();
    assert!(matches!(open(&bench).begin(&purchase(1, "b"), None), Err(LedgerError::HeadUnusable { .. })));
    assert_eq!(fs::read(head_file(&bench)).unwrap(), b"{");
    open(&bench).accept().unwrap();
    pay(&bench, "b");
    // A loss of power may leave this.
    fs::write(head_file(&bench), "").unwrap();
    pay(&bench, "c");
    assert_eq!(kept(&bench), open(&bench).head().unwrap());
}

#[test]
fn a_ledger_newer_than_its_head_goes_on_and_a_slow_process_keeps_no_older_head() {
    let bench = bench();
    pay(&bench, "a");
    let older = fs::read(head_file(&bench)).unwrap();
    pay(&bench, "b");
    // A process that died between its commit and keeping the head.
    fs::write(head_file(&bench), older).unwrap();
    pay(&bench, "c");
    std::thread::scope(|scope| {
        for n in 0..8 {
            let bench = &bench;
            scope.spawn(move || {
                for m in 0..10 {
                    pay(bench, &format!("{n} {m}"));
                }
            });
        }
    });
    assert_eq!(kept(&bench), open(&bench).head().unwrap());
}

#[test]
fn a_place_that_cannot_be_written_stops_no_payment() {
    let bench = bench();
    fs::write(bench.dir.path().join("state"), "a file").unwrap();
    pay(&bench, "a");
}
