//! The network between server and sandbox, which a test can stop at one moment of one request.

use std::sync::{Arc, Mutex, PoisonError, mpsc};

use http::header::CONNECTION;
use http::{HeaderValue, Response};
use sandbox::{LoggedRequest, SandboxConfig};
use tokio::sync::oneshot;

/// A wire that lets everything pass until it is armed. Requests are counted from 0, and from 0 again after [`Wire::clear`].
#[derive(Clone, Default)]
pub struct Wire(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    arrived: usize,
    traps: Vec<Trap>,
}

struct Trap {
    at: usize,
    moment: Moment,
    sprung: oneshot::Sender<Caught>,
}

/// When a request is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// It has left, and its party has not seen it, nor ever will.
    Arriving,
    /// Its party has handled it, and the answer has not left.
    Answered,
}

/// A request that stands still until this is dropped.
pub struct Caught {
    pub request: LoggedRequest,
    _go_on: mpsc::Sender<()>,
}

impl Wire {
    /// A sandbox at the end of this wire.
    pub fn lead_to(&self, config: SandboxConfig) -> SandboxConfig {
        let (before, after) = (self.clone(), self.clone());
        config
            .intercepting_requests(move |request| {
                let lost = before.pass(request, Moment::Arriving);
                lost.then(|| Response::builder().status(503).body(bytes::Bytes::new()).unwrap())
            })
            .changing_answers(move |request, mut answer| {
                if after.pass(request, Moment::Answered) {
                    // A client that has read this answer closes the connection, which can be seen from here.
                    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                answer
            })
    }

    /// Lets everything pass again and counts from 0.
    pub fn clear(&self) {
        *self.lock() = State::default();
    }

    /// Stops the request number `at` at that moment.
    pub fn arm(&self, at: usize, moment: Moment) -> oneshot::Receiver<Caught> {
        let (sprung, caught) = oneshot::channel();
        self.lock().traps.push(Trap { at, moment, sprung });
        caught
    }

    /// Stands still where a trap is set for this moment; says whether one was.
    fn pass(&self, request: &LoggedRequest, moment: Moment) -> bool {
        if request.path == "/settlements" {
            return false;
        }
        let trap = {
            let mut state = self.lock();
            if moment == Moment::Arriving {
                state.arrived += 1;
            }
            let now = (state.arrived.saturating_sub(1), moment);
            state.traps.iter().position(|trap| (trap.at, trap.moment) == now).map(|at| state.traps.remove(at))
        };
        let Some(trap) = trap else { return false };
        let (go_on, stopped) = mpsc::channel();
        // Where nobody waits for it any more it is stopped all the same, for no time.
        let _caught = trap.sprung.send(Caught { request: request.clone(), _go_on: go_on });
        let _gone = tokio::task::block_in_place(|| stopped.recv());
        true
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until every client of `origin` has closed its connections, having read what came over them. Where the system does
/// not show its connections it returns at once.
pub async fn all_read(origin: &str) {
    let port: u16 = origin.rsplit(':').next().unwrap().parse().unwrap();
    // `rem_address` and `st` of /proc/net/tcp: 127.0.0.1 and the port; established, or closed by the other side.
    let remote = format!("0100007F:{port:04X}");
    let is_open = |line: &str| {
        let mut fields = line.split_ascii_whitespace().skip(2);
        fields.next() == Some(&remote) && matches!(fields.next(), Some("01" | "08"))
    };
    while std::fs::read_to_string("/proc/net/tcp").is_ok_and(|table| table.lines().any(is_open)) {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}
