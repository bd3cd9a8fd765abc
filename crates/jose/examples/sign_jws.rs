//! Signs a token and prints what the other side needs: a JWK set on the first line, the token on the second.
//!
//! `cargo run -p oid4ac-jose --example sign_jws | cargo run -p oid4ac-jose --example verify_jws`
#![expect(clippy::print_stdout, reason = "printing is what this program is for")]

use jose::{Alg, JwkSet, PrivateKey, Rng, Signer, TokenHeader};

/// The operating system's generator. An application that cannot get random octets has nothing to sign.
struct OsRng;

impl Rng for OsRng {
    fn fill(&self, out: &mut [u8]) {
        if getrandom::fill(out).is_err() {
            std::process::abort();
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let key = PrivateKey::generate(Alg::EdDsa, &OsRng);
    let kid = key.public_key().thumbprint().as_str();

    let claims = serde_json::json!({ "iss": "https://signer.example", "jti": jose::random_token::<16>(&OsRng) });
    let header = TokenHeader::new("example+jwt").kid(kid);
    let token = jose::sign_compact(&key, &header, claims.to_string().as_bytes())?;

    // Only the public half can be put into a set. The private half is `key.to_jwk()`, which is for the key file.
    let set = JwkSet::new(vec![key.public_key().to_jwk().with_kid(kid).with_member("use", "sig")]);
    println!("{}", serde_json::to_string(&set)?);
    println!("{token}");
    Ok(())
}
