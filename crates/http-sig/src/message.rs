use core::fmt;

use http::HeaderMap;

use crate::uri::TargetUri;

/// A request or a response as signing and verifying see it: borrowed, cheap to build and to copy.
///
/// Which octets a client or a server puts in is the point of a signature, so nothing is normalised on the way in: the
/// target URI is the text that was sent, field values are the octets received.
///
/// # Examples
///
/// ```
/// use http_sig::Message;
///
/// let mut headers = http::HeaderMap::new();
/// headers.insert("content-type", http::HeaderValue::from_static("application/json"));
/// let request = Message::request("GET", "https://shop.example/catalog", &headers)?;
/// let response = Message::response(200, &headers)?.in_reply_to(&request).with_body(b"{}");
/// assert_eq!(response.body(), Some(&b"{}"[..]));
///
/// assert!(Message::request("GET", "/catalog", &headers).is_err(), "the target URI is absolute");
/// # Ok::<(), http_sig::InvalidMessage>(())
/// ```
#[derive(Clone, Copy)]
pub struct Message<'a> {
    pub(crate) start: Start<'a>,
    pub(crate) headers: Fields<'a>,
    pub(crate) trailers: Fields<'a>,
    pub(crate) body: Option<&'a [u8]>,
    pub(crate) field_types: &'a [(&'a str, FieldType)],
}

#[derive(Clone, Copy)]
pub(crate) enum Start<'a> {
    Request { method: &'a str, uri: TargetUri<'a>, request_target: Option<&'a str> },
    Response { status: u16, request: Option<&'a Message<'a>>, req: ReqRule },
}

/// Whether a response's signature has to say `;req` for what it takes from the request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReqRule {
    Required,
    Optional,
}

impl<'a> Message<'a> {
    /// A request. `uri` is the absolute target URI exactly as sent, `http` or `https`; a fragment is dropped.
    ///
    /// # Errors
    ///
    /// - [`InvalidMessage::Method`] if `method` is no token (RFC 9110 §9.1).
    /// - [`InvalidMessage::TargetUri`] if `uri` is relative, of another scheme, has user information, or an octet
    ///   outside visible ASCII.
    pub fn request(method: &'a str, uri: &'a str, headers: impl Into<Fields<'a>>) -> Result<Self, InvalidMessage> {
        if method.is_empty() || !method.bytes().all(is_tchar) {
            return Err(InvalidMessage::Method);
        }
        let uri = TargetUri::parse(uri).ok_or(InvalidMessage::TargetUri)?;
        Ok(Self::new(Start::Request { method, uri, request_target: None }, headers.into()))
    }

    /// A response with its status code. Components of the request need [`Message::in_reply_to`].
    ///
    /// # Errors
    ///
    /// - [`InvalidMessage::Status`] unless `status` has three digits.
    pub fn response(status: u16, headers: impl Into<Fields<'a>>) -> Result<Self, InvalidMessage> {
        if !(100..=999).contains(&status) {
            return Err(InvalidMessage::Status);
        }
        Ok(Self::new(Start::Response { status, request: None, req: ReqRule::Required }, headers.into()))
    }

    fn new(start: Start<'a>, headers: Fields<'a>) -> Self {
        Self { start, headers, trailers: Fields(Repr::Pairs(&[])), body: None, field_types: &[] }
    }

    /// The request that this response answers: what `;req` refers to (RFC 9421 §2.4). No effect on a request.
    #[must_use]
    pub fn in_reply_to(mut self, to: &'a Self) -> Self {
        if let Start::Response { request, .. } = &mut self.start {
            *request = Some(to);
        }
        self
    }

    /// Lets a response's signature cover `@method`, `@target-uri` and the other derived components of the request
    /// *without* `;req`. RFC 9421 §2.4 forbids it; OID4AC's public examples are written so.
    ///
    /// The values still come from the request given to [`Message::in_reply_to`]. Header fields without `;req` are always
    /// the response's own. No effect on a request.
    #[must_use]
    pub fn danger_allow_missing_req(mut self) -> Self {
        if let Start::Response { req, .. } = &mut self.start {
            *req = ReqRule::Optional;
        }
        self
    }

    /// The content as sent, that is with any content coding applied (RFC 9530 §2). With it, a verifier compares every
    /// `Content-Digest` present.
    #[must_use]
    pub fn with_body(mut self, body: &'a [u8]) -> Self {
        self.body = Some(body);
        self
    }

    /// The trailer fields, for components with `;tr` (RFC 9421 §2.1.4).
    #[must_use]
    pub fn with_trailers(mut self, trailers: impl Into<Fields<'a>>) -> Self {
        self.trailers = trailers.into();
        self
    }

    /// The request target of an HTTP/1.1 request line, where it is not the usual one for the URI: the absolute form sent
    /// to a proxy (RFC 9112 §3.2.2). Only `@request-target` reads it. No effect on a response.
    ///
    /// # Errors
    ///
    /// - [`InvalidMessage::TargetUri`] if it is empty or has an octet outside visible ASCII.
    pub fn with_request_target(mut self, target: &'a str) -> Result<Self, InvalidMessage> {
        if target.is_empty() || !target.bytes().all(|octet| octet.is_ascii_graphic()) {
            return Err(InvalidMessage::TargetUri);
        }
        if let Start::Request { request_target, .. } = &mut self.start {
            *request_target = Some(target);
        }
        Ok(self)
    }

    /// The structured types of fields, by lower-case name, for components with `;sf` (RFC 9421 §2.1.1).
    ///
    /// A field not listed is serialised if every structured type that its value parses as gives the same text, which is
    /// so for all but lists and dictionaries that repeat a bare key.
    #[must_use]
    pub fn with_field_types(mut self, field_types: &'a [(&'a str, FieldType)]) -> Self {
        self.field_types = field_types;
        self
    }

    /// The header fields.
    #[must_use]
    pub fn headers(&self) -> Fields<'a> {
        self.headers
    }

    /// The content, if it was given.
    #[must_use]
    pub fn body(&self) -> Option<&'a [u8]> {
        self.body
    }
}

/// Shows the kind of message, the names of its fields and the size of its body. Tokens stand in the rest.
impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.start {
            Start::Request { method, .. } => write!(f, "Message({method}, ")?,
            Start::Response { status, .. } => write!(f, "Message({status}, ")?,
        }
        write!(f, "{:?}, body: {:?})", self.headers, self.body.map(<[u8]>::len))
    }
}

/// The fields of a header or trailer section: a borrowed [`HeaderMap`], or a borrowed list of names and values in the
/// order received.
///
/// Names are compared without regard to case, a name may occur more than once, values are any octets.
#[derive(Clone, Copy)]
pub struct Fields<'a>(Repr<'a>);

#[derive(Clone, Copy)]
enum Repr<'a> {
    Map(&'a HeaderMap),
    Pairs(&'a [(&'a str, &'a [u8])]),
}

impl<'a> Fields<'a> {
    /// The values of every field line of that name, in order, as received.
    pub fn values(self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let (map, pairs) = match self.0 {
            Repr::Map(map) => (Some(map), &[][..]),
            Repr::Pairs(pairs) => (None, pairs),
        };
        let mapped = map.into_iter().flat_map(move |map| map.get_all(name)).map(http::HeaderValue::as_bytes);
        mapped.chain(pairs.iter().filter(move |(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| *value))
    }
}

/// Shows the names only.
impl fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Repr::Map(map) => f.debug_list().entries(map.keys()).finish(),
            Repr::Pairs(pairs) => f.debug_list().entries(pairs.iter().map(|(name, _)| name)).finish(),
        }
    }
}

impl<'a> From<&'a HeaderMap> for Fields<'a> {
    fn from(map: &'a HeaderMap) -> Self {
        Self(Repr::Map(map))
    }
}

impl<'a> From<&'a [(&'a str, &'a [u8])]> for Fields<'a> {
    fn from(pairs: &'a [(&'a str, &'a [u8])]) -> Self {
        Self(Repr::Pairs(pairs))
    }
}

impl<'a, const N: usize> From<&'a [(&'a str, &'a [u8]); N]> for Fields<'a> {
    fn from(pairs: &'a [(&'a str, &'a [u8]); N]) -> Self {
        Self(Repr::Pairs(pairs))
    }
}

/// The top-level types of a structured field (RFC 8941 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "RFC 8941 has these three")]
pub enum FieldType {
    /// `a, b;c, (d e)`
    List,
    /// `a=1, b`
    Dictionary,
    /// `a;b`
    Item,
}

/// Why a message cannot be described.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidMessage {
    /// The method is no token.
    #[error("the method is not a token")]
    Method,
    /// The target URI, or request target, is not one that can be sent.
    #[error("the target is not an absolute http or https URI of visible ASCII characters without user information")]
    TargetUri,
    /// The status code has not three digits.
    #[error("the status code is not a number of three digits")]
    Status,
}

/// RFC 9110 §5.6.2.
pub(crate) fn is_tchar(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet)
}
