//! DPoP proofs (RFC 9449): minted by a client, verified by a server.
//!
//! A proof is a small JWS that says "the holder of this key sends this method to this URI, now". Octets and values go in,
//! values come out: nothing here sends, retries, reads a clock or makes random numbers by itself.
//!
//! - A client holds one [`Minter`] per key and describes each request with a [`ProofRequest`].
//! - A server describes what it received with a [`ProofCheck`] and gets a [`VerifiedProof`], which it then spends in a
//!   [`ReplayStore`], so that the same proof works once.
//!
//! # Examples
//!
//! ```
//! use std::sync::Arc;
//! use dpop::{Htu, MemoryReplayStore, Minter, ProofCheck, ProofRequest, ReplayError, VerifyError};
//! use jose::{Alg, PrivateKey};
//!
//! # struct Counter(std::sync::atomic::AtomicU8);
//! # impl jose::Rng for Counter {
//! #     fn fill(&self, out: &mut [u8]) {
//! #         for b in out { *b = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed) }
//! #     }
//! # }
//! # let rng = Counter(Default::default());
//! # let now = 1_700_000_000;
//! // The client.
//! let minter = Minter::new(Arc::new(PrivateKey::generate(Alg::EdDsa, &rng)));
//! let htu = Htu::parse("https://as.example/oauth/token")?;
//! let proof = minter.mint(&ProofRequest::new("POST", &htu, now), &rng)?;
//!
//! // The server.
//! let replays = MemoryReplayStore::new(100_000);
//! let verified = ProofCheck::new("POST", &htu, now).verify(proof.expose())?;
//! verified.spend(&replays, now)?;
//! assert_eq!(verified.jkt(), minter.jkt());
//!
//! // The same proof again, and the same proof at another place.
//! assert_eq!(verified.spend(&replays, now), Err(ReplayError::Replayed));
//! let elsewhere = Htu::parse("https://as.example/oauth/revoke")?;
//! assert_eq!(ProofCheck::new("POST", &elsewhere, now).verify(proof.expose()), Err(VerifyError::HtuMismatch));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Not covered
//!
//! - The HTTP side: that a request has exactly one `DPoP` field (RFC 9449 §4.3 check 1), sending `DPoP-Nonce`, the one
//!   retry after `use_dpop_nonce` (§8), and the `Authorization: DPoP` scheme (§7.1).
//! - Deciding what nonce to ask for, and remembering the newest one per server (§8.2, §9).
//! - The authorization code's binding `dpop_jkt` (§10); it is compared with [`VerifiedProof::jkt`].
//! - The percent-encoding and dot-segment normalisation of RFC 3986 §6.2.2, which §4.3 only suggests: paths are compared
//!   octet for octet, see [`Htu`].

mod ath;
mod htu;
mod mint;
mod nonce;
mod replay;
mod verify;

// Crates whose types are part of this API.
pub use jose;

pub use ath::Ath;
pub use htu::{Htu, InvalidHtu};
pub use mint::{Minter, Proof, ProofRequest};
pub use nonce::{InvalidNonce, Nonce};
pub use replay::{MemoryReplayStore, ReplayError, ReplayKey, ReplayStore};
pub use verify::{ProofCheck, VerifiedProof, VerifyError};

/// The `typ` of every proof (RFC 9449 §4.2).
const TYP: &str = "dpop+jwt";

/// The examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
