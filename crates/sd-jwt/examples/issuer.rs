//! An issuer: prints an SD-JWT VC in which some claims can be kept back, then the public keys that go with it.
//!
//! `cargo run -p oid4ac-sd-jwt --example issuer`

use jose::{Alg, PrivateKey, Rng, Signer as _, TokenHeader};
use sd_jwt::{ClaimPath, Issuance};
use serde_json::{Value, json};

/// The operating system's generator.
struct OsRng;

impl Rng for OsRng {
    #[expect(clippy::expect_used, reason = "without random octets there is nothing to go on with")]
    fn fill(&self, out: &mut [u8]) {
        getrandom::fill(out).expect("the operating system gives random octets");
    }
}

#[expect(clippy::print_stdout, reason = "an example talks to its reader")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let issuer = PrivateKey::generate(Alg::EdDsa, &OsRng);
    let holder = PrivateKey::generate(Alg::EdDsa, &OsRng);

    let claims = json!({
        "iss": "https://issuer.example",
        "vct": "https://issuer.example/membership",
        "iat": 1_800_000_000,
        "exp": 1_800_000_900,
        "cnf": { "jwk": holder.public_key().to_jwk() },
        "given_name": "Erika",
        "address": { "locality": "Köln", "street_address": "Heidestraße 17" },
        "nationalities": ["DE", "FR"],
    });
    let Value::Object(claims) = claims else { unreachable!("written above as an object") };

    let token = Issuance::new(claims)
        .disclosable("given_name")
        // Recursive: the street can only be shown together with the address around it.
        .disclosable("address")
        .disclosable(["address", "street_address"])
        .disclosable(ClaimPath::from("nationalities").element(0))
        .disclosable(ClaimPath::from("nationalities").element(1))
        // A verifier cannot tell how many claims there are to disclose.
        .decoys(ClaimPath::root(), 3)
        .sign(&issuer, &TokenHeader::new("dc+sd-jwt").kid(issuer.public_key().thumbprint().as_str()), &OsRng)?;

    println!("SD-JWT:     {token}");
    println!("issuer key: {}", issuer.public_key().members_json());
    println!("holder key: {}", holder.public_key().members_json());
    Ok(())
}
