//! Payments against the sandbox, over real HTTP.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod kit;

use jose::Alg;
use kit::{Act, Kit, SOCK};
use oid4ac_client::{
    Client, Error, FileJournal, Journal as _, LineItem, MemoryJournal, Misuse, Outcome, Payment, Proceed,
    RegisterRequest, Registered, SetupToken, Stage, Step, SystemClock, TransportError,
};
use sandbox::SandboxConfig;

fn settled(outcome: Outcome) -> Payment {
    match outcome {
        Outcome::Settled(payment) => *payment,
        other => panic!("not settled: {other:?}"),
    }
}

#[tokio::test]
async fn pays_at_both_merchants_with_every_signature_verified() {
    let kit = Kit::new().await;
    for alg in [Alg::EdDsa, Alg::Es256] {
        let merchant = kit.merchant(alg);
        let (sku, price) = kit.cheap_item(&merchant).await;
        let order = kit.order(&merchant, price, vec![LineItem::new(sku, 1)]);
        let payment = settled(kit.client.pay(&order, &MemoryJournal::default()).await.unwrap());
        let verdicts = [
            &payment.offers.as_ref().unwrap().verdict,
            &payment.mandate.access_token,
            &payment.mandate.mandate,
            &payment.settlement.key_binding,
            &payment.settlement.receipt,
        ];
        assert!(verdicts.iter().all(|verdict| verdict.is_verified()), "{verdicts:?}");
        let settlements = kit.settlements(&merchant).await;
        assert_eq!(settlements.len(), 1);
        assert_eq!(settlements[0]["payment_intent_id"], payment.settlement.payment_intent_id.as_str());
        assert_eq!(settlements[0]["amount_minor"], price);
        assert_eq!(settlements[0]["idempotency_key"], order.idempotency_key().as_str());
    }
}

#[tokio::test]
async fn a_warm_payment_costs_five_requests() {
    let kit = Kit::new().await;
    settled(kit.client.pay(&kit.socks(), &MemoryJournal::default()).await.unwrap());
    kit.net.take_sent();
    settled(kit.client.pay(&kit.socks(), &MemoryJournal::default()).await.unwrap());
    let expected = [
        format!("GET /oid4ac/offer/{SOCK}"),
        "POST /oauth/par".to_owned(),
        "GET /oauth/authorize".to_owned(),
        "POST /oauth/token".to_owned(),
        "POST /verify-mandate".to_owned(),
    ];
    assert_eq!(kit.net.take_sent(), expected);
}

#[tokio::test]
async fn a_settled_payment_is_answered_from_its_journal() {
    let kit = Kit::new().await;
    let (order, journal) = (kit.socks(), MemoryJournal::default());
    let first = settled(kit.client.pay(&order, &journal).await.unwrap());
    kit.net.take_sent();
    assert_eq!(settled(kit.client.pay(&order, &journal).await.unwrap()), first);
    assert!(kit.net.take_sent().is_empty());
}

#[tokio::test]
async fn a_lost_answer_is_presented_again_and_settles_once() {
    let kit = Kit::new().await;
    let (order, journal) = (kit.socks(), MemoryJournal::default());
    let lost = std::sync::atomic::AtomicU32::new(0);
    kit.net.lie(move |endpoint, _| match endpoint.url().path() {
        "/verify-mandate" if lost.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0 => Act::LoseAnswer,
        _ => Act::Pass,
    });
    let payment = settled(kit.client.pay(&order, &journal).await.unwrap());
    assert!(payment.settlement.receipt.is_verified());
    assert_eq!(kit.settlements(&kit.merchant(Alg::EdDsa)).await.len(), 1);
}

#[tokio::test]
async fn an_unknown_outcome_is_cleared_up_by_another_process() {
    let kit = Kit::new().await;
    let folder = tempfile::tempdir().unwrap();
    let order = kit.socks();
    let journal = || FileJournal::new(&folder.path().join("journal"), order.idempotency_key());
    kit.net.lie(|endpoint, _| match endpoint.url().path() {
        "/verify-mandate" => Act::LoseAnswer,
        _ => Act::Pass,
    });
    let Outcome::Unknown(in_flight) = kit.client.pay(&order, &journal()).await.unwrap() else { panic!() };
    assert!(matches!(in_flight.last, Error::Transport { stage: Stage::VerifyMandate, error: TransportError::Lost }));
    assert_eq!(in_flight.idempotency_key, *order.idempotency_key());

    kit.net.be_honest();
    kit.net.take_sent();
    let payment = settled(kit.client.pay(&order, &journal()).await.unwrap());
    assert_eq!(payment.mandate.mandate_id, in_flight.mandate.mandate_id);
    assert!(kit.net.take_sent().iter().all(|request| !request.contains("/oauth/")), "no new mandate");
    assert_eq!(kit.settlements(&kit.merchant(Alg::EdDsa)).await.len(), 1);
}

#[tokio::test]
async fn what_answers_502_html_or_nothing_leaves_the_purchase_unknown_and_unpaid() {
    for (name, act) in [
        ("502", (|| Act::Answer(kit::answer(502, "application/json", "{\"error\":\"bad_gateway\"}"))) as fn() -> Act),
        ("html", || Act::Answer(kit::answer(200, "text/html", "<h1>hello</h1>"))),
        ("empty", || Act::Answer(kit::answer(200, "application/json", ""))),
        ("nothing", || Act::Fail(TransportError::TimedOut)),
        ("too much", || Act::Fail(TransportError::TooLarge { limit: 1 })),
    ] {
        let kit = Kit::new().await;
        let (order, journal) = (kit.socks(), MemoryJournal::default());
        kit.net.lie(move |endpoint, _| if endpoint.url().path() == "/verify-mandate" { act() } else { Act::Pass });
        let outcome = kit.client.pay(&order, &journal).await.unwrap();
        assert!(matches!(outcome, Outcome::Unknown(_)), "{name}: {outcome:?}");
        assert!(matches!(journal.steps().last(), Some(Step::Unknown { .. })), "{name}");
        assert!(kit.settlements(&kit.merchant(Alg::EdDsa)).await.is_empty(), "{name}");
        kit.net.be_honest();
        settled(kit.client.pay(&order, &journal).await.unwrap());
        assert_eq!(kit.settlements(&kit.merchant(Alg::EdDsa)).await.len(), 1, "{name}");
    }
}

#[tokio::test]
async fn a_refusal_is_final_and_moves_no_money() {
    let kit = Kit::new().await;
    let (order, journal) = (kit.socks(), MemoryJournal::default());
    kit.net.lie(|endpoint, _| match endpoint.url().path() {
        "/verify-mandate" => Act::Answer(kit::answer(422, "application/json", "{\"error\":\"mandate_expired\"}")),
        _ => Act::Pass,
    });
    for _ in 0..2 {
        let error = kit.client.pay(&order, &journal).await.unwrap_err();
        assert_eq!(error.to_string(), "verify-mandate failed: 422 mandate_expired");
        kit.net.be_honest();
    }
    assert!(kit.settlements(&kit.merchant(Alg::EdDsa)).await.is_empty());
}

#[tokio::test]
async fn an_early_check_is_no_verdict_on_what_may_have_settled() {
    let kit = Kit::new().await;
    let (order, journal) = (kit.socks(), MemoryJournal::default());
    let count = std::sync::atomic::AtomicU32::new(0);
    kit.net.lie(move |endpoint, _| match endpoint.url().path() {
        "/verify-mandate" => match count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
            0 => Act::LoseAnswer,
            _ => Act::Answer(kit::answer(422, "application/json", "{\"error\":\"mandate_signature_invalid\"}")),
        },
        _ => Act::Pass,
    });
    assert!(matches!(kit.client.pay(&order, &journal).await.unwrap(), Outcome::Unknown(_)));
    kit.net.be_honest();
    settled(kit.client.pay(&order, &journal).await.unwrap());
}

#[tokio::test]
async fn a_setup_token_works_once_and_is_not_spent_when_it_need_not_be() {
    let kit = Kit::new().await;
    let token = kit.sandbox.setup_token().unwrap();
    let again = RegisterRequest::new(SetupToken::new(token.clone()), [kit::CALLBACK]);
    assert!(matches!(kit.client.register(&again).await.unwrap(), Registered::Before(_)));
    assert!(kit.net.take_sent().is_empty());

    let more = RegisterRequest::new(SetupToken::new(token.clone()), ["https://agent.example/other"]);
    assert!(matches!(kit.client.register(&more).await.unwrap(), Registered::Now(_)));
    for spent_or_unknown in [token, "setup_unknown".to_owned()] {
        let request = RegisterRequest::new(SetupToken::new(spent_or_unknown), ["https://agent.example/third"]);
        let Error::Server(error) = kit.client.register(&request).await.unwrap_err() else { panic!() };
        assert_eq!((error.status(), error.error()), (400, Some("invalid_software_statement")));
    }
    assert_eq!(kit.client.registration().unwrap().unwrap().redirect_uris, ["https://agent.example/other"]);
}

#[tokio::test]
async fn a_redirect_uri_with_a_disallowed_scheme_is_refused() {
    let kit = Kit::unregistered(SandboxConfig::new()).await;
    for uri in ["http://agent.example/cb", "javascript:alert(1)", "data:text/html,x"] {
        let token = SetupToken::new(kit.sandbox.setup_token().unwrap());
        let Error::Server(error) = kit.client.register(&RegisterRequest::new(token, [uri])).await.unwrap_err() else {
            panic!()
        };
        assert_eq!(error.error(), Some("invalid_redirect_uri"), "{uri}");
        assert!(kit.client.registration().unwrap().is_none());
    }
}

#[tokio::test]
async fn an_unregistered_agent_is_told_so_and_sends_nothing() {
    let kit = Kit::unregistered(SandboxConfig::new()).await;
    let error = kit.client.pay(&kit.socks(), &MemoryJournal::default()).await.unwrap_err();
    assert!(matches!(error, Error::Misuse(Misuse::NotRegistered)));
    assert!(kit.net.take_sent().is_empty());
}

#[tokio::test]
async fn a_consent_mode_that_the_server_does_not_have_is_refused_before_par() {
    let kit = Kit::new().await;
    let order = kit.socks().with_consent_mode_hint("telepathy");
    let error = kit.client.pay(&order, &MemoryJournal::default()).await.unwrap_err();
    assert!(matches!(error, Error::Misuse(Misuse::ConsentMode(_))), "{error:?}");
    assert!(!kit.net.take_sent().iter().any(|request| request.ends_with("/par")));
}

#[tokio::test]
async fn takes_up_a_presentation_whose_answer_was_lost() {
    let kit = Kit::new().await;
    let (order, journal) = (kit.socks(), MemoryJournal::default());
    kit.net.lie(|endpoint, _| match endpoint.url().path() {
        "/verify-mandate" => Act::LoseAnswer,
        _ => Act::Pass,
    });
    assert!(matches!(kit.client.pay(&order, &journal).await.unwrap(), Outcome::Unknown(_)));
    kit.net.be_honest();
    let presentation = journal.progress().unwrap().presentation.unwrap();
    let presented = kit.client.read_presentation(&presentation, order.verify_url().as_str()).await.unwrap();
    assert_eq!(presented.amount(), order.amount());
    let key = order.idempotency_key();
    let other = MemoryJournal::default();
    let outcome = kit.client.verify_mandate(&presented, order.line_items(), None, key, &other).await.unwrap();
    assert_eq!(settled(outcome).mandate.mandate_id, presented.mandate_id());
    assert_eq!(kit.settlements(&kit.merchant(Alg::EdDsa)).await.len(), 1);

    let elsewhere = kit.merchant(Alg::Es256).verify_url;
    let error = kit.client.read_presentation(&presentation, &elsewhere).await.unwrap_err();
    assert!(matches!(error, Error::Misuse(Misuse::MandateAudience { .. })), "{error:?}");
}

#[tokio::test]
async fn the_issuer_must_be_the_configured_one_byte_for_byte() {
    let kit = Kit::new().await;
    let client = Client::builder(&format!("{}/", kit.sandbox.as_origin())).unwrap().build();
    let token = SetupToken::new(kit.sandbox.setup_token().unwrap());
    let error = client.register(&RegisterRequest::new(token, [kit::CALLBACK])).await.unwrap_err();
    assert_eq!(error.code(), "metadata_invalid");
}

/// Settles at the merchant and answers this instead of its answer.
fn settle_but_answer(net: &kit::Hostile, status: u16, body: &'static str) {
    net.lie(move |endpoint, _| match endpoint.url().path() {
        "/verify-mandate" => Act::Change(Box::new(move |real| match real.status().as_u16() {
            200 => kit::answer(status, "application/json", body),
            _ => real,
        })),
        _ => Act::Pass,
    });
}

#[tokio::test]
async fn what_a_gateway_says_of_a_server_at_work_is_no_refusal() {
    for status in [408, 409, 425, 429, 499, 500, 502, 503, 504, 302] {
        let kit = Kit::new().await;
        let (order, journal) = (kit.socks(), MemoryJournal::default());
        settle_but_answer(&kit.net, status, "{\"error\":\"idempotency_conflict\"}");
        let outcome = kit.client.pay(&order, &journal).await.unwrap();
        assert!(matches!(outcome, Outcome::Unknown(_)), "{status}: {outcome:?}");
        kit.net.be_honest();
        settled(kit.client.pay(&order, &journal).await.unwrap());
        assert_eq!(kit.settlements(&kit.merchant(Alg::EdDsa)).await.len(), 1, "{status}");
    }
}

#[tokio::test]
async fn a_used_up_cap_is_no_refusal_of_what_may_have_settled() {
    let kit = Kit::new().await;
    let (order, journal) = (kit.socks(), MemoryJournal::default());
    let count = std::sync::atomic::AtomicU32::new(0);
    kit.net.lie(move |endpoint, _| match endpoint.url().path() {
        "/verify-mandate" if count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0 => Act::LoseAnswer,
        "/verify-mandate" => {
            Act::Answer(kit::answer(422, "application/json", "{\"error\":\"offer_amount_exceeds_mandate\"}"))
        }
        _ => Act::Pass,
    });
    assert!(matches!(kit.client.pay(&order, &journal).await.unwrap(), Outcome::Unknown(_)));
}

#[tokio::test]
async fn expired_is_a_refusal_only_while_the_merchant_would_still_know_of_a_settlement() {
    for (days, is_final) in [(1, true), (8, false)] {
        let offset = std::sync::Arc::new(std::sync::atomic::AtomicI64::new(0));
        let clock = std::sync::Arc::clone(&offset);
        let now = move || jose::Clock::now(&SystemClock) + clock.load(std::sync::atomic::Ordering::Relaxed);
        let kit = Kit::new().await;
        let client = kit.client_with_clock(std::sync::Arc::new(now)).await;
        let (order, journal) = (kit.socks(), MemoryJournal::default());
        kit.net.lie(|endpoint, _| match endpoint.url().path() {
            "/verify-mandate" => Act::Fail(TransportError::Lost),
            _ => Act::Pass,
        });
        assert!(matches!(client.pay(&order, &journal).await.unwrap(), Outcome::Unknown(_)));
        offset.store(days * 86_400, std::sync::atomic::Ordering::Relaxed);
        kit.net.lie(|endpoint, _| match endpoint.url().path() {
            "/verify-mandate" => Act::Answer(kit::answer(422, "application/json", "{\"error\":\"mandate_expired\"}")),
            // The days have passed at the authorization server too, whose answers are dated by the machine's clock.
            _ => Act::Change(Box::new(|mut answer| {
                answer.headers_mut().remove("date");
                answer
            })),
        });
        match client.pay(&order, &journal).await {
            Ok(Outcome::Unknown(_)) => assert!(!is_final, "{days} days"),
            Err(Error::Server(error)) => assert!(is_final && error.error() == Some("mandate_expired"), "{days} days"),
            other => panic!("{days} days: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_settlement_with_an_odd_optional_member_is_a_settlement() {
    let kit = Kit::new().await;
    kit.net.lie(|endpoint, _| match endpoint.url().path() {
        "/verify-mandate" => Act::Change(Box::new(|answer| {
            kit::with_json(answer, |reply| {
                if reply.contains_key("settled_at") {
                    reply.insert("spend_cap_remaining_minor".into(), serde_json::json!(0.5));
                    reply.insert("receipt_url".into(), serde_json::json!(["x"]));
                }
            })
        })),
        _ => Act::Pass,
    });
    let payment = settled(kit.client.pay(&kit.socks(), &MemoryJournal::default()).await.unwrap());
    assert_eq!((payment.settlement.spend_cap_remaining_minor, payment.settlement.receipt_url), (None, None));
    assert!(payment.settlement.receipt.is_verified());
}

/// Settles at the merchant, and gives the journal as a process leaves it that is killed before the answer comes.
async fn killed_while_charging(kit: &Kit, order: &oid4ac_client::Order) -> MemoryJournal {
    settled(kit.client.pay(&kit.socks(), &MemoryJournal::default()).await.unwrap());
    let journal = MemoryJournal::default();
    settled(kit.client.pay(order, &journal).await.unwrap());
    let left = MemoryJournal::default();
    let before = journal.steps().into_iter().take_while(|step| !matches!(step, Step::Settled(_)));
    before.for_each(|step| assert_eq!(left.record(step).unwrap(), Proceed::On));
    left
}

#[tokio::test]
async fn an_agent_without_keys_presents_again_what_it_was_given() {
    let kit = Kit::new().await;
    let order = kit.socks();
    let presentation = killed_while_charging(&kit, &order).await.progress().unwrap().presentation.unwrap();
    let stranger = kit.stranger();
    let presented = stranger.read_presentation(&presentation, order.verify_url().as_str()).await.unwrap();
    let key = order.idempotency_key();
    let count = std::sync::atomic::AtomicU32::new(0);
    kit.net.lie(move |endpoint, _| match endpoint.url().path() {
        "/verify-mandate" if count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0 => Act::LoseAnswer,
        _ => Act::Pass,
    });
    let lines = order.line_items();
    let outcome = stranger.verify_mandate(&presented, lines, None, key, &MemoryJournal::default()).await.unwrap();
    settled(outcome);
    assert_eq!(kit.settlements(&kit.merchant(Alg::EdDsa)).await.len(), 2);

    let other = [LineItem::new(SOCK, 2)];
    let error = stranger.verify_mandate(&presented, &other, None, key, &MemoryJournal::default()).await.unwrap_err();
    assert!(matches!(error, Error::Misuse(Misuse::MandateLineItems)));
}

#[tokio::test]
async fn replaced_keys_do_not_keep_an_unknown_purchase_from_being_cleared_up() {
    let kit = Kit::new().await;
    let order = kit.socks();
    let journal = killed_while_charging(&kit, &order).await;
    let other = kit.stranger();
    let token = SetupToken::new(kit.sandbox.setup_token().unwrap());
    other.register(&RegisterRequest::new(token, [kit::CALLBACK])).await.unwrap();
    settled(other.pay(&order, &journal).await.unwrap());
    assert_eq!(kit.settlements(&kit.merchant(Alg::EdDsa)).await.len(), 2);
}

#[tokio::test]
async fn a_clock_that_is_ahead_presents_nothing_and_leaves_what_was_presented_unknown() {
    let kit = Kit::new().await;
    assert_eq!(Client::builder(kit.sandbox.as_origin()).unwrap().build().clock_skew(), None, "before the first answer");
    let (presented, journal) = (kit.socks(), MemoryJournal::default());
    kit.net.lie(|endpoint, _| match endpoint.url().path() {
        "/verify-mandate" => Act::LoseAnswer,
        _ => Act::Pass,
    });
    let Outcome::Unknown(_) = kit.client.pay(&presented, &journal).await.unwrap() else { panic!() };
    assert!(kit.client.clock_skew().unwrap().abs() < 60);
    kit.client.check_clock().unwrap();

    let server = kit.sandbox.as_origin().to_owned();
    kit.net.lie(move |endpoint, _| match endpoint.origin().as_str() == server {
        true => Act::Change(Box::new(|mut answer| {
            answer.headers_mut().insert("date", "Sun, 06 Nov 1994 08:49:37 GMT".parse().unwrap());
            answer
        })),
        false => Act::Pass,
    });
    kit.net.take_sent();
    let error = kit.client.pay(&kit.socks(), &MemoryJournal::default()).await.unwrap_err();
    assert_eq!(error.code(), "clock_ahead");
    assert!(error.to_string().contains("1994-11-06T08:49:37Z"), "{error}");
    // The next one asks again, since the clock may have been corrected, and goes no further.
    assert_eq!(kit.client.compare_clocks().await.unwrap_err().code(), "clock_ahead");
    let Outcome::Unknown(in_flight) = kit.client.pay(&presented, &journal).await.unwrap() else { panic!() };
    assert_eq!(in_flight.last.code(), "clock_ahead");
    assert!(!kit.net.take_sent().contains(&"POST /verify-mandate".to_owned()));

    kit.net.be_honest();
    settled(kit.client.pay(&presented, &journal).await.unwrap());
    assert_eq!(kit.settlements(&kit.merchant(Alg::EdDsa)).await.len(), 1);
}
