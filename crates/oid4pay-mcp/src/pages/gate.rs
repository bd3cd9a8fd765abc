//! Who may see the page: the browser that was given the link, and no site that this browser visits.
//!
//! The link holds a token that works once and for a few minutes; what it is exchanged for is a cookie that scripts cannot
//! read and other sites cannot send. Cookies know no ports (RFC 6265 §8.5), so another server on this machine could be sent
//! it by mistake. It shows what was spent; to decide anything takes the passphrase.

use std::sync::{Mutex, PoisonError};

use axum::http::header::{COOKIE, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use jose::{Rng, UnixSeconds, constant_time_eq, random_token, sha256};

use super::html::Problem;

/// The guard at the door of one dashboard.
pub(super) struct Gate {
    authority: String,
    origin: String,
    cookie: String,
    state: Mutex<State>,
}

/// Only hashes: what is kept opens nothing.
struct State {
    /// Of the link's token, until it was used, and when it ends.
    link: Option<([u8; 32], UnixSeconds)>,
    session: Option<Session>,
}

struct Session {
    hash: [u8; 32],
    csrf: String,
    ends_at: UnixSeconds,
}

impl Gate {
    /// A gate at `authority`, `127.0.0.1:{port}`; and the token of its link, a secret.
    pub(super) fn new(authority: String, rng: &dyn Rng, now: UnixSeconds) -> (Self, String) {
        let token = random_token::<32>(rng);
        let port = authority.rsplit(':').next().unwrap_or_default();
        let gate = Self {
            origin: format!("http://{authority}"),
            cookie: format!("oid4pay_dashboard_{port}"),
            state: Mutex::new(State { link: Some((sha256(token.as_bytes()), now + LINK_SECONDS)), session: None }),
            authority,
        };
        (gate, token)
    }

    /// Refuses what is not from this machine's address bar or a page of this server's: another name that was made to resolve
    /// to this address (DNS rebinding), another site's form, link or frame.
    pub(super) fn check(&self, method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
        let only = |name| {
            let mut values = headers.get_all(name).iter().map(HeaderValue::as_bytes);
            (values.next(), values.next().is_some())
        };
        if only(HOST) != (Some(self.authority.as_bytes()), false) {
            let why = "The request is for another host than this one.";
            return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, "Wrong address", why));
        }
        let changes = !matches!(*method, Method::GET | Method::HEAD);
        let is_own = match only(ORIGIN) {
            (None, _) => !changes,
            (Some(origin), repeated) => origin == self.origin.as_bytes() && !repeated,
        };
        let from = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
        if !is_own || !matches!(from, None | Some(b"same-origin" | b"none")) {
            let why = "Another site sent this request, not a page of this dashboard.";
            return Err(Problem::new(StatusCode::FORBIDDEN, "Not from here", why));
        }
        Ok(())
    }

    /// Whether a person opens what the request is for. A client that only looks whether a link is there, or fetches it ahead,
    /// must not use it up.
    pub(super) fn is_opened(method: &Method, headers: &HeaderMap) -> bool {
        let ahead = |name: &str| {
            let mut values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
            values.any(|value| value.contains("prefetch") || value.contains("prerender") || value.contains("preview"))
        };
        let is_page = headers.get_all("sec-fetch-dest").iter().all(|to| to.as_bytes() == b"document");
        *method == Method::GET && is_page && !["sec-purpose", "purpose", "x-purpose", "x-moz"].into_iter().any(ahead)
    }

    /// Exchanges the link's token, once, for the `Set-Cookie` of a session.
    pub(super) fn enter(&self, token: &str, rng: &dyn Rng, now: UnixSeconds) -> Option<HeaderValue> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (hash, ends_at) = state.link?;
        if !constant_time_eq(&sha256(token.as_bytes()), &hash) {
            return None;
        }
        state.link = None;
        if now >= ends_at {
            return None;
        }
        let secret = random_token::<32>(rng);
        let (hash, csrf) = (sha256(secret.as_bytes()), random_token::<16>(rng));
        state.session = Some(Session { hash, csrf, ends_at: now + SESSION_SECONDS });
        let mut cookie =
            HeaderValue::from_str(&format!("{}={secret}; Path=/; HttpOnly; SameSite=Strict", self.cookie)).ok()?;
        cookie.set_sensitive(true);
        Some(cookie)
    }

    /// The token that the forms of this browser carry, if it has the session.
    pub(super) fn csrf(&self, headers: &HeaderMap, now: UnixSeconds) -> Option<String> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let session = state.session.as_ref().filter(|session| now < session.ends_at)?;
        let values = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs = values.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let (_, secret) = pairs.find(|(name, _)| *name == self.cookie)?;
        constant_time_eq(&sha256(secret.as_bytes()), &session.hash).then(|| session.csrf.clone())
    }
}

pub(super) const LINK_SECONDS: UnixSeconds = 300;
const SESSION_SECONDS: UnixSeconds = 8 * 3600;

#[cfg(test)]
mod tests {
    use oid4ac_client::SystemRng;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn gate() -> (Gate, String) {
        Gate::new("127.0.0.1:4000".to_owned(), &SystemRng, 1000)
    }

    #[test]
    fn the_link_works_once_and_not_for_long() {
        let (gate, token) = gate();
        assert_eq!(gate.enter("another", &SystemRng, 1000), None);
        let cookie = gate.enter(&token, &SystemRng, 1000 + LINK_SECONDS - 1).unwrap();
        assert!(cookie.is_sensitive());
        let cookie = cookie.to_str().unwrap();
        assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict"), "{cookie}");
        assert_eq!(gate.enter(&token, &SystemRng, 1001), None, "used");
        let (gate, token) = self::gate();
        assert_eq!(gate.enter(&token, &SystemRng, 1000 + LINK_SECONDS), None, "late");
        assert_eq!(gate.enter(&token, &SystemRng, 1000), None, "and used up by that");
    }

    #[test]
    fn only_a_get_that_is_opened_is_one() {
        let opened = |method: Method, pairs: &[(&'static str, &str)]| Gate::is_opened(&method, &headers(pairs));
        assert!(opened(Method::GET, &[]) && opened(Method::GET, &[("sec-fetch-dest", "document")]));
        assert!(!opened(Method::HEAD, &[]) && !opened(Method::HEAD, &[("sec-fetch-dest", "document")]));
        for ahead in [
            ("sec-purpose", "prefetch;prerender"),
            ("purpose", "prefetch"),
            ("x-purpose", "preview"),
            ("x-moz", "prefetch"),
            ("sec-fetch-dest", "empty"),
            ("sec-fetch-dest", "iframe"),
        ] {
            assert!(!opened(Method::GET, &[ahead]), "{ahead:?}");
        }
    }

    #[test]
    fn a_session_is_its_cookies_and_ends() {
        let (gate, token) = gate();
        let cookie = gate.enter(&token, &SystemRng, 1000).unwrap();
        let pair = cookie.to_str().unwrap().split(';').next().unwrap();
        let with = |cookie: &str, now| gate.csrf(&headers(&[("cookie", cookie)]), now);
        assert!(with(&format!("a=b; {pair}"), 1000).is_some());
        for wrong in ["", "oid4pay_dashboard_4000=", "oid4pay_dashboard_4000=x", &pair.replace("4000", "4001")] {
            assert_eq!(with(wrong, 1000), None, "{wrong}");
        }
        assert_eq!(with(pair, 1000 + SESSION_SECONDS), None);
        assert_eq!(gate.csrf(&HeaderMap::new(), 1000), None);
    }

    #[test]
    fn only_its_own_pages_and_the_address_bar_are_let_in() {
        let (gate, _) = gate();
        let status = |method: Method, pairs: &[(&'static str, &str)]| {
            gate.check(&method, &headers(pairs)).err().map(|problem| problem.status.as_u16())
        };
        let (host, origin) = (("host", "127.0.0.1:4000"), ("origin", "http://127.0.0.1:4000"));
        assert_eq!(status(Method::GET, &[host]), None);
        assert_eq!(status(Method::GET, &[host, ("sec-fetch-site", "none")]), None);
        assert_eq!(status(Method::POST, &[host, origin, ("sec-fetch-site", "same-origin")]), None);
        for name in
            ["evil.example:4000", "localhost:4000", "127.0.0.1", "127.0.0.1:4001", "127.0.0.1.evil.example:4000"]
        {
            assert_eq!(status(Method::GET, &[("host", name)]), Some(421), "{name}");
        }
        assert_eq!(status(Method::GET, &[]), Some(421));
        assert_eq!(status(Method::GET, &[host, host]), Some(421), "twice");
        assert_eq!(status(Method::POST, &[host]), Some(403), "no origin");
        for other in ["null", "https://127.0.0.1:4000", "http://127.0.0.1:4001", "http://evil.example"] {
            assert_eq!(status(Method::POST, &[host, ("origin", other)]), Some(403), "{other}");
            assert_eq!(status(Method::GET, &[host, ("origin", other)]), Some(403), "{other}");
        }
        for site in ["cross-site", "same-site"] {
            assert_eq!(status(Method::GET, &[host, ("sec-fetch-site", site)]), Some(403), "{site}");
        }
    }
}
