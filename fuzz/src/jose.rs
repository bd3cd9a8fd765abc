use jose::{Alg, Jwk, JwkSet, PrivateKey, Signer as _, Typ, UnverifiedJws};
use serde_json::Value;

use crate::keys::{ED25519, P256, sign};
use crate::Outcome;
use crate::input::line;

/// What is accepted is JSON for another parser too, and means the same to it.
pub(crate) fn json(input: &[u8]) -> Outcome {
    let parsed = jose::json::parse(input);
    if let Ok(value) = &parsed {
        assert_eq!(*value, serde_json::from_slice::<Value>(input).expect("JSON"));
        assert_eq!(*value, jose::json::parse(value.to_string().as_bytes()).expect("JSON"));
    }
    (&parsed).into()
}

/// One text for each octet string.
pub(crate) fn base64url(input: &[u8]) -> Outcome {
    let encoded = jose::base64url::encode(input);
    assert_eq!(jose::base64url::decode(&encoded).as_deref(), Ok(input));
    let Ok(text) = core::str::from_utf8(input) else { return Outcome::Refused };
    let decoded = jose::base64url::decode(text);
    if let Ok(octets) = &decoded {
        assert_eq!(jose::base64url::encode(octets), text);
    }
    (&decoded).into()
}

/// A public key that was read is written so that it reads the same; likewise a private one, which is never taken for public.
pub(crate) fn jwk(input: &[u8]) -> Outcome {
    let public = Jwk::parse(input);
    if let Ok(jwk) = &public {
        let text = serde_json::to_vec(jwk).expect("a JWK is JSON");
        let again = Jwk::parse(&text).expect("a JWK");
        assert_eq!((again.key(), again.kid()), (jwk.key(), jwk.kid()));
        assert_eq!(again.key().thumbprint(), jwk.key().thumbprint());
    }
    let private = PrivateKey::from_jwk(input);
    if let Ok(key) = &private {
        assert!(public.is_err());
        let again = PrivateKey::from_jwk(key.to_jwk().as_bytes()).expect("a private JWK");
        assert_eq!(again.public_key(), key.public_key());
        let signature = key.sign(b"message").expect("a key in memory signs");
        assert_eq!(key.public_key().verify(b"message", &signature), Ok(()));
    }
    if private.is_ok() { Outcome::Accepted } else { (&public).into() }
}

pub(crate) fn jwks(input: &[u8]) -> Outcome {
    let set = JwkSet::parse(input);
    if let Ok(set) = &set {
        let text = serde_json::to_vec(set).expect("a set is JSON");
        assert_eq!(JwkSet::parse(&text).expect("a set").keys().len(), set.keys().len());
        for alg in [Alg::EdDsa, Alg::Es256] {
            assert!(set.find(None, alg).is_none_or(|jwk| jwk.key().alg() == alg));
        }
    }
    (&set).into()
}

/// `r`, token; or `s`, header, line end, payload.
pub(crate) fn jws(input: &[u8]) -> Outcome {
    let Some((kind, mut rest)) = input.split_first() else { return Outcome::Refused };
    let token = match kind {
        b's' => {
            let header = line(&mut rest);
            let key = if header.windows(5).any(|part| part == b"ES256") { &P256 } else { &ED25519 };
            sign(key, header, rest)
        }
        _ => String::from_utf8_lossy(rest).into_owned(),
    };
    let Ok(unverified) = UnverifiedJws::parse(&token) else { return Outcome::Refused };
    let _ = unverified.unverified_jwk();
    let key = match unverified.unverified_alg() {
        Alg::EdDsa => ED25519.public_key(),
        Alg::Es256 => P256.public_key(),
    };
    let verified = unverified.verify(key, &[Alg::EdDsa, Alg::Es256], Typ::Unchecked);
    if let Ok(jws) = &verified {
        let _ = jws.claims();
        if *kind == b's' {
            assert_eq!(jws.payload(), rest);
        }
        assert!(unverified.verify(key, &[], Typ::Unchecked).is_err());
    }
    (&verified).into()
}
