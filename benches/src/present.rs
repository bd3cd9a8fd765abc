use core::hint::black_box;

use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use jose::{PrivateKey, Signer, TokenHeader};
use sd_jwt::{ClaimPath, HeldSdJwt, Issuance, KeyBinder};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::{Job, NOW, OsRng, key};

/// Presents two of an SD-JWT's five disclosures with a KB-JWT. Floor: one signature, and the hash over what is presented.
pub struct Present {
    held: HeldSdJwt,
    selected: [ClaimPath; 2],
    binder: KeyBinder<'static>,
    raw: SigningKey,
    presented: String,
    signing_input: Vec<u8>,
}

impl Present {
    /// Prepares the SD-JWT and the key, as a holder does once.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "no value is the usual one")]
    pub fn new() -> Self {
        let (holder, raw) = key(2);
        let holder: &'static PrivateKey = Box::leak(Box::new(holder));
        let mut job = Self {
            held: HeldSdJwt::parse(issue(holder)).expect("just issued"),
            selected: [DISCLOSABLE[1].into(), DISCLOSABLE[3].into()],
            binder: KeyBinder::new(holder),
            raw,
            presented: String::new(),
            signing_input: Vec::new(),
        };
        let presentation = job.present(&job.selected);
        let (presented, key_binding) = presentation.split_at(presentation.rfind('~').expect("an SD-JWT") + 1);
        job.presented = presented.to_owned();
        job.signing_input = key_binding.as_bytes()[..key_binding.rfind('.').expect("a JWS")].to_vec();
        job
    }

    pub(crate) fn everything(&self) -> String {
        self.present(&DISCLOSABLE.map(ClaimPath::from))
    }

    pub(crate) fn raw_public_key(&self) -> VerifyingKey {
        self.raw.verifying_key()
    }

    fn present(&self, paths: &[ClaimPath]) -> String {
        let selection = self.held.select(paths).expect("these are disclosable");
        self.binder.bind(selection, AUD, NONCE, NOW).expect("a key in memory signs")
    }
}

impl Job for Present {
    fn floor(&self) {
        black_box(Sha256::digest(black_box(self.presented.as_bytes())));
        black_box(self.raw.sign(black_box(&self.signing_input)));
    }

    fn ours(&self) {
        black_box(self.present(&self.selected));
    }
}

/// Twenty-five claims, five of them disclosable: a mandate's size.
fn issue(holder: &PrivateKey) -> String {
    let mut claims = Map::from_iter([
        ("iss".to_owned(), Value::from("https://issuer.example")),
        ("iat".to_owned(), Value::from(NOW)),
        ("exp".to_owned(), Value::from(NOW + 900)),
        ("vct".to_owned(), Value::from("https://issuer.example/credential/v1")),
        ("cnf".to_owned(), json!({ "jwk": holder.public_key().to_jwk() })),
    ]);
    claims.extend((0..15).map(|n| (format!("claim_{n:02}"), Value::from(format!("the value of claim number {n}")))));
    claims.extend(DISCLOSABLE.map(|name| (name.to_owned(), Value::from("someone@example.org"))));
    let issuance = DISCLOSABLE.iter().fold(Issuance::new(claims), |issuance, name| issuance.disclosable(*name));
    issuance.sign(&key(ISSUER).0, &TokenHeader::new("dc+sd-jwt").kid("k1"), &OsRng).expect("these can be disclosable")
}

const DISCLOSABLE: [&str; 5] = ["email", "country", "phone", "locality", "birthdate"];
pub(crate) const ISSUER: u8 = 3;
pub(crate) const AUD: &str = "https://verifier.example";
pub(crate) const NONCE: &str = "n-0S6_WzA2Mj_n-0S6_WzA2Mj";
