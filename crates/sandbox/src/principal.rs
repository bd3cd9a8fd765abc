//! The human who pays.

use jose::Rng;

use crate::clock::random_hex;

/// What the wallet knows of a principal. The personal data goes into mandates as disclosures only.
#[derive(Clone)]
pub(crate) struct Principal {
    pub(crate) id: String,
    pub(crate) email: &'static str,
    pub(crate) country: &'static str,
    pub(crate) phone: &'static str,
}

impl Principal {
    /// The person of every demonstration. The telephone number is of a range kept free for stories.
    pub(crate) fn demo(rng: &dyn Rng) -> Self {
        Self {
            id: format!("principal_{}", random_hex::<8>(rng)),
            email: "robin@example.com",
            country: "NL",
            phone: "+31 85 000 0000",
        }
    }
}
