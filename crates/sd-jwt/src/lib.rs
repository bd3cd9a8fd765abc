//! SD-JWT and SD-JWT VC: issue, present and verify (RFC 9901, draft-ietf-oauth-sd-jwt-vc).
//!
//! An SD-JWT is a JWT in which an issuer put digests in place of some claims, and the disclosures that those digests are
//! of. Its holder shows a verifier the disclosures of its choice, and may sign for them with a key that the issuer named.
//! The crate does all three parts and no I/O: time ([`jose::UnixSeconds`]), keys and random octets ([`jose::Rng`]) are
//! arguments.
//!
//! - The issuer: [`Issuance`].
//! - The holder: [`HeldSdJwt`], [`Selection`], [`KeyBinder`].
//! - The verifier: [`UnverifiedSdJwt`] → [`UnboundPresentation`] → [`VerifiedPresentation`], or, where no key binding is
//!   wanted, [`UnverifiedSdJwt`] → [`VerifiedSdJwt`]. Claims can be read from the last two, and from an
//!   [`UnboundPresentation`] under a name that says what is still open.
//!
//! # Examples
//!
//! ```
//! use jose::{Alg, PrivateKey, Signer, TokenHeader};
//! use sd_jwt::{HeldSdJwt, Issuance, KeyBinder, KeyBindingPolicy, Policy, UnverifiedSdJwt, Validity};
//!
//! # struct Counter(std::sync::atomic::AtomicU8);
//! # impl jose::Rng for Counter {
//! #     fn fill(&self, out: &mut [u8]) {
//! #         for octet in out { *octet = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed) }
//! #     }
//! # }
//! # let rng = Counter(Default::default());
//! # let now = 1_700_000_000;
//! let issuer = PrivateKey::generate(Alg::EdDsa, &rng);
//! let holder = PrivateKey::generate(Alg::EdDsa, &rng);
//!
//! let claims = serde_json::json!({
//!     "iss": "https://issuer.example",
//!     "exp": now + 900,
//!     "cnf": { "jwk": holder.public_key().to_jwk() },
//!     "given_name": "Erika",
//!     "email": "erika@example.org",
//! });
//! let serde_json::Value::Object(claims) = claims else { unreachable!() };
//! let token = Issuance::new(claims)
//!     .disclosable("given_name")
//!     .disclosable("email")
//!     .sign(&issuer, &TokenHeader::new("example+sd-jwt"), &rng)?;
//!
//! let held = HeldSdJwt::parse(token)?;
//! let presentation =
//!     KeyBinder::new(&holder).bind(held.select(&["email".into()])?, "https://verifier.example", "n-0S6", now)?;
//!
//! let policy = Policy::new(&[Alg::EdDsa], &["example+sd-jwt"], Validity::at(now));
//! let binding = KeyBindingPolicy::new(&[Alg::EdDsa], "https://verifier.example", "n-0S6", now);
//! let verified = UnverifiedSdJwt::parse(&presentation)?
//!     .verify_presentation(issuer.public_key(), &policy)?
//!     .verify_key_binding(&binding)?;
//! assert_eq!(verified.claims()["email"], "erika@example.org");
//! assert_eq!(verified.claims().get("given_name"), None);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Nothing can be read before the issuer's signature is checked:
//!
//! ```compile_fail,E0599
//! # let token = "";
//! let unverified = sd_jwt::UnverifiedSdJwt::parse(token).unwrap();
//! unverified.claims();
//! ```
//!
//! # Not covered
//!
//! - The JWS JSON serialisations (RFC 9901 §8, optional there).
//! - Digests by another algorithm than SHA-256, which is the one that every implementation has to have.
//! - Other confirmation methods in `cnf` than `jwk` and `jkt`; the caller may bring the key.
//! - SD-JWT VC type metadata, and fetching an issuer's keys.

mod compact;
mod disclosure;
mod error;
mod holder;
mod issue;
mod key_binding;
mod path;
mod policy;
mod process;
mod verified;

// Crates whose types are part of this API.
pub use jose;
pub use serde_json;

pub use compact::{UnverifiedSdJwt, complete};
pub use error::{IssueError, KeyBindingError, VerifyError};
pub use holder::{HeldSdJwt, KeyBinder, NotDisclosable, Selection};
pub use issue::Issuance;
pub use key_binding::{Expected, KeyBindingPolicy, VerifiedKeyBinding};
pub use path::{ClaimPath, PathSegment};
pub use policy::{Policy, VC_TYPES, Validity};
pub use verified::{UnboundPresentation, VerifiedPresentation, VerifiedSdJwt};

/// The longest SD-JWT that is read, in octets. The issuer-signed JWT and the KB-JWT alone may each have 256 KiB.
pub const MAX_OCTETS: usize = 1024 * 1024;

/// The most disclosures that are read in one SD-JWT.
pub const MAX_DISCLOSURES: usize = 1024;

/// The deepest nesting of the processed claims: the payload itself is level 0.
pub const MAX_DEPTH: usize = 64;

/// The examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
