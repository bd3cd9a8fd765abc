//! The ledger against two models that are too simple to be wrong: a table of states, and a list of payments.
#![allow(clippy::inconsistent_digit_grouping, reason = "major units _ cents")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeMap;

use common::{authorize, bench, mandate, purchase, settlement};
use proptest::prelude::*;
use spend_guard::{Approval, Begun, Claim, Intent, IntentId, LedgerError, Mandate, Offers, Policy, State, Verdict};

/// What can be tried on one of three purchases.
#[derive(Clone, Copy, Debug)]
enum Try {
    Begin,
    LetGo,
    Offers,
    Ask,
    Approve,
    Reject,
    Hold,
    Present,
    Settle,
    Refuse,
    Lose,
    Cancel,
    Wait,
}

/// The model: which state each attempt leads to, written down a second time as the documentation has it.
fn lead(state: State, attempt: Try, holds_mandate: bool) -> Option<State> {
    use State::{
        Approved, Authorized, AwaitingApproval, Canceled, Charging, Created, Failed, Rejected, Settled, Unknown,
    };
    match attempt {
        Try::Offers => [Created, Approved, Authorized].contains(&state).then_some(state),
        Try::Ask => [Created, Authorized].contains(&state).then_some(AwaitingApproval),
        Try::Approve => (state == AwaitingApproval).then_some(Approved),
        Try::Reject => [Created, AwaitingApproval, Approved, Authorized].contains(&state).then_some(Rejected),
        Try::Hold => [Created, Approved, Authorized].contains(&state).then_some(Authorized),
        Try::Present if state == Approved => holds_mandate.then_some(Charging),
        Try::Present => [Authorized, Charging, Unknown].contains(&state).then_some(Charging),
        Try::Settle => [Charging, Unknown].contains(&state).then_some(Settled),
        Try::Lose => [Charging, Unknown].contains(&state).then_some(Unknown),
        Try::Refuse => [Created, Approved, Authorized, Charging, Unknown].contains(&state).then_some(Failed),
        Try::Cancel => [Created, AwaitingApproval, Approved, Authorized].contains(&state).then_some(Canceled),
        Try::Begin | Try::LetGo | Try::Wait => Some(state),
    }
}

fn attempts() -> impl Strategy<Value = Vec<(usize, Try)>> {
    let attempt = prop_oneof![
        4 => Just(Try::Begin),
        2 => Just(Try::LetGo),
        1 => Just(Try::Offers),
        1 => Just(Try::Ask),
        1 => Just(Try::Approve),
        1 => Just(Try::Reject),
        3 => Just(Try::Hold),
        3 => Just(Try::Present),
        2 => Just(Try::Settle),
        1 => Just(Try::Refuse),
        2 => Just(Try::Lose),
        1 => Just(Try::Cancel),
        1 => Just(Try::Wait),
    ];
    prop::collection::vec((0..3usize, attempt), 1..60)
}

#[derive(Default)]
struct One {
    claim: Option<Claim>,
    /// The newest intent, as the model sees it.
    known: Option<(IntentId, State)>,
    holds_mandate: bool,
    was_presented: bool,
    settled: u32,
    /// Whether it was refused by the human and no call was told so yet.
    untold: bool,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_sequence_of_steps_does_what_the_table_says(attempts in attempts()) {
        let bench = bench();
        let mut all: [One; 3] = Default::default();
        for (index, attempt) in attempts {
            let ledger = bench.reopened();
            let one = &mut all[index];
            if let Try::Wait = attempt {
                bench.clock.advance(30);
                continue;
            }
            if let Try::Begin = attempt {
                let begun = ledger.begin(&purchase(100 + index as u64, "model"), None).unwrap();
                match (begun, &one.known, &one.claim) {
                    (Begun::InProgress(intent), Some((id, _)), Some(_)) => prop_assert_eq!(&intent.id, id),
                    (Begun::Replay(intent), Some((id, State::Settled)), None) => prop_assert_eq!(&intent.id, id),
                    (Begun::Recorded(intent), Some((id, State::Failed)), None) if one.was_presented => {
                        prop_assert_eq!(&intent.id, id);
                    }
                    (Begun::AwaitingApproval(intent), Some((id, State::AwaitingApproval)), None) => prop_assert_eq!(&intent.id, id),
                    (Begun::Resume(claim), Some((id, state)), None) => {
                        prop_assert!(!state.is_final());
                        prop_assert_eq!((&claim.intent().id, claim.intent().state), (id, *state));
                        one.claim = Some(claim);
                    }
                    (Begun::Rejected(intent), Some((id, State::Rejected)), None) => {
                        prop_assert_eq!(&intent.id, id);
                        prop_assert!(std::mem::take(&mut one.untold), "told twice");
                    }
                    (Begun::New(claim), known, None) => {
                        prop_assert!(!one.untold, "not told");
                        prop_assert!(known.as_ref().is_none_or(|(_, state)| state.is_final() && *state != State::Settled));
                        prop_assert!(!one.was_presented, "a second mandate for one purchase");
                        one.known = Some((claim.intent().id.clone(), State::Created));
                        one.holds_mandate = false;
                        one.claim = Some(claim);
                    }
                    (begun, known, claim) => prop_assert!(false, "{:?} {:?} {:?}", begun, known, claim),
                }
                continue;
            }
            let Some((id, state)) = one.known.clone() else { continue };
            let outcome: Result<(), LedgerError> = match attempt {
                Try::LetGo => { one.claim = None; Ok(()) }
                Try::Approve => {
                    let intent = ledger.intent(&id).unwrap();
                    match &intent.approval {
                        Approval::Requested { terms } => ledger.approve(&id, terms).map(|_| ()),
                        _ => continue,
                    }
                }
                Try::Cancel | Try::Reject if one.claim.is_some() && !state.is_final() => {
                    for refused in [ledger.cancel(&id), ledger.reject(&id)] {
                        let is_driven = matches!(refused, Err(LedgerError::InProgress(_)));
                        prop_assert!(is_driven);
                    }
                    continue;
                }
                Try::Reject => ledger.reject(&id).map(|_| ()),
                Try::Cancel => ledger.cancel(&id).map(|_| ()),
                _ => {
                    let Some(claim) = &mut one.claim else { continue };
                    match attempt {
                        Try::Offers => claim.offers_verified(Offers::Verified { digest: "d" }).map(|_| ()),
                        Try::Hold => {
                            let mandate = Mandate { expires_at: common::START + 100_000, ..mandate(&format!("m{id}")) };
                            claim.mandate_held(mandate, "x~", None).map(|_| ())
                        }
                        Try::Present => claim.presenting("p"),
                        Try::Settle => claim.settled(&settlement()),
                        Try::Refuse => claim.refused("c", "m"),
                        Try::Lose => claim.unknown("c", "m"),
                        _ => one.claim.take().unwrap().await_approval(vec![]).map(|_| ()),
                    }
                }
            };
            match (outcome, lead(state, attempt, one.holds_mandate)) {
                (Ok(()), Some(next)) => {
                    one.holds_mandate |= matches!(attempt, Try::Hold);
                    one.was_presented |= matches!(attempt, Try::Present);
                    one.known = Some((id, next));
                    if next.is_final() {
                        one.claim = None;
                    }
                    one.untold |= matches!(attempt, Try::Reject);
                    one.settled += u32::from(matches!(attempt, Try::Settle));
                }
                (Err(LedgerError::IllegalStep { from, .. }), None) => prop_assert_eq!(from, state),
                (outcome, wanted) => prop_assert!(false, "{:?} from {}: {:?}, wanted {:?}", attempt, state, outcome, wanted),
            }
            prop_assert!(one.settled <= 1, "paid twice");
        }
        let stored: BTreeMap<IntentId, Intent> = {
            let filter = spend_guard::Filter { limit: 1000, ..spend_guard::Filter::default() };
            bench.ledger.list(&filter).unwrap().intents.into_iter().map(|intent| (intent.id.clone(), intent)).collect()
        };
        for one in &all {
            if let Some((id, state)) = &one.known {
                prop_assert_eq!(stored[id].state, *state);
            }
        }
        for intent in stored.values() {
            prop_assert_eq!(intent.reserved, !intent.state.is_final());
        }
        prop_assert!(bench.ledger.verify(None).unwrap().is_ok());
    }
}

/// What can happen to money.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// A payment of so much is tried; what then becomes of it.
    Pay(u64, Fate),
    /// The oldest one that is in flight is settled, or refused.
    Reconcile(bool),
    /// The clock moves, sometimes back.
    Tick(i64),
}

#[derive(Clone, Copy, Debug)]
enum Fate {
    Settled,
    Refused,
    InFlight,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let fate = prop_oneof![3 => Just(Fate::Settled), 1 => Just(Fate::Refused), 1 => Just(Fate::InFlight)];
    let event = prop_oneof![
        6 => (1u64..=60_00, fate).prop_map(|(amount, fate)| Event::Pay(amount, fate)),
        1 => any::<bool>().prop_map(Event::Reconcile),
        3 => prop_oneof![
            0i64..10, 3590i64..3611, Just(3600), Just(3601), Just(86_400), Just(86_401), 0i64..200_000, -5000i64..0
        ].prop_map(Event::Tick),
    ];
    prop::collection::vec(event, 1..50)
}

/// What can happen to what was presented.
#[derive(Clone, Copy, Debug)]
enum After {
    /// A mandate of so much, above the amount by so much, that lives so long, is presented.
    Present(u64, u64, i64),
    /// The nth is presented once more.
    Again(usize),
    Settle(usize),
    Refuse(usize),
    /// The answer is lost; with `true`, its driver goes away.
    Lose(usize, bool),
    /// The nth is resolved, as paid in so much or as not paid.
    Resolve(usize, Option<u64>),
    /// The revocation of the nth's grant is confirmed, or not.
    Revoke(usize, bool),
    Sweep,
    Tick(i64),
    /// The ledger's time is brought back to the clock's.
    Reset,
}

fn afters() -> impl Strategy<Value = Vec<After>> {
    let which = 0..8usize;
    let life = prop_oneof![Just(60i64), Just(900), Just(100_000)];
    let after = prop_oneof![
        5 => (1u64..=50_00, prop_oneof![2 => Just(0u64), 1 => 1u64..20_00], life)
            .prop_map(|(amount, above, life)| After::Present(amount, above, life)),
        1 => which.clone().prop_map(After::Again),
        2 => which.clone().prop_map(After::Settle),
        2 => which.clone().prop_map(After::Refuse),
        2 => (which.clone(), any::<bool>()).prop_map(|(n, goes)| After::Lose(n, goes)),
        3 => (which.clone(), prop::option::of(1u64..80_00)).prop_map(|(n, paid)| After::Resolve(n, paid)),
        1 => (which, any::<bool>()).prop_map(|(n, confirmed)| After::Revoke(n, confirmed)),
        1 => Just(After::Sweep),
        4 => prop_oneof![0i64..10, 50i64..70, 890i64..910, 3590i64..3611, 0i64..200_000, -5000i64..0].prop_map(After::Tick),
        1 => Just(After::Reset),
    ];
    prop::collection::vec(after, 1..60)
}

/// A presented purchase as a naive reader of the documentation has it.
struct Shown {
    id: IntentId,
    claim: Option<Claim>,
    amount: u64,
    cap: u64,
    ends: i64,
    presented: i64,
    state: State,
    /// What it counts as spent, and when.
    settled: Option<(i64, u64)>,
    unresolved: Option<(i64, u64)>,
    /// What is held back while the mandate can be charged.
    held: u64,
    is_revoked: bool,
    is_resolved: bool,
    /// When it last took a step.
    changed: i64,
}

impl Shown {
    fn is_in_flight(&self) -> bool {
        matches!(self.state, State::Charging | State::Unknown)
    }

    fn lives(&self, now: i64) -> bool {
        !self.is_revoked && self.ends > now
    }

    fn give_up(&mut self, now: i64) {
        (self.state, self.unresolved, self.held) = (State::Unresolved, Some((self.presented, self.cap)), 0);
        (self.claim, self.changed) = (None, now);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_presented_counts_as_a_naive_list_has_it(afters in afters()) {
        let bench = bench();
        let policy = Policy::parse(
            "[currency.EUR]\napproval_above = \"none\"\nhour = 9000\nday = 9000\nweek = 9000\nmonth = 9000", "p",
        ).unwrap();
        let windows = [("hour", 3600), ("day", 86_400), ("week", 7 * 86_400), ("month", 31 * 86_400)];
        let by = || spend_guard::ResolvedBy::Person { name: "n".into(), reason: "r".into() };
        let (mut newest, mut clock) = (0, common::START);
        let mut all: Vec<Shown> = Vec::new();
        for (n, after) in afters.into_iter().enumerate() {
            let now = newest.max(clock);
            let of = |index: usize| index % all.len().max(1);
            match after {
                After::Tick(seconds) => {
                    clock += seconds;
                    bench.clock.set(clock);
                }
                After::Reset => {
                    let is_ahead = newest > clock;
                    prop_assert_eq!(bench.ledger.reset_time().unwrap().is_some(), is_ahead);
                    if is_ahead {
                        newest = clock;
                        for one in all.iter_mut().filter(|one| one.changed > clock) {
                            (one.changed, one.presented) = (clock, one.presented.min(clock));
                            for counted in [&mut one.settled, &mut one.unresolved].into_iter().flatten() {
                                counted.0 = counted.0.min(clock);
                            }
                        }
                    }
                }
                // A sweep leaves alone what is driven.
                After::Sweep => {
                    bench.ledger.expire().unwrap();
                    for one in all.iter_mut().filter(|one| one.claim.is_none() && one.ends <= now) {
                        if one.is_in_flight() {
                            one.give_up(now);
                            newest = now;
                        } else if one.held > 0 {
                            one.held = 0;
                            newest = now;
                        }
                    }
                }
                After::Present(amount, above, life) => {
                    // No policy: what this test is about is how the sums come to be. What is over its time ends here too.
                    let mut claim = common::claim(bench.ledger.begin(&purchase(amount, &n.to_string()), None).unwrap());
                    newest = now;
                    for one in all.iter_mut().filter(|one| one.claim.is_none() && one.ends <= now) {
                        if one.is_in_flight() { one.give_up(now) } else { one.held = 0 }
                    }
                    let id = claim.intent().id.clone();
                    let (cap, ends) = (amount + above, now + life);
                    let mandate = Mandate { mandate_id: format!("m{n}"), cap_minor: cap, expires_at: ends };
                    claim.mandate_held(mandate, "x~", None).unwrap();
                    claim.presenting("p").unwrap();
                    all.push(Shown {
                        id, claim: Some(claim), amount, cap, ends, presented: now, state: State::Charging, settled: None,
                        unresolved: None, held: cap, is_revoked: false, is_resolved: false, changed: now,
                    });
                }
                _ if all.is_empty() => continue,
                After::Again(index) | After::Settle(index) | After::Refuse(index) | After::Lose(index, _) => {
                    let index = of(index);
                    let one = &mut all[index];
                    let Some(claim) = &mut one.claim else { continue };
                    newest = now;
                    one.changed = now;
                    match after {
                        After::Again(_) => {
                            claim.presenting("again").unwrap();
                            (one.presented, one.state) = (now, State::Charging);
                        }
                        After::Settle(_) => {
                            claim.settled(&settlement()).unwrap();
                            (one.claim, one.state) = (None, State::Settled);
                            one.settled = Some((now, one.amount));
                            one.held = if one.lives(now) { one.cap - one.amount } else { 0 };
                        }
                        After::Refuse(_) => {
                            claim.refused("c", "m").unwrap();
                            (one.claim, one.state, one.held) = (None, State::Failed, 0);
                            one.unresolved = Some((one.presented, one.cap));
                        }
                        After::Lose(_, goes) => {
                            claim.unknown("c", "m").unwrap();
                            one.state = State::Unknown;
                            if !one.lives(now) {
                                one.give_up(now);
                            } else if goes {
                                one.claim = None;
                            }
                        }
                        _ => {}
                    }
                }
                After::Resolve(index, paid) => {
                    let index = of(index);
                    let one = &mut all[index];
                    let verdict = match paid {
                        Some(minor) => spend_guard::ResolutionVerdict::Paid { amount_minor: Some(minor), payment_intent_id: None },
                        None => spend_guard::ResolutionVerdict::NotPaid,
                    };
                    let resolved = bench.ledger.resolve(&one.id, &verdict, by());
                    let is_open = one.is_in_flight() || one.unresolved.is_some();
                    match resolved {
                        Err(LedgerError::InProgress(_)) => prop_assert!(one.claim.is_some()),
                        Err(LedgerError::NothingToResolve { .. }) => prop_assert!(!is_open),
                        Err(error) => prop_assert!(false, "{}", error),
                        Ok(_) => {
                            prop_assert!(is_open && one.claim.is_none() && !one.is_resolved);
                            newest = now;
                            (one.changed, one.is_resolved, one.unresolved) = (now, true, None);
                            one.state = if paid.is_some() { State::Settled } else { State::Failed };
                            one.settled = paid.map(|minor| (one.presented, minor));
                            one.held = if one.lives(now) { one.cap.saturating_sub(paid.unwrap_or(0)) } else { 0 };
                        }
                    }
                }
                After::Revoke(index, confirmed) => {
                    let index = of(index);
                    let one = &mut all[index];
                    bench.ledger.grant_revoked(&one.id, confirmed).unwrap();
                    newest = if one.is_revoked { newest } else { now };
                    one.is_revoked |= confirmed;
                    if one.is_revoked && !one.is_in_flight() {
                        one.held = 0;
                    }
                }
            }
            let now = newest.max(clock);
            let within = |list: &mut dyn Iterator<Item = (i64, u64)>, seconds: i64| -> u64 {
                list.filter(|(at, _)| now - at <= seconds).map(|(_, minor)| minor).sum()
            };
            let held: u64 = all.iter().map(|one| one.held).sum();
            for budget in bench.reopened().budgets(&policy).unwrap().iter().filter(|budget| budget.currency.code() == "EUR") {
                let (_, seconds) = windows.iter().find(|(window, _)| *window == budget.window).unwrap();
                let settled = within(&mut all.iter().filter_map(|one| one.settled), *seconds);
                let unresolved = within(&mut all.iter().filter_map(|one| one.unresolved), *seconds);
                let counted = (budget.settled_minor, budget.reserved_minor, budget.unresolved_minor);
                prop_assert_eq!(counted, (settled, held, unresolved), "{} after {:?}", budget.window, after);
                prop_assert_eq!(budget.left_minor, 9000_00u64.saturating_sub(settled + held + unresolved));
            }
            for one in &all {
                prop_assert_eq!(bench.ledger.intent(&one.id).unwrap().state, one.state);
            }
            let proof = bench.ledger.verify(None).unwrap();
            prop_assert!(proof.is_ok(), "{:?} after {:?}", proof, after);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn budgets_agree_with_a_list_of_payments(events in events()) {
        let bench = bench();
        let policy = Policy::parse(
            "[currency.EUR]\napproval_above = \"none\"\nhour = 100\nday = 200\nweek = 500\nmonth = 1000", "p",
        ).unwrap();
        bench.ledger.confirm(&policy).unwrap();
        let budgets = [("hour", 3600, 100_00), ("day", 86_400, 200_00), ("week", 7 * 86_400, 500_00), ("month", 31 * 86_400, 1000_00)];
        let (mut time, mut clock) = (common::START, common::START);
        let mut settled: Vec<(i64, u64)> = Vec::new();
        // Refused by the merchant after it got the mandate, which is only its word.
        let mut refused: Vec<(i64, u64)> = Vec::new();
        let sum = |list: &[(i64, u64)], now: i64, seconds: i64| -> u64 {
            list.iter().filter(|(at, _)| now - at <= seconds).map(|(_, amount)| amount).sum()
        };
        let mut in_flight: Vec<(Claim, u64)> = Vec::new();
        for (n, event) in events.into_iter().enumerate() {
            match event {
                Event::Tick(seconds) => {
                    clock += seconds;
                    bench.clock.set(clock);
                }
                Event::Pay(amount, fate) => {
                    time = time.max(clock);
                    let held: u64 = in_flight.iter().map(|(_, amount)| amount).sum();
                    let fits = budgets.iter().all(|(_, seconds, limit)| {
                        let spent = sum(&settled, time, *seconds) + sum(&refused, time, *seconds);
                        spent + held + amount <= *limit
                    });
                    let purchase = purchase(amount, &n.to_string());
                    prop_assert_eq!(bench.ledger.simulate(&purchase, &policy).unwrap().verdict == Verdict::Allow, fits);
                    match (bench.ledger.begin(&purchase, Some(&policy)).unwrap(), fits) {
                        (Begun::Denied(denial), false) => {
                            prop_assert!(denial.evaluation.findings.iter().all(|finding| finding.code == "budget_exceeded"));
                        }
                        (Begun::New(mut claim), true) => {
                            authorize(&mut claim);
                            claim.presenting("p").unwrap();
                            match fate {
                                Fate::Settled => { claim.settled(&settlement()).unwrap(); settled.push((time, amount)); }
                                Fate::Refused => { claim.refused("c", "m").unwrap(); refused.push((time, amount)); }
                                Fate::InFlight => { claim.unknown("c", "m").unwrap(); in_flight.push((claim, amount)); }
                            }
                        }
                        (begun, fits) => prop_assert!(false, "{:?} though fits is {}", begun, fits),
                    }
                }
                Event::Reconcile(is_settled) => {
                    if in_flight.is_empty() {
                        continue;
                    }
                    time = time.max(clock);
                    let (mut claim, amount) = in_flight.remove(0);
                    claim.presenting("again").unwrap();
                    if is_settled {
                        claim.settled(&settlement()).unwrap();
                        settled.push((time, amount));
                    } else {
                        claim.refused("c", "m").unwrap();
                        refused.push((time, amount));
                    }
                }
            }
            let now = time.max(clock);
            let held: u64 = in_flight.iter().map(|(_, amount)| amount).sum();
            for budget in bench.ledger.budgets(&policy).unwrap().iter().filter(|budget| budget.currency.code() == "EUR") {
                let (_, seconds, limit) = budgets.iter().find(|(window, ..)| *window == budget.window).unwrap();
                let (spent, unresolved) = (sum(&settled, now, *seconds), sum(&refused, now, *seconds));
                let counted = (budget.settled_minor, budget.reserved_minor, budget.unresolved_minor);
                prop_assert_eq!(counted, (spent, held, unresolved));
                prop_assert_eq!(budget.left_minor, limit.saturating_sub(spent + held + unresolved));
            }
        }
        prop_assert!(bench.ledger.verify(None).unwrap().is_ok());
    }
}
