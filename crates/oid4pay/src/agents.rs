//! The registered agent of one principal: one client per authorization server and one ledger, each opened when a call first
//! needs it.

mod provided;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jose::Clock as _;
use oid4ac_client::{
    AddressPolicy, Client, Endpoint, FileStore, Misuse, Origin, RegisterRequest, ReqwestClient, Store, SystemClock,
};
use spend_guard::{Filter, Intent, Ledger, Policy, State};

use crate::approvals::time;
use crate::policy::{PolicySource, Standing};
use crate::refusal::{Code, Refusal};
use crate::settings::{Provided, Settings};

use self::provided::ProvidedStore;

/// The registered agent of one principal, as its settings have it.
pub struct Agent {
    settings: Settings,
    clients: Mutex<HashMap<String, Client>>,
    ledger: Ledger,
    policy: PolicySource,
    /// Whether a person runs a command, and no model names anything.
    is_for_person: bool,
}

impl Agent {
    /// For calls that a model makes. Nothing is opened yet.
    pub fn new(settings: Settings) -> Self {
        let ledger = ledger(&settings);
        let policy = PolicySource::new(&settings);
        Self { settings, clients: Mutex::default(), ledger, policy, is_for_person: false }
    }

    /// For a command of the person's, which also reaches a loopback authorization server that the agent is registered at,
    /// although no setting names it.
    pub fn for_person(settings: Settings) -> Self {
        Self { is_for_person: true, ..Self::new(settings) }
    }

    /// The ledger, which is opened when it is first used.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The policy that payments have to keep, as the file has it now.
    ///
    /// # Errors
    ///
    /// - [`Code::PolicyUnusable`] with file, line and reason.
    pub fn policy(&self) -> Result<Arc<Policy>, Refusal> {
        Ok(self.policy.read()?)
    }

    /// Where the policy comes from.
    #[must_use]
    pub fn policy_source(&self) -> &PolicySource {
        &self.policy
    }

    /// The policy, and whether payments can be made under it.
    ///
    /// # Errors
    ///
    /// - [`Code::PolicyUnusable`], or that the ledger cannot be read.
    pub fn standing(&self) -> Result<Standing, Refusal> {
        Ok(Standing::of(&self.policy, &self.ledger)?)
    }

    /// What it was made with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The issuer that payments are authorized by: the configured one, else the one registered at.
    ///
    /// # Errors
    ///
    /// - `not_registered`, or what keeps the data directory from being read.
    pub fn issuer(&self) -> Result<String, Refusal> {
        Ok(self.settings.issuer()?.ok_or(Misuse::NotRegistered)?)
    }

    /// The issuer that `as_url` names, unless the operator has set another.
    ///
    /// # Errors
    ///
    /// - [`Code::AsUrlNotConfigured`], with the one that is set.
    pub fn issuer_named(&self, as_url: &str) -> Result<String, Refusal> {
        match &self.settings.as_origin {
            None => Ok(as_url.to_owned()),
            Some(configured) if same_issuer(configured, as_url) => Ok(configured.clone()),
            Some(configured) => Err(Refusal::new(
                Code::AsUrlNotConfigured,
                "as_url is not the authorization server that the operator has set; nothing was sent",
            )
            .with("configured_as_url", configured.as_str())),
        }
    }

    /// A client that asks the directory and reads catalogs, which takes no registration and no authorization server.
    ///
    /// # Errors
    ///
    /// - What keeps the client from being made.
    pub fn directory_client(&self) -> Result<Client, Refusal> {
        let directory = self.settings.directory.as_ref().map(Endpoint::as_str);
        match (self.settings.as_origin.as_deref(), directory) {
            (_, None) => Err(Misuse::NoDirectory.into()),
            (Some(issuer), Some(_)) | (None, Some(issuer)) => self.client(issuer),
        }
    }

    /// The client for `issuer`. Nothing is sent; keys given through the environment are read here.
    ///
    /// # Errors
    ///
    /// - What keeps keys, registration or certificates from being used.
    pub fn client(&self, issuer: &str) -> Result<Client, Refusal> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(issuer) {
            return Ok(client.clone());
        }
        let mut builder = Client::builder(issuer)?;
        // Else the issuer is the agent's word, which opens no way into this machine or its network.
        if self.settings.as_origin.is_none() && !self.is_registered_on_loopback(issuer) {
            let trusted = self.settings.directory.as_ref().map(|directory| directory.origin().clone());
            builder = builder.http(Arc::new(ReqwestClient::new(AddressPolicy::GlobalOnly, trusted)));
        }
        if let Some(directory) = &self.settings.directory {
            builder = builder.directory(directory.clone());
        }
        let server = &self.settings.authorization_server;
        builder = builder.compatibility(server.compatibility);
        if let Some(portal) = &server.portal_origin {
            builder = builder.portal(portal.clone());
        }
        for origin in &server.endpoint_origins {
            builder = builder.trusted_origin(origin.clone()).endpoint_origin(origin.clone());
        }
        for (merchant, claims) in &self.settings.disclosures {
            builder = builder.disclose(merchant.clone(), claims);
        }
        let client = builder.store(self.store(issuer)?).build();
        clients.insert(issuer.to_owned(), client.clone());
        Ok(client)
    }

    /// Whether a person's command may reach `issuer` on this machine. That the agent is registered there is the operator's
    /// word: no model can register at a loopback address that the operator did not set (above).
    fn is_registered_on_loopback(&self, issuer: &str) -> bool {
        self.is_for_person
            && Origin::of(issuer).is_ok_and(|origin| origin.is_loopback())
            && FileStore::for_issuer(&self.settings.data_dir, issuer).registration().is_ok_and(|known| known.is_some())
    }

    /// The client for `issuer`, registered there.
    ///
    /// # Errors
    ///
    /// - The same as [`client`](Self::client) and [`check_registered`](Self::check_registered).
    pub fn registered_client(&self, issuer: &str) -> Result<Client, Refusal> {
        let client = self.client(issuer)?;
        self.check_registered(&client)?;
        Ok(client)
    }

    /// Refuses where there is no registration, or one whose keys are not here.
    ///
    /// # Errors
    ///
    /// - `not_registered`, or what is wrong with the registration.
    pub fn check_registered(&self, client: &Client) -> Result<(), Refusal> {
        self.check_has_keys(client)?;
        match client.registration()? {
            Some(_) => Ok(()),
            None => Err(Misuse::NotRegistered.into()),
        }
    }

    /// Refuses a client id that the operator gave without its keys, where they are not on disk either.
    fn check_has_keys(&self, client: &Client) -> Result<(), Refusal> {
        if !self.provided()?.is_client_id_alone() {
            return Ok(());
        }
        match FileStore::for_issuer(&self.settings.data_dir, client.issuer()).keys()? {
            Some(_) => Ok(()),
            None => Err(Refusal::new(
                Code::KeysUnusable,
                "OID4PAY_CLIENT_ID is set, but the keys that it was registered with are not here: set \
                 OID4PAY_DPOP_PRIVATE_JWK and OID4PAY_PKJ_PRIVATE_JWK with it; nothing was sent",
            )),
        }
    }

    /// The redirect URI for what is asked of the person without one being named: a registered loopback one, else the first.
    ///
    /// # Errors
    ///
    /// - `not_registered`, or what keeps the registration from being read.
    pub fn redirect_uri(&self, client: &Client) -> Result<String, Refusal> {
        let registration = client.registration()?;
        let registered = registration.map(|registration| registration.redirect_uris).unwrap_or_default();
        let is_loopback = |uri: &&String| Origin::of(uri).is_ok_and(|origin| origin.is_loopback());
        let chosen = registered.iter().find(is_loopback).or(registered.first());
        chosen.cloned().ok_or_else(|| {
            Refusal::new(
                Code::NoRedirectUri,
                "no redirect URI is registered here, so the person cannot be asked for a token",
            )
        })
    }

    /// Refuses a registration that would replace one under which a payment is open: its mandate is bound to the old keys, and
    /// only they can clear it up.
    ///
    /// # Errors
    ///
    /// - [`Code::RegistrationConfigured`] where the operator gave one, [`Code::IntentNotFinal`] while a payment is open.
    pub fn check_may_register(&self, client: &Client, request: &RegisterRequest) -> Result<(), Refusal> {
        self.check_has_keys(client)?;
        let registration = client.registration()?;
        let registration = registration.filter(|registration| !request.is_covered_by(registration));
        if registration.is_none() && !self.changes_issuer(client)? {
            return Ok(());
        }
        let provided = self.provided()?;
        if provided.client_id.is_some() {
            let sentence =
                "already registered through OID4PAY_CLIENT_ID, which the operator set; cannot register again";
            let client_id = registration.map(|registration| registration.client_id);
            return Err(Refusal::new(Code::RegistrationConfigured, sentence).with("client_id", client_id));
        }
        match self.open_payment()? {
            None => Ok(()),
            Some(intent) => Err(not_final("a payment is open, and a new registration would cut it off", &intent)),
        }
    }

    /// Refuses a rotation of keys that are not this agent's to rotate, or that a payment still needs.
    ///
    /// # Errors
    ///
    /// - [`Code::RegistrationConfigured`] where the operator gave the keys, [`Code::IntentNotFinal`] while a payment is open.
    pub fn check_may_rotate(&self) -> Result<(), Refusal> {
        let provided = self.provided()?;
        if provided.client_id.is_some() || provided.keys.is_some() {
            let sentence = "keys or client_id are set through the environment: change them where they are set";
            return Err(Refusal::new(Code::RegistrationConfigured, sentence));
        }
        let Some(intent) = self.open_payment()? else { return Ok(()) };
        let end = match intent.state {
            State::Charging | State::Unknown => format!(
                "it was presented: let the agent make it again with the same arguments, or wait until its mandate ends{}",
                intent.mandate.as_ref().map(|mandate| format!(" at {}", time(mandate.expires_at))).unwrap_or_default()
            ),
            _ => "nothing was presented yet, and rejecting it ends it".to_owned(),
        };
        Err(not_final(&format!("a payment is open that needs the old keys, {}; {end}", intent.id), &intent))
    }

    /// A payment that is open and bound to the keys: one that holds a mandate which lives, or waits for consent to get one.
    fn open_payment(&self) -> Result<Option<Intent>, Refusal> {
        let now = SystemClock.now();
        let needs_keys = |intent: &Intent| {
            let waits = intent.consent.as_ref().is_some_and(|consent| consent.expires_at > now);
            intent.mandate_lives(now) || (waits && intent.mandate.is_none())
        };
        for intent in self.ledger.every(Filter { open: Some(true), ..Filter::default() }) {
            let intent = intent?;
            if needs_keys(&intent) {
                return Ok(Some(intent));
            }
        }
        Ok(None)
    }

    /// Whether registering there makes another server the one that payments are authorized by. A payment that is open at
    /// the old one would then be taken for a new purchase.
    fn changes_issuer(&self, client: &Client) -> Result<bool, Refusal> {
        if self.settings.as_origin.is_some() {
            return Ok(false);
        }
        let registered = FileStore::registered_issuer(&self.settings.data_dir)?;
        Ok(registered.is_some_and(|issuer| issuer != client.issuer()))
    }

    /// What the operator gave in place of files.
    fn provided(&self) -> Result<&Provided, Refusal> {
        self.settings.provided.as_ref().map_err(|why| Refusal::new(Code::KeysUnusable, why))
    }

    fn store(&self, issuer: &str) -> Result<Arc<dyn Store>, Refusal> {
        let files = FileStore::for_issuer(&self.settings.data_dir, issuer);
        let provided = self.provided()?;
        if provided.client_id.is_none() && provided.keys.is_none() {
            return Ok(Arc::new(files));
        }
        Ok(Arc::new(ProvidedStore::new(
            provided.clone(),
            files,
            issuer,
            &self.settings.authorization_server.redirect_uris,
        )))
    }
}

fn not_final(sentence: &str, intent: &Intent) -> Refusal {
    Refusal::new(Code::IntentNotFinal, sentence).about(intent)
}

/// The ledger of these settings, opened by its first use.
#[must_use]
pub fn ledger(settings: &Settings) -> Ledger {
    let ledger = Ledger::new(&settings.data_dir, Arc::new(SystemClock));
    match &settings.head_dir {
        Some(dir) => ledger.with_head_in(dir),
        None => ledger,
    }
}

/// One trailing slash is no other server, as long as the operator's spelling is the one used.
fn same_issuer(a: &str, b: &str) -> bool {
    a.strip_suffix('/').unwrap_or(a) == b.strip_suffix('/').unwrap_or(b)
}
