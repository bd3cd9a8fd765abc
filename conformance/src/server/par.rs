//! Pushed authorization requests (RFC 9126) and what they ask for (RFC 9396).

use http::StatusCode;
use jose::{Alg, Signer as _};
use serde_json::{Value, json};

use super::registration::no_store_header;
use crate::agent::{Agent, PAR, random};
use crate::check::{Check, run};
use crate::forge::new_key;
use crate::identity::Identity;
use crate::lie;
use crate::outcome::{Outcome, Stop, expect};
use crate::wire::{Answer, Call, Form};
use crate::world::{Part, World};

pub(super) fn checks() -> Vec<Check> {
    let mut checks = vec![
        Check::server(
            "par.created",
            "RFC 9126 §2.2",
            "201 with `request_uri` and `expires_in`, and no more",
            run!(created),
        )
        .spoiled_by(lie::set(PATH, "/status", json!("pending"))),
        Check::server("par.no_store", "RFC 9126 §2.2", "`Cache-Control: no-store`", run!(no_store))
            .spoiled_by(lie::header(PATH, "cache-control", None)),
        Check::server("par.expires_in", "OID4AC v1 §6", "`expires_in` is 60", run!(expires_in)).spoiled_by(lie::set(
            PATH,
            "/expires_in",
            json!(3600),
        )),
        Check::server(
            "par.unguessable",
            "RFC 9126 §2.2",
            "two request URIs differ in at least 16 of their last characters",
            run!(unguessable),
        )
        .spoiled_by(lie::set(PATH, "/request_uri", json!("urn:ietf:params:oauth:request_uri:1"))),
        Check::server(
            "par.loopback_port",
            "RFC 8252 §7.3",
            "the port of a registered loopback redirect URI is the client's to choose: 201",
            run!(loopback_port),
        )
        .spoiled_by(lie::refuses(PATH, StatusCode::CREATED)),
        Check::server(
            "par.dpop_jkt_optional",
            "RFC 9449 §10",
            "`dpop_jkt` may be left out: 201",
            run!(taken, |form: &mut Form| form.remove("dpop_jkt")),
        )
        .spoiled_by(lie::refuses(PATH, StatusCode::CREATED)),
        Check::server(
            "par.scope_alias",
            "OID4AC v1 §6",
            "`oid4ac:payment` is the same permission as `payment:initiate`: 201",
            run!(taken, |form: &mut Form| form.set("scope", "openid oid4ac:payment")),
        )
        .spoiled_by(lie::refuses(PATH, StatusCode::CREATED)),
        Check::server("par.get", "RFC 9126 §2", "GET is refused: 405", run!(get)).spoiled_by(lie::at(
            PATH,
            |mut answer| {
                *answer.status_mut() = StatusCode::OK;
                answer
            },
        )),
        Check::server("par.json_body", "RFC 9126 §2.1", "a JSON body is refused: 400 invalid_request", run!(json_body))
            .spoiled_by(lie::accepts(PATH, REQUEST)),
        Check::server(
            "par.client_id",
            "RFC 9126 §2.1",
            "`client_id` has to be there, also beside an assertion: 400 invalid_request",
            run!(client_id),
        ),
        Check::server(
            "par.payment_key",
            "OID4AC v1 §10",
            "a client whose DPoP key is P-256 cannot pay: 400 unauthorized_client",
            run!(payment_key),
        ),
        Check::server(
            "par.details_registered",
            "RFC 9396 §10",
            "a client that did not register for oid4ac_mandate: 400 invalid_authorization_details",
            run!(details_registered),
        ),
        Check::server(
            "par.scope_registered",
            "OID4AC v1 §3",
            "a scope outside the registration: 400 invalid_scope",
            run!(scope_registered),
        ),
        Check::server(
            "par.own_resource",
            "OID4AC v1 §6",
            "the server's own origin takes no `authorization_details`: 400 invalid_authorization_details",
            run!(own_resource),
        ),
        Check::server(
            "par.payment_at_own_resource",
            "OID4AC v1 §6",
            "the server's own origin takes no payment scope: 400 invalid_scope",
            run!(payment_at_own_resource),
        ),
        Check::server(
            "par.wallet_scope",
            "OID4AC v1 §14",
            "a wallet scope for the server's own origin: 201",
            run!(wallet_scope),
        )
        .spoiled_by(lie::refuses(PATH, StatusCode::CREATED)),
    ];
    for (what, section, error, change) in PARAMETERS {
        let expected = format!("{}: 400 {error}", what.replace('_', " "));
        let check = Check::server(format!("par.refuses_{what}"), section, expected, run!(refused, change, error));
        checks.push(check.spoiled_by(lie::accepts(PATH, error)));
    }
    for (what, change) in DETAILS {
        let expected = format!("{}: 400 {RAR}", what.replace('_', " "));
        let check = Check::server(format!("details.refuses_{what}"), "OID4AC v1 §6", expected, run!(details, change));
        checks.push(check.spoiled_by(lie::accepts(PATH, RAR)));
    }
    checks
}

type Change = fn(&mut Form);

const PARAMETERS: [(&str, &str, &str, Change); 22] = [
    ("no_response_type", "RFC 6749 §4.1.1", REQUEST, |f| f.remove("response_type")),
    ("the_implicit_response_type", "RFC 9700 §2.1.2", "unsupported_response_type", |f| {
        f.set("response_type", "token")
    }),
    ("a_request_uri_inside", "RFC 9126 §2.1", REQUEST, |f| f.set("request_uri", "urn:x")),
    ("a_request_object", "OID4AC v1 §6", REQUEST, |f| f.set("request", "e30.e30.")),
    ("no_redirect_uri", "RFC 9126 §2.1", REQUEST, |f| f.remove("redirect_uri")),
    ("another_redirect_uri", "RFC 9700 §2.1", REQUEST, |f| f.set("redirect_uri", "https://conformance.example/other")),
    ("a_redirect_uri_without_its_query", "RFC 9700 §4.1.3", REQUEST, |f| {
        f.set("redirect_uri", "https://conformance.example/callback");
    }),
    ("no_state", "OID4AC v1 §6", REQUEST, |f| f.remove("state")),
    ("a_short_state", "OID4AC v1 §6", REQUEST, |f| f.set("state", "short")),
    ("no_code_challenge", "RFC 7636 §4.4.1", REQUEST, |f| f.remove("code_challenge")),
    ("a_short_code_challenge", "RFC 7636 §4.2", REQUEST, |f| f.set("code_challenge", "tooshort")),
    ("no_code_challenge_method", "OID4AC v1 §6", REQUEST, |f| f.remove("code_challenge_method")),
    ("a_plain_code_challenge", "RFC 9700 §2.1.1", REQUEST, |f| f.set("code_challenge_method", "plain")),
    ("another_dpop_jkt", "RFC 9449 §10", "invalid_dpop_proof", |f| {
        f.set("dpop_jkt", new_key(Alg::EdDsa).public_key().thumbprint().as_str());
    }),
    ("an_unknown_consent_mode", "OID4AC v1 §7", REQUEST, |f| f.set("consent_mode_hint", "telepathy")),
    ("no_scope", "OID4AC v1 §6", "invalid_scope", |f| f.remove("scope")),
    ("an_unknown_scope", "RFC 6749 §4.1.2.1", "invalid_scope", |f| f.set("scope", "openid everything")),
    ("a_merchant_without_payment_scope", "OID4AC v1 §6", "invalid_scope", |f| f.set("scope", "openid")),
    ("no_resource", "OID4AC v1 §6", "invalid_target", |f| f.remove("resource")),
    ("an_unknown_resource", "RFC 8707 §2", "invalid_target", |f| f.set("resource", "https://shop.example")),
    ("no_authorization_details", "OID4AC v1 §6", RAR, |f| f.remove("authorization_details")),
    ("a_parameter_twice", "RFC 6749 §3.1", REQUEST, |f| f.add("scope", "openid payment:initiate")),
];

type DetailsChange = fn(&mut Value);

const DETAILS: [(&str, DetailsChange); 24] = [
    ("two_elements", |d| *d = json!([d[0], d[0]])),
    ("no_element", |d| *d = json!([])),
    ("what_is_no_array", |d| *d = d[0].clone()),
    ("another_type", |d| d[0]["type"] = json!("payment_initiation")),
    ("an_unknown_member", |d| d[0]["surprise"] = json!(true)),
    ("an_unknown_line_member", |d| d[0]["line_items"][0]["colour"] = json!("blue")),
    ("no_amount", |d| remove(&mut d[0], "amount_minor")),
    ("an_amount_of_zero", |d| d[0]["amount_minor"] = json!(0)),
    ("a_negative_amount", |d| d[0]["amount_minor"] = json!(-1)),
    ("a_fractional_amount", |d| d[0]["amount_minor"] = json!(12.99)),
    ("an_amount_that_is_text", |d| d[0]["amount_minor"] = json!("1299")),
    ("an_amount_beyond_53_bits", |d| d[0]["amount_minor"] = json!(1_u64 << 53)),
    ("no_currency", |d| remove(&mut d[0], "currency")),
    ("a_currency_in_lower_case", |d| d[0]["currency"] = json!("eur")),
    ("a_currency_that_does_not_exist", |d| d[0]["currency"] = json!("ZZZ")),
    ("another_merchant", |d| d[0]["merchant"] = json!("https://shop.example")),
    ("no_line_items", |d| d[0]["line_items"] = json!([])),
    ("a_line_without_sku", |d| remove(&mut d[0]["line_items"][0], "sku")),
    ("a_quantity_of_zero", |d| d[0]["line_items"][0]["qty"] = json!(0)),
    ("a_fractional_quantity", |d| d[0]["line_items"][0]["qty"] = json!(1.5)),
    ("one_sku_on_two_lines", |d| {
        let line = d[0]["line_items"][0].clone();
        d[0]["line_items"] = json!([line, line]);
    }),
    ("lines_that_do_not_add_up", |d| d[0]["line_items"][0]["unit_price_minor"] = json!(1)),
    ("a_line_in_another_currency", |d| d[0]["line_items"][0]["currency"] = json!("CHF")),
    ("a_short_offer_digest", |d| d[0]["offer_digest"] = json!("short")),
];

fn remove(value: &mut Value, name: &str) {
    if let Some(members) = value.as_object_mut() {
        members.remove(name);
    }
}

async fn ready(world: &World) -> Result<(Agent<'_>, Form), Stop> {
    let agent = world.agent(Part::Own).await?;
    let (_, purchase) = agent.purchase().await?;
    let form = agent.par_form(&purchase);
    Ok((agent, form))
}

async fn pushed(world: &World) -> Result<Answer, Stop> {
    let (agent, form) = ready(world).await?;
    agent.par(&form).await?.done(201)
}

async fn created(world: &World) -> Outcome {
    let answer = pushed(world).await?.json();
    let names: Vec<_> = answer.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    expect(names == ["expires_in", "request_uri"], format!("201 with {}", names.join(", ")))
}

async fn no_store(world: &World) -> Outcome {
    no_store_header(&pushed(world).await?)
}

async fn expires_in(world: &World) -> Outcome {
    let seconds = &pushed(world).await?.json()["expires_in"];
    expect(*seconds == 60, seconds.to_string())
}

async fn unguessable(world: &World) -> Outcome {
    let (agent, form) = ready(world).await?;
    let (one, two) = (agent.push(&form).await?, agent.push(&form).await?);
    let differing = one.bytes().rev().zip(two.bytes().rev()).filter(|(a, b)| a != b).count();
    expect(differing >= 16, format!("{differing} characters differ"))
}

async fn loopback_port(world: &World) -> Outcome {
    let (agent, mut form) = ready(world).await?;
    form.set("redirect_uri", "http://127.0.0.1:49152/cb");
    agent.par(&form).await?.accepted(201)
}

async fn taken(world: &World, change: fn(&mut Form)) -> Outcome {
    let (agent, mut form) = ready(world).await?;
    change(&mut form);
    agent.par(&form).await?.accepted(201)
}

async fn get(world: &World) -> Outcome {
    let answer = world.http.get(&world.endpoint(PAR).await?).await?;
    expect(answer.status == 405, answer.summary())
}

async fn json_body(world: &World) -> Outcome {
    let url = world.endpoint(PAR).await?;
    world.http.send(Call::post(&url).json(&json!({ "client_id": "agent" }))).await?.refused(400, REQUEST)
}

async fn client_id(world: &World) -> Outcome {
    let (agent, mut form) = ready(world).await?;
    agent.par(&form).await?.done(201)?;
    agent.authenticate(&mut form).await?;
    form.remove("client_id");
    let url = world.endpoint(PAR).await?;
    let proof = agent.proof("POST", &url, None);
    world.http.send(Call::post(&url).form(&form).header("dpop", proof)).await?.refused(400, REQUEST)
}

/// An agent that was registered otherwise.
async fn registered_with(world: &World, alg: Alg, change: impl FnOnce(&mut Value)) -> Result<Agent<'_>, Stop> {
    let identity = Identity::unregistered(alg);
    let mut metadata = identity.registration(&world.setup_token(Part::Own)?);
    change(&mut metadata);
    Ok(Agent::new(world, identity.registered_as(world, &metadata).await?.into()))
}

async fn push_one(agent: &Agent<'_>) -> Result<Answer, Stop> {
    let (_, purchase) = agent.purchase().await?;
    agent.par(&agent.par_form(&purchase)).await
}

async fn payment_key(world: &World) -> Outcome {
    let agent = registered_with(world, Alg::Es256, |_| {}).await?;
    push_one(&agent).await?.refused(400, "unauthorized_client")
}

async fn details_registered(world: &World) -> Outcome {
    let agent = registered_with(world, Alg::EdDsa, |m| m["authorization_details_types"] = json!([])).await?;
    push_one(&agent).await?.refused(400, RAR)
}

async fn scope_registered(world: &World) -> Outcome {
    let agent = registered_with(world, Alg::EdDsa, |m| m["scope"] = json!("openid wallet:read")).await?;
    push_one(&agent).await?.refused(400, "invalid_scope")
}

async fn own_resource(world: &World) -> Outcome {
    let agent = world.agent(Part::Own).await?;
    let (_, mut purchase) = agent.purchase().await?;
    purchase.shop.origin = world.as_origin()?;
    let mut form = agent.par_form(&purchase);
    form.set("scope", "openid wallet:read");
    agent.par(&form).await?.refused(400, RAR)
}

async fn payment_at_own_resource(world: &World) -> Outcome {
    let agent = world.agent(Part::Own).await?;
    let form = agent.session_form("openid payment:initiate", &random::<32>())?;
    agent.par(&form).await?.refused(400, "invalid_scope")
}

async fn wallet_scope(world: &World) -> Outcome {
    let agent = world.agent(Part::Own).await?;
    agent.par(&agent.session_form("wallet:read", &random::<32>())?).await?.accepted(201)
}

async fn refused(world: &World, change: Change, error: &'static str) -> Outcome {
    let (agent, mut form) = ready(world).await?;
    change(&mut form);
    agent.par(&form).await?.refused(400, error)
}

async fn details(world: &World, change: DetailsChange) -> Outcome {
    let agent = world.agent(Part::Own).await?;
    let (_, purchase) = agent.purchase().await?;
    let mut form = agent.par_form(&purchase);
    let mut details = json!([Agent::details(&purchase)]);
    change(&mut details);
    form.set("authorization_details", details.to_string());
    agent.par(&form).await?.refused(400, RAR)
}

const PATH: &str = "/oauth/par";
const REQUEST: &str = "invalid_request";
const RAR: &str = "invalid_authorization_details";
