//! What a check is: an id, its section, what is expected, how to observe it, and the lie that it must notice.

use core::future::Future;
use core::pin::Pin;
use std::sync::Arc;

use crate::deception::Deception;
use crate::lie::Lie;
use crate::outcome::Outcome;
use crate::setup::Setup;
use crate::world::World;

/// One check of a server or of the client.
#[derive(Clone)]
pub(crate) struct Check {
    /// Stable, `area.what`.
    pub(crate) id: String,
    /// Where it is written: `RFC 9126 §4`, `OID4AC v1 §6`.
    pub(crate) section: &'static str,
    /// The expected result, in one line.
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
