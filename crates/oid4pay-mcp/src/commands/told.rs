//! Errors in words, and output whose reader has gone.

use std::io;
use std::process::ExitCode;

/// An error and its causes, without those that the error in front of them tells already.
#[must_use]
pub fn in_words(error: &anyhow::Error) -> String {
    let mut told = String::new();
    for cause in error.chain().map(ToString::to_string) {
        match told.is_empty() {
            true => told = cause,
            false if told.ends_with(&cause) => {}
            false => told.extend([": ", &cause]),
        }
    }
    told
}

/// What came of a command whose reader may have had enough: then it ends without a word, as any program does that writes
/// to a closed pipe, and never as a success that was not told.
pub(crate) fn quietly(done: anyhow::Result<ExitCode>) -> anyhow::Result<ExitCode> {
    let closed = |error: &anyhow::Error| {
        let in_json = error.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind);
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind).or(in_json);
        kind == Some(io::ErrorKind::BrokenPipe)
    };
    done.or_else(|error| if closed(&error) { Ok(ExitCode::from(SIGPIPE_EXIT)) } else { Err(error) })
}

/// 128 and the number of SIGPIPE, as a shell has it.
const SIGPIPE_EXIT: u8 = 141;
