//! What a server must do and refuse.

use crate::check::Check;

mod metadata;
mod registration;

/// All checks of servers.
pub(crate) fn checks() -> Vec<Check> {
    [metadata::checks(), registration::checks()].into_iter().flatten().collect()
}
