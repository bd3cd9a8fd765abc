//! The proof of the ledger: what it finds when somebody edits the file.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Bench, bench, claim, purchase};
use rusqlite::Connection;
use spend_guard::{Artefact, Broken, Policy};

/// A ledger with something of everything, and a second handle on its file.
fn filled() -> (Bench, Connection) {
    let bench = bench();
    let policy = Policy::default();
    for n in 0..4 {
        bench.clock.advance(7);
        let paid = bench.pay(&purchase(10_00 + n, &n.to_string()), Some(&policy));
        bench.ledger.attach(&paid.id, Artefact::Attachment, "a note").unwrap();
    }
    bench.ledger.freeze().unwrap();
    bench.ledger.unfreeze().unwrap();
    drop(claim(bench.ledger.begin(&purchase(20_00, "reserved"), Some(&policy)).unwrap()));
    let sql = Connection::open(bench.file()).unwrap();
    (bench, sql)
}

fn kind(broken: &Broken) -> &'static str {
    match broken {
        Broken::Gap { .. } => "gap",
        Broken::Entry { what, .. } => what,
        Broken::Head { .. } => "head",
        Broken::Intent(_) => "intent",
        Broken::Artefact(_) => "artefact",
        Broken::Totals { what, .. } => what,
        _ => "other",
    }
}

#[test]
fn a_ledger_that_nobody_touched_is_whole() {
    let (bench, _sql) = filled();
    let proof = bench.ledger.verify(None).unwrap().unwrap();
    assert_eq!((proof.intents, proof.artefacts), (5, 4 * 4));
    assert_eq!(bench.ledger.head().unwrap(), proof.head);
    // An older head stays true while the ledger grows.
    bench.pay(&purchase(1, "later"), None);
    assert!(bench.ledger.verify(Some(&proof.head)).unwrap().is_ok());
    assert!(common::bench().ledger.verify(None).unwrap().is_ok(), "an empty one is whole, too");
}

#[test]
fn every_edit_is_found() {
    // What is done to the file, and what is said about it.
    let table = [
        ("UPDATE journal SET entry = replace(entry, '\"begin\"', '\"beg1n\"') WHERE event = 'begin'", "hash"),
        (
            "UPDATE journal SET entry_hash = iif(substr(entry_hash, 1, 1) = 'A', 'B', 'A') || substr(entry_hash, 2) WHERE seq = 3",
            "hash",
        ),
        ("UPDATE journal SET at = at + 1 WHERE seq = 2", "column"),
        ("UPDATE journal SET event = 'settle' WHERE seq = 2", "column"),
        ("UPDATE journal SET intent_id = NULL WHERE seq = 2", "column"),
        ("DELETE FROM journal WHERE seq = 1", "gap"),
        ("DELETE FROM journal WHERE seq = 9", "gap"),
        ("UPDATE journal SET seq = seq + 1000 WHERE seq > 20", "gap"),
        ("UPDATE journal SET seq = -1 WHERE seq = 1", "gap"),
        (
            "UPDATE journal SET seq = 1000 WHERE seq = 5; UPDATE journal SET seq = 5 WHERE seq = 6;
             UPDATE journal SET seq = 6 WHERE seq = 1000",
            "form",
        ),
        ("DELETE FROM journal WHERE seq = (SELECT max(seq) FROM journal)", "intent"),
        ("DELETE FROM journal", "intent"),
        ("UPDATE intents SET body = replace(body, '\"amount_minor\":1000', '\"amount_minor\":1')", "intent"),
        ("UPDATE intents SET body = body || ' ' WHERE seq = 2", "intent"),
        ("UPDATE intents SET body = 'x' WHERE seq = 2", "intent"),
        ("UPDATE intents SET state = 'failed' WHERE seq = 2", "intent"),
        ("UPDATE intents SET open = 1 WHERE seq = 2", "intent"),
        ("UPDATE intents SET identity = 'x' WHERE seq = 2", "intent"),
        ("UPDATE intents SET merchant = 'x' WHERE seq = 2", "intent"),
        ("UPDATE intents SET mandate_id = 'x' WHERE seq = 2", "intent"),
        ("UPDATE intents SET idempotency_key = 'x' WHERE seq = 2", "intent"),
        ("UPDATE intents SET expires_at = 1 WHERE state = 'created'", "intent"),
        ("UPDATE intents SET declared = 'x' WHERE seq = 2", "intent"),
        ("UPDATE intents SET id = 'x' WHERE state = 'created'", "intent"),
        ("DELETE FROM intents WHERE state = 'created'", "intent"),
        (
            "INSERT INTO intents SELECT 99, 'x', 'x', state, 0, merchant, NULL, NULL, 'x', NULL, body FROM intents WHERE seq = 1",
            "intent",
        ),
        ("UPDATE artefacts SET content = content || 'x' WHERE seq = 3", "artefact"),
        ("UPDATE artefacts SET at = at + 1 WHERE seq = 3", "artefact"),
        ("UPDATE artefacts SET name = 'offers' WHERE seq = 3", "artefact"),
        ("DELETE FROM artefacts WHERE seq = (SELECT max(seq) FROM artefacts)", "artefact"),
        ("INSERT INTO artefacts SELECT 99, intent_id, name, at, content FROM artefacts WHERE seq = 1", "artefact"),
        ("UPDATE series SET reserved_minor = reserved_minor - 1 WHERE merchant = ''", "reserved_minor"),
        ("UPDATE series SET reserved_minor = 0 WHERE merchant <> ''", "reserved_minor"),
        ("UPDATE totals SET settled_minor = settled_minor - 1", "settled_minor"),
        ("UPDATE totals SET settled_count = 0 WHERE at = (SELECT max(at) FROM totals)", "settled_count"),
        ("UPDATE totals SET begun_count = begun_count - 1 WHERE at = (SELECT max(at) FROM totals)", "totals"),
        ("UPDATE series SET settled_minor = 0", "totals"),
        ("UPDATE series SET settled_count = 0", "totals"),
        ("UPDATE series SET begun_count = 0", "totals"),
        ("UPDATE series SET newest_at = 0", "totals"),
        ("UPDATE totals SET at = at - 100000", "settled_minor"),
        ("DELETE FROM totals WHERE at = (SELECT max(at) FROM totals WHERE settled_count > 0)", "totals"),
        ("DELETE FROM totals", "totals"),
        ("DELETE FROM series", "row"),
        ("UPDATE series SET currency = 'USD'", "row"),
    ];
    for (edit, wanted) in table {
        let (bench, sql) = filled();
        sql.pragma_update(None, "foreign_keys", false).unwrap();
        sql.execute_batch(edit).unwrap();
        match bench.ledger.verify(None).unwrap() {
            Ok(_) => panic!("not found: {edit}"),
            Err(broken) => assert_eq!(kind(&broken), wanted, "{edit}: {broken}"),
        }
    }
    println!("edits found: {}", table.len());
}

#[test]
fn a_chain_that_was_cut_or_written_anew_is_found_by_its_kept_head() {
    let (bench, sql) = filled();
    let kept = bench.ledger.head().unwrap();
    // Undo the newest intent with everything that tells of it.
    sql.pragma_update(None, "foreign_keys", false).unwrap();
    sql.execute_batch(
        "DELETE FROM journal WHERE intent_id = (SELECT id FROM intents WHERE state = 'created');
         DELETE FROM intents WHERE state = 'created'; UPDATE series SET reserved_minor = 0;",
    )
    .unwrap();
    assert!(bench.ledger.verify(None).unwrap().is_ok(), "by itself it looks whole");
    assert_eq!(bench.ledger.verify(Some(&kept)).unwrap(), Err(Broken::Head { seq: kept.seq }));
}

#[test]
fn entries_hash_as_the_audit_chain_does() {
    let (_bench, sql) = filled();
    let mut statement = sql.prepare("SELECT entry, entry_hash FROM journal ORDER BY seq").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))).unwrap();
    let mut prev_hash = jose::base64url::encode(&[0; 32]);
    for row in rows {
        let (entry, entry_hash) = row.unwrap();
        let value: serde_json::Value = serde_json::from_str(&entry).unwrap();
        assert_eq!(value["prev_hash"], prev_hash);
        let canonical = serde_json_canonicalizer::to_vec(&value).unwrap();
        assert_eq!(canonical, entry.as_bytes(), "stored as it is hashed");
        prev_hash = jose::base64url::encode(&jose::sha256(&canonical));
        assert_eq!(entry_hash, prev_hash);
    }
}
