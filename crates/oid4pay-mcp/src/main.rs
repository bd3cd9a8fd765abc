//! The binary: reads the command line and does what it says.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match oid4pay_mcp::Cli::parse().run() {
        Ok(code) => code,
        Err(error) => {
            // In words alone: a backtrace helps nobody who runs this, whatever the environment asks for.
            let _unwritable = writeln!(std::io::stderr(), "oid4pay-mcp: {}", oid4pay_mcp::in_words(&error));
            ExitCode::FAILURE
        }
    }
}
