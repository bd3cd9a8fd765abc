//! What a request asks for, what a code stands for, and what grew out of it.

use std::sync::Arc;

use jose::{Thumbprint, UnixSeconds};

use super::authorization_details::MandateRequest;
use super::secret_hash::SecretHash;
use crate::config::ConsentMode;
use crate::scope::Scope;

/// A pushed authorization request that was checked (RFC 9126 §2.1).
#[derive(Clone)]
pub(super) struct Pushed {
    pub(super) client_id: String,
    pub(super) redirect_uri: String,
    pub(super) state: String,
    pub(super) code_challenge: String,
    pub(super) scope: Scope,
    pub(super) resource: String,
    pub(super) mandate: Option<MandateRequest>,
    pub(super) consent_mode: ConsentMode,
    pub(super) dpop_jkt: Thumbprint,
    pub(super) expires_at: UnixSeconds,
    pub(super) used: bool,
}

/// For whom a token speaks.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Subject {
    /// A principal approved.
    Principal(String),
    /// No principal was involved: the agent speaks for itself.
    Agent,
}

/// What was granted. Tokens, refreshed ones too, say this and no more.
#[derive(Clone)]
pub(super) struct Grant {
    pub(super) client_id: String,
    pub(super) subject: Subject,
    pub(super) scope: Scope,
    pub(super) resource: String,
    pub(super) mandate: Option<MandateRequest>,
    pub(super) dpop_jkt: Thumbprint,
    /// When the principal last showed who they are.
    pub(super) auth_time: UnixSeconds,
}

impl Grant {
    /// The `sub` claim.
    pub(super) fn subject(&self) -> &str {
        match &self.subject {
            Subject::Principal(id) => id,
            Subject::Agent => &self.client_id,
        }
    }
}

/// An authorization code (RFC 6749 §4.1.2).
#[derive(Clone)]
pub(super) struct Code {
    pub(super) grant: Arc<Grant>,
    pub(super) redirect_uri: String,
    pub(super) code_challenge: String,
    pub(super) expires_at: UnixSeconds,
    /// The tokens that were issued for it, once it was used.
    pub(super) redeemed_as: Option<FamilyId>,
}

impl Code {
    /// How long a code can be redeemed.
    pub(super) const LIFETIME_SECONDS: UnixSeconds = 60;
}

/// Names a family of tokens: everything that grew out of one code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct FamilyId(pub(super) u64);

/// Everything that grew out of one code.
pub(super) struct Family {
    pub(super) grant: Arc<Grant>,
    pub(super) revoked: bool,
    /// The one refresh token that is good, and the second it stops being so.
    pub(super) refresh: Option<(SecretHash, UnixSeconds)>,
    /// The `jti` of the access tokens that may still be live.
    pub(super) access_tokens: Vec<String>,
    pub(super) mandate_id: Option<String>,
    pub(super) ends_at: UnixSeconds,
}

impl Family {
    /// At most thirty days from consent, however often it is refreshed.
    pub(super) const LIFETIME_SECONDS: UnixSeconds = 30 * 86_400;
    /// A refresh token's life, from each rotation.
    pub(super) const REFRESH_SECONDS: UnixSeconds = 86_400;
}
