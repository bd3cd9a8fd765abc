//! The command line's face: one file for each command, and what they share.

pub(crate) mod approvals;
pub(crate) mod args;
pub(crate) mod client_config;
#[cfg(feature = "sandbox")]
pub mod demo;
pub(crate) mod doctor;
pub(crate) mod keys;
pub(crate) mod ledger;
pub(crate) mod login;
pub(crate) mod policy;
pub(crate) mod records;
pub(crate) mod resolve;
#[cfg(feature = "sandbox")]
pub(crate) mod sandbox;
mod terminal;
mod told;

pub use told::in_words;
pub(crate) use told::quietly;
