use core::fmt;

use jose::{Alg, PublicKey, UnixSeconds};
use sfv::{BareItem, Item, ListEntry};

use crate::algorithm::alg_from_name;
use crate::labels::{Labels, Malformed};
use crate::message::Start;
use crate::resolve::signature_base;
use crate::{
    Component, ContentDigest, DigestAlg, DigestError, LabelError, Message, Refusal, SignatureParams, VerifyError,
};

/// What a signature must be like to be accepted (RFC 9421 §3.2), and the check itself.
///
/// Built once, used for any number of messages. With nothing further asked for, a signature of any label is accepted
/// that verifies under a known key, is not expired and was not made over 60 seconds in the future.
///
/// # Examples
///
/// ```
/// # struct Counter;
/// # impl jose::Rng for Counter {
/// #     fn fill(&self, out: &mut [u8]) { for (i, b) in out.iter_mut().enumerate() { *b = i as u8 } }
/// # }
/// use http_sig::{Component, Message, SignatureBuilder, Verifier};
/// use jose::{Alg, PrivateKey, Signer as _};
///
/// let key = PrivateKey::generate(Alg::EdDsa, &Counter);
/// let mut headers = http::HeaderMap::new();
/// let request = Message::request("GET", "https://shop.example/offer", &headers)?;
/// let signed = SignatureBuilder::new("sig1")?
///     .component(Component::parse("@target-uri")?)
///     .created(1_700_000_000)
///     .keyid("k1")?
///     .sign(&request, &key)?;
/// headers.insert("signature-input", signed.signature_input().parse()?);
/// headers.insert("signature", signed.signature().parse()?);
///
/// let verifier = Verifier::new().require(Component::parse("@target-uri")?).max_age(300);
/// let request = Message::request("GET", "https://shop.example/offer", &headers)?;
/// let keys = |keyid: &str| (keyid == "k1").then(|| key.public_key());
/// let verified = verifier.verify(&request, 1_700_000_010, keys)?;
/// assert_eq!(verified.label(), "sig1");
///
/// let other = Message::request("GET", "https://shop.example/other", &headers)?;
/// assert!(verifier.verify(&other, 1_700_000_010, keys).is_err());
/// assert!(verifier.verify(&request, 1_700_000_400, keys).is_err(), "too old");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Verifier {
    label: Option<String>,
    required: Vec<Component>,
    digests: Option<Vec<DigestAlg>>,
    algs: Vec<Alg>,
    nonce: bool,
    times: Times,
}

#[derive(Clone, Debug)]
struct Times {
    checked: bool,
    skew: UnixSeconds,
    max_age: Option<UnixSeconds>,
    max_lifetime: Option<UnixSeconds>,
}

impl Verifier {
    /// A verifier that accepts both algorithms and asks for nothing beyond a valid signature.
    #[must_use]
    pub fn new() -> Self {
        Self {
            label: None,
            required: Vec::new(),
            digests: None,
            algs: vec![Alg::EdDsa, Alg::Es256],
            nonce: false,
            times: Times { checked: true, skew: 60, max_age: None, max_lifetime: None },
        }
    }

    /// Looks at this label alone. Without it every label is tried in order, and one that can be used is enough.
    #[must_use]
    pub fn label(mut self, label: &str) -> Self {
        self.label = Some(label.to_owned());
        self
    }

    /// Requires this component to be covered. A field covered with `;sf` or `;bs` counts; in a response, so does a derived
    /// component of the request with or without `;req`, where the message allows the latter.
    #[must_use]
    pub fn require(mut self, component: Component) -> Self {
        self.required.push(component);
        self
    }

    /// Requires `content-digest` to be covered, with a digest of each of these algorithms that matches the content.
    #[must_use]
    pub fn require_content_digest(mut self, algs: &[DigestAlg]) -> Self {
        self.digests = Some(algs.to_vec());
        self.require(Component::content_digest())
    }

    /// Accepts these algorithms only, whether `alg` names one or the key implies it.
    #[must_use]
    pub fn algs(mut self, algs: &[Alg]) -> Self {
        self.algs = algs.to_vec();
        self
    }

    /// Requires a `nonce` that is not empty. Detecting a repeated one is up to the caller.
    #[must_use]
    pub fn require_nonce(mut self) -> Self {
        self.nonce = true;
        self
    }

    /// Accepts `created` less than this many seconds after now; 60 unless set.
    #[must_use]
    pub fn skew(mut self, seconds: u32) -> Self {
        self.times.skew = seconds.into();
        self
    }

    /// Requires `created`, at most this many seconds ago.
    #[must_use]
    pub fn max_age(mut self, seconds: u32) -> Self {
        self.times.max_age = Some(seconds.into());
        self
    }

    /// Requires `created` and `expires`, the latter at most this many seconds after the former and not before it.
    #[must_use]
    pub fn max_lifetime(mut self, seconds: u32) -> Self {
        self.times.max_lifetime = Some(seconds.into());
        self
    }

    /// Leaves `created` and `expires` unchecked: for evidence kept from the past, never for a message just received.
    #[must_use]
    pub fn danger_ignore_times(mut self) -> Self {
        self.times.checked = false;
        self
    }

    /// Verifies a signature of `message`.
    ///
    /// `keys` gives the key for a `keyid`, or `None` for one not known; to accept one key only, know no other. `now` is the
    /// verifier's clock. A `Content-Digest` is compared when the message has its body, signed or
    /// not; this comes after the signature, so an unsigned message cannot make us hash.
    ///
    /// # Errors
    ///
    /// - [`VerifyError::MissingField`], [`VerifyError::MalformedField`] if `Signature-Input` or `Signature` is missing or
    ///   not a dictionary.
    /// - [`VerifyError::NoSuchLabel`] if the label asked for is not in `Signature-Input`.
    /// - [`VerifyError::TooManyLabels`] above 16 labels.
    /// - [`VerifyError::Refused`] if no label can be accepted, with the reason for each.
    /// - [`VerifyError::Digest`] if the content is not what `Content-Digest` says, or cannot be compared.
    pub fn verify<'k>(
        &self,
        message: &Message<'_>,
        now: UnixSeconds,
        keys: impl Fn(&str) -> Option<&'k PublicKey>,
    ) -> Result<Verified, VerifyError> {
        let inputs = read(message, "signature-input")?;
        let signatures = read(message, "signature")?;
        if inputs.members.len() > MAX_LABELS {
            return Err(VerifyError::TooManyLabels(inputs.members.len()));
        }
        let repeated = |label: &str| inputs.repeated.iter().chain(&signatures.repeated).any(|other| other == label);
        let mut refusals = Vec::new();
        for (label, input) in inputs.members {
            let label = label.as_str();
            if self.label.as_deref().is_some_and(|wanted| wanted != label) {
                continue;
            }
            let checked = match repeated(label) {
                true => Err(LabelError::Repeated),
                false => self.verify_label(label, input, &signatures, message, now, &keys),
            };
            match checked {
                Ok(verified) => {
                    self.check_content(message)?;
                    return Ok(verified);
                }
                Err(reason) => refusals.push(Refusal { label: label.to_owned(), reason }),
            }
        }
        match &self.label {
            Some(label) if refusals.is_empty() => Err(VerifyError::NoSuchLabel(label.clone())),
            _ => Err(VerifyError::Refused(refusals)),
        }
    }

    /// Everything that can be said without cryptography is said first (RFC 9421 §3.2 steps 2 to 8).
    fn verify_label<'k>(
        &self,
        label: &str,
        input: ListEntry,
        signatures: &Labels,
        message: &Message<'_>,
        now: UnixSeconds,
        keys: &impl Fn(&str) -> Option<&'k PublicKey>,
    ) -> Result<Verified, LabelError> {
        let ListEntry::InnerList(input) = input else { return Err(LabelError::Malformed) };
        let params = SignatureParams::new(input.params).map_err(LabelError::MalformedParam)?;
        let named = match params.alg() {
            None => None,
            Some(name) => match alg_from_name(name).filter(|alg| self.algs.contains(alg)) {
                None => return Err(LabelError::AlgNotAllowed(name.to_owned())),
                alg => alg,
            },
        };
        let components = read_components(input.items)?;
        self.check_covered(&components, message)?;
        self.check_params(&params, now)?;

        let keyid = params.keyid().ok_or(LabelError::MissingParam("keyid"))?;
        let signature = match signatures.members.get(label) {
            None => return Err(LabelError::NoSignature),
            Some(ListEntry::Item(Item { bare_item: BareItem::ByteSequence(octets), .. })) => octets,
            Some(_) => return Err(LabelError::Malformed),
        };
        let key = keys(keyid).ok_or_else(|| LabelError::UnknownKey(keyid.to_owned()))?;
        if let Some(named) = named.filter(|named| *named != key.alg()) {
            return Err(LabelError::AlgMismatch { named, key: key.alg() });
        }
        if !self.algs.contains(&key.alg()) {
            return Err(LabelError::KeyNotAllowed(key.alg()));
        }
        let base = signature_base(&components, &params, message)?;
        key.verify(base.as_bytes(), signature).map_err(|_| LabelError::BadSignature)?;
        Ok(Verified { label: label.to_owned(), alg: key.alg(), components, params, base })
    }

    fn check_covered(&self, components: &[Component], message: &Message<'_>) -> Result<(), LabelError> {
        let in_response = matches!(message.start, Start::Response { .. });
        let covers = |wanted: &Component| components.iter().any(|component| component.satisfies(wanted, in_response));
        match self.required.iter().find(|wanted| !covers(wanted)) {
            Some(missing) => Err(LabelError::NotCovered(missing.clone())),
            None => Ok(()),
        }
    }

    fn check_params(&self, params: &SignatureParams, now: UnixSeconds) -> Result<(), LabelError> {
        if self.nonce && params.nonce().is_none_or(str::is_empty) {
            return Err(LabelError::MissingParam("nonce"));
        }
        if !self.times.checked {
            return Ok(());
        }
        let Times { skew, max_age, max_lifetime, .. } = self.times;
        if let Some(expires) = params.expires().filter(|expires| *expires <= now) {
            return Err(LabelError::Expired { expires, now });
        }
        let too_new = |created: &UnixSeconds| *created > now && created.saturating_sub(now) >= skew;
        if let Some(created) = params.created().filter(too_new) {
            return Err(LabelError::CreatedInFuture { created, now });
        }
        if let Some(max_age) = max_age {
            let created = params.created().ok_or(LabelError::MissingParam("created"))?;
            if now.saturating_sub(created) > max_age {
                return Err(LabelError::TooOld { created, now });
            }
        }
        if let Some(max_lifetime) = max_lifetime {
            let created = params.created().ok_or(LabelError::MissingParam("created"))?;
            let expires = params.expires().ok_or(LabelError::MissingParam("expires"))?;
            if !(0..=max_lifetime).contains(&expires.saturating_sub(created)) {
                return Err(LabelError::Lifetime { created, expires });
            }
        }
        Ok(())
    }

    fn check_content(&self, message: &Message<'_>) -> Result<(), DigestError> {
        let wanted = self.digests.as_deref();
        let Some(body) = message.body else { return wanted.map_or(Ok(()), |_| Err(DigestError::NoBody)) };
        let Some(digest) = ContentDigest::from_fields(message.headers)? else {
            return wanted.map_or(Ok(()), |_| Err(DigestError::Missing));
        };
        if let Some(missing) = wanted.unwrap_or_default().iter().find(|alg| !digest.has(**alg)) {
            return Err(DigestError::NoAlgorithm(*missing));
        }
        digest.verify(body)
    }
}

impl Default for Verifier {
    fn default() -> Self {
        Self::new()
    }
}

/// A signature that was verified, and what it covers. Nothing else in the message is to be believed.
#[derive(Clone, PartialEq)]
pub struct Verified {
    label: String,
    alg: Alg,
    components: Vec<Component>,
    params: SignatureParams,
    base: String,
}

impl Verified {
    /// The label.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The `keyid` under which the key was found.
    #[must_use]
    pub fn keyid(&self) -> &str {
        self.params.keyid().unwrap_or_default()
    }

    /// The algorithm, which is the key's.
    #[must_use]
    pub fn alg(&self) -> Alg {
        self.alg
    }

    /// The covered components, in order.
    #[must_use]
    pub fn components(&self) -> &[Component] {
        &self.components
    }

    /// The signature parameters.
    #[must_use]
    pub fn params(&self) -> &SignatureParams {
        &self.params
    }

    /// The signature base, octet for octet what was signed.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }
}

/// Shows what was covered, not the base: a covered field may hold a token.
impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { label, alg, components, .. } = self;
        write!(f, "Verified({label}, {alg}, {:?}, {components:?})", self.keyid())
    }
}

fn read(message: &Message<'_>, field: &'static str) -> Result<Labels, VerifyError> {
    match Labels::read(message.headers, field) {
        Ok(labels) => labels.ok_or(VerifyError::MissingField(field)),
        Err(Malformed) => Err(VerifyError::MalformedField(field)),
    }
}

fn read_components(items: Vec<Item>) -> Result<Vec<Component>, LabelError> {
    if items.len() > MAX_COMPONENTS {
        return Err(LabelError::TooManyComponents(items.len()));
    }
    let mut components = Vec::with_capacity(items.len());
    for item in items {
        let component = Component::from_item(item)?;
        // "Each component identifier MUST occur only once" (RFC 9421 §2).
        if components.contains(&component) {
            return Err(LabelError::ComponentRepeated(component));
        }
        components.push(component);
    }
    Ok(components)
}

/// Each label may cost one signature check, each component one walk over the header section.
const MAX_LABELS: usize = 16;
const MAX_COMPONENTS: usize = 64;
