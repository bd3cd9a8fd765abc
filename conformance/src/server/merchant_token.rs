//! Requirements on the access token sent along with a presentation (RFC 9068, RFC 9449).

use serde_json::Value;

use super::presentation::{PATH, Ready, remove};
use crate::agent::Agent;
use crate::check::{Check, run};
use crate::forge;
use crate::forge::new_key;
use crate::lie;
use crate::outcome::{Outcome, Stop, expect, skipped};
use crate::wire::{Answer, Call};
use crate::world::{Part, World};

pub(super) fn checks() -> Vec<Check> {
    let mut checks = vec![
        Check::server("merchant_token.accepted", "OID4AC v1 §13", "a token and a proof that hold: 200", run!(accepted))
            .spoiled_by(lie::refuses(PATH, http::StatusCode::OK)),
        Check::server(
            "merchant_token.nonce",
            "RFC 9449 §9",
            "a proof without nonce: 401 use_dpop_nonce with `WWW-Authenticate: DPoP` and a `DPoP-Nonce`",
            run!(nonce),
        ),
        Check::server(
            "merchant_token.replay",
            "RFC 9449 §11.1",
            "a proof works once: then 401 invalid_dpop_proof",
            run!(replay),
        ),
        Check::server(
            "merchant_token.expired",
            "RFC 9068 §4",
            "an access token that is 300 s old: 401 invalid_token",
            run!(expired),
        ),
        Check::server(
            "merchant_token.checked_first",
            "OID4AC v1 §13",
            "a refused token spends neither challenge nor KB-JWT",
            run!(checked_first),
        )
        .spoiled_by(lie::refuses(PATH, http::StatusCode::OK)),
        Check::server(
            "merchant_token.another_mandate",
            "OID4AC v1 §13",
            "another mandate's token: 401 invalid_token",
            run!(another_mandate),
        ),
        Check::server(
            "merchant_token.another_merchant",
            "RFC 9068 §4",
            "another merchant's token: 401 invalid_token",
            run!(another_merchant),
        ),
        Check::server(
            "merchant_token.strangers_proof",
            "RFC 9449 §7.1",
            "a stranger's proof: 401 invalid_token",
            run!(strangers_proof),
        ),
    ];
    for (what, section, error, make) in SENDERS {
        let expected = format!("{}: 401 {error}", what.replace('_', " "));
        let id = format!("merchant_token.refuses_{what}");
        let check = Check::server(id, section, expected, run!(refused, make, error));
        checks.push(check.spoiled_by(lie::accepts(PATH, error)));
    }
    for alg in forge::Alg::ALL {
        let expected = format!("an access token under alg {}: 401 invalid_token", alg.name());
        let id = format!("alg.merchant_token_{}", alg.slug());
        let check = Check::server(id, "OID4AC v1 §17", expected, run!(algorithm, alg));
        checks.push(check.spoiled_by(lie::accepts(PATH, "invalid_token")));
    }
    checks
}

/// `Authorization` and proofs.
type Sender = (String, Vec<String>);
type Make = fn(&Agent<'_>, &str, &str) -> Sender;

const SENDERS: [(&str, &str, &str, Make); 8] = [
    ("no_proof", "RFC 9449 §7.1", "invalid_dpop_proof", |_, _, token| (format!("DPoP {token}"), Vec::new())),
    ("a_proof_for_another_path", "RFC 9449 §4.3", "invalid_dpop_proof", |agent, url, token| {
        let mut claims = agent.proof_claims("POST", url, Some(token));
        claims["htu"] = format!("{url}/more").into();
        (format!("DPoP {token}"), vec![agent.sign_proof(&claims)])
    }),
    ("a_proof_without_ath", "RFC 9449 §7.1", "invalid_dpop_proof", |agent, url, token| {
        (format!("DPoP {token}"), vec![agent.proof("POST", url, None)])
    }),
    ("a_proof_for_another_token", "RFC 9449 §7.1", "invalid_dpop_proof", |agent, url, token| {
        (format!("DPoP {token}"), vec![agent.proof("POST", url, Some("another"))])
    }),
    ("a_bound_token_as_bearer", "RFC 9449 §7.2", "invalid_token", |agent, url, token| {
        (format!("Bearer {token}"), vec![agent.proof("POST", url, Some(token))])
    }),
    ("a_token_with_another_signature", "RFC 9068 §4", "invalid_token", |agent, url, token| {
        let (signed, signature) = token.rsplit_once('.').unwrap_or_default();
        let flipped = if signature.starts_with('A') { 'B' } else { 'A' };
        let forged = format!("{signed}.{flipped}{}", signature.get(1..).unwrap_or_default());
        (format!("DPoP {forged}"), vec![agent.proof("POST", url, Some(&forged))])
    }),
    ("a_token_of_a_strangers", "RFC 9068 §4", "invalid_token", |agent, url, token| {
        let parts = forge::take_apart(token).unwrap_or_default();
        let forged = forge::sign(&parts.0, &parts.1, &new_key(jose::Alg::EdDsa));
        (format!("DPoP {forged}"), vec![agent.proof("POST", url, Some(&forged))])
    }),
    ("what_is_no_token", "RFC 6750 §3.1", "invalid_token", |agent, url, _| {
        ("DPoP what?".to_owned(), vec![agent.proof("POST", url, Some("what?"))])
    }),
];

async fn send(ready: &Ready<'_>, body: &Value, sender: &Sender) -> Result<Answer, Stop> {
    let (authorization, proofs) = sender;
    let url = &ready.purchase.shop.verify_url;
    let mut call = Call::post(url).json(body).header("authorization", authorization.clone());
    for proof in proofs {
        call = call.header("dpop", proof.clone());
    }
    let answer = ready.agent.world.http.send(call).await?;
    ready.agent.note_nonce(url, &answer);
    Ok(answer)
}

fn sender(agent: &Agent<'_>, url: &str, token: &str) -> Sender {
    (format!("DPoP {token}"), vec![agent.proof("POST", url, Some(token))])
}

/// Everything for one payment at a merchant whose nonce the agent knows.
async fn ready(world: &World) -> Result<Ready<'_>, Stop> {
    let ready = Ready::new(world).await?;
    let url = &ready.purchase.shop.verify_url;
    let answer = world.http.send(Call::post(url).json(&serde_json::json!({}))).await?;
    ready.agent.note_nonce(url, &answer);
    Ok(ready)
}

async fn accepted(world: &World) -> Outcome {
    let ready = ready(world).await?;
    let sender = sender(&ready.agent, &ready.purchase.shop.verify_url, &ready.tokens.access_token);
    send(&ready, &ready.body()?, &sender).await?.accepted(200)
}

async fn nonce(world: &World) -> Outcome {
    let ready = ready(world).await?;
    let (url, token) = (&ready.purchase.shop.verify_url, &ready.tokens.access_token);
    let mut claims = ready.agent.proof_claims("POST", url, Some(token));
    remove(&mut claims, "nonce");
    let sender = (format!("DPoP {token}"), vec![ready.agent.sign_proof(&claims)]);
    let answer = send(&ready, &ready.body()?, &sender).await?;
    let challenged = answer.header("www-authenticate").is_some_and(|value| value.starts_with("DPoP"));
    let given = answer.header("dpop-nonce").is_some();
    expect(answer.is(401, "use_dpop_nonce") && challenged && given, answer.summary())
}

async fn replay(world: &World) -> Outcome {
    let ready = ready(world).await?;
    let (url, token) = (&ready.purchase.shop.verify_url, &ready.tokens.access_token);
    let sender = sender(&ready.agent, url, token);
    send(&ready, &ready.body()?, &sender).await?.done(200)?;
    send(&ready, &ready.body()?, &sender).await?.refused(401, "invalid_dpop_proof")
}

async fn expired(world: &World) -> Outcome {
    let ready = ready(world).await?;
    world.wait(300).await?;
    let url = &ready.purchase.shop.verify_url;
    let answer = world.http.send(Call::post(url).json(&serde_json::json!({}))).await?;
    ready.agent.note_nonce(url, &answer);
    let sender = sender(&ready.agent, url, &ready.tokens.access_token);
    send(&ready, &ready.body()?, &sender).await?.refused(401, "invalid_token")
}

async fn checked_first(world: &World) -> Outcome {
    let ready = ready(world).await?;
    let (url, token) = (&ready.purchase.shop.verify_url, &ready.tokens.access_token);
    let body = ready.body()?;
    let unproved = (format!("DPoP {token}"), vec![ready.agent.proof("POST", url, None)]);
    let refused = send(&ready, &body, &unproved).await?;
    if refused.status != 401 {
        return Err(Stop::Broken(format!("a proof without `ath`: {}", refused.summary())));
    }
    send(&ready, &body, &sender(&ready.agent, url, token)).await?.accepted(200)
}

async fn with_token(ready: &Ready<'_>, token: &str) -> Outcome {
    let sender = sender(&ready.agent, &ready.purchase.shop.verify_url, token);
    send(ready, &ready.body()?, &sender).await?.refused(401, "invalid_token")
}

async fn another_mandate(world: &World) -> Outcome {
    let ready = ready(world).await?;
    let other = ready.agent.tokens(&ready.purchase).await?.access_token;
    with_token(&ready, &other).await
}

async fn another_merchant(world: &World) -> Outcome {
    let ready = ready(world).await?;
    let elsewhere = ready.agent.ready_at(1).await?.tokens.access_token;
    with_token(&ready, &elsewhere).await
}

async fn strangers_proof(world: &World) -> Outcome {
    let ready = ready(world).await?;
    let stranger = world.agent(Part::Sibling).await?;
    let (url, token) = (&ready.purchase.shop.verify_url, &ready.tokens.access_token);
    let claims = ready.agent.proof_claims("POST", url, Some(token));
    let sender = (format!("DPoP {token}"), vec![stranger.sign_proof(&claims)]);
    send(&ready, &ready.body()?, &sender).await?.refused(401, "invalid_token")
}

async fn refused(world: &World, make: Make, error: &'static str) -> Outcome {
    let ready = ready(world).await?;
    let sender = make(&ready.agent, &ready.purchase.shop.verify_url, &ready.tokens.access_token);
    send(&ready, &ready.body()?, &sender).await?.refused(401, error)
}

async fn algorithm(world: &World, alg: forge::Alg) -> Outcome {
    let ready = ready(world).await?;
    let keys = world.as_keys().await?;
    let Some(public) = keys.keys().first().map(|jwk| jwk.key().members_json()) else {
        return skipped("needs a key in the JWK set");
    };
    let (header, claims) = forge::take_apart(&ready.tokens.access_token)?;
    let attacker = new_key(jose::Alg::EdDsa);
    let forged = alg.sign(&header, &claims.to_string(), &attacker, public.as_bytes());
    with_token(&ready, &forged).await
}
