//! Where ledger and policy meet: freeze, the policy in force, and its word on an intent.

use serde::Serialize;
use serde_json::{Value, json};

use super::Ledger;
use super::transaction::{Failed, Tx};
use crate::error::LedgerError;
use crate::intent::{Approval, Intent, IntentId, State};
use crate::money::Currency;
use crate::policy::{Evaluation, Finding, Policy, Request, RuleAction, Rules, Scope, Sums as _, Verdict};

/// What is spent, held back and left of one limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Budget {
    /// Where the rule stands in the policy: `currency.EUR.hour`.
    pub rule: String,
    /// The currency.
    pub currency: Currency,
    /// `hour`, `day`, `week` or `month`.
    pub window: &'static str,
    /// The limit, in minor units.
    pub limit_minor: u64,
    /// What was paid within the window.
    pub settled_minor: u64,
    /// What is held back, whenever that began.
    pub reserved_minor: u64,
    /// What may have been paid within the window: presented, and refused or never answered.
    pub unresolved_minor: u64,
    /// What can still be spent.
    pub left_minor: u64,
}

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

    /// The rules in force: the ones that were confirmed or used last, at first the defaults.
    ///
    /// # Errors
    ///
    /// - Any of the errors of opening and reading the file.
    pub fn rules_in_force(&self) -> Result<Rules, LedgerError> {
        self.store.read(|tx| tx.in_force()?.rules(tx))
    }

    /// Puts `policy` in force where it is not looser, as every payment does: from then on it takes the human to go back.
    ///
    /// # Errors
    ///
    /// - Any of the errors of opening and writing the file.
    pub fn adopt(&self, policy: &Policy) -> Result<(), LedgerError> {
        self.store.write(|tx| tx.adopt(policy))
    }

    /// Puts `policy` in force although it is looser. The caller has made sure that the human wants it.
    ///
    /// # Errors
    ///
    /// - Any of the errors of opening and writing the file.
    pub fn confirm(&self, policy: &Policy) -> Result<(), LedgerError> {
        self.store.write(|tx| tx.put_in_force(policy, "confirmed"))
    }

    /// What is left of every budget of `policy`.
    ///
    /// # Errors
    ///
    /// - Any of the errors of opening and reading the file.
    pub fn budgets(&self, policy: &Policy) -> Result<Vec<Budget>, LedgerError> {
        self.store.read(|tx| {
            let everything = Scope::default();
            let rules = policy.rules();
            let mut limited: Vec<_> = rules
                .currencies
                .iter()
                .map(|(of, limits)| (format!("currency.{of}"), *of, limits, &everything))
                .collect();
            limited.extend(rules.rules.iter().filter_map(|rule| match &rule.action {
                RuleAction::Limit { currency, limits } => {
                    Some((format!("rule.{}", rule.name), *currency, limits, &rule.scope))
                }
                _ => None,
            }));
            let mut budgets = Vec::new();
            for (name, currency, limits, scope) in limited {
                for (window, seconds, limit) in limits.budgets() {
                    let Some(limit_minor) = limit else { continue };
                    let sum = tx.sum(currency, scope, tx.now.saturating_sub(seconds))?;
                    budgets.push(Budget {
                        rule: format!("{name}.{window}"),
                        currency,
                        window,
                        limit_minor,
                        settled_minor: sum.settled_minor,
                        reserved_minor: sum.reserved_minor,
                        unresolved_minor: sum.unresolved_minor,
                        left_minor: limit_minor.saturating_sub(sum.counted_minor()),
                    });
                }
            }
            Ok(budgets)
        })
    }

    /// Says that it is so only if it is: what was written is read back in the same transaction, and after it.
    fn set_frozen(&self, frozen: bool) -> Result<(), LedgerError> {
        let what = if frozen { FREEZE } else { UNFREEZE };
        let not_kept = || LedgerError::NotKept { path: self.store.path.clone(), what };
        let work = |tx: &Tx<'_>| {
            if tx.is_frozen()? != frozen {
                tx.append(what, None, Value::Null)?;
            }
            if tx.is_frozen()? != frozen {
                return Err(not_kept().into());
            }
            tx.head()
        };
        // A freeze only makes things safer, so it holds for an older ledger too.
        let written = match frozen {
            true => self.store.write_whatever_head(work),
            false => self.store.write(work),
        }?;
        // Another process may have changed its mind by now, but the entry stays.
        match self.store.read(|tx| tx.leads_through(&written))? {
            true => Ok(()),
            false => Err(not_kept()),
        }
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
        if !self.looser(policy)?.is_empty() {
            let message = "the policy is looser than the one in force: the operator has to confirm it";
            return Ok(Evaluation::stopped(POLICY_UNCONFIRMED, "policy", message));
        }
        let is_open_ended = intent.line_items.is_empty() && intent.declaration.is_none();
        let request = Request {
            merchant: &intent.merchant,
            category: intent.category.as_deref().unwrap_or_default(),
            mcc: intent.mcc.as_deref().unwrap_or_default(),
            agent: intent.agent.as_deref().unwrap_or_default(),
            currency: intent.currency,
            // The holder of the presentation can charge up to the cap.
            amount_minor: (!is_open_ended).then_some(intent.at_stake_minor()),
            own_minor: intent.held_back_minor(),
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

    /// Puts `policy` in force where it is another one, and not looser.
    pub(crate) fn adopt(&self, policy: &Policy) -> Result<(), Failed> {
        if self.in_force()?.hash != policy.hash() && self.looser(policy)?.is_empty() {
            self.put_in_force(policy, "adopted")?;
        }
        Ok(())
    }

    /// What `policy` allows that the one in force does not.
    fn looser(&self, policy: &Policy) -> Result<Vec<String>, Failed> {
        let in_force = self.in_force()?;
        Ok(if in_force.hash == policy.hash() { Vec::new() } else { policy.looser_than(&in_force.rules(self)?) })
    }

    fn in_force(&self) -> Result<InForce, Failed> {
        let Some(mut entry) = self.newest([POLICY, POLICY])? else {
            let default = Policy::default();
            return Ok(InForce { hash: default.hash().to_owned(), rules: json!(default.file()) });
        };
        let (hash, rules) = (entry.detail["hash"].take(), entry.detail["rules"].take());
        Ok(InForce { hash: hash.as_str().unwrap_or_default().to_owned(), rules })
    }

    fn put_in_force(&self, policy: &Policy, how: &str) -> Result<(), Failed> {
        self.append(POLICY, None, json!({"hash": policy.hash(), "rules": policy.file(), "how": how}))
    }

    pub(crate) fn is_frozen(&self) -> Result<bool, Failed> {
        Ok(self.newest([FREEZE, UNFREEZE])?.is_some_and(|entry| entry.event == FREEZE))
    }
}

/// The policy the ledger knows.
struct InForce {
    hash: String,
    /// Read only when another policy comes.
    rules: Value,
}

impl InForce {
    fn rules(self, tx: &Tx<'_>) -> Result<Rules, Failed> {
        serde_json::from_value(self.rules).map_err(|error| tx.corrupt(error.to_string()))
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

const POLICY: &str = "policy";
const FREEZE: &str = "freeze";
const UNFREEZE: &str = "unfreeze";
const FROZEN: &str = "frozen";
const POLICY_UNCONFIRMED: &str = "policy_unconfirmed";
