//! What the authorization server remembers. Secrets are kept as hashes; everything a client can grow has a bound.

use std::collections::HashMap;
use std::sync::Arc;

use jose::{Jwk, PublicKey, UnixSeconds, sha256};

use super::grant::{Code, Family, FamilyId, Pushed};
use super::status_list::StatusList;
use crate::expiring::Expiring;
use crate::nonce::NonceRing;
use crate::scope::Scope;

/// A registered client. It never changes: a new registration is a new client.
pub(super) struct Client {
    pub(super) client_id: String,
    pub(super) principal_id: String,
    pub(super) redirect_uris: Vec<String>,
    pub(super) scope: Scope,
    pub(super) may_refresh: bool,
    pub(super) may_send_details: bool,
    pub(super) assertion_key: Jwk,
    pub(super) dpop_key: PublicKey,
}

/// SHA-256 of a setup token, request URI, code or refresh token.
pub(super) type SecretHash = [u8; 32];

pub(super) fn secret_hash(secret: &str) -> SecretHash {
    sha256(secret.as_bytes())
}

/// An access token that has not been revoked.
pub(super) struct LiveAccessToken {
    pub(super) client_id: String,
}

/// A mandate that may still be presented.
pub(super) struct LiveMandate {
    pub(super) client_id: String,
    pub(super) status_index: usize,
}

pub(super) struct State {
    /// Setup token → whether it was used.
    pub(super) setup_tokens: Expiring<SecretHash, bool>,
    pub(super) clients: HashMap<String, Arc<Client>>,
    pub(super) assertions: Expiring<(String, String), ()>,
    pub(super) nonces: NonceRing,
    pub(super) pushed: Expiring<SecretHash, Pushed>,
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
            clients: HashMap::new(),
            assertions: Expiring::new(CAPACITY),
            nonces: NonceRing::default(),
            pushed: Expiring::new(CAPACITY),
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

    /// The client that a mandate was issued to, while it lives.
    pub(super) fn mandate_holder(&self, mandate_id: &str) -> Option<String> {
        // Whoever settles has checked the mandate's own times.
        self.mandates.get(UnixSeconds::MIN, mandate_id).map(|mandate| mandate.client_id.clone())
    }

    /// Revokes a family: its refresh tokens, its access tokens and its mandate. Says whether there was anything to revoke.
    pub(super) fn revoke_family(&mut self, now: UnixSeconds, id: FamilyId) -> Option<RevokedFamily> {
        let family = self.families.get_mut(now, &id)?;
        if family.revoked {
            return None;
        }
        family.revoked = true;
        let revoked = RevokedFamily {
            client_id: family.grant.client_id.clone(),
            subject: family.grant.subject.clone(),
            mandate_id: family.mandate_id.clone(),
        };
        for jti in core::mem::take(&mut family.access_tokens) {
            self.access_tokens.remove(now, &jti);
        }
        if let Some(mandate) = revoked.mandate_id.as_ref().and_then(|id| self.mandates.get(now, id)) {
            self.status_list.revoke(mandate.status_index);
        }
        Some(revoked)
    }
}

/// Whose family was revoked.
pub(super) struct RevokedFamily {
    pub(super) client_id: String,
    pub(super) subject: super::grant::Subject,
    pub(super) mandate_id: Option<String>,
}

pub(super) const CAPACITY: usize = 100_000;
