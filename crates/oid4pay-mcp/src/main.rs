//! The binary: reads the command line and does what it says.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> anyhow::Result<ExitCode> {
    oid4pay_mcp::Cli::parse().run()
}
