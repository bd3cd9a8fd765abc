//! Answers that are not what they should be: what a server check must notice, and what the client must refuse.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use sandbox::LoggedRequest;
use serde_json::{Value, json};

/// What a party that lies makes of an answer.
pub(crate) type Lie = Arc<dyn Fn(&LoggedRequest, Response<Bytes>) -> Response<Bytes> + Send + Sync>;

/// A lie in the answers of one path, or of all that begin so.
pub(crate) fn at(
    path: &'static str,
    change: impl Fn(Response<Bytes>) -> Response<Bytes> + Send + Sync + 'static,
) -> Lie {
    Arc::new(move |request, answer| match request.path.starts_with(path) {
        true => change(answer),
        false => answer,
    })
}

/// Changes the JSON of what was done; refusals stay as they are.
pub(crate) fn json_at(path: &'static str, edit: impl Fn(&mut Value) + Send + Sync + 'static) -> Lie {
    at(path, move |answer| if answer.status().is_client_error() { answer } else { edit_json(answer, &edit) })
}

/// Sets the member at a JSON pointer.
pub(crate) fn set(path: &'static str, pointer: impl Into<String>, value: Value) -> Lie {
    let pointer = pointer.into();
    json_at(path, move |json| put(json, &pointer, value.clone()))
}

/// Leaves out a member of the answer.
pub(crate) fn without(path: &'static str, name: &'static str) -> Lie {
    json_at(path, move |json| {
        if let Some(members) = json.as_object_mut() {
            members.remove(name);
        }
    })
}

/// Sets a header of every answer, or leaves it out.
pub(crate) fn header(path: &'static str, name: &'static str, value: Option<&'static str>) -> Lie {
    at(path, move |mut answer| {
        answer.headers_mut().remove(name);
        if let Some(value) = value {
            answer.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        answer
    })
}

/// A server that takes what it should refuse with this error.
pub(crate) fn accepts(path: &'static str, error: &'static str) -> Lie {
    at(path, move |mut answer| {
        if is_error(&answer, error) {
            *answer.status_mut() = StatusCode::OK;
            *answer.body_mut() = Bytes::from_static(b"{}");
        }
        answer
    })
}

/// A server that refuses with this error where another belongs.
pub(crate) fn confuses(path: &'static str, error: &'static str, with: &'static str) -> Lie {
    at(path, move |answer| match is_error(&answer, error) {
        true => edit_json(answer, &|json: &mut Value| json["error"] = with.into()),
        false => answer,
    })
}

/// A server that refuses what it should do with this status.
pub(crate) fn refuses(path: &'static str, status: StatusCode) -> Lie {
    at(path, move |mut answer| {
        if answer.status() == status {
            *answer.status_mut() = StatusCode::BAD_REQUEST;
            *answer.body_mut() = Bytes::from_static(br#"{"error":"invalid_request"}"#);
        }
        answer
    })
}

/// Changes the answer's JSON, where it has any.
pub(crate) fn edit_json(answer: Response<Bytes>, edit: &(impl Fn(&mut Value) + ?Sized)) -> Response<Bytes> {
    let (parts, body) = answer.into_parts();
    match serde_json::from_slice::<Value>(&body) {
        Ok(mut json) => {
            edit(&mut json);
            Response::from_parts(parts, json.to_string().into())
        }
        Err(_) => Response::from_parts(parts, body),
    }
}

/// Puts a value at a JSON pointer whose parent is there.
pub(crate) fn put(json: &mut Value, pointer: &str, value: Value) {
    if let Some((parent, name)) = pointer.rsplit_once('/') {
        match json.pointer_mut(parent) {
            Some(Value::Object(members)) => drop(members.insert(name.to_owned(), value)),
            Some(Value::Array(list)) => {
                if let Some(element) = name.parse().ok().and_then(|index: usize| list.get_mut(index)) {
                    *element = value;
                }
            }
            _ => {}
        }
    }
}

/// An answer made up from nothing.
pub(crate) fn answer(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut answer = Response::new(body.into());
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    answer.headers_mut().insert("content-type", HeaderValue::from_static(content_type));
    answer
}

fn is_error(answer: &Response<Bytes>, error: &str) -> bool {
    answer.status().is_client_error()
        && serde_json::from_slice::<Value>(answer.body()).is_ok_and(|json| json["error"] == json!(error))
}
