//! The vectors that are kept outside this repository: RFC 9421 Appendix B, JCS, thumbprints, DPoP proofs, status lists.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use support::{judge, read_json, shared};

#[test]
fn rfc9421_appendix_b_has_the_verdicts_and_bases_printed() {
    let Some(folder) = shared() else { return };
    let file = read_json(&folder, "rfc9421/appendix-b.json");
    let printed = file["cases"].as_array().unwrap();
    let cases: Vec<Value> = printed
        .iter()
        .map(|case| {
            let mut message = case["message"].clone();
            let body = message["body"].as_str().unwrap_or_default().to_owned();
            let text = |name: &str| case["message"][name].as_str().unwrap_or_default();
            let url = format!("{}://{}{}", text("scheme"), text("authority"), text("target"));
            message["url"] = url.into();
            message["body_b64"] = STANDARD.encode(body).into();
            json!({ "id": case["name"], "message": message, "keys": file["keys"], "label": case["label"] })
        })
        .collect();
    for (verdict, case) in judge("http-sig", &cases).iter().zip(printed) {
        match case["expect"].as_str().unwrap() {
            "valid" => {
                let value = json!({ "label": case["label"], "base": case["expected_base"] });
                assert_eq!(verdict["value"], value, "{}", case["name"]);
            }
            _ => assert_eq!(verdict["rule"], "BadSignature", "{}", case["name"]),
        }
    }
    assert!(printed.len() >= 9);
}

#[test]
fn jcs_inputs_have_the_outputs_given() {
    let Some(folder) = shared() else { return };
    let mut cases = Vec::new();
    let mut outputs = Vec::new();
    for entry in std::fs::read_dir(folder.join("jcs/input")).unwrap() {
        let input = entry.unwrap().path();
        let name = input.file_stem().unwrap().to_str().unwrap().to_owned();
        cases.push(json!({ "id": name, "input": std::fs::read_to_string(&input).unwrap() }));
        let hex = std::fs::read_to_string(folder.join(format!("jcs/outhex/{name}.txt"))).unwrap();
        let octets = hex.split_whitespace().map(|octet| u8::from_str_radix(octet, 16).unwrap());
        outputs.push(String::from_utf8(octets.collect()).unwrap());
    }
    for (verdict, output) in judge("jcs", &cases).iter().zip(&outputs) {
        assert_eq!(verdict["value"], output.as_str(), "{}", verdict["id"]);
    }
    assert_eq!(cases.len(), 6);
}

#[test]
fn keys_have_the_thumbprints_of_the_rfcs() {
    let Some(folder) = shared() else { return };
    let file = read_json(&folder, "jwk/rfc7638-8037.json");
    let printed = file["thumbprints"].as_array().unwrap();
    let cases: Vec<Value> = printed.iter().map(|key| json!({ "id": key["source"], "jwk": key["jwk"] })).collect();
    for (verdict, key) in judge("jwk", &cases).iter().zip(printed) {
        match key["jwk"]["kty"].as_str().unwrap() {
            "RSA" => assert_eq!(verdict["rule"], "Unsupported"),
            _ => assert_eq!(verdict["value"]["thumbprint"], key["thumbprint"], "{}", key["source"]),
        }
    }

    let printed = file["jws"].as_array().unwrap();
    let cases: Vec<Value> =
        printed.iter().map(|jws| json!({ "id": jws["source"], "jws": jws["jws"], "jwk": jws["jwk"] })).collect();
    for (verdict, jws) in judge("jws", &cases).iter().zip(printed) {
        let payload = jws["jws"].as_str().unwrap().split('.').nth(1).unwrap();
        assert_eq!(verdict["value"], payload, "{}", jws["source"]);
    }
}

#[test]
fn dpop_proofs_of_rfc9449_are_accepted_for_what_they_are_for() {
    let Some(folder) = shared() else { return };
    let file = read_json(&folder, "dpop/rfc9449-examples.json");
    let mut cases = Vec::new();
    for example in file["examples"].as_array().unwrap().iter().filter(|example| example["signature"] == "valid") {
        let payload = &example["payload"];
        let mut case = json!({
            "id": payload["jti"], "proof": example["jwt"], "method": payload["htm"], "url": payload["htu"],
            "now": payload["iat"], "window": 60, "jkt": example["jkt"],
        });
        if payload.get("ath").is_some() {
            case["access_token"] = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU".into();
        }
        cases.push(case);
    }
    for (verdict, case) in judge("dpop", &cases).iter().zip(&cases) {
        assert_eq!(verdict["value"], json!({ "jti": case["id"], "jkt": case["jkt"] }));
    }
    assert!(cases.len() >= 3);

    let late: Vec<Value> = cases
        .into_iter()
        .map(|mut case| {
            case["now"] = json!(case["now"].as_i64().unwrap() + 61);
            case
        })
        .collect();
    assert!(judge("dpop", &late).iter().all(|verdict| verdict["rule"] == "IatOutsideWindow"));
}

#[test]
fn status_lists_have_exactly_the_bits_given() {
    let Some(folder) = shared() else { return };
    let file = read_json(&folder, "status-list/lists.json");
    for list in file["lists"].as_array().unwrap() {
        let length = list["length_bits"].as_u64().unwrap();
        let set = list["set_indices_msb_first"].as_array().unwrap();
        let mut indices: Vec<u64> = vec![0, 1, 7, 8, 9, length / 2, length - 1];
        indices.extend(set.iter().flat_map(|bit| [bit.as_u64().unwrap() - 1, bit.as_u64().unwrap()]));
        let case = |index: &u64| json!({ "id": index, "encoded": list["encodedList"], "index": index });
        let cases: Vec<Value> = indices.iter().map(case).collect();
        for verdict in judge("status-list", &cases) {
            assert_eq!(verdict["value"], u8::from(set.contains(&verdict["id"])), "{} {verdict}", list["source"]);
        }
        assert_eq!(judge("status-list", &[case(&length)])[0]["rule"], "IndexOutOfRange");
    }
}
