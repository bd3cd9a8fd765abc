//! A client for OID4AC: an agent registers, gets a mandate from its principal's authorization server, and pays a merchant
//! with it, every artefact on the way verified.
//!
//! - [`Client::register`] registers the agent, once.
//! - [`Client::pay`] pays for an [`Order`] and goes on from what the [`Journal`] holds.
//! - [`Client::read_presentation`] and [`Client::verify_mandate`] take up a presentation made earlier or elsewhere.
//! - [`Store`] keeps keys and registration; [`Journal`] keeps each payment. Both have implementations in files and in memory.
//!
//! A human's decision is a value, [`Outcome::Consent`], and so is not knowing, [`Outcome::Unknown`].
//!
//! # Examples
//!
//! ```
//! use oid4ac_client::{
//!     Client, Currency, IdempotencyKey, LineItem, MemoryJournal, Money, Order, Outcome, RegisterRequest, SetupToken,
//!     SystemRng,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let sandbox = sandbox::Sandbox::start(sandbox::SandboxConfig::default()).await?;
//! # let (issuer, setup_token) = (sandbox.as_origin().to_owned(), sandbox.setup_token()?);
//! # let shop = sandbox.merchants()[0].clone();
//! # let (shop, verify_url) = (shop.origin.as_str(), shop.verify_url.as_str());
//! let client = Client::builder(&issuer)?.build();
//! let callback = "https://agent.example/callback";
//! client.register(&RegisterRequest::new(SetupToken::new(setup_token), [callback])).await?;
//!
//! let price = Money::new(1299, Currency::parse("EUR")?)?;
//! let socks = vec![LineItem::new("alpaca-sock-blue-43", 1)];
//! let order = Order::new(shop, verify_url, price, socks, callback, IdempotencyKey::generate(&SystemRng))?;
//! let journal = MemoryJournal::default();
//! match client.pay(&order, &journal).await? {
//!     Outcome::Settled(payment) => {
//!         println!("paid: {}", payment.settlement.payment_intent_id);
//!         assert!(payment.settlement.receipt.is_verified());
//!     }
//!     Outcome::Consent(consent) => println!("please decide at {}, then call `pay` again", consent.url),
//!     other => println!("{other:?}"),
//! }
//! # sandbox.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Ordinary authorization servers
//!
//! Where the metadata has no `oid4ac_consent_modes_supported`, the person decides in their own browser (RFC 8252): the URL in
//! [`Outcome::Consent`] is then a page on 127.0.0.1, which sends the browser to the server and takes its answer. It is
//! served by a task of the runtime that called `pay`, for as long as the [`Client`] lives, so both have to last until the
//! person is done. The order needs a loopback redirect URI, `http://127.0.0.1/callback` for instance, of any port.

mod address;
mod agent;
mod assertion;
mod authorization;
mod cache;
mod catalog;
mod client;
mod clock;
mod country;
mod directory;
mod error;
mod evidence;
mod http;
mod idempotency_key;
mod journal;
mod lenient;
mod loopback;
mod mandate;
mod metadata;
mod money;
mod nonce;
mod offer;
mod order;
mod origin;
mod outcome;
mod payment;
mod presentation;
mod presented;
mod profile;
mod registration;
mod remote;
mod secret;
mod send;
mod signed;
mod stage;
mod status_list;
mod store;
mod system;
mod token;
mod untrusted;
mod wallet;
mod words;

pub use crate::http::{HttpClient, Limits, ReqwestClient, Sending, TransportError};
pub use address::AddressPolicy;
pub use catalog::{Catalog, CatalogItem, Wanted};
pub use client::{AssertionAudience, Client, ClientBuilder, Compatibility, RegisteredKeys, SetupTokenAs};
pub use country::{Country, InvalidCountry};
pub use directory::{Merchant, MerchantFilter, MerchantList};
pub use error::{Artefact, Error, Incompatibility, LineItemsError, LocalError, Misbehaviour, Misuse, ServerError, Why};
pub use evidence::{
    AgreedAmount, Check, CheckResult, Evidence, EvidenceVerdict, Findings, KeyUsed, NotIssued, PaymentEvidence,
    SignedOffer, TrustedKeys,
};
pub use idempotency_key::IdempotencyKey;
pub use journal::{FileJournal, Journal, JournalError, MemoryJournal, Proceed, Progress, Step};
pub use metadata::ServerSummary;
pub use money::{Currency, InvalidMoney, Money};
pub use order::{LineItem, Order, UnsignedOffers};
pub use origin::{Endpoint, InvalidUrl, Origin};
pub use outcome::{CheckedOffers, Consent, HeldMandate, InFlight, Outcome, Payment, Settlement, Verdict};
pub use presented::PresentedMandate;
pub use registration::{RegisterRequest, Registered};
pub use remote::listed as listed_code;
pub use secret::{AccessToken, Code, CodeVerifier, RefreshToken, SetupToken, State};
pub use stage::Stage;
pub use status_list::{InvalidStatusList, StatusList};
pub use store::{
    FileStore, GrantToken, InvalidKeys, KeyPair, MemoryStore, PendingAuthorization, Problem, Registration,
    RegistrationAccess, SessionLock, Store, StoreError, WalletSession,
};
pub use system::{SystemClock, SystemRng};
pub use untrusted::{clean, is_identifier, is_time, is_url_at};
pub use wallet::{
    AgentRevocation, AuditCursor, AuditEntry, AuditPage, AuditQuery, Cascade, ChainReport, Disputes, DsarAnswer,
    DsarRight, GivenToken, Granted, HeadVerdict, LeftOut, LoggedOut, MandateOutcome, PaymentRow, PaymentStatus,
    Payments, PaymentsQuery, PresentedTerms, PrincipalToken, PrincipalTokenError, QueuedDsar, Undecided, WalletAgent,
    WalletAgents, WalletScope,
};

#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
