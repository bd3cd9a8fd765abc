//! What waits for a browser, and what came of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::authorization::status::{Authorization, IssWanted, Pushed};
use crate::{Consent, Error};

/// The authorizations of one client that wait for a browser, by what they are for. Forgetting one closes its listener.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<HashMap<String, Session>>);

pub(super) struct Session {
    pub(super) consent: Consent,
    /// Shared with the listener.
    pub(super) said: Arc<Mutex<Said>>,
    /// Dropped with the session, which ends the listener.
    pub(super) _stop: oneshot::Sender<()>,
}

impl Sessions {
    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody needs to be asked any more.
    pub(crate) fn forget(&self, key: &str) {
        self.lock().remove(key);
    }
}

/// What came of one request so far.
#[derive(Default)]
pub(super) struct Said {
    /// One for each time that the page was opened: a second tab, a page opened again after a request URI died of old age.
    pub(super) attempts: Vec<Attempt>,
    pub(super) opened: u32,
    pub(super) ended: bool,
    /// Until it is fetched.
    pub(super) answer: Option<Result<Authorization, Error>>,
}

/// One opening of the page.
pub(super) struct Attempt {
    pub(super) pushed: Pushed,
    pub(super) iss_wanted: IssWanted,
}

impl Said {
    pub(super) fn end(&mut self, answer: Result<Authorization, Error>) {
        self.ended = true;
        self.attempts.clear();
        self.answer = Some(answer);
    }
}

/// As long as a consent at OID4AC's own servers.
pub(super) const LIFE_SECONDS: i64 = 900;
