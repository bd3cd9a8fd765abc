//! Whether a mandate was revoked (W3C StatusList2021), by a list that is fetched over HTTP and cached for a minute.

use std::collections::HashMap;
use std::io::Read as _;
use std::sync::{Arc, Mutex, PoisonError};

use flate2::bufread::GzDecoder;
use http::header::ETAG;
use http::{HeaderValue, StatusCode};
use jose::{Alg, Typ, UnixSeconds, UnverifiedJws, base64url, json};
use serde_json::Value;

use super::issuer::Issuer;
use super::mandate::CredentialStatus;
use crate::loopback;

/// The lists that were fetched, by URL.
pub(super) struct StatusLists(Mutex<HashMap<String, Arc<CachedList>>>);

struct CachedList {
    bits: Vec<u8>,
    issued_at: UnixSeconds,
    fetched_at: UnixSeconds,
    etag: Option<HeaderValue>,
}

/// It is unknown whether the mandate is good: the list is unreachable, unverifiable or too old.
#[derive(Debug)]
pub(super) struct StatusUnavailable;

impl StatusLists {
    pub(super) fn new() -> Self {
        Self(Mutex::new(HashMap::new()))
    }

    /// Drops every copy, so that the next look is at the list itself.
    pub(super) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Whether the bit is set, by a list no older than a merchant about to charge may rely on.
    pub(super) async fn is_revoked(
        &self,
        now: UnixSeconds,
        issuer: &Issuer,
        status: &CredentialStatus,
    ) -> Result<bool, StatusUnavailable> {
        if status.kind != "StatusList2021Entry" || status.status_purpose != PURPOSE {
            return Err(StatusUnavailable);
        }
        let index: usize = status.status_list_index.parse().map_err(|_| StatusUnavailable)?;
        let list = self.fresh(now, issuer, &status.status_list_credential).await.ok_or(StatusUnavailable)?;
        let octet = list.bits.get(index / 8).ok_or(StatusUnavailable)?;
        Ok(octet & (0x80 >> (index % 8)) != 0)
    }

    async fn fresh(&self, now: UnixSeconds, issuer: &Issuer, url: &str) -> Option<Arc<CachedList>> {
        let cached = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(url).cloned();
        if let Some(cached) = &cached
            && (0..=REVALIDATED_SECONDS).contains(&(now - cached.fetched_at))
        {
            return Some(Arc::clone(cached));
        }
        // The list has the origin of the mandate's `iss`, whatever else a mandate might say.
        let path = url.strip_prefix(issuer.origin()).filter(|path| path.starts_with('/'))?;
        let etag = cached.as_ref().and_then(|cached| cached.etag.as_ref());
        let answer = loopback::get(issuer.origin(), path, etag).await.ok()?;
        let list = match (answer.status, cached) {
            (StatusCode::OK, _) => {
                let (bits, issued_at) = verify(now, issuer, url, &answer.body).await?;
                CachedList { bits, issued_at, fetched_at: now, etag: answer.headers.get(ETAG).cloned() }
            }
            (StatusCode::NOT_MODIFIED, Some(cached)) => CachedList {
                bits: cached.bits.clone(),
                issued_at: cached.issued_at,
                fetched_at: now,
                etag: cached.etag.clone(),
            },
            _ => return None,
        };
        if now - list.issued_at > MAX_AGE_SECONDS {
            return None;
        }
        let list = Arc::new(list);
        let mut lists = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lists.len() >= MAX_LISTS {
            lists.clear();
        }
        lists.insert(url.to_owned(), Arc::clone(&list));
        Some(list)
    }
}

/// Checks a credential and gives its bits and when it was issued.
async fn verify(now: UnixSeconds, issuer: &Issuer, url: &str, body: &[u8]) -> Option<(Vec<u8>, UnixSeconds)> {
    let mut credential = json::parse_object(body).ok()?;
    let proof = credential.remove("proof")?;
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let subject = credential.get("credentialSubject")?;
    let is_this = text(credential.get("id"))? == url
        && text(credential.get("issuer"))? == issuer.origin()
        && text(subject.get("statusPurpose"))? == PURPOSE;
    if !is_this {
        return None;
    }
    let encoded = text(subject.get("encodedList"))?;
    let issued_at = text(credential.get("issuanceDate"))?.parse::<jiff::Timestamp>().ok()?.as_second();

    // RFC 7515 appendix F: the payload is put back between the two dots.
    let (header, signature) = proof.get("jws")?.as_str()?.split_once("..")?;
    let payload = serde_json_canonicalizer::to_vec(&credential).ok()?;
    let jws = format!("{header}.{}.{signature}", base64url::encode(&payload));
    let jws = UnverifiedJws::parse(&jws).ok()?;
    let key = issuer.key(now, jws.unverified_kid(), Alg::EdDsa).await.ok()?;
    jws.verify(&key, &[Alg::EdDsa], Typ::Absent).ok()?;

    let bits = inflate(&decode(&encoded)?)?;
    (bits.len() >= MIN_BITS / 8).then_some((bits, issued_at))
}

/// base64 or base64url, padded or not, with or without the multibase prefix `u`. What is encoded is gzip, whose first
/// character is always `H`, so the prefix is unmistakable.
fn decode(encoded: &str) -> Option<Vec<u8>> {
    let text = encoded.strip_prefix('u').unwrap_or(encoded).trim_end_matches('=');
    base64url::decode(&text.replace('+', "-").replace('/', "_")).ok()
}

/// One gzip member and nothing behind it, with a good CRC, of bounded size.
fn inflate(gzip: &[u8]) -> Option<Vec<u8>> {
    let mut decoder = GzDecoder::new(gzip);
    let mut bits = Vec::new();
    decoder.by_ref().take(MAX_OCTETS + 1).read_to_end(&mut bits).ok()?;
    let ended = u64::try_from(bits.len()).is_ok_and(|len| len <= MAX_OCTETS) && decoder.into_inner().is_empty();
    ended.then_some(bits)
}

const PURPOSE: &str = "revocation";
const REVALIDATED_SECONDS: UnixSeconds = 60;
/// 300 s in caches, 60 s until the next one is made, 60 s for clocks.
const MAX_AGE_SECONDS: UnixSeconds = 420;
const MIN_BITS: usize = 131_072;
const MAX_OCTETS: u64 = 4 * 1024 * 1024;
const MAX_LISTS: usize = 4;

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    fn gzip(bits: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bits).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn takes_gzip_in_each_base64_dress() {
        let packed = gzip(&[7; 32]);
        let plain = base64url::encode(&packed);
        let padded = format!("{plain}{}", "=".repeat((4 - plain.len() % 4) % 4));
        for text in [plain.clone(), padded, format!("u{plain}"), plain.replace('-', "+").replace('_', "/")] {
            assert_eq!(inflate(&decode(&text).unwrap()), Some(vec![7; 32]));
        }
    }

    #[test]
    fn refuses_zlib_raw_deflate_bad_crc_trailing_data_and_bombs() {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(&[7; 32]).unwrap();
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::default());
        raw.write_all(&[7; 32]).unwrap();
        let mut bad_crc = gzip(&[7; 32]);
        let crc = bad_crc.len() - 8;
        bad_crc[crc] ^= 1;
        let trailing = [gzip(&[7; 32]), vec![0]].concat();
        let second_member = [gzip(&[7; 32]), gzip(&[7; 32])].concat();
        let truncated = gzip(&[7; 32])[..20].to_vec();
        let bomb = gzip(&vec![0; MAX_OCTETS as usize + 1]);
        let all = [zlib.finish().unwrap(), raw.finish().unwrap(), bad_crc, trailing, second_member, truncated, bomb];
        for (number, octets) in all.iter().enumerate() {
            assert_eq!(inflate(octets), None, "case {number}");
        }
    }

    #[tokio::test]
    async fn cannot_tell_when_the_list_is_elsewhere_of_another_kind_or_out_of_reach() {
        // Nothing listens on port 1.
        let issuer = Issuer::new("http://127.0.0.1:1");
        let good = CredentialStatus {
            kind: "StatusList2021Entry".to_owned(),
            status_purpose: PURPOSE.to_owned(),
            status_list_index: "7".to_owned(),
            status_list_credential: "http://127.0.0.1:1/oauth/status-list/1".to_owned(),
        };
        let elsewhere = "http://127.0.0.1:12/oauth/status-list/1".to_owned();
        let cases = [
            CredentialStatus { status_list_credential: elsewhere, ..good.clone() },
            CredentialStatus { status_purpose: "suspension".to_owned(), ..good.clone() },
            CredentialStatus { kind: "Other".to_owned(), ..good.clone() },
            CredentialStatus { status_list_index: "-1".to_owned(), ..good.clone() },
            good,
        ];
        for (number, status) in cases.iter().enumerate() {
            assert!(StatusLists::new().is_revoked(0, &issuer, status).await.is_err(), "case {number}");
        }
    }
}
