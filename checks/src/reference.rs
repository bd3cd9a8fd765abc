//! The paths that a module's items write down.

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use syn::ext::IdentExt as _;
use syn::visit::{self, Visit};
use syn::{Attribute, ImplItem, Item, ItemMod, ItemUse, Macro, Meta, Stmt, TraitItem, Visibility};

use crate::module::{ItemPath, Leaf, attributes, is_for_tests, is_re_export, use_leaves};

/// Every path in these items that may name something of another file.
pub(crate) fn references(items: &[Item]) -> BTreeSet<ItemPath> {
    let mut collector = Collector::default();
    items.iter().for_each(|item| collector.visit_item(item));
    collector.paths
}

#[derive(Default)]
struct Collector {
    paths: BTreeSet<ItemPath>,
}

impl Collector {
    /// Paths among the arguments of a macro, whose syntax is its own: `a::b`, and single names that are called or begin with a
    /// capital letter. What follows a dot is a field or a method.
    fn tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            match token {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Ident(_) => {
                    let (path, end) = path_at(&tokens, at);
                    let after_dot = at > 0 && matches!(&tokens[at - 1], TokenTree::Punct(p) if p.as_char() == '.');
                    let called = match tokens.get(end) {
                        Some(TokenTree::Group(group)) => group.delimiter() == Delimiter::Parenthesis,
                        Some(TokenTree::Punct(punct)) => punct.as_char() == '!',
                        _ => false,
                    };
                    let is_capital = path[0].starts_with(char::is_uppercase);
                    if !after_dot && (path.len() > 1 || called || is_capital) {
                        self.paths.insert(path);
                    }
                    at = end;
                    continue;
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
            at += 1;
        }
    }

    /// Strings in serde's attributes are paths where they name a function or module of ours.
    fn strings(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Group(group) => self.strings(group.stream()),
                TokenTree::Literal(literal) => {
                    let path = syn::parse_str::<syn::LitStr>(&literal.to_string());
                    if let Ok(path) = path.and_then(|text| text.parse::<syn::Path>()) {
                        self.paths.insert(segments(&path));
                    }
                }
                TokenTree::Ident(_) | TokenTree::Punct(_) => {}
            }
        }
    }
}

impl<'a> Visit<'a> for Collector {
    fn visit_path(&mut self, path: &'a syn::Path) {
        if path.leading_colon.is_none() {
            self.paths.insert(segments(path));
        }
        visit::visit_path(self, path);
    }

    fn visit_item_use(&mut self, declaration: &'a ItemUse) {
        if is_re_export(&declaration.vis) {
            return;
        }
        let mut leaves = Vec::new();
        use_leaves(&declaration.tree, &mut Vec::new(), &mut leaves);
        // What a glob brings in is found where it is used.
        self.paths.extend(leaves.into_iter().filter_map(|leaf| match leaf {
            Leaf::Name { path, .. } => Some(path),
            Leaf::Glob(_) => None,
        }));
    }

    fn visit_macro(&mut self, called: &'a Macro) {
        self.visit_path(&called.path);
        self.tokens(called.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'a Attribute) {
        let Meta::List(list) = &attribute.meta else { return };
        if list.path.is_ident("derive") {
            self.tokens(list.tokens.clone());
        } else if ["serde", "schemars"].iter().any(|name| list.path.is_ident(name)) {
            self.strings(list.tokens.clone());
        }
    }

    // Who may see an item is not an import.
    fn visit_visibility(&mut self, _: &'a Visibility) {}

    // Child modules are read on their own.
    fn visit_item_mod(&mut self, _: &'a ItemMod) {}

    fn visit_item(&mut self, item: &'a Item) {
        if !is_for_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item(&mut self, item: &'a ImplItem) {
        let of_tests = match item {
            ImplItem::Fn(item) => is_for_tests(&item.attrs),
            ImplItem::Const(item) => is_for_tests(&item.attrs),
            _ => false,
        };
        if !of_tests {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_trait_item(&mut self, item: &'a TraitItem) {
        let of_tests = matches!(item, TraitItem::Fn(item) if is_for_tests(&item.attrs));
        if !of_tests {
            visit::visit_trait_item(self, item);
        }
    }

    fn visit_stmt(&mut self, statement: &'a Stmt) {
        let of_tests = matches!(statement, Stmt::Local(local) if is_for_tests(&local.attrs));
        if !of_tests {
            visit::visit_stmt(self, statement);
        }
    }
}

fn segments(path: &syn::Path) -> ItemPath {
    path.segments.iter().map(|segment| segment.ident.unraw().to_string()).collect()
}

/// The path that begins with the identifier at `start`, and where it ends.
fn path_at(tokens: &[TokenTree], start: usize) -> (ItemPath, usize) {
    let mut path = ItemPath::new();
    let mut at = start;
    while let Some(TokenTree::Ident(ident)) = tokens.get(at) {
        path.push(ident.unraw().to_string());
        at += 1;
        match (tokens.get(at), tokens.get(at + 1), tokens.get(at + 2)) {
            (Some(TokenTree::Punct(a)), Some(TokenTree::Punct(b)), Some(TokenTree::Ident(_)))
                if a.as_char() == ':' && a.spacing() == Spacing::Joint && b.as_char() == ':' =>
            {
                at += 2;
            }
            _ => break,
        }
    }
    (path, at)
}
