//! The issuer that a merchant trusts: its metadata and keys, fetched over HTTP and cached (RFC 8414, RFC 7517).

use std::sync::{Mutex, PoisonError};

use http::header::CACHE_CONTROL;
use http::{HeaderMap, StatusCode};
use jose::{Alg, JwkSet, PublicKey, UnixSeconds, json};

use crate::claims;
use crate::loopback;

/// The one issuer whose mandates and tokens this merchant takes.
pub(super) struct Issuer {
    origin: String,
    keys: Mutex<Option<CachedKeys>>,
}

struct CachedKeys {
    keys: JwkSet,
    good_until: UnixSeconds,
}

/// Why there is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoKey {
    /// The issuer has no such key, however fresh the set.
    Unknown,
    /// The issuer could not be asked.
    Unreachable,
}

impl Issuer {
    pub(super) fn new(origin: &str) -> Self {
        Self { origin: origin.to_owned(), keys: Mutex::new(None) }
    }

    /// The issuer identifier.
    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    /// The key that signs tokens under `kid` with `alg`. An unknown `kid` fetches the set once more.
    pub(super) async fn key(&self, now: UnixSeconds, kid: Option<&str>, alg: Alg) -> Result<PublicKey, NoKey> {
        if let Some(found) = self.cached(now, kid, alg) {
            return Ok(found);
        }
        let fresh = self.fetch(now).await.ok_or(NoKey::Unreachable)?;
        let found = fresh.keys.find(kid, alg).map(|jwk| jwk.key().clone());
        *self.keys.lock().unwrap_or_else(PoisonError::into_inner) = Some(fresh);
        found.ok_or(NoKey::Unknown)
    }

    fn cached(&self, now: UnixSeconds, kid: Option<&str>, alg: Alg) -> Option<PublicKey> {
        let cached = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let cached = cached.as_ref().filter(|cached| now < cached.good_until)?;
        cached.keys.find(kid, alg).map(|jwk| jwk.key().clone())
    }

    /// Metadata, then the set that it points to.
    async fn fetch(&self, now: UnixSeconds) -> Option<CachedKeys> {
        let metadata = loopback::get(&self.origin, "/.well-known/oauth-authorization-server", None).await.ok()?;
        if metadata.status != StatusCode::OK {
            return None;
        }
        let members = json::parse_object(&metadata.body).ok()?;
        // RFC 8414 §3.3: "The issuer value returned MUST be identical".
        if claims::text(&members, "issuer") != Some(&self.origin) {
            return None;
        }
        let path = claims::text(&members, "jwks_uri")?.strip_prefix(&self.origin)?;
        let answer = loopback::get(&self.origin, path, None).await.ok()?;
        if answer.status != StatusCode::OK {
            return None;
        }
        let good_until = now + max_age(&metadata.headers).min(max_age(&answer.headers)).min(MAX_CACHE_SECONDS);
        let keys = JwkSet::parse(&answer.body).ok()?;
        // A key marked for one use is for nothing else.
        let keys = keys.keys().iter().filter(|jwk| jwk.member("oid4ac_use").is_none()).cloned().collect();
        Some(CachedKeys { keys: JwkSet::new(keys), good_until })
    }
}

/// `max-age` (RFC 9111 §5.2.2.1); without one, the longest that is allowed here.
fn max_age(headers: &HeaderMap) -> UnixSeconds {
    headers
        .get_all(CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .find_map(|directive| directive.trim().strip_prefix("max-age=")?.parse().ok())
        .unwrap_or(MAX_CACHE_SECONDS)
}

const MAX_CACHE_SECONDS: UnixSeconds = 300;
