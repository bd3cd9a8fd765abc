//! Conformance of OID4AC's protocol crates, servers and clients.

use std::io;

use clap::{Parser, Subcommand};

mod sign;
mod vectors;

/// Checks OID4AC implementations.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Reads cases from standard input, one JSON object a line, and prints a verdict for each.
    Vectors {
        /// What the cases are.
        kind: vectors::Kind,
    },
    /// Prints signed artefacts, made with fresh keys, as cases that `vectors` accepts: for others to verify.
    Sign {
        /// What to sign.
        kind: sign::Kind,
    },
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Vectors { kind } => vectors::run(kind, io::stdin().lock(), io::stdout().lock())?,
        Command::Sign { kind } => sign::run(kind, io::stdout().lock())?,
    }
    Ok(())
}
