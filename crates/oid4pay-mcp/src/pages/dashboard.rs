//! What every page is made from.

use oid4pay::policy::PolicySource;
use spend_guard::Ledger;

use super::gate::Gate;
use crate::config::Settings;

/// One principal's dashboard.
pub(super) struct Dashboard {
    pub(super) gate: Gate,
    pub(super) ledger: Ledger,
    pub(super) policy: PolicySource,
    pub(super) settings: Settings,
}
