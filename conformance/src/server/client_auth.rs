//! Client assertions (RFC 7523 §3), seen at the PAR endpoint.

use jose::{Alg, Signer as _};
use serde_json::{Value, json};

use crate::agent::{Agent, PAR};
use crate::check::{Check, run};
use crate::forge;
use crate::forge::new_key;
use crate::lie;
use crate::outcome::{Outcome, Stop, expect};
use crate::wire::{Answer, Call, Form};
use crate::world::{Part, World};

pub(super) fn checks() -> Vec<Check> {
    let mut checks = vec![
        Check::server(
            "client_auth.replay",
            "RFC 7523 §3",
            "an assertion works once: the second time 401 invalid_client",
            run!(replay),
        ),
        Check::server(
            "client_auth.spent_without_nonce",
            "OID4AC v1 §18",
            "client authentication comes first: an assertion sent without a DPoP nonce is spent",
            run!(spent_without_nonce),
        ),
        Check::server(
            "client_auth.typ_absent",
            "OID4AC v1 §4",
            "an assertion without `typ` is accepted: 201",
            run!(typ_absent),
        )
        .spoiled_by(lie::refuses(PAR_PATH, http::StatusCode::CREATED)),
    ];
    for what in ["issuer", "token_endpoint", "called_endpoint"] {
        let expected = format!("`aud` may be the {}: 201", what.replace('_', " "));
        let check = Check::server(format!("client_auth.aud_{what}"), "OID4AC v1 §4", expected, run!(audience, what));
        checks.push(check.spoiled_by(lie::refuses(PAR_PATH, http::StatusCode::CREATED)));
    }
    for (what, section, change) in CLAIMS {
        let expected = format!("an assertion with {}: 401 invalid_client", what.replace('_', " "));
        let check = Check::server(format!("client_auth.refuses_{what}"), section, expected, run!(claims, change));
        checks.push(check.spoiled_by(lie::accepts(PAR_PATH, INVALID)));
    }
    for (what, section, make) in TOKENS {
        let expected = format!("{}: 401 invalid_client", what.replace('_', " "));
        let check = Check::server(format!("client_auth.refuses_{what}"), section, expected, run!(token, make));
        checks.push(check.spoiled_by(lie::accepts(PAR_PATH, INVALID)));
    }
    for (what, section, change) in FORMS {
        let expected = format!("{}: 401 invalid_client", what.replace('_', " "));
        let check = Check::server(format!("client_auth.refuses_{what}"), section, expected, run!(form, change));
        checks.push(check.spoiled_by(lie::accepts(PAR_PATH, INVALID)));
    }
    for alg in forge::Alg::ALL {
        let expected = format!("an assertion under alg {}: 401 invalid_client", alg.name());
        let id = format!("alg.assertion_{}", alg.slug());
        let check = Check::server(id, "OID4AC v1 §17", expected, run!(algorithm, alg));
        checks.push(check.spoiled_by(lie::accepts(PAR_PATH, INVALID)));
    }
    checks
}

type Change = fn(&mut Value, i64);

const CLAIMS: [(&str, &str, Change); 14] = [
    ("another_iss", "RFC 7523 §3", |c, _| c["iss"] = json!("agent_other")),
    ("another_sub", "RFC 7523 §3", |c, _| c["sub"] = json!("agent_other")),
    ("no_iss", "RFC 7523 §3", |c, _| drop(c.as_object_mut().map(|c| c.remove("iss")))),
    ("no_aud", "RFC 7523 §3", |c, _| drop(c.as_object_mut().map(|c| c.remove("aud")))),
    ("another_aud", "RFC 7523 §3", |c, _| c["aud"] = json!("https://elsewhere.example/oauth/token")),
    ("an_aud_list", "OID4AC v1 §4", |c, _| c["aud"] = json!([c["aud"]])),
    ("no_exp", "RFC 7523 §3", |c, _| drop(c.as_object_mut().map(|c| c.remove("exp")))),
    ("exp_in_the_past", "RFC 7523 §3", |c, now| {
        c["iat"] = json!(now - 60);
        c["exp"] = json!(now - 1);
    }),
    ("a_life_of_301_seconds", "OID4AC v1 §4", |c, now| c["exp"] = json!(now + 301)),
    ("an_exp_that_is_text", "RFC 7519 §4.1.4", |c, _| c["exp"] = json!("soon")),
    ("iat_in_the_future", "OID4AC v1 §4", |c, now| {
        c["iat"] = json!(now + 120);
        c["exp"] = json!(now + 180);
    }),
    ("nbf_in_the_future", "RFC 7523 §3", |c, now| c["nbf"] = json!(now + 120)),
    ("no_jti", "OID4AC v1 §4", |c, _| drop(c.as_object_mut().map(|c| c.remove("jti")))),
    ("an_empty_jti", "OID4AC v1 §4", |c, _| c["jti"] = json!("")),
];

type Make = fn(&Agent<'_>, &Value) -> String;

const TOKENS: [(&str, &str, Make); 9] = [
    ("a_strangers_signature", "RFC 7523 §3", |agent, claims| {
        forge::sign(&agent.assertion_header(), claims, &new_key(Alg::EdDsa))
    }),
    ("the_dpop_keys_signature", "OID4AC v1 §3", |agent, claims| {
        let key = &agent.identity.dpop_key;
        forge::sign(&json!({ "alg": "EdDSA", "kid": key.public_key().thumbprint().as_str() }), claims, key)
    }),
    ("the_dpop_keys_signature_without_kid", "OID4AC v1 §3", |agent, claims| {
        forge::sign(&json!({ "alg": "EdDSA" }), claims, &agent.identity.dpop_key)
    }),
    ("another_typ", "RFC 8725 §3.11", |agent, claims| with_header(agent, claims, "typ", json!("dpop+jwt"))),
    ("an_embedded_key", "OID4AC v1 §17", |agent, claims| {
        let own = new_key(Alg::EdDsa);
        let mut header = agent.assertion_header();
        header["jwk"] = json!(own.public_key().to_jwk());
        forge::sign(&header, claims, &own)
    }),
    ("a_critical_header", "RFC 7515 §4.1.11", |agent, claims| {
        let mut header = agent.assertion_header();
        header["crit"] = json!(["x-unknown"]);
        header["x-unknown"] = json!(true);
        forge::sign(&header, claims, &agent.identity.assertion_key)
    }),
    ("a_duplicate_header_member", "RFC 7515 §4", |agent, claims| {
        let header = agent.assertion_header().to_string().replacen('{', r#"{"typ":"JWT","#, 1);
        forge::sign_text(&header, &claims.to_string(), &agent.identity.assertion_key)
    }),
    ("a_duplicate_claim", "RFC 7519 §4", |agent, claims| {
        let twice = claims.to_string().replacen('{', r#"{"sub":"agent_other","#, 1);
        forge::sign_text(&agent.assertion_header().to_string(), &twice, &agent.identity.assertion_key)
    }),
    ("what_is_no_jwt", "RFC 7523 §3", |_, _| "what?".to_owned()),
];

fn with_header(agent: &Agent<'_>, claims: &Value, name: &str, value: Value) -> String {
    let mut header = agent.assertion_header();
    header[name] = value;
    forge::sign(&header, claims, &agent.identity.assertion_key)
}

type FormChange = fn(&mut Form);

const FORMS: [(&str, &str, FormChange); 4] = [
    ("no_assertion", "RFC 9126 §2", |form| form.remove("client_assertion")),
    ("no_assertion_type", "RFC 7521 §4.2", |form| form.remove("client_assertion_type")),
    ("another_assertion_type", "RFC 7521 §4.2", |form| {
        form.set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer");
    }),
    ("a_client_secret", "RFC 6749 §2.3", |form| form.set("client_secret", "secret")),
];

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

/// Pushes once, with this assertion.
async fn push(agent: &Agent<'_>, form: &Form, url: &str, assertion: String) -> Result<Answer, Stop> {
    let mut form = form.clone();
    agent.authenticate_with(&mut form, assertion);
    push_form(agent, &form, url).await
}

async fn push_form(agent: &Agent<'_>, form: &Form, url: &str) -> Result<Answer, Stop> {
    let proof = agent.proof("POST", url, None);
    let answer = agent.world.http.send(Call::post(url).form(form).header("dpop", proof)).await?;
    agent.note_nonce(url, &answer);
    Ok(answer)
}

async fn replay(world: &World) -> Outcome {
    let (agent, form, url) = ready(world).await?;
    let assertion = agent.sign_assertion(&agent.assertion_claims().await?);
    push(&agent, &form, &url, assertion.clone()).await?.done(201)?;
    push(&agent, &form, &url, assertion).await?.refused(401, INVALID)
}

async fn spent_without_nonce(world: &World) -> Outcome {
    let (agent, form, url) = ready(world).await?;
    let assertion = agent.sign_assertion(&agent.assertion_claims().await?);
    let mut first = form.clone();
    agent.authenticate_with(&mut first, assertion.clone());
    let mut claims = agent.proof_claims("POST", &url, None);
    claims["nonce"] = json!("made-up");
    let proof = agent.sign_proof(&claims);
    let answer = world.http.send(Call::post(&url).form(&first).header("dpop", proof)).await?;
    if !answer.is(400, "use_dpop_nonce") {
        return Err(Stop::Broken(format!("a made-up nonce: {}", answer.summary())));
    }
    push(&agent, &form, &url, assertion).await?.refused(401, INVALID)
}

async fn typ_absent(world: &World) -> Outcome {
    let (agent, form, url) = warm(world).await?;
    let mut header = agent.assertion_header();
    header.as_object_mut().map(|header| header.remove("typ"));
    let assertion = forge::sign(&header, &agent.assertion_claims().await?, &agent.identity.assertion_key);
    push(&agent, &form, &url, assertion).await?.accepted(201)
}

async fn audience(world: &World, what: &'static str) -> Outcome {
    let (agent, form, url) = warm(world).await?;
    let mut claims = agent.assertion_claims().await?;
    claims["aud"] = match what {
        "issuer" => world.issuer()?.into(),
        "token_endpoint" => world.endpoint("token_endpoint").await?.into(),
        _ => url.as_str().into(),
    };
    push(&agent, &form, &url, agent.sign_assertion(&claims)).await?.accepted(201)
}

async fn claims(world: &World, change: Change) -> Outcome {
    let (agent, form, url) = ready(world).await?;
    let mut claims = agent.assertion_claims().await?;
    change(&mut claims, world.now());
    push(&agent, &form, &url, agent.sign_assertion(&claims)).await?.refused(401, INVALID)
}

async fn token(world: &World, make: Make) -> Outcome {
    let (agent, form, url) = ready(world).await?;
    let assertion = make(&agent, &agent.assertion_claims().await?);
    push(&agent, &form, &url, assertion).await?.refused(401, INVALID)
}

async fn form(world: &World, change: FormChange) -> Outcome {
    let (agent, mut form, url) = ready(world).await?;
    agent.authenticate(&mut form).await?;
    change(&mut form);
    push_form(&agent, &form, &url).await?.refused(401, INVALID)
}

async fn algorithm(world: &World, alg: forge::Alg) -> Outcome {
    let (agent, form, url) = ready(world).await?;
    let key = &agent.identity.assertion_key;
    let public = key.public_key().members_json();
    let claims = agent.assertion_claims().await?.to_string();
    let assertion = alg.sign(&agent.assertion_header(), &claims, key, public.as_bytes());
    let answer = push(&agent, &form, &url, assertion).await?;
    expect(answer.is(401, INVALID), answer.summary())
}

const PAR_PATH: &str = "/oauth/par";
const INVALID: &str = "invalid_client";
