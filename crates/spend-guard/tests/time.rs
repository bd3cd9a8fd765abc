//! A clock that ran ahead, and bringing the ledger's time back.
#![allow(clippy::inconsistent_digit_grouping, reason = "major units _ cents")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Bench, START, bench, claim, purchase, settle};
use spend_guard::{Approval, Begun, Broken, Filter, Ledger, Policy, State};

const DAY: i64 = 86_400;

fn spent(ledger: &Ledger, window: &str) -> u64 {
    let budgets = ledger.budgets(&Policy::default()).unwrap();
    budgets.into_iter().find(|budget| budget.rule == format!("currency.EUR.{window}")).unwrap().settled_minor
}

/// Paid 10 at the right time, 20 and 5 at two moments that come in 400 days, and asked about something then.
fn from_the_future() -> Bench {
    let bench = bench();
    bench.pay(&purchase(10_00, "a"), None);
    bench.clock.set(START + 400 * DAY);
    bench.pay(&purchase(20_00, "b"), None);
    bench.clock.advance(60);
    bench.pay(&purchase(5_00, "c"), None);
    claim(bench.ledger.begin(&purchase(7_00, "asked"), None).unwrap()).await_approval(Vec::new()).unwrap();
    bench.clock.set(START + 100);
    bench
}

#[test]
fn one_row_from_the_future_holds_the_ledger_until_its_time_is_reset() {
    let bench = from_the_future();
    let held = START + 400 * DAY + 60;
    assert_eq!((bench.ledger.now().unwrap(), bench.ledger.ahead_of_clock().unwrap()), (held, 400 * DAY - 40));
    let before = bench.ledger.verify(None).unwrap().unwrap();
    let reset = bench.ledger.reset_time().unwrap().unwrap();
    assert_eq!((reset.from, reset.to, reset.intents), (held, START + 100, 3));
    assert_eq!((bench.ledger.now().unwrap(), bench.ledger.ahead_of_clock().unwrap()), (START + 100, 0));
    let proof = bench.ledger.verify(Some(&before.head)).unwrap().unwrap();
    assert_eq!(proof.intents, before.intents);
    bench.pay(&purchase(1_00, "d"), None);
    bench.ledger.verify(None).unwrap().unwrap();
    assert_eq!(bench.ledger.reset_time().unwrap(), None, "it is not ahead any more");
}

#[test]
fn what_was_counted_in_the_future_counts_for_its_full_window_from_the_reset() {
    let bench = from_the_future();
    bench.ledger.reset_time().unwrap().unwrap();
    assert_eq!((spent(&bench.ledger, "hour"), spent(&bench.ledger, "day")), (35_00, 35_00));
    // The one of the right time leaves first, those of the future a whole window after the reset.
    bench.clock.set(START + 3601);
    assert_eq!(spent(&bench.ledger, "hour"), 25_00);
    bench.clock.set(START + 100 + 3600);
    assert_eq!(spent(&bench.ledger, "hour"), 25_00);
    bench.clock.set(START + 100 + 3601);
    assert_eq!((spent(&bench.ledger, "hour"), spent(&bench.ledger, "day")), (0, 35_00));
    bench.clock.set(START + 100 + DAY + 1);
    assert_eq!(spent(&bench.ledger, "day"), 0);
}

#[test]
fn replays_and_questions_last_as_long_as_they_should_from_the_reset() {
    let bench = from_the_future();
    bench.ledger.reset_time().unwrap().unwrap();
    let asked = bench.ledger.list(&Filter { state: Some(State::AwaitingApproval), ..Filter::default() }).unwrap();
    let Approval::Requested { terms } = &asked.intents[0].approval else { panic!() };
    assert_eq!(terms.expires_at, START + 100 + 3600);
    bench.clock.set(START + 100 + DAY);
    assert!(matches!(bench.ledger.begin(&purchase(20_00, "b"), None).unwrap(), Begun::Replay(_)));
    bench.clock.advance(1);
    assert!(matches!(bench.ledger.begin(&purchase(20_00, "b"), None).unwrap(), Begun::New(_)));
    bench.ledger.verify(None).unwrap().unwrap();
}

#[test]
fn it_can_happen_twice_and_a_time_that_goes_back_in_any_other_way_is_found() {
    let bench = from_the_future();
    bench.ledger.reset_time().unwrap().unwrap();
    bench.clock.set(START + 30 * DAY);
    bench.pay(&purchase(3_00, "e"), None);
    bench.clock.set(START + 200);
    bench.ledger.reset_time().unwrap().unwrap();
    assert_eq!(spent(&bench.ledger, "hour"), 38_00);
    drop(settle(claim(bench.ledger.begin(&purchase(2_00, "f"), None).unwrap())));
    bench.ledger.verify(None).unwrap().unwrap();
    let sql = rusqlite::Connection::open(bench.file()).unwrap();
    sql.execute("UPDATE series SET begun_count = begun_count - 1", []).unwrap();
    assert!(matches!(bench.ledger.verify(None).unwrap(), Err(Broken::Totals { .. })));
}
