//! Intents as rows: reading, writing, finding, and taking a step.

use jose::UnixSeconds;
use rusqlite::{Params, params};
use serde_json::{Value, json};

use super::artefact::Artefact;
use super::lock::Lock;
use super::transaction::{Failed, Tx};
use crate::error::LedgerError;
use crate::hash::hash;
use crate::intent::{Approval, ApprovalTerms, Failure, Intent, IntentId, Revocation, State, Step};
use crate::money::Currency;
use crate::policy::{Evaluation, Policy, Verdict};
use crate::purchase::{Purchase, PurchaseKind};

impl Tx<'_> {
    /// The intent that `purchase` would become.
    pub(crate) fn intent_of(&self, purchase: &Purchase, policy: Option<&Policy>) -> Intent {
        Intent {
            id: IntentId::new(self.now),
            identity: purchase.identity.clone(),
            kind: purchase.kind,
            state: State::Created,
            issuer: purchase.issuer.clone(),
            merchant: purchase.merchant.clone(),
            line_items: purchase.line_items.clone(),
            amount_minor: purchase.amount_minor,
            currency: purchase.currency,
            purchase_ref: purchase.purchase_ref.clone(),
            called_with: purchase.called_with.clone(),
            idempotency_key: purchase.idempotency_key.clone(),
            agent: purchase.agent.clone(),
            category: purchase.category.clone(),
            mcc: purchase.mcc.clone(),
            created_at: self.now,
            updated_at: self.now,
            expires_at: self.now + intent_seconds(policy),
            reserved: false,
            reserved_minor: None,
            unresolved_minor: 0,
            declaration: None,
            approval: Approval::NotNeeded,
            rejection_told: false,
            ticket: None,
            offer_verified: None,
            offer_digest: None,
            consent: None,
            mandate: purchase.mandate.clone(),
            attempts: 0,
            presented_at: None,
            revocation: None,
            resolution: None,
            settlement: None,
            failure: None,
            settled_at: None,
        }
    }

    /// The newest intent of the same identity, if it is open or a mandate was presented for it. A mandate that this ledger
    /// already holds is the same purchase, and is never presented under another key: the merchant would charge it again.
    pub(crate) fn repeated(&self, purchase: &Purchase) -> Result<Option<Intent>, Failed> {
        if let Some(mandate) = &purchase.mandate {
            let held = self.held(&purchase.issuer, &purchase.merchant, &mandate.mandate_id)?;
            let key_in_use = |intent: &Intent| intent.idempotency_key == purchase.idempotency_key;
            return match held {
                Some(intent) if key_in_use(&intent) => Ok(Some(intent)),
                Some(intent) => Err(LedgerError::OtherKey { id: intent.id }.into()),
                None => match self.by_key(&purchase.idempotency_key)? {
                    Some(intent) => Err(LedgerError::OtherKey { id: intent.id }.into()),
                    None => Ok(None),
                },
            };
        }
        self.one(&repeatable("identity = ?1"), [purchase.identity.as_str()])
    }

    /// The newest intent, open or presented, that holds this mandate. Two servers may give their mandates one name.
    pub(crate) fn held(&self, issuer: &str, merchant: &str, mandate_id: &str) -> Result<Option<Intent>, Failed> {
        let sql = repeatable("mandate_id = ?1 AND merchant = ?2 AND json_extract(body, '$.issuer') = ?3");
        self.one(&sql, [mandate_id, merchant, issuer])
    }

    /// The newest intent that was declared under `reference`.
    pub(crate) fn newest_declared(&self, reference: &str) -> Result<Option<Intent>, Failed> {
        self.one("SELECT body FROM intents WHERE declared = ?1 ORDER BY seq DESC LIMIT 1", [reference])
    }

    /// An intent, open or presented, with this idempotency key.
    fn by_key(&self, key: &str) -> Result<Option<Intent>, Failed> {
        self.one(&repeatable("idempotency_key = ?1"), [key])
    }

    /// The purchase's newest intent, if the human refused it and no call was told so yet: it is taken to be told now. A
    /// refused declaration counts for the purchase that it was about.
    pub(crate) fn untold_rejection(&self, purchase: &Purchase) -> Result<Option<Intent>, Failed> {
        let newest = "SELECT body FROM intents WHERE identity = ?1 ORDER BY seq DESC LIMIT 1";
        let mut found = self.one(newest, [purchase.identity.as_str()])?.filter(Intent::is_untold_rejection);
        if let (None, PurchaseKind::Payment, Some(reference)) = (&found, purchase.kind, &purchase.purchase_ref) {
            found = self.newest_declared(reference)?.filter(|intent| {
                let is_unused = intent.declaration.as_ref().is_some_and(|declaration| !declaration.used);
                is_unused && intent.is_untold_rejection() && intent.departs_from_declaration(purchase).is_none()
            });
        }
        if let Some(intent) = &mut found {
            self.tell_rejection(intent)?;
        }
        Ok(found)
    }

    /// Records that a call reported the rejection.
    pub(crate) fn tell_rejection(&self, intent: &mut Intent) -> Result<(), Failed> {
        intent.rejection_told = true;
        self.write_row(intent, "rejection_told", json!({"state": intent.state}))
    }

    /// Whether `purchase` is answered by this intent, which is over, instead of made again.
    pub(crate) fn is_answered_again(
        &self,
        intent: &Intent,
        purchase: Option<&Purchase>,
        policy: Option<&Policy>,
    ) -> bool {
        // The presentation of one mandate under one key is one payment for ever.
        let is_presentation = purchase.is_some_and(|purchase| purchase.kind == PurchaseKind::Verify);
        let can_be_charged = intent.state != State::Settled && intent.was_presented() && intent.mandate_lives(self.now);
        is_presentation || can_be_charged || self.is_replayed(intent, policy)
    }

    /// Whether an intent that is over ended lately.
    pub(crate) fn is_replayed(&self, intent: &Intent, policy: Option<&Policy>) -> bool {
        let replay_seconds = policy.map_or(DEFAULT_REPLAY_SECONDS, |policy| policy.rules().replay_seconds);
        // A resolution is newer than the payment that it is about.
        let ended_at = intent.settled_at.unwrap_or(intent.updated_at).max(intent.updated_at);
        self.now.saturating_sub(ended_at) <= i64::from(replay_seconds)
    }

    /// Ends what has had its time, unless it is being driven: what was never presented expires, what was presented and never
    /// answered may have been paid, and what is left of a settled mandate's cap is given back. A few at a time: the rest
    /// holds its reservation a little longer, which errs on the safe side.
    pub(crate) fn expire_others(&self, but: Option<&IntentId>, retired: &mut Vec<Lock>) -> Result<(), Failed> {
        let mut statement =
            self.sql.prepare_cached("SELECT body FROM intents WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2")?;
        let mut rows = statement.query([self.now, EXPIRED_AT_ONCE])?;
        let mut expired = Vec::new();
        while let Some(row) = rows.next()? {
            expired.push(self.parse(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)?);
        }
        for mut intent in expired {
            if but != Some(&intent.id)
                && let Some(lock) = Lock::take(self.dir, &intent.id)?
            {
                if intent.state.is_in_flight() {
                    self.step(&mut intent, Step::GiveUp, Value::Null)?;
                } else if intent.state.is_final() {
                    self.release(&mut intent)?;
                    self.write_row(&intent, "cap_released", json!({"state": intent.state}))?;
                } else {
                    self.step(&mut intent, Step::Expire, Value::Null)?;
                }
                retired.push(lock);
            }
        }
        Ok(())
    }

    /// The intent `id`.
    pub(crate) fn load(&self, id: &IntentId) -> Result<Intent, Failed> {
        self.one("SELECT body FROM intents WHERE id = ?1", [id.as_str()])?
            .ok_or_else(|| LedgerError::NoSuchIntent(id.clone()).into())
    }

    /// The intent that `query` selects.
    pub(crate) fn one(&self, query: &str, params: impl Params) -> Result<Option<Intent>, Failed> {
        let mut statement = self.sql.prepare_cached(query)?;
        let mut rows = statement.query(params)?;
        rows.next()?.map(|row| self.parse(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)).transpose()
    }

    pub(crate) fn parse(&self, body: &str) -> Result<Intent, Failed> {
        serde_json::from_str(body).map_err(|error| self.corrupt(format!("an intent cannot be read: {error}")))
    }

    /// Stores a new intent and what the policy said about it.
    pub(crate) fn insert(&self, intent: &Intent, event: &str, evaluation: &Evaluation) -> Result<(), Failed> {
        self.write_row(intent, event, json!({"state": intent.state, "findings": evaluation.findings}))?;
        self.alert(&intent.id, evaluation)
    }

    /// Moves `intent` on by `step`, with what that means for its reservation, and stores it.
    pub(crate) fn step(&self, intent: &mut Intent, step: Step, detail: Value) -> Result<(), Failed> {
        let from = intent.state;
        let Some(state) = from.after(step) else {
            return Err(LedgerError::IllegalStep { id: intent.id.clone(), from, step }.into());
        };
        intent.state = state;
        match (state, step) {
            // Counted where the resolution says, by the caller.
            (_, Step::ResolvePaid | Step::ResolveNotPaid) => {}
            (State::Settled, _) => self.spend(intent)?,
            // No word of the merchant's gives back what it was enabled to take.
            (State::Failed | State::Unresolved, _) if intent.was_presented() => {
                self.release(intent)?;
                self.count_unresolved(intent, intent.at_stake_minor())?;
            }
            _ if state.is_final() => self.release(intent)?,
            _ => {}
        }
        intent.updated_at = self.now;
        let mut entry = json!({"from": from, "state": state});
        if let (Value::Object(entry), Value::Object(detail)) = (&mut entry, detail) {
            entry.extend(detail);
        }
        self.write_row(intent, step.as_str(), entry)
    }

    /// Records what came of revoking the grant behind the mandate of `id`.
    pub(crate) fn grant_revoked(&self, id: &IntentId, confirmed: bool) -> Result<Intent, Failed> {
        let mut intent = self.load(id)?;
        // What was confirmed once stays so.
        if matches!(intent.revocation, Some(Revocation::Confirmed { .. })) {
            return Ok(intent);
        }
        intent.revocation = Some(match confirmed {
            true => Revocation::Confirmed { at: self.now },
            false => Revocation::Unconfirmed { at: self.now },
        });
        if confirmed && intent.state.is_final() {
            self.release(&mut intent)?;
        }
        self.write_row(&intent, "grant_revoked", json!({"state": intent.state, "confirmed": confirmed}))?;
        Ok(intent)
    }

    /// Brings an intent that is gone on with up to date with purchase and policy, and stores it if that changed it.
    pub(crate) fn refresh(
        &self,
        before: &Intent,
        intent: &mut Intent,
        evaluation: &Evaluation,
        policy: Option<&Policy>,
    ) -> Result<(), Failed> {
        if intent.state == State::Created && intent.approval == Approval::NotNeeded {
            intent.approval = evaluation.approval();
        }
        if !intent.reserved && !intent.line_items.is_empty() {
            self.reserve(intent)?;
            self.alert(&intent.id, evaluation)?;
        }
        // What the policy was asked about just now.
        if intent.reserved && intent.mandate.is_some() && !intent.state.is_in_flight() {
            self.hold(intent, intent.at_stake_minor())?;
        }
        if !intent.state.is_in_flight() && intent.expires_at <= self.now {
            intent.expires_at = self.now + intent_seconds(policy);
        }
        if intent.declaration != before.declaration {
            self.step(intent, Step::DeclarationUsed, Value::Null)?;
        } else if intent != before {
            intent.updated_at = self.now;
            self.write_row(intent, "resume", json!({"state": intent.state, "findings": evaluation.findings}))?;
        }
        Ok(())
    }

    /// Keeps `content` with the intent, and its hash in the journal.
    pub(crate) fn attach(&self, id: &IntentId, kind: Artefact, content: &str) -> Result<(), Failed> {
        self.sql
            .prepare_cached("INSERT INTO artefacts (intent_id, name, at, content) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![id.as_str(), kind.as_str(), self.now, content])?;
        let detail =
            json!({"artefact": self.sql.last_insert_rowid(), "name": kind.as_str(), "hash": hash(content.as_bytes())});
        self.append("artefact", Some((id, None)), detail)
    }

    pub(crate) fn write_row(&self, intent: &Intent, event: &str, detail: Value) -> Result<(), Failed> {
        let body = serde_json::to_string(intent).map_err(|error| self.corrupt(error.to_string()))?;
        self.sql
            .prepare_cached(
                "INSERT INTO intents (id, identity, state, open, merchant, declared, mandate_id, idempotency_key, expires_at, body)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
                 ON CONFLICT (id) DO UPDATE SET identity = ?2, state = ?3, open = ?4, merchant = ?5, declared = ?6,
                    mandate_id = ?7, idempotency_key = ?8, expires_at = ?9, body = ?10",
            )?
            .execute(params![
                intent.id.as_str(),
                intent.identity.as_str(),
                intent.state.as_str(),
                !intent.state.is_final(),
                intent.merchant,
                intent.declaration.as_ref().map(|declaration| &declaration.reference),
                intent.mandate.as_ref().map(|mandate| &mandate.mandate_id),
                intent.idempotency_key,
                intent.lapses_at(),
                body,
            ])?;
        self.append(event, Some((&intent.id, Some(&body))), detail)
    }
}

impl Intent {
    /// Asks the human about it, until `expires_at`, or as long as a declaration stands.
    pub(crate) fn ask(&mut self, shown: Vec<(String, String)>, mut expires_at: UnixSeconds) {
        let mut amount_minor = self.at_stake_minor();
        match &self.declaration {
            Some(declaration) if !declaration.used => {
                amount_minor = amount_minor.saturating_add(declaration.tolerance_minor);
                expires_at = expires_at.min(self.expires_at);
            }
            _ => self.expires_at = self.expires_at.max(expires_at),
        }
        let (merchant, currency) = (self.merchant.clone(), self.currency);
        self.approval =
            Approval::Requested { terms: ApprovalTerms { merchant, amount_minor, currency, shown, expires_at } };
    }

    /// Whether a human was asked, or answered, too long ago for the answer to be used.
    pub(crate) fn answer_is_late(&self, now: UnixSeconds) -> bool {
        let declared = self.declaration.as_ref().is_some_and(|declaration| !declaration.used);
        match (&self.approval, self.state) {
            (Approval::Requested { terms }, State::AwaitingApproval) => terms.expires_at <= now,
            (Approval::Given { terms, used: false, .. }, State::Approved | State::Authorized) => {
                terms.expires_at <= now
            }
            _ => declared && self.expires_at <= now,
        }
    }

    /// Whether the human refused it and no call was told so yet.
    pub(crate) fn is_untold_rejection(&self) -> bool {
        self.state == State::Rejected && !self.rejection_told
    }

    /// Turns a declared intent into the purchase that was declared.
    pub(crate) fn adopt(&mut self, purchase: &Purchase) -> Result<(), LedgerError> {
        if let Some(what) = self.departs_from_declaration(purchase) {
            return Err(LedgerError::DeclarationMismatch { id: self.id.clone(), what });
        }
        let Some(declaration) = &mut self.declaration else { return Ok(()) };
        if let Approval::Given { terms, .. } = &self.approval {
            covers(&self.id, terms, &purchase.merchant, purchase.currency, purchase.amount_minor)?;
        }
        declaration.used = true;
        self.identity = purchase.identity.clone();
        self.line_items.clone_from(&purchase.line_items);
        self.amount_minor = purchase.amount_minor;
        self.purchase_ref.clone_from(&purchase.purchase_ref);
        self.called_with.clone_from(&purchase.called_with);
        self.idempotency_key.clone_from(&purchase.idempotency_key);
        self.agent.clone_from(&purchase.agent);
        self.category.clone_from(&purchase.category);
        self.mcc.clone_from(&purchase.mcc);
        Ok(())
    }

    /// Uses the approval for this much, where one is needed: once, in time, and for what it was given.
    pub(crate) fn use_approval_for(&mut self, now: UnixSeconds, minor: u64) -> Result<(), LedgerError> {
        match &mut self.approval {
            Approval::NotNeeded => Ok(()),
            Approval::Given { terms, used, .. } => {
                if !*used && terms.expires_at <= now {
                    return Err(LedgerError::ApprovalExpired(self.id.clone()));
                }
                covers(&self.id, terms, &self.merchant, self.currency, minor)?;
                *used = true;
                Ok(())
            }
            Approval::Needed { .. } | Approval::Requested { .. } | Approval::Refused { .. } => {
                Err(LedgerError::ApprovalMissing(self.id.clone()))
            }
        }
    }
}

/// The query for the newest intent under `condition` that a purchase may repeat: one that is open, settled or was presented.
pub(crate) fn repeatable(condition: &str) -> String {
    format!(
        "SELECT body FROM intents WHERE {condition} \
         AND (open = 1 OR state = 'settled' OR json_extract(body, '$.attempts') > 0) ORDER BY seq DESC LIMIT 1"
    )
}

/// Whether `terms` allow this payment: the same merchant and currency, and no more money.
pub(crate) fn covers(
    id: &IntentId,
    terms: &ApprovalTerms,
    merchant: &str,
    currency: Currency,
    amount_minor: u64,
) -> Result<(), LedgerError> {
    let what = if terms.merchant != merchant {
        "merchant"
    } else if terms.currency != currency {
        "currency"
    } else if terms.amount_minor < amount_minor {
        "amount"
    } else {
        return Ok(());
    };
    Err(LedgerError::ApprovalMismatch { id: id.clone(), what })
}

impl Evaluation {
    /// The first rule that denies, as the reason of a failed intent.
    pub(crate) fn failure(&self) -> Option<Failure> {
        let finding = self.findings.iter().find(|finding| finding.verdict == Verdict::Deny)?;
        Some(Failure { code: finding.code.clone(), message: finding.message.clone(), status: None })
    }

    /// Whether a human must be asked, and why.
    pub(crate) fn approval(&self) -> Approval {
        if self.verdict != Verdict::Approve {
            return Approval::NotNeeded;
        }
        let wants = self.findings.iter().filter(|finding| finding.verdict == Verdict::Approve);
        Approval::Needed { reasons: wants.map(|finding| finding.rule.clone()).collect() }
    }
}

fn intent_seconds(policy: Option<&Policy>) -> i64 {
    policy.map_or(DEFAULT_INTENT_SECONDS, |policy| policy.rules().intent_seconds).into()
}

const EXPIRED_AT_ONCE: i64 = 16;
const DEFAULT_REPLAY_SECONDS: u32 = 24 * 3600;
const DEFAULT_INTENT_SECONDS: u32 = 3600;
