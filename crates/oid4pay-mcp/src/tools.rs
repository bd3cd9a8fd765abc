//! The tools: their definitions, which a client lists, and the way from a call to the one that answers it.

mod args;
mod browse;
mod cheapest;
mod discovery;
mod granted;
mod output;
mod payment;
mod principal;
mod register;
mod spend;
mod verify_mandate;
mod wallet;

use std::sync::LazyLock;

use rmcp::ErrorData;
use rmcp::model::{CallToolResponse, JsonObject, Tool};
use serde_json::Value;

use crate::agent::Agent;
use crate::config::Toolset;
use crate::errors::Refusal;
use crate::waiting::{Stop, Waiting};

pub(crate) use self::granted::{refused, unsent};
use self::output::counted;
pub(crate) use self::output::{signatures_meta, success};

/// Declares the tools, in the order in which they are listed: by name. A row is the variant, the tool's name, the toolset
/// and the function that answers, `async fn(&Agent, Arguments, Waiting) -> Result<CallToolResult, Refusal>`, or with a
/// `CallToolResponse`. The definition is the JSON file of the tool's name; whether the tool changes anything is what its
/// `readOnlyHint` says.
macro_rules! tools {
    ($($variant:ident = $name:literal in $toolset:ident by $answer:path;)*) => {
        /// A tool of this server.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Name {
            $($variant,)*
        }

        impl Name {
            const ALL: &[Self] = &[$(Self::$variant,)*];

            pub(crate) fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            fn toolset(self) -> Toolset {
                match self {
                    $(Self::$variant => Toolset::$toolset,)*
                }
            }

            /// Read when it is first asked for.
            fn definition(self) -> &'static Tool {
                match self {
                    $(Self::$variant => {
                        static TOOL: LazyLock<Tool> =
                            LazyLock::new(|| parsed(include_str!(concat!("tools/", $name, ".json"))));
                        &TOOL
                    })*
                }
            }
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
        ) -> Result<CallToolResponse, ErrorData> {
            let stop = waiting.stop().clone();
            let answer = match tool {
                $(Name::$variant => {
                    let arguments = args::parse(arguments)?;
                    let work = async { $answer(agent, arguments, waiting).await.map(CallToolResponse::from) };
                    tool.until_stopped(&stop, work).await
                })*
            };
            Ok(answer.unwrap_or_else(|refusal| refusal.into_result(tool).into()))
        }
    };
}

tools! {
    AuditChainQuery = "agent_audit_chain_query" in Oid4ac by principal::audit_chain_query;
    BrowseMerchant = "agent_browse_merchant" in Oid4ac by browse::browse;
    BuyCheapest = "agent_buy_cheapest_from_store" in Oid4ac by cheapest::buy;
    DsarInitiate = "agent_dsar_initiate" in Oid4ac by principal::dsar;
    PaymentHistory = "agent_payment_history" in Oid4ac by principal::payment_history;
    PaymentInitiate = "agent_payment_initiate" in Oid4ac by payment::pay;
    Register = "agent_register" in Oid4ac by register::register;
    VerifyMandate = "agent_verify_mandate" in Oid4ac by verify_mandate::verify;
    WalletListAgents = "agent_wallet_list_agents" in Oid4ac by wallet::list_agents;
    WalletRegister = "agent_wallet_register" in Oid4ac by wallet::register;
    WalletRevokeAgent = "agent_wallet_revoke_agent" in Oid4ac by wallet::revoke_agent;
    ListMerchants = "discovery_list_merchants" in Oid4ac by discovery::list;
    MccExplain = "mcc_explain" in Spend by spend::mcc::explain;
    MerchantAllowlistSuggest = "merchant_allowlist_suggest" in Spend by spend::merchants::allowlist_suggest;
    MerchantResolve = "merchant_resolve" in Spend by spend::merchants::resolve;
    SpendBalance = "spend_balance" in Spend by spend::policy::balance;
    SpendEvidenceList = "spend_evidence_list" in Spend by spend::records::evidence_list;
    SpendHistory = "spend_history" in Spend by spend::records::history;
    SpendIntentCancel = "spend_intent_cancel" in Spend by spend::intents::cancel;
    SpendIntentCreate = "spend_intent_create" in Spend by spend::intents::create;
    SpendIntentGet = "spend_intent_get" in Spend by spend::intents::get;
    SpendIntentList = "spend_intent_list" in Spend by spend::intents::list;
    SpendIntentRequestApproval = "spend_intent_request_approval" in Spend by spend::intents::request_approval;
    SpendIntentStatus = "spend_intent_status" in Spend by spend::intents::status;
    SpendPolicyGet = "spend_policy_get" in Spend by spend::policy::get;
    SpendReceiptAttach = "spend_receipt_attach" in Spend by spend::records::attach;
    SpendReceiptGet = "spend_receipt_get" in Spend by spend::records::receipt_get;
    SpendSimulate = "spend_simulate" in Spend by spend::policy::simulate;
    SpendStatus = "spend_status" in Spend by spend::status::get;
}

/// A merchant's verified catalog, as `agent_browse_merchant` answers it.
pub(crate) async fn catalog(agent: &Agent, merchant_id: &str) -> Result<Value, Refusal> {
    browse::catalog(agent, merchant_id).await.map(|(output, _)| output)
}

impl Name {
    /// Does the work of a call that only looks until it has to stop. A paying call stops by itself, where it can. One that
    /// uses something up (a setup token, a place in the wallet) is not cut off: its few requests have limits of their own.
    async fn until_stopped(
        self,
        stop: &Stop,
        work: impl Future<Output = Result<CallToolResponse, Refusal>>,
    ) -> Result<CallToolResponse, Refusal> {
        match is_read_only(self.definition()) {
            true => stop.unless_stopped(work).await,
            false => work.await,
        }
    }

    pub(crate) fn find(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|tool| tool.as_str() == name)
    }
}

/// The tools that one server offers: those of its toolset, without those that change anything where it is read-only.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offered {
    pub(crate) toolset: Toolset,
    pub(crate) read_only: bool,
}

impl Offered {
    /// What `tools/list` answers.
    pub(crate) fn list(self) -> Vec<Tool> {
        Name::ALL.iter().filter_map(|tool| self.definition(*tool)).cloned().collect()
    }

    /// The definition of a tool that is offered.
    pub(crate) fn definition(self, tool: Name) -> Option<&'static Tool> {
        self.check(tool).is_ok().then(|| tool.definition())
    }

    /// Refuses a call of a tool that is not offered.
    pub(crate) fn check(self, tool: Name) -> Result<(), Refusal> {
        if !self.toolset.includes(tool.toolset()) {
            return Err(Refusal::new("not_in_toolset", "the operator has not enabled the toolset of this tool"));
        }
        if self.read_only && !is_read_only(tool.definition()) {
            let sentence = "this server was started with --read-only, and the tool changes something";
            return Err(Refusal::new("read_only", sentence));
        }
        Ok(())
    }
}

fn is_read_only(definition: &Tool) -> bool {
    definition.annotations.as_ref().and_then(|annotations| annotations.read_only_hint) == Some(true)
}

#[expect(clippy::expect_used, reason = "the definitions are part of the program, and a test reads each")]
fn parsed(definition: &str) -> Tool {
    serde_json::from_str(definition).expect("a tool's definition")
}
