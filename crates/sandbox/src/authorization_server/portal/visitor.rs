//! Who visits: sessions, the cookie that names one, and the token that every form carries.

use std::sync::Arc;

use axum::extract::{Request, State as Extract};
use axum::response::{IntoResponse as _, Response};
use http::header::{COOKIE, LOCATION, SET_COOKIE};
use http::{HeaderMap, HeaderValue, StatusCode};
use jose::{UnixSeconds, constant_time_eq, random_token};

use super::html::{escape, form, page, refusal_page, refused};
use super::session::{PortalSession, Visitor};
use crate::authorization_server::AuthorizationServer;
use crate::authorization_server::body::read_form;
use crate::authorization_server::endpoints::PORTAL_PATH;
use crate::authorization_server::secret_hash::secret_hash;
use crate::error::Refusal;
use crate::form::Form;
use crate::principal::Principal;
use crate::rules::Rule;

impl AuthorizationServer {
    /// The visitor of a page; a new one gets a session without a principal.
    pub(super) fn visitor(&self, headers: &HeaderMap) -> Visitor {
        self.known_visitor(headers).unwrap_or_else(|| self.start_session(None))
    }

    /// Reads a form that was posted, and makes sure that a page of this visitor's sent it.
    pub(super) async fn posted(&self, request: Request) -> Result<(Visitor, Form), Response> {
        let (headers, form) = read_form(request).await.map_err(|refusal| refusal_page(&refusal))?;
        let stale = || {
            let why = "the form is not from a page of yours that is still good; go back, reload the page and try again";
            refusal_page(&Refusal::new(StatusCode::FORBIDDEN, "stale_form", why))
        };
        let visitor = self.known_visitor(&headers).ok_or_else(stale)?;
        let csrf = form.get("csrf").unwrap_or_default();
        if !constant_time_eq(csrf.as_bytes(), visitor.csrf.as_bytes()) && self.rules.enforced(Rule::PortalForm) {
            return Err(stale());
        }
        Ok((visitor, form))
    }

    /// The same, from a visitor who has signed in.
    pub(super) async fn posted_by_principal(&self, request: Request) -> Result<(Visitor, Principal, Form), Response> {
        let path = request.uri().path().to_owned();
        let (visitor, form) = self.posted(request).await?;
        match visitor.principal.clone() {
            Some(principal) => Ok((visitor, principal, form)),
            // Where the form was posted to is a page of its own only for a consent.
            None if path.starts_with("/portal/consent/") => Err(self.sign_in_page(&visitor, &path)),
            None => Err(self.sign_in_page(&visitor, PORTAL_PATH)),
        }
    }

    /// The visitor of a page for principals. Anyone else is asked to sign in and then sent back to `path`.
    pub(super) fn signed_in(&self, headers: &HeaderMap, path: &str) -> Result<(Visitor, Principal), Box<Response>> {
        let visitor = self.visitor(headers);
        match visitor.principal.clone() {
            Some(principal) => Ok((visitor, principal)),
            None => Err(Box::new(self.sign_in_page(&visitor, path))),
        }
    }

    fn sign_in_page(&self, visitor: &Visitor, next: &str) -> Response {
        let button = |principal: &Principal| {
            let Principal { id, name, email, .. } = principal;
            let initials: String =
                name.split(' ').filter_map(|word| word.chars().next()).filter(|c| c.is_uppercase()).collect();
            format!(
                "<button class=\"person\" name=\"principal\" value=\"{id}\"><span class=\"initials\" aria-hidden=\"true\">\
                 {initials}</span><span><span class=\"unseen\">Continue as </span><strong>{name}</strong> \
                 <span class=\"soft\">{email}</span></span></button>"
            )
        };
        let buttons: String = self.principals.iter().map(button).collect();
        let body = format!(
            "<p class=\"lede\">Whose wallet do you want to open? This sandbox has no passwords.</p>{}\
             <input type=\"hidden\" name=\"next\" value=\"{}\"><div class=\"card people\">{buttons}</div></form>",
            form(visitor, "/portal/sign-in"),
            escape(next)
        );
        page(StatusCode::OK, Some(visitor), "", "Sign in", &body)
    }

    /// Leaves a notice for this visitor's next page.
    pub(super) fn leave_notice(&self, headers: &HeaderMap, text: String) {
        if let Some(token) = self.cookie(headers)
            && let Some(session) = self.state().portal_sessions.get_mut(self.clock.now(), &secret_hash(token))
        {
            session.notice = Some(text);
        }
    }

    /// Takes the notice that was left for this visitor.
    pub(super) fn take_notice(&self, headers: &HeaderMap) -> Option<String> {
        let token = self.cookie(headers)?;
        self.state().portal_sessions.get_mut(self.clock.now(), &secret_hash(token))?.notice.take()
    }

    /// The visitor whose session the cookie names.
    pub(super) fn known_visitor(&self, headers: &HeaderMap) -> Option<Visitor> {
        let token = self.cookie(headers)?;
        let state = self.state();
        let session = state.portal_sessions.get(self.clock.now(), &secret_hash(token))?;
        let principal = session.principal_id.as_ref().and_then(|id| self.principal(id)).cloned();
        Some(Visitor { principal, csrf: session.csrf.clone(), set_cookie: None })
    }

    fn start_session(&self, principal: Option<Principal>) -> Visitor {
        let (token, csrf) = (random_token::<32>(self.rng.as_ref()), random_token::<16>(self.rng.as_ref()));
        let now = self.clock.now();
        let session =
            PortalSession { principal_id: principal.as_ref().map(|p| p.id.clone()), csrf: csrf.clone(), notice: None };
        self.state().portal_sessions.insert_evicting(now, secret_hash(&token), now + SESSION_SECONDS, session);
        let cookie = format!("{}={token}; Path={PORTAL_PATH}; HttpOnly; SameSite=Strict", self.cookie_name());
        let set_cookie = HeaderValue::from_str(&cookie).ok().map(|mut cookie| {
            cookie.set_sensitive(true);
            cookie
        });
        Visitor { principal, csrf, set_cookie }
    }

    fn end_session(&self, headers: &HeaderMap) {
        if let Some(token) = self.cookie(headers) {
            self.state().portal_sessions.remove(self.clock.now(), &secret_hash(token));
        }
    }

    fn cookie<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let name = self.cookie_name();
        let values = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs = values.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(own, _)| *own == name).map(|(_, token)| token)
    }

    /// Cookies know no ports (RFC 6265 §8.5), so the name has it: two sandboxes do not sign each other's people out.
    fn cookie_name(&self) -> String {
        format!("portal_{}", self.issuer().rsplit(':').next().unwrap_or_default())
    }
}

/// `POST /portal/sign-in`.
pub(super) async fn sign_in(Extract(server): Extract<Arc<AuthorizationServer>>, request: Request) -> Response {
    let headers = request.headers().clone();
    let (visitor, form) = match server.posted(request).await {
        Ok(posted) => posted,
        Err(response) => return response,
    };
    let Some(principal) = form.get("principal").and_then(|id| server.principal(id)).cloned() else {
        return refused(Some(&visitor), &Refusal::invalid_request("there is no such account"));
    };
    // Signing in never continues an earlier session: its cookie may be known elsewhere.
    server.end_session(&headers);
    let visitor = server.start_session(Some(principal));
    let next = form.get("next").filter(|next| is_portal_path(next)).unwrap_or(PORTAL_PATH);
    see_other(next, visitor.set_cookie)
}

/// `POST /portal/sign-out`.
pub(super) async fn sign_out(Extract(server): Extract<Arc<AuthorizationServer>>, request: Request) -> Response {
    let headers = request.headers().clone();
    match server.posted(request).await {
        Ok(_) => {
            server.end_session(&headers);
            see_other(PORTAL_PATH, None)
        }
        Err(response) => response,
    }
}

/// 303: the browser gets the page there, and reloading it sends no form twice.
pub(super) fn see_other(path: &str, set_cookie: Option<HeaderValue>) -> Response {
    let Ok(location) = HeaderValue::from_str(path) else { return Refusal::server_error().into_response() };
    let mut response = (StatusCode::SEE_OTHER, [(LOCATION, location)]).into_response();
    if let Some(cookie) = set_cookie {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}

/// A path of the portal's pages, and nothing that a browser would take for another origin.
fn is_portal_path(path: &str) -> bool {
    let rest = path.strip_prefix(PORTAL_PATH);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        && path.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_'))
}

const SESSION_SECONDS: UnixSeconds = 3600;

#[cfg(test)]
mod tests {
    use super::is_portal_path;

    #[test]
    fn leads_back_to_the_portal_and_nowhere_else() {
        assert!(is_portal_path("/portal") && is_portal_path("/portal/consent/aZ_-9"));
        for path in ["//evil.example", "/portalx", "https://evil.example/portal", "/portal/..%2f", "/portal?x", "", "/"]
        {
            assert!(!is_portal_path(path), "{path}");
        }
    }
}
