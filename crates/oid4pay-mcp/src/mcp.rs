//! The MCP face: tools, resources, prompts, and the words of the contract.

mod advice;
mod answer;
mod contract;
mod host;
mod instructions;
mod name;
mod person;
mod prompts;
mod resources;
mod server;
mod tools;
mod transport;

pub(crate) use server::serve;
