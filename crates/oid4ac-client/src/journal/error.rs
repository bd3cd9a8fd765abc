//! Why a journal failed.

/// The journal could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("the payment's journal failed: {what}")]
pub struct JournalError {
    what: &'static str,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl JournalError {
    /// An error that says `what` could not be done.
    pub fn new(what: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { what, source: source.into() }
    }
}
