//! Content that a merchant signed (RFC 9421), checked by the keys that it publishes.

use std::sync::Arc;

use http::HeaderMap;
use http_sig::{Message, Verified, Verifier};
use jose::{Alg, Jwk, JwkSet};

use crate::send::Answer;
use crate::{Artefact, Client, Endpoint, Error, Misbehaviour, Misuse, Origin, Why};

/// A signed answer to a GET, however it came to us.
pub(crate) struct Signed<'a> {
    /// Where the signer serves it; what its signature says of the request is compared with this.
    pub(crate) place: &'a Endpoint,
    pub(crate) status: u16,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a [u8],
}

impl<'a> Signed<'a> {
    pub(crate) fn answer(place: &'a Endpoint, answer: &'a Answer) -> Self {
        Self { place, status: answer.status().as_u16(), headers: answer.headers(), body: answer.body() }
    }

    pub(crate) fn verify(&self, verifier: &Verifier, keys: &JwkSet, now: i64) -> Result<(Verified, Jwk), Why> {
        let none = HeaderMap::new();
        let request =
            Message::request("GET", self.place.url().as_str(), &none).map_err(|_| Why::Member("@target-uri"))?;
        let response = Message::response(self.status, self.headers).map_err(|_| Why::Member("@status"))?;
        let response = response.in_reply_to(&request).danger_allow_missing_req().with_body(self.body);
        let find = |keyid: &str| {
            let find = |alg| keys.find(Some(keyid), alg);
            find(Alg::EdDsa).or_else(|| find(Alg::Es256))
        };
        let verified = verifier.verify(&response, now, |keyid| find(keyid).map(Jwk::key))?;
        let jwk = find(verified.keyid()).cloned().ok_or(Why::UnknownKey)?;
        Ok((verified, jwk))
    }
}

impl Client {
    /// Verifies signed content by its signer's published keys, and answers which it was. A `keyid` that is not among them
    /// fetches them again, once.
    pub(crate) async fn verify_signed(
        &self,
        verifier: &Verifier,
        signer: &Origin,
        signed: &Signed<'_>,
        what: Artefact,
    ) -> Result<(Verified, Jwk), Error> {
        let jwks_uri = merchant_jwks(signer)?;
        let known = self.jwks(&jwks_uri).await?;
        let mut outcome = signed.verify(verifier, &known.set, self.now());
        let unknown = matches!(&outcome, Err(Why::HttpSignature(error)) if error.unknown_keyids().next().is_some());
        if unknown && !known.just_fetched {
            outcome = signed.verify(verifier, self.fetch_jwks(&jwks_uri).await?.as_ref(), self.now());
        }
        outcome.map_err(|why| Misbehaviour::new(what, why).into())
    }
}

impl Client {
    /// The keys that a merchant publishes, by which its offers, catalogs and receipts verify.
    ///
    /// # Errors
    ///
    /// - [`Error::Server`], [`Error::Transport`] with [`Stage::Jwks`](crate::Stage::Jwks), or [`Error::PeerMisbehaved`], if
    ///   there is no usable key set.
    pub async fn merchant_keys(&self, merchant: &Origin) -> Result<Arc<JwkSet>, Error> {
        Ok(self.jwks(&merchant_jwks(merchant)?).await?.set)
    }
}

/// Where a merchant publishes its keys.
pub(crate) fn merchant_jwks(merchant: &Origin) -> Result<Endpoint, Error> {
    merchant.join("/.well-known/jwks.json").map_err(|why| Misuse::Url { what: "merchant_url", why }.into())
}
