//! How a refusal is told to the caller: the contract's words first, then the same as data.

mod code;

use core::fmt::Display;

use oid4ac_client::{Error, Misuse, NotIssued, ServerError, Stage, TransportError, Why};
use rmcp::ErrorData;
use rmcp::model::{CallToolResult, ContentBlock};
use serde_json::{Map, Value, json};
use spend_guard::Finding;

pub(crate) use self::code::Code;
use crate::purchase::Signatures;
use crate::tools::{self, Name, signatures_meta};

impl Code {
    /// That of an error of the client, which has none that is not here.
    pub(crate) fn of(error: &Error) -> Self {
        Self::parse(error.code()).unwrap_or(Self::UnexpectedOutcome)
    }

    /// That of a rule of the guard which stops a payment.
    pub(crate) fn of_finding(finding: &Finding) -> Self {
        Self::parse(&finding.code).unwrap_or(Self::PaymentsStopped)
    }
}

/// A call that ran and whose answer is no.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// What stands behind the tool's name.
    told: String,
    code: Code,
    hint: Option<&'static str>,
    context: Map<String, Value>,
    retryable: bool,
    signatures: Option<Box<Signatures>>,
}

impl Refusal {
    /// A refusal in our own words: `<code>: <sentence>`.
    pub(crate) fn new(code: Code, sentence: &str) -> Self {
        Self::in_words(code, format!("{code}: {sentence}"))
    }

    /// A refusal for which the contract has the words, behind `<tool> failed: `.
    pub(crate) fn in_words(code: Code, words: impl Display) -> Self {
        Self::told(code, format!(" failed: {words}"))
    }

    /// A refusal for which the contract has the whole message: `told` is what stands behind the tool's name.
    pub(crate) fn told(code: Code, told: impl Into<String>) -> Self {
        Self { told: told.into(), code, hint: hint(code), context: Map::new(), retryable: false, signatures: None }
    }

    /// The refusal that an error of the client makes for `tool`.
    pub(crate) fn from_client(tool: Name, error: &Error) -> Self {
        let code = Code::of(error);
        let refusal = match error {
            Error::Server(server) => from_server(tool, server, code),
            Error::Misuse(misuse @ Misuse::NotRegistered) => Self::in_words(code, misuse.to_string()),
            Error::Misuse(Misuse::MandateAudience { .. }) => {
                Self::in_words(code, format!("verify-mandate failed: 422 {code}")).with("sent", false)
            }
            Error::Misuse(Misuse::Filter(name)) => {
                Self::in_words(code, format!("400 {code}")).with("filter", *name).with("sent", false)
            }
            Error::Misuse(Misuse::MerchantId) => Self::in_words(code, code).with("sent", false),
            Error::Misuse(Misuse::PrincipalToken(why)) if let Some(refusal) = tools::unsent(tool, *why) => refusal,
            Error::PeerMisbehaved(misbehaviour) if let Why::Unsigned(field) = misbehaviour.why() => {
                Self::told(code, format!(" rejected upstream catalog (missing signed field {field:?})"))
            }
            Error::Transport { stage, error } => from_transport(tool, *stage, error, code),
            error => Self::new(code, &error.to_string()),
        };
        // An address stays forbidden until somebody changes something.
        let is_forbidden = matches!(error, Error::Transport { error: TransportError::ForbiddenAddress, .. });
        refusal.retryable(error.is_retryable() && !is_forbidden)
    }

    /// There is no mandate, because the human said no or for another reason: the hint says what is known of that.
    pub(crate) fn declined(why: Option<NotIssued>) -> Self {
        let mut refusal = Self::in_words(Code::Declined, "declined: no mandate issued");
        let (declined_by, hint) = match why {
            Some(NotIssued::ByPerson) => return refusal.with("declined_by", "person"),
            Some(NotIssued::ByServer) => (
                "authorization_server",
                "The authorization server refused without showing the person anything: they did not say no. Tell them, and ask \
                 the operator whether the server lets this agent ask for such a payment.",
            ),
            Some(NotIssued::WithoutMandate) => (
                "authorization_server",
                "The authorization server granted access and issued no mandate. The person did not refuse, but nothing can be \
                 paid without one. It may issue none at all. Tell the person; repeating the call does not change that.",
            ),
            _ => (
                "not_known",
                "Access was denied, by the person or by the server's own rules: it is not known which. Ask the person before \
                 you repeat the call.",
            ),
        };
        refusal.hint = Some(hint);
        refusal.with("declined_by", declined_by)
    }

    pub(crate) fn code(&self) -> Code {
        self.code
    }

    /// The refusal as a command tells it.
    pub(crate) fn in_a_command(&self) -> String {
        let said = self.told.trim_start_matches(" failed").trim_start_matches([':', ' ']);
        match self.context.get("intent_id").and_then(Value::as_str) {
            Some(id) => format!("{said} ({id})"),
            None => said.to_owned(),
        }
    }

    #[must_use]
    pub(crate) fn retryable(mut self, retryable: bool) -> Self {
        self.retryable = retryable;
        self
    }

    /// With this hint instead of the code's.
    #[must_use]
    pub(crate) fn hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }

    #[must_use]
    pub(crate) fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.context.insert(member.to_owned(), value.into());
        self
    }

    /// What was verified before it came to this, and what was not.
    #[must_use]
    pub(crate) fn signatures(mut self, signatures: Signatures) -> Self {
        self.signatures = Some(Box::new(signatures));
        self
    }

    /// The tool's answer: a person's sentence, then the same as an object.
    pub(crate) fn into_result(self, tool: Name) -> CallToolResult {
        let (message, error) = self.told_by(tool.as_str());
        CallToolResult::error(vec![ContentBlock::text(message), ContentBlock::text(error.to_string())])
            .with_meta(self.signatures.as_deref().map(signatures_meta))
    }

    /// The same where there is no tool: a JSON-RPC error with the object as its data.
    pub(crate) fn into_error(self) -> ErrorData {
        let (message, error) = self.told_by("resources/read");
        match self.code() {
            Code::NotFound | Code::InvalidMerchantId => ErrorData::resource_not_found(message, Some(error)),
            _ => ErrorData::internal_error(message, Some(error)),
        }
    }

    fn told_by(&self, name: &str) -> (String, Value) {
        let message = format!("{name}{}", self.told);
        let error = json!({
            "success": false,
            "error": {
                "code": self.code.as_str(),
                "message": message,
                "hint": self.hint,
                "context": self.context,
                "retryable": self.retryable,
            }
        });
        (message, error)
    }
}

impl Display for Refusal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.in_a_command())
    }
}

impl std::error::Error for Refusal {}

fn from_server(tool: Name, server: &ServerError, code: Code) -> Refusal {
    if let Some(refusal) = tools::refused(tool, server, code) {
        return in_context(refusal, server);
    }
    let status = server.status();
    let words = match (tool, server.stage(), server.error()) {
        (Name::Register | Name::WalletRegister, Stage::Register, Some(error)) => error.to_owned(),
        (_, Stage::Par, _) => format!("PAR failed: {status}"),
        (_, Stage::Token, error) => joined(format!("token failed: {status}"), error),
        (Name::VerifyMandate, Stage::VerifyMandate, error) => joined(format!("verify-mandate failed: {status}"), error),
        (_, Stage::VerifyMandate, _) => format!("verify-mandate failed: {status}"),
        (Name::ListMerchants | Name::BrowseMerchant, Stage::Directory | Stage::CatalogPreview, _) => {
            return in_context(told_by_directory(status, code), server);
        }
        (Name::BrowseMerchant, _, _) => return in_context(bad_gateway(), server),
        (Name::BuyCheapest, Stage::Catalog, _) => format!("catalog {status}"),
        (_, stage, _) => format!("{code}: {stage} was answered with HTTP status {status}"),
    };
    in_context(Refusal::in_words(code, words), server)
}

/// What is known of a server's refusal.
fn in_context(mut refusal: Refusal, server: &ServerError) -> Refusal {
    refusal.hint = match (server.stage(), refusal.code()) {
        // Said of the token by a merchant: what to register for is not its to say.
        (Stage::VerifyMandate, Code::InsufficientScope) => None,
        (_, code) => servers_hint(server, code).or(refusal.hint),
    };
    let mut refusal = refusal.with("stage", server.stage().to_string()).with("http_status", server.status());
    if let Some(error) = server.error() {
        refusal = refusal.with("server_error", error);
    }
    if let Some(code) = server.untrusted_code() {
        refusal = refusal.with("untrusted_code", code);
    }
    match server.description() {
        Some(description) => refusal.with("untrusted_server_description", description),
        None => refusal,
    }
}

/// Status and code, the code being the contract's where it has one for the status; a code that is not listed is left out.
fn told_by_directory(status: u16, code: Code) -> Refusal {
    let code = match status {
        400 => Code::InvalidFilter,
        404 => Code::NotFound,
        429 => Code::RateLimited,
        500 => Code::ServerError,
        502 => Code::BadGateway,
        _ => code,
    };
    match code {
        Code::DirectoryRefused => Refusal::in_words(code, status),
        code => Refusal::in_words(code, format!("{status} {code}")),
    }
}

/// The merchant behind the directory cannot be had.
fn bad_gateway() -> Refusal {
    Refusal::in_words(Code::BadGateway, "502 bad_gateway")
}

/// No answer. The contract has words where it is the directory or a merchant's catalog that cannot be reached.
fn from_transport(tool: Name, stage: Stage, error: &TransportError, code: Code) -> Refusal {
    let unreachable = matches!(error, TransportError::NotConnected | TransportError::Lost | TransportError::TimedOut);
    let refusal = match (tool, stage) {
        (Name::ListMerchants | Name::BrowseMerchant, Stage::Directory | Stage::CatalogPreview) if unreachable => {
            Refusal::in_words(code, "fetch failed")
        }
        (Name::BrowseMerchant, _) if unreachable => bad_gateway(),
        (Name::BuyCheapest, Stage::Catalog) if unreachable => Refusal::in_words(code, "catalog 502"),
        (_, Stage::Register) if error.may_have_arrived() => {
            let mut refusal = Refusal::new(code, &format!("{stage}: {error}"));
            refusal.hint = Some(
                "The setup token may be used up. Call again with the same arguments; if that answers \
                 invalid_software_statement, ask the person for a new one.",
            );
            return refusal;
        }
        _ => return Refusal::new(code, &format!("{stage}: {error}")),
    };
    refusal.with("stage", stage.to_string()).with("cause", error.to_string())
}

fn joined(words: String, error: Option<&str>) -> String {
    match error {
        Some(error) => format!("{words} {error}"),
        None => words,
    }
}

/// What mends a server's refusal, where that depends on which request it was.
fn servers_hint(server: &ServerError, code: Code) -> Option<&'static str> {
    Some(match (server.stage(), server.status(), code) {
        (Stage::Par, 400, Code::InvalidRequest | Code::InvalidRedirectUri | Code::ServerError) => {
            "Give a redirect_uri that this agent registered, letter for letter."
        }
        (Stage::Catalog, 404, _) => {
            "There is no catalog at store_url: take a merchant's origin from its audience in the directory."
        }
        (Stage::WalletRevoke, 404, _) => "Take a client_id from agent_wallet_list_agents.",
        (Stage::Directory | Stage::CatalogPreview, _, _) => return None,
        (_, _, Code::NotFound) => "The server has nothing at this URL: check the URLs that were given.",
        _ => return None,
    })
}

/// What mends it, for the codes where that can be said in general.
fn hint(code: Code) -> Option<&'static str> {
    Some(match code {
        Code::InvalidSoftwareStatement => {
            "The setup token is unknown, expired or already used. Ask the person for a new one from their wallet portal."
        }
        Code::InvalidRedirectUri => "Use https redirect URIs, or http ones on a loopback address.",
        Code::InvalidClientMetadata => "Leave out client_name, or give a plain one that is not empty.",
        Code::NotRegistered => "Call agent_register with a setup token from the person's wallet portal.",
        Code::AsUrlNotConfigured => "Use the configured as_url, or ask the operator to change --as-origin.",
        Code::KeysUnusable => "Ask the operator to set or mend the environment variables that the message names.",
        Code::NoRedirectUri => {
            "Register with a redirect_uri like http://127.0.0.1/callback; with OID4PAY_CLIENT_ID set, none is known here."
        }
        Code::RegistrationConfigured => "Go on with agent_payment_initiate.",
        Code::IntentNotFinal => "Repeat the open payment's call until it is settled or refused, then register.",
        Code::InvalidAmount
        | Code::InvalidCurrency
        | Code::InvalidLineItems
        | Code::InvalidUrl
        | Code::VerifyUrlOrigin => "Mend the arguments and call again. Nothing was sent.",
        Code::RedirectUriNotLoopback => "Register and pay with a redirect_uri like http://127.0.0.1/callback.",
        Code::TooManyConsents => "Ask the person to decide on the payments that wait, then call again.",
        Code::OfferPriceMismatch => "Pay the signed price, or ask the person whether they still want the item.",
        Code::OfferCurrencyMismatch => "Pay in the currency of the signed offer.",
        Code::OfferOutOfStock => "The merchant has none left. Nothing was sent to the authorization server.",
        Code::PolicyUnconfirmed => {
            "Ask the person to read the changed policy and run `oid4pay-mcp policy confirm` in a terminal; no tool can do it."
        }
        Code::PolicyUnusable => "Ask the person to mend the policy where the message says; payments stop until then.",
        Code::LedgerRolledBack => {
            "Tell the person: what was paid lately may be missing from the ledger. Only they can go on, with \
             `oid4pay-mcp ledger accept` in a terminal. Do not try another way to pay."
        }
        Code::LedgerAltered => {
            "Tell the person: another program has changed the ledger. `oid4pay-mcp doctor` says how."
        }
        Code::ClockAhead => "Ask the person to correct the clock of this machine, then call again. Nothing was sent.",
        Code::Frozen => "Only the person can end this, with `oid4pay-mcp unfreeze` in a terminal.",
        Code::PerTransactionExceeded
        | Code::CurrencyNotAllowed
        | Code::MerchantDenied
        | Code::MerchantNotAllowed
        | Code::RuleDenied => {
            "Tell the person: only they can change policy.toml. Do not split or reshape the purchase to get round it."
        }
        Code::BudgetExceeded | Code::VelocityExceeded => {
            "Tell the person: wait until the window has passed, or they change policy.toml. No tool can."
        }
        Code::OfferMissing => "Without a signed offer every line needs unit_price_minor, and a human has to approve.",
        Code::ResolvedAsPaid | Code::ResolvedAsNotPaid => {
            "This call charged nothing. A deliberate new attempt needs a new purchase_ref: ask the person first."
        }
        Code::Declined | Code::ApprovalRejected => "The person said no. Do not repeat the call unless they ask for it.",
        Code::LoginRequired | Code::ConsentRequired | Code::InteractionRequired | Code::AccountSelectionRequired => {
            "The authorization server wanted the person to sign in or to decide, and gave no page for it. The person did not \
             refuse. Tell them to sign in there, then call again."
        }
        Code::InvalidGrant => "The authorization is used up or too old. The same call starts a new one.",
        Code::InvalidTarget => "The authorization server does not issue mandates for this merchant.",
        Code::InvalidScope => "Leave out scope, or register with the scope that is needed.",
        Code::InvalidClient => {
            "The person may have revoked this agent in their wallet: ask them, and register anew with a new setup token. A \
             clock that is wrong does it too, and so does assertion_audience in the settings where it is not the one that this \
             server wants: the operator can try the other."
        }
        Code::InsufficientScope => {
            "Register with that scope: agent_wallet_register with scope and a new setup token, and the person's consent."
        }
        Code::TemporarilyUnavailable => {
            "The server cannot answer now. Wait a while, then call again with the same arguments."
        }
        Code::MandateInvalid => {
            "Give the presentation exactly as it was answered. If it was not given but issued just now, tell the person."
        }
        Code::MandateExpired | Code::MandateStatusRevoked => {
            "This mandate is of no use any more. Ask the person before a new purchase is made with a new purchase_ref."
        }
        Code::MandateAudienceMismatch => "Present the mandate at the merchant it was issued for.",
        Code::MandateLineItemsMismatch => "Give the line items of the payment.",
        Code::IdempotencyConflict => "Give no idempotency_key of your own: the one stored with the purchase is used.",
        Code::StoreFailed => "Mend the file as the message says; nothing in it was changed.",
        Code::InvalidFilter => "country is an ISO 3166-1 alpha-2 code like NL, currency an ISO 4217 code like EUR.",
        Code::InvalidCountry => "Give ships_to_country as two letters, like NL. Nothing was sent.",
        Code::InvalidMerchantId => "Take an id from discovery_list_merchants.",
        Code::NotFound => "Check the name: discovery_list_merchants gives the ids of merchants.",
        Code::RateLimited => "Wait a while, then call again.",
        Code::NoDirectory => "Ask the operator to start the server with --discovery-url.",
        Code::NoMatchingItem => {
            "Raise max_amount_minor or loosen category and country, if the person agrees. Nothing was paid."
        }
        Code::AllItemsDisqualified => {
            "Catalog and offers disagree. Tell the person what context.disqualified says. Nothing was paid."
        }
        Code::ReadOnly => "Ask the operator to start the server without --read-only, if that is what the person wants.",
        Code::NotInToolset => "Ask the operator to start the server with --toolset all.",
        Code::DeadlineExceeded => {
            "Call again with the same arguments. If it keeps happening, the server at the other end is slow: tell the person."
        }
        Code::CallCancelled => "Call again with the same arguments if it is still wanted.",
        Code::NotConnected | Code::ConnectionLost | Code::TimedOut => "Call again with the same arguments.",
        Code::ForbiddenAddress => {
            "The host is not on the public internet, and private networks are not reached. Only an operator who sets \
             --as-origin to a loopback server has merchants on loopback reached, and then no others."
        }
        _ => return None,
    })
}
