use serde::{Deserialize, Serialize};

use crate::{Endpoint, Error, IdempotencyKey, LineItemsError, Misuse, Money, Origin};

/// What is to be paid, to whom, and how the authorization is asked for.
///
/// An order that exists is consistent: the verify URL has the merchant's origin, each SKU stands on one line, and lines
/// with unit prices add up to the amount.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    merchant: Origin,
    verify_url: Endpoint,
    amount: Money,
    line_items: Vec<LineItem>,
    idempotency_key: IdempotencyKey,
    redirect_uri: String,
    offer_id: Option<String>,
    scope: String,
    consent_mode_hint: Option<String>,
    unsigned_offers: UnsignedOffers,
    cap_up_to_minor: u64,
}

impl Order {
    /// An order at the merchant whose origin `merchant_url` has, presented at `verify_url`.
    ///
    /// `line_items`: 1 to 100; lines with one SKU and one unit price are merged. `redirect_uri` is one that the agent
    /// registered. `idempotency_key` is made once for this purchase and kept with it.
    ///
    /// # Errors
    ///
    /// - [`Misuse::Url`] if a URL is not usable.
    /// - [`Misuse::VerifyOrigin`] if `verify_url` has another origin than the merchant.
    /// - [`Misuse::LineItems`] if the lines do not make up the purchase.
    pub fn new(
        merchant_url: &str,
        verify_url: &str,
        amount: Money,
        line_items: Vec<LineItem>,
        redirect_uri: &str,
        idempotency_key: IdempotencyKey,
    ) -> Result<Self, Error> {
        let merchant = Origin::of(merchant_url).map_err(|why| Misuse::Url { what: "merchant_url", why })?;
        let verify_url = Endpoint::parse(verify_url).map_err(|why| Misuse::Url { what: "merchant_verify_url", why })?;
        if *verify_url.origin() != merchant {
            let verify = verify_url.origin().to_string();
            return Err(Misuse::VerifyOrigin { verify, merchant: merchant.to_string() }.into());
        }
        let line_items = merge(line_items, amount).map_err(Misuse::LineItems)?;
        Ok(Self {
            merchant,
            verify_url,
            amount,
            line_items,
            idempotency_key,
            redirect_uri: redirect_uri.to_owned(),
            offer_id: None,
            scope: DEFAULT_SCOPE.to_owned(),
            consent_mode_hint: None,
            unsigned_offers: UnsignedOffers::Refuse,
            cap_up_to_minor: amount.amount_minor(),
        })
    }

    /// Sends this opaque offer id along.
    #[must_use]
    pub fn with_offer_id(mut self, offer_id: impl Into<String>) -> Self {
        self.offer_id = Some(offer_id.into());
        self
    }

    /// Asks for this scope instead of `openid payment:initiate`.
    #[must_use]
    pub fn with_scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = scope.into();
        self
    }

    /// Asks for a consent mode (`auto`, `dashboard`, `scan`). It can ask more of the human, never less.
    #[must_use]
    pub fn with_consent_mode_hint(mut self, mode: impl Into<String>) -> Self {
        self.consent_mode_hint = Some(mode.into());
        self
    }

    /// Says what happens where the merchant signs no offer for a line.
    #[must_use]
    pub fn with_unsigned_offers(mut self, unsigned_offers: UnsignedOffers) -> Self {
        self.unsigned_offers = unsigned_offers;
        self
    }

    /// Takes a mandate whose cap is above the amount, up to this many minor units, where the principal was shown that cap. By
    /// default the cap has to be the amount: a merchant that holds the presentation can charge all of it.
    #[must_use]
    pub fn with_cap_up_to_minor(mut self, minor: u64) -> Self {
        self.cap_up_to_minor = minor.max(self.amount.amount_minor());
        self
    }

    /// The merchant's origin.
    #[must_use]
    pub fn merchant(&self) -> &Origin {
        &self.merchant
    }

    /// Where the mandate is presented.
    #[must_use]
    pub fn verify_url(&self) -> &Endpoint {
        &self.verify_url
    }

    /// The whole amount.
    #[must_use]
    pub fn amount(&self) -> Money {
        self.amount
    }

    /// The lines, each SKU once.
    #[must_use]
    pub fn line_items(&self) -> &[LineItem] {
        &self.line_items
    }

    /// The idempotency key.
    #[must_use]
    pub fn idempotency_key(&self) -> &IdempotencyKey {
        &self.idempotency_key
    }

    /// The redirect URI.
    #[must_use]
    pub fn redirect_uri(&self) -> &str {
        &self.redirect_uri
    }

    /// The offer id.
    #[must_use]
    pub fn offer_id(&self) -> Option<&str> {
        self.offer_id.as_deref()
    }

    /// The scope asked for.
    #[must_use]
    pub fn scope(&self) -> &str {
        &self.scope
    }

    /// The consent mode asked for.
    #[must_use]
    pub fn consent_mode_hint(&self) -> Option<&str> {
        self.consent_mode_hint.as_deref()
    }

    pub(crate) fn cap_up_to_minor(&self) -> u64 {
        self.cap_up_to_minor
    }

    pub(crate) fn unsigned_offers(&self) -> UnsignedOffers {
        self.unsigned_offers
    }
}

/// What happens where a merchant signs no offer for a line (404 at every place).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnsignedOffers {
    /// The purchase is refused as `offer_missing`.
    Refuse,
    /// The caller's prices count: a human has seen and approved them.
    HumanApproved,
}

/// One line of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineItem {
    sku: String,
    qty: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit_price_minor: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    currency: Option<String>,
    #[serde(skip)]
    offer_url: Option<String>,
}

impl LineItem {
    /// `qty` pieces of `sku`.
    #[must_use]
    pub fn new(sku: impl Into<String>, qty: u32) -> Self {
        Self { sku: sku.into(), qty, unit_price_minor: None, currency: None, offer_url: None }
    }

    /// One piece of an article, with its offer where the catalog says.
    #[must_use]
    pub fn of(item: &crate::CatalogItem) -> Self {
        Self { offer_url: item.offer_url.clone(), ..Self::new(item.sku.as_str(), 1) }
    }

    /// With the price of one piece, in minor units, as the caller knows it.
    #[must_use]
    pub fn with_unit_price_minor(mut self, unit_price_minor: u64) -> Self {
        self.unit_price_minor = Some(unit_price_minor);
        self
    }

    /// With the currency of that price.
    #[must_use]
    pub fn with_currency(mut self, currency: impl Into<String>) -> Self {
        self.currency = Some(currency.into());
        self
    }

    /// With the place of its offer, where a verified catalog named one.
    #[must_use]
    pub fn with_offer_url(mut self, offer_url: impl Into<String>) -> Self {
        self.offer_url = Some(offer_url.into());
        self
    }

    /// The stock keeping unit: the merchant's name for the article.
    #[must_use]
    pub fn sku(&self) -> &str {
        &self.sku
    }

    /// How many pieces.
    #[must_use]
    pub fn qty(&self) -> u32 {
        self.qty
    }

    /// The price of one piece, in minor units.
    #[must_use]
    pub fn unit_price_minor(&self) -> Option<u64> {
        self.unit_price_minor
    }

    /// The currency of that price.
    #[must_use]
    pub fn currency(&self) -> Option<&str> {
        self.currency.as_deref()
    }

    pub(crate) fn offer_url(&self) -> Option<&str> {
        self.offer_url.as_deref()
    }
}

/// Checks lines and merges those of one SKU.
fn merge(lines: Vec<LineItem>, amount: Money) -> Result<Vec<LineItem>, LineItemsError> {
    if !(1..=MAX_LINES).contains(&lines.len()) {
        return Err(LineItemsError::Count);
    }
    let mut merged: Vec<LineItem> = Vec::with_capacity(lines.len());
    for (index, mut line) in lines.into_iter().enumerate() {
        if !(1..=MAX_SKU_OCTETS).contains(&line.sku.len()) {
            return Err(LineItemsError::Sku(index));
        }
        if !(1..=MAX_QUANTITY).contains(&line.qty) {
            return Err(LineItemsError::Quantity(index));
        }
        if line.currency.as_deref().is_some_and(|code| !code.eq_ignore_ascii_case(amount.currency().code())) {
            return Err(LineItemsError::Currency(index));
        }
        line.currency = line.unit_price_minor.map(|_| amount.currency().code().to_owned());
        match merged.iter_mut().find(|known| known.sku == line.sku) {
            None => merged.push(line),
            Some(known) if known.unit_price_minor == line.unit_price_minor => {
                known.qty = known.qty.saturating_add(line.qty);
                if known.qty > MAX_QUANTITY {
                    return Err(LineItemsError::Quantity(index));
                }
            }
            Some(_) => return Err(LineItemsError::Conflict(index)),
        }
    }
    check_sum(&merged, amount)?;
    Ok(merged)
}

/// Lines that all have a price must make the amount; those that have one must not exceed it.
fn check_sum(lines: &[LineItem], amount: Money) -> Result<(), LineItemsError> {
    let amount = amount.amount_minor();
    let sum = lines.iter().fold(0_u64, |sum, line| {
        sum.saturating_add(line.unit_price_minor.unwrap_or(0).saturating_mul(u64::from(line.qty)))
    });
    let all_priced = lines.iter().all(|line| line.unit_price_minor.is_some());
    match sum == amount || (!all_priced && sum < amount) {
        true => Ok(()),
        false => Err(LineItemsError::Sum { sum, amount }),
    }
}

/// The contract's default.
const DEFAULT_SCOPE: &str = "openid payment:initiate";
const MAX_LINES: usize = 100;
const MAX_SKU_OCTETS: usize = 200;
const MAX_QUANTITY: u32 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Currency;

    fn order(amount: u64, lines: Vec<LineItem>) -> Result<Order, Error> {
        let amount = Money::new(amount, Currency::parse("EUR").unwrap()).unwrap();
        let key = IdempotencyKey::parse("k").unwrap();
        Order::new("https://shop.example", "https://shop.example/verify", amount, lines, "https://a.example/cb", key)
    }

    fn refusal(amount: u64, lines: Vec<LineItem>) -> LineItemsError {
        match order(amount, lines) {
            Err(Error::Misuse(Misuse::LineItems(error))) => error,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn merges_lines_of_one_sku() {
        let lines = vec![LineItem::new("a", 1), LineItem::new("b", 1), LineItem::new("a", 2)];
        let order = order(500, lines).unwrap();
        assert_eq!(order.line_items(), [LineItem::new("a", 3), LineItem::new("b", 1)]);
    }

    #[test]
    fn refuses_lines_that_do_not_make_up_the_amount() {
        let priced = |sku: &str, qty, price| LineItem::new(sku, qty).with_unit_price_minor(price);
        assert_eq!(refusal(1, vec![]), LineItemsError::Count);
        assert_eq!(refusal(1, vec![LineItem::new("", 1)]), LineItemsError::Sku(0));
        assert_eq!(refusal(1, vec![LineItem::new("a", 0)]), LineItemsError::Quantity(0));
        assert_eq!(
            refusal(1, vec![LineItem::new("a", 600_000), LineItem::new("a", 600_000)]),
            LineItemsError::Quantity(1)
        );
        assert_eq!(refusal(1, vec![priced("a", 1, 1).with_currency("USD")]), LineItemsError::Currency(0));
        assert_eq!(refusal(3, vec![priced("a", 1, 1), priced("a", 1, 2)]), LineItemsError::Conflict(1));
        assert_eq!(refusal(3, vec![priced("a", 2, 1)]), LineItemsError::Sum { sum: 2, amount: 3 });
        assert_eq!(
            refusal(3, vec![priced("a", 4, 1), LineItem::new("b", 1)]),
            LineItemsError::Sum { sum: 4, amount: 3 }
        );
        assert!(order(3, vec![priced("a", 1, 1), priced("b", 2, 1)]).is_ok());
    }

    #[test]
    fn refuses_a_verify_url_of_another_origin() {
        let amount = Money::new(1, Currency::parse("EUR").unwrap()).unwrap();
        for url in ["https://shop.example:444/v", "http://127.0.0.1/v", "https://shop.example.evil/v"] {
            let key = IdempotencyKey::parse("k").unwrap();
            let order =
                Order::new("https://shop.example/x", url, amount, vec![LineItem::new("a", 1)], "https://a/", key);
            assert!(matches!(order, Err(Error::Misuse(Misuse::VerifyOrigin { .. }))), "{url}");
        }
    }
}
