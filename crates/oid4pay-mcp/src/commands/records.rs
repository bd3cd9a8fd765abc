//! What a person can look up and take away: history, receipts, exports, evidence. Nothing here changes the ledger.

use oid4pay::agents::{Agent, ledger};
use oid4pay::records::evidence::read_capped;
use oid4pay::records::evidence::{EvidenceFile, keys_in, pinned_keys};
use oid4pay::records::{find, is_named};
use oid4pay::records::{items, row};
use oid4pay::resolve;
use oid4pay::shown;
use oid4pay::shown::{failure_code, identifier};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow, bail};
use clap::{Args, ValueEnum};
use jose::Clock as _;
use oid4ac_client::{
    AuditQuery, Check, EvidenceVerdict, Findings, Granted, Origin, PrincipalToken, SystemClock, TrustedKeys, clean,
};
use serde_json::{Map, Value, json};
use spend_guard::{Currency, Filter, Head, Intent, IntentId, Ledger, State};

use crate::config::Settings;
use oid4pay::approvals::time;

#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    #[command(flatten)]
    filters: FilterArgs,
    /// Only the newest so many
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1000))]
    limit: u64,
    /// Only older ones than this intent
    #[arg(long, value_name = "ID")]
    before: Option<IntentId>,
    /// Prove the ledger whole: every entry's hash and link, every intent and artefact, every sum
    #[arg(long)]
    verify: bool,
    /// The head that an earlier `--verify` printed: proves that nothing since was cut off or rewritten
    #[arg(long, value_name = "SEQ:HASH", requires = "verify", value_parser = parse_head)]
    kept_head: Option<Head>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Which intents.
#[derive(Debug, Args)]
pub(crate) struct FilterArgs {
    /// In this state, `settled` say
    #[arg(long, value_parser = parse_state)]
    state: Option<State>,
    /// At the merchant with this origin
    #[arg(long, value_name = "ORIGIN", value_parser = parse_origin)]
    merchant: Option<Origin>,
    /// In this currency
    #[arg(long, value_name = "CODE")]
    currency: Option<Currency>,
    /// By this agent
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// Begun at this time or later, RFC 3339
    #[arg(long, value_name = "TIME")]
    since: Option<jiff::Timestamp>,
    /// Begun at this time or earlier, RFC 3339
    #[arg(long, value_name = "TIME")]
    until: Option<jiff::Timestamp>,
}

#[derive(Debug, Args)]
pub(crate) struct ReceiptArgs {
    /// The intent, as `history` lists it, or the payment's or mandate's own id
    id: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// All that the filters let through, as a table or as data
    #[arg(long, value_enum, required_unless_present = "evidence", conflicts_with = "evidence")]
    format: Option<ExportFormat>,
    /// What proves this one payment, for `verify-evidence`
    #[arg(long, value_name = "ID")]
    evidence: Option<IntentId>,
    /// The principal's audit entries to put into the evidence: an answer of the audit endpoint, as it came
    #[arg(long, value_name = "FILE", requires = "evidence")]
    audit: Option<PathBuf>,
    /// Fetch them for the time of the payment, with the wallet session that `login --scope audit:read` made
    #[arg(long, requires = "evidence", conflicts_with = "audit")]
    fetch_audit: bool,
    #[command(flatten)]
    filters: FilterArgs,
    /// Write to a new file that only you can read, instead of standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ExportFormat {
    /// RFC 4180, safe to open in a spreadsheet
    Csv,
    /// One array of objects
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyEvidenceArgs {
    /// The file that `export --evidence` wrote
    file: PathBuf,
    /// The authorization server's key set, from a source that you trust
    #[arg(long, value_name = "FILE")]
    as_jwks: Option<PathBuf>,
    /// The merchant's key set, from a source that you trust
    #[arg(long, value_name = "FILE")]
    merchant_jwks: Option<PathBuf>,
    /// The payment that the file has to be about, by the merchant's or the mandate's own id for it
    #[arg(long, value_name = "ID")]
    payment: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// `history`.
pub(crate) fn history(settings: &Settings, args: HistoryArgs) -> anyhow::Result<ExitCode> {
    let ledger = ledger(&settings.core);
    if args.verify {
        return verify(&ledger, args.kept_head.as_ref(), args.json);
    }
    let limit = usize::try_from(args.limit).unwrap_or(Filter::MOST);
    let page = ledger.list(&Filter { before: args.before, limit, ..args.filters.into_filter() })?;
    let mut out = io::stdout().lock();
    if args.json {
        let rows: Vec<_> = page.intents.iter().map(row).collect();
        writeln!(out, "{:#}", json!({"intents": rows, "next": page.next}))?;
        return Ok(ExitCode::SUCCESS);
    }
    if page.intents.is_empty() {
        writeln!(out, "nothing")?;
    } else {
        writeln!(out, "{}", line(["begun", "state", "amount", "intent", "payment or failure", "merchant", "items"]))?;
    }
    for intent in &page.intents {
        let payment = payment_name(intent);
        let failure = || intent.failure.as_ref().map(|failure| failure_code(failure).as_str());
        let mark = if resolve::is_open(intent) { " (?)" } else { "" };
        let told = line([
            &time(intent.created_at),
            &format!("{}{mark}", intent.state),
            &intent.currency.format(intent.amount_minor),
            intent.id.as_str(),
            payment.or_else(failure).unwrap_or("-"),
            &clean(&intent.merchant, 60),
            &clean(&items(intent), 80),
        ]);
        writeln!(out, "{told}")?;
    }
    if page.intents.iter().any(resolve::is_open) {
        writeln!(out, "(?) may have been paid, and counts as spent: {}", settings.command("resolve"))?;
    }
    if let Some(next) = page.next {
        writeln!(out, "older ones: --before {next}")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What the merchant calls the payment, by its own word or by the audit chain.
fn payment_name(intent: &Intent) -> Option<&str> {
    let settled = intent.settlement.as_ref().map(|settlement| &settlement.payment_intent_id);
    let resolved = || intent.resolution.as_ref().and_then(|resolution| resolution.payment_intent_id.as_ref());
    identifier(settled.or_else(resolved)?)
}

/// One line of `history`.
fn line([begun, state, amount, intent, payment, merchant, items]: [&str; 7]) -> String {
    format!("{begun:<20}  {state:<17}  {amount:>14}  {intent:<36}  {payment:<32}  {merchant}  {items}")
}

/// Says what was proven, or the first thing that does not fit.
fn verify(ledger: &Ledger, kept: Option<&Head>, as_json: bool) -> anyhow::Result<ExitCode> {
    let (sentence, output, code) = match ledger.verify(kept)? {
        Ok(proof) => {
            let kept = match kept {
                Some(kept) => format!(" The chain leads through the kept head {}: nothing since was cut off or rewritten.", kept.seq),
                None => " Keep the head elsewhere and give it as --kept-head to prove later that nothing was cut off or rewritten.".to_owned(),
            };
            let sentence = format!(
                "The ledger is whole: {} journal entries hashed and linked, {} intents and {} artefacts as the journal has them, all sums right.\n\
                 Head {}:{}.{kept}",
                proof.head.seq, proof.intents, proof.artefacts, proof.head.seq, proof.head.entry_hash,
            );
            (sentence, json!({"whole": true, "proof": proof}), ExitCode::SUCCESS)
        }
        Err(broken) => {
            let sentence = format!("The ledger is NOT whole: {broken}.");
            (sentence, json!({"whole": false, "broken": broken.to_string()}), ExitCode::FAILURE)
        }
    };
    let mut out = io::stdout().lock();
    if as_json {
        writeln!(out, "{output:#}")?
    } else {
        writeln!(out, "{sentence}")?
    };
    Ok(code)
}

/// `receipt`: one payment, verified again.
pub(crate) fn receipt(settings: &Settings, args: &ReceiptArgs) -> anyhow::Result<ExitCode> {
    let ledger = ledger(&settings.core);
    let file = EvidenceFile::collect(&ledger, &find(&ledger, &args.id)?.id, None, SystemClock.now())?;
    let trusted = pinned_keys(&settings.core.trusted_keys, file.intent()).map_err(anyhow::Error::msg)?;
    let findings = file.verify(&trusted);
    tell(file.intent(), &findings, args.json)?;
    Ok(if findings.fails() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `export`.
pub(crate) async fn export(settings: Settings, args: ExportArgs) -> anyhow::Result<ExitCode> {
    let audit = match (&args.audit, &args.evidence) {
        (Some(path), _) => Some(read(path)?),
        (None, Some(id)) if args.fetch_audit => Some(fetch_audit(&settings, id).await?),
        (None, _) => None,
    };
    let audit = audit.map(|text| jose::json::parse_object(&text).context("--audit")).transpose()?;
    let ledger = ledger(&settings.core);
    match &args.output {
        Some(path) => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let mut file = tempfile::NamedTempFile::new_in(folder).with_context(|| folder.display().to_string())?;
            write_export(&ledger, &args, audit, &mut file)?;
            file.as_file().sync_all()?;
            file.persist_noclobber(path).map_err(|error| match error.error.kind() {
                io::ErrorKind::AlreadyExists => {
                    anyhow!("{} exists and is left as it is: give another name, or move it away", path.display())
                }
                _ => anyhow::Error::new(error.error).context(path.display().to_string()),
            })?;
        }
        None => write_export(&ledger, &args, audit, &mut io::stdout().lock())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The page of the principal's audit chain that the payment is on.
async fn fetch_audit(settings: &Settings, id: &IntentId) -> anyhow::Result<Vec<u8>> {
    let intent = ledger(&settings.core).intent(id)?;
    let agent = Agent::for_person(settings.core.clone());
    let client = agent.registered_client(&intent.issuer)?;
    let token = PrincipalToken::WalletSession { redirect_uri: agent.redirect_uri(&client)? };
    let mut query = AuditQuery::default();
    query.from = Some(time(intent.created_at - CLOCKS_APART_SECONDS));
    query.to = Some(time(intent.updated_at + CLOCKS_APART_SECONDS));
    query.limit = Some(AUDIT_PAGE);
    match client.audit_page(&query, &token).await? {
        Granted::Done(page) => Ok(page.to_vec()),
        _ => bail!("there is no wallet session for audit:read: run `oid4pay-mcp login --scope audit:read` first"),
    }
}

fn write_export(
    ledger: &Ledger,
    args: &ExportArgs,
    audit: Option<Map<String, Value>>,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    if let Some(id) = &args.evidence {
        let file = EvidenceFile::collect(ledger, id, audit.map(Value::Object), SystemClock.now())?;
        serde_json::to_writer_pretty(&mut *out, &file)?;
        return Ok(writeln!(out)?);
    }
    let is_csv = args.format == Some(ExportFormat::Csv);
    if is_csv {
        write_record(out, COLUMNS.iter().map(|name| (*name).to_owned()))?;
    } else {
        write!(out, "[")?;
    }
    let mut separator = "\n";
    for intent in ledger.every(args.filters.to_filter()) {
        let intent = intent?;
        if is_csv {
            write_record(out, columns(&intent).into_iter().map(|cell| safe_cell(&cell)))?;
        } else {
            write!(out, "{separator}{}", row(&intent))?;
            separator = ",\n";
        }
    }
    if !is_csv {
        writeln!(out, "\n]")?;
    }
    Ok(())
}

/// `verify-evidence`: from the file, and the keys of the reader's own.
pub(crate) fn verify_evidence(
    args: &VerifyEvidenceArgs,
    pinned: &BTreeMap<Origin, PathBuf>,
) -> anyhow::Result<ExitCode> {
    let text = read(&args.file)?;
    let (file, members) = EvidenceFile::parse(&text).with_context(|| args.file.display().to_string())?;
    let given = |path: &Option<PathBuf>| path.as_deref().map(keys_in).transpose().map_err(anyhow::Error::msg);
    let pinned = pinned_keys(pinned, file.intent()).map_err(anyhow::Error::msg)?;
    let trusted = TrustedKeys {
        issuer: given(&args.as_jwks)?.or(pinned.issuer),
        merchant: given(&args.merchant_jwks)?.or(pinned.merchant),
    };
    let mut findings = file.verify_file(&members, &trusted);
    if let Some(id) = &args.payment {
        // These two names are signed, by the merchant and by the authorization server.
        findings.checks.push(Check::of(
            "payment",
            match is_named(file.intent(), id) {
                true => Ok("it is the payment that was asked about".to_owned()),
                false => Err("the file is about another payment than the one that was asked about".to_owned()),
            },
        ));
    }
    tell(file.intent(), &findings, args.json)?;
    Ok(match findings.verdict() {
        EvidenceVerdict::Proven => ExitCode::SUCCESS,
        EvidenceVerdict::Unproven => ExitCode::from(UNPROVEN_EXIT),
        EvidenceVerdict::Contradicted => ExitCode::FAILURE,
    })
}

/// What is proven, what is only recorded, and what came of each check.
fn tell(intent: &Intent, findings: &Findings, as_json: bool) -> anyhow::Result<()> {
    let (checks, fails, verdict) = (&findings.checks, findings.fails(), findings.verdict());
    let (paid, cap) = (findings.paid_minor, findings.cap_minor);
    let proven = |minor: Option<u64>| minor.filter(|_| verdict == EvidenceVerdict::Proven);
    let mut out = io::stdout().lock();
    if as_json {
        let told = json!({
            "verdict": verdict,
            "holds": fails == 0,
            "proven": {"paid_minor": proven(paid), "mandate_cap_minor": proven(cap)},
            "signed": {"paid_minor": paid, "mandate_cap_minor": cap, "keys_are_trusted": findings.keys_are_trusted},
            "recorded": {
                "state": intent.state,
                "agent": intent.agent,
                "approval": intent.approval,
                "revocation": intent.revocation,
                "resolution": intent.resolution,
            },
            "payment": row(intent),
            "checks": checks,
        });
        return Ok(writeln!(out, "{told:#}")?);
    }
    let (format, merchant) = (|minor| intent.currency.format(minor), clean(&intent.merchant, 100));
    let claimed = format!("not proven to be paid: {} to {merchant}", format(intent.amount_minor));
    match (proven(paid).zip(proven(cap)), fails, paid) {
        (Some((paid, cap)), ..) => {
            let (paid, cap) = (format(paid), format(cap));
            writeln!(out, "paid {paid} to {merchant} by its receipt, at most {cap} by the mandate")?;
        }
        (_, 1.., _) => writeln!(out, "{claimed}; what is said to prove it does not hold")?,
        (.., Some(_)) => writeln!(out, "{claimed}; its signatures hold, but their keys are not trusted here")?,
        (.., None) => writeln!(out, "{claimed}; there is no receipt that shows it")?,
    }
    writeln!(out, "recorded as {}", intent.state)?;
    if resolve::is_open(intent) {
        let counts = format(resolve::counts_minor(intent));
        writeln!(out, "it may have been paid, and {counts} count as spent: `resolve` says what became of it")?;
    }
    if let Some(revoked) = resolve::grant_revoked(intent) {
        writeln!(out, "recorded: its mandate was {}", if revoked { "revoked" } else { "not confirmed to be revoked" })?;
    }
    if let Some(resolution) = &intent.resolution {
        writeln!(out, "recorded: {}", resolve::resolution(resolution))?;
    }
    if let Some(settlement) = &intent.settlement {
        let (id, at) = (identifier(&settlement.payment_intent_id), shown::time(&settlement.settled_at));
        let (id, at) = (id.unwrap_or("without a name"), at.unwrap_or("at an unknown time"));
        writeln!(out, "recorded as payment {id}, settled {at}")?;
    }
    for Check { name, result, detail, .. } in checks {
        writeln!(out, "  {:<8}  {:<20} {}", result.to_string(), clean(name, 40), clean(detail, 300))?;
    }
    let sum = match verdict {
        EvidenceVerdict::Proven => "Proven, under the keys that you trust. What is only recorded is not.".to_owned(),
        EvidenceVerdict::Unproven if findings.keys_are_trusted => "Unproven: nothing is wrong with it.".to_owned(),
        EvidenceVerdict::Unproven => {
            "Unproven: nothing is wrong with it, but its author may have made the keys. Key sets from a source that you \
             trust can prove it: give `verify-evidence` --as-jwks and --merchant-jwks, or put [trusted_keys] into the settings."
                .to_owned()
        }
        EvidenceVerdict::Contradicted => format!("{fails} of {} checks FAIL: this is no proof.", checks.len()),
    };
    Ok(writeln!(out, "{sum}")?)
}

impl FilterArgs {
    fn to_filter(&self) -> Filter {
        Filter {
            state: self.state,
            merchant: self.merchant.as_ref().map(|origin| origin.as_str().to_owned()),
            currency: self.currency,
            agent: self.agent.clone(),
            since: self.since.map(jiff::Timestamp::as_second),
            until: self.until.map(jiff::Timestamp::as_second),
            ..Filter::default()
        }
    }

    fn into_filter(self) -> Filter {
        self.to_filter()
    }
}

/// One cell per column.
fn columns(intent: &Intent) -> Vec<String> {
    let row = row(intent);
    let cell = |name: &&str| match (*name, &row[*name]) {
        ("line_items", _) => items(intent),
        (_, Value::Null) => String::new(),
        (_, Value::String(text)) => text.clone(),
        (_, other) => other.to_string(),
    };
    COLUMNS.iter().map(cell).collect()
}

/// A cell that a spreadsheet takes for text: one that begins like a formula gets an apostrophe.
fn safe_cell(text: &str) -> String {
    match text.trim_start().starts_with(['=', '+', '-', '@', '|', '%', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'])
    {
        true => format!("'{text}"),
        false => text.to_owned(),
    }
}

/// One record (RFC 4180): every cell in quotes, ended by CR LF.
fn write_record(out: &mut impl Write, cells: impl Iterator<Item = String>) -> io::Result<()> {
    let cells: Vec<_> = cells.map(|cell| format!("\"{}\"", cell.replace('"', "\"\""))).collect();
    write!(out, "{}\r\n", cells.join(","))
}

/// The octets of a file that the person named.
fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    read_capped(path).with_context(|| path.display().to_string())
}

fn parse_state(name: &str) -> Result<State, String> {
    let known = || State::ALL.map(State::as_str).join(", ");
    State::ALL.into_iter().find(|state| state.as_str() == name).ok_or_else(|| format!("one of {} is wanted", known()))
}

/// In any spelling: one that no payment has would list nothing, and look like an answer.
fn parse_origin(text: &str) -> Result<Origin, String> {
    Origin::of(text.trim()).map_err(|why| why.to_string())
}

fn parse_head(text: &str) -> Result<Head, String> {
    let parts = text.split_once(':').and_then(|(seq, hash)| Some((seq.parse::<u64>().ok()?, hash)));
    let head =
        parts.and_then(|(seq, entry_hash)| serde_json::from_value(json!({"seq": seq, "entry_hash": entry_hash})).ok());
    head.ok_or_else(|| "a number, a colon and a hash are wanted, as `history --verify` prints them".to_owned())
}

const COLUMNS: [&str; 17] = [
    "intent_id",
    "state",
    "created_at",
    "settled_at",
    "merchant",
    "amount",
    "currency",
    "amount_minor",
    "line_items",
    "purchase_ref",
    "agent",
    "idempotency_key",
    "mandate_id",
    "payment_intent_id",
    "payment_provider_ref",
    "receipt_status",
    "failure_code",
];
/// The exit status of `verify-evidence` for what is neither proven nor contradicted; 2 is for a wrong command line.
const UNPROVEN_EXIT: u8 = 3;
/// How far the authorization server's clock may be from ours for its entries to be found.
const CLOCKS_APART_SECONDS: i64 = 300;
/// The most that the audit endpoint gives at once.
const AUDIT_PAGE: u32 = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula() {
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "\r\n=cmd|' /C calc'!A0", "|calc", "＝1"] {
            assert_eq!(safe_cell(formula), format!("'{formula}"));
        }
        for plain in ["12.99", "2026-01-01T00:00:00Z", "https://shop.example", "'x", ""] {
            assert_eq!(safe_cell(plain), plain);
        }
    }

    #[test]
    fn a_record_is_quoted_as_rfc_4180_has_it() {
        let mut out = Vec::new();
        write_record(&mut out, ["a\"b".to_owned(), "c,\r\nd".to_owned()].into_iter()).unwrap();
        assert_eq!(out, b"\"a\"\"b\",\"c,\r\nd\"\r\n");
    }
}
