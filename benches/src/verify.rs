use core::hint::black_box;
use std::collections::BTreeMap;

use ed25519_dalek::{Signature, VerifyingKey};
use jose::{Alg, PublicKey, Signer as _};
use sd_jwt::{KeyBindingPolicy, Policy, UnverifiedSdJwt, Validity};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::present::{AUD, ISSUER, NONCE, Present};
use crate::{Job, NOW, decode, key};

/// Verifies an SD-JWT of 25 claims, five of them disclosed, and its KB-JWT. The issuer's key is known, the holder's comes
/// along. Floor: both signatures, every hash, one parse of the payload.
pub struct VerifyPresentation {
    presentation: String,
    issuer: PublicKey,
    raw_issuer: VerifyingKey,
    raw_holder: VerifyingKey,
}

impl VerifyPresentation {
    /// Prepares a presentation.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "no value is the usual one")]
    pub fn new() -> Self {
        let (issuer, raw_issuer) = key(ISSUER);
        let present = Present::new();
        Self {
            presentation: present.everything(),
            issuer: issuer.public_key().clone(),
            raw_issuer: raw_issuer.verifying_key(),
            raw_holder: present.raw_public_key(),
        }
    }
}

impl Job for VerifyPresentation {
    fn floor(&self) {
        let (presented, key_binding) = self.presentation.split_at(self.presentation.rfind('~').expect("a tilde") + 1);
        let mut parts = presented[..presented.len() - 1].split('~');
        let issued = parts.next().expect("a JWT");
        parts.for_each(|disclosure| _ = black_box(Sha256::digest(disclosure)));
        black_box(Sha256::digest(presented));
        for (jws, key) in [(issued, &self.raw_issuer), (key_binding, &self.raw_holder)] {
            let (signing_input, signature) = jws.rsplit_once('.').expect("a JWS");
            let signature = Signature::from_slice(&decode(signature)).expect("64 octets");
            key.verify_strict(signing_input.as_bytes(), &signature).expect("it verifies");
        }
        let payload = decode(issued.split('.').nth(1).expect("a payload"));
        black_box(serde_json::from_slice::<BTreeMap<&str, &RawValue>>(&payload).expect("an object"));
    }

    fn ours(&self) {
        let policy = Policy::new(&[Alg::EdDsa], &["dc+sd-jwt"], Validity::at(NOW));
        let binding = KeyBindingPolicy::new(&[Alg::EdDsa], AUD, NONCE, NOW);
        let verified = UnverifiedSdJwt::parse(&self.presentation)
            .and_then(|unverified| unverified.verify_presentation(&self.issuer, &policy))
            .expect("it verifies")
            .verify_key_binding(&binding)
            .expect("it verifies");
        black_box(verified);
    }
}
