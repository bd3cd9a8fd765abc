//! The item of a purchase, picked once and then fixed in its intent; and what becomes of one that is given up before.

use spend_guard::{Artefact, Begun, Claim, Intent, Policy, State};

use super::call::Call;
use super::cheapest::Cheapest;
use super::refused::denied;
use crate::person::Stopped;
use crate::refusal::{Code, Refusal, ledger_failed};

/// Fixes the item of the claimed intent, unless it has one.
pub(super) async fn pick(
    cheapest: &Cheapest,
    call: &Call<'_>,
    mut claim: Claim,
    policy: &Policy,
) -> Result<Claim, Refusal> {
    if !claim.intent().line_items.is_empty() {
        return Ok(claim);
    }
    let found = tokio::select! {
        biased;
        found = cheapest.find(call.client) => found,
        why = call.waiting.stop().wait() => {
            let intent = claim.intent().clone();
            drop(claim);
            return Err(why.refusal().about(&let_go(call, intent, why)));
        }
    };
    let picked = match found {
        Ok(picked) => picked,
        Err(refusal) => {
            if let Err(error) = claim.refused(refusal.code().as_str(), "no item was picked") {
                tracing::warn!(intent = %claim.intent().id, %error, "the intent could not be closed");
            }
            return Err(refusal.about(claim.intent()));
        }
    };
    let text = serde_json::to_string(&picked).map_err(|error| Refusal::new(Code::LedgerFailed, &error.to_string()))?;
    claim.keep_with_next_step(Artefact::Item, text);
    let price = picked.price_minor();
    let item = picked.item;
    let line = spend_guard::LineItem { sku: item.sku, qty: 1, unit_price_minor: Some(price) };
    match claim.item_picked(vec![line], price, item.category, Some(policy)) {
        Ok(Begun::New(claim)) => Ok(claim),
        Ok(Begun::Denied(denial)) => Err(denied(&denial)),
        Ok(_) => Err(Refusal::new(Code::LedgerFailed, "the ledger did not go on with the intent it had given out")),
        Err(error) => Err(ledger_failed(&error)),
    }
}

/// Cancels a purchase that the caller gave up, unless a person was already asked about it.
pub(super) fn let_go(call: &Call<'_>, intent: Intent, why: Stopped) -> Intent {
    let was_asked = intent.consent.is_some() || matches!(intent.state, State::Approved | State::Authorized);
    if why != Stopped::Cancelled || was_asked {
        return intent;
    }
    call.agent.ledger().cancel(&intent.id).unwrap_or_else(|error| {
        tracing::warn!(intent = %intent.id, %error, "the intent could not be called off");
        intent
    })
}
