//! Names of the rules: the variant of the error, and of the one inside where the outer only says in which layer it arose.

use core::fmt::Debug;

use http_sig::LabelError;

/// An error that names the rule it stands for.
pub(crate) trait Rule: Debug {
    /// The name of the error's variant.
    fn rule(&self) -> String {
        name(self)
    }
}

impl Rule for jose::InvalidJwk {}
impl Rule for jose::JwsError {}
impl Rule for jose::json::InvalidJson {}
impl Rule for ::dpop::InvalidHtu {}
impl Rule for ::dpop::InvalidNonce {}
impl Rule for ::http_sig::DigestError {}
impl Rule for ::http_sig::InvalidComponent {}
impl Rule for ::http_sig::InvalidMessage {}
impl Rule for oid4ac_client::InvalidStatusList {}

impl Rule for ::dpop::VerifyError {
    fn rule(&self) -> String {
        match self {
            Self::Jws(error) => error.rule(),
            other => name(other),
        }
    }
}

impl Rule for ::sd_jwt::VerifyError {
    fn rule(&self) -> String {
        match self {
            Self::Jws(error) => error.rule(),
            other => name(other),
        }
    }
}

impl Rule for ::sd_jwt::KeyBindingError {
    fn rule(&self) -> String {
        match self {
            Self::Jws(error) => error.rule(),
            other => name(other),
        }
    }
}

impl Rule for ::http_sig::VerifyError {
    fn rule(&self) -> String {
        match self {
            Self::Refused(refusals) => refusals.first().map_or_else(|| name(self), |first| first.reason.rule()),
            Self::Digest(error) => error.rule(),
            other => name(other),
        }
    }
}

impl Rule for LabelError {
    fn rule(&self) -> String {
        match self {
            Self::Component(error) => error.rule(),
            Self::Unresolved(error) => name(&error.reason),
            other => name(other),
        }
    }
}

/// The identifier that derived `Debug` starts with.
fn name(error: &(impl Debug + ?Sized)) -> String {
    let text = format!("{error:?}");
    text.chars().take_while(|c| c.is_ascii_alphanumeric()).collect()
}
