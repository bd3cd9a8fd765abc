use http::HeaderValue;

use crate::principal::Principal;

/// A browser that the portal knows again, signed in or not.
pub(in crate::authorization_server) struct PortalSession {
    pub(super) principal_id: Option<String>,
    pub(super) csrf: String,
    /// What the next page says first, once.
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
