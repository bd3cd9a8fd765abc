//! `Htu`, `Nonce` and `Ath` as values.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use dpop::{Ath, Htu, InvalidHtu, Nonce};
use support::Counter;
use url::Url;

#[test]
fn normalises_scheme_host_port_query_and_fragment() {
    for (uri, expected) in [
        ("https://as.example/oauth/token", "https://as.example/oauth/token"),
        ("https://as.example", "https://as.example/"),
        ("https://as.example?q", "https://as.example/"),
        ("https://as.example#f", "https://as.example/"),
        ("https://as.example/?", "https://as.example/"),
        ("HTTPS://AS.Example:443/A?x=1&y=2#z", "https://as.example/A"),
        ("http://127.0.0.1:80/a", "http://127.0.0.1/a"),
        ("http://127.0.0.1:443/a", "http://127.0.0.1:443/a"),
        ("https://as.example:80/a", "https://as.example:80/a"),
        ("https://as.example:08443/a", "https://as.example:8443/a"),
        ("https://as.example:/a", "https://as.example/a"),
        ("http://[::1]:8080/a", "http://[::1]:8080/a"),
        ("http://[0:0::1]/a", "http://[::1]/a"),
        ("https://XN--BCHER-KVA.example/", "https://xn--bcher-kva.example/"),
    ] {
        assert_eq!(Htu::parse(uri).unwrap().as_str(), expected, "{uri}");
    }
}

#[test]
fn keeps_the_path_octet_for_octet() {
    for path in
        ["/A/b//c/", "/a/./b/../c", "/%7euser/%7Euser/~user", "/a;b=c,d/@:!$&'()*+", "/a%2Fb", "/a|b^c[d]", "/%zz"]
    {
        let uri = format!("https://as.example{path}");
        assert_eq!(Htu::parse(&uri).unwrap().as_str(), uri);
        assert_eq!(Htu::parse(&format!("{uri}?{{\"any\\thing\"}} é#\u{7f}")).unwrap().as_str(), uri, "dropped unread");
    }
}

#[test]
fn refuses_what_no_request_is_sent_to() {
    for (uri, expected) in [
        ("", InvalidHtu::NotAbsolute),
        ("/oauth/token", InvalidHtu::NotAbsolute),
        ("as.example/oauth", InvalidHtu::NotAbsolute),
        ("//as.example/oauth", InvalidHtu::NotAbsolute),
        ("https:/as.example/", InvalidHtu::NotAbsolute),
        ("https:\\\\as.example\\", InvalidHtu::NotAbsolute),
        ("https://as.example\\@evil.example/", InvalidHtu::NotAbsolute),
        ("https://as.example/a b", InvalidHtu::NotAbsolute),
        (" https://as.example/", InvalidHtu::NotAbsolute),
        ("https://as.example/\n", InvalidHtu::NotAbsolute),
        ("https://as.exam\tple/", InvalidHtu::NotAbsolute),
        ("https://as.example/\"", InvalidHtu::NotAbsolute),
        ("https://bücher.example/", InvalidHtu::NotAbsolute),
        ("https://as.example/é", InvalidHtu::NotAbsolute),
        ("ftp://as.example/", InvalidHtu::Scheme),
        ("://as.example/", InvalidHtu::Scheme),
        ("javascript://as.example/", InvalidHtu::Scheme),
        ("httpss://as.example/", InvalidHtu::Scheme),
        ("https://user@as.example/", InvalidHtu::UserInfo),
        ("https://user:pw@as.example/", InvalidHtu::UserInfo),
        ("https://@as.example/", InvalidHtu::UserInfo),
        ("https://", InvalidHtu::Authority),
        ("https:///path", InvalidHtu::Authority),
        ("https://:443/", InvalidHtu::Authority),
        ("https://as.example:65536/", InvalidHtu::Authority),
        ("https://as.example:x/", InvalidHtu::Authority),
        ("https://as.example:-1/", InvalidHtu::Authority),
        ("https://a:1:2/", InvalidHtu::Authority),
        ("https://[::1/", InvalidHtu::Authority),
        ("https://::1/", InvalidHtu::Authority),
        ("https://as.ex%61mple%2F/", InvalidHtu::Authority),
        // Decoded, its host would have a character that the result itself could not be parsed with.
        ("https://as%22x.example/", InvalidHtu::Authority),
        ("https://as%60x.example/", InvalidHtu::Authority),
        ("https://as^example/", InvalidHtu::Authority),
        ("https://1.2.3.256/", InvalidHtu::Authority),
    ] {
        assert_eq!(Htu::parse(uri), Err(expected), "{uri}");
    }
}

#[test]
fn a_url_gives_what_its_text_gives() {
    for text in [
        "https://as.example/oauth/token?x#y",
        "http://127.0.0.1:8080",
        "HTTPS://A.example:443/%7e",
        "https://a.example/x y{z}",
    ] {
        let url = Url::parse(text).unwrap();
        assert_eq!(Htu::from_url(&url), Htu::parse(url.as_str()), "{text}");
    }
    // An HTTP client sends `/c`, so that is what the proof is for.
    assert_eq!(
        Htu::from_url(&Url::parse("https://a.example/b/../c").unwrap()).unwrap().as_str(),
        "https://a.example/c"
    );
    for (text, expected) in [
        ("ws://a.example/", InvalidHtu::Scheme),
        ("mailto:a@a.example", InvalidHtu::Scheme),
        ("https://u@a.example/", InvalidHtu::UserInfo),
        ("https://:p@a.example/", InvalidHtu::UserInfo),
    ] {
        assert_eq!(Htu::from_url(&Url::parse(text).unwrap()), Err(expected), "{text}");
    }
}

#[test]
fn a_nonce_is_visible_ascii_without_quote_and_backslash() {
    for octet in 0..=0x7f_u8 {
        let text = char::from(octet).to_string();
        let good = octet.is_ascii_graphic() && octet != b'"' && octet != b'\\';
        assert_eq!(Nonce::parse(&text).is_ok(), good, "{octet:#x}");
    }
    assert_eq!(Nonce::parse("é").ok(), None);
    assert_eq!(Nonce::parse("").ok(), None);
    assert_eq!(Nonce::parse(" n").ok(), None);
    assert!(Nonce::parse(&"n".repeat(512)).is_ok());
    assert_eq!(Nonce::parse(&"n".repeat(513)).ok(), None);
}

#[test]
fn a_generated_nonce_parses() {
    let rng = Counter::default();
    let (one, two) = (Nonce::generate(&rng), Nonce::generate(&rng));
    assert_ne!(one, two);
    assert_eq!(one.as_str().len(), 22);
    assert_eq!(Nonce::parse(one.as_str()), Ok(one));
}

#[test]
fn an_access_token_is_hashed_as_it_stands() {
    assert_eq!(Ath::of(support::ACCESS_TOKEN).as_str(), support::ATH);
    assert_ne!(Ath::of("token"), Ath::of("token "));
}
