//! What was presented: how it counts, how it ends, and how much of it is at stake.
#![allow(clippy::inconsistent_digit_grouping, reason = "major units _ cents")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Bench, ISSUER, SHOP, START, authorize, bench, claim, declaration, eur, key, purchase, settlement, socks};
use spend_guard::{
    Approval, ApprovalTerms, Begun, Budget, Claim, Declared, Intent, Ledger, LedgerError, Mandate, Next, Offers,
    Policy, Purchase, ResolutionVerdict, ResolvedBy, Revocation, State,
};

const HOUR: i64 = 3600;
const DAY: i64 = 86_400;
/// Long enough to outlive any window.
const LONG: i64 = 400 * DAY;
const WINDOWS: [(&str, i64); 4] = [("hour", HOUR), ("day", DAY), ("week", 7 * DAY), ("month", 31 * DAY)];

fn budget(ledger: &Ledger, window: &str) -> Budget {
    let every_window = Policy::parse("[currency.EUR]\nhour = 200\nday = 500\nweek = 1000\nmonth = 2000", "p").unwrap();
    let budgets = ledger.budgets(&every_window).unwrap();
    budgets.into_iter().find(|budget| budget.rule == format!("currency.EUR.{window}")).unwrap()
}

/// Settled, reserved and perhaps paid, within the last hour.
fn counted(ledger: &Ledger) -> (u64, u64, u64) {
    let Budget { settled_minor, reserved_minor, unresolved_minor, .. } = budget(ledger, "hour");
    (settled_minor, reserved_minor, unresolved_minor)
}

fn capped(intent: &Intent, cap_minor: u64, expires_at: i64) -> Mandate {
    Mandate { mandate_id: format!("m-{}-{cap_minor}-{expires_at}", intent.id), cap_minor, expires_at }
}

fn hold(claim: &mut Claim, cap_minor: u64, expires_at: i64, policy: Option<&Policy>) -> Result<Next, LedgerError> {
    let mandate = capped(claim.intent(), cap_minor, expires_at);
    claim.mandate_held(mandate, "jwt~", policy)
}

/// A purchase whose mandate, of this cap and end, was presented.
fn presented(bench: &Bench, amount: u64, name: &str, cap: u64, expires_at: i64) -> Claim {
    let mut claim = claim(bench.ledger.begin(&purchase(amount, name), None).unwrap());
    claim.offers_verified(Offers::Verified { digest: "d" }).unwrap();
    assert_eq!(hold(&mut claim, cap, expires_at, None).unwrap(), Next::Go);
    claim.presenting("p").unwrap();
    claim
}

fn person() -> ResolvedBy {
    ResolvedBy::Person { name: "kim".to_owned(), reason: "looked at the statement".to_owned() }
}

fn paid(amount_minor: Option<u64>) -> ResolutionVerdict {
    ResolutionVerdict::Paid { amount_minor, payment_intent_id: None }
}

fn is_whole(bench: &Bench) {
    bench.ledger.verify(None).unwrap().unwrap();
}

fn asked(intent: &Intent) -> ApprovalTerms {
    let Approval::Requested { terms } = &intent.approval else { panic!("{:?}", intent.approval) };
    terms.clone()
}

#[test]
fn a_refused_mandate_counts_from_when_it_was_presented_until_each_window_has_passed() {
    let bench = bench();
    let mut refused = presented(&bench, 10_00, "a", 10_00, START + LONG);
    // The refusal is recorded later, and says nothing about when it would have been paid.
    bench.clock.set(START + 500);
    refused.refused_by_merchant(422, "offer_out_of_stock", "no").unwrap();
    assert_eq!((refused.intent().state, refused.intent().unresolved_minor), (State::Failed, 10_00));
    for (window, seconds) in WINDOWS {
        bench.clock.set(START + seconds);
        assert_eq!(budget(&bench.ledger, window).unresolved_minor, 10_00, "{window}");
        bench.clock.set(START + seconds + 1);
        let left = budget(&bench.ledger, window);
        assert_eq!((left.unresolved_minor, left.left_minor), (0, left.limit_minor), "{window}");
    }
    is_whole(&bench);
}

#[test]
fn what_was_refused_before_it_was_presented_counts_nowhere() {
    let bench = bench();
    let mut held = claim(bench.ledger.begin(&purchase(10_00, "a"), None).unwrap());
    authorize(&mut held);
    held.refused("mandate_expired", "no").unwrap();
    assert_eq!((counted(&bench.ledger), held.intent().unresolved_minor), ((0, 0, 0), 0));
    assert!(matches!(bench.ledger.begin(&purchase(10_00, "a"), None).unwrap(), Begun::New(_)));
}

#[test]
fn a_refused_purchase_is_answered_from_the_record_within_the_replay_window_and_made_again_after_it() {
    let bench = bench();
    let mut refused = presented(&bench, 10_00, "a", 10_00, START + 900);
    bench.clock.advance(60);
    refused.refused_by_merchant(422, "offer_out_of_stock", "no").unwrap();
    bench.clock.set(START + 60 + DAY);
    for ledger in [&bench.ledger, &bench.reopened()] {
        let Begun::Recorded(intent) = ledger.begin(&purchase(10_00, "a"), None).unwrap() else { panic!() };
        assert_eq!((&intent.id, intent.state), (&refused.intent().id, State::Failed));
        let Begun::Recorded(_) = ledger.resume(&intent.id, None).unwrap() else { panic!() };
    }
    bench.clock.advance(1);
    assert!(matches!(bench.ledger.begin(&purchase(10_00, "a"), None).unwrap(), Begun::New(_)));
    is_whole(&bench);
}

#[test]
fn an_answer_that_is_lost_after_the_mandates_end_leaves_the_purchase_unresolved() {
    let bench = bench();
    let mut lost = presented(&bench, 10_00, "a", 25_00, START + 900);
    lost.unknown("transport", "lost").unwrap();
    assert_eq!((lost.intent().state, counted(&bench.ledger)), (State::Unknown, (0, 25_00, 0)));
    bench.clock.set(START + 900);
    lost.presenting("again").unwrap();
    lost.unknown("transport", "lost").unwrap();
    let intent = lost.intent();
    assert_eq!((intent.state, intent.reserved, intent.unresolved_minor), (State::Unresolved, false, 25_00));
    assert_eq!(counted(&bench.ledger), (0, 0, 25_00));
    assert!(matches!(lost.presenting("p"), Err(LedgerError::IllegalStep { .. })));
    assert!(matches!(bench.ledger.begin(&purchase(10_00, "a"), None).unwrap(), Begun::Recorded(_)));
    is_whole(&bench);
}

#[test]
fn what_others_left_unknown_is_given_up_when_its_mandate_ends_and_counts_when_it_was_presented() {
    let bench = bench();
    for (name, is_charging) in [("a", true), ("b", false)] {
        let mut left = presented(&bench, 10_00, name, 10_00, START + 900);
        if !is_charging {
            left.unknown("transport", "lost").unwrap();
        }
    }
    let driven = presented(&bench, 1_00, "driven", 1_00, START + 900);
    bench.clock.set(START + 899);
    bench.ledger.expire().unwrap();
    assert_eq!(counted(&bench.ledger), (0, 21_00, 0));
    // Whichever purchase comes next.
    bench.clock.set(START + 2000);
    drop(claim(bench.ledger.begin(&purchase(2_00, "other"), None).unwrap()));
    assert_eq!(counted(&bench.ledger), (0, 3_00, 20_00), "what is being driven is left alone");
    assert_eq!(bench.ledger.intent(&driven.intent().id).unwrap().state, State::Charging);
    drop(driven);
    bench.ledger.expire().unwrap();
    assert_eq!(counted(&bench.ledger), (0, 2_00, 21_00));
    bench.clock.set(START + HOUR);
    assert_eq!(counted(&bench.ledger).2, 21_00);
    bench.clock.set(START + HOUR + 1);
    assert_eq!(counted(&bench.ledger).2, 0, "an hour after it was presented");
    is_whole(&bench);
}

#[test]
fn more_than_a_few_at_once_are_given_up_by_and_by() {
    let bench = bench();
    for n in 0..40 {
        drop(presented(&bench, 1_00, &n.to_string(), 1_00, START + 900));
    }
    bench.clock.set(START + 900);
    for _ in 0..3 {
        bench.ledger.expire().unwrap();
    }
    assert_eq!(counted(&bench.ledger), (0, 0, 40_00));
    is_whole(&bench);
}

#[test]
fn a_purchase_in_flight_is_resolved_by_a_person_and_what_can_still_be_charged_stays_held_back() {
    // Cap, verdict; settled and reserved while the mandate lives.
    let table = [
        (10_00, paid(None), (10_00, 0)),
        (25_00, paid(None), (10_00, 15_00)),
        (25_00, paid(Some(12_00)), (12_00, 13_00)),
        (25_00, paid(Some(25_00)), (25_00, 0)),
        (25_00, paid(Some(30_00)), (30_00, 0)),
        (25_00, ResolutionVerdict::NotPaid, (0, 25_00)),
        (10_00, ResolutionVerdict::NotPaid, (0, 10_00)),
    ];
    for (cap, verdict, (settled, reserved)) in table {
        for is_revoked in [false, true] {
            let bench = bench();
            let mut lost = presented(&bench, 10_00, "a", cap, START + 900);
            lost.unknown("transport", "lost").unwrap();
            let id = lost.intent().id.clone();
            assert!(matches!(bench.ledger.resolve(&id, &verdict, person()), Err(LedgerError::InProgress(_))));
            drop(lost);
            bench.clock.advance(60);
            let resolved = bench.ledger.resolve(&id, &verdict, person()).unwrap();
            let is_paid = verdict != ResolutionVerdict::NotPaid;
            assert_eq!(resolved.state, if is_paid { State::Settled } else { State::Failed });
            assert_eq!(resolved.settled_at, is_paid.then_some(START));
            assert_eq!(counted(&bench.ledger), (settled, reserved, 0), "{cap} {verdict:?}");
            is_whole(&bench);
            match is_revoked {
                true => drop(bench.ledger.grant_revoked(&id, true).unwrap()),
                false => {
                    bench.clock.set(START + 900);
                    bench.ledger.expire().unwrap();
                }
            }
            assert_eq!(counted(&bench.ledger), (settled, 0, 0), "{cap} {verdict:?}, and its mandate has ended");
            is_whole(&bench);
            let again = bench.ledger.resolve(&id, &paid(None), person());
            assert!(matches!(again, Err(LedgerError::NothingToResolve { .. })));
        }
    }
}

#[test]
fn what_was_refused_or_never_answered_is_resolved_as_of_when_it_was_presented() {
    for is_refused in [true, false] {
        for (verdict, settled) in [(paid(None), 10_00), (paid(Some(7_00)), 7_00), (ResolutionVerdict::NotPaid, 0)] {
            let bench = bench();
            let mut over = presented(&bench, 10_00, "a", 25_00, START + 900);
            let id = over.intent().id.clone();
            // Something else happens meanwhile, so that the sums change in the middle.
            bench.clock.set(START + 600);
            bench.pay(&purchase(3_00, "b"), None);
            match is_refused {
                true => over.refused_by_merchant(422, "offer_out_of_stock", "no").unwrap(),
                false => drop(over),
            }
            bench.clock.set(START + 1000);
            bench.ledger.expire().unwrap();
            assert_eq!(counted(&bench.ledger), (3_00, 0, 25_00));
            let resolved = bench.ledger.resolve(&id, &verdict, person()).unwrap();
            assert_eq!(resolved.unresolved_minor, 0);
            assert_eq!(resolved.resolution.as_ref().unwrap().by, person());
            assert_eq!(counted(&bench.ledger), (3_00 + settled, 0, 0));
            is_whole(&bench);
            bench.clock.set(START + HOUR + 1);
            assert_eq!(counted(&bench.ledger), (3_00, 0, 0), "the resolution moves nothing to another time");
            assert!(matches!(
                bench.ledger.resolve(&id, &ResolutionVerdict::NotPaid, person()),
                Err(LedgerError::NothingToResolve { .. })
            ));
            is_whole(&bench);
        }
    }
}

#[test]
fn what_was_never_presented_or_is_known_to_be_paid_cannot_be_resolved() {
    let bench = bench();
    let begun = |name: &str| claim(bench.ledger.begin(&purchase(5_00, name), None).unwrap());
    let mut ids = vec![bench.pay(&purchase(5_00, "paid"), None).id];
    ids.push(begun("created").intent().id.clone());
    ids.push(begun("asked").await_approval(Vec::new()).unwrap().id);
    let approved = begun("approved").await_approval(Vec::new()).unwrap();
    ids.push(bench.ledger.approve(&approved.id, &asked(&approved)).unwrap().id);
    let rejected = begun("rejected").intent().id.clone();
    ids.push(bench.ledger.reject(&rejected).unwrap().id);
    let canceled = begun("canceled").intent().id.clone();
    ids.push(bench.ledger.cancel(&canceled).unwrap().id);
    let mut authorized = begun("authorized");
    authorize(&mut authorized);
    ids.push(authorized.intent().id.clone());
    drop(authorized);
    let mut failed = begun("failed");
    failed.refused("c", "m").unwrap();
    ids.push(failed.intent().id.clone());
    for id in ids {
        let before = (bench.ledger.intent(&id).unwrap(), counted(&bench.ledger));
        for verdict in [paid(None), ResolutionVerdict::NotPaid] {
            let refused = bench.ledger.resolve(&id, &verdict, person()).unwrap_err();
            assert!(matches!(refused, LedgerError::NothingToResolve { state, .. } if state == before.0.state));
        }
        assert_eq!((bench.ledger.intent(&id).unwrap(), counted(&bench.ledger)), before);
    }
    let lost = presented(&bench, 1_00, "lost", 1_00, START + 900).intent().id.clone();
    for amount in [0, u64::MAX] {
        let refused = bench.ledger.resolve(&lost, &paid(Some(amount)), person()).unwrap_err();
        assert!(matches!(refused, LedgerError::Invalid(_)), "{refused}");
    }
    is_whole(&bench);
}

#[test]
fn a_purchase_that_was_just_resolved_is_answered_from_the_record_however_old_it_is() {
    for verdict in [paid(None), ResolutionVerdict::NotPaid] {
        let bench = bench();
        let id = presented(&bench, 10_00, "a", 10_00, START + 900).intent().id.clone();
        bench.clock.set(START + 30 * DAY);
        bench.ledger.expire().unwrap();
        bench.ledger.resolve(&id, &verdict, person()).unwrap();
        bench.clock.advance(DAY);
        let begun = bench.ledger.begin(&purchase(10_00, "a"), None).unwrap();
        assert!(matches!(begun, Begun::Recorded(_)), "{verdict:?}: {begun:?}");
        bench.clock.advance(1);
        assert!(matches!(bench.ledger.begin(&purchase(10_00, "a"), None).unwrap(), Begun::New(_)));
    }
}

#[test]
fn a_confirmed_revocation_gives_back_the_rest_of_a_settled_cap_and_never_what_was_refused() {
    let bench = bench();
    let mut settled = presented(&bench, 10_00, "a", 25_00, START + 900);
    settled.settled(&settlement()).unwrap();
    let mut refused = presented(&bench, 5_00, "b", 8_00, START + 900);
    refused.refused_by_merchant(422, "offer_out_of_stock", "no").unwrap();
    let (settled, refused) = (settled.intent().id.clone(), refused.intent().id.clone());
    assert_eq!(counted(&bench.ledger), (10_00, 15_00, 8_00));
    for id in [&settled, &refused] {
        let tried = bench.ledger.grant_revoked(id, false).unwrap();
        assert_eq!(tried.revocation, Some(Revocation::Unconfirmed { at: START }));
    }
    assert_eq!(counted(&bench.ledger), (10_00, 15_00, 8_00), "nothing is known to have ended");
    for id in [&settled, &refused] {
        bench.ledger.grant_revoked(id, true).unwrap();
        is_whole(&bench);
    }
    assert_eq!(counted(&bench.ledger), (10_00, 0, 8_00));
    // A later attempt that failed does not bring a grant back to life.
    let still = bench.ledger.grant_revoked(&settled, false).unwrap();
    assert_eq!(still.revocation, Some(Revocation::Confirmed { at: START }));
}

#[test]
fn the_rest_of_a_settled_cap_is_held_back_until_the_mandate_ends() {
    let bench = bench();
    let mut settled = presented(&bench, 10_00, "a", 25_00, START + 900);
    settled.settled(&settlement()).unwrap();
    bench.clock.set(START + 899);
    bench.ledger.expire().unwrap();
    assert_eq!(counted(&bench.ledger), (10_00, 15_00, 0));
    bench.clock.set(START + 900);
    bench.ledger.expire().unwrap();
    assert_eq!(counted(&bench.ledger), (10_00, 0, 0));
    let again = bench.ledger.begin(&purchase(10_00, "a"), None).unwrap();
    assert!(matches!(again, Begun::Replay(_)), "{again:?}");
    is_whole(&bench);
}

fn policy(bench: &Bench, text: &str) -> Policy {
    let policy = Policy::parse(text, "p").unwrap();
    bench.ledger.confirm(&policy).unwrap();
    policy
}

#[test]
fn the_policy_is_asked_about_the_cap_and_its_no_ends_the_purchase_unsent() {
    for (limit, cap) in [("per_transaction = 30", 30_01), ("hour = 30", 30_01), ("hour = 30", u64::MAX >> 11)] {
        let bench = bench();
        let policy = policy(&bench, &format!("[currency.EUR]\napproval_above = \"none\"\n{limit}"));
        let begun = bench.ledger.begin(&purchase(10_00, "a"), Some(&policy)).unwrap();
        let mut refused = claim(begun);
        refused.offers_verified(Offers::Verified { digest: "d" }).unwrap();
        assert_eq!(hold(&mut refused, cap, START + 900, Some(&policy)).unwrap(), Next::Refused, "{limit}");
        let intent = refused.intent();
        assert_eq!((intent.state, intent.failure.as_ref().unwrap().code.as_str()), (State::Failed, "cap_not_allowed"));
        assert!(matches!(refused.presenting("p"), Err(LedgerError::IllegalStep { .. })));
        assert_eq!(counted(&bench.ledger), (0, 0, 0));
        // Exactly the limit is no more than the limit.
        let mut fits = claim(bench.ledger.begin(&purchase(10_00, "b"), Some(&policy)).unwrap());
        fits.offers_verified(Offers::Verified { digest: "d" }).unwrap();
        assert_eq!(hold(&mut fits, 30_00, START + 900, Some(&policy)).unwrap(), Next::Go);
        assert_eq!(counted(&bench.ledger), (0, 30_00, 0));
        if limit.starts_with("hour") {
            let denied = bench.ledger.begin(&purchase(1, "c"), Some(&policy)).unwrap();
            assert!(matches!(denied, Begun::Denied(_)), "the cap is spent as far as others are concerned");
        }
        is_whole(&bench);
    }
}

#[test]
fn a_cap_that_needs_a_yes_is_not_presented_without_one_that_covers_it() {
    let bench = bench();
    let policy = policy(&bench, "[currency.EUR]\napproval_above = 20");
    let mut held = claim(bench.ledger.begin(&purchase(10_00, "a"), Some(&policy)).unwrap());
    held.offers_verified(Offers::Verified { digest: "d" }).unwrap();
    assert_eq!(hold(&mut held, 25_00, START + 9000, Some(&policy)).unwrap(), Next::AskHuman);
    assert_eq!(counted(&bench.ledger), (0, 25_00, 0), "held back while the question is open");
    assert!(matches!(held.presenting("p"), Err(LedgerError::ApprovalMissing(_))));
    let waiting = held.await_approval(Vec::new()).unwrap();
    assert_eq!(asked(&waiting).amount_minor, 25_00, "the person is shown the cap");
    bench.ledger.approve(&waiting.id, &asked(&waiting)).unwrap();
    let mut go_on = claim(bench.ledger.begin(&purchase(10_00, "a"), Some(&policy)).unwrap());
    go_on.presenting("p").unwrap();
    go_on.settled(&settlement()).unwrap();
    assert_eq!(counted(&bench.ledger), (10_00, 15_00, 0));
    is_whole(&bench);
}

#[test]
fn a_yes_to_the_amount_is_none_to_a_larger_cap_and_one_to_more_is() {
    for (cap, next) in [(30_00, Next::Go), (30_01, Next::AskHuman)] {
        let bench = bench();
        let policy = policy(&bench, "[currency.EUR]\napproval_above = 20");
        let waiting = claim(bench.ledger.begin(&purchase(30_00, "a"), Some(&policy)).unwrap());
        let waiting = waiting.await_approval(Vec::new()).unwrap();
        bench.ledger.approve(&waiting.id, &asked(&waiting)).unwrap();
        let mut held = claim(bench.ledger.begin(&purchase(30_00, "a"), Some(&policy)).unwrap());
        held.offers_verified(Offers::Verified { digest: "d" }).unwrap();
        assert_eq!(hold(&mut held, cap, START + 9000, Some(&policy)).unwrap(), next, "{cap}");
        assert_eq!(held.presenting("p").is_ok(), next == Next::Go);
    }
    // What was declared with a tolerance was agreed to with it.
    for (cap, next) in [(33_00, Next::Go), (33_01, Next::AskHuman)] {
        let bench = bench();
        let policy = policy(&bench, "[currency.EUR]\napproval_above = 20");
        let terms = declaration(30_00, "d", Some(3_00), None);
        let Declared::New(declared, _) = bench.ledger.declare(&terms, Some(&policy)).unwrap() else { panic!() };
        let waiting = bench.ledger.request_approval(&declared.id, Vec::new(), Some(&policy)).unwrap();
        bench.ledger.approve(&waiting.id, &asked(&waiting)).unwrap();
        let mut held = claim(bench.ledger.begin(&purchase(30_00, "d"), Some(&policy)).unwrap());
        held.offers_verified(Offers::Verified { digest: "d" }).unwrap();
        assert_eq!(hold(&mut held, cap, START + 9000, Some(&policy)).unwrap(), next, "{cap}");
        is_whole(&bench);
    }
}

#[test]
fn a_mandate_that_was_never_presented_is_replaced_and_its_reservation_with_it() {
    let bench = bench();
    let policy = policy(&bench, "[currency.EUR]\napproval_above = 20\nper_transaction = 40");
    let mut held = claim(bench.ledger.begin(&purchase(10_00, "a"), Some(&policy)).unwrap());
    held.offers_verified(Offers::Verified { digest: "d" }).unwrap();
    for (cap, next) in [(15_00, Next::Go), (10_00, Next::Go), (12_00, Next::Go), (25_00, Next::AskHuman)] {
        assert_eq!(hold(&mut held, cap, START + 900, Some(&policy)).unwrap(), next, "{cap}");
        assert_eq!(counted(&bench.ledger), (0, cap, 0));
        is_whole(&bench);
    }
    // The yes to one mandate's cap is good for the next one, up to as much.
    let waiting = held.await_approval(Vec::new()).unwrap();
    bench.ledger.approve(&waiting.id, &asked(&waiting)).unwrap();
    let mut go_on = claim(bench.ledger.begin(&purchase(10_00, "a"), Some(&policy)).unwrap());
    assert_eq!(hold(&mut go_on, 24_00, START + 1800, Some(&policy)).unwrap(), Next::Go);
    assert_eq!(counted(&bench.ledger), (0, 24_00, 0));
    go_on.presenting("p").unwrap();
    assert!(matches!(hold(&mut go_on, 24_00, START + 1800, Some(&policy)), Err(LedgerError::IllegalStep { .. })));
    is_whole(&bench);
}

#[test]
fn a_yes_that_was_not_used_in_time_ends_the_purchase_also_once_a_mandate_is_held() {
    let bench = bench();
    let policy = policy(&bench, "[currency.EUR]\napproval_above = 20");
    let mut held = claim(bench.ledger.begin(&purchase(10_00, "a"), Some(&policy)).unwrap());
    held.offers_verified(Offers::Verified { digest: "d" }).unwrap();
    hold(&mut held, 25_00, START + 900, Some(&policy)).unwrap();
    let waiting = held.await_approval(Vec::new()).unwrap();
    bench.ledger.approve(&waiting.id, &asked(&waiting)).unwrap();
    let mut go_on = claim(bench.ledger.begin(&purchase(10_00, "a"), Some(&policy)).unwrap());
    assert_eq!(hold(&mut go_on, 24_00, START + LONG, Some(&policy)).unwrap(), Next::Go);
    bench.clock.set(START + HOUR);
    assert!(matches!(go_on.presenting("p"), Err(LedgerError::ApprovalExpired(_))));
    drop(go_on);
    let begun = bench.ledger.begin(&purchase(10_00, "a"), Some(&policy)).unwrap();
    assert!(matches!(begun, Begun::New(_)), "{begun:?}");
    assert_eq!(counted(&bench.ledger), (0, 10_00, 0));
}

#[test]
fn a_freeze_says_whether_a_presentation_was_sent_and_ends_no_purchase_over_its_cap() {
    let bench = bench();
    let mut lost = presented(&bench, 10_00, "a", 10_00, START + 900);
    lost.unknown("transport", "lost").unwrap();
    let policy = Policy::default();
    let mut open = claim(bench.ledger.begin(&purchase(1_00, "b"), Some(&policy)).unwrap());
    open.offers_verified(Offers::Verified { digest: "d" }).unwrap();
    bench.ledger.freeze().unwrap();
    assert!(matches!(lost.presenting("p"), Err(LedgerError::Frozen { presented: true, .. })));
    let frozen = hold(&mut open, 2_00, START + 900, Some(&policy));
    assert!(matches!(frozen, Err(LedgerError::Frozen { presented: false, .. })), "{frozen:?}");
    assert_eq!((lost.intent().state, open.intent().state), (State::Unknown, State::Created));
    bench.ledger.unfreeze().unwrap();
    lost.presenting("p").unwrap();
    assert_eq!(hold(&mut open, 2_00, START + 900, Some(&policy)).unwrap(), Next::Go);
    is_whole(&bench);
}

fn existing(amount: u64, cap: u64, mandate_id: &str, key: &str) -> Purchase {
    let mandate = Mandate { mandate_id: mandate_id.to_owned(), cap_minor: cap, expires_at: START + 900 };
    Purchase::verify(ISSUER, SHOP, vec![socks(1)], amount, eur(), mandate, key).unwrap()
}

#[test]
fn the_cap_of_a_mandate_from_elsewhere_is_held_back_from_the_start() {
    let bench = bench();
    let mut held = claim(bench.ledger.begin(&existing(10_00, 25_00, "m", &key()), None).unwrap());
    assert_eq!(counted(&bench.ledger), (0, 25_00, 0));
    assert_eq!(hold(&mut held, 25_00, START + 900, None).unwrap(), Next::Go);
    held.presenting("p").unwrap();
    held.unknown("transport", "lost").unwrap();
    assert_eq!(counted(&bench.ledger), (0, 25_00, 0));
    is_whole(&bench);
}

#[test]
fn a_mandate_that_was_presented_in_vain_is_never_presented_under_another_key() {
    let bench = bench();
    let mut refused = presented(&bench, 10_00, "a", 10_00, START + 900);
    refused.refused_by_merchant(422, "offer_out_of_stock", "no").unwrap();
    let intent = refused.intent().clone();
    let held = intent.mandate.clone().unwrap();
    // However much later: one mandate under one key is one payment for ever.
    for later in [0, 10 * DAY] {
        bench.clock.advance(later);
        let same = existing(10_00, 10_00, &held.mandate_id, &intent.idempotency_key);
        let Begun::Recorded(recorded) = bench.ledger.begin(&same, None).unwrap() else { panic!() };
        assert_eq!(recorded.id, intent.id);
        let other = bench.ledger.begin(&existing(10_00, 10_00, &held.mandate_id, &key()), None).unwrap_err();
        assert!(matches!(other, LedgerError::OtherKey { id } if id == intent.id));
        let reused = bench.ledger.begin(&existing(10_00, 10_00, "another", &intent.idempotency_key), None).unwrap_err();
        assert!(matches!(reused, LedgerError::OtherKey { id } if id == intent.id));
    }
}

#[test]
fn what_was_declared_and_presented_in_vain_is_not_declared_again_under_its_name() {
    let bench = bench();
    let terms = declaration(10_00, "d", Some(1_00), None);
    bench.ledger.declare(&terms, None).unwrap();
    // Made for an amount within the tolerance, so that it is another purchase by its identity.
    let mut refused = presented(&bench, 10_50, "d", 10_50, START + 900);
    refused.refused_by_merchant(422, "offer_out_of_stock", "no").unwrap();
    let Declared::Known(known) = bench.ledger.declare(&terms, None).unwrap() else { panic!() };
    assert_eq!(known.id, refused.intent().id);
}

#[test]
fn what_was_declared_and_presented_gets_no_second_mandate_at_another_amount() {
    let bench = bench();
    let terms = declaration(10_00, "d", Some(1_00), None);
    bench.ledger.declare(&terms, None).unwrap();
    let mut used = presented(&bench, 10_50, "d", 10_50, START + 900);
    let id = used.intent().id.clone();
    let is_refused = || {
        let other = bench.ledger.begin(&purchase(10_00, "d"), None);
        matches!(other, Err(LedgerError::DeclarationMismatch { id: same, what: "amount" }) if same == id)
    };
    assert!(is_refused(), "while it is in flight");
    used.refused_by_merchant(422, "offer_out_of_stock", "no").unwrap();
    assert!(is_refused(), "after a refusal");
    drop(used);
    assert!(is_refused(), "in another process");
    bench.clock.advance(DAY + 1);
    assert!(matches!(bench.ledger.begin(&purchase(10_00, "d"), None).unwrap(), Begun::New(_)));
}

#[test]
fn what_is_looked_for_is_what_would_be_gone_on_with_or_answered_from_the_record() {
    let bench = bench();
    let find = |purchase: &Purchase, policy: Option<&Policy>| bench.ledger.find(purchase, policy).unwrap();
    let policy = no_replay(&bench);
    assert!(find(&purchase(10_00, "a"), None).is_none());
    let mut refused = presented(&bench, 10_00, "a", 10_00, START + 2 * DAY);
    let id = refused.intent().id.clone();
    assert_eq!(find(&purchase(10_00, "a"), Some(&policy)).unwrap().id, id, "under way");
    refused.refused_by_merchant(422, "offer_out_of_stock", "no").unwrap();
    bench.clock.advance(DAY + 1);
    assert_eq!(find(&purchase(10_00, "a"), Some(&policy)).unwrap().id, id, "its mandate lives");
    // A resolution is newer than the payment, and repeated for as long as one.
    bench.clock.advance(DAY);
    bench.ledger.resolve(&id, &paid(None), person()).unwrap();
    assert_eq!(find(&purchase(10_00, "a"), None).unwrap().id, id, "resolved just now");
    bench.clock.advance(DAY + 1);
    assert!(find(&purchase(10_00, "a"), None).is_none());
    let intent = bench.ledger.intent(&id).unwrap();
    let verify = existing(10_00, 10_00, &intent.mandate.unwrap().mandate_id, &intent.idempotency_key);
    bench.clock.advance(30 * DAY);
    assert!(find(&verify, Some(&policy)).is_some(), "one mandate under one key is one payment for ever");
}

/// A policy under which nothing that is over is answered again for long.
fn no_replay(bench: &Bench) -> Policy {
    let policy = Policy::parse("replay_hours = 0\n[currency.EUR]\nhour = 200\nday = 500", "p").unwrap();
    bench.ledger.confirm(&policy).unwrap();
    policy
}

#[test]
fn a_refused_purchase_is_not_made_again_while_its_mandate_can_be_charged() {
    let bench = bench();
    let policy = no_replay(&bench);
    let mut refused = presented(&bench, 10_00, "a", 10_00, START + 900);
    refused.refused_by_merchant(422, "offer_out_of_stock", "no").unwrap();
    bench.clock.advance(60);
    let begun = bench.ledger.begin(&purchase(10_00, "a"), Some(&policy)).unwrap();
    assert!(matches!(begun, Begun::Recorded(_)), "{begun:?}");
    refused.grant_revoked(true).unwrap();
    bench.clock.advance(1);
    assert!(matches!(bench.ledger.begin(&purchase(10_00, "a"), Some(&policy)).unwrap(), Begun::New(_)));
}

#[test]
fn a_later_attempt_that_presented_nothing_hides_none_that_did() {
    let bench = bench();
    let policy = no_replay(&bench);
    let mut refused = presented(&bench, 10_00, "a", 10_00, START + 900);
    refused.refused_by_merchant(422, "offer_out_of_stock", "no").unwrap();
    refused.grant_revoked(true).unwrap();
    bench.clock.advance(60);
    let mut later = claim(bench.ledger.begin(&purchase(10_00, "a"), Some(&policy)).unwrap());
    later.refused("offer_missing", "no").unwrap();
    drop(later);
    // The window is a day again.
    let Begun::Recorded(intent) = bench.ledger.begin(&purchase(10_00, "a"), None).unwrap() else { panic!() };
    assert_eq!(intent.id, refused.intent().id);
}

#[test]
fn amounts_at_the_end_of_the_numbers_are_refused_before_anything_is_presented() {
    let bench = bench();
    let most = (1 << 53) - 1;
    // Caps of 2^53 - 1 until the sums of a currency are full, and one more.
    let mut last = Ok(Next::Go);
    let mut held = Vec::new();
    for n in 0..1100 {
        let Ok(begun) = bench.ledger.begin(&purchase(1, &n.to_string()), None) else { break };
        let mut one = claim(begun);
        last = hold(&mut one, most, START + LONG, None);
        held.push(one);
        if last.is_err() {
            break;
        }
    }
    assert!(matches!(last, Err(LedgerError::SumsExhausted)), "{last:?} after {}", held.len());
    let refused = held.pop().unwrap();
    assert_eq!((refused.intent().state, refused.intent().mandate.is_none()), (State::Created, true));
    // What was held back before can still be paid, lost, refused and resolved.
    let mut one = held.pop().unwrap();
    one.presenting("p").unwrap();
    one.settled(&settlement()).unwrap();
    let mut two = held.pop().unwrap();
    two.presenting("p").unwrap();
    two.refused("c", "m").unwrap();
    bench.ledger.resolve(&two.intent().id, &paid(Some(most)), person()).unwrap();
    let mut three = held.pop().unwrap();
    three.presenting("p").unwrap();
    three.unknown("c", "m").unwrap();
    is_whole(&bench);
}

#[test]
fn a_time_that_ran_ahead_takes_unresolved_amounts_back_with_it() {
    let bench = bench();
    let mut early = presented(&bench, 1_00, "early", 1_00, START + LONG);
    early.refused("c", "m").unwrap();
    let straddling = presented(&bench, 2_00, "straddling", 2_00, START + 900);
    bench.clock.set(START + LONG);
    drop(straddling);
    let mut late = presented(&bench, 4_00, "late", 4_00, START + 2 * LONG);
    bench.clock.advance(7);
    late.refused("c", "m").unwrap();
    let mut resolved = presented(&bench, 8_00, "resolved", 8_00, START + LONG + 8);
    bench.clock.advance(7);
    resolved.unknown("c", "m").unwrap();
    assert_eq!(resolved.intent().state, State::Unresolved);
    bench.ledger.resolve(&resolved.intent().id, &paid(Some(6_00)), person()).unwrap();
    bench.ledger.expire().unwrap();
    bench.clock.set(START + 1000);
    bench.ledger.reset_time().unwrap().unwrap();
    is_whole(&bench);
    // What was presented at the right time counts there, what was in the future counts as of now.
    assert_eq!(counted(&bench.ledger), (6_00, 0, 7_00));
    bench.clock.set(START + HOUR + 1);
    assert_eq!(counted(&bench.ledger), (6_00, 0, 4_00));
    // Changing what was brought back makes no sum go down.
    bench.ledger.resolve(&late.intent().id, &ResolutionVerdict::NotPaid, person()).unwrap();
    bench.ledger.resolve(&early.intent().id, &paid(None), person()).unwrap();
    is_whole(&bench);
    bench.clock.set(START + 1000 + HOUR + 1);
    assert_eq!(counted(&bench.ledger).0, 0);
    bench.pay(&purchase(1, "on"), Some(&Policy::default()));
    is_whole(&bench);
}

#[test]
fn two_processes_that_give_up_and_present_at_once_never_do_both() {
    for _ in 0..20 {
        let bench = bench();
        let mut lost = presented(&bench, 10_00, "a", 10_00, START + 900);
        lost.unknown("transport", "lost").unwrap();
        let id = lost.intent().id.clone();
        drop(lost);
        bench.clock.set(START + 900);
        let (swept, gone_on) = std::thread::scope(|scope| {
            let (one, other) = (bench.reopened(), bench.reopened());
            let sweep = scope.spawn(move || {
                one.expire().unwrap();
            });
            let go_on = scope.spawn(move || match other.begin(&purchase(10_00, "a"), None).unwrap() {
                Begun::Resume(mut claim) => {
                    claim.presenting("p").unwrap();
                    claim.settled(&settlement()).unwrap();
                    true
                }
                Begun::Recorded(_) | Begun::InProgress(_) => false,
                other => panic!("{other:?}"),
            });
            (sweep.join(), go_on.join().unwrap())
        });
        swept.unwrap();
        let state = bench.ledger.intent(&id).unwrap().state;
        assert_eq!(state, if gone_on { State::Settled } else { State::Unresolved });
        is_whole(&bench);
    }
}
