//! One lie at a time: each is refused by name, nothing is presented, and what was issued is given back.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod kit;

use std::sync::Arc;

use bytes::Bytes;
use http_sig::{Component, ContentDigest, DigestAlg, DigestError, LabelError, Message, SignatureBuilder, VerifyError};
use jose::{Alg, JwsError};
use kit::{Act, Forger, Kit, take_apart, with_json};
use oid4ac_client::{
    Artefact, Error, Incompatibility, LineItem, MemoryJournal, Misuse, Outcome, Settlement, Stage, TransportError, Why,
};
use sandbox::{ConsentDecision, ConsentMode, SandboxConfig};
use serde_json::{Map, Value, json};

type Edit = fn(&mut Map<String, Value>);

async fn refusal(kit: &Kit) -> (Artefact, Why) {
    match kit.client.pay(&kit.socks(), &MemoryJournal::default()).await {
        Err(Error::PeerMisbehaved(misbehaviour)) => (misbehaviour.what(), misbehaviour.why().clone()),
        other => panic!("not refused: {other:?}"),
    }
}

fn presented(sent: &[String]) -> bool {
    sent.iter().any(|request| request == "POST /verify-mandate")
}

fn gave_back(sent: &[String]) -> bool {
    sent.iter().any(|request| request == "POST /oauth/revoke")
}

/// Lets an AS whose only key is `forger`'s issue what `forge` makes of the token answer.
fn forge_tokens(kit: &Kit, forger: &Forger, forge: impl Fn(&Forger, &mut Map<String, Value>) + Send + Sync + 'static) {
    let forge = Arc::new(forge);
    let forger = forger.clone();
    kit.net.lie(move |endpoint, _| match endpoint.url().path() {
        "/oauth/jwks.json" => Act::Answer(forger.jwks()),
        "/oauth/token" => {
            let (forge, forger) = (Arc::clone(&forge), forger.clone());
            Act::Change(Box::new(move |answer| with_json(answer, |reply| forge(&forger, reply))))
        }
        path if path.starts_with("/oauth/status-list/") => Act::Answer(kit::answer(503, "text/plain", "")),
        _ => Act::Pass,
    });
}

fn resigned_access_token(forger: &Forger, reply: &Map<String, Value>, typ: &str, edit: Edit) -> Value {
    let (_, mut claims) = take_apart(reply["access_token"].as_str().unwrap());
    edit(&mut claims);
    forger.sign(typ, &claims).into()
}

fn resigned_mandate(forger: &Forger, reply: &Map<String, Value>, typ: &str, edit: Edit) -> Value {
    let (jwt, disclosures) = reply["mandate_jwt"].as_str().unwrap().split_once('~').unwrap();
    let (_, mut claims) = take_apart(jwt);
    edit(&mut claims);
    format!("{}~{disclosures}", forger.sign(typ, &claims)).into()
}

/// Another header before the same payload and signature.
fn with_header(token: &Value, header: &Value) -> String {
    let (_, rest) = token.as_str().unwrap().split_once('.').unwrap();
    format!("{}.{rest}", jose::base64url::encode(header.to_string().as_bytes()))
}

#[tokio::test]
async fn an_access_token_that_does_not_hold_is_refused_by_name() {
    let rows: [(&str, &str, Edit, Why); 6] = [
        ("typ", "JWT", |_| {}, JwsError::TypMismatch.into()),
        ("iss", "at+jwt", |c| drop(c.insert("iss".into(), json!("https://evil.example"))), Why::Mismatch("iss")),
        ("aud", "at+jwt", |c| drop(c.insert("aud".into(), json!("https://evil.example"))), Why::Mismatch("aud")),
        ("aud list", "at+jwt", |c| drop(c.insert("aud".into(), json!([c["aud"]]))), Why::Mismatch("aud")),
        ("jkt", "at+jwt", |c| drop(c.insert("cnf".into(), json!({"jkt": "A".repeat(43)}))), Why::Mismatch("cnf.jkt")),
        ("no cnf", "at+jwt", |c| drop(c.remove("cnf")), Why::Mismatch("cnf.jkt")),
    ];
    for (name, typ, edit, why) in rows {
        let kit = Kit::new().await;
        forge_tokens(&kit, &Forger::new(Alg::EdDsa), move |forger, reply| {
            reply.insert("access_token".into(), resigned_access_token(forger, reply, typ, edit));
        });
        assert_eq!(refusal(&kit).await, (Artefact::AccessToken, why), "{name}");
        let sent = kit.net.take_sent();
        assert!(!presented(&sent) && gave_back(&sent), "{name}");
    }
}

#[tokio::test]
async fn an_algorithm_outside_the_list_is_refused_by_name_before_a_key_is_looked_up() {
    for alg in ["none", "None", "HS256", "RS256", "ES256K", "ES256"] {
        for (member, what) in [("access_token", Artefact::AccessToken), ("mandate_jwt", Artefact::Mandate)] {
            let kit = Kit::new().await;
            kit.net.lie(move |endpoint, _| match endpoint.url().path() {
                "/oauth/token" => Act::Change(Box::new(move |answer| {
                    with_json(answer, |reply| {
                        let typ = if member == "access_token" { "at+jwt" } else { "vc+sd-jwt" };
                        let forged = with_header(&reply[member], &json!({"alg": alg, "typ": typ}));
                        reply.insert(member.into(), forged.into());
                    })
                })),
                _ => Act::Pass,
            });
            let (refused, why) = refusal(&kit).await;
            assert_eq!(refused, what);
            let named = JwsError::AlgNotAllowed(alg.to_owned());
            assert!(why == named.clone().into() || why == sd_jwt::VerifyError::Jws(named).into(), "{alg}: {why:?}");
            let sent = kit.net.take_sent();
            assert!(!presented(&sent) && gave_back(&sent), "{alg} {member}");
        }
    }
}

#[tokio::test]
async fn a_changed_or_foreign_signature_is_refused() {
    for (member, what) in [("access_token", Artefact::AccessToken), ("mandate_jwt", Artefact::Mandate)] {
        let kit = Kit::new().await;
        kit.net.lie(move |endpoint, _| match endpoint.url().path() {
            "/oauth/token" => Act::Change(Box::new(move |answer| {
                with_json(answer, |reply| {
                    let text = reply[member].as_str().unwrap();
                    let (token, rest) = text.split_at(text.find('~').unwrap_or(text.len()));
                    let at = token.len() - 20;
                    let flipped = if &token[at..=at] == "A" { "B" } else { "A" };
                    let forged = format!("{}{flipped}{}{rest}", &token[..at], &token[at + 1..]);
                    reply.insert(member.into(), forged.into());
                })
            })),
            _ => Act::Pass,
        });
        let (refused, why) = refusal(&kit).await;
        assert_eq!(refused, what);
        assert!(why.to_string().contains("signature does not verify"), "{why}");

        let kit = Kit::new().await;
        let forger = Forger::new(Alg::EdDsa);
        kit.net.lie(move |endpoint, _| match endpoint.url().path() {
            "/oauth/jwks.json" => Act::Answer(forger.jwks()),
            _ => Act::Pass,
        });
        assert_eq!(refusal(&kit).await.1, Why::UnknownKey);
    }
}

#[tokio::test]
async fn a_mandate_that_does_not_hold_is_refused_by_name() {
    fn details(claims: &mut Map<String, Value>) -> &mut Map<String, Value> {
        claims["authorization_details"][0].as_object_mut().unwrap()
    }
    fn status(claims: &mut Map<String, Value>, name: &str, value: Value) {
        claims["credentialStatus"].as_object_mut().unwrap().insert(name.into(), value);
    }
    let rows: [(&str, Edit, Why); 27] = [
        ("iss", |c| drop(c.insert("iss".into(), json!("https://evil.example"))), Why::Mismatch("iss")),
        ("vct", |c| drop(c.insert("vct".into(), json!("other"))), Why::Mismatch("vct")),
        ("version", |c| drop(c.insert("oid4ac_version".into(), json!("2.0"))), Why::Mismatch("oid4ac_version")),
        ("jkt", |c| drop(c.insert("cnf".into(), json!({"jkt": "A".repeat(43)}))), Why::Mismatch("cnf.jkt")),
        ("no jkt", |c| drop(c.insert("cnf".into(), json!({}))), Why::Member("cnf.jkt")),
        (
            "aud",
            |c| {
                c.insert("aud".into(), json!("https://evil.example"));
                details(c).insert("merchant".into(), json!("https://evil.example"));
            },
            Why::Mismatch("aud"),
        ),
        ("two aud", |c| drop(c.insert("aud".into(), json!([c["aud"], "https://b.example"]))), Why::Member("aud")),
        ("no aud", |c| drop(c.remove("aud")), Why::Member("aud")),
        ("expired", |c| drop((c.insert("exp".into(), json!(1_000)), c.insert("iat".into(), json!(900)))), Why::Expired),
        ("not yet", |c| drop(c.insert("nbf".into(), json!(9_999_999_999_i64))), Why::NotYetValid),
        (
            "long life",
            |c| drop(c.insert("exp".into(), json!(c["iat"].as_i64().unwrap() + 901))),
            Why::LivesTooLong { max_seconds: 900 },
        ),
        ("no exp", |c| drop(c.remove("exp")), Why::Member("exp")),
        ("no id", |c| drop(c.remove("mandate_id")), Why::Member("mandate_id")),
        ("no details", |c| drop(c.remove("authorization_details")), Why::Member("authorization_details")),
        (
            "merchant",
            |c| drop(details(c).insert("merchant".into(), json!("https://b.example"))),
            Why::Mismatch("merchant"),
        ),
        ("currency", |c| drop(details(c).insert("currency".into(), json!("USD"))), Why::Mismatch("currency")),
        ("cap below", |c| drop(details(c).insert("amount_minor".into(), json!(1298))), Why::Mismatch("amount_minor")),
        ("cap above", |c| drop(details(c).insert("amount_minor".into(), json!(1300))), Why::Mismatch("amount_minor")),
        ("no cap", |c| drop(details(c).insert("amount_minor".into(), json!(1299.5))), Why::Member("amount_minor")),
        ("sku", |c| details(c)["line_items"][0]["sku"] = json!("other"), Why::Mismatch("line_items")),
        ("qty", |c| details(c)["line_items"][0]["qty"] = json!(2), Why::Mismatch("line_items")),
        ("price", |c| details(c)["line_items"][0]["unit_price_minor"] = json!("1"), Why::Member("unit_price_minor")),
        (
            "digest",
            |c| drop(details(c).insert("offer_digest".into(), json!("A".repeat(43)))),
            Why::Mismatch("offer_digest"),
        ),
        ("short digest", |c| drop(details(c).insert("offer_digest".into(), json!("A"))), Why::Member("offer_digest")),
        ("no digest", |c| drop(details(c).remove("offer_digest")), Why::Mismatch("offer_digest")),
        (
            "status elsewhere",
            |c| status(c, "statusListCredential", json!("http://127.0.0.1:1/list")),
            Why::Origin("statusListCredential"),
        ),
        ("status index", |c| status(c, "statusListIndex", json!("-1")), Why::Member("statusListIndex")),
    ];
    for (name, edit, why) in rows {
        let kit = Kit::new().await;
        forge_tokens(&kit, &Forger::new(Alg::EdDsa), move |forger, reply| {
            reply.insert("access_token".into(), resigned_access_token(forger, reply, "at+jwt", |_| {}));
            reply.insert("mandate_jwt".into(), resigned_mandate(forger, reply, "vc+sd-jwt", edit));
        });
        assert_eq!(refusal(&kit).await, (Artefact::Mandate, why), "{name}");
        let sent = kit.net.take_sent();
        assert!(!presented(&sent) && gave_back(&sent), "{name}");
    }
}

/// The token reply and the access token say again what was granted. Where either contradicts the mandate, one of the
/// server's statements is untrue, and nothing is presented on the strength of the other.
#[tokio::test]
async fn what_a_token_says_was_granted_has_to_be_what_its_mandate_says() {
    let rows: [(&str, Value); 7] = [
        ("merchant", json!("https://evil.example")),
        ("merchant", json!(5)),
        ("currency", json!("USD")),
        ("offer_digest", json!("A".repeat(43))),
        ("amount_minor", json!(1298)),
        ("amount_minor", json!("1299")),
        ("line_items", json!([{"sku": "another", "qty": 1}])),
    ];
    for (member, value) in rows {
        let kit = Kit::new().await;
        let said = value.clone();
        kit.net.lie(move |endpoint, _| match endpoint.url().path() {
            "/oauth/token" => {
                let said = said.clone();
                Act::Change(Box::new(move |answer| {
                    with_json(answer, |reply| reply["authorization_details"][0][member] = said)
                }))
            }
            _ => Act::Pass,
        });
        assert_eq!(refusal(&kit).await, (Artefact::TokenResponse, Why::Mismatch(member)), "{member} {value}");
        let sent = kit.net.take_sent();
        assert!(!presented(&sent) && gave_back(&sent), "{member}");

        let kit = Kit::new().await;
        forge_tokens(&kit, &Forger::new(Alg::EdDsa), move |forger, reply| {
            let (_, mut claims) = take_apart(reply["access_token"].as_str().unwrap());
            let mut details = reply["authorization_details"].clone();
            details[0][member] = value.clone();
            claims.insert("authorization_details".into(), details);
            reply.insert("access_token".into(), forger.sign("at+jwt", &claims).into());
            reply.insert("mandate_jwt".into(), resigned_mandate(forger, reply, "vc+sd-jwt", |_| {}));
        });
        assert_eq!(refusal(&kit).await, (Artefact::AccessToken, Why::Mismatch(member)), "{member}");
        let sent = kit.net.take_sent();
        assert!(!presented(&sent) && gave_back(&sent), "{member}");
    }
    // What is not said, or is about something else, contradicts nothing.
    for details in [Value::Null, json!([]), json!([{"type": "other", "merchant": "https://evil.example"}])] {
        let kit = Kit::new().await;
        kit.net.lie(move |endpoint, _| match endpoint.url().path() {
            "/oauth/token" => {
                let details = details.clone();
                Act::Change(Box::new(move |answer| {
                    with_json(answer, |reply| drop(reply.insert("authorization_details".into(), details)))
                }))
            }
            _ => Act::Pass,
        });
        let outcome = kit.client.pay(&kit.socks(), &MemoryJournal::default()).await.unwrap();
        assert!(matches!(outcome, Outcome::Settled(_)), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_mandate_whose_line_costs_something_else_is_refused() {
    let kit = Kit::new().await;
    forge_tokens(&kit, &Forger::new(Alg::EdDsa), |forger, reply| {
        reply.insert("access_token".into(), resigned_access_token(forger, reply, "at+jwt", |_| {}));
        let mandate = resigned_mandate(forger, reply, "vc+sd-jwt", |claims| {
            claims["authorization_details"][0]["line_items"][0]["unit_price_minor"] = json!(1300);
        });
        reply.insert("mandate_jwt".into(), mandate);
    });
    let lines = vec![LineItem::new(kit::SOCK, 1).with_unit_price_minor(1299)];
    let order = kit.order(&kit.merchant(Alg::EdDsa), 1299, lines);
    let error = kit.client.pay(&order, &MemoryJournal::default()).await.unwrap_err();
    let Error::PeerMisbehaved(misbehaviour) = error else { panic!("{error:?}") };
    assert_eq!((misbehaviour.what(), misbehaviour.why()), (Artefact::Mandate, &Why::Mismatch("unit_price_minor")));
    let sent = kit.net.take_sent();
    assert!(!presented(&sent) && gave_back(&sent));
}

#[tokio::test]
async fn a_settlement_that_leaves_more_of_the_cap_than_there_was_is_not_believed_in_that() {
    for (claimed, kept) in [(0, Some(0)), (1, None), (1299, None), (u64::MAX, None)] {
        let kit = Kit::new().await;
        kit.net.lie(move |endpoint, _| match endpoint.url().path() {
            "/verify-mandate" => Act::Change(Box::new(move |answer| {
                with_json(answer, |reply| {
                    if reply.contains_key("settled_at") {
                        reply.insert("spend_cap_remaining_minor".into(), json!(claimed));
                    }
                })
            })),
            _ => Act::Pass,
        });
        let outcome = kit.client.pay(&kit.socks(), &MemoryJournal::default()).await.unwrap();
        let Outcome::Settled(payment) = outcome else { panic!("{outcome:?}") };
        assert_eq!(payment.settlement.spend_cap_remaining_minor, kept, "{claimed}");
    }
}

#[tokio::test]
async fn a_mandate_of_another_typ_or_with_bad_disclosures_is_refused() {
    let kit = Kit::new().await;
    forge_tokens(&kit, &Forger::new(Alg::EdDsa), |forger, reply| {
        reply.insert("access_token".into(), resigned_access_token(forger, reply, "at+jwt", |_| {}));
        reply.insert("mandate_jwt".into(), resigned_mandate(forger, reply, "at+jwt", |_| {}));
    });
    let why = refusal(&kit).await.1;
    assert_eq!(why, sd_jwt::VerifyError::Jws(JwsError::TypMismatch).into());

    let kit = Kit::new().await;
    kit.net.lie(|endpoint, _| match endpoint.url().path() {
        "/oauth/token" => Act::Change(Box::new(|answer| {
            with_json(answer, |reply| {
                let forged = format!("{}WyJzYWx0IiwgImFkbWluIiwgdHJ1ZV0~", reply["mandate_jwt"].as_str().unwrap());
                reply.insert("mandate_jwt".into(), forged.into());
            })
        })),
        _ => Act::Pass,
    });
    let (what, why) = refusal(&kit).await;
    assert_eq!(what, Artefact::Mandate);
    assert!(matches!(why, Why::SdJwt(sd_jwt::VerifyError::UnreferencedDisclosure { .. })), "{why:?}");
}

#[tokio::test]
async fn an_authorization_response_that_does_not_hold_is_refused_before_the_code_is_used() {
    fn redirect(change: fn(&mut Vec<(String, String)>)) -> impl Fn(http::Response<Bytes>) -> http::Response<Bytes> {
        move |mut answer| {
            let location = answer.headers()["location"].to_str().unwrap().to_owned();
            let mut url = url::Url::parse(&location).unwrap();
            let mut pairs: Vec<_> = url.query_pairs().into_owned().collect();
            change(&mut pairs);
            url.query_pairs_mut().clear().extend_pairs(pairs);
            answer.headers_mut().insert("location", url.as_str().parse().unwrap());
            answer
        }
    }
    type Change = fn(&mut Vec<(String, String)>);
    fn set(pairs: &mut [(String, String)], name: &str, value: &str) {
        pairs.iter_mut().filter(|(n, _)| n == name).for_each(|(_, v)| value.clone_into(v));
    }
    let rows: [(&str, Change, Why); 6] = [
        ("state", |p| set(p, "state", "other"), Why::Mismatch("state")),
        ("no state", |p| p.retain(|(n, _)| n != "state"), Why::Mismatch("state")),
        ("iss", |p| set(p, "iss", "https://evil.example"), Why::Mismatch("iss")),
        ("no iss", |p| p.retain(|(n, _)| n != "iss"), Why::Mismatch("iss")),
        ("no code", |p| p.retain(|(n, _)| n != "code"), Why::Member("code")),
        ("code twice", |p| p.push(("code".into(), "other".into())), Why::Mismatch("state")),
    ];
    for (name, change, why) in rows {
        let kit = Kit::new().await;
        kit.net.lie(move |endpoint, _| match endpoint.url().path() {
            "/oauth/authorize" => Act::Change(Box::new(redirect(change))),
            _ => Act::Pass,
        });
        assert_eq!(refusal(&kit).await, (Artefact::AuthorizationResponse, why), "{name}");
        assert!(!kit.net.take_sent().contains(&"POST /oauth/token".to_owned()), "{name}");
    }
    let kit = Kit::new().await;
    kit.net.lie(|endpoint, _| match endpoint.url().path() {
        "/oauth/authorize" => Act::Change(Box::new(redirect(|p| {
            p.retain(|(n, _)| n != "code");
            p.push(("error".into(), "access_denied".into()));
        }))),
        _ => Act::Pass,
    });
    let journal = MemoryJournal::default();
    assert!(matches!(kit.client.pay(&kit.socks(), &journal).await, Ok(Outcome::Declined)));
}

#[tokio::test]
async fn a_token_answer_that_does_not_hold_is_refused_and_given_back() {
    let kit = Kit::new().await;
    kit.net.lie(kit::edit_json("/oauth/token", |reply| drop(reply.insert("token_type".into(), json!("Bearer")))));
    assert_eq!(refusal(&kit).await, (Artefact::TokenResponse, Why::Mismatch("token_type")));
    assert!(gave_back(&kit.net.take_sent()));

    kit.net.lie(kit::edit_json("/oauth/token", |reply| drop(reply.insert("scope".into(), json!("openid")))));
    assert_eq!(refusal(&kit).await, (Artefact::TokenResponse, Why::Scope("payment:initiate".to_owned())));
    assert!(gave_back(&kit.net.take_sent()));

    kit.net.lie(kit::edit_json("/oauth/token", |reply| drop(reply.remove("mandate_jwt"))));
    let outcome = kit.client.pay(&kit.socks(), &MemoryJournal::default()).await;
    assert!(matches!(outcome, Ok(Outcome::Declined)), "{outcome:?}");
    assert!(gave_back(&kit.net.take_sent()));

    kit.net.lie(|endpoint, _| match endpoint.url().path() {
        "/oauth/token" => Act::Answer(kit::answer(200, "text/html", "<h1>hello</h1>")),
        _ => Act::Pass,
    });
    assert!(matches!(refusal(&kit).await, (Artefact::TokenResponse, Why::Json(_))));
}

#[tokio::test]
async fn metadata_that_does_not_hold_is_refused_and_what_is_missing_is_named() {
    type Expected = fn(&Error) -> bool;
    let rows: [(&str, Edit, Expected); 6] = [
        (
            "issuer",
            |m| drop(m.insert("issuer".into(), json!("https://evil.example"))),
            |e| matches!(e, Error::PeerMisbehaved(m) if *m.why() == Why::Mismatch("issuer")),
        ),
        (
            "token endpoint elsewhere",
            |m| drop(m.insert("token_endpoint".into(), json!("http://127.0.0.1:1/token"))),
            |e| matches!(e, Error::PeerMisbehaved(m) if *m.why() == Why::Origin("token_endpoint")),
        ),
        (
            "no PAR",
            |m| drop(m.remove("pushed_authorization_request_endpoint")),
            |e| matches!(e, Error::PeerIncompatible(Incompatibility::MissingMember(name)) if name.starts_with("pushed")),
        ),
        (
            "no S256",
            |m| drop(m.insert("code_challenge_methods_supported".into(), json!(["plain"]))),
            |e| matches!(e, Error::PeerIncompatible(Incompatibility::MissingValue { value: "S256", .. })),
        ),
        (
            "no private_key_jwt",
            |m| drop(m.remove("token_endpoint_auth_methods_supported")),
            |e| matches!(e, Error::PeerIncompatible(Incompatibility::MissingValue { value: "private_key_jwt", .. })),
        ),
        (
            "no consent modes",
            |m| drop(m.remove("oid4ac_consent_modes_supported")),
            |e| matches!(e, Error::Misuse(Misuse::RedirectUriNotLoopback)),
        ),
    ];
    for (name, edit, expected) in rows {
        let kit = Kit::new().await;
        // A client of its own, for the kit's has the good metadata in its cache.
        let client = oid4ac_client::Client::builder(kit.sandbox.as_origin())
            .unwrap()
            .http(Arc::clone(&kit.net) as Arc<dyn oid4ac_client::HttpClient>)
            .build();
        kit.net.lie(kit::edit_json("/.well-known/oauth-authorization-server", edit));
        let token = oid4ac_client::SetupToken::new(kit.sandbox.setup_token().unwrap());
        let registered = client.register(&oid4ac_client::RegisterRequest::new(token, [kit::CALLBACK])).await;
        let error = match registered {
            Err(error) => error,
            Ok(_) => client.pay(&kit.socks(), &MemoryJournal::default()).await.unwrap_err(),
        };
        assert!(expected(&error), "{name}: {error:?}");
        assert!(!kit.net.take_sent().contains(&"POST /oauth/par".to_owned()), "{name}");
    }
}

#[tokio::test]
async fn a_body_over_the_cap_is_not_read() {
    let kit = Kit::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/big", listener.local_addr().unwrap());
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let (mut stream, _) = listener.accept().await.unwrap();
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
        while stream.write_all(format!("10000\r\n{}\r\n", "x".repeat(0x10000)).as_bytes()).await.is_ok() {}
    });
    let real =
        oid4ac_client::ReqwestClient::for_issuer(&oid4ac_client::Origin::of(kit.sandbox.as_origin()).unwrap(), []);
    let endpoint = oid4ac_client::Endpoint::parse(&url).unwrap();
    let request = http::Request::new(Bytes::new());
    let limits = oid4ac_client::Limits::ANSWER;
    let sent = oid4ac_client::HttpClient::send(&real, &endpoint, request, limits).await;
    assert_eq!(sent.unwrap_err(), TransportError::TooLarge { limit: limits.body_octets });
}

/// The directory is on `localhost`, say, and an agent names another port of it as the authorization server.
#[tokio::test]
async fn a_trusted_origin_opens_no_other_port_of_its_host() {
    let listen = async || {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _request = stream.read(&mut [0; 4096]).await;
                let _sent =
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
            }
        });
        port
    };
    let (trusted, other) = (listen().await, listen().await);
    for host in ["localhost", "127.0.0.1"] {
        let origin = |port: u16| format!("http://{host}:{port}");
        let only = [oid4ac_client::Origin::of(&origin(trusted)).unwrap()];
        let client = oid4ac_client::ReqwestClient::new(oid4ac_client::AddressPolicy::GlobalOnly, only);
        let send = async |port: u16| {
            let endpoint = oid4ac_client::Endpoint::parse(&format!("{}/x", origin(port))).unwrap();
            let request = http::Request::new(Bytes::new());
            oid4ac_client::HttpClient::send(&client, &endpoint, request, oid4ac_client::Limits::ANSWER).await
        };
        // In both orders: what was let through once opens nothing either.
        for _ in 0..2 {
            assert_eq!(send(other).await.unwrap_err(), TransportError::ForbiddenAddress, "{host}");
            assert_eq!(send(trusted).await.unwrap().status(), 200, "{host}");
        }
    }
}

/// The merchant's answer, changed and signed again by the forger as the merchant would.
struct Resign {
    components: &'static [&'static str],
    created: i64,
    expires: i64,
    nonce: Option<&'static str>,
    keep_digest: bool,
    edit: Edit,
}

const ALL: &[&str] = &["@method", "@target-uri", "@authority", "content-type", "content-digest"];

impl Resign {
    const GOOD: Self = Self {
        components: ALL,
        created: 0,
        expires: 300,
        nonce: Some("AAAAAAAAAAAAAAAAAAAAAA"),
        keep_digest: false,
        edit: |_| {},
    };

    fn apply(&self, forger: &Forger, url: &str, answer: http::Response<Bytes>) -> http::Response<Bytes> {
        let mut answer = with_json(answer, self.edit);
        if !self.keep_digest {
            let digest = ContentDigest::field_value(answer.body(), &[DigestAlg::Sha256]);
            answer.headers_mut().insert("content-digest", digest.parse().unwrap());
        }
        let now = jose::Clock::now(&oid4ac_client::SystemClock);
        let none = http::HeaderMap::new();
        let request = Message::request("GET", url, &none).unwrap();
        let body = answer.body().clone();
        let message = Message::response(200, answer.headers()).unwrap().in_reply_to(&request);
        let message = message.danger_allow_missing_req().with_body(&body);
        let mut builder = SignatureBuilder::new("sig1").unwrap();
        for name in self.components {
            builder = builder.component(Component::parse(name).unwrap());
        }
        builder = builder.created(now + self.created).expires(now + self.expires);
        if let Some(nonce) = self.nonce {
            builder = builder.nonce(nonce).unwrap();
        }
        let signed = builder.keyid(forger.kid()).unwrap().alg().sign(&message, forger.key()).unwrap();
        let (input, signature) = (signed.signature_input().parse().unwrap(), signed.signature().parse().unwrap());
        answer.headers_mut().insert("signature-input", input);
        answer.headers_mut().insert("signature", signature);
        answer
    }
}

async fn offer_refusal(resign: Resign) -> Why {
    let kit = Kit::new().await;
    let forger = Forger::new(Alg::EdDsa);
    let resign = Arc::new(resign);
    kit.net.lie(move |endpoint, _| match endpoint.url().path() {
        "/.well-known/jwks.json" => Act::Answer(forger.jwks()),
        path if path.starts_with("/oid4ac/offer/") => {
            let (url, resign, forger) = (endpoint.url().as_str().to_owned(), Arc::clone(&resign), forger.clone());
            Act::Change(Box::new(move |answer| resign.apply(&forger, &url, answer)))
        }
        "/verify-mandate" => Act::Answer(kit::answer(404, "text/plain", "")),
        _ => Act::Pass,
    });
    match kit.client.pay(&kit.socks(), &MemoryJournal::default()).await {
        Err(Error::PeerMisbehaved(misbehaviour)) => {
            assert_eq!(misbehaviour.what(), Artefact::Offer);
            assert!(!kit.net.take_sent().contains(&"POST /oauth/par".to_owned()));
            misbehaviour.why().clone()
        }
        // The forged offer was believed; the real AS and merchant do not matter here.
        Err(Error::Server(error)) if error.stage() == Stage::VerifyMandate => panic!("believed"),
        other => panic!("{other:?}"),
    }
}

fn label_error(why: Why) -> LabelError {
    match why {
        Why::HttpSignature(VerifyError::Refused(refusals)) => refusals[0].reason.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_offer_signature_that_breaks_one_rule_is_refused_for_that_rule() {
    for missing in ALL {
        let without: Vec<&'static str> = ALL.iter().copied().filter(|name| name != missing).collect();
        let why = offer_refusal(Resign { components: without.leak(), ..Resign::GOOD }).await;
        assert!(matches!(label_error(why), LabelError::NotCovered(c) if c.name() == *missing), "{missing}");
    }
    let why = offer_refusal(Resign { nonce: None, ..Resign::GOOD }).await;
    assert_eq!(label_error(why), LabelError::MissingParam("nonce"));
    let why = offer_refusal(Resign { nonce: Some("short"), ..Resign::GOOD }).await;
    assert_eq!(why, Why::Member("nonce"));
    let why = offer_refusal(Resign { created: -310, expires: -10, ..Resign::GOOD }).await;
    assert!(matches!(label_error(why), LabelError::Expired { .. }));
    let why = offer_refusal(Resign { created: 120, expires: 300, ..Resign::GOOD }).await;
    assert!(matches!(label_error(why), LabelError::CreatedInFuture { .. }));
    let why = offer_refusal(Resign { expires: 301, ..Resign::GOOD }).await;
    assert!(matches!(label_error(why), LabelError::Lifetime { .. }));
    let why =
        offer_refusal(Resign { keep_digest: true, edit: |o| drop(o.insert("x".into(), json!(1))), ..Resign::GOOD })
            .await;
    assert!(matches!(why, Why::HttpSignature(VerifyError::Digest(DigestError::Mismatch(_)))), "{why:?}");
}

#[tokio::test]
async fn an_offer_of_another_price_currency_or_article_is_refused() {
    let rows: [(Edit, Why); 7] = [
        (|o| drop(o.insert("amount_minor".into(), json!(1300))), Why::Price { signed: 1300, asked: 1299 }),
        (|o| drop(o.insert("amount_minor".into(), json!(1298))), Why::Price { signed: 1298, asked: 1299 }),
        (|o| drop(o.insert("amount_minor".into(), json!("1299"))), Why::Member("amount_minor")),
        (|o| drop(o.insert("currency".into(), json!("USD"))), Why::Currency),
        (|o| drop(o.insert("sku".into(), json!("other"))), Why::Mismatch("sku")),
        (|o| drop(o.insert("in_stock".into(), json!(false))), Why::OutOfStock),
        (|o| drop(o.remove("in_stock")), Why::Member("in_stock")),
    ];
    for (edit, why) in rows {
        assert_eq!(offer_refusal(Resign { edit, ..Resign::GOOD }).await, why);
    }
}

#[tokio::test]
async fn an_unsigned_changed_or_foreign_offer_is_refused() {
    for header in ["signature", "signature-input", "content-digest"] {
        let kit = Kit::new().await;
        kit.net.lie(move |endpoint, _| match endpoint.url().path().starts_with("/oid4ac/offer/") {
            true => Act::Change(Box::new(move |mut answer| {
                answer.headers_mut().remove(header);
                answer
            })),
            false => Act::Pass,
        });
        assert!(matches!(refusal(&kit).await, (Artefact::Offer, Why::HttpSignature(_))), "{header}");
    }
    let kit = Kit::new().await;
    kit.net.lie(|endpoint, _| match endpoint.url().path().starts_with("/oid4ac/offer/") {
        true => Act::Change(Box::new(|answer| with_json(answer, |o| drop(o.insert("name".into(), json!("x")))))),
        false => Act::Pass,
    });
    let (_, why) = refusal(&kit).await;
    assert!(matches!(why, Why::HttpSignature(VerifyError::Digest(DigestError::Mismatch(_)))), "{why:?}");

    let kit = Kit::new().await;
    let forger = Forger::new(Alg::EdDsa);
    kit.net.lie(move |endpoint, _| match endpoint.url().path() {
        "/.well-known/jwks.json" => Act::Answer(forger.jwks()),
        _ => Act::Pass,
    });
    let (_, why) = refusal(&kit).await;
    assert!(matches!(label_error(why), LabelError::UnknownKey(_)));
    let sent = kit.net.take_sent();
    let fetches = sent.iter().filter(|request| *request == "GET /.well-known/jwks.json").count();
    assert_eq!(fetches, 1, "a set just fetched is not fetched again: {sent:?}");
}

#[tokio::test]
async fn an_offer_that_is_nowhere_is_missing_and_any_other_failure_is_a_refusal() {
    let kit = Kit::new().await;
    kit.net.lie(|endpoint, _| match endpoint.url().path() {
        path if path.contains("/offer/") || path.contains("/products/") => {
            Act::Answer(kit::answer(404, "text/plain", ""))
        }
        _ => Act::Pass,
    });
    let error = kit.client.pay(&kit.socks(), &MemoryJournal::default()).await.unwrap_err();
    assert_eq!(error.code(), "offer_missing");
    kit.net.lie(|endpoint, _| match endpoint.url().path().contains("/offer/") {
        true => Act::Answer(kit::answer(500, "text/plain", "")),
        false => Act::Pass,
    });
    let error = kit.client.pay(&kit.socks(), &MemoryJournal::default()).await.unwrap_err();
    assert!(matches!(error, Error::Server(e) if e.stage() == Stage::Offer && e.status() == 500));
}

#[tokio::test]
async fn a_receipt_that_does_not_hold_is_reported_and_the_payment_stays_settled() {
    fn forged(edit: Edit) -> impl Fn(&Forger, http::Response<Bytes>) -> http::Response<Bytes> {
        move |forger, answer| {
            with_json(answer, |reply| {
                // The first answer asks for a DPoP nonce.
                let Some(receipt) = reply.get("receipt_jws") else { return };
                let (_, mut claims) = take_apart(receipt.as_str().unwrap());
                edit(&mut claims);
                reply.insert("receipt_jws".into(), forger.sign("oid4ac-receipt+jwt", &claims).into());
            })
        }
    }
    let rows: [(Edit, &str); 8] = [
        (|c| drop(c.insert("amount_minor".into(), json!(1300))), "amount_minor"),
        (|c| drop(c.insert("currency".into(), json!("USD"))), "currency"),
        (|c| drop(c.insert("iss".into(), json!("https://evil.example"))), "iss"),
        (|c| drop(c.insert("mandate_id".into(), json!("other"))), "mandate_id"),
        (|c| drop(c.insert("idempotency_key".into(), json!("other"))), "idempotency_key"),
        (|c| drop(c.insert("payment_intent_id".into(), json!("other"))), "payment_intent_id"),
        (|c| drop(c.insert("offer_digest".into(), json!("other"))), "offer_digest"),
        (|c| drop(c.remove("settled_at")), "settled_at"),
    ];
    for (edit, named) in rows {
        let kit = Kit::new().await;
        let forger = Forger::new(Alg::EdDsa);
        let settled = std::sync::atomic::AtomicBool::new(false);
        kit.net.lie(move |endpoint, _| match endpoint.url().path() {
            "/.well-known/jwks.json" if settled.load(std::sync::atomic::Ordering::Relaxed) => {
                Act::Answer(forger.jwks())
            }
            "/verify-mandate" => {
                settled.store(true, std::sync::atomic::Ordering::Relaxed);
                let (forger, forge) = (forger.clone(), forged(edit));
                Act::Change(Box::new(move |answer| forge(&forger, answer)))
            }
            _ => Act::Pass,
        });
        let outcome = kit.client.pay(&kit.socks(), &MemoryJournal::default()).await.unwrap();
        let Outcome::Settled(payment) = outcome else { panic!("{named}: {outcome:?}") };
        let verdict = format!("{:?}", payment.settlement.receipt);
        assert!(!payment.settlement.receipt.is_verified() && verdict.contains(named), "{named}: {verdict}");
    }
}

/// A merchant that may charge more than the order, and signs that it did, is taken at its word.
#[tokio::test]
async fn a_receipt_for_more_of_the_cap_than_the_order_says_what_was_taken() {
    for (charged_minor, said_left, left) in [(2000, 701, 0), (1500, 0, 500), (1299, 0, 701)] {
        let config = SandboxConfig::new().consent_mode(ConsentMode::Dashboard).mandate_cap_minor(2000);
        let kit = Kit::with(config).await;
        let forger = Forger::new(Alg::EdDsa);
        let settled = std::sync::atomic::AtomicBool::new(false);
        kit.net.lie(move |endpoint, _| match endpoint.url().path() {
            "/.well-known/jwks.json" if settled.load(std::sync::atomic::Ordering::Relaxed) => {
                Act::Answer(forger.jwks())
            }
            "/verify-mandate" => {
                settled.store(true, std::sync::atomic::Ordering::Relaxed);
                let forger = forger.clone();
                Act::Change(Box::new(move |answer| {
                    with_json(answer, |reply| {
                        let Some(receipt) = reply.get("receipt_jws") else { return };
                        let (_, mut claims) = take_apart(receipt.as_str().unwrap());
                        claims.insert("amount_minor".into(), json!(charged_minor));
                        reply.insert("receipt_jws".into(), forger.sign("oid4ac-receipt+jwt", &claims).into());
                        reply.insert("spend_cap_remaining_minor".into(), json!(said_left));
                    })
                }))
            }
            _ => Act::Pass,
        });
        let (order, journal) = (kit.socks().with_cap_up_to_minor(2000), MemoryJournal::default());
        let mut outcome = kit.client.pay(&order, &journal).await.unwrap();
        let Outcome::Consent(consent) = &outcome else { panic!("{outcome:?}") };
        kit.sandbox.decide(&consent.url, &kit.sandbox.principals()[0].id, ConsentDecision::Approve).unwrap();
        while matches!(outcome, Outcome::Consent(_)) {
            tokio::time::sleep(std::time::Duration::from_millis(250)).await;
            outcome = kit.client.pay(&order, &journal).await.unwrap();
        }
        let Outcome::Settled(payment) = outcome else { panic!("{outcome:?}") };
        let Settlement { receipt, spend_cap_remaining_minor, .. } = &payment.settlement;
        assert_eq!(
            (receipt.is_verified(), *spend_cap_remaining_minor),
            (charged_minor == 1299, Some(left)),
            "{receipt:?}"
        );
    }
}
