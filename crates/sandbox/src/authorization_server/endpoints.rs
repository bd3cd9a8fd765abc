//! Where the server's endpoints are.

/// The server's URLs.
pub(crate) struct Endpoints {
    pub(crate) issuer: String,
    pub(crate) authorization: String,
    pub(crate) par: String,
    pub(crate) token: String,
    pub(crate) introspection: String,
    pub(crate) revocation: String,
    pub(crate) registration: String,
    pub(crate) jwks: String,
    pub(crate) status_list: String,
    pub(crate) wallet_agents: String,
    pub(crate) dsar: String,
    pub(crate) audit: String,
}

impl Endpoints {
    pub(super) fn at(origin: &str) -> Self {
        let at = |path: &str| format!("{origin}{path}");
        Self {
            issuer: origin.to_owned(),
            authorization: at("/oauth/authorize"),
            par: at("/oauth/par"),
            token: at("/oauth/token"),
            introspection: at("/oauth/introspect"),
            revocation: at("/oauth/revoke"),
            registration: at("/oauth/register"),
            jwks: at("/oauth/jwks.json"),
            status_list: at("/oauth/status-list/1"),
            wallet_agents: at("/wallet/agents"),
            dsar: at("/privacy/dsar"),
            audit: at("/audit/principal/range"),
        }
    }
}

/// Where the portal's pages are.
pub(crate) const PORTAL_PATH: &str = "/portal";
