use core::fmt;
use std::sync::OnceLock;

use p256::ecdsa::signature::{Signer as _, Verifier as _};
use zeroize::Zeroizing;

use crate::point::Point;
use crate::{Alg, Rng, Thumbprint, base64url};

/// Signs octets with a key that it does not have to show: one in memory ([`PrivateKey`]), in a keyring or in hardware.
pub trait Signer: Send + Sync {
    /// The public half. Its [`PublicKey::alg`] is the algorithm of every signature made here.
    fn public_key(&self) -> &PublicKey;

    /// Signs `message`. For both algorithms the signature is 64 octets: RFC 8032 §5.1.6, or `r ‖ s` (RFC 7518 §3.4).
    ///
    /// # Errors
    ///
    /// - [`SignError`] if the key could not be used; a key in memory always can.
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError>;
}

/// A key could not be used for signing. The reason is left out, because what a keyring reports may be a secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("the signing key could not be used")]
#[non_exhaustive]
pub struct SignError;

impl SignError {
    /// Makes the error, for other implementations of [`Signer`].
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

/// The signature is not this key's over this message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not verify")]
#[non_exhaustive]
pub struct BadSignature;

/// A private key in memory, wiped when dropped. `Debug` shows the algorithm and the thumbprint only.
pub struct PrivateKey {
    secret: Secret,
    public: PublicKey,
}

enum Secret {
    Ed25519(ed25519_dalek::SigningKey),
    P256(p256::ecdsa::SigningKey),
}

impl PrivateKey {
    /// Makes a new key from 32 octets of `rng` (more, with negligible probability, for ES256).
    #[must_use]
    pub fn generate(alg: Alg, rng: &dyn Rng) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        loop {
            rng.fill(seed.as_mut());
            if let Some(key) = Self::from_secret(alg, &seed) {
                return key;
            }
        }
    }

    pub(crate) fn from_secret(alg: Alg, octets: &[u8; 32]) -> Option<Self> {
        Some(match alg {
            Alg::EdDsa => {
                let secret = ed25519_dalek::SigningKey::from_bytes(octets);
                let public = PublicKey::new(Public::Ed25519(secret.verifying_key()));
                Self { secret: Secret::Ed25519(secret), public }
            }
            Alg::Es256 => {
                let secret = p256::ecdsa::SigningKey::from_slice(octets).ok()?;
                let public = PublicKey::new(Public::P256(*secret.verifying_key()));
                Self { secret: Secret::P256(secret), public }
            }
        })
    }

    /// The octets of `d` in a JWK.
    pub(crate) fn secret_octets(&self) -> Zeroizing<[u8; 32]> {
        match &self.secret {
            Secret::Ed25519(key) => Zeroizing::new(key.to_bytes()),
            Secret::P256(key) => Zeroizing::new(key.to_bytes().into()),
        }
    }
}

impl Signer for PrivateKey {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        match &self.secret {
            Secret::Ed25519(key) => Ok(key.sign(message).to_bytes()),
            Secret::P256(key) => {
                let signature: p256::ecdsa::Signature = key.try_sign(message).map_err(|_| SignError)?;
                Ok(signature.to_bytes().into())
            }
        }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({}, {}, [redacted])", self.public.alg(), self.public.thumbprint())
    }
}

/// A public key: an Ed25519 point that is not of small order, or a point on P-256.
#[derive(Clone)]
pub struct PublicKey {
    point: Public,
    thumbprint: OnceLock<Thumbprint>,
}

#[derive(Clone)]
enum Public {
    Ed25519(ed25519_dalek::VerifyingKey),
    P256(p256::ecdsa::VerifyingKey),
}

impl PublicKey {
    fn new(point: Public) -> Self {
        Self { point, thumbprint: OnceLock::new() }
    }

    /// Takes the 32 octets of RFC 8032 §5.1.5. `None` if they are not a point, a point of small order, or not the one encoding
    /// that the point has.
    #[must_use]
    pub fn from_ed25519(x: &[u8; 32]) -> Option<Self> {
        // RFC 8032 §5.1.3 step 1: y ≥ p = 2²⁵⁵ − 19 fails. The library reduces it, which would give one key two thumbprints.
        // The other second encoding, x = 0 with its sign bit set (step 4), belongs to points of small order.
        let [first, middle @ .., last] = x;
        if *first >= 0xed && middle.iter().all(|octet| *octet == 0xff) && last & 0x7f == 0x7f {
            return None;
        }
        let key = ed25519_dalek::VerifyingKey::from_bytes(x).ok()?;
        (!key.is_weak()).then(|| Self::new(Public::Ed25519(key)))
    }

    /// Takes the affine coordinates, 32 octets each, big-endian. `None` if the point is not on the curve.
    #[must_use]
    pub fn from_p256(x: &[u8; 32], y: &[u8; 32]) -> Option<Self> {
        let mut sec1 = [4; 65];
        sec1[1..33].copy_from_slice(x);
        sec1[33..].copy_from_slice(y);
        let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(&sec1).ok()?;
        Some(Self::new(Public::P256(key)))
    }

    pub(crate) fn from_point(point: &Point) -> Option<Self> {
        match point {
            Point::Ed25519(x) => Self::from_ed25519(x),
            Point::P256(x, y) => Self::from_p256(x, y),
        }
    }

    pub(crate) fn to_point(&self) -> Point {
        match &self.point {
            Public::Ed25519(key) => Point::Ed25519(key.to_bytes()),
            Public::P256(key) => {
                let (mut x, mut y) = ([0; 32], [0; 32]);
                let sec1 = key.to_sec1_point(false);
                x.copy_from_slice(&sec1.as_bytes()[1..33]);
                y.copy_from_slice(&sec1.as_bytes()[33..]);
                Point::P256(x, y)
            }
        }
    }

    /// The one algorithm this key is for.
    #[must_use]
    pub fn alg(&self) -> Alg {
        match self.point {
            Public::Ed25519(_) => Alg::EdDsa,
            Public::P256(_) => Alg::Es256,
        }
    }

    /// Checks a signature, made as [`Signer::sign`] says, over `message`. Ed25519 is checked strictly: no key or `R` of
    /// small order, no non-canonical encodings.
    ///
    /// # Errors
    ///
    /// - [`BadSignature`] if `signature` is not 64 octets or does not verify.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        match &self.point {
            Public::Ed25519(key) => {
                let signature = ed25519_dalek::Signature::from_slice(signature).map_err(|_| BadSignature)?;
                key.verify_strict(message, &signature).map_err(|_| BadSignature)
            }
            Public::P256(key) => {
                let signature = p256::ecdsa::Signature::from_slice(signature).map_err(|_| BadSignature)?;
                key.verify(message, &signature).map_err(|_| BadSignature)
            }
        }
    }

    /// The SHA-256 thumbprint (RFC 7638 §3), computed once.
    pub fn thumbprint(&self) -> &Thumbprint {
        self.thumbprint.get_or_init(|| Thumbprint::of_json(&self.members_json()))
    }

    /// The required members in the order and form of RFC 7638 §3.2, which is also the shortest public JWK.
    #[must_use]
    pub fn members_json(&self) -> String {
        match self.to_point() {
            Point::Ed25519(x) => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, base64url::encode(&x)),
            Point::P256(x, y) => {
                let (x, y) = (base64url::encode(&x), base64url::encode(&y));
                format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#)
            }
        }
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        match (&self.point, &other.point) {
            (Public::Ed25519(a), Public::Ed25519(b)) => a == b,
            (Public::P256(a), Public::P256(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for PublicKey {}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({}, {})", self.alg(), self.thumbprint())
    }
}
