use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::InvalidJwk;
use super::members::Members;
use crate::{PrivateKey, PublicKey, Signer as _, base64url, json};

impl PrivateKey {
    /// Reads a private JWK (RFC 7517 §4, RFC 8037 §2, RFC 7518 §6.2.2). What was copied out of `text` is wiped; `text`
    /// itself is the caller's to wipe.
    ///
    /// # Errors
    ///
    /// - [`InvalidJwk`] as for [`Jwk::parse`](crate::Jwk::parse), without `d`, or if `d` is not the private half of `x` (and `y`).
    pub fn from_jwk(text: &[u8]) -> Result<Self, InvalidJwk> {
        let members = PrivateMembers::parse(text)?;
        let public = members.public_key()?;
        let d = members.d()?;
        let key = Self::from_secret(public.alg(), &d).ok_or(InvalidJwk::PrivateMember)?;
        if *key.public_key() != public {
            return Err(InvalidJwk::PrivateMember);
        }
        Ok(key)
    }

    /// The private JWK with `kid` = thumbprint, as JSON. It holds the secret: write it to the key file and nowhere else.
    #[must_use]
    pub fn to_jwk(&self) -> Zeroizing<String> {
        let d = Zeroizing::new(base64url::encode(self.secret_octets().as_ref()));
        let public = self.public_key();
        let mut text = Zeroizing::new(String::with_capacity(256));
        text.push_str("{\"d\":\"");
        text.push_str(&d);
        text.push_str("\",\"kid\":\"");
        text.push_str(public.thumbprint().as_str());
        text.push_str("\",");
        // The public members, without the opening brace.
        text.push_str(&public.members_json()[1..]);
        text
    }
}

/// The members of a private JWK, wiped when dropped.
struct PrivateMembers(Map<String, Value>);

impl PrivateMembers {
    fn parse(text: &[u8]) -> Result<Self, InvalidJwk> {
        Ok(Self(json::parse_object(text)?))
    }

    fn public_key(&self) -> Result<PublicKey, InvalidJwk> {
        Members::new(&self.0, "sign")?.public_key()
    }

    fn d(&self) -> Result<Zeroizing<[u8; 32]>, InvalidJwk> {
        let text = Members(&self.0).text("d")?.ok_or(InvalidJwk::Member("d"))?;
        let mut octets = Zeroizing::new([0; 32]);
        base64url::decode_exact(text, octets.as_mut()).map_err(|_| InvalidJwk::Member("d"))?;
        Ok(octets)
    }
}

impl Drop for PrivateMembers {
    fn drop(&mut self) {
        json::wipe(&mut self.0);
    }
}
