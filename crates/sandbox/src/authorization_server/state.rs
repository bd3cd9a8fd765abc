//! What the authorization server remembers. Secrets are kept as hashes; everything a client can grow has a bound.

use std::collections::HashMap;
use std::sync::Arc;

use jose::UnixSeconds;
use serde::Serialize;

use super::client::{Agent, Client};
use super::consent::record::Consent;
use super::grant::{Code, Family, FamilyId, Pushed};
use super::portal::session::PortalSession;
use super::rate_limit::Calls;
use super::secret_hash::SecretHash;
use super::status_list::StatusList;
use crate::expiring::Expiring;
use crate::nonce::NonceRing;
use crate::scope::Scope;

/// A one-shot setup token.
pub(super) struct SetupToken {
    pub(super) principal_id: String,
    pub(super) used: bool,
}

/// A token that the portal gave to a principal: no client's, bound to no key.
pub(super) struct PortalToken {
    pub(super) principal_id: String,
    pub(super) scope: Scope,
}

/// An access token that has not been revoked.
pub(super) struct LiveAccessToken {
    pub(super) client_id: String,
}

/// A mandate that may still be presented.
pub(super) struct LiveMandate {
    pub(super) client_id: String,
    pub(super) status_index: usize,
    pub(super) expires_at: UnixSeconds,
}

pub(super) struct State {
    pub(super) setup_tokens: Expiring<SecretHash, SetupToken>,
    pub(super) portal_tokens: Expiring<SecretHash, PortalToken>,
    pub(super) agents: HashMap<String, Agent>,
    pub(super) assertions: Expiring<(String, String), ()>,
    /// Of the authorization server proper.
    pub(super) nonces: NonceRing,
    /// Of its wallet, audit and privacy endpoints, which are a resource server.
    pub(super) resource_nonces: NonceRing,
    pub(super) calls: Calls,
    pub(super) pushed: Expiring<SecretHash, Pushed>,
    /// Pending consents, by the hash of the identifier in their poll URI.
    pub(super) consents: Expiring<SecretHash, Consent>,
    /// The hash of the identifier in a consent URL → the key in `consents`.
    pub(super) consent_pages: Expiring<SecretHash, SecretHash>,
    pub(super) portal_sessions: Expiring<SecretHash, PortalSession>,
    pub(super) codes: Expiring<SecretHash, Code>,
    pub(super) families: Expiring<FamilyId, Family>,
    /// Refresh tokens, the rotated ones too → their family.
    pub(super) refresh_tokens: Expiring<SecretHash, FamilyId>,
    pub(super) access_tokens: Expiring<String, LiveAccessToken>,
    pub(super) mandates: Expiring<String, LiveMandate>,
    pub(super) status_list: StatusList,
    next_family: u64,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            setup_tokens: Expiring::new(CAPACITY),
            portal_tokens: Expiring::new(CAPACITY),
            agents: HashMap::new(),
            assertions: Expiring::new(CAPACITY),
            nonces: NonceRing::default(),
            resource_nonces: NonceRing::default(),
            calls: Calls::default(),
            pushed: Expiring::new(CAPACITY),
            consents: Expiring::new(CAPACITY),
            consent_pages: Expiring::new(CAPACITY),
            portal_sessions: Expiring::new(MAX_PORTAL_SESSIONS),
            codes: Expiring::new(CAPACITY),
            families: Expiring::new(CAPACITY),
            refresh_tokens: Expiring::new(CAPACITY),
            access_tokens: Expiring::new(CAPACITY),
            mandates: Expiring::new(CAPACITY),
            status_list: StatusList::new(),
            next_family: 0,
        }
    }

    pub(super) fn new_family_id(&mut self) -> FamilyId {
        self.next_family += 1;
        FamilyId(self.next_family)
    }

    /// The client of this id, unless it was revoked.
    pub(super) fn client(&self, client_id: &str) -> Option<Arc<Client>> {
        let agent = self.agents.get(client_id).filter(|agent| agent.revoked_at.is_none())?;
        Some(Arc::clone(&agent.client))
    }

    /// Notes that an agent showed itself.
    pub(super) fn note_use(&mut self, now: UnixSeconds, client_id: &str) {
        if let Some(agent) = self.agents.get_mut(client_id) {
            agent.last_used_at = Some(now);
        }
    }

    /// The client that a mandate was issued to, while it lives.
    pub(super) fn mandate_holder(&self, mandate_id: &str) -> Option<String> {
        // The merchant that settles has checked the mandate's own times.
        self.mandates.get(UnixSeconds::MIN, mandate_id).map(|mandate| mandate.client_id.clone())
    }

    /// Revokes a family: its refresh tokens, its access tokens and its mandate. Says whether there was anything to revoke.
    pub(super) fn revoke_family(&mut self, now: UnixSeconds, id: FamilyId) -> Option<RevokedFamily> {
        let family = self.families.get_mut(now, &id)?;
        if family.revoked {
            return None;
        }
        family.revoked = true;
        let mut revoked = RevokedFamily {
            client_id: family.grant.client_id.clone(),
            subject: family.grant.subject.clone(),
            mandate_id: family.mandate_id.clone(),
            cascade: Cascade {
                refresh_tokens_revoked: u64::from(family.refresh.is_some_and(|(_, expires_at)| now < expires_at)),
                ..Cascade::default()
            },
        };
        for jti in core::mem::take(&mut family.access_tokens) {
            revoked.cascade.access_tokens_revoked += u64::from(self.access_tokens.remove(now, &jti).is_some());
        }
        if let Some(mandate) = revoked.mandate_id.as_ref().and_then(|id| self.mandates.get(now, id)) {
            self.status_list.revoke(mandate.status_index);
            revoked.cascade.mandates_revoked = u64::from(now < mandate.expires_at);
        }
        Some(revoked)
    }
}

/// Whose family was revoked.
pub(super) struct RevokedFamily {
    pub(super) client_id: String,
    pub(super) subject: super::grant::Subject,
    pub(super) mandate_id: Option<String>,
    pub(super) cascade: Cascade,
}

/// What was still good when it was revoked.
#[derive(Clone, Copy, Default, Serialize)]
pub(super) struct Cascade {
    pub(super) mandates_revoked: u64,
    pub(super) refresh_tokens_revoked: u64,
    pub(super) access_tokens_revoked: u64,
}

impl core::ops::AddAssign for Cascade {
    fn add_assign(&mut self, other: Self) {
        self.mandates_revoked += other.mandates_revoked;
        self.refresh_tokens_revoked += other.refresh_tokens_revoked;
        self.access_tokens_revoked += other.access_tokens_revoked;
    }
}

pub(super) const CAPACITY: usize = 100_000;
const MAX_PORTAL_SESSIONS: usize = 1000;
