//! Files that only their owner may read, replaced as a whole or not at all.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{Problem, StoreError};

/// A folder of mode 0700 with files of mode 0600.
#[derive(Clone, Debug)]
pub(crate) struct PrivateDir(PathBuf);

impl PrivateDir {
    /// Names the folder; nothing is touched yet.
    pub(crate) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Reads a file of at most 1 MiB. `None` if it is not there.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let path = self.path(name);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::new(&path, Problem::Io("open", error))),
        };
        check_mode(&self.0, &fs::metadata(&self.0).map_err(StoreError::io(&self.0, "look at"))?, 0o700)?;
        let metadata = file.metadata().map_err(StoreError::io(&path, "look at"))?;
        check_mode(&path, &metadata, 0o600)?;
        if metadata.len() > MAX_OCTETS {
            return Err(StoreError::new(&path, Problem::Corrupt("larger than 1 MiB".to_owned())));
        }
        let mut content = Zeroizing::new(Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0) + 1));
        file.read_to_end(&mut content).map_err(StoreError::io(&path, "read"))?;
        Ok(Some(content))
    }

    /// Replaces a file: written beside it, synced, renamed over it, and the folder synced.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> Result<(), StoreError> {
        self.create()?;
        let path = self.path(name);
        let mut file = tempfile::Builder::new()
            .prefix(".new-")
            .tempfile_in(&self.0)
            .map_err(StoreError::io(&self.0, "create a file in"))?;
        file.write_all(content).map_err(StoreError::io(&path, "write"))?;
        file.as_file().sync_all().map_err(StoreError::io(&path, "sync"))?;
        file.persist(&path).map_err(|error| StoreError::new(&path, Problem::Io("replace", error.error)))?;
        sync_dir(&self.0)
    }

    /// Writes, and removes again, what a new version of each of these files and a copy of the old one may take.
    pub(crate) fn check_room(&self, names: &[&str]) -> Result<(), StoreError> {
        let _lock = self.lock()?;
        let mut octets = ROOM_OCTETS;
        for name in names {
            octets += self.read(name)?.map_or(0, |content| 2 * content.len());
        }
        self.write(PROBE, &vec![b' '; octets])?;
        self.remove(PROBE)
    }

    /// Copies a file that is there to `<name>.bak`.
    pub(crate) fn back_up(&self, name: &str) -> Result<(), StoreError> {
        match self.read(name)? {
            Some(content) => self.write(&format!("{name}.bak"), &content),
            None => Ok(()),
        }
    }

    /// Removes a file, if it is there.
    pub(crate) fn remove(&self, name: &str) -> Result<(), StoreError> {
        let path = self.path(name);
        match fs::remove_file(&path) {
            Ok(()) => sync_dir(&self.0),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(StoreError::new(&path, Problem::Io("remove", error))),
        }
    }

    /// Takes the folder's lock, waiting for other processes; it is let go when the file is dropped.
    pub(crate) fn lock(&self) -> Result<File, StoreError> {
        self.create()?;
        let path = self.path("store.lock");
        let file = open_private(OpenOptions::new().read(true).write(true).create(true).truncate(false), &path)?;
        file.lock().map_err(StoreError::io(&path, "lock"))?;
        Ok(file)
    }

    /// Takes the lock of this name if no other process has it.
    pub(crate) fn try_lock(&self, name: &str) -> Result<Option<File>, StoreError> {
        self.create()?;
        let path = self.path(name);
        let file = open_private(OpenOptions::new().read(true).write(true).create(true).truncate(false), &path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(StoreError::new(&path, Problem::Io("lock", error))),
        }
    }

    fn create(&self) -> Result<(), StoreError> {
        match fs::metadata(&self.0) {
            Ok(metadata) => check_mode(&self.0, &metadata, 0o700),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let mut builder = fs::DirBuilder::new();
                builder.recursive(true);
                #[cfg(unix)]
                std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
                builder.create(&self.0).map_err(StoreError::io(&self.0, "create"))
            }
            Err(error) => Err(StoreError::new(&self.0, Problem::Io("look at", error))),
        }
    }
}

fn open_private(options: &mut OpenOptions, path: &Path) -> Result<File, StoreError> {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options.open(path).map_err(StoreError::io(path, "open"))
}

/// Without this, a rename can be lost with the power although the file's content was synced.
fn sync_dir(path: &Path) -> Result<(), StoreError> {
    #[cfg(unix)]
    File::open(path).and_then(|dir| dir.sync_all()).map_err(StoreError::io(path, "sync"))?;
    Ok(())
}

#[cfg(unix)]
fn check_mode(path: &Path, metadata: &fs::Metadata, wanted: u32) -> Result<(), StoreError> {
    use std::os::unix::fs::MetadataExt as _;
    let mode = metadata.mode() & 0o7777;
    match mode & 0o077 {
        0 => Ok(()),
        _ => Err(StoreError::new(path, Problem::TooOpen { mode, wanted })),
    }
}

#[cfg(not(unix))]
fn check_mode(_: &Path, _: &fs::Metadata, _: u32) -> Result<(), StoreError> {
    Ok(())
}

const MAX_OCTETS: u64 = 1 << 20;
const PROBE: &str = "probe";
/// Many times what a registration adds.
const ROOM_OCTETS: usize = 32 * 1024;
