use core::fmt;
use std::sync::Arc;

use bytes::Bytes;
use jose::{Clock, Rng, UnixSeconds};

use crate::clock::{SystemClock, SystemRng};
use crate::fault::PlannedFault;
use crate::request_log::LoggedRequest;
use crate::rules::{Rule, Rules};

/// How a sandbox is to be set up. The default is what `oid4pay-mcp sandbox` runs: free ports, the system's clock and
/// randomness, consent mode `auto` under a standing approval of any amount.
#[derive(Clone)]
pub struct SandboxConfig {
    pub(crate) port_base: Option<u16>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Arc<dyn Rng>,
    pub(crate) consent_mode: ConsentMode,
    pub(crate) standing_approval: StandingApproval,
    pub(crate) mandate_ttl_seconds: UnixSeconds,
    pub(crate) mandate_cap_minor: Option<u64>,
    pub(crate) rules: Rules,
    pub(crate) change_answer: Option<Arc<ChangeAnswer>>,
    pub(crate) intercept: Option<Arc<Intercept>>,
    pub(crate) faults: Vec<PlannedFault>,
}

/// Changes a party's answer before it is sent.
pub(crate) type ChangeAnswer = dyn Fn(&LoggedRequest, http::Response<Bytes>) -> http::Response<Bytes> + Send + Sync;

/// May answer a request in place of its party.
pub(crate) type Intercept = dyn Fn(&LoggedRequest) -> Option<http::Response<Bytes>> + Send + Sync;

impl SandboxConfig {
    /// The default set-up.
    #[must_use]
    pub fn new() -> Self {
        Self {
            port_base: None,
            clock: Arc::new(SystemClock),
            rng: Arc::new(SystemRng),
            consent_mode: ConsentMode::Auto,
            standing_approval: StandingApproval::AnyAmount,
            mandate_ttl_seconds: MAX_MANDATE_TTL_SECONDS,
            mandate_cap_minor: None,
            rules: Rules::default(),
            change_answer: None,
            intercept: None,
            faults: Vec::new(),
        }
    }

    /// Takes four ports from this one on: authorization server, directory, Alpacanica, Bristle and Slate. Without it, or
    /// with 0, every server takes a free one.
    #[must_use]
    pub fn port_base(mut self, port: u16) -> Self {
        self.port_base = (port != 0).then_some(port);
        self
    }

    /// The clock of every party.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The source of every key, nonce, code and identifier.
    #[must_use]
    pub fn rng(mut self, rng: Arc<dyn Rng>) -> Self {
        self.rng = rng;
        self
    }

    /// How the principal is asked for consent.
    #[must_use]
    pub fn consent_mode(mut self, mode: ConsentMode) -> Self {
        self.consent_mode = mode;
        self
    }

    /// What the demo principal has approved in advance, for each of its agents at each merchant.
    #[must_use]
    pub fn standing_approval(mut self, approval: StandingApproval) -> Self {
        self.standing_approval = approval;
        self
    }

    /// How long a mandate is valid, in seconds; at most 900, the default.
    #[must_use]
    pub fn mandate_ttl_seconds(mut self, seconds: u32) -> Self {
        self.mandate_ttl_seconds = UnixSeconds::from(seconds).min(MAX_MANDATE_TTL_SECONDS);
        self
    }

    /// Grants so many minor units in every mandate, whatever was asked for: an authorization server that lets a merchant take
    /// more than the order.
    #[must_use]
    pub fn mandate_cap_minor(mut self, minor: u64) -> Self {
        self.mandate_cap_minor = Some(minor);
        self
    }

    /// Plans a fault. It happens once; more than one of a step happen one after the other.
    #[must_use]
    pub fn fault(mut self, planned: PlannedFault) -> Self {
        self.faults.push(planned);
        self
    }

    /// Sends every answer to a request from outside through `change` before it leaves: a party that lies, so that a test
    /// can see what its client refuses. What the parties tell each other stays true.
    #[must_use]
    pub fn changing_answers(
        mut self,
        change: impl Fn(&LoggedRequest, http::Response<Bytes>) -> http::Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        self.change_answer = Some(Arc::new(change));
        self
    }

    /// Shows every request from outside to `intercept` before its party sees it. Where that gives an answer, the request
    /// was logged and never arrives: a gateway in between, or the moment at which a test ends its client.
    #[must_use]
    pub fn intercepting_requests(
        mut self,
        intercept: impl Fn(&LoggedRequest) -> Option<http::Response<Bytes>> + Send + Sync + 'static,
    ) -> Self {
        self.intercept = Some(Arc::new(intercept));
        self
    }

    /// Stops enforcing one rule, so that a conformance suite can prove that it notices.
    #[must_use]
    pub fn without_rule(mut self, rule: Rule) -> Self {
        self.rules.switch_off(rule);
        self
    }
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SandboxConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SandboxConfig")
            .field("port_base", &self.port_base)
            .field("consent_mode", &self.consent_mode)
            .field("standing_approval", &self.standing_approval)
            .field("mandate_ttl_seconds", &self.mandate_ttl_seconds)
            .field("mandate_cap_minor", &self.mandate_cap_minor)
            .field("rules", &self.rules)
            .field("faults", &self.faults)
            .finish_non_exhaustive()
    }
}

/// How the principal is asked for consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConsentMode {
    /// A standing approval answers at once.
    Auto,
    /// The principal answers on a web page.
    Dashboard,
    /// The same page, reached by scanning a QR code.
    Scan,
}

impl ConsentMode {
    /// Reads a value of `consent_mode_hint`.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        [Self::Auto, Self::Dashboard, Self::Scan].into_iter().find(|mode| mode.name() == name)
    }

    /// The modes that a request may ask for if this is the default: those that involve the human at least as much.
    pub(crate) fn on_offer(self) -> &'static [Self] {
        match self {
            Self::Auto => &[Self::Auto, Self::Dashboard, Self::Scan],
            Self::Dashboard => &[Self::Dashboard, Self::Scan],
            Self::Scan => &[Self::Scan, Self::Dashboard],
        }
    }

    /// The name on the wire: `auto`, `dashboard` or `scan`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Dashboard => "dashboard",
            Self::Scan => "scan",
        }
    }
}

/// What a principal has approved in advance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StandingApproval {
    /// Payments of any amount.
    AnyAmount,
    /// Payments up to this many minor units, whatever the currency.
    UpToMinor(u64),
    /// No payment at all.
    None,
}

impl StandingApproval {
    /// Whether a payment of this amount is approved.
    pub(crate) fn covers(self, amount_minor: u64) -> bool {
        match self {
            Self::AnyAmount => true,
            Self::UpToMinor(cap) => amount_minor <= cap,
            Self::None => false,
        }
    }
}

const MAX_MANDATE_TTL_SECONDS: UnixSeconds = 900;
