//! Payments that a person approves, declines or forgets, over real HTTP.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod kit;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jose::Alg;
use kit::{Act, CALLBACK, Kit};
use oid4ac_client::{
    Client, Consent, FileJournal, FileStore, Granted, HttpClient, MemoryJournal, MemoryStore, Order, Origin, Outcome,
    RegisterRequest, SetupToken, Store, WalletScope,
};
use sandbox::{ConsentDecision, ConsentMode, SandboxConfig, WalletError};

const NOW: i64 = 1_790_000_000;

/// A sandbox that asks its principal, and a clock that everybody shares.
struct World {
    clock: Arc<AtomicI64>,
    kit: Kit,
    client: Client,
}

fn clock_of(clock: &Arc<AtomicI64>) -> Arc<dyn jose::Clock> {
    let clock = Arc::clone(clock);
    Arc::new(move || clock.load(Ordering::SeqCst))
}

impl World {
    async fn new(mode: ConsentMode) -> Self {
        let clock = Arc::new(AtomicI64::new(NOW));
        let config = SandboxConfig::new().consent_mode(mode).clock(clock_of(&clock));
        let kit = Kit::unregistered(config).await;
        let client = client(&kit, &clock, Arc::new(MemoryStore::default()));
        let token = SetupToken::new(kit.sandbox.setup_token().unwrap());
        client.register(&RegisterRequest::new(token, [CALLBACK])).await.unwrap();
        Self { clock, kit, client }
    }

    fn advance(&self, seconds: i64) {
        self.clock.fetch_add(seconds, Ordering::SeqCst);
    }

    fn decide(&self, consent: &Consent, decision: ConsentDecision) {
        self.kit.sandbox.decide(&consent.url, &self.kit.sandbox.principals()[0].id, decision).unwrap();
    }

    async fn settlements(&self) -> usize {
        self.kit.settlements(&self.kit.merchant(Alg::EdDsa)).await.len()
    }
}

fn client(kit: &Kit, clock: &Arc<AtomicI64>, store: Arc<dyn Store>) -> Client {
    let builder = Client::builder(kit.sandbox.as_origin()).unwrap();
    builder.store(store).http(Arc::clone(&kit.net) as Arc<dyn HttpClient>).clock(clock_of(clock)).build()
}

async fn asked(client: &Client, order: &Order, journal: &MemoryJournal) -> Consent {
    match client.pay(order, journal).await.unwrap() {
        Outcome::Consent(consent) => consent,
        other => panic!("nobody was asked: {other:?}"),
    }
}

#[tokio::test]
async fn pays_once_the_principal_approved() {
    for (mode, name) in [(ConsentMode::Dashboard, "dashboard"), (ConsentMode::Scan, "scan")] {
        let world = World::new(mode).await;
        let (order, journal) = (world.kit.socks(), MemoryJournal::default());
        let consent = asked(&world.client, &order, &journal).await;
        assert!(consent.url.starts_with(&world.kit.sandbox.portal_url()), "{}", consent.url);
        assert_eq!((consent.mode.as_str(), consent.expires_at), (name, NOW + 900));
        assert_eq!(asked(&world.client, &order, &journal).await.url, consent.url, "the same one is waited for");
        assert_eq!(world.settlements().await, 0);
        world.decide(&consent, ConsentDecision::Approve);
        let outcome = world.client.pay(&order, &journal).await.unwrap();
        assert!(matches!(outcome, Outcome::Settled(_)), "{outcome:?}");
        world.kit.net.take_sent();
        assert!(matches!(world.client.pay(&order, &journal).await.unwrap(), Outcome::Settled(_)));
        assert_eq!((world.kit.net.take_sent().len(), world.settlements().await), (0, 1));
    }
}

#[tokio::test]
async fn a_declined_payment_stays_declined() {
    let world = World::new(ConsentMode::Dashboard).await;
    let (order, journal) = (world.kit.socks(), MemoryJournal::default());
    let consent = asked(&world.client, &order, &journal).await;
    world.decide(&consent, ConsentDecision::Decline);
    for _ in 0..2 {
        assert!(matches!(world.client.pay(&order, &journal).await.unwrap(), Outcome::Declined));
    }
    assert_eq!(world.settlements().await, 0);
}

#[tokio::test]
async fn an_expired_consent_is_said_to_be_and_may_be_asked_for_again() {
    let world = World::new(ConsentMode::Dashboard).await;
    let (order, journal) = (world.kit.socks(), MemoryJournal::default());
    let first = asked(&world.client, &order, &journal).await;
    world.advance(900);
    assert!(matches!(world.client.pay(&order, &journal).await.unwrap(), Outcome::ConsentExpired));
    let late = world.kit.sandbox.decide(&first.url, &world.kit.sandbox.principals()[0].id, ConsentDecision::Approve);
    assert_eq!(late, Err(WalletError::NoSuchConsent));
    let second = asked(&world.client, &order, &journal).await;
    assert_ne!(first.url, second.url);
    world.decide(&second, ConsentDecision::Approve);
    assert!(matches!(world.client.pay(&order, &journal).await.unwrap(), Outcome::Settled(_)));
    assert_eq!(world.settlements().await, 1);
}

#[tokio::test]
async fn approved_after_the_caller_gave_up_it_is_completed_by_another_process() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(AtomicI64::new(NOW));
    let config = SandboxConfig::new().consent_mode(ConsentMode::Dashboard).clock(clock_of(&clock));
    let kit = Kit::unregistered(config).await;
    let issuer = Origin::of(kit.sandbox.as_origin()).unwrap();
    let process = || client(&kit, &clock, Arc::new(FileStore::new(&folder.path().join("data"), &issuer)));
    let order = kit.socks();
    let journal = || FileJournal::new(&folder.path().join("journal"), order.idempotency_key());
    let token = SetupToken::new(kit.sandbox.setup_token().unwrap());
    process().register(&RegisterRequest::new(token, [CALLBACK])).await.unwrap();
    let Outcome::Consent(consent) = process().pay(&order, &journal()).await.unwrap() else { panic!() };

    // Nobody polls for ten minutes; then the principal approves, and nobody polls for a while again.
    clock.fetch_add(600, Ordering::SeqCst);
    kit.sandbox.decide(&consent.url, &kit.sandbox.principals()[0].id, ConsentDecision::Approve).unwrap();
    clock.fetch_add(200, Ordering::SeqCst);
    kit.net.take_sent();
    let outcome = process().pay(&order, &journal()).await.unwrap();
    assert!(matches!(outcome, Outcome::Settled(_)), "{outcome:?}");
    assert!(!kit.net.take_sent().iter().any(|request| request.ends_with("/par")), "the principal is asked once");
    assert!(matches!(process().pay(&order, &journal()).await.unwrap(), Outcome::Settled(_)));
    assert_eq!(kit.settlements(&kit.merchant(Alg::EdDsa)).await.len(), 1);
}

#[tokio::test]
async fn a_poll_whose_answer_was_lost_is_asked_again_and_pays_once() {
    let world = World::new(ConsentMode::Dashboard).await;
    let (order, journal) = (world.kit.socks(), MemoryJournal::default());
    let consent = asked(&world.client, &order, &journal).await;
    world.decide(&consent, ConsentDecision::Approve);
    world.kit.net.lie(|endpoint, _| match endpoint.url().path().starts_with("/oauth/consent/") {
        true => Act::LoseAnswer,
        false => Act::Pass,
    });
    assert!(world.client.pay(&order, &journal).await.is_err());
    world.kit.net.be_honest();
    world.advance(61);
    assert!(matches!(world.client.pay(&order, &journal).await.unwrap(), Outcome::Settled(_)));
    assert_eq!(world.settlements().await, 1);
}

#[tokio::test]
async fn another_principal_cannot_decide() {
    let world = World::new(ConsentMode::Dashboard).await;
    let (order, journal) = (world.kit.socks(), MemoryJournal::default());
    let consent = asked(&world.client, &order, &journal).await;
    let other = &world.kit.sandbox.principals()[1].id;
    let refused = world.kit.sandbox.decide(&consent.url, other, ConsentDecision::Approve);
    assert_eq!(refused, Err(WalletError::NotYours));
    world.advance(5);
    assert_eq!(asked(&world.client, &order, &journal).await.url, consent.url);
}

#[tokio::test]
async fn polling_too_fast_is_still_waiting() {
    let world = World::new(ConsentMode::Dashboard).await;
    let (order, journal) = (world.kit.socks(), MemoryJournal::default());
    asked(&world.client, &order, &journal).await;
    let usual = asked(&world.client, &order, &journal).await.interval_seconds;
    assert_eq!(asked(&world.client, &order, &journal).await.interval_seconds, usual + 5);
}

#[tokio::test]
async fn an_automatic_server_asks_the_principal_when_it_is_asked_to() {
    let world = World::new(ConsentMode::Auto).await;
    let (order, journal) = (world.kit.socks().with_consent_mode_hint("dashboard"), MemoryJournal::default());
    let consent = asked(&world.client, &order, &journal).await;
    world.decide(&consent, ConsentDecision::Approve);
    assert!(matches!(world.client.pay(&order, &journal).await.unwrap(), Outcome::Settled(_)));
}

#[tokio::test]
async fn a_wallet_session_waits_for_the_principal_too() {
    let world = World::new(ConsentMode::Dashboard).await;
    let login = async || world.client.login(WalletScope::WalletRead, CALLBACK).await.unwrap();
    let Granted::Consent(consent) = login().await else { panic!() };
    world.decide(&consent, ConsentDecision::Approve);
    assert_eq!(login().await, Granted::Done(()));
    let Granted::Done(list) = world.client.wallet_agents(CALLBACK).await.unwrap() else { panic!() };
    assert_eq!(list.agents.len(), 1);
    let declined = async || world.client.login(WalletScope::AuditRead, CALLBACK).await.unwrap();
    let Granted::Consent(consent) = declined().await else { panic!() };
    world.decide(&consent, ConsentDecision::Decline);
    assert_eq!(declined().await, Granted::InsufficientScope(WalletScope::AuditRead));
    let Granted::Consent(_) = declined().await else { panic!("it may be asked for again") };
    world.advance(900);
    assert_eq!(declined().await, Granted::ConsentExpired);
}
