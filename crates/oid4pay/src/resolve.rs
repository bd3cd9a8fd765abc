//! What may have been paid: which purchases, what is known of them, and what the principal's audit chain says.

use std::time::Duration;

use jose::UnixSeconds;
use oid4ac_client::{
    Client, Error, FileStore, Granted, IdempotencyKey, MandateOutcome, PresentedTerms, PrincipalToken, Store as _,
    Undecided, WalletScope,
};
use spend_guard::{Filter, Intent, Ledger, LedgerError, Resolution, ResolutionVerdict, ResolvedBy, Revocation, State};

use crate::agents::Agent;
use crate::approvals::{self, time};
use crate::settings::Settings;
use crate::shown;

/// The purchases that may have been paid, newest first.
///
/// # Errors
///
/// If the ledger cannot be read.
pub fn open(ledger: &Ledger) -> Result<Vec<Intent>, LedgerError> {
    let mut open = Vec::new();
    for state in [State::Charging, State::Unknown, State::Unresolved, State::Failed] {
        for intent in ledger.every(Filter { state: Some(state), ..Filter::default() }) {
            open.extend(Some(intent?).filter(is_open));
        }
    }
    open.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
    Ok(open)
}

/// Whether it has to be said what became of it.
pub fn is_open(intent: &Intent) -> bool {
    intent.was_presented() && intent.may_have_been_paid()
}

/// What counts for it, as held back or as possibly spent.
pub fn counts_minor(intent: &Intent) -> u64 {
    intent.unresolved_minor.max(intent.held_back_minor())
}

/// What is known of it, line by line.
pub fn lines(intent: &Intent, now: UnixSeconds) -> Vec<(String, String)> {
    let line = |label: &str, value: String| (label.to_owned(), value);
    let mut lines = vec![
        line("Merchant", intent.merchant.clone()),
        line("Amount", approvals::amount(intent.amount_minor, intent.currency)),
    ];
    lines.extend(approvals::cap_line(intent));
    lines.extend(
        intent.line_items.iter().map(|item| line("Item", format!("{} × {}", item.qty, approvals::plain(&item.sku)))),
    );
    lines.push(line("State", intent.state.to_string()));
    lines.extend(intent.presented_at.map(|at| line("Presented", format!("{} ({} times)", time(at), intent.attempts))));
    if let Some(failure) = &intent.failure {
        let code = shown::failure_code(failure);
        lines.push(line("Why", format!("{} ({code})", shown::failure_message(failure))));
    }
    lines.push(line("Mandate", mandate(intent, now)));
    lines.push(line("Counts", format!("{} as possibly spent", intent.currency.format(counts_minor(intent)))));
    lines
}

/// Whether the merchant can still charge its mandate.
fn mandate(intent: &Intent, now: UnixSeconds) -> String {
    let until = intent.mandate.as_ref().map(|mandate| mandate.expires_at);
    match (&intent.revocation, until) {
        (Some(Revocation::Confirmed { at }), _) => format!("revoked at {}", time(*at)),
        (_, Some(until)) if until <= now => format!("expired at {}", time(until)),
        (Some(Revocation::Unconfirmed { .. }), Some(until)) => {
            format!("can be charged until {}; that it was revoked is not confirmed", time(until))
        }
        (_, Some(until)) => format!("can be charged until {}", time(until)),
        (_, None) => "not known".to_owned(),
    }
}

/// Who resolved it, and how, for a person.
pub fn resolution(resolution: &Resolution) -> String {
    let verdict = if resolution.paid { "paid" } else { "not paid" };
    let by = match &resolution.by {
        ResolvedBy::Person { name, reason } => {
            format!("by {}: {}", approvals::plain(name), oid4ac_client::clean(reason, MAX_REASON))
        }
        ResolvedBy::AuditChain { seq, .. } => format!("by entry {seq} of your audit chain"),
        _ => "by a newer version of this program".to_owned(),
    };
    format!("{verdict}, {by}, at {}", time(resolution.at))
}

/// Why the audit chain did not resolve a purchase.
#[derive(Debug, thiserror::Error)]
pub enum NotResolved {
    /// It is not allowed to be read.
    #[error("this agent may not read your audit chain: run `oid4pay-mcp login --scope audit:read` first")]
    NoSession,
    /// It does not decide.
    #[error("your audit chain does not decide it: {0}")]
    Undecided(Undecided),
    /// It could not be read.
    #[error("your audit chain cannot be read: {0}")]
    Unread(Error),
    /// It took too long.
    #[error("your audit chain cannot be read: it took more than {} seconds", .0.as_secs())]
    TooSlow(Duration),
    /// It would give back what the merchant can still take.
    #[error("it was paid, but its mandate allows more and can still be charged; run this again once that has ended")]
    MandateLives,
    /// The ledger has no mandate for it.
    #[error("the ledger has no mandate for it")]
    NoMandate,
    /// The ledger refused.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// What the audit chain says of a purchase, with the session that the person allowed. They are not asked for another one.
///
/// # Errors
///
/// - [`NotResolved`] where it decides nothing.
pub async fn ask_chain(
    client: &Client,
    intent: &Intent,
    time_limit: Duration,
) -> Result<(ResolutionVerdict, ResolvedBy), NotResolved> {
    let mandate = intent.mandate.as_ref().ok_or(NotResolved::NoMandate)?;
    let terms = PresentedTerms {
        mandate_id: mandate.mandate_id.clone(),
        merchant: intent.merchant.clone(),
        currency: intent.currency.code().to_owned(),
        cap_minor: mandate.cap_minor,
        expires_at: mandate.expires_at,
        issued_after: intent.created_at.saturating_sub(CLOCKS_APART_SECONDS),
    };
    let token = PrincipalToken::KeptSession;
    let asked = tokio::time::timeout(time_limit, client.mandate_outcome(&terms, &token)).await;
    let granted = asked.map_err(|_| NotResolved::TooSlow(time_limit))?.map_err(NotResolved::Unread)?;
    let Granted::Done(outcome) = granted else { return Err(NotResolved::NoSession) };
    match outcome {
        MandateOutcome::Paid { amount_minor, payment_intent_id, seq, entry_hash } => {
            let payment_intent_id = Some(payment_intent_id);
            let verdict = ResolutionVerdict::Paid { amount_minor: Some(amount_minor), payment_intent_id };
            Ok((verdict, ResolvedBy::AuditChain { seq, entry_hash }))
        }
        MandateOutcome::NotPaid { seq, entry_hash } => {
            Ok((ResolutionVerdict::NotPaid, ResolvedBy::AuditChain { seq, entry_hash }))
        }
        MandateOutcome::Undecided(why) => Err(NotResolved::Undecided(why)),
    }
}

/// Resolves a purchase by the audit chain.
///
/// # Errors
///
/// - [`NotResolved`] where the chain decides nothing, or the purchase cannot be resolved yet; it is as it was.
pub async fn by_chain(
    ledger: &Ledger,
    client: &Client,
    intent: &Intent,
    time_limit: Duration,
) -> Result<Intent, NotResolved> {
    let (verdict, by) = ask_chain(client, intent, time_limit).await?;
    let now = ledger.now()?;
    // Of what it says was not paid, the chain has the end too.
    if matches!(verdict, ResolutionVerdict::Paid { .. }) && intent.mandate_lives(now) {
        let intent = end_grant(ledger, client, intent.clone()).await;
        if gives_back_what_can_be_charged(&intent, &verdict, now) {
            return Err(NotResolved::MandateLives);
        }
    }
    Ok(ledger.resolve(&intent.id, &verdict, by)?)
}

/// Whether the budgets would get back, by this verdict, what the merchant can still take with the mandate.
pub fn gives_back_what_can_be_charged(intent: &Intent, verdict: &ResolutionVerdict, now: UnixSeconds) -> bool {
    let counts = match verdict {
        ResolutionVerdict::Paid { amount_minor, .. } => amount_minor.unwrap_or(intent.amount_minor),
        ResolutionVerdict::NotPaid => 0,
    };
    intent.mandate_lives(now) && counts < intent.at_stake_minor()
}

/// Resolves a purchase by the audit chain, where the person has allowed this agent to read it and it decides; else the
/// purchase stays as it is.
pub async fn by_chain_if_allowed(agent: &Agent, client: &Client, intent: Intent) -> Intent {
    if !is_open(&intent) || !may_read_chain(agent.settings(), &intent.issuer) || client.issuer() != intent.issuer {
        return intent;
    }
    by_chain(agent.ledger(), client, &intent, IN_A_CALL).await.unwrap_or_else(|why| {
        tracing::info!(intent = %intent.id, %why, "the audit chain did not resolve the purchase");
        intent
    })
}

/// Whether the person has allowed this agent to read their audit chain.
pub fn may_read_chain(settings: &Settings, issuer: &str) -> bool {
    let scopes = FileStore::for_issuer(&settings.data_dir, issuer).session_scopes().unwrap_or_default();
    scopes.iter().any(|scope| scope == WalletScope::AuditRead.as_str())
}

/// Ends the grant behind the mandate of a purchase that is given up, and records what came of it. The mandate could be
/// charged otherwise, although the purchase is not wanted any more.
pub async fn end_grant(ledger: &Ledger, client: &Client, intent: Intent) -> Intent {
    if intent.mandate.is_none() || matches!(intent.revocation, Some(Revocation::Confirmed { .. })) {
        return intent;
    }
    let Some(key) = IdempotencyKey::parse(&intent.idempotency_key) else { return intent };
    let confirmed = match tokio::time::timeout(REVOKING, client.revoke_grant(&key)).await {
        Ok(Ok(None)) => return intent,
        Ok(Ok(Some(confirmed))) => confirmed,
        Ok(Err(_)) | Err(_) => false,
    };
    ledger.grant_revoked(&intent.id, confirmed).unwrap_or_else(|error| {
        tracing::warn!(intent = %intent.id, %error, "that the grant was revoked could not be recorded");
        intent
    })
}

/// The same where the person gave it up, and no call is at it: without a registration that can revoke, the mandate ends by
/// itself.
pub async fn end_grant_for_person(settings: &Settings, ledger: &Ledger, intent: Intent) -> Intent {
    if intent.mandate.is_none() {
        return intent;
    }
    match Agent::for_person(settings.clone()).registered_client(&intent.issuer) {
        Ok(client) => end_grant(ledger, &client, intent).await,
        Err(_) => intent,
    }
}

/// Whether the grant behind the mandate was revoked, as data: nothing where that was not tried.
pub fn grant_revoked(intent: &Intent) -> Option<bool> {
    intent.revocation.as_ref().map(|revocation| matches!(revocation, Revocation::Confirmed { .. }))
}

/// What became of the mandate of a purchase that was given up unpaid, for a person; nothing where it held none.
pub fn grant_in_words(intent: &Intent) -> Option<String> {
    let mandate = intent.mandate.as_ref()?;
    Some(match grant_revoked(intent) {
        Some(true) => "Its mandate was revoked at the authorization server.".to_owned(),
        Some(false) => format!(
            "The authorization server did not confirm that its mandate was revoked. It was presented to no merchant, and ends \
             by itself at {}.",
            time(mandate.expires_at)
        ),
        None => {
            format!("Its mandate was presented to no merchant, and ends by itself at {}.", time(mandate.expires_at))
        }
    })
}

/// The longest reason that is kept.
pub const MAX_REASON: usize = 500;
/// How far the authorization server's clock may be from ours.
const CLOCKS_APART_SECONDS: UnixSeconds = 300;
/// How long a call waits for the audit chain, beside what it was asked.
const IN_A_CALL: Duration = Duration::from_secs(5);
/// How long a command or call waits for a revocation.
const REVOKING: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use spend_guard::{Begun, Currency, LineItem, Mandate, Purchase};

    use super::*;

    #[test]
    fn nothing_is_given_back_that_can_still_be_charged() {
        const NOW: UnixSeconds = 1_790_000_000;
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::new(dir.path().join("data"), Arc::new(|| NOW));
        let line = LineItem { sku: "sock".to_owned(), qty: 1, unit_price_minor: None };
        let (eur, key) = (Currency::parse("EUR").unwrap(), "k".repeat(32));
        let purchase =
            Purchase::payment("https://as.example", "https://shop.example", vec![line], 1299, eur, None, key);
        let Begun::New(mut claim) = ledger.begin(&purchase.unwrap(), None).unwrap() else { panic!("it is new") };
        let mandate = Mandate { mandate_id: "m".to_owned(), cap_minor: 6000, expires_at: NOW + 900 };
        claim.mandate_held(mandate, "jwt~", None).unwrap();
        claim.presenting("jwt~kb").unwrap();
        let paid = |amount_minor| ResolutionVerdict::Paid { amount_minor, payment_intent_id: None };
        let gives_back =
            |verdict: &ResolutionVerdict, now| gives_back_what_can_be_charged(claim.intent(), verdict, now);
        for (verdict, expected) in [
            (ResolutionVerdict::NotPaid, true),
            (paid(None), true),
            (paid(Some(5999)), true),
            (paid(Some(6000)), false),
        ] {
            assert_eq!(gives_back(&verdict, NOW), expected, "{verdict:?}");
            assert!(!gives_back(&verdict, NOW + 900), "it has expired");
        }
        claim.grant_revoked(false).unwrap();
        assert!(gives_back_what_can_be_charged(claim.intent(), &paid(None), NOW), "that is no end");
        claim.grant_revoked(true).unwrap();
        assert!(!gives_back_what_can_be_charged(claim.intent(), &ResolutionVerdict::NotPaid, NOW));
    }
}
