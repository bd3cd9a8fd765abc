use jose::UnixSeconds;
use sfv::{BareItem, ItemSerializer, Parameters};

/// The signature parameters (RFC 9421 §2.3), in the order received. Those the RFC does not define are kept: the
/// signature covers them.
#[derive(Clone, Debug, PartialEq)]
pub struct SignatureParams {
    params: Parameters,
    created: Option<UnixSeconds>,
    expires: Option<UnixSeconds>,
}

impl SignatureParams {
    /// Checks the types. `Err` names the parameter of the wrong type.
    pub(crate) fn new(params: Parameters) -> Result<Self, &'static str> {
        for name in ["nonce", "alg", "keyid", "tag"] {
            if params.get(name).is_some_and(|value| value.as_string().is_none()) {
                return Err(name);
            }
        }
        let time = |name: &'static str| match params.get(name) {
            None => Ok(None),
            Some(BareItem::Integer(seconds)) => Ok(Some(UnixSeconds::from(*seconds))),
            Some(_) => Err(name),
        };
        let (created, expires) = (time("created")?, time("expires")?);
        Ok(Self { params, created, expires })
    }

    /// When the signature was made, in UNIX seconds.
    #[must_use]
    pub fn created(&self) -> Option<UnixSeconds> {
        self.created
    }

    /// When it ceases to be valid, in UNIX seconds.
    #[must_use]
    pub fn expires(&self) -> Option<UnixSeconds> {
        self.expires
    }

    /// The value meant to be used once.
    #[must_use]
    pub fn nonce(&self) -> Option<&str> {
        self.text("nonce")
    }

    /// The algorithm's name in the HTTP Signature Algorithms registry. The key decides; this can only agree.
    #[must_use]
    pub fn alg(&self) -> Option<&str> {
        self.text("alg")
    }

    /// The name of the key.
    #[must_use]
    pub fn keyid(&self) -> Option<&str> {
        self.text("keyid")
    }

    /// The application's name for this kind of signature.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.text("tag")
    }

    /// Any parameter that is a string.
    fn text(&self, name: &str) -> Option<&str> {
        self.params.get(name)?.as_string().map(sfv::StringRef::as_str)
    }

    pub(crate) fn write(&self, out: &mut String) {
        for (key, value) in &self.params {
            out.push(';');
            out.push_str(key.as_str());
            if *value != BareItem::Boolean(true) {
                out.push('=');
                let _ = ItemSerializer::with_buffer(&mut *out).bare_item(value).finish();
            }
        }
    }
}
