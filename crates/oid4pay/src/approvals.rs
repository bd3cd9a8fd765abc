//! What the human decides, wherever they are asked: in a terminal, on the local page, or in the agent's client.
//!
//! A question is shown from verified data alone. Whoever answers it at a terminal or on the page proves that they are the
//! [`Human`]; what an answer in the client counts for is the policy's to say (`approval_in_client`).

mod human;

use jose::Clock as _;
use oid4ac_client::SystemClock;
use spend_guard::{
    Approval, ApprovalTerms, Budget, Claim, Consent, Currency, Filter, Intent, IntentId, Ledger, LedgerError, Policy,
    ResolutionVerdict, ResolvedBy, State, TimeReset, Verdict,
};

pub use self::human::{Human, NotHuman, Passphrase, check, choose, is_chosen, verify};

/// The purchases that wait for an answer, here or in the wallet, oldest first. Those whose time has passed are left out; the
/// next payment closes them.
///
/// # Errors
///
/// If the ledger cannot be read.
pub fn pending(ledger: &Ledger) -> Result<Vec<Intent>, LedgerError> {
    let now = ledger.now()?;
    let in_time = |intent: &Intent| decide_until(intent).is_some_and(|until| until > now);
    let mut waiting = Vec::new();
    for intent in ledger.every(Filter { open: Some(true), ..Filter::default() }) {
        waiting.extend(Some(intent?).filter(|intent| waits(intent) && in_time(intent)));
    }
    waiting.reverse();
    Ok(waiting)
}

/// Whether the person has to decide about it, here or in their wallet.
pub fn waits(intent: &Intent) -> bool {
    intent.state == State::AwaitingApproval || at_wallet(intent).is_some()
}

/// The consent page on which the person can decide now.
pub fn at_wallet(intent: &Intent) -> Option<&Consent> {
    let is_open = matches!(intent.state, State::Created | State::Approved | State::Authorized);
    intent.consent.as_ref().filter(|consent| is_open && consent.expires_at > SystemClock.now())
}

/// Until when they can decide.
pub fn decide_until(intent: &Intent) -> Option<jose::UnixSeconds> {
    match at_wallet(intent) {
        Some(consent) => Some(consent.expires_at),
        None => terms(intent).map(|terms| terms.expires_at),
    }
}

/// What the human is, or was, asked about an intent.
pub fn terms(intent: &Intent) -> Option<&ApprovalTerms> {
    match &intent.approval {
        Approval::Requested { terms } | Approval::Given { terms, .. } => Some(terms),
        _ => None,
    }
}

/// The question, line by line: label and value.
pub fn lines(terms: &ApprovalTerms) -> Vec<(String, String)> {
    let line = |label: &str, value: String| (label.to_owned(), value);
    let mut lines =
        vec![line("Merchant", terms.merchant.clone()), line("Amount", amount(terms.amount_minor, terms.currency))];
    lines.extend(terms.shown.iter().cloned());
    lines.push(line("Answer until", time(terms.expires_at)));
    lines
}

/// What is known of a purchase that nobody was asked about, line by line. Its items are what the agent says.
pub fn unasked(intent: &Intent) -> Vec<(String, String)> {
    let line = |label: &str, value: String| (label.to_owned(), value);
    let mut lines = vec![
        line("Merchant", intent.merchant.clone()),
        line("Amount", amount(intent.amount_minor, intent.currency)),
        line("State", intent.state.to_string()),
    ];
    lines.extend(cap_line(intent));
    lines.extend(intent.line_items.iter().map(|item| line("Item", format!("{} × {}", item.qty, plain(&item.sku)))));
    lines
}

/// The most that the merchant can charge, in minor units, where that is more than the amount.
pub fn cap_minor(intent: &Intent) -> Option<u64> {
    Some(intent.at_stake_minor()).filter(|cap| *cap > intent.amount_minor)
}

/// The same as a line for the person.
pub fn cap_line(intent: &Intent) -> Option<(String, String)> {
    cap_minor(intent).map(|cap| ("At most, by its mandate".to_owned(), amount(cap, intent.currency)))
}

/// Records the human's yes to exactly `terms`, the ones they were shown.
///
/// # Errors
///
/// - As [`Ledger::approve`]: by name if it was approved before, asked too long ago, or about something else.
pub fn approve(_: &Human, ledger: &Ledger, id: &IntentId, terms: &ApprovalTerms) -> Result<Intent, LedgerError> {
    ledger.approve(id, terms)
}

/// Records the human's no.
///
/// # Errors
///
/// - As [`Ledger::reject`].
pub fn reject(_: &Human, ledger: &Ledger, id: &IntentId) -> Result<Intent, LedgerError> {
    ledger.reject(id)
}

/// Records the human's word about what became of a purchase that may have been paid.
///
/// # Errors
///
/// - As [`Ledger::resolve`].
pub fn resolve(
    _: &Human,
    ledger: &Ledger,
    id: &IntentId,
    verdict: &ResolutionVerdict,
    by: ResolvedBy,
) -> Result<Intent, LedgerError> {
    ledger.resolve(id, verdict, by)
}

/// Ends a freeze. To begin one wants no proof: it only makes things safer.
///
/// # Errors
///
/// - As [`Ledger::unfreeze`].
pub fn unfreeze(_: &Human, ledger: &Ledger) -> Result<(), LedgerError> {
    ledger.unfreeze()
}

/// Puts a looser policy in force.
///
/// # Errors
///
/// - As [`Ledger::confirm`].
pub fn confirm(_: &Human, ledger: &Ledger, policy: &Policy) -> Result<(), LedgerError> {
    ledger.confirm(policy)
}

/// Takes the ledger as it is, although it is older than it was.
///
/// # Errors
///
/// - As [`Ledger::accept`].
pub fn accept(_: &Human, ledger: &Ledger) -> Result<(), LedgerError> {
    ledger.accept()
}

/// Brings the ledger's time back to the clock's.
///
/// # Errors
///
/// - As [`Ledger::reset_time`].
pub fn reset_time(_: &Human, ledger: &Ledger) -> Result<Option<TimeReset>, LedgerError> {
    ledger.reset_time()
}

/// What is shown of a claimed purchase beside merchant, amount and deadline.
///
/// # Errors
///
/// If the ledger cannot be read.
pub fn shown(claim: &Claim, ledger: &Ledger, policy: &Policy) -> Result<Vec<(String, String)>, LedgerError> {
    let intent = claim.intent();
    let mut shown = Vec::new();
    // What is asked about is the most that can be charged.
    if cap_minor(intent).is_some() {
        let order = intent.currency.format(intent.amount_minor);
        let order = format!("{order}; the amount above is the most that the mandate lets the merchant charge");
        shown.push(("Order".to_owned(), order));
    }
    for line in &intent.line_items {
        let price = line.unit_price_minor.map(|price| format!(", {} each", intent.currency.format(price)));
        shown.push(("Item".to_owned(), format!("{} × {}{}", line.qty, plain(&line.sku), price.unwrap_or_default())));
    }
    let basis = match (intent.mandate.is_some(), intent.offer_verified) {
        (true, _) => "taken from a mandate that the authorization server signed",
        (false, Some(true)) => "item and price are in an offer that the merchant signed",
        (false, _) => "NOT signed by the merchant: item and price are only what the agent says",
    };
    shown.push(("Basis".to_owned(), basis.to_owned()));
    let wants = claim.evaluation().findings.iter().filter(|finding| finding.verdict == Verdict::Approve);
    shown.extend(wants.map(|finding| ("Why you are asked".to_owned(), finding.message.clone())));
    if intent.offer_verified == Some(false) {
        shown.push(("Why you are asked".to_owned(), "the merchant signs no offer for it".to_owned()));
    }
    let left = left_of_budgets(&ledger.budgets(policy)?, intent.currency);
    if !left.is_empty() {
        shown.push(("Left after this".to_owned(), left));
    }
    Ok(shown)
}

/// `25.00 EUR within any hour, 325.00 EUR within any day`, what is held back being taken off.
fn left_of_budgets(budgets: &[Budget], currency: Currency) -> String {
    let of_currency = format!("currency.{currency}.");
    let relevant = budgets.iter().filter(|budget| budget.rule.starts_with(&of_currency));
    let parts: Vec<_> =
        relevant.map(|budget| format!("{} within any {}", currency.format(budget.left_minor), budget.window)).collect();
    parts.join(", ")
}

/// `75.50 EUR (seventy-five EUR and 50/100; 7550 in the smallest unit)`. In words too, since a digit more is easily missed.
pub fn amount(minor: u64, currency: Currency) -> String {
    let scale = 10u64.pow(u32::from(currency.exponent()));
    let mut words = format!("{} {currency}", in_words(minor / scale));
    if scale > 1 {
        words.push_str(&format!(" and {:0digits$}/{scale}", minor % scale, digits = usize::from(currency.exponent())));
    }
    format!("{} ({words}; {minor} in the smallest unit)", currency.format(minor))
}

/// A whole number in English.
fn in_words(number: u64) -> String {
    const SMALL: [&str; 20] = [
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
        "nineteen",
    ];
    const TENS: [&str; 10] = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
    const LARGE: [(u64, &str); 6] = [
        (1_000_000_000_000_000, "quadrillion"),
        (1_000_000_000_000, "trillion"),
        (1_000_000_000, "billion"),
        (1_000_000, "million"),
        (1000, "thousand"),
        (100, "hundred"),
    ];
    if let Some(small) = usize::try_from(number).ok().and_then(|number| SMALL.get(number)) {
        return (*small).to_owned();
    }
    if let Some((unit, name)) = LARGE.into_iter().find(|(unit, _)| number >= *unit) {
        let above = format!("{} {name}", in_words(number / unit));
        return match number % unit {
            0 => above,
            rest => format!("{above} {}", in_words(rest)),
        };
    }
    let tens = TENS.get(usize::try_from(number / 10).unwrap_or(0)).copied().unwrap_or_default();
    match number % 10 {
        0 => tens.to_owned(),
        ones => format!("{tens}-{}", in_words(ones)),
    }
}

/// RFC 3339, in UTC.
pub fn time(seconds: jose::UnixSeconds) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

/// `wallet` or `here`, as data.
pub fn where_it_waits(intent: &Intent) -> &'static str {
    if at_wallet(intent).is_some() { "wallet" } else { "here" }
}

/// A URL for a terminal, whole or not at all: a part of one leads elsewhere.
pub fn plain_url(url: &str) -> &str {
    if url.bytes().all(|octet| octet.is_ascii_graphic()) { url } else { "at an address that cannot be shown" }
}

/// At most eighty characters of a text that a stranger chose, everything but printable ASCII escaped.
pub fn plain(text: &str) -> String {
    let printable = |c: char| c == ' ' || c.is_ascii_graphic();
    text.chars().take(80).map(|c| if printable(c) { c.to_string() } else { c.escape_default().to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_said_in_digits_in_words_and_in_the_smallest_unit() {
        let said = |minor, code| amount(minor, Currency::parse(code).unwrap());
        assert_eq!(said(7550, "EUR"), "75.50 EUR (seventy-five EUR and 50/100; 7550 in the smallest unit)");
        assert_eq!(said(5000, "JPY"), "5000 JPY (five thousand JPY; 5000 in the smallest unit)");
        assert_eq!(said(1005, "KWD"), "1.005 KWD (one KWD and 005/1000; 1005 in the smallest unit)");
        assert_eq!(said(1, "EUR"), "0.01 EUR (zero EUR and 01/100; 1 in the smallest unit)");
    }

    #[test]
    fn numbers_are_written_as_in_a_cheque() {
        let rows = [
            (0, "zero"),
            (13, "thirteen"),
            (20, "twenty"),
            (99, "ninety-nine"),
            (100, "one hundred"),
            (101, "one hundred one"),
            (1_042, "one thousand forty-two"),
            (312_900, "three hundred twelve thousand nine hundred"),
            (2_000_001, "two million one"),
            (
                9_007_199_254_740_991,
                "nine quadrillion seven trillion one hundred ninety-nine billion two hundred fifty-four million seven \
                 hundred forty thousand nine hundred ninety-one",
            ),
        ];
        for (number, words) in rows {
            assert_eq!(in_words(number), words);
        }
        // Nothing is out of range.
        assert!(in_words(u64::MAX).starts_with("eighteen thousand four hundred forty-six quadrillion"));
    }

    #[test]
    fn a_strangers_text_cannot_move_the_cursor_or_the_reading_direction() {
        assert_eq!(plain("sock\u{1b}[2K\u{202e}42\n"), "sock\\u{1b}[2K\\u{202e}42\\n");
        assert_eq!(plain(&"x".repeat(200)).len(), 80);
    }
}
