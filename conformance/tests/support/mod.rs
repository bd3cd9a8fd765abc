//! The binary under test, and where the test data of others is.

#![allow(dead_code, clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

/// Runs `conformance vectors KIND` over these lines.
pub(crate) fn verdicts(kind: &str, lines: &str) -> Vec<Value> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_conformance"))
        .args(["vectors", kind])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let lines = lines.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    lines_of(&output.stdout)
}

/// The cases that `conformance sign KIND` prints.
pub(crate) fn signed(kind: &str) -> Vec<Value> {
    let output = Command::new(env!("CARGO_BIN_EXE_conformance")).args(["sign", kind]).output().unwrap();
    assert!(output.status.success());
    lines_of(&output.stdout)
}

fn lines_of(output: &[u8]) -> Vec<Value> {
    output.split_inclusive(|octet| *octet == b'\n').map(|line| serde_json::from_slice(line).unwrap()).collect()
}

/// The verdicts on these cases, in their order.
pub(crate) fn judge(kind: &str, cases: &[Value]) -> Vec<Value> {
    let lines: String = cases.iter().map(|case| format!("{case}\n")).collect();
    let verdicts = verdicts(kind, &lines);
    assert_eq!(verdicts.len(), cases.len());
    for (case, verdict) in cases.iter().zip(&verdicts) {
        assert_eq!(case["id"], verdict["id"]);
    }
    verdicts
}

/// The folder of the vectors that are not part of this repository. `None`, with a notice, where it is absent.
pub(crate) fn shared() -> Option<PathBuf> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/vectors"));
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(std::env::var_os("VECTORS_REQUIRED").is_none_or(|value| value != "1"), "the shared vectors are absent");
    println!("skipped: the shared vectors are absent");
    None
}

/// A JSON file below [`shared`].
pub(crate) fn read_json(folder: &std::path::Path, file: &str) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join(file)).unwrap()).unwrap()
}
