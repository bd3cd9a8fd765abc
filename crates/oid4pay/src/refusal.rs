//! Why a call's answer is no: a code of a closed list, and data. The words for it are the face's.

mod code;

use core::fmt;

use oid4ac_client::{Error, JournalError, Misuse, NotIssued, StoreError, TransportError, WalletScope};
use serde_json::{Map, Value};
use spend_guard::{Evaluation, Finding, Intent, LedgerError, Verdict};

pub use self::code::Code;
use crate::pay::Signatures;

impl Code {
    /// The code of an error of the client, which has none that is not on the list.
    #[must_use]
    pub fn of(error: &Error) -> Self {
        Self::parse(error.code()).unwrap_or(Self::UnexpectedOutcome)
    }

    /// The code of a rule of the guard that stops a payment.
    #[must_use]
    pub fn of_finding(finding: &Finding) -> Self {
        Self::parse(&finding.code).unwrap_or(Self::PaymentsStopped)
    }
}

/// A call that ran and whose answer is no.
#[derive(Debug)]
pub struct Refusal {
    code: Code,
    cause: Cause,
    details: Map<String, Value>,
    intent: Option<Box<Intent>>,
    retryable: bool,
    signatures: Option<Box<Signatures>>,
}

/// What a refusal comes from.
#[derive(Debug)]
pub enum Cause {
    /// Our own rules, with a sentence that says what is wrong.
    Ours(String),
    /// An error of the client: of this machine, the way, or a server.
    Client(Box<Error>),
    /// There is no mandate, because the human said no or for another reason, as far as it is known.
    NotIssued(Option<NotIssued>),
    /// The wallet session lacks this scope.
    Scope(WalletScope),
}

impl Refusal {
    /// A refusal by our own rules. `sentence` has no full stop, and is empty where the code says it all.
    pub fn new(code: Code, sentence: &str) -> Self {
        Self::of(code, Cause::Ours(sentence.to_owned()))
    }

    /// There is no mandate.
    #[must_use]
    pub fn declined(why: Option<NotIssued>) -> Self {
        Self::of(Code::Declined, Cause::NotIssued(why))
    }

    /// The wallet session lacks a scope.
    #[must_use]
    pub fn insufficient_scope(scope: WalletScope) -> Self {
        Self::of(Code::InsufficientScope, Cause::Scope(scope)).with("scope", scope.as_str())
    }

    fn of(code: Code, cause: Cause) -> Self {
        Self { code, cause, details: Map::new(), intent: None, retryable: false, signatures: None }
    }

    /// Whether the same call may succeed later with nothing changed.
    #[must_use]
    pub fn retryable(mut self, retryable: bool) -> Self {
        self.retryable = retryable;
        self
    }

    /// With a detail.
    #[must_use]
    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.details.insert(member.to_owned(), value.into());
        self
    }

    /// About this purchase.
    #[must_use]
    pub fn about(mut self, intent: &Intent) -> Self {
        self.intent = Some(Box::new(intent.clone()));
        self
    }

    /// With what was verified before it came to this, and what was not.
    #[must_use]
    pub fn signatures(mut self, signatures: Signatures) -> Self {
        self.signatures = Some(Box::new(signatures));
        self
    }

    /// The code.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// What it comes from.
    #[must_use]
    pub fn cause(&self) -> &Cause {
        &self.cause
    }

    /// What else is known, by name.
    #[must_use]
    pub fn details(&self) -> &Map<String, Value> {
        &self.details
    }

    /// The purchase it is about.
    #[must_use]
    pub fn intent(&self) -> Option<&Intent> {
        self.intent.as_deref()
    }

    /// Whether the same call may succeed later with nothing changed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.retryable
    }

    /// What was verified before it came to this, and what was not.
    #[must_use]
    pub fn verified(&self) -> Option<&Signatures> {
        self.signatures.as_deref()
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        // An address stays forbidden until something is changed.
        let is_forbidden = matches!(error, Error::Transport { error: TransportError::ForbiddenAddress, .. });
        let retryable = error.is_retryable() && !is_forbidden;
        Self::of(Code::of(&error), Cause::Client(Box::new(error))).retryable(retryable)
    }
}

impl From<Misuse> for Refusal {
    fn from(error: Misuse) -> Self {
        Error::from(error).into()
    }
}

impl From<JournalError> for Refusal {
    fn from(error: JournalError) -> Self {
        Error::from(error).into()
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Error::from(error).into()
    }
}

impl From<LedgerError> for Refusal {
    fn from(error: LedgerError) -> Self {
        ledger_failed(&error)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Ours(sentence) if sentence.is_empty() => write!(f, "{}", self.code)?,
            Cause::Ours(sentence) => write!(f, "{}: {sentence}", self.code)?,
            Cause::Client(error) => write!(f, "{}: {error}", self.code)?,
            Cause::NotIssued(_) => f.write_str("declined: no mandate issued")?,
            Cause::Scope(scope) => write!(f, "{}: {scope} is needed", self.code)?,
        }
        match &self.intent {
            Some(intent) => write!(f, " ({})", intent.id),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Refusal {}

/// What the ledger says, as a refusal.
#[must_use]
pub fn ledger_failed(error: &LedgerError) -> Refusal {
    let code = match error {
        LedgerError::Invalid(_) => Code::InvalidArguments,
        LedgerError::OtherKey { .. } => Code::IdempotencyConflict,
        LedgerError::Busy { .. } => Code::LedgerBusy,
        LedgerError::Frozen { .. } => Code::Frozen,
        LedgerError::NothingToResolve { .. } => Code::NothingToResolve,
        LedgerError::InProgress(_) => Code::IntentInProgress,
        LedgerError::NoSuchIntent(_) => Code::NoSuchIntent,
        LedgerError::IllegalStep { .. } => Code::IllegalStep,
        LedgerError::ApprovalMissing(_) => Code::ApprovalMissing,
        LedgerError::AlreadyApproved(_) => Code::AlreadyApproved,
        LedgerError::ApprovalExpired(_) => Code::ApprovalExpired,
        LedgerError::ApprovalMismatch { .. } => Code::ApprovalMismatch,
        LedgerError::TicketSpent(_) => Code::RequestStateSpent,
        LedgerError::DeclarationMismatch { .. } => Code::DeclarationMismatch,
        LedgerError::RolledBack { .. } | LedgerError::HeadUnusable { .. } => Code::LedgerRolledBack,
        LedgerError::Altered { .. } => Code::LedgerAltered,
        _ => Code::LedgerFailed,
    };
    Refusal::new(code, &error.to_string()).retryable(matches!(error, LedgerError::Busy { .. }))
}

/// What the policy says, as a refusal: the first rule that denies gives code and sentence, and every rule that matched stands
/// beside it.
#[must_use]
pub fn stopped(evaluation: &Evaluation) -> Refusal {
    let finding = evaluation.findings.iter().find(|finding| finding.verdict == Verdict::Deny);
    let refusal = match finding {
        Some(finding) => Refusal::new(Code::of_finding(finding), &finding.message),
        None => Refusal::new(Code::PaymentsStopped, "payments are stopped on this machine"),
    };
    refusal.with("findings", serde_json::json!(evaluation.findings))
}
