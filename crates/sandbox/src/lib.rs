//! An OID4AC authorization server, a directory and two merchants for one machine, as strict as the real ones should be.
//!
//! [`Sandbox::start`] binds them on 127.0.0.1, each on an origin of its own, and they talk to each other and to the world
//! over real HTTP. Nothing is canned: signatures, nonces, single-use codes, revocation, idempotent settlement all work,
//! and a client that skips a step is refused.
//!
//! # Examples
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use sandbox::{Sandbox, SandboxConfig};
//!
//! let sandbox = Sandbox::start(SandboxConfig::new()).await?;
//! assert!(sandbox.as_origin().starts_with("http://127.0.0.1:"));
//! let setup_token = sandbox.setup_token()?;
//! // … a client registers with the token and pays at one of `sandbox.merchants()` …
//! sandbox.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! Two principals live in it. What they do on the wallet portal, [`Sandbox::portal_url`], a test can do for them:
//! [`Sandbox::decide`] on a consent, make tokens, dispute a payment.
//!
//! # Not covered
//!
//! TLS: everything stays on the loopback interface, and nothing here ever binds another one.

mod audit;
mod authorization_server;
mod claims;
mod clock;
mod config;
mod directory;
mod error;
mod expiring;
mod fault;
mod form;
mod header;
mod keys;
mod loopback;
mod merchant;
mod nonce;
mod principal;
mod request_log;
mod rules;
mod running;
mod scope;
mod server;
mod wallet;

pub use config::{ConsentMode, SandboxConfig, StandingApproval};
pub use fault::{Fault, PlannedFault, Step, UnknownFault};
pub use principal::{ConsentDecision, WalletError};
pub use request_log::{LoggedRequest, Party};
pub use rules::Rule;
pub use running::{MerchantInfo, NoSuchItem, Sandbox, SetupTokensExhausted, StartError, Stock};
pub use wallet::{DisputeStatus, PrincipalInfo};
