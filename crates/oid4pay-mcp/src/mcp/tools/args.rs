//! Arguments as the tools' schemas have them: what a schema refuses, these types refuse, and nothing else.

use core::fmt;

use rmcp::ErrorData;
use rmcp::model::JsonObject;
use serde::de::{DeserializeOwned, Error as _, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// Reads a tool's arguments.
///
/// # Errors
///
/// `invalid_params`, naming the member at fault and what it must be. No value that was given is repeated, because it may
/// be a secret in the wrong place.
pub(crate) fn parse<T: DeserializeOwned>(arguments: Option<JsonObject>) -> Result<T, ErrorData> {
    let arguments = Value::Object(arguments.unwrap_or_default());
    serde_path_to_error::deserialize(arguments).map_err(|error| {
        let path = error.path().to_string();
        let what = without_value(&error.into_inner().to_string());
        let message = match path.as_str() {
            "." => format!("invalid arguments: {what}"),
            path => format!("invalid argument `{}`: {what}", clipped(path)),
        };
        ErrorData::invalid_params(message, None)
    })
}

/// serde's message without the value that it may quote.
fn without_value(message: &str) -> String {
    match message.rfind(", expected ") {
        Some(at) if message.starts_with("invalid ") || message.starts_with("unknown variant") => {
            message.get(at + 2..).unwrap_or_default().to_owned()
        }
        _ => clipped(message),
    }
}

fn clipped(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(300).collect()
}

/// A string that is not empty.
#[derive(Deserialize, Serialize)]
#[serde(try_from = "String")]
pub(crate) struct Text(String);

impl Text {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn into_string(self) -> String {
        self.0
    }
}

impl TryFrom<String> for Text {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.is_empty() { Err("must not be empty") } else { Ok(Self(text)) }
    }
}

/// An absolute URI, kept as it was written.
#[derive(Deserialize, Serialize)]
#[serde(try_from = "String")]
pub(crate) struct Uri(String);

impl Uri {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn into_string(self) -> String {
        self.0
    }
}

impl TryFrom<String> for Uri {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match url::Url::parse(&text) {
            Ok(_) => Ok(Self(text)),
            Err(_) => Err("must be an absolute URI"),
        }
    }
}

/// An RFC 3339 date and time with its offset.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct DateTime(jiff::Timestamp);

impl DateTime {
    /// In UTC.
    pub(crate) fn into_string(self) -> String {
        self.0.to_string()
    }
}

impl TryFrom<String> for DateTime {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Self).map_err(|_| "must be an RFC 3339 date and time with its offset")
    }
}

/// Where a page begins: what the page before gave.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Cursor(oid4ac_client::AuditCursor);

impl Cursor {
    pub(crate) fn into_client(self) -> oid4ac_client::AuditCursor {
        self.0
    }
}

impl TryFrom<String> for Cursor {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        oid4ac_client::AuditCursor::parse(&text)
            .map(Self)
            .ok_or("must be the next_cursor of an answer, as it was given")
    }
}

/// Three letters that may be a currency's code.
#[derive(Deserialize, Serialize)]
#[serde(try_from = "String")]
pub(crate) struct CurrencyCode(String);

impl CurrencyCode {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for CurrencyCode {
    type Error = &'static str;

    fn try_from(code: String) -> Result<Self, Self::Error> {
        if code.chars().count() == 3 { Ok(Self(code)) } else { Err("must have 3 characters") }
    }
}

/// What tells one purchase from another with the same terms: 1 to 128 characters.
#[derive(Deserialize, Serialize)]
#[serde(try_from = "String")]
pub(crate) struct PurchaseRef(String);

impl PurchaseRef {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for PurchaseRef {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match (1..=128).contains(&text.chars().count()) {
            true => Ok(Self(text)),
            false => Err("must have 1 to 128 characters"),
        }
    }
}

/// An integer from `MIN` to `MAX`, written without fraction or exponent: no float ever stands for money.
#[derive(Serialize)]
pub(crate) struct Integer<const MIN: u64, const MAX: u64>(u64);

impl<const MIN: u64, const MAX: u64> Integer<MIN, MAX> {
    pub(crate) fn value(&self) -> u64 {
        self.0
    }
}

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Integer<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bounded<const MIN: u64, const MAX: u64>;

        impl<const MIN: u64, const MAX: u64> Visitor<'_> for Bounded<MIN, MAX> {
            type Value = u64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "an integer from {MIN} to {MAX}")
            }

            fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<u64, E> {
                match (MIN..=MAX).contains(&value) {
                    true => Ok(value),
                    false => Err(E::invalid_value(Unexpected::Unsigned(value), &self)),
                }
            }
        }

        deserializer.deserialize_u64(Bounded::<MIN, MAX>).map(Self)
    }
}

/// The largest integer that every JSON reader keeps exact (RFC 8259 §6).
pub(crate) const MAX_MINOR: u64 = (1 << 53) - 1;

/// Minor units of a price.
pub(crate) type Price = Integer<0, MAX_MINOR>;

/// A list that is not empty.
pub(crate) fn at_least_one<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let list = Vec::deserialize(deserializer)?;
    if list.is_empty() { Err(D::Error::custom("must have at least one item")) } else { Ok(list) }
}

/// An optional member that is there: `null` is no value of any of them.
pub(crate) fn present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// One line of a purchase.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LineItem {
    sku: Text,
    qty: Integer<1, 1_000_000>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    unit_price_minor: Option<Price>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    currency: Option<CurrencyCode>,
}

impl LineItem {
    pub(crate) fn into_client(self) -> oid4ac_client::LineItem {
        let qty = u32::try_from(self.qty.value()).unwrap_or(u32::MAX);
        let mut line = oid4ac_client::LineItem::new(self.sku.into_string(), qty);
        if let Some(price) = self.unit_price_minor {
            line = line.with_unit_price_minor(price.value());
        }
        match self.currency {
            Some(currency) => line.with_currency(currency.as_str()),
            None => line,
        }
    }
}

/// The arguments of a call as they are kept with its purchase, so that the call can be named again.
pub(crate) fn to_repeat(arguments: &impl Serialize) -> Value {
    // Strings and integers: writing them cannot fail.
    serde_json::to_value(arguments).unwrap_or_default()
}
