use serde_json::{Map, Value};

use super::InvalidJwk;
use crate::point::Point;
use crate::{Alg, PublicKey, base64url};

/// The members of a JWK while it is being read.
#[derive(Clone, Copy)]
pub(crate) struct Members<'a>(pub(super) &'a Map<String, Value>);

impl<'a> Members<'a> {
    /// The members of a key that may be used for `operation`.
    pub(super) fn new(members: &'a Map<String, Value>, operation: &str) -> Result<Self, InvalidJwk> {
        let read = Self(members);
        read.check_purpose(operation)?;
        Ok(read)
    }

    /// The members of a key to verify with.
    pub(crate) fn public(members: &'a Map<String, Value>) -> Result<Self, InvalidJwk> {
        if PRIVATE_MEMBERS.iter().any(|name| members.get(*name).is_some_and(|value| !value.is_null())) {
            return Err(InvalidJwk::PrivateMember);
        }
        let read = Self::new(members, "verify")?;
        read.text("kid")?;
        Ok(read)
    }

    /// The octets of the public key; whether they are a point is not checked.
    pub(crate) fn point(self) -> Result<Point, InvalidJwk> {
        let kty = self.text("kty")?.ok_or(InvalidJwk::Member("kty"))?;
        let point = match (kty, self.text("crv")?) {
            ("OKP", Some("Ed25519")) => Point::Ed25519(self.octets("x")?),
            ("EC", Some("P-256")) => Point::P256(self.octets("x")?, self.octets("y")?),
            _ => return Err(InvalidJwk::Unsupported),
        };
        match self.text("alg")? {
            Some(name) if Alg::from_name(name) != Ok(point.alg()) => Err(InvalidJwk::NotForThis("alg")),
            _ => Ok(point),
        }
    }

    pub(super) fn public_key(self) -> Result<PublicKey, InvalidJwk> {
        PublicKey::from_point(&self.point()?).ok_or(InvalidJwk::NotOnCurve)
    }

    pub(super) fn text(self, name: &'static str) -> Result<Option<&'a str>, InvalidJwk> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(InvalidJwk::Member(name)),
        }
    }

    fn octets(self, name: &'static str) -> Result<[u8; 32], InvalidJwk> {
        let text = self.text(name)?.ok_or(InvalidJwk::Member(name))?;
        base64url::decode_array(text).map_err(|_| InvalidJwk::Member(name))
    }

    fn check_purpose(self, operation: &str) -> Result<(), InvalidJwk> {
        if self.text("use")?.is_some_and(|purpose| purpose != "sig") {
            return Err(InvalidJwk::NotForThis("use"));
        }
        match self.0.get("key_ops") {
            None | Some(Value::Null) => Ok(()),
            Some(Value::Array(list)) if list.iter().any(|op| op == operation) => Ok(()),
            Some(Value::Array(_)) => Err(InvalidJwk::NotForThis("key_ops")),
            Some(_) => Err(InvalidJwk::Member("key_ops")),
        }
    }
}

/// RFC 7518 §6.2.2, §6.3.2, §6.4.1 and RFC 8037 §2.
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
