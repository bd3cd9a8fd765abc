//! The module tree of a crate: which module is in which file, and what it declares.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use syn::ext::IdentExt as _;
use syn::punctuated::Punctuated;
use syn::{Attribute, Item, ItemMod, Meta, Token, UseTree, Visibility};

/// Where files come from: a folder, or a map in a test.
pub trait Sources {
    /// The text of a file, or `None` if no file has this name.
    ///
    /// # Errors
    ///
    /// - [`io::Error`] if the file is there and cannot be read.
    fn text(&self, file: &str) -> io::Result<Option<String>>;
}

impl Sources for &Path {
    fn text(&self, file: &str) -> io::Result<Option<String>> {
        match fs::read_to_string(self.join(file)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Sources for BTreeMap<&str, &str> {
    fn text(&self, file: &str) -> io::Result<Option<String>> {
        Ok(self.get(file).map(|text| (*text).to_owned()))
    }
}

/// Why a crate could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// A module is declared and has no file.
    #[error("{0}: there is no such file")]
    Missing(String),
    /// A file could not be read.
    #[error("{file}: {source}")]
    Io {
        /// The file.
        file: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is not Rust.
    #[error("{file}: {source}")]
    Syntax {
        /// The file.
        file: String,
        /// Where and why.
        #[source]
        source: syn::Error,
    },
}

/// Names a module of a [`Crate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ModuleId(usize);

impl ModuleId {
    pub(crate) const ROOT: Self = Self(0);
}

/// A path as it is written, segment by segment, without generic arguments.
pub(crate) type ItemPath = Vec<String>;

/// One meaning of a name in a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Module(ModuleId),
    Item(Definition),
    /// Brought in by a `use` declaration.
    Import(ItemPath),
}

/// An item, and the file that defines it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Definition {
    pub(crate) file: String,
    pub(crate) name: String,
}

pub(crate) struct Module {
    pub(crate) file: String,
    pub(crate) parent: Option<ModuleId>,
    pub(crate) names: BTreeMap<String, Vec<Entry>>,
    /// The paths of `use path::*`.
    pub(crate) globs: Vec<ItemPath>,
    /// Everything but the child modules, without what is for tests only.
    pub(crate) items: Vec<Item>,
}

/// All modules of a crate.
pub(crate) struct Crate {
    modules: Vec<Module>,
}

impl Crate {
    pub(crate) fn read(root: &str, sources: &dyn Sources) -> Result<Self, ReadError> {
        let mut reader = Reader { sources, modules: Vec::new() };
        let folder = root.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
        let text = reader.text(root)?.ok_or_else(|| ReadError::Missing(root.to_owned()))?;
        let items = parse(root, &text)?;
        reader.module(None, root, &folder, items)?;
        Ok(Self { modules: reader.modules })
    }

    pub(crate) fn module(&self, id: ModuleId) -> &Module {
        &self.modules[id.0]
    }

    pub(crate) fn modules(&self) -> impl Iterator<Item = (ModuleId, &Module)> {
        self.modules.iter().enumerate().map(|(index, module)| (ModuleId(index), module))
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = &str> {
        self.modules.iter().map(|module| module.file.as_str())
    }
}

struct Reader<'s> {
    sources: &'s dyn Sources,
    modules: Vec<Module>,
}

impl Reader<'_> {
    /// Reads a module and all below it. `folder` is where the files of its children are.
    fn module(
        &mut self,
        parent: Option<ModuleId>,
        file: &str,
        folder: &str,
        items: Vec<Item>,
    ) -> Result<ModuleId, ReadError> {
        let id = ModuleId(self.modules.len());
        let (names, globs) = (BTreeMap::new(), Vec::new());
        self.modules.push(Module { file: file.to_owned(), parent, names, globs, items: Vec::new() });
        for item in items {
            if is_for_tests(attributes(&item)) {
                continue;
            }
            if let Item::Mod(declared) = item {
                let child = self.child(id, file, folder, declared)?;
                self.modules[id.0].names.entry(child.0).or_default().push(Entry::Module(child.1));
            } else {
                self.declare(id, file, &item);
                self.modules[id.0].items.push(item);
            }
        }
        Ok(id)
    }

    fn child(
        &mut self,
        parent: ModuleId,
        file: &str,
        folder: &str,
        declared: ItemMod,
    ) -> Result<(String, ModuleId), ReadError> {
        let name = declared.ident.unraw().to_string();
        let inside = join(folder, &name);
        if let Some((_, items)) = declared.content {
            return Ok((name, self.module(Some(parent), file, &inside, items)?));
        }
        for candidate in [format!("{inside}.rs"), format!("{inside}/mod.rs")] {
            if let Some(text) = self.text(&candidate)? {
                let items = parse(&candidate, &text)?;
                return Ok((name, self.module(Some(parent), &candidate, &inside, items)?));
            }
        }
        Err(ReadError::Missing(format!("{inside}.rs")))
    }

    /// Enters the names that an item gives to its module.
    fn declare(&mut self, id: ModuleId, file: &str, item: &Item) {
        if let Item::Use(declaration) = item {
            let mut leaves = Vec::new();
            use_leaves(&declaration.tree, &mut Vec::new(), &mut leaves);
            for leaf in leaves {
                match leaf {
                    Leaf::Glob(path) => self.modules[id.0].globs.push(path),
                    Leaf::Name { path, name } => {
                        self.modules[id.0].names.entry(name).or_default().push(Entry::Import(path));
                    }
                }
            }
            return;
        }
        let Some(name) = item_name(item) else { return };
        let entry = Entry::Item(Definition { file: file.to_owned(), name: name.clone() });
        let exported =
            matches!(item, Item::Macro(_)) && attributes(item).iter().any(|a| a.path().is_ident("macro_export"));
        let home = if exported { ModuleId::ROOT } else { id };
        self.modules[home.0].names.entry(name).or_default().push(entry);
    }

    fn text(&self, file: &str) -> Result<Option<String>, ReadError> {
        self.sources.text(file).map_err(|source| ReadError::Io { file: file.to_owned(), source })
    }
}

/// What a `use` tree brings in.
pub(crate) enum Leaf {
    Name { path: ItemPath, name: String },
    Glob(ItemPath),
}

/// Takes a `use` tree apart into its leaves.
pub(crate) fn use_leaves(tree: &UseTree, prefix: &mut ItemPath, leaves: &mut Vec<Leaf>) {
    match tree {
        UseTree::Path(path) => {
            prefix.push(path.ident.unraw().to_string());
            use_leaves(&path.tree, prefix, leaves);
            prefix.pop();
        }
        UseTree::Name(name) => {
            let name = name.ident.unraw().to_string();
            // `use a::b::{self}` names `b`.
            if name == "self" {
                let last = prefix.last().cloned().unwrap_or_default();
                leaves.push(Leaf::Name { path: prefix.clone(), name: last });
            } else {
                leaves.push(Leaf::Name { path: joined(prefix, &name), name });
            }
        }
        UseTree::Rename(rename) => {
            let own = rename.ident.unraw().to_string();
            let path = if own == "self" { prefix.clone() } else { joined(prefix, &own) };
            leaves.push(Leaf::Name { path, name: rename.rename.unraw().to_string() });
        }
        UseTree::Glob(_) => leaves.push(Leaf::Glob(prefix.clone())),
        UseTree::Group(group) => group.items.iter().for_each(|tree| use_leaves(tree, prefix, leaves)),
    }
}

/// Whether a `use` declaration hands names on to other modules.
pub(crate) fn is_re_export(visibility: &Visibility) -> bool {
    !matches!(visibility, Visibility::Inherited)
}

/// Whether what bears these attributes is compiled for tests only.
pub(crate) fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => {
            list.parse_args::<Meta>().is_ok_and(|condition| implies_test(&condition))
        }
        _ => false,
    })
}

fn implies_test(condition: &Meta) -> bool {
    let Meta::List(list) = condition else { return condition.path().is_ident("test") };
    let parts = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated).unwrap_or_default();
    if list.path.is_ident("all") {
        parts.iter().any(implies_test)
    } else {
        list.path.is_ident("any") && !parts.is_empty() && parts.iter().all(implies_test)
    }
}

pub(crate) fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn item_name(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::TraitAlias(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(ident.unraw().to_string())
}

fn parse(file: &str, text: &str) -> Result<Vec<Item>, ReadError> {
    let parsed = syn::parse_file(text).map_err(|source| ReadError::Syntax { file: file.to_owned(), source })?;
    // A file may say of itself that it is for tests only.
    Ok(if is_for_tests(&parsed.attrs) { Vec::new() } else { parsed.items })
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

fn joined(prefix: &[String], name: &str) -> ItemPath {
    prefix.iter().cloned().chain([name.to_owned()]).collect()
}
