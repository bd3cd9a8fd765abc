//! The bodies of the fuzz targets, so that a test can run them over their seeds without libFuzzer.
//!
//! A target is a function from octets to an [`Outcome`]. What it asserts besides not panicking is in its body. Verifiers would
//! refuse nearly everything that a fuzzer writes at the signature, so their targets take two kinds of input, told apart by
//! the first octet: `r` for an artefact as it stands, and `s` for its parts, which the target signs with the fixed keys of
//! [`keys`] before it has them verified.

use std::fs;
use std::path::Path;

mod audit;
mod dpop;
mod http_sig;
mod input;
mod jose;
mod keys;
mod outcome;
mod sd_jwt;
mod seeds;
mod status_list;

pub use outcome::Outcome;

/// A fuzz target: its name, its body and the seeds that lead to its success.
pub struct Target {
    /// As in `cargo fuzz run NAME`.
    pub name: &'static str,
    /// What is run.
    pub run: fn(&[u8]) -> Outcome,
    /// Inputs to start from; at least one is accepted.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub static TARGETS: [Target; 15] = [
    Target { name: "jose_json", run: jose::json, seeds: seeds::json },
    Target { name: "jose_base64url", run: jose::base64url, seeds: seeds::base64url },
    Target { name: "jose_jwk", run: jose::jwk, seeds: seeds::jwk },
    Target { name: "jose_jwks", run: jose::jwks, seeds: seeds::jwks },
    Target { name: "jose_jws", run: jose::jws, seeds: seeds::jws },
    Target { name: "dpop_verify", run: dpop::verify, seeds: seeds::dpop },
    Target { name: "dpop_htu", run: dpop::htu, seeds: seeds::htu },
    Target { name: "sd_jwt_parse", run: sd_jwt::parse, seeds: seeds::sd_jwt_parse },
    Target { name: "sd_jwt_verify", run: sd_jwt::verify, seeds: seeds::sd_jwt_verify },
    Target { name: "sd_jwt_kb", run: sd_jwt::key_binding, seeds: seeds::sd_jwt_kb },
    Target { name: "http_sig_parse", run: http_sig::parse, seeds: seeds::http_sig_parse },
    Target { name: "http_sig_verify", run: http_sig::verify, seeds: seeds::http_sig_verify },
    Target { name: "http_sig_digest", run: http_sig::digest, seeds: seeds::http_sig_digest },
    Target { name: "status_list_decode", run: status_list::decode, seeds: seeds::status_list },
    Target { name: "audit_page", run: audit::page, seeds: seeds::audit },
];

/// Runs a target.
///
/// # Panics
///
/// If there is none of that name.
pub fn run(name: &str, input: &[u8]) -> Outcome {
    (target(name).run)(input)
}

/// Writes a target's seeds to `corpus/NAME/`, where `cargo fuzz run NAME` looks for inputs: each run starts with them.
///
/// # Panics
///
/// If there is none of that name, or the files cannot be written.
pub fn seed(name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    fs::create_dir_all(&folder).expect("a folder for the corpus");
    for (number, seed) in (target(name).seeds)().into_iter().enumerate() {
        fs::write(folder.join(format!("seed-{number:02}")), seed).expect("a file in the corpus");
    }
}

fn target(name: &str) -> &'static Target {
    TARGETS.iter().find(|target| target.name == name).expect("a target of that name")
}
