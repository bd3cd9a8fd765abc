use core::fmt;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::sync::{Mutex, PoisonError};

use jose::{Thumbprint, UnixSeconds, sha256};

/// Remembers which proofs were used (RFC 9449 §11.1).
///
/// An implementation that several server processes share must be one store for all of them.
pub trait ReplayStore: Send + Sync {
    /// Records `key` until `until`, inclusive, unless it is there already. Looking and recording are one atomic step: of
    /// two callers with the same key, one succeeds.
    ///
    /// # Errors
    ///
    /// - [`ReplayError::Replayed`] if the key is there.
    /// - [`ReplayError::Full`], [`ReplayError::Unavailable`] if that cannot be determined or recorded: the proof must be refused.
    fn insert(&self, key: ReplayKey, now: UnixSeconds, until: UnixSeconds) -> Result<(), ReplayError>;
}

/// What identifies a proof: SHA-256 over the key's thumbprint and the `jti`, so that an entry has one size, whatever a
/// client writes into its `jti`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReplayKey([u8; 32]);

impl ReplayKey {
    pub(crate) fn new(jkt: &Thumbprint, jti: &str) -> Self {
        // The thumbprint has a fixed length, so no two pairs concatenate to the same text.
        let mut text = String::with_capacity(jkt.as_str().len() + jti.len());
        text.push_str(jkt.as_str());
        text.push_str(jti);
        Self(sha256(text.as_bytes()))
    }

    /// The 32 octets, for a store that keeps them elsewhere.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for ReplayKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReplayKey({})", jose::base64url::encode(&self.0))
    }
}

/// Why a proof could not be spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// It was spent before.
    #[error("the DPoP proof was used before")]
    Replayed,
    /// The store holds as many live proofs as it may; it forgets none of them to make room.
    #[error("the store of used DPoP proofs is full")]
    Full,
    /// The store could not be reached.
    #[error("the store of used DPoP proofs is not available")]
    Unavailable,
}

/// A [`ReplayStore`] in memory, for a server of one process. It holds a bounded number of entries, some 100 octets each,
/// and drops those that have run out whenever it is used.
pub struct MemoryReplayStore {
    capacity: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    seen: HashSet<ReplayKey>,
    by_expiry: BinaryHeap<Reverse<(UnixSeconds, ReplayKey)>>,
}

impl MemoryReplayStore {
    /// A store for at most `capacity` live entries: the rate of requests to be served times 120 s.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { capacity, state: Mutex::default() }
    }

    /// How many entries are held, those included that have run out since the last use.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().seen.len()
    }

    /// Whether no entry is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// No code under this lock can panic halfway through a change, so a poisoned lock guards a sound state.
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReplayStore for MemoryReplayStore {
    fn insert(&self, key: ReplayKey, now: UnixSeconds, until: UnixSeconds) -> Result<(), ReplayError> {
        let mut state = self.lock();
        while let Some(&Reverse((expiry, old))) = state.by_expiry.peek()
            && expiry < now
        {
            state.by_expiry.pop();
            state.seen.remove(&old);
        }
        if state.seen.contains(&key) {
            return Err(ReplayError::Replayed);
        }
        if state.seen.len() >= self.capacity {
            return Err(ReplayError::Full);
        }
        state.seen.insert(key);
        state.by_expiry.push(Reverse((until, key)));
        Ok(())
    }
}

impl fmt::Debug for MemoryReplayStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryReplayStore").field("capacity", &self.capacity).field("len", &self.len()).finish()
    }
}
