//! Spending guard: policy, budgets and the ledger of intents.
//!
//! A payment passes through here before its first octet leaves: [`Ledger::begin`] finds out whether it is new, already
//! under way or already paid, asks the [`Policy`], and holds the money back, in one transaction. What follows is recorded
//! step by step through the [`Claim`] it hands out, each step durable before the caller sends the next octet.
//!
//! No network, no floating point, no tokens. The time comes from a [`jose::Clock`].
//!
//! # Examples
//!
//! ```
//! use std::sync::Arc;
//! use spend_guard::{Begun, Currency, Ledger, LineItem, Mandate, Next, Offers, Policy, Purchase, Settlement};
//!
//! # let dir = tempfile::tempdir()?;
//! # let data_dir = dir.path().join("data");
//! let ledger = Ledger::new(data_dir, Arc::new(|| 1_790_000_000));
//! let policy = Policy::parse("[currency.EUR]\nday = 30", "policy.toml")?;
//! let buy = |amount_minor| {
//!     let socks = LineItem { sku: "sock".into(), qty: 1, unit_price_minor: None };
//!     let (shop, key) = ("https://shop.example", "128 random bits, as text");
//!     Purchase::payment("https://as.example", shop, vec![socks], amount_minor, Currency::parse("EUR")?, None, key)
//!         .map_err(Box::<dyn std::error::Error>::from)
//! };
//!
//! let Begun::New(mut claim) = ledger.begin(&buy(12_99)?, Some(&policy))? else { panic!("it is new and allowed") };
//! assert_eq!(claim.offers_verified(Offers::Verified { digest: "of the offers" })?, Next::Go);
//! let mandate = Mandate { mandate_id: "m1".into(), cap_minor: 12_99, expires_at: 1_790_000_900 };
//! assert_eq!(claim.mandate_held(mandate, "sd-jwt~disclosure~", Some(&policy))?, Next::Go);
//! claim.presenting("sd-jwt~disclosure~kb-jwt")?;
//! claim.settled(&Settlement { payment_intent_id: "pi_1".into(), ..Settlement::default() })?;
//!
//! // The model asks again: it was paid, and is not paid twice. Another one would go over the budget.
//! assert!(matches!(ledger.begin(&buy(12_99)?, Some(&policy))?, Begun::Replay(_)));
//! let Begun::Denied(denial) = ledger.begin(&buy(17_02)?, Some(&policy))? else { panic!("12.99 and 17.02 are over 30") };
//! assert_eq!(denial.evaluation.findings[0].rule, "currency.EUR.day");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Not covered
//!
//! Converting currencies, moving money, asking the human (the caller does; the answer is recorded here), and protecting
//! the files against a program that runs with their owner's rights.

mod error;
mod hash;
mod intent;
mod ledger;
mod mandate;
mod money;
mod policy;
mod purchase;

pub use error::LedgerError;
pub use intent::{
    Approval, ApprovalTerms, Consent, Declaration, Failure, Intent, IntentId, InvalidIntentId, ReceiptVerdict,
    Resolution, ResolvedBy, Revocation, Settlement, State, Step,
};
pub use ledger::{
    Artefact, Begun, Broken, Budget, Claim, DeclarationTerms, Declared, Denial, Entry, Filter, Head, Ledger, Next,
    Offers, Page, Proof, RaisedAlert, ResolutionVerdict, Snapshot, TimeReset,
};
pub use mandate::Mandate;
pub use money::{Currency, MAX_AMOUNT_MINOR, UnknownCurrency};
pub use policy::{
    Alert, AlertRules, Evaluation, Finding, InvalidTightening, Limits, Policy, PolicyError, Reading, Rule, RuleAction,
    Rules, Scope, Severity, Tightening, Verdict,
};
pub use purchase::{CheapestTerms, InvalidPurchase, LineItem, Purchase, PurchaseIdentity, PurchaseKind};
