//! JSON Object Signing for a closed set of algorithms: EdDSA over Ed25519 and ES256.
//!
//! The crate holds what every signed artefact of OID4AC shares: keys and their JWK form (RFC 7517, RFC 8037), the
//! thumbprint that names a key (RFC 7638), compact JWS (RFC 7515), base64url, and JSON that refuses duplicate members.
//! It does no I/O: the clock ([`Clock`]) and the source of random octets ([`Rng`]) are arguments.
//!
//! Two rules shape the types:
//!
//! - **The key decides the algorithm.** [`PublicKey`] and [`PrivateKey`] know their [`Alg`]; a token can only agree.
//! - **Verify to read.** [`UnverifiedJws`] shows the few header members that choosing a key needs. Header and payload
//!   become readable through [`UnverifiedJws::verify`], which checks the allow-list before it touches the signature.
//!
//! # Examples
//!
//! ```
//! use jose::{Alg, PrivateKey, Signer, TokenHeader, UnverifiedJws};
//!
//! # struct Counter(u8);
//! # impl jose::Rng for Counter {
//! #     fn fill(&self, out: &mut [u8]) { for (i, b) in out.iter_mut().enumerate() { *b = i as u8 ^ self.0 } }
//! # }
//! # let rng = Counter(7);
//! let key = PrivateKey::generate(Alg::EdDsa, &rng);
//! let token = jose::sign_compact(&key, &TokenHeader::new("example+jwt").kid("k1"), br#"{"iss":"me"}"#)?;
//!
//! let unverified = UnverifiedJws::parse(&token)?;
//! assert_eq!(unverified.unverified_kid(), Some("k1"));
//! let jws = unverified.verify(key.public_key(), &[Alg::EdDsa], &["example+jwt"])?;
//! assert_eq!(jws.payload(), br#"{"iss":"me"}"#);
//!
//! // ES256 alone is allowed here, so the token is refused before its signature is looked at.
//! assert!(UnverifiedJws::parse(&token)?.verify(key.public_key(), &[Alg::Es256], &["example+jwt"]).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Not covered
//!
//! JWE, the JSON serialisations of JWS, detached payloads and `b64: false` (RFC 7797), RSA, HMAC, ES384 and ES512,
//! Ed448, `x5c` chains, and key import from PEM.

mod alg;
pub mod base64url;
mod clock;
pub mod json;
mod jwk;
mod jws;
mod key;
mod point;
mod rng;
mod thumbprint;

// Crates whose types are part of this API.
pub use serde_json;

pub use alg::{Alg, UnknownAlg};
pub use clock::{Clock, UnixSeconds};
pub use jwk::{InvalidJwk, Jwk, JwkSet};
pub use jws::{EncodedHeader, JwsError, TokenHeader, Typ, UnverifiedJws, VerifiedJws, sign_compact};
pub use key::{BadSignature, PrivateKey, PublicKey, SignError, Signer};
pub use rng::{Rng, random_token};
pub use thumbprint::Thumbprint;

/// SHA-256 (FIPS 180-4) of `octets`.
#[must_use]
pub fn sha256(octets: &[u8]) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(octets).into()
}

/// Compares two octet strings in time that depends on their lengths alone.
#[must_use]
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    use subtle::ConstantTimeEq as _;
    a.ct_eq(b).into()
}

/// The examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
