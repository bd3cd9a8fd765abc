//! `docs/errors.md` and the code say the same.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

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

/// What this crate's sources make refusals with.
fn ours(folder: &Path) -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            codes.extend(ours(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            for call in ["Refusal::new(", "in_words(", "told("] {
                for after in text.split(call).skip(1) {
                    let argument = after.trim_start();
                    if argument.starts_with('"') {
                        codes.extend(quoted(argument).next());
                    }
                }
            }
        }
    }
    codes
}

/// The codes in the body of a function.
fn in_body(file: &str, signature: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    let body = text.split_once(signature).unwrap().1.split("\n}\n").next().unwrap();
    body.lines().flat_map(quoted).collect()
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
    let text = fs::read_to_string(source.join("ledger/guard.rs")).unwrap();
    for name in ["FROZEN", "POLICY_UNCONFIRMED"] {
        codes.extend(text.lines().filter(|line| line.starts_with(&format!("const {name}: &str"))).flat_map(quoted));
    }
    assert!(codes.remove("approval_required"), "{codes:?}");
    codes
}

#[test]
fn every_code_is_documented_and_every_documented_code_exists() {
    let all: Vec<_> = documented_codes().collect();
    let documented: BTreeSet<_> = all.iter().map(|code| (*code).to_owned()).collect();
    assert_eq!(all.len(), documented.len(), "a code is documented twice");

    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut known = ours(&source);
    known.extend(clients("error.rs"));
    known.extend(clients("http.rs"));
    known.extend(clients("wallet/privacy.rs"));
    // Chosen by a `match`, not written in a call.
    known.extend(in_body("src/purchase.rs", "fn ledger_failed("));
    // Said by the guard, and passed on.
    known.extend(guards());

    let undocumented: Vec<_> = known.difference(&documented).collect();
    assert!(undocumented.is_empty(), "not in docs/errors.md: {undocumented:?}");
    let text = include_str!("../../../docs/errors.md");
    let (own, servers) = text.split_once("## Said by a server").unwrap();
    let in_part = |part: &str, code: &str| part.contains(&format!("| `{code}` |"));
    let invented: Vec<_> = documented.iter().filter(|code| in_part(own, code) && !known.contains(*code)).collect();
    assert!(invented.is_empty(), "no code makes these: {invented:?}");
    assert!(in_part(servers, "server_error"));
}
