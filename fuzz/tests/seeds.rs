//! The seeds lead where they should, and no cut or bent one leads to a panic.

use fuzz::{Outcome, TARGETS};

#[test]
fn each_target_has_a_seed_that_goes_all_the_way() {
    for target in &TARGETS {
        let accepted = (target.seeds)().iter().filter(|seed| (target.run)(seed) == Outcome::Accepted).count();
        assert!(accepted > 0, "{}", target.name);
    }
}

#[test]
fn verifiers_accept_what_they_are_given_as_it_stands_and_what_they_sign() {
    for name in ["jose_jws", "dpop_verify", "sd_jwt_verify", "sd_jwt_kb", "http_sig_verify"] {
        let target = TARGETS.iter().find(|target| target.name == name).expect("a target of that name");
        for kind in [b'r', b's'] {
            let mut seeds = (target.seeds)().into_iter().filter(|seed| seed[0] == kind);
            assert!(seeds.any(|seed| (target.run)(&seed) == Outcome::Accepted), "{name} {}", char::from(kind));
        }
    }
}

#[test]
fn nothing_panics_on_a_seed_that_is_cut_or_bent() {
    for target in &TARGETS {
        for seed in (target.seeds)() {
            for at in (0..seed.len().min(300)).step_by(3) {
                (target.run)(&seed[..at]);
                let mut bent = seed.clone();
                bent[at] ^= 1;
                (target.run)(&bent);
            }
        }
    }
}
