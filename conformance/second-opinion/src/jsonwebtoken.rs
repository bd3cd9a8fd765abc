//! jsonwebtoken, on RustCrypto.

use jose::{Alg, JwsError, Signer as _, Typ, UnverifiedJws};
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde_json::{Value, json};

use crate::count::Count;
use crate::artefacts::{ALGS, Key, now, tokens};

pub(crate) fn run() -> anyhow::Result<Count> {
    let mut count = Count::new("jsonwebtoken 11");
    for alg in ALGS {
        let key = Key::new(alg);
        let jwk: Jwk = serde_json::from_value(Value::Object(key.public_jwk()))?;
        let decoding = DecodingKey::from_jwk(&jwk)?;
        let theirs = |token: &str| decode::<Value>(token, &decoding, &validation(alg));
        for (name, token) in tokens(&key)? {
            count.check(&format!("{alg}, {name} of ours"), theirs(&token).is_ok());
            let at = token.len() - 20;
            let bent =
                format!("{}{}{}", &token[..at], if &token[at..=at] == "A" { "B" } else { "A" }, &token[at + 1..]);
            count.check(&format!("{alg}, {name} of ours, bent"), theirs(&bent).is_err());
        }

        let encoding = match alg {
            Alg::EdDsa => EncodingKey::from_ed_der(&[PKCS8_ED25519, &key.secret()].concat()),
            Alg::Es256 => EncodingKey::from_ec_der(&[PKCS8_P256, &key.secret()].concat()),
        };
        for claims in [json!({}), json!({ "iss": "a", "exp": now() + 60, "text": "\u{fc}" })] {
            let header = Header { kid: Some("k".to_owned()), ..Header::new(algorithm(alg)) };
            let token = encode(&header, &claims, &encoding)?;
            let verified = UnverifiedJws::parse(&token)?.verify(key.ours.public_key(), &ALGS, &["JWT"])?;
            count.check(&format!("{alg}, theirs"), Some(&verified.claims()?) == claims.as_object());
            let other = Key::new(alg);
            let refused = UnverifiedJws::parse(&token)?.verify(other.ours.public_key(), &ALGS, Typ::Unchecked);
            count.check(&format!("{alg}, theirs with another key"), refused == Err(JwsError::BadSignature));
        }
        let thumbprint = jwk.thumbprint(ThumbprintHash::SHA256)?;
        count.check(&format!("{alg}, thumbprint"), thumbprint == key.ours.public_key().thumbprint().as_str());

        let mut differs = |what: &str, header: String, theirs_accepts: bool, refusal: fn(&JwsError) -> bool| {
            let token = key.raw(&header, "{}");
            let ours =
                UnverifiedJws::parse(&token).and_then(|jws| jws.verify(key.ours.public_key(), &ALGS, Typ::Unchecked));
            let as_wanted = match ours {
                Ok(_) => !theirs_accepts,
                Err(error) => theirs_accepts && refusal(&error),
            };
            count.check(&format!("differs: {alg}, {what}"), theirs(&token).is_ok() == theirs_accepts && as_wanted);
        };
        // RFC 7515 §4.1.11: what is critical and not understood makes the JWS invalid. jsonwebtoken does not look at it.
        differs("crit with an unknown name", format!(r#"{{"alg":"{alg}","crit":["x"],"x":1}}"#), true, |error| {
            *error == JwsError::CriticalHeader
        });
        // RFC 7797 §6: with `b64` false the payload is signed as it is; read as base64url it is another.
        differs("b64 false", format!(r#"{{"alg":"{alg}","b64":false}}"#), true, |error| {
            *error == JwsError::CriticalHeader
        });
        // A key, or a place to fetch one from, is only the sender's word.
        differs("jku", format!(r#"{{"alg":"{alg}","jku":"https://evil.example"}}"#), true, |error| {
            *error == JwsError::EmbeddedKey("jku")
        });
        if alg == Alg::EdDsa {
            // RFC 9864 §2.2 gives EdDSA with Ed25519 a name of its own, which jsonwebtoken does not know yet.
            differs("alg Ed25519", r#"{"alg":"Ed25519"}"#.to_owned(), false, |_| false);
        }
    }
    Ok(count)
}

fn algorithm(alg: Alg) -> Algorithm {
    match alg {
        Alg::EdDsa => Algorithm::EdDSA,
        Alg::Es256 => Algorithm::ES256,
    }
}

/// The signature and `exp` where it is there: audiences are not what is compared here.
fn validation(alg: Alg) -> Validation {
    let mut validation = Validation::new(algorithm(alg));
    validation.required_spec_claims.clear();
    validation.validate_aud = false;
    validation
}

/// RFC 8410 §7, up to the seed.
const PKCS8_ED25519: &[u8] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
/// RFC 5208 §5 around RFC 5915 §3 without the public key, up to the scalar.
const PKCS8_P256: &[u8] =
    b"\x30\x41\x02\x01\x00\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\
    \x07\x04\x27\x30\x25\x02\x01\x01\x04\x20";
