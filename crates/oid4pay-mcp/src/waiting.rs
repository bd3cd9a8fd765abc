//! Waiting within a call: for how long, until what, and what the client is told meanwhile.

use std::time::Duration;

use oid4ac_client::Consent;
use rmcp::model::ProgressNotificationParam;
use rmcp::service::{RequestContext, RoleServer};

/// How long one call may wait for a human, and the ways in which it ends earlier.
pub(crate) struct Waiting {
    limit: Duration,
    context: RequestContext<RoleServer>,
}

impl Waiting {
    pub(crate) fn new(limit: Duration, context: RequestContext<RoleServer>) -> Self {
        Self { limit, context }
    }

    /// The longest that the call may wait for a human.
    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    /// Waits; `false` if the caller gave up meanwhile.
    pub(crate) async fn pause(&self, time: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(time) => true,
            () = self.context.ct.cancelled() => false,
        }
    }

    /// Tells a caller that asked for progress that a human is deciding.
    pub(crate) async fn tell_consent(&self, consent: &Consent, waited: Duration) {
        let Some(token) = self.context.meta.get_progress_token() else { return };
        let message = format!("Waiting for the person's decision at {}", consent.url);
        let param = ProgressNotificationParam::new(token, waited.as_secs_f64())
            .with_total(self.limit.as_secs_f64())
            .with_message(message);
        // A client that cannot be told is still owed the answer.
        let _ = self.context.peer.notify_progress(param).await;
    }
}
