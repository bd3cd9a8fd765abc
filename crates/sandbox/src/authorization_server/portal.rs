//! The wallet portal's page: what the demo principal has agreed to in advance.

use std::sync::Arc;

use axum::extract::State as Extract;
use axum::response::Response;

use super::{AuthorizationServer, page};
use crate::config::StandingApproval;

/// `GET /portal`.
pub(super) async fn portal(Extract(server): Extract<Arc<AuthorizationServer>>) -> Response {
    let approval = match server.standing_approval {
        StandingApproval::AnyAmount => "any amount".to_owned(),
        StandingApproval::UpToMinor(cap) => format!("up to {cap} minor units for each payment"),
        StandingApproval::None => "nothing: every payment is declined".to_owned(),
    };
    let merchants: String = server.merchants.iter().map(|origin| format!("<li><code>{origin}</code></li>")).collect();
    let body = format!(
        "<p>The demo principal of this sandbox has approved payments in advance, for each agent that is registered with \
         one of its setup tokens: <strong>{approval}</strong>, at these merchants:</p><ul>{merchants}</ul>\
         <p>Nothing here is real money.</p>"
    );
    page(http::StatusCode::OK, "Sandbox wallet", &body)
}
