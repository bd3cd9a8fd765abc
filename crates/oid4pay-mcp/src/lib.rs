//! `oid4pay-mcp`: an MCP server through which an agent pays for its human, and the commands around it.
//!
//! What is done is in the crate [`oid4pay`]; here are its faces, which import it and never each other: `mcp` for agents,
//! `commands` for a terminal, `pages` for a browser. `config` alone makes settings of flags, environment and the settings
//! file.
//!
//! The binary is a thin shell around [`Cli`]. `demo` is a library so that its story can be told against a sandbox that lies; it
//! and the command `sandbox` come with the feature `sandbox`, which is on by default.

mod cli;
mod commands;
mod config;
mod mcp;
mod pages;
mod stop;

pub use cli::Cli;
#[cfg(feature = "sandbox")]
pub use commands::demo;
pub use commands::in_words;
