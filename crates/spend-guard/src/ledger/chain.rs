//! The journal: every change as one entry of a hash chain.

use jose::UnixSeconds;
use rusqlite::{OptionalExtension as _, params};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::head::Head;
use super::transaction::{Failed, Tx};
use crate::error::LedgerError;
use crate::hash::hash;
use crate::intent::IntentId;

/// One entry. `entry_hash` = base64url(SHA-256(JCS(entry without `entry_hash`))), and `prev_hash` is the `entry_hash` of the
/// entry before, for the first one base64url of 32 zero octets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Entry {
    /// The version of the format, 1.
    pub v: u32,
    /// 1, 2, 3, … without a gap.
    pub seq: u64,
    /// The hash of the entry before.
    pub prev_hash: String,
    /// When, in UNIX seconds; never less than in the entry before, unless this is a `time_reset`.
    pub at: UnixSeconds,
    /// What happened: `begin`, a step's name, `artefact`, `alert`, `policy`, `freeze`, `unfreeze`, `accept`, `time_reset`.
    pub event: String,
    /// To which intent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent_id: Option<IntentId>,
    /// base64url(SHA-256) of the intent as stored after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent_hash: Option<String>,
    /// What else belongs to it.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub detail: Value,
}

impl Entry {
    /// Its `entry_hash`, computed from what it says.
    #[must_use]
    pub fn hash(&self) -> String {
        // Strings and integers below 2^53: writing them cannot fail, and the hash of nothing is no entry's.
        hash(&serde_json_canonicalizer::to_vec(self).unwrap_or_default())
    }
}

impl Tx<'_> {
    /// Appends an entry.
    pub(crate) fn append(
        &self,
        event: &str,
        intent: Option<(&IntentId, Option<&str>)>,
        detail: Value,
    ) -> Result<(), Failed> {
        let head = self.head()?;
        let entry = Entry {
            v: 1,
            seq: head.seq + 1,
            prev_hash: head.entry_hash,
            at: self.now,
            event: event.to_owned(),
            intent_id: intent.map(|(id, _)| id.clone()),
            intent_hash: intent.and_then(|(_, body)| body).map(|body| hash(body.as_bytes())),
            detail,
        };
        let text = serde_json_canonicalizer::to_string(&entry).map_err(|error| self.corrupt(error.to_string()))?;
        let entry_hash = hash(text.as_bytes());
        self.sql
            .prepare_cached(
                "INSERT INTO journal (seq, at, event, intent_id, entry, entry_hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                entry.seq as i64,
                entry.at,
                entry.event,
                entry.intent_id.as_ref().map(IntentId::as_str),
                text,
                entry_hash
            ])?;
        *self.appended.borrow_mut() = Some(Head { seq: entry.seq, entry_hash });
        Ok(())
    }

    /// Whether the chain contains `head`.
    pub(crate) fn leads_through(&self, head: &Head) -> Result<bool, Failed> {
        if *head == Head::start() {
            return Ok(true);
        }
        let found: Option<String> = self
            .sql
            .prepare_cached("SELECT entry_hash FROM journal WHERE seq = ?1")?
            .query_row([i64::try_from(head.seq).unwrap_or(i64::MAX)], |row| row.get(0))
            .optional()?;
        Ok(found.as_ref() == Some(&head.entry_hash))
    }

    /// Refuses a ledger that does not contain the kept head.
    pub(crate) fn check_leads_through(&self, kept: &Head) -> Result<(), Failed> {
        if self.leads_through(kept)? {
            return Ok(());
        }
        Err(LedgerError::RolledBack { path: self.file(), kept: kept.seq, found: self.head()?.seq }.into())
    }

    /// The end of the chain.
    pub(crate) fn head(&self) -> Result<Head, Failed> {
        let newest: Option<(i64, String)> = self
            .sql
            .prepare_cached("SELECT seq, entry_hash FROM journal ORDER BY seq DESC LIMIT 1")?
            .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        match newest {
            None => Ok(Head::start()),
            Some((seq, entry_hash)) => {
                let seq = u64::try_from(seq).map_err(|_| self.corrupt("the journal has a negative number"))?;
                Ok(Head { seq, entry_hash })
            }
        }
    }

    /// The newest entry of one of `events`, which belong to no intent.
    pub(crate) fn newest(&self, events: [&str; 2]) -> Result<Option<Entry>, Failed> {
        let text: Option<String> = self
            .sql
            .prepare_cached(
                "SELECT entry FROM journal WHERE event IN (?1, ?2) AND intent_id IS NULL ORDER BY seq DESC LIMIT 1",
            )?
            .query_row(events, |row| row.get(0))
            .optional()?;
        text.map(|text| serde_json::from_str(&text).map_err(|error| self.corrupt(error.to_string()))).transpose()
    }
}

/// The events that store a new intent.
pub(crate) const BEGIN: &str = "begin";
pub(crate) const DENIED: &str = "denied";
pub(crate) const DECLARE: &str = "declare";
/// A person has brought the ledger's time back.
pub(crate) const TIME_RESET: &str = "time_reset";
