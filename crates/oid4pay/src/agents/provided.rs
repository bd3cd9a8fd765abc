//! Keys and registration that the operator gave in place of files.

use std::sync::Arc;

use oid4ac_client::{
    FileStore, GrantToken, KeyPair, PendingAuthorization, Registration, RegistrationAccess, SessionLock, Store,
    StoreError, WalletSession,
};

use crate::settings::Provided;

/// A store whose keys or registration the operator gave; everything else is on disk.
pub(super) struct ProvidedStore {
    files: FileStore,
    registration: Option<Registration>,
    keys: Option<Arc<KeyPair>>,
}

impl ProvidedStore {
    /// What is `provided`, over the `files` of the same issuer. `redirect_uris` are those of the client id.
    pub(super) fn new(provided: Provided, files: FileStore, issuer: &str, redirect_uris: &[String]) -> Self {
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

    fn check_writable(&self) -> Result<(), StoreError> {
        self.files.check_writable()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_cannot_be_written_is_found_with_keys_from_elsewhere_too() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a file");
        std::fs::write(&file, "").unwrap();
        let store = |data_dir: &std::path::Path| {
            let files = FileStore::for_issuer(data_dir, "https://as.example");
            ProvidedStore::new(Provided::default(), files, "https://as.example", &[])
        };
        assert!(store(&dir.path().join("data")).check_writable().is_ok());
        assert!(store(&file.join("data")).check_writable().is_err());
    }
}
