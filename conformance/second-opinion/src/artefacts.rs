//! What we sign, and the raw material of what others sign.

use std::sync::Arc;

use dpop::{Htu, Minter, Nonce, ProofRequest};
use jose::{Alg, PrivateKey, Rng, Signer, TokenHeader, base64url, json, sign_compact};
use sd_jwt::{HeldSdJwt, Issuance, KeyBinder};
use serde_json::{Map, Value, json};

pub(crate) const ALGS: [Alg; 2] = [Alg::EdDsa, Alg::Es256];

pub(crate) struct SystemRng;

impl Rng for SystemRng {
    fn fill(&self, out: &mut [u8]) {
        getrandom::fill(out).expect("the operating system gives random octets");
    }
}

pub(crate) fn now() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "peers look at the real clock")]
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() as i64)
}

/// A key of ours that others can have too.
pub(crate) struct Key {
    pub(crate) ours: Arc<PrivateKey>,
    jwk: Map<String, Value>,
}

impl Key {
    pub(crate) fn new(alg: Alg) -> Self {
        let ours = PrivateKey::generate(alg, &SystemRng);
        let jwk = json::parse_object(ours.to_jwk().as_bytes()).expect("a JWK is JSON");
        Self { ours: Arc::new(ours), jwk }
    }

    pub(crate) fn alg(&self) -> Alg {
        self.ours.public_key().alg()
    }

    pub(crate) fn private_jwk(&self) -> Map<String, Value> {
        self.jwk.clone()
    }

    pub(crate) fn public_jwk(&self) -> Map<String, Value> {
        self.ours.public_key().to_jwk().to_members()
    }

    /// The octets of `d`.
    pub(crate) fn secret(&self) -> Vec<u8> {
        self.octets("d")
    }

    /// The public key as RFC 8032 §5.1.5 or SEC 1 §2.3.3 writes it.
    pub(crate) fn public(&self) -> Vec<u8> {
        match self.alg() {
            Alg::EdDsa => self.octets("x"),
            Alg::Es256 => [vec![4], self.octets("x"), self.octets("y")].concat(),
        }
    }

    fn octets(&self, name: &str) -> Vec<u8> {
        base64url::decode(self.jwk[name].as_str().unwrap_or_default()).expect("a JWK's members are base64url")
    }

    /// A token whose header is just this, whatever our own signing code would think of it.
    pub(crate) fn raw(&self, header: &str, payload: &str) -> String {
        let input = format!("{}.{}", base64url::encode(header.as_bytes()), base64url::encode(payload.as_bytes()));
        let signature = self.ours.sign(input.as_bytes()).expect("a key in memory signs");
        format!("{input}.{}", base64url::encode(&signature))
    }
}

/// Every kind of JWS that our crates make, by name.
pub(crate) fn tokens(key: &Key) -> anyhow::Result<Vec<(&'static str, String)>> {
    let now = now();
    let kid = key.ours.public_key().thumbprint().as_str();
    let header = TokenHeader::new("JWT").kid(kid);
    let assertion =
        json!({ "iss": "a", "sub": "a", "aud": "https://as.example", "iat": now, "exp": now + 60, "jti": "j" });
    let assertion = sign_compact(key.ours.as_ref(), &header, assertion.to_string().as_bytes())?;

    let htu = Htu::parse("https://rs.example/orders")?;
    let nonce = Nonce::generate(&SystemRng);
    let request = ProofRequest::new("POST", &htu, now).access_token("token").nonce(&nonce);
    let proof = Minter::new(key.ours.clone()).mint(&request, &SystemRng)?;

    let mut claims = Map::new();
    claims.insert("iss".to_owned(), "https://issuer.example".into());
    claims.insert("exp".to_owned(), (now + 60).into());
    claims.insert("cnf".to_owned(), json!({ "jwk": key.public_jwk() }));
    claims.insert("name".to_owned(), "Zo\u{eb}".into());
    let issuance = Issuance::new(claims).disclosable("name");
    let issued = issuance.sign(key.ours.as_ref(), &TokenHeader::new("dc+sd-jwt").kid(kid), &SystemRng)?;
    let selection = HeldSdJwt::parse(issued.clone())?.select_all();
    let bound = KeyBinder::new(key.ours.as_ref()).bind(selection, "https://verifier.example", "n", now)?;
    let part = |text: &str, at: usize| text.split('~').nth(at).unwrap_or_default().to_owned();
    Ok(vec![
        ("client assertion", assertion),
        ("DPoP proof", proof.expose().to_owned()),
        ("issuer-signed JWT of an SD-JWT", part(&issued, 0)),
        ("KB-JWT", part(&bound, 2)),
    ])
}
