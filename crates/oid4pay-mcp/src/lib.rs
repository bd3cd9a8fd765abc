//! `oid4pay-mcp`: an MCP server through which an agent pays for its human, and the commands around it.
//!
//! The binary is a thin shell around [`Cli`]. `demo` is a library so that its story can be told against a sandbox that
//! lies; it and the command `sandbox` come with the feature `sandbox`, which is on by default.

mod advice;
mod agent;
mod approval;
mod cli;
mod client_config;
mod config;
mod dashboard;
#[cfg(feature = "sandbox")]
pub mod demo;
mod doctor;
mod errors;
mod evidence;
mod guard_cmd;
mod human;
mod instructions;
mod keys;
mod ledger_cmd;
mod line_cap;
mod policy;
mod policy_cmd;
mod prompts;
mod provided;
mod purchase;
mod records;
mod reject_cmd;
mod resolve;
mod resolve_cmd;
mod resources;
#[cfg(feature = "sandbox")]
mod sandbox_cmd;
mod server;
mod session_cmd;
mod shown;
mod stop;
mod tools;
mod waiting;

pub use cli::{Cli, in_words};
