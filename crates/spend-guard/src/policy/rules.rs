//! The rules as data.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::merchant::{fold, host_prefix, restricts};
use crate::money::Currency;

/// Everything a policy says. Amounts are minor units of the currency they stand under.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Rules {
    /// For how long a settled purchase is answered again instead of made again, from its settlement.
    pub replay_seconds: u32,
    /// After what time an intent that was never presented gives its reservation back.
    pub intent_seconds: u32,
    /// For how long a human's yes counts, and the question stays open.
    pub approval_seconds: u32,
    /// Whether a yes given in the agent's own client counts, or only one given in a terminal or on the local page.
    pub approval_in_client: bool,
    /// Only merchants whose origin matches one of these; `None` means any. Without a port, the default port alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_merchants: Option<Vec<String>>,
    /// No merchant whose host matches one of these, on any port where none is given.
    pub deny_merchants: Vec<String>,
    /// The currencies that may be spent at all, and their limits.
    pub currencies: BTreeMap<Currency, Limits>,
    /// What else holds, for a part of the spending.
    pub rules: Vec<Rule>,
    /// When the human is told.
    pub alerts: AlertRules,
}

/// When the human is told; nothing is stopped by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct AlertRules {
    /// More payments than this begun within a minute.
    pub payments_per_minute: u64,
    /// A budget used by at least so many hundredths.
    pub budget_percent: u64,
    /// More than so many times the mean of what was paid before in the currency.
    pub times_the_mean: u64,
}

impl Default for AlertRules {
    fn default() -> Self {
        Self { payments_per_minute: 5, budget_percent: 80, times_the_mean: 3 }
    }
}

/// Limits in minor units of one currency; `None` is no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Limits {
    /// The most in one payment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_transaction: Option<u64>,
    /// Above this, and not at it, a human is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_above: Option<u64>,
    /// The most within any hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hour: Option<u64>,
    /// The most within any 24 hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub day: Option<u64>,
    /// The most within any 7 days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub week: Option<u64>,
    /// The most within any 31 days, so that no calendar month holds more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub month: Option<u64>,
    /// The most payments begun within any minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payments_per_minute: Option<u64>,
    /// The most payments begun within any hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payments_per_hour: Option<u64>,
    /// Above this, and not at it, the human is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert_above: Option<u64>,
}

/// A rule for a part of the spending.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Rule {
    /// Its name, unique in the policy.
    pub name: String,
    /// Which spending it is about.
    pub scope: Scope,
    /// What it says.
    pub action: RuleAction,
}

/// What a rule says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RuleAction {
    /// No.
    Deny,
    /// A human is asked.
    Approve,
    /// Limits for what the scope covers together, in one currency.
    Limit {
        /// The currency.
        currency: Currency,
        /// The limits.
        limits: Limits,
    },
}

/// Which spending a rule is about. An empty list covers everything. A payment that it may be about, had the payment a known
/// category or merchant category code, needs a human.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Scope {
    /// Globs on the merchant's origin: `*` stands for any characters, `?` for one. Without a port, any port.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merchants: Vec<String>,
    /// Categories, in any case, without the white space around them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
    /// Merchant category codes (ISO 18245).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mccs: Vec<String>,
    /// Agents.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<String>,
    /// Currencies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub currencies: Vec<Currency>,
}

impl Default for Rules {
    /// EUR, USD and GBP, and in each, in major units: 100 per transaction, above 50 a human is asked and told, 200 an hour,
    /// 500 a day.
    fn default() -> Self {
        let standard = ["EUR", "USD", "GBP"].iter().filter_map(|code| Currency::parse(code).ok());
        Self {
            replay_seconds: 24 * 3600,
            intent_seconds: 3600,
            approval_seconds: 3600,
            approval_in_client: true,
            allow_merchants: None,
            deny_merchants: Vec::new(),
            currencies: standard.map(|currency| (currency, Limits::standard(currency))).collect(),
            rules: Vec::new(),
            alerts: AlertRules::default(),
        }
    }
}

impl Limits {
    /// 100 per transaction, above 50 a human is asked and told, 200 an hour, 500 a day; in major units.
    fn standard(currency: Currency) -> Self {
        let major = |amount: u64| Some(amount * 10u64.pow(u32::from(currency.exponent())));
        Self {
            per_transaction: major(100),
            approval_above: major(50),
            hour: major(200),
            day: major(500),
            alert_above: major(50),
            ..Self::default()
        }
    }
}

impl Scope {
    /// Whether it leaves nothing out within a currency.
    pub(crate) fn is_everything(&self) -> bool {
        self.merchants.is_empty() && self.categories.is_empty() && self.mccs.is_empty() && self.agents.is_empty()
    }

    /// Pairs of texts, between one of which every merchant lies that it covers, and no empty one. No two pairs overlap.
    pub(crate) fn merchant_ranges(&self) -> Vec<(String, String)> {
        let prefixes = self.merchants.iter().map(|glob| host_prefix(glob)).collect::<Option<Vec<_>>>();
        // Origins are ASCII, so the last character sorts after every continuation of a prefix.
        let after = |prefix: &&str| format!("{prefix}{}", char::MAX);
        let bounds = prefixes.and_then(|all| Some((all.iter().min()?.to_string(), all.iter().map(after).max()?)));
        let Some((first, last)) = bounds else { return vec![(String::new(), char::MAX.into())] };
        let range = |scheme: &str| (format!("{scheme}://{first}"), format!("{scheme}://{last}"));
        vec![range("http"), range("https")]
    }

    /// Whether it covers spending of this kind; an unknown category, code or agent is the empty text.
    pub(crate) fn covers(&self, merchant: &str, category: &str, mcc: &str, agent: &str) -> bool {
        let has = |list: &[String], value: &str| list.is_empty() || list.iter().any(|entry| entry == value);
        (self.merchants.is_empty() || self.merchants.iter().any(|glob| restricts(glob, merchant)))
            && (self.categories.is_empty() || self.categories.iter().any(|entry| fold(entry) == fold(category)))
            && has(&self.mccs, mcc.trim())
            && has(&self.agents, agent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_merchant_a_scope_covers_lies_in_its_ranges() {
        use proptest::prelude::*;
        let pattern = "(http://|https://|http*://|\\*)[ab*?]{1,4}(:[18*]{1,2})?";
        let merchant = "https?://[ab]{1,6}(:[18]{1,2})?";
        proptest!(|(merchants in proptest::collection::vec(pattern, 0..3), merchant in merchant)| {
            let scope = Scope { merchants, ..Scope::default() };
            if scope.covers(&merchant, "", "", "") {
                let ranges = scope.merchant_ranges();
                let within = ranges.iter().filter(|(first, last)| *first <= merchant && merchant < *last);
                prop_assert_eq!(within.count(), 1, "{:?} {:?}", merchant, ranges);
            }
        });
    }
}
