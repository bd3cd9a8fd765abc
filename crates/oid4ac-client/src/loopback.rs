//! Consent at an ordinary authorization server: the person's browser goes there from a page on this machine, and comes back
//! to it (RFC 8252 §7.3).
//!
//! Opening the page pushes the request, so that a request URI's short life begins when somebody is there to use it. What
//! comes back is held until the call that began it is made again. All of it lives in the process: after a crash nothing is
//! left that could be redeemed, and the person is asked again.

mod listener;
mod page;

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use jose::{constant_time_eq, random_token};
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};
use url::Host;

use self::page::Page;
use crate::authorization::{Authorization, AuthorizationRequest, IssWanted, Pushed, Response};
use crate::client::Inner;
use crate::{Client, Consent, Endpoint, Error, LocalError, Misuse, NotIssued};

/// A loopback redirect URI, whose port may be any (RFC 8252 §7.3).
///
/// `localhost` is taken too, though RFC 8252 §8.3 advises against it; `[::1]` is not, for nothing listens there.
pub(crate) struct LoopbackUri {
    host: &'static str,
    /// The one it was registered with. A server that compares ports after all will want it.
    port: Option<u16>,
    path: String,
    /// Path and query as registered, which a server may compare octet by octet.
    rest: String,
}

impl LoopbackUri {
    pub(crate) fn parse(uri: &str) -> Option<Self> {
        let endpoint = Endpoint::parse(uri).ok()?;
        let url = endpoint.url();
        let host = match url.host()? {
            Host::Ipv4(Ipv4Addr::LOCALHOST) => LOOPBACK,
            Host::Domain("localhost") => "localhost",
            _ => return None,
        };
        let authority =
            uri.get(..HTTP.len()).filter(|scheme| scheme.eq_ignore_ascii_case(HTTP)).map(|_| &uri[HTTP.len()..])?;
        let rest = authority.find(['/', '?']).map_or("", |end| &authority[end..]);
        Some(Self { host, port: url.port(), path: url.path().to_owned(), rest: rest.to_owned() })
    }

    /// `host:port`, as a `Host` field has it.
    fn authority(&self, port: u16) -> String {
        format!("{}:{port}", self.host)
    }

    fn with_port(&self, port: u16) -> String {
        format!("{HTTP}{}{}", self.authority(port), self.rest)
    }
}

/// The authorizations of one client that wait for a browser, by what they are for. Forgetting one closes its listener.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<HashMap<String, Session>>);

struct Session {
    consent: Consent,
    talk: Arc<Talk>,
    /// Dropped with the session, which ends the listener.
    _stop: oneshot::Sender<()>,
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody needs to be asked any more.
    pub(crate) fn forget(&self, key: &str) {
        self.lock().remove(key);
    }
}

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
        let talk = Arc::new(Talk {
            client: Arc::downgrade(&self.inner),
            host: format!("{LOOPBACK}:{port}"),
            callback_host: redirect.authority(port),
            request: AuthorizationRequest { redirect_uri: redirect.with_port(port), ..request },
            go,
            callback: redirect.path,
            said: Mutex::default(),
            ended: Notify::new(),
        });
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(listener::serve(listener, Arc::clone(&talk), stopped));
        self.inner.sessions.lock().insert(key, Session { consent: consent.clone(), talk, _stop: stop });
        Ok(consent)
    }

    /// How the authorization under this key stands, if this process waits for one. An answer is given out once.
    pub(crate) fn loopback_answer(&self, key: &str) -> Option<Result<Authorization, Error>> {
        let mut sessions = self.inner.sessions.lock();
        let session = sessions.get(key)?;
        let answer = session.talk.said().answer.take();
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

/// One request, and what a browser and the authorization server say about it.
struct Talk {
    /// Weak, so that a client which nobody has any more takes its listeners along.
    client: Weak<Inner>,
    host: String,
    callback_host: String,
    request: AuthorizationRequest,
    go: String,
    callback: String,
    said: Mutex<Said>,
    ended: Notify,
}

#[derive(Default)]
struct Said {
    /// One for each time that the page was opened: a second tab, a page opened again after a request URI died of old age.
    attempts: Vec<Attempt>,
    opened: u32,
    ended: bool,
    /// Until it is fetched.
    answer: Option<Result<Authorization, Error>>,
}

struct Attempt {
    pushed: Pushed,
    iss_wanted: IssWanted,
}

impl Said {
    fn end(&mut self, answer: Result<Authorization, Error>) {
        self.ended = true;
        self.attempts.clear();
        self.answer = Some(answer);
    }
}

/// What a browser gets.
enum Shown {
    Page(Page),
    /// Sent on to the authorization server.
    Redirect(String),
}

impl Talk {
    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a GET. Whatever is not one of our two addresses, under our own name, is not there.
    async fn answer(&self, host: &str, path: &str, query: Option<&str>) -> Shown {
        let is_go = constant_time_eq(path.as_bytes(), self.go.as_bytes());
        // A page elsewhere that has its name resolved to 127.0.0.1 would name its own host.
        if is_go && host == self.host {
            self.open().await
        } else if path == self.callback && host == self.callback_host {
            Shown::Page(self.come_back(query.unwrap_or_default()))
        } else {
            Shown::Page(Page::NotFound)
        }
    }

    /// Pushes the request, and sends the browser after it.
    async fn open(&self) -> Shown {
        let Some(inner) = self.client.upgrade() else { return Shown::Page(Page::Over) };
        let client = Client { inner };
        {
            let mut said = self.said();
            if said.ended {
                return Shown::Page(Page::Over);
            }
            said.opened += 1;
            if said.opened > MAX_OPENED {
                return Shown::Page(Page::TooOften);
            }
        }
        let attempt = self.push(&client).await;
        let mut said = self.said();
        match attempt {
            _ if said.ended => Shown::Page(Page::Over),
            Ok(attempt) => {
                let location = attempt.pushed.endpoint.url().as_str().to_owned();
                said.attempts.push(attempt);
                Shown::Redirect(location)
            }
            // The person may still be deciding in another tab.
            Err(error) if !said.attempts.is_empty() => {
                tracing::warn!(%error, "the authorization request could not be pushed again");
                Shown::Page(Page::Failed)
            }
            Err(error) => {
                said.end(Err(error));
                self.ended.notify_one();
                Shown::Page(Page::Failed)
            }
        }
    }

    async fn push(&self, client: &Client) -> Result<Attempt, Error> {
        let (agent, metadata) = (client.agent()?, client.metadata().await?);
        let pushed = client.push(&agent, &metadata, &self.request).await?;
        let iss_wanted = if metadata.sends_iss { IssWanted::Always } else { IssWanted::WhereGiven };
        Ok(Attempt { pushed, iss_wanted })
    }

    /// Takes an authorization response: the first one with the `state` of an attempt of ours, whatever it says.
    fn come_back(&self, query: &str) -> Page {
        let Some(inner) = self.client.upgrade() else { return Page::Over };
        let response = Response::parse(query);
        let mut said = self.said();
        if said.ended {
            return Page::Over;
        }
        let of = |attempt: &Attempt| response.state.as_ref() == Some(&attempt.pushed.state);
        let Some(index) = said.attempts.iter().position(of) else { return Page::NotOurs };
        let Attempt { pushed: Pushed { state, verifier, .. }, iss_wanted } = said.attempts.swap_remove(index);
        let client = Client { inner };
        let answer = client.read_response(response, iss_wanted, &state, verifier, &self.request.redirect_uri);
        // The answer came through the browser. Whether the person or the server decided is not in it.
        let answer = answer.map(|answer| match answer {
            Authorization::Declined(_) => Authorization::Declined(NotIssued::AtBrowser),
            other => other,
        });
        let page = match &answer {
            Ok(Authorization::Granted(_)) => Page::Approved,
            Ok(_) => Page::Declined,
            Err(_) => Page::Failed,
        };
        said.end(answer);
        self.ended.notify_one();
        page
    }
}

const HTTP: &str = "http://";
const LOOPBACK: &str = "127.0.0.1";
/// As long as a consent at OID4AC's own servers.
const LIFE_SECONDS: i64 = 900;
/// A person pays for a few things at a time. Each takes a port.
const MAX_SESSIONS: usize = 32;
/// A program that opens the page again and again is not to flood the server with requests.
const MAX_OPENED: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_port_of_a_redirect_uri_is_replaced() {
        for (registered, pushed) in [
            ("http://127.0.0.1/callback", "http://127.0.0.1:5/callback"),
            ("http://127.0.0.1:8080/Call%20back?x=1", "http://127.0.0.1:5/Call%20back?x=1"),
            ("http://127.0.0.1", "http://127.0.0.1:5"),
            ("HTTP://localhost:80/cb", "http://localhost:5/cb"),
            ("http://127.0.0.1?x", "http://127.0.0.1:5?x"),
        ] {
            assert_eq!(LoopbackUri::parse(registered).map(|uri| uri.with_port(5)).as_deref(), Some(pushed));
        }
        for other in
            ["https://127.0.0.1/cb", "http://127.0.0.2/cb", "http://[::1]/cb", "https://a.example/cb", "cb", ""]
        {
            assert!(LoopbackUri::parse(other).is_none(), "{other}");
        }
    }
}
