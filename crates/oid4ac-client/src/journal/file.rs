use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::{Journal, JournalError, Proceed, Progress, Step};
use crate::IdempotencyKey;
use crate::store::PrivateDir;

/// A journal in a file of its own: one JSON object a line, appended and synced before the next octet leaves. The file has
/// mode 0600, for mandates hold what the principal disclosed; its folder has mode 0700.
///
/// A line that a crash cut short was never acted upon, and is dropped when the journal is next read or written. One
/// process at a time may hold the journal of a purchase; a program that runs several keeps a lock of its own.
#[derive(Debug)]
pub struct FileJournal {
    dir: PrivateDir,
    name: String,
    /// Held while a line is added, so that two threads' lines do not mix.
    write: Mutex<()>,
}

impl FileJournal {
    /// The journal of the purchase with this key, in `folder`. Nothing is read or created yet.
    #[must_use]
    pub fn new(folder: &Path, key: &IdempotencyKey) -> Self {
        // Keys may hold any printable character; a digest is safe in a file name.
        let name = jose::base64url::encode(&jose::sha256(key.as_str().as_bytes())[..18]);
        Self { dir: PrivateDir::new(folder), name: format!("{name}.jsonl"), write: Mutex::new(()) }
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.dir.path(&self.name)
    }

    /// The complete lines.
    fn read(&self) -> Result<Vec<u8>, JournalError> {
        let content = self.dir.read(&self.name).map_err(|error| JournalError::new("it cannot be read", error))?;
        let mut content = content.map(|content| content.to_vec()).unwrap_or_default();
        let end = content.iter().rposition(|octet| *octet == b'\n').map_or(0, |last| last + 1);
        content.truncate(end);
        Ok(content)
    }
}

impl Journal for FileJournal {
    fn progress(&self) -> Result<Progress, JournalError> {
        let mut progress = Progress::default();
        for line in self.read()?.split(|octet| *octet == b'\n').filter(|line| !line.is_empty()) {
            let step = serde_json::from_slice(line).map_err(|error| JournalError::new("a line is damaged", error))?;
            progress.apply(step);
        }
        Ok(progress)
    }

    fn record(&self, step: Step) -> Result<Proceed, JournalError> {
        let _one = self.write.lock().unwrap_or_else(PoisonError::into_inner);
        let mut content = self.read()?;
        serde_json::to_writer(&mut content, &step)
            .map_err(|error| JournalError::new("a step has no JSON form", error))?;
        content.push(b'\n');
        // A journal has a handful of lines: replacing the file whole also fixes a line cut short.
        self.dir.write(&self.name, &content).map_err(|error| JournalError::new("a step could not be kept", error))?;
        Ok(Proceed::On)
    }
}
