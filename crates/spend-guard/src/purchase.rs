//! What is to be bought, and what makes two requests the same purchase.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::mandate::Mandate;
use crate::money::{Currency, MAX_AMOUNT_MINOR};

/// Which tool a purchase comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PurchaseKind {
    /// Items and amount are given.
    Payment,
    /// The store's cheapest item under a cap.
    Cheapest,
    /// A mandate that exists is presented.
    Verify,
}

/// One line of a purchase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "the three members of the wire's line item besides the currency")]
pub struct LineItem {
    /// The merchant's stock-keeping unit.
    pub sku: String,
    /// How many.
    pub qty: u64,
    /// The price of one, where the caller gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit_price_minor: Option<u64>,
}

/// The hash of what makes two purchases the same one: base64url(SHA-256(JCS(terms))), 43 characters.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PurchaseIdentity(String);

impl PurchaseIdentity {
    /// The 43 characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    #[expect(
        clippy::expect_used,
        reason = "the terms are strings and integers up to 2^53 − 1: writing them cannot fail"
    )]
    fn of(terms: &serde_json::Value) -> Self {
        let canonical = serde_json_canonicalizer::to_vec(terms).expect("strings and safe integers");
        Self(jose::base64url::encode(&jose::sha256(&canonical)))
    }
}

impl fmt::Debug for PurchaseIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A purchase about to be made.
///
/// Made by [`Purchase::payment`], [`Purchase::cheapest`] or [`Purchase::verify`].
#[derive(Clone, Debug)]
pub struct Purchase {
    pub(crate) kind: PurchaseKind,
    pub(crate) identity: PurchaseIdentity,
    pub(crate) issuer: String,
    pub(crate) merchant: String,
    pub(crate) line_items: Vec<LineItem>,
    pub(crate) amount_minor: u64,
    pub(crate) currency: Currency,
    pub(crate) purchase_ref: Option<String>,
    pub(crate) idempotency_key: String,
    pub(crate) agent: Option<String>,
    pub(crate) category: Option<String>,
    pub(crate) mcc: Option<String>,
    pub(crate) mandate: Option<Mandate>,
    pub(crate) called_with: Option<serde_json::Value>,
}

/// The arguments of a "cheapest" purchase that make it the same one.
#[derive(Clone, Debug, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "the arguments of the tool, all of them")]
pub struct CheapestTerms {
    /// The store's origin.
    pub store: String,
    /// The most that may be paid.
    pub cap_minor: u64,
    /// The currency.
    pub currency: Currency,
    /// The category to choose from.
    pub category: Option<String>,
    /// The country to ship to.
    pub country: Option<String>,
    /// The caller's word for "this purchase and no other".
    pub purchase_ref: Option<String>,
}

impl Purchase {
    /// A purchase of `line_items` for exactly `amount_minor`.
    ///
    /// The identity is the hash of issuer, merchant, line items (merged by SKU and sorted; a unit price is no part of
    /// it, since a retry may leave it out and the amount is), amount, currency and `purchase_ref`.
    ///
    /// `idempotency_key` is at least 128 random bits that the caller drew for this call; the ledger keeps the one of the
    /// call that made the intent and ignores the one of every repetition.
    ///
    /// # Errors
    ///
    /// - [`InvalidPurchase::Origin`] if `merchant` is no origin as RFC 6454 §6.2 writes it: lower case, ASCII, no path.
    /// - [`InvalidPurchase::Amount`] for 0 or more than [`MAX_AMOUNT_MINOR`].
    /// - [`InvalidPurchase::LineItems`] for no line, an empty SKU, a quantity of 0, or a sum of quantities beyond 2^53 − 1.
    /// - [`InvalidPurchase::IdempotencyKey`] for one under 22 or over 128 characters.
    pub fn payment(
        issuer: impl Into<String>,
        merchant: impl Into<String>,
        line_items: Vec<LineItem>,
        amount_minor: u64,
        currency: Currency,
        purchase_ref: Option<String>,
        idempotency_key: impl Into<String>,
    ) -> Result<Self, InvalidPurchase> {
        let (issuer, merchant) = (issuer.into(), merchant.into());
        check_origin(&merchant)?;
        check_amount(amount_minor)?;
        let merged = merge(&line_items)?;
        let identity = PurchaseIdentity::of(&serde_json::json!({
            "v": "oid4ac-payment-1", "issuer": issuer, "merchant": merchant, "line_items": merged,
            "amount_minor": amount_minor, "currency": currency, "purchase_ref": purchase_ref,
        }));
        Self {
            purchase_ref,
            line_items,
            ..Self::bare(PurchaseKind::Payment, identity, issuer, merchant, amount_minor, currency)
        }
        .keyed(idempotency_key.into())
    }

    /// A purchase of whatever is cheapest at a store; the item is fixed later, by [`Claim::item_picked`](crate::Claim::item_picked).
    ///
    /// The identity is the hash of issuer and arguments.
    ///
    /// # Errors
    ///
    /// As [`Purchase::payment`], the cap in place of the amount.
    pub fn cheapest(
        issuer: impl Into<String>,
        terms: CheapestTerms,
        idempotency_key: impl Into<String>,
    ) -> Result<Self, InvalidPurchase> {
        let issuer = issuer.into();
        check_origin(&terms.store)?;
        check_amount(terms.cap_minor)?;
        let identity =
            PurchaseIdentity::of(&serde_json::json!({"v": "oid4ac-cheapest-1", "issuer": issuer, "arguments": terms}));
        let CheapestTerms { store, cap_minor, currency, category, purchase_ref, .. } = terms;
        Self {
            purchase_ref,
            category,
            ..Self::bare(PurchaseKind::Cheapest, identity, issuer, store, cap_minor, currency)
        }
        .keyed(idempotency_key.into())
    }

    /// The presentation of a mandate that exists. `amount_minor` and `merchant` come from the verified mandate.
    ///
    /// The identity is the hash of issuer, mandate and idempotency key. An intent that holds this mandate is found first,
    /// whatever its kind, and is not counted twice; under another key than its own it is refused, as
    /// [`LedgerError::OtherKey`](crate::LedgerError::OtherKey).
    ///
    /// # Errors
    ///
    /// As [`Purchase::payment`]; the key, which may be a caller's own, has 1 to 128 characters.
    pub fn verify(
        issuer: impl Into<String>,
        merchant: impl Into<String>,
        line_items: Vec<LineItem>,
        amount_minor: u64,
        currency: Currency,
        mandate: Mandate,
        idempotency_key: impl Into<String>,
    ) -> Result<Self, InvalidPurchase> {
        let (issuer, key) = (issuer.into(), idempotency_key.into());
        let merchant = merchant.into();
        check_origin(&merchant)?;
        check_amount(amount_minor)?;
        merge(&line_items)?;
        if key.is_empty() || key.len() > MAX_KEY {
            return Err(InvalidPurchase::IdempotencyKey);
        }
        let identity = PurchaseIdentity::of(&serde_json::json!({
            "v": "oid4ac-verify-1", "issuer": issuer, "mandate_id": mandate.mandate_id, "idempotency_key": key,
        }));
        let bare = Self::bare(PurchaseKind::Verify, identity, issuer, merchant, amount_minor, currency);
        Ok(Self { mandate: Some(mandate), line_items, idempotency_key: key, ..bare })
    }

    /// Names the agent, for rules and history. Not part of the identity, and no budget depends on it unless a rule says so.
    #[must_use]
    pub fn agent(mut self, agent: impl Into<String>) -> Self {
        self.agent = Some(agent.into());
        self
    }

    /// Names the category of the goods, for rules.
    #[must_use]
    pub fn category(mut self, category: impl Into<String>) -> Self {
        self.category = Some(category.into());
        self
    }

    /// Names the merchant category code (ISO 18245), for rules.
    #[must_use]
    pub fn mcc(mut self, mcc: impl Into<String>) -> Self {
        self.mcc = Some(mcc.into());
        self
    }

    /// Keeps the arguments of the caller's own call, so that it can be told how to repeat it. No secret may be among them.
    /// Not part of the identity.
    #[must_use]
    pub fn called_with(mut self, arguments: serde_json::Value) -> Self {
        self.called_with = Some(arguments);
        self
    }

    /// What makes it the same purchase as another.
    #[must_use]
    pub const fn identity(&self) -> &PurchaseIdentity {
        &self.identity
    }

    fn bare(
        kind: PurchaseKind,
        identity: PurchaseIdentity,
        issuer: String,
        merchant: String,
        amount_minor: u64,
        currency: Currency,
    ) -> Self {
        Self {
            kind,
            identity,
            issuer,
            merchant,
            line_items: Vec::new(),
            amount_minor,
            currency,
            purchase_ref: None,
            idempotency_key: String::new(),
            agent: None,
            category: None,
            mcc: None,
            mandate: None,
            called_with: None,
        }
    }

    fn keyed(mut self, key: String) -> Result<Self, InvalidPurchase> {
        if !(MIN_KEY..=MAX_KEY).contains(&key.len()) {
            return Err(InvalidPurchase::IdempotencyKey);
        }
        self.idempotency_key = key;
        Ok(self)
    }
}

/// Why a purchase cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPurchase {
    /// The merchant is no origin in its one normal form, and rules and repetitions could miss it.
    #[error("the merchant is not an origin: scheme://host[:port] in lower case, without a path")]
    Origin,
    /// The amount is 0 or too large.
    #[error("the amount is not between 1 and {MAX_AMOUNT_MINOR} minor units")]
    Amount,
    /// No line, an empty SKU, a quantity of 0 or too large a one.
    #[error("a line item has no SKU or no quantity, or there is no line item")]
    LineItems,
    /// Too short to be unguessable, or longer than a merchant takes.
    #[error("the idempotency key is shorter than {MIN_KEY} or longer than {MAX_KEY} characters")]
    IdempotencyKey,
}

/// An origin in ASCII serialisation. Whether its host exists is nothing that matters here; that it has one spelling is.
fn check_origin(origin: &str) -> Result<(), InvalidPurchase> {
    let (scheme, authority) = origin.split_once("://").ok_or(InvalidPurchase::Origin)?;
    let is_plain = |part: &str, others: &[u8]| {
        let allowed = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || others.contains(&octet);
        !part.is_empty() && part.bytes().all(allowed)
    };
    let has_default_port =
        matches!((scheme, authority.rsplit_once(':')), ("https", Some((_, "443"))) | ("http", Some((_, "80"))));
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let ends_with_dot = authority.ends_with('.') || host.ends_with('.');
    if is_plain(scheme, b"+-.") && is_plain(authority, b"-._~:[]") && !has_default_port && !ends_with_dot {
        Ok(())
    } else {
        Err(InvalidPurchase::Origin)
    }
}

pub(crate) fn check_amount(amount_minor: u64) -> Result<(), InvalidPurchase> {
    if (1..=MAX_AMOUNT_MINOR).contains(&amount_minor) { Ok(()) } else { Err(InvalidPurchase::Amount) }
}

/// Whether two lists are the same goods, whatever their order and however they are split into lines.
pub(crate) fn are_same_goods(one: &[LineItem], other: &[LineItem]) -> bool {
    matches!((merge(one), merge(other)), (Ok(one), Ok(other)) if one == other)
}

/// Quantities by SKU, sorted: two lines of one SKU are one.
pub(crate) fn merge(line_items: &[LineItem]) -> Result<BTreeMap<&str, u64>, InvalidPurchase> {
    let mut merged = BTreeMap::new();
    let mut total = 0u64;
    for LineItem { sku, qty, .. } in line_items {
        total = total.checked_add(*qty).filter(|sum| *sum <= MAX_AMOUNT_MINOR).ok_or(InvalidPurchase::LineItems)?;
        if sku.is_empty() || *qty == 0 {
            return Err(InvalidPurchase::LineItems);
        }
        *merged.entry(sku.as_str()).or_insert(0) += qty;
    }
    if merged.is_empty() { Err(InvalidPurchase::LineItems) } else { Ok(merged) }
}

/// 128 bits in base64url.
const MIN_KEY: usize = 22;
const MAX_KEY: usize = 128;
