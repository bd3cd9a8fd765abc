//! The closed list of what a refusal can be called.

macro_rules! codes {
    ($($(#[$about:meta])* $variant:ident = $text:literal,)*) => {
        /// Our own codes. What a stranger calls its refusal is no member of this type: it becomes one only where the protocol
        /// lists it for the request that was made.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $(
                #[doc = concat!("`", $text, "`")]
                $(#[$about])*
                $variant,
            )*
        }

        impl Code {
            /// Every code, in the order of `docs/errors.md`.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The code as callers see it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}

codes! {
    // Before anything is sent.
    NotRegistered = "not_registered",
    AsUrlNotConfigured = "as_url_not_configured",
    RegistrationConfigured = "registration_configured",
    IntentNotFinal = "intent_not_final",
    InvalidUrl = "invalid_url",
    InvalidAmount = "invalid_amount",
    InvalidCurrency = "invalid_currency",
    InvalidLineItems = "invalid_line_items",
    InvalidIdempotencyKey = "invalid_idempotency_key",
    InvalidArguments = "invalid_arguments",
    VerifyUrlOrigin = "verify_url_origin",
    MandateAudienceMismatch = "mandate_audience_mismatch",
    UnsupportedConsentMode = "unsupported_consent_mode",
    RedirectUriNotLoopback = "redirect_uri_not_loopback",
    TooManyConsents = "too_many_consents",
    DpopKeyCannotPay = "dpop_key_cannot_pay",
    OfferMissing = "offer_missing",
    InvalidMerchantId = "invalid_merchant_id",
    InvalidFilter = "invalid_filter",
    InvalidCountry = "invalid_country",
    InvalidAgentClientId = "invalid_agent_client_id",
    InvalidResource = "invalid_resource",
    NoRedirectUri = "no_redirect_uri",
    PrincipalTokenIssuer = "principal_token_issuer",
    PrincipalTokenAudience = "principal_token_audience",
    PrincipalTokenExpired = "principal_token_expired",
    PrincipalTokenAgentOnly = "principal_token_agent_only",
    PrincipalTokenOtherKey = "principal_token_other_key",
    PrincipalTokenMalformed = "principal_token_malformed",
    ReadOnly = "read_only",
    NotInToolset = "not_in_toolset",
    NoDirectory = "no_directory",
    // On this machine.
    StoreFailed = "store_failed",
    KeysUnusable = "keys_unusable",
    KeyUnusable = "key_unusable",
    JournalFailed = "journal_failed",
    TrustedKeysUnusable = "trusted_keys_unusable",
    ListenerFailed = "listener_failed",
    LedgerFailed = "ledger_failed",
    LedgerBusy = "ledger_busy",
    LedgerRolledBack = "ledger_rolled_back",
    LedgerAltered = "ledger_altered",
    ClockAhead = "clock_ahead",
    // The policy on this machine.
    PolicyUnusable = "policy_unusable",
    PolicyUnconfirmed = "policy_unconfirmed",
    PolicyChanged = "policy_changed",
    Frozen = "frozen",
    CurrencyNotAllowed = "currency_not_allowed",
    MerchantDenied = "merchant_denied",
    MerchantNotAllowed = "merchant_not_allowed",
    RuleDenied = "rule_denied",
    PerTransactionExceeded = "per_transaction_exceeded",
    BudgetExceeded = "budget_exceeded",
    VelocityExceeded = "velocity_exceeded",
    // The person's approval on this machine.
    ApprovalRejected = "approval_rejected",
    ApprovalMissing = "approval_missing",
    ApprovalExpired = "approval_expired",
    ApprovalMismatch = "approval_mismatch",
    AlreadyApproved = "already_approved",
    RequestStateSpent = "request_state_spent",
    // The purchase.
    IntentInProgress = "intent_in_progress",
    PaymentsStopped = "payments_stopped",
    NoMatchingItem = "no_matching_item",
    AllItemsDisqualified = "all_items_disqualified",
    DeclarationMismatch = "declaration_mismatch",
    CapNotAllowed = "cap_not_allowed",
    NotPaid = "not_paid",
    ResolvedAsPaid = "resolved_as_paid",
    ResolvedAsNotPaid = "resolved_as_not_paid",
    NothingToResolve = "nothing_to_resolve",
    NoSuchIntent = "no_such_intent",
    NoPaymentToProve = "no_payment_to_prove",
    TooManyAttachments = "too_many_attachments",
    IllegalStep = "illegal_step",
    Declined = "declined",
    ConsentExpired = "consent_expired",
    UnexpectedOutcome = "unexpected_outcome",
    CallCancelled = "call_cancelled",
    DeadlineExceeded = "deadline_exceeded",
    // No answer.
    NotConnected = "not_connected",
    ConnectionLost = "connection_lost",
    TimedOut = "timed_out",
    AnswerEncoded = "answer_encoded",
    AnswerTooLarge = "answer_too_large",
    ForbiddenAddress = "forbidden_address",
    // An answer that does not hold.
    OfferInvalid = "offer_invalid",
    OfferPriceMismatch = "offer_price_mismatch",
    OfferCurrencyMismatch = "offer_currency_mismatch",
    OfferOutOfStock = "offer_out_of_stock",
    CatalogInvalid = "catalog_invalid",
    DirectoryInvalid = "directory_invalid",
    WalletAnswerInvalid = "wallet_answer_invalid",
    AccessTokenInvalid = "access_token_invalid",
    MandateInvalid = "mandate_invalid",
    MandateExpired = "mandate_expired",
    MandateStatusRevoked = "mandate_status_revoked",
    StatusListInvalid = "status_list_invalid",
    MetadataInvalid = "metadata_invalid",
    AsIncompatible = "as_incompatible",
    JwksInvalid = "jwks_invalid",
    RegistrationInvalid = "registration_invalid",
    PushedRequestInvalid = "pushed_request_invalid",
    AuthorizationResponseInvalid = "authorization_response_invalid",
    TokenResponseInvalid = "token_response_invalid",
    SettlementInvalid = "settlement_invalid",
    ReceiptInvalid = "receipt_invalid",
    // Said by a server, and listed for the request; the first four are ours for what is not.
    ServerError = "server_error",
    AuthorizationServerRefused = "authorization_server_refused",
    MerchantRefused = "merchant_refused",
    DirectoryRefused = "directory_refused",
    UnsupportedResponseType = "unsupported_response_type",
    UnsupportedGrantType = "unsupported_grant_type",
    InvalidSoftwareStatement = "invalid_software_statement",
    UnapprovedSoftwareStatement = "unapproved_software_statement",
    InvalidRedirectUri = "invalid_redirect_uri",
    InvalidClientMetadata = "invalid_client_metadata",
    InvalidRequest = "invalid_request",
    InvalidClient = "invalid_client",
    UnauthorizedClient = "unauthorized_client",
    InvalidScope = "invalid_scope",
    InvalidTarget = "invalid_target",
    InvalidAuthorizationDetails = "invalid_authorization_details",
    InvalidGrant = "invalid_grant",
    LoginRequired = "login_required",
    ConsentRequired = "consent_required",
    InteractionRequired = "interaction_required",
    AccountSelectionRequired = "account_selection_required",
    InvalidDpopProof = "invalid_dpop_proof",
    UseDpopNonce = "use_dpop_nonce",
    AccessDenied = "access_denied",
    TemporarilyUnavailable = "temporarily_unavailable",
    InvalidToken = "invalid_token",
    InsufficientScope = "insufficient_scope",
    Forbidden = "forbidden",
    PrincipalMismatch = "principal_mismatch",
    Conflict = "conflict",
    MandateKbAudienceMismatch = "mandate_kb_audience_mismatch",
    MandateKbNonceMismatch = "mandate_kb_nonce_mismatch",
    MandateNonceRequired = "mandate_nonce_required",
    MandateSignatureInvalid = "mandate_signature_invalid",
    MandateLineItemsMismatch = "mandate_line_items_mismatch",
    MandateOfferUnknown = "mandate_offer_unknown",
    MandateNotYetValid = "mandate_not_yet_valid",
    MandateStatusUnavailable = "mandate_status_unavailable",
    OfferAmountExceedsMandate = "offer_amount_exceeds_mandate",
    IdempotencyConflict = "idempotency_conflict",
    IdempotencyInProgress = "idempotency_in_progress",
    NotFound = "not_found",
    BadGateway = "bad_gateway",
    RateLimited = "rate_limited",
}

impl Code {
    /// The code of this name, if it is one of ours.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text)
    }
}

impl core::fmt::Display for Code {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}
