//! The verifier: a signed response as an OID4AC merchant sends it, and each rule broken alone.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::Cell;

use http_sig::{
    Component, ContentDigest, DigestAlg, DigestError, InvalidComponent, LabelError, Message, SignatureBuilder,
    Unresolved, Verified, Verifier, VerifyError,
};
use jose::{Alg, Signer as _};
use support::{components, key, one, other_key, verify};

const URI: &str = "https://shop.example/oid4ac/offer/sock";
const BODY: &[u8] = br#"{"sku":"sock","amount_minor":1299}"#;
const WITH_REQ: [&str; 5] = ["@method;req", "@target-uri;req", "@authority;req", "content-type", "content-digest"];
const WITHOUT_REQ: [&str; 5] = ["@method", "@target-uri", "@authority", "content-type", "content-digest"];

/// A response, with everything about it that a test may change.
struct Offer {
    method: &'static str,
    uri: &'static str,
    body: Vec<u8>,
    headers: Vec<(String, Vec<u8>)>,
}

impl Offer {
    fn unsigned() -> Self {
        let digest = ContentDigest::field_value(BODY, &[DigestAlg::Sha256]);
        let headers = [("Content-Type", "application/json"), ("Content-Digest", &digest)];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).to_vec();
        Self { method: "GET", uri: URI, body: BODY.to_vec(), headers }
    }

    fn signed() -> Self {
        Self::unsigned().sign("sig1", &WITH_REQ, Alg::EdDsa, |builder| builder)
    }

    /// Signs with `created`, `expires`, `nonce`, `keyid`, `alg`, and what `more` adds or replaces.
    fn sign(
        mut self,
        label: &str,
        covered: &[&str],
        alg: Alg,
        more: impl FnOnce(SignatureBuilder) -> SignatureBuilder,
    ) -> Self {
        let builder = SignatureBuilder::new(label).unwrap().components(components(covered));
        let builder = builder.created(1000).expires(1300).nonce("n").unwrap().keyid("k1").unwrap().alg();
        let signed = self.with(|message| more(builder).sign(message, &key(alg)).unwrap());
        self.headers.push(("Signature-Input".into(), signed.signature_input().into()));
        self.headers.push(("Signature".into(), signed.signature().into()));
        self
    }

    fn with<T>(&self, use_it: impl FnOnce(&Message<'_>) -> T) -> T {
        let headers: Vec<_> = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        let request = Message::request(self.method, self.uri, &[]).unwrap();
        let response = Message::response(200, headers.as_slice()).unwrap().in_reply_to(&request).with_body(&self.body);
        use_it(&response)
    }

    fn verify(&self, verifier: &Verifier) -> Result<Verified, VerifyError> {
        self.with(|message| verify(verifier, message))
    }

    /// The reason why the only label is refused.
    fn refusal(&self, verifier: &Verifier) -> LabelError {
        match self.verify(verifier) {
            Err(VerifyError::Refused(mut refusals)) if refusals.len() == 1 => refusals.remove(0).reason,
            other => panic!("{other:?}"),
        }
    }

    /// Replaces text in a field.
    fn edit(mut self, field: &str, from: &str, to: &str) -> Self {
        let mut edited = 0;
        for (name, value) in &mut self.headers {
            if name == field {
                let text = String::from_utf8(value.clone()).unwrap();
                assert!(text.contains(from), "{text}");
                *value = text.replace(from, to).into_bytes();
                edited += 1;
            }
        }
        assert_eq!(edited, 1);
        self
    }

    fn without(mut self, field: &str) -> Self {
        self.headers.retain(|(name, _)| name != field);
        self
    }

    fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

/// What an OID4AC client asks of an offer.
fn offer_verifier() -> Verifier {
    let mut verifier = Verifier::new().require_content_digest(&[DigestAlg::Sha256]).require_nonce().max_lifetime(300);
    for component in components(&WITHOUT_REQ) {
        verifier = verifier.require(component);
    }
    verifier
}

#[test]
fn accepts_the_untouched_response_and_tells_what_it_covers() {
    let verified = Offer::signed().verify(&offer_verifier()).unwrap();
    assert_eq!((verified.label(), verified.keyid(), verified.alg()), ("sig1", "k1", Alg::EdDsa));
    assert_eq!(verified.components(), components(&WITH_REQ));
    let params = verified.params();
    assert_eq!((params.created(), params.expires(), params.nonce()), (Some(1000), Some(1300), Some("n")));
    assert_eq!((params.alg(), params.tag()), (Some("ed25519"), None));
    assert!(verified.base().starts_with("\"@method\";req: GET\n\"@target-uri\";req: https://shop.example/"));
}

#[test]
fn accepts_p256() {
    let offer = Offer::unsigned().sign("sig1", &WITH_REQ, Alg::Es256, |builder| builder);
    let key = key(Alg::Es256);
    let verified = offer.with(|message| offer_verifier().verify(message, 1010, one(key.public_key()))).unwrap();
    assert_eq!(verified.params().alg(), Some("ecdsa-p256-sha256"));
}

#[test]
fn accepts_oid4acs_form_only_where_the_message_allows_it() {
    let sign = |message: &Message<'_>| {
        let builder = SignatureBuilder::new("sig1").unwrap().components(components(&WITHOUT_REQ)).created(1000);
        builder.expires(1300).nonce("n").unwrap().keyid("k1").unwrap().sign(message, &key(Alg::EdDsa)).unwrap()
    };
    let mut offer = Offer::unsigned();
    let signed = offer.with(|message| sign(&message.danger_allow_missing_req()));
    offer = offer.header("Signature-Input", signed.signature_input()).header("Signature", signed.signature());

    let lax = |offer: &Offer| offer.with(|message| verify(&offer_verifier(), &message.danger_allow_missing_req()));
    assert_eq!(lax(&offer).unwrap().components(), components(&WITHOUT_REQ));
    let LabelError::Unresolved(unresolved) = offer.refusal(&offer_verifier()) else { panic!() };
    assert_eq!((unresolved.component, unresolved.reason), (components(&["@method"]).remove(0), Unresolved::NeedsReq));

    // It is still compared with the request that was sent.
    offer.method = "POST";
    assert!(
        matches!(lax(&offer), Err(VerifyError::Refused(refusals)) if refusals[0].reason == LabelError::BadSignature)
    );
}

#[test]
fn refuses_a_change_of_anything_covered() {
    let bad_signature = |offer: Offer| assert_eq!(offer.refusal(&Verifier::new()), LabelError::BadSignature);
    bad_signature(Offer { method: "POST", ..Offer::signed() });
    bad_signature(Offer { uri: "https://shop.example/oid4ac/offer/sock?", ..Offer::signed() });
    bad_signature(Offer { uri: "https://shop.example:8443/oid4ac/offer/sock", ..Offer::signed() });
    bad_signature(Offer::signed().edit("Content-Type", "json", "jsom"));
    bad_signature(Offer::signed().edit("Content-Digest", "sha-256", "sha-512"));
    bad_signature(Offer::signed().header("content-type", "text/html"));
    bad_signature(Offer::signed().edit("Signature", "sig1=:", "sig1=:AAAA"));
    bad_signature(Offer::signed().edit("Signature", "sig1=", "sig1=::;x="));
    // The signature input itself.
    for (from, to) in [
        ("created=1000", "created=1001"),
        ("expires=1300", "expires=1299"),
        ("nonce=\"n\"", "nonce=\"m\""),
        ("expires=1300", "expires=1300;tag=\"t\""),
        ("expires=1300", "expires=1300;unknown"),
        (";alg=\"ed25519\"", ""),
        ("created=1000;expires=1300", "expires=1300;created=1000"),
        ("\"@method\";req \"@target-uri\";req", "\"@target-uri\";req \"@method\";req"),
        (" \"content-type\"", ""),
        ("\"content-type\"", "\"content-type\";bs"),
        ("\"content-type\"", "\"content-type\" \"@status\""),
    ] {
        bad_signature(Offer::signed().edit("Signature-Input", from, to));
    }
}

#[test]
fn accepts_what_structured_fields_call_the_same_value() {
    for (from, to) in [
        (";created=1000", "; created=1000"),
        ("\"@method\";req \"@target-uri\"", "\"@method\";req    \"@target-uri\""),
        ("\"@method\";req", "\"@method\";req=?1"),
        (";created=1000", ";created=999;created=1000"),
        ("sig1=", "other=(\"@method\"), sig1="),
    ] {
        let offer = Offer::signed().edit("Signature-Input", from, to);
        assert_eq!(
            offer.verify(&offer_verifier()).map(|verified| verified.label().to_owned()),
            Ok("sig1".into()),
            "{to}"
        );
    }
}

#[test]
fn keeps_unknown_parameters_and_their_place_in_the_base() {
    let key = key(Alg::EdDsa);
    let input = "(\"@status\");x=1.50;keyid=\"k1\";y=:AQ==:;created=1000;z=tok;flag;no=?0;s=\"a\\\"b\"";
    let base = format!("\"@status\": 200\n\"@signature-params\": {}", input.replace("1.50", "1.5"));
    let mut signature = String::from("a=");
    let octets = key.sign(base.as_bytes()).unwrap();
    let _ = sfv::ItemSerializer::with_buffer(&mut signature).bare_item(&octets[..]).finish();
    let offer = Offer::unsigned().header("Signature-Input", &format!("a={input}")).header("Signature", &signature);
    assert_eq!(offer.verify(&Verifier::new()).unwrap().base(), base);
}

#[test]
fn checks_the_times() {
    let at = |verifier: &Verifier, now: i64| {
        let key = key(Alg::EdDsa);
        let result = Offer::signed().with(|message| verifier.verify(message, now, one(key.public_key())));
        result.map(|_| ()).map_err(|error| match error {
            VerifyError::Refused(mut refusals) => refusals.remove(0).reason,
            other => panic!("{other}"),
        })
    };
    let verifier = offer_verifier();
    assert_eq!(at(&verifier, 1299), Ok(()));
    assert_eq!(at(&verifier, 1300), Err(LabelError::Expired { expires: 1300, now: 1300 }));
    assert_eq!(at(&verifier, 941), Ok(()));
    assert_eq!(at(&verifier, 940), Err(LabelError::CreatedInFuture { created: 1000, now: 940 }));
    assert_eq!(at(&verifier.clone().skew(0), 1000), Ok(()));
    assert_eq!(at(&verifier.clone().skew(0), 999), Err(LabelError::CreatedInFuture { created: 1000, now: 999 }));
    assert_eq!(at(&verifier.clone().max_age(20), 1020), Ok(()));
    assert_eq!(at(&verifier.clone().max_age(20), 1021), Err(LabelError::TooOld { created: 1000, now: 1021 }));
    assert_eq!(
        at(&verifier.clone().max_lifetime(299), 1010),
        Err(LabelError::Lifetime { created: 1000, expires: 1300 })
    );
    for now in [i64::MIN, i64::MAX] {
        assert!(at(&verifier, now).is_err());
        assert_eq!(at(&verifier.clone().danger_ignore_times(), now), Ok(()));
    }
}

#[test]
fn refuses_an_expiry_before_creation_where_a_lifetime_is_asked_for() {
    let offer = Offer::unsigned().sign("sig1", &WITH_REQ, Alg::EdDsa, |builder| builder.created(1050).expires(1020));
    assert_eq!(offer.refusal(&offer_verifier()), LabelError::Lifetime { created: 1050, expires: 1020 });
}

#[test]
fn wants_the_parameters_asked_for() {
    let bare = |list: &str| {
        let input = format!("sig1=(\"@status\"){list}");
        Offer::unsigned().header("Signature-Input", &input).header("Signature", "sig1=:AA==:")
    };
    let missing = LabelError::MissingParam;
    assert_eq!(bare(";created=1000").refusal(&Verifier::new()), missing("keyid"));
    assert_eq!(bare(";keyid=\"k1\"").refusal(&Verifier::new().max_age(10)), missing("created"));
    assert_eq!(bare(";created=1000").refusal(&Verifier::new().max_lifetime(10)), missing("expires"));
    assert_eq!(bare(";nonce=\"\"").refusal(&Verifier::new().require_nonce()), missing("nonce"));
    for (param, name) in [
        ("created=\"1000\"", "created"),
        ("created=1000.0", "created"),
        ("created", "created"),
        ("expires=tok", "expires"),
        ("nonce=1", "nonce"),
        ("keyid=k1", "keyid"),
        ("alg=ed25519", "alg"),
        ("tag=?1", "tag"),
    ] {
        assert_eq!(bare(&format!(";{param}")).refusal(&Verifier::new()), LabelError::MalformedParam(name), "{param}");
    }
}

#[test]
fn refuses_other_algorithms_by_name_before_any_key_is_asked_for() {
    for name in ["hmac-sha256", "rsa-pss-sha512", "rsa-v1_5-sha256", "ecdsa-p384-sha384", "none", "Ed25519", ""] {
        let offer = Offer::signed().edit("Signature-Input", "alg=\"ed25519\"", &format!("alg=\"{name}\""));
        let asked = Cell::new(false);
        let result = offer.with(|message| {
            Verifier::new().verify(message, 1010, |_| {
                asked.set(true);
                None
            })
        });
        let Err(VerifyError::Refused(refusals)) = result else { panic!() };
        assert_eq!(refusals[0].reason, LabelError::AlgNotAllowed(name.into()));
        assert!(!asked.get());
    }
}

#[test]
fn the_key_decides_the_algorithm() {
    let offer = Offer::signed();
    let p256 = key(Alg::Es256);
    let refusal = |verifier: &Verifier, offer: &Offer, key| match offer.with(|m| verifier.verify(m, 1010, one(key))) {
        Err(VerifyError::Refused(mut refusals)) => refusals.remove(0).reason,
        other => panic!("{other:?}"),
    };
    let mismatch = LabelError::AlgMismatch { named: Alg::EdDsa, key: Alg::Es256 };
    assert_eq!(refusal(&Verifier::new(), &offer, p256.public_key()), mismatch);
    let only_p256 = Verifier::new().algs(&[Alg::Es256]);
    assert_eq!(offer.refusal(&only_p256), LabelError::AlgNotAllowed("ed25519".into()));
    let unnamed = offer.edit("Signature-Input", ";alg=\"ed25519\"", "");
    assert_eq!(unnamed.refusal(&only_p256), LabelError::KeyNotAllowed(Alg::EdDsa));
    assert_eq!(refusal(&Verifier::new(), &unnamed, p256.public_key()), LabelError::BadSignature);
    assert_eq!(refusal(&Verifier::new(), &unnamed, other_key(Alg::EdDsa).public_key()), LabelError::BadSignature);
}

#[test]
fn tells_an_unknown_key_from_a_bad_signature() {
    let error = Offer::signed().edit("Signature-Input", "\"k1\"", "\"k2\"").verify(&Verifier::new()).unwrap_err();
    assert_eq!(error.unknown_keyids().collect::<Vec<_>>(), ["k2"]);
    let error = Offer::signed().edit("Content-Type", "json", "text").verify(&Verifier::new()).unwrap_err();
    assert_eq!(error.unknown_keyids().count(), 0);
}

#[test]
fn wants_the_components_asked_for() {
    let not_covered = |covered: &[&str], wanted: &str| {
        let offer = Offer::unsigned().sign("sig1", covered, Alg::EdDsa, |builder| builder);
        let wanted = Component::parse(wanted).unwrap();
        match offer.verify(&Verifier::new().require(wanted.clone())) {
            Ok(_) => false,
            Err(VerifyError::Refused(refusals)) => {
                assert_eq!(refusals[0].reason, LabelError::NotCovered(wanted));
                true
            }
            Err(error) => panic!("{error}"),
        }
    };
    assert!(not_covered(&["content-type"], "content-digest"));
    assert!(not_covered(&[r#"content-digest;key="sha-256""#], "content-digest"));
    assert!(not_covered(&["@method;req"], "@status"));
    assert!(not_covered(&["content-type"], "content-type;req"));
    assert!(not_covered(&["content-type"], "content-type;tr"));
    assert!(not_covered(&[], "@method"));
    assert!(!not_covered(&["content-digest;sf"], "content-digest"));
    assert!(!not_covered(&["content-type;bs"], "content-type"));
    assert!(!not_covered(&["@method;req"], "@method"));
    assert!(!not_covered(&["@method;req"], "@method;req"));
    assert!(!not_covered(&["@status"], "@status"));
}

#[test]
fn refuses_component_lists_that_rfc_9421_does_not_allow() {
    let with = |from: &str, to: &str| Offer::signed().edit("Signature-Input", from, to).refusal(&Verifier::new());
    let component = |text| Component::parse(text).unwrap();
    let twice = "\"content-type\" \"content-type\"";
    assert_eq!(with("\"content-type\"", twice), LabelError::ComponentRepeated(component("content-type")));
    let reordered = r#""x";key="a";req "x";req;key="a""#;
    assert_eq!(with("\"content-type\"", reordered), LabelError::ComponentRepeated(component(r#"x;key="a";req"#)));
    let refused = |to, reason| assert_eq!(with("\"content-type\"", to), LabelError::Component(reason));
    refused("\"Content-Type\"", InvalidComponent::FieldName("Content-Type".into()));
    refused("content-type", InvalidComponent::Malformed);
    refused("\"@signature-params\"", InvalidComponent::UnknownDerived("@signature-params".into()));
    refused("\"content-type\";xy", InvalidComponent::UnknownParameter("xy".into()));
    refused("\"content-type\";sf;bs", InvalidComponent::Incompatible("sf", "bs"));
    let many = (0..65).map(|n| format!("\"x{n}\"")).collect::<Vec<_>>().join(" ");
    assert_eq!(with("\"content-type\"", &many), LabelError::TooManyComponents(69));
}

#[test]
fn reports_missing_and_malformed_fields() {
    let verify = |offer: Offer| offer.verify(&Verifier::new()).unwrap_err();
    assert_eq!(verify(Offer::unsigned()), VerifyError::MissingField("signature-input"));
    assert_eq!(verify(Offer::signed().without("Signature-Input")), VerifyError::MissingField("signature-input"));
    assert_eq!(verify(Offer::signed().without("Signature")), VerifyError::MissingField("signature"));
    assert_eq!(
        verify(Offer::signed().edit("Signature-Input", "sig1=(", "sig1=((")),
        VerifyError::MalformedField("signature-input")
    );
    assert_eq!(verify(Offer::signed().edit("Signature", "sig1=:", "sig1=;")), VerifyError::MalformedField("signature"));
    for date in ["@", "@1.5", "@x"] {
        let dated = Offer::signed().edit("Signature-Input", "created=1000", &format!("created={date}"));
        assert_eq!(verify(dated), VerifyError::MalformedField("signature-input"), "{date}");
    }
}

/// RFC 9651 has Dates and Display Strings, RFC 9421 knows neither: a label that has one is not spoilt by it, unless it
/// stands where a number belongs.
#[test]
fn a_newer_type_in_another_label_does_not_spoil_the_one_that_is_used() {
    for params in ["created=@1700000000", "x=%\"f%c3%bc\"", "created=@1700000000;keyid=\"k\";x=%\"\"", "x=@-1"] {
        let offer = Offer::signed().edit("Signature-Input", "sig1=(", &format!("a=(\"@status\");{params}, sig1=("));
        let offer = offer.edit("Signature", "sig1=", "a=:AA==:, sig1=");
        assert_eq!(offer.verify(&Verifier::new()).unwrap().label(), "sig1", "{params}");
    }
    let dated = Offer::signed().edit("Signature-Input", "created=1000", "created=@1000");
    assert_eq!(dated.refusal(&Verifier::new()), LabelError::MalformedParam("created"));
    // One that was not signed with it is not made good by it.
    let added = Offer::signed().edit("Signature-Input", "created=1000", "created=1000;x=@1");
    assert_eq!(added.refusal(&Verifier::new()), LabelError::BadSignature);
}

#[test]
fn reports_members_of_the_wrong_type() {
    let refusal = |field: &str, from: &str, to: &str| Offer::signed().edit(field, from, to).refusal(&Verifier::new());
    assert_eq!(refusal("Signature", "sig1=", "sig2="), LabelError::NoSignature);
    assert_eq!(refusal("Signature", "sig1=", "sig1, sig2="), LabelError::Malformed);
    assert_eq!(refusal("Signature", "sig1=", "sig1=(1), sig2="), LabelError::Malformed);
    assert_eq!(refusal("Signature-Input", "sig1=(", "sig1=?1;x=1, sig1=("), LabelError::Repeated);
    let item = Offer::unsigned().header("Signature-Input", "sig1=\"@status\"").header("Signature", "sig1=:AA==:");
    assert_eq!(item.refusal(&Verifier::new()), LabelError::Malformed);
}

#[test]
fn labels_do_not_spoil_each_other() {
    let two = |first: &str| {
        let offer = Offer::unsigned().sign("good", &WITH_REQ, Alg::EdDsa, |builder| builder);
        let input = offer.headers.iter().position(|(name, _)| name == "Signature-Input").unwrap();
        let mut offer = offer;
        offer.headers.insert(input, ("Signature-Input".into(), first.into()));
        offer.header("Signature", "bad=:AAAA:")
    };
    for first in [
        "bad=1",
        "bad=(\"@unknown\");keyid=\"k1\"",
        "bad=(\"x-missing\");keyid=\"k1\"",
        "bad=(\"@method\";req);keyid=\"k1\";alg=\"hmac-sha256\"",
        "bad=(\"@method\";req);keyid=\"k9\"",
        "bad=(\"@method\";req);keyid=\"k1\";expires=1",
        "bad=(\"@method\";req);keyid=\"k1\";created=\"x\"",
        "bad=(\"@method\";req);keyid=\"k1\"",
        "none=(\"@method\";req);keyid=\"k1\"",
        "bad=(), bad=()",
    ] {
        let offer = two(first);
        assert_eq!(
            offer.verify(&offer_verifier()).map(|verified| verified.label().to_owned()),
            Ok("good".into()),
            "{first}"
        );
        assert!(offer.verify(&offer_verifier().label("good")).is_ok(), "{first}");
        assert!(offer.verify(&offer_verifier().label("bad")).is_err(), "{first}");
    }
    let asked = two("bad=(\"@method\";req);keyid=\"k1\"").verify(&Verifier::new().label("sig7"));
    assert_eq!(asked, Err(VerifyError::NoSuchLabel("sig7".into())));
}

#[test]
fn refuses_a_label_that_is_used_twice() {
    let signature = |offer: &Offer| {
        let (_, value) = offer.headers.iter().find(|(name, _)| name == "Signature").unwrap();
        String::from_utf8(value.clone()).unwrap()
    };
    let offer = Offer::signed();
    let again = signature(&offer);
    assert_eq!(offer.header("signature", &again).refusal(&Verifier::new()), LabelError::Repeated);
    let offer = Offer::signed().edit("Signature-Input", "sig1=", "sig1=(), sig1=");
    assert_eq!(offer.refusal(&Verifier::new()), LabelError::Repeated);
}

#[test]
fn limits_the_number_of_labels() {
    let labels = (0..17).map(|n| format!("s{n}=()")).collect::<Vec<_>>().join(", ");
    let offer = Offer::unsigned().header("Signature-Input", &labels).header("Signature", "s0=:AA==:");
    assert_eq!(offer.verify(&Verifier::new()), Err(VerifyError::TooManyLabels(17)));
}

#[test]
fn compares_the_content_with_its_digest() {
    let other_body = Offer { body: b"{}".to_vec(), ..Offer::signed() };
    let mismatch = Err(VerifyError::Digest(DigestError::Mismatch(DigestAlg::Sha256)));
    assert_eq!(other_body.verify(&offer_verifier()), mismatch);
    assert_eq!(other_body.verify(&Verifier::new()), mismatch, "a digest that is present has to match");

    let wanted = Verifier::new().require_content_digest(&[DigestAlg::Sha512]);
    assert_eq!(Offer::signed().verify(&wanted), Err(DigestError::NoAlgorithm(DigestAlg::Sha512).into()));

    let uncovered = Offer::unsigned().sign("sig1", &["content-type"], Alg::EdDsa, |builder| builder);
    let digest = Component::parse("content-digest").unwrap();
    let wanted = Verifier::new().require_content_digest(&[]);
    assert_eq!(uncovered.refusal(&wanted), LabelError::NotCovered(digest));
    assert!(uncovered.verify(&Verifier::new()).is_ok());

    let without = Offer::unsigned().without("Content-Digest");
    let without = without.sign("sig1", &["content-type"], Alg::EdDsa, |builder| builder);
    assert!(without.verify(&Verifier::new()).is_ok());
    let unknown = without.header("Content-Digest", "md5=:Sd/dVLAcvNLSq16eXua5uQ==:");
    assert_eq!(unknown.verify(&Verifier::new()), Err(DigestError::NoKnownAlgorithm.into()));
}

#[test]
fn does_not_call_content_verified_that_it_has_not_seen() {
    let offer = Offer::signed();
    let headers: Vec<_> = offer.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
    let request = Message::request("GET", URI, &[]).unwrap();
    let response = Message::response(200, headers.as_slice()).unwrap().in_reply_to(&request);
    assert_eq!(verify(&offer_verifier(), &response), Err(DigestError::NoBody.into()));
    assert!(verify(&Verifier::new(), &response).is_ok(), "a signature over headers alone is a use of its own");
}

#[test]
fn debug_shows_names_and_not_values() {
    let headers: &[(&str, &[u8])] = &[("authorization", b"DPoP secret-token"), ("x", b"y")];
    let request = Message::request("POST", "https://a.example/?code=secret-code", headers).unwrap();
    let request = request.with_body(b"secret-body");
    assert_eq!(format!("{request:?}"), r#"Message(POST, ["authorization", "x"], body: Some(11))"#);
    let signed = support::sign(&request, &["authorization", "@query"]).unwrap();
    assert!(signed.base().contains("secret-token"));
    assert!(!format!("{signed:?}").contains("secret"));

    let fields =
        [("signature-input", signed.signature_input().as_bytes()), ("signature", signed.signature().as_bytes())];
    let headers = [headers, &fields].concat();
    let request = Message::request("POST", "https://a.example/?code=secret-code", headers.as_slice()).unwrap();
    let verified = verify(&Verifier::new(), &request).unwrap();
    assert!(verified.base().contains("secret-token"));
    assert!(!format!("{verified:?}").contains("secret"));
}

#[test]
fn a_signer_refuses_what_no_verifier_would_accept() {
    use http_sig::SignError;
    let sign = |more: &dyn Fn(SignatureBuilder) -> Result<SignatureBuilder, SignError>| {
        let builder = SignatureBuilder::new("sig1").and_then(more)?;
        Offer::unsigned().with(|message| builder.sign(message, &key(Alg::EdDsa)).map(|_| ()))
    };
    let digest = Component::parse("content-digest").unwrap();
    let twice = |builder: SignatureBuilder| Ok(builder.component(digest.clone()).component(digest.clone()));
    assert_eq!(sign(&twice), Err(SignError::ComponentRepeated(digest.clone())));
    assert_eq!(sign(&|builder| builder.nonce("a\nb")), Err(SignError::Param("nonce")));
    assert_eq!(sign(&|builder| builder.keyid("schl\u{fc}ssel")), Err(SignError::Param("keyid")));
    assert_eq!(sign(&|builder| Ok(builder.created(i64::MAX))), Err(SignError::Param("created")));
    assert_eq!(sign(&|builder| Ok(builder.created(-1).expires(999_999_999_999_999))), Ok(()));
    for label in ["", "Sig", "1", "a b", "a=b", "a\n"] {
        assert_eq!(SignatureBuilder::new(label).map(|_| ()), Err(SignError::Label), "{label:?}");
    }
}
