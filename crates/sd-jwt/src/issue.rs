use core::fmt;

use jose::{Rng, Signer, TokenHeader, base64url, sign_compact};
use serde_json::{Map, Value};

use crate::disclosure::{Disclosed, ELLIPSIS, SD, SD_ALG, SHA_256, digest, encode, is_reserved};
use crate::path::Here;
use crate::{ClaimPath, IssueError, MAX_DEPTH, MAX_DISCLOSURES, PathSegment, UnverifiedSdJwt};

/// An SD-JWT about to be issued: claims, and which of them the holder may keep back (RFC 9901 §4).
///
/// Claims that are made disclosable within a claim that is disclosable itself give a recursive disclosure (§4.2.6).
#[derive(Clone)]
pub struct Issuance {
    claims: Map<String, Value>,
    disclosable: Vec<ClaimPath>,
    decoys: Vec<(ClaimPath, usize)>,
}

impl Issuance {
    /// An issuance of these claims, all of them visible. `cnf`, `iat` and the like are claims as any other.
    #[must_use]
    pub fn new(claims: Map<String, Value>) -> Self {
        Self { claims, disclosable: Vec::new(), decoys: Vec::new() }
    }

    /// Makes the object member or array element at `path` disclosable.
    #[must_use]
    pub fn disclosable(mut self, path: impl Into<ClaimPath>) -> Self {
        self.disclosable.push(path.into());
        self
    }

    /// Adds `count` digests of nothing to the object or array at `path` ([`ClaimPath::root`] for the payload), which hide
    /// how much there is to disclose (RFC 9901 §4.2.5).
    #[must_use]
    pub fn decoys(mut self, path: impl Into<ClaimPath>, count: usize) -> Self {
        self.decoys.push((path.into(), count));
        self
    }

    /// Makes the disclosures, with a fresh salt of 128 bits each, and signs. Gives the SD-JWT in compact form, ending in
    /// `~`. The header's `typ` and `kid` are the caller's choice.
    ///
    /// Every `_sd` array is sorted, and decoys are at random places in arrays, so that they cannot be told apart.
    ///
    /// # Errors
    ///
    /// - [`IssueError::ReservedClaimName`] if the claims have a member `_sd`, `_sd_alg` or `...` anywhere.
    /// - [`IssueError::NoSuchClaim`], [`IssueError::RepeatedPath`] for a path that is wrong or was given before.
    /// - [`IssueError::NotSelectivelyDisclosable`] for `iss`, `aud`, `exp`, `nbf` or `cnf`, and what is in `cnf`.
    /// - [`IssueError::NoContainer`] for decoys where there is neither object nor array.
    /// - [`IssueError::LimitExceeded`] if no verifier with this crate's limits would take it.
    /// - [`IssueError::Sign`] if the key could not be used.
    pub fn sign(mut self, signer: &dyn Signer, header: &TokenHeader<'_>, rng: &dyn Rng) -> Result<String, IssueError> {
        self.check()?;
        let disclosures = self.conceal(rng)?;
        self.claims.insert(SD_ALG.to_owned(), SHA_256.into());
        let mut token = sign_compact(signer, header, Value::Object(self.claims).to_string().as_bytes())?;
        token.push('~');
        for disclosure in disclosures {
            token.push_str(&disclosure);
            token.push('~');
        }
        match UnverifiedSdJwt::parse(&token) {
            Ok(_) => Ok(token),
            Err(_) => Err(IssueError::LimitExceeded),
        }
    }

    fn check(&self) -> Result<(), IssueError> {
        check_members(&self.claims, &Here::ROOT)?;
        if self.disclosable.len() > MAX_DISCLOSURES {
            return Err(IssueError::LimitExceeded);
        }
        for (at, path) in self.disclosable.iter().enumerate() {
            if path.find(&self.claims).is_none() {
                return Err(IssueError::NoSuchClaim { path: path.clone() });
            }
            if self.disclosable[..at].contains(path) {
                return Err(IssueError::RepeatedPath { path: path.clone() });
            }
            if let [PathSegment::Member(name), within @ ..] = path.segments()
                && IN_THE_OPEN.contains(&name.as_str())
                && (within.is_empty() || name != "aud")
            {
                return Err(IssueError::NotSelectivelyDisclosable { path: path.clone() });
            }
        }
        Ok(())
    }

    /// Puts digests in place of claims and gives the disclosures, in the order in which they were asked for.
    ///
    /// The deepest come first: what a disclosure hides has to be final by then. Decoys for an object or array come after
    /// the claims in it and before it is hidden itself.
    fn conceal(&mut self, rng: &dyn Rng) -> Result<Vec<String>, IssueError> {
        let mut disclosures = vec![String::new(); self.disclosable.len()];
        let deepest = self.disclosable.iter().map(|path| path.segments().len());
        let deepest = deepest.chain(self.decoys.iter().map(|(path, _)| path.segments().len())).max().unwrap_or(0);
        for depth in (0..=deepest).rev() {
            for (path, count) in self.decoys.iter().filter(|(path, _)| path.segments().len() == depth) {
                let no_container = || IssueError::NoContainer { path: path.clone() };
                let container = Container::at(&mut self.claims, path.segments()).ok_or_else(no_container)?;
                container.add_decoys(*count, rng);
            }
            for (path, slot) in self.disclosable.iter().zip(&mut disclosures) {
                if let Some((last, parents)) = path.segments().split_last()
                    && parents.len() + 1 == depth
                {
                    let no_such_claim = || IssueError::NoSuchClaim { path: path.clone() };
                    let container = Container::at(&mut self.claims, parents).ok_or_else(no_such_claim)?;
                    *slot = container.conceal(last, rng).ok_or_else(no_such_claim)?;
                }
            }
        }
        Ok(disclosures)
    }
}

/// Shows paths, and no claim's value.
impl fmt::Debug for Issuance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuance").field("disclosable", &self.disclosable).finish_non_exhaustive()
    }
}

/// What holds claims that may be concealed.
enum Container<'c> {
    Object(&'c mut Map<String, Value>),
    Array(&'c mut Vec<Value>),
}

impl<'c> Container<'c> {
    fn at(claims: &'c mut Map<String, Value>, path: &[PathSegment]) -> Option<Self> {
        path.iter().try_fold(Self::Object(claims), |container, segment| {
            let value = match (container, segment) {
                (Self::Object(map), PathSegment::Member(name)) => map.get_mut(name)?,
                (Self::Array(items), PathSegment::Element(position)) => items.get_mut(*position)?,
                _ => return None,
            };
            match value {
                Value::Object(map) => Some(Self::Object(map)),
                Value::Array(items) => Some(Self::Array(items)),
                _ => None,
            }
        })
    }

    /// Puts a digest in place of the claim that is one step away, and gives the disclosure.
    fn conceal(self, step: &PathSegment, rng: &dyn Rng) -> Option<String> {
        match (self, step) {
            (Self::Object(map), PathSegment::Member(name)) => {
                let value = map.remove(name)?;
                let disclosure = encode(Disclosed::Member { name: name.clone(), value }, rng);
                insert_digest(map, digest(&disclosure));
                Some(disclosure)
            }
            (Self::Array(items), PathSegment::Element(position)) => {
                let item = items.get_mut(*position)?;
                let disclosure = encode(Disclosed::Element { value: item.take() }, rng);
                *item = element(digest(&disclosure));
                Some(disclosure)
            }
            _ => None,
        }
    }

    fn add_decoys(self, count: usize, rng: &dyn Rng) {
        match self {
            Self::Object(map) => (0..count).for_each(|_| insert_digest(map, decoy(rng))),
            Self::Array(items) => {
                for _ in 0..count {
                    let position = random_below(items.len() + 1, rng);
                    items.insert(position, element(decoy(rng)));
                }
            }
        }
    }
}

/// Adds a digest to `_sd`, which stays sorted: its order says nothing about that of the claims (RFC 9901 §4.2.4.1).
fn insert_digest(map: &mut Map<String, Value>, digest: String) {
    let entry = map.entry(SD).or_insert_with(|| Value::Array(Vec::new()));
    if let Value::Array(digests) = entry {
        let at = digests.partition_point(|other| other.as_str() < Some(&digest));
        digests.insert(at, Value::String(digest));
    }
}

fn element(digest: String) -> Value {
    Value::Object(Map::from_iter([(ELLIPSIS.to_owned(), Value::String(digest))]))
}

/// The digest of 256 random bits, as RFC 9901 §4.2.5 recommends.
fn decoy(rng: &dyn Rng) -> String {
    let mut octets = [0; 32];
    rng.fill(&mut octets);
    base64url::encode(&jose::sha256(&octets))
}

/// A position below `bound`; the bias is below `bound` / 2^64.
fn random_below(bound: usize, rng: &dyn Rng) -> usize {
    let mut octets = [0; 8];
    rng.fill(&mut octets);
    let scaled = (u128::from(u64::from_le_bytes(octets)) * bound as u128) >> 64;
    usize::try_from(scaled).unwrap_or_default()
}

fn check_members(map: &Map<String, Value>, here: &Here<'_>) -> Result<(), IssueError> {
    if map.keys().any(|name| is_reserved(name)) {
        return Err(IssueError::ReservedClaimName { path: here.path() });
    }
    map.iter().try_for_each(|(name, value)| check_value(value, &here.member(name)))
}

fn check_value(value: &Value, here: &Here<'_>) -> Result<(), IssueError> {
    if here.depth > MAX_DEPTH && (value.is_object() || value.is_array()) {
        return Err(IssueError::LimitExceeded);
    }
    match value {
        Value::Object(map) => check_members(map, here),
        Value::Array(items) => items.iter().enumerate().try_for_each(|(at, item)| check_value(item, &here.element(at))),
        _ => Ok(()),
    }
}

/// Claims without which validity cannot be judged: "An Issuer MUST NOT allow any content to be selectively disclosable
/// that is critical for evaluating the SD-JWT's authenticity or validity" (RFC 9901 §9.7, which lets single entries of an
/// `aud` array be disclosable).
const IN_THE_OPEN: [&str; 5] = ["iss", "aud", "exp", "nbf", "cnf"];
