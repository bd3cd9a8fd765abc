//! Every rule about a proof (RFC 9449 §4.3), each broken in one place.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use dpop::{Htu, Nonce, ProofCheck, VerifiedProof, VerifyError};
use jose::{InvalidJwk, JwsError, PrivateKey, Signer, base64url, sha256};
use serde_json::{Value, json};
use support::{ACCESS_TOKEN, ATH, NOW, URL, claims, ed25519, header, jwk, other_ed25519, p256, signed, with};

fn htu() -> Htu {
    Htu::parse(URL).unwrap()
}

/// Verifies octets against a check for `POST` to `URL` at `NOW`.
fn verify(proof: &str) -> Result<VerifiedProof, VerifyError> {
    ProofCheck::new("POST", &htu(), NOW).verify(proof)
}

/// What a proof with these changes gives, validly signed by `key`.
fn with_header(key: &PrivateKey, changes: Value) -> Result<(), VerifyError> {
    verify(&signed(key, &with(header(key), changes).to_string(), &claims().to_string())).map(|_| ())
}

fn with_claims(changes: Value) -> Result<(), VerifyError> {
    verify(&proof(changes)).map(|_| ())
}

fn proof(changes: Value) -> String {
    let key = ed25519();
    signed(&key, &header(&key).to_string(), &with(claims(), changes).to_string())
}

fn jws<T>(error: JwsError) -> Result<T, VerifyError> {
    Err(VerifyError::Jws(error))
}

#[test]
fn reads_a_good_proof_of_either_algorithm() {
    for key in [ed25519(), p256()] {
        let claims = with(claims(), json!({"nonce": "n-1", "unknown": [1]}));
        let verified = verify(&signed(&key, &header(&key).to_string(), &claims.to_string())).unwrap();
        assert_eq!(verified.jti(), "e1j3V_bKic8-LAEB");
        assert_eq!(verified.key(), key.public_key());
        assert_eq!(verified.jkt(), key.public_key().thumbprint());
        assert_eq!(verified.iat(), NOW);
        assert_eq!(verified.nonce(), Some("n-1"));
    }
    assert_eq!(with_header(&ed25519(), json!({"alg": "Ed25519"})), Ok(()), "RFC 9864's name");
}

/// A proof with a good HMAC, keyed with what an attacker knows, is refused for its algorithm and place.
#[test]
fn test_dpop_proof_hmac_rejected() {
    let symmetric = json!({"kty": "oct", "k": base64url::encode(b"secret")});
    for (jwk, secret) in [
        (jwk(&ed25519()), base64url::decode(jwk(&ed25519())["x"].as_str().unwrap()).unwrap()),
        (jwk(&p256()), jwk(&p256()).to_string().into_bytes()),
        (symmetric, b"secret".to_vec()),
    ] {
        for alg in ["HS256", "HS384", "HS512"] {
            let header = json!({"typ": "dpop+jwt", "alg": alg, "jwk": jwk});
            let input = format!(
                "{}.{}",
                base64url::encode(header.to_string().as_bytes()),
                base64url::encode(claims().to_string().as_bytes())
            );
            let proof = format!("{input}.{}", base64url::encode(&hmac_sha256(&secret, input.as_bytes())));
            let error = verify(&proof).unwrap_err();
            assert_eq!(error, VerifyError::Jws(JwsError::AlgNotAllowed(alg.to_owned())));
            assert_eq!(error.to_string(), format!("the DPoP proof is refused: algorithm \"{alg}\" is not allowed"));
        }
    }
}

#[test]
fn rejects_every_algorithm_outside_the_list() {
    for alg in ["none", "None", "NONE", "RS256", "PS256", "ES256K", "ES384", "ES512", "eddsa", "Ed448"] {
        let expected = jws(JwsError::AlgNotAllowed(alg.to_owned()));
        assert_eq!(with_header(&ed25519(), json!({"alg": alg})), expected, "{alg}");
    }
    // Refused before the key is looked at.
    assert_eq!(
        with_header(&ed25519(), json!({"alg": "none", "jwk": "x"})),
        jws(JwsError::AlgNotAllowed("none".to_owned()))
    );
}

#[test]
fn rejects_headers_that_are_not_a_proofs() {
    let key = ed25519();
    let table = [
        (json!({"typ": null}), JwsError::TypMismatch),
        (json!({"typ": "JWT"}), JwsError::TypMismatch),
        (json!({"typ": "kb+jwt"}), JwsError::TypMismatch),
        (json!({"typ": "at+jwt"}), JwsError::TypMismatch),
        (json!({"typ": "dpop"}), JwsError::TypMismatch),
        (json!({"typ": 1}), JwsError::HeaderMember("typ")),
        (json!({"alg": null}), JwsError::HeaderMember("alg")),
        (json!({"alg": "ES256"}), JwsError::AlgOfAnotherKey { token: jose::Alg::Es256, key: jose::Alg::EdDsa }),
        (json!({"jwk": []}), JwsError::HeaderMember("jwk")),
        (json!({"jwk": "key"}), JwsError::HeaderMember("jwk")),
        (json!({"crit": ["exp"]}), JwsError::CriticalHeader),
        (json!({"b64": false}), JwsError::CriticalHeader),
        (json!({"jku": "https://evil.example/"}), JwsError::EmbeddedKey("jku")),
        (json!({"x5u": "https://evil.example/"}), JwsError::EmbeddedKey("x5u")),
        (json!({"x5c": ["MIIB"]}), JwsError::EmbeddedKey("x5c")),
        (json!({"jwk": jwk(&other_ed25519())}), JwsError::BadSignature),
    ];
    for (changes, expected) in table {
        assert_eq!(with_header(&key, changes.clone()), jws(expected), "{changes}");
    }
    assert_eq!(with_header(&key, json!({"jwk": null})), Err(VerifyError::KeyMissing));
    assert_eq!(with_header(&key, json!({"jwk": null, "kid": "k"})), Err(VerifyError::KeyMissing));
    for typ in ["DPoP+JWT", "application/dpop+jwt"] {
        assert_eq!(with_header(&key, json!({"typ": typ})), Ok(()), "the same media type (RFC 7515 §4.1.9): {typ}");
    }
}

#[test]
fn rejects_keys_that_are_private_or_unusable() {
    let key = ed25519();
    let private: Value = serde_json::from_str(support::ED25519_JWK).unwrap();
    let table = [
        (private, InvalidJwk::PrivateMember),
        (with(jwk(&key), json!({"d": ""})), InvalidJwk::PrivateMember),
        (with(jwk(&key), json!({"k": "AAAA"})), InvalidJwk::PrivateMember),
        (json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"}), InvalidJwk::Unsupported),
        (json!({}), InvalidJwk::Member("kty")),
        (with(jwk(&key), json!({"x": null})), InvalidJwk::Member("x")),
        (with(jwk(&key), json!({"x": format!("{}=", jwk(&key)["x"].as_str().unwrap())})), InvalidJwk::Member("x")),
        (with(jwk(&key), json!({"x": base64url::encode(&[0; 32])})), InvalidJwk::NotOnCurve),
        (with(jwk(&key), json!({"use": "enc"})), InvalidJwk::NotForThis("use")),
        (with(jwk(&key), json!({"alg": "ES256"})), InvalidJwk::NotForThis("alg")),
    ];
    for (jwk, expected) in table {
        let refused = with_header(&key, json!({"jwk": jwk}));
        assert_eq!(refused, jws(JwsError::EmbeddedKeyInvalid(expected)), "{jwk}");
    }
}

#[test]
fn rejects_broken_encodings_and_signatures() {
    let good = proof(json!({}));
    let (input, signature) = good.rsplit_once('.').unwrap();
    let (header, _) = input.split_once('.').unwrap();
    let mut flipped = base64url::decode(signature).unwrap();
    flipped[40] ^= 1;
    let other_claims = base64url::encode(with(claims(), json!({"htm": "GET"})).to_string().as_bytes());
    let table = [
        (String::new(), JwsError::NotCompact),
        (input.to_owned(), JwsError::NotCompact),
        (format!("{good}.{signature}"), JwsError::NotCompact),
        (format!("{good}="), JwsError::Base64Url("signature")),
        (format!("{good}, {good}"), JwsError::NotCompact),
        (format!(" {good}"), JwsError::Base64Url("header")),
        (format!("{input}."), JwsError::BadSignature),
        (format!("{input}.{}", base64url::encode(&[0; 64])), JwsError::BadSignature),
        (format!("{input}.{}", base64url::encode(&flipped)), JwsError::BadSignature),
        (format!("{input}.{}", &signature[..84]), JwsError::BadSignature),
        (format!("{header}.{other_claims}.{signature}"), JwsError::BadSignature),
    ];
    for (proof, expected) in table {
        assert_eq!(verify(&proof), jws(expected), "{proof}");
    }
}

#[test]
fn rejects_duplicate_members() {
    let key = ed25519();
    let (header, claims) = (header(&key).to_string(), claims().to_string());
    let twice = |json: &str, member: &str| format!("{},{member}}}", json.strip_suffix('}').unwrap());
    for member in [r#""alg":"EdDSA""#, r#""typ":"dpop+jwt""#, r#""jwk":{}"#] {
        let Err(VerifyError::Jws(JwsError::HeaderJson(reason))) =
            verify(&signed(&key, &twice(&header, member), &claims))
        else {
            panic!("{member}")
        };
        assert!(reason.is_duplicate_member(), "{member}");
    }
    for member in [r#""htu":"https://evil.example/""#, r#""jti":"x""#, r#""x":{"y":1,"y":1}"#] {
        let Err(VerifyError::Jws(JwsError::ClaimsJson(reason))) =
            verify(&signed(&key, &header, &twice(&claims, member)))
        else {
            panic!("{member}")
        };
        assert!(reason.is_duplicate_member(), "{member}");
    }
    for payload in ["", "[]", "null", "7"] {
        let refused = verify(&signed(&key, &header, payload));
        assert!(matches!(refused, Err(VerifyError::Jws(JwsError::ClaimsJson(_)))), "{payload}");
    }
}

#[test]
fn rejects_claims_that_are_missing_or_malformed() {
    let long = "j".repeat(257);
    let table = [
        (json!({"jti": null}), "jti"),
        (json!({"jti": ""}), "jti"),
        (json!({"jti": 7}), "jti"),
        (json!({"jti": long}), "jti"),
        // 129 characters, 258 octets.
        (json!({"jti": "é".repeat(129)}), "jti"),
        (json!({"htm": null}), "htm"),
        (json!({"htm": ["POST"]}), "htm"),
        (json!({"htu": null}), "htu"),
        (json!({"htu": 1}), "htu"),
        (json!({"htu": ""}), "htu"),
        (json!({"htu": "/oauth/token"}), "htu"),
        (json!({"htu": "as.example/oauth/token"}), "htu"),
        (json!({"htu": "ftp://as.example/oauth/token"}), "htu"),
        (json!({"htu": "https://user@as.example/oauth/token"}), "htu"),
        (json!({"htu": "https://as.example\\@evil.example/oauth/token"}), "htu"),
        (json!({"htu": format!(" {URL}")}), "htu"),
        (json!({"htu": format!("{URL}\n")}), "htu"),
        (json!({"iat": null}), "iat"),
        (json!({"iat": NOW.to_string()}), "iat"),
        (json!({"iat": [NOW]}), "iat"),
        (json!({"iat": true}), "iat"),
        (json!({"nonce": 1}), "nonce"),
        (json!({"ath": 1}), "ath"),
    ];
    for (changes, claim) in table {
        assert_eq!(with_claims(changes.clone()), Err(VerifyError::Claim(claim)), "{changes}");
    }
    assert_eq!(with_claims(json!({"jti": "j".repeat(256)})), Ok(()));
    // A JSON null is a claim of the wrong type, not one left out.
    let key = ed25519();
    let null = claims().to_string().replace(r#""jti":"#, r#""nonce":null,"jti":"#);
    assert_eq!(verify(&signed(&key, &header(&key).to_string(), &null)), Err(VerifyError::Claim("nonce")));
}

#[test]
fn rejects_proof_for_another_method() {
    for htm in ["GET", "post", "Post", "POST ", " POST", "", "POSTS"] {
        assert_eq!(with_claims(json!({"htm": htm})), Err(VerifyError::HtmMismatch), "{htm:?}");
    }
    let proof = proof(json!({"htm": "get"}));
    assert!(ProofCheck::new("get", &htu(), NOW).verify(&proof).is_ok(), "methods are compared, not interpreted");
}

#[test]
fn rejects_proof_for_another_uri() {
    for other in [
        "https://as.example/oauth/token/",
        "https://as.example/oauth",
        "https://as.example/OAuth/token",
        "https://as.example//oauth/token",
        "https://as.example/oauth/./token",
        "https://as.example/oauth/x/../token",
        "https://as.example/oauth/tok%65n",
        "https://as.example/oauth/token;v=1",
        "https://as.example/",
        "https://as.example",
        "http://as.example/oauth/token",
        "https://as.example:8443/oauth/token",
        "https://as.example:80/oauth/token",
        "https://as.example./oauth/token",
        "https://evil.example/oauth/token",
        "https://as.example.evil.example/oauth/token",
    ] {
        assert_eq!(with_claims(json!({"htu": other})), Err(VerifyError::HtuMismatch), "{other}");
    }
}

#[test]
fn rejects_proof_whose_htu_has_another_port() {
    let htu = Htu::parse("https://as.example:8443/oauth/token").unwrap();
    let check = ProofCheck::new("POST", &htu, NOW);
    assert_eq!(check.verify(&proof(json!({}))), Err(VerifyError::HtuMismatch));
    assert!(check.verify(&proof(json!({"htu": "https://as.example:8443/oauth/token"}))).is_ok());
}

#[test]
fn accepts_proof_whose_htu_differs_in_what_normalising_drops() {
    for same in [
        "HTTPS://AS.EXAMPLE/oauth/token",
        "https://as.example:443/oauth/token",
        "https://as.example/oauth/token?code=1",
        "https://as.example/oauth/token#top",
        "https://As.Example:443/oauth/token?a#b",
    ] {
        assert_eq!(with_claims(json!({"htu": same})), Ok(()), "{same}");
    }
}

#[test]
fn rejects_proof_too_old_or_from_the_future() {
    let outside = |iat| Err(VerifyError::IatOutsideWindow { iat, now: NOW, window: 60 });
    for (iat, expected) in [
        (json!(NOW), Ok(())),
        (json!(NOW - 60), Ok(())),
        (json!(NOW + 60), Ok(())),
        (json!(NOW - 61), outside(NOW - 61)),
        (json!(NOW + 61), outside(NOW + 61)),
        (json!(0), outside(0)),
        (json!(-NOW), outside(-NOW)),
        (json!(i64::MIN), outside(i64::MIN)),
        (json!(i64::MAX), outside(i64::MAX)),
        (json!(u64::MAX), outside(i64::MAX)),
        (json!(1e300), outside(i64::MAX)),
        // Milliseconds, as a client gets them wrong.
        (json!(NOW * 1000), outside(NOW * 1000)),
        // NumericDate allows a fraction (RFC 7519 §2).
        (json!(NOW as f64 + 0.5), Ok(())),
    ] {
        assert_eq!(with_claims(json!({"iat": iat})), expected, "{iat}");
    }
}

#[test]
fn the_window_is_the_callers() {
    let htu = htu();
    let proof = proof(json!({"iat": NOW - 5}));
    let check = |window| ProofCheck::new("POST", &htu, NOW).window(window).verify(&proof).map(|_| ());
    assert_eq!(check(5), Ok(()));
    assert_eq!(check(4), Err(VerifyError::IatOutsideWindow { iat: NOW - 5, now: NOW, window: 4 }));
    assert_eq!(check(0), Err(VerifyError::IatOutsideWindow { iat: NOW - 5, now: NOW, window: 0 }));
    assert_eq!(check(u32::MAX), Ok(()));
}

#[test]
fn tells_a_missing_nonce_from_a_wrong_one() {
    let (htu, newest, older) = (htu(), Nonce::parse("n-2").unwrap(), Nonce::parse("n-1").unwrap());
    let both = [newest.clone(), older];
    let check = ProofCheck::new("POST", &htu, NOW);
    let one = check.clone().nonce(&newest);
    let two = check.clone().nonces(&both);
    let none = check.clone().nonces(&[]);
    let nonce = |nonce: &str| proof(json!({"nonce": nonce}));

    assert_eq!(one.verify(&proof(json!({}))), Err(VerifyError::NonceMissing));
    assert_eq!(one.verify(&nonce("n-1")), Err(VerifyError::NonceMismatch));
    assert_eq!(one.verify(&nonce("")), Err(VerifyError::NonceMismatch));
    assert_eq!(one.verify(&nonce("N-2")), Err(VerifyError::NonceMismatch));
    assert!(one.verify(&nonce("n-2")).is_ok());
    assert!(two.verify(&nonce("n-1")).is_ok());
    assert!(two.verify(&nonce("n-2")).is_ok());
    assert_eq!(two.verify(&nonce("n-3")), Err(VerifyError::NonceMismatch));
    assert_eq!(none.verify(&nonce("n-1")), Err(VerifyError::NonceMismatch));
    assert!(check.verify(&nonce("n-1")).is_ok(), "no nonce is asked for");
}

#[test]
fn asks_for_a_nonce_only_when_nothing_else_is_wrong() {
    let (htu, nonce) = (htu(), Nonce::parse("n").unwrap());
    let check = ProofCheck::new("POST", &htu, NOW)
        .nonce(&nonce)
        .jkt(other_ed25519().public_key().thumbprint())
        .verify(&proof(json!({})));
    assert_eq!(check, Err(VerifyError::KeyNotBound));
    let check = ProofCheck::new("POST", &htu, NOW + 100).nonce(&nonce).verify(&proof(json!({})));
    assert!(matches!(check, Err(VerifyError::IatOutsideWindow { .. })));
}

#[test]
fn errors_name_the_oauth_error_to_answer_with() {
    assert_eq!(VerifyError::NonceMissing.oauth_error(), "use_dpop_nonce");
    assert_eq!(VerifyError::NonceMismatch.oauth_error(), "use_dpop_nonce");
    for error in [VerifyError::HtmMismatch, VerifyError::KeyMissing, VerifyError::Jws(JwsError::BadSignature)] {
        assert_eq!(error.oauth_error(), "invalid_dpop_proof");
    }
}

#[test]
fn wants_the_hash_of_the_access_token_that_came_along() {
    let htu = htu();
    let check = ProofCheck::new("POST", &htu, NOW).access_token(ACCESS_TOKEN);
    let ath = |ath: &str| check.verify(&proof(json!({ "ath": ath }))).map(|_| ());
    assert_eq!(ath(ATH), Ok(()));
    assert_eq!(check.verify(&proof(json!({}))), Err(VerifyError::AthMissing));
    for other in ["", ACCESS_TOKEN, &ATH[..42], &format!("{ATH}="), &ATH.replace('f', "g"), &ATH.to_lowercase()] {
        assert_eq!(ath(other), Err(VerifyError::AthMismatch), "{other}");
    }
    assert_eq!(with_claims(json!({ "ath": ATH })), Ok(()), "without a token there is nothing to compare with");
}

#[test]
fn wants_the_key_that_the_token_is_bound_to() {
    let htu = htu();
    let (key, other) = (ed25519(), other_ed25519());
    let bound_to = |key: &PrivateKey| {
        ProofCheck::new("POST", &htu, NOW).jkt(key.public_key().thumbprint()).verify(&proof(json!({}))).map(|_| ())
    };
    assert_eq!(bound_to(&key), Ok(()));
    assert_eq!(bound_to(&other), Err(VerifyError::KeyNotBound));
    assert_eq!(bound_to(&p256()), Err(VerifyError::KeyNotBound));
}

#[test]
fn errors_and_debug_do_not_print_token_or_proof() {
    let htu = htu();
    let check = ProofCheck::new("POST", &htu, NOW).access_token(ACCESS_TOKEN);
    let proof = proof(json!({"ath": "secret-ath"}));
    let error = check.verify(&proof).unwrap_err();
    let printed = format!("{check:?} {check:#?} {error:?} {error}");
    for secret in [ACCESS_TOKEN, ATH, "secret-ath", proof.rsplit_once('.').unwrap().1] {
        assert!(!printed.contains(secret), "{printed}");
    }
}

/// RFC 2104 with SHA-256, for the attack in [`test_dpop_proof_hmac_rejected`]; keys are at most a block long or hashed.
fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0; 64];
    match key.len() {
        0..=64 => block[..key.len()].copy_from_slice(key),
        _ => block[..32].copy_from_slice(&sha256(key)),
    }
    let inner = sha256(&[&block.map(|octet| octet ^ 0x36)[..], message].concat());
    sha256(&[&block.map(|octet| octet ^ 0x5c)[..], &inner].concat())
}

/// RFC 4231 §4.3, so that the attack is known to be one.
#[test]
fn hmac_of_these_tests_is_hmac() {
    let mac = hmac_sha256(b"Jefe", b"what do ya want for nothing?");
    assert_eq!(base64url::encode(&mac), "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM");
}
