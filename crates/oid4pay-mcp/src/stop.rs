//! Being asked to end, and how the calls that still run hear of it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::watch;
use tokio::time::Instant;

/// The wish of a person or a supervisor that the process ends.
pub(crate) struct StopSignal {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl StopSignal {
    /// Listens from now on.
    pub(crate) fn listen() -> std::io::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            terminate: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?,
        })
    }

    /// Waits for it.
    pub(crate) async fn received(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
    }
}

/// The end of the process. A clone is the same end.
#[derive(Clone)]
pub(crate) struct Ending(Arc<watch::Sender<Option<Instant>>>);

/// What a call sees of it. The process waits until no call has one any more.
#[derive(Clone)]
pub(crate) struct EndWatch(watch::Receiver<Option<Instant>>);

impl Ending {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }

    /// Tells every call that the process is about to end.
    pub(crate) fn begin(&self) {
        self.0.send_if_modified(|since| {
            let is_first = since.is_none();
            since.get_or_insert_with(Instant::now);
            is_first
        });
    }

    pub(crate) fn watch(&self) -> EndWatch {
        EndWatch(self.0.subscribe())
    }

    /// Waits until the calls that run have ended, for as long as one may take to finish a payment.
    pub(crate) async fn calls_ended(&self) {
        if tokio::time::timeout(GRACE + Duration::from_secs(1), self.0.closed()).await.is_err() {
            tracing::warn!("the process ends while a call is still running");
        }
    }
}

impl EndWatch {
    pub(crate) fn has_begun(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Waits until the end begins, and gives when no more time is left to finish anything.
    pub(crate) async fn begun(&self) -> Instant {
        let mut watched = self.0.clone();
        // Without a sender the process is past its end.
        let since = watched.wait_for(Option::is_some).await.ok().and_then(|since| *since);
        since.map_or_else(Instant::now, |since| since + GRACE)
    }
}

/// An input whose end is the end of the process.
pub(crate) struct EndingInput<R> {
    inner: R,
    ending: Ending,
}

impl<R> EndingInput<R> {
    pub(crate) fn new(inner: R, ending: Ending) -> Self {
        Self { inner, ending }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for EndingInput<R> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let has_room = buf.remaining() > 0;
        let read = ready!(Pin::new(&mut self.inner).poll_read(cx, buf));
        if read.is_err() || (has_room && buf.filled().len() == before) {
            self.ending.begin();
        }
        Poll::Ready(read)
    }
}

/// How long a payment that was sent may take to be recorded once the process is to end. Supervisors kill soon after.
const GRACE: Duration = Duration::from_secs(10);
