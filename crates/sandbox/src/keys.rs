//! A party's signing keys: the one that signs now, and those before it that may still verify.

use std::sync::{Arc, PoisonError, RwLock};

use jose::{Alg, Jwk, PrivateKey, PublicKey, Rng, Signer as _};

/// A private key and the name that its signatures go by.
pub(crate) struct NamedKey {
    pub(crate) key: PrivateKey,
    pub(crate) kid: String,
}

impl NamedKey {
    /// The public half as a JWK for signatures.
    pub(crate) fn to_jwk(&self) -> Jwk {
        let public = self.key.public_key();
        public.to_jwk().with_kid(&self.kid).with_member("alg", public.alg().name()).with_member("use", "sig")
    }
}

/// Keys of one algorithm, newest last. There is always one.
pub(crate) struct SigningKeys {
    alg: Alg,
    newest: RwLock<Arc<NamedKey>>,
    older: RwLock<Vec<Arc<NamedKey>>>,
}

impl SigningKeys {
    /// One new key. `name` gives the `kid` of the n-th, counted from 1.
    pub(crate) fn new(alg: Alg, rng: &dyn Rng, name: impl Fn(&PrivateKey, usize) -> String) -> Self {
        Self { alg, newest: RwLock::new(Self::make(alg, rng, name, 1)), older: RwLock::default() }
    }

    /// Signs with a new key from now on. What older keys signed can still be verified.
    pub(crate) fn rotate(&self, rng: &dyn Rng, name: impl Fn(&PrivateKey, usize) -> String) {
        let mut newest = self.newest.write().unwrap_or_else(PoisonError::into_inner);
        let mut older = self.older.write().unwrap_or_else(PoisonError::into_inner);
        let next = Self::make(self.alg, rng, name, older.len() + 2);
        older.push(core::mem::replace(&mut newest, next));
    }

    /// The key that signs now.
    pub(crate) fn current(&self) -> Arc<NamedKey> {
        Arc::clone(&self.newest.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// All public halves, newest first.
    pub(crate) fn to_jwks(&self) -> Vec<Jwk> {
        let older = self.older.read().unwrap_or_else(PoisonError::into_inner);
        core::iter::once(self.current().to_jwk()).chain(older.iter().rev().map(|key| key.to_jwk())).collect()
    }

    /// The public half of the key of this name.
    pub(crate) fn find(&self, kid: &str) -> Option<PublicKey> {
        self.to_jwks().into_iter().find(|jwk| jwk.kid() == Some(kid)).map(|jwk| jwk.key().clone())
    }

    fn make(alg: Alg, rng: &dyn Rng, name: impl Fn(&PrivateKey, usize) -> String, number: usize) -> Arc<NamedKey> {
        let key = PrivateKey::generate(alg, rng);
        let kid = name(&key, number);
        Arc::new(NamedKey { key, kid })
    }
}
