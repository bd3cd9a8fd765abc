//! Properties that hold for every input.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use dpop::{Htu, MemoryReplayStore, Minter, Nonce, ProofCheck, ProofRequest, ReplayError};
use jose::base64url;
use proptest::prelude::*;
use serde_json::json;
use support::{Counter, NOW, claims, ed25519, header, p256, signed, with};

fn uri() -> impl Strategy<Value = String> {
    (
        "(https|http|HTTPS)",
        "[a-zA-Z][a-zA-Z0-9-]{0,8}[a-z]\\.[a-z]{2,5}",
        prop::option::of(1..=65_535_u16),
        "(/[!-~&&[^\"<>\\\\`{}?#]]{0,12}){0,3}",
        "(\\?[ -~&&[^#]]{0,10})?",
    )
        .prop_map(|(scheme, host, port, path, query)| {
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            format!("{scheme}://{host}{port}{path}{query}")
        })
}

proptest! {
    #[test]
    fn normalising_twice_changes_nothing(uri in uri()) {
        let once = Htu::parse(&uri).unwrap();
        prop_assert_eq!(Htu::parse(once.as_str()), Ok(once.clone()));
        prop_assert!(!once.as_str().contains(['?', '#', '"', '\\', ' ']));
    }

    #[test]
    fn parsing_never_panics(text in prop_oneof![".*", "https?://.*", "https://[!-~]{0,30}"]) {
        if let Ok(htu) = Htu::parse(&text) {
            prop_assert_eq!(Htu::parse(htu.as_str()), Ok(htu));
        }
        if let Ok(nonce) = Nonce::parse(&text) {
            prop_assert_eq!(nonce.as_str(), text);
        }
    }

    #[test]
    fn what_is_minted_verifies(
        method in "[A-Z!#$%&'*+.^_`|~a-z0-9-]{1,12}",
        uri in uri(),
        iat in -1_000_000_000_000..1_000_000_000_000_i64,
        drift in -60..=60_i64,
        nonce in prop::option::of("[!-~&&[^\"\\\\]]{1,40}"),
        token in prop::option::of(".{1,60}"),
        p256_key in any::<bool>(),
    ) {
        let minter = Minter::new(Arc::new(if p256_key { p256() } else { ed25519() }));
        let htu = Htu::parse(&uri).unwrap();
        let nonce = nonce.map(|nonce| Nonce::parse(&nonce).unwrap());
        let mut request = ProofRequest::new(&method, &htu, iat);
        let mut check = ProofCheck::new(&method, &htu, iat + drift).jkt(minter.jkt());
        if let Some(nonce) = &nonce {
            (request, check) = (request.nonce(nonce), check.nonce(nonce));
        }
        if let Some(token) = &token {
            (request, check) = (request.access_token(token), check.access_token(token));
        }
        let proof = minter.mint(&request, &Counter::default()).unwrap();
        let verified = check.verify(proof.expose()).unwrap();
        prop_assert_eq!(verified.iat(), iat);
        prop_assert_eq!(verified.nonce(), nonce.as_ref().map(Nonce::as_str));
        prop_assert_eq!(verified.jkt(), minter.jkt());
    }

    #[test]
    fn a_proof_changed_in_one_character_is_refused(at in any::<prop::sample::Index>(), with in any::<char>()) {
        let minter = Minter::new(Arc::new(ed25519()));
        let htu = Htu::parse(support::URL).unwrap();
        let proof = minter.mint(&ProofRequest::new("POST", &htu, NOW), &Counter::default()).unwrap();
        let mut characters: Vec<char> = proof.expose().chars().collect();
        let at = at.index(characters.len());
        prop_assume!(characters[at] != with);
        characters[at] = with;
        let changed: String = characters.into_iter().collect();
        prop_assert!(ProofCheck::new("POST", &htu, NOW).verify(&changed).is_err());
    }

    #[test]
    fn verifying_never_panics(text in prop_oneof![".*", "[A-Za-z0-9_-]{0,60}(\\.[A-Za-z0-9_-]{0,60}){2}"], claim in ".*", number in any::<f64>()) {
        let htu = Htu::parse(support::URL).unwrap();
        let check = ProofCheck::new("POST", &htu, NOW).access_token("t");
        prop_assert!(check.verify(&text).is_err());
        let key = ed25519();
        for changes in [json!({"htu": claim}), json!({"jti": claim, "htm": claim}), json!({"iat": number}), json!({"ath": claim})] {
            let proof = signed(&key, &header(&key).to_string(), &with(claims(), changes).to_string());
            prop_assert!(check.verify(&proof).is_err());
        }
        let nonsense = format!("{}.{}.{}", base64url::encode(header(&key).to_string().as_bytes()), base64url::encode(claim.as_bytes()), base64url::encode(&[1; 64]));
        prop_assert!(check.verify(&nonsense).is_err());
    }

    /// The store against the plainest model of it, at times that only go forward.
    #[test]
    fn the_store_agrees_with_its_model(steps in prop::collection::vec((0..6_u8, 0..40_i64), 1..60), capacity in 1..6_usize) {
        let store = MemoryReplayStore::new(capacity);
        let key = ed25519();
        let htu = Htu::parse(support::URL).unwrap();
        let mut live: HashMap<u8, i64> = HashMap::new();
        let mut now = NOW;
        for (jti, pause) in steps {
            now += pause;
            live.retain(|_, until| *until >= now);
            let claims = with(claims(), json!({"jti": jti.to_string(), "iat": now}));
            let proof = signed(&key, &header(&key).to_string(), &claims.to_string());
            let spent = ProofCheck::new("POST", &htu, now).verify(&proof).unwrap().spend(&store, now);
            let expected = if live.contains_key(&jti) {
                Err(ReplayError::Replayed)
            } else if live.len() == capacity {
                Err(ReplayError::Full)
            } else {
                live.insert(jti, now + 120);
                Ok(())
            };
            prop_assert_eq!(spent, expected);
            prop_assert_eq!(store.len(), live.keys().collect::<HashSet<_>>().len());
        }
    }
}
