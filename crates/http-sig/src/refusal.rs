//! Why a signature is not accepted.

use jose::{Alg, UnixSeconds};

use crate::{Component, DigestError, InvalidComponent, UnresolvedComponent};

/// Why a message's signature is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The field is missing or empty.
    #[error("the message has no {0}")]
    MissingField(&'static str),
    /// The field is no structured dictionary.
    #[error("{0} is malformed")]
    MalformedField(&'static str),
    /// `Signature-Input` has no such label.
    #[error("there is no signature labelled {0:?}")]
    NoSuchLabel(String),
    /// More labels than anyone needs.
    #[error("too many signatures: {0}")]
    TooManyLabels(usize),
    /// No label can be accepted. In the order of `Signature-Input`, never empty.
    #[error("no signature is acceptable: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Refused(Vec<Refusal>),
    /// The signature is good, but the content is not the one signed or cannot be checked.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

impl VerifyError {
    /// The key names that were not known: a caller may fetch the keys again and verify once more.
    pub fn unknown_keyids(&self) -> impl Iterator<Item = &str> {
        let refusals = if let Self::Refused(refusals) = self { refusals.as_slice() } else { &[] };
        refusals.iter().filter_map(|refusal| match &refusal.reason {
            LabelError::UnknownKey(keyid) => Some(keyid.as_str()),
            _ => None,
        })
    }
}

/// One label and why it is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{label}: {reason}")]
#[non_exhaustive]
pub struct Refusal {
    /// The label.
    pub label: String,
    /// Why.
    pub reason: LabelError,
}

/// Why the signature under one label is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LabelError {
    /// The label occurs more than once in a field that must not repeat it.
    #[error("the label occurs more than once")]
    Repeated,
    /// The member is no inner list in `Signature-Input`, or no byte sequence in `Signature`.
    #[error("the member is malformed")]
    Malformed,
    /// `Signature` has no such label.
    #[error("there is no signature for it")]
    NoSignature,
    /// A component identifier is not allowed.
    #[error(transparent)]
    Component(#[from] InvalidComponent),
    /// The component is listed more than once.
    #[error("{0} is covered more than once")]
    ComponentRepeated(Component),
    /// More components than anyone needs.
    #[error("too many components: {0}")]
    TooManyComponents(usize),
    /// The component has to be covered and is not.
    #[error("{0} is not covered")]
    NotCovered(Component),
    /// The component has no value in this message.
    #[error(transparent)]
    Unresolved(#[from] UnresolvedComponent),
    /// The signature parameter has the wrong type.
    #[error("the parameter `{0}` has the wrong type")]
    MalformedParam(&'static str),
    /// The signature parameter is needed and missing or empty.
    #[error("the parameter `{0}` is missing")]
    MissingParam(&'static str),
    /// `alg` names an algorithm that is not accepted.
    #[error("the algorithm {0:?} is not allowed")]
    AlgNotAllowed(String),
    /// The key is for an algorithm that is not accepted.
    #[error("a key for {0} is not allowed")]
    KeyNotAllowed(Alg),
    /// `alg` names another algorithm than the key's.
    #[error("`alg` names {named}, but the key is for {key}")]
    AlgMismatch {
        /// What `alg` says.
        named: Alg,
        /// What the key is for.
        key: Alg,
    },
    /// There is no key of that name.
    #[error("the key {0:?} is not known")]
    UnknownKey(String),
    /// `created` is too far ahead of the clock.
    #[error("created at {created}, which is in the future at {now}")]
    CreatedInFuture {
        /// The parameter.
        created: UnixSeconds,
        /// The clock.
        now: UnixSeconds,
    },
    /// `created` is longer ago than accepted.
    #[error("created at {created}, too long ago at {now}")]
    TooOld {
        /// The parameter.
        created: UnixSeconds,
        /// The clock.
        now: UnixSeconds,
    },
    /// `expires` has come.
    #[error("expired at {expires}, and it is {now}")]
    Expired {
        /// The parameter.
        expires: UnixSeconds,
        /// The clock.
        now: UnixSeconds,
    },
    /// `expires` is before `created`, or further after it than accepted.
    #[error("created at {created} and expiring at {expires} is not an accepted lifetime")]
    Lifetime {
        /// The parameter `created`.
        created: UnixSeconds,
        /// The parameter `expires`.
        expires: UnixSeconds,
    },
    /// The signature is not this key's over this message.
    #[error("the signature does not verify")]
    BadSignature,
}
