//! Merchant patterns: how they are read, and what they match.
//!
//! A pattern is an origin, `scheme://host[:port]`, or starts with `*` and has no scheme. In each part `*` stands for any
//! characters and `?` for one; neither reaches into the next part. It is kept in the spelling in which origins are written,
//! so that two spellings of one pattern are one policy.
//!
//! What forbids and what permits are matched differently. A pattern that only ever restricts (`merchants.deny`, every
//! `[[rule]]`) is about the host: no scheme and no port that it leaves out is a way around it. One of `merchants.allow`
//! admits what it names: without a port, the default port alone.

use url::{Host, Url};

use super::glob::matches_glob;

/// What a pattern is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// It permits what it matches.
    Permit,
    /// It restricts what it matches.
    Restrict,
}

/// The pattern `text` as it is kept; why no origin can match it otherwise.
pub(super) fn normalise(text: &str, used: Use) -> Result<String, String> {
    let text = text.trim();
    if let Some(odd) = text.chars().find(|c| c.is_whitespace() || c.is_control()) {
        return Err(format!("no origin has a {} in it", odd.escape_unicode()));
    }
    if !text.starts_with('*') && !text.contains("://") {
        return Err(
            "no origin matches this: a glob has a scheme, as in https://shop.example, or starts with *".to_owned()
        );
    }
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (Some(scheme.to_ascii_lowercase()), rest),
        None => (None, text),
    };
    if let Some(scheme) = &scheme
        && !["https", "http"].iter().any(|known| matches_glob(scheme, known))
    {
        return Err("no origin matches this: the scheme of a merchant is https (http for loopback hosts)".to_owned());
    }
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    for (sign, what) in [('@', "user information"), ('#', "a fragment"), ('/', "a path"), ('\\', "a path")] {
        if rest.contains(sign) {
            return Err(format!("no origin has {what}: write https://host or https://host:port"));
        }
    }
    let (host, port) = split_port(rest);
    let host = host_of(host)?;
    let port = port.map(port_of).transpose()?.flatten();
    let is_glob = host.contains(['*', '?']);
    let is_only_https = !may_be_loopback(&host);
    // With a scheme left open, the default port is that of https.
    let is_default = |port: &String| port == if scheme.as_deref() == Some("http") { "80" } else { "443" };
    let mut port = port.filter(|port| !is_default(port));
    let scheme = match scheme.as_deref() {
        Some("http") if is_only_https && used == Use::Permit => {
            return Err("no origin matches this: http is for loopback hosts only, write https".to_owned());
        }
        // No origin of this host has the other scheme.
        Some("http") if is_only_https && !is_glob => {
            port = port.filter(|port| port != "443");
            Some("https")
        }
        other => other,
    };
    let port = port.map_or_else(String::new, |port| format!(":{port}"));
    Ok(match scheme {
        Some(scheme) => format!("{scheme}://{host}{port}"),
        None => format!("{host}{port}"),
    })
}

/// Whether a pattern that permits admits `origin`. Without a port it admits only the default one; a lone `*` admits all.
pub(super) fn permits(pattern: &str, origin: &str) -> bool {
    if pattern == "*" {
        return true;
    }
    let (Some(pattern), Some(origin)) = (Parts::of_pattern(pattern), Parts::of_origin(origin)) else { return false };
    let port = match (pattern.port, origin.port) {
        (Some(pattern), Some(port)) => matches_glob(pattern, port),
        (None, None) => true,
        _ => false,
    };
    port && matches_glob(pattern.scheme, origin.scheme) && matches_glob(pattern.host, origin.host)
}

/// Whether a pattern that restricts covers `origin`. Without a port it covers every port, and it covers a host under either
/// scheme, unless every host would be covered: then the scheme is what it is about.
pub(super) fn restricts(pattern: &str, origin: &str) -> bool {
    // Once a star reached into the port, and what was restricted by that still is.
    if matches_glob(pattern, origin) {
        return true;
    }
    let (Some(pattern), Some(origin)) = (Parts::of_pattern(pattern), Parts::of_origin(origin)) else { return false };
    let effective = origin.port.unwrap_or(if origin.scheme == "http" { "80" } else { "443" });
    matches_glob(pattern.host, origin.host)
        && pattern.port.is_none_or(|port| matches_glob(port, effective))
        && (!pattern.is_of_any_host() || matches_glob(pattern.scheme, origin.scheme))
}

/// Whether what `before` restricts is restricted by `after` too. Both are normalised.
pub(super) fn is_within(before: &str, after: &str) -> bool {
    if before == after {
        return true;
    }
    let (Some(old), Some(new)) = (Parts::of_pattern(before), Parts::of_pattern(after)) else { return false };
    let is_literal = !before.contains(['*', '?']);
    let port = new.port.is_none() || new.port == old.port;
    match is_literal {
        true => matches_glob(new.host, old.host) && port && (!new.is_of_any_host() || new.scheme == "*"),
        false => new.scheme == old.scheme && new.host == old.host && port,
    }
}

/// Whether a pattern that the reader of today refuses could match anything as it was matched before: literally, with its
/// wildcards.
pub(super) fn could_match(pattern: &str) -> bool {
    let rest = pattern.split_once("://").map_or(pattern, |(_, rest)| rest);
    !rest.chars().any(|c| c.is_whitespace() || c.is_control() || !c.is_ascii() || "/\\@#%<>^|\"`{}".contains(c))
}

/// The text with which every origin begins that the pattern covers, its scheme left out; `None` where an origin of any host
/// may be covered.
pub(super) fn host_prefix(pattern: &str) -> Option<&str> {
    let (scheme, rest) = pattern.split_once("://")?;
    if scheme.contains(['*', '?']) {
        return None;
    }
    let (host, _) = split_port(rest);
    Some(&host[..host.find(['*', '?']).unwrap_or(host.len())])
}

/// Categories are compared by this: merchants write them in whatever case they like.
pub(super) fn fold(category: &str) -> String {
    // Upper case first, or the two spellings of ß and of a final sigma would stay two.
    category.trim().to_uppercase().to_lowercase()
}

/// `scheme://host[:port]`; the scheme of a pattern that has none is `*`.
struct Parts<'a> {
    scheme: &'a str,
    host: &'a str,
    port: Option<&'a str>,
}

impl<'a> Parts<'a> {
    fn of_origin(text: &'a str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let (host, port) = split_port(rest);
        Some(Self { scheme, host, port })
    }

    fn of_pattern(text: &'a str) -> Option<Self> {
        Self::of_origin(text).or_else(|| {
            let (host, port) = split_port(text);
            text.starts_with('*').then_some(Self { scheme: "*", host, port })
        })
    }

    fn is_of_any_host(&self) -> bool {
        self.host.bytes().all(|octet| b"*?.".contains(&octet))
    }
}

/// Host and port. The colons of an IPv6 address stand in brackets.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    let after_address = authority.rfind(']').unwrap_or(0);
    match authority[after_address..].rfind(':') {
        Some(colon) => {
            let (host, port) = authority.split_at(after_address + colon);
            (host, Some(&port[1..]))
        }
        None => (authority, None),
    }
}

/// A port without leading zeros, or one with `*`; none for the empty one.
fn port_of(port: &str) -> Result<Option<String>, String> {
    if let Some(odd) = port.chars().find(|c| !c.is_ascii_digit() && *c != '*') {
        return Err(format!(
            "no origin matches this: a port is made of digits and *, without \"{}\"",
            odd.escape_debug()
        ));
    }
    if port.is_empty() {
        return Ok(None);
    }
    if !port.contains('*') {
        let number: u16 = port.parse().map_err(|_| "no origin matches this: a port is at most 65535".to_owned())?;
        return Ok(Some(number.to_string()));
    }
    let port = single_stars(port);
    match port == "*" || (0..=u16::MAX).any(|number| matches_glob(&port, &number.to_string())) {
        true => Ok(Some(port)),
        false => Err("no origin matches this: there is no such port".to_owned()),
    }
}

/// The host as origins spell it: lower-case, in ASCII, without the dot that may end a name.
fn host_of(host: &str) -> Result<String, String> {
    let bad = || "no origin matches this: its host is none".to_owned();
    if host.is_empty() {
        return Err("no origin matches this: its host is empty".to_owned());
    }
    let host = match host.strip_suffix(is_dot) {
        Some(name) if name.ends_with(is_dot) || name.ends_with(['*', '?']) || name.is_empty() => return Err(bad()),
        Some(name) => name,
        None => host,
    };
    if !host.contains(['*', '?']) {
        return literal(host).ok_or_else(bad);
    }
    if host.contains(['[', ']']) {
        return Err("no wildcard is taken in an IPv6 address".to_owned());
    }
    let labels = host.split(is_dot).map(|label| {
        if label.is_empty() {
            return Err(bad());
        }
        if !label.contains(['*', '?']) {
            // The name below it only keeps a number from being read as an address.
            let name = literal(&format!("{label}.invalid")).ok_or_else(bad)?;
            let label = name.strip_suffix(".invalid").filter(|label| !label.contains('.')).ok_or_else(bad)?;
            return Ok(label.to_owned());
        }
        if !label.is_ascii() {
            return Err("a wildcard and letters beyond ASCII cannot share a label of the host: write the label in punycode (xn--…), or a * for all of it".to_owned());
        }
        if label.chars().any(|c| !c.is_ascii_alphanumeric() && !"*?-_".contains(c)) {
            return Err(bad());
        }
        Ok(single_stars(&label.to_ascii_lowercase()))
    });
    let labels = labels.collect::<Result<Vec<_>, _>>()?;
    let last = labels.last().map_or("", String::as_str);
    if last.contains('?') && last.chars().any(|c| c.is_ascii_alphanumeric()) {
        return Err(
            "a ? in the last label of the host reads as a query, which no origin has: write * instead".to_owned()
        );
    }
    Ok(labels.join("."))
}

/// A host without wildcards, as a URL has it.
fn literal(host: &str) -> Option<String> {
    let url = Url::parse(&format!("https://{host}/")).ok()?;
    let host = url.host_str()?;
    let is_whole = url.path() == "/" && url.port().is_none() && url.username().is_empty() && url.query().is_none();
    (is_whole && !host.is_empty() && !host.ends_with('.') && !host.contains(['*', '?'])).then(|| host.to_owned())
}

/// Whether an `http` origin can have such a host.
fn may_be_loopback(host: &str) -> bool {
    if !host.contains(['*', '?']) {
        return match Url::parse(&format!("http://{host}/")).ok().as_ref().and_then(Url::host) {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        };
    }
    let last = host.rsplit('.').next().unwrap_or(host);
    matches_glob(host, "localhost")
        || last.contains('*')
        || last.bytes().all(|octet| octet.is_ascii_digit() || octet == b'?')
}

/// What separates labels once a name is mapped to ASCII.
fn is_dot(c: char) -> bool {
    ['.', '\u{3002}', '\u{ff0e}', '\u{ff61}'].contains(&c)
}

fn single_stars(glob: &str) -> String {
    let mut kept = String::with_capacity(glob.len());
    for c in glob.chars() {
        if c != '*' || !kept.ends_with('*') {
            kept.push(c);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Hosts as origins write them, and further spellings of each.
    const HOSTS: &[(&str, &[&str])] = &[
        ("shop.example", &["SHOP.Example", "shop.example.", "shop。example", "ｓｈｏｐ.example", "shop%2Eexample"]),
        (
            "xn--bcher-kva.example",
            &["bücher.example", "BÜCHER.example", "bu\u{308}cher.EXAMPLE.", "XN--BCHER-KVA.example"],
        ),
        ("xn--e1afmkfd.xn--p1ai", &["пример.рф", "ПРИМЕР.рф。", "пример.xn--p1ai"]),
        ("localhost", &["LOCALHOST", "localhost."]),
        ("127.0.0.1", &["127.1", "0x7f.0.0.1", "2130706433", "127.0.0.1."]),
        ("[::1]", &["[0:0:0:0:0:0:0:1]", "[::0001]", "[::0.0.0.1]"]),
        ("shop_1.example", &["Shop_1.example"]),
    ];

    fn is_loopback(host: &str) -> bool {
        ["localhost", "127.0.0.1", "[::1]"].contains(&host)
    }

    prop_compose! {
        /// An origin as it is written, and another spelling of it.
        fn origin()(
            host in 0..HOSTS.len(), spelling in any::<prop::sample::Index>(), http: bool, port in prop::option::of(1u16..),
            zeros in 0..3usize, upper: bool, slash: bool, explicit: bool, before in "[ \t\u{a0}]{0,2}", after in "[ \n\u{3000}]{0,2}",
        ) -> (String, String) {
            let (host, others) = HOSTS[host];
            let scheme = if http && is_loopback(host) { "http" } else { "https" };
            let default = if scheme == "http" { 80 } else { 443 };
            let port = port.filter(|port| *port != default);
            let written = port.map_or_else(String::new, |port| format!(":{port}"));
            let spelt = match (port, explicit) {
                (Some(port), _) => format!(":{}{port}", "0".repeat(zeros)),
                (None, true) => format!(":{default}"),
                (None, false) => ":".repeat(zeros % 2),
            };
            let other = std::iter::once(&host).chain(others).nth(spelling.index(others.len() + 1)).unwrap_or(&host);
            let spelt_scheme = if upper { scheme.to_uppercase() } else { scheme.to_owned() };
            let slash = if slash { "/" } else { "" };
            (format!("{scheme}://{host}{written}"), format!("{before}{spelt_scheme}://{other}{spelt}{slash}{after}"))
        }
    }

    proptest! {
        #[test]
        fn a_deny_in_any_spelling_of_an_origin_denies_it((origin, spelling) in origin()) {
            let pattern = normalise(&spelling, Use::Restrict).map_err(|why| TestCaseError::fail(format!("{spelling}: {why}")))?;
            prop_assert!(restricts(&pattern, &origin), "{spelling} {pattern} {origin}");
            prop_assert_eq!(normalise(&origin, Use::Restrict), Ok(pattern.clone()), "one policy however it is spelt");
            prop_assert_eq!(normalise(&pattern, Use::Restrict), Ok(pattern));
        }

        #[test]
        fn an_allow_in_any_spelling_admits_its_origin_and_no_other((origin, spelling) in origin(), (other, _) in origin()) {
            let pattern = normalise(&spelling, Use::Permit).map_err(|why| TestCaseError::fail(format!("{spelling}: {why}")))?;
            prop_assert_eq!(&pattern, &origin);
            prop_assert!(permits(&pattern, &origin));
            prop_assert_eq!(permits(&pattern, &other), origin == other, "{} {}", pattern, other);
        }

        #[test]
        fn what_is_admitted_or_restricted_is_never_less_strict_than_the_text_says(
            pattern in "(https://|http://|http*://|\\*)[ab*?.]{1,5}(:[48*]{1,3})?", origin in "https?://[ab]{1,3}(\\.[ab]{1,2})?(:[48]{1,3})?",
        ) {
            // No origin ends its host with a dot: neither the client nor a purchase takes one that does.
            prop_assert!(!permits(&pattern, &origin) || matches_glob(&pattern, &origin));
            prop_assert!(!matches_glob(&pattern, &origin) || restricts(&pattern, &origin));
            if let Ok(read) = normalise(&pattern, Use::Restrict) {
                prop_assert!(!restricts(&pattern, &origin) || restricts(&read, &origin), "{pattern} {read} {origin}");
            }
        }

        #[test]
        fn what_is_within_another_pattern_restricts_no_more(
            before in "(https://|http://|\\*)[ab*]{1,3}(:8)?", after in "(https://|http://|\\*)[ab*]{1,3}(:8)?",
            origin in "https?://[ab]{1,3}(:[8])?",
        ) {
            let (Ok(before), Ok(after)) = (normalise(&before, Use::Restrict), normalise(&after, Use::Restrict)) else {
                return Ok(());
            };
            if is_within(&before, &after) && restricts(&before, &origin) {
                prop_assert!(restricts(&after, &origin), "{before} {after} {origin}");
            }
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "(https?://)?[a-z*?:.\\[\\]@/%#é 0-9-]{0,20}") {
            let _ = normalise(&text, Use::Permit);
            let _ = normalise(&text, Use::Restrict);
        }
    }

    #[test]
    fn a_deny_covers_every_port_and_an_allow_only_its_own() {
        let table = [
            // Pattern, origin, denied, allowed.
            ("https://shop.example", "https://shop.example:8443", true, false),
            ("https://shop.example:8443", "https://shop.example:8443", true, true),
            ("https://shop.example:8443", "https://shop.example", false, false),
            ("https://*.shop.example", "https://a.b.shop.example:1", true, false),
            ("https://*.shop.example", "https://shop.example", false, false),
            ("https://shop.example", "https://a.shop.example", false, false),
            ("https://shop.*", "https://shop.example:8443", true, false),
            ("https://shop.*", "https://shop.co.example", true, true),
            ("https://shop-?.example", "https://shop-1.example", true, true),
            ("https://shop-?.example", "https://shop-12.example", false, false),
            ("https://*.BÜCHER.example", "https://a.xn--bcher-kva.example", true, true),
            ("*casino*", "https://my-casino.example:8443", true, false),
            ("*.casino.example/", "https://a.casino.example", true, true),
            ("http://127.0.0.1:*", "http://127.0.0.1:4000", true, true),
            ("http://localhost", "https://localhost:8443", true, false),
            ("https://localhost", "http://localhost:3000", true, false),
            ("https://localhost:80", "http://localhost", true, false),
            ("http://*", "https://shop.example", false, false),
            ("http://*", "http://localhost:3000", true, false),
            ("http://*:*", "http://localhost:3000", true, true),
            ("*", "http://localhost:3000", true, true),
            ("*://shop.example", "https://shop.example:8443", true, false),
            ("https://shop*8443", "https://shop.example:8443", true, false),
        ];
        for (pattern, origin, denied, allowed) in table {
            let deny = normalise(pattern, Use::Restrict).unwrap();
            assert_eq!(restricts(&deny, origin), denied, "deny {pattern} at {origin}");
            let allow = normalise(pattern, Use::Permit).unwrap();
            assert_eq!(permits(&allow, origin), allowed, "allow {pattern} at {origin}");
        }
        assert!(restricts(&normalise("http://shop.example:80", Use::Restrict).unwrap(), "https://shop.example"));
    }
}
