//! The codes that a server may give an error.
//!
//! A code is a stranger's word. Only those that the protocol lists for a request are taken up; any other is kept apart, for
//! people to read, and nothing is decided by it.

use crate::Stage;

/// The code of an error answer, if the protocol lists it for this request.
#[must_use]
pub fn listed(stage: Stage, code: &str) -> Option<&'static str> {
    let lists: &[&[&'static str]] = match stage {
        Stage::Register => &[ANY, REGISTRATION],
        Stage::Par | Stage::Authorize | Stage::Poll | Stage::Token | Stage::Revoke => {
            &[ANY, AUTHORIZATION, AUTHENTICATION, DPOP]
        }
        Stage::WalletList | Stage::WalletRevoke => &[ANY, RESOURCE, DPOP, &["forbidden", "conflict", "not_found"]],
        Stage::Dsar | Stage::Audit => &[ANY, RESOURCE, DPOP, &["principal_mismatch", "not_found"]],
        Stage::Directory | Stage::CatalogPreview => &[ANY, &["invalid_filter", "not_found", "bad_gateway"]],
        Stage::VerifyMandate => &[ANY, RESOURCE, DPOP, &REFUSALS, PRESENTATION, &["not_found", "bad_gateway"]],
        Stage::Metadata | Stage::Jwks | Stage::StatusList | Stage::Offer | Stage::Catalog => {
            &[ANY, &["not_found", "bad_gateway"]]
        }
    };
    lists.iter().flat_map(|list| list.iter()).copied().find(|listed| *listed == code)
}

/// Our own code for a refusal whose code is not listed.
pub(crate) fn refused(stage: Stage) -> &'static str {
    match stage {
        Stage::Offer | Stage::Catalog | Stage::VerifyMandate => "merchant_refused",
        Stage::Directory | Stage::CatalogPreview => "directory_refused",
        // Merchants and authorization servers both have key sets.
        Stage::Jwks => NO_CODE,
        Stage::Metadata
        | Stage::Register
        | Stage::Par
        | Stage::Authorize
        | Stage::Poll
        | Stage::Token
        | Stage::Revoke
        | Stage::StatusList
        | Stage::WalletList
        | Stage::WalletRevoke
        | Stage::Dsar
        | Stage::Audit => "authorization_server_refused",
    }
}

/// What an error without a code is called.
pub(crate) const NO_CODE: &str = "server_error";

/// OAuth's own for trouble of any kind, and what a limit of calls is called.
const ANY: &[&str] = &["invalid_request", "server_error", "temporarily_unavailable", "rate_limited"];

/// RFC 7591 §3.2.2, and a scope that cannot be registered.
const REGISTRATION: &[&str] = &[
    "invalid_software_statement",
    "unapproved_software_statement",
    "invalid_redirect_uri",
    "invalid_client_metadata",
    "invalid_scope",
];

/// RFC 6749 §4.1.2.1 and §5.2, RFC 8707 §2, RFC 9396 §5; RFC 9126 takes all of them over.
const AUTHORIZATION: &[&str] = &[
    "invalid_client",
    "unauthorized_client",
    "access_denied",
    "unsupported_response_type",
    "unsupported_grant_type",
    "invalid_scope",
    "insufficient_scope",
    "invalid_grant",
    "invalid_target",
    "invalid_authorization_details",
    "invalid_redirect_uri",
];

/// OpenID Connect Core 1.0 §3.1.2.6.
const AUTHENTICATION: &[&str] =
    &["login_required", "consent_required", "interaction_required", "account_selection_required"];

/// RFC 9449 §5 to §9.
const DPOP: &[&str] = &["invalid_dpop_proof", "use_dpop_nonce"];

/// RFC 6750 §3.1.
const RESOURCE: &[&str] = &["invalid_token", "insufficient_scope"];

/// The codes by which a merchant refuses a first presentation (protocol, section 13). Nothing else is a refusal, whatever its
/// status. Not among them: what is about the presentation alone, and `idempotency_conflict`, which proves that our key was
/// used.
pub(crate) const REFUSALS: [&str; 11] = [
    "mandate_audience_mismatch",
    "mandate_kb_audience_mismatch",
    "mandate_status_revoked",
    "mandate_expired",
    "mandate_not_yet_valid",
    "mandate_signature_invalid",
    "mandate_line_items_mismatch",
    "mandate_offer_unknown",
    "offer_out_of_stock",
    "offer_amount_exceeds_mandate",
    "invalid_request",
];

/// What else a merchant says to a presentation: nothing that decides about the purchase.
const PRESENTATION: &[&str] = &[
    "mandate_kb_nonce_mismatch",
    "mandate_nonce_required",
    "mandate_status_unavailable",
    "idempotency_conflict",
    "idempotency_in_progress",
];

/// Whether a merchant refuses a purchase by this code.
pub(crate) fn is_refusal(code: &str) -> bool {
    REFUSALS.contains(&code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_listed_only_where_the_protocol_has_it() {
        assert_eq!(listed(Stage::VerifyMandate, "mandate_expired"), Some("mandate_expired"));
        assert_eq!(listed(Stage::Token, "mandate_expired"), None);
        assert_eq!(listed(Stage::VerifyMandate, "invalid_software_statement"), None);
        for ours in ["policy_unconfirmed", "not_registered", "frozen", "declined", "merchant_refused", ""] {
            assert_eq!(listed(Stage::VerifyMandate, ours), None, "{ours}");
            assert_eq!(listed(Stage::Par, ours), None, "{ours}");
        }
    }
}
