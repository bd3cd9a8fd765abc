//! What the client must refuse: one lie at a time by a server, a directory or a merchant.

use crate::check::Check;

mod authorization;
mod offers;
mod tokens;

/// All checks of the client.
pub(crate) fn checks() -> Vec<Check> {
    [authorization::checks(), tokens::checks(), offers::checks()].into_iter().flatten().collect()
}
