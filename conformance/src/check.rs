//! What a check is: an id, the section it comes from, what is expected, how it is seen, and the lie that it must notice.

use core::future::Future;
use core::pin::Pin;
use std::sync::Arc;

use sandbox::{ConsentMode, StandingApproval};

use crate::client::Deception;
use crate::lie::Lie;
use crate::world::World;

/// One check of a server or of the client.
#[derive(Clone)]
pub(crate) struct Check {
    /// Stable, `area.what`.
    pub(crate) id: String,
    /// Where it is written: `RFC 9126 §4`, `OID4AC v1 §6`.
    pub(crate) section: &'static str,
    /// What has to be seen, in one line.
    pub(crate) expected: String,
    pub(crate) subject: Subject,
}

#[derive(Clone)]
pub(crate) enum Subject {
    Server(ServerCheck),
    Client(Deception),
}

/// A check of a server: run against a world, it says what it saw.
#[derive(Clone)]
pub(crate) struct ServerCheck {
    pub(crate) setup: Setup,
    run: Run,
    /// What the server would have to answer for the check to fail, where no rule of the sandbox can be switched off to
    /// make it.
    pub(crate) spoiled_by: Option<Lie>,
}

type Run = Arc<dyn for<'w> Fn(&'w World) -> Running<'w> + Send + Sync>;
pub(crate) type Running<'w> = Pin<Box<dyn Future<Output = Outcome> + Send + 'w>>;

/// What was seen, where it is what was expected; else why not.
pub(crate) type Outcome = Result<String, Stop>;

/// Why a check did not pass. None of the texts holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The peer did something else than expected: what was seen.
    Failed(String),
    /// The check did not get as far as its own question: a step before it went wrong.
    Broken(String),
    /// The target cannot be asked.
    Skipped(String),
}

/// How a sandbox is to be set up for a check. Other targets are as they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) consent_mode: ConsentMode,
    pub(crate) standing_approval: StandingApproval,
}

impl Setup {
    pub(crate) const DEFAULT: Self =
        Self { consent_mode: ConsentMode::Auto, standing_approval: StandingApproval::AnyAmount };
}

impl Check {
    /// A check of a server.
    pub(crate) fn server(
        id: impl Into<String>,
        section: &'static str,
        expected: impl Into<String>,
        run: impl for<'w> Fn(&'w World) -> Running<'w> + Send + Sync + 'static,
    ) -> Self {
        let check = ServerCheck { setup: Setup::DEFAULT, run: Arc::new(run), spoiled_by: None };
        Self { id: id.into(), section, expected: expected.into(), subject: Subject::Server(check) }
    }

    /// A check of the client.
    pub(crate) fn client(
        id: impl Into<String>,
        section: &'static str,
        expected: impl Into<String>,
        deception: Deception,
    ) -> Self {
        Self { id: id.into(), section, expected: expected.into(), subject: Subject::Client(deception) }
    }

    /// Names the answer that makes this check fail.
    pub(crate) fn spoiled_by(mut self, lie: Lie) -> Self {
        if let Subject::Server(check) = &mut self.subject {
            check.spoiled_by = Some(lie);
        }
        self
    }

    /// Asks for a sandbox of this kind.
    pub(crate) fn set_up(mut self, setup: Setup) -> Self {
        if let Subject::Server(check) = &mut self.subject {
            check.setup = setup;
        }
        self
    }
}

impl ServerCheck {
    pub(crate) fn run<'w>(&self, world: &'w World) -> Running<'w> {
        (self.run)(world)
    }
}

/// Makes an asynchronous function one that [`Check::server`] takes. What follows the world is handed to it by copy.
macro_rules! run {
    ($function:expr $(, $argument:expr)*) => {
        move |world| Box::pin($function(world $(, $argument)*))
    };
}
pub(crate) use run;

/// What an expectation saw, or that it was something else.
pub(crate) fn expect(holds: bool, seen: impl Into<String>) -> Outcome {
    let seen = seen.into();
    if holds { Ok(seen) } else { Err(Stop::Failed(seen)) }
}

/// A failed expectation.
pub(crate) fn failed<T>(seen: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Failed(seen.into()))
}

/// A step before the check's own question went wrong.
pub(crate) fn broken<T>(step: &str, seen: impl core::fmt::Display) -> Result<T, Stop> {
    Err(Stop::Broken(format!("{step}: {seen}")))
}

/// The target cannot be asked this.
pub(crate) fn skipped<T>(reason: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Skipped(reason.into()))
}
