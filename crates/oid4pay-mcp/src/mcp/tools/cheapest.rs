//! `agent_buy_cheapest_from_store`.

use crate::mcp::answer::counted;
use crate::mcp::answer::success;
use crate::mcp::host::Host;
use crate::mcp::person::input_required;
use oid4ac_client::{
    Client, Country, Currency, IdempotencyKey, LineItem, Misuse, Money, Order, Origin, SystemRng, Wanted,
};
use oid4pay::agents::Agent;
use oid4pay::pay;
use oid4pay::pay::{Call, Cheapest, Picked, Ran, Work};
use oid4pay::person::Waiting;
use oid4pay::refusal::{Code, Refusal};
use rmcp::model::{CallToolResponse, CallToolResult};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use spend_guard::{CheapestTerms, Purchase};

use super::args::{self, CurrencyCode, Integer, MAX_MINOR, PurchaseRef, Text, Uri};
use super::output;

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Arguments {
    store_url: Uri,
    merchant_verify_url: Uri,
    max_amount_minor: Integer<1, MAX_MINOR>,
    #[serde(default, deserialize_with = "args::present", skip_serializing_if = "Option::is_none")]
    currency: Option<CurrencyCode>,
    #[serde(default, deserialize_with = "args::present", skip_serializing_if = "Option::is_none")]
    category: Option<Text>,
    #[serde(default, deserialize_with = "args::present", skip_serializing_if = "Option::is_none")]
    ships_to_country: Option<Text>,
    redirect_uri: Uri,
    #[serde(default, deserialize_with = "args::present", skip_serializing_if = "Option::is_none")]
    purchase_ref: Option<PurchaseRef>,
    #[serde(default, skip_serializing)]
    dry_run: bool,
}

pub(super) async fn buy(
    Host { agent, settings }: &Host,
    arguments: Arguments,
    waiting: Waiting,
) -> Result<CallToolResponse, Refusal> {
    let issuer = agent.issuer()?;
    let client = agent.client(&issuer)?;
    let dry_run = arguments.dry_run;
    let to_repeat = args::to_repeat(&arguments);
    let (cheapest, terms) = read(arguments)?;
    agent.check_registered(&client)?;
    if dry_run {
        let simulated = simulate(agent, &client, &issuer, &cheapest);
        return waiting.stop().unless_stopped(simulated).await.map(CallToolResponse::from);
    }
    let purchase = Purchase::cheapest(issuer, terms, IdempotencyKey::generate(&SystemRng).as_str())
        .map_err(|error| Refusal::new(Code::InvalidArguments, &error.to_string()))?
        .called_with(to_repeat);
    let work = Work::Cheapest(Box::new(cheapest));
    let call = Call { agent, client: &client, purchase, work, waiting };
    let answer = match pay::run(call).await? {
        Ran::Answered(answer) => answer,
        Ran::AskClient(question) => return Ok(input_required(question).into()),
    };
    let chosen = pay::chosen(agent.ledger(), answer.intent())?;
    let mut told = output::told(&answer, settings, |_| json!({}));
    add_chosen(&mut told.output, chosen);
    Ok(told.into_result().into())
}

/// What is looked for, how it is ordered, and what makes two calls the same purchase. Everything that can be wrong with the
/// arguments is found here, before anything is stored or sent.
fn read(arguments: Arguments) -> Result<(Cheapest, CheapestTerms), Refusal> {
    let code = arguments.currency.as_ref().map_or("EUR", CurrencyCode::as_str);
    let currency = Currency::parse(code).map_err(Misuse::Money)?;
    let guards = spend_guard::Currency::parse(currency.code())
        .map_err(|_| Refusal::new(Code::InvalidCurrency, "the currency is not an ISO 4217 code with a minor unit"))?;
    let store = Origin::of(arguments.store_url.as_str()).map_err(|why| Misuse::Url { what: "store_url", why })?;
    let cap_minor = arguments.max_amount_minor.value();
    let mut wanted = Wanted::new(cap_minor, currency);
    // Neither tells two purchases apart by its case.
    let category = arguments.category.map(|category| category.into_string().to_lowercase());
    if let Some(category) = &category {
        wanted = wanted.with_category(category);
    }
    let country = match arguments.ships_to_country {
        None => None,
        Some(code) => Some(Country::parse(code.as_str()).map_err(|_| {
            Refusal::new(Code::InvalidCountry, "ships_to_country is not an ISO 3166-1 alpha-2 code, like NL")
        })?),
    };
    if let Some(country) = &country {
        wanted = wanted.with_ships_to_country(country.code());
    }
    let terms = CheapestTerms {
        store: store.to_string(),
        cap_minor,
        currency: guards,
        category,
        country: country.map(|country| country.code().to_owned()),
        purchase_ref: arguments.purchase_ref.map(|reference| reference.as_str().to_owned()),
    };
    let (store_url, verify_url, redirect_uri) =
        (arguments.store_url, arguments.merchant_verify_url, arguments.redirect_uri);
    let order = move |key: IdempotencyKey, line: LineItem, price: Money| {
        let line = line.with_unit_price_minor(price.amount_minor());
        Order::new(store_url.as_str(), verify_url.as_str(), price, vec![line], redirect_uri.as_str(), key)
    };
    // An order for some article at some price tells whether the URLs belong together.
    let key = IdempotencyKey::generate(&SystemRng);
    let price = Money::new(cap_minor, currency).map_err(Misuse::Money)?;
    order(key, LineItem::new("any", 1), price)?;
    Ok((Cheapest { store, currency, wanted, order: Box::new(order) }, terms))
}

/// What `dry_run` does: picks, verifies the offer, and stops there.
async fn simulate(
    agent: &Agent,
    client: &Client,
    issuer: &str,
    cheapest: &Cheapest,
) -> Result<CallToolResult, Refusal> {
    let chosen = cheapest.find(client).await?;
    let price = Money::new(chosen.price_minor(), cheapest.currency).map_err(Misuse::Money)?;
    let guard = pay::simulate(agent, client, as_picked(issuer, cheapest, &chosen)?)?;
    let passed_over = match chosen.disqualified.len() {
        0 => String::new(),
        count => {
            let articles = counted(count, "cheaper article was", "cheaper articles were");
            format!(" {articles} passed over, for their signed offers contradict the catalog.")
        }
    };
    let sentence = format!(
        "The cheapest article at {} that fits costs {price} by its signed offer.{passed_over} {} Nothing was paid.",
        cheapest.store,
        output::guards_word(&guard),
    );
    let mut output = json!({
        "status": "dry_run",
        "next_step": output::next_after(&guard, "Call again without dry_run to pay."),
        "guard": guard,
        "offer_verified": true,
        "amount_minor": price.amount_minor(),
        "currency": price.currency().code(),
    });
    add_chosen(&mut output, Some(chosen));
    Ok(success(output, sentence, None))
}

/// The purchase as the guard would see it once the item is picked.
fn as_picked(issuer: &str, cheapest: &Cheapest, picked: &Picked) -> Result<Purchase, Refusal> {
    let invalid = |error: &dyn std::fmt::Display| Refusal::new(Code::InvalidArguments, &error.to_string());
    let currency = spend_guard::Currency::parse(cheapest.currency.code()).map_err(|error| invalid(&error))?;
    let (item, price) = (&picked.item, picked.price_minor());
    let line = spend_guard::LineItem { sku: item.sku.clone(), qty: 1, unit_price_minor: Some(price) };
    let key = IdempotencyKey::generate(&SystemRng);
    let store = cheapest.store.as_str();
    let purchase = Purchase::payment(issuer, store, vec![line], price, currency, None, key.as_str());
    let purchase = purchase.map_err(|error| invalid(&error))?;
    Ok(match &item.category {
        Some(category) => purchase.category(category),
        None => purchase,
    })
}

/// The contract's two members: what was chosen, and once it is paid, how that went; and what was passed over, if anything.
fn add_chosen(output: &mut Value, chosen: Option<Picked>) {
    let Value::Object(members) = output else { return };
    let paid: Map<_, _> =
        RESULT.iter().filter_map(|name| Some(((*name).to_owned(), members.get(*name)?.clone()))).collect();
    if members.get("status") == Some(&json!("settled")) {
        members.retain(|name, _| !RESULT.contains(&name.as_str()));
        members.insert("result".to_owned(), Value::Object(paid));
    }
    if let Some(chosen) = chosen {
        let mut untrusted = vec!["chosen.sku", "chosen.title", "chosen.category"];
        if !chosen.disqualified.is_empty() {
            members.insert("disqualified".to_owned(), json!(chosen.disqualified));
            untrusted.push("disqualified[].sku");
        }
        members.insert("chosen".to_owned(), json!(chosen.item));
        members.insert("untrusted_fields".to_owned(), json!(untrusted));
    }
}

const RESULT: [&str; 5] = ["mandate_id", "payment_intent_id", "payment_provider_ref", "settled_at", "receipt_url"];
