//! How an authorization stands, and what going on with it takes.

use crate::secret::{Code, CodeVerifier, State};
use crate::{Consent, Endpoint, NotIssued};

/// How an authorization stands.
pub(crate) enum Authorization {
    /// A code came back.
    Granted(Grant),
    /// A human has to decide; the secrets to go on with are in the store.
    Pending(Consent),
    Declined(NotIssued),
    Expired,
}

/// A code, and what redeeming it takes.
pub(crate) struct Grant {
    pub(crate) code: Code,
    pub(crate) verifier: CodeVerifier,
    /// The one that was pushed; a later call may name another.
    pub(crate) redirect_uri: String,
    pub(crate) shown: Shown,
}

/// Whether the principal was shown this purchase, or approved of its kind earlier.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    Yes,
    No,
}

/// A request that was pushed, and what reading the answer takes.
pub(crate) struct Pushed {
    /// Where the answer can be had; once, and soon.
    pub(crate) endpoint: Endpoint,
    pub(crate) state: State,
    pub(crate) verifier: CodeVerifier,
}

/// Whether an authorization response without `iss` is one (RFC 9207 §2.4). A wrong one never is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum IssWanted {
    Always,
    /// The metadata doesn't promise it.
    WhereGiven,
}
