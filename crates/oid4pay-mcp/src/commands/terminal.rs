//! A person at this terminal: questions on standard error, and the passphrase.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;

use oid4pay::approvals::{self, Human, NotHuman, Passphrase};

/// Why there is no person at the terminal who may do it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoPerson {
    /// Standard input or error is no terminal.
    #[error("{0} needs a person at an interactive terminal, and this is none: run the command in a terminal yourself")]
    NoTerminal(String),
    /// Nothing could be read from the terminal.
    #[error("the terminal cannot be read: {0}")]
    Terminal(io::Error),
    /// They are not the human.
    #[error(transparent)]
    NotHuman(#[from] NotHuman),
}

/// Asks for the passphrase at the terminal. `what_for` finishes the sentence "… needs a person", and is shown above the
/// question.
///
/// # Errors
///
/// - [`NoPerson::NoTerminal`] if standard input or standard error is redirected.
/// - Those of [`approvals::verify`], a wrong passphrase after three attempts.
pub(crate) fn require(data_dir: &Path, what_for: &str) -> Result<Human, NoPerson> {
    require_terminal(what_for)?;
    if !approvals::is_chosen(data_dir)? {
        return Err(NotHuman::NoPassphrase.into());
    }
    let mut attempts_left = ATTEMPTS_PER_COMMAND;
    loop {
        let typed = prompt(&format!("{what_for} needs your passphrase: "))?;
        attempts_left -= 1;
        match approvals::verify(data_dir, &typed) {
            Err(NotHuman::Wrong) if attempts_left > 0 => say("This is not the passphrase.")?,
            verdict => return Ok(verdict?),
        }
    }
}

/// Asks twice for a new passphrase and keeps its hash. Replacing one takes the old one first.
///
/// # Errors
///
/// - [`NotHuman::Unsuitable`] if it is short, or the two differ.
/// - Those of [`require`] where there is one already.
pub(crate) fn choose(data_dir: &Path) -> Result<Human, NoPerson> {
    require_terminal("choosing a passphrase")?;
    if approvals::is_chosen(data_dir)? {
        require(data_dir, "Replacing the passphrase")?;
    }
    let passphrase = prompt("New passphrase, for you alone and never for an agent: ")?;
    approvals::check(&passphrase)?;
    Ok(approvals::choose(data_dir, &passphrase, &prompt("Once more: ")?)?)
}

/// Refuses where a person cannot be asked.
pub(crate) fn require_terminal(what_for: &str) -> Result<(), NoPerson> {
    if io::stdin().is_terminal() && io::stderr().is_terminal() {
        return Ok(());
    }
    Err(NoPerson::NoTerminal(what_for.to_owned()))
}

/// Writes a line to the person, whatever standard output is used for.
fn say(line: &str) -> Result<(), NoPerson> {
    writeln!(io::stderr(), "{line}").map_err(NoPerson::Terminal)
}

/// Reads a line that is not shown. Standard input was found to be a terminal, so it is that one, and not the controlling
/// terminal, which can be another.
fn prompt(question: &str) -> Result<Passphrase, NoPerson> {
    let config = rpassword::ConfigBuilder::new().output_writer(io::stderr());
    #[cfg(unix)]
    let config = config.input_file_path("/dev/stdin");
    let typed = rpassword::prompt_password_with_config(question, config.build()).map_err(NoPerson::Terminal)?;
    Ok(Passphrase::new(typed))
}

const ATTEMPTS_PER_COMMAND: u32 = 3;
