//! A human asked by the guard, from the compiled binary: in a terminal, in the client, and what an answer is good for.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod support;

use std::process::Command;

use sandbox::{ConsentDecision, ConsentMode, SandboxConfig};
use serde_json::{Value, json};
use spend_guard::{Currency, DeclarationTerms, Declared, LineItem, Purchase, State};
use support::person::{Person, at_a_terminal};
use support::{BINARY, Lifecycle, Server, World, purchase, with};

const PAY: &str = "agent_payment_initiate";
const PASSPHRASE: &str = "correct horse battery";
/// What three wrong passphrases cost, and a second more for clocks that count in seconds.
const PAUSE: std::time::Duration = std::time::Duration::from_secs(2);
const HANDSHAKE: Lifecycle = Lifecycle::Handshake("2025-11-25");

/// Slippers for 54.50 EUR, which a human has to approve.
fn slippers(world: &World) -> Value {
    purchase(world.alpacanica(), "felt-slipper-41", 5450)
}

fn terminal(world: &World, arguments: &[&str], answers: &[&str]) -> (bool, String) {
    let data_dir = world.data_dir();
    let all: Vec<_> = ["--data-dir", data_dir.to_str().unwrap()].into_iter().chain(arguments.iter().copied()).collect();
    at_a_terminal(&all, world.home.path(), answers)
}

fn without_a_terminal(world: &World, arguments: &[&str]) -> (bool, String, String) {
    let mut command = Command::new(BINARY);
    command.arg("--data-dir").arg(world.data_dir()).args(arguments).env_clear().env("HOME", world.home.path());
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

fn choose_passphrase(world: &World) {
    let (success, shown) = terminal(world, &["policy", "init"], &[PASSPHRASE, PASSPHRASE]);
    assert!(success && !shown.contains(PASSPHRASE), "{shown}");
}

/// Asks for slippers, and gives the intent that waits.
async fn ask(server: &mut Server, world: &World) -> String {
    let asked = server.call(PAY, slippers(world)).await;
    assert_eq!(asked.output()["status"], "approval_required");
    asked.output()["intent_id"].as_str().unwrap().to_owned()
}

async fn settlements(world: &World) -> usize {
    world.settlements(world.alpacanica()).await.len()
}

#[tokio::test]
async fn a_payment_above_the_threshold_waits_for_the_terminal_and_then_goes_on_in_another_process() {
    let world = World::new().await;
    let mut server = world.registered().await;
    let asked = server.call(PAY, slippers(&world)).await;
    let output = asked.output();
    let id = output["intent_id"].as_str().unwrap();
    let command = output["approve_command"].as_str().unwrap();
    assert!(command.ends_with(&format!("approve {id}")) && asked.text(1).contains(command), "{}", asked.text(1));
    assert!(output["approval_expires_at"].is_string() && output.get("consent_url").is_none());

    // Nobody but the person decides: not without a terminal, not without a passphrase, not with a wrong one.
    for arguments in [["approve", id], ["reject", id]] {
        let (success, _, stderr) = without_a_terminal(&world, &arguments);
        assert!(!success && stderr.contains("needs a person at an interactive terminal"), "{stderr}");
    }
    let (success, shown) = terminal(&world, &["approve", id], &[]);
    assert!(!success && shown.contains("policy init"), "{shown}");
    choose_passphrase(&world);
    assert_eq!(world.ledger().intent(&id.parse().unwrap()).unwrap().state, State::AwaitingApproval);

    // Whoever asks is told what is waiting.
    let (_, listed, _) = without_a_terminal(&world, &["approvals", "--json"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(
        (&listed["approvals"][0]["intent_id"], &listed["approvals"][0]["amount_minor"]),
        (&json!(id), &json!(5450))
    );
    let (success, shown) = terminal(&world, &["approve", id], &["correct horse", PASSPHRASE]);
    assert!(success && shown.contains("This is not the passphrase.") && !shown.contains(PASSPHRASE), "{shown}");
    for line in [
        world.alpacanica().origin.as_str(),
        "54.50 EUR (fifty-four EUR and 50/100; 5450 in the smallest unit)",
        "1 × felt-slipper-41",
        "in an offer that the merchant signed",
        "a human must agree to more than 50.00 EUR",
        "145.50 EUR within any hour, 445.50 EUR within any day",
        "Answer until",
        "Approved, for this payment alone",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    assert_eq!(settlements(&world).await, 0);

    drop(server);
    let mut next = world.server().await;
    let settled = next.call(PAY, slippers(&world)).await;
    assert_eq!((&settled.output()["status"], &settled.output()["intent_id"]), (&json!("settled"), &json!(id)));
    assert_eq!(next.call(PAY, slippers(&world)).await.output()["replayed"], true);
    assert_eq!(settlements(&world).await, 1);
    // Approving it twice is refused by name, before anything is asked.
    let (success, shown) = terminal(&world, &["approve", id], &[]);
    assert!(!success && shown.contains(&format!("intent {id} was approved already")), "{shown}");
    assert!(terminal(&world, &["approvals"], &[]).1.contains("Nothing waits for your approval."));
}

#[tokio::test]
async fn a_no_ends_the_purchase_is_told_once_and_asking_again_is_another_one() {
    let world = World::new().await;
    let mut server = world.registered().await;
    choose_passphrase(&world);
    let id = ask(&mut server, &world).await;
    let (success, shown) = terminal(&world, &["reject", &id], &["wrong", "wrong again", "and again"]);
    assert!(!success && shown.contains("this is not the passphrase"), "{shown}");
    std::thread::sleep(PAUSE);
    let (success, shown) = terminal(&world, &["reject", &id], &[PASSPHRASE]);
    assert!(success && shown.contains("Rejected. Nothing was paid."), "{shown}");
    for arguments in [["approve", id.as_str()], ["reject", id.as_str()]] {
        let (success, shown) = terminal(&world, &arguments, &[]);
        assert!(!success && shown.contains(&format!("intent {id} is rejected")), "{shown}");
    }
    // The next call reports it once, whichever process makes it.
    let mut other = world.server().await;
    let told = other.call(PAY, slippers(&world)).await;
    assert_eq!((told.code().as_str(), &told.error()["retryable"]), ("approval_rejected", &json!(false)));
    assert_eq!(told.error()["context"]["intent_id"], id.as_str());
    assert_eq!(
        other.call(PAY, with(slippers(&world), "/purchase_ref", json!("b"))).await.output()["status"],
        "approval_required"
    );
    let again = ask(&mut server, &world).await;
    assert_ne!(again, id);
    // They can think better of a yes, as long as nothing was presented.
    assert!(terminal(&world, &["approve", &again], &[PASSPHRASE]).0);
    let (success, shown) = terminal(&world, &["reject", &again], &[PASSPHRASE]);
    assert!(success && shown.contains("felt-slipper-41") && shown.contains("Rejected. Nothing was paid."), "{shown}");
    assert_eq!(settlements(&world).await, 0);
    let (success, shown) = terminal(&world, &["approve", "0198c6d5-b1f7-7a8e-8b1e-c3b1b1a4d5c6"], &[]);
    assert!(!success && shown.contains("no intent 0198c6d5"), "{shown}");
    let (success, shown) = terminal(&world, &["approve", "../../etc/passwd"], &[]);
    assert!(!success && shown.contains("not an intent id"), "{shown}");
    assert_eq!(settlements(&world).await, 0);
}

#[tokio::test]
async fn an_approval_after_its_time_is_refused_by_name() {
    let world = World::new().await;
    world.set_policy("approval_minutes = 0\n");
    let mut server = world.registered().await;
    choose_passphrase(&world);
    let id = ask(&mut server, &world).await;
    let (success, shown) = terminal(&world, &["approve", &id], &[]);
    assert!(!success && shown.contains(&format!("the approval of intent {id} has expired")), "{shown}");
    // The next call asks again.
    assert_ne!(ask(&mut server, &world).await, id);
    assert_eq!(world.ledger().intent(&id.parse().unwrap()).unwrap().state, State::Expired);
}

#[tokio::test]
async fn an_approval_for_one_amount_is_not_used_for_another() {
    let world = World::new().await;
    let mut server = world.registered().await;
    choose_passphrase(&world);
    // Declared for 40.00 EUR with a tolerance, approved, and then asked for more.
    let merchant = world.alpacanica().origin.clone();
    let line = LineItem { sku: "felt-slipper-41".into(), qty: 1, unit_price_minor: None };
    let (issuer, eur) = (world.sandbox.as_origin(), Currency::parse("EUR").unwrap());
    let purchase =
        Purchase::payment(issuer, merchant, vec![line], 4000, eur, Some("slippers".into()), "0123456789abcdefghijkl");
    let terms = DeclarationTerms {
        purchase: purchase.unwrap(),
        summary: "slippers".into(),
        tolerance_minor: Some(1000),
        tolerance_percent: None,
        ttl_seconds: 3600,
    };
    let Declared::New(intent, _) = world.ledger().declare(&terms, None).unwrap() else { panic!("it is new") };
    let id = world.ledger().request_approval(&intent.id, vec![], None).unwrap().id;
    let (success, shown) = terminal(&world, &["approve", id.as_str()], &[PASSPHRASE]);
    assert!(success && shown.contains("50.00 EUR (fifty EUR and 00/100"), "{shown}");
    let more = with(slippers(&world), "/purchase_ref", json!("slippers"));
    let refused = server.call(PAY, more).await;
    assert_eq!(refused.code(), "declaration_mismatch");
    assert!(refused.text(0).contains(&format!("intent {id} was declared with another amount")), "{}", refused.text(0));
    // Approved slippers do not make other slippers approved.
    let id = ask(&mut server, &world).await;
    assert!(terminal(&world, &["approve", &id], &[PASSPHRASE]).0);
    let two = with(with(slippers(&world), "/line_items/0/qty", json!(2)), "/amount/amount_minor", json!(10_900));
    assert_eq!(server.call(PAY, two).await.code(), "per_transaction_exceeded");
    let throw = support::purchase(world.alpacanica(), "alpaca-throw-grey", 8900);
    assert_eq!(server.call(PAY, throw).await.output()["status"], "approval_required");
    assert_eq!(settlements(&world).await, 0);
}

#[tokio::test]
async fn an_unsigned_offer_wants_a_human_and_they_are_told_that_it_is_unsigned() {
    let world = World::new().await;
    let mut server = world.registered().await;
    let made = purchase(world.alpacanica(), "sweater-made-to-measure", 4000);
    let made = with(made, "/line_items/0/unit_price_minor", json!(4000));
    let asked = server.call(PAY, made.clone()).await;
    assert_eq!(asked.output()["status"], "approval_required");
    let (_, listed, _) = without_a_terminal(&world, &["approvals"]);
    assert!(listed.contains("NOT signed by the merchant") && listed.contains("signs no offer for it"), "{listed}");
    choose_passphrase(&world);
    let id = asked.output()["intent_id"].as_str().unwrap();
    assert!(terminal(&world, &["approve", id], &[PASSPHRASE]).0);
    let settled = server.call(PAY, made.clone()).await;
    assert_eq!((&settled.output()["status"], &settled.output()["offer_verified"]), (&json!("settled"), &json!(false)));
    // One signed line among two vouches for neither the other nor the sum.
    let lines = json!([made["line_items"][0], {"sku": "wool-insole-42", "qty": 1}]);
    let both = with(made, "/line_items", lines);
    let both = with(both, "/amount/amount_minor", json!(4849));
    let dry_run = server.call(PAY, with(both.clone(), "/dry_run", json!(true))).await;
    assert_eq!(dry_run.output()["offer_verified"], false);
    assert_eq!(server.call(PAY, both).await.output()["status"], "approval_required");
}

#[tokio::test]
async fn the_person_is_asked_in_the_client_and_only_a_ticked_yes_pays() {
    let world = World::new().await;
    drop(world.registered().await);
    let answers = [
        Some(json!({"action": "cancel"})),
        Some(json!({"action": "accept", "content": {}})),
        Some(json!({"action": "accept", "content": {"approve": true}})),
    ];
    let person = Person::who_answers(answers);
    let asked = person.asked();
    let mut server = world.server_for(person, HANDSHAKE).await;
    for _ in 0..2 {
        assert_eq!(server.call(PAY, slippers(&world)).await.output()["status"], "approval_required");
        assert_eq!(settlements(&world).await, 0);
    }
    assert_eq!(server.call(PAY, slippers(&world)).await.output()["status"], "settled");
    assert_eq!(settlements(&world).await, 1);
    let asked = asked.lock().unwrap();
    let message = asked[0]["message"].as_str().unwrap();
    for line in [&world.alpacanica().origin, "fifty-four EUR and 50/100", "felt-slipper-41", "Answer until: "] {
        assert!(message.contains(line), "{message}");
    }
    let schema = &asked[0]["requestedSchema"];
    assert_eq!((&schema["required"], schema["properties"]["approve"].get("default")), (&json!(["approve"]), None));
}

#[tokio::test]
async fn a_no_in_the_client_ends_the_purchase() {
    let world = World::new().await;
    drop(world.registered().await);
    // The call that asked reports it, so the next one asks again.
    for no in [json!({"action": "decline"}), json!({"action": "accept", "content": {"approve": false}})] {
        let mut server = world.server_for(Person::who_answers([Some(no)]), HANDSHAKE).await;
        let refused = server.call(PAY, slippers(&world)).await;
        assert_eq!(refused.code(), "approval_rejected");
        assert_eq!(refused.error()["context"]["intent_state"], "rejected");
    }
    assert_eq!(settlements(&world).await, 0);
}

#[tokio::test]
async fn a_policy_can_take_the_client_the_right_to_answer() {
    let world = World::new().await;
    world.set_policy("approval_in_client = false\n");
    drop(world.registered().await);
    // It is not even asked.
    for lifecycle in [HANDSHAKE, Lifecycle::Inline] {
        let mut server = world.server_for(Person::who_answers([]), lifecycle).await;
        drop(ask_once(&mut server, &world).await);
    }
    assert_eq!(settlements(&world).await, 0);
}

/// Asks without waiting for a decision elsewhere: the first call of a new purchase does not.
async fn ask_once(server: &mut Server, world: &World) -> String {
    let reference = format!("once {}", server.pid());
    let asked = server.call(PAY, with(slippers(world), "/purchase_ref", json!(reference))).await;
    assert_eq!(asked.output()["status"], "approval_required");
    asked.output()["intent_id"].as_str().unwrap().to_owned()
}

/// A call that may be answered with a question.
async fn call(server: &mut Server, arguments: Value, state: Option<&Value>, responses: Value) -> Value {
    let mut params = json!({"name": PAY, "arguments": arguments});
    if let Some(state) = state {
        params["requestState"] = state.clone();
        params["inputResponses"] = responses;
    }
    server.request("tools/call", params).await.unwrap()
}

#[tokio::test]
async fn an_input_required_result_is_answered_once_in_whichever_process() {
    let world = World::new().await;
    drop(world.registered().await);
    let mut server = world.server_for(Person::who_answers([]), Lifecycle::Inline).await;
    let yes = || json!({"approval": {"action": "accept", "content": {"approve": true}}});
    let question = call(&mut server, slippers(&world), None, Value::Null).await;
    assert_eq!(question["resultType"], "input_required");
    let asked = &question["inputRequests"]["approval"];
    assert_eq!(asked["method"], "elicitation/create");
    assert!(asked["params"]["message"].as_str().unwrap().contains("fifty-four EUR and 50/100"), "{asked}");
    let first = question["requestState"].clone();
    // Asking again replaces the state; the old one, a changed one, and one of another purchase are worth nothing.
    let question = call(&mut server, slippers(&world), None, Value::Null).await;
    let state = question["requestState"].clone();
    let mut changed = state.as_str().unwrap().to_owned();
    let last = changed.pop().unwrap();
    changed.push(if last == 'A' { 'B' } else { 'A' });
    for wrong in [first, json!(changed), json!("0198c6d5-b1f7-7a8e-8b1e-c3b1b1a4d5c6.x"), json!(""), json!("x.y")] {
        let refused = call(&mut server, slippers(&world), Some(&wrong), yes()).await;
        assert!(refused["content"][0]["text"].as_str().unwrap().contains("request_state_spent"), "{wrong}: {refused}");
    }
    let refused = call(&mut server, world.socks(), Some(&state), yes()).await;
    assert!(refused["content"][0]["text"].as_str().unwrap().contains("request_state_spent"), "{refused}");
    assert_eq!(settlements(&world).await, 0);
    let open = spend_guard::Filter { open: Some(true), ..spend_guard::Filter::default() };
    assert_eq!(world.ledger().list(&open).unwrap().intents.len(), 1, "the slippers alone hold money back");

    let question = call(&mut server, slippers(&world), None, Value::Null).await;
    let state = question["requestState"].clone();
    drop(server);
    let mut next = world.server_for(Person::who_answers([]), Lifecycle::Inline).await;
    let settled = call(&mut next, slippers(&world), Some(&state), yes()).await;
    assert_eq!(settled["structuredContent"]["status"], "settled", "{settled}");
    let again = call(&mut next, slippers(&world), Some(&state), yes()).await;
    assert!(again["content"][0]["text"].as_str().unwrap().contains("request_state_spent"), "{again}");
    assert_eq!(call(&mut next, slippers(&world), None, Value::Null).await["structuredContent"]["replayed"], true);
    assert_eq!(settlements(&world).await, 1);
}

#[tokio::test]
async fn an_input_required_result_that_is_declined_or_dismissed_pays_nothing() {
    let world = World::new().await;
    drop(world.registered().await);
    let mut server = world.server_for(Person::who_answers([]), Lifecycle::Inline).await;
    let question = call(&mut server, slippers(&world), None, Value::Null).await;
    let dismissed = json!({"approval": {"action": "cancel"}});
    let open = call(&mut server, slippers(&world), Some(&question["requestState"]), dismissed).await;
    assert_eq!(open["structuredContent"]["status"], "approval_required", "{open}");
    let question = call(&mut server, slippers(&world), None, Value::Null).await;
    let declined = json!({"approval": {"action": "decline"}});
    let no = call(&mut server, slippers(&world), Some(&question["requestState"]), declined).await;
    assert!(no["content"][0]["text"].as_str().unwrap().contains("approval_rejected"), "{no}");
    assert_eq!(settlements(&world).await, 0);
}

#[tokio::test]
async fn consent_goes_out_as_a_url_and_a_no_to_it_ends_the_purchase() {
    let world = World::with(SandboxConfig::new().consent_mode(ConsentMode::Dashboard)).await;
    drop(world.registered().await);
    let principal = world.sandbox.principals()[0].id.clone();
    let person = Person::who_answers([Some(json!({"action": "accept"})), Some(json!({"action": "decline"}))]);
    let asked = person.asked();
    let mut server = world.server_for(person, HANDSHAKE).await;
    let id = server.ask("tools/call", json!({"name": PAY, "arguments": world.socks()})).await;
    let decide = async {
        loop {
            let page = asked.lock().unwrap().first().map(|question| question["url"].as_str().unwrap().to_owned());
            if let Some(page) = page {
                return world.sandbox.decide(&page, &principal, ConsentDecision::Approve).unwrap();
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let (answer, ()) = tokio::join!(server.answer_to(id), decide);
    assert_eq!(answer.unwrap()["structuredContent"]["status"], "settled");
    let question = asked.lock().unwrap()[0].clone();
    assert_eq!(question["mode"], "url");
    assert!(
        question["url"].as_str().unwrap().starts_with(world.sandbox.as_origin())
            && question["elicitationId"].is_string()
    );
    assert!(question["message"].as_str().unwrap().contains("12.99 EUR"), "{question}");

    let again = with(world.socks(), "/purchase_ref", json!("again"));
    let declined = server.call(PAY, again).await;
    assert_eq!(declined.text(0), "agent_payment_initiate failed: declined: no mandate issued");
    assert_eq!(settlements(&world).await, 1);
}

#[tokio::test]
async fn consent_goes_out_as_an_input_required_result() {
    let world = World::with(SandboxConfig::new().consent_mode(ConsentMode::Dashboard)).await;
    drop(world.registered().await);
    let principal = world.sandbox.principals()[0].id.clone();
    let mut server = world.server_for(Person::who_answers([]), Lifecycle::Inline).await;
    let question = call(&mut server, world.socks(), None, Value::Null).await;
    let asked = &question["inputRequests"]["consent"]["params"];
    assert_eq!(asked["mode"], "url", "{question}");
    world.sandbox.decide(asked["url"].as_str().unwrap(), &principal, ConsentDecision::Approve).unwrap();
    let went = json!({"consent": {"action": "accept"}});
    let settled = call(&mut server, world.socks(), Some(&question["requestState"]), went).await;
    assert_eq!(settled["structuredContent"]["status"], "settled", "{settled}");
    assert_eq!(settlements(&world).await, 1);
}

#[tokio::test]
async fn a_yes_in_the_terminal_ends_the_waiting_of_a_call() {
    let world = World::new().await;
    let mut server = world.registered().await;
    choose_passphrase(&world);
    let intent = ask(&mut server, &world).await;
    let id = server.ask("tools/call", json!({"name": PAY, "arguments": slippers(&world)})).await;
    let (data_dir, home) = (world.data_dir(), world.home.path().to_owned());
    let approved = tokio::task::spawn_blocking(move || {
        at_a_terminal(&["--data-dir", data_dir.to_str().unwrap(), "approve", &intent], &home, &[PASSPHRASE])
    });
    assert_eq!(server.answer_to(id).await.unwrap()["structuredContent"]["status"], "settled");
    assert!(approved.await.unwrap().0);
}

#[tokio::test]
async fn a_looser_policy_is_confirmed_and_a_freeze_ended_by_the_human_alone() {
    let world = World::new().await;
    let mut server = world.registered().await;
    choose_passphrase(&world);
    let file = world.home.path().join(".config/oid4pay-mcp/policy.toml");
    let written = std::fs::read_to_string(&file).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert!(written.starts_with("# What this machine lets an agent spend.") && mode & 0o777 == 0o600);
    std::fs::write(&file, written.replace("per_transaction = 100 ", "per_transaction = 150 ")).unwrap();
    assert_eq!(server.call(PAY, world.socks()).await.code(), "policy_unconfirmed");
    let (success, shown) = terminal(&world, &["policy", "confirm"], &[PASSPHRASE]);
    assert!(
        success
            && shown.contains("currency.EUR.per_transaction: 100.00 EUR → 150.00 EUR")
            && shown.contains("In force."),
        "{shown}"
    );
    assert_eq!(server.call(PAY, world.socks()).await.output()["status"], "settled");
    // Setting another passphrase wants the old one, and leaves the file alone.
    let (success, shown) = terminal(&world, &["policy", "init"], &[PASSPHRASE, "another horse", "another horse"]);
    assert!(success && shown.contains("was left as it is"), "{shown}");
    let (success, shown) = terminal(&world, &["policy", "init"], &["another horse", "one thing", "one other thing"]);
    assert!(!success && shown.contains("the two differ"), "{shown}");

    assert!(without_a_terminal(&world, &["freeze"]).0);
    assert_eq!(server.call(PAY, slippers(&world)).await.code(), "frozen");
    let (success, _, stderr) = without_a_terminal(&world, &["unfreeze"]);
    assert!(!success && stderr.contains("interactive terminal"), "{stderr}");
    let (success, shown) = terminal(&world, &["unfreeze"], &["another horse"]);
    assert!(success && shown.contains("Payments can be made again."), "{shown}");
    assert_eq!(server.call(PAY, slippers(&world)).await.output()["status"], "approval_required");
}
