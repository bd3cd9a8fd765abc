//! Declared intents: a purchase told in advance, so that a human can agree before the agent goes shopping.

use serde_json::Value;

use super::lock::Lock;
use super::row::repeatable;
use super::transaction::{Failed, Tx};
use super::{DEFAULT_APPROVAL_SECONDS, Ledger, chain};
use crate::error::LedgerError;
use crate::intent::{Approval, Declaration, Intent, IntentId, State, Step};
use crate::money::MAX_AMOUNT_MINOR;
use crate::policy::{Evaluation, Policy, Verdict};
use crate::purchase::{Purchase, PurchaseKind};

/// What is said about a purchase before it is made.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "filled by the caller")]
pub struct DeclarationTerms {
    /// The purchase as it is expected. Its `purchase_ref` is the name under which it is declared; the paying call gives
    /// the same.
    pub purchase: Purchase,
    /// What it is for, in the agent's words: data from a stranger.
    pub summary: String,
    /// By how many minor units the real amount may differ.
    pub tolerance_minor: Option<u64>,
    /// By how many hundredths it may differ. Where both are given, the smaller difference counts; without either, none.
    pub tolerance_percent: Option<u8>,
    /// For how long the declaration stands.
    pub ttl_seconds: u32,
}

/// What came of declaring.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "new, known, refused, or denied")]
pub enum Declared {
    /// A new intent. Nothing is reserved before the purchase is made.
    New(Intent, Evaluation),
    /// It was declared before, in the same terms.
    Known(Intent),
    /// The human refused it since it was last declared. This is answered once: declaring it again makes a new intent.
    Rejected(Intent),
    /// The policy would deny it; nothing was stored.
    Denied(Evaluation),
}

impl Ledger {
    /// Declares a purchase. Saying the same again answers the same intent.
    ///
    /// # Errors
    ///
    /// - [`LedgerError::DeclarationMismatch`] if the name is in use for something else, or there is no name.
    /// - [`LedgerError::Invalid`] if the amount and its tolerance are beyond what the ledger takes.
    /// - Any of the errors of opening and writing the file.
    pub fn declare(&self, terms: &DeclarationTerms, policy: Option<&Policy>) -> Result<Declared, LedgerError> {
        self.store.write(|tx| {
            policy.map_or(Ok(()), |policy| tx.adopt(policy))?;
            let purchase = &terms.purchase;
            let mut intent = tx.intent_of(purchase, policy);
            let id = intent.id.clone();
            let mismatch = |id, what| LedgerError::DeclarationMismatch { id, what };
            let (PurchaseKind::Payment, Some(reference)) = (purchase.kind, &purchase.purchase_ref) else {
                return Err(mismatch(id, "terms").into());
            };
            let tolerance_minor = terms.tolerance();
            if purchase.amount_minor.saturating_add(tolerance_minor) > MAX_AMOUNT_MINOR {
                return Err(LedgerError::from(crate::purchase::InvalidPurchase::Amount).into());
            }
            if let Some(known) = tx.one(&repeatable("declared = ?1"), [reference])? {
                let declaration = known.declaration.as_ref();
                let differs = match declaration {
                    Some(known) if known.amount_minor != purchase.amount_minor => Some("amount"),
                    Some(known) if known.tolerance_minor == tolerance_minor => None,
                    _ => Some("terms"),
                };
                return match known.differs_from(purchase).or(differs) {
                    Some(what) => Err(mismatch(known.id, what).into()),
                    None => Ok(Declared::Known(known)),
                };
            }
            // What was paid a moment ago, or is being paid, cannot be declared to be paid again.
            if let Some(known) = tx.repeated(purchase)?
                && (!known.state.is_final() || tx.is_answered_again(&known, None, policy))
            {
                return Ok(Declared::Known(known));
            }
            if let Some(refused) = tx.untold_rejection(purchase)? {
                return Ok(Declared::Rejected(refused));
            }
            intent.declaration = Some(Declaration {
                reference: reference.clone(),
                summary: terms.summary.clone(),
                amount_minor: purchase.amount_minor,
                tolerance_minor,
                used: false,
            });
            intent.expires_at = tx.now + i64::from(terms.ttl_seconds);
            let evaluation = tx.evaluate(&intent, policy)?;
            if evaluation.verdict == Verdict::Deny {
                return Ok(Declared::Denied(evaluation));
            }
            intent.approval = evaluation.approval();
            tx.insert(&intent, chain::DECLARE, &Evaluation { alerts: Vec::new(), ..evaluation.clone() })?;
            Ok(Declared::New(intent, evaluation))
        })
    }

    /// Asks the human about a declared intent, or one that was begun and is not being driven.
    ///
    /// The question and its answer stand for the policy's approval time. `shown` is as in
    /// [`Claim::await_approval`](crate::Claim::await_approval). Asking again while the question stands changes nothing.
    ///
    /// # Errors
    ///
    /// - [`LedgerError::NoSuchIntent`] if there is none.
    /// - [`LedgerError::InProgress`] if it is being driven.
    /// - [`LedgerError::ApprovalExpired`] if the human was asked before and did not answer in time.
    /// - [`LedgerError::IllegalStep`] if it is past the question.
    /// - Any of the errors of opening and writing the file.
    pub fn request_approval(
        &self,
        id: &IntentId,
        shown: Vec<(String, String)>,
        policy: Option<&Policy>,
    ) -> Result<Intent, LedgerError> {
        let seconds = policy.map_or(DEFAULT_APPROVAL_SECONDS, |policy| policy.rules().approval_seconds);
        self.store.write(|tx| {
            let mut intent = tx.load(id)?;
            if intent.state == State::AwaitingApproval && matches!(intent.approval, Approval::Requested { .. }) {
                if intent.answer_is_late(tx.now) {
                    return Err(LedgerError::ApprovalExpired(id.clone()).into());
                }
                return Ok(intent);
            }
            let _lock = Lock::take(tx.dir, id)?.ok_or_else(|| LedgerError::InProgress(id.clone()))?;
            intent.ask(shown, tx.now + i64::from(seconds));
            tx.step(&mut intent, Step::ApprovalRequested, Value::Null)?;
            Ok(intent)
        })
    }
}

impl DeclarationTerms {
    fn tolerance(&self) -> u64 {
        let percent = self.tolerance_percent.map(|percent| {
            let part = u128::from(self.purchase.amount_minor) * u128::from(percent) / 100;
            u64::try_from(part).unwrap_or(u64::MAX)
        });
        match (self.tolerance_minor, percent) {
            (Some(minor), Some(percent)) => minor.min(percent),
            (tolerance, None) | (None, tolerance) => tolerance.unwrap_or(0),
        }
    }
}

impl Tx<'_> {
    /// The open declared intent that `purchase` names by its reference, unless it was used.
    ///
    /// One that was used for the same goods at another amount is still this purchase, and gets no second mandate.
    pub(crate) fn declared(&self, purchase: &Purchase, policy: Option<&Policy>) -> Result<Option<Intent>, Failed> {
        let (PurchaseKind::Payment, Some(reference)) = (purchase.kind, &purchase.purchase_ref) else { return Ok(None) };
        let Some(intent) = self.one(&repeatable("declared = ?1"), [reference])? else { return Ok(None) };
        let is_used = intent.declaration.as_ref().is_some_and(|declaration| declaration.used);
        match (is_used, intent.state.is_final()) {
            (false, is_final) => Ok((!is_final).then_some(intent)),
            (true, true) if !self.is_answered_again(&intent, None, policy) => Ok(None),
            (true, _) if intent.differs_from(purchase).is_some() => Ok(None),
            (true, _) => Err(LedgerError::DeclarationMismatch { id: intent.id, what: "amount" }.into()),
        }
    }
}
