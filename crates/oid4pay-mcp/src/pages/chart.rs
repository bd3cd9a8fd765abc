//! Budgets as bars, and spending over time, as SVG. What a picture shows stands beside it in words.

use std::collections::BTreeMap;

use jose::UnixSeconds;
use spend_guard::{Budget, Currency, Intent};

use super::html::escape;

/// What is spent, held back and left of a budget.
pub(super) fn budget(budget: &Budget) -> String {
    let Budget { currency, limit_minor, settled_minor, unresolved_minor, reserved_minor, left_minor, .. } = budget;
    let spent = hundredths(*settled_minor, *limit_minor);
    let held = hundredths(reserved_minor.saturating_add(*unresolved_minor), *limit_minor).min(100 - spent);
    let tone = match spent + held {
        0..80 => "",
        80..100 => " warn",
        _ => " bad",
    };
    let reserved = match reserved_minor {
        0 => String::new(),
        held => format!(", {} held back", currency.format(*held)),
    };
    let unclear = match unresolved_minor {
        0 => String::new(),
        minor => format!(", {} may have been paid", currency.format(*minor)),
    };
    format!(
        "<li><div class=\"row\"><strong>{}</strong><span><strong>{}</strong> left</span></div>\
         <svg class=\"bar{tone}\" viewBox=\"0 0 100 4\" preserveAspectRatio=\"none\" aria-hidden=\"true\">\
         <rect class=\"spent\" width=\"{spent}\" height=\"4\"/><rect class=\"held\" x=\"{spent}\" width=\"{held}\" height=\"4\"/></svg>\
         <p class=\"soft\">{} spent{unclear}{reserved}, of {} within any {}</p></li>",
        name(budget),
        currency.format(*left_minor),
        currency.format(*settled_minor),
        currency.format(*limit_minor),
        budget.window
    )
}

/// `EUR per hour` for a budget of a currency, the rule's own name for others.
fn name(budget: &Budget) -> String {
    let rule = budget.rule.strip_prefix("rule.").and_then(|rule| rule.rsplit_once('.')).map(|(name, _)| name);
    let of = rule.map_or_else(|| budget.currency.to_string(), |name| format!("{}, {}", escape(name), budget.currency));
    format!("{of} per {}", budget.window)
}

/// How many hundredths `part` is of `whole`: rounded up, so that the least amount is seen, and at most 100.
fn hundredths(part: u64, whole: u64) -> u128 {
    if whole == 0 {
        return if part == 0 { 0 } else { 100 };
    }
    (u128::from(part) * 100).div_ceil(u128::from(whole)).min(100)
}

/// What was paid on each of the last thirty days (UTC), a picture for each currency.
pub(super) fn spending(settled: &[Intent], now: UnixSeconds) -> String {
    let today = now.div_euclid(DAY);
    let mut by_currency: BTreeMap<Currency, [u64; DAYS]> = BTreeMap::new();
    for intent in settled {
        let day = intent.settled_at.map(|at| today - at.div_euclid(DAY));
        let Some(ago) = day.and_then(|ago| usize::try_from(ago).ok()).filter(|ago| *ago < DAYS) else { continue };
        let sums = by_currency.entry(intent.currency).or_insert([0; DAYS]);
        sums[DAYS - 1 - ago] = sums[DAYS - 1 - ago].saturating_add(intent.amount_minor);
    }
    by_currency.iter().map(|(currency, sums)| picture(*currency, sums, today)).collect()
}

fn picture(currency: Currency, sums: &[u64; DAYS], today: i64) -> String {
    let most = sums.iter().copied().max().unwrap_or_default();
    let total = sums.iter().fold(0_u64, |total, sum| total.saturating_add(*sum));
    let bar = |(day, sum): (usize, &u64)| {
        let height = hundredths(*sum, most);
        let (x, y) = (day * 10 + 1, 100 - height);
        format!("<rect x=\"{x}\" y=\"{y}\" width=\"8\" height=\"{height}\" rx=\"1\"/>")
    };
    let bars: String = sums.iter().enumerate().filter(|(_, sum)| **sum > 0).map(bar).collect();
    let first = today - i64::try_from(DAYS).unwrap_or_default() + 1;
    let day = |ago: usize| date(first + i64::try_from(ago).unwrap_or_default());
    let rows: String = (0..DAYS)
        .rev()
        .filter(|day| sums[*day] > 0)
        .map(|at| format!("<tr><th scope=\"row\">{}</th><td>{}</td></tr>", day(at), currency.format(sums[at])))
        .collect();
    format!(
        "<div class=\"chart\"><div class=\"row\"><strong>{currency}</strong><span><strong>{}</strong> in {DAYS} days</span></div>\
         <p class=\"soft\">The most on one day: {}</p>\
         <svg viewBox=\"0 0 {} 100\" preserveAspectRatio=\"none\" aria-hidden=\"true\">\
         <path class=\"base\" d=\"M0 100H{}\"/>{bars}</svg>\
         <div class=\"row soft\"><span>{}</span><span>{}</span></div>\
         <details><summary>Day by day<span class=\"unseen\"> in {currency}</span></summary><table><caption class=\"unseen\">\
         Paid on each day in {currency}</caption><thead><tr><th scope=\"col\">Day</th><th scope=\"col\">Paid</th></tr></thead>\
         <tbody>{rows}</tbody></table></details></div>",
        currency.format(total),
        currency.format(most),
        DAYS * 10,
        DAYS * 10,
        day(0),
        day(DAYS - 1)
    )
}

fn date(day: i64) -> String {
    let at = day.checked_mul(DAY).and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    at.map(|at| at.strftime("%-d %b %Y").to_string()).unwrap_or_default()
}

pub(super) const DAYS: usize = 30;
pub(super) const DAY: UnixSeconds = 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_amount_is_seen_and_the_largest_fits() {
        assert_eq!(hundredths(0, 100), 0);
        assert_eq!(hundredths(1, 1_000_000), 1);
        assert_eq!(hundredths(80, 100), 80);
        assert_eq!(hundredths(u64::MAX, 1), 100);
        assert_eq!((hundredths(0, 0), hundredths(1, 0)), (0, 100));
    }

    #[test]
    fn nothing_spent_is_no_picture() {
        assert_eq!(spending(&[], 1_790_000_000), "");
    }
}
