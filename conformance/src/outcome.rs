//! The result of a check, or of one of its steps.

/// What was seen, if it was what was expected; otherwise, why not.
pub(crate) type Outcome = Result<String, Stop>;

/// Why a check did not pass. No text holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The peer did something else than expected: what was seen.
    Failed(String),
    /// The check did not get as far as its own question: a step before it went wrong.
    Broken(String),
    /// The target cannot be asked.
    Skipped(String),
}

/// What an expectation saw, or that it was something else.
pub(crate) fn expect(holds: bool, seen: impl Into<String>) -> Outcome {
    let seen = seen.into();
    if holds { Ok(seen) } else { Err(Stop::Failed(seen)) }
}

/// A failed expectation.
pub(crate) fn failed<T>(seen: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Failed(seen.into()))
}

/// A step before the check's own question went wrong.
pub(crate) fn broken<T>(step: &str, seen: impl core::fmt::Display) -> Result<T, Stop> {
    Err(Stop::Broken(format!("{step}: {seen}")))
}

/// The target cannot be asked this.
pub(crate) fn skipped<T>(reason: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Skipped(reason.into()))
}
