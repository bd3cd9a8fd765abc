//! Spending guard: policy, budgets and the ledger of intents.
//!
//! A payment passes through here before its first octet leaves: [`Ledger::begin`] finds out whether it is new, already
//! under way or already paid, asks the [`Policy`], and holds the money back, in one transaction. What follows is recorded
//! step by step through the [`Claim`] it hands out, each step durable before the caller sends the next octet.
//!
//! No network, no floating point, no tokens. The time comes from a [`jose::Clock`].
//!
//! # Not covered
//!
//! Converting currencies, moving money, asking the human (the caller does; the answer is recorded here), and protecting
//! the files against a program that runs with their owner's rights.

mod error;
mod intent;
mod ledger;
mod money;
mod policy;
mod purchase;

pub use error::LedgerError;
pub use intent::{
    Approval, ApprovalTerms, Consent, Declaration, Failure, Intent, IntentId, InvalidIntentId, Mandate, ReceiptVerdict,
    Settlement, State, Step,
};
pub use ledger::{
    Artefact, Begun, Broken, Budget, Claim, DeclarationTerms, Declared, Denial, Entry, Filter, Head, Ledger, Next,
    Offers, Page, Proof, RaisedAlert,
};
pub use money::{Currency, MAX_AMOUNT_MINOR, UnknownCurrency};
pub use policy::{
    Alert, AlertRules, Evaluation, Finding, InvalidTightening, Limits, Policy, PolicyError, Rule, RuleAction, Rules,
    Scope, Severity, Tightening, Verdict,
};
pub use purchase::{CheapestTerms, InvalidPurchase, LineItem, Purchase, PurchaseIdentity, PurchaseKind};
