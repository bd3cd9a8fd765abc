//! Authorization server metadata and its keys (RFC 8414, RFC 7517).

use serde_json::{Value, json};

use crate::check::{Check, run};
use crate::lie;
use crate::outcome::{Outcome, Stop, expect};
use crate::wire::Answer;
use crate::world::World;

pub(super) fn checks() -> Vec<Check> {
    let mut checks = vec![
        Check::server("metadata.served", "RFC 8414 §3.2", "200 with a JSON object as application/json", run!(served))
            .spoiled_by(lie::header(METADATA, "content-type", Some("text/html"))),
        Check::server("metadata.issuer", "RFC 8414 §3.3", "`issuer` is the issuer asked, octet by octet", run!(issuer))
            .spoiled_by(lie::set(METADATA, "/issuer", json!("https://elsewhere.example"))),
        Check::server(
            "metadata.consent_modes",
            "OID4AC v1 §7",
            "`oid4ac_consent_modes_supported`, where there, lists some of auto, dashboard, scan and nothing else",
            run!(consent_modes),
        )
        .spoiled_by(lie::set(METADATA, "/oid4ac_consent_modes_supported", json!(["telepathy"]))),
        Check::server(
            "metadata.audit_head_key",
            "OID4AC v1 §15",
            "a key marked `oid4ac_use: audit-head`, and a key that is not",
            run!(audit_head_key),
        )
        .spoiled_by(lie::set(JWKS, "/keys/1/oid4ac_use", Value::Null)),
        Check::server(
            "metadata.jwks_public",
            "RFC 7517 §9.2",
            "no key in the set has a private member",
            run!(public_keys),
        )
        .spoiled_by(lie::set(JWKS, "/keys/0/d", json!("AAAA"))),
        Check::server("metadata.jwks_kid", "RFC 7517 §4.5", "every key has a `kid` of its own", run!(key_ids))
            .spoiled_by(lie::set(JWKS, "/keys/0/kid", Value::Null)),
        Check::server("metadata.jwks_kty", "OID4AC v1 §17", "every key is an Ed25519 key", run!(key_types))
            .spoiled_by(lie::set(JWKS, "/keys/0/crv", json!("X25519"))),
    ];
    for member in ENDPOINTS {
        let expected = format!("`{member}` is there and has the issuer's origin");
        let check = Check::server(format!("metadata.{member}"), "RFC 8414 §2", expected, run!(endpoint, member));
        checks.push(check.spoiled_by(lie::without(METADATA, member)));
    }
    for (member, section) in FLAGS {
        let check =
            Check::server(format!("metadata.{member}"), section, format!("`{member}` is true"), run!(flag, member));
        checks.push(check.spoiled_by(lie::set(METADATA, format!("/{member}"), json!(false))));
    }
    for (member, section, values) in LISTS {
        let expected = format!("`{member}` lists {}", values.join(", "));
        let check = Check::server(format!("metadata.{member}"), section, expected, run!(list, member, values));
        checks.push(check.spoiled_by(lie::set(METADATA, format!("/{member}"), json!(["something"]))));
    }
    for (member, section, values) in ONLY {
        let expected = format!("`{member}` is {} and nothing else", values.join(", "));
        let check = Check::server(format!("metadata.{member}"), section, expected, run!(only, member, values));
        checks.push(check.spoiled_by(lie::json_at(METADATA, move |json| {
            if let Some(list) = json[member].as_array_mut() {
                list.push("RS256".into());
            }
        })));
    }
    checks
}

/// The endpoints without which the protocol cannot be spoken.
const ENDPOINTS: [&str; 7] = [
    "authorization_endpoint",
    "pushed_authorization_request_endpoint",
    "token_endpoint",
    "registration_endpoint",
    "revocation_endpoint",
    "introspection_endpoint",
    "jwks_uri",
];

const FLAGS: [(&str, &str); 3] = [
    ("require_pushed_authorization_requests", "RFC 9126 §5"),
    ("authorization_response_iss_parameter_supported", "RFC 9207 §3"),
    ("resource_indicators_supported", "OID4AC v1 §2"),
];

const LISTS: [(&str, &str, &[&str]); 4] = [
    ("scopes_supported", "OID4AC v1 §3", &["openid", "payment:initiate"]),
    ("response_types_supported", "RFC 8414 §2", &["code"]),
    ("grant_types_supported", "RFC 8414 §2", &["authorization_code", "refresh_token"]),
    ("authorization_details_types_supported", "RFC 9396 §10", &["oid4ac_mandate"]),
];

const ONLY: [(&str, &str, &[&str]); 4] = [
    ("code_challenge_methods_supported", "RFC 9700 §2.1.1", &["S256"]),
    ("token_endpoint_auth_methods_supported", "OID4AC v1 §2", &["private_key_jwt"]),
    ("token_endpoint_auth_signing_alg_values_supported", "OID4AC v1 §17", &["EdDSA", "Ed25519", "ES256"]),
    ("dpop_signing_alg_values_supported", "OID4AC v1 §17", &["EdDSA", "Ed25519", "ES256"]),
];

async fn fetch(world: &World) -> Result<Answer, Stop> {
    world.http.get(&world.metadata_url()?).await?.done(200)
}

async fn served(world: &World) -> Outcome {
    let answer = world.http.get(&world.metadata_url()?).await?;
    let is_json = answer.header("content-type").is_some_and(|value| value.starts_with("application/json"));
    let content_type = if is_json { "application/json" } else { "another content type" };
    expect(answer.status == 200 && is_json && answer.json().is_object(), format!("{}, {content_type}", answer.status))
}

async fn issuer(world: &World) -> Outcome {
    let same = fetch(world).await?.json()["issuer"] == *world.issuer()?;
    expect(same, if same { "the same" } else { "another one" })
}

async fn consent_modes(world: &World) -> Outcome {
    let modes = &fetch(world).await?.json()["oid4ac_consent_modes_supported"];
    match modes.as_array() {
        None => expect(modes.is_null(), "no list"),
        Some(list) => {
            let known = |mode: &Value| ["auto", "dashboard", "scan"].iter().any(|known| mode == known);
            expect(!list.is_empty() && list.iter().all(known), modes.to_string())
        }
    }
}

async fn endpoint(world: &World, member: &'static str) -> Outcome {
    let metadata = fetch(world).await?.json();
    let Some(url) = metadata[member].as_str() else { return expect(false, "it is missing") };
    let origin = url::Url::parse(url).map(|url| url.origin().ascii_serialization()).unwrap_or_default();
    expect(origin == world.as_origin()?, format!("an address at {origin}"))
}

async fn flag(world: &World, member: &'static str) -> Outcome {
    let value = &fetch(world).await?.json()[member];
    expect(*value == true, value.to_string())
}

async fn list(world: &World, member: &'static str, values: &[&str]) -> Outcome {
    let listed = &fetch(world).await?.json()[member];
    let has = |value: &&str| listed.as_array().is_some_and(|list| list.contains(&json!(value)));
    expect(values.iter().all(has), listed.to_string())
}

/// Some of `values`, the first under one of its names among them, and nothing else.
async fn only(world: &World, member: &'static str, values: &[&str]) -> Outcome {
    let listed = &fetch(world).await?.json()[member];
    let list = listed.as_array().map(Vec::as_slice).unwrap_or_default();
    let is_known = |value: &Value| values.iter().any(|known| value == known);
    expect(!list.is_empty() && list.iter().all(is_known), listed.to_string())
}

async fn jwks(world: &World) -> Result<Vec<Value>, Stop> {
    let url = world.endpoint("jwks_uri").await?;
    let answer = world.http.get(&url).await?.done(200)?;
    Ok(answer.json()["keys"].as_array().cloned().unwrap_or_default())
}

async fn audit_head_key(world: &World) -> Outcome {
    let keys = jwks(world).await?;
    let marked = keys.iter().filter(|key| key["oid4ac_use"] == "audit-head").count();
    expect(marked == 1 && keys.len() > 1, format!("{marked} of {} keys", keys.len()))
}

async fn public_keys(world: &World) -> Outcome {
    let keys = jwks(world).await?;
    let private = |key: &Value| ["d", "p", "q", "k"].iter().any(|name| key.get(name).is_some());
    let count = keys.iter().filter(|key| private(key)).count();
    expect(!keys.is_empty() && count == 0, format!("{count} of {} keys", keys.len()))
}

async fn key_ids(world: &World) -> Outcome {
    let keys = jwks(world).await?;
    let mut ids: Vec<_> = keys.iter().filter_map(|key| key["kid"].as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    expect(!keys.is_empty() && ids.len() == keys.len(), format!("{} for {} keys", ids.len(), keys.len()))
}

async fn key_types(world: &World) -> Outcome {
    let keys = jwks(world).await?;
    let count = keys.iter().filter(|key| key["kty"] == "OKP" && key["crv"] == "Ed25519").count();
    expect(!keys.is_empty() && count == keys.len(), format!("{count} of {} keys", keys.len()))
}

const METADATA: &str = "/.well-known/oauth-authorization-server";
const JWKS: &str = "/oauth/jwks.json";
