//! `GET /audit/principal/range`: a principal's own entries of the audit chain.

use std::sync::Arc;

use axum::extract::{Request, State as Extract};
use axum::response::Response;
use http::StatusCode;
use jiff::Timestamp;
use jose::UnixSeconds;
use serde::Serialize;

use super::AuthorizationServer;
use super::rate_limit::Limit;
use super::resource::Wanted;
use crate::audit::Entry;
use crate::error::{Refusal, json};
use crate::form::Form;

/// `GET /audit/principal/range?from&to&event_types&limit`.
pub(super) async fn range(Extract(server): Extract<Arc<AuthorizationServer>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let wanted = Wanted { scope: "audit:read", mismatch: "principal_mismatch" };
    let answer = server.check_session(&parts, &wanted).and_then(|session| {
        let query = Query::read(parts.uri.query())?;
        server.count_call(&LIMIT, &session)?;
        let own = |entry: &Entry| entry.actor.principal_id == session.principal_id;
        let (entries, has_more) = server.audit.select(query.limit, |entry| own(entry) && query.wants(entry));

        #[derive(Serialize)]
        struct Page {
            entries: Vec<Entry>,
            has_more: bool,
            #[serde(skip_serializing_if = "Option::is_none")]
            chain_head: Option<String>,
        }
        Ok(json(StatusCode::OK, &Page { entries, has_more, chain_head: server.audit.signed_head() }))
    });
    server.with_resource_nonce(answer)
}

/// Which entries are asked for.
struct Query {
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    /// Empty for all.
    event_types: Vec<String>,
    limit: usize,
}

impl Query {
    fn read(query: Option<&str>) -> Result<Self, Refusal> {
        let form = Form::from_query(query)?;
        let time = |name: &'static str| match form.get(name).map(str::parse::<Timestamp>) {
            None => Ok(None),
            Some(Ok(time)) => Ok(Some(time)),
            Some(Err(_)) => Err(Refusal::invalid_request(format!("{name} is no RFC 3339 date and time"))),
        };
        let event_types: Vec<String> =
            form.get("event_types").into_iter().flat_map(|list| list.split(',')).map(str::to_owned).collect();
        if !event_types.iter().all(|name| EVENT_TYPES.contains(&name.as_str())) {
            return Err(Refusal::invalid_request("event_types names an event that there is not"));
        }
        let limit = match form.get("limit").map(str::parse::<usize>) {
            None => DEFAULT_LIMIT,
            Some(Ok(limit)) if (1..=MAX_LIMIT).contains(&limit) => limit,
            Some(_) => return Err(Refusal::invalid_request("limit must be an integer from 1 to 200")),
        };
        Ok(Self { from: time("from")?, to: time("to")?, event_types, limit })
    }

    /// Both ends of the range are part of it.
    fn wants(&self, entry: &Entry) -> bool {
        let Ok(at) = Timestamp::from_second(entry.at) else { return false };
        self.from.is_none_or(|from| from <= at)
            && self.to.is_none_or(|to| at <= to)
            && (self.event_types.is_empty() || self.event_types.iter().any(|name| name == entry.event))
    }
}

const LIMIT: Limit = Limit {
    endpoint: "audit",
    calls: 30,
    seconds: MINUTE,
    refusal: "the audit chain can be read 30 times a minute by each principal",
};
const MINUTE: UnixSeconds = 60;
const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 200;
const EVENT_TYPES: [&str; 7] = [
    "oid4ac.mandate.issued",
    "oid4ac.payment.succeeded",
    "oid4ac.payment.failed",
    "oid4ac.payment.disputed",
    "oid4ac.token.revoked",
    "oid4ac.privacy.access",
    "oid4ac.privacy.erasure",
];
