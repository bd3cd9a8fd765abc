//! Running totals: what was settled, reserved and begun, per currency and per kind of spending.

use jose::UnixSeconds;
use rusqlite::{OptionalExtension as _, params};

use super::store::{Failed, Tx};
use crate::error::LedgerError;
use crate::intent::Intent;
use crate::money::Currency;
use crate::policy::{Scope, Sum, Sums};

/// What one event adds to a series.
#[derive(Clone, Copy, Default)]
struct Addition {
    settled_minor: i64,
    settled_count: i64,
    begun_count: i64,
}

impl Tx<'_> {
    /// Holds the intent's amount back, and counts it as begun.
    pub(crate) fn reserve(&self, intent: &mut Intent) -> Result<(), Failed> {
        let amount = minor(intent.amount_minor)?;
        for series in self.series_of(intent)? {
            let (reserved, settled) = (self.reserved(series)?, self.latest(series)?.0);
            // Settling must never fail, so the room for it is made sure of here.
            settled.checked_add(reserved).and_then(|sum| sum.checked_add(amount)).ok_or(LedgerError::SumsExhausted)?;
            self.set_reserved(series, reserved + amount)?;
            self.add(series, Addition { begun_count: 1, ..Addition::default() })?;
        }
        intent.reserved = true;
        Ok(())
    }

    /// Gives a reservation back.
    pub(crate) fn release(&self, intent: &mut Intent) -> Result<(), Failed> {
        if !intent.reserved {
            return Ok(());
        }
        let amount = minor(intent.amount_minor)?;
        for series in self.series_of(intent)? {
            let reserved = self.reserved(series)?;
            let left = reserved.checked_sub(amount).filter(|left| *left >= 0);
            self.set_reserved(series, left.ok_or_else(|| self.corrupt("a reservation is missing from its sum"))?)?;
        }
        intent.reserved = false;
        Ok(())
    }

    /// Turns a reservation into money spent now.
    pub(crate) fn spend(&self, intent: &mut Intent) -> Result<(), Failed> {
        self.release(intent)?;
        let settled_minor = minor(intent.amount_minor)?;
        for series in self.series_of(intent)? {
            self.add(series, Addition { settled_minor, settled_count: 1, begun_count: 0 })?;
        }
        Ok(())
    }

    /// The series of the whole currency, and the one of exactly this kind of spending; made where they are missing.
    fn series_of(&self, intent: &Intent) -> Result<[i64; 2], Failed> {
        let [total, kind] = series_keys(intent);
        let series = |key: [&str; 5]| {
            if let Some(id) = self.find_series(key)? {
                return Ok(id);
            }
            self.sql
                .prepare_cached(
                    "INSERT INTO series (currency, merchant, category, mcc, agent) VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(key)?;
            Ok::<_, Failed>(self.sql.last_insert_rowid())
        };
        Ok([series(total)?, series(kind)?])
    }

    pub(super) fn find_series(&self, key: [&str; 5]) -> Result<Option<i64>, Failed> {
        Ok(self
            .sql
            .prepare_cached(
                "SELECT id FROM series WHERE currency = ?1 AND merchant = ?2 AND category = ?3 AND mcc = ?4 AND agent = ?5",
            )?
            .query_row(key, |row| row.get(0))
            .optional()?)
    }

    fn reserved(&self, series: i64) -> Result<i64, Failed> {
        Ok(self
            .sql
            .prepare_cached("SELECT reserved_minor FROM series WHERE id = ?1")?
            .query_row([series], |row| row.get(0))?)
    }

    fn set_reserved(&self, series: i64, minor: i64) -> Result<(), Failed> {
        self.sql.prepare_cached("UPDATE series SET reserved_minor = ?2 WHERE id = ?1")?.execute([series, minor])?;
        Ok(())
    }

    fn add(&self, series: i64, addition: Addition) -> Result<(), Failed> {
        let (settled_minor, settled_count, begun_count) = self.latest(series)?;
        let sum = |a: i64, b: i64| a.checked_add(b).ok_or(LedgerError::SumsExhausted);
        self.sql.prepare_cached("INSERT OR REPLACE INTO totals VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(params![
            series,
            self.now,
            sum(settled_minor, addition.settled_minor)?,
            sum(settled_count, addition.settled_count)?,
            sum(begun_count, addition.begun_count)?,
        ])?;
        Ok(())
    }

    fn latest(&self, series: i64) -> Result<(i64, i64, i64), Failed> {
        self.total_at(series, UnixSeconds::MAX)
    }

    /// The totals of a series up to and including the second `at`.
    fn total_at(&self, series: i64, at: UnixSeconds) -> Result<(i64, i64, i64), Failed> {
        Ok(self
            .sql
            .prepare_cached(
                "SELECT settled_minor, settled_count, begun_count FROM totals WHERE series = ?1 AND at <= ?2
                 ORDER BY at DESC LIMIT 1",
            )?
            .query_row([series, at], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?
            .unwrap_or_default())
    }

    /// The series that `scope` covers.
    fn matching(&self, currency: Currency, scope: &Scope) -> Result<Vec<i64>, Failed> {
        if scope.is_everything() {
            let total = self.find_series([currency.code(), "", "", "", ""])?;
            return Ok(total.into_iter().collect());
        }
        let mut statement = self.sql.prepare_cached(
            "SELECT id, merchant, category, mcc, agent FROM series WHERE currency = ?1 AND merchant <> ''",
        )?;
        let mut rows = statement.query([currency.code()])?;
        let mut matching = Vec::new();
        while let Some(row) = rows.next()? {
            let text = |index| row.get_ref(index)?.as_str().map_err(rusqlite::Error::from);
            if scope.covers(text(1)?, text(2)?, text(3)?, text(4)?) {
                matching.push(row.get(0)?);
            }
        }
        Ok(matching)
    }
}

impl Sums for Tx<'_> {
    type Error = Failed;

    fn now(&self) -> UnixSeconds {
        self.now
    }

    fn was_paid(&self, merchant: &str) -> Result<bool, Failed> {
        Ok(self
            .sql
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM series WHERE merchant = ?1 AND 0 <
                     (SELECT settled_count FROM totals WHERE series = id ORDER BY at DESC LIMIT 1))",
            )?
            .query_row([merchant], |row| row.get(0))?)
    }

    fn sum(&self, currency: Currency, scope: &Scope, since: UnixSeconds) -> Result<Sum, Failed> {
        let mut sum = Sum::default();
        for series in self.matching(currency, scope)? {
            let (newest, before) = (self.latest(series)?, self.total_at(series, since - 1)?);
            let part = |newest: i64, before: i64| {
                u64::try_from(newest - before).map_err(|_| self.corrupt("a running total went down"))
            };
            sum.settled_minor = sum.settled_minor.saturating_add(part(newest.0, before.0)?);
            sum.settled_count = sum.settled_count.saturating_add(part(newest.1, before.1)?);
            sum.begun_count = sum.begun_count.saturating_add(part(newest.2, before.2)?);
            sum.reserved_minor = sum.reserved_minor.saturating_add(part(self.reserved(series)?, 0)?);
        }
        Ok(sum)
    }
}

/// What an intent is counted by: its currency, and that with everything rules can name.
pub(super) fn series_keys(intent: &Intent) -> [[&str; 5]; 2] {
    let currency = intent.currency.code();
    [
        [currency, "", "", "", ""],
        [
            currency,
            &intent.merchant,
            intent.category.as_deref().unwrap_or_default(),
            intent.mcc.as_deref().unwrap_or_default(),
            intent.agent.as_deref().unwrap_or_default(),
        ],
    ]
}

fn minor(amount: u64) -> Result<i64, LedgerError> {
    i64::try_from(amount).map_err(|_| LedgerError::SumsExhausted)
}
