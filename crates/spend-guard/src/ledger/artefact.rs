//! What is kept beside an intent.

/// What belongs to an intent and is kept beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Artefact {
    /// The signed offers: body, signature fields and key, as the caller writes them.
    Offers,
    /// The claims of the access token; never the token.
    AccessTokenClaims,
    /// The SD-JWT with its disclosures.
    Mandate,
    /// The key of the authorization server that the mandate was verified by.
    IssuerKey,
    /// What the merchant gave for the key-binding JWT to answer.
    MerchantNonce,
    /// A presentation that was, or was about to be, sent.
    Presentation,
    /// The receipt.
    Receipt,
    /// The key of the merchant that the receipt was verified by.
    ReceiptKey,
    /// The item that a "cheapest" purchase picked, as the caller writes it.
    Item,
    /// What the agent added.
    Attachment,
    /// The caller's own record of a step, for going on in another process.
    Step,
}

impl Artefact {
    const ALL: [Self; 11] = [
        Self::Offers,
        Self::AccessTokenClaims,
        Self::Mandate,
        Self::IssuerKey,
        Self::MerchantNonce,
        Self::Presentation,
        Self::Receipt,
        Self::ReceiptKey,
        Self::Item,
        Self::Attachment,
        Self::Step,
    ];

    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|artefact| artefact.as_str() == name)
    }

    /// The name as stored and shown: `access_token_claims`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Offers => "offers",
            Self::AccessTokenClaims => "access_token_claims",
            Self::Mandate => "mandate",
            Self::IssuerKey => "issuer_key",
            Self::MerchantNonce => "merchant_nonce",
            Self::Presentation => "presentation",
            Self::Receipt => "receipt",
            Self::ReceiptKey => "receipt_key",
            Self::Item => "item",
            Self::Attachment => "attachment",
            Self::Step => "step",
        }
    }
}
