//! How a wallet-session token is asked for, kept, refreshed and given up.

use core::time::Duration;

use http::StatusCode;

use super::{Granted, WalletScope};
use crate::agent::Agent;
use crate::authorization::AuthorizationRequest;
use crate::authorization::status::Authorization;
use crate::metadata::document::Metadata;
use crate::secret::RefreshToken;
use crate::store::{SessionLock, WalletSession};
use crate::token::Tokens;
use crate::{Client, Error, Stage};

/// What became of the wallet sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoggedOut {
    /// Revoked at the server, and forgotten.
    pub revoked: usize,
    /// Forgotten here alone: the server did not confirm, and its tokens live until they expire.
    pub only_forgotten: usize,
}

impl Client {
    /// Asks for a wallet-session token for `scope` now, where none is kept: what `login` does.
    ///
    /// # Errors
    ///
    /// - [`Error::Misuse`] if the agent is not registered.
    /// - otherwise as for [`Client::pay`] up to the token.
    pub async fn login(&self, scope: WalletScope, redirect_uri: &str) -> Result<Granted<()>, Error> {
        let (agent, metadata) = (self.agent()?, self.metadata().await?);
        self.session_token(&agent, &metadata, scope, Some(redirect_uri)).await?.try_map(|_| Ok(()))
    }

    /// Revokes and forgets every wallet session, and what a person was asked for and has not decided.
    ///
    /// # Errors
    ///
    /// - [`Error::Local`] if the store fails. A server that cannot be reached does not keep a session from being forgotten.
    pub async fn logout(&self) -> Result<LoggedOut, Error> {
        let _alone = self.lock_session().await?;
        self.end_sessions().await
    }

    /// As [`Client::logout`], for who holds the lock.
    pub(crate) async fn end_sessions(&self) -> Result<LoggedOut, Error> {
        let mut ended = LoggedOut::default();
        let scopes = self.inner.store.session_scopes()?;
        if !scopes.is_empty() {
            let (agent, metadata) = (self.agent(), self.metadata().await);
            for scope in &scopes {
                let Some(session) = self.inner.store.session(scope)? else { continue };
                let revoked = match (&agent, &metadata) {
                    (Ok(agent), Ok(metadata)) => self.revoke_session(agent, metadata, &session).await,
                    _ => false,
                };
                self.inner.store.set_session(scope, None)?;
                *(if revoked { &mut ended.revoked } else { &mut ended.only_forgotten }) += 1;
            }
        }
        for scope in WalletScope::ALL {
            self.inner.store.set_pending(&pending_key(scope), None)?;
        }
        Ok(ended)
    }

    /// Waits until no other process registers, refreshes or logs out. A lock dies with its holder, whose requests end in
    /// time.
    pub(crate) async fn lock_session(&self) -> Result<SessionLock, Error> {
        loop {
            match self.inner.store.try_lock_session()? {
                Some(lock) => return Ok(lock),
                None => tokio::time::sleep(WAIT).await,
            }
        }
    }

    pub(super) async fn session_token(
        &self,
        agent: &Agent,
        metadata: &Metadata,
        scope: WalletScope,
        redirect_uri: Option<&str>,
    ) -> Result<Granted<WalletSession>, Error> {
        if scope.is_kept()
            && let Some(session) = self.kept_session(agent, metadata, scope).await?
        {
            return Ok(Granted::Done(session));
        }
        match redirect_uri {
            Some(redirect_uri) => self.ask_for_token(agent, metadata, scope, redirect_uri).await,
            None => Ok(Granted::InsufficientScope(scope)),
        }
    }

    /// The kept token while it is fresh, else a refreshed one. One process refreshes; the others adopt what it got.
    async fn kept_session(
        &self,
        agent: &Agent,
        metadata: &Metadata,
        scope: WalletScope,
    ) -> Result<Option<WalletSession>, Error> {
        for _ in 0..MAX_WAITS {
            let Some(session) = self.inner.store.session(scope.as_str())? else { return Ok(None) };
            if session.expires_at - self.now() > MARGIN_SECONDS {
                return Ok(Some(session));
            }
            let Some(_lock) = self.inner.store.try_lock_session()? else {
                tokio::time::sleep(WAIT).await;
                continue;
            };
            // Another process may have been first, between our look and our lock.
            let Some(session) = self.inner.store.session(scope.as_str())? else { return Ok(None) };
            if session.expires_at - self.now() > MARGIN_SECONDS {
                return Ok(Some(session));
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
    ) -> Result<Option<WalletSession>, Error> {
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
                self.keep_session(agent, metadata, scope, &session).await?;
                Ok(Some(session))
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
            _ => Err(self.refuse_tokens(agent, metadata, &answer, answer.server_error()).await),
        }
    }

    async fn ask_for_token(
        &self,
        agent: &Agent,
        metadata: &Metadata,
        scope: WalletScope,
        redirect_uri: &str,
    ) -> Result<Granted<WalletSession>, Error> {
        let key = pending_key(scope);
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
            Ok(Authorization::Declined(_)) => {
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
            self.revoke(agent, metadata, &tokens.access_token, tokens.refresh_token.as_ref()).await;
            return Ok(Granted::InsufficientScope(scope));
        }
        if let Err(error) = self.check_access_token(agent, metadata, &tokens.access_token, resource).await {
            self.revoke(agent, metadata, &tokens.access_token, tokens.refresh_token.as_ref()).await;
            return Err(error);
        }
        // One that is to be given up after use is kept until then too: a crash leaves something to log out of.
        let session = session_of(&tokens);
        self.keep_session(agent, metadata, scope, &session).await?;
        Ok(Granted::Done(session))
    }

    async fn revoke_session(&self, agent: &Agent, metadata: &Metadata, session: &WalletSession) -> bool {
        self.revoke(agent, metadata, &session.access_token, session.refresh_token.as_ref()).await
    }

    /// Keeps a new session, or revokes what there is no place for.
    async fn keep_session(
        &self,
        agent: &Agent,
        metadata: &Metadata,
        scope: WalletScope,
        session: &WalletSession,
    ) -> Result<(), Error> {
        let kept = self.inner.store.set_session(scope.as_str(), Some(session));
        if kept.is_err() {
            self.revoke_session(agent, metadata, session).await;
        }
        Ok(kept?)
    }

    /// Revokes a token that is not kept, and forgets it unless another process has put its own in its place.
    pub(super) async fn give_up(
        &self,
        agent: &Agent,
        metadata: &Metadata,
        scope: WalletScope,
        given_up: &WalletSession,
    ) {
        self.revoke_session(agent, metadata, given_up).await;
        let forgotten = match self.inner.store.session(scope.as_str()) {
            Ok(Some(kept)) if kept.access_token == given_up.access_token => {
                self.inner.store.set_session(scope.as_str(), None)
            }
            other => other.map(drop),
        };
        if let Err(error) = forgotten {
            tracing::warn!(%error, "a revoked token could not be forgotten");
        }
    }
}

/// Under which the store keeps what a consent for this scope waits with.
fn pending_key(scope: WalletScope) -> String {
    format!("session {scope}")
}

fn session_of(tokens: &Tokens) -> WalletSession {
    WalletSession {
        access_token: tokens.access_token.clone(),
        expires_at: tokens.expires_at,
        refresh_token: tokens.refresh_token.clone(),
        refreshing: false,
    }
}

/// A token about to end is not worth sending.
const MARGIN_SECONDS: i64 = 20;
const WAIT: Duration = Duration::from_millis(50);
/// 15 seconds: longer than a refresh takes, or its time limit.
const MAX_WAITS: u32 = 300;
