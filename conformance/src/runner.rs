//! Runs checks: each in a sandbox of its own and several at once, or one after the other against servers elsewhere.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sandbox::Rule;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::check::{Check, Subject};
use crate::deception::Peer;
use crate::lie::Lie;
use crate::outcome::{Outcome, Stop};
use crate::setup::Setup;
use crate::wire::Http;
use crate::world::{Part, World};

/// The result of a check.
#[derive(Clone, Debug)]
pub(crate) struct Result {
    pub(crate) id: String,
    pub(crate) section: &'static str,
    pub(crate) expected: String,
    pub(crate) outcome: Outcome,
    pub(crate) took: Duration,
}

/// How a sandbox is changed.
#[derive(Clone)]
pub(crate) enum Mutant {
    /// Nothing.
    None,
    /// This rule is not enforced.
    Without(Rule),
    /// The answers are false; for a check of the client, they are true.
    Spoiled,
}

/// One run of one check.
pub(crate) struct Job {
    /// Which one, for the caller.
    pub(crate) index: usize,
    pub(crate) check: Check,
    pub(crate) mutant: Mutant,
}

/// The result of a job.
pub(crate) struct Done {
    pub(crate) index: usize,
    pub(crate) mutant: Mutant,
    pub(crate) outcome: Outcome,
    pub(crate) took: Duration,
    /// The rules that could have made a difference.
    pub(crate) decisive: Vec<Rule>,
}

/// Runs every check in a sandbox of its own.
pub(crate) async fn in_sandboxes(http: &Http, jobs: Vec<Job>) -> Vec<Done> {
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let mut running = JoinSet::new();
    let mut names = BTreeMap::new();
    for job in jobs {
        let (http, permits) = (http.clone(), Arc::clone(&permits));
        let (index, mutant) = (job.index, job.mutant.clone());
        let task = running.spawn(async move {
            let _permit = permits.acquire_owned().await;
            let start = Instant::now();
            let run = tokio::time::timeout(LONGEST, run(&http, &job.check, &job.mutant));
            let (outcome, decisive) = run.await.unwrap_or_else(|_| (Err(stuck()), Vec::new()));
            Done { index: job.index, mutant: job.mutant, outcome, took: start.elapsed(), decisive }
        });
        names.insert(task.id(), (index, mutant));
    }
    let mut done = Vec::new();
    while let Some(ended) = running.join_next().await {
        match ended {
            Ok(result) => done.push(result),
            Err(error) => {
                if let Some((index, mutant)) = names.remove(&error.id()) {
                    let outcome = Err(Stop::Broken("the check itself panicked".to_owned()));
                    done.push(Done { index, mutant, outcome, took: Duration::ZERO, decisive: Vec::new() });
                }
            }
        }
    }
    done.sort_by_key(|done| done.index);
    done
}

async fn run(http: &Http, check: &Check, mutant: &Mutant) -> (Outcome, Vec<Rule>) {
    match &check.subject {
        Subject::Client(deception) => {
            let peer = if matches!(mutant, Mutant::Spoiled) { Peer::Honest } else { Peer::Lying };
            (deception.run(peer, &check.expected).await, Vec::new())
        }
        Subject::Server(server) => {
            let (rule, lie) = match mutant {
                Mutant::None => (None, None),
                Mutant::Without(rule) => (Some(*rule), None),
                Mutant::Spoiled => (None, server.spoiled_by.clone()),
            };
            match start(http, server.setup, rule, lie).await {
                Ok(world) => {
                    let outcome = server.run(&world).await;
                    (outcome, world.decisive_rules())
                }
                Err(stop) => (Err(stop), Vec::new()),
            }
        }
    }
}

async fn start(http: &Http, setup: Setup, rule: Option<Rule>, lie: Option<Lie>) -> core::result::Result<World, Stop> {
    World::sandbox(http.clone(), setup, rule, lie).await
}

/// Runs checks against the servers of `world`, one after the other; those of the client have their own.
pub(crate) async fn elsewhere(http: &Http, world: &World, checks: &[Check]) -> Vec<Result> {
    // The two that most checks need get their setup tokens first. A check that needs them says why they are not there.
    for part in [Part::Own, Part::Sibling] {
        let _ = world.agent(part).await;
    }
    let mut results = Vec::new();
    for check in checks {
        let start = Instant::now();
        let outcome = match &check.subject {
            Subject::Server(server) => {
                let run = tokio::time::timeout(LONGEST_ELSEWHERE, server.run(world));
                run.await.unwrap_or_else(|_| Err(stuck()))
            }
            Subject::Client(_) => run(http, check, &Mutant::None).await.0,
        };
        results.push(Result::of(check, outcome, start.elapsed()));
    }
    results
}

impl Result {
    pub(crate) fn of(check: &Check, outcome: Outcome, took: Duration) -> Self {
        Self { id: check.id.clone(), section: check.section, expected: check.expected.clone(), outcome, took }
    }
}

fn stuck() -> Stop {
    Stop::Broken("no end in sight".to_owned())
}

/// Sandboxes at once: enough to keep two processors busy, few enough for their sockets.
const AT_ONCE: usize = 8;
const LONGEST: Duration = Duration::from_secs(120);
const LONGEST_ELSEWHERE: Duration = Duration::from_secs(1200);
