//! The metadata of an authorization server, once it is checked.

use dpop::Minter;
use jose::Alg;

use crate::Endpoint;
use crate::agent::Agent;

/// What the client needs of an authorization server's metadata, checked.
#[derive(Debug)]
pub(crate) struct Metadata {
    pub(crate) authorization_endpoint: Endpoint,
    pub(crate) par_endpoint: Endpoint,
    pub(crate) token_endpoint: Endpoint,
    pub(crate) registration_endpoint: Option<Endpoint>,
    pub(crate) revocation_endpoint: Option<Endpoint>,
    pub(crate) jwks_uri: Endpoint,
    /// Absent at a server that knows nothing of OID4AC's consent modes.
    pub(crate) consent_modes: Option<Vec<String>>,
    pub(crate) issues_mandates: bool,
    /// Whether authorization responses have `iss` (RFC 9207 §3).
    pub(crate) sends_iss: bool,
    /// How client assertions, and how DPoP proofs, name their algorithm.
    pub(crate) assertion_names: AlgNames,
    pub(super) proof_names: AlgNames,
    pub(crate) wallet_agents_endpoint: Endpoint,
    pub(crate) dsar_endpoint: Endpoint,
    pub(crate) audit_endpoint: Endpoint,
}

/// Which of the two names of EdDSA with an Ed25519 key a server knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AlgNames {
    /// `EdDSA`; also where the server doesn't say.
    Usual,
    /// `Ed25519` alone (RFC 9864 §2.2).
    FullySpecified,
}

impl AlgNames {
    pub(super) fn of(listed: &[String]) -> Self {
        let lists = |name| listed.iter().any(|listed| listed == name);
        match !lists(Alg::EdDsa.name()) && lists(Alg::EdDsa.fully_specified_name()) {
            true => Self::FullySpecified,
            false => Self::Usual,
        }
    }
}

impl Metadata {
    /// What makes proofs for this server.
    pub(crate) fn minter<'a>(&self, agent: &'a Agent) -> &'a Minter {
        match self.proof_names {
            AlgNames::Usual => &agent.minter,
            AlgNames::FullySpecified => agent.fully_specified_minter(),
        }
    }
}
