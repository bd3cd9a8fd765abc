//! What a server must do and refuse.

use crate::check::Check;

mod audit;
mod authorize;
mod claims;
mod client_auth;
mod consent;
mod directory;
mod dpop;
mod merchant_token;
mod metadata;
mod offer;
mod par;
mod presentation;
mod registration;
mod revocation;
mod settlement;
mod status_list;
mod token;
mod wallet;

/// All checks of servers.
pub(crate) fn checks() -> Vec<Check> {
    [
        metadata::checks(),
        registration::checks(),
        client_auth::checks(),
        dpop::checks(),
        par::checks(),
        authorize::checks(),
        token::checks(),
        revocation::checks(),
        presentation::checks(),
        merchant_token::checks(),
        settlement::checks(),
        claims::checks(),
        status_list::checks(),
        offer::checks(),
        directory::checks(),
        consent::checks(),
        wallet::checks(),
        audit::checks(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
