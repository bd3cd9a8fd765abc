//! Token revocation (RFC 7009).

use std::sync::Arc;

use axum::extract::{Request, State as Extract};
use axum::response::{IntoResponse as _, Response};
use http::header::CACHE_CONTROL;
use http::{HeaderMap, StatusCode};

use super::AuthorizationServer;
use super::body::read_form;
use super::secret_hash::secret_hash;
use crate::claims;
use crate::error::{NO_STORE, Refusal};
use crate::form::Form;
use crate::rules::Rule;

/// `POST /oauth/revoke`. A refresh token takes its whole family along, the mandate too; an access token goes alone.
pub(super) async fn revoke(Extract(server): Extract<Arc<AuthorizationServer>>, request: Request) -> Response {
    let answer = match read_form(request).await {
        Ok((headers, form)) => server.revoke(&headers, &form),
        Err(refusal) => Err(refusal),
    };
    // RFC 7009 §2.2: 200 for a token that was revoked, and for one that means nothing here.
    answer.map_or_else(Refusal::into_response, |()| (StatusCode::OK, [(CACHE_CONTROL, NO_STORE)]).into_response())
}

impl AuthorizationServer {
    fn revoke(&self, headers: &HeaderMap, form: &Form) -> Result<(), Refusal> {
        let client = self.authenticate(headers, form, &self.endpoints.revocation)?;
        let token = form.required("token")?;
        let now = self.clock.now();
        // RFC 7009 §2.1: "verifies whether the token was issued to the client making the revocation request"
        let require_owner = |owner: &str| {
            self.rules.require(Rule::RevokeClient, owner == client.client_id, || {
                Refusal::invalid_grant("the token was issued to another client")
            })
        };
        let own = self.own_access_token(token);
        let mut state = self.state();
        if let Some(jti) = own.as_ref().and_then(|claims| claims::text(claims, "jti"))
            && let Some(live) = state.access_tokens.get(now, jti)
        {
            require_owner(&live.client_id)?;
            state.access_tokens.remove(now, jti);
        } else if let Some(&family_id) = state.refresh_tokens.get(now, &secret_hash(token))
            && let Some(family) = state.families.get(now, &family_id)
        {
            require_owner(&family.grant.client_id)?;
            self.revoke_family(&mut state, family_id, "revoked_by_client");
        }
        Ok(())
    }
}
