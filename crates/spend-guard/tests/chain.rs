//! The proof of the ledger: what it finds when somebody edits the file.
#![allow(clippy::inconsistent_digit_grouping, reason = "major units _ cents")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Bench, bench, claim, declaration, purchase};
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
        Broken::Schema(_) => "schema",
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
        ("UPDATE totals SET begun_count = begun_count - 1 WHERE at = (SELECT max(at) FROM totals)", "begun_count"),
        ("UPDATE totals SET begun_count = 0", "begun_count"),
        ("UPDATE totals SET begun_count = 0; UPDATE series SET begun_count = 0", "begun_count"),
        (
            "UPDATE totals SET begun_count = begun_count + 1; UPDATE series SET begun_count = begun_count + 1",
            "begun_count",
        ),
        ("DELETE FROM totals WHERE at = (SELECT min(at) FROM totals)", "totals"),
        (
            "INSERT INTO totals SELECT series, at + 1, settled_minor, settled_count, begun_count, unresolved_minor FROM totals WHERE at = (SELECT min(at) FROM totals)",
            "totals",
        ),
        (
            "UPDATE series SET newest_at = newest_at + 1;
             UPDATE totals SET at = at + 1 WHERE at = (SELECT max(at) FROM totals)",
            "totals",
        ),
        ("UPDATE series SET newest_at = newest_at - 1", "newest_at"),
        ("UPDATE series SET settled_minor = 0", "totals"),
        ("UPDATE series SET settled_count = 0", "totals"),
        ("UPDATE series SET begun_count = 0", "totals"),
        ("UPDATE series SET newest_at = 0", "newest_at"),
        ("UPDATE totals SET at = at - 100000", "totals"),
        ("DELETE FROM totals WHERE at = (SELECT max(at) FROM totals WHERE settled_count > 0)", "totals"),
        ("DELETE FROM totals", "totals"),
        ("DELETE FROM series", "row"),
        ("UPDATE series SET currency = 'USD'", "row"),
        ("CREATE TRIGGER t BEFORE INSERT ON journal BEGIN SELECT RAISE(IGNORE); END", "schema"),
        ("CREATE VIEW v AS SELECT 1", "schema"),
        ("CREATE TABLE notes (text)", "schema"),
        ("CREATE INDEX i ON journal (at)", "schema"),
        ("DROP INDEX intents_open", "schema"),
        ("DROP INDEX intents_open; CREATE INDEX intents_open ON intents (identity) WHERE open = 1", "schema"),
        ("ALTER TABLE artefacts ADD COLUMN more TEXT", "schema"),
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

/// The same, with one that may have been paid, and after it one that was found not to have been.
fn filled_and_unresolved() -> (Bench, Connection) {
    use spend_guard::{ResolutionVerdict, ResolvedBy};
    let (bench, sql) = filled();
    for (amount, is_resolved) in [(5_00, false), (6_00, true)] {
        bench.clock.advance(5);
        let mut refused = claim(bench.ledger.begin(&purchase(amount, "refused"), None).unwrap());
        common::authorize(&mut refused);
        refused.presenting("p").unwrap();
        bench.clock.advance(5);
        refused.refused("offer_out_of_stock", "no").unwrap();
        if is_resolved {
            let by = ResolvedBy::Person { name: "kim".into(), reason: "asked".into() };
            bench.ledger.resolve(&refused.intent().id, &ResolutionVerdict::NotPaid, by).unwrap();
        }
    }
    bench.ledger.verify(None).unwrap().unwrap();
    (bench, sql)
}

#[test]
fn every_edit_of_what_may_have_been_paid_is_found() {
    let table = [
        ("UPDATE series SET unresolved_minor = 0", "totals"),
        ("UPDATE series SET unresolved_minor = unresolved_minor - 1 WHERE merchant = ''", "totals"),
        ("UPDATE totals SET unresolved_minor = 0", "unresolved_minor"),
        ("UPDATE totals SET unresolved_minor = 0; UPDATE series SET unresolved_minor = 0", "unresolved_minor"),
        (
            "UPDATE totals SET unresolved_minor = 1 WHERE unresolved_minor > 0;
             UPDATE series SET unresolved_minor = 1",
            "unresolved_minor",
        ),
        ("UPDATE totals SET unresolved_minor = 500 WHERE at = (SELECT min(at) FROM totals)", "unresolved_minor"),
        ("UPDATE totals SET unresolved_minor = 1100 WHERE at = (SELECT max(at) FROM totals)", "unresolved_minor"),
        ("DELETE FROM totals WHERE at = (SELECT min(at) FROM totals WHERE unresolved_minor > 0)", "totals"),
        ("UPDATE totals SET at = at - 1 WHERE at = (SELECT min(at) FROM totals WHERE unresolved_minor > 0)", "totals"),
        ("UPDATE intents SET body = replace(body, '\"unresolved_minor\":500', '\"unresolved_minor\":5')", "intent"),
        ("UPDATE intents SET body = json_remove(body, '$.resolution') WHERE state = 'failed'", "intent"),
        ("UPDATE intents SET state = 'unresolved' WHERE state = 'failed'", "intent"),
    ];
    for (edit, wanted) in table {
        let (bench, sql) = filled_and_unresolved();
        sql.execute_batch(edit).unwrap();
        match bench.ledger.verify(None).unwrap() {
            Ok(_) => panic!("not found: {edit}"),
            Err(broken) => assert_eq!(kind(&broken), wanted, "{edit}: {broken}"),
        }
    }
}

#[test]
fn a_chain_that_was_cut_or_written_anew_is_found_by_its_kept_head() {
    let (bench, sql) = filled();
    let kept = bench.ledger.head().unwrap();
    // Undo the newest intent with everything that tells of it.
    sql.pragma_update(None, "foreign_keys", false).unwrap();
    sql.execute_batch(
        "DELETE FROM journal WHERE intent_id = (SELECT id FROM intents WHERE state = 'created');
         DELETE FROM intents WHERE state = 'created';
         UPDATE series SET reserved_minor = 0, begun_count = begun_count - 1;
         UPDATE totals SET begun_count = begun_count - 1 WHERE at = (SELECT max(at) FROM totals);",
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

#[test]
fn a_planted_trigger_or_view_stops_payments_and_no_freeze_seems_to_work() {
    use spend_guard::LedgerError;
    let planted = [
        (
            "CREATE TRIGGER t BEFORE INSERT ON journal WHEN NEW.event = 'freeze' BEGIN SELECT RAISE(IGNORE); END",
            "trigger t",
        ),
        ("CREATE VIEW v AS SELECT 1", "view v"),
        ("DROP INDEX intents_open", "index intents_open"),
    ];
    for (edit, named) in planted {
        let (bench, sql) = filled();
        sql.execute_batch(edit).unwrap();
        // Whether it was planted before the ledger was opened or while it is open.
        for ledger in [&bench.ledger, &bench.reopened()] {
            let refused = ledger.begin(&purchase(1, "b"), None).unwrap_err();
            assert!(matches!(&refused, LedgerError::Altered { what, .. } if what.contains(named)), "{refused}");
            assert!(matches!(ledger.freeze(), Err(LedgerError::Altered { .. })));
            assert!(matches!(ledger.budgets(&Policy::default()), Err(LedgerError::Altered { .. })));
            assert!(matches!(ledger.verify(None).unwrap(), Err(Broken::Schema(what)) if what.contains(named)));
        }
    }
}

#[test]
fn what_was_begun_is_counted_by_the_journal_for_every_kind_of_purchase() {
    use common::{ISSUER, SHOP, eur, key, socks};
    use spend_guard::{Begun, CheapestTerms, Purchase};
    let bench = bench();
    let cheapest = |name: &str| {
        let terms = CheapestTerms {
            store: SHOP.to_owned(),
            cap_minor: 20_00,
            currency: eur(),
            category: None,
            country: None,
            purchase_ref: Some(name.to_owned()),
        };
        Purchase::cheapest(ISSUER, terms, key()).unwrap()
    };
    // Begun and never picked, picked, declared and never made, declared and made, denied.
    drop(claim(bench.ledger.begin(&cheapest("one"), None).unwrap()));
    bench.clock.advance(5);
    let picked = claim(bench.ledger.begin(&cheapest("two"), None).unwrap());
    bench.clock.advance(5);
    let Begun::New(picked) = picked.item_picked(vec![socks(1)], 9_00, Some("socks".into()), None).unwrap() else {
        panic!()
    };
    common::settle(picked);
    for (name, is_made) in [("c", false), ("d", true)] {
        let terms = declaration(7_00, name, None, None);
        bench.ledger.declare(&terms, None).unwrap();
        bench.clock.advance(5);
        if is_made {
            drop(claim(bench.ledger.begin(&purchase(7_00, name), None).unwrap()));
        }
    }
    assert!(matches!(bench.ledger.begin(&purchase(10_000_00, "e"), Some(&Policy::default())), Ok(Begun::Denied(_))));
    claim(bench.ledger.begin(&purchase(1_00, "f"), None).unwrap()).refused("declined", "no").unwrap();
    bench.clock.advance(7200);
    bench.ledger.expire().unwrap();
    bench.ledger.verify(None).unwrap().unwrap();
    let begun: i64 = Connection::open(bench.file())
        .unwrap()
        .query_row("SELECT begun_count FROM series WHERE merchant = ''", [], |row| row.get(0))
        .unwrap();
    assert_eq!(begun, 3);
}
