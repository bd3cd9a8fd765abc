//! The rules of RFC 9901 §7.1 for disclosures and digests, one by one.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{digest, disclosure, process, token, token_of_text, tuple, verify};
use sd_jwt::{ClaimPath, MAX_DEPTH, MAX_DISCLOSURES, MAX_OCTETS, UnverifiedSdJwt, VerifyError};
use serde_json::{Value, json};

/// `process` of a payload whose `_sd` has the digest of this one disclosure.
fn with_one(disclosure: &str) -> Result<Value, VerifyError> {
    process(json!({ "_sd": [digest(disclosure)] }), &[disclosure])
}

#[test]
fn drops_decoys_and_what_was_not_disclosed() {
    let shown = tuple(json!(["s", "FR"]));
    let payload = json!({
        "_sd": [digest("a decoy"), "any string at all"],
        "_sd_alg": "sha-256",
        "nationalities": ["DE", { "...": digest("another decoy") }, { "...": digest(&shown) }, "US"],
        "empty": { "_sd": [] },
        "all_hidden": [{ "...": digest("x") }],
    });
    let expected = json!({ "nationalities": ["DE", "FR", "US"], "empty": {}, "all_hidden": [] });
    assert_eq!(process(payload, &[&shown]), Ok(expected));
}

#[test]
fn puts_every_json_type_in_place() {
    for value in
        [json!(null), json!(true), json!(-1), json!(1.5), json!(u64::MAX), json!("ü\u{0}\""), json!([]), json!({})]
    {
        let member = tuple(json!(["s", "name", value]));
        assert_eq!(with_one(&member), Ok(json!({ "name": value })));
        let element = tuple(json!(["s", value]));
        assert_eq!(process(json!({ "a": [{ "...": digest(&element) }] }), &[&element]), Ok(json!({ "a": [value] })));
    }
}

#[test]
fn keeps_numbers_as_serde_json_reads_them() {
    let text = disclosure(r#"["s","n",[1e2, 0.1, 12345678901234567890, 123456789012345678901234567890, -0]]"#);
    let expected: Value =
        serde_json::from_str("[1e2, 0.1, 12345678901234567890, 123456789012345678901234567890, -0]").unwrap();
    assert_eq!(with_one(&text), Ok(json!({ "n": expected })));
}

#[test]
fn reads_escapes_white_space_and_names_in_any_script() {
    let text = disclosure("[ \"s\" ,\n\t\"\\u540d\\u524d\" , { \"\\\"k\\\"\" : \"\\ud83d\\ude00\" } ]\r\n");
    assert_eq!(with_one(&text), Ok(json!({ "名前": { "\"k\"": "😀" } })));
    let empty = tuple(json!(["", "", ""]));
    assert_eq!(with_one(&empty), Ok(json!({ "": "" })));
}

#[test]
fn puts_recursive_disclosures_in_place_whatever_their_order() {
    let street = tuple(json!(["s1", "street", "Schulstr. 12"]));
    let first = tuple(json!(["s2", { "_sd": [digest(&street)] }]));
    let address = tuple(json!(["s3", "addresses", [{ "...": digest(&first) }, { "...": digest("decoy") }]]));
    let payload = json!({ "_sd": [digest(&address)] });
    let expected = json!({ "addresses": [{ "street": "Schulstr. 12" }] });
    for order in [[&street, &first, &address], [&address, &first, &street], [&first, &address, &street]] {
        assert_eq!(process(payload.clone(), &order.map(String::as_str)), Ok(expected.clone()));
    }
    assert_eq!(process(payload.clone(), &[&address, &first]), Ok(json!({ "addresses": [{}] })));
    // Without the claim around it, a disclosure is referenced by nothing that is visible.
    assert_eq!(process(payload, &[&address, &street]), Err(VerifyError::UnreferencedDisclosure { index: 1 }));
}

#[test]
fn says_where_each_disclosure_went() {
    let hidden = tuple(json!(["s1", "DE"]));
    let shown = tuple(json!(["s2", "FR"]));
    let email = tuple(json!(["s3", "email", "e"]));
    let payload = json!({ "_sd": [digest(&email)], "n": [{ "...": digest(&hidden) }, { "...": digest(&shown) }] });
    let verified = verify(&token(&payload, &[&shown, &email])).unwrap();
    let paths: Vec<_> = verified.disclosed().cloned().collect();
    assert_eq!(paths, [ClaimPath::from("n").element(0), ClaimPath::from("email")]);
    assert_eq!(paths[0].find(verified.claims()), Some(&json!("FR")));
}

#[test]
fn rejects_disclosures_that_are_not_strict_base64url() {
    let good = tuple(json!(["salt", "name", 1]));
    for bad in [format!("{good}="), format!("{good}\n"), format!(" {good}"), "A".to_owned(), "WyJz_".replace('_', "+")]
    {
        assert_eq!(with_one(&bad), Err(VerifyError::DisclosureBase64Url { index: 0 }), "{bad:?}");
    }
    // "_9" has bits beyond its one octet.
    assert_eq!(with_one("_9"), Err(VerifyError::DisclosureBase64Url { index: 0 }));
}

#[test]
fn rejects_disclosures_that_are_not_one_json_text_in_utf_8() {
    for bad in [
        &b"[\"s\",\"n\",1"[..],
        b"[\"s\",\"n\",1] x",
        b"[\"s\",\"n\",1,]",
        b"[\"s\",\"n\",\"\xff\"]",
        b"['s','n',1]",
        b"\xef\xbb\xbf[\"s\",1]",
    ] {
        let result = with_one(&disclosure(bad));
        assert!(matches!(result, Err(VerifyError::DisclosureJson { index: 0, .. })), "{result:?}");
    }
}

#[test]
fn rejects_duplicate_members_anywhere() {
    let result = with_one(&disclosure(r#"["s","n",[{"a":{"b":1,"b":1}}]]"#));
    assert!(matches!(result, Err(VerifyError::DisclosureJson { index: 0, source }) if source.is_duplicate_member()));
    for payload in [r#"{"a":1,"a":1}"#, r#"{"a":{"_sd":[],"_sd":[]}}"#, r#"{"a":[{"...":"x","...":"x"}]}"#] {
        let result = verify(&token_of_text(payload, &[]));
        assert!(matches!(result, Err(VerifyError::Jws(jose::JwsError::ClaimsJson(e))) if e.is_duplicate_member()));
    }
}

#[test]
fn rejects_disclosures_of_the_wrong_shape() {
    let not_tuple = VerifyError::DisclosureNotTuple { index: 0 };
    for bad in [json!({}), json!("x"), json!(null), json!([]), json!(["s"]), json!(["s", "n", 1, 2])] {
        assert_eq!(with_one(&tuple(bad)), Err(not_tuple.clone()));
    }
    assert_eq!(with_one(""), Err(VerifyError::EmptyDisclosure { index: 0 }));
    for salt in [json!(1), json!(null), json!(["s"])] {
        assert_eq!(with_one(&tuple(json!([salt, "n", 1]))), Err(VerifyError::DisclosureSalt { index: 0 }));
        assert_eq!(with_one(&tuple(json!([salt, 1]))), Err(VerifyError::DisclosureSalt { index: 0 }));
    }
    for name in [json!(1), json!(null), json!({})] {
        assert_eq!(with_one(&tuple(json!(["s", name, 1]))), Err(VerifyError::DisclosureName { index: 0 }));
    }
    for name in ["_sd", "...", "_sd_alg"] {
        assert_eq!(with_one(&tuple(json!(["s", name, []]))), Err(VerifyError::ReservedClaimName { index: 0 }));
    }
}

#[test]
fn rejects_a_claim_that_is_already_there() {
    let collision = |path: ClaimPath| Err(VerifyError::ClaimCollision { path });
    let one = tuple(json!(["s1", "iss", "evil"]));
    let two = tuple(json!(["s2", "iss", "worse"]));
    assert_eq!(process(json!({ "iss": "good", "_sd": [digest(&one)] }), &[&one]), collision("iss".into()));
    assert_eq!(process(json!({ "_sd": [digest(&one), digest(&two)] }), &[&one, &two]), collision("iss".into()));
    // Another level is another matter.
    let nested = json!({ "iss": "good", "a": { "_sd": [digest(&one)] } });
    assert_eq!(process(nested, &[&one]), Ok(json!({ "iss": "good", "a": { "iss": "evil" } })));
    let nested = json!({ "a": { "_sd": [digest(&one)], "iss": null } });
    assert_eq!(process(nested, &[&one]), collision(["a", "iss"].into()));
}

#[test]
fn rejects_a_digest_that_stands_in_two_places() {
    let shown = tuple(json!(["s", "n", 1]));
    let digest_of_shown = digest(&shown);
    let decoy = digest("decoy");
    let inner = tuple(json!(["s", "inner", { "_sd": [decoy] }]));
    for (payload, disclosures) in [
        (json!({ "_sd": [digest_of_shown, digest_of_shown] }), vec![&shown]),
        (json!({ "_sd": [digest_of_shown], "a": { "_sd": [digest_of_shown] } }), vec![&shown]),
        (json!({ "_sd": [decoy, decoy] }), vec![]),
        (json!({ "_sd": [decoy], "a": [[{ "...": decoy }]] }), vec![]),
        (json!({ "_sd": [decoy, digest(&inner)] }), vec![&inner]),
    ] {
        let disclosures: Vec<_> = disclosures.into_iter().map(String::as_str).collect();
        assert_eq!(process(payload.clone(), &disclosures), Err(VerifyError::RepeatedDigest), "{payload}");
    }
}

#[test]
fn rejects_a_disclosure_given_twice() {
    let shown = tuple(json!(["s", "n", 1]));
    let other = tuple(json!(["s", "m", 1]));
    let payload = json!({ "_sd": [digest(&shown), digest(&other)] });
    assert_eq!(process(payload, &[&shown, &other, &shown]), Err(VerifyError::RepeatedDisclosure { index: 2 }));
}

#[test]
fn rejects_a_disclosure_that_nothing_refers_to() {
    let shown = tuple(json!(["s", "n", 1]));
    let stray = tuple(json!(["s", "role", "admin"]));
    let payload = json!({ "_sd": [digest(&shown)] });
    assert_eq!(process(payload, &[&shown, &stray]), Err(VerifyError::UnreferencedDisclosure { index: 1 }));
    // A digest outside `_sd` and `...` is a string like any other.
    let payload = json!({ "note": digest(&stray), "list": [digest(&stray)] });
    assert_eq!(process(payload, &[&stray]), Err(VerifyError::UnreferencedDisclosure { index: 0 }));
    // The digest of the decoded octets is not the disclosure's.
    let octets = jose::base64url::decode(&stray).unwrap();
    let payload = json!({ "_sd": [jose::base64url::encode(&jose::sha256(&octets))] });
    assert_eq!(process(payload, &[&stray]), Err(VerifyError::UnreferencedDisclosure { index: 0 }));
}

#[test]
fn rejects_a_chain_of_disclosures_that_the_payload_does_not_lead_to() {
    // No one can build a circle of digests; a chain that the payload does not lead to is the nearest thing.
    let inner = tuple(json!(["s1", "inner", 1]));
    let outer = tuple(json!(["s2", "outer", { "_sd": [digest(&inner)] }]));
    let result = process(json!({ "a": 1 }), &[&outer, &inner]);
    assert_eq!(result, Err(VerifyError::UnreferencedDisclosure { index: 0 }));
}

#[test]
fn rejects_an_element_disclosure_in_an_object_and_the_reverse() {
    let element = tuple(json!(["s", "v"]));
    let member = tuple(json!(["s", "n", "v"]));
    assert_eq!(with_one(&element), Err(VerifyError::ElementDisclosureInObject { index: 0 }));
    let payload = json!({ "a": [{ "...": digest(&member) }] });
    assert_eq!(process(payload, &[&member]), Err(VerifyError::MemberDisclosureInArray { index: 0 }));
}

#[test]
fn rejects_sd_that_is_not_an_array_of_strings() {
    for bad in [json!(null), json!("x"), json!({}), json!(1)] {
        let result = process(json!({ "a": { "_sd": bad } }), &[]);
        assert_eq!(result, Err(VerifyError::SdNotArray { path: "a".into() }));
    }
    for bad in [json!(null), json!(1), json!(["x"])] {
        let result = process(json!({ "_sd": ["x", bad] }), &[]);
        assert_eq!(result, Err(VerifyError::DigestNotString { path: ClaimPath::root() }));
        let result = process(json!({ "a": [0, { "...": bad }] }), &[]);
        assert_eq!(result, Err(VerifyError::DigestNotString { path: ClaimPath::from("a").element(1) }));
    }
}

#[test]
fn rejects_an_ellipsis_that_is_not_alone_in_an_array_element() {
    let misplaced = |path: ClaimPath| Err(VerifyError::MisplacedEllipsis { path });
    let element = ClaimPath::from("a").element(0);
    assert_eq!(process(json!({ "a": [{ "...": "x", "b": 1 }] }), &[]), misplaced(element.clone()));
    assert_eq!(process(json!({ "a": [{ "...": "x", "_sd": [] }] }), &[]), misplaced(element));
    assert_eq!(process(json!({ "...": "x" }), &[]), misplaced(ClaimPath::root()));
    assert_eq!(process(json!({ "a": { "...": "x" } }), &[]), misplaced("a".into()));
    let smuggled = tuple(json!(["s", { "...": "x" }]));
    let payload = json!({ "a": [{ "...": digest(&smuggled) }] });
    assert_eq!(process(payload, &[&smuggled]), misplaced(ClaimPath::from("a").element(0)));
}

#[test]
fn rejects_digests_by_another_hash_than_sha_256() {
    for bad in [json!("sha-512"), json!("SHA-256"), json!("sha256"), json!(""), json!(null), json!(["sha-256"])] {
        assert_eq!(process(json!({ "_sd_alg": bad }), &[]), Err(VerifyError::UnsupportedSdAlg));
    }
    assert_eq!(process(json!({ "_sd_alg": "sha-256" }), &[]), Ok(json!({})));
}

#[test]
fn rejects_sd_alg_below_the_top_level() {
    let misplaced = |path: ClaimPath| Err(VerifyError::MisplacedSdAlg { path });
    assert_eq!(process(json!({ "a": { "_sd_alg": "sha-256" } }), &[]), misplaced("a".into()));
    let smuggled = tuple(json!(["s", "b", { "_sd_alg": "sha-256" }]));
    assert_eq!(with_one(&smuggled), misplaced("b".into()));
}

#[test]
fn rejects_nesting_beyond_the_limit_however_it_is_put_together() {
    let nested = |levels: usize| (0..levels).fold(json!(1), |value, _| json!({ "a": value }));
    assert!(process(nested(MAX_DEPTH + 1), &[]).is_ok());
    assert_eq!(process(nested(MAX_DEPTH + 2), &[]), Err(VerifyError::TooDeep));
    // Each disclosure is shallow; together they are not.
    let mut chain = vec![tuple(json!(["s", "z", 1]))];
    for _ in 0..MAX_DEPTH {
        let digest = digest(chain.last().unwrap());
        chain.push(tuple(json!(["s", "a", { "_sd": [digest] }])));
    }
    let payload = json!({ "_sd": [digest(chain.last().unwrap())] });
    let all: Vec<_> = chain.iter().map(String::as_str).collect();
    assert!(process(payload, &all).is_ok());
    let payload = json!({ "one": { "_sd": [digest(chain.last().unwrap())] } });
    assert_eq!(process(payload, &all), Err(VerifyError::TooDeep));
}

#[test]
fn rejects_what_is_too_large() {
    let token = token(&json!({}), &[]);
    assert_eq!(UnverifiedSdJwt::parse(&"a".repeat(MAX_OCTETS + 1)).unwrap_err(), VerifyError::TooLarge);
    let many = format!("{token}{}", "WyJzIiwxXQ~".repeat(MAX_DISCLOSURES + 1));
    assert_eq!(UnverifiedSdJwt::parse(&many).unwrap_err(), VerifyError::TooManyDisclosures);
}

#[test]
fn rejects_broken_outer_forms() {
    let shown = tuple(json!(["s", "n", 1]));
    let good = token(&json!({ "_sd": [digest(&shown)] }), &[&shown]);
    assert!(verify(&good).is_ok());
    let jws = good.split('~').next().unwrap();
    assert_eq!(verify(jws).unwrap_err(), VerifyError::NoTilde);
    assert_eq!(verify("").unwrap_err(), VerifyError::NoTilde);
    assert_eq!(verify("~").unwrap_err(), VerifyError::Jws(jose::JwsError::NotCompact));
    assert_eq!(verify(&format!("{good}~")).unwrap_err(), VerifyError::EmptyDisclosure { index: 1 });
    assert_eq!(verify(&format!("{jws}~~{shown}~")).unwrap_err(), VerifyError::EmptyDisclosure { index: 0 });
    // Whatever follows the last `~` is a KB-JWT, if only a bad one.
    for garbage in ["\n", " ", "x", "a.b.c", &shown] {
        assert_eq!(verify(&format!("{good}{garbage}")).unwrap_err(), VerifyError::UnexpectedKeyBinding);
    }
    assert!(verify(&sd_jwt::complete(jws)).is_ok());
}
