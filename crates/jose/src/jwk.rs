use core::fmt;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::json::{self, InvalidJson};
use crate::key::Point;
use crate::{Alg, PublicKey, base64url, sha256};

/// A public key in JWK form (RFC 7517 §4): `kty` `OKP` with `crv` `Ed25519` (RFC 8037 §2), or `EC` with `P-256`
/// (RFC 7518 §6.2.1), and `kid` where it has one.
///
/// Other members are kept as received and can be read with [`Jwk::member`]. Some programs write `null` for what a key does not
/// have, so a member that is `null` counts as absent.
#[derive(Clone, Debug, PartialEq)]
pub struct Jwk {
    key: PublicKey,
    kid: Option<String>,
    members: Map<String, Value>,
}

impl Jwk {
    pub(crate) fn new(key: PublicKey) -> Self {
        Self { key, kid: None, members: Map::new() }
    }

    /// Parses a public JWK.
    ///
    /// # Errors
    ///
    /// - [`InvalidJwk::Json`] for anything but one JSON object without duplicate members.
    /// - the other variants as for [`Jwk::from_members`].
    ///
    /// # Examples
    ///
    /// ```
    /// // RFC 8037 Appendix A.2 and A.3.
    /// let jwk = jose::Jwk::parse(br#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#)?;
    /// assert_eq!(jwk.key().thumbprint().as_str(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    /// assert!(jose::Jwk::parse(br#"{"kty":"oct","k":"AAAA"}"#).is_err());
    /// # Ok::<(), jose::InvalidJwk>(())
    /// ```
    pub fn parse(text: &[u8]) -> Result<Self, InvalidJwk> {
        Self::from_members(json::parse_object(text)?)
    }

    /// Reads a public JWK from an object already parsed.
    ///
    /// # Errors
    ///
    /// - [`InvalidJwk::Unsupported`] for another `kty` or `crv`.
    /// - [`InvalidJwk::Member`] for a member that is missing, of the wrong JSON type, or not base64url of its length.
    /// - [`InvalidJwk::NotOnCurve`] for coordinates that are no point, or an Ed25519 point of small order or in a second
    ///   encoding.
    /// - [`InvalidJwk::PrivateMember`] if it has a private or symmetric member: such a key has leaked, or is a trap.
    /// - [`InvalidJwk::NotForThis`] if `use`, `key_ops` or `alg` says that the key is for something else.
    pub fn from_members(mut members: Map<String, Value>) -> Result<Self, InvalidJwk> {
        members.retain(|_, value| !value.is_null());
        let key = PublicKey::from_members(&members)?;
        let kid = Members(&members).text("kid")?.map(str::to_owned);
        Ok(Self { key, kid, members })
    }

    /// The key itself.
    #[must_use]
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The `kid` member.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Any other member, as received.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&Value> {
        self.members.get(name)
    }

    /// The same key under this `kid`.
    #[must_use]
    pub fn with_kid(mut self, kid: &str) -> Self {
        self.kid = Some(kid.to_owned());
        self
    }

    /// The same key with one more member, replacing any of that name. The members that make the key cannot be replaced.
    #[must_use]
    pub fn with_member(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// The JWK as a JSON object.
    #[must_use]
    pub fn to_members(&self) -> Map<String, Value> {
        let mut members = self.members.clone();
        if let Some(kid) = &self.kid {
            members.insert("kid".to_owned(), Value::String(kid.clone()));
        }
        let required = json::parse_object(self.key.members_json().as_bytes()).unwrap_or_default();
        members.extend(required);
        members
    }
}

impl Serialize for Jwk {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_members().serialize(serializer)
    }
}

/// A set of public keys (RFC 7517 §5). Keys that this crate cannot use are left out when a set is read, as the RFC asks, and so
/// is an entry that is no key at all, or has a member twice: it spoils itself and no other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JwkSet {
    keys: Vec<Jwk>,
}

impl JwkSet {
    /// A set of these keys.
    #[must_use]
    pub fn new(keys: Vec<Jwk>) -> Self {
        Self { keys }
    }

    /// Parses a set. At most 100 keys are looked at.
    ///
    /// # Errors
    ///
    /// - [`InvalidJwk::Json`] for anything but one JSON object without duplicate members; those of an entry are its own.
    /// - [`InvalidJwk::Member`] if `keys` is not an array, or is longer than 100.
    pub fn parse(text: &[u8]) -> Result<Self, InvalidJwk> {
        let mut members = json::members(text)?;
        let list = members.remove("keys").ok_or(InvalidJwk::Member("keys"))?;
        for other in members.values() {
            json::parse(other.get().as_bytes())?;
        }
        let list: Vec<&RawValue> = serde_json::from_str(list.get()).map_err(|_| InvalidJwk::Member("keys"))?;
        if list.len() > MAX_KEYS {
            return Err(InvalidJwk::Member("keys"));
        }
        let keys = list.into_iter().filter_map(|entry| Jwk::parse(entry.get().as_bytes()).ok()).collect();
        Ok(Self { keys })
    }

    /// All usable keys, in order.
    #[must_use]
    pub fn keys(&self) -> &[Jwk] {
        &self.keys
    }

    /// The key that signs under `kid` with `alg`. Where the token names none, the set must leave no choice.
    #[must_use]
    pub fn find(&self, kid: Option<&str>, alg: Alg) -> Option<&Jwk> {
        let mut fitting = self.keys.iter().filter(|jwk| jwk.key.alg() == alg);
        match kid {
            Some(kid) => fitting.find(|jwk| jwk.kid() == Some(kid)),
            None => fitting.next().filter(|_| fitting.next().is_none()),
        }
    }
}

impl Serialize for JwkSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Wire<'a> {
            keys: &'a [Jwk],
        }
        Wire { keys: &self.keys }.serialize(serializer)
    }
}

/// A JWK thumbprint with SHA-256 (RFC 7638): 43 characters of base64url.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Thumbprint(String);

impl Thumbprint {
    pub(crate) fn of_json(canonical: &str) -> Self {
        Self(base64url::encode(&sha256(canonical.as_bytes())))
    }

    /// Takes a `jkt` value: 43 characters, base64url of 32 octets. `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        base64url::decode_array::<32>(text).ok().map(|_| Self(text.to_owned()))
    }

    /// The 43 characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Thumbprint({})", self.0)
    }
}

impl Serialize for Thumbprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Why a JWK or a set is refused. No value of a member is ever kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidJwk {
    /// Not a JSON object, or one with a duplicate member.
    #[error("the key is not a JSON object: {0}")]
    Json(#[from] InvalidJson),
    /// The member is missing, of the wrong type or of the wrong form.
    #[error("the key's member `{0}` is missing or malformed")]
    Member(&'static str),
    /// `kty` or `crv` names no key type that this crate knows.
    #[error("the key's type is not Ed25519 or P-256")]
    Unsupported,
    /// The coordinates are no usable point.
    #[error("the key is not a usable point on its curve")]
    NotOnCurve,
    /// A private member where none belongs, or one that does not fit the public half.
    #[error("the key has a private member that does not belong there")]
    PrivateMember,
    /// `use`, `key_ops` or `alg` excludes the use.
    #[error("the key's member `{0}` says it is for another use")]
    NotForThis(&'static str),
}

/// The members of a JWK while it is being read.
#[derive(Clone, Copy)]
pub(crate) struct Members<'a>(&'a Map<String, Value>);

impl<'a> Members<'a> {
    /// The members of a key that may be used for `operation`.
    fn new(members: &'a Map<String, Value>, operation: &str) -> Result<Self, InvalidJwk> {
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

    pub(crate) fn public_key(self) -> Result<PublicKey, InvalidJwk> {
        PublicKey::from_point(&self.point()?).ok_or(InvalidJwk::NotOnCurve)
    }

    fn text(self, name: &'static str) -> Result<Option<&'a str>, InvalidJwk> {
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

/// The members of a private JWK, wiped when dropped.
pub(crate) struct PrivateMembers(Map<String, Value>);

impl PrivateMembers {
    pub(crate) fn parse(text: &[u8]) -> Result<Self, InvalidJwk> {
        Ok(Self(json::parse_object(text)?))
    }

    pub(crate) fn public_key(&self) -> Result<PublicKey, InvalidJwk> {
        Members::new(&self.0, "sign")?.public_key()
    }

    pub(crate) fn d(&self) -> Result<Zeroizing<[u8; 32]>, InvalidJwk> {
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

/// RFC 7518 §6.2.2, §6.3.2, §6.4.1 and RFC 8037 §2.
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
const MAX_KEYS: usize = 100;
