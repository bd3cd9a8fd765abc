//! Every rule about a compact JWS, each broken in one place.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use jose::{Alg, JwsError, PrivateKey, Signer, TokenHeader, Typ, UnverifiedJws, base64url};
use support::{BOTH, ed25519, other_ed25519, p256, public_jwk, signed, verify};

const PAYLOAD: &[u8] = br#"{"iss":"me","exp":1700000000}"#;
const TYP: [&str; 1] = ["example+jwt"];

fn header(alg: &str, more: &str) -> Vec<u8> {
    format!(r#"{{"alg":"{alg}","typ":"example+jwt"{more}}}"#).into_bytes()
}

/// What a token with this header gives, signed by `key` and verified with its public half.
fn outcome(key: &PrivateKey, header: &[u8]) -> Result<(), JwsError> {
    verify(&signed(key, header, PAYLOAD), key.public_key(), &TYP).map(|_| ())
}

fn refused(name: &str) -> Result<(), JwsError> {
    Err(JwsError::AlgNotAllowed(name.to_owned()))
}

#[test]
fn test_jwt_alg_none_rejected() {
    for none in ["none", "None", "NONE", "nOnE", "none ", ""] {
        let expected = refused(none.trim());
        assert_eq!(outcome(&ed25519(), &header(none, "")), expected, "{none:?} with a good signature");
        // As RFC 7515 A.5 has it: nothing after the last dot.
        let token = format!("{}.{}.", base64url::encode(&header(none, "")), base64url::encode(PAYLOAD));
        assert_eq!(verify(&token, ed25519().public_key(), &TYP).map(|_| ()), expected, "{none:?} unsigned");
    }
}

/// The library has no legacy mode, so RS256 is refused everywhere, even with the good signature of RFC 7515 A.2.
#[test]
fn test_jwt_rs256_rejected_outside_legacy() {
    let all: serde_json::Value = serde_json::from_str(include_str!("vectors/rfc.json")).unwrap();
    let token = all["refused"][1]["jws"].as_str().unwrap();
    for key in [ed25519(), p256()] {
        assert_eq!(verify(token, key.public_key(), &TYP).map(|_| ()), refused("RS256"));
        assert_eq!(outcome(&key, &header("RS256", "")), refused("RS256"));
    }
}

#[test]
fn rejects_every_other_algorithm_by_name_even_when_the_signature_is_good() {
    let names = [
        "HS256",
        "HS384",
        "HS512",
        "RS384",
        "RS512",
        "PS256",
        "PS384",
        "PS512",
        "ES256K",
        "ES384",
        "ES512",
        "Ed448",
        "EdDSA ",
        "eddsa",
        "EDDSA",
        "ed25519",
        "es256",
        "ES-256",
        "ESP256",
        "ML-DSA-44",
        "dir",
        "A128GCM",
    ];
    for name in names {
        assert_eq!(outcome(&ed25519(), &header(name, "")), refused(name.trim()), "{name}");
    }
}

#[test]
fn keeps_of_a_refused_algorithm_what_is_safe_to_print() {
    let name = format!("{}\\u001b[31m\\n{}", "A".repeat(20), "B".repeat(2000));
    let expected = format!("{}[31m", "A".repeat(20));
    assert_eq!(outcome(&ed25519(), &header(&name, "")), refused(&expected));
}

#[test]
fn takes_both_names_of_eddsa() {
    for name in ["EdDSA", "Ed25519"] {
        assert_eq!(outcome(&ed25519(), &header(name, "")), Ok(()), "{name}");
    }
    assert_eq!(outcome(&p256(), &header("ES256", "")), Ok(()));
}

#[test]
fn rejects_the_algorithm_of_another_key() {
    assert_eq!(
        outcome(&ed25519(), &header("ES256", "")),
        Err(JwsError::AlgOfAnotherKey { token: Alg::Es256, key: Alg::EdDsa })
    );
    assert_eq!(
        outcome(&p256(), &header("EdDSA", "")),
        Err(JwsError::AlgOfAnotherKey { token: Alg::EdDsa, key: Alg::Es256 })
    );
}

#[test]
fn rejects_an_algorithm_outside_the_callers_list() {
    let token = signed(&p256(), &header("ES256", ""), PAYLOAD);
    let jws = UnverifiedJws::parse(&token).unwrap();
    assert_eq!(jws.verify(p256().public_key(), &[Alg::EdDsa], &TYP).map(|_| ()), refused("ES256"));
    assert_eq!(jws.verify(p256().public_key(), &[], &TYP).map(|_| ()), refused("ES256"));
}

#[test]
fn rejects_malformed_headers() {
    let key = ed25519();
    let member = |name| Err(JwsError::HeaderMember(name));
    let table: &[(&str, Result<(), JwsError>)] = &[
        (r#"{"typ":"example+jwt"}"#, member("alg")),
        (r#"{"alg":null,"typ":"example+jwt"}"#, member("alg")),
        (r#"{"alg":["EdDSA"],"typ":"example+jwt"}"#, member("alg")),
        (r#"{"alg":1,"typ":"example+jwt"}"#, member("alg")),
        (r#"{"alg":"EdDSA","typ":["example+jwt"]}"#, member("typ")),
        (r#"{"alg":"EdDSA","typ":null}"#, member("typ")),
        (r#"{"alg":"EdDSA","typ":"example+jwt","kid":7}"#, member("kid")),
        (r#"{"alg":"EdDSA","typ":"example+jwt","cty":{}}"#, member("cty")),
    ];
    for (header, expected) in table {
        assert_eq!(outcome(&key, header.as_bytes()), *expected, "{header}");
    }
    for header in
        ["", "[]", "null", "\"EdDSA\"", "{", r#"{"alg":"EdDSA"} x"#, r#"{"alg":"EdDSA",}"#, "{\"alg\":\"Ed\u{0}\"}"]
    {
        assert!(matches!(outcome(&key, header.as_bytes()), Err(JwsError::HeaderJson(_))), "{header}");
    }
    assert!(matches!(outcome(&key, b"\xef\xbb\xbf{\"alg\":\"EdDSA\"}"), Err(JwsError::HeaderJson(_))), "BOM");
    assert!(matches!(outcome(&key, b"{\"alg\":\"EdDSA\",\"x\":\"\xff\"}"), Err(JwsError::HeaderJson(_))), "not UTF-8");
}

#[test]
fn rejects_duplicate_header_members() {
    for header in [
        r#"{"alg":"EdDSA","alg":"EdDSA","typ":"example+jwt"}"#,
        r#"{"alg":"none","typ":"example+jwt","alg":"EdDSA"}"#,
        r#"{"alg":"EdDSA","typ":"example+jwt","\u0061lg":"none"}"#,
        r#"{"alg":"EdDSA","typ":"example+jwt","x":{"y":1,"y":1}}"#,
        r#"{"alg":"EdDSA","typ":"example+jwt","x":[{"y":1,"y":2}]}"#,
    ] {
        let Err(JwsError::HeaderJson(reason)) = outcome(&ed25519(), header.as_bytes()) else { panic!("{header}") };
        assert!(reason.is_duplicate_member(), "{header}");
    }
}

#[test]
fn rejects_every_critical_header() {
    for more in [
        r#","crit":["exp"],"exp":1"#,
        r#","crit":["b64"],"b64":true"#,
        r#","crit":["b64"],"b64":false"#,
        r#","crit":[]"#,
        r#","crit":null"#,
        r#","b64":false"#,
        r#","b64":"false""#,
        r#","b64":null"#,
    ] {
        assert_eq!(outcome(&ed25519(), &header("EdDSA", more)), Err(JwsError::CriticalHeader), "{more}");
    }
    assert_eq!(outcome(&ed25519(), &header("EdDSA", r#","b64":true"#)), Ok(()), "the default, spelled out");
    assert_eq!(outcome(&ed25519(), &header("EdDSA", r#","unknown":{"a":[1]}"#)), Ok(()), "RFC 7515 §4: ignored");
}

#[test]
fn rejects_keys_and_pointers_to_keys() {
    let key = ed25519();
    let table = [
        (format!(r#","jwk":{}"#, public_jwk(&key)), "jwk"),
        (format!(r#","jwk":{}"#, public_jwk(&other_ed25519())), "jwk"),
        (r#","jwk":null"#.to_owned(), "jwk"),
        (r#","jku":"https://evil.example/jwks.json""#.to_owned(), "jku"),
        (r#","x5u":"https://evil.example/chain.pem""#.to_owned(), "x5u"),
        (r#","x5c":["MIIB"]"#.to_owned(), "x5c"),
    ];
    for (more, name) in &table {
        assert_eq!(outcome(&key, &header("EdDSA", more)), Err(JwsError::EmbeddedKey(name)), "{more}");
    }
}

#[test]
fn a_carried_key_must_be_the_key_and_public() {
    let key = ed25519();
    let carrying = |more: &str| {
        let token = signed(&key, &header("EdDSA", more), PAYLOAD);
        UnverifiedJws::parse(&token).unwrap().verify_carrying_key(key.public_key(), &BOTH, &TYP).map(|_| ())
    };
    assert_eq!(carrying(&format!(r#","jwk":{}"#, public_jwk(&key))), Ok(()));
    assert_eq!(carrying(""), Ok(()), "no key is no other key");
    assert_eq!(carrying(&format!(r#","jwk":{}"#, public_jwk(&other_ed25519()))), Err(JwsError::EmbeddedKey("jwk")));
    assert_eq!(carrying(&format!(r#","jwk":{}"#, public_jwk(&p256()))), Err(JwsError::EmbeddedKey("jwk")));
    assert_eq!(
        carrying(&format!(r#","jwk":{}"#, support::ED25519_JWK)),
        Err(JwsError::EmbeddedKeyInvalid(jose::InvalidJwk::PrivateMember))
    );
    assert_eq!(carrying(r#","jwk":"key""#), Err(JwsError::HeaderMember("jwk")));
    assert_eq!(carrying(&format!(r#","jwk":{},"x5c":[]"#, public_jwk(&key))), Err(JwsError::EmbeddedKey("x5c")));
}

#[test]
fn compares_typ_as_a_media_type() {
    let key = ed25519();
    let check = |typ: Option<&str>, wanted: Typ<'_>| {
        let typ = typ.map(|typ| format!(r#","typ":"{typ}""#)).unwrap_or_default();
        let token = signed(&key, format!(r#"{{"alg":"EdDSA"{typ}}}"#).as_bytes(), PAYLOAD);
        UnverifiedJws::parse(&token).unwrap().verify(key.public_key(), &BOTH, wanted).map(|_| ())
    };
    let wanted = Typ::OneOf(&["vc+sd-jwt", "dc+sd-jwt"]);
    for good in ["vc+sd-jwt", "dc+sd-jwt", "VC+SD-JWT", "application/vc+sd-jwt", "Application/dc+sd-jwt"] {
        assert_eq!(check(Some(good), wanted), Ok(()), "{good}");
    }
    for bad in ["", "JWT", "vc+sd-jwt ", "text/vc+sd-jwt", "application/application/vc+sd-jwt", "vc+sd-jwt;x=1"] {
        assert_eq!(check(Some(bad), wanted), Err(JwsError::TypMismatch), "{bad}");
    }
    assert_eq!(check(Some("application/text/x"), Typ::OneOf(&["text/x"])), Err(JwsError::TypMismatch));
    assert_eq!(check(None, wanted), Err(JwsError::TypMismatch));
    assert_eq!(check(None, Typ::AbsentOr("JWT")), Ok(()));
    assert_eq!(check(Some("jwt"), Typ::AbsentOr("JWT")), Ok(()));
    assert_eq!(check(Some("at+jwt"), Typ::AbsentOr("JWT")), Err(JwsError::TypMismatch));
    assert_eq!(check(None, Typ::Absent), Ok(()));
    assert_eq!(check(Some("JWT"), Typ::Absent), Err(JwsError::TypMismatch));
    assert_eq!(check(Some("anything"), Typ::Unchecked), Ok(()));
    assert_eq!(check(Some("anything"), Typ::OneOf(&[])), Err(JwsError::TypMismatch));
}

#[test]
fn rejects_other_numbers_of_parts() {
    let token = signed(&ed25519(), &header("EdDSA", ""), PAYLOAD);
    let [h, p, s] = parts(&token);
    for token in
        ["", h, &format!("{h}.{p}"), &format!("{token}."), &format!(".{token}"), &format!("{h}.{p}.{s}.{s}"), "...."]
    {
        assert_eq!(UnverifiedJws::parse(token).map(|_| ()), Err(JwsError::NotCompact), "{token}");
    }
}

#[test]
fn rejects_empty_parts() {
    let key = ed25519();
    let token = signed(&key, &header("EdDSA", ""), PAYLOAD);
    let [h, p, s] = parts(&token);
    let check = |token: String| verify(&token, key.public_key(), &TYP).map(|_| ());
    assert!(matches!(check(format!(".{p}.{s}")), Err(JwsError::HeaderJson(_))));
    assert!(matches!(check("..".to_owned()), Err(JwsError::HeaderJson(_))));
    assert_eq!(check(format!("{h}..{s}")), Err(JwsError::BadSignature));
    assert_eq!(check(format!("{h}.{p}.")), Err(JwsError::BadSignature));
}

#[test]
fn an_empty_payload_may_be_signed_but_is_no_claims_set() {
    let token = signed(&ed25519(), &header("EdDSA", ""), b"");
    let jws = verify(&token, ed25519().public_key(), &TYP).unwrap();
    assert_eq!(jws.payload(), b"");
    assert!(matches!(jws.claims(), Err(JwsError::ClaimsJson(_))));
}

/// Each of these spellings decodes to the same octets in a lax decoder, so the signature would be good.
#[test]
fn rejects_every_other_spelling_of_base64url() {
    let key = ed25519();
    // No part has a length that is a multiple of three octets, so all three end in leftover bits.
    let token = signed(&key, &header("EdDSA", r#","kid":"0123456789abcd""#), PAYLOAD);
    assert!(verify(&token, key.public_key(), &TYP).is_ok());
    let names = ["header", "payload", "signature"];
    for (index, name) in names.into_iter().enumerate() {
        let spell = |change: &dyn Fn(&str) -> String| {
            let mut parts = parts(&token).map(str::to_owned);
            parts[index] = change(&parts[index]);
            let token = parts.join(".");
            verify(&token, key.public_key(), &TYP).map(|_| ())
        };
        let expected = Err(JwsError::Base64Url(name));
        for pad in ["=", "==", "\n", " ", "\u{a0}", "%3D"] {
            assert_eq!(spell(&|part| format!("{part}{pad}")), expected, "{name} then {pad:?}");
        }
        assert_eq!(spell(&|part| format!(" {part}")), expected, "{name} after a space");
        assert_eq!(spell(&|part| format!("{}\r\n{}", &part[..8], &part[8..])), expected, "{name} on two lines");
        assert_eq!(spell(&|part| format!("{}+", &part[..part.len() - 1])), expected, "{name} in the other alphabet");
        assert_eq!(spell(&trailing_bit), expected, "{name} with a bit set after its last octet");
    }
}

#[test]
fn rejects_tampered_signatures() {
    for (key, alg) in [(ed25519(), "EdDSA"), (p256(), "ES256")] {
        let token = signed(&key, &header(alg, ""), PAYLOAD);
        let [h, p, s] = parts(&token);
        let good = base64url::decode(s).unwrap();
        let mut table = vec![
            ("empty", vec![]),
            ("zero", vec![0; 64]),
            ("all ones", vec![0xff; 64]),
            ("truncated", good[..63].to_vec()),
            ("halved", good[..32].to_vec()),
            ("longer", [&good[..], &[0]].concat()),
            ("doubled", good.repeat(2)),
            ("r of zero", [&[0; 32], &good[32..]].concat()),
            ("s of zero", [&good[..32], &[0; 32]].concat()),
            ("halves exchanged", [&good[32..], &good[..32]].concat()),
            ("another key's", other_ed25519().sign(format!("{h}.{p}").as_bytes()).unwrap().to_vec()),
            ("DER", der(&good)),
        ];
        for at in [0, 31, 32, 63] {
            let mut flipped = good.clone();
            flipped[at] ^= 1;
            table.push(("one bit", flipped));
        }
        for (what, signature) in table {
            let token = format!("{h}.{p}.{}", base64url::encode(&signature));
            assert_eq!(
                verify(&token, key.public_key(), &TYP).map(|_| ()),
                Err(JwsError::BadSignature),
                "{alg}, {what}"
            );
        }
    }
}

/// `R` is the neutral element and `s = k·a`, so the equation of RFC 8032 §5.1.7 holds. Only the key's owner can make it, and
/// no signer that follows the RFC does; implementations disagree about it, so it is refused.
#[test]
fn rejects_an_ed25519_signature_whose_r_has_small_order() {
    let signature = "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABsq2vppK0PPGdN4rAeU7z0Hm9LJnMVQ0FGvI5E6iQVAg";
    let signature = base64url::decode(signature).unwrap();
    assert!(ed25519().public_key().verify(b"R of small order", &signature).is_err());
}

#[test]
fn rejects_a_changed_payload_or_header() {
    let key = ed25519();
    let token = signed(&key, &header("EdDSA", r#","kid":"a""#), PAYLOAD);
    let [h, p, s] = parts(&token);
    let payload = base64url::encode(br#"{"iss":"me","exp":1800000000}"#);
    let header = base64url::encode(&header("EdDSA", r#","kid":"b""#));
    for token in [format!("{h}.{payload}.{s}"), format!("{header}.{p}.{s}"), format!("{p}.{h}.{s}")] {
        let refused = verify(&token, key.public_key(), &TYP).map(|_| ());
        assert!(matches!(refused, Err(JwsError::BadSignature | JwsError::HeaderMember("alg"))), "{token}");
    }
    assert_eq!(verify(&token, other_ed25519().public_key(), &TYP).map(|_| ()), Err(JwsError::BadSignature));
}

#[test]
fn claims_are_one_object_without_duplicates() {
    let key = ed25519();
    let claims =
        |payload: &[u8]| verify(&signed(&key, &header("EdDSA", ""), payload), key.public_key(), &TYP).unwrap().claims();
    assert_eq!(claims(PAYLOAD).unwrap()["exp"], 1_700_000_000);
    for payload in ["", "null", "[]", "\"x\"", "7", "{}{}", "{\"a\":}", "\u{feff}{}"] {
        let Err(JwsError::ClaimsJson(reason)) = claims(payload.as_bytes()) else { panic!("{payload}") };
        assert!(!reason.is_duplicate_member(), "{payload}");
    }
    for payload in [r#"{"exp":1,"exp":2}"#, r#"{"cnf":{"jkt":"a","jkt":"a"}}"#, r#"{"a":[{"b":1,"b":1}]}"#] {
        let Err(JwsError::ClaimsJson(reason)) = claims(payload.as_bytes()) else { panic!("{payload}") };
        assert!(reason.is_duplicate_member(), "{payload}");
    }
}

#[test]
fn rejects_tokens_over_256_kib() {
    let payload = vec![b' '; 256 * 1024];
    let token = signed(&ed25519(), &header("EdDSA", ""), &payload);
    assert_eq!(UnverifiedJws::parse(&token).map(|_| ()), Err(JwsError::TooLarge));
    let payload = vec![b' '; 190 * 1024];
    let token = signed(&ed25519(), &header("EdDSA", ""), &payload);
    assert!(verify(&token, ed25519().public_key(), &TYP).is_ok());
}

#[test]
fn writes_headers_that_survive_any_text() {
    let key = ed25519();
    let odd = "quote\" slash\\ line\n nul\0 é 😀";
    let token = jose::sign_compact(&key, &TokenHeader::new(odd).kid(odd).jwk(key.public_key()), b"x").unwrap();
    let jws = UnverifiedJws::parse(&token).unwrap();
    assert_eq!(jws.unverified_kid(), Some(odd));
    assert_eq!(jws.unverified_typ(), Some(odd));
    assert_eq!(jws.unverified_jwk().unwrap().unwrap().key(), key.public_key());
    assert!(jws.verify_carrying_key(key.public_key(), &BOTH, &[odd]).is_ok());
}

#[test]
fn debug_does_not_print_the_token() {
    let key = ed25519();
    let token = signed(&key, &header("EdDSA", ""), br#"{"secret":"hunter2"}"#);
    let unverified = UnverifiedJws::parse(&token).unwrap();
    let verified = verify(&token, key.public_key(), &TYP).unwrap();
    for printed in
        [format!("{unverified:?}"), format!("{unverified:#?}"), format!("{verified:?}"), format!("{verified:#?}")]
    {
        for part in parts(&token) {
            assert!(!printed.contains(part), "{printed}");
        }
        let octets = format!("{:?}", br#"{"secret""#);
        assert!(!printed.contains("hunter2") && !printed.contains(octets.trim_matches(['[', ']'])), "{printed}");
    }
}

fn parts(token: &str) -> [&str; 3] {
    token.split('.').collect::<Vec<_>>().try_into().unwrap()
}

/// Sets the lowest bit of the last character, which lies beyond the last octet.
fn trailing_bit(part: &str) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    assert_ne!(part.len() % 4, 0, "this part has no leftover bits");
    let (rest, last) = part.split_at(part.len() - 1);
    let index = ALPHABET.iter().position(|c| *c == last.as_bytes()[0]).unwrap();
    assert_eq!(index % 2, 0);
    format!("{rest}{}", char::from(ALPHABET[index + 1]))
}

/// `r ‖ s` as the DER of X.509, which some libraries write by mistake.
fn der(signature: &[u8]) -> Vec<u8> {
    let integer = |octets: &[u8]| [&[2, 33, 0], octets].concat();
    let body = [integer(&signature[..32]), integer(&signature[32..])].concat();
    [&[0x30, body.len() as u8][..], &body].concat()
}
