//! Directories and files that only their owner can use, and the errors of using them.

use std::fs::{self, DirBuilder};
use std::io;
use std::path::Path;

use crate::error::LedgerError;

pub(super) fn io_error(path: &Path, source: io::Error) -> LedgerError {
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
pub(super) fn create_dir(dir: &Path) -> Result<(), LedgerError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).map_err(|source| io_error(dir, source))
}

/// Refuses what others can read or write.
pub(super) fn require_private(path: &Path, wanted: u32) -> Result<(), LedgerError> {
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
pub(super) fn sync_dir(dir: &Path) -> Result<(), LedgerError> {
    #[cfg(unix)]
    fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(|source| io_error(dir, source))?;
    #[cfg(not(unix))]
    let _ = dir;
    Ok(())
}
