//! DPoP proofs.

use dpop::{Htu, Nonce, ProofCheck};
use jose::{Thumbprint, UnixSeconds};
use serde::Deserialize;
use serde_json::json;

use super::judged::Judged;
use super::rule::Rule as _;

#[derive(Deserialize)]
pub(super) struct Case {
    proof: String,
    method: String,
    url: String,
    now: UnixSeconds,
    window: u32,
    jkt: Option<String>,
    access_token: Option<String>,
    nonce: Option<String>,
}

pub(super) fn judge(case: &Case) -> Judged {
    let htu = Htu::parse(&case.url).map_err(|error| error.rule())?;
    let nonce = case.nonce.as_deref().map(Nonce::parse).transpose().map_err(|error| error.rule())?;
    let jkt = case.jkt.as_deref().map(|jkt| Thumbprint::parse(jkt).ok_or("InvalidThumbprint")).transpose()?;
    let mut check = ProofCheck::new(&case.method, &htu, case.now).window(case.window);
    if let Some(jkt) = &jkt {
        check = check.jkt(jkt);
    }
    if let Some(access_token) = &case.access_token {
        check = check.access_token(access_token);
    }
    if let Some(nonce) = &nonce {
        check = check.nonce(nonce);
    }
    let verified = check.verify(&case.proof).map_err(|error| error.rule())?;
    Ok(json!({ "jti": verified.jti(), "jkt": verified.jkt() }))
}
