//! The results: a table for people, JSON and JUnit XML for machines.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde_json::{Value, json};

use crate::outcome::Stop;
use crate::runner::Result;

/// The number of checks per result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl Tally {
    pub(crate) fn of(results: &[Result]) -> Self {
        let mut tally = Self::default();
        for result in results {
            match &result.outcome {
                Ok(_) => tally.passed += 1,
                Err(Stop::Skipped(_)) => tally.skipped += 1,
                Err(Stop::Failed(_) | Stop::Broken(_)) => tally.failed += 1,
            }
        }
        tally
    }

    /// `12 passed, 0 failed, 1 skipped`.
    pub(crate) fn line(self) -> String {
        format!("{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

impl Result {
    /// `passed`, `failed` or `skipped`.
    fn verdict(&self) -> &'static str {
        match &self.outcome {
            Ok(_) => "passed",
            Err(Stop::Skipped(_)) => "skipped",
            Err(Stop::Failed(_) | Stop::Broken(_)) => "failed",
        }
    }

    /// What was seen, or why nothing was.
    fn seen(&self) -> String {
        let seen = match &self.outcome {
            Ok(seen) | Err(Stop::Failed(seen) | Stop::Skipped(seen)) => seen.clone(),
            Err(Stop::Broken(seen)) => format!("not reached: {seen}"),
        };
        // Some of it is the peer's.
        seen.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_SEEN).collect()
    }
}

/// A table for people.
pub(crate) fn write_text(results: &[Result], out: &mut dyn Write) -> io::Result<()> {
    let width = results.iter().map(|result| result.id.len()).max().unwrap_or(0);
    for result in results {
        let (id, section, verdict) = (&result.id, result.section, result.verdict());
        writeln!(out, "{verdict:<7}  {id:<width$}  {section}")?;
        match &result.outcome {
            Ok(_) => {}
            Err(Stop::Skipped(_)) => writeln!(out, "         {}", result.seen())?,
            Err(_) => {
                writeln!(out, "         expected: {}", result.expected)?;
                writeln!(out, "         seen:     {}", result.seen())?;
            }
        }
    }
    writeln!(out, "\n{}", Tally::of(results).line())
}

/// One object: the totals, and a row for each check.
pub(crate) fn json(results: &[Result]) -> Value {
    let tally = Tally::of(results);
    let row = |result: &Result| {
        json!({
            "id": result.id,
            "section": result.section,
            "expected": result.expected,
            "verdict": result.verdict(),
            "seen": result.seen(),
            "seconds": result.took.as_secs_f64(),
        })
    };
    json!({
        "passed": tally.passed,
        "failed": tally.failed,
        "skipped": tally.skipped,
        "checks": results.iter().map(row).collect::<Vec<_>>(),
    })
}

/// JUnit XML: a suite for each area, which is what an id begins with.
pub(crate) fn write_junit(results: &[Result], out: &mut dyn Write) -> io::Result<()> {
    let mut areas: BTreeMap<&str, Vec<&Result>> = BTreeMap::new();
    for result in results {
        let area = result.id.split('.').next().unwrap_or_default();
        areas.entry(area).or_default().push(result);
    }
    let tally = Tally::of(results);
    writeln!(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>")?;
    let (tests, failures, skipped) = (results.len(), tally.failed, tally.skipped);
    writeln!(out, "<testsuites name=\"conformance\" tests=\"{tests}\" failures=\"{failures}\" skipped=\"{skipped}\">")?;
    for (area, results) in areas {
        let owned: Vec<Result> = results.into_iter().cloned().collect();
        let Tally { failed, skipped, .. } = Tally::of(&owned);
        let (area, tests) = (xml(area), owned.len());
        writeln!(out, "  <testsuite name=\"{area}\" tests=\"{tests}\" failures=\"{failed}\" skipped=\"{skipped}\">")?;
        for result in &owned {
            let (id, section, time) = (xml(&result.id), xml(result.section), result.took.as_secs_f64());
            write!(out, "    <testcase classname=\"{section}\" name=\"{id}\" time=\"{time:.3}\"")?;
            let (expected, seen) = (xml(&result.expected), xml(&result.seen()));
            match &result.outcome {
                Ok(_) => writeln!(out, "/>")?,
                Err(Stop::Skipped(_)) => writeln!(out, "><skipped message=\"{seen}\"/></testcase>")?,
                Err(_) => {
                    writeln!(out, "><failure message=\"{seen}\">expected: {expected}</failure></testcase>")?;
                }
            }
        }
        writeln!(out, "  </testsuite>")?;
    }
    writeln!(out, "</testsuites>")
}

/// Text for an attribute or an element. Characters that XML 1.0 cannot represent are left out.
fn xml(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            '\u{fffe}' | '\u{ffff}' => {}
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

const MAX_SEEN: usize = 400;
