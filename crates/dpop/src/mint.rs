use core::fmt;
use core::fmt::Write as _;
use std::sync::Arc;

use jose::{EncodedHeader, Rng, SignError, Signer, Thumbprint, TokenHeader, UnixSeconds, base64url};
use zeroize::Zeroizing;

use crate::{Ath, Htu, Nonce, TYP};

/// Mints the proofs of one key. The protected header is the same for all of them and is encoded once.
#[derive(Clone)]
pub struct Minter {
    signer: Arc<dyn Signer>,
    header: EncodedHeader,
}

impl Minter {
    /// A minter for this key, whose public half every proof will carry (RFC 9449 §4.2).
    #[must_use]
    pub fn new(signer: Arc<dyn Signer>) -> Self {
        let key = signer.public_key();
        let header = TokenHeader::new(TYP).jwk(key).encode(key);
        Self { signer, header }
    }

    /// A minter of the same key whose proofs say `Ed25519` (RFC 9864 §2.2) in place of `EdDSA`: for a server whose
    /// `dpop_signing_alg_values_supported` has that name only.
    #[must_use]
    pub fn fully_specified(&self) -> Self {
        let key = self.signer.public_key();
        let header = TokenHeader::new(TYP).jwk(key).fully_specified().encode(key);
        Self { signer: Arc::clone(&self.signer), header }
    }

    /// Mints a proof (RFC 9449 §4.2) with a `jti` of 128 bits from `rng`.
    ///
    /// # Errors
    ///
    /// - [`SignError`] if the key could not be used.
    pub fn mint(&self, request: &ProofRequest<'_>, rng: &dyn Rng) -> Result<Proof, SignError> {
        let claims = request.claims(rng);
        self.header.sign(self.signer.as_ref(), claims.as_bytes()).map(|text| Proof(Zeroizing::new(text)))
    }

    /// The thumbprint of the key: what `cnf.jkt` and `dpop_jkt` will say (RFC 9449 §6, §10).
    #[must_use]
    pub fn jkt(&self) -> &Thumbprint {
        self.signer.public_key().thumbprint()
    }

    /// The key itself.
    #[must_use]
    pub fn signer(&self) -> &dyn Signer {
        self.signer.as_ref()
    }
}

impl fmt::Debug for Minter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Minter({}, [redacted])", self.jkt())
    }
}

/// The request that a proof is for.
#[derive(Clone, Debug)]
pub struct ProofRequest<'a> {
    method: &'a str,
    htu: &'a Htu,
    iat: UnixSeconds,
    nonce: Option<&'a Nonce>,
    ath: Option<Ath>,
}

impl<'a> ProofRequest<'a> {
    /// A request with this method (case matters, RFC 9110 §9.1), to this URI, at this time.
    #[must_use]
    pub fn new(method: &'a str, htu: &'a Htu, iat: UnixSeconds) -> Self {
        Self { method, htu, iat, nonce: None, ath: None }
    }

    /// With the newest nonce of the server that the request goes to (RFC 9449 §8, §9).
    #[must_use]
    pub fn nonce(mut self, nonce: &'a Nonce) -> Self {
        self.nonce = Some(nonce);
        self
    }

    /// With the access token that the request carries (RFC 9449 §7); its hash alone goes into the proof.
    #[must_use]
    pub fn access_token(self, access_token: &str) -> Self {
        self.ath(Ath::of(access_token))
    }

    /// As [`ProofRequest::access_token`], for a caller who has hashed the token before.
    #[must_use]
    pub fn ath(mut self, ath: Ath) -> Self {
        self.ath = Some(ath);
        self
    }

    /// The claims as JSON, written straight into one buffer: the signature is nearly all that a proof should cost.
    fn claims(&self, rng: &dyn Rng) -> String {
        let mut jti = [0; 16];
        rng.fill(&mut jti);
        let mut json = String::with_capacity(192 + self.htu.as_str().len());
        json.push_str("{\"jti\":\"");
        base64url::encode_into(&jti, &mut json);
        json.push_str("\",\"htm\":");
        push_json_string(&mut json, self.method);
        // The alphabets of `Htu`, `Nonce` and `Ath` have nothing that JSON escapes.
        json.push_str(",\"htu\":\"");
        json.push_str(self.htu.as_str());
        json.push_str("\",\"iat\":");
        let _infallible = write!(json, "{}", self.iat);
        for (name, value) in [("nonce", self.nonce.map(Nonce::as_str)), ("ath", self.ath.as_ref().map(Ath::as_str))] {
            if let Some(value) = value {
                json.push_str(",\"");
                json.push_str(name);
                json.push_str("\":\"");
                json.push_str(value);
                json.push('"');
            }
        }
        json.push('}');
        json
    }
}

/// A proof, ready to be the value of a `DPoP` header field. It works once and within a minute; until then it is a secret.
#[derive(Clone)]
pub struct Proof(Zeroizing<String>);

impl Proof {
    /// The compact JWS.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proof([redacted])")
    }
}

/// A method is a `token` (RFC 9110 §5.6.2) and needs no escape; one that is none still must not break the JSON.
fn push_json_string(json: &mut String, text: &str) {
    match text.bytes().all(|octet| octet.is_ascii_graphic() && octet != b'"' && octet != b'\\') {
        true => {
            json.push('"');
            json.push_str(text);
            json.push('"');
        }
        false => json.push_str(&serde_json::Value::from(text).to_string()),
    }
}
