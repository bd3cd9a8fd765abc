//! Text from strangers, made fit to be shown.

/// Keeps at most `max_chars` characters of `text`, without control characters (and so without terminal escapes),
/// zero-width characters, and the characters that turn the direction of writing.
#[must_use]
pub fn clean(text: &str, max_chars: usize) -> String {
    text.chars().filter(|c| !is_deceptive(*c)).take(max_chars).collect()
}

/// `text`, if it is made like a code: 1 to 64 characters of an identifier.
pub(crate) fn code(text: &str) -> Option<&str> {
    is_identifier(text).then_some(text).filter(|text| text.len() <= 64)
}

/// Whether `text` is made like an identifier: 1 to 128 ASCII letters, digits, `.`, `_`, `:` and `-`.
#[must_use]
pub fn is_identifier(text: &str) -> bool {
    let belongs = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'_' | b':' | b'-');
    (1..=128).contains(&text.len()) && text.bytes().all(belongs)
}

/// Whether a character is not seen, or changes how others are seen.
pub(crate) fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_what_deceives_the_eye_and_keeps_the_rest() {
        assert_eq!(clean("a\u{1b}[31m\u{202e}b\u{200b}c\u{7}é\u{e0041}", 99), "a[31mbcé");
        assert_eq!(clean("abcdef", 3), "abc");
    }
}
