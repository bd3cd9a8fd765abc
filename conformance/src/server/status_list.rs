//! The status list (W3C StatusList2021, OID4AC v1 §16).

use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use jose::{Alg, Typ, UnverifiedJws, base64url};
use serde_json::{Value, json};

use crate::agent::{Agent, Tokens};
use crate::check::{Check, run};
use crate::forge;
use crate::lie::{self, Lie};
use crate::outcome::{Outcome, Stop, broken, expect, failed};
use crate::wire::{Answer, Call};
use crate::world::{Part, World};

pub(super) fn checks() -> Vec<Check> {
    let section = "OID4AC v1 §16";
    let mut checks = vec![
        Check::server(
            "status_list.proof",
            "RFC 7515 appendix F",
            "`proof.jws` is a detached JWS over the canonical credential, by the authorization server's key",
            run!(proof),
        )
        .spoiled_by(lie::set(PATH, "/credentialSubject/note", json!("more than was signed"))),
        Check::server("status_list.etag", "RFC 9110 §13.1.2", "`If-None-Match` with its `ETag`: 304", run!(etag))
            .spoiled_by(lie::header(PATH, "etag", Some("\"another\""))),
        Check::server("status_list.clear", section, "the bit of a live mandate is 0", run!(clear))
            .spoiled_by(with_bits(0xff)),
        Check::server(
            "status_list.revoked",
            section,
            "a minute after a mandate was revoked, its bit is 1",
            run!(revoked),
        )
        .spoiled_by(with_bits(0)),
        Check::server("status_list.unknown", section, "a list that does not exist: 404", run!(unknown))
            .spoiled_by(lie::accepts(PATH, "not_found")),
        Check::server("status_list.minute", section, "the list is signed again every minute", run!(minute))
            .spoiled_by(lie::set(PATH, "/issuanceDate", json!("2020-01-01T00:00:00Z"))),
    ];
    for Row { what, expected, holds, lie } in rows() {
        checks.push(Check::server(format!("status_list.{what}"), section, expected, run!(list, holds)).spoiled_by(lie));
    }
    checks
}

/// A list as it was fetched.
struct List {
    answer: Answer,
    credential: Value,
    url: String,
    issuer: String,
    now: i64,
}

struct Row {
    what: &'static str,
    expected: &'static str,
    holds: fn(&List) -> bool,
    lie: Lie,
}

fn rows() -> Vec<Row> {
    let set = |pointer: &'static str, value: Value| lie::set(PATH, pointer, value);
    vec![
        Row {
            what: "id",
            expected: "`id` is the URL that the mandate names",
            holds: |list| list.credential["id"] == list.url,
            lie: set("/id", json!("https://elsewhere.example")),
        },
        Row {
            what: "issuer",
            expected: "`issuer` is the mandate's `iss`",
            holds: |list| list.credential["issuer"] == list.issuer,
            lie: set("/issuer", json!("https://elsewhere.example")),
        },
        Row {
            what: "purpose",
            expected: "`statusPurpose` is revocation",
            holds: |list| list.credential["credentialSubject"]["statusPurpose"] == "revocation",
            lie: set("/credentialSubject/statusPurpose", json!("suspension")),
        },
        Row {
            what: "size",
            expected: "`encodedList` is one gzip stream of at least 131072 bits",
            holds: |list| bits(&list.credential).is_some_and(|bits| bits.len() >= LEAST_OCTETS),
            lie: set("/credentialSubject/encodedList", json!(encoded(&[0; LEAST_OCTETS - 1]))),
        },
        Row {
            what: "issuance_date",
            expected: "`issuanceDate` is at most 420 s old",
            holds: |list| list.now - issued_at(&list.credential) <= 420,
            lie: set("/issuanceDate", json!("2020-01-01T00:00:00Z")),
        },
        Row {
            what: "proof_header",
            expected: "the proof's header has no `typ`, `b64` or `crit`",
            holds: |list| {
                let header = list.credential["proof"]["jws"].as_str().and_then(|jws| jws.split('.').next());
                let header = header.and_then(|header| base64url::decode(header).ok());
                let header = header.and_then(|header| jose::json::parse_object(&header).ok());
                header.is_some_and(|header| ["typ", "b64", "crit"].iter().all(|name| !header.contains_key(*name)))
            },
            lie: set("/proof/jws", json!("eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCJ9..AAAA")),
        },
        Row {
            what: "max_age",
            expected: "it may be kept for at most 300 s",
            holds: |list| {
                let directives = list.answer.header("cache-control").unwrap_or_default().split(',');
                let age = directives.filter_map(|directive| directive.trim().strip_prefix("max-age=")).next();
                age.and_then(|age| age.parse::<u32>().ok()).is_some_and(|age| age <= 300)
            },
            lie: lie::header(PATH, "cache-control", Some("max-age=86400")),
        },
    ]
}

/// A list of the least size, all of its octets the same.
fn with_bits(octet: u8) -> Lie {
    lie::set(PATH, "/credentialSubject/encodedList", json!(encoded(&[octet; LEAST_OCTETS])))
}

fn encoded(octets: &[u8]) -> String {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    let packed = gzip.write_all(octets).and_then(|()| gzip.finish()).unwrap_or_default();
    base64url::encode(&packed)
}

/// The bits of one gzip stream with nothing after it.
fn bits(credential: &Value) -> Option<Vec<u8>> {
    let text = credential["credentialSubject"]["encodedList"].as_str()?;
    let packed = base64url::decode(text.trim_start_matches('u').trim_end_matches('=')).ok()?;
    let mut reader = GzDecoder::new(packed.as_slice());
    let mut bits = Vec::new();
    reader.by_ref().take(MOST_OCTETS).read_to_end(&mut bits).ok()?;
    reader.into_inner().is_empty().then_some(bits)
}

fn issued_at(credential: &Value) -> i64 {
    let text = credential["issuanceDate"].as_str().unwrap_or_default();
    text.parse::<jiff::Timestamp>().map(jiff::Timestamp::as_second).unwrap_or(0)
}

/// Where a mandate's status is.
async fn place(world: &World) -> Result<(Agent<'_>, Tokens, String, u64), Stop> {
    let agent = world.agent(Part::Own).await?;
    let tokens = agent.ready().await?.tokens;
    let (_, claims) = forge::take_apart(tokens.mandate.split('~').next().unwrap_or_default())?;
    let status = &claims["credentialStatus"];
    let index = status["statusListIndex"].as_str().and_then(|index| index.parse().ok());
    match (status["statusListCredential"].as_str(), index) {
        (Some(url), Some(index)) => Ok((agent, tokens, url.to_owned(), index)),
        _ => broken("the mandate", "has no place in a status list"),
    }
}

async fn fetch(world: &World) -> Result<List, Stop> {
    let (_, _, url, _) = place(world).await?;
    let answer = world.http.get(&url).await?.done(200)?;
    Ok(List { credential: answer.json(), answer, url, issuer: world.issuer()?.to_owned(), now: world.now() })
}

async fn list(world: &World, holds: fn(&List) -> bool) -> Outcome {
    let right = holds(&fetch(world).await?);
    expect(right, if right { "as expected" } else { "something else" })
}

async fn proof(world: &World) -> Outcome {
    let mut credential = fetch(world).await?.credential;
    let jws = credential["proof"]["jws"].as_str().unwrap_or_default().to_owned();
    let Some((header, signature)) = jws.split_once("..") else { return failed("no detached JWS") };
    credential.as_object_mut().map(|members| members.remove("proof"));
    let payload = serde_json_canonicalizer::to_vec(&credential).unwrap_or_default();
    let compact = format!("{header}.{}.{signature}", base64url::encode(&payload));
    let jws = UnverifiedJws::parse(&compact).or_else(|error| failed(error.to_string()))?;
    let keys = world.as_keys().await?;
    let Some(jwk) = keys.find(jws.unverified_kid(), Alg::EdDsa) else { return failed("no key has its kid") };
    match jws.verify(jwk.key(), &[Alg::EdDsa], Typ::Absent) {
        Ok(_) => Ok("it verifies".to_owned()),
        Err(error) => failed(error.to_string()),
    }
}

async fn etag(world: &World) -> Outcome {
    let list = fetch(world).await?;
    let Some(etag) = list.answer.header("etag") else { return failed("no `ETag`") };
    let again = world.http.send(Call::get(&list.url).header("if-none-match", etag)).await?;
    expect(again.status == 304, again.summary())
}

/// The bit of a mandate; `None` outside the list.
async fn bit(world: &World, url: &str, index: u64) -> Result<Option<bool>, Stop> {
    let credential = world.http.get(url).await?.done(200)?.json();
    let Some(bits) = bits(&credential) else { return broken("the list", "does not decode") };
    let octet = usize::try_from(index / 8).ok().and_then(|at| bits.get(at).copied());
    Ok(octet.map(|octet| octet & (0x80 >> (index % 8)) != 0))
}

async fn clear(world: &World) -> Outcome {
    let (_, _, url, index) = place(world).await?;
    let bit = bit(world, &url, index).await?;
    expect(bit == Some(false), format!("{bit:?}"))
}

async fn revoked(world: &World) -> Outcome {
    let (agent, tokens, url, index) = place(world).await?;
    agent.revoke(&tokens.refresh_token).await?.done(200)?;
    world.wait(61).await?;
    let bit = bit(world, &url, index).await?;
    expect(bit == Some(true), format!("{bit:?}"))
}

async fn unknown(world: &World) -> Outcome {
    let list = place(world).await?.2;
    let answer = world.http.get(&format!("{list}00000")).await?;
    expect(answer.status == 404, answer.summary())
}

async fn minute(world: &World) -> Outcome {
    let (_, _, url, _) = place(world).await?;
    let first = issued_at(&world.http.get(&url).await?.done(200)?.json());
    world.wait(61).await?;
    let second = issued_at(&world.http.get(&url).await?.done(200)?.json());
    expect(second > first, format!("{} s later", second - first))
}

const PATH: &str = "/oauth/status-list/";
const LEAST_OCTETS: usize = 131_072 / 8;
const MOST_OCTETS: u64 = 16 * 1024 * 1024;
