//! One purchase: begun once, repeated, resumed, reconciled, released.
#![allow(clippy::inconsistent_digit_grouping, reason = "major units _ cents")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{ISSUER, SHOP, START, authorize, bench, claim, eur, key, mandate, purchase, settle, settlement, socks};
use spend_guard::{
    Artefact, Begun, CheapestTerms, Intent, InvalidPurchase, LedgerError, LineItem, Mandate, Purchase, Settlement,
    State, Step,
};

#[test]
fn a_purchase_is_paid_once_however_often_it_is_asked_for() {
    let bench = bench();
    let first = bench.pay(&purchase(1299, "a"), None);
    for _ in 0..5 {
        let Begun::Replay(again) = bench.reopened().begin(&purchase(1299, "a"), None).unwrap() else { panic!() };
        assert_eq!(again, first);
    }
    assert_eq!(bench.ledger.artefact(&first.id, Artefact::Presentation).unwrap().unwrap(), "jwt~disclosure~kb");
    assert_eq!(bench.ledger.artefact(&first.id, Artefact::Mandate).unwrap().unwrap(), "jwt~disclosure~");
    assert_eq!(bench.ledger.artefact(&first.id, Artefact::Receipt).unwrap().unwrap(), "a.b.c");
    assert!(matches!(bench.ledger.begin(&purchase(1299, "b"), None).unwrap(), Begun::New(_)));
}

#[test]
fn a_settled_purchase_is_replayed_for_a_day_and_not_longer() {
    let bench = bench();
    let first = bench.pay(&purchase(1299, "a"), None);
    bench.clock.advance(24 * 3600);
    assert!(matches!(bench.ledger.begin(&purchase(1299, "a"), None).unwrap(), Begun::Replay(_)));
    bench.clock.advance(1);
    let second = claim(bench.ledger.begin(&purchase(1299, "a"), None).unwrap());
    assert_ne!(second.intent().id, first.id);
    assert_ne!(second.intent().idempotency_key, first.idempotency_key);
}

#[test]
fn the_same_purchase_is_recognised_in_other_words() {
    let line = |sku: &str, qty, unit_price_minor| LineItem { sku: sku.into(), qty, unit_price_minor };
    let of = |lines, currency: &str| {
        Purchase::payment(ISSUER, SHOP, lines, 900, currency.parse().unwrap(), None, key()).unwrap().identity().clone()
    };
    let plain = of(vec![line("a", 3, None), line("b", 1, None)], "EUR");
    assert_eq!(plain, of(vec![line("b", 1, Some(100)), line("a", 1, None), line("a", 2, None)], "eur"));
    assert_ne!(plain, of(vec![line("a", 2, None), line("b", 1, None)], "EUR"));
    assert_ne!(plain, of(vec![line("a", 3, None), line("b", 1, None)], "USD"));
}

#[test]
fn every_term_of_the_identity_makes_another_purchase() {
    let make = |issuer: &str, shop: &str, amount, reference: Option<&str>| {
        let reference = reference.map(str::to_owned);
        Purchase::payment(issuer, shop, vec![socks(1)], amount, eur(), reference, key()).unwrap().identity().clone()
    };
    let all = [
        make(ISSUER, SHOP, 1, None),
        make("https://other.example", SHOP, 1, None),
        make(ISSUER, "https://other.example", 1, None),
        make(ISSUER, SHOP, 2, None),
        make(ISSUER, SHOP, 1, Some("")),
        make(ISSUER, SHOP, 1, Some("a")),
    ];
    let distinct: std::collections::HashSet<_> = all.iter().collect();
    assert_eq!(distinct.len(), all.len());
}

#[test]
fn impossible_purchases_are_refused() {
    let make = |lines, amount, key: &str| Purchase::payment(ISSUER, SHOP, lines, amount, eur(), None, key).map(|_| ());
    let long = "k".repeat(129);
    assert_eq!(make(vec![socks(1)], 0, &key()), Err(InvalidPurchase::Amount));
    assert_eq!(make(vec![socks(1)], 1 << 53, &key()), Err(InvalidPurchase::Amount));
    assert_eq!(make(vec![], 1, &key()), Err(InvalidPurchase::LineItems));
    assert_eq!(make(vec![socks(0)], 1, &key()), Err(InvalidPurchase::LineItems));
    assert_eq!(make(vec![socks(u64::MAX), socks(1)], 1, &key()), Err(InvalidPurchase::LineItems));
    assert_eq!(make(vec![socks(1)], 1, "short"), Err(InvalidPurchase::IdempotencyKey));
    assert_eq!(make(vec![socks(1)], 1, &long), Err(InvalidPurchase::IdempotencyKey));
}

#[test]
fn a_merchant_has_one_spelling() {
    let make = |shop: &str| Purchase::payment(ISSUER, shop, vec![socks(1)], 1, eur(), None, key()).map(|_| ());
    for good in
        [SHOP, "https://shop.example:8443", "http://127.0.0.1:1", "http://[::1]:80801", "https://xn--bcher-kva.example"]
    {
        assert_eq!(make(good), Ok(()), "{good}");
    }
    for bad in [
        "",
        "shop.example",
        "https://",
        "https://shop.example.",
        "https://shop.example.:8443",
        "https://shop.example/",
        "https://SHOP.example",
        "HTTPS://shop.example",
        "https://shop.example:443",
        "http://127.0.0.1:80",
        "https://user@shop.example",
        "https://shop.example?x",
        "https://bücher.example",
        "https://shop.example ",
        "https://shop*.example",
    ] {
        assert_eq!(make(bad), Err(InvalidPurchase::Origin), "{bad}");
    }
}

#[test]
fn only_one_drives_an_intent_at_a_time() {
    let bench = bench();
    let first = claim(bench.ledger.begin(&purchase(1299, "a"), None).unwrap());
    // Another task of this process, and another process's handle.
    for ledger in [bench.ledger.clone(), bench.reopened()] {
        let Begun::InProgress(intent) = ledger.begin(&purchase(1299, "a"), None).unwrap() else { panic!() };
        assert_eq!(intent.id, first.intent().id);
        assert!(matches!(ledger.resume(&intent.id, None).unwrap(), Begun::InProgress(_)));
        assert!(matches!(ledger.cancel(&intent.id), Err(LedgerError::InProgress(_))));
    }
    let (id, key) = (first.intent().id.clone(), first.intent().idempotency_key.clone());
    drop(first);
    let Begun::Resume(again) = bench.reopened().begin(&purchase(1299, "a"), None).unwrap() else { panic!() };
    assert_eq!((&again.intent().id, &again.intent().idempotency_key), (&id, &key));
}

#[test]
fn an_open_intent_is_resumed_however_old() {
    let bench = bench();
    for state in [State::Created, State::Authorized, State::Charging, State::Unknown] {
        let reference = state.as_str();
        let mut first = claim(bench.ledger.begin(&purchase(500, reference), None).unwrap());
        if state != State::Created {
            authorize(&mut first);
        }
        if state >= State::Charging {
            first.presenting("p").unwrap();
        }
        if state == State::Unknown {
            first.unknown("timeout", "no answer").unwrap();
        }
        let id = first.intent().id.clone();
        drop(first);
        bench.clock.advance(400 * 24 * 3600);
        let Begun::Resume(again) = bench.ledger.begin(&purchase(500, reference), None).unwrap() else { panic!() };
        assert_eq!((again.intent().id.clone(), again.intent().state), (id, state));
        settle_from(again);
    }
}

fn settle_from(mut claim: spend_guard::Claim) {
    if !claim.intent().state.is_in_flight() && claim.intent().state != State::Authorized {
        authorize(&mut claim);
    }
    claim.presenting("again").unwrap();
    claim.settled(&settlement()).unwrap();
}

#[test]
fn a_failed_canceled_or_rejected_purchase_is_made_anew_under_another_key() {
    let bench = bench();
    let mut failed = claim(bench.ledger.begin(&purchase(500, "a"), None).unwrap());
    failed.refused("access_denied", "declined: no mandate issued").unwrap();
    let (id, key) = (failed.intent().id.clone(), failed.intent().idempotency_key.clone());
    assert_eq!(failed.intent().failure.as_ref().unwrap().code, "access_denied");
    let Begun::New(second) = bench.ledger.begin(&purchase(500, "a"), None).unwrap() else { panic!() };
    assert_ne!((&second.intent().id, &second.intent().idempotency_key), (&id, &key));
    let second_id = second.intent().id.clone();
    drop(second);
    bench.ledger.cancel(&second_id).unwrap();
    let Begun::New(third) = bench.ledger.begin(&purchase(500, "a"), None).unwrap() else { panic!() };
    let third = third.await_approval(vec![]).unwrap();
    bench.ledger.reject(&third.id).unwrap();
    let Begun::Rejected(told) = bench.ledger.begin(&purchase(500, "a"), None).unwrap() else { panic!("told once") };
    assert_eq!(told.id, third.id);
    assert!(matches!(bench.ledger.begin(&purchase(500, "a"), None).unwrap(), Begun::New(_)));
    assert!(matches!(
        bench.ledger.resume(&third.id, None),
        Err(LedgerError::IllegalStep { from: State::Rejected, .. })
    ));
}

#[test]
fn steps_out_of_order_are_refused_by_name_and_change_nothing() {
    let bench = bench();
    let mut claim = claim(bench.ledger.begin(&purchase(500, "a"), None).unwrap());
    let before = claim.intent().clone();
    let illegal = |result: Result<(), LedgerError>, wanted| match result {
        Err(LedgerError::IllegalStep { from, step, .. }) => assert_eq!((from, step), wanted),
        other => panic!("{other:?}"),
    };
    illegal(claim.presenting("p"), (State::Created, Step::Presenting));
    illegal(claim.settled(&settlement()), (State::Created, Step::Settle));
    illegal(claim.unknown("a", "b"), (State::Created, Step::LoseAnswer));
    assert_eq!(bench.ledger.intent(&before.id).unwrap(), before);
    authorize(&mut claim);
    claim.presenting("p").unwrap();
    illegal(claim.mandate_held(mandate("m2"), "x~", None).map(|_| ()), (State::Charging, Step::MandateHeld));
    claim.settled(&settlement()).unwrap();
    illegal(claim.refused("a", "b"), (State::Settled, Step::Refuse));
    illegal(claim.presenting("p"), (State::Settled, Step::Presenting));
    assert!(bench.ledger.verify(None).unwrap().is_ok());
}

#[test]
fn a_mandate_that_ran_out_unpresented_is_replaced() {
    let bench = bench();
    let mut claim = claim(bench.ledger.begin(&purchase(500, "a"), None).unwrap());
    authorize(&mut claim);
    claim.mandate_held(mandate("second"), "second~", None).unwrap();
    assert_eq!(claim.intent().mandate.as_ref().unwrap().mandate_id, "second");
    assert_eq!(bench.ledger.artefact(&claim.intent().id, Artefact::Mandate).unwrap().unwrap(), "second~");
    let (issuer, merchant) = (claim.intent().issuer.clone(), claim.intent().merchant.clone());
    let found = |issuer: &str, merchant: &str| bench.ledger.find_by_mandate(issuer, merchant, "second").unwrap();
    assert_eq!(found(&issuer, &merchant).unwrap().id, claim.intent().id);
    assert!(found("https://other.example", &merchant).is_none() && found(&issuer, "https://other.example").is_none());
}

#[test]
fn a_cheapest_purchase_is_one_purchase_and_keeps_its_item() {
    let bench = bench();
    let terms = || CheapestTerms {
        store: SHOP.into(),
        cap_minor: 2000,
        currency: eur(),
        category: None,
        country: Some("NL".into()),
        purchase_ref: None,
    };
    let begin = || bench.ledger.begin(&Purchase::cheapest(ISSUER, terms(), key()).unwrap(), None).unwrap();
    let first = claim(begin());
    assert!(!first.intent().reserved);
    assert!(matches!(
        first.item_picked(vec![socks(1)], 2001, None, None),
        Err(LedgerError::AmountAboveReserved { limit_minor: 2000, .. })
    ));
    let Begun::New(picked) = claim(begin()).item_picked(vec![socks(1)], 999, None, None).unwrap() else { panic!() };
    assert!(picked.intent().reserved);
    drop(picked);
    let again = claim(begin());
    assert_eq!((again.intent().amount_minor, &again.intent().line_items), (999, &vec![socks(1)]));
    let paid = settle(again);
    let Begun::Replay(replayed) = begin() else { panic!() };
    assert_eq!(replayed, paid);
}

#[test]
fn a_cheapest_purchase_without_its_item_is_never_presented() {
    let bench = bench();
    let terms = CheapestTerms {
        store: SHOP.into(),
        cap_minor: 2000,
        currency: eur(),
        category: None,
        country: None,
        purchase_ref: None,
    };
    let mut claim = claim(bench.ledger.begin(&Purchase::cheapest(ISSUER, terms, key()).unwrap(), None).unwrap());
    assert!(matches!(
        claim.mandate_held(mandate("m"), "x~", None),
        Err(LedgerError::IllegalStep { step: Step::MandateHeld, .. })
    ));
}

#[test]
fn presenting_a_mandate_of_this_ledger_is_not_counted_twice() {
    let bench = bench();
    let paid = bench.pay(&purchase(500, "a"), None);
    let held = paid.mandate.clone().unwrap();
    let verify = |key: &str| Purchase::verify(ISSUER, SHOP, vec![socks(1)], 500, eur(), held.clone(), key).unwrap();
    bench.clock.advance(30 * 24 * 3600);
    let Begun::Replay(found) = bench.ledger.begin(&verify(&paid.idempotency_key), None).unwrap() else { panic!() };
    assert_eq!(found.id, paid.id);
    // Under another key the merchant would charge again where the cap allows it.
    let other_key = bench.ledger.begin(&verify("another-key"), None).unwrap_err();
    assert!(matches!(other_key, LedgerError::OtherKey { id } if id == paid.id));
    // And under this key another mandate would keep this purchase from being cleared up.
    let other = Purchase::verify(ISSUER, SHOP, vec![socks(1)], 500, eur(), mandate("other"), &paid.idempotency_key);
    let other_mandate = bench.ledger.begin(&other.unwrap(), None).unwrap_err();
    assert!(matches!(other_mandate, LedgerError::OtherKey { id } if id == paid.id));
}

#[test]
fn an_unfinished_payment_is_finished_by_presenting_its_mandate() {
    let bench = bench();
    let mut lost = claim(bench.ledger.begin(&purchase(500, "a"), None).unwrap());
    authorize(&mut lost);
    lost.presenting("p").unwrap();
    lost.unknown("timeout", "no answer").unwrap();
    let (held, key) = (lost.intent().mandate.clone().unwrap(), lost.intent().idempotency_key.clone());
    drop(lost);
    let verify = Purchase::verify(ISSUER, SHOP, vec![socks(1)], 500, eur(), held, key).unwrap();
    let mut found = claim(bench.ledger.begin(&verify, None).unwrap());
    found.presenting("p2").unwrap();
    found.settled(&settlement()).unwrap();
    assert!(matches!(bench.ledger.begin(&purchase(500, "a"), None).unwrap(), Begun::Replay(_)));
}

#[test]
fn what_a_merchant_says_it_took_of_the_cap_is_what_was_paid() {
    for (left_minor, paid_minor) in
        [(None, 500), (Some(1500), 500), (Some(1600), 500), (Some(700), 1300), (Some(0), 2000)]
    {
        let bench = bench();
        let mut claim = claim(bench.ledger.begin(&purchase(500, "a"), None).unwrap());
        let cap = Mandate { cap_minor: 2000, ..mandate("m") };
        claim.mandate_held(cap, "jwt~", None).unwrap();
        claim.presenting("jwt~kb").unwrap();
        claim.settled(&Settlement { spend_cap_remaining_minor: left_minor, ..settlement() }).unwrap();
        let id = claim.intent().id.clone();
        let found = |intent: Intent| (intent.amount_minor, intent.held_back_minor());
        assert_eq!(found(bench.ledger.intent(&id).unwrap()), (paid_minor, 2000 - paid_minor), "{left_minor:?}");
        bench.ledger.grant_revoked(&id, true).unwrap();
        assert_eq!(found(bench.ledger.intent(&id).unwrap()), (paid_minor, 0), "{left_minor:?}");
        assert!(bench.ledger.verify(None).unwrap().is_ok());
        assert!(matches!(bench.ledger.begin(&purchase(500, "a"), None).unwrap(), Begun::Replay(_)));
    }
}

#[test]
fn what_was_never_presented_gives_its_money_back_in_time() {
    let bench = bench();
    let abandoned = claim(bench.ledger.begin(&purchase(500, "a"), None).unwrap()).intent().id.clone();
    let mut driven = claim(bench.ledger.begin(&purchase(500, "b"), None).unwrap());
    let mut lost = claim(bench.ledger.begin(&purchase(500, "c"), None).unwrap());
    authorize(&mut lost);
    lost.presenting("p").unwrap();
    let lost_id = lost.intent().id.clone();
    drop(lost);
    bench.clock.advance(3600);
    drop(bench.ledger.begin(&purchase(1, "other"), None).unwrap());
    assert_eq!(bench.ledger.intent(&abandoned).unwrap().state, State::Expired);
    // One that is still being driven is left alone, and one that may have been paid never expires: its mandate has.
    assert_eq!(bench.ledger.intent(&driven.intent().id).unwrap().state, State::Created);
    let lost = bench.ledger.intent(&lost_id).unwrap();
    assert_eq!((lost.state, lost.reserved, lost.unresolved_minor), (State::Unresolved, false, 500));
    authorize(&mut driven);
    assert!(bench.ledger.verify(None).unwrap().is_ok());
}

#[test]
fn a_frozen_ledger_pays_nothing_and_forgets_nothing() {
    let bench = bench();
    let mut lost = claim(bench.ledger.begin(&purchase(500, "a"), None).unwrap());
    authorize(&mut lost);
    lost.presenting("p").unwrap();
    drop(lost);
    bench.ledger.freeze().unwrap();
    bench.ledger.freeze().unwrap();
    for reference in ["a", "new"] {
        let Begun::Denied(denial) = bench.reopened().begin(&purchase(500, reference), None).unwrap() else { panic!() };
        assert_eq!(denial.evaluation.findings[0].code, "frozen");
        assert_eq!(denial.intent.state, if reference == "a" { State::Charging } else { State::Failed });
    }
    assert!(bench.ledger.is_frozen().unwrap());
    bench.ledger.unfreeze().unwrap();
    assert!(matches!(bench.ledger.begin(&purchase(500, "a"), None).unwrap(), Begun::Resume(_)));
    assert!(matches!(bench.ledger.begin(&purchase(500, "new"), None).unwrap(), Begun::New(_)));
}

#[test]
fn history_is_filtered_and_paged() {
    use spend_guard::Filter;
    let bench = bench();
    for n in 0..7 {
        bench.clock.advance(10);
        bench.pay(&purchase(100 + n, "a"), None);
    }
    drop(bench.ledger.begin(&purchase(1, "open"), None).unwrap());
    let all = bench.ledger.list(&Filter::default()).unwrap();
    assert_eq!((all.intents.len(), all.next), (8, None));
    let settled = Filter { state: Some(State::Settled), limit: 3, ..Filter::default() };
    let (mut amounts, mut before) = (Vec::new(), None);
    loop {
        let page = bench.ledger.list(&Filter { before: before.clone(), ..settled.clone() }).unwrap();
        amounts.extend(page.intents.iter().map(|intent| intent.amount_minor));
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(amounts, [106, 105, 104, 103, 102, 101, 100]);
    let window = Filter { since: Some(START + 20), until: Some(START + 40), ..Filter::default() };
    assert_eq!(bench.ledger.list(&window).unwrap().intents.len(), 3);
    let none = Filter { merchant: Some("https://other.example".into()), ..Filter::default() };
    assert_eq!(bench.ledger.list(&none).unwrap().intents, []);
}

#[test]
fn what_is_kept_with_a_step_is_there_exactly_if_the_step_is() {
    let bench = bench();
    let mut claim = claim(bench.ledger.begin(&purchase(500, "a"), None).unwrap());
    let id = claim.intent().id.clone();
    let kept = || bench.ledger.artefacts(&id, Artefact::Step).unwrap();
    claim.keep_with_next_step(Artefact::Step, "premature");
    claim.presenting("p").unwrap_err();
    assert_eq!(kept(), [""; 0]);
    claim.keep_with_next_step(Artefact::Step, "one");
    assert_eq!(kept(), [""; 0]);
    authorize(&mut claim);
    assert_eq!(kept(), ["one"]);
    assert!(bench.ledger.verify(None).unwrap().is_ok());
}

#[test]
fn a_snapshot_has_an_intent_as_of_one_moment() {
    let bench = bench();
    let intent = bench.pay(&purchase(1299, "a"), None);
    let (writer, id) = (bench.reopened(), intent.id.clone());
    let writing = std::thread::spawn(move || {
        for count in 0..60 {
            writer.attach(&id, Artefact::Attachment, &format!("note {count}")).unwrap();
        }
    });
    let mut seen = 0;
    while !writing.is_finished() || seen == 0 {
        let snapshot = bench.ledger.snapshot(&intent.id).unwrap();
        let entries = snapshot.journal.iter();
        let told = entries.filter(|entry| entry.event == "artefact" && entry.detail["name"] == "attachment").count();
        assert_eq!(snapshot.artefacts(Artefact::Attachment).count(), told);
        assert_eq!(snapshot.head.seq, snapshot.journal.last().unwrap().seq, "nothing else is written");
        assert_eq!(snapshot.intent, intent);
        seen += 1;
    }
    writing.join().unwrap();
    let snapshot = bench.ledger.snapshot(&intent.id).unwrap();
    assert_eq!(snapshot.artefacts(Artefact::Attachment).last(), Some("note 59"));
    assert_eq!(snapshot.journal, bench.ledger.journal(&intent.id).unwrap());
    let unknown = "0198c6d5-b1f7-7a8e-8b1e-c3b1b1a4d5c6".parse().unwrap();
    assert!(matches!(bench.ledger.snapshot(&unknown), Err(LedgerError::NoSuchIntent(_))));
}
