//! Sessions of browsers, and the visitor of one request.

use http::HeaderValue;

use crate::principal::Principal;

/// A browser that the portal recognises, signed in or not.
pub(in crate::authorization_server) struct PortalSession {
    pub(super) principal_id: Option<String>,
    pub(super) csrf: String,
    /// Shown once, at the top of the next page.
    pub(super) notice: Option<String>,
}

/// Who sent a request.
pub(super) struct Visitor {
    /// Who signed in.
    pub(super) principal: Option<Principal>,
    /// The token of this visitor's forms.
    pub(super) csrf: String,
    /// The cookie of a session that is new.
    pub(super) set_cookie: Option<HeaderValue>,
}
