//! The policy: what may be spent, where, how fast, and when a human is asked.

mod compare;
mod evaluate;
mod glob;
mod merchant;
mod parse;
mod rules;

use crate::hash::hash;
use crate::money::{MAX_AMOUNT_MINOR, major_floor};

pub use evaluate::{Alert, Evaluation, Finding, Severity, Verdict};
pub(crate) use evaluate::{Request, Sum, Sums};
pub use parse::PolicyError;
pub use rules::{AlertRules, Limits, Rule, RuleAction, Rules, Scope};

/// A policy: the rules of its file, and the same after the environment tightened them.
///
/// [`Policy::default`] is what holds without a file: EUR, USD and GBP, and in each 100 per transaction, a human asked above
/// 50, 200 an hour, 500 a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    file: Rules,
    rules: Rules,
    hash: String,
    readings: Vec<Reading>,
}

/// A value that the policy file spells otherwise than it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reading {
    /// The line, from 1.
    pub line: usize,
    /// What the file has there, its control characters escaped.
    pub written: String,
    /// What it is read as.
    pub read_as: String,
}

/// Limits from the environment, in major units as decimal digits (`80`, `12.50`). They hold for every currency that the
/// policy allows, and only ever lower a limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "filled by the caller over `..Tightening::default()`")]
pub struct Tightening {
    /// The most in one payment.
    pub per_transaction: Option<String>,
    /// The most within an hour.
    pub hour: Option<String>,
    /// The most within a day.
    pub day: Option<String>,
    /// Above this a human is asked.
    pub approval_above: Option<String>,
}

/// A limit of a [`Tightening`] is no amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the limit for {member} is no amount in major units: decimal digits, as in 80 or 12.50")]
#[non_exhaustive]
pub struct InvalidTightening {
    /// Which one: `per_transaction`, `hour`, `day`, `approval_above`.
    pub member: &'static str,
}

impl Policy {
    fn new(file: Rules) -> Self {
        // Strings and integers below 2^53: writing them cannot fail, and the empty text would only ask for a confirmation.
        let hash = hash(&serde_json_canonicalizer::to_vec(&file).unwrap_or_default());
        Self { rules: file.clone(), file, hash, readings: Vec::new() }
    }

    /// Lowers limits. What the file says, and with it [`Policy::hash`], stays.
    ///
    /// # Errors
    ///
    /// - [`InvalidTightening`] for a text that is no amount. Payments must stop then: a limit was meant and is not known.
    pub fn tighten(mut self, by: &Tightening) -> Result<Self, InvalidTightening> {
        for (currency, limits) in &mut self.rules.currencies {
            let lower = |limit: &mut Option<u64>, text: &Option<String>, member| {
                if let Some(text) = text {
                    let amount = major_floor(text, *currency).ok_or(InvalidTightening { member })?;
                    *limit = Some(limit.unwrap_or(MAX_AMOUNT_MINOR).min(amount));
                }
                Ok(())
            };
            lower(&mut limits.per_transaction, &by.per_transaction, "per_transaction")?;
            lower(&mut limits.hour, &by.hour, "hour")?;
            lower(&mut limits.day, &by.day, "day")?;
            lower(&mut limits.approval_above, &by.approval_above, "approval_above")?;
        }
        Ok(self)
    }

    /// The rules in force.
    #[must_use]
    pub const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// What the file spells otherwise than it is kept and compared, in the order of the file.
    #[must_use]
    pub fn readings(&self) -> &[Reading] {
        &self.readings
    }

    /// base64url(SHA-256(JCS)) of the rules of the file, by which the ledger knows it.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    pub(crate) const fn file(&self) -> &Rules {
        &self.file
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::new(Rules::default())
    }
}
