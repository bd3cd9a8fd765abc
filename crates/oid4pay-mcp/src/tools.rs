//! The tools: their definitions, which a client lists, and the way from a call to the one that answers it.

mod args;
mod output;
mod payment;
mod register;
mod verify_mandate;

use std::sync::LazyLock;

use rmcp::ErrorData;
use rmcp::model::{CallToolResult, JsonObject, Tool};

use crate::agent::Agent;
use crate::waiting::Waiting;

pub(crate) use self::output::{signatures_meta, success};

/// A tool of this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Register,
    PaymentInitiate,
    VerifyMandate,
}

impl Name {
    /// In the order in which they are listed: by name.
    pub(crate) const ALL: [Self; 3] = [Self::PaymentInitiate, Self::Register, Self::VerifyMandate];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Register => "agent_register",
            Self::PaymentInitiate => "agent_payment_initiate",
            Self::VerifyMandate => "agent_verify_mandate",
        }
    }

    pub(crate) fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tool| tool.as_str() == name)
    }

    fn definition(self) -> &'static str {
        match self {
            Self::Register => include_str!("tools/agent_register.json"),
            Self::PaymentInitiate => include_str!("tools/agent_payment_initiate.json"),
            Self::VerifyMandate => include_str!("tools/agent_verify_mandate.json"),
        }
    }
}

/// What `tools/list` answers, read from the definitions when it is first asked for.
pub(crate) fn list() -> &'static [Tool] {
    static TOOLS: LazyLock<Vec<Tool>> = LazyLock::new(|| {
        #[expect(clippy::expect_used, reason = "the definitions are part of the program, and a test reads each")]
        let read = |name: Name| serde_json::from_str(name.definition()).expect("a tool's definition");
        Name::ALL.into_iter().map(read).collect()
    });
    &TOOLS
}

/// Answers one call.
///
/// # Errors
///
/// If the arguments are not what the tool's schema says. A call that ran and was refused is an answer.
pub(crate) async fn call(
    tool: Name,
    agent: &Agent,
    arguments: Option<JsonObject>,
    waiting: Waiting,
) -> Result<CallToolResult, ErrorData> {
    match tool {
        Name::Register => register::call(agent, arguments).await,
        Name::PaymentInitiate => payment::call(agent, arguments, waiting).await,
        Name::VerifyMandate => verify_mandate::call(agent, arguments, waiting).await,
    }
}
