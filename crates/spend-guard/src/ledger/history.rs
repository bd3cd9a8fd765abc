//! Reading back: intents page by page, alerts, the journal of one intent.

use jose::UnixSeconds;
use rusqlite::types::Value as SqlValue;
use rusqlite::{OptionalExtension as _, params_from_iter};
use serde::Serialize;

use super::transaction::{Failed, Tx};
use super::{Artefact, Entry, Head, Ledger};
use crate::error::LedgerError;
use crate::intent::{Intent, IntentId, State};
use crate::money::Currency;
use crate::policy::Alert;

/// Which intents a history has. Every member narrows it; the default is the newest twenty.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "filled by the caller over `..Filter::default()`")]
pub struct Filter {
    /// In this state.
    pub state: Option<State>,
    /// Not final, or final.
    pub open: Option<bool>,
    /// Of this merchant's origin.
    pub merchant: Option<String>,
    /// In this currency.
    pub currency: Option<Currency>,
    /// By this agent.
    pub agent: Option<String>,
    /// Stored at this second or later.
    pub since: Option<UnixSeconds>,
    /// Stored at this second or earlier.
    pub until: Option<UnixSeconds>,
    /// Older than this intent: the `next` of the page before.
    pub before: Option<IntentId>,
    /// At most so many; the most is [`Filter::MOST`].
    pub limit: usize,
}

impl Filter {
    /// The most intents on one page.
    pub const MOST: usize = 1000;
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            state: None,
            open: None,
            merchant: None,
            currency: None,
            agent: None,
            since: None,
            until: None,
            before: None,
            limit: 20,
        }
    }
}

/// One page, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Page {
    /// The intents.
    pub intents: Vec<Intent>,
    /// What to give as `before` for the next page; `None` on the last one.
    pub next: Option<IntentId>,
}

/// An alert as it was kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RaisedAlert {
    /// When.
    pub at: UnixSeconds,
    /// About which intent.
    pub intent_id: Option<IntentId>,
    /// What it says.
    #[serde(flatten)]
    pub alert: Alert,
}

/// Everything about one intent, as of one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// The intent.
    pub intent: Intent,
    /// What is kept with it, oldest first.
    pub artefacts: Vec<(Artefact, String)>,
    /// Every change of it, oldest first.
    pub journal: Vec<Entry>,
    /// Where the whole chain ended then.
    pub head: Head,
}

impl Snapshot {
    /// All artefacts of that kind, oldest first.
    pub fn artefacts(&self, kind: Artefact) -> impl Iterator<Item = &str> {
        self.artefacts.iter().filter(move |(of, _)| *of == kind).map(|(_, content)| content.as_str())
    }
}

impl Ledger {
    /// The intents that `filter` lets through.
    ///
    /// # Errors
    ///
    /// - [`LedgerError::NoSuchIntent`] if `before` names none.
    /// - Any of the errors of opening and reading the file.
    pub fn list(&self, filter: &Filter) -> Result<Page, LedgerError> {
        self.store.read(|tx| tx.list(filter))
    }

    /// Every intent that `filter` lets through, newest first, read page by page; its `limit` does not count.
    ///
    /// # Errors
    ///
    /// Those of [`list`](Self::list), as the last item.
    pub fn every(&self, filter: Filter) -> impl Iterator<Item = Result<Intent, LedgerError>> + '_ {
        let mut page = Vec::new().into_iter();
        let mut next = Some(Filter { limit: Filter::MOST, ..filter });
        std::iter::from_fn(move || {
            loop {
                if let Some(intent) = page.next() {
                    return Some(Ok(intent));
                }
                let asked = next.take()?;
                let got = match self.list(&asked) {
                    Ok(got) => got,
                    Err(error) => return Some(Err(error)),
                };
                page = got.intents.into_iter();
                next = got.next.map(|id| Filter { before: Some(id), ..asked });
            }
        })
    }

    /// The newest alerts, newest first.
    ///
    /// # Errors
    ///
    /// - Any of the errors of opening and reading the file.
    pub fn alerts(&self, limit: usize) -> Result<Vec<RaisedAlert>, LedgerError> {
        self.store.read(|tx| {
            let query = "SELECT entry FROM journal WHERE event = 'alert' ORDER BY seq DESC LIMIT ?1";
            let entries = tx.entries(query, [SqlValue::Integer(i64::try_from(limit).unwrap_or(i64::MAX))])?;
            let raised = entries.into_iter().map(|entry| {
                let alert = serde_json::from_value(entry.detail).map_err(|error| tx.corrupt(error.to_string()))?;
                Ok(RaisedAlert { at: entry.at, intent_id: entry.intent_id, alert })
            });
            raised.collect()
        })
    }

    /// Every change of one intent, oldest first.
    ///
    /// # Errors
    ///
    /// - Any of the errors of opening and reading the file.
    pub fn journal(&self, id: &IntentId) -> Result<Vec<Entry>, LedgerError> {
        self.store.read(|tx| tx.journal(id))
    }

    /// An intent with all that belongs to it, read in one transaction: no part of it is older or newer than another.
    ///
    /// # Errors
    ///
    /// - [`LedgerError::NoSuchIntent`] if there is none.
    /// - Any of the errors of opening and reading the file.
    pub fn snapshot(&self, id: &IntentId) -> Result<Snapshot, LedgerError> {
        self.store.read(|tx| {
            let intent = tx.load(id)?;
            let mut statement =
                tx.sql.prepare_cached("SELECT name, content FROM artefacts WHERE intent_id = ?1 ORDER BY seq")?;
            let mut rows = statement.query([id.as_str()])?;
            let mut artefacts = Vec::new();
            while let Some(row) = rows.next()? {
                let name = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
                let kind =
                    Artefact::parse(name).ok_or_else(|| tx.corrupt("an artefact of a kind that there is not"))?;
                artefacts.push((kind, row.get(1)?));
            }
            Ok(Snapshot { intent, artefacts, journal: tx.journal(id)?, head: tx.head()? })
        })
    }
}

impl Tx<'_> {
    fn journal(&self, id: &IntentId) -> Result<Vec<Entry>, Failed> {
        let query = "SELECT entry FROM journal WHERE intent_id = ?1 ORDER BY seq";
        self.entries(query, [SqlValue::Text(id.as_str().to_owned())])
    }

    fn list(&self, filter: &Filter) -> Result<Page, Failed> {
        let mut query = "SELECT body FROM intents WHERE seq < ?1".to_owned();
        let mut values = vec![SqlValue::Integer(match &filter.before {
            None => i64::MAX,
            Some(id) => self
                .sql
                .prepare_cached("SELECT seq FROM intents WHERE id = ?1")?
                .query_row([id.as_str()], |row| row.get(0))
                .optional()?
                .ok_or_else(|| LedgerError::NoSuchIntent(id.clone()))?,
        })];
        let mut narrow = |column: &str, value: Option<SqlValue>| {
            if let Some(value) = value {
                values.push(value);
                query.push_str(&format!(" AND {column} = ?{}", values.len()));
            }
        };
        narrow("state", filter.state.map(|state| SqlValue::Text(state.as_str().to_owned())));
        narrow("merchant", filter.merchant.clone().map(SqlValue::Text));
        narrow("open", filter.open.map(|open| SqlValue::Integer(open.into())));
        query.push_str(" ORDER BY seq DESC");

        let limit = filter.limit.clamp(1, Filter::MOST);
        let mut statement = self.sql.prepare_cached(&query)?;
        let mut rows = statement.query(params_from_iter(values))?;
        let mut page = Page { intents: Vec::new(), next: None };
        while let Some(row) = rows.next()? {
            let intent = self.parse(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)?;
            // Rows are in the order of their times: nothing older can follow.
            if filter.since.is_some_and(|since| intent.created_at < since) {
                break;
            }
            let lets_through = filter.until.is_none_or(|until| intent.created_at <= until)
                && filter.currency.is_none_or(|currency| intent.currency == currency)
                && filter.agent.as_ref().is_none_or(|agent| intent.agent.as_ref() == Some(agent));
            if !lets_through {
                continue;
            }
            if page.intents.len() == limit {
                page.next = page.intents.last().map(|intent| intent.id.clone());
                break;
            }
            page.intents.push(intent);
        }
        Ok(page)
    }

    fn entries(&self, query: &str, params: [SqlValue; 1]) -> Result<Vec<Entry>, Failed> {
        let mut statement = self.sql.prepare_cached(query)?;
        let mut rows = statement.query(params)?;
        let mut entries = Vec::new();
        while let Some(row) = rows.next()? {
            let text = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
            entries.push(serde_json::from_str(text).map_err(|error| self.corrupt(error.to_string()))?);
        }
        Ok(entries)
    }
}
