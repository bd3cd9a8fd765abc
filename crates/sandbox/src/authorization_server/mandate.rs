//! The mandate: an SD-JWT VC that says what a principal lets an agent buy (RFC 9901).

use jose::TokenHeader;
use sd_jwt::Issuance;
use serde_json::{Value, json};

use super::AuthorizationServer;
use super::authorization_details::MandateRequest;
use super::grant::Grant;
use crate::error::Refusal;

/// A mandate about to be issued.
pub(super) struct NewMandate<'a> {
    pub(super) id: &'a str,
    pub(super) grant: &'a Grant,
    pub(super) request: &'a MandateRequest,
    pub(super) status_index: usize,
}

impl AuthorizationServer {
    /// Signs the mandate: issuer-signed JWT and disclosures, ending in `~`.
    pub(super) fn sign_mandate(&self, mandate: &NewMandate<'_>) -> Result<String, Refusal> {
        let now = self.clock.now();
        let principal = self.principal(mandate.grant.subject()).ok_or_else(Refusal::server_error)?;
        let list = &self.endpoints.status_list;
        let mut details = serde_json::to_value(mandate.request).map_err(|_| Refusal::server_error())?;
        details["capabilities"] = json!(["payment:initiate"]);
        details["step_up_triggers"] = json!([]);
        let claims = json!({
            "iss": self.issuer(),
            "sub": mandate.grant.subject(),
            "aud": mandate.request.merchant,
            "iat": now,
            "nbf": now,
            "exp": now + self.mandate_ttl_seconds,
            "vct": VCT,
            "cnf": { "jkt": mandate.grant.dpop_jkt },
            "authorization_details": [details],
            "oid4ac_version": "1.0",
            "mandate_id": mandate.id,
            "credentialStatus": {
                "id": format!("{list}#{}", mandate.status_index),
                "type": "StatusList2021Entry",
                "statusPurpose": "revocation",
                "statusListIndex": mandate.status_index.to_string(),
                "statusListCredential": list,
            },
            "principal_email": principal.email,
            "principal_country": principal.country,
            "principal_phone": principal.phone,
            // Where the standing approval was given: in this process.
            "consent_evidence": { "ip": "127.0.0.1", "user_agent": "oid4ac-sandbox-wallet" },
        });
        let Value::Object(claims) = claims else { return Err(Refusal::server_error()) };
        let signer = self.keys.current();
        Issuance::new(claims)
            .disclosable("principal_email")
            .disclosable("principal_country")
            .disclosable("principal_phone")
            .disclosable(["consent_evidence", "ip"])
            .disclosable(["consent_evidence", "user_agent"])
            .sign(&signer.key, &TokenHeader::new("vc+sd-jwt").kid(&signer.kid), self.rng.as_ref())
            .map_err(|_| Refusal::server_error())
    }
}

const VCT: &str = "https://schema.oid4pay.com/oid4ac/mandate/v1";
