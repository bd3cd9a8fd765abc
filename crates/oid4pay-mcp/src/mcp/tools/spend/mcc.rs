//! `mcc_explain`: merchant category codes (ISO 18245) in words. The commonly met ones, and the group of every other.

use crate::mcp::answer::success;
use crate::mcp::host::Host;
use oid4pay::person::Waiting;
use oid4pay::refusal;
use oid4pay::refusal::Refusal;
use rmcp::model::CallToolResult;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Bounded;
use crate::mcp::tools::args;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::mcp::tools) struct Arguments {
    #[serde(default, deserialize_with = "args::present")]
    mcc: Option<Code>,
    #[serde(default, deserialize_with = "args::present")]
    query: Option<Bounded<100>>,
}

/// Four digits.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Code(u16);

impl TryFrom<String> for Code {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let digits = text.len() == 4 && text.bytes().all(|b| b.is_ascii_digit());
        text.parse().ok().filter(|_| digits).map(Self).ok_or("must have 4 digits")
    }
}

/// `mcc_explain`.
pub(in crate::mcp::tools) async fn explain(
    _: &Host,
    arguments: Arguments,
    _: Waiting,
) -> Result<CallToolResult, Refusal> {
    let found: Vec<&(u16, &str)> = match (&arguments.mcc, &arguments.query) {
        (Some(Code(code)), None) => CODES.iter().filter(|(known, _)| known == code).collect(),
        (None, Some(query)) => {
            let query = query.0.to_lowercase();
            CODES.iter().filter(|(_, title)| title.to_lowercase().contains(&query)).collect()
        }
        _ => return Err(Refusal::new(refusal::Code::InvalidArguments, "give either mcc or query")),
    };
    let mut matches: Vec<_> = found.iter().map(|(code, title)| described(*code, Some(title))).collect();
    let sentence = match (&arguments.mcc, found.as_slice()) {
        (Some(_), [(code, title)]) => format!("{code:04} is {title}, in the group {}.", group(*code)),
        (Some(Code(code)), _) => {
            matches.push(described(*code, None));
            format!("{code:04} is not in this table; its range is the group {}.", group(*code))
        }
        (None, found) => format!("{} codes of this table match.", found.len()),
    };
    let output = json!({"matches": matches, "known": !found.is_empty(), "complete": false});
    Ok(success(output, format!("{sentence} The table is not complete, and a merchant chooses its code itself."), None))
}

fn described(code: u16, title: Option<&str>) -> Value {
    json!({"mcc": format!("{code:04}"), "title": title, "group": group(code)})
}

/// The range that a code lies in.
fn group(code: u16) -> &'static str {
    match code {
        0..=1499 => "agricultural services",
        1500..=2999 => "contracted services",
        3000..=3299 => "airlines",
        3300..=3499 => "car rental",
        3500..=3999 => "lodging",
        4000..=4799 => "transportation",
        4800..=4999 => "utilities and telecommunication",
        5000..=5599 => "wholesale and retail",
        5600..=5699 => "clothing",
        5700..=7299 => "miscellaneous stores and services",
        7300..=7999 => "business, repair and entertainment services",
        8000..=8999 => "professional services and membership organisations",
        _ => "government services",
    }
}

const CODES: &[(u16, &str)] = &[
    (742, "veterinary services"),
    (763, "agricultural cooperatives"),
    (780, "landscaping and gardening"),
    (1520, "general contractors"),
    (1711, "heating, plumbing and air conditioning contractors"),
    (1731, "electrical contractors"),
    (1750, "carpentry contractors"),
    (2741, "publishing and printing"),
    (4111, "local commuter transport and ferries"),
    (4112, "passenger railways"),
    (4121, "taxis and limousines"),
    (4131, "bus lines"),
    (4214, "freight carriers and local delivery"),
    (4215, "courier services"),
    (4225, "public warehousing and storage"),
    (4411, "cruise lines"),
    (4511, "airlines and air carriers"),
    (4722, "travel agencies and tour operators"),
    (4784, "bridge and road tolls"),
    (4789, "other transportation services"),
    (4812, "telecommunication equipment"),
    (4814, "telecommunication services"),
    (4816, "computer network and information services"),
    (4829, "money transfer"),
    (4899, "cable, satellite and streaming television"),
    (4900, "electricity, gas, water and sanitation utilities"),
    (5039, "construction materials"),
    (5045, "computers, peripherals and software, wholesale"),
    (5065, "electrical parts and equipment"),
    (5111, "stationery and office supplies, wholesale"),
    (5122, "drugs and druggists' sundries, wholesale"),
    (5192, "books, periodicals and newspapers, wholesale"),
    (5200, "home supply warehouses"),
    (5211, "building materials"),
    (5251, "hardware stores"),
    (5261, "garden supplies"),
    (5300, "wholesale clubs"),
    (5310, "discount stores"),
    (5311, "department stores"),
    (5331, "variety stores"),
    (5411, "grocery stores and supermarkets"),
    (5441, "confectionery"),
    (5462, "bakeries"),
    (5499, "convenience stores and specialty food"),
    (5511, "car and truck dealers"),
    (5533, "car parts and accessories"),
    (5541, "service stations"),
    (5542, "automated fuel dispensers"),
    (5611, "men's clothing"),
    (5621, "women's ready-to-wear"),
    (5641, "children's wear"),
    (5651, "family clothing"),
    (5655, "sports and riding apparel"),
    (5661, "shoe stores"),
    (5691, "men's and women's clothing"),
    (5699, "miscellaneous apparel and accessories"),
    (5712, "furniture and home furnishings"),
    (5722, "household appliances"),
    (5732, "electronics stores"),
    (5733, "musical instruments"),
    (5734, "computer software stores"),
    (5735, "record stores"),
    (5811, "caterers"),
    (5812, "restaurants"),
    (5813, "bars and nightclubs"),
    (5814, "fast food restaurants"),
    (5815, "digital goods: books, films, music"),
    (5816, "digital goods: games"),
    (5817, "digital goods: applications other than games"),
    (5818, "digital goods: large merchants"),
    (5912, "drug stores and pharmacies"),
    (5921, "beer, wine and liquor stores"),
    (5940, "bicycle shops"),
    (5941, "sporting goods"),
    (5942, "book stores"),
    (5943, "stationery and office supply stores"),
    (5944, "jewellery and watches"),
    (5945, "hobby, toy and game shops"),
    (5947, "gift, card and souvenir shops"),
    (5960, "direct marketing: insurance"),
    (5964, "direct marketing: catalogue merchants"),
    (5968, "direct marketing: subscriptions"),
    (5977, "cosmetic stores"),
    (5992, "florists"),
    (5993, "cigar stores"),
    (5995, "pet shops and pet food"),
    (5999, "miscellaneous and specialty retail"),
    (6010, "cash disbursement over the counter"),
    (6011, "cash disbursement by machine"),
    (6012, "financial institutions: merchandise and services"),
    (6051, "quasi-cash: foreign currency, money orders, crypto-assets"),
    (6211, "securities brokers and dealers"),
    (6300, "insurance"),
    (6513, "real estate agents and rentals"),
    (7011, "hotels and other lodging"),
    (7210, "laundry and cleaning"),
    (7230, "beauty and barber shops"),
    (7298, "health and beauty spas"),
    (7311, "advertising services"),
    (7372, "computer programming and data processing"),
    (7375, "information retrieval services"),
    (7392, "consulting and public relations"),
    (7399, "other business services"),
    (7512, "car rental agencies"),
    (7523, "parking"),
    (7538, "car service shops"),
    (7542, "car washes"),
    (7829, "film production and distribution"),
    (7832, "cinemas"),
    (7841, "video rental"),
    (7922, "theatre and ticket agencies"),
    (7941, "sports clubs and fields"),
    (7991, "tourist attractions and exhibits"),
    (7995, "betting and casino gambling"),
    (7997, "membership clubs and sports facilities"),
    (7999, "other recreation services"),
    (8011, "doctors"),
    (8021, "dentists"),
    (8043, "opticians"),
    (8062, "hospitals"),
    (8071, "medical and dental laboratories"),
    (8099, "other health services"),
    (8111, "legal services and attorneys"),
    (8211, "schools"),
    (8220, "colleges and universities"),
    (8299, "other educational services"),
    (8351, "child care"),
    (8398, "charities and social services"),
    (8641, "civic and social associations"),
    (8661, "religious organisations"),
    (8699, "other membership organisations"),
    (8931, "accounting and bookkeeping"),
    (8999, "other professional services"),
    (9211, "court costs"),
    (9222, "fines"),
    (9311, "tax payments"),
    (9399, "other government services"),
    (9402, "postal services"),
];

#[cfg(test)]
mod tests {
    use super::CODES;

    #[test]
    fn codes_are_sorted_and_stand_once() {
        assert!(CODES.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
