//! Running totals: what was settled, reserved and begun, per currency and per kind of spending.

use jose::UnixSeconds;
use rusqlite::{OptionalExtension as _, Row, params};

use super::store::{Failed, Tx};
use crate::error::LedgerError;
use crate::intent::Intent;
use crate::money::Currency;
use crate::policy::{Scope, Sum, Sums};

/// How a series stands.
#[derive(Clone, Copy)]
struct Series {
    id: i64,
    reserved_minor: i64,
    totals: Totals,
    /// When the totals last changed.
    newest_at: UnixSeconds,
}

/// What happened in a series from its beginning up to some second, that one included.
#[derive(Clone, Copy, Default, PartialEq)]
struct Totals {
    settled_minor: i64,
    settled_count: i64,
    begun_count: i64,
}

impl Tx<'_> {
    /// Holds the intent's amount back, and counts it as begun.
    pub(crate) fn reserve(&self, intent: &mut Intent) -> Result<(), Failed> {
        let amount = minor(intent.amount_minor)?;
        self.change(intent, |series| {
            series.reserved_minor = series.reserved_minor.checked_add(amount)?;
            series.totals.begun_count = series.totals.begun_count.checked_add(1)?;
            // Settling must never fail, so the room for it is made sure of here.
            series.totals.settled_minor.checked_add(series.reserved_minor).map(|_| ())
        })?;
        intent.reserved = true;
        Ok(())
    }

    /// Gives a reservation back, where there is one.
    pub(crate) fn release(&self, intent: &mut Intent) -> Result<(), Failed> {
        if intent.reserved {
            let amount = minor(intent.amount_minor)?;
            self.change(intent, |series| {
                series.reserved_minor = series.reserved_minor.checked_sub(amount)?;
                Some(())
            })?;
            intent.reserved = false;
        }
        Ok(())
    }

    /// Turns a reservation into money spent now.
    pub(crate) fn spend(&self, intent: &mut Intent) -> Result<(), Failed> {
        let amount = minor(intent.amount_minor)?;
        self.change(intent, |series| {
            series.reserved_minor = series.reserved_minor.checked_sub(amount)?;
            series.totals.settled_minor = series.totals.settled_minor.checked_add(amount)?;
            series.totals.settled_count = series.totals.settled_count.checked_add(1)?;
            Some(())
        })?;
        intent.reserved = false;
        Ok(())
    }

    /// Changes the series of the whole currency, and the one of exactly this kind of spending.
    fn change(&self, intent: &Intent, change: impl Fn(&mut Series) -> Option<()>) -> Result<(), Failed> {
        for key in series_keys(intent) {
            let before = match self.series(key)? {
                Some(series) => series,
                None => {
                    self.sql
                        .prepare_cached(
                            "INSERT INTO series (currency, merchant, category, mcc, agent) VALUES (?1, ?2, ?3, ?4, ?5)",
                        )?
                        .execute(key)?;
                    let id = self.sql.last_insert_rowid();
                    Series { id, reserved_minor: 0, totals: Totals::default(), newest_at: 0 }
                }
            };
            let mut after = before;
            change(&mut after).ok_or(LedgerError::SumsExhausted)?;
            let Series { id, reserved_minor, totals, .. } = after;
            if reserved_minor < 0 {
                return Err(self.corrupt("a reservation is missing from its sum"));
            }
            let Totals { settled_minor, settled_count, begun_count } = totals;
            let newest_at = if totals == before.totals { before.newest_at } else { self.now };
            self.sql
                .prepare_cached(
                    "UPDATE series SET reserved_minor = ?2, settled_minor = ?3, settled_count = ?4, begun_count = ?5,
                     newest_at = ?6 WHERE id = ?1",
                )?
                .execute([id, reserved_minor, settled_minor, settled_count, begun_count, newest_at])?;
            if totals != before.totals {
                self.sql.prepare_cached("INSERT OR REPLACE INTO totals VALUES (?1, ?2, ?3, ?4, ?5)")?.execute([
                    id,
                    self.now,
                    settled_minor,
                    settled_count,
                    begun_count,
                ])?;
            }
        }
        Ok(())
    }

    fn series(&self, key: [&str; 5]) -> Result<Option<Series>, Failed> {
        Ok(self
            .sql
            .prepare_cached(
                "SELECT id, reserved_minor, settled_minor, settled_count, begun_count, newest_at FROM series
                 WHERE currency = ?1 AND merchant = ?2 AND category = ?3 AND mcc = ?4 AND agent = ?5",
            )?
            .query_row(key, Series::read)
            .optional()?)
    }

    /// The number of a series.
    pub(super) fn series_id(&self, key: [&str; 5]) -> Result<Option<i64>, Failed> {
        Ok(self.series(key)?.map(|series| series.id))
    }

    /// The totals of a series before the second `since`.
    fn totals_before(&self, series: i64, since: UnixSeconds) -> Result<Totals, Failed> {
        Ok(self
            .sql
            .prepare_cached(
                "SELECT settled_minor, settled_count, begun_count FROM totals WHERE series = ?1 AND at < ?2
                 ORDER BY at DESC LIMIT 1",
            )?
            .query_row([series, since], |row| {
                Ok(Totals { settled_minor: row.get(0)?, settled_count: row.get(1)?, begun_count: row.get(2)? })
            })
            .optional()?
            .unwrap_or_default())
    }

    /// Adds to `sum` what `series` saw from the second `since` on.
    fn add_window(&self, sum: &mut Sum, series: &Series, since: UnixSeconds) -> Result<(), Failed> {
        let before = if series.newest_at < since { series.totals } else { self.totals_before(series.id, since)? };
        let part = |after: i64, before: i64| {
            u64::try_from(after - before).map_err(|_| self.corrupt("a running total went down"))
        };
        let Totals { settled_minor, settled_count, begun_count } = series.totals;
        sum.settled_minor = sum.settled_minor.saturating_add(part(settled_minor, before.settled_minor)?);
        sum.settled_count = sum.settled_count.saturating_add(part(settled_count, before.settled_count)?);
        sum.begun_count = sum.begun_count.saturating_add(part(begun_count, before.begun_count)?);
        sum.reserved_minor = sum.reserved_minor.saturating_add(part(series.reserved_minor, 0)?);
        Ok(())
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
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM series WHERE merchant = ?1 AND settled_count > 0)")?
            .query_row([merchant], |row| row.get(0))?)
    }

    fn sum(&self, currency: Currency, scope: &Scope, since: UnixSeconds) -> Result<Sum, Failed> {
        let mut sum = Sum::default();
        if scope.is_everything() {
            if let Some(series) = self.series([currency.code(), "", "", "", ""])? {
                self.add_window(&mut sum, &series, since)?;
            }
            return Ok(sum);
        }
        let mut statement = self.sql.prepare_cached(
            "SELECT id, reserved_minor, settled_minor, settled_count, begun_count, newest_at, merchant, category, mcc, agent
             FROM series WHERE currency = ?1 AND merchant <> '' AND merchant >= ?2 AND merchant < ?3",
        )?;
        for (first, last) in scope.merchant_ranges() {
            let mut rows = statement.query(params![currency.code(), first, last])?;
            while let Some(row) = rows.next()? {
                let text = |index| row.get_ref(index)?.as_str().map_err(rusqlite::Error::from);
                if scope.covers(text(6)?, text(7)?, text(8)?, text(9)?) {
                    self.add_window(&mut sum, &Series::read(row)?, since)?;
                }
            }
        }
        Ok(sum)
    }
}

impl Series {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let totals = Totals { settled_minor: row.get(2)?, settled_count: row.get(3)?, begun_count: row.get(4)? };
        Ok(Self { id: row.get(0)?, reserved_minor: row.get(1)?, totals, newest_at: row.get(5)? })
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
