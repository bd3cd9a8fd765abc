//! Compact JWS with any header over any claims, as no real signer should make them.

use jose::{PrivateKey, Signer as _, base64url, sha256};
use oid4ac_client::SystemRng;
use serde_json::{Map, Value};

use crate::outcome::{Stop, broken};

/// Signs these claims under exactly this header, whatever it says.
pub(crate) fn sign(header: &Value, claims: &Value, key: &PrivateKey) -> String {
    sign_text(&header.to_string(), &claims.to_string(), key)
}

/// The same, where header or claims are more than an object can hold.
pub(crate) fn sign_text(header: &str, claims: &str, key: &PrivateKey) -> String {
    with_signature(header, claims, |input| key.sign(input).map(|octets| octets.to_vec()).unwrap_or_default())
}

/// Header and claims under a signature made by `sign`.
pub(crate) fn with_signature(header: &str, claims: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let input = format!("{}.{}", base64url::encode(header.as_bytes()), base64url::encode(claims.as_bytes()));
    let signature = base64url::encode(&sign(input.as_bytes()));
    format!("{input}.{signature}")
}

/// A header in whose place an algorithm stands that is not allowed, as an attacker would sign for it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Alg {
    /// No signature at all.
    None,
    /// The same in another spelling.
    NoneSpelled,
    /// HMAC, with the public key's octets as the secret.
    Hs256,
    Rs256,
    Ps256,
    Es256k,
    /// An algorithm that is allowed elsewhere, over a key of another type.
    WrongKeyType,
}

impl Alg {
    pub(crate) const ALL: [Self; 7] =
        [Self::None, Self::NoneSpelled, Self::Hs256, Self::Rs256, Self::Ps256, Self::Es256k, Self::WrongKeyType];

    /// Its name in the header.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::NoneSpelled => "NonE",
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256k => "ES256K",
            Self::WrongKeyType => "ES256",
        }
    }

    /// For an id.
    pub(crate) fn slug(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::NoneSpelled => "none_spelled",
            Self::Hs256 => "hs256",
            Self::Rs256 => "rs256",
            Self::Ps256 => "ps256",
            Self::Es256k => "es256k",
            Self::WrongKeyType => "wrong_key_type",
        }
    }

    /// Signs as an attacker would: `key` is the attacker's, `public` what it can know of the signer.
    pub(crate) fn sign(self, header: &Value, claims: &str, key: &PrivateKey, public: &[u8]) -> String {
        let mut header = header.clone();
        header["alg"] = self.name().into();
        with_signature(&header.to_string(), claims, |input| match self {
            Self::None | Self::NoneSpelled => Vec::new(),
            Self::Hs256 => hmac_sha256(public, input).to_vec(),
            Self::Rs256 | Self::Ps256 => vec![0x5a; 256],
            Self::Es256k | Self::WrongKeyType => key.sign(input).map(|octets| octets.to_vec()).unwrap_or_default(),
        })
    }
}

/// HMAC-SHA256 (RFC 2104).
fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0; 64];
    match key.len() {
        ..=64 => block[..key.len()].copy_from_slice(key),
        _ => block[..32].copy_from_slice(&sha256(key)),
    }
    let padded = |pad: u8, rest: &[u8]| sha256(&[&block.map(|octet| octet ^ pad)[..], rest].concat());
    padded(0x5c, &padded(0x36, message))
}

/// Header and claims of an unverified JWS.
pub(crate) fn take_apart(token: &str) -> Result<(Value, Value), Stop> {
    let mut parts = token.split('.');
    let mut part = || {
        let octets = base64url::decode(parts.next().unwrap_or_default()).ok()?;
        jose::json::parse_object(&octets).ok().map(Value::Object)
    };
    match (part(), part()) {
        (Some(header), Some(claims)) => Ok((header, claims)),
        _ => broken("a token", "is no JWS"),
    }
}

/// The member names of an object: all that is ever shown of what may be secret.
pub(crate) fn names(members: &Map<String, Value>) -> String {
    members.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// A key that no server knows.
pub(crate) fn new_key(alg: jose::Alg) -> PrivateKey {
    PrivateKey::generate(alg, &SystemRng)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_is_that_of_rfc4231() {
        let hex = |octets: &[u8]| octets.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hex(&hmac_sha256(b"Jefe", b"what do ya want for nothing?")), expected);
        let expected = "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54";
        let long = [0xaa; 131];
        assert_eq!(hex(&hmac_sha256(&long, b"Test Using Larger Than Block-Size Key - Hash Key First")), expected);
    }
}
