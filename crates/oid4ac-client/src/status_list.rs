//! StatusList2021: whether a mandate has been revoked (W3C Bitstring Status List's first form).

mod bits;

use std::sync::{Arc, PoisonError};

use http::StatusCode;
use jose::{Alg, Typ, UnverifiedJws, base64url, json};
use serde_json::{Map, Value};

use crate::cache::Cached;
use crate::nonce::Role;
use crate::send::Call;
use crate::{Artefact, Client, Endpoint, Error, Misbehaviour, Stage, Why, profile};

pub use self::bits::{InvalidStatusList, StatusList};

/// Where a mandate's status stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StatusEntry {
    pub(crate) list: Endpoint,
    pub(crate) index: u64,
}

impl StatusEntry {
    /// Reads `credentialStatus` of a verified mandate. The list has the issuer's origin.
    pub(crate) fn read(claims: &Map<String, Value>, issuer: &Endpoint) -> Result<Self, Why> {
        let text = |name: &'static str| {
            claims.get("credentialStatus").and_then(|s| s.get(name)).and_then(Value::as_str).ok_or(Why::Member(name))
        };
        if text("type")? != "StatusList2021Entry" {
            return Err(Why::Mismatch("credentialStatus.type"));
        }
        if text("statusPurpose")? != PURPOSE {
            return Err(Why::Mismatch("credentialStatus.statusPurpose"));
        }
        let index = text("statusListIndex")?;
        let digits = !index.is_empty() && index.bytes().all(|b| b.is_ascii_digit());
        let index = index.parse().ok().filter(|_| digits).ok_or(Why::Member("statusListIndex"))?;
        let list = Endpoint::parse(text("statusListCredential")?).map_err(|_| Why::Member("statusListCredential"))?;
        match list.origin() == issuer.origin() {
            true => Ok(Self { list, index }),
            false => Err(Why::Origin("statusListCredential")),
        }
    }
}

impl Client {
    /// Whether the entry is revoked, by a copy of the list that is at most 300 s old.
    pub(crate) async fn is_revoked(&self, entry: &StatusEntry, as_jwks: &Endpoint) -> Result<bool, Error> {
        let cache = self.status_cache(&entry.list);
        let list = match cache.fresh(self.now()) {
            Some(list) => list,
            None => self.fetch_status_list(&entry.list, as_jwks, &cache).await?,
        };
        list.bit(entry.index)
            .ok_or_else(|| Misbehaviour::new(Artefact::Mandate, Why::Mismatch("statusListIndex")).into())
    }

    async fn fetch_status_list(
        &self,
        at: &Endpoint,
        as_jwks: &Endpoint,
        cache: &Cached<StatusList>,
    ) -> Result<Arc<StatusList>, Error> {
        let now = self.now();
        let answer = self.send(Call::get(Stage::StatusList, at).role(Role::AuthorizationServer)).await?;
        if answer.status() != StatusCode::OK {
            return Err(answer.server_error().into());
        }
        let refused = |why: Why| Misbehaviour::new(Artefact::StatusList, why);
        let mut credential =
            json::parse_object(answer.json_text()).map_err(|error| refused(Why::Json(error.to_string())))?;
        let list = read_credential(&credential, at, self.issuer(), now).map_err(refused)?;
        let proof = credential.remove("proof");
        match proof.as_ref().and_then(|proof| proof.get("jws")).and_then(Value::as_str) {
            Some(jws) => self.check_proof(jws, &credential, as_jwks).await?,
            // Another proof shape: it came from the issuer's origin, which is what is left to go by.
            None => tracing::warn!("status list: list proof not checked"),
        }
        Ok(cache.keep(list, now, answer.headers()))
    }

    /// RFC 7515 appendix F: the payload is left out of the JWS and is the canonical form of the rest of the credential.
    async fn check_proof(&self, jws: &str, credential: &Map<String, Value>, as_jwks: &Endpoint) -> Result<(), Error> {
        let refused = |why: Why| Misbehaviour::new(Artefact::StatusList, why);
        let canonical = serde_json_canonicalizer::to_vec(credential).map_err(|_| refused(Why::Member("proof")))?;
        let (header, signature) = jws.split_once("..").ok_or_else(|| refused(Why::Member("proof.jws")))?;
        let whole = format!("{header}.{}.{signature}", base64url::encode(&canonical));
        let unverified = UnverifiedJws::parse(&whole).map_err(|why| refused(why.into()))?;
        let jwk = self.as_key(as_jwks, unverified.unverified_kid(), Artefact::StatusList).await?;
        unverified.verify(jwk.key(), profile::AS_TOKENS, Typ::Absent).map_err(|why| refused(why.into()))?;
        Ok(())
    }

    /// A key of the authorization server's for tokens: Ed25519, and not the one kept for audit heads.
    pub(crate) async fn as_key(&self, jwks: &Endpoint, kid: Option<&str>, of: Artefact) -> Result<jose::Jwk, Error> {
        let jwk = self.key(jwks, kid, Alg::EdDsa, of).await?;
        match jwk.member("oid4ac_use") {
            None => Ok(jwk),
            Some(_) => Err(Misbehaviour::new(of, jose::InvalidJwk::NotForThis("oid4ac_use")).into()),
        }
    }

    fn status_cache(&self, at: &Endpoint) -> Arc<Cached<StatusList>> {
        let mut lists = self.inner.status_lists.lock().unwrap_or_else(PoisonError::into_inner);
        if lists.len() >= MAX_LISTS && !lists.contains_key(at.as_str()) {
            lists.clear();
        }
        Arc::clone(lists.entry(at.as_str().to_owned()).or_default())
    }
}

/// The checks on the credential that need no key.
fn read_credential(credential: &Map<String, Value>, at: &Endpoint, issuer: &str, now: i64) -> Result<StatusList, Why> {
    let text = |of: Option<&Value>| of.and_then(Value::as_str).map(str::to_owned);
    if text(credential.get("id")).as_deref() != Some(at.as_str()) {
        return Err(Why::Mismatch("id"));
    }
    if text(credential.get("issuer")).as_deref() != Some(issuer) {
        return Err(Why::Mismatch("issuer"));
    }
    let issued = text(credential.get("issuanceDate")).and_then(|date| date.parse::<jiff::Timestamp>().ok());
    let issued = issued.ok_or(Why::Member("issuanceDate"))?.as_second();
    if now - issued > MAX_LIST_AGE_SECONDS {
        return Err(Why::Expired);
    }
    if issued - now > i64::from(profile::SIGNATURE_SKEW_SECONDS) {
        return Err(Why::NotYetValid);
    }
    let subject = credential.get("credentialSubject").ok_or(Why::Member("credentialSubject"))?;
    if text(subject.get("statusPurpose")).as_deref() != Some(PURPOSE) {
        return Err(Why::Mismatch("statusPurpose"));
    }
    let encoded = text(subject.get("encodedList")).ok_or(Why::Member("encodedList"))?;
    let list = StatusList::decode(&encoded).map_err(|_| Why::EncodedList)?;
    match list.len() >= MIN_ENTRIES {
        true => Ok(list),
        false => Err(Why::EncodedList),
    }
}

const PURPOSE: &str = "revocation";
/// Fewer entries would tell too much about whose mandate is looked up.
const MIN_ENTRIES: u64 = 131_072;
const MAX_LIST_AGE_SECONDS: i64 = 420;
const MAX_LISTS: usize = 16;
