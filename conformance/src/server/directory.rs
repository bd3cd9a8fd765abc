//! The directory (OID4AC v1 §12).

use serde_json::{Value, json};

use super::offer::verify_preview;
use crate::check::{Check, run};
use crate::lie;
use crate::outcome::{Outcome, Stop, expect, failed, skipped};
use crate::world::World;

pub(super) fn checks() -> Vec<Check> {
    let mut checks = vec![
        Check::server("directory.pages", SECTION, "`page_size` and `page` cut the list, `total` stays", run!(pages))
            .spoiled_by(lie::set(PATH, "/total", json!(1))),
        Check::server("directory.currency", SECTION, "`currency` keeps only merchants that take it", run!(currency))
            .spoiled_by(lie::set(PATH, "/merchants/0/accepted_currencies", json!(["XTS"]))),
        Check::server("directory.nowhere", SECTION, "a filter that no merchant fits: an empty list", run!(nowhere))
            .spoiled_by(lie::set(PATH, "/total", json!(1))),
        Check::server(
            "directory.unknown_merchant",
            SECTION,
            "a preview of an unknown merchant's catalog: 404",
            run!(unknown),
        )
        .spoiled_by(lie::accepts(PATH, "not_found")),
        Check::server(
            "directory.preview",
            SECTION,
            "a preview verifies by itself, as the merchant's own words",
            run!(preview),
        )
        .spoiled_by(lie::without(PATH, "signed_body")),
        Check::server(
            "directory.preview_items",
            SECTION,
            "a preview's items are those that the merchant signed",
            run!(preview),
        )
        .spoiled_by(lie::json_at(PATH, |json| {
            if json.get("items").is_some() {
                json["items"] = json!([{ "sku": "forged" }]);
            }
        })),
        Check::server(
            "directory.preview_audience",
            SECTION,
            "a preview's `audience` is that of the listing",
            run!(preview_audience),
        )
        .spoiled_by(lie::json_at(PATH, |json| {
            if json.get("items").is_some() {
                json["audience"] = json!("https://elsewhere.example");
            }
        })),
    ];
    for (member, holds) in MEMBERS {
        let expected = format!("every merchant's `{member}` is there and well-formed");
        let check = Check::server(format!("directory.{member}"), SECTION, expected, run!(listed, member, holds));
        checks.push(check.spoiled_by(lie::set(PATH, format!("/merchants/0/{member}"), json!(7))));
    }
    for (what, query) in FILTERS {
        let expected = format!("{}: 400", what.replace('_', " "));
        let check = Check::server(format!("directory.refuses_{what}"), SECTION, expected, run!(refused, query));
        checks.push(check.spoiled_by(lie::accepts(PATH, "invalid_filter")));
    }
    checks
}

type Holds = fn(&Value) -> bool;

const MEMBERS: [(&str, Holds); 7] = [
    ("id", |v| {
        let is_good = |octet: u8| octet.is_ascii_alphanumeric() || b"_:-".contains(&octet);
        v.as_str().is_some_and(|id| !id.is_empty() && id.bytes().all(is_good))
    }),
    ("audience", |v| v.as_str().and_then(|url| url::Url::parse(url).ok()).is_some_and(|url| url.path() == "/")),
    ("business_name", |v| v.as_str().is_some_and(|name| !name.is_empty())),
    ("country", |v| v.as_str().is_some_and(|country| country.len() == 2)),
    ("accepted_currencies", |v| v.as_array().is_some_and(|list| !list.is_empty())),
    ("accepted_rails", |v| v.as_array().is_some_and(|list| !list.is_empty())),
    ("verified_at", |v| v.as_str().is_some_and(|time| time.parse::<jiff::Timestamp>().is_ok())),
];

const FILTERS: [(&str, &str); 7] = [
    ("a_country_of_three_letters", "country=NLD"),
    ("a_country_in_lower_case", "country=nl"),
    ("a_currency_of_four_letters", "currency=EURO"),
    ("page_0", "page=0"),
    ("page_size_0", "page_size=0"),
    ("page_size_101", "page_size=101"),
    ("a_filter_twice", "country=NL&country=DE"),
];

async fn fetch(world: &World, query: &str) -> Result<Value, Stop> {
    let url = format!("{}{PATH}?{query}", world.directory()?);
    Ok(world.http.get(&url).await?.done(200)?.json())
}

async fn merchants(world: &World, query: &str) -> Result<Vec<Value>, Stop> {
    Ok(fetch(world, query).await?["merchants"].as_array().cloned().unwrap_or_default())
}

async fn first(world: &World) -> Result<Value, Stop> {
    match merchants(world, "").await?.into_iter().next() {
        Some(merchant) => Ok(merchant),
        None => skipped("needs a directory with a merchant"),
    }
}

async fn listed(world: &World, member: &'static str, holds: Holds) -> Outcome {
    let merchants = merchants(world, "").await?;
    let good = merchants.iter().filter(|merchant| holds(&merchant[member])).count();
    expect(!merchants.is_empty() && good == merchants.len(), format!("{good} of {} merchants", merchants.len()))
}

async fn pages(world: &World) -> Outcome {
    let all = fetch(world, "").await?;
    let (one, two) = (fetch(world, "page_size=1").await?, fetch(world, "page_size=1&page=2").await?);
    let ids = |list: &Value| -> Vec<Value> {
        list["merchants"].as_array().into_iter().flatten().map(|merchant| merchant["id"].clone()).collect()
    };
    let (all_ids, mut paged) = (ids(&all), ids(&one));
    paged.extend(ids(&two));
    let count = all_ids.len().min(2);
    let totals =
        one["total"] == all["total"] && all["total"].as_u64().is_some_and(|total| total as usize >= all_ids.len());
    expect(paged == all_ids[..count] && totals, format!("{} on two pages, total {}", paged.len(), one["total"]))
}

async fn currency(world: &World) -> Outcome {
    let wanted = first(world).await?["accepted_currencies"][0].clone();
    let Some(code) = wanted.as_str() else { return failed("no currency") };
    // A directory that lies about what its merchants take would still have to find a merchant for a real one.
    let code = if code == "XTS" { "EUR" } else { code };
    let found = merchants(world, &format!("currency={code}")).await?;
    let fit =
        |merchant: &Value| merchant["accepted_currencies"].as_array().is_some_and(|list| list.contains(&json!(code)));
    let good = found.iter().filter(|merchant| fit(merchant)).count();
    expect(good > 0 && good == found.len(), format!("{good} of {} take {code}", found.len()))
}

async fn nowhere(world: &World) -> Outcome {
    let reply = fetch(world, "q=nobody-is-called-like-this").await?;
    let count = reply["merchants"].as_array().map_or(1, Vec::len);
    expect(count == 0 && reply["total"] == 0, format!("{count} merchants, total {}", reply["total"]))
}

async fn preview_of(world: &World, id: &str) -> Result<crate::wire::Answer, Stop> {
    world.http.get(&format!("{}{PATH}/{id}/catalog-preview", world.directory()?)).await
}

async fn unknown(world: &World) -> Outcome {
    let answer = preview_of(world, "merch_nobody").await?;
    expect(answer.status == 404, answer.summary())
}

async fn a_preview(world: &World) -> Result<(Value, Value), Stop> {
    let merchant = first(world).await?;
    let preview = preview_of(world, merchant["id"].as_str().unwrap_or_default()).await?.done(200)?.json();
    Ok((merchant, preview))
}

async fn preview(world: &World) -> Outcome {
    verify_preview(world, &a_preview(world).await?.1).await
}

async fn preview_audience(world: &World) -> Outcome {
    let (merchant, preview) = a_preview(world).await?;
    let same = preview["audience"] == merchant["audience"] && preview["merchant_id"] == merchant["id"];
    expect(same, if same { "the same" } else { "another" })
}

async fn refused(world: &World, query: &'static str) -> Outcome {
    let answer = world.http.get(&format!("{}{PATH}?{query}", world.directory()?)).await?;
    expect(answer.status == 400, answer.summary())
}

const PATH: &str = "/merchants";
const SECTION: &str = "OID4AC v1 §12";
