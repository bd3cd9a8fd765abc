//! The status list (W3C StatusList2021): what it says is done, and one that does not hold is no answer.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod kit;

use std::io::Write as _;

use jose::{Alg, Clock as _, TokenHeader, base64url, sign_compact};
use kit::{Act, Forger, Kit, take_apart, with_json};
use oid4ac_client::{Artefact, Error, MemoryJournal, Outcome, SystemClock, Why};
use serde_json::{Map, Value, json};

/// A signed credential with `octets` as its list, changed before it is signed.
struct List {
    octets: Vec<u8>,
    index: &'static str,
    before_signing: fn(&mut Value),
    after_signing: fn(&mut Value),
}

impl List {
    fn new() -> Self {
        Self { octets: vec![0; ENTRIES / 8], index: "7", before_signing: |_| {}, after_signing: |_| {} }
    }

    fn credential(&self, forger: &Forger, id: &str, issuer: &str) -> Value {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(&self.octets).unwrap();
        let mut credential = json!({
            "id": id, "issuer": issuer, "issuanceDate": ago(0),
            "credentialSubject": {
                "statusPurpose": "revocation", "encodedList": base64url::encode(&gzip.finish().unwrap()),
            },
        });
        (self.before_signing)(&mut credential);
        let payload = serde_json_canonicalizer::to_vec(&credential).unwrap();
        let header = TokenHeader::untyped().kid(forger.kid());
        let jws = sign_compact(forger.key(), &header, &payload).unwrap();
        let parts: Vec<_> = jws.split('.').collect();
        credential["proof"] = json!({"jws": format!("{}..{}", parts[0], parts[2])});
        (self.after_signing)(&mut credential);
        credential
    }

    /// Pays where the authorization server publishes this list, and says whether the mandate was presented.
    async fn pay(self) -> (Result<Outcome, Error>, bool) {
        let kit = Kit::new().await;
        let forger = Forger::new(Alg::EdDsa);
        let issuer = kit.sandbox.as_origin().to_owned();
        let index = self.index;
        kit.net.lie(move |endpoint, _| match endpoint.url().path() {
            "/oauth/jwks.json" => Act::Answer(forger.jwks()),
            "/oauth/token" => {
                let forger = forger.clone();
                Act::Change(Box::new(move |answer| with_json(answer, |reply| forge(&forger, reply, index))))
            }
            path if path.starts_with("/oauth/status-list/") => {
                let credential = self.credential(&forger, endpoint.as_str(), &issuer);
                Act::Answer(kit::answer(200, "application/json", credential.to_string()))
            }
            _ => Act::Pass,
        });
        let outcome = kit.client.pay(&kit.socks(), &MemoryJournal::default()).await;
        (outcome, kit.net.take_sent().iter().any(|request| request == "POST /verify-mandate"))
    }

    async fn refused(self) -> (Artefact, Why) {
        match self.pay().await {
            (Err(Error::PeerMisbehaved(misbehaviour)), false) => (misbehaviour.what(), misbehaviour.why().clone()),
            other => panic!("not refused: {other:?}"),
        }
    }
}

/// Signs the token answer's artefacts with a key that is here, so that the mandate's place in the list can be chosen.
fn forge(forger: &Forger, reply: &mut Map<String, Value>, index: &str) {
    let (_, claims) = take_apart(reply["access_token"].as_str().unwrap());
    reply.insert("access_token".into(), forger.sign("at+jwt", &claims).into());
    let (jwt, disclosures) = reply["mandate_jwt"].as_str().unwrap().split_once('~').unwrap();
    let (_, mut claims) = take_apart(jwt);
    claims["credentialStatus"]["statusListIndex"] = index.into();
    let mandate = format!("{}~{disclosures}", forger.sign("vc+sd-jwt", &claims));
    reply.insert("mandate_jwt".into(), mandate.into());
}

fn ago(seconds: i64) -> String {
    jiff::Timestamp::from_second(SystemClock.now() - seconds).unwrap().to_string()
}

#[tokio::test]
async fn a_set_bit_stops_the_presentation_and_its_neighbours_do_not() {
    // Entry 7 is the least significant bit of the first octet.
    let mut list = List::new();
    list.octets[0] = 0b0000_0001;
    assert_eq!(list.refused().await, (Artefact::Mandate, Why::Revoked));
    let mut list = List::new();
    list.octets[0] = 0b1111_1110;
    let (outcome, presented) = list.pay().await;
    // The merchant, who has the true keys, will not take a mandate that is signed by another.
    assert!(presented, "{outcome:?}");
}

#[tokio::test]
async fn an_entry_beyond_the_end_is_no_answer() {
    let last = List { index: "131071", ..List::new() };
    assert!(last.pay().await.1);
    let beyond = List { index: "131072", ..List::new() };
    assert_eq!(beyond.refused().await, (Artefact::Mandate, Why::Mismatch("statusListIndex")));
}

#[tokio::test]
async fn a_list_that_does_not_hold_is_refused_by_name() {
    type Change = fn(&mut Value);
    let rows: [(&str, Change, Why); 10] = [
        ("id", |c| c["id"] = json!("https://as.example/other"), Why::Mismatch("id")),
        ("issuer", |c| c["issuer"] = json!("https://evil.example"), Why::Mismatch("issuer")),
        ("no date", |c| c["issuanceDate"] = Value::Null, Why::Member("issuanceDate")),
        ("421 s old", |c| c["issuanceDate"] = json!(ago(425)), Why::Expired),
        ("from the future", |c| c["issuanceDate"] = json!(ago(-120)), Why::NotYetValid),
        ("no subject", |c| c["credentialSubject"] = Value::Null, Why::Mismatch("statusPurpose")),
        ("purpose", |c| c["credentialSubject"]["statusPurpose"] = json!("suspension"), Why::Mismatch("statusPurpose")),
        ("no list", |c| c["credentialSubject"]["encodedList"] = Value::Null, Why::Member("encodedList")),
        ("no gzip", |c| c["credentialSubject"]["encodedList"] = json!("AAAA"), Why::EncodedList),
        ("proof of another form", |c| c["proof"] = json!({"jws": "one.two.three"}), Why::Member("proof.jws")),
    ];
    for (name, change, why) in rows {
        let list = List { after_signing: change, ..List::new() };
        assert_eq!(list.refused().await, (Artefact::StatusList, why), "{name}");
    }
    let short = List { octets: vec![0; ENTRIES / 8 - 1], ..List::new() };
    assert_eq!(short.refused().await, (Artefact::StatusList, Why::EncodedList));
}

#[tokio::test]
async fn what_is_not_the_signed_credential_is_refused() {
    let added = List { after_signing: |credential| credential["added"] = json!(1), ..List::new() };
    let (what, why) = added.refused().await;
    assert_eq!((what, why), (Artefact::StatusList, jose::JwsError::BadSignature.into()));
    let signed = List { before_signing: |credential| credential["added"] = json!(1), ..List::new() };
    assert!(signed.pay().await.1, "a member that is not known is no fault");
}

const ENTRIES: usize = 131_072;
