//! A client verifies what `sign_response` made, then the same with one octet changed:
//! `cargo run -p oid4ac-http-sig --example verify_response`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use http::{HeaderMap, HeaderValue};
use http_sig::{Component, DigestAlg, Message, Verifier};
use jose::{Jwk, JwkSet};

const KEYS: &[u8] =
    br#"{"keys":[{"kid":"k1","kty":"OKP","crv":"Ed25519","x":"JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs"}]}"#;
const BODY: &[u8] = br#"{"sku":"alpaca-sock-blue-43","amount_minor":1299,"currency":"EUR"}"#;
const HEADERS: [(&str, &str); 4] = [
    ("content-type", "application/json"),
    ("content-digest", "sha-256=:Slt9tRda4i0IV3AcxBIIJGaFpTxmudQoTsC4UK5OvZg=:"),
    (
        "signature-input",
        r#"sig1=("@method";req "@target-uri";req "@authority";req "content-type" "content-digest");created=1700000000;expires=1700000300;nonce="AAECAwQFBgcICQoLDA0ODw";keyid="k1";alg="ed25519""#,
    ),
    ("signature", "sig1=:GzQwDYTdHWp6PM4Xcl3WdBcTrUDHKlLarHGTnDHnznSE+XPD8cHhJSUPIkb/OxYrj7ugXiDGAMrSro+jnfSeCA==:"),
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let keys = JwkSet::parse(KEYS)?;
    let mut headers = HeaderMap::new();
    for (name, value) in HEADERS {
        headers.append(name, HeaderValue::from_static(value));
    }

    // What an OID4AC client asks of an offer. Built once.
    let mut verifier =
        Verifier::new().require_content_digest(&[DigestAlg::Sha256]).require_nonce().max_lifetime(300).skew(60);
    for component in ["@method", "@target-uri", "@authority", "content-type"] {
        verifier = verifier.require(Component::parse(component)?);
    }

    // The request that was really sent is what `;req` is compared with.
    let request_headers = HeaderMap::new();
    let request = Message::request("GET", "https://shop.example/oid4ac/offer/alpaca-sock-blue-43", &request_headers)?;
    let find = |keyid: &str| keys.keys().iter().find(|jwk| jwk.kid() == Some(keyid)).map(Jwk::key);
    let now = 1_700_000_010;

    let response = Message::response(200, &headers)?.in_reply_to(&request).with_body(BODY);
    let verified = verifier.verify(&response, now, find)?;
    println!("{} by {} covers {:?}", verified.label(), verified.keyid(), verified.components());

    let cheaper = String::from_utf8(BODY.to_vec())?.replace("1299", "1199");
    let response = response.with_body(cheaper.as_bytes());
    match verifier.verify(&response, now, find) {
        Err(error) => println!("with another price: {error}"),
        Ok(_) => return Err("another price was accepted".into()),
    }
    let later = verifier.verify(&response.with_body(BODY), now + 300, find);
    match later {
        Err(error) => println!("after five minutes: {error}"),
        Ok(_) => return Err("an expired signature was accepted".into()),
    }
    Ok(())
}
