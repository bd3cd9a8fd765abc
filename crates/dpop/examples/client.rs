//! A client's side: prints `method`, URI and `DPoP` header value of three requests, one a line. The second has the nonce
//! that the server requires, the third is the second one again, as an eavesdropper would send it.
//!
//! `cargo run -p oid4ac-dpop --example client -- a-nonce | cargo run -p oid4ac-dpop --example server -- a-nonce`
#![expect(clippy::print_stdout, reason = "printing is what this program is for")]

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use dpop::{Htu, Minter, Nonce, ProofRequest};
use jose::{Alg, Clock, PrivateKey, Rng};

/// The operating system's generator. An application that cannot get random octets has nothing to sign.
struct OsRng;

impl Rng for OsRng {
    fn fill(&self, out: &mut [u8]) {
        if getrandom::fill(out).is_err() {
            std::process::abort();
        }
    }
}

/// The one place where this program reads the time.
#[expect(clippy::disallowed_methods, reason = "an application has to get the time somewhere")]
fn system_clock() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs() as i64)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let nonce = std::env::args().nth(1).ok_or("expected the server's nonce as the argument")?;
    let clock: &dyn Clock = &system_clock;

    // One minter for as long as the key lives.
    let minter = Minter::new(Arc::new(PrivateKey::generate(Alg::EdDsa, &OsRng)));
    let htu = Htu::parse("https://as.example/oauth/token?audience=shop")?;
    let request = ProofRequest::new("POST", &htu, clock.now());

    let proof = minter.mint(&request, &OsRng)?;
    println!("POST {htu} {}", proof.expose());

    // The answer was 400 `use_dpop_nonce` with a `DPoP-Nonce` header: once more, with a fresh proof.
    let nonce = Nonce::parse(&nonce)?;
    let proof = minter.mint(&request.nonce(&nonce), &OsRng)?;
    println!("POST {htu} {}", proof.expose());
    println!("POST {htu} {}", proof.expose());
    Ok(())
}
