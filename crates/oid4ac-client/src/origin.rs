use core::fmt;

use serde::{Serialize, Serializer};
use url::{Host, Url};

/// An origin (RFC 6454 §4 as protocol profiles write it): `scheme://host[:port]`, lower-case, default port dropped, no
/// path, no trailing slash. The scheme is `https`, or `http` for a loopback host.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin(String);

impl Origin {
    /// The origin of a URL. What follows the authority is ignored.
    ///
    /// # Errors
    ///
    /// - [`InvalidUrl`] if `url` is not an absolute `https` URL, or an `http` one whose host is a loopback one, or if it
    ///   carries user information, or its host's name ends with a dot.
    ///
    /// # Examples
    ///
    /// ```
    /// use oid4ac_client::Origin;
    /// assert_eq!(Origin::of("https://Shop.Example:443/a?b").unwrap().as_str(), "https://shop.example");
    /// assert!(Origin::of("http://shop.example/").is_err());
    /// assert!(Origin::of("https://user@shop.example/").is_err());
    /// assert!(Origin::of("https://shop.example./").is_err());
    /// ```
    pub fn of(url: &str) -> Result<Self, InvalidUrl> {
        Endpoint::parse(url).map(|endpoint| endpoint.origin)
    }

    /// The origin as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the host is a loopback one (`127.0.0.0/8`, `[::1]`, `localhost`).
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        Url::parse(&self.0).is_ok_and(|url| is_loopback_host(&url))
    }

    /// The endpoint at `path` (which begins with `/`) on this origin.
    ///
    /// # Errors
    ///
    /// - [`InvalidUrl`] if the result is no URL.
    pub fn join(&self, path: &str) -> Result<Endpoint, InvalidUrl> {
        Endpoint::parse(&format!("{}{path}", self.0))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Origin({})", self.0)
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// An absolute URL to send a request to. The text is kept exactly as given, since signatures and `aud` values compare it
/// so; the parsed form and the origin stand beside it. A fragment is refused.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    raw: String,
    url: Url,
    origin: Origin,
}

impl Endpoint {
    /// Parses `url`.
    ///
    /// # Errors
    ///
    /// - [`InvalidUrl`] as for [`Origin::of`], and for a fragment.
    pub fn parse(url: &str) -> Result<Self, InvalidUrl> {
        let parsed = Url::parse(url).map_err(|_| InvalidUrl::NotAbsolute)?;
        if parsed.host_str().is_none_or(str::is_empty) {
            return Err(InvalidUrl::NotAbsolute);
        }
        match parsed.scheme() {
            "https" => {}
            "http" if is_loopback_host(&parsed) => {}
            _ => return Err(InvalidUrl::Scheme),
        }
        // A second spelling of the same host, and another origin: limits on one would not hold for the other.
        if parsed.domain().is_some_and(|name| name.ends_with('.')) {
            return Err(InvalidUrl::TrailingDot);
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(InvalidUrl::UserInfo);
        }
        if parsed.fragment().is_some() {
            return Err(InvalidUrl::Fragment);
        }
        let origin = Origin(parsed.origin().ascii_serialization());
        Ok(Self { raw: url.to_owned(), url: parsed, origin })
    }

    /// The text as given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.raw
    }

    /// The URL as it goes on the wire.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Its origin.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.raw)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A query can hold a one-time value.
        write!(f, "Endpoint({}{})", self.origin, self.url.path())
    }
}

/// Why a URL is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidUrl {
    /// Not an absolute URL with a host.
    #[error("it is not an absolute URL")]
    NotAbsolute,
    /// Neither `https`, nor `http` on a loopback host.
    #[error("its scheme is not https (http is for loopback hosts only)")]
    Scheme,
    /// A dot at the end of the host's name.
    #[error("its host's name ends with a dot")]
    TrailingDot,
    /// `user:password@` before the host.
    #[error("it carries user information")]
    UserInfo,
    /// `#…` at the end.
    #[error("it has a fragment")]
    Fragment,
}

fn is_loopback_host(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}
