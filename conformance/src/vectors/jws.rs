//! Compact JWS.

use jose::{Alg, Typ, UnverifiedJws, base64url};
use serde::Deserialize;

use super::judged::{Judged, JwkText};
use super::jwk::verification_key;
use super::rule::Rule as _;

#[derive(Deserialize)]
pub(super) struct Case<'a> {
    jws: String,
    #[serde(borrow)]
    jwk: &'a JwkText,
}

pub(super) fn judge(case: &Case<'_>) -> Judged {
    let key = verification_key(case.jwk).map_err(|error| error.rule())?;
    let verified = UnverifiedJws::parse(&case.jws)
        .and_then(|jws| jws.verify(&key, &[Alg::EdDsa, Alg::Es256], Typ::Unchecked))
        .map_err(|error| error.rule())?;
    Ok(base64url::encode(verified.payload()).into())
}
