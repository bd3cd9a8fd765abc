//! A proof works once, for as long as it could be accepted.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use dpop::{
    Htu, MemoryReplayStore, Minter, ProofCheck, ProofRequest, ReplayError, ReplayKey, ReplayStore, VerifiedProof,
};
use jose::PrivateKey;
use serde_json::json;
use support::{Counter, NOW, URL, claims, ed25519, header, other_ed25519, signed, with};

fn htu() -> Htu {
    Htu::parse(URL).unwrap()
}

fn verified(key: &PrivateKey, jti: &str, iat: i64, now: i64) -> VerifiedProof {
    let claims = with(claims(), json!({"jti": jti, "iat": iat}));
    ProofCheck::new("POST", &htu(), now).verify(&signed(key, &header(key).to_string(), &claims.to_string())).unwrap()
}

#[test]
fn refuses_a_proof_that_was_used() {
    let store = MemoryReplayStore::new(10);
    let key = ed25519();
    assert_eq!(verified(&key, "a", NOW, NOW).spend(&store, NOW), Ok(()));
    assert_eq!(verified(&key, "a", NOW, NOW).spend(&store, NOW), Err(ReplayError::Replayed));
    assert_eq!(
        verified(&key, "a", NOW + 1, NOW).spend(&store, NOW),
        Err(ReplayError::Replayed),
        "the same jti, resigned"
    );
    assert_eq!(verified(&key, "b", NOW, NOW).spend(&store, NOW), Ok(()));
    assert_eq!(verified(&key, "A", NOW, NOW).spend(&store, NOW), Ok(()));
    assert_eq!(verified(&other_ed25519(), "a", NOW, NOW).spend(&store, NOW), Ok(()), "a jti belongs to its key");
}

/// The worst case: accepted at the first second of its window, presented again at the last.
#[test]
fn remembers_a_proof_for_the_whole_window() {
    let store = MemoryReplayStore::new(10);
    let key = ed25519();
    let iat = NOW + 60;
    assert_eq!(verified(&key, "early", iat, NOW).spend(&store, NOW), Ok(()));
    for now in [NOW + 60, NOW + 61, NOW + 119, NOW + 120] {
        assert_eq!(verified(&key, "early", iat, now).spend(&store, now), Err(ReplayError::Replayed), "{now}");
    }
    let proof = signed(&key, &header(&key).to_string(), &with(claims(), json!({"iat": iat})).to_string());
    assert!(ProofCheck::new("POST", &htu(), NOW + 121).verify(&proof).is_err(), "from here on the window refuses it");
    assert_eq!(verified(&key, "late", NOW + 121, NOW + 121).spend(&store, NOW + 121), Ok(()));
    assert_eq!(store.len(), 1, "the first one was dropped");
}

#[test]
fn remembers_for_a_wider_window_when_the_check_has_one() {
    let store = MemoryReplayStore::new(10);
    let key = ed25519();
    let proof = signed(&key, &header(&key).to_string(), &with(claims(), json!({"iat": NOW + 300})).to_string());
    let htu = htu();
    let at = |now| ProofCheck::new("POST", &htu, now).window(300).verify(&proof).unwrap().spend(&store, now);
    assert_eq!(at(NOW), Ok(()));
    assert_eq!(at(NOW + 600), Err(ReplayError::Replayed));
}

#[test]
fn a_clock_set_back_forgets_nothing() {
    let store = MemoryReplayStore::new(10);
    let key = ed25519();
    assert_eq!(verified(&key, "a", NOW, NOW).spend(&store, NOW), Ok(()));
    assert_eq!(verified(&key, "b", NOW - 50, NOW - 50).spend(&store, NOW - 50), Ok(()));
    assert_eq!(verified(&key, "a", NOW, NOW - 50).spend(&store, NOW - 50), Err(ReplayError::Replayed));
    assert_eq!(verified(&key, "a", NOW, NOW + 50).spend(&store, NOW + 50), Err(ReplayError::Replayed));
}

#[test]
fn a_full_store_refuses_and_forgets_nothing() {
    let store = MemoryReplayStore::new(3);
    let key = ed25519();
    for jti in ["a", "b", "c"] {
        assert_eq!(verified(&key, jti, NOW, NOW).spend(&store, NOW), Ok(()));
    }
    assert_eq!(verified(&key, "d", NOW, NOW).spend(&store, NOW), Err(ReplayError::Full));
    for jti in ["a", "b", "c"] {
        assert_eq!(verified(&key, jti, NOW, NOW).spend(&store, NOW), Err(ReplayError::Replayed), "{jti}");
    }
    let later = NOW + 121;
    assert_eq!(verified(&key, "d", later, later).spend(&store, later), Ok(()), "room again");
    assert_eq!(verified(&key, "x", NOW, NOW).spend(&MemoryReplayStore::new(0), NOW), Err(ReplayError::Full));
}

/// Of many threads with one proof, exactly one gets through.
#[test]
fn looking_and_recording_are_one_step() {
    const THREADS: usize = 8;
    let store = MemoryReplayStore::new(10_000);
    let key = ed25519();
    for round in 0..50 {
        let proof = verified(&key, &format!("round {round}"), NOW, NOW);
        let (barrier, accepted) = (Barrier::new(THREADS), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    barrier.wait();
                    match proof.spend(&store, NOW) {
                        Ok(()) => accepted.fetch_add(1, Ordering::Relaxed),
                        Err(ReplayError::Replayed) => 0,
                        Err(other) => panic!("{other}"),
                    };
                });
            }
        });
        assert_eq!(accepted.into_inner(), 1, "round {round}");
    }
    assert_eq!(store.len(), 50);
}

#[test]
fn minted_proofs_are_never_replays_of_each_other() {
    let store = MemoryReplayStore::new(1000);
    let minter = Minter::new(Arc::new(ed25519()));
    let (htu, rng) = (htu(), Counter::default());
    for _ in 0..100 {
        let proof = minter.mint(&ProofRequest::new("POST", &htu, NOW), &rng).unwrap();
        let verified = ProofCheck::new("POST", &htu, NOW).verify(proof.expose()).unwrap();
        assert_eq!(verified.spend(&store, NOW), Ok(()));
    }
    assert_eq!(store.len(), 100);
}

/// A shared store that is down is an error of its own, and the proof is not taken.
#[test]
fn a_store_of_ones_own_can_say_that_it_is_not_available() {
    struct Down;
    impl ReplayStore for Down {
        fn insert(&self, key: ReplayKey, now: i64, until: i64) -> Result<(), ReplayError> {
            assert_eq!((key.as_bytes().len(), now, until), (32, NOW, NOW + 120));
            Err(ReplayError::Unavailable)
        }
    }
    assert_eq!(verified(&ed25519(), "a", NOW, NOW).spend(&Down, NOW), Err(ReplayError::Unavailable));
}

#[test]
fn a_window_of_any_size_does_not_overflow() {
    let store = MemoryReplayStore::new(10);
    let key = ed25519();
    let proof = signed(&key, &header(&key).to_string(), &with(claims(), json!({"iat": i64::MAX})).to_string());
    let verified = ProofCheck::new("POST", &htu(), i64::MAX).window(u32::MAX).verify(&proof).unwrap();
    assert_eq!(verified.spend(&store, i64::MAX), Ok(()));
    assert_eq!(verified.spend(&store, i64::MAX), Err(ReplayError::Replayed));
}
