//! The spending policy from the compiled binary: what it stops, and that nothing is sent then.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod support;

use std::process::Command;

use serde_json::{Value, json};
use support::{Answer, BINARY, Lifecycle, Server, World, purchase, with};

const PAY: &str = "agent_payment_initiate";

/// A sweater for 129.00 EUR.
fn sweater(world: &World) -> Value {
    purchase(world.alpacanica(), "alpaca-sweater-cable-m", 12_900)
}

/// A server with this in its environment, whose agent is registered.
async fn server_with_environment(world: &World, environment: &[(&str, &str)]) -> Server {
    let (origin, data_dir) = (world.sandbox.as_origin(), world.data_dir());
    let arguments = ["--as-origin", origin, "--data-dir", data_dir.to_str().unwrap(), "--consent-wait", "0"];
    Server::start_with(&arguments, world.home.path(), environment, Lifecycle::Handshake("2025-11-25")).await
}

/// Writes the policy file without anybody's confirmation.
fn write_policy(world: &World, text: &str) {
    let folder = world.home.path().join(".config/oid4pay-mcp");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("policy.toml"), text).unwrap();
}

/// Runs a command without a terminal.
fn command(world: &World, arguments: &[&str]) -> (bool, String, String) {
    let mut command = Command::new(BINARY);
    command.arg("--data-dir").arg(world.data_dir()).args(arguments).env_clear().env("HOME", world.home.path());
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

fn rules(answer: &Answer) -> Vec<String> {
    let error = answer.error();
    let findings = error["context"]["findings"].as_array().unwrap();
    findings.iter().map(|finding| finding["rule"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_payment_beyond_a_limit_is_refused_with_every_rule_that_spoke_and_nothing_is_sent() {
    let world = World::new().await;
    let mut server = world.registered().await;
    world.sandbox.clear_requests();
    let refused = server.call(PAY, sweater(&world)).await;
    assert_eq!(
        refused.text(0),
        "agent_payment_initiate failed: per_transaction_exceeded: one payment may be at most 100.00 EUR"
    );
    assert_eq!(rules(&refused), ["currency.EUR.per_transaction", "currency.EUR.approval_above"]);
    let hint = refused.error()["hint"].clone();
    assert!(hint.as_str().unwrap().starts_with("Tell the person: only they can change policy.toml."), "{hint}");
    // A currency without limits of its own is not spent, whatever its name looks like.
    for (currency, amount) in [("JPY", 1), ("KWD", 1), ("CHF", 100)] {
        let arguments = with(world.socks(), "/amount", json!({"currency": currency, "amount_minor": amount}));
        assert_eq!(server.call(PAY, arguments).await.code(), "currency_not_allowed", "{currency}");
    }
    assert!(world.sandbox.requests().is_empty(), "{:?}", world.sandbox.requests());
}

#[tokio::test]
async fn a_policy_that_cannot_be_meant_stops_payments_with_file_line_and_reason_until_it_is_mended() {
    let world = World::new().await;
    let mut server = world.registered().await;
    world.sandbox.clear_requests();
    let rows = [
        ("[currency.EUR]\nhour = ", ":2:"),
        ("[currency.EUR]\nhour = 10\nhuor = 10\n", ":3:1: unknown key \"huor\""),
        ("limits = 3\n", ":1:1: unknown key \"limits\""),
        ("\n[currency.EUR]\nper_transaction = -5\n", ":3:19: an amount cannot be negative"),
        ("[currency.EUR]\nday = 12.5\n", ":2:7: floating-point numbers are not taken for money"),
        ("[currency.EUR]\nday = \"12.505\"\n", ":2:7: EUR has 2 decimals, this amount has more"),
        ("[currency.ABC]\nday = 1\n", ":1:11: not a currency code of ISO 4217"),
        ("[currency.JPY]\nday = 1\n", "JPY has no default limits"),
        ("approval_in_client = 1\n", ":1:22: true or false is wanted"),
    ];
    for (text, reason) in rows {
        write_policy(&world, text);
        let refused = server.call(PAY, world.socks()).await;
        assert_eq!(refused.code(), "policy_unusable");
        let message = refused.text(0);
        assert!(message.contains(".config/oid4pay-mcp/policy.toml") && message.contains(reason), "{text}: {message}");
        // A command says the same.
        let (success, _, stderr) = command(&world, &["policy", "show"]);
        assert!(!success && stderr.contains(reason), "{stderr}");
    }
    // A folder, and a link that leads nowhere, are no absence of a policy.
    let file = world.home.path().join(".config/oid4pay-mcp/policy.toml");
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    assert_eq!(server.call(PAY, world.socks()).await.code(), "policy_unusable");
    std::fs::remove_dir(&file).unwrap();
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("nowhere", &file).unwrap();
        assert_eq!(server.call(PAY, world.socks()).await.code(), "policy_unusable");
        std::fs::remove_file(&file).unwrap();
    }
    assert!(world.sandbox.requests().is_empty());
    // The same process reads it again.
    write_policy(&world, "[currency.EUR]\nhour = 15\n");
    assert_eq!(server.call(PAY, world.socks()).await.output()["status"], "settled");
    let second = purchase(world.alpacanica(), "wool-insole-42", 849);
    let refused = server.call(PAY, second).await;
    assert_eq!(rules(&refused), ["currency.EUR.hour"]);
    assert!(refused.text(0).contains("15.00 EUR within any hour is the limit, 2.01 EUR of it is left"));
}

#[tokio::test]
async fn the_environment_tightens_and_never_loosens() {
    let world = World::new().await;
    drop(world.registered().await);
    let rows = [
        ("OID4PAY_MAX_PER_TX", "12.98", "per_transaction_exceeded"),
        ("OID4PAY_MAX_HOURLY", "10", "budget_exceeded"),
        ("OID4PAY_MAX_DAILY", "10", "budget_exceeded"),
        ("OID4PAY_MAX_PER_TX", "lots", "policy_unusable"),
        ("OID4PAY_MAX_DAILY", "-1", "policy_unusable"),
    ];
    world.sandbox.clear_requests();
    for (variable, value, code) in rows {
        let mut server = server_with_environment(&world, &[(variable, value)]).await;
        let refused = server.call(PAY, world.socks()).await;
        assert_eq!(refused.code(), code, "{variable}={value}");
        assert_eq!(code == "policy_unusable", refused.text(0).contains(variable), "{}", refused.text(0));
    }
    let mut server = server_with_environment(&world, &[("OID4PAY_MAX_PER_TX", "1000")]).await;
    assert_eq!(server.call(PAY, sweater(&world)).await.code(), "per_transaction_exceeded");
    let merchants = |request: &sandbox::LoggedRequest| request.path != "/.well-known/oauth-authorization-server";
    assert!(world.sandbox.requests().iter().all(|request| !merchants(request)), "{:?}", world.sandbox.requests());
    let mut server = server_with_environment(&world, &[("OID4PAY_APPROVAL_ABOVE", "12")]).await;
    assert_eq!(server.call(PAY, world.socks()).await.output()["status"], "approval_required");
    assert!(world.settlements(world.alpacanica()).await.is_empty());
}

#[tokio::test]
async fn a_budget_holds_over_restarts_and_in_every_process() {
    let world = World::new().await;
    write_policy(&world, "[currency.EUR]\nday = \"27.00\"\n");
    let mut one = world.registered().await;
    let mut two = world.server().await;
    let buy = |reference: &str| with(world.socks(), "/purchase_ref", json!(reference));
    assert_eq!(one.call(PAY, buy("1")).await.output()["status"], "settled");
    assert_eq!(two.call(PAY, buy("2")).await.output()["status"], "settled");
    drop((one, two));
    let mut three = world.server().await;
    assert_eq!(rules(&three.call(PAY, buy("3")).await), ["currency.EUR.day"]);
    // What was paid is answered again, and another currency has a budget of its own.
    assert_eq!(three.call(PAY, buy("1")).await.output()["replayed"], true);
    let dollars = purchase(world.alpacanica(), "travel-sock-usd-43", 1499);
    let dollars = with(dollars, "/amount/currency", json!("USD"));
    assert_eq!(three.call(PAY, dollars).await.output()["status"], "settled");
    // The command says what is left.
    let (success, stdout, _) = command(&world, &["budget", "--json"]);
    assert!(success);
    let budgets: Value = serde_json::from_str(&stdout).unwrap();
    let of_day = budgets["budgets"].as_array().unwrap().iter().find(|b| b["rule"] == "currency.EUR.day").unwrap();
    assert_eq!((&of_day["settled_minor"], &of_day["left_minor"]), (&json!(2598), &json!(102)));
    let (_, table, _) = command(&world, &["budget"]);
    let row = table.lines().find(|line| line.starts_with("currency.EUR.day")).unwrap();
    assert_eq!(
        row.split("  ").filter(|cell| !cell.is_empty()).map(str::trim).collect::<Vec<_>>(),
        ["currency.EUR.day", "27.00 EUR", "25.98 EUR", "0.00 EUR", "0.00 EUR", "1.02 EUR"]
    );
    assert_eq!(world.settlements(world.alpacanica()).await.len(), 3);
}

#[tokio::test]
async fn a_looser_policy_stops_payments_and_a_stricter_one_holds_at_once() {
    let world = World::new().await;
    let mut server = world.registered().await;
    world.sandbox.clear_requests();
    write_policy(&world, "[currency.EUR]\nper_transaction = 200\n");
    for arguments in [sweater(&world), world.socks()] {
        let refused = server.call(PAY, arguments).await;
        assert_eq!(
            (refused.code().as_str(), rules(&refused).as_slice()),
            ("policy_unconfirmed", &["policy".to_owned()][..])
        );
    }
    let (_, shown, _) = command(&world, &["policy", "show"]);
    assert!(
        shown.contains("NOT in force") && shown.contains("currency.EUR.per_transaction: 100.00 EUR → 200.00 EUR"),
        "{shown}"
    );
    let (success, _, refused) = command(&world, &["policy", "confirm"]);
    assert!(!success && refused.contains("interactive terminal"), "{refused}");
    assert!(world.sandbox.requests().is_empty());
    write_policy(&world, "[currency.EUR]\nper_transaction = 12\n");
    assert_eq!(server.call(PAY, world.socks()).await.code(), "per_transaction_exceeded");
    // And taking it away again is looser than what is in force now.
    std::fs::remove_file(world.home.path().join(".config/oid4pay-mcp/policy.toml")).unwrap();
    let unconfirmed = server.call(PAY, world.socks()).await;
    assert_eq!(unconfirmed.code(), "policy_unconfirmed");
    assert!(unconfirmed.error()["hint"].as_str().unwrap().contains("`oid4pay-mcp policy confirm`"));
}

#[tokio::test]
async fn every_paying_tool_is_guarded_and_a_freeze_stops_each_of_them() {
    let world = World::new().await;
    let mut server = world.registered().await;
    let presentation = world.unspent_presentation("alpaca-sock-blue-43", 1299).await;
    let merchant = world.alpacanica();
    let verify = json!({
        "merchant_verify_url": merchant.verify_url, "presentation": presentation,
        "line_items": [{"sku": "alpaca-sock-blue-43", "qty": 1}],
    });
    let cheapest = json!({
        "store_url": merchant.origin, "merchant_verify_url": merchant.verify_url, "max_amount_minor": 1500,
        "redirect_uri": support::CALLBACK,
    });
    let calls = [(PAY, world.socks()), ("agent_verify_mandate", verify), ("agent_buy_cheapest_from_store", cheapest)];
    assert!(command(&world, &["freeze"]).1.contains("All payments are stopped until you run"));
    for (tool, arguments) in &calls {
        assert_eq!(server.call(tool, arguments.clone()).await.code(), "frozen", "{tool}");
    }
    world.ledger().unfreeze().unwrap();
    world.set_policy("[currency.EUR]\nper_transaction = 5\n");
    for (tool, arguments) in &calls {
        let dry_run = server.call(tool, with(arguments.clone(), "/dry_run", json!(true))).await;
        assert_eq!(dry_run.output()["guard"]["verdict"], "deny", "{tool}");
        assert_eq!(dry_run.output()["guard"]["findings"][0]["rule"], "currency.EUR.per_transaction");
        assert!(dry_run.text(1).contains("The policy on this machine would refuse it"), "{}", dry_run.text(1));
        let next_step = dry_run.output()["next_step"].as_str().unwrap();
        assert!(next_step.starts_with("The call would be refused."), "{next_step}");
        // A dry run leaves nothing behind.
        assert!(!world.ledger().list(&spend_guard::Filter::default()).unwrap().intents.iter().any(|i| i.reserved));
        let refused = server.call(tool, arguments.clone()).await;
        assert_eq!(refused.code(), "per_transaction_exceeded", "{tool}");
    }
    assert!(world.settlements(merchant).await.is_empty());
}

#[tokio::test]
async fn the_human_asks_the_policy_without_paying() {
    let world = World::new().await;
    let simulate = |amount: &str, currency: &str| {
        let arguments =
            ["policy", "simulate", "--merchant", "https://shop.example", "--amount", amount, "--currency", currency];
        command(&world, &arguments)
    };
    assert!(simulate("50", "EUR").1.starts_with("50.00 EUR to https://shop.example would be allowed."));
    let (_, above, _) = simulate("50.01", "EUR");
    assert!(above.contains("would wait for your approval") && above.contains("currency.EUR.approval_above"), "{above}");
    assert!(simulate("100.01", "GBP").1.contains("per_transaction_exceeded"));
    assert!(simulate("1", "JPY").1.contains("currency_not_allowed"));
    for (amount, named) in [("12.345", "--amount"), ("-1", "--amount"), ("1e3", "--amount")] {
        let (success, _, stderr) = simulate(amount, "EUR");
        assert!(!success && stderr.contains(named), "{stderr}");
    }
    let (success, _, stderr) = simulate("1", "EURO");
    assert!(!success && stderr.contains("ISO 4217"), "{stderr}");

    let file = world.home.path().join("mine.toml");
    let check = |text: &str| {
        std::fs::write(&file, text).unwrap();
        command(&world, &["policy", "check", file.to_str().unwrap()])
    };
    let (success, checked, _) = check("[currency.EUR]\nday = 600\n");
    assert!(success && checked.contains("600.00 EUR within any day"), "{checked}");
    assert!(
        checked.contains("would have to be confirmed") && checked.contains("currency.EUR.day: 500.00 EUR → 600.00 EUR"),
        "{checked}"
    );
    let (success, _, stderr) = check("[currency.EUR]\ndya = 600\n");
    assert!(!success && stderr.contains("mine.toml:2:1: unknown key \"dya\""), "{stderr}");
    let (success, checked, _) = check("[merchants]\ndeny = [\"HTTPS://Bücher.example:443/\"]\n");
    assert!(
        success && checked.contains("Never one that matches https://xn--bcher-kva.example; without a port"),
        "{checked}"
    );
    let read = "line 2: \"HTTPS://Bücher.example:443/\" is read as https://xn--bcher-kva.example";
    assert!(checked.contains(read), "{checked}");
    let (success, _, stderr) = check("[merchants]\ndeny = [\"https://shop.example/path\"]\n");
    assert!(!success && stderr.contains("mine.toml:2:9: no origin has a path"), "{stderr}");
    std::fs::write(&file, "[merchants]\ndeny = [\"https://shop.example/\"]\n").unwrap();
    for merchant in ["https://shop.example", "https://Shop.example/", "https://shop.example:8443"] {
        let simulated =
            ["policy", "simulate", "--merchant", merchant, "--amount", "1", "--file", file.to_str().unwrap()];
        let (_, denied, _) = command(&world, &simulated);
        assert!(denied.contains("merchants.deny"), "{merchant}: {denied}");
    }
    let (success, shown, _) = command(&world, &["policy", "show", "--json"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert!(success && shown["in_force"] == true && shown["frozen"] == false);
    assert_eq!(shown["rules"]["currencies"]["EUR"]["per_transaction"], 10_000);
    // A stricter one is shown, and what holds without it; showing it puts nothing in force.
    write_policy(&world, "[currency.EUR]\nper_transaction = 12\n");
    let (_, shown, _) = command(&world, &["policy", "show"]);
    assert!(shown.contains("the next payment puts it in force") && !shown.contains("NOT in force"), "{shown}");
    let (new, before) = shown.split_once("The policy before says:").unwrap();
    assert!(new.contains("one payment at most 12.00 EUR") && before.contains("one payment at most 100.00 EUR"));
    let (_, shown, _) = command(&world, &["policy", "show", "--json"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&shown["in_force"], &shown["is_new"]), (&json!(true), &json!(true)));
    assert_eq!(shown["rules_before"]["currencies"]["EUR"]["per_transaction"], 10_000);
    write_policy(&world, "[currency.EUR]\nper_transaction = 100\n");
    let (_, shown, _) = command(&world, &["policy", "show"]);
    assert!(!shown.contains("NOT in force"), "{shown}");
    assert!(!world.data_dir().join("ledger.sqlite3").exists(), "nothing of this made a ledger");
}

#[tokio::test]
async fn a_merchant_that_is_denied_in_any_spelling_is_not_paid() {
    let world = World::new().await;
    let mut server = world.registered().await;
    let merchant = world.alpacanica();
    let port = merchant.origin.rsplit_once(':').unwrap().1;
    for spelling in [
        format!("{}/", merchant.origin),
        format!(" HTTP://127.1:0{port} "),
        "http://127.0.0.1".to_owned(),
        "https://127.0.0.1./".to_owned(),
        "http://0x7f000001/".to_owned(),
        format!("*:{port}"),
    ] {
        world.set_policy(&format!("[merchants]\ndeny = [\"{spelling}\"]\n"));
        assert_eq!(server.call(PAY, world.socks()).await.code(), "merchant_denied", "{spelling}");
        world.set_policy(&format!("[[rule]]\nname = \"r\"\nmerchant = \"{spelling}\"\naction = \"deny\"\n"));
        assert_eq!(server.call(PAY, world.socks()).await.code(), "rule_denied", "{spelling}");
    }
    write_policy(&world, "[merchants]\ndeny = [\"http://127.0.0.1/shop\"]\n");
    assert_eq!(server.call(PAY, world.socks()).await.code(), "policy_unusable");
    world.set_policy("[merchants]\nallow = [\"http://127.0.0.1\"]\n");
    assert_eq!(server.call(PAY, world.socks()).await.code(), "merchant_not_allowed", "an allow is exact");
    assert!(world.settlements(merchant).await.is_empty());
}

#[tokio::test]
async fn rules_for_a_merchant_a_category_and_an_agent_hold() {
    let world = World::new().await;
    let mut server = world.registered().await;
    let client = std::fs::read_to_string(world.data_dir().join("client.json")).unwrap();
    let client: Value = serde_json::from_str(&client).unwrap();
    let rule = |scope: &str| format!("[[rule]]\nname = \"r\"\n{scope}\naction = \"deny\"\n");
    let (socks, merchant) = (world.socks(), world.alpacanica());
    let origin = &merchant.origin;
    let host = origin.rsplit_once(':').unwrap().0;
    for scope in [format!("merchant = \"{host}:*\""), format!("agent = {}", client["client_id"])] {
        world.set_policy(&rule(&scope));
        assert_eq!(server.call(PAY, socks.clone()).await.code(), "rule_denied", "{scope}");
    }
    let cheapest = json!({
        "store_url": origin, "merchant_verify_url": merchant.verify_url, "max_amount_minor": 1500,
        "category": "care", "redirect_uri": support::CALLBACK,
    });
    world.set_policy(&rule("category = \"care\""));
    assert_eq!(server.call("agent_buy_cheapest_from_store", cheapest).await.code(), "rule_denied");
    // Paying with a tool that knows no category does not get around the rule.
    let asked = server.call(PAY, socks).await;
    assert_eq!(asked.output()["status"], "approval_required");
    let id = asked.output()["intent_id"].as_str().unwrap().parse().unwrap();
    let shown = format!("{:?}", world.ledger().intent(&id).unwrap().approval);
    assert!(shown.contains("a rule names a category, and that of this payment is not known"), "{shown}");
}
