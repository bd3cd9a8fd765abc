//! Eight servers on one data directory and one budget: no purchase is paid twice, and never a minor unit over the budget,
//! counted by the merchants.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod support;

use std::collections::{BTreeSet, VecDeque};
use std::io::Write as _;

use serde_json::{Value, json};
use support::{Answer, CALLBACK, Server, World, purchase, with};

const PROCESSES: usize = 8;
const BUDGET_MINOR: u64 = 20_000;
/// The dearest that is asked for.
const DEAREST_MINOR: u64 = 1299;

#[tokio::test(flavor = "multi_thread")]
async fn eight_processes_never_spend_a_minor_unit_over_the_budget_nor_pay_anything_twice() {
    let world = World::new().await;
    world.set_policy("[currency.EUR]\nper_transaction = 50\napproval_above = 50\nhour = 200\nday = 200");
    drop(world.registered().await);
    let mut running = tokio::task::JoinSet::new();
    for process in 0..PROCESSES {
        let (server, calls) = (world.server().await, calls(&world, process));
        running.spawn(all_at_once(server, calls));
    }
    let (mut attempts, mut answers) = (0, Vec::new());
    while let Some(ended) = running.join_next().await {
        let (asked, answered) = ended.unwrap();
        attempts += asked;
        answers.extend(answered);
    }
    let paid: Vec<_> = answers.iter().filter(|answer| !answer.is_error()).collect();
    let denied = answers.len() - paid.len();
    let purchases: BTreeSet<_> = paid.iter().map(|answer| answer.output()["intent_id"].to_string()).collect();
    let replayed = paid.iter().filter(|answer| answer.output()["replayed"] == true).count();
    let books = world.books().await;
    let charges = world.all_settlements().await;
    let charged_minor: u64 = charges.iter().map(|charge| charge["amount_minor"].as_u64().unwrap()).sum();
    let overspent_minor = charged_minor.saturating_sub(BUDGET_MINOR);
    // Around what the test harness keeps to itself.
    let line = format!(
        "\nrace: {PROCESSES} processes, {attempts} attempts, {} purchases paid once, {replayed} answered again, {denied} over \
         the budget; {charged_minor} of {BUDGET_MINOR} minor units charged, {overspent_minor} overspent, {} double charges, \
         {} lost payments, {} stuck reservations\n",
        books.settled, books.double_charges, books.lost_payments, books.stuck_reservations
    );
    std::io::stdout().write_all(line.as_bytes()).unwrap();
    assert!(books.sound(), "{books:?}");
    assert_eq!((overspent_minor, books.settled_minor), (0, charged_minor));
    assert_eq!((purchases.len(), charges.len()), (books.settled, books.settled));
    assert_eq!(paid.len(), books.settled + replayed);
    for refused in answers.iter().filter(|answer| answer.is_error()) {
        assert_eq!(refused.code(), "budget_exceeded", "{}", refused.text(0));
    }
    // The budget was fought over to its end: of what was denied, nothing would have fitted in.
    assert!(denied > 0 && BUDGET_MINOR - charged_minor < DEAREST_MINOR, "{charged_minor}");
}

/// What one process asks for: the same purchases as every other, and some of its own.
fn calls(world: &World, process: usize) -> Vec<(&'static str, Value)> {
    let merchants = world.sandbox.merchants();
    let socks = purchase(&merchants[0], "alpaca-sock-blue-43", DEAREST_MINOR);
    let brush = purchase(&merchants[1], "keyboard-brush", 1190);
    let cheapest = json!({
        "store_url": merchants[0].origin, "merchant_verify_url": merchants[0].verify_url,
        "max_amount_minor": DEAREST_MINOR, "redirect_uri": CALLBACK,
    });
    let mut calls = Vec::new();
    for round in 0..8 {
        let (same, own) = (json!(format!("round {round}")), json!(format!("round {round} of {process}")));
        for reference in [same, own] {
            for (tool, arguments) in [
                ("agent_payment_initiate", &socks),
                ("agent_payment_initiate", &brush),
                ("agent_buy_cheapest_from_store", &cheapest),
            ] {
                calls.push((tool, with(arguments.clone(), "/purchase_ref", reference.clone())));
            }
        }
    }
    calls
}

/// Sends the calls, four at once, and again what another process was at, until all are answered; with how many were sent.
async fn all_at_once(mut server: Server, calls: Vec<(&'static str, Value)>) -> (usize, Vec<Answer>) {
    let (mut attempts, mut answers) = (0, Vec::new());
    let mut open = VecDeque::from(calls);
    while !open.is_empty() {
        let few: Vec<_> = open.drain(..open.len().min(4)).collect();
        let mut asked = Vec::new();
        for (tool, arguments) in &few {
            asked.push(server.ask("tools/call", json!({"name": tool, "arguments": arguments})).await);
        }
        attempts += few.len();
        for (call, result) in few.into_iter().zip(server.answers_to(&asked).await) {
            let answer = Answer { result: result.unwrap() };
            match answer.is_error() && answer.code() == "intent_in_progress" {
                true => open.push_back(call),
                false => answers.push(answer),
            }
        }
    }
    (attempts, answers)
}
