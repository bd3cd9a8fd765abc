//! Reads a JWK set and a token, a line each, as the example `signer` prints them, and verifies the token.
#![expect(clippy::print_stdout, reason = "printing is what this program is for")]

use jose::{Alg, JwkSet, UnverifiedJws};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let input = std::io::read_to_string(std::io::stdin())?;
    let (set, token) = input.split_once('\n').ok_or("expected two lines: a JWK set and a token")?;
    let set = JwkSet::parse(set.as_bytes())?;

    // Before verification only what chooses the key can be read.
    let unverified = UnverifiedJws::parse(token.trim())?;
    let key = set.find(unverified.unverified_kid(), unverified.unverified_alg()).ok_or("no key in the set fits")?;

    // The algorithms and the `typ` are this program's choice, never the token's.
    let claims = unverified.verify(key.key(), &[Alg::EdDsa, Alg::Es256], &["example+jwt"])?.claims()?;
    println!("signed by {}: {}", key.key().thumbprint(), claims["iss"]);
    Ok(())
}
