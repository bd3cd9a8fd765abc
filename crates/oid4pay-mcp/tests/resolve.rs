//! What may have been paid, from the compiled binary: a person or the principal's audit chain says what became of it.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod support;

use std::process::Command;

use sandbox::{LoggedRequest, SandboxConfig};
use serde_json::{Value, json};
use spend_guard::{Begun, Currency, Intent, LineItem, Mandate, Purchase, ResolvedBy, Revocation, State};
use support::liar::{ALWAYS, JSON, lying, plain};
use support::person::{Typed, at_a_terminal, at_a_terminal_typing};
use support::{BINARY, Lifecycle, Server, World, with};

const PAY: &str = "agent_payment_initiate";
const PASSPHRASE: &str = "correct horse battery";
const VERIFY: &str = "/verify-mandate";
const SOLD_OUT: &str = r#"{"error": "offer_out_of_stock"}"#;

/// A merchant that settles and says that it did not.
async fn lying_world() -> World {
    World::with(lying(VERIFY, ALWAYS, 422, JSON, SOLD_OUT)).await
}

/// A merchant that never says anything, whether it settles or not. A presentation does not reach it at all unless `settles`.
async fn silent_world(settles: bool, config: SandboxConfig) -> World {
    let config = if settles { config } else { config.fault("reset_before@verify".parse().unwrap()) };
    World::with(config.changing_answers(|request: &LoggedRequest, answer| match request.path == VERIFY {
        true => plain(502, "text/html", "bad gateway"),
        false => answer,
    }))
    .await
}

/// A server with all tools, whose agent is registered.
async fn with_all_tools(world: &World) -> Server {
    let arguments = [own(world), vec!["--toolset".to_owned(), "all".to_owned()]].concat();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let lifecycle = Lifecycle::Handshake("2025-11-25");
    let mut server = Server::start_with(&arguments, world.home.path(), &[], lifecycle).await;
    world.register(&mut server).await;
    server
}

fn own(world: &World) -> Vec<String> {
    let origin = world.sandbox.as_origin();
    ["--as-origin", origin, "--data-dir", world.data_dir().to_str().unwrap()].map(str::to_owned).to_vec()
}

/// Runs a command at a terminal. The sandbox goes on meanwhile.
async fn terminal(world: &World, arguments: &[&str], answers: &'static [Typed<'static>]) -> (bool, String) {
    let home = world.home.path().to_owned();
    let all: Vec<_> = own(world).into_iter().chain(arguments.iter().map(|argument| (*argument).to_owned())).collect();
    let run = move || {
        let all: Vec<_> = all.iter().map(String::as_str).collect();
        at_a_terminal_typing(&all, &home, answers)
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

async fn without_a_terminal(world: &World, arguments: &[&str]) -> (bool, String, String) {
    let mut command = Command::new(BINARY);
    command.args(own(world)).args(arguments).env_clear().env("HOME", world.home.path());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

fn choose_passphrase(world: &World) {
    let arguments = own(world);
    let all: Vec<_> = arguments.iter().map(String::as_str).chain(["policy", "init"]).collect();
    let (success, shown) = at_a_terminal(&all, world.home.path(), &[PASSPHRASE, PASSPHRASE]);
    assert!(success, "{shown}");
}

/// The person lets the agent read their audit chain.
async fn allow_audit(server: &mut Server) {
    server.call("agent_audit_chain_query", json!({"principal_token": "wallet-session"})).await.output();
}

fn only(world: &World) -> Intent {
    let mut intents = support::books::intents(&world.ledger());
    assert_eq!(intents.len(), 1);
    intents.remove(0)
}

async fn counts(world: &World) -> (u64, u64, u64) {
    let (_, told, _) = without_a_terminal(world, &["budget", "--json"]).await;
    let told: Value = serde_json::from_str(&told).unwrap();
    let day = told["budgets"].as_array().unwrap().iter().find(|row| row["rule"] == "currency.EUR.day").unwrap();
    let minor = |name: &str| day[name].as_u64().unwrap();
    (minor("settled_minor"), minor("unresolved_minor"), minor("reserved_minor"))
}

const UNSEEN: Typed<'static> = Typed::Unseen(PASSPHRASE);

#[tokio::test]
async fn a_person_says_that_it_was_paid_and_the_journal_has_who_and_why() {
    let world = lying_world().await;
    let mut server = world.registered().await;
    let refused = server.call(PAY, world.socks()).await;
    assert_eq!(refused.code(), "offer_out_of_stock");
    assert!(refused.error()["hint"].as_str().unwrap().contains("may have been paid"), "{}", refused.error());
    let id = only(&world).id.to_string();
    assert_eq!(counts(&world).await, (0, 1299, 0));

    let (_, listed, _) = without_a_terminal(&world, &["resolve", "--json"]).await;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let row = &listed["may_have_been_paid"][0];
    assert_eq!(
        (&row["intent_id"], &row["unresolved_minor"], &row["grant_revoked"]),
        (&json!(id), &json!(1299), &json!(true))
    );
    let (_, listed, _) = without_a_terminal(&world, &["resolve"]).await;
    assert!(listed.contains(&format!("resolve {id}")) && listed.contains("12.99 EUR"), "{listed}");

    // Not without a person, and not without a passphrase.
    let (success, _, stderr) = without_a_terminal(&world, &["resolve", &id, "--paid", "--reason", "x"]).await;
    assert!(!success && stderr.contains("needs a person at an interactive terminal"), "{stderr}");
    let (success, shown) = terminal(&world, &["resolve", &id, "--paid", "--reason", "x"], &[]).await;
    assert!(!success && shown.contains("policy init"), "{shown}");
    choose_passphrase(&world);
    let (success, shown) =
        terminal(&world, &["resolve", &id, "--paid", "--amount", "13.00", "--reason", "x"], &[]).await;
    assert!(!success && shown.contains("the mandate allowed 12.99 EUR at most"), "{shown}");
    let answers = &[Typed::Seen("  "), UNSEEN];
    let (success, shown) = terminal(&world, &["resolve", &id, "--paid"], &answers[..1]).await;
    assert!(!success && shown.contains("a reason is needed"), "{shown}");
    assert_eq!(only(&world).state, State::Failed);

    let answers = &[Typed::Seen("It is on my bank statement."), UNSEEN];
    let (success, shown) = terminal(&world, &["resolve", &id, "--paid"], answers).await;
    assert!(success && !shown.contains(PASSPHRASE), "{shown}");
    for line in [
        world.alpacanica().origin.as_str(),
        "12.99 EUR (twelve EUR and 99/100; 1299 in the smallest unit)",
        "1 × alpaca-sock-blue-43",
        "(offer_out_of_stock)",
        "revoked at",
        "12.99 EUR as possibly spent",
        "is recorded as paid, by ",
        "It is on my bank statement.",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    let intent = only(&world);
    let resolution = intent.resolution.as_ref().unwrap();
    let ResolvedBy::Person { name, reason } = &resolution.by else { panic!("{resolution:?}") };
    assert!(resolution.paid && !name.is_empty() && reason == "It is on my bank statement.");
    let journal = world.ledger().journal(&intent.id).unwrap();
    let entry = journal.iter().find(|entry| entry.event == "resolve_paid").unwrap();
    assert_eq!((&entry.detail["by"]["reason"], &entry.detail["by"]["name"]), (&json!(reason), &json!(name)));
    assert_eq!((intent.state, counts(&world).await), (State::Settled, (1299, 0, 0)));

    // The same call says so, and there is nothing to resolve any more.
    assert_eq!(server.call(PAY, world.socks()).await.code(), "resolved_as_paid");
    let (success, _, stderr) = without_a_terminal(&world, &["resolve", &id]).await;
    assert!(!success && stderr.contains(&id), "{stderr}");
    assert!(without_a_terminal(&world, &["resolve"]).await.1.contains("What became of every payment is known."));
    assert!(without_a_terminal(&world, &["history", "--verify"]).await.0);
    // What is recorded is no receipt, and nothing about it fails.
    let (success, told, _) = without_a_terminal(&world, &["receipt", &id]).await;
    assert!(success && told.contains("not proven to be paid") && told.contains("recorded: paid, by "), "{told}");
}

#[tokio::test]
async fn what_was_not_paid_is_given_back_once_its_mandate_is_revoked() {
    let world = silent_world(false, SandboxConfig::new()).await;
    let mut server = world.registered().await;
    choose_passphrase(&world);
    server.call(PAY, world.socks()).await;
    let intent = only(&world);
    assert_eq!((intent.state, counts(&world).await), (State::Unknown, (0, 0, 1299)));
    let id = intent.id.as_str();
    let mandate_id = intent.mandate.as_ref().unwrap().mandate_id.clone();
    // Under its mandate's name too.
    let reason = ["--reason", "the shop says so"];
    let (success, shown) =
        terminal(&world, &["resolve", &mandate_id, "--not-paid", reason[0], reason[1]], &[UNSEEN]).await;
    assert!(success && shown.contains("can be charged until"), "{shown}");
    assert!(shown.contains("confirmed that its mandate is revoked") && shown.contains("not paid, by "), "{shown}");
    let intent = only(&world);
    assert!(matches!(intent.revocation, Some(Revocation::Confirmed { .. })));
    assert_eq!((intent.state, counts(&world).await), (State::Failed, (0, 0, 0)));
    let (chain, _) = world.sandbox.audit_chain();
    let revoked =
        |entry: &&Value| entry["event"] == "oid4ac.token.revoked" && entry["payload"]["mandate_id"] == mandate_id;
    assert!(chain.iter().any(|entry| revoked(&entry)));
    let again = server.call(PAY, world.socks()).await;
    assert_eq!((again.code().as_str(), &again.error()["context"]["intent_id"]), ("resolved_as_not_paid", &json!(id)));
}

#[tokio::test]
async fn what_can_still_be_charged_is_not_given_back_on_a_persons_word() {
    let config = SandboxConfig::new().changing_answers(|request: &LoggedRequest, answer| {
        match request.path == VERIFY || request.path == "/oauth/revoke" {
            true => plain(503, "text/plain", "later"),
            false => answer,
        }
    });
    let world = World::with(config).await;
    let mut server = world.registered().await;
    choose_passphrase(&world);
    server.call(PAY, world.socks()).await;
    let id = only(&world).id.to_string();
    let arguments = ["resolve", &id, "--not-paid", "--reason", "I think so"];
    let (success, shown) = terminal(&world, &arguments, &[UNSEEN]).await;
    assert!(!success && shown.contains("the merchant can still charge up to 12.99 EUR until"), "{shown}");
    let intent = only(&world);
    assert!(matches!(intent.revocation, Some(Revocation::Unconfirmed { .. })), "{:?}", intent.revocation);
    assert_eq!((intent.state, counts(&world).await), (State::Unknown, (0, 0, 1299)));
}

#[tokio::test]
async fn the_audit_chain_resolves_it_without_a_person() {
    let world = lying_world().await;
    let mut server = world.registered().await;
    server.call(PAY, world.socks()).await;
    let id = only(&world).id.to_string();
    // It may not be read yet, and the person is not asked whether it may.
    let (success, told, stderr) = without_a_terminal(&world, &["resolve", &id]).await;
    assert!(!success && told.contains("login --scope audit:read") && told.contains("--not-paid"), "{told}{stderr}");
    assert!(!world.sandbox.requests().iter().any(|request| request.path.starts_with("/audit")));
    allow_audit(&mut server).await;
    let (success, told, stderr) = without_a_terminal(&world, &["resolve", &id]).await;
    assert!(success && told.contains("is recorded as paid, by entry"), "{told}{stderr}");
    let intent = only(&world);
    let resolution = intent.resolution.unwrap();
    let ResolvedBy::AuditChain { seq, entry_hash } = &resolution.by else { panic!("{:?}", resolution.by) };
    let (chain, _) = world.sandbox.audit_chain();
    let entry = chain.iter().find(|entry| entry["seq"] == *seq).unwrap();
    assert_eq!((&entry["event"], &entry["entry_hash"]), (&json!("oid4ac.payment.succeeded"), &json!(entry_hash)));
    assert_eq!(resolution.payment_intent_id.as_deref(), entry["payload"]["payment_intent_id"].as_str());
    assert_eq!((intent.state, counts(&world).await), (State::Settled, (1299, 0, 0)));
}

#[tokio::test]
async fn a_call_for_a_refused_purchase_asks_the_audit_chain_by_itself_and_takes_no_persons_word_against_it() {
    let world = lying_world().await;
    let mut server = world.registered().await;
    choose_passphrase(&world);
    server.call(PAY, world.socks()).await;
    let id = only(&world).id.to_string();
    allow_audit(&mut server).await;
    let (success, shown) = terminal(&world, &["resolve", &id, "--not-paid", "--reason", "x"], &[]).await;
    assert!(!success && shown.contains("your audit chain says that it was paid"), "{shown}");
    let told = server.call(PAY, world.socks()).await;
    assert_eq!((told.code().as_str(), only(&world).state), ("resolved_as_paid", State::Settled));
    // A deliberate new attempt is a purchase of its own.
    server.call(PAY, with(world.socks(), "/purchase_ref", json!("another"))).await;
    assert_eq!(world.settlements(world.alpacanica()).await.len(), 2);
}

#[tokio::test]
async fn a_chain_that_has_no_payment_does_not_say_at_once_that_there_was_none() {
    let world = silent_world(false, SandboxConfig::new()).await;
    let mut server = world.registered().await;
    server.call(PAY, world.socks()).await;
    allow_audit(&mut server).await;
    let id = only(&world).id.to_string();
    let (success, told, _) = without_a_terminal(&world, &["resolve", &id, "--json"]).await;
    let told: Value = serde_json::from_str(&told).unwrap();
    let why = told["why_not"].as_str().unwrap();
    assert!(!success && told["resolved"] == false && why.contains("may still be reported"), "{told}");
    assert_eq!((only(&world).state, counts(&world).await), (State::Unknown, (0, 0, 1299)));
}

#[tokio::test]
async fn a_mandate_that_ends_without_an_answer_is_resolved_by_the_chain_in_the_call_that_finds_it() {
    let world = silent_world(true, SandboxConfig::new().mandate_ttl_seconds(8)).await;
    let mut server = world.registered().await;
    allow_audit(&mut server).await;
    server.call(PAY, world.socks()).await;
    assert_eq!(only(&world).state, State::Unknown);
    tokio::time::sleep(std::time::Duration::from_secs(9)).await;
    let told = server.call(PAY, world.socks()).await;
    // The head was signed before the payment, so the chain cannot be taken at its word yet.
    assert_eq!((only(&world).state, told.output()["status"].as_str()), (State::Unresolved, Some("unknown")));
    assert_eq!(counts(&world).await, (0, 1299, 0));
}

#[tokio::test]
async fn person_and_agent_see_that_it_may_have_been_paid_and_what_to_run() {
    let world = lying_world().await;
    let mut server = with_all_tools(&world).await;
    choose_passphrase(&world);
    server.call(PAY, world.socks()).await;
    let intent = only(&world);
    let id = intent.id.as_str();
    let command = format!("resolve {id}");

    let (_, told, _) = without_a_terminal(&world, &["doctor", "--json"]).await;
    let told: Value = serde_json::from_str(&told).unwrap();
    let finding = told["findings"].as_array().unwrap().iter().find(|finding| finding["check"] == "payments").unwrap();
    assert_eq!(finding["verdict"], "warning");
    assert!(finding["detail"].as_str().unwrap().starts_with("1 payment may have been made"), "{finding}");
    assert!(finding["fix"].as_str().unwrap().ends_with(" resolve"), "{finding}");

    let (_, told, _) = without_a_terminal(&world, &["history"]).await;
    assert!(told.contains("failed (?)") && told.contains("(?) may have been paid, and counts as spent"), "{told}");
    let (success, told, _) = without_a_terminal(&world, &["history", "--state", "unresolved"]).await;
    assert!(success && told.contains("nothing"), "{told}");
    let (_, told, _) = without_a_terminal(&world, &["history", "--json"]).await;
    let told: Value = serde_json::from_str(&told).unwrap();
    let row = &told["intents"][0];
    assert_eq!((&row["may_have_been_paid"], &row["unresolved_minor"]), (&json!(true), &json!(1299)));
    assert_eq!(
        (&row["grant_revoked"], &row["resolution"], &row["mandate_cap_minor"]),
        (&json!(true), &Value::Null, &json!(1299))
    );

    let (_, told, _) = without_a_terminal(&world, &["budget"]).await;
    assert!(told.contains("may have been paid") && told.contains("12.99 EUR") && told.contains(" resolve"), "{told}");
    let (success, told, _) = without_a_terminal(&world, &["receipt", id]).await;
    assert!(success, "{told}");
    assert!(told.contains("it may have been paid, and 12.99 EUR count as spent"), "{told}");
    assert!(told.contains("recorded: its mandate was revoked") && !told.contains("\npaid"), "{told}");

    let status = server.call("spend_status", json!({})).await;
    let unclear = &status.output()["may_have_been_paid"][0];
    assert_eq!((&unclear["intent_id"], &unclear["counts_minor"]), (&json!(id), &json!(1299)));
    assert!(unclear["resolve_command"].as_str().unwrap().ends_with(&command));
    assert!(status.text(1).contains("1 purchase may have been paid"), "{}", status.text(1));
    let balance = server.call("spend_balance", json!({})).await;
    assert!(balance.text(1).contains("12.99 EUR may have been paid"), "{}", balance.text(1));
    let history = server.call("spend_history", json!({})).await;
    assert_eq!(history.output()["payments"][0]["may_have_been_paid"], true);
    assert!(history.text(1).contains("0 of them paid, 1 may have been paid"), "{}", history.text(1));
    let next = server.call("spend_intent_status", json!({"intent_id": id})).await;
    let next = next.output()["next_step"].as_str().unwrap();
    for part in ["may have been paid", "only its word", "counts as spent", &command, "needs a new purchase_ref"] {
        assert!(next.contains(part), "{part}: {next}");
    }
    assert!(!next.contains("nothing was paid"), "{next}");
    let read = server.request("resources/read", json!({"uri": format!("mandate://{id}")})).await.unwrap();
    let read: Value = serde_json::from_str(read["contents"][0]["text"].as_str().unwrap()).unwrap();
    assert_eq!((&read["may_have_been_paid"], &read["grant_revoked"]), (&json!(true), &json!(true)));
    assert!(!server.call("spend_history", json!({"state": "unresolved"})).await.is_error());

    // Once it is resolved, they say so.
    let (success, shown) =
        terminal(&world, &["resolve", id, "--not-paid", "--reason", "they sent an apology"], &[UNSEEN]).await;
    assert!(success, "{shown}");
    let (_, told, _) = without_a_terminal(&world, &["history", "--json"]).await;
    let told: Value = serde_json::from_str(&told).unwrap();
    let row = &told["intents"][0];
    assert_eq!((&row["resolution"]["paid"], &row["resolution"]["by"]), (&json!(false), &json!("person")));
    assert_eq!((&row["may_have_been_paid"], &row["unresolved_minor"]), (&json!(false), &json!(0)));
    let next = server.call("spend_intent_status", json!({"intent_id": id})).await;
    assert!(next.output()["next_step"].as_str().unwrap().contains("found not to have been paid"));
    let (success, told, _) = without_a_terminal(&world, &["receipt", id]).await;
    assert!(success && told.contains("not paid, by ") && told.contains("they sent an apology"), "{told}");
}

/// An intent that holds a mandate which was not presented, and the grant behind it: the one of another purchase, whose
/// answer was lost.
fn hold(world: &World, reference: &str) -> Intent {
    let eur = Currency::parse("EUR").unwrap();
    let line = LineItem { sku: "alpaca-sock-blue-43".to_owned(), qty: 1, unit_price_minor: None };
    let key = oid4ac_client::IdempotencyKey::generate(&oid4ac_client::SystemRng);
    let (issuer, merchant) = (world.sandbox.as_origin(), &world.alpacanica().origin);
    let purchase =
        Purchase::payment(issuer, merchant, vec![line], 1299, eur, Some(reference.to_owned()), key.as_str().to_owned());
    let Begun::New(mut claim) = world.ledger().begin(&purchase.unwrap(), None).unwrap() else { panic!("it is new") };
    let intents = support::books::intents(&world.ledger());
    let lost = intents.iter().find(|intent| intent.state == State::Unknown).unwrap();
    let mandate = lost.mandate.clone().unwrap();
    claim
        .mandate_held(Mandate { mandate_id: format!("{}_unused", mandate.mandate_id), ..mandate }, "jwt~", None)
        .unwrap();
    let path = world.data_dir().join("session.json");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(&lost.idempotency_key), "{text}");
    std::fs::write(&path, text.replace(&lost.idempotency_key, key.as_str())).unwrap();
    claim.intent().clone()
}

#[tokio::test]
async fn a_purchase_that_is_given_up_takes_its_unused_mandate_along() {
    for rejects in [false, true] {
        let world = silent_world(true, SandboxConfig::new()).await;
        let mut server = with_all_tools(&world).await;
        choose_passphrase(&world);
        server.call(PAY, world.socks()).await;
        let held = hold(&world, "another");
        let id = held.id.as_str();
        if rejects {
            let (success, shown) = terminal(&world, &["reject", id], &[UNSEEN]).await;
            assert!(success && shown.contains("Its mandate was revoked at the authorization server."), "{shown}");
        } else {
            let told = server.call("spend_intent_cancel", json!({"intent_id": id})).await;
            assert!(told.text(1).contains("its mandate was revoked"), "{}", told.text(1));
            assert_eq!(told.output()["grant_revoked"], true);
        }
        let intent = world.ledger().intent(&held.id).unwrap();
        assert_eq!(intent.state, if rejects { State::Rejected } else { State::Canceled });
        assert!(matches!(intent.revocation, Some(Revocation::Confirmed { .. })), "{:?}", intent.revocation);
        let (chain, _) = world.sandbox.audit_chain();
        assert_eq!(chain.iter().filter(|entry| entry["event"] == "oid4ac.token.revoked").count(), 1);
    }
}
