//! Private keys: reading, writing, and what they must not show.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use jose::{Alg, InvalidJwk, PrivateKey, Signer};
use support::{ED25519_JWK, OTHER_ED25519_JWK, P256_JWK, Pattern, ed25519, p256};

#[test]
fn a_private_jwk_round_trips() {
    for key in [
        ed25519(),
        p256(),
        PrivateKey::generate(Alg::EdDsa, &Pattern(1)),
        PrivateKey::generate(Alg::Es256, &Pattern(2)),
    ] {
        let text = key.to_jwk();
        let read = PrivateKey::from_jwk(text.as_bytes()).unwrap();
        assert_eq!(read.public_key(), key.public_key());
        assert_eq!(*read.to_jwk(), *text);
        // Both algorithms sign deterministically (RFC 8032, RFC 6979), so equal signatures mean equal keys.
        assert_eq!(read.sign(b"message"), key.sign(b"message"));
        let members: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(members["kid"], key.public_key().thumbprint().as_str());
    }
}

#[test]
fn reads_optional_members() {
    for more in [
        r#""use":"sig""#,
        r#""key_ops":["sign"]"#,
        r#""key_ops":["verify","sign"]"#,
        r#""alg":"Ed25519""#,
        r#""x5t":"AA""#,
    ] {
        assert!(PrivateKey::from_jwk(with(ED25519_JWK, more).as_bytes()).is_ok(), "{more}");
    }
}

#[test]
fn refuses_keys_for_another_use() {
    for (more, member) in [
        (r#""use":"enc""#, "use"),
        (r#""key_ops":["verify"]"#, "key_ops"),
        (r#""key_ops":[]"#, "key_ops"),
        (r#""alg":"ES256""#, "alg"),
        (r#""alg":"HS256""#, "alg"),
    ] {
        assert_eq!(read(&with(ED25519_JWK, more)), Err(InvalidJwk::NotForThis(member)), "{more}");
    }
}

#[test]
fn refuses_a_private_half_that_does_not_fit_the_public_one() {
    let ed_d = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
    let other_d = "n4Ni-HpISpVObnQMW0wOhCKROaIKqKtW_2ZYb2p9KcU";
    let ec_d = "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI";
    let ec_x = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
    for text in [
        ED25519_JWK.replace(ed_d, other_d),
        OTHER_ED25519_JWK.replace(other_d, ed_d),
        P256_JWK.replace(ec_d, ed_d),
        // Zero, the group's order, and all ones are no P-256 scalars.
        P256_JWK.replace(ec_d, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
        P256_JWK.replace(ec_d, "_____wAAAAD__________7zm-q2nF56E87nKwvxjJVE"),
        P256_JWK.replace(ec_d, "__________________________________________8"),
    ] {
        assert_eq!(read(&text), Err(InvalidJwk::PrivateMember), "{text}");
    }
    assert_eq!(read(&P256_JWK.replace(ec_x, ec_d)), Err(InvalidJwk::NotOnCurve));
}

#[test]
fn refuses_malformed_private_keys() {
    let d = r#""d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","#;
    for (text, member) in [
        (ED25519_JWK.replace(d, ""), "d"),
        (ED25519_JWK.replace(d, r#""d":7,"#), "d"),
        (ED25519_JWK.replace(d, r#""d":"","#), "d"),
        (ED25519_JWK.replace("uf2A\"", "uf2A=\""), "d"),
        (ED25519_JWK.replace("uf2A\"", "uf2\""), "d"),
        (ED25519_JWK.replace("uf2A\"", "uf2AAA\""), "d"),
        (ED25519_JWK.replace(r#""kty":"OKP","#, ""), "kty"),
    ] {
        assert_eq!(read(&text), Err(InvalidJwk::Member(member)), "{text}");
    }
    for text in ["", "[]", "{", &format!("{ED25519_JWK}x"), &with(ED25519_JWK, r#""d":"AAAA""#)] {
        assert!(matches!(read(text), Err(InvalidJwk::Json(_))), "{text}");
    }
    assert_eq!(read(r#"{"kty":"RSA","d":"AAAA"}"#), Err(InvalidJwk::Unsupported));
}

#[test]
fn debug_does_not_print_d() {
    for text in [ED25519_JWK, P256_JWK] {
        let key = PrivateKey::from_jwk(text.as_bytes()).unwrap();
        let members: serde_json::Value = serde_json::from_str(text).unwrap();
        let d = members["d"].as_str().unwrap();
        let octets = jose::base64url::decode(d).unwrap();
        let hex: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
        let list = format!("{:?}", &octets[..4]);
        for printed in [format!("{key:?}"), format!("{key:#?}")] {
            assert!(printed.contains("[redacted]"), "{printed}");
            assert!(
                !printed.contains(d) && !printed.contains(&hex) && !printed.contains(list.trim_matches(['[', ']']))
            );
        }
        // Every error that a private key can give, with the secret in the text.
        for broken in
            [with(text, r#""d":"AAAA""#), format!("{text}x"), with(text, r#""use":"enc""#), text.replace("kty", "d2")]
        {
            let error = PrivateKey::from_jwk(broken.as_bytes()).unwrap_err();
            assert!(!format!("{error} {error:?}").contains(&d[..8]), "{error:?}");
        }
    }
}

#[test]
fn generated_keys_come_from_the_generator_alone() {
    for alg in [Alg::EdDsa, Alg::Es256] {
        let key = PrivateKey::generate(alg, &Pattern(9));
        assert_eq!(key.public_key().alg(), alg);
        assert_eq!(key.public_key(), PrivateKey::generate(alg, &Pattern(9)).public_key());
        assert_ne!(key.public_key(), PrivateKey::generate(alg, &Pattern(10)).public_key());
    }
}

#[test]
fn generation_asks_again_when_the_octets_are_no_scalar() {
    struct FirstAllOnes(std::sync::atomic::AtomicBool);
    impl jose::Rng for FirstAllOnes {
        fn fill(&self, out: &mut [u8]) {
            let again = self.0.swap(true, std::sync::atomic::Ordering::Relaxed);
            if again { Pattern(3).fill(out) } else { out.fill(0xff) }
        }
    }
    let key = PrivateKey::generate(Alg::Es256, &FirstAllOnes(false.into()));
    assert_eq!(key.public_key(), PrivateKey::generate(Alg::Es256, &Pattern(3)).public_key());
}

/// `jwk` with one more member.
fn with(jwk: &str, member: &str) -> String {
    format!("{},{member}}}", jwk.strip_suffix('}').unwrap())
}

fn read(text: &str) -> Result<(), InvalidJwk> {
    PrivateKey::from_jwk(text.as_bytes()).map(|_| ())
}
