//! Client authentication with `private_key_jwt` (RFC 7523 §3, OpenID Connect Core §9).

use jose::{Signer as _, TokenHeader, random_token};
use serde::Serialize;

use crate::agent::Agent;
use crate::client::AssertionAudience;
use crate::metadata::document::{AlgNames, Metadata};
use crate::{Client, Error};

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    iat: i64,
    exp: i64,
    jti: String,
}

impl Client {
    /// The form fields that authenticate the client. Made again for every request: a server spends the `jti` even when it
    /// then asks for a DPoP nonce.
    pub(crate) fn authentication(
        &self,
        agent: &Agent,
        metadata: &Metadata,
    ) -> Result<[(&'static str, String); 3], Error> {
        let key = agent.keys.private_key_jwt();
        let now = self.now();
        let claims = Claims {
            iss: &agent.client_id,
            sub: &agent.client_id,
            aud: match self.inner.compatibility.assertion_audience {
                AssertionAudience::TokenEndpoint => metadata.token_endpoint.as_str(),
                AssertionAudience::Issuer => self.issuer(),
            },
            iat: now,
            exp: now + LIFE_SECONDS,
            jti: random_token::<16>(self.inner.rng.as_ref()),
        };
        let mut header = TokenHeader::new("JWT").kid(key.public_key().thumbprint().as_str());
        if metadata.assertion_names == AlgNames::FullySpecified {
            header = header.fully_specified();
        }
        let payload = serde_json::to_vec(&claims).unwrap_or_default();
        let assertion = jose::sign_compact(key.as_ref(), &header, &payload)?;
        Ok([
            ("client_id", agent.client_id.clone()),
            ("client_assertion_type", ASSERTION_TYPE.to_owned()),
            ("client_assertion", assertion),
        ])
    }
}

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Well under the 300 s that a server has to remember a `jti` for.
const LIFE_SECONDS: i64 = 60;
