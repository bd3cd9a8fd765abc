/// Why a component has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unresolved {
    /// The message has no such field.
    #[error("there is no such field")]
    NoField,
    /// The dictionary has no member of that key (`;key`).
    #[error("the field has no member of that key")]
    NoMember,
    /// The field is not structured as `;sf` or `;key` needs it.
    #[error("the field is not the structured field that the parameter needs")]
    NotStructured,
    /// The strict form depends on the field's type, which is not known (`;sf`).
    #[error("the field's structured type is not known")]
    UnknownType,
    /// A field value outside ASCII can only be covered with `;bs`.
    #[error("the field's value is not ASCII")]
    NotAscii,
    /// A field value has a control character, perhaps a line end.
    #[error("the field's value has a control character")]
    ControlCharacter,
    /// `;req`, or a component of the request, and the request is not known.
    #[error("the request is not known")]
    NoRequest,
    /// `;req` in a request.
    #[error("`req` is for responses only")]
    ReqInRequest,
    /// A derived component of the request in a response, without `;req`.
    #[error("a component of the request needs `req` in a response")]
    NeedsReq,
    /// `@status` in a request.
    #[error("a request has no status")]
    StatusOfRequest,
    /// The query has no parameter of that name.
    #[error("there is no such query parameter")]
    NoQueryParam,
    /// The query has more than one parameter of that name.
    #[error("the query parameter occurs more than once")]
    QueryParamRepeated,
}
