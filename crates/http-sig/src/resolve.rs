//! From component identifiers to the signature base (RFC 9421 §2.2 to §2.5).

use core::fmt::Write as _;

use url::form_urlencoded;

use crate::component::{Derived, Name, Param};
use crate::field;
use crate::message::{ReqRule, Start};
use crate::uri::TargetUri;
use crate::{Component, Message, SignatureParams, Unresolved};

/// Builds the signature base (RFC 9421 §2.5). Its last line holds the components and parameters in the order given.
pub(crate) fn signature_base(
    components: &[Component],
    params: &SignatureParams,
    message: &Message<'_>,
) -> Result<String, UnresolvedComponent> {
    let mut base = String::with_capacity(512);
    for component in components {
        component.write(&mut base);
        base.push_str(": ");
        write_value(component, message, &mut base)
            .map_err(|reason| UnresolvedComponent { component: component.clone(), reason })?;
        base.push('\n');
    }
    base.push_str("\"@signature-params\": ");
    write_signature_params(components, params, &mut base);
    Ok(base)
}

/// The member value of `Signature-Input`, which is also the value of `@signature-params` (RFC 9421 §2.3).
pub(crate) fn write_signature_params(components: &[Component], params: &SignatureParams, out: &mut String) {
    out.push('(');
    for (index, component) in components.iter().enumerate() {
        if index > 0 {
            out.push(' ');
        }
        component.write(out);
    }
    out.push(')');
    params.write(out);
}

fn write_value(component: &Component, message: &Message<'_>, out: &mut String) -> Result<(), Unresolved> {
    let source = match (component.is_req(), &message.start) {
        (false, _) => message,
        (true, Start::Response { request, .. }) => request.ok_or(Unresolved::NoRequest)?,
        (true, Start::Request { .. }) => return Err(Unresolved::ReqInRequest),
    };
    match component.kind() {
        Name::Field(name) => write_field(name, component.params(), source, out),
        Name::Derived(Derived::Status) => match source.start {
            Start::Response { status, .. } => {
                // Writing to a `String` cannot fail.
                let _ = write!(out, "{status}");
                Ok(())
            }
            Start::Request { .. } => Err(Unresolved::StatusOfRequest),
        },
        Name::Derived(derived) => {
            let request = match source.start {
                Start::Request { .. } => source,
                // `;req` was followed to something that is no request.
                Start::Response { .. } if component.is_req() => return Err(Unresolved::NoRequest),
                Start::Response { req: ReqRule::Required, .. } => return Err(Unresolved::NeedsReq),
                Start::Response { req: ReqRule::Optional, request, .. } => request.ok_or(Unresolved::NoRequest)?,
            };
            let Start::Request { method, uri, request_target } = &request.start else {
                return Err(Unresolved::NoRequest);
            };
            write_derived(*derived, component.params(), method, uri, *request_target, out)
        }
    }
}

fn write_field(name: &str, params: &[Param], source: &Message<'_>, out: &mut String) -> Result<(), Unresolved> {
    let fields = if params.contains(&Param::Tr) { source.trailers } else { source.headers };
    // `key` implies strict serialisation (RFC 9421 §2.1.2), so an `sf` beside it adds nothing.
    let key = params.iter().find_map(|param| if let Param::Key(key) = param { Some(key) } else { None });
    if let Some(key) = key {
        field::write_member(fields, name, key.as_str(), out)
    } else if params.contains(&Param::Sf) {
        let known = source.field_types.iter().find(|(listed, _)| *listed == name).map(|(_, kind)| *kind);
        field::write_strict(fields, name, known, out)
    } else if params.contains(&Param::Bs) {
        field::write_binary(fields, name, out)
    } else {
        field::write_combined(fields, name, out)
    }
}

fn write_derived(
    derived: Derived,
    params: &[Param],
    method: &str,
    uri: &TargetUri<'_>,
    request_target: Option<&str>,
    out: &mut String,
) -> Result<(), Unresolved> {
    match derived {
        Derived::Method => out.push_str(method),
        Derived::TargetUri => uri.write_target(method, out),
        Derived::Authority => uri.write_authority(out),
        Derived::Scheme => uri.write_scheme(out),
        Derived::RequestTarget => match request_target {
            Some(target) => out.push_str(target),
            None => uri.write_request_target(method, out),
        },
        Derived::Path => out.push_str(uri.path()),
        Derived::Query => {
            out.push('?');
            out.push_str(uri.query());
        }
        Derived::QueryParam => {
            let name = params.iter().find_map(|param| if let Param::Name(name) = param { Some(name) } else { None });
            return write_query_param(uri.query(), name.map_or("", |name| name.as_str()), out);
        }
        Derived::Status => return Err(Unresolved::StatusOfRequest),
    }
    Ok(())
}

/// RFC 9421 §2.2.8. `wanted` is the name as it is encoded in an identifier.
fn write_query_param(query: &str, wanted: &str, out: &mut String) -> Result<(), Unresolved> {
    let mut found = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| {
        let mut encoded = String::new();
        write_form_encoded(name, &mut encoded);
        encoded == wanted
    });
    let (_, value) = found.next().ok_or(Unresolved::NoQueryParam)?;
    // "If a parameter name occurs multiple times in a request, the named query parameter MUST NOT be included."
    if found.next().is_some() {
        return Err(Unresolved::QueryParamRepeated);
    }
    write_form_encoded(&value, out);
    Ok(())
}

/// Percent-encodes with the `application/x-www-form-urlencoded` set, a space as `%20` and not `+`.
fn write_form_encoded(text: &str, out: &mut String) {
    for piece in form_urlencoded::byte_serialize(text.as_bytes()) {
        out.push_str(if piece == "+" { "%20" } else { piece });
    }
}

/// A covered component has no value in this message (RFC 9421 §2.5).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{component}: {reason}")]
#[non_exhaustive]
pub struct UnresolvedComponent {
    /// The component.
    pub component: Component,
    /// Why.
    pub reason: Unresolved,
}
