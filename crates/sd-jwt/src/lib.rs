//! SD-JWT and SD-JWT VC: issue, present and verify (RFC 9901)
