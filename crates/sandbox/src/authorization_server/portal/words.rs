//! What the pages say in words: amounts, times, permissions, events.

use iso_currency::Currency;
use jose::UnixSeconds;

use super::html::escape;
use crate::config::{ConsentMode, StandingApproval};
use crate::scope::Scope;

/// An amount in the currency's major unit, `12.99 EUR`; in minor units where the currency's exponent is unknown.
pub(super) fn money(amount_minor: u64, currency: &str) -> String {
    let exponent = Currency::from_code(currency).and_then(Currency::exponent).map(u32::from);
    match exponent.and_then(|exponent| Some((exponent, 10_u64.checked_pow(exponent)?))) {
        Some((0, _)) => format!("{amount_minor} {}", escape(currency)),
        Some((exponent, unit)) => {
            let (major, minor) = (amount_minor / unit, amount_minor % unit);
            format!("{major}.{minor:0width$} {}", escape(currency), width = exponent as usize)
        }
        None => format!("{amount_minor} minor units of {}", escape(currency)),
    }
}

/// A time of this server's, RFC 3339 in UTC, as people write it: `20 Nov 2026, 17:05:51 UTC`.
pub(super) fn moment(rfc3339: &str) -> String {
    let shown = rfc3339.parse::<jiff::Timestamp>().map(|at| at.strftime("%-d %b %Y, %H:%M:%S UTC").to_string());
    format!("<time datetime=\"{}\">{}</time>", escape(rfc3339), shown.unwrap_or_else(|_| escape(rfc3339)))
}

pub(super) fn duration(seconds: UnixSeconds) -> String {
    match (seconds / 60, seconds % 60) {
        (1, 0) => "1 minute".to_owned(),
        (minutes, 0) => format!("{minutes} minutes"),
        _ => format!("{seconds} seconds"),
    }
}

/// What a scope permits, one sentence for each permission.
pub(super) fn permissions(scope: &Scope) -> impl Iterator<Item = &'static str> {
    let pays = scope.permits_payment().then_some("Pay within what you approve");
    pays.into_iter().chain(WALLET_SCOPES.iter().filter(|(name, _)| scope.contains(name)).map(|(_, words)| *words))
}

/// What an audit entry is about.
pub(super) fn event(name: &str) -> &str {
    match name {
        "oid4ac.mandate.issued" => "Mandate issued",
        "oid4ac.payment.succeeded" => "Payment settled",
        "oid4ac.payment.failed" => "Payment failed",
        "oid4ac.payment.disputed" => "Payment disputed",
        "oid4ac.token.revoked" => "Access ended",
        "oid4ac.privacy.access" => "Data asked for",
        other => other,
    }
}

/// What the principal approved in advance.
pub(super) fn approval_in_advance(mode: ConsentMode, approval: StandingApproval) -> String {
    if mode != ConsentMode::Auto {
        return "You are asked before each payment, and before an agent may see your wallet.".to_owned();
    }
    match approval {
        StandingApproval::AnyAmount => {
            "You have approved in advance what your agents pay, whatever the amount.".to_owned()
        }
        StandingApproval::UpToMinor(cap) => {
            format!("You have approved in advance what your agents pay, up to {cap} minor units for each payment.")
        }
        StandingApproval::None => "You have approved nothing in advance: every payment is declined.".to_owned(),
    }
}

/// The permissions at the wallet, each in words.
pub(super) const WALLET_SCOPES: [(&str, &str); 4] = [
    ("wallet:read", "See your agents"),
    ("wallet:write", "Revoke your agents"),
    ("audit:read", "Read what your agents did and paid"),
    ("privacy:dsar", "Ask for a copy of your data"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_has_the_places_of_its_currency() {
        let cases = [((1299, "EUR"), "12.99 EUR"), ((5, "EUR"), "0.05 EUR"), ((1200, "JPY"), "1200 JPY")];
        for ((amount, currency), shown) in cases {
            assert_eq!(money(amount, currency), shown);
        }
        assert_eq!(money(1234, "KWD"), "1.234 KWD");
    }

    #[test]
    fn a_time_is_written_for_people_and_kept_for_programs() {
        let shown = "<time datetime=\"2026-11-20T07:05:09Z\">20 Nov 2026, 07:05:09 UTC</time>";
        assert_eq!(moment("2026-11-20T07:05:09Z"), shown);
        assert_eq!(moment("<soon>"), "<time datetime=\"&lt;soon&gt;\">&lt;soon&gt;</time>");
    }

    #[test]
    fn both_names_of_the_payment_scope_are_one_permission() {
        let scope = Scope::parse("openid payment:initiate oid4ac:payment audit:read").unwrap();
        let words: Vec<_> = permissions(&scope).collect();
        assert_eq!(words, ["Pay within what you approve", "Read what your agents did and paid"]);
    }
}
