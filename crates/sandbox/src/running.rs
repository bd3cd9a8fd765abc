use core::fmt;
use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use http::Method;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::authorization_server::{AuthorizationServer, KnownMerchant, PORTAL_PATH};
use crate::config::SandboxConfig;
use crate::directory::{Directory, Listing};
use crate::fault::{Faults, PlannedFault};
use crate::merchant::{ALPACANICA, BRISTLE_AND_SLATE, Merchant, SETTLEMENTS_PATH, VERIFY_PATH};
use crate::request_log::{LoggedRequest, Party};
use crate::rules::{Rule, Rules};
use crate::server::{Bound, Outside, Service};

/// A running sandbox. Dropping it stops it.
pub struct Sandbox {
    authorization_server: Arc<AuthorizationServer>,
    directory_origin: String,
    shops: Vec<Arc<Merchant>>,
    merchants: Vec<MerchantInfo>,
    outside: Outside,
    rules: Rules,
    stop: watch::Sender<()>,
    servers: JoinSet<()>,
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandbox")
            .field("as_origin", &self.as_origin())
            .field("discovery_url", &self.directory_origin)
            .field("merchants", &self.merchants)
            .finish_non_exhaustive()
    }
}

/// Where a merchant is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MerchantInfo {
    /// Its id in the directory, `merch_alpacanica` for one.
    pub id: String,
    /// Its origin: the `resource` and the audience of tokens and presentations for it.
    pub origin: String,
    /// Where mandates are presented.
    pub verify_url: String,
    /// The list of what it settled.
    pub settlements_url: String,
}

/// Why a sandbox does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A port is taken, or there is no loopback interface.
    #[error("cannot listen on 127.0.0.1: {0}")]
    Bind(#[from] io::Error),
    /// Four ports are needed and the base is too high.
    #[error("port base {0} leaves no room for four ports")]
    PortBase(u16),
}

/// Whether an item is in stock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "an item is there or it is not")]
pub enum Stock {
    /// It can be bought.
    There,
    /// It is sold out.
    Gone,
}

/// There is no such merchant, or it has no such item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such merchant or item")]
#[non_exhaustive]
pub struct NoSuchItem;

/// No setup token can be made: a hundred thousand are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many setup tokens are open")]
#[non_exhaustive]
pub struct SetupTokensExhausted;

impl Sandbox {
    /// Starts all servers on the current tokio runtime, which needs its I/O and time drivers. They answer when this
    /// returns.
    ///
    /// # Errors
    ///
    /// - [`StartError::Bind`] if a port is taken.
    /// - [`StartError::PortBase`] if the port base is above 65532.
    pub async fn start(config: SandboxConfig) -> Result<Self, StartError> {
        let ports = match config.port_base {
            None => [0; 4],
            Some(base) if base > u16::MAX - 3 => return Err(StartError::PortBase(base)),
            Some(base) => [base, base + 1, base + 2, base + 3],
        };
        let as_bound = Bound::bind(ports[0]).await?;
        let directory_bound = Bound::bind(ports[1]).await?;
        let merchants_bound =
            [(&ALPACANICA, Bound::bind(ports[2]).await?), (&BRISTLE_AND_SLATE, Bound::bind(ports[3]).await?)];
        // Every origin is known before the first party is built.
        let no_origin = || io::Error::from(io::ErrorKind::AddrNotAvailable);
        let known =
            |(profile, bound): &(&'static _, Bound)| KnownMerchant { origin: bound.origin().to_owned(), profile };
        let known = merchants_bound.iter().map(known).collect();
        let authorization_server =
            Arc::new(AuthorizationServer::new(as_bound.origin(), known, &config).ok_or_else(no_origin)?);
        let (stop, stopped) = watch::channel(());
        let mut sandbox = Self {
            authorization_server: Arc::clone(&authorization_server),
            directory_origin: directory_bound.origin().to_owned(),
            shops: Vec::new(),
            merchants: Vec::new(),
            outside: Outside {
                log: Arc::default(),
                faults: Arc::new(Faults::of(config.faults.clone())),
                change: config.change_answer.clone(),
                intercept: config.intercept.clone(),
            },
            rules: config.rules.clone(),
            stop,
            servers: JoinSet::new(),
        };
        for (profile, bound) in merchants_bound {
            let merchant = Merchant::new(profile, bound.origin(), Arc::clone(&authorization_server), &config);
            let merchant = Arc::new(merchant.ok_or_else(no_origin)?);
            sandbox.merchants.push(MerchantInfo {
                id: profile.id.to_owned(),
                origin: bound.origin().to_owned(),
                verify_url: format!("{}{VERIFY_PATH}", bound.origin()),
                settlements_url: format!("{}{SETTLEMENTS_PATH}", bound.origin()),
            });
            let router = Arc::clone(&merchant).router();
            let party = Party::Merchant(profile.id.to_owned());
            sandbox.serve(bound, Service { party, router, befallen: Some(Arc::clone(&merchant) as _) }, &stopped);
            sandbox.shops.push(merchant);
        }
        let listings = sandbox.shops.iter().map(|shop| Listing::of(shop.profile(), shop.origin())).collect();
        let router = Directory::new(listings).router();
        sandbox.serve(directory_bound, Service { party: Party::Directory, router, befallen: None }, &stopped);
        let router = Arc::clone(&authorization_server).router();
        let befallen = Some(authorization_server as _);
        sandbox.serve(as_bound, Service { party: Party::AuthorizationServer, router, befallen }, &stopped);
        Ok(sandbox)
    }

    fn serve(&mut self, bound: Bound, service: Service, stopped: &watch::Receiver<()>) {
        self.servers.spawn(bound.serve(service, self.outside.clone(), stopped.clone()));
    }

    /// The authorization server's origin, which is its issuer identifier: `http://127.0.0.1:{port}`.
    #[must_use]
    pub fn as_origin(&self) -> &str {
        &self.authorization_server.endpoints().issuer
    }

    /// The wallet portal: a page for people.
    #[must_use]
    pub fn portal_url(&self) -> String {
        format!("{}{PORTAL_PATH}", self.as_origin())
    }

    /// The audit chain, newest entry first, as its endpoint will show it; and the signed head, once there is an entry.
    #[must_use]
    pub fn audit_chain(&self) -> (Vec<Value>, Option<String>) {
        let audit = self.authorization_server.audit();
        let entries = audit.newest_first().iter().filter_map(|entry| serde_json::to_value(entry).ok()).collect();
        (entries, audit.signed_head())
    }

    /// The directory's origin.
    #[must_use]
    pub fn discovery_url(&self) -> &str {
        &self.directory_origin
    }

    /// The merchants: Alpacanica, then Bristle and Slate.
    #[must_use]
    pub fn merchants(&self) -> &[MerchantInfo] {
        &self.merchants
    }

    /// How many payments all merchants have in their books, as their `settlements_url` shows them.
    #[must_use]
    pub fn settlement_count(&self) -> usize {
        self.shops.iter().map(|shop| shop.settlement_count()).sum()
    }

    /// Makes a setup token for the demo principal: good for one registration, within a day. It is a secret.
    ///
    /// # Errors
    ///
    /// - [`SetupTokensExhausted`] if a hundred thousand are open.
    pub fn setup_token(&self) -> Result<String, SetupTokensExhausted> {
        let principal = &self.authorization_server.principals()[0];
        self.authorization_server.mint_setup_token(&principal.id).map_err(|_| SetupTokensExhausted)
    }

    /// The newest ten thousand requests from outside, oldest first. What the sandbox's parties ask each other (a
    /// merchant fetching the status list, the directory a catalog) is not among them.
    #[must_use]
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.outside.log.entries()
    }

    /// How many of [`Sandbox::requests`] went to this party, method and path.
    #[must_use]
    pub fn request_count(&self, party: &Party, method: &Method, path: &str) -> usize {
        let same = |r: &LoggedRequest| r.party == *party && r.method == *method && r.path == path;
        self.outside.log.entries().iter().filter(|request| same(request)).count()
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        self.outside.log.clear();
    }

    /// Sets today's price of an item, in minor units. Offers signed before keep theirs.
    ///
    /// # Errors
    ///
    /// - [`NoSuchItem`] if there is no such merchant or item.
    pub fn set_price(&self, merchant_id: &str, sku: &str, unit_price_minor: u64) -> Result<(), NoSuchItem> {
        let changed = self.shop(merchant_id).is_some_and(|shop| shop.set_price(sku, unit_price_minor));
        changed.then_some(()).ok_or(NoSuchItem)
    }

    /// Says whether an item is in stock from now on.
    ///
    /// # Errors
    ///
    /// - [`NoSuchItem`] if there is no such merchant or item.
    pub fn set_stock(&self, merchant_id: &str, sku: &str, stock: Stock) -> Result<(), NoSuchItem> {
        let changed = self.shop(merchant_id).is_some_and(|shop| shop.set_in_stock(sku, stock == Stock::There));
        changed.then_some(()).ok_or(NoSuchItem)
    }

    /// Plans a fault. It happens once; more than one of a step happen one after the other.
    pub fn plan_fault(&self, planned: PlannedFault) {
        self.outside.faults.plan(planned);
    }

    /// The rules that could have changed an answer so far, had they been switched off. Without any of the others, every
    /// answer would have been the same.
    #[must_use]
    pub fn decisive_rules(&self) -> HashSet<Rule> {
        self.rules.decisive()
    }

    pub(crate) fn authorization_server(&self) -> &AuthorizationServer {
        &self.authorization_server
    }

    fn shop(&self, merchant_id: &str) -> Option<&Arc<Merchant>> {
        self.shops.iter().find(|shop| shop.profile().id == merchant_id)
    }

    /// Stops listening, lets requests under way finish for a second, and closes every connection.
    pub async fn shutdown(mut self) {
        let _ = self.stop.send(());
        while self.servers.join_next().await.is_some() {}
    }
}
