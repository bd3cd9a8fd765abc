//! What a given principal token can be refused for.

/// Why a principal token that was given is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PrincipalTokenError {
    /// It was issued by another server.
    #[error("the principal token was issued by another authorization server")]
    Issuer,
    /// It is for another audience than the authorization server.
    #[error("the principal token is for another audience than the authorization server")]
    Audience,
    /// It has expired.
    #[error("the principal token has expired")]
    Expired,
    /// It is the agent's own, not the principal's.
    #[error("the principal token is an agent-only one")]
    AgentOnly,
    /// It is bound to a key that this agent does not have.
    #[error("the principal token is bound to another key than this agent's")]
    OtherKey,
    /// It cannot stand in an HTTP header.
    #[error("the principal token is malformed")]
    Malformed,
}

impl PrincipalTokenError {
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Issuer => "principal_token_issuer",
            Self::Audience => "principal_token_audience",
            Self::Expired => "principal_token_expired",
            Self::AgentOnly => "principal_token_agent_only",
            Self::OtherKey => "principal_token_other_key",
            Self::Malformed => "principal_token_malformed",
        }
    }
}
