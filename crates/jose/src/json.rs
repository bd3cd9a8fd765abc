//! JSON as signed artefacts need it: a duplicate member is an error (RFC 7515 §4, RFC 7519 §4 leave the choice; we refuse).
//!
//! Two parsers that disagree about which duplicate counts let one token mean two things, so none is read.

use core::fmt;
use std::collections::BTreeMap;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};
use zeroize::Zeroize as _;

/// Parses one JSON text; nothing but white space may follow it. Nesting is limited to 127 levels.
///
/// # Errors
///
/// - [`InvalidJson`] for anything that is not one JSON text in UTF-8, for a duplicate member at any depth, and for
///   nesting beyond the limit.
///
/// # Examples
///
/// ```
/// assert!(jose::json::parse(br#"{"a":{"b":1}}"#).is_ok());
/// assert!(jose::json::parse(br#"{"a":{"b":1,"b":1}}"#).is_err());
/// ```
pub fn parse(text: &[u8]) -> Result<Value, InvalidJson> {
    let mut de = serde_json::Deserializer::from_slice(text);
    let mut value = Strict.deserialize(&mut de).map_err(|e| InvalidJson::at(&e))?;
    match de.end() {
        Ok(()) => Ok(value),
        Err(error) => {
            wipe_value(&mut value);
            Err(InvalidJson::at(&error))
        }
    }
}

/// Parses a JSON text that must be an object.
///
/// # Errors
///
/// - [`InvalidJson`] as for [`parse`], and for a text that is not an object.
pub fn parse_object(text: &[u8]) -> Result<Map<String, Value>, InvalidJson> {
    match parse(text)? {
        Value::Object(map) => Ok(map),
        _ => Err(InvalidJson { line: 1, column: 1, duplicate: false }),
    }
}

/// The members of an object, their values unread. A value may itself be what [`parse`] refuses.
pub(crate) fn members(text: &[u8]) -> Result<BTreeMap<String, &RawValue>, InvalidJson> {
    let mut de = serde_json::Deserializer::from_slice(text);
    let members = de.deserialize_map(Members).map_err(|e| InvalidJson::at(&e))?;
    de.end().map_err(|e| InvalidJson::at(&e))?;
    Ok(members)
}

/// The text is not JSON as this module reads it. Says where, never what stood there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidJson {
    line: usize,
    column: usize,
    duplicate: bool,
}

impl InvalidJson {
    fn at(error: &serde_json::Error) -> Self {
        Self { line: error.line(), column: error.column(), duplicate: error.to_string().starts_with(DUPLICATE) }
    }

    /// Whether the reason was a duplicate member.
    #[must_use]
    pub fn is_duplicate_member(&self) -> bool {
        self.duplicate
    }
}

impl fmt::Display for InvalidJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.duplicate { DUPLICATE } else { "not the JSON that is expected" };
        write!(f, "{what} at line {} column {}", self.line, self.column)
    }
}

impl std::error::Error for InvalidJson {}

/// Takes an object apart, and no more than that.
struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = BTreeMap<String, &'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut members = BTreeMap::new();
        while let Some((name, value)) = access.next_entry()? {
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom(DUPLICATE));
            }
        }
        Ok(members)
    }
}

/// Builds a [`Value`] while it watches for duplicate members.
struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(Self)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        match fill(&mut map, &mut access) {
            Ok(()) => Ok(Value::Object(map)),
            Err(error) => {
                // What is thrown away may be half of a private key.
                wipe(&mut map);
                Err(error)
            }
        }
    }
}

fn fill<'de, A: MapAccess<'de>>(map: &mut Map<String, Value>, access: &mut A) -> Result<(), A::Error> {
    while let Some(name) = access.next_key::<String>()? {
        let value = access.next_value_seed(Strict)?;
        if let Some(mut first) = map.insert(name, value) {
            wipe_value(&mut first);
            return Err(A::Error::custom(DUPLICATE));
        }
    }
    Ok(())
}

/// Overwrites every string among the values, at any depth.
pub(crate) fn wipe(map: &mut Map<String, Value>) {
    map.values_mut().for_each(wipe_value);
}

fn wipe_value(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe_value),
        Value::Object(map) => wipe(map),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

const DUPLICATE: &str = "duplicate member";
