//! Keys and tokens for the tests. The keys are printed in RFCs, so anyone may repeat a test with other tools.
#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test helper that fails must fail loudly")]

use jose::{Alg, JwsError, PrivateKey, PublicKey, Signer, UnverifiedJws, VerifiedJws, base64url};

/// RFC 8037 Appendix A.1.
pub(crate) const ED25519_JWK: &str = r#"{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
/// RFC 9421 Appendix B.1.4.
pub(crate) const OTHER_ED25519_JWK: &str = r#"{"kty":"OKP","crv":"Ed25519","kid":"test-key-ed25519","d":"n4Ni-HpISpVObnQMW0wOhCKROaIKqKtW_2ZYb2p9KcU","x":"JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs"}"#;
/// RFC 7515 Appendix A.3.1.
pub(crate) const P256_JWK: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;

pub(crate) const BOTH: [Alg; 2] = [Alg::EdDsa, Alg::Es256];

pub(crate) fn ed25519() -> PrivateKey {
    PrivateKey::from_jwk(ED25519_JWK.as_bytes()).unwrap()
}

pub(crate) fn other_ed25519() -> PrivateKey {
    PrivateKey::from_jwk(OTHER_ED25519_JWK.as_bytes()).unwrap()
}

pub(crate) fn p256() -> PrivateKey {
    PrivateKey::from_jwk(P256_JWK.as_bytes()).unwrap()
}

/// The public members of `key`, as they would stand in a header.
pub(crate) fn public_jwk(key: &PrivateKey) -> String {
    key.public_key().members_json()
}

/// A token with exactly these header octets, validly signed by `key`, whatever the header says.
pub(crate) fn signed(key: &PrivateKey, header: &[u8], payload: &[u8]) -> String {
    let input = format!("{}.{}", base64url::encode(header), base64url::encode(payload));
    let signature = key.sign(input.as_bytes()).unwrap();
    format!("{input}.{}", base64url::encode(&signature))
}

/// Parses and verifies in one go, as a caller does who allows both algorithms.
pub(crate) fn verify(token: &str, key: &PublicKey, typ: &[&str; 1]) -> Result<VerifiedJws, JwsError> {
    UnverifiedJws::parse(token)?.verify(key, &BOTH, typ)
}

/// A generator that repeats one octet pattern; enough where a test only needs different values.
pub(crate) struct Pattern(pub(crate) u8);

impl jose::Rng for Pattern {
    fn fill(&self, out: &mut [u8]) {
        for (index, octet) in out.iter_mut().enumerate() {
            *octet = self.0.wrapping_mul(31).wrapping_add(index as u8);
        }
    }
}
