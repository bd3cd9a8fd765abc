//! Policy files: what is taken, and where the finger points when one is not.
#![allow(clippy::inconsistent_digit_grouping, reason = "major units _ cents")]
#![allow(clippy::unwrap_used, reason = "tests")]

use spend_guard::{Currency, InvalidTightening, Policy, RuleAction, Tightening};

fn limits(policy: &Policy, currency: &str) -> spend_guard::Limits {
    policy.rules().currencies[&Currency::parse(currency).unwrap()].clone()
}

#[test]
fn without_a_file_the_defaults_hold_in_three_currencies() {
    let policy = Policy::parse("", "policy.toml").unwrap();
    assert_eq!(policy, Policy::default());
    let codes: Vec<_> = policy.rules().currencies.keys().map(|currency| currency.code().to_owned()).collect();
    assert_eq!(codes, ["EUR", "GBP", "USD"]);
    for code in codes {
        let limits = limits(&policy, &code);
        assert_eq!(
            (limits.per_transaction, limits.approval_above, limits.hour, limits.day),
            (Some(100_00), Some(50_00), Some(200_00), Some(500_00))
        );
    }
}

#[test]
fn amounts_are_scaled_by_the_currency() {
    let text = r#"
        [currency.JPY]
        per_transaction = 15000
        approval_above = "5000"
        hour = 20_000
        day = 30000
        [currency.KWD]
        per_transaction = "12.345"
        approval_above = "1.5"
        hour = 20
        day = "none"
        [currency.EUR]
        hour = "0.01"
    "#;
    let policy = Policy::parse(text, "policy.toml").unwrap();
    assert_eq!(limits(&policy, "JPY").per_transaction, Some(15000));
    assert_eq!(limits(&policy, "JPY").hour, Some(20000));
    let kwd = limits(&policy, "KWD");
    assert_eq!(
        (kwd.per_transaction, kwd.approval_above, kwd.hour, kwd.day),
        (Some(12345), Some(1500), Some(20000), None)
    );
    let eur = limits(&policy, "EUR");
    assert_eq!((eur.hour, eur.per_transaction), (Some(1), Some(100_00)), "what is left out keeps its default");
}

#[test]
fn every_part_of_a_file_is_read() {
    let text = r#"
        replay_hours = 48
        intent_minutes = 10
        approval_minutes = 5
        [merchants]
        allow = ["https://*.Alpacanica.com", "https://shop.example"]
        deny = "*casino*"
        [currency.USD]
        allowed = false
        [alerts]
        payments_per_minute = 2
        [[rule]]
        name = "books"
        merchant = "https://books.example"
        category = ["books", "audio books"]
        agent = "reader"
        currency = "eur"
        day = 30
        payments_per_hour = 3
        [[rule]]
        name = "gambling"
        mcc = ["7995", "7801"]
        action = "deny"
    "#;
    let rules = Policy::parse(text, "policy.toml").unwrap().rules().clone();
    assert_eq!((rules.replay_seconds, rules.intent_seconds, rules.approval_seconds), (48 * 3600, 600, 300));
    assert_eq!(rules.allow_merchants.unwrap(), ["https://*.alpacanica.com", "https://shop.example"]);
    assert_eq!(rules.deny_merchants, ["*casino*"]);
    assert!(!rules.currencies.contains_key(&Currency::parse("USD").unwrap()));
    assert_eq!(rules.alerts.payments_per_minute, 2);
    let RuleAction::Limit { limits, .. } = &rules.rules[0].action else { panic!() };
    assert_eq!((limits.day, limits.payments_per_hour, limits.hour), (Some(30_00), Some(3), None));
    assert_eq!(
        (&rules.rules[1].action, &rules.rules[1].scope.mccs[..]),
        (&RuleAction::Deny, &["7801".into(), "7995".into()][..])
    );
}

#[test]
fn a_file_that_cannot_be_meant_is_refused_with_its_place() {
    // Text, line, column, and a part of the reason.
    let table = [
        ("[currency.EUR", 1, 14, ""),
        ("a = 1", 1, 1, "unknown key \"a\""),
        ("[currency.EUR]\nhuor = 1", 2, 1, "unknown key \"huor\""),
        ("[currency.EUR]\nhour = -1", 2, 8, "negative"),
        ("[currency.EUR]\nhour = \"-1\"", 2, 8, "negative"),
        ("[currency.EUR]\nhour = 1.5", 2, 8, "floating-point"),
        ("[currency.EUR]\nhour = 1e3", 2, 8, "floating-point"),
        ("[currency.EUR]\nhour = inf", 2, 8, "floating-point"),
        ("[currency.EUR]\nhour = \"1.505\"", 2, 8, "EUR has 2 decimals"),
        ("[currency.JPY]\nhour = \"1.5\"", 2, 8, "JPY has 0 decimals"),
        ("[currency.EUR]\nhour = \"1,50\"", 2, 8, "not an amount"),
        ("[currency.EUR]\nhour = \".5\"", 2, 8, "not an amount"),
        ("[currency.EUR]\nhour = \"5.\"", 2, 8, "not an amount"),
        ("[currency.EUR]\nhour = \"\"", 2, 8, "not an amount"),
        ("[currency.EUR]\nhour = \"+5\"", 2, 8, "not an amount"),
        ("[currency.EUR]\nhour = \"１\"", 2, 8, "not an amount"),
        ("[currency.EUR]\nhour = 0x10", 2, 8, "an amount is wanted"),
        ("[currency.EUR]\nhour = true", 2, 8, "an amount is wanted"),
        ("[currency.EUR]\nhour = 90071992547410", 2, 8, "too large"),
        ("[currency.EUR]\nhour = 99999999999999999999999999", 2, 8, ""),
        ("[currency.EUR]\nhour = 1\nhour = 2", 3, 1, "duplicate key"),
        ("[currency.EUR]\n[currency.EUR]", 2, 11, "duplicate key"),
        ("[currency.EUR]\n[currency.eur]", 2, 11, "EUR stands twice"),
        ("[currency.EUX]\nhour = 1", 1, 11, "ISO 4217"),
        ("[currency.XAU]\nhour = 1", 1, 11, "ISO 4217"),
        ("[currency.JPY]\nhour = 1\nday = 2\nper_transaction = 1", 1, 11, "approval_above is missing"),
        ("[currency.EUR]\npayments_per_minute = \"1\"", 2, 23, "whole number"),
        ("[currency.EUR]\npayments_per_minute = 1.0", 2, 23, "whole number"),
        ("[currency.EUR]\nallowed = 1", 2, 11, "true or false"),
        ("replay_hours = 1000000", 1, 16, "at most"),
        ("[merchants]\nallow = []", 2, 9, "empty"),
        ("[merchants]\nallow = [\"shop.example\"]", 2, 10, "no origin matches"),
        ("[merchants]\nallow = [1]", 2, 10, "a text is wanted"),
        ("[merchants]\ndeny = [\"https://a.example\",\n\"https://shop.example/path\"]", 3, 1, "no origin has a path"),
        ("[merchants]\ndeny = \"https://shop.example/*\"", 2, 8, "no origin has a path"),
        ("[merchants]\ndeny = \"https://shop.example//\"", 2, 8, "no origin has a path"),
        ("[merchants]\ndeny = 'https://shop.example\\'", 2, 8, "no origin has a path"),
        ("[merchants]\ndeny = \"https://shop.example/?a=1\"", 2, 8, "no origin has a path"),
        ("[merchants]\ndeny = \"https://shop.example?a=1\"", 2, 8, "no origin matches this"),
        ("[merchants]\ndeny = \"https://shop.example?a\"", 2, 8, "reads as a query"),
        ("[merchants]\ndeny = \"https://shop.example?\"", 2, 8, "reads as a query"),
        ("[merchants]\ndeny = \"https://shop.example:443?\"", 2, 8, "a port is made of digits"),
        ("[merchants]\ndeny = \"https://shop.example#a\"", 2, 8, "no origin has a fragment"),
        ("[merchants]\ndeny = \"https://user@shop.example\"", 2, 8, "no origin has user information"),
        ("[merchants]\ndeny = \"https://user:pw@shop.example\"", 2, 8, "no origin has user information"),
        ("[merchants]\ndeny = \"https://@shop.example\"", 2, 8, "no origin has user information"),
        ("[merchants]\ndeny = \"ftp://shop.example\"", 2, 8, "the scheme of a merchant is https"),
        ("[merchants]\ndeny = \"wss://*\"", 2, 8, "the scheme of a merchant is https"),
        ("[merchants]\ndeny = \"://shop.example\"", 2, 8, "the scheme of a merchant is https"),
        ("[merchants]\ndeny = \"https:shop.example\"", 2, 8, "no origin matches"),
        ("[merchants]\ndeny = \"https://\"", 2, 8, "its host is empty"),
        ("[merchants]\ndeny = \"https:///\"", 2, 8, "no origin"),
        ("[merchants]\ndeny = \"https://:443\"", 2, 8, "its host is empty"),
        ("[merchants]\ndeny = \"https://.\"", 2, 8, "its host is none"),
        ("[merchants]\ndeny = \"https://shop.example..\"", 2, 8, "its host is none"),
        ("[merchants]\ndeny = \"https://*..example\"", 2, 8, "its host is none"),
        ("[merchants]\ndeny = \"https://sho p.example\"", 2, 8, "no origin has a"),
        ("[merchants]\ndeny = \"https://shop.example:65536\"", 2, 8, "at most 65535"),
        ("[merchants]\ndeny = \"https://shop.example:8x\"", 2, 8, "a port is made of digits"),
        ("[merchants]\ndeny = \"https://shop.example:99999*\"", 2, 8, "no such port"),
        ("[merchants]\ndeny = \"https://[::1\"", 2, 8, "its host is none"),
        ("[merchants]\ndeny = \"https://[::*]\"", 2, 8, "IPv6"),
        ("[merchants]\ndeny = \"https://*ü.example\"", 2, 8, "punycode"),
        ("[merchants]\ndeny = \"https://a＊.example\"", 2, 8, "its host is none"),
        ("[merchants]\ndeny = \"https://a%2A.example\"", 2, 8, "its host is none"),
        ("[merchants]\ndeny = \"\"", 2, 8, "no origin matches"),
        ("[merchants]\nallow = \"http://shop.example\"", 2, 9, "write https"),
        ("[merchants]\nallow = \"http://*.example\"", 2, 9, "write https"),
        (
            "[[rule]]\nname = \"a\"\nmerchant = [\"https://a.example/b\"]\naction = \"deny\"",
            3,
            13,
            "no origin has a path",
        ),
        ("[[rule]]\nname = \"a\"\ncategory = [\" \"]\naction = \"deny\"", 3, 13, "empty category"),
        ("[[rule]]\nname = \"a\"", 1, 1, "needs an action, or limits"),
        ("[[rule]]\naction = \"deny\"", 1, 1, "needs a name"),
        ("[[rule]]\nname = \"a\"\naction = \"allow\"", 3, 10, "deny or approve"),
        ("[[rule]]\nname = \"a\"\naction = \"deny\"\nday = 1", 4, 1, "either an action or limits"),
        ("[[rule]]\nname = \"a\"\nday = 1", 1, 1, "exactly one currency"),
        ("[[rule]]\nname = \"a\"\ncurrency = \"EUR\"\ndya = 1", 4, 1, "unknown key \"dya\""),
        ("[[rule]]\nname = \"a\"\nmcc = \"79\"\naction = \"deny\"", 3, 7, "four digits"),
        (
            "[[rule]]\nname = \"a\"\naction = \"deny\"\n\n[[rule]]\nname = \"a\"\naction = \"deny\"",
            5,
            1,
            "a second rule",
        ),
        ("rule = 1", 1, 8, "[[rule]]"),
        ("# ä\nä = 1", 2, 1, ""),
    ];
    for (text, line, column, reason) in table {
        let error = Policy::parse(text, "my.toml").expect_err(text);
        assert_eq!((error.line, error.column), (line, column), "{text}: {error}");
        assert!(error.reason.contains(reason), "{text}: {error}");
        assert!(error.to_string().starts_with(&format!("my.toml:{line}:{column}: ")));
    }
    println!("policy files refused by line and column: {}", table.len());
}

#[test]
fn no_text_makes_the_reader_panic() {
    use proptest::prelude::*;
    proptest!(|(text in "[a-z\\[\\]=\".\n 0-9é_-]{0,80}")| {
        let _ = Policy::parse(&text, "p");
        let _ = Policy::parse(&format!("[currency.EUR]\nhour = {text}"), "p");
    });
}

#[test]
fn the_environment_only_tightens() {
    let tighten = |text: &str| {
        let by = Tightening { per_transaction: Some(text.into()), hour: Some(text.into()), ..Tightening::default() };
        Policy::default().tighten(&by)
    };
    assert_eq!(limits(&tighten("80").unwrap(), "EUR").per_transaction, Some(80_00));
    assert_eq!(limits(&tighten("12.50").unwrap(), "GBP").hour, Some(12_50));
    assert_eq!(limits(&tighten("9999999").unwrap(), "EUR"), limits(&Policy::default(), "EUR"));
    assert_eq!(limits(&tighten("99999999999999999999999999").unwrap(), "EUR"), limits(&Policy::default(), "EUR"));
    assert_eq!(tighten("80").unwrap().hash(), Policy::default().hash(), "the file is the same");
    for bad in ["", "-1", "1e3", "80 EUR", "none", "inf", " 80", "80."] {
        assert_eq!(
            tighten(bad).map(|_| ()).map_err(|InvalidTightening { member, .. }| member),
            Err("per_transaction"),
            "{bad}"
        );
    }
    let jpy = "[currency.JPY]\nper_transaction = 100\napproval_above = 1\nhour = 1\nday = 1";
    let by = Tightening { per_transaction: Some("12.99".into()), ..Tightening::default() };
    assert_eq!(limits(&Policy::parse(jpy, "p").unwrap().tighten(&by).unwrap(), "JPY").per_transaction, Some(12));
    let none = Policy::parse("[currency.EUR]\nper_transaction = \"none\"", "p").unwrap();
    assert_eq!(limits(&none.tighten(&by).unwrap(), "EUR").per_transaction, Some(12_99));
}

#[test]
fn a_looser_policy_is_known_as_one() {
    let base = r#"
        replay_hours = 24
        [merchants]
        allow = ["https://a.example", "https://b.example"]
        deny = ["https://c.example"]
        [currency.EUR]
        hour = 100
        week = 700
        [[rule]]
        name = "r"
        agent = "x"
        currency = "EUR"
        day = 10
        [[rule]]
        name = "s"
        mcc = "7995"
        action = "approve"
    "#;
    let before = Policy::parse(base, "p").unwrap();
    let looser = |from: &str, to: &str| {
        assert!(base.contains(from), "{from}");
        let after = Policy::parse(&base.replace(from, to), "p").unwrap();
        after.looser_than(before.rules())
    };
    assert_eq!(before.looser_than(before.rules()), [""; 0]);
    for (from, to) in [
        ("hour = 100", "hour = 99"),
        ("\"https://a.example\", ", ""),
        ("[\"https://c.example\"]", "[\"https://c.example\", \"https://d.example\"]"),
        ("name = \"r\"", "name = \"other\""),
        ("day = 10", "day = 10\nhour = 1"),
        ("action = \"approve\"", "action = \"deny\""),
        ("replay_hours = 24", "replay_hours = 25"),
        ("replay_hours = 24", "approval_in_client = false"),
    ] {
        assert_eq!(looser(from, to), [""; 0], "{to}");
    }
    for (from, to, what) in [
        ("hour = 100", "hour = 101", "currency.EUR.hour: 100.00 EUR → 101.00 EUR"),
        ("hour = 100", "", "currency.EUR.hour: 100.00 EUR → 200.00 EUR"),
        ("week = 700", "", "currency.EUR.week: 700.00 EUR → no limit"),
        ("week = 700", "week = \"none\"", "currency.EUR.week: 700.00 EUR → no limit"),
        ("hour = 100", "approval_above = \"50.01\"\nhour = 1", "currency.EUR.approval_above: 50.00 EUR → 50.01 EUR"),
        (
            "replay_hours = 24",
            "replay_hours = 23",
            "replay_hours is shorter: the same purchase can be made again sooner",
        ),
        ("replay_hours = 24", "approval_minutes = 61", "approval_minutes is longer"),
        ("deny = [\"https://c.example\"]", "", "merchants.deny lacks https://c.example"),
        ("allow = [\"https://a.example\", \"https://b.example\"]", "", "merchants.allow is gone"),
        ("\"https://b.example\"]", "\"https://d.example\"]", "merchants.allow has https://d.example"),
        ("day = 10", "day = 11", "rule r is gone or looser"),
        ("agent = \"x\"", "agent = \"y\"", "rule r is gone or looser"),
        ("mcc = \"7995\"", "mcc = \"7996\"", "rule s is gone or looser"),
    ] {
        assert_eq!(looser(from, to), [what], "{to}");
    }
    let strict = Policy::parse("approval_in_client = false", "p").unwrap();
    assert_eq!(Policy::default().looser_than(strict.rules()), ["approval_in_client is true"]);
    let jpy = format!("{base}\n[currency.JPY]\nper_transaction = 1\napproval_above = 1\nhour = 1\nday = 1");
    assert_eq!(Policy::parse(&jpy, "p").unwrap().looser_than(before.rules()), ["currency.JPY is allowed"]);
    let without = format!("{base}\n[currency.USD]\nallowed = false");
    assert_eq!(Policy::parse(&without, "p").unwrap().looser_than(before.rules()), [""; 0]);
}

#[test]
fn one_policy_in_two_spellings_has_one_hash_and_says_what_it_was_read_as() {
    let plain = r#"
        [merchants]
        allow = ["https://xn--bcher-kva.example", "http://localhost:3000"]
        deny = ["https://shop.example"]
        [[rule]]
        name = "books"
        merchant = "https://books.example:8443"
        category = "books"
        mcc = "5942"
        action = "approve"
    "#;
    let spelt = r#"
        [merchants]
        allow = [" http://LOCALHOST:3000/", "HTTPS://Bücher.example:443/"]
        deny = ["https://Shop.example./", "http://shop.example"]
        [[rule]]
        name = "books"
        merchant = "https://books.example.:08443 "
        category = [" Books", "BOOKS"]
        mcc = " 5942 "
        action = "approve"
    "#;
    let (plain, spelt) = (Policy::parse(plain, "p").unwrap(), Policy::parse(spelt, "p").unwrap());
    assert_eq!((plain.hash(), plain.rules()), (spelt.hash(), spelt.rules()));
    assert_eq!(plain.readings(), []);
    let read: Vec<_> = spelt.readings().iter().map(|read| (read.line, &*read.written, &*read.read_as)).collect();
    assert_eq!(read[0], (3, " http://LOCALHOST:3000/", "http://localhost:3000"));
    assert_eq!(read[1], (3, "HTTPS://Bücher.example:443/", "https://xn--bcher-kva.example"));
    assert_eq!(read[2], (4, "https://Shop.example./", "https://shop.example"));
    assert_eq!(read.last(), Some(&(8, "BOOKS", "books")));
}

#[test]
fn rules_kept_before_merchants_were_read_as_origins_are_neither_loosened_nor_unconfirmed() {
    let parse = |text: &str| Policy::parse(text, "p").unwrap();
    let stored = |allow: Option<&str>, deny: &str, merchant: &str, category: &str| {
        let mut rules =
            parse("[[rule]]\nname = \"r\"\nmerchant = \"*\"\ncategory = \"a\"\naction = \"deny\"").rules().clone();
        rules.allow_merchants = allow.map(|allow| vec![allow.to_owned()]);
        rules.deny_merchants = vec![deny.to_owned()];
        rules.rules[0].scope.merchants = vec![merchant.to_owned()];
        rules.rules[0].scope.categories = vec![category.to_owned()];
        rules
    };
    let file = |merchants: &str, merchant: &str| {
        parse(&format!(
            "[merchants]\n{merchants}\n[[rule]]\nname = \"r\"\nmerchant = \"{merchant}\"\ncategory = \"books\"\naction = \"deny\""
        ))
    };
    // The same file, read by the version before.
    let before = stored(None, "https://shop.example:443/", "https://b.example.", "Books");
    assert_eq!(file("deny = \"https://shop.example:443/\"", "https://b.example.").looser_than(&before), [""; 0]);
    // What the reader refuses now denied nothing, and is not missed.
    let before = stored(None, "https://shop.example/path", "https://b.example", "books");
    assert_eq!(file("deny = \"https://shop.example\"", "https://b.example").looser_than(&before), [""; 0]);
    // What it refuses although it denied something is.
    let before = stored(None, "https://shop?", "https://b.example", "books");
    assert_eq!(file("deny = \"*z\"", "https://b.example").looser_than(&before), ["merchants.deny lacks https://shop?"]);
    // An allow that admitted nothing admits something now only when a person confirms it.
    let before = stored(Some("https://shop.example/"), "*z", "https://b.example", "books");
    let after = file("allow = \"https://shop.example/\"\ndeny = \"*z\"", "https://b.example");
    assert_eq!(after.looser_than(&before), ["merchants.allow has https://shop.example"]);
    // A deny for every port is stricter than one for a port, and not the other way round.
    let (one, every) = ("deny = \"https://shop.example:8443\"", "deny = \"https://shop.example\"");
    let (one, every) = (file(one, "https://b.example"), file(every, "https://b.example"));
    assert_eq!(every.looser_than(one.rules()), [""; 0]);
    assert_eq!(one.looser_than(every.rules()), ["merchants.deny lacks https://shop.example"]);
    let wide = file("deny = \"https://*.example\"", "https://b.example");
    assert_eq!(wide.looser_than(one.rules()), [""; 0]);
    assert_eq!(every.looser_than(wide.rules()), ["merchants.deny lacks https://*.example"]);
}
