//! A transaction of the ledger, and how it fails.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use jose::UnixSeconds;
use rusqlite::Transaction;

use super::head::Head;
use crate::error::LedgerError;

/// A transaction and the time it happens at.
pub(crate) struct Tx<'a> {
    pub(crate) sql: Transaction<'a>,
    /// The clock, but never before the newest row: setting the clock back opens no gap in a window.
    pub(crate) now: UnixSeconds,
    /// When the newest row was written.
    pub(crate) newest: Option<UnixSeconds>,
    pub(crate) dir: &'a Path,
    /// The end of the chain, once this transaction has appended to it.
    pub(crate) appended: RefCell<Option<Head>>,
}

impl Tx<'_> {
    /// The error for a row that cannot be what this program wrote.
    pub(crate) fn corrupt(&self, detail: impl Into<String>) -> Failed {
        LedgerError::Corrupt { path: self.file(), detail: detail.into() }.into()
    }

    /// The ledger's file.
    pub(crate) fn file(&self) -> PathBuf {
        self.dir.join(FILE)
    }
}

/// A failure inside a transaction, before it is explained.
pub(crate) enum Failed {
    Ledger(LedgerError),
    Sql(rusqlite::Error),
}

impl From<LedgerError> for Failed {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

impl From<rusqlite::Error> for Failed {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

/// The file in the ledger's directory.
pub(super) const FILE: &str = "ledger.sqlite3";
