//! What is vague on the wire and harmless ends no payment; what money or identity depends on stays exact.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod kit;

use std::io::Write as _;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use jose::Alg;
use kit::{Act, CALLBACK, Kit, with_json};
use oid4ac_client::{
    Artefact, Error, MemoryJournal, MerchantFilter, Outcome, RegisterRequest, SetupToken, TransportError, Why,
};
use sandbox::{ConsentMode, SandboxConfig};
use serde_json::{Map, Value, json};

type Answer = Response<Bytes>;
type Edit = fn(&mut Map<String, Value>);
type Spoil = fn(Answer) -> Answer;

/// Changes every answer to a path that ends so.
fn change(kit: &Kit, path: &'static str, change: impl Fn(Answer) -> Answer + Send + Sync + 'static) {
    let change = Arc::new(change);
    kit.net.lie(move |endpoint, _| {
        let change = Arc::clone(&change);
        match endpoint.url().path().ends_with(path) {
            true => Act::Change(Box::new(move |answer| change(answer))),
            false => Act::Pass,
        }
    });
}

async fn pay(kit: &Kit) -> Result<Outcome, Error> {
    kit.client.pay(&kit.socks(), &MemoryJournal::default()).await
}

async fn settles(kit: &Kit, what: &str) {
    match pay(kit).await {
        Ok(Outcome::Settled(payment)) => assert!(payment.settlement.receipt.is_verified(), "{what}: {payment:?}"),
        other => panic!("{what}: {other:?}"),
    }
}

async fn refusal(kit: &Kit) -> (Artefact, Why) {
    match pay(kit).await {
        Err(Error::PeerMisbehaved(misbehaviour)) => (misbehaviour.what(), misbehaviour.why().clone()),
        other => panic!("not refused: {other:?}"),
    }
}

fn presented(sent: &[String]) -> bool {
    sent.iter().any(|request| request == "POST /verify-mandate")
}

fn with_body(answer: Answer, change: impl FnOnce(&[u8]) -> Vec<u8>) -> Answer {
    let (parts, body) = answer.into_parts();
    let body = if body.is_empty() { body } else { Bytes::from(change(&body)) };
    Response::from_parts(parts, body)
}

fn with_text(answer: Answer, change: impl FnOnce(&str) -> String) -> Answer {
    with_body(answer, |body| change(std::str::from_utf8(body).unwrap()).into_bytes())
}

fn gzip(octets: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(octets).unwrap();
    encoder.finish().unwrap()
}

fn gzipped(answer: Answer) -> Answer {
    let mut answer = with_body(answer, gzip);
    answer.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    answer
}

fn coded(coding: &'static str) -> impl Fn(Answer) -> Answer {
    move |mut answer| {
        answer.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
        answer
    }
}

#[tokio::test]
async fn a_token_that_ends_after_so_many_seconds_may_say_so_in_three_forms_or_not_at_all() {
    for value in [json!("300"), json!(300.0), json!("300.0"), Value::Null] {
        let kit = Kit::new().await;
        let name = value.to_string();
        change(&kit, "/oauth/token", move |answer| {
            with_json(answer, |reply| drop(reply.insert("expires_in".into(), value.clone())))
        });
        settles(&kit, &name).await;
    }
}

#[tokio::test]
async fn a_consent_may_write_its_seconds_in_three_forms() {
    for value in [json!("7"), json!(7.0), json!(7)] {
        let kit = Kit::with(SandboxConfig::new().consent_mode(ConsentMode::Dashboard)).await;
        kit.net.lie(move |endpoint, _| {
            let path = endpoint.url().path();
            let value = value.clone();
            match path.starts_with("/oauth/") && !path.ends_with("jwks.json") {
                true => Act::Change(Box::new(move |answer| {
                    with_json(answer, |reply| {
                        if reply.contains_key("interval") {
                            reply.insert("interval".into(), value);
                        }
                        if let Some(seconds) = reply.get("expires_in").and_then(Value::as_i64) {
                            reply.insert("expires_in".into(), json!(seconds.to_string()));
                        }
                    })
                })),
                false => Act::Pass,
            }
        });
        let (order, journal) = (kit.socks(), MemoryJournal::default());
        for _ in 0..2 {
            let outcome = kit.client.pay(&order, &journal).await.unwrap();
            let Outcome::Consent(consent) = outcome else { panic!("{outcome:?}") };
            assert_eq!(consent.interval_seconds, 7);
        }
    }
}

#[tokio::test]
async fn every_request_asks_for_an_answer_that_is_not_coded() {
    let kit = Kit::unregistered(SandboxConfig::new()).await;
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    kit.net.lie(move |endpoint, request| {
        let coding = request.headers().get(ACCEPT_ENCODING).map(|value| value.to_str().unwrap().to_owned());
        log.lock().unwrap().push((endpoint.url().path().to_owned(), coding));
        Act::Pass
    });
    let token = SetupToken::new(kit.sandbox.setup_token().unwrap());
    kit.client.register(&RegisterRequest::new(token, [CALLBACK])).await.unwrap();
    settles(&kit, "asked for").await;
    kit.client.merchants(&MerchantFilter::default()).await.unwrap();
    kit.client.catalog_preview("merch_alpacanica").await.unwrap();
    let asked = asked.lock().unwrap();
    assert!(asked.len() >= 10, "{asked:?}");
    let other: Vec<_> = asked.iter().filter(|(_, coding)| coding.as_deref() != Some("identity")).collect();
    assert!(other.is_empty(), "{other:?}");
}

#[tokio::test]
async fn an_answer_that_was_coded_unasked_is_decoded_where_its_octets_are_not_what_is_signed() {
    for path in [
        "/.well-known/oauth-authorization-server",
        "/oauth/register",
        "/oauth/jwks.json",
        "/.well-known/jwks.json",
        "/oauth/par",
        "/oauth/authorize",
        "/oauth/token",
    ] {
        let kit = Kit::unregistered(SandboxConfig::new()).await;
        change(&kit, path, gzipped);
        let token = SetupToken::new(kit.sandbox.setup_token().unwrap());
        kit.client.register(&RegisterRequest::new(token, [CALLBACK])).await.unwrap();
        settles(&kit, path).await;
    }
    // A settlement is one however it is coded.
    let kit = Kit::new().await;
    change(&kit, "/verify-mandate", |answer| if answer.status() == StatusCode::OK { gzipped(answer) } else { answer });
    settles(&kit, "settlement").await;
    // `identity` is no coding.
    let kit = Kit::new().await;
    kit.net.lie(|_, _| Act::Change(Box::new(coded("identity"))));
    settles(&kit, "identity").await;
}

#[tokio::test]
async fn a_coded_offer_and_one_that_cannot_be_decoded_are_refused_before_anything_is_presented() {
    let offer: (&str, Spoil) = ("/oid4ac/offer/alpaca-sock-blue-43", gzipped);
    for (path, how) in [
        offer,
        ("/oauth/token", |answer| coded("br")(answer)),
        ("/oauth/token", |answer| coded("gzip, br")(answer)),
        ("/oauth/token", |answer| coded("gzip")(answer)),
        ("/oauth/par", |answer| coded("deflate")(answer)),
        ("/oauth/token", |answer| with_body(gzipped(answer), |body| [body, b"x"].concat())),
        ("/oauth/token", |answer| with_body(gzipped(answer), |body| body[..body.len() - 9].to_vec())),
    ] {
        let kit = Kit::new().await;
        change(&kit, path, move |answer| if answer.status().is_success() { how(answer) } else { answer });
        let error = pay(&kit).await.unwrap_err();
        assert!(matches!(error, Error::Transport { error: TransportError::Encoded, .. }), "{path}: {error:?}");
        assert!(!error.is_retryable() && error.code() == "answer_encoded");
        assert!(!presented(&kit.net.take_sent()), "{path}");
    }
    // Nor does a small answer become a large one.
    let kit = Kit::new().await;
    change(&kit, "/oauth/token", |answer| match answer.status() {
        StatusCode::OK => gzipped(with_text(answer, |text| text.to_owned() + &" ".repeat(300_000))),
        _ => answer,
    });
    let error = pay(&kit).await.unwrap_err();
    assert!(matches!(error, Error::Transport { error: TransportError::TooLarge { .. }, .. }), "{error:?}");
}

/// A coded answer to a presentation that is no settlement says nothing, whatever its status and its code.
#[tokio::test]
async fn a_coded_answer_to_a_presentation_is_never_a_refusal() {
    let rows: [(u16, &str, Spoil); 5] = [
        (422, r#"{"error":"offer_out_of_stock"}"#, gzipped),
        (422, r#"{"error":"offer_out_of_stock"}"#, |answer| coded("br")(answer)),
        (403, "<h1>no</h1>", gzipped),
        (400, r#"{"error":"invalid_request"}"#, gzipped),
        (200, "not readable", |answer| coded("br")(answer)),
    ];
    for (status, body, how) in rows {
        let kit = Kit::new().await;
        change(&kit, "/verify-mandate", move |answer| match answer.status() {
            StatusCode::OK => how(kit::answer(status, "application/json", body)),
            _ => answer,
        });
        let (order, journal) = (kit.socks(), MemoryJournal::default());
        let outcome = kit.client.pay(&order, &journal).await;
        let Ok(Outcome::Unknown(in_flight)) = outcome else { panic!("{status} {body}: {outcome:?}") };
        assert_eq!(in_flight.last.code(), "answer_encoded");
        kit.net.be_honest();
        assert!(matches!(kit.client.pay(&order, &journal).await, Ok(Outcome::Settled(_))));
        assert_eq!(kit.settlements(&kit.merchant(Alg::EdDsa)).await.len(), 1);
    }
}

#[tokio::test]
async fn an_error_whose_status_is_enough_may_be_coded() {
    let kit = Kit::new().await;
    kit.net.lie(|endpoint, _| match endpoint.url().path().starts_with("/oid4ac/offer/") {
        true => Act::Answer(coded("br")(kit::answer(404, "text/html", "nothing here"))),
        false => Act::Pass,
    });
    // The offer is at the second place.
    settles(&kit, "404").await;
}

#[tokio::test]
async fn a_nonce_that_is_given_twice_is_one_and_two_nonces_are_none() {
    fn twice(nonce: impl Fn(&str) -> Vec<String>) -> impl Fn(Answer) -> Answer {
        move |mut answer| {
            if let Some(given) = answer.headers_mut().remove("dpop-nonce") {
                for line in nonce(given.to_str().unwrap()) {
                    answer.headers_mut().append("dpop-nonce", line.parse().unwrap());
                }
            }
            answer
        }
    }
    let kit = Kit::new().await;
    change(&kit, "", twice(|nonce| vec![nonce.to_owned(), nonce.to_owned()]));
    settles(&kit, "two lines").await;
    let kit = Kit::new().await;
    change(&kit, "", twice(|nonce| vec![format!("{nonce}, {nonce}")]));
    settles(&kit, "joined").await;
    let kit = Kit::new().await;
    change(&kit, "", twice(|nonce| vec![nonce.to_owned(), format!("{nonce}x")]));
    let error = pay(&kit).await.unwrap_err();
    assert!(matches!(error, Error::Server(e) if e.error() == Some("use_dpop_nonce")));
}

#[tokio::test]
async fn optional_metadata_may_be_null() {
    let kit = Kit::new().await;
    change(&kit, "/oauth-authorization-server", |answer| {
        with_json(answer, |metadata| {
            for name in [
                "revocation_endpoint",
                "introspection_endpoint",
                "registration_endpoint",
                "wallet_agents_endpoint",
                "dsar_endpoint",
                "audit_endpoint",
                "authorization_response_iss_parameter_supported",
                "token_endpoint_auth_signing_alg_values_supported",
                "dpop_signing_alg_values_supported",
                "scopes_supported",
            ] {
                metadata.insert(name.into(), Value::Null);
            }
            metadata["code_challenge_methods_supported"] = json!([null, "S256", 5]);
        })
    });
    settles(&kit, "null").await;
    // What is needed is missing when it is null.
    let rows = ["token_endpoint", "code_challenge_methods_supported", "jwks_uri"];
    for name in rows {
        let kit = Kit::unregistered(SandboxConfig::new()).await;
        change(&kit, "/oauth-authorization-server", move |answer| {
            with_json(answer, |metadata| drop(metadata.insert(name.into(), Value::Null)))
        });
        let error = kit.client.check_server().await.unwrap_err();
        assert_eq!(error.code(), "as_incompatible", "{name}");
    }
}

#[tokio::test]
async fn a_key_set_with_nulls_and_entries_that_are_no_keys_serves() {
    let kit = Kit::new().await;
    change(&kit, "jwks.json", |answer| {
        let written = with_json(answer, |set| {
            for key in set["keys"].as_array_mut().unwrap() {
                for name in ["use", "key_ops", "alg", "d", "p", "k", "x5c", "oid4ac_use"] {
                    let members = key.as_object_mut().unwrap();
                    members.entry(name).or_insert(Value::Null);
                }
            }
        });
        with_text(written, |text| text.replacen('[', r#"[null,7,"x",[],{},{"kty":"OKP","kty":"EC"},"#, 1))
    });
    settles(&kit, "key sets").await;
}

#[tokio::test]
async fn a_byte_order_mark_before_json_is_no_part_of_it() {
    let kit = Kit::unregistered(SandboxConfig::new()).await;
    kit.net.lie(|endpoint, _| match endpoint.url().path().starts_with("/oid4ac/offer/") {
        // What is signed is the octets.
        true => Act::Pass,
        false => Act::Change(Box::new(|answer| with_body(answer, |body| [b"\xef\xbb\xbf", body].concat()))),
    });
    let token = SetupToken::new(kit.sandbox.setup_token().unwrap());
    kit.client.register(&RegisterRequest::new(token, [CALLBACK])).await.unwrap();
    settles(&kit, "BOM").await;
    kit.client.merchants(&MerchantFilter::default()).await.unwrap();
    // One is a mark; a second is no JSON.
    let kit = Kit::new().await;
    change(&kit, "/oauth/token", |answer| match answer.status() {
        StatusCode::OK => with_body(answer, |body| [b"\xef\xbb\xbf\xef\xbb\xbf", body].concat()),
        _ => answer,
    });
    assert!(matches!(refusal(&kit).await, (Artefact::TokenResponse, Why::Json(_))));
}

#[tokio::test]
async fn a_challenge_for_a_nonce_need_not_quote_its_error() {
    let kit = Kit::new().await;
    let seen = Arc::new(Mutex::new(0));
    let count = Arc::clone(&seen);
    change(&kit, "/verify-mandate", move |answer| {
        if answer.status() != StatusCode::UNAUTHORIZED || !answer.headers().contains_key(WWW_AUTHENTICATE) {
            return answer;
        }
        *count.lock().unwrap() += 1;
        let mut answer = with_body(answer, |_| b"{}".to_vec());
        answer
            .headers_mut()
            .insert(WWW_AUTHENTICATE, HeaderValue::from_static("DPoP error=use_dpop_nonce, algs=\"x\""));
        answer
    });
    settles(&kit, "unquoted").await;
    assert_eq!(*seen.lock().unwrap(), 1);
}

#[tokio::test]
async fn an_error_is_read_whatever_stands_in_its_description_and_is_none_if_it_stands_there_twice() {
    for description in [json!({"en": "no", "error": "x"}), json!(["no"]), json!(5), Value::Null] {
        let kit = Kit::new().await;
        change(&kit, "/oauth/par", move |answer| match answer.status() {
            StatusCode::BAD_REQUEST => with_json(answer, |reply| {
                assert_eq!(reply["error"], "use_dpop_nonce");
                reply.insert("error_description".into(), description.clone());
            }),
            _ => answer,
        });
        settles(&kit, "description").await;
    }
    for body in [r#"{"error":"x","error":"use_dpop_nonce"}"#, r#"{"error":["use_dpop_nonce"]}"#] {
        let kit = Kit::new().await;
        change(&kit, "/oauth/par", move |answer| match answer.status() {
            StatusCode::BAD_REQUEST => with_text(answer, |_| body.to_owned()),
            _ => answer,
        });
        let error = pay(&kit).await.unwrap_err();
        assert!(matches!(error, Error::Server(e) if e.error().is_none() && e.status() == 400), "{body}");
    }
}

#[tokio::test]
async fn a_newer_type_in_another_signatures_parameters_does_not_spoil_the_merchants() {
    let kit = Kit::new().await;
    kit.net.lie(|endpoint, _| match endpoint.url().path().starts_with("/oid4ac/offer/") {
        true => Act::Change(Box::new(|mut answer| {
            let headers = answer.headers_mut();
            let input = "cdn=(\"@status\");created=@1700000000;note=%\"f%c3%bcr\"";
            headers.append("signature-input", HeaderValue::from_static(input));
            headers.append("signature", HeaderValue::from_static("cdn=:AAAA:"));
            answer
        })),
        false => Act::Pass,
    });
    settles(&kit, "another signature").await;
}

#[tokio::test]
async fn a_registration_that_cost_a_setup_token_is_kept_whatever_its_optional_members_are() {
    let kit = Kit::unregistered(SandboxConfig::new()).await;
    change(&kit, "/oauth/register", |answer| {
        with_json(answer, |reply| {
            for name in ["client_name", "purpose", "scope", "principal_id", "registration_client_uri"] {
                reply.insert(name.into(), json!({"not": "a text"}));
            }
            reply.insert("client_secret_expires_at".into(), json!("0"));
        })
    });
    let token = SetupToken::new(kit.sandbox.setup_token().unwrap());
    let request = RegisterRequest::new(token, [CALLBACK]).with_client_name("An agent");
    let registered = kit.client.register(&request).await.unwrap();
    assert_eq!(registered.registration().client_name.as_deref(), Some("An agent"));
    kit.net.be_honest();
    settles(&kit, "registered").await;
}

/// Tokens that were issued and cannot be used: those that can be read are revoked, the refresh token first.
#[tokio::test]
async fn what_can_be_read_of_an_unusable_token_answer_is_revoked() {
    fn edited(answer: Answer, edit: Edit) -> Answer {
        with_json(answer, edit)
    }
    let rows: [(&str, Spoil, &[&str]); 12] = [
        ("no type", |a| edited(a, |r| drop(r.remove("token_type"))), BOTH),
        ("type of no text", |a| edited(a, |r| drop(r.insert("token_type".into(), json!(5)))), BOTH),
        ("type list", |a| edited(a, |r| drop(r.insert("token_type".into(), json!(["DPoP"])))), BOTH),
        ("bearer", |a| edited(a, |r| drop(r.insert("token_type".into(), json!("Bearer")))), BOTH),
        ("soon", |a| edited(a, |r| drop(r.insert("expires_in".into(), json!("soon")))), BOTH),
        ("fraction", |a| edited(a, |r| drop(r.insert("expires_in".into(), json!(299.5)))), BOTH),
        ("mandate of no text", |a| edited(a, |r| drop(r.insert("mandate_jwt".into(), json!({})))), BOTH),
        ("mandate of nothing", |a| edited(a, |r| drop(r.insert("mandate_jwt".into(), json!("x")))), BOTH),
        ("no access token", |a| edited(a, |r| drop(r.remove("access_token"))), &["refresh_token"]),
        ("twice", |a| with_text(a, |text| text.replacen('{', r#"{"scope":"x","scope":"y","#, 1)), BOTH),
        ("cut off", |a| with_text(a, |text| text[..text.len() - 1].to_owned()), BOTH),
        (
            "201",
            |mut a| {
                *a.status_mut() = StatusCode::CREATED;
                a
            },
            BOTH,
        ),
    ];
    for (name, spoil, expected) in rows {
        let kit = Kit::new().await;
        let revoked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&revoked);
        kit.net.lie(move |endpoint, request| match endpoint.url().path() {
            "/oauth/token" => Act::Change(Box::new(move |a| if a.status() == StatusCode::OK { spoil(a) } else { a })),
            "/oauth/revoke" => {
                let log = Arc::clone(&log);
                let form: Vec<_> = url::form_urlencoded::parse(request.body()).into_owned().collect();
                Act::Change(Box::new(move |answer| {
                    if answer.status() == StatusCode::OK {
                        let hint = form.iter().find(|(name, _)| name == "token_type_hint").unwrap();
                        log.lock().unwrap().push(hint.1.clone());
                    }
                    answer
                }))
            }
            _ => Act::Pass,
        });
        let error = pay(&kit).await.unwrap_err();
        assert!(matches!(error, Error::PeerMisbehaved(_) | Error::Server(_)), "{name}: {error:?}");
        assert_eq!(*revoked.lock().unwrap(), expected, "{name}");
        assert!(!presented(&kit.net.take_sent()), "{name}");
    }
}

const BOTH: &[&str] = &["refresh_token", "access_token"];

#[tokio::test]
async fn what_money_or_identity_depends_on_stays_exact() {
    fn set(reply: &mut Map<String, Value>, name: &str, value: Value) {
        if reply.contains_key(name) {
            reply.insert(name.into(), value);
        }
    }
    let rows: [(&str, Edit, Artefact); 6] = [
        ("/oauth/token", |r| set(r, "access_token", json!(5)), Artefact::TokenResponse),
        ("/oauth/token", |r| set(r, "scope", json!(["payment:initiate"])), Artefact::TokenResponse),
        ("/oauth/token", |r| set(r, "refresh_token", json!({})), Artefact::TokenResponse),
        ("/oauth/par", |r| set(r, "request_uri", Value::Null), Artefact::PushedRequest),
        ("/oauth-authorization-server", |r| set(r, "issuer", Value::Null), Artefact::Metadata),
        ("/oauth-authorization-server", |r| set(r, "token_endpoint", json!([])), Artefact::Metadata),
    ];
    for (path, edit, what) in rows {
        let kit = Kit::new().await;
        // Without the metadata of the registration.
        let client = kit.client_with_clock(Arc::new(oid4ac_client::SystemClock)).await;
        let is_metadata = path.ends_with("server");
        change(&kit, path, move |answer| with_json(answer, edit));
        let client = if is_metadata { kit.stranger() } else { client };
        let error = match is_metadata {
            true => client.check_server().await.map(drop).unwrap_err(),
            false => client.pay(&kit.socks(), &MemoryJournal::default()).await.map(drop).unwrap_err(),
        };
        assert!(matches!(&error, Error::PeerMisbehaved(m) if m.what() == what), "{path}: {error:?}");
    }
    // A member that stands there twice.
    for (path, member) in [
        ("/oauth/token", r#"{"token_type":"DPoP","#),
        ("/oauth/par", r#"{"request_uri":"urn:x","#),
        ("/oauth/jwks.json", r#"{"keys":[],"#),
    ] {
        let kit = Kit::new().await;
        change(&kit, path, move |answer| match answer.status().is_success() {
            true => with_text(answer, |text| text.replacen('{', member, 1)),
            false => answer,
        });
        let error = pay(&kit).await.unwrap_err();
        assert!(matches!(error, Error::PeerMisbehaved(_)), "{path}: {error:?}");
        assert!(!presented(&kit.net.take_sent()), "{path}");
    }
    let kit = Kit::unregistered(SandboxConfig::new()).await;
    change(&kit, "/oauth/register", |answer| {
        with_json(answer, |reply| drop(reply.insert("client_id".into(), json!(5))))
    });
    let token = SetupToken::new(kit.sandbox.setup_token().unwrap());
    let error = kit.client.register(&RegisterRequest::new(token, [CALLBACK])).await.unwrap_err();
    assert!(matches!(error, Error::PeerMisbehaved(m) if m.what() == Artefact::Registration));
}
