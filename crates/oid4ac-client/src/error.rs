use core::fmt;

use jose::{InvalidJwk, JwsError, SignError};

use crate::{InvalidMoney, InvalidUrl, JournalError, Stage, StoreError, TransportError, remote, untrusted, words};

/// What went wrong, split by whose turn it is to fix it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The call itself cannot be carried out as it stands. Nothing was sent.
    #[error(transparent)]
    Misuse(#[from] Misuse),
    /// The store or the journal on this machine failed.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// No answer was received.
    #[error("{stage}: {error}")]
    Transport {
        /// Which request.
        stage: Stage,
        /// What happened to it.
        #[source]
        error: TransportError,
    },
    /// A server answered with an error.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// A peer sent something that does not hold: a bad signature, a wrong binding, a price that is not the offer's.
    #[error(transparent)]
    PeerMisbehaved(#[from] Misbehaviour),
    /// The authorization server lacks something that this protocol needs.
    #[error(transparent)]
    PeerIncompatible(#[from] Incompatibility),
    /// A signing key could not be used.
    #[error(transparent)]
    Crypto(#[from] SignError),
}

impl Error {
    /// Whether the same call may succeed later without anything being changed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            // A server that codes one answer unasked does so with the next.
            Self::Transport { error, .. } => *error != TransportError::Encoded,
            Self::Server(error) => error.is_retryable(),
            Self::Misuse(_)
            | Self::Local(_)
            | Self::PeerMisbehaved(_)
            | Self::PeerIncompatible(_)
            | Self::Crypto(_) => false,
        }
    }

    /// A stable name for the failure, in snake case. `docs/errors.md` lists them.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Misuse(misuse) => misuse.code(),
            Self::Local(LocalError::Store(_)) => "store_failed",
            Self::Local(LocalError::Journal(_)) => "journal_failed",
            Self::Local(LocalError::Listener(_)) => "listener_failed",
            Self::Local(LocalError::ClockAhead { .. }) => "clock_ahead",
            Self::Transport { error, .. } => error.code(),
            Self::Server(error) => error.code(),
            Self::PeerMisbehaved(misbehaviour) => misbehaviour.code(),
            Self::PeerIncompatible(_) => "as_incompatible",
            Self::Crypto(_) => "key_unusable",
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::Local(LocalError::Store(error))
    }
}

impl From<JournalError> for Error {
    fn from(error: JournalError) -> Self {
        Self::Local(LocalError::Journal(error))
    }
}

/// A failure of this machine itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocalError {
    /// Of the store (keys, registration, session).
    #[error(transparent)]
    Store(StoreError),
    /// Of the journal. The step it was to record has not been taken.
    #[error(transparent)]
    Journal(JournalError),
    /// Of the listener on 127.0.0.1 that a person's browser is to come back to.
    #[error("no port of 127.0.0.1 could be listened on: {0}")]
    Listener(#[source] std::io::Error),
    /// The clock is more than five minutes ahead of the authorization server's. What was to be sent was not.
    #[error(
        "this machine's clock says {local}, the authorization server's {server}: it is more than five minutes ahead, and \
         has to be corrected before anything is paid"
    )]
    ClockAhead {
        /// Ours, RFC 3339.
        local: String,
        /// The server's, RFC 3339.
        server: String,
    },
}

/// A call that cannot be carried out as it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Misuse {
    /// There is no registration at this authorization server yet.
    #[error("agent is not registered yet; call agent_register first")]
    NotRegistered,
    /// The named URL is not usable.
    #[error("{what} is not usable: {why}")]
    Url {
        /// Which URL.
        what: &'static str,
        /// Why.
        #[source]
        why: InvalidUrl,
    },
    /// The amount or currency is not usable.
    #[error("{0}")]
    Money(#[from] InvalidMoney),
    /// The verify URL has another origin than the merchant.
    #[error("merchant_verify_url has the origin {verify}, the merchant's is {merchant}: nothing was sent")]
    VerifyOrigin {
        /// Origin of the verify URL.
        verify: String,
        /// The merchant's origin.
        merchant: String,
    },
    /// No directory was configured.
    #[error("no directory is configured: set --discovery-url or OID4PAY_DISCOVERY_URL")]
    NoDirectory,
    /// A filter of the directory's list that cannot be right.
    #[error("the filter `{0}` is not usable")]
    Filter(&'static str),
    /// A merchant id with characters that no id has.
    #[error("merchant_id must be of letters, digits, `_`, `:` and `-`")]
    MerchantId,
    /// An agent's client id that is empty or longer than 256 octets.
    #[error("agent_client_id must have 1 to 256 octets")]
    AgentClientId,
    /// A principal token that this agent may not send.
    #[error("{0}")]
    PrincipalToken(#[from] crate::PrincipalTokenError),
    /// The mandate in a presentation is for another merchant than the one it was to be sent to.
    #[error("the mandate is for {mandate}, the verify URL's origin is {verify}: nothing was sent")]
    MandateAudience {
        /// The mandate's audience.
        mandate: String,
        /// Origin of the verify URL.
        verify: String,
    },
    /// The line items given with a presentation are not its mandate's.
    #[error("line_items are not those of the mandate: nothing was sent")]
    MandateLineItems,
    /// The line items do not make up the purchase.
    #[error("line_items: {0}")]
    LineItems(LineItemsError),
    /// `consent_mode_hint` names a mode that the authorization server does not list.
    #[error("consent_mode_hint {0:?} is not among the modes that the authorization server lists")]
    ConsentMode(String),
    /// At this authorization server a person's browser has to come back to this machine.
    #[error(
        "this authorization server asks the person in their browser, which needs a redirect_uri of the form \
         http://127.0.0.1/callback: nothing was sent"
    )]
    RedirectUriNotLoopback,
    /// As many authorizations wait for a person's browser as one client lets wait.
    #[error("too many authorizations wait for the person's browser; let them decide on those first")]
    TooManyConsents,
    /// The DPoP key cannot pay: KB-JWTs are EdDSA only.
    #[error("the DPoP key is not Ed25519, and a mandate can only be presented by an Ed25519 key: run `keys rotate`")]
    DpopKeyCannotPay,
    /// The merchant serves no offer for this SKU, and there is no human approval that could stand in for it.
    #[error(
        "the merchant signs no offer for {sku:?}; without one, every line needs a unit price and a human's approval"
    )]
    OfferMissing {
        /// The SKU.
        sku: String,
    },
}

impl Misuse {
    fn code(&self) -> &'static str {
        match self {
            Self::NotRegistered => "not_registered",
            Self::Url { .. } => "invalid_url",
            Self::Money(InvalidMoney::Amount) => "invalid_amount",
            Self::Money(InvalidMoney::Currency) => "invalid_currency",
            Self::VerifyOrigin { .. } => "verify_url_origin",
            Self::NoDirectory => "no_directory",
            Self::Filter(_) => "invalid_filter",
            Self::MerchantId => "invalid_merchant_id",
            Self::AgentClientId => "invalid_agent_client_id",
            Self::PrincipalToken(error) => error.code(),
            Self::MandateAudience { .. } => "mandate_audience_mismatch",
            Self::MandateLineItems => "mandate_line_items_mismatch",
            Self::LineItems(_) => "invalid_line_items",
            Self::ConsentMode(_) => "unsupported_consent_mode",
            Self::RedirectUriNotLoopback => "redirect_uri_not_loopback",
            Self::TooManyConsents => "too_many_consents",
            Self::DpopKeyCannotPay => "dpop_key_cannot_pay",
            Self::OfferMissing { .. } => "offer_missing",
        }
    }
}

/// What is wrong with line items.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineItemsError {
    /// None, or more than 100.
    #[error("there must be 1 to 100 of them")]
    Count,
    /// A SKU that is empty or longer than 200 octets.
    #[error("line {0}: the SKU must have 1 to 200 octets")]
    Sku(usize),
    /// A quantity of 0 or beyond 1,000,000.
    #[error("line {0}: qty must be 1 to 1000000")]
    Quantity(usize),
    /// A line in another currency than the purchase.
    #[error("line {0}: its currency is not the purchase's")]
    Currency(usize),
    /// Two lines with one SKU and different unit prices.
    #[error("line {0}: the SKU stands on an earlier line at another unit price")]
    Conflict(usize),
    /// The priced lines do not add up.
    #[error("they add up to {sum}, the amount is {amount} (minor units)")]
    Sum {
        /// Of the lines.
        sum: u64,
        /// Of the purchase.
        amount: u64,
    },
}

/// An error answer (RFC 6749 §5.2 and the like).
///
/// Its code counts only where the protocol lists it for the request. Any other, if it reads like a code at all, is kept as
/// [`ServerError::untrusted_code`]; a description is kept cut to 200 characters without control characters. Both are a
/// stranger's words, and no message has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerError {
    stage: Stage,
    status: u16,
    code: RemoteCode,
    description: Option<String>,
}

/// The `error` member of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
enum RemoteCode {
    /// One that the protocol lists for the request.
    Listed(&'static str),
    /// Another, where it reads like a code.
    Unlisted(Option<String>),
    /// There is none.
    Absent,
}

impl ServerError {
    pub(crate) fn new(stage: Stage, status: u16, code: Option<&str>, description: Option<&str>) -> Self {
        let code = match code {
            None => RemoteCode::Absent,
            Some(code) => match remote::listed(stage, code) {
                Some(listed) => RemoteCode::Listed(listed),
                None => RemoteCode::Unlisted(untrusted::code(code).map(str::to_owned)),
            },
        };
        let description = description.map(|text| untrusted::clean(text, 200)).filter(|text| !text.is_empty());
        Self { stage, status, code, description }
    }

    /// One whose [`Error::code`] was recorded.
    pub(crate) fn recorded(stage: Stage, status: u16, code: &str) -> Self {
        let code = remote::listed(stage, code).map_or(RemoteCode::Unlisted(None), RemoteCode::Listed);
        Self { stage, status, code, description: None }
    }

    /// A merchant's refusal of a presentation, as it was recorded.
    #[must_use]
    pub fn recorded_refusal(status: u16, code: &str) -> Self {
        Self::new(Stage::VerifyMandate, status, Some(code), None)
    }

    /// Which request was answered.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// The HTTP status code.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The `error` member of the body, if the protocol lists this code for the request.
    #[must_use]
    pub fn error(&self) -> Option<&'static str> {
        match self.code {
            RemoteCode::Listed(code) => Some(code),
            RemoteCode::Unlisted(_) | RemoteCode::Absent => None,
        }
    }

    /// Whether the code is one by which a merchant refuses a purchase. With another status than the protocol's, or once
    /// something may have settled, it is no refusal, however much it sounds like one.
    #[must_use]
    pub fn sounds_like_a_refusal(&self) -> bool {
        self.stage == Stage::VerifyMandate && self.error().is_some_and(remote::is_refusal)
    }

    /// The `error` member of the body where the protocol does not list it: at most 64 letters, digits, `.`, `_`, `:` and `-`
    /// from a stranger.
    #[must_use]
    pub fn untrusted_code(&self) -> Option<&str> {
        match &self.code {
            RemoteCode::Unlisted(code) => code.as_deref(),
            RemoteCode::Listed(_) | RemoteCode::Absent => None,
        }
    }

    /// The `error_description` member: text from a stranger.
    #[must_use]
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// The listed code, else our own for a refusal.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self.code {
            RemoteCode::Listed(code) => code,
            RemoteCode::Unlisted(_) => remote::refused(self.stage),
            RemoteCode::Absent => remote::NO_CODE,
        }
    }

    fn is_retryable(&self) -> bool {
        self.status >= 500 || self.status == 429 || self.error() == Some("temporarily_unavailable")
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed: {}", self.stage, self.status)?;
        match self.error() {
            Some(code) => write!(f, " {code}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ServerError {}

/// Something a peer sent that does not hold: what it was and which rule it broke.
#[derive(Clone, Debug, PartialEq)]
pub struct Misbehaviour {
    what: Artefact,
    why: Why,
}

impl Misbehaviour {
    pub(crate) fn new(what: Artefact, why: impl Into<Why>) -> Self {
        Self { what, why: why.into() }
    }

    /// What was refused.
    #[must_use]
    pub fn what(&self) -> Artefact {
        self.what
    }

    /// The rule that it broke.
    #[must_use]
    pub fn why(&self) -> &Why {
        &self.why
    }

    fn code(&self) -> &'static str {
        match (self.what, &self.why) {
            (Artefact::Offer, Why::OutOfStock) => "offer_out_of_stock",
            (Artefact::Offer, Why::Price { .. }) => "offer_price_mismatch",
            (Artefact::Offer, Why::Currency) => "offer_currency_mismatch",
            (Artefact::Mandate, Why::Expired) => "mandate_expired",
            (Artefact::Mandate, Why::Revoked) => "mandate_status_revoked",
            (what, _) => what.code(),
        }
    }
}

impl fmt::Display for Misbehaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} refused: {}", self.what, self.why)
    }
}

impl std::error::Error for Misbehaviour {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.why.source()
    }
}

/// A thing that a peer sends and this client checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Artefact {
    /// Authorization server metadata.
    Metadata,
    /// A JWK set.
    Jwks,
    /// A registration answer.
    Registration,
    /// A signed offer.
    Offer,
    /// A signed catalog.
    Catalog,
    /// The directory's answer.
    Directory,
    /// The answer of the PAR endpoint.
    PushedRequest,
    /// What came back from the authorization endpoint or a poll.
    AuthorizationResponse,
    /// The answer of the token endpoint.
    TokenResponse,
    /// A JWT access token.
    AccessToken,
    /// A mandate.
    Mandate,
    /// The status list.
    StatusList,
    /// The merchant's answer to a presentation.
    Settlement,
    /// A receipt.
    Receipt,
    /// The answer to a call on the principal's data.
    WalletAnswer,
}

impl Artefact {
    fn code(self) -> &'static str {
        match self {
            Self::Metadata => "metadata_invalid",
            Self::Jwks => "jwks_invalid",
            Self::Registration => "registration_invalid",
            Self::Offer => "offer_invalid",
            Self::Catalog => "catalog_invalid",
            Self::Directory => "directory_invalid",
            Self::PushedRequest => "pushed_request_invalid",
            Self::AuthorizationResponse => "authorization_response_invalid",
            Self::TokenResponse => "token_response_invalid",
            Self::AccessToken => "access_token_invalid",
            Self::Mandate => "mandate_invalid",
            Self::StatusList => "status_list_invalid",
            Self::Settlement => "settlement_invalid",
            Self::Receipt => "receipt_invalid",
            Self::WalletAnswer => "wallet_answer_invalid",
        }
    }
}

impl fmt::Display for Artefact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Metadata => "authorization server metadata",
            Self::Jwks => "JWK set",
            Self::Registration => "registration answer",
            Self::Offer => "offer",
            Self::Catalog => "catalog",
            Self::Directory => "directory's answer",
            Self::PushedRequest => "PAR answer",
            Self::AuthorizationResponse => "authorization response",
            Self::TokenResponse => "token answer",
            Self::AccessToken => "access token",
            Self::Mandate => "mandate",
            Self::StatusList => "status list",
            Self::Settlement => "verify-mandate answer",
            Self::Receipt => "receipt",
            Self::WalletAnswer => "wallet answer",
        })
    }
}

/// The rule that was broken, in our own words: no message has a peer's.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Why {
    /// Not the JSON that belongs there: where.
    #[error("its JSON is not as expected at `{0}`")]
    Json(String),
    /// A member is missing or malformed.
    #[error("`{0}` is missing or malformed")]
    Member(&'static str),
    /// A member does not have the value it must have.
    #[error("`{0}` is not the one expected")]
    Mismatch(&'static str),
    /// The JWS does not hold.
    #[error("{}", words::Jws(.0))]
    Jws(JwsError),
    /// A field without which nothing proves whose words these are.
    #[error("missing signed field {0:?}")]
    Unsigned(&'static str),
    /// A key does not hold.
    #[error(transparent)]
    Jwk(#[from] InvalidJwk),
    /// The SD-JWT does not hold.
    #[error("{}", words::SdJwt(.0))]
    SdJwt(sd_jwt::VerifyError),
    /// The HTTP message signature does not hold.
    #[error("{}", words::HttpSignature(.0))]
    HttpSignature(http_sig::VerifyError),
    /// No key of the peer's set has the `kid`.
    #[error("no key of the signer's JWK set has its kid")]
    UnknownKey,
    /// It has expired.
    #[error("it has expired")]
    Expired,
    /// It is not valid yet.
    #[error("it is not valid yet")]
    NotYetValid,
    /// It lives longer than the protocol allows.
    #[error("it lives longer than {max_seconds} seconds")]
    LivesTooLong {
        /// The longest life allowed.
        max_seconds: i64,
    },
    /// It has been revoked.
    #[error("it has been revoked")]
    Revoked,
    /// The signed price times the quantity is not the amount.
    #[error("the signed price makes {signed}, the amount asked for is {asked} (minor units)")]
    Price {
        /// What the offers make.
        signed: u64,
        /// What the caller asked to pay.
        asked: u64,
    },
    /// The offer is in another currency.
    #[error("its currency is not the purchase's")]
    Currency,
    /// The item is not in stock.
    #[error("the item is out of stock")]
    OutOfStock,
    /// A URL points away from where it must.
    #[error("`{0}` has another origin than it must have")]
    Origin(&'static str),
    /// An HTTP status that does not belong to the protocol here.
    #[error("HTTP status {0} is not expected here")]
    Status(u16),
    /// The scope granted lacks something asked for.
    #[error("the scope granted lacks {0:?}")]
    Scope(String),
    /// The compressed list does not decode.
    #[error("its encoded list does not decode")]
    EncodedList,
}

// By hand: a source would be told beside the message, and has the peer's words in it.
impl From<JwsError> for Why {
    fn from(error: JwsError) -> Self {
        Self::Jws(error)
    }
}

impl From<sd_jwt::VerifyError> for Why {
    fn from(error: sd_jwt::VerifyError) -> Self {
        Self::SdJwt(error)
    }
}

impl From<http_sig::VerifyError> for Why {
    fn from(error: http_sig::VerifyError) -> Self {
        Self::HttpSignature(error)
    }
}

/// What an authorization server's metadata lacks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Incompatibility {
    /// A member without which this protocol cannot be spoken.
    #[error("the authorization server's metadata has no `{0}`")]
    MissingMember(&'static str),
    /// A list that lacks a value that is needed.
    #[error("the authorization server's metadata does not list {value:?} in `{member}`")]
    MissingValue {
        /// The metadata member.
        member: &'static str,
        /// What it should list.
        value: &'static str,
    },
}
