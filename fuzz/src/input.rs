//! Taking an input apart.

/// Takes the first line off, without its line end.
pub(crate) fn line<'a>(input: &mut &'a [u8]) -> &'a [u8] {
    let end = input.iter().position(|octet| *octet == b'\n').unwrap_or(input.len());
    let (first, rest) = input.split_at(end);
    *input = rest.get(1..).unwrap_or_default();
    first
}

/// The same as text; what is no UTF-8 is no text.
pub(crate) fn text<'a>(input: &mut &'a [u8]) -> &'a str {
    core::str::from_utf8(line(input)).unwrap_or_default()
}
