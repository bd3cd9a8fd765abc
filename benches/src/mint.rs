use core::hint::black_box;
use std::sync::Arc;

use dpop::{Htu, Minter, Nonce, ProofRequest};
use ed25519_dalek::{Signer as _, SigningKey};

use crate::{Job, NOW, OsRng, key};

/// Mints a DPoP proof with a nonce. Floor: one signature over as many octets.
pub struct Mint {
    minter: Minter,
    htu: Htu,
    nonce: Nonce,
    raw: SigningKey,
    signing_input: Vec<u8>,
}

impl Mint {
    /// Prepares the key, as a client does once.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "no value is the usual one")]
    pub fn new() -> Self {
        let (key, raw) = key(1);
        let htu = Htu::parse("https://as.example/oauth/token").expect("a URI");
        let nonce = Nonce::parse("eyJ7S_zG.eyJH0-Z.HX4w-7v").expect("a nonce");
        let mut job = Self { minter: Minter::new(Arc::new(key)), htu, nonce, raw, signing_input: Vec::new() };
        let proof = job.mint();
        let end = proof.expose().rfind('.').expect("a JWS");
        job.signing_input = proof.expose().as_bytes()[..end].to_vec();
        job
    }

    fn mint(&self) -> dpop::Proof {
        let request = ProofRequest::new("POST", &self.htu, NOW).nonce(&self.nonce);
        self.minter.mint(&request, &OsRng).expect("a key in memory signs")
    }
}

impl Job for Mint {
    fn floor(&self) {
        black_box(self.raw.sign(black_box(&self.signing_input)));
    }

    fn ours(&self) {
        black_box(self.mint());
    }
}
