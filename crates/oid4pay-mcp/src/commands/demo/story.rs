//! What a demonstration has to tell, for people and for machines.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

/// The whole demonstration. As JSON it is the document that `demo --json` prints.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Story {
    /// Whether every step went as it should and every signature was verified.
    pub ok: bool,
    /// Where the sandbox's parties were.
    pub sandbox: Value,
    /// What was done, in order.
    pub steps: Vec<Step>,
    /// One payment at each merchant.
    pub payments: Vec<Payment>,
    /// How many requests the sandbox answered.
    pub requests: usize,
    /// Why the story ended early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One step.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Step {
    /// What was done.
    pub name: String,
    /// Whether it went as it should; a payment that the policy has to deny is denied.
    pub ok: bool,
    /// How long it took, in milliseconds.
    pub ms: u64,
    /// What the tool answered: its structured content, or the error object of its refusal. That of a payment stands among
    /// the payments.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub output: Value,
    /// The details, for people.
    #[serde(skip)]
    pub told: Vec<String>,
}

/// How a step is told.
pub(crate) struct Told {
    pub(crate) is_good: bool,
    pub(crate) output: Value,
    pub(crate) lines: Vec<String>,
}

impl Told {
    pub(crate) fn good(output: Value, lines: Vec<String>) -> Self {
        Self { is_good: true, output, lines }
    }

    pub(crate) fn bad(output: Value, lines: Vec<String>) -> Self {
        Self { is_good: false, output, lines }
    }
}

/// One payment.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Payment {
    /// The merchant's id.
    pub merchant: String,
    /// What checking each signed artefact gave.
    pub signatures: Signatures,
    /// What the tool answered: its structured content, or the error object of its refusal.
    pub output: Value,
}

/// For each signed artefact `verified`, or the reason why not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Signatures {
    /// The merchant's offer (RFC 9421).
    pub offer: String,
    /// The access token (RFC 9068).
    pub access_token: String,
    /// The mandate (SD-JWT VC).
    pub mandate: String,
    /// The KB-JWT of our own presentation.
    pub key_binding: String,
    /// The merchant's receipt.
    pub receipt: String,
}

impl Signatures {
    /// Reads them from a result's `_meta`.
    pub(crate) fn read(verdicts: &Value) -> Self {
        let one = |name: &str| match verdicts.pointer(&format!("/{name}/verdict")).and_then(Value::as_str) {
            Some("verified") => VERIFIED.to_owned(),
            Some("absent") => "absent".to_owned(),
            Some("invalid") => {
                let reason = verdicts.pointer(&format!("/{name}/reason")).and_then(Value::as_str);
                format!("invalid: {}", reason.unwrap_or("no reason given"))
            }
            _ => "not reached".to_owned(),
        };
        Self {
            offer: one("offer"),
            access_token: one("access_token"),
            mandate: one("mandate"),
            key_binding: one("key_binding"),
            receipt: one("receipt"),
        }
    }

    /// By name, in the order in which they are checked.
    #[must_use]
    pub fn all(&self) -> [(&'static str, &str); 5] {
        [
            ("offer", &self.offer),
            ("access_token", &self.access_token),
            ("mandate", &self.mandate),
            ("key_binding", &self.key_binding),
            ("receipt", &self.receipt),
        ]
    }

    /// Whether all are verified.
    #[must_use]
    pub fn all_verified(&self) -> bool {
        self.all().iter().all(|(_, verdict)| *verdict == VERIFIED)
    }
}

impl Story {
    pub(crate) fn begin(sandbox: Value) -> Self {
        Self { ok: false, sandbox, steps: Vec::new(), payments: Vec::new(), requests: 0, error: None }
    }

    pub(crate) fn step(&mut self, name: impl Into<String>, took: Duration, told: Told) {
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.steps.push(Step { name: name.into(), ok: told.is_good, ms, output: told.output, told: told.lines });
    }

    /// Says how it ended, and whether all was well.
    pub(crate) fn end(&mut self, error: Option<String>, requests: usize, merchants: usize) {
        self.ok = error.is_none()
            && self.steps.iter().all(|step| step.ok)
            && self.payments.len() == merchants
            && self.payments.iter().all(|payment| payment.signatures.all_verified());
        self.error = error;
        self.requests = requests;
    }

    /// The story as text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let paint = Paint::for_stdout();
        let mut text = String::new();
        for (index, step) in self.steps.iter().enumerate() {
            let title = paint.bold(&format!("{}. {}", index + 1, step.name));
            let _ = writeln!(text, "{title}  {}", paint.dim(&format!("{} ms", step.ms)));
            for line in &step.told {
                let _ = writeln!(text, "   {}", paint.verdict(line));
            }
            text.push('\n');
        }
        match &self.error {
            Some(error) => {
                let _ = writeln!(text, "{}", paint.red(&format!("It ended here: {error}")));
            }
            None if self.ok => {
                let paid = self.payments.len();
                let line = format!(
                    "Paid at {paid} merchants, every signature verified, the policy kept, {} HTTP requests.",
                    self.requests
                );
                let _ = writeln!(text, "{}", paint.green(&line));
            }
            None => {
                let _ = writeln!(
                    text,
                    "{}",
                    paint.red("Not everything went as it should: see the lines that begin with !")
                );
            }
        }
        text
    }
}

/// Colours, on a terminal that wants them.
struct Paint {
    coloured: bool,
}

impl Paint {
    fn for_stdout() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { coloured: !unwanted && std::io::stdout().is_terminal() }
    }

    fn with(&self, code: &str, text: &str) -> String {
        if self.coloured { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn bold(&self, text: &str) -> String {
        self.with("1", text)
    }

    fn dim(&self, text: &str) -> String {
        self.with("2", text)
    }

    fn green(&self, text: &str) -> String {
        self.with("32", text)
    }

    fn red(&self, text: &str) -> String {
        self.with("31", text)
    }

    fn verdict(&self, line: &str) -> String {
        match line.split_once(' ') {
            Some(("+", _)) => self.green(line),
            Some(("!", _)) => self.red(line),
            _ => line.to_owned(),
        }
    }
}

pub(crate) const VERIFIED: &str = "verified";
