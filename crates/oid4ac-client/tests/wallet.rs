//! The principal's own data, over real HTTP: wallet sessions, agents, requests for data, audit chain, payment history.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod kit;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use jose::Alg;
use kit::{Act, CALLBACK, Forger, Kit};
use oid4ac_client::{
    AuditQuery, Client, Disputes, DsarAnswer, DsarRight, Error, FileStore, Granted, HeadVerdict, HttpClient,
    Journal as _, MandateOutcome, MemoryJournal, MemoryStore, Misuse, Origin, Outcome, PaymentStatus, PaymentsQuery,
    PresentedTerms, PrincipalToken, PrincipalTokenError, RegisterRequest, SetupToken, Stage, Store, Undecided,
    WalletScope,
};
use sandbox::{DisputeStatus, SandboxConfig};
use serde_json::{Value, json};

const NOW: i64 = 1_790_000_000;

/// A clock that client and sandbox share, a sandbox, and an agent whose requests are looked at on their way.
struct World {
    clock: Arc<AtomicI64>,
    kit: Kit,
    client: Client,
    seen: Arc<Mutex<Seen>>,
}

/// What went over the wire, oldest first.
#[derive(Default)]
struct Seen {
    access_tokens: Vec<String>,
    refresh_tokens: Vec<String>,
}

fn clock_of(clock: &Arc<AtomicI64>) -> Arc<dyn jose::Clock> {
    let clock = Arc::clone(clock);
    Arc::new(move || clock.load(Ordering::SeqCst))
}

impl World {
    async fn new() -> Self {
        let clock = Arc::new(AtomicI64::new(NOW));
        let kit = Kit::unregistered(SandboxConfig::new().clock(clock_of(&clock))).await;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let looking = Arc::clone(&seen);
        kit.net.lie(move |_, request| {
            let mut seen = looking.lock().unwrap();
            if let Some(value) = request.headers().get("authorization") {
                seen.access_tokens.extend(value.to_str().unwrap().split(' ').nth(1).map(str::to_owned));
            }
            let form = url::form_urlencoded::parse(request.body());
            let sent = form.filter(|(name, _)| name == "refresh_token").map(|(_, value)| value.into_owned());
            seen.refresh_tokens.extend(sent);
            Act::Pass
        });
        let client = client(&kit, &clock, Arc::new(MemoryStore::default()));
        register(&client, kit.sandbox.setup_token().unwrap()).await;
        Self { clock, kit, client, seen }
    }

    fn advance(&self, seconds: i64) {
        self.clock.fetch_add(seconds, Ordering::SeqCst);
    }

    /// Another agent, of the n-th principal's.
    async fn agent_of(&self, principal: usize) -> Client {
        let client = client(&self.kit, &self.clock, Arc::new(MemoryStore::default()));
        let sandbox = &self.kit.sandbox;
        register(&client, sandbox.setup_token_for(&sandbox.principals()[principal].id).unwrap()).await;
        client
    }

    async fn pay(&self) -> String {
        pay(&self.kit, &self.client).await
    }

    /// The access token that a client sends for its wallet session, as someone could be given it.
    async fn session_token(&self, client: &Client, scope: WalletScope) -> String {
        match scope {
            WalletScope::AuditRead => {
                drop(done(client.audit_entries(&AuditQuery::default(), &session()).await.unwrap()))
            }
            _ => drop(done(client.wallet_agents(CALLBACK).await.unwrap())),
        }
        self.seen.lock().unwrap().access_tokens.last().unwrap().clone()
    }

    fn requests_to(&self, path: &str) -> usize {
        self.kit.sandbox.requests().iter().filter(|request| request.path == path).count()
    }
}

fn client(kit: &Kit, clock: &Arc<AtomicI64>, store: Arc<dyn Store>) -> Client {
    let builder = Client::builder(kit.sandbox.as_origin()).unwrap();
    builder.store(store).http(Arc::clone(&kit.net) as Arc<dyn HttpClient>).clock(clock_of(clock)).build()
}

async fn register(client: &Client, token: String) {
    let request = RegisterRequest::new(SetupToken::new(token), [CALLBACK]);
    client.register(&request.with_client_name("acme-research-agent").with_purpose("Socks.")).await.unwrap();
}

async fn pay(kit: &Kit, client: &Client) -> String {
    match client.pay(&kit.socks(), &MemoryJournal::default()).await.unwrap() {
        Outcome::Settled(payment) => payment.settlement.payment_intent_id.clone(),
        other => panic!("not settled: {other:?}"),
    }
}

fn done<T: std::fmt::Debug>(granted: Granted<T>) -> T {
    match granted {
        Granted::Done(value) => value,
        other => panic!("not done: {other:?}"),
    }
}

fn session() -> PrincipalToken {
    PrincipalToken::WalletSession { redirect_uri: CALLBACK.to_owned() }
}

fn refusal<T: std::fmt::Debug>(result: Result<T, Error>) -> (Stage, u16, String) {
    match result.unwrap_err() {
        Error::Server(error) => (error.stage(), error.status(), error.error().unwrap_or_default().to_owned()),
        other => panic!("not a server's refusal: {other:?}"),
    }
}

#[tokio::test]
async fn lists_and_revokes_agents() {
    let world = World::new().await;
    let other = world.agent_of(0).await;
    let other_id = other.registration().unwrap().unwrap().client_id;
    let foreign = world.agent_of(1).await;
    let foreign_id = foreign.registration().unwrap().unwrap().client_id;
    pay(&world.kit, &other).await;

    let agents = done(world.client.wallet_agents(CALLBACK).await.unwrap()).agents;
    assert_eq!(agents.len(), 2);
    let listed = agents.iter().find(|agent| agent.client_id == other_id).unwrap();
    assert_eq!(listed.client_name.as_deref(), Some("acme-research-agent"));
    assert_eq!((listed.purpose.as_deref(), listed.status.as_str()), (Some("Socks."), "active"));

    let revoked = done(world.client.revoke_agent(&other_id, CALLBACK).await.unwrap());
    assert_eq!(revoked.agent_client_id, other_id);
    assert_eq!((revoked.cascade.mandates_revoked, revoked.cascade.refresh_tokens_revoked), (1, 1));
    let stale = world.seen.lock().unwrap().access_tokens.last().unwrap().clone();
    let answer = world.client.dsar(DsarRight::Access, "email", &PrincipalToken::given(stale)).await;
    assert_eq!(refusal(answer).2, "invalid_token", "the token that can change things was given up");
    let revoke = |id: &'static str| world.client.revoke_agent(id, CALLBACK);
    let again = refusal(world.client.revoke_agent(&other_id, CALLBACK).await);
    assert_eq!(again, (Stage::WalletRevoke, 409, "conflict".to_owned()));
    let unknown = (Stage::WalletRevoke, 404, "not_found".to_owned());
    assert_eq!(refusal(revoke("agent_nobody").await), unknown);
    assert_eq!(refusal(revoke("../agents").await), unknown);
    assert_eq!(refusal(world.client.revoke_agent(&foreign_id, CALLBACK).await), unknown);
    assert_eq!(done(foreign.wallet_agents(CALLBACK).await.unwrap()).agents[0].status, "active");
    assert!(other.wallet_agents(CALLBACK).await.is_err(), "a revoked agent gets no token any more");
}

#[tokio::test]
async fn a_session_is_kept_refreshed_with_rotation_and_ended() {
    let world = World::new().await;
    let first = world.session_token(&world.client, WalletScope::WalletRead).await;
    world.kit.sandbox.clear_requests();
    assert_eq!(world.session_token(&world.client, WalletScope::WalletRead).await, first);
    assert_eq!(world.requests_to("/oauth/par"), 0, "it was kept");

    for _ in 0..2 {
        world.advance(301);
        assert_ne!(world.session_token(&world.client, WalletScope::WalletRead).await, first);
    }
    assert_eq!(world.requests_to("/oauth/par"), 0, "refreshed without asking anybody");
    {
        let mut sent = world.seen.lock().unwrap().refresh_tokens.clone();
        sent.dedup();
        // The proof's nonce has aged, so each may go out twice; but the second is another than the first.
        assert_eq!(sent.len(), 2, "rotated");
        assert_ne!(sent[0], sent[1]);
    }

    // A refresh token lives for a day; then the principal is asked again.
    world.advance(86_401);
    done(world.client.wallet_agents(CALLBACK).await.unwrap());
    assert!(world.requests_to("/oauth/par") > 0);

    let token = world.session_token(&world.client, WalletScope::WalletRead).await;
    let ended = world.client.logout().await.unwrap();
    assert_eq!((ended.revoked, ended.only_forgotten), (1, 0));
    let (right, given) = (DsarRight::Access, PrincipalToken::given(token));
    let answer = world.client.dsar(right, "email", &given).await;
    assert_eq!(refusal(answer), (Stage::Dsar, 401, "invalid_token".to_owned()), "revoked at the server too");
}

#[tokio::test]
async fn two_processes_that_refresh_at_once_spend_one_refresh_token() {
    let clock = Arc::new(AtomicI64::new(NOW));
    let kit = Kit::unregistered(SandboxConfig::new().clock(clock_of(&clock))).await;
    let sandbox = &kit.sandbox;
    let folder = tempfile::tempdir().unwrap();
    let issuer = Origin::of(sandbox.as_origin()).unwrap();
    let process = || client(&kit, &clock, Arc::new(FileStore::new(&folder.path().join("data"), &issuer)));
    register(&process(), sandbox.setup_token().unwrap()).await;
    done(process().login(WalletScope::AuditRead, CALLBACK).await.unwrap());
    for _ in 0..3 {
        clock.fetch_add(301, Ordering::SeqCst);
        sandbox.clear_requests();
        let query = AuditQuery::default();
        let (one, two, three) = (process(), process(), process());
        let token = session();
        let (a, b, c) = tokio::join!(
            one.audit_entries(&query, &token),
            two.audit_entries(&query, &token),
            three.audit_entries(&query, &token)
        );
        for page in [a, b, c] {
            done(page.unwrap());
        }
        assert!(
            sandbox.requests().iter().all(|request| request.path != "/oauth/par"),
            "nobody asked for consent again"
        );
        let revoked = sandbox.audit_chain().0.iter().any(|entry| entry["event"] == "oid4ac.token.revoked");
        assert!(!revoked, "no refresh token was used twice");
    }
}

#[tokio::test]
async fn a_scope_that_was_not_registered_is_insufficient() {
    let world = World::new().await;
    let narrow = client(&world.kit, &world.clock, Arc::new(MemoryStore::default()));
    let request = RegisterRequest::new(SetupToken::new(world.kit.sandbox.setup_token().unwrap()), [CALLBACK]);
    narrow.register(&request.with_scope("openid payment:initiate wallet:read")).await.unwrap();
    done(narrow.wallet_agents(CALLBACK).await.unwrap());
    let revoke = narrow.revoke_agent("agent_x", CALLBACK).await.unwrap();
    assert_eq!(revoke, Granted::InsufficientScope(WalletScope::WalletWrite));
    let audit = narrow.audit_entries(&AuditQuery::default(), &session()).await.unwrap();
    assert_eq!(audit, Granted::InsufficientScope(WalletScope::AuditRead));
    let dsar = narrow.dsar(DsarRight::Access, "email", &session()).await.unwrap();
    assert_eq!(dsar, Granted::InsufficientScope(WalletScope::PrivacyDsar));
    // The same where the server says so, of a token for something else.
    let given = PrincipalToken::given(world.session_token(&world.client, WalletScope::WalletRead).await);
    let audit = world.client.audit_entries(&AuditQuery::default(), &given).await.unwrap();
    assert_eq!(audit, Granted::InsufficientScope(WalletScope::AuditRead));
}

#[tokio::test]
async fn an_agent_that_changed_hands_is_refused_with_what_it_kept() {
    let world = World::new().await;
    done(world.client.login(WalletScope::WalletRead, CALLBACK).await.unwrap());
    done(world.client.login(WalletScope::AuditRead, CALLBACK).await.unwrap());
    let id = world.client.registration().unwrap().unwrap().client_id;
    world.kit.sandbox.transfer_agent(&id, &world.kit.sandbox.principals()[1].id).unwrap();
    let refused = refusal(world.client.wallet_agents(CALLBACK).await);
    assert_eq!(refused, (Stage::WalletList, 403, "forbidden".to_owned()));
    let refused = refusal(world.client.audit_entries(&AuditQuery::default(), &session()).await);
    assert_eq!(refused, (Stage::Audit, 403, "principal_mismatch".to_owned()));
}

#[tokio::test]
async fn a_given_token_is_sent_as_what_it_is_or_not_at_all() {
    let world = World::new().await;
    world.pay().await;
    let query = AuditQuery::default();
    let read = async |token: String| world.client.audit_entries(&query, &PrincipalToken::given(token)).await;

    let bound = world.session_token(&world.client, WalletScope::AuditRead).await;
    assert_eq!(done(read(bound.clone()).await.unwrap()).entries.len(), 2);
    let principal = &world.kit.sandbox.principals()[0].id;
    let bearer = world.kit.sandbox.principal_token(principal, "audit:read").unwrap();
    assert_eq!(done(read(bearer).await.unwrap()).entries.len(), 2);
    let refused = refusal(read("an-opaque-one".to_owned()).await);
    assert_eq!(refused, (Stage::Audit, 401, "invalid_token".to_owned()));

    let other_key = world.session_token(&world.agent_of(1).await, WalletScope::AuditRead).await;
    let forger = Forger::new(Alg::EdDsa);
    let (_, claims) = kit::take_apart(&bound);
    let with = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims.insert(name.to_owned(), value);
        forger.sign("at+jwt", &claims)
    };
    let client_id = world.client.registration().unwrap().unwrap().client_id;
    world.kit.sandbox.clear_requests();
    for (token, expected) in [
        (other_key, PrincipalTokenError::OtherKey),
        (with("exp", json!(NOW)), PrincipalTokenError::Expired),
        (with("aud", json!(world.kit.sandbox.merchants()[0].origin)), PrincipalTokenError::Audience),
        (with("iss", json!("https://as.example")), PrincipalTokenError::Issuer),
        (with("sub", json!(client_id)), PrincipalTokenError::AgentOnly),
        ("line\nbreak".to_owned(), PrincipalTokenError::Malformed),
    ] {
        match read(token).await.unwrap_err() {
            Error::Misuse(Misuse::PrincipalToken(why)) => assert_eq!(why, expected),
            other => panic!("{expected:?}: {other:?}"),
        }
    }
    assert_eq!(world.kit.sandbox.requests(), [], "none of them was sent");
    // One that only says it is ours is refused by the server.
    let refused = refusal(read(with("jti", json!("x"))).await);
    assert_eq!(refused, (Stage::Audit, 401, "invalid_token".to_owned()));
    world.advance(301);
    assert!(matches!(
        read(bound).await.unwrap_err(),
        Error::Misuse(Misuse::PrincipalToken(PrincipalTokenError::Expired))
    ));
}

#[tokio::test]
async fn data_requests_come_in_two_forms_and_ten_a_day() {
    let world = World::new().await;
    let paid = world.pay().await;
    match done(world.client.dsar(DsarRight::Access, "synchronous_json", &session()).await.unwrap()) {
        DsarAnswer::Queued(queued) => {
            assert_eq!((queued.status.as_str(), queued.right.as_str()), ("queued", "access"));
            assert_eq!(queued.delivery_channel.as_deref(), Some("email"));
        }
        other => panic!("{other:?}"),
    }
    match done(world.client.dsar(DsarRight::Portability, "email", &session()).await.unwrap()) {
        DsarAnswer::Data(data) => {
            assert_eq!(data["schema_version"], "oid4pay.dsar.portability.v1");
            assert_eq!(data["payments"][0]["payment_intent_id"], paid.as_str());
        }
        other => panic!("{other:?}"),
    }
    for _ in 2..10 {
        done(world.client.dsar(DsarRight::Access, "email", &session()).await.unwrap());
    }
    let refused = refusal(world.client.dsar(DsarRight::Access, "email", &session()).await);
    assert_eq!(refused, (Stage::Dsar, 429, "rate_limited".to_owned()));
}

#[tokio::test]
async fn the_audit_chain_is_proved_and_gaps_are_called_gaps() {
    let world = World::new().await;
    world.pay().await;
    let foreign = world.agent_of(1).await;
    pay(&world.kit, &foreign).await;
    world.pay().await;
    let page = done(world.client.audit_entries(&AuditQuery::default(), &session()).await.unwrap());
    assert!(page.chain.is_intact(), "{:?}", page.chain);
    assert_eq!(page.entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [6, 5, 2, 1]);
    assert_eq!((page.chain.hashes_verified, page.chain.links_verified), (4, 3));
    assert_eq!(page.chain.gaps, [(3, 4)], "the other principal's entries");
    assert_eq!(page.chain.head, HeadVerdict::Verified { head_seq: 6, signed_at: NOW, compared: true });

    // The head is signed once an hour: what came later is not covered yet.
    world.pay().await;
    let page = done(world.client.audit_entries(&AuditQuery::default(), &session()).await.unwrap());
    assert_eq!(page.chain.head, HeadVerdict::Verified { head_seq: 6, signed_at: NOW, compared: true });
    world.advance(3600);
    let page = done(world.client.audit_entries(&AuditQuery::default(), &session()).await.unwrap());
    let head = HeadVerdict::Verified { head_seq: 8, signed_at: NOW + 3600, compared: true };
    assert_eq!((page.chain.head.clone(), page.chain.is_intact()), (head, true));
}

#[tokio::test]
async fn the_chain_tells_what_became_of_a_mandate_once_it_can() {
    let world = World::new().await;
    // The merchant never sees the presentation.
    world.kit.net.lie(|endpoint, _| match endpoint.url().path() == "/verify-mandate" {
        true => Act::Answer(http::Response::builder().status(502).body(bytes::Bytes::new()).unwrap()),
        false => Act::Pass,
    });
    let journal = MemoryJournal::default();
    let outcome = world.client.pay(&world.kit.socks(), &journal).await.unwrap();
    assert!(matches!(outcome, Outcome::Unknown(_)), "{outcome:?}");
    let mandate = journal.progress().unwrap().mandate.unwrap();
    let terms = PresentedTerms {
        mandate_id: mandate.mandate_id,
        merchant: world.kit.sandbox.merchants()[0].origin.clone(),
        currency: "EUR".to_owned(),
        cap_minor: mandate.cap_minor,
        expires_at: mandate.expires_at,
        issued_after: NOW - 60,
    };
    let kept = PrincipalToken::KeptSession;
    // The principal is not asked for a session that is not there.
    let asked = world.client.mandate_outcome(&terms, &kept).await.unwrap();
    assert_eq!(asked, Granted::InsufficientScope(WalletScope::AuditRead));
    drop(done(world.client.audit_entries(&AuditQuery::default(), &session()).await.unwrap()));
    let outcome = async || done(world.client.mandate_outcome(&terms, &kept).await.unwrap());
    let decided_at = mandate.expires_at + 24 * 3600;
    let not_yet = MandateOutcome::Undecided(Undecided::NotUntil(decided_at));
    assert_eq!(outcome().await, not_yet);
    world.advance(mandate.expires_at - NOW);
    assert_eq!(outcome().await, not_yet, "it has ended, and may still be reported");
    world.advance(24 * 3600);
    // A session that was not used for a day has ended.
    drop(done(world.client.audit_entries(&AuditQuery::default(), &session()).await.unwrap()));
    let MandateOutcome::NotPaid { seq, entry_hash } = outcome().await else { panic!("it is not paid") };
    let (chain, _) = world.kit.sandbox.audit_chain();
    assert!(chain.iter().any(|entry| entry["seq"] == seq && entry["entry_hash"] == entry_hash.as_str()));
    // A mandate that the chain does not know is none that it can tell about.
    let other = PresentedTerms { mandate_id: "mandate_of_another".to_owned(), ..terms.clone() };
    let asked = done(world.client.mandate_outcome(&other, &kept).await.unwrap());
    assert_eq!(asked, MandateOutcome::Undecided(Undecided::IssueMissing));
}

#[tokio::test]
async fn a_chain_that_was_tampered_with_is_not_intact() {
    type Edit = fn(&mut Value);
    let edits: [(&str, Edit); 4] = [
        ("an amount", |page| page["entries"][0]["payload"]["amount_minor"] = json!(1)),
        ("a hash", |page| page["entries"][1]["entry_hash"] = page["entries"][0]["entry_hash"].clone()),
        ("a link", |page| page["entries"][0]["prev_hash"] = json!("AAAA")),
        ("the head", |page| page["chain_head"] = json!("e30.e30.e30")),
    ];
    for (what, edit) in edits {
        let kit = Kit::new().await;
        let outcome = kit.client.pay(&kit.socks(), &MemoryJournal::default()).await.unwrap();
        assert!(matches!(outcome, Outcome::Settled(_)));
        kit.net.lie(move |endpoint, _| match endpoint.url().path() == "/audit/principal/range" {
            true => Act::Change(Box::new(move |answer| {
                let (parts, body) = answer.into_parts();
                let mut page: Value = serde_json::from_slice(&body).unwrap();
                if page.get("entries").is_some() {
                    edit(&mut page);
                }
                http::Response::from_parts(parts, serde_json::to_vec(&page).unwrap().into())
            })),
            false => Act::Pass,
        });
        let page = done(kit.client.audit_entries(&AuditQuery::default(), &session()).await.unwrap());
        assert!(!page.chain.is_intact(), "{what}: {:?}", page.chain);
    }
}

#[tokio::test]
async fn history_folds_disputes_into_their_payments() {
    let world = World::new().await;
    let mut paid = Vec::new();
    for _ in 0..4 {
        paid.push(world.pay().await);
        world.advance(1);
    }
    let dispute = |index: usize, status| world.kit.sandbox.dispute(&paid[index], status).unwrap();
    for index in [0, 1, 2] {
        dispute(index, DisputeStatus::Pending);
    }
    dispute(0, DisputeStatus::Won);
    dispute(1, DisputeStatus::Lost);
    let history = async |disputes, limit| {
        done(world.client.payment_history(None, None, disputes, limit, &session()).await.unwrap())
    };
    let all = history(Disputes::Included, 50).await;
    let rows: Vec<_> = all.payments.iter().map(|row| (row.payment_intent_id.clone(), row.status)).collect();
    let expected = [
        (paid[3].clone(), PaymentStatus::Succeeded),
        (paid[2].clone(), PaymentStatus::DisputedPending),
        (paid[1].clone(), PaymentStatus::DisputedLost),
        (paid[0].clone(), PaymentStatus::DisputedWon),
    ];
    assert_eq!(rows, expected);
    assert_eq!((all.total_count, all.has_more), (4, false));
    let row = &all.payments[0];
    assert_eq!((row.amount_minor, row.currency.as_str()), (1299, "EUR"));
    assert_eq!(row.merchant_audience, world.kit.sandbox.merchants()[0].origin);
    assert_eq!(row.agent_client_id, world.client.registration().unwrap().unwrap().client_id);
    assert!(row.receipt_url.as_ref().unwrap().starts_with(&row.merchant_audience));
    let some = history(Disputes::LeftOut, 2).await;
    assert_eq!((some.total_count, some.has_more), (2, true));
    assert!(some.payments.iter().all(|row| row.status == PaymentStatus::Succeeded));
}

#[tokio::test]
async fn a_dispute_counts_for_a_payment_however_much_newer_than_the_page_it_is() {
    let world = World::new().await;
    let mut paid = Vec::new();
    for _ in 0..4 {
        paid.push(world.pay().await);
        world.advance(10);
    }
    let newest = done(world.client.payments(&PaymentsQuery::default(), &session()).await.unwrap());
    let times: Vec<_> = newest.payments.iter().rev().map(|row| row.processed_at_iso.clone()).collect();
    for id in &paid[..3] {
        world.kit.sandbox.dispute(id, DisputeStatus::Pending).unwrap();
    }
    world.kit.sandbox.dispute(&paid[1], DisputeStatus::Won).unwrap();
    // A window that ends before any of the disputes.
    let window = PaymentsQuery { to: Some(times[1].clone()), ..PaymentsQuery::default() };
    let page = done(world.client.payments(&window, &session()).await.unwrap());
    let rows: Vec<_> = page.payments.iter().map(|row| (&row.payment_intent_id, row.status)).collect();
    assert_eq!(rows, [(&paid[1], PaymentStatus::DisputedWon), (&paid[0], PaymentStatus::DisputedPending)]);
    assert!(!page.disputes_incomplete && page.chain.is_intact());
    // Page by page, one row at a time.
    let mut query = PaymentsQuery { limit: 1, ..PaymentsQuery::default() };
    let mut seen = Vec::new();
    loop {
        let page = done(world.client.payments(&query, &session()).await.unwrap());
        seen.extend(page.payments.into_iter().map(|row| (row.payment_intent_id, row.status)));
        assert_eq!(page.has_more, page.next_cursor.is_some());
        let Some(next) = page.next_cursor else { break };
        assert_ne!(query.cursor.as_ref(), Some(&next));
        query.cursor = Some(next);
        world.advance(10);
    }
    let expected = [
        (paid[3].clone(), PaymentStatus::Succeeded),
        (paid[2].clone(), PaymentStatus::DisputedPending),
        (paid[1].clone(), PaymentStatus::DisputedWon),
        (paid[0].clone(), PaymentStatus::DisputedPending),
    ];
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_cursor_reaches_every_entry_once_though_all_have_one_time() {
    let world = World::new().await;
    for _ in 0..4 {
        world.pay().await;
    }
    let whole = done(world.client.audit_entries(&AuditQuery::default(), &session()).await.unwrap());
    assert!(whole.entries.len() >= 8 && !whole.has_more && whole.next.is_none());
    for limit in [1, 2, 3, 200] {
        world.advance(60);
        let mut query = AuditQuery::default();
        query.limit = Some(limit);
        let (mut entries, mut links, mut pages) = (Vec::new(), 0, 0);
        loop {
            let page = done(world.client.audit_entries(&query, &session()).await.unwrap());
            assert!(page.chain.is_intact() && page.entries.len() <= limit as usize, "{:?}", page.chain);
            links += page.chain.links_verified;
            entries.extend(page.entries);
            pages += 1;
            let Some(next) = page.next else { break };
            assert!(page.has_more && query.cursor.as_ref() != Some(&next));
            query.cursor = Some(next);
        }
        assert_eq!(entries, whole.entries, "{limit}");
        // Those between pages too.
        assert_eq!(links, whole.chain.links_verified, "{limit}");
        assert_eq!(pages, whole.entries.len().div_ceil(limit as usize), "{limit}");
    }
}

/// A server with more entries in one second than it gives at once, and one that takes no notice of `to`.
#[tokio::test]
async fn a_place_that_cannot_be_passed_is_said_and_passed_or_ends() {
    for obeys in [true, false] {
        let kit = Kit::new().await;
        assert!(matches!(kit.client.pay(&kit.socks(), &MemoryJournal::default()).await.unwrap(), Outcome::Settled(_)));
        let entry = |seq: u64, ts: &str| json!({"seq": seq, "ts": ts, "event": "x", "tenant_id": "t", "prev_hash": "", "entry_hash": ""});
        kit.net.lie(move |endpoint, _| match endpoint.url().path() == "/audit/principal/range" {
            true => {
                let query: std::collections::HashMap<_, _> = endpoint.url().query_pairs().into_owned().collect();
                let is_before = query.get("to").is_some_and(|to| to.starts_with("2026-01-01T00:00:09.9"));
                let entries = match is_before && obeys {
                    true => vec![entry(7, "2026-01-01T00:00:09Z")],
                    false => vec![entry(9, "2026-01-01T00:00:10Z"), entry(8, "2026-01-01T00:00:10Z")],
                };
                let page = json!({"entries": entries, "has_more": !(is_before && obeys)}).to_string();
                Act::Change(Box::new(move |answer| match answer.status() {
                    http::StatusCode::OK => http::Response::new(page.clone().into()),
                    _ => answer,
                }))
            }
            false => Act::Pass,
        });
        let mut query = AuditQuery::default();
        let first = done(kit.client.audit_entries(&query, &session()).await.unwrap());
        query.cursor = first.next;
        let second = done(kit.client.audit_entries(&query, &session()).await.unwrap());
        assert_eq!(second.skipped_at.as_deref(), Some("2026-01-01T00:00:10Z"));
        assert_eq!((second.entries.len(), second.has_more, second.next), (usize::from(obeys), !obeys, None));
    }
}

#[tokio::test]
async fn a_lost_refresh_is_never_repeated() {
    let world = World::new().await;
    world.session_token(&world.client, WalletScope::WalletRead).await;
    world.advance(301);
    world.kit.net.lie(|endpoint, _| match endpoint.url().path() {
        "/oauth/token" => Act::LoseAnswer,
        _ => Act::Pass,
    });
    assert!(world.client.wallet_agents(CALLBACK).await.is_err());
    world.kit.net.be_honest();
    world.kit.sandbox.clear_requests();
    done(world.client.wallet_agents(CALLBACK).await.unwrap());
    assert!(world.requests_to("/oauth/par") > 0, "what may have been spent counts as lost");
    let revoked = world.kit.sandbox.audit_chain().0.iter().any(|entry| entry["event"] == "oid4ac.token.revoked");
    assert!(!revoked, "the old refresh token was not used again");
}

#[tokio::test]
async fn a_new_registration_ends_what_the_old_one_kept() {
    let world = World::new().await;
    let kept = world.session_token(&world.client, WalletScope::AuditRead).await;
    let token = world.kit.sandbox.setup_token_for(&world.kit.sandbox.principals()[1].id).unwrap();
    let request = RegisterRequest::new(SetupToken::new(token), [CALLBACK]).with_client_name("another");
    world.client.register(&request).await.unwrap();
    let given = world.client.audit_entries(&AuditQuery::default(), &PrincipalToken::given(kept)).await;
    assert_eq!(refusal(given).2, "invalid_token", "revoked");
    world.pay().await;
    let page = done(world.client.audit_entries(&AuditQuery::default(), &session()).await.unwrap());
    let principal = &world.kit.sandbox.principals()[1].id;
    assert!(page.entries.iter().all(|entry| entry.actor["principal_id"] == principal.as_str()), "the new one's alone");
}

#[tokio::test]
async fn an_agent_that_revoked_itself_registers_anew_with_the_same_arguments() {
    let world = World::new().await;
    let old = world.client.registration().unwrap().unwrap().client_id;
    done(world.client.login(WalletScope::WalletRead, CALLBACK).await.unwrap());
    done(world.client.revoke_agent(&old, CALLBACK).await.unwrap());
    assert!(world.client.wallet_agents(CALLBACK).await.is_err(), "no kept token is left");
    register(&world.client, world.kit.sandbox.setup_token().unwrap()).await;
    assert_ne!(world.client.registration().unwrap().unwrap().client_id, old);
    done(world.client.wallet_agents(CALLBACK).await.unwrap());
}

#[tokio::test]
async fn logging_out_forgets_even_where_the_server_is_gone() {
    let world = World::new().await;
    done(world.client.login(WalletScope::WalletRead, CALLBACK).await.unwrap());
    world.kit.net.lie(|_, _| Act::Fail(oid4ac_client::TransportError::NotConnected));
    let ended = world.client.logout().await.unwrap();
    assert_eq!((ended.revoked, ended.only_forgotten), (0, 1));
    world.kit.net.be_honest();
    assert_eq!(world.client.logout().await.unwrap().only_forgotten, 0);
}

#[tokio::test]
async fn keys_are_replaced_with_their_registration_or_not_at_all() {
    let kit = Kit::unregistered(SandboxConfig::new()).await;
    let clock = Arc::new(AtomicI64::new(jiff::Timestamp::now().as_second()));
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let issuer = Origin::of(kit.sandbox.as_origin()).unwrap();
    let process = || client(&kit, &clock, Arc::new(FileStore::new(&data, &issuer)));
    register(&process(), kit.sandbox.setup_token().unwrap()).await;
    done(process().login(WalletScope::AuditRead, CALLBACK).await.unwrap());
    let old = process().registration().unwrap().unwrap();
    let file = |name: &str| std::fs::read_to_string(data.join(name)).unwrap();
    let (old_keys, old_client) = (file("keys.json"), file("client.json"));

    assert!(process().rotate_keys(SetupToken::new("setup_unknown")).await.is_err());
    assert_eq!((file("keys.json"), file("client.json")), (old_keys.clone(), old_client.clone()), "nothing was touched");

    let new = process().rotate_keys(SetupToken::new(kit.sandbox.setup_token().unwrap())).await.unwrap();
    assert_ne!(new.client_id, old.client_id);
    assert_eq!(
        (&new.redirect_uris, &new.client_name, &new.purpose),
        (&old.redirect_uris, &old.client_name, &old.purpose)
    );
    assert_eq!((file("keys.json.bak"), file("client.json.bak")), (old_keys.clone(), old_client.clone()));
    assert!(!data.join("keys.json.new").exists());
    pay(&kit, &process()).await;
    assert_eq!(process().logout().await.unwrap().only_forgotten, 0, "the old sessions are gone");

    // Cut off before the registration was written: the old keys count, and go on counting.
    let (new_keys, new_client) = (file("keys.json"), file("client.json"));
    let next = new_keys.replacen('{', &format!("{{\"client_id\":\"{}\",", new.client_id), 1);
    let put = |name: &str, text: &str| std::fs::write(data.join(name), text).unwrap();
    put("keys.json", &old_keys);
    put("client.json", &old_client);
    put("keys.json.new", &next);
    std::fs::set_permissions(data.join("keys.json.new"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    pay(&kit, &process()).await;
    assert_eq!(file("keys.json"), old_keys);
    // Cut off after: the new ones do.
    put("client.json", &new_client);
    pay(&kit, &process()).await;
    assert_eq!(file("keys.json"), new_keys);
    assert!(!data.join("keys.json.new").exists());
}
