//! Component identifiers and values: the examples of RFC 9421 §2.1 to §2.5, and what has no value.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use http_sig::{Component, FieldType, InvalidComponent, Message, SignError, Unresolved};
use support::{lines, sign};

fn get<'a>(uri: &'a str, headers: &'a [(&'a str, &'a [u8])]) -> Message<'a> {
    Message::request("GET", uri, headers).unwrap()
}

fn unresolved(message: &Message<'_>, component: &str) -> Unresolved {
    match sign(message, &[component]) {
        Err(SignError::Unresolved(unresolved)) => {
            assert_eq!(unresolved.component, Component::parse(component).unwrap());
            unresolved.reason
        }
        other => panic!("{component}: {other:?}"),
    }
}

#[test]
fn field_values_are_combined_trimmed_and_unfolded() {
    // RFC 9421 §2.1.
    let headers: &[(&str, &[u8])] = &[
        ("Host", b"www.example.com"),
        ("Date", b"Tue, 20 Apr 2021 02:07:56 GMT"),
        ("X-OWS-Header", b"   Leading and trailing whitespace.   "),
        ("X-Obs-Fold-Header", b"Obsolete\r\n    line folding."),
        ("Cache-Control", b"max-age=60"),
        ("Example-Dict", b"  a=1,    b=2;x=1;y=2,   c=(a   b   c)"),
        ("CACHE-CONTROL", b"   must-revalidate"),
        ("X-Empty-Header", b"   "),
    ];
    let wanted =
        ["host", "date", "x-ows-header", "x-obs-fold-header", "cache-control", "example-dict", "x-empty-header"];
    assert_eq!(
        lines(&get("https://www.example.com/", headers), &wanted),
        [
            r#""host": www.example.com"#,
            r#""date": Tue, 20 Apr 2021 02:07:56 GMT"#,
            r#""x-ows-header": Leading and trailing whitespace."#,
            r#""x-obs-fold-header": Obsolete line folding."#,
            r#""cache-control": max-age=60, must-revalidate"#,
            r#""example-dict": a=1,    b=2;x=1;y=2,   c=(a   b   c)"#,
            r#""x-empty-header": "#,
        ]
    );
}

#[test]
fn a_header_map_and_a_list_give_the_same_lines() {
    let mut map = http::HeaderMap::new();
    map.append("accept", http::HeaderValue::from_static("application/json"));
    map.append("accept", http::HeaderValue::from_static("*/*"));
    let list: &[(&str, &[u8])] = &[("Accept", b"application/json"), ("x", b"y"), ("ACCEPT", b" */*\t")];
    let of_map = Message::request("GET", "https://a.example/", &map).unwrap();
    assert_eq!(lines(&of_map, &["accept"]), [r#""accept": application/json, */*"#]);
    assert_eq!(lines(&get("https://a.example/", list), &["accept"]), lines(&of_map, &["accept"]));
}

#[test]
fn every_form_of_folding_becomes_one_space() {
    for folded in ["a\r\n b", "a\n\tb", "a  \r\n   b", "a\r\n \r\n b", "\r\n a\r\n b\r\n "] {
        let headers = [("x", folded.as_bytes())];
        assert_eq!(lines(&get("https://a.example/", &headers), &["x"]), [r#""x": a b"#], "{folded:?}");
    }
}

#[test]
fn refuses_line_ends_and_controls_that_fold_nothing() {
    for bad in
        ["a\nb", "a\r\nb", "a\rb", "a\r b", "a\n", "\n", "a\0b", "a\u{7f}", "a\r\n b\n\"@method\": GET", "a\r\r\n b"]
    {
        let headers = [("x", bad.as_bytes())];
        for component in ["x", "x;bs", "x;sf", "x;key=\"a\""] {
            assert_eq!(
                unresolved(&get("https://a.example/", &headers), component),
                Unresolved::ControlCharacter,
                "{bad:?}"
            );
        }
    }
}

#[test]
fn strict_serialisation_follows_the_structured_type() {
    // RFC 9421 §2.1.1.
    let headers: &[(&str, &[u8])] = &[("Example-Dict", b" a=1,    b=2;x=1;y=2,   c=(a   b   c)")];
    let message = get("https://www.example.com/", headers);
    let strict = [r#""example-dict";sf: a=1, b=2;x=1;y=2, c=(a b c)"#];
    assert_eq!(lines(&message, &["example-dict;sf"]), strict);
    let typed = message.with_field_types(&[("example-dict", FieldType::Dictionary)]);
    assert_eq!(lines(&typed, &["example-dict;sf"]), strict);
    let typed = message.with_field_types(&[("example-dict", FieldType::List)]);
    assert_eq!(unresolved(&typed, "example-dict;sf"), Unresolved::NotStructured);
}

#[test]
fn strict_serialisation_of_an_untyped_field_must_not_depend_on_its_type() {
    let headers: &[(&str, &[u8])] = &[
        ("list", b"a;q=1.0,   (b  c);d"),
        ("item", b"\"a\"; x=?1"),
        ("either", b"a, a"),
        ("date", b"Tue, 20 Apr 2021 02:07:56 GMT"),
        ("split", b"a=(1"),
        ("split", b"2)"),
    ];
    let message = get("https://www.example.com/", headers);
    assert_eq!(lines(&message, &["list;sf", "item;sf"]), [r#""list";sf: a;q=1.0, (b c);d"#, r#""item";sf: "a";x"#]);
    assert_eq!(unresolved(&message, "either;sf"), Unresolved::UnknownType);
    assert_eq!(unresolved(&message, "date;sf"), Unresolved::NotStructured);
    assert_eq!(unresolved(&message, "split;sf"), Unresolved::NotStructured);
    let list = message.with_field_types(&[("either", FieldType::List)]);
    assert_eq!(lines(&list, &["either;sf"]), [r#""either";sf: a, a"#]);
    let dictionary = message.with_field_types(&[("either", FieldType::Dictionary)]);
    assert_eq!(lines(&dictionary, &["either;sf"]), [r#""either";sf: a"#]);
}

#[test]
fn a_dictionary_member_stands_alone() {
    // RFC 9421 §2.1.2.
    let headers: &[(&str, &[u8])] = &[("Example-Dict", b"  a=1, b=2;x=1;y=2, c=(a   b    c), d"), ("list", b"(a b)")];
    let message = get("https://www.example.com/", headers);
    let wanted = [r#""example-dict";key="a""#, r#""example-dict";key="d""#, r#""example-dict";key="b""#];
    assert_eq!(
        lines(&message, &wanted),
        [r#""example-dict";key="a": 1"#, r#""example-dict";key="d": ?1"#, r#""example-dict";key="b": 2;x=1;y=2"#,]
    );
    assert_eq!(
        lines(&message, &[r#""example-dict";key="c""#, r#""example-dict";sf;key="c""#]),
        [r#""example-dict";key="c": (a b c)"#, r#""example-dict";sf;key="c": (a b c)"#]
    );
    assert_eq!(unresolved(&message, r#"example-dict;key="e""#), Unresolved::NoMember);
    assert_eq!(unresolved(&message, r#"list;key="a""#), Unresolved::NotStructured);
    assert_eq!(unresolved(&message, r#"missing;key="a""#), Unresolved::NoField);
}

#[test]
fn byte_sequences_keep_field_lines_apart() {
    // RFC 9421 §2.1.3.
    let two: &[(&str, &[u8])] = &[("Example-Header", b"value, with, lots"), ("Example-Header", b"of, commas")];
    let one: &[(&str, &[u8])] = &[("Example-Header", b"value, with, lots, of, commas")];
    let wanted = ["example-header", "example-header;bs"];
    assert_eq!(
        lines(&get("https://www.example.com/", two), &wanted),
        [
            r#""example-header": value, with, lots, of, commas"#,
            r#""example-header";bs: :dmFsdWUsIHdpdGgsIGxvdHM=:, :b2YsIGNvbW1hcw==:"#,
        ]
    );
    assert_eq!(
        lines(&get("https://www.example.com/", one), &wanted),
        [
            r#""example-header": value, with, lots, of, commas"#,
            r#""example-header";bs: :dmFsdWUsIHdpdGgsIGxvdHMsIG9mLCBjb21tYXM=:"#,
        ]
    );
}

#[test]
fn octets_outside_ascii_need_byte_sequences() {
    let headers: &[(&str, &[u8])] = &[("x", b" caf\xe9 ")];
    let message = get("https://www.example.com/", headers);
    assert_eq!(unresolved(&message, "x"), Unresolved::NotAscii);
    assert_eq!(lines(&message, &["x;bs"]), [r#""x";bs: :Y2Fm6Q==:"#]);
    let mut map = http::HeaderMap::new();
    map.insert("x", http::HeaderValue::from_bytes(b"caf\xe9").unwrap());
    let message = Message::request("GET", "https://www.example.com/", &map).unwrap();
    assert_eq!(lines(&message, &["x;bs"]), [r#""x";bs: :Y2Fm6Q==:"#]);
}

#[test]
fn trailers_are_apart_from_headers() {
    // RFC 9421 §2.1.4.
    let headers: &[(&str, &[u8])] = &[("Content-Type", b"text/plain"), ("Trailer", b"Expires")];
    let trailers: &[(&str, &[u8])] = &[("Expires", b"Wed, 9 Nov 2022 07:28:00 GMT")];
    let request = get("https://a.example/", headers).with_trailers(trailers);
    let message = Message::response(200, headers).unwrap().with_trailers(trailers).in_reply_to(&request);
    assert_eq!(
        lines(&message, &["@status", "trailer", "expires;tr", "expires;tr;req"]),
        [
            r#""@status": 200"#,
            r#""trailer": Expires"#,
            r#""expires";tr: Wed, 9 Nov 2022 07:28:00 GMT"#,
            r#""expires";tr;req: Wed, 9 Nov 2022 07:28:00 GMT"#,
        ]
    );
    assert_eq!(unresolved(&message, "expires"), Unresolved::NoField);
    assert_eq!(unresolved(&message, "content-type;tr"), Unresolved::NoField);
}

#[test]
fn derived_components_of_a_request() {
    // RFC 9421 §2.2.1 to §2.2.7.
    let message = Message::request("POST", "https://WWW.example.com:443/path?param=value", &[]).unwrap();
    let wanted = ["@method", "@authority", "@scheme", "@request-target", "@path", "@query"];
    assert_eq!(
        lines(&message, &wanted),
        [
            r#""@method": POST"#,
            r#""@authority": www.example.com"#,
            r#""@scheme": https"#,
            r#""@request-target": /path?param=value"#,
            r#""@path": /path"#,
            r#""@query": ?param=value"#,
        ]
    );
    let plain = Message::request("POST", "https://www.example.com/path?param=value", &[]).unwrap();
    assert_eq!(lines(&plain, &["@target-uri"]), [r#""@target-uri": https://www.example.com/path?param=value"#]);
    for (uri, query) in [
        ("https://www.example.com/path?param=value&foo=bar&baz=bat%2Dman", "?param=value&foo=bar&baz=bat%2Dman"),
        ("https://www.example.com/path?queryString", "?queryString"),
        ("https://www.example.com/path?", "?"),
        ("https://www.example.com/path", "?"),
    ] {
        assert_eq!(lines(&get(uri, &[]), &["@query"]), [format!("\"@query\": {query}")]);
    }
    assert_eq!(
        lines(&get("http://www.example.com", &[]), &["@path", "@scheme"]),
        [r#""@path": /"#, r#""@scheme": http"#]
    );
    assert_eq!(lines(&get("http://a.example/%7Ea/../b", &[]), &["@path"]), [r#""@path": /%7Ea/../b"#]);
}

#[test]
fn request_target_in_its_four_forms() {
    // RFC 9421 §2.2.5.
    let target = |message: Message<'_>| lines(&message, &["@request-target"]).remove(0);
    let request = |method, uri| Message::request(method, uri, &[]).unwrap();
    assert_eq!(
        target(request("POST", "https://www.example.com/path?param=value")),
        r#""@request-target": /path?param=value"#
    );
    let uri = "https://www.example.com/path?param=value";
    assert_eq!(
        target(request("GET", uri).with_request_target(uri).unwrap()),
        r#""@request-target": https://www.example.com/path?param=value"#
    );
    assert_eq!(target(request("CONNECT", "http://www.example.com:80")), r#""@request-target": www.example.com:80"#);
    assert_eq!(target(request("OPTIONS", "https://www.example.com")), r#""@request-target": *"#);
    assert!(request("GET", uri).with_request_target("/a\nb").is_err());
}

#[test]
fn query_parameters_are_decoded_and_encoded_again() {
    // RFC 9421 §2.2.8.
    let uri = "https://www.example.com/path?param=value&foo=bar&baz=batman&qux=";
    assert_eq!(
        lines(
            &get(uri, &[]),
            &[r#"@query-param;name="baz""#, r#"@query-param;name="qux""#, r#"@query-param;name="param""#]
        ),
        [
            r#""@query-param";name="baz": batman"#,
            r#""@query-param";name="qux": "#,
            r#""@query-param";name="param": value"#,
        ]
    );
    let uri = "https://www.example.com/parameters?var=this%20is%20a%20big%0Amultiline%20value&bar=with+plus+whitespace\
               &fa%C3%A7ade%22%3A%20=something";
    let names = ["var", "bar", "fa%C3%A7ade%22%3A%20"].map(|name| format!("@query-param;name=\"{name}\""));
    assert_eq!(
        lines(&get(uri, &[]), &names.each_ref().map(String::as_str)),
        [
            r#""@query-param";name="var": this%20is%20a%20big%0Amultiline%20value"#,
            r#""@query-param";name="bar": with%20plus%20whitespace"#,
            r#""@query-param";name="fa%C3%A7ade%22%3A%20": something"#,
        ]
    );
}

#[test]
fn refuses_query_parameters_that_are_missing_or_repeated() {
    let message = get("https://a.example/?a=1&b=2&%61=3&c%20d=4", &[]);
    assert_eq!(unresolved(&message, r#"@query-param;name="a""#), Unresolved::QueryParamRepeated);
    assert_eq!(unresolved(&message, r#"@query-param;name="x""#), Unresolved::NoQueryParam);
    // A name is compared as it is encoded.
    assert_eq!(unresolved(&message, r#"@query-param;name="c d""#), Unresolved::NoQueryParam);
    assert_eq!(unresolved(&message, r#"@query-param;name="c+d""#), Unresolved::NoQueryParam);
}

#[test]
fn a_response_names_the_request_with_req() {
    // RFC 9421 §2.2.9 and §2.4.
    let headers: &[(&str, &[u8])] = &[("content-type", b"text/plain")];
    let request_headers: &[(&str, &[u8])] = &[("content-type", b"application/json")];
    let request = Message::request("POST", "https://example.com/foo?a=1", request_headers).unwrap();
    let response = Message::response(503, headers).unwrap().in_reply_to(&request);
    assert_eq!(
        lines(&response, &["@status", "content-type", "content-type;req", "@path;req", r#"@query-param;req;name="a""#]),
        [
            r#""@status": 503"#,
            r#""content-type": text/plain"#,
            r#""content-type";req: application/json"#,
            r#""@path";req: /foo"#,
            r#""@query-param";req;name="a": 1"#,
        ]
    );
}

#[test]
fn what_belongs_to_the_other_kind_of_message_has_no_value() {
    let request = get("https://a.example/", &[]);
    let response = Message::response(200, &[]).unwrap();
    let reply = response.in_reply_to(&request);
    assert_eq!(unresolved(&request, "@status"), Unresolved::StatusOfRequest);
    assert_eq!(unresolved(&request, "@method;req"), Unresolved::ReqInRequest);
    assert_eq!(unresolved(&response, "@method;req"), Unresolved::NoRequest);
    assert_eq!(unresolved(&reply, "@method"), Unresolved::NeedsReq);
    assert_eq!(unresolved(&reply, "host;req"), Unresolved::NoField);
    assert_eq!(unresolved(&reply.danger_allow_missing_req(), "host"), Unresolved::NoField);
    assert_eq!(unresolved(&response.danger_allow_missing_req(), "@method"), Unresolved::NoRequest);
    assert_eq!(unresolved(&response.in_reply_to(&reply), "@method;req"), Unresolved::NoRequest);
}

#[test]
fn oid4acs_form_takes_derived_components_from_the_request_without_req() {
    let headers: &[(&str, &[u8])] = &[("content-type", b"text/plain")];
    let request_headers: &[(&str, &[u8])] = &[("content-type", b"application/json")];
    let request = Message::request("GET", "https://shop.example/offer", request_headers).unwrap();
    let response = Message::response(200, headers).unwrap().in_reply_to(&request).danger_allow_missing_req();
    assert_eq!(
        lines(&response, &["@method", "@target-uri", "@authority;req", "content-type", "@status"]),
        [
            r#""@method": GET"#,
            r#""@target-uri": https://shop.example/offer"#,
            r#""@authority";req: shop.example"#,
            r#""content-type": text/plain"#,
            r#""@status": 200"#,
        ]
    );
}

#[test]
fn refuses_identifiers_that_rfc_9421_does_not_allow() {
    use InvalidComponent::*;
    for (text, reason) in [
        ("Content-Type", FieldName("Content-Type".into())),
        ("content type", FieldName("content type".into())),
        ("", FieldName(String::new())),
        ("a:b", FieldName("a:b".into())),
        ("@signature-params", UnknownDerived("@signature-params".into())),
        ("@request-response", UnknownDerived("@request-response".into())),
        ("@Method", UnknownDerived("@Method".into())),
        ("x;unknown", UnknownParameter("unknown".into())),
        ("@method;tr", Incompatible("tr", "derived component")),
        ("@method;sf", Incompatible("sf", "derived component")),
        ("@method;bs", Incompatible("bs", "derived component")),
        (r#"@method;key="a""#, Incompatible("key", "derived component")),
        (r#"@path;name="a""#, Incompatible("name", "derived component")),
        ("@status;req", Incompatible("req", "derived component")),
        (r#"x;name="a""#, Incompatible("name", "field")),
        ("x;sf;bs", Incompatible("sf", "bs")),
        (r#"x;bs;key="a""#, Incompatible("key", "bs")),
        ("@query-param", QueryParamName),
        ("@query-param;name", MalformedParameter("name")),
        ("@query-param;name=a", MalformedParameter("name")),
        ("x;key=1", MalformedParameter("key")),
        ("x;sf=?0", MalformedParameter("sf")),
        ("x;req=1", MalformedParameter("req")),
        ("\"x", Malformed),
        ("\"x\" \"y\"", Malformed),
        ("x\"y", Malformed),
        ("x;", Malformed),
    ] {
        assert_eq!(Component::parse(text), Err(reason), "{text:?}");
    }
}

#[test]
fn identifiers_are_equal_whatever_the_order_of_their_parameters() {
    let component = |text| Component::parse(text).unwrap();
    assert_eq!(component(r#"x;req;key="a""#), component(r#""x";key="a";req"#));
    assert_ne!(component(r#"x;key="a""#), component(r#"x;key="b""#));
    assert_ne!(component("x"), component("x;req"));
    assert_eq!(component(r#"x;key="a\"b\\";req"#).to_string(), r#""x";key="a\"b\\";req"#);
}
