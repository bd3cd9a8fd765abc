//! `authorization_details` of type `oid4ac_mandate` (RFC 9396).

use std::collections::HashSet;

use iso_currency::Currency;
use jose::json;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::Refusal;
use crate::rules::{Rule, Rules};

/// What an agent asks a mandate for: one purchase at one merchant.
#[derive(Clone, Debug, Serialize)]
pub(super) struct MandateRequest {
    #[serde(rename = "type")]
    kind: &'static str,
    pub(super) amount_minor: u64,
    pub(super) currency: String,
    pub(super) merchant: String,
    pub(super) line_items: Vec<LineItem>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) offer_digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) offer_id: Option<String>,
}

/// So many of that.
#[derive(Clone, Debug, Serialize)]
pub(super) struct LineItem {
    pub(super) sku: String,
    pub(super) qty: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unit_price_minor: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) currency: Option<String>,
}

impl MandateRequest {
    /// Reads the parameter's value for a request to `resource`.
    pub(super) fn parse(text: &str, resource: &str, rules: &Rules) -> Result<Self, Refusal> {
        let Ok(Value::Array(list)) = json::parse(text.as_bytes()) else {
            return Err(refuse("authorization_details is not a JSON array"));
        };
        rules.require(Rule::DetailsType, list.len() == 1, || refuse("authorization_details must have one element"))?;
        let Some(Value::Object(details)) = list.first() else {
            return Err(refuse("authorization_details must hold an object"));
        };
        let is_mandate = details.get("type").and_then(Value::as_str) == Some(TYPE);
        rules.require(Rule::DetailsType, is_mandate, || refuse("type must be oid4ac_mandate"))?;
        only_members(details, &MEMBERS, rules)?;

        let amount_minor = whole(details, "amount_minor");
        rules.require(Rule::DetailsAmount, amount_minor.is_some_and(|n| n >= 1), || {
            refuse("amount_minor must be an integer from 1 to 2^53 - 1")
        })?;
        let amount_minor = amount_minor.unwrap_or_default();
        let currency = text_member(details, "currency", 3..=3)?.ok_or_else(|| refuse("currency is missing"))?;
        rules.require(Rule::DetailsCurrency, Currency::from_code(&currency).is_some(), || {
            refuse("currency must be an ISO 4217 code")
        })?;
        let merchant = text_member(details, "merchant", 1..=512)?.ok_or_else(|| refuse("merchant is missing"))?;
        rules.require(Rule::DetailsMerchant, merchant == resource, || refuse("merchant must equal resource"))?;
        let line_items = parse_line_items(details.get("line_items"), &currency, rules)?;
        check_sum(&line_items, amount_minor, rules)?;
        let offer_digest = text_member(details, "offer_digest", 1..=128)?;
        let is_digest = offer_digest.as_ref().is_none_or(|d| jose::base64url::decode_array::<32>(d).is_ok());
        rules.require(Rule::DetailsOfferDigest, is_digest, || {
            refuse("offer_digest must be the 43 characters of a base64url SHA-256")
        })?;
        let offer_id = text_member(details, "offer_id", 1..=256)?;
        Ok(Self { kind: TYPE, amount_minor, currency, merchant, line_items, offer_digest, offer_id })
    }
}

fn parse_line_items(value: Option<&Value>, currency: &str, rules: &Rules) -> Result<Vec<LineItem>, Refusal> {
    let Some(Value::Array(list)) = value else { return Err(refuse("line_items must be an array")) };
    if !(1..=MAX_LINE_ITEMS).contains(&list.len()) {
        return Err(refuse("line_items must have 1 to 100 elements"));
    }
    let mut items = Vec::with_capacity(list.len());
    for value in list {
        let Value::Object(members) = value else { return Err(refuse("a line item must be an object")) };
        only_members(members, &LINE_ITEM_MEMBERS, rules)?;
        let sku = text_member(members, "sku", 1..=128)?.ok_or_else(|| refuse("a line item has no sku"))?;
        let qty = whole(members, "qty");
        rules
            .require(Rule::DetailsLineItems, qty.is_some_and(|n| n >= 1), || refuse("qty must be an integer from 1"))?;
        let unit_price_minor = whole(members, "unit_price_minor");
        if members.contains_key("unit_price_minor") && unit_price_minor.is_none() {
            return Err(refuse("unit_price_minor must be an integer from 0 to 2^53 - 1"));
        }
        let item_currency = text_member(members, "currency", 3..=3)?;
        if item_currency.as_ref().is_some_and(|own| own != currency) {
            return Err(refuse("a line item has another currency"));
        }
        items.push(LineItem { sku, qty: qty.unwrap_or_default(), unit_price_minor, currency: item_currency });
    }
    let distinct: HashSet<&str> = items.iter().map(|item| item.sku.as_str()).collect();
    rules.require(Rule::DetailsLineItems, distinct.len() == items.len(), || refuse("a sku stands on two lines"))?;
    Ok(items)
}

/// Where every line has a price, they add up to the amount; where only some have, these do not exceed it.
fn check_sum(items: &[LineItem], amount_minor: u64, rules: &Rules) -> Result<(), Refusal> {
    let sum = items
        .iter()
        .filter_map(|item| item.unit_price_minor.map(|price| price.checked_mul(item.qty)))
        .try_fold(0_u64, |sum, line| sum.checked_add(line?));
    let all_priced = items.iter().all(|item| item.unit_price_minor.is_some());
    let fits = sum.is_some_and(|sum| if all_priced { sum == amount_minor } else { sum <= amount_minor });
    rules.require(Rule::DetailsSum, fits, || refuse("the line items do not add up to amount_minor"))
}

fn only_members(object: &Map<String, Value>, known: &[&str], rules: &Rules) -> Result<(), Refusal> {
    let all_known = object.keys().all(|name| known.contains(&name.as_str()));
    rules.require(Rule::DetailsMembers, all_known, || refuse("there is a member that oid4ac_mandate does not have"))
}

fn text_member(
    object: &Map<String, Value>,
    name: &'static str,
    length: core::ops::RangeInclusive<usize>,
) -> Result<Option<String>, Refusal> {
    match object.get(name) {
        None => Ok(None),
        Some(Value::String(text)) if length.contains(&text.len()) => Ok(Some(text.clone())),
        Some(_) => Err(refuse(format!("{name} is not a string of the right length"))),
    }
}

/// A JSON integer from 0 to 2^53 − 1, the range in which every JSON reader agrees.
fn whole(object: &Map<String, Value>, name: &str) -> Option<u64> {
    object.get(name)?.as_u64().filter(|n| *n <= MAX_WHOLE)
}

/// RFC 9396 §5.
fn refuse(why: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::bad_request("invalid_authorization_details", why)
}

const TYPE: &str = "oid4ac_mandate";
const MEMBERS: [&str; 7] = ["type", "amount_minor", "currency", "merchant", "line_items", "offer_digest", "offer_id"];
const LINE_ITEM_MEMBERS: [&str; 4] = ["sku", "qty", "unit_price_minor", "currency"];
const MAX_LINE_ITEMS: usize = 100;
const MAX_WHOLE: u64 = (1 << 53) - 1;
