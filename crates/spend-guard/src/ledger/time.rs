//! The ledger's time, and bringing back one that ran ahead; accepting a ledger that is older than it was.

use jose::UnixSeconds;
use serde::Serialize;
use serde_json::{Value, json};

use super::Ledger;
use super::chain::TIME_RESET;
use super::head::Head;
use super::transaction::{Failed, Tx};
use crate::error::LedgerError;
use crate::intent::{Approval, Intent};

/// What [`Ledger::reset_time`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TimeReset {
    /// The ledger's time before.
    pub from: UnixSeconds,
    /// Its time now, the clock's.
    pub to: UnixSeconds,
    /// How many intents had times that had not come yet.
    pub intents: usize,
}

impl Ledger {
    /// The ledger's time: the clock's, but never before its newest entry.
    ///
    /// # Errors
    ///
    /// - Any of the errors of opening and reading the file.
    pub fn now(&self) -> Result<UnixSeconds, LedgerError> {
        self.store.read(|tx| Ok(tx.now))
    }

    /// By how many seconds the ledger's newest entry is ahead of the clock; 0 if it is not.
    ///
    /// # Errors
    ///
    /// - Any of the errors of opening and reading the file.
    pub fn ahead_of_clock(&self) -> Result<i64, LedgerError> {
        self.store.read(|tx| Ok(tx.now.saturating_sub(self.store.clock.now()).max(0)))
    }

    /// Brings the ledger's time back to the clock's. The caller has made sure that the human wants it, and that the clock is
    /// right. `None` if the ledger is not ahead of it.
    ///
    /// What was counted at a time that has not come yet counts as of now: it stays in every window for that window's full
    /// length, as if it had just happened, so no window lets go of anything early. Deadlines keep the time that they had
    /// left, and what was settled is answered again for its full time.
    ///
    /// # Errors
    ///
    /// - Any of the errors of opening and writing the file.
    pub fn reset_time(&self) -> Result<Option<TimeReset>, LedgerError> {
        self.store.write_at_clock(|tx| {
            let Some(from) = tx.newest.filter(|newest| *newest > tx.now) else { return Ok(None) };
            tx.append(TIME_RESET, None, json!({"from": from}))?;
            let intents = tx.bring_intents_back()?;
            tx.bring_totals_back()?;
            Ok(Some(TimeReset { from, to: tx.now, intents }))
        })
    }

    /// The newest head that was kept outside the ledger, and whether the ledger leads through it. `None` where none is kept.
    ///
    /// # Errors
    ///
    /// - [`LedgerError::HeadUnusable`] if it cannot be read.
    /// - Any of the errors of opening and reading the file.
    pub fn kept_head(&self) -> Result<Option<(Head, bool)>, LedgerError> {
        // Read before the ledger, which has moved on meanwhile if anything.
        let Some(kept) = self.store.kept()? else { return Ok(None) };
        let leads_through = self.store.read(|tx| tx.leads_through(&kept))?;
        Ok(Some((kept, leads_through)))
    }

    /// Takes the ledger as it is, although it is not the one that was written last: payments can be made again. The caller
    /// has made sure that the human wants it, and knows that what is missing may be paid again.
    ///
    /// # Errors
    ///
    /// - Any of the errors of opening and writing the file, and of writing the kept head.
    pub fn accept(&self) -> Result<(), LedgerError> {
        let kept = match self.store.kept() {
            Err(LedgerError::HeadUnusable { .. }) => Value::Null,
            kept => json!(kept?),
        };
        let head = self.store.write_whatever_head(|tx| {
            tx.append(ACCEPT, None, json!({"kept": kept, "found": tx.head()?}))?;
            tx.head()
        })?;
        self.store.keep_instead(&head)
    }
}

impl Tx<'_> {
    /// Rewrites every intent that was changed at a time that has not come yet.
    fn bring_intents_back(&self) -> Result<usize, Failed> {
        let mut statement =
            self.sql.prepare("SELECT body FROM intents WHERE json_extract(body, '$.updated_at') > ?1 ORDER BY seq")?;
        let mut rows = statement.query([self.now])?;
        let mut intents = Vec::new();
        while let Some(row) = rows.next()? {
            intents.push(self.parse(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)?);
        }
        for intent in &mut intents {
            intent.bring_back(self.now);
            self.write_row(intent, TIME_RESET, json!({"state": intent.state}))?;
        }
        Ok(intents.len())
    }

    /// Lets what happened at a time that has not come yet have happened now. The newest standing of a series has everything
    /// in it, so it takes the place of those in between.
    fn bring_totals_back(&self) -> Result<(), Failed> {
        let now = [self.now];
        self.sql.execute(
            "DELETE FROM totals WHERE at >= ?1 AND at < (SELECT newest_at FROM series WHERE series.id = totals.series)",
            now,
        )?;
        self.sql.execute("UPDATE totals SET at = ?1 WHERE at > ?1", now)?;
        self.sql.execute("UPDATE series SET newest_at = ?1 WHERE newest_at > ?1", now)?;
        Ok(())
    }
}

impl Intent {
    /// Moves times that have not come yet to `now`, and deadlines by as much as the last change was early.
    fn bring_back(&mut self, now: UnixSeconds) {
        let early = self.updated_at.saturating_sub(now);
        let deadline = |at: UnixSeconds| at.saturating_sub(early);
        self.created_at = self.created_at.min(now);
        self.updated_at = self.updated_at.min(now);
        self.settled_at = self.settled_at.map(|at| at.min(now));
        self.presented_at = self.presented_at.map(|at| at.min(now));
        self.expires_at = deadline(self.expires_at);
        if let Some(consent) = &mut self.consent {
            consent.expires_at = deadline(consent.expires_at);
        }
        match &mut self.approval {
            Approval::Requested { terms } => terms.expires_at = deadline(terms.expires_at),
            Approval::Given { terms, at, .. } => {
                terms.expires_at = deadline(terms.expires_at);
                *at = now.min(*at);
            }
            Approval::Refused { at } => *at = now.min(*at),
            Approval::NotNeeded | Approval::Needed { .. } => {}
        }
    }
}

/// A person has accepted the ledger as it is.
const ACCEPT: &str = "accept";
