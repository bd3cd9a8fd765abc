//! The requests of the protocol.

use core::fmt;

/// Which request of the protocol something happened in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// Authorization server metadata (RFC 8414).
    Metadata,
    /// A JWK set.
    Jwks,
    /// Registration (RFC 7591).
    Register,
    /// A signed offer.
    Offer,
    /// A signed catalog.
    Catalog,
    /// The directory's list.
    Directory,
    /// A catalog as the directory hands it on.
    CatalogPreview,
    /// Pushed authorization request (RFC 9126).
    Par,
    /// The authorization endpoint.
    Authorize,
    /// Polling for a human's consent.
    Poll,
    /// The token endpoint.
    Token,
    /// Token revocation (RFC 7009).
    Revoke,
    /// The status list.
    StatusList,
    /// The merchant's verify-mandate endpoint.
    VerifyMandate,
    /// The list of the principal's agents.
    WalletList,
    /// The revocation of one of them.
    WalletRevoke,
    /// A request for the principal's data.
    Dsar,
    /// The principal's audit chain.
    Audit,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Metadata => "metadata",
            Self::Jwks => "jwks",
            Self::Register => "register",
            Self::Offer => "offer",
            Self::Catalog => "catalog",
            Self::Directory => "directory",
            Self::CatalogPreview => "catalog preview",
            Self::Par => "PAR",
            Self::Authorize => "authorize",
            Self::Poll => "consent",
            Self::Token => "token",
            Self::Revoke => "revoke",
            Self::StatusList => "status list",
            Self::VerifyMandate => "verify-mandate",
            Self::WalletList => "wallet list",
            Self::WalletRevoke => "wallet revoke",
            Self::Dsar => "DSAR",
            Self::Audit => "audit",
        })
    }
}
