//! All that a client sees of the server besides the calls themselves: the golden surface, resources, prompts, progress,
//! cancellation.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use sandbox::{ConsentDecision, ConsentMode, Party, SandboxConfig};
use serde_json::{Value, json};
use support::{Lifecycle, Server, World, schema, with};
use tempfile::TempDir;

const PAY: &str = "agent_payment_initiate";

/// Names, descriptions, schemas and annotations are what programs and models were made to fit: a change has to be meant.
/// `UPDATE_GOLDEN=1` writes the file again.
#[tokio::test]
async fn the_surface_is_the_golden_one() {
    let home = TempDir::new().unwrap();
    let mut server = Server::spawn(&["--toolset", "all"], home.path(), &[], Lifecycle::Handshake("2025-11-25"));
    let hello =
        json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let introduced = server.request("initialize", hello).await.unwrap();
    server.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
    let mut surface = json!({"instructions": introduced["instructions"], "capabilities": introduced["capabilities"]});
    for (method, member) in
        [("tools/list", "tools"), ("prompts/list", "prompts"), ("resources/templates/list", "resourceTemplates")]
    {
        surface[member] = server.request(method, json!({})).await.unwrap()[member].take();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/surface.json");
    let now = format!("{surface:#}\n");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    let golden: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    for (member, value) in surface.as_object().unwrap() {
        let (Some(now), Some(golden)) = (value.as_array(), golden[member].as_array()) else {
            assert_eq!(*value, golden[member], "{member}: if that is meant, run this test with UPDATE_GOLDEN=1");
            continue;
        };
        let names = |list: &[Value]| list.iter().map(|one| one["name"].clone()).collect::<Vec<_>>();
        assert_eq!(names(now), names(golden), "{member}: if that is meant, run this test with UPDATE_GOLDEN=1");
        for (now, golden) in now.iter().zip(golden) {
            assert_eq!(now, golden, "{}: if that is meant, run this test with UPDATE_GOLDEN=1", now["name"]);
        }
    }
}

#[tokio::test]
async fn the_instructions_name_the_offered_tools_alone() {
    let home = tempfile::TempDir::new().unwrap();
    for (arguments, named) in [
        (&["--toolset", "all"][..], "agent_payment_initiate"),
        (&["--toolset", "spend"][..], "spend_intent_create, spend_intent_request_approval, then spend_intent_status"),
        (&["--toolset", "spend", "--read-only"][..], "spend_simulate"),
        (&["--read-only"][..], "agent_browse_merchant"),
    ] {
        let mut server = Server::spawn(arguments, home.path(), &[], Lifecycle::Handshake("2025-11-25"));
        let hello =
            json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
        let introduced = server.request("initialize", hello).await.unwrap();
        server.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
        let listed = server.request("tools/list", json!({})).await.unwrap();
        let offered: Vec<_> = listed["tools"].as_array().unwrap().iter().map(|tool| tool["name"].clone()).collect();
        let instructions = introduced["instructions"].as_str().unwrap();
        assert!(instructions.contains(named), "{arguments:?}: {instructions}");
        let words = instructions.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let mut tools = words.filter(|word| schema::all_tools().iter().any(|tool| tool == word));
        assert!(tools.all(|tool| offered.contains(&json!(tool))), "{arguments:?}: {instructions}");
    }
}

/// What a tool says of itself tells when to use it, and is fit for a strict client.
#[test]
fn every_tool_says_what_it_is_for() {
    for tool in schema::all_tools() {
        let definition = schema::definition(&tool);
        let description = definition["description"].as_str().unwrap();
        assert!(description.len() > 100, "{tool}: {description}");
        assert!(definition["title"].as_str().is_some_and(|title| title.len() < 60), "{tool}");
        let hint = |name: &str| definition["annotations"][name].as_bool().unwrap_or_else(|| panic!("{tool}: {name}"));
        assert!(!(hint("readOnlyHint") && hint("destructiveHint")), "{tool}");
        let (_, _) = (hint("idempotentHint"), hint("openWorldHint"));
        for property in definition["inputSchema"]["properties"].as_object().unwrap().values() {
            assert!(property["description"].is_string() || property.get("$ref").is_some(), "{tool}: {property}");
        }
    }
}

fn source(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/mcp").join(file)
}

async fn read(server: &mut Server, uri: &str) -> Value {
    let result = server.request("resources/read", json!({"uri": uri})).await.unwrap_or_else(|e| panic!("{uri}: {e}"));
    let contents = &result["contents"][0];
    assert_eq!((&contents["uri"], &contents["mimeType"]), (&json!(uri), &json!("application/json")));
    serde_json::from_str(contents["text"].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn receipts_mandates_policy_and_catalogs_can_be_read() {
    let world = World::new().await;
    let mut server = world.registered().await;
    let paid = server.call(PAY, world.socks()).await;
    let output = paid.output().clone();
    let by_intent = format!("receipt://{}", output["intent_id"].as_str().unwrap());
    let receipt = read(&mut server, &by_intent).await;
    for member in ["mandate_id", "payment_intent_id", "settled_at", "receipt_jws", "receipt_status", "amount_minor"] {
        assert_eq!(receipt[member], output[member], "{member}");
    }
    for id in ["mandate_id", "payment_intent_id"] {
        assert_eq!(read(&mut server, &format!("receipt://{}", output[id].as_str().unwrap())).await, receipt, "{id}");
    }
    let mandate = read(&mut server, &format!("mandate://{}", output["intent_id"].as_str().unwrap())).await;
    assert_eq!((&mandate["mandate_id"], &mandate["cap_minor"]), (&output["mandate_id"], &json!(1299)));
    // Neither the mandate nor what was presented, and nothing of the person.
    let jwt = output["mandate_jwt"].as_str().unwrap();
    assert!(!mandate.to_string().contains(&jwt[..40]) && !mandate.to_string().contains('~'), "{mandate}");
    let policy = read(&mut server, "policy://current").await;
    assert!(policy["in_words"].as_array().unwrap().len() > 1);
    let catalog = read(&mut server, "catalog://merch_alpacanica").await;
    assert_eq!(catalog["items"].as_array().unwrap().len(), 20);
    let browsed = server.call("agent_browse_merchant", json!({"merchant_id": "merch_alpacanica"})).await;
    assert_eq!(browsed.output()["items"], catalog["items"]);

    let listed = server.request("resources/list", json!({})).await.unwrap();
    let uris: Vec<_> = listed["resources"].as_array().unwrap().iter().map(|one| one["uri"].as_str().unwrap()).collect();
    assert_eq!(uris, ["policy://current", &by_intent, &by_intent.replace("receipt", "mandate")]);
}

#[tokio::test]
async fn a_resource_that_is_not_there_is_not_found() {
    for (lifecycle, code) in [(Lifecycle::Handshake("2025-11-25"), -32002), (Lifecycle::Inline, -32602)] {
        let world = World::new().await;
        let mut server = world.server_with(lifecycle).await;
        for uri in [
            "receipt://0198c6d5-b1f7-7a8e-8b1e-c3b1b1a4d5c6",
            "receipt://",
            "mandate://../../etc/passwd",
            "policy://other",
            "file:///etc/passwd",
            "https://merchant.example",
            "nothing",
            "",
            "catalog://merch_nobody",
            "catalog://../x",
        ] {
            let error = server.request("resources/read", json!({"uri": uri})).await.unwrap_err();
            assert_eq!(error["code"], code, "{uri}: {error}");
        }
        let listed = server.request("resources/list", json!({})).await.unwrap();
        assert_eq!(listed["resources"].as_array().unwrap().len(), 1, "the policy");
        assert!(!world.data_dir().exists(), "reading makes nothing");
    }
}

#[tokio::test]
async fn an_unverified_catalog_is_no_resource_either() {
    let config =
        SandboxConfig::new().changing_answers(|request, answer| match request.path.ends_with("/catalog-preview") {
            true => support::liar::with_json(answer, |preview| preview["signature"] = Value::Null),
            false => answer,
        });
    let world = World::with(config).await;
    let mut server = world.server().await;
    let error = server.request("resources/read", json!({"uri": "catalog://merch_alpacanica"})).await.unwrap_err();
    assert_eq!(error["message"], "resources/read rejected upstream catalog (missing signed field \"signature\")");
    assert_eq!(error["data"]["error"]["code"], "catalog_invalid");
}

#[tokio::test]
async fn prompts_carry_the_persons_words() {
    let home = TempDir::new().unwrap();
    let mut server = Server::start_with(&[], home.path(), &[], Lifecycle::Inline).await;
    let list = server.request("prompts/list", json!({})).await.unwrap();
    assert_eq!(list["cacheScope"], "private");
    let names: Vec<_> = list["prompts"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["buy_safely", "explain_charge", "prepare_dispute", "data_held_on_me"]);
    for prompt in list["prompts"].as_array().unwrap() {
        let mut arguments = serde_json::Map::new();
        for argument in prompt["arguments"].as_array().unwrap() {
            assert!(argument["description"].is_string());
            arguments.insert(
                argument["name"].as_str().unwrap().to_owned(),
                json!("these very words\u{1b}[2J\n{reason}{what}"),
            );
        }
        let filled = json!({"name": prompt["name"], "arguments": arguments});
        let result = server.request("prompts/get", filled).await.unwrap();
        let text = result["messages"][0]["content"]["text"].as_str().unwrap();
        assert_eq!(result["messages"][0]["role"], "user");
        assert_eq!(text.matches("these very words[2J{reason}{what}").count(), arguments.len(), "{text}");
        let required: Vec<_> =
            prompt["arguments"].as_array().unwrap().iter().filter(|one| one["required"] == true).collect();
        let bare = server.request("prompts/get", json!({"name": prompt["name"]})).await;
        assert_eq!(bare.is_err(), !required.is_empty(), "{}", prompt["name"]);
    }
    // What the texts send a model to is there.
    let words = format!(
        "{}{}",
        std::fs::read_to_string(source("prompts.rs")).unwrap(),
        std::fs::read_to_string(source("instructions.rs")).unwrap()
    );
    let words = words.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let tools: Vec<_> = words.filter(|word| word.starts_with("agent_") || word.starts_with("discovery_")).collect();
    assert!(tools.len() > 10);
    for tool in tools {
        assert!(schema::all_tools().contains(&tool.to_owned()), "{tool}");
    }
    for bad in [
        json!({"name": "buy"}),
        json!({"name": "explain_charge", "arguments": {"charge": 5}}),
        json!({"name": "explain_charge", "arguments": {"charge": " "}}),
        json!({"name": "explain_charge", "arguments": {"charge": "x", "amount": "y"}}),
    ] {
        assert_eq!(server.request("prompts/get", bad.clone()).await.unwrap_err()["code"], -32602, "{bad}");
    }
}

/// A server that waits so long for a person.
async fn waiting(world: &World, seconds: &str) -> Server {
    drop(world.registered().await);
    let data_dir = world.data_dir();
    let (origin, data_dir) = (world.sandbox.as_origin(), data_dir.to_str().unwrap());
    let arguments = ["--as-origin", origin, "--data-dir", data_dir, "--consent-wait", seconds];
    Server::start(&arguments, world.home.path()).await
}

#[tokio::test]
async fn a_call_that_waits_tells_its_progress_where_a_token_was_given() {
    let world = World::with(SandboxConfig::new().consent_mode(ConsentMode::Dashboard)).await;
    let mut server = waiting(&world, "6").await;
    let call = json!({"name": PAY, "arguments": world.socks(), "_meta": {"progressToken": "p1"}});
    let answer = server.request("tools/call", call).await.unwrap();
    assert_eq!(answer["structuredContent"]["status"], "approval_required");
    let told: Vec<Value> = server.lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> = told.iter().filter(|line| line["method"] == "notifications/progress").collect();
    assert!(!told.is_empty());
    let mut before = -1.0;
    for one in told {
        assert_eq!(one["params"]["progressToken"], "p1");
        let progress = one["params"]["progress"].as_f64().unwrap();
        assert!(progress > before && progress <= 6.0 && one["params"]["message"].is_string(), "{one}");
        before = progress;
    }
}

#[tokio::test]
async fn cancelling_stops_the_waiting_and_the_same_call_goes_on() {
    let world = World::with(SandboxConfig::new().consent_mode(ConsentMode::Dashboard)).await;
    let mut server = waiting(&world, "60").await;
    let id = server.ask("tools/call", json!({"name": PAY, "arguments": world.socks()})).await;
    let authorize = ("/oauth/authorize", Party::AuthorizationServer);
    while world.sandbox.request_count(&authorize.1, &Method::GET, authorize.0) == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}})).await;
    // It answers others at once, and the cancelled call not at all.
    server.request("tools/list", json!({})).await.unwrap();
    assert!(
        !server.lines.iter().any(|line| line.contains(&format!("\"id\":{id},"))),
        "no answer to what was cancelled"
    );
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = world.sandbox.requests().len();
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(world.sandbox.requests().len(), before, "nobody polls any more");
    assert!(world.settlements(world.alpacanica()).await.is_empty());
    // The same call says that it was waiting, and once they agreed, goes on.
    let ledger = world.ledger();
    let open = ledger.list(&spend_guard::Filter::default()).unwrap().intents.remove(0);
    let page = open.consent.unwrap().url;
    let principal = world.sandbox.principals()[0].id.clone();
    world.sandbox.decide(&page, &principal, ConsentDecision::Approve).unwrap();
    let settled = server.call(PAY, world.socks()).await;
    assert_eq!((&settled.output()["status"], &settled.output()["intent_id"]), (&json!("settled"), &json!(open.id)));
    assert_eq!(world.settlements(world.alpacanica()).await.len(), 1);
}

#[tokio::test]
async fn cancelling_stops_no_charge_that_was_sent() {
    let reached = Arc::new(tokio::sync::Notify::new());
    let told = Arc::clone(&reached);
    let config = SandboxConfig::new().changing_answers(move |request, answer| {
        if request.path == "/verify-mandate" && answer.status().is_success() {
            told.notify_one();
            std::thread::sleep(Duration::from_millis(400));
        }
        answer
    });
    let world = World::with(config).await;
    let mut server = world.registered().await;
    let id = server.ask("tools/call", json!({"name": PAY, "arguments": world.socks()})).await;
    reached.notified().await;
    server.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}})).await;
    // The same call says that it had been sent, and pays nothing more.
    let again = server.call(PAY, world.socks()).await;
    assert_eq!((&again.output()["status"], &again.output()["replayed"]), (&json!("settled"), &json!(true)));
    assert_eq!(world.settlements(world.alpacanica()).await.len(), 1);
    let other = server.call(PAY, with(world.socks(), "/purchase_ref", json!("another"))).await;
    assert_eq!(other.output()["replayed"], false);
}
