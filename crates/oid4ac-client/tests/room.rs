//! A setup token is good for one registration: a store that could not keep what it buys is found before it is sent.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod kit;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use kit::CALLBACK;
use oid4ac_client::{Client, FileStore, Origin, RegisterRequest, SetupToken};
use sandbox::{Sandbox, SandboxConfig};

/// The issuer, the folder, the setup token, and what to do with it.
const ROLE: [&str; 4] = ["TEST_ISSUER", "TEST_FOLDER", "TEST_SETUP_TOKEN", "TEST_CALL"];
const NOBODY: u32 = 65534;

fn client(issuer: &str, folder: &Path) -> Client {
    let store = FileStore::new(folder, &Origin::of(issuer).unwrap());
    Client::builder(issuer).unwrap().store(Arc::new(store)).build()
}

/// What a child process of the tests below does; alone it has nothing to do.
#[tokio::test]
async fn in_a_child_process_the_setup_token_is_used() {
    let [Some(issuer), Some(folder), Some(token), Some(call)] = ROLE.map(|name| std::env::var(name).ok()) else {
        return;
    };
    let client = client(&issuer, Path::new(&folder));
    let token = SetupToken::new(token);
    let done = match call.as_str() {
        "rotate" => client.rotate_keys(token).await.map(drop),
        _ => client.register(&RegisterRequest::new(token, [format!("{CALLBACK}/2")])).await.map(drop),
    };
    println!("came to: {}", done.map_or_else(|error| error.code().to_owned(), |()| "done".to_owned()));
}

struct Scene {
    sandbox: Sandbox,
    outer: tempfile::TempDir,
    program: std::path::PathBuf,
}

impl Scene {
    /// A registered agent in a folder, and this test as a program that anybody can run.
    async fn new() -> Self {
        let sandbox = Sandbox::start(SandboxConfig::new()).await.unwrap();
        let outer = tempfile::tempdir().unwrap();
        fs::set_permissions(outer.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let program = outer.path().join("program");
        fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        let scene = Self { sandbox, outer, program };
        let token = SetupToken::new(scene.sandbox.setup_token().unwrap());
        let client = client(scene.sandbox.as_origin(), &scene.folder());
        client.register(&RegisterRequest::new(token, [CALLBACK])).await.unwrap();
        scene.sandbox.clear_requests();
        scene
    }

    fn folder(&self) -> std::path::PathBuf {
        self.outer.path().join("agent")
    }

    /// Runs the child, as a user whom permissions bind, and says what it came to and whether the token was sent.
    async fn run(&self, limit: &str, call: &str) -> (String, bool) {
        let test = "in_a_child_process_the_setup_token_is_used";
        let script = format!("{limit} exec \"$0\" --exact {test} --nocapture --test-threads=1");
        let token = self.sandbox.setup_token().unwrap();
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).arg(&self.program).current_dir("/");
        let role = [self.sandbox.as_origin(), self.folder().to_str().unwrap(), &token, call].map(str::to_owned);
        command.envs(ROLE.into_iter().zip(role)).env("TMPDIR", "/");
        if is_root() {
            for entry in fs::read_dir(self.folder()).unwrap() {
                chown(entry.unwrap().path(), Some(NOBODY), Some(NOBODY)).unwrap();
            }
            chown(self.folder(), Some(NOBODY), Some(NOBODY)).unwrap();
            command.uid(NOBODY).gid(NOBODY);
        }
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let outcome = text.lines().find_map(|line| line.split_once("came to: ")).map(|(_, outcome)| outcome.to_owned());
        let sent = self.sandbox.requests().iter().any(|request| request.path == "/oauth/register");
        (outcome.unwrap_or_else(|| format!("{text}{}", String::from_utf8_lossy(&output.stderr))), sent)
    }
}

fn is_root() -> bool {
    let probe = tempfile::NamedTempFile::new().unwrap();
    std::os::unix::fs::MetadataExt::uid(&fs::metadata(probe.path()).unwrap()) == 0
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_found_before_the_setup_token_is_sent() {
    let scene = Scene::new().await;
    for call in ["rotate", "register"] {
        fs::set_permissions(scene.folder(), fs::Permissions::from_mode(0o500)).unwrap();
        let (outcome, sent) = scene.run("", call).await;
        assert_eq!((outcome.as_str(), sent), ("store_failed", false), "{call}");
    }
    fs::set_permissions(scene.folder(), fs::Permissions::from_mode(0o700)).unwrap();
    for call in ["rotate", "register"] {
        let (outcome, sent) = scene.run("", call).await;
        assert_eq!((outcome.as_str(), sent), ("done", true), "{call}");
    }
    let names: Vec<_> = fs::read_dir(scene.folder()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name == "probe"), "{names:?}");
}

/// As on a full disk, a file cannot grow beyond a few kilobytes: keys would go in, and not all that comes after.
#[tokio::test]
async fn a_disk_without_room_is_found_before_the_setup_token_is_sent() {
    let scene = Scene::new().await;
    for blocks in [0, 1, 8] {
        for call in ["rotate", "register"] {
            let limit = format!("trap '' XFSZ; ulimit -f {blocks};");
            let (outcome, sent) = scene.run(&limit, call).await;
            assert_eq!((outcome.as_str(), sent), ("store_failed", false), "{call} within {blocks} blocks");
        }
    }
    // What was there before is there still.
    let store = FileStore::new(&scene.folder(), &Origin::of(scene.sandbox.as_origin()).unwrap());
    assert!(oid4ac_client::Store::keys(&store).unwrap().is_some());
    let (outcome, sent) = scene.run("", "rotate").await;
    assert_eq!((outcome.as_str(), sent), ("done", true));
}
