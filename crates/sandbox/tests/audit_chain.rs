//! The audit chain: what is written down, and that nothing can be taken out of it unseen.

#![allow(clippy::unwrap_used, reason = "clippy takes only #[test] functions for tests")]

mod support;

use jose::{Alg, JwkSet, UnverifiedJws, base64url, sha256};
use serde_json::json;
use support::{SKU, World, get};

#[tokio::test]
async fn records_mandate_payment_and_revocation_in_a_chain_of_hashes_under_a_signed_head() {
    let world = World::start().await;
    assert_eq!(world.sandbox.audit_chain(), (vec![], None));
    let agent = world.agent().await;
    let (offer, purchase, tokens) = agent.ready_to_pay(0, SKU).await;
    let answer = agent.present(&purchase, &tokens.mandate, &offer.nonce, "key").await.json();
    let mut form = support::form(&[("token", &tokens.refresh_token)]);
    agent.authenticate(&mut form);
    support::post_form(&world.url("/oauth/revoke"), &[], &form).await;

    let (entries, head) = world.sandbox.audit_chain();
    let events: Vec<_> = entries.iter().map(|entry| entry["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["oid4ac.token.revoked", "oid4ac.payment.succeeded", "oid4ac.mandate.issued"]);
    assert_eq!(entries[1]["payload"]["payment_intent_id"], answer["payment_intent_id"]);
    assert_eq!(entries[1]["payload"]["amount_minor"], 1299);
    assert_eq!(entries[1]["actor"]["agent_client_id"], agent.client_id.as_str());
    assert_eq!(entries[1]["actor"]["principal_id"], answer["verifier_principal_id"]);

    let mut prev_hash = base64url::encode(&[0; 32]);
    let mut last_ns = 0;
    for (seq, entry) in (1..).zip(entries.iter().rev()) {
        assert_eq!((&entry["seq"], &entry["prev_hash"]), (&json!(seq), &json!(prev_hash)));
        let mut bare = entry.clone();
        bare.as_object_mut().unwrap().remove("entry_hash");
        prev_hash = base64url::encode(&sha256(&serde_json_canonicalizer::to_vec(&bare).unwrap()));
        assert_eq!(entry["entry_hash"], prev_hash);
        let ns: u64 = entry["ts_monotonic_ns"].as_str().unwrap().parse().unwrap();
        assert!(ns > last_ns, "rises though the clock stands still");
        last_ns = ns;
    }

    let head = head.unwrap();
    let head = UnverifiedJws::parse(&head).unwrap();
    let keys = JwkSet::parse(&get(&world.url("/oauth/jwks.json")).await.body).unwrap();
    let key = keys.find(head.unverified_kid(), Alg::EdDsa).unwrap();
    assert_eq!(key.member("oid4ac_use"), Some(&json!("audit-head")));
    let head = head.verify(key.key(), &[Alg::EdDsa], &["oid4ac-audit-head+jwt"]).unwrap().claims().unwrap();
    assert_eq!((&head["head_seq"], &head["head_entry_hash"]), (&json!(3), &json!(prev_hash)));
}
