//! An agent's keys, and what it registers.

use std::sync::Mutex;

use jose::{Alg, PrivateKey, Signer as _};
use serde_json::{Value, json};

use crate::forge::new_key;

pub(crate) const REDIRECT_URI: &str = "https://conformance.example/callback?keep=1";
pub(crate) const LOOPBACK_URI: &str = "http://127.0.0.1/cb";

/// Keys and registration.
pub(crate) struct Identity {
    pub(crate) assertion_key: PrivateKey,
    pub(crate) dpop_key: PrivateKey,
    pub(crate) client_id: String,
    /// The newest DPoP nonce per origin and role.
    pub(crate) nonces: Mutex<Vec<(String, String)>>,
}

impl Identity {
    /// Keys that are not registered anywhere.
    pub(crate) fn unregistered(dpop_alg: Alg) -> Self {
        Self {
            assertion_key: new_key(Alg::EdDsa),
            dpop_key: new_key(dpop_alg),
            client_id: String::new(),
            nonces: Mutex::default(),
        }
    }

    /// The metadata of a registration that asks for everything.
    pub(crate) fn registration(&self, setup_token: &str) -> Value {
        json!({
            "client_name": "Conformance",
            "redirect_uris": [REDIRECT_URI, LOOPBACK_URI],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "private_key_jwt",
            "token_endpoint_auth_signing_alg": "EdDSA",
            "dpop_bound_access_tokens": true,
            "require_pushed_authorization_requests": true,
            "authorization_details_types": ["oid4ac_mandate"],
            "jwks": { "keys": [public_jwk(&self.assertion_key)] },
            "private_key_jwt_jwk": public_jwk(&self.assertion_key),
            "dpop_jwk": public_jwk(&self.dpop_key),
            "software_statement": setup_token,
        })
    }
}

/// A public key as it is registered.
pub(crate) fn public_jwk(key: &PrivateKey) -> Value {
    json!(key.public_key().to_jwk().with_kid(key.public_key().thumbprint().as_str()))
}
