//! What can go wrong with the ledger.

use std::io;
use std::path::PathBuf;

use crate::intent::{IntentId, State, Step};

/// Why the ledger did not do what was asked. Nothing was changed unless the variant says so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// A file or directory can be read or written by others.
    #[error("{} has mode {mode:04o}, others can get at it; fix it with: chmod {wanted:o} {}", path.display(), path.display())]
    TooOpen {
        /// The file or directory.
        path: PathBuf,
        /// The mode it has.
        mode: u32,
        /// The mode it should have.
        wanted: u32,
    },
    /// A newer version of this program wrote the ledger.
    #[error("{} has version {found}, this program knows versions up to {supported}; use the newer program", path.display())]
    NewerVersion {
        /// The ledger.
        path: PathBuf,
        /// The version it has.
        found: i64,
        /// The newest version known here.
        supported: i64,
    },
    /// The file is damaged, or no ledger at all.
    #[error("{} is damaged or no ledger ({detail}); payments stop. An older copy in its place would not know what was paid since, and let it be paid again: keep the file, and move it away only once you know what was paid", path.display())]
    Corrupt {
        /// The ledger.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// The schema is not the one that this program makes: a trigger or view was planted, or an index changed.
    #[error("the schema of {} is not the one this program makes: {what}; payments stop, since nothing read from it can be relied on. Keep a copy to find out who did it, undo the change with an SQLite shell, and prove the ledger whole before you go on", path.display())]
    Altered {
        /// The ledger.
        path: PathBuf,
        /// What differs.
        what: String,
    },
    /// The ledger does not contain the newest entry that was kept outside it: it is an older copy, or was rewritten.
    #[error("{} ends with entry {found} and is not the ledger in which entry {kept} was written: an older copy was put in its place, or it was rewritten. What was paid since may be paid again, so payments stop until a person accepts the ledger as it is", path.display())]
    RolledBack {
        /// The ledger.
        path: PathBuf,
        /// The number of the newest entry that is known.
        kept: u64,
        /// The number of the newest entry that is there.
        found: u64,
    },
    /// The newest head, kept outside the ledger, cannot be read.
    #[error("{}, which tells how new the ledger must be, cannot be used ({detail}); payments stop until a person accepts the ledger as it is", path.display())]
    HeadUnusable {
        /// The file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// What was just written is not there. It was asked for and did not happen.
    #[error("{} did not keep the {what} that was written to it: it is NOT in effect", path.display())]
    NotKept {
        /// The ledger.
        path: PathBuf,
        /// `freeze` or `unfreeze`.
        what: &'static str,
    },
    /// The directory, the file or the file system cannot be written.
    #[error("{} cannot be written; no payment can be made until it can", path.display())]
    ReadOnly {
        /// The ledger.
        path: PathBuf,
    },
    /// The disk is full, or a limit on file sizes is reached.
    #[error("no space left to write {}; no payment can be made until there is", path.display())]
    Full {
        /// The ledger.
        path: PathBuf,
    },
    /// The mandate, or the idempotency key, belongs to another purchase that is open or settled: presenting one under the
    /// other's could charge twice, or keep that purchase from ever being cleared up.
    #[error("the mandate is held by intent {id} under another idempotency key, or the key is that intent's")]
    OtherKey {
        /// The intent that has it.
        id: IntentId,
    },
    /// Other processes held the ledger for too long.
    #[error("other processes kept {} busy; try again", path.display())]
    Busy {
        /// The ledger.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Its reason.
        source: io::Error,
    },
    /// The database refused for a reason that has no variant of its own.
    #[error("{}: {source}", path.display())]
    Database {
        /// The ledger.
        path: PathBuf,
        /// Its reason.
        source: rusqlite::Error,
    },
    /// There is no such intent.
    #[error("no intent {0}")]
    NoSuchIntent(IntentId),
    /// The state of the intent does not allow the step.
    #[error("intent {id} is {from}: {step} is not possible")]
    IllegalStep {
        /// The intent.
        id: IntentId,
        /// Where it stands.
        from: State,
        /// What was asked.
        step: Step,
    },
    /// Payments were frozen while this one was under way.
    #[error("intent {id} {}: all payments are frozen until the operator ends it", match presented {
        true => "is not presented again, and may have been paid",
        false => "was not presented",
    })]
    Frozen {
        /// The intent.
        id: IntentId,
        /// Whether it had been presented before.
        presented: bool,
    },
    /// It was never presented, or what became of it is known.
    #[error("intent {id} is {state}: there is nothing to resolve")]
    NothingToResolve {
        /// The intent.
        id: IntentId,
        /// Where it stands.
        state: State,
    },
    /// Another process or task drives the intent.
    #[error("intent {0} is in progress elsewhere")]
    InProgress(IntentId),
    /// A human must agree first.
    #[error("intent {0} needs an approval first")]
    ApprovalMissing(IntentId),
    /// It was approved already.
    #[error("intent {0} was approved already")]
    AlreadyApproved(IntentId),
    /// The approval came, or was used, too late.
    #[error("the approval of intent {0} has expired")]
    ApprovalExpired(IntentId),
    /// The approval is for something else.
    #[error("the approval of intent {id} is for another {what}")]
    ApprovalMismatch {
        /// The intent.
        id: IntentId,
        /// `amount`, `currency`, `merchant` or `offers`.
        what: &'static str,
    },
    /// The ticket of an answer was used, was replaced by a newer one, or never existed.
    #[error("the answer about intent {0} belongs to no open question: a ticket works once, and only the newest")]
    TicketSpent(IntentId),
    /// What is bought is not what was declared.
    #[error("intent {id} was declared with another {what}")]
    DeclarationMismatch {
        /// The intent.
        id: IntentId,
        /// `amount`, `currency`, `merchant`, `issuer`, `line_items` or `terms`.
        what: &'static str,
    },
    /// The amount is above the one that is reserved.
    #[error("intent {id} is limited to {limit_minor} minor units")]
    AmountAboveReserved {
        /// The intent.
        id: IntentId,
        /// What is reserved.
        limit_minor: u64,
    },
    /// An argument is out of its range.
    #[error("{0}")]
    Invalid(#[from] crate::purchase::InvalidPurchase),
    /// The sums of this currency no longer fit 63 bits.
    #[error("the sums of this currency are exhausted")]
    SumsExhausted,
}
