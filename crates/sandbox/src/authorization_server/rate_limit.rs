//! How often a principal may ask.

use std::collections::{HashMap, VecDeque};

use jose::UnixSeconds;

use crate::error::Refusal;

/// So many calls of one endpoint within so many seconds, for each principal.
pub(super) struct Limit {
    pub(super) endpoint: &'static str,
    pub(super) calls: usize,
    pub(super) seconds: UnixSeconds,
    pub(super) refusal: &'static str,
}

/// When which principal called which limited endpoint. There are only so many principals.
#[derive(Default)]
pub(super) struct Calls(HashMap<(&'static str, String), VecDeque<UnixSeconds>>);

impl Calls {
    /// Counts a call, or refuses it: the window slides, so at no moment are there more calls behind it than the limit.
    pub(super) fn take(&mut self, now: UnixSeconds, limit: &Limit, principal_id: &str) -> Result<(), Refusal> {
        let calls = self.0.entry((limit.endpoint, principal_id.to_owned())).or_default();
        while calls.front().is_some_and(|at| now - at >= limit.seconds) {
            calls.pop_front();
        }
        if let Some(oldest) = calls.front().filter(|_| calls.len() >= limit.calls) {
            let wait = u32::try_from(oldest + limit.seconds - now).unwrap_or(1);
            let status = http::StatusCode::TOO_MANY_REQUESTS;
            return Err(Refusal::new(status, "rate_limited", limit.refusal).retry_after(wait));
        }
        calls.push_back(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_slides_and_each_principal_has_their_own() {
        let limit = Limit { endpoint: "e", calls: 2, seconds: 60, refusal: "" };
        let mut calls = Calls::default();
        assert!(calls.take(0, &limit, "a").is_ok());
        assert!(calls.take(59, &limit, "a").is_ok());
        assert!(calls.take(59, &limit, "a").is_err());
        assert!(calls.take(59, &limit, "b").is_ok());
        assert!(calls.take(60, &limit, "a").is_ok(), "the first has left the window");
        assert!(calls.take(60, &limit, "a").is_err());
    }
}
