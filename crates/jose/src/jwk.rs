use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::json;
use crate::{Alg, PublicKey};

mod invalid;
mod members;
mod private;

pub use invalid::InvalidJwk;
pub(crate) use members::Members;

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
    /// - [`InvalidJwk::NotOnCurve`] for coordinates that are not a point, or an Ed25519 point of small order or in a second
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

impl PublicKey {
    /// Reads the key from the members of a public JWK (RFC 7517 §4), of which nothing else is kept.
    ///
    /// # Errors
    ///
    /// - [`InvalidJwk`] as for [`Jwk::from_members`].
    pub fn from_members(members: &Map<String, Value>) -> Result<Self, InvalidJwk> {
        Members::public(members)?.public_key()
    }

    /// The key as a JWK with no optional member.
    #[must_use]
    pub fn to_jwk(&self) -> Jwk {
        Jwk { key: self.clone(), kid: None, members: Map::new() }
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

const MAX_KEYS: usize = 100;
