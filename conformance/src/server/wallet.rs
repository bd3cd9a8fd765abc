//! The principal's own data: who is let in at its three endpoints, the wallet API, requests for data (OID4AC v1 §14 and
//! §15).

use http::Method;
use jose::Alg;
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::check::{Check, run};
use crate::forge;
use crate::forge::new_key;
use crate::identity::Identity;
use crate::lie;
use crate::outcome::{Outcome, Stop, broken, expect};
use crate::wire::{Answer, Call};
use crate::world::{Part, World};

pub(super) fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    for place in Place::ALL {
        checks.extend(guards(place));
    }
    checks.extend(wallet());
    checks.extend(privacy());
    checks
}

/// One of the endpoints at which a principal's token is taken.
#[derive(Clone, Copy)]
pub(super) enum Place {
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

    pub(super) async fn url(self, world: &World) -> Result<String, Stop> {
        match self {
            Self::Wallet => world.endpoint_or("wallet_agents_endpoint", AGENTS).await,
            Self::Dsar => world.endpoint_or("dsar_endpoint", DSAR).await,
            Self::Audit => world.endpoint_or("audit_endpoint", AUDIT).await,
        }
    }

    /// Asks once under the DPoP scheme, dancing for the nonce.
    pub(super) async fn ask(self, agent: &Agent<'_>, token: &str) -> Result<Answer, Stop> {
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

pub(super) async fn with_session(world: &World, place: Place) -> Result<(Agent<'_>, String), Stop> {
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
            "a revoked agent cannot authenticate: 401 invalid_client",
            run!(revoke_ends_it),
        )
        .spoiled_by(lie::accepts("/oauth/token", "invalid_client")),
        Check::server("wallet.revoke_twice", "OID4AC v1 §14", "an agent revoked twice: 409", run!(revoke_twice))
            .spoiled_by(lie::accepts(AGENTS, "conflict")),
        Check::server("wallet.revoke_unknown", "OID4AC v1 §14", "an unknown agent: 404", run!(revoke_unknown))
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
    let doomed = Identity::register(world, Part::Own).await?;
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
            "right portability: 200 with this principal's data only",
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

const AGENTS: &str = "/wallet/agents";
const DSAR: &str = "/privacy/dsar";
pub(super) const AUDIT: &str = "/audit/principal/range";
const TOKEN: &str = "invalid_token";
