//! How a wallet-session token is asked for, kept, refreshed and given up.

use core::time::Duration;

use http::StatusCode;

use super::{Granted, WalletScope};
use crate::authorization::{Authorization, AuthorizationRequest};
use crate::client::Agent;
use crate::metadata::Metadata;
use crate::secret::{AccessToken, RefreshToken};
use crate::store::WalletSession;
use crate::token::Tokens;
use crate::{Client, Error, Stage};

impl Client {
    /// Asks for a wallet-session token for `scope` now, where none is kept: what `login` does.
    ///
    /// # Errors
    ///
    /// - [`Error::Misuse`] if the agent is not registered.
    /// - otherwise as for [`Client::pay`] up to the token.
    pub async fn login(&self, scope: WalletScope, redirect_uri: &str) -> Result<Granted<()>, Error> {
        let (agent, metadata) = (self.agent()?, self.metadata().await?);
        self.session_token(&agent, &metadata, scope, redirect_uri).await?.try_map(|_| Ok(()))
    }

    /// Revokes and forgets every wallet session.
    ///
    /// # Errors
    ///
    /// - [`Error::Local`] if the store fails. A server that cannot be reached does not keep a session from being forgotten.
    pub async fn logout(&self) -> Result<usize, Error> {
        let scopes = self.inner.store.session_scopes()?;
        if scopes.is_empty() {
            return Ok(0);
        }
        let (agent, metadata) = (self.agent()?, self.metadata().await?);
        for scope in &scopes {
            if let Some(session) = self.inner.store.session(scope)? {
                self.revoke(&agent, &metadata, &tokens_of(&session)).await;
                self.inner.store.set_session(scope, None)?;
            }
        }
        Ok(scopes.len())
    }

    pub(super) async fn session_token(
        &self,
        agent: &Agent,
        metadata: &Metadata,
        scope: WalletScope,
        redirect_uri: &str,
    ) -> Result<Granted<AccessToken>, Error> {
        if scope.is_kept()
            && let Some(token) = self.kept_token(agent, metadata, scope).await?
        {
            return Ok(Granted::Done(token));
        }
        self.ask_for_token(agent, metadata, scope, redirect_uri).await
    }

    /// The kept token while it is fresh, else a refreshed one. One process refreshes; the others adopt what it got.
    async fn kept_token(
        &self,
        agent: &Agent,
        metadata: &Metadata,
        scope: WalletScope,
    ) -> Result<Option<AccessToken>, Error> {
        for _ in 0..MAX_WAITS {
            let Some(session) = self.inner.store.session(scope.as_str())? else { return Ok(None) };
            if session.expires_at - self.now() > MARGIN_SECONDS {
                return Ok(Some(session.access_token));
            }
            let Some(_lock) = self.inner.store.try_lock_session()? else {
                tokio::time::sleep(WAIT).await;
                continue;
            };
            // Another process may have been first, between our look and our lock.
            let Some(session) = self.inner.store.session(scope.as_str())? else { return Ok(None) };
            if session.expires_at - self.now() > MARGIN_SECONDS {
                return Ok(Some(session.access_token));
            }
            return self.refresh(agent, metadata, scope, session).await;
        }
        Ok(None)
    }

    /// RFC 6749 §6, with rotation. A refresh token is used once; one whose use had no answer counts as lost.
    async fn refresh(
        &self,
        agent: &Agent,
        metadata: &Metadata,
        scope: WalletScope,
        session: WalletSession,
    ) -> Result<Option<AccessToken>, Error> {
        let forget = || self.inner.store.set_session(scope.as_str(), None);
        let Some(token) = session.refresh_token.clone().filter(|_| !session.refreshing) else {
            forget()?;
            return Ok(None);
        };
        self.inner.store.set_session(scope.as_str(), Some(&WalletSession { refreshing: true, ..session }))?;
        match self.send_refresh(agent, metadata, &token).await {
            Ok(Some(tokens)) => {
                let session = session_of(&tokens);
                // On disk before the access token is used: the old refresh token is spent.
                self.inner.store.set_session(scope.as_str(), Some(&session))?;
                Ok(Some(session.access_token))
            }
            Ok(None) => {
                forget()?;
                Ok(None)
            }
            Err(error) => {
                forget()?;
                Err(error)
            }
        }
    }

    /// `None` if the server no longer takes the token.
    async fn send_refresh(
        &self,
        agent: &Agent,
        metadata: &Metadata,
        token: &RefreshToken,
    ) -> Result<Option<Tokens>, Error> {
        let fields = [("grant_type", "refresh_token"), ("refresh_token", token.expose())];
        let answer = self.send_form(Stage::Token, &metadata.token_endpoint, agent, metadata, &fields).await?;
        match answer.status() {
            StatusCode::OK => self.read_tokens(agent, metadata, &answer, "").await.map(Some),
            StatusCode::BAD_REQUEST if answer.server_error().error() == Some("invalid_grant") => Ok(None),
            _ => Err(answer.server_error().into()),
        }
    }

    async fn ask_for_token(
        &self,
        agent: &Agent,
        metadata: &Metadata,
        scope: WalletScope,
        redirect_uri: &str,
    ) -> Result<Granted<AccessToken>, Error> {
        let key = format!("session {scope}");
        let resource = self.inner.issuer.origin().as_str();
        let authorization = match self.go_on(agent, metadata, &key).await {
            Ok(None) => {
                Self::check_can_ask(metadata, None, redirect_uri)?;
                let request = AuthorizationRequest {
                    key: key.clone(),
                    scope: scope.as_str().to_owned(),
                    resource: resource.to_owned(),
                    redirect_uri: redirect_uri.to_owned(),
                    consent_mode_hint: None,
                    details: None,
                };
                self.authorize(agent, metadata, request).await
            }
            Ok(Some(authorization)) => Ok(authorization),
            Err(error) => Err(error),
        };
        let grant = match authorization {
            Ok(Authorization::Pending(consent)) => return Ok(Granted::Consent(consent)),
            Ok(Authorization::Granted(grant)) => grant,
            Ok(Authorization::Declined) => {
                self.inner.store.set_pending(&key, None)?;
                return Ok(Granted::InsufficientScope(scope));
            }
            Ok(Authorization::Expired) => {
                self.inner.store.set_pending(&key, None)?;
                return Ok(Granted::ConsentExpired);
            }
            Err(Error::Server(error)) if error.error() == Some("invalid_scope") => {
                return Ok(Granted::InsufficientScope(scope));
            }
            Err(error) => return Err(error),
        };
        // A code is sent once. Should we end here, it is lost, and must not be sent by another process.
        self.inner.store.set_pending(&key, None)?;
        let tokens = self.redeem(agent, metadata, scope.as_str(), resource, &grant).await?;
        if tokens.scope.as_deref().is_some_and(|granted| !granted.split(' ').any(|granted| granted == scope.as_str())) {
            self.revoke(agent, metadata, &tokens).await;
            return Ok(Granted::InsufficientScope(scope));
        }
        if let Err(error) = self.check_access_token(agent, metadata, &tokens.access_token, resource).await {
            self.revoke(agent, metadata, &tokens).await;
            return Err(error);
        }
        // One that is to be given up after use is kept until then too: a crash leaves something to log out of.
        self.inner.store.set_session(scope.as_str(), Some(&session_of(&tokens)))?;
        Ok(Granted::Done(tokens.access_token))
    }

    /// Revokes and forgets a token that is not kept, unless another process has put its own in its place.
    pub(super) async fn give_up_token(
        &self,
        agent: &Agent,
        metadata: &Metadata,
        scope: WalletScope,
        token: &AccessToken,
    ) {
        let session = self.inner.store.session(scope.as_str());
        let Ok(Some(session)) = session else { return };
        if session.access_token == *token {
            self.revoke(agent, metadata, &tokens_of(&session)).await;
            if let Err(error) = self.inner.store.set_session(scope.as_str(), None) {
                tracing::warn!(%error, "a revoked token could not be forgotten");
            }
        }
    }
}

fn session_of(tokens: &Tokens) -> WalletSession {
    WalletSession {
        access_token: tokens.access_token.clone(),
        expires_at: tokens.expires_at,
        refresh_token: tokens.refresh_token.clone(),
        refreshing: false,
    }
}

fn tokens_of(session: &WalletSession) -> Tokens {
    Tokens {
        access_token: session.access_token.clone(),
        expires_at: session.expires_at,
        refresh_token: session.refresh_token.clone(),
        mandate: None,
        granted_minor: None,
        scope: None,
    }
}

/// A token about to end is not worth sending.
const MARGIN_SECONDS: i64 = 20;
const WAIT: Duration = Duration::from_millis(50);
/// 15 seconds: longer than a refresh takes, or its time limit.
const MAX_WAITS: u32 = 300;
