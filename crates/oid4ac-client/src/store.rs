//! What an agent keeps: its keys, its registration, and what a consent that is being waited for needs.

mod error;
mod file;
mod private_file;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jose::{Alg, PrivateKey, Rng};
use serde::{Deserialize, Serialize};

use crate::Consent;
use crate::secret::{AccessToken, CodeVerifier, REFRESH_TOKEN, RefreshToken, SecretText, State};

pub use error::{Problem, StoreError};
pub use file::FileStore;
pub(crate) use private_file::PrivateDir;

/// Keeps one agent's state at one authorization server. Keys and client ids are never shared between two servers, so a
/// store belongs to one issuer.
pub trait Store: Send + Sync {
    /// The keys, if there are any yet.
    ///
    /// # Errors
    ///
    /// - [`StoreError`] if they are there and cannot be used.
    fn keys(&self) -> Result<Option<Arc<KeyPair>>, StoreError>;

    /// Keeps new keys. Durable when it returns; the old ones are kept as a backup.
    ///
    /// # Errors
    ///
    /// - [`StoreError`] if they could not be kept.
    fn save_keys(&self, keys: &Arc<KeyPair>) -> Result<(), StoreError>;

    /// Makes sure that keys and a registration could be kept now, by durably writing as much and removing it again. It is
    /// called before a setup token is spent, which cannot be had back. A store that cannot find out returns `Ok`.
    ///
    /// # Errors
    ///
    /// - [`StoreError`] if they could not.
    fn check_writable(&self) -> Result<(), StoreError>;

    /// The registration, if there is one yet.
    ///
    /// # Errors
    ///
    /// - [`StoreError`] if it is there and cannot be read.
    fn registration(&self) -> Result<Option<Registration>, StoreError>;

    /// Keeps a registration, and the secrets with which it can be managed. The old one is kept as a backup.
    ///
    /// # Errors
    ///
    /// - [`StoreError`] if it could not be kept.
    fn save_registration(
        &self,
        registration: &Registration,
        access: Option<RegistrationAccess>,
    ) -> Result<(), StoreError>;

    /// Puts new keys and their registration in place of the old ones, as one: whenever it ends, keys and registration
    /// belong together.
    ///
    /// # Errors
    ///
    /// - [`StoreError`] if they could not be kept; the old ones are in place then.
    fn replace(
        &self,
        keys: &Arc<KeyPair>,
        registration: &Registration,
        access: Option<RegistrationAccess>,
    ) -> Result<(), StoreError>;

    /// What the authorization for this purchase waits with.
    ///
    /// # Errors
    ///
    /// - [`StoreError`] if it cannot be read.
    fn pending(&self, purchase: &str) -> Result<Option<PendingAuthorization>, StoreError>;

    /// Keeps, or with `None` forgets, what the authorization for this purchase waits with.
    ///
    /// # Errors
    ///
    /// - [`StoreError`] if it could not be kept.
    fn set_pending(&self, purchase: &str, pending: Option<&PendingAuthorization>) -> Result<(), StoreError>;

    /// The token by which the grant behind this purchase's mandate can be ended.
    ///
    /// # Errors
    ///
    /// - [`StoreError`] if it cannot be read.
    fn grant(&self, purchase: &str) -> Result<Option<GrantToken>, StoreError>;

    /// Keeps, or with `None` forgets, the token by which the grant behind this purchase's mandate can be ended. Durable when
    /// it returns.
    ///
    /// # Errors
    ///
    /// - [`StoreError`] if it could not be kept.
    fn set_grant(&self, purchase: &str, grant: Option<&GrantToken>) -> Result<(), StoreError>;

    /// The wallet session for this scope.
    ///
    /// # Errors
    ///
    /// - [`StoreError`] if it cannot be read.
    fn session(&self, scope: &str) -> Result<Option<WalletSession>, StoreError>;

    /// Keeps, or with `None` forgets, the wallet session for this scope. Durable when it returns.
    ///
    /// # Errors
    ///
    /// - [`StoreError`] if it could not be kept.
    fn set_session(&self, scope: &str, session: Option<&WalletSession>) -> Result<(), StoreError>;

    /// The scopes for which there is a wallet session.
    ///
    /// # Errors
    ///
    /// - [`StoreError`] if they cannot be read.
    fn session_scopes(&self) -> Result<Vec<String>, StoreError>;

    /// Takes the lock under which one process refreshes; `None` while another has it.
    ///
    /// # Errors
    ///
    /// - [`StoreError`] if there can be no lock.
    fn try_lock_session(&self) -> Result<Option<SessionLock>, StoreError>;
}

/// The agent's two key pairs, never one for both.
#[derive(Debug)]
pub struct KeyPair {
    dpop: Arc<PrivateKey>,
    private_key_jwt: Arc<PrivateKey>,
}

impl KeyPair {
    /// New keys, both Ed25519.
    #[must_use]
    pub fn generate(rng: &dyn Rng) -> Self {
        let key = || Arc::new(PrivateKey::generate(Alg::EdDsa, rng));
        Self { dpop: key(), private_key_jwt: key() }
    }

    /// Takes two keys.
    ///
    /// # Errors
    ///
    /// - [`InvalidKeys::Same`] if they are one key.
    /// - [`InvalidKeys::AssertionAlg`] if the assertion key is not Ed25519.
    pub fn new(dpop: PrivateKey, private_key_jwt: PrivateKey) -> Result<Self, InvalidKeys> {
        use jose::Signer as _;
        if dpop.public_key() == private_key_jwt.public_key() {
            return Err(InvalidKeys::Same);
        }
        if private_key_jwt.public_key().alg() != Alg::EdDsa {
            return Err(InvalidKeys::AssertionAlg);
        }
        Ok(Self { dpop: Arc::new(dpop), private_key_jwt: Arc::new(private_key_jwt) })
    }

    /// Signs DPoP proofs and KB-JWTs.
    #[must_use]
    pub fn dpop(&self) -> &Arc<PrivateKey> {
        &self.dpop
    }

    /// Signs client assertions.
    #[must_use]
    pub fn private_key_jwt(&self) -> &Arc<PrivateKey> {
        &self.private_key_jwt
    }
}

/// Why two keys are no key pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidKeys {
    /// One key for both uses.
    #[error("`dpop` and `private_key_jwt` are the same key")]
    Same,
    /// Client assertions are EdDSA.
    #[error("`private_key_jwt` is not an Ed25519 key")]
    AssertionAlg,
}

/// A registration as the file `client.json` holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Registration {
    /// The client identifier.
    pub client_id: String,
    /// The authorization server's issuer.
    pub as_url: String,
    /// The redirect URIs registered.
    pub redirect_uris: Vec<String>,
    /// The name shown to the principal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_name: Option<String>,
    /// The purpose shown to the principal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// The scope registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The principal that the setup token was bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal_id: Option<String>,
    /// When this agent revoked itself (RFC 3339); it can get no token any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<String>,
}

impl Registration {
    /// A registration that was made elsewhere: the client id that an operator configured.
    #[must_use]
    pub fn existing(client_id: &str, as_url: &str) -> Self {
        Self {
            client_id: client_id.to_owned(),
            as_url: as_url.to_owned(),
            redirect_uris: Vec::new(),
            client_name: None,
            purpose: None,
            scope: None,
            principal_id: None,
            revoked_at: None,
        }
    }
}

/// `registration_access_token` and `registration_client_uri` (RFC 7592 §3), where the server gave them.
#[derive(Clone, Debug)]
pub struct RegistrationAccess {
    pub(crate) token: SecretText,
    pub(crate) uri: String,
}

/// What redeeming a consent later needs: the PKCE verifier, the `state`, and where to ask.
#[derive(Clone, Debug)]
pub struct PendingAuthorization {
    pub(crate) state: State,
    pub(crate) verifier: CodeVerifier,
    pub(crate) redirect_uri: String,
    pub(crate) poll_uri: SecretText,
    pub(crate) consent: Consent,
}

/// A token that is kept for one use: ending the grant behind a mandate.
#[derive(Clone, Debug)]
pub struct GrantToken {
    pub(crate) token: SecretText,
    /// Its `token_type_hint` (RFC 7009 §2.1).
    pub(crate) hint: &'static str,
    /// When the mandate ends by itself, in seconds since the epoch.
    pub(crate) mandate_expires_at: i64,
}

impl GrantToken {
    /// Whether its revocation ends the whole grant.
    pub(crate) fn ends_all(&self) -> bool {
        self.hint == REFRESH_TOKEN
    }
}

/// Tokens of a wallet session, for one scope.
#[derive(Clone, Debug)]
pub struct WalletSession {
    pub(crate) access_token: AccessToken,
    pub(crate) expires_at: i64,
    pub(crate) refresh_token: Option<RefreshToken>,
    /// Set while the refresh token is on its way. One found so after a crash may have been used, and using it again would
    /// revoke the family.
    pub(crate) refreshing: bool,
}

/// Held by the one process that may refresh. Let go when dropped.
#[derive(Debug)]
pub struct SessionLock(
    #[expect(dead_code, reason = "the lock lives as long as the file is open")] Option<std::fs::File>,
);

/// A store in memory, for tests and short-lived agents.
#[derive(Debug, Default)]
pub struct MemoryStore {
    inner: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    keys: Option<Arc<KeyPair>>,
    registration: Option<Registration>,
    pending: BTreeMap<String, PendingAuthorization>,
    grants: BTreeMap<String, GrantToken>,
    sessions: BTreeMap<String, WalletSession>,
}

impl MemoryStore {
    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn keys(&self) -> Result<Option<Arc<KeyPair>>, StoreError> {
        Ok(self.lock().keys.clone())
    }

    fn save_keys(&self, keys: &Arc<KeyPair>) -> Result<(), StoreError> {
        self.lock().keys = Some(Arc::clone(keys));
        Ok(())
    }

    fn check_writable(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn registration(&self) -> Result<Option<Registration>, StoreError> {
        Ok(self.lock().registration.clone())
    }

    fn save_registration(&self, registration: &Registration, _: Option<RegistrationAccess>) -> Result<(), StoreError> {
        self.lock().registration = Some(registration.clone());
        Ok(())
    }

    fn replace(
        &self,
        keys: &Arc<KeyPair>,
        registration: &Registration,
        _: Option<RegistrationAccess>,
    ) -> Result<(), StoreError> {
        let mut memory = self.lock();
        (memory.keys, memory.registration) = (Some(Arc::clone(keys)), Some(registration.clone()));
        Ok(())
    }

    fn pending(&self, purchase: &str) -> Result<Option<PendingAuthorization>, StoreError> {
        Ok(self.lock().pending.get(purchase).cloned())
    }

    fn set_pending(&self, purchase: &str, pending: Option<&PendingAuthorization>) -> Result<(), StoreError> {
        let mut memory = self.lock();
        match pending {
            Some(pending) => memory.pending.insert(purchase.to_owned(), pending.clone()),
            None => memory.pending.remove(purchase),
        };
        Ok(())
    }

    fn grant(&self, purchase: &str) -> Result<Option<GrantToken>, StoreError> {
        Ok(self.lock().grants.get(purchase).cloned())
    }

    fn set_grant(&self, purchase: &str, grant: Option<&GrantToken>) -> Result<(), StoreError> {
        let mut memory = self.lock();
        match grant {
            Some(grant) => memory.grants.insert(purchase.to_owned(), grant.clone()),
            None => memory.grants.remove(purchase),
        };
        Ok(())
    }

    fn session(&self, scope: &str) -> Result<Option<WalletSession>, StoreError> {
        Ok(self.lock().sessions.get(scope).cloned())
    }

    fn set_session(&self, scope: &str, session: Option<&WalletSession>) -> Result<(), StoreError> {
        let mut memory = self.lock();
        match session {
            Some(session) => memory.sessions.insert(scope.to_owned(), session.clone()),
            None => memory.sessions.remove(scope),
        };
        Ok(())
    }

    fn session_scopes(&self) -> Result<Vec<String>, StoreError> {
        Ok(self.lock().sessions.keys().cloned().collect())
    }

    /// One process has the whole store, so there is nobody to wait for.
    fn try_lock_session(&self) -> Result<Option<SessionLock>, StoreError> {
        Ok(Some(SessionLock(None)))
    }
}
