//! No import cycle between the files of any crate of this repository.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use checks::{ImportGraph, cycles};

#[test]
fn no_file_imports_a_file_that_imports_it() {
    let mut faults = String::new();
    let roots = crate_roots();
    for root in &roots {
        let graph = ImportGraph::of_crate(root, &repository()).unwrap();
        cycles(&graph).iter().for_each(|cycle| describe(&graph, cycle, &mut faults));
    }
    assert!(roots.len() >= 10, "only {} crates were found", roots.len());
    assert!(faults.is_empty(), "{faults}");
}

fn describe(graph: &ImportGraph, cycle: &[&str], out: &mut String) {
    writeln!(out, "\nThese {} files import each other in a cycle:", cycle.len()).unwrap();
    for from in cycle {
        for to in graph.imported_by(from).filter(|to| cycle.contains(to)) {
            let names: Vec<_> = graph.names(from, to).collect();
            writeln!(out, "  {from} takes from {to}: {}", names.join(", ")).unwrap();
        }
    }
}

/// The root file of every crate with sources: libraries and programs, also those outside the workspace.
fn crate_roots() -> Vec<String> {
    let mut roots = Vec::new();
    visit(repository(), "", &mut roots);
    roots.sort();
    roots
}

fn visit(repository: &Path, folder: &str, roots: &mut Vec<String>) {
    for entry in fs::read_dir(repository.join(folder)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        if name == "Cargo.toml" {
            for root in ["src/lib.rs", "src/main.rs"] {
                if repository.join(folder).join(root).is_file() {
                    roots.push(format!("{folder}/{root}"));
                }
            }
        } else if entry.file_type().unwrap().is_dir() && !is_left_out(&name) {
            visit(repository, &path, roots);
        }
    }
}

/// Folders that hold no crate of ours.
fn is_left_out(name: &str) -> bool {
    name.starts_with('.') || ["target", "node_modules", "src", "tests"].contains(&name)
}

fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
