//! Compact JWS and keys.

use jose::{Signer as _, TokenHeader, base64url, random_token, sign_compact};
use serde_json::{Value, json};

use super::bench::{ALGS, Bench};

pub(super) fn cases(bench: &Bench) -> anyhow::Result<Vec<Value>> {
    let mut cases = Vec::new();
    for alg in ALGS {
        let key = bench.key(alg);
        let kid = key.public_key().thumbprint().as_str();
        let assertion = json!({
            "iss": "agent", "sub": "agent", "aud": "https://as.example/token", "iat": bench.now, "exp": bench.now + 60,
            "jti": random_token::<16>(&bench.rng),
        });
        let assertion = assertion.to_string();
        let payloads: [(&str, TokenHeader<'_>, &[u8]); 5] = [
            ("client assertion", TokenHeader::new("JWT").kid(kid), assertion.as_bytes()),
            ("no octets", TokenHeader::untyped(), b""),
            ("any octets", TokenHeader::untyped(), &[0, 0xff, 0x0a, 0x80]),
            ("text", TokenHeader::new("example"), "na\u{ef}ve \u{1f600}".as_bytes()),
            ("long", TokenHeader::new("example"), &[b'x'; 10_000]),
        ];
        for (name, header, payload) in payloads {
            cases.push(json!({
                "id": format!("{alg} {name}"),
                "jws": sign_compact(&key, &header, payload)?,
                "jwk": key.public_key().to_jwk(),
                "value": base64url::encode(payload),
            }));
        }
    }
    Ok(cases)
}

pub(super) fn keys(bench: &Bench) -> Vec<Value> {
    let keys = ALGS.into_iter().flat_map(|alg| (0..8).map(move |_| bench.key(alg)));
    keys.enumerate()
        .map(|(index, key)| {
            let key = key.public_key();
            json!({
                "id": format!("{} {index}", key.alg()),
                "jwk": key.to_jwk().with_kid(key.thumbprint().as_str()),
                "value": { "thumbprint": key.thumbprint() },
            })
        })
        .collect()
}
