//! Metadata, redirects, token answers and audit chains that an authorization server should not have sent.

use std::sync::Arc;

use jose::Alg;
use oid4ac_client::{AuditQuery, Granted, PrincipalToken};
use serde_json::{Value, json};

use crate::check::Check;
use crate::deception::{CALLBACK, Deception, Kit, Verdict, attempt};
use crate::forge;
use crate::forger::Forger;
use crate::lie::{self, Lie};
use crate::outcome::Stop;

pub(super) fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    for (what, section, said, member, value) in METADATA {
        let made = move || lie::json_at(WELL_KNOWN, move |json| put(json, member, value()));
        let deception = Deception::new(made, attempt!(Kit::pay));
        checks.push(Check::client(format!("client.metadata_{what}"), section, said, deception));
    }
    for (what, section, said, change) in REDIRECTS {
        let deception = Deception::new(move || redirect(change), attempt!(Kit::pay));
        checks.push(Check::client(format!("client.redirect_{what}"), section, said, deception));
    }
    for (what, said, member, value) in TOKENS {
        let made = move || lie::json_at(TOKEN, move |json| put(json, member, value()));
        let deception = Deception::new(made, attempt!(Kit::pay));
        checks.push(Check::client(format!("client.token_{what}"), "OID4AC v1 §8", said, deception));
    }
    for alg in [forge::Alg::None, forge::Alg::Hs256, forge::Alg::Rs256, forge::Alg::Es256k] {
        for (member, said) in [
            ("access_token", format!("access token refused: algorithm {:?} is not allowed", alg.name())),
            (
                "mandate_jwt",
                format!("mandate refused: the issuer-signed JWT is refused: algorithm {:?} is not allowed", alg.name()),
            ),
        ] {
            let deception = Deception::new(move || under(alg, member), attempt!(Kit::pay));
            let id = format!("client.alg_{member}_{}", alg.slug());
            checks.push(Check::client(id, "OID4AC v1 §17", said, deception));
        }
    }
    for (what, said, edit) in CHAINS {
        let made = move || lie::json_at(AUDIT, edit);
        let deception = Deception::new(made, attempt!(audit)).after_settlement();
        checks.push(Check::client(format!("client.audit_{what}"), "OID4AC v1 §15", said, deception));
    }
    checks.extend([
        Check::client(
            "client.access_token_foreign_key",
            "OID4AC v1 §9",
            "access token refused: no key of the signer's JWK set has its kid",
            Deception::new(foreign_keys, attempt!(Kit::pay)),
        ),
        Check::client(
            "client.mandate_stray_disclosure",
            "RFC 9901 §7.1",
            "mandate refused: disclosure 5 is referenced by no digest",
            Deception::new(
                || {
                    lie::json_at(TOKEN, |json| {
                        if let Some(mandate) = json["mandate_jwt"].as_str() {
                            json["mandate_jwt"] = format!("{mandate}WyJzYWx0IiwgImFkbWluIiwgdHJ1ZV0~").into();
                        }
                    })
                },
                attempt!(Kit::pay),
            ),
        ),
    ]);
    checks
}

type MetadataRow = (&'static str, &'static str, &'static str, &'static str, fn() -> Value);

const METADATA: [MetadataRow; 6] = [
    (
        "issuer",
        "RFC 8414 §3.3",
        "authorization server metadata refused: `issuer` is not the one expected",
        "issuer",
        || json!("https://evil.example"),
    ),
    (
        "token_endpoint_elsewhere",
        "OID4AC v1 §2",
        "authorization server metadata refused: `token_endpoint` has another origin than it must have",
        "token_endpoint",
        || json!("http://127.0.0.1:1/token"),
    ),
    (
        "no_par",
        "OID4AC v1 §2",
        "the authorization server's metadata has no `pushed_authorization_request_endpoint`",
        "pushed_authorization_request_endpoint",
        || Value::Null,
    ),
    (
        "no_s256",
        "RFC 9700 §2.1.1",
        "the authorization server's metadata does not list \"S256\" in `code_challenge_methods_supported`",
        "code_challenge_methods_supported",
        || json!(["plain"]),
    ),
    (
        "no_private_key_jwt",
        "OID4AC v1 §2",
        "the authorization server's metadata does not list \"private_key_jwt\" in `token_endpoint_auth_methods_supported`",
        "token_endpoint_auth_methods_supported",
        || json!(["client_secret_basic"]),
    ),
    (
        "no_consent_modes",
        "OID4AC v1 §7",
        "this authorization server asks the person in their browser, which needs a redirect_uri of the form \
         http://127.0.0.1/callback: nothing was sent",
        "oid4ac_consent_modes_supported",
        || Value::Null,
    ),
];

type RedirectRow = (&'static str, &'static str, &'static str, fn(&mut Vec<(String, String)>));

const REDIRECTS: [RedirectRow; 5] = [
    ("state", "RFC 9700 §4.7", "authorization response refused: `state` is not the one expected", |p| {
        set(p, "state", "another");
    }),
    ("no_state", "RFC 9700 §4.7", "authorization response refused: `state` is not the one expected", |p| {
        p.retain(|(name, _)| name != "state");
    }),
    ("iss", "RFC 9207 §2.4", "authorization response refused: `iss` is not the one expected", |p| {
        set(p, "iss", "https://evil.example");
    }),
    ("no_iss", "RFC 9207 §2.4", "authorization response refused: `iss` is not the one expected", |p| {
        p.retain(|(name, _)| name != "iss");
    }),
    ("no_code", "RFC 6749 §4.1.2", "authorization response refused: `code` is missing or malformed", |p| {
        p.retain(|(name, _)| name != "code");
    }),
];

type TokenRow = (&'static str, &'static str, &'static str, fn() -> Value);

const TOKENS: [TokenRow; 3] = [
    ("bearer", "token answer refused: `token_type` is not the one expected", "token_type", || json!("Bearer")),
    ("narrow_scope", "token answer refused: the scope granted lacks \"payment:initiate\"", "scope", || json!("openid")),
    ("no_mandate", "declined", "mandate_jwt", || Value::Null),
];

type ChainRow = (&'static str, &'static str, fn(&mut Value));

const CHAINS: [ChainRow; 4] = [
    ("payload", "not intact", |page| lie::put(page, "/entries/0/payload/amount_minor", json!(1))),
    ("hash", "not intact", |page| lie::put(page, "/entries/1/entry_hash", json!("AAAA"))),
    ("link", "not intact", |page| lie::put(page, "/entries/0/prev_hash", json!("AAAA"))),
    ("head", "not intact", |page| lie::put(page, "/chain_head", json!("e30.e30.e30"))),
];

/// Sets a member, or takes it away.
fn put(json: &mut Value, member: &str, value: Value) {
    match (value, json.as_object_mut()) {
        (Value::Null, Some(members)) => drop(members.remove(member)),
        (value, Some(members)) => drop(members.insert(member.to_owned(), value)),
        _ => {}
    }
}

fn set(pairs: &mut [(String, String)], name: &str, value: &str) {
    pairs.iter_mut().filter(|(n, _)| n == name).for_each(|(_, v)| value.clone_into(v));
}

/// Changes the parameters of the redirect.
fn redirect(change: fn(&mut Vec<(String, String)>)) -> Lie {
    lie::at("/oauth/authorize", move |mut answer| {
        let location = answer.headers().get("location").and_then(|value| value.to_str().ok());
        if let Some(mut url) = location.and_then(|location| url::Url::parse(location).ok()) {
            let mut pairs: Vec<_> = url.query_pairs().into_owned().collect();
            change(&mut pairs);
            url.query_pairs_mut().clear().extend_pairs(pairs);
            if let Ok(value) = url.as_str().parse() {
                answer.headers_mut().insert("location", value);
            }
        }
        answer
    })
}

/// Another algorithm in the header of what the token endpoint gives.
fn under(alg: forge::Alg, member: &'static str) -> Lie {
    lie::json_at(TOKEN, move |reply| {
        let Some(token) = reply[member].as_str().map(str::to_owned) else { return };
        let (jwt, disclosures) = token.split_at(token.find('~').unwrap_or(token.len()));
        if let Ok((header, claims)) = forge::take_apart(jwt) {
            let attacker = crate::forge::new_key(Alg::EdDsa);
            let forged = alg.sign(&header, &claims.to_string(), &attacker, b"");
            reply[member] = format!("{forged}{disclosures}").into();
        }
    })
}

/// A JWK set in which the signer's key is not.
fn foreign_keys() -> Lie {
    let forger = Forger::new(Alg::EdDsa);
    Arc::new(move |request, answer| match request.path.as_str() {
        "/oauth/jwks.json" => forger.jwks(),
        _ => answer,
    })
}

/// Pays, and reads the audit chain.
async fn audit(kit: Kit) -> Result<Verdict, Stop> {
    if let Err(said) = kit.register().await? {
        return Ok(Err(said));
    }
    if let Err(said) = kit.pay_once().await? {
        return Ok(Err(said));
    }
    let session = PrincipalToken::WalletSession { redirect_uri: CALLBACK.to_owned() };
    Ok(match kit.client.audit_entries(&AuditQuery::default(), &session).await {
        Ok(Granted::Done(page)) if page.chain.is_intact() && page.entries.len() == 2 => Ok(()),
        Ok(Granted::Done(_)) => Err("not intact".to_owned()),
        Ok(_) => Err("not granted".to_owned()),
        Err(error) => Err(error.to_string()),
    })
}

const WELL_KNOWN: &str = "/.well-known/oauth-authorization-server";
const TOKEN: &str = "/oauth/token";
const AUDIT: &str = "/audit/principal/range";
