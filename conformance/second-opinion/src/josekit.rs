//! josekit, on OpenSSL.

use jose::{Alg, Jwk, JwsError, Signer as _, Typ, UnverifiedJws, base64url};
use josekit::jws::{self, EdDSA, JwsHeader, JwsSigner, JwsVerifier};

use crate::count::Count;
use crate::artefacts::{ALGS, Key, tokens};

pub(crate) fn run() -> anyhow::Result<Count> {
    let mut count = Count::new("josekit 0.10");
    for alg in ALGS {
        let key = Key::new(alg);
        let (signer, verifier) = (signer(&key)?, verifier(&key)?);
        for (name, token) in tokens(&key)? {
            let payload = base64url::decode(token.split('.').nth(1).unwrap_or_default())?;
            let read = jws::deserialize_compact(&token, verifier.as_ref());
            count.check(&format!("{alg}, {name} of ours"), read.is_ok_and(|(octets, _)| octets == payload));
            let at = token.len() - 20;
            let bent =
                format!("{}{}{}", &token[..at], if &token[at..=at] == "A" { "B" } else { "A" }, &token[at + 1..]);
            count.check(
                &format!("{alg}, {name} of ours, bent"),
                jws::deserialize_compact(&bent, verifier.as_ref()).is_err(),
            );
        }

        for payload in [&b"{}"[..], b"", &[0, 0xff], &[b'x'; 10_000]] {
            let mut header = JwsHeader::new();
            header.set_token_type("example");
            header.set_key_id("k");
            let token = jws::serialize_compact(payload, &header, signer.as_ref())?;
            let ours = read(&token, &key);
            count.check(&format!("{alg}, {} octets of theirs", payload.len()), ours.as_deref() == Ok(payload));
            let other = Key::new(alg);
            let refused = UnverifiedJws::parse(&token)?.verify(other.ours.public_key(), &ALGS, Typ::Unchecked);
            count.check(&format!("{alg}, theirs with another key"), refused == Err(JwsError::BadSignature));
        }
        let theirs = josekit::jwk::Jwk::from_map(key.public_jwk())?;
        let read = Jwk::parse(theirs.to_string().as_bytes())?;
        count.check(&format!("{alg}, their public JWK"), read.key() == key.ours.public_key());
        differences(&mut count, &key, verifier.as_ref())?;
    }
    Ok(count)
}

fn differences(count: &mut Count, key: &Key, verifier: &dyn JwsVerifier) -> anyhow::Result<()> {
    let alg = key.alg();
    let mut differs = |what: &str, header: String, theirs: bool, ours: fn(&JwsError) -> bool| {
        let token = key.raw(&header, "{}");
        let as_known = jws::deserialize_compact(&token, verifier).is_ok() == theirs;
        let as_wanted = match read(&token, key) {
            Ok(_) => !theirs,
            Err(error) => theirs && ours(&error),
        };
        count.check(&format!("differs: {alg}, {what}"), as_known && as_wanted);
    };
    // RFC 7515 §4: a parser rejects duplicates or takes the last. josekit takes the last; another would take the first, and
    // one token would have two meanings.
    differs(
        "a header member twice",
        format!(r#"{{"alg":"none","alg":"{alg}"}}"#),
        true,
        |error| matches!(error, JwsError::HeaderJson(error) if error.is_duplicate_member()),
    );
    // RFC 7515 §4.1.11: "Producers MUST NOT use the empty list". josekit looks for names in the list and finds none.
    differs("crit empty", format!(r#"{{"alg":"{alg}","crit":[]}}"#), true, |error| *error == JwsError::CriticalHeader);
    // A key in the header is only the sender's word. josekit leaves it to the caller to notice.
    let other = Key::new(alg).ours.public_key().members_json();
    differs("key in the header", format!(r#"{{"alg":"{alg}","jwk":{other}}}"#), true, |error| {
        *error == JwsError::EmbeddedKey("jwk")
    });
    if alg == Alg::EdDsa {
        // RFC 9864 §2.2 gives EdDSA with Ed25519 a name of its own, which josekit does not know yet.
        differs("alg Ed25519", r#"{"alg":"Ed25519"}"#.to_owned(), false, |_| false);
    }
    Ok(())
}

fn read(token: &str, key: &Key) -> Result<Vec<u8>, JwsError> {
    let verified = UnverifiedJws::parse(token)?.verify(key.ours.public_key(), &ALGS, Typ::Unchecked)?;
    Ok(verified.payload().to_vec())
}

fn signer(key: &Key) -> anyhow::Result<Box<dyn JwsSigner>> {
    let jwk = josekit::jwk::Jwk::from_map(key.private_jwk())?;
    Ok(match key.alg() {
        Alg::EdDsa => Box::new(EdDSA.signer_from_jwk(&jwk)?),
        Alg::Es256 => Box::new(jws::ES256.signer_from_jwk(&jwk)?),
    })
}

fn verifier(key: &Key) -> anyhow::Result<Box<dyn JwsVerifier>> {
    let mut members = key.public_jwk();
    members.remove("kid");
    let jwk = josekit::jwk::Jwk::from_map(members)?;
    Ok(match key.alg() {
        Alg::EdDsa => Box::new(EdDSA.verifier_from_jwk(&jwk)?),
        Alg::Es256 => Box::new(jws::ES256.verifier_from_jwk(&jwk)?),
    })
}
