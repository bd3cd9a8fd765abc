//! What the core works with. Plain values: the caller has read flags, files and environment.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use oid4ac_client::{Compatibility, Endpoint, FileStore, KeyPair, Origin, StoreError};
use spend_guard::Tightening;

/// The settings of one principal's agent. Several can be used side by side in one process.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The issuer of the authorization server that the operator chose; without it, the one registered at counts.
    pub as_origin: Option<String>,
    /// The directory of merchants.
    pub directory: Option<Endpoint>,
    /// Where keys, registration and ledger are.
    pub data_dir: PathBuf,
    /// Where the newest head of each ledger is kept, apart from the ledgers.
    pub head_dir: Option<PathBuf>,
    /// The human's policy, which need not exist.
    pub policy_file: Option<PathBuf>,
    /// Limits that can only tighten the policy.
    pub tightening: Tightening,
    /// In what the authorization server differs from OID4AC.
    pub authorization_server: ServerSettings,
    /// Which claims of a mandate each merchant may be shown.
    pub disclosures: BTreeMap<Origin, Vec<String>>,
    /// Files with the key sets by which evidence is judged, by the origin of the party that signs with them.
    pub trusted_keys: BTreeMap<Origin, PathBuf>,
    /// Keys and registration that the operator gave in place of files, or what is wrong with them: that is reported by the
    /// first call that needs them.
    pub provided: Result<Provided, String>,
}

impl Settings {
    /// The issuer that the operator chose, else the one registered at.
    ///
    /// # Errors
    ///
    /// - If the data directory cannot be read.
    pub fn issuer(&self) -> Result<Option<String>, StoreError> {
        match &self.as_origin {
            Some(issuer) => Ok(Some(issuer.clone())),
            None => FileStore::registered_issuer(&self.data_dir),
        }
    }
}

/// What ordinary authorization servers may need otherwise than OID4AC has it.
#[derive(Clone, Debug, Default)]
pub struct ServerSettings {
    /// How it reads the standards.
    pub compatibility: Compatibility,
    /// Scope to register where the caller names none.
    pub registration_scope: Option<String>,
    /// What is registered for a client id that the operator gave.
    pub redirect_uris: Vec<String>,
    /// Where consent pages may be, besides the server itself.
    pub portal_origin: Option<Origin>,
    /// Where endpoints may be, besides the server itself.
    pub endpoint_origins: Vec<Origin>,
}

/// The registration that an operator gave in place of files.
#[derive(Clone, Debug, Default)]
pub struct Provided {
    /// The client id.
    pub client_id: Option<String>,
    /// Both keys.
    pub keys: Option<Arc<KeyPair>>,
}

impl Provided {
    /// Whether a client id is given, without the keys that it was registered with.
    #[must_use]
    pub fn is_client_id_alone(&self) -> bool {
        self.client_id.is_some() && self.keys.is_none()
    }
}
