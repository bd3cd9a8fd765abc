//! The authorization server's clock, as its newest answer showed it.

use std::sync::Mutex;
use std::time::Instant;

use jose::UnixSeconds;

/// Two clocks at one moment.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    /// Ours, when the request was sent.
    pub(super) ours: UnixSeconds,
    /// The server's, when it answered.
    pub(super) theirs: UnixSeconds,
    /// When that was, by a clock that cannot be set.
    pub(super) at: Instant,
}

impl Seen {
    /// Whether our clock was set since, or stood still with the machine.
    pub(super) fn is_out_of_date(&self, now: UnixSeconds) -> bool {
        let passed = i64::try_from(self.at.elapsed().as_secs()).unwrap_or(i64::MAX);
        now.saturating_sub(self.ours).abs_diff(passed) > CLOCK_WAS_SET_SECONDS
    }
}

/// What the newest answer of the authorization server said.
#[derive(Default)]
pub(crate) struct ServerClock(pub(super) Mutex<Option<Seen>>);

const CLOCK_WAS_SET_SECONDS: u64 = 60;
