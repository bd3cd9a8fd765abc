//! How a sandbox is to be set up for a check.

use sandbox::{ConsentMode, StandingApproval};

/// How a sandbox is to be set up for a check. Other targets are as they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) consent_mode: ConsentMode,
    pub(crate) standing_approval: StandingApproval,
}

impl Setup {
    pub(crate) const DEFAULT: Self =
        Self { consent_mode: ConsentMode::Auto, standing_approval: StandingApproval::AnyAmount };
}
