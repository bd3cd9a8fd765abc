//! What beginning a purchase gives, and driving an intent step by step.

use std::fmt;
use std::sync::Arc;

use jose::UnixSeconds;
use serde_json::{Value, json};

use super::artefact::Artefact;
use super::lock::Lock;
use super::store::Store;
use super::transaction::{Failed, Tx};
use crate::error::LedgerError;
use crate::intent::{Approval, Consent, Failure, Intent, Settlement, State, Step};
use crate::mandate::Mandate;
use crate::policy::{Evaluation, Policy, Verdict};
use crate::purchase::{LineItem, PurchaseKind, check_amount, merge};

/// The exclusive right to drive one intent, and the journal of its steps.
///
/// Each method is durable when it returns: call it before sending what it announces. Dropping the claim, or dying with it,
/// lets the next caller go on from the last step.
pub struct Claim {
    store: Arc<Store>,
    lock: Option<Lock>,
    intent: Intent,
    evaluation: Evaluation,
    approval_seconds: u32,
    with_next_step: Vec<(Artefact, String)>,
}

/// What [`Ledger::begin`](crate::Ledger::begin) found.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "a caller that forgets one of them pays twice or not at all")]
pub enum Begun {
    /// A new intent, its money held back.
    New(Claim),
    /// One that is not final: go on from its state. `charging` and `unknown` are reconciled by presenting again under
    /// the same key.
    Resume(Claim),
    /// It was paid within the replay window: answer that again.
    Replay(Intent),
    /// A mandate was presented for it, and it is over without a settlement that the merchant told: refused, never answered,
    /// or resolved by a person or the audit chain. Answer what is recorded; a second mandate could pay for it twice.
    Recorded(Intent),
    /// Another process or task is at it.
    InProgress(Intent),
    /// A human was asked and has not answered.
    AwaitingApproval(Intent),
    /// The human refused it since the last call for it. This is answered once: the next call for it is a new purchase.
    Rejected(Intent),
    /// The policy, or a freeze, says no.
    Denied(Denial),
}

/// A purchase that may not be made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Denial {
    /// The intent: failed, or, where the purchase only has to wait for a freeze to end, as it was.
    pub intent: Intent,
    /// Every rule that spoke.
    pub evaluation: Evaluation,
}

/// What the offers of a purchase gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "verified or absent; any other outcome is a refusal")]
pub enum Offers<'a> {
    /// All were verified.
    Verified {
        /// The digest over them.
        digest: &'a str,
    },
    /// A line has none: a human must agree, whatever the sum.
    Missing {
        /// The digest over those there are.
        digest: Option<&'a str>,
    },
}

/// What comes next for an intent whose offers, or whose mandate's cap, are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a caller must handle each")]
pub enum Next {
    /// Go on: ask the authorization server, or present the mandate.
    Go,
    /// Ask the human first: [`Claim::await_approval`].
    AskHuman,
    /// The policy does not allow what the mandate's cap would let the merchant take: the intent has failed. Revoke the
    /// grant, and present nothing.
    Refused,
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("intent", &self.intent).finish_non_exhaustive()
    }
}

impl Claim {
    pub(super) fn new(
        store: Arc<Store>,
        lock: Lock,
        intent: Intent,
        evaluation: Evaluation,
        approval_seconds: u32,
    ) -> Self {
        Self { store, lock: Some(lock), intent, evaluation, approval_seconds, with_next_step: Vec::new() }
    }

    /// The item of a "cheapest" purchase: it takes the place of the cap, is asked of the policy, and reserved. `category`
    /// is the one that the merchant's signed catalog has; it takes the place of the one asked for, which may have been none,
    /// so that leaving it out evades no rule.
    ///
    /// # Errors
    ///
    /// - [`LedgerError::AmountAboveReserved`] if it costs more than the cap.
    /// - [`LedgerError::IllegalStep`] if the purchase is none of these, or has its item already.
    /// - [`LedgerError::Invalid`] for an amount of 0 or a line without SKU or quantity.
    /// - Any of the errors of writing the file.
    pub fn item_picked(
        mut self,
        line_items: Vec<LineItem>,
        amount_minor: u64,
        category: Option<String>,
        policy: Option<&Policy>,
    ) -> Result<Begun, LedgerError> {
        check_amount(amount_minor)?;
        merge(&line_items)?;
        let kept = std::mem::take(&mut self.with_next_step);
        let (intent, evaluation) = self.store.write(|tx| {
            let mut intent = tx.load(&self.intent.id)?;
            if intent.kind != PurchaseKind::Cheapest || !intent.line_items.is_empty() {
                return Err(illegal(&intent, Step::ItemPicked).into());
            }
            if amount_minor > intent.amount_minor {
                let limit_minor = intent.amount_minor;
                return Err(LedgerError::AmountAboveReserved { id: intent.id, limit_minor }.into());
            }
            intent.line_items = line_items;
            intent.amount_minor = amount_minor;
            if category.is_some() {
                intent.category = category;
            }
            for (kind, content) in &kept {
                tx.attach(&intent.id, *kind, content)?;
            }
            let evaluation = tx.evaluate(&intent, policy)?;
            let findings = json!({"findings": evaluation.findings});
            if evaluation.verdict == Verdict::Deny {
                intent.failure = evaluation.failure();
                tx.step(&mut intent, Step::Refuse, findings)?;
                return Ok((intent, evaluation));
            }
            intent.approval = evaluation.approval();
            tx.reserve(&mut intent)?;
            tx.step(&mut intent, Step::ItemPicked, findings)?;
            tx.alert(&intent.id, &evaluation)?;
            Ok((intent, evaluation))
        })?;
        self.intent = intent;
        self.evaluation = evaluation;
        if self.intent.state.is_final() {
            self.retire();
            return Ok(Begun::Denied(Denial { intent: self.intent, evaluation: self.evaluation }));
        }
        Ok(Begun::New(self))
    }

    /// The offers of all line items were fetched and verified, or do not exist.
    ///
    /// # Errors
    ///
    /// - [`LedgerError::ApprovalMismatch`] if one is missing and the human who approved was not told so.
    /// - [`LedgerError::IllegalStep`] once a presentation was sent.
    /// - Any of the errors of writing the file.
    pub fn offers_verified(&mut self, offers: Offers<'_>) -> Result<Next, LedgerError> {
        self.record(Step::OffersVerified, |_, intent| {
            let (verified, digest) = match offers {
                Offers::Verified { digest } => (true, Some(digest)),
                Offers::Missing { digest } => (false, digest),
            };
            if !verified {
                match &mut intent.approval {
                    // Only who was told that no offer is signed has agreed to that.
                    Approval::Given { .. } if intent.offer_verified != Some(false) => {
                        return Err(LedgerError::ApprovalMismatch { id: intent.id.clone(), what: "offers" }.into());
                    }
                    Approval::NotNeeded => {
                        intent.approval = Approval::Needed { reasons: vec![OFFER_MISSING.to_owned()] }
                    }
                    Approval::Needed { reasons } if !reasons.iter().any(|reason| reason == OFFER_MISSING) => {
                        reasons.push(OFFER_MISSING.to_owned());
                    }
                    _ => {}
                }
            }
            intent.offer_verified = Some(verified);
            intent.offer_digest = digest.map(str::to_owned);
            Ok(json!({"offer_verified": verified, "offer_digest": digest}))
        })?;
        Ok(match self.intent.approval {
            Approval::NotNeeded | Approval::Given { .. } => Next::Go,
            Approval::Needed { .. } | Approval::Requested { .. } | Approval::Refused { .. } => Next::AskHuman,
        })
    }

    /// Asks the human: the intent waits, and `begin` goes on with it once they agreed. `shown` are the lines, label and
    /// value, that they see beside merchant and amount; give them from verified data only.
    ///
    /// # Errors
    ///
    /// - [`LedgerError::IllegalStep`] if the intent is neither `created` nor `authorized`.
    /// - Any of the errors of writing the file.
    pub fn await_approval(mut self, shown: Vec<(String, String)>) -> Result<Intent, LedgerError> {
        let seconds = i64::from(self.approval_seconds);
        self.record(Step::ApprovalRequested, |tx, intent| {
            intent.ask(shown, tx.now + seconds);
            Ok(Value::Null)
        })?;
        Ok(self.intent)
    }

    /// The authorization server wants the human at `url`, until `expires_at`.
    ///
    /// # Errors
    ///
    /// - [`LedgerError::ApprovalMissing`] if a human had to agree before the server was asked.
    /// - [`LedgerError::IllegalStep`] once a presentation was sent.
    /// - Any of the errors of writing the file.
    pub fn consent_pending(&mut self, url: &str, expires_at: UnixSeconds) -> Result<(), LedgerError> {
        self.record(Step::ConsentPending, |tx, intent| {
            intent.clone().use_approval_for(tx.now, intent.amount_minor)?;
            intent.consent = Some(Consent { url: url.to_owned(), expires_at });
            intent.expires_at = intent.expires_at.max(expires_at);
            Ok(json!({"expires_at": expires_at}))
        })
    }

    /// A verified mandate is held. `sd_jwt` is kept with its disclosures.
    ///
    /// A merchant can charge up to the cap, so the cap takes the place of the amount: it is held back, and where it is more
    /// than the amount, the policy is asked about it. This uses up the human's approval, where one was needed and the cap is
    /// not above what they agreed to.
    ///
    /// # Errors
    ///
    /// - [`LedgerError::ApprovalMissing`], [`LedgerError::ApprovalExpired`], [`LedgerError::ApprovalMismatch`] if the
    ///   approval is missing, too old, or for something else.
    /// - [`LedgerError::Frozen`] if the cap is more than the amount and payments are frozen. Revoke the grant.
    /// - [`LedgerError::IllegalStep`] if nothing is reserved, or a presentation was sent.
    /// - Any of the errors of writing the file.
    pub fn mandate_held(
        &mut self,
        mandate: Mandate,
        sd_jwt: &str,
        policy: Option<&Policy>,
    ) -> Result<Next, LedgerError> {
        let mut next = Next::Go;
        self.record_as(|tx, intent| {
            if !intent.reserved || intent.state.after(Step::MandateHeld).is_none() {
                return Err(illegal(intent, Step::MandateHeld).into());
            }
            // What was agreed to is the purchase; whether that covers the cap too is the policy's question below.
            if intent.mandate.is_none() || mandate.cap_minor <= intent.amount_minor {
                intent.use_approval_for(tx.now, intent.amount_minor)?;
            }
            intent.consent = None;
            tx.attach(&intent.id, Artefact::Mandate, sd_jwt)?;
            let (cap_minor, above) = (mandate.cap_minor, mandate.cap_minor > intent.amount_minor);
            let detail = json!({"mandate_id": mandate.mandate_id, "cap_minor": cap_minor});
            intent.mandate = Some(mandate);
            if above {
                // A freeze ends; the policy's no to a cap would not.
                if tx.is_frozen()? {
                    return Err(LedgerError::Frozen { id: intent.id.clone(), presented: false }.into());
                }
                // Asked as before a mandate is held: the human can still be asked about this one.
                let asked = Intent { state: State::Created, ..intent.clone() };
                let evaluation = tx.evaluate(&asked, policy)?;
                let (asked, covered) = match &intent.approval {
                    Approval::Given { terms, .. } => (true, terms.amount_minor >= cap_minor),
                    _ => (false, false),
                };
                match evaluation.verdict {
                    Verdict::Deny => {
                        let finding = evaluation.failure().map(|failure| failure.message).unwrap_or_default();
                        intent.failure = Some(Failure {
                            code: CAP_NOT_ALLOWED.to_owned(),
                            message: format!(
                                "the mandate allows up to {}, and the policy does not: {finding}",
                                intent.currency.format(cap_minor)
                            ),
                            status: None,
                        });
                        next = Next::Refused;
                        return Ok((Step::Refuse, json!({"cap_minor": cap_minor, "findings": evaluation.findings})));
                    }
                    // They agreed to the amount, and were not shown a cap above it.
                    verdict if !covered && (asked || verdict == Verdict::Approve) => {
                        let mut reasons = vec![CAP_ABOVE_AMOUNT.to_owned()];
                        if let Approval::Needed { reasons: rules } = evaluation.approval() {
                            reasons.extend(rules);
                        }
                        intent.approval = Approval::Needed { reasons };
                        next = Next::AskHuman;
                    }
                    Verdict::Allow | Verdict::Approve => {}
                }
            }
            let at_stake = intent.at_stake_minor();
            tx.hold(intent, at_stake)?;
            Ok((Step::MandateHeld, detail))
        })?;
        Ok(next)
    }

    /// The next octets sent are this presentation: from here on money may move.
    ///
    /// # Errors
    ///
    /// - [`LedgerError::Frozen`] if payments were frozen since the intent was claimed.
    /// - [`LedgerError::ApprovalMissing`], [`LedgerError::ApprovalExpired`], [`LedgerError::ApprovalMismatch`] if a human had
    ///   to agree to the mandate's cap first.
    /// - [`LedgerError::IllegalStep`] if no mandate is held, or the intent is final.
    /// - Any of the errors of writing the file.
    pub fn presenting(&mut self, presentation: &str) -> Result<(), LedgerError> {
        self.record(Step::Presenting, |tx, intent| {
            if intent.mandate.is_none() || !intent.reserved {
                return Err(illegal(intent, Step::Presenting).into());
            }
            if tx.is_frozen()? {
                return Err(LedgerError::Frozen { id: intent.id.clone(), presented: intent.was_presented() }.into());
            }
            if !intent.was_presented() {
                intent.use_approval_for(tx.now, intent.at_stake_minor())?;
            }
            // A ledger of an older version may hold back the amount alone.
            tx.hold(intent, intent.at_stake_minor())?;
            intent.presented_at = Some(tx.now);
            intent.attempts = intent.attempts.saturating_add(1);
            tx.attach(&intent.id, Artefact::Presentation, presentation)?;
            Ok(json!({"attempt": intent.attempts}))
        })
    }

    /// The merchant answered that it is paid. Final. Where it says that less of the cap is left than the amount leaves, what it
    /// took counts as paid in place of the amount.
    ///
    /// # Errors
    ///
    /// - [`LedgerError::IllegalStep`] if nothing was presented.
    /// - Any of the errors of writing the file: the intent is then still in flight, and the next call reconciles it.
    pub fn settled(&mut self, settlement: &Settlement) -> Result<(), LedgerError> {
        self.record(Step::Settle, |tx, intent| {
            if let Some(receipt) = &settlement.receipt_jws {
                tx.attach(&intent.id, Artefact::Receipt, receipt)?;
            }
            if let (Some(mandate), Some(left_minor)) = (&intent.mandate, settlement.spend_cap_remaining_minor) {
                intent.amount_minor = intent.amount_minor.max(mandate.cap_minor.saturating_sub(left_minor));
            }
            intent.failure = None;
            intent.settlement = Some(settlement.clone());
            Ok(json!({"payment_intent_id": settlement.payment_intent_id, "receipt": settlement.receipt}))
        })
    }

    /// A definite no, by us, the authorization server or the merchant. Final. If a mandate was presented before, what it
    /// could have paid goes on counting: the refusal is the merchant's word alone.
    ///
    /// # Errors
    ///
    /// - [`LedgerError::IllegalStep`] if the intent is final.
    /// - Any of the errors of writing the file.
    pub fn refused(&mut self, code: &str, message: &str) -> Result<(), LedgerError> {
        self.fail(Step::Refuse, code, message, None)
    }

    /// A merchant's refusal, with the HTTP status it came with. As [`Claim::refused`].
    ///
    /// # Errors
    ///
    /// As [`Claim::refused`].
    pub fn refused_by_merchant(&mut self, status: u16, code: &str, message: &str) -> Result<(), LedgerError> {
        self.fail(Step::Refuse, code, message, Some(status))
    }

    /// A presentation was sent and no verdict came: the money stays reserved while the mandate lives. If it has ended, the
    /// intent is [`Unresolved`](crate::State::Unresolved).
    ///
    /// # Errors
    ///
    /// - [`LedgerError::IllegalStep`] if nothing was presented, or the intent is final.
    /// - Any of the errors of writing the file: the intent is then still `charging`, which is reconciled the same way.
    pub fn unknown(&mut self, code: &str, message: &str) -> Result<(), LedgerError> {
        self.record_as(|tx, intent| {
            let has_ended = intent.mandate.is_some() && !intent.mandate_lives(tx.now);
            let step = if has_ended { Step::GiveUp } else { Step::LoseAnswer };
            intent.failure = Some(Failure { code: code.to_owned(), message: message.to_owned(), status: None });
            Ok((step, json!({"code": code})))
        })
    }

    /// The grant behind the mandate was revoked, or it was tried. As [`Ledger::grant_revoked`](crate::Ledger::grant_revoked).
    ///
    /// # Errors
    ///
    /// - Any of the errors of writing the file.
    pub fn grant_revoked(&mut self, confirmed: bool) -> Result<(), LedgerError> {
        self.intent = self.store.write(|tx| tx.grant_revoked(&self.intent.id, confirmed))?;
        Ok(())
    }

    /// Keeps `content` with the intent in the transaction of the next step: a crash leaves both or neither. If the step
    /// fails, the content is forgotten with it.
    pub fn keep_with_next_step(&mut self, kind: Artefact, content: impl Into<String>) {
        self.with_next_step.push((kind, content.into()));
    }

    /// Keeps `content` with the intent, now.
    ///
    /// # Errors
    ///
    /// - Any of the errors of writing the file.
    pub fn attach(&self, kind: Artefact, content: &str) -> Result<(), LedgerError> {
        self.store.write(|tx| tx.attach(&self.intent.id, kind, content))
    }

    /// The intent as of the last step.
    #[must_use]
    pub const fn intent(&self) -> &Intent {
        &self.intent
    }

    /// What the policy said when it was claimed.
    #[must_use]
    pub const fn evaluation(&self) -> &Evaluation {
        &self.evaluation
    }

    fn fail(&mut self, step: Step, code: &str, message: &str, status: Option<u16>) -> Result<(), LedgerError> {
        self.record(step, |_, intent| {
            intent.failure = Some(Failure { code: code.to_owned(), message: message.to_owned(), status });
            Ok(json!({"code": code, "status": status}))
        })
    }

    /// Takes `step`, with what `change` makes of the intent.
    fn record(
        &mut self,
        step: Step,
        change: impl FnOnce(&Tx<'_>, &mut Intent) -> Result<Value, Failed>,
    ) -> Result<(), LedgerError> {
        self.record_as(|tx, intent| {
            if intent.state.after(step).is_none() {
                return Err(illegal(intent, step).into());
            }
            Ok((step, change(tx, intent)?))
        })
    }

    /// Takes the step that `change` decides on, with what it makes of the intent.
    fn record_as(
        &mut self,
        change: impl FnOnce(&Tx<'_>, &mut Intent) -> Result<(Step, Value), Failed>,
    ) -> Result<(), LedgerError> {
        let kept = std::mem::take(&mut self.with_next_step);
        self.intent = self.store.write(|tx| {
            let mut intent = tx.load(&self.intent.id)?;
            let (step, detail) = change(tx, &mut intent)?;
            for (kind, content) in &kept {
                tx.attach(&intent.id, *kind, content)?;
            }
            tx.step(&mut intent, step, detail)?;
            Ok(intent)
        })?;
        if self.intent.state.is_final() {
            self.retire();
        }
        Ok(())
    }

    fn retire(&mut self) {
        if let Some(lock) = self.lock.take() {
            lock.retire();
        }
    }
}

fn illegal(intent: &Intent, step: Step) -> LedgerError {
    LedgerError::IllegalStep { id: intent.id.clone(), from: intent.state, step }
}

const OFFER_MISSING: &str = "offer_missing";
const CAP_NOT_ALLOWED: &str = "cap_not_allowed";
const CAP_ABOVE_AMOUNT: &str = "cap_above_amount";
