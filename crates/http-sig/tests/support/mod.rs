//! What the test files share. Each uses a part of it.
#![allow(dead_code, reason = "every test file is a crate of its own")]
#![allow(clippy::unwrap_used, reason = "tests")]

use http_sig::{Component, Message, SignatureBuilder, Signed, Verified, Verifier, VerifyError};
use jose::{Alg, PrivateKey, PublicKey, Signer as _};
use serde::Deserialize;

/// A message as test data has it.
#[derive(Clone, Deserialize)]
pub(crate) struct Described {
    pub(crate) kind: String,
    pub(crate) method: Option<String>,
    pub(crate) url: Option<String>,
    pub(crate) status: Option<u16>,
    pub(crate) headers: Vec<(String, String)>,
    #[serde(default)]
    pub(crate) body: String,
}

impl Described {
    pub(crate) fn pairs(&self) -> Vec<(&str, &[u8])> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect()
    }

    pub(crate) fn message<'a>(&'a self, headers: &'a [(&'a str, &'a [u8])]) -> Message<'a> {
        let message = match self.kind.as_str() {
            "request" => Message::request(self.method.as_deref().unwrap(), self.url.as_deref().unwrap(), headers),
            _ => Message::response(self.status.unwrap(), headers),
        };
        message.unwrap().with_body(self.body.as_bytes())
    }
}

struct Fixed(u8);

impl jose::Rng for Fixed {
    fn fill(&self, out: &mut [u8]) {
        out.fill(self.0);
    }
}

pub(crate) fn key(alg: Alg) -> PrivateKey {
    PrivateKey::generate(alg, &Fixed(7))
}

pub(crate) fn other_key(alg: Alg) -> PrivateKey {
    PrivateKey::generate(alg, &Fixed(8))
}

pub(crate) fn components(list: &[&str]) -> Vec<Component> {
    list.iter().map(|text| Component::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))).collect()
}

/// Signs under `sig1` as `k1` at 1000.
pub(crate) fn sign(message: &Message<'_>, list: &[&str]) -> Result<Signed, http_sig::SignError> {
    let builder = SignatureBuilder::new("sig1")?.components(components(list)).created(1000).keyid("k1")?;
    builder.sign(message, &key(Alg::EdDsa))
}

/// The lines of the signature base, without the last.
pub(crate) fn lines(message: &Message<'_>, list: &[&str]) -> Vec<String> {
    let signed = sign(message, list).unwrap_or_else(|error| panic!("{error}"));
    let mut lines: Vec<_> = signed.base().split('\n').map(str::to_owned).collect();
    lines.pop();
    lines
}

/// Verifies with one known key, `k1`, at 1010.
pub(crate) fn verify(verifier: &Verifier, message: &Message<'_>) -> Result<Verified, VerifyError> {
    let key = key(Alg::EdDsa);
    verifier.verify(message, 1010, one(key.public_key()))
}

pub(crate) fn one<'k>(key: &'k PublicKey) -> impl Fn(&str) -> Option<&'k PublicKey> {
    move |keyid| (keyid == "k1").then_some(key)
}
