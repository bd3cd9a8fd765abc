//! Inputs to start from, made with the fixed keys: each target's success is among them.

use std::sync::Arc;

use dpop::{Htu, Minter, Nonce, ProofRequest};
use http_sig::{Component, ContentDigest, DigestAlg, Message, SignatureBuilder};
use jose::{PrivateKey, Signer as _, TokenHeader, base64url, sign_compact};

use crate::keys::{ED25519, Fixed, NOW, P256};
use crate::sd_jwt;

fn texts<const N: usize>(texts: [&str; N]) -> Vec<Vec<u8>> {
    texts.into_iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn raw(text: &str) -> Vec<u8> {
    format!("r{text}").into_bytes()
}

pub(crate) fn json() -> Vec<Vec<u8>> {
    texts([
        r#"{"a":[1,-2,3.5e10,0.1,null,true,false],"b":{"c":"\u00e9\ud83d\ude00\n"},"":{}}"#,
        "[18446744073709551615,-9223372036854775808,1e-400,-0,-0.0]",
        r#"{"a":1,"\u0061":2}"#,
        r#""\ud800""#,
        " [ [ [ ] ] ] ",
    ])
}

pub(crate) fn base64url() -> Vec<Vec<u8>> {
    texts(["", "AA", "AAA", "AAAA", "_-8", "_-9", "AA==", "A A", "+/8"])
}

pub(crate) fn jwk() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for key in [&*ED25519, &*P256] {
        seeds.push(key.public_key().members_json().into_bytes());
        seeds.push(key.to_jwk().as_bytes().to_vec());
        let members = key.public_key().members_json();
        let more = r#","kid":"k","use":"sig","key_ops":["verify"],"x5t":"x"}"#;
        seeds.push(format!("{}{more}", &members[..members.len() - 1]).into_bytes());
    }
    seeds
}

pub(crate) fn jwks() -> Vec<Vec<u8>> {
    let (ed25519, p256) = (ED25519.public_key().members_json(), P256.public_key().members_json());
    let mut seeds = texts([r#"{"keys":[]}"#, r#"{"keys":[{"kty":"RSA"},{"kty":"oct","k":"AA"}]}"#]);
    seeds.push(format!(r#"{{"keys":[{ed25519},{p256},{ed25519}]}}"#).into_bytes());
    seeds
}

pub(crate) fn jws() -> Vec<Vec<u8>> {
    let mut seeds = texts([
        "s{\"alg\":\"EdDSA\"}\n{\"iss\":\"a\"}",
        "s{\"alg\":\"Ed25519\",\"typ\":\"JWT\",\"kid\":\"k\",\"cty\":\"x\"}\n",
        "s{\"alg\":\"ES256\"}\n{}",
        "s{\"alg\":\"none\"}\n{}",
        "s{\"alg\":\"EdDSA\",\"crit\":[\"b64\"],\"b64\":false}\n{}",
        "s{\"alg\":\"EdDSA\",\"jku\":\"https://a.example\"}\n{}",
    ]);
    for key in [&*ED25519, &*P256] {
        let header = TokenHeader::new("JWT").kid("k").jwk(key.public_key());
        seeds.push(raw(&signed(key, &TokenHeader::new("JWT").kid("k"))));
        seeds.push(raw(&signed(key, &header)));
    }
    seeds
}

fn signed(key: &PrivateKey, header: &TokenHeader<'_>) -> String {
    sign_compact(key, header, br#"{"iss":"a","exp":1700000060}"#).expect("a key in memory signs")
}

pub(crate) fn dpop() -> Vec<Vec<u8>> {
    let htu = Htu::parse("https://as.example/token").expect("a URI");
    let nonce = Nonce::parse("n-1").expect("a nonce");
    let mut seeds = Vec::new();
    for alg in [jose::Alg::EdDsa, jose::Alg::Es256] {
        let minter = Minter::new(Arc::new(PrivateKey::generate(alg, &Fixed)));
        let plain = ProofRequest::new("POST", &htu, NOW);
        for request in [plain.clone(), plain.access_token("token").nonce(&nonce)] {
            seeds.push(raw(minter.mint(&request, &Fixed).expect("a key in memory signs").expose()));
        }
    }
    let key = ED25519.public_key().members_json();
    let header = format!(r#"{{"alg":"EdDSA","typ":"dpop+jwt","jwk":{key}}}"#);
    let ath = dpop::Ath::of("token");
    for claims in [
        format!(r#"{{"jti":"j","htm":"POST","htu":"https://as.example/token","iat":{NOW}}}"#),
        format!(
            r#"{{"jti":"j","htm":"POST","htu":"HTTPS://AS.example:443/token?a#b","iat":{NOW}.5,"nonce":"n-1","ath":"{}"}}"#,
            ath.as_str()
        ),
    ] {
        seeds.push(format!("s{header}\n{claims}").into_bytes());
    }
    seeds
}

pub(crate) fn htu() -> Vec<Vec<u8>> {
    texts([
        "https://as.example/token",
        "HTTP://AS.Example:80?a=b#c",
        "https://[2001:DB8::1]:8443/%7e/../a",
        "https://user@as.example/",
        "https://0x7f.1/",
        "https://xn--mnchen-3ya.example/",
    ])
}

/// Claims and disclosures, as [`sd_jwt::verify`] takes them.
const ISSUED: [&str; 6] = [
    r#"{"iss":"https://issuer.example","exp":1700000060,"vct":"x"}"#,
    "{\"_sd\":[\"@0\",\"@1\"],\"_sd_alg\":\"sha-256\"}\n[\"s\",\"a\",1]\n[\"s\",\"b\",{\"c\":[]}]",
    "{\"_sd\":[\"@0\"],\"b\":{\"_sd\":[\"decoy\"]}}\n[\"s\",\"a\",{\"_sd\":[\"@1\"],\"l\":[{\"...\":\"@2\"},{\"...\":\"x\"}]}]\n[\"s\",\"b\",null]\n[\"s\",{\"c\":1}]",
    "{\"l\":[1,{\"...\":\"@0\"},[{\"...\":\"@1\"}]],\"nbf\":1699999999.5}\n[\"s\",\"x\"]\n[\"s\",[]]",
    "{\"a\":0,\"_sd\":[\"@0\"]}\n[\"s\",\"a\",1]",
    "{\"_sd\":[\"@0\",\"@0\"]}\n[\"s\",\"a\",1]",
];

pub(crate) fn sd_jwt_parse() -> Vec<Vec<u8>> {
    let mut seeds: Vec<_> = ISSUED.iter().map(|parts| sd_jwt::issue(parts.as_bytes()).into_bytes()).collect();
    seeds.push(sd_jwt::bound().into_bytes());
    seeds
}

pub(crate) fn sd_jwt_verify() -> Vec<Vec<u8>> {
    let mut seeds: Vec<_> = ISSUED.iter().map(|parts| format!("s{parts}").into_bytes()).collect();
    seeds.extend(ISSUED.iter().map(|parts| raw(&sd_jwt::issue(parts.as_bytes()))));
    seeds
}

pub(crate) fn sd_jwt_kb() -> Vec<Vec<u8>> {
    let mut seeds = vec![raw(&sd_jwt::bound())];
    let key = ED25519.public_key().members_json();
    for header in [String::new(), format!(r#"{{"alg":"EdDSA","typ":"kb+jwt","jwk":{key}}}"#)] {
        let claims =
            r#"{"iat":1700000000,"aud":"https://verifier.example","nonce":"n","sd_hash":"@","exp":1700000001}"#;
        seeds.push(format!("s{header}\n{claims}").into_bytes());
    }
    seeds
}

pub(crate) fn http_sig_parse() -> Vec<Vec<u8>> {
    texts([
        "\"content-digest\";key=\"sha-256\";req",
        "\"@query-param\";name=\"a%20b\"",
        "@method;req",
        "\"x-field\";sf;tr",
        "date;bs",
        "\"@status\"",
        "\"Date\"",
    ])
}

pub(crate) fn http_sig_digest() -> Vec<Vec<u8>> {
    let body = b"content\nof two lines";
    let mut seeds = Vec::new();
    for algs in [&[DigestAlg::Sha256][..], &[DigestAlg::Sha512, DigestAlg::Sha256]] {
        let mut seed = ContentDigest::field_value(body, algs).into_bytes();
        seed.push(b'\n');
        seed.extend_from_slice(body);
        seeds.push(seed);
    }
    seeds.push(b"md5=:AAAA:, unixsum=1\nx".to_vec());
    seeds
}

pub(crate) fn http_sig_verify() -> Vec<Vec<u8>> {
    let body = r#"{"hello": "world"}"#;
    let digest = ContentDigest::field_value(body.as_bytes(), &[DigestAlg::Sha256]);
    let fields = format!(
        "content-digest:{digest}\nX-Dict: a=1,  b=(1 2);c, d\nx-dict: e=:AA==:\nx-two:  a\nx-two: b \n\n{body}"
    );
    let request = "POST https://Example.com:8443/a%20b?x=1&y=a+b&z=%C3%A9";
    let mut seeds = Vec::new();
    for (components, answered, start) in [
        ("@method,@target-uri,@authority,@scheme,@request-target,@path,@query", "", request),
        ("content-digest,x-dict;sf,x-dict;key=\"b\",x-two,x-two;bs,@query-param;name=\"y\"", "", request),
        ("@status,content-digest,@method;req,@query;req,x-field;key=\"b\";req", "GET https://example.com/?q", "200"),
        ("", "", "GET https://example.com"),
    ] {
        seeds.push(format!("s{components}\n{answered}\n{start}\n{fields}").into_bytes());
    }
    let input = r#"("@method" "x-dict";key="b" "@path");created=1700000000;keyid="k";alg="ed25519";x=?0;y=tok;z=1.50"#;
    seeds.push(format!("S{input}\n\n{request}\n{fields}").into_bytes());

    let list: [(&str, &[u8]); 1] = [("content-digest", digest.as_bytes())];
    let message = Message::request("POST", "https://example.com/", &list).expect("a request");
    let builder = SignatureBuilder::new("s").expect("a label");
    let builder = ["@method", "content-digest"]
        .into_iter()
        .fold(builder, |builder, name| builder.component(Component::parse(name).expect("a component")));
    let builder = builder.created(NOW).expires(NOW + 60).alg().keyid("k").expect("a name").tag("t").expect("a tag");
    let signed = builder.sign(&message, &*ED25519).expect("a key in memory signs");
    let signature = format!("signature-input:{}\nsignature:{}", signed.signature_input(), signed.signature());
    let raw = format!("r\n\nPOST https://example.com/\ncontent-digest:{digest}\n{signature}\n\n{body}");
    seeds.push(raw.into_bytes());
    seeds
}

pub(crate) fn status_list() -> Vec<Vec<u8>> {
    // W3C Bitstring Status List and StatusList2021: 131,072 entries, none set.
    let list = "H4sIAAAAAAAAA-3BMQEAAADCoPVPbQwfoAAAAAAAAAAAAAAAAAAAAIC3AYbSVKsAQAAA";
    let mut seeds = vec![raw(list), raw(&format!("u{list}")), raw(&format!("{}=", list.replace('-', "+")))];
    let octets = base64url::decode(list).expect("base64url");
    seeds.push([&b"g"[..], &octets].concat());
    seeds.push(b"s\x80\x00\x01".to_vec());
    seeds
}

pub(crate) fn audit() -> Vec<Vec<u8>> {
    let first = r#"{"seq":1,"ts":"2026-05-15T05:21:28Z","event":"e","tenant_id":"t","prev_hash":"p","entry_hash":"h"}"#;
    let second = first.replacen('1', "2", 1);
    vec![
        raw(r#"{"entries":[],"has_more":false}"#),
        raw(&format!(r#"{{"entries":[{second},{first}],"has_more":true,"chain_head":"a.b.c"}}"#)),
        br#"s{"amount_minor":1299,"\u00e9":[1.5,-0.0,1e-7,null,true,"\n\ud83d\ude00"],"z":{},"a":{"b":-3}}"#.to_vec(),
        b"s9007199254740993".to_vec(),
    ]
}
