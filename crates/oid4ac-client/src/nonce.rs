use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use dpop::Nonce;

use crate::Origin;

/// In which role an origin asks for DPoP nonces: one origin can be both, and keeps them apart (RFC 9449 §8, §9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    AuthorizationServer,
    ResourceServer,
}

/// The newest DPoP nonce of each origin and role.
#[derive(Default)]
pub(crate) struct NonceCache(Mutex<HashMap<(Origin, Role), Nonce>>);

impl NonceCache {
    pub(crate) fn newest(&self, origin: &Origin, role: Role) -> Option<Nonce> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&(origin.clone(), role)).cloned()
    }

    pub(crate) fn keep(&self, origin: &Origin, role: Role, nonce: Nonce) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // An agent deals with few servers; a model that is led through thousands must not fill the memory.
        if known.len() >= MAX_ORIGINS {
            known.clear();
        }
        known.insert((origin.clone(), role), nonce);
    }
}

const MAX_ORIGINS: usize = 256;
