//! The demonstration: as a command, and against parties that lie.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod support;

use std::path::Path;

use bytes::Bytes;
use http::Response;
use oid4pay_mcp::demo::{Story, tell};
use sandbox::{LoggedRequest, SandboxConfig};
use serde_json::Value;
use support::BINARY;
use tempfile::TempDir;

#[tokio::test]
async fn prints_one_document_with_ten_verified_signatures() {
    let (home, config) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    // What the user has set is none of the demonstration's business, not even if it cannot be read.
    for file in ["config.toml", "policy.toml"] {
        std::fs::create_dir_all(config.path().join("oid4pay-mcp")).unwrap();
        std::fs::write(config.path().join("oid4pay-mcp").join(file), "nonsense = [").unwrap();
    }
    let output = tokio::process::Command::new(BINARY)
        .args(["demo", "--json"])
        .env_clear()
        .env("HOME", home.path())
        .env("TMPDIR", home.path())
        .env("OID4PAY_AS_ORIGIN", "https://as.example")
        .env("OID4PAY_DPOP_PRIVATE_JWK", "nonsense")
        .env("XDG_DATA_HOME", "/nonexistent")
        .env("XDG_CONFIG_HOME", config.path())
        .env("OID4PAY_MAX_PER_TX", "nonsense")
        .output()
        .await
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{stdout} {}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(stdout.trim_end().lines().count(), 1);
    let document: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(document["ok"], true);
    let payments = document["payments"].as_array().unwrap();
    assert_eq!(payments.len(), 2);
    assert_ne!(payments[0]["merchant"], payments[1]["merchant"]);
    for payment in payments {
        for artefact in ["offer", "access_token", "mandate", "key_binding", "receipt"] {
            assert_eq!(payment["signatures"][artefact], "verified", "{artefact}");
        }
        assert_eq!(payment["output"]["status"], "settled");
    }
    let steps = document["steps"].as_array().unwrap();
    assert!(steps.iter().all(|step| step["name"].is_string() && step["ms"].is_u64() && step["ok"] == true), "{stdout}");
    assert!(document["requests"].as_u64().unwrap() >= 10);
    let step = |words: &str| {
        let found = steps.iter().find(|step| step["name"].as_str().unwrap().contains(words));
        &found.unwrap_or_else(|| panic!("no step says {words:?}"))["output"]
    };
    assert_eq!(step("Find merchants")["total"], 2);
    assert_eq!(step("signed catalog")["audience"], step("Find merchants")["merchants"][0]["audience"]);
    assert_eq!(step("asks for the same again")["replayed"], true);
    assert_eq!(step("asks for the same again")["payment_intent_id"], payments[0]["output"]["payment_intent_id"]);
    assert_eq!(step("the policy says no")["code"], "per_transaction_exceeded");
    assert_eq!(step("the human is asked")["status"], "settled");
    assert_eq!(step("Buy the cheapest")["chosen"]["sku"], "pot-scraper-slate");
    let agents = step("List the person's agents")["agents"].as_array().unwrap();
    assert!(agents.len() == 2 && agents.iter().all(|agent| agent["status"] == "active"));
    assert_eq!(step("Revoke")["cascade"]["refresh_tokens_revoked"], 1);
    assert_eq!(
        (&step("audit chain")["chain"]["intact"], &step("audit chain")["chain"]["head"]),
        (&true.into(), &"verified".into())
    );
    assert_eq!(step("Look back")["total_count"], 4);
    assert!(document["sandbox"]["as_origin"].is_string());
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "it removes what it made");
}

#[tokio::test]
async fn tells_the_story_to_people_without_colour_in_a_pipe() {
    let home = TempDir::new().unwrap();
    let output =
        tokio::process::Command::new(BINARY).arg("demo").env_clear().env("TMPDIR", home.path()).output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && !text.contains('\u{1b}'), "{text}");
    assert_eq!(text.matches("verified by").count(), 10, "{text}");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

async fn told(change: impl Fn(&LoggedRequest, Response<Bytes>) -> Response<Bytes> + Send + Sync + 'static) -> Story {
    tell(SandboxConfig::new().changing_answers(change), Path::new(BINARY)).await.unwrap()
}

/// An answer with the JSON string `member` changed in its last character but one, which is a signature's.
fn spoil(answer: Response<Bytes>, member: &str) -> Response<Bytes> {
    answer.map(|body| {
        let Ok(mut object) = serde_json::from_slice::<Value>(&body) else { return body };
        let Some(text) = object[member].as_str() else { return body };
        let jws = text.split('~').next().unwrap();
        let at = jws.len() - 2;
        let other = if jws.as_bytes()[at] == b'A' { "B" } else { "A" };
        object[member] = format!("{}{other}{}", &text[..at], &text[at + 1..]).into();
        Bytes::from(object.to_string())
    })
}

/// One lie at a time; the artefact it is about, and no other, is reported as the one that does not hold.
#[tokio::test]
async fn names_the_one_signature_that_does_not_hold() {
    type Lie = fn(&LoggedRequest, Response<Bytes>) -> Response<Bytes>;
    let lies: [(&str, Lie); 5] = [
        ("offer", |request, answer| match request.path.starts_with("/oid4ac/offer/") {
            true => {
                answer.map(|body| Bytes::from(String::from_utf8_lossy(&body).replace("\"name\":\"", "\"name\":\"x")))
            }
            false => answer,
        }),
        ("access_token", |request, answer| match request.path.as_str() {
            "/oauth/token" => spoil(answer, "access_token"),
            _ => answer,
        }),
        ("mandate", |request, answer| match request.path.as_str() {
            "/oauth/token" => spoil(answer, "mandate_jwt"),
            _ => answer,
        }),
        ("key_binding", |request, answer| match (request.path.as_str(), answer.status().as_u16()) {
            ("/verify-mandate", 200) => Response::builder()
                .status(422)
                .header("content-type", "application/json")
                .body(Bytes::from_static(b"{\"error\":\"mandate_kb_audience_mismatch\"}"))
                .unwrap(),
            _ => answer,
        }),
        ("receipt", |request, answer| match request.path.as_str() {
            "/verify-mandate" => spoil(answer, "receipt_jws"),
            _ => answer,
        }),
    ];
    for (artefact, lie) in lies {
        let story = told(lie).await;
        assert!(!story.ok, "{artefact}");
        assert_eq!(story.error, None, "{artefact}");
        assert_eq!(story.payments.len(), 2);
        for payment in &story.payments {
            for (name, verdict) in payment.signatures.all() {
                match name == artefact {
                    true => assert!(verdict.starts_with("invalid: "), "{artefact}: {verdict}"),
                    false => assert!(!verdict.starts_with("invalid"), "{artefact}: {name} is {verdict}"),
                }
            }
        }
        assert!(story.to_text().contains("invalid: "));
    }
}

#[tokio::test]
async fn a_refused_registration_ends_the_story_and_says_why() {
    let story = told(|request, answer| match request.path.as_str() {
        "/oauth/register" => Response::builder()
            .status(400)
            .body(Bytes::from_static(b"{\"error\":\"invalid_client_metadata\"}"))
            .unwrap(),
        _ => answer,
    })
    .await;
    assert!(!story.ok && story.payments.is_empty());
    assert_eq!(story.error.as_deref(), Some("agent_register failed: invalid_client_metadata"));
}
