//! Who drives an intent: a file lock that the operating system drops with its process.
//!
//! A lease with a time would have to choose between a crash that blocks a purchase for minutes and a slow payment that
//! a second process takes over while it is still being sent. The lock belongs to an open file, so two tasks of one
//! process exclude each other as two processes do.
//!
//! A lock is taken only inside a write transaction that has just read the intent, and its file is removed only after the
//! intent's final state is durable. Whoever gets hold of a removed file's lock therefore reads a final state next, and
//! drives nothing.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use super::files::{create_dir, io_error};
use crate::error::LedgerError;
use crate::intent::IntentId;

/// The exclusive right to drive one intent, until dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes the lock of `id`, or answers `None` while another task or process has it.
    pub(crate) fn take(dir: &Path, id: &IntentId) -> Result<Option<Self>, LedgerError> {
        let (file, path) = open(dir, id.as_str())?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file, path })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(io_error(&path, source)),
        }
    }

    /// Gives it up for good, the intent being final. A file that cannot be removed does no harm.
    pub(crate) fn retire(self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Waits for the lock `name`.
pub(crate) fn wait(dir: &Path, name: &str) -> Result<File, LedgerError> {
    let (file, path) = open(dir, name)?;
    file.lock().map_err(|source| io_error(&path, source))?;
    Ok(file)
}

fn open(dir: &Path, name: &str) -> Result<(File, PathBuf), LedgerError> {
    let dir = dir.join("locks");
    let path = dir.join(name);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&path).or_else(|error| {
        if error.kind() != std::io::ErrorKind::NotFound {
            return Err(io_error(&path, error));
        }
        create_dir(&dir)?;
        options.open(&path).map_err(|source| io_error(&path, source))
    })?;
    Ok((file, path))
}
