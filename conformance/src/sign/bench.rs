//! What every kind of artefact is made with.

use jose::{Alg, PrivateKey, UnixSeconds};
use oid4ac_client::SystemRng;

/// The time of signing, and where keys come from.
pub(super) struct Bench {
    pub(super) now: UnixSeconds,
    pub(super) rng: SystemRng,
}

impl Bench {
    pub(super) fn key(&self, alg: Alg) -> PrivateKey {
        PrivateKey::generate(alg, &self.rng)
    }
}

pub(super) const ALGS: [Alg; 2] = [Alg::EdDsa, Alg::Es256];
