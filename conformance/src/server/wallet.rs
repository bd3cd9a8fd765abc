//! The principal's own data: wallet API, requests for data, audit chain (OID4AC v1 §14 and §15).

use std::collections::BTreeMap;

use http::Method;
use jose::{Alg, UnverifiedJws, base64url};
use serde_json::{Value, json};

use crate::agent::{Agent, random};
use crate::check::{Check, Outcome, Stop, broken, expect, failed, run, skipped};
use crate::forge;
use crate::forger::Forger;
use crate::lie;
use crate::wire::{Answer, Call};
use crate::world::{Part, World, digest_of, new_key};

pub(super) fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    for place in Place::ALL {
        checks.extend(guards(place));
    }
    checks.extend(wallet());
    checks.extend(privacy());
    checks.extend(audit());
    checks
}

/// One of the endpoints at which a principal's token is taken.
#[derive(Clone, Copy)]
enum Place {
    Wallet,
    Dsar,
    Audit,
}

impl Place {
    const ALL: [Self; 3] = [Self::Wallet, Self::Dsar, Self::Audit];

    fn name(self) -> &'static str {
        match self {
            Self::Wallet => "wallet",
            Self::Dsar => "dsar",
            Self::Audit => "audit",
        }
    }

    fn path(self) -> &'static str {
        match self {
            Self::Wallet => AGENTS,
            Self::Dsar => DSAR,
            Self::Audit => AUDIT,
        }
    }

    fn scope(self) -> &'static str {
        match self {
            Self::Wallet => "wallet:read",
            Self::Dsar => "privacy:dsar",
            Self::Audit => "audit:read",
        }
    }

    fn method(self) -> Method {
        if matches!(self, Self::Dsar) { Method::POST } else { Method::GET }
    }

    fn body(self) -> Option<Value> {
        matches!(self, Self::Dsar).then(|| json!({ "right": "access" }))
    }

    async fn url(self, world: &World) -> Result<String, Stop> {
        match self {
            Self::Wallet => world.endpoint_or("wallet_agents_endpoint", AGENTS).await,
            Self::Dsar => world.endpoint_or("dsar_endpoint", DSAR).await,
            Self::Audit => world.endpoint_or("audit_endpoint", AUDIT).await,
        }
    }

    /// Asks once under the DPoP scheme, dancing for the nonce.
    async fn ask(self, agent: &Agent<'_>, token: &str) -> Result<Answer, Stop> {
        let url = self.url(agent.world).await?;
        agent.call(self.method(), &url, token, self.body().as_ref()).await
    }

    /// Asks once with exactly these headers.
    async fn ask_with(
        self,
        world: &World,
        authorization: Option<String>,
        proof: Option<String>,
    ) -> Result<Answer, Stop> {
        let mut call = Call::new(self.method(), &self.url(world).await?);
        if let Some(value) = authorization {
            call = call.header("authorization", value);
        }
        if let Some(proof) = proof {
            call = call.header("dpop", proof);
        }
        if let Some(body) = self.body() {
            call = call.json(&body);
        }
        world.http.send(call).await
    }
}

/// Who is let in, the same at each of the three.
fn guards(place: Place) -> Vec<Check> {
    let id = |what: &str| format!("{}.{what}", place.name());
    let accepts = |error| lie::accepts(place.path(), error);
    let mut checks = vec![
        Check::server(id("no_token"), "RFC 6750 §3.1", "no token: 401", run!(no_token, place))
            .spoiled_by(accepts(TOKEN)),
        Check::server(
            id("agent_only"),
            "OID4AC v1 §9",
            "a token that speaks for no principal: 401 invalid_token",
            run!(agent_only, place),
        ),
        Check::server(
            id("another_audience"),
            "RFC 9068 §4",
            "a token for a merchant: 401 invalid_token",
            run!(another_audience, place),
        ),
        Check::server(
            id("another_key"),
            "RFC 9449 §7.1",
            "a token bound to another key: 401 invalid_token",
            run!(another_key, place),
        ),
        Check::server(
            id("as_bearer"),
            "RFC 9449 §7.2",
            "a bound token as a bearer's: 401 invalid_token",
            run!(as_bearer, place),
        )
        .spoiled_by(accepts(TOKEN)),
        Check::server(
            id("forged"),
            "RFC 9068 §4",
            "a token signed by a stranger: 401 invalid_token",
            run!(forged, place),
        )
        .spoiled_by(accepts(TOKEN)),
        Check::server(
            id("expired"),
            "RFC 9068 §4",
            "a token that is 300 s old: 401 invalid_token",
            run!(expired, place),
        ),
        Check::server(
            id("revoked"),
            "OID4AC v1 §8",
            "a token that was revoked: 401 invalid_token",
            run!(revoked, place),
        ),
        Check::server(
            id("scope"),
            "RFC 6750 §3.1",
            "a token of another scope: 403 insufficient_scope",
            run!(another_scope, place),
        ),
        Check::server(
            id("no_proof"),
            "RFC 9449 §7.1",
            "a bound token without a proof: 401 invalid_dpop_proof",
            run!(no_proof, place),
        )
        .spoiled_by(accepts("invalid_dpop_proof")),
        Check::server(
            id("nonce"),
            "RFC 9449 §9",
            "the authorization server's nonce is no good here: 401 use_dpop_nonce",
            run!(nonce, place),
        ),
        Check::server(
            id("replay"),
            "RFC 9449 §11.1",
            "a proof works once: then 401 invalid_dpop_proof",
            run!(replay, place),
        ),
        Check::server(
            id("changed_hands"),
            "OID4AC v1 §15",
            "an agent that was given to another principal reads nothing: 403",
            run!(changed_hands, place),
        ),
        Check::server(id("no_store"), "RFC 9111 §5.2.2.5", "`Cache-Control: no-store`", run!(no_store, place))
            .spoiled_by(lie::header(place.path(), "cache-control", None)),
    ];
    for alg in forge::Alg::ALL {
        let expected = format!("an access token under alg {}: 401 invalid_token", alg.name());
        let id = format!("alg.{}_token_{}", place.name(), alg.slug());
        checks
            .push(Check::server(id, "OID4AC v1 §17", expected, run!(algorithm, place, alg)).spoiled_by(accepts(TOKEN)));
    }
    checks
}

async fn with_session(world: &World, place: Place) -> Result<(Agent<'_>, String), Stop> {
    let agent = world.agent(Part::Own).await?;
    let token = agent.session(place.scope()).await?.access_token;
    Ok((agent, token))
}

async fn no_token(world: &World, place: Place) -> Outcome {
    let answer = place.ask_with(world, None, None).await?;
    expect(answer.status == 401, answer.summary())
}

async fn agent_only(world: &World, place: Place) -> Outcome {
    let agent = world.agent(Part::Own).await?;
    let token = agent.session(&format!("openid {}", place.scope())).await?.access_token;
    place.ask(&agent, &token).await?.done(if matches!(place, Place::Dsar) { 202 } else { 200 })?;
    let token = agent.session("openid").await?.access_token;
    place.ask(&agent, &token).await?.refused(401, TOKEN)
}

async fn another_audience(world: &World, place: Place) -> Outcome {
    let agent = world.agent(Part::Own).await?;
    let token = agent.ready().await?.tokens.access_token;
    place.ask(&agent, &token).await?.refused(401, TOKEN)
}

async fn another_key(world: &World, place: Place) -> Outcome {
    let (_, token) = with_session(world, place).await?;
    let other = world.agent(Part::Sibling).await?;
    place.ask(&other, &token).await?.refused(401, TOKEN)
}

async fn as_bearer(world: &World, place: Place) -> Outcome {
    let (_, token) = with_session(world, place).await?;
    place.ask_with(world, Some(format!("Bearer {token}")), None).await?.refused(401, TOKEN)
}

async fn forged(world: &World, place: Place) -> Outcome {
    let (agent, token) = with_session(world, place).await?;
    let (header, claims) = forge::take_apart(&token)?;
    place.ask(&agent, &forge::sign(&header, &claims, &new_key(Alg::EdDsa))).await?.refused(401, TOKEN)
}

async fn algorithm(world: &World, place: Place, alg: forge::Alg) -> Outcome {
    let (agent, token) = with_session(world, place).await?;
    let (header, claims) = forge::take_apart(&token)?;
    let keys = world.as_keys().await?;
    let public = keys.keys().first().map(|jwk| jwk.key().members_json()).unwrap_or_default();
    let forged = alg.sign(&header, &claims.to_string(), &new_key(Alg::EdDsa), public.as_bytes());
    place.ask(&agent, &forged).await?.refused(401, TOKEN)
}

async fn expired(world: &World, place: Place) -> Outcome {
    let (agent, token) = with_session(world, place).await?;
    world.wait(300).await?;
    place.ask(&agent, &token).await?.refused(401, TOKEN)
}

async fn revoked(world: &World, place: Place) -> Outcome {
    let (agent, token) = with_session(world, place).await?;
    agent.revoke(&token).await?.done(200)?;
    place.ask(&agent, &token).await?.refused(401, TOKEN)
}

async fn another_scope(world: &World, place: Place) -> Outcome {
    let agent = world.agent(Part::Own).await?;
    let other = if matches!(place, Place::Wallet) { "audit:read" } else { "wallet:read" };
    let token = agent.session(other).await?.access_token;
    place.ask(&agent, &token).await?.refused(403, "insufficient_scope")
}

async fn no_proof(world: &World, place: Place) -> Outcome {
    let (_, token) = with_session(world, place).await?;
    place.ask_with(world, Some(format!("DPoP {token}")), None).await?.refused(401, "invalid_dpop_proof")
}

async fn nonce(world: &World, place: Place) -> Outcome {
    let (agent, token) = with_session(world, place).await?;
    let url = place.url(world).await?;
    let mut claims = agent.proof_claims(place.method().as_str(), &url, Some(&token));
    claims["nonce"] = json!(agent.nonce(&world.endpoint("token_endpoint").await?));
    let answer = place.ask_with(world, Some(format!("DPoP {token}")), Some(agent.sign_proof(&claims))).await?;
    let challenged = answer.header("www-authenticate").is_some_and(|value| value.starts_with("DPoP"));
    expect(answer.is(401, "use_dpop_nonce") && challenged, answer.summary())
}

async fn replay(world: &World, place: Place) -> Outcome {
    let (agent, token) = with_session(world, place).await?;
    place.ask(&agent, &token).await?;
    let proof = agent.proof(place.method().as_str(), &place.url(world).await?, Some(&token));
    let ask = async || place.ask_with(world, Some(format!("DPoP {token}")), Some(proof.clone())).await;
    let first = ask().await?;
    if first.status >= 300 {
        return broken("the first use", first.summary());
    }
    ask().await?.refused(401, "invalid_dpop_proof")
}

async fn changed_hands(world: &World, place: Place) -> Outcome {
    let sandbox = world.needs_sandbox("an agent to be given to another principal")?;
    let (agent, token) = with_session(world, place).await?;
    let other = sandbox.principals().swap_remove(1).id;
    sandbox
        .transfer_agent(&agent.identity.client_id, &other)
        .or_else(|error| broken("giving the agent away", error))?;
    let answer = place.ask(&agent, &token).await?;
    expect(answer.status == 403, answer.summary())
}

async fn no_store(world: &World, place: Place) -> Outcome {
    let (agent, token) = with_session(world, place).await?;
    super::registration::no_store_header(&place.ask(&agent, &token).await?)
}

fn wallet() -> Vec<Check> {
    vec![
        Check::server("wallet.own_agents", "OID4AC v1 §14", "the list has the principal's agents", run!(own_agents))
            .spoiled_by(lie::set(AGENTS, "/agents", json!([]))),
        Check::server(
            "wallet.no_foreign_agents",
            "OID4AC v1 §14",
            "the list has no agent of another principal's",
            run!(no_foreign_agents),
        )
        .spoiled_by(lie::set(AGENTS, "/agents", json!([]))),
        Check::server(
            "wallet.revoke",
            "OID4AC v1 §14",
            "a revoked agent loses tokens and mandates, and the answer counts them",
            run!(revoke),
        )
        .spoiled_by(lie::set(AGENTS, "/cascade/mandates_revoked", json!(0))),
        Check::server(
            "wallet.revoke_ends_it",
            "OID4AC v1 §14",
            "a revoked agent is nobody any more: 401 invalid_client",
            run!(revoke_ends_it),
        )
        .spoiled_by(lie::accepts("/oauth/token", "invalid_client")),
        Check::server("wallet.revoke_twice", "OID4AC v1 §14", "an agent revoked twice: 409", run!(revoke_twice))
            .spoiled_by(lie::accepts(AGENTS, "conflict")),
        Check::server("wallet.revoke_unknown", "OID4AC v1 §14", "an agent that nobody has: 404", run!(revoke_unknown))
            .spoiled_by(lie::accepts(AGENTS, "not_found")),
        Check::server(
            "wallet.revoke_foreign",
            "OID4AC v1 §14",
            "another principal's agent: 404, as if there were none",
            run!(revoke_foreign),
        )
        .spoiled_by(lie::confuses(AGENTS, "not_found", "forbidden")),
        Check::server(
            "wallet.revoke_scope",
            "RFC 6750 §3.1",
            "revoking with wallet:read: 403 insufficient_scope",
            run!(revoke_scope),
        ),
    ]
}

async fn agents(agent: &Agent<'_>) -> Result<Vec<String>, Stop> {
    let token = agent.session("wallet:read").await?.access_token;
    let list = Place::Wallet.ask(agent, &token).await?.done(200)?.json();
    let ids = list["agents"].as_array().into_iter().flatten();
    Ok(ids.filter_map(|agent| agent["client_id"].as_str().map(str::to_owned)).collect())
}

async fn own_agents(world: &World) -> Outcome {
    let (agent, sibling) = (world.agent(Part::Own).await?, world.agent(Part::Sibling).await?);
    let listed = agents(&agent).await?;
    let both = [&agent, &sibling].iter().all(|agent| listed.contains(&agent.identity.client_id));
    expect(both, format!("{} listed", listed.len()))
}

async fn no_foreign_agents(world: &World) -> Outcome {
    let (agent, foreign) = (world.agent(Part::Own).await?, world.agent(Part::Foreign).await?);
    let listed = agents(&agent).await?;
    let own = listed.contains(&agent.identity.client_id);
    expect(own && !listed.contains(&foreign.identity.client_id), format!("{} listed", listed.len()))
}

/// Revokes an agent that is registered for this, never one that other checks need.
async fn revoke_fresh<'w>(world: &'w World) -> Result<(Agent<'w>, Agent<'w>), Stop> {
    let agent = world.agent(Part::Own).await?;
    let doomed = crate::agent::Identity::register(world, Part::Own).await?;
    Ok((agent, Agent::new(world, doomed.into())))
}

async fn revoke_agent(agent: &Agent<'_>, id: &str) -> Result<Answer, Stop> {
    let token = agent.session("wallet:write").await?.access_token;
    let url = format!("{}/{id}/revoke", Place::Wallet.url(agent.world).await?);
    agent.call(Method::POST, &url, &token, None).await
}

async fn revoke(world: &World) -> Outcome {
    let (agent, doomed) = revoke_fresh(world).await?;
    doomed.ready().await?;
    let answer = revoke_agent(&agent, &doomed.identity.client_id).await?;
    let cascade = &answer.json()["cascade"];
    let ones = ["mandates_revoked", "refresh_tokens_revoked", "access_tokens_revoked"];
    let right = answer.status == 200 && ones.iter().all(|name| cascade[*name] == 1);
    expect(right, format!("{}, {cascade}", answer.summary()))
}

async fn revoke_ends_it(world: &World) -> Outcome {
    let (agent, doomed) = revoke_fresh(world).await?;
    let tokens = doomed.session("wallet:read").await?;
    revoke_agent(&agent, &doomed.identity.client_id).await?.done(200)?;
    doomed.refresh(&tokens.refresh_token, &[]).await?.refused(401, "invalid_client")
}

async fn revoke_twice(world: &World) -> Outcome {
    let (agent, doomed) = revoke_fresh(world).await?;
    revoke_agent(&agent, &doomed.identity.client_id).await?.done(200)?;
    let again = revoke_agent(&agent, &doomed.identity.client_id).await?;
    expect(again.status == 409, again.summary())
}

async fn revoke_unknown(world: &World) -> Outcome {
    let agent = world.agent(Part::Own).await?;
    revoke_agent(&agent, "agent_nobody").await?.refused(404, "not_found")
}

async fn revoke_foreign(world: &World) -> Outcome {
    let (agent, foreign) = (world.agent(Part::Own).await?, world.agent(Part::Foreign).await?);
    let unknown = revoke_agent(&agent, "agent_nobody").await?.summary();
    let answer = revoke_agent(&agent, &foreign.identity.client_id).await?;
    expect(answer.is(404, "not_found") && answer.summary() == unknown, answer.summary())
}

async fn revoke_scope(world: &World) -> Outcome {
    let agent = world.agent(Part::Own).await?;
    let sibling = world.agent(Part::Sibling).await?;
    world.needs_sandbox("an agent that may be lost")?;
    let token = agent.session("wallet:read").await?.access_token;
    let url = format!("{}/{}/revoke", Place::Wallet.url(world).await?, sibling.identity.client_id);
    agent.call(Method::POST, &url, &token, None).await?.refused(403, "insufficient_scope")
}

fn privacy() -> Vec<Check> {
    vec![
        Check::server("dsar.access", "OID4AC v1 §15", "right access: 202 and queued", run!(dsar_access))
            .spoiled_by(lie::set(DSAR, "/status", json!("done"))),
        Check::server(
            "dsar.portability",
            "OID4AC v1 §15",
            "right portability: 200 with this principal's data, nobody else's",
            run!(dsar_portability),
        )
        .spoiled_by(lie::set(DSAR, "/principal/principal_id", json!("principal_x"))),
        Check::server("dsar.unknown_right", "OID4AC v1 §15", "a right that there is not: 400", run!(dsar_unknown))
            .spoiled_by(lie::accepts(DSAR, "invalid_request")),
        Check::server("dsar.rate", "OID4AC v1 §15", "the eleventh request of a day: 429", run!(dsar_rate)),
    ]
}

async fn dsar(agent: &Agent<'_>, token: &str, body: &Value) -> Result<Answer, Stop> {
    let url = Place::Dsar.url(agent.world).await?;
    agent.call(Method::POST, &url, token, Some(body)).await
}

async fn dsar_access(world: &World) -> Outcome {
    let (agent, token) = with_session(world, Place::Dsar).await?;
    let answer = dsar(&agent, &token, &json!({ "right": "access", "delivery_preference": "email" })).await?;
    let status = answer.json()["status"].clone();
    expect(
        (answer.status == 202 || answer.status == 200) && status == "queued",
        format!("{}, {status}", answer.summary()),
    )
}

async fn dsar_portability(world: &World) -> Outcome {
    let (agent, token) = with_session(world, Place::Dsar).await?;
    let (_, claims) = forge::take_apart(&token)?;
    let answer = dsar(&agent, &token, &json!({ "right": "portability", "delivery_preference": "email" })).await?;
    let own = answer.json()["principal"]["principal_id"] == claims["sub"];
    expect(
        answer.status == 200 && own,
        format!("{}, {}", answer.summary(), if own { "the principal's" } else { "not the principal's" }),
    )
}

async fn dsar_unknown(world: &World) -> Outcome {
    let (agent, token) = with_session(world, Place::Dsar).await?;
    dsar(&agent, &token, &json!({ "right": "oblivion" })).await?.refused(400, "invalid_request")
}

async fn dsar_rate(world: &World) -> Outcome {
    world.needs_sandbox("a principal's requests of a day to be used up")?;
    let (agent, token) = with_session(world, Place::Dsar).await?;
    for _ in 0..10 {
        dsar(&agent, &token, &json!({ "right": "access" })).await?.done(202)?;
    }
    dsar(&agent, &token, &json!({ "right": "access" })).await?.refused(429, "rate_limited")
}

fn audit() -> Vec<Check> {
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

const AGENTS: &str = "/wallet/agents";
const DSAR: &str = "/privacy/dsar";
const AUDIT: &str = "/audit/principal/range";
const TOKEN: &str = "invalid_token";
