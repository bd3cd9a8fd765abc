//! What holds for any message.

mod support;

use http_sig::{Component, ContentDigest, FieldType, Message, Verifier};
use jose::{Alg, Signer as _};
use proptest::prelude::*;
use support::{key, one, sign, verify};

/// A field value as HTTP allows it, with an obsolete fold now and then.
fn value() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop_oneof![20 => "[ -~\t]{0,12}", 1 => Just("\r\n ".to_owned())], 0..4)
        .prop_map(|parts| parts.concat().into_bytes())
}

fn fields() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    proptest::collection::vec(("[xXyY]-[a-c]", value()), 1..8)
}

fn pairs(fields: &[(String, Vec<u8>)]) -> Vec<(&str, &[u8])> {
    fields.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect()
}

proptest! {
    #[test]
    fn what_is_signed_verifies(fields in fields(), path in "(/[a-zA-Z0-9%._~!-]{0,6}){0,3}", query in "(\\?[a-z0-9=&+%]{0,12})?") {
        let uri = format!("https://Shop.example:8443{path}{query}");
        let mut covered: Vec<String> = fields.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        covered.extend(["@target-uri", "@authority", "@path", "@query", "@request-target"].map(str::to_owned));
        covered.extend(fields.iter().map(|(name, _)| format!("{};bs", name.to_ascii_lowercase())));
        covered.sort();
        covered.dedup();
        let covered: Vec<_> = covered.iter().map(String::as_str).collect();

        let headers = pairs(&fields);
        let message = Message::request("GET", &uri, headers.as_slice()).unwrap();
        let signed = sign(&message, &covered).unwrap();
        // As many lines as components: no value opens a line of its own.
        prop_assert_eq!(signed.base().split('\n').count(), covered.len() + 1);

        let mut headers = headers;
        headers.push(("signature-input", signed.signature_input().as_bytes()));
        headers.push(("signature", signed.signature().as_bytes()));
        let message = Message::request("GET", &uri, headers.as_slice()).unwrap();
        let verified = verify(&Verifier::new(), &message).unwrap();
        prop_assert_eq!(verified.base(), signed.base());
    }

    #[test]
    fn one_base_has_one_reading(a in fields(), b in fields(), names in proptest::sample::subsequence(vec!["x-a", "x-b", "x-c", "y-a"], 1..4)) {
        let values = |fields: &[(String, Vec<u8>)]| {
            let headers = pairs(fields);
            let message = Message::request("GET", "https://a.example/", headers.as_slice()).unwrap();
            let base = sign(&message, &names).ok()?.base().to_owned();
            let each = names.iter().map(|name| sign(&message, &[name]).unwrap().base().to_owned()).collect::<Vec<_>>();
            Some((base, each))
        };
        if let (Some((base_a, each_a)), Some((base_b, each_b))) = (values(&a), values(&b)) {
            prop_assert_eq!(base_a == base_b, each_a == each_b);
        }
    }

    #[test]
    fn a_value_with_a_line_end_never_makes_a_line(before in "[ -~]{0,8}", end in "\r\n|\n|\r", after in "[!-~][ -~]{0,8}") {
        let value = format!("{before}{end}{after}");
        let headers = [("x", value.as_bytes())];
        let message = Message::request("GET", "https://a.example/", &headers).unwrap();
        prop_assert!(sign(&message, &["x"]).is_err());
        prop_assert!(sign(&message, &["x;bs"]).is_err());
    }

    #[test]
    fn arbitrary_fields_do_not_panic(
        fields in proptest::collection::vec((prop_oneof![Just("signature-input".to_owned()), Just("signature".to_owned()), Just("content-digest".to_owned()), "\\PC{0,8}"], proptest::collection::vec(any::<u8>(), 0..60)), 0..6),
        body in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let headers = pairs(&fields);
        let request = Message::request("GET", "https://a.example/?a=b", headers.as_slice()).unwrap();
        let reply = Message::response(200, headers.as_slice()).unwrap().in_reply_to(&request).with_body(&body);
        let key = key(Alg::EdDsa);
        for message in [request, reply, reply.danger_allow_missing_req()] {
            prop_assert!(Verifier::new().danger_ignore_times().verify(&message, 0, one(key.public_key())).is_err());
        }
        let _ = ContentDigest::from_fields(headers.as_slice());
    }

    #[test]
    fn nearly_right_signature_inputs_do_not_panic(input in "[a-z]{1,3}=\\((\"[@a-z-]{1,10}\"(;[a-z]{2,3}(=\"[a-z\\\\]{0,3}\")?)?[ ]?){0,4}\\)(;[a-z]{1,7}=(\"[ -~]{0,5}\"|[0-9]{1,17}|:[A-Za-z=]{0,5}:)){0,4}", signature in "[a-z]{1,3}=:[A-Za-z0-9+/=]{0,90}:") {
        let headers = [("signature-input", input.as_bytes()), ("signature", signature.as_bytes())];
        let message = Message::request("GET", "https://a.example/?a=b", &headers).unwrap();
        let key = key(Alg::EdDsa);
        let result = Verifier::new().danger_ignore_times().verify(&message, i64::MIN, |_| Some(key.public_key()));
        prop_assert!(result.is_err());
    }

    #[test]
    fn arbitrary_identifiers_and_targets_do_not_panic(text in "\\PC{0,20}", uri in "(https?://)?[ -~]{0,24}") {
        if let Ok(component) = Component::parse(&text) {
            prop_assert_eq!(Component::parse(&component.to_string()), Ok(component));
        }
        if let Ok(message) = Message::request("GET", &uri, &[]) {
            let all = ["@target-uri", "@authority", "@scheme", "@request-target", "@path", "@query"];
            prop_assert!(sign(&message, &all).is_ok());
            let _ = sign(&message.with_field_types(&[("x", FieldType::Item)]), &["x;sf"]);
        }
    }

    #[test]
    fn an_identifier_reads_back_as_written(name in "[a-z-]{1,8}", key in "[ -~]{0,8}", req in any::<bool>()) {
        let escaped = key.replace('\\', "\\\\").replace('"', "\\\"");
        let text = format!("\"{name}\";key=\"{escaped}\"{}", if req { ";req" } else { "" });
        prop_assert_eq!(Component::parse(&text).unwrap().to_string(), text);
    }
}
