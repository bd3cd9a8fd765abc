//! `POST /privacy/dsar`: what this server knows of a principal, on their request (GDPR Articles 15 and 20).

use std::sync::Arc;

use axum::extract::{Request, State as Extract};
use axum::response::Response;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use jose::{UnixSeconds, json as strict_json};
use serde::Serialize;
use serde_json::{Value, json};

use super::AuthorizationServer;
use super::body::MAX_BODY;
use super::rate_limit::Limit;
use super::resource::{Session, Wanted};
use super::wallet::ListedAgent;
use crate::audit::{Actor, Entry};
use crate::clock::{random_hex, rfc3339};
use crate::error::{Refusal, json as json_response};
use crate::form::has_media_type;
use crate::server::read_body;

/// `POST /privacy/dsar`.
pub(super) async fn dsar(Extract(server): Extract<Arc<AuthorizationServer>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let answer = match read_body(body, MAX_BODY).await {
        Ok(body) => server.answer_dsar(&parts, &body),
        Err(refusal) => Err(refusal),
    };
    server.with_resource_nonce(answer)
}

/// Which right is exercised.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Right {
    Access,
    Portability,
}

impl AuthorizationServer {
    fn answer_dsar(&self, parts: &Parts, body: &Bytes) -> Result<Response, Refusal> {
        let wanted = Wanted { scope: "privacy:dsar", mismatch: "principal_mismatch" };
        let session = self.check_session(parts, &wanted)?;
        let right = read(&parts.headers, body)?;
        self.count_call(&LIMIT, &session)?;
        let request_id = format!("dsar_{}", random_hex::<8>(self.rng.as_ref()));
        let right_name = if right == Right::Access { "access" } else { "portability" };
        self.audit.append(
            "oid4ac.privacy.access",
            Actor { principal_id: session.principal_id.clone(), agent_client_id: session.client_id.clone() },
            json!({ "request_id": request_id, "right": right_name }),
        );
        Ok(match right {
            Right::Access => json_response(
                StatusCode::ACCEPTED,
                &json!({
                    "request_id": request_id,
                    "status": "queued",
                    "right": right_name,
                    "estimated_delivery": rfc3339(self.clock.now() + DELIVERY_SECONDS),
                    "delivery_channel": "email",
                }),
            ),
            Right::Portability => json_response(StatusCode::OK, &self.everything_about(&session)),
        })
    }

    fn everything_about(&self, session: &Session) -> Everything<'_> {
        let own = |entry: &Entry| entry.actor.principal_id == session.principal_id;
        let (audit_chain, _) = self.audit.select(usize::MAX, own);
        Everything {
            schema_version: "oid4pay.dsar.portability.v1",
            principal: Person { principal_id: session.principal_id.clone(), wallet_operator: self.issuer() },
            agents: self.agents_of(&session.principal_id),
            mandates: about(&audit_chain, "oid4ac.mandate.issued", "issued_at"),
            payments: about(&audit_chain, "oid4ac.payment.succeeded", "processed_at"),
            audit_chain,
        }
    }
}

/// The data, in the form that the portability right asks for.
#[derive(Serialize)]
struct Everything<'a> {
    schema_version: &'static str,
    principal: Person<'a>,
    agents: Vec<ListedAgent>,
    mandates: Vec<Value>,
    payments: Vec<Value>,
    audit_chain: Vec<Entry>,
}

#[derive(Serialize)]
struct Person<'a> {
    principal_id: String,
    wallet_operator: &'a str,
}

/// What the entries of one kind say, each with its time and its agent.
fn about(entries: &[Entry], event: &str, time: &str) -> Vec<Value> {
    let with_time = |entry: &Entry| {
        let mut payload = entry.payload.clone();
        payload[time] = entry.ts.as_str().into();
        payload["agent_client_id"] = entry.actor.agent_client_id.clone().into();
        payload
    };
    entries.iter().filter(|entry| entry.event == event).map(with_time).collect()
}

fn read(headers: &HeaderMap, body: &[u8]) -> Result<Right, Refusal> {
    if !has_media_type(headers, "application/json") {
        return Err(Refusal::invalid_request("the body must be application/json"));
    }
    let members =
        strict_json::parse_object(body).map_err(|error| Refusal::invalid_request(format!("the body: {error}")))?;
    // The right decides the form; the preference is read to be refused when it is nonsense.
    let preference = members.get("delivery_preference").map(Value::as_str);
    if !matches!(preference, None | Some(Some("email" | "synchronous_json"))) {
        return Err(Refusal::invalid_request("delivery_preference must be email or synchronous_json"));
    }
    match members.get("right").and_then(Value::as_str) {
        Some("access") => Ok(Right::Access),
        Some("portability") => Ok(Right::Portability),
        _ => Err(Refusal::invalid_request("right must be access or portability")),
    }
}

const LIMIT: Limit = Limit {
    endpoint: "dsar",
    calls: 10,
    seconds: 86_400,
    refusal: "the data can be asked for 10 times a day by each principal",
};
const DELIVERY_SECONDS: UnixSeconds = 1800;
