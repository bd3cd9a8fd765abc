//! Puts disclosures in place (RFC 9901 §7.1 steps 3 to 5). The payload is worked on where it stands; nothing is cloned.

use serde_json::{Map, Value};

use crate::disclosure::{Disclosed, ELLIPSIS, SD, SD_ALG, SHA_256, decode, digest};
use crate::path::Here;
use crate::{ClaimPath, MAX_DEPTH, VerifyError};

/// The payload with its disclosures in place, and where each of them went.
pub(crate) struct Processed {
    pub(crate) claims: Map<String, Value>,
    /// One for each disclosure, in their order.
    pub(crate) places: Vec<Place>,
}

/// Where a disclosure went.
#[derive(Clone, PartialEq)]
pub(crate) struct Place {
    pub(crate) path: ClaimPath,
    /// The disclosure whose value has this one's digest, if it isn't the payload itself.
    pub(crate) parent: Option<usize>,
}

/// Processes a payload whose signature the caller has checked or does not need checked.
pub(crate) fn process(mut claims: Map<String, Value>, disclosures: &[&str]) -> Result<Processed, VerifyError> {
    match claims.remove(SD_ALG) {
        None => {}
        Some(Value::String(name)) if name == SHA_256 => {}
        Some(_) => return Err(VerifyError::UnsupportedSdAlg),
    }
    let mut walk = Walk::new(disclosures)?;
    walk.object(&mut claims, &Here::ROOT, None)?;
    Ok(Processed { claims, places: walk.finish()? })
}

struct Walk {
    /// Sorted by digest.
    slots: Vec<Slot>,
    /// One for each disclosure, filled when it is put in place.
    places: Vec<Option<Place>>,
    /// Every digest met so far, decoys included.
    met: Vec<String>,
}

struct Slot {
    digest: String,
    index: usize,
    /// Taken when the disclosure is put in place.
    disclosed: Option<Disclosed>,
}

impl Walk {
    fn new(disclosures: &[&str]) -> Result<Self, VerifyError> {
        let mut slots = Vec::with_capacity(disclosures.len());
        for (index, text) in disclosures.iter().enumerate() {
            slots.push(Slot { digest: digest(text), index, disclosed: Some(decode(index, text)?) });
        }
        slots.sort_unstable_by(|a, b| (&a.digest, a.index).cmp(&(&b.digest, b.index)));
        if let Some(pair) = slots.windows(2).find(|pair| pair[0].digest == pair[1].digest) {
            return Err(VerifyError::RepeatedDisclosure { index: pair[1].index });
        }
        Ok(Self { slots, places: vec![None; disclosures.len()], met: Vec::new() })
    }

    fn value(&mut self, value: &mut Value, here: &Here<'_>, parent: Option<usize>) -> Result<(), VerifyError> {
        match value {
            Value::Object(map) => self.object(map, here, parent),
            Value::Array(items) => self.array(items, here, parent),
            _ => Ok(()),
        }
    }

    fn object(
        &mut self,
        map: &mut Map<String, Value>,
        here: &Here<'_>,
        parent: Option<usize>,
    ) -> Result<(), VerifyError> {
        check_depth(here)?;
        let digests = match map.remove(SD) {
            None => Vec::new(),
            Some(Value::Array(digests)) => digests,
            Some(_) => return Err(VerifyError::SdNotArray { path: here.path() }),
        };
        if map.contains_key(ELLIPSIS) {
            return Err(VerifyError::MisplacedEllipsis { path: here.path() });
        }
        if map.contains_key(SD_ALG) {
            return Err(VerifyError::MisplacedSdAlg { path: here.path() });
        }
        for (name, value) in map.iter_mut() {
            self.value(value, &here.member(name), parent)?;
        }
        for digest in digests {
            let Value::String(digest) = digest else { return Err(VerifyError::DigestNotString { path: here.path() }) };
            let Some((index, disclosed)) = self.take(digest)? else { continue };
            let Disclosed::Member { name, mut value } = disclosed else {
                return Err(VerifyError::ElementDisclosureInObject { index });
            };
            let there = here.member(&name);
            if map.contains_key(&name) {
                return Err(VerifyError::ClaimCollision { path: there.path() });
            }
            self.value(&mut value, &there, Some(index))?;
            self.places[index] = Some(Place { path: there.path(), parent });
            map.insert(name, value);
        }
        Ok(())
    }

    fn array(&mut self, items: &mut Vec<Value>, here: &Here<'_>, parent: Option<usize>) -> Result<(), VerifyError> {
        check_depth(here)?;
        let mut kept = 0;
        for position in 0..items.len() {
            let mut item = std::mem::take(&mut items[position]);
            let there = here.element(kept);
            match element_digest(&mut item, &there)? {
                None => self.value(&mut item, &there, parent)?,
                Some(digest) => {
                    let Some((index, disclosed)) = self.take(digest)? else { continue };
                    let Disclosed::Element { value } = disclosed else {
                        return Err(VerifyError::MemberDisclosureInArray { index });
                    };
                    item = value;
                    self.value(&mut item, &there, Some(index))?;
                    self.places[index] = Some(Place { path: there.path(), parent });
                }
            }
            items[kept] = item;
            kept += 1;
        }
        items.truncate(kept);
        Ok(())
    }

    /// The disclosure that `digest` is of, if it came along. Each can be taken once.
    fn take(&mut self, digest: String) -> Result<Option<(usize, Disclosed)>, VerifyError> {
        let found = self.slots.binary_search_by(|slot| slot.digest.cmp(&digest));
        self.met.push(digest);
        let Ok(at) = found else { return Ok(None) };
        let slot = &mut self.slots[at];
        let disclosed = slot.disclosed.take().ok_or(VerifyError::RepeatedDigest)?;
        Ok(Some((slot.index, disclosed)))
    }

    /// Steps 4 and 5: no digest stands twice, no disclosure is left over.
    fn finish(mut self) -> Result<Vec<Place>, VerifyError> {
        self.met.sort_unstable();
        if self.met.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(VerifyError::RepeatedDigest);
        }
        let places = self.places.into_iter().enumerate();
        places.map(|(index, place)| place.ok_or(VerifyError::UnreferencedDisclosure { index })).collect()
    }
}

/// The digest of an array element that is one, `{"...": "<digest>"}` (RFC 9901 §4.2.4.2).
fn element_digest(item: &mut Value, here: &Here<'_>) -> Result<Option<String>, VerifyError> {
    let Value::Object(map) = item else { return Ok(None) };
    match map.remove(ELLIPSIS) {
        None => Ok(None),
        Some(_) if !map.is_empty() => Err(VerifyError::MisplacedEllipsis { path: here.path() }),
        Some(Value::String(digest)) => Ok(Some(digest)),
        Some(_) => Err(VerifyError::DigestNotString { path: here.path() }),
    }
}

/// Bounds the recursion here and in code that walks the result.
fn check_depth(here: &Here<'_>) -> Result<(), VerifyError> {
    if here.depth > MAX_DEPTH { Err(VerifyError::TooDeep) } else { Ok(()) }
}
