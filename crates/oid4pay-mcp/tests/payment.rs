//! Registering and paying, from the compiled binary: what comes out, what is said when it does not, and that it happens once.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Method;
use sandbox::{ConsentDecision, ConsentMode, Party, SandboxConfig, StandingApproval};
use serde_json::{Value, json};
use support::liar::{ALWAYS, JSON, lying};
use support::{Lifecycle, Server, World, purchase, with};

const SEEDS_MEMBERS: [&str; 7] = [
    "mandate_id",
    "mandate_jwt",
    "presentation",
    "payment_intent_id",
    "payment_provider_ref",
    "settled_at",
    "receipt_url",
];

#[tokio::test]
async fn registers_once_and_leaves_a_second_token_unspent() {
    let world = World::new().await;
    let mut server = world.server().await;
    let first = server.call("agent_register", world.registration()).await;
    assert_eq!(first.output()["as_url"], world.sandbox.as_origin());
    assert!(first.text(1).starts_with("Registered at"));
    let again = server.call("agent_register", world.registration()).await;
    assert_eq!(again.output(), first.output());
    assert!(again.text(1).contains("was not used"));
    // In a new process too.
    let mut other = world.server().await;
    assert_eq!(other.call("agent_register", world.registration()).await.output(), first.output());
    let registrations = world.sandbox.request_count(&Party::AuthorizationServer, &Method::POST, "/oauth/register");
    assert_eq!(registrations, 1);
}

#[tokio::test]
async fn two_processes_that_register_at_once_end_up_as_one_agent() {
    let world = World::new().await;
    let (mut one, mut two) = tokio::join!(world.server(), world.server());
    let call = || json!({"name": "agent_register", "arguments": world.registration()});
    let (asked_one, asked_two) = tokio::join!(one.ask("tools/call", call()), two.ask("tools/call", call()));
    let (answer_one, answer_two) = tokio::join!(one.answer_to(asked_one), two.answer_to(asked_two));
    assert_eq!(answer_one.unwrap()["structuredContent"], answer_two.unwrap()["structuredContent"]);
    for server in [&mut one, &mut two] {
        let reference = with(world.socks(), "/purchase_ref", json!(server.pid().to_string()));
        assert_eq!(server.call("agent_payment_initiate", reference).await.output()["status"], "settled");
    }
}

#[tokio::test]
async fn pays_at_both_merchants_with_every_member_of_the_contract() {
    let world = World::new().await;
    let mut server = world.registered().await;
    for (merchant, sku, amount) in [(0, "alpaca-sock-blue-43", 1299), (1, "keyboard-brush", 1190)]
        .map(|(at, s, a)| (&world.sandbox.merchants()[at], s, a))
    {
        let answer = server.call("agent_payment_initiate", purchase(merchant, sku, amount)).await;
        let output = answer.output();
        assert_eq!(output["status"], "settled");
        assert_eq!((&output["offer_verified"], &output["replayed"]), (&json!(true), &json!(false)));
        for member in SEEDS_MEMBERS {
            assert!(output[member].is_string(), "{member}: {output:#}");
        }
        assert!(!output["mandate_jwt"].as_str().unwrap().contains('~'));
        assert_eq!(output["receipt_status"], "verified");
        let signatures = &answer.result["_meta"]["oid4pay/signatures"];
        for artefact in ["offer", "access_token", "mandate", "key_binding", "receipt"] {
            assert_eq!(signatures[artefact]["verdict"], "verified", "{artefact}");
            assert!(!signatures[artefact]["kid"].as_str().unwrap().is_empty());
        }
        let settled = world.settlements(merchant).await;
        assert_eq!(settled.len(), 1);
        assert_eq!(settled[0]["payment_intent_id"], output["payment_intent_id"]);
        assert_eq!(settled[0]["idempotency_key"], output["idempotency_key"]);
        assert_eq!(settled[0]["amount_minor"], amount);
    }
}

#[tokio::test]
async fn pays_without_a_handshake_too() {
    let world = World::new().await;
    let mut server = world.server_with(Lifecycle::Inline).await;
    world.register(&mut server).await;
    assert_eq!(server.call("agent_payment_initiate", world.socks()).await.output()["status"], "settled");
}

#[tokio::test]
async fn the_same_purchase_is_answered_again_and_paid_once() {
    let world = World::new().await;
    let mut server = world.registered().await;
    let first = server.call("agent_payment_initiate", world.socks()).await;
    world.sandbox.clear_requests();
    let mut same = world.socks();
    same["line_items"] = json!([{"sku": "alpaca-sock-blue-43", "qty": 1, "unit_price_minor": 1299, "currency": "eur"}]);
    same["amount"]["currency"] = json!("eur");
    same["scope"] = json!("openid payment:initiate");
    for arguments in [world.socks(), same] {
        let again = server.call("agent_payment_initiate", arguments.clone()).await;
        assert_eq!(again.output()["replayed"], true, "{arguments}");
        for member in SEEDS_MEMBERS {
            assert_eq!(again.output()[member], first.output()[member], "{member}");
        }
        assert_eq!(again.result["_meta"], first.result["_meta"]);
    }
    let mut other_process = world.server().await;
    assert_eq!(other_process.call("agent_payment_initiate", world.socks()).await.output()["replayed"], true);
    assert!(world.sandbox.requests().is_empty(), "{:?}", world.sandbox.requests());
    assert_eq!(world.settlements(world.alpacanica()).await.len(), 1);

    let another = with(world.socks(), "/purchase_ref", json!("second pair"));
    assert_eq!(other_process.call("agent_payment_initiate", another).await.output()["replayed"], false);
    assert_eq!(world.settlements(world.alpacanica()).await.len(), 2);
}

#[tokio::test]
async fn a_warm_payment_costs_five_requests() {
    let world = World::new().await;
    let mut server = world.registered().await;
    server.call("agent_payment_initiate", world.socks()).await.output();
    world.sandbox.clear_requests();
    let arguments = purchase(world.alpacanica(), "trail-mug-enamel", 1125);
    server.call("agent_payment_initiate", arguments).await.output();
    let sent: Vec<_> = world.sandbox.requests().iter().map(|r| format!("{} {}", r.method, r.path)).collect();
    let expected = [
        "GET /oid4ac/offer/trail-mug-enamel",
        "POST /oauth/par",
        "GET /oauth/authorize",
        "POST /oauth/token",
        "POST /verify-mandate",
    ];
    assert_eq!(sent, expected);
}

#[tokio::test]
async fn two_processes_that_pay_the_same_at_once_settle_once() {
    let world = World::new().await;
    let mut one = world.registered().await;
    let mut two = world.server().await;
    for round in 0..5 {
        let arguments = with(world.socks(), "/purchase_ref", json!(format!("round {round}")));
        let call = json!({"name": "agent_payment_initiate", "arguments": arguments});
        let (asked_one, asked_two) =
            tokio::join!(one.ask("tools/call", call.clone()), two.ask("tools/call", call.clone()));
        let (one, two) = tokio::join!(one.answer_to(asked_one), two.answer_to(asked_two));
        let (one, two) = (one.unwrap(), two.unwrap());
        let replayed = |answer: &Value| answer["structuredContent"]["replayed"].as_bool().unwrap();
        assert_ne!(replayed(&one), replayed(&two), "{one}\n{two}");
        assert_eq!(one["structuredContent"]["payment_intent_id"], two["structuredContent"]["payment_intent_id"]);
        assert_eq!(world.settlements(world.alpacanica()).await.len(), round + 1);
    }
}

#[tokio::test]
async fn a_dry_run_asks_for_the_offer_alone() {
    let world = World::new().await;
    let mut server = world.registered().await;
    world.sandbox.clear_requests();
    let answer = server.call("agent_payment_initiate", with(world.socks(), "/dry_run", json!(true))).await;
    assert_eq!((&answer.output()["status"], &answer.output()["offer_verified"]), (&json!("dry_run"), &json!(true)));
    let asked: Vec<_> = world.sandbox.requests().iter().map(|request| request.party.clone()).collect();
    assert!(!asked.contains(&Party::AuthorizationServer), "{asked:?}");
    let wrong = with(with(world.socks(), "/amount/amount_minor", json!(1)), "/dry_run", json!(true));
    assert_eq!(server.call("agent_payment_initiate", wrong).await.code(), "offer_price_mismatch");
    assert!(world.settlements(world.alpacanica()).await.is_empty());
}

/// Each refusal with its code, and where the contract has words for it, with those.
#[tokio::test]
async fn says_why_a_registration_was_refused() {
    let world = World::new().await;
    let mut server = world.server().await;
    let spent = world.registration();
    server.call("agent_register", spent.clone()).await.output();
    let other_redirect = |token: &Value| {
        with(
            with(world.registration(), "/setup_token", token.clone()),
            "/redirect_uris",
            json!(["https://other.example/cb"]),
        )
    };
    let rows = [
        (
            other_redirect(&spent["setup_token"]),
            "invalid_software_statement",
            "agent_register failed: invalid_software_statement",
        ),
        (
            other_redirect(&json!("setup_unknown")),
            "invalid_software_statement",
            "agent_register failed: invalid_software_statement",
        ),
        (
            with(world.registration(), "/redirect_uris", json!(["ftp://a.example/cb"])),
            "invalid_redirect_uri",
            "agent_register failed: invalid_redirect_uri",
        ),
        (
            with(world.registration(), "/client_name", json!("")),
            "invalid_client_metadata",
            "agent_register failed: invalid_client_metadata",
        ),
        (
            with(world.registration(), "/as_url", json!("https://as.example")),
            "as_url_not_configured",
            "agent_register failed: as_url_not_configured: ",
        ),
    ];
    for (arguments, code, message) in rows {
        let answer = server.call("agent_register", arguments.clone()).await;
        assert_eq!(answer.code(), code, "{arguments}");
        match message.ends_with(": ") {
            true => assert!(answer.text(0).starts_with(message), "{}", answer.text(0)),
            false => assert_eq!(answer.text(0), message),
        }
        assert!(
            !answer.result.to_string().contains(arguments["setup_token"].as_str().unwrap()),
            "the token is not echoed"
        );
    }
    // The registration that was there still pays.
    assert_eq!(server.call("agent_payment_initiate", world.socks()).await.output()["status"], "settled");
}

#[tokio::test]
async fn says_why_a_payment_was_refused_before_anything_was_sent() {
    let world = World::new().await;
    let mut server = world.server().await;
    let unregistered = server.call("agent_payment_initiate", world.socks()).await;
    assert_eq!(
        unregistered.text(0),
        "agent_payment_initiate failed: agent is not registered yet; call agent_register first"
    );
    world.register(&mut server).await;
    world.sandbox.clear_requests();
    let line = |price: u64| json!([{"sku": "alpaca-sock-blue-43", "qty": 1, "unit_price_minor": price}]);
    let rows = [
        (with(world.socks(), "/amount/currency", json!("XXX")), "invalid_currency"),
        (with(world.socks(), "/amount/currency", json!("ABC")), "invalid_currency"),
        (with(world.socks(), "/line_items", line(1298)), "invalid_line_items"),
        (
            with(world.socks(), "/merchant_verify_url", json!(world.sandbox.merchants()[1].verify_url)),
            "verify_url_origin",
        ),
        (with(world.socks(), "/merchant_url", json!("http://shop.example")), "invalid_url"),
        (with(world.socks(), "/merchant_url", json!("file:///etc/passwd")), "invalid_url"),
    ];
    for (arguments, code) in rows {
        let answer = server.call("agent_payment_initiate", arguments.clone()).await;
        assert_eq!(answer.code(), code, "{arguments}");
    }
    assert!(world.sandbox.requests().is_empty(), "{:?}", world.sandbox.requests());
    let private = with(
        with(world.socks(), "/merchant_url", json!("https://10.0.0.1")),
        "/merchant_verify_url",
        json!("https://10.0.0.1/v"),
    );
    let forbidden = server.call("agent_payment_initiate", private).await;
    assert_eq!((forbidden.code().as_str(), &forbidden.error()["retryable"]), ("forbidden_address", &json!(false)));
    assert!(forbidden.error()["hint"].as_str().unwrap().contains("private networks are not reached"));
}

#[tokio::test]
async fn says_what_does_not_agree_with_the_signed_offer() {
    let world = World::new().await;
    let mut server = world.registered().await;
    let item = |sku: &str, amount| purchase(world.alpacanica(), sku, amount);
    let rows = [
        (item("alpaca-sock-blue-43", 1300), "offer_price_mismatch"),
        (item("alpaca-sock-blue-43", 1298), "offer_price_mismatch"),
        (item("travel-sock-usd-43", 1499), "offer_currency_mismatch"),
        (item("alpaca-sock-moss-43", 1299), "offer_out_of_stock"),
        (item("no-such-thing", 1299), "offer_missing"),
    ];
    for (arguments, code) in rows {
        let answer = server.call("agent_payment_initiate", arguments.clone()).await;
        assert_eq!(answer.code(), code, "{arguments}");
        assert_eq!(answer.error()["context"]["intent_state"], "failed");
    }
    assert!(world.settlements(world.alpacanica()).await.is_empty());
}

#[tokio::test]
async fn tells_servers_refusals_in_the_contracts_words() {
    let rows = [
        (
            lying("/oauth/par", ALWAYS, 400, JSON, r#"{"error":"invalid_request"}"#),
            "PAR failed: 400",
            "invalid_request",
        ),
        (lying("/oauth/par", ALWAYS, 401, JSON, r#"{"error":"invalid_client"}"#), "PAR failed: 401", "invalid_client"),
        (
            lying("/verify-mandate", ALWAYS, 422, JSON, r#"{"error":"offer_out_of_stock"}"#),
            "verify-mandate failed: 422",
            "offer_out_of_stock",
        ),
        (
            lying("/oauth/token", ALWAYS, 400, JSON, r#"{"error":"invalid_grant"}"#),
            "token failed: 400 invalid_grant",
            "invalid_grant",
        ),
        (
            lying("/oauth/token", ALWAYS, 400, JSON, r#"{"error":"invalid_target"}"#),
            "token failed: 400 invalid_target",
            "invalid_target",
        ),
        (
            lying("/verify-mandate", ALWAYS, 422, JSON, r#"{"error":"mandate_expired"}"#),
            "verify-mandate failed: 422",
            "mandate_expired",
        ),
        (
            lying("/verify-mandate", ALWAYS, 502, "text/html", "<h1>Bad gateway</h1>"),
            "verify-mandate failed: 502",
            "server_error",
        ),
        (SandboxConfig::new().standing_approval(StandingApproval::None), "declined: no mandate issued", "declined"),
    ];
    let hints = [
        ("invalid_request", "Give a redirect_uri that this agent registered, letter for letter."),
        (
            "invalid_client",
            "The person may have revoked this agent in their wallet: ask them, and register again with a new setup token. A \
             clock that is wrong does it too, and so does assertion_audience in the settings where it is not the one that this \
             server wants: the operator can try the other.",
        ),
        (
            "offer_out_of_stock",
            "The refusal is only the merchant's word: it may have been paid, and counts as spent. Tell the person, who can find \
             out and say so with `oid4pay-mcp resolve`.",
        ),
    ];
    for (config, words, code) in rows {
        let world = World::with(config).await;
        let mut server = world.registered().await;
        let answer = server.call("agent_payment_initiate", world.socks()).await;
        assert_eq!(answer.text(0), format!("agent_payment_initiate failed: {words}"));
        assert_eq!(answer.code(), code);
        if code == "declined" {
            // No person was shown anything.
            assert_eq!(answer.error()["context"]["declined_by"], "authorization_server");
            assert!(answer.error()["hint"].as_str().unwrap().contains("they did not say no"), "{}", answer.error());
        }
        if let Some((_, hint)) = hints.iter().find(|(with_hint, _)| *with_hint == code) {
            assert_eq!(answer.error()["hint"], *hint);
        }
        let in_flight = words.ends_with("502");
        let context = &answer.error()["context"];
        assert_eq!(context["intent_state"], if in_flight { "unknown" } else { "failed" }, "{words}: {context}");
        let presented = words.starts_with("verify");
        assert_eq!(context.get("next_step").is_some(), presented, "{words}: {context}");
        assert_eq!(answer.error()["retryable"], in_flight, "{words}: {context}");
        assert_eq!(context["mandate_id"].is_string(), words.starts_with("verify"), "{words}");
    }
}

#[tokio::test]
async fn a_merchant_that_answers_html_or_nothing_leaves_no_doubt_behind() {
    for (content_type, body) in [("text/html", "<h1>hello</h1>"), ("application/json", ""), ("application/json", "{}")]
    {
        let world = World::with(lying("/verify-mandate", 3, 200, content_type, body)).await;
        let mut server = world.registered().await;
        let answer = server.call("agent_payment_initiate", world.socks()).await;
        assert_eq!(answer.output()["status"], "unknown", "{body}");
        assert!(answer.output().get("presentation").is_none(), "it may not be spent");
        assert_eq!(world.settlements(world.alpacanica()).await.len(), 1, "the merchant had settled");
        // The same call clears it up, in another process too, and pays nothing more.
        let mut other = world.server().await;
        let again = other.call("agent_payment_initiate", world.socks()).await;
        assert_eq!(again.output()["status"], "settled");
        assert_eq!(again.output()["idempotency_key"], answer.output()["idempotency_key"]);
        assert_eq!(world.settlements(world.alpacanica()).await.len(), 1);
    }
}

#[tokio::test]
async fn after_a_502_the_same_call_settles_once() {
    let world = World::with(lying("/verify-mandate", 3, 502, "text/html", "bad gateway")).await;
    let mut server = world.registered().await;
    let lost = server.call("agent_payment_initiate", world.socks()).await;
    assert_eq!(lost.error()["retryable"], true);
    // What is open is not cut off by a new registration.
    let again = with(world.registration(), "/redirect_uris", json!(["https://other.example/cb"]));
    assert_eq!(server.call("agent_register", again).await.code(), "intent_not_final");
    let settled = server.call("agent_payment_initiate", world.socks()).await;
    assert_eq!(settled.output()["idempotency_key"], lost.error()["context"]["idempotency_key"]);
    assert_eq!(world.settlements(world.alpacanica()).await.len(), 1);
}

#[tokio::test]
async fn a_killed_server_is_gone_on_with() {
    for (path, settles_before) in [("/oauth/par", 0), ("/oauth/token", 0), ("/verify-mandate", 1)] {
        let reached = Arc::new(tokio::sync::Notify::new());
        let (told, first) = (Arc::clone(&reached), AtomicUsize::new(0));
        let config = SandboxConfig::new().changing_answers(move |request, answer| {
            if request.path == path && answer.status().is_success() && first.fetch_add(1, Ordering::Relaxed) == 0 {
                told.notify_one();
                // The server is killed while it waits for this answer.
                std::thread::sleep(std::time::Duration::from_millis(300));
            }
            answer
        });
        let world = World::with(config).await;
        let mut server = world.registered().await;
        let call = json!({"name": "agent_payment_initiate", "arguments": world.socks()});
        server.ask("tools/call", call).await;
        reached.notified().await;
        server.kill().await;
        assert_eq!(world.settlements(world.alpacanica()).await.len(), settles_before, "{path}");
        let mut next = world.server().await;
        assert_eq!(next.call("agent_payment_initiate", world.socks()).await.output()["status"], "settled", "{path}");
        assert_eq!(world.settlements(world.alpacanica()).await.len(), 1, "{path}");
    }
}

#[tokio::test]
async fn verify_mandate_takes_a_payment_up_and_never_pays_twice() {
    let world = World::with(lying("/verify-mandate", 3, 200, "text/html", "lost")).await;
    let mut server = world.registered().await;
    let lost = server.call("agent_payment_initiate", world.socks()).await;
    let present = json!({
        "merchant_verify_url": world.alpacanica().verify_url,
        "presentation": world.presentation(&lost),
        "line_items": [{"sku": "alpaca-sock-blue-43", "qty": 1}],
    });
    let dry = server.call("agent_verify_mandate", with(present.clone(), "/dry_run", json!(true))).await;
    assert_eq!(dry.output()["idempotency_key"], lost.output()["idempotency_key"]);
    let taken_up = server.call("agent_verify_mandate", present.clone()).await;
    let output = taken_up.output();
    assert_eq!((&output["status"], &output["mandate_id"]), (&json!("settled"), &lost.output()["mandate_id"]));
    for member in ["verified_at", "verifier_principal_id"] {
        assert!(output[member].is_string(), "{member}: {output:#}");
    }
    assert_eq!(output["spend_cap_remaining_minor"], 0);
    assert_eq!(output["idempotency_key"], lost.output()["idempotency_key"]);
    let again = server.call("agent_verify_mandate", present).await;
    assert_eq!(again.output()["replayed"], true);
    assert_eq!(server.call("agent_payment_initiate", world.socks()).await.output()["replayed"], true);
    assert_eq!(world.settlements(world.alpacanica()).await.len(), 1);
}

#[tokio::test]
async fn verify_mandate_refuses_in_the_contracts_words() {
    let world = World::new().await;
    let mut server = world.registered().await;
    let paid = server.call("agent_payment_initiate", world.socks()).await;
    world.sandbox.clear_requests();
    let present = json!({
        "merchant_verify_url": world.sandbox.merchants()[1].verify_url,
        "presentation": paid.output()["presentation"],
        "line_items": [{"sku": "alpaca-sock-blue-43", "qty": 1}],
    });
    let elsewhere = server.call("agent_verify_mandate", present.clone()).await;
    assert_eq!(elsewhere.text(0), "agent_verify_mandate failed: verify-mandate failed: 422 mandate_audience_mismatch");
    assert!(world.sandbox.requests().is_empty(), "refused unsent");

    let here = with(present, "/merchant_verify_url", json!(world.alpacanica().verify_url));
    let other_key = with(here.clone(), "/idempotency_key", json!("another-key-for-the-same-mandate"));
    let refused = server.call("agent_verify_mandate", other_key).await;
    assert_eq!(
        refused.text(0),
        "agent_verify_mandate failed: idempotency_conflict: a mandate keeps the idempotency_key that it was first presented \
         under, and the payment in context has this mandate or this key already; nothing was sent"
    );
    let context = &refused.error()["context"];
    for member in ["intent_id", "mandate_id", "idempotency_key"] {
        assert_eq!(context[member], paid.output()[member], "{member}");
    }
    assert_eq!(context["next_step"], "Call again without idempotency_key: the one stored with the mandate is used.");
    for lines in
        [json!([]), json!([{"sku": "felt-slipper-41", "qty": 1}]), json!([{"sku": "alpaca-sock-blue-43", "qty": 2}])]
    {
        for dry_run in [false, true] {
            let other = with(with(here.clone(), "/line_items", lines.clone()), "/dry_run", json!(dry_run));
            let refused = server.call("agent_verify_mandate", other).await;
            assert_eq!(
                refused.code(),
                "mandate_line_items_mismatch",
                "a settled mandate answers for its own lines alone"
            );
            assert_eq!(refused.error()["context"]["intent_id"], paid.output()["intent_id"]);
        }
    }
    assert!(!world.sandbox.requests().iter().any(|request| request.path == "/verify-mandate"), "refused unsent");
    let forged = with(
        here.clone(),
        "/presentation",
        json!(paid.output()["presentation"].as_str().unwrap().replacen("eyJ", "eyK", 1)),
    );
    assert_eq!(server.call("agent_verify_mandate", forged).await.code(), "mandate_invalid");
    let bad_key = with(here, "/idempotency_key", json!("x".repeat(129)));
    assert_eq!(server.call("agent_verify_mandate", bad_key).await.code(), "invalid_idempotency_key");
    assert_eq!(world.settlements(world.alpacanica()).await.len(), 1);
}

/// Without `--as-origin` the issuer is the agent's word, and no loopback address is reached for it.
#[tokio::test]
async fn an_agents_own_as_url_leads_to_no_loopback_address() {
    let world = World::new().await;
    let data_dir = world.data_dir();
    let arguments = ["--data-dir", data_dir.to_str().unwrap()];
    let mut server = Server::start(&arguments, world.home.path()).await;
    for url in [
        world.sandbox.as_origin(),
        "https://localhost",
        "https://[::1]:9",
        "https://169.254.169.254",
        "https://10.1.2.3",
    ] {
        let answer = server.call("agent_register", with(world.registration(), "/as_url", json!(url))).await;
        assert_eq!(answer.code(), "forbidden_address", "{url}");
    }
    assert_eq!(server.call("agent_payment_initiate", world.socks()).await.code(), "not_registered");
    assert!(world.sandbox.requests().is_empty());
    // Once registered there by an operator's word, it is remembered, and still not reached without it.
    drop(world.registered().await);
    world.sandbox.clear_requests();
    assert_eq!(server.call("agent_payment_initiate", world.socks()).await.code(), "forbidden_address");
    assert!(world.sandbox.requests().is_empty());
}

#[tokio::test]
async fn a_person_approves_after_the_call_has_returned_and_the_same_call_settles() {
    let world = World::with(SandboxConfig::new().consent_mode(ConsentMode::Dashboard)).await;
    let mut server = world.registered().await;
    drop(server);
    server = world.server_without_waiting().await;
    let asked = server.call("agent_payment_initiate", world.socks()).await;
    let output = asked.output();
    assert_eq!(output["status"], "approval_required");
    let page = output["consent_url"].as_str().unwrap();
    assert!(page.starts_with(world.sandbox.as_origin()), "{page}");
    let principal = world.sandbox.principals()[0].id.clone();
    world.sandbox.decide(page, &principal, ConsentDecision::Approve).unwrap();
    // Another process takes it up, once the server lets it ask again.
    drop(server);
    let mut next = world.server_without_waiting().await;
    let mut settled = next.call("agent_payment_initiate", world.socks()).await;
    for _ in 0..20 {
        if settled.output()["status"] != "approval_required" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        settled = next.call("agent_payment_initiate", world.socks()).await;
    }
    assert_eq!((&settled.output()["status"], &settled.output()["replayed"]), (&json!("settled"), &json!(false)));
    assert_eq!(settled.output()["intent_id"], output["intent_id"]);
    assert_eq!(world.settlements(world.alpacanica()).await.len(), 1);
}

#[tokio::test]
async fn a_person_who_declines_ends_the_purchase_in_the_contracts_words() {
    let world = World::with(SandboxConfig::new().consent_mode(ConsentMode::Dashboard)).await;
    drop(world.registered().await);
    let mut server = world.server_without_waiting().await;
    let asked = server.call("agent_payment_initiate", world.socks()).await;
    let principal = world.sandbox.principals()[0].id.clone();
    let page = asked.output()["consent_url"].as_str().unwrap().to_owned();
    world.sandbox.decide(&page, &principal, ConsentDecision::Decline).unwrap();
    let declined = server.call("agent_payment_initiate", world.socks()).await;
    assert_eq!(declined.text(0), "agent_payment_initiate failed: declined: no mandate issued");
    assert_eq!(declined.error()["context"]["declined_by"], "person");
    assert_eq!(declined.error()["hint"], "The person said no. Do not repeat the call unless they ask for it.");
    assert!(world.settlements(world.alpacanica()).await.is_empty());
}
