//! The mandate that an intent holds, as far as the ledger knows it.

use jose::UnixSeconds;
use serde::{Deserialize, Serialize};

/// What is known of a mandate. The SD-JWT itself is an artefact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "the caller fills it from the verified mandate")]
pub struct Mandate {
    /// Its id.
    pub mandate_id: String,
    /// Its cap.
    pub cap_minor: u64,
    /// Its `exp`.
    pub expires_at: UnixSeconds,
}
