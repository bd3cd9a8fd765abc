//! JSON read once, without copying its texts, and written in canonical form (RFC 8785).
//!
//! A chain of audit entries is hashed entry by entry, so this is where the time goes. `serde_json_canonicalizer` does the
//! same from an owned tree, several times slower; a property holds the two together.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::io::Write as _;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::money::MAX_MINOR;

/// A JSON value. The members of an object are in canonical order, and no name stands twice.
#[derive(Debug)]
pub(super) enum Node<'a> {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(Text<'a>),
    List(Vec<Self>),
    Object(Vec<(Text<'a>, Self)>),
}

/// Borrowed where the text stands in the input as it stands in canonical form, which is wherever nothing is escaped.
pub(super) type Text<'a> = Cow<'a, str>;

impl<'a> Node<'a> {
    /// The member `name` of an object.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        let Self::Object(members) = self else { return None };
        members.iter().find(|(member, _)| member == name).map(|(_, value)| value)
    }

    pub(super) fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Unsigned(number) => Some(*number),
            _ => None,
        }
    }

    pub(super) fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// Appends the canonical form, of an object without its member `but`. `None` where there is none: numbers are written
    /// as IEEE 754 doubles (§3.2.2.3), so no form keeps an integer beyond ±(2^53 − 1).
    pub(super) fn write_without(&self, but: &str, out: &mut Vec<u8>) -> Option<()> {
        let Self::Object(members) = self else { return self.write(out) };
        write_members(members.iter().filter(|(name, _)| name != but), out)
    }

    fn write(&self, out: &mut Vec<u8>) -> Option<()> {
        match self {
            Self::Null => out.extend(b"null"),
            Self::Bool(true) => out.extend(b"true"),
            Self::Bool(false) => out.extend(b"false"),
            Self::Unsigned(number) if *number <= MAX_MINOR => write!(out, "{number}").ok()?,
            Self::Signed(number) if number.unsigned_abs() <= MAX_MINOR => write!(out, "{number}").ok()?,
            // One beyond 2^64 is read as a float.
            Self::Unsigned(_) | Self::Signed(_) => return None,
            Self::Float(number) if number.abs() > MAX_MINOR as f64 => return None,
            Self::Float(number) => serde_json_canonicalizer::to_writer(number, out).ok()?,
            Self::Text(text) => write_text(text, out)?,
            Self::List(list) => {
                out.push(b'[');
                for (at, value) in list.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    value.write(out)?;
                }
                out.push(b']');
            }
            Self::Object(members) => write_members(members.iter(), out)?,
        }
        Some(())
    }

    pub(super) fn to_value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Unsigned(number) => Value::from(*number),
            Self::Signed(number) => Value::from(*number),
            Self::Float(number) => Number::from_f64(*number).map_or(Value::Null, Value::Number),
            Self::Text(text) => Value::from(text.as_ref()),
            Self::List(list) => list.iter().map(Self::to_value).collect(),
            Self::Object(members) => {
                let members = members.iter().map(|(name, value)| (name.as_ref().to_owned(), value.to_value()));
                Value::Object(members.collect::<Map<_, _>>())
            }
        }
    }
}

fn write_members<'n, 'a: 'n>(members: impl Iterator<Item = &'n (Text<'a>, Node<'a>)>, out: &mut Vec<u8>) -> Option<()> {
    out.push(b'{');
    for (at, (name, value)) in members.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_text(name, out)?;
        out.push(b':');
        value.write(out)?;
    }
    out.push(b'}');
    Some(())
}

fn write_text(text: &Text<'_>, out: &mut Vec<u8>) -> Option<()> {
    match text {
        Cow::Borrowed(text) => {
            out.push(b'"');
            out.extend_from_slice(text.as_bytes());
            out.push(b'"');
            Some(())
        }
        Cow::Owned(text) => serde_json_canonicalizer::to_writer(text, out).ok(),
    }
}

/// RFC 8785 §3.2.3: by UTF-16 code units, which for ASCII is by octets.
fn order(a: &str, b: &str) -> Ordering {
    if a.is_ascii() && b.is_ascii() { a.cmp(b) } else { a.encode_utf16().cmp(b.encode_utf16()) }
}

impl<'de: 'a, 'a> Deserialize<'de> for Node<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyNode)
    }
}

struct AnyNode;

impl<'de> Visitor<'de> for AnyNode {
    type Value = Node<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Node<'de>, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node<'de>, E> {
        Ok(Node::Bool(value))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Node<'de>, E> {
        Ok(Node::Unsigned(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Node<'de>, E> {
        Ok(Node::Signed(number))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Node<'de>, E> {
        Ok(Node::Float(number))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node<'de>, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = seq.next_element()? {
            list.push(value);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node<'de>, A::Error> {
        let mut members: Vec<(Text<'de>, Node<'de>)> = Vec::with_capacity(MEMBERS);
        while let Some((name, value)) = map.next_entry::<Name<'de>, _>()? {
            members.push((name.0, value));
        }
        members.sort_unstable_by(|(a, _), (b, _)| order(a, b));
        match members.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            true => Err(A::Error::custom("a member stands twice")),
            false => Ok(Node::Object(members)),
        }
    }
}

/// The name of a member, borrowed where it can be. (`Cow` itself never borrows when it is read.)
struct Name<'a>(Text<'a>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyName;
        impl<'de> Visitor<'de> for AnyName {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a member's name")
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(name)))
            }

            fn visit_str<E>(self, name: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }
        deserializer.deserialize_str(AnyName)
    }
}

/// As many as an audit entry has.
const MEMBERS: usize = 12;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(text: &str) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        serde_json::from_str::<Node<'_>>(text).unwrap().write(&mut out)?;
        Some(out)
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let number = prop_oneof![
            (-9_007_199_254_740_991_i64..=9_007_199_254_740_991).prop_map(Value::from),
            (-9e15..9e15).prop_map(Value::from),
            (-1.0..1.0).prop_map(Value::from),
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            number,
            ".{0,12}".prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(".{0,6}", inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn writes_what_the_plain_canonicalizer_writes(value in any_json(), spaced in any::<bool>()) {
            let text = if spaced { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            let value: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(canonical(&text), serde_json_canonicalizer::to_vec(&value).ok());
            prop_assert_eq!(serde_json::from_str::<Node<'_>>(&text).unwrap().to_value(), value);
        }
    }

    #[test]
    fn sorts_names_by_utf_16_and_writes_escapes_and_numbers_as_rfc_8785_does() {
        let text = r#"{"\u20ac":"\u000a\/","\ufb33":1e-27,"\ud83d\ude02":-0.0,"1":[1.0,333333333.33333329,1E-7],"\u00f6":"\u2028"}"#;
        let expected =
            "{\"1\":[1,333333333.3333333,1e-7],\"ö\":\"\u{2028}\",\"€\":\"\\n/\",\"😂\":0,\"\u{fb33}\":1e-27}";
        assert_eq!(canonical(text).unwrap(), expected.as_bytes());
    }

    #[test]
    fn refuses_members_that_stand_twice_however_they_are_written() {
        for text in [r#"{"a":1,"a":1}"#, r#"{"a":1,"b":2,"\u0061":3}"#, r#"[{"x":{"é":1,"\u00e9":2}}]"#] {
            assert!(serde_json::from_str::<Node<'_>>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_integer_that_a_double_cannot_keep_has_no_form() {
        for text in ["9007199254740992", "-9007199254740992", r#"{"a":[18446744073709551615]}"#, "18446744073709551616"]
        {
            assert_eq!(canonical(text), None, "{text}");
        }
        assert_eq!(canonical("9007199254740991").unwrap(), b"9007199254740991");
    }
}
