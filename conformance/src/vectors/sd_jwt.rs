//! SD-JWTs, with or without key binding.

use jose::{Alg, Typ, UnixSeconds};
use sd_jwt::{Expected, KeyBindingPolicy, Policy, UnverifiedSdJwt, Validity};
use serde::Deserialize;
use serde_json::Value;

use super::judged::{Judged, JwkText};
use super::jwk::verification_key;
use super::rule::Rule as _;

#[derive(Deserialize)]
pub(super) struct Case<'a> {
    token: String,
    #[serde(borrow)]
    issuer_jwk: &'a JwkText,
    now: UnixSeconds,
    typ: Option<Vec<String>>,
    vc: Option<bool>,
    kb: Option<KeyBinding>,
}

#[derive(Deserialize)]
struct KeyBinding {
    aud: Option<String>,
    nonce: Option<String>,
    max_age: Option<u32>,
}

pub(super) fn judge(case: &Case<'_>) -> Judged {
    let key = verification_key(case.issuer_jwk).map_err(|error| error.rule())?;
    let types: Option<Vec<&str>> = case.typ.as_ref().map(|types| types.iter().map(String::as_str).collect());
    let typ = types.as_deref().map_or(Typ::Unchecked, Typ::OneOf);
    let mut policy = Policy::new(&ALGS, typ, Validity::at(case.now));
    if case.vc == Some(true) {
        policy = policy.sd_jwt_vc();
    }

    let unverified = UnverifiedSdJwt::parse(&case.token).map_err(|error| error.rule())?;
    let Some(kb) = &case.kb else {
        let verified = unverified.verify(&key, &policy).map_err(|error| error.rule())?;
        return Ok(Value::Object(verified.into_claims()));
    };
    let mut binding = KeyBindingPolicy::new(&ALGS, expected(&kb.aud), expected(&kb.nonce), case.now);
    if let Some(seconds) = kb.max_age {
        binding = binding.max_age_seconds(seconds);
    }
    let unbound = unverified.verify_presentation(&key, &policy).map_err(|error| error.rule())?;
    let verified = unbound.verify_key_binding(&binding).map_err(|error| error.rule())?;
    Ok(Value::Object(verified.into_parts().0.into_claims()))
}

fn expected(value: &Option<String>) -> Expected<'_> {
    value.as_deref().map_or(Expected::Anything, Expected::Exactly)
}

const ALGS: [Alg; 2] = [Alg::EdDsa, Alg::Es256];
