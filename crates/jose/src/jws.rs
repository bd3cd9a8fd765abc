use core::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::json::{self, InvalidJson};
use crate::jwk::Members;
use crate::{Alg, InvalidJwk, Jwk, PublicKey, SignError, Signer, base64url};

/// The protected header of a token to be signed. `alg` is not set here: the key gives it.
#[derive(Clone, Debug, Default)]
pub struct TokenHeader<'a> {
    typ: Option<&'a str>,
    kid: Option<&'a str>,
    jwk: Option<&'a PublicKey>,
    fully_specified: bool,
}

impl<'a> TokenHeader<'a> {
    /// A header with this `typ` (RFC 7515 §4.1.9), without `application/`.
    #[must_use]
    pub fn new(typ: &'a str) -> Self {
        Self { typ: Some(typ), ..Self::untyped() }
    }

    /// A header without `typ`.
    #[must_use]
    pub fn untyped() -> Self {
        Self { typ: None, kid: None, jwk: None, fully_specified: false }
    }

    /// Names the key (RFC 7515 §4.1.4).
    #[must_use]
    pub fn kid(mut self, kid: &'a str) -> Self {
        self.kid = Some(kid);
        self
    }

    /// Carries the public key (RFC 7515 §4.1.3).
    #[must_use]
    pub fn jwk(mut self, key: &'a PublicKey) -> Self {
        self.jwk = Some(key);
        self
    }

    /// Writes the algorithm's fully-specified name (RFC 9864 §2): `Ed25519` in place of `EdDSA`.
    #[must_use]
    pub fn fully_specified(mut self) -> Self {
        self.fully_specified = true;
        self
    }

    /// The encoded header with its dot, ready to be put before many payloads signed by `key`.
    #[must_use]
    pub fn encode(&self, key: &PublicKey) -> EncodedHeader {
        let alg = match self.fully_specified {
            true => key.alg().fully_specified_name(),
            false => key.alg().name(),
        };
        let mut json = format!(r#"{{"alg":"{alg}""#);
        for (name, value) in [("typ", self.typ), ("kid", self.kid)] {
            if let Some(value) = value {
                json.push_str(&format!(r#","{name}":{}"#, Value::from(value)));
            }
        }
        if let Some(jwk) = self.jwk {
            json.push_str(r#","jwk":"#);
            json.push_str(&jwk.members_json());
        }
        json.push('}');
        let mut text = base64url::encode(json.as_bytes());
        text.push('.');
        EncodedHeader(text)
    }
}

/// A protected header made once and signed with often: `BASE64URL(header) .`
#[derive(Clone, Debug)]
pub struct EncodedHeader(String);

impl EncodedHeader {
    /// Signs `payload` under this header (RFC 7515 §5.1). `signer` has the key that the header was encoded for.
    ///
    /// # Errors
    ///
    /// - [`SignError`] if the key could not be used.
    pub fn sign(&self, signer: &dyn Signer, payload: &[u8]) -> Result<String, SignError> {
        let mut token = String::with_capacity(self.0.len() + payload.len().div_ceil(3) * 4 + 1 + 86);
        token.push_str(&self.0);
        base64url::encode_into(payload, &mut token);
        let signature = signer.sign(token.as_bytes())?;
        token.push('.');
        base64url::encode_into(&signature, &mut token);
        Ok(token)
    }
}

/// Signs `payload` as a compact JWS (RFC 7515 §5.1, §7.1).
///
/// # Errors
///
/// - [`SignError`] if the key could not be used.
pub fn sign_compact(signer: &dyn Signer, header: &TokenHeader<'_>, payload: &[u8]) -> Result<String, SignError> {
    header.encode(signer.public_key()).sign(signer, payload)
}

/// What a verifier requires of the `typ` header (RFC 7515 §4.1.9, RFC 8725 §3.11).
///
/// Values are compared as media types: case does not matter and a leading `application/` is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Typ<'a> {
    /// It must be there and be one of these.
    OneOf(&'a [&'a str]),
    /// It must be this, or not be there.
    AbsentOr(&'a str),
    /// It must not be there.
    Absent,
    /// Anything goes; only for a JWS that is not a profile's token.
    Unchecked,
}

impl<'a, const N: usize> From<&'a [&'a str; N]> for Typ<'a> {
    fn from(list: &'a [&'a str; N]) -> Self {
        Self::OneOf(list)
    }
}

impl Typ<'_> {
    fn accepts(self, typ: Option<&str>) -> bool {
        match (self, typ) {
            (Self::Unchecked, _) | (Self::AbsentOr(_) | Self::Absent, None) => true,
            (Self::OneOf(list), Some(typ)) => list.iter().any(|wanted| same_media_type(wanted, typ)),
            (Self::AbsentOr(wanted), Some(typ)) => same_media_type(wanted, typ),
            (Self::OneOf(_), None) | (Self::Absent, Some(_)) => false,
        }
    }
}

fn same_media_type(a: &str, b: &str) -> bool {
    fn short(typ: &str) -> &str {
        match typ.split_once('/') {
            Some((top, rest)) if top.eq_ignore_ascii_case("application") && !rest.contains('/') => rest,
            _ => typ,
        }
    }
    short(a).eq_ignore_ascii_case(short(b))
}

/// A compact JWS, taken apart but not believed: only what choosing a key needs can be read. `Debug` shows just that: a
/// token may be a credential.
#[derive(Clone)]
pub struct UnverifiedJws<'a> {
    signing_input: &'a str,
    payload: &'a str,
    signature: Vec<u8>,
    alg: Alg,
    header: Arc<Map<String, Value>>,
}

impl<'a> UnverifiedJws<'a> {
    /// Takes `token` apart (RFC 7515 §5.2 steps 1 to 5): three parts of strict base64url, at most 256 KiB in all, the
    /// first of them a JSON object without duplicates whose `alg` this crate knows.
    ///
    /// # Errors
    ///
    /// - [`JwsError::TooLarge`], [`JwsError::NotCompact`], [`JwsError::Base64Url`] for the outer form.
    /// - [`JwsError::HeaderJson`], [`JwsError::HeaderMember`] for the header's.
    /// - [`JwsError::AlgNotAllowed`] for `none`, HMAC, RSA and whatever else [`Alg`] does not have.
    /// - [`JwsError::CriticalHeader`] for any `crit`: none is understood here. Likewise for `b64` unless it is `true`.
    pub fn parse(token: &'a str) -> Result<Self, JwsError> {
        if token.len() > MAX_OCTETS {
            return Err(JwsError::TooLarge);
        }
        let (signing_input, signature) = token.rsplit_once('.').ok_or(JwsError::NotCompact)?;
        let (header, payload) = signing_input.split_once('.').ok_or(JwsError::NotCompact)?;
        if payload.contains('.') {
            return Err(JwsError::NotCompact);
        }
        let header = base64url::decode(header).map_err(|_| JwsError::Base64Url("header"))?;
        let header = json::parse_object(&header).map_err(JwsError::HeaderJson)?;
        let alg = match header.get("alg") {
            Some(Value::String(name)) => {
                Alg::from_name(name).map_err(|e| JwsError::AlgNotAllowed(e.name().to_owned()))?
            }
            _ => return Err(JwsError::HeaderMember("alg")),
        };
        if header.contains_key("crit") || header.get("b64").is_some_and(|b64| *b64 != Value::Bool(true)) {
            return Err(JwsError::CriticalHeader);
        }
        for name in ["typ", "kid", "cty"] {
            if header.get(name).is_some_and(|value| !value.is_string()) {
                return Err(JwsError::HeaderMember(name));
            }
        }
        let signature = base64url::decode(signature).map_err(|_| JwsError::Base64Url("signature"))?;
        Ok(Self { signing_input, payload, signature, alg, header: Arc::new(header) })
    }

    /// The algorithm that the header names.
    #[must_use]
    pub fn unverified_alg(&self) -> Alg {
        self.alg
    }

    /// The `kid`, to look a key up with.
    #[must_use]
    pub fn unverified_kid(&self) -> Option<&str> {
        self.header.get("kid").and_then(Value::as_str)
    }

    /// The `typ`, to tell kinds of token apart; [`UnverifiedJws::verify`] checks it.
    #[must_use]
    pub fn unverified_typ(&self) -> Option<&str> {
        self.header.get("typ").and_then(Value::as_str)
    }

    /// The key that the header carries (RFC 7515 §4.1.3), for formats in which a token brings its own: a DPoP proof, a
    /// KB-JWT. What makes such a key trustworthy, its thumbprint, is the caller's to check.
    ///
    /// # Errors
    ///
    /// - [`JwsError::EmbeddedKeyInvalid`] if it is no public key that this crate can use.
    pub fn unverified_jwk(&self) -> Result<Option<Jwk>, JwsError> {
        match self.header.get("jwk") {
            None => Ok(None),
            Some(Value::Object(members)) => {
                Jwk::from_members(members.clone()).map(Some).map_err(JwsError::EmbeddedKeyInvalid)
            }
            Some(_) => Err(JwsError::HeaderMember("jwk")),
        }
    }

    /// Verifies the signature and gives header and payload away.
    ///
    /// In this order: `alg` in `allowed`, `alg` the key's own, no embedded key, `typ`, signature.
    ///
    /// # Errors
    ///
    /// - [`JwsError::AlgNotAllowed`] if `alg` is not in `allowed`.
    /// - [`JwsError::AlgOfAnotherKey`] if `key` is for the other algorithm.
    /// - [`JwsError::EmbeddedKey`] if the header carries or points to a key.
    /// - [`JwsError::TypMismatch`] if `typ` is not as wanted.
    /// - [`JwsError::Base64Url`] if the payload is not base64url.
    /// - [`JwsError::BadSignature`] if the signature does not verify.
    pub fn verify<'t>(
        &self,
        key: &PublicKey,
        allowed: &[Alg],
        typ: impl Into<Typ<'t>>,
    ) -> Result<VerifiedJws, JwsError> {
        if self.header.contains_key("jwk") {
            self.check_alg(key, allowed)?;
            return Err(JwsError::EmbeddedKey("jwk"));
        }
        self.verify_carrying_key(key, allowed, typ)
    }

    /// As [`UnverifiedJws::verify`], for formats whose header may carry the key (`jwk`). Where it does, it must be `key`.
    ///
    /// # Errors
    ///
    /// - as for [`UnverifiedJws::verify`]; [`JwsError::EmbeddedKey`] if the header carries another key than `key`.
    pub fn verify_carrying_key<'t>(
        &self,
        key: &PublicKey,
        allowed: &[Alg],
        typ: impl Into<Typ<'t>>,
    ) -> Result<VerifiedJws, JwsError> {
        self.check_alg(key, allowed)?;
        if let Some(name) = POINTERS_TO_KEYS.into_iter().find(|name| self.header.contains_key(*name)) {
            return Err(JwsError::EmbeddedKey(name));
        }
        // Two keys are the same when their octets are: what `key` has passed need not be computed for the copy.
        match self.header.get("jwk") {
            None => {}
            Some(Value::Object(members)) => {
                let carried =
                    Members::public(members).and_then(Members::point).map_err(JwsError::EmbeddedKeyInvalid)?;
                if carried != key.to_point() {
                    return Err(JwsError::EmbeddedKey("jwk"));
                }
            }
            Some(_) => return Err(JwsError::HeaderMember("jwk")),
        }
        if !typ.into().accepts(self.unverified_typ()) {
            return Err(JwsError::TypMismatch);
        }
        let payload = base64url::decode(self.payload).map_err(|_| JwsError::Base64Url("payload"))?;
        key.verify(self.signing_input.as_bytes(), &self.signature).map_err(|_| JwsError::BadSignature)?;
        Ok(VerifiedJws { header: Arc::clone(&self.header), payload })
    }

    fn check_alg(&self, key: &PublicKey, allowed: &[Alg]) -> Result<(), JwsError> {
        if !allowed.contains(&self.alg) {
            return Err(JwsError::AlgNotAllowed(self.alg.name().to_owned()));
        }
        if key.alg() != self.alg {
            return Err(JwsError::AlgOfAnotherKey { token: self.alg, key: key.alg() });
        }
        Ok(())
    }
}

impl fmt::Debug for UnverifiedJws<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnverifiedJws")
            .field("alg", &self.alg)
            .field("typ", &self.unverified_typ())
            .field("kid", &self.unverified_kid())
            .finish_non_exhaustive()
    }
}

/// A JWS whose signature, algorithm and `typ` were checked. `Debug` shows no claim.
#[derive(Clone, PartialEq)]
pub struct VerifiedJws {
    header: Arc<Map<String, Value>>,
    payload: Vec<u8>,
}

impl VerifiedJws {
    /// The protected header.
    #[must_use]
    pub fn header(&self) -> &Map<String, Value> {
        &self.header
    }

    /// The payload's octets.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The payload as a JWT claims set (RFC 7519 §4).
    ///
    /// # Errors
    ///
    /// - [`JwsError::ClaimsJson`] if it is not a JSON object, or has a duplicate member at any depth.
    pub fn claims(&self) -> Result<Map<String, Value>, JwsError> {
        json::parse_object(&self.payload).map_err(JwsError::ClaimsJson)
    }
}

impl fmt::Debug for VerifiedJws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedJws").field("header", &self.header).finish_non_exhaustive()
    }
}

/// Why a compact JWS is refused. Nothing of the token is kept but the name of a refused algorithm.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwsError {
    /// Longer than 256 KiB.
    #[error("the token is too large")]
    TooLarge,
    /// Not three parts with dots between them.
    #[error("the token is not a compact JWS")]
    NotCompact,
    /// The named part is not strict base64url.
    #[error("the token's {0} is not base64url")]
    Base64Url(&'static str),
    /// The header is not a JSON object, or has a duplicate member.
    #[error("the token's header is not a JSON object: {0}")]
    HeaderJson(#[source] InvalidJson),
    /// The header member is missing or of the wrong type.
    #[error("the token's header member `{0}` is missing or malformed")]
    HeaderMember(&'static str),
    /// The algorithm is not allowed in this place. The name is cut to printable characters.
    #[error("algorithm {0:?} is not allowed")]
    AlgNotAllowed(String),
    /// The algorithm is allowed, but the key is for another.
    #[error("the token says {token}, the key is for {key}")]
    AlgOfAnotherKey {
        /// What the header names.
        token: Alg,
        /// What the key is for.
        key: Alg,
    },
    /// A `crit` header, or `b64` that is not `true` (RFC 7515 §4.1.11, RFC 7797).
    #[error("the token has a critical header that is not understood")]
    CriticalHeader,
    /// A key, or a pointer to one, where none is expected: the header member's name.
    #[error("the token's header has `{0}` where no key is expected")]
    EmbeddedKey(&'static str),
    /// The `jwk` in the header is not a usable public key.
    #[error("the token's embedded key is refused: {0}")]
    EmbeddedKeyInvalid(#[source] InvalidJwk),
    /// `typ` says that this is another kind of token, or is missing.
    #[error("the token's typ is not the one expected")]
    TypMismatch,
    /// The signature does not verify.
    #[error("the token's signature does not verify")]
    BadSignature,
    /// The payload is not a JSON object, or has a duplicate member.
    #[error("the token's payload is not a JSON object: {0}")]
    ClaimsJson(#[source] InvalidJson),
}

/// RFC 7515 §4.1.2, §4.1.5, §4.1.6: places to fetch a key from, which nothing here ever does.
const POINTERS_TO_KEYS: [&str; 3] = ["jku", "x5u", "x5c"];
const MAX_OCTETS: usize = 256 * 1024;
