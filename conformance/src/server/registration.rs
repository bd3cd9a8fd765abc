//! Dynamic client registration (RFC 7591).

use http::StatusCode;
use jose::Alg;
use serde_json::{Value, json};

use crate::check::{Check, run};
use crate::forge::new_key;
use crate::identity::{Identity, public_jwk};
use crate::lie;
use crate::outcome::{Outcome, Stop, expect};
use crate::wire::{Answer, Call};
use crate::world::{Part, World};

pub(super) fn checks() -> Vec<Check> {
    let mut checks = vec![
        Check::server("register.created", "RFC 7591 §3.2.1", "201 with a `client_id`", run!(created))
            .spoiled_by(lie::without(REGISTER, "client_id")),
        Check::server("register.no_store", "RFC 7591 §3.2.1", "`Cache-Control: no-store`", run!(no_store))
            .spoiled_by(lie::header(REGISTER, "cache-control", None)),
        Check::server(
            "register.no_secret_echoed",
            "OID4AC v1 §3",
            "the answer has neither the setup token nor a `client_secret`",
            run!(no_secret_echoed),
        )
        .spoiled_by(lie::set(REGISTER, "/client_secret", json!("not a secret"))),
        Check::server(
            "register.default_scope",
            "OID4AC v1 §3",
            "without `scope`, at least openid and payment:initiate are granted",
            run!(default_scope),
        )
        .spoiled_by(lie::set(REGISTER, "/scope", json!("openid"))),
        Check::server(
            "register.scope_echoed",
            "RFC 7591 §3.2.1",
            "the scope that was asked for is the one in the answer",
            run!(scope_echoed),
        )
        .spoiled_by(lie::set(REGISTER, "/scope", json!("openid payment:initiate wallet:write"))),
        Check::server("register.unknown_member", "RFC 7591 §2", "an unknown member is ignored", run!(unknown_member))
            .spoiled_by(lie::refuses(REGISTER, StatusCode::CREATED)),
        Check::server(
            "register.bearer",
            "RFC 7591 §3",
            "the setup token is taken as an initial access token too",
            run!(bearer),
        )
        .spoiled_by(lie::refuses(REGISTER, StatusCode::CREATED)),
        Check::server(
            "register.setup_token_once",
            "OID4AC v1 §3",
            "a setup token that was used is refused: 400 invalid_software_statement",
            run!(setup_token_once),
        ),
        Check::server(
            "register.setup_token_unspent",
            "OID4AC v1 §3",
            "a refused registration does not spend the setup token",
            run!(setup_token_unspent),
        )
        .spoiled_by(lie::refuses(REGISTER, StatusCode::CREATED)),
        Check::server(
            "register.setup_token_expiry",
            "OID4AC v1 §3",
            "a setup token is good for a day: then 400 invalid_software_statement",
            run!(setup_token_expiry),
        ),
        Check::server(
            "register.duplicate_member",
            "OID4AC v1 §17",
            "a JSON member that stands there twice is refused: 400 invalid_client_metadata",
            run!(duplicate_member),
        )
        .spoiled_by(lie::accepts(REGISTER, METADATA)),
        Check::server(
            "register.content_type",
            "RFC 7591 §3.1",
            "a body that is not application/json is refused: 400",
            run!(content_type),
        )
        .spoiled_by(lie::accepts(REGISTER, "invalid_request")),
    ];
    for Row { what, section, error, change } in refusals() {
        let expected = format!("{}: 400 {error}", what.replace('_', " "));
        let check = Check::server(format!("register.refuses_{what}"), section, expected, run!(refused, change, error));
        checks.push(check.spoiled_by(lie::accepts(REGISTER, error)));
    }
    checks
}

/// One member changed, and the error that it has to bring.
struct Row {
    what: &'static str,
    section: &'static str,
    error: &'static str,
    change: Change,
}

type Change = fn(&Identity, &mut Value);

fn refusals() -> Vec<Row> {
    let row = |what, section, error, change: Change| Row { what, section, error, change };
    vec![
        row("no_redirect_uris", "RFC 7591 §2", URI, |_, m| remove(m, "redirect_uris")),
        row("an_empty_redirect_uri_list", "RFC 7591 §2", URI, |_, m| m["redirect_uris"] = json!([])),
        row("a_plain_http_redirect_uri", "RFC 9700 §2.6", URI, |_, m| {
            m["redirect_uris"] = json!(["http://agent.example/cb"]);
        }),
        row("a_loopback_lookalike", "RFC 8252 §7.3", URI, |_, m| {
            m["redirect_uris"] = json!(["http://127.0.0.1.agent.example/cb"]);
        }),
        row("a_javascript_redirect_uri", "RFC 9700 §2.6", URI, |_, m| {
            m["redirect_uris"] = json!(["javascript:alert(1)"])
        }),
        row("a_redirect_uri_with_a_fragment", "RFC 6749 §3.1.2", URI, |_, m| {
            m["redirect_uris"] = json!(["https://agent.example/cb#here"]);
        }),
        row("a_redirect_uri_with_user_information", "RFC 3986 §3.2.1", URI, |_, m| {
            m["redirect_uris"] = json!(["https://someone@agent.example/cb"]);
        }),
        row("no_keys", "RFC 7591 §2", METADATA, |_, m| remove(m, "jwks")),
        row("keys_by_reference", "OID4AC v1 §3", METADATA, |_, m| m["jwks_uri"] = json!("https://agent.example/jwks")),
        row("two_assertion_keys", "OID4AC v1 §3", METADATA, |identity, m| {
            m["jwks"] = json!({ "keys": [public_jwk(&identity.assertion_key), public_jwk(&new_key(Alg::EdDsa))] });
        }),
        row("a_private_assertion_key", "RFC 7517 §9.2", METADATA, |identity, m| {
            m["jwks"]["keys"][0] = private_jwk(&identity.assertion_key);
        }),
        row("a_private_dpop_key", "RFC 7517 §9.2", METADATA, |identity, m| {
            m["dpop_jwk"] = private_jwk(&identity.dpop_key);
        }),
        row("a_symmetric_key", "OID4AC v1 §17", METADATA, |_, m| {
            m["jwks"] = json!({ "keys": [{ "kty": "oct", "k": "AAAA" }] });
        }),
        row("a_p256_assertion_key", "OID4AC v1 §3", METADATA, |_, m| {
            m["jwks"] = json!({ "keys": [public_jwk(&new_key(Alg::Es256))] });
        }),
        row("an_rsa_dpop_key", "OID4AC v1 §17", METADATA, |_, m| {
            m["dpop_jwk"] = json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB" });
        }),
        row("no_dpop_key", "OID4AC v1 §3", METADATA, |_, m| remove(m, "dpop_jwk")),
        row("one_key_for_both_uses", "OID4AC v1 §3", METADATA, |identity, m| {
            m["dpop_jwk"] = public_jwk(&identity.assertion_key);
        }),
        row("a_second_opinion_on_the_assertion_key", "OID4AC v1 §3", METADATA, |_, m| {
            m["private_key_jwt_jwk"] = public_jwk(&new_key(Alg::EdDsa));
        }),
        row("no_client_authentication", "OID4AC v1 §3", METADATA, |_, m| {
            m["token_endpoint_auth_method"] = json!("none")
        }),
        row("a_client_secret", "OID4AC v1 §3", METADATA, |_, m| {
            m["token_endpoint_auth_method"] = json!("client_secret_basic");
        }),
        row("rs256_assertions", "OID4AC v1 §17", METADATA, |_, m| {
            m["token_endpoint_auth_signing_alg"] = json!("RS256");
        }),
        row("the_client_credentials_grant", "OID4AC v1 §2", METADATA, |_, m| {
            m["grant_types"] = json!(["client_credentials"]);
        }),
        row("the_implicit_response_type", "RFC 9700 §2.1.2", METADATA, |_, m| m["response_types"] = json!(["token"])),
        row("unbound_access_tokens", "RFC 9449 §5.2", METADATA, |_, m| m["dpop_bound_access_tokens"] = json!(false)),
        row("unpushed_requests", "RFC 9126 §6", METADATA, |_, m| {
            m["require_pushed_authorization_requests"] = json!(false);
        }),
        row("an_unknown_scope", "RFC 7591 §2", METADATA, |_, m| m["scope"] = json!("openid everything")),
        row("an_unknown_details_type", "RFC 9396 §10", METADATA, |_, m| {
            m["authorization_details_types"] = json!(["something_else"]);
        }),
        row("an_unprintable_client_name", "OID4AC v1 §7", METADATA, |_, m| m["client_name"] = json!("two\nlines")),
        row("an_unknown_setup_token", "RFC 7591 §3.2.2", STATEMENT, |_, m| {
            m["software_statement"] = json!("setup_00000000000000000000000000000000");
        }),
        row("no_setup_token", "RFC 7591 §3.2.2", STATEMENT, |_, m| remove(m, "software_statement")),
    ]
}

fn remove(metadata: &mut Value, name: &str) {
    if let Some(members) = metadata.as_object_mut() {
        members.remove(name);
    }
}

fn private_jwk(key: &jose::PrivateKey) -> Value {
    serde_json::from_str(&key.to_jwk()).unwrap_or_default()
}

async fn post(world: &World, metadata: &Value) -> Result<Answer, Stop> {
    let url = world.endpoint("registration_endpoint").await?;
    world.http.send(Call::post(&url).json(metadata)).await
}

/// Registers a new agent with changed metadata.
async fn register(world: &World, change: impl FnOnce(&mut Value)) -> Result<Answer, Stop> {
    let mut metadata = Identity::unregistered(Alg::EdDsa).registration(&world.setup_token(Part::Own)?);
    change(&mut metadata);
    post(world, &metadata).await
}

async fn created(world: &World) -> Outcome {
    let answer = register(world, |_| {}).await?;
    let has_id = answer.json()["client_id"].as_str().is_some_and(|id| !id.is_empty());
    let id = if has_id { "with" } else { "without" };
    expect(answer.status == 201 && has_id, format!("{}, {id} `client_id`", answer.summary()))
}

async fn no_store(world: &World) -> Outcome {
    let answer = register(world, |_| {}).await?.done(201)?;
    no_store_header(&answer)
}

/// Whether no cache keeps the answer.
pub(super) fn no_store_header(answer: &Answer) -> Outcome {
    let value = answer.header("cache-control");
    expect(value.is_some_and(|value| value.contains("no-store")), value.unwrap_or("no such header"))
}

async fn no_secret_echoed(world: &World) -> Outcome {
    let identity = Identity::unregistered(Alg::EdDsa);
    let token = world.setup_token(Part::Own)?;
    let answer = post(world, &identity.registration(&token)).await?.done(201)?;
    let echoed = String::from_utf8_lossy(&answer.body).contains(&token);
    let has_secret = answer.json().get("client_secret").is_some();
    let seen = match (echoed, has_secret) {
        (true, _) => "the setup token",
        (_, true) => "a `client_secret`",
        _ => "neither",
    };
    expect(!echoed && !has_secret, seen)
}

async fn default_scope(world: &World) -> Outcome {
    let answer = register(world, |_| {}).await?.done(201)?.json();
    let scope = answer["scope"].as_str().unwrap_or_default();
    let has = |wanted| scope.split(' ').any(|scope| scope == wanted);
    expect(has("openid") && has("payment:initiate"), scope)
}

async fn scope_echoed(world: &World) -> Outcome {
    let asked = "openid payment:initiate wallet:read";
    let answer = register(world, |metadata| metadata["scope"] = asked.into()).await?.done(201)?.json();
    let mut granted: Vec<_> = answer["scope"].as_str().unwrap_or_default().split(' ').collect();
    granted.sort_unstable();
    expect(granted == ["openid", "payment:initiate", "wallet:read"], granted.join(" "))
}

async fn unknown_member(world: &World) -> Outcome {
    register(world, |metadata| metadata["x_of_no_use"] = json!({ "a": 1 })).await?.accepted(201)
}

async fn bearer(world: &World) -> Outcome {
    let token = world.setup_token(Part::Own)?;
    let mut metadata = Identity::unregistered(Alg::EdDsa).registration("");
    remove(&mut metadata, "software_statement");
    let url = world.endpoint("registration_endpoint").await?;
    let call = Call::post(&url).json(&metadata).header("authorization", format!("Bearer {token}"));
    world.http.send(call).await?.accepted(201)
}

async fn setup_token_once(world: &World) -> Outcome {
    let token = world.setup_token(Part::Own)?;
    post(world, &Identity::unregistered(Alg::EdDsa).registration(&token)).await?.done(201)?;
    post(world, &Identity::unregistered(Alg::EdDsa).registration(&token)).await?.refused(400, STATEMENT)
}

async fn setup_token_unspent(world: &World) -> Outcome {
    let identity = Identity::unregistered(Alg::EdDsa);
    let good = identity.registration(&world.setup_token(Part::Own)?);
    let mut bad = good.clone();
    bad["redirect_uris"] = json!(["ftp://agent.example/"]);
    post(world, &bad).await?.done(400)?;
    post(world, &good).await?.accepted(201)
}

async fn setup_token_expiry(world: &World) -> Outcome {
    let metadata = Identity::unregistered(Alg::EdDsa).registration(&world.setup_token(Part::Own)?);
    world.wait(86_400).await?;
    post(world, &metadata).await?.refused(400, STATEMENT)
}

async fn duplicate_member(world: &World) -> Outcome {
    let metadata = Identity::unregistered(Alg::EdDsa).registration(&world.kept_setup_token()?).to_string();
    let twice = metadata.replacen('{', r#"{"client_name":"Somebody else","#, 1);
    let url = world.endpoint("registration_endpoint").await?;
    world.http.send(Call::post(&url).text("application/json", twice)).await?.refused(400, METADATA)
}

async fn content_type(world: &World) -> Outcome {
    let metadata = Identity::unregistered(Alg::EdDsa).registration(&world.kept_setup_token()?).to_string();
    let url = world.endpoint("registration_endpoint").await?;
    let answer = world.http.send(Call::post(&url).text("text/plain", metadata)).await?;
    expect(answer.status == 400 || answer.status == 415, answer.summary())
}

async fn refused(world: &World, change: Change, error: &'static str) -> Outcome {
    let identity = Identity::unregistered(Alg::EdDsa);
    let mut metadata = identity.registration(&world.kept_setup_token()?);
    change(&identity, &mut metadata);
    post(world, &metadata).await?.refused(400, error)
}

const REGISTER: &str = "/oauth/register";
const URI: &str = "invalid_redirect_uri";
const METADATA: &str = "invalid_client_metadata";
const STATEMENT: &str = "invalid_software_statement";
