//! What is read tolerantly in a peer's JSON, since no money and no identity depends on it. Amounts, names and times that are
//! signed are never read with this.

use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;

/// RFC 8259 §8.1: a reader may ignore a byte order mark.
pub(crate) fn without_bom(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

/// A number of seconds: `300`, `300.0`, `"300"`; `null` is none.
pub(crate) fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        value => whole(&value).map(Some).ok_or_else(|| D::Error::custom("not a number of seconds")),
    }
}

/// As [`seconds`], where there has to be one.
pub(crate) fn needed_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    seconds(deserializer)?.ok_or_else(|| D::Error::custom("not a number of seconds"))
}

/// A count of things, in the same three forms.
pub(crate) fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let count = whole(&Value::deserialize(deserializer)?).and_then(|count| u64::try_from(count).ok());
    count.ok_or_else(|| D::Error::custom("not a count"))
}

/// A text to be shown or kept; what is no text is none.
pub(crate) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::String(text) => Ok(Some(text)),
        _ => Ok(None),
    }
}

/// A list of names: `null` is an empty one, and an element that is no text names nothing.
pub(crate) fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(optional_names(deserializer)?.unwrap_or_default())
}

/// As [`names`], where `null` is no list.
pub(crate) fn optional_names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    let list = Option::<Vec<Value>>::deserialize(deserializer)?;
    let text = |value| if let Value::String(text) = value { Some(text) } else { None };
    Ok(list.map(|list| list.into_iter().filter_map(text).collect()))
}

/// `null` is `false`.
pub(crate) fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(Option::<bool>::deserialize(deserializer)?.unwrap_or_default())
}

fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| whole_float(number.as_f64()?)),
        Value::String(text) if text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'.')) => {
            text.parse().ok().or_else(|| whole_float(text.parse().ok()?))
        }
        _ => None,
    }
}

/// A number that every `f64` up to it is exact for.
fn whole_float(number: f64) -> Option<i64> {
    const MOST: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "it has no fraction and is in range")]
    (number.fract() == 0.0 && number.abs() <= MOST).then_some(number as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_whole_number_is_read_in_three_forms_and_nothing_else_is_one() {
        for value in [json!(300), json!(300.0), json!(3e2), json!("300"), json!("300.0"), json!("0300")] {
            assert_eq!(whole(&value), Some(300), "{value}");
        }
        assert_eq!(whole(&json!("-5")), Some(-5));
        for value in [
            json!(300.5),
            json!("300.5"),
            json!(""),
            json!("soon"),
            json!(" 300"),
            json!("3e2"),
            json!("0x12c"),
            json!("inf"),
            json!("NaN"),
            json!(1e300),
            json!(true),
            json!([300]),
            json!({}),
            json!("."),
            json!("-"),
            Value::Null,
        ] {
            assert_eq!(whole(&value), None, "{value}");
        }
    }
}
