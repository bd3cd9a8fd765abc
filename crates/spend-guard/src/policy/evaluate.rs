//! One payment against the rules.

use jose::UnixSeconds;
use serde::{Deserialize, Serialize};

use super::Policy;
use super::merchant::{permits, restricts};
use super::rules::{Limits, Rule, RuleAction, Scope};
use crate::money::Currency;

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "the three answers a guard can give")]
pub enum Verdict {
    /// It may go on.
    Allow,
    /// A human must agree first.
    Approve,
    /// No.
    Deny,
}

/// One rule that spoke.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Finding {
    /// A stable code: `currency_not_allowed`, `budget_exceeded`, …
    pub code: String,
    /// Where the rule stands in the policy: `currency.EUR.hour`.
    pub rule: String,
    /// What it wants.
    pub verdict: Verdict,
    /// One sentence for a person, of our own words and numbers.
    pub message: String,
    /// The limit, where there is one: minor units, or a number of payments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// What this payment would bring it to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub would_be: Option<u64>,
}

/// How much an alert matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "the three severities of the product")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Worth a look.
    Warning,
    /// Look now.
    Critical,
}

/// Something a human may want to know; it stops nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Alert {
    /// A stable code: `large_payment`, `rate`, `first_payment`, `budget_threshold`, `unlike_before`.
    pub code: String,
    /// How much it matters.
    pub severity: Severity,
    /// One sentence for a person.
    pub message: String,
}

/// What the policy says about one payment: every rule that spoke, in the order in which they are asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Evaluation {
    /// The most restrictive of all.
    pub verdict: Verdict,
    /// Every rule that wants an approval or denies.
    pub findings: Vec<Finding>,
    /// What to tell the human.
    pub alerts: Vec<Alert>,
}

/// A payment as rules see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) merchant: &'a str,
    pub(crate) category: &'a str,
    pub(crate) mcc: &'a str,
    pub(crate) agent: &'a str,
    pub(crate) currency: Currency,
    /// `None` while an item is still to be picked: then only freeze, currency and merchant rules speak.
    pub(crate) amount_minor: Option<u64>,
    /// What of the sums is this payment's own reservation.
    pub(crate) own_minor: u64,
}

/// What happened within a window, and what is reserved whenever that was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) settled_minor: u64,
    pub(crate) settled_count: u64,
    pub(crate) begun_count: u64,
    pub(crate) reserved_minor: u64,
    /// What may have been paid within the window.
    pub(crate) unresolved_minor: u64,
}

impl Sum {
    /// All that counts against a budget.
    pub(crate) fn counted_minor(&self) -> u64 {
        self.settled_minor.saturating_add(self.unresolved_minor).saturating_add(self.reserved_minor)
    }
}

/// Where the sums come from.
pub(crate) trait Sums {
    type Error;

    fn now(&self) -> UnixSeconds;

    /// Whether anything was ever paid to the merchant.
    fn was_paid(&self, merchant: &str) -> Result<bool, Self::Error>;

    /// What `scope` saw in `currency` from the second `since` on, that one included.
    fn sum(&self, currency: Currency, scope: &Scope, since: UnixSeconds) -> Result<Sum, Self::Error>;
}

impl Policy {
    /// Asks every rule about `request`, in order; none is skipped because another has spoken.
    pub(crate) fn evaluate<S: Sums>(&self, request: &Request<'_>, sums: &S) -> Result<Evaluation, S::Error> {
        let mut found = Findings(Vec::new());
        let currency = request.currency;
        let policy = self.rules();
        let limits = policy.currencies.get(&currency);
        if limits.is_none() {
            found.deny(
                "currency_not_allowed",
                format!("currency.{currency}"),
                format!("the policy does not allow {currency}"),
            );
        }
        if policy.deny_merchants.iter().any(|glob| restricts(glob, request.merchant)) {
            found.deny("merchant_denied", "merchants.deny", "the policy denies this merchant");
        }
        if let Some(allowed) = &policy.allow_merchants
            && !allowed.iter().any(|glob| permits(glob, request.merchant))
        {
            found.deny("merchant_not_allowed", "merchants.allow", "the policy does not list this merchant");
        }
        let about = |rule: &&Rule| rule.scope.applies_to(request) == Applies::Yes;
        let rules: Vec<_> = policy.rules.iter().filter(about).collect();
        for rule in &rules {
            if rule.action == RuleAction::Deny {
                found.deny("rule_denied", format!("rule.{}", rule.name), "a rule of the policy denies this");
            }
        }
        if let Some(amount) = request.amount_minor {
            let everything = Scope::default();
            let mut limited: Vec<(String, &Limits, &Scope)> = Vec::new();
            limited.extend(limits.map(|limits| (format!("currency.{currency}"), limits, &everything)));
            limited.extend(rules.iter().filter_map(|rule| match &rule.action {
                RuleAction::Limit { currency: of, limits } if *of == currency => {
                    Some((format!("rule.{}", rule.name), limits, &rule.scope))
                }
                _ => None,
            }));
            for (name, limits, _) in &limited {
                found.cap(name, limits, amount, currency);
            }
            for (name, limits, scope) in &limited {
                found.budgets(name, limits, scope, request, amount, sums)?;
            }
            for (name, limits, scope) in &limited {
                found.velocity(name, limits, scope, request, sums)?;
            }
            for (name, limits, _) in &limited {
                found.threshold(name, limits, amount, currency);
            }
        }
        for rule in &rules {
            if rule.action == RuleAction::Approve {
                found.add(
                    "approval_required",
                    format!("rule.{}", rule.name),
                    Verdict::Approve,
                    "a rule wants a human to agree".to_owned(),
                    None,
                );
            }
        }
        if request.amount_minor.is_some() {
            found.uncertain(&policy.rules, request);
        }
        let verdict = found.0.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Allow);
        let mut alerts = match request.amount_minor {
            Some(amount) if request.own_minor == 0 => self.alerts(request, amount, sums)?,
            _ => Vec::new(),
        };
        // What is denied is no payment; only that there are too many of them still matters.
        alerts.retain(|alert| verdict != Verdict::Deny || alert.severity == Severity::Critical);
        Ok(Evaluation { verdict, findings: found.0, alerts })
    }

    /// What a human may want to know about a payment that begins.
    fn alerts<S: Sums>(&self, request: &Request<'_>, amount: u64, sums: &S) -> Result<Vec<Alert>, S::Error> {
        let (rules, currency, everything) = (self.rules(), request.currency, Scope::default());
        let mut alerts = Vec::new();
        let mut raise = |code: &str, severity, message| alerts.push(Alert { code: code.to_owned(), severity, message });
        let limits = rules.currencies.get(&currency);
        if let Some(above) = limits.and_then(|limits| limits.alert_above)
            && amount > above
        {
            let message = format!("a payment of {}, more than {}", currency.format(amount), currency.format(above));
            raise("large_payment", Severity::Warning, message);
        }
        let mut begun = 0u64;
        for known in rules.currencies.keys() {
            begun = begun.saturating_add(sums.sum(*known, &everything, sums.now().saturating_sub(60))?.begun_count);
        }
        if begun >= rules.alerts.payments_per_minute {
            let message = format!("more than {} payments within a minute", rules.alerts.payments_per_minute);
            raise("rate", Severity::Critical, message);
        }
        if !sums.was_paid(request.merchant)? {
            raise("first_payment", Severity::Info, "the first payment to this merchant".to_owned());
        }
        for (window, seconds, limit) in limits.map(Limits::budgets).into_iter().flatten() {
            let Some(limit) = limit else { continue };
            let sum = sums.sum(currency, &everything, sums.now().saturating_sub(seconds))?;
            let before = sum.counted_minor();
            let threshold = u128::from(limit) * u128::from(rules.alerts.budget_percent);
            let reaches = |minor: u64| u128::from(minor) * 100 >= threshold;
            if !reaches(before) && reaches(before.saturating_add(amount)) {
                let message =
                    format!("{} percent of the limit per {window} in {currency} are used", rules.alerts.budget_percent);
                raise("budget_threshold", Severity::Warning, message);
            }
        }
        let ever = sums.sum(currency, &everything, 0)?;
        let times = u128::from(rules.alerts.times_the_mean);
        if ever.settled_count >= ENOUGH_TO_COMPARE
            && u128::from(amount) * u128::from(ever.settled_count) > times * u128::from(ever.settled_minor)
        {
            let message = format!("more than {times} times what was paid in {currency} on average");
            raise("unlike_before", Severity::Warning, message);
        }
        Ok(alerts)
    }
}

/// Whether a rule is about a payment.
#[derive(PartialEq, Eq)]
enum Applies {
    No,
    Yes,
    /// As far as is known; this it names, and of the payment it is not known.
    Unless(&'static str),
}

impl Scope {
    fn applies_to(&self, request: &Request<'_>) -> Applies {
        let named = |list: &[String]| list.first().cloned().unwrap_or_default();
        // What is not known is taken for what the rule names.
        let assume = |list: &[String], known: &str| if known.is_empty() { named(list) } else { known.to_owned() };
        let (known_category, known_mcc) = (request.category.trim(), request.mcc.trim());
        let category = assume(&self.categories, known_category);
        let mcc = assume(&self.mccs, known_mcc);
        let of_currency = self.currencies.is_empty() || self.currencies.contains(&request.currency);
        if !of_currency || !self.covers(request.merchant, &category, &mcc, request.agent) {
            return Applies::No;
        }
        match (category == known_category, mcc == known_mcc) {
            (false, _) => Applies::Unless("category"),
            (true, false) => Applies::Unless("merchant category code"),
            (true, true) => Applies::Yes,
        }
    }
}

struct Findings(Vec<Finding>);

impl Findings {
    fn cap(&mut self, name: &str, limits: &Limits, amount: u64, currency: Currency) {
        if let Some(limit) = limits.per_transaction
            && amount > limit
        {
            let message = format!("one payment may be at most {}", currency.format(limit));
            self.add(
                "per_transaction_exceeded",
                format!("{name}.per_transaction"),
                Verdict::Deny,
                message,
                Some((limit, amount)),
            );
        }
    }

    fn budgets<S: Sums>(
        &mut self,
        name: &str,
        limits: &Limits,
        scope: &Scope,
        request: &Request<'_>,
        amount: u64,
        sums: &S,
    ) -> Result<(), S::Error> {
        for (window, seconds, limit) in limits.budgets() {
            let Some(limit) = limit else { continue };
            let sum = sums.sum(request.currency, scope, sums.now().saturating_sub(seconds))?;
            let others = sum.counted_minor().saturating_sub(request.own_minor);
            let would_be = others.saturating_add(amount);
            if would_be > limit {
                let currency = request.currency;
                let message = format!(
                    "{} within any {window} is the limit, {} of it is left",
                    currency.format(limit),
                    currency.format(limit.saturating_sub(others)),
                );
                self.add(
                    "budget_exceeded",
                    format!("{name}.{window}"),
                    Verdict::Deny,
                    message,
                    Some((limit, would_be)),
                );
            }
        }
        Ok(())
    }

    fn velocity<S: Sums>(
        &mut self,
        name: &str,
        limits: &Limits,
        scope: &Scope,
        request: &Request<'_>,
        sums: &S,
    ) -> Result<(), S::Error> {
        // One that is gone on with was counted when it began.
        if request.own_minor > 0 {
            return Ok(());
        }
        for (window, seconds, limit) in limits.velocities() {
            let Some(limit) = limit else { continue };
            let begun = sums.sum(request.currency, scope, sums.now().saturating_sub(seconds))?.begun_count;
            let would_be = begun.saturating_add(1);
            if would_be > limit {
                let message = format!("{limit} payments within any {window} is the limit");
                self.add(
                    "velocity_exceeded",
                    format!("{name}.payments_per_{window}"),
                    Verdict::Deny,
                    message,
                    Some((limit, would_be)),
                );
            }
        }
        Ok(())
    }

    fn threshold(&mut self, name: &str, limits: &Limits, amount: u64, currency: Currency) {
        if let Some(limit) = limits.approval_above
            && amount > limit
        {
            let message = format!("a human must agree to more than {}", currency.format(limit));
            self.add(
                "approval_required",
                format!("{name}.approval_above"),
                Verdict::Approve,
                message,
                Some((limit, amount)),
            );
        }
    }

    /// Leaving out what a rule looks at evades no rule: a human looks instead.
    fn uncertain(&mut self, rules: &[Rule], request: &Request<'_>) {
        for rule in rules {
            let Applies::Unless(what) = rule.scope.applies_to(request) else { continue };
            if let RuleAction::Limit { currency, .. } = rule.action
                && currency != request.currency
            {
                continue;
            }
            let message = format!("a human must agree: a rule names a {what}, and that of this payment is not known");
            self.add("approval_required", format!("rule.{}", rule.name), Verdict::Approve, message, None);
        }
    }

    fn deny(&mut self, code: &str, rule: impl Into<String>, message: impl Into<String>) {
        self.add(code, rule.into(), Verdict::Deny, message.into(), None);
    }

    fn add(&mut self, code: &str, rule: String, verdict: Verdict, message: String, numbers: Option<(u64, u64)>) {
        let (limit, would_be) = numbers.unzip();
        self.0.push(Finding { code: code.to_owned(), rule, verdict, message, limit, would_be });
    }
}

impl Limits {
    /// The budgets: name, length in seconds, limit.
    pub(crate) const fn budgets(&self) -> [(&'static str, i64, Option<u64>); 4] {
        [
            ("hour", HOUR, self.hour),
            ("day", 24 * HOUR, self.day),
            ("week", 7 * 24 * HOUR, self.week),
            ("month", 31 * 24 * HOUR, self.month),
        ]
    }

    const fn velocities(&self) -> [(&'static str, i64, Option<u64>); 2] {
        [("minute", 60, self.payments_per_minute), ("hour", HOUR, self.payments_per_hour)]
    }
}

const HOUR: i64 = 3600;

/// Fewer payments have no mean worth comparing with.
const ENOUGH_TO_COMPARE: u64 = 5;
