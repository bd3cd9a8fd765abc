//! HTTP Message Signatures (RFC 9421) and `Content-Digest` (RFC 9530), signing and verifying, on the keys of [`jose`].
//!
//! The crate does no I/O and keeps no state. A [`Message`] borrows what a client or server has anyway; a
//! [`SignatureBuilder`] makes the two header values; a [`Verifier`] holds what a caller asks of a signature and gives back
//! a [`Verified`] that says what was covered.
//!
//! - **The key decides the algorithm.** The `alg` parameter can only agree with it. `hmac-sha256` and the RSA algorithms
//!   are refused by name before any key is looked up.
//! - **The base is rebuilt, never believed.** Components and parameters keep the order received; everything else comes
//!   from the message.
//! - **One unusable label spoils nothing.** Every label has its own [`LabelError`]; [`VerifyError::unknown_keyids`] tells
//!   which keys would be worth fetching again.
//! - **The body is hashed once, in place**, after the signature has been found good.
//!
//! `examples/sign_response.rs` and `examples/verify_response.rs` show both sides.
//!
//! # Not covered
//!
//! `Accept-Signature` (RFC 9421 §5), signatures that stand in trailers (components in trailers are covered), the
//! algorithms with RSA, HMAC and P-384, JWS algorithms (§3.3.7), multipart bodies, `Repr-Digest`, `Want-*-Digest`, and the
//! deprecated digests of RFC 9530 §5. Detecting replay is up to the caller: a [`Verified`] has the `nonce`.

mod algorithm;
mod component;
mod digest;
mod field;
mod labels;
mod message;
mod params;
mod refusal;
mod resolve;
mod sign;
mod unresolved;
mod uri;
mod verify;

// Crates whose types are part of this API.
pub use http;
pub use jose;

pub use algorithm::alg_name;
pub use component::{Component, InvalidComponent};
pub use digest::{ContentDigest, DigestAlg, DigestError};
pub use message::{FieldType, Fields, InvalidMessage, Message};
pub use params::SignatureParams;
pub use refusal::{LabelError, Refusal, VerifyError};
pub use resolve::UnresolvedComponent;
pub use sign::{SignError, SignatureBuilder, Signed};
pub use unresolved::Unresolved;
pub use verify::{Verified, Verifier};

/// The examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
