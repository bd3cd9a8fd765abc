//! Consent that a person gives: what the agent waits with and how it asks (OID4AC v1 §7).

use http::StatusCode;
use sandbox::{ConsentDecision, ConsentMode, WalletError};
use serde_json::{Value, json};

use crate::agent::{Agent, Purchase, random};
use crate::check::{Check, run};
use crate::lie;
use crate::outcome::{Outcome, Stop, broken, expect, skipped};
use crate::setup::Setup;
use crate::wire::{Answer, Call, Form};
use crate::world::{Part, World};

pub(super) fn checks() -> Vec<Check> {
    let asking = Setup { consent_mode: ConsentMode::Dashboard, ..Setup::DEFAULT };
    let poll_json = |pointer: &'static str, value: Value| lie::set(POLL, pointer, value);
    let checks = vec![
        Check::server(
            "consent.redirect",
            "OID4AC v1 §7",
            "302 to the `consent_url` of its JSON body, which has `poll_uri`, `interval` and `expires_in`",
            run!(redirects),
        )
        .spoiled_by(lie::without(AUTHORIZE, "poll_uri")),
        Check::server("consent.poll_origin", "OID4AC v1 §7", "`poll_uri` has the server's origin", run!(poll_origin))
            .spoiled_by(lie::set(AUTHORIZE, "/poll_uri", json!("https://elsewhere.example/poll"))),
        Check::server(
            "consent.poll_unguessable",
            "OID4AC v1 §7",
            "`poll_uri` does not follow from `consent_url`, and differs each time",
            run!(poll_unguessable),
        )
        .spoiled_by(lie::json_at(AUTHORIZE, |json| json["poll_uri"] = json["consent_url"].clone())),
        Check::server("consent.expires_in", "OID4AC v1 §7", "`expires_in` is 900", run!(expires_in))
            .spoiled_by(lie::set(AUTHORIZE, "/expires_in", json!(60))),
        Check::server("consent.pending", "OID4AC v1 §7", "until the principal decides: pending", run!(pending))
            .spoiled_by(poll_json("/status", json!("approved"))),
        Check::server("consent.no_store", "OID4AC v1 §7", "a poll's answer is `no-store`", run!(no_store))
            .spoiled_by(lie::header(POLL, "cache-control", None)),
        Check::server(
            "consent.poll_key",
            "OID4AC v1 §7",
            "a poll by another key: 404, as if there were nothing",
            run!(poll_key),
        ),
        Check::server(
            "consent.poll_without_proof",
            "OID4AC v1 §7",
            "a poll without a proof is refused: 400",
            run!(no_proof),
        )
        .spoiled_by(lie::accepts(POLL, "invalid_dpop_proof")),
        Check::server(
            "consent.poll_replay",
            "RFC 9449 §11.1",
            "a poll's proof works once: then 400 invalid_dpop_proof",
            run!(poll_replay),
        ),
        Check::server(
            "consent.poll_rate",
            "RFC 8628 §3.5",
            "polling faster than `interval`: 429 slow_down",
            run!(poll_rate),
        ),
        Check::server("consent.unknown_poll", "OID4AC v1 §7", "a poll of nothing: 404", run!(unknown_poll))
            .spoiled_by(lie::accepts(POLL, "not_found")),
        Check::server(
            "consent.approved",
            "OID4AC v1 §7",
            "once approved, a poll gives a code that works, with `state` and `iss`",
            run!(approved),
        )
        .spoiled_by(poll_json("/iss", json!("https://elsewhere.example"))),
        Check::server(
            "consent.same_code",
            "OID4AC v1 §7",
            "until it is redeemed, further polls give the same code",
            run!(same_code),
        )
        .spoiled_by(lie::json_at(POLL, |json| json["code"] = json!(random::<16>()))),
        Check::server(
            "consent.fresh_code",
            "OID4AC v1 §7",
            "a code that aged out is replaced by a fresh one",
            run!(fresh_code),
        )
        .spoiled_by(poll_json("/code", json!("always-the-same"))),
        Check::server("consent.declined", "OID4AC v1 §7", "once declined, a poll says so", run!(declined))
            .spoiled_by(poll_json("/status", json!("pending"))),
        Check::server("consent.expired", "OID4AC v1 §7", "after 900 s a poll says expired", run!(expired)),
        Check::server(
            "consent.approved_too_late",
            "OID4AC v1 §7",
            "what has expired can no longer be approved",
            run!(approved_too_late),
        ),
        Check::server(
            "consent.collected_too_late",
            "OID4AC v1 §7",
            "an approval is collected within the consent's 900 s, or not at all",
            run!(collected_too_late),
        ),
        Check::server("consent.once", "OID4AC v1 §7", "what was declined can no longer be approved", run!(once)),
        Check::server(
            "consent.principal",
            "OID4AC v1 §7",
            "another principal cannot approve, and the request stays pending",
            run!(principal),
        ),
        Check::server(
            "consent.no_less_than_the_rule",
            "OID4AC v1 §7",
            "a hint for auto where the server asks its principal: 400 invalid_request",
            run!(no_less),
        ),
        Check::server(
            "consent.portal_form",
            "RFC 9700 §4.7",
            "a form of the portal without its visitor's token: 403",
            run!(portal_form),
        ),
    ];
    let mut checks: Vec<_> = checks.into_iter().map(|check| check.set_up(asking)).collect();
    checks.push(
        Check::server(
            "consent.hint_for_more",
            "OID4AC v1 §7",
            "a hint may ask for the human where a standing approval would do",
            run!(hint_for_more),
        )
        .spoiled_by(lie::set(AUTHORIZE, "/consent_mode", json!("auto"))),
    );
    checks
}

/// A request that waits for the principal.
struct Waiting<'w> {
    agent: Agent<'w>,
    purchase: Purchase,
    answer: Answer,
}

impl<'w> Waiting<'w> {
    async fn new(world: &'w World) -> Result<Self, Stop> {
        Self::with(world, |_| {}).await
    }

    async fn with(world: &'w World, change: impl FnOnce(&mut Form)) -> Result<Self, Stop> {
        let modes = &world.metadata().await?["oid4ac_consent_modes_supported"];
        let asks = |mode: &Value| mode == "dashboard" || mode == "scan";
        if !modes.as_array().is_some_and(|modes| modes.iter().any(asks)) {
            return skipped("needs consent mode dashboard or scan, which this server does not list");
        }
        let agent = world.agent(Part::Own).await?;
        let (_, purchase) = agent.purchase().await?;
        let mut form = agent.par_form(&purchase);
        change(&mut form);
        let answer = agent.authorize(&agent.push(&form).await?).await?.done(302)?;
        if answer.redirected_with("code").is_some() {
            return skipped("needs a server that asks its principal: this one answered by itself");
        }
        Ok(Self { agent, purchase, answer })
    }

    fn member(&self, name: &str) -> Result<String, Stop> {
        self.answer.text(name)
    }

    /// Polls once, dancing for the nonce.
    async fn poll(&self) -> Result<Answer, Stop> {
        poll(&self.agent, &self.member("poll_uri")?).await
    }

    /// Decides in the n-th principal's place.
    fn decide(&self, principal: usize, decision: ConsentDecision) -> Result<Result<(), WalletError>, Stop> {
        let sandbox = self.agent.world.needs_sandbox("a principal to decide")?;
        let id = sandbox.principals().swap_remove(principal).id;
        Ok(sandbox.decide(&self.member("consent_url")?, &id, decision))
    }

    fn approve(&self) -> Result<(), Stop> {
        self.decide(0, ConsentDecision::Approve)?.or_else(|error| broken("approving", error))
    }
}

async fn poll(agent: &Agent<'_>, uri: &str) -> Result<Answer, Stop> {
    let mut danced = false;
    loop {
        let proof = agent.proof("GET", uri, None);
        let answer = agent.world.http.send(Call::get(uri).header("dpop", proof)).await?;
        agent.note_nonce(uri, &answer);
        if danced || !answer.is(400, "use_dpop_nonce") {
            return Ok(answer);
        }
        danced = true;
    }
}

async fn redirects(world: &World) -> Outcome {
    let waiting = Waiting::new(world).await?;
    let body = waiting.answer.json();
    let missing: Vec<_> = ["consent_url", "poll_uri", "interval", "expires_in", "consent_mode"]
        .into_iter()
        .filter(|name| body[*name].is_null())
        .collect();
    let same = body["consent_url"].as_str() == waiting.answer.header("location");
    let seen = if missing.is_empty() { "all of it".to_owned() } else { format!("without {}", missing.join(", ")) };
    expect(missing.is_empty() && same, seen)
}

async fn poll_origin(world: &World) -> Outcome {
    let uri = Waiting::new(world).await?.member("poll_uri")?;
    let origin = url::Url::parse(&uri).map(|url| url.origin().ascii_serialization()).unwrap_or_default();
    expect(origin == world.as_origin()?, format!("at {origin}"))
}

async fn poll_unguessable(world: &World) -> Outcome {
    let (one, two) = (Waiting::new(world).await?, Waiting::new(world).await?);
    let tail = |uri: &str| uri.rsplit('/').next().unwrap_or_default().to_owned();
    let (first, second) = (tail(&one.member("poll_uri")?), tail(&two.member("poll_uri")?));
    let page = tail(&one.member("consent_url")?);
    let seen = match (first == second, first.contains(&page) || page.contains(&first)) {
        (true, _) => "the same twice",
        (_, true) => "one has the other in it",
        _ => "they have nothing in common",
    };
    expect(seen.ends_with("common") && first.len() >= 22, seen)
}

async fn expires_in(world: &World) -> Outcome {
    let seconds = Waiting::new(world).await?.answer.json()["expires_in"].clone();
    expect(seconds == 900, seconds.to_string())
}

/// What a poll says, never with a code.
fn status(answer: &Answer) -> String {
    answer.json()["status"].as_str().map_or_else(|| answer.summary(), str::to_owned)
}

async fn pending(world: &World) -> Outcome {
    let answer = Waiting::new(world).await?.poll().await?;
    expect(answer.status == 200 && answer.json()["status"] == "pending", status(&answer))
}

async fn no_store(world: &World) -> Outcome {
    super::registration::no_store_header(&Waiting::new(world).await?.poll().await?.done(200)?)
}

async fn poll_key(world: &World) -> Outcome {
    let waiting = Waiting::new(world).await?;
    let other = world.agent(Part::Sibling).await?;
    let answer = poll(&other, &waiting.member("poll_uri")?).await?;
    expect(answer.status == 404, status(&answer))
}

async fn no_proof(world: &World) -> Outcome {
    let waiting = Waiting::new(world).await?;
    let answer = world.http.get(&waiting.member("poll_uri")?).await?;
    expect((400..500).contains(&answer.status), status(&answer))
}

async fn poll_replay(world: &World) -> Outcome {
    let waiting = Waiting::new(world).await?;
    let uri = waiting.member("poll_uri")?;
    let proof = waiting.agent.proof("GET", &uri, None);
    let ask = async || world.http.send(Call::get(&uri).header("dpop", proof.clone())).await;
    ask().await?.done(200)?;
    world.wait(10).await?;
    ask().await?.refused(400, "invalid_dpop_proof")
}

async fn poll_rate(world: &World) -> Outcome {
    let waiting = Waiting::new(world).await?;
    waiting.poll().await?.done(200)?;
    waiting.poll().await?.refused(429, "slow_down")
}

async fn unknown_poll(world: &World) -> Outcome {
    let waiting = Waiting::new(world).await?;
    let uri = waiting.member("poll_uri")?;
    let (place, _) = uri.rsplit_once('/').unwrap_or_default();
    let answer = poll(&waiting.agent, &format!("{place}/{}", random::<16>())).await?;
    expect(answer.status == 404, status(&answer))
}

async fn approved(world: &World) -> Outcome {
    let waiting = Waiting::new(world).await?;
    waiting.approve()?;
    let answer = waiting.poll().await?.done(200)?;
    let json = answer.json();
    if json["state"] != waiting.purchase.state || json["iss"].as_str() != Some(world.issuer()?) {
        return expect(false, "another `state` or `iss`");
    }
    let form = Agent::token_form(&waiting.purchase, json["code"].as_str().unwrap_or_default());
    waiting.agent.token(&form).await?.accepted(200)
}

async fn same_code(world: &World) -> Outcome {
    let waiting = Waiting::new(world).await?;
    waiting.approve()?;
    let one = waiting.poll().await?.done(200)?.json();
    world.wait(10).await?;
    let two = waiting.poll().await?.done(200)?.json();
    let same = one["code"].is_string() && one["code"] == two["code"];
    expect(same, if same { "the same" } else { "another" })
}

async fn fresh_code(world: &World) -> Outcome {
    let waiting = Waiting::new(world).await?;
    waiting.approve()?;
    let one = waiting.poll().await?.done(200)?.json();
    world.wait(61).await?;
    let two = waiting.poll().await?.done(200)?.json();
    let fresh = two["code"].is_string() && one["code"] != two["code"];
    expect(fresh, if fresh { "a fresh one" } else { "the same, or none" })
}

async fn declined(world: &World) -> Outcome {
    let waiting = Waiting::new(world).await?;
    waiting.decide(0, ConsentDecision::Decline)?.or_else(|error| broken("declining", error))?;
    let answer = waiting.poll().await?;
    expect(answer.json()["status"] == "declined", status(&answer))
}

async fn expired(world: &World) -> Outcome {
    let waiting = Waiting::new(world).await?;
    world.wait(900).await?;
    let answer = waiting.poll().await?;
    expect(answer.json()["status"] == "expired", status(&answer))
}

async fn approved_too_late(world: &World) -> Outcome {
    let waiting = Waiting::new(world).await?;
    world.wait(900).await?;
    let decided = waiting.decide(0, ConsentDecision::Approve)?;
    expect(decided.is_err(), decided.map_or_else(|error| error.to_string(), |()| "approved".to_owned()))
}

async fn collected_too_late(world: &World) -> Outcome {
    let waiting = Waiting::new(world).await?;
    waiting.approve()?;
    world.wait(900).await?;
    let answer = waiting.poll().await?;
    expect(answer.json()["status"] == "expired", status(&answer))
}

async fn once(world: &World) -> Outcome {
    let waiting = Waiting::new(world).await?;
    waiting.decide(0, ConsentDecision::Decline)?.or_else(|error| broken("declining", error))?;
    let decided = waiting.decide(0, ConsentDecision::Approve)?;
    expect(decided.is_err(), decided.map_or_else(|error| error.to_string(), |()| "approved".to_owned()))
}

async fn principal(world: &World) -> Outcome {
    let waiting = Waiting::new(world).await?;
    let decided = waiting.decide(1, ConsentDecision::Approve)?;
    let answer = waiting.poll().await?;
    expect(decided.is_err() && answer.json()["status"] == "pending", status(&answer))
}

async fn no_less(world: &World) -> Outcome {
    let modes = &world.metadata().await?["oid4ac_consent_modes_supported"];
    if modes.as_array().is_some_and(|modes| modes.contains(&json!("auto"))) {
        return skipped("needs a server that always asks its principal");
    }
    let agent = world.agent(Part::Own).await?;
    let (_, purchase) = agent.purchase().await?;
    let mut form = agent.par_form(&purchase);
    form.set("consent_mode_hint", "auto");
    agent.par(&form).await?.refused(400, "invalid_request")
}

async fn portal_form(world: &World) -> Outcome {
    let sandbox = world.needs_sandbox("a form of its own portal")?;
    let principal = sandbox.principals().swap_remove(0).id;
    let page = world.http.get(&sandbox.portal_url()).await?;
    let cookie = page.header("set-cookie").and_then(|cookie| cookie.split(';').next()).unwrap_or_default();
    let url = format!("{}/sign-in", sandbox.portal_url());
    let form = Form::of(&[("principal", &principal), ("next", "/portal")]);
    let answer = world.http.send(Call::post(&url).form(&form).header("cookie", cookie)).await?;
    expect(answer.status == StatusCode::FORBIDDEN.as_u16(), answer.status.to_string())
}

async fn hint_for_more(world: &World) -> Outcome {
    let waiting = Waiting::with(world, |form| form.set("consent_mode_hint", "dashboard")).await?;
    let mode = waiting.member("consent_mode")?;
    expect(mode == "dashboard", mode)
}

const AUTHORIZE: &str = "/oauth/authorize";
const POLL: &str = "/oauth/consent/";
