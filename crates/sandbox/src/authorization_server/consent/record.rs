//! A consent that waits for its principal.

use std::sync::Arc;

use jose::UnixSeconds;

use crate::authorization_server::client::Client;
use crate::authorization_server::grant::Pushed;
use crate::principal::ConsentDecision;

/// A request that a principal has to decide on. No `Debug`: it may hold a code.
pub(in crate::authorization_server) struct Consent {
    pub(in crate::authorization_server) client: Arc<Client>,
    pub(in crate::authorization_server) pushed: Pushed,
    pub(in crate::authorization_server) expires_at: UnixSeconds,
    pub(in crate::authorization_server) decided: Option<(ConsentDecision, UnixSeconds)>,
    pub(in crate::authorization_server) interval: UnixSeconds,
    pub(in crate::authorization_server) polled_at: Option<UnixSeconds>,
    /// The code, and when it ends: made at the first poll after approval.
    pub(in crate::authorization_server) code: Option<(String, UnixSeconds)>,
}
