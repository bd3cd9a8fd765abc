//! The head of the chain, and the newest one kept outside the ledger: it tells an older copy, or a rewritten ledger, from the
//! one that was written last. Neither can be told by looking at the ledger alone, since each is whole in itself.
//!
//! The file is written after the commit it tells of, so it is never newer than the ledger. It is replaced whole and not
//! synced: a process that dies at any moment leaves this head or the one before, and after a loss of power it may be some
//! entries older, or empty, which is as good as none. Syncing it would double what a payment waits for the disk, for the sake
//! of the few entries that were written in the last seconds before.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use super::files::{create_dir, io_error};
use super::lock;
use crate::error::LedgerError;
use crate::hash::hash;

/// Where a chain ends. Kept elsewhere, it proves later that nothing was cut off or rewritten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Head {
    /// The number of the newest entry; 0 in an empty ledger.
    pub seq: u64,
    /// Its hash.
    pub entry_hash: String,
}

impl Head {
    /// Before the first entry.
    pub(crate) fn start() -> Self {
        Self { seq: 0, entry_hash: jose::base64url::encode(&[0; 32]) }
    }
}

/// A file in a directory for all ledgers of a user, named after the ledger's own directory.
pub(crate) struct HeadFile {
    dir: PathBuf,
    path: OnceLock<PathBuf>,
}

impl HeadFile {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir, path: OnceLock::new() }
    }

    /// Where the head of the ledger in `data_dir` is.
    fn path(&self, data_dir: &Path) -> Result<PathBuf, LedgerError> {
        if let Some(path) = self.path.get() {
            return Ok(path.clone());
        }
        let path = |of: &Path| self.dir.join(format!("{}.head", hash(of.as_os_str().as_encoded_bytes())));
        match fs::canonicalize(data_dir) {
            Ok(canonical) => Ok(self.path.get_or_init(|| path(&canonical)).clone()),
            // Not there yet, or no more.
            Err(_) => Ok(path(&std::path::absolute(data_dir).map_err(|source| io_error(data_dir, source))?)),
        }
    }

    /// The head that was kept last; `None` before the first.
    pub(crate) fn read(&self, data_dir: &Path) -> Result<Option<Head>, LedgerError> {
        let path = self.path(data_dir)?;
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(source) => return Err(LedgerError::HeadUnusable { path, detail: source.to_string() }),
        };
        if text.is_empty() {
            return Ok(None);
        }
        let unusable = |error: serde_json::Error| LedgerError::HeadUnusable { path, detail: error.to_string() };
        serde_json::from_slice(&text).map(Some).map_err(unusable)
    }

    /// Keeps `head`, unless a faster process has kept a newer one. What cannot be kept stops no payment that is under way;
    /// the head that is there goes on to hold.
    pub(crate) fn keep(&self, data_dir: &Path, head: &Head) {
        let keep = || {
            let _alone = lock::wait(data_dir, LOCK)?;
            match self.read(data_dir)? {
                Some(kept) if kept.seq >= head.seq => Ok(()),
                _ => self.write(data_dir, head),
            }
        };
        let _unkept: Result<(), LedgerError> = keep();
    }

    /// Keeps `head` whatever was kept before.
    pub(crate) fn keep_instead(&self, data_dir: &Path, head: &Head) -> Result<(), LedgerError> {
        let _alone = lock::wait(data_dir, LOCK)?;
        self.write(data_dir, head)
    }

    fn write(&self, data_dir: &Path, head: &Head) -> Result<(), LedgerError> {
        let path = self.path(data_dir)?;
        let new = path.with_extension("new");
        let write = || -> io::Result<()> {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let mut text = serde_json::to_vec(head)?;
            text.push(b'\n');
            options.open(&new)?.write_all(&text)?;
            fs::rename(&new, &path)
        };
        write().or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                return Err(io_error(&path, error));
            }
            create_dir(&self.dir)?;
            write().map_err(|source| io_error(&path, source))
        })
    }
}

const LOCK: &str = "head";
