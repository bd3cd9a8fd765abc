//! A server that is killed at any moment of a payment: it is started again, the call is repeated, and the payment is made
//! once. Each moment is one of the network's, held from within the sandbox, or of the journal's, held by the ledger's write
//! lock; nothing here depends on time.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod support;

use std::io::Write as _;
use std::time::Duration;

use rusqlite::Connection;
use sandbox::{ConsentDecision, ConsentMode, Party, Rule, SandboxConfig};
use serde_json::{Value, json};
use spend_guard::{Approval, State};
use support::wire::{Moment, Wire, all_read};
use support::{Answer, CALLBACK, World, with};

/// How a server is killed at a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Everything before it is recorded, and it is not seen by anybody.
    Unsent,
    /// It was handled, and the answer is not read.
    Unread,
    /// The answer was read, and is not recorded.
    Unrecorded,
}

const MANNERS: [Manner; 3] = [Manner::Unsent, Manner::Unread, Manner::Unrecorded];

/// A call that is to be killed.
struct Call {
    tool: &'static str,
    arguments: Value,
}

struct Scene {
    world: World,
    wire: Wire,
    purchases: usize,
    /// At what each server was killed.
    kills: Vec<String>,
}

impl Scene {
    async fn new(config: SandboxConfig) -> Self {
        let wire = Wire::default();
        let world = World::with(wire.lead_to(config)).await;
        world.spend_freely();
        drop(world.registered().await);
        Self { world, wire, purchases: 0, kills: Vec::new() }
    }

    /// Calls in a new process and kills it at its request number `at`; `None` if it answers before it comes to that one.
    async fn kill_at(&mut self, call: &Call, at: usize, manner: Manner) -> Option<String> {
        self.wire.clear();
        let moment = if manner == Manner::Unsent { Moment::Arriving } else { Moment::Answered };
        let caught = self.wire.arm(at, moment);
        let mut server = self.world.server_without_waiting().await;
        let asked = json!({"name": call.tool, "arguments": call.arguments});
        let id = server.ask("tools/call", asked).await;
        let caught = tokio::select! {
            caught = caught => caught.unwrap(),
            answer = server.answer_to(id) => {
                answer.unwrap();
                self.wire.clear();
                return None;
            }
        };
        let name = format!("{} {} {manner:?}", caught.request.method, caught.request.path);
        if manner == Manner::Unrecorded {
            let locked = Locked::ledger(&self.world);
            let next = self.wire.arm(at + 1, Moment::Arriving);
            let origin = self.origin(&caught.request.party).to_owned();
            drop(caught);
            // Read is what is followed by a request, or by the end of its connection.
            tokio::select! {
                _ = next => {}
                () = all_read(&origin) => {}
            }
            server.kill().await;
            drop(locked);
        } else {
            server.kill().await;
            drop(caught);
        }
        self.wire.clear();
        self.kills.push(name.clone());
        self.check_that_money_is_known_of(&name).await;
        Some(name)
    }

    /// At no moment has a merchant charged what the ledger does not take for charged, or possibly charged.
    async fn check_that_money_is_known_of(&self, name: &str) {
        let intents = support::books::intents(&self.world.ledger());
        for charge in self.world.all_settlements().await {
            let key = charge["idempotency_key"].as_str().unwrap();
            let intent = intents.iter().find(|intent| intent.idempotency_key == key);
            let intent = intent.unwrap_or_else(|| panic!("{name}: charged, and the ledger knows nothing of it"));
            let is_known = intent.state.is_in_flight() || intent.state == State::Settled;
            assert!(is_known, "{name}: charged, and the ledger says {:?}", intent.state);
        }
    }

    fn origin(&self, party: &Party) -> &str {
        match party {
            Party::Merchant(id) => {
                &self.world.sandbox.merchants().iter().find(|merchant| merchant.id == *id).unwrap().origin
            }
            Party::Directory => self.world.sandbox.discovery_url(),
            _ => self.world.sandbox.as_origin(),
        }
    }

    /// Repeats the call in a new process until it is settled, approving where a person is asked.
    async fn settle(&self, call: &Call) -> Answer {
        let mut server = self.world.server_without_waiting().await;
        for _ in 0..4 {
            let answer = server.call(call.tool, call.arguments.clone()).await;
            match answer.output()["status"].as_str().unwrap() {
                "settled" => return answer,
                "approval_required" => self.approve(&answer),
                other => panic!("{other}: {}", answer.text(1)),
            }
        }
        panic!("it is not settled");
    }

    /// Does what the person does: at the authorization server where it asks, else on this machine.
    fn approve(&self, answer: &Answer) {
        let Some(page) = answer.output()["consent_url"].as_str() else {
            let ledger = self.world.ledger();
            let intent = ledger.intent(&answer.output()["intent_id"].as_str().unwrap().parse().unwrap()).unwrap();
            let Approval::Requested { terms } = &intent.approval else { panic!("{:?}", intent.approval) };
            ledger.approve(&intent.id, terms).unwrap();
            return;
        };
        let principal = &self.world.sandbox.principals()[0].id;
        self.world.sandbox.decide(page, principal, ConsentDecision::Approve).unwrap();
    }

    /// Kills before the call is recorded at all, and after its settlement is, with the answer on its way out.
    async fn kill_around_the_record(&mut self) {
        for settled in [false, true] {
            let call = payment(self, format!("purchase {}", self.purchases)).await;
            self.purchases += 1;
            let locked = (!settled).then(|| Locked::ledger(&self.world));
            let mut server = self.world.server_without_waiting().await;
            server.ask("tools/call", json!({"name": call.tool, "arguments": call.arguments})).await;
            while settled && self.world.books().await.settled < self.purchases {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            server.kill().await;
            drop(locked);
            self.kills.push(if settled { "settled" } else { "not begun" }.to_owned());
            assert_eq!(self.settle(&call).await.output()["replayed"], settled);
        }
    }

    async fn requests_of_a_payment(&mut self) -> usize {
        self.world.sandbox.clear_requests();
        let call = payment(self, format!("purchase {}", self.purchases)).await;
        self.purchases += 1;
        self.settle(&call).await;
        self.world.sandbox.requests().len()
    }

    /// What the merchants and the ledger say in the end, said to whoever runs this. At each request of `way` a server was
    /// killed in every manner.
    async fn report(&self, what: &str, way: &[&str]) {
        for (request, manner) in way.iter().flat_map(|request| MANNERS.map(|manner| (request, manner))) {
            assert!(self.kills.contains(&format!("{request} {manner:?}")), "{request} {manner:?}: {:?}", self.kills);
        }
        let books = self.world.books().await;
        // Around what the test harness keeps to itself.
        let line = format!(
            "\ncrash: {what}: {} kills in {} purchases, {} settled once, {} double charges, {} lost payments, \
             {} stuck reservations\n",
            self.kills.len(),
            self.purchases,
            books.settled,
            books.double_charges,
            books.lost_payments,
            books.stuck_reservations
        );
        std::io::stdout().write_all(line.as_bytes()).unwrap();
        assert!(books.sound(), "{books:?}");
        assert_eq!(books.settled, self.purchases);
    }
}

/// The ledger's write lock, until dropped: nobody records anything.
struct Locked {
    _sql: Connection,
}

impl Locked {
    fn ledger(world: &World) -> Self {
        let sql = Connection::open(world.data_dir().join("ledger.sqlite3")).unwrap();
        sql.busy_timeout(Duration::from_secs(30)).unwrap();
        sql.execute_batch("BEGIN IMMEDIATE").unwrap();
        Self { _sql: sql }
    }
}

/// Kills at every request, in every manner, each time in a purchase of its own.
async fn kill_everywhere(
    scene: &mut Scene,
    call: impl AsyncFn(&Scene, String) -> Call,
    prepare: impl AsyncFn(&mut Scene, &Call),
) {
    for manner in MANNERS {
        for at in 0.. {
            let call = call(scene, format!("purchase {}", scene.purchases)).await;
            scene.purchases += 1;
            prepare(scene, &call).await;
            let killed = scene.kill_at(&call, at, manner).await;
            let answer = scene.settle(&call).await;
            assert_eq!(answer.output()["receipt_status"], "verified", "{killed:?}");
            if killed.is_none() {
                break;
            }
        }
    }
}

async fn payment(scene: &Scene, reference: String) -> Call {
    let arguments = with(scene.world.socks(), "/purchase_ref", json!(reference));
    Call { tool: "agent_payment_initiate", arguments }
}

async fn nothing(_: &mut Scene, _: &Call) {}

/// The call was made once, and the person who was asked agreed.
async fn approved(scene: &mut Scene, call: &Call) {
    let mut server = scene.world.server_without_waiting().await;
    let asked = server.call(call.tool, call.arguments.clone()).await;
    scene.approve(&asked);
}

/// What a server is killed at before it is started the last time.
const WAY: [&str; 5] =
    ["GET /oid4ac/offer/alpaca-sock-blue-43", "POST /oauth/par", "GET /oauth/authorize", "POST /oauth/token", VERIFY];
const VERIFY: &str = "POST /verify-mandate";

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_made_once_wherever_the_server_is_killed() {
    let mut scene = Scene::new(SandboxConfig::new()).await;
    kill_everywhere(&mut scene, payment, nothing).await;
    scene.kill_around_the_record().await;
    scene.report("agent_payment_initiate", &WAY).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_a_person_approves_is_made_once_wherever_the_server_is_killed() {
    let config = SandboxConfig::new().consent_mode(ConsentMode::Dashboard).without_rule(Rule::PollRate);
    let mut scene = Scene::new(config).await;
    kill_everywhere(&mut scene, payment, nothing).await;
    kill_everywhere(&mut scene, payment, approved).await;
    scene.report("agent_payment_initiate with a person's consent", &WAY).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_the_policy_wants_approved_is_made_once_wherever_the_server_is_killed() {
    let mut scene = Scene::new(SandboxConfig::new()).await;
    scene.world.set_policy("[currency.EUR]\nper_transaction = 1000\napproval_above = 10\nhour = 100000\nday = 100000");
    kill_everywhere(&mut scene, payment, nothing).await;
    kill_everywhere(&mut scene, payment, approved).await;
    scene.report("agent_payment_initiate with a person's approval", &WAY).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mandate_is_charged_once_wherever_the_server_is_killed() {
    let mut scene = Scene::new(SandboxConfig::new()).await;
    let call = async |scene: &Scene, _| {
        let sku = "alpaca-sock-blue-43";
        let arguments = json!({
            "merchant_verify_url": scene.world.alpacanica().verify_url,
            "presentation": scene.world.unspent_presentation(sku, 1299).await,
            "line_items": [{"sku": sku, "qty": 1}],
        });
        Call { tool: "agent_verify_mandate", arguments }
    };
    kill_everywhere(&mut scene, call, nothing).await;
    scene.report("agent_verify_mandate", &[VERIFY]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cheapest_article_is_bought_once_wherever_the_server_is_killed() {
    let mut scene = Scene::new(SandboxConfig::new()).await;
    let call = async |scene: &Scene, reference| {
        let store = scene.world.alpacanica();
        let arguments = json!({
            "store_url": store.origin, "merchant_verify_url": store.verify_url, "max_amount_minor": 1500,
            "category": "apparel", "redirect_uri": CALLBACK, "purchase_ref": reference,
        });
        Call { tool: "agent_buy_cheapest_from_store", arguments }
    };
    kill_everywhere(&mut scene, call, nothing).await;
    let way =
        ["GET /.well-known/oid4ac-catalog", "POST /oauth/par", "GET /oauth/authorize", "POST /oauth/token", VERIFY];
    scene.report("agent_buy_cheapest_from_store", &way).await;
}

/// Killed while it pays, in one way after the other, and again while it finds out what came of that.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_made_once_though_its_reconciliation_is_killed_too() {
    let mut scene = Scene::new(SandboxConfig::new()).await;
    let at_verify = scene.requests_of_a_payment().await - 1;
    for first in MANNERS {
        kill_everywhere(&mut scene, payment, async |scene, call| {
            let killed = scene.kill_at(call, at_verify, first).await.unwrap();
            assert!(killed.starts_with(VERIFY), "{killed}");
        })
        .await;
    }
    scene.report("a second time, while it reconciles", &[VERIFY]).await;
}
