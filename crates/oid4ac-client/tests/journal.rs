//! The file journal survives a line that a crash cut short.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;

use oid4ac_client::{FileJournal, IdempotencyKey, Journal, Step};

#[test]
fn steps_are_read_back_and_a_torn_line_never_happened() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("journal");
    let key = IdempotencyKey::parse("a/b:c").unwrap();
    let journal = FileJournal::new(&folder, &key);
    assert_eq!(journal.progress().unwrap(), oid4ac_client::Progress::default());

    journal.record(Step::Presenting { presentation: "one".to_owned() }).unwrap();
    let mut text = fs::read_to_string(journal.path()).unwrap();
    text.push_str("{\"step\":\"presenting\",\"presen");
    fs::write(journal.path(), text).unwrap();
    let again = FileJournal::new(&folder, &key);
    assert_eq!(again.progress().unwrap().presentation.as_deref(), Some("one"));

    again.record(Step::Refused { status: 422, code: "mandate_expired".to_owned() }).unwrap();
    let progress = again.progress().unwrap();
    assert_eq!(progress.refused, Some((422, "mandate_expired".to_owned())));
    assert!(!progress.may_have_settled());
}

#[test]
fn a_damaged_journal_stops_the_payment() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("journal");
    let journal = FileJournal::new(&folder, &IdempotencyKey::parse("k").unwrap());
    journal.record(Step::Declined).unwrap();
    fs::write(journal.path(), "{\"step\":\"settled\"}\n").unwrap();
    assert!(journal.progress().is_err());
}
