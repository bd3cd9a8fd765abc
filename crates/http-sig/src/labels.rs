//! The `Signature-Input` and `Signature` fields (RFC 9421 §4).

use core::convert::Infallible;

use sfv::visitor::{DictionaryVisitor, EntryVisitor};
use sfv::{Dictionary, KeyRef, Parser, Version};

use crate::field;
use crate::message::Fields;
use crate::unresolved::Unresolved;

/// A dictionary that remembers which labels came more than once.
///
/// As a structured field the last would win. RFC 9421 §4.1 and §4.2: "The signature labels MUST be unique across all
/// field values." A second signature under a used label is no way to replace the first.
#[derive(Default)]
pub(crate) struct Labels {
    pub(crate) members: Dictionary,
    pub(crate) repeated: Vec<String>,
}

impl Labels {
    /// `None` if the field is missing or empty, `Err` if it is no dictionary.
    pub(crate) fn read(fields: Fields<'_>, name: &str) -> Result<Option<Self>, Malformed> {
        let mut text = String::new();
        match field::write_combined(fields, name, &mut text) {
            Ok(()) => {}
            Err(Unresolved::NoField) => return Ok(None),
            Err(_) => return Err(Malformed),
        }
        // RFC 9421 is built on RFC 8941; a Date or Display String of RFC 9651 in one label is no reason not to read another.
        let parser = Parser::new(&text).with_version(Version::Rfc9651);
        let labels = parser.parse_dictionary_with_visitor(Self::default()).map_err(|_| Malformed)?;
        Ok(Some(labels).filter(|labels| !labels.members.is_empty()))
    }
}

impl<'de> DictionaryVisitor<'de> for Labels {
    type Out = Self;
    type Error = Infallible;

    fn entry(&mut self, key: &'de KeyRef) -> Result<impl EntryVisitor<'de>, Infallible> {
        if self.members.contains_key(key) {
            self.repeated.push(key.as_str().to_owned());
        }
        DictionaryVisitor::entry(&mut self.members, key)
    }

    fn finish(self) -> Result<Self, Infallible> {
        Ok(self)
    }
}

/// Not a dictionary.
pub(crate) struct Malformed;
