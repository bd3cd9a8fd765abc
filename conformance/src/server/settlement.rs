//! What a merchant charges, once, and the receipt it gives (OID4AC v1 §13).

use http::StatusCode;
use jose::{Alg, UnverifiedJws};
use sandbox::Stock;
use serde_json::{Map, Value, json};

use crate::agent::{Agent, Purchase, Ready, random};
use crate::check::{Check, run};
use crate::forger::{Edit, gives_receipts};
use crate::lie;
use crate::outcome::{Outcome, Stop, expect, skipped};
use crate::wire::Answer;
use crate::world::{Part, World, digest_of};

pub(super) fn checks() -> Vec<Check> {
    let mut checks = vec![
        Check::server(
            "settle.cap_short",
            "OID4AC v1 §13",
            "a mandate over one minor unit less than the offer: 422 offer_amount_exceeds_mandate",
            run!(not_covered, |p: &mut Purchase| p.amount_minor -= 1, EXCEEDS),
        ),
        Check::server(
            "settle.quantity",
            "OID4AC v1 §13",
            "two for the price of one: 422 offer_amount_exceeds_mandate",
            run!(not_covered, |p: &mut Purchase| p.line_items[0]["qty"] = json!(2), EXCEEDS),
        ),
        Check::server(
            "settle.quantity_overflow",
            "OID4AC v1 §13",
            "a quantity whose price is beyond 64 bits: 422 offer_amount_exceeds_mandate",
            run!(not_covered, |p: &mut Purchase| p.line_items[0]["qty"] = json!(9_007_199_254_740_991_u64), EXCEEDS),
        ),
        Check::server(
            "settle.currency",
            "OID4AC v1 §13",
            "a mandate in another currency: 422 offer_amount_exceeds_mandate",
            run!(not_covered, |p: &mut Purchase| p.currency = "CHF".to_owned(), EXCEEDS),
        ),
        Check::server(
            "settle.no_offer",
            "OID4AC v1 §13",
            "a mandate without `offer_digest` for an item that has an offer: 422 mandate_offer_unknown",
            run!(not_covered, |p: &mut Purchase| p.offer_digest = None, UNKNOWN),
        ),
        Check::server(
            "settle.unsigned_offer",
            "OID4AC v1 §13",
            "the digest of an offer that was never signed: 422 mandate_offer_unknown",
            run!(not_covered, |p: &mut Purchase| p.offer_digest = Some("A".repeat(43)), UNKNOWN),
        ),
        Check::server(
            "settle.used_up",
            "OID4AC v1 §13",
            "a mandate that was used up: 422 offer_amount_exceeds_mandate",
            run!(used_up),
        ),
        Check::server(
            "settle.another_items_offer",
            "OID4AC v1 §13",
            "the offer of another item: 422 mandate_offer_unknown",
            run!(another_items_offer),
        ),
        Check::server(
            "settle.line_quantity",
            "OID4AC v1 §13",
            "another quantity than the mandate's: 422 mandate_line_items_mismatch",
            run!(line_mismatch, |lines: &mut Value| lines[0]["qty"] = json!(2)),
        ),
        Check::server(
            "settle.line_sku",
            "OID4AC v1 §13",
            "another SKU than the mandate's: 422 mandate_line_items_mismatch",
            run!(line_mismatch, |lines: &mut Value| lines[0]["sku"] = json!("something-else")),
        ),
        Check::server(
            "settle.line_added",
            "OID4AC v1 §13",
            "a line more than the mandate has: 422 mandate_line_items_mismatch",
            run!(line_mismatch, |lines: &mut Value| *lines = json!([lines[0], { "sku": "something-else", "qty": 1 }])),
        ),
        Check::server(
            "settle.offer_id_missing",
            "OID4AC v1 §6",
            "a mandate with an `offer_id`, presented without: 422 mandate_offer_unknown",
            run!(offer_id, None),
        ),
        Check::server(
            "settle.offer_id_differs",
            "OID4AC v1 §6",
            "a mandate with an `offer_id`, presented with another: 422 mandate_offer_unknown",
            run!(offer_id, Some("another")),
        ),
        Check::server(
            "settle.out_of_stock",
            "OID4AC v1 §13",
            "an item that is gone: 422 offer_out_of_stock",
            run!(out_of_stock),
        ),
        Check::server(
            "settle.signed_price",
            "OID4AC v1 §13",
            "what was signed is charged, not today's price",
            run!(signed_price),
        )
        .spoiled_by(lie::refuses(PATH, StatusCode::OK)),
        Check::server(
            "settle.nothing_charged_on_refusal",
            "OID4AC v1 §13",
            "a refusal charges nothing, and the mandate stays good for its whole amount",
            run!(nothing_charged_on_refusal),
        )
        .spoiled_by(lie::set(PATH, "/spend_cap_remaining_minor", json!(1))),
        Check::server(
            "idempotency.same_octets",
            "OID4AC v1 §13",
            "the same request again gets the same answer, and nothing more is charged",
            run!(same_octets),
        ),
        Check::server(
            "idempotency.fresh_key_binding",
            "OID4AC v1 §13",
            "the same key under a fresh KB-JWT gets the same answer, and nothing more is charged",
            run!(fresh_key_binding),
        ),
        Check::server(
            "idempotency.after_revocation",
            "OID4AC v1 §13",
            "what was settled is answered though the mandate has been revoked since",
            run!(after_revocation),
        ),
        Check::server(
            "idempotency.after_expiry",
            "OID4AC v1 §13",
            "what was settled is answered though the mandate has expired since",
            run!(after_expiry),
        ),
        Check::server(
            "idempotency.another_quantity",
            "OID4AC v1 §13",
            "the same key for another quantity: 409 idempotency_conflict",
            run!(conflict_by_quantity),
        ),
        Check::server(
            "idempotency.another_mandate",
            "OID4AC v1 §13",
            "the same key for another mandate: 409 idempotency_conflict",
            run!(conflict_by_mandate),
        ),
        Check::server(
            "idempotency.of_each_holder",
            "OID4AC v1 §13",
            "another holder's key of the same name is another key: 200",
            run!(of_each_holder),
        )
        .spoiled_by(lie::refuses(PATH, StatusCode::OK)),
        Check::server(
            "idempotency.key_binding_spent",
            "OID4AC v1 §10",
            "a spent KB-JWT under another key: 422 mandate_kb_nonce_mismatch",
            run!(key_binding_spent),
        ),
        Check::server(
            "idempotency.refusals_not_recorded",
            "OID4AC v1 §13",
            "a refusal is not recorded: the same key settles later",
            run!(refusals_not_recorded),
        )
        .spoiled_by(lie::refuses(PATH, StatusCode::OK)),
        Check::server(
            "idempotency.at_once",
            "OID4AC v1 §13",
            "of presentations of one purchase at once, one is charged; the others get its answer or 409",
            run!(at_once),
        )
        .spoiled_by(lie::refuses(PATH, StatusCode::OK)),
        Check::server(
            "receipt.url",
            "OID4AC v1 §13",
            "`receipt_url` is at the merchant and gives the same receipt",
            run!(receipt_url),
        )
        .spoiled_by(lie::set("/receipts/", "/receipt_jws", json!("another"))),
        Check::server("receipt.typ", "OID4AC v1 §13", "the receipt's typ is oid4ac-receipt+jwt", run!(receipt, "iss"))
            .spoiled_by(gives_receipts("JWT", |_| {})),
        Check::server(
            "receipt.signature",
            "OID4AC v1 §17",
            "the receipt verifies by the merchant's keys",
            run!(receipt, "iss"),
        )
        .spoiled_by(lie::set("/.well-known/jwks.json", "/keys", json!([]))),
    ];
    for (member, edit) in RECEIPT {
        let expected = format!("the receipt's `{member}` is that of the payment");
        let check = Check::server(format!("receipt.{member}"), "OID4AC v1 §13", expected, run!(receipt, member));
        checks.push(check.spoiled_by(gives_receipts("oid4ac-receipt+jwt", edit)));
    }
    for (member, holds) in ANSWER {
        let expected = format!("the answer's `{member}` is as it has to be");
        let check = Check::server(format!("settle.{member}"), "OID4AC v1 §13", expected, run!(answer, member, holds));
        checks.push(check.spoiled_by(lie::set(PATH, format!("/{member}"), json!([]))));
    }
    checks
}

const RECEIPT: [(&str, Edit); 8] = [
    ("iss", |c| c["iss"] = json!("https://elsewhere.example")),
    ("mandate_id", |c| c["mandate_id"] = json!("another")),
    ("idempotency_key", |c| c["idempotency_key"] = json!("another")),
    ("payment_intent_id", |c| c["payment_intent_id"] = json!("another")),
    ("amount_minor", |c| c["amount_minor"] = json!(1)),
    ("currency", |c| c["currency"] = json!("CHF")),
    ("offer_digest", |c| c["offer_digest"] = json!("another")),
    ("settled_at", |c| c["settled_at"] = json!("1970-01-01T00:00:00Z")),
];

type Holds = fn(&Value, &Purchase) -> bool;

const ANSWER: [(&str, Holds); 7] = [
    ("mandate_id", |v, _| is_text(v)),
    ("payment_intent_id", |v, _| is_text(v)),
    ("verifier_principal_id", |v, _| is_text(v)),
    ("settled_at", |v, _| is_time(v)),
    ("verified_at", |v, _| is_time(v)),
    ("spend_cap_remaining_minor", |v, _| v.as_u64() == Some(0)),
    ("receipt_url", |v, purchase| v.as_str().is_some_and(|url| url.starts_with(&purchase.shop.origin))),
];

fn is_text(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.is_empty())
}

fn is_time(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.parse::<jiff::Timestamp>().is_ok())
}

async fn ready(world: &World) -> Result<(Agent<'_>, Ready), Stop> {
    world.may_pay()?;
    let agent = world.agent(Part::Own).await?;
    let ready = agent.ready().await?;
    Ok((agent, ready))
}

/// Pays, which has to succeed for the check to go on.
async fn paid(agent: &Agent<'_>, ready: &Ready, key: &str) -> Result<Answer, Stop> {
    agent.pay(&ready.purchase, &ready.tokens.mandate, key).await?.done(200)
}

async fn not_covered(world: &World, change: fn(&mut Purchase), error: &'static str) -> Outcome {
    world.may_pay()?;
    let agent = world.agent(Part::Own).await?;
    let (_, mut purchase) = agent.purchase().await?;
    change(&mut purchase);
    let tokens = agent.tokens(&purchase).await?;
    agent.pay(&purchase, &tokens.mandate, &random::<16>()).await?.refused(422, error)
}

async fn used_up(world: &World) -> Outcome {
    let (agent, ready) = ready(world).await?;
    paid(&agent, &ready, &random::<16>()).await?;
    agent.pay(&ready.purchase, &ready.tokens.mandate, &random::<16>()).await?.refused(422, EXCEEDS)
}

async fn another_items_offer(world: &World) -> Outcome {
    world.may_pay()?;
    let agent = world.agent(Part::Own).await?;
    let (_, mut purchase) = agent.purchase().await?;
    let skus = world.skus(&purchase.shop).await?;
    let Some(other) = skus.get(1) else { return skipped("needs two items in stock") };
    purchase.line_items[0]["sku"] = json!(other);
    let tokens = agent.tokens(&purchase).await?;
    agent.pay(&purchase, &tokens.mandate, &random::<16>()).await?.refused(422, UNKNOWN)
}

async fn line_mismatch(world: &World, change: fn(&mut Value)) -> Outcome {
    let (agent, ready) = ready(world).await?;
    let challenge = agent.challenge(&ready.purchase.shop).await?;
    let mut body = agent.body(&ready.purchase, &ready.tokens.mandate, &challenge, &random::<16>())?;
    change(&mut body["line_items"]);
    agent.post_body(&ready.purchase.shop, &body).await?.refused(422, "mandate_line_items_mismatch")
}

async fn offer_id(world: &World, presented: Option<&'static str>) -> Outcome {
    world.may_pay()?;
    let agent = world.agent(Part::Own).await?;
    let (_, mut purchase) = agent.purchase().await?;
    purchase.offer_id = Some("offer-7".to_owned());
    let tokens = agent.tokens(&purchase).await?;
    purchase.offer_id = presented.map(str::to_owned);
    agent.pay(&purchase, &tokens.mandate, &random::<16>()).await?.refused(422, UNKNOWN)
}

/// The first merchant's id and the SKU that is bought, in the sandbox.
fn item(world: &World, ready: &Ready) -> Result<(String, String), Stop> {
    let sandbox = world.needs_sandbox("a merchant's stock and prices to be changed")?;
    let sku = ready.purchase.line_items[0]["sku"].as_str().unwrap_or_default();
    Ok((sandbox.merchants()[0].id.clone(), sku.to_owned()))
}

fn set_stock(world: &World, ready: &Ready, stock: Stock) -> Result<(), Stop> {
    let (shop, sku) = item(world, ready)?;
    let sandbox = world.needs_sandbox("a merchant's stock to be changed")?;
    sandbox.set_stock(&shop, &sku, stock).map_err(|error| Stop::Broken(error.to_string()))
}

async fn out_of_stock(world: &World) -> Outcome {
    world.needs_sandbox("a merchant's stock to be changed")?;
    let (agent, ready) = ready(world).await?;
    set_stock(world, &ready, Stock::Gone)?;
    agent.pay(&ready.purchase, &ready.tokens.mandate, &random::<16>()).await?.refused(422, "offer_out_of_stock")
}

async fn signed_price(world: &World) -> Outcome {
    let sandbox = world.needs_sandbox("a merchant's prices to be changed")?;
    let (agent, ready) = ready(world).await?;
    let (shop, sku) = item(world, &ready)?;
    sandbox.set_price(&shop, &sku, 2 * ready.purchase.amount_minor).map_err(|error| Stop::Broken(error.to_string()))?;
    agent.pay(&ready.purchase, &ready.tokens.mandate, &random::<16>()).await?.accepted(200)
}

async fn nothing_charged_on_refusal(world: &World) -> Outcome {
    let (agent, ready) = ready(world).await?;
    let challenge = agent.challenge(&ready.purchase.shop).await?;
    let mut body = agent.body(&ready.purchase, &ready.tokens.mandate, &challenge, &random::<16>())?;
    body["line_items"][0]["qty"] = json!(2);
    let refused = agent.post_body(&ready.purchase.shop, &body).await?;
    let charged = world.settlements().unwrap_or(0);
    let then = paid(&agent, &ready, &random::<16>()).await?.json()["spend_cap_remaining_minor"].clone();
    let seen = format!("{}, {charged} charged; then paid, {then} left", refused.summary());
    expect(refused.status == 422 && charged == 0 && then == 0, seen)
}

/// Whether two answers are one, and one payment was charged.
fn same_answer(world: &World, first: &Answer, again: &Answer) -> Outcome {
    let same = again.status == 200 && first.body == again.body;
    let charged = world.settlements();
    let seen = if same { "the same answer".to_owned() } else { format!("another answer: {}", again.summary()) };
    expect(same && charged.is_none_or(|count| count == 1), format!("{seen}, {} charged", charged.unwrap_or(1)))
}

async fn same_octets(world: &World) -> Outcome {
    let (agent, ready) = ready(world).await?;
    let challenge = agent.challenge(&ready.purchase.shop).await?;
    let body = agent.body(&ready.purchase, &ready.tokens.mandate, &challenge, &random::<16>())?;
    let first = agent.post_body(&ready.purchase.shop, &body).await?.done(200)?;
    same_answer(world, &first, &agent.post_body(&ready.purchase.shop, &body).await?)
}

async fn fresh_key_binding(world: &World) -> Outcome {
    let (agent, ready) = ready(world).await?;
    let key = random::<16>();
    let first = paid(&agent, &ready, &key).await?;
    same_answer(world, &first, &agent.pay(&ready.purchase, &ready.tokens.mandate, &key).await?)
}

async fn after_revocation(world: &World) -> Outcome {
    let (agent, ready) = ready(world).await?;
    let key = random::<16>();
    let first = paid(&agent, &ready, &key).await?;
    agent.revoke(&ready.tokens.refresh_token).await?.done(200)?;
    world.wait(61).await?;
    same_answer(world, &first, &agent.pay(&ready.purchase, &ready.tokens.mandate, &key).await?)
}

async fn after_expiry(world: &World) -> Outcome {
    let (agent, ready) = ready(world).await?;
    let key = random::<16>();
    let first = paid(&agent, &ready, &key).await?;
    world.wait(6 * 86_400).await?;
    same_answer(world, &first, &agent.pay(&ready.purchase, &ready.tokens.mandate, &key).await?)
}

async fn conflict_by_quantity(world: &World) -> Outcome {
    let (agent, ready) = ready(world).await?;
    let key = random::<16>();
    paid(&agent, &ready, &key).await?;
    let challenge = agent.challenge(&ready.purchase.shop).await?;
    let mut body = agent.body(&ready.purchase, &ready.tokens.mandate, &challenge, &key)?;
    body["line_items"][0]["qty"] = json!(2);
    agent.post_body(&ready.purchase.shop, &body).await?.refused(409, "idempotency_conflict")
}

async fn conflict_by_mandate(world: &World) -> Outcome {
    let (agent, ready) = ready(world).await?;
    let key = random::<16>();
    paid(&agent, &ready, &key).await?;
    let second = agent.ready().await?;
    agent.pay(&second.purchase, &second.tokens.mandate, &key).await?.refused(409, "idempotency_conflict")
}

async fn of_each_holder(world: &World) -> Outcome {
    let (agent, ready) = ready(world).await?;
    let key = random::<16>();
    agent.pay(&ready.purchase, &ready.tokens.mandate, &key).await?;
    let other = world.agent(Part::Sibling).await?;
    let theirs = other.ready().await?;
    other.pay(&theirs.purchase, &theirs.tokens.mandate, &key).await?.accepted(200)
}

async fn key_binding_spent(world: &World) -> Outcome {
    let (agent, ready) = ready(world).await?;
    let challenge = agent.challenge(&ready.purchase.shop).await?;
    let mut body = agent.body(&ready.purchase, &ready.tokens.mandate, &challenge, &random::<16>())?;
    agent.post_body(&ready.purchase.shop, &body).await?.done(200)?;
    body["idempotency_key"] = random::<16>().into();
    agent.post_body(&ready.purchase.shop, &body).await?.refused(422, "mandate_kb_nonce_mismatch")
}

async fn refusals_not_recorded(world: &World) -> Outcome {
    world.needs_sandbox("a merchant's stock to be changed")?;
    let (agent, ready) = ready(world).await?;
    let key = random::<16>();
    set_stock(world, &ready, Stock::Gone)?;
    agent.pay(&ready.purchase, &ready.tokens.mandate, &key).await?;
    set_stock(world, &ready, Stock::There)?;
    agent.pay(&ready.purchase, &ready.tokens.mandate, &key).await?.accepted(200)
}

async fn at_once(world: &World) -> Outcome {
    let (agent, ready) = ready(world).await?;
    let key = random::<16>();
    let present = async || agent.pay(&ready.purchase, &ready.tokens.mandate, &key).await;
    let (a, b, c, d) = tokio::join!(present(), present(), present(), present());
    let mut payments = Vec::new();
    let mut others = Vec::new();
    for answer in [a?, b?, c?, d?] {
        match answer.status {
            200 => payments.push(answer.json()["payment_intent_id"].clone()),
            _ => others.push(answer.summary()),
        }
    }
    payments.dedup();
    let orderly = others.iter().all(|other| other == "409 idempotency_in_progress");
    let charged = world.settlements();
    let one = payments.len() == 1 && charged.is_none_or(|count| count == 1);
    expect(one && orderly, format!("{} payments; {}", payments.len(), others.join(", ")))
}

/// Settles, and the verified claims of the receipt.
async fn settled(world: &World) -> Result<(Ready, String, Value, Map<String, Value>), Stop> {
    let (agent, ready) = ready(world).await?;
    let key = random::<16>();
    let answer = paid(&agent, &ready, &key).await?;
    let keys = world.shop_keys(&ready.purchase.shop).await?;
    let text = answer.text("receipt_jws")?;
    let not_verified = |why: String| Stop::Failed(format!("the receipt does not verify: {why}"));
    let receipt = UnverifiedJws::parse(&text).map_err(|error| not_verified(error.to_string()))?;
    let jwk = keys.find(receipt.unverified_kid(), receipt.unverified_alg());
    let Some(jwk) = jwk else { return Err(not_verified("no key has its kid".to_owned())) };
    let verified = receipt.verify(jwk.key(), &[Alg::EdDsa, Alg::Es256], &["oid4ac-receipt+jwt"]);
    let claims = verified.and_then(|jws| jws.claims()).map_err(|error| not_verified(error.to_string()))?;
    Ok((ready, key, answer.json(), claims))
}

async fn receipt(world: &World, member: &'static str) -> Outcome {
    let (ready, key, answer, claims) = settled(world).await?;
    let expected = match member {
        "iss" => ready.purchase.shop.origin.into(),
        "idempotency_key" => key.into(),
        "amount_minor" => json!(ready.purchase.amount_minor),
        "currency" => ready.purchase.currency.into(),
        "offer_digest" => digest_of(&ready.offer.body)?.into(),
        _ => answer[member].clone(),
    };
    let same = claims.get(member) == Some(&expected);
    expect(same, if same { "the same" } else { "another, or none" })
}

async fn receipt_url(world: &World) -> Outcome {
    let (agent, ready) = ready(world).await?;
    let answer = paid(&agent, &ready, &random::<16>()).await?;
    let url = answer.text("receipt_url")?;
    let at_home = url.starts_with(&ready.purchase.shop.origin);
    let fetched = world.http.get(&url).await?;
    let same = fetched.json()["receipt_jws"] == answer.json()["receipt_jws"];
    expect(at_home && same, format!("{}, {}", fetched.summary(), if same { "the same" } else { "another" }))
}

async fn answer(world: &World, member: &'static str, holds: Holds) -> Outcome {
    let (agent, ready) = ready(world).await?;
    let value = paid(&agent, &ready, &random::<16>()).await?.json()[member].clone();
    let right = holds(&value, &ready.purchase);
    expect(right, if right { "as expected" } else { "something else" })
}

const PATH: &str = "/verify-mandate";
const EXCEEDS: &str = "offer_amount_exceeds_mandate";
const UNKNOWN: &str = "mandate_offer_unknown";
