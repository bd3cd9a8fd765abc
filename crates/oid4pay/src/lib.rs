//! Pay merchants for a person, within what they approved: what every face of the product does, without how it looks.
//!
//! A face (an MCP server, a command line, pages, a library for another language) builds [`Settings`](settings::Settings),
//! makes an [`Agent`](agents::Agent) of them, and calls the rooms of this crate. It gets typed outcomes and a typed
//! [`Refusal`](refusal::Refusal), and puts them into words.
//!
//! | room | owns |
//! |---|---|
//! | [`agents`] | the registered agent: one client for each authorization server, one ledger, one policy |
//! | [`approvals`] | the question to a person, its terms, and who may answer it |
//! | [`pay`] | the one way in which a purchase is made, continued or answered again |
//! | [`person`] | how a caller's person can be asked, and for how long a call may wait and run |
//! | [`policy`] | where the policy comes from, and whether it is in force |
//! | [`records`] | finding and showing purchases, and the evidence of one |
//! | [`refusal`] | why a call's answer is no: a closed list of codes, and data |
//! | [`resolve`] | what may have been paid, and what the principal's audit chain says of it |
//! | [`settings`] | plain values; the caller has read flags, files and environment |
//! | [`shown`] | what the ledger keeps of strangers' words, fit to be shown |
//! | [`wallet`] | calls that the person has to allow in their wallet |
//!
//! There is no MCP, no command line, no HTML, no environment and no standard output in here.
#![allow(
    clippy::exhaustive_enums,
    clippy::exhaustive_structs,
    reason = "the faces have to handle every outcome, so one that is added must not compile until they do"
)]

pub mod agents;
pub mod approvals;
pub mod pay;
pub mod person;
pub mod policy;
pub mod records;
pub mod refusal;
pub mod resolve;
pub mod settings;
pub mod shown;
pub mod wallet;
