//! The import graph of small made-up crates.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use checks::{ImportGraph, ReadError, cycles};

fn graph(files: &[(&'static str, &'static str)]) -> ImportGraph {
    ImportGraph::of_crate("src/lib.rs", &files.iter().copied().collect::<BTreeMap<_, _>>()).unwrap()
}

/// Each import as `from -> to: names`.
fn imports(graph: &ImportGraph) -> Vec<String> {
    let pairs = graph.files().flat_map(|from| graph.imported_by(from).map(move |to| (from, to)));
    let short = |file: &str| file.trim_start_matches("src/").trim_end_matches(".rs").to_owned();
    pairs
        .map(|(from, to)| {
            let names: Vec<_> = graph.names(from, to).collect();
            format!("{} -> {}: {}", short(from), short(to), names.join(" "))
        })
        .collect()
}

#[test]
fn two_files_that_use_each_other_are_a_cycle() {
    let graph = graph(&[
        ("src/lib.rs", "mod a; mod b; mod c;"),
        ("src/a.rs", "use crate::b::B; pub struct A(B);"),
        ("src/b.rs", "pub struct B; fn f() -> crate::a::A { loop {} }"),
        ("src/c.rs", "use crate::a::A; fn f(_: A) {}"),
    ]);
    assert_eq!(imports(&graph), ["a -> b: B", "b -> a: A", "c -> a: A"]);
    assert_eq!(cycles(&graph), [["src/a.rs", "src/b.rs"]]);
}

#[test]
fn a_cycle_through_several_files_is_one() {
    let graph = graph(&[
        ("src/lib.rs", "mod a; mod b; mod c; mod d; mod e;"),
        ("src/a.rs", "pub fn f() { crate::b::f() }"),
        ("src/b.rs", "pub fn f() { super::c::f() }"),
        ("src/c.rs", "pub fn f() { crate::a::f(); crate::d::f() }"),
        ("src/d.rs", "pub fn f() { crate::e::f() }"),
        ("src/e.rs", "pub fn f() { crate::d::f() }"),
    ]);
    assert_eq!(cycles(&graph), [vec!["src/a.rs", "src/b.rs", "src/c.rs"], vec!["src/d.rs", "src/e.rs"]]);
}

#[test]
fn a_parent_that_only_declares_and_re_exports_imports_nothing() {
    let graph = graph(&[
        ("src/lib.rs", "mod a; pub use a::{Child as Renamed, Other};"),
        ("src/a.rs", "mod child; mod other; pub use child::Child; pub(crate) use self::other::Other;"),
        ("src/a/child.rs", "use super::Other; pub struct Child(Other, crate::Renamed);"),
        ("src/a/other.rs", "pub struct Other;"),
    ]);
    assert_eq!(imports(&graph), ["a/child -> a/other: Other"]);
    assert_eq!(cycles(&graph), Vec::<Vec<&str>>::new());
}

#[test]
fn a_re_export_that_is_also_used_is_an_import() {
    let graph = graph(&[
        ("src/lib.rs", "mod a; pub use a::A; pub fn f(_: A) {} pub fn g() {}"),
        ("src/a.rs", "pub struct A; fn f() { crate::g() }"),
    ]);
    assert_eq!(imports(&graph), ["a -> lib: g", "lib -> a: A"]);
}

#[test]
fn a_child_imports_the_parent_that_defines_what_it_uses() {
    let graph = graph(&[
        ("src/lib.rs", "mod parent;"),
        ("src/parent.rs", "mod child; pub struct Parent; pub fn f() { child::f(&Parent) }"),
        ("src/parent/child.rs", "use super::Parent; pub fn f(_: &Parent) {}"),
    ]);
    assert_eq!(imports(&graph), ["parent -> parent/child: f", "parent/child -> parent: Parent"]);
    assert_eq!(cycles(&graph), [["src/parent.rs", "src/parent/child.rs"]]);
}

#[test]
fn tests_do_not_count() {
    let graph = graph(&[
        ("src/lib.rs", "mod a; mod b; #[cfg(test)] mod tests;"),
        ("src/a.rs", "pub fn f() { crate::b::f() }"),
        (
            "src/b.rs",
            "pub fn f() {} #[cfg(test)] use crate::a::f as g; #[cfg(all(test, unix))] mod tests { use crate::a::f; }
             pub struct B; impl B { #[cfg(test)] fn t() { crate::a::f() } }",
        ),
    ]);
    assert_eq!(imports(&graph), ["a -> b: f"]);
}

#[test]
fn what_is_left_out_of_tests_counts() {
    let graph = graph(&[
        ("src/lib.rs", "mod a; mod b;"),
        ("src/a.rs", "#[cfg(not(test))] pub fn f() { crate::b::f() } #[cfg(any(test, unix))] fn g() { crate::b::g() }"),
        ("src/b.rs", "pub fn f() {} pub fn g() {}"),
    ]);
    assert_eq!(imports(&graph), ["a -> b: f g"]);
}

#[test]
fn paths_count_in_types_patterns_macros_and_attributes() {
    let graph = graph(&[
        ("src/lib.rs", "mod a; mod b;"),
        (
            "src/a.rs",
            r#"
            use crate::b;
            struct S { #[serde(with = "crate::b::module", default = "b::default")] field: Vec<b::Type> }
            fn f(x: u8) -> impl Into<b::Bound> {
                let b::Pattern { .. } = x else { unreachable!() };
                println!("{} {}", b::argument(x), x.not_b);
                b::a_macro!();
            }
            impl b::Trait for S {}
            #[derive(b::Derived)] struct T;
            "#,
        ),
        (
            "src/b.rs",
            "pub mod module {} pub struct Type; pub trait Bound {} pub struct Pattern {} pub trait Trait {}
             pub fn default() {} pub fn argument() {} macro_rules! a_macro { () => {} } pub(crate) use a_macro;
             pub struct Derived;",
        ),
    ]);
    assert_eq!(imports(&graph), ["a -> b: Bound Derived Pattern Trait Type a_macro argument default"]);
}

#[test]
fn globs_are_followed_to_what_is_used_of_them() {
    let graph = graph(&[
        ("src/lib.rs", "mod a; mod b; mod c;"),
        ("src/a.rs", "use crate::b::*; fn f(_: Used, _: Vec<u8>) {}"),
        ("src/b.rs", "pub use crate::c::*; pub struct Unused;"),
        ("src/c.rs", "pub struct Used;"),
    ]);
    assert_eq!(imports(&graph), ["a -> c: Used"]);
}

#[test]
fn modules_inside_a_file_belong_to_it() {
    let graph = graph(&[
        ("src/lib.rs", "mod a { pub mod b; pub fn f() { super::g() } } fn g() { a::f() }"),
        ("src/a/b.rs", "pub fn h() { super::f(); super::super::a::f() }"),
    ]);
    assert_eq!(imports(&graph), ["a/b -> lib: f"]);
}

#[test]
fn other_crates_visibility_and_local_names_are_no_imports() {
    let graph = graph(&[
        ("src/lib.rs", "mod a; pub struct Lib; pub fn local() {}"),
        (
            "src/a.rs",
            "use std::fmt; pub(in crate) struct A; pub(super) fn f(local: u8) -> u8 { let x = fmt::Error; local }
             impl A { fn g() { ::other::Lib::new(); Self::local() } fn local() {} }",
        ),
    ]);
    assert_eq!(imports(&graph), Vec::<String>::new());
}

#[test]
fn names_that_import_each_other_end_the_search() {
    let graph = graph(&[
        ("src/lib.rs", "mod a; mod b;"),
        ("src/a.rs", "pub use crate::b::X; pub use crate::b::*; fn f(_: X, _: Y) {}"),
        ("src/b.rs", "pub use crate::a::X; pub use crate::a::*; fn f(_: X, _: Y) {}"),
    ]);
    assert_eq!(imports(&graph), Vec::<String>::new());
}

#[test]
fn a_module_without_a_file_is_an_error() {
    let files = BTreeMap::from([("src/lib.rs", "mod a;")]);
    let error = ImportGraph::of_crate("src/lib.rs", &files).unwrap_err();
    assert!(matches!(&error, ReadError::Missing(file) if file == "src/a.rs"), "{error}");
}

#[test]
fn a_module_may_be_in_a_folder_of_its_own() {
    let graph = graph(&[
        ("src/lib.rs", "mod a; mod r#type;"),
        ("src/a/mod.rs", "mod b; fn f(_: b::B) {}"),
        ("src/a/b.rs", "pub struct B; fn f(_: crate::r#type::T) {}"),
        ("src/type.rs", "pub struct T;"),
    ]);
    assert_eq!(imports(&graph), ["a/b -> type: T", "a/mod -> a/b: B"]);
}
