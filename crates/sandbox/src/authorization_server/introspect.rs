//! Token introspection (RFC 7662): a client asks about its own tokens.

use std::sync::Arc;

use axum::extract::{Request, State as Extract};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode};
use jose::{Alg, UnverifiedJws};
use serde_json::{Map, Value, json};

use super::AuthorizationServer;
use super::body::read_form;
use super::client::Client;
use super::secret_hash::secret_hash;
use crate::claims;
use crate::error::{Refusal, json as json_response};
use crate::form::Form;
use crate::rules::Rule;

/// `POST /oauth/introspect`.
pub(super) async fn introspect(Extract(server): Extract<Arc<AuthorizationServer>>, request: Request) -> Response {
    let answer = match read_form(request).await {
        Ok((headers, form)) => server.introspect(&headers, &form),
        Err(refusal) => Err(refusal),
    };
    answer.unwrap_or_else(Refusal::into_response)
}

impl AuthorizationServer {
    fn introspect(&self, headers: &HeaderMap, form: &Form) -> Result<Response, Refusal> {
        let client = self.authenticate(headers, form, &self.endpoints.introspection)?;
        let token = form.required("token")?;
        let claims = self.describe_access_token(token, &client).or_else(|| self.describe_refresh_token(token, &client));
        // RFC 7662 §2.2: "the authorization server SHOULD NOT include any additional information about an inactive token"
        let mut members = claims.unwrap_or_default();
        members.insert("active".to_owned(), Value::Bool(!members.is_empty()));
        Ok(json_response(StatusCode::OK, &members))
    }

    fn describe_access_token(&self, token: &str, client: &Client) -> Option<Map<String, Value>> {
        let mut claims = self.own_access_token(token)?;
        let state = self.state();
        let live = state.access_tokens.get(self.clock.now(), claims::text(&claims, "jti")?)?;
        if live.client_id != client.client_id && self.rules.enforced(Rule::IntrospectClient) {
            return None;
        }
        claims.insert("token_type".to_owned(), "DPoP".into());
        Some(claims)
    }

    fn describe_refresh_token(&self, token: &str, client: &Client) -> Option<Map<String, Value>> {
        let now = self.clock.now();
        let hash = secret_hash(token);
        let state = self.state();
        let family = state.families.get(now, state.refresh_tokens.get(now, &hash)?)?;
        let (current, expires_at) = family.refresh?;
        let is_owner = family.grant.client_id == client.client_id || !self.rules.enforced(Rule::IntrospectClient);
        if family.revoked || current != hash || now >= expires_at || !is_owner {
            return None;
        }
        let claims = json!({
            "iss": self.issuer(),
            "sub": family.grant.subject(),
            "client_id": family.grant.client_id,
            "scope": family.grant.scope.to_string(),
            "exp": expires_at,
            "cnf": { "jkt": family.grant.dpop_jkt },
        });
        match claims {
            Value::Object(claims) => Some(claims),
            _ => None,
        }
    }

    /// The claims of an access token that this server signed, even if it was revoked since.
    pub(super) fn own_access_token(&self, token: &str) -> Option<Map<String, Value>> {
        let unverified = UnverifiedJws::parse(token).ok()?;
        let key = self.keys.find(unverified.unverified_kid()?)?;
        unverified.verify(&key, &[Alg::EdDsa], &["at+jwt"]).ok()?.claims().ok()
    }
}
