//! Token revocation (RFC 7009) and introspection (RFC 7662).

use http::StatusCode;
use serde_json::{Value, json};

use crate::agent::{Agent, Purchase, Tokens, random};
use crate::check::{Check, run};
use crate::lie;
use crate::outcome::{Outcome, Stop, expect};
use crate::wire::{Call, Form};
use crate::world::{Part, World};

pub(super) fn checks() -> Vec<Check> {
    let mut checks = vec![
        Check::server("revoke.answer", "RFC 7009 §2.2", "200 with an empty body", run!(answer)).spoiled_by(lie::at(
            REVOKE,
            |mut answer| {
                *answer.body_mut() = bytes::Bytes::from_static(b"{}");
                answer
            },
        )),
        Check::server(
            "revoke.unknown_token",
            "RFC 7009 §2.2",
            "a token that was never issued: 200",
            run!(unknown_token),
        )
        .spoiled_by(lie::refuses(REVOKE, StatusCode::OK)),
        Check::server(
            "revoke.unauthenticated",
            "RFC 7009 §2.1",
            "without client authentication: 401 invalid_client",
            run!(unauthenticated, "revocation_endpoint"),
        )
        .spoiled_by(lie::accepts(REVOKE, "invalid_client")),
        Check::server(
            "revoke.client",
            "RFC 7009 §2.1",
            "another client's token is refused, and stays active",
            run!(client),
        ),
        Check::server(
            "revoke.access_token",
            "OID4AC v1 §8",
            "an access token goes, and goes alone: its refresh token stays",
            run!(access_token),
        )
        .spoiled_by(lie::set(INTROSPECT, "/active", json!(true))),
        Check::server(
            "revoke.refresh_token",
            "RFC 7009 §2.1",
            "a refresh token takes its access tokens along",
            run!(refresh_token),
        )
        .spoiled_by(lie::set(INTROSPECT, "/active", json!(true))),
        Check::server(
            "revoke.mandate",
            "OID4AC v1 §8",
            "a refresh token takes its mandate along: 422 mandate_status_revoked",
            run!(mandate),
        ),
        Check::server(
            "introspect.unauthenticated",
            "RFC 7662 §2.1",
            "without client authentication: 401 invalid_client",
            run!(unauthenticated, "introspection_endpoint"),
        )
        .spoiled_by(lie::accepts(INTROSPECT, "invalid_client")),
        Check::server(
            "introspect.unknown_token",
            "RFC 7662 §2.2",
            "a token that was never issued: exactly {\"active\": false}",
            run!(introspect_unknown),
        )
        .spoiled_by(lie::set(INTROSPECT, "/scope", json!("openid"))),
        Check::server(
            "introspect.expired",
            "RFC 7662 §2.2",
            "an access token that is 300 s old: exactly {\"active\": false}",
            run!(introspect_expired),
        )
        .spoiled_by(lie::set(INTROSPECT, "/active", json!(true))),
        Check::server(
            "introspect.another_clients_access_token",
            "RFC 7662 §4",
            "another client's access token: exactly {\"active\": false}",
            run!(introspect_foreign, |tokens: &Tokens| tokens.access_token.clone()),
        ),
        Check::server(
            "introspect.another_clients_refresh_token",
            "RFC 7662 §4",
            "another client's refresh token: exactly {\"active\": false}",
            run!(introspect_foreign, |tokens: &Tokens| tokens.refresh_token.clone()),
        ),
    ];
    for (member, expected, holds) in CLAIMS {
        let check =
            Check::server(format!("introspect.{member}"), "RFC 7662 §2.2", expected, run!(claim, member, holds));
        checks.push(check.spoiled_by(lie::set(INTROSPECT, format!("/{member}"), json!("something else"))));
    }
    checks
}

type Holds = fn(&Value, &Agent<'_>, &Purchase) -> bool;

const CLAIMS: [(&str, &str, Holds); 5] = [
    ("active", "`active` is true", |v, _, _| *v == true),
    ("client_id", "`client_id` is the client's", |v, agent, _| *v == agent.identity.client_id),
    ("aud", "`aud` is the merchant", |v, _, purchase| *v == purchase.shop.origin),
    ("token_type", "`token_type` is DPoP", |v, _, _| *v == "DPoP"),
    ("exp", "`exp` is a time to come, at most 300 s away", |v, agent, _| {
        let left = v.as_i64().unwrap_or_default() - agent.world.now();
        (1..=300).contains(&left)
    }),
];

async fn ready(world: &World) -> Result<(Agent<'_>, Purchase, Tokens), Stop> {
    let agent = world.agent(Part::Own).await?;
    let ready = agent.ready().await?;
    Ok((agent, ready.purchase, ready.tokens))
}

async fn answer(world: &World) -> Outcome {
    let (agent, _, tokens) = ready(world).await?;
    let answer = agent.revoke(&tokens.access_token).await?;
    let seen = format!("{}, {} octets", answer.status, answer.body.len());
    expect(answer.status == 200 && answer.body.is_empty(), seen)
}

async fn unknown_token(world: &World) -> Outcome {
    world.agent(Part::Own).await?.revoke("what token?").await?.accepted(200)
}

async fn unauthenticated(world: &World, endpoint: &'static str) -> Outcome {
    let url = world.endpoint(endpoint).await?;
    world.http.send(Call::post(&url).form(&Form::of(&[("token", "x")]))).await?.refused(401, "invalid_client")
}

async fn client(world: &World) -> Outcome {
    let (agent, _, tokens) = ready(world).await?;
    let other = world.agent(Part::Sibling).await?;
    let refused = other.revoke(&tokens.refresh_token).await?;
    let active = agent.introspect(&tokens.refresh_token).await?["active"].clone();
    let seen = format!("{}, then active: {active}", refused.summary());
    expect((400..500).contains(&refused.status) && active == true, seen)
}

async fn active(agent: &Agent<'_>, token: &str) -> Result<bool, Stop> {
    Ok(agent.introspect(token).await?["active"] == true)
}

async fn access_token(world: &World) -> Outcome {
    let (agent, _, tokens) = ready(world).await?;
    agent.revoke(&tokens.access_token).await?.done(200)?;
    let (gone, stays) = (!active(&agent, &tokens.access_token).await?, active(&agent, &tokens.refresh_token).await?);
    let seen = match (gone, stays) {
        (false, _) => "it is still active",
        (_, false) => "its refresh token is gone too",
        _ => "it is gone, its refresh token stays",
    };
    expect(gone && stays, seen)
}

async fn refresh_token(world: &World) -> Outcome {
    let (agent, _, tokens) = ready(world).await?;
    agent.revoke(&tokens.refresh_token).await?.done(200)?;
    let gone = !active(&agent, &tokens.refresh_token).await? && !active(&agent, &tokens.access_token).await?;
    expect(gone, if gone { "both are gone" } else { "one is still active" })
}

async fn mandate(world: &World) -> Outcome {
    let (agent, purchase, tokens) = ready(world).await?;
    agent.revoke(&tokens.refresh_token).await?.done(200)?;
    world.wait(61).await?;
    agent.pay(&purchase, &tokens.mandate, &random::<16>()).await?.refused(422, "mandate_status_revoked")
}

/// Whether that is all an introspection says.
fn is_inactive(answer: &Value) -> Outcome {
    let names = answer.as_object().map(crate::forge::names).unwrap_or_default();
    let active = answer["active"] == true;
    expect(
        *answer == json!({ "active": false }),
        format!("{} with members: {names}", if active { "active" } else { "inactive" }),
    )
}

async fn introspect_unknown(world: &World) -> Outcome {
    is_inactive(&world.agent(Part::Own).await?.introspect("what token?").await?)
}

async fn introspect_expired(world: &World) -> Outcome {
    let (agent, _, tokens) = ready(world).await?;
    world.wait(300).await?;
    is_inactive(&agent.introspect(&tokens.access_token).await?)
}

async fn introspect_foreign(world: &World, token: fn(&Tokens) -> String) -> Outcome {
    let (_, _, tokens) = ready(world).await?;
    is_inactive(&world.agent(Part::Sibling).await?.introspect(&token(&tokens)).await?)
}

async fn claim(world: &World, member: &'static str, holds: Holds) -> Outcome {
    let (agent, purchase, tokens) = ready(world).await?;
    let value = agent.introspect(&tokens.access_token).await?[member].clone();
    let right = holds(&value, &agent, &purchase);
    expect(right, if right { "as expected" } else { "another value, or none" })
}

const REVOKE: &str = "/oauth/revoke";
const INTROSPECT: &str = "/oauth/introspect";
