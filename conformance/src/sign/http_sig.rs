//! Signed requests and responses.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_sig::{Component, ContentDigest, DigestAlg, Message, SignatureBuilder};
use jose::{PrivateKey, Signer as _, random_token};
use serde_json::{Value, json};

use super::bench::{ALGS, Bench};

pub(super) fn cases(bench: &Bench) -> anyhow::Result<Vec<Value>> {
    let mut cases = Vec::new();
    for alg in ALGS {
        let key = bench.key(alg);
        for (name, start, request, tag, components) in [
            (
                "request",
                Start::Request("POST", "https://Example.com:8443/a%20b/c?x=1&y=a+b&z=%C3%A9&e="),
                None,
                None,
                &["@method", "@target-uri", "@authority", "@scheme", "@request-target", "@path", "@query"][..],
            ),
            (
                "request with content",
                Start::Request("PUT", "https://example.com/orders"),
                None,
                Some("orders"),
                &["@method", "@path", "content-type", "content-digest", "content-length"],
            ),
            (
                "request with parameters of fields and of the query",
                Start::Request("GET", "https://example.com/?id=7&q=a%20b"),
                None,
                None,
                &["@query-param;name=\"id\"", "example-dict;key=\"b\"", "example-dict;key=\"c\"", "example-dict"],
            ),
            ("nothing covered", Start::Request("GET", "https://example.com/"), None, Some("empty"), &[]),
            (
                "request of a bot",
                Start::Request("GET", "https://example.com/robots.txt"),
                None,
                Some("web-bot-auth"),
                &["@authority"],
            ),
            ("response", Start::Response(200), None, None, &["@status", "content-type", "content-digest"]),
            (
                "response bound to its request",
                Start::Response(503),
                Some(("POST", "https://example.com/foo?param=Value&Pet=dog")),
                Some("bound"),
                &[
                    "@status",
                    "content-digest",
                    "@method;req",
                    "@target-uri;req",
                    "@authority;req",
                    "@query;req",
                    "content-digest;req",
                ],
            ),
        ] {
            let case = Case { name, start, request, tag, components };
            cases.push(case.sign(bench, &key)?);
        }
    }
    Ok(cases)
}

struct Case<'a> {
    name: &'a str,
    start: Start<'a>,
    request: Option<(&'a str, &'a str)>,
    tag: Option<&'a str>,
    components: &'a [&'a str],
}

#[derive(Clone, Copy)]
enum Start<'a> {
    Request(&'a str, &'a str),
    Response(u16),
}

impl Case<'_> {
    fn sign(&self, bench: &Bench, key: &PrivateKey) -> anyhow::Result<Value> {
        let body = br#"{"hello": "world"}"#;
        let mut headers = fields(body, DigestAlg::Sha512);
        let request_headers = fields(b"the request's", DigestAlg::Sha256);
        let (lines, request_lines) = (pairs(&headers), pairs(&request_headers));
        let request = match self.request {
            Some((method, url)) => Some(Message::request(method, url, &*request_lines)?),
            None => None,
        };
        let mut message = match self.start {
            Start::Request(method, url) => Message::request(method, url, &*lines)?,
            Start::Response(status) => Message::response(status, &*lines)?,
        };
        if let Some(request) = &request {
            message = message.in_reply_to(request);
        }

        let keyid = key.public_key().thumbprint().as_str();
        let mut builder = SignatureBuilder::new("sig1")?;
        for component in self.components {
            builder = builder.component(Component::parse(component)?);
        }
        builder = builder.created(bench.now).keyid(keyid)?.alg().expires(bench.now + 300);
        builder = builder.nonce(&STANDARD.encode(random_token::<48>(&bench.rng)))?;
        if let Some(tag) = self.tag {
            builder = builder.tag(tag)?;
        }
        let signed = builder.sign(&message, key)?;
        drop(lines);
        headers.push(("Signature-Input", signed.signature_input().to_owned()));
        headers.push(("Signature", signed.signature().to_owned()));

        let described = match self.start {
            Start::Request(method, url) => json!({ "kind": "request", "method": method, "url": url }),
            Start::Response(status) => json!({ "kind": "response", "status": status }),
        };
        let request = self.request.map(|(method, url)| {
            json!({
                "kind": "request", "method": method, "url": url, "headers": request_headers,
                "body_b64": STANDARD.encode("the request's"),
            })
        });
        let mut case = json!({
            "id": format!("{} {}", key.public_key().alg(), self.name),
            "message": described,
            "keys": { keyid: key.public_key().to_jwk() },
            "label": "sig1",
            "now": bench.now,
            "max_age": 60,
            "require": self.components,
            "value": { "label": "sig1", "base": signed.base() },
        });
        case["message"]["headers"] = json!(headers);
        case["message"]["body_b64"] = STANDARD.encode(body).into();
        if let Some(request) = request {
            case["request"] = request;
        }
        Ok(case)
    }
}

fn fields(body: &[u8], digest: DigestAlg) -> Vec<(&'static str, String)> {
    vec![
        ("Content-Type", "application/json".to_owned()),
        ("Content-Length", body.len().to_string()),
        ("Content-Digest", ContentDigest::field_value(body, &[digest])),
        ("Example-Dict", "a=1, b=2;x=1;y=2, c=(a b c), d".to_owned()),
    ]
}

fn pairs<'a>(fields: &'a [(&'a str, String)]) -> Vec<(&'a str, &'a [u8])> {
    fields.iter().map(|(name, value)| (*name, value.as_bytes())).collect()
}
