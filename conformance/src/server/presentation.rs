//! Presenting a mandate: what the merchant verifies before it looks at the goods (RFC 9901, OID4AC v1 §10 and §13).

use http::StatusCode;
use jose::{Alg, Signer as _, base64url, sha256};
use serde_json::{Value, json};

use crate::agent::{Agent, Purchase, Tokens, kb_nonce, random};
use crate::check::{Check, run};
use crate::forge;
use crate::forge::new_key;
use crate::lie;
use crate::outcome::{Outcome, Stop, expect};
use crate::wire::{Answer, Call};
use crate::world::{Offer, Part, World};

pub(super) fn checks() -> Vec<Check> {
    let accepts = || lie::refuses(PATH, StatusCode::OK);
    let mut checks = vec![
        Check::server(
            "present.challenge",
            "OID4AC v1 §10",
            "a KB-JWT that answers a challenge: 200",
            run!(by_challenge),
        )
        .spoiled_by(accepts()),
        Check::server(
            "present.offer_nonce",
            "OID4AC v1 §10",
            "a KB-JWT that answers the nonce of the signed offer: 200",
            run!(by_offer_nonce),
        )
        .spoiled_by(accepts()),
        Check::server(
            "present.unnamed_nonce",
            "OID4AC v1 §10",
            "a presentation that does not name the challenge it answers: 200",
            run!(by_unnamed_nonce),
        )
        .spoiled_by(accepts()),
        Check::server(
            "present.disclosures",
            "RFC 9901 §7.2",
            "a presentation with all disclosures that the mandate has: 200",
            run!(with_disclosures),
        )
        .spoiled_by(accepts()),
        Check::server(
            "present.no_nonce",
            "OID4AC v1 §13",
            "no nonce: 401 mandate_nonce_required, `WWW-Authenticate: DPoP` without `error`",
            run!(no_nonce),
        )
        .spoiled_by(lie::header(PATH, "www-authenticate", Some("DPoP error=\"use_dpop_nonce\""))),
        Check::server(
            "present.next_challenge",
            "OID4AC v1 §10",
            "a refusal brings a new challenge, as `Mandate-Nonce` and as `challenge_nonce`",
            run!(next_challenge),
        )
        .spoiled_by(lie::header(PATH, "mandate-nonce", None)),
        Check::server(
            "present.challenge_survives",
            "OID4AC v1 §13",
            "a refused KB-JWT does not spend the challenge",
            run!(challenge_survives),
        )
        .spoiled_by(accepts()),
        Check::server(
            "present.challenge_once",
            "OID4AC v1 §10",
            "a challenge works once: the next KB-JWT that answers it gets 422 mandate_kb_nonce_mismatch",
            run!(challenge_once),
        ),
        Check::server(
            "present.challenge_expiry",
            "OID4AC v1 §10",
            "a challenge that is 300 s old: 422 mandate_kb_nonce_mismatch",
            run!(challenge_expiry),
        ),
        Check::server(
            "present.made_up_nonce",
            "OID4AC v1 §10",
            "a nonce that was never issued: 422 mandate_kb_nonce_mismatch",
            run!(made_up_nonce),
        ),
        Check::server(
            "present.nonce_of_another_offer",
            "OID4AC v1 §10",
            "the nonce of another item's offer: 422 mandate_kb_nonce_mismatch",
            run!(nonce_of_another_offer),
        ),
        Check::server(
            "present.offer_nonce_once",
            "OID4AC v1 §10",
            "an offer's nonce works once per mandate: then 422 mandate_kb_nonce_mismatch",
            run!(offer_nonce_once),
        ),
        Check::server(
            "present.offer_nonce_expiry",
            "OID4AC v1 §10",
            "the nonce of an expired offer: 422 mandate_kb_nonce_mismatch",
            run!(offer_nonce_expiry),
        ),
        Check::server(
            "present.no_key_binding",
            "RFC 9901 §7.3",
            "no KB-JWT: 422 mandate_signature_invalid",
            run!(no_key_binding),
        )
        .spoiled_by(lie::accepts(PATH, SIGNATURE)),
        Check::server(
            "present.another_audience",
            "OID4AC v1 §10",
            "a mandate for another merchant: 422 mandate_audience_mismatch",
            run!(another_audience),
        ),
        Check::server("present.expired", "OID4AC v1 §10", "an expired mandate: 422 mandate_expired", run!(expired)),
        Check::server(
            "present.not_yet_valid",
            "OID4AC v1 §10",
            "a mandate that is not valid yet: 422 mandate_not_yet_valid",
            run!(not_yet_valid),
        ),
    ];
    for (what, change) in BODIES {
        let expected = format!("{}: 400 invalid_request", what.replace('_', " "));
        let check = Check::server(format!("present.refuses_{what}"), "OID4AC v1 §13", expected, run!(body, change));
        checks.push(check.spoiled_by(lie::accepts(PATH, "invalid_request")));
    }
    for (what, section, error, change) in KEY_BINDINGS {
        let expected = format!("a KB-JWT {}: 422 {error}", what.replace('_', " "));
        let check = Check::server(format!("kb.refuses_{what}"), section, expected, run!(key_binding, change, error));
        checks.push(check.spoiled_by(lie::accepts(PATH, error)));
    }
    for (what, section, make) in MANDATES {
        let expected = format!("a mandate {}: 422 {SIGNATURE}", what.replace('_', " "));
        let check = Check::server(format!("mandate.refuses_{what}"), section, expected, run!(mandate, make));
        checks.push(check.spoiled_by(lie::accepts(PATH, SIGNATURE)));
    }
    for alg in forge::Alg::ALL {
        let expected = format!("a KB-JWT under alg {}: 422 {SIGNATURE}", alg.name());
        let id = format!("alg.kb_jwt_{}", alg.slug());
        let check = Check::server(id, "OID4AC v1 §17", expected, run!(kb_algorithm, alg));
        checks.push(check.spoiled_by(lie::accepts(PATH, SIGNATURE)));
        let expected = format!("a mandate under alg {}: 422 {SIGNATURE}", alg.name());
        let id = format!("alg.mandate_{}", alg.slug());
        let check = Check::server(id, "OID4AC v1 §17", expected, run!(mandate_algorithm, alg));
        checks.push(check.spoiled_by(lie::accepts(PATH, SIGNATURE)));
    }
    checks
}

type BodyChange = fn(&mut Value);

const BODIES: [(&str, BodyChange); 11] = [
    ("no_presentation", |b| remove(b, "presentation")),
    ("a_presentation_that_is_a_number", |b| b["presentation"] = json!(7)),
    ("no_line_items", |b| remove(b, "line_items")),
    ("an_empty_list_of_line_items", |b| b["line_items"] = json!([])),
    ("a_line_without_quantity", |b| remove(&mut b["line_items"][0], "qty")),
    ("a_quantity_of_zero", |b| b["line_items"][0]["qty"] = json!(0)),
    ("a_negative_quantity", |b| b["line_items"][0]["qty"] = json!(-1)),
    ("a_fractional_quantity", |b| b["line_items"][0]["qty"] = json!(1.5)),
    ("no_idempotency_key", |b| remove(b, "idempotency_key")),
    ("an_empty_idempotency_key", |b| b["idempotency_key"] = json!("")),
    ("an_idempotency_key_of_129_characters", |b| b["idempotency_key"] = json!("x".repeat(129))),
];

pub(super) fn remove(value: &mut Value, name: &str) {
    if let Some(members) = value.as_object_mut() {
        members.remove(name);
    }
}

/// A KB-JWT before it is signed.
struct KeyBinding {
    header: Value,
    claims: Value,
    signer: Signer,
}

#[derive(Clone, Copy)]
enum Signer {
    Holder,
    Stranger,
    /// A stranger who says that the key is its own.
    NamedStranger,
    /// The same, with a P-256 key.
    NamedP256,
}

type KbChange = fn(&mut KeyBinding, i64);

const KEY_BINDINGS: [(&str, &str, &str, KbChange); 20] = [
    ("for_another_audience", "RFC 9901 §7.3", "mandate_kb_audience_mismatch", |kb, _| {
        kb.claims["aud"] = json!("https://shop.example");
    }),
    ("for_a_list_of_audiences", "RFC 9901 §4.3", SIGNATURE, |kb, _| kb.claims["aud"] = json!([kb.claims["aud"]])),
    ("without_aud", "RFC 9901 §4.3", SIGNATURE, |kb, _| remove(&mut kb.claims, "aud")),
    ("with_another_nonce", "RFC 9901 §7.3", NONCE, |kb, _| kb.claims["nonce"] = json!(kb_nonce("another", None))),
    ("without_nonce", "RFC 9901 §4.3", SIGNATURE, |kb, _| remove(&mut kb.claims, "nonce")),
    ("over_another_presentation", "RFC 9901 §7.3", SIGNATURE, |kb, _| {
        kb.claims["sd_hash"] = json!(base64url::encode(&sha256(b"another")));
    }),
    ("without_sd_hash", "RFC 9901 §4.3", SIGNATURE, |kb, _| remove(&mut kb.claims, "sd_hash")),
    ("that_is_301_s_old", "OID4AC v1 §10", NONCE, |kb, now| kb.claims["iat"] = json!(now - 305)),
    ("from_61_s_ahead", "OID4AC v1 §10", NONCE, |kb, now| kb.claims["iat"] = json!(now + 65)),
    ("without_iat", "RFC 9901 §4.3", SIGNATURE, |kb, _| remove(&mut kb.claims, "iat")),
    ("that_has_expired", "RFC 7519 §4.1.4", NONCE, |kb, now| kb.claims["exp"] = json!(now - 1)),
    ("of_another_typ", "RFC 9901 §4.3", SIGNATURE, |kb, _| kb.header["typ"] = json!("dpop+jwt")),
    ("without_typ", "RFC 9901 §4.3", SIGNATURE, |kb, _| remove(&mut kb.header, "typ")),
    ("without_a_key", "OID4AC v1 §10", SIGNATURE, |kb, _| remove(&mut kb.header, "jwk")),
    ("signed_by_a_stranger", "RFC 9901 §7.3", SIGNATURE, |kb, _| kb.signer = Signer::Stranger),
    ("by_a_stranger_with_a_key_of_its_own", "OID4AC v1 §10", SIGNATURE, |kb, _| kb.signer = Signer::NamedStranger),
    ("by_a_p256_key", "OID4AC v1 §17", SIGNATURE, |kb, _| kb.signer = Signer::NamedP256),
    ("with_a_private_member_in_its_key", "OID4AC v1 §10", SIGNATURE, |kb, _| {
        kb.header["jwk"]["d"] = json!(base64url::encode(&[7; 32]));
    }),
    ("with_a_critical_header", "RFC 7515 §4.1.11", SIGNATURE, |kb, _| {
        kb.header["crit"] = json!(["x-unknown"]);
        kb.header["x-unknown"] = json!(true);
    }),
    ("with_a_key_by_reference", "OID4AC v1 §17", SIGNATURE, |kb, _| kb.header["jku"] = json!("https://evil.example")),
];

type Make = fn(&Parts) -> String;

/// The issuer-signed JWT in its parts.
struct Parts {
    jwt: String,
    header: Value,
    claims: Value,
    access_token: String,
}

impl Parts {
    /// Another header or other claims before the issuer's signature.
    fn forged(&self, change: impl FnOnce(&mut Value, &mut Value)) -> String {
        let (mut header, mut claims) = (self.header.clone(), self.claims.clone());
        change(&mut header, &mut claims);
        let signature = base64url::decode(self.jwt.rsplit('.').next().unwrap_or_default()).unwrap_or_default();
        forge::with_signature(&header.to_string(), &claims.to_string(), |_| signature)
    }
}

const MANDATES: [(&str, &str, Make); 13] = [
    ("with_another_amount", "RFC 9901 §7.1", |p| {
        format!("{}~", p.forged(|_, claims| claims["authorization_details"][0]["amount_minor"] = json!(1)))
    }),
    ("with_another_merchant", "RFC 9901 §7.1", |p| {
        format!(
            "{}~",
            p.forged(|_, claims| claims["authorization_details"][0]["merchant"] = json!("https://x.example"))
        )
    }),
    ("with_another_holder", "RFC 9901 §7.1", |p| {
        format!("{}~", p.forged(|_, claims| claims["cnf"]["jkt"] = json!("A".repeat(43))))
    }),
    ("with_a_longer_life", "RFC 9901 §7.1", |p| {
        format!("{}~", p.forged(|_, claims| claims["exp"] = json!(claims["exp"].as_i64().unwrap_or_default() + 900)))
    }),
    ("of_another_typ", "OID4AC v1 §10", |p| format!("{}~", p.forged(|header, _| header["typ"] = json!("at+jwt")))),
    ("with_an_unknown_kid", "OID4AC v1 §10", |p| {
        format!("{}~", p.forged(|header, _| header["kid"] = json!("unknown")))
    }),
    ("signed_by_a_stranger", "RFC 9901 §7.1", |p| {
        format!("{}~", forge::sign(&p.header, &p.claims, &new_key(Alg::EdDsa)))
    }),
    ("with_an_embedded_key", "OID4AC v1 §17", |p| {
        let own = new_key(Alg::EdDsa);
        let mut header = p.header.clone();
        header["jwk"] = json!(own.public_key().to_jwk());
        format!("{}~", forge::sign(&header, &p.claims, &own))
    }),
    ("with_a_disclosure_that_nobody_signed", "RFC 9901 §7.1", |p| {
        format!("{}~{}~", p.jwt, base64url::encode(br#"["c2FsdA","admin",true]"#))
    }),
    ("with_a_disclosure_that_is_none", "RFC 9901 §7.1", |p| format!("{}~{}~", p.jwt, base64url::encode(b"{}"))),
    ("that_is_an_access_token", "RFC 8725 §3.11", |p| format!("{}~", p.access_token)),
    ("without_a_signature", "RFC 7515 §5.2", |p| {
        format!("{}.~", p.jwt.rsplit_once('.').map_or("", |(signed, _)| signed))
    }),
    ("that_is_no_jwt", "RFC 9901 §7.1", |_| "what?~".to_owned()),
];

/// Everything for one payment, and a challenge to answer.
pub(super) struct Ready<'w> {
    pub(super) agent: Agent<'w>,
    offer: Offer,
    pub(super) purchase: Purchase,
    pub(super) tokens: Tokens,
    challenge: String,
}

impl<'w> Ready<'w> {
    pub(super) async fn new(world: &'w World) -> Result<Self, Stop> {
        world.may_pay()?;
        let agent = world.agent(Part::Own).await?;
        let crate::agent::Ready { offer, purchase, tokens } = agent.ready().await?;
        let challenge = agent.challenge(&purchase.shop).await?;
        Ok(Self { agent, offer, purchase, tokens, challenge })
    }

    async fn post(&self, body: &Value) -> Result<Answer, Stop> {
        self.agent.post_body(&self.purchase.shop, body).await
    }

    pub(super) fn body(&self) -> Result<Value, Stop> {
        self.agent.body(&self.purchase, &self.tokens.mandate, &self.challenge, &random::<16>())
    }

    fn jwt(&self) -> String {
        self.tokens.mandate.split('~').next().unwrap_or_default().to_owned()
    }

    fn kb_header(&self) -> Value {
        json!({ "alg": "EdDSA", "typ": "kb+jwt", "jwk": self.agent.identity.dpop_key.public_key().to_jwk() })
    }

    fn kb_claims(&self, presented: &str) -> Value {
        json!({
            "iat": self.agent.world.now(),
            "aud": self.purchase.shop.origin,
            "nonce": kb_nonce(&self.challenge, self.purchase.offer_digest.as_deref()),
            "sd_hash": base64url::encode(&sha256(presented.as_bytes())),
        })
    }

    /// A body whose presentation ends in this KB-JWT.
    fn with_kb(&self, presented: &str, kb_jwt: &str) -> Result<Value, Stop> {
        let mut body = self.body()?;
        body["presentation"] = format!("{presented}{kb_jwt}").into();
        Ok(body)
    }

    /// A body that presents this, under a KB-JWT that is as it should be.
    fn presenting(&self, presented: &str) -> Result<Value, Stop> {
        let claims = self.kb_claims(presented);
        let kb_jwt = forge::sign(&self.kb_header(), &claims, &self.agent.identity.dpop_key);
        self.with_kb(presented, &kb_jwt)
    }
}

async fn by_challenge(world: &World) -> Outcome {
    let ready = Ready::new(world).await?;
    ready.post(&ready.body()?).await?.accepted(200)
}

async fn by_offer_nonce(world: &World) -> Outcome {
    let agent = world.agent(Part::Own).await?;
    world.may_pay()?;
    let ready = agent.ready().await?;
    let nonce = &ready.offer.nonce;
    agent.present(&ready.purchase, &ready.tokens.mandate, nonce, &random::<16>()).await?.accepted(200)
}

async fn by_unnamed_nonce(world: &World) -> Outcome {
    let mut ready = Ready::new(world).await?;
    ready.challenge = ready.agent.own_challenge(&ready.purchase, &ready.tokens.mandate).await?;
    let mut body = ready.body()?;
    remove(&mut body, "merchant_nonce");
    ready.post(&body).await?.accepted(200)
}

async fn with_disclosures(world: &World) -> Outcome {
    let ready = Ready::new(world).await?;
    let all = sd_jwt::complete(&ready.tokens.mandate).into_owned();
    ready.post(&ready.presenting(&all)?).await?.accepted(200)
}

async fn no_nonce(world: &World) -> Outcome {
    let ready = Ready::new(world).await?;
    let answer = ready.agent.present(&ready.purchase, &ready.tokens.mandate, "", &random::<16>()).await?;
    let header = answer.header("www-authenticate").unwrap_or("no WWW-Authenticate");
    let is_plain = header.starts_with("DPoP") && !header.contains("error");
    expect(answer.is(401, "mandate_nonce_required") && is_plain, format!("{}, {header}", answer.summary()))
}

async fn next_challenge(world: &World) -> Outcome {
    let shop = world.shop(0)?;
    let refused = async || world.http.send(Call::post(&shop.verify_url).json(&json!({}))).await?.done(400);
    let (one, two) = (refused().await?, refused().await?);
    let json = two.json();
    let (header, member) = (two.header("mandate-nonce"), json["challenge_nonce"].as_str());
    let seen = match (header, member) {
        (None, _) => "no header",
        (_, None) => "no member",
        (a, b) if a != b => "two different ones",
        (a, _) if a == one.header("mandate-nonce") => "the same again",
        _ => "a new one, as both",
    };
    expect(seen.starts_with("a new one"), seen)
}

async fn challenge_survives(world: &World) -> Outcome {
    let ready = Ready::new(world).await?;
    let presented = format!("{}~", ready.jwt());
    let mut claims = ready.kb_claims(&presented);
    claims["aud"] = json!("https://shop.example");
    let kb_jwt = forge::sign(&ready.kb_header(), &claims, &ready.agent.identity.dpop_key);
    ready.post(&ready.with_kb(&presented, &kb_jwt)?).await?;
    ready.post(&ready.body()?).await?.accepted(200)
}

async fn challenge_once(world: &World) -> Outcome {
    let ready = Ready::new(world).await?;
    let mut body = ready.body()?;
    let first = ready.post(&body).await?;
    if first.status != 200 {
        return Err(Stop::Broken(format!("the first presentation: {}", first.summary())));
    }
    // Signed a second later, so that it is another KB-JWT.
    let presented = format!("{}~", ready.jwt());
    let mut claims = ready.kb_claims(&presented);
    claims["iat"] = json!(world.now() + 1);
    let kb_jwt = forge::sign(&ready.kb_header(), &claims, &ready.agent.identity.dpop_key);
    body["presentation"] = format!("{presented}{kb_jwt}").into();
    ready.post(&body).await?.refused(422, NONCE)
}

async fn challenge_expiry(world: &World) -> Outcome {
    let ready = Ready::new(world).await?;
    world.wait(300).await?;
    ready.post(&ready.body()?).await?.refused(422, NONCE)
}

async fn made_up_nonce(world: &World) -> Outcome {
    let ready = Ready::new(world).await?;
    let (purchase, mandate) = (&ready.purchase, &ready.tokens.mandate);
    ready.agent.present(purchase, mandate, &random::<16>(), &random::<16>()).await?.refused(422, NONCE)
}

async fn nonce_of_another_offer(world: &World) -> Outcome {
    let ready = Ready::new(world).await?;
    let skus = world.skus(&ready.purchase.shop).await?;
    let Some(other) = skus.get(1) else { return Err(Stop::Skipped("needs two items in stock".to_owned())) };
    let nonce = world.offer(&ready.purchase.shop, other).await?.nonce;
    let (purchase, mandate) = (&ready.purchase, &ready.tokens.mandate);
    ready.agent.present(purchase, mandate, &nonce, &random::<16>()).await?.refused(422, NONCE)
}

async fn offer_nonce_once(world: &World) -> Outcome {
    let ready = Ready::new(world).await?;
    let (purchase, mandate, nonce) = (&ready.purchase, &ready.tokens.mandate, &ready.offer.nonce);
    let key = random::<16>();
    let first = ready.agent.present(purchase, mandate, nonce, &key).await?;
    if first.status != 200 {
        return Err(Stop::Broken(format!("the first presentation: {}", first.summary())));
    }
    world.wait(1).await?;
    ready.agent.present(purchase, mandate, nonce, &key).await?.refused(422, NONCE)
}

async fn offer_nonce_expiry(world: &World) -> Outcome {
    let ready = Ready::new(world).await?;
    world.wait(300).await?;
    let (purchase, mandate) = (&ready.purchase, &ready.tokens.mandate);
    ready.agent.present(purchase, mandate, &ready.offer.nonce, &random::<16>()).await?.refused(422, NONCE)
}

async fn no_key_binding(world: &World) -> Outcome {
    let ready = Ready::new(world).await?;
    let body = ready.with_kb(&format!("{}~", ready.jwt()), "")?;
    ready.post(&body).await?.refused(422, SIGNATURE)
}

async fn another_audience(world: &World) -> Outcome {
    let other = world.shop(1)?;
    let ready = Ready::new(world).await?;
    let answer = ready.agent.post_body(&other, &ready.body()?).await?;
    answer.refused(422, "mandate_audience_mismatch")
}

async fn expired(world: &World) -> Outcome {
    let ready = Ready::new(world).await?;
    world.wait(900).await?;
    ready.agent.pay(&ready.purchase, &ready.tokens.mandate, &random::<16>()).await?.refused(422, "mandate_expired")
}

async fn not_yet_valid(world: &World) -> Outcome {
    let ready = Ready::new(world).await?;
    world.turn_back(61)?;
    ready.post(&ready.body()?).await?.refused(422, "mandate_not_yet_valid")
}

async fn body(world: &World, change: BodyChange) -> Outcome {
    let ready = Ready::new(world).await?;
    let mut body = ready.body()?;
    change(&mut body);
    ready.post(&body).await?.refused(400, "invalid_request")
}

async fn key_binding(world: &World, change: KbChange, error: &'static str) -> Outcome {
    let ready = Ready::new(world).await?;
    let presented = format!("{}~", ready.jwt());
    let claims = ready.kb_claims(&presented);
    let mut kb = KeyBinding { header: ready.kb_header(), claims, signer: Signer::Holder };
    change(&mut kb, world.now());
    let stranger = new_key(if matches!(kb.signer, Signer::NamedP256) { Alg::Es256 } else { Alg::EdDsa });
    if matches!(kb.signer, Signer::NamedStranger | Signer::NamedP256) {
        kb.header["jwk"] = json!(stranger.public_key().to_jwk());
        kb.header["alg"] = stranger.public_key().alg().name().into();
    }
    let key = if matches!(kb.signer, Signer::Holder) { &ready.agent.identity.dpop_key } else { &stranger };
    let kb_jwt = forge::sign(&kb.header, &kb.claims, key);
    ready.post(&ready.with_kb(&presented, &kb_jwt)?).await?.refused(422, error)
}

fn parts(ready: &Ready<'_>) -> Result<Parts, Stop> {
    let jwt = ready.jwt();
    let (header, claims) = forge::take_apart(&jwt)?;
    Ok(Parts { jwt, header, claims, access_token: ready.tokens.access_token.clone() })
}

async fn mandate(world: &World, make: Make) -> Outcome {
    let ready = Ready::new(world).await?;
    let presented = make(&parts(&ready)?);
    ready.post(&ready.presenting(&presented)?).await?.refused(422, SIGNATURE)
}

async fn kb_algorithm(world: &World, alg: forge::Alg) -> Outcome {
    let ready = Ready::new(world).await?;
    let presented = format!("{}~", ready.jwt());
    let key = &ready.agent.identity.dpop_key;
    let public = key.public_key().members_json();
    let claims = ready.kb_claims(&presented).to_string();
    let kb_jwt = alg.sign(&ready.kb_header(), &claims, key, public.as_bytes());
    ready.post(&ready.with_kb(&presented, &kb_jwt)?).await?.refused(422, SIGNATURE)
}

async fn mandate_algorithm(world: &World, alg: forge::Alg) -> Outcome {
    let ready = Ready::new(world).await?;
    let parts = parts(&ready)?;
    let keys = world.as_keys().await?;
    let public = keys.keys().first().map(|jwk| jwk.key().members_json()).unwrap_or_default();
    let forged = alg.sign(&parts.header, &parts.claims.to_string(), &new_key(Alg::EdDsa), public.as_bytes());
    ready.post(&ready.presenting(&format!("{forged}~"))?).await?.refused(422, SIGNATURE)
}

pub(super) const PATH: &str = "/verify-mandate";
const SIGNATURE: &str = "mandate_signature_invalid";
const NONCE: &str = "mandate_kb_nonce_mismatch";
