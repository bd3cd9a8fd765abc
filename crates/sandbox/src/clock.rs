//! The system's clock and randomness, the defaults of [`SandboxConfig`](crate::SandboxConfig).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jose::{Clock, Rng, UnixSeconds};

/// The system's clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixSeconds {
        #[expect(clippy::disallowed_methods, reason = "the one place where the sandbox reads the system's clock")]
        let now = std::time::SystemTime::now();
        now.duration_since(std::time::UNIX_EPOCH)
            .ok()
            .and_then(|elapsed| UnixSeconds::try_from(elapsed.as_secs()).ok())
            .unwrap_or(0)
    }
}

/// One party's clock: the shared one, unless a fault sets it wrong.
pub(crate) struct PartyClock {
    common: Arc<dyn Clock>,
    ahead_seconds: AtomicI64,
}

impl PartyClock {
    pub(crate) fn new(common: Arc<dyn Clock>) -> Self {
        Self { common, ahead_seconds: AtomicI64::new(0) }
    }

    pub(crate) fn now(&self) -> UnixSeconds {
        self.common.now().saturating_add(self.ahead_seconds.load(Ordering::Relaxed))
    }

    pub(crate) fn set_ahead(&self, seconds: i64) {
        self.ahead_seconds.store(seconds, Ordering::Relaxed);
    }
}

/// The operating system's generator.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SystemRng;

impl Rng for SystemRng {
    fn fill(&self, out: &mut [u8]) {
        if getrandom::fill(out).is_err() {
            // `Rng` promises never to return predictable octets.
            std::process::abort();
        }
    }
}

/// RFC 3339 in UTC with whole seconds, as every `_at` member has it.
pub(crate) fn rfc3339(seconds: UnixSeconds) -> String {
    jiff::Timestamp::from_second(seconds).unwrap_or_default().to_string()
}

/// `N` random octets in lower-case hexadecimal: the tail of identifiers such as `mandate_7b2c4d6e8f0a1b3c`.
pub(crate) fn random_hex<const N: usize>(rng: &dyn Rng) -> String {
    use core::fmt::Write as _;
    let mut octets = [0; N];
    rng.fill(&mut octets);
    octets.iter().fold(String::with_capacity(2 * N), |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    })
}
