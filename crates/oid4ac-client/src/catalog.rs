//! Signed catalogs: a merchant's articles, and the cheapest of them that fits.

use std::borrow::Cow;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_sig::{Component, ContentDigest, DigestAlg, Verifier};
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::money::MAX_MINOR;
use crate::send::{Answer, Call};
use crate::signed::Signed;
use crate::untrusted::{self, clean, is_deceptive};
use crate::{Artefact, Client, Currency, Endpoint, Error, Limits, Misbehaviour, Origin, Stage, Verdict, Why, profile};

/// An article of a catalog whose signature holds. What its texts say is the merchant's word, and no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CatalogItem {
    /// The stock keeping unit. An article whose SKU is no identifier is passed over: it could not be named safely.
    pub sku: String,
    /// A title: text from a stranger, cut to 200 characters and without any that deceive the eye.
    pub title: String,
    /// The price of one piece, in minor units.
    pub unit_price_minor: u64,
    /// ISO 4217.
    pub currency: String,
    /// Whether it can be bought now.
    pub in_stock: bool,
    /// A category: text from a stranger, as `title`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// Where it is sent (ISO 3166-1 alpha-2); `None` where the merchant does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ships_to: Option<Vec<String>>,
    /// Where its offer is: a URL at the merchant's origin. In a [`Catalog`], one that is not is left out; an article to be
    /// bought keeps it, and is refused for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offer_url: Option<String>,
}

/// The first page of a catalog, verified, with the fields that prove it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Catalog {
    /// The merchant's origin.
    pub audience: String,
    /// `Signature`, as received.
    pub signature: String,
    /// `Signature-Input`, as received.
    pub signature_input: String,
    /// `Content-Digest`, as received.
    pub content_digest: String,
    /// The articles.
    pub items: Vec<CatalogItem>,
    /// By which key it was verified.
    pub verdict: Verdict,
}

/// What an article must be like to be bought.
#[derive(Clone, Debug)]
pub struct Wanted {
    max_amount_minor: u64,
    currency: Currency,
    category: Option<String>,
    ships_to_country: Option<String>,
}

impl Wanted {
    /// One piece, in stock, for at most this much.
    #[must_use]
    pub fn new(max_amount_minor: u64, currency: Currency) -> Self {
        Self { max_amount_minor, currency, category: None, ships_to_country: None }
    }

    /// Of this category; case does not matter.
    #[must_use]
    pub fn with_category(mut self, category: impl Into<String>) -> Self {
        self.category = Some(category.into());
        self
    }

    /// Sent to this country (ISO 3166-1 alpha-2). An article that does not say where it is sent does not fit.
    #[must_use]
    pub fn with_ships_to_country(mut self, country: impl Into<String>) -> Self {
        self.ships_to_country = Some(country.into());
        self
    }

    fn fits(&self, item: &Item<'_>) -> bool {
        item.in_stock
            && (1..=self.max_amount_minor).contains(&item.unit_price_minor)
            && item.currency.eq_ignore_ascii_case(self.currency.code())
            && self.category.as_deref().is_none_or(|wanted| {
                item.category.as_deref().is_some_and(|category| category.eq_ignore_ascii_case(wanted))
            })
            && self.ships_to_country.as_deref().is_none_or(|wanted| {
                let list = item.ships_to.as_deref().unwrap_or_default();
                list.iter().any(|country| country.eq_ignore_ascii_case(wanted))
            })
    }
}

impl Client {
    /// Fetches and verifies the first page of a merchant's catalog.
    ///
    /// # Errors
    ///
    /// - [`Error::Server`], [`Error::Transport`] if there is no catalog to be had; its stage is [`Stage::Catalog`].
    /// - [`Error::PeerMisbehaved`] if signature, digest or content do not hold.
    pub async fn catalog(&self, merchant: &Origin) -> Result<Catalog, Error> {
        let place = catalog_endpoint(merchant)?;
        let answer = self.fetch_page(&place).await?;
        let verdict = self.verify_page(merchant, &Signed::answer(&place, &answer)).await?;
        let field = |name: &'static str| {
            let value = answer.header(name).map(str::to_owned);
            value.ok_or_else(|| refused(Why::Member(name)))
        };
        Ok(Catalog {
            audience: merchant.as_str().to_owned(),
            signature: field("signature")?,
            signature_input: field("signature-input")?,
            content_digest: field("content-digest")?,
            items: read_items(answer.body(), merchant)?,
            verdict,
        })
    }

    /// The cheapest article that fits, from all pages of a merchant's verified catalog; of equal prices the one whose SKU
    /// sorts first. At most 50 pages are read.
    ///
    /// # Errors
    ///
    /// - as for [`Client::catalog`], for any page.
    pub async fn cheapest(&self, merchant: &Origin, wanted: &Wanted) -> Result<Option<CatalogItem>, Error> {
        Ok(self.cheapest_first(merchant, wanted, 1).await?.pop())
    }

    /// As [`Client::cheapest`], with the next cheapest behind it: at most `most` articles, should the merchant's offer for
    /// the first not be what its catalog says. A SKU that is listed at several prices counts once, at the lowest.
    ///
    /// # Errors
    ///
    /// - as for [`Client::catalog`], for any page.
    pub async fn cheapest_first(
        &self,
        merchant: &Origin,
        wanted: &Wanted,
        most: usize,
    ) -> Result<Vec<CatalogItem>, Error> {
        let mut best: Vec<CatalogItem> = Vec::new();
        let mut next = Some(catalog_endpoint(merchant)?);
        let mut pages = 0;
        while let Some(place) = next.take() {
            pages += 1;
            if pages > MAX_PAGES {
                return Err(refused(Why::Member("next")).into());
            }
            let answer = self.fetch_page(&place).await?;
            self.verify_page(merchant, &Signed::answer(&place, &answer)).await?;
            // The bytes are verified before any of them is believed; then only the best so far are kept.
            let page = Page::read(answer.body(), |item| {
                if item.has_names() && wanted.fits(item) {
                    keep_cheapest(&mut best, item, most);
                }
            })?;
            if let Some(url) = page {
                let url = place.url().join(&url).map_err(|_| refused(Why::Member("next")))?;
                let endpoint = Endpoint::parse(url.as_str()).map_err(|_| refused(Why::Member("next")))?;
                if endpoint.origin() != merchant {
                    return Err(refused(Why::Origin("next")).into());
                }
                next = Some(endpoint);
            }
        }
        Ok(best)
    }

    async fn fetch_page(&self, place: &Endpoint) -> Result<Answer, Error> {
        let call = Call::get(Stage::Catalog, place).limits(Limits::LARGE);
        let answer = self.send(call).await?;
        match answer.status() {
            StatusCode::OK => Ok(answer),
            _ => Err(answer.server_error().into()),
        }
    }

    async fn verify_page(&self, merchant: &Origin, signed: &Signed<'_>) -> Result<Verdict, Error> {
        let (verified, jwk) = self.verify_signed(&catalog_verifier()?, merchant, signed, Artefact::Catalog).await?;
        Ok(Verdict::by_signature(&verified, jwk.key()))
    }

    /// Verifies a catalog that somebody else handed on, from the exact bytes that the merchant signed.
    pub(crate) async fn verify_handed_on(
        &self,
        merchant: &Origin,
        fields: &SignedFields,
        content_type: &str,
        body: &[u8],
    ) -> Result<Catalog, Error> {
        let place = catalog_endpoint(merchant)?;
        let mut headers = HeaderMap::new();
        let named = [
            ("signature", fields.dictionary()),
            ("signature-input", fields.signature_input.clone()),
            (ContentDigest::FIELD, fields.content_digest.clone()),
        ];
        for (name, value) in named {
            headers.insert(name, HeaderValue::from_str(&value).map_err(|_| refused(Why::Member(name)))?);
        }
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_str(content_type).map_err(|_| refused(Why::Member("signed_content_type")))?,
        );
        let signed = Signed { place: &place, status: 200, headers: &headers, body };
        let verdict = self.verify_page(merchant, &signed).await?;
        Ok(Catalog {
            audience: merchant.as_str().to_owned(),
            signature: fields.signature.clone(),
            signature_input: fields.signature_input.clone(),
            content_digest: fields.content_digest.clone(),
            items: read_items(body, merchant)?,
            verdict,
        })
    }
}

/// The three fields of a signed catalog.
pub(crate) struct SignedFields {
    pub(crate) signature: String,
    pub(crate) signature_input: String,
    pub(crate) content_digest: String,
}

impl SignedFields {
    /// `Signature` as a dictionary. A bare byte sequence belongs to the only label in `Signature-Input`.
    fn dictionary(&self) -> String {
        match (self.signature.starts_with(':'), self.signature_input.split_once('=')) {
            (true, Some((label, _))) => format!("{label}={}", self.signature),
            _ => self.signature.clone(),
        }
    }
}

pub(crate) fn catalog_endpoint(merchant: &Origin) -> Result<Endpoint, Error> {
    merchant.join("/.well-known/oid4ac-catalog").map_err(|why| crate::Misuse::Url { what: "store_url", why }.into())
}

/// At least method, target and digest, at most 600 s between `created` and `expires`.
fn catalog_verifier() -> Result<Verifier, Error> {
    let mut verifier = Verifier::new()
        .algs(profile::HTTP_SIGNATURES)
        .require_content_digest(&[DigestAlg::Sha256])
        .skew(profile::SIGNATURE_SKEW_SECONDS)
        .max_lifetime(profile::CATALOG_MAX_LIFE_SECONDS);
    for name in ["@method", "@target-uri"] {
        verifier = verifier.require(Component::parse(name).map_err(|_| refused(Why::Member("signature-input")))?);
    }
    Ok(verifier)
}

/// Puts the article where it belongs among the cheapest, by price and then SKU, unless `most` are cheaper or its SKU is
/// already there for less.
fn keep_cheapest(best: &mut Vec<CatalogItem>, item: &Item<'_>, most: usize) {
    let rank = (item.unit_price_minor, item.sku.as_ref());
    let at = best.partition_point(|other| (other.unit_price_minor, other.sku.as_str()) <= rank);
    if at >= most || best[..at].iter().any(|other| other.sku == item.sku) {
        return;
    }
    best.retain(|other| other.sku != item.sku);
    best.insert(at, item.to_owned());
    best.truncate(most);
}

/// The articles of a page, to be shown.
fn read_items(body: &[u8], merchant: &Origin) -> Result<Vec<CatalogItem>, Error> {
    let mut items = Vec::new();
    Page::read(body, |item| {
        if item.has_names() {
            let mut item = item.to_owned();
            item.offer_url = item.offer_url.filter(|url| untrusted::url_at(merchant, url).is_some());
            items.push(item);
        }
    })?;
    Ok(items)
}

/// One article, borrowed from the body. Duplicate members are refused.
#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow)]
    sku: Cow<'a, str>,
    #[serde(borrow, default)]
    title: Option<Cow<'a, str>>,
    unit_price_minor: u64,
    #[serde(borrow)]
    currency: Cow<'a, str>,
    in_stock: bool,
    #[serde(borrow, default)]
    category: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    ships_to: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow, default)]
    offer_url: Option<Cow<'a, str>>,
}

impl Item<'_> {
    fn to_owned(&self) -> CatalogItem {
        let shown = |text: &Cow<'_, str>| clean(text, MAX_TEXT);
        CatalogItem {
            sku: self.sku.clone().into_owned(),
            title: self.title.as_ref().map_or_else(String::new, shown),
            unit_price_minor: self.unit_price_minor,
            currency: self.currency.clone().into_owned(),
            in_stock: self.in_stock,
            category: self.category.as_ref().map(shown),
            ships_to: self.ships_to.as_ref().map(|list| {
                list.iter().filter(|country| is_letters(country, 2)).map(|country| country.to_string()).collect()
            }),
            offer_url: self.offer_url.as_ref().map(|url| url.clone().into_owned()),
        }
    }

    /// Whether SKU and currency are made like what they are.
    fn has_names(&self) -> bool {
        untrusted::is_identifier(&self.sku) && is_letters(&self.currency, 3)
    }

    fn is_sound(&self) -> bool {
        (1..=MAX_SKU).contains(&self.sku.len())
            // It names the article and cannot be cleaned, so it is either fit to be shown or none.
            && !self.sku.chars().any(is_deceptive)
            && self.unit_price_minor <= MAX_MINOR
    }
}

/// Reads `{"items": […], "next": …}`, handing each article to `each` as it comes.
struct Page<F> {
    each: F,
}

impl<F: FnMut(&Item<'_>)> Page<F> {
    /// The address of the next page, where there is one.
    fn read(body: &[u8], each: F) -> Result<Option<String>, Error> {
        let mut reader = serde_json::Deserializer::from_slice(crate::lenient::without_bom(body));
        let next = Self { each }.deserialize(&mut reader).and_then(|next| reader.end().map(|()| next));
        next.map_err(|error| refused(Why::Json(format!("line {} column {}", error.line(), error.column()))).into())
    }

    fn deserialize<'de, D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<String>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, F: FnMut(&Item<'_>)> Visitor<'de> for Page<F> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("a catalog page")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut items, mut next) = (false, None);
        while let Some(name) = map.next_key::<Cow<'_, str>>()? {
            match name.as_ref() {
                "items" if items => return Err(serde::de::Error::duplicate_field("items")),
                "items" => {
                    map.next_value_seed(Items(&mut self.each))?;
                    items = true;
                }
                "next" if next.is_some() => return Err(serde::de::Error::duplicate_field("next")),
                "next" => next = Some(map.next_value::<Option<String>>()?),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        match items {
            true => Ok(next.flatten()),
            false => Err(serde::de::Error::missing_field("items")),
        }
    }
}

struct Items<'f, F>(&'f mut F);

impl<'de, F: FnMut(&Item<'_>)> serde::de::DeserializeSeed<'de> for Items<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, F: FnMut(&Item<'_>)> Visitor<'de> for Items<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("a list of articles")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(item) = seq.next_element::<Item<'de>>()? {
            if !item.is_sound() {
                return Err(serde::de::Error::custom("an article is not sound"));
            }
            (self.0)(&item);
        }
        Ok(())
    }
}

fn is_letters(text: &str, count: usize) -> bool {
    text.len() == count && text.bytes().all(|octet| octet.is_ascii_alphabetic())
}

fn refused(why: Why) -> Misbehaviour {
    Misbehaviour::new(Artefact::Catalog, why)
}

const MAX_PAGES: u32 = 50;
const MAX_TEXT: usize = 200;
const MAX_SKU: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    fn page(items: &str) -> String {
        format!(r#"{{"items":[{items}],"next":null}}"#)
    }

    fn item(sku: &str, price: i64) -> String {
        format!(r#"{{"sku":"{sku}","title":"t","unit_price_minor":{price},"currency":"EUR","in_stock":true}}"#)
    }

    #[test]
    fn reads_articles_and_the_next_page() {
        let mut seen = Vec::new();
        let body = format!(r#"{{"x":1,"items":[{},{}],"next":"/p2"}}"#, item("a", 1), item("b", 2));
        let next = Page::read(body.as_bytes(), |item| seen.push(item.sku.to_string())).unwrap();
        assert_eq!((next.as_deref(), seen), (Some("/p2"), vec!["a".to_owned(), "b".to_owned()]));
    }

    #[test]
    fn keeps_the_cheapest_in_order_and_each_sku_once_at_its_lowest_price() {
        let listed = [("d", 4), ("a", 9), ("c", 3), ("b", 3), ("a", 2), ("e", 5), ("a", 7), ("b", 3), ("f", 1)];
        let items = listed.map(|(sku, price)| item(sku, price)).join(",");
        let cheapest = |most| {
            let mut best = Vec::new();
            Page::read(page(&items).as_bytes(), |item| keep_cheapest(&mut best, item, most)).unwrap();
            best.into_iter().map(|item| (item.sku, item.unit_price_minor)).collect::<Vec<_>>()
        };
        let expected = [("f", 1), ("a", 2), ("b", 3), ("c", 3), ("d", 4), ("e", 5)];
        for most in 0..=7 {
            let expected: Vec<_> = expected.iter().take(most).map(|(sku, price)| ((*sku).to_owned(), *price)).collect();
            assert_eq!(cheapest(most), expected);
        }
    }

    #[test]
    fn refuses_what_is_no_catalog() {
        for body in [
            "[]".to_owned(),
            "{}".to_owned(),
            page(&item("", 1)),
            page(&item("a\u{202e}b", 1)),
            page(&item("a\u{200b}", 1)),
            page(&item("a", -1)),
            page(&item("a", 1).replace("true", "\"yes\"")),
            page(&item("a", 1).replace("\"sku\"", "\"sku\":\"b\",\"sku\"")),
            page(&item("a", 1)).replace("\"next\"", "\"items\":[],\"next\""),
            page(&item("a", 1)) + "{}",
        ] {
            assert!(Page::read(body.as_bytes(), |_| {}).is_err(), "{body}");
        }
    }

    #[test]
    fn an_article_that_cannot_be_named_is_passed_over_and_a_foreign_offer_url_is_not_shown() {
        let merchant = Origin::of("https://shop.example").unwrap();
        let with_url = |url: &str| item("a", 1).replace(r#""title""#, &format!(r#""offer_url":"{url}","title""#));
        let urls = ["https://shop.example/o/1", "https://evil.example/o/1", "https://shop.example/pay now", "nonsense"];
        let bodies = urls.map(with_url);
        let all = [bodies.join(","), item("pay me now", 1), item("a", 1).replace("EUR", "E R")].join(",");
        let items = read_items(page(&all).as_bytes(), &merchant).unwrap();
        let shown: Vec<_> = items.iter().map(|item| item.offer_url.as_deref()).collect();
        assert_eq!(shown, [Some(urls[0]), None, None, None]);
    }

    #[test]
    fn a_hostile_title_is_cut_and_cleaned() {
        let title = format!("\\u001b[2J\\u202e{}", "x".repeat(100_000));
        let body = page(&item("a", 1).replace(r#""title":"t""#, &format!(r#""title":"{title}""#)));
        let items = read_items(body.as_bytes(), &Origin::of("https://shop.example").unwrap()).unwrap();
        assert_eq!(items[0].title, format!("[2J{}", "x".repeat(197)));
    }
}
