//! `spend_policy_get`, `spend_simulate`, `spend_balance`.

use crate::mcp::answer::success;
use crate::mcp::host::Host;
use oid4ac_client::{Error, Misuse};
use oid4pay::pay::with_agent;
use oid4pay::person::Waiting;
use oid4pay::policy::in_words;
use oid4pay::refusal::Refusal;
use rmcp::model::CallToolResult;
use serde::Deserialize;
use serde_json::json;
use spend_guard::{Approval, Currency, Intent, Purchase, State, Verdict};

use super::{Amount, currency_of, order};
use crate::mcp::tools::args::{self, CurrencyCode, LineItem, PurchaseRef, Uri};
use crate::mcp::tools::payment;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::mcp::tools) struct Nothing {}

/// `spend_policy_get`.
pub(in crate::mcp::tools) async fn get(
    Host { agent, .. }: &Host,
    _: Nothing,
    _: Waiting,
) -> Result<CallToolResult, Refusal> {
    let standing = agent.standing()?;
    let policy = &standing.policy;
    let words = in_words(policy.rules());
    let sentence = match (standing.frozen, standing.is_confirmed()) {
        (true, _) => "All payments are frozen until the person ends it.".to_owned(),
        (_, false) => {
            "Payments are stopped: the policy is looser than the one in force, and the person has to confirm it."
                .to_owned()
        }
        _ => format!("The policy in force: {}.", words.join("; ")),
    };
    let output = json!({
        "policy_hash": policy.hash(),
        "frozen": standing.frozen,
        "confirmed": standing.is_confirmed(),
        "in_words": words,
        "rules": policy.rules(),
    });
    Ok(success(output, sentence, None))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::mcp::tools) struct SimulateArguments {
    merchant_url: Uri,
    amount: Amount,
    #[serde(deserialize_with = "args::at_least_one")]
    line_items: Vec<LineItem>,
    #[serde(default, deserialize_with = "args::present")]
    purchase_ref: Option<PurchaseRef>,
}

/// `spend_simulate`: the ledger is only read, and the merchant only asked for its offers.
pub(in crate::mcp::tools) async fn simulate(
    Host { agent, .. }: &Host,
    arguments: SimulateArguments,
    _: Waiting,
) -> Result<CallToolResult, Refusal> {
    let issuer = agent.issuer()?;
    let client = agent.client(&issuer)?;
    let policy = agent.policy()?;
    let purchase_ref = arguments.purchase_ref.map(|reference| reference.as_str().to_owned());
    let order = order(&arguments.merchant_url, &arguments.amount, arguments.line_items)?;
    let purchase = with_agent(payment::as_purchase(&issuer, &order, purchase_ref.clone())?, &client);
    let before = agent.ledger().find(&purchase, Some(&policy))?;
    let declared = match &purchase_ref {
        Some(reference) => agent.ledger().find_declared(reference)?,
        None => None,
    };
    let declared = declared.filter(|intent| !intent.state.is_final()).and_then(|intent| fits(&intent, &purchase));
    let evaluation = agent.ledger().simulate(&purchase, &policy)?;
    let all_priced = order.line_items().iter().all(|line| line.unit_price_minor().is_some());
    let (offer, offer_error) = match client.check_offers(&order).await {
        Ok(offers) => (if offers.verdict.is_verified() { Offer::Verified } else { Offer::Unsigned }, None),
        Err(error @ Error::Misuse(Misuse::OfferMissing { .. })) if all_priced => (Offer::Unsigned, Some(error)),
        Err(error @ (Error::PeerMisbehaved(_) | Error::Misuse(_))) => (Offer::Refused, Some(error)),
        Err(error) => return Err(error.into()),
    };
    let outcome = match (&before, evaluation.verdict, offer) {
        (Some(intent), ..) if intent.state == State::Settled => "replayed",
        (Some(_), ..) => "resumed",
        (None, Verdict::Deny, _) => "denied",
        (None, ..) if declared == Some(Declared::Otherwise) => "denied",
        (None, _, Offer::Refused) => "offer_refused",
        (None, Verdict::Approve, Offer::Verified) if declared == Some(Declared::Approved) => "would_be_paid",
        (None, Verdict::Approve, _) | (None, _, Offer::Unsigned) => "approval_required",
        (None, Verdict::Allow, Offer::Verified) => "would_be_paid",
    };
    let amount = order.amount();
    let said = evaluation.findings.iter().map(|finding| format!("{}: {}", finding.rule, finding.message));
    let mut said: Vec<_> = said.collect();
    said.extend(offer_error.as_ref().map(ToString::to_string));
    if declared == Some(Declared::Otherwise) {
        said.push("the purchase was declared in other terms".to_owned());
    }
    let sentence = format!(
        "{amount} at {}: {outcome}{}{}. Nothing was reserved or sent for payment.",
        order.merchant(),
        if said.is_empty() { "" } else { ", because " },
        said.join("; ")
    );
    let output = json!({
        "outcome": outcome,
        "verdict": evaluation.verdict,
        "findings": evaluation.findings,
        "alerts": evaluation.alerts,
        "offer_verified": offer == Offer::Verified,
        "offer_error": offer_error.as_ref().map(Error::code),
        "declared": declared.map(Declared::as_str),
        "intent_id": before.as_ref().map(|intent| intent.id.as_str()),
        "merchant": order.merchant(),
        "amount_minor": amount.amount_minor(),
        "currency": amount.currency().code(),
    });
    Ok(success(output, sentence, None))
}

/// What the merchant's offers came to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Offer {
    Verified,
    /// There is none, and a person would have to agree to the prices given.
    Unsigned,
    Refused,
}

/// How an open declaration under the same name stands to the purchase.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Declared {
    /// It is this purchase.
    Unused,
    /// It is, and a person has agreed.
    Approved,
    /// It is for something else.
    Otherwise,
}

impl Declared {
    fn as_str(self) -> &'static str {
        match self {
            Self::Unused => "unused",
            Self::Approved => "approved",
            Self::Otherwise => "otherwise",
        }
    }
}

/// `None` for a declaration that was used, which is a purchase like any other.
fn fits(intent: &Intent, purchase: &Purchase) -> Option<Declared> {
    intent.declaration.as_ref().filter(|declaration| !declaration.used)?;
    Some(match (intent.departs_from_declaration(purchase), &intent.approval) {
        (Some(_), _) => Declared::Otherwise,
        (None, Approval::Given { used: false, .. }) => Declared::Approved,
        (None, _) => Declared::Unused,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::mcp::tools) struct BalanceArguments {
    #[serde(default, deserialize_with = "args::present")]
    currency: Option<CurrencyCode>,
}

/// `spend_balance`.
pub(in crate::mcp::tools) async fn balance(
    Host { agent, .. }: &Host,
    arguments: BalanceArguments,
    _: Waiting,
) -> Result<CallToolResult, Refusal> {
    let standing = agent.standing()?;
    let policy = &standing.policy;
    let only = arguments.currency.as_ref().map(currency_of).transpose()?;
    let wanted = |currency: &Currency| only.is_none_or(|only| only == *currency);
    let mut budgets = agent.ledger().budgets(policy)?;
    budgets.retain(|budget| wanted(&budget.currency));
    let limits = policy.rules().currencies.iter().filter(|(currency, _)| wanted(currency));
    let limits: Vec<_> = limits
        .map(|(currency, limits)| {
            json!({
                "currency": currency,
                "per_transaction_minor": limits.per_transaction,
                "approval_above_minor": limits.approval_above,
            })
        })
        .collect();
    let left = budgets.iter().map(|budget| {
        let (rule, left) = (&budget.rule, budget.currency.format(budget.left_minor));
        let unclear = match budget.unresolved_minor {
            0 => String::new(),
            minor => format!(", {} may have been paid", budget.currency.format(minor)),
        };
        format!("{rule}: {left} of {} left{unclear}", budget.currency.format(budget.limit_minor))
    });
    let mut sentence = left.collect::<Vec<_>>().join("; ");
    if limits.is_empty() {
        sentence = "Nothing can be spent in this currency: the policy does not name it".to_owned();
    } else if sentence.is_empty() {
        sentence = "There is no budget: only limits for one payment".to_owned();
    }
    if !standing.is_confirmed() {
        sentence = format!(
            "Nothing can be spent until the person confirms the policy, which became looser; under it, this would hold: {sentence}"
        );
    }
    let output = json!({"budgets": budgets, "limits": limits, "frozen": standing.frozen});
    Ok(success(output, format!("{sentence}."), None))
}
