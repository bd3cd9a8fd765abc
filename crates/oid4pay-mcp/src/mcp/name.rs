//! The tools by name: their definitions, which a client lists, and which of them one server offers.

use std::sync::LazyLock;

use oid4pay::refusal::{Code, Refusal};
use rmcp::model::Tool;

use crate::config::{Settings, Toolset};

/// Declares the tools, in the order in which they are listed: by name. A row is the variant, the tool's name and the toolset.
/// The definition is the JSON file of the tool's name; whether the tool changes anything is what its `readOnlyHint` says.
macro_rules! tools {
    ($($variant:ident = $name:literal in $toolset:ident;)*) => {
        /// A tool of this server.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Name {
            $($variant,)*
        }

        impl Name {
            pub(crate) const ALL: &[Self] = &[$(Self::$variant,)*];

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
    };
}

tools! {
    AuditChainQuery = "agent_audit_chain_query" in Oid4ac;
    BrowseMerchant = "agent_browse_merchant" in Oid4ac;
    BuyCheapest = "agent_buy_cheapest_from_store" in Oid4ac;
    DsarInitiate = "agent_dsar_initiate" in Oid4ac;
    PaymentHistory = "agent_payment_history" in Oid4ac;
    PaymentInitiate = "agent_payment_initiate" in Oid4ac;
    Register = "agent_register" in Oid4ac;
    VerifyMandate = "agent_verify_mandate" in Oid4ac;
    WalletListAgents = "agent_wallet_list_agents" in Oid4ac;
    WalletRegister = "agent_wallet_register" in Oid4ac;
    WalletRevokeAgent = "agent_wallet_revoke_agent" in Oid4ac;
    ListMerchants = "discovery_list_merchants" in Oid4ac;
    MccExplain = "mcc_explain" in Spend;
    MerchantAllowlistSuggest = "merchant_allowlist_suggest" in Spend;
    MerchantResolve = "merchant_resolve" in Spend;
    SpendBalance = "spend_balance" in Spend;
    SpendEvidenceList = "spend_evidence_list" in Spend;
    SpendHistory = "spend_history" in Spend;
    SpendIntentCancel = "spend_intent_cancel" in Spend;
    SpendIntentCreate = "spend_intent_create" in Spend;
    SpendIntentGet = "spend_intent_get" in Spend;
    SpendIntentList = "spend_intent_list" in Spend;
    SpendIntentRequestApproval = "spend_intent_request_approval" in Spend;
    SpendIntentStatus = "spend_intent_status" in Spend;
    SpendPolicyGet = "spend_policy_get" in Spend;
    SpendReceiptAttach = "spend_receipt_attach" in Spend;
    SpendReceiptGet = "spend_receipt_get" in Spend;
    SpendSimulate = "spend_simulate" in Spend;
    SpendStatus = "spend_status" in Spend;
}

impl Name {
    pub(crate) fn find(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|tool| tool.as_str() == name)
    }

    /// Whether it only looks.
    pub(crate) fn is_read_only(self) -> bool {
        self.definition().annotations.as_ref().and_then(|annotations| annotations.read_only_hint) == Some(true)
    }
}

/// The tools that one server offers: those of its toolset, without those that change anything where it is read-only.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offered {
    toolset: Toolset,
    read_only: bool,
}

impl Offered {
    /// Those of a server with these settings.
    pub(crate) fn of(settings: &Settings) -> Self {
        Self { toolset: settings.toolset, read_only: settings.read_only }
    }

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
            return Err(Refusal::new(Code::NotInToolset, "the operator has not enabled the toolset of this tool"));
        }
        if self.read_only && !tool.is_read_only() {
            let sentence = "this server was started with --read-only, and the tool changes something";
            return Err(Refusal::new(Code::ReadOnly, sentence));
        }
        Ok(())
    }
}

#[expect(clippy::expect_used, reason = "the definitions are part of the program, and a test reads each")]
fn parsed(definition: &str) -> Tool {
    serde_json::from_str(definition).expect("a tool's definition")
}
