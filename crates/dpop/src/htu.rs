use core::fmt;

use url::Url;

/// The URI that a proof is for (RFC 9449 §4.2), normalised: lower-case scheme and host, no default port, no query, no
/// fragment.
///
/// The path is kept octet for octet, but for the empty one, which is `/`. So `%7E` and `~`, or `/a/../b` and `/b`, are
/// different: a request is bound to the path that is really sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Htu(String);

impl Htu {
    /// Parses an absolute `http` or `https` URI and normalises it. Query and fragment are dropped unread. An
    /// internationalised host is written in its A-label form (`xn--…`).
    ///
    /// # Errors
    ///
    /// - [`InvalidHtu::NotAbsolute`] if it is not `scheme://authority…`, or its path has a character that no URI has.
    /// - [`InvalidHtu::Scheme`] for a scheme other than `http` and `https`.
    /// - [`InvalidHtu::UserInfo`] if the authority has a user name or password.
    /// - [`InvalidHtu::Authority`] for an empty or impossible host or port.
    ///
    /// # Examples
    ///
    /// ```
    /// # use dpop::{Htu, InvalidHtu};
    /// let htu = Htu::parse("HTTPS://Shop.Example:443/Pay?order=7#top").unwrap();
    /// assert_eq!(htu.as_str(), "https://shop.example/Pay");
    /// assert_eq!(Htu::parse("https://user@shop.example/"), Err(InvalidHtu::UserInfo));
    /// ```
    pub fn parse(uri: &str) -> Result<Self, InvalidHtu> {
        // What is dropped may look as it likes.
        let uri = &uri[..uri.find(['?', '#']).unwrap_or(uri.len())];
        if !uri.bytes().all(is_uri_octet) {
            return Err(InvalidHtu::NotAbsolute);
        }
        let (scheme, rest) = uri.split_once("://").ok_or(InvalidHtu::NotAbsolute)?;
        if !["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
            return Err(InvalidHtu::Scheme);
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(InvalidHtu::UserInfo);
        }
        let origin = Url::parse(&uri[..scheme.len() + 3 + authority.len()]).map_err(|_| InvalidHtu::Authority)?;
        Self::join(&origin, path)
    }

    /// The `htu` of a request to `url`. The path is the one `url` has, that is, the one an HTTP client sends.
    ///
    /// # Errors
    ///
    /// - [`InvalidHtu::Scheme`] for a scheme other than `http` and `https`.
    /// - [`InvalidHtu::UserInfo`] if it has a user name or password.
    /// - [`InvalidHtu::Authority`] if its host has a character that no URI has.
    pub fn from_url(url: &Url) -> Result<Self, InvalidHtu> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(InvalidHtu::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(InvalidHtu::UserInfo);
        }
        Self::join(url, url.path())
    }

    /// `origin` is an `http` or `https` URL: `url` has lower-cased it, checked its host and dropped a default port.
    fn join(origin: &Url, path: &str) -> Result<Self, InvalidHtu> {
        let end = url::Position::BeforePath;
        let origin = &origin[..end];
        // `url` decodes a host's escapes, and lets pass what may stand in no URI: `a%22b` has become `a"b`.
        if !origin.bytes().all(is_uri_octet) {
            return Err(InvalidHtu::Authority);
        }
        let mut text = String::with_capacity(origin.len() + path.len().max(1));
        text.push_str(origin);
        text.push_str(if path.is_empty() { "/" } else { path });
        Ok(Self(text))
    }

    /// The normalised URI.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Htu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no `htu`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidHtu {
    /// Not `scheme://authority…`, or a character that no URI has.
    #[error("not an absolute URI")]
    NotAbsolute,
    /// Neither `http` nor `https`.
    #[error("the URI is neither http nor https")]
    Scheme,
    /// A user name or password before the host.
    #[error("the URI has a user name or password")]
    UserInfo,
    /// The host or port is empty or impossible.
    #[error("the URI's host or port is not usable")]
    Authority,
}

/// RFC 3986 §2, plus `[ ] ^ |`, which a WHATWG URL leaves bare in a path. None of these needs an escape in JSON.
fn is_uri_octet(octet: u8) -> bool {
    matches!(octet, 0x21..=0x7e) && !matches!(octet, b'"' | b'<' | b'>' | b'\\' | b'`' | b'{' | b'}')
}
