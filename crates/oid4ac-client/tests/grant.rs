//! The grant behind a mandate: kept until it is of no use, and ended where more could be charged than should be.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod kit;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use jose::Alg;
use kit::{Act, CALLBACK, Forger, Kit, take_apart, with_json};
use oid4ac_client::{
    Client, Error, Evidence, FileStore, HttpClient, Journal, JournalError, LocalError, MemoryJournal, Order, Origin,
    Outcome, Proceed, Progress, RegisterRequest, SetupToken, Step, TransportError,
};
use sandbox::{ConsentDecision, ConsentMode, SandboxConfig};
use serde_json::{Value, json};

const REVOKE: &str = "POST /oauth/revoke";
const PRESENT: &str = "POST /verify-mandate";

fn count(sent: &[String], what: &str) -> usize {
    sent.iter().filter(|request| *request == what).count()
}

fn revocations(journal: &MemoryJournal) -> Vec<bool> {
    let revoked = |step: &Step| match step {
        Step::GrantRevoked { confirmed } => Some(*confirmed),
        _ => None,
    };
    journal.steps().iter().filter_map(revoked).collect()
}

fn refusing(code: &str) -> http::Response<Bytes> {
    kit::answer(422, "application/json", json!({"error": code}).to_string())
}

/// The merchant settles, and what arrives is this refusal; revocations fail while `deaf` says so.
fn lie_about_settling(kit: &Kit, code: &'static str, deaf: &Arc<AtomicBool>) {
    let deaf = Arc::clone(deaf);
    kit.net.lie(move |endpoint, _| match endpoint.url().path() {
        "/verify-mandate" => Act::Change(Box::new(move |_| refusing(code))),
        "/oauth/revoke" if deaf.load(Ordering::SeqCst) => Act::Fail(TransportError::TimedOut),
        _ => Act::Pass,
    });
}

#[tokio::test]
async fn every_listed_refusal_ends_the_grant_and_what_came_of_that_is_recorded() {
    for code in [
        "mandate_audience_mismatch",
        "mandate_kb_audience_mismatch",
        "mandate_status_revoked",
        "mandate_expired",
        "mandate_not_yet_valid",
        "mandate_signature_invalid",
        "mandate_line_items_mismatch",
        "mandate_offer_unknown",
        "offer_out_of_stock",
        "offer_amount_exceeds_mandate",
        "invalid_request",
    ] {
        let kit = Kit::new().await;
        let (order, journal) = (kit.socks(), MemoryJournal::default());
        lie_about_settling(&kit, code, &Arc::default());
        let Err(Error::Server(error)) = kit.client.pay(&order, &journal).await else { panic!("{code}") };
        assert_eq!((error.status(), error.error()), (422, Some(code)));
        let sent = kit.net.take_sent();
        assert_eq!((count(&sent, PRESENT), count(&sent, REVOKE)), (1, 1), "{code}");
        assert_eq!(revocations(&journal), [true], "{code}");
        assert_eq!(kit.client.revoke_grant(order.idempotency_key()).await.unwrap(), None, "it was ended before");
        // The same call again presents nothing, and has nothing to revoke.
        assert!(matches!(kit.client.pay(&order, &journal).await, Err(Error::Server(_))));
        assert!(kit.net.take_sent().is_empty(), "{code}");
    }
}

#[tokio::test]
async fn a_revocation_that_was_not_confirmed_after_a_refusal_is_tried_again_by_a_later_call() {
    let kit = Kit::new().await;
    let (order, journal) = (kit.socks(), MemoryJournal::default());
    let deaf = Arc::new(AtomicBool::new(true));
    lie_about_settling(&kit, "offer_out_of_stock", &deaf);
    for unconfirmed in 1..=2 {
        assert!(matches!(kit.client.pay(&order, &journal).await, Err(Error::Server(_))));
        assert_eq!(revocations(&journal), vec![false; unconfirmed]);
    }
    deaf.store(false, Ordering::SeqCst);
    kit.net.take_sent();
    assert!(matches!(kit.client.pay(&order, &journal).await, Err(Error::Server(_))));
    assert_eq!(revocations(&journal), [false, false, true]);
    assert_eq!(kit.net.take_sent(), [REVOKE], "nothing but the revocation");
}

/// Records into memory, and fails at a given step.
struct Failing {
    inner: MemoryJournal,
    fails: fn(&Step) -> bool,
    fails_to_keep: fn(&Evidence) -> bool,
}

impl Failing {
    fn at(fails: fn(&Step) -> bool) -> Self {
        Self { inner: MemoryJournal::default(), fails, fails_to_keep: |_| false }
    }
}

impl Journal for Failing {
    fn progress(&self) -> Result<Progress, JournalError> {
        self.inner.progress()
    }

    fn record(&self, step: Step) -> Result<Proceed, JournalError> {
        match (self.fails)(&step) {
            true => Err(JournalError::new("full", "full")),
            false => self.inner.record(step),
        }
    }

    fn keep(&self, evidence: Evidence) -> Result<(), JournalError> {
        match (self.fails_to_keep)(&evidence) {
            true => Err(JournalError::new("full", "full")),
            false => Ok(()),
        }
    }
}

#[tokio::test]
async fn a_process_that_ends_between_refusal_and_revocation_leaves_the_grant_to_the_next_call() {
    let kit = Kit::new().await;
    let (order, journal) = (kit.socks(), MemoryJournal::default());
    // The call is dropped while it revokes: the network has the request, and no answer comes.
    let revoking = Arc::new(AtomicU32::new(0));
    let (seen, slow) = (Arc::clone(&revoking), Arc::new(AtomicBool::new(true)));
    let is_slow = Arc::clone(&slow);
    kit.net.lie(move |endpoint, _| match endpoint.url().path() {
        "/verify-mandate" => Act::Change(Box::new(|_| refusing("offer_out_of_stock"))),
        "/oauth/revoke" => {
            seen.fetch_add(1, Ordering::SeqCst);
            if is_slow.load(Ordering::SeqCst) { Act::Hang } else { Act::Pass }
        }
        _ => Act::Pass,
    });
    let call = kit.client.pay(&order, &journal);
    assert!(tokio::time::timeout(std::time::Duration::from_secs(2), call).await.is_err());
    assert_eq!((revoking.load(Ordering::SeqCst), revocations(&journal)), (1, vec![]));
    assert!(matches!(journal.steps().last(), Some(Step::Refused { .. })));
    slow.store(false, Ordering::SeqCst);
    assert!(matches!(kit.client.pay(&order, &journal).await, Err(Error::Server(_))));
    assert_eq!(revocations(&journal), [true]);
}

#[tokio::test]
async fn an_outcome_is_told_although_what_came_of_ending_its_grant_cannot_be_recorded() {
    let kit = Kit::new().await;
    let (order, journal) = (kit.socks(), Failing::at(|step| matches!(step, Step::GrantRevoked { .. })));
    let deaf = Arc::new(AtomicBool::new(true));
    lie_about_settling(&kit, "offer_out_of_stock", &deaf);
    for _ in 0..2 {
        let Err(Error::Server(error)) = kit.client.pay(&order, &journal).await else { panic!() };
        assert_eq!(error.error(), Some("offer_out_of_stock"));
    }
}

#[tokio::test]
async fn what_was_issued_and_cannot_be_recorded_is_given_back_token_by_token() {
    let keep: fn(&Evidence) -> bool = |evidence| matches!(evidence, Evidence::IssuerKey(_));
    let record: fn(&Step) -> bool = |step| matches!(step, Step::MandateHeld(_));
    for (fails, fails_to_keep) in [(record, (|_| false) as fn(&Evidence) -> bool), (|_| false, keep)] {
        let kit = Kit::new().await;
        let (order, journal) = (kit.socks(), Failing { inner: MemoryJournal::default(), fails, fails_to_keep });
        let hints: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = Arc::clone(&hints);
        kit.net.lie(move |endpoint, request| {
            if endpoint.url().path() == "/oauth/revoke" {
                let body = String::from_utf8(request.body().to_vec()).unwrap();
                let hint = body.split('&').find_map(|pair| pair.strip_prefix("token_type_hint=")).unwrap();
                seen.lock().unwrap().push(hint.to_owned());
            }
            Act::Pass
        });
        let error = kit.client.pay(&order, &journal).await.unwrap_err();
        assert!(matches!(error, Error::Local(LocalError::Journal(_))), "{error}");
        assert_eq!(*hints.lock().unwrap(), ["refresh_token", "access_token"]);
        assert_eq!(count(&kit.net.take_sent(), PRESENT), 0);
        assert_eq!(kit.client.revoke_grant(order.idempotency_key()).await.unwrap(), None, "nothing is left to revoke");
    }
}

#[tokio::test]
async fn a_mandate_that_the_journal_stops_is_given_back_and_one_that_waits_is_kept() {
    struct Deciding(MemoryJournal, Proceed);
    impl Journal for Deciding {
        fn progress(&self) -> Result<Progress, JournalError> {
            self.0.progress()
        }
        fn record(&self, step: Step) -> Result<Proceed, JournalError> {
            let proceed = if matches!(step, Step::MandateHeld(_)) { self.1 } else { Proceed::On };
            self.0.record(step).map(|_| proceed)
        }
    }
    for (proceed, revoked) in [(Proceed::Stop, vec![true]), (Proceed::Wait, vec![])] {
        let kit = Kit::new().await;
        let (order, journal) = (kit.socks(), Deciding(MemoryJournal::default(), proceed));
        assert!(matches!(kit.client.pay(&order, &journal).await.unwrap(), Outcome::Stopped));
        let sent = kit.net.take_sent();
        assert_eq!((count(&sent, PRESENT), count(&sent, REVOKE)), (0, revoked.len()));
        assert_eq!(revocations(&journal.0), revoked);
        if proceed == Proceed::Wait {
            assert_eq!(kit.client.revoke_grant(order.idempotency_key()).await.unwrap(), Some(true));
        }
    }
}

#[tokio::test]
async fn a_grant_without_a_refresh_token_is_never_confirmed_to_have_ended() {
    let kit = Kit::new().await;
    let (order, journal) = (kit.socks(), MemoryJournal::default());
    kit.net.lie(|endpoint, _| match endpoint.url().path() {
        "/oauth/token" => {
            Act::Change(Box::new(|answer| with_json(answer, |reply| drop(reply.remove("refresh_token")))))
        }
        "/verify-mandate" => Act::Answer(refusing("offer_out_of_stock")),
        _ => Act::Pass,
    });
    assert!(matches!(kit.client.pay(&order, &journal).await, Err(Error::Server(_))));
    assert_eq!(count(&kit.net.take_sent(), REVOKE), 1, "what there is is revoked");
    assert_eq!(revocations(&journal), [false]);
}

/// Pays an order of 12.99 with a mandate for `cap`, which the person was shown, as `order` allows it.
async fn pay_with_cap(kit: &Kit, cap: u64, journal: &MemoryJournal, order: &Order) -> Result<Outcome, Error> {
    let Ok(Outcome::Consent(consent)) = kit.client.pay(order, journal).await else { panic!() };
    kit.sandbox.decide(&consent.url, &kit.sandbox.principals()[0].id, ConsentDecision::Approve).unwrap();
    let forger = Forger::new(Alg::EdDsa);
    let mandate_id: Arc<Mutex<Value>> = Arc::default();
    kit.net.lie(move |endpoint, _| {
        let (forger, mandate_id) = (forger.clone(), Arc::clone(&mandate_id));
        match endpoint.url().path() {
            "/oauth/jwks.json" => Act::Answer(forger.jwks()),
            "/oauth/token" => Act::Change(Box::new(move |answer| {
                with_json(answer, |reply| {
                    let (_, mut token) = take_apart(reply["access_token"].as_str().unwrap());
                    if let Some(granted) = token.get_mut("authorization_details") {
                        granted[0]["amount_minor"] = cap.into();
                    }
                    reply.insert("access_token".into(), forger.sign("at+jwt", &token).into());
                    let (jwt, disclosures) = reply["mandate_jwt"].as_str().unwrap().split_once('~').unwrap();
                    let (_, mut claims) = take_apart(jwt);
                    claims["authorization_details"][0]["amount_minor"] = cap.into();
                    *mandate_id.lock().unwrap() = claims["mandate_id"].clone();
                    let mandate = format!("{}~{disclosures}", forger.sign("vc+sd-jwt", &claims));
                    reply.insert("mandate_jwt".into(), mandate.into());
                    reply["authorization_details"][0]["amount_minor"] = cap.into();
                })
            })),
            "/verify-mandate" => {
                let settled = json!({
                    "mandate_id": *mandate_id.lock().unwrap(), "payment_intent_id": "pi_1",
                    "settled_at": "2026-09-21T00:00:00Z",
                });
                Act::Answer(kit::answer(200, "application/json", settled.to_string()))
            }
            path if path.starts_with("/oauth/status-list/") => Act::Answer(kit::answer(503, "text/plain", "")),
            _ => Act::Pass,
        }
    });
    kit.net.take_sent();
    kit.client.pay(order, journal).await
}

#[tokio::test]
async fn a_cap_above_the_amount_is_taken_only_up_to_what_the_order_allows() {
    for (up_to, cap, is_taken) in [
        (None, 1299, true),
        (None, 1300, false),
        (Some(6000), 6000, true),
        (Some(6000), 6001, false),
        // Less than the amount is no limit that an order could have.
        (Some(1), 1299, true),
        (Some(1), 1300, false),
        (Some(u64::MAX), (1 << 53) - 1, true),
    ] {
        let kit = Kit::with(SandboxConfig::new().consent_mode(ConsentMode::Dashboard)).await;
        let (journal, mut order) = (MemoryJournal::default(), kit.socks());
        if let Some(minor) = up_to {
            order = order.with_cap_up_to_minor(minor);
        }
        let paid = pay_with_cap(&kit, cap, &journal, &order).await;
        let sent = kit.net.take_sent();
        assert_eq!(count(&sent, PRESENT), usize::from(is_taken), "{up_to:?} {cap}: {paid:?}");
        match is_taken {
            true => assert!(matches!(paid, Ok(Outcome::Settled(_))), "{paid:?}"),
            false => assert!(count(&sent, REVOKE) > 0, "given back"),
        }
    }
}

#[tokio::test]
async fn after_a_settlement_the_rest_of_a_cap_is_revoked_and_a_cap_that_is_used_up_costs_no_request() {
    for (cap, revoked) in [(1299, vec![]), (6000, vec![true])] {
        let kit = Kit::with(SandboxConfig::new().consent_mode(ConsentMode::Dashboard)).await;
        let (order, journal) = (kit.socks().with_cap_up_to_minor(6000), MemoryJournal::default());
        assert!(matches!(pay_with_cap(&kit, cap, &journal, &order).await, Ok(Outcome::Settled(_))));
        assert_eq!(count(&kit.net.take_sent(), REVOKE), revoked.len(), "{cap}");
        assert_eq!(revocations(&journal), revoked, "{cap}");
        assert_eq!(kit.client.revoke_grant(order.idempotency_key()).await.unwrap(), None, "it is forgotten");
        assert!(matches!(kit.client.pay(&order, &journal).await, Ok(Outcome::Settled(_))));
        assert!(kit.net.take_sent().is_empty(), "{cap}");
    }
}

#[tokio::test]
async fn a_file_store_keeps_the_grant_privately_for_another_process_and_shows_it_nowhere() {
    use std::os::unix::fs::PermissionsExt as _;
    let kit = Kit::unregistered(SandboxConfig::new()).await;
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("agent");
    let client = || {
        let store = FileStore::new(&inner, &Origin::of(kit.sandbox.as_origin()).unwrap());
        let builder = Client::builder(kit.sandbox.as_origin()).unwrap();
        builder.store(Arc::new(store)).http(Arc::clone(&kit.net) as Arc<dyn HttpClient>).build()
    };
    let token = SetupToken::new(kit.sandbox.setup_token().unwrap());
    client().register(&RegisterRequest::new(token, [CALLBACK])).await.unwrap();
    // Nothing arrives at the merchant, so the grant is still needed.
    kit.net.lie(|endpoint, _| match endpoint.url().path() {
        "/verify-mandate" => Act::Fail(TransportError::TimedOut),
        _ => Act::Pass,
    });
    let (order, journal) = (kit.socks(), MemoryJournal::default());
    assert!(matches!(client().pay(&order, &journal).await.unwrap(), Outcome::Unknown(_)));
    let file = inner.join("session.json");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let session: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let grant = &session["grants"][order.idempotency_key().as_str()];
    assert_eq!(grant["is_refresh_token"], true);
    let secret = grant["token"].as_str().unwrap();
    let store = FileStore::new(&inner, &Origin::of(kit.sandbox.as_origin()).unwrap());
    use oid4ac_client::Store as _;
    let kept = store.grant(order.idempotency_key().as_str()).unwrap().unwrap();
    for shown in [format!("{kept:?}"), format!("{kept:#?}"), format!("{store:?}"), format!("{:?}", journal.steps())] {
        assert!(!shown.contains(&secret[..8]), "{shown}");
    }
    assert!(store.grant("another purchase").unwrap().is_none());
    // Another store gets it as it was, and forgets it.
    let (copy, other) = (tempfile::tempdir().unwrap(), Origin::of("https://as.example").unwrap());
    let other = FileStore::new(&copy.path().join("other"), &other);
    other.set_grant("one", Some(&kept)).unwrap();
    other.set_grant("two", Some(&kept)).unwrap();
    assert_eq!(format!("{:?}", other.grant("one").unwrap().unwrap()), format!("{kept:?}"));
    other.set_grant("one", None).unwrap();
    assert!(other.grant("one").unwrap().is_none() && other.grant("two").unwrap().is_some());
    // One whose mandate ended long before another's was issued is not kept for ever.
    let old = session_with_old_grant(&copy.path().join("other/session.json"));
    assert!(other.grant(&old).unwrap().is_some());
    other.set_grant("three", Some(&kept)).unwrap();
    assert!(other.grant(&old).unwrap().is_none() && other.grant("two").unwrap().is_some());
    // And the process that comes next ends it.
    assert_eq!(client().revoke_grant(order.idempotency_key()).await.unwrap(), Some(true));
    assert!(client().revoke_grant(order.idempotency_key()).await.unwrap().is_none());
    assert!(!std::fs::read_to_string(&file).unwrap().contains(secret));
}

/// Puts a grant into the file whose mandate ended two days before all others'.
fn session_with_old_grant(file: &std::path::Path) -> String {
    let mut session: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let mut old = session["grants"]["two"].clone();
    old["mandate_expires_at"] = (old["mandate_expires_at"].as_i64().unwrap() - 2 * 86_400).into();
    session["grants"]["old"] = old;
    std::fs::write(file, session.to_string()).unwrap();
    "old".to_owned()
}
