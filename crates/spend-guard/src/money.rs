//! Currencies and amounts: integers in minor units, never a float.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The largest amount the ledger takes: 2^53 − 1 minor units, the largest integer JSON carries safely.
pub const MAX_AMOUNT_MINOR: u64 = (1 << 53) - 1;

/// A currency of ISO 4217 that has a minor unit: three upper-case letters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency {
    code: [u8; 3],
    exponent: u8,
}

impl Currency {
    /// Parses an alphabetic code; lower case is accepted and becomes upper case.
    ///
    /// # Errors
    ///
    /// - [`UnknownCurrency`] if ISO 4217 has no such code, or gives it no minor unit (gold, the testing code).
    ///
    /// # Examples
    ///
    /// ```
    /// use spend_guard::Currency;
    /// assert_eq!(Currency::parse("jpy").unwrap().exponent(), 0);
    /// assert!(Currency::parse("XAU").is_err());
    /// ```
    pub fn parse(code: &str) -> Result<Self, UnknownCurrency> {
        let upper = code.to_ascii_uppercase();
        let known = iso_currency::Currency::from_code(&upper).ok_or(UnknownCurrency)?;
        Ok(Self {
            code: upper.as_bytes().try_into().map_err(|_| UnknownCurrency)?,
            exponent: u8::try_from(known.exponent().ok_or(UnknownCurrency)?).map_err(|_| UnknownCurrency)?,
        })
    }

    /// The three letters.
    #[must_use]
    pub fn code(&self) -> &str {
        str::from_utf8(&self.code).unwrap_or_default()
    }

    /// Digits after the decimal point in the major unit: 2 for EUR, 0 for JPY, 3 for KWD.
    #[must_use]
    pub const fn exponent(&self) -> u8 {
        self.exponent
    }

    /// The amount in minor units of one written in major units, as decimal digits: `12.50`. `None` if it is no such text,
    /// finer than the currency, or more than [`MAX_AMOUNT_MINOR`].
    ///
    /// # Examples
    ///
    /// ```
    /// use spend_guard::Currency;
    /// let (eur, jpy) = (Currency::parse("EUR").unwrap(), Currency::parse("JPY").unwrap());
    /// assert_eq!((eur.parse_major("12.5"), jpy.parse_major("500")), (Some(12_50), Some(500)));
    /// assert_eq!((eur.parse_major("12.505"), jpy.parse_major("500.0"), eur.parse_major("-1")), (None, None, None));
    /// ```
    #[must_use]
    pub fn parse_major(&self, amount: &str) -> Option<u64> {
        let (major, decimals) = split(amount)?;
        (decimals.len() <= usize::from(self.exponent)).then(|| scale(major, decimals, *self)).flatten()
    }

    /// The amount in major units with its code: `12.50 EUR`, `1250 JPY`, `1.250 KWD`.
    #[must_use]
    pub fn format(&self, amount_minor: u64) -> String {
        let scale = 10u64.pow(u32::from(self.exponent));
        match usize::from(self.exponent) {
            0 => format!("{amount_minor} {self}"),
            digits => format!("{}.{:0digits$} {self}", amount_minor / scale, amount_minor % scale),
        }
    }
}

impl PartialOrd for Currency {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Currency {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.code.cmp(&other.code)
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

impl FromStr for Currency {
    type Err = UnknownCurrency;

    fn from_str(code: &str) -> Result<Self, UnknownCurrency> {
        Self::parse(code)
    }
}

impl TryFrom<String> for Currency {
    type Error = UnknownCurrency;

    fn try_from(code: String) -> Result<Self, UnknownCurrency> {
        Self::parse(&code)
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.code().to_owned()
    }
}

/// The text is no currency code of ISO 4217.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a currency code of ISO 4217")]
#[non_exhaustive]
pub struct UnknownCurrency;

/// The digits before and after the point.
pub(crate) fn split(text: &str) -> Option<(&str, &str)> {
    let (major, decimals) = text.split_once('.').map_or((text, None), |(major, decimals)| (major, Some(decimals)));
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|octet| octet.is_ascii_digit());
    (is_digits(major) && decimals.is_none_or(is_digits)).then_some((major, decimals.unwrap_or_default()))
}

/// The minor units of an amount whose decimals are at most, or cut off to, those of the currency.
pub(crate) fn scale(major: &str, decimals: &str, currency: Currency) -> Option<u64> {
    let exponent = usize::from(currency.exponent());
    let mut minor: u64 = major.parse().ok()?;
    for place in 0..exponent {
        let digit = decimals.as_bytes().get(place).map_or(0, |octet| octet - b'0');
        minor = minor.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    (minor <= MAX_AMOUNT_MINOR).then_some(minor)
}

/// The amount `text` in minor units, decimals beyond the currency's own cut off; `None` if it is none.
pub(crate) fn major_floor(text: &str, currency: Currency) -> Option<u64> {
    let (major, decimals) = split(text)?;
    scale(major, decimals, currency).or(Some(MAX_AMOUNT_MINOR))
}
