//! Consent at an authorization server that knows no consent modes: through the person's browser and a page on 127.0.0.1.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod kit;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use kit::{Act, Kit, edit_json};
use oid4ac_client::{
    Artefact, Client, Endpoint, Error, Granted, HttpClient, Journal, MemoryJournal, Misuse, Order, Outcome,
    RegisterRequest, SetupToken, Stage, Step, WalletScope, Why,
};
use sandbox::SandboxConfig;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const CALLBACK: &str = "http://127.0.0.1/callback";
const METADATA: &str = "/.well-known/oauth-authorization-server";
const NOW: i64 = 1_790_000_000;

/// A sandbox that approves at once, as seen by somebody to whom its metadata says nothing of consent modes; what was sent to
/// register and to push; and a clock that everybody shares.
struct World {
    kit: Kit,
    client: Client,
    clock: Arc<AtomicI64>,
    sent: Arc<Mutex<Vec<(String, String)>>>,
}

type Edit = fn(&mut Map<String, Value>);

fn plain(metadata: &mut Map<String, Value>) {
    metadata.remove("oid4ac_consent_modes_supported");
}

impl World {
    async fn new() -> Self {
        Self::with_metadata(plain).await
    }

    async fn with_metadata(edit: Edit) -> Self {
        Self::registered(edit, CALLBACK).await
    }

    async fn registered(edit: Edit, callback: &str) -> Self {
        let clock = Arc::new(AtomicI64::new(NOW));
        let time = Arc::clone(&clock);
        let kit = Kit::unregistered(SandboxConfig::new().clock(Arc::new(move || time.load(Ordering::SeqCst)))).await;
        let sent = Arc::new(Mutex::new(Vec::new()));
        let (seen, edit) = (Arc::clone(&sent), edit_json(METADATA, edit));
        kit.net.lie(move |endpoint, request| {
            let body = String::from_utf8_lossy(request.body()).into_owned();
            seen.lock().unwrap().push((endpoint.url().path().to_owned(), body));
            edit(endpoint, request)
        });
        let client = another_client(&kit, &clock);
        let token = SetupToken::new(kit.sandbox.setup_token().unwrap());
        client.register(&RegisterRequest::new(token, [callback])).await.unwrap();
        Self { kit, client, clock, sent }
    }

    /// One pair of socks, to be answered at `redirect_uri`.
    fn socks_at(&self, redirect_uri: &str) -> Order {
        let socks = self.kit.socks();
        let (merchant, verify_url) = (socks.merchant().as_str(), socks.verify_url().as_str());
        let (lines, key) = (socks.line_items().to_vec(), socks.idempotency_key().clone());
        Order::new(merchant, verify_url, socks.amount(), lines, redirect_uri, key).unwrap()
    }

    fn socks(&self) -> Order {
        self.socks_at(CALLBACK)
    }

    async fn asked(&self, order: &Order, journal: &MemoryJournal) -> String {
        match self.client.pay(order, journal).await.unwrap() {
            Outcome::Consent(consent) => consent.url,
            other => panic!("nobody was asked: {other:?}"),
        }
    }

    async fn settlements(&self) -> usize {
        self.kit.settlements(&self.kit.merchant(jose::Alg::EdDsa)).await.len()
    }

    /// The bodies that were sent to `path`.
    fn sent_to(&self, path: &str) -> Vec<String> {
        let sent = self.sent.lock().unwrap();
        sent.iter().filter(|(to, _)| to == path).map(|(_, body)| body.clone()).collect()
    }

    /// The `name` of the newest pushed request.
    fn pushed(&self, name: &str) -> String {
        let body = self.sent_to("/oauth/par").pop().unwrap();
        let mut fields = url::form_urlencoded::parse(body.as_bytes());
        fields.find(|(field, _)| field == name).unwrap().1.into_owned()
    }

    /// Where the server's answer to the newest pushed request goes.
    fn callback(&self, query: &[(&str, &str)]) -> String {
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        format!("{}?{query}", self.pushed("redirect_uri"))
    }
}

fn another_client(kit: &Kit, clock: &Arc<AtomicI64>) -> Client {
    let clock = Arc::clone(clock);
    let builder = Client::builder(kit.sandbox.as_origin()).unwrap();
    builder
        .http(Arc::clone(&kit.net) as Arc<dyn HttpClient>)
        .clock(Arc::new(move || clock.load(Ordering::SeqCst)))
        .build()
}

/// What a browser got.
struct Got {
    status: u16,
    head: String,
    body: String,
}

impl Got {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// Sends these octets to the host of `url`.
async fn send(url: &str, request: &str) -> Option<Got> {
    let endpoint = Endpoint::parse(url).unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", endpoint.url().port().unwrap())).await.ok()?;
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Some(Got { status, head: head.to_owned(), body: body.to_owned() })
}

/// Opens `url` as a browser does, with these header lines; `None` if nobody listens.
async fn open_with(url: &str, lines: &str) -> Option<Got> {
    let endpoint = Endpoint::parse(url).unwrap();
    let target = url.splitn(4, '/').nth(3).unwrap();
    let host = format!("{}:{}", endpoint.url().host_str().unwrap(), endpoint.url().port().unwrap());
    send(url, &format!("GET /{target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{lines}\r\n")).await
}

async fn open(url: &str) -> Option<Got> {
    open_with(url, "").await
}

/// Opens `url` and goes wherever it leads.
async fn follow(url: &str) -> Got {
    let mut got = open(url).await.unwrap();
    for _ in 0..5 {
        match got.header("location").map(str::to_owned) {
            Some(location) => got = open(&location).await.unwrap(),
            None => return got,
        }
    }
    panic!("it leads nowhere")
}

#[tokio::test]
async fn pays_once_the_persons_browser_came_back() {
    let world = World::new().await;
    let (order, journal) = (world.socks(), MemoryJournal::default());
    let Outcome::Consent(consent) = world.client.pay(&order, &journal).await.unwrap() else { panic!() };
    assert_eq!((consent.mode.as_str(), consent.expires_at), ("loopback", NOW + 900));
    let (port, token) = consent.url.strip_prefix("http://127.0.0.1:").unwrap().split_once("/go/").unwrap();
    assert_eq!(token.len(), 22, "128 bits");
    assert_eq!(world.asked(&order, &journal).await, consent.url, "the same one is waited for");
    assert_eq!(world.sent_to("/oauth/par").len(), 0, "nothing is pushed before somebody is there");

    let went = open(&consent.url).await.unwrap();
    assert_eq!((went.status, went.body.as_str()), (303, ""));
    let to = went.header("location").unwrap();
    assert!(to.starts_with(&format!("{}/oauth/authorize?client_id=", world.kit.sandbox.as_origin())), "{to}");
    assert_eq!(url::Url::parse(to).unwrap().query_pairs().count(), 2, "client_id and request_uri, no more");
    assert_eq!(world.pushed("redirect_uri"), format!("http://127.0.0.1:{port}/callback"));
    assert_eq!(world.sent_to("/oauth/authorize").len(), 0, "the client never asks itself");

    let page = follow(to).await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains("<h1>Your approval was passed on</h1>"), "{}", page.body);
    assert!(!page.body.contains("<script") && !page.body.contains(&world.pushed("state")));
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'; style-src 'sha256-"));

    assert!(open(&consent.url).await.is_none(), "it closes after one answer");
    assert!(matches!(world.client.pay(&order, &journal).await.unwrap(), Outcome::Settled(_)));
    assert!(matches!(world.client.pay(&order, &journal).await.unwrap(), Outcome::Settled(_)));
    assert_eq!(world.settlements().await, 1);
}

#[tokio::test]
async fn an_answer_counts_only_with_state_and_iss_as_the_metadata_says() {
    let silent: Edit = |metadata| {
        plain(metadata);
        metadata.remove("authorization_response_iss_parameter_supported");
    };
    let rows: [(&str, Edit, Option<&str>, bool); 5] = [
        ("the right iss", plain, None, true),
        ("another's iss", plain, Some("https://evil.example"), false),
        ("no iss where it was promised", plain, Some(""), false),
        ("no iss where it was not promised", silent, Some(""), true),
        ("another's iss where none was promised", silent, Some("https://evil.example"), false),
    ];
    for (name, metadata, iss, good) in rows {
        let world = World::with_metadata(metadata).await;
        let (order, journal) = (world.socks(), MemoryJournal::default());
        let url = world.asked(&order, &journal).await;
        open(&url).await.unwrap();
        let (state, issuer) = (world.pushed("state"), world.kit.sandbox.as_origin().to_owned());
        let mut query = vec![("error", "access_denied"), ("state", state.as_str())];
        query.extend(Some(("iss", iss.unwrap_or(&issuer))).filter(|(_, iss)| !iss.is_empty()));
        let page = open(&world.callback(&query)).await.unwrap();
        assert_eq!(page.status, if good { 200 } else { 502 }, "{name}");
        match world.client.pay(&order, &journal).await {
            Ok(Outcome::Declined) if good => assert!(page.body.contains("<h1>Access was not granted</h1>"), "{name}"),
            Err(Error::PeerMisbehaved(error)) if !good => {
                let expected = (Artefact::AuthorizationResponse, &Why::Mismatch("iss"));
                assert_eq!((error.what(), error.why()), expected, "{name}");
            }
            other => panic!("{name}: {other:?}"),
        }
        assert!(open(&url).await.is_none(), "{name}");
    }
}

/// A journal that remembers what it was told of a refusal.
#[derive(Default)]
struct Told(MemoryJournal, std::sync::Mutex<Vec<oid4ac_client::NotIssued>>);

impl Journal for Told {
    fn progress(&self) -> Result<oid4ac_client::Progress, oid4ac_client::JournalError> {
        self.0.progress()
    }

    fn record(&self, step: oid4ac_client::Step) -> Result<oid4ac_client::Proceed, oid4ac_client::JournalError> {
        self.0.record(step)
    }

    fn keep(&self, evidence: oid4ac_client::Evidence) -> Result<(), oid4ac_client::JournalError> {
        if let oid4ac_client::Evidence::NotIssued(why) = evidence {
            self.1.lock().unwrap().push(why);
        }
        Ok(())
    }
}

#[tokio::test]
async fn an_answer_that_no_person_gave_is_not_taken_for_a_persons_no() {
    for error in ["access_denied", "login_required", "consent_required", "interaction_required", "server_error"] {
        let world = World::with_metadata(plain).await;
        let (order, journal) = (world.socks(), Told::default());
        let Outcome::Consent(consent) = world.client.pay(&order, &journal).await.unwrap() else { panic!("{error}") };
        open(&consent.url).await.unwrap();
        let (state, issuer) = (world.pushed("state"), world.kit.sandbox.as_origin().to_owned());
        let page = open(&world.callback(&[("error", error), ("state", &state), ("iss", &issuer)])).await.unwrap();
        assert!(!page.body.contains("You said"), "{error}: {}", page.body);
        match world.client.pay(&order, &journal).await {
            Ok(Outcome::Declined) if error == "access_denied" => {
                assert_eq!(*journal.1.lock().unwrap(), [oid4ac_client::NotIssued::AtBrowser]);
            }
            Err(Error::Server(answer)) if error != "access_denied" => assert_eq!(answer.error(), Some(error)),
            other => panic!("{error}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_stranger_on_the_machine_opens_nothing_and_ends_nothing() {
    let world = World::new().await;
    let (order, journal) = (world.socks(), MemoryJournal::default());
    let url = world.asked(&order, &journal).await;
    let (origin, path) = url.split_at(url.find("/go/").unwrap());
    let host = origin.trim_start_matches("http://");
    for (name, request, status) in [
        ("guessed", "GET /go/AAAAAAAAAAAAAAAAAAAAAA HTTP/1.1\r\nhost: HOST\r\n\r\n".to_owned(), 404),
        ("the root", "GET / HTTP/1.1\r\nhost: HOST\r\n\r\n".to_owned(), 404),
        ("below the callback", "GET /callback/x?code=c HTTP/1.1\r\nhost: HOST\r\n\r\n".to_owned(), 404),
        ("another name (DNS rebinding)", format!("GET {path} HTTP/1.1\r\nhost: evil.example\r\n\r\n"), 404),
        ("localhost", format!("GET {path} HTTP/1.1\r\nhost: localhost:1\r\n\r\n"), 404),
        ("two names", format!("GET {path} HTTP/1.1\r\nhost: HOST\r\nhost: HOST\r\n\r\n"), 404),
        ("a proxy's form", format!("GET http://evil.example{path} HTTP/1.1\r\nhost: HOST\r\n\r\n"), 404),
        ("POST", format!("POST {path} HTTP/1.1\r\nhost: HOST\r\ncontent-length: 0\r\n\r\n"), 404),
        ("HEAD", format!("HEAD {path} HTTP/1.1\r\nhost: HOST\r\n\r\n"), 404),
        ("fetched ahead", format!("GET {path} HTTP/1.1\r\nhost: HOST\r\nsec-purpose: prefetch\r\n\r\n"), 404),
        ("by a script", format!("GET {path} HTTP/1.1\r\nhost: HOST\r\nsec-fetch-dest: empty\r\n\r\n"), 404),
        ("in a frame", format!("GET {path} HTTP/1.1\r\nhost: HOST\r\nsec-fetch-dest: iframe\r\n\r\n"), 404),
        ("made up", "GET /callback?code=c&state=s HTTP/1.1\r\nhost: HOST\r\n\r\n".to_owned(), 400),
        ("no state", "GET /callback?error=access_denied HTTP/1.1\r\nhost: HOST\r\n\r\n".to_owned(), 400),
        ("no query", "GET /callback HTTP/1.1\r\nhost: HOST\r\n\r\n".to_owned(), 400),
    ] {
        let got = send(&url, &request.replace("HOST", host)).await.unwrap();
        assert_eq!(got.status, status, "{name}");
        assert!(!got.head.contains("access-control-"), "{name}");
    }
    assert_eq!(world.sent_to("/oauth/par").len(), 0);
    assert_eq!(world.asked(&order, &journal).await, url, "it goes on");

    // With a request under way, an answer that names its state twice is none either.
    let lines = "sec-fetch-mode: navigate\r\nsec-fetch-dest: document\r\n";
    let location = open_with(&url, lines).await.unwrap().header("location").unwrap().to_owned();
    let state = world.pushed("state");
    let twice = world.callback(&[("error", "access_denied"), ("state", &state), ("state", &state)]);
    assert_eq!(open(&twice).await.unwrap().status, 400);
    assert_eq!(follow(&location).await.status, 200);
    assert!(matches!(world.client.pay(&order, &journal).await.unwrap(), Outcome::Settled(_)));
}

#[tokio::test]
async fn of_two_tabs_the_first_to_come_back_counts() {
    let world = World::new().await;
    let (order, journal) = (world.socks(), MemoryJournal::default());
    let url = world.asked(&order, &journal).await;
    let first = open(&url).await.unwrap().header("location").unwrap().to_owned();
    let first_state = world.pushed("state");
    let second = open(&url).await.unwrap().header("location").unwrap().to_owned();
    assert_ne!(first_state, world.pushed("state"));
    assert_ne!(first, second);
    assert_eq!(follow(&second).await.status, 200);
    let late = open(&first).await.unwrap().header("location").unwrap().to_owned();
    assert!(late.starts_with("http://127.0.0.1:"), "the second code is issued, and goes nowhere");
    assert!(open(&late).await.is_none_or(|got| got.status == 410));
    assert!(matches!(world.client.pay(&order, &journal).await.unwrap(), Outcome::Settled(_)));
    assert_eq!((world.settlements().await, world.sent_to("/oauth/token").len()), (1, 1));
}

#[tokio::test]
async fn a_new_process_asks_anew_and_a_client_that_is_gone_takes_its_listener_along() {
    let mut world = World::new().await;
    let (order, journal) = (world.socks(), MemoryJournal::default());
    let old = world.asked(&order, &journal).await;
    open(&old).await.unwrap();
    let answer = world.callback(&[("error", "access_denied"), ("state", &world.pushed("state"))]);
    // A registration of its own stands for the files that two processes share.
    world.client = another_client(&world.kit, &world.clock);
    let token = SetupToken::new(world.kit.sandbox.setup_token().unwrap());
    world.client.register(&RegisterRequest::new(token, [CALLBACK])).await.unwrap();
    closed(&old).await;
    assert!(open(&answer).await.is_none(), "nobody hears the old answer");
    let new = world.asked(&order, &journal).await;
    assert_ne!(old, new);
    follow(&new).await;
    assert!(matches!(world.client.pay(&order, &journal).await.unwrap(), Outcome::Settled(_)));
}

#[tokio::test]
async fn a_page_is_closed_when_another_process_was_first() {
    let world = World::new().await;
    let (order, journal) = (world.socks(), MemoryJournal::default());
    let other = another_client(&world.kit, &world.clock);
    let token = SetupToken::new(world.kit.sandbox.setup_token().unwrap());
    other.register(&RegisterRequest::new(token, [CALLBACK])).await.unwrap();
    let Outcome::Consent(of_other) = other.pay(&order, &journal).await.unwrap() else { panic!() };
    follow(&world.asked(&order, &journal).await).await;
    assert!(matches!(world.client.pay(&order, &journal).await.unwrap(), Outcome::Settled(_)));
    assert!(matches!(other.pay(&order, &journal).await.unwrap(), Outcome::Settled(_)));
    closed(&of_other.url).await;
    assert_eq!(world.settlements().await, 1);
}

/// Waits until nobody listens there.
async fn closed(url: &str) {
    for _ in 0..1000 {
        if open(url).await.is_none() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("somebody still listens");
}

#[tokio::test]
async fn nobody_decided_in_time() {
    let world = World::new().await;
    let (order, journal) = (world.socks(), MemoryJournal::default());
    let url = world.asked(&order, &journal).await;
    world.clock.fetch_add(900, Ordering::SeqCst);
    assert!(matches!(world.client.pay(&order, &journal).await.unwrap(), Outcome::ConsentExpired));
    closed(&url).await;
    assert_ne!(world.asked(&order, &journal).await, url, "it may be asked for again");
}

#[tokio::test]
async fn a_request_that_is_refused_is_told_to_the_caller() {
    let world = World::new().await;
    let (order, journal) = (world.socks().with_scope("unheard:of"), MemoryJournal::default());
    let url = world.asked(&order, &journal).await;
    let page = open(&url).await.unwrap();
    assert_eq!(page.status, 502);
    assert!(page.body.contains("<h1>This did not work</h1>"), "{}", page.body);
    let Err(Error::Server(error)) = world.client.pay(&order, &journal).await else { panic!() };
    assert_eq!((error.stage(), error.error()), (Stage::Par, Some("invalid_scope")));
    assert!(open(&url).await.is_none());
}

#[tokio::test]
async fn a_second_tab_that_fails_leaves_the_first_alone() {
    let world = World::new().await;
    let (order, journal) = (world.socks(), MemoryJournal::default());
    let url = world.asked(&order, &journal).await;
    let first = open(&url).await.unwrap().header("location").unwrap().to_owned();
    world.kit.net.lie(|endpoint, _| match endpoint.url().path() {
        "/oauth/par" => Act::Answer(kit::answer(503, "text/html", "<h1>Bad gateway</h1>")),
        _ => Act::Pass,
    });
    assert_eq!(open(&url).await.unwrap().status, 502);
    assert_eq!(world.asked(&order, &journal).await, url);
    assert_eq!(follow(&first).await.status, 200);
    assert!(matches!(world.client.pay(&order, &journal).await.unwrap(), Outcome::Settled(_)));
}

#[tokio::test]
async fn a_page_opened_again_and_again_pushes_no_more() {
    let world = World::new().await;
    let (order, journal) = (world.socks(), MemoryJournal::default());
    let url = world.asked(&order, &journal).await;
    for _ in 0..16 {
        assert_eq!(open(&url).await.unwrap().status, 303);
    }
    let pushed = world.sent_to("/oauth/par").len();
    assert_eq!(open(&url).await.unwrap().status, 429);
    assert_eq!(world.sent_to("/oauth/par").len(), pushed);
}

#[tokio::test]
async fn another_redirect_uri_is_refused_before_anything_is_pushed() {
    let world = World::new().await;
    for redirect_uri in ["https://agent.example/callback", "http://[::1]/callback", "com.example.app:/callback"] {
        let journal = MemoryJournal::default();
        let refused = world.client.pay(&world.socks_at(redirect_uri), &journal).await;
        assert!(matches!(refused, Err(Error::Misuse(Misuse::RedirectUriNotLoopback))), "{redirect_uri}: {refused:?}");
        assert_eq!(journal.steps(), []);
    }
    let hinted = world.client.pay(&world.socks().with_consent_mode_hint("dashboard"), &MemoryJournal::default()).await;
    assert!(matches!(hinted, Err(Error::Misuse(Misuse::ConsentMode(mode))) if mode == "dashboard"));
    assert_eq!(world.sent_to("/oauth/par").len(), 0);
}

#[tokio::test]
async fn the_registered_port_is_taken_if_it_is_free() {
    let occupied = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = occupied.local_addr().unwrap().port();
    let callback = format!("http://127.0.0.1:{port}/callback");
    let world = World::registered(plain, &callback).await;
    let at = |url: &str| Endpoint::parse(url).unwrap().url().port().unwrap();
    let another = world.asked(&world.socks_at(&callback), &MemoryJournal::default()).await;
    assert_ne!(at(&another), port);
    drop(occupied);
    let url = world.asked(&world.socks_at(&callback), &MemoryJournal::default()).await;
    assert_eq!(at(&url), port);
}

#[tokio::test]
async fn no_more_than_32_wait_at_once() {
    let world = World::new().await;
    for _ in 0..32 {
        world.asked(&world.socks(), &MemoryJournal::default()).await;
    }
    let one_more = world.client.pay(&world.socks(), &MemoryJournal::default()).await;
    assert!(matches!(one_more, Err(Error::Misuse(Misuse::TooManyConsents))), "{one_more:?}");
    world.clock.fetch_add(900, Ordering::SeqCst);
    world.asked(&world.socks(), &MemoryJournal::default()).await;
}

#[tokio::test]
async fn a_wallet_session_goes_through_the_browser_too() {
    let world = World::new().await;
    let login = async || world.client.login(WalletScope::WalletRead, CALLBACK).await.unwrap();
    let Granted::Consent(consent) = login().await else { panic!() };
    assert_eq!(login().await, Granted::Consent(consent.clone()));
    follow(&consent.url).await;
    assert_eq!(login().await, Granted::Done(()));
    let Granted::Done(list) = world.client.wallet_agents(CALLBACK).await.unwrap() else { panic!() };
    assert_eq!(list.agents.len(), 1);
}

#[tokio::test]
async fn what_the_journal_holds_is_no_more_than_the_page() {
    let world = World::new().await;
    let (order, journal) = (world.socks(), MemoryJournal::default());
    let url = world.asked(&order, &journal).await;
    let steps = journal.steps();
    assert!(matches!(&steps[..], [Step::OffersVerified(_), Step::ConsentPending(consent)] if consent.url == url));
    open(&url).await.unwrap();
    assert_eq!(journal.steps().len(), 2, "opening the page is nothing that money depends on");
}

#[tokio::test]
async fn registers_as_a_native_client_where_every_redirect_uri_is_a_loopback_one() {
    let world = World::new().await;
    let registered = |body: &str| serde_json::from_str::<Value>(body).unwrap()["application_type"].clone();
    assert_eq!(registered(&world.sent_to("/oauth/register")[0]), "native");
    let token = SetupToken::new(world.kit.sandbox.setup_token().unwrap());
    let both = RegisterRequest::new(token, [CALLBACK, "https://agent.example/callback"]);
    world.kit.stranger().register(&both).await.unwrap();
    assert_eq!(registered(&world.sent_to("/oauth/register")[1]), Value::Null);
}

#[tokio::test]
async fn writes_ed25519_for_a_server_that_lists_no_other_name() {
    let fully_specified: Edit = |metadata| {
        metadata.insert("token_endpoint_auth_signing_alg_values_supported".into(), json!(["RS256", "Ed25519"]));
        metadata.insert("dpop_signing_alg_values_supported".into(), json!(["Ed25519"]));
    };
    let both: Edit = |metadata| {
        metadata.insert("token_endpoint_auth_signing_alg_values_supported".into(), json!(["Ed25519", "EdDSA"]));
        metadata.insert("dpop_signing_alg_values_supported".into(), json!(["ES256"]));
    };
    for (metadata, name) in [(fully_specified, "Ed25519"), (both, "EdDSA")] {
        let kit = Kit::unregistered(SandboxConfig::new()).await;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (keep, edit) = (Arc::clone(&seen), edit_json(METADATA, metadata));
        kit.net.lie(move |endpoint, request: &http::Request<Bytes>| {
            let path = endpoint.url().path().to_owned();
            let body = String::from_utf8_lossy(request.body()).into_owned();
            let alg = |token: &str| kit::take_apart(token).0["alg"].as_str().unwrap().to_owned();
            let proof = request.headers().get("dpop").map(|proof| alg(proof.to_str().unwrap()));
            let mut fields = url::form_urlencoded::parse(body.as_bytes());
            let assertion = fields.find(|(name, _)| name == "client_assertion").map(|(_, value)| alg(&value));
            keep.lock().unwrap().push((path, proof, assertion, body.clone()));
            edit(endpoint, request)
        });
        let token = SetupToken::new(kit.sandbox.setup_token().unwrap());
        kit.client.register(&RegisterRequest::new(token, [kit::CALLBACK])).await.unwrap();
        assert!(matches!(kit.client.pay(&kit.socks(), &MemoryJournal::default()).await, Ok(Outcome::Settled(_))));
        for (path, proof, assertion, body) in seen.lock().unwrap().iter() {
            match path.as_str() {
                "/oauth/register" => {
                    let registered: Value = serde_json::from_str(body).unwrap();
                    assert_eq!(registered["token_endpoint_auth_signing_alg"], name);
                }
                "/oauth/par" | "/oauth/token" => {
                    assert_eq!((proof.as_deref(), assertion.as_deref()), (Some(name), Some(name)), "{path}");
                }
                // A merchant's metadata says nothing of it.
                _ => assert!(proof.as_deref().is_none_or(|alg| alg == "EdDSA"), "{path}"),
            }
        }
    }
}
