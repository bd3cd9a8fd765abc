use core::fmt;

use iso_currency::Currency as Iso;
use serde::{Serialize, Serializer};

/// A currency that has an alphabetic code and a minor unit in ISO 4217, upper-case.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Currency(Iso);

impl Currency {
    /// Reads an alphabetic code; case does not matter.
    ///
    /// # Errors
    ///
    /// - [`InvalidMoney::Currency`] for a code that ISO 4217 does not have, or that has no minor unit (gold, tests, …).
    pub fn parse(code: &str) -> Result<Self, InvalidMoney> {
        let iso = Iso::from_code(&code.to_ascii_uppercase()).ok_or(InvalidMoney::Currency)?;
        iso.exponent().map(|_| Self(iso)).ok_or(InvalidMoney::Currency)
    }

    /// The three letters.
    #[must_use]
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// How many decimal digits of the major unit the minor unit stands for: 2 for EUR, 0 for JPY, 3 for KWD.
    #[must_use]
    pub fn exponent(self) -> u16 {
        self.0.exponent().unwrap_or(0)
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

/// A positive amount: minor units of a currency, at most 2^53 − 1 (what every JSON reader keeps exact).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Money {
    amount_minor: u64,
    currency: Currency,
}

impl Money {
    /// An amount of `amount_minor` minor units.
    ///
    /// # Errors
    ///
    /// - [`InvalidMoney::Amount`] for 0 or more than 2^53 − 1.
    pub fn new(amount_minor: u64, currency: Currency) -> Result<Self, InvalidMoney> {
        if amount_minor == 0 || amount_minor > MAX_MINOR {
            return Err(InvalidMoney::Amount);
        }
        Ok(Self { amount_minor, currency })
    }

    /// Minor units.
    #[must_use]
    pub fn amount_minor(self) -> u64 {
        self.amount_minor
    }

    /// The currency.
    #[must_use]
    pub fn currency(self) -> Currency {
        self.currency
    }
}

impl fmt::Display for Money {
    /// Major units and code: `12.99 EUR`, `500 JPY`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = usize::from(self.currency.exponent());
        let base = 10_u64.pow(u32::from(self.currency.exponent()));
        write!(f, "{}", self.amount_minor / base)?;
        if digits > 0 {
            write!(f, ".{:0digits$}", self.amount_minor % base)?;
        }
        write!(f, " {}", self.currency)
    }
}

impl fmt::Debug for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why an amount or a currency is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidMoney {
    /// 0, or beyond 2^53 − 1.
    #[error("the amount is not between 1 and 2^53 - 1 minor units")]
    Amount,
    /// No ISO 4217 code with a minor unit.
    #[error("the currency is not an ISO 4217 code with a minor unit")]
    Currency,
}

/// RFC 8259 §6: the largest integer that implementations agree on.
pub(crate) const MAX_MINOR: u64 = (1 << 53) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_shown_with_its_currencys_digits() {
        let show = |minor, code| Money::new(minor, Currency::parse(code).unwrap()).unwrap().to_string();
        assert_eq!(show(1299, "EUR"), "12.99 EUR");
        assert_eq!(show(5, "eur"), "0.05 EUR");
        assert_eq!(show(500, "JPY"), "500 JPY");
        assert_eq!(show(1234, "KWD"), "1.234 KWD");
    }

    #[test]
    fn refuses_what_is_no_money() {
        for code in ["", "EU", "EURO", "XXX", "XAU", "ABC", "€"] {
            assert_eq!(Currency::parse(code), Err(InvalidMoney::Currency), "{code}");
        }
        let eur = Currency::parse("EUR").unwrap();
        assert_eq!(Money::new(0, eur), Err(InvalidMoney::Amount));
        assert_eq!(Money::new(1 << 53, eur), Err(InvalidMoney::Amount));
    }
}
