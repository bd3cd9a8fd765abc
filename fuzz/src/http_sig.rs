use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_sig::{Component, ContentDigest, DigestAlg, Message, SignatureBuilder, Verifier};
use jose::{Signer as _, json};

use crate::keys::{ED25519, NOW};
use crate::Outcome;
use crate::input::{line, text};

/// What is written reads the same.
pub(crate) fn parse(input: &[u8]) -> Outcome {
    let Ok(text) = core::str::from_utf8(input) else { return Outcome::Refused };
    let component = Component::parse(text);
    if let Ok(component) = &component {
        assert_eq!(Component::parse(&component.to_string()).as_ref(), Ok(component));
    }
    (&component).into()
}

/// First line: the field's value; then the content.
pub(crate) fn digest(input: &[u8]) -> Outcome {
    let mut body = input;
    let value = text(&mut body);
    let right = ContentDigest::field_value(body, &[DigestAlg::Sha256, DigestAlg::Sha512]);
    assert_eq!(ContentDigest::parse(&right).expect("a digest").verify(body), Ok(()));
    let Ok(digest) = ContentDigest::parse(value) else { return Outcome::Refused };
    assert!(digest.has(DigestAlg::Sha256) || digest.has(DigestAlg::Sha512));
    (&digest.verify(body)).into()
}

/// A message in lines: method and URL, or status; fields, up to an empty line; the content. Before them stand `r`, for a
/// message that has its signature; `s` and components, between `,`, for one to be signed; or `S` and what stands behind the
/// label in `Signature-Input`, for which the base is what a verifier takes it to be and cannot be foreseen, so that only the
/// way there is fuzzed. The second line is the request that a response answers: method and URL, or nothing.
pub(crate) fn verify(input: &[u8]) -> Outcome {
    let Some((kind, mut rest)) = input.split_first() else { return Outcome::Refused };
    let how = text(&mut rest);
    let (answered, start) = (text(&mut rest), text(&mut rest));
    let mut fields: Vec<(&str, &[u8])> = Vec::new();
    loop {
        let field = line(&mut rest);
        let Some(colon) = field.iter().position(|octet| *octet == b':') else { break };
        let Ok(name) = core::str::from_utf8(&field[..colon]) else { break };
        fields.push((name, &field[colon + 1..]));
    }
    let request_fields: [(&str, &[u8]); 1] = [("x-field", b"a=1, b=(2 3);c")];
    let request =
        answered.split_once(' ').and_then(|(method, url)| Message::request(method, url, &request_fields).ok());
    let verifier = Verifier::new().danger_ignore_times();
    let key = |keyid: &str| (keyid == "k").then(|| ED25519.public_key());
    match kind {
        b's' => {
            let Some(message) = message(start, &fields, request.as_ref()) else { return Outcome::Refused };
            let components = how.split(',').filter(|part| !part.is_empty()).map(Component::parse);
            let Ok(components) = components.collect::<Result<Vec<_>, _>>() else { return Outcome::Refused };
            let builder = SignatureBuilder::new("s").expect("a label").components(components).created(NOW);
            let signed = builder.keyid("k").expect("a name").sign(&message, &*ED25519);
            let Ok(signed) = signed else { return Outcome::Refused };
            // Another signature in the message, or no field of its own name, would be another matter.
            if fields.iter().any(|(name, _)| ["signature", "signature-input"].contains(&&*name.to_ascii_lowercase())) {
                return Outcome::Refused;
            }
            let mut with = fields.clone();
            let (input, signature) = (signed.signature_input().to_owned(), signed.signature().to_owned());
            with.extend([("signature-input", input.as_bytes()), ("signature", signature.as_bytes())]);
            let message = self::message(start, &with, request.as_ref()).expect("the message of before");
            let verified = verifier.verify(&message, NOW, key).expect("what was signed verifies");
            assert_eq!(verified.base(), signed.base());
            // Every line of the base is what it says it is, and none is hidden in another's value.
            assert_eq!(verified.base().lines().count(), verified.components().len() + 1);
            (&verifier.verify(&message.with_body(rest), NOW, key)).into()
        }
        b'S' => {
            let octets = ED25519.sign(how.as_bytes()).expect("a key in memory signs");
            let (input, signature) = (format!("s={how}"), format!("s=:{}:", STANDARD.encode(octets)));
            fields.extend([("signature-input", input.as_bytes()), ("signature", signature.as_bytes())]);
            let Some(message) = message(start, &fields, request.as_ref()) else { return Outcome::Refused };
            (&verifier.verify(&message, NOW, key)).into()
        }
        _ => {
            let Some(message) = message(start, &fields, request.as_ref()) else { return Outcome::Refused };
            (&verifier.verify(&message.with_body(rest), NOW, key)).into()
        }
    }
}

fn message<'a>(
    start: &'a str,
    fields: &'a [(&'a str, &'a [u8])],
    request: Option<&'a Message<'a>>,
) -> Option<Message<'a>> {
    match (start.split_once(' '), json::parse(start.as_bytes())) {
        (Some((method, url)), _) => Message::request(method, url, fields).ok(),
        (None, Ok(status)) => {
            let response = Message::response(u16::try_from(status.as_u64()?).ok()?, fields).ok()?;
            Some(request.map_or(response, |request| response.in_reply_to(request)))
        }
        (None, Err(_)) => None,
    }
}
