//! The files: modes, versions, damage, and directories that cannot be written.
#![allow(clippy::unwrap_used, reason = "tests")]
#![cfg(unix)]

mod common;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use common::{bench, claim, purchase};
use spend_guard::{Begun, LedgerError};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn making_a_ledger_touches_no_file() {
    let bench = bench();
    assert!(!bench.dir.path().join("data").exists());
}

#[test]
fn everything_it_makes_is_private() {
    let bench = bench();
    let open = claim(bench.ledger.begin(&purchase(1, "a"), None).unwrap());
    let mut seen = 0;
    let mut dirs = vec![bench.dir.path().join("data")];
    while let Some(dir) = dirs.pop() {
        assert_eq!(mode(&dir), 0o700, "{}", dir.display());
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            seen += 1;
            if path.is_dir() {
                dirs.push(path);
            } else {
                assert_eq!(mode(&path), 0o600, "{}", path.display());
            }
        }
    }
    assert!(seen >= 4, "ledger, its log and index, a lock");
    drop(open);
}

#[test]
fn modes_that_let_others_in_are_refused_with_the_command_that_mends_them() {
    let bench = bench();
    bench.pay(&purchase(1, "a"), None);
    let (dir, file) = (bench.dir.path().join("data"), bench.file());
    for (path, wide, right) in
        [(&dir, 0o755, 0o700), (&dir, 0o710, 0o700), (&file, 0o644, 0o600), (&file, 0o620, 0o600)]
    {
        set_mode(path, wide);
        let error = bench.reopened().begin(&purchase(1, "b"), None).unwrap_err();
        assert!(matches!(&error, LedgerError::TooOpen { mode, wanted, .. } if (*mode, *wanted) == (wide, right)));
        assert!(error.to_string().contains(&format!("chmod {right:o} {}", path.display())), "{error}");
        set_mode(path, right);
    }
    assert!(matches!(bench.reopened().begin(&purchase(1, "a"), None).unwrap(), Begun::Replay(_)));
}

#[test]
fn a_ledger_of_a_newer_version_is_left_alone() {
    let bench = bench();
    bench.pay(&purchase(1, "a"), None);
    let sql = rusqlite::Connection::open(bench.file()).unwrap();
    sql.pragma_update(None, "user_version", 99).unwrap();
    assert!(matches!(
        bench.reopened().begin(&purchase(1, "a"), None),
        Err(LedgerError::NewerVersion { found: 99, supported: 2, .. })
    ));
    sql.pragma_update(None, "user_version", 2).unwrap();
    assert!(matches!(bench.reopened().begin(&purchase(1, "a"), None).unwrap(), Begun::Replay(_)));
}

#[test]
fn a_damaged_ledger_stops_payments() {
    type Damage = fn(&mut Vec<u8>);
    let damage: [(&str, Damage); 4] = [
        ("no database", |bytes| bytes[..16].copy_from_slice(b"not a database!!")),
        ("pages overwritten", |bytes| bytes[100..].fill(0xa5)),
        ("cut short", |bytes| bytes.truncate(5000)),
        ("text", |bytes| *bytes = b"hello".repeat(100)),
    ];
    for (what, damage) in damage {
        let bench = bench();
        bench.pay(&purchase(1, "a"), None);
        // Another program's handle, so that the log is written back and the file is whole before it is damaged.
        let sql = rusqlite::Connection::open(bench.file()).unwrap();
        sql.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        drop(sql);
        let mut bytes = fs::read(bench.file()).unwrap();
        damage(&mut bytes);
        let copy = common::bench();
        fs::create_dir(copy.dir.path().join("data")).unwrap();
        set_mode(&copy.dir.path().join("data"), 0o700);
        fs::write(copy.file(), bytes).unwrap();
        set_mode(&copy.file(), 0o600);
        let error = copy.ledger.begin(&purchase(2, "b"), None).unwrap_err();
        assert!(matches!(error, LedgerError::Corrupt { .. }), "{what}: {error:?}");
    }
}

#[test]
fn another_programs_database_is_left_alone() {
    let bench = bench();
    fs::create_dir(bench.dir.path().join("data")).unwrap();
    set_mode(&bench.dir.path().join("data"), 0o700);
    let sql = rusqlite::Connection::open(bench.file()).unwrap();
    sql.execute_batch("CREATE TABLE notes (text)").unwrap();
    set_mode(&bench.file(), 0o600);
    assert!(matches!(bench.ledger.begin(&purchase(1, "a"), None), Err(LedgerError::Corrupt { .. })));
    let tables: i64 = sql.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
    assert_eq!(tables, 1);
}

#[test]
fn an_empty_file_becomes_a_ledger() {
    let bench = bench();
    fs::create_dir(bench.dir.path().join("data")).unwrap();
    set_mode(&bench.dir.path().join("data"), 0o700);
    fs::write(bench.file(), b"").unwrap();
    set_mode(&bench.file(), 0o600);
    bench.pay(&purchase(1, "a"), None);
}

#[test]
fn a_file_where_the_directory_should_be_is_an_error() {
    let bench = bench();
    fs::write(bench.dir.path().join("data"), b"").unwrap();
    assert!(matches!(bench.ledger.begin(&purchase(1, "a"), None), Err(LedgerError::Io { .. })));
}

/// Every file under the directory, with its content.
fn content(bench: &common::Bench) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let (mut found, mut dirs) = (Vec::new(), vec![bench.dir.path().to_owned()]);
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => dirs.push(path.clone()),
                false => found.push((path.clone(), fs::read(&path).unwrap())),
            }
        }
    }
    // What SQLite rebuilds from the log at every opening.
    found.retain(|(path, _)| !path.to_string_lossy().ends_with("-shm"));
    found.sort();
    found
}

fn read_everything(ledger: &spend_guard::Ledger) {
    use spend_guard::{Filter, Policy};
    let policy = Policy::default();
    ledger.is_frozen().unwrap();
    ledger.rules_in_force().unwrap();
    ledger.budgets(&policy).unwrap();
    ledger.simulate(&purchase(1, "s"), &policy).unwrap();
    ledger.find(&purchase(1, "s"), None).unwrap();
    ledger.find_declared("s").unwrap();
    ledger.alerts(10).unwrap();
    ledger.head().unwrap();
    ledger.kept_head().unwrap();
    ledger.now().unwrap();
    ledger.list(&Filter::default()).unwrap();
    ledger.verify(None).unwrap().unwrap();
}

#[test]
fn reading_makes_no_file_and_changes_none() {
    let bench = bench();
    let head = bench.dir.path().join("state");
    let reader = || bench.reopened().with_head_in(&head);
    read_everything(&reader());
    assert_eq!(content(&bench), [], "where there is no ledger");
    assert!(!bench.dir.path().join("data").exists() && !head.exists());

    let writer = reader();
    common::settle(claim(writer.begin(&purchase(1, "a"), None).unwrap()));
    let while_open = content(&bench);
    assert!(while_open.iter().any(|(path, log)| path.ends_with("ledger.sqlite3-wal") && !log.is_empty()));
    read_everything(&reader());
    assert_eq!(content(&bench), while_open, "while another process writes");

    // The log that a killed process leaves.
    let killed = common::bench();
    fs::create_dir_all(killed.dir.path().join("data/locks")).unwrap();
    set_mode(&killed.dir.path().join("data"), 0o700);
    for (path, octets) in &while_open {
        let copy = killed.dir.path().join(path.strip_prefix(bench.dir.path()).unwrap());
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::write(&copy, octets).unwrap();
        set_mode(&copy, 0o600);
    }
    let before = content(&killed);
    read_everything(&killed.ledger.clone());
    drop(killed.ledger.clone());
    let reopened = killed.reopened();
    read_everything(&reopened);
    drop(reopened);
    assert_eq!(content(&killed), before, "after a process was killed");
    assert!(matches!(killed.reopened().begin(&purchase(1, "a"), None).unwrap(), Begun::Replay(_)), "nothing was lost");

    drop(writer);
    let closed = content(&bench);
    read_everything(&reader());
    assert_eq!(content(&bench), closed, "while no process has it open");
}

#[test]
fn one_ledger_reads_and_then_writes() {
    let bench = bench();
    read_everything(&bench.ledger);
    bench.pay(&purchase(1, "a"), None);
    read_everything(&bench.ledger);
    let reopened = bench.reopened();
    read_everything(&reopened);
    common::settle(claim(reopened.begin(&purchase(1, "b"), None).unwrap()));
    assert_eq!(bench.ledger.verify(None).unwrap().unwrap().intents, 2);
}

#[test]
fn an_older_version_is_read_without_being_changed() {
    let bench = bench();
    fs::create_dir(bench.dir.path().join("data")).unwrap();
    set_mode(&bench.dir.path().join("data"), 0o700);
    // Version 0 is the oldest: a file in which no script has run yet.
    let sql = rusqlite::Connection::open(bench.file()).unwrap();
    sql.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (x); DROP TABLE t").unwrap();
    drop(sql);
    set_mode(&bench.file(), 0o600);
    let before = content(&bench);
    read_everything(&bench.reopened());
    assert_eq!(content(&bench), before);
    bench.pay(&purchase(1, "a"), None);
    read_everything(&bench.ledger);
}

#[test]
fn a_log_without_its_ledger_stops_payments() {
    let bench = bench();
    bench.pay(&purchase(1, "a"), None);
    fs::remove_file(bench.file()).unwrap();
    let error = bench.reopened().begin(&purchase(1, "a"), None).unwrap_err();
    assert!(matches!(&error, LedgerError::Corrupt { detail, .. } if detail.contains("its log")), "{error}");
    assert!(!bench.file().exists());
}

#[test]
fn no_error_recommends_an_older_copy() {
    let bench = bench();
    fs::create_dir(bench.dir.path().join("data")).unwrap();
    set_mode(&bench.dir.path().join("data"), 0o700);
    fs::write(bench.file(), b"hello".repeat(100)).unwrap();
    set_mode(&bench.file(), 0o600);
    let error = bench.ledger.begin(&purchase(2, "b"), None).unwrap_err().to_string();
    assert!(!error.contains("restore") && error.contains("let it be paid again"), "{error}");
}
