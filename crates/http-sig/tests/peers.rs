//! Messages signed by two implementations that share no code with this one.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::BTreeMap;

use http_sig::{LabelError, Verified, Verifier, VerifyError};
use jose::Jwk;
use serde::Deserialize;
use serde_json::{Map, Value};
use support::Described;

#[derive(Deserialize)]
struct Peer {
    source: String,
    keys: BTreeMap<String, Map<String, Value>>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    section: String,
    message: Described,
    request: Option<Described>,
}

fn verify(peer: &Peer, message: &Described, request: Option<&Described>) -> Result<Verified, VerifyError> {
    let keys: BTreeMap<_, _> =
        peer.keys.iter().map(|(id, jwk)| (id, Jwk::from_members(jwk.clone()).unwrap())).collect();
    let request_headers = request.map(Described::pairs);
    let request = request.zip(request_headers.as_deref()).map(|(request, headers)| request.message(headers));
    let headers = message.pairs();
    let mut message = message.message(&headers);
    if let Some(request) = &request {
        message = message.in_reply_to(request);
    }
    Verifier::new().max_lifetime(300).verify(&message, 1_700_000_001, |keyid| keys.get(&keyid.to_owned()).map(Jwk::key))
}

#[test]
fn verifies_what_other_implementations_signed_and_no_altered_twin() {
    let peers: Vec<Peer> = serde_json::from_str(include_str!("vectors/peers.json")).unwrap();
    let mut verified = 0;
    for peer in &peers {
        for Case { section, message, request } in &peer.cases {
            let name = format!("{}: {section}", peer.source);
            let request = request.as_ref();
            verify(peer, message, request).unwrap_or_else(|error| panic!("{name}: {error}"));
            verified += 1;
            for (from, to) in [("created=1700000000", "created=1700000001"), (";nonce=", ";nonce=\"\";n=")] {
                let mut twin = message.clone();
                let input = twin.headers.iter_mut().find(|(field, _)| field == "Signature-Input").unwrap();
                input.1 = input.1.replace(from, to);
                let Err(VerifyError::Refused(refusals)) = verify(peer, &twin, request) else { panic!("{name}") };
                assert_eq!(refusals[0].reason, LabelError::BadSignature, "{name}");
            }
        }
    }
    assert_eq!(verified, 20);
}
