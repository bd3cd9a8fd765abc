//! `oid4pay-mcp dashboard`: a page on this machine where the human sees what is spent, and approves or rejects.
//!
//! It is served on 127.0.0.1 to the one browser that opens the link printed in the terminal. What it shows is the ledger's,
//! built from verified data. To look takes the link; to approve, reject or end a freeze takes the passphrase as well.

mod answer;
mod chart;
mod dashboard;
mod gate;
mod html;
mod intent;
mod overview;
mod posted;

use oid4pay::agents::ledger;
use oid4pay::approvals;
use oid4pay::policy::PolicySource;
use oid4pay::resolve;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{DefaultBodyLimit, Form, FromRequestParts, Path, Query, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, SET_COOKIE, X_CONTENT_TYPE_OPTIONS};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use jose::Clock as _;
use oid4ac_client::{SystemClock, SystemRng};
use serde::Deserialize;
use spend_guard::IntentId;
use tokio::net::TcpListener;

use self::answer::{problem_of, see_other};
use self::dashboard::Dashboard;
use self::gate::Gate;
use self::html::{Layout, Problem, page};
use self::posted::Posted;
use crate::config::Settings;

use crate::stop::StopSignal;

/// What `dashboard` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct DashboardArgs {
    /// The port to listen on; 0 takes any free one
    #[arg(long, value_name = "N", default_value_t = 0)]
    port: u16,
}

/// Serves the page until the process is asked to end.
pub(crate) async fn run(settings: Settings, args: DashboardArgs) -> anyhow::Result<()> {
    let mut stop = StopSignal::listen()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, args.port)).await.context("cannot listen on 127.0.0.1")?;
    let authority = listener.local_addr()?.to_string();
    let (gate, token) = Gate::new(authority.clone(), &SystemRng, SystemClock.now());
    let dashboard = Arc::new(Dashboard {
        gate,
        ledger: ledger(&settings.core),
        policy: PolicySource::new(&settings.core),
        settings,
    });
    let minutes = gate::LINK_SECONDS / 60;
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "Open this link in your browser. It works once, within {minutes} minutes.\n")?;
    writeln!(stdout, "  http://{authority}/enter/{token}\n\nCtrl-C ends the page.")?;
    stdout.flush()?;
    drop(stdout);
    let (end, mut ended) = tokio::sync::watch::channel(());
    let until = async move {
        let _ = ended.changed().await;
    };
    let server = axum::serve(listener, router(dashboard)).with_graceful_shutdown(until);
    let serving = tokio::spawn(server.into_future());
    stop.received().await;
    drop(end);
    let _ = tokio::time::timeout(GRACE, serving).await;
    Ok(())
}

fn router(dashboard: Arc<Dashboard>) -> Router {
    Router::new()
        .route("/", get(overview))
        .route("/enter/{token}", get(enter))
        .route("/history", get(history))
        .route("/intents/{id}", get(show).post(decide))
        .route("/freeze", post(freeze))
        .route("/unfreeze", post(unfreeze))
        .route("/style.css", get(|| asset("text/css; charset=utf-8", STYLE)))
        .route("/icon.svg", get(|| asset("image/svg+xml", ICON)))
        .method_not_allowed_fallback(|| async { Problem::not_found() })
        .fallback(|| async { Problem::not_found() })
        .layer(from_fn_with_state(Arc::clone(&dashboard), at_the_gate))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(dashboard)
}

async fn at_the_gate(State(dashboard): State<Arc<Dashboard>>, request: Request, next: Next) -> Response {
    match dashboard.gate.check(request.method(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// The browser that has the session, and the token of its forms.
struct Visitor(String);

impl FromRequestParts<Arc<Dashboard>> for Visitor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, dashboard: &Arc<Dashboard>) -> Result<Self, Problem> {
        dashboard.gate.csrf(&parts.headers, SystemClock.now()).map(Self).ok_or_else(no_session)
    }
}

async fn enter(
    State(dashboard): State<Arc<Dashboard>>,
    method: Method,
    headers: HeaderMap,
    Path(token): Path<String>,
) -> Response {
    if !Gate::is_opened(&method, &headers) {
        // Not a success, so that a browser which fetched it ahead asks again when it is opened.
        return (StatusCode::SERVICE_UNAVAILABLE, [(CACHE_CONTROL, "no-store")]).into_response();
    }
    match dashboard.gate.enter(&token, &SystemRng, SystemClock.now()) {
        Some(cookie) => {
            let mut response = see_other("/");
            response.headers_mut().insert(SET_COOKIE, cookie);
            response
        }
        None => no_session().into_response(),
    }
}

async fn overview(State(dashboard): State<Arc<Dashboard>>, Visitor(csrf): Visitor) -> Response {
    off_thread(move || {
        let body = overview::overview(&dashboard, &csrf).map_err(problem_of)?;
        Ok(page(StatusCode::OK, Layout::Menu { here: "/" }, "Overview", &body))
    })
    .await
}

#[derive(Deserialize)]
struct From {
    before: Option<String>,
}

async fn history(State(dashboard): State<Arc<Dashboard>>, _: Visitor, Query(from): Query<From>) -> Response {
    off_thread(move || {
        let before = from.before.as_deref().map(parse).transpose()?;
        let body = overview::history(&dashboard, before).map_err(problem_of)?;
        Ok(page(StatusCode::OK, Layout::Menu { here: "/history" }, "History", &body))
    })
    .await
}

async fn show(State(dashboard): State<Arc<Dashboard>>, Visitor(csrf): Visitor, Path(id): Path<String>) -> Response {
    off_thread(move || intent::show(&dashboard, &csrf, &parse(&id)?).map_err(problem_of)).await
}

async fn decide(
    State(dashboard): State<Arc<Dashboard>>,
    visitor: Visitor,
    Path(id): Path<String>,
    form: Result<Form<Posted>, FormRejection>,
) -> Response {
    let decided = Arc::clone(&dashboard);
    let answered = on_disk(move || {
        let posted = Posted::of(&visitor.0, form)?;
        intent::decide(&decided, &visitor.0, &parse(&id)?, posted)
    });
    let (response, rejected) = match answered.await {
        Ok(answered) => answered,
        Err(problem) => return problem.into_response(),
    };
    // Its mandate has no use any more.
    if let Some(intent) = rejected {
        resolve::end_grant_for_person(&dashboard.settings.core, &dashboard.ledger, intent).await;
    }
    response
}

async fn freeze(
    State(dashboard): State<Arc<Dashboard>>,
    visitor: Visitor,
    form: Result<Form<Posted>, FormRejection>,
) -> Response {
    off_thread(move || {
        Posted::of(&visitor.0, form)?;
        dashboard.ledger.freeze().map_err(problem_of)?;
        Ok(see_other("/"))
    })
    .await
}

async fn unfreeze(
    State(dashboard): State<Arc<Dashboard>>,
    visitor: Visitor,
    form: Result<Form<Posted>, FormRejection>,
) -> Response {
    off_thread(move || {
        let posted = Posted::of(&visitor.0, form)?;
        let human = approvals::verify(&dashboard.settings.core.data_dir, &posted.passphrase)
            .map_err(|error| intent::not_human(&error))?;
        approvals::unfreeze(&human, &dashboard.ledger).map_err(problem_of)?;
        Ok(see_other("/"))
    })
    .await
}

/// A page that is made where it holds no other visitor up.
async fn off_thread(work: impl FnOnce() -> Result<Response, Problem> + Send + 'static) -> Response {
    on_disk(work).await.unwrap_or_else(Problem::into_response)
}

/// Runs what waits for the disk, or computes for long, on a thread of its own.
async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> Result<T, Problem> + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| {
        let why = "The page could not be made. Nothing is known to have changed: look again.";
        Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong", why))
    })
}

fn parse(id: &str) -> Result<IntentId, Problem> {
    IntentId::parse(id).map_err(|_| Problem::not_found())
}

fn no_session() -> Problem {
    let why = "This page opens with the link that oid4pay-mcp dashboard prints, which works once. Start the command again \
               for a new one.";
    Problem::new(StatusCode::UNAUTHORIZED, "Open it from the terminal", why)
}

async fn asset(media_type: &'static str, content: &'static str) -> Response {
    let headers = [(CONTENT_TYPE, media_type), (CACHE_CONTROL, "max-age=300"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (headers, content).into_response()
}

const GRACE: Duration = Duration::from_secs(1);
const MAX_BODY: usize = 16 * 1024;
const STYLE: &str = include_str!("pages/style.css");
const ICON: &str = include_str!("pages/icon.svg");
