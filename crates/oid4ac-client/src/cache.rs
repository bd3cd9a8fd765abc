use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderMap;
use http::header::CACHE_CONTROL;

/// One fetched value, kept until it is too old.
pub(crate) struct Cached<T>(Mutex<Option<Entry<T>>>);

struct Entry<T> {
    value: Arc<T>,
    fetched_at: i64,
    fresh_until: i64,
}

impl<T> Default for Cached<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> Cached<T> {
    /// The value, if it is fresh. One fetched "in the future" is not: the clock was set back.
    pub(crate) fn fresh(&self, now: i64) -> Option<Arc<T>> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.as_ref().filter(|e| e.fetched_at <= now && now < e.fresh_until).map(|e| Arc::clone(&e.value))
    }

    pub(crate) fn keep(&self, value: T, now: i64, headers: &HeaderMap) -> Arc<T> {
        let value = Arc::new(value);
        let entry = Entry { value: Arc::clone(&value), fetched_at: now, fresh_until: now + lifetime(headers) };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(entry);
        value
    }
}

/// `min(300 s, max-age)`; 0 for `no-store` and `no-cache`.
fn lifetime(headers: &HeaderMap) -> i64 {
    let mut lifetime = MAX_AGE_SECONDS;
    for value in headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok()) {
        for directive in value.split(',').map(str::trim) {
            if directive.eq_ignore_ascii_case("no-store") || directive.eq_ignore_ascii_case("no-cache") {
                return 0;
            }
            if let Some((name, seconds)) = directive.split_once('=')
                && name.trim().eq_ignore_ascii_case("max-age")
            {
                lifetime = lifetime.min(seconds.trim().trim_matches('"').parse().unwrap_or(0));
            }
        }
    }
    lifetime
}

const MAX_AGE_SECONDS: i64 = 300;
