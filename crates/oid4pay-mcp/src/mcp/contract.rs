//! Refusals in the contract's words.
//!
//! The documentation of the protocol has the message for many of them; each is kept to the letter. Any other is
//! `<tool> failed: <code>: <sentence>`. Beside the message the same stands as an object, with a hint that is chosen by our own
//! codes alone.

use core::fmt::Display;

use oid4ac_client::{
    Error, Misuse, NotIssued, PrincipalTokenError, ServerError, Stage, TransportError, WalletScope, Why,
};
use oid4pay::refusal::{Cause, Code, Refusal};
use oid4pay::resolve;
use rmcp::ErrorData;
use rmcp::model::{CallToolResult, ContentBlock};
use serde_json::{Map, Value, json};
use spend_guard::Intent;

use super::advice;
use super::answer::signatures_meta;
use super::name::Name;

/// The tool's answer: a person's sentence, then the same as an object.
pub(crate) fn result(refusal: &Refusal, tool: Name) -> CallToolResult {
    let (message, error) = Told::of(refusal, Some(tool)).by(refusal, tool.as_str());
    CallToolResult::error(vec![ContentBlock::text(message), ContentBlock::text(error.to_string())])
        .with_meta(refusal.verified().map(signatures_meta))
}

/// The same where there is no tool: a JSON-RPC error with the object as its data.
pub(crate) fn error(refusal: &Refusal) -> ErrorData {
    let (message, error) = Told::of(refusal, None).by(refusal, "resources/read");
    match refusal.code() {
        Code::NotFound | Code::InvalidMerchantId => ErrorData::resource_not_found(message, Some(error)),
        _ => ErrorData::internal_error(message, Some(error)),
    }
}

/// A refusal in words.
struct Told {
    code: Code,
    /// What stands behind the tool's name.
    words: String,
    hint: Option<&'static str>,
    context: Map<String, Value>,
}

impl Told {
    fn of(refusal: &Refusal, tool: Option<Name>) -> Self {
        let code = refusal.code();
        let mut told = match refusal.cause() {
            Cause::Ours(sentence) if code == Code::NoMatchingItem => Self::new(code, format!(": {sentence}")),
            Cause::Ours(sentence) => Self::ours(code, sentence),
            Cause::Client(error) => Self::from_client(tool, error, code),
            Cause::NotIssued(why) => Self::not_issued(*why),
            Cause::Scope(scope) => insufficient_scope(tool, *scope),
        };
        told.context.extend(refusal.details().clone());
        if let Some(intent) = refusal.intent() {
            told.about(intent, matches!(refusal.cause(), Cause::Ours(_)));
        }
        told
    }

    fn by(self, refusal: &Refusal, name: &str) -> (String, Value) {
        let message = format!("{name}{}", self.words);
        let error = json!({
            "success": false,
            "error": {
                "code": self.code.as_str(),
                "message": message,
                "hint": self.hint,
                "context": self.context,
                "retryable": refusal.is_retryable(),
            }
        });
        (message, error)
    }

    fn new(code: Code, words: impl Into<String>) -> Self {
        Self { code, words: words.into(), hint: hint(code), context: Map::new() }
    }

    /// In our own words: `<code>: <sentence>`.
    fn ours(code: Code, sentence: &str) -> Self {
        match sentence {
            "" => Self::failed(code, code),
            sentence => Self::failed(code, format!("{code}: {sentence}")),
        }
    }

    /// In the words that the contract has behind `<tool> failed: `.
    fn failed(code: Code, words: impl Display) -> Self {
        Self::new(code, format!(" failed: {words}"))
    }

    fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.context.insert(member.to_owned(), value.into());
        self
    }

    /// An error of the client.
    fn from_client(tool: Option<Name>, error: &Error, code: Code) -> Self {
        match error {
            Error::Server(server) => from_server(tool, server, code),
            Error::Misuse(misuse @ Misuse::NotRegistered) => Self::failed(code, misuse),
            Error::Misuse(Misuse::MandateAudience { .. }) => {
                Self::failed(code, format!("verify-mandate failed: 422 {code}")).with("sent", false)
            }
            Error::Misuse(Misuse::Filter(name)) => {
                Self::failed(code, format!("400 {code}")).with("filter", *name).with("sent", false)
            }
            Error::Misuse(Misuse::MerchantId) => Self::failed(code, code).with("sent", false),
            Error::Misuse(Misuse::PrincipalToken(why)) => unsent(tool, *why, code),
            Error::PeerMisbehaved(misbehaviour) if let Why::Unsigned(field) = misbehaviour.why() => {
                Self::new(code, format!(" rejected upstream catalog (missing signed field {field:?})"))
            }
            Error::Transport { stage, error } => from_transport(tool, *stage, error, code),
            error => Self::ours(code, &error.to_string()),
        }
    }

    /// There is no mandate: the hint says what is known of the reason.
    fn not_issued(why: Option<NotIssued>) -> Self {
        let mut told = Self::failed(Code::Declined, "declined: no mandate issued");
        let (declined_by, hint) = match why {
            Some(NotIssued::ByPerson) => return told.with("declined_by", "person"),
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
        told.hint = Some(hint);
        told.with("declined_by", declined_by)
    }

    /// Which purchase it was, and what to do next about it.
    fn about(&mut self, intent: &Intent, by_us: bool) {
        let mut put = |member: &str, value: Value| {
            self.context.insert(member.to_owned(), value);
        };
        put("intent_id", json!(intent.id));
        put("intent_state", json!(intent.state));
        if self.code != Code::IntentNotFinal {
            put("idempotency_key", json!(intent.idempotency_key));
            if let Some(mandate) = &intent.mandate {
                put("mandate_id", json!(mandate.mandate_id));
            }
        }
        if let Some(revoked) = resolve::grant_revoked(intent) {
            put("grant_revoked", json!(revoked));
        }
        match self.code {
            Code::IdempotencyConflict if by_us => put("next_step", json!(NEXT_WITHOUT_KEY)),
            Code::IntentNotFinal => put("next_step", json!(advice::to_end(intent))),
            _ if intent.state.is_in_flight() => put("next_step", json!(NEXT_IN_FLIGHT)),
            _ if intent.state.is_final() && intent.was_presented() => {
                put("next_step", json!(NEXT_AFTER_PRESENTED));
                put("may_have_been_paid", json!(intent.may_have_been_paid()));
                if intent.may_have_been_paid() {
                    self.hint = Some(HINT_MAY_HAVE_BEEN_PAID);
                }
            }
            _ => {}
        }
    }
}

fn from_server(tool: Option<Name>, server: &ServerError, code: Code) -> Told {
    if let Some(told) = refused(tool, server, code) {
        return in_context(told, server);
    }
    let status = server.status();
    let words = match (tool, server.stage(), server.error()) {
        (Some(Name::Register) | Some(Name::WalletRegister), Stage::Register, Some(error)) => error.to_owned(),
        (_, Stage::Par, _) => format!("PAR failed: {status}"),
        (_, Stage::Token, error) => joined(format!("token failed: {status}"), error),
        (Some(Name::VerifyMandate), Stage::VerifyMandate, error) => {
            joined(format!("verify-mandate failed: {status}"), error)
        }
        (_, Stage::VerifyMandate, _) => format!("verify-mandate failed: {status}"),
        (Some(Name::ListMerchants) | Some(Name::BrowseMerchant), Stage::Directory | Stage::CatalogPreview, _) => {
            return in_context(told_by_directory(status, code), server);
        }
        (Some(Name::BrowseMerchant), _, _) => return in_context(bad_gateway(), server),
        (Some(Name::BuyCheapest), Stage::Catalog, _) => format!("catalog {status}"),
        (_, stage, _) => format!("{code}: {stage} was answered with HTTP status {status}"),
    };
    in_context(Told::failed(code, words), server)
}

/// What is known of a server's refusal.
fn in_context(mut told: Told, server: &ServerError) -> Told {
    told.hint = match (server.stage(), told.code) {
        // Said of the token by a merchant: what to register for is not its to say.
        (Stage::VerifyMandate, Code::InsufficientScope) => None,
        (_, code) => servers_hint(server, code).or(told.hint),
    };
    let mut told = told.with("stage", server.stage().to_string()).with("http_status", server.status());
    if let Some(error) = server.error() {
        told = told.with("server_error", error);
    }
    if let Some(code) = server.untrusted_code() {
        told = told.with("untrusted_code", code);
    }
    match server.description() {
        Some(description) => told.with("untrusted_server_description", description),
        None => told,
    }
}

/// Status and code, the code being the contract's where it has one for the status; a code that is not listed is left out.
fn told_by_directory(status: u16, code: Code) -> Told {
    let code = match status {
        400 => Code::InvalidFilter,
        404 => Code::NotFound,
        429 => Code::RateLimited,
        500 => Code::ServerError,
        502 => Code::BadGateway,
        _ => code,
    };
    match code {
        Code::DirectoryRefused => Told::failed(code, status),
        code => Told::failed(code, format!("{status} {code}")),
    }
}

/// The merchant behind the directory cannot be had.
fn bad_gateway() -> Told {
    Told::failed(Code::BadGateway, "502 bad_gateway")
}

/// No answer. The contract has words where it is the directory or a merchant's catalog that cannot be reached.
fn from_transport(tool: Option<Name>, stage: Stage, error: &TransportError, code: Code) -> Told {
    let unreachable = matches!(error, TransportError::NotConnected | TransportError::Lost | TransportError::TimedOut);
    let told = match (tool, stage) {
        (Some(Name::ListMerchants) | Some(Name::BrowseMerchant), Stage::Directory | Stage::CatalogPreview)
            if unreachable =>
        {
            Told::failed(code, "fetch failed")
        }
        (Some(Name::BrowseMerchant), _) if unreachable => bad_gateway(),
        (Some(Name::BuyCheapest), Stage::Catalog) if unreachable => Told::failed(code, "catalog 502"),
        (_, Stage::Register) if error.may_have_arrived() => {
            let mut told = Told::ours(code, &format!("{stage}: {error}"));
            told.hint = Some(
                "The setup token may be used up. Call again with the same arguments; if that answers \
                 invalid_software_statement, ask the person for a new one.",
            );
            return told;
        }
        _ => return Told::ours(code, &format!("{stage}: {error}")),
    };
    told.with("stage", stage.to_string()).with("cause", error.to_string())
}

fn joined(words: String, error: Option<&str>) -> String {
    match error {
        Some(error) => format!("{words} {error}"),
        None => words,
    }
}

/// What fixes a server's refusal, where that depends on which request it was.
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

/// The general hint for a code, if there is one.
fn hint(code: Code) -> Option<&'static str> {
    Some(match code {
        Code::InvalidSoftwareStatement => {
            "The setup token is unknown, expired or already used. Ask the person for a new one from their wallet portal."
        }
        Code::InvalidRedirectUri => "Use https redirect URIs, or http ones on a loopback address.",
        Code::InvalidClientMetadata => "Leave out client_name, or give a plain one that is not empty.",
        Code::NotRegistered => "Call agent_register with a setup token from the person's wallet portal.",
        Code::AsUrlNotConfigured => "Use the configured as_url, or ask the operator to change --as-origin.",
        Code::KeysUnusable => "Ask the operator to set or fix the environment variables that the message names.",
        Code::NoRedirectUri => {
            "Register with a redirect_uri like http://127.0.0.1/callback; with OID4PAY_CLIENT_ID set, none is known here."
        }
        Code::RegistrationConfigured => "Go on with agent_payment_initiate.",
        Code::IntentNotFinal => "Repeat the open payment's call until it is settled or refused, then register.",
        Code::InvalidAmount
        | Code::InvalidCurrency
        | Code::InvalidLineItems
        | Code::InvalidUrl
        | Code::VerifyUrlOrigin => "Fix the arguments and call again. Nothing was sent.",
        Code::RedirectUriNotLoopback => "Register and pay with a redirect_uri like http://127.0.0.1/callback.",
        Code::TooManyConsents => "Ask the person to decide on the payments that wait, then call again.",
        Code::OfferPriceMismatch => "Pay the signed price, or ask the person whether they still want the item.",
        Code::OfferCurrencyMismatch => "Pay in the currency of the signed offer.",
        Code::OfferOutOfStock => "The merchant has none left. Nothing was sent to the authorization server.",
        Code::PolicyUnconfirmed => {
            "Ask the person to read the changed policy and run `oid4pay-mcp policy confirm` in a terminal; no tool can do it."
        }
        Code::PolicyUnusable => "Ask the person to fix the policy where the message says; payments stop until then.",
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
            "The person may have revoked this agent in their wallet: ask them, and register again with a new setup token. A \
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
        Code::StoreFailed => "Fix the file as the message says; nothing in it was changed.",
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

/// The documented message for a refusal of the wallet, privacy or audit endpoints, if there is one.
fn refused(tool: Option<Name>, server: &ServerError, code: Code) -> Option<Told> {
    let status = server.status();
    let words = match (tool, server.stage(), status, code) {
        (_, Stage::WalletList | Stage::WalletRevoke, ..) => {
            let said = match code {
                Code::AuthorizationServerRefused => status.to_string(),
                code => format!("{status} {code}"),
            };
            return Some(Told::new(code, format!(" failed ({said}): {}", in_a_sentence(status))));
        }
        (_, Stage::Dsar | Stage::Audit, 401, Code::InvalidToken) => return wants_wallet_session(tool),
        (_, Stage::Audit, 403, Code::PrincipalMismatch) => "principal_id mismatch",
        (_, Stage::Dsar, 429, _) => "rate limited; DSAR caps at 10/day per principal per endpoint",
        (Some(Name::PaymentHistory), Stage::Audit, 429, _) => {
            "rate limited; payment history caps at 30/min per principal"
        }
        (_, Stage::Audit, 429, _) => "rate limited; audit chain caps at 30/min per principal",
        _ => return None,
    };
    Some(Told::failed(code, words))
}

fn in_a_sentence(status: u16) -> &'static str {
    match status {
        401 => "the authorization server does not take this agent's wallet session or its proof",
        403 => "the wallet session is not of the person that this agent is registered for",
        404 => "the person has no agent with this client_id",
        409 => "the agent was revoked before, and all its tokens with it",
        429 => "too many calls; try again later",
        500.. => "the authorization server failed; the same call can be made again without harm",
        _ => "the authorization server refused the call",
    }
}

/// A principal token that may not be sent.
fn unsent(tool: Option<Name>, why: PrincipalTokenError, code: Code) -> Told {
    let known = match why {
        PrincipalTokenError::AgentOnly => wants_wallet_session(tool),
        _ => None,
    };
    known.unwrap_or_else(|| Told::ours(code, &format!("{why}; it was not sent"))).with("sent", false)
}

fn wants_wallet_session(tool: Option<Name>) -> Option<Told> {
    let words = match tool? {
        Name::DsarInitiate => "DSAR requires a wallet-session JWT-AT; agent-only tokens are refused",
        Name::AuditChainQuery => "audit chain query requires a wallet-session JWT-AT",
        Name::PaymentHistory => "payment history query requires a wallet-session JWT-AT",
        _ => return None,
    };
    Some(Told::failed(Code::InvalidToken, words))
}

/// In the contract, the tools that get their token themselves leave out `failed`.
fn insufficient_scope(tool: Option<Name>, scope: WalletScope) -> Told {
    let failed = match tool {
        Some(Name::WalletListAgents | Name::WalletRevokeAgent) => "",
        _ => " failed",
    };
    let words =
        format!("{failed}: insufficient_scope (need {scope}); it is not registered, or the person did not grant it");
    Told::new(Code::InsufficientScope, words)
}

pub(crate) const NEXT_IN_FLIGHT: &str = "Call again with the same arguments, and change none of them: the same purchase is \
presented under the same idempotency_key, which the merchant settles at most once.";

/// The hint of the code would be about a purchase that was refused and not paid.
const HINT_MAY_HAVE_BEEN_PAID: &str = "The refusal is only the merchant's word: it may have been paid, and counts as spent. \
Tell the person, who can find out and say so with `oid4pay-mcp resolve`.";

/// After a presentation there is no second mandate for the same purchase.
pub(crate) const NEXT_AFTER_PRESENTED: &str = "A mandate was presented for this purchase, so the same call only repeats what \
is recorded. Ask the person; a deliberate new attempt needs a new purchase_ref.";

const NEXT_WITHOUT_KEY: &str = "Call again without idempotency_key: the one stored with the mandate is used.";
