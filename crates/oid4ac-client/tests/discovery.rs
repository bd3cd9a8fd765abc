//! Directory and catalogs, against the sandbox and against one that lies.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod kit;

use jose::Alg;
use kit::{Act, Forger, Kit, with_json};
use oid4ac_client::{
    Artefact, Catalog, Currency, Error, MerchantFilter, Misuse, Origin, Stage, TransportError, Wanted, Why,
};
use sandbox::SandboxConfig;
use serde_json::json;

fn filter(change: impl FnOnce(&mut MerchantFilter)) -> MerchantFilter {
    let mut filter = MerchantFilter::default();
    change(&mut filter);
    filter
}

fn misbehaviour(result: Result<Catalog, Error>) -> (Artefact, Why) {
    match result {
        Err(Error::PeerMisbehaved(misbehaviour)) => (misbehaviour.what(), misbehaviour.why().clone()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn lists_merchants_by_every_filter() {
    let kit = Kit::unregistered(SandboxConfig::new()).await;
    let all = kit.client.merchants(&MerchantFilter::default()).await.unwrap();
    assert_eq!((all.total, all.page, all.merchants.len()), (2, 1, 2));
    let ids = |list: oid4ac_client::MerchantList| list.merchants.into_iter().map(|m| m.id).collect::<Vec<_>>();
    let usd = kit.client.merchants(&filter(|f| f.currency = Some("USD".into()))).await.unwrap();
    assert_eq!(ids(usd), ["merch_alpacanica"]);
    let bristle = kit.client.merchants(&filter(|f| f.q = Some("bristle".into()))).await.unwrap();
    assert_eq!(ids(bristle), ["merch_bristleandslate"]);
    assert!(ids(kit.client.merchants(&filter(|f| f.country = Some("FR".into()))).await.unwrap()).is_empty());
    let second = kit.client.merchants(&filter(|f| (f.page, f.page_size) = (Some(2), Some(1)))).await.unwrap();
    assert_eq!((second.page, second.page_size, second.total, second.merchants.len()), (2, 1, 2, 1));
}

#[tokio::test]
async fn a_filter_that_cannot_be_right_is_not_sent() {
    let kit = Kit::unregistered(SandboxConfig::new()).await;
    type Change = fn(&mut MerchantFilter);
    let rows: [(&str, Change); 6] = [
        ("country", |f| f.country = Some("NLD".into())),
        ("currency", |f| f.currency = Some("EURO".into())),
        ("currency", |f| f.currency = Some("ABC".into())),
        ("rail", |f| f.rail = Some(String::new())),
        ("page", |f| f.page = Some(0)),
        ("page_size", |f| f.page_size = Some(101)),
    ];
    for (name, change) in rows {
        let error = kit.client.merchants(&filter(change)).await.unwrap_err();
        assert!(matches!(error, Error::Misuse(Misuse::Filter(named)) if named == name), "{error:?}");
    }
    assert!(kit.net.take_sent().is_empty());
}

#[tokio::test]
async fn a_preview_is_verified_by_itself_and_by_the_merchants_own_keys() {
    let kit = Kit::unregistered(SandboxConfig::new()).await;
    for (alg, id) in [(Alg::EdDsa, "merch_alpacanica"), (Alg::Es256, "merch_bristleandslate")] {
        let preview = kit.client.catalog_preview(id).await.unwrap();
        assert!(preview.verdict.is_verified());
        assert_eq!(preview.audience, kit.merchant(alg).origin);
        assert!(preview.items.len() >= 10);
        let sent = kit.net.take_sent();
        assert!(!sent.iter().any(|request| request.ends_with("/.well-known/oid4ac-catalog")), "{sent:?}");
    }
}

#[tokio::test]
async fn a_preview_without_its_signed_bytes_is_verified_at_the_merchant() {
    let kit = Kit::unregistered(SandboxConfig::new()).await;
    for spoil in [None, Some("bm90IGl0")] {
        kit.net.lie(move |endpoint, _| match endpoint.url().path().ends_with("/catalog-preview") {
            true => Act::Change(Box::new(move |answer| {
                with_json(answer, |preview| {
                    preview.remove("signed_body");
                    preview.extend(spoil.map(|text| ("signed_body".to_owned(), json!(text))));
                    preview.insert("items".into(), json!([{"sku": "forged"}]));
                })
            })),
            false => Act::Pass,
        });
        let preview = kit.client.catalog_preview("merch_alpacanica").await.unwrap();
        assert!(preview.items.iter().all(|item| item.sku != "forged"));
        assert!(kit.net.take_sent().iter().any(|request| request.ends_with("/.well-known/oid4ac-catalog")));
    }
}

#[tokio::test]
async fn a_preview_that_lacks_a_signed_field_is_refused_by_its_name() {
    for field in ["signature", "signature_input", "content_digest"] {
        let kit = Kit::unregistered(SandboxConfig::new()).await;
        kit.net.lie(move |endpoint, _| match endpoint.url().path().ends_with("/catalog-preview") {
            true => Act::Change(Box::new(move |answer| with_json(answer, |preview| drop(preview.remove(field))))),
            false => Act::Pass,
        });
        let refused = misbehaviour(kit.client.catalog_preview("merch_alpacanica").await);
        assert_eq!(refused, (Artefact::Catalog, Why::Unsigned(field)));
    }
}

#[tokio::test]
async fn a_preview_of_somebody_elses_catalog_is_refused() {
    let kit = Kit::unregistered(SandboxConfig::new()).await;
    let other = kit.merchant(Alg::Es256).origin;
    kit.net.lie(move |endpoint, _| match endpoint.url().path().ends_with("/catalog-preview") {
        true => {
            let other = other.clone();
            Act::Change(Box::new(move |answer| with_json(answer, |p| drop(p.insert("audience".into(), json!(other))))))
        }
        false => Act::Pass,
    });
    let refused = misbehaviour(kit.client.catalog_preview("merch_alpacanica").await);
    assert_eq!(refused, (Artefact::Catalog, Why::Mismatch("audience")));
}

#[tokio::test]
async fn a_catalog_signed_by_another_key_is_refused() {
    let kit = Kit::unregistered(SandboxConfig::new()).await;
    let forger = Forger::new(Alg::EdDsa);
    kit.net.lie(move |endpoint, _| match endpoint.url().path() {
        "/.well-known/jwks.json" => Act::Answer(forger.jwks()),
        _ => Act::Pass,
    });
    let refused = misbehaviour(kit.client.catalog_preview("merch_alpacanica").await);
    assert!(matches!(refused, (Artefact::Catalog, Why::HttpSignature(_))), "{refused:?}");
}

#[tokio::test]
async fn a_merchant_id_that_could_leave_its_path_is_not_sent() {
    let kit = Kit::unregistered(SandboxConfig::new()).await;
    for id in ["", "../merchants", "a/b", "a%2fb", "a b", "ä", "a?b", "a#b"] {
        let error = kit.client.catalog_preview(id).await.unwrap_err();
        assert!(matches!(error, Error::Misuse(Misuse::MerchantId)), "{id}");
    }
    assert!(kit.net.take_sent().is_empty());
    let error = kit.client.catalog_preview("merch_nobody").await.unwrap_err();
    assert!(matches!(error, Error::Server(e) if e.stage() == Stage::CatalogPreview && e.status() == 404));
}

#[tokio::test]
async fn finds_the_cheapest_on_all_pages() {
    let kit = Kit::unregistered(SandboxConfig::new()).await;
    let merchant = Origin::of(&kit.merchant(Alg::EdDsa).origin).unwrap();
    let eur = Currency::parse("EUR").unwrap();
    let cheapest = kit.client.cheapest(&merchant, &Wanted::new(2500, eur)).await.unwrap().unwrap();
    assert!(cheapest.in_stock && cheapest.currency == "EUR");
    let pages = kit.net.take_sent().iter().filter(|request| request.ends_with("oid4ac-catalog")).count();
    assert!(pages >= 2, "all pages are read");
    let dearer = kit.client.cheapest(&merchant, &Wanted::new(cheapest.unit_price_minor, eur)).await.unwrap();
    assert_eq!(dearer.as_ref(), Some(&cheapest));
    let under = Wanted::new(cheapest.unit_price_minor - 1, eur);
    assert_eq!(kit.client.cheapest(&merchant, &under).await.unwrap(), None);
    let nowhere = Wanted::new(100_000, eur).with_category("no such thing");
    assert_eq!(kit.client.cheapest(&merchant, &nowhere).await.unwrap(), None);
    let antarctica = Wanted::new(100_000, eur).with_ships_to_country("AQ");
    assert_eq!(kit.client.cheapest(&merchant, &antarctica).await.unwrap(), None);
}

#[tokio::test]
async fn says_when_a_catalog_or_the_directory_cannot_be_had() {
    let kit = Kit::unregistered(SandboxConfig::new()).await;
    let merchant = Origin::of(&kit.merchant(Alg::EdDsa).origin).unwrap();
    kit.net.lie(|_, _| Act::Answer(kit::answer(404, "text/plain", "")));
    let error = kit.client.catalog(&merchant).await.unwrap_err();
    assert!(matches!(error, Error::Server(e) if e.stage() == Stage::Catalog && e.status() == 404));
    kit.net.lie(|_, _| Act::Fail(TransportError::NotConnected));
    let error = kit.client.merchants(&MerchantFilter::default()).await.unwrap_err();
    assert!(matches!(error, Error::Transport { stage: Stage::Directory, .. }));
}
