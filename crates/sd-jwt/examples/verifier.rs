//! A verifier: takes a presentation with key binding apart step by step, and refuses it when it comes from another holder.
//!
//! `cargo run -p oid4ac-sd-jwt --example verifier`

use jose::{Alg, PrivateKey, Rng, Signer as _, TokenHeader};
use sd_jwt::{
    Expected, HeldSdJwt, Issuance, KeyBinder, KeyBindingError, KeyBindingPolicy, Policy, UnverifiedSdJwt, VC_TYPES,
    Validity,
};
use serde_json::{Value, json};

/// The operating system's generator.
struct OsRng;

impl Rng for OsRng {
    #[expect(clippy::expect_used, reason = "without random octets there is nothing to go on with")]
    fn fill(&self, out: &mut [u8]) {
        getrandom::fill(out).expect("the operating system gives random octets");
    }
}

const NOW: i64 = 1_800_000_000;
const AUD: &str = "https://verifier.example";

#[expect(clippy::print_stdout, reason = "an example talks to its reader")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let issuer = PrivateKey::generate(Alg::EdDsa, &OsRng);
    let holder = PrivateKey::generate(Alg::EdDsa, &OsRng);
    let nonce = jose::random_token::<16>(&OsRng);
    let claims = json!({
        "vct": "https://issuer.example/membership",
        "exp": NOW + 900,
        // Only the thumbprint: the presentation has to bring the key.
        "cnf": { "jkt": holder.public_key().thumbprint() },
        "email": "erika@example.org",
    });
    let Value::Object(claims) = claims else { unreachable!("written above as an object") };
    let token = Issuance::new(claims).disclosable("email").sign(&issuer, &TokenHeader::new(VC_TYPES[0]), &OsRng)?;
    let held = HeldSdJwt::parse(token)?;

    let policy = Policy::new(&[Alg::EdDsa], &VC_TYPES, Validity::at(NOW)).sd_jwt_vc();
    let known = |given: &str| given == nonce;
    let binding = KeyBindingPolicy::new(&[Alg::EdDsa], AUD, Expected::Satisfying(&known), NOW);
    let check = |presentation: &str| -> Result<_, Box<dyn std::error::Error>> {
        let unverified = UnverifiedSdJwt::parse(presentation)?;
        let unbound = unverified.verify_presentation(issuer.public_key(), &policy)?;
        Ok(unbound.verify_key_binding(&binding))
    };

    let good = KeyBinder::carrying_key(&holder).bind(held.select_all(), AUD, &nonce, NOW)?;
    println!("verified: {}", Value::Object(check(&good)??.claims().clone()));

    let thief = PrivateKey::generate(Alg::EdDsa, &OsRng);
    let stolen = KeyBinder::carrying_key(&thief).bind(held.select_all(), AUD, &nonce, NOW)?;
    assert_eq!(check(&stolen)?, Err(KeyBindingError::NotTheHolderKey));
    println!("a thief's presentation is refused: {}", KeyBindingError::NotTheHolderKey);
    Ok(())
}
