//! What the server costs its machine: starting, standing there, answering a call that needs nobody, and paying.
//!
//! Time on a processor and resident memory are the kernel's own counts of the server's process, so that what the sandbox and
//! this program do is not in them. They come from `/proc`, so this runs on Linux.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run must say so")]
#![allow(clippy::print_stdout, reason = "the figures are its output")]
#![allow(clippy::disallowed_methods, reason = "time is what it measures")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{BINARY, World, with};

const STARTS: usize = 50;
const CALLS: usize = 10_000;
const PAYMENTS: usize = 100;

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let world = runtime.block_on(World::new());
    world.spend_freely();

    let starts = (0..STARTS).map(|_| {
        let begun = Instant::now();
        let mut server = Server::start(&world);
        server.request("tools/list", &json!({}));
        begun.elapsed()
    });
    println!("start to tools/list: median {:?} of {STARTS}", median(starts.collect()));

    let mut server = Server::start(&world);
    server.request("tools/list", &json!({}));
    println!("resident after it: {} KiB", server.resident_kib());
    let invalid = with(world.socks(), "/amount/currency", json!("XXX"));
    let (busy, mut times) = (server.busy(), Vec::new());
    for _ in 0..CALLS {
        let begun = Instant::now();
        let answer = server.call("agent_payment_initiate", &invalid);
        times.push(begun.elapsed());
        assert_eq!(answer["isError"], true);
    }
    let of_each = (server.busy() - busy) / u32::try_from(CALLS).unwrap();
    println!(
        "tools/call without I/O: median {:?} with the pipe, {of_each:?} on a processor, of {CALLS}",
        median(times)
    );
    println!("resident after them: {} KiB", server.resident_kib());

    server.call("agent_register", &world.registration());
    let mut pay = |reference: usize| {
        let arguments = with(world.socks(), "/purchase_ref", json!(format!("payment {reference}")));
        assert_eq!(server.call("agent_payment_initiate", &arguments)["structuredContent"]["status"], "settled");
        server.busy()
    };
    let warm = pay(0);
    let mut busy = warm;
    let each = (1..=PAYMENTS).map(|reference| {
        let before = std::mem::replace(&mut busy, pay(reference));
        busy - before
    });
    println!("a warm payment: median {:?} on a processor, of {PAYMENTS}", median(each.collect()));
    println!("resident after them: {} KiB", server.resident_kib());
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// The server at the other end of two pipes, with nothing between that costs time of its own.
struct Server {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    line: String,
}

impl Server {
    fn start(world: &World) -> Self {
        let data_dir = world.data_dir();
        let arguments = ["--as-origin", world.sandbox.as_origin(), "--data-dir", data_dir.to_str().unwrap()];
        let mut command = Command::new(BINARY);
        command.args(arguments).env_clear().env("HOME", world.home.path());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut server = Self { child, input, output, line: String::new() };
        let client = json!({"name": "benchmark", "version": "1"});
        let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client});
        server.request("initialize", &hello);
        server.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        server
    }

    fn send(&mut self, message: &Value) {
        self.input.write_all(format!("{message}\n").as_bytes()).unwrap();
    }

    fn request(&mut self, method: &str, params: &Value) -> Value {
        self.send(&json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}));
        self.line.clear();
        self.output.read_line(&mut self.line).unwrap();
        let mut answer: Value = serde_json::from_str(&self.line).unwrap();
        answer["result"].take()
    }

    fn call(&mut self, tool: &str, arguments: &Value) -> Value {
        self.request("tools/call", &json!({"name": tool, "arguments": arguments}))
    }

    fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// The time that its threads have spent on a processor.
    fn busy(&self) -> Duration {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let of = |task: std::fs::DirEntry| {
            let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            text.split(' ').next().and_then(|nanos| nanos.parse().ok()).map_or(Duration::ZERO, Duration::from_nanos)
        };
        tasks.map(|task| of(task.unwrap())).sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}
