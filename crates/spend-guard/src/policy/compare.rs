//! Whether one policy allows what another does not.

use super::Policy;
use super::merchant::{Use, could_match, fold, is_within, normalise};
use super::rules::{Limits, Rule, RuleAction, Rules, Scope};
use crate::money::Currency;

impl Policy {
    /// Whether this policy's file says anything else than `before`, looser or stricter.
    #[must_use]
    pub fn differs_from(&self, before: &Rules) -> bool {
        self.file() != before
    }

    /// What this policy's file allows that `before` does not, one line each; empty if it is as strict or stricter.
    ///
    /// Rules are compared one by one, not by everything they could mean together: a policy that says the same in other
    /// words may be called looser, a looser one is never called the same. `before` may have been stored before merchants
    /// were read as origins. What it denied, or limited, is then read as it is today: that is never less. What it allowed is
    /// compared as it was written, since a text that admitted no merchant then must not admit one now without a person.
    #[must_use]
    pub fn looser_than(&self, before: &Rules) -> Vec<String> {
        let after = self.file();
        let mut looser = Vec::new();
        if after.replay_seconds < before.replay_seconds {
            looser.push("replay_hours is shorter: the same purchase can be made again sooner".to_owned());
        }
        if after.approval_seconds > before.approval_seconds {
            looser.push("approval_minutes is longer".to_owned());
        }
        if after.approval_in_client && !before.approval_in_client {
            looser.push("approval_in_client is true".to_owned());
        }
        for glob in &before.deny_merchants {
            let is_denied = match normalise(glob, Use::Restrict) {
                Ok(glob) => after.deny_merchants.iter().any(|new| is_within(&glob, new)),
                // What denied nothing is not missed.
                Err(_) => !could_match(glob),
            };
            if !is_denied {
                looser.push(format!("merchants.deny lacks {glob}"));
            }
        }
        match (&before.allow_merchants, &after.allow_merchants) {
            (Some(_), None) => looser.push("merchants.allow is gone".to_owned()),
            (Some(before), Some(after)) => {
                let new = after.iter().filter(|glob| !before.contains(glob));
                looser.extend(new.map(|glob| format!("merchants.allow has {glob}")));
            }
            (None, _) => {}
        }
        for (currency, limits) in &after.currencies {
            match before.currencies.get(currency) {
                None => looser.push(format!("currency.{currency} is allowed")),
                Some(before) => {
                    let higher = limits.looser_than(before);
                    looser.extend(higher.map(|higher| format!("currency.{currency}.{}", higher.in_words(*currency))));
                }
            }
        }
        let gone = before.rules.iter().filter(|rule| !after.rules.iter().any(|new| new.is_as_strict_as(rule)));
        looser.extend(gone.map(|rule| format!("rule {} is gone or looser", rule.name)));
        looser
    }
}

/// A limit that became higher, or went.
struct Higher {
    name: &'static str,
    before: u64,
    after: Option<u64>,
}

impl Higher {
    /// `hour: 200.00 EUR → no limit`; a number of payments has no currency.
    fn in_words(&self, currency: Currency) -> String {
        let text = |limit: u64| match self.name.starts_with("payments_") {
            true => limit.to_string(),
            false => currency.format(limit),
        };
        let after = self.after.map_or_else(|| "no limit".to_owned(), text);
        format!("{}: {} → {after}", self.name, text(self.before))
    }
}

impl Limits {
    fn looser_than(&self, before: &Self) -> impl Iterator<Item = Higher> {
        let pairs = [
            ("per_transaction", self.per_transaction, before.per_transaction),
            ("approval_above", self.approval_above, before.approval_above),
            ("hour", self.hour, before.hour),
            ("day", self.day, before.day),
            ("week", self.week, before.week),
            ("month", self.month, before.month),
            ("payments_per_minute", self.payments_per_minute, before.payments_per_minute),
            ("payments_per_hour", self.payments_per_hour, before.payments_per_hour),
        ];
        pairs.into_iter().filter_map(|(name, after, before)| {
            let before = before.filter(|before| after.is_none_or(|after| after > *before))?;
            Some(Higher { name, before, after })
        })
    }
}

impl Scope {
    /// The scope as a file with the same texts has it.
    fn as_read_today(&self) -> Self {
        let merchant = |glob: &String| normalise(glob, Use::Restrict).unwrap_or_else(|_| glob.clone());
        let mut scope = Self {
            merchants: self.merchants.iter().map(merchant).collect(),
            categories: self.categories.iter().map(|category| fold(category)).collect(),
            ..self.clone()
        };
        for list in [&mut scope.merchants, &mut scope.categories] {
            list.sort_unstable();
            list.dedup();
        }
        scope
    }
}

impl Rule {
    /// Whether it forbids at least what `other` does, for the same spending.
    fn is_as_strict_as(&self, other: &Self) -> bool {
        self.scope == other.scope.as_read_today()
            && match (&self.action, &other.action) {
                (RuleAction::Deny, _) | (RuleAction::Approve, RuleAction::Approve) => true,
                (RuleAction::Limit { currency, limits }, RuleAction::Limit { currency: of, limits: before }) => {
                    currency == of && limits.looser_than(before).next().is_none()
                }
                _ => false,
            }
    }
}
