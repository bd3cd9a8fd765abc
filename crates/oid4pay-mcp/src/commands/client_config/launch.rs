//! What a client starts, under which name.

/// How this server is started.
pub(super) struct Launch {
    pub(super) command: String,
    pub(super) args: Vec<String>,
    pub(super) env: Vec<(String, String)>,
}

/// What the server is called in a client's settings.
pub(super) const NAME: &str = "oid4pay";
