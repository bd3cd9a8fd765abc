//! The wallet, audit and privacy endpoints: a principal reads and ends what is theirs, and nothing of another's.

#![allow(clippy::unwrap_used, reason = "clippy takes only #[test] functions for tests")]

mod support;

use jose::UnverifiedJws;
use sandbox::{DisputeStatus, WalletError};
use serde_json::{Value, json};
use support::{Agent, Answer, SKU, World, call, form};

const AGENTS: &str = "/wallet/agents";
const AUDIT: &str = "/audit/principal/range";
const DSAR: &str = "/privacy/dsar";

fn refused(status: u16, error: &str) -> (u16, String) {
    (status, error.to_owned())
}

async fn pay(agent: &Agent<'_>) -> Value {
    let (offer, purchase, tokens) = agent.ready_to_pay(0, SKU).await;
    let answer = agent.present(&purchase, &tokens.mandate, &offer.nonce, &purchase.state).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    answer.json()
}

async fn with_bearer(world: &World, method: &str, path: &str, token: &str, body: Option<&Value>) -> Answer {
    call(method, &world.url(path), &[("authorization", &format!("Bearer {token}"))], body).await
}

fn seqs(answer: &Answer) -> Vec<u64> {
    answer.json()["entries"].as_array().unwrap().iter().map(|entry| entry["seq"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn metadata_names_the_three_endpoints_and_their_scopes() {
    let world = World::start().await;
    let metadata = support::get(&world.url("/.well-known/oauth-authorization-server")).await.json();
    let named = [("wallet_agents_endpoint", AGENTS), ("audit_endpoint", AUDIT), ("dsar_endpoint", DSAR)];
    for (name, path) in named {
        assert_eq!(metadata[name], world.url(path));
    }
    for scope in ["wallet:read", "wallet:write", "audit:read", "privacy:dsar"] {
        assert!(metadata["scopes_supported"].as_array().unwrap().contains(&json!(scope)));
    }
}

#[tokio::test]
async fn lists_the_principals_own_agents_and_no_others() {
    let world = World::start().await;
    let (mine, also_mine, foreign) = (world.agent().await, world.agent().await, world.agent_of(1).await);
    world.clock.advance(5);
    let token = mine.session("wallet:read").await.access_token;
    let answer = mine.call("GET", AGENTS, &token, None).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(answer.header("dpop-nonce").is_some());
    let list = answer.json()["agents"].as_array().unwrap().clone();
    let mut ids: Vec<_> = list.iter().map(|agent| agent["client_id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    let mut expected = [mine.client_id.as_str(), also_mine.client_id.as_str()];
    expected.sort_unstable();
    assert_eq!(ids, expected);
    let own = list.iter().find(|agent| agent["client_id"] == mine.client_id.as_str()).unwrap();
    assert_eq!(own["client_name"], "acme-research-agent");
    assert_eq!((&own["status"], &own["scope"].as_str().unwrap().contains("audit:read")), (&json!("active"), &true));
    let at = |seconds: i64| json!(jiff::Timestamp::from_second(seconds).unwrap().to_string());
    assert_eq!((&own["registered_at"], &own["last_used_at"]), (&at(support::NOW), &at(support::NOW + 5)));
    let token = foreign.session("wallet:read").await.access_token;
    let list = foreign.call("GET", AGENTS, &token, None).await.json();
    assert_eq!(list["agents"].as_array().unwrap().len(), 1);
    assert_eq!(list["agents"][0]["client_id"], foreign.client_id.as_str());
}

#[tokio::test]
async fn revoking_an_agent_takes_everything_of_its_along() {
    let world = World::start().await;
    let (boss, agent) = (world.agent().await, world.agent().await);
    let (_, purchase, tokens) = agent.ready_to_pay(0, SKU).await;
    let session = agent.session("audit:read").await;
    let path = format!("{AGENTS}/{}/revoke", agent.client_id);
    let write = boss.session("wallet:write").await.access_token;

    let answer = boss.call("POST", &path, &write, None).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    assert_eq!(answer.json()["ok"], true);
    assert_eq!(answer.json()["agent_client_id"], agent.client_id.as_str());
    let cascade = json!({ "mandates_revoked": 1, "refresh_tokens_revoked": 2, "access_tokens_revoked": 2 });
    assert_eq!(answer.json()["cascade"], cascade);

    let challenge = agent.challenge(&purchase, &tokens.mandate).await;
    world.clock.advance(61);
    let answer = agent.present(&purchase, &tokens.mandate, &challenge, "key").await;
    assert_eq!(answer.refusal(), refused(422, "mandate_status_revoked"));
    let answer = agent.call("GET", AUDIT, &session.access_token, None).await;
    assert_eq!(answer.refusal(), refused(401, "invalid_token"));
    let refresh = form(&[("grant_type", "refresh_token"), ("refresh_token", &session.refresh_token)]);
    assert_eq!(agent.post("/oauth/token", &refresh).await.refusal(), refused(401, "invalid_client"));

    assert_eq!(boss.call("POST", &path, &write, None).await.refusal(), refused(409, "conflict"));
    let unknown = format!("{AGENTS}/agent_nobody/revoke");
    assert_eq!(boss.call("POST", &unknown, &write, None).await.refusal(), refused(404, "not_found"));
    let read = boss.session("wallet:read").await.access_token;
    let list = boss.call("GET", AGENTS, &read, None).await.json();
    let status = |id: &str| {
        let agents = list["agents"].as_array().unwrap();
        agents.iter().find(|agent| agent["client_id"] == id).unwrap()["status"].clone()
    };
    assert_eq!((status(&boss.client_id), status(&agent.client_id)), (json!("active"), json!("revoked")));

    let entries = world.sandbox.audit_chain().0;
    assert_eq!(entries[0]["event"], "oid4ac.token.revoked");
    assert_eq!(entries[0]["payload"]["cascade"], cascade);
}

#[tokio::test]
async fn another_principals_agent_is_as_unknown_as_none_and_stays_active() {
    let world = World::start().await;
    let (mine, foreign) = (world.agent().await, world.agent_of(1).await);
    let write = mine.session("wallet:write").await.access_token;
    let path = format!("{AGENTS}/{}/revoke", foreign.client_id);
    assert_eq!(mine.call("POST", &path, &write, None).await.refusal(), refused(404, "not_found"));
    let token = foreign.session("wallet:read").await.access_token;
    assert_eq!(foreign.call("GET", AGENTS, &token, None).await.json()["agents"][0]["status"], "active");
}

#[tokio::test]
async fn only_a_live_token_of_a_principal_for_this_server_and_key_and_scope_is_taken() {
    let world = World::start().await;
    let (agent, other) = (world.agent().await, world.agent().await);
    let read = agent.session("wallet:read").await;
    let token = &read.access_token;
    let payment = agent.ready_to_pay(0, SKU).await.2.access_token;
    let agent_only = agent.session("openid").await.access_token;
    for (path, method) in [(AGENTS, "GET"), (AUDIT, "GET"), (DSAR, "POST")] {
        assert_eq!(call(method, &world.url(path), &[], None).await.refusal(), refused(401, "invalid_token"), "{path}");
        let body = json!({ "right": "access" });
        let body = (method == "POST").then_some(&body);
        let ask = async |token: &str| agent.call(method, path, token, body).await.refusal();
        assert_eq!(ask(&agent_only).await, refused(401, "invalid_token"), "{path}: agent-only");
        assert_eq!(ask(&payment).await, refused(401, "invalid_token"), "{path}: another audience");
        assert_eq!(ask("made.up.token").await, refused(401, "invalid_token"), "{path}: not ours");
        assert_eq!(
            other.call(method, path, token, body).await.refusal(),
            refused(401, "invalid_token"),
            "{path}: another key"
        );
        assert_eq!(
            with_bearer(&world, method, path, token, body).await.refusal(),
            refused(401, "invalid_token"),
            "{path}: a bound token as a bearer's"
        );
        if path != AGENTS {
            assert_eq!(ask(token).await, refused(403, "insufficient_scope"), "{path}: another scope");
        }
    }
    let write = format!("{AGENTS}/{}/revoke", agent.client_id);
    assert_eq!(agent.call("POST", &write, token, None).await.refusal(), refused(403, "insufficient_scope"));

    assert_eq!(agent.call("GET", AGENTS, token, None).await.status, 200);
    world.clock.advance(300);
    assert_eq!(agent.call("GET", AGENTS, token, None).await.refusal(), refused(401, "invalid_token"), "expired");
    let read = agent.session("wallet:read").await;
    let mut revoke = form(&[("token", &read.access_token)]);
    agent.authenticate(&mut revoke);
    support::post_form(&world.url("/oauth/revoke"), &[], &revoke).await;
    let answer = agent.call("GET", AGENTS, &read.access_token, None).await;
    assert_eq!(answer.refusal(), refused(401, "invalid_token"), "revoked");
}

#[tokio::test]
async fn the_proof_needs_the_resource_servers_nonce_and_is_good_once() {
    let world = World::start().await;
    let agent = world.agent().await;
    let token = agent.session("wallet:read").await.access_token;
    let url = world.url(AGENTS);
    let authorization = format!("DPoP {token}");
    // The nonce that the agent knows is the authorization server's, which is another.
    let proof = agent.proof_for("GET", &url, Some(&token));
    let headers = [("authorization", authorization.as_str()), ("dpop", &proof)];
    let answer = call("GET", &url, &headers, None).await;
    assert_eq!(answer.refusal(), refused(401, "use_dpop_nonce"));
    assert!(answer.header("www-authenticate").unwrap().starts_with("DPoP error=\"use_dpop_nonce\""));
    agent.note_nonce(&url, &answer);

    for (what, proof) in [
        ("another method", agent.proof_for("POST", &url, Some(&token))),
        ("another path", agent.proof_for("GET", &world.url(AUDIT), Some(&token))),
        ("no token", agent.proof_for("GET", &url, None)),
    ] {
        let headers = [("authorization", authorization.as_str()), ("dpop", &proof)];
        assert_eq!(call("GET", &url, &headers, None).await.refusal(), refused(401, "invalid_dpop_proof"), "{what}");
    }
    let proof = agent.proof_for("GET", &url, Some(&token));
    let headers = [("authorization", authorization.as_str()), ("dpop", &proof)];
    assert_eq!(call("GET", &url, &headers, None).await.status, 200);
    assert_eq!(call("GET", &url, &headers, None).await.refusal(), refused(401, "invalid_dpop_proof"), "replayed");
    let only = [("authorization", authorization.as_str())];
    assert_eq!(call("GET", &url, &only, None).await.refusal(), refused(401, "invalid_dpop_proof"), "no proof");
}

#[tokio::test]
async fn an_agent_that_changed_hands_reads_nobodys_data() {
    let world = World::start().await;
    let agent = world.agent().await;
    let scope = "wallet:read wallet:write audit:read privacy:dsar";
    let token = agent.session(scope).await.access_token;
    world.sandbox.transfer_agent(&agent.client_id, &world.sandbox.principals()[1].id).unwrap();
    let body = json!({ "right": "portability" });
    assert_eq!(agent.call("GET", AGENTS, &token, None).await.refusal(), refused(403, "forbidden"));
    assert_eq!(agent.call("GET", AUDIT, &token, None).await.refusal(), refused(403, "principal_mismatch"));
    assert_eq!(agent.call("POST", DSAR, &token, Some(&body)).await.refusal(), refused(403, "principal_mismatch"));
    let nobody = world.sandbox.transfer_agent("agent_nobody", &world.sandbox.principals()[1].id);
    assert_eq!(nobody, Err(WalletError::NoSuchAgent));
}

#[tokio::test]
async fn the_audit_range_is_the_principals_own_filtered_paged_and_signed_for_once_an_hour() {
    let world = World::start().await;
    let (agent, foreign) = (world.agent().await, world.agent_of(1).await);
    // 1, 2: mandate and payment; 3, 4: the other principal's; then a minute later 5, 6.
    let first = pay(&agent).await;
    pay(&foreign).await;
    world.clock.advance(60);
    let second = pay(&agent).await;
    let token = agent.session("audit:read").await.access_token;
    let ask = async |query: &str| agent.call("GET", &format!("{AUDIT}{query}"), &token, None).await;

    let all = ask("").await;
    assert_eq!((all.status.as_u16(), seqs(&all)), (200, vec![6, 5, 2, 1]));
    assert_eq!(all.json()["has_more"], false);
    assert_eq!(all.json()["entries"][0]["payload"]["payment_intent_id"], second["payment_intent_id"]);
    assert_eq!(all.json()["entries"][2]["payload"]["payment_intent_id"], first["payment_intent_id"]);
    let page = ask("?limit=1").await;
    assert_eq!((seqs(&page), &page.json()["has_more"]), (vec![6], &json!(true)));
    let at = |seconds: i64| jiff::Timestamp::from_second(support::NOW + seconds).unwrap().to_string();
    assert_eq!(seqs(&ask(&format!("?from={}", at(60))).await), [6, 5]);
    assert_eq!(seqs(&ask(&format!("?from={}", at(61))).await), [0_u64; 0]);
    assert_eq!(seqs(&ask(&format!("?to={}", at(0))).await), [2, 1]);
    assert_eq!(seqs(&ask(&format!("?from={}&to={}", at(1), at(59))).await), [0_u64; 0]);
    assert_eq!(seqs(&ask("?event_types=oid4ac.payment.succeeded").await), [6, 2]);
    let both = "?event_types=oid4ac.payment.succeeded,oid4ac.mandate.issued&limit=3";
    assert_eq!(seqs(&ask(both).await), [6, 5, 2]);
    for bad in ["?limit=0", "?limit=201", "?limit=x", "?from=yesterday", "?to=1", "?event_types=x", "?limit=1&limit=1"]
    {
        assert_eq!(ask(bad).await.refusal(), refused(400, "invalid_request"), "{bad}");
    }

    let head_seq = |answer: &Answer| {
        let head = answer.json()["chain_head"].as_str().unwrap().to_owned();
        let payload = head.split('.').nth(1).unwrap().to_owned();
        assert!(UnverifiedJws::parse(&head).is_ok());
        let claims: Value = serde_json::from_slice(&jose::base64url::decode(&payload).unwrap()).unwrap();
        claims["head_seq"].as_u64().unwrap()
    };
    assert_eq!(head_seq(&all), 6);
    pay(&agent).await;
    assert_eq!(head_seq(&ask("").await), 6, "the head of this hour");
    world.clock.advance(3600);
    let token = agent.session("audit:read").await.access_token;
    assert_eq!(head_seq(&agent.call("GET", AUDIT, &token, None).await), 8);
}

#[tokio::test]
async fn the_audit_chain_can_be_read_thirty_times_a_minute_by_each_principal() {
    let world = World::start().await;
    let (agent, sibling, foreign) = (world.agent().await, world.agent().await, world.agent_of(1).await);
    let token = agent.session("audit:read").await.access_token;
    for _ in 0..30 {
        assert_eq!(agent.call("GET", AUDIT, &token, None).await.status, 200);
    }
    let answer = agent.call("GET", AUDIT, &token, None).await;
    assert_eq!(answer.refusal(), refused(429, "rate_limited"));
    assert_eq!(answer.header("retry-after"), Some("60"));
    let same_principal = sibling.session("audit:read").await.access_token;
    assert_eq!(sibling.call("GET", AUDIT, &same_principal, None).await.status, 429);
    let other_principal = foreign.session("audit:read").await.access_token;
    assert_eq!(foreign.call("GET", AUDIT, &other_principal, None).await.status, 200);
    world.clock.advance(60);
    assert_eq!(agent.call("GET", AUDIT, &token, None).await.status, 200);
}

#[tokio::test]
async fn access_is_queued_and_portability_answered_with_this_principals_data_alone() {
    let world = World::start().await;
    let (agent, foreign) = (world.agent().await, world.agent_of(1).await);
    let (mine, theirs) = (pay(&agent).await, pay(&foreign).await);
    let token = agent.session("privacy:dsar").await.access_token;
    let ask = async |body: &Value| agent.call("POST", DSAR, &token, Some(body)).await;

    let answer = ask(&json!({ "right": "access", "delivery_preference": "synchronous_json" })).await;
    assert_eq!(answer.status, 202);
    let queued = answer.json();
    assert!(queued["request_id"].as_str().unwrap().starts_with("dsar_"));
    assert_eq!(queued["estimated_delivery"], jiff::Timestamp::from_second(support::NOW + 1800).unwrap().to_string());
    let rest = [&queued["status"], &queued["right"], &queued["delivery_channel"]];
    assert_eq!(rest, [&json!("queued"), &json!("access"), &json!("email")]);

    let answer = ask(&json!({ "right": "portability", "delivery_preference": "email" })).await;
    assert_eq!(answer.status, 200);
    let data = answer.json();
    assert_eq!(data["schema_version"], "oid4pay.dsar.portability.v1");
    assert_eq!(data["principal"]["principal_id"], world.sandbox.principals()[0].id);
    assert_eq!(data["agents"].as_array().unwrap().len(), 1);
    assert_eq!(data["agents"][0]["client_id"], agent.client_id.as_str());
    assert_eq!(data["mandates"][0]["mandate_id"], mine["mandate_id"]);
    assert_eq!(data["payments"][0]["payment_intent_id"], mine["payment_intent_id"]);
    assert_eq!((data["mandates"].as_array().unwrap().len(), data["payments"].as_array().unwrap().len()), (1, 1));
    let events: Vec<_> = data["audit_chain"].as_array().unwrap().iter().map(|entry| &entry["event"]).collect();
    assert_eq!(events[..2], ["oid4ac.privacy.access", "oid4ac.privacy.access"], "the requests are on record");
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    for foreign in [theirs["mandate_id"].as_str().unwrap(), &foreign.client_id, &world.sandbox.principals()[1].id] {
        assert!(!text.contains(foreign), "{foreign} is another principal's");
    }

    for bad in [json!({}), json!({ "right": "erasure" }), json!({ "right": "access", "delivery_preference": "fax" })] {
        assert_eq!(ask(&bad).await.refusal(), refused(400, "invalid_request"), "{bad}");
    }
    for _ in 2..10 {
        assert_eq!(ask(&json!({ "right": "access" })).await.status, 202);
    }
    assert_eq!(ask(&json!({ "right": "portability" })).await.refusal(), refused(429, "rate_limited"));
    world.clock.advance(86_400);
    let token = agent.session("privacy:dsar").await.access_token;
    assert_eq!(agent.call("POST", DSAR, &token, Some(&json!({ "right": "access" }))).await.status, 202);
}

#[tokio::test]
async fn a_token_of_the_portals_is_a_bearers_for_its_scopes_and_an_hour() {
    let world = World::start().await;
    let agent = world.agent().await;
    pay(&agent).await;
    let principal = &world.sandbox.principals()[0].id;
    let token = world.sandbox.principal_token(principal, "audit:read privacy:dsar").unwrap();
    let answer = with_bearer(&world, "GET", AUDIT, &token, None).await;
    assert_eq!((answer.status.as_u16(), seqs(&answer)), (200, vec![2, 1]));
    let body = json!({ "right": "access" });
    assert_eq!(with_bearer(&world, "POST", DSAR, &token, Some(&body)).await.status, 202);
    let answer = with_bearer(&world, "GET", AGENTS, &token, None).await;
    assert_eq!(answer.refusal(), refused(403, "insufficient_scope"));
    assert_eq!(agent.call("GET", AUDIT, &token, None).await.refusal(), refused(401, "invalid_token"), "not bound");
    let foreign = world.sandbox.principal_token(&world.sandbox.principals()[1].id, "audit:read").unwrap();
    assert_eq!(seqs(&with_bearer(&world, "GET", AUDIT, &foreign, None).await), [0_u64; 0]);
    world.clock.advance(3600);
    assert_eq!(with_bearer(&world, "GET", AUDIT, &token, None).await.refusal(), refused(401, "invalid_token"));
    assert_eq!(world.sandbox.principal_token("x", "audit:read"), Err(WalletError::NoSuchPrincipal));
    assert_eq!(world.sandbox.principal_token(principal, "all"), Err(WalletError::NoSuchScope));
}

#[tokio::test]
async fn a_dispute_is_one_more_entry_about_the_same_payment() {
    let world = World::start().await;
    let agent = world.agent().await;
    let paid = pay(&agent).await;
    let id = paid["payment_intent_id"].as_str().unwrap();
    assert_eq!(world.sandbox.dispute("pi_none", DisputeStatus::Pending), Err(WalletError::NoSuchPayment));
    for status in [DisputeStatus::Pending, DisputeStatus::Won] {
        world.sandbox.dispute(id, status).unwrap();
        let newest = &world.sandbox.audit_chain().0[0];
        assert_eq!(newest["event"], "oid4ac.payment.disputed");
        assert_eq!(newest["payload"]["dispute_status"], status.name());
        assert_eq!(newest["payload"]["payment_intent_id"], id);
        assert_eq!(newest["actor"]["agent_client_id"], agent.client_id.as_str());
    }
}

#[tokio::test]
async fn a_wallet_session_is_refreshed_with_rotation_and_reuse_ends_it() {
    let world = World::start().await;
    let agent = world.agent().await;
    let first = agent.session("audit:read").await;
    let refresh = async |token: &str| {
        agent.post("/oauth/token", &form(&[("grant_type", "refresh_token"), ("refresh_token", token)])).await
    };
    world.clock.advance(301);
    let second = refresh(&first.refresh_token).await.json();
    assert!(second.get("mandate_jwt").is_none() && second.get("authorization_details").is_none());
    let token = second["access_token"].as_str().unwrap();
    assert_eq!(agent.call("GET", AUDIT, token, None).await.status, 200);
    assert_eq!(refresh(&first.refresh_token).await.refusal(), refused(400, "invalid_grant"));
    assert_eq!(agent.call("GET", AUDIT, token, None).await.refusal(), refused(401, "invalid_token"));
    let newest = second["refresh_token"].as_str().unwrap();
    assert_eq!(refresh(newest).await.refusal(), refused(400, "invalid_grant"));
}
