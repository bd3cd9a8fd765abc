//! A call that its caller gives up, or that takes too long: before anything was presented it stops, afterwards it finishes.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod support;

use std::time::Duration;

use sandbox::{ConsentMode, Fault, PlannedFault, SandboxConfig, Step};
use serde_json::{Value, json};
use spend_guard::{Intent, State};
use support::liar::{Forger, JSON, Signed, article, plain};
use support::{CALLBACK, Lifecycle, Server, World, with};
use tokio::time::Instant;

const PAY: &str = "agent_payment_initiate";
const CHEAPEST: &str = "agent_buy_cheapest_from_store";
const VERIFY: &str = "/verify-mandate";

/// How a caller gives up.
const ENDINGS: [Ending; 3] = [Ending::Cancelled, Ending::Closed, Ending::Terminated];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Cancelled,
    Closed,
    Terminated,
}

impl Ending {
    /// Gives the call up; the server goes on where only the call was cancelled.
    async fn befall(self, mut server: Server, asked: u64) -> Option<Server> {
        match self {
            Self::Cancelled => {
                let params = json!({"requestId": asked, "reason": "the person has changed their mind"});
                server.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params})).await;
                return Some(server);
            }
            Self::Closed => assert!(server.end().await.status.success()),
            Self::Terminated => {
                let sent = std::process::Command::new("kill").arg(server.pid().to_string()).status();
                assert!(sent.unwrap().success());
                assert!(server.ended().await.status.success());
            }
        }
        None
    }
}

fn cheapest(world: &World) -> Value {
    let store = world.alpacanica();
    json!({
        "store_url": store.origin, "merchant_verify_url": store.verify_url, "max_amount_minor": 2000,
        "redirect_uri": CALLBACK,
    })
}

/// A server whose calls may take so many seconds.
async fn hurried(world: &World, seconds: &str) -> Server {
    let data_dir = world.data_dir();
    let (origin, data_dir) = (world.sandbox.as_origin(), data_dir.to_str().unwrap());
    let arguments = ["--as-origin", origin, "--data-dir", data_dir, "--call-deadline", seconds, "--consent-wait", "60"];
    Server::start_with(&arguments, world.home.path(), &[], Lifecycle::Handshake("2025-11-25")).await
}

/// A world in which a payment was made before, so that the next presentation is charged at once.
async fn warm() -> World {
    let world = World::new().await;
    let mut server = world.registered().await;
    let first = with(world.socks(), "/purchase_ref", json!("before"));
    assert_eq!(server.call(PAY, first).await.output()["status"], "settled");
    world
}

async fn until_asked_for(world: &World, path: &str) {
    for _ in 0..500 {
        if world.sandbox.requests().iter().any(|request| request.path == path) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("nothing was sent to {path}");
}

fn newest(world: &World) -> Intent {
    support::books::intents(&world.ledger()).remove(0)
}

async fn settlements(world: &World) -> usize {
    world.all_settlements().await.len()
}

/// Whatever it was doing: fetching offers, pushing the request, asking, or redeeming the code.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_given_up_before_it_presents_never_pays() {
    let mut running = tokio::task::JoinSet::new();
    for step in [Step::Offer, Step::Par, Step::Authorize, Step::Token] {
        for ending in ENDINGS {
            for tool in [PAY, CHEAPEST] {
                running.spawn(never_pays(step, ending, tool));
            }
        }
    }
    while let Some(ended) = running.join_next().await {
        ended.unwrap();
    }
}

async fn never_pays(step: Step, ending: Ending, tool: &'static str) {
    let told = format!("{tool}, {ending:?} at {}", step.name());
    let world = World::new().await;
    let mut server = world.registered().await;
    world.sandbox.plan_fault(PlannedFault { fault: Fault::Delay, step });
    world.sandbox.clear_requests();
    let arguments = if tool == PAY { world.socks() } else { cheapest(&world) };
    let asked = server.ask("tools/call", json!({"name": tool, "arguments": arguments})).await;
    while !world.sandbox.requests().iter().any(|request| is_of(step, &request.path)) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let given_up = Instant::now();
    let server = ending.befall(server, asked).await;
    assert!(given_up.elapsed() < Duration::from_secs(2), "{told}: it ends at once");
    let before = world.sandbox.requests().len();
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(world.sandbox.requests().len(), before, "{told}: nothing more is sent");
    assert_eq!(settlements(&world).await, 0, "{told}");
    // What nobody was asked about holds no money back.
    let intent = newest(&world);
    assert_eq!((intent.state, intent.reserved), (State::Canceled, false), "{told}");
    // The next call is a purchase like any other.
    let mut next = match server {
        Some(server) => server,
        None => world.server().await,
    };
    let settled = next.call(tool, arguments).await;
    assert_eq!(settled.output()["status"], "settled", "{told}");
    assert_eq!(settlements(&world).await, 1, "{told}");
}

fn is_of(step: Step, path: &str) -> bool {
    match step {
        Step::Offer => path.starts_with("/oid4ac/offer/") || path.starts_with("/products/"),
        Step::Par => path == "/oauth/par",
        Step::Authorize => path == "/oauth/authorize",
        _ => path == "/oauth/token",
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_given_up_while_it_presents_pays_once_and_is_recorded() {
    for ending in ENDINGS {
        let world = warm().await;
        let mut server = world.server().await;
        world.sandbox.plan_fault(PlannedFault { fault: Fault::Delay, step: Step::Verify });
        world.sandbox.clear_requests();
        let asked = server.ask("tools/call", json!({"name": PAY, "arguments": world.socks()})).await;
        until_asked_for(&world, VERIFY).await;
        let server = ending.befall(server, asked).await;
        let mut next = match server {
            Some(server) => server,
            None => {
                // Recorded before the process ended, without another call.
                assert_eq!(newest(&world).state, State::Settled, "{ending:?}");
                world.server().await
            }
        };
        let again = next.call(PAY, world.socks()).await;
        assert_eq!((&again.output()["status"], &again.output()["replayed"]), (&json!("settled"), &json!(true)));
        assert_eq!(again.output()["receipt_status"], "verified", "{ending:?}");
        let books = world.books().await;
        assert!(books.sound() && books.settled == 2, "{ending:?}: {books:?}");
    }
}

/// The merchant settles and never answers: the process does not wait for it for ever, and does not forget it either.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_ends_while_no_answer_comes_records_that_the_outcome_is_unknown() {
    for ending in [Ending::Closed, Ending::Terminated] {
        let world = warm().await;
        let mut server = world.server().await;
        world.sandbox.plan_fault(PlannedFault { fault: Fault::AnswerLost, step: Step::Verify });
        world.sandbox.clear_requests();
        let asked = server.ask("tools/call", json!({"name": PAY, "arguments": world.socks()})).await;
        until_asked_for(&world, VERIFY).await;
        assert!(ending.befall(server, asked).await.is_none());
        assert_eq!(newest(&world).state, State::Unknown, "{ending:?}");
        let settled = world.server().await.call(PAY, world.socks()).await;
        assert_eq!(settled.output()["status"], "settled");
        let books = world.books().await;
        assert!(books.sound() && books.settled == 2, "{ending:?}: {books:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_deadline_a_call_that_has_presented_answers_unknown_and_the_next_one_settles() {
    let world = warm().await;
    let mut server = hurried(&world, "2").await;
    world.sandbox.plan_fault(PlannedFault { fault: Fault::AnswerLost, step: Step::Verify });
    let began = Instant::now();
    let lost = server.call(PAY, world.socks()).await;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert_eq!(lost.output()["status"], "unknown");
    assert!(lost.output()["mandate_id"].is_string() && lost.output()["next_step"].is_string());
    assert_eq!(newest(&world).state, State::Unknown);
    let settled = server.call(PAY, world.socks()).await;
    assert_eq!(
        (&settled.output()["status"], &settled.output()["intent_id"]),
        (&json!("settled"), &lost.output()["intent_id"])
    );
    let books = world.books().await;
    assert!(books.sound() && books.settled == 2, "{books:?}");
}

/// A merchant that settles and says no, beside an authorization server that is too slow to end the grant. The answer is
/// what was recorded, not that nothing was presented.
#[tokio::test(flavor = "multi_thread")]
async fn at_the_deadline_a_call_that_is_ending_the_grant_answers_what_was_recorded() {
    let config = SandboxConfig::new().changing_answers(|request, answer| match request.path.as_str() {
        VERIFY if answer.status().is_success() => plain(422, JSON, r#"{"error":"offer_out_of_stock"}"#),
        "/oauth/revoke" => {
            tokio::task::block_in_place(|| std::thread::sleep(Duration::from_secs(5)));
            answer
        }
        _ => answer,
    });
    let world = World::with(config).await;
    drop(world.registered().await);
    let mut server = hurried(&world, "3").await;
    let began = Instant::now();
    let refused = server.call(PAY, world.socks()).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(refused.text(0).contains("verify-mandate failed: 422"), "{}", refused.text(0));
    let error = &refused.error()["context"];
    assert_eq!((&error["intent_state"], &error["may_have_been_paid"]), (&json!("failed"), &json!(true)), "{error}");
    assert!(error.get("replayed").is_none() && error.get("grant_revoked").is_none(), "{error}");
    assert_eq!(settlements(&world).await, 1);
    // The next call repeats what is recorded, and ends the grant.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut patient = world.server().await;
    let again = &patient.call(PAY, world.socks()).await.error()["context"];
    assert_eq!((&again["replayed"], &again["grant_revoked"]), (&json!(true), &json!(true)), "{again}");
    assert_eq!((settlements(&world).await, newest(&world).attempts), (1, 1));
}

/// Refused in time, as something to be tried again, and nothing was paid.
fn assert_too_late(answer: &support::Answer, began: Instant) {
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert_eq!((answer.code().as_str(), &answer.error()["retryable"]), ("deadline_exceeded", &json!(true)));
    assert!(answer.text(0).contains("it presented nothing and paid nothing"), "{}", answer.text(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_deadline_a_slow_catalog_of_many_pages_ends_the_call() {
    let page = |number: usize| {
        tokio::task::block_in_place(|| std::thread::sleep(Duration::from_millis(300)));
        json!({"items": [article("slow", 999)], "next": format!("/.well-known/oid4ac-catalog?page={}", number + 1)})
    };
    for dry_run in [true, false] {
        let world = Forger::changing(Signed::WELL, page, |_, answer| answer).await;
        drop(world.registered().await);
        let mut server = hurried(&world, "2").await;
        let began = Instant::now();
        let answer = server.call(CHEAPEST, with(cheapest(&world), "/dry_run", json!(dry_run))).await;
        assert_too_late(&answer, began);
        if !dry_run {
            assert_eq!(newest(&world).state, State::Created, "the next call goes on with the same purchase");
        }
        assert!(!world.sandbox.requests().iter().any(|request| request.path == "/oauth/par"));
        assert_eq!(settlements(&world).await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_deadline_the_slow_offers_of_many_lines_end_the_call() {
    let world = World::with(SandboxConfig::new().changing_answers(|request, answer| {
        if request.path.starts_with("/oid4ac/offer/") || request.path.starts_with("/products/") {
            tokio::task::block_in_place(|| std::thread::sleep(Duration::from_millis(1200)));
        }
        answer
    }))
    .await;
    drop(world.registered().await);
    let mut server = hurried(&world, "2").await;
    let line = |sku: &str| json!({"sku": sku, "qty": 1});
    let lines = json!([line("alpaca-sock-blue-43"), line("wool-insole-42"), line("alpaca-beanie-charcoal")]);
    let many = with(with(world.socks(), "/line_items", lines), "/amount/amount_minor", json!(4598));
    let began = Instant::now();
    let answer = server.call(PAY, many).await;
    assert_too_late(&answer, began);
    let context = &answer.error()["context"];
    assert_eq!((&context["intent_state"], context["intent_id"].is_string()), (&json!("created"), true));
    assert_eq!(settlements(&world).await, 0);
    assert!(!world.sandbox.requests().iter().any(|request| request.path == "/oauth/par"));
}

/// A person takes longer than a call: that is answered as what it is, before the time of the call is over.
#[tokio::test]
async fn a_consent_that_nobody_gives_is_answered_before_the_deadline() {
    let world = World::with(SandboxConfig::new().consent_mode(ConsentMode::Dashboard)).await;
    drop(world.registered().await);
    let mut server = hurried(&world, "4").await;
    let began = Instant::now();
    let asked = server.call(PAY, world.socks()).await;
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    assert_eq!(asked.output()["status"], "approval_required");
    assert!(asked.output()["consent_url"].is_string());
}

/// The environment says how long a call may take, a flag goes before it, and nonsense is refused.
#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_comes_from_the_environment_too() {
    let world = World::new().await;
    drop(world.registered().await);
    let data_dir = world.data_dir();
    let arguments = ["--as-origin", world.sandbox.as_origin(), "--data-dir", data_dir.to_str().unwrap()];
    let environment = [("OID4PAY_CALL_DEADLINE", "1")];
    let lifecycle = Lifecycle::Handshake("2025-11-25");
    let mut server = Server::start_with(&arguments, world.home.path(), &environment, lifecycle).await;
    world.sandbox.plan_fault(PlannedFault { fault: Fault::Delay, step: Step::Offer });
    let began = Instant::now();
    let answer = server.call(PAY, world.socks()).await;
    assert_too_late(&answer, began);
    let refused = std::process::Command::new(support::BINARY).args(["--call-deadline", "0"]).output().unwrap();
    assert!(!refused.status.success());
}
