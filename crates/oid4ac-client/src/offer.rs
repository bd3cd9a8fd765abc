//! Signed offers (RFC 9421, RFC 9530), and the digest that binds a mandate to them.

use http::header::{ACCEPT, CACHE_CONTROL};
use http::{HeaderValue, StatusCode};
use http_sig::{Component, DigestAlg, Verifier};
use jose::{base64url, json, sha256};
use serde_json::{Map, Value};

use crate::money::MAX_MINOR;
use crate::order::UnsignedOffers;
use crate::send::{Answer, Call};
use crate::signed::Signed;
use crate::{
    Artefact, CatalogItem, CheckedOffers, Client, Currency, Endpoint, Error, Evidence, LineItem, Misbehaviour, Misuse,
    Money, Order, Origin, SignedOffer, Stage, Verdict, Why, profile, untrusted,
};

/// A merchant's offer whose signature holds.
struct VerifiedOffer {
    object: Map<String, Value>,
    amount_minor: u64,
    nonce: String,
    verdict: Verdict,
    evidence: SignedOffer,
}

impl Client {
    /// Fetches and verifies the offer of every line, and compares price, currency and stock with the order. This is the
    /// first thing [`Client::pay`] does; alone, it tells whether the order could be paid as it stands.
    ///
    /// # Errors
    ///
    /// - [`Misuse::OfferMissing`] if the merchant signs no offer for a line, and the order does not allow that.
    /// - [`Error::PeerMisbehaved`] if an offer does not hold, or is not what the order says.
    /// - [`Error::Server`] or [`Error::Transport`] if an offer cannot be fetched.
    pub async fn check_offers(&self, order: &Order) -> Result<CheckedOffers, Error> {
        Ok(self.verify_offers(order).await?.0)
    }

    /// As [`Client::check_offers`], with what proves it.
    pub(crate) async fn verify_offers(&self, order: &Order) -> Result<(CheckedOffers, Evidence), Error> {
        let mut offers = Vec::with_capacity(order.line_items().len());
        let mut unsigned_skus = Vec::new();
        for line in order.line_items() {
            let offer = self.fetch_offer(order.merchant(), order.amount().currency(), line).await?;
            if offer.is_none() {
                if order.unsigned_offers() == UnsignedOffers::Refuse {
                    return Err(Misuse::OfferMissing { sku: line.sku().to_owned() }.into());
                }
                unsigned_skus.push(line.sku().to_owned());
            }
            offers.push(offer);
        }
        check_prices(order, &offers)?;
        let verdict = offers.iter().flatten().next().map_or(Verdict::Absent, |offer| offer.verdict.clone());
        let nonce = offers.first().and_then(Option::as_ref).map(|offer| offer.nonce.clone());
        let apart = |offer: Option<VerifiedOffer>| match offer {
            Some(VerifiedOffer { object, evidence, .. }) => (Some(object), Some(evidence)),
            None => (None, None),
        };
        let (objects, evidence): (Vec<_>, Vec<_>) = offers.into_iter().map(apart).unzip();
        let digest = offer_digest(objects)?;
        Ok((CheckedOffers { digest, nonce, verdict, unsigned_skus }, Evidence::Offers(evidence)))
    }

    /// What one piece of an article costs by the merchant's signed offer. Whether that is the catalog's price is for the
    /// caller to compare.
    ///
    /// # Errors
    ///
    /// As for [`Client::check_offers`]; [`Misuse::Money`] if the offer says that it is free. [`Why::OutOfStock`] and
    /// [`Why::Currency`] are the merchant's signed word too: every other error leaves open what the offer says.
    pub async fn quote(&self, merchant: &Origin, currency: Currency, item: &CatalogItem) -> Result<Money, Error> {
        let line = LineItem::of(item);
        let offer = self.fetch_offer(merchant, currency, &line).await?;
        let offer = offer.ok_or_else(|| Misuse::OfferMissing { sku: item.sku.clone() })?;
        Ok(Money::new(offer.amount_minor, currency).map_err(Misuse::Money)?)
    }

    /// `None` if the merchant has no offer for the SKU at any place.
    async fn fetch_offer(
        &self,
        merchant: &Origin,
        currency: Currency,
        line: &LineItem,
    ) -> Result<Option<VerifiedOffer>, Error> {
        let places = match line.offer_url() {
            Some(url) => vec![untrusted::url(url).ok_or_else(|| refused(Why::Member("offer_url")))?],
            None => OFFER_PATHS
                .iter()
                .map(|path| sku_endpoint(merchant.as_str(), path, line.sku()))
                .collect::<Result<_, _>>()?,
        };
        for place in &places {
            if place.origin() != merchant {
                return Err(refused(Why::Origin("offer_url")).into());
            }
            let call = Call::get(Stage::Offer, place)
                .header(ACCEPT, HeaderValue::from_static("application/ld+json, application/json"))
                .header(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            let answer = self.send(call).await?;
            match answer.status() {
                StatusCode::OK => return self.verify_offer((merchant, currency), line, place, &answer).await.map(Some),
                StatusCode::NOT_FOUND => {}
                _ => return Err(answer.server_error().into()),
            }
        }
        Ok(None)
    }

    async fn verify_offer(
        &self,
        (merchant, currency): (&Origin, Currency),
        line: &LineItem,
        place: &Endpoint,
        answer: &Answer,
    ) -> Result<VerifiedOffer, Error> {
        let signed = Signed::answer(place, answer);
        let (verified, jwk) = self.verify_signed(&offer_verifier()?, merchant, &signed, Artefact::Offer).await?;
        let nonce = verified.params().nonce().unwrap_or_default().to_owned();
        if !is_challenge(&nonce) {
            return Err(refused(Why::Member("nonce")).into());
        }
        let object = json::parse_object(answer.json_text()).map_err(|error| refused(Why::Json(error.to_string())))?;
        let text =
            |name: &'static str| object.get(name).and_then(Value::as_str).ok_or_else(|| refused(Why::Member(name)));
        if text("sku")? != line.sku() {
            return Err(refused(Why::Mismatch("sku")).into());
        }
        if text("currency")? != currency.code() {
            return Err(refused(Why::Currency).into());
        }
        let amount_minor = object.get("amount_minor").and_then(Value::as_u64).filter(|minor| *minor <= MAX_MINOR);
        let amount_minor = amount_minor.ok_or_else(|| refused(Why::Member("amount_minor")))?;
        match object.get("in_stock").and_then(Value::as_bool) {
            Some(true) => {}
            Some(false) => return Err(refused(Why::OutOfStock).into()),
            None => return Err(refused(Why::Member("in_stock")).into()),
        }
        let verdict = Verdict::by_signature(&verified, jwk.key());
        let evidence = SignedOffer::new(&signed, &verified, &jwk, self.now());
        Ok(VerifiedOffer { object, amount_minor, nonce, verdict, evidence })
    }
}

/// Five components and a nonce, at most 300 s between `created` and `expires`.
pub(crate) fn offer_verifier() -> Result<Verifier, Misbehaviour> {
    let mut verifier = Verifier::new()
        .algs(profile::HTTP_SIGNATURES)
        .require_content_digest(&[DigestAlg::Sha256])
        .require_nonce()
        .skew(profile::SIGNATURE_SKEW_SECONDS)
        .max_lifetime(profile::OFFER_MAX_LIFE_SECONDS);
    for name in ["@method", "@target-uri", "@authority", "content-type"] {
        verifier = verifier.require(Component::parse(name).map_err(|_| refused(Why::Member("signature-input")))?);
    }
    Ok(verifier)
}

/// The signed prices, or the caller's where a human approved those, make the amount exactly.
fn check_prices(order: &Order, offers: &[Option<VerifiedOffer>]) -> Result<(), Error> {
    let asked = order.amount().amount_minor();
    let mut signed = 0_u64;
    for (line, offer) in order.line_items().iter().zip(offers) {
        let price = match (offer, line.unit_price_minor()) {
            (Some(offer), Some(claimed)) if offer.amount_minor != claimed => {
                return Err(refused(Why::Price { signed: offer.amount_minor, asked: claimed }).into());
            }
            (Some(offer), _) => offer.amount_minor,
            (None, Some(claimed)) => claimed,
            (None, None) => return Err(Misuse::OfferMissing { sku: line.sku().to_owned() }.into()),
        };
        signed = signed.saturating_add(price.saturating_mul(u64::from(line.qty())));
    }
    match signed == asked {
        true => Ok(()),
        false => Err(refused(Why::Price { signed, asked }).into()),
    }
}

/// b64url(SHA-256(JCS(x))), x being the offer of the one line, or the array of all lines' offers with `null` for those
/// that have none (RFC 8785).
pub(crate) fn offer_digest(
    offers: impl IntoIterator<Item = Option<Map<String, Value>>>,
) -> Result<Option<String>, Misbehaviour> {
    let mut objects: Vec<_> = offers.into_iter().map(|offer| offer.map_or(Value::Null, Value::Object)).collect();
    if objects.iter().all(Value::is_null) {
        return Ok(None);
    }
    let digested = match objects.len() {
        1 => objects.remove(0),
        _ => Value::Array(objects),
    };
    let canonical = serde_json_canonicalizer::to_vec(&digested).map_err(|_| refused(Why::Json("offer".to_owned())))?;
    Ok(Some(base64url::encode(&sha256(&canonical))))
}

fn sku_endpoint(merchant: &str, path: &str, sku: &str) -> Result<Endpoint, Error> {
    let unusable = || Misuse::Url { what: "merchant_url", why: crate::InvalidUrl::NotAbsolute };
    let mut url = url::Url::parse(merchant).map_err(|_| unusable())?;
    url.path_segments_mut().map_err(|()| unusable())?.pop_if_empty().extend(path.split('/')).push(sku);
    Endpoint::parse(url.as_str()).map_err(|_| unusable().into())
}

/// Whether a text can be a merchant's challenge: 16 to 128 characters of the base64url alphabet.
pub(crate) fn is_challenge(text: &str) -> bool {
    (16..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn refused(why: Why) -> Misbehaviour {
    Misbehaviour::new(Artefact::Offer, why)
}

const OFFER_PATHS: [&str; 2] = ["oid4ac/offer", "products"];
