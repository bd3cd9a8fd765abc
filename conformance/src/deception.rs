//! One lie, what is attempted in the face of it, and proof that the same attempt succeeds with honest servers.

use std::sync::Arc;

use core::future::Future;
use core::pin::Pin;

use oid4ac_client::{
    Client, Currency, Endpoint, Error, IdempotencyKey, LineItem, MemoryJournal, Misuse, Money, Order, Outcome as Paid,
    RegisterRequest, SetupToken, SystemRng, Verdict as Receipt,
};
use sandbox::{Sandbox, SandboxConfig};

use crate::lie::Lie;
use crate::outcome::{Outcome, Stop, broken, expect};

/// Whether the servers lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Lying,
    Honest,
}

/// A lie and what is attempted in the face of it.
#[derive(Clone)]
pub(crate) struct Deception {
    /// Made for each sandbox, because it may depend on its addresses and keys.
    lie: Arc<dyn Fn() -> Lie + Send + Sync>,
    attempt: Attempt,
    charged: Charged,
}

/// Whether money may have moved in spite of the lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Charged {
    Never,
    /// The lie comes after the merchant has settled.
    Once,
}

/// The client's verdict on what the servers said: its error, if it found a fault.
pub(crate) type Verdict = Result<(), String>;
type Attempt = fn(Kit) -> Pin<Box<dyn Future<Output = Result<Verdict, Stop>> + Send>>;

impl Deception {
    pub(crate) fn new(lie: impl Fn() -> Lie + Send + Sync + 'static, attempt: Attempt) -> Self {
        Self { lie: Arc::new(lie), attempt, charged: Charged::Never }
    }

    /// The lie comes after the merchant has settled.
    pub(crate) fn after_settlement(mut self) -> Self {
        self.charged = Charged::Once;
        self
    }

    /// Passes where the client says exactly `expected`, no more was charged than may have been, and the same attempt
    /// succeeds with honest servers.
    pub(crate) async fn run(&self, peer: Peer, expected: &str) -> Outcome {
        if peer == Peer::Lying {
            let control = (self.attempt)(Kit::new(None).await?).await?;
            if let Err(said) = control {
                return broken("the control, with honest servers", said);
            }
        }
        let lie = match peer {
            Peer::Lying => Some((self.lie)()),
            Peer::Honest => None,
        };
        let kit = Kit::new(lie).await?;
        let sandbox = Arc::clone(&kit.sandbox);
        let said = (self.attempt)(kit).await?;
        let entries = sandbox.audit_chain().0;
        let charged = entries.iter().filter(|entry| entry["event"] == "oid4ac.payment.succeeded").count();
        let may_be = match self.charged {
            Charged::Never => 0,
            Charged::Once => 1,
        };
        match said {
            Ok(()) => expect(false, "the client found no fault"),
            Err(said) if charged > may_be => expect(false, format!("{said}; but {charged} charged")),
            Err(said) => {
                let said = without_times(&said);
                expect(said == expected, said)
            }
        }
    }
}

/// What was said, with an ellipsis for each time in it.
fn without_times(said: &str) -> String {
    let is_digit = |c: char| c.is_ascii_digit();
    let mut kept = String::new();
    let mut rest = said;
    while let Some(at) = rest.find(is_digit) {
        let (before, from) = rest.split_at(at);
        let (digits, after) = from.split_at(from.find(|c| !is_digit(c)).unwrap_or(from.len()));
        kept.push_str(before);
        kept.push_str(if digits.len() >= 10 { "…" } else { digits });
        rest = after;
    }
    kept + rest
}

/// A sandbox and a client that is not registered yet.
pub(crate) struct Kit {
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) client: Client,
}

impl Kit {
    async fn new(lie: Option<Lie>) -> Result<Self, Stop> {
        let mut config = SandboxConfig::new();
        if let Some(lie) = lie {
            config = config.changing_answers(move |request, answer| lie(request, answer));
        }
        let sandbox = match Sandbox::start(config).await {
            Ok(sandbox) => Arc::new(sandbox),
            Err(error) => return broken("starting a sandbox", error),
        };
        let directory = Endpoint::parse(sandbox.discovery_url()).or_else(|error| broken("the directory", error))?;
        let builder = Client::builder(sandbox.as_origin()).or_else(|error| broken("the client", error))?;
        let client = builder.directory(directory).build();
        Ok(Self { sandbox, client })
    }

    /// Registers the client.
    pub(crate) async fn register(&self) -> Result<Verdict, Stop> {
        let token = self.sandbox.setup_token().or_else(|error| broken("making a setup token", error))?;
        let request = RegisterRequest::new(SetupToken::new(token), [CALLBACK]);
        Ok(self.client.register(&request).await.map(drop).map_err(|error| error.to_string()))
    }

    /// A pair of socks at the merchant with Ed25519 keys.
    pub(crate) fn order(&self) -> Result<Order, Stop> {
        let shop = &self.sandbox.merchants()[0];
        let made = || -> Result<Order, Error> {
            let amount =
                Money::new(PRICE_MINOR, Currency::parse("EUR").map_err(Misuse::from)?).map_err(Misuse::from)?;
            let lines = vec![LineItem::new(SKU, 1)];
            let key = IdempotencyKey::generate(&SystemRng);
            Order::new(&shop.origin, &shop.verify_url, amount, lines, CALLBACK, key)
        };
        made().or_else(|error| broken("the order", error))
    }

    /// Registers and pays.
    pub(crate) async fn pay(self) -> Result<Verdict, Stop> {
        match self.register().await? {
            Ok(()) => self.pay_once().await,
            Err(said) => Ok(Err(said)),
        }
    }

    /// Pays, once registered.
    pub(crate) async fn pay_once(&self) -> Result<Verdict, Stop> {
        let paid = self.client.pay(&self.order()?, &MemoryJournal::default()).await;
        Ok(match paid {
            Ok(Paid::Settled(payment)) => match payment.settlement.receipt {
                Receipt::Verified { .. } => Ok(()),
                Receipt::Invalid { reason } => Err(format!("settled; {reason}")),
                _ => Err("settled; no receipt".to_owned()),
            },
            Ok(Paid::Declined) => Err("declined".to_owned()),
            Ok(Paid::Unknown(in_flight)) => Err(format!("unknown: {}", in_flight.last)),
            Ok(_) => Err("not settled".to_owned()),
            Err(error) => Err(error.to_string()),
        })
    }
}

/// Makes a function of the kit an attempt.
macro_rules! attempt {
    ($function:expr) => {
        |kit| Box::pin($function(kit))
    };
}
pub(crate) use attempt;

pub(crate) const CALLBACK: &str = "https://agent.example/callback";
pub(crate) const SKU: &str = "alpaca-sock-blue-43";
pub(crate) const PRICE_MINOR: u64 = 1299;
