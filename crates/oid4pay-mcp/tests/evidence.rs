//! What proves a payment, from the compiled binary: history, receipt, exports, and evidence that a liar changed.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use jose::{base64url, sha256};
use oid4ac_client::{Endpoint, HttpClient as _, Limits, Origin, ReqwestClient};
use sandbox::SandboxConfig;
use serde_json::{Value, json};
use support::{BINARY, World, with};

fn run(world: &World, arguments: &[&str]) -> Output {
    let mut command = Command::new(BINARY);
    command.args(arguments).arg("--data-dir").arg(world.data_dir());
    command.env_clear().env("HOME", world.home.path()).current_dir(world.home.path()).output().unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

/// A payment for a pair of socks, and its intent.
async fn paid() -> (World, String) {
    paid_in(SandboxConfig::new()).await
}

async fn paid_in(config: SandboxConfig) -> (World, String) {
    let world = World::with(config).await;
    let mut server = world.registered().await;
    let answer = server.call("agent_payment_initiate", world.socks()).await;
    assert_eq!(answer.output()["status"], "settled");
    let id = answer.output()["intent_id"].as_str().unwrap().to_owned();
    server.end().await;
    (world, id)
}

fn evidence(world: &World, id: &str) -> Value {
    serde_json::from_str(&stdout(&run(world, &["export", "--evidence", id]))).unwrap()
}

/// Verifies evidence on a machine that has nothing else.
fn verify(file: &Value, more: &[&str]) -> Output {
    let elsewhere = tempfile::tempdir().unwrap();
    let path = elsewhere.path().join("evidence.json");
    std::fs::write(&path, file.to_string()).unwrap();
    let mut command = Command::new(BINARY);
    command.arg("verify-evidence").arg(&path).arg("--json").args(more);
    command.env_clear().current_dir(elsewhere.path()).output().unwrap()
}

/// The same for a person: the exit status and what is printed.
fn in_words(file: &Value, more: &[&str]) -> (i32, String) {
    let elsewhere = tempfile::tempdir().unwrap();
    let path = elsewhere.path().join("evidence.json");
    std::fs::write(&path, file.to_string()).unwrap();
    let mut command = Command::new(BINARY);
    command.arg("verify-evidence").arg(&path).args(more).env_clear().current_dir(elsewhere.path());
    let output = command.output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

/// The names of the checks that fail, in their order.
fn failing(output: &Output) -> Vec<String> {
    let told = json_of(output);
    let status = match told["verdict"].as_str().unwrap() {
        "proven" => 0,
        "unproven" => 3,
        _ => 1,
    };
    assert_eq!((told["holds"] == true, output.status.code()), (status != 1, Some(status)));
    let proven = told["proven"]["paid_minor"].is_u64() && told["proven"]["mandate_cap_minor"].is_u64();
    assert_eq!(proven, status == 0, "{told:#}");
    let checks = told["checks"].as_array().unwrap();
    let fails = checks.iter().filter(|check| check["result"] == "fails");
    fails.map(|check| check["name"].as_str().unwrap().to_owned()).collect()
}

/// What a liar does who knows the format: every checksum is made to fit again.
fn forge(mut file: Value) -> Value {
    let members = file.as_object_mut().unwrap();
    members.remove("manifest");
    let hash = |value: &Value| base64url::encode(&sha256(&serde_json_canonicalizer::to_vec(value).unwrap()));
    let manifest: serde_json::Map<_, _> =
        members.iter().map(|(name, value)| (name.clone(), json!(hash(value)))).collect();
    members.insert("manifest".to_owned(), Value::Object(manifest));
    file
}

/// The file with the ledger's entries as a forger of the whole ledger would have them: without those about `left_out`
/// artefacts, about the intent as it is now, hashed and linked again, and every checksum fitting.
fn forge_ledger(mut file: Value, left_out: &[&str]) -> Value {
    let entries = file["ledger"]["entries"].as_array().unwrap().iter().map(|of| of["entry"].clone());
    let kept = |entry: &spend_guard::Entry| {
        !left_out.iter().any(|name| entry.event == "artefact" && entry.detail["name"] == *name)
    };
    let entries = entries.map(|entry| serde_json::from_value::<spend_guard::Entry>(entry).unwrap());
    let mut entries: Vec<_> = entries.filter(kept).collect();
    let intent: spend_guard::Intent = serde_json::from_value(file["intent"].clone()).unwrap();
    let intent_hash = base64url::encode(&sha256(serde_json::to_string(&intent).unwrap().as_bytes()));
    entries.iter_mut().rev().find(|entry| entry.intent_hash.is_some()).unwrap().intent_hash = Some(intent_hash);
    let (mut seq, mut prev_hash) = (entries[0].seq, entries[0].prev_hash.clone());
    for entry in &mut entries {
        (entry.seq, entry.prev_hash) = (seq, prev_hash);
        (seq, prev_hash) = (entry.seq + 1, entry.hash());
    }
    file["ledger"]["head"] = json!({"seq": seq - 1, "entry_hash": prev_hash});
    let hashed = entries.iter().map(|entry| json!({"entry_hash": entry.hash(), "entry": entry}));
    file["ledger"]["entries"] = hashed.collect();
    forge(file)
}

#[tokio::test]
async fn a_payment_that_is_said_to_be_a_presented_mandate_keeps_its_amount() {
    let (world, id) = paid().await;
    let mut flipped = evidence(&world, &id);
    assert_eq!(failing(&verify(&forge_ledger(flipped.clone(), &[]), &[])), Vec::<String>::new());
    flipped["intent"]["kind"] = json!("verify");
    flipped["offers"] = json!([]);
    flipped["access_token_claims"] = Value::Null;
    flipped["merchant_nonce"] = Value::Null;
    let left_out = ["offers", "access_token_claims", "merchant_nonce"];
    // What the purchase is known by has its kind in it.
    assert_eq!(failing(&verify(&forge_ledger(flipped.clone(), &left_out), &[])), ["ledger_intent"]);
    let text = |pointer: &str| flipped.pointer(pointer).unwrap().as_str().unwrap();
    let identity = json!({
        "v": "oid4ac-verify-1", "issuer": text("/intent/issuer"), "mandate_id": text("/intent/mandate/mandate_id"),
        "idempotency_key": text("/intent/idempotency_key"),
    });
    let identity = base64url::encode(&sha256(&serde_json_canonicalizer::to_vec(&identity).unwrap()));
    let flipped = with(flipped, "/intent/identity", json!(identity));
    for amount in [999_900, 1300, 1298, 1] {
        let raised = with(flipped.clone(), "/intent/amount_minor", json!(amount));
        let output = verify(&forge_ledger(raised, &left_out), &[]);
        assert_eq!(failing(&output), ["mandate_terms"], "{amount}");
        assert_eq!(json_of(&output)["proven"], json!({"paid_minor": null, "mandate_cap_minor": null}));
    }
    // The same lie without the raise says nothing but what the receipt does.
    let told = json_of(&verify(&forge_ledger(flipped, &left_out), &[]));
    assert_eq!((&told["holds"], &told["signed"]["paid_minor"]), (&json!(true), &json!(1299)), "{told:#}");
}

/// A presentation whose ledger is lost: for the new one, the mandate came from elsewhere.
#[tokio::test]
async fn a_mandate_that_came_from_elsewhere_is_proven_with_its_cap() {
    let (world, id) = paid().await;
    let file = evidence(&world, &id);
    for name in ["ledger.sqlite3", "ledger.sqlite3-wal", "ledger.sqlite3-shm"] {
        let _absent = std::fs::remove_file(world.data_dir().join(name));
    }
    // As on another machine, where no head of the ledger is kept.
    std::fs::remove_dir_all(world.home.path().join(".local/state")).unwrap();
    let text = |pointer: &str| file.pointer(pointer).unwrap().as_str().unwrap();
    let mut server = world.server().await;
    let present = json!({
        "merchant_verify_url": world.alpacanica().verify_url,
        "presentation": format!("{}{}", text("/mandate"), text("/key_binding_jwt")),
        "line_items": [{"sku": "alpaca-sock-blue-43", "qty": 1}],
        "idempotency_key": text("/intent/idempotency_key"),
    });
    let answer = server.call("agent_verify_mandate", present).await;
    assert_eq!(answer.output()["status"], "settled");
    let presented = answer.output()["intent_id"].as_str().unwrap().to_owned();
    server.end().await;
    let file = evidence(&world, &presented);
    assert_eq!(file["intent"]["kind"], "verify");
    let output = verify(&file, &[]);
    assert_eq!(failing(&output), Vec::<String>::new());
    let (issuer, merchant) = key_sets(&world).await;
    let output = verify(&file, &["--as-jwks", &issuer, "--merchant-jwks", &merchant]);
    assert_eq!(json_of(&output)["proven"], json!({"paid_minor": 1299, "mandate_cap_minor": 1299}));
    for amount in [1298, 1300, 999_900] {
        let raised = with(file.clone(), "/intent/amount_minor", json!(amount));
        assert_eq!(failing(&verify(&forge_ledger(raised, &[]), &[])), ["mandate_terms"], "{amount}");
    }
}

#[tokio::test]
async fn without_its_receipt_nothing_is_proven_to_be_paid() {
    let (world, id) = paid().await;
    let mut file = evidence(&world, &id);
    file["receipt_jws"] = Value::Null;
    file["receipt_key"] = Value::Null;
    let file = forge_ledger(file, &["receipt", "receipt_key"]);
    let (issuer, merchant) = key_sets(&world).await;
    let keys = ["--as-jwks", issuer.as_str(), "--merchant-jwks", &merchant];
    let told = json_of(&verify(&file, &keys));
    assert_eq!(told["signed"]["paid_minor"], Value::Null, "{told:#}");
    assert_eq!(told["proven"], json!({"paid_minor": null, "mandate_cap_minor": null}), "{told:#}");
    let (status, text) = in_words(&file, &keys);
    assert_eq!(status, 3);
    assert!(text.starts_with("not proven to be paid: 12.99 EUR to http://127.0.0.1:"), "{text}");
}

#[tokio::test]
async fn records_of_another_mandate_are_not_about_this_one() {
    let (world, id) = paid().await;
    let file = evidence(&world, &id);
    let other = with(file, "/intent/mandate/mandate_id", json!("another"));
    assert_eq!(failing(&verify(&forge_ledger(other, &[]), &[])), ["mandate_terms"]);
}

#[tokio::test]
async fn evidence_is_proven_from_the_file_alone() {
    let (world, id) = paid().await;
    let file = evidence(&world, &id);
    world.sandbox.shutdown().await;
    let told = json_of(&verify(&file, &[]));
    assert_eq!(told["holds"], true, "{told:#}");
    assert_eq!((&told["payment"]["amount"], &told["payment"]["currency"]), (&json!("12.99"), &json!("EUR")));
    let result = |name: &str| {
        let check = told["checks"].as_array().unwrap().iter().find(|check| check["name"] == name);
        check.unwrap_or_else(|| panic!("no {name}: {told:#}"))["result"].as_str().unwrap().to_owned()
    };
    for name in [
        "offer",
        "offer_price",
        "offer_digest",
        "mandate",
        "mandate_terms",
        "key_binding",
        "key_binding_nonce",
        "receipt",
    ] {
        assert_eq!(result(name), "holds", "{name}");
    }
    // What rests on somebody's word is said to.
    for name in ["issuer_key", "merchant_key", "audit"] {
        assert_eq!(result(name), "unproven", "{name}");
    }
    for name in RECORDED {
        assert_eq!(result(name), "recorded", "{name}");
    }
}

/// What has no signature, under whatever keys.
const RECORDED: [&str; 9] = [
    "manifest",
    "access_token_claims",
    "approval",
    "agent",
    "state",
    "ledger_entries",
    "ledger_intent",
    "ledger_artefacts",
    "ledger_chain",
];

#[tokio::test]
async fn a_file_that_was_signed_with_invented_keys_is_never_called_proven() {
    let (world, id) = paid().await;
    // A world that an inventor ran for it: every signature fits the keys in the file.
    let (invented, invented_id) = paid().await;
    let file = evidence(&invented, &invented_id);
    let output = verify(&file, &[]);
    assert_eq!((output.status.code(), failing(&output)), (Some(3), Vec::new()));
    assert_eq!(json_of(&output)["verdict"], "unproven");
    let (status, text) = in_words(&file, &[]);
    let first = text.lines().next().unwrap();
    assert_eq!(status, 3);
    assert!(
        first.starts_with("not proven to be paid: 12.99 EUR to ") && first.contains("their keys are not trusted here"),
        "{first}"
    );
    assert!(text.contains("signed by the key that the file has for ") && !text.contains("Proven"), "{text}");
    // One party's key is not both.
    let (issuer, merchant) = key_sets(&invented).await;
    for half in [["--as-jwks", &issuer], ["--merchant-jwks", &merchant]] {
        assert_eq!(verify(&file, &half).status.code(), Some(3), "{half:?}");
    }
    // The keys of the world that is real.
    let (issuer, merchant) = key_sets(&world).await;
    let output = verify(&file, &["--as-jwks", &issuer, "--merchant-jwks", &merchant]);
    assert_eq!(failing(&output), ["issuer_key", "merchant_key"]);
    let (status, text) = in_words(&file, &["--as-jwks", &issuer, "--merchant-jwks", &merchant]);
    assert!(status == 1 && text.starts_with("not proven to be paid: "), "{text}");
    let real = evidence(&world, &id);
    let (status, text) = in_words(&real, &["--as-jwks", &issuer, "--merchant-jwks", &merchant]);
    assert_eq!(status, 0);
    assert!(text.starts_with("paid 12.99 EUR to http://127.0.0.1:"), "{text}");
    assert!(text.contains(" by its receipt, at most 12.99 EUR by the mandate\nrecorded as settled\n"), "{text}");
}

#[tokio::test]
async fn an_invented_approval_agent_and_state_are_recorded_and_never_proven() {
    let (world, id) = paid().await;
    let (issuer, merchant) = key_sets(&world).await;
    let keys = ["--as-jwks", issuer.as_str(), "--merchant-jwks", &merchant];
    let mut file = evidence(&world, &id);
    let terms = json!({
        "merchant": file["intent"]["merchant"], "amount_minor": 1299, "currency": "EUR", "expires_at": 4_000_000_000_i64,
    });
    let mut intent: spend_guard::Intent = serde_json::from_value(file["intent"].clone()).unwrap();
    let terms = serde_json::from_value(terms).unwrap();
    intent.approval = spend_guard::Approval::Given { terms, at: 1_790_000_000, used: true };
    intent.agent = Some("the chief executive".to_owned());
    intent.state = spend_guard::State::Failed;
    file["intent"] = serde_json::to_value(&intent).unwrap();
    let output = verify(&forge_ledger(file, &[]), &keys);
    assert_eq!((output.status.code(), failing(&output)), (Some(0), Vec::new()), "{:#}", json_of(&output));
    for name in RECORDED {
        let check = check_of(&output, name);
        assert_eq!(check["result"], "recorded", "{check}");
    }
    assert!(check_of(&output, "approval")["detail"].as_str().unwrap().ends_with("only the payer's records say so"));
    assert_eq!(json_of(&output)["recorded"]["agent"], "the chief executive");
}

/// The ledger's entries made to fit what the file has as artefacts.
fn forge_artefacts(mut file: Value) -> Value {
    let canonical = |value: &Value| serde_json_canonicalizer::to_string(value).unwrap();
    let text = |name: &str| file[name].as_str().unwrap().to_owned();
    let contents = [
        ("offers", canonical(&file["offers"])),
        ("access_token_claims", canonical(&file["access_token_claims"])),
        ("issuer_key", canonical(&file["issuer_key"])),
        ("presentation", format!("{}{}", text("mandate"), text("key_binding_jwt"))),
        ("merchant_nonce", text("merchant_nonce")),
        ("receipt", text("receipt_jws")),
        ("receipt_key", canonical(&file["receipt_key"])),
    ];
    for (name, content) in contents {
        let entries = file["ledger"]["entries"].as_array_mut().unwrap();
        let about = |of: &&mut Value| of["entry"]["event"] == "artefact" && of["entry"]["detail"]["name"] == name;
        let entry = entries.iter_mut().rev().find(about).unwrap_or_else(|| panic!("no {name}"));
        entry["entry"]["detail"]["hash"] = json!(base64url::encode(&sha256(content.as_bytes())));
    }
    forge_ledger(file, &[])
}

#[tokio::test]
async fn an_artefact_of_another_payment_is_found_in_its_place() {
    let (world, id) = paid().await;
    let mut server = world.server().await;
    let again = with(world.socks(), "/purchase_ref", json!("another pair"));
    let other = server.call("agent_payment_initiate", again).await.output()["intent_id"].as_str().unwrap().to_owned();
    server.end().await;
    let (issuer, merchant) = key_sets(&world).await;
    let keys = ["--as-jwks", issuer.as_str(), "--merchant-jwks", &merchant];
    let (file, other) = (evidence(&world, &id), evidence(&world, &other));
    for (genuine, members) in [(&file, 0), (&other, 0)] {
        assert_eq!(failing(&verify(&forge_artefacts(genuine.clone()), &keys)).len(), members);
    }
    let rows: [(&[&str], &str); 8] = [
        (&["/mandate"], "key_binding"),
        (&["/key_binding_jwt"], "key_binding"),
        (&["/mandate", "/key_binding_jwt"], "mandate_terms"),
        (&["/mandate", "/key_binding_jwt", "/merchant_nonce", "/offers"], "mandate_terms"),
        (&["/merchant_nonce"], "key_binding_nonce"),
        (&["/receipt_jws"], "receipt"),
        (&["/receipt_jws", "/intent/settlement"], "receipt"),
        (&["/intent/idempotency_key"], "receipt"),
    ];
    for (pointers, check) in rows {
        let swapped = pointers
            .iter()
            .fold(file.clone(), |file, pointer| with(file, pointer, other.pointer(pointer).unwrap().clone()));
        let swapped = forge_artefacts(swapped);
        for keys in [&[][..], &keys] {
            let output = verify(&swapped, keys);
            assert!(failing(&output).iter().any(|name| name == check), "{pointers:?}: {:?}", failing(&output));
            assert_eq!(output.status.code(), Some(1), "{pointers:?}");
        }
    }
}

#[tokio::test]
async fn a_file_of_another_payment_is_not_about_the_one_that_is_asked_about() {
    let (world, id) = paid().await;
    let mut server = world.server().await;
    let again = with(world.socks(), "/purchase_ref", json!("another pair"));
    let answer = server.call("agent_payment_initiate", again).await;
    let other = answer.output().clone();
    server.end().await;
    let (issuer, merchant) = key_sets(&world).await;
    let file = evidence(&world, &id);
    for name in ["mandate_id", "payment_intent_id"] {
        let of = |id: &Value| {
            let keys = ["--as-jwks", issuer.as_str(), "--merchant-jwks", &merchant, "--payment", id.as_str().unwrap()];
            failing(&verify(&file, &keys))
        };
        assert_eq!(of(&json_of(&run(&world, &["receipt", &id, "--json"]))["payment"][name]), Vec::<String>::new());
        assert_eq!(of(&other[name]), ["payment"], "{name}");
    }
}

#[tokio::test]
async fn keys_that_the_operator_pinned_prove_a_payment() {
    let (world, id) = paid().await;
    let (issuer, merchant) = key_sets(&world).await;
    let config = written(
        &world,
        "pinned.toml",
        format!(
            "[trusted_keys]\n\"{}\" = \"{issuer}\"\n\"{}/\" = \"{merchant}\"\n",
            world.sandbox.as_origin(),
            world.alpacanica().origin
        )
        .as_bytes(),
    );
    let file = evidence(&world, &id);
    let output = verify(&file, &["--config", &config]);
    assert_eq!((output.status.code(), &json_of(&output)["verdict"]), (Some(0), &json!("proven")));
    let text = stdout(&run(&world, &["receipt", &id, "--config", &config]));
    assert!(text.starts_with("paid 12.99 EUR to ") && text.contains("Proven, under the keys"), "{text}");
    // Given ones go before them.
    assert_eq!(failing(&verify(&file, &["--config", &config, "--as-jwks", &merchant])), ["issuer_key"]);
    std::fs::remove_file(&issuer).unwrap();
    let missing = verify(&file, &["--config", &config]);
    assert!(
        missing.status.code() == Some(1) && String::from_utf8_lossy(&missing.stderr).contains(&issuer),
        "{missing:?}"
    );
}

/// What changes meanwhile is in a file whole or not at all.
#[tokio::test]
async fn an_export_is_of_one_moment_while_the_ledger_changes() {
    let (world, id) = paid().await;
    let (ledger, about) = (world.ledger(), id.parse().unwrap());
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_done = Arc::clone(&done);
    let writer = std::thread::spawn(move || {
        let mut count = 0;
        while !is_done.load(std::sync::atomic::Ordering::SeqCst) {
            ledger.attach(&about, spend_guard::Artefact::Attachment, &format!("note {count}")).unwrap();
            count += 1;
            // Each note makes the next export larger, and there is a limit to what is read again.
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    });
    for _ in 0..20 {
        assert_eq!(failing(&verify(&evidence(&world, &id), &[])), Vec::<String>::new());
    }
    done.store(true, std::sync::atomic::Ordering::SeqCst);
    writer.join().unwrap();
}

#[tokio::test]
async fn every_member_that_is_changed_is_named() {
    let (world, id) = paid().await;
    let file = evidence(&world, &id);
    for name in file.as_object().unwrap().keys().filter(|name| !["manifest", "format"].contains(&name.as_str())) {
        let changed = match &file[name] {
            Value::Number(number) => json!(number.as_i64().unwrap() + 1),
            Value::String(text) => json!(format!("{text}A")),
            Value::Null => json!({"entries": [], "has_more": false}),
            Value::Array(items) if name == "attachments" => {
                assert!(items.is_empty());
                json!(["added"])
            }
            Value::Array(_) => json!([]),
            Value::Object(_) if name == "intent" => with(file[name].clone(), "/amount_minor", json!(1)),
            Value::Object(_) if name == "ledger" => with(file[name].clone(), "/entries", json!([])),
            Value::Object(_) if name == "access_token_claims" => with(file[name].clone(), "/jti", json!("other")),
            Value::Object(_) => with(file[name].clone(), "/verified_at", json!(0)),
            Value::Bool(_) => panic!("{name}"),
        };
        let output = verify(&with(file.clone(), &format!("/{name}"), changed), &[]);
        assert!(!output.status.success(), "{name}");
        assert_eq!(failing(&output)[0], "manifest", "{name}");
        let detail = json_of(&output)["checks"][0]["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(&format!("`{name}`")), "{name}: {detail}");
    }
    for (broken, why) in [
        (with(file.clone(), "/format", json!("oid4pay-evidence-2")), "its format is not"),
        (with(file.clone(), "/surprise", json!(1)), "surprise"),
        (with(file.clone(), "/mandate", Value::Null), "mandate"),
        (json!([]), "not an evidence file"),
    ] {
        let output = verify(&broken, &[]);
        assert!(!output.status.success());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(why), "{said}");
    }
    // A part that the types do not know would be seen by no other check.
    let hidden = forge(with(file, "/intent/hidden", json!("x")));
    assert_eq!(failing(&verify(&hidden, &[])), ["manifest"]);
}

/// An octet anywhere in the file, changed: an answer in words, and never that it holds.
#[tokio::test]
async fn no_octet_of_a_file_can_be_changed_unseen() {
    let (world, id) = paid().await;
    let file = evidence(&world, &id).to_string().into_bytes();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("evidence.json");
    for round in 0..150 {
        let mut changed = file.clone();
        let at = (round * file.len() / 150 + round) % file.len();
        changed[at] = match round % 3 {
            0 => changed[at] ^ 1,
            1 => changed[at] ^ 0x80,
            _ if changed[at] == b'"' => b'x',
            _ => b'"',
        };
        std::fs::write(&path, &changed).unwrap();
        let output = Command::new(BINARY).arg("verify-evidence").arg(&path).env_clear().output().unwrap();
        assert_eq!(output.status.code(), Some(1), "octet {at}: {output:?}");
    }
    for cut in [0, 1, file.len() / 2, file.len() - 1] {
        std::fs::write(&path, &file[..cut]).unwrap();
        let output = Command::new(BINARY).arg("verify-evidence").arg(&path).env_clear().output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
    }
}

/// Each artefact changed by somebody who makes the checksums fit: what was signed or chained still tells.
#[tokio::test]
async fn a_forger_is_caught_at_the_artefact_that_was_changed() {
    let (world, id) = paid().await;
    let file = evidence(&world, &id);
    let body: Value =
        serde_json::from_slice(&base64url::decode(file["offers"][0]["body"].as_str().unwrap()).unwrap()).unwrap();
    let cheaper = base64url::encode(with(body, "/amount_minor", json!(1)).to_string().as_bytes());
    let other_key = json!("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    let fields = file["offers"][0]["fields"].as_array().unwrap();
    let field = |name: &str| fields.iter().position(|field| field[0] == name).unwrap();
    let input = fields[field("signature-input")][1].as_str().unwrap().replace("ed25519", "hmac-sha256");
    let longer = fields[field("signature-input")][1].as_str().unwrap().replace(";expires=", ";expires=1");
    let spoilt = |pointer: &str| {
        let text = file.pointer(pointer).unwrap().as_str().unwrap();
        let middle = text.len() / 2;
        let other = if text.as_bytes()[middle] == b'A' { "B" } else { "A" };
        json!(format!("{}{other}{}", &text[..middle], &text[middle + 1..]))
    };
    let pointer = |name: &str| format!("/offers/0/fields/{}/1", field(name));
    let rows = [
        ("/offers/0/body".to_owned(), json!(cheaper), "offer"),
        ("/offers/0/url".to_owned(), json!(format!("{}/other", world.alpacanica().origin)), "offer"),
        ("/offers/0/url".to_owned(), json!("https://evil.example/oid4ac/offer/x"), "offer"),
        ("/offers/0/jwk/x".to_owned(), other_key.clone(), "offer"),
        ("/offers/0/verified_at".to_owned(), json!(4_000_000_000_u64), "offer"),
        (pointer("signature-input"), json!(input), "offer"),
        (pointer("signature-input"), json!(longer), "offer"),
        (pointer("signature"), json!("sig1=:AAAA:"), "offer"),
        (pointer("content-digest"), json!("sha-256=:AAAA:"), "offer"),
        ("/offers/0".to_owned(), Value::Null, "offer"),
        ("/intent/amount_minor".to_owned(), json!(1298), "offer_price"),
        ("/intent/currency".to_owned(), json!("USD"), "mandate_terms"),
        ("/intent/merchant".to_owned(), json!("https://evil.example"), "mandate_terms"),
        ("/intent/issuer".to_owned(), json!("https://evil.example"), "mandate"),
        ("/intent/line_items/0/qty".to_owned(), json!(2), "mandate_terms"),
        ("/intent/line_items/0/sku".to_owned(), json!("trail-mug-enamel"), "mandate_terms"),
        ("/intent/idempotency_key".to_owned(), json!("another key of enough length"), "receipt"),
        ("/intent/settlement/payment_intent_id".to_owned(), json!("pi_other"), "receipt"),
        ("/intent/settlement/settled_at".to_owned(), json!("2020-01-01T00:00:00Z"), "receipt"),
        ("/intent/created_at".to_owned(), json!(1), "ledger_intent"),
        ("/access_token_claims/sub".to_owned(), json!("somebody else"), "access_token_claims"),
        ("/access_token_claims/iss".to_owned(), json!("https://evil.example"), "access_token_claims"),
        ("/access_token_claims/aud".to_owned(), json!("https://evil.example"), "access_token_claims"),
        ("/access_token_claims/mandate_id".to_owned(), json!("other"), "access_token_claims"),
        ("/access_token_claims/cnf/jkt".to_owned(), json!("other"), "access_token_claims"),
        ("/access_token_claims/scope".to_owned(), json!("everything"), "ledger_artefacts"),
        ("/issuer_key/jwk/x".to_owned(), other_key.clone(), "mandate"),
        ("/issuer_key/verified_at".to_owned(), json!(1), "ledger_artefacts"),
        ("/issuer_key".to_owned(), Value::Null, "mandate"),
        ("/mandate".to_owned(), spoilt("/mandate"), "mandate"),
        ("/key_binding_jwt".to_owned(), spoilt("/key_binding_jwt"), "key_binding"),
        ("/merchant_nonce".to_owned(), json!("AAAAAAAAAAAAAAAAAAAAAA"), "key_binding_nonce"),
        ("/merchant_nonce".to_owned(), Value::Null, "ledger_artefacts"),
        ("/receipt_jws".to_owned(), spoilt("/receipt_jws"), "receipt"),
        ("/receipt_jws".to_owned(), Value::Null, "ledger_artefacts"),
        ("/receipt_key/jwk/x".to_owned(), other_key, "receipt"),
        ("/receipt_key/verified_at".to_owned(), json!(1), "ledger_artefacts"),
        ("/attachments".to_owned(), json!(["{}"]), "ledger_artefacts"),
        ("/ledger/entries/0/entry/at".to_owned(), json!(1), "ledger_entries"),
        ("/ledger/entries/0/entry_hash".to_owned(), json!("other"), "ledger_entries"),
        ("/ledger/entries".to_owned(), json!([]), "ledger_entries"),
        ("/ledger/head/seq".to_owned(), json!(1), "ledger_entries"),
        ("/ledger/head/entry_hash".to_owned(), json!("other"), "ledger_entries"),
        ("/audit".to_owned(), json!({"entries": [], "has_more": false}), "audit"),
    ];
    for (pointer, value, check) in rows {
        let mut changed = file.clone();
        *changed.pointer_mut(&pointer).unwrap_or_else(|| panic!("{pointer}")) = value;
        let output = verify(&forge(changed), &[]);
        assert!(failing(&output).iter().any(|name| name == check), "{pointer}: {:?}", failing(&output));
    }
    // Entries of the ledger that were left out or exchanged.
    let mut entries = file["ledger"]["entries"].as_array().unwrap().clone();
    entries.swap(0, 1);
    let swapped = forge(with(file.clone(), "/ledger/entries", json!(entries)));
    assert_eq!(failing(&verify(&swapped, &[])), ["ledger_entries"]);
    assert_eq!(failing(&verify(&forge(file), &[])), Vec::<String>::new());
}

async fn fetch(world: &World, url: &str) -> Bytes {
    let http = ReqwestClient::for_issuer(&Origin::of(world.sandbox.as_origin()).unwrap(), []);
    let endpoint = Endpoint::parse(url).unwrap();
    http.send(&endpoint, http::Request::new(Bytes::new()), Limits::ANSWER).await.unwrap().into_body()
}

fn written(world: &World, name: &str, text: &[u8]) -> String {
    let path = world.home.path().join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Files with the key sets of authorization server and merchant, from themselves.
async fn key_sets(world: &World) -> (String, String) {
    let issuer = fetch(world, &format!("{}/oauth/jwks.json", world.sandbox.as_origin())).await;
    let merchant = fetch(world, &format!("{}/.well-known/jwks.json", world.alpacanica().origin)).await;
    (written(world, "as", &issuer), written(world, "merchant", &merchant))
}

fn check_of(output: &Output, name: &str) -> Value {
    let told = json_of(output);
    let check = told["checks"].as_array().unwrap().iter().find(|check| check["name"] == name);
    check.unwrap_or_else(|| panic!("no {name}: {told:#}")).clone()
}

#[tokio::test]
async fn a_receipt_that_was_not_verified_when_it_came_is_verified_by_the_merchants_given_keys() {
    let (world, id) = paid().await;
    let (issuer, merchant) = key_sets(&world).await;
    let mut file = evidence(&world, &id);
    file["receipt_key"] = Value::Null;
    let file = forge_ledger(file, &["receipt_key"]);
    assert_eq!(check_of(&verify(&file, &[]), "receipt")["result"], "unproven");
    let output = verify(&file, &["--merchant-jwks", &merchant]);
    assert_eq!(failing(&output), Vec::<String>::new());
    assert_eq!(check_of(&output, "receipt")["result"], "holds");
    assert_eq!(json_of(&output)["signed"]["paid_minor"], 1299);
    let output = verify(&file, &["--as-jwks", &issuer, "--merchant-jwks", &merchant]);
    assert_eq!((output.status.code(), &json_of(&output)["proven"]["paid_minor"]), (Some(0), &json!(1299)));
    assert_eq!(failing(&verify(&file, &["--merchant-jwks", &issuer])), ["merchant_key", "receipt"]);

    let receipt = file["receipt_jws"].as_str().unwrap();
    let (signed, signature) = receipt.rsplit_once('.').unwrap();
    let other = base64url::encode(&[7; 64][..base64url::decode(signature).unwrap().len()]);
    let forged = with(file.clone(), "/receipt_jws", json!(format!("{signed}.{other}")));
    let forged = forge_ledger(forged, &["receipt"]);
    let output = verify(&forged, &["--merchant-jwks", &merchant]);
    assert!(failing(&output).contains(&"receipt".to_owned()), "{:?}", failing(&output));
}

#[tokio::test]
async fn a_line_without_a_signed_offer_leaves_the_price_unproven() {
    let (world, id) = paid().await;
    let mut file = evidence(&world, &id);
    // A second line that nobody signed, with a price that makes the amount.
    let line = json!({"sku": "invented", "qty": 1, "unit_price_minor": 1});
    file["intent"]["line_items"].as_array_mut().unwrap().push(line);
    file["intent"]["amount_minor"] = json!(1300);
    file["offers"].as_array_mut().unwrap().push(Value::Null);
    let output = verify(&forge_ledger(file, &["offers"]), &[]);
    assert_eq!(check_of(&output, "offer_price")["result"], "unproven");
    let told = json_of(&output);
    let offers: Vec<_> = told["checks"].as_array().unwrap().iter().filter(|check| check["name"] == "offer").collect();
    assert_eq!((&offers[0]["result"], &offers[1]["result"]), (&json!("holds"), &json!("unproven")), "{told:#}");
    assert_eq!(offers[1]["detail"], "no signed offer for invented: its price is the payer's word");
}

#[tokio::test]
async fn keys_from_a_source_of_ones_own_make_the_proof_whole() {
    let (world, id) = paid().await;
    let file = evidence(&world, &id);
    let (issuer, merchant) = key_sets(&world).await;
    let output = verify(&file, &["--as-jwks", &issuer, "--merchant-jwks", &merchant]);
    assert_eq!(failing(&output), Vec::<String>::new());
    let told = json_of(&output);
    assert_eq!((&told["checks"][1]["name"], &told["checks"][1]["result"]), (&json!("issuer_key"), &json!("holds")));
    assert_eq!((&told["checks"][2]["name"], &told["checks"][2]["result"]), (&json!("merchant_key"), &json!("holds")));
    assert_eq!(failing(&verify(&file, &["--as-jwks", &merchant])), ["issuer_key"]);
    assert_eq!(failing(&verify(&file, &["--merchant-jwks", &issuer])), ["merchant_key"]);
    let nothing = written(&world, "nothing", b"{\"keys\": []}");
    let output = verify(&file, &["--as-jwks", &nothing]);
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("no key that can be used"));
}

/// The newest page of a principal's audit chain, as the server writes it.
async fn audit_page(world: &World, principal: usize) -> Bytes {
    let token = world.sandbox.principal_token(&world.sandbox.principals()[principal].id, "audit:read").unwrap();
    let http = ReqwestClient::for_issuer(&Origin::of(world.sandbox.as_origin()).unwrap(), []);
    let endpoint = Endpoint::parse(&format!("{}/audit/principal/range", world.sandbox.as_origin())).unwrap();
    let request = http::Request::builder().header("authorization", format!("Bearer {token}"));
    let answer = http.send(&endpoint, request.body(Bytes::new()).unwrap(), Limits::ANSWER).await.unwrap();
    assert!(answer.status().is_success(), "{answer:?}");
    answer.into_body()
}

/// Exports the evidence with `page` as the audit entries.
fn export_with(world: &World, id: &str, page: &[u8]) -> Output {
    let path = written(world, "audit.json", page);
    run(world, &["export", "--evidence", id, "--audit", &path])
}

#[tokio::test]
async fn audit_entries_are_taken_along_and_checked() {
    let (world, id) = paid().await;
    let file: Value = serde_json::from_str(&stdout(&export_with(&world, &id, &audit_page(&world, 0).await))).unwrap();
    let (issuer, merchant) = key_sets(&world).await;
    let output = verify(&file, &["--as-jwks", &issuer]);
    assert_eq!(failing(&output), Vec::<String>::new());
    assert_eq!(check_of(&output, "audit")["result"], "holds", "{}", check_of(&output, "audit"));
    // Hashes alone have no key.
    let audit = check_of(&verify(&file, &[]), "audit");
    assert_eq!((&audit["result"], failing(&verify(&file, &[]))), (&json!("recorded"), Vec::new()), "{audit}");
    for (pointer, value) in [
        ("/audit/entries/0/payload", json!({})),
        ("/audit/entries/0/ts", json!("2020-01-01T00:00:00Z")),
        ("/audit/entries/0/prev_hash", json!(base64url::encode(&[0; 32]))),
        ("/audit/entries/0/entry_hash", json!(base64url::encode(&[7; 32]))),
    ] {
        assert_eq!(failing(&verify(&forge(with(file.clone(), pointer, value)), &[])), ["audit"], "{pointer}");
    }
    assert!(failing(&verify(&file, &["--as-jwks", &merchant])).contains(&"audit".to_owned()));
}

#[tokio::test]
async fn invented_audit_entries_are_not_the_servers() {
    let (world, id) = paid().await;
    let file: Value = serde_json::from_str(&stdout(&export_with(&world, &id, &audit_page(&world, 0).await))).unwrap();
    let (issuer, _) = key_sets(&world).await;
    let mut entries = file["audit"]["entries"].as_array().unwrap().clone();
    let head = file["audit"]["chain_head"].clone();
    let mut prev_hash = entries.last().unwrap()["prev_hash"].clone();
    for entry in entries.iter_mut().rev() {
        entry["actor"] = json!({"principal_id": "invented"});
        entry["prev_hash"] = prev_hash;
        entry.as_object_mut().unwrap().remove("entry_hash");
        prev_hash = json!(base64url::encode(&sha256(&serde_json_canonicalizer::to_vec(&entry).unwrap())));
        entry["entry_hash"] = prev_hash.clone();
    }
    let result = |audit: Value, more: &[&str]| {
        check_of(&verify(&forge(with(file.clone(), "/audit", audit)), more), "audit")["result"].clone()
    };
    let keys = ["--as-jwks", issuer.as_str()];
    let page = |head: Value| json!({"entries": entries, "has_more": false, "chain_head": head});
    assert_eq!(result(json!({"entries": entries, "has_more": false}), &keys), "recorded");
    assert_eq!(result(page(Value::Null), &keys), "recorded");
    assert_eq!(result(page(head.clone()), &[]), "recorded");
    assert_eq!(result(page(head.clone()), &keys), "fails");
    // Signed by the server for something else: its tokens, say.
    assert_eq!(result(page(json!(file["mandate"].as_str().unwrap().split('~').next())), &keys), "fails");
    assert_eq!(result(page(json!("nonsense")), &keys), "fails");
    // The genuine head names no entry here, or leads to the mandate's entry over a gap.
    for entry in &mut entries {
        entry["seq"] = json!(entry["seq"].as_u64().unwrap() + 100);
        entry.as_object_mut().unwrap().remove("entry_hash");
    }
    let newest = entries[0].clone();
    let rehashed = |mut entry: Value| {
        entry["entry_hash"] = json!(base64url::encode(&sha256(&serde_json_canonicalizer::to_vec(&entry).unwrap())));
        entry
    };
    let apart = json!({"entries": [rehashed(newest)], "has_more": true, "chain_head": head});
    assert_eq!(result(apart, &keys), "recorded");
}

#[tokio::test]
async fn audit_entries_that_would_fail_are_refused_at_the_export() {
    let (world, id) = paid().await;
    let genuine: Value = serde_json::from_slice(&audit_page(&world, 0).await).unwrap();
    let others: Value = serde_json::from_slice(&audit_page(&world, 1).await).unwrap();
    for (page, why) in [
        (json!([]), "--audit"),
        (json!({}), "`entries` is missing or malformed"),
        // What the tool answers, which is not what the server wrote.
        (json!({"entries": [{"seq": 1, "ts": "x", "event": "x"}], "has_more": false, "chain": {}}), "`entries`"),
        (with(genuine.clone(), "/entries/0/ts", json!("2020-01-01T00:00:00Z")), "an entry was changed"),
        (json!({"entries": [], "has_more": false}), "no entry is about this mandate"),
        (others, "no entry is about this mandate"),
    ] {
        let output = export_with(&world, &id, page.to_string().as_bytes());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && said.contains(why) && output.stdout.is_empty(), "{why}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn audit_entries_are_fetched_with_the_wallet_session() {
    let (world, id) = paid().await;
    let as_origin = world.sandbox.as_origin();
    let output = run(&world, &["export", "--evidence", &id, "--fetch-audit", "--as-origin", as_origin]);
    let file: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(file["audit"]["entries"].as_array().unwrap().len(), 2, "the mandate and the payment");
    let (issuer, _) = key_sets(&world).await;
    let audit = check_of(&verify(&file, &["--as-jwks", &issuer]), "audit");
    assert_eq!(audit["result"], "holds", "{audit}");
}

#[tokio::test]
async fn evidence_is_written_for_its_owner_alone_and_over_nothing() {
    let (world, id) = paid().await;
    let path = world.home.path().join("evidence.json");
    let arguments = ["export", "--evidence", &id, "--output", path.to_str().unwrap()];
    assert!(stdout(&run(&world, &arguments)).is_empty());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let output = verify(&serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap(), &[]);
    assert_eq!(failing(&output), Vec::<String>::new());
    let again = run(&world, &arguments);
    let said = String::from_utf8_lossy(&again.stderr);
    assert!(
        !again.status.success() && said.contains("evidence.json exists and is left as it is: give another"),
        "{said}"
    );
    assert_eq!(
        std::fs::read_dir(world.home.path()).unwrap().filter(|e| e.as_ref().unwrap().path().is_file()).count(),
        1
    );
    let unknown = run(&world, &["export", "--evidence", "0198c6d5-b1f7-7a8e-8b1e-c3b1b1a4d5c6"]);
    assert!(!unknown.status.success() && String::from_utf8_lossy(&unknown.stderr).contains("no intent"));
    let nonsense = run(&world, &["export", "--evidence", "../../etc/passwd"]);
    assert_eq!(nonsense.status.code(), Some(2));
}

#[tokio::test]
async fn a_purchase_that_was_never_presented_has_no_evidence() {
    let world = World::new().await;
    let mut server = world.registered().await;
    let wrong_price = with(world.socks(), "/amount/amount_minor", json!(1));
    let refused = server.call("agent_payment_initiate", wrong_price).await;
    let id = refused.error()["context"]["intent_id"].as_str().unwrap().to_owned();
    server.end().await;
    for arguments in [["receipt", &id].as_slice(), &["export", "--evidence", &id]] {
        let output = run(&world, arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && said.contains("there is no payment to prove"), "{said}");
    }
}

#[tokio::test]
async fn history_lists_filters_and_proves_the_ledger() {
    let (world, id) = paid().await;
    let text = stdout(&run(&world, &["history"]));
    assert!(text.contains(&id) && text.contains("12.99 EUR") && text.contains("settled"), "{text}");
    assert!(text.starts_with("begun ") && text.contains("1 x alpaca-sock-blue-43"), "{text}");
    let told = json_of(&run(&world, &["history", "--json"]));
    assert_eq!(told["intents"][0]["intent_id"], id);
    assert_eq!(
        (&told["intents"][0]["amount"], &told["intents"][0]["receipt_status"]),
        (&json!("12.99"), &json!("verified"))
    );
    assert!(text.contains(told["intents"][0]["payment_intent_id"].as_str().unwrap()), "{text}");
    for none in [
        ["--state", "failed"],
        ["--currency", "USD"],
        ["--merchant", "https://other.example"],
        ["--agent", "x"],
        ["--since", "2200-01-01T00:00:00Z"],
        ["--until", "2001-01-01T00:00:00Z"],
    ] {
        assert_eq!(stdout(&run(&world, &["history", none[0], none[1]])), "nothing\n", "{none:?}");
    }
    assert_eq!(stdout(&run(&world, &["history", "--before", &id])), "nothing\n");
    let origin = &world.alpacanica().origin;
    for spelling in [format!("{origin}/"), origin.to_uppercase(), format!(" {origin} ")] {
        assert!(stdout(&run(&world, &["history", "--merchant", &spelling])).contains(&id), "{spelling}");
    }
    assert_eq!(run(&world, &["history", "--merchant", "shop.example"]).status.code(), Some(2));
    for wrong in
        [["--state", "paid"], ["--currency", "ABC"], ["--since", "yesterday"], ["--limit", "0"], ["--before", "1"]]
    {
        assert_eq!(run(&world, &["history", wrong[0], wrong[1]]).status.code(), Some(2), "{wrong:?}");
    }

    let whole = stdout(&run(&world, &["history", "--verify"]));
    assert!(whole.starts_with("The ledger is whole: ") && whole.contains("1 intents"), "{whole}");
    let proof = json_of(&run(&world, &["history", "--verify", "--json"]));
    let (seq, hash) = (&proof["proof"]["head"]["seq"], proof["proof"]["head"]["entry_hash"].as_str().unwrap());
    assert!(whole.contains(&format!("Head {seq}:{hash}.")), "{whole}");
    let kept = format!("{seq}:{hash}");
    assert!(
        stdout(&run(&world, &["history", "--verify", "--kept-head", &kept])).contains("leads through the kept head")
    );
    let other = format!("{seq}:{}", base64url::encode(&[7; 32]));
    let cut = run(&world, &["history", "--verify", "--kept-head", &other]);
    assert!(cut.status.code() == Some(1) && String::from_utf8_lossy(&cut.stdout).contains("NOT whole"), "{cut:?}");

    // One octet of one row.
    let file = world.data_dir().join("ledger.sqlite3");
    let mut octets = std::fs::read(&file).unwrap();
    let settled = b"\"state\":\"settled\"";
    let at = octets.windows(settled.len()).position(|window| window == settled).expect("the row is in the file");
    octets[at + 11] ^= 1;
    std::fs::write(&file, octets).unwrap();
    let changed = run(&world, &["history", "--verify"]);
    assert!(!changed.status.success(), "{changed:?}");
}

#[tokio::test]
async fn a_receipt_is_verified_when_it_is_looked_at() {
    let (world, id) = paid().await;
    let text = stdout(&run(&world, &["receipt", &id]));
    assert!(text.starts_with("not proven to be paid: 12.99 EUR to http://127.0.0.1:"), "{text}");
    assert!(text.contains("\nrecorded as settled\n") && text.contains("holds     receipt"), "{text}");
    assert!(text.contains("recorded  approval") && text.contains("Unproven: nothing is wrong with it"), "{text}");
    let told = json_of(&run(&world, &["receipt", &id, "--json"]));
    assert_eq!(told["holds"], true);
    for name in ["mandate_id", "payment_intent_id"] {
        let named = told["payment"][name].as_str().unwrap();
        assert_eq!(json_of(&run(&world, &["receipt", named, "--json"]))["payment"], told["payment"], "{name}");
    }
    let unknown = run(&world, &["receipt", "pi_unknown"]);
    let said = String::from_utf8_lossy(&unknown.stderr);
    assert!(unknown.status.code() == Some(1) && said.contains("has the id \"pi_unknown\""), "{said}");
}

#[tokio::test]
async fn a_reader_that_has_had_enough_is_no_error_to_tell() {
    let (world, id) = paid().await;
    for arguments in [["history"].as_slice(), &["receipt", &id], &["export", "--evidence", &id]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(BINARY);
        command.args(arguments).arg("--data-dir").arg(world.data_dir()).stdout(writer).env_clear();
        let output = command.env("HOME", world.home.path()).output().unwrap();
        assert_eq!(
            (output.status.code(), String::from_utf8_lossy(&output.stderr)),
            (Some(141), "".into()),
            "{arguments:?}"
        );
    }
}

#[tokio::test]
async fn exports_are_exact_and_no_cell_is_a_formula() {
    let (world, id) = paid().await;
    let mut server = world.server().await;
    let hostile = "=HYPERLINK(\"http://evil.example\")";
    let formula = with(world.socks(), "/purchase_ref", json!(hostile));
    server.call("agent_payment_initiate", formula).await.output();
    let ansi = with(world.socks(), "/purchase_ref", json!("\u{1b}[31m@red\u{202e}"));
    server.call("agent_payment_initiate", ansi).await.output();
    server.end().await;

    let csv = stdout(&run(&world, &["export", "--format", "csv"]));
    let records: Vec<_> = csv.split_terminator("\r\n").collect();
    assert_eq!(records.len(), 4, "{csv}");
    assert!(
        records[0]
            .starts_with("\"intent_id\",\"state\",\"created_at\",\"settled_at\",\"merchant\",\"amount\",\"currency\",")
    );
    assert!(records[3].starts_with(&format!("\"{id}\",\"settled\",")), "{csv}");
    assert!(records[3].contains(",\"12.99\",\"EUR\",\"1299\",\"1 x alpaca-sock-blue-43\","), "{csv}");
    assert!(csv.contains("\"'=HYPERLINK(\"\"http://evil.example\"\")\""), "{csv}");
    assert!(!csv.contains('\u{1b}') && !csv.contains('\u{202e}') && csv.contains("[31m@red"), "{csv}");

    let told = json_of(&run(&world, &["export", "--format", "json"]));
    assert_eq!(told.as_array().unwrap().len(), 3);
    assert_eq!((&told[2]["amount"], &told[2]["amount_minor"]), (&json!("12.99"), &json!(1299)));
    assert_eq!(told[1]["purchase_ref"], hostile);
    let none = json_of(&run(&world, &["export", "--format", "json", "--state", "failed"]));
    assert_eq!(none, json!([]));
    assert_eq!(run(&world, &["export"]).status.code(), Some(2));
    assert_eq!(run(&world, &["export", "--format", "xlsx"]).status.code(), Some(2));
    // What is shown on a terminal has no escape in it either.
    assert!(!stdout(&run(&world, &["history"])).contains('\u{1b}'));
}

#[tokio::test]
async fn no_secret_and_no_hidden_claim_is_in_an_export() {
    let tokens = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&tokens);
    let (world, id) = paid_in(SandboxConfig::new().changing_answers(move |_, answer| {
        let body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
        let text = |name: &str| body[name].as_str().map(str::to_owned);
        let found = ["access_token", "refresh_token", "request_uri"].into_iter().filter_map(text);
        // Every JWS begins alike: its signature is what makes it a token.
        seen.lock().unwrap().extend(found.map(|token| token.rsplit('.').next().unwrap().to_owned()));
        answer
    }))
    .await;
    let mut exports = String::new();
    for arguments in [
        ["export", "--evidence", &id].as_slice(),
        &["export", "--format", "json"],
        &["export", "--format", "csv"],
        &["history", "--json"],
        &["history", "--verify", "--json"],
        &["receipt", &id, "--json"],
    ] {
        exports.push_str(&stdout(&run(&world, arguments)));
    }
    let read = |name: &str| std::fs::read_to_string(world.data_dir().join(name)).unwrap();
    let keys: Value = serde_json::from_str(&read("keys.json")).unwrap();
    let mut secrets =
        vec![keys["dpop"]["d"].as_str().unwrap().to_owned(), keys["private_key_jwt"]["d"].as_str().unwrap().to_owned()];
    let tokens = std::mem::take(&mut *tokens.lock().unwrap());
    assert!(tokens.len() >= 3, "no token was seen");
    secrets.extend(tokens);
    // Disclosures of the mandate that the merchant was not shown.
    let held = ledger_artefact(&world.data_dir(), &id);
    let hidden: Vec<_> = held.split('~').skip(1).filter(|part| !part.is_empty()).map(str::to_owned).collect();
    assert!(!hidden.is_empty(), "the mandate has nothing to hide");
    secrets.extend(hidden);
    for secret in secrets {
        assert!(secret.len() >= 16 && !exports.contains(&secret), "{secret} is in an export");
    }
}

fn ledger_artefact(data_dir: &Path, id: &str) -> String {
    let ledger = spend_guard::Ledger::new(data_dir, Arc::new(oid4ac_client::SystemClock));
    ledger.artefact(&id.parse().unwrap(), spend_guard::Artefact::Mandate).unwrap().unwrap()
}
