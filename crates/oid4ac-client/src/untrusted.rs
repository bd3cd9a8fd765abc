//! Text from strangers, made fit to be shown; and what an identifier, a time and a URL of theirs must be like to be taken
//! for one.

use jose::PublicKey;

use crate::{Endpoint, Origin};

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

/// `text`, if it is made like an identifier.
pub(crate) fn identifier(text: &str) -> Option<&str> {
    is_identifier(text).then_some(text)
}

/// Whether `text` is a time of RFC 3339: date, `T`, time with at most nine decimals, and `Z` or an offset.
#[must_use]
pub fn is_time(text: &str) -> bool {
    let octets = text.as_bytes();
    let shape = |shape: &[u8], octets: &[u8]| {
        shape.len() == octets.len()
            && shape.iter().zip(octets).all(|(wanted, octet)| match wanted {
                b'0' => octet.is_ascii_digit(),
                other => octet.eq_ignore_ascii_case(other),
            })
    };
    let Some((seconds, rest)) = octets.split_at_checked(DATE_AND_TIME.len()) else { return false };
    let rest = match rest.strip_prefix(b".") {
        None => rest,
        Some(rest) => match rest.iter().take_while(|octet| octet.is_ascii_digit()).count() {
            digits @ 1..=9 => &rest[digits..],
            _ => return false,
        },
    };
    shape(DATE_AND_TIME, seconds)
        && (shape(b"Z", rest) || shape(b"+00:00", rest) || shape(b"-00:00", rest))
        && text.parse::<jiff::Timestamp>().is_ok()
}

/// `text`, if it is a time.
pub(crate) fn time(text: &str) -> Option<&str> {
    is_time(text).then_some(text)
}

/// `text` as a URL: `https`, or `http` on a loopback host, of at most 2048 characters of RFC 3986, no more and no other.
pub(crate) fn url(text: &str) -> Option<Endpoint> {
    let belongs = |octet: u8| octet.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&octet);
    if text.len() > MAX_URL || !text.bytes().all(belongs) {
        return None;
    }
    Endpoint::parse(text).ok()
}

/// `text`, if it is a URL at `origin`.
pub(crate) fn url_at<'a>(origin: &Origin, text: &'a str) -> Option<&'a str> {
    is_url_at(origin.as_str(), text).then_some(text)
}

/// Whether `text` is a URL at `origin`, with no characters but those of RFC 3986.
#[must_use]
pub fn is_url_at(origin: &str, text: &str) -> bool {
    url(text).is_some_and(|endpoint| endpoint.origin().as_str() == origin)
}

/// `text`, if it is a compact JWS by its characters. Whether it holds is another matter.
pub(crate) fn compact_jws(text: &str) -> Option<&str> {
    let belongs = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_' | b'.');
    (text.split('.').count() == 3 && text.bytes().all(belongs)).then_some(text)
}

/// Those of `scopes` that are made like identifiers, a slash allowed.
pub(crate) fn scope(scopes: &str) -> String {
    let fitting = scopes.split(' ').filter(|scope| is_identifier(&scope.replace('/', "_")));
    fitting.take(MAX_SCOPES).collect::<Vec<_>>().join(" ")
}

/// What a key is called: by its owner, where that is an identifier, else by its thumbprint.
pub(crate) fn kid(named: Option<&str>, key: &PublicKey) -> String {
    named.and_then(identifier).unwrap_or_else(|| key.thumbprint().as_str()).to_owned()
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

const DATE_AND_TIME: &[u8] = b"0000-00-00T00:00:00";
const MAX_URL: usize = 2048;
const MAX_SCOPES: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_letters_digits_and_four_marks() {
        for good in ["pi_1", "mollie:tr_7UhSN1zuXS", "0198c6d5-b1f7", "a.b", &"x".repeat(128)] {
            assert!(is_identifier(good), "{good}");
        }
        let long = "x".repeat(129);
        for bad in ["", "a b", "a/b", "a\nb", "é", "a\u{200b}b", "<b>", "a;b", "`ls`", &long] {
            assert!(!is_identifier(bad), "{bad}");
        }
        assert_eq!(code(&"x".repeat(65)), None);
    }

    #[test]
    fn a_time_is_rfc_3339_and_nothing_beside_it() {
        for good in ["2026-05-15T05:21:28Z", "2026-05-15T05:21:28.123456789Z", "2026-05-15t05:21:28+02:00"] {
            assert!(is_time(good), "{good}");
        }
        for bad in [
            "",
            "now",
            "2026-05-15",
            "2026-05-15 05:21:28Z",
            "2026-05-15T05:21:28",
            "2026-13-15T05:21:28Z",
            "2026-05-15T25:21:28Z",
            "2026-05-15T05:21:28Z[Europe/Amsterdam]",
            "2026-05-15T05:21:28Z[u-ca=IGNORE]",
            "2026-05-15T05:21:28.Z",
            "2026-05-15T05:21:28.1234567890Z",
            "2026-05-15T05:21:28Z ",
            "+002026-05-15T05:21:28Z",
        ] {
            assert!(!is_time(bad), "{bad}");
        }
    }

    #[test]
    fn a_url_has_no_other_characters_and_may_have_to_be_at_an_origin() {
        let shop = Origin::of("https://shop.example").unwrap();
        let good = "https://shop.example/r/1?x=%20y";
        assert_eq!(url_at(&shop, good), Some(good));
        for bad in [
            "https://shop.example/a b",
            "https://shop.example/\u{202e}",
            "https://shop.example/\n",
            " https://shop.example/",
            "https://shop.example/<script>",
            "http://shop.example/",
            "https://user@shop.example/",
            "https://shop.example.evil.example/",
            "javascript:alert(1)",
            "/r/1",
            &format!("https://shop.example/{}", "x".repeat(2048)),
        ] {
            assert_eq!(url_at(&shop, bad), None, "{bad}");
        }
        assert!(url("http://127.0.0.1:8080/r").is_some());
    }

    #[test]
    fn a_scope_loses_what_no_scope_is() {
        assert_eq!(
            scope("openid payment:initiate https://api.example/read <b> \u{202e}x"),
            "openid payment:initiate https://api.example/read"
        );
    }

    #[test]
    fn drops_what_deceives_the_eye_and_keeps_the_rest() {
        assert_eq!(clean("a\u{1b}[31m\u{202e}b\u{200b}c\u{7}é\u{e0041}", 99), "a[31mbcé");
        assert_eq!(clean("abcdef", 3), "abc");
    }
}
