use core::fmt;
use core::ops::Range;

use jose::{EncodedHeader, SignError, Signer, TokenHeader, UnixSeconds};
use serde_json::Value;

use crate::disclosure::digest;
use crate::process::Place;
use crate::{ClaimPath, UnverifiedSdJwt, VerifyError};

/// An SD-JWT in its holder's hands, ready for any number of presentations.
///
/// The signature is not checked here and claims cannot be read: the holder verifies an SD-JWT when it arrives (RFC 9901
/// §7.2), with [`UnverifiedSdJwt::verify`], and then keeps its text.
pub struct HeldSdJwt {
    /// Ends in `~`.
    text: String,
    /// The issuer-signed JWT with its `~`.
    issued: usize,
    disclosures: Vec<Held>,
}

struct Held {
    /// The disclosure with its `~`.
    range: Range<usize>,
    place: Place,
}

impl HeldSdJwt {
    /// Reads an SD-JWT as issued and finds out which claim each disclosure is.
    ///
    /// # Errors
    ///
    /// - [`VerifyError::UnexpectedKeyBinding`] if there is a KB-JWT: "If the Holder receives an SD-JWT+KB, it MUST be
    ///   rejected" (RFC 9901 §7.2).
    /// - the variants of [`VerifyError`] that are about form, disclosures and digests.
    pub fn parse(text: String) -> Result<Self, VerifyError> {
        let unverified = UnverifiedSdJwt::parse(&text)?;
        if unverified.has_key_binding() {
            return Err(VerifyError::UnexpectedKeyBinding);
        }
        let processed = unverified.process_unverified()?;
        let mut end = text.len() - unverified.disclosures().iter().map(|text| text.len() + 1).sum::<usize>();
        let issued = end;
        let held = |(text, place): (&&str, Place)| {
            let start = end;
            end += text.len() + 1;
            Held { range: start..end, place }
        };
        let disclosures = unverified.disclosures().iter().zip(processed.places).map(held).collect();
        Ok(Self { text, issued, disclosures })
    }

    /// The claims that can be disclosed, in the order of their disclosures. Positions in arrays count as they do when
    /// everything is disclosed.
    pub fn disclosable(&self) -> impl ExactSizeIterator<Item = &ClaimPath> {
        self.disclosures.iter().map(|held| &held.place.path)
    }

    /// The text as issued.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Selects what to disclose: these claims, and those around them without which they could not be read (RFC 9901
    /// §4.2.6). What lies within a selected claim and is disclosable itself stays hidden unless it is named too.
    ///
    /// # Errors
    ///
    /// - [`NotDisclosable`] with the first path that is not one of [`HeldSdJwt::disclosable`].
    pub fn select(&self, paths: &[ClaimPath]) -> Result<Selection, NotDisclosable> {
        let mut selected = vec![false; self.disclosures.len()];
        for path in paths {
            let mut next = self.disclosures.iter().position(|held| held.place.path == *path);
            if next.is_none() {
                return Err(NotDisclosable(path.clone()));
            }
            while let Some(index) = next.filter(|index| !std::mem::replace(&mut selected[*index], true)) {
                next = self.disclosures[index].place.parent;
            }
        }
        let chosen = || self.disclosures.iter().zip(&selected).filter(|(_, selected)| **selected).map(|(held, _)| held);
        let length = self.issued + chosen().map(|held| held.range.len()).sum::<usize>();
        let mut text = String::with_capacity(length + ROOM_FOR_KEY_BINDING);
        text.push_str(&self.text[..self.issued]);
        chosen().for_each(|held| text.push_str(&self.text[held.range.clone()]));
        Ok(Selection(text))
    }

    /// Selects everything.
    #[must_use]
    pub fn select_all(&self) -> Selection {
        Selection(self.text.clone())
    }
}

/// Shows paths only: disclosures are for the holder's eyes.
impl fmt::Debug for HeldSdJwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldSdJwt")
            .field("disclosable", &self.disclosable().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// The path is not that of a claim that can be disclosed: it leads nowhere, or to a claim that is always visible, or into
/// one that can only be disclosed as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the claim {0} cannot be disclosed by itself")]
pub struct NotDisclosable(ClaimPath);

impl NotDisclosable {
    /// The path.
    #[must_use]
    pub fn path(&self) -> &ClaimPath {
        &self.0
    }
}

/// An SD-JWT with the disclosures that its holder chose: to be sent as it is, or to be bound to a verifier with
/// [`KeyBinder::bind`].
#[derive(Clone, PartialEq, Eq)]
pub struct Selection(String);

impl Selection {
    /// The SD-JWT without key binding, ending in `~`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same, to keep.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Debug for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Selection({} octets)", self.0.len())
    }
}

/// Signs KB-JWTs with a holder's key (RFC 9901 §4.3). The header is made once and serves every presentation.
pub struct KeyBinder<'k> {
    signer: &'k dyn Signer,
    header: EncodedHeader,
}

impl<'k> KeyBinder<'k> {
    /// Header `alg` and `typ: kb+jwt`: for SD-JWTs whose `cnf` has the key.
    #[must_use]
    pub fn new(signer: &'k dyn Signer) -> Self {
        Self { signer, header: TokenHeader::new("kb+jwt").encode(signer.public_key()) }
    }

    /// The header has the public key too, as `jwk`: for SD-JWTs whose `cnf` has only its thumbprint.
    #[must_use]
    pub fn carrying_key(signer: &'k dyn Signer) -> Self {
        let key = signer.public_key();
        Self { signer, header: TokenHeader::new("kb+jwt").jwk(key).encode(key) }
    }

    /// Binds a selection to one verifier and one transaction: the SD-JWT+KB.
    ///
    /// # Errors
    ///
    /// - [`SignError`] if the key could not be used.
    pub fn bind(&self, selection: Selection, aud: &str, nonce: &str, iat: UnixSeconds) -> Result<String, SignError> {
        let Selection(mut text) = selection;
        let (aud, nonce, sd_hash) = (Value::from(aud), Value::from(nonce), digest(&text));
        let payload = format!(r#"{{"iat":{iat},"aud":{aud},"nonce":{nonce},"sd_hash":"{sd_hash}"}}"#);
        text.push_str(&self.header.sign(self.signer, payload.as_bytes())?);
        Ok(text)
    }
}

impl fmt::Debug for KeyBinder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyBinder").field("key", self.signer.public_key()).finish_non_exhaustive()
    }
}

/// A guess, so that a KB-JWT of ordinary length does not make the text move.
const ROOM_FOR_KEY_BINDING: usize = 640;
