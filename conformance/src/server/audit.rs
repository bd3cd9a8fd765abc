//! The audit chain (OID4AC v1 §15).

use std::collections::BTreeMap;

use http::Method;
use jose::{Alg, UnverifiedJws, base64url};
use serde_json::{Value, json};

use super::wallet::{AUDIT, Place, with_session};
use crate::agent::{Agent, random};
use crate::check::{Check, run};
use crate::forger::Forger;
use crate::lie;
use crate::outcome::{Outcome, Stop, expect, failed, skipped};
use crate::world::{Part, World, digest_of};

pub(super) fn checks() -> Vec<Check> {
    let entry = |name: &str| format!("/entries/0/{name}");
    let mut checks = vec![
        Check::server(
            "audit.recorded",
            "OID4AC v1 §15",
            "a mandate and its payment are on record, newest first",
            run!(recorded),
        )
        .spoiled_by(lie::set(AUDIT, entry("event"), json!("oid4ac.something"))),
        Check::server(
            "audit.entry_hash",
            "OID4AC v1 §15",
            "`entry_hash` is the SHA-256 of the canonical entry without it",
            run!(entry_hashes),
        )
        .spoiled_by(lie::set(AUDIT, "/entries/0/payload/amount_minor", json!(1))),
        Check::server("audit.prev_hash", "OID4AC v1 §15", "`prev_hash` is the hash of the entry before", run!(links))
            .spoiled_by(lie::set(AUDIT, entry("prev_hash"), json!("AAAA"))),
        Check::server("audit.seq", "OID4AC v1 §15", "`seq` falls from entry to entry", run!(sequence))
            .spoiled_by(lie::set(AUDIT, entry("seq"), json!(0))),
        Check::server(
            "audit.head",
            "OID4AC v1 §15",
            "`chain_head` verifies by the key marked audit-head, and by no other",
            run!(head),
        )
        .spoiled_by(lie::json_at(AUDIT, |json| {
            if let Some(head) = json["chain_head"].as_str() {
                json["chain_head"] = Forger::new(Alg::EdDsa).resign(head, "oid4ac-audit-head+jwt", |_| {}).into();
            }
        })),
        Check::server(
            "audit.head_fits",
            "OID4AC v1 §15",
            "the entry that `chain_head` names has the hash that it says",
            run!(head),
        )
        .spoiled_by(lie::set(AUDIT, entry("entry_hash"), json!("AAAA"))),
        Check::server("audit.limit", "OID4AC v1 §15", "`limit` cuts the page, `has_more` says so", run!(limit))
            .spoiled_by(lie::set(AUDIT, "/has_more", json!(false))),
        Check::server("audit.event_types", "OID4AC v1 §15", "`event_types` keeps only those", run!(event_types))
            .spoiled_by(lie::set(AUDIT, entry("event"), json!("oid4ac.something"))),
        Check::server("audit.range", "OID4AC v1 §15", "`from` in the future: no entry", run!(range))
            .spoiled_by(lie::set(AUDIT, "/entries", json!([{}]))),
        Check::server("audit.own", "OID4AC v1 §15", "another principal sees none of it", run!(own))
            .spoiled_by(lie::set(AUDIT, "/entries", json!([{}]))),
        Check::server("audit.rate", "OID4AC v1 §15", "the 31st request of a minute: 429", run!(audit_rate)),
    ];
    for (what, query) in [
        ("a_limit_of_zero", "limit=0"),
        ("a_time_that_is_none", "from=yesterday"),
        ("an_unknown_event_type", "event_types=x"),
        ("a_parameter_twice", "limit=1&limit=2"),
    ] {
        let expected = format!("{}: 400 invalid_request", what.replace('_', " "));
        let check =
            Check::server(format!("audit.refuses_{what}"), "OID4AC v1 §15", expected, run!(refused_query, query));
        checks.push(check.spoiled_by(lie::accepts(AUDIT, "invalid_request")));
    }
    checks
}

/// A payment on record, and the agent's view of the chain.
async fn chain(world: &World, query: &str) -> Result<Value, Stop> {
    world.may_pay()?;
    let agent = world.agent(Part::Own).await?;
    let ready = agent.ready().await?;
    agent.pay(&ready.purchase, &ready.tokens.mandate, &random::<16>()).await?.done(200)?;
    page(&agent, query).await
}

async fn page(agent: &Agent<'_>, query: &str) -> Result<Value, Stop> {
    let token = agent.session("audit:read").await?.access_token;
    let url = format!("{}{query}", Place::Audit.url(agent.world).await?);
    Ok(agent.call(Method::GET, &url, &token, None).await?.done(200)?.json())
}

fn entries(page: &Value) -> Result<&Vec<Value>, Stop> {
    match page["entries"].as_array() {
        Some(entries) if entries.len() >= 2 => Ok(entries),
        _ => failed("fewer than two entries"),
    }
}

async fn recorded(world: &World) -> Outcome {
    let page = chain(world, "").await?;
    let events: Vec<_> = entries(&page)?.iter().take(2).map(|entry| entry["event"].clone()).collect();
    let right = events == [json!("oid4ac.payment.succeeded"), json!("oid4ac.mandate.issued")];
    expect(right, json!(events).to_string())
}

async fn entry_hashes(world: &World) -> Outcome {
    let page = chain(world, "").await?;
    let mut right = 0;
    for entry in entries(&page)? {
        let mut bare = entry.clone();
        bare.as_object_mut().map(|members| members.remove("entry_hash"));
        right += usize::from(entry["entry_hash"] == digest_of(&bare)?);
    }
    let count = entries(&page)?.len();
    expect(right == count, format!("{right} of {count}"))
}

async fn links(world: &World) -> Outcome {
    let page = chain(world, "").await?;
    let by_seq: BTreeMap<u64, &Value> =
        entries(&page)?.iter().filter_map(|entry| Some((entry["seq"].as_u64()?, entry))).collect();
    let (mut linked, mut right) = (0, 0);
    for (seq, entry) in &by_seq {
        let expected = match seq {
            1 => Some(json!(base64url::encode(&[0; 32]))),
            _ => by_seq.get(&(seq - 1)).map(|before| before["entry_hash"].clone()),
        };
        if let Some(expected) = expected {
            linked += 1;
            right += usize::from(entry["prev_hash"] == expected);
        }
    }
    expect(linked > 0 && right == linked, format!("{right} of {linked} links"))
}

async fn sequence(world: &World) -> Outcome {
    let page = chain(world, "").await?;
    let entries = entries(&page)?;
    let falls = entries.windows(2).all(|pair| pair[0]["seq"].as_u64() > pair[1]["seq"].as_u64());
    expect(falls, if falls { "it falls" } else { "it does not" })
}

async fn head(world: &World) -> Outcome {
    let page = chain(world, "").await?;
    let Some(text) = page["chain_head"].as_str() else { return skipped("needs a server that signs its chain") };
    let keys = world.as_keys().await?;
    let jws = UnverifiedJws::parse(text).or_else(|error| failed(error.to_string()))?;
    let is_marked =
        |jwk: &&jose::Jwk| jwk.kid() == jws.unverified_kid() && jwk.member("oid4ac_use") == Some(&json!("audit-head"));
    let Some(jwk) = keys.keys().iter().find(is_marked) else { return failed("no key marked audit-head has its kid") };
    let verified = jws.verify(jwk.key(), &[Alg::EdDsa], &["oid4ac-audit-head+jwt"]).and_then(|jws| jws.claims());
    let claims = verified.or_else(|error| failed(error.to_string()))?;
    let named = entries(&page)?.iter().find(|entry| Some(&entry["seq"]) == claims.get("head_seq"));
    match named {
        Some(entry) => {
            let fits = claims.get("head_entry_hash") == Some(&entry["entry_hash"]);
            expect(fits, if fits { "it verifies and fits" } else { "another hash" })
        }
        None => Ok("it verifies; its entry is not on this page".to_owned()),
    }
}

async fn limit(world: &World) -> Outcome {
    let page = chain(world, "?limit=1").await?;
    let count = page["entries"].as_array().map_or(0, Vec::len);
    expect(count == 1 && page["has_more"] == true, format!("{count}, has_more: {}", page["has_more"]))
}

async fn event_types(world: &World) -> Outcome {
    let page = chain(world, "?event_types=oid4ac.payment.succeeded").await?;
    let all = page["entries"].as_array().cloned().unwrap_or_default();
    let fit = all.iter().filter(|entry| entry["event"] == "oid4ac.payment.succeeded").count();
    expect(fit > 0 && fit == all.len(), format!("{fit} of {}", all.len()))
}

async fn range(world: &World) -> Outcome {
    let tomorrow = jiff::Timestamp::from_second(world.now() + 86_400).map(|time| time.to_string()).unwrap_or_default();
    let page = chain(world, &format!("?from={tomorrow}")).await?;
    let count = page["entries"].as_array().map_or(1, Vec::len);
    expect(count == 0, format!("{count} entries"))
}

async fn own(world: &World) -> Outcome {
    let foreign = world.agent(Part::Foreign).await?;
    chain(world, "").await?;
    let count = page(&foreign, "").await?["entries"].as_array().map_or(1, Vec::len);
    expect(count == 0, format!("{count} entries"))
}

async fn audit_rate(world: &World) -> Outcome {
    world.needs_sandbox("a principal's requests of a minute to be used up")?;
    let (agent, token) = with_session(world, Place::Audit).await?;
    for _ in 0..30 {
        Place::Audit.ask(&agent, &token).await?.done(200)?;
    }
    Place::Audit.ask(&agent, &token).await?.refused(429, "rate_limited")
}

async fn refused_query(world: &World, query: &'static str) -> Outcome {
    let (agent, token) = with_session(world, Place::Audit).await?;
    let url = format!("{}?{query}", Place::Audit.url(world).await?);
    agent.call(Method::GET, &url, &token, None).await?.refused(400, "invalid_request")
}
