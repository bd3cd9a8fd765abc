//! The humans who pay.

use jose::Rng;

use crate::clock::random_hex;

/// What the wallet knows of a principal. The personal data goes into mandates as disclosures only.
#[derive(Clone)]
pub(crate) struct Principal {
    pub(crate) id: String,
    pub(crate) name: &'static str,
    pub(crate) email: &'static str,
    pub(crate) country: &'static str,
    pub(crate) phone: &'static str,
}

impl Principal {
    /// The person of every demonstration, and another who must never see the first one's data. The telephone numbers are
    /// of ranges kept free for stories.
    pub(crate) fn demo(rng: &dyn Rng) -> [Self; 2] {
        let id = || format!("principal_{}", random_hex::<8>(rng));
        [
            Self {
                id: id(),
                name: "Robin de Wit",
                email: "robin@example.com",
                country: "NL",
                phone: "+31 85 000 0000",
            },
            Self {
                id: id(),
                name: "Kim Lindqvist",
                email: "kim@example.com",
                country: "SE",
                phone: "+46 70 174 06 05",
            },
        ]
    }
}
