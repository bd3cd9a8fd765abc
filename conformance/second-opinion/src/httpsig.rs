//! httpsig: signature bases and signatures of RFC 9421. It takes component values as they are, so it says nothing of how a
//! message gives them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_sig::{Component, LabelError, Message, SignatureBuilder, Verifier, VerifyError, alg_name};
use httpsig::prelude::message_component::{HttpMessageComponent, HttpMessageComponentId};
use httpsig::prelude::{
    AlgorithmName, HttpSigResult, HttpSignatureBase, HttpSignatureHeaders, HttpSignatureParams, PublicKey, SecretKey,
};
use jose::{Alg, Signer as _};

use crate::count::Count;
use crate::artefacts::{ALGS, Key, now};

pub(crate) fn run() -> anyhow::Result<Count> {
    let mut count = Count::new("httpsig 0.0.26");
    for alg in ALGS {
        let key = Key::new(alg);
        let fields: [(&str, &[u8]); 2] = [("Date", b"Tue, 20 Apr 2021 02:07:55 GMT"), ("X-Dict", b"a=1, b=2;x=1")];
        let request = Message::request("POST", "https://example.com/foo?a=1&b=2", &fields)?;

        // Ours, in the one order of parameters that httpsig keeps.
        let now = now();
        let builder = || -> anyhow::Result<SignatureBuilder> {
            let components = COVERED.iter().map(|(identifier, _)| Component::parse(identifier));
            Ok(SignatureBuilder::new("sig1")?.components(components.collect::<Result<Vec<_>, _>>()?))
        };
        let signed = builder()?.created(now).expires(now + 60).nonce("n")?.alg().keyid("k")?.tag("t")?;
        let signed = signed.sign(&request, key.ours.as_ref())?;
        let verdict = theirs(&key, signed.signature_input(), signed.signature());
        count.check(&format!("{alg}, ours"), verdict.as_ref().is_ok_and(|base| base == signed.base()));
        let other = Key::new(alg);
        let verdict = theirs(&other, signed.signature_input(), signed.signature());
        count.check(&format!("{alg}, ours with another key"), verdict.is_err());
        let bent = signed.signature_input().replace("keyid=\"k\"", "keyid=\"l\"");
        count.check(&format!("{alg}, ours with a parameter changed"), theirs(&key, &bent, signed.signature()).is_err());

        // Theirs.
        let identifiers: Vec<_> = COVERED
            .iter()
            .map(|(identifier, _)| HttpMessageComponentId::try_from(*identifier))
            .collect::<Result<_, _>>()?;
        let mut params = HttpSignatureParams::try_new(&identifiers)?;
        params.set_created(now as u64).set_expires(now as u64 + 60).set_keyid("k").set_alg(&name(alg)).set_tag("t");
        let secret = SecretKey::from_bytes(&name(alg), &key.secret())?;
        let headers = HttpSignatureBase::try_new(&components(&identifiers)?, &params)?;
        let headers = headers.build_signature_headers(&secret, Some("theirs"))?;
        let (input, signature) = (headers.signature_input_header_value(), headers.signature_header_value());
        let verdict = ours(&key, &fields, &input, &signature, now);
        count.check(&format!("{alg}, theirs"), verdict.is_ok());
        let verdict = ours(&key, &fields, &input.replace("tag=\"t\"", "tag=\"u\""), &signature, now);
        count.check(
            &format!("{alg}, theirs with a parameter changed"),
            refused(verdict) == Some(LabelError::BadSignature),
        );

        // RFC 9421 §3.2 step 7: the parameters go into the base as they were received. httpsig writes them in an order of
        // its own, so it refuses good signatures, ours and others'.
        let reordered = builder()?.keyid("k")?.created(now).alg().sign(&request, key.ours.as_ref())?;
        let (input, signature) = (reordered.signature_input(), reordered.signature());
        let differs = theirs(&key, input, signature).is_err() && ours(&key, &fields, input, signature, now).is_ok();
        count.check(&format!("differs: {alg}, parameters in another order"), differs);

        // RFC 9421 §3.2 step 6: `alg` has to agree with the key. httpsig does not compare them, and accepts the name of a
        // symmetric algorithm with a public key.
        let other_alg = |name: &str| -> anyhow::Result<(String, String)> {
            let base = signed.base().replace(&format!("alg=\"{}\"", alg_name(alg)), &format!("alg=\"{name}\""));
            let input =
                signed.signature_input().replace(&format!("alg=\"{}\"", alg_name(alg)), &format!("alg=\"{name}\""));
            let octets = key.ours.sign(base.as_bytes())?;
            Ok((input, format!("sig1=:{}:", STANDARD.encode(octets))))
        };
        let (input, signature) = other_alg("hmac-sha256")?;
        let verdict = ours(&key, &fields, &input, &signature, now);
        let differs = theirs(&key, &input, &signature).is_ok()
            && refused(verdict) == Some(LabelError::AlgNotAllowed("hmac-sha256".to_owned()));
        count.check(&format!("differs: {alg}, alg hmac-sha256"), differs);

        // A signature from the future is one whose age cannot be told. httpsig looks at `expires` alone.
        let future = builder()?.created(now + 3600).keyid("k")?.sign(&request, key.ours.as_ref())?;
        let (input, signature) = (future.signature_input(), future.signature());
        let verdict = ours(&key, &fields, input, signature, now);
        let differs = theirs(&key, input, signature).is_ok()
            && matches!(refused(verdict), Some(LabelError::CreatedInFuture { .. }));
        count.check(&format!("differs: {alg}, created in the future"), differs);
    }
    // A seed that is too short is the caller's mistake, and an error here; httpsig panics.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let short = std::panic::catch_unwind(|| SecretKey::from_bytes(&AlgorithmName::Ed25519, &[0; 31]).is_ok());
    std::panic::set_hook(hook);
    let ours = jose::PrivateKey::from_jwk(br#"{"kty":"OKP","crv":"Ed25519","x":"AA","d":"AA"}"#);
    count.check("differs: a short seed", short.is_err() && ours.is_err());
    Ok(count)
}

/// What is covered, and the value that httpsig is given for it.
const COVERED: [(&str, &str); 8] = [
    ("\"@method\"", "POST"),
    ("\"@target-uri\"", "https://example.com/foo?a=1&b=2"),
    ("\"@authority\"", "example.com"),
    ("\"@path\"", "/foo"),
    ("\"@query\"", "?a=1&b=2"),
    ("\"@query-param\";name=\"b\"", "b=2"),
    ("\"date\"", "Tue, 20 Apr 2021 02:07:55 GMT"),
    ("\"x-dict\";key=\"b\"", "a=1, b=2;x=1"),
];

fn components(identifiers: &[HttpMessageComponentId]) -> HttpSigResult<Vec<HttpMessageComponent>> {
    let values = COVERED.iter().map(|(_, value)| [(*value).to_owned()]);
    identifiers.iter().zip(values).map(|(id, value)| HttpMessageComponent::try_from((id, &value[..]))).collect()
}

fn theirs(key: &Key, input: &str, signature: &str) -> anyhow::Result<String> {
    let headers = HttpSignatureHeaders::try_parse(signature, input)?;
    let headers = headers.values().next().ok_or_else(|| anyhow::anyhow!("no signature"))?;
    let params = headers.signature_params();
    let base = HttpSignatureBase::try_new(&components(&params.covered_components)?, params)?;
    let public = PublicKey::from_bytes(&name(key.alg()), &key.public())?;
    base.verify_signature_headers(&public, headers)?;
    Ok(base.to_string())
}

fn ours(key: &Key, fields: &[(&str, &[u8])], input: &str, signature: &str, now: i64) -> Result<(), VerifyError> {
    let mut fields = fields.to_vec();
    fields.extend([("Signature-Input", input.as_bytes()), ("Signature", signature.as_bytes())]);
    let request = Message::request("POST", "https://example.com/foo?a=1&b=2", &*fields).expect("a request");
    Verifier::new().verify(&request, now, |_| Some(key.ours.public_key())).map(drop)
}

fn refused(verdict: Result<(), VerifyError>) -> Option<LabelError> {
    match verdict {
        Err(VerifyError::Refused(refusals)) => refusals.into_iter().next().map(|refusal| refusal.reason),
        _ => None,
    }
}

fn name(alg: Alg) -> AlgorithmName {
    match alg {
        Alg::EdDsa => AlgorithmName::Ed25519,
        Alg::Es256 => AlgorithmName::EcdsaP256Sha256,
    }
}
