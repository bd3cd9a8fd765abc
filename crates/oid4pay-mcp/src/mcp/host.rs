//! What every call of one server works with.

use oid4pay::agents::Agent;

use crate::config::Settings;

/// The agent of a server, and the server's own settings.
pub(crate) struct Host {
    pub(crate) agent: Agent,
    pub(crate) settings: Settings,
}

impl Host {
    pub(crate) fn new(settings: Settings) -> Self {
        Self { agent: Agent::new(settings.core.clone()), settings }
    }
}
