//! HTTP message signatures and Content-Digest: sign and verify (RFC 9421, RFC 9530)
