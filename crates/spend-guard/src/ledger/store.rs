//! The file: opening it, its modes, its versions, and transactions with their time.

use std::cell::RefCell;
use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jose::{Clock, UnixSeconds};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, TransactionBehavior};

use super::files::{create_dir, io_error, require_private, sync_dir};
use super::head::{Head, HeadFile};
use super::schema::SCHEMA;
use super::transaction::{FILE, Failed, Tx};
use super::{lock, schema};
use crate::error::LedgerError;

/// The database, opened at its first use.
pub(crate) struct Store {
    pub(crate) dir: PathBuf,
    pub(crate) path: PathBuf,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) head: Option<HeadFile>,
    connection: Mutex<Option<Open>>,
}

/// A connection, and what is known of the file behind it.
struct Open {
    connection: Connection,
    /// The version of its schema.
    version: i64,
    /// SQLite's count of schema changes, as of when the schema was last found to be ours. While it stands, SQLite itself does
    /// not read the schema again either.
    checked: Option<i64>,
    /// Whether the write-ahead log is left to the process that wrote it: nothing was written through this connection.
    spares_log: bool,
}

/// What a transaction is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It changes nothing, and makes no file.
    Read,
    Write,
    /// It stops payments, or lets a person bring an older ledger back into use: neither asks for the kept head.
    WriteWhateverHead,
    /// It brings the ledger's time back to the clock's.
    WriteAtClock,
}

impl Store {
    pub(crate) fn new(dir: PathBuf, clock: Arc<dyn Clock>, head: Option<HeadFile>) -> Self {
        let path = dir.join(FILE);
        Self { dir, path, clock, head, connection: Mutex::new(None) }
    }

    /// Runs `work` in a transaction that holds the write lock from its start. An error rolls everything back.
    pub(crate) fn write<T>(&self, work: impl FnOnce(&Tx<'_>) -> Result<T, Failed>) -> Result<T, LedgerError> {
        self.transact(Kind::Write, work)
    }

    /// The same for a ledger that may be older than the kept head.
    pub(crate) fn write_whatever_head<T>(
        &self,
        work: impl FnOnce(&Tx<'_>) -> Result<T, Failed>,
    ) -> Result<T, LedgerError> {
        self.transact(Kind::WriteWhateverHead, work)
    }

    /// The same at the clock's time, even if that is before the newest row.
    pub(crate) fn write_at_clock<T>(&self, work: impl FnOnce(&Tx<'_>) -> Result<T, Failed>) -> Result<T, LedgerError> {
        self.transact(Kind::WriteAtClock, work)
    }

    /// Runs `work` in a transaction that sees one state of the ledger and changes nothing. Where there is no ledger, that is
    /// an empty one, and none is made.
    pub(crate) fn read<T>(&self, work: impl FnOnce(&Tx<'_>) -> Result<T, Failed>) -> Result<T, LedgerError> {
        self.transact(Kind::Read, work)
    }

    fn transact<T>(&self, kind: Kind, work: impl FnOnce(&Tx<'_>) -> Result<T, Failed>) -> Result<T, LedgerError> {
        // A lock that a panicking thread left behind is sound: its transaction was rolled back.
        let mut guard = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = (|| {
            let mut absent = None;
            let open = match guard.as_mut() {
                Some(open) => open,
                None if kind == Kind::Read && self.is_absent()? => absent.insert(Open::empty()?),
                None => guard.insert(self.open(kind)?),
            };
            if kind != Kind::Read {
                self.prepare_to_write(open)?;
            }
            self.run(open, kind, work)
        })();
        outcome.map_err(|failed| self.explain(failed))
    }

    fn run<T>(
        &self,
        open: &mut Open,
        kind: Kind,
        work: impl FnOnce(&Tx<'_>) -> Result<T, Failed>,
    ) -> Result<T, Failed> {
        let is_outdated = open.version < SUPPORTED;
        let behavior = match kind == Kind::Read && !is_outdated {
            true => TransactionBehavior::Deferred,
            false => TransactionBehavior::Immediate,
        };
        let sql = open.connection.transaction_with_behavior(behavior)?;
        // Reached by reading alone, and never committed.
        if is_outdated {
            self.bring_up_to_date(&sql, open.version)?;
        }
        let changes: i64 = sql.prepare_cached("PRAGMA schema_version")?.query_row([], |row| row.get(0))?;
        if open.checked != Some(changes) {
            schema::check(&sql, &self.path)?;
            open.checked = (!is_outdated).then_some(changes);
        }
        let newest: Option<UnixSeconds> = sql
            .prepare_cached("SELECT at FROM journal ORDER BY seq DESC LIMIT 1")?
            .query_row([], |row| row.get(0))
            .optional()?;
        let clock = self.clock.now();
        let now = match newest {
            Some(newest) if kind != Kind::WriteAtClock => newest.max(clock),
            _ => clock,
        };
        let tx = Tx { sql, now, newest, dir: &self.dir, appended: RefCell::new(None) };
        let head = self.head.as_ref().filter(|_| kind != Kind::Read);
        let checked = head.map_or(Ok(()), |head| match head.read(&self.dir)? {
            Some(kept) => tx.check_leads_through(&kept),
            None => Ok(()),
        });
        let head = match checked {
            // The head that was kept goes on to hold: another ledger does not take its place by being frozen.
            Err(_) if kind == Kind::WriteWhateverHead => None,
            checked => checked.map(|()| head)?,
        };
        let value = work(&tx)?;
        if kind == Kind::Read {
            return Ok(value);
        }
        let appended = tx.appended.take();
        tx.sql.commit()?;
        if let (Some(head), Some(appended)) = (head, appended) {
            head.keep(&self.dir, &appended);
        }
        Ok(value)
    }

    /// Whether there is no ledger: no file, or one in which nothing was ever written.
    pub(crate) fn is_absent(&self) -> Result<bool, LedgerError> {
        if !self.has_no_content()? {
            return Ok(false);
        }
        // The log of a file that was removed is as much of a ledger as is left. Another process may have moved a new ledger into its
        // place since we looked, and begun its log: the file is there first, so a second look tells.
        let log = self.beside("-wal");
        if !fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
            return Ok(true);
        }
        match self.has_no_content()? {
            true => {
                let detail = format!("its log {} is there without it", log.display());
                Err(LedgerError::Corrupt { path: self.path.clone(), detail })
            }
            false => Ok(false),
        }
    }

    fn has_no_content(&self) -> Result<bool, LedgerError> {
        match fs::metadata(&self.path) {
            Ok(metadata) => Ok(metadata.len() == 0),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(source) if source.kind() == io::ErrorKind::NotADirectory => Err(io_error(&self.dir, source)),
            Err(source) => Err(io_error(&self.path, source)),
        }
    }

    /// The head that was kept outside the ledger.
    pub(crate) fn kept(&self) -> Result<Option<Head>, LedgerError> {
        self.head.as_ref().map_or(Ok(None), |head| head.read(&self.dir))
    }

    /// Keeps `head` outside the ledger, in the place of whatever was kept.
    pub(crate) fn keep_instead(&self, head: &Head) -> Result<(), LedgerError> {
        self.head.as_ref().map_or(Ok(()), |file| file.keep_instead(&self.dir, head))
    }

    fn open(&self, kind: Kind) -> Result<Open, Failed> {
        if kind != Kind::Read {
            create_dir(&self.dir)?;
        }
        require_private(&self.dir, 0o700)?;
        if self.is_absent()? {
            self.create()?;
        }
        require_private(&self.path, 0o600)?;
        let spares_log = kind == Kind::Read && fs::metadata(self.beside("-wal")).is_ok_and(|log| log.len() > 0);
        let mut connection = Connection::open_with_flags(
            &self.path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        connection.busy_handler(Some(wait_for_others))?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, spares_log)?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "trusted_schema", false)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.set_prepared_statement_cache_capacity(64);
        let version = self.refuse_newer(version(&connection)?)?;
        Ok(Open { connection, version, checked: None, spares_log })
    }

    /// Builds a new ledger beside its place and moves it there whole, so that no process ever opens one that is not in WAL mode or
    /// has no tables yet: SQLite's change to WAL takes it for granted that no other connection comes between.
    ///
    /// The file is never opened in its place but by SQLite. POSIX takes away every lock that a process has on a file when the
    /// process closes any descriptor of it, the locks of SQLite's connections in other threads included.
    fn create(&self) -> Result<(), Failed> {
        let _alone = lock::wait(&self.dir, "migration")?;
        if !self.is_absent()? {
            return Ok(());
        }
        let new = self.beside(".new");
        let failed = |source| io_error(&self.path, source);
        // What is left of an attempt that was cut off, and the journal of a file that is gone.
        for left in [new.clone(), self.beside(".new-journal"), self.beside(".new-wal"), self.beside("-journal")] {
            match fs::remove_file(left) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error).into()),
                _ => {}
            }
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&new).map_err(failed)?;
        self.build(&new)?;
        fs::File::open(&new).and_then(|file| file.sync_all()).map_err(failed)?;
        fs::rename(&new, &self.path).map_err(failed)?;
        Ok(sync_dir(&self.dir)?)
    }

    /// Makes an empty ledger of the file `new`, which is made durable afterwards.
    fn build(&self, new: &Path) -> Result<(), Failed> {
        let mut connection =
            Connection::open_with_flags(new, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.pragma_update(None, "synchronous", "OFF")?;
        connection.query_row("PRAGMA journal_mode = MEMORY", [], |_| Ok(()))?;
        let tx = connection.transaction()?;
        self.bring_up_to_date(&tx, 0)?;
        tx.commit()?;
        turn_on_wal(&connection)?;
        connection.close().map_err(|(_, error)| error.into())
    }

    /// Lets a connection that has only read so far write too.
    fn prepare_to_write(&self, open: &mut Open) -> Result<(), Failed> {
        if open.spares_log {
            open.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
            open.spares_log = false;
        }
        if open.version < SUPPORTED {
            self.migrate(&mut open.connection)?;
            (open.version, open.checked) = (SUPPORTED, None);
        }
        Ok(())
    }

    /// Brings a ledger of an older version up to this one; a newer one is left untouched.
    fn migrate(&self, connection: &mut Connection) -> Result<(), Failed> {
        // Turning WAL on does not wait for others by itself.
        let _alone = lock::wait(&self.dir, "migration")?;
        self.refuse_foreign(connection, version(connection)?)?;
        turn_on_wal(connection)?;
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let found = self.refuse_newer(version(&tx)?)?;
        if found < SUPPORTED {
            self.bring_up_to_date(&tx, found)?;
            tx.commit()?;
        }
        Ok(())
    }

    /// Runs the scripts that a ledger of version `found` lacks.
    fn bring_up_to_date(&self, sql: &Connection, found: i64) -> Result<(), Failed> {
        self.refuse_foreign(sql, found)?;
        for step in SCHEMA.iter().skip(usize::try_from(found).unwrap_or(0)) {
            sql.execute_batch(step)?;
        }
        Ok(sql.pragma_update(None, "user_version", SUPPORTED)?)
    }

    fn refuse_newer(&self, found: i64) -> Result<i64, LedgerError> {
        if found <= SUPPORTED {
            return Ok(found);
        }
        Err(LedgerError::NewerVersion { path: self.path.clone(), found, supported: SUPPORTED })
    }

    fn refuse_foreign(&self, sql: &Connection, found: i64) -> Result<(), Failed> {
        let tables: i64 = sql.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if found < 0 || (found == 0 && tables > 0) {
            let detail = "another program's file".to_owned();
            return Err(LedgerError::Corrupt { path: self.path.clone(), detail }.into());
        }
        Ok(())
    }

    /// The ledger's path with `suffix` appended.
    fn beside(&self, suffix: &str) -> PathBuf {
        self.dir.join(format!("{FILE}{suffix}"))
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

impl Open {
    /// An empty ledger in memory.
    fn empty() -> Result<Self, Failed> {
        let connection = schema::in_memory()?;
        Ok(Self { connection, version: SUPPORTED, checked: None, spares_log: false })
    }
}

fn is_write_failure(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi::{SQLITE_IOERR_SHMSIZE, SQLITE_IOERR_WRITE};
    error.sqlite_error().is_some_and(|error| [SQLITE_IOERR_WRITE, SQLITE_IOERR_SHMSIZE].contains(&error.extended_code))
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

fn turn_on_wal(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))
}

/// Sleeps a little before the next attempt to get the write lock, up to half a minute in all. SQLite's own timeout sleeps
/// ever longer, which lets newcomers overtake those who have waited longest until they give up.
fn wait_for_others(attempts: i32) -> bool {
    std::thread::sleep(Duration::from_millis(1));
    attempts < 30_000
}

const SUPPORTED: i64 = SCHEMA.len() as i64;
