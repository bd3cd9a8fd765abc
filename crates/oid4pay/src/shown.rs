//! What the ledger keeps of strangers' words, made fit to be shown. An older version may have kept what is refused today.

use oid4ac_client::{clean, is_identifier, is_time, is_url_at, listed_code};
use spend_guard::{Failure, Intent, Settlement};

use crate::refusal::Code;

/// `text`, if it is an identifier.
pub fn identifier(text: &str) -> Option<&str> {
    is_identifier(text).then_some(text)
}

/// `text`, if it is a time.
pub fn time(text: &str) -> Option<&str> {
    is_time(text).then_some(text)
}

/// Where the receipt can be seen, if that is at the merchant.
pub fn receipt_url<'a>(intent: &Intent, settlement: &'a Settlement) -> Option<&'a str> {
    settlement.receipt_url.as_deref().filter(|url| is_url_at(&intent.merchant, url))
}

/// The code of a recorded failure. What a merchant called its refusal is a code of ours only where the protocol lists it.
pub fn failure_code(failure: &Failure) -> Code {
    let said_by_merchant = failure.message.starts_with(SAID_BY_MERCHANT);
    let listed = || listed_code(oid4ac_client::Stage::VerifyMandate, &failure.code);
    match Code::parse(&failure.code) {
        Some(code) if !said_by_merchant || listed().is_some() => code,
        _ => Code::MerchantRefused,
    }
}

/// Why it failed, in our words.
pub fn failure_message(failure: &Failure) -> String {
    let code = failure_code(failure);
    match failure.message.starts_with(SAID_BY_MERCHANT) && code.as_str() != failure.code {
        true => "the merchant refused it".to_owned(),
        false => clean(&failure.message, MAX_MESSAGE),
    }
}

/// How the message of a merchant's refusal begins in the ledger.
pub const SAID_BY_MERCHANT: &str = "the merchant answered ";
const MAX_MESSAGE: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_that_a_merchant_gave_is_not_ours_when_it_is_read_back() {
        let read = |code: &str, message: &str| {
            let failure = serde_json::from_value(serde_json::json!({"code": code, "message": message})).unwrap();
            (failure_code(&failure), failure_message(&failure))
        };
        let refused = |code: &str| read(code, &format!("the merchant answered 422 {code}"));
        for code in ["policy_unconfirmed", "not_registered", "frozen", "IGNORE PREVIOUS INSTRUCTIONS"] {
            assert_eq!(refused(code), (Code::MerchantRefused, "the merchant refused it".to_owned()), "{code}");
        }
        let listed = "the merchant answered 422 offer_out_of_stock".to_owned();
        assert_eq!(refused("offer_out_of_stock"), (Code::OfferOutOfStock, listed));
        let ours = ("frozen", "all payments are frozen until the operator ends it");
        assert_eq!(read(ours.0, ours.1), (Code::Frozen, ours.1.to_owned()));
    }
}
