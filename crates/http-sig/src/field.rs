//! Values of field components (RFC 9421 §2.1).

use std::borrow::Cow;

use sfv::{Dictionary, FieldType as _, Item, ItemSerializer, List, ListEntry, ListSerializer, Parser};

use crate::message::{FieldType, Fields};
use crate::unresolved::Unresolved;

/// Appends the combined value (RFC 9421 §2.1): every line trimmed and unfolded, joined with `, `.
pub(crate) fn write_combined(fields: Fields<'_>, name: &str, out: &mut String) -> Result<(), Unresolved> {
    write_lines(fields, name, out, |line, out| {
        let line = core::str::from_utf8(line).ok().filter(|line| line.is_ascii()).ok_or(Unresolved::NotAscii)?;
        out.push_str(line);
        Ok(())
    })
}

/// `;bs` (RFC 9421 §2.1.3): every line as a byte sequence of its own.
pub(crate) fn write_binary(fields: Fields<'_>, name: &str, out: &mut String) -> Result<(), Unresolved> {
    write_lines(fields, name, out, |line, out| {
        let _ = ItemSerializer::with_buffer(out).bare_item(line).finish();
        Ok(())
    })
}

/// `;sf` (RFC 9421 §2.1.1): the value in the strict form of RFC 8941 §4.1.
///
/// With no known type, every type that the value parses as has to give one and the same text.
pub(crate) fn write_strict(
    fields: Fields<'_>,
    name: &str,
    known: Option<FieldType>,
    out: &mut String,
) -> Result<(), Unresolved> {
    let mut text = String::new();
    write_combined(fields, name, &mut text)?;
    let wanted = |kind| known.is_none_or(|known| known == kind);
    let dictionary =
        || Parser::new(&text).parse::<Dictionary>().ok().map(|value| value.serialize().unwrap_or_default());
    let list = || Parser::new(&text).parse::<List>().ok().map(|value| value.serialize().unwrap_or_default());
    let item = || Parser::new(&text).parse::<Item>().ok().map(|value| value.serialize());
    let readings = [
        wanted(FieldType::Dictionary).then(dictionary).flatten(),
        wanted(FieldType::List).then(list).flatten(),
        wanted(FieldType::Item).then(item).flatten(),
    ];
    let mut readings = readings.into_iter().flatten();
    let strict = readings.next().ok_or(Unresolved::NotStructured)?;
    if readings.any(|other| other != strict) {
        return Err(Unresolved::UnknownType);
    }
    out.push_str(&strict);
    Ok(())
}

/// `;key` (RFC 9421 §2.1.2): one member of a dictionary, in strict form, without its key.
pub(crate) fn write_member(fields: Fields<'_>, name: &str, key: &str, out: &mut String) -> Result<(), Unresolved> {
    let mut text = String::new();
    write_combined(fields, name, &mut text)?;
    let dictionary: Dictionary = Parser::new(&text).parse().map_err(|_| Unresolved::NotStructured)?;
    match dictionary.get(key).ok_or(Unresolved::NoMember)? {
        ListEntry::Item(item) => {
            let _ = ItemSerializer::with_buffer(out).bare_item(&item.bare_item).parameters(&item.params).finish();
        }
        ListEntry::InnerList(list) => {
            let mut serializer = ListSerializer::with_buffer(out);
            let mut inner = serializer.inner_list();
            inner.items(&list.items);
            let _ = inner.finish().parameters(&list.params).finish();
        }
    }
    Ok(())
}

fn write_lines(
    fields: Fields<'_>,
    name: &str,
    out: &mut String,
    mut write: impl FnMut(&[u8], &mut String) -> Result<(), Unresolved>,
) -> Result<(), Unresolved> {
    let mut lines = fields.values(name).peekable();
    if lines.peek().is_none() {
        return Err(Unresolved::NoField);
    }
    for (index, line) in lines.enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        write(&clean(line)?, out)?;
    }
    Ok(())
}

/// One field line without obsolete folding and without white space around it (RFC 9421 §2.1 steps 2 and 3).
///
/// What is left must be able to stand in a field (RFC 9110 §5.5). A line end that folds nothing could start a line of
/// its own in the signature base, so it is refused rather than repaired.
fn clean(line: &[u8]) -> Result<Cow<'_, [u8]>, Unresolved> {
    let line = if line.contains(&b'\n') { Cow::Owned(unfold(line)) } else { Cow::Borrowed(line) };
    if line.iter().any(|octet| octet.is_ascii_control() && *octet != b'\t') {
        return Err(Unresolved::ControlCharacter);
    }
    Ok(match line {
        Cow::Borrowed(line) => Cow::Borrowed(trim(line)),
        Cow::Owned(line) => Cow::Owned(trim(&line).to_vec()),
    })
}

/// Replaces each `obs-fold` (RFC 9112 §5.2), white space around it included, by one space.
fn unfold(line: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some((&octet, after)) = rest.split_first() {
        rest = after;
        let folds = octet == b'\n' && after.first().copied().is_some_and(is_space);
        if !folds {
            out.push(octet);
            continue;
        }
        if out.last() == Some(&b'\r') {
            out.pop();
        }
        while out.last().copied().is_some_and(is_space) {
            out.pop();
        }
        out.push(b' ');
        while let [first, after @ ..] = rest
            && is_space(*first)
        {
            rest = after;
        }
    }
    out
}

fn trim(mut line: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = line
        && is_space(*first)
    {
        line = rest;
    }
    while let [rest @ .., last] = line
        && is_space(*last)
    {
        line = rest;
    }
    line
}

fn is_space(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t')
}
