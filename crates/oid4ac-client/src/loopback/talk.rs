//! What a browser is answered.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use jose::constant_time_eq;
use tokio::sync::Notify;

use super::page::Page;
use super::sessions::{Attempt, Said};
use crate::authorization::status::{Authorization, IssWanted, Pushed};
use crate::authorization::{AuthorizationRequest, Response};
use crate::client::Inner;
use crate::{Client, Error, NotIssued};

/// One request, and what a browser and the authorization server say about it.
pub(super) struct Talk {
    /// Weak, so that a client which nobody has any more takes its listeners along.
    pub(super) client: Weak<Inner>,
    pub(super) host: String,
    pub(super) callback_host: String,
    pub(super) request: AuthorizationRequest,
    pub(super) go: String,
    pub(super) callback: String,
    pub(super) said: Arc<Mutex<Said>>,
    pub(super) ended: Notify,
}

/// What a browser gets.
pub(super) enum Shown {
    Page(Page),
    /// Sent on to the authorization server.
    Redirect(String),
}

impl Talk {
    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a GET. Whatever is not one of our two addresses, under our own name, is not there.
    pub(super) async fn answer(&self, host: &str, path: &str, query: Option<&str>) -> Shown {
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

/// A program that opens the page again and again is not to flood the server with requests.
const MAX_OPENED: u32 = 16;
