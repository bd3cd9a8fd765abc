//! Proving the ledger whole: the chain, and that what it says is what the tables say.

use std::collections::{BTreeMap, HashMap};

use jose::UnixSeconds;
use rusqlite::{OptionalExtension as _, params};
use serde::Serialize;

use super::chain::{self, Entry};
use super::head::Head;
use super::totals::series_keys;
use super::transaction::{Failed, Tx};
use super::{Artefact, Ledger};
use crate::error::LedgerError;
use crate::hash::hash;
use crate::intent::{Intent, IntentId, Step};
use crate::purchase::PurchaseKind;

/// A ledger that was found whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Proof {
    /// How many intents were compared with the journal.
    pub intents: u64,
    /// How many artefacts were.
    pub artefacts: u64,
    /// Where the chain ends. Kept elsewhere, it lets a later check find that entries were cut off or all rewritten.
    pub head: Head,
}

/// The first thing found that no version of this program writes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Broken {
    /// Entries are missing, or moved.
    #[error("journal entry {expected} is missing: {found} comes in its place")]
    Gap {
        /// The number that should come next.
        expected: u64,
        /// The one that does.
        found: i64,
    },
    /// An entry was changed.
    #[error("journal entry {seq} was changed: {what}")]
    Entry {
        /// Its number.
        seq: u64,
        /// What does not fit: `hash`, `link`, `time`, `column`, `form`.
        what: &'static str,
    },
    /// The chain does not contain the head that was kept.
    #[error("the journal does not lead through entry {seq} as it was kept: it was cut off or rewritten")]
    Head {
        /// The number of the kept head.
        seq: u64,
    },
    /// An intent is not what the journal says of it.
    #[error("intent {0} is not what the journal says")]
    Intent(String),
    /// An artefact is not what the journal says of it.
    #[error("an artefact of intent {0} is missing, was added or was changed")]
    Artefact(String),
    /// The running totals are not the sums of the intents.
    #[error("the sums of series {series} are not those of the intents: {what}")]
    Totals {
        /// The number of the series.
        series: i64,
        /// `row`, `reserved_minor`, `settled_minor`, `settled_count`, `unresolved_minor`, `begun_count`, `newest_at`, `totals`.
        what: &'static str,
    },
    /// The schema is not the one that this program makes.
    #[error("the schema is not the one this program makes: {0}")]
    Schema(String),
    /// SQLite finds the file itself inconsistent: an index that misses rows, say.
    #[error("the database is inconsistent in itself: {0}")]
    Database(String),
}

impl Ledger {
    /// Proves the ledger whole: its schema, every entry's hash and link, every intent and artefact against its last entry, and
    /// every sum and count against intents and journal.
    ///
    /// `kept` is the head of an earlier proof, where the caller has one; the one kept outside the ledger
    /// ([`Ledger::with_head_in`]) is looked for in any case. Without either, a program that can write the file can cut off the
    /// end, or write everything again, and leave a chain that is whole in itself.
    ///
    /// # Errors
    ///
    /// - The inner [`Broken`] if something does not fit.
    /// - Any of the errors of opening and reading the file.
    pub fn verify(&self, kept: Option<&Head>) -> Result<Result<Proof, Broken>, LedgerError> {
        // Read before the ledger, which has moved on meanwhile if anything.
        let outside = self.store.kept()?;
        let proven = self.store.read(|tx| match tx.verify(kept, outside.as_ref()) {
            Ok(proof) => Ok(Ok(proof)),
            Err(Stop::Broken(broken)) => Ok(Err(broken)),
            Err(Stop::Failed(failed)) => Err(failed),
        });
        match proven {
            Err(LedgerError::Altered { what, .. }) => Ok(Err(Broken::Schema(what))),
            proven => proven,
        }
    }

    /// Where the chain ends now.
    ///
    /// # Errors
    ///
    /// - Any of the errors of opening and reading the file.
    pub fn head(&self) -> Result<Head, LedgerError> {
        self.store.read(|tx| tx.head())
    }
}

enum Stop {
    Broken(Broken),
    Failed(Failed),
}

impl From<Broken> for Stop {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<Failed> for Stop {
    fn from(failed: Failed) -> Self {
        Self::Failed(failed)
    }
}

/// What the journal tells of.
struct Told {
    head: Head,
    artefacts: u64,
    begun: u64,
    /// For each intent, the entries that may have reserved its money, and when.
    reserving: HashMap<IntentId, Vec<(Reserving, UnixSeconds)>>,
}

/// The entries with which money is held back. Which of them it was depends on the kind of the purchase.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reserving {
    Begin,
    ItemPicked,
    DeclarationUsed,
}

impl Reserving {
    fn of(event: &str) -> Option<Self> {
        match event {
            chain::BEGIN => Some(Self::Begin),
            _ if event == Step::ItemPicked.as_str() => Some(Self::ItemPicked),
            _ if event == Step::DeclarationUsed.as_str() => Some(Self::DeclarationUsed),
            _ => None,
        }
    }

    fn is_that_of(self, intent: &Intent) -> bool {
        self == match (&intent.declaration, intent.kind) {
            (Some(_), _) => Self::DeclarationUsed,
            (None, PurchaseKind::Cheapest) => Self::ItemPicked,
            (None, _) => Self::Begin,
        }
    }
}

impl Tx<'_> {
    fn verify(&self, kept: Option<&Head>, outside: Option<&Head>) -> Result<Proof, Stop> {
        let sound: String = self.sql.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
        if sound != "ok" {
            return Err(Broken::Database(sound.lines().next().unwrap_or_default().to_owned()).into());
        }
        let Told { head, artefacts, begun, reserving } = self.verify_chain()?;
        for head in [kept, outside].into_iter().flatten() {
            if !self.leads_through(head)? {
                return Err(Broken::Head { seq: head.seq }.into());
            }
        }
        let (sums, intents) = self.verify_intents(&reserving)?;
        if begun != intents {
            return Err(Broken::Intent(format!("count: {begun} in the journal, {intents} stored")).into());
        }
        let stored: i64 = self.sql.query_row("SELECT count(*) FROM artefacts", [], |row| row.get(0))?;
        if u64::try_from(stored) != Ok(artefacts) {
            return Err(Broken::Artefact("count".to_owned()).into());
        }
        self.verify_totals(sums)?;
        Ok(Proof { intents, artefacts, head })
    }

    /// Walks the journal; answers what it tells of.
    fn verify_chain(&self) -> Result<Told, Stop> {
        let mut head = Head::start();
        let (mut artefacts, mut begun) = (0, 0);
        let mut reserving: HashMap<IntentId, Vec<_>> = HashMap::new();
        let mut newest = i64::MIN;
        let mut statement =
            self.sql.prepare("SELECT seq, at, event, intent_id, entry, entry_hash FROM journal ORDER BY seq")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (expected, found): (u64, i64) = (head.seq + 1, row.get(0)?);
            if u64::try_from(found) != Ok(expected) {
                return Err(Broken::Gap { expected, found }.into());
            }
            let changed = |what| Stop::from(Broken::Entry { seq: expected, what });
            let text = row.get_ref(4)?.as_str().map_err(|_| changed("form"))?;
            let entry_hash: String = row.get(5)?;
            if hash(text.as_bytes()) != entry_hash {
                return Err(changed("hash"));
            }
            let entry: Entry = serde_json::from_str(text).map_err(|_| changed("form"))?;
            if entry.v != 1 || entry.seq != expected {
                return Err(changed("form"));
            }
            if entry.prev_hash != head.entry_hash {
                return Err(changed("link"));
            }
            if entry.at < newest {
                let is_reset = entry.event == chain::TIME_RESET && entry.intent_id.is_none();
                if !is_reset || entry.detail["from"].as_i64() != Some(newest) {
                    return Err(changed("time"));
                }
                // What had happened at a time that had not come yet counts as of the reset.
                for (_, at) in reserving.values_mut().flatten() {
                    *at = entry.at.min(*at);
                }
            }
            let id: Option<String> = row.get(3)?;
            if row.get::<_, i64>(1)? != entry.at
                || row.get_ref(2)?.as_str() != Ok(entry.event.as_str())
                || id.as_deref() != entry.intent_id.as_ref().map(IntentId::as_str)
            {
                return Err(changed("column"));
            }
            newest = entry.at;
            if let (Some(id), Some(which)) = (&entry.intent_id, Reserving::of(&entry.event)) {
                reserving.entry(id.clone()).or_default().push((which, entry.at));
            }
            match entry.event.as_str() {
                "artefact" => {
                    self.verify_artefact(&entry)?;
                    artefacts += 1;
                }
                chain::BEGIN | chain::DENIED | chain::DECLARE => begun += 1,
                _ => {}
            }
            head = Head { seq: expected, entry_hash };
        }
        Ok(Told { head, artefacts, begun, reserving })
    }

    fn verify_artefact(&self, entry: &Entry) -> Result<(), Stop> {
        let id = entry.intent_id.as_ref().map(IntentId::as_str).unwrap_or_default();
        let name = entry.detail["name"].as_str().unwrap_or_default();
        let stored: Option<String> = self
            .sql
            .prepare_cached(
                "SELECT content FROM artefacts WHERE seq = ?1 AND intent_id = ?2 AND name = ?3 AND at = ?4",
            )?
            .query_row(params![entry.detail["artefact"].as_i64(), id, name, entry.at], |row| row.get(0))
            .optional()?;
        let hash = stored.map(|content| hash(content.as_bytes()));
        if hash.is_some() && hash.as_deref() == entry.detail["hash"].as_str() && Artefact::parse(name).is_some() {
            Ok(())
        } else {
            Err(Broken::Artefact(id.to_owned()).into())
        }
    }

    /// Compares every intent with its newest entry and its columns; answers what they add up to per series.
    fn verify_intents(
        &self,
        reserving: &HashMap<IntentId, Vec<(Reserving, UnixSeconds)>>,
    ) -> Result<(HashMap<i64, Sums>, u64), Stop> {
        let mut sums: HashMap<i64, Sums> = HashMap::new();
        let mut count = 0;
        let mut statement = self.sql.prepare(
            "SELECT id, body, identity, state, open, merchant, declared, mandate_id, idempotency_key, expires_at FROM intents",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (id, body): (String, String) = (row.get(0)?, row.get(1)?);
            let told: Option<String> = self
                .sql
                .prepare_cached(
                    "SELECT json_extract(entry, '$.intent_hash') FROM journal
                     WHERE intent_id = ?1 AND json_extract(entry, '$.intent_hash') IS NOT NULL ORDER BY seq DESC LIMIT 1",
                )?
                .query_row([&id], |row| row.get(0))
                .optional()?;
            let intent: Option<Intent> = serde_json::from_str(&body).ok();
            let (Some(intent), true) = (intent, told == Some(hash(body.as_bytes()))) else {
                return Err(Broken::Intent(id).into());
            };
            let same = |index: usize, wanted: Option<&str>| {
                row.get_ref(index).is_ok_and(|column| column.as_str_or_null() == Ok(wanted))
            };
            let is_told = same(2, Some(intent.identity.as_str()))
                && same(3, Some(intent.state.as_str()))
                && row.get(4) == Ok(!intent.state.is_final())
                && same(5, Some(&intent.merchant))
                && same(6, intent.declaration.as_ref().map(|declaration| declaration.reference.as_str()))
                && same(7, intent.mandate.as_ref().map(|mandate| mandate.mandate_id.as_str()))
                && same(8, Some(&intent.idempotency_key))
                && row.get(9) == Ok(intent.lapses_at());
            if !is_told || intent.id.as_str() != id {
                return Err(Broken::Intent(id).into());
            }
            count += 1;
            let entries = reserving.get(&intent.id).map(Vec::as_slice).unwrap_or_default();
            let begun = entries.iter().filter(|(which, _)| which.is_that_of(&intent)).map(|(_, at)| *at);
            let begun: Vec<_> = begun.collect();
            // A resolved one no longer counts when it was presented; that it did may have left a row.
            let is_counted = intent.reserved
                || intent.settled_at.is_some()
                || intent.unresolved_minor > 0
                || intent.resolution.is_some();
            if !is_counted && begun.is_empty() {
                continue;
            }
            for key in series_keys(&intent) {
                let series = self.series_id(key)?.ok_or(Broken::Totals { series: 0, what: "row" })?;
                let sums = sums.entry(series).or_default();
                sums.reserved = sums.reserved.saturating_add(intent.held_back_minor());
                for at in &begun {
                    sums.at(*at).begun_count += 1;
                }
                if let Some(at) = intent.settled_at {
                    let happened = sums.at(at);
                    happened.settled_minor = happened.settled_minor.saturating_add(intent.amount_minor);
                    happened.settled_count += 1;
                }
                if intent.unresolved_minor > 0 || intent.resolution.is_some() {
                    let happened = sums.at(intent.presented_at.unwrap_or(intent.updated_at));
                    happened.unresolved_minor = happened.unresolved_minor.saturating_add(intent.unresolved_minor);
                }
            }
        }
        Ok((sums, count))
    }

    fn verify_totals(&self, mut sums: HashMap<i64, Sums>) -> Result<(), Stop> {
        let mut series = self
            .sql
            .prepare("SELECT id, reserved_minor, settled_minor, settled_count, begun_count, newest_at, unresolved_minor FROM series")?;
        let mut totals = self.sql.prepare(
            "SELECT at, settled_minor, settled_count, begun_count, unresolved_minor FROM totals WHERE series = ?1 ORDER BY at",
        )?;
        let mut rows = series.query([])?;
        while let Some(row) = rows.next()? {
            let (series, reserved): (i64, i64) = (row.get(0)?, row.get(1)?);
            let Sums { reserved: wanted, happened } = sums.remove(&series).unwrap_or_default();
            let wrong = |what| Stop::from(Broken::Totals { series, what });
            if u64::try_from(reserved) != Ok(wanted) {
                return Err(wrong("reserved_minor"));
            }
            // One row for every second in which something happened, and no other but those that resolved intents may leave.
            let mut happened = happened.into_iter().peekable();
            let (mut sum, mut last, mut newest_at) = (Happened::default(), [0; 4], 0);
            let mut rows = totals.query([series])?;
            while let Some(row) = rows.next()? {
                let at: i64 = row.get(0)?;
                while happened.next_if(|(happened_at, what)| *happened_at < at && what.is_nothing()).is_some() {}
                match happened.next_if(|(happened_at, _)| *happened_at == at) {
                    Some((_, more)) => sum.add(&more),
                    None => return Err(wrong("totals")),
                }
                let standing: [i64; 4] = [row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?];
                let wanted = [
                    ("settled_minor", sum.settled_minor),
                    ("settled_count", sum.settled_count),
                    ("begun_count", sum.begun_count),
                    ("unresolved_minor", sum.unresolved_minor),
                ];
                for ((what, wanted), found) in wanted.into_iter().zip(standing) {
                    if u64::try_from(found) != Ok(wanted) {
                        return Err(wrong(what));
                    }
                }
                (last, newest_at) = (standing, at);
            }
            let ends = [row.get::<_, i64>(2)?, row.get(3)?, row.get(4)?, row.get(6)?];
            if happened.any(|(_, what)| !what.is_nothing()) || last != ends {
                return Err(wrong("totals"));
            }
            if row.get::<_, i64>(5)? != newest_at {
                return Err(wrong("newest_at"));
            }
        }
        match sums.keys().next() {
            Some(series) => Err(Broken::Totals { series: *series, what: "reserved_minor" }.into()),
            None => Ok(()),
        }
    }
}

/// What the intents of one series add up to.
#[derive(Default)]
struct Sums {
    reserved: u64,
    happened: BTreeMap<UnixSeconds, Happened>,
}

/// What happened in one second.
#[derive(Default, PartialEq)]
struct Happened {
    settled_minor: u64,
    settled_count: u64,
    begun_count: u64,
    unresolved_minor: u64,
}

impl Sums {
    fn at(&mut self, at: UnixSeconds) -> &mut Happened {
        self.happened.entry(at).or_default()
    }
}

impl Happened {
    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    fn add(&mut self, more: &Self) {
        self.settled_minor = self.settled_minor.saturating_add(more.settled_minor);
        self.settled_count += more.settled_count;
        self.begun_count += more.begun_count;
        self.unresolved_minor = self.unresolved_minor.saturating_add(more.unresolved_minor);
    }
}
