//! The token endpoint (RFC 6749 §4.1.3), the access token (RFC 9068) and revocation (RFC 7009).

use http::StatusCode;
use jose::UnverifiedJws;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::authorization::Grant;
use crate::client::Agent;
use crate::mandate::elements;
use crate::metadata::Metadata;
use crate::secret::{AccessToken, RefreshToken};
use crate::send::Answer;
use crate::{Artefact, Client, Error, Misbehaviour, Stage, Verdict, Why, profile};

/// What a code was exchanged for, nothing of it checked yet but its form.
pub(crate) struct Tokens {
    pub(crate) access_token: AccessToken,
    pub(crate) expires_at: i64,
    pub(crate) refresh_token: Option<RefreshToken>,
    /// The mandate as it came; no payment without one.
    pub(crate) mandate: Option<String>,
    /// The amount granted, where the server says.
    pub(crate) granted_minor: Option<u64>,
    /// What the server says it granted a mandate for.
    pub(crate) granted: Vec<Map<String, Value>>,
    /// The scope granted, where the server says.
    pub(crate) scope: Option<String>,
}

impl Tokens {
    /// The token whose revocation ends most, and its `token_type_hint` (RFC 7009 §2.1).
    pub(crate) fn revocable(&self) -> (&str, &'static str) {
        match &self.refresh_token {
            Some(token) => (token.expose(), "refresh_token"),
            None => (self.access_token.expose(), "access_token"),
        }
    }
}

impl Client {
    /// Redeems a code, which was asked for with this scope and resource. If no answer comes, the code counts as lost.
    pub(crate) async fn redeem(
        &self,
        agent: &Agent,
        metadata: &Metadata,
        scope: &str,
        resource: &str,
        grant: &Grant,
    ) -> Result<Tokens, Error> {
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", grant.code.expose()),
            ("code_verifier", grant.verifier.expose()),
            ("redirect_uri", &grant.redirect_uri),
            ("resource", resource),
        ];
        let answer = self.send_form(Stage::Token, &metadata.token_endpoint, agent, metadata, &fields).await?;
        if answer.status() != StatusCode::OK {
            return Err(answer.server_error().into());
        }
        self.read_tokens(agent, metadata, &answer, scope).await
    }

    /// Reads a token answer, and gives back what cannot be used: a token that is not bound to our key, or lacks the
    /// payment permission that was `asked` for.
    pub(crate) async fn read_tokens(
        &self,
        agent: &Agent,
        metadata: &Metadata,
        answer: &Answer,
        asked: &str,
    ) -> Result<Tokens, Error> {
        let reply: Reply = answer.json(Artefact::TokenResponse)?;
        let granted = reply.authorization_details.as_ref().map(elements).unwrap_or_default();
        let granted_minor = granted.first().and_then(|details| details.get("amount_minor")?.as_u64());
        let tokens = Tokens {
            access_token: AccessToken::new(reply.access_token),
            expires_at: self.now() + reply.expires_in.unwrap_or(0).clamp(0, MAX_TOKEN_SECONDS),
            refresh_token: reply.refresh_token.map(RefreshToken::new),
            mandate: reply.mandate_jwt,
            granted_minor,
            granted,
            scope: reply.scope.clone(),
        };
        // RFC 9449 §5: a Bearer token would not be bound to our key.
        if !reply.token_type.eq_ignore_ascii_case("DPoP") {
            return self.give_back(agent, metadata, &tokens, Why::Mismatch("token_type")).await;
        }
        if let Some(missing) = reply.scope.as_deref().and_then(|granted| missing_payment_scope(asked, granted)) {
            return self.give_back(agent, metadata, &tokens, Why::Scope(missing.to_owned())).await;
        }
        Ok(tokens)
    }

    async fn give_back<T>(&self, agent: &Agent, metadata: &Metadata, tokens: &Tokens, why: Why) -> Result<T, Error> {
        self.revoke(agent, metadata, tokens).await;
        Err(Misbehaviour::new(Artefact::TokenResponse, why).into())
    }

    /// Checks a JWT access token of an OID4AC server: header, signature, `iss`, `aud`, `cnf.jkt`, and no other claim, for
    /// RFC 9068 §6 keeps clients from reading it; its claims are handed on for evidence alone. An opaque token, or any other server's, is used unread.
    pub(crate) async fn check_access_token(
        &self,
        agent: &Agent,
        metadata: &Metadata,
        token: &AccessToken,
        audience: &str,
    ) -> Result<(Verdict, Option<Map<String, Value>>), Error> {
        if !metadata.issues_mandates || token.expose().split('.').count() != 3 {
            return Ok((Verdict::Absent, None));
        }
        let refused = |why: Why| Misbehaviour::new(Artefact::AccessToken, why);
        let unverified = UnverifiedJws::parse(token.expose()).map_err(|why| refused(why.into()))?;
        // Before a key is looked up: an algorithm outside the list is refused as such.
        if !profile::AS_TOKENS.contains(&unverified.unverified_alg()) {
            return Err(
                refused(jose::JwsError::AlgNotAllowed(unverified.unverified_alg().name().to_owned()).into()).into()
            );
        }
        let jwk = self.as_key(&metadata.jwks_uri, unverified.unverified_kid(), Artefact::AccessToken).await?;
        let verified = unverified
            .verify(jwk.key(), profile::AS_TOKENS, profile::ACCESS_TOKEN_TYP)
            .map_err(|why| refused(why.into()))?;
        let claims = verified.claims().map_err(|why| refused(why.into()))?;
        let text = |name: &'static str| claims.get(name).and_then(Value::as_str);
        if text("iss") != Some(self.issuer()) {
            return Err(refused(Why::Mismatch("iss")).into());
        }
        if text("aud") != Some(audience) {
            return Err(refused(Why::Mismatch("aud")).into());
        }
        let jkt = claims.get("cnf").and_then(|cnf| cnf.get("jkt")).and_then(Value::as_str);
        if jkt != Some(agent.minter.jkt().as_str()) {
            return Err(refused(Why::Mismatch("cnf.jkt")).into());
        }
        Ok((Verdict::by(jwk.kid(), jwk.key()), Some(claims)))
    }

    /// Revokes what a code brought, so that nothing usable is left behind; whether the server confirmed it. Best effort: most
    /// call it when something is wrong already, and that is what their callers hear of.
    pub(crate) async fn revoke(&self, agent: &Agent, metadata: &Metadata, tokens: &Tokens) -> bool {
        let (token, hint) = tokens.revocable();
        self.revoke_token(agent, metadata, token, hint).await
    }

    /// Revokes one token; whether the server confirmed it.
    pub(crate) async fn revoke_token(&self, agent: &Agent, metadata: &Metadata, token: &str, hint: &str) -> bool {
        let Some(endpoint) = &metadata.revocation_endpoint else { return false };
        let fields = [("token", token), ("token_type_hint", hint)];
        match self.send_form(Stage::Revoke, endpoint, agent, metadata, &fields).await {
            Ok(answer) if answer.status() == StatusCode::OK => return true,
            Ok(answer) => tracing::warn!(status = answer.status().as_u16(), "revocation was refused"),
            Err(error) => tracing::warn!(%error, "revocation failed"),
        }
        false
    }
}

/// RFC 6749 §5.1, RFC 9396 §7.
#[derive(Deserialize)]
struct Reply {
    access_token: String,
    token_type: String,
    expires_in: Option<i64>,
    refresh_token: Option<String>,
    scope: Option<String>,
    mandate_jwt: Option<String>,
    authorization_details: Option<Value>,
}

/// The payment permission, if it was asked for under either of its names and granted under neither.
fn missing_payment_scope<'a>(asked: &'a str, granted: &str) -> Option<&'a str> {
    let is_payment = |scope: &&str| PAYMENT_SCOPES.contains(scope);
    let wanted = asked.split(' ').find(is_payment)?;
    granted.split(' ').find(is_payment).is_none().then_some(wanted)
}

/// Two names of one permission.
const PAYMENT_SCOPES: [&str; 2] = ["payment:initiate", "oid4ac:payment"];
const MAX_TOKEN_SECONDS: i64 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payment_scope_has_two_names() {
        assert_eq!(missing_payment_scope("openid payment:initiate", "openid oid4ac:payment"), None);
        assert_eq!(missing_payment_scope("openid payment:initiate", "openid"), Some("payment:initiate"));
        assert_eq!(missing_payment_scope("openid", ""), None);
    }
}
