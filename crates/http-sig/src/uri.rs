use core::fmt::Write as _;

/// An absolute `http` or `https` URI, split without changing an octet of it (RFC 3986 §3, RFC 9110 §7.1).
///
/// `url::Url` rewrites what it parses; a signature base needs the text that was sent.
#[derive(Clone, Copy)]
pub(crate) struct TargetUri<'a> {
    /// Everything before the fragment, which is never part of a target URI (RFC 9110 §7.1).
    raw: &'a str,
    scheme: &'a str,
    authority: &'a str,
    host: &'a str,
    port: Option<u16>,
    /// As written: empty, or starting with `/`.
    path: &'a str,
    query: Option<&'a str>,
}

impl<'a> TargetUri<'a> {
    /// `None` for a relative reference, another scheme, user information, an empty host, a port that is no number, or
    /// any octet outside visible ASCII.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        if !text.bytes().all(|octet| octet.is_ascii_graphic()) {
            return None;
        }
        let raw = text.split_once('#').map_or(text, |(before, _)| before);
        let (scheme, rest) = raw.split_once("://")?;
        if !scheme.eq_ignore_ascii_case("https") && !scheme.eq_ignore_ascii_case("http") {
            return None;
        }
        let (authority, _) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (path, query) = match rest[authority.len()..].split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (&rest[authority.len()..], None),
        };
        let (host, port) = split_authority(authority)?;
        Some(Self { raw, scheme, authority, host, port, path, query })
    }

    /// The value of `@target-uri` (RFC 9421 §2.2.2): as given. Only an empty path becomes `/`, since that is what goes
    /// over the wire, `OPTIONS` excepted (RFC 9110 §4.2.3).
    pub(crate) fn write_target(&self, method: &str, out: &mut String) {
        let end_of_authority = self.scheme.len() + "://".len() + self.authority.len();
        out.push_str(&self.raw[..end_of_authority]);
        if self.path.is_empty() && method != "OPTIONS" {
            out.push('/');
        }
        out.push_str(&self.raw[end_of_authority..]);
    }

    /// The value of `@authority` (RFC 9421 §2.2.3): host in lower case, the scheme's default port left out.
    pub(crate) fn write_authority(&self, out: &mut String) {
        out.extend(self.host.chars().map(|c| c.to_ascii_lowercase()));
        let default = if self.scheme.eq_ignore_ascii_case("https") { 443 } else { 80 };
        if let Some(port) = self.port.filter(|port| *port != default) {
            // Writing to a `String` cannot fail.
            let _ = write!(out, ":{port}");
        }
    }

    /// The value of `@scheme` (RFC 9421 §2.2.4).
    pub(crate) fn write_scheme(&self, out: &mut String) {
        out.extend(self.scheme.chars().map(|c| c.to_ascii_lowercase()));
    }

    /// The request target that an HTTP/1.1 client sends to an origin server (RFC 9421 §2.2.5, RFC 9112 §3.2).
    pub(crate) fn write_request_target(&self, method: &str, out: &mut String) {
        match method {
            "CONNECT" => out.push_str(self.authority),
            "OPTIONS" if self.path.is_empty() && self.query.is_none() => out.push('*'),
            _ => {
                out.push_str(self.path());
                if let Some(query) = self.query {
                    out.push('?');
                    out.push_str(query);
                }
            }
        }
    }

    /// The value of `@path` (RFC 9421 §2.2.6): not decoded, never empty.
    pub(crate) fn path(&self) -> &'a str {
        if self.path.is_empty() { "/" } else { self.path }
    }

    /// The query without its `?`; `@query` (RFC 9421 §2.2.7) puts one before it, present or not.
    pub(crate) fn query(&self) -> &'a str {
        self.query.unwrap_or_default()
    }
}

fn split_authority(authority: &str) -> Option<(&str, Option<u16>)> {
    let after_host = match authority.starts_with('[') {
        true => authority.find(']')? + 1,
        false => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, rest) = authority.split_at(after_host);
    if host.is_empty() || !host.bytes().all(is_host_octet) {
        return None;
    }
    let port = match rest.strip_prefix(':') {
        None if rest.is_empty() => None,
        Some("") => None,
        Some(digits) if digits.bytes().all(|octet| octet.is_ascii_digit()) => Some(digits.parse().ok()?),
        _ => return None,
    };
    Some((host, port))
}

/// `reg-name` or an IP literal (RFC 3986 §3.2.2). `@` is in neither: user information is refused with it.
fn is_host_octet(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%:[]".contains(&octet)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut String)) -> String {
        let mut out = String::new();
        write(&mut out);
        out
    }

    #[test]
    fn keeps_the_target_uri_as_given_but_for_fragment_and_empty_path() {
        for (given, kept) in [
            ("https://www.example.com/path?param=value", "https://www.example.com/path?param=value"),
            ("HTTPS://EXAMPLE.com:443/%7e/../x", "HTTPS://EXAMPLE.com:443/%7e/../x"),
            ("https://example.com/a#b?c", "https://example.com/a"),
            ("https://example.com", "https://example.com/"),
            ("https://example.com?q", "https://example.com/?q"),
        ] {
            let uri = TargetUri::parse(given).unwrap();
            assert_eq!(written(|out| uri.write_target("GET", out)), kept);
        }
        let uri = TargetUri::parse("https://example.com").unwrap();
        assert_eq!(written(|out| uri.write_target("OPTIONS", out)), "https://example.com");
    }

    #[test]
    fn normalises_the_authority() {
        for (given, normal) in [
            ("https://WWW.Example.com/", "www.example.com"),
            ("https://example.com:443/", "example.com"),
            ("http://example.com:80", "example.com"),
            ("http://example.com:443", "example.com:443"),
            ("https://example.com:/", "example.com"),
            ("https://[2001:DB8::1]:8443/", "[2001:db8::1]:8443"),
        ] {
            assert_eq!(written(|out| TargetUri::parse(given).unwrap().write_authority(out)), normal);
        }
    }

    #[test]
    fn refuses_what_is_no_absolute_http_uri() {
        for bad in [
            "",
            "/path",
            "//example.com/",
            "ftp://example.com/",
            "https://",
            "https:///path",
            "https://user@example.com/",
            "https://example.com:port/",
            "https://example.com:65536/",
            "https://example.com:+1/",
            "https://[::1/",
            "https://[::1]x/",
            "https://example.com/a b",
            "https://example.com/a\nb",
            "https://ex\u{e4}mple.com/",
        ] {
            assert!(TargetUri::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn gives_each_form_of_request_target() {
        for (method, uri, form) in [
            ("POST", "https://www.example.com/path?param=value", "/path?param=value"),
            ("GET", "https://www.example.com", "/"),
            ("CONNECT", "http://www.example.com:80", "www.example.com:80"),
            ("OPTIONS", "https://www.example.com", "*"),
            ("OPTIONS", "https://www.example.com/", "/"),
        ] {
            assert_eq!(written(|out| TargetUri::parse(uri).unwrap().write_request_target(method, out)), form);
        }
    }
}
