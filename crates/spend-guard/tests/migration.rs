//! A ledger that an older version of this program left.
#![allow(clippy::inconsistent_digit_grouping, reason = "major units _ cents")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::os::unix::fs::PermissionsExt as _;

use common::{Bench, START, bench, claim, purchase, settlement};
use rusqlite::Connection;
use spend_guard::{Begun, Filter, Intent, LedgerError, Next, Policy, ResolutionVerdict, ResolvedBy, State};

/// When the old program wrote its newest row.
const LEFT: i64 = START + 145;

/// A ledger of version 1 in the place of ours.
fn left_by_version_1() -> Bench {
    let bench = bench();
    let dir = bench.file().parent().unwrap().to_owned();
    std::fs::create_dir(&dir).unwrap();
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o700)).unwrap();
    let sql = Connection::open(bench.file()).unwrap();
    sql.execute_batch(include_str!("fixtures/ledger-1.sql")).unwrap();
    std::fs::set_permissions(bench.file(), std::fs::Permissions::from_mode(0o600)).unwrap();
    bench.clock.set(LEFT);
    bench
}

fn named(bench: &Bench, name: &str) -> Intent {
    let filter = Filter { limit: 100, ..Filter::default() };
    let intents = bench.ledger.list(&filter).unwrap().intents;
    let is_named = |intent: &&Intent| {
        intent.purchase_ref.as_deref() == Some(name)
            || intent.declaration.as_ref().is_some_and(|declaration| declaration.reference == name)
    };
    intents.iter().find(is_named).unwrap_or_else(|| panic!("{name}")).clone()
}

/// Settled, reserved and perhaps paid, within a day.
fn counted(bench: &Bench) -> (u64, u64, u64) {
    let budgets = bench.ledger.budgets(&Policy::default()).unwrap();
    let day = budgets.into_iter().find(|budget| budget.rule == "currency.EUR.day").unwrap();
    (day.settled_minor, day.reserved_minor, day.unresolved_minor)
}

#[test]
fn a_ledger_of_version_1_is_read_without_being_changed() {
    let bench = left_by_version_1();
    // Reserved: what was open, by its amount alone.
    assert_eq!(counted(&bench), (10_00, 1_00 + 30_00 + 31_00 + 4_00 + 5_00 + 6_00 + 7_00 + 8_00, 0));
    bench.ledger.verify(None).unwrap().unwrap();
    let version = |sql: &Connection| sql.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0)).unwrap();
    let sql = Connection::open(bench.file()).unwrap();
    assert_eq!(version(&sql), 1);
    bench.ledger.expire().unwrap();
    assert_eq!(version(&sql), 2);
    bench.ledger.verify(None).unwrap().unwrap();
}

#[test]
fn a_ledger_of_version_1_opens_and_goes_on() {
    let bench = left_by_version_1();
    let policy = Policy::default();
    let before = bench.ledger.head().unwrap();
    let begin = |amount: u64, name: &str| bench.ledger.begin(&purchase(amount, name), Some(&policy)).unwrap();
    let resume = |amount: u64, name: &str, state: State| {
        let claim = claim(begin(amount, name));
        assert_eq!(claim.intent().state, state, "{name}");
        claim
    };
    assert!(matches!(begin(10_00, "settled"), Begun::Replay(_)));
    let Begun::Recorded(failed) = begin(3_00, "failed") else { panic!() };
    assert_eq!((failed.state, failed.unresolved_minor), (State::Failed, 0));
    assert!(matches!(begin(30_00, "awaiting_approval"), Begun::AwaitingApproval(_)));
    assert!(matches!(begin(32_00, "rejected"), Begun::Rejected(_)));
    assert!(matches!(begin(2_00, "canceled"), Begun::New(_)));
    common::settle(resume(1_00, "created", State::Created));
    common::settle(resume(31_00, "approved", State::Approved));
    let mut authorized = resume(4_00, "authorized", State::Authorized);
    authorized.presenting("p").unwrap();
    authorized.settled(&settlement()).unwrap();
    let mut charging = resume(6_00, "charging", State::Charging);
    charging.presenting("again").unwrap();
    charging.refused_by_merchant(422, "mandate_expired", "no").unwrap();
    assert_eq!(charging.intent().unresolved_minor, 6_00);
    let mut unknown = resume(7_00, "unknown", State::Unknown);
    unknown.presenting("again").unwrap();
    unknown.settled(&settlement()).unwrap();
    drop(claim(begin(12_50, "declared")));
    bench.ledger.verify(Some(&before)).unwrap().unwrap();
    assert_eq!(counted(&bench).0, 10_00 + 1_00 + 31_00 + 4_00 + 7_00);
    let refused = bench.ledger.resolve(&failed.id, &ResolutionVerdict::NotPaid, person()).unwrap_err();
    assert!(matches!(refused, LedgerError::NothingToResolve { .. }));
}

#[test]
fn what_version_1_left_with_a_cap_above_its_amount_holds_the_cap_back_from_its_next_step() {
    let bench = left_by_version_1();
    let policy = Policy::default();
    let reserved = counted(&bench).1;
    let mut held = claim(bench.ledger.begin(&purchase(5_00, "authorized-cap"), Some(&policy)).unwrap());
    assert_eq!(counted(&bench).1, reserved + 4_00, "before it is presented");
    held.presenting("p").unwrap();
    let mut lost = claim(bench.ledger.begin(&purchase(8_00, "unknown-cap"), Some(&policy)).unwrap());
    lost.presenting("again").unwrap();
    assert_eq!(counted(&bench).1, reserved + 4_00 + 3_00);
    held.settled(&settlement()).unwrap();
    lost.refused("c", "m").unwrap();
    assert_eq!(lost.intent().unresolved_minor, 11_00);
    bench.ledger.verify(None).unwrap().unwrap();
    // One that the policy does not allow is not presented.
    let bench = left_by_version_1();
    let tight = Policy::parse("[currency.EUR]\nper_transaction = \"8.99\"", "p").unwrap();
    let denied = bench.ledger.begin(&purchase(5_00, "authorized-cap"), Some(&tight)).unwrap();
    assert!(matches!(denied, Begun::Denied(_)));
    bench.ledger.verify(None).unwrap().unwrap();
}

#[test]
fn what_version_1_left_in_flight_is_given_up_and_can_be_resolved() {
    let bench = left_by_version_1();
    bench.clock.set(LEFT + 2 * 3600);
    // In the first transaction that writes, and for as many as there are.
    for _ in 0..2 {
        bench.ledger.expire().unwrap();
    }
    assert_eq!(counted(&bench), (10_00, 0, 6_00 + 7_00 + 11_00));
    bench.ledger.verify(None).unwrap().unwrap();
    for name in ["charging", "unknown", "unknown-cap"] {
        let intent = named(&bench, name);
        assert_eq!(intent.state, State::Unresolved, "{name}");
        assert!(intent.presented_at.is_some_and(|at| at <= LEFT), "when it was last written");
    }
    for name in ["created", "awaiting_approval", "approved", "authorized", "declared"] {
        assert_eq!(named(&bench, name).state, State::Expired, "{name}");
    }
    let verdict = ResolutionVerdict::Paid { amount_minor: None, payment_intent_id: None };
    bench.ledger.resolve(&named(&bench, "charging").id, &verdict, person()).unwrap();
    bench.ledger.resolve(&named(&bench, "unknown").id, &ResolutionVerdict::NotPaid, person()).unwrap();
    assert_eq!(counted(&bench), (16_00, 0, 11_00));
    bench.ledger.verify(None).unwrap().unwrap();
}

#[test]
fn what_version_1_left_in_flight_is_resolved_before_it_is_given_up() {
    let bench = left_by_version_1();
    bench.clock.set(LEFT + 2 * 3600);
    let verdict = ResolutionVerdict::Paid { amount_minor: Some(9_00), payment_intent_id: None };
    let resolved = bench.ledger.resolve(&named(&bench, "unknown-cap").id, &verdict, person()).unwrap();
    assert!(resolved.settled_at.is_some_and(|at| at <= LEFT));
    bench.ledger.expire().unwrap();
    assert_eq!(counted(&bench), (19_00, 0, 13_00));
    bench.ledger.verify(None).unwrap().unwrap();
}

fn person() -> ResolvedBy {
    ResolvedBy::Person { name: "kim".to_owned(), reason: "asked the bank".to_owned() }
}

#[test]
fn a_mandate_of_version_1_is_replaced_where_it_ran_out_unpresented() {
    let bench = left_by_version_1();
    bench.clock.set(LEFT + 1000);
    let mut held = claim(bench.ledger.begin(&purchase(5_00, "authorized-cap"), Some(&Policy::default())).unwrap());
    let mandate = spend_guard::Mandate { mandate_id: "new".into(), cap_minor: 5_00, expires_at: LEFT + 2000 };
    assert_eq!(held.mandate_held(mandate, "jwt~", Some(&Policy::default())).unwrap(), Next::Go);
    assert_eq!(held.intent().held_back_minor(), 5_00);
    bench.ledger.verify(None).unwrap().unwrap();
}
