//! Reading a policy file.
//!
//! ```toml
//! replay_hours = 24          # how long a repeated purchase is answered from the first one
//! intent_minutes = 60        # when what was never presented gives its money back
//! approval_minutes = 60      # how long a human's yes counts
//! approval_in_client = true  # whether one given in the agent's client counts, or only in a terminal or on the page
//!
//! [merchants]                # globs on origins: `*` any characters of a host, `?` one
//! allow = ["https://*.alpacanica.com"]
//! deny = ["https://casino.example"]
//!
//! [currency.EUR]             # amounts in major units: an integer, or digits in quotes
//! per_transaction = 100
//! approval_above = "49.99"
//! hour = 200
//! day = 500
//! week = "none"
//! payments_per_minute = 10
//!
//! [currency.USD]
//! allowed = false
//!
//! [alerts]
//! payments_per_minute = 5
//!
//! [[rule]]
//! name = "books"
//! merchant = "https://books.example"
//! currency = "EUR"
//! day = 30
//!
//! [[rule]]
//! name = "no gambling"
//! mcc = ["7995"]
//! action = "deny"
//! ```
//!
//! Merchants are origins and are read as such: case, white space around them, a slash or a dot at the end, a default port
//! and Unicode names make no difference, and what no origin can match is an error. A merchant of `deny` or of a rule covers
//! every port unless it names one; one of `allow` only the port it names, or the default one.
//!
//! EUR, USD and GBP keep the defaults for what the file leaves out. A currency beyond these must say all of
//! `per_transaction`, `approval_above`, `hour` and `day`.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::merchant::{Use, fold, normalise};
use super::rules::{Limits, Rule, RuleAction, Rules, Scope};
use super::{Policy, Reading};
use crate::money::{Currency, MAX_AMOUNT_MINOR, scale, split};

/// Why a policy file cannot be used, and where. Payments stop until it is fixed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {reason}")]
#[non_exhaustive]
pub struct PolicyError {
    /// The name the caller gave.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub reason: String,
}

impl Policy {
    /// Reads the text of a policy file. `file` is only its name in errors.
    ///
    /// # Errors
    ///
    /// - [`PolicyError`] for text that is no TOML, a key that does not exist or stands twice, an amount that is negative,
    ///   a floating-point number or finer than its currency, a currency that ISO 4217 does not have, a name used twice, a
    ///   merchant that no origin can match.
    ///
    /// # Examples
    ///
    /// ```
    /// use spend_guard::Policy;
    /// let policy = Policy::parse("[currency.EUR]\nhour = \"12.50\"", "policy.toml").unwrap();
    /// let error = Policy::parse("[currency.EUR]\nhour = 12.50", "policy.toml").unwrap_err();
    /// assert_eq!((error.line, error.column), (2, 8));
    /// ```
    pub fn parse(text: &str, file: &str) -> Result<Self, PolicyError> {
        let at = |span: Range<usize>, reason: String| {
            let before = text.get(..span.start).unwrap_or(text);
            let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
            PolicyError {
                file: file.to_owned(),
                line: before.matches('\n').count() + 1,
                column: before[line_start..].chars().count() + 1,
                reason,
            }
        };
        let document =
            DeTable::parse(text).map_err(|error| at(error.span().unwrap_or_default(), error.message().to_owned()))?;
        let mut read = Vec::new();
        let rules = rules(document.get_ref(), &mut read).map_err(|Problem(span, reason)| at(span, reason))?;
        read.sort_unstable_by_key(|(span, _)| span.start);
        let mut policy = Self::new(rules);
        policy.readings = read
            .into_iter()
            .filter_map(|(span, (written, read_as))| {
                let written = written.escape_debug().to_string();
                (written != read_as).then(|| Reading { line: at(span, String::new()).line, written, read_as })
            })
            .collect();
        Ok(policy)
    }
}

/// What is wrong, and where in the text.
struct Problem(Range<usize>, String);

/// What was written where, and what it was read as.
type Read = Vec<(Range<usize>, (String, String))>;

type Value<'i> = Spanned<DeValue<'i>>;

fn rules(document: &DeTable<'_>, read: &mut Read) -> Result<Rules, Problem> {
    let mut rules = Rules::default();
    for (key, value) in document {
        match key.get_ref().as_ref() {
            "replay_hours" => rules.replay_seconds = number(value, MAX_HOURS)? as u32 * 3600,
            "intent_minutes" => rules.intent_seconds = number(value, MAX_HOURS * 60)? as u32 * 60,
            "approval_minutes" => rules.approval_seconds = number(value, MAX_HOURS * 60)? as u32 * 60,
            "approval_in_client" => rules.approval_in_client = boolean(value)?,
            "merchants" => merchants(table(value)?, &mut rules, read)?,
            "currency" => currencies(table(value)?, &mut rules.currencies)?,
            "alerts" => alerts(table(value)?, &mut rules)?,
            "rule" => {
                let DeValue::Array(list) = value.get_ref() else {
                    return Err(problem(value, "rules are written as [[rule]]"));
                };
                for entry in list.iter() {
                    let new = rule(entry, read)?;
                    if rules.rules.iter().any(|rule| rule.name == new.name) {
                        return Err(problem(entry, format!("a second rule is named \"{}\"", printable(&new.name))));
                    }
                    rules.rules.push(new);
                }
            }
            _ => {
                return Err(unknown(
                    key,
                    "replay_hours, intent_minutes, approval_minutes, approval_in_client, merchants, currency, alerts, rule",
                ));
            }
        }
    }
    Ok(rules)
}

fn merchants(table: &DeTable<'_>, rules: &mut Rules, read: &mut Read) -> Result<(), Problem> {
    for (key, value) in table {
        match key.get_ref().as_ref() {
            "allow" => rules.allow_merchants = Some(texts(value, |span, text| glob(span, text, Use::Permit, read))?),
            "deny" => rules.deny_merchants = texts(value, |span, text| glob(span, text, Use::Restrict, read))?,
            _ => return Err(unknown(key, "allow, deny")),
        }
    }
    Ok(())
}

fn alerts(table: &DeTable<'_>, rules: &mut Rules) -> Result<(), Problem> {
    for (key, value) in table {
        match key.get_ref().as_ref() {
            "payments_per_minute" => rules.alerts.payments_per_minute = number(value, MAX_AMOUNT_MINOR)?,
            "budget_percent" => rules.alerts.budget_percent = number(value, 100)?,
            "times_the_mean" => rules.alerts.times_the_mean = number(value, 1_000_000)?,
            _ => return Err(unknown(key, "payments_per_minute, budget_percent, times_the_mean")),
        }
    }
    Ok(())
}

fn currencies(table_of: &DeTable<'_>, currencies: &mut BTreeMap<Currency, Limits>) -> Result<(), Problem> {
    let mut seen = Vec::new();
    for (key, value) in table_of {
        let currency = currency(key.span(), key.get_ref())?;
        if seen.contains(&currency) {
            return Err(Problem(key.span(), format!("{currency} stands twice")));
        }
        seen.push(currency);
        let mut limits = currencies.remove(&currency);
        let is_new = limits.is_none();
        let mut is_allowed = true;
        let limits = limits.get_or_insert_default();
        let table = table(value)?;
        for (key, value) in table {
            if key.get_ref() == "allowed" {
                is_allowed = boolean(value)?;
            } else if !limit(key.get_ref(), value, currency, limits)? {
                return Err(unknown(key, &format!("allowed, {LIMITS}")));
            }
        }
        if !is_allowed {
            continue;
        }
        let wanted = ["per_transaction", "approval_above", "hour", "day"];
        if let Some(missing) = wanted.iter().find(|wanted| is_new && !table.contains_key(**wanted)) {
            return Err(Problem(key.span(), format!("{currency} has no default limits: {missing} is missing")));
        }
        currencies.insert(currency, limits.clone());
    }
    Ok(())
}

fn rule(entry: &Value<'_>, read: &mut Read) -> Result<Rule, Problem> {
    let table = table(entry)?;
    let mut scope = Scope::default();
    let (mut name, mut action) = (None, None);
    let mut limited = Vec::new();
    for (key, value) in table {
        match key.get_ref().as_ref() {
            "name" => name = Some(text(value)?.to_owned()),
            "merchant" => scope.merchants = texts(value, |span, text| glob(span, text, Use::Restrict, read))?,
            "category" => scope.categories = texts(value, |span, text| category(span, text, read))?,
            "mcc" => scope.mccs = texts(value, mcc)?,
            "agent" => scope.agents = texts(value, |_, text| Ok(text.to_owned()))?,
            "currency" => scope.currencies = texts(value, currency)?,
            "action" => {
                action = Some(match text(value)? {
                    "deny" => RuleAction::Deny,
                    "approve" => RuleAction::Approve,
                    _ => return Err(problem(value, "deny or approve is wanted")),
                });
            }
            _ => limited.push((key, value)),
        }
    }
    let Some(name) = name.filter(|name: &String| !name.is_empty()) else {
        return Err(problem(entry, "a rule needs a name"));
    };
    let action = match (action, limited.as_slice()) {
        (Some(action), []) => action,
        (Some(_), [(key, _), ..]) => {
            return Err(Problem(key.span(), "a rule has either an action or limits".to_owned()));
        }
        (None, []) => return Err(problem(entry, format!("a rule needs an action, or limits: {LIMITS}"))),
        (None, limited) => {
            let [currency] = scope.currencies[..] else {
                return Err(problem(entry, "a rule with limits needs exactly one currency"));
            };
            let mut limits = Limits::default();
            for (key, value) in limited {
                if !limit(key.get_ref(), value, currency, &mut limits)? {
                    return Err(unknown(
                        key,
                        &format!("name, merchant, category, mcc, agent, currency, action, {LIMITS}"),
                    ));
                }
            }
            RuleAction::Limit { currency, limits }
        }
    };
    Ok(Rule { name, scope, action })
}

/// Sets the limit `name`; false if there is none of that name.
fn limit(name: &str, value: &Value<'_>, currency: Currency, limits: &mut Limits) -> Result<bool, Problem> {
    let (field, is_amount) = match name {
        "per_transaction" => (&mut limits.per_transaction, true),
        "approval_above" => (&mut limits.approval_above, true),
        "hour" => (&mut limits.hour, true),
        "day" => (&mut limits.day, true),
        "week" => (&mut limits.week, true),
        "month" => (&mut limits.month, true),
        "alert_above" => (&mut limits.alert_above, true),
        "payments_per_minute" => (&mut limits.payments_per_minute, false),
        "payments_per_hour" => (&mut limits.payments_per_hour, false),
        _ => return Ok(false),
    };
    *field = if value.get_ref().as_str() == Some("none") {
        None
    } else if is_amount {
        Some(amount(value, currency)?)
    } else {
        Some(number(value, MAX_AMOUNT_MINOR)?)
    };
    Ok(true)
}

/// An amount in major units: an integer, or a text of digits with at most as many decimals as the currency has.
fn amount(value: &Value<'_>, currency: Currency) -> Result<u64, Problem> {
    let digits = match value.get_ref() {
        DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str(),
        DeValue::String(text) => text.as_ref(),
        DeValue::Float(_) => {
            return Err(problem(
                value,
                "floating-point numbers are not taken for money: write digits in quotes, as in \"12.50\"",
            ));
        }
        _ => return Err(problem(value, "an amount is wanted: an integer, digits in quotes, or \"none\"")),
    };
    if digits.starts_with('-') {
        return Err(problem(value, "an amount cannot be negative"));
    }
    let Some((major, decimals)) = split(digits) else {
        return Err(problem(value, "not an amount: decimal digits are wanted, as in \"12.50\""));
    };
    if decimals.len() > usize::from(currency.exponent()) {
        return Err(problem(value, format!("{currency} has {} decimals, this amount has more", currency.exponent())));
    }
    scale(major, decimals, currency).ok_or_else(|| problem(value, "the amount is too large"))
}

fn number(value: &Value<'_>, most: u64) -> Result<u64, Problem> {
    let number = match value.get_ref() {
        DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str().parse::<i128>().ok(),
        DeValue::Float(_) => return Err(problem(value, "a whole number is wanted")),
        _ => None,
    };
    match number {
        Some(number) if number < 0 => Err(problem(value, "the number cannot be negative")),
        Some(number) if number > i128::from(most) => Err(problem(value, format!("the number is at most {most}"))),
        Some(number) => u64::try_from(number).map_err(|_| problem(value, "a whole number is wanted")),
        None => Err(problem(value, "a whole number is wanted")),
    }
}

/// A text or a list of texts, each read by `read`; sorted, so that their order makes no other policy.
fn texts<T: Ord>(
    value: &Value<'_>,
    mut read: impl FnMut(Range<usize>, &str) -> Result<T, Problem>,
) -> Result<Vec<T>, Problem> {
    let mut list = match value.get_ref() {
        DeValue::Array(list) => {
            list.iter().map(|entry| read(entry.span(), text(entry)?)).collect::<Result<Vec<_>, _>>()?
        }
        _ => vec![read(value.span(), text(value)?)?],
    };
    if list.is_empty() {
        return Err(problem(value, "the list is empty: it would say nothing, or nothing but no"));
    }
    list.sort_unstable();
    list.dedup();
    Ok(list)
}

fn glob(span: Range<usize>, text: &str, used: Use, read: &mut Read) -> Result<String, Problem> {
    let pattern = normalise(text, used).map_err(|reason| Problem(span.clone(), reason))?;
    read.push((span, (text.to_owned(), pattern.clone())));
    Ok(pattern)
}

fn category(span: Range<usize>, text: &str, read: &mut Read) -> Result<String, Problem> {
    let category = fold(text);
    if category.is_empty() {
        return Err(Problem(span, "no payment has an empty category".to_owned()));
    }
    read.push((span, (text.to_owned(), category.clone())));
    Ok(category)
}

fn mcc(span: Range<usize>, text: &str) -> Result<String, Problem> {
    let text = text.trim();
    if text.len() == 4 && text.bytes().all(|octet| octet.is_ascii_digit()) {
        return Ok(text.to_owned());
    }
    Err(Problem(span, "a merchant category code has four digits".to_owned()))
}

fn currency(span: Range<usize>, text: &str) -> Result<Currency, Problem> {
    Currency::parse(text).map_err(|error| Problem(span, error.to_string()))
}

fn boolean(value: &Value<'_>) -> Result<bool, Problem> {
    value.get_ref().as_bool().ok_or_else(|| problem(value, "true or false is wanted"))
}

fn text<'v>(value: &'v Value<'_>) -> Result<&'v str, Problem> {
    value.get_ref().as_str().ok_or_else(|| problem(value, "a text is wanted"))
}

fn table<'v, 'i>(value: &'v Value<'i>) -> Result<&'v DeTable<'i>, Problem> {
    value.get_ref().as_table().ok_or_else(|| problem(value, "a table is wanted"))
}

fn unknown(key: &Spanned<DeString<'_>>, known: &str) -> Problem {
    Problem(key.span(), format!("unknown key \"{}\"; known are {known}", printable(key.get_ref())))
}

fn problem(value: &Value<'_>, reason: impl Into<String>) -> Problem {
    Problem(value.span(), reason.into())
}

/// At most forty characters of `text`, its control characters escaped.
fn printable(text: &str) -> impl fmt::Display {
    text.chars().take(40).collect::<String>().escape_debug().to_string()
}

const LIMITS: &str =
    "per_transaction, approval_above, hour, day, week, month, payments_per_minute, payments_per_hour, alert_above";

/// Ten years.
const MAX_HOURS: u64 = 10 * 366 * 24;
