//! `docs/spec-coverage.md` names code and tests for every section of every standard. This holds it against the tree.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_row_of_the_coverage_names_code_and_tests_that_exist() {
    let text = fs::read_to_string(root().join("docs/spec-coverage.md")).unwrap();
    let mut faults = Vec::new();
    let mut rows = 0;
    for (line, row) in (1..).zip(text.lines()).filter(|(_, line)| line.starts_with('|')) {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        if row.starts_with("|---") || cells[1..] == ["requirement", "code", "tests"] || cells[0] == "where" {
            continue;
        }
        rows += 1;
        faults.extend(faults_of(&cells).into_iter().map(|fault| format!("line {line}: {fault}")));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(rows > 100, "only {rows} rows were found: has the table's form changed?");
}

fn faults_of(cells: &[&str]) -> Vec<String> {
    let [section, requirement, code, tests] = cells else { return vec![format!("{} cells", cells.len())] };
    let mut faults = Vec::new();
    if section.is_empty() || requirement.is_empty() {
        faults.push("section or requirement is empty".to_owned());
    }
    let names = if tests.starts_with("not ") { Vec::new() } else { spans(tests) };
    let paths = spans(code);
    let reason = |prefix| tests.strip_prefix(prefix).is_some_and(|reason: &str| !reason.is_empty());
    match (*code, paths.is_empty(), names.is_empty()) {
        ("–", _, _) if reason("not covered: ") => {}
        (_, false, true) if reason("not tested: ") => {}
        (_, false, false) => {}
        _ => faults.push("neither code and tests, nor a reason".to_owned()),
    }
    faults.extend(paths.iter().filter(|path| !root().join(path).is_file()).map(|path| format!("no file {path}")));
    faults.extend(names.iter().filter(|name| !is_test(name)).map(|name| format!("no test {name}")));
    faults
}

/// What stands between backquotes.
fn spans(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// Whether `crate/file::name` is a function marked as a test.
fn is_test(reference: &str) -> bool {
    let Some(((folder, file), name)) =
        reference.split_once("::").and_then(|(path, name)| Some((path.split_once('/')?, name)))
    else {
        return false;
    };
    let folder = root().join("crates").join(folder);
    [folder.join("tests"), folder.join("src")].iter().any(|folder| {
        let text = fs::read_to_string(folder.join(file).with_extension("rs")).unwrap_or_default();
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        let declared = format!("fn {name}(");
        let marked = |at: usize| {
            let attributes =
                lines[..at].iter().rev().take_while(|line| line.starts_with("#[") || line.starts_with("//"));
            attributes.into_iter().any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
        };
        lines.iter().enumerate().any(|(at, line)| line.contains(&declared) && marked(at))
    })
}

fn root() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).to_path_buf()
}
