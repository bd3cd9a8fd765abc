//! Keys.

use jose::json::parse_object;
use jose::{InvalidJwk, Jwk, PrivateKey, PublicKey, Signer as _};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::judged::{Judged, JwkText};
use super::rule::Rule as _;

#[derive(Deserialize)]
pub(super) struct Case<'a> {
    #[serde(borrow)]
    jwk: &'a JwkText,
}

/// A thumbprint is that of the members that make the key (RFC 7638 §3.2). What the key may be used for has no part in it,
/// so `use` and `key_ops` of the right form are put aside.
pub(super) fn judge(case: &Case<'_>) -> Judged {
    let key = parse_object(case.jwk.get().as_bytes()).map_err(InvalidJwk::from).and_then(|mut members| {
        if members.get("use").is_some_and(Value::is_string) {
            members.remove("use");
        }
        if members.get("key_ops").and_then(Value::as_array).is_some_and(|ops| ops.iter().all(Value::is_string)) {
            members.remove("key_ops");
        }
        from_members(members)
    });
    match key {
        Ok(key) => Ok(json!({ "thumbprint": key.thumbprint() })),
        Err(error) => Err(error.rule()),
    }
}

/// The key to verify with. Sets of test vectors often have the private key in the place of the public one.
pub(super) fn verification_key(text: &JwkText) -> Result<PublicKey, InvalidJwk> {
    from_members(parse_object(text.get().as_bytes())?)
}

fn from_members(members: Map<String, Value>) -> Result<PublicKey, InvalidJwk> {
    match members.contains_key("d") {
        false => Ok(Jwk::from_members(members)?.key().clone()),
        true => {
            let text = Value::Object(members).to_string();
            Ok(PrivateKey::from_jwk(text.as_bytes())?.public_key().clone())
        }
    }
}
