use core::fmt;

use jose::{Alg, PublicKey, Thumbprint, UnixSeconds, UnverifiedJws, VerifiedJws};
use serde_json::{Map, Value};

use crate::KeyBindingError;
use crate::disclosure::digest;

/// What a verifier requires of the KB-JWT (RFC 9901 §4.3, §7.3 step 5).
#[derive(Clone, Copy, Debug)]
pub struct KeyBindingPolicy<'a> {
    algs: &'a [Alg],
    aud: Expected<'a>,
    nonce: Expected<'a>,
    now: UnixSeconds,
    max_age_seconds: u32,
    skew_seconds: u32,
    holder_key: Option<&'a PublicKey>,
}

impl<'a> KeyBindingPolicy<'a> {
    /// A policy that takes these algorithms, this audience and this nonce; `iat` at most 300 s before `now` and 60 s after.
    #[must_use]
    pub fn new(
        algs: &'a [Alg],
        aud: impl Into<Expected<'a>>,
        nonce: impl Into<Expected<'a>>,
        now: UnixSeconds,
    ) -> Self {
        Self {
            algs,
            aud: aud.into(),
            nonce: nonce.into(),
            now,
            max_age_seconds: 300,
            skew_seconds: 60,
            holder_key: None,
        }
    }

    /// How far `iat` may lie back.
    #[must_use]
    pub fn max_age_seconds(mut self, seconds: u32) -> Self {
        self.max_age_seconds = seconds;
        self
    }

    /// How far `iat` may lie ahead, for a holder's clock that is fast.
    #[must_use]
    pub fn skew_seconds(mut self, seconds: u32) -> Self {
        self.skew_seconds = seconds;
        self
    }

    /// A key that the verifier knows from elsewhere, for SD-JWTs that do not carry one: the key of a DPoP proof on the
    /// same request, or one that `cnf` refers to in a way of its own. Where `cnf` has a `jwk` or `jkt`, it must be that
    /// key all the same. Where it has neither, this key is taken at the caller's word.
    #[must_use]
    pub fn holder_key(mut self, key: &'a PublicKey) -> Self {
        self.holder_key = Some(key);
        self
    }
}

/// The expected value of a text claim.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub enum Expected<'a> {
    /// This, byte for byte.
    Exactly(&'a str),
    /// Something that the function says yes to: one of several live nonces, say. It should only look: whatever a nonce's
    /// acceptance uses up is used up when the whole KB-JWT has been accepted.
    Satisfying(&'a dyn Fn(&str) -> bool),
    /// Any string: the caller reads it from the result and judges for itself.
    Anything,
}

impl Expected<'_> {
    fn accepts(&self, text: &str) -> bool {
        match self {
            Self::Exactly(wanted) => *wanted == text,
            Self::Satisfying(judge) => judge(text),
            Self::Anything => true,
        }
    }
}

impl<'a> From<&'a str> for Expected<'a> {
    fn from(text: &'a str) -> Self {
        Self::Exactly(text)
    }
}

impl fmt::Debug for Expected<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exactly(_) => "Exactly(..)",
            Self::Satisfying(_) => "Satisfying(..)",
            Self::Anything => "Anything",
        })
    }
}

/// A KB-JWT that was verified together with what it binds.
#[derive(Clone, PartialEq)]
pub struct VerifiedKeyBinding {
    key: PublicKey,
    jws: VerifiedJws,
    claims: Map<String, Value>,
}

impl VerifiedKeyBinding {
    /// The holder's key.
    #[must_use]
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The protected header.
    #[must_use]
    pub fn header(&self) -> &Map<String, Value> {
        self.jws.header()
    }

    /// All claims: `iat`, `aud`, `nonce`, `sd_hash` and whatever else the holder signed.
    #[must_use]
    pub fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// The nonce.
    #[must_use]
    pub fn nonce(&self) -> &str {
        self.text("nonce")
    }

    /// The audience.
    #[must_use]
    pub fn aud(&self) -> &str {
        self.text("aud")
    }

    fn text(&self, name: &str) -> &str {
        // Both were found to be strings before this value was made.
        self.claims.get(name).and_then(Value::as_str).unwrap_or_default()
    }
}

/// Shows whose it is.
impl fmt::Debug for VerifiedKeyBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedKeyBinding").field("key", &self.key).finish_non_exhaustive()
    }
}

/// Verifies `token` against the `presented` text before it and the SD-JWT's processed `issued` claims.
pub(crate) fn verify(
    token: &str,
    presented: &str,
    issued: &Map<String, Value>,
    policy: &KeyBindingPolicy<'_>,
) -> Result<VerifiedKeyBinding, KeyBindingError> {
    let jws = UnverifiedJws::parse(token)?;
    let key = holder_key(issued, &jws, policy.holder_key)?;
    let jws = jws.verify_carrying_key(&key, policy.algs, &["kb+jwt"])?;
    let claims = jws.claims()?;

    if !policy.aud.accepts(text(&claims, "aud")?) {
        return Err(KeyBindingError::AudienceMismatch);
    }
    if !policy.nonce.accepts(text(&claims, "nonce")?) {
        return Err(KeyBindingError::NonceMismatch);
    }
    if text(&claims, "sd_hash")? != digest(presented) {
        return Err(KeyBindingError::SdHashMismatch);
    }
    let now = policy.now;
    let iat = date(&claims, "iat")?.ok_or(KeyBindingError::Claim("iat"))?;
    let age = now as f64 - iat;
    if age > f64::from(policy.max_age_seconds) || -age > f64::from(policy.skew_seconds) {
        return Err(KeyBindingError::IatOutsideWindow { now });
    }
    // "Check that the Key Binding JWT is a valid JWT in all other respects, per [RFC7519]" (§7.3 step 5.h).
    if date(&claims, "exp")?.is_some_and(|exp| now as f64 >= exp) {
        return Err(KeyBindingError::Expired { now });
    }
    if date(&claims, "nbf")?.is_some_and(|nbf| now as f64 + f64::from(policy.skew_seconds) < nbf) {
        return Err(KeyBindingError::NotYetValid { now });
    }
    Ok(VerifiedKeyBinding { key, jws, claims })
}

/// Determines the holder's key (§7.3 step 5.a). Only what the issuer signed makes a key that came along trustworthy.
fn holder_key(
    issued: &Map<String, Value>,
    jws: &UnverifiedJws<'_>,
    known: Option<&PublicKey>,
) -> Result<PublicKey, KeyBindingError> {
    let (jwk, jkt) = match issued.get("cnf") {
        None => (None, None),
        Some(Value::Object(cnf)) => (cnf.get("jwk"), cnf.get("jkt")),
        Some(_) => return Err(KeyBindingError::MalformedCnf),
    };
    let jkt = match jkt {
        None => None,
        Some(Value::String(text)) => Some(Thumbprint::parse(text).ok_or(KeyBindingError::MalformedCnf)?),
        Some(_) => return Err(KeyBindingError::MalformedCnf),
    };
    let key = match (jwk, &jkt, known) {
        (Some(Value::Object(members)), ..) => PublicKey::from_members(members).map_err(KeyBindingError::HolderKey)?,
        (Some(_), ..) => return Err(KeyBindingError::MalformedCnf),
        (None, Some(_), known) => match (jws.unverified_jwk()?, known) {
            (Some(jwk), _) => jwk.key().clone(),
            (None, Some(key)) => key.clone(),
            (None, None) => return Err(KeyBindingError::NoHolderKey),
        },
        (None, None, Some(key)) => key.clone(),
        (None, None, None) => return Err(KeyBindingError::NoHolderKey),
    };
    if jkt.is_some_and(|jkt| *key.thumbprint() != jkt) || known.is_some_and(|known| *known != key) {
        return Err(KeyBindingError::NotTheHolderKey);
    }
    Ok(key)
}

fn text<'c>(claims: &'c Map<String, Value>, name: &'static str) -> Result<&'c str, KeyBindingError> {
    claims.get(name).and_then(Value::as_str).ok_or(KeyBindingError::Claim(name))
}

fn date(claims: &Map<String, Value>, name: &'static str) -> Result<Option<f64>, KeyBindingError> {
    claims.get(name).map(|value| value.as_f64().ok_or(KeyBindingError::Claim(name))).transpose()
}
