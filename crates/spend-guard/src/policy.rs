//! The policy: what may be spent, where, how fast, and when a human is asked.

mod evaluate;
mod rules;

pub use evaluate::{Alert, Evaluation, Finding, Severity, Verdict};
pub(crate) use evaluate::{Request, Sum, Sums};
pub use rules::{Limits, Policy, Rule, RuleAction, Scope};
