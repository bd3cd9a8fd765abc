//! What an MCP client sees of the server, whatever it calls: lifecycles, the list of tools, bad arguments, clean ends.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod support;

use serde_json::{Value, json};
use support::{CALLBACK, Lifecycle, Server, World, purchase, schema, with};
use tempfile::TempDir;

const HANDSHAKES: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];

#[tokio::test]
async fn lists_exactly_the_tools_that_the_definitions_describe_in_a_fixed_order() {
    let home = TempDir::new().unwrap();
    let mut server = Server::start(&[], home.path()).await;
    let first = server.request("tools/list", json!({})).await.unwrap();
    assert_eq!(
        first["tools"],
        json!(schema::oid4ac_tools().iter().map(|name| schema::definition(name)).collect::<Vec<_>>())
    );
    assert_eq!(first["tools"].as_array().unwrap().len(), 12);
    assert_eq!(server.request("tools/list", json!({})).await.unwrap(), first);
    assert!(first.get("nextCursor").is_none());
    assert!(server.end().await.status.success());
}

/// The contract of the tools: any change to it has to be meant.
#[test]
fn input_schemas_are_those_of_the_contract() {
    let required = |tool: &str| schema::definition(tool)["inputSchema"]["required"].clone();
    assert_eq!(required("agent_register"), json!(["setup_token", "as_url", "redirect_uris"]));
    let pay = ["merchant_url", "merchant_verify_url", "amount", "line_items", "redirect_uri"];
    assert_eq!(required("agent_payment_initiate"), json!(pay));
    assert_eq!(required("agent_verify_mandate"), json!(["merchant_verify_url", "presentation", "line_items"]));
    let buy = ["store_url", "merchant_verify_url", "max_amount_minor", "redirect_uri"];
    assert_eq!(required("agent_buy_cheapest_from_store"), json!(buy));
    assert_eq!(required("agent_browse_merchant"), json!(["merchant_id"]));
    assert!(required("discovery_list_merchants").is_null());
    for tool in schema::all_tools() {
        let definition = schema::definition(&tool);
        for schema in [&definition["inputSchema"], &definition["outputSchema"]] {
            assert_eq!(schema["type"], "object");
            assert_eq!(schema["additionalProperties"], false);
            for combinator in ["anyOf", "oneOf", "allOf", "not", "if", "$ref", "$defs"] {
                assert!(schema.get(combinator).is_none(), "{tool} has {combinator}");
            }
        }
        assert_eq!(definition["annotations"].as_object().unwrap().len(), 4);
    }
}

#[tokio::test]
async fn speaks_every_handshake_version() {
    let home = TempDir::new().unwrap();
    for version in HANDSHAKES {
        let mut server = Server::start_with(&[], home.path(), &[], Lifecycle::Handshake(version)).await;
        let list = server.request("tools/list", json!({})).await.unwrap();
        assert_eq!(list["tools"].as_array().unwrap().len(), schema::oid4ac_tools().len(), "{version}");
        assert!(list.get("cacheScope").is_none() && list.get("resultType").is_none(), "{version}: {list}");
        assert!(server.end().await.status.success());
    }
}

#[tokio::test]
async fn speaks_2026_07_28_without_a_handshake_and_keeps_its_list_private() {
    let home = TempDir::new().unwrap();
    let mut server = Server::start_with(&[], home.path(), &[], Lifecycle::Inline).await;
    let discovered = server.request("server/discover", json!({})).await.unwrap();
    let introduced = &discovered["_meta"]["io.modelcontextprotocol/serverInfo"];
    assert_eq!(introduced["name"], "oid4pay-mcp", "{discovered}");
    let list = server.request("tools/list", json!({})).await.unwrap();
    assert_eq!((&list["cacheScope"], &list["resultType"]), (&json!("private"), &json!("complete")), "{list}");
    assert!(server.end().await.status.success());
}

#[tokio::test]
async fn introduces_itself_by_its_own_name_with_instructions() {
    let home = TempDir::new().unwrap();
    let mut server = Server::spawn(&[], home.path(), &[], Lifecycle::Handshake("2025-11-25"));
    let hello =
        json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let result = server.request("initialize", hello).await.unwrap();
    assert_eq!(result["serverInfo"]["name"], "oid4pay-mcp");
    assert_eq!(result["serverInfo"]["version"], env!("CARGO_PKG_VERSION"));
    assert!(result["instructions"].as_str().unwrap().contains("agent_register"));
    assert_eq!(result["capabilities"], json!({"prompts": {}, "resources": {}, "tools": {}}));
}

#[tokio::test]
async fn touches_no_file_before_a_call_needs_one() {
    let home = TempDir::new().unwrap();
    let mut server = Server::start(&[], home.path()).await;
    server.request("tools/list", json!({})).await.unwrap();
    assert!(server.end().await.status.success());
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn ends_cleanly_with_its_input_and_on_sigterm() {
    let home = TempDir::new().unwrap();
    let ended = Server::spawn(&[], home.path(), &[], Lifecycle::Inline).end().await;
    assert!(ended.status.success() && ended.stdout.is_empty() && ended.stderr.is_empty(), "{}", ended.stderr);
    for lifecycle in [Lifecycle::Handshake("2025-11-25"), Lifecycle::Inline] {
        let mut server = Server::start_with(&[], home.path(), &[], lifecycle).await;
        server.request("tools/list", json!({})).await.unwrap();
        terminate(&server);
        let ended = server.ended().await;
        assert!(ended.status.success(), "{lifecycle:?}: {} {}", ended.status, ended.stderr);
    }
}

fn terminate(server: &Server) {
    let status = std::process::Command::new("kill").args(["-TERM", &server.pid().to_string()]).status().unwrap();
    assert!(status.success());
}

#[tokio::test]
async fn survives_lines_that_are_no_messages() {
    let home = TempDir::new().unwrap();
    let mut server = Server::start(&[], home.path()).await;
    for line in ["\n", "{\n", "[]\n", "null\n", "{\"jsonrpc\":\"2.0\"}\n", "\u{0}\u{1}\n", "🦀\n"] {
        server.send_raw(line).await;
    }
    let long = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":99,\"method\":\"tools/list\",\"params\":{{\"x\":\"{}\"}}}}\n",
        "x".repeat(2 << 20)
    );
    server.request("tools/list", json!({})).await.unwrap();
    let told = |server: &Server| server.lines.iter().filter(|line| line.contains("-32600")).count();
    let before = told(&server);
    server.send_raw(&long).await;
    let list = server.request("tools/list", json!({})).await.unwrap();
    assert_eq!(list["tools"].as_array().unwrap().len(), schema::oid4ac_tools().len());
    assert_eq!(told(&server), before + 1, "a line that is too long is not dropped in silence");
    let unknown = server.request("tools/call", json!({"name": "agent_payment", "arguments": {}})).await.unwrap_err();
    assert_eq!(unknown["code"], -32602);
    assert_eq!(server.request("no/such/method", json!({})).await.unwrap_err()["code"], -32601);
}

/// One member made bad at a time; what is named in the message.
#[tokio::test]
async fn refuses_arguments_that_the_schema_refuses_and_names_the_member() {
    let world = World::new().await;
    let mut server = world.server().await;
    let register = world.registration();
    let pay = purchase(world.alpacanica(), "alpaca-sock-blue-43", 1299);
    let verify = json!({
        "merchant_verify_url": world.alpacanica().verify_url, "presentation": "a~b", "line_items": [{"sku": "s", "qty": 1}],
    });
    let bad: Vec<(&str, &Value, &str, Value, &str)> = vec![
        ("agent_register", &register, "/setup_token", Value::Null, "setup_token"),
        ("agent_register", &register, "/setup_token", json!(""), "setup_token"),
        ("agent_register", &register, "/setup_token", json!(5), "setup_token"),
        ("agent_register", &register, "/as_url", json!("not a url"), "as_url"),
        ("agent_register", &register, "/redirect_uris", json!([]), "redirect_uris"),
        ("agent_register", &register, "/redirect_uris", json!(CALLBACK), "redirect_uris"),
        ("agent_register", &register, "/redirect_uris/0", json!("/relative"), "redirect_uris[0]"),
        ("agent_register", &register, "/client_name", json!(["x"]), "client_name"),
        ("agent_register", &register, "/purpose", json!("not in this tool"), "purpose"),
        ("agent_payment_initiate", &pay, "/merchant_url", Value::Null, "merchant_url"),
        ("agent_payment_initiate", &pay, "/merchant_url", json!("shop"), "merchant_url"),
        ("agent_payment_initiate", &pay, "/amount", Value::Null, "amount"),
        ("agent_payment_initiate", &pay, "/amount", json!(1299), "amount"),
        ("agent_payment_initiate", &pay, "/amount/amount_minor", json!(0), "amount.amount_minor"),
        ("agent_payment_initiate", &pay, "/amount/amount_minor", json!(-1299), "amount.amount_minor"),
        ("agent_payment_initiate", &pay, "/amount/amount_minor", json!(12.99), "amount.amount_minor"),
        ("agent_payment_initiate", &pay, "/amount/amount_minor", json!("1299"), "amount.amount_minor"),
        (
            "agent_payment_initiate",
            &pay,
            "/amount/amount_minor",
            json!(9_007_199_254_740_992_u64),
            "amount.amount_minor",
        ),
        ("agent_payment_initiate", &pay, "/amount/amount_minor", json!(1e300), "amount.amount_minor"),
        ("agent_payment_initiate", &pay, "/amount/currency", json!("EU"), "amount.currency"),
        ("agent_payment_initiate", &pay, "/amount/currency", json!("EURO"), "amount.currency"),
        ("agent_payment_initiate", &pay, "/amount/cents", json!(1), "cents"),
        ("agent_payment_initiate", &pay, "/line_items", json!([]), "line_items"),
        ("agent_payment_initiate", &pay, "/line_items/0/sku", json!(""), "line_items[0].sku"),
        ("agent_payment_initiate", &pay, "/line_items/0/qty", json!(0), "line_items[0].qty"),
        ("agent_payment_initiate", &pay, "/line_items/0/qty", json!(1.5), "line_items[0].qty"),
        ("agent_payment_initiate", &pay, "/line_items/0/qty", Value::Null, "qty"),
        ("agent_payment_initiate", &pay, "/line_items/0/unit_price_minor", json!(-1), "line_items[0].unit_price_minor"),
        ("agent_payment_initiate", &pay, "/line_items/0/currency", json!("€"), "line_items[0].currency"),
        ("agent_payment_initiate", &pay, "/line_items/0/name", json!("sock"), "name"),
        ("agent_payment_initiate", &pay, "/consent_mode_hint", json!("never"), "consent_mode_hint"),
        ("agent_payment_initiate", &pay, "/purchase_ref", json!(""), "purchase_ref"),
        ("agent_payment_initiate", &pay, "/purchase_ref", json!("x".repeat(129)), "purchase_ref"),
        ("agent_payment_initiate", &pay, "/dry_run", json!("yes"), "dry_run"),
        ("agent_payment_initiate", &pay, "/redirect_uri", json!("nowhere"), "redirect_uri"),
        ("agent_payment_initiate", &pay, "/offer_id", json!(7), "offer_id"),
        ("agent_payment_initiate", &pay, "/idempotency_key", json!("mine"), "idempotency_key"),
        ("agent_verify_mandate", &verify, "/presentation", json!(""), "presentation"),
        ("agent_verify_mandate", &verify, "/line_items", Value::Null, "line_items"),
        ("agent_verify_mandate", &verify, "/idempotency_key", json!(1), "idempotency_key"),
        ("agent_verify_mandate", &verify, "/amount", json!({}), "amount"),
    ];
    for (tool, good, pointer, member, named) in &bad {
        let arguments = with((*good).clone(), pointer, member.clone());
        let schema = jsonschema::validator_for(&schema::definition(tool)["inputSchema"]).unwrap();
        let is_uri = pointer.ends_with("url") || pointer.ends_with("uri") || pointer.contains("redirect_uris/");
        assert!(is_uri || !schema.is_valid(&arguments), "the schema of {tool} allows {pointer}: {member}");
        let error = server.call_badly(tool, arguments).await;
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(named), "{tool} {pointer} {member}: {message}");
    }
    for (tool, good) in
        [("agent_register", &register), ("agent_payment_initiate", &pay), ("agent_verify_mandate", &verify)]
    {
        let schema = jsonschema::validator_for(&schema::definition(tool)["inputSchema"]).unwrap();
        assert!(schema.is_valid(good), "{tool}");
    }
    assert!(world.sandbox.requests().is_empty(), "nothing was sent");
}

#[tokio::test]
async fn an_argument_that_is_refused_is_not_repeated() {
    let home = TempDir::new().unwrap();
    let mut server = Server::start(&[], home.path()).await;
    let arguments =
        json!({"setup_token": "setup_x", "as_url": "https://as.example", "redirect_uris": "secret-in-the-wrong-place"});
    let error = server.call_badly("agent_register", arguments).await;
    assert!(!error.to_string().contains("secret-in-the-wrong-place"), "{error}");
    let ended = server.end().await;
    assert!(!ended.stderr.contains("secret-in-the-wrong-place"), "{}", ended.stderr);
}
