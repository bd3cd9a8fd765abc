//! What a minted proof holds, to the octet.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Arc;

use dpop::{Ath, Htu, Minter, Nonce, ProofCheck, ProofRequest};
use jose::{SignError, Signer, base64url};
use support::{ACCESS_TOKEN, ATH, Counter, NOW, URL, ed25519, p256};

fn parts(proof: &str) -> (String, String) {
    let mut parts =
        proof.split('.').map(|part| String::from_utf8_lossy(&base64url::decode(part).unwrap()).into_owned());
    (parts.next().unwrap(), parts.next().unwrap())
}

#[test]
fn writes_header_and_claims_of_rfc_9449() {
    let minter = Minter::new(Arc::new(ed25519()));
    let htu = Htu::parse(URL).unwrap();
    let nonce = Nonce::parse("eyJ7S_zG.eyJH0-Z.HX4w-7v").unwrap();
    let request = ProofRequest::new("POST", &htu, NOW);

    let proof = minter.mint(&request, &Counter::default()).unwrap();
    let (header, claims) = parts(proof.expose());
    assert_eq!(
        header,
        r#"{"alg":"EdDSA","typ":"dpop+jwt","jwk":{"crv":"Ed25519","kty":"OKP","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}}"#
    );
    assert_eq!(
        claims,
        r#"{"jti":"AAAAAAAAAAAAAAAAAAAAAA","htm":"POST","htu":"https://as.example/oauth/token","iat":1700000000}"#
    );

    let request = request.nonce(&nonce).access_token(ACCESS_TOKEN);
    let (_, claims) = parts(minter.mint(&request, &Counter::default()).unwrap().expose());
    assert_eq!(
        claims,
        format!(
            r#"{{"jti":"AAAAAAAAAAAAAAAAAAAAAA","htm":"POST","htu":"{URL}","iat":{NOW},"nonce":"eyJ7S_zG.eyJH0-Z.HX4w-7v","ath":"{ATH}"}}"#
        )
    );
}

#[test]
fn every_proof_has_its_own_jti() {
    let minter = Minter::new(Arc::new(p256()));
    let htu = Htu::parse(URL).unwrap();
    let rng = Counter::default();
    let jtis: std::collections::HashSet<String> = (0..50)
        .map(|_| {
            let proof = minter.mint(&ProofRequest::new("POST", &htu, NOW), &rng).unwrap();
            ProofCheck::new("POST", &htu, NOW).verify(proof.expose()).unwrap().jti().to_owned()
        })
        .collect();
    assert_eq!(jtis.len(), 50);
    assert!(jtis.iter().all(|jti| base64url::decode_array::<16>(jti).is_ok()), "128 bits each");
}

#[test]
fn a_token_hashed_before_gives_the_same_proof() {
    let minter = Minter::new(Arc::new(ed25519()));
    let htu = Htu::parse(URL).unwrap();
    let request = ProofRequest::new("GET", &htu, NOW);
    let one = minter.mint(&request.clone().access_token(ACCESS_TOKEN), &Counter::default()).unwrap();
    let two = minter.mint(&request.ath(Ath::of(ACCESS_TOKEN)), &Counter::default()).unwrap();
    assert_eq!(one.expose(), two.expose());
}

/// No method is like that; the proof must be good JSON all the same.
#[test]
fn a_method_with_odd_characters_does_not_break_the_json() {
    let minter = Minter::new(Arc::new(ed25519()));
    let htu = Htu::parse(URL).unwrap();
    for method in ["", "M-SEARCH", "a\"b", "a\\", "\",\"htu\":\"https://evil.example/", "é\u{1}\n"] {
        let proof = minter.mint(&ProofRequest::new(method, &htu, NOW), &Counter::default()).unwrap();
        assert!(ProofCheck::new(method, &htu, NOW).verify(proof.expose()).is_ok(), "{method:?}");
    }
}

#[test]
fn a_key_that_cannot_sign_is_an_error() {
    struct Removed(jose::PublicKey);
    impl Signer for Removed {
        fn public_key(&self) -> &jose::PublicKey {
            &self.0
        }
        fn sign(&self, _: &[u8]) -> Result<[u8; 64], SignError> {
            Err(SignError::new())
        }
    }
    let minter = Minter::new(Arc::new(Removed(ed25519().public_key().clone())));
    let htu = Htu::parse(URL).unwrap();
    let refused = minter.mint(&ProofRequest::new("POST", &htu, NOW), &Counter::default()).map(|_| ());
    assert_eq!(refused, Err(SignError::new()));
}

#[test]
fn debug_does_not_print_proof_key_or_token() {
    let minter = Minter::new(Arc::new(ed25519()));
    let htu = Htu::parse(URL).unwrap();
    let request = ProofRequest::new("POST", &htu, NOW).access_token(ACCESS_TOKEN);
    let proof = minter.mint(&request, &Counter::default()).unwrap();
    let printed = format!("{minter:?} {minter:#?} {request:?} {proof:?} {proof:#?}");
    for secret in [proof.expose(), proof.expose().rsplit_once('.').unwrap().1, ACCESS_TOKEN, ATH, "nWGxne"] {
        assert!(!printed.contains(secret), "{printed}");
    }
    assert_eq!(format!("{proof:?}"), "Proof([redacted])");
}
