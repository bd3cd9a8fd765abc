use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use dpop::Minter;
use jose::{Clock, Rng};

use crate::agent::Agent;
use crate::cache::Cached;
use crate::clock::ServerClock;
use crate::loopback::sessions::Sessions;
use crate::metadata::document::Metadata;
use crate::nonce::NonceCache;
use crate::status_list::StatusList;
use crate::{
    Endpoint, Error, HttpClient, KeyPair, MemoryStore, Misuse, Origin, Registration, ReqwestClient, Store, SystemClock,
    SystemRng,
};

/// An agent's client at one authorization server.
///
/// It is cheap to build and to clone: nothing is read, sent or connected before a call needs it. Clones share caches and
/// connections. See the [crate] page for an example.
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) issuer: Endpoint,
    pub(crate) endpoint_origins: BTreeSet<Origin>,
    pub(crate) portal: Option<Origin>,
    pub(crate) directory: Option<Endpoint>,
    /// What each merchant may be shown of a mandate, as paths with dots.
    pub(crate) disclosures: BTreeMap<Origin, BTreeSet<String>>,
    pub(crate) http: Arc<dyn HttpClient>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Arc<dyn Rng>,
    pub(crate) compatibility: Compatibility,
    pub(crate) nonces: NonceCache,
    pub(crate) metadata: Cached<Metadata>,
    pub(crate) jwks: Mutex<HashMap<String, Arc<Cached<jose::JwkSet>>>>,
    pub(crate) status_lists: Mutex<HashMap<String, Arc<Cached<StatusList>>>>,
    pub(crate) server_clock: ServerClock,
    /// The last unused challenge of each merchant.
    pub(crate) challenges: Mutex<HashMap<Origin, String>>,
    /// The authorizations that wait for a person's browser.
    pub(crate) sessions: Sessions,
    /// The minter made from the keys last seen, so that its encoded header is made once.
    minter: Mutex<Option<(Arc<KeyPair>, Arc<Minter>)>>,
}

impl Client {
    /// Begins a client for the authorization server with this issuer identifier (RFC 8414 §2), which is compared with the
    /// server's metadata byte for byte.
    ///
    /// # Errors
    ///
    /// - [`Misuse::Url`] if it is no usable URL: `https`, or `http` on a loopback host.
    pub fn builder(issuer: &str) -> Result<ClientBuilder, Error> {
        let issuer =
            Endpoint::parse(issuer).map_err(|why| Misuse::Url { what: "the authorization server's URL", why })?;
        Ok(ClientBuilder {
            issuer,
            endpoint_origins: BTreeSet::new(),
            portal: None,
            directory: None,
            disclosures: BTreeMap::new(),
            trusted: Vec::new(),
            http: None,
            store: None,
            clock: Arc::new(SystemClock),
            rng: Arc::new(SystemRng),
            compatibility: Compatibility::default(),
        })
    }

    /// The issuer identifier, as given.
    #[must_use]
    pub fn issuer(&self) -> &str {
        self.inner.issuer.as_str()
    }

    /// The registration that the store holds.
    ///
    /// # Errors
    ///
    /// - [`Error::Local`] if the store cannot be read.
    pub fn registration(&self) -> Result<Option<Registration>, Error> {
        Ok(self.inner.store.registration()?)
    }

    /// The registered agent with its keys.
    pub(crate) fn agent(&self) -> Result<Agent, Error> {
        let registration = self.inner.store.registration()?.ok_or(Misuse::NotRegistered)?;
        let keys = self.inner.store.keys()?.ok_or(Misuse::NotRegistered)?;
        let minter = self.minter(&keys);
        Ok(Agent::new(registration.client_id, keys, minter))
    }

    pub(crate) fn minter(&self, keys: &Arc<KeyPair>) -> Arc<Minter> {
        let mut known = self.inner.minter.lock().unwrap_or_else(PoisonError::into_inner);
        match known.as_ref().filter(|(of, _)| Arc::ptr_eq(of, keys)) {
            Some((_, minter)) => Arc::clone(minter),
            None => {
                let minter = Arc::new(Minter::new(Arc::clone(keys.dpop()) as Arc<dyn jose::Signer>));
                *known = Some((Arc::clone(keys), Arc::clone(&minter)));
                minter
            }
        }
    }

    pub(crate) fn now(&self) -> i64 {
        self.inner.clock.now()
    }
}

impl core::fmt::Debug for Client {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Client({})", self.inner.issuer)
    }
}

/// Collects what a [`Client`] is made of.
pub struct ClientBuilder {
    issuer: Endpoint,
    endpoint_origins: BTreeSet<Origin>,
    portal: Option<Origin>,
    directory: Option<Endpoint>,
    disclosures: BTreeMap<Origin, BTreeSet<String>>,
    trusted: Vec<Origin>,
    http: Option<Arc<dyn HttpClient>>,
    store: Option<Arc<dyn Store>>,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    compatibility: Compatibility,
}

impl ClientBuilder {
    /// Keeps keys and registration here. Default: in memory.
    #[must_use]
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// Sends through this transport. Default: [`ReqwestClient::for_issuer`].
    #[must_use]
    pub fn http(mut self, http: Arc<dyn HttpClient>) -> Self {
        self.http = Some(http);
        self
    }

    /// Reads this clock. Default: the system's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Takes random octets from here. Default: the operating system.
    #[must_use]
    pub fn rng(mut self, rng: Arc<dyn Rng>) -> Self {
        self.rng = rng;
        self
    }

    /// An origin that the operator set (a directory, say) and that may therefore be reached wherever it is. Only the
    /// default transport looks at it.
    #[must_use]
    pub fn trusted_origin(mut self, origin: Origin) -> Self {
        self.trusted.push(origin);
        self
    }

    /// An origin, beside the issuer's own, at which the authorization server may have its endpoints.
    #[must_use]
    pub fn endpoint_origin(mut self, origin: Origin) -> Self {
        self.endpoint_origins.insert(origin);
        self
    }

    /// The directory's URL. It is the operator's word, and may be reached wherever it is.
    #[must_use]
    pub fn directory(mut self, url: Endpoint) -> Self {
        self.trusted.push(url.origin().clone());
        self.directory = Some(url);
        self
    }

    /// The wallet portal's origin, where consent pages may be besides the authorization server.
    #[must_use]
    pub fn portal(mut self, origin: Origin) -> Self {
        self.portal = Some(origin);
        self
    }

    /// Shows this merchant these claims of a mandate, where the mandate has them: `principal_email`, say, or
    /// `consent_evidence.ip`. A merchant for whom nothing was said is shown none.
    #[must_use]
    pub fn disclose<S: Into<String>>(mut self, merchant: Origin, claims: impl IntoIterator<Item = S>) -> Self {
        self.disclosures.entry(merchant).or_default().extend(claims.into_iter().map(Into::into));
        self
    }

    /// Settings for authorization servers that read the standards otherwise.
    #[must_use]
    pub fn compatibility(mut self, compatibility: Compatibility) -> Self {
        self.compatibility = compatibility;
        self
    }

    /// The client. Nothing is read or sent.
    #[must_use]
    pub fn build(self) -> Client {
        let issuer_origin = self.issuer.origin();
        let trusted = self.trusted;
        let http = self
            .http
            .unwrap_or_else(|| Arc::new(ReqwestClient::for_issuer(issuer_origin, trusted)) as Arc<dyn HttpClient>);
        Client {
            inner: Arc::new(Inner {
                http,
                issuer: self.issuer,
                endpoint_origins: self.endpoint_origins,
                portal: self.portal,
                directory: self.directory,
                disclosures: self.disclosures,
                store: self.store.unwrap_or_else(|| Arc::new(MemoryStore::default())),
                clock: self.clock,
                rng: self.rng,
                compatibility: self.compatibility,
                nonces: NonceCache::default(),
                metadata: Cached::default(),
                jwks: Mutex::default(),
                status_lists: Mutex::default(),
                server_clock: ServerClock::default(),
                challenges: Mutex::default(),
                sessions: Sessions::default(),
                minter: Mutex::default(),
            }),
        }
    }
}

/// What differs from one authorization server to another. The defaults are OID4AC's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compatibility {
    /// How the setup token travels at registration.
    pub setup_token: SetupTokenAs,
    /// The `aud` of client assertions.
    pub assertion_audience: AssertionAudience,
    /// Which keys stand in the registered `jwks`.
    pub registered_keys: RegisteredKeys,
}

/// How the setup token travels at registration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SetupTokenAs {
    /// As `software_statement` (RFC 7591 §2.3).
    #[default]
    SoftwareStatement,
    /// As an initial access token (RFC 7591 §3), `Authorization: Bearer`.
    InitialAccessToken,
}

/// The `aud` of client assertions (RFC 7523 §3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AssertionAudience {
    /// The token endpoint's URL, at every endpoint.
    #[default]
    TokenEndpoint,
    /// The issuer identifier.
    Issuer,
}

/// Which keys stand in the registered `jwks`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegisteredKeys {
    /// The assertion key alone. An ordinary server would let any other authenticate the client.
    #[default]
    AssertionKey,
    /// The DPoP key too.
    Both,
}
