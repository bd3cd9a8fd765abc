//! What arrived at the sandbox, so that a test can count requests.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use http::Method;

/// One of the sandbox's servers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Party {
    /// The authorization server, which also serves the wallet portal.
    AuthorizationServer,
    /// The directory of merchants.
    Directory,
    /// The merchant with this id.
    Merchant(String),
}

/// One request, as it reached a server. Its query is not kept: it can hold secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoggedRequest {
    /// Who was asked.
    pub party: Party,
    /// Its origin, `http://127.0.0.1:{port}`.
    pub origin: String,
    /// The method.
    pub method: Method,
    /// The path, without the query; cut to 256 octets.
    pub path: String,
}

impl LoggedRequest {
    pub(crate) fn of(party: &Party, authority: &str, method: &Method, path: &str) -> Self {
        let path = path.chars().take(MAX_PATH).collect();
        Self { party: party.clone(), origin: format!("http://{authority}"), method: method.clone(), path }
    }
}

/// The newest requests from outside, oldest first; what the sandbox's parties ask each other is left out.
#[derive(Default)]
pub(crate) struct RequestLog(Mutex<VecDeque<LoggedRequest>>);

impl RequestLog {
    pub(crate) fn record(&self, request: LoggedRequest) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() == CAPACITY {
            entries.pop_front();
        }
        entries.push_back(request);
    }

    pub(crate) fn entries(&self) -> Vec<LoggedRequest> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

const CAPACITY: usize = 10_000;
const MAX_PATH: usize = 256;
