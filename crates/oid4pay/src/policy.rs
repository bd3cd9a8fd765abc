//! The policy in use: the human's file, tightened by the environment.

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use spend_guard::{
    Currency, InvalidTightening, Ledger, LedgerError, Limits, Policy, PolicyError, RuleAction, Rules, Scope, Tightening,
};

use crate::refusal::{Code, Refusal, ledger_failed};
use crate::settings::Settings;

/// Where the policy comes from. Nothing is read until a payment needs it; a file that has not changed is not parsed again.
pub struct PolicySource {
    file: Option<PathBuf>,
    tightening: Tightening,
    parsed: Mutex<Option<(String, Arc<Policy>)>>,
}

/// Why there is no policy to pay by. Payments stop until it is corrected: nothing falls back to the defaults.
#[derive(Debug, thiserror::Error)]
pub enum PolicyUnusable {
    /// The file says something that cannot be meant.
    #[error("{0}")]
    Invalid(#[from] PolicyError),
    /// The file cannot be read.
    #[error("{}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is in the way.
        reason: String,
    },
    /// A limit of the environment is no amount.
    #[error("{variable}: {error}")]
    Environment {
        /// The variable.
        variable: &'static str,
        /// What is wrong with it.
        error: InvalidTightening,
    },
}

impl PolicySource {
    /// Reads nothing yet.
    pub fn new(settings: &Settings) -> Self {
        let Settings { policy_file, tightening, .. } = settings;
        Self { file: policy_file.clone(), tightening: tightening.clone(), parsed: Mutex::default() }
    }

    /// The policy as it is now: the file's, or the defaults where there is none, and never more than the environment allows.
    ///
    /// # Errors
    ///
    /// - [`PolicyUnusable`] with file, line and reason.
    pub fn read(&self) -> Result<Arc<Policy>, PolicyUnusable> {
        let text = self.file.as_deref().map_or(Ok(None), text_of)?.unwrap_or_default();
        let mut parsed = self.parsed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, policy)) = &*parsed
            && *of == text
        {
            return Ok(Arc::clone(policy));
        }
        let policy = Policy::parse(&text, &self.file_name())?;
        let policy = policy.tighten(&self.tightening).map_err(|error| {
            let variable = match error.member {
                "per_transaction" => "OID4PAY_MAX_PER_TX",
                "hour" => "OID4PAY_MAX_HOURLY",
                "day" => "OID4PAY_MAX_DAILY",
                _ => "OID4PAY_APPROVAL_ABOVE",
            };
            PolicyUnusable::Environment { variable, error }
        })?;
        let policy = Arc::new(policy);
        *parsed = Some((text, Arc::clone(&policy)));
        Ok(policy)
    }

    fn file_name(&self) -> String {
        self.file.as_ref().map_or_else(|| "policy.toml".to_owned(), |file| file.display().to_string())
    }
}

/// How the policy stands: what it says, and whether payments can be made under it.
#[derive(Debug)]
pub struct Standing {
    /// What the file and the environment say.
    pub policy: Arc<Policy>,
    /// The rules that were confirmed or used last.
    pub before: Rules,
    /// In what the policy is looser than those, one sentence each. Payments are stopped until the person confirms it.
    pub looser: Vec<String>,
    /// Whether the person has stopped all payments.
    pub frozen: bool,
}

/// Why it cannot be told how the policy stands.
#[derive(Debug, thiserror::Error)]
pub enum NoStanding {
    /// The policy cannot be used, and payments are stopped.
    #[error(transparent)]
    Policy(#[from] PolicyUnusable),
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl From<PolicyUnusable> for Refusal {
    fn from(error: PolicyUnusable) -> Self {
        Self::new(Code::PolicyUnusable, &error.to_string())
    }
}

impl From<NoStanding> for Refusal {
    fn from(error: NoStanding) -> Self {
        match error {
            NoStanding::Policy(error) => error.into(),
            NoStanding::Ledger(error) => ledger_failed(&error),
        }
    }
}

impl Standing {
    /// How it stands now. Looking puts nothing in force.
    ///
    /// # Errors
    ///
    /// - [`NoStanding`] if the policy cannot be used or the ledger cannot be read.
    pub fn of(source: &PolicySource, ledger: &Ledger) -> Result<Self, NoStanding> {
        let (_, standing) = look(source, ledger)?;
        Ok(standing?)
    }

    /// Whether the policy is nowhere looser than what the person agreed to.
    #[must_use]
    pub fn is_confirmed(&self) -> bool {
        self.looser.is_empty()
    }

    /// Whether its file says anything else than the rules before: the next payment puts a stricter one in force.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.policy.differs_from(&self.before)
    }
}

/// Whether all payments are frozen, and how the policy stands where it can be used.
///
/// # Errors
///
/// - If the ledger cannot be read.
pub fn look(source: &PolicySource, ledger: &Ledger) -> Result<(bool, Result<Standing, PolicyUnusable>), LedgerError> {
    let frozen = ledger.is_frozen()?;
    let policy = match source.read() {
        Ok(policy) => policy,
        Err(error) => return Ok((frozen, Err(error))),
    };
    let before = ledger.rules_in_force()?;
    let looser = policy.looser_than(&before);
    Ok((frozen, Ok(Standing { policy, before, looser, frozen })))
}

/// A policy file's text; `None` if there is none.
///
/// # Errors
///
/// - [`PolicyUnusable::Unreadable`].
pub fn text_of(path: &Path) -> Result<Option<String>, PolicyUnusable> {
    let unreadable = |reason: String| PolicyUnusable::Unreadable { path: path.to_owned(), reason };
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Err(unreadable("not a file".to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            // A link that leads nowhere was meant to lead to a policy.
            return fs::symlink_metadata(path).map_or(Ok(None), |_| Err(unreadable(error.to_string())));
        }
        Err(error) => return Err(unreadable(error.to_string())),
    }
    let mut text = String::new();
    let file = fs::File::open(path).map_err(|error| unreadable(error.to_string()))?;
    file.take(MAX_OCTETS + 1).read_to_string(&mut text).map_err(|error| unreadable(error.to_string()))?;
    if text.len() as u64 > MAX_OCTETS {
        return Err(unreadable("larger than 1 MiB".to_owned()));
    }
    Ok(Some(text))
}

/// The rules in sentences, one line each.
pub fn in_words(rules: &Rules) -> Vec<String> {
    let mut lines = Vec::new();
    for (currency, limits) in &rules.currencies {
        lines.push(format!("{currency}: {}", limits_in_words(limits, *currency)));
    }
    lines.push("Any other currency: refused.".to_owned());
    match &rules.allow_merchants {
        Some(allowed) => lines.push(format!("Only merchants that match {}.", allowed.join(", "))),
        None => lines.push("Any merchant.".to_owned()),
    }
    if !rules.deny_merchants.is_empty() {
        let denied = rules.deny_merchants.join(", ");
        lines.push(format!("Never one that matches {denied}; without a port, on any port."));
    }
    for rule in &rules.rules {
        let what = match &rule.action {
            RuleAction::Deny => "refused".to_owned(),
            RuleAction::Approve => "waits for the person".to_owned(),
            RuleAction::Limit { currency, limits } => limits_in_words(limits, *currency),
            _ => "a rule of another kind".to_owned(),
        };
        lines.push(format!("Rule \"{}\", for {}: {what}", rule.name, scope_in_words(&rule.scope)));
    }
    if !rules.approval_in_client {
        lines.push("A yes in the agent's client counts for nothing.".to_owned());
    }
    lines
}

fn limits_in_words(limits: &Limits, currency: Currency) -> String {
    let mut parts = Vec::new();
    if let Some(limit) = limits.per_transaction {
        parts.push(format!("one payment at most {}", currency.format(limit)));
    }
    if let Some(limit) = limits.approval_above {
        parts.push(format!("above {} the person is asked", currency.format(limit)));
    }
    let windows = [("hour", limits.hour), ("day", limits.day), ("week", limits.week), ("month", limits.month)];
    for (window, limit) in windows {
        parts.extend(limit.map(|limit| format!("{} within any {window}", currency.format(limit))));
    }
    let counts = [("minute", limits.payments_per_minute), ("hour", limits.payments_per_hour)];
    for (window, limit) in counts {
        parts.extend(limit.map(|limit| format!("{limit} payments within any {window}")));
    }
    match parts.is_empty() {
        true => "no limit".to_owned(),
        false => parts.join(", "),
    }
}

fn scope_in_words(scope: &Scope) -> String {
    let currencies: Vec<_> = scope.currencies.iter().map(ToString::to_string).collect();
    let members = [
        ("merchant", &scope.merchants),
        ("category", &scope.categories),
        ("mcc", &scope.mccs),
        ("agent", &scope.agents),
        ("currency", &currencies),
    ];
    let said = members.iter().filter(|(_, values)| !values.is_empty());
    let said: Vec<_> = said.map(|(name, values)| format!("{name} {}", values.join(" or "))).collect();
    match said.is_empty() {
        true => "everything".to_owned(),
        false => said.join(", "),
    }
}

const MAX_OCTETS: u64 = 1 << 20;
