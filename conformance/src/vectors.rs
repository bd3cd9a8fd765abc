//! Judges test cases with the crates' public API: one case a line in, one verdict a line out, in the same order.
//!
//! A case that has the members of its kind with the right JSON types gets `accepted` or `rejected`, whatever their
//! values. Everything else, down to a line that is not JSON, gets `error`.

use std::io::{self, BufRead, BufWriter, Write};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::ser::{Formatter, Serializer};

mod dpop;
mod http_sig;
mod jcs;
mod judged;
mod jwk;
mod jws;
mod rule;
mod sd_jwt;
mod status_list;

use judged::Judged;

/// What is to be judged.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Kind {
    /// SD-JWTs, with or without key binding (RFC 9901, SD-JWT VC).
    SdJwt,
    /// Signed requests and responses (RFC 9421, RFC 9530).
    HttpSig,
    /// Compact JWS (RFC 7515).
    Jws,
    /// Keys and their thumbprints (RFC 7517, RFC 7638, RFC 8037).
    Jwk,
    /// Canonical JSON (RFC 8785).
    Jcs,
    /// Entries of a status list (StatusList2021).
    StatusList,
    /// DPoP proofs (RFC 9449).
    Dpop,
}

/// Judges every line of `input`.
pub(crate) fn run(kind: Kind, mut input: impl BufRead, output: impl Write) -> io::Result<()> {
    let mut output = BufWriter::new(output);
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line)? > 0 {
        answer(kind, &line).serialize(&mut Serializer::with_formatter(&mut output, Ascii))?;
        output.write_all(b"\n")?;
        line.clear();
    }
    output.flush()
}

fn answer(kind: Kind, line: &[u8]) -> Answer {
    #[derive(Deserialize)]
    struct Identified {
        id: Value,
    }

    let id = serde_json::from_slice(line).map_or(Value::Null, |Identified { id }| id);
    let judged = match kind {
        Kind::SdJwt => judge(line, sd_jwt::judge),
        Kind::HttpSig => judge(line, http_sig::judge),
        Kind::Jws => judge(line, jws::judge),
        Kind::Jwk => judge(line, jwk::judge),
        Kind::Jcs => judge(line, jcs::judge),
        Kind::StatusList => judge(line, status_list::judge),
        Kind::Dpop => judge(line, dpop::judge),
    };
    match judged {
        _ if id.is_null() => Answer { id, verdict: "error", rule: None, value: None },
        Err(NotACase) => Answer { id, verdict: "error", rule: None, value: None },
        Ok(Ok(value)) => Answer { id, verdict: "accepted", rule: None, value: Some(value) },
        Ok(Err(rule)) => Answer { id, verdict: "rejected", rule: Some(rule), value: None },
    }
}

fn judge<'a, C: Deserialize<'a>>(line: &'a [u8], verdict: impl Fn(&C) -> Judged) -> Result<Judged, NotACase> {
    serde_json::from_slice(line).map(|case| verdict(&case)).map_err(|_| NotACase)
}

#[derive(Serialize)]
struct Answer {
    id: Value,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Value>,
}

/// The line does not have the members of its kind.
struct NotACase;

/// Writes JSON in ASCII: U+2028 and its like end a line for some readers, and the answers are told apart by their lines.
struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: Write + ?Sized>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        for piece in fragment.split_inclusive(|c: char| !c.is_ascii()) {
            let (ascii, other) = match piece.char_indices().next_back() {
                Some((at, c)) if !c.is_ascii() => (&piece[..at], Some(c)),
                _ => (piece, None),
            };
            writer.write_all(ascii.as_bytes())?;
            for unit in other.into_iter().flat_map(|c| c.encode_utf16(&mut [0; 2]).to_vec()) {
                write!(writer, "\\u{unit:04x}")?;
            }
        }
        Ok(())
    }
}
