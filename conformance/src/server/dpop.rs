//! DPoP proofs and their nonce (RFC 9449), seen at the PAR endpoint.

use std::sync::Arc;

use http::StatusCode;
use jose::{Alg, Signer as _};
use serde_json::{Value, json};

use crate::agent::{Agent, PAR};
use crate::check::{Check, run};
use crate::forge;
use crate::forge::new_key;
use crate::identity::Identity;
use crate::lie;
use crate::outcome::{Outcome, Stop, expect};
use crate::wire::{Answer, Call, Form};
use crate::world::{Part, World};

pub(super) fn checks() -> Vec<Check> {
    let mut checks = vec![
        Check::server(
            "dpop.replay",
            "RFC 9449 §11.1",
            "a proof works once: the second time 400 invalid_dpop_proof",
            run!(replay),
        ),
        Check::server(
            "dpop.replay_by_jti",
            "RFC 9449 §11.1",
            "a `jti` works once, also in another proof: 400 invalid_dpop_proof",
            run!(replay_by_jti),
        ),
        Check::server(
            "dpop.replay_within_window",
            "OID4AC v1 §5",
            "a proof from 60 s ahead is remembered until it can no longer be accepted, 120 s",
            run!(replay_within_window),
        ),
        Check::server(
            "dpop.nonce_required",
            "RFC 9449 §8",
            "a proof without a nonce: 400 use_dpop_nonce",
            run!(nonce_required),
        ),
        Check::server(
            "dpop.nonce_made_up",
            "RFC 9449 §8",
            "a proof with a nonce that was never issued: 400 use_dpop_nonce",
            run!(nonce_made_up),
        ),
        Check::server(
            "dpop.nonce_given",
            "RFC 9449 §8",
            "use_dpop_nonce comes with a `DPoP-Nonce`, and with it the request is accepted",
            run!(nonce_given),
        )
        .spoiled_by(lie::header(PAR_PATH, "dpop-nonce", Some("another"))),
        Check::server(
            "dpop.nonce_on_success",
            "OID4AC v1 §5",
            "an accepted request brings a nonce for the next",
            run!(nonce_on_success),
        )
        .spoiled_by(lie::header(PAR_PATH, "dpop-nonce", None)),
        Check::server(
            "dpop.nonce_ages",
            "OID4AC v1 §5",
            "a nonce that is 90 s old: 400 use_dpop_nonce",
            run!(nonce_ages),
        ),
        Check::server(
            "dpop.nonce_of_a_merchant",
            "OID4AC v1 §18",
            "a merchant's nonce is not the authorization server's: 400 use_dpop_nonce",
            run!(nonce_of_a_merchant),
        ),
        Check::server("dpop.no_proof", "RFC 9449 §4.3", "no proof: 400 invalid_dpop_proof", run!(no_proof))
            .spoiled_by(lie::accepts(PAR_PATH, INVALID)),
        Check::server("dpop.two_proofs", "RFC 9449 §4.3", "two proofs: 400 invalid_dpop_proof", run!(two_proofs))
            .spoiled_by(lie::accepts(PAR_PATH, INVALID)),
        Check::server(
            "dpop.another_key",
            "OID4AC v1 §6",
            "a proof by another key than the registered one: 400 invalid_dpop_proof",
            run!(another_key),
        ),
        Check::server(
            "dpop.iat_59_s_off",
            "OID4AC v1 §5",
            "a proof 59 s old and one 59 s ahead: 201",
            run!(iat_within),
        )
        .spoiled_by(lie::refuses(PAR_PATH, StatusCode::CREATED)),
    ];
    for (what, section, change) in CLAIMS {
        let expected = format!("a proof {}: 400 {INVALID}", what.replace('_', " "));
        let check = Check::server(format!("dpop.refuses_{what}"), section, expected, run!(claims, change));
        checks.push(check.spoiled_by(lie::accepts(PAR_PATH, INVALID)));
    }
    for (what, section, make) in PROOFS {
        let expected = format!("a proof {}: 400 {INVALID}", what.replace('_', " "));
        let check = Check::server(format!("dpop.refuses_{what}"), section, expected, run!(proof, make));
        checks.push(check.spoiled_by(lie::accepts(PAR_PATH, INVALID)));
    }
    for alg in forge::Alg::ALL {
        let expected = format!("a proof under alg {}: 400 {INVALID}", alg.name());
        let id = format!("alg.proof_{}", alg.slug());
        let check = Check::server(id, "OID4AC v1 §17", expected, run!(algorithm, alg));
        checks.push(check.spoiled_by(lie::accepts(PAR_PATH, INVALID)));
    }
    checks
}

type Change = fn(&mut Value, &str, i64);

const CLAIMS: [(&str, &str, Change); 10] = [
    ("for_another_method", "RFC 9449 §4.3", |c, _, _| c["htm"] = json!("GET")),
    ("for_a_method_in_lower_case", "RFC 9449 §4.2", |c, _, _| c["htm"] = json!("post")),
    ("for_another_path", "RFC 9449 §4.3", |c, url, _| c["htu"] = json!(format!("{url}/more"))),
    ("for_another_host", "RFC 9449 §4.3", |c, _, _| c["htu"] = json!("https://elsewhere.example/oauth/par")),
    ("61_s_old", "OID4AC v1 §5", |c, _, now| c["iat"] = json!(now - 65)),
    ("61_s_ahead", "OID4AC v1 §5", |c, _, now| c["iat"] = json!(now + 65)),
    ("without_htm", "RFC 9449 §4.3", |c, _, _| drop(c.as_object_mut().map(|c| c.remove("htm")))),
    ("without_htu", "RFC 9449 §4.3", |c, _, _| drop(c.as_object_mut().map(|c| c.remove("htu")))),
    ("without_iat", "RFC 9449 §4.3", |c, _, _| drop(c.as_object_mut().map(|c| c.remove("iat")))),
    ("without_jti", "RFC 9449 §4.3", |c, _, _| drop(c.as_object_mut().map(|c| c.remove("jti")))),
];

type Make = fn(&Agent<'_>, &Value) -> String;

const PROOFS: [(&str, &str, Make); 8] = [
    ("of_another_typ", "RFC 9449 §4.3", |agent, claims| with_header(agent, claims, "typ", json!("JWT"))),
    ("without_typ", "RFC 9449 §4.3", |agent, claims| with_header(agent, claims, "typ", Value::Null)),
    ("without_a_key", "RFC 9449 §4.3", |agent, claims| {
        let header = json!({ "alg": "EdDSA", "typ": "dpop+jwt" });
        forge::sign(&header, claims, &agent.identity.dpop_key)
    }),
    ("with_a_private_key", "RFC 9449 §4.3", |agent, claims| {
        let private = serde_json::from_str(&agent.identity.dpop_key.to_jwk()).unwrap_or_default();
        with_header(agent, claims, "jwk", private)
    }),
    ("signed_by_another_key_than_its_own", "RFC 9449 §4.3", |agent, claims| {
        forge::sign(&agent.proof_header(), claims, &new_key(Alg::EdDsa))
    }),
    ("with_a_critical_header", "RFC 7515 §4.1.11", |agent, claims| {
        let mut header = agent.proof_header();
        header["crit"] = json!(["x-unknown"]);
        header["x-unknown"] = json!(true);
        forge::sign(&header, claims, &agent.identity.dpop_key)
    }),
    ("with_a_duplicate_claim", "RFC 7519 §4", |agent, claims| {
        let twice = claims.to_string().replacen('{', r#"{"htm":"GET","#, 1);
        forge::sign_text(&agent.proof_header().to_string(), &twice, &agent.identity.dpop_key)
    }),
    ("that_is_no_jwt", "RFC 9449 §4.3", |_, _| "what?".to_owned()),
];

fn with_header(agent: &Agent<'_>, claims: &Value, name: &str, value: Value) -> String {
    let mut header = agent.proof_header();
    match (value, header.as_object_mut()) {
        (Value::Null, Some(header)) => drop(header.remove(name)),
        (value, _) => header[name] = value,
    }
    forge::sign(&header, claims, &agent.identity.dpop_key)
}

/// An agent that knows a live nonce, and a form that was accepted once.
async fn ready(world: &World) -> Result<(Agent<'_>, Form, String), Stop> {
    let (agent, form, url) = warm(world).await?;
    agent.post(&url, &form).await?.done(201)?;
    Ok((agent, form, url))
}

/// An agent that knows a live nonce, and a form that should be accepted.
async fn warm(world: &World) -> Result<(Agent<'_>, Form, String), Stop> {
    let agent = world.agent(Part::Own).await?;
    let (_, purchase) = agent.purchase().await?;
    let (form, url) = (agent.par_form(&purchase), world.endpoint(PAR).await?);
    agent.post(&url, &form).await?;
    Ok((agent, form, url))
}

/// Pushes once, with these proofs.
async fn push(agent: &Agent<'_>, form: &Form, url: &str, proofs: &[&str]) -> Result<Answer, Stop> {
    let mut form = form.clone();
    agent.authenticate(&mut form).await?;
    let mut call = Call::post(url).form(&form);
    for proof in proofs {
        call = call.header("dpop", *proof);
    }
    agent.world.http.send(call).await
}

async fn replay(world: &World) -> Outcome {
    let (agent, form, url) = ready(world).await?;
    let proof = agent.proof("POST", &url, None);
    push(&agent, &form, &url, &[&proof]).await?.done(201)?;
    push(&agent, &form, &url, &[&proof]).await?.refused(400, INVALID)
}

async fn replay_by_jti(world: &World) -> Outcome {
    let (agent, form, url) = ready(world).await?;
    let mut claims = agent.proof_claims("POST", &url, None);
    push(&agent, &form, &url, &[&agent.sign_proof(&claims)]).await?.done(201)?;
    claims["iat"] = json!(world.now() - 1);
    push(&agent, &form, &url, &[&agent.sign_proof(&claims)]).await?.refused(400, INVALID)
}

async fn replay_within_window(world: &World) -> Outcome {
    let (agent, form, url) = ready(world).await?;
    let mut claims = agent.proof_claims("POST", &url, None);
    claims["iat"] = json!(world.now() + 58);
    let proof = agent.sign_proof(&claims);
    push(&agent, &form, &url, &[&proof]).await?.done(201)?;
    world.wait(80).await?;
    push(&agent, &form, &url, &[&proof]).await?.refused(400, INVALID)
}

/// A proof's claims with this nonce, or without any.
fn with_nonce(agent: &Agent<'_>, url: &str, nonce: Option<&str>) -> String {
    let mut claims = agent.proof_claims("POST", url, None);
    match (nonce, claims.as_object_mut()) {
        (None, Some(claims)) => drop(claims.remove("nonce")),
        (nonce, _) => claims["nonce"] = json!(nonce),
    }
    agent.sign_proof(&claims)
}

async fn nonce_required(world: &World) -> Outcome {
    let (agent, form, url) = ready(world).await?;
    push(&agent, &form, &url, &[&with_nonce(&agent, &url, None)]).await?.refused(400, "use_dpop_nonce")
}

async fn nonce_made_up(world: &World) -> Outcome {
    let (agent, form, url) = ready(world).await?;
    let proof = with_nonce(&agent, &url, Some("bm9ib2R5LWdhdmUtdGhpcw"));
    push(&agent, &form, &url, &[&proof]).await?.refused(400, "use_dpop_nonce")
}

async fn nonce_given(world: &World) -> Outcome {
    let agent = world.agent(Part::Own).await?;
    let (_, purchase) = agent.purchase().await?;
    let (form, url) = (agent.par_form(&purchase), world.endpoint(PAR).await?);
    let first = push(&agent, &form, &url, &[&with_nonce(&agent, &url, None)]).await?;
    let Some(nonce) = first.header("dpop-nonce").map(str::to_owned) else { return expect(false, "no `DPoP-Nonce`") };
    let second = push(&agent, &form, &url, &[&with_nonce(&agent, &url, Some(&nonce))]).await?;
    let seen = format!("{}, then {}", first.summary(), second.summary());
    expect(first.is(400, "use_dpop_nonce") && second.status == 201, seen)
}

async fn nonce_on_success(world: &World) -> Outcome {
    let agent = world.agent(Part::Own).await?;
    let (_, purchase) = agent.purchase().await?;
    let (form, url) = (agent.par_form(&purchase), world.endpoint(PAR).await?);
    // Without the header the first answer is of no help, so the nonce comes from where it cannot be lost.
    let answer = agent.post(&url, &form).await?;
    let seen = format!("{}, {} `DPoP-Nonce`", answer.summary(), if has_nonce(&answer) { "with" } else { "without" });
    expect(answer.status == 201 && has_nonce(&answer), seen)
}

fn has_nonce(answer: &Answer) -> bool {
    answer.header("dpop-nonce").is_some()
}

async fn nonce_ages(world: &World) -> Outcome {
    let (agent, form, url) = ready(world).await?;
    world.wait(90).await?;
    push(&agent, &form, &url, &[&agent.proof("POST", &url, None)]).await?.refused(400, "use_dpop_nonce")
}

async fn nonce_of_a_merchant(world: &World) -> Outcome {
    let (agent, form, url) = ready(world).await?;
    let shop = world.shop(0)?;
    let answer = world.http.send(Call::post(&shop.verify_url).json(&json!({}))).await?;
    let Some(nonce) = answer.header("dpop-nonce") else { return Err(Stop::Skipped("the merchant gives none".into())) };
    push(&agent, &form, &url, &[&with_nonce(&agent, &url, Some(nonce))]).await?.refused(400, "use_dpop_nonce")
}

async fn no_proof(world: &World) -> Outcome {
    let (agent, form, url) = ready(world).await?;
    push(&agent, &form, &url, &[]).await?.refused(400, INVALID)
}

async fn two_proofs(world: &World) -> Outcome {
    let (agent, form, url) = ready(world).await?;
    let (one, two) = (agent.proof("POST", &url, None), agent.proof("POST", &url, None));
    push(&agent, &form, &url, &[&one, &two]).await?.refused(400, INVALID)
}

async fn another_key(world: &World) -> Outcome {
    let (agent, mut form, url) = ready(world).await?;
    form.remove("dpop_jkt");
    let stranger = Agent::new(world, Arc::new(Identity::unregistered(Alg::EdDsa)));
    let mut claims = agent.proof_claims("POST", &url, None);
    claims["jti"] = json!("of-a-stranger");
    push(&agent, &form, &url, &[&stranger.sign_proof(&claims)]).await?.refused(400, INVALID)
}

async fn iat_within(world: &World) -> Outcome {
    let (agent, form, url) = warm(world).await?;
    let mut seen = Vec::new();
    for off in [-59, 59] {
        let mut claims = agent.proof_claims("POST", &url, None);
        claims["iat"] = json!(world.now() + off);
        seen.push(push(&agent, &form, &url, &[&agent.sign_proof(&claims)]).await?.summary());
    }
    expect(seen == ["201", "201"], seen.join(" and "))
}

async fn claims(world: &World, change: Change) -> Outcome {
    let (agent, form, url) = ready(world).await?;
    let mut claims = agent.proof_claims("POST", &url, None);
    change(&mut claims, &url, world.now());
    push(&agent, &form, &url, &[&agent.sign_proof(&claims)]).await?.refused(400, INVALID)
}

async fn proof(world: &World, make: Make) -> Outcome {
    let (agent, form, url) = ready(world).await?;
    let proof = make(&agent, &agent.proof_claims("POST", &url, None));
    push(&agent, &form, &url, &[&proof]).await?.refused(400, INVALID)
}

async fn algorithm(world: &World, alg: forge::Alg) -> Outcome {
    let (agent, form, url) = ready(world).await?;
    let key = &agent.identity.dpop_key;
    let public = key.public_key().members_json();
    let claims = agent.proof_claims("POST", &url, None).to_string();
    let proof = alg.sign(&agent.proof_header(), &claims, key, public.as_bytes());
    push(&agent, &form, &url, &[&proof]).await?.refused(400, INVALID)
}

const PAR_PATH: &str = "/oauth/par";
const INVALID: &str = "invalid_dpop_proof";
