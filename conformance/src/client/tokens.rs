//! Access tokens and mandates that an authorization server should not have issued.

use serde_json::json;

use crate::check::Check;
use crate::deception::{Deception, Kit, attempt};
use crate::forger::{Edit, as_they_are, issues, issues_as};

pub(super) fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    for (what, said, edit) in ACCESS_TOKENS {
        let deception = Deception::new(move || issues(edit, as_they_are), attempt!(Kit::pay));
        checks.push(Check::client(format!("client.access_token_{what}"), "OID4AC v1 §9", said, deception));
    }
    for (what, said, edit) in MANDATES {
        let deception = Deception::new(move || issues(as_they_are, edit), attempt!(Kit::pay));
        checks.push(Check::client(format!("client.mandate_{what}"), "OID4AC v1 §8", said, deception));
    }
    let typ = "the token's typ is not the one expected";
    let access_token =
        Deception::new(|| issues_as(("JWT", as_they_are), ("vc+sd-jwt", as_they_are)), attempt!(Kit::pay));
    let said = format!("access token refused: {typ}");
    checks.push(Check::client("client.access_token_typ", "RFC 9068 §4", said, access_token));
    let mandate = Deception::new(|| issues_as(("at+jwt", as_they_are), ("at+jwt", as_they_are)), attempt!(Kit::pay));
    let said = format!("mandate refused: the issuer-signed JWT is refused: {typ}");
    checks.push(Check::client("client.mandate_typ", "OID4AC v1 §10", said, mandate));
    checks
}

/// What is wrong, what the client says, and the claims.
type Row = (&'static str, &'static str, Edit);

const ACCESS_TOKENS: [Row; 5] = [
    ("iss", "access token refused: `iss` is not the one expected", |c| c["iss"] = json!("https://evil.example")),
    ("aud", "access token refused: `aud` is not the one expected", |c| c["aud"] = json!("https://evil.example")),
    ("aud_list", "access token refused: `aud` is not the one expected", |c| c["aud"] = json!([c["aud"]])),
    ("cnf", "access token refused: `cnf.jkt` is not the one expected", |c| c["cnf"]["jkt"] = json!("A".repeat(43))),
    ("no_cnf", "access token refused: `cnf.jkt` is not the one expected", |c| c["cnf"] = json!({})),
];

const MANDATES: [Row; 23] = [
    ("iss", "mandate refused: `iss` is not the one expected", |c| c["iss"] = json!("https://evil.example")),
    ("vct", "mandate refused: `vct` is not the one expected", |c| c["vct"] = json!("something/else")),
    ("version", "mandate refused: `oid4ac_version` is not the one expected", |c| c["oid4ac_version"] = json!("2.0")),
    ("cnf", "mandate refused: `cnf.jkt` is not the one expected", |c| c["cnf"]["jkt"] = json!("A".repeat(43))),
    ("no_cnf", "mandate refused: `cnf.jkt` is missing or malformed", |c| c["cnf"] = json!({})),
    ("aud", "mandate refused: `aud` is not the one expected", |c| {
        c["aud"] = json!("https://evil.example");
        c["authorization_details"][0]["merchant"] = json!("https://evil.example");
    }),
    ("two_audiences", "mandate refused: `aud` is missing or malformed", |c| {
        c["aud"] = json!([c["aud"], "https://b.example"]);
    }),
    ("expired", "mandate refused: it has expired", |c| {
        c["exp"] = json!(1_000);
        c["iat"] = json!(900);
    }),
    ("not_yet_valid", "mandate refused: it is not valid yet", |c| c["nbf"] = json!(9_999_999_999_i64)),
    ("lives_too_long", "mandate refused: it lives longer than 900 seconds", |c| {
        c["exp"] = json!(c["iat"].as_i64().unwrap_or_default() + 901);
    }),
    ("no_id", "mandate refused: `mandate_id` is missing or malformed", |c| c["mandate_id"] = json!(null)),
    ("no_details", "mandate refused: `authorization_details` is missing or malformed", |c| {
        c["authorization_details"] = json!([]);
    }),
    ("merchant", "mandate refused: `merchant` is not the one expected", |c| {
        c["authorization_details"][0]["merchant"] = json!("https://b.example");
    }),
    ("currency", "mandate refused: `currency` is not the one expected", |c| {
        c["authorization_details"][0]["currency"] = json!("USD");
    }),
    ("cap_below", "mandate refused: `amount_minor` is not the one expected", |c| {
        c["authorization_details"][0]["amount_minor"] = json!(1298);
    }),
    ("cap_above", "mandate refused: `amount_minor` is not the one expected", |c| {
        c["authorization_details"][0]["amount_minor"] = json!(1300);
    }),
    ("fractional_cap", "mandate refused: `amount_minor` is missing or malformed", |c| {
        c["authorization_details"][0]["amount_minor"] = json!(1299.5);
    }),
    ("sku", "mandate refused: `line_items` is not the one expected", |c| {
        c["authorization_details"][0]["line_items"][0]["sku"] = json!("something-else");
    }),
    ("qty", "mandate refused: `line_items` is not the one expected", |c| {
        c["authorization_details"][0]["line_items"][0]["qty"] = json!(2);
    }),
    ("offer_digest", "mandate refused: `offer_digest` is not the one expected", |c| {
        c["authorization_details"][0]["offer_digest"] = json!("A".repeat(43));
    }),
    ("short_offer_digest", "mandate refused: `offer_digest` is missing or malformed", |c| {
        c["authorization_details"][0]["offer_digest"] = json!("A");
    }),
    ("status_list_elsewhere", "mandate refused: `statusListCredential` has another origin than it must have", |c| {
        c["credentialStatus"]["statusListCredential"] = json!("http://127.0.0.1:1/list");
    }),
    ("status_index", "mandate refused: `statusListIndex` is missing or malformed", |c| {
        c["credentialStatus"]["statusListIndex"] = json!("-1");
    }),
];
