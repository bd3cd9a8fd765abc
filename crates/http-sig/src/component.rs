use core::fmt;

use sfv::{BareItem, ItemSerializer, Parser, Version};

use crate::ContentDigest;
use crate::message::is_tchar;

/// A component identifier (RFC 9421 §2): the name of a header field or of a derived component, with its parameters in
/// the order received.
///
/// Only identifiers that RFC 9421 allows exist: names in lower case, known parameters, none that exclude each other. Two
/// identifiers are equal whatever the order of their parameters (§2).
///
/// # Examples
///
/// ```
/// use http_sig::{Component, InvalidComponent};
///
/// let component = Component::parse("content-digest")?;
/// assert_eq!(component.to_string(), r#""content-digest""#);
/// assert_eq!(Component::parse("@method;req")?, Component::parse(r#""@method";req"#)?);
/// assert_eq!(Component::parse("date;sf;bs"), Err(InvalidComponent::Incompatible("sf", "bs")));
/// # Ok::<(), InvalidComponent>(())
/// ```
#[derive(Clone, Eq)]
pub struct Component {
    name: Name,
    params: Vec<Param>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Field(Box<str>),
    Derived(Derived),
}

/// RFC 9421 §2.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Derived {
    Method,
    TargetUri,
    Authority,
    Scheme,
    RequestTarget,
    Path,
    Query,
    QueryParam,
    Status,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Param {
    Sf,
    Key(sfv::String),
    Bs,
    Tr,
    Req,
    Name(sfv::String),
}

impl Component {
    /// Reads an identifier, either as in `Signature-Input` (`"@query-param";name="id"`), or with the quotes around
    /// the name left out (`@method;req`).
    ///
    /// # Errors
    ///
    /// - [`InvalidComponent::Malformed`] if the text is no structured string with parameters.
    /// - [`InvalidComponent::FieldName`] if the name is neither a field name in lower case nor starts with `@`.
    /// - [`InvalidComponent::UnknownDerived`] for a name with `@` that RFC 9421 §2.2 does not list, and for
    ///   `@signature-params`, which is never listed.
    /// - [`InvalidComponent::UnknownParameter`] for a parameter other than `sf`, `key`, `bs`, `tr`, `req` and `name`.
    /// - [`InvalidComponent::MalformedParameter`] if a flag has a value, or `key` or `name` no string.
    /// - [`InvalidComponent::Incompatible`] for `bs` beside `sf` or `key`, and for a parameter that the component does
    ///   not have: `name` on a field, `sf`, `key`, `bs` or `tr` on a derived component, `req` on `@status`.
    /// - [`InvalidComponent::QueryParamName`] if `@query-param` has no `name`.
    pub fn parse(text: &str) -> Result<Self, InvalidComponent> {
        let quoted;
        let text = if text.starts_with('"') {
            text
        } else {
            let (name, params) = text.split_at(text.find(';').unwrap_or(text.len()));
            if name.contains(['"', '\\']) {
                return Err(InvalidComponent::Malformed);
            }
            quoted = format!("\"{name}\"{params}");
            &quoted
        };
        let item = Parser::new(text).with_version(Version::Rfc8941).parse().map_err(|_| InvalidComponent::Malformed)?;
        Self::from_item(item)
    }

    pub(crate) fn content_digest() -> Self {
        Self { name: Name::Field(ContentDigest::FIELD.into()), params: Vec::new() }
    }

    pub(crate) fn from_item(item: sfv::Item) -> Result<Self, InvalidComponent> {
        let BareItem::String(name) = item.bare_item else { return Err(InvalidComponent::Malformed) };
        let name = Name::parse(name.as_str())?;
        let params = item.params.into_iter().map(|(key, value)| Param::parse(key.as_str(), value));
        let params = params.collect::<Result<Vec<_>, _>>()?;
        let component = Self { name, params };
        component.check()?;
        Ok(component)
    }

    fn check(&self) -> Result<(), InvalidComponent> {
        let has = |wanted: &str| self.params.iter().any(|param| param.name() == wanted);
        for other in ["sf", "key"] {
            if has("bs") && has(other) {
                return Err(InvalidComponent::Incompatible(other, "bs"));
            }
        }
        let excluded: &[&'static str] = match &self.name {
            Name::Field(_) => &["name"],
            Name::Derived(Derived::QueryParam) => &["sf", "key", "bs", "tr"],
            Name::Derived(Derived::Status) => &["sf", "key", "bs", "tr", "name", "req"],
            Name::Derived(_) => &["sf", "key", "bs", "tr", "name"],
        };
        if let Some(param) = excluded.iter().find(|param| has(param)) {
            let kind = if matches!(self.name, Name::Field(_)) { "field" } else { "derived component" };
            return Err(InvalidComponent::Incompatible(param, kind));
        }
        if self.name == Name::Derived(Derived::QueryParam) && !has("name") {
            return Err(InvalidComponent::QueryParamName);
        }
        Ok(())
    }

    /// The name alone: `content-type`, `@method`.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.name {
            Name::Field(name) => name,
            Name::Derived(derived) => derived.name(),
        }
    }

    /// Whether it is taken from the request that a response answers (`;req`, RFC 9421 §2.4).
    #[must_use]
    pub fn is_req(&self) -> bool {
        self.params.contains(&Param::Req)
    }

    pub(crate) fn kind(&self) -> &Name {
        &self.name
    }

    pub(crate) fn params(&self) -> &[Param] {
        &self.params
    }

    /// Appends the identifier as a structured item (RFC 8941 §4.1.3), parameters in the order received.
    pub(crate) fn write(&self, out: &mut String) {
        out.push('"');
        // A checked name: nothing in it needs escaping.
        out.push_str(self.name());
        out.push('"');
        for param in &self.params {
            out.push(';');
            out.push_str(param.name());
            if let Param::Key(value) | Param::Name(value) = param {
                out.push('=');
                let _ = ItemSerializer::with_buffer(&mut *out).bare_item(&**value).finish();
            }
        }
    }

    /// Whether a signature that covers `self` has what a verifier asks for with `wanted`.
    ///
    /// `sf` and `bs` are other spellings of a whole field's value and count as the field. In a response a derived
    /// component of the request is the same with and without `;req`; whether it may stand without is the message's rule.
    pub(crate) fn satisfies(&self, wanted: &Self, in_response: bool) -> bool {
        let of_request = |component: &Self| match component.name {
            Name::Derived(derived) => in_response && derived != Derived::Status,
            Name::Field(_) => component.is_req(),
        };
        let spelling = |param: &&Param| matches!(param, Param::Sf | Param::Bs | Param::Req);
        let selects = |component: &Self, other: &Self| {
            component.params.iter().filter(|param| !spelling(param)).all(|param| other.params.contains(param))
        };
        self.name == wanted.name
            && of_request(self) == of_request(wanted)
            && selects(self, wanted)
            && selects(wanted, self)
    }
}

impl PartialEq for Component {
    fn eq(&self, other: &Self) -> bool {
        // A parameter occurs once: the structured-field parser sees to it.
        self.name == other.name
            && self.params.len() == other.params.len()
            && self.params.iter().all(|param| other.params.contains(param))
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.write(&mut text);
        f.write_str(&text)
    }
}

impl fmt::Debug for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl core::str::FromStr for Component {
    type Err = InvalidComponent;

    fn from_str(text: &str) -> Result<Self, InvalidComponent> {
        Self::parse(text)
    }
}

/// Why a component identifier is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidComponent {
    /// Not a structured string with parameters.
    #[error("the component identifier is malformed")]
    Malformed,
    /// Not a field name in lower case.
    #[error("the component name {0:?} is not a field name in lower case")]
    FieldName(String),
    /// Not a derived component that may be listed.
    #[error("there is no derived component {0:?} to cover")]
    UnknownDerived(String),
    /// A parameter that is not understood, so its meaning cannot be honoured (RFC 9421 §2.5).
    #[error("the component parameter {0:?} is not known")]
    UnknownParameter(String),
    /// The parameter's value has the wrong type.
    #[error("the component parameter `{0}` has the wrong type")]
    MalformedParameter(&'static str),
    /// Two things that exclude each other.
    #[error("the component parameter `{0}` cannot be used with: {1}")]
    Incompatible(&'static str, &'static str),
    /// `@query-param` without the name of a query parameter.
    #[error("`@query-param` needs the parameter `name`")]
    QueryParamName,
}

impl Name {
    fn parse(name: &str) -> Result<Self, InvalidComponent> {
        if name.starts_with('@') {
            let derived = Derived::ALL.into_iter().find(|derived| derived.name() == name);
            return derived.map(Self::Derived).ok_or_else(|| InvalidComponent::UnknownDerived(name.to_owned()));
        }
        let lower_case = |octet: u8| is_tchar(octet) && !octet.is_ascii_uppercase();
        if name.is_empty() || !name.bytes().all(lower_case) {
            return Err(InvalidComponent::FieldName(name.to_owned()));
        }
        Ok(Self::Field(name.into()))
    }
}

impl Derived {
    const ALL: [Self; 9] = [
        Self::Method,
        Self::TargetUri,
        Self::Authority,
        Self::Scheme,
        Self::RequestTarget,
        Self::Path,
        Self::Query,
        Self::QueryParam,
        Self::Status,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Method => "@method",
            Self::TargetUri => "@target-uri",
            Self::Authority => "@authority",
            Self::Scheme => "@scheme",
            Self::RequestTarget => "@request-target",
            Self::Path => "@path",
            Self::Query => "@query",
            Self::QueryParam => "@query-param",
            Self::Status => "@status",
        }
    }
}

impl Param {
    fn parse(name: &str, value: BareItem) -> Result<Self, InvalidComponent> {
        let flag = |name, param| match value {
            BareItem::Boolean(true) => Ok(param),
            _ => Err(InvalidComponent::MalformedParameter(name)),
        };
        match name {
            "sf" => flag("sf", Self::Sf),
            "bs" => flag("bs", Self::Bs),
            "tr" => flag("tr", Self::Tr),
            "req" => flag("req", Self::Req),
            "key" => string("key", value).map(Self::Key),
            "name" => string("name", value).map(Self::Name),
            _ => Err(InvalidComponent::UnknownParameter(name.to_owned())),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Sf => "sf",
            Self::Key(_) => "key",
            Self::Bs => "bs",
            Self::Tr => "tr",
            Self::Req => "req",
            Self::Name(_) => "name",
        }
    }
}

fn string(name: &'static str, value: BareItem) -> Result<sfv::String, InvalidComponent> {
    match value {
        BareItem::String(text) => Ok(text),
        _ => Err(InvalidComponent::MalformedParameter(name)),
    }
}
