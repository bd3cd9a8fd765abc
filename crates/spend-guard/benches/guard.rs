//! What a payment costs in the ledger, and whether that grows with what the ledger holds.
//!
//! `simulate` asks the policy; `begin` finds out whether the purchase is known, asks the policy, reserves and stores;
//! `payment` is that and the four steps to its settlement. These stand in memory (`/dev/shm`, where there is one), so that
//! they show the guard's own cost. `payment_on_disk` is the same with what the disk takes to make five transactions
//! durable; `floor_on_disk` is one transaction of one small row.
//!
//! The full ledger holds a million settled payments of the last 30 days, about 3 GB; `GUARD_BENCH_ROWS` sets another number.
//! Ledgers stand in two fixed folders, which are emptied before and after: a run that was killed leaves nothing behind for
//! longer than until the next.
#![allow(clippy::expect_used, reason = "a benchmark that cannot run must say so")]

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use divan::{Bencher, counter::ItemsCount};
use rusqlite::{Connection, params};
use spend_guard::{Begun, Currency, Ledger, LineItem, Mandate, Offers, Policy, Purchase, Settlement};

fn main() {
    remove_all();
    divan::main();
    remove_all();
}

static NOW: AtomicI64 = AtomicI64::new(START);
const START: i64 = 1_790_000_000;

struct Case {
    ledger: Ledger,
    policy: Policy,
}

static EMPTY: LazyLock<Case> = LazyLock::new(|| case(&in_memory().join("empty"), 0));
static FULL: LazyLock<Case> = LazyLock::new(|| case(&in_memory().join("full"), rows()));
static DISK: LazyLock<Case> = LazyLock::new(|| case(&on_disk().join("empty"), 0));

fn in_memory() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.join("spend-guard-bench") } else { on_disk() }
}

fn on_disk() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("spend-guard-bench")
}

fn remove_all() {
    for folder in [in_memory(), on_disk()] {
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != ErrorKind::NotFound => panic!("{} stays: {error}", folder.display()),
            _ => {}
        }
    }
}

fn rows() -> u64 {
    std::env::var("GUARD_BENCH_ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(1_000_000)
}

fn get(size: &str) -> &'static Case {
    match size {
        "empty" => &EMPTY,
        "full" => &FULL,
        _ => &DISK,
    }
}

/// A ledger with `rows` settled payments to a hundred merchants by ten agents.
fn case(folder: &Path, rows: u64) -> Case {
    let ledger = Ledger::new(folder, Arc::new(|| NOW.load(Ordering::Relaxed)));
    let text = "[currency.EUR]\nhour = 9000000000\nday = 9000000000\nweek = 9000000000\nmonth = 9000000000\n\
                payments_per_minute = 1000000000\n\
                [[rule]]\nname = \"shops\"\nmerchant = \"https://shop-1*.example\"\ncurrency = \"EUR\"\nday = 9000000000";
    let policy = Policy::parse(text, "policy.toml").expect("a policy");
    NOW.store(START - 31 * 86_400, Ordering::Relaxed);
    ledger.confirm(&policy).expect("confirmed");
    let case = Case { ledger, policy };
    pay(&case);
    if rows > 0 {
        fill(&folder.join("ledger.sqlite3"), rows);
    }
    NOW.store(START, Ordering::Relaxed);
    case
}

/// Multiplies the one payment that is there, by SQL: going through the door a million times would take an hour of fsync.
fn fill(file: &Path, rows: u64) {
    let mut sql = Connection::open(file).expect("the ledger");
    sql.pragma_update(None, "synchronous", "OFF").expect("set");
    let first = START - 31 * 86_400;
    let tx = sql.transaction().expect("begun");
    {
        let body: String = tx.query_row("SELECT body FROM intents", [], |row| row.get(0)).expect("one");
        let entry: String =
            tx.query_row("SELECT entry FROM journal WHERE event = 'settle'", [], |row| row.get(0)).expect("one");
        let mut series = tx
            .prepare("INSERT OR IGNORE INTO series (currency, merchant, category, mcc, agent) VALUES ('EUR', ?1, '', '', ?2)")
            .expect("prepared");
        for n in 0..1000 {
            series
                .execute(params![format!("https://shop-{}.example", n % 100), format!("agent {}", n / 100)])
                .expect("row");
        }
        let mut intent = tx
            .prepare(
                "INSERT INTO intents (id, identity, state, open, merchant, mandate_id, idempotency_key, body)
                 VALUES (?1, ?1, 'settled', 0, ?2, ?1, ?1, ?3)",
            )
            .expect("prepared");
        let mut artefact = tx
            .prepare("INSERT INTO artefacts (intent_id, name, at, content) VALUES (?1, 'mandate', ?2, ?3)")
            .expect("prepared");
        let mut journal = tx
            .prepare("INSERT INTO journal (at, event, intent_id, entry, entry_hash) VALUES (?1, 'settle', ?2, ?3, 'h')")
            .expect("prepared");
        let mut totals = tx.prepare("INSERT OR REPLACE INTO totals VALUES (?1, ?2, ?3, ?4, ?4)").expect("prepared");
        for n in 0..rows {
            let at = first + i64::try_from(n * 30 * 86_400 / rows).expect("small");
            let id = format!("{n:036}");
            intent.execute(params![id, format!("https://shop-{}.example", n % 100), body]).expect("row");
            artefact.execute(params![id, at, "x".repeat(200)]).expect("row");
            for _ in 0..3 {
                journal.execute(params![at, id, entry]).expect("row");
            }
            let count = i64::try_from(n + 2).expect("small");
            totals.execute(params![1, at, count * 100, count]).expect("row");
            totals
                .execute(params![3 + i64::try_from(n % 999).expect("small"), at, count / 1000 * 100, count / 1000])
                .expect("row");
        }
    }
    tx.execute_batch(
        "UPDATE series SET (newest_at, settled_minor, settled_count, begun_count) =
             (SELECT at, settled_minor, settled_count, begun_count FROM totals WHERE series = id ORDER BY at DESC LIMIT 1)",
    )
    .expect("brought up to date");
    tx.commit().expect("committed");
    sql.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("checkpointed");
}

fn purchase() -> Purchase {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let items = vec![LineItem { sku: "sock".into(), qty: 1, unit_price_minor: None }];
    let (eur, key) = (Currency::parse("EUR").expect("known"), format!("key-{n:032}"));
    Purchase::payment("https://as.example", "https://shop-17.example", items, 100, eur, Some(key.clone()), key)
        .expect("a purchase")
        .agent("agent 3")
}

fn pay(case: &Case) {
    let Begun::New(mut claim) = case.ledger.begin(&purchase(), Some(&case.policy)).expect("begun") else {
        panic!("not new")
    };
    claim.offers_verified(Offers::Verified { digest: "d" }).expect("stored");
    let mandate_id = format!("mandate {}", claim.intent().id);
    let mandate = Mandate { mandate_id, cap_minor: 100, expires_at: START + 900 };
    claim.mandate_held(mandate, &"m".repeat(1500), None).expect("stored");
    claim.presenting(&"p".repeat(1800)).expect("stored");
    claim.settled(&Settlement { payment_intent_id: "pi".into(), ..Settlement::default() }).expect("stored");
}

#[divan::bench(sample_count = 300, sample_size = 1)]
fn floor_on_disk(bencher: Bencher<'_, '_>) {
    let folder = on_disk().join("floor");
    std::fs::create_dir_all(&folder).expect("a folder");
    let sql = Connection::open(folder.join("floor.sqlite3")).expect("opened");
    sql.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).expect("set");
    sql.pragma_update(None, "synchronous", "FULL").expect("set");
    sql.execute_batch("CREATE TABLE t (x TEXT)").expect("made");
    bencher.counter(ItemsCount::new(1u32)).bench_local(|| {
        sql.execute("INSERT INTO t VALUES ('x')", []).expect("stored");
    });
}

#[divan::bench(args = ["empty", "full"], sample_count = 300, sample_size = 1)]
fn simulate(bencher: Bencher<'_, '_>, size: &str) {
    let case = get(size);
    bencher
        .with_inputs(purchase)
        .bench_local_values(|purchase| case.ledger.simulate(&purchase, &case.policy).expect("asked"));
}

#[divan::bench(args = ["empty", "full"], sample_count = 300, sample_size = 1)]
fn begin(bencher: Bencher<'_, '_>, size: &str) {
    let case = get(size);
    bencher.with_inputs(purchase).bench_local_values(|purchase| {
        NOW.fetch_add(1, Ordering::Relaxed);
        case.ledger.begin(&purchase, Some(&case.policy)).expect("begun")
    });
}

#[divan::bench(args = ["empty", "full"], sample_count = 300, sample_size = 1)]
fn payment(bencher: Bencher<'_, '_>, size: &str) {
    let case = get(size);
    bencher.bench_local(|| {
        NOW.fetch_add(1, Ordering::Relaxed);
        pay(case);
    });
}

#[divan::bench(sample_count = 300, sample_size = 1)]
fn payment_on_disk(bencher: Bencher<'_, '_>) {
    let case = get("disk");
    bencher.bench_local(|| {
        NOW.fetch_add(1, Ordering::Relaxed);
        pay(case);
    });
}
