//! From a path, as it is written in a module, to the files that define what it names.

use std::collections::BTreeSet;

use crate::module::{Crate, Definition, Entry, ItemPath, ModuleId};

pub(crate) struct Resolver<'c> {
    read: &'c Crate,
}

/// A name being looked up in a module. One that comes up again leads nowhere new.
type Pending = BTreeSet<(ModuleId, ItemPath)>;

impl<'c> Resolver<'c> {
    pub(crate) fn new(read: &'c Crate) -> Self {
        Self { read }
    }

    /// The definitions of what `path` may name in `module`: several where a name means one thing as a type and another as
    /// a value, none where it is another crate's, a local variable's, or a module's own.
    pub(crate) fn definitions(&self, module: ModuleId, path: &[String]) -> BTreeSet<&'c Definition> {
        let meanings = self.meanings(module, path, &mut Pending::new());
        let definitions = meanings.into_iter().filter_map(|meaning| match meaning {
            Meaning::Item(definition) => Some(definition),
            Meaning::Module(_) => None,
        });
        definitions.collect()
    }

    fn meanings(&self, module: ModuleId, path: &[String], pending: &mut Pending) -> Vec<Meaning<'c>> {
        if !pending.insert((module, path.to_vec())) {
            return Vec::new();
        }
        let Some((first, mut rest)) = path.split_first() else { return Vec::new() };
        let mut current = match first.as_str() {
            "crate" => vec![Meaning::Module(ModuleId::ROOT)],
            "self" => vec![Meaning::Module(module)],
            "super" => self.read.module(module).parent.map(Meaning::Module).into_iter().collect(),
            _ => self.named(module, first, pending),
        };
        while let Some((next, after)) = rest.split_first() {
            let mut found = Vec::new();
            for meaning in current {
                match meaning {
                    Meaning::Module(id) if next == "super" => {
                        found.extend(self.read.module(id).parent.map(Meaning::Module));
                    }
                    Meaning::Module(id) => found.extend(self.named(id, next, pending)),
                    // What follows is a variant, an associated item or the like, all of one file.
                    Meaning::Item(_) => found.push(meaning),
                }
            }
            (current, rest) = (found, after);
        }
        current
    }

    /// What `name` means in a module.
    fn named(&self, id: ModuleId, name: &str, pending: &mut Pending) -> Vec<Meaning<'c>> {
        let module = self.read.module(id);
        let mut found = Vec::new();
        for entry in module.names.get(name).into_iter().flatten() {
            match entry {
                Entry::Module(child) => found.push(Meaning::Module(*child)),
                Entry::Item(definition) => found.push(Meaning::Item(definition)),
                Entry::Import(path) => found.extend(self.meanings(id, path, pending)),
            }
        }
        if found.is_empty() && !module.names.contains_key(name) {
            for glob in &module.globs {
                let path: Vec<_> = glob.iter().cloned().chain([name.to_owned()]).collect();
                found.extend(self.meanings(id, &path, pending));
            }
        }
        found
    }
}

#[derive(Clone, Copy)]
enum Meaning<'c> {
    Module(ModuleId),
    Item(&'c Definition),
}
