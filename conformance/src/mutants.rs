//! Whether the checks notice faults: every rule of the sandbox is switched off by itself, and answers that no rule can
//! change are falsified.
//!
//! A rule is tried against those checks whose run it could have changed: without the others the sandbox would have given
//! the very same answers.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use sandbox::Rule;

use crate::check::{Check, Subject};
use crate::outcome::Stop;
use crate::report::Tally;
use crate::runner::{Done, Job, Mutant, in_sandboxes};
use crate::wire::Http;

/// The results.
pub(crate) struct Findings {
    /// Rule → the checks that failed without it.
    by_rule: BTreeMap<&'static str, Vec<String>>,
    /// The check of each lie, and whether it failed.
    lies: Vec<(String, bool)>,
    /// What is wrong, in words.
    errors: Vec<String>,
    runs: usize,
}

/// Tries every mutant against `checks`.
pub(crate) async fn try_all(http: &Http, checks: &[Check]) -> Findings {
    let job = |index: usize, mutant: Mutant| Job { index, check: checks[index].clone(), mutant };
    let sound = in_sandboxes(http, (0..checks.len()).map(|index| job(index, Mutant::None)).collect()).await;
    let mut errors = Vec::new();
    let mut jobs = Vec::new();
    for Done { index, outcome, decisive, .. } in &sound {
        let id = &checks[*index].id;
        match outcome {
            Ok(_) => {}
            Err(Stop::Skipped(reason)) => errors.push(format!("{id} is skipped with every rule in force: {reason}")),
            Err(Stop::Failed(seen) | Stop::Broken(seen)) => {
                errors.push(format!("{id} fails with every rule in force: {seen}"));
                continue;
            }
        }
        jobs.extend(decisive.iter().map(|rule| job(*index, Mutant::Without(*rule))));
        if is_spoiled(&checks[*index]) {
            jobs.push(job(*index, Mutant::Spoiled));
        }
    }
    let runs = sound.len() + jobs.len();
    let mut findings = Findings { by_rule: BTreeMap::new(), lies: Vec::new(), errors, runs };
    let mut noticed: BTreeSet<usize> = BTreeSet::new();
    for rule in Rule::ALL {
        findings.by_rule.insert(rule.name(), Vec::new());
    }
    for Done { index, mutant, outcome, .. } in in_sandboxes(http, jobs).await {
        // A check that was kept from its own question by a mutant has not noticed it.
        let failed = matches!(outcome, Err(Stop::Failed(_)));
        let id = checks[index].id.clone();
        if failed {
            noticed.insert(index);
        }
        match mutant {
            Mutant::Without(rule) if failed => findings.by_rule.entry(rule.name()).or_default().push(id),
            Mutant::Spoiled => {
                if !failed {
                    let seen = match outcome {
                        Ok(seen) => format!("it passes ({seen})"),
                        Err(Stop::Failed(seen) | Stop::Broken(seen) | Stop::Skipped(seen)) => seen,
                    };
                    findings.errors.push(format!("{id} does not notice the answer that spoils it: {seen}"));
                }
                findings.lies.push((id, failed));
            }
            Mutant::Without(_) | Mutant::None => {}
        }
    }
    let unwatched = findings.by_rule.iter().filter(|(_, checks)| checks.is_empty());
    let unwatched: Vec<_> =
        unwatched.map(|(rule, _)| format!("{rule} can be switched off and no check fails")).collect();
    findings.errors.extend(unwatched);
    for (index, check) in checks.iter().enumerate() {
        if !noticed.contains(&index) {
            findings.errors.push(format!("{} fails under no mutant", check.id));
        }
    }
    findings
}

/// Whether there is an answer that spoils the check. For a check of the client that is the honest one.
fn is_spoiled(check: &Check) -> bool {
    match &check.subject {
        Subject::Client(_) => true,
        Subject::Server(server) => server.spoiled_by.is_some(),
    }
}

impl Findings {
    pub(crate) fn is_green(&self) -> bool {
        self.errors.is_empty()
    }

    pub(crate) fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        for (rule, checks) in &self.by_rule {
            let checks = if checks.is_empty() { "NOTHING".to_owned() } else { checks.join(", ") };
            writeln!(out, "{rule} → {checks}")?;
        }
        let spoiled: Vec<_> = self.lies.iter().filter(|(_, failed)| *failed).map(|(id, _)| id.as_str()).collect();
        writeln!(out, "\nspoiled answers → {}", spoiled.join(", "))?;
        for error in &self.errors {
            writeln!(out, "error: {error}")?;
        }
        let rules = self.by_rule.values().filter(|checks| !checks.is_empty()).count();
        let passed = rules + spoiled.len();
        writeln!(out, "\n{} rules watched, {} spoiled answers noticed, {} runs", rules, spoiled.len(), self.runs)?;
        writeln!(out, "{}", Tally { passed, failed: self.errors.len(), skipped: 0 }.line())
    }
}
