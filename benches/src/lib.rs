//! The jobs that `benches/` times: each one as the crates do it, and its floor.
//!
//! A floor is what no implementation can leave out: the raw signatures, the hashing, one parse that borrows. It is
//! written on `ed25519-dalek`, `sha2` and `serde_json` directly, never on our crates. How near a job comes to its floor
//! is a property of the code; how fast either is, one of the machine.
//!
//! `cargo bench -p benches` runs everything; `cargo bench -p benches --bench ratios` prints how far each job is from its
//! floor, both timed in turns.
#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a job that cannot be set up, or fails, is not to be timed"
)]

mod audit;
mod catalog;
mod mint;
mod present;
mod verify;

pub use audit::AuditChain;
pub use catalog::Catalog;
pub use mint::Mint;
pub use present::Present;
pub use verify::VerifyPresentation;

use jose::{Alg, PrivateKey, Rng, UnixSeconds};

/// Something to do, in two ways. Results go through [`core::hint::black_box`], so that neither way is optimised out.
pub trait Job {
    /// What no implementation can leave out.
    fn floor(&self);

    /// What the crates do.
    fn ours(&self);
}

/// The operating system's generator, as in production.
struct OsRng;

impl Rng for OsRng {
    fn fill(&self, out: &mut [u8]) {
        getrandom::fill(out).expect("the system's generator works");
    }
}

/// One Ed25519 key, in our form and in the library's.
fn key(seed: u8) -> (PrivateKey, ed25519_dalek::SigningKey) {
    struct Constant(u8);
    impl Rng for Constant {
        fn fill(&self, out: &mut [u8]) {
            out.fill(self.0);
        }
    }
    (PrivateKey::generate(Alg::EdDsa, &Constant(seed)), ed25519_dalek::SigningKey::from_bytes(&[seed; 32]))
}

/// What [`base64::engine::general_purpose::URL_SAFE_NO_PAD`] makes of a token's part.
fn decode(part: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).expect("made by us")
}

/// The reverse of [`decode`].
fn encode(octets: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(octets)
}

const NOW: UnixSeconds = 1_700_000_000;
