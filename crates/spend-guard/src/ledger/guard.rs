//! Where ledger and policy meet: freeze, the policy in force, and its word on an intent.

use serde_json::{Value, json};

use super::Ledger;
use super::store::{Failed, Tx};
use crate::error::LedgerError;
use crate::intent::{Approval, Intent, IntentId, State};
use crate::policy::{Evaluation, Finding, Policy, Request, Verdict};

impl Ledger {
    /// Stops every payment, those under way included, until [`Ledger::unfreeze`]. What was presented already stays as it
    /// is. Freezing twice is the same as once.
    ///
    /// # Errors
    ///
    /// - Any of the errors of opening and writing the file.
    pub fn freeze(&self) -> Result<(), LedgerError> {
        self.set_frozen(true)
    }

    /// Ends a freeze.
    ///
    /// # Errors
    ///
    /// - Any of the errors of opening and writing the file.
    pub fn unfreeze(&self) -> Result<(), LedgerError> {
        self.set_frozen(false)
    }

    /// Whether payments are stopped.
    ///
    /// # Errors
    ///
    /// - Any of the errors of opening and reading the file.
    pub fn is_frozen(&self) -> Result<bool, LedgerError> {
        self.store.read(|tx| tx.is_frozen())
    }

    fn set_frozen(&self, frozen: bool) -> Result<(), LedgerError> {
        self.store.write(|tx| {
            if tx.is_frozen()? == frozen {
                return Ok(());
            }
            tx.append(if frozen { FREEZE } else { UNFREEZE }, None, Value::Null)
        })
    }
}

impl Tx<'_> {
    /// What freeze and policy say about `intent` as it is now. What is in flight is only stopped by a freeze: its money is
    /// counted, and leaving it alone would not bring it back.
    pub(crate) fn evaluate(&self, intent: &Intent, policy: Option<&Policy>) -> Result<Evaluation, Failed> {
        if self.is_frozen()? {
            return Ok(Evaluation::stopped(FROZEN, "freeze", "all payments are frozen until the operator ends it"));
        }
        let policy = match policy {
            Some(policy) if !intent.state.is_in_flight() => policy,
            _ => return Ok(Evaluation::allowed()),
        };
        let is_open_ended = intent.line_items.is_empty() && intent.declaration.is_none();
        let request = Request {
            merchant: &intent.merchant,
            category: intent.category.as_deref().unwrap_or_default(),
            mcc: intent.mcc.as_deref().unwrap_or_default(),
            agent: intent.agent.as_deref().unwrap_or_default(),
            currency: intent.currency,
            amount_minor: (!is_open_ended).then_some(intent.amount_minor),
            own_minor: if intent.reserved { intent.amount_minor } else { 0 },
        };
        let mut evaluation = policy.evaluate(&request, self)?;
        if intent.state == State::Authorized
            && intent.approval == Approval::NotNeeded
            && evaluation.verdict == Verdict::Approve
        {
            evaluation.deny(
                "policy_changed",
                "approval",
                "the policy changed after the mandate was given: a human must agree now",
            );
        }
        Ok(evaluation)
    }

    /// Keeps the alerts of an evaluation.
    pub(crate) fn alert(&self, id: &IntentId, evaluation: &Evaluation) -> Result<(), Failed> {
        for alert in &evaluation.alerts {
            let detail = json!({"code": alert.code, "severity": alert.severity, "message": alert.message});
            self.append("alert", Some((id, None)), detail)?;
        }
        Ok(())
    }

    fn is_frozen(&self) -> Result<bool, Failed> {
        Ok(self.newest([FREEZE, UNFREEZE])?.is_some_and(|entry| entry.event == FREEZE))
    }
}

impl Evaluation {
    pub(crate) fn allowed() -> Self {
        Self { verdict: Verdict::Allow, findings: Vec::new(), alerts: Vec::new() }
    }

    fn stopped(code: &str, rule: &str, message: &str) -> Self {
        let mut evaluation = Self::allowed();
        evaluation.deny(code, rule, message);
        evaluation
    }

    fn deny(&mut self, code: &str, rule: &str, message: &str) {
        self.verdict = Verdict::Deny;
        self.findings.push(Finding {
            code: code.to_owned(),
            rule: rule.to_owned(),
            verdict: Verdict::Deny,
            message: message.to_owned(),
            limit: None,
            would_be: None,
        });
    }

    /// Whether the operator stopped payments, rather than a rule this one.
    pub(crate) fn is_stopped(&self) -> bool {
        self.findings.iter().any(|finding| [FROZEN, POLICY_UNCONFIRMED].contains(&finding.code.as_str()))
    }
}

const FREEZE: &str = "freeze";
const UNFREEZE: &str = "unfreeze";
const FROZEN: &str = "frozen";
const POLICY_UNCONFIRMED: &str = "policy_unconfirmed";
