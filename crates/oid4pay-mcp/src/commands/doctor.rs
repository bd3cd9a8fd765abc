//! `oid4pay-mcp doctor`: looks at everything that this program needs, and says how to fix what is wrong.

use oid4pay::agents::Agent;
use oid4pay::agents::ledger;
use oid4pay::approvals;
use oid4pay::policy::{PolicySource, Standing};
use oid4pay::refusal::Code;
use oid4pay::resolve;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use axum::body::Bytes;
use axum::http::Request;
use jose::{Alg, Clock as _, Signer as _};
use oid4ac_client::{
    Client, Endpoint, FileStore, HttpClient as _, Limits, MerchantFilter, Origin, ReqwestClient, Store as _,
    SystemClock,
};
use serde::Serialize;
use spend_guard::{Broken, LedgerError, Policy};

use super::args::Output;
use super::told::in_words;
use crate::config::{ASSERTION_JWK, DPOP_JWK, Options, Settings, project_dirs};

/// What came of one check.
#[derive(Serialize)]
struct Finding {
    check: &'static str,
    verdict: Verdict,
    detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// As it should be.
    Ok,
    /// Something is missing that will be needed, or could be better.
    Warning,
    /// It does not work so.
    Problem,
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn ok(&mut self, check: &'static str, detail: impl Into<String>) {
        self.0.push(Finding { check, verdict: Verdict::Ok, detail: detail.into(), fix: None });
    }

    fn warn(&mut self, check: &'static str, detail: impl Into<String>, fix: impl Into<String>) {
        self.0.push(Finding { check, verdict: Verdict::Warning, detail: detail.into(), fix: Some(fix.into()) });
    }

    fn problem(&mut self, check: &'static str, detail: impl Into<String>, fix: impl Into<String>) {
        self.0.push(Finding { check, verdict: Verdict::Problem, detail: detail.into(), fix: Some(fix.into()) });
    }

    fn is_sound(&self) -> bool {
        self.0.iter().all(|finding| finding.verdict != Verdict::Problem)
    }
}

/// Checks everything. Success if there is no problem; warnings are none.
pub(crate) async fn run(options: Options, output: Output) -> anyhow::Result<ExitCode> {
    let mut findings = Findings::default();
    match Settings::resolve(options) {
        Ok(settings) => check(settings, &mut findings).await,
        Err(error) => findings.problem(
            "settings",
            in_words(&error),
            "Correct that flag, variable or line; docs/configuration.md has what each may be.",
        ),
    }
    let mut out = std::io::stdout().lock();
    if output.json {
        writeln!(out, "{}", serde_json::json!({"ok": findings.is_sound(), "findings": findings.0}))?;
    } else {
        for Finding { check, verdict, detail, fix } in &findings.0 {
            let mark = match verdict {
                Verdict::Ok => "ok      ",
                Verdict::Warning => "warning ",
                Verdict::Problem => "PROBLEM ",
            };
            writeln!(out, "{mark} {check}: {detail}")?;
            if let Some(fix) = fix {
                writeln!(out, "          {fix}")?;
            }
        }
    }
    Ok(if findings.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn check(settings: Settings, findings: &mut Findings) {
    findings.ok("settings", "flags, environment and settings file are understood");
    check_written_by_others(&settings, findings);
    let issuer = match check_data_dir(&settings.core.data_dir, findings) {
        true => check_own_files(&settings, findings),
        // Each of the files would be refused for the same reason.
        false => {
            let detail = "keys, registration, ledger and passphrase were not looked at";
            findings.warn("data directory", detail, "Run doctor again once it is fixed.");
            settings.core.as_origin.clone()
        }
    };
    check_policy_file(&settings, findings);
    let has_directory = settings.core.directory.is_some();
    let agent = Agent::for_person(settings.core);
    let Some(issuer) = issuer else { return };
    match agent.client(&issuer) {
        // The keys were found unusable above.
        Err(refusal) if refusal.code() == Code::KeysUnusable => {}
        Err(refusal) => {
            let fix = "Correct --as-origin (OID4PAY_AS_ORIGIN), or as_origin in the settings file.";
            findings.problem("authorization server", refusal.to_string(), fix);
        }
        Ok(client) => {
            check_server(&client, findings).await;
            check_clock(&issuer, findings).await;
            check_directory(&client, has_directory, findings).await;
        }
    }
}

/// What is in the data directory. Gives the issuer, where there is one.
fn check_own_files(settings: &Settings, findings: &mut Findings) -> Option<String> {
    let issuer = issuer(settings, findings);
    if let Some(issuer) = &issuer {
        check_keys(settings, issuer, findings);
    }
    check_ledger(settings, findings);
    check_policy_in_force(settings, findings);
    check_passphrase(settings, findings);
    issuer
}

/// Whoever can write these files decides whom the agent trusts and what it may spend.
fn check_written_by_others(settings: &Settings, findings: &mut Findings) {
    let usual = project_dirs().map(|directories| directories.config_dir().join("config.toml"));
    for path in [usual, settings.core.policy_file.clone()].into_iter().flatten() {
        if let Some(mode) = mode(&path).filter(|mode| mode & 0o022 != 0) {
            let detail = format!("{} has mode {mode:04o}: others can change it", path.display());
            findings.problem("settings", detail, format!("Run: chmod go-w '{}'", path.display()));
        }
    }
}

/// Whether only the owner can access the data directory.
fn check_data_dir(data_dir: &Path, findings: &mut Findings) -> bool {
    const CHECK: &str = "data directory";
    if !data_dir.exists() {
        let detail = format!("{} is not there yet", data_dir.display());
        findings.warn(CHECK, detail, "agent_register makes it.");
        return true;
    }
    let mut wide = Vec::new();
    let looked = look(data_dir, &mut wide);
    for (path, wanted) in &wide {
        let detail = format!("{} can be read by others", path.display());
        findings.problem(CHECK, detail, format!("Run: chmod {wanted:o} '{}'", path.display()));
    }
    match looked {
        Err(error) => findings.problem(
            CHECK,
            format!("{}: {error}", data_dir.display()),
            "Make it a folder that you own and can read.",
        ),
        Ok(()) if wide.is_empty() => {
            findings.ok(CHECK, format!("{}, for its owner alone", data_dir.display()));
        }
        Ok(()) => {}
    }
    wide.is_empty()
}

/// Collects what is open to others, with the mode that it should have.
fn look(path: &Path, wide: &mut Vec<(std::path::PathBuf, u32)>) -> std::io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    let wanted = if metadata.is_dir() { 0o700 } else { 0o600 };
    if mode(path).is_some_and(|mode| mode & 0o077 != 0) {
        wide.push((path.to_owned(), wanted));
    }
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            look(&entry?.path(), wide)?;
        }
    }
    Ok(())
}

#[cfg(unix)]
fn mode(path: &Path) -> Option<u32> {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata(path).ok().map(|metadata| metadata.mode() & 0o7777)
}

#[cfg(not(unix))]
fn mode(_: &Path) -> Option<u32> {
    None
}

fn issuer(settings: &Settings, findings: &mut Findings) -> Option<String> {
    match settings.core.issuer() {
        Ok(Some(issuer)) => Some(issuer),
        Ok(None) => {
            let fix = "Set --as-origin or OID4PAY_AS_ORIGIN, so that no other server is taken.";
            findings.warn("authorization server", "none is set, and none is registered at", fix);
            None
        }
        Err(error) => {
            findings.problem("registration", error.to_string(), FIX_REGISTRATION);
            None
        }
    }
}

fn check_keys(settings: &Settings, issuer: &str, findings: &mut Findings) {
    const CHECK: &str = "keys";
    let store = FileStore::for_issuer(&settings.core.data_dir, issuer);
    let provided = match settings.core.provided.clone() {
        Ok(provided) => provided,
        Err(error) => {
            let fix = format!("Set {DPOP_JWK} and {ASSERTION_JWK} to two different private JWKs, or neither.");
            return findings.problem(CHECK, error, fix);
        }
    };
    let keys = match provided.keys.map_or_else(|| store.keys(), |keys| Ok(Some(keys))) {
        Ok(keys) => keys,
        Err(error) => {
            let fix = "Restore the file from a copy; without one, move the data directory away and register again.";
            return findings.problem(CHECK, error.to_string(), fix);
        }
    };
    match keys {
        None if provided.client_id.is_some() => {
            let fix = format!("Set {DPOP_JWK} and {ASSERTION_JWK} to the private keys that belong to it.");
            return findings.problem("registration", "OID4PAY_CLIENT_ID is set, and there are no keys for it", fix);
        }
        None => findings.warn(CHECK, "there are none yet", "agent_register makes them."),
        Some(keys) if keys.dpop().public_key().alg() != Alg::EdDsa => {
            findings.problem(CHECK, "the DPoP key is not Ed25519, so it cannot pay", "Run: oid4pay-mcp keys rotate");
        }
        Some(_) => findings.ok(CHECK, "two Ed25519 keys, different ones"),
    }
    let registration = match provided.client_id {
        Some(client_id) => return findings.ok("registration", format!("{client_id}, from the environment")),
        None => store.registration(),
    };
    match registration {
        Ok(Some(registration)) if registration.revoked_at.is_some() => {
            let detail = format!("{} has revoked itself", registration.client_id);
            findings.problem("registration", detail, "Call agent_register with a new setup token.");
        }
        Ok(Some(registration)) => {
            findings.ok("registration", format!("{} at {}", registration.client_id, registration.as_url));
        }
        Ok(None) => findings.warn(
            "registration",
            format!("there is none at {issuer} yet"),
            "Call agent_register with a setup token from the wallet portal.",
        ),
        Err(error) => findings.problem("registration", error.to_string(), FIX_REGISTRATION),
    }
}

/// From here on a ledger that is ahead of the clock is no matter of two clocks that differ a little.
const AHEAD_SECONDS: i64 = 60;

const FIX_REGISTRATION: &str =
    "Restore the file from a copy; without one, move it away and call agent_register with a new setup token.";

fn check_ledger(settings: &Settings, findings: &mut Findings) {
    const CHECK: &str = "ledger";
    if !settings.core.data_dir.exists() {
        return findings.warn(CHECK, "there is none yet", "The first payment makes it.");
    }
    let ledger = ledger(&settings.core);
    let keep = "Freeze payments, keep the file, and find out what was paid and who changed it. An older copy in its place \
                would let what was paid since be paid again.";
    match ledger.verify(None) {
        Ok(Ok(proof)) if proof.head.seq == 0 => findings.warn(CHECK, "it is empty", "The first payment fills it."),
        Ok(Ok(_)) => findings.ok(CHECK, "whole: every row and link holds"),
        Ok(Err(broken @ Broken::Head { .. })) => {
            let accept = settings.command("ledger accept");
            let fix = format!("Payments stop. Once you know what was paid since, run: {accept}");
            findings.problem(CHECK, broken.to_string(), fix);
        }
        Ok(Err(broken)) => findings.problem(CHECK, broken.to_string(), keep),
        Err(error) => {
            let fix = match &error {
                LedgerError::TooOpen { path, wanted, .. } => format!("Run: chmod {wanted:o} '{}'", path.display()),
                LedgerError::NewerVersion { .. } => "Use the newer version of oid4pay-mcp.".to_owned(),
                LedgerError::ReadOnly { .. } | LedgerError::Io { .. } => {
                    format!("Make {} a folder that you own and can write.", settings.core.data_dir.display())
                }
                LedgerError::Full { .. } => "Free some space.".to_owned(),
                LedgerError::Busy { .. } => "Run doctor again when the other process is done.".to_owned(),
                LedgerError::HeadUnusable { .. } => format!("Run: {}", settings.command("ledger accept")),
                _ => keep.to_owned(),
            };
            findings.problem(CHECK, error.to_string(), fix);
        }
    }
    if let Ok(ahead @ AHEAD_SECONDS..) = ledger.ahead_of_clock() {
        let detail = format!(
            "its newest entry is {ahead} s ahead of this machine's clock, so approvals, replays and budgets stand still"
        );
        let reset = settings.command("ledger reset-time");
        findings.problem(CHECK, detail, format!("Once the clock is right, run: {reset}"));
    }
    if let Ok(open) = resolve::open(&ledger)
        && !open.is_empty()
    {
        let (count, verb) = if open.len() == 1 { ("1 payment", "counts") } else { ("payments", "count") };
        let count = if open.len() == 1 { count.to_owned() } else { format!("{} {count}", open.len()) };
        let detail = format!(
            "{count} may have been made and {verb} as spent: the merchant's answer is missing or only its word"
        );
        findings.warn("payments", detail, format!("Run: {}", settings.command("resolve")));
    }
    if let Ok(true) = ledger.is_frozen() {
        findings.warn(CHECK, "payments are frozen", format!("Run: {}", settings.command("unfreeze")));
    }
}

fn check_policy_file(settings: &Settings, findings: &mut Findings) {
    let path = settings.core.policy_file.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    match PolicySource::new(&settings.core).read() {
        Ok(_) if settings.core.policy_file.as_ref().is_some_and(|path| path.exists()) => {
            findings.ok("policy", format!("{path} is understood"));
        }
        Ok(_) => findings.ok("policy", "there is no file, so the defaults hold"),
        Err(error) => {
            let fix = "Payments stop until it is corrected; `oid4pay-mcp policy check FILE` tries a copy.";
            findings.problem("policy", error.to_string(), fix);
        }
    }
}

/// A policy that allows more than the one before is none until the person confirms it. One that cannot be read, and a
/// ledger that cannot, are told of elsewhere.
fn check_policy_in_force(settings: &Settings, findings: &mut Findings) {
    let source = PolicySource::new(&settings.core);
    let is_confirmed = match settings.core.data_dir.exists() {
        true => Standing::of(&source, &ledger(&settings.core)).map(|standing| standing.is_confirmed()),
        // Looking makes no ledger; a new one begins with the defaults.
        false => {
            source.read().map(|policy| policy.looser_than(Policy::default().rules()).is_empty()).map_err(Into::into)
        }
    };
    if let Ok(false) = is_confirmed {
        let detail = "it allows more than the one in force, so payments are stopped as policy_unconfirmed";
        findings.problem("policy", detail, format!("Run: {}", settings.command("policy confirm")));
    }
}

fn check_passphrase(settings: &Settings, findings: &mut Findings) {
    match approvals::is_chosen(&settings.core.data_dir) {
        Ok(true) => findings.ok("passphrase", "chosen"),
        Ok(false) => {
            findings.warn(
                "passphrase",
                "none yet, so nothing can be approved in a terminal",
                "Run: oid4pay-mcp policy init",
            );
        }
        Err(error) => {
            let fix = "Restore the file from a copy; without one, remove it and run: oid4pay-mcp policy init";
            findings.problem("passphrase", error.to_string(), fix);
        }
    }
}

async fn check_server(client: &Client, findings: &mut Findings) {
    const CHECK: &str = "authorization server";
    match client.check_server().await {
        Err(error) => findings.problem(
            CHECK,
            format!("{}: {error}", client.issuer()),
            "Check --as-origin and the network; the issuer must be written exactly as the server writes it.",
        ),
        Ok(server) => {
            findings.ok(CHECK, format!("{}: metadata and keys hold", client.issuer()));
            if !server.issues_mandates {
                let detail = "it issues no mandates, so a payment ends with `declined: no mandate issued`";
                findings.warn(CHECK, detail, "Use a server that lists oid4ac_mandate.");
            }
            if !server.takes_registrations {
                let detail = "it has no registration endpoint";
                findings.warn(CHECK, detail, "Set OID4PAY_CLIENT_ID and both keys to what you registered there.");
            }
        }
    }
}

/// A proof is good for a minute either way (RFC 9449 §11.1), so the clock has to be.
async fn check_clock(issuer: &str, findings: &mut Findings) {
    const CHECK: &str = "clock";
    let Ok(origin) = Origin::of(issuer) else { return };
    let Ok(endpoint) = Endpoint::parse(issuer) else { return };
    let http = ReqwestClient::for_issuer(&origin, []);
    let Ok(answer) = http.send(&endpoint, Request::new(Bytes::new()), Limits::ANSWER).await else { return };
    let date = answer.headers().get("date").and_then(|value| value.to_str().ok());
    let Some(theirs) = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok()) else {
        return findings.warn(
            CHECK,
            "the authorization server does not say what time it is",
            "Check your clock yourself.",
        );
    };
    let apart = SystemClock.now() - theirs.timestamp().as_second();
    match apart.abs() {
        0..=10 => findings.ok(CHECK, format!("{apart} s from the authorization server's")),
        11..=30 => {
            findings.warn(CHECK, format!("{apart} s from the authorization server's"), "Turn on time synchronization.")
        }
        _ => findings.problem(
            CHECK,
            format!("{apart} s from the authorization server's: its proofs are good for 60 s"),
            "Turn on time synchronization.",
        ),
    }
}

async fn check_directory(client: &Client, is_set: bool, findings: &mut Findings) {
    const CHECK: &str = "directory";
    if !is_set {
        let fix = "Set --discovery-url or OID4PAY_DISCOVERY_URL to find merchants.";
        return findings.warn(CHECK, "none is set", fix);
    }
    let mut filter = MerchantFilter::default();
    filter.page_size = Some(1);
    match client.merchants(&filter).await {
        Ok(list) => findings.ok(CHECK, format!("{} merchants", list.total)),
        Err(error) => findings.problem(CHECK, error.to_string(), "Check --discovery-url and the network."),
    }
}
