//! The ledger: intents, their states, and the money they hold.

mod artefact;
mod chain;
mod claim;
mod declare;
mod files;
mod guard;
mod head;
mod history;
mod lock;
mod row;
mod schema;
mod store;
mod time;
mod totals;
mod transaction;
mod verify;

use std::path::PathBuf;
use std::sync::Arc;

use jose::Clock;
use serde_json::{Value, json};

pub use self::artefact::Artefact;
pub use self::chain::Entry;
pub use self::claim::{Begun, Claim, Denial, Next, Offers};
pub use self::declare::{DeclarationTerms, Declared};
pub use self::guard::Budget;
pub use self::head::Head;
use self::head::HeadFile;
pub use self::history::{Filter, Page, RaisedAlert, Snapshot};
use self::lock::Lock;
use self::row::covers;
use self::store::Store;
pub use self::time::TimeReset;
use self::transaction::{Failed, Tx};
pub use self::verify::{Broken, Proof};
use crate::error::LedgerError;
use crate::hash::hash;
use crate::intent::{
    Approval, ApprovalTerms, Declaration, Failure, Intent, IntentId, Resolution, ResolvedBy, State, Step,
};
use crate::policy::{Evaluation, Policy, Verdict};
use crate::purchase::{Purchase, PurchaseKind, check_amount};

/// The ledger of one data directory. A clone is the same ledger.
///
/// Making one costs nothing: the file is opened, and where needed created or brought up to date, by the first method that
/// reads or writes it. Methods block on the disk, for about the time of one `fsync`; while other processes write, for
/// longer, up to half a minute.
///
/// Its time never goes back by itself: with a clock that was set back, it stands still until the clock has caught up. One
/// that ran ahead for a while therefore makes windows let go later than they could, never earlier, until a person brings
/// the ledger's time back ([`Ledger::reset_time`]).
///
/// What only reads makes no file and changes none: where there is no ledger, it sees an empty one.
#[derive(Clone)]
pub struct Ledger {
    store: Arc<Store>,
}

/// What became of a purchase, by another source than the merchant's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "paid or not")]
pub enum ResolutionVerdict {
    /// It was paid.
    Paid {
        /// What was paid, in minor units, where that is known.
        amount_minor: Option<u64>,
        /// The merchant's id of the payment, where that is known.
        payment_intent_id: Option<String>,
    },
    /// It was not paid.
    NotPaid,
}

impl Ledger {
    /// The ledger in `dir`, which is made at the first use where it does not exist.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>, clock: Arc<dyn Clock>) -> Self {
        Self { store: Arc::new(Store::new(dir.into(), clock, None)) }
    }

    /// The same, with the newest head kept outside the ledger: in a file of `dir`, which is made where it does not exist. A
    /// ledger that does not lead through the kept head is an older copy, or was rewritten, and takes nothing but a
    /// [`Ledger::freeze`] until [`Ledger::accept`]. Where nothing was kept yet, the ledger is taken as it is.
    ///
    /// `dir` should be no part of the ledger's own directory, which is what is copied and put back.
    #[must_use]
    pub fn with_head_in(self, dir: impl Into<PathBuf>) -> Self {
        let Store { dir: data_dir, clock, .. } = &*self.store;
        let head = HeadFile::new(dir.into());
        Self { store: Arc::new(Store::new(data_dir.clone(), Arc::clone(clock), Some(head))) }
    }

    /// Begins a purchase, or finds the one it repeats.
    ///
    /// One transaction looks for the intent, asks the policy, and reserves the money, so that two processes get the same
    /// intent and no budget is overspent. With `policy` `None` there are no limits: that is for programs that have limits
    /// of their own. A freeze holds either way.
    ///
    /// # Errors
    ///
    /// - [`LedgerError::DeclarationMismatch`] if `purchase_ref` names a declared intent that is for something else.
    /// - [`LedgerError::SumsExhausted`] if the sums of the currency cannot grow any more.
    /// - Any of the errors of opening and writing the file. Nothing may be sent then.
    pub fn begin(&self, purchase: &Purchase, policy: Option<&Policy>) -> Result<Begun, LedgerError> {
        let mut retired = Vec::new();
        let begun = self.store.write(|tx| {
            policy.map_or(Ok(()), |policy| tx.adopt(policy))?;
            let mut found = tx.repeated(purchase)?;
            if found.is_none() {
                found = tx.declared(purchase, policy)?;
            }
            tx.expire_others(found.as_ref().map(|intent| &intent.id), &mut retired)?;
            if let Some(intent) = found
                && let Some(begun) = self.go_on(tx, intent, Some(purchase), policy, &mut retired)?
            {
                return Ok(begun);
            }
            if let Some(intent) = tx.untold_rejection(purchase)? {
                return Ok(Begun::Rejected(intent));
            }
            self.start(tx, purchase, policy)
        })?;
        retired.into_iter().for_each(Lock::retire);
        Ok(begun)
    }

    /// Goes on with an intent by its id. [`Begun::New`] is never the answer.
    ///
    /// # Errors
    ///
    /// - [`LedgerError::NoSuchIntent`] if there is none.
    /// - [`LedgerError::IllegalStep`] if it is final and was never presented, or declared and not made yet.
    /// - Any of the errors of opening and writing the file.
    pub fn resume(&self, id: &IntentId, policy: Option<&Policy>) -> Result<Begun, LedgerError> {
        let mut retired = Vec::new();
        let begun = self.store.write(|tx| {
            policy.map_or(Ok(()), |policy| tx.adopt(policy))?;
            let intent = tx.load(id)?;
            let from = intent.state;
            if intent.is_recorded_outcome() {
                return Ok(Begun::Recorded(intent));
            }
            if from == State::Settled {
                return Ok(Begun::Replay(intent));
            }
            let refused = LedgerError::IllegalStep { id: id.clone(), from, step: Step::Presenting };
            // What a declared purchase costs is known, and can be reserved, only once it is made.
            if from.is_final() || intent.declaration.as_ref().is_some_and(|declaration| !declaration.used) {
                return Err(refused.into());
            }
            self.go_on(tx, intent, None, policy, &mut retired)?.ok_or_else(|| refused.into())
        })?;
        retired.into_iter().for_each(Lock::retire);
        Ok(begun)
    }

    /// What the policy would say about `purchase` now. Nothing is stored or reserved.
    ///
    /// # Errors
    ///
    /// - Any of the errors of opening and reading the file.
    pub fn simulate(&self, purchase: &Purchase, policy: &Policy) -> Result<Evaluation, LedgerError> {
        self.store.read(|tx| tx.evaluate(&tx.intent_of(purchase, Some(policy)), Some(policy)))
    }

    /// The intent `id`.
    ///
    /// # Errors
    ///
    /// - [`LedgerError::NoSuchIntent`] if there is none.
    /// - Any of the errors of opening and reading the file.
    pub fn intent(&self, id: &IntentId) -> Result<Intent, LedgerError> {
        self.store.read(|tx| tx.load(id))
    }

    /// The newest intent, open or presented, that holds a mandate of `issuer` for `merchant`.
    ///
    /// # Errors
    ///
    /// - Any of the errors of opening and reading the file.
    pub fn find_by_mandate(
        &self,
        issuer: &str,
        merchant: &str,
        mandate_id: &str,
    ) -> Result<Option<Intent>, LedgerError> {
        self.store.read(|tx| tx.held(issuer, merchant, mandate_id))
    }

    /// The intent that [`begin`](Self::begin) would go on with or answer again for `purchase`. For a caller that must know before
    /// it sends anything.
    ///
    /// # Errors
    ///
    /// - Any of the errors of opening and reading the file.
    pub fn find(&self, purchase: &Purchase, policy: Option<&Policy>) -> Result<Option<Intent>, LedgerError> {
        self.store.read(|tx| {
            let found = tx.repeated(purchase)?;
            Ok(found.filter(|intent| !intent.state.is_final() || tx.is_answered_again(intent, Some(purchase), policy)))
        })
    }

    /// The newest intent that was declared under `reference`.
    ///
    /// # Errors
    ///
    /// - Any of the errors of opening and reading the file.
    pub fn find_declared(&self, reference: &str) -> Result<Option<Intent>, LedgerError> {
        self.store.read(|tx| tx.newest_declared(reference))
    }

    /// Ends what has had its time, as every [`Ledger::begin`] does: for a list of what is open
    /// that shall be true now.
    ///
    /// # Errors
    ///
    /// - Any of the errors of opening and writing the file.
    pub fn expire(&self) -> Result<(), LedgerError> {
        let mut retired = Vec::new();
        self.store.write(|tx| tx.expire_others(None, &mut retired))?;
        retired.into_iter().for_each(Lock::retire);
        Ok(())
    }

    /// The newest artefact of that kind.
    ///
    /// # Errors
    ///
    /// - Any of the errors of opening and reading the file.
    pub fn artefact(&self, id: &IntentId, kind: Artefact) -> Result<Option<String>, LedgerError> {
        Ok(self.artefacts(id, kind)?.pop())
    }

    /// All artefacts of that kind, oldest first.
    ///
    /// # Errors
    ///
    /// - Any of the errors of opening and reading the file.
    pub fn artefacts(&self, id: &IntentId, kind: Artefact) -> Result<Vec<String>, LedgerError> {
        self.store.read(|tx| {
            let mut statement = tx
                .sql
                .prepare_cached("SELECT content FROM artefacts WHERE intent_id = ?1 AND name = ?2 ORDER BY seq")?;
            let rows = statement.query_map([id.as_str(), kind.as_str()], |row| row.get(0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Keeps `content` with the intent.
    ///
    /// # Errors
    ///
    /// - [`LedgerError::NoSuchIntent`] if there is none.
    /// - Any of the errors of opening and writing the file.
    pub fn attach(&self, id: &IntentId, kind: Artefact, content: &str) -> Result<(), LedgerError> {
        self.store.write(|tx| {
            tx.load(id)?;
            tx.attach(id, kind, content)
        })
    }

    /// Records that the human agrees to `terms`, the ones they were shown.
    ///
    /// # Errors
    ///
    /// - [`LedgerError::NoSuchIntent`] if there is none.
    /// - [`LedgerError::AlreadyApproved`] if they agreed before.
    /// - [`LedgerError::IllegalStep`] if nobody was asked, or the intent is past that.
    /// - [`LedgerError::ApprovalExpired`] if they were asked too long ago.
    /// - [`LedgerError::ApprovalMismatch`] if they were asked about something else.
    /// - Any of the errors of opening and writing the file.
    pub fn approve(&self, id: &IntentId, terms: &ApprovalTerms) -> Result<Intent, LedgerError> {
        self.store.write(|tx| {
            let mut intent = tx.load(id)?;
            let Approval::Requested { terms: asked } = &intent.approval else {
                return Err(match intent.approval {
                    Approval::Given { .. } => LedgerError::AlreadyApproved(id.clone()),
                    _ => LedgerError::IllegalStep { id: id.clone(), from: intent.state, step: Step::Approve },
                }
                .into());
            };
            if asked.expires_at <= tx.now {
                return Err(LedgerError::ApprovalExpired(id.clone()).into());
            }
            covers(id, asked, &terms.merchant, terms.currency, terms.amount_minor)?;
            covers(id, terms, &asked.merchant, asked.currency, asked.amount_minor)?;
            intent.approval = Approval::Given { terms: asked.clone(), at: tx.now, used: false };
            tx.step(&mut intent, Step::Approve, Value::Null)?;
            Ok(intent)
        })
    }

    /// Records that the human refuses: what waits for their answer, or anything else that was not presented yet and that
    /// nobody drives. A mandate it holds stays valid at the authorization server until the caller revokes it.
    ///
    /// # Errors
    ///
    /// - [`LedgerError::NoSuchIntent`] if there is none.
    /// - [`LedgerError::InProgress`] if it is being driven.
    /// - [`LedgerError::IllegalStep`] if a presentation was sent, or it is final.
    /// - Any of the errors of opening and writing the file.
    pub fn reject(&self, id: &IntentId) -> Result<Intent, LedgerError> {
        let (intent, lock) = self.store.write(|tx| {
            let mut intent = tx.load(id)?;
            let lock = Lock::take(tx.dir, id)?;
            if lock.is_none() && intent.state != State::AwaitingApproval {
                return Err(LedgerError::InProgress(id.clone()).into());
            }
            intent.approval = Approval::Refused { at: tx.now };
            tx.step(&mut intent, Step::Reject, Value::Null)?;
            Ok((intent, lock))
        })?;
        lock.into_iter().for_each(Lock::retire);
        Ok(intent)
    }

    /// Records that the caller was told of a rejection, where [`Ledger::begin`] has not told it: that one no longer does.
    /// For an intent that was not rejected it does nothing.
    ///
    /// # Errors
    ///
    /// - [`LedgerError::NoSuchIntent`] if there is none.
    /// - Any of the errors of opening and writing the file.
    pub fn rejection_told(&self, id: &IntentId) -> Result<(), LedgerError> {
        self.store.write(|tx| {
            let mut intent = tx.load(id)?;
            match intent.is_untold_rejection() {
                true => tx.tell_rejection(&mut intent),
                false => Ok(()),
            }
        })
    }

    /// Lets one answer about an open intent be taken, by whoever brings `ticket` back: at least 128 random bits that the
    /// caller drew. It replaces an earlier one. Only its hash is kept.
    ///
    /// # Errors
    ///
    /// - [`LedgerError::NoSuchIntent`] if there is none.
    /// - [`LedgerError::TicketSpent`] if nothing about it can be answered any more.
    /// - Any of the errors of opening and writing the file.
    pub fn issue_ticket(&self, id: &IntentId, ticket: &str) -> Result<(), LedgerError> {
        self.store.write(|tx| {
            let mut intent = tx.load(id)?;
            if intent.state.is_final() || intent.state.is_in_flight() {
                return Err(LedgerError::TicketSpent(id.clone()).into());
            }
            intent.ticket = Some(hash(ticket.as_bytes()));
            tx.write_row(&intent, "ticket_issued", json!({"state": intent.state}))
        })
    }

    /// Takes a ticket back. It works once, in whichever process comes first.
    ///
    /// # Errors
    ///
    /// - [`LedgerError::NoSuchIntent`] if there is none.
    /// - [`LedgerError::TicketSpent`] if it is not the newest of the intent, or was taken back before.
    /// - Any of the errors of opening and writing the file.
    pub fn redeem_ticket(&self, id: &IntentId, ticket: &str) -> Result<Intent, LedgerError> {
        self.store.write(|tx| {
            let mut intent = tx.load(id)?;
            // Hashes of random bits: how long comparing them takes tells nothing.
            if intent.ticket.as_ref() != Some(&hash(ticket.as_bytes())) {
                return Err(LedgerError::TicketSpent(id.clone()).into());
            }
            intent.ticket = None;
            tx.write_row(&intent, "ticket_redeemed", json!({"state": intent.state}))?;
            Ok(intent)
        })
    }

    /// Calls an intent off and gives its reservation back. A mandate it holds stays valid at the authorization server
    /// until the caller revokes it.
    ///
    /// # Errors
    ///
    /// - [`LedgerError::NoSuchIntent`] if there is none.
    /// - [`LedgerError::InProgress`] if it is being driven.
    /// - [`LedgerError::IllegalStep`] if a presentation was sent, or it is final.
    /// - Any of the errors of opening and writing the file.
    pub fn cancel(&self, id: &IntentId) -> Result<Intent, LedgerError> {
        let (intent, lock) = self.store.write(|tx| {
            let mut intent = tx.load(id)?;
            let lock = Lock::take(tx.dir, id)?.ok_or_else(|| LedgerError::InProgress(id.clone()))?;
            tx.step(&mut intent, Step::Cancel, Value::Null)?;
            Ok((intent, lock))
        })?;
        lock.retire();
        Ok(intent)
    }

    /// Records what came of revoking the grant behind the mandate of `id`. Once that is confirmed, what is left of the cap of
    /// a settled mandate no longer counts, nor one that was resolved as not paid; a refused one goes on counting, since only
    /// its merchant says that it was not
    /// charged.
    ///
    /// # Errors
    ///
    /// - [`LedgerError::NoSuchIntent`] if there is none.
    /// - Any of the errors of opening and writing the file.
    pub fn grant_revoked(&self, id: &IntentId, confirmed: bool) -> Result<Intent, LedgerError> {
        self.store.write(|tx| tx.grant_revoked(id, confirmed))
    }

    /// Records what became of a purchase whose merchant did not tell it credibly: one in flight, one whose mandate ended
    /// without a verdict, or one that was refused after its mandate had been presented. `amount_minor` is what was paid,
    /// where that is known; else the amount of the purchase counts. While the mandate lives, what can still be charged stays
    /// held back, until the mandate expires or [`Ledger::grant_revoked`].
    ///
    /// The caller has verified who says so.
    ///
    /// # Errors
    ///
    /// - [`LedgerError::NoSuchIntent`] if there is none.
    /// - [`LedgerError::InProgress`] if it is being driven.
    /// - [`LedgerError::NothingToResolve`] if it was never presented, or its outcome is known.
    /// - [`LedgerError::Invalid`] for an amount of 0, or one beyond what the ledger takes.
    /// - Any of the errors of opening and writing the file.
    pub fn resolve(&self, id: &IntentId, verdict: &ResolutionVerdict, by: ResolvedBy) -> Result<Intent, LedgerError> {
        let (intent, lock) = self.store.write(|tx| {
            let mut intent = tx.load(id)?;
            let lock = Lock::take(tx.dir, id)?.ok_or_else(|| LedgerError::InProgress(id.clone()))?;
            if !intent.was_presented() || !intent.may_have_been_paid() {
                return Err(LedgerError::NothingToResolve { id: id.clone(), state: intent.state }.into());
            }
            tx.release(&mut intent)?;
            tx.count_unresolved(&mut intent, 0)?;
            let presented_at = intent.presented_at.unwrap_or(intent.updated_at);
            let (step, payment_intent_id) = match verdict {
                ResolutionVerdict::Paid { amount_minor, payment_intent_id } => {
                    if let Some(amount_minor) = *amount_minor {
                        check_amount(amount_minor).map_err(LedgerError::from)?;
                        intent.amount_minor = amount_minor;
                    }
                    let rest = intent.still_chargeable_minor(tx.now, intent.amount_minor);
                    tx.hold(&mut intent, rest)?;
                    tx.settle_at(&mut intent, presented_at)?;
                    intent.failure = None;
                    (Step::ResolvePaid, payment_intent_id.clone())
                }
                ResolutionVerdict::NotPaid => {
                    let all = intent.still_chargeable_minor(tx.now, 0);
                    tx.hold(&mut intent, all)?;
                    intent.failure.get_or_insert_with(|| Failure {
                        code: "not_paid".to_owned(),
                        message: "it was found not to have been paid".to_owned(),
                        status: None,
                    });
                    (Step::ResolveNotPaid, None)
                }
            };
            let paid = step == Step::ResolvePaid;
            let detail = json!({"paid": paid, "by": by, "payment_intent_id": payment_intent_id});
            intent.resolution = Some(Resolution { paid, by, at: tx.now, payment_intent_id });
            tx.step(&mut intent, step, detail)?;
            Ok((intent, lock))
        })?;
        lock.retire();
        Ok(intent)
    }

    /// A new intent for `purchase`.
    fn start(&self, tx: &Tx<'_>, purchase: &Purchase, policy: Option<&Policy>) -> Result<Begun, Failed> {
        let mut intent = tx.intent_of(purchase, policy);
        let evaluation = tx.evaluate(&intent, policy)?;
        if evaluation.verdict == Verdict::Deny {
            intent.state = State::Failed;
            intent.failure = evaluation.failure();
            tx.insert(&intent, chain::DENIED, &evaluation)?;
            return Ok(Begun::Denied(Denial { intent, evaluation }));
        }
        intent.approval = evaluation.approval();
        if purchase.kind != PurchaseKind::Cheapest {
            tx.reserve(&mut intent)?;
        }
        tx.insert(&intent, chain::BEGIN, &evaluation)?;
        let Some(lock) = Lock::take(tx.dir, &intent.id)? else {
            return Ok(Begun::InProgress(intent));
        };
        Ok(Begun::New(self.claim(lock, intent, evaluation, policy)))
    }

    /// Goes on with an open or settled intent; `None` if it has just expired.
    fn go_on(
        &self,
        tx: &Tx<'_>,
        mut intent: Intent,
        purchase: Option<&Purchase>,
        policy: Option<&Policy>,
        retired: &mut Vec<Lock>,
    ) -> Result<Option<Begun>, Failed> {
        if intent.state.is_final() {
            let repeats = tx.is_answered_again(&intent, purchase, policy);
            let recorded = intent.is_recorded_outcome();
            return Ok(repeats.then(|| if recorded { Begun::Recorded(intent) } else { Begun::Replay(intent) }));
        }
        let Some(lock) = Lock::take(tx.dir, &intent.id)? else {
            return Ok(Some(Begun::InProgress(intent)));
        };
        if intent.answer_is_late(tx.now) {
            tx.step(&mut intent, Step::Expire, Value::Null)?;
            retired.push(lock);
            return Ok(None);
        }
        if intent.state == State::AwaitingApproval {
            return Ok(Some(Begun::AwaitingApproval(intent)));
        }
        let before = intent.clone();
        if let (Some(purchase), Some(Declaration { used: false, .. })) = (purchase, &intent.declaration) {
            intent.adopt(purchase)?;
        }
        let evaluation = tx.evaluate(&intent, policy)?;
        if evaluation.verdict == Verdict::Deny {
            // A freeze ends, and an unconfirmed policy is confirmed; any other no is final for what was not sent.
            if !evaluation.is_stopped() {
                intent.failure = evaluation.failure();
                tx.step(&mut intent, Step::Refuse, json!({"findings": evaluation.findings}))?;
                retired.push(lock);
            }
            return Ok(Some(Begun::Denied(Denial { intent, evaluation })));
        }
        tx.refresh(&before, &mut intent, &evaluation, policy)?;
        Ok(Some(Begun::Resume(self.claim(lock, intent, evaluation, policy))))
    }

    fn claim(&self, lock: Lock, intent: Intent, evaluation: Evaluation, policy: Option<&Policy>) -> Claim {
        let approval_seconds = policy.map_or(DEFAULT_APPROVAL_SECONDS, |policy| policy.rules().approval_seconds);
        Claim::new(Arc::clone(&self.store), lock, intent, evaluation, approval_seconds)
    }
}

const DEFAULT_APPROVAL_SECONDS: u32 = 3600;
