//! Why a store failed.

use core::fmt;
use std::path::{Path, PathBuf};

/// Why the store cannot be used: which file, what is wrong with it and what fixes it. Nothing of a file's content is kept.
#[derive(Debug)]
pub struct StoreError {
    path: PathBuf,
    problem: Problem,
}

/// What is wrong with a file of the store.
#[derive(Debug)]
#[non_exhaustive]
pub enum Problem {
    /// The operating system refused. The verb says what was tried.
    Io(&'static str, std::io::Error),
    /// Others can read or write it: its mode, and the mode it must have.
    TooOpen {
        /// The mode it has.
        mode: u32,
        /// The mode it must have.
        wanted: u32,
    },
    /// Its content is not what belongs there; cut short, perhaps.
    Corrupt(String),
}

impl StoreError {
    pub(crate) fn new(path: &Path, problem: Problem) -> Self {
        Self { path: path.to_owned(), problem }
    }

    pub(crate) fn io(path: &Path, verb: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self { path, problem: Problem::Io(verb, error) }
    }

    /// The file or folder at fault.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is wrong with it.
    #[must_use]
    pub fn problem(&self) -> &Problem {
        &self.problem
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.problem {
            Problem::Io(verb, error) => write!(f, "could not {verb} {path}: {error}"),
            Problem::TooOpen { mode, wanted } => {
                write!(f, "{path} has mode {mode:04o}, so others could read it; run: chmod {wanted:o} '{path}'")
            }
            Problem::Corrupt(what) => write!(
                f,
                "{path} is damaged ({what}); it was left as it is: restore it from a backup, or move it away and register again"
            ),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.problem {
            Problem::Io(_, error) => Some(error),
            _ => None,
        }
    }
}
