//! The local page, over HTTP, from the compiled binary: who is let in, what is shown, and what it takes to decide.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "clippy takes only #[test] functions for tests")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use argon2::password_hash::PasswordHasher as _;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, Version};
use jose::{Clock as _, UnixSeconds};
use oid4ac_client::SystemClock;
use spend_guard::{
    Begun, Claim, Currency, IntentId, Ledger, LineItem, Mandate, Offers, Policy, Purchase, ReceiptVerdict, Settlement,
    State,
};
use support::BINARY;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

const SHOP: &str = "https://shop.example";
const PASSPHRASE: &str = "correct horse & battery";

/// A data directory with a ledger that the test writes and the dashboard reads.
struct Bench {
    home: TempDir,
    clock: UnixSeconds,
}

impl Bench {
    fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap(), clock: SystemClock.now() }
    }

    fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    fn ledger(&self) -> Ledger {
        let now = self.clock;
        Ledger::new(self.data(), Arc::new(move || now))
    }

    fn purchase(amount_minor: u64, sku: &str) -> Purchase {
        let line = LineItem { sku: sku.to_owned(), qty: 1, unit_price_minor: None };
        let key = format!("key-{sku}-{amount_minor:032}");
        let eur = Currency::parse("EUR").unwrap();
        Purchase::payment("https://as.example", SHOP, vec![line], amount_minor, eur, None, key).unwrap()
    }

    fn begin(&self, amount_minor: u64, sku: &str) -> Claim {
        match self.ledger().begin(&Self::purchase(amount_minor, sku), Some(&Policy::default())).unwrap() {
            Begun::New(mut claim) => {
                claim.offers_verified(Offers::Verified { digest: "digest" }).unwrap();
                claim
            }
            other => panic!("{other:?}"),
        }
    }

    /// A purchase that waits for the human.
    fn asked(&self, shown: &[(&str, &str)]) -> IntentId {
        let shown = shown.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect();
        self.begin(75_50, "winter-coat").await_approval(shown).unwrap().id
    }

    fn paid(&self, payment_intent_id: &str) -> IntentId {
        let mut claim = self.begin(12_99, "sock");
        let mandate = Mandate { mandate_id: "mandate_1".into(), cap_minor: 12_99, expires_at: self.clock + 900 };
        claim.mandate_held(mandate, "jwt~", None).unwrap();
        claim.presenting("jwt~kb").unwrap();
        let payload = jose::base64url::encode(br#"{"iss":"<https://shop.example>","amount_minor":1299}"#);
        let settlement = Settlement {
            payment_intent_id: payment_intent_id.to_owned(),
            settled_at: "2026-09-21T00:00:00Z".into(),
            receipt_jws: Some(format!("e30.{payload}.c2ln")),
            receipt: ReceiptVerdict::Verified,
            ..Settlement::default()
        };
        claim.settled(&settlement).unwrap();
        claim.intent().id.clone()
    }

    /// A purchase that the merchant refused after its mandate, whose cap is above the amount, had been presented.
    fn refused(&self) -> IntentId {
        let mut claim = self.begin(12_99, "scarf");
        let mandate = Mandate { mandate_id: "mandate_2".into(), cap_minor: 20_00, expires_at: self.clock + 900 };
        claim.mandate_held(mandate, "jwt~", None).unwrap();
        claim.presenting("jwt~kb").unwrap();
        claim.refused_by_merchant(422, "offer_out_of_stock", "the merchant answered 422 offer_out_of_stock").unwrap();
        claim.grant_revoked(false).unwrap();
        claim.intent().id.clone()
    }

    fn choose_passphrase(&self) {
        let weak = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8, 1, 1, None).unwrap());
        let hash: PasswordHash = weak.hash_password_with_salt(PASSPHRASE.as_bytes(), b"sixteen octets..").unwrap();
        let path = self.data().join("passphrase.json");
        fs::write(&path, serde_json::json!({"hash": hash.to_string()}).to_string()).unwrap();
        #[cfg(unix)]
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }

    async fn dashboard(&self) -> Dashboard {
        let mut command = Command::new(BINARY);
        command.arg("--data-dir").arg(self.data()).arg("dashboard").env_clear().env("HOME", self.home.path());
        let mut child = command.stdout(Stdio::piped()).stdin(Stdio::null()).kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let link = loop {
            let line = lines.next_line().await.unwrap().expect("the link");
            if let Some(link) = line.trim().strip_prefix("http://") {
                break link.to_owned();
            }
        };
        let (authority, path) = link.split_once('/').unwrap();
        Dashboard { _child: child, authority: authority.to_owned(), link: format!("/{path}"), cookie: String::new() }
    }

    /// A dashboard whose link was opened.
    async fn opened(&self) -> Dashboard {
        let mut dashboard = self.dashboard().await;
        let entered = dashboard.get(&dashboard.link.clone()).await;
        assert_eq!((entered.status, entered.header("location")), (303, "/"));
        let cookie = entered.header("set-cookie");
        assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict"), "{cookie}");
        dashboard.cookie = cookie.split(';').next().unwrap().to_owned();
        dashboard
    }

    fn state(&self, id: &IntentId) -> State {
        self.ledger().intent(id).unwrap().state
    }
}

/// The running page, and a browser's cookie.
struct Dashboard {
    _child: Child,
    authority: String,
    link: String,
    cookie: String,
}

struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The value of a hidden field.
    fn field(&self, name: &str) -> String {
        let start = format!("name=\"{name}\" value=\"");
        self.body.split(&start).nth(1).expect(name).split('"').next().unwrap().to_owned()
    }

    #[track_caller]
    fn shows(&self, texts: &[&str]) {
        for text in texts {
            assert!(self.body.contains(text), "{text} is missing: {}", self.body);
        }
    }
}

impl Dashboard {
    fn origin(&self) -> String {
        format!("http://{}", self.authority)
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request =
            format!("{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        request += &format!("\r\n{body}");
        let mut stream = TcpStream::connect(&self.authority).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let pair = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()));
        Answer { status, headers: lines.filter_map(pair).collect(), body: body.to_owned() }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[("host", &self.authority), ("cookie", &self.cookie)], "").await
    }

    /// Submits a form as a page of the dashboard's own does.
    async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let origin = self.origin();
        let headers = [
            ("host", self.authority.as_str()),
            ("origin", &origin),
            ("cookie", &self.cookie),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        self.send("POST", path, &headers, &body).await
    }

    /// Answers the question on an intent's page.
    async fn decide(&self, id: &IntentId, page: &Answer, decision: &str, passphrase: &str) -> Answer {
        let (csrf, shown) = (page.field("csrf"), page.field("shown"));
        let fields = [("csrf", csrf.as_str()), ("shown", &shown), ("decision", decision), ("passphrase", passphrase)];
        self.post(&format!("/intents/{id}"), &fields).await
    }
}

#[tokio::test]
async fn looking_at_the_link_does_not_use_it_up() {
    let bench = Bench::new();
    let dashboard = bench.dashboard().await;
    let host = ("host", dashboard.authority.as_str());
    for (method, more) in [
        ("HEAD", None),
        ("GET", Some(("sec-purpose", "prefetch"))),
        ("GET", Some(("sec-purpose", "prefetch;prerender"))),
        ("GET", Some(("x-moz", "prefetch"))),
        ("GET", Some(("sec-fetch-dest", "empty"))),
        ("POST", None),
        ("OPTIONS", None),
    ] {
        let headers: Vec<_> = [host].into_iter().chain(more).collect();
        let answer = dashboard.send(method, &dashboard.link, &headers, "").await;
        assert_eq!(answer.header("set-cookie"), "", "{method} {more:?}");
        assert_ne!(answer.status, 303, "{method} {more:?}");
    }
    let opened = dashboard.send("GET", &dashboard.link, &[host, ("sec-fetch-dest", "document")], "").await;
    assert_eq!((opened.status, opened.header("location")), (303, "/"));
}

#[tokio::test]
async fn opens_with_the_link_from_the_terminal_which_works_once() {
    let bench = Bench::new();
    let dashboard = bench.opened().await;
    assert!(dashboard.authority.starts_with("127.0.0.1:"));
    assert_eq!(dashboard.get("/").await.status, 200);
    let replayed = dashboard.get(&dashboard.link).await;
    assert_eq!((replayed.status, replayed.header("set-cookie")), (401, ""));
    assert_eq!(dashboard.get("/enter/guessed").await.status, 401);

    let stranger = Dashboard { cookie: String::new(), ..dashboard };
    for path in ["/", "/history", "/intents/0198c6d5-b1f7-7a8e-8b1e-c3b1b1a4d5c6"] {
        let page = stranger.get(path).await;
        assert_eq!(page.status, 401, "{path}");
        page.shows(&["Open it from the terminal"]);
    }
    let guessed = Dashboard { cookie: format!("oid4pay_dashboard_{}=x", port(&stranger)), ..stranger };
    assert_eq!(guessed.get("/").await.status, 401);
    assert_eq!(guessed.post("/freeze", &[("csrf", "")]).await.status, 401);
    assert!(!bench.ledger().is_frozen().unwrap());
}

fn port(dashboard: &Dashboard) -> &str {
    dashboard.authority.rsplit(':').next().unwrap()
}

#[tokio::test]
async fn every_page_forbids_scripts_frames_and_caches() {
    let bench = Bench::new();
    let id = bench.paid("pi_1");
    let asked = bench.asked(&[]);
    let dashboard = bench.opened().await;
    for path in ["/", "/history", &format!("/intents/{id}"), &format!("/intents/{asked}"), "/nowhere"] {
        let page = dashboard.get(path).await;
        let wanted = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";
        assert_eq!(page.header("content-security-policy"), wanted, "{path}");
        assert_eq!((page.header("cache-control"), page.header("x-frame-options")), ("no-store", "DENY"), "{path}");
        assert_eq!(page.header("x-content-type-options"), "nosniff");
        // With `no-referrer` a browser would send its own forms with `Origin: null`.
        assert_eq!(page.header("referrer-policy"), "same-origin");
        assert!(!page.body.contains("<script") && !page.body.contains(" style="), "{path}");
    }
    assert_eq!(dashboard.get("/style.css").await.header("content-type"), "text/css; charset=utf-8");
}

#[tokio::test]
async fn another_name_for_this_address_and_other_sites_are_turned_away() {
    let bench = Bench::new();
    let dashboard = bench.opened().await;
    let (own, cookie, origin) = (dashboard.authority.as_str(), dashboard.cookie.as_str(), dashboard.origin());
    let localhost = format!("localhost:{}", port(&dashboard));
    for host in ["evil.example", "127.0.0.1", &localhost] {
        for path in ["/", &dashboard.link, "/style.css", "/nowhere"] {
            let answer = dashboard.send("GET", path, &[("host", host), ("cookie", cookie)], "").await;
            assert_eq!(answer.status, 421, "{host} {path}");
        }
    }
    let csrf = dashboard.get("/").await.field("csrf");
    let body = format!("csrf={csrf}");
    let form = ("content-type", "application/x-www-form-urlencoded");
    for other in ["http://evil.example", "null", "http://127.0.0.1:1", &format!("https://{own}")] {
        let headers = [("host", own), ("cookie", cookie), form, ("origin", other)];
        assert_eq!(dashboard.send("POST", "/freeze", &headers, &body).await.status, 403, "{other}");
    }
    let unnamed = dashboard.send("POST", "/freeze", &[("host", own), ("cookie", cookie), form], &body).await;
    assert_eq!(unnamed.status, 403, "a form without an origin");
    for site in ["cross-site", "same-site"] {
        let headers = [("host", own), ("cookie", cookie), form, ("origin", &origin), ("sec-fetch-site", site)];
        assert_eq!(dashboard.send("POST", "/freeze", &headers, &body).await.status, 403, "{site}");
        assert_eq!(dashboard.send("GET", "/", &headers, "").await.status, 403, "{site}");
    }
    for fields in [&[][..], &[("csrf", "")], &[("csrf", "guessed")], &[("csrf", &csrf), ("other", "x")]] {
        assert!([400, 403].contains(&dashboard.post("/freeze", fields).await.status), "{fields:?}");
    }
    assert!(!bench.ledger().is_frozen().unwrap());
}

#[tokio::test]
async fn shows_what_may_have_been_paid_and_the_command_that_says_what_became_of_it() {
    let bench = Bench::new();
    let id = bench.refused();
    let dashboard = bench.opened().await;
    let page = dashboard.get("/").await;
    let command = format!("resolve {id}</code>");
    page.shows(&[
        "<h2>May have been paid</h2>",
        "12.99 EUR</a>",
        ", at most 20.00 EUR by its mandate",
        "Presented <time",
        &command,
        "0.00 EUR spent, 20.00 EUR may have been paid, of 200.00 EUR within any hour",
    ]);
    let story = dashboard.get(&format!("/intents/{id}")).await;
    story.shows(&[
        "20.00 EUR count as spent.",
        &command,
        "Not confirmed to be revoked",
        "Revoking the mandate was not confirmed",
    ]);
    // Nothing is to be said where nothing is unclear.
    assert!(!Bench::new().opened().await.get("/").await.body.contains("May have been paid"));
}

#[tokio::test]
async fn a_policy_that_nobody_confirmed_is_not_shown_as_if_it_were_in_force() {
    let bench = Bench::new();
    let folder = bench.home.path().join(".config/oid4pay-mcp");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("policy.toml"), "[currency.EUR]\nper_transaction = 9000\n").unwrap();
    let page = bench.opened().await.get("/").await;
    page.shows(&[
        "<h2>The policy is not in force</h2>",
        "policy confirm</code>",
        "currency.EUR.per_transaction: 100.00 EUR → 9000.00 EUR",
    ]);
    std::fs::remove_file(folder.join("policy.toml")).unwrap();
    assert!(!bench.opened().await.get("/").await.body.contains("is not in force"));
}

#[tokio::test]
async fn shows_what_waits_what_is_left_what_was_spent_and_what_stood_out() {
    let bench = Bench::new();
    let paid = bench.paid("pi_123");
    let asked = bench.asked(&[("Item", "1 × winter-coat")]);
    let dashboard = bench.opened().await;
    let page = dashboard.get("/").await;
    assert_eq!(page.status, 200);
    page.shows(&[
        "<h2>Waiting for you</h2>",
        "75.50 EUR",
        &format!("href=\"/intents/{asked}\">Decide"),
        "EUR per hour",
        "111.51 EUR</strong> left",
        "12.99 EUR spent, 75.50 EUR held back, of 200.00 EUR within any hour",
        "12.99 EUR</strong> in 30 days",
        "first payment",
        "Paid</span>",
    ]);
    let page = dashboard.get(&format!("/intents/{paid}")).await;
    page.shows(&["12.99 EUR", SHOP, "Verified</span>", "pi_123", "amount_minor: 1299", "Settled by the merchant"]);
    page.shows(&["&lt;https://shop.example&gt;"]);
    let history = dashboard.get("/history").await;
    history.shows(&[&paid.to_string(), &asked.to_string(), "Waits for you"]);
    assert_eq!(dashboard.get(&format!("/history?before={asked}")).await.status, 200);
    for nowhere in ["/history?before=x", "/intents/x", "/intents/0198c6d5-b1f7-7a8e-8b1e-c3b1b1a4d5c6"] {
        assert_eq!(dashboard.get(nowhere).await.status, 404, "{nowhere}");
    }
}

#[tokio::test]
async fn an_empty_ledger_has_pages_too() {
    let bench = Bench::new();
    let dashboard = bench.opened().await;
    let page = dashboard.get("/").await;
    page.shows(&[
        "No payment waits for you.",
        "No payment was confirmed in the last thirty days.",
        "Nothing stood out.",
    ]);
    dashboard.get("/history").await.shows(&["No agent has begun a payment yet."]);
}

#[tokio::test]
async fn a_merchants_text_is_neither_markup_nor_endless() {
    let bench = Bench::new();
    let hostile = format!("<script>alert(1)</script>\u{202e}{}", "x".repeat(100_000));
    let paid = bench.paid(&hostile);
    let asked = bench.asked(&[("Merchant's name", &hostile)]);
    let dashboard = bench.opened().await;
    for (id, shown) in
        [(paid, "<dt>Payment</dt><dd><code>?</code>"), (asked, "&lt;script&gt;alert(1)&lt;/script&gt;\u{fffd}xxx")]
    {
        let page = dashboard.get(&format!("/intents/{id}")).await;
        page.shows(&[shown]);
        assert!(!page.body.contains("<script") && !page.body.contains('\u{202e}'));
        assert!(page.body.len() < 20_000, "{}", page.body.len());
    }
}

#[tokio::test]
async fn approving_takes_the_passphrase_and_works_once() {
    let bench = Bench::new();
    let id = bench.asked(&[("Item", "1 × winter-coat")]);
    bench.choose_passphrase();
    let dashboard = bench.opened().await;
    let page = dashboard.get(&format!("/intents/{id}")).await;
    page.shows(&["Approve this payment?", "Approve 75.50 EUR", SHOP, "1 × winter-coat"]);

    let nothing = dashboard.decide(&id, &page, "approve", "").await;
    assert_eq!(nothing.status, 403);
    let wrong = dashboard.decide(&id, &page, "approve", "correct horse").await;
    assert_eq!(wrong.status, 403);
    wrong.shows(&["role=\"alert\"", "This is not the passphrase.", "Approve 75.50 EUR"]);
    assert!(!wrong.body.contains("correct horse"));
    assert_eq!(bench.state(&id), State::AwaitingApproval);
    assert_eq!(dashboard.decide(&id, &page, "perhaps", PASSPHRASE).await.status, 400);

    let (csrf, path) = (page.field("csrf"), format!("/intents/{id}"));
    let fields = [("csrf", csrf.as_str()), ("shown", "another"), ("decision", "approve"), ("passphrase", PASSPHRASE)];
    let other = dashboard.post(&path, &fields).await;
    assert_eq!(other.status, 409);
    other.shows(&["What is asked is not what the page showed."]);
    assert_eq!(bench.state(&id), State::AwaitingApproval);

    let approved = dashboard.decide(&id, &page, "approve", PASSPHRASE).await;
    assert_eq!((approved.status, approved.header("location")), (303, path.as_str()));
    assert_eq!(bench.state(&id), State::Approved);
    dashboard.get(&path).await.shows(&["Approved by you"]);
    let again = dashboard.decide(&id, &page, "approve", PASSPHRASE).await;
    assert_eq!(again.status, 409);
    again.shows(&["That was decided before"]);
    assert_eq!(bench.state(&id), State::Approved);
    // A no takes back a yes that nothing was paid on yet, and is the last word.
    assert_eq!(dashboard.decide(&id, &page, "reject", PASSPHRASE).await.status, 303);
    assert_eq!(bench.state(&id), State::Rejected);
    for decision in ["approve", "reject"] {
        let again = dashboard.decide(&id, &page, decision, PASSPHRASE).await;
        assert_eq!(again.status, 409, "{decision}");
    }
    assert_eq!(bench.state(&id), State::Rejected);
}

#[tokio::test]
async fn what_waits_in_the_wallet_is_listed_with_the_way_there() {
    let bench = Bench::new();
    let mut claim = bench.begin(12_99, "sock");
    let page = "https://as.example/consent?a=1&b=<script>";
    claim.consent_pending(page, bench.clock + 900).unwrap();
    let id = claim.intent().id.clone();
    drop(claim);
    let mut late = bench.begin(13_99, "late");
    late.consent_pending("https://as.example/late", bench.clock - 1).unwrap();
    drop(late);
    let dashboard = bench.opened().await;
    let overview = dashboard.get("/").await.body;
    assert_eq!(overview.matches(", in your wallet").count(), 1, "{overview}");
    assert!(overview.contains(&format!("href=\"/intents/{id}\">Decide")), "{overview}");
    let shown = dashboard.get(&format!("/intents/{id}")).await.body;
    assert!(shown.contains("href=\"https://as.example/consent?a=1&amp;b=&lt;script&gt;\""), "{shown}");
}

#[tokio::test]
async fn rejecting_ends_it() {
    let bench = Bench::new();
    let id = bench.asked(&[]);
    bench.choose_passphrase();
    let dashboard = bench.opened().await;
    let page = dashboard.get(&format!("/intents/{id}")).await;
    assert_eq!(dashboard.decide(&id, &page, "reject", PASSPHRASE).await.status, 303);
    assert_eq!(bench.state(&id), State::Rejected);
    assert_eq!(dashboard.decide(&id, &page, "approve", PASSPHRASE).await.status, 409);
    assert_eq!(bench.state(&id), State::Rejected);
    // The agent's next call reports it.
    let begun = bench.ledger().begin(&Bench::purchase(75_50, "winter-coat"), Some(&Policy::default())).unwrap();
    assert!(matches!(begun, Begun::Rejected(told) if told.id == id));
    assert!(dashboard.get(&format!("/intents/{id}")).await.body.contains("The agent was told of your no"));
}

#[tokio::test]
async fn guessing_the_passphrase_is_slowed_down() {
    let bench = Bench::new();
    let id = bench.asked(&[]);
    bench.choose_passphrase();
    let kept = fs::read_to_string(bench.data().join("passphrase.json")).unwrap();
    let mut kept: serde_json::Value = serde_json::from_str(&kept).unwrap();
    (kept["failures"], kept["failed_at"]) = (9.into(), SystemClock.now().into());
    fs::write(bench.data().join("passphrase.json"), kept.to_string()).unwrap();
    let dashboard = bench.opened().await;
    let page = dashboard.get(&format!("/intents/{id}")).await;
    let answer = dashboard.decide(&id, &page, "approve", PASSPHRASE).await;
    assert_eq!(answer.status, 429);
    answer.shows(&["Too many wrong passphrases"]);
    assert_eq!(bench.state(&id), State::AwaitingApproval);
}

#[tokio::test]
async fn without_a_passphrase_nothing_can_be_approved() {
    let bench = Bench::new();
    let id = bench.asked(&[]);
    let dashboard = bench.opened().await;
    let page = dashboard.get(&format!("/intents/{id}")).await;
    let answer = dashboard.decide(&id, &page, "approve", "whatever").await;
    assert_eq!(answer.status, 409);
    answer.shows(&["policy init"]);
    assert_eq!(bench.state(&id), State::AwaitingApproval);
}

#[tokio::test]
async fn an_answer_that_comes_too_late_counts_for_nothing() {
    let mut bench = Bench::new();
    bench.clock -= 7200;
    let id = bench.asked(&[]);
    bench.choose_passphrase();
    let dashboard = bench.opened().await;
    let page = dashboard.get(&format!("/intents/{id}")).await;
    let late = dashboard.decide(&id, &page, "approve", PASSPHRASE).await;
    assert_eq!(late.status, 409);
    late.shows(&["Too late"]);
    dashboard.get("/").await.shows(&["No payment waits for you."]);
    assert_eq!(bench.state(&id), State::Expired);
}

#[tokio::test]
async fn anybody_with_the_page_can_freeze_and_only_the_human_can_unfreeze() {
    let bench = Bench::new();
    bench.asked(&[]);
    bench.choose_passphrase();
    let dashboard = bench.opened().await;
    let csrf = dashboard.get("/").await.field("csrf");
    assert_eq!(dashboard.post("/freeze", &[("csrf", &csrf)]).await.status, 303);
    assert!(bench.ledger().is_frozen().unwrap());
    dashboard.get("/").await.shows(&["All payments are frozen"]);
    let wrong = dashboard.post("/unfreeze", &[("csrf", &csrf), ("passphrase", "correct")]).await;
    assert_eq!(wrong.status, 403);
    assert_eq!(dashboard.post("/unfreeze", &[("csrf", &csrf)]).await.status, 403);
    assert!(bench.ledger().is_frozen().unwrap());
    assert_eq!(dashboard.post("/unfreeze", &[("csrf", &csrf), ("passphrase", PASSPHRASE)]).await.status, 303);
    assert!(!bench.ledger().is_frozen().unwrap());
}
