//! What is known where no mandate was issued.

/// Why there is no mandate, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotIssued {
    /// The authorization server says that the person whom it asked declined.
    ByPerson,
    /// The answer came through the person's browser: they were at the server's pages, and either they or the server declined.
    AtBrowser,
    /// The authorization server declined by itself, and no person was shown anything.
    ByServer,
    /// Access was granted, and no mandate came with it.
    WithoutMandate,
}
