//! `docs/errors.md` and the code say the same.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use oid4pay::refusal::Code;
use support::schema::documented_codes;

/// The words in quotation marks that look like codes.
fn quoted(line: &str) -> impl Iterator<Item = String> {
    let words = line.split('"').skip(1).step_by(2);
    words
        .filter(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
        .map(str::to_owned)
}

/// What the `fn code` bodies of a file of the client can give.
fn clients(file: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../oid4ac-client/src").join(file);
    let text = fs::read_to_string(path).unwrap();
    let mut codes = BTreeSet::new();
    let mut inside = false;
    for line in text.lines() {
        inside = (inside || line.contains("fn code(")) && line != "    }";
        if inside {
            codes.extend(quoted(line));
        }
    }
    assert!(!codes.is_empty(), "{file} has no codes");
    codes
}

/// What the protocol lists, of a server's codes.
fn remote() -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../oid4ac-client/src/remote.rs");
    let text = fs::read_to_string(path).unwrap();
    text.split("#[cfg(test)]").next().unwrap().lines().flat_map(quoted).collect()
}

/// What the sources in a folder make refusals with.
fn used(folder: &Path) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            names.extend(used(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let name = |after: &str| after.chars().take_while(char::is_ascii_alphanumeric).collect();
            names.extend(text.split("Code::").skip(1).map(name));
        }
    }
    names
}

/// The codes of the guard's findings that stop a payment.
fn guards() -> BTreeSet<String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../spend-guard/src");
    let mut codes = BTreeSet::new();
    for (file, call) in [
        ("policy/evaluate.rs", "found.deny("),
        ("policy/evaluate.rs", "self.add("),
        ("ledger/guard.rs", "evaluation.deny("),
    ] {
        let text = fs::read_to_string(source.join(file)).unwrap();
        let arguments = text.split(call).skip(1).map(str::trim_start).filter(|argument| argument.starts_with('"'));
        codes.extend(arguments.filter_map(|argument| quoted(argument).next()));
    }
    for (file, name) in [
        ("ledger/guard.rs", "FROZEN"),
        ("ledger/guard.rs", "POLICY_UNCONFIRMED"),
        ("ledger/claim.rs", "CAP_NOT_ALLOWED"),
    ] {
        let text = fs::read_to_string(source.join(file)).unwrap();
        codes.extend(text.lines().filter(|line| line.starts_with(&format!("const {name}: &str"))).flat_map(quoted));
    }
    assert!(codes.remove("approval_required"), "{codes:?}");
    codes
}

#[test]
fn every_code_is_documented_and_every_documented_code_exists() {
    let all: Vec<_> = documented_codes().collect();
    let documented: BTreeSet<_> = all.iter().copied().collect();
    assert_eq!(all.len(), documented.len(), "a code is documented twice");
    let known: BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(known.len(), Code::ALL.len(), "a code stands there twice");

    let undocumented: Vec<_> = known.difference(&documented).collect();
    assert!(undocumented.is_empty(), "not in docs/errors.md: {undocumented:?}");
    let invented: Vec<_> = documented.difference(&known).collect();
    assert!(invented.is_empty(), "no code makes these: {invented:?}");
}

#[test]
fn every_code_of_client_guard_and_protocol_is_one_of_the_closed_list() {
    let mut said = clients("error.rs");
    said.extend(clients("http.rs"));
    said.extend(clients("wallet/principal_token.rs"));
    said.extend(guards());
    said.extend(remote());
    let unknown: Vec<_> = said.iter().filter(|code| Code::parse(code).is_none()).collect();
    assert!(unknown.is_empty(), "not in the list: {unknown:?}");

    let source = |path: &str| used(&Path::new(env!("CARGO_MANIFEST_DIR")).join(path));
    let used = &source("src") | &source("../oid4pay/src");
    let is_said = |code: &&Code| said.contains(code.as_str()) || used.contains(&format!("{code:?}"));
    let idle: Vec<_> = Code::ALL.iter().filter(|code| !is_said(code)).collect();
    assert!(idle.is_empty(), "nothing makes these: {idle:?}");
}
