//! The person behind a client, and the person at a terminal.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};
use serde_json::{Value, json};

use super::BINARY;

/// Answers what a client is asked to ask.
pub struct Person {
    /// The client's capability `elicitation`.
    pub can: Value,
    answers: Vec<Option<Value>>,
    asked: Arc<Mutex<Vec<Value>>>,
}

impl Person {
    /// One whose client can ask with forms and URLs, and who gives these answers one after another; `None` is silence.
    pub fn who_answers(answers: impl Into<Vec<Option<Value>>>) -> Self {
        Self { can: json!({"form": {}, "url": {}}), answers: answers.into(), asked: Arc::default() }
    }

    /// What they were asked so far: the parameters of each request.
    pub fn asked(&self) -> Arc<Mutex<Vec<Value>>> {
        Arc::clone(&self.asked)
    }

    pub(super) fn answer(&mut self, request: &Value) -> Option<Value> {
        assert_eq!(request["method"], "elicitation/create", "{request}");
        self.asked.lock().unwrap().push(request["params"].clone());
        assert!(!self.answers.is_empty(), "one question too many: {request}");
        self.answers.remove(0)
    }
}

/// What is typed at a prompt.
#[derive(Clone, Copy)]
pub enum Typed<'a> {
    /// As a passphrase is.
    Unseen(&'a str),
    /// As anything else is.
    Seen(&'a str),
}

/// Runs a command at a terminal of its own, and types an answer, unseen, at each prompt. Gives whether it succeeded, and
/// what the terminal showed.
pub fn at_a_terminal(arguments: &[&str], home: &Path, answers: &[&str]) -> (bool, String) {
    let answers: Vec<_> = answers.iter().map(|answer| Typed::Unseen(answer)).collect();
    at_a_terminal_typing(arguments, home, &answers)
}

/// The same, where some prompts show what is typed.
pub fn at_a_terminal_typing(arguments: &[&str], home: &Path, answers: &[Typed<'_>]) -> (bool, String) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let no_ctty = i32::try_from(OFlags::NOCTTY.bits()).unwrap();
    let terminal = {
        use std::os::unix::fs::OpenOptionsExt as _;
        OpenOptions::new().read(true).write(true).custom_flags(no_ctty).open(name.to_str().unwrap()).unwrap()
    };
    let stdio = || Stdio::from(terminal.try_clone().unwrap());
    let mut command = std::process::Command::new(BINARY);
    command.args(arguments).env_clear().env("HOME", home).current_dir(home);
    let mut child = command.stdin(stdio()).stdout(stdio()).stderr(stdio()).spawn().unwrap();
    drop(command);
    drop(terminal);

    let master = File::from(master);
    let shown = Arc::new(Mutex::new(Vec::new()));
    let reader = {
        let (mut master, shown) = (master.try_clone().unwrap(), Arc::clone(&shown));
        std::thread::spawn(move || {
            let mut buffer = [0; 1024];
            // The last one to close the other end makes this an error.
            while let Ok(read @ 1..) = master.read(&mut buffer) {
                shown.lock().unwrap().extend_from_slice(&buffer[..read]);
            }
        })
    };
    let mut seen = 0;
    for answer in answers {
        let (answer, is_shown) = match answer {
            Typed::Unseen(answer) => (answer, false),
            Typed::Seen(answer) => (answer, true),
        };
        // A prompt is there, and a passphrase is not shown.
        for waited in 0.. {
            let is_asked = {
                let shown = shown.lock().unwrap();
                shown.len() > seen && shown.ends_with(b": ")
            };
            if is_asked && tcgetattr(&master).unwrap().local_modes.contains(LocalModes::ECHO) == is_shown {
                break;
            }
            assert!(child.try_wait().unwrap().is_none(), "it ended: {}", text(&shown));
            assert!(waited < 3000, "no prompt: {}", text(&shown));
            std::thread::sleep(Duration::from_millis(10));
        }
        seen = shown.lock().unwrap().len();
        (&master).write_all(format!("{answer}\n").as_bytes()).unwrap();
    }
    let status = child.wait().unwrap();
    reader.join().unwrap();
    (status.success(), text(&shown))
}

fn text(shown: &Mutex<Vec<u8>>) -> String {
    String::from_utf8(shown.lock().unwrap().clone()).unwrap().replace("\r\n", "\n")
}
