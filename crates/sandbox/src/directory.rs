//! The directory: which merchants there are, and a look at each one's signed catalog.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, RawQuery, State as Extract};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::CONTENT_TYPE;
use http::{HeaderName, StatusCode};
use iso_currency::Currency;
use serde::Serialize;
use serde_json::Value;

use crate::error::{Refusal, json};
use crate::form::Form;
use crate::header::{CONTENT_DIGEST, SIGNATURE, SIGNATURE_INPUT};
use crate::loopback;
use crate::merchant::Profile;
use crate::server::{no_such_method, no_such_path};

/// The directory service.
pub(crate) struct Directory {
    listings: Vec<Listing>,
}

/// A merchant's entry.
#[derive(Serialize)]
pub(crate) struct Listing {
    id: &'static str,
    audience: String,
    business_name: &'static str,
    country: &'static str,
    accepted_currencies: &'static [&'static str],
    accepted_rails: &'static [&'static str],
    verified_at: &'static str,
}

impl Listing {
    /// The entry of the merchant with this profile at `origin`.
    pub(crate) fn of(profile: &Profile, origin: &str) -> Self {
        Self {
            id: profile.id,
            audience: origin.to_owned(),
            business_name: profile.business_name,
            country: profile.country,
            accepted_currencies: profile.accepted_currencies,
            accepted_rails: profile.accepted_rails,
            verified_at: profile.verified_at,
        }
    }
}

impl Directory {
    pub(crate) fn new(listings: Vec<Listing>) -> Self {
        Self { listings }
    }

    /// Its routes.
    pub(crate) fn router(self) -> Router {
        Router::new()
            .route("/merchants", get(merchants))
            .route("/merchants/{id}/catalog-preview", get(catalog_preview))
            .method_not_allowed_fallback(no_such_method)
            .fallback(no_such_path)
            .with_state(Arc::new(self))
    }

    fn list(&self, query: Option<&str>) -> Result<Response, Refusal> {
        #[derive(Serialize)]
        struct Reply<'a> {
            merchants: Vec<&'a Listing>,
            page: usize,
            page_size: usize,
            total: usize,
        }
        let form = Form::from_query(query).map_err(|_| invalid_filter("the query is malformed"))?;
        let filter = Filter::read(&form)?;
        let page = number(&form, "page", 1, MAX_PAGE)?;
        let page_size = number(&form, "page_size", DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)?;
        let matching: Vec<&Listing> = self.listings.iter().filter(|listing| filter.matches(listing)).collect();
        let total = matching.len();
        let merchants = matching.into_iter().skip((page - 1) * page_size).take(page_size).collect();
        Ok(json(StatusCode::OK, &Reply { merchants, page, page_size, total }))
    }

    async fn preview(&self, id: &str) -> Result<Response, Refusal> {
        #[derive(Serialize)]
        struct Preview<'a> {
            merchant_id: &'a str,
            audience: &'a str,
            signature: &'a str,
            signature_input: &'a str,
            content_digest: &'a str,
            signed_content_type: &'a str,
            signed_body: String,
            items: &'a Value,
        }
        let listing = self.listings.iter().find(|listing| listing.id == id).ok_or_else(Refusal::not_found)?;
        let bad_gateway =
            || Refusal::new(StatusCode::BAD_GATEWAY, "bad_gateway", "the merchant's catalog cannot be had");
        let catalog = loopback::get(&listing.audience, CATALOG_PATH, None).await.map_err(|_| bad_gateway())?;
        if catalog.status != StatusCode::OK {
            return Err(bad_gateway());
        }
        let header = |name: HeaderName| {
            let value = catalog.headers.get(name).and_then(|value| value.to_str().ok());
            value.ok_or_else(bad_gateway)
        };
        let parsed = jose::json::parse(&catalog.body).map_err(|_| bad_gateway())?;
        Ok(json(
            StatusCode::OK,
            &Preview {
                merchant_id: listing.id,
                audience: &listing.audience,
                signature: header(SIGNATURE)?,
                signature_input: header(SIGNATURE_INPUT)?,
                content_digest: header(CONTENT_DIGEST)?,
                signed_content_type: header(CONTENT_TYPE)?,
                signed_body: STANDARD.encode(&catalog.body),
                items: parsed.get("items").ok_or_else(bad_gateway)?,
            },
        ))
    }
}

/// `GET /merchants?country&currency&rail&q&page&page_size`.
async fn merchants(Extract(directory): Extract<Arc<Directory>>, RawQuery(query): RawQuery) -> Response {
    directory.list(query.as_deref()).unwrap_or_else(Refusal::into_response)
}

/// `GET /merchants/{id}/catalog-preview`.
async fn catalog_preview(Extract(directory): Extract<Arc<Directory>>, Path(id): Path<String>) -> Response {
    directory.preview(&id).await.unwrap_or_else(Refusal::into_response)
}

/// What a caller is looking for.
struct Filter<'a> {
    country: Option<&'a str>,
    currency: Option<&'a str>,
    rail: Option<&'a str>,
    words: Option<String>,
}

impl<'a> Filter<'a> {
    fn read(form: &'a Form) -> Result<Self, Refusal> {
        let country = form.get("country");
        if country.is_some_and(|code| !COUNTRIES.split(' ').any(|known| known == code)) {
            return Err(invalid_filter("country must be an ISO 3166-1 alpha-2 code"));
        }
        let currency = form.get("currency");
        if currency.is_some_and(|code| Currency::from_code(code).is_none()) {
            return Err(invalid_filter("currency must be an ISO 4217 code"));
        }
        let rail = form.get("rail");
        let is_rail = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        if rail.is_some_and(|rail| rail.len() > 32 || !rail.bytes().all(is_rail)) {
            return Err(invalid_filter("rail must be lower-case letters, digits and underscores"));
        }
        let words = form.get("q");
        if words.is_some_and(|words| words.len() > 256) {
            return Err(invalid_filter("q must have at most 256 octets"));
        }
        Ok(Self { country, currency, rail, words: words.map(str::to_lowercase) })
    }

    fn matches(&self, listing: &Listing) -> bool {
        self.country.is_none_or(|country| listing.country == country)
            && self.currency.is_none_or(|currency| listing.accepted_currencies.contains(&currency))
            && self.rail.is_none_or(|rail| listing.accepted_rails.contains(&rail))
            && self.words.as_ref().is_none_or(|words| listing.business_name.to_lowercase().contains(words.trim()))
    }
}

fn number(form: &Form, name: &'static str, default: usize, most: usize) -> Result<usize, Refusal> {
    match form.get(name) {
        None => Ok(default),
        Some(text) => text
            .parse()
            .ok()
            .filter(|number| (1..=most).contains(number))
            .ok_or_else(|| invalid_filter(format!("{name} must be a number from 1 to {most}"))),
    }
}

fn invalid_filter(why: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::bad_request("invalid_filter", why)
}

const CATALOG_PATH: &str = "/.well-known/oid4ac-catalog";
const DEFAULT_PAGE_SIZE: usize = 20;
const MAX_PAGE_SIZE: usize = 100;
const MAX_PAGE: usize = 1_000_000;

/// ISO 3166-1 alpha-2.
const COUNTRIES: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS \
    BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ \
    FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT \
    JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP \
    MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE \
    RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV \
    TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW";
