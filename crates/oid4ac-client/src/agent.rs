//! The registered agent with its keys.

use std::sync::{Arc, OnceLock};

use dpop::Minter;
use jose::{Alg, Signer as _};

use crate::{HeldMandate, KeyPair, Misuse};

/// A registered agent, for the length of one call.
pub(crate) struct Agent {
    pub(crate) client_id: String,
    pub(crate) keys: Arc<KeyPair>,
    /// For merchants; an authorization server may want another, see `Metadata::minter`.
    pub(crate) minter: Arc<Minter>,
    fully_specified: OnceLock<Minter>,
}

impl Agent {
    pub(crate) fn new(client_id: String, keys: Arc<KeyPair>, minter: Arc<Minter>) -> Self {
        Self { client_id, keys, minter, fully_specified: OnceLock::new() }
    }

    /// Proofs of the same key that name their algorithm as RFC 9864 does.
    pub(crate) fn fully_specified_minter(&self) -> &Minter {
        self.fully_specified.get_or_init(|| self.minter.fully_specified())
    }

    /// Whether the mandate is bound to this agent's key.
    pub(crate) fn holds(&self, mandate: &HeldMandate) -> bool {
        mandate.jkt.as_deref() == Some(self.minter.jkt().as_str())
    }

    /// Presenting a mandate takes an Ed25519 key (KB-JWTs are EdDSA only).
    pub(crate) fn check_can_pay(&self) -> Result<(), Misuse> {
        match self.keys.dpop().public_key().alg() {
            Alg::EdDsa => Ok(()),
            Alg::Es256 => Err(Misuse::DpopKeyCannotPay),
        }
    }
}
