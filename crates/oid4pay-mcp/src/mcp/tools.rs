//! The tools: the way from a call to the one that answers it.

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

use oid4pay::person::Waiting;
use oid4pay::refusal::Refusal;
use rmcp::ErrorData;
use rmcp::model::{CallToolResponse, JsonObject};

use super::contract;
use super::host::Host;
use super::name::Name;

pub(super) use self::browse::catalog;

/// Answers one call of each tool by a function `async fn(&Host, Arguments, Waiting) -> Result<CallToolResult, Refusal>`, or with a
/// `CallToolResponse`.
macro_rules! answers {
    ($($variant:ident by $answer:path;)*) => {
        /// Answers one call.
        ///
        /// # Errors
        ///
        /// If the arguments are not what the tool's schema says. A call that ran and was refused is an answer.
        pub(super) async fn call(
            tool: Name,
            host: &Host,
            arguments: Option<JsonObject>,
            waiting: Waiting,
        ) -> Result<CallToolResponse, ErrorData> {
            let stop = waiting.stop().clone();
            let answer: Result<CallToolResponse, Refusal> = match tool {
                $(Name::$variant => {
                    let arguments = args::parse(arguments)?;
                    let work = async { $answer(host, arguments, waiting).await.map(CallToolResponse::from) };
                    // A paying call stops by itself, where it can. One that uses something up (a setup token, a place in the
                    // wallet) is not cut off: its few requests have limits of their own.
                    match tool.is_read_only() {
                        true => stop.unless_stopped(work).await,
                        false => work.await,
                    }
                })*
            };
            Ok(answer.unwrap_or_else(|refusal| contract::result(&refusal, tool).into()))
        }
    };
}

answers! {
    AuditChainQuery by principal::audit_chain_query;
    BrowseMerchant by browse::browse;
    BuyCheapest by cheapest::buy;
    DsarInitiate by principal::dsar;
    PaymentHistory by principal::payment_history;
    PaymentInitiate by payment::pay;
    Register by register::register;
    VerifyMandate by verify_mandate::verify;
    WalletListAgents by wallet::list_agents;
    WalletRegister by wallet::register;
    WalletRevokeAgent by wallet::revoke_agent;
    ListMerchants by discovery::list;
    MccExplain by spend::mcc::explain;
    MerchantAllowlistSuggest by spend::merchants::allowlist_suggest;
    MerchantResolve by spend::merchants::resolve;
    SpendBalance by spend::policy::balance;
    SpendEvidenceList by spend::records::evidence_list;
    SpendHistory by spend::records::history;
    SpendIntentCancel by spend::intents::cancel;
    SpendIntentCreate by spend::intents::create;
    SpendIntentGet by spend::intents::get;
    SpendIntentList by spend::intents::list;
    SpendIntentRequestApproval by spend::intents::request_approval;
    SpendIntentStatus by spend::intents::status;
    SpendPolicyGet by spend::policy::get;
    SpendReceiptAttach by spend::records::attach;
    SpendReceiptGet by spend::records::receipt_get;
    SpendSimulate by spend::policy::simulate;
    SpendStatus by spend::status::get;
}
