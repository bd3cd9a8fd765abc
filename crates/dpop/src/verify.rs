use jose::{Alg, JwsError, PublicKey, Thumbprint, UnixSeconds, UnverifiedJws, constant_time_eq};
use serde_json::{Map, Value};

use crate::{Ath, Htu, Nonce, ReplayError, ReplayKey, ReplayStore, TYP};

/// What a server knows of the request that a proof came with, and what it demands of the proof.
#[derive(Clone, Debug)]
pub struct ProofCheck<'a> {
    method: &'a str,
    htu: &'a Htu,
    now: UnixSeconds,
    window: u32,
    jkt: Option<&'a Thumbprint>,
    ath: Option<Ath>,
    nonces: Option<&'a [Nonce]>,
}

impl<'a> ProofCheck<'a> {
    /// The request's method and URI as the server sees them from outside, and the time. The window is 60 s either way,
    /// no key, token or nonce is expected.
    #[must_use]
    pub fn new(method: &'a str, htu: &'a Htu, now: UnixSeconds) -> Self {
        Self { method, htu, now, window: DEFAULT_WINDOW, jkt: None, ath: None, nonces: None }
    }

    /// How many seconds `iat` may lie before or after the server's time, both ends included.
    #[must_use]
    pub fn window(mut self, seconds: u32) -> Self {
        self.window = seconds;
        self
    }

    /// The key must have this thumbprint: `cnf.jkt` of the access token, or `dpop_jkt` of the request (RFC 9449 §6, §10).
    #[must_use]
    pub fn jkt(mut self, jkt: &'a Thumbprint) -> Self {
        self.jkt = Some(jkt);
        self
    }

    /// The request carries this access token, so the proof must have its hash (RFC 9449 §7).
    #[must_use]
    pub fn access_token(mut self, access_token: &str) -> Self {
        self.ath = Some(Ath::of(access_token));
        self
    }

    /// The proof must have this nonce (RFC 9449 §8). Without this call a nonce in a proof is not looked at.
    #[must_use]
    pub fn nonce(self, nonce: &'a Nonce) -> Self {
        self.nonces(core::slice::from_ref(nonce))
    }

    /// The proof must have one of these nonces: the newest, say, and the one before. With none given, none is good.
    #[must_use]
    pub fn nonces(mut self, nonces: &'a [Nonce]) -> Self {
        self.nonces = Some(nonces);
        self
    }

    /// Verifies a proof: the checks 2 to 12 of RFC 9449 §4.3. What remains is [`VerifiedProof::spend`].
    ///
    /// The rules about the JWS come first, `alg` before anything is computed; then those about the claims. The nonce is
    /// the last, so a proof refused for its nonce is a good one otherwise and the client may try again.
    ///
    /// # Errors
    ///
    /// - [`VerifyError::Jws`] for the form, `typ`, `alg`, the embedded key and the signature, and for duplicate members.
    /// - [`VerifyError::KeyMissing`] if the header has no `jwk`.
    /// - [`VerifyError::Claim`] for a claim that is missing or malformed.
    /// - [`VerifyError::HtmMismatch`], [`VerifyError::HtuMismatch`], [`VerifyError::AthMissing`],
    ///   [`VerifyError::AthMismatch`], [`VerifyError::KeyNotBound`], [`VerifyError::IatOutsideWindow`],
    ///   [`VerifyError::NonceMissing`], [`VerifyError::NonceMismatch`] where the proof is for something else.
    pub fn verify(&self, proof: &str) -> Result<VerifiedProof, VerifyError> {
        let unverified = UnverifiedJws::parse(proof)?;
        let jwk = unverified.unverified_jwk()?.ok_or(VerifyError::KeyMissing)?;
        let jws = unverified.verify_carrying_key(jwk.key(), &ALGS, &[TYP])?;
        let claims = jws.claims()?;

        let jti = text(&claims, "jti")?.filter(|jti| (1..=MAX_JTI_OCTETS).contains(&jti.len()));
        let jti = jti.ok_or(VerifyError::Claim("jti"))?;
        if text(&claims, "htm")?.ok_or(VerifyError::Claim("htm"))? != self.method {
            return Err(VerifyError::HtmMismatch);
        }
        let htu = text(&claims, "htu")?.and_then(|htu| Htu::parse(htu).ok()).ok_or(VerifyError::Claim("htu"))?;
        if htu != *self.htu {
            return Err(VerifyError::HtuMismatch);
        }
        self.check_ath(text(&claims, "ath")?)?;
        if self.jkt.is_some_and(|jkt| jkt != jwk.key().thumbprint()) {
            return Err(VerifyError::KeyNotBound);
        }
        let iat = seconds(claims.get("iat")).ok_or(VerifyError::Claim("iat"))?;
        if iat.abs_diff(self.now) > u64::from(self.window) {
            return Err(VerifyError::IatOutsideWindow { iat, now: self.now, window: self.window });
        }
        let nonce = text(&claims, "nonce")?;
        self.check_nonce(nonce)?;

        Ok(VerifiedProof {
            jti: jti.to_owned(),
            key: jwk.key().clone(),
            iat,
            nonce: nonce.map(str::to_owned),
            window: self.window,
        })
    }

    fn check_ath(&self, ath: Option<&str>) -> Result<(), VerifyError> {
        match (&self.ath, ath) {
            (None, _) => Ok(()),
            (Some(_), None) => Err(VerifyError::AthMissing),
            (Some(wanted), Some(ath)) if constant_time_eq(wanted.as_str().as_bytes(), ath.as_bytes()) => Ok(()),
            (Some(_), Some(_)) => Err(VerifyError::AthMismatch),
        }
    }

    fn check_nonce(&self, nonce: Option<&str>) -> Result<(), VerifyError> {
        match (self.nonces, nonce) {
            (None, _) => Ok(()),
            (Some(_), None) => Err(VerifyError::NonceMissing),
            (Some(wanted), Some(nonce)) if wanted.iter().any(|good| good.as_str() == nonce) => Ok(()),
            (Some(_), Some(_)) => Err(VerifyError::NonceMismatch),
        }
    }
}

/// A proof that fits the request. It is not spent yet: see [`VerifiedProof::spend`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedProof {
    jti: String,
    key: PublicKey,
    iat: UnixSeconds,
    nonce: Option<String>,
    window: u32,
}

impl VerifiedProof {
    /// Records the proof as used, for twice the window: as long as any proof accepted now could be accepted again.
    ///
    /// # Errors
    ///
    /// - [`ReplayError`] if it was used before or the store cannot tell; the request must then be refused.
    pub fn spend(&self, store: &dyn ReplayStore, now: UnixSeconds) -> Result<(), ReplayError> {
        let until = now.saturating_add(2 * i64::from(self.window));
        store.insert(ReplayKey::new(self.jkt(), &self.jti), now, until)
    }

    /// The proof's identifier: 1 to 256 octets, whatever the client chose.
    #[must_use]
    pub fn jti(&self) -> &str {
        &self.jti
    }

    /// The thumbprint of the key that signed.
    #[must_use]
    pub fn jkt(&self) -> &Thumbprint {
        self.key.thumbprint()
    }

    /// The key that signed.
    #[must_use]
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// When the proof says it was made; a fraction of a second is dropped.
    #[must_use]
    pub fn iat(&self) -> UnixSeconds {
        self.iat
    }

    /// The nonce in the proof. It was checked only if [`ProofCheck::nonce`] or [`ProofCheck::nonces`] was called.
    #[must_use]
    pub fn nonce(&self) -> Option<&str> {
        self.nonce.as_deref()
    }
}

/// Why a proof is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The JWS is not one this format allows: form, `typ`, `alg`, the embedded key, the signature, or the claims' JSON.
    #[error("the DPoP proof is refused: {0}")]
    Jws(#[from] JwsError),
    /// The header has no `jwk`.
    #[error("the DPoP proof's header has no `jwk`")]
    KeyMissing,
    /// The claim is missing, of the wrong type or of the wrong form.
    #[error("the DPoP proof's claim `{0}` is missing or malformed")]
    Claim(&'static str),
    /// `htm` is not the request's method.
    #[error("the DPoP proof is for another method")]
    HtmMismatch,
    /// `htu` is not the request's URI.
    #[error("the DPoP proof is for another URI")]
    HtuMismatch,
    /// An access token came along, but the proof has no `ath`.
    #[error("the DPoP proof has no `ath` although an access token came with it")]
    AthMissing,
    /// `ath` is the hash of another access token.
    #[error("the DPoP proof is for another access token")]
    AthMismatch,
    /// The key is not the one that the token or request is bound to.
    #[error("the DPoP proof is signed by another key than the one bound")]
    KeyNotBound,
    /// The proof is too old, or from the future.
    #[error("the DPoP proof's `iat` {iat} is not within {window} s of {now}")]
    IatOutsideWindow {
        /// What the proof says, seconds since the epoch.
        iat: UnixSeconds,
        /// The verifier's time, seconds since the epoch.
        now: UnixSeconds,
        /// Seconds either way.
        window: u32,
    },
    /// A nonce is wanted and the proof has none.
    #[error("the DPoP proof has no nonce")]
    NonceMissing,
    /// A nonce is wanted and the proof has another.
    #[error("the DPoP proof's nonce is not the one expected")]
    NonceMismatch,
}

impl VerifyError {
    /// The OAuth error code to answer with: `use_dpop_nonce` (RFC 9449 §8) or `invalid_dpop_proof` (§5, §7.1). For
    /// [`VerifyError::KeyNotBound`] a resource server may rather say `invalid_token`, as the example in §7.1 does.
    #[must_use]
    pub fn oauth_error(&self) -> &'static str {
        match self {
            Self::NonceMissing | Self::NonceMismatch => "use_dpop_nonce",
            _ => "invalid_dpop_proof",
        }
    }
}

fn text<'a>(claims: &'a Map<String, Value>, name: &'static str) -> Result<Option<&'a str>, VerifyError> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(VerifyError::Claim(name)),
    }
}

/// A NumericDate (RFC 7519 §2), which may have a fraction; it is dropped. Beyond the range of `i64` it saturates.
fn seconds(value: Option<&Value>) -> Option<UnixSeconds> {
    let value = value?;
    value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds.floor() as i64))
}

/// Protocol allow-list: RFC 9449 §4.2 asks for an asymmetric algorithm, OID4AC for one of these two.
const ALGS: [Alg; 2] = [Alg::EdDsa, Alg::Es256];
const DEFAULT_WINDOW: u32 = 60;
const MAX_JTI_OCTETS: usize = 256;
