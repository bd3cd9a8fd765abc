//! Public keys in JWK form, and sets of them.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use jose::{Alg, InvalidJwk, Jwk, JwkSet, PublicKey, Signer, Thumbprint, base64url};
use serde_json::{Value, json};
use support::{ed25519, other_ed25519, p256, public_jwk};

const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
const EC_X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
const EC_Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";

fn okp(more: Value) -> Value {
    merged(json!({"kty": "OKP", "crv": "Ed25519", "x": X}), more)
}

fn ec(more: Value) -> Value {
    merged(json!({"kty": "EC", "crv": "P-256", "x": EC_X, "y": EC_Y}), more)
}

/// `null` takes a member away.
fn merged(mut jwk: Value, more: Value) -> Value {
    for (name, value) in more.as_object().unwrap() {
        match value {
            Value::Null => drop(jwk.as_object_mut().unwrap().remove(name)),
            value => jwk[name] = value.clone(),
        }
    }
    jwk
}

fn read(jwk: &Value) -> Result<Alg, InvalidJwk> {
    Jwk::parse(jwk.to_string().as_bytes()).map(|jwk| jwk.key().alg())
}

#[test]
fn reads_good_keys() {
    let table = [
        okp(json!({})),
        okp(json!({"kid": "k", "use": "sig", "alg": "EdDSA", "key_ops": ["verify"]})),
        okp(json!({"alg": "Ed25519", "key_ops": ["sign", "verify"]})),
        okp(json!({"unknown": {"nested": [1, 2]}, "exp": 1})),
        okp(json!({"y": "ignored: an OKP key has none"})),
    ];
    for jwk in &table {
        assert_eq!(read(jwk), Ok(Alg::EdDsa), "{jwk}");
    }
    for jwk in [ec(json!({})), ec(json!({"alg": "ES256", "use": "sig", "key_ops": ["verify"]}))] {
        assert_eq!(read(&jwk), Ok(Alg::Es256), "{jwk}");
    }
}

#[test]
fn refuses_malformed_members_by_name() {
    let short = &X[..42];
    let octets_31 = base64url::encode(&[7; 31]);
    let octets_33 = base64url::encode(&[7; 33]);
    let table = [
        (okp(json!({"kty": null})), "kty"),
        (okp(json!({"kty": 1})), "kty"),
        (okp(json!({"crv": ["Ed25519"]})), "crv"),
        (okp(json!({"x": null})), "x"),
        (okp(json!({"x": 5})), "x"),
        (okp(json!({"x": ""})), "x"),
        (okp(json!({"x": short})), "x"),
        (okp(json!({"x": octets_31})), "x"),
        (okp(json!({"x": octets_33})), "x"),
        (okp(json!({"x": format!("{X}=")})), "x"),
        (okp(json!({"x": format!(" {X}")})), "x"),
        // `o` has the same six bits as `p` but for the last two, which lie beyond the 32 octets.
        (okp(json!({"x": format!("{short}p")})), "x"),
        (okp(json!({"x": X.replace('_', "/")})), "x"),
        (okp(json!({"kid": 7})), "kid"),
        (okp(json!({"use": ["sig"]})), "use"),
        (okp(json!({"alg": 8})), "alg"),
        (okp(json!({"key_ops": "verify"})), "key_ops"),
        (ec(json!({"y": null})), "y"),
        (ec(json!({"y": &EC_Y[..42]})), "y"),
        (ec(json!({"y": format!("{EC_Y}=")})), "y"),
        (ec(json!({"x": null})), "x"),
        (ec(json!({"x": base64url::encode(&[4; 65])})), "x"),
    ];
    for (jwk, member) in &table {
        assert_eq!(read(jwk), Err(InvalidJwk::Member(member)), "{jwk}");
    }
}

#[test]
fn refuses_other_key_types() {
    let table = [
        okp(json!({"kty": "EC"})),
        okp(json!({"kty": "okp"})),
        okp(json!({"crv": "X25519"})),
        okp(json!({"crv": "Ed448"})),
        okp(json!({"crv": "ed25519"})),
        okp(json!({"crv": null})),
        ec(json!({"kty": "OKP"})),
        ec(json!({"crv": "secp256k1"})),
        ec(json!({"crv": "P-384"})),
        json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"}),
        json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA"}),
    ];
    for jwk in &table {
        assert_eq!(read(jwk), Err(InvalidJwk::Unsupported), "{jwk}");
    }
}

/// The member alone is enough: a key that was published with its private half is burnt, whatever the value. Only `null` says
/// that there is none.
#[test]
fn refuses_private_and_symmetric_members() {
    for name in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        for value in [json!("AAAA"), json!(""), json!(7), json!([])] {
            assert_eq!(read(&okp(json!({name: value}))), Err(InvalidJwk::PrivateMember), "{name}");
            assert_eq!(read(&ec(json!({name: value}))), Err(InvalidJwk::PrivateMember), "{name}");
        }
    }
    assert_eq!(Jwk::parse(support::ED25519_JWK.as_bytes()), Err(InvalidJwk::PrivateMember));
    assert_eq!(read(&json!({"kty": "oct", "k": "AAAA"})), Err(InvalidJwk::PrivateMember));
}

#[test]
fn an_optional_member_that_is_null_is_absent_and_a_needed_one_is_missing() {
    let mut written = okp(json!({}));
    for name in ["kid", "use", "key_ops", "alg", "y", "d", "p", "k", "x5c", "oid4ac_use"] {
        written[name] = Value::Null;
    }
    let jwk = Jwk::parse(written.to_string().as_bytes()).unwrap();
    assert_eq!((jwk.key(), jwk.kid()), (ed25519().public_key(), None));
    assert_eq!((jwk.member("oid4ac_use"), jwk.to_members().len()), (None, 3));
    for (name, expected) in
        [("kty", InvalidJwk::Member("kty")), ("crv", InvalidJwk::Unsupported), ("x", InvalidJwk::Member("x"))]
    {
        let mut lacking = okp(json!({}));
        lacking[name] = Value::Null;
        assert_eq!(read(&lacking), Err(expected));
    }
}

#[test]
fn refuses_keys_for_another_use() {
    let table = [
        (okp(json!({"use": "enc"})), "use"),
        (okp(json!({"use": ""})), "use"),
        (okp(json!({"key_ops": []})), "key_ops"),
        (okp(json!({"key_ops": ["sign"]})), "key_ops"),
        (okp(json!({"key_ops": ["encrypt", 1]})), "key_ops"),
        (okp(json!({"alg": "ES256"})), "alg"),
        (okp(json!({"alg": "none"})), "alg"),
        (okp(json!({"alg": "ECDH-ES"})), "alg"),
        (ec(json!({"alg": "EdDSA"})), "alg"),
        (ec(json!({"alg": "ES256K"})), "alg"),
    ];
    for (jwk, member) in &table {
        assert_eq!(read(jwk), Err(InvalidJwk::NotForThis(member)), "{jwk}");
    }
}

#[test]
fn refuses_what_is_no_object_or_has_duplicates() {
    for text in ["", "[]", "null", "\"x\"", "{", "{}x"] {
        assert!(matches!(Jwk::parse(text.as_bytes()), Err(InvalidJwk::Json(_))), "{text}");
    }
    let twice = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{X}","x":"{X}"}}"#);
    let Err(InvalidJwk::Json(reason)) = Jwk::parse(twice.as_bytes()) else { panic!("{twice}") };
    assert!(reason.is_duplicate_member());
}

/// RFC 8032 §5.1.3 and §5.1.7: the eight points of small order, and octets that are no canonical point at all.
#[test]
fn refuses_unusable_ed25519_points() {
    let small_order = [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    ];
    let not_canonical = [
        // y = 1 and y = -1 with the sign of an x that is zero.
        "0100000000000000000000000000000000000000000000000000000000000080",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        // y = p and y = p + 1.
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        // y = p + 3: a point of large order, written in a second way.
        "f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
    // y = 2 is on no point.
    let no_point = ["0200000000000000000000000000000000000000000000000000000000000000"];
    for text in small_order.iter().chain(&not_canonical).chain(&no_point) {
        let octets = hex(text);
        assert!(PublicKey::from_ed25519(&octets).is_none(), "{text}");
        assert_eq!(read(&okp(json!({"x": base64url::encode(&octets)}))), Err(InvalidJwk::NotOnCurve), "{text}");
    }
    // Every y from p to 2²⁵⁵ - 1, with either sign.
    for (first, last) in (0xed..=0xff).flat_map(|first| [(first, 0x7f), (first, 0xff)]) {
        let mut octets = [0xff; 32];
        (octets[0], octets[31]) = (first, last);
        assert!(PublicKey::from_ed25519(&octets).is_none(), "{octets:x?}");
    }
    let three = hex("0300000000000000000000000000000000000000000000000000000000000000");
    assert!(PublicKey::from_ed25519(&three).is_some(), "the canonical form of y = p + 3");
}

#[test]
fn refuses_coordinates_off_p256() {
    let (x, y) = (base64url::decode(EC_X).unwrap(), base64url::decode(EC_Y).unwrap());
    let mut moved = y.clone();
    moved[31] ^= 1;
    // RFC 7518 §6.2.1.2: coordinates are below p, so this second way to write a small one is none.
    let p = "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff";
    let table = [(&x, &moved), (&y, &x), (&vec![0; 32], &vec![0; 32]), (&vec![0xff; 32], &y), (&hex(p).to_vec(), &y)];
    for (x, y) in table {
        let jwk = ec(json!({"x": base64url::encode(x), "y": base64url::encode(y)}));
        assert_eq!(read(&jwk), Err(InvalidJwk::NotOnCurve), "{jwk}");
    }
}

#[test]
fn errors_do_not_quote_the_key() {
    let jwk = okp(json!({"x": "not-a-coordinate", "kid": "customer-4711"}));
    let error = Jwk::parse(jwk.to_string().as_bytes()).unwrap_err();
    assert_eq!(format!("{error}"), "the key's member `x` is missing or malformed");
    assert_eq!(format!("{error:?}"), "Member(\"x\")");
}

#[test]
fn writes_what_it_read() {
    let jwk = okp(json!({"kid": "k", "use": "sig", "oid4ac_use": "audit-head"}));
    let read = Jwk::parse(jwk.to_string().as_bytes()).unwrap();
    assert_eq!(read.kid(), Some("k"));
    assert_eq!(read.member("oid4ac_use"), Some(&json!("audit-head")));
    assert_eq!(serde_json::to_value(&read).unwrap(), jwk);
}

#[test]
fn members_that_make_the_key_cannot_be_replaced() {
    let jwk = p256().public_key().to_jwk().with_kid("k").with_member("x", "AAAA").with_member("use", "sig");
    let written = jwk.to_members();
    assert_eq!(written["x"], EC_X);
    assert_eq!(written["kid"], "k");
    assert_eq!(written["use"], "sig");
}

#[test]
fn thumbprints_are_43_characters_of_32_octets() {
    let good = ed25519().public_key().thumbprint().clone();
    assert_eq!(Thumbprint::parse(good.as_str()), Some(good.clone()));
    let text = good.as_str();
    for bad in ["", &text[..42], &format!("{text}="), &format!("{text}A"), &format!("{}+", &text[..42])] {
        assert_eq!(Thumbprint::parse(bad), None, "{bad}");
    }
}

fn set(keys: Value) -> Result<JwkSet, InvalidJwk> {
    JwkSet::parse(json!({ "keys": keys }).to_string().as_bytes())
}

#[test]
fn a_set_leaves_out_keys_it_cannot_use() {
    let set = set(json!([
        {"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "a"},
        okp(json!({"d": "AAAA", "kid": "a"})),
        okp(json!({"use": "enc", "kid": "a"})),
        {},
        okp(json!({"kid": "a"})),
        ec(json!({"kid": "b"})),
    ]))
    .unwrap();
    assert_eq!(set.keys().len(), 2);
    assert_eq!(set.find(Some("a"), Alg::EdDsa).map(Jwk::key), Some(ed25519().public_key()));
}

#[test]
fn an_entry_that_is_no_key_spoils_itself_alone() {
    let deep = "[".repeat(1000) + &"]".repeat(1000);
    let good = okp(json!({"kid": "a"}));
    for bad in [
        "null",
        "7",
        "\"x\"",
        "[]",
        "{}",
        r#"{"kty":5}"#,
        r#"{"kty":"OKP","kty":"OKP"}"#,
        r#"{"kty":"OKP","crv":"Ed25519","x":"AQ","kid":"a"}"#,
        r#"{"kid":{"kid":1,"kid":2}}"#,
        &deep,
    ] {
        for list in [format!("{bad},{good}"), format!("{good},{bad}"), format!("{bad},{good},{bad}")] {
            let set = JwkSet::parse(format!(r#"{{"keys":[{list}]}}"#).as_bytes()).unwrap();
            let found = set.find(Some("a"), Alg::EdDsa).map(Jwk::key);
            assert_eq!((set.keys().len(), found), (1, Some(ed25519().public_key())), "{list}");
        }
    }
}

#[test]
fn a_set_is_searched_by_kid_and_algorithm() {
    let set = set(json!([okp(json!({"kid": "same"})), ec(json!({"kid": "same"})), okp(json!({"kid": "b"}))])).unwrap();
    assert_eq!(set.find(Some("same"), Alg::Es256).map(Jwk::key), Some(p256().public_key()));
    assert_eq!(set.find(Some("same"), Alg::EdDsa).map(Jwk::key), Some(ed25519().public_key()));
    assert_eq!(set.find(Some("b"), Alg::Es256), None);
    assert_eq!(set.find(Some("SAME"), Alg::EdDsa), None);
    assert_eq!(set.find(Some(""), Alg::EdDsa), None);
}

#[test]
fn without_kid_the_set_must_leave_no_choice() {
    let other: Value = serde_json::from_str(&public_jwk(&other_ed25519())).unwrap();
    let one = set(json!([okp(json!({"kid": "a"})), ec(json!({}))])).unwrap();
    assert_eq!(one.find(None, Alg::EdDsa).map(Jwk::key), Some(ed25519().public_key()));
    assert_eq!(one.find(None, Alg::Es256).map(Jwk::key), Some(p256().public_key()));
    let two = set(json!([okp(json!({})), other])).unwrap();
    assert_eq!(two.find(None, Alg::EdDsa), None);
    assert_eq!(two.find(None, Alg::Es256), None);
    assert_eq!(set(json!([])).unwrap().find(None, Alg::EdDsa), None);
}

#[test]
fn refuses_what_is_no_set() {
    let keys = Err(InvalidJwk::Member("keys"));
    assert_eq!(JwkSet::parse(b"{}"), keys);
    assert_eq!(set(json!({})), keys);
    assert_eq!(set(json!("x")), keys);
    assert_eq!(set(Value::Array(vec![okp(json!({})); 101])), keys);
    assert_eq!(set(Value::Array(vec![okp(json!({})); 100])).unwrap().keys().len(), 100);
    assert!(matches!(JwkSet::parse(b"[]"), Err(InvalidJwk::Json(_))));
    assert!(matches!(JwkSet::parse(br#"{"keys":[],"keys":[]}"#), Err(InvalidJwk::Json(_))));
    for text in [
        r#"{"keys":[],"x":{"a":1,"a":2}}"#,
        r#"{"keys":[]}{}"#,
        r#"{"keys":[{]}"#,
        "{\"keys\":[]",
        "\u{feff}{\"keys\":[]}",
    ] {
        assert!(matches!(JwkSet::parse(text.as_bytes()), Err(InvalidJwk::Json(_))), "{text}");
    }
}

#[test]
fn a_set_round_trips() {
    let keys = vec![ed25519().public_key().to_jwk().with_kid("a"), p256().public_key().to_jwk()];
    let text = serde_json::to_vec(&JwkSet::new(keys.clone())).unwrap();
    let read = JwkSet::parse(&text).unwrap();
    assert_eq!(
        read.keys().iter().map(Jwk::to_members).collect::<Vec<_>>(),
        keys.iter().map(Jwk::to_members).collect::<Vec<_>>()
    );
}

fn hex(text: &str) -> [u8; 32] {
    let octets: Vec<u8> = (0..64).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect();
    octets.try_into().unwrap()
}
