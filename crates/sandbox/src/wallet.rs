//! What a test does on behalf of the principals: tokens, agents that change hands, disputes.

use serde_json::Value;

use crate::Sandbox;
use crate::principal::{ConsentDecision, WalletError};

/// One of the sandbox's principals.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PrincipalInfo {
    /// The `sub` of tokens and mandates, `principal_` and hexadecimal digits.
    pub id: String,
    /// The name that the portal shows.
    pub name: String,
}

/// How a dispute stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the contract has these three")]
pub enum DisputeStatus {
    /// Filed, and not decided.
    Pending,
    /// Decided for the principal.
    Won,
    /// Decided for the merchant.
    Lost,
}

impl DisputeStatus {
    /// The value of `dispute_status`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Won => "won",
            Self::Lost => "lost",
        }
    }
}

impl Sandbox {
    /// The principals: the one of every demonstration first, then another who must never see the first one's data.
    #[must_use]
    pub fn principals(&self) -> Vec<PrincipalInfo> {
        let principals = self.authorization_server().principals().iter();
        principals
            .map(|principal| PrincipalInfo { id: principal.id.clone(), name: principal.name.to_owned() })
            .collect()
    }

    /// Makes a setup token like [`Sandbox::setup_token`], for this principal. It is a secret.
    ///
    /// # Errors
    ///
    /// - [`WalletError::NoSuchPrincipal`] if there is none of this id.
    /// - [`WalletError::TooMany`] if a hundred thousand are open.
    pub fn setup_token_for(&self, principal_id: &str) -> Result<String, WalletError> {
        let server = self.authorization_server();
        let principal = server.principal(principal_id).ok_or(WalletError::NoSuchPrincipal)?;
        server.mint_setup_token(&principal.id).map_err(|_| WalletError::TooMany)
    }

    /// Makes an opaque bearer token of a principal's, as the portal gives it: good for an hour, for these scopes
    /// (space-separated), at the wallet, audit and privacy endpoints. It is a secret.
    ///
    /// # Errors
    ///
    /// - [`WalletError::NoSuchPrincipal`] if there is none of this id.
    /// - [`WalletError::NoSuchScope`] if the scope is malformed or unknown.
    /// - [`WalletError::TooMany`] if a hundred thousand are open.
    pub fn principal_token(&self, principal_id: &str, scope: &str) -> Result<String, WalletError> {
        self.authorization_server().mint_portal_token(principal_id, scope)
    }

    /// Gives an agent to another principal. Tokens from before still name the one it had, and are refused with 403.
    ///
    /// # Errors
    ///
    /// - [`WalletError::NoSuchPrincipal`], [`WalletError::NoSuchAgent`] if there is none of this id.
    pub fn transfer_agent(&self, client_id: &str, principal_id: &str) -> Result<(), WalletError> {
        self.authorization_server().transfer_agent(client_id, principal_id)
    }

    /// Decides a consent on behalf of a principal, as the portal's page at `consent_url` does.
    ///
    /// # Errors
    ///
    /// - [`WalletError::NoSuchConsent`] if nothing waits there, or it has expired.
    /// - [`WalletError::NotYours`] if another principal has to decide. It still waits.
    /// - [`WalletError::Decided`] if it was decided before.
    pub fn decide(&self, consent_url: &str, principal_id: &str, decision: ConsentDecision) -> Result<(), WalletError> {
        let page_id = consent_url.rsplit('/').next().unwrap_or_default();
        self.authorization_server().decide_consent(page_id, principal_id, decision)
    }

    /// Files or decides a dispute about a settled payment: one more entry in the audit chain.
    ///
    /// # Errors
    ///
    /// - [`WalletError::NoSuchPayment`] if no payment of this id was settled.
    pub fn dispute(&self, payment_intent_id: &str, status: DisputeStatus) -> Result<(), WalletError> {
        let audit = self.authorization_server().audit();
        let is_it = |payload: &Value| payload["payment_intent_id"] == payment_intent_id;
        let (found, _) = audit.select(1, |entry| entry.event == "oid4ac.payment.succeeded" && is_it(&entry.payload));
        let settled = found.into_iter().next().ok_or(WalletError::NoSuchPayment)?;
        let mut payload = settled.payload;
        payload["dispute_status"] = status.name().into();
        audit.append("oid4ac.payment.disputed", settled.actor, payload);
        Ok(())
    }
}
