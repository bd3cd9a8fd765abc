//! What an access token (RFC 9068) and a mandate (SD-JWT VC) say, and who signed for it.

use jose::{Alg, Signer as _, UnverifiedJws};
use sd_jwt::{Policy, UnverifiedSdJwt, VC_TYPES, Validity};
use serde_json::{Map, Value, json};

use crate::agent::{Agent, Purchase, Ready};
use crate::check::{Check, run};
use crate::forger::{Edit, as_they_are, issues, issues_as};
use crate::lie;
use crate::outcome::{Outcome, Stop, expect, failed};
use crate::world::{Part, World};

pub(super) fn checks() -> Vec<Check> {
    let mut checks = vec![
        Check::server(
            "access_token.signature",
            "RFC 9068 §4",
            "an access token for a merchant verifies by the authorization server's keys, EdDSA, typ at+jwt",
            run!(access_token, |_: &Claims<'_>| true),
        )
        .spoiled_by(lie::set(JWKS, "/keys", json!([]))),
        Check::server(
            "access_token.typ",
            "RFC 9068 §2.1",
            "`typ` is at+jwt",
            run!(access_token, |_: &Claims<'_>| true),
        )
        .spoiled_by(issues_as(("JWT", as_they_are), ("vc+sd-jwt", as_they_are))),
        Check::server(
            "access_token.agent_only",
            "OID4AC v1 §9",
            "for scope openid alone `sub` is the client: no principal took part",
            run!(agent_only),
        )
        .spoiled_by(issues(|c| c["sub"] = json!("principal_x"), as_they_are)),
        Check::server(
            "access_token.wallet_audience",
            "OID4AC v1 §9",
            "a wallet token's `aud` is the authorization server's origin",
            run!(wallet_audience),
        )
        .spoiled_by(issues(|c| c["aud"] = json!("https://shop.example"), as_they_are)),
        Check::server(
            "mandate.signature",
            "RFC 9901 §7.1",
            "a mandate verifies by the authorization server's keys, EdDSA, every disclosure referenced once",
            run!(mandate, |_: &Claims<'_>| true),
        )
        .spoiled_by(lie::set(JWKS, "/keys", json!([]))),
        Check::server(
            "mandate.typ",
            "SD-JWT VC §2.2.1",
            "`typ` is vc+sd-jwt or dc+sd-jwt",
            run!(mandate, |_: &Claims<'_>| true),
        )
        .spoiled_by(issues_as(("at+jwt", as_they_are), ("JWT", as_they_are))),
        Check::server(
            "mandate.same_id",
            "OID4AC v1 §9",
            "access token and mandate have one `mandate_id`, and one `sub`",
            run!(same_id),
        )
        .spoiled_by(issues(as_they_are, |c| c["mandate_id"] = json!("another"))),
        Check::server(
            "mandate.disclosable",
            "OID4AC v1 §10",
            "personal data can be kept back: nothing of it is in the issuer-signed JWT",
            run!(disclosable),
        )
        .spoiled_by(issues(as_they_are, |c| c["principal_email"] = json!("robin@example.com"))),
    ];
    for (member, expected, holds, edit) in ACCESS_TOKEN {
        let check =
            Check::server(format!("access_token.{member}"), "OID4AC v1 §9", expected, run!(access_token, holds));
        checks.push(check.spoiled_by(issues(edit, as_they_are)));
    }
    for (what, expected, holds, edit) in MANDATE {
        let check = Check::server(format!("mandate.{what}"), "OID4AC v1 §10", expected, run!(mandate, holds));
        checks.push(check.spoiled_by(issues(as_they_are, edit)));
    }
    checks
}

/// Verified claims, and what they have to fit.
struct Claims<'a> {
    claims: &'a Value,
    agent: &'a Agent<'a>,
    purchase: &'a Purchase,
}

impl Claims<'_> {
    fn seconds(&self, name: &str) -> i64 {
        self.claims[name].as_i64().unwrap_or_default()
    }

    fn is_text(&self, name: &str) -> bool {
        self.claims[name].as_str().is_some_and(|text| !text.is_empty())
    }

    fn details(&self, name: &str) -> &Value {
        &self.claims["authorization_details"][0][name]
    }
}

type Holds = fn(&Claims<'_>) -> bool;
type Row = (&'static str, &'static str, Holds, Edit);

const ACCESS_TOKEN: [Row; 12] = [
    (
        "iss",
        "`iss` is the issuer",
        |c| c.claims["iss"].as_str() == c.agent.world.issuer().ok(),
        |c| c["iss"] = json!("x"),
    ),
    (
        "aud",
        "`aud` is the merchant alone",
        |c| c.claims["aud"] == c.purchase.shop.origin,
        |c| {
            c["aud"] = json!([c["aud"], "https://b.example"]);
        },
    ),
    (
        "sub",
        "`sub` is the principal and not the client",
        |c| c.is_text("sub") && c.claims["sub"] != c.agent.identity.client_id,
        |c| c["sub"] = c["client_id"].clone(),
    ),
    (
        "client_id",
        "`client_id` is the client",
        |c| c.claims["client_id"] == c.agent.identity.client_id,
        |c| {
            c["client_id"] = json!("another");
        },
    ),
    (
        "agent_client_id",
        "`agent_client_id` is the client",
        |c| c.claims["agent_client_id"] == c.agent.identity.client_id,
        |c| c["agent_client_id"] = json!("another"),
    ),
    (
        "cnf",
        "`cnf.jkt` is the thumbprint of the DPoP key",
        |c| c.claims["cnf"]["jkt"] == c.agent.identity.dpop_key.public_key().thumbprint().as_str(),
        |c| c["cnf"]["jkt"] = json!("A".repeat(43)),
    ),
    (
        "exp",
        "it lives for 300 s",
        |c| c.seconds("exp") - c.seconds("iat") == 300,
        |c| c["exp"] = json!(9_999_999_999_i64),
    ),
    (
        "nbf",
        "`nbf` is not in the future",
        |c| c.claims["nbf"].is_i64() && c.seconds("nbf") <= c.agent.world.now() + 60,
        |c| c["nbf"] = json!(9_999_999_999_i64),
    ),
    ("jti", "`jti` is there", |c| c.is_text("jti"), |c| c["jti"] = Value::Null),
    (
        "scope",
        "`scope` is that of a payment",
        |c| c.claims["scope"].as_str().is_some_and(|scope| scope.contains("payment")),
        |c| c["scope"] = json!("openid"),
    ),
    (
        "acr",
        "`acr` is one of those defined",
        |c| c.claims["acr"].as_str().is_some_and(|acr| acr.starts_with("urn:oid4pay:")),
        |c| c["acr"] = json!("0"),
    ),
    (
        "auth_time",
        "`auth_time` is a time gone by",
        |c| c.claims["auth_time"].is_i64() && c.seconds("auth_time") <= c.agent.world.now() + 60,
        |c| c["auth_time"] = json!("today"),
    ),
];

const MANDATE: [Row; 18] = [
    (
        "iss",
        "`iss` is the issuer",
        |c| c.claims["iss"].as_str() == c.agent.world.issuer().ok(),
        |c| c["iss"] = json!("x"),
    ),
    (
        "sub",
        "`sub` is the principal and not the client",
        |c| c.is_text("sub") && c.claims["sub"] != c.agent.identity.client_id,
        |c| c["sub"] = Value::Null,
    ),
    (
        "aud",
        "`aud` is the merchant alone",
        |c| c.claims["aud"] == c.purchase.shop.origin || c.claims["aud"] == json!([c.purchase.shop.origin]),
        |c| c["aud"] = json!([c["aud"], "https://b.example"]),
    ),
    (
        "vct",
        "`vct` is that of the mandate",
        |c| c.claims["vct"] == "https://schema.oid4pay.com/oid4ac/mandate/v1",
        |c| c["vct"] = json!("another"),
    ),
    (
        "version",
        "`oid4ac_version` is 1.0",
        |c| c.claims["oid4ac_version"] == "1.0",
        |c| c["oid4ac_version"] = json!("2.0"),
    ),
    (
        "cnf",
        "`cnf.jkt` is the thumbprint of the DPoP key",
        |c| c.claims["cnf"]["jkt"] == c.agent.identity.dpop_key.public_key().thumbprint().as_str(),
        |c| c["cnf"]["jkt"] = json!("A".repeat(43)),
    ),
    (
        "exp",
        "it lives for at most 900 s",
        |c| (1..=900).contains(&(c.seconds("exp") - c.seconds("iat"))),
        |c| c["exp"] = json!(c["iat"].as_i64().unwrap_or_default() + 901),
    ),
    ("nbf", "`nbf` is there", |c| c.claims["nbf"].is_i64(), |c| drop(c.as_object_mut().map(|c| c.remove("nbf")))),
    ("id", "`mandate_id` is there", |c| c.is_text("mandate_id"), |c| c["mandate_id"] = Value::Null),
    (
        "details_type",
        "it has one element of type oid4ac_mandate",
        |c| {
            c.details("type") == "oid4ac_mandate"
                && c.claims["authorization_details"].as_array().is_some_and(|a| a.len() == 1)
        },
        |c| c["authorization_details"][0]["type"] = json!("another"),
    ),
    (
        "cap",
        "`amount_minor` is the amount asked for",
        |c| *c.details("amount_minor") == c.purchase.amount_minor,
        |c| {
            c["authorization_details"][0]["amount_minor"] = json!(1);
        },
    ),
    (
        "currency",
        "`currency` is the one asked for",
        |c| *c.details("currency") == c.purchase.currency,
        |c| {
            c["authorization_details"][0]["currency"] = json!("CHF");
        },
    ),
    (
        "merchant",
        "`merchant` is the one asked for",
        |c| *c.details("merchant") == c.purchase.shop.origin,
        |c| {
            c["authorization_details"][0]["merchant"] = json!("https://b.example");
        },
    ),
    (
        "line_items",
        "`line_items` are those asked for",
        |c| {
            let (granted, asked) = (&c.details("line_items")[0], &c.purchase.line_items[0]);
            granted["sku"] == asked["sku"] && granted["qty"] == asked["qty"]
        },
        |c| c["authorization_details"][0]["line_items"][0]["qty"] = json!(7),
    ),
    (
        "offer_digest",
        "`offer_digest` is the one asked for",
        |c| c.details("offer_digest").as_str() == c.purchase.offer_digest.as_deref(),
        |c| c["authorization_details"][0]["offer_digest"] = json!("A".repeat(43)),
    ),
    (
        "status_type",
        "`credentialStatus` is an entry of a StatusList2021 for revocation",
        |c| {
            let status = &c.claims["credentialStatus"];
            status["type"] == "StatusList2021Entry" && status["statusPurpose"] == "revocation"
        },
        |c| c["credentialStatus"]["statusPurpose"] = json!("suspension"),
    ),
    (
        "status_index",
        "`statusListIndex` is a number, written as text",
        |c| c.claims["credentialStatus"]["statusListIndex"].as_str().is_some_and(|index| index.parse::<u64>().is_ok()),
        |c| c["credentialStatus"]["statusListIndex"] = json!(7),
    ),
    (
        "status_origin",
        "`statusListCredential` has the issuer's origin",
        |c| {
            let list = c.claims["credentialStatus"]["statusListCredential"].as_str().unwrap_or_default();
            let origin = url::Url::parse(list).map(|url| url.origin().ascii_serialization());
            origin.ok() == c.agent.world.as_origin().ok()
        },
        |c| c["credentialStatus"]["statusListCredential"] = json!("https://elsewhere.example/list"),
    ),
];

async fn ready(world: &World) -> Result<(Agent<'_>, Ready), Stop> {
    let agent = world.agent(Part::Own).await?;
    let ready = agent.ready().await?;
    Ok((agent, ready))
}

/// An access token's claims, verified.
async fn verify_access_token(world: &World, token: &str) -> Result<Map<String, Value>, Stop> {
    let keys = world.as_keys().await?;
    let jws = UnverifiedJws::parse(token).or_else(|error| failed(error.to_string()))?;
    let Some(jwk) = keys.find(jws.unverified_kid(), Alg::EdDsa) else { return failed("no key has its kid") };
    let verified = jws.verify(jwk.key(), &[Alg::EdDsa], &["at+jwt"]).and_then(|jws| jws.claims());
    verified.or_else(|error| failed(error.to_string()))
}

/// A mandate's claims as they are without any disclosure, and all of them.
async fn verify_mandate(world: &World, mandate: &str) -> Result<[Map<String, Value>; 2], Stop> {
    let keys = world.as_keys().await?;
    let bare = format!("{}~", mandate.split('~').next().unwrap_or_default());
    let mut both = [Map::new(), Map::new()];
    for (claims, text) in both.iter_mut().zip([bare.as_str(), &sd_jwt::complete(mandate)]) {
        let unverified = UnverifiedSdJwt::parse(text).or_else(|error| failed(error.to_string()))?;
        let Some(jwk) = keys.find(unverified.unverified_kid(), Alg::EdDsa) else { return failed("no key has its kid") };
        let policy = Policy::new(&[Alg::EdDsa], &VC_TYPES, Validity::CheckedLater).sd_jwt_vc();
        let verified = unverified.verify(jwk.key(), &policy).or_else(|error| failed(error.to_string()))?;
        *claims = verified.into_claims();
    }
    Ok(both)
}

fn judge(claims: Map<String, Value>, agent: &Agent<'_>, purchase: &Purchase, holds: Holds) -> Outcome {
    let right = holds(&Claims { claims: &Value::Object(claims), agent, purchase });
    expect(right, if right { "as expected" } else { "another value, or none" })
}

async fn access_token(world: &World, holds: Holds) -> Outcome {
    let (agent, ready) = ready(world).await?;
    let claims = verify_access_token(world, &ready.tokens.access_token).await?;
    judge(claims, &agent, &ready.purchase, holds)
}

async fn mandate(world: &World, holds: Holds) -> Outcome {
    let (agent, ready) = ready(world).await?;
    let [bare, _] = verify_mandate(world, &ready.tokens.mandate).await?;
    judge(bare, &agent, &ready.purchase, holds)
}

async fn agent_only(world: &World) -> Outcome {
    let agent = world.agent(Part::Own).await?;
    let claims = verify_access_token(world, &agent.session("openid").await?.access_token).await?;
    let is_client = claims.get("sub") == Some(&json!(agent.identity.client_id));
    expect(is_client, if is_client { "the client" } else { "another party" })
}

async fn wallet_audience(world: &World) -> Outcome {
    let agent = world.agent(Part::Own).await?;
    let claims = verify_access_token(world, &agent.session("wallet:read").await?.access_token).await?;
    let is_own = claims.get("aud") == Some(&json!(world.as_origin()?));
    expect(is_own, if is_own { "the same" } else { "another, or more" })
}

async fn same_id(world: &World) -> Outcome {
    let (_, ready) = ready(world).await?;
    let token = verify_access_token(world, &ready.tokens.access_token).await?;
    let [mandate, _] = verify_mandate(world, &ready.tokens.mandate).await?;
    let differing: Vec<_> =
        ["mandate_id", "sub"].into_iter().filter(|name| token.get(*name) != mandate.get(*name)).collect();
    expect(
        differing.is_empty(),
        if differing.is_empty() { "the same".into() } else { differing.join(", ") + " differ" },
    )
}

async fn disclosable(world: &World) -> Outcome {
    let (_, ready) = ready(world).await?;
    let [bare, all] = verify_mandate(world, &ready.tokens.mandate).await?;
    let personal = ["principal_email", "principal_country", "principal_phone"];
    let shown: Vec<_> = personal.into_iter().filter(|name| bare.contains_key(*name)).collect();
    let kept = personal.into_iter().filter(|name| all.contains_key(*name)).count() - shown.len();
    let seen =
        if shown.is_empty() { format!("{kept} kept back") } else { format!("{} for all to see", shown.join(", ")) };
    expect(shown.is_empty(), seen)
}

const JWKS: &str = "/oauth/jwks.json";
