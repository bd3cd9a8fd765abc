//! The token endpoint: codes, refresh tokens, access tokens (RFC 6749, 7636, 8707, 9068, 9396, 9449).

use std::sync::Arc;

use axum::extract::{Request, State as Extract};
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use jose::{TokenHeader, UnixSeconds, random_token, sign_compact};
use serde::Serialize;
use serde_json::json;

use super::AuthorizationServer;
use super::authorization_details::MandateRequest;
use super::body::read_form;
use super::client::Client;
use super::client_auth::fits_challenge;
use super::grant::{Family, FamilyId, Grant, Subject};
use super::mandate::NewMandate;
use super::secret_hash::secret_hash;
use super::state::{Cascade, LiveAccessToken, LiveMandate, RevokedFamily, State};
use crate::audit::Actor;
use crate::clock::random_hex;
use crate::error::{Refusal, json as json_response};
use crate::form::Form;
use crate::rules::Rule;
use crate::scope::Scope;

/// `POST /oauth/token`.
pub(super) async fn token(Extract(server): Extract<Arc<AuthorizationServer>>, request: Request) -> Response {
    let answer = match read_form(request).await {
        Ok((headers, form)) => server.grant_tokens(&headers, &form),
        Err(refusal) => Err(refusal),
    };
    server.with_nonce(answer)
}

/// A successful reply (RFC 6749 §5.1, RFC 9396 §7).
#[derive(Serialize)]
struct Reply<'a> {
    access_token: String,
    token_type: &'static str,
    expires_in: UnixSeconds,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mandate_jwt: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization_details: Option<[&'a MandateRequest; 1]>,
}

impl AuthorizationServer {
    fn grant_tokens(&self, headers: &HeaderMap, form: &Form) -> Result<Response, Refusal> {
        // Client, proof and nonce come before anything is spent: after `use_dpop_nonce` the code is as good as before.
        let client = self.authenticate(headers, form, &self.endpoints.token)?;
        self.check_proof(headers, &self.token_htu, &client)?;
        match form.required("grant_type")? {
            "authorization_code" => self.redeem_code(form, &client),
            "refresh_token" => self.refresh(form, &client),
            _ => Err(Refusal::bad_request("unsupported_grant_type", "grant_type is not one of this server's")),
        }
    }

    fn redeem_code(&self, form: &Form, client: &Client) -> Result<Response, Refusal> {
        let hash = secret_hash(form.required("code")?);
        let now = self.clock.now();
        let mut state = self.state();
        let code = state.codes.get(now, &hash).cloned();
        let code = code.ok_or_else(|| Refusal::invalid_grant("the code is unknown"))?;
        let require = |rule, holds, why: &'static str| self.rules.require(rule, holds, || Refusal::invalid_grant(why));
        require(Rule::CodeClient, code.grant.client_id == client.client_id, "the code was issued to another client")?;
        if let Some(family) = code.redeemed_as
            && self.rules.enforced(Rule::CodeOnce)
        {
            // RFC 6749 §4.1.2: "SHOULD revoke (when possible) all tokens previously issued based on that [...] code".
            if self.rules.enforced(Rule::CodeCascade) {
                self.revoke_family(&mut state, family, "code_reuse");
            }
            return Err(Refusal::invalid_grant("the code was used before"));
        }
        require(Rule::CodeExpiry, now < code.expires_at, "the code has expired")?;
        let same_uri = form.get("redirect_uri") == Some(&code.redirect_uri);
        require(Rule::TokenRedirectUri, same_uri, "redirect_uri is not that of the pushed request")?;
        let verifier = form.get("code_verifier").unwrap_or_default();
        let verified = fits_challenge(verifier, &code.code_challenge);
        require(Rule::TokenCodeVerifier, verified, "code_verifier does not fit the challenge")?;
        self.require_resource(form.get("resource") == Some(&code.grant.resource))?;

        let grant = match (self.mandate_cap_minor, &code.grant.mandate) {
            (Some(cap_minor), Some(request)) => {
                let mut request = request.clone();
                request.amount_minor = cap_minor;
                Arc::new(Grant { mandate: Some(request), ..code.grant.as_ref().clone() })
            }
            _ => Arc::clone(&code.grant),
        };
        let family_id = state.new_family_id();
        let mandate = match &grant.mandate {
            Some(request) => Some(self.issue_mandate(&mut state, &grant, request)?),
            None => None,
        };
        let (mandate_id, mandate_jwt) = mandate.unzip();
        let family = Family {
            grant: Arc::clone(&grant),
            revoked: false,
            refresh: None,
            access_tokens: Vec::new(),
            mandate_id,
            ends_at: now + Family::LIFETIME_SECONDS,
        };
        state.families.insert(now, family_id, family.ends_at, family).map_err(|_| full())?;
        if let Some(code) = state.codes.get_mut(now, &hash) {
            code.redeemed_as = Some(family_id);
        }
        self.reply(&mut state, family_id, client, &grant.scope, mandate_jwt)
    }

    fn refresh(&self, form: &Form, client: &Client) -> Result<Response, Refusal> {
        let hash = secret_hash(form.required("refresh_token")?);
        let now = self.clock.now();
        let mut state = self.state();
        let unknown = || Refusal::invalid_grant("the refresh token is unknown, expired or revoked");
        let family_id = *state.refresh_tokens.get(now, &hash).ok_or_else(unknown)?;
        let family = state.families.get(now, &family_id).ok_or_else(unknown)?;
        let require = |rule, holds, why: &'static str| self.rules.require(rule, holds, || Refusal::invalid_grant(why));
        let is_owner = family.grant.client_id == client.client_id;
        require(Rule::RefreshClient, is_owner, "the refresh token was issued to another client")?;
        if family.revoked {
            return Err(unknown());
        }
        let Some((current, expires_at)) = family.refresh else { return Err(unknown()) };
        if current != hash && self.rules.enforced(Rule::RefreshRotation) {
            // RFC 9700 §4.14.2: one of the two holders of this family's tokens stole them, and there is no telling which.
            if self.rules.enforced(Rule::RefreshCascade) {
                self.revoke_family(&mut state, family_id, "refresh_token_reuse");
            }
            return Err(Refusal::invalid_grant("the refresh token was rotated away"));
        }
        require(Rule::RefreshExpiry, now < expires_at, "the refresh token has expired")?;
        let grant = Arc::clone(&family.grant);
        self.require_resource(form.get("resource").is_none_or(|resource| resource == grant.resource))?;
        let scope = match form.get("scope") {
            None => grant.scope.clone(),
            Some(text) => {
                let narrower = Scope::parse(text)
                    .filter(|scope| grant.scope.covers(scope) || !self.rules.enforced(Rule::RefreshScope));
                narrower.ok_or_else(|| Refusal::bad_request("invalid_scope", "scope is more than was granted"))?
            }
        };
        self.reply(&mut state, family_id, client, &scope, None)
    }

    /// Issues an access token and, where the client may refresh, the family's next refresh token.
    fn reply(
        &self,
        state: &mut State,
        family_id: FamilyId,
        client: &Client,
        scope: &Scope,
        mandate_jwt: Option<String>,
    ) -> Result<Response, Refusal> {
        let now = self.clock.now();
        let family = state.families.get(now, &family_id).ok_or_else(Refusal::server_error)?;
        let (grant, ends_at) = (Arc::clone(&family.grant), family.ends_at);
        let jti = random_token::<16>(self.rng.as_ref());
        let access_token = self.sign_access_token(&grant, scope, &jti, family.mandate_id.as_deref())?;
        let refresh_token = client.may_refresh.then(|| random_token::<32>(self.rng.as_ref()));

        // What may fail for lack of room comes before the family changes: a refused refresh has rotated nothing.
        let record = LiveAccessToken { client_id: client.client_id.clone() };
        state.access_tokens.insert(now, jti.clone(), now + ACCESS_TOKEN_SECONDS, record).map_err(|_| full())?;
        if let Some(token) = &refresh_token {
            state.refresh_tokens.insert(now, secret_hash(token), ends_at, family_id).map_err(|_| full())?;
        }
        let live = &state.access_tokens;
        if let Some(family) = state.families.get_mut(now, &family_id) {
            // What has expired by itself is no longer the family's to revoke.
            family.access_tokens.retain(|jti| live.get(now, jti).is_some());
            family.access_tokens.push(jti);
            let refresh_until = ends_at.min(now + Family::REFRESH_SECONDS);
            family.refresh = refresh_token.as_ref().map(|token| (secret_hash(token), refresh_until));
        }
        Ok(json_response(
            StatusCode::OK,
            &Reply {
                access_token,
                token_type: "DPoP",
                expires_in: ACCESS_TOKEN_SECONDS,
                refresh_token,
                scope: scope.to_string(),
                mandate_jwt,
                authorization_details: grant.mandate.as_ref().map(|mandate| [mandate]),
            },
        ))
    }

    /// A JWT access token (RFC 9068 §2) for one resource, bound to the client's DPoP key.
    fn sign_access_token(
        &self,
        grant: &Grant,
        scope: &Scope,
        jti: &str,
        mandate_id: Option<&str>,
    ) -> Result<String, Refusal> {
        let now = self.clock.now();
        let mut claims = json!({
            "iss": self.issuer(),
            "sub": grant.subject(),
            "aud": grant.resource,
            "client_id": grant.client_id,
            "agent_client_id": grant.client_id,
            "jti": jti,
            "iat": now,
            "nbf": now,
            "exp": now + ACCESS_TOKEN_SECONDS,
            "scope": scope.to_string(),
            "cnf": { "jkt": grant.dpop_jkt },
        });
        if grant.subject != Subject::Agent {
            claims["auth_time"] = grant.auth_time.into();
            claims["acr"] = "urn:oid4pay:pwd".into();
            claims["amr"] = json!(["pwd"]);
        }
        if let Some(id) = mandate_id {
            claims["mandate_id"] = id.into();
        }
        let signer = self.keys.current();
        let header = TokenHeader::new("at+jwt").kid(&signer.kid);
        sign_compact(&signer.key, &header, claims.to_string().as_bytes()).map_err(|_| Refusal::server_error())
    }

    /// Makes the mandate of a grant. Gives its id and its text.
    fn issue_mandate(
        &self,
        state: &mut State,
        grant: &Grant,
        request: &MandateRequest,
    ) -> Result<(String, String), Refusal> {
        let now = self.clock.now();
        let id = format!("mandate_{}", random_hex::<8>(self.rng.as_ref()));
        let status_index = state.status_list.allocate(self.rng.as_ref()).ok_or_else(full)?;
        let text = self.sign_mandate(&NewMandate { id: &id, grant, request, status_index })?;
        let expires_at = now + self.mandate_ttl_seconds;
        let live = LiveMandate { client_id: grant.client_id.clone(), status_index, expires_at };
        state.mandates.insert(now, id.clone(), now + Family::LIFETIME_SECONDS, live).map_err(|_| full())?;
        self.audit.append(
            "oid4ac.mandate.issued",
            Actor { principal_id: grant.subject().to_owned(), agent_client_id: Some(grant.client_id.clone()) },
            json!({
                "mandate_id": id,
                "amount_minor": request.amount_minor,
                "currency": request.currency,
                "merchant_audience": request.merchant,
            }),
        );
        Ok((id, text))
    }

    /// Revokes everything that grew out of one code.
    pub(super) fn revoke_family(&self, state: &mut State, family: FamilyId, reason: &str) -> Cascade {
        let now = self.clock.now();
        let Some(revoked) = state.revoke_family(now, family) else { return Cascade::default() };
        let RevokedFamily { client_id, subject, mandate_id, cascade } = revoked;
        if let Subject::Principal(principal_id) = subject {
            let actor = Actor { principal_id, agent_client_id: Some(client_id) };
            self.audit.append("oid4ac.token.revoked", actor, json!({ "reason": reason, "mandate_id": mandate_id }));
        }
        cascade
    }

    fn require_resource(&self, same: bool) -> Result<(), Refusal> {
        self.rules.require(Rule::TokenResource, same, || {
            Refusal::bad_request("invalid_target", "resource is not that of the pushed request")
        })
    }
}

fn full() -> Refusal {
    Refusal::unavailable("temporarily_unavailable", "too many tokens are live")
}

const ACCESS_TOKEN_SECONDS: UnixSeconds = 300;
