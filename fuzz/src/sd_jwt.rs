use jose::{Alg, Signer as _, Typ, base64url};
use sd_jwt::{Expected, HeldSdJwt, KeyBinder, KeyBindingPolicy, Policy, UnverifiedSdJwt, Validity};

use crate::keys::{ED25519, NOW, sign};
use crate::Outcome;
use crate::input::line;

const ALGS: [Alg; 2] = [Alg::EdDsa, Alg::Es256];
const HEADER: &[u8] = br#"{"alg":"EdDSA","typ":"dc+sd-jwt"}"#;
const KB_HEADER: &[u8] = br#"{"alg":"EdDSA","typ":"kb+jwt"}"#;

/// As the holder reads it: any selection of what can be disclosed is part of the text, and reads in turn.
pub(crate) fn parse(input: &[u8]) -> Outcome {
    let Ok(text) = core::str::from_utf8(input) else { return Outcome::Refused };
    let _ = UnverifiedSdJwt::parse(text);
    let held = HeldSdJwt::parse(text.to_owned());
    if let Ok(held) = &held {
        assert_eq!(held.select_all().as_str(), text);
        for path in held.disclosable() {
            let selection = held.select(std::slice::from_ref(path)).expect("what can be disclosed");
            let again = HeldSdJwt::parse(selection.into_string()).expect("a selection is an SD-JWT");
            assert!(again.disclosable().len() >= 1);
        }
    }
    (&held).into()
}

/// `r`, SD-JWT; or `s`, claims, line end, disclosures in the clear, one a line. `@0` in claims and disclosures stands for the
/// digest of the first disclosure, and so on: those after a disclosure have to be known before it is.
pub(crate) fn verify(input: &[u8]) -> Outcome {
    let Some((kind, rest)) = input.split_first() else { return Outcome::Refused };
    let token = if *kind == b's' { issue(rest) } else { String::from_utf8_lossy(rest).into_owned() };
    let Ok(unverified) = UnverifiedSdJwt::parse(&token) else { return Outcome::Refused };
    let policy = Policy::new(&ALGS, Typ::Unchecked, Validity::at(NOW));
    let verified = unverified.verify(ED25519.public_key(), &policy);
    if let Ok(verified) = &verified {
        assert_clean(verified.claims().values());
        assert_eq!(verified.disclosed().len() + 2, token.split('~').count());
        let held = HeldSdJwt::parse(token.clone()).expect("what verifies can be held");
        assert!(verified.disclosed().eq(held.disclosable()));
    }
    let _ = unverified.verify(ED25519.public_key(), &policy.sd_jwt_vc());
    (&verified).into()
}

/// `r`, SD-JWT+KB; or `s`, header of the KB-JWT (or nothing, for the usual one), line end, its claims, in which `@` stands for
/// the right `sd_hash`.
pub(crate) fn key_binding(input: &[u8]) -> Outcome {
    let Some((kind, mut rest)) = input.split_first() else { return Outcome::Refused };
    let token = match kind {
        b's' => {
            let mut token = presented();
            let hash = base64url::encode(&jose::sha256(token.as_bytes()));
            let header = line(&mut rest);
            let header = if header.is_empty() { KB_HEADER } else { header };
            token.push_str(&sign(&ED25519, header, &replace(rest, b"@", &hash)));
            token
        }
        _ => String::from_utf8_lossy(rest).into_owned(),
    };
    let Ok(unverified) = UnverifiedSdJwt::parse(&token) else { return Outcome::Refused };
    let policy = Policy::new(&ALGS, Typ::Unchecked, Validity::at(NOW));
    let Ok(unbound) = unverified.verify_presentation(ED25519.public_key(), &policy) else { return Outcome::Refused };
    let binding = KeyBindingPolicy::new(&ALGS, "https://verifier.example", Expected::Anything, NOW);
    let bound = unbound.verify_key_binding(&binding);
    if let Ok(bound) = &bound {
        assert_eq!(bound.key_binding().aud(), "https://verifier.example");
        assert_eq!(bound.key_binding().key(), ED25519.public_key());
    }
    (&bound).into()
}

/// An SD-JWT without disclosures whose holder has the key that signs here.
fn presented() -> String {
    let key = ED25519.public_key().members_json();
    let claims = format!(r#"{{"iss":"https://issuer.example","cnf":{{"jwk":{key}}}}}"#);
    format!("{}~", sign(&ED25519, HEADER, claims.as_bytes()))
}

pub(crate) fn issue(input: &[u8]) -> String {
    let mut lines = input.split(|octet| *octet == b'\n');
    let claims = lines.next().unwrap_or_default();
    let mut disclosures: Vec<_> = lines.map(<[u8]>::to_vec).collect();
    let mut digests: Vec<(String, String)> = Vec::new();
    for at in (0..disclosures.len()).rev() {
        for (mark, digest) in &digests {
            disclosures[at] = replace(&disclosures[at], mark.as_bytes(), digest);
        }
        let encoded = base64url::encode(&disclosures[at]);
        digests.push((format!("@{at}"), base64url::encode(&jose::sha256(encoded.as_bytes()))));
    }
    let mut claims = claims.to_vec();
    for (mark, digest) in &digests {
        claims = replace(&claims, mark.as_bytes(), digest);
    }
    let mut token = sign(&ED25519, HEADER, &claims);
    for disclosure in disclosures {
        token.push('~');
        token.push_str(&base64url::encode(&disclosure));
    }
    token.push('~');
    token
}

/// An SD-JWT+KB as a holder makes it.
pub(crate) fn bound() -> String {
    let held = HeldSdJwt::parse(presented()).expect("an SD-JWT");
    let binder = KeyBinder::new(&*ED25519);
    binder.bind(held.select_all(), "https://verifier.example", "n-1", NOW).expect("a key in memory signs")
}

fn assert_clean<'v>(values: impl Iterator<Item = &'v serde_json::Value>) {
    for value in values {
        match value {
            serde_json::Value::Object(map) => {
                assert!(!["_sd", "_sd_alg", "..."].iter().any(|name| map.contains_key(*name)));
                assert_clean(map.values());
            }
            serde_json::Value::Array(items) => assert_clean(items.iter()),
            _ => {}
        }
    }
}

fn replace(input: &[u8], mark: &[u8], with: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(input.len());
    let mut rest = input;
    // A text that grows without end is of no use.
    while !rest.is_empty() && out.len() < 1 << 16 {
        if let Some(after) = rest.strip_prefix(mark) {
            out.extend_from_slice(with.as_bytes());
            rest = after;
        } else {
            out.push(rest[0]);
            rest = &rest[1..];
        }
    }
    out
}
