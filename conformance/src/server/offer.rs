//! Signed offers and catalogs (RFC 9421, RFC 9530), and the directory's previews of them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

use crate::check::{Check, run};
use crate::lie::{self, Lie};
use crate::outcome::{Outcome, Stop, broken, expect, failed};
use crate::wire::{Answer, Call};
use crate::world::{Shop, World};

pub(super) fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    for (what, artefact) in [("offer", Artefact::Offer), ("catalog", Artefact::Catalog)] {
        let (path, lifetime) = (artefact.path(), artefact.max_lifetime());
        let id = |name: &str| format!("{what}.{name}");
        checks.extend([
            Check::server(
                id("signature"),
                "RFC 9421 §3.2",
                format!("the {what}'s signature verifies by the merchant's keys, over all mandatory components"),
                run!(signature, artefact, 0),
            )
            .spoiled_by(lie::json_at(path, |json| json["more"] = json!("than was signed"))),
            Check::server(
                id("signature_of_the_other"),
                "RFC 9421 §2.4",
                format!("the {what} of a second merchant verifies too, whichever way it writes `;req`"),
                run!(signature, artefact, 1),
            )
            .spoiled_by(lie::json_at(path, |json| json["more"] = json!("than was signed"))),
            Check::server(
                id("lifetime"),
                "OID4AC v1 §11",
                format!("the {what}'s signature lives for at most {lifetime} s"),
                run!(signature_param, artefact, Param::Lifetime),
            )
            .spoiled_by(input(path, ";expires=", ";expires=9")),
            Check::server(
                id("nonce"),
                "OID4AC v1 §11",
                format!("the {what}'s signature has a nonce of 16 octets, another each time"),
                run!(signature_param, artefact, Param::Nonce),
            )
            .spoiled_by(input(path, ";nonce=\"", ";nonce=\"AA")),
            Check::server(
                id("alg"),
                "OID4AC v1 §17",
                format!("the {what}'s signature is ed25519 or ecdsa-p256-sha256"),
                run!(signature_param, artefact, Param::Alg),
            )
            .spoiled_by(input(path, ";alg=\"", ";alg=\"hmac-")),
            Check::server(
                id("content_digest"),
                "RFC 9530 §2",
                format!("the {what}'s `Content-Digest` has sha-256"),
                run!(content_digest, artefact),
            )
            .spoiled_by(lie::header(path, "content-digest", None)),
        ]);
    }
    checks.extend([
        Check::server("offer.unknown", "OID4AC v1 §11", "an unknown item: 404", run!(unknown_offer))
            .spoiled_by(lie::accepts(OFFER, "not_found")),
        Check::server("offer.products", "OID4AC v1 §11", "/products/{sku} gives the same offer", run!(products))
            .spoiled_by(lie::set("/products/", "/amount_minor", json!(1))),
        Check::server(
            "catalog.offers_agree",
            "OID4AC v1 §11",
            "an item's offer has its SKU, price, currency and stock",
            run!(offers_agree),
        )
        .spoiled_by(lie::set(OFFER, "/amount_minor", json!(1))),
        Check::server(
            "catalog.pages",
            "OID4AC v1 §11",
            "`next` leads through the pages at the merchant's own origin, and every page is signed",
            run!(pages),
        )
        .spoiled_by(lie::json_at(CATALOG, |json| {
            if json["next"].is_string() {
                json["next"] = json!("https://elsewhere.example/catalog");
            }
        })),
        Check::server(
            "merchant.jwks",
            "RFC 7517 §4.5",
            "every key of a merchant's is public and has a `kid`",
            run!(merchant_keys),
        )
        .spoiled_by(lie::set("/.well-known/jwks.json", "/keys/0/kid", Value::Null)),
    ]);
    for (member, holds) in OFFER_MEMBERS {
        let expected = format!("the offer's `{member}` is there and well-formed");
        let check =
            Check::server(format!("offer.{member}"), "OID4AC v1 §11", expected, run!(offer_member, member, holds));
        checks.push(check.spoiled_by(lie::set(OFFER, format!("/{member}"), Value::Null)));
    }
    for (member, holds) in ITEM_MEMBERS {
        let expected = format!("every item's `{member}` is there and well-formed");
        let check =
            Check::server(format!("catalog.{member}"), "OID4AC v1 §11", expected, run!(item_member, member, holds));
        checks.push(check.spoiled_by(lie::set(CATALOG, format!("/items/0/{member}"), json!(7))));
    }
    checks
}

/// Replaces a piece of `Signature-Input`.
fn input(path: &'static str, piece: &'static str, with: &'static str) -> Lie {
    lie::at(path, move |mut answer| {
        let input = answer.headers().get("signature-input").and_then(|value| value.to_str().ok());
        if let Some(value) = input.and_then(|input| HeaderValue::from_str(&input.replace(piece, with)).ok()) {
            answer.headers_mut().insert("signature-input", value);
        }
        answer
    })
}

#[derive(Clone, Copy)]
enum Artefact {
    Offer,
    Catalog,
}

impl Artefact {
    fn path(self) -> &'static str {
        match self {
            Self::Offer => OFFER,
            Self::Catalog => CATALOG,
        }
    }

    /// In seconds.
    fn max_lifetime(self) -> u32 {
        match self {
            Self::Offer => 300,
            Self::Catalog => 600,
        }
    }

    async fn fetch(self, world: &World, shop: &Shop) -> Result<(String, Answer), Stop> {
        let url = match self {
            Self::Offer => format!("{}{OFFER}{}", shop.origin, world.skus(shop).await?[0]),
            Self::Catalog => format!("{}{CATALOG}", shop.origin),
        };
        let call = Call::get(&url).header("accept-encoding", "identity");
        let answer = world.http.send(call).await?.done(200)?;
        Ok((url, answer))
    }
}

type Holds = fn(&Value) -> bool;

const OFFER_MEMBERS: [(&str, Holds); 7] = [
    ("@context", |v| *v == "https://schema.org"),
    ("@type", |v| *v == "Offer"),
    ("sku", is_text),
    ("name", is_text),
    ("amount_minor", |v| v.as_u64().is_some_and(|n| n >= 1)),
    ("currency", is_currency),
    ("in_stock", Value::is_boolean),
];

const ITEM_MEMBERS: [(&str, Holds); 8] = [
    ("sku", is_text),
    ("title", is_text),
    ("unit_price_minor", |v| v.as_u64().is_some_and(|n| n >= 8)),
    ("currency", is_currency),
    ("in_stock", Value::is_boolean),
    ("category", is_text),
    ("ships_to", |v| v.as_array().is_some_and(|list| list.iter().all(|c| c.as_str().is_some_and(|c| c.len() == 2)))),
    ("offer_url", is_text),
];

fn is_text(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.is_empty())
}

fn is_currency(value: &Value) -> bool {
    value.as_str().is_some_and(|code| code.len() == 3 && code.bytes().all(|octet| octet.is_ascii_uppercase()))
}

async fn verify(world: &World, shop: &Shop, url: &str, answer: &Answer, artefact: Artefact) -> Outcome {
    let verified = world.verify_signed(shop, url, answer, &COMPONENTS, artefact.max_lifetime()).await?;
    Ok(format!("it verifies, {}", verified.alg()))
}

async fn signature(world: &World, artefact: Artefact, index: usize) -> Outcome {
    let shop = world.shop(index)?;
    let (url, answer) = artefact.fetch(world, &shop).await?;
    verify(world, &shop, &url, &answer, artefact).await
}

#[derive(Clone, Copy)]
enum Param {
    Lifetime,
    Nonce,
    Alg,
}

/// A parameter as written in `Signature-Input`.
fn param<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    let input = answer.header("signature-input")?;
    let value = input.split(&format!(";{name}=")).nth(1)?;
    Some(value.split([';', ',']).next()?.trim_matches('"'))
}

async fn signature_param(world: &World, artefact: Artefact, which: Param) -> Outcome {
    let shop = world.shop(0)?;
    let (_, answer) = artefact.fetch(world, &shop).await?;
    match which {
        Param::Lifetime => {
            let seconds = |name| param(&answer, name).and_then(|value| value.parse::<i64>().ok());
            let (Some(created), Some(expires)) = (seconds("created"), seconds("expires")) else {
                return failed("no `created` or no `expires`");
            };
            let lifetime = expires - created;
            expect((1..=i64::from(artefact.max_lifetime())).contains(&lifetime), format!("{lifetime} s"))
        }
        Param::Nonce => {
            let (_, again) = artefact.fetch(world, &shop).await?;
            let (one, two) = (param(&answer, "nonce").unwrap_or_default(), param(&again, "nonce").unwrap_or_default());
            let octets = jose::base64url::decode(one).map(|octets| octets.len()).unwrap_or(0);
            let seen = format!("{octets} octets, {}", if one == two { "the same twice" } else { "two different ones" });
            expect(octets == 16 && one != two, seen)
        }
        Param::Alg => {
            let alg = param(&answer, "alg").unwrap_or("none named");
            expect(["ed25519", "ecdsa-p256-sha256"].contains(&alg), alg)
        }
    }
}

async fn content_digest(world: &World, artefact: Artefact) -> Outcome {
    let shop = world.shop(0)?;
    let (_, answer) = artefact.fetch(world, &shop).await?;
    let value = answer.header("content-digest").unwrap_or("no such header");
    expect(value.starts_with("sha-256=:"), value.split('=').next().unwrap_or_default())
}

async fn unknown_offer(world: &World) -> Outcome {
    let shop = world.shop(0)?;
    let answer = world.http.get(&format!("{}{OFFER}no-such-thing", shop.origin)).await?;
    expect(answer.status == 404, answer.summary())
}

async fn products(world: &World) -> Outcome {
    let shop = world.shop(0)?;
    let sku = world.skus(&shop).await?.swap_remove(0);
    let offer = world.http.get(&format!("{}{OFFER}{sku}", shop.origin)).await?.done(200)?.json();
    let product = world.http.get(&format!("{}/products/{sku}", shop.origin)).await?;
    let same = product.json() == offer;
    expect(same, format!("{}, {}", product.summary(), if same { "the same" } else { "another" }))
}

async fn first_page(world: &World, shop: &Shop) -> Result<Vec<Value>, Stop> {
    let (_, answer) = Artefact::Catalog.fetch(world, shop).await?;
    Ok(answer.json()["items"].as_array().cloned().unwrap_or_default())
}

async fn offers_agree(world: &World) -> Outcome {
    let shop = world.shop(0)?;
    let mut checked = 0;
    for item in first_page(world, &shop).await?.iter().take(3) {
        let url = item["offer_url"].as_str().unwrap_or_default();
        if !url.starts_with(&shop.origin) {
            return failed("an `offer_url` at another origin");
        }
        let offer = world.http.get(url).await?.done(200)?.json();
        let pairs =
            [("sku", "sku"), ("unit_price_minor", "amount_minor"), ("currency", "currency"), ("in_stock", "in_stock")];
        if let Some((name, _)) = pairs.into_iter().find(|(of_item, of_offer)| item[*of_item] != offer[*of_offer]) {
            return failed(format!("they differ in `{name}`"));
        }
        checked += 1;
    }
    expect(checked > 0, format!("{checked} items agree"))
}

async fn pages(world: &World) -> Outcome {
    let shop = world.shop(0)?;
    let mut url = format!("{}{CATALOG}", shop.origin);
    for page in 1..=100 {
        if !url.starts_with(&shop.origin) {
            return failed("`next` leads to another origin");
        }
        let answer = world.http.get(&url).await?.done(200)?;
        verify(world, &shop, &url, &answer, Artefact::Catalog).await?;
        match answer.json()["next"].as_str() {
            Some(next) => url = next.to_owned(),
            None => return Ok(format!("{page} pages")),
        }
    }
    failed("no last page among 100")
}

async fn merchant_keys(world: &World) -> Outcome {
    let shop = world.shop(0)?;
    let answer = world.http.get(&format!("{}/.well-known/jwks.json", shop.origin)).await?.done(200)?;
    let keys = answer.json()["keys"].as_array().cloned().unwrap_or_default();
    let good = keys.iter().filter(|key| is_text(&key["kid"]) && key.get("d").is_none()).count();
    expect(!keys.is_empty() && good == keys.len(), format!("{good} of {} keys", keys.len()))
}

async fn offer_member(world: &World, member: &'static str, holds: Holds) -> Outcome {
    let (_, answer) = Artefact::Offer.fetch(world, &world.shop(0)?).await?;
    let right = holds(&answer.json()[member]);
    expect(right, if right { "well-formed" } else { "missing or malformed" })
}

async fn item_member(world: &World, member: &'static str, holds: Holds) -> Outcome {
    let items = first_page(world, &world.shop(0)?).await?;
    let good = items.iter().filter(|item| holds(&item[member])).count();
    expect(!items.is_empty() && good == items.len(), format!("{good} of {} items", items.len()))
}

/// Verifies what a directory hands on, as if the merchant had answered.
pub(super) async fn verify_preview(world: &World, preview: &Value) -> Outcome {
    let origin = preview["audience"].as_str().unwrap_or_default().to_owned();
    let Some(body) = preview["signed_body"].as_str().and_then(|text| STANDARD.decode(text).ok()) else {
        return failed("no `signed_body`");
    };
    let items = serde_json::from_slice::<Value>(&body).map(|body| body["items"].clone()).unwrap_or_default();
    if items != preview["items"] {
        return failed("`items` are not those of `signed_body`");
    }
    let mut headers = HeaderMap::new();
    let content_type = preview["signed_content_type"].as_str().unwrap_or("application/json");
    let text = |name: &str| preview[name].as_str().unwrap_or_default().to_owned();
    for (name, value) in [
        ("content-type", content_type.to_owned()),
        ("content-digest", text("content_digest")),
        ("signature", text("signature")),
        ("signature-input", text("signature_input")),
    ] {
        match HeaderValue::from_str(&value) {
            Ok(value) => drop(headers.insert(name, value)),
            Err(_) => return broken("the preview", format!("`{name}` is no header")),
        }
    }
    let url = format!("{origin}{CATALOG}");
    let shop = Shop { verify_url: String::new(), origin };
    verify(world, &shop, &url, &Answer::of(200, headers, body.into()), Artefact::Catalog).await
}

const OFFER: &str = "/oid4ac/offer/";
const CATALOG: &str = "/.well-known/oid4ac-catalog";
const COMPONENTS: [&str; 5] = ["@method", "@target-uri", "@authority", "content-type", "content-digest"];
