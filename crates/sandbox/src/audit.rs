//! The audit chain: what happened, each entry bound to the one before it by a hash.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use jose::{Clock, TokenHeader, UnixSeconds, base64url, sha256, sign_compact};
use serde::Serialize;
use serde_json::Value;

use crate::clock::rfc3339;
use crate::keys::NamedKey;

/// The chain of one tenant. Entries are only ever appended.
pub(crate) struct AuditChain {
    tenant_id: &'static str,
    /// Signs heads and nothing else.
    head_key: NamedKey,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

struct State {
    next_seq: u64,
    head_hash: String,
    last_monotonic_ns: u64,
    /// The head that was last signed, and when.
    signed_head: Option<(UnixSeconds, String)>,
    entries: VecDeque<Entry>,
}

/// One entry, as it will be shown.
#[derive(Clone, Serialize)]
pub(crate) struct Entry {
    v: u32,
    pub(crate) seq: u64,
    prev_hash: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    entry_hash: String,
    pub(crate) ts: String,
    /// The same as a number, for comparing.
    #[serde(skip)]
    pub(crate) at: UnixSeconds,
    /// A decimal string: RFC 8785 has no integers beyond 2^53 − 1.
    ts_monotonic_ns: String,
    tenant_id: &'static str,
    pub(crate) actor: Actor,
    pub(crate) event: &'static str,
    pub(crate) payload: Value,
    retention_class: &'static str,
}

/// For whom, and by which agent.
#[derive(Clone, Serialize)]
pub(crate) struct Actor {
    pub(crate) principal_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) agent_client_id: Option<String>,
}

impl AuditChain {
    pub(crate) fn new(tenant_id: &'static str, head_key: NamedKey, clock: Arc<dyn Clock>) -> Self {
        let state = State {
            next_seq: 1,
            head_hash: base64url::encode(&[0; 32]),
            last_monotonic_ns: 0,
            signed_head: None,
            entries: VecDeque::new(),
        };
        Self { tenant_id, head_key, clock, state: Mutex::new(state) }
    }

    /// Appends an entry.
    pub(crate) fn append(&self, event: &'static str, actor: Actor, payload: Value) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        // Strictly rising even when the clock stands still or is set back.
        let now_ns = u64::try_from(now).unwrap_or(0).saturating_mul(1_000_000_000);
        state.last_monotonic_ns = now_ns.max(state.last_monotonic_ns + 1);
        let mut entry = Entry {
            v: 1,
            seq: state.next_seq,
            prev_hash: state.head_hash.clone(),
            entry_hash: String::new(),
            ts: rfc3339(now),
            at: now,
            ts_monotonic_ns: state.last_monotonic_ns.to_string(),
            tenant_id: self.tenant_id,
            actor,
            event,
            payload,
            retention_class: if event.starts_with("oid4ac.privacy.") { "privacy" } else { "financial" },
        };
        entry.entry_hash = entry.hash();
        state.next_seq += 1;
        state.head_hash.clone_from(&entry.entry_hash);
        if state.entries.len() == MAX_ENTRIES {
            state.entries.pop_front();
        }
        state.entries.push_back(entry);
    }

    /// The entries that are still kept, newest first.
    pub(crate) fn newest_first(&self) -> Vec<Entry> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).entries.iter().rev().cloned().collect()
    }

    /// The newest `limit` of those entries that are wanted, newest first; and whether there are more.
    pub(crate) fn select(&self, limit: usize, wanted: impl Fn(&Entry) -> bool) -> (Vec<Entry>, bool) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut wanted = state.entries.iter().rev().filter(|entry| wanted(entry));
        let page = wanted.by_ref().take(limit).cloned().collect();
        (page, wanted.next().is_some())
    }

    /// A signed statement of where the chain ends, signed again at most once an hour, on request. `None` while the chain is
    /// empty.
    pub(crate) fn signed_head(&self) -> Option<String> {
        #[derive(Serialize)]
        struct Head<'a> {
            v: u32,
            tenant_id: &'a str,
            head_seq: u64,
            head_entry_hash: &'a str,
            signed_at: String,
            signer_kid: &'a str,
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        if let Some((at, head)) = &state.signed_head
            && (0..HEAD_SECONDS).contains(&(now - at))
        {
            return Some(head.clone());
        }
        let newest = state.entries.back()?;
        let NamedKey { key, kid } = &self.head_key;
        let head = Head {
            v: 1,
            tenant_id: self.tenant_id,
            head_seq: newest.seq,
            head_entry_hash: &newest.entry_hash,
            signed_at: rfc3339(now),
            signer_kid: kid,
        };
        let payload = serde_json::to_vec(&head).ok()?;
        let head = sign_compact(key, &TokenHeader::new("oid4ac-audit-head+jwt").kid(kid), &payload).ok()?;
        state.signed_head = Some((now, head.clone()));
        Some(head)
    }
}

impl Entry {
    pub(crate) fn entry_hash(&self) -> &str {
        &self.entry_hash
    }

    /// base64url(SHA-256(JCS(entry without `entry_hash`))).
    fn hash(&self) -> String {
        let bare = Self { entry_hash: String::new(), ..self.clone() };
        jcs_sha256(&bare)
    }
}

/// base64url(SHA-256(JCS(`value`))) (RFC 8785).
pub(crate) fn jcs_sha256(value: &impl Serialize) -> String {
    #[expect(
        clippy::expect_used,
        reason = "all that is hashed here has string keys and no floats: it has a canonical form"
    )]
    let canonical = serde_json_canonicalizer::to_vec(value).expect("a canonical form");
    base64url::encode(&sha256(&canonical))
}

const MAX_ENTRIES: usize = 100_000;
const HEAD_SECONDS: UnixSeconds = 3600;
