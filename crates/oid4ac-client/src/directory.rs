//! The directory: which merchants there are, and a preview of what they sell.

use base64::Engine as _;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::catalog::SignedFields;
use crate::send::Call;
use crate::untrusted::{self, clean};
use crate::{Artefact, Catalog, Client, Endpoint, Error, Limits, Misbehaviour, Misuse, Origin, Stage, Why};

/// Which merchants to list. What is not set does not narrow the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MerchantFilter {
    /// ISO 3166-1 alpha-2; case does not matter.
    pub country: Option<String>,
    /// ISO 4217; case does not matter.
    pub currency: Option<String>,
    /// A payment rail: `card`, `ideal`, `sepa_debit`, …
    pub rail: Option<String>,
    /// Text to be found in the business name.
    pub q: Option<String>,
    /// From 1.
    pub page: Option<u32>,
    /// 1 to 100.
    pub page_size: Option<u32>,
}

/// A page of the directory's list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MerchantList {
    /// The merchants of this page.
    pub merchants: Vec<Merchant>,
    /// Which page this is, from 1.
    #[serde(deserialize_with = "crate::lenient::count")]
    pub page: u64,
    /// How many merchants make a page.
    #[serde(deserialize_with = "crate::lenient::count")]
    pub page_size: u64,
    /// How many merchants there are on all pages.
    #[serde(deserialize_with = "crate::lenient::count")]
    pub total: u64,
}

/// A merchant, as the directory describes it. One whose id, origin or country is none is left out of a list; `business_name`
/// is a stranger's text, cut to 200 characters and without any that deceive the eye.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Merchant {
    /// The directory's name for it.
    pub id: String,
    /// Its origin, and the audience of mandates for it.
    pub audience: String,
    /// Its name.
    pub business_name: String,
    /// ISO 3166-1 alpha-2.
    pub country: String,
    /// ISO 4217.
    pub accepted_currencies: Vec<String>,
    /// Payment rails.
    pub accepted_rails: Vec<String>,
    /// When the directory verified it (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified_at: Option<String>,
}

impl Client {
    /// Lists merchants.
    ///
    /// # Errors
    ///
    /// - [`Misuse::NoDirectory`] if no directory was configured.
    /// - [`Misuse::Filter`] if a filter cannot be right: nothing is sent.
    /// - [`Error::Server`], [`Error::Transport`] with stage [`Stage::Directory`].
    pub async fn merchants(&self, filter: &MerchantFilter) -> Result<MerchantList, Error> {
        check_filter(filter).map_err(Misuse::Filter)?;
        let mut url = self.directory()?.url().clone();
        url.path_segments_mut().map_err(|()| Misuse::NoDirectory)?.pop_if_empty().push("merchants");
        {
            let mut query = url.query_pairs_mut();
            let number = |number: Option<u32>| number.map(|number| number.to_string());
            let parameters = [
                ("country", filter.country.as_deref().map(str::to_ascii_uppercase)),
                ("currency", filter.currency.as_deref().map(str::to_ascii_uppercase)),
                ("rail", filter.rail.clone()),
                ("q", filter.q.clone()),
                ("page", number(filter.page)),
                ("page_size", number(filter.page_size)),
            ];
            query.extend_pairs(parameters.into_iter().filter_map(|(name, value)| Some((name, value?))));
        }
        let mut list: MerchantList = self.ask_directory(&url, Stage::Directory).await?;
        list.merchants.retain_mut(Merchant::clean);
        Ok(list)
    }

    /// The first page of a merchant's catalog, as the directory hands it on. It is verified by the merchant's own keys,
    /// from the bytes that the merchant signed where the directory brings them, else from the merchant's own server.
    ///
    /// # Errors
    ///
    /// - [`Misuse::MerchantId`] unless `id` is of ASCII letters, digits, `_`, `:` and `-`.
    /// - [`Error::PeerMisbehaved`] with [`Why::Unsigned`] and the name of a signed field that is missing, or for anything
    ///   that does not hold. Unverified articles are never returned.
    /// - [`Error::Server`], [`Error::Transport`] with stage [`Stage::CatalogPreview`] or [`Stage::Catalog`].
    pub async fn catalog_preview(&self, id: &str) -> Result<Catalog, Error> {
        if !is_merchant_id(id) {
            return Err(Misuse::MerchantId.into());
        }
        let mut url = self.directory()?.url().clone();
        url.path_segments_mut().map_err(|()| Misuse::NoDirectory)?.pop_if_empty().extend([
            "merchants",
            id,
            "catalog-preview",
        ]);
        let preview: Preview = self.ask_directory(&url, Stage::CatalogPreview).await?;
        let refused = |why: Why| Misbehaviour::new(Artefact::Catalog, why);
        let signed = |field: Option<String>, name| {
            field.filter(|text| !text.is_empty()).ok_or_else(|| refused(Why::Unsigned(name)))
        };
        let fields = SignedFields {
            signature: signed(preview.signature, "signature")?,
            signature_input: signed(preview.signature_input, "signature_input")?,
            content_digest: signed(preview.content_digest, "content_digest")?,
        };
        let audience = preview.audience.ok_or_else(|| refused(Why::Member("audience")))?;
        let merchant = Origin::of(&audience).ok().filter(|origin| origin.as_str() == audience);
        let merchant = merchant.ok_or_else(|| refused(Why::Member("audience")))?;
        if preview.merchant_id.as_deref().is_some_and(|given| given != id) {
            return Err(refused(Why::Mismatch("merchant_id")).into());
        }
        if self.listed_audience(id).await?.is_none_or(|listed| listed != audience) {
            return Err(refused(Why::Mismatch("audience")).into());
        }
        let body = preview.signed_body.and_then(|text| base64::engine::general_purpose::STANDARD.decode(text).ok());
        let digest = http_sig::ContentDigest::parse(&fields.content_digest).ok();
        match body.filter(|body| digest.is_some_and(|digest| digest.verify(body).is_ok())) {
            Some(body) => {
                let content_type = preview.signed_content_type.as_deref().unwrap_or("application/json");
                self.verify_handed_on(&merchant, &fields, content_type, &body).await
            }
            None => self.catalog(&merchant).await,
        }
    }

    /// The origin that the directory's list gives for a merchant.
    async fn listed_audience(&self, id: &str) -> Result<Option<String>, Error> {
        for page in 1..=MAX_PAGES {
            let filter = MerchantFilter { page: Some(page), page_size: Some(PAGE_SIZE), ..MerchantFilter::default() };
            let list = self.merchants(&filter).await?;
            if let Some(merchant) = list.merchants.iter().find(|merchant| merchant.id == id) {
                return Ok(Some(merchant.audience.clone()));
            }
            if u64::from(page * PAGE_SIZE) >= list.total || list.merchants.is_empty() {
                break;
            }
        }
        Ok(None)
    }

    async fn ask_directory<T: serde::de::DeserializeOwned>(&self, url: &url::Url, stage: Stage) -> Result<T, Error> {
        let endpoint = Endpoint::parse(url.as_str()).map_err(|why| Misuse::Url { what: "the directory's URL", why })?;
        let answer = self.send(Call::get(stage, &endpoint).limits(Limits::LARGE)).await?;
        match answer.status() {
            StatusCode::OK => answer.json(Artefact::Directory),
            _ => Err(answer.server_error().into()),
        }
    }

    fn directory(&self) -> Result<&Endpoint, Misuse> {
        self.inner.directory.as_ref().ok_or(Misuse::NoDirectory)
    }
}

impl Merchant {
    /// Drops members that are malformed. Returns whether the merchant can still be named and paid.
    fn clean(&mut self) -> bool {
        let is_letters = |text: &str, count| text.len() == count && text.bytes().all(|b| b.is_ascii_alphabetic());
        self.business_name = clean(&self.business_name, MAX_TEXT);
        self.accepted_currencies.retain(|currency| is_letters(currency, 3));
        self.accepted_rails.retain(|rail| untrusted::code(rail).is_some());
        self.accepted_currencies.truncate(MAX_LIST);
        self.accepted_rails.truncate(MAX_LIST);
        self.verified_at = self.verified_at.take().filter(|text| untrusted::is_time(text));
        let is_origin = untrusted::url(&self.audience).is_some_and(|url| url.origin().as_str() == self.audience);
        is_merchant_id(&self.id) && is_origin && is_letters(&self.country, 2)
    }
}

fn is_merchant_id(id: &str) -> bool {
    untrusted::is_identifier(id) && !id.contains('.')
}

/// The directory's answer; only what is checked against something is read.
#[derive(Deserialize)]
struct Preview {
    merchant_id: Option<String>,
    audience: Option<String>,
    signature: Option<String>,
    signature_input: Option<String>,
    content_digest: Option<String>,
    signed_body: Option<String>,
    signed_content_type: Option<String>,
}

/// The name of the first filter that cannot be right.
fn check_filter(filter: &MerchantFilter) -> Result<(), &'static str> {
    let fitting = |text: &Option<String>| text.as_deref().is_none_or(|text| !text.is_empty() && text.len() <= MAX_TEXT);
    let checks = [
        ("country", filter.country.as_deref().is_none_or(|code| crate::Country::parse(code).is_ok())),
        ("currency", filter.currency.as_deref().is_none_or(|code| crate::Currency::parse(code).is_ok())),
        ("rail", fitting(&filter.rail)),
        ("q", filter.q.as_deref().is_none_or(|q| q.len() <= MAX_TEXT)),
        ("page", filter.page.is_none_or(|page| page >= 1)),
        ("page_size", filter.page_size.is_none_or(|size| (1..=PAGE_SIZE).contains(&size))),
    ];
    checks.into_iter().find(|(_, right)| !right).map_or(Ok(()), |(name, _)| Err(name))
}

const MAX_TEXT: usize = 200;
const MAX_LIST: usize = 200;
const MAX_PAGES: u32 = 20;
const PAGE_SIZE: u32 = 100;
