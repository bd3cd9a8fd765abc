//! Artefacts of ours for others to verify: cases as `vectors` reads them, each with the `value` it has to give, signed with
//! temporary keys. `conformance sign KIND | conformance vectors KIND` accepts them all.

use std::io::{self, BufWriter, Write};

use clap::ValueEnum;
use jose::Clock as _;
use oid4ac_client::{SystemClock, SystemRng};
use serde_json::Value;

mod bench;
mod dpop;
mod http_sig;
mod jws;
mod sd_jwt;

use bench::Bench;

/// What is to be signed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Kind {
    /// SD-JWTs and presentations.
    SdJwt,
    /// Requests and responses.
    HttpSig,
    /// Compact JWS, client assertions among them.
    Jws,
    /// Public keys with their thumbprints.
    Jwk,
    /// DPoP proofs.
    Dpop,
}

/// Prints one case a line.
pub(crate) fn run(kind: Kind, output: impl Write) -> anyhow::Result<()> {
    let bench = Bench { now: SystemClock.now(), rng: SystemRng };
    let cases = match kind {
        Kind::SdJwt => sd_jwt::cases(&bench)?,
        Kind::HttpSig => http_sig::cases(&bench)?,
        Kind::Jws => jws::cases(&bench)?,
        Kind::Jwk => jws::keys(&bench),
        Kind::Dpop => dpop::cases(&bench)?,
    };
    write(&cases, output)?;
    Ok(())
}

fn write(cases: &[Value], output: impl Write) -> io::Result<()> {
    let mut output = BufWriter::new(output);
    for case in cases {
        serde_json::to_writer(&mut output, case)?;
        output.write_all(b"\n")?;
    }
    output.flush()
}
