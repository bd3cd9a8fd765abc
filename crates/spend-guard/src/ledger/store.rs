//! The file: opening it, its modes, its versions, and transactions with their time.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jose::{Clock, UnixSeconds};
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Transaction, TransactionBehavior};

use super::lock;
use crate::error::LedgerError;

/// The database, opened at its first use.
pub(crate) struct Store {
    pub(crate) dir: PathBuf,
    pub(crate) path: PathBuf,
    clock: Arc<dyn Clock>,
    connection: Mutex<Option<Connection>>,
}

/// A transaction and the time it happens at.
pub(crate) struct Tx<'a> {
    pub(crate) sql: Transaction<'a>,
    /// The clock, but never before the newest row: setting the clock back opens no gap in a window.
    pub(crate) now: UnixSeconds,
    pub(crate) dir: &'a Path,
}

impl Store {
    pub(crate) fn new(dir: PathBuf, clock: Arc<dyn Clock>) -> Self {
        let path = dir.join(FILE);
        Self { dir, path, clock, connection: Mutex::new(None) }
    }

    /// Runs `work` in a transaction that holds the write lock from its start. An error rolls everything back.
    pub(crate) fn write<T>(&self, work: impl FnOnce(&Tx<'_>) -> Result<T, Failed>) -> Result<T, LedgerError> {
        self.transact(TransactionBehavior::Immediate, work)
    }

    /// Runs `work` in a transaction that sees one state of the ledger and changes nothing.
    pub(crate) fn read<T>(&self, work: impl FnOnce(&Tx<'_>) -> Result<T, Failed>) -> Result<T, LedgerError> {
        self.transact(TransactionBehavior::Deferred, work)
    }

    fn transact<T>(
        &self,
        behavior: TransactionBehavior,
        work: impl FnOnce(&Tx<'_>) -> Result<T, Failed>,
    ) -> Result<T, LedgerError> {
        // A lock that a panicking thread left behind is sound: its transaction was rolled back.
        let mut guard = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let connection = match guard.as_mut() {
            Some(open) => open,
            None => guard.insert(self.open()?),
        };
        let outcome = (|| {
            let sql = connection.transaction_with_behavior(behavior)?;
            let newest: Option<UnixSeconds> = sql
                .prepare_cached("SELECT at FROM journal ORDER BY seq DESC LIMIT 1")?
                .query_row([], |row| row.get(0))
                .optional()?;
            let now = newest.map_or(self.clock.now(), |newest| newest.max(self.clock.now()));
            let tx = Tx { sql, now, dir: &self.dir };
            let value = work(&tx)?;
            tx.sql.commit()?;
            Ok(value)
        })();
        outcome.map_err(|failed| self.explain(failed))
    }

    fn open(&self) -> Result<Connection, LedgerError> {
        create_dir(&self.dir)?;
        require_private(&self.dir, 0o700)?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        match options.open(&self.path) {
            Ok(_) => sync_dir(&self.dir)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => require_private(&self.path, 0o600)?,
            Err(source) => return Err(io_error(&self.path, source)),
        }
        self.connect().map_err(|failed| self.explain(failed))
    }

    fn connect(&self) -> Result<Connection, Failed> {
        let mut connection = Connection::open(&self.path)?;
        connection.busy_handler(Some(wait_for_others))?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "trusted_schema", false)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.set_prepared_statement_cache_capacity(64);
        if version(&connection)? != SCHEMA.len() as i64 {
            self.migrate(&mut connection)?;
        }
        Ok(connection)
    }

    /// Brings a ledger of an older version, or an empty file, up to this one; a newer one is left untouched.
    fn migrate(&self, connection: &mut Connection) -> Result<(), Failed> {
        let supported = SCHEMA.len() as i64;
        let refuse_newer = |found| {
            if found <= supported {
                return Ok(found);
            }
            Err(LedgerError::NewerVersion { path: self.path.clone(), found, supported })
        };
        refuse_newer(version(connection)?)?;
        // Turning WAL on does not wait for others by itself.
        let _alone = lock::wait(&self.dir, "migration")?;
        connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let found = refuse_newer(version(&tx)?)?;
        if found == supported {
            return Ok(());
        }
        let tables: i64 = tx.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if found < 0 || (found == 0 && tables > 0) {
            return Err(
                LedgerError::Corrupt { path: self.path.clone(), detail: "another program's file".into() }.into()
            );
        }
        for step in SCHEMA.iter().skip(usize::try_from(found).unwrap_or(0)) {
            tx.execute_batch(step)?;
        }
        tx.pragma_update(None, "user_version", supported)?;
        tx.commit()?;
        Ok(())
    }

    fn explain(&self, failed: Failed) -> LedgerError {
        let source = match failed {
            Failed::Ledger(error) => return error,
            Failed::Sql(source) => source,
        };
        let path = self.path.clone();
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                LedgerError::Corrupt { path, detail: source.to_string() }
            }
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                LedgerError::ReadOnly { path }
            }
            // A limit on file sizes shows itself as a write that fails.
            Some(ErrorCode::SystemIoFailure) if is_write_failure(&source) => LedgerError::Full { path },
            Some(ErrorCode::DiskFull) => LedgerError::Full { path },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => LedgerError::Busy { path },
            _ => LedgerError::Database { path, source },
        }
    }
}

impl Tx<'_> {
    /// The error for a row that cannot be what this program wrote.
    pub(crate) fn corrupt(&self, detail: impl Into<String>) -> Failed {
        LedgerError::Corrupt { path: self.dir.join(FILE), detail: detail.into() }.into()
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

pub(crate) fn io_error(path: &Path, source: io::Error) -> LedgerError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => LedgerError::ReadOnly { path },
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            LedgerError::Full { path }
        }
        _ => LedgerError::Io { path, source },
    }
}

/// Makes `dir` and what is above it; what is made is private to its owner.
pub(crate) fn create_dir(dir: &Path) -> Result<(), LedgerError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).map_err(|source| io_error(dir, source))
}

/// Refuses what others can read or write.
fn require_private(path: &Path, wanted: u32) -> Result<(), LedgerError> {
    let metadata = fs::metadata(path).map_err(|source| io_error(path, source))?;
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o7777;
        if mode & 0o077 != 0 {
            return Err(LedgerError::TooOpen { path: path.to_owned(), mode, wanted });
        }
    }
    #[cfg(not(unix))]
    let _ = (metadata, wanted);
    Ok(())
}

/// Makes the name of a new file durable.
fn sync_dir(dir: &Path) -> Result<(), LedgerError> {
    #[cfg(unix)]
    fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(|source| io_error(dir, source))?;
    #[cfg(not(unix))]
    let _ = dir;
    Ok(())
}

fn is_write_failure(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi::{SQLITE_IOERR_SHMSIZE, SQLITE_IOERR_WRITE};
    error.sqlite_error().is_some_and(|error| [SQLITE_IOERR_WRITE, SQLITE_IOERR_SHMSIZE].contains(&error.extended_code))
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

const FILE: &str = "ledger.sqlite3";

/// Sleeps a little before the next attempt to get the write lock, up to half a minute in all. SQLite's own timeout sleeps
/// ever longer, which lets newcomers overtake those who have waited longest until they give up.
fn wait_for_others(attempts: i32) -> bool {
    std::thread::sleep(Duration::from_millis(1));
    attempts < 30_000
}

/// One script per version. A script that was released never changes; what is new goes into a new one.
const SCHEMA: [&str; 2] = [include_str!("schema-1.sql"), include_str!("schema-2.sql")];
