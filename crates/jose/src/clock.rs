/// Seconds since 1970-01-01T00:00:00Z, leap seconds not counted (the NumericDate of RFC 7519 §2, whole seconds).
pub type UnixSeconds = i64;

/// Where the time comes from. Protocol code never reads the system's clock itself, so a test can hold it still.
pub trait Clock: Send + Sync {
    /// The time now.
    fn now(&self) -> UnixSeconds;
}

/// A closure is a clock: `&|| 1_700_000_000`.
impl<F: Fn() -> UnixSeconds + Send + Sync> Clock for F {
    fn now(&self) -> UnixSeconds {
        self()
    }
}
