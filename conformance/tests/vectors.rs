//! `conformance vectors`: recorded cases of every kind, most of them made by implementations that share no code with
//! this one, and what is no case at all.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use serde_json::{Value, json};
use support::{judge, signed, verdicts};

/// Judges a file of cases, each of which says in `expect` what the verdict has to be.
fn check(kind: &str, file: &str) {
    let verdicts = verdicts(kind, file);
    assert_eq!(verdicts.len(), file.lines().count());
    for (verdict, line) in verdicts.into_iter().zip(file.lines()) {
        let case: Value = serde_json::from_str(line).unwrap();
        let mut expected = case["expect"].clone();
        expected["id"] = case["id"].clone();
        assert_eq!(verdict, expected, "{}", case["source"]);
    }
}

#[test]
fn canonical_json_is_that_of_rfc8785() {
    check("jcs", include_str!("cases/jcs.jsonl"));
}

#[test]
fn keys_are_judged_as_the_rfcs_say() {
    check("jwk", include_str!("cases/jwk.jsonl"));
}

#[test]
fn compact_jws_are_judged_as_the_rfcs_say() {
    check("jws", include_str!("cases/jws.jsonl"));
}

#[test]
fn dpop_proofs_are_judged_as_the_rfcs_say() {
    check("dpop", include_str!("cases/dpop.jsonl"));
}

#[test]
fn status_lists_are_judged_as_the_standard_says() {
    check("status-list", include_str!("cases/status-list.jsonl"));
}

#[test]
fn sd_jwts_are_judged_as_the_rfcs_say() {
    check("sd-jwt", include_str!("cases/sd-jwt.jsonl"));
}

#[test]
fn signed_messages_are_judged_as_the_rfcs_say() {
    check("http-sig", include_str!("cases/http-sig.jsonl"));
}

#[test]
fn what_is_signed_here_is_accepted_here_with_the_value_it_says() {
    for kind in ["sd-jwt", "http-sig", "jws", "jwk", "dpop"] {
        let signed = signed(kind);
        assert!(!signed.is_empty());
        for (verdict, case) in judge(kind, &signed).iter().zip(&signed) {
            assert_eq!(verdict["verdict"], "accepted", "{kind} {verdict}");
            if let Some(value) = case.get("value") {
                assert_eq!(verdict["value"], *value, "{kind} {}", case["id"]);
            }
        }
    }
}

#[test]
fn a_line_that_is_no_case_gets_an_error_in_its_place() {
    let lines = concat!(
        "{\"id\":\"first\",\"input\":\"[1]\"}\n",
        "\n",
        "not JSON\n",
        "[]\n",
        "{\"input\":\"[1]\"}\n",
        "{\"id\":\"no input\"}\n",
        "{\"id\":\"wrong type\",\"input\":7}\n",
        "{\"id\":\"unknown members are ignored\",\"input\":\"{}\",\"note\":1}\n",
        "{\"id\":\"no line end\",\"input\":\"\\\"\\\"\"}",
    );
    let error = |id: Value| json!({ "id": id, "verdict": "error" });
    assert_eq!(
        verdicts("jcs", lines),
        [
            json!({ "id": "first", "verdict": "accepted", "value": "[1]" }),
            error(Value::Null),
            error(Value::Null),
            error(Value::Null),
            error(Value::Null),
            error("no input".into()),
            error("wrong type".into()),
            json!({ "id": "unknown members are ignored", "verdict": "accepted", "value": "{}" }),
            json!({ "id": "no line end", "verdict": "accepted", "value": "\"\"" }),
        ]
    );
}

#[test]
fn no_kind_takes_another_kinds_cases() {
    for kind in ["sd-jwt", "http-sig", "jws", "jwk", "status-list", "dpop"] {
        assert_eq!(judge(kind, &[json!({ "id": 1, "input": "{}" })])[0]["verdict"], "error", "{kind}");
    }
    assert!(verdicts("jws", "").is_empty());
}

#[test]
fn a_line_that_is_not_utf8_gets_an_error() {
    // A lone surrogate in the case itself is no Unicode text either.
    assert_eq!(verdicts("jcs", "{\"id\":\"\\ud800\",\"input\":\"1\"}\n")[0]["verdict"], "error");
}
