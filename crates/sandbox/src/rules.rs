//! Every rule that a party of the sandbox enforces, by name, in one place.
//!
//! A conformance suite proves that it tests something by switching off one rule at a time and seeing a check fail. Rules that
//! no peer could break without a private key of the sandbox have no switch.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Declares the rules once: the enum, the list of all, the names.
macro_rules! rules {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A rule that a party of the sandbox enforces.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Rule {
            $($(#[$doc])* $variant,)*
        }

        impl Rule {
            /// All rules.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The rule's name, `place.rule`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

rules! {
    /// A setup token is one that was issued.
    SetupTokenKnown = "register.setup_token_known",
    /// A setup token works once.
    SetupTokenOnce = "register.setup_token_once",
    /// Redirect URIs are `https`, or `http` on a loopback host.
    RedirectUriScheme = "register.redirect_uri_scheme",
    /// Redirect URIs have no fragment and no user information.
    RedirectUriForm = "register.redirect_uri_form",
    /// The assertion key and the DPoP key are two.
    KeysDiffer = "register.keys_differ",
    /// `jwks` holds the assertion key and nothing else.
    OneAssertionKey = "register.one_assertion_key",
    /// A client registers for `private_key_jwt`.
    AuthMethod = "register.auth_method",
    /// A client registers scopes that exist.
    RegisteredScopeKnown = "register.scope_known",

    /// An assertion names its client as `iss` and `sub`.
    AssertionSubject = "client_auth.subject",
    /// An assertion's `aud` is one of three strings.
    AssertionAudience = "client_auth.audience",
    /// An assertion has not expired.
    AssertionExpiry = "client_auth.expiry",
    /// An assertion lives 300 s at most.
    AssertionLifetime = "client_auth.lifetime",
    /// An assertion was not issued in the future.
    AssertionIssuedAt = "client_auth.issued_at",
    /// An assertion's `jti` is used once.
    AssertionReplay = "client_auth.replay",

    /// A proof's nonce is a live one.
    ProofNonce = "dpop.nonce",
    /// A proof's `jti` is used once.
    ProofReplay = "dpop.replay",
    /// A proof is made with the registered key.
    ProofKey = "dpop.key",

    /// PAR: `client_id` is the authenticated client.
    ParClientId = "par.client_id",
    /// PAR: no `request_uri` inside (RFC 9126 §2.1).
    ParNoRequestUri = "par.no_request_uri",
    /// PAR: `response_type` is `code`.
    ParResponseType = "par.response_type",
    /// PAR: `state` is long enough to be unguessable.
    ParState = "par.state",
    /// PAR: `code_challenge` is there and well-formed.
    ParCodeChallenge = "par.code_challenge",
    /// PAR: `code_challenge_method` is `S256`.
    ParCodeChallengeMethod = "par.code_challenge_method",
    /// PAR: `redirect_uri` is a registered one.
    ParRedirectUri = "par.redirect_uri",
    /// PAR: `scope` is within the registration.
    ParScope = "par.scope",
    /// PAR: `resource` is a known merchant or the server itself.
    ParResource = "par.resource",
    /// PAR: `dpop_jkt` is the proof's key.
    ParDpopJkt = "par.dpop_jkt",
    /// PAR: `consent_mode_hint` is a mode on offer.
    ParConsentModeHint = "par.consent_mode_hint",
    /// PAR: a merchant resource needs a payment scope, the server's own refuses one.
    ParPaymentScope = "par.payment_scope",
    /// PAR: a merchant resource needs `authorization_details`, the server's own refuses them.
    ParDetailsFitResource = "par.details_fit_resource",
    /// PAR: the client registered for `oid4ac_mandate`.
    ParDetailsRegistered = "par.details_registered",
    /// PAR: a payment is bound to an Ed25519 key.
    ParPaymentKey = "par.payment_key",
    /// `authorization_details`: exactly one `oid4ac_mandate`.
    DetailsType = "details.type",
    /// `authorization_details`: only members that are known.
    DetailsMembers = "details.members",
    /// `authorization_details`: a whole amount of at least 1.
    DetailsAmount = "details.amount",
    /// `authorization_details`: an ISO 4217 currency.
    DetailsCurrency = "details.currency",
    /// `authorization_details`: `merchant` equals `resource`.
    DetailsMerchant = "details.merchant",
    /// `authorization_details`: line items with distinct SKUs and quantities of at least 1.
    DetailsLineItems = "details.line_items",
    /// `authorization_details`: priced line items add up.
    DetailsSum = "details.sum",
    /// `authorization_details`: `offer_digest` has 43 characters.
    DetailsOfferDigest = "details.offer_digest",

    /// A request URI works once.
    RequestUriOnce = "authorize.request_uri_once",
    /// A request URI lives 60 s.
    RequestUriExpiry = "authorize.request_uri_expiry",
    /// A request URI belongs to the client that pushed it.
    RequestUriClient = "authorize.request_uri_client",
    /// Without a standing approval there is no code.
    StandingApproval = "authorize.standing_approval",

    /// Only the principal for whom the client was registered decides.
    ConsentPrincipal = "consent.principal",
    /// A consent is decided once.
    ConsentOnce = "consent.once",
    /// A consent is decided and collected in time.
    ConsentExpiry = "consent.expiry",
    /// A poll is answered to the key that pushed the request.
    PollKey = "consent.poll_key",
    /// Polls keep their interval.
    PollRate = "consent.poll_rate",
    /// A form of the portal carries its visitor's token.
    PortalForm = "portal.form",

    /// A code works once.
    CodeOnce = "token.code_once",
    /// A code used twice revokes everything issued for it.
    CodeCascade = "token.code_cascade",
    /// A code lives 60 s.
    CodeExpiry = "token.code_expiry",
    /// A code belongs to its client.
    CodeClient = "token.code_client",
    /// The token request repeats `redirect_uri`.
    TokenRedirectUri = "token.redirect_uri",
    /// The verifier fits the challenge.
    TokenCodeVerifier = "token.code_verifier",
    /// The token request repeats `resource`.
    TokenResource = "token.resource",
    /// A refresh token belongs to its client.
    RefreshClient = "token.refresh_client",
    /// A refresh token is good until it is rotated.
    RefreshRotation = "token.refresh_rotation",
    /// An old refresh token revokes the family.
    RefreshCascade = "token.refresh_cascade",
    /// A refresh token expires.
    RefreshExpiry = "token.refresh_expiry",
    /// A refresh asks for no more scope than was granted.
    RefreshScope = "token.refresh_scope",
    /// Only the owner may revoke a token.
    RevokeClient = "revoke.client",
    /// Only the owner learns about a token.
    IntrospectClient = "introspect.client",

    /// A token sent to the wallet, audit or privacy endpoint is a principal's, live, for this server and this key.
    ResourceAccessToken = "resource.access_token",
    /// A proof sent there holds.
    ResourceProof = "resource.proof",
    /// A token sent there has the scope.
    ResourceScope = "resource.scope",
    /// A token sent there is of the principal whose agent sends it.
    ResourcePrincipal = "resource.principal",
    /// A principal asks only so often.
    ResourceRate = "resource.rate",

    /// A token sent to a merchant is one for this merchant, this key and this mandate.
    MerchantAccessToken = "merchant.access_token",
    /// A proof sent to a merchant holds.
    MerchantProof = "merchant.proof",
    /// A mandate is for this merchant.
    MandateAudience = "merchant.mandate_audience",
    /// A mandate is valid now.
    MandateTimes = "merchant.mandate_times",
    /// A mandate is not revoked.
    MandateStatus = "merchant.mandate_status",
    /// A KB-JWT is for this merchant.
    KeyBindingAudience = "merchant.kb_audience",
    /// A KB-JWT answers a live challenge or offer.
    KeyBindingNonce = "merchant.kb_nonce",
    /// A KB-JWT covers the presentation.
    KeyBindingHash = "merchant.kb_sd_hash",
    /// A KB-JWT is fresh.
    KeyBindingIssuedAt = "merchant.kb_issued_at",
    /// A KB-JWT is spent once.
    KeyBindingOnce = "merchant.kb_once",
    /// One key, one result.
    Idempotency = "merchant.idempotency",
    /// Line items are the mandate's.
    LineItems = "merchant.line_items",
    /// The offer id is the mandate's.
    OfferId = "merchant.offer_id",
    /// The offer is one that this merchant signed.
    OfferKnown = "merchant.offer_known",
    /// The goods are there.
    Stock = "merchant.stock",
    /// The cap is not exceeded.
    Cap = "merchant.cap",
}

/// Which rules are enforced: all of them, unless a test took some away.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    off: Vec<Rule>,
    decisive: Arc<Mutex<HashSet<Rule>>>,
}

impl Rules {
    pub(crate) fn switch_off(&mut self, rule: Rule) {
        self.off.push(rule);
    }

    /// Whether `rule` is enforced.
    pub(crate) fn enforced(&self, rule: Rule) -> bool {
        self.decisive.lock().unwrap_or_else(PoisonError::into_inner).insert(rule);
        !self.off.contains(&rule)
    }

    /// Refuses when `rule` is enforced and does not hold.
    pub(crate) fn require<E>(&self, rule: Rule, holds: bool, refusal: impl FnOnce() -> E) -> Result<(), E> {
        if holds || !self.enforced(rule) { Ok(()) } else { Err(refusal()) }
    }

    /// The rules for which it has mattered, or could have mattered, whether they are enforced. Rules that always held
    /// are not among them.
    pub(crate) fn decisive(&self) -> HashSet<Rule> {
        self.decisive.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
