//! The token endpoint (RFC 6749 §4.1.3), the access token (RFC 9068) and revocation (RFC 7009).

use http::StatusCode;
use jose::UnverifiedJws;
use serde::Deserialize;
use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::agent::Agent;
use crate::authorization::status::Grant;
use crate::lenient;
use crate::metadata::MANDATE_TYPE;
use crate::metadata::document::Metadata;
use crate::secret::{ACCESS_TOKEN, AccessToken, REFRESH_TOKEN, RefreshToken, SecretText};
use crate::send::Answer;
use crate::{Artefact, Client, Error, GrantToken, Misbehaviour, Stage, Verdict, Why, profile};

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

impl GrantToken {
    /// The token whose revocation ends most (RFC 7009 §2.1).
    pub(crate) fn of(tokens: &Tokens, mandate_expires_at: i64) -> Self {
        let (token, hint) = match &tokens.refresh_token {
            Some(token) => (token.expose(), REFRESH_TOKEN),
            None => (tokens.access_token.expose(), ACCESS_TOKEN),
        };
        Self { token: SecretText::new(token.to_owned()), hint, mandate_expires_at }
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
        match answer.status() {
            StatusCode::OK => self.read_tokens(agent, metadata, &answer, scope).await,
            _ => Err(self.refuse_tokens(agent, metadata, &answer, answer.server_error()).await),
        }
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
        let reply: Reply = match answer.json(Artefact::TokenResponse) {
            Ok(reply) => reply,
            Err(error) => return Err(self.refuse_tokens(agent, metadata, answer, error).await),
        };
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

    /// Revokes every token that can be found in an answer which cannot be used as a whole, and hands the reason on.
    pub(crate) async fn refuse_tokens(
        &self,
        agent: &Agent,
        metadata: &Metadata,
        answer: &Answer,
        why: impl Into<Error>,
    ) -> Error {
        let found = Found::read(answer.json_text());
        let tokens = found.refresh_tokens.iter().map(|token| (token.expose(), REFRESH_TOKEN));
        let tokens = tokens.chain(found.access_tokens.iter().map(|token| (token.expose(), ACCESS_TOKEN)));
        self.revoke_each(agent, metadata, tokens.collect()).await;
        why.into()
    }

    async fn give_back<T>(&self, agent: &Agent, metadata: &Metadata, tokens: &Tokens, why: Why) -> Result<T, Error> {
        self.revoke(agent, metadata, &tokens.access_token, tokens.refresh_token.as_ref()).await;
        Err(Misbehaviour::new(Artefact::TokenResponse, why).into())
    }

    /// Checks a JWT access token of an OID4AC server: header, signature, `iss`, `aud`, `cnf.jkt`, and no other claim, for
    /// RFC 9068 §6 keeps clients from reading it; its claims are handed on for evidence alone. An opaque token, or any other
    /// server's, is used unread.
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
    pub(crate) async fn revoke(
        &self,
        agent: &Agent,
        metadata: &Metadata,
        access_token: &AccessToken,
        refresh_token: Option<&RefreshToken>,
    ) -> bool {
        let refresh_token = refresh_token.map(|token| (token.expose(), REFRESH_TOKEN));
        let access_token = (access_token.expose(), ACCESS_TOKEN);
        self.revoke_each(agent, metadata, refresh_token.into_iter().chain([access_token]).collect()).await
    }

    /// Revokes one token; whether the server confirmed it.
    pub(crate) async fn revoke_token(&self, agent: &Agent, metadata: &Metadata, token: &str, hint: &str) -> bool {
        self.revoke_each(agent, metadata, vec![(token, hint)]).await
    }

    /// Revokes one token after the other, with its hint. The first, with which a server ends the whole grant (RFC 7009 §2.1),
    /// tells whether it was confirmed; the others are for a server that does not.
    async fn revoke_each(&self, agent: &Agent, metadata: &Metadata, tokens: Vec<(&str, &str)>) -> bool {
        let Some(endpoint) = &metadata.revocation_endpoint else { return false };
        let mut confirmed = None;
        for (token, hint) in tokens {
            let fields = [("token", token), ("token_type_hint", hint)];
            match self.send_form(Stage::Revoke, endpoint, agent, metadata, &fields).await {
                Ok(answer) => {
                    let status = answer.status();
                    if status != StatusCode::OK {
                        tracing::warn!(status = status.as_u16(), hint, "revocation was refused");
                    }
                    confirmed.get_or_insert(status == StatusCode::OK);
                }
                // Nor would the next one get there, in as long a time again.
                Err(error) => {
                    tracing::warn!(%error, "revocation failed");
                    break;
                }
            }
        }
        confirmed.unwrap_or(false)
    }
}

/// The tokens in an answer that cannot be read as a whole: it may be cut off, or have a member twice.
#[derive(Default)]
struct Found {
    refresh_tokens: Vec<RefreshToken>,
    access_tokens: Vec<AccessToken>,
}

impl Found {
    fn read(body: &[u8]) -> Self {
        let mut found = Self::default();
        // What was found before it went wrong is what there is to find.
        let _ends_well = serde_json::Deserializer::from_slice(body).deserialize_map(Finder(&mut found)).is_ok();
        found.refresh_tokens.truncate(MAX_FOUND);
        found.access_tokens.truncate(MAX_FOUND);
        found
    }
}

struct Finder<'f>(&'f mut Found);

impl<'de> Visitor<'de> for Finder<'_> {
    type Value = ();

    fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("a token answer")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            let value = map.next_value::<Value>()?;
            match (name.as_str(), value) {
                (REFRESH_TOKEN, Value::String(token)) => self.0.refresh_tokens.push(RefreshToken::new(token)),
                (ACCESS_TOKEN, Value::String(token)) => self.0.access_tokens.push(AccessToken::new(token)),
                _ => {}
            }
        }
        Ok(())
    }
}

/// RFC 6749 §5.1, RFC 9396 §7.
#[derive(Deserialize)]
struct Reply {
    access_token: String,
    token_type: String,
    #[serde(default, deserialize_with = "lenient::seconds")]
    expires_in: Option<i64>,
    refresh_token: Option<String>,
    scope: Option<String>,
    mandate_jwt: Option<String>,
    authorization_details: Option<Value>,
}

/// The elements of an `authorization_details` array that are about mandates.
pub(crate) fn elements(details: &Value) -> Vec<Map<String, Value>> {
    let list = details.as_array().map(Vec::as_slice).unwrap_or_default();
    let is_mandate = |element: &&Map<String, Value>| element.get("type").is_none_or(|typ| typ == MANDATE_TYPE);
    list.iter().filter_map(Value::as_object).filter(is_mandate).cloned().collect()
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
const MAX_FOUND: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_found_in_an_answer_that_is_cut_off_or_has_them_twice() {
        let found = |body: &str| {
            let found = Found::read(body.as_bytes());
            let refresh = found.refresh_tokens.iter().map(|token| token.expose().to_owned());
            let access = found.access_tokens.iter().map(|token| token.expose().to_owned());
            (refresh.collect::<Vec<_>>().join(" "), access.collect::<Vec<_>>().join(" "))
        };
        let both = ("r".to_owned(), "a".to_owned());
        assert_eq!(found(r#"{"access_token":"a","refresh_token":"r"}"#), both);
        assert_eq!(found(r#"{"access_token":"a","x":[{}],"refresh_token":"r","mandate_jwt":"ey"#), both);
        assert_eq!(found(r#"{"access_token":"a","refresh_token":"r"}<html>"#), both);
        assert_eq!(
            found(r#"{"access_token":"a","access_token":"b","access_token":"c"}"#),
            (String::new(), "a b".into())
        );
        for none in ["", "[]", "<html>", r#"{"access_token":{"access_token":"a"},"refresh_token":5}"#] {
            assert_eq!(found(none), (String::new(), String::new()), "{none}");
        }
    }

    #[test]
    fn the_payment_scope_has_two_names() {
        assert_eq!(missing_payment_scope("openid payment:initiate", "openid oid4ac:payment"), None);
        assert_eq!(missing_payment_scope("openid payment:initiate", "openid"), Some("payment:initiate"));
        assert_eq!(missing_payment_scope("openid", ""), None);
    }
}
