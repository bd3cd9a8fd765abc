use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jose::PrivateKey;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use zeroize::{Zeroize as _, Zeroizing};

use super::{
    GrantToken, KeyPair, PendingAuthorization, PrivateDir, Problem, Registration, RegistrationAccess, SessionLock,
    Store, StoreError, WalletSession,
};
use crate::secret::{ACCESS_TOKEN, AccessToken, CodeVerifier, REFRESH_TOKEN, RefreshToken, SecretText, State};
use crate::{Consent, Origin};

/// A store in a folder of mode 0700: `keys.json` (`{"dpop": …, "private_key_jwt": …}`, private JWKs), `client.json` (the
/// registration) and `session.json` (what a waiting consent needs, and secrets of the registration), each of mode 0600.
///
/// The folder belongs to the first issuer that keys are saved for; another issuer's files go into a folder below it, so no
/// key is ever used at two servers. Several processes may share it: writers take a lock, and a file is replaced whole.
#[derive(Debug)]
pub struct FileStore {
    root: PathBuf,
    issuer: String,
    /// Keys as read, so that a call does not read them again. Other processes replace them only on rotation.
    keys: Mutex<Option<(Vec<u8>, Arc<KeyPair>)>>,
}

impl FileStore {
    /// The store for `issuer` in `folder`. Nothing is read or created yet.
    #[must_use]
    pub fn new(folder: &Path, issuer: &Origin) -> Self {
        Self::for_issuer(folder, issuer.as_str())
    }

    /// As [`FileStore::new`], for an issuer that has a path.
    #[must_use]
    pub fn for_issuer(folder: &Path, issuer: &str) -> Self {
        Self { root: folder.to_owned(), issuer: issuer.to_owned(), keys: Mutex::new(None) }
    }

    /// The issuer that was last registered at, for a program that was told none.
    ///
    /// # Errors
    ///
    /// - [`StoreError`] if the file is there and cannot be used.
    pub fn registered_issuer(folder: &Path) -> Result<Option<String>, StoreError> {
        let dir = PrivateDir::new(folder);
        match Session::read(&dir)?.last_registered_at {
            Some(issuer) => Ok(Some(issuer)),
            None => Ok(read_json::<Registration>(&dir, CLIENT)?.map(|registration| registration.as_url)),
        }
    }

    /// Where the keys go that [`Store::replace`] has put out of use.
    ///
    /// # Errors
    ///
    /// - [`StoreError`] if the folder's files cannot be used.
    pub fn old_keys(&self) -> Result<PathBuf, StoreError> {
        Ok(self.dir()?.path(&format!("{KEYS}.bak")))
    }

    /// The folder in which this issuer's files are, or will be.
    fn dir(&self) -> Result<PrivateDir, StoreError> {
        let top = PrivateDir::new(&self.root);
        // A `session.json` that was lost leaves the registration to tell whose keys these are.
        let owner = match Session::read(&top)?.issuer {
            Some(issuer) => Some(issuer),
            None => read_json::<Registration>(&top, CLIENT)?.map(|registration| registration.as_url),
        };
        match owner {
            Some(issuer) if issuer != self.issuer => {
                let name = jose::base64url::encode(&jose::sha256(self.issuer.as_bytes())[..15]);
                Ok(PrivateDir::new(&self.root.join("issuers").join(name)))
            }
            _ => Ok(top),
        }
    }

    /// Goes on with a replacement that was cut off after its registration was in place: the keys beside are the ones that
    /// belong to it. One that was cut off before never was.
    fn finish_replacing(&self, dir: &PrivateDir) -> Result<(), StoreError> {
        let Some(text) = dir.read(NEXT_KEYS)? else { return Ok(()) };
        let (keys, client_id) = read_keys(dir, NEXT_KEYS, &text)?;
        let registration = read_json::<Registration>(dir, CLIENT)?;
        match registration.is_some_and(|registration| client_id == Some(registration.client_id)) {
            true => self.put_in_place(&keys),
            false => Ok(()),
        }
    }

    fn put_in_place(&self, keys: &KeyPair) -> Result<(), StoreError> {
        let dir = self.dir()?;
        let _lock = dir.lock()?;
        dir.back_up(KEYS)?;
        dir.write(KEYS, keys_file(keys, None).as_bytes())?;
        dir.remove(NEXT_KEYS)
    }

    /// Keeps or removes what the session file has under `purchase`. Entries that ended long before a new one are dropped.
    fn set_entry<T>(
        &self,
        entries: impl Fn(&mut Session) -> &mut BTreeMap<String, T>,
        ends_at: impl Fn(&T) -> i64,
        purchase: &str,
        new: Option<T>,
    ) -> Result<(), StoreError> {
        if new.is_none() && !entries(&mut Session::read(&self.dir()?)?).contains_key(purchase) {
            return Ok(());
        }
        self.change_session(|session| {
            let entries = entries(session);
            match new {
                Some(new) => {
                    let long_ago = ends_at(&new) - KEEP_PENDING_SECONDS;
                    entries.retain(|_, other| ends_at(other) > long_ago);
                    entries.insert(purchase.to_owned(), new);
                }
                None => drop(entries.remove(purchase)),
            }
        })
    }

    fn change_session(&self, change: impl FnOnce(&mut Session)) -> Result<(), StoreError> {
        loop {
            let dir = self.dir()?;
            let _lock = dir.lock()?;
            // Another issuer's process may have claimed the folder between our look and our lock.
            if self.dir()?.path(SESSION) != dir.path(SESSION) {
                continue;
            }
            let mut session = Session::read(&dir)?;
            session.issuer = Some(self.issuer.clone());
            change(&mut session);
            return session.write(&dir);
        }
    }
}

impl Store for FileStore {
    fn keys(&self) -> Result<Option<Arc<KeyPair>>, StoreError> {
        let dir = self.dir()?;
        self.finish_replacing(&dir)?;
        let Some(text) = dir.read(KEYS)? else { return Ok(None) };
        let digest = jose::sha256(&text).to_vec();
        let mut cached = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, keys)) = cached.as_ref().filter(|(known, _)| *known == digest) {
            return Ok(Some(Arc::clone(keys)));
        }
        let (keys, _) = read_keys(&dir, KEYS, &text)?;
        let keys = Arc::new(keys);
        *cached = Some((digest, Arc::clone(&keys)));
        Ok(Some(keys))
    }

    fn save_keys(&self, keys: &Arc<KeyPair>) -> Result<(), StoreError> {
        // Claims the folder for this issuer before any key stands in it.
        self.change_session(|_| {})?;
        let dir = self.dir()?;
        let _lock = dir.lock()?;
        dir.back_up(KEYS)?;
        dir.write(KEYS, keys_file(keys, None).as_bytes())
    }

    fn check_writable(&self) -> Result<(), StoreError> {
        // Also finds a file that is there and cannot be replaced or read.
        self.change_session(|_| {})?;
        let (dir, top) = (self.dir()?, PrivateDir::new(&self.root));
        dir.check_room(&[KEYS, CLIENT, SESSION])?;
        match dir.path(SESSION) == top.path(SESSION) {
            true => Ok(()),
            false => top.check_room(&[SESSION]),
        }
    }

    /// The registration decides: until it is written the old keys count, from then on those in the file beside.
    fn replace(
        &self,
        keys: &Arc<KeyPair>,
        registration: &Registration,
        access: Option<RegistrationAccess>,
    ) -> Result<(), StoreError> {
        let dir = self.dir()?;
        {
            let _lock = dir.lock()?;
            dir.write(NEXT_KEYS, keys_file(keys, Some(&registration.client_id)).as_bytes())?;
        }
        self.save_registration(registration, access)?;
        self.put_in_place(keys)
    }

    fn registration(&self) -> Result<Option<Registration>, StoreError> {
        let dir = self.dir()?;
        let registration: Option<Registration> = read_json(&dir, CLIENT)?;
        Ok(registration.filter(|registration| registration.as_url == self.issuer))
    }

    fn save_registration(
        &self,
        registration: &Registration,
        access: Option<RegistrationAccess>,
    ) -> Result<(), StoreError> {
        self.change_session(|session| session.registration = access.as_ref().map(AccessWire::from))?;
        let dir = self.dir()?;
        {
            let _lock = dir.lock()?;
            dir.back_up(CLIENT)?;
            write_json(&dir, CLIENT, registration)?;
        }
        let top = PrivateDir::new(&self.root);
        let _lock = top.lock()?;
        let mut session = Session::read(&top)?;
        session.last_registered_at = Some(self.issuer.clone());
        session.write(&top)
    }

    fn pending(&self, purchase: &str) -> Result<Option<PendingAuthorization>, StoreError> {
        let mut session = Session::read(&self.dir()?)?;
        Ok(session.pending.remove(purchase).map(PendingWire::into_pending))
    }

    fn set_pending(&self, purchase: &str, pending: Option<&PendingAuthorization>) -> Result<(), StoreError> {
        // What nobody came back for is not kept for ever.
        let ends_at = |pending: &PendingWire| pending.consent.expires_at;
        self.set_entry(|session| &mut session.pending, ends_at, purchase, pending.map(PendingWire::from))
    }

    fn grant(&self, purchase: &str) -> Result<Option<GrantToken>, StoreError> {
        let mut session = Session::read(&self.dir()?)?;
        Ok(session.grants.remove(purchase).map(GrantWire::into_grant))
    }

    fn set_grant(&self, purchase: &str, grant: Option<&GrantToken>) -> Result<(), StoreError> {
        // A mandate that has ended by itself needs no revocation.
        let ends_at = |grant: &GrantWire| grant.mandate_expires_at;
        self.set_entry(|session| &mut session.grants, ends_at, purchase, grant.map(GrantWire::from))
    }

    fn session(&self, scope: &str) -> Result<Option<WalletSession>, StoreError> {
        let mut session = Session::read(&self.dir()?)?;
        Ok(session.tokens.remove(scope).map(TokensWire::into_session))
    }

    fn set_session(&self, scope: &str, session: Option<&WalletSession>) -> Result<(), StoreError> {
        self.change_session(|file| {
            match session {
                Some(session) => file.tokens.insert(scope.to_owned(), TokensWire::from(session)),
                None => file.tokens.remove(scope),
            };
        })
    }

    fn session_scopes(&self) -> Result<Vec<String>, StoreError> {
        Ok(Session::read(&self.dir()?)?.tokens.keys().cloned().collect())
    }

    fn try_lock_session(&self) -> Result<Option<SessionLock>, StoreError> {
        Ok(self.dir()?.try_lock(SESSION_LOCK)?.map(|file| SessionLock(Some(file))))
    }
}

/// `keys.json`; with the client id that they are for, where that is not written yet.
fn keys_file(keys: &KeyPair, client_id: Option<&str>) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(700));
    text.push('{');
    if let Some(client_id) = client_id {
        text.push_str(&format!("\"client_id\":{},", serde_json::Value::from(client_id)));
    }
    text.push_str("\"dpop\":");
    text.push_str(&keys.dpop().to_jwk());
    text.push_str(",\"private_key_jwt\":");
    text.push_str(&keys.private_key_jwt().to_jwk());
    text.push_str("}\n");
    text
}

/// The keys in a file, and the client id that they are for, where it says so.
fn read_keys(dir: &PrivateDir, name: &str, text: &[u8]) -> Result<(KeyPair, Option<String>), StoreError> {
    let corrupt = |what: String| StoreError::new(&dir.path(name), Problem::Corrupt(what));
    let file: KeysFile<'_> = serde_json::from_slice(text).map_err(|e| corrupt(where_in_file(&e)))?;
    let key = |name, jwk: &RawValue| {
        PrivateKey::from_jwk(jwk.get().as_bytes()).map_err(|e| corrupt(format!("`{name}`: {e}")))
    };
    let keys = KeyPair::new(key("dpop", file.dpop)?, key("private_key_jwt", file.private_key_jwt)?);
    Ok((keys.map_err(|e| corrupt(e.to_string()))?, file.client_id))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeysFile<'a> {
    #[serde(default)]
    client_id: Option<String>,
    #[serde(borrow)]
    dpop: &'a RawValue,
    #[serde(borrow)]
    private_key_jwt: &'a RawValue,
}

/// `session.json`. The only place where these secrets are written down.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Session {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
    /// In the folder itself, where another issuer's files are in one below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_registered_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    registration: Option<AccessWire>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pending: BTreeMap<String, PendingWire>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    grants: BTreeMap<String, GrantWire>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    tokens: BTreeMap<String, TokensWire>,
}

impl Session {
    fn read(dir: &PrivateDir) -> Result<Self, StoreError> {
        Ok(read_json(dir, SESSION)?.unwrap_or_default())
    }

    fn write(&self, dir: &PrivateDir) -> Result<(), StoreError> {
        write_json(dir, SESSION, self)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AccessWire {
    registration_access_token: String,
    registration_client_uri: String,
}

impl From<&RegistrationAccess> for AccessWire {
    fn from(access: &RegistrationAccess) -> Self {
        Self {
            registration_access_token: access.token.expose().to_owned(),
            registration_client_uri: access.uri.clone(),
        }
    }
}

impl Drop for AccessWire {
    fn drop(&mut self) {
        self.registration_access_token.zeroize();
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PendingWire {
    state: String,
    code_verifier: String,
    redirect_uri: String,
    poll_uri: String,
    consent: Consent,
}

impl PendingWire {
    fn into_pending(mut self) -> PendingAuthorization {
        use std::mem::take;
        PendingAuthorization {
            state: State::new(take(&mut self.state)),
            verifier: CodeVerifier::new(take(&mut self.code_verifier)),
            redirect_uri: take(&mut self.redirect_uri),
            poll_uri: SecretText::new(take(&mut self.poll_uri)),
            consent: self.consent.clone(),
        }
    }
}

impl From<&PendingAuthorization> for PendingWire {
    fn from(pending: &PendingAuthorization) -> Self {
        Self {
            state: pending.state.expose().to_owned(),
            code_verifier: pending.verifier.expose().to_owned(),
            redirect_uri: pending.redirect_uri.clone(),
            poll_uri: pending.poll_uri.expose().to_owned(),
            consent: pending.consent.clone(),
        }
    }
}

impl Drop for PendingWire {
    fn drop(&mut self) {
        self.state.zeroize();
        self.code_verifier.zeroize();
        self.poll_uri.zeroize();
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GrantWire {
    token: String,
    is_refresh_token: bool,
    mandate_expires_at: i64,
}

impl GrantWire {
    fn into_grant(mut self) -> GrantToken {
        GrantToken {
            token: SecretText::new(std::mem::take(&mut self.token)),
            hint: if self.is_refresh_token { REFRESH_TOKEN } else { ACCESS_TOKEN },
            mandate_expires_at: self.mandate_expires_at,
        }
    }
}

impl From<&GrantToken> for GrantWire {
    fn from(grant: &GrantToken) -> Self {
        Self {
            token: grant.token.expose().to_owned(),
            is_refresh_token: grant.hint == REFRESH_TOKEN,
            mandate_expires_at: grant.mandate_expires_at,
        }
    }
}

impl Drop for GrantWire {
    fn drop(&mut self) {
        self.token.zeroize();
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokensWire {
    access_token: String,
    expires_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    #[serde(default)]
    refreshing: bool,
}

impl TokensWire {
    fn into_session(mut self) -> WalletSession {
        WalletSession {
            access_token: AccessToken::new(std::mem::take(&mut self.access_token)),
            expires_at: self.expires_at,
            refresh_token: self.refresh_token.take().map(RefreshToken::new),
            refreshing: self.refreshing,
        }
    }
}

impl From<&WalletSession> for TokensWire {
    fn from(session: &WalletSession) -> Self {
        Self {
            access_token: session.access_token.expose().to_owned(),
            expires_at: session.expires_at,
            refresh_token: session.refresh_token.as_ref().map(|token| token.expose().to_owned()),
            refreshing: session.refreshing,
        }
    }
}

impl Drop for TokensWire {
    fn drop(&mut self) {
        self.access_token.zeroize();
        self.refresh_token.zeroize();
    }
}

fn read_json<T: for<'de> Deserialize<'de>>(dir: &PrivateDir, name: &str) -> Result<Option<T>, StoreError> {
    let Some(text) = dir.read(name)? else { return Ok(None) };
    match serde_json::from_slice(&text) {
        Ok(value) => Ok(Some(value)),
        Err(error) => Err(StoreError::new(&dir.path(name), Problem::Corrupt(where_in_file(&error)))),
    }
}

fn write_json(dir: &PrivateDir, name: &str, value: &impl Serialize) -> Result<(), StoreError> {
    let path = dir.path(name);
    let text = serde_json::to_vec_pretty(value)
        .map(Zeroizing::new)
        .map_err(|_| StoreError::new(&path, Problem::Corrupt("it cannot be written as JSON".to_owned())))?;
    dir.write(name, &text)
}

/// Line, column and kind of the error; serde's own text may quote a value, unless it names an unknown or missing member.
fn where_in_file(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if ["unknown field", "missing field", "duplicate field"].iter().any(|known| text.starts_with(known)) {
        return text;
    }
    let kind = if error.is_eof() { "it ends too early" } else { "it is not the JSON that belongs there" };
    format!("{kind}, line {} column {}", error.line(), error.column())
}

const KEYS: &str = "keys.json";
const NEXT_KEYS: &str = "keys.json.new";
const CLIENT: &str = "client.json";
const SESSION: &str = "session.json";
const KEEP_PENDING_SECONDS: i64 = 86_400;
const SESSION_LOCK: &str = "session.lock";
