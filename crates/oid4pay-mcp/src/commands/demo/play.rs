//! What is done in the demonstration, step by step.

use std::path::Path;

use anyhow::{Context as _, bail};
use sandbox::{MerchantInfo, Sandbox};
use serde_json::{Value, json};

use super::mcp::{McpServer, Person, ToolAnswer};
use super::story::{Payment, Signatures, Story, Told, VERIFIED};

/// The stage: a sandbox, and servers of this same binary.
pub(super) struct Play<'a> {
    story: &'a mut Story,
    sandbox: &'a Sandbox,
    binary: &'a Path,
    home: &'a Path,
}

impl<'a> Play<'a> {
    pub(super) fn new(story: &'a mut Story, sandbox: &'a Sandbox, binary: &'a Path, home: &'a Path) -> Self {
        Self { story, sandbox, binary, home }
    }

    /// Does all of it. What a tool refuses is told and gone on from; an agent that cannot register ends the story.
    pub(super) async fn perform(mut self) -> anyhow::Result<()> {
        let mut server = self.start().await?;
        self.register(&mut server).await?;
        self.discover(&mut server).await?;
        for merchant in self.sandbox.merchants() {
            self.pay(&mut server, merchant).await?;
        }
        let [shop, brushes] = self.sandbox.merchants() else { bail!("the story is set at two merchants") };
        self.repeat(&mut server, shop).await?;
        self.be_denied(&mut server, shop).await?;
        self.ask_the_human(&mut server, shop).await?;
        self.buy_the_cheapest(&mut server, brushes).await?;
        self.revoke_an_agent(&mut server).await?;
        self.prove_the_chain(&mut server).await?;
        self.look_back(&mut server).await?;
        server.stop().await
    }

    async fn start(&mut self) -> anyhow::Result<McpServer> {
        let watch = Stopwatch::start();
        let mut server = self.server("agent").await?;
        let tools = server.tool_names().await?;
        let mut lines = vec![format!("authorization server  {}", self.sandbox.as_origin())];
        for (at, some) in tools.chunks(3).enumerate() {
            let label = if at == 0 { "tools" } else { "" };
            lines.push(format!("{label:<20}  {}", some.join(", ")));
        }
        self.story.step("Start the MCP server and list its tools", watch.elapsed(), Told::good(json!(tools), lines));
        Ok(server)
    }

    /// A server with a data directory of its own.
    async fn server(&self, name: &str) -> anyhow::Result<McpServer> {
        let data_dir = self.home.join(name);
        let data_dir = data_dir.to_str().context("the temporary directory's name is not UTF-8")?;
        let (as_origin, directory) = (self.sandbox.as_origin(), self.sandbox.discovery_url());
        let arguments = ["--as-origin", as_origin, "--discovery-url", directory, "--data-dir", data_dir];
        McpServer::start(self.binary, &arguments, self.home).await
    }

    async fn register(&mut self, server: &mut McpServer) -> anyhow::Result<()> {
        let watch = Stopwatch::start();
        let arguments = json!({
            "setup_token": self.sandbox.setup_token()?, "as_url": self.sandbox.as_origin(),
            "redirect_uris": [REDIRECT_URI], "client_name": "Demo agent",
        });
        let answer = server.call("agent_register", arguments).await?;
        if !answer.error.is_null() {
            bail!("{}", answer.text);
        }
        let lines = vec![
            format!("POST {}/oauth/register", self.sandbox.as_origin()),
            format!("client_id  {}; its two private keys never leave the data directory", answer.text_of("client_id")),
        ];
        let name = "Register the agent with a one-shot setup token";
        self.story.step(name, watch.elapsed(), Told::good(answer.structured, lines));
        Ok(())
    }

    async fn discover(&mut self, server: &mut McpServer) -> anyhow::Result<()> {
        let watch = Stopwatch::start();
        let answer = server.call("discovery_list_merchants", json!({"country": "NL", "currency": "EUR"})).await?;
        let merchants = answer.structured["merchants"].as_array().cloned().unwrap_or_default();
        let told = answer.told(merchants.len() == self.sandbox.merchants().len(), |_| {
            let line = |merchant: &Value| format!("{}  {}", text(merchant, "id"), text(merchant, "audience"));
            merchants.iter().map(line).collect()
        });
        self.story.step("Find merchants in the Netherlands that take euros", watch.elapsed(), told);

        let watch = Stopwatch::start();
        let id = self.sandbox.merchants().first().map_or_else(String::new, |merchant| merchant.id.clone());
        let answer = server.call("agent_browse_merchant", json!({"merchant_id": id})).await?;
        let items = answer.structured["items"].as_array().cloned().unwrap_or_default();
        let told = answer.told(!items.is_empty(), |answer| {
            let mut lines = vec![
                format!("+ {:<26}verified, {} articles", "merchant's signed catalog", items.len()),
                answer.text_of("content_digest").to_owned(),
            ];
            lines.extend(items.iter().take(3).map(article));
            lines
        });
        self.story.step(format!("Browse the signed catalog of {id}"), watch.elapsed(), told);
        Ok(())
    }

    async fn pay(&mut self, server: &mut McpServer, merchant: &MerchantInfo) -> anyhow::Result<()> {
        let Some((_, sku, amount_minor)) = ITEMS.iter().find(|(id, _, _)| *id == merchant.id) else {
            bail!("the story has nothing to buy at {}", merchant.id);
        };
        let watch = Stopwatch::start();
        let answer = server.call("agent_payment_initiate", purchase(merchant, sku, *amount_minor)).await?;
        let signatures = Signatures::read(&answer.signatures);
        let mut told = answer.told(signatures.all_verified(), |_| Vec::new());
        told.lines = payment_lines(&answer, sku, merchant, &signatures);
        // It stands among the payments.
        told.output = Value::Null;
        self.story.step(format!("Buy {sku} at {}", merchant.id), watch.elapsed(), told);
        let output = if answer.error.is_null() { answer.structured } else { answer.error };
        self.story.payments.push(Payment { merchant: merchant.id.clone(), signatures, output });
        Ok(())
    }

    /// The model asks for the same again, as models do.
    async fn repeat(&mut self, server: &mut McpServer, merchant: &MerchantInfo) -> anyhow::Result<()> {
        let [(_, sku, amount_minor), _] = ITEMS;
        let watch = Stopwatch::start();
        let before = (self.sandbox.requests().len(), self.sandbox.settlement_count());
        let answer = server.call("agent_payment_initiate", purchase(merchant, sku, amount_minor)).await?;
        let is_silent = before == (self.sandbox.requests().len(), self.sandbox.settlement_count());
        let told = answer.told(answer.structured["replayed"] == true && is_silent, |answer| {
            vec![
                format!("replayed            {}", answer.structured["replayed"]),
                format!("payment_intent_id   {}", answer.text_of("payment_intent_id")),
                "+ nothing was sent, and the merchant's books have no second charge".to_owned(),
            ]
        });
        self.story.step("The model asks for the same again: answered, not charged", watch.elapsed(), told);
        Ok(())
    }

    /// More than the policy lets anybody spend at once.
    async fn be_denied(&mut self, server: &mut McpServer, merchant: &MerchantInfo) -> anyhow::Result<()> {
        let (sku, amount_minor) = TOO_DEAR;
        let watch = Stopwatch::start();
        let sent = self.sandbox.requests().len();
        let mut answer = server.call("agent_payment_initiate", purchase(merchant, sku, amount_minor)).await?;
        let rules = answer.error["context"]["findings"].as_array().cloned().unwrap_or_default();
        let is_right = !rules.is_empty() && self.sandbox.requests().len() == sent;
        let mut lines = vec![answer.text.clone()];
        lines.extend(rules.iter().map(|rule| format!("rule  {}", text(rule, "rule"))));
        lines.push("+ denied before anything was sent".to_owned());
        let told = match is_right {
            true => Told::good(answer.error.take(), lines),
            false => Told::bad(answer.error.take(), vec![format!("! {}", answer.text)]),
        };
        self.story.step(format!("Try to buy {sku}: the policy says no"), watch.elapsed(), told);
        Ok(())
    }

    /// More than the policy lets an agent spend without asking.
    async fn ask_the_human(&mut self, server: &mut McpServer, merchant: &MerchantInfo) -> anyhow::Result<()> {
        let (sku, amount_minor) = WANTS_APPROVAL;
        let watch = Stopwatch::start();
        server.person = Person::Approves;
        let answer = server.call("agent_payment_initiate", purchase(merchant, sku, amount_minor)).await?;
        server.person = Person::Away;
        let asked = answer.asked.clone();
        let told = answer.told(asked.is_some() && answer.text_of("status") == "settled", |answer| {
            let mut lines = vec!["The person is asked by their MCP client:".to_owned()];
            let question = asked.iter().flat_map(|question| question.lines()).filter(|line| !line.is_empty());
            lines.extend(question.map(|line| format!("  | {line}")));
            lines.push("+ they approve exactly this, and it is paid".to_owned());
            lines.push(format!("payment_intent_id   {}", answer.text_of("payment_intent_id")));
            lines
        });
        self.story.step(format!("Buy {sku}: the human is asked first"), watch.elapsed(), told);
        Ok(())
    }

    async fn buy_the_cheapest(&mut self, server: &mut McpServer, merchant: &MerchantInfo) -> anyhow::Result<()> {
        let watch = Stopwatch::start();
        let arguments = json!({
            "store_url": merchant.origin, "merchant_verify_url": merchant.verify_url, "max_amount_minor": 1500,
            "category": "kitchen", "ships_to_country": "NL", "redirect_uri": REDIRECT_URI,
        });
        let answer = server.call("agent_buy_cheapest_from_store", arguments).await?;
        let told = answer.told(answer.text_of("status") == "settled", |answer| {
            vec![
                "kitchen, in stock, at most 15.00 EUR, sent to the Netherlands".to_owned(),
                format!("chosen  {}", article(&answer.structured["chosen"]).trim_start()),
                format!("payment_intent_id   {}", text(&answer.structured["result"], "payment_intent_id")),
            ]
        });
        self.story.step(format!("Buy the cheapest for the kitchen at {}", merchant.id), watch.elapsed(), told);
        Ok(())
    }

    /// A second agent of the same person's, which the first one then shuts out.
    async fn revoke_an_agent(&mut self, server: &mut McpServer) -> anyhow::Result<()> {
        let watch = Stopwatch::start();
        let as_url = self.sandbox.as_origin();
        let mut other = self.server("other-agent").await?;
        let registration = json!({
            "setup_token": self.sandbox.setup_token()?, "as_url": as_url, "redirect_uris": [REDIRECT_URI],
            "client_name": "Forgotten agent", "purpose": "Tried once, last spring",
        });
        let registered = other.call("agent_wallet_register", registration).await?;
        let call = json!({"as_url": as_url, "resource": as_url, "redirect_uri": REDIRECT_URI});
        // It holds tokens now, which go when it goes.
        other.call("agent_wallet_list_agents", call.clone()).await?;
        other.stop().await?;
        let answer = server.call("agent_wallet_list_agents", call.clone()).await?;
        let agents = answer.structured["agents"].as_array().cloned().unwrap_or_default();
        let told = answer.told(agents.len() == 2 && registered.error.is_null(), |_| {
            let line = |agent: &Value| {
                format!("{}  {}, {}", text(agent, "client_id"), text(agent, "client_name"), text(agent, "status"))
            };
            agents.iter().map(line).collect()
        });
        self.story.step("List the person's agents, as their wallet knows them", watch.elapsed(), told);

        let watch = Stopwatch::start();
        let mut call = call;
        call["agent_client_id"] = registered.text_of("client_id").into();
        let answer = server.call("agent_wallet_revoke_agent", call).await?;
        let told = answer.told(answer.structured["ok"] == true, |answer| {
            vec![
                format!("revoked_at          {}", answer.text_of("revoked_at")),
                format!("refresh tokens      {}", answer.structured["cascade"]["refresh_tokens_revoked"]),
                format!("access tokens       {}", answer.structured["cascade"]["access_tokens_revoked"]),
            ]
        });
        self.story.step("Revoke the agent that nobody needs", watch.elapsed(), told);
        Ok(())
    }

    async fn prove_the_chain(&mut self, server: &mut McpServer) -> anyhow::Result<()> {
        let watch = Stopwatch::start();
        let arguments = json!({"principal_token": "wallet-session", "limit": 200});
        let answer = server.call("agent_audit_chain_query", arguments).await?;
        let chain = &answer.structured["chain"];
        let is_whole = chain["intact"] == true && chain["head"] == "verified" && chain["gaps"] == json!([]);
        let told = answer.told(is_whole, |_| {
            vec![
                format!(
                    "+ {:<26}{} entries, {} links",
                    "hashes and links hold", chain["hashes_verified"], chain["links_verified"]
                ),
                format!("+ {:<26}up to entry {}", "signed head verified", chain["head_seq"]),
            ]
        });
        self.story.step("Prove the person's audit chain", watch.elapsed(), told);
        Ok(())
    }

    async fn look_back(&mut self, server: &mut McpServer) -> anyhow::Result<()> {
        let watch = Stopwatch::start();
        let answer = server.call("agent_payment_history", json!({"principal_token": "wallet-session"})).await?;
        let payments = answer.structured["payments"].as_array().cloned().unwrap_or_default();
        let settled = self.sandbox.settlement_count();
        let told = answer.told(payments.len() == settled && settled == PAYMENTS, |_| {
            let line = |payment: &Value| {
                format!(
                    "{}  {:>10}  {}  {}",
                    text(payment, "processed_at_iso"),
                    amount(payment, "amount_minor"),
                    text(payment, "status"),
                    text(payment, "merchant_audience"),
                )
            };
            let mut lines: Vec<_> = payments.iter().map(line).collect();
            lines.push(format!("+ {settled} payments in the wallet's history, {settled} in the merchants' books"));
            lines
        });
        self.story.step("Look back at what was paid", watch.elapsed(), told);
        Ok(())
    }
}

impl ToolAnswer {
    /// How the step is told: `lines` where `is_good`, else what the tool said.
    fn told(&self, is_good: bool, lines: impl FnOnce(&Self) -> Vec<String>) -> Told {
        let output = if self.error.is_null() { &self.structured } else { &self.error };
        match is_good {
            true => Told::good(output.clone(), lines(self)),
            false => Told::bad(output.clone(), vec![format!("! {}", self.text)]),
        }
    }

    /// A text member of the structured content.
    fn text_of(&self, name: &str) -> &str {
        text(&self.structured, name)
    }
}

fn purchase(merchant: &MerchantInfo, sku: &str, amount_minor: u64) -> Value {
    json!({
        "merchant_url": merchant.origin,
        "merchant_verify_url": merchant.verify_url,
        "amount": {"currency": "EUR", "amount_minor": amount_minor},
        "line_items": [{"sku": sku, "qty": 1}],
        "redirect_uri": REDIRECT_URI,
    })
}

/// A payment, request by request and signature by signature.
fn payment_lines(answer: &ToolAnswer, sku: &str, merchant: &MerchantInfo, signatures: &Signatures) -> Vec<String> {
    let by = |name: &str| {
        let of = |member: &str| answer.signatures.pointer(&format!("/{name}/{member}")).and_then(Value::as_str);
        format!("{} key {}", of("alg").unwrap_or("?"), of("kid").unwrap_or("?"))
    };
    let mut lines = vec![format!("GET  {}/oid4ac/offer/{sku}", merchant.origin)];
    for (name, verdict) in signatures.all() {
        let what = match name {
            "offer" => "merchant's signed offer",
            "access_token" => "access token",
            "mandate" => "mandate",
            "key_binding" => "our key-binding JWT",
            _ => "merchant's receipt",
        };
        if name == "access_token" {
            lines.push("POST pushed authorization request, GET authorize, POST token".to_owned());
        } else if name == "key_binding" {
            lines.push(format!("POST {}", merchant.verify_url));
        }
        lines.push(match verdict == VERIFIED {
            true => format!("+ {what:<26}verified by {}", by(name)),
            false => format!("! {what:<26}{verdict}"),
        });
    }
    if !answer.error.is_null() {
        lines.push(format!("! {}", answer.text));
        return lines;
    }
    for name in ["status", "mandate_id", "payment_intent_id", "settled_at", "receipt_url"] {
        lines.push(format!("{name:<18}  {}", answer.text_of(name)));
    }
    lines
}

fn article(item: &Value) -> String {
    format!("  {:<28}{:>10}  {}", text(item, "sku"), amount(item, "unit_price_minor"), text(item, "title"))
}

/// The member `minor` in major units, `12.99 EUR`.
fn amount(value: &Value, minor: &str) -> String {
    let currency = spend_guard::Currency::parse(text(value, "currency")).ok();
    match currency.zip(value[minor].as_u64()) {
        Some((currency, minor)) => currency.format(minor),
        None => "?".to_owned(),
    }
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or("none")
}

/// Time for people to read; nothing is decided by it.
struct Stopwatch(tokio::time::Instant);

impl Stopwatch {
    fn start() -> Self {
        Self(tokio::time::Instant::now())
    }

    fn elapsed(&self) -> std::time::Duration {
        self.0.elapsed()
    }
}

/// Something to buy at each merchant of the sandbox, at the price in euro cents that its signed offer has.
const ITEMS: [(&str, &str, u64); 2] =
    [("merch_alpacanica", "alpaca-sock-blue-43", 1299), ("merch_bristleandslate", "keyboard-brush", 1190)];
/// Over the 100.00 that the built-in policy lets one payment have.
const TOO_DEAR: (&str, u64) = ("alpaca-sweater-cable-m", 12_900);
/// Over the 50.00 above which it wants the human's approval.
const WANTS_APPROVAL: (&str, u64) = ("felt-slipper-41", 5450);
/// One at each merchant, the approved one and the cheapest.
const PAYMENTS: usize = 4;

const REDIRECT_URI: &str = "https://agent.example/callback";
