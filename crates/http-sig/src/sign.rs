use core::fmt;

use jose::{Signer, UnixSeconds};
use sfv::{BareItem, Integer, ItemSerializer, Key, Parameters};

use crate::algorithm::alg_name;
use crate::resolve::{signature_base, write_signature_params};
use crate::{Component, Message, SignatureParams, UnresolvedComponent};

/// Makes a signature (RFC 9421 §3.1). Components and parameters are written in the order in which they are added.
///
/// # Examples
///
/// ```
/// # struct Counter;
/// # impl jose::Rng for Counter {
/// #     fn fill(&self, out: &mut [u8]) { for (i, b) in out.iter_mut().enumerate() { *b = i as u8 } }
/// # }
/// use http_sig::{Component, Message, SignatureBuilder};
///
/// let key = jose::PrivateKey::generate(jose::Alg::EdDsa, &Counter);
/// let headers = http::HeaderMap::new();
/// let request = Message::request("GET", "https://shop.example/offer", &headers)?;
/// let signed = SignatureBuilder::new("sig1")?
///     .component(Component::parse("@method")?)
///     .component(Component::parse("@authority")?)
///     .created(1_700_000_000)
///     .keyid("k1")?
///     .alg()
///     .sign(&request, &key)?;
/// assert_eq!(
///     signed.signature_input(),
///     r#"sig1=("@method" "@authority");created=1700000000;keyid="k1";alg="ed25519""#,
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct SignatureBuilder {
    label: Key,
    components: Vec<Component>,
    params: Parameters,
}

impl SignatureBuilder {
    /// A signature under that label.
    ///
    /// # Errors
    ///
    /// - [`SignError::Label`] if `label` is no dictionary key (RFC 8941 §3.1.2): lower case, digits and `_-.*`.
    pub fn new(label: &str) -> Result<Self, SignError> {
        let label = Key::from_string(label.to_owned()).map_err(|_| SignError::Label)?;
        Ok(Self { label, components: Vec::new(), params: Parameters::new() })
    }

    /// Covers a component.
    #[must_use]
    pub fn component(mut self, component: Component) -> Self {
        self.components.push(component);
        self
    }

    /// Covers these components.
    #[must_use]
    pub fn components(mut self, components: impl IntoIterator<Item = Component>) -> Self {
        self.components.extend(components);
        self
    }

    /// When the signature is made, in UNIX seconds.
    #[must_use]
    pub fn created(self, at: UnixSeconds) -> Self {
        self.time("created", at)
    }

    /// When it ceases to be valid, in UNIX seconds.
    #[must_use]
    pub fn expires(self, at: UnixSeconds) -> Self {
        self.time("expires", at)
    }

    /// A value meant to be used once.
    ///
    /// # Errors
    ///
    /// - [`SignError::Param`] if it has anything but printable ASCII.
    pub fn nonce(self, nonce: &str) -> Result<Self, SignError> {
        self.text("nonce", nonce)
    }

    /// The name under which the verifier finds the key.
    ///
    /// # Errors
    ///
    /// - [`SignError::Param`] if it has anything but printable ASCII.
    pub fn keyid(self, keyid: &str) -> Result<Self, SignError> {
        self.text("keyid", keyid)
    }

    /// The application's name for this kind of signature.
    ///
    /// # Errors
    ///
    /// - [`SignError::Param`] if it has anything but printable ASCII.
    pub fn tag(self, tag: &str) -> Result<Self, SignError> {
        self.text("tag", tag)
    }

    /// Names the algorithm at this place. Which one, the key says when it signs.
    #[must_use]
    pub fn alg(self) -> Self {
        self.param("alg", BareItem::Boolean(true))
    }

    /// Signs `message`.
    ///
    /// # Errors
    ///
    /// - [`SignError::ComponentRepeated`] if a component was added twice.
    /// - [`SignError::Unresolved`] if a component has no value in this message.
    /// - [`SignError::Param`] for a time outside the 15 digits of a structured integer.
    /// - [`SignError::Key`] if the key could not be used.
    pub fn sign(self, message: &Message<'_>, key: &dyn Signer) -> Result<Signed, SignError> {
        let Self { label, components, mut params } = self;
        for (index, component) in components.iter().enumerate() {
            if components[..index].contains(component) {
                return Err(SignError::ComponentRepeated(component.clone()));
            }
        }
        if let Some(alg) = params.get_mut("alg") {
            *alg = text(alg_name(key.public_key().alg())).ok_or(SignError::Param("alg"))?;
        }
        let params = SignatureParams::new(params).map_err(SignError::Param)?;
        let base = signature_base(&components, &params, message)?;
        let octets = key.sign(base.as_bytes())?;

        let mut signature_input = format!("{label}=");
        write_signature_params(&components, &params, &mut signature_input);
        let mut signature = format!("{label}=");
        let _ = ItemSerializer::with_buffer(&mut signature).bare_item(&octets[..]).finish();
        Ok(Signed { signature_input, signature, base })
    }

    fn time(self, name: &'static str, at: UnixSeconds) -> Self {
        // One out of range has the wrong type, which `sign` reports.
        self.param(name, Integer::try_from(at).map_or(BareItem::Boolean(false), BareItem::Integer))
    }

    fn text(self, name: &'static str, value: &str) -> Result<Self, SignError> {
        Ok(self.param(name, text(value).ok_or(SignError::Param(name))?))
    }

    fn param(mut self, name: &'static str, value: BareItem) -> Self {
        if let Ok(key) = Key::from_string(name.to_owned()) {
            self.params.insert(key, value);
        }
        self
    }
}

/// A signature to be put into a message: one line for each of two fields. Where a message has other signatures, the lines
/// are added to theirs, and the label must not be theirs.
#[derive(Clone, PartialEq, Eq)]
pub struct Signed {
    signature_input: String,
    signature: String,
    base: String,
}

impl Signed {
    /// The value of `Signature-Input`.
    #[must_use]
    pub fn signature_input(&self) -> &str {
        &self.signature_input
    }

    /// The value of `Signature`.
    #[must_use]
    pub fn signature(&self) -> &str {
        &self.signature
    }

    /// The signature base that was signed.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }
}

/// Shows the two lines, not the base: a covered field may hold a token.
impl fmt::Debug for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signed({:?}, {:?})", self.signature_input, self.signature)
    }
}

/// Why a signature cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The label is no dictionary key.
    #[error("the label is not a key of a structured dictionary")]
    Label,
    /// The parameter's value cannot be written as a structured field.
    #[error("the parameter `{0}` cannot be written as a structured field")]
    Param(&'static str),
    /// The component is listed more than once.
    #[error("{0} is covered more than once")]
    ComponentRepeated(Component),
    /// The component has no value in this message.
    #[error(transparent)]
    Unresolved(#[from] UnresolvedComponent),
    /// The key could not be used.
    #[error(transparent)]
    Key(#[from] jose::SignError),
}

fn text(value: &str) -> Option<BareItem> {
    sfv::String::from_string(value.to_owned()).ok().map(BareItem::String)
}
