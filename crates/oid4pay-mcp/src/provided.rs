//! Keys and registration that the operator gave through the environment.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use jose::PrivateKey;
use oid4ac_client::{
    FileStore, GrantToken, KeyPair, PendingAuthorization, Registration, RegistrationAccess, SessionLock, Store,
    StoreError, WalletSession,
};

/// The registration that an operator gave through the environment, in place of files.
pub(crate) struct Provided {
    pub(crate) client_id: Option<String>,
    pub(crate) keys: Option<Arc<KeyPair>>,
}

impl Provided {
    /// Reads `OID4PAY_CLIENT_ID`, `OID4PAY_DPOP_PRIVATE_JWK` and `OID4PAY_PKJ_PRIVATE_JWK`. They are no flags, because a
    /// command line is visible to others.
    ///
    /// # Errors
    ///
    /// If only one key is given, or one that is not usable. The message holds nothing of a key.
    pub(crate) fn from_env() -> anyhow::Result<Self> {
        let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
        let key = |name: &'static str, jwk: String| {
            PrivateKey::from_jwk(jwk.as_bytes()).with_context(|| format!("{name} is not usable"))
        };
        let keys = match (variable(DPOP_JWK), variable(ASSERTION_JWK)) {
            (None, None) => None,
            (Some(dpop), Some(assertion)) => {
                let pair = KeyPair::new(key(DPOP_JWK, dpop)?, key(ASSERTION_JWK, assertion)?);
                Some(Arc::new(pair.with_context(|| format!("{DPOP_JWK}, {ASSERTION_JWK}"))?))
            }
            _ => bail!("{DPOP_JWK} and {ASSERTION_JWK} go together; only one is set"),
        };
        Ok(Self { client_id: variable(CLIENT_ID), keys })
    }

    /// Whether a client id is given, without the keys that it was registered with.
    pub(crate) fn is_client_id_alone() -> bool {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        is_set(CLIENT_ID) && !is_set(DPOP_JWK)
    }
}

/// A store whose keys or registration the operator gave through the environment; everything else is on disk.
pub(crate) struct ProvidedStore {
    files: FileStore,
    registration: Option<Registration>,
    keys: Option<Arc<KeyPair>>,
}

impl ProvidedStore {
    /// What is `provided`, over the `files` of the same issuer. `redirect_uris` are those of the client id.
    pub(crate) fn new(provided: Provided, files: FileStore, issuer: &str, redirect_uris: &[String]) -> Self {
        let registration = provided.client_id.map(|client_id| {
            let mut registration = Registration::existing(&client_id, issuer);
            registration.redirect_uris = redirect_uris.to_vec();
            registration
        });
        Self { files, registration, keys: provided.keys }
    }
}

impl Store for ProvidedStore {
    fn keys(&self) -> Result<Option<Arc<KeyPair>>, StoreError> {
        match &self.keys {
            Some(keys) => Ok(Some(Arc::clone(keys))),
            None => self.files.keys(),
        }
    }

    fn save_keys(&self, keys: &Arc<KeyPair>) -> Result<(), StoreError> {
        self.files.save_keys(keys)
    }

    fn registration(&self) -> Result<Option<Registration>, StoreError> {
        match &self.registration {
            Some(registration) => Ok(Some(registration.clone())),
            None => self.files.registration(),
        }
    }

    fn save_registration(
        &self,
        registration: &Registration,
        access: Option<RegistrationAccess>,
    ) -> Result<(), StoreError> {
        // What the operator set stays so.
        if self.registration.is_some() { Ok(()) } else { self.files.save_registration(registration, access) }
    }

    fn replace(
        &self,
        keys: &Arc<KeyPair>,
        registration: &Registration,
        access: Option<RegistrationAccess>,
    ) -> Result<(), StoreError> {
        self.files.replace(keys, registration, access)
    }

    fn pending(&self, purchase: &str) -> Result<Option<PendingAuthorization>, StoreError> {
        self.files.pending(purchase)
    }

    fn set_pending(&self, purchase: &str, pending: Option<&PendingAuthorization>) -> Result<(), StoreError> {
        self.files.set_pending(purchase, pending)
    }

    fn grant(&self, purchase: &str) -> Result<Option<GrantToken>, StoreError> {
        self.files.grant(purchase)
    }

    fn set_grant(&self, purchase: &str, grant: Option<&GrantToken>) -> Result<(), StoreError> {
        self.files.set_grant(purchase, grant)
    }

    fn session(&self, scope: &str) -> Result<Option<WalletSession>, StoreError> {
        self.files.session(scope)
    }

    fn set_session(&self, scope: &str, session: Option<&WalletSession>) -> Result<(), StoreError> {
        self.files.set_session(scope, session)
    }

    fn session_scopes(&self) -> Result<Vec<String>, StoreError> {
        self.files.session_scopes()
    }

    fn try_lock_session(&self) -> Result<Option<SessionLock>, StoreError> {
        self.files.try_lock_session()
    }
}

const CLIENT_ID: &str = "OID4PAY_CLIENT_ID";
pub(crate) const DPOP_JWK: &str = "OID4PAY_DPOP_PRIVATE_JWK";
pub(crate) const ASSERTION_JWK: &str = "OID4PAY_PKJ_PRIVATE_JWK";
