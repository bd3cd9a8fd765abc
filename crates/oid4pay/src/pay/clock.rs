//! The clock, before anything is put on record by it.

use spend_guard::{Policy, State, Verdict};

use super::call::Call;
use crate::refusal::Refusal;

/// Refuses where this machine's clock is ahead of the authorization server's: one reservation made at a time that has not come
/// yet would hold the whole ledger at it.
///
/// The server is asked only where it would be asked next anyway. What was paid before is answered without it, and what the
/// policy refuses is refused without it.
pub(super) async fn check(call: &Call<'_>, policy: &Policy) -> Result<(), Refusal> {
    let ledger = call.agent.ledger();
    let is_answered_here = match ledger.find(&call.purchase, Some(policy)) {
        Ok(intent) => intent.is_some_and(|intent| intent.state.is_final() || intent.state == State::AwaitingApproval),
        // What comes next reports it.
        Err(_) => true,
    };
    let goes_out =
        !is_answered_here && ledger.simulate(&call.purchase, policy).is_ok_and(|said| said.verdict != Verdict::Deny);
    if !goes_out {
        return Ok(());
    }
    Ok(call.client.compare_clocks().await?)
}
