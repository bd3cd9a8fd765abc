//! A peer's key that the liar made: published as the peer's own, it signs whatever is to be believed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::Response;
use jose::{Alg, PrivateKey, Signer as _};
use serde_json::{Value, json};

use crate::forge::{self, new_key, take_apart};
use crate::lie::{self, Lie};

#[derive(Clone)]
pub(crate) struct Forger {
    key: Arc<PrivateKey>,
    kid: String,
}

impl Forger {
    pub(crate) fn new(alg: Alg) -> Self {
        let key = Arc::new(new_key(alg));
        let kid = key.public_key().thumbprint().as_str().to_owned();
        Self { key, kid }
    }

    pub(crate) fn kid(&self) -> &str {
        &self.kid
    }

    pub(crate) fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// The set with this key alone.
    pub(crate) fn jwks(&self) -> Response<Bytes> {
        let jwk = self.key.public_key().to_jwk().with_kid(&self.kid);
        lie::answer(200, "application/json", json!({ "keys": [jwk] }).to_string())
    }

    /// Signs claims under this `typ`.
    pub(crate) fn sign(&self, typ: &str, claims: &Value) -> String {
        let header = json!({ "alg": self.key.public_key().alg().name(), "typ": typ, "kid": self.kid });
        forge::sign(&header, claims, &self.key)
    }

    /// Changes what a JWS says and signs it again. Disclosures after it stay.
    pub(crate) fn resign(&self, token: &str, typ: &str, edit: impl FnOnce(&mut Value)) -> String {
        let (jwt, disclosures) = token.split_at(token.find('~').unwrap_or(token.len()));
        let Ok((_, mut claims)) = take_apart(jwt) else { return token.to_owned() };
        edit(&mut claims);
        format!("{}{disclosures}", self.sign(typ, &claims))
    }
}

/// An authorization server with the liar's key issues what the sandbox's does, changed so: the access token by the first,
/// the mandate by the second. Its status list cannot be had.
pub(crate) fn issues(at_edit: Edit, mandate_edit: Edit) -> Lie {
    issues_as(("at+jwt", at_edit), ("vc+sd-jwt", mandate_edit))
}

/// The same, under these types.
pub(crate) fn issues_as(access_token: (&'static str, Edit), mandate: (&'static str, Edit)) -> Lie {
    let forger = Forger::new(Alg::EdDsa);
    Arc::new(move |request, answer| match request.path.as_str() {
        "/oauth/jwks.json" => forger.jwks(),
        "/oauth/token" if answer.status().is_success() => lie::edit_json(answer, &|reply: &mut Value| {
            for (name, (typ, edit)) in [("access_token", access_token), ("mandate_jwt", mandate)] {
                if let Some(token) = reply[name].as_str() {
                    reply[name] = forger.resign(token, typ, edit).into();
                }
            }
        }),
        path if path.starts_with("/oauth/status-list/") => lie::answer(503, "text/plain", ""),
        _ => answer,
    })
}

pub(crate) type Edit = fn(&mut Value);

/// Leaves claims as they are.
pub(crate) fn as_they_are(_: &mut Value) {}

/// A merchant gives the receipts that the sandbox's does, changed so; from then on the liar's key is its own.
pub(crate) fn gives_receipts(typ: &'static str, edit: Edit) -> Lie {
    let forger = Forger::new(Alg::EdDsa);
    let given = AtomicBool::new(false);
    Arc::new(move |request, answer| match request.path.as_str() {
        "/.well-known/jwks.json" if given.load(Ordering::SeqCst) => forger.jwks(),
        "/verify-mandate" if answer.status().is_success() => {
            given.store(true, Ordering::SeqCst);
            lie::edit_json(answer, &|reply: &mut Value| {
                if let Some(receipt) = reply["receipt_jws"].as_str() {
                    reply["receipt_jws"] = forger.resign(receipt, typ, edit).into();
                }
            })
        }
        _ => answer,
    })
}
