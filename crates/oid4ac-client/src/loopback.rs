//! Consent at an ordinary authorization server: the person's browser goes there from a page on this machine, and comes back
//! to it (RFC 8252 §7.3).
//!
//! Opening the page pushes the request, so that a request URI's short life begins when somebody is there to use it. What
//! comes back is held until the call that began it is made again. All of it lives in the process: after a crash nothing is
//! left that could be redeemed, and the person is asked again.

mod listener;
mod page;
pub(crate) mod sessions;
mod talk;
pub(crate) mod uri;

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use jose::random_token;
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};

use self::sessions::{LIFE_SECONDS, Said, Session};
use self::talk::Talk;
use self::uri::{HTTP, LOOPBACK, LoopbackUri};
use crate::authorization::AuthorizationRequest;
use crate::authorization::status::Authorization;
use crate::{Client, Consent, Error, LocalError, Misuse};

impl Client {
    /// Waits on a port of 127.0.0.1 for a person's browser. The one session under this key, if there was one, ends.
    pub(crate) async fn listen(&self, request: AuthorizationRequest) -> Result<Consent, Error> {
        let redirect = LoopbackUri::parse(&request.redirect_uri).ok_or(Misuse::RedirectUriNotLoopback)?;
        let now = self.now();
        {
            let mut sessions = self.inner.sessions.lock();
            sessions.retain(|key, session| *key != request.key && now < session.consent.expires_at);
            if sessions.len() >= MAX_SESSIONS {
                return Err(Misuse::TooManyConsents.into());
            }
        }
        let listener = bind(redirect.port).await.map_err(LocalError::Listener)?;
        let port = listener.local_addr().map_err(LocalError::Listener)?.port();
        let go = format!("/go/{}", random_token::<16>(self.inner.rng.as_ref()));
        let consent = Consent {
            url: format!("{HTTP}{LOOPBACK}:{port}{go}"),
            mode: "loopback".to_owned(),
            expires_at: now + LIFE_SECONDS,
            interval_seconds: 1,
        };
        let key = request.key.clone();
        let said = Arc::new(Mutex::new(Said::default()));
        let talk = Arc::new(Talk {
            client: Arc::downgrade(&self.inner),
            host: format!("{LOOPBACK}:{port}"),
            callback_host: redirect.authority(port),
            request: AuthorizationRequest { redirect_uri: redirect.with_port(port), ..request },
            go,
            callback: redirect.path,
            said: Arc::clone(&said),
            ended: Notify::new(),
        });
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(listener::serve(listener, talk, stopped));
        self.inner.sessions.lock().insert(key, Session { consent: consent.clone(), said, _stop: stop });
        Ok(consent)
    }

    /// How the authorization under this key stands, if this process waits for one. An answer is given out once.
    pub(crate) fn loopback_answer(&self, key: &str) -> Option<Result<Authorization, Error>> {
        let mut sessions = self.inner.sessions.lock();
        let session = sessions.get(key)?;
        let answer = session.said.lock().unwrap_or_else(PoisonError::into_inner).answer.take();
        if answer.is_none() && self.now() < session.consent.expires_at {
            return Some(Ok(Authorization::Pending(session.consent.clone())));
        }
        sessions.remove(key);
        Some(answer.unwrap_or(Ok(Authorization::Expired)))
    }
}

/// The registered port if it is free, else any.
async fn bind(port: Option<u16>) -> std::io::Result<TcpListener> {
    if let Some(port) = port
        && let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await
    {
        return Ok(listener);
    }
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await
}

/// A person pays for a few things at a time. Each takes a port.
const MAX_SESSIONS: usize = 32;
