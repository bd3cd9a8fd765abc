//! Policy and ledger together: limits at their edges, approvals, freeze, the policy in force.
#![allow(clippy::inconsistent_digit_grouping, reason = "major units _ cents")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Bench, ISSUER, SHOP, authorize, bench, claim, declaration, key, purchase, purchase_in, settle, socks};
use spend_guard::{
    Approval, Begun, CheapestTerms, Currency, DeclarationTerms, Declared, Denial, Intent, LedgerError, LineItem, Next,
    Offers, Policy, Purchase, Severity, State, Tightening, Verdict,
};

fn denied(begun: Begun) -> Denial {
    match begun {
        Begun::Denied(denial) => denial,
        other => panic!("not denied: {other:?}"),
    }
}

/// The rules that spoke, as `rule verdict`.
fn spoke(bench: &Bench, amount: u64, policy: &Policy) -> Vec<String> {
    let evaluation = bench.ledger.simulate(&purchase(amount, "simulated"), policy).unwrap();
    evaluation.findings.iter().map(|finding| format!("{} {:?}", finding.rule, finding.verdict)).collect()
}

fn confirmed(bench: &Bench, text: &str) -> Policy {
    let policy = Policy::parse(text, "policy.toml").unwrap();
    bench.ledger.confirm(&policy).unwrap();
    policy
}

#[test]
fn a_rejection_is_told_once_to_the_next_call_in_whichever_process() {
    let bench = bench();
    let reject = |claim: spend_guard::Claim| {
        let waiting = claim.await_approval(vec![]).unwrap();
        bench.reopened().reject(&waiting.id).unwrap().id
    };
    let begin = |reference: &str| bench.reopened().begin(&purchase(5_00, reference), None).unwrap();
    let first = reject(common::claim(begin("a")));
    // Another purchase is not told of it.
    let other = common::claim(begin("b"));
    let Begun::Rejected(told) = begin("a") else { panic!("the rejection is reported") };
    assert_eq!((&told.id, told.state, told.rejection_told), (&first, State::Rejected, true));
    drop(other);
    let second = reject(common::claim(begin("a")));
    assert_ne!(second, first);
    // A caller that was told otherwise says so, as often as it likes.
    bench.ledger.rejection_told(&second).unwrap();
    bench.ledger.rejection_told(&second).unwrap();
    let Begun::New(third) = begin("a") else { panic!("only a later call asks again") };
    bench.ledger.rejection_told(&third.intent().id).unwrap();
    assert!(!bench.ledger.intent(&third.intent().id).unwrap().rejection_told);
    assert!(bench.ledger.verify(None).unwrap().is_ok());
}

#[test]
fn a_rejected_declaration_is_told_once_to_the_call_that_pays_or_declares_it() {
    let bench = bench();
    let terms = declaration(10_00, "shoes", Some(1_00), None);
    let refuse = || {
        let Declared::New(intent, _) = bench.ledger.declare(&terms, None).unwrap() else { panic!("it is new") };
        bench.ledger.request_approval(&intent.id, vec![], None).unwrap();
        bench.ledger.reject(&intent.id).unwrap().id
    };
    let id = refuse();
    let Declared::Rejected(told) = bench.ledger.declare(&terms, None).unwrap() else { panic!("it is reported") };
    assert_eq!(told.id, id);
    let id = refuse();
    // Within the tolerance it is the purchase that was refused; beyond it is another one.
    let beyond = bench.ledger.begin(&purchase(20_00, "shoes"), None).unwrap();
    assert!(matches!(beyond, Begun::New(_)), "{beyond:?}");
    drop(beyond);
    let Begun::Rejected(told) = bench.ledger.begin(&purchase(10_50, "shoes"), None).unwrap() else { panic!("told") };
    assert_eq!(told.id, id);
    assert!(matches!(bench.ledger.begin(&purchase(10_50, "shoes"), None).unwrap(), Begun::New(_)));
}

#[test]
fn the_default_caps_hold_to_the_minor_unit() {
    let bench = bench();
    let policy = Policy::default();
    assert_eq!(spoke(&bench, 50_00, &policy), [""; 0]);
    assert_eq!(spoke(&bench, 50_01, &policy), ["currency.EUR.approval_above Approve"]);
    assert_eq!(spoke(&bench, 100_00, &policy), ["currency.EUR.approval_above Approve"]);
    assert_eq!(
        spoke(&bench, 100_01, &policy),
        ["currency.EUR.per_transaction Deny", "currency.EUR.approval_above Approve"]
    );
    assert_eq!(
        spoke(&bench, 500_01, &policy),
        [
            "currency.EUR.per_transaction Deny",
            "currency.EUR.hour Deny",
            "currency.EUR.day Deny",
            "currency.EUR.approval_above Approve"
        ]
    );
}

#[test]
fn a_currency_without_limits_of_its_own_is_not_spent() {
    let bench = bench();
    for code in ["JPY", "KWD", "CHF"] {
        let denial = denied(bench.ledger.begin(&purchase_in(code, 1, code), Some(&Policy::default())).unwrap());
        assert_eq!(denial.intent.failure.unwrap().code, "currency_not_allowed");
        assert_eq!(denial.intent.state, State::Failed);
    }
    // Each currency has its own sums, and one that is full closes no other.
    for n in 0..4 {
        bench.pay(&purchase(50_00, &n.to_string()), Some(&Policy::default()));
    }
    denied(bench.ledger.begin(&purchase(1, "one more"), Some(&Policy::default())).unwrap());
    bench.pay(&purchase_in("USD", 50_00, "usd"), Some(&Policy::default()));
}

#[test]
fn currencies_with_other_exponents_have_limits_in_their_own_units() {
    let bench = bench();
    let policy = confirmed(
        &bench,
        "[currency.JPY]\nper_transaction = 1000\napproval_above = 1000\nhour = 1500\nday = 9999\n\
         [currency.KWD]\nper_transaction = \"1.250\"\napproval_above = 1000\nhour = 2\nday = 9999",
    );
    bench.pay(&purchase_in("JPY", 1000, "a"), Some(&policy));
    denied(bench.ledger.begin(&purchase_in("JPY", 501, "b"), Some(&policy)).unwrap());
    bench.pay(&purchase_in("JPY", 500, "c"), Some(&policy));
    denied(bench.ledger.begin(&purchase_in("KWD", 1251, "a"), Some(&policy)).unwrap());
    bench.pay(&purchase_in("KWD", 1250, "b"), Some(&policy));
    let denial = denied(bench.ledger.begin(&purchase_in("KWD", 751, "c"), Some(&policy)).unwrap());
    assert_eq!(
        denial.evaluation.findings[0].message,
        "2.000 KWD within any hour is the limit, 0.750 KWD of it is left"
    );
    bench.pay(&purchase_in("KWD", 750, "d"), Some(&policy));
}

#[test]
fn a_window_lets_go_only_when_it_has_fully_passed() {
    let bench = bench();
    let policy = Policy::default();
    for n in 0..4 {
        bench.pay(&purchase(50_00, &n.to_string()), Some(&policy));
    }
    // Seconds are whole: a payment counts until more than an hour must have passed.
    bench.clock.advance(3600);
    assert_eq!(spoke(&bench, 1, &policy), ["currency.EUR.hour Deny"]);
    bench.clock.advance(1);
    assert_eq!(spoke(&bench, 50_00, &policy), [""; 0]);
    for hour in 0..2 {
        for n in 0..(if hour == 0 { 4 } else { 2 }) {
            bench.pay(&purchase(50_00, &format!("{hour}-{n}")), Some(&policy));
        }
        bench.clock.advance(3601);
    }
    assert_eq!(spoke(&bench, 1, &policy), ["currency.EUR.day Deny"]);
}

#[test]
fn setting_the_clock_back_opens_no_window() {
    let bench = bench();
    let policy = Policy::default();
    for n in 0..4 {
        bench.pay(&purchase(50_00, &n.to_string()), Some(&policy));
    }
    for back in [1, 3600, 86_400, 400 * 86_400, common::START] {
        bench.clock.set(common::START - back);
        assert_eq!(spoke(&bench, 1, &policy), ["currency.EUR.hour Deny"], "{back}");
        // And what happens meanwhile is counted when the clock is right again.
    }
    bench.clock.set(common::START - 1000);
    bench.pay(&purchase_in("USD", 50_00, "usd"), Some(&policy));
    bench.clock.set(common::START + 3600);
    let evaluation = bench.ledger.simulate(&purchase_in("USD", 50_00, "x"), &policy).unwrap();
    assert_eq!(evaluation.verdict, Verdict::Allow);
    let usd = bench.ledger.budgets(&policy).unwrap().into_iter().find(|b| b.rule == "currency.USD.hour").unwrap();
    assert_eq!((usd.settled_minor, usd.left_minor), (50_00, 150_00));
    assert!(bench.ledger.verify(None).unwrap().is_ok());
}

#[test]
fn another_agent_name_or_a_restart_opens_no_gap() {
    let bench = bench();
    let policy = Policy::default();
    for n in 0..4 {
        let purchase = purchase(50_00, &n.to_string()).agent(format!("agent {n}"));
        settle(claim(bench.reopened().begin(&purchase, Some(&policy)).unwrap()));
    }
    for agent in ["agent 0", "", "unheard of"] {
        denied(bench.reopened().begin(&purchase(1, agent).agent(agent), Some(&policy)).unwrap());
    }
}

#[test]
fn reserved_money_counts_until_it_is_settled_or_refused_however_old() {
    let bench = bench();
    let policy = Policy::default();
    let mut lost = Vec::new();
    for n in 0..4 {
        let mut claim = claim(bench.ledger.begin(&purchase(50_00, &n.to_string()), Some(&policy)).unwrap());
        authorize(&mut claim);
        claim.presenting("p").unwrap();
        claim.unknown("timeout", "no answer").unwrap();
        lost.push(claim);
    }
    bench.clock.advance(30 * 86_400);
    assert_eq!(spoke(&bench, 1, &policy), ["currency.EUR.hour Deny"]);
    lost.pop().unwrap().refused("mandate_expired", "the mandate has expired").unwrap();
    assert_eq!(spoke(&bench, 50_00, &policy), [""; 0]);
    // Settled now, it counts from now.
    let mut claim = lost.pop().unwrap();
    claim.presenting("p").unwrap();
    claim.settled(&common::settlement()).unwrap();
    bench.clock.advance(3600);
    let eur = bench.ledger.budgets(&policy).unwrap().into_iter().find(|b| b.rule == "currency.EUR.hour").unwrap();
    assert_eq!((eur.settled_minor, eur.reserved_minor, eur.left_minor), (50_00, 100_00, 50_00));
}

#[test]
fn rules_hold_for_what_they_cover() {
    let bench = bench();
    let policy = confirmed(
        &bench,
        r#"
        [merchants]
        allow = ["https://*.example"]
        deny = ["https://casino.*"]
        [[rule]]
        name = "books"
        merchant = "https://books.example"
        currency = "EUR"
        day = 10
        [[rule]]
        name = "reader"
        agent = "reader"
        currency = "EUR"
        per_transaction = 5
        [[rule]]
        name = "gambling"
        mcc = "7995"
        action = "deny"
        [[rule]]
        name = "games"
        category = "games"
        action = "approve"
        "#,
    );
    let at = |merchant: &str, amount| {
        Purchase::payment(ISSUER, merchant, vec![socks(1)], amount, common::eur(), Some(key()), key()).unwrap()
    };
    let verdict = |purchase: Purchase| {
        let evaluation = bench.ledger.simulate(&purchase, &policy).unwrap();
        evaluation.findings.first().map(|finding| finding.rule.clone())
    };
    let at = |merchant: &str, amount| at(merchant, amount).category("clothes").mcc("5651");
    assert_eq!(verdict(at(SHOP, 40_00)), None);
    assert_eq!(verdict(at("https://shop.test", 1)), Some("merchants.allow".into()));
    assert_eq!(verdict(at("https://casino.example", 1)), Some("merchants.deny".into()));
    assert_eq!(verdict(at(SHOP, 5_01).agent("reader")), Some("rule.reader.per_transaction".into()));
    assert_eq!(verdict(at(SHOP, 5_00).agent("reader")), None);
    assert_eq!(verdict(at(SHOP, 1).mcc("7995")), Some("rule.gambling".into()));
    for games in ["games", "Games", "GAMES"] {
        assert_eq!(verdict(at(SHOP, 1).category(games)), Some("rule.games".into()));
    }
    bench.pay(&at("https://books.example", 6_00).agent("a"), Some(&policy));
    bench.pay(&at("https://books.example", 3_00).agent("b").category("novels"), Some(&policy));
    assert_eq!(verdict(at("https://books.example", 1_01)), Some("rule.books.day".into()));
    assert_eq!(verdict(at("https://books.example", 1_00)), None);
    assert_eq!(verdict(at(SHOP, 40_00)), None, "what books cost is no matter of other shops");
}

#[test]
fn a_rule_for_a_merchant_or_a_category_holds_in_every_spelling_and_on_every_port() {
    let bench = bench();
    let text = |merchant: &str, category: &str| {
        format!(
            "[merchants]\ndeny = [\"{merchant}\"]\n[[rule]]\nname = \"r\"\nmerchant = \"https://Books.example./\"\n\
             currency = \"EUR\"\nday = 10\n[[rule]]\nname = \"c\"\ncategory = \"{category}\"\naction = \"deny\"\n\
             [[rule]]\nname = \"m\"\nmcc = \" 7995 \"\naction = \"deny\""
        )
    };
    let at = |merchant: &str, amount| {
        Purchase::payment(ISSUER, merchant, vec![socks(1)], amount, common::eur(), Some(key()), key()).unwrap()
    };
    let at = |merchant: &str, amount| at(merchant, amount).category("clothes").mcc("5651");
    let spellings = [
        "https://xn--bcher-kva.example",
        "https://bücher.example/",
        "HTTPS://BÜCHER.EXAMPLE:443",
        " https://bücher.example. ",
    ];
    let mut policies = spellings.map(|merchant| confirmed(&bench, &text(merchant, " Spiele "))).into_iter();
    let policy = policies.next().unwrap();
    for other in policies {
        assert_eq!(other.hash(), policy.hash());
    }
    let verdict = |purchase: Purchase| {
        let evaluation = bench.ledger.simulate(&purchase, &policy).unwrap();
        evaluation.findings.first().map(|finding| finding.rule.clone())
    };
    for origin in ["https://xn--bcher-kva.example", "https://xn--bcher-kva.example:8443"] {
        assert_eq!(verdict(at(origin, 1)), Some("merchants.deny".into()), "{origin}");
    }
    assert_eq!(verdict(at("https://xn--bcher-kva.example.test", 1)), None);
    for category in ["spiele", " SPIELE", "Spiele\t"] {
        assert_eq!(verdict(at(SHOP, 1).category(category)), Some("rule.c".into()), "{category}");
    }
    assert_eq!(verdict(at(SHOP, 1).mcc("7995 ")), Some("rule.m".into()));
    let blank = bench.ledger.simulate(&at(SHOP, 1).category(" "), &policy).unwrap();
    assert_eq!(blank.verdict, Verdict::Approve, "a blank category is no known one");
    bench.pay(&at("https://books.example", 6_00), Some(&policy));
    bench.pay(&at("https://books.example:8443", 3_00), Some(&policy));
    assert_eq!(verdict(at("https://books.example:9443", 1_01)), Some("rule.r.day".into()), "one budget for all ports");
    assert_eq!(verdict(at("https://books.example:9443", 1_00)), None);
}

#[test]
fn velocity_counts_what_was_begun_whatever_became_of_it() {
    let bench = bench();
    let policy = Policy::parse("[currency.EUR]\npayments_per_minute = 3", "p").unwrap();
    for n in 0..3 {
        let mut claim = claim(bench.ledger.begin(&purchase(1, &n.to_string()), Some(&policy)).unwrap());
        if n == 0 {
            claim.refused("declined", "no").unwrap();
        }
    }
    assert_eq!(spoke(&bench, 1, &policy), ["currency.EUR.payments_per_minute Deny"]);
    assert!(matches!(bench.ledger.begin(&purchase(1, "1"), Some(&policy)).unwrap(), Begun::Resume(_)), "no new one");
    bench.clock.advance(61);
    assert_eq!(spoke(&bench, 1, &policy), [""; 0]);
}

#[test]
fn alerts_are_kept() {
    let bench = bench();
    let policy = Policy::default();
    let codes = |bench: &Bench| -> Vec<String> {
        let mut codes: Vec<_> = bench.ledger.alerts(100).unwrap().into_iter().map(|raised| raised.alert.code).collect();
        codes.reverse();
        codes
    };
    for n in 0..5 {
        bench.pay(&purchase(10_00, &n.to_string()), Some(&policy));
    }
    assert_eq!(codes(&bench), ["first_payment"]);
    bench.pay(&purchase(10_00, "sixth"), Some(&policy));
    assert_eq!(codes(&bench), ["first_payment", "rate"]);
    assert_eq!(bench.ledger.alerts(1).unwrap()[0].alert.severity, Severity::Critical);
    bench.clock.advance(61);
    bench.pay(&purchase(50_00, "seventh"), Some(&policy));
    assert_eq!(codes(&bench)[2..], ["unlike_before"], "50 is not above 50");
    bench.clock.advance(61);
    drop(bench.ledger.begin(&purchase(50_01, "eighth"), Some(&policy)).unwrap());
    assert_eq!(codes(&bench)[3..], ["large_payment", "budget_threshold", "unlike_before"]);
    assert_eq!(bench.ledger.alerts(1).unwrap()[0].alert.severity, Severity::Warning);
    // What is denied was no payment, and says nothing but that there are too many.
    bench.clock.advance(61);
    for n in 0..9 {
        denied(bench.ledger.begin(&purchase(200_00 + n, "denied"), Some(&policy)).unwrap());
    }
    assert_eq!(codes(&bench).len(), 6);
}

#[test]
fn an_approval_works_once_in_time_and_for_what_it_was_given() {
    let bench = bench();
    let policy = Policy::default();
    let begin = |reference: &str| bench.ledger.begin(&purchase(75_00, reference), Some(&policy)).unwrap();
    let mut first = claim(begin("a"));
    assert_eq!(first.intent().approval, Approval::Needed { reasons: vec!["currency.EUR.approval_above".into()] });
    assert_eq!(first.offers_verified(Offers::Verified { digest: "d" }).unwrap(), Next::AskHuman);
    // Without the answer there is no way on.
    assert!(matches!(first.consent_pending("https://x", 1), Err(LedgerError::ApprovalMissing(_))));
    assert!(matches!(first.mandate_held(common::mandate("m"), "x~", None), Err(LedgerError::ApprovalMissing(_))));
    let asked = first.await_approval(vec![("Merchant".into(), "Shop".into())]).unwrap();
    let Begun::AwaitingApproval(waiting) = begin("a") else { panic!() };
    assert_eq!(waiting, asked);
    let Approval::Requested { terms } = asked.approval.clone() else { panic!() };
    assert_eq!((terms.amount_minor, terms.merchant.as_str()), (75_00, SHOP));

    for (what, change) in [("amount", 0), ("merchant", 1), ("currency", 2)] {
        let mut other = terms.clone();
        match change {
            0 => other.amount_minor += 1,
            1 => other.merchant = "https://other.example".into(),
            _ => other.currency = Currency::parse("USD").unwrap(),
        }
        match bench.ledger.approve(&asked.id, &other) {
            Err(LedgerError::ApprovalMismatch { what: named, .. }) => assert_eq!(named, what),
            other => panic!("{other:?}"),
        }
    }
    let mut less = terms.clone();
    less.amount_minor -= 1;
    assert!(matches!(
        bench.ledger.approve(&asked.id, &less),
        Err(LedgerError::ApprovalMismatch { what: "amount", .. })
    ));

    bench.ledger.approve(&asked.id, &terms).unwrap();
    assert!(matches!(bench.ledger.approve(&asked.id, &terms), Err(LedgerError::AlreadyApproved(_))));
    let Begun::Resume(mut resumed) = begin("a") else { panic!() };
    assert!(matches!(
        resumed.offers_verified(Offers::Missing { digest: None }),
        Err(LedgerError::ApprovalMismatch { what: "offers", .. })
    ));
    let paid = settle(resumed);
    assert!(matches!(paid.approval, Approval::Given { used: true, .. }));
    assert!(matches!(bench.ledger.approve(&paid.id, &terms), Err(LedgerError::AlreadyApproved(_))));
    assert!(matches!(begin("a"), Begun::Replay(_)));
    // The same thing again needs an approval of its own.
    let Begun::New(second) = begin("b") else { panic!() };
    assert!(matches!(second.intent().approval, Approval::Needed { .. }));
}

#[test]
fn an_approval_that_comes_or_is_used_too_late_is_worth_nothing() {
    let bench = bench();
    let policy = Policy::default();
    let ask = |reference: &str| {
        let claim = claim(bench.ledger.begin(&purchase(75_00, reference), Some(&policy)).unwrap());
        let asked = claim.await_approval(vec![]).unwrap();
        let Approval::Requested { terms } = asked.approval.clone() else { panic!() };
        (asked.id, terms)
    };
    let (late, terms) = ask("late");
    bench.clock.advance(3600);
    assert!(matches!(bench.ledger.approve(&late, &terms), Err(LedgerError::ApprovalExpired(_))));
    let Begun::New(again) = bench.ledger.begin(&purchase(75_00, "late"), Some(&policy)).unwrap() else { panic!() };
    assert_eq!(bench.ledger.intent(&late).unwrap().state, State::Expired);
    drop(again);

    let (unused, terms) = ask("unused");
    bench.ledger.approve(&unused, &terms).unwrap();
    bench.clock.advance(3600);
    let Begun::New(again) = bench.ledger.begin(&purchase(75_00, "unused"), Some(&policy)).unwrap() else { panic!() };
    assert!(matches!(again.intent().approval, Approval::Needed { .. }));
    drop(again);

    let (held, terms) = ask("held");
    bench.ledger.approve(&held, &terms).unwrap();
    let mut claim = claim(bench.ledger.begin(&purchase(75_00, "held"), Some(&policy)).unwrap());
    bench.clock.advance(3600);
    assert!(matches!(claim.mandate_held(common::mandate("m"), "x~", None), Err(LedgerError::ApprovalExpired(_))));
}

#[test]
fn a_ticket_is_taken_once_and_only_the_newest() {
    let bench = bench();
    let mut first = claim(bench.ledger.begin(&purchase(10_00, "a"), None).unwrap());
    let id = first.intent().id.clone();
    let spent = |ticket: &str| {
        assert!(matches!(bench.reopened().redeem_ticket(&id, ticket), Err(LedgerError::TicketSpent(_))), "{ticket}");
    };
    spent("never issued");
    bench.ledger.issue_ticket(&id, "one").unwrap();
    bench.ledger.issue_ticket(&id, "two").unwrap();
    spent("one");
    spent("");
    // Nothing of it is kept but a hash, and a step in between leaves it valid.
    assert!(!serde_json::to_string(&bench.ledger.intent(&id).unwrap()).unwrap().contains("two"));
    first.consent_pending("https://x", 1).unwrap();
    assert_eq!(bench.reopened().redeem_ticket(&id, "two").unwrap().id, id);
    spent("two");
    let other = claim(bench.ledger.begin(&purchase(10_00, "b"), None).unwrap());
    bench.ledger.issue_ticket(&other.intent().id, "three").unwrap();
    spent("three");
    // What was presented has no questions left.
    settle(first);
    assert!(matches!(bench.ledger.issue_ticket(&id, "four"), Err(LedgerError::TicketSpent(_))));
    assert!(bench.ledger.verify(None).unwrap().is_ok());
}

#[test]
fn a_missing_offer_wants_a_human_whatever_the_sum() {
    let bench = bench();
    let mut claim = claim(bench.ledger.begin(&purchase(1, "a"), Some(&Policy::default())).unwrap());
    assert_eq!(claim.offers_verified(Offers::Missing { digest: None }).unwrap(), Next::AskHuman);
    assert_eq!(claim.intent().approval, Approval::Needed { reasons: vec!["offer_missing".into()] });
    assert_eq!(claim.intent().offer_verified, Some(false));
}

#[test]
fn a_cheapest_purchase_is_judged_by_its_item_not_by_its_cap() {
    let bench = bench();
    let policy = Policy::default();
    let begin = |cap_minor, currency: &str| {
        let terms = CheapestTerms {
            store: SHOP.into(),
            cap_minor,
            currency: currency.parse().unwrap(),
            category: None,
            country: None,
            purchase_ref: None,
        };
        bench.ledger.begin(&Purchase::cheapest(ISSUER, terms, key()).unwrap(), Some(&policy)).unwrap()
    };
    denied(begin(1, "JPY"));
    let Begun::New(picked) =
        claim(begin(900_00, "EUR")).item_picked(vec![socks(1)], 9_99, None, Some(&policy)).unwrap()
    else {
        panic!()
    };
    assert_eq!(picked.intent().approval, Approval::NotNeeded);
    let denial = denied(claim(begin(901_00, "EUR")).item_picked(vec![socks(1)], 100_01, None, Some(&policy)).unwrap());
    assert_eq!((denial.intent.state, denial.intent.reserved), (State::Failed, false));

    // A rule about a category holds for the item's own, whatever was asked for.
    let policy = Policy::parse("[[rule]]\nname = \"no toys\"\ncategory = \"toys\"\naction = \"deny\"", "p").unwrap();
    let picked = claim(begin(902_00, "EUR")).item_picked(vec![socks(1)], 9_99, Some("toys".into()), Some(&policy));
    assert_eq!(denied(picked.unwrap()).intent.category.as_deref(), Some("toys"));
}

#[test]
fn a_looser_policy_stops_payments_until_it_is_confirmed() {
    let bench = bench();
    let default = Policy::default();
    let looser = Policy::parse("[currency.EUR]\nhour = 201", "p").unwrap();
    let stricter = Policy::parse("[currency.EUR]\nhour = 10", "p").unwrap();
    let mut lost = claim(bench.ledger.begin(&purchase(1, "lost"), Some(&default)).unwrap());
    authorize(&mut lost);
    lost.presenting("p").unwrap();
    drop(lost);
    let open = claim(bench.ledger.begin(&purchase(1, "open"), Some(&default)).unwrap()).intent().id.clone();
    for reference in ["new", "open"] {
        let denial = denied(bench.ledger.begin(&purchase(1, reference), Some(&looser)).unwrap());
        assert_eq!(denial.evaluation.findings[0].code, "policy_unconfirmed");
    }
    assert_eq!(bench.ledger.intent(&open).unwrap().state, State::Created, "it only has to wait");
    assert!(
        matches!(bench.ledger.begin(&purchase(1, "lost"), Some(&looser)).unwrap(), Begun::Resume(_)),
        "it is in flight"
    );
    bench.ledger.confirm(&looser).unwrap();
    assert!(matches!(bench.ledger.begin(&purchase(1, "open"), Some(&looser)).unwrap(), Begun::Resume(_)));
    // A stricter one needs nobody; going back from it does.
    assert!(matches!(bench.ledger.begin(&purchase(1, "s"), Some(&stricter)).unwrap(), Begun::New(_)));
    assert_eq!(bench.ledger.rules_in_force().unwrap(), *stricter.rules());
    denied(bench.reopened().begin(&purchase(1, "t"), Some(&default)).unwrap());
    // What one process's environment tightens is no matter of another's.
    bench.ledger.confirm(&default).unwrap();
    let tight = Tightening { per_transaction: Some("1".into()), ..Tightening::default() };
    let tight = default.clone().tighten(&tight).unwrap();
    denied(bench.ledger.begin(&purchase(1_01, "u"), Some(&tight)).unwrap());
    assert!(matches!(bench.ledger.begin(&purchase(1_01, "v"), Some(&default)).unwrap(), Begun::New(_)));
}

#[test]
fn a_policy_that_tightens_reaches_what_was_begun_before() {
    let bench = bench();
    drop(bench.ledger.begin(&purchase(40_00, "a"), Some(&Policy::default())).unwrap());
    let mut held = claim(bench.ledger.begin(&purchase(41_00, "b"), Some(&Policy::default())).unwrap());
    authorize(&mut held);
    drop(held);
    let asks = Policy::parse("[currency.EUR]\napproval_above = 20", "p").unwrap();
    let Begun::Resume(resumed) = bench.ledger.begin(&purchase(40_00, "a"), Some(&asks)).unwrap() else { panic!() };
    assert!(matches!(resumed.intent().approval, Approval::Needed { .. }));
    drop(resumed);
    let denial = denied(bench.ledger.begin(&purchase(41_00, "b"), Some(&asks)).unwrap());
    assert_eq!(denial.evaluation.findings.last().unwrap().code, "policy_changed");
    let caps = Policy::parse("[currency.EUR]\napproval_above = 20\nper_transaction = 30", "p").unwrap();
    let denial = denied(bench.ledger.begin(&purchase(40_00, "a"), Some(&caps)).unwrap());
    assert_eq!((denial.intent.state, denial.intent.reserved), (State::Failed, false));
    assert!(bench.ledger.verify(None).unwrap().is_ok());
}

#[test]
fn a_freeze_reaches_a_payment_under_way_before_it_is_presented() {
    let bench = bench();
    let mut claim = claim(bench.ledger.begin(&purchase(1, "a"), None).unwrap());
    authorize(&mut claim);
    bench.reopened().freeze().unwrap();
    assert!(matches!(claim.presenting("p"), Err(LedgerError::Frozen { presented: false, .. })));
    assert_eq!(bench.ledger.intent(&claim.intent().id).unwrap().state, State::Authorized);
    bench.reopened().unfreeze().unwrap();
    claim.presenting("p").unwrap();
}

#[test]
fn a_declared_purchase_is_made_within_its_tolerance() {
    let bench = bench();
    let policy = Policy::default();
    for (minor, percent, allowed) in [
        (None, None, 0),
        (Some(300), None, 300),
        (None, Some(5), 300),
        (Some(300), Some(1), 60),
        (Some(10), Some(5), 10),
    ] {
        let reference = key();
        let terms = declaration(60_00, &reference, minor, percent);
        let Declared::New(intent, evaluation) = bench.ledger.declare(&terms, Some(&policy)).unwrap() else { panic!() };
        assert_eq!(evaluation.verdict, Verdict::Approve);
        let Declared::Known(again) = bench.ledger.declare(&terms, Some(&policy)).unwrap() else { panic!() };
        assert_eq!(again, intent);
        assert!(matches!(
            bench.ledger.declare(&declaration(60_01, &reference, minor, percent), Some(&policy)),
            Err(LedgerError::DeclarationMismatch { what: "amount", .. })
        ));
        let asked = bench.ledger.request_approval(&intent.id, vec![], Some(&policy)).unwrap();
        assert_eq!(bench.ledger.request_approval(&intent.id, vec![], Some(&policy)).unwrap(), asked);
        let Approval::Requested { terms } = asked.approval else { panic!() };
        assert_eq!(terms.amount_minor, 60_00 + allowed, "the human sees the most it can be");
        assert_eq!(terms.expires_at, intent.expires_at, "the answer stands no longer than the declaration");
        bench.ledger.approve(&intent.id, &terms).unwrap();
        for off in [60_00 + allowed + 1, 60_00 - allowed - 1] {
            assert!(matches!(
                bench.ledger.begin(&purchase(off, &reference), Some(&policy)),
                Err(LedgerError::DeclarationMismatch { what: "amount", .. })
            ));
        }
        let Begun::Resume(claim) = bench.ledger.begin(&purchase(60_00 + allowed, &reference), Some(&policy)).unwrap()
        else {
            panic!()
        };
        assert_eq!((&claim.intent().id, claim.intent().reserved), (&intent.id, true));
        let paid = settle(claim);
        assert_eq!(paid.amount_minor, 60_00 + allowed);
        let Begun::Replay(_) = bench.ledger.begin(&purchase(60_00 + allowed, &reference), Some(&policy)).unwrap()
        else {
            panic!()
        };
        bench.clock.advance(24 * 3600);
    }
    assert!(bench.ledger.verify(None).unwrap().is_ok());
}

#[test]
fn a_declaration_holds_no_money_and_ends_with_its_time() {
    let bench = bench();
    let policy = Policy::default();
    for n in 0..10 {
        bench.ledger.declare(&declaration(50_00, &n.to_string(), None, None), Some(&policy)).unwrap();
    }
    assert_eq!(spoke(&bench, 50_00, &policy), [""; 0]);
    bench.clock.advance(1800);
    bench.ledger.expire().unwrap();
    assert_eq!(bench.ledger.find_declared("5").unwrap().unwrap().state, State::Expired);
    let Begun::New(claim) = bench.ledger.begin(&purchase(49_00, "3"), Some(&policy)).unwrap() else { panic!() };
    assert_eq!(claim.intent().declaration, None);
    assert!(matches!(
        bench.ledger.declare(&declaration(100_01, "x", None, None), Some(&policy)).unwrap(),
        Declared::Denied(_)
    ));
}

#[test]
fn what_was_just_paid_cannot_be_declared_to_be_paid_again() {
    let bench = bench();
    let paid = bench.pay(&purchase(10_00, "a"), None);
    let Declared::Known(known) = bench.ledger.declare(&declaration(10_00, "a", None, None), None).unwrap() else {
        panic!()
    };
    assert_eq!(known.id, paid.id);
    assert!(matches!(bench.ledger.begin(&purchase(10_00, "a"), None).unwrap(), Begun::Replay(_)));
}

/// The declaration of 60.00 EUR for `line_items`, and the purchase of the same.
fn declared_goods(line_items: Vec<LineItem>) -> Purchase {
    Purchase::payment(ISSUER, SHOP, line_items, 60_00, common::eur(), Some("winter".into()), key()).unwrap()
}

/// Declares it, and has a human agree.
fn declared_and_approved(bench: &Bench, purchase: Purchase) -> Intent {
    let terms = DeclarationTerms { purchase, ..declaration(60_00, "winter", Some(100), None) };
    let Declared::New(intent, _) = bench.ledger.declare(&terms, Some(&Policy::default())).unwrap() else { panic!() };
    let asked = bench.ledger.request_approval(&intent.id, vec![], Some(&Policy::default())).unwrap();
    let Approval::Requested { terms } = asked.approval else { panic!() };
    bench.ledger.approve(&intent.id, &terms).unwrap()
}

#[test]
fn a_declared_purchase_is_of_the_goods_that_were_declared() {
    let line = |sku: &str, qty| LineItem { sku: sku.into(), qty, unit_price_minor: None };
    let bench = bench();
    let policy = Policy::default();
    let intent = declared_and_approved(&bench, declared_goods(vec![line("sock-43", 3), line("sock-39", 1)]));
    for other in [
        vec![line("sock-39", 4)],
        vec![line("sock-43", 3)],
        vec![line("sock-43", 1), line("sock-39", 3)],
        vec![line("sock-43", 3), line("sock-39", 1), line("hat", 1)],
    ] {
        let purchase = declared_goods(other);
        assert_eq!(intent.departs_from_declaration(&purchase), Some("line_items"));
        match bench.ledger.begin(&purchase, Some(&policy)) {
            Err(LedgerError::DeclarationMismatch { what, .. }) => assert_eq!(what, "line_items"),
            other => panic!("{other:?}"),
        }
        let again = DeclarationTerms { purchase, ..declaration(60_00, "winter", Some(100), None) };
        match bench.ledger.declare(&again, Some(&policy)) {
            Err(LedgerError::DeclarationMismatch { what, .. }) => assert_eq!(what, "line_items"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(bench.ledger.intent(&intent.id).unwrap(), intent, "none of that used it up");
    // Neither the order of the lines nor how they are split makes other goods of them.
    let same = declared_goods(vec![line("sock-39", 1), line("sock-43", 1), line("sock-43", 2)]);
    let Begun::Resume(claim) = bench.ledger.begin(&same, Some(&policy)).unwrap() else { panic!() };
    assert_eq!(settle(claim).id, intent.id);
}

#[test]
fn a_yes_given_before_the_offers_were_looked_at_is_none_to_a_missing_one() {
    let bench = bench();
    let goods = || declared_goods(vec![socks(1)]);
    declared_and_approved(&bench, goods());
    let mut claim = claim(bench.ledger.begin(&goods(), Some(&Policy::default())).unwrap());
    assert!(matches!(
        claim.offers_verified(Offers::Missing { digest: None }),
        Err(LedgerError::ApprovalMismatch { what: "offers", .. })
    ));
    assert_eq!(claim.offers_verified(Offers::Verified { digest: "d" }).unwrap(), Next::Go);
}

#[test]
fn a_yes_to_what_the_merchant_did_not_sign_covers_that_the_offer_is_missing() {
    let bench = bench();
    let begin = || bench.ledger.begin(&purchase(1, "a"), Some(&Policy::default())).unwrap();
    let mut first = claim(begin());
    assert_eq!(first.offers_verified(Offers::Missing { digest: None }).unwrap(), Next::AskHuman);
    let asked = first.await_approval(vec![]).unwrap();
    let Approval::Requested { terms } = asked.approval else { panic!() };
    bench.ledger.approve(&asked.id, &terms).unwrap();
    assert_eq!(claim(begin()).offers_verified(Offers::Missing { digest: None }).unwrap(), Next::Go);
}

#[test]
fn declaring_first_hides_a_payment_from_no_alert() {
    let bench = bench();
    let goods = || declared_goods(vec![socks(1)]);
    declared_and_approved(&bench, goods());
    assert!(bench.ledger.alerts(100).unwrap().is_empty(), "an announcement is no payment");
    let begin = || claim(bench.ledger.begin(&goods(), Some(&Policy::default())).unwrap());
    drop(begin());
    let codes =
        || -> Vec<_> { bench.ledger.alerts(100).unwrap().into_iter().rev().map(|raised| raised.alert.code).collect() };
    assert_eq!(codes(), ["large_payment", "first_payment"]);
    settle(begin());
    assert_eq!(codes().len(), 2, "once");
}

#[test]
fn a_declared_purchase_reserves_nothing_until_it_is_made() {
    let bench = bench();
    let goods = || declared_goods(vec![socks(1)]);
    let intent = declared_and_approved(&bench, goods());
    assert!(matches!(
        bench.ledger.resume(&intent.id, Some(&Policy::default())),
        Err(LedgerError::IllegalStep { from: State::Approved, .. })
    ));
    assert!(!bench.ledger.intent(&intent.id).unwrap().reserved);
    drop(bench.ledger.begin(&goods(), Some(&Policy::default())).unwrap());
    assert!(matches!(bench.ledger.resume(&intent.id, Some(&Policy::default())).unwrap(), Begun::Resume(_)));
}

#[test]
fn a_rule_asks_a_human_where_what_it_names_is_not_known() {
    let rule = |scope: &str, action: &str| {
        let text = format!("[[rule]]\nname = \"r\"\nmerchant = \"https://*.example\"\n{scope}\n{action}");
        Policy::parse(&text, "p").unwrap()
    };
    let (category, mcc) = ("category = \"gambling\"", "mcc = \"7995\"");
    for (scope, named) in [(category, "category"), (mcc, "merchant category code")] {
        for action in ["action = \"deny\"", "action = \"approve\"", "currency = \"EUR\"\nday = 1"] {
            let bench = bench();
            let policy = rule(scope, action);
            let unknown = bench.ledger.simulate(&purchase(2_00, "a"), &policy).unwrap();
            assert_eq!((unknown.verdict, unknown.findings.len()), (Verdict::Approve, 1), "{scope} {action}");
            let finding = &unknown.findings[0];
            assert_eq!((finding.code.as_str(), finding.rule.as_str()), ("approval_required", "rule.r"));
            assert_eq!(
                finding.message,
                format!("a human must agree: a rule names a {named}, and that of this payment is not known")
            );
            let known = purchase(2_00, "a").category("clothes").mcc("5651");
            assert_eq!(bench.ledger.simulate(&known, &policy).unwrap().verdict, Verdict::Allow, "{scope} {action}");
            // A rule for something else anyway has nothing to ask.
            let elsewhere =
                Purchase::payment(ISSUER, "https://shop.test", vec![socks(1)], 2_00, common::eur(), None, key())
                    .unwrap();
            assert_eq!(bench.ledger.simulate(&elsewhere, &policy).unwrap().verdict, Verdict::Allow);
            let Begun::New(claim) = bench.ledger.begin(&purchase(2_00, "a"), Some(&policy)).unwrap() else { panic!() };
            assert!(matches!(claim.intent().approval, Approval::Needed { .. }));
        }
    }
    let dollars = rule(category, "currency = \"USD\"\nday = 1");
    assert_eq!(bench().ledger.simulate(&purchase(2_00, "a"), &dollars).unwrap().verdict, Verdict::Allow);
}

#[test]
fn a_human_ends_any_purchase_that_was_not_presented() {
    let bench = bench();
    let policy = Policy::default();
    let approved = declared_and_approved(&bench, declared_goods(vec![socks(1)]));
    let terms = declaration(10_00, "declared", None, None);
    let Declared::New(declared, _) = bench.ledger.declare(&terms, Some(&policy)).unwrap() else { panic!() };
    let mut waiting = claim(bench.ledger.begin(&purchase(10_00, "wallet"), Some(&policy)).unwrap());
    waiting.consent_pending("https://as.example/consent", common::START + 600).unwrap();
    let mut held = claim(bench.ledger.begin(&purchase(10_00, "held"), Some(&policy)).unwrap());
    authorize(&mut held);
    for claim in [waiting, held] {
        let id = claim.intent().id.clone();
        assert!(matches!(bench.ledger.reject(&id), Err(LedgerError::InProgress(_))), "it is being driven");
        drop(claim);
        let rejected = bench.ledger.reject(&id).unwrap();
        assert_eq!((rejected.state, rejected.reserved), (State::Rejected, false));
    }
    for id in [&approved.id, &declared.id] {
        assert_eq!(bench.ledger.reject(id).unwrap().state, State::Rejected);
        assert!(matches!(bench.ledger.reject(id), Err(LedgerError::IllegalStep { from: State::Rejected, .. })));
    }
    let mut sent = claim(bench.ledger.begin(&purchase(10_00, "sent"), Some(&policy)).unwrap());
    authorize(&mut sent);
    sent.presenting("p").unwrap();
    let id = sent.intent().id.clone();
    drop(sent);
    assert!(matches!(bench.ledger.reject(&id), Err(LedgerError::IllegalStep { from: State::Charging, .. })));
    assert!(bench.ledger.verify(None).unwrap().is_ok());
}

#[test]
fn a_stricter_policy_is_in_force_once_it_is_adopted_and_a_looser_one_is_not() {
    let bench = bench();
    let stricter = Policy::parse("[currency.EUR]\nhour = 10", "p").unwrap();
    bench.ledger.adopt(&stricter).unwrap();
    assert_eq!(bench.reopened().rules_in_force().unwrap(), *stricter.rules());
    bench.ledger.adopt(&Policy::default()).unwrap();
    assert_eq!(bench.ledger.rules_in_force().unwrap(), *stricter.rules());
    denied(bench.ledger.begin(&purchase(1, "a"), Some(&Policy::default())).unwrap());
}
