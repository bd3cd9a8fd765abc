//! The proofs that RFC 9449 prints, kept in `vectors/rfc9449.json`.
#![allow(clippy::unwrap_used, reason = "tests")]

use dpop::{Ath, Htu, Nonce, ProofCheck, VerifiedProof, VerifyError};
use jose::Thumbprint;
use serde_json::Value;

/// Verifies one record; its members are the inputs of a check, by their own names.
fn verify(record: &Value) -> Result<VerifiedProof, VerifyError> {
    let text = |name: &str| record[name].as_str();
    let htu = Htu::parse(text("url").unwrap()).unwrap();
    let jkt = text("jkt").map(|jkt| Thumbprint::parse(jkt).unwrap());
    let nonce = text("nonce").map(|nonce| Nonce::parse(nonce).unwrap());
    let mut check = ProofCheck::new(text("method").unwrap(), &htu, record["now"].as_i64().unwrap())
        .window(record["window"].as_u64().unwrap().try_into().unwrap());
    if let Some(jkt) = &jkt {
        check = check.jkt(jkt);
    }
    if let Some(access_token) = text("access_token") {
        check = check.access_token(access_token);
    }
    if let Some(nonce) = &nonce {
        check = check.nonce(nonce);
    }
    check.verify(text("proof").unwrap())
}

fn records() -> Vec<Value> {
    serde_json::from_str(include_str!("vectors/rfc9449.json")).unwrap()
}

#[test]
fn verifies_the_proofs_of_rfc_9449() {
    let mut good = 0;
    for record in records() {
        let at = format!("{} {}", record["source"], record["section"]);
        let verified = verify(&record);
        if record["must_fail"] == true {
            assert_eq!(verified, Err(VerifyError::KeyMissing), "{at}");
            continue;
        }
        let verified = verified.expect(&at);
        assert_eq!(verified.jti(), record["jti"], "{at}");
        assert_eq!(verified.jkt().as_str(), record["jkt"], "{at}");
        assert_eq!(verified.iat(), record["now"], "{at}");
        good += 1;
    }
    assert_eq!(good, 3);
}

#[test]
fn rejects_the_proofs_of_rfc_9449_elsewhere_and_at_another_time() {
    for record in records().into_iter().filter(|record| record["must_fail"] == false) {
        let changed = |name: &str, value: Value| {
            let mut record = record.clone();
            record[name] = value;
            verify(&record).map(|_| ())
        };
        let (iat, now) = (record["now"].as_i64().unwrap(), record["now"].as_i64().unwrap() + 61);
        assert_eq!(changed("method", "PUT".into()), Err(VerifyError::HtmMismatch));
        assert_eq!(changed("url", "https://server.example.com/other".into()), Err(VerifyError::HtuMismatch));
        assert_eq!(changed("now", now.into()), Err(VerifyError::IatOutsideWindow { iat, now, window: 60 }));
        assert_eq!(changed("jkt", "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k".into()), Err(VerifyError::KeyNotBound));
        assert_eq!(changed("nonce", "n".into()), Err(VerifyError::NonceMissing));
        let expected =
            if record["access_token"].is_null() { VerifyError::AthMissing } else { VerifyError::AthMismatch };
        assert_eq!(changed("access_token", "another".into()), Err(expected));
    }
}

/// The proofs in the folder of shared vectors, where that is present.
#[test]
fn agrees_with_the_shared_vectors() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors/dpop/rfc9449-examples.json");
    let Ok(text) = std::fs::read(path) else {
        assert!(std::env::var_os("VECTORS_REQUIRED").is_none(), "missing: {path}");
        println!("skipped: {path} is not there");
        return;
    };
    let all: Value = serde_json::from_slice(&text).unwrap();
    let mut compared = 0;
    for example in all["examples"].as_array().unwrap().iter().filter(|example| example["header"]["typ"] == "dpop+jwt") {
        let claims = &example["payload"];
        let mut record = serde_json::json!({
            "proof": example["jwt"], "method": claims["htm"], "url": claims["htu"], "now": claims["iat"], "window": 60,
            "jkt": example["jkt"],
        });
        if let Some(access_token) = example["access_token"].as_str() {
            record["access_token"] = access_token.into();
            assert_eq!(Ath::of(access_token).as_str(), claims["ath"]);
        }
        assert_eq!(verify(&record).unwrap().jti(), claims["jti"]);
        compared += 1;
    }
    assert!(compared > 0);
}
