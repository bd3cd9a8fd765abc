//! A model that repeats itself with slight changes, a merchant that lies, a call that is cut off, a copied data directory, keys
//! and mandates swapped between calls: the principal pays once, within the limits, and the receipt is there.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::Response;
use sandbox::{Fault, PlannedFault, SandboxConfig, Step};
use serde_json::{Value, json};
use support::wire::{Moment, Wire};
use support::{Answer, Server, World, with};
use tokio::task::JoinSet;

const SOCKS: &str = "alpaca-sock-blue-43";

/// A server that has paid before: it knows the merchant's nonces, and its next presentation is charged at once.
async fn warm(world: &World) -> Server {
    let mut server = world.registered().await;
    let first = with(world.socks(), "/purchase_ref", json!("before"));
    assert_eq!(server.call("agent_payment_initiate", first).await.output()["status"], "settled");
    server
}

/// The merchant charges, and none of the answers of one call arrives.
async fn lose_a_payment(world: &World, server: &mut Server) -> Answer {
    for _ in 0..3 {
        world.sandbox.plan_fault(PlannedFault { fault: Fault::ResetAfter, step: Step::Verify });
    }
    let lost = server.call("agent_payment_initiate", world.socks()).await;
    assert_eq!(lost.output()["status"], "unknown");
    assert_eq!(world.settlements(world.alpacanica()).await.len(), 2);
    lost
}

async fn assert_settled_once(world: &World, answer: &Answer, lost: &Answer) {
    let output = answer.output();
    assert_eq!((&output["status"], &output["receipt_status"]), (&json!("settled"), &json!("verified")));
    assert_eq!(output["idempotency_key"], lost.output()["idempotency_key"]);
    let books = world.books().await;
    assert!(books.sound() && books.settled == 2, "{books:?}");
}

#[tokio::test]
async fn a_retry_that_is_changed_a_little_settles_what_was_presented() {
    let line = json!([{"sku": SOCKS, "qty": 1, "unit_price_minor": 1299, "currency": "EUR"}]);
    let change = |world: &World, pointer: &str| match pointer {
        "/offer_id" => json!("another"),
        "/scope" => json!("openid oid4ac:payment"),
        "/redirect_uri" => json!("https://other.example/callback"),
        "/consent_mode_hint" => json!("dashboard"),
        "/merchant_url" => json!(format!("{}/shop?from=mail", world.alpacanica().origin.replace("http", "HTTP"))),
        "/merchant_verify_url" => json!(format!("{}?from=mail", world.alpacanica().verify_url)),
        "/line_items" => line.clone(),
        "/amount/currency" => json!("eur"),
        other => panic!("no change of {other}"),
    };
    let pointers =
        ["/scope", "/redirect_uri", "/consent_mode_hint", "/merchant_url", "/merchant_verify_url", "/line_items"];
    for pointer in pointers.into_iter().chain(["/offer_id", "/amount/currency"]) {
        let world = World::new().await;
        let mut server = warm(&world).await;
        let lost = lose_a_payment(&world, &mut server).await;
        let changed = with(world.socks(), pointer, change(&world, pointer));
        let settled = server.call("agent_payment_initiate", changed).await;
        assert!(!settled.is_error(), "{pointer}: {}", settled.text(0));
        assert_settled_once(&world, &settled, &lost).await;
    }
}

#[tokio::test]
async fn verify_mandate_with_another_offer_id_settles_what_was_presented() {
    let world = World::new().await;
    let mut server = warm(&world).await;
    let lost = lose_a_payment(&world, &mut server).await;
    let present = json!({
        "merchant_verify_url": world.alpacanica().verify_url, "presentation": world.presentation(&lost),
        "line_items": [{"sku": SOCKS, "qty": 1}], "offer_id": "another",
    });
    let settled = server.call("agent_verify_mandate", present).await;
    assert_settled_once(&world, &settled, &lost).await;
}

/// What a gateway or a confused merchant may say after an answer was lost. None of it is a verdict.
#[rustfmt::skip]
const NO_VERDICTS: [(u16, &str); 36] = [
    (400, "invalid_request"), (401, "mandate_nonce_required"), (401, "invalid_token"), (401, "use_dpop_nonce"),
    (402, ""), (403, ""), (404, ""), (405, ""), (408, ""), (409, "idempotency_conflict"), (410, ""), (415, ""), (421, ""),
    (422, "mandate_kb_nonce_mismatch"), (422, "mandate_signature_invalid"), (422, "mandate_offer_unknown"),
    (422, "mandate_line_items_mismatch"), (422, "mandate_audience_mismatch"), (422, "offer_out_of_stock"),
    (422, "offer_amount_exceeds_mandate"), (422, "mandate_not_yet_valid"), (425, ""), (429, ""), (451, ""), (499, ""),
    (300, ""), (302, ""), (304, ""), (307, ""), (200, ""), (201, ""), (202, ""), (204, ""), (206, ""), (500, ""), (501, ""),
];

#[tokio::test]
async fn after_a_lost_answer_only_a_verdict_ends_a_payment() {
    let mut running = JoinSet::new();
    for (status, code) in NO_VERDICTS {
        running.spawn(stays_open_after(status, code));
    }
    while let Some(ended) = running.join_next().await {
        ended.unwrap();
    }
}

async fn stays_open_after(status: u16, code: &'static str) {
    let lies = Arc::new(AtomicBool::new(false));
    let lying = Arc::clone(&lies);
    let world = World::with(SandboxConfig::new().changing_answers(move |request, answer: Response<Bytes>| {
        if request.path != "/verify-mandate" || !lying.load(Ordering::Relaxed) {
            return answer;
        }
        let body = match (status, code) {
            (204 | 304, _) => String::new(),
            (_, "") => "<h1>no</h1>".to_owned(),
            _ => json!({"error": code}).to_string(),
        };
        Response::builder().status(status).header("location", "/elsewhere").body(Bytes::from(body)).unwrap()
    }))
    .await;
    let mut server = warm(&world).await;
    lies.store(true, Ordering::Relaxed);
    world.sandbox.plan_fault(PlannedFault { fault: Fault::ResetAfter, step: Step::Verify });
    let lost = server.call("agent_payment_initiate", world.socks()).await;
    let (about, state) = match lost.is_error() {
        true => (lost.error()["context"].clone(), lost.error()["context"]["intent_state"].clone()),
        false => (lost.output().clone(), lost.output()["status"].clone()),
    };
    assert_eq!(state, "unknown", "{status} {code}: {}", lost.text(0));
    lies.store(false, Ordering::Relaxed);
    let settled = server.call("agent_payment_initiate", world.socks()).await;
    assert_eq!(settled.output()["idempotency_key"], about["idempotency_key"], "{status} {code}");
    let books = world.books().await;
    assert!(books.sound() && books.settled == 2, "{status} {code}: {books:?}");
}

/// A call that is cancelled, a client that goes away, a server that is asked to end: what was sent stays sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_cut_off_after_the_merchant_charged_settles_when_it_is_repeated() {
    for ending in ["cancelled", "closed", "terminated"] {
        let wire = Wire::default();
        let world = World::with(wire.lead_to(SandboxConfig::new())).await;
        let mut server = world.registered().await;
        world.sandbox.clear_requests();
        let first = with(world.socks(), "/purchase_ref", json!("to count the requests of a warm payment"));
        server.call("agent_payment_initiate", first.clone()).await.output();
        world.sandbox.clear_requests();
        server.call("agent_payment_initiate", with(first, "/purchase_ref", json!("again"))).await.output();
        let at = world.sandbox.requests().len() - 1;
        wire.clear();
        let caught = wire.arm(at, Moment::Answered);
        let asked =
            server.ask("tools/call", json!({"name": "agent_payment_initiate", "arguments": world.socks()})).await;
        let caught = caught.await.unwrap();
        assert_eq!(caught.request.path, "/verify-mandate");
        match ending {
            "cancelled" => {
                let params = json!({"requestId": asked, "reason": "the model has changed its mind"});
                server.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params})).await;
                drop(caught);
                let again = server.call("agent_payment_initiate", world.socks()).await;
                assert_eq!(again.output()["status"], "settled");
            }
            "closed" => {
                // With the answer on its way, and without it.
                let (ended, ()) = tokio::join!(server.end(), async { drop(caught) });
                assert!(ended.status.success(), "{}", ended.stderr);
            }
            _ => {
                let terminated = std::process::Command::new("kill").arg(server.pid().to_string()).status();
                assert!(terminated.unwrap().success());
                drop(caught);
                assert!(server.ended().await.status.success());
            }
        }
        let mut next = world.server().await;
        let settled = next.call("agent_payment_initiate", world.socks()).await;
        assert_eq!(settled.output()["receipt_status"], "verified", "{ending}");
        let books = world.books().await;
        assert!(books.sound() && books.settled == 3, "{ending}: {books:?}");
    }
}

/// A data directory that is copied while a payment is open, as a backup is: whoever goes on with it, it is one payment.
#[tokio::test]
async fn a_copied_data_directory_goes_on_with_the_same_payment() {
    let world = World::new().await;
    let mut server = warm(&world).await;
    let lost = lose_a_payment(&world, &mut server).await;
    drop(server.end().await);
    let copy = world.home.path().join("copy");
    copy_folder(&world.data_dir(), &copy);
    let arguments = ["--as-origin", world.sandbox.as_origin(), "--data-dir", copy.to_str().unwrap()];
    let mut other = Server::start(&arguments, world.home.path()).await;
    let mut original = world.server().await;
    for server in [&mut other, &mut original] {
        let settled = server.call("agent_payment_initiate", world.socks()).await;
        assert_eq!(settled.output()["idempotency_key"], lost.output()["idempotency_key"]);
        assert_eq!(settled.output()["receipt_status"], "verified");
    }
    assert_eq!(world.all_settlements().await.len(), 2);
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir(to).unwrap();
    std::fs::set_permissions(to, std::fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => copy_folder(&entry.path(), &to.join(entry.file_name())),
            false => drop(std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

/// One mandate under one key, and no key under two mandates, whoever names them.
#[tokio::test]
async fn idempotency_keys_that_are_swapped_between_mandates_are_refused_unsent() {
    let world = World::new().await;
    drop(world.registered().await);
    let presentation = world.unspent_presentation(SOCKS, 1299).await;
    let another = world.unspent_presentation(SOCKS, 1299).await;
    let present = |presentation: &str, key: Value| {
        let arguments = json!({
            "merchant_verify_url": world.alpacanica().verify_url, "presentation": presentation,
            "line_items": [{"sku": SOCKS, "qty": 1}], "idempotency_key": key,
        });
        with(arguments, "/idempotency_key", key)
    };
    let mut server = world.server().await;
    let paid = server.call("agent_verify_mandate", present(&presentation, json!("a-key-of-the-models-own"))).await;
    assert_eq!(paid.output()["idempotency_key"], "a-key-of-the-models-own");
    world.sandbox.clear_requests();
    for (presentation, key) in
        [(&presentation, json!("another-key-of-the-models-own")), (&another, json!("a-key-of-the-models-own"))]
    {
        let refused = server.call("agent_verify_mandate", present(presentation, key)).await;
        assert_eq!(refused.code(), "idempotency_conflict");
    }
    for key in [Value::Null, json!("a-key-of-the-models-own")] {
        let again = server.call("agent_verify_mandate", present(&presentation, key)).await;
        assert_eq!(again.output()["replayed"], true);
        assert_eq!(again.output()["payment_intent_id"], paid.output()["payment_intent_id"]);
    }
    assert!(!world.sandbox.requests().iter().any(|request| request.path == "/verify-mandate"));
    let books = world.books().await;
    assert!(books.sound() && books.settled == 1, "{books:?}");
}

/// A mandate that comes from elsewhere counts with all that it may cost.
#[tokio::test]
async fn a_mandate_from_elsewhere_passes_the_budget_and_the_cap() {
    let world = World::new().await;
    world.set_policy("[currency.EUR]\nper_transaction = 20\nhour = 25\nday = 25");
    drop(world.registered().await);
    let (dear, cheap) = (("alpaca-beanie-charcoal", 2450), (SOCKS, 1299));
    let mut server = world.server().await;
    for ((sku, amount_minor), expected) in
        [(dear, "per_transaction_exceeded"), (cheap, "settled"), (cheap, "budget_exceeded")]
    {
        let arguments = json!({
            "merchant_verify_url": world.alpacanica().verify_url, "line_items": [{"sku": sku, "qty": 1}],
            "presentation": world.unspent_presentation(sku, amount_minor).await,
        });
        let answer = server.call("agent_verify_mandate", arguments).await;
        match answer.is_error() {
            true => assert_eq!(answer.code(), expected),
            false => assert_eq!(answer.output()["status"], expected),
        }
    }
    assert_eq!(world.all_settlements().await.len(), 1);
}

/// A host has one name here: limits on one spelling would not hold for another.
#[tokio::test]
async fn another_spelling_of_a_host_is_no_other_merchant() {
    let world = World::new().await;
    let mut server = world.registered().await;
    world.sandbox.clear_requests();
    for host in ["https://shop.example.", "https://shop.example.:8443", "https://SHOP.example%2E"] {
        let arguments = with(world.socks(), "/merchant_url", json!(host));
        let arguments = with(arguments, "/merchant_verify_url", json!(format!("{host}/verify-mandate")));
        assert_eq!(server.call("agent_payment_initiate", arguments).await.code(), "invalid_url", "{host}");
    }
    assert!(world.sandbox.requests().is_empty());
}
