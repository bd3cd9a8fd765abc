//! Registered clients.

use std::sync::Arc;

use jose::{Jwk, PublicKey, UnixSeconds};

use crate::scope::Scope;

/// A registered client. What it registered never changes: a new registration is a new client.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) client_id: String,
    pub(super) principal_id: String,
    pub(super) client_name: Option<String>,
    pub(super) purpose: Option<String>,
    pub(super) registered_at: UnixSeconds,
    pub(super) redirect_uris: Vec<String>,
    pub(super) scope: Scope,
    pub(super) may_refresh: bool,
    pub(super) may_send_details: bool,
    pub(super) assertion_key: Jwk,
    pub(super) dpop_key: PublicKey,
}

/// A client, and what became of it.
pub(super) struct Agent {
    pub(super) client: Arc<Client>,
    pub(super) last_used_at: Option<UnixSeconds>,
    pub(super) revoked_at: Option<UnixSeconds>,
}
