//! Which file of a crate takes which names from which other.

use std::collections::{BTreeMap, BTreeSet};

use crate::module::{Crate, Definition, ReadError, Sources};
use crate::reference::references;
use crate::scope::Resolver;

/// The imports between the files of one crate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportGraph {
    files: BTreeMap<String, Imports>,
}

/// What one file takes: from each other file, the names.
pub type Imports = BTreeMap<String, BTreeSet<String>>;

impl ImportGraph {
    /// Reads the crate whose root file is `root`, and every module file below it.
    ///
    /// # Errors
    ///
    /// - [`ReadError`] if a file is missing or is not Rust.
    pub fn of_crate(root: &str, sources: &dyn Sources) -> Result<Self, ReadError> {
        let read = Crate::read(root, sources)?;
        let resolver = Resolver::new(&read);
        let mut files: BTreeMap<String, Imports> = read.files().map(|file| (file.to_owned(), Imports::new())).collect();
        for (module, from) in read.modules() {
            let imports = files.entry(from.file.clone()).or_default();
            for path in references(&from.items) {
                for Definition { file, name } in resolver.definitions(module, &path) {
                    if *file != from.file {
                        imports.entry(file.clone()).or_default().insert(name.clone());
                    }
                }
            }
        }
        Ok(Self { files })
    }

    /// All files, sorted.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// The files that `file` imports, sorted.
    pub fn imported_by(&self, file: &str) -> impl Iterator<Item = &str> {
        self.files.get(file).into_iter().flatten().map(|(imported, _)| imported.as_str())
    }

    /// The names that `file` takes from `imported`, sorted.
    pub fn names(&self, file: &str, imported: &str) -> impl Iterator<Item = &str> {
        let names = self.files.get(file).and_then(|imports| imports.get(imported));
        names.into_iter().flatten().map(String::as_str)
    }
}
