use jose::{base64url, sha256};
use oid4ac_client::ChainReport;
use serde_json::{Map, Value, json};

use crate::Outcome;

/// `r`, a page of entries; or `s`, what one entry holds beside what every entry has, hashed by the general canonicalizer.
pub(crate) fn page(input: &[u8]) -> Outcome {
    let Some((kind, rest)) = input.split_first() else { return Outcome::Refused };
    if *kind != b's' {
        return (&ChainReport::of_page(rest)).into();
    }
    let Ok(payload) = serde_json::from_slice::<Value>(rest) else { return Outcome::Refused };
    let entry = json!({
        "seq": 7, "ts": "2026-05-15T05:21:28Z", "event": "e", "tenant_id": "t", "prev_hash": "p", "payload": payload,
    });
    let Value::Object(mut entry) = entry else { return Outcome::Refused };
    let Ok(canonical) = serde_json_canonicalizer::to_vec(&entry) else { return Outcome::Refused };
    entry.insert("entry_hash".to_owned(), base64url::encode(&sha256(&canonical)).into());
    let page = Map::from_iter([("entries".to_owned(), json!([entry])), ("has_more".to_owned(), json!(false))]);
    let report = ChainReport::of_page(Value::Object(page).to_string().as_bytes());
    if let Ok(report) = &report {
        assert!(report.hashes_broken.is_empty(), "both canonical forms are one");
        assert_eq!(report.hashes_verified + report.not_checkable.len() as u64, 1);
    }
    (&report).into()
}
