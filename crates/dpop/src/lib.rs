//! DPoP proofs: mint and verify (RFC 9449)
