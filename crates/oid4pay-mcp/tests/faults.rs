//! Every fault of the sandbox at every step, once and again and again: each call has the one outcome that is right, nothing
//! is charged twice, and the next call clears up what the last one left open.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod support;

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;

use sandbox::{Fault, PlannedFault, Step};
use serde_json::{Value, json};
use support::{Answer, Server, World, with};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// What comes of a call that meets the fault, and of those after it until it is settled, by step in the order of
/// [`Step::ALL`]. `failed` is final, with its code, and nothing was charged; of `unknown` it stands there how often the
/// merchant has charged.
#[rustfmt::skip]
const ONCE: [(Fault, [&str; 6]); 10] = [
    //                       register    offer    par      authorize  token    verify
    (Fault::Delay,           [REGISTERED, SETTLED, SETTLED, SETTLED, SETTLED, SETTLED]),
    (Fault::Http5xx,         ["failed temporarily_unavailable, registered", DOWN, DOWN, DOWN, DOWN, SETTLED]),
    (Fault::ResetBefore,     ["failed connection_lost, registered", RESET, RESET, RESET, RESET, SETTLED]),
    // A setup token whose answer was lost is spent: the third registration has another.
    (Fault::ResetAfter,      ["failed connection_lost, failed invalid_software_statement, registered",
                              RESET, RESET, RESET, RESET, SETTLED]),
    (Fault::AnswerLost,      ["failed timed_out, failed invalid_software_statement, registered",
                              LATE, LATE, LATE, LATE, SETTLED]),
    (Fault::StaleNonce,      [REGISTERED, SETTLED, SETTLED, SETTLED, SETTLED, SETTLED]),
    (Fault::RotatedKeys,     [REGISTERED, SETTLED, SETTLED, SETTLED, SETTLED, SETTLED]),
    // An offer from the future, a proof from the past, a request URI that is over, an assertion that is.
    (Fault::ClockSkew,       [REGISTERED, "failed offer_invalid, settled", "failed invalid_client, settled",
                              "failed server_error, settled", "failed invalid_client, settled",
                              // A proof that is refused is no refused purchase: it goes without the token.
                              SETTLED]),
    (Fault::Revoked,         [REGISTERED, SETTLED, SETTLED, SETTLED, SETTLED, REVOKED]),
    (Fault::DuplicateAnswer, [REGISTERED, SETTLED, SETTLED, SETTLED, SETTLED, SETTLED]),
];

/// The same for faults that come one after the other.
#[rustfmt::skip]
const REPEATED: [(Step, &[Fault], &str); 18] = [
    (Step::Offer, &[Fault::Http5xx; 2], "failed temporarily_unavailable, failed temporarily_unavailable, settled"),
    (Step::Offer, &[Fault::ClockSkew; 2], "failed offer_invalid, failed offer_invalid, settled"),
    (Step::Par, &[Fault::ResetAfter; 2], "failed connection_lost, failed connection_lost, settled"),
    (Step::Par, &[Fault::StaleNonce; 2], "failed use_dpop_nonce, settled"),
    (Step::Authorize, &[Fault::ResetBefore; 2], "failed connection_lost, failed connection_lost, settled"),
    (Step::Token, &[Fault::Http5xx; 2], "failed temporarily_unavailable, failed temporarily_unavailable, settled"),
    (Step::Token, &[Fault::ResetAfter; 2], "failed connection_lost, failed connection_lost, settled"),
    (Step::Token, &[Fault::StaleNonce; 2], "failed use_dpop_nonce, settled"),
    // Three attempts are one call.
    (Step::Verify, &[Fault::Http5xx; 2], SETTLED),
    (Step::Verify, &[Fault::Http5xx; 3], "unknown 0, settled"),
    (Step::Verify, &[Fault::ResetBefore; 3], "unknown 0, settled"),
    (Step::Verify, &[Fault::ResetAfter; 3], "unknown 1, settled"),
    (Step::Verify, &[Fault::ResetAfter; 7], "unknown 1, unknown 1, settled"),
    (Step::Verify, &[Fault::StaleNonce; 3], SETTLED),
    (Step::Verify, &[Fault::AnswerLost, Fault::Http5xx, Fault::ResetBefore], "unknown 1, settled"),
    // What is settled is answered though the mandate was revoked since; what is not is refused for good.
    (Step::Verify, &[Fault::ResetAfter, Fault::Revoked], SETTLED),
    (Step::Verify, &[Fault::ResetBefore, Fault::Revoked], REVOKED),
    // A refusal of the proof says nothing of the purchase, before a lost answer or after one.
    (Step::Verify, &[Fault::ResetBefore, Fault::ClockSkew, Fault::ClockSkew], SETTLED),
];

const REGISTERED: &str = "registered";
const SETTLED: &str = "settled";
/// Refused after a mandate was presented: the same call repeats that, and a deliberate new one is made.
const REVOKED: &str = "failed mandate_status_revoked, failed mandate_status_revoked, settled";
const DOWN: &str = "failed temporarily_unavailable, settled";
const RESET: &str = "failed connection_lost, settled";
const LATE: &str = "failed timed_out, settled";

struct Case {
    step: Step,
    faults: Vec<Fault>,
    expected: &'static str,
}

struct Outcome {
    case: String,
    expected: &'static str,
    found: String,
    books: support::books::Books,
    /// How many purchases were to be settled.
    purchases: usize,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_at_every_step_has_its_outcome_and_the_next_call_reconciles() {
    let once = ONCE.into_iter().flat_map(|(fault, by_step)| {
        let by_step = Step::ALL.iter().zip(by_step);
        by_step.map(move |(&step, expected)| Case { step, faults: vec![fault], expected })
    });
    let repeated = REPEATED.iter().map(|&(step, faults, expected)| Case { step, faults: faults.to_vec(), expected });
    let mut cases: Vec<_> = once.chain(repeated).collect();
    // Those that wait for a client to give up go first.
    cases.sort_by_key(|case| !case.faults.contains(&Fault::AnswerLost));
    let turns = Arc::new(Semaphore::new(12));
    let mut running = JoinSet::new();
    for case in cases {
        let turns = Arc::clone(&turns);
        running.spawn(async move {
            let _turn = turns.acquire().await.unwrap();
            run(case).await
        });
    }
    let (mut faults, mut cases, mut wrong) = (0, 0, String::new());
    let (mut at_once, mut after_failure, mut after_doubt) = (0, 0, 0);
    let mut total = support::books::Books::default();
    while let Some(outcome) = running.join_next().await {
        let outcome = outcome.unwrap();
        cases += 1;
        faults += outcome.case.split(' ').count();
        match outcome.found.split(' ').next() {
            Some("failed") => after_failure += 1,
            Some("unknown") => after_doubt += 1,
            _ => at_once += 1,
        }
        if outcome.found != outcome.expected || outcome.books.settled != outcome.purchases {
            writeln!(wrong, "{}: {}, not {}; {:?}", outcome.case, outcome.found, outcome.expected, outcome.books)
                .unwrap();
        }
        total.settled += outcome.books.settled;
        total.double_charges += outcome.books.double_charges;
        total.lost_payments += outcome.books.lost_payments;
        total.stuck_reservations += outcome.books.stuck_reservations;
    }
    // Around what the test harness keeps to itself.
    let line = format!(
        "\nfaults: {faults} faults in {cases} cases: {at_once} without effect, {after_failure} failed and made by a later call, \
         {after_doubt} unknown and reconciled; {} settled once, {} double charges, {} lost payments, {} stuck reservations\n",
        total.settled, total.double_charges, total.lost_payments, total.stuck_reservations
    );
    std::io::stdout().write_all(line.as_bytes()).unwrap();
    assert!(wrong.is_empty(), "{wrong}");
    assert!(total.sound(), "{total:?}");
}

async fn run(case: Case) -> Outcome {
    let world = World::new().await;
    world.spend_freely();
    let plan = || {
        for &fault in &case.faults {
            world.sandbox.plan_fault(PlannedFault { fault, step: case.step });
        }
    };
    let found = if case.step == Step::Register {
        plan();
        register(&world).await
    } else {
        let mut server = world.registered().await;
        // Warm, with keys and nonces from before the fault.
        let first = with(world.socks(), "/purchase_ref", json!("before the fault"));
        assert_eq!(server.call("agent_payment_initiate", first).await.output()["status"], "settled");
        plan();
        pay(&world, server).await
    };
    let books = world.books().await;
    let name = |fault: &Fault| PlannedFault { fault: *fault, step: case.step }.to_string();
    let names: Vec<_> = case.faults.iter().map(name).collect();
    let purchases = if case.step == Step::Register { 1 } else { 2 };
    Outcome { case: names.join(" "), expected: case.expected, found, books, purchases }
}

/// Calls until it is settled: first in the process that was there before, then in new ones.
async fn pay(world: &World, mut server: Server) -> String {
    let mut found = Vec::new();
    let mut key = None;
    let mut arguments = world.socks();
    for _ in 0..5 {
        let answer = server.call("agent_payment_initiate", arguments.clone()).await;
        found.push(outcome(world, &answer, &mut key).await);
        if answer.is_error() && answer.error()["context"]["replayed"] == true {
            arguments = with(world.socks(), "/purchase_ref", json!("a deliberate new attempt"));
        }
        if found.last().unwrap() == "settled" {
            break;
        }
        server = world.server().await;
    }
    found.join(", ")
}

/// The outcome of a call, having seen that ledger and merchant bear it out.
async fn outcome(world: &World, answer: &Answer, unknown: &mut Option<Value>) -> String {
    let charged = world.settlements(world.alpacanica()).await.len() - 1;
    let (status, about) = match answer.is_error() {
        true => (answer.error()["context"]["intent_state"].clone(), answer.error()["context"].clone()),
        false => (answer.output()["status"].clone(), answer.output().clone()),
    };
    let intents = support::books::intents(&world.ledger());
    let intent = intents.iter().find(|intent| about["intent_id"] == intent.id.as_str()).unwrap();
    assert_eq!(status, intent.state.as_str(), "the answer is what the ledger says");
    if let Some(key) = &*unknown {
        assert_eq!(about["idempotency_key"], *key, "what is unknown is cleared up under its own key");
    }
    match status.as_str().unwrap() {
        "settled" => {
            assert_eq!((&about["receipt_status"], charged), (&json!("verified"), 1));
            "settled".to_owned()
        }
        "failed" => {
            assert_eq!(charged, 0, "what was charged has not failed");
            assert!(!intent.reserved, "its money is given back");
            let counts = if intent.attempts > 0 { 1299 } else { 0 };
            assert_eq!(intent.unresolved_minor, counts, "what a merchant could have taken counts");
            format!("failed {}", answer.code())
        }
        "unknown" => {
            *unknown = Some(about["idempotency_key"].clone());
            format!("unknown {charged}")
        }
        other => format!("{other} {}", answer.code()),
    }
}

/// Registers, with the same setup token a second time, with another one then, and pays.
async fn register(world: &World) -> String {
    let mut server = world.server().await;
    let mut found = Vec::new();
    let first = world.registration();
    for registration in [first.clone(), first, world.registration()] {
        let answer = server.call("agent_register", registration).await;
        if !answer.is_error() {
            found.push("registered".to_owned());
            break;
        }
        found.push(format!("failed {}", answer.code()));
    }
    assert_eq!(server.call("agent_payment_initiate", world.socks()).await.output()["status"], "settled");
    found.join(", ")
}
