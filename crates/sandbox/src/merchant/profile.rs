//! Who the two merchants are and what they sell.

use jose::Alg;

/// A merchant as the directory knows it, and its goods in the catalog's order.
pub(crate) struct Profile {
    pub(crate) id: &'static str,
    pub(crate) business_name: &'static str,
    pub(crate) country: &'static str,
    pub(crate) accepted_currencies: &'static [&'static str],
    pub(crate) accepted_rails: &'static [&'static str],
    pub(crate) verified_at: &'static str,
    pub(crate) alg: Alg,
    pub(crate) request_components: RequestComponents,
    pub(crate) items: &'static [Item],
}

/// How a signed response writes the components it takes from the request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestComponents {
    /// `"@method"`: as OID4AC's public examples have it.
    Bare,
    /// `"@method";req`: as RFC 9421 §2.4 has it.
    WithReq,
}

/// Something for sale.
#[derive(Clone)]
pub(crate) struct Item {
    pub(crate) sku: &'static str,
    pub(crate) title: &'static str,
    pub(crate) unit_price_minor: u64,
    pub(crate) currency: &'static str,
    pub(crate) in_stock: bool,
    pub(crate) category: &'static str,
    pub(crate) ships_to: &'static [&'static str],
    /// Whether it is in the catalog and has a signed offer. What is made to order has neither: its price is agreed on
    /// elsewhere and stands in the mandate.
    pub(crate) is_listed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stock {
    There,
    Gone,
}

impl Item {
    const fn listed(
        sku: &'static str,
        title: &'static str,
        unit_price_minor: u64,
        currency: &'static str,
        stock: Stock,
        category: &'static str,
        ships_to: &'static [&'static str],
    ) -> Self {
        let in_stock = matches!(stock, Stock::There);
        Self { sku, title, unit_price_minor, currency, in_stock, category, ships_to, is_listed: true }
    }

    const fn made_to_order(sku: &'static str, title: &'static str, category: &'static str) -> Self {
        Self {
            sku,
            title,
            unit_price_minor: 0,
            currency: "EUR",
            in_stock: true,
            category,
            ships_to: &EU,
            is_listed: false,
        }
    }
}

/// Alpacanica Outfitters: Ed25519, and request components as the public examples write them.
pub(crate) static ALPACANICA: Profile = Profile {
    id: "merch_alpacanica",
    business_name: "Alpacanica Outfitters",
    country: "NL",
    accepted_currencies: &["EUR", "USD"],
    accepted_rails: &["card", "ideal", "sepa_debit"],
    verified_at: "2026-04-01T00:00:00Z",
    alg: Alg::EdDsa,
    request_components: RequestComponents::Bare,
    items: &ALPACANICA_ITEMS,
};

/// Bristle and Slate: P-256, and request components as RFC 9421 writes them.
pub(crate) static BRISTLE_AND_SLATE: Profile = Profile {
    id: "merch_bristleandslate",
    business_name: "Bristle and Slate",
    country: "NL",
    accepted_currencies: &["EUR"],
    accepted_rails: &["card", "ideal"],
    verified_at: "2026-04-12T00:00:00Z",
    alg: Alg::Es256,
    request_components: RequestComponents::WithReq,
    items: &BRISTLE_AND_SLATE_ITEMS,
};

const BENELUX: [&str; 3] = ["BE", "LU", "NL"];
const EU: [&str; 10] = ["AT", "BE", "DE", "DK", "ES", "FR", "IE", "IT", "LU", "NL"];
const AMERICA: [&str; 2] = ["CA", "US"];
const WORLD: [&str; 14] = ["AT", "AU", "BE", "CA", "DE", "DK", "ES", "FR", "GB", "IE", "IT", "LU", "NL", "US"];

#[rustfmt::skip]
static ALPACANICA_ITEMS: [Item; 37] = [
    Item::listed("alpaca-sock-blue-43", "Alpaca wool sock, sky blue, size 43", 1299, "EUR", Stock::There, "apparel", &EU),
    Item::listed("alpaca-sock-blue-39", "Alpaca wool sock, sky blue, size 39", 1299, "EUR", Stock::There, "apparel", &EU),
    Item::listed("alpaca-sock-moss-43", "Alpaca wool sock, moss green, size 43", 1299, "EUR", Stock::Gone, "apparel", &EU),
    Item::listed("alpaca-sock-moss-39", "Alpaca wool sock, moss green, size 39", 1249, "EUR", Stock::There, "apparel", &EU),
    Item::listed("alpaca-ankle-sock-sand-41", "Alpaca ankle sock, sand, size 41", 999, "EUR", Stock::There, "apparel", &EU),
    Item::listed("alpaca-ankle-sock-slate-41", "Alpaca ankle sock, slate, size 41", 999, "EUR", Stock::There, "apparel", &EU),
    Item::listed("alpaca-beanie-charcoal", "Alpaca beanie, charcoal", 2450, "EUR", Stock::There, "apparel", &WORLD),
    Item::listed("alpaca-beanie-oat", "Alpaca beanie, oat", 2450, "EUR", Stock::Gone, "apparel", &WORLD),
    Item::listed("alpaca-glove-liner-m", "Alpaca glove liner, size M", 1450, "EUR", Stock::There, "apparel", &EU),
    Item::listed("alpaca-headband-rust", "Alpaca headband, rust", 1395, "EUR", Stock::There, "apparel", &EU),
    Item::listed("wool-wash-250ml", "Wool wash, lavender, 250 ml", 895, "EUR", Stock::There, "care", &BENELUX),
    Item::listed("wool-wash-750ml", "Wool wash, lavender, 750 ml", 1795, "EUR", Stock::There, "care", &BENELUX),
    Item::listed("cedar-moth-blocks-12", "Cedar moth blocks, 12 pieces", 750, "EUR", Stock::There, "care", &EU),
    Item::listed("sweater-comb", "Sweater comb, beech", 1150, "EUR", Stock::There, "care", &EU),
    Item::listed("darning-kit", "Darning kit with three yarns", 1290, "EUR", Stock::There, "care", &EU),
    Item::listed("trail-mug-enamel", "Enamel trail mug, 350 ml", 1125, "EUR", Stock::There, "outdoor", &EU),
    Item::listed("merino-neck-tube", "Merino neck tube, dusk", 1490, "EUR", Stock::There, "apparel", &EU),
    Item::listed("wool-insole-42", "Wool felt insole, size 42", 849, "EUR", Stock::There, "footwear", &EU),
    Item::listed("wool-insole-44", "Wool felt insole, size 44", 849, "EUR", Stock::Gone, "footwear", &EU),
    Item::listed("shoe-lace-waxed-120", "Waxed boot laces, 120 cm", 525, "EUR", Stock::There, "footwear", &EU),
    Item::listed("alpaca-scarf-heather", "Alpaca scarf, heather", 4995, "EUR", Stock::There, "apparel", &WORLD),
    Item::listed("alpaca-scarf-ink", "Alpaca scarf, ink", 4995, "EUR", Stock::There, "apparel", &WORLD),
    Item::listed("alpaca-sweater-cable-m", "Alpaca cable sweater, size M", 12_900, "EUR", Stock::There, "apparel", &WORLD),
    Item::listed("alpaca-sweater-cable-l", "Alpaca cable sweater, size L", 12_900, "EUR", Stock::Gone, "apparel", &WORLD),
    Item::listed("alpaca-cardigan-shawl-m", "Alpaca shawl cardigan, size M", 14_950, "EUR", Stock::There, "apparel", &WORLD),
    Item::listed("alpaca-throw-grey", "Alpaca throw, grey, 130 x 180 cm", 8900, "EUR", Stock::There, "home", &EU),
    Item::listed("alpaca-cushion-50", "Alpaca cushion cover, 50 cm", 3990, "EUR", Stock::There, "home", &EU),
    Item::listed("felt-slipper-41", "Felted slipper, size 41", 5450, "EUR", Stock::There, "footwear", &EU),
    Item::listed("felt-slipper-43", "Felted slipper, size 43", 5450, "EUR", Stock::There, "footwear", &EU),
    Item::listed("hiking-blanket-wool", "Wool hiking blanket", 7425, "EUR", Stock::There, "outdoor", &EU),
    Item::listed("travel-sock-usd-43", "Alpaca travel sock, size 43 (US store)", 1499, "USD", Stock::There, "apparel", &AMERICA),
    Item::listed("travel-sock-usd-39", "Alpaca travel sock, size 39 (US store)", 1499, "USD", Stock::There, "apparel", &AMERICA),
    Item::listed("alpaca-beanie-usd", "Alpaca beanie, charcoal (US store)", 2900, "USD", Stock::There, "apparel", &AMERICA),
    Item::listed("alpaca-scarf-usd", "Alpaca scarf, heather (US store)", 5900, "USD", Stock::Gone, "apparel", &AMERICA),
    Item::listed("gift-card-25", "Gift card, 25 euro", 2500, "EUR", Stock::There, "gift", &WORLD),
    Item::listed("gift-card-50", "Gift card, 50 euro", 5000, "EUR", Stock::There, "gift", &WORLD),
    Item::made_to_order("sweater-made-to-measure", "Alpaca sweater, made to measure", "apparel"),
];

#[rustfmt::skip]
static BRISTLE_AND_SLATE_ITEMS: [Item; 35] = [
    Item::listed("slate-coaster-4", "Slate coasters, set of four", 1495, "EUR", Stock::There, "kitchen", &EU),
    Item::listed("dish-brush-beech", "Dish brush, beech and tampico", 695, "EUR", Stock::There, "cleaning", &EU),
    Item::listed("dish-brush-head-2", "Dish brush heads, two pieces", 425, "EUR", Stock::There, "cleaning", &EU),
    Item::listed("nail-brush-olive", "Nail brush, olive wood", 950, "EUR", Stock::There, "bath", &EU),
    Item::listed("vegetable-brush", "Vegetable brush, union fibre", 795, "EUR", Stock::There, "kitchen", &EU),
    Item::listed("bottle-brush-long", "Bottle brush, 32 cm", 875, "EUR", Stock::There, "cleaning", &EU),
    Item::listed("pastry-brush", "Pastry brush, pure bristle", 1095, "EUR", Stock::There, "kitchen", &EU),
    Item::listed("mushroom-brush", "Mushroom brush, horsehair", 645, "EUR", Stock::Gone, "kitchen", &EU),
    Item::listed("shoe-brush-pair", "Shoe brushes, light and dark", 1850, "EUR", Stock::There, "care", &EU),
    Item::listed("clothes-brush-pear", "Clothes brush, pear wood", 2400, "EUR", Stock::There, "care", &EU),
    Item::listed("keyboard-brush", "Keyboard brush, goat hair", 1190, "EUR", Stock::There, "desk", &EU),
    Item::listed("desk-brush-set", "Desk brush and pan", 2750, "EUR", Stock::There, "desk", &EU),
    Item::listed("toothbrush-bamboo-4", "Bamboo toothbrushes, four pieces", 1295, "EUR", Stock::There, "bath", &EU),
    Item::listed("soap-dish-slate", "Soap dish, slate", 1350, "EUR", Stock::There, "bath", &EU),
    Item::listed("slate-labels-10", "Slate plant labels, ten pieces", 1195, "EUR", Stock::There, "garden", &EU),
    Item::listed("chalk-white-12", "White chalk, twelve sticks", 350, "EUR", Stock::There, "desk", &EU),
    Item::listed("bath-brush-long", "Bath brush, long handle", 2195, "EUR", Stock::Gone, "bath", &EU),
    Item::listed("shaving-brush-badgerless", "Shaving brush, synthetic", 3400, "EUR", Stock::There, "bath", &EU),
    Item::listed("pot-scraper-slate", "Pot scraper, slate edge", 595, "EUR", Stock::There, "kitchen", &EU),
    Item::listed("radiator-brush", "Radiator brush, goat hair", 1475, "EUR", Stock::There, "cleaning", &BENELUX),
    Item::listed("broom-room", "Room broom, horsehair", 4200, "EUR", Stock::There, "cleaning", &BENELUX),
    Item::listed("broom-yard", "Yard broom, piassava", 3850, "EUR", Stock::There, "cleaning", &BENELUX),
    Item::listed("hand-brush-arenga", "Hand brush, arenga fibre", 1650, "EUR", Stock::There, "cleaning", &EU),
    Item::listed("dust-pan-steel", "Dust pan, galvanised steel", 1725, "EUR", Stock::There, "cleaning", &EU),
    Item::listed("slate-board-30", "Slate serving board, 30 cm", 2250, "EUR", Stock::There, "kitchen", &EU),
    Item::listed("slate-board-45", "Slate serving board, 45 cm", 3450, "EUR", Stock::Gone, "kitchen", &EU),
    Item::listed("slate-clock", "Slate wall clock", 5900, "EUR", Stock::There, "home", &EU),
    Item::listed("slate-blackboard-a4", "School slate, A4", 1990, "EUR", Stock::There, "desk", &EU),
    Item::listed("paint-brush-set-5", "Paint brushes, set of five", 2295, "EUR", Stock::There, "hobby", &EU),
    Item::listed("calligraphy-brush", "Calligraphy brush, wolf hair", 1895, "EUR", Stock::There, "hobby", &EU),
    Item::listed("makeup-brush-set", "Make-up brushes, set of six", 4600, "EUR", Stock::There, "bath", &EU),
    Item::listed("pet-brush-short", "Pet brush, short coat", 1595, "EUR", Stock::There, "pets", &EU),
    Item::listed("horse-brush-dandy", "Dandy brush for horses", 1375, "EUR", Stock::There, "pets", &BENELUX),
    Item::listed("lint-brush-double", "Lint brush, double sided", 1245, "EUR", Stock::Gone, "care", &EU),
    Item::made_to_order("slate-engraved", "Slate, engraved to order", "home"),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{ALPACANICA, BRISTLE_AND_SLATE};

    #[test]
    fn first_page_offers_ten_cheap_items_and_skus_are_distinct() {
        for profile in [&ALPACANICA, &BRISTLE_AND_SLATE] {
            let cheap =
                profile.items[..20].iter().filter(|i| i.in_stock && i.currency == "EUR" && i.unit_price_minor < 1500);
            assert!(cheap.count() >= 10, "{}", profile.id);
            assert!(profile.items.iter().filter(|item| item.is_listed).count() >= 30);
            assert!(profile.items.iter().any(|item| !item.in_stock));
            let skus: HashSet<_> = profile.items.iter().map(|item| item.sku).collect();
            assert_eq!(skus.len(), profile.items.len());
        }
    }
}
