//! A merchant signs an offer in answer to a request: `cargo run -p oid4ac-http-sig --example sign_response`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use http::{HeaderMap, HeaderValue};
use http_sig::{Component, ContentDigest, DigestAlg, Message, SignatureBuilder};
use jose::PrivateKey;

/// `test-key-ed25519` of RFC 9421 B.1.4: known to everyone, so of no use but here.
const KEY: &[u8] = br#"{"kty":"OKP","crv":"Ed25519","d":"n4Ni-HpISpVObnQMW0wOhCKROaIKqKtW_2ZYb2p9KcU",
    "x":"JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs"}"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let key = PrivateKey::from_jwk(KEY)?;
    let body = br#"{"sku":"alpaca-sock-blue-43","amount_minor":1299,"currency":"EUR"}"#;

    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    headers.insert(ContentDigest::FIELD, ContentDigest::field_value(body, &[DigestAlg::Sha256]).parse()?);

    let request_headers = HeaderMap::new();
    let request = Message::request("GET", "https://shop.example/oid4ac/offer/alpaca-sock-blue-43", &request_headers)?;
    let response = Message::response(200, &headers)?.in_reply_to(&request);

    let mut builder = SignatureBuilder::new("sig1")?;
    for component in ["@method;req", "@target-uri;req", "@authority;req", "content-type", "content-digest"] {
        builder = builder.component(Component::parse(component)?);
    }
    // The time and the nonce come from the caller: a server's clock, 16 random octets.
    let created = 1_700_000_000;
    let builder = builder.created(created).expires(created + 300).nonce("AAECAwQFBgcICQoLDA0ODw")?.keyid("k1")?.alg();
    let signed = builder.sign(&response, &key)?;
    println!("signed this:\n{}\n", signed.base());

    headers.append("signature-input", signed.signature_input().parse()?);
    headers.append("signature", signed.signature().parse()?);
    for (name, value) in &headers {
        println!("{name}: {}", value.to_str()?);
    }
    Ok(())
}
