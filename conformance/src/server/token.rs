//! The token endpoint: codes (RFC 6749 §4.1.3, RFC 7636) and refresh tokens (RFC 6749 §6, RFC 9700 §4.14).

use std::sync::Arc;

use http::StatusCode;
use jose::Alg;
use serde_json::{Value, json};

use super::registration::no_store_header;
use crate::agent::{Agent, Purchase, Tokens, random};
use crate::check::{Check, run};
use crate::identity::Identity;
use crate::lie;
use crate::outcome::{Outcome, Stop, expect};
use crate::wire::{Answer, Call, Form};
use crate::world::{Part, World};

pub(super) fn checks() -> Vec<Check> {
    let mut checks = vec![
        Check::server("token.no_store", "RFC 6749 §5.1", "`Cache-Control: no-store`", run!(no_store))
            .spoiled_by(lie::header(PATH, "cache-control", None)),
        Check::server(
            "token.details",
            "RFC 9396 §7",
            "the `authorization_details` granted are those pushed",
            run!(details),
        )
        .spoiled_by(lie::set(PATH, "/authorization_details/0/amount_minor", json!(1))),
        Check::server(
            "token.code_once",
            "RFC 6749 §4.1.2",
            "a code works once: the second time 400 invalid_grant",
            run!(code_once),
        ),
        Check::server(
            "token.code_cascade_access_token",
            "RFC 6749 §4.1.2",
            "a code used twice takes its access token along",
            run!(code_cascade, Taken::AccessToken),
        ),
        Check::server(
            "token.code_cascade_refresh_token",
            "RFC 6749 §4.1.2",
            "a code used twice takes its refresh token along",
            run!(code_cascade, Taken::RefreshToken),
        ),
        Check::server(
            "token.code_cascade_mandate",
            "OID4AC v1 §8",
            "a code used twice takes its mandate along: 422 mandate_status_revoked",
            run!(code_cascade, Taken::Mandate),
        ),
        Check::server(
            "token.code_race",
            "RFC 6749 §4.1.2",
            "of two redemptions of one code at once, one succeeds",
            run!(code_race),
        ),
        Check::server(
            "token.code_expiry",
            "OID4AC v1 §8",
            "a code that is 60 s old: 400 invalid_grant",
            run!(code_expiry),
        ),
        Check::server(
            "token.code_client",
            "RFC 6749 §5.2",
            "another client's code: 400 invalid_grant, and it stays good",
            run!(code_client),
        ),
        Check::server(
            "token.nonce_does_not_spend",
            "OID4AC v1 §18",
            "use_dpop_nonce does not spend the code",
            run!(nonce_does_not_spend),
        )
        .spoiled_by(lie::refuses(PATH, StatusCode::OK)),
        Check::server(
            "token.strangers_proof",
            "RFC 9449 §5",
            "a proof by another key: 400 invalid_dpop_proof",
            run!(strangers_proof),
        ),
        Check::server(
            "token.no_mandate_for_wallet",
            "OID4AC v1 §8",
            "a wallet session brings no `mandate_jwt`",
            run!(no_mandate_for_wallet),
        )
        .spoiled_by(lie::set(PATH, "/mandate_jwt", json!("e30.e30.e30"))),
        Check::server(
            "refresh.rotates",
            "RFC 9700 §4.14.2",
            "a refresh brings another refresh token, and no `mandate_jwt`",
            run!(rotates),
        )
        .spoiled_by(lie::json_at(PATH, |json| {
            if json.get("mandate_jwt").is_none() {
                json["mandate_jwt"] = json!("e30.e30.e30");
            }
        })),
        Check::server(
            "refresh.same_mandate",
            "OID4AC v1 §8",
            "a refreshed access token belongs to the same mandate",
            run!(same_mandate),
        )
        .spoiled_by(lie::json_at("/oauth/introspect", |json| json["mandate_id"] = json!(random::<16>()))),
        Check::server(
            "refresh.narrows",
            "RFC 6749 §6",
            "a refresh may ask for less scope and gets that",
            run!(narrows),
        )
        .spoiled_by(lie::set(PATH, "/scope", json!("openid payment:initiate"))),
        Check::server(
            "refresh.no_wider_scope",
            "RFC 6749 §6",
            "a refresh that asks for more scope: 400 invalid_scope",
            run!(no_wider_scope),
        ),
        Check::server(
            "refresh.another_resource",
            "RFC 8707 §2.2",
            "a refresh for another resource: 400 invalid_target",
            run!(another_resource),
        ),
        Check::server(
            "refresh.old_token",
            "RFC 9700 §4.14.2",
            "a rotated refresh token: 400 invalid_grant",
            run!(old_token),
        ),
        Check::server(
            "refresh.cascade_refresh_token",
            "RFC 9700 §4.14.2",
            "a rotated refresh token takes its family along: the newest gets 400 invalid_grant",
            run!(cascade, Taken::RefreshToken),
        ),
        Check::server(
            "refresh.cascade_access_token",
            "RFC 9700 §4.14.2",
            "a rotated refresh token takes the access tokens of its family along",
            run!(cascade, Taken::AccessToken),
        ),
        Check::server(
            "refresh.cascade_mandate",
            "OID4AC v1 §8",
            "a rotated refresh token takes its mandate along: 422 mandate_status_revoked",
            run!(cascade, Taken::Mandate),
        ),
        Check::server(
            "refresh.client",
            "RFC 6749 §6",
            "another client's refresh token: 400 invalid_grant",
            run!(refresh_client),
        ),
        Check::server(
            "refresh.expiry",
            "OID4AC v1 §8",
            "a refresh token that is a day old: 400 invalid_grant",
            run!(refresh_expiry),
        ),
        Check::server(
            "refresh.family_expiry",
            "OID4AC v1 §8",
            "a family that is 30 days old, however often rotated: 400 invalid_grant",
            run!(family_expiry),
        )
        .spoiled_by(lie::accepts(PATH, GRANT)),
        Check::server(
            "refresh.unknown",
            "RFC 6749 §5.2",
            "a refresh token that was never issued: 400 invalid_grant",
            run!(unknown),
        )
        .spoiled_by(lie::accepts(PATH, GRANT)),
    ];
    for (member, section, holds) in MEMBERS {
        let id = format!("token.{member}");
        let check = Check::server(id, section, format!("`{member}` is as it has to be"), run!(reply, member, holds));
        checks.push(check.spoiled_by(lie::set(PATH, format!("/{member}"), json!(0))));
    }
    for (what, section, error, change) in PARAMETERS {
        let expected = format!("{}: 400 {error}, and the code stays good", what.replace('_', " "));
        let check = Check::server(format!("token.refuses_{what}"), section, expected, run!(refused, change, error));
        checks.push(check.spoiled_by(lie::accepts(PATH, error)));
    }
    checks
}

type Holds = fn(&Value) -> bool;

const MEMBERS: [(&str, &str, Holds); 5] = [
    ("access_token", "RFC 6749 §5.1", |v| v.as_str().is_some_and(|token| !token.is_empty())),
    ("refresh_token", "RFC 6749 §5.1", |v| v.as_str().is_some_and(|token| token.len() >= 22)),
    ("token_type", "RFC 9449 §5", |v| v.as_str().is_some_and(|name| name.eq_ignore_ascii_case("DPoP"))),
    ("expires_in", "OID4AC v1 §8", |v| v.as_u64() == Some(300)),
    ("scope", "RFC 6749 §5.1", |v| v.as_str().is_some_and(|scope| scope.contains("payment"))),
];

type Change = fn(&mut Form);

const PARAMETERS: [(&str, &str, &str, Change); 11] = [
    ("no_grant_type", "RFC 6749 §5.2", "invalid_request", |f| f.remove("grant_type")),
    ("client_credentials", "RFC 6749 §5.2", "unsupported_grant_type", |f| f.set("grant_type", "client_credentials")),
    ("no_code", "RFC 6749 §5.2", "invalid_request", |f| f.remove("code")),
    ("a_made_up_code", "RFC 6749 §5.2", GRANT, |f| f.set("code", "made-up")),
    ("no_code_verifier", "RFC 7636 §4.6", GRANT, |f| f.remove("code_verifier")),
    ("another_code_verifier", "RFC 7636 §4.6", GRANT, |f| f.set("code_verifier", "a".repeat(43))),
    ("no_redirect_uri", "RFC 6749 §4.1.3", GRANT, |f| f.remove("redirect_uri")),
    ("another_redirect_uri", "RFC 6749 §4.1.3", GRANT, |f| f.set("redirect_uri", "http://127.0.0.1/cb")),
    ("no_resource", "OID4AC v1 §8", "invalid_target", |f| f.remove("resource")),
    ("another_resource", "RFC 8707 §2.2", "invalid_target", |f| f.set("resource", "https://shop.example")),
    ("a_parameter_twice", "RFC 6749 §3.2", "invalid_request", |f| f.add("code", "another")),
];

async fn with_code(world: &World) -> Result<(Agent<'_>, Purchase, Form), Stop> {
    let agent = world.agent(Part::Own).await?;
    let (_, purchase) = agent.purchase().await?;
    let code = agent.code_for(&agent.par_form(&purchase)).await?;
    let form = Agent::token_form(&purchase, &code);
    Ok((agent, purchase, form))
}

async fn reply(world: &World, member: &'static str, holds: Holds) -> Outcome {
    let (agent, _, form) = with_code(world).await?;
    let value = agent.token(&form).await?.done(200)?.json()[member].clone();
    let kind = match value {
        Value::Null => "nothing",
        Value::String(_) => "text",
        Value::Number(_) => "a number",
        _ => "something else",
    };
    expect(holds(&value), kind)
}

async fn no_store(world: &World) -> Outcome {
    let (agent, _, form) = with_code(world).await?;
    no_store_header(&agent.token(&form).await?.done(200)?)
}

async fn details(world: &World) -> Outcome {
    let (agent, purchase, form) = with_code(world).await?;
    let granted = &agent.token(&form).await?.done(200)?.json()["authorization_details"][0];
    let asked = Agent::details(&purchase);
    let names = ["type", "amount_minor", "currency", "merchant", "line_items", "offer_digest"];
    let differing: Vec<_> = names.into_iter().filter(|name| granted[*name] != asked[*name]).collect();
    expect(
        differing.is_empty(),
        if differing.is_empty() { "the same".into() } else { differing.join(", ") + " differ" },
    )
}

async fn code_once(world: &World) -> Outcome {
    let (agent, _, form) = with_code(world).await?;
    agent.token(&form).await?.done(200)?;
    agent.token(&form).await?.refused(400, GRANT)
}

/// What goes along when a code or a refresh token is used twice.
#[derive(Clone, Copy)]
enum Taken {
    AccessToken,
    RefreshToken,
    Mandate,
}

/// Whether it went along.
async fn is_taken(agent: &Agent<'_>, purchase: &Purchase, tokens: &Tokens, taken: Taken) -> Outcome {
    match taken {
        Taken::AccessToken => {
            let active = agent.introspect(&tokens.access_token).await?["active"].clone();
            expect(active == false, format!("introspection says active: {active}"))
        }
        Taken::RefreshToken => agent.refresh(&tokens.refresh_token, &[]).await?.refused(400, GRANT),
        Taken::Mandate => {
            // A merchant may rely on its copy of the status list for a minute.
            agent.world.wait(61).await?;
            agent.pay(purchase, &tokens.mandate, &random::<16>()).await?.refused(422, "mandate_status_revoked")
        }
    }
}

async fn code_cascade(world: &World, taken: Taken) -> Outcome {
    let (agent, purchase, form) = with_code(world).await?;
    let tokens = agent.redeem(&form).await?;
    let again = agent.token(&form).await?;
    if !again.is(400, GRANT) {
        return Err(Stop::Broken(format!("the second use: {}", again.summary())));
    }
    is_taken(&agent, &purchase, &tokens, taken).await
}

async fn code_race(world: &World) -> Outcome {
    let (agent, _, form) = with_code(world).await?;
    let (one, two) = tokio::join!(agent.token(&form), agent.token(&form));
    let mut statuses = [one?.status, two?.status];
    statuses.sort_unstable();
    expect(statuses == [200, 400], format!("{} and {}", statuses[0], statuses[1]))
}

async fn code_expiry(world: &World) -> Outcome {
    let (agent, _, form) = with_code(world).await?;
    world.wait(60).await?;
    agent.token(&form).await?.refused(400, GRANT)
}

async fn code_client(world: &World) -> Outcome {
    let (agent, _, form) = with_code(world).await?;
    let other = world.agent(Part::Sibling).await?;
    let seen = other.token(&form).await?.refused(400, GRANT)?;
    let own = agent.token(&form).await?;
    expect(own.status == 200, format!("{seen}; then its own client: {}", own.summary()))
}

async fn token_once(agent: &Agent<'_>, form: &Form, proof: &str) -> Result<Answer, Stop> {
    let mut form = form.clone();
    agent.authenticate(&mut form).await?;
    let url = agent.world.endpoint("token_endpoint").await?;
    agent.world.http.send(Call::post(&url).form(&form).header("dpop", proof)).await
}

async fn nonce_does_not_spend(world: &World) -> Outcome {
    let (agent, _, form) = with_code(world).await?;
    let url = world.endpoint("token_endpoint").await?;
    let mut claims = agent.proof_claims("POST", &url, None);
    claims["nonce"] = json!("made-up");
    let first = token_once(&agent, &form, &agent.sign_proof(&claims)).await?;
    if !first.is(400, "use_dpop_nonce") {
        return Err(Stop::Broken(format!("a made-up nonce: {}", first.summary())));
    }
    agent.token(&form).await?.accepted(200)
}

async fn strangers_proof(world: &World) -> Outcome {
    let (agent, _, form) = with_code(world).await?;
    let url = world.endpoint("token_endpoint").await?;
    let stranger = Agent::new(world, Arc::new(Identity::unregistered(Alg::EdDsa)));
    let proof = stranger.sign_proof(&agent.proof_claims("POST", &url, None));
    token_once(&agent, &form, &proof).await?.refused(400, "invalid_dpop_proof")
}

async fn no_mandate_for_wallet(world: &World) -> Outcome {
    let agent = world.agent(Part::Own).await?;
    let mandate = agent.session("wallet:read").await?.mandate;
    expect(mandate.is_empty(), if mandate.is_empty() { "none" } else { "one" })
}

async fn refused(world: &World, change: Change, error: &'static str) -> Outcome {
    let (agent, _, good) = with_code(world).await?;
    let mut form = good.clone();
    change(&mut form);
    let seen = agent.token(&form).await?.refused(400, error)?;
    let then = agent.token(&good).await?;
    expect(then.status == 200, format!("{seen}; then as it should be: {}", then.summary()))
}

async fn with_tokens(world: &World) -> Result<(Agent<'_>, Purchase, Tokens), Stop> {
    let (agent, purchase, form) = with_code(world).await?;
    let tokens = agent.redeem(&form).await?;
    Ok((agent, purchase, tokens))
}

async fn rotates(world: &World) -> Outcome {
    let (agent, _, tokens) = with_tokens(world).await?;
    let reply = agent.refresh(&tokens.refresh_token, &[]).await?.done(200)?;
    let rotated = reply.text("refresh_token")? != tokens.refresh_token;
    let mandate = reply.json().get("mandate_jwt").is_some();
    let seen = match (rotated, mandate) {
        (false, _) => "the same refresh token",
        (_, true) => "a `mandate_jwt`",
        _ => "another refresh token, no `mandate_jwt`",
    };
    expect(rotated && !mandate, seen)
}

async fn same_mandate(world: &World) -> Outcome {
    let (agent, _, tokens) = with_tokens(world).await?;
    let fresh = agent.refresh(&tokens.refresh_token, &[]).await?.done(200)?.text("access_token")?;
    let one = agent.introspect(&tokens.access_token).await?["mandate_id"].clone();
    let two = agent.introspect(&fresh).await?["mandate_id"].clone();
    let same = one.is_string() && one == two;
    expect(same, if same { "the same" } else { "another, or none" })
}

async fn narrows(world: &World) -> Outcome {
    let (agent, _, tokens) = with_tokens(world).await?;
    let reply = agent.refresh(&tokens.refresh_token, &[("scope", "payment:initiate")]).await?.done(200)?;
    let scope = reply.text("scope")?;
    expect(scope == "payment:initiate", scope)
}

async fn no_wider_scope(world: &World) -> Outcome {
    let (agent, _, tokens) = with_tokens(world).await?;
    let wider = [("scope", "openid payment:initiate wallet:write")];
    agent.refresh(&tokens.refresh_token, &wider).await?.refused(400, "invalid_scope")
}

async fn another_resource(world: &World) -> Outcome {
    let (agent, _, tokens) = with_tokens(world).await?;
    let other = [("resource", "https://shop.example")];
    agent.refresh(&tokens.refresh_token, &other).await?.refused(400, "invalid_target")
}

/// Rotates once: the tokens of the family's first and of its newest.
async fn rotated(world: &World) -> Result<(Agent<'_>, Purchase, Tokens, Tokens), Stop> {
    let (agent, purchase, first) = with_tokens(world).await?;
    let reply = agent.refresh(&first.refresh_token, &[]).await?.done(200)?;
    let newest = Tokens {
        access_token: reply.text("access_token")?,
        refresh_token: reply.text("refresh_token")?,
        mandate: first.mandate.clone(),
    };
    Ok((agent, purchase, first, newest))
}

async fn old_token(world: &World) -> Outcome {
    let (agent, _, first, _) = rotated(world).await?;
    agent.refresh(&first.refresh_token, &[]).await?.refused(400, GRANT)
}

async fn cascade(world: &World, taken: Taken) -> Outcome {
    let (agent, purchase, first, newest) = rotated(world).await?;
    let again = agent.refresh(&first.refresh_token, &[]).await?;
    if !again.is(400, GRANT) {
        return Err(Stop::Broken(format!("the old token: {}", again.summary())));
    }
    is_taken(&agent, &purchase, &newest, taken).await
}

async fn refresh_client(world: &World) -> Outcome {
    let (_, _, tokens) = with_tokens(world).await?;
    let other = world.agent(Part::Sibling).await?;
    other.refresh(&tokens.refresh_token, &[]).await?.refused(400, GRANT)
}

async fn refresh_expiry(world: &World) -> Outcome {
    let (agent, _, tokens) = with_tokens(world).await?;
    world.wait(86_400).await?;
    agent.refresh(&tokens.refresh_token, &[]).await?.refused(400, GRANT)
}

async fn family_expiry(world: &World) -> Outcome {
    let (agent, _, tokens) = with_tokens(world).await?;
    let mut newest = tokens.refresh_token;
    for _ in 0..30 {
        world.wait(86_399).await?;
        newest = agent.refresh(&newest, &[]).await?.done(200)?.text("refresh_token")?;
    }
    world.wait(30).await?;
    agent.refresh(&newest, &[]).await?.refused(400, GRANT)
}

async fn unknown(world: &World) -> Outcome {
    let agent = world.agent(Part::Own).await?;
    agent.refresh("made-up", &[]).await?.refused(400, GRANT)
}

const PATH: &str = "/oauth/token";
const GRANT: &str = "invalid_grant";
