//! The members of a mandate that a merchant acts on, read after its signature was checked.

use jose::{Thumbprint, UnixSeconds};
use serde::Deserialize;
use serde_json::{Map, Value};

/// A mandate whose issuer's signature was checked.
pub(super) struct Mandate {
    pub(super) id: String,
    pub(super) principal_id: String,
    pub(super) jkt: Thumbprint,
    pub(super) not_before: UnixSeconds,
    pub(super) expires_at: UnixSeconds,
    pub(super) details: Details,
    pub(super) status: CredentialStatus,
}

/// The element of `authorization_details`.
#[derive(Clone, Deserialize)]
pub(super) struct Details {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) amount_minor: u64,
    pub(super) currency: String,
    pub(super) merchant: String,
    pub(super) line_items: Vec<LineItem>,
    pub(super) offer_digest: Option<String>,
    pub(super) offer_id: Option<String>,
}

/// So many of that, in a mandate and in the body of a presentation.
#[derive(Clone, Deserialize)]
pub(super) struct LineItem {
    pub(super) sku: String,
    pub(super) qty: u64,
    pub(super) unit_price_minor: Option<u64>,
}

/// Where to look whether the mandate was revoked (W3C StatusList2021).
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CredentialStatus {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) status_purpose: String,
    pub(super) status_list_index: String,
    pub(super) status_list_credential: String,
}

impl Mandate {
    /// Reads the claims. `None` if one is missing or malformed.
    pub(super) fn read(claims: &Map<String, Value>) -> Option<Self> {
        #[derive(Deserialize)]
        struct Claims {
            mandate_id: String,
            sub: String,
            cnf: Confirmation,
            nbf: UnixSeconds,
            exp: UnixSeconds,
            authorization_details: [Details; 1],
            #[serde(rename = "credentialStatus")]
            credential_status: CredentialStatus,
        }
        #[derive(Deserialize)]
        struct Confirmation {
            jkt: String,
        }
        let read = Claims::deserialize(Value::Object(claims.clone())).ok()?;
        let [details] = read.authorization_details;
        let digest_fits = details.offer_digest.as_ref().is_none_or(|digest| digest.len() == OFFER_DIGEST_LEN);
        let fits = details.kind == "oid4ac_mandate" && !details.line_items.is_empty() && digest_fits;
        fits.then_some(Self {
            id: read.mandate_id,
            principal_id: read.sub,
            jkt: Thumbprint::parse(&read.cnf.jkt)?,
            not_before: read.nbf,
            expires_at: read.exp,
            details,
            status: read.credential_status,
        })
    }

    /// The SKUs, in line order.
    pub(super) fn skus(&self) -> Vec<&str> {
        self.details.line_items.iter().map(|line| line.sku.as_str()).collect()
    }

    /// What goes into the KB-JWT's nonce beside the merchant's: the digest as it stands, or nothing.
    pub(super) fn offer_digest(&self) -> &str {
        self.details.offer_digest.as_deref().unwrap_or_default()
    }
}

const OFFER_DIGEST_LEN: usize = 43;
