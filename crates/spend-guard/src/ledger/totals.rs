//! Running totals: what was settled, reserved, begun and may have been paid, per currency and per kind of spending.

use jose::UnixSeconds;
use rusqlite::{OptionalExtension as _, Row, params};

use super::transaction::{Failed, Tx};
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
    unresolved_minor: i64,
}

impl Totals {
    fn less(&self, before: &Self) -> Self {
        Self {
            settled_minor: self.settled_minor - before.settled_minor,
            settled_count: self.settled_count - before.settled_count,
            begun_count: self.begun_count - before.begun_count,
            unresolved_minor: self.unresolved_minor - before.unresolved_minor,
        }
    }
}

impl Tx<'_> {
    /// Holds back what can be charged for the intent, and counts it as begun.
    pub(crate) fn reserve(&self, intent: &mut Intent) -> Result<(), Failed> {
        let at_stake_minor = intent.at_stake_minor();
        let at_stake = minor(at_stake_minor)?;
        self.change(intent, self.now, |series| {
            series.hold(at_stake)?;
            series.totals.begun_count = series.totals.begun_count.checked_add(1)?;
            Some(())
        })?;
        intent.reserved = true;
        intent.reserved_minor = (at_stake_minor != intent.amount_minor).then_some(at_stake_minor);
        Ok(())
    }

    /// Holds `held_minor` back in place of what is held back now.
    pub(crate) fn hold(&self, intent: &mut Intent, held_minor: u64) -> Result<(), Failed> {
        let before = intent.held_back_minor();
        if before != held_minor {
            let (before, after) = (minor(before)?, minor(held_minor)?);
            self.change(intent, self.now, |series| series.hold(after.checked_sub(before)?))?;
        }
        intent.reserved = held_minor > 0;
        intent.reserved_minor = (intent.reserved && held_minor != intent.amount_minor).then_some(held_minor);
        Ok(())
    }

    /// Gives a reservation back, where there is one.
    pub(crate) fn release(&self, intent: &mut Intent) -> Result<(), Failed> {
        self.hold(intent, 0)
    }

    /// Turns a reservation into money spent now. What is left of a mandate's cap stays held back while it can still be
    /// charged.
    pub(crate) fn spend(&self, intent: &mut Intent) -> Result<(), Failed> {
        self.hold(intent, intent.still_chargeable_minor(self.now, intent.amount_minor))?;
        self.settle_at(intent, self.now)
    }

    /// Counts the amount as spent at the second `at`.
    pub(crate) fn settle_at(&self, intent: &mut Intent, at: UnixSeconds) -> Result<(), Failed> {
        let amount = minor(intent.amount_minor)?;
        self.change(intent, at, |series| {
            series.totals.settled_minor = series.totals.settled_minor.checked_add(amount)?;
            series.totals.settled_count = series.totals.settled_count.checked_add(1)?;
            Some(())
        })?;
        intent.settled_at = Some(at);
        Ok(())
    }

    /// Counts `unresolved_minor` as what may have been spent when the mandate was presented, in place of what counts so now.
    pub(crate) fn count_unresolved(&self, intent: &mut Intent, unresolved_minor: u64) -> Result<(), Failed> {
        let change = minor(unresolved_minor)?.checked_sub(minor(intent.unresolved_minor)?);
        let change = change.ok_or(LedgerError::SumsExhausted)?;
        if change != 0 {
            let at = *intent.presented_at.get_or_insert(intent.updated_at);
            self.change(intent, at, |series| {
                series.totals.unresolved_minor = series.totals.unresolved_minor.checked_add(change)?;
                Some(())
            })?;
            intent.unresolved_minor = unresolved_minor;
        }
        Ok(())
    }

    /// Changes, as of the second `at`, the series of the whole currency, and the one of exactly this kind of spending.
    fn change(
        &self,
        intent: &Intent,
        at: UnixSeconds,
        change: impl Fn(&mut Series) -> Option<()>,
    ) -> Result<(), Failed> {
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
            let Totals { settled_minor, settled_count, begun_count, unresolved_minor } = totals;
            let newest_at = if totals == before.totals { before.newest_at } else { before.newest_at.max(at) };
            self.sql
                .prepare_cached(
                    "UPDATE series SET reserved_minor = ?2, settled_minor = ?3, settled_count = ?4, begun_count = ?5,
                     newest_at = ?6, unresolved_minor = ?7 WHERE id = ?1",
                )?
                .execute([
                    id,
                    reserved_minor,
                    settled_minor,
                    settled_count,
                    begun_count,
                    newest_at,
                    unresolved_minor,
                ])?;
            if totals != before.totals {
                self.change_totals(id, at, &totals.less(&before.totals))?;
            }
        }
        Ok(())
    }

    /// Adds `change` to how the series stood at the end of the second `at` and of every later one.
    fn change_totals(&self, series: i64, at: UnixSeconds, change: &Totals) -> Result<(), Failed> {
        let before = self.totals_before(series, at.saturating_add(1))?;
        let Totals { settled_minor, settled_count, begun_count, unresolved_minor } = before;
        self.sql
            .prepare_cached(
                "INSERT OR IGNORE INTO totals (series, at, settled_minor, settled_count, begun_count, unresolved_minor)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute([series, at, settled_minor, settled_count, begun_count, unresolved_minor])?;
        let Totals { settled_minor, settled_count, begun_count, unresolved_minor } = *change;
        self.sql
            .prepare_cached(
                "UPDATE totals SET settled_minor = settled_minor + ?3, settled_count = settled_count + ?4,
                 begun_count = begun_count + ?5, unresolved_minor = unresolved_minor + ?6 WHERE series = ?1 AND at >= ?2",
            )?
            .execute([series, at, settled_minor, settled_count, begun_count, unresolved_minor])?;
        Ok(())
    }

    fn series(&self, key: [&str; 5]) -> Result<Option<Series>, Failed> {
        Ok(self
            .sql
            .prepare_cached(
                "SELECT id, reserved_minor, settled_minor, settled_count, begun_count, newest_at, unresolved_minor FROM series
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
                "SELECT settled_minor, settled_count, begun_count, unresolved_minor FROM totals
                 WHERE series = ?1 AND at < ?2 ORDER BY at DESC LIMIT 1",
            )?
            .query_row([series, since], |row| {
                Ok(Totals {
                    settled_minor: row.get(0)?,
                    settled_count: row.get(1)?,
                    begun_count: row.get(2)?,
                    unresolved_minor: row.get(3)?,
                })
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
        let Totals { settled_minor, settled_count, begun_count, unresolved_minor } = series.totals;
        sum.settled_minor = sum.settled_minor.saturating_add(part(settled_minor, before.settled_minor)?);
        sum.settled_count = sum.settled_count.saturating_add(part(settled_count, before.settled_count)?);
        sum.begun_count = sum.begun_count.saturating_add(part(begun_count, before.begun_count)?);
        sum.unresolved_minor = sum.unresolved_minor.saturating_add(part(unresolved_minor, before.unresolved_minor)?);
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
            "SELECT id, reserved_minor, settled_minor, settled_count, begun_count, newest_at, unresolved_minor,
             merchant, category, mcc, agent FROM series WHERE currency = ?1 AND merchant <> '' AND merchant >= ?2 AND merchant < ?3",
        )?;
        for (first, last) in scope.merchant_ranges() {
            let mut rows = statement.query(params![currency.code(), first, last])?;
            while let Some(row) = rows.next()? {
                let text = |index| row.get_ref(index)?.as_str().map_err(rusqlite::Error::from);
                if scope.covers(text(7)?, text(8)?, text(9)?, text(10)?) {
                    self.add_window(&mut sum, &Series::read(row)?, since)?;
                }
            }
        }
        Ok(sum)
    }
}

impl Series {
    /// Holds back `change_minor` more. Settling must never fail, so the room for it is made sure of here.
    fn hold(&mut self, change_minor: i64) -> Option<()> {
        self.reserved_minor = self.reserved_minor.checked_add(change_minor)?;
        let spent = self.totals.settled_minor.checked_add(self.totals.unresolved_minor)?;
        spent.checked_add(self.reserved_minor).map(|_| ())
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let totals = Totals {
            settled_minor: row.get(2)?,
            settled_count: row.get(3)?,
            begun_count: row.get(4)?,
            unresolved_minor: row.get(6)?,
        };
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
