//! Redirect URIs on this machine.

use std::net::Ipv4Addr;

use url::Host;

use crate::Endpoint;

/// A loopback redirect URI, whose port may be any (RFC 8252 §7.3).
///
/// `localhost` is taken too, though RFC 8252 §8.3 advises against it; `[::1]` is not, for nothing listens there.
pub(crate) struct LoopbackUri {
    host: &'static str,
    /// The one it was registered with. A server that compares ports after all will want it.
    pub(super) port: Option<u16>,
    pub(super) path: String,
    /// Path and query as registered, which a server may compare octet by octet.
    rest: String,
}

impl LoopbackUri {
    pub(crate) fn parse(uri: &str) -> Option<Self> {
        let endpoint = Endpoint::parse(uri).ok()?;
        let url = endpoint.url();
        let host = match url.host()? {
            Host::Ipv4(Ipv4Addr::LOCALHOST) => LOOPBACK,
            Host::Domain("localhost") => "localhost",
            _ => return None,
        };
        let authority =
            uri.get(..HTTP.len()).filter(|scheme| scheme.eq_ignore_ascii_case(HTTP)).map(|_| &uri[HTTP.len()..])?;
        let rest = authority.find(['/', '?']).map_or("", |end| &authority[end..]);
        Some(Self { host, port: url.port(), path: url.path().to_owned(), rest: rest.to_owned() })
    }

    /// `host:port`, as a `Host` field has it.
    pub(super) fn authority(&self, port: u16) -> String {
        format!("{}:{port}", self.host)
    }

    pub(super) fn with_port(&self, port: u16) -> String {
        format!("{HTTP}{}{}", self.authority(port), self.rest)
    }
}

pub(super) const HTTP: &str = "http://";
pub(super) const LOOPBACK: &str = "127.0.0.1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_port_of_a_redirect_uri_is_replaced() {
        for (registered, pushed) in [
            ("http://127.0.0.1/callback", "http://127.0.0.1:5/callback"),
            ("http://127.0.0.1:8080/Call%20back?x=1", "http://127.0.0.1:5/Call%20back?x=1"),
            ("http://127.0.0.1", "http://127.0.0.1:5"),
            ("HTTP://localhost:80/cb", "http://localhost:5/cb"),
            ("http://127.0.0.1?x", "http://127.0.0.1:5?x"),
        ] {
            assert_eq!(LoopbackUri::parse(registered).map(|uri| uri.with_port(5)).as_deref(), Some(pushed));
        }
        for other in
            ["https://127.0.0.1/cb", "http://127.0.0.2/cb", "http://[::1]/cb", "https://a.example/cb", "cb", ""]
        {
            assert!(LoopbackUri::parse(other).is_none(), "{other}");
        }
    }
}
