use std::time::{SystemTime, UNIX_EPOCH};

use jose::{Clock, Rng, UnixSeconds};

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "it is a name for something, and has no state")]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    fn now(&self) -> UnixSeconds {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixSeconds::try_from(since.as_secs()).unwrap_or(UnixSeconds::MAX)
    }
}

/// The operating system's random number generator.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "it is a name for something, and has no state")]
pub struct SystemRng;

impl Rng for SystemRng {
    /// # Panics
    ///
    /// If the operating system has no randomness to give: going on with predictable octets would be worse.
    #[expect(clippy::expect_used, reason = "predictable keys and nonces are worse than the end of the process")]
    fn fill(&self, out: &mut [u8]) {
        getrandom::fill(out).expect("the operating system gives random octets");
    }
}
