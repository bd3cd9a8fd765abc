//! The authorization endpoint (RFC 6749 §4.1, RFC 9207), under a standing approval.

use sandbox::StandingApproval;
use serde_json::json;

use crate::agent::Agent;
use crate::check::{Check, run};
use crate::identity::REDIRECT_URI;
use crate::lie::{self, Lie};
use crate::outcome::{Outcome, Stop, expect};
use crate::setup::Setup;
use crate::wire::{Answer, Form};
use crate::world::{Part, World};

pub(super) fn checks() -> Vec<Check> {
    vec![
        Check::server(
            "authorize.redirects_home",
            "RFC 6749 §4.1.2",
            "302 to the redirect URI, whose own query stays",
            run!(redirects_home),
        )
        .spoiled_by(redirect(|url| url.set_path("/elsewhere"))),
        Check::server("authorize.state", "RFC 6749 §4.1.2", "`state` comes back as it was sent", run!(state))
            .spoiled_by(redirect(|url| set(url, "state", "another"))),
        Check::server("authorize.iss", "RFC 9207 §2", "`iss` is the issuer", run!(iss))
            .spoiled_by(redirect(|url| set(url, "iss", "https://elsewhere.example"))),
        Check::server(
            "authorize.request_uri_once",
            "RFC 9126 §7.3",
            "a request URI works once: then an error page and no redirect",
            run!(request_uri_once),
        ),
        Check::server(
            "authorize.request_uri_expiry",
            "RFC 9126 §2.2",
            "a request URI that is 60 s old: an error page and no redirect",
            run!(request_uri_expiry),
        ),
        Check::server(
            "authorize.request_uri_client",
            "RFC 9126 §2.2",
            "another client's request URI: an error page and no redirect, and it stays good",
            run!(request_uri_client),
        ),
        Check::server(
            "authorize.unknown_request_uri",
            "RFC 9126 §4",
            "a request URI that was never pushed: an error page and no redirect",
            run!(page, "request_uri=urn:ietf:params:oauth:request_uri:made-up", Known::Client),
        )
        .spoiled_by(redirects_away()),
        Check::server(
            "authorize.unknown_client",
            "OID4AC v1 §18",
            "an unregistered client: an error page and no redirect",
            run!(page, "client_id=agent_nobody&request_uri=urn:x", Known::Neither),
        )
        .spoiled_by(redirects_away()),
        Check::server(
            "authorize.pushed_only",
            "RFC 9126 §5",
            "a request that was not pushed: an error page and no redirect",
            run!(
                page,
                "response_type=code&redirect_uri=https%3A%2F%2Fevil.example%2F&state=0123456789abcdef",
                Known::Client
            ),
        )
        .spoiled_by(redirects_away()),
        Check::server(
            "authorize.standing_approval",
            "OID4AC v1 §7",
            "without a standing approval there is no code: error=access_denied",
            run!(standing_approval),
        )
        .set_up(Setup { standing_approval: StandingApproval::UpToMinor(1), ..Setup::DEFAULT }),
        Check::server(
            "authorize.iss_of_an_error",
            "RFC 9207 §2",
            "an error redirect has `state` and `iss` as well",
            run!(iss_of_an_error),
        )
        .set_up(Setup { standing_approval: StandingApproval::None, ..Setup::DEFAULT })
        .spoiled_by(redirect(|url| set(url, "iss", "https://elsewhere.example"))),
    ]
}

/// Changes where the redirect leads.
pub(super) fn redirect(change: fn(&mut url::Url)) -> Lie {
    lie::at(PATH, move |mut answer| {
        let location = answer.headers().get("location").and_then(|value| value.to_str().ok());
        if let Some(mut url) = location.and_then(|location| url::Url::parse(location).ok()) {
            change(&mut url);
            if let Ok(value) = url.as_str().parse() {
                answer.headers_mut().insert("location", value);
            }
        }
        answer
    })
}

/// A server that redirects where it should show a page.
fn redirects_away() -> Lie {
    lie::at(PATH, |mut answer| {
        *answer.status_mut() = http::StatusCode::FOUND;
        answer.headers_mut().insert("location", http::HeaderValue::from_static("https://evil.example/?error=x"));
        answer
    })
}

fn set(url: &mut url::Url, name: &str, value: &str) {
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let pairs = pairs.into_iter().map(|(n, v)| if n == name { (n, value.to_owned()) } else { (n, v) });
    let pairs: Vec<_> = pairs.collect();
    url.query_pairs_mut().clear().extend_pairs(pairs);
}

async fn ready(world: &World) -> Result<(Agent<'_>, Form, String), Stop> {
    let agent = world.agent(Part::Own).await?;
    let (_, purchase) = agent.purchase().await?;
    let form = agent.par_form(&purchase);
    Ok((agent, form, purchase.state))
}

/// The answer to a good request. Asks for a code, so that a server that would have to ask a person is not asked.
async fn redirected(world: &World) -> Result<(Answer, String), Stop> {
    let (agent, form, state) = ready(world).await?;
    agent.code_for(&form).await?;
    let answer = agent.authorize(&agent.push(&form).await?).await?;
    Ok((answer.done(302)?, state))
}

async fn redirects_home(world: &World) -> Outcome {
    let (answer, _) = redirected(world).await?;
    let home = answer.header("location").is_some_and(|to| to.starts_with(&format!("{REDIRECT_URI}&")));
    expect(home, if home { "302 to the redirect URI" } else { "302 to somewhere else" })
}

async fn state(world: &World) -> Outcome {
    let (answer, state) = redirected(world).await?;
    let same = answer.redirected_with("state") == Some(state);
    expect(same, if same { "the same" } else { "another, or none" })
}

async fn iss(world: &World) -> Outcome {
    let (answer, _) = redirected(world).await?;
    let same = answer.redirected_with("iss").as_deref() == Some(world.issuer()?);
    expect(same, if same { "the issuer" } else { "another, or none" })
}

fn is_page(answer: &Answer) -> Outcome {
    let redirected = answer.header("location").is_some();
    let seen = format!("{}, {} redirect", answer.status, if redirected { "with a" } else { "no" });
    expect((400..500).contains(&answer.status) && !redirected, seen)
}

async fn request_uri_once(world: &World) -> Outcome {
    let (agent, form, _) = ready(world).await?;
    agent.code_for(&form).await?;
    let request_uri = agent.push(&form).await?;
    agent.authorize(&request_uri).await?.done(302)?;
    is_page(&agent.authorize(&request_uri).await?)
}

async fn request_uri_expiry(world: &World) -> Outcome {
    let (agent, form, _) = ready(world).await?;
    let request_uri = agent.push(&form).await?;
    world.wait(60).await?;
    is_page(&agent.authorize(&request_uri).await?)
}

async fn request_uri_client(world: &World) -> Outcome {
    let (agent, form, _) = ready(world).await?;
    let other = world.agent(Part::Sibling).await?;
    agent.code_for(&form).await?;
    let request_uri = agent.push(&form).await?;
    let seen = is_page(&other.authorize(&request_uri).await?)?;
    let own = agent.authorize(&request_uri).await?;
    expect(own.status == 302, format!("{seen}; then its own client: {}", own.status))
}

/// Whether the query begins with the agent's own client id.
#[derive(Clone, Copy)]
enum Known {
    Client,
    Neither,
}

async fn page(world: &World, query: &'static str, known: Known) -> Outcome {
    let endpoint = world.endpoint("authorization_endpoint").await?;
    let query = match known {
        Known::Neither => query.to_owned(),
        Known::Client => format!("client_id={}&{query}", world.agent(Part::Own).await?.identity.client_id),
    };
    is_page(&world.http.get(&format!("{endpoint}?{query}")).await?)
}

async fn denied(world: &World) -> Result<(Answer, String), Stop> {
    world.needs_sandbox("a standing approval to be taken back")?;
    let (agent, form, state) = ready(world).await?;
    let answer = agent.authorize(&agent.push(&form).await?).await?;
    Ok((answer.done(302)?, state))
}

async fn standing_approval(world: &World) -> Outcome {
    let (answer, _) = denied(world).await?;
    let error = answer.redirected_with("error");
    let no_code = answer.redirected_with("code").is_none();
    expect(no_code && error.as_deref() == Some("access_denied"), if no_code { "no code" } else { "a code" })
}

async fn iss_of_an_error(world: &World) -> Outcome {
    let (answer, state) = denied(world).await?;
    let pair = json!([answer.redirected_with("state"), answer.redirected_with("iss")]);
    let both = pair == json!([state, world.issuer()?]);
    expect(both, if both { "both" } else { "not both" })
}

const PATH: &str = "/oauth/authorize";
