//! JSON at its edges: what two parsers might read differently is refused or read in one pinned way.
#![allow(clippy::unwrap_used, reason = "tests")]

use jose::json::{InvalidJson, parse, parse_object};
use serde_json::{Value, json};

fn read(text: &str) -> Result<Value, InvalidJson> {
    parse(text.as_bytes())
}

#[test]
fn reads_numbers_at_the_edges() {
    let table = [
        ("0", json!(0)),
        ("9007199254740993", json!(9_007_199_254_740_993_u64)),
        ("18446744073709551615", json!(u64::MAX)),
        ("-9223372036854775808", json!(i64::MIN)),
        ("1.5", json!(1.5)),
        ("1e2", json!(100.0)),
        ("1e-400", json!(0.0)),
    ];
    for (text, expected) in table {
        assert_eq!(read(text).unwrap(), expected, "{text}");
    }
    // A number beyond 64 bits is a float and no integer any more: no amount or time can be read from it.
    for text in ["18446744073709551616", "-9223372036854775809", "1e2", "1.0", "-0"] {
        let value = read(text).unwrap();
        assert!(value.is_f64() && value.as_i64().is_none() && value.as_u64().is_none(), "{text}");
    }
}

#[test]
fn refuses_numbers_that_are_none() {
    for text in ["1e400", "-1e400", "01", "+1", ".5", "1.", "1e", "0x10", "NaN", "Infinity", "-", "--1", "1_000"] {
        assert!(read(text).is_err(), "{text}");
    }
}

#[test]
fn refuses_text_that_is_not_unicode() {
    for text in [r#""\ud800""#, r#""\udc00""#, r#""\ud800\u0041""#, r#"{"\ud800":1}"#, r#""\u12""#, r#""\x41""#] {
        assert!(read(text).is_err(), "{text}");
    }
    for octets in [
        &b"\"\xff\""[..],
        b"\"\xed\xa0\x80\"",
        b"\"\xc0\x80\"",
        b"\xff\xfe{\0}\0",
        b"\xef\xbb\xbf{}",
        b"{}\0",
        b"\"\n\"",
        b"\"\0\"",
    ] {
        assert!(parse(octets).is_err(), "{octets:?}");
    }
    assert_eq!(read(r#""\ud83d\ude00\u0000""#).unwrap(), json!("😀\0"));
}

#[test]
fn refuses_what_is_not_one_json_text() {
    for text in [
        "",
        " ",
        "{}{}",
        "{} []",
        "{},",
        "[1,]",
        "{\"a\":1,}",
        "{a:1}",
        "{'a':1}",
        "// c\n{}",
        "nul",
        "True",
        "[",
        "\"",
        "{\"a\"}",
    ] {
        assert!(read(text).is_err(), "{text}");
    }
    assert!(read(" \t\r\n{ } \n").is_ok());
    assert!(read("\u{b}{}").is_err(), "a vertical tab is no white space in JSON");
}

#[test]
fn refuses_duplicates_however_they_are_written() {
    for text in [
        r#"{"a":1,"a":1}"#,
        r#"{"a":1,"b":2,"a":3}"#,
        r#"{"a":1,"\u0061":2}"#,
        r#"{"":1,"":2}"#,
        r#"{"x":{"a":1,"a":1}}"#,
        r#"[[{"a":1,"a":1}]]"#,
        r#"{"a":{"a":{"b":null,"b":null}}}"#,
    ] {
        assert!(read(text).unwrap_err().is_duplicate_member(), "{text}");
    }
    // The same name at another level, in another case, or in another normal form is another member.
    for text in [r#"{"a":{"a":1}}"#, r#"{"a":1,"A":2}"#, "{\"\u{e9}\":1,\"e\u{301}\":2}", r#"[{"a":1},{"a":2}]"#] {
        assert!(read(text).is_ok(), "{text}");
    }
}

#[test]
fn nesting_is_limited_to_127_levels() {
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        let nested = |levels: usize| {
            let inner = if open == "[" { "" } else { "1" };
            format!("{}{inner}{}", open.repeat(levels), close.repeat(levels))
        };
        assert!(read(&nested(127)).is_ok());
        assert!(read(&nested(128)).is_err());
        assert!(read(&nested(100_000)).is_err(), "no stack is used up");
        assert!(read(&open.repeat(100_000)).is_err());
    }
}

#[test]
fn an_object_is_an_object() {
    assert_eq!(parse_object(br#"{"a":1}"#).unwrap()["a"], 1);
    for text in ["[]", "null", "1", "\"{}\"", "true"] {
        assert!(!parse_object(text.as_bytes()).unwrap_err().is_duplicate_member(), "{text}");
    }
}

#[test]
fn errors_say_where_but_never_what() {
    let error = read("{\"d\":\"secret\",\n \"d\":\"secret\"}").unwrap_err();
    assert_eq!(error.to_string(), "duplicate member at line 2 column 14");
    let error = read("{\"d\": secret}").unwrap_err();
    assert_eq!(error.to_string(), "not the JSON that is expected at line 1 column 7");
    assert!(!format!("{error:?}").contains("secret"));
}
