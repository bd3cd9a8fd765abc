//! The human's proof: the passphrase that they chose.
//!
//! What an agent must not do by itself takes a [`Human`], and the only ways to one are [`verify`] and [`choose`]. Many agents
//! have a shell; what they lack is the passphrase, of which only an Argon2id hash (RFC 9106) is kept,
//! in a file of mode 0600 in the data directory. Attempts are counted in that file before they are judged, so that neither
//! killing the process nor starting many of them buys a guess more. Against a program that may write the file this is a
//! hurdle and no wall, as `SECURITY.md` says.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{self, PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use jose::{Clock, UnixSeconds};
use oid4ac_client::SystemClock;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Proof that the passphrase was just verified. It cannot be made in any other way, or kept for later.
#[derive(Debug)]
pub struct Human(());

/// What was typed as a passphrase.
pub struct Passphrase(Zeroizing<String>);

/// Why nobody counts as the human.
#[derive(Debug, thiserror::Error)]
pub enum NotHuman {
    /// `policy init` was not run yet.
    #[error("there is no passphrase yet: run `oid4pay-mcp policy init` in a terminal, which asks for one")]
    NoPassphrase,
    /// It is another one.
    #[error("this is not the passphrase")]
    Wrong,
    /// Too many attempts failed.
    #[error("too many wrong passphrases: try again in {seconds} seconds")]
    TooMany {
        /// How long to wait.
        seconds: u64,
    },
    /// One that is too easy to guess, or that was typed differently the second time.
    #[error("{0}")]
    Unsuitable(&'static str),
    /// The file with the hash cannot be used.
    #[error("{}: {detail}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what fixes it.
        detail: String,
    },
}

impl Passphrase {
    /// As it was typed.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

/// Compares what was typed with what was chosen, the attempt being counted first.
///
/// # Errors
///
/// - [`NotHuman::NoPassphrase`] if none was chosen.
/// - [`NotHuman::Wrong`] if it is another one.
/// - [`NotHuman::TooMany`] if too many attempts failed lately; this one was not looked at.
/// - [`NotHuman::File`] if the file is damaged, too open, or cannot be written.
pub fn verify(data_dir: &Path, passphrase: &Passphrase) -> Result<Human, NotHuman> {
    verify_at(data_dir, passphrase, SystemClock.now())
}

/// Whether there is a passphrase.
///
/// # Errors
///
/// - [`NotHuman::File`] if the file is damaged or too open.
pub fn is_chosen(data_dir: &Path) -> Result<bool, NotHuman> {
    Ok(read(data_dir)?.is_some())
}

/// Keeps the hash of a new passphrase, typed twice. The caller has proved that it may replace an old one.
///
/// # Errors
///
/// - [`NotHuman::Unsuitable`] if it is short, or the two differ.
/// - [`NotHuman::File`] if it cannot be kept.
pub fn choose(data_dir: &Path, typed: &Passphrase, again: &Passphrase) -> Result<Human, NotHuman> {
    check(typed)?;
    if *again.0 != *typed.0 {
        return Err(NotHuman::Unsuitable("the two differ; nothing was changed"));
    }
    keep(data_dir, typed)
}

/// Refuses a passphrase that is too easy to guess.
///
/// # Errors
///
/// - [`NotHuman::Unsuitable`] if it is short, or endless.
pub fn check(passphrase: &Passphrase) -> Result<(), NotHuman> {
    match passphrase.0.chars().count() {
        0..SHORTEST => Err(NotHuman::Unsuitable("a passphrase has at least eight characters; nothing was changed")),
        SHORTEST..=LONGEST => Ok(()),
        _ => Err(NotHuman::Unsuitable("a passphrase has at most a thousand characters; nothing was changed")),
    }
}

/// What is kept.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    /// The PHC string of the Argon2id hash.
    hash: String,
    /// How many attempts failed since one succeeded.
    #[serde(default)]
    failures: u32,
    /// When the last of them was made.
    #[serde(default)]
    failed_at: UnixSeconds,
}

fn verify_at(dir: &Path, passphrase: &Passphrase, now: UnixSeconds) -> Result<Human, NotHuman> {
    if read(dir)?.is_none() {
        return Err(NotHuman::NoPassphrase);
    }
    // One attempt at a time, in all processes.
    let _lock = lock(dir)?;
    let Some(mut kept) = read(dir)? else { return Err(NotHuman::NoPassphrase) };
    let pause = pause_after(kept.failures);
    // With a clock that was set back it takes as long as a whole pause, and not longer.
    let left = kept.failed_at.saturating_add(pause).saturating_sub(now).min(pause);
    if left > 0 {
        return Err(NotHuman::TooMany { seconds: left.unsigned_abs() });
    }
    kept.failures = kept.failures.saturating_add(1);
    kept.failed_at = now;
    write(dir, &kept)?;
    let hash = PasswordHash::new(&kept.hash).map_err(|error| damaged(dir, error))?;
    match Argon2::default().verify_password(passphrase.0.as_bytes(), &hash) {
        Ok(()) => {
            kept.failures = 0;
            write(dir, &kept)?;
            Ok(Human(()))
        }
        Err(password_hash::Error::PasswordInvalid) => Err(NotHuman::Wrong),
        Err(error) => Err(damaged(dir, error)),
    }
}

fn keep(dir: &Path, passphrase: &Passphrase) -> Result<Human, NotHuman> {
    let path = dir.join(FILE);
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|error| problem(&path, error))?;
    // RFC 9106 §4, the recommendation for little memory: 64 MiB, three passes; one lane, since it is computed by one thread.
    let params = Params::new(64 * 1024, 3, 1, None).map_err(|error| problem(&path, error))?;
    let hash: PasswordHash = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_with_salt(passphrase.0.as_bytes(), &salt)
        .map_err(|error| problem(&path, error))?;
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).map_err(|error| problem(dir, error))?;
    let _lock = lock(dir)?;
    write(dir, &Kept { hash: hash.to_string(), failures: 0, failed_at: 0 })?;
    Ok(Human(()))
}

/// How many seconds have to pass after so many failures: none for the first three, then twice as many each time.
fn pause_after(failures: u32) -> i64 {
    match failures.checked_sub(FREE_ATTEMPTS) {
        None => 0,
        Some(beyond) => 2i64.saturating_pow(beyond).min(LONGEST_PAUSE),
    }
}

fn read(dir: &Path) -> Result<Option<Kept>, NotHuman> {
    let path = dir.join(FILE);
    let text = match fs::read(&path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(problem(&path, error)),
    };
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(&path).map_err(|error| problem(&path, error))?.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            let detail =
                format!("has mode {mode:04o}, others can get at it; fix it with: chmod 600 {}", path.display());
            return Err(NotHuman::File { path, detail });
        }
    }
    serde_json::from_slice(&text).map(Some).map_err(|error| damaged(dir, error))
}

fn write(dir: &Path, kept: &Kept) -> Result<(), NotHuman> {
    let path = dir.join(FILE);
    let write = || {
        let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(dir)?;
        serde_json::to_writer(&mut file, kept)?;
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|error| error.error).map(drop)
    };
    write().map_err(|error: io::Error| problem(&path, error))
}

fn lock(dir: &Path) -> Result<File, NotHuman> {
    let path = dir.join(LOCK);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&path).map_err(|error| problem(&path, error))?;
    file.lock().map_err(|error| problem(&path, error))?;
    Ok(file)
}

fn problem(path: &Path, error: impl ToString) -> NotHuman {
    NotHuman::File { path: path.to_owned(), detail: error.to_string() }
}

fn damaged(dir: &Path, error: impl ToString) -> NotHuman {
    let detail = format!("is damaged ({}); restore a copy, or remove it and run `policy init`", error.to_string());
    NotHuman::File { path: dir.join(FILE), detail }
}

const FILE: &str = "passphrase.json";
const LOCK: &str = "passphrase.lock";
const SHORTEST: usize = 8;
const LONGEST: usize = 1000;
const FREE_ATTEMPTS: u32 = 3;
/// A minute: a person who was locked out by a program that guesses is kept waiting no longer.
const LONGEST_PAUSE: i64 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &str) -> Passphrase {
        Passphrase::new(text.to_owned())
    }

    #[test]
    fn only_the_passphrase_that_was_chosen_is_the_humans() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        assert!(matches!(verify_at(&data, &typed("whatever"), 0), Err(NotHuman::NoPassphrase)));
        keep(&data, &typed("correct horse")).unwrap();
        verify_at(&data, &typed("correct horse"), 0).unwrap();
        for wrong in ["", "correct", "correct horse ", "Correct horse"] {
            assert!(matches!(verify_at(&data, &typed(wrong), 1 << 40), Err(NotHuman::Wrong)), "{wrong}");
            verify_at(&data, &typed("correct horse"), 1 << 40).unwrap();
        }
        let kept = fs::read_to_string(data.join(FILE)).unwrap();
        assert!(kept.contains("$argon2id$v=19$m=65536,t=3,p=1$") && !kept.contains("horse"), "{kept}");
    }

    #[test]
    fn after_three_wrong_ones_each_attempt_waits_longer_and_the_right_one_too() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path();
        keep(data, &typed("correct horse")).unwrap();
        for _ in 0..3 {
            assert!(matches!(verify_at(data, &typed("wrong one"), 100), Err(NotHuman::Wrong)));
        }
        assert!(matches!(verify_at(data, &typed("correct horse"), 100), Err(NotHuman::TooMany { seconds: 1 })));
        // A clock that was set back makes it wait no longer than one pause.
        assert!(matches!(verify_at(data, &typed("correct horse"), 0), Err(NotHuman::TooMany { seconds: 1 })));
        assert!(matches!(verify_at(data, &typed("wrong one"), 101), Err(NotHuman::Wrong)));
        assert!(matches!(verify_at(data, &typed("correct horse"), 102), Err(NotHuman::TooMany { seconds: 1 })));
        verify_at(data, &typed("correct horse"), 103).unwrap();
        assert!(matches!(verify_at(data, &typed("wrong one"), 103), Err(NotHuman::Wrong)));
        assert_eq!([0, 2, 3, 4, 8, 9, u32::MAX].map(pause_after), [0, 0, 1, 2, 32, 60, 60]);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_can_read_or_that_is_damaged_proves_nothing() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let (data, path) = (dir.path(), dir.path().join(FILE));
        keep(data, &typed("correct horse")).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let refused = verify_at(data, &typed("correct horse"), 0).unwrap_err().to_string();
        assert!(refused.contains("mode 0640") && refused.contains("chmod 600"), "{refused}");
        fs::write(&path, "{\"hash\": \"plain\"}").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let refused = verify_at(data, &typed("plain"), 0).unwrap_err().to_string();
        assert!(refused.contains("is damaged"), "{refused}");
    }

    #[test]
    fn short_passphrases_are_not_taken() {
        assert!(check(&typed("1234567")).is_err());
        assert!(check(&typed("12345678")).is_ok());
        assert!(check(&typed(&"x".repeat(1001))).is_err());
    }
}
